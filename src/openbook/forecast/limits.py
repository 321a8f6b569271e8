"""Running a call in a process of its own, with a time limit: what fails there is reported in words, never raised here."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pickle import PicklingError
from typing import Any, NamedTuple


class Result(NamedTuple):
    """The ``value`` of a call, or the ``failure`` in words (None where it succeeded)."""

    value: Any
    failure: str | None


def run_limited(function: Callable[..., Any], args: tuple[Any, ...], seconds: float) -> Result:
    """Call ``function(*args)`` in a spawned process and kill it after ``seconds``, its start and imports included.

    Function, arguments and value have to be picklable; scripts that call this need the usual ``__name__`` guard. An
    exception, an exit, a crash, the time limit or a lack of memory comes back as ``failure``. Interrupting this process
    kills the child and goes on as an interrupt.

    >>> import math
    >>> run_limited(math.sqrt, (9.0,), 60.0)
    Result(value=3.0, failure=None)
    >>> run_limited(math.sqrt, (-9.0,), 60.0).failure
    'ValueError: math domain error'
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(sender, function, args), daemon=True)
    try:
        process.start()
    except (PicklingError, AttributeError, TypeError, OSError) as error:
        # The call can not be sent or the system refuses a process: a started child would wait for its orders forever.
        _end(process)
        receiver.close()
        sender.close()
        return Result(None, f"could not be started: {_words(error)}")
    try:
        sender.close()
        return _answer(receiver, process, seconds)
    finally:
        _end(process)
        receiver.close()


def _answer(receiver: Connection, process: BaseProcess, seconds: float) -> Result:
    if not receiver.poll(seconds):
        return Result(None, f"stopped at the time limit of {seconds:g} s")
    try:
        value, failure = receiver.recv()
    except EOFError:
        process.join(5.0)
        return Result(None, _death(process.exitcode))
    except Exception as error:  # a value that can not be rebuilt here: anything may be raised
        return Result(None, f"its result could not be read: {_words(error)}")
    return Result(value, failure)


def _call(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """What the child does: an interrupt of the terminal is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer: tuple[Any, str | None]
    try:
        answer = (function(*args), None)
    except MemoryError:
        answer = (None, "ran out of memory")
    except (Exception, SystemExit) as error:
        answer = (None, _words(error))
    try:
        sender.send(answer)
    except Exception as error:  # pickling runs code of the value's class
        sender.send((None, f"its result could not be sent: {_words(error)}"))


def _end(process: BaseProcess) -> None:
    if process.pid is not None and process.is_alive():
        process.kill()
    if process.pid is not None:
        process.join()


def _death(code: int | None) -> str:
    if code is not None and code < 0 and signal.Signals(-code).name == "SIGKILL":  # a name that Windows does not have
        return "killed by the system, most likely out of memory"
    if code is not None and code < 0:
        return f"crashed with signal {signal.Signals(-code).name}"
    return f"ended without a result (exit code {code})"


def _words(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
