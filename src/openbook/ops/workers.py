"""Windows shared out among threads: kernels release the interpreter's lock, and every window's numbers are its own.

As many threads work as torch is set to use. The result of a window does not depend on which thread had it, and nothing is
summed across windows here, so results are the same bits for any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_pools: dict[int, ThreadPoolExecutor] = {}
# Threads do not survive a fork; a child starts its own.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def share_out(work: Callable[[int, int], object], count: int, *, least: int = 1) -> None:
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
    pool = _pools.get(threads)
    if pool is None:
        pool = _pools[threads] = ThreadPoolExecutor(threads - 1, thread_name_prefix="openbook-kernel")
    waiting = [pool.submit(work, cuts[part], cuts[part + 1]) for part in range(1, threads)]
    try:
        work(cuts[0], cuts[1])
    finally:
        for piece in waiting:
            piece.result()
