"""Additive scores and their gradients on the CPU: v·tanh(k + q) from the exponentials of keys and query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from openbook.ops.lanes import WIDTH, fma, load, reciprocal, spread, store, total
from openbook.ops.numba_math import EXACT, FAST, HALF, INNER, ONE, TWO, exp32, tanh32

# exp(2a) and exp(2b) are kept within exp(±43), so that their product can not overflow; wider inputs take the plain path.
CLIP = np.float32(43.0)


@njit(**FAST, **INNER)
def exponentials(value: np.ndarray, out: np.ndarray) -> bool:
    """out = exp(2 value) of a vector as long as ``out``, clipped; true where clipping would change a score."""
    wide = np.int32(0)
    for a in range(out.shape[0]):
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
def _bent(row: np.ndarray, at: int, factor: Any, weight: Any, total: Any) -> Any:
    """total + v (1 - 2 / (1 + power factor)) of WIDTH times."""
    one = spread(ONE)
    return fma(weight, fma(spread(-TWO), reciprocal(fma(load(row, at), factor, one)), one), total)


@njit(**EXACT, **INNER)
def scores(power: np.ndarray, factor: np.ndarray, score: np.ndarray, out: np.ndarray) -> None:
    """out[t] = Σ_a v_a tanh(k_ta + q_a) as v (1 - 2 / (1 + power factor)), with power = exp(2k) and factor = exp(2q).

    Units are summed 32 at a time, so that rounding does not grow with their number.
    """
    A, T = power.shape
    zero = spread(np.float32(0))
    whole = T - T % (4 * WIDTH)
    for t in range(0, whole, 4 * WIDTH):
        s0 = s1 = s2 = s3 = zero
        for begin in range(0, A, 32):
            p0 = p1 = p2 = p3 = zero
            for a in range(begin, min(begin + 32, A)):
                row, f, v = power[a], spread(factor[a]), spread(score[a])
                p0, p1 = _bent(row, t, f, v, p0), _bent(row, t + WIDTH, f, v, p1)
                p2, p3 = _bent(row, t + 2 * WIDTH, f, v, p2), _bent(row, t + 3 * WIDTH, f, v, p3)
            s0, s1, s2, s3 = s0 + p0, s1 + p1, s2 + p2, s3 + p3
        store(s0, out, t)
        store(s1, out, t + WIDTH)
        store(s2, out, t + 2 * WIDTH)
        store(s3, out, t + 3 * WIDTH)
    for t in range(whole, T, WIDTH):
        s0 = zero
        for begin in range(0, A, 32):
            p0 = zero
            for a in range(begin, min(begin + 32, A)):
                p0 = _bent(power[a], t, spread(factor[a]), spread(score[a]), p0)
            s0 = s0 + p0
        store(s0, out, t)


@njit(**FAST, **INNER)
def wide_scores(key: np.ndarray, query: np.ndarray, score: np.ndarray, out: np.ndarray) -> None:
    """``scores`` where the factors do not fit float32: the exponential of every sum."""
    for t in range(key.shape[0]):
        total = np.float32(0)
        for a in range(key.shape[1]):
            total += score[a] * tanh32(key[t, a] + query[a])
        out[t] = total


@njit(**EXACT, **INNER)
def scores_backward(
    power: np.ndarray,
    factor: np.ndarray,
    slope: np.ndarray,
    power_grad: np.ndarray,
    query_grad: np.ndarray,
    read: np.ndarray,
) -> None:
    """Adds to the gradients of keys [A, P] and query [A] what stands before ``4 v_a``, and to v's what stands before -2.

    With r = 1 / (1 + e^2(k+q)): tanh = -2 (r - 1/2), and its derivative is 4 r (1 - r). ``read`` [A, WIDTH] holds v's in parts.
    """
    A, T = power.shape
    one, half = spread(ONE), spread(HALF)
    for a in range(A):
        f, row, grad = spread(factor[a]), power[a], power_grad[a]
        asked, told = spread(np.float32(0)), load(read[a], 0)
        for t in range(0, T, WIDTH):
            x, steep = load(row, t) * f, load(slope, t)
            r = reciprocal(one + x)
            told = fma(steep, r - half, told)
            weighed = (steep * r) * (x * r)  # x r is 1 - r without its cancellation
            asked = asked + weighed
            store(load(grad, t) + weighed, grad, t)
        query_grad[a] += total(asked)
        store(told, read[a], 0)


@njit(**FAST, **INNER)
def wide_scores_backward(
    key: np.ndarray,
    query: np.ndarray,
    slope: np.ndarray,
    power_grad: np.ndarray,
    query_grad: np.ndarray,
    read: np.ndarray,
) -> None:
    """``scores_backward`` where the factors do not fit float32."""
    for t in range(key.shape[0]):
        for a in range(key.shape[1]):
            z = TWO * (key[t, a] + query[a])
            e = exp32(-abs(z))
            r = ONE / (ONE + e)
            read[a, 0] += slope[t] * ((e * r if z > 0 else r) - HALF)
            weighed = slope[t] * e * r * r
            query_grad[a] += weighed
            power_grad[a, t] += weighed
