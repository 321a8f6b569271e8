"""Windows shared out among threads: kernels release the interpreter's lock, and every window's numbers are its own.

As many threads work as torch is set to use, and each claims a few windows at a time: one that wakes late, or whose core is
busy with something else, does less, and is waited for only while it has some. The result of a window does not depend on which
thread had it, and nothing is summed across windows here, so results are the same bits for any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numba import njit, types
from numba.extending import intrinsic

Work = Callable[[np.ndarray], object]

# What threads share of a piece of work: the next window that nobody has, how many there are, how many are claimed at a time,
# and how many are done.
_NEXT, _COUNT, _GRAIN, _DONE = range(4)
_PATIENCE_S = 3e-5  # about as long as it takes to fall asleep and be woken


@intrinsic
def _advance(_context: Any, board: Any, place: Any, amount: Any) -> Any:
    """board[place] += amount, as one step for all threads; what stood there before."""

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [given[1]]), given[2], "seq_cst")

    return types.int64(board, types.intp, types.int64), codegen


@njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
def claim(board: np.ndarray, done: int) -> tuple[int, int]:
    """The next windows for this thread, from first to last, none where first is not below last; ``done``: how many it had.

    A kernel claims until nothing is left:

        first, last = claim(board, 0)
        while first < last:
            ...
            first, last = claim(board, last - first)
    """
    if done > 0:
        _advance(board, _DONE, done)
    first = _advance(board, _NEXT, board[_GRAIN])
    return first, min(first + board[_GRAIN], board[_COUNT])


class _Piece:
    """Work a thread is asked to join: finished when ``finished`` can be acquired, with what went wrong."""

    def __init__(self, work: Work, board: np.ndarray) -> None:
        self.work, self.board = work, board
        self.error: BaseException | None = None
        self.finished = threading.Lock()
        self.finished.acquire()

    def run(self) -> None:
        try:
            if self.board[_NEXT] < self.board[_COUNT]:  # nothing is left for who wakes too late
                self.work(self.board)
        except BaseException as error:  # raised again where the work was shared out
            self.error = error
        finally:
            self.finished.release()


class _Crew:
    """Threads that wait for pieces; a queue of C code wakes them sooner than an executor's futures would."""

    def __init__(self) -> None:
        self.pieces: SimpleQueue[_Piece] = SimpleQueue()
        self.size = 0
        self.lock = threading.Lock()

    def grow(self, size: int) -> None:
        with self.lock:
            while self.size < size:
                threading.Thread(target=self._wait, name="openbook-kernel", daemon=True).start()
                self.size += 1

    def _wait(self) -> None:
        while True:
            self.pieces.get().run()


_crew = _Crew()


def _start_over() -> None:
    global _crew
    _crew = _Crew()


# Threads do not survive a fork; a child starts its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)


def share_out(work: Work, count: int, *, grain: int = 1, least: int = 1) -> None:
    """Call ``work(board)`` in as many threads as get at least ``least`` of ``count`` windows each; a kernel ``claim``s
    ``grain`` at a time from the board.

    >>> done = []
    >>> share_out(lambda board: done.append(board.tolist()), 3, least=3)
    >>> done
    [[0, 3, 3, 0]]
    """
    threads = max(1, min(torch.get_num_threads(), count // max(1, least)))
    board = np.array([0, count, count if threads == 1 else grain, 0], np.int64)
    if threads == 1:
        work(board)
        return
    pieces = [_Piece(work, board) for _ in range(1, threads)]
    _crew.grow(threads - 1)
    for piece in pieces:
        _crew.pieces.put(piece)
    try:
        work(board)
    finally:
        _settle(board, pieces)
    for piece in pieces:
        if piece.error is not None and board[_DONE] < count:
            raise piece.error


def _settle(board: np.ndarray, pieces: list[_Piece]) -> None:
    """Wait for what others have claimed: wide awake at first, as that is soon; who has claimed nothing is not waited for."""
    end = perf_counter() + _PATIENCE_S
    while board[_DONE] < board[_COUNT]:
        if perf_counter() > end:
            for piece in pieces:
                piece.finished.acquire()
            return
