"""Windows shared out among torch's own threads, or among ours where torch's can not be asked."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numba import njit

from openbook.ops import workers
from openbook.ops.workers import claim, gather, share_out

OPENMP = sys.platform == "linux" and "backend: OpenMP" in torch.__config__.parallel_info()
needs_team = pytest.mark.skipif(not OPENMP, reason="torch's threads are not OpenMP's of Linux here")


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def crew(three_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_team", 0)


@njit(nogil=True)
def _count(board: np.ndarray, seen: np.ndarray) -> None:
    if gather(board):
        return
    first, last = claim(board, 0)
    while first < last:
        for window in range(first, last):
            seen[window] += 1
        first, last = claim(board, last - first)


@pytest.mark.parametrize("threads", [pytest.param("three_threads", marks=needs_team), "crew"])
@pytest.mark.parametrize("grain", [1, 3, 20])
def test_every_window_is_claimed_once(threads: str, grain: int, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(threads)
    for count, least in ((10, 1), (2, 1), (7, 4), (1, 4), (0, 1), (5000, 1)):
        seen = np.zeros(count, int)
        share_out(lambda board, seen=seen: _count(board, seen), count, grain=grain, least=least)
        assert (seen == 1).all()


@njit(nogil=True)
def _meet(board: np.ndarray, met: np.ndarray) -> None:
    """Every thread waits until three are here, so that none of them can be the same."""
    if gather(board):
        return
    workers._advance(met, 0, 1)
    for _ in range(2_000_000_000):
        if workers._advance(met, 0, 0) == 3:
            break
    first, last = claim(board, 0)
    while first < last:
        first, last = claim(board, last - first)


@needs_team
def test_a_team_works_at_the_same_time(three_threads: None) -> None:
    met = np.zeros(1, np.int64)
    share_out(lambda board: _meet(board, met), 3)
    assert met.tolist() == [3]


@pytest.mark.parametrize(
    "module", ["additive_attention.numba", "joint_attention.numba", "lstm.numba", "recurrence.numba_steps"]
)
def test_every_kernel_gathers_a_team(module: str) -> None:
    """Without it a kernel is as right, and takes as long as on one thread."""
    for kernel in importlib.import_module(f"openbook.ops.{module}").KERNELS:
        assert kernel.py_func.__code__.co_varnames[0] == "board"
        assert {"gather", "claim"} <= set(kernel.py_func.__code__.co_names)


@njit(nogil=True)
def _fail(board: np.ndarray, at: int) -> None:
    if gather(board):
        return
    first, last = claim(board, 0)
    while first < last:
        if first <= at < last:
            raise ValueError("in the kernel")
        first, last = claim(board, last - first)


@needs_team
def test_a_failure_in_a_team_is_told(three_threads: None) -> None:
    for at in (0, 50, 99):
        with pytest.raises(MemoryError, match="before its windows were done"):
            share_out(lambda board, at=at: _fail(board, at), 100)
    share_out(lambda board: _fail(board, -1), 100)


FORKED = """
import os, sys
import numpy as np, torch
from numba import njit
from openbook.ops.workers import claim, gather, share_out

@njit(nogil=True)
def count(board, seen):
    if gather(board):
        return
    first, last = claim(board, 0)
    while first < last:
        seen[first:last] += 1
        first, last = claim(board, last - first)

torch.set_num_threads(2)
for process in ("parent", "child"):
    seen = np.zeros(1000)
    share_out(lambda board: count(board, seen), 1000)
    assert (seen == 1).all()
    if process == "parent" and os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_forked_process_has_threads_of_its_own() -> None:
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=120)


def _in_crew() -> bool:
    return threading.current_thread().name == "openbook-kernel"


def test_a_failure_in_any_thread_is_raised(crew: None) -> None:
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


def test_threads_that_are_busy_are_not_waited_for(crew: None) -> None:
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


@njit(nogil=True)
def _claim(board: np.ndarray, done: int) -> tuple[int, int]:
    return claim(board, done)  # type: ignore[no-any-return]


def test_a_piece_that_still_queues_is_not_waited_for(crew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_crew", workers._Crew())
    asleep, one_free, free = threading.Barrier(3), threading.Semaphore(0), threading.Event()
    claimed, told, seen = threading.Event(), threading.Event(), np.zeros(100, int)

    def sleep(board: np.ndarray) -> None:
        if _in_crew():
            asleep.wait(timeout=20)
            while not one_free.acquire(timeout=0.01) and not free.is_set():
                pass

    def slowly(board: np.ndarray) -> None:
        if not _in_crew():
            assert claimed.wait(timeout=20)  # one of the crew has a window, the other one sleeps
            _count(board, seen)
            return
        first, last = _claim(board, 0)
        claimed.set()
        assert told.wait(timeout=20)
        seen[first:last] += 1
        _claim(board, last - first)

    other = threading.Thread(target=lambda: share_out(sleep, 100))
    mine = threading.Thread(target=lambda: share_out(slowly, 100))
    other.start()
    asleep.wait(timeout=20)
    mine.start()
    one_free.release()
    assert claimed.wait(timeout=20)
    mine.join(timeout=0.2)
    assert mine.is_alive()  # its window is waited for
    told.set()
    mine.join(timeout=20)
    assert not mine.is_alive()
    assert (seen == 1).all()
    free.set()
    other.join(timeout=20)
