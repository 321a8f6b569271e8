"""Joint attention on the CPU: a query's scores, softmax and sums over the grid while they are in the cache.

Products over the D numbers of a state are taken for all queries of a window at once. The gradient is written by hand; what it
needs besides the inputs are the weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from openbook.ops.arrays import array, room
from openbook.ops.joint_attention import reference
from openbook.ops.lanes import WIDTH, across, clear, put
from openbook.ops.numba_math import FAST, INNER, KERNEL, LEAST, ONE, add, add_product, exp32, forget_older
from openbook.ops.types import Found
from openbook.ops.workers import claim, gather, share_out

GROUP = 8  # windows whose gradients of bias and gain are summed before they are written: however many threads there are
_NONE = np.float32(-np.inf)


class _Given(NamedTuple):
    """Queries [B, H, Q], states [B, T, D], values [B, FT], which cells are closed (1, else 0) [B, FT], bias and gain
    [H, FT]; one row of nothing where absent. The grid of a window is one line, variable after variable."""

    asked: np.ndarray
    state: np.ndarray
    cell: np.ndarray
    closed: np.ndarray
    bias: np.ndarray
    gain: np.ndarray


class _Grads(NamedTuple):
    """Gradients of what was found and of the weights; then room for those of the inputs, bias and gain by group of windows."""

    found: np.ndarray
    weight: np.ndarray
    asked: np.ndarray
    state: np.ndarray
    bias: np.ndarray
    gain: np.ndarray


@njit(**FAST, **INNER)
def _lay_out(rows: np.ndarray, first: int, out: np.ndarray) -> None:
    """The first columns of ``rows`` as ``panels`` does, into the rows of ``out`` from ``first`` on; more are no harm."""
    for p in range(out.shape[0]):
        for k in range(rows.shape[0]):
            put(rows[k, p * 2 * WIDTH :], out[p, first + k])


@njit(**FAST, **INNER)
def _lay_out_turned(rows: np.ndarray, out: np.ndarray) -> None:
    """The first columns of ``rows`` as rows, as ``panels`` lays them out."""
    for k in range(rows.shape[0]):
        panel, lane = k // (2 * WIDTH), k % (2 * WIDTH)
        for d in range(out.shape[1]):
            out[panel, d, lane] = rows[k, d]


@njit(**FAST, **INNER)
def _product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> None:
    """out = left @ right, with ``right`` in panels."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = np.float32(0)
    add_product(left.shape[0], left, right, out)


@njit(**FAST, **INNER)
def _turn(rows: np.ndarray, out: np.ndarray) -> None:
    """out = rowsᵀ, as far as ``out`` goes."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = rows[j, i]


@njit(**FAST, **INNER)
def _put_rows(rows: np.ndarray, D: int, out: np.ndarray) -> None:
    """The first D columns."""
    for i in range(out.shape[0]):
        for d in range(D):
            out[i, d] = rows[i, d]


@njit(**FAST, **INNER)
def _scores(dot: np.ndarray, told: np.ndarray, cell: np.ndarray, gain: np.ndarray, line: np.ndarray) -> None:
    """line = dot + slope (1 + gain) cell + name: the last numbers of ``told`` are slopes [F] and names [F]; or dot alone."""
    T = dot.shape[0]
    if cell.shape[0] == 0:
        put(dot, line)
        return
    F = line.shape[0] // T
    D = told.shape[0] - 2 * F
    for f in range(F):
        slope, name = told[D + f], told[D + F + f]
        row, x, more = line[f * T : f * T + T], cell[f * T : f * T + T], gain[f * T : f * T + T]
        for t in range(T):
            row[t] = dot[t] + slope * x[t] + name
        for t in range(more.shape[0]):
            row[t] += slope * more[t] * x[t]


@njit(**FAST, **INNER)
def _close(closed: np.ndarray, line: np.ndarray) -> None:
    """-inf where a cell is closed, whatever stands there; nothing where none is told to be."""
    for c in range(closed.shape[0]):
        line[c] = line[c] if closed[c] == np.float32(0) else _NONE


@njit(**FAST, **INNER)
def _softmax(line: np.ndarray, nowhere: Any) -> Any:
    """Softmax of a line beside ``nowhere``, whose weight is returned, in place; one of the two has to be open."""
    most = nowhere
    for c in range(line.shape[0]):
        most = line[c] if line[c] > most else most
    beside = np.float32(0) if nowhere - most < LEAST else exp32(nowhere - most)
    total = beside
    for c in range(line.shape[0]):
        gap = line[c] - most
        line[c] = np.float32(0) if gap < LEAST else exp32(gap)
        total += line[c]
    scale = ONE / total
    for c in range(line.shape[0]):
        line[c] *= scale
    return beside * scale


@njit(**FAST, **INNER)
def _sums(line: np.ndarray, cell: np.ndarray, gain: np.ndarray, over: np.ndarray, out: np.ndarray) -> None:
    """``over`` [T] = Σ_f line; the last numbers of ``out`` become Σ_t line (1 + gain) cell [F] and Σ_t line [F]."""
    T = over.shape[0]
    F = line.shape[0] // T
    clear(over)
    for f in range(F):
        row, x, more = line[f * T : f * T + T], cell[f * T : f * T + T], gain[f * T : f * T + T]
        add(row, over)
        if x.shape[0] > 0:
            worth, whole = np.float32(0), np.float32(0)
            for t in range(T):
                worth += row[t] * x[t]
                whole += row[t]
            for t in range(more.shape[0]):
                worth += row[t] * more[t] * x[t]
            out[out.shape[0] - 2 * F + f], out[out.shape[0] - F + f] = worth, whole


@njit(**KERNEL)
def _forward(board: np.ndarray, given: _Given, found: np.ndarray, weight: np.ndarray, left_out: np.ndarray) -> None:
    """``left_out`` [B, H]: nowhere's weight."""
    if gather(board):
        return
    _, T, D = given.state.shape
    H, grid, nothing_ = weight.shape[1], given.cell.shape[1] > 0, given.gain[0, :0]
    question = np.zeros((across(H) // (2 * WIDTH), D, 2 * WIDTH), np.float32)
    book = np.zeros((across(D) // (2 * WIDTH), T, 2 * WIDTH), np.float32)
    dots, rows = np.empty((T, across(H)), np.float32), np.empty((H, T), np.float32)
    out = np.empty((H, across(D)), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for b in range(first, last):
            asked, cell = given.asked[b], given.cell[min(b, given.cell.shape[0] - 1)]
            closed = given.closed[min(b, given.closed.shape[0] - 1)]
            _lay_out_turned(asked, question)
            _product(given.state[b], question, dots)
            _turn(dots, rows)
            open_ = weight.shape[2]
            for c in range(closed.shape[0]):
                open_ -= closed[c] != np.float32(0)
            for h in range(H):
                line, ask, row = weight[b, h], asked[h], rows[h]
                _scores(row, ask[: ask.shape[0] - grid], cell, nothing_, line)
                add(given.bias[min(h, given.bias.shape[0] - 1)], line)
                _close(closed, line)
                nowhere = ask[ask.shape[0] - 1] + np.log(np.float32(max(open_, 1))) if grid else _NONE
                left_out[b, h] = np.float32(0)
                if grid or open_ > 0:
                    left_out[b, h] = _softmax(line, nowhere)
                else:
                    clear(line)
                _sums(line, cell, given.gain[min(h, given.gain.shape[0] - 1)], row, found[b, h])
            _lay_out(given.state[b], np.int64(0), book)
            _product(rows, book, out)
            _put_rows(out, D, found[b])
        first, last = claim(board, last - first)


@njit(**FAST, **INNER)
def _steep(weight: np.ndarray, more: np.ndarray, line: np.ndarray) -> Any:
    """From gradients of weights (and ``more`` of them) to those of scores, in place; returns the weighed sum of the former."""
    add(more, line)
    total = np.float32(0)
    for c in range(line.shape[0]):
        total += weight[c] * line[c]
    for c in range(line.shape[0]):
        line[c] = weight[c] * (line[c] - total)
    return total


@njit(**FAST, **INNER)
def _worth(told: np.ndarray, weight: np.ndarray, cell: np.ndarray, F: int, out: np.ndarray) -> None:
    """out += grad weight cell, the gradient of the gains; the last 2F numbers of ``told`` begin with a grad by variable."""
    T = out.shape[0] // F
    for f in range(F):
        row, w, x = out[f * T : f * T + T], weight[f * T : f * T + T], cell[f * T : f * T + T]
        grad = told[told.shape[0] - 2 * F + f]
        for t in range(row.shape[0]):
            row[t] += grad * w[t] * x[t]


@njit(**KERNEL)
def _backward(board: np.ndarray, given: _Given, weight: np.ndarray, left_out: np.ndarray, grads: _Grads) -> None:
    """By groups; adds gradients of bias and gain up by group."""
    if gather(board):
        return
    B, T, D = given.state.shape
    H, Q, nothing_ = weight.shape[1], given.asked.shape[2], given.gain[0, :0]
    question = np.zeros((across(H) // (2 * WIDTH), D, 2 * WIDTH), np.float32)
    book = np.zeros((across(D) // (2 * WIDTH), T, 2 * WIDTH), np.float32)
    both = np.zeros((across(D) // (2 * WIDTH), 2 * H, 2 * WIDTH), np.float32)
    dots, line = np.empty((T, across(H)), np.float32), np.empty(weight.shape[2], np.float32)
    rows, shares = np.empty((2 * H, T), np.float32), np.empty((T, 2 * H), np.float32)
    out, wide = np.empty((H, across(D)), np.float32), np.empty((T, across(D)), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for group in range(first, last):
            for b in range(group * GROUP, min(B, (group + 1) * GROUP)):
                told, cell = grads.found[b], given.cell[min(b, given.cell.shape[0] - 1)]
                _lay_out_turned(told, question)
                _product(given.state[b], question, dots)
                _turn(dots, rows[:H])
                for h in range(H):
                    share, gain, ask = weight[b, h], given.gain[min(h, given.gain.shape[0] - 1)], grads.asked[b, h]
                    _scores(rows[h], told[h], cell, gain, line)  # gradients of weights, then of scores
                    total = _steep(share, grads.weight[min(b, grads.weight.shape[0] - 1), h], line)
                    _sums(share, nothing_, nothing_, rows[h], ask)
                    _sums(line, cell, nothing_, rows[H + h], ask[: max(Q - 1, D)])
                    if Q > D:
                        ask[Q - 1] = -left_out[b, h] * total
                    add(line, grads.bias[group, h])
                    _worth(told[h], share, cell, line.shape[0] // T, grads.gain[group, h])
                _turn(rows, shares)
                _lay_out(told, np.int64(0), both)
                _lay_out(given.asked[b], H, both)
                _product(shares, both, wide)
                _put_rows(wide, D, grads.state[b])
                _lay_out(given.state[b], np.int64(0), book)
                _product(rows[H:], book, out)
                _put_rows(out, D, grads.asked[b])
        first, last = claim(board, last - first)


KERNELS = (_forward, _backward)
forget_older(*KERNELS)


def _lines(part: Tensor | None, *lead: int) -> np.ndarray:
    """The grid at the end of a tensor as one line; where it is absent, empty ones, ``lead`` of them."""
    return np.empty((*lead, 0), np.float32) if part is None else array(part.flatten(-2))


def _given(asked_BHQ: Tensor, state_BTD: Tensor, *grids: Tensor | None) -> _Given:
    return _Given(array(asked_BHQ), array(state_BTD), *(_lines(part, 1) for part in grids))


class _JointAttention(torch.autograd.Function):
    """Inputs: asked, state, cell, mask, bias, gain."""

    @staticmethod
    def forward(ctx: Any, asked_BHQ: Tensor, state_BTD: Tensor, *grids: Tensor | None) -> tuple[Tensor, Tensor]:
        cell_BFT, mask_BFT, bias_HFT, gain_HFT = grids
        closed_BFT = None if mask_BFT is None else (~mask_BFT).float()
        given = _given(asked_BHQ, state_BTD, cell_BFT, closed_BFT, bias_HFT, gain_HFT)
        (B, H, _), (_, T, D) = asked_BHQ.shape, state_BTD.shape
        F = 0 if cell_BFT is None else cell_BFT.shape[1]
        found_BHR, weight_BHFT, left_BH = room(B, H, D + 2 * F), room(B, H, max(F, 1), T), room(B, H)
        out = array(found_BHR), _lines(weight_BHFT), array(left_BH)
        share_out(lambda board: _forward(board, given, *out), B, least=_least(weight_BHFT, D))
        ctx.save_for_backward(asked_BHQ, state_BTD, cell_BFT, bias_HFT, gain_HFT, weight_BHFT, left_BH)
        ctx.set_materialize_grads(False)
        return found_BHR, weight_BHFT

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *told: Tensor | None) -> tuple[Tensor | None, ...]:
        asked_BHQ, state_BTD, cell_BFT, bias_HFT, gain_HFT, weight_BHFT, left_BH = ctx.saved_tensors
        (B, H, F, T), D, groups = weight_BHFT.shape, state_BTD.shape[2], -(-len(weight_BHFT) // GROUP)
        found_grad, weight_grad = told
        if found_grad is None:
            found_grad = state_BTD.new_zeros(B, H, D if cell_BFT is None else D + 2 * F)
        asked_grad, state_grad = room(*asked_BHQ.shape), room(B, T, D)
        bias_grad, gain_grad = (
            None if part is None else torch.zeros(groups, H, F, T, dtype=torch.float32) for part in (bias_HFT, gain_HFT)
        )
        grads = _Grads(
            array(found_grad),
            _lines(weight_grad, 1, H),
            array(asked_grad),
            array(state_grad),
            _lines(bias_grad, groups, H),
            _lines(gain_grad, groups, H),
        )
        given = _given(asked_BHQ, state_BTD, cell_BFT, None, bias_HFT, gain_HFT)
        weight, left, least = _lines(weight_BHFT), array(left_BH), -(-_least(weight_BHFT, D) // GROUP)
        share_out(lambda board: _backward(board, given, weight, left, grads), groups, least=least)
        summed = (None if part is None else part.sum(0) for part in (bias_grad, gain_grad))
        return (asked_grad, state_grad, None, None, *summed)


def _least(weight_BHFT: Tensor, size: int) -> int:
    """Windows a thread must be given for its start to pay: some half a million multiplications."""
    return max(1, 500_000 // max(1, weight_BHFT.shape[1:].numel() * size))


def joint_attention(
    asked_BHQ: Tensor,
    state_BTD: Tensor,
    cell_BFT: Tensor | None = None,
    mask_BFT: Tensor | None = None,
    bias_HFT: Tensor | None = None,
    gain_HFT: Tensor | None = None,
) -> Found:
    """As the reference, in float32 on the CPU; where values of variables need a gradient, by the reference."""
    if cell_BFT is not None and cell_BFT.requires_grad:
        return reference.joint_attention(asked_BHQ, state_BTD, cell_BFT, mask_BFT, bias_HFT, gain_HFT)
    if mask_BFT is not None and bool(mask_BFT.all()):
        mask_BFT = None
    if mask_BFT is not None and cell_BFT is not None:  # what stands in a closed cell may be no number
        cell_BFT = cell_BFT.masked_fill(~mask_BFT, 0.0)
    return Found(
        *_JointAttention.apply(  # type: ignore[no-untyped-call]
            asked_BHQ, state_BTD, cell_BFT, mask_BFT, bias_HFT, gain_HFT
        )
    )
