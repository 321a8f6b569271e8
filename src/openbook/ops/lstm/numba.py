"""An LSTM on the CPU: inputs and last state in one product, gates opened while they are in the cache.

Back-propagation through time is written by hand: the steps backwards leave the gradients of the gates, and every weight's
gradient is one product of all of them after the loop.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from openbook.ops.arrays import array, nothing, room
from openbook.ops.lanes import across, clear, panels, put
from openbook.ops.numba_math import KERNEL, ONE, add, add_product, cell_backward, cell_forward, forget_older
from openbook.ops.products import narrow_product, summed_product
from openbook.ops.types import LSTMWeights, Read
from openbook.ops.workers import claim, gather, share_out

TILE = 4  # windows whose products share one pass over the weights


class _Given(NamedTuple):
    """Inputs, which steps exist (empty: all), and the state the windows begin with."""

    input: np.ndarray
    inside: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray


class _Trace(NamedTuple):
    """What forward leaves of every step: opened gates, states."""

    gates: np.ndarray
    hidden: np.ndarray
    cell: np.ndarray


class _Grads(NamedTuple):
    """Gradients by the states of every step (empty where nobody read them), and by the last state."""

    hidden: np.ndarray
    cell: np.ndarray
    last_hidden: np.ndarray
    last_cell: np.ndarray


@njit(**KERNEL)
def lstm_forward(board: np.ndarray, given: _Given, weights: np.ndarray, out: _Trace) -> None:
    """``weights``: of the last state, the input and one, [D + X + 1, 4D] in ``panels``."""
    if gather(board):
        return
    _, T, X = given.input.shape
    D = given.hidden.shape[1]
    row, cell = np.empty((TILE, D + X + 1), np.float32), np.empty((TILE, D), np.float32)
    gates = np.zeros((TILE, across(4 * D)), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for begin in range(first, last, TILE):
            n = min(TILE, last - begin)
            for i in range(n):
                put(given.hidden[begin + i], row[i])
                put(given.cell[begin + i], cell[i])
                row[i, D + X] = ONE
            for step in range(T):
                for i in range(n):
                    put(given.input[begin + i, step], row[i, D:])
                    clear(gates[i])
                add_product(n, row, weights, gates)
                for i in range(n):
                    b = begin + i
                    if given.inside.shape[0] == 0 or given.inside[b, step]:
                        cell_forward(gates[i], cell[i], row[i])
                    put(gates[i], out.gates[b, step])
                    put(row[i], out.hidden[b, step])
                    put(cell[i], out.cell[b, step])
        first, last = claim(board, last - first)


@njit(**KERNEL)
def lstm_backward(
    board: np.ndarray,
    given: _Given,
    recurrent: np.ndarray,
    trace: _Trace,
    grads: _Grads,
    gates_grad: np.ndarray,
    hidden_grad: np.ndarray,
    cell_grad: np.ndarray,
) -> None:
    """Writes the gradients of the gates' inputs [B, T, 4D], and of the state that the windows begin with [B, D] each."""
    if gather(board):
        return
    _, T, D4 = trace.gates.shape
    D = D4 // 4
    hidden, cell = np.zeros((TILE, across(D)), np.float32), np.empty((TILE, D), np.float32)
    gates = np.empty((TILE, D4), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for begin in range(first, last, TILE):
            n = min(TILE, last - begin)
            for i in range(n):
                put(grads.last_hidden[begin + i], hidden[i])
                put(grads.last_cell[begin + i], cell[i])
            for back in range(T):
                step = T - 1 - back
                for i in range(n):
                    b = begin + i
                    if grads.hidden.shape[0] > 0:
                        add(grads.hidden[b, step], hidden[i])
                    if grads.cell.shape[0] > 0:
                        add(grads.cell[b, step], cell[i])
                    if given.inside.shape[0] == 0 or given.inside[b, step]:
                        before = trace.cell[b, step - 1] if step > 0 else given.cell[b]
                        cell_backward(trace.gates[b, step], trace.cell[b, step], before, hidden[i], cell[i], gates[i])
                        clear(hidden[i])
                    else:
                        clear(gates[i])
                    put(gates[i], gates_grad[b, step])
                add_product(n, gates, recurrent, hidden)
            for i in range(n):
                put(hidden[i], hidden_grad[begin + i])
                put(cell[i], cell_grad[begin + i])
        first, last = claim(board, last - first)


KERNELS = (lstm_forward, lstm_backward)
forget_older(*KERNELS)


class _Steps(torch.autograd.Function):
    """Inputs flattened: input, weights (4), inside, start (2). Gives hidden and cell states of all steps, and the last."""

    @staticmethod
    def forward(ctx: Any, input_BTX: Tensor, *parts: Any) -> tuple[Tensor, ...]:
        weights, inside_BT, start = LSTMWeights(*parts[:4]), parts[4], parts[5:]
        (B, T, _), D = input_BTX.shape, weights.recurrent_4D.shape[1]
        trace = room(B, T, 4 * D), room(B, T, D), room(B, T, D)
        bias_4 = weights.entry_bias_4 + weights.recurrent_bias_4
        entry_4X = weights.entry_4X[:, : input_BTX.shape[2]]  # without the column that stands for padding
        both_4Y = torch.cat([weights.recurrent_4D, entry_4X, bias_4[:, None]], dim=1)
        given, onward, out = _given(input_BTX, inside_BT, start), panels(array(both_4Y.T)), _Trace(*map(array, trace))
        share_out(lambda board: lstm_forward(board, given, onward, out), B, grain=TILE, least=TILE)
        ctx.save_for_backward(input_BTX, *weights[:2], inside_BT, *start, *trace)
        ctx.set_materialize_grads(False)
        return trace[1], trace[2], trace[1][:, -1].clone(), trace[2][:, -1].clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *told: Tensor | None) -> tuple[Tensor | None, ...]:
        input_BTX, entry_4X, recurrent_4D, inside_BT, *rest = ctx.saved_tensors
        start, trace = rest[:2], rest[2:]
        (B, T, D), X = trace[1].shape, input_BTX.shape[2]
        steps = [nothing(3) if part is None else array(part) for part in told[:2]]
        last = [np.zeros((B, D), np.float32) if part is None else array(part) for part in told[2:]]
        gates_grad, begin = room(B, T, 4 * D), (room(B, D), room(B, D))
        given, grads, out = _given(input_BTX, inside_BT, start), _Grads(*steps, *last), [array(gates_grad)]
        arrays, back = _Trace(*map(array, trace)), panels(array(recurrent_4D))
        out += map(array, begin)
        share_out(lambda board: lstm_backward(board, given, back, arrays, grads, *out), B, grain=TILE, least=TILE)
        rows_BTY = room(B, T, D + X + 1)  # what the forward pass multiplied: states before, inputs, ones
        rows_BTY[:, 0, :D], rows_BTY[:, 1:, :D] = start[0], trace[1][:, :-1]
        rows_BTY[..., D:-1], rows_BTY[..., -1] = input_BTX, 1.0
        weights_Y4 = summed_product(rows_BTY, gates_grad)
        input_grad = narrow_product(gates_grad, entry_4X[:, :X]) if ctx.needs_input_grad[0] else None
        entry_grad = F.pad(weights_Y4[D:-1].T, (0, entry_4X.shape[1] - X))
        # Parameters keep these tensors as their gradients: of one memory, clipping in place would scale both biases twice.
        biases = weights_Y4[-1], weights_Y4[-1].clone()
        return (input_grad, entry_grad, weights_Y4[:D].T, *biases, None, *begin)


def _given(input_BTX: Tensor, inside_BT: Tensor | None, start: tuple[Tensor, ...] | list[Tensor]) -> _Given:
    inside = nothing(2, bool) if inside_BT is None else array(inside_BT)
    return _Given(array(input_BTX), inside, *map(array, start))


def lstm(
    input_BTX: Tensor,
    weights: LSTMWeights,
    inside_BT: Tensor | None = None,
    start: tuple[Tensor, Tensor] | None = None,
    cells: bool = False,
) -> Read:
    """As the reference, in float32 on the CPU; no input column for padding, as steps outside are left out."""
    if inside_BT is not None and bool(inside_BT.all()):
        inside_BT = None
    if inside_BT is not None:
        input_BTX = input_BTX.masked_fill(~inside_BT[..., None], 0.0)  # what stands there may be no number
    if start is None:
        start = (input_BTX.new_zeros(len(input_BTX), weights.recurrent_4D.shape[1]),) * 2
    hidden_BTD, cell_BTD, hidden_BD, cell_BD = _Steps.apply(  # type: ignore[no-untyped-call]
        input_BTX, *weights, inside_BT, *start
    )
    return Read(hidden_BTD, hidden_BD, cell_BD, cell_BTD if cells else None)
