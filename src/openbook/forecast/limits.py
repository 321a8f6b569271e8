"""Running a call in a process of its own, with a time limit: what fails there is reported in words, never raised here."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

_FOREVER = 1e6  # seconds; systems wait for at most 2³¹ milliseconds


class Result(NamedTuple):
    """The ``value`` of a call, or the ``failure`` in words (None where it succeeded)."""

    value: Any
    failure: str | None


def run_limited(function: Callable[..., Any], args: tuple[Any, ...], seconds: float) -> Result:
    """Call ``function(*args)`` in a fresh process and kill it after ``seconds``, its start and imports included.

    Function, arguments and value have to be picklable, and the function to be found in a module: the caller's script is not
    run again, so that it needs no ``__name__`` guard. An exception, an exit, a crash, the time limit or a lack of memory comes
    back as ``failure``. Interrupting this process kills the child and goes on as an interrupt.

    >>> import math
    >>> run_limited(math.sqrt, (9.0,), 60.0)
    Result(value=3.0, failure=None)
    >>> run_limited(math.sqrt, (-9.0,), 60.0).failure
    'ValueError: math domain error'
    """
    line = [sys.executable, "-P", "-c", "from openbook.forecast.limits import answer; answer()"]
    paths = os.pathsep.join(
        path or str(Path.cwd()) for path in sys.path
    )  # modules are found where this process finds them
    try:
        asked = pickle.dumps((function, args))
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": paths}
        )
    except (pickle.PicklingError, AttributeError, TypeError, OSError) as error:
        return Result(None, f"could not be started: {_words(error)}")
    with process:
        try:
            told, _ = process.communicate(asked, timeout=seconds if seconds < _FOREVER else None)
        except subprocess.TimeoutExpired:
            return Result(None, f"stopped at the time limit of {seconds:g} s")
        finally:
            process.kill()
            process.wait()
    if not told:
        return Result(None, _death(process.returncode))
    try:
        value, failure = pickle.loads(told)
    except Exception as error:  # a value that can not be rebuilt here: anything may be raised
        return Result(None, f"its result could not be read: {_words(error)}")
    return Result(value, failure)


def answer() -> None:
    """What the child does: an interrupt of the terminal is the parent's to handle, and what is printed is no answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        out.write(_answer(sys.stdin.buffer.read()))


def _answer(asked: bytes) -> bytes:
    told: tuple[Any, str | None]
    try:
        function, args = pickle.loads(asked)
        told = (function(*args), None)
    except MemoryError:
        told = (None, "ran out of memory")
    except (Exception, SystemExit) as error:
        told = (None, _words(error))
    try:
        return pickle.dumps(told)
    except Exception as error:  # pickling runs code of the value's class
        return pickle.dumps((None, f"its result could not be sent: {_words(error)}"))


def _death(code: int) -> str:
    if code < 0 and signal.Signals(-code).name == "SIGKILL":  # a name that Windows does not have
        return "killed by the system, most likely out of memory"
    if code < 0:
        return f"crashed with signal {signal.Signals(-code).name}"
    return f"ended without a result (exit code {code})"


def _words(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
