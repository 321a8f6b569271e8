from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from openbook.forecast.limits import run_limited


def double(value: int) -> int:
    return 2 * value


def fail(text: str) -> None:
    raise ValueError(text)


def leave(code: int) -> None:
    raise SystemExit(code)


def die(number: int) -> None:
    os.kill(os.getpid(), number)


def quit_silently() -> None:
    os._exit(7)


def run_out() -> None:
    raise MemoryError


def hand_back_a_lock() -> threading.Lock:
    return threading.Lock()


def childless() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def say_and_add(one: int, other: int) -> int:
    print("one and other")  # noqa: T201
    return one + other


def test_a_script_is_not_run_again_and_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom openbook.forecast.limits import run_limited\n"
        "print('begun')\nprint(run_limited(math.sqrt, (9.0,), 60.0))\n"
    )
    ran = subprocess.run([sys.executable, script], check=True, timeout=120, capture_output=True, text=True)
    assert ran.stdout.split("\n")[:2] == ["begun", "Result(value=3.0, failure=None)"]


def test_what_is_printed_there_is_no_answer() -> None:
    assert run_limited(say_and_add, (1, 2), 60.0) == (3, None)


def test_value_comes_back() -> None:
    assert run_limited(double, (21,), 60.0) == (42, None)


def test_exceptions_come_back_in_words() -> None:
    assert run_limited(fail, ("no season",), 60.0) == (None, "ValueError: no season")
    assert run_limited(leave, (3,), 60.0) == (None, "SystemExit: 3")
    assert run_limited(run_out, (), 60.0) == (None, "ran out of memory")


def test_crashes_come_back_in_words() -> None:
    killed = run_limited(die, (int(signal.SIGKILL),), 60.0).failure
    crashed = run_limited(die, (int(signal.SIGSEGV),), 60.0).failure
    assert killed == "killed by the system, most likely out of memory"
    assert crashed == "crashed with signal SIGSEGV"
    assert run_limited(quit_silently, (), 60.0).failure == "ended without a result (exit code 7)"


def test_slow_calls_are_killed() -> None:
    assert run_limited(time.sleep, (600.0,), 0.5) == (None, "stopped at the time limit of 0.5 s")
    assert childless()


def test_what_can_not_travel_is_reported() -> None:
    there = run_limited(lambda: 1, (), 60.0).failure
    back = run_limited(hand_back_a_lock, (), 60.0).failure
    assert there is not None
    assert there.startswith("could not be started")
    assert back is not None
    assert back.startswith("its result could not be sent")
    assert childless()


@pytest.mark.skipif(sys.platform == "win32", reason="signals work differently there")
def test_an_interrupt_kills_the_child(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, threading, time\n"
        "from openbook.forecast.limits import run_limited\n"
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n"
        "    run_limited(time.sleep, (600.0,), 500.0)\n"
        "except KeyboardInterrupt:\n"
        "    try:\n"
        "        os.waitpid(-1, os.WNOHANG)\n"
        "    except ChildProcessError:\n"
        "        sys.exit(5)\n"
        "    sys.exit(6)\n"
    )
    assert subprocess.run([sys.executable, str(script)], check=False, timeout=120).returncode == 5
