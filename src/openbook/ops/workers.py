"""Windows shared out among threads: kernels release the interpreter's lock, and every window's numbers are its own.

As many threads work as torch is set to use, and each claims a few windows at a time: one that wakes late, or whose core is
busy with something else, does less. The result of a window does not depend on which thread had it, and nothing is summed
across windows here, so results are the same bits for any number of threads.

The threads are torch's own where these are OpenMP's of Linux: they are awake just after torch used them, and threads of ours
would have to share cores with them as they wait for more. Elsewhere, and in forked processes, threads of our own work.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Work = Callable[[np.ndarray], object]

# What threads share of a piece of work: the next window that nobody has, how many there are, how many are claimed at a time,
# how many are done, where OpenMP's call for a team is (0: no team), and how many threads it shall have.
_NEXT, _COUNT, _GRAIN, _DONE, _TEAM, _THREADS = range(6)
_PATIENCE_S = 3e-5  # about as long as it takes to fall asleep and be woken


@intrinsic
def _advance(_context: Any, board: Any, place: Any, amount: Any) -> Any:
    """board[place] += amount, as one step for all threads; what stood there before."""

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [given[1]]), given[2], "seq_cst")

    return types.int64(board, types.intp, types.int64), codegen


@intrinsic
def gather(_context: Any, board: Any) -> Any:
    """Have a team of threads run the kernel that asks, this thread among them; whether one did, and the kernel may return.

    The first line of a kernel that is shared out, whose first argument is the board. Who is in a team gathers none. Source:
    the libgomp manual, "Implementing PARALLEL construct".
    """

    def codegen(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kernel, number, byte = builder.function, ir.IntType(64), ir.IntType(8).as_pointer()
        # The kernel's own arguments, behind the places for its result and its error.
        packed = ir.LiteralStructType([one.type for one in kernel.args[2:]])
        member = ir.Function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte]),
            builder.module.get_unique_name("member"),
        )
        member.linkage = "internal"
        inside = ir.IRBuilder(member.append_basic_block())
        told = inside.load(inside.bitcast(member.args[0], packed.as_pointer()))
        places = [inside.alloca(byte) for _ in range(2)]  # a pointer each
        for place in places:
            inside.store(ir.Constant(byte, None), place)
        ends = [inside.bitcast(place, one.type) for place, one in zip(places, kernel.args[:2], strict=True)]
        inside.call(kernel, [*ends, *(inside.extract_value(told, at) for at in range(len(packed.elements)))])
        inside.ret_void()

        data = context.make_array(signature.args[0])(context, builder, given[0]).data
        team = builder.gep(data, [number(_TEAM)])
        address, threads = builder.load(team), builder.load(builder.gep(data, [number(_THREADS)]))
        found = builder.icmp_unsigned("!=", address, number(0))
        with builder.if_then(found):
            builder.store(number(0), team)
            room = cgutils.alloca_once(builder, packed)
            for at, one in enumerate(kernel.args[2:]):
                builder.store(one, builder.gep(room, [ir.IntType(32)(0), ir.IntType(32)(at)]))
            half = ir.IntType(32)
            call = ir.FunctionType(ir.VoidType(), [member.type, byte, half, half]).as_pointer()
            wanted = builder.trunc(threads, half)
            builder.call(builder.inttoptr(address, call), [member, builder.bitcast(room, byte), wanted, half(0)])
        return found

    return types.boolean(board), codegen


@njit(no_cpython_wrapper=True, no_cfunc_wrapper=True)
def claim(board: np.ndarray, done: int) -> tuple[int, int]:
    """The next windows for this thread, from first to last, none where first is not below last; ``done``: how many it had.

    A kernel claims until nothing is left:

        if gather(board):
            return
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
        self.begun = False
        self.finished = threading.Lock()
        self.finished.acquire()

    def run(self) -> None:
        self.begun = True
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


def _openmp() -> int:
    """Where OpenMP's call for a team of torch's own threads is, 0 where there is none or it was not tried."""
    if sys.platform != "linux":
        return 0
    try:
        call = ctypes.CDLL(torch._C.__file__).GOMP_parallel  # of all libraries of this name that may be there, torch's
    except (OSError, AttributeError):
        return 0
    return ctypes.cast(call, ctypes.c_void_p).value or 0


_crew, _team = _Crew(), _openmp()


def _start_over() -> None:
    global _crew, _team
    _crew, _team = _Crew(), 0


# Threads do not survive a fork, and OpenMP would wait for those of the parent; a child starts its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over)


def share_out(work: Work, count: int, *, grain: int = 1, least: int = 1) -> None:
    """Call ``work(board)`` in as many threads as get at least ``least`` of ``count`` windows each; a kernel ``claim``s
    ``grain`` at a time from the board.

    >>> from numba import njit
    >>> @njit(nogil=True)
    ... def double(board, numbers):
    ...     if gather(board):
    ...         return
    ...     first, last = claim(board, 0)
    ...     while first < last:
    ...         numbers[first:last] *= 2
    ...         first, last = claim(board, last - first)
    >>> numbers = np.arange(4)
    >>> share_out(lambda board: double(board, numbers), 4)
    >>> numbers.tolist()
    [0, 2, 4, 6]
    """
    threads = max(1, min(torch.get_num_threads(), count // max(1, least)))
    board = np.array([0, count, count if threads == 1 else grain, 0, 0 if threads == 1 else _team, threads], np.int64)
    if threads == 1 or _team:
        work(board)
        if board[_DONE] < count:  # errors do not leave a team
            raise MemoryError("a kernel ended before its windows were done: its thread had no memory left")
        return
    _with_crew(work, board, threads)


def _with_crew(work: Work, board: np.ndarray, threads: int) -> None:
    crew, pieces = _crew, [_Piece(work, board) for _ in range(1, threads)]
    crew.grow(threads - 1)
    for piece in pieces:
        crew.pieces.put(piece)
    try:
        work(board)
    except BaseException:
        board[_NEXT] = board[_COUNT]  # what is left is nobody's
        raise
    finally:
        _settle(board, pieces)
    for piece in pieces:
        if piece.error is not None and board[_DONE] < board[_COUNT]:
            raise piece.error


def _settle(board: np.ndarray, pieces: list[_Piece]) -> None:
    """Wait for what others have claimed: wide awake at first, as that is soon; who has claimed nothing is not waited for."""
    end = perf_counter() + _PATIENCE_S
    while board[_DONE] < board[_COUNT]:
        if perf_counter() > end:
            for piece in pieces:
                if piece.begun or board[_NEXT] < board[_COUNT]:  # where all is claimed, who begins later finds nothing
                    piece.finished.acquire()
            return
