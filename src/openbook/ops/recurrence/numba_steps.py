"""The steps of the sequential attention models, compiled: a few windows at a time while their book is in the cache.

One kernel serves both: a step moves the state on by gates, last state and last context, and the new state looks up the next
context. A decoder finds a weighted sum of the book's rows; an encoder finds the next step's inputs, each times its weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from openbook.ops.lanes import across, clear, padded, put
from openbook.ops.numba_math import (
    FAST,
    INNER,
    KERNEL,
    add,
    add_product,
    cell_backward,
    cell_forward,
    forget_older,
    softmax_backward,
    softmax_open,
)
from openbook.ops.numba_scores import (
    add_dots,
    exponentials,
    key_powers,
    scores,
    scores_backward,
    weigh_rows,
    wide_scores,
    wide_scores_backward,
)
from openbook.ops.workers import claim, gather

TILE = 4  # windows whose products share one pass over the weights, and whose keys and their gradients stay in the cache


class Given(NamedTuple):
    """What forward and backward both read; absent arguments are empty arrays.

    ``ahead``: 0 where a step finds rows of the book, 1 where it finds the inputs of the step after it.
    """

    hidden: np.ndarray
    cell: np.ndarray
    context: np.ndarray
    key: np.ndarray
    value: np.ndarray
    mask: np.ndarray
    bias: np.ndarray
    inside: np.ndarray
    score: np.ndarray
    ahead: int


class Products(NamedTuple):
    """The weights as right-hand factors of a row of values, from → to, laid out in ``panels``; absent ones have none."""

    recurrent: np.ndarray
    context: np.ndarray
    entry: np.ndarray
    query_hidden: np.ndarray
    query_cell: np.ndarray


class Trace(NamedTuple):
    """What forward leaves of every step: opened gates, queries, states, contexts, weights."""

    gates: np.ndarray
    query: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray
    context: np.ndarray
    weight: np.ndarray


class Gradients(NamedTuple):
    """What backward leaves; ``query``, ``key`` and ``score`` wait for no factor any more."""

    gates: np.ndarray
    query: np.ndarray
    context: np.ndarray
    slope: np.ndarray
    key: np.ndarray
    score: np.ndarray
    start_hidden: np.ndarray
    start_cell: np.ndarray
    start_context: np.ndarray


@njit(**KERNEL)
def steps_forward(
    board: np.ndarray,
    hoisted: np.ndarray,
    given: Given,
    weights: Products,
    query_bias: np.ndarray,
    looks: int,
    out: Trace,
) -> None:
    """``hoisted`` [B, L, 4D]: the gates known of every step, which may be ``out.gates``; ``looks``: how many steps look up."""
    if gather(board):
        return
    _, L, D4 = out.gates.shape
    D, T, A = D4 // 4, given.key.shape[1], given.key.shape[2]
    C = given.context.shape[1]
    E = weights.context.shape[1] if weights.entry.shape[0] > 0 else 0
    power = np.empty((TILE, A, padded(T)), np.float32)
    wide = np.empty(TILE, np.bool_)
    hidden, cell, context = (
        np.empty((TILE, D), np.float32),
        np.empty((TILE, D), np.float32),
        np.empty((TILE, C), np.float32),
    )
    gates, query = np.zeros((TILE, across(D4)), np.float32), np.zeros((TILE, across(A)), np.float32)
    entry, factor = np.zeros((TILE, across(E)), np.float32), np.empty(A, np.float32)
    line = np.empty(padded(T), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for begin in range(first, last, TILE):
            n = min(TILE, last - begin)
            for i in range(n):
                wide[i] = key_powers(given.key[begin + i], power[i])
                put(given.hidden[begin + i], hidden[i])
                put(given.cell[begin + i], cell[i])
                put(given.context[begin + i], context[i])
            for step in range(L):
                for i in range(n):
                    put(hoisted[begin + i, step], gates[i])
                if E > 0:
                    for i in range(n):
                        clear(entry[i])
                    add_product(n, context, weights.entry, entry)
                add_product(n, entry if E > 0 else context, weights.context, gates)
                add_product(n, hidden, weights.recurrent, gates)
                for i in range(n):
                    b = begin + i
                    if given.inside.shape[0] == 0 or given.inside[b, step]:
                        cell_forward(gates[i], cell[i], hidden[i])
                    put(gates[i], out.gates[b, step])
                    put(hidden[i], out.hidden[b, step])
                    put(cell[i], out.cell[b, step])
                    put(query_bias, query[i])
                add_product(n, hidden, weights.query_hidden, query)
                if weights.query_cell.shape[0] > 0:
                    add_product(n, cell, weights.query_cell, query)
                for i in range(n):
                    b = begin + i
                    put(query[i], out.query[b, step])
                    if step >= looks or (given.inside.shape[0] > 0 and not given.inside[b, step + given.ahead]):
                        clear(context[i])
                        clear(out.weight[b, step])
                    else:
                        if exponentials(query[i], factor) or wide[i]:
                            wide_scores(given.key[b], query[i], given.score, line)
                        else:
                            scores(power[i], factor, given.score, line)
                        if given.bias.shape[0] > 0:
                            add(given.bias[min(step, given.bias.shape[0] - 1)], line[:T])
                        open_ = given.mask[
                            min(b, given.mask.shape[0] - 1), min(step + given.ahead, given.mask.shape[1] - 1)
                        ]
                        softmax_open(line[:T], open_, out.weight[b, step])
                        if given.ahead > 0:
                            for c in range(C):
                                context[i, c] = out.weight[b, step, c] * given.value[b, step + 1, c]
                        else:
                            weigh_rows(out.weight[b, step], given.value[b], context[i])
                    put(context[i], out.context[b, step])
        first, last = claim(board, last - first)


@njit(**KERNEL)
def reopen(board: np.ndarray, given: Given, gates: np.ndarray, cell: np.ndarray) -> None:
    """``gates`` holds what went into every step's gates and becomes the opened ones; ``cell`` the state after each step."""
    if gather(board):
        return
    _, L, D4 = gates.shape
    state, hidden = np.empty(D4 // 4, np.float32), np.empty(D4 // 4, np.float32)
    first, last = claim(board, 0)
    while first < last:
        for b in range(first, last):
            put(given.cell[b], state)
            for step in range(L):
                if given.inside.shape[0] == 0 or given.inside[b, step]:
                    cell_forward(gates[b, step], state, hidden)
                put(state, cell[b, step])
        first, last = claim(board, last - first)


@njit(**FAST, **INNER)
def _look_backward(
    key: np.ndarray,
    power: np.ndarray,
    wide: bool,
    query: np.ndarray,
    factor: np.ndarray,
    steep: np.ndarray,
    power_grad: np.ndarray,
    query_grad: np.ndarray,
    score_grad: np.ndarray,
) -> None:
    """The gradient of one look-up's scores, exact exponentials where the factors do not fit."""
    if exponentials(query, factor) or wide:
        wide_scores_backward(key, query, steep, power_grad, query_grad, score_grad)
    else:
        scores_backward(power, factor, steep, power_grad, query_grad, score_grad)


@njit(**KERNEL)
def steps_backward(
    board: np.ndarray,
    given: Given,
    weights: Products,
    trace: Trace,
    hidden_grad: np.ndarray,
    weight_grad: np.ndarray,
    looks: int,
    out: Gradients,
) -> None:
    """``out.context`` holds the gradient of the contexts as they were read outside and becomes the whole.

    ``weights`` lead from a step's gates and query back to what they were made of; ``out.start_cell`` is written last.
    """
    if gather(board):
        return
    _, L, D4 = trace.gates.shape
    D, T, A = D4 // 4, given.key.shape[1], given.key.shape[2]
    C, E = given.context.shape[1], weights.entry.shape[1]
    power, power_grad = np.empty((TILE, A, padded(T)), np.float32), np.empty((TILE, A, padded(T)), np.float32)
    wide = np.empty(TILE, np.bool_)
    hidden, cell, context = (
        np.zeros((TILE, across(D)), np.float32),
        np.zeros((TILE, across(D)), np.float32),
        np.zeros((TILE, across(C)), np.float32),
    )
    gates, query = np.empty((TILE, D4), np.float32), np.empty((TILE, A), np.float32)
    entry, factor, line = np.zeros((TILE, across(E)), np.float32), np.empty(A, np.float32), np.empty(T, np.float32)
    steep = np.zeros(padded(T), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for begin in range(first, last, TILE):
            n = min(TILE, last - begin)
            for i in range(n):
                for a in range(A):
                    clear(power_grad[i, a])
                clear(hidden[i])
                clear(cell[i])
                clear(context[i])
                clear(out.score[begin + i])
                wide[i] = key_powers(given.key[begin + i], power[i])
            for back in range(L):
                step = L - 1 - back
                for i in range(n):
                    b = begin + i
                    clear(query[i])
                    if step >= looks or (given.inside.shape[0] > 0 and not given.inside[b, step + given.ahead]):
                        clear(out.context[b, step])
                        if out.slope.shape[0] > 0:
                            clear(out.slope[b, step])
                    else:
                        add(context[i], out.context[b, step])
                        if weight_grad.shape[0] > 0:
                            put(weight_grad[b, step], line)
                        else:
                            clear(line)
                        if given.ahead > 0:
                            for c in range(C):
                                line[c] += given.value[b, step + 1, c] * out.context[b, step, c]
                        else:
                            add_dots(given.value[b], out.context[b, step], line)
                        softmax_backward(trace.weight[b, step], line, steep[:T])
                        if out.slope.shape[0] > 0:
                            put(steep, out.slope[b, step])
                        _look_backward(
                            given.key[b],
                            power[i],
                            wide[i],
                            trace.query[b, step],
                            factor,
                            steep,
                            power_grad[i],
                            query[i],
                            out.score[b],
                        )
                        for a in range(A):
                            query[i, a] *= np.float32(4) * given.score[a]
                    put(query[i], out.query[b, step])
                    add(hidden_grad[b, step], hidden[i])
                add_product(n, query, weights.query_hidden, hidden)
                if weights.query_cell.shape[0] > 0:
                    add_product(n, query, weights.query_cell, cell)
                for i in range(n):
                    b = begin + i
                    if given.inside.shape[0] == 0 or given.inside[b, step]:
                        before = trace.cell[b, step - 1] if step > 0 else given.cell[b]
                        cell_backward(trace.gates[b, step], trace.cell[b, step], before, hidden[i], cell[i], gates[i])
                        clear(hidden[i])
                    else:
                        clear(gates[i])
                    put(gates[i], out.gates[b, step])
                    clear(context[i])
                add_product(n, gates, weights.recurrent, hidden)
                for i in range(n if E > 0 else 0):
                    clear(entry[i])
                add_product(n, gates, weights.context, entry if E > 0 else context)
                if E > 0:
                    add_product(n, entry, weights.entry, context)
            for i in range(n):
                b = begin + i
                put(hidden[i], out.start_hidden[b])
                put(cell[i], out.start_cell[b])
                put(context[i], out.start_context[b])
                for t in range(T):
                    for a in range(A):
                        out.key[b, t, a] = np.float32(4) * given.score[a] * power_grad[i, a, t]
                for a in range(A):
                    out.score[b, a] *= np.float32(-2)
        first, last = claim(board, last - first)


KERNELS = (steps_forward, steps_backward, reopen)
forget_older(*KERNELS)
