"""Look-ups on the CPU: additive scores v·tanh(k + q) from the exponentials of keys and query, what weights find, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from openbook.ops.lanes import (
    WIDTH,
    clear,
    exponential,
    fetch,
    fma,
    load,
    load_some,
    reciprocal,
    spread,
    store,
    store_some,
    total,
)
from openbook.ops.numba_math import EXACT, FAST, HALF, INNER, ONE, TWO, exp32, tanhs

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
def _bent(power: np.ndarray, at: int, factor: Any) -> Any:
    """tanh / -2 of WIDTH times: 1 / (1 + power factor) - 1/2."""
    return reciprocal(fma(load(power, at), factor, spread(ONE))) - spread(HALF)


@njit(**EXACT, **INNER)
def _four(power: np.ndarray, factor: np.ndarray, score: np.ndarray, first: int, at: int) -> Any:
    """Σ v tanh / -2 of the four units from ``first`` on, by twos."""
    left = spread(score[first]) * _bent(power[first], at, spread(factor[first]))
    left = fma(spread(score[first + 1]), _bent(power[first + 1], at, spread(factor[first + 1])), left)
    right = spread(score[first + 2]) * _bent(power[first + 2], at, spread(factor[first + 2]))
    return left + fma(spread(score[first + 3]), _bent(power[first + 3], at, spread(factor[first + 3])), right)


@njit(**EXACT, **INNER)
def scores(power: np.ndarray, factor: np.ndarray, score: np.ndarray, out: np.ndarray) -> None:
    """out[t] = Σ_a v_a tanh(k_ta + q_a) as v (1 - 2 / (1 + power factor)), with power = exp(2k) and factor = exp(2q).

    Eight units at once are eight streams of memory, the next eight of which are fetched meanwhile; summed by twos, their
    rounding hardly adds up.
    """
    A, T = power.shape
    whole = A - A % 8
    clear(out)
    for a in range(0, whole, 8):
        for t in range(0, T, WIDTH):
            for k in range(a, a + 8):
                fetch(power[k], 8 * T + t)
            eight = _four(power, factor, score, a, t) + _four(power, factor, score, a + 4, t)
            store(load(out, t) + eight, out, t)
    for a in range(whole, A):
        for t in range(0, T, WIDTH):
            store(fma(spread(score[a]), _bent(power[a], t, spread(factor[a])), load(out, t)), out, t)
    for t in range(0, T, WIDTH):
        store(load(out, t) * spread(-TWO), out, t)


@njit(**EXACT, **INNER)
def wide_scores(key: np.ndarray, query: np.ndarray, score: np.ndarray, out: np.ndarray) -> None:
    """``scores`` where the factors do not fit float32: the exponential of every sum."""
    A = key.shape[1]
    for t in range(key.shape[0]):
        row, found = key[t], spread(np.float32(0))
        for a in range(0, A, WIDTH):
            n = A - a
            bent = tanhs(load_some(row, a, n) + load_some(query, a, n))
            found = fma(load_some(score, a, n), bent, found)
        out[t] = total(found)


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


@njit(**EXACT, **INNER)
def wide_scores_backward(
    key: np.ndarray,
    query: np.ndarray,
    slope: np.ndarray,
    power_grad: np.ndarray,
    query_grad: np.ndarray,
    score_grad: np.ndarray,
) -> None:
    """``scores_backward`` where the factors do not fit float32."""
    A, one, half = key.shape[1], spread(ONE), spread(HALF)
    line = np.empty(A, np.float32)
    for t in range(key.shape[0]):
        row, steep = key[t], spread(slope[t])
        for a in range(0, A, WIDTH):
            n = A - a
            z = load_some(row, a, n) + load_some(query, a, n)
            x = exponential(z + z)
            r = reciprocal(one + x)
            weighed = (steep * r) * (x * r)
            store_some(fma(steep, r - half, load_some(score_grad, a, n)), score_grad, a, n)
            store_some(load_some(query_grad, a, n) + weighed, query_grad, a, n)
            store_some(weighed, line, a, n)
        for a in range(A):
            power_grad[a, t] += line[a]


@njit(**EXACT, **INNER)
def weigh_rows(weight: np.ndarray, value: np.ndarray, out: np.ndarray) -> None:
    """out[d] = Σ_t weight[t] value[t, d], eight vectors of a row at once: sums that do not wait for each other."""
    (T, D), zero = value.shape, spread(np.float32(0))
    whole = D - D % (8 * WIDTH)
    for d in range(0, whole, 8 * WIDTH):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = zero
        for t in range(T):
            row, w = value[t], spread(weight[t])
            for k in range(0, 8 * WIDTH, 16):
                fetch(row, d + 4 * D + k)
            a0, a1 = fma(w, load(row, d), a0), fma(w, load(row, d + WIDTH), a1)
            a2, a3 = fma(w, load(row, d + 2 * WIDTH), a2), fma(w, load(row, d + 3 * WIDTH), a3)
            a4, a5 = fma(w, load(row, d + 4 * WIDTH), a4), fma(w, load(row, d + 5 * WIDTH), a5)
            a6, a7 = fma(w, load(row, d + 6 * WIDTH), a6), fma(w, load(row, d + 7 * WIDTH), a7)
        for at, left, right in ((d, a0, a1), (d + 2 * WIDTH, a2, a3), (d + 4 * WIDTH, a4, a5), (d + 6 * WIDTH, a6, a7)):
            store(left, out, at)
            store(right, out, at + WIDTH)
    for d in range(whole, D, WIDTH):
        n, a0, a1 = D - d, zero, zero
        for t in range(0, T - T % 2, 2):
            a0 = fma(spread(weight[t]), load_some(value[t], d, n), a0)
            a1 = fma(spread(weight[t + 1]), load_some(value[t + 1], d, n), a1)
        for t in range(T - T % 2, T):
            a0 = fma(spread(weight[t]), load_some(value[t], d, n), a0)
        store_some(a0 + a1, out, d, n)


@njit(**FAST, **INNER)
def add_dots(value: np.ndarray, grad: np.ndarray, out: np.ndarray) -> None:
    """out[t] += value[t] · grad."""
    T, D = value.shape
    for t in range(T):
        total = np.float32(0)
        for d in range(D):
            total += value[t, d] * grad[d]
        out[t] += total
