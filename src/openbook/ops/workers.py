"""Windows shared out among threads: kernels release the interpreter's lock, and every window's numbers are its own.

As many threads work as torch is set to use. The result of a window does not depend on which thread had it, and nothing is
summed across windows here, so results are the same bits for any number of threads.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue

import torch

Work = Callable[[int, int], object]


class _Piece:
    """A piece of work a thread is given: done when ``finished`` can be acquired, with what went wrong."""

    def __init__(self, work: Work, first: int, last: int) -> None:
        self.work, self.first, self.last = work, first, last
        self.error: BaseException | None = None
        self.finished = threading.Lock()
        self.finished.acquire()

    def run(self) -> None:
        try:
            self.work(self.first, self.last)
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


def share_out(work: Work, count: int, *, least: int = 1) -> None:
    """Call ``work(first, last)`` on pieces of ``range(count)``, one a thread, each of at least ``least``.

    >>> done = []
    >>> share_out(lambda first, last: done.append((first, last)), 3, least=3)
    >>> done
    [(0, 3)]
    """
    threads = max(1, min(torch.get_num_threads(), count // max(1, least)))
    if threads == 1:
        work(0, count)
        return
    cuts = [count * part // threads for part in range(threads + 1)]
    pieces = [_Piece(work, cuts[part], cuts[part + 1]) for part in range(1, threads)]
    _crew.grow(threads - 1)
    for piece in pieces:
        _crew.pieces.put(piece)
    try:
        work(cuts[0], cuts[1])
    finally:
        for piece in pieces:
            piece.finished.acquire()
    for piece in pieces:
        if piece.error is not None:
            raise piece.error
