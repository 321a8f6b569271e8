"""Which implementation serves a call, and what happens where a compiler is missing."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numba import njit

from openbook.errors import UsageError
from openbook.ops import dispatch
from openbook.ops.additive_attention import reference
from openbook.ops.workers import claim, share_out

LARGE = dispatch.SMALL


def served(size: int = LARGE, dtype: torch.dtype = torch.float32) -> str:
    with dispatch.implementation("additive_attention", torch.zeros(1, dtype=dtype), size, reference) as module:
        return module.__name__.rsplit(".", 1)[1]


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)


def test_by_size_and_precision() -> None:
    assert served() == "numba"
    assert served(size=LARGE - 1) == "reference"
    assert served(dtype=torch.float64) == "reference"


def test_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.VARIABLE, "numba")
    assert served(size=1) == "numba"
    assert served(dtype=torch.float64) == "reference"
    monkeypatch.setenv(dispatch.VARIABLE, "reference")
    assert served() == "reference"
    monkeypatch.setenv(dispatch.VARIABLE, "triton")  # for GPUs; a CPU tensor takes the plain path
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert served() == "reference"
    monkeypatch.setenv(dispatch.VARIABLE, "fast")
    with pytest.raises(UsageError, match="auto or reference or numba or triton"):
        served()


@pytest.mark.parametrize(("op", "waits"), [("recurrence", True), ("joint_attention", True), ("lstm", False)])
def test_who_waits_for_what_is_compiled_ahead(op: str, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[bool] = []
    monkeypatch.setattr(dispatch, "_used", set())
    monkeypatch.setattr(dispatch.ahead, "wait", lambda: waited.append(True))
    with dispatch.implementation(op, torch.zeros(1), LARGE, reference) as module:
        assert module.__name__ == f"openbook.ops.{op}.numba"
    assert bool(waited) == waits


def test_without_numba_one_warning_and_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_modules", {})
    monkeypatch.setitem(sys.modules, "openbook.ops.additive_attention.numba", None)
    monkeypatch.setitem(sys.modules, "openbook.ops.recurrence.numba", None)
    with pytest.warns(RuntimeWarning, match="numba can not be used"):
        assert served() == "reference"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert served() == "reference"
        with dispatch.implementation("recurrence", torch.zeros(1), LARGE, reference) as module:
            assert module is reference


def test_a_compiler_that_is_there_and_does_not_work_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler() -> None:
        raise RuntimeError("Failed to find C compiler")

    broken = types.ModuleType("triton")
    broken.reach = no_compiler  # type: ignore[attr-defined]
    monkeypatch.setattr(dispatch, "_modules", {})
    monkeypatch.setenv(dispatch.VARIABLE, "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "openbook.ops.additive_attention.triton", broken)
    with pytest.warns(RuntimeWarning, match="triton can not be used .*Failed to find C compiler"):
        assert served() == "reference"


def test_a_whole_fit_without_numba() -> None:
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "import openbook as ob, warnings\n"
        "frame = ob.simulate_calls().frame.iloc[:800, :3]\n"
        "train = ob.TrainConfig(max_steps=2, batch_size=8)\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    model = ob.Forecaster(24, model='bahdanau', input_size=168, train=train).fit(frame)\n"
        "    assert model.predict()['Bahdanau'].notna().all()\n"
        "assert sum('numba can not be used' in str(one.message) for one in told) == 1, told\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr


def test_a_slow_first_call_says_so_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for screen, said in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", screen)
        with dispatch._said_if_slow(after=0.01):
            time.sleep(0.2)
        assert ("compiling" in screen.getvalue()) == said
        with dispatch._said_if_slow(after=10):
            pass
        assert screen.getvalue().count("compiling") == int(said)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@njit(nogil=True)
def _count(board: np.ndarray, seen: np.ndarray) -> None:
    first, last = claim(board, 0)
    while first < last:
        for window in range(first, last):
            seen[window] += 1
        first, last = claim(board, last - first)


@pytest.mark.parametrize("grain", [1, 3, 20])
def test_every_window_is_claimed_once(three_threads: None, grain: int) -> None:
    for count, least in ((10, 1), (2, 1), (7, 4), (1, 4), (0, 1), (5000, 1)):
        seen = np.zeros(count, int)
        share_out(lambda board, seen=seen: _count(board, seen), count, grain=grain, least=least)
        assert (seen == 1).all()


def _in_crew() -> bool:
    return threading.current_thread().name == "openbook-kernel"


def test_a_failure_in_any_thread_is_raised(three_threads: None) -> None:
    def fail(board: np.ndarray) -> None:
        if _in_crew():
            raise ValueError("in the crew")

    with pytest.raises(ValueError, match="in the crew"):
        share_out(fail, 10)
    seen = np.zeros(10, int)

    def fail_here(board: np.ndarray) -> None:
        if not _in_crew():
            raise ValueError("here")
        _count(board, seen)

    with pytest.raises(ValueError, match="here"):
        share_out(fail_here, 10)
    share_out(lambda board: _count(board, seen), 10)  # the crew is still there
    assert seen.min() >= 1


def test_threads_that_are_busy_are_not_waited_for(three_threads: None) -> None:
    asleep, free, seen, woken = threading.Barrier(3), threading.Event(), np.zeros(100, int), []

    def sleep(board: np.ndarray) -> None:
        if _in_crew():
            asleep.wait(timeout=20)
            free.wait(timeout=20)
            woken.append(threading.current_thread())

    other = threading.Thread(target=lambda: share_out(sleep, 100))
    other.start()
    asleep.wait(timeout=20)
    share_out(lambda board: _count(board, seen), 100)
    assert woken == []
    free.set()
    other.join(timeout=20)
    assert len(woken) == 2
    assert (seen == 1).all()
