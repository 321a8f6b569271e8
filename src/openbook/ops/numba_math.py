"""What the CPU kernels share: elementary functions, small products and additive scores that LLVM can vectorise.

Everything is float32 and written so that no loop has a branch LLVM must keep: the functions come from arithmetic alone
(the C library's would be called one number at a time), and NaN passes through all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# Neither NaN nor infinity is assumed away; sums may be taken in any order that suits the vectors.
FAST: dict[str, Any] = {"fastmath": {"reassoc", "contract", "arcp", "nsz"}, "nogil": True, "error_model": "numpy"}
# Where the order of the operations is the point: reductions of the argument of exp, sums of scores.
EXACT: dict[str, Any] = {**FAST, "fastmath": {"contract", "nsz"}}
# Kernels alone are called from Python; the functions they are made of need no way in, which would have to be compiled too.
INNER: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

# exp(2a) and exp(2b) are kept within exp(±43), so that their product can not overflow; wider inputs take the plain path.
CLIP = np.float32(43.0)
# Shares below e^-60 count as none: no sum notices them, and numbers too small for float32's normal range are slow.
LEAST = np.float32(-60.0)
ONE, TWO, HALF = np.float32(1), np.float32(2), np.float32(0.5)


def _can_cache() -> bool:
    """Whether compiled kernels can be kept on disk: beside the source or in the user's cache folder."""
    try:
        njit(cache=True)(lambda: None)
    except RuntimeError:
        return False
    return True


KERNEL: dict[str, Any] = {**FAST, "cache": _can_cache()}


def forget_older(*kernels: Any, than: float = Path(__file__).stat().st_mtime) -> None:
    """Delete what was compiled of kernels before this file changed: Numba looks at the kernel's own file alone."""
    for kernel in kernels:
        folder = kernel.stats.cache_path
        for index in Path(folder).glob(f"*.{kernel.__name__}-*.nbi") if folder else ():
            if index.stat().st_mtime < than:
                index.unlink(missing_ok=True)


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
def sigmoid32(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return ONE / (ONE + exp32(-x))


@njit(**EXACT, **INNER)
def tanh32(x: Any) -> Any:
    """tanh: a polynomial near zero, where ``1 - 2 / (1 + e^2x)`` would lose digits, that elsewhere."""
    square = x * x
    near = np.float32(-5.70498872745e-3)
    near = near * square + np.float32(2.06390887954e-2)
    near = near * square + np.float32(-5.37397155531e-2)
    near = near * square + np.float32(1.33314422036e-1)
    near = near * square + np.float32(-3.33332819422e-1)
    near = near * square * x + x
    far = ONE - TWO / (ONE + exp32(TWO * x))
    return near if square < np.float32(0.390625) else far


@njit(**FAST, **INNER)
def add_product(n: int, left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """out[:n, J] += left[:n, K] @ right[K, J]: four rows of ``right`` serve all n from the L1 cache.

    Writing two rows of ``out`` in one loop would be faster still, but LLVM then may not see that they do not overlap.
    """
    K, J = right.shape
    whole = K - K % 4
    for k in range(0, whole, 4):
        for i in range(n):
            a0, a1, a2, a3 = left[i, k], left[i, k + 1], left[i, k + 2], left[i, k + 3]
            for j in range(J):
                out[i, j] += a0 * right[k, j] + a1 * right[k + 1, j] + a2 * right[k + 2, j] + a3 * right[k + 3, j]
    for k in range(whole, K):
        for i in range(n):
            a0 = left[i, k]
            for j in range(J):
                out[i, j] += a0 * right[k, j]


@njit(**FAST, **INNER)
def put(value: np.ndarray, out: np.ndarray) -> None:
    """out = value, vectors; a call compiles faster than an assignment of slices."""
    for d in range(out.shape[0]):
        out[d] = value[d]


@njit(**FAST, **INNER)
def clear(out: np.ndarray) -> None:
    """A vector of zeros."""
    for d in range(out.shape[0]):
        out[d] = np.float32(0)


@njit(**FAST, **INNER)
def add(value: np.ndarray, out: np.ndarray) -> None:
    """out += value, vectors."""
    for d in range(out.shape[0]):
        out[d] += value[d]


@njit(**FAST, **INNER)
def exponentials(value: np.ndarray, out: np.ndarray) -> bool:
    """out = exp(2 value) of a vector, clipped; true where clipping would change a score."""
    wide = np.int32(0)
    for a in range(value.shape[0]):
        x = TWO * value[a]
        wide |= np.int32(x > CLIP) | np.int32(x < -CLIP)
        x = CLIP if x > CLIP else x
        x = -CLIP if x < -CLIP else x
        out[a] = exp32(x)
    return wide != 0


@njit(**FAST, **INNER)
def key_powers(key: np.ndarray, out: np.ndarray) -> bool:
    """out[A, P] = exp(2 key[T, A]) with time along the vectors, zero beyond T; true where clipping would change a score."""
    T, A = key.shape
    row, wide = np.empty(A, np.float32), False
    for t in range(T):
        wide |= exponentials(key[t], row)
        for a in range(A):
            out[a, t] = row[a]
    for a in range(A):
        for t in range(T, out.shape[1]):
            out[a, t] = np.float32(0)
    return wide


@njit(**EXACT, **INNER)
def scores(power: np.ndarray, factor: np.ndarray, score: np.ndarray, out: np.ndarray, part: np.ndarray) -> None:
    """out[t] = Σ_a v_a tanh(k_ta + q_a) as v (1 - 2 / (1 + power factor)), with power = exp(2k) and factor = exp(2q).

    Units are summed 32 at a time, so that rounding does not grow with their number; ``part`` is scratch.
    """
    A, T = power.shape
    clear(out)
    for begin in range(0, A, 32):
        end = min(begin + 32, A)
        whole = end - (end - begin) % 4
        clear(part)
        for a in range(begin, whole, 4):
            f0, f1, f2, f3 = factor[a], factor[a + 1], factor[a + 2], factor[a + 3]
            v0, v1, v2, v3 = score[a], score[a + 1], score[a + 2], score[a + 3]
            for t in range(T):
                y0, y1 = ONE - TWO / (ONE + power[a, t] * f0), ONE - TWO / (ONE + power[a + 1, t] * f1)
                y2, y3 = ONE - TWO / (ONE + power[a + 2, t] * f2), ONE - TWO / (ONE + power[a + 3, t] * f3)
                part[t] += (v0 * y0 + v1 * y1) + (v2 * y2 + v3 * y3)
        for a in range(whole, end):
            f0, v0 = factor[a], score[a]
            for t in range(T):
                part[t] += v0 * (ONE - TWO / (ONE + power[a, t] * f0))
        add(part, out)


@njit(**FAST, **INNER)
def wide_scores(key: np.ndarray, query: np.ndarray, score: np.ndarray, out: np.ndarray) -> None:
    """``scores`` where the factors do not fit float32: the exponential of every sum."""
    for t in range(key.shape[0]):
        total = np.float32(0)
        for a in range(key.shape[1]):
            total += score[a] * tanh32(key[t, a] + query[a])
        out[t] = total


@njit(**FAST, **INNER)
def scores_backward(
    power: np.ndarray,
    factor: np.ndarray,
    slope: np.ndarray,
    power_grad: np.ndarray,
    query_grad: np.ndarray,
    score_grad: np.ndarray,
) -> None:
    """Adds to the gradients of keys [A, P] and query [A] what stands before ``4 v_a``, and to v's what stands before -2.

    With r = 1 / (1 + e^2(k+q)): tanh = -2 (r - 1/2), and its derivative is 4 r (1 - r).
    """
    A, T = power.shape
    for a in range(A):
        f, asked, read = factor[a], np.float32(0), np.float32(0)
        for t in range(T):
            x = power[a, t] * f
            r = ONE / (ONE + x)
            read += slope[t] * (r - HALF)
            weighed = slope[t] * r * (x * r)  # x r is 1 - r without its cancellation
            asked += weighed
            power_grad[a, t] += weighed
        query_grad[a] += asked
        score_grad[a] += read


@njit(**FAST, **INNER)
def wide_scores_backward(
    key: np.ndarray,
    query: np.ndarray,
    slope: np.ndarray,
    power_grad: np.ndarray,
    query_grad: np.ndarray,
    score_grad: np.ndarray,
) -> None:
    """``scores_backward`` where the factors do not fit float32."""
    for t in range(key.shape[0]):
        for a in range(key.shape[1]):
            z = TWO * (key[t, a] + query[a])
            e = exp32(-abs(z))
            r = ONE / (ONE + e)
            score_grad[a] += slope[t] * ((e * r if z > 0 else r) - HALF)
            weighed = slope[t] * e * r * r
            query_grad[a] += weighed
            power_grad[a, t] += weighed


@njit(**FAST, **INNER)
def softmax_open(score: np.ndarray, open_: np.ndarray, out: np.ndarray) -> None:
    """Softmax of a vector over its open cells; closed ones get exactly 0, and so do all where none is open."""
    T = score.shape[0]
    if open_.shape[0] == 0:
        most = score[0]
        for t in range(T):
            most = score[t] if score[t] > most else most
        total = np.float32(0)
        for t in range(T):
            gap = score[t] - most
            out[t] = np.float32(0) if gap < LEAST else exp32(gap)
            total += out[t]
    else:
        most = np.float32(-np.inf)
        for t in range(T):
            x = score[t] if open_[t] else np.float32(-np.inf)
            most = x if x > most else most
        total = np.float32(0)
        for t in range(T):
            gap = score[t] - most
            out[t] = np.float32(0) if gap < LEAST or not open_[t] else exp32(gap)
            total += out[t]
        if total == np.float32(0):
            return
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


@njit(**FAST, **INNER)
def weigh_rows(weight: np.ndarray, value: np.ndarray, out: np.ndarray) -> None:
    """out[d] = Σ_t weight[t] value[t, d], four rows at once."""
    T, D = value.shape
    whole = T - T % 4
    for d in range(D):
        out[d] = np.float32(0)
    for t in range(0, whole, 4):
        w0, w1, w2, w3 = weight[t], weight[t + 1], weight[t + 2], weight[t + 3]
        for d in range(D):
            out[d] += w0 * value[t, d] + w1 * value[t + 1, d] + w2 * value[t + 2, d] + w3 * value[t + 3, d]
    for t in range(whole, T):
        w0 = weight[t]
        for d in range(D):
            out[d] += w0 * value[t, d]


@njit(**FAST, **INNER)
def add_dots(value: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
    """out[t] += value[t] · grad."""
    T, D = value.shape
    for t in range(T):
        total = np.float32(0)
        for d in range(D):
            total += value[t, d] * grad[d]
        out[t] += total


@njit(**FAST, **INNER)
def cell_forward(gates: np.ndarray, cell: np.ndarray, hidden: np.ndarray) -> None:
    """One LSTM step of one window: gates [4D] (i, f, g, o) are opened in place, cell and hidden [D] move on."""
    D = cell.shape[0]
    for j in range(2 * D):
        gates[j] = sigmoid32(gates[j])
    for j in range(2 * D, 3 * D):
        gates[j] = tanh32(gates[j])
    for j in range(3 * D, 4 * D):
        gates[j] = sigmoid32(gates[j])
    for d in range(D):
        c = gates[D + d] * cell[d] + gates[d] * gates[2 * D + d]
        cell[d] = c
        hidden[d] = gates[3 * D + d] * tanh32(c)


@njit(**FAST, **INNER)
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
    for d in range(D):
        i, f, g, o = gates[d], gates[D + d], gates[2 * D + d], gates[3 * D + d]
        told = tanh32(cell[d])
        grad = cell_grad[d] + hidden_grad[d] * o * (ONE - told * told)
        out[d] = grad * g * i * (ONE - i)
        out[D + d] = grad * before[d] * f * (ONE - f)
        out[2 * D + d] = grad * i * (ONE - g * g)
        out[3 * D + d] = hidden_grad[d] * told * o * (ONE - o)
        cell_grad[d] = grad * f


@njit(**FAST, **INNER)
def padded(T: int) -> int:
    """T rounded up to whole vectors."""
    return (T + 7) // 8 * 8
