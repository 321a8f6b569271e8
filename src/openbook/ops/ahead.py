"""Kernels compiled while something else is done: a process of its own fills the cache on disk that this one then reads.

``python -m openbook.ops.ahead`` is that process. Threads would not do: Numba compiles one kernel of a process at a time, and
holds the interpreter's lock meanwhile.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import torch

# Not the LSTM, which the first model needs at once: it would wait for all others too.
OPERATIONS = ("additive_attention", "joint_attention", "recurrence")
_MOST_S = 300.0  # longer than any processor compiles; after it the kernels are compiled where they are needed
_process: subprocess.Popen[bytes] | None = None


def compile_ahead() -> bool:
    """Start to compile the CPU kernels of ``OPERATIONS``; whether it was started: not where they are cached, can not be or
    will not be used.

    What needs a kernel waits for the process (``wait``). Where the process fails nothing is lost but its time: a kernel that
    is not in the cache is compiled at its first call.
    """
    global _process
    from openbook.ops.dispatch import VARIABLE, asked_for

    if (
        asked_for() not in ("auto", "numba")
        or torch.cuda.is_available()
        or getattr(sys, "frozen", False)
        or not sys.executable
    ):
        return False
    if importlib.util.find_spec("numba") is None:
        return False
    if running():
        return True
    try:
        from openbook.ops.additive_attention.numba import KERNELS as attention
        from openbook.ops.joint_attention.numba import KERNELS as joint
        from openbook.ops.numba_math import CACHED, kept
        from openbook.ops.recurrence.numba_steps import KERNELS as recurrence

        if not CACHED or kept(*attention, *joint, *recurrence):
            return False
    except Exception:  # a compiler that is there and does not work: who calls a kernel is told so
        return False
    told = {VARIABLE: "numba", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    nothing = subprocess.DEVNULL
    try:
        _process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__], env=os.environ | told, stdin=nothing, stdout=nothing, stderr=nothing
        )
    except OSError:
        return False
    return True


def running() -> bool:
    """Whether kernels are being compiled by a process that this one started."""
    return _process is not None and _process.poll() is None


def wait() -> None:
    """Return once no kernels are being compiled; at once where none are."""
    global _process
    process = _process  # another thread may be the first to return
    if process is None:
        return
    try:
        process.wait(_MOST_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _process = None


def compile_all() -> None:
    """Call every such kernel once, forward and backward, on the smallest windows."""
    from openbook.ops.additive_attention import additive_attention, hoist
    from openbook.ops.joint_attention import joint_attention
    from openbook.ops.recurrence import attending_decoder
    from openbook.ops.recurrence import numba as kernels
    from openbook.ops.types import Again, DecoderWeights, Pages, Start

    torch.set_num_threads(1)
    kernels.KEPT = 0  # gates are told anew even of the smallest windows, which takes a kernel of its own
    D = 4
    book, score = torch.zeros(1, 3, D, requires_grad=True), torch.ones(D)
    torch.autograd.backward(joint_attention(book, book).found_BHR.sum())
    for powers in (hoist(book), None):
        found = additive_attention(book[:, :1], book, book, score, powers=powers)
        torch.autograd.backward(found.weight_BHT.sum())
    zero_4D, zero_BD, zero_DD = torch.zeros(4 * D, D), torch.zeros(1, D), torch.zeros(D, D)
    weights = DecoderWeights(zero_4D, zero_4D, None, zero_DD, zero_DD[0], score)
    for again in (None, Again(lambda: torch.zeros(1, 2, 4 * D), lambda: book.detach().clone())):
        gates = torch.zeros(1, 2, 4 * D, requires_grad=True)
        told = attending_decoder(gates, Start(zero_BD, zero_BD, zero_BD), Pages(book, book), weights, again=again)
        torch.autograd.backward(told.hidden_BLD.sum())


if __name__ == "__main__":
    compile_all()
