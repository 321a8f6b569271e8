"""What the CPU kernels share: elementary functions, small products, softmax and the LSTM cell.

Everything is float32 and written so that no loop has a branch LLVM must keep: the functions come from arithmetic alone
(the C library's would be called one number at a time), and NaN passes through all of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from openbook.ops.lanes import (
    WIDTH,
    clear,
    exponential,
    fma,
    load,
    load_some,
    reciprocal,
    spread,
    store,
    store_some,
    where_less,
)

# Neither NaN nor infinity is assumed away; sums may be taken in any order that suits the vectors.
FAST: dict[str, Any] = {"fastmath": {"reassoc", "contract", "arcp", "nsz"}, "nogil": True, "error_model": "numpy"}
# Where the order of the operations is the point: reductions of the argument of exp, sums of scores.
EXACT: dict[str, Any] = {**FAST, "fastmath": {"contract", "nsz"}}
# Kernels alone are called from Python; the functions they are made of need no way in, which would have to be compiled too.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# Shares below e^-60 count as none: no sum notices them, and numbers too small for float32's normal range are slow.
LEAST = np.float32(-60.0)
BLOCK = 32  # terms of a sum that are rounded one after the other
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)


def _can_cache() -> bool:
    try:
        njit(cache=True)(lambda: None)
    except RuntimeError:
        return False
    return True


CACHED = _can_cache()  # compiled kernels can be kept on disk: beside the source or in the user's cache folder
KERNEL: dict[str, Any] = {**FAST, "cache": CACHED, "no_cfunc_wrapper": True}


def _digest() -> str:
    """Tells apart what the kernels are made of, their helpers in other files and how their arguments lie in memory."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


_MADE_OF = _digest()


def forget_older(*kernels: Any, made_of: str = _MADE_OF) -> None:
    """Delete what was compiled of kernels from other files than these: Numba looks at the kernel's own file alone.

    Times of files tell nothing: archives and installers keep old ones. A cache that can not be written stays as it is, and
    what is compiled then serves this process alone.
    """
    for kernel in kernels:
        _keep_if_possible(kernel)
        folder = kernel.stats.cache_path
        if not folder:
            continue
        stamp = Path(folder) / f".openbook-{kernel.__module__}.{kernel.__name__}"
        with contextlib.suppress(OSError):  # another process may be doing the same
            if stamp.exists() and stamp.read_text() == made_of:
                continue
            for file in (
                *_files(kernel, "nbi"),
                *_files(kernel, "nbc"),
            ):  # code without an index has its name taken anew
                file.unlink(missing_ok=True)
            stamp.parent.mkdir(parents=True, exist_ok=True)
            draft = stamp.with_name(f"{stamp.name}.{os.getpid()}")
            draft.write_text(made_of)
            draft.replace(stamp)


def _keep_if_possible(kernel: Any) -> None:
    """A kernel whose code can not be written to disk (full, or a quota used up) works all the same."""
    cache: Any = getattr(kernel, "_cache", None)
    save = getattr(cache, "save_overload", None)
    if save is None:
        return

    def saved(*arguments: Any) -> None:
        with contextlib.suppress(OSError):
            save(*arguments)

    cache.save_overload = saved


def kept(*kernels: Any) -> bool:
    """Whether every kernel has been compiled before and is kept on disk."""
    python = "py{}{}".format(*sys.version_info)
    return all(any(python in file.name for file in _files(kernel, "nbi")) for kernel in kernels)


def _files(kernel: Any, suffix: str) -> Iterator[Path]:
    """What Numba keeps of a kernel: ``nbi``, which machine code is of which types, and ``nbc``, that code."""
    folder = kernel.stats.cache_path
    return Path(folder).glob(f"*.{kernel.__name__}-*.{suffix}") if folder else iter(())


@intrinsic
def _as_float(_context: Any, _bits: Any = None) -> Any:
    """The float32 with these int32 bits."""

    def codegen(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@njit(**EXACT, **INNER)
def exp32(x: Any) -> Any:
    """e^x to one unit in the last place; x is held within ±87, where float32 is still normal."""
    x = np.float32(87.0) if x > np.float32(87.0) else x
    x = np.float32(-87.0) if x < np.float32(-87.0) else x
    whole = np.floor(x * np.float32(1.44269504088896341) + HALF)
    rest = x - whole * np.float32(0.693359375)
    rest = rest - whole * np.float32(-2.12194440e-4)
    poly = np.float32(1.9875691500e-4)
    poly = poly * rest + np.float32(1.3981999507e-3)
    poly = poly * rest + np.float32(8.3334519073e-3)
    poly = poly * rest + np.float32(4.1665795894e-2)
    poly = poly * rest + np.float32(1.6666665459e-1)
    poly = poly * rest + np.float32(5.0000001201e-1)
    poly = poly * rest * rest + rest + ONE
    return poly * _as_float(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@njit(**EXACT, **INNER)
def _more(out: np.ndarray, at: int, left: Any, right: Any) -> None:
    """out[at : at + 2 WIDTH] += two vectors."""
    store(load(out, at) + left, out, at)
    store(load(out, at + WIDTH) + right, out, at + WIDTH)


@njit(**EXACT, **INNER)
def _four_rows(left: np.ndarray, panel: np.ndarray, out: np.ndarray, first: int, at: int) -> None:
    """out[first : first + 4, at : at + 2 WIDTH] += left[first : first + 4] @ panel, sums held in registers."""
    x0, x1, x2, x3 = left[first], left[first + 1], left[first + 2], left[first + 3]
    K, zero = panel.shape[0], spread(np.float32(0))
    for begin in range(0, K, BLOCK):
        a0 = b0 = a1 = b1 = a2 = b2 = a3 = b3 = zero
        for k in range(begin, min(begin + BLOCK, K)):
            a, b = load(panel[k], 0), load(panel[k], WIDTH)
            x = spread(x0[k])
            a0, b0 = fma(x, a, a0), fma(x, b, b0)
            x = spread(x1[k])
            a1, b1 = fma(x, a, a1), fma(x, b, b1)
            x = spread(x2[k])
            a2, b2 = fma(x, a, a2), fma(x, b, b2)
            x = spread(x3[k])
            a3, b3 = fma(x, a, a3), fma(x, b, b3)
        _more(out[first], at, a0, b0)
        _more(out[first + 1], at, a1, b1)
        _more(out[first + 2], at, a2, b2)
        _more(out[first + 3], at, a3, b3)


@njit(**EXACT, **INNER)
def _one_row(left: np.ndarray, panel: np.ndarray, out: np.ndarray, at: int) -> None:
    """out[at : at + 2 WIDTH] += left @ panel."""
    K, zero = panel.shape[0], spread(np.float32(0))
    for begin in range(0, K, BLOCK):
        a0 = b0 = zero
        for k in range(begin, min(begin + BLOCK, K)):
            x = spread(left[k])
            a0, b0 = fma(x, load(panel[k], 0), a0), fma(x, load(panel[k], WIDTH), b0)
        _more(out, at, a0, b0)


@njit(**EXACT, **INNER)
def _one_long_row(left: np.ndarray, right: np.ndarray, first: int, out: np.ndarray) -> None:
    """``_one_row`` of four panels from ``first`` on: eight sums of which none waits for another."""
    p0, p1, p2, p3, at = right[first], right[first + 1], right[first + 2], right[first + 3], first * 2 * WIDTH
    K, zero = right.shape[1], spread(np.float32(0))
    for begin in range(0, K, BLOCK):
        a0 = b0 = a1 = b1 = a2 = b2 = a3 = b3 = zero
        for k in range(begin, min(begin + BLOCK, K)):
            x = spread(left[k])
            a0, b0 = fma(x, load(p0[k], 0), a0), fma(x, load(p0[k], WIDTH), b0)
            a1, b1 = fma(x, load(p1[k], 0), a1), fma(x, load(p1[k], WIDTH), b1)
            a2, b2 = fma(x, load(p2[k], 0), a2), fma(x, load(p2[k], WIDTH), b2)
            a3, b3 = fma(x, load(p3[k], 0), a3), fma(x, load(p3[k], WIDTH), b3)
        _more(out, at, a0, b0)
        _more(out, at + 2 * WIDTH, a1, b1)
        _more(out, at + 4 * WIDTH, a2, b2)
        _more(out, at + 6 * WIDTH, a3, b3)


@njit(**EXACT, **INNER)
def add_product(n: int, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """out[:n] += left[:n, K] @ right, with ``right`` as ``panels`` lays it out and the rows of ``out`` as ``across`` wide.

    Every number is summed in the order of K, however many rows there are, and ``BLOCK`` terms at a time, so that rounding
    grows with neither.
    """
    P, rows = right.shape[0], n - n % 4
    for p in range(P if rows > 0 else 0):
        for i in range(0, rows, 4):
            _four_rows(left, right[p], out, i, p * 2 * WIDTH)
    for i in range(rows, n):
        for p in range(0, P - P % 4, 4):
            _one_long_row(left[i], right, p, out[i])
        for p in range(P - P % 4, P):
            _one_row(left[i], right[p], out[i], p * 2 * WIDTH)


@njit(**EXACT, **INNER)
def add(value: np.ndarray, out: np.ndarray) -> None:
    """out += value, vectors, as far as both go."""
    D = min(value.shape[0], out.shape[0])
    whole = D - D % WIDTH
    for d in range(0, whole, WIDTH):
        store(load(out, d) + load(value, d), out, d)
    if whole < D:
        store_some(load_some(out, whole, D - whole) + load_some(value, whole, D - whole), out, whole, D - whole)


@njit(**FAST, **INNER)
def softmax_open(score: np.ndarray, open_: np.ndarray, out: np.ndarray) -> None:
    """Softmax of a vector over its open cells; closed ones get exactly 0, and so do all where none is open. What scores say of
    closed cells is lost."""
    T = score.shape[0]
    some = np.int32(open_.shape[0] == 0)
    for t in range(open_.shape[0]):
        score[t] = score[t] if open_[t] else np.float32(-np.inf)
        some |= np.int32(open_[t])
    if some == 0:
        clear(out)
        return
    most = np.float32(-np.inf)
    for t in range(T):
        most = score[t] if score[t] > most else most
    total = np.float32(0)
    for t in range(T):
        gap = score[t] - most
        out[t] = np.float32(0) if gap < LEAST else exp32(gap)
        total += out[t]
    scale = ONE / total
    for t in range(T):
        out[t] *= scale


@njit(**FAST, **INNER)
def softmax_backward(weight: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
    """out = weight (grad - Σ weight grad), the gradient of the scores."""
    total = np.float32(0)
    for t in range(weight.shape[0]):
        total += weight[t] * grad[t]
    for t in range(weight.shape[0]):
        out[t] = weight[t] * (grad[t] - total)


@njit(**EXACT, **INNER)
def _sigmoids(x: Any) -> Any:
    """1 / (1 + e^-x) of lanes."""
    return reciprocal(spread(ONE) + exponential(spread(np.float32(0)) - x))


@njit(**EXACT, **INNER)
def tanhs(x: Any) -> Any:
    """tanh of lanes: a polynomial near zero, where ``1 - 2 / (1 + e^2x)`` would lose digits, that elsewhere."""
    square, one = x * x, spread(ONE)
    near = fma(spread(np.float32(-5.70498872745e-3)), square, spread(np.float32(2.06390887954e-2)))
    near = fma(near, square, spread(np.float32(-5.37397155531e-2)))
    near = fma(near, square, spread(np.float32(1.33314422036e-1)))
    near = fma(near, square, spread(np.float32(-3.33332819422e-1)))
    near = fma(near, square * x, x)
    far = fma(spread(-TWO), reciprocal(one + exponential(x + x)), one)
    return where_less(square, spread(np.float32(0.390625)), near, far)


@njit(**EXACT, **INNER)
def _opened(i: Any, f: Any, g: Any, o: Any, cell: Any) -> Any:
    """The gates opened, the next cell and the next hidden state."""
    i, f, g, o = _sigmoids(i), _sigmoids(f), tanhs(g), _sigmoids(o)
    c = fma(f, cell, i * g)
    return i, f, g, o, c, o * tanhs(c)


@njit(**EXACT, **INNER)
def cell_forward(gates: np.ndarray, cell: np.ndarray, hidden: np.ndarray) -> None:
    """One LSTM step of one window: gates [4D] (i, f, g, o) are opened in place, cell and hidden [D] move on."""
    D = cell.shape[0]
    whole = D - D % WIDTH
    for d in range(0, whole, WIDTH):
        i, f, g, o, c, told = _opened(
            load(gates, d), load(gates, D + d), load(gates, 2 * D + d), load(gates, 3 * D + d), load(cell, d)
        )
        store(i, gates, d)
        store(f, gates, D + d)
        store(g, gates, 2 * D + d)
        store(o, gates, 3 * D + d)
        store(c, cell, d)
        store(told, hidden, d)
    n = D - whole
    if n > 0:
        i, f, g, o, c, told = _opened(
            load_some(gates, whole, n),
            load_some(gates, D + whole, n),
            load_some(gates, 2 * D + whole, n),
            load_some(gates, 3 * D + whole, n),
            load_some(cell, whole, n),
        )
        store_some(i, gates, whole, n)
        store_some(f, gates, D + whole, n)
        store_some(g, gates, 2 * D + whole, n)
        store_some(o, gates, 3 * D + whole, n)
        store_some(c, cell, whole, n)
        store_some(told, hidden, whole, n)


@njit(**EXACT, **INNER)
def _closed(i: Any, f: Any, g: Any, o: Any, cell: Any, before: Any, asked: Any, later: Any) -> Any:
    """Gradients of the four gates' inputs and of the cell before."""
    told, one = tanhs(cell), spread(ONE)
    grad = fma(asked * o, one - told * told, later)
    return (
        grad * g * i * (one - i),
        grad * before * f * (one - f),
        grad * i * (one - g * g),
        asked * told * o * (one - o),
        grad * f,
    )


@njit(**EXACT, **INNER)
def cell_backward(
    gates: np.ndarray,
    cell: np.ndarray,
    before: np.ndarray,
    hidden_grad: np.ndarray,
    cell_grad: np.ndarray,
    out: np.ndarray,
) -> None:
    """Gradients of the gates' inputs [4D] from the opened gates; ``cell_grad`` becomes that of the cell before."""
    D = cell.shape[0]
    whole = D - D % WIDTH
    for d in range(0, whole, WIDTH):
        i, f, g, o, c = _closed(
            load(gates, d),
            load(gates, D + d),
            load(gates, 2 * D + d),
            load(gates, 3 * D + d),
            load(cell, d),
            load(before, d),
            load(hidden_grad, d),
            load(cell_grad, d),
        )
        store(i, out, d)
        store(f, out, D + d)
        store(g, out, 2 * D + d)
        store(o, out, 3 * D + d)
        store(c, cell_grad, d)
    n = D - whole
    if n > 0:
        i, f, g, o, c = _closed(
            load_some(gates, whole, n),
            load_some(gates, D + whole, n),
            load_some(gates, 2 * D + whole, n),
            load_some(gates, 3 * D + whole, n),
            load_some(cell, whole, n),
            load_some(before, whole, n),
            load_some(hidden_grad, whole, n),
            load_some(cell_grad, whole, n),
        )
        store_some(i, out, whole, n)
        store_some(f, out, D + whole, n)
        store_some(g, out, 2 * D + whole, n)
        store_some(o, out, 3 * D + whole, n)
        store_some(c, cell_grad, whole, n)
