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
def _bent(row: np.ndarray, at: int, factor: Any) -> Any:
    """tanh of WIDTH times: 1 - 2 / (1 + power factor)."""
    one = spread(ONE)
    return fma(spread(-TWO), reciprocal(fma(load(row, at), factor, one)), one)


@njit(**EXACT, **INNER)
def scores(power: np.ndarray, factor: np.ndarray, score: np.ndarray, out: np.ndarray) -> None:
    """out[t] = Σ_a v_a tanh(k_ta + q_a) as v (1 - 2 / (1 + power factor)), with power = exp(2k) and factor = exp(2q).

    Units are summed by twos and 32 at a time, so that rounding does not grow with their number. One without a partner is
    its own, weighed by zero.
    """
    A, T = power.shape
    zero = spread(np.float32(0))
    for t in range(0, T, 2 * WIDTH):
        two = t + WIDTH < T
        s0 = s1 = zero
        for begin in range(0, A, 32):
            p0 = p1 = zero
            for a in range(begin, min(begin + 32, A), 2):
                b = min(a + 1, A - 1)
                f, g, v = spread(factor[a]), spread(factor[b]), spread(score[a])
                w = spread(score[b] if b > a else np.float32(0))
                p0 = p0 + fma(w, _bent(power[b], t, g), v * _bent(power[a], t, f))
                if two:
                    p1 = p1 + fma(w, _bent(power[b], t + WIDTH, g), v * _bent(power[a], t + WIDTH, f))
            s0, s1 = s0 + p0, s1 + p1
        store(s0, out, t)
        if two:
            store(s1, out, t + WIDTH)


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
    score_grad: np.ndarray,
) -> None:
    """Adds to the gradients of keys [A, P] and query [A] what stands before ``4 v_a``, and to v's what stands before -2.

    With r = 1 / (1 + e^2(k+q)): tanh = -2 (r - 1/2), and its derivative is 4 r (1 - r).
    """
    A, T = power.shape
    one, half = spread(ONE), spread(HALF)
    for a in range(A):
        f, row, grad = spread(factor[a]), power[a], power_grad[a]
        asked = told = spread(np.float32(0))
        for t in range(0, T, WIDTH):
            p, steep = load(row, t), load(slope, t)
            x, r = p * f, reciprocal(fma(p, f, one))
            told = fma(steep, r - half, told)
            weighed = (steep * r) * (x * r)  # x r is 1 - r without its cancellation
            asked = asked + weighed
            store(load(grad, t) + weighed, grad, t)
        query_grad[a] += total(asked)
        score_grad[a] += total(told)


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
