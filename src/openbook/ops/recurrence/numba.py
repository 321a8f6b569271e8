"""The sequential attention models on the CPU.

Back-propagation through time is written by hand: the steps backwards leave the gradients of gates, queries and contexts,
and every weight's gradient is one product of all of them after the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from openbook.ops.additive_attention.reference import additive_attention
from openbook.ops.arrays import NO_MASK, array, nothing, room
from openbook.ops.lanes import panels
from openbook.ops.products import added_linear, narrow_product, summed_product
from openbook.ops.recurrence.numba_steps import (
    TILE,
    Given,
    Gradients,
    Products,
    Trace,
    reopen,
    steps_backward,
    steps_forward,
)
from openbook.ops.types import Again, Decoded, DecoderWeights, EncoderWeights, Pages, Series, Start, Weighed
from openbook.ops.workers import share_out

KEPT = 2**22  # gates up to this many are kept: to tell them anew would cost time and save little


def _shared(start: Start, pages: Pages, weights: DecoderWeights, inside_BL: Tensor | None, ahead: int) -> Given:
    mask = pages.mask_BT
    return Given(
        array(start.hidden_BD),
        array(start.cell_BD),
        array(start.context_BD),
        array(pages.key_BTA),
        array(pages.value_BTD),
        NO_MASK if mask is None else array(mask[:, None] if mask.ndim == 2 else mask),
        nothing(2) if pages.bias_LT is None else array(pages.bias_LT),
        nothing(2, bool) if inside_BL is None else array(inside_BL),
        array(weights.score_A),
        ahead,
    )


def _laid(right: Tensor | None) -> np.ndarray:
    return nothing(3) if right is None else panels(right.detach().numpy())


def _ahead(weights: DecoderWeights) -> Products:
    """Weights as the steps forward multiply by them."""
    D = weights.recurrent_4D.shape[1]
    entry_ED, query_SA = weights.entry_ED, weights.query_AS.T
    return Products(
        _laid(weights.recurrent_4D.T),
        _laid(weights.context_4E.T),
        _laid(None if entry_ED is None else entry_ED.T),
        _laid(query_SA[:D]),
        _laid(query_SA[D:] if len(query_SA) > D else None),
    )


def _back(weights: DecoderWeights) -> Products:
    """Weights as the steps backwards multiply by them."""
    D = weights.recurrent_4D.shape[1]
    entry_ED, query_AS = weights.entry_ED, weights.query_AS
    return Products(
        _laid(weights.recurrent_4D),
        _laid(weights.context_4E),
        _laid(entry_ED),
        _laid(query_AS[:, :D]),
        _laid(query_AS[:, D:] if query_AS.shape[1] > D else None),
    )


class _Steps(torch.autograd.Function):
    """Inputs flattened: gates, start (3), key, value, mask, bias, weights (6), inside, how many steps look, ahead, again."""

    @staticmethod
    def forward(ctx: Any, gates_BL4: Tensor, *parts: Any) -> tuple[Tensor, Tensor, Tensor]:
        start, pages, weights = Start(*parts[:3]), Pages(*parts[3:7]), DecoderWeights(*parts[7:13])
        inside_BL, looks, ahead, again = parts[13:]
        (B, L, D4), T, A = gates_BL4.shape, *pages.key_BTA.shape[1:]
        # Told anew are keys, gates, queries, cells and contexts: some products, for five sixths of what would be kept.
        ctx.again = again if again is not None and gates_BL4.numel() > KEPT else None
        hoisted_BL4 = gates_BL4.detach().contiguous()
        opened_BL4 = room(B, L, D4) if ctx.again is None else hoisted_BL4
        states = (room(B, L, D4 // 4), room(B, L, D4 // 4), room(B, L, start.context_BD.shape[1]))
        trace = (opened_BL4, room(B, L, A), *states, room(B, L, T))
        given, onward, query = _shared(start, pages, weights, inside_BL, ahead), _ahead(weights), array(weights.query_A)
        arrays, hoisted = Trace(*map(array, trace)), array(hoisted_BL4)
        share_out(
            lambda board: steps_forward(board, hoisted, given, onward, query, looks, arrays), B, grain=TILE, least=TILE
        )
        key_BTA = None if ctx.again is not None and ctx.again.key is not None else pages.key_BTA
        kept = trace if ctx.again is None else (trace[2], trace[5])
        ctx.save_for_backward(*start, key_BTA, *pages[1:], *weights, inside_BL, *kept)
        ctx.looks, ctx.ahead = looks, ahead
        ctx.set_materialize_grads(False)
        return trace[2], trace[4], trace[5]

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        saved, looks, ahead = ctx.saved_tensors, ctx.looks, ctx.ahead
        start, pages, weights, inside_BL = (
            Start(*saved[:3]),
            Pages(*saved[3:7]),
            DecoderWeights(*saved[7:13]),
            saved[13],
        )
        trace = saved[14:]
        if ctx.again is not None:
            if ctx.again.key is not None:
                pages = pages._replace(key_BTA=ctx.again.key())
            trace = _retraced(ctx.again.gates(), start, pages, weights, inside_BL, trace, ahead)
        opened_BL4, query_BLA, hidden_BLD, cell_BLD, context_BLC, weight_BLT = trace
        hidden_grad, context_grad, weight_grad = grads
        hidden_grad = torch.zeros_like(hidden_BLD) if hidden_grad is None else hidden_grad
        told_BLC = torch.zeros_like(context_BLC) if context_grad is None else context_grad
        total_BLC = told_BLC.clone(memory_format=torch.contiguous_format)  # its own memory: the kernel adds to it
        slope_BLT = None if pages.bias_LT is None else room(*weight_BLT.shape)
        # The kernel reads a step's gates before it writes their gradient; what was told anew is nobody else's.
        gates_grad = room(*opened_BL4.shape) if ctx.again is None else opened_BL4
        query_grad, key_grad = room(*query_BLA.shape), room(*pages.key_BTA.shape)
        score_grad, begin = room(len(opened_BL4), len(weights.score_A)), [room(*part.shape) for part in start]
        made = (gates_grad, query_grad, total_BLC, slope_BLT, key_grad, score_grad, *begin)
        out = Gradients(*(nothing(3) if part is None else array(part) for part in made))
        given, back, arrays = (
            _shared(start, pages, weights, inside_BL, ahead),
            _back(weights),
            Trace(*map(array, trace)),
        )
        before, told = array(hidden_grad), nothing(3) if weight_grad is None else array(weight_grad)
        share_out(
            lambda board: steps_backward(board, given, back, arrays, before, told, looks, out),
            len(total_BLC),
            grain=TILE,
            least=TILE,
        )
        asked = [hidden_BLD] if weights.query_AS.shape[1] == hidden_BLD.shape[2] else [hidden_BLD, cell_BLD]
        products = _weight_gradients(
            weights, _before(start.hidden_BD, hidden_BLD), _before(start.context_BD, context_BLC), gates_grad
        )
        value_grad, bias_grad = _value_gradient(weight_BLT, total_BLC, ahead), _bias_gradient(slope_BLT, pages.bias_LT)
        query_grads = torch.cat([summed_product(query_grad, part) for part in asked], 1), query_grad.sum((0, 1))
        gradients = (
            gates_grad,
            *begin,
            key_grad,
            value_grad,
            None,
            bias_grad,
            *products,
            *query_grads,
            score_grad.sum(0),
        )
        return (*gradients, None, None, None, None)


def _retraced(
    gates_BL4: Tensor,
    start: Start,
    pages: Pages,
    weights: DecoderWeights,
    inside_BL: Tensor | None,
    kept: Sequence[Tensor],
    ahead: int,
) -> tuple[Tensor, ...]:
    """What forward left of every step, from states, weights and the gates told anew: all steps at once, as nothing has to
    be found in turn any more."""
    hidden_BLD, weight_BLT = kept
    context_BLC, D = _found(weight_BLT, pages.value_BTD, ahead), hidden_BLD.shape[2]
    entry_BLE = _before(start.context_BD, context_BLC)
    if weights.entry_ED is not None:
        entry_BLE = entry_BLE @ weights.entry_ED.T
    opened_BL4, cell_BLD = gates_BL4.contiguous(), torch.empty_like(hidden_BLD)
    flat_N4 = opened_BL4.flatten(0, 1)
    flat_N4.addmm_(entry_BLE.flatten(0, 1), weights.context_4E.T)
    flat_N4.addmm_(_before(start.hidden_BD, hidden_BLD).flatten(0, 1), weights.recurrent_4D.T)
    given, arrays = _shared(start, pages, weights, inside_BL, ahead), (array(opened_BL4), array(cell_BLD))
    share_out(lambda board: reopen(board, given, *arrays), len(hidden_BLD), least=TILE)
    query_BLA = added_linear(weights.query_A, hidden_BLD, weights.query_AS[:, :D])
    if weights.query_AS.shape[1] > D:
        query_BLA.flatten(0, 1).addmm_(cell_BLD.flatten(0, 1), weights.query_AS[:, D:].T)
    return opened_BL4, query_BLA, hidden_BLD, cell_BLD, context_BLC, weight_BLT


def _found(weight_BLT: Tensor, value_BTD: Tensor, ahead: int) -> Tensor:
    """The contexts of all steps: weighted sums of the book's rows, or each next step's inputs times their weights."""
    if ahead == 0:
        return torch.bmm(weight_BLT, value_BTD)
    return weight_BLT * torch.nn.functional.pad(value_BTD[:, 1:], (0, 0, 0, 1))


def _before(start_BD: Tensor, state_BLD: Tensor) -> Tensor:
    """What every step began with."""
    return torch.cat([start_BD[:, None], state_BLD[:, :-1]], dim=1)


def _weight_gradients(
    weights: DecoderWeights, hidden_BLD: Tensor, context_BLC: Tensor, gates_grad_BL4: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of the recurrent, context and entry weights from what the steps began with."""
    recurrent_grad = summed_product(gates_grad_BL4, hidden_BLD)
    if weights.entry_ED is None:
        return recurrent_grad, summed_product(gates_grad_BL4, context_BLC), None
    entry_BLE = context_BLC @ weights.entry_ED.T
    entry_grad = summed_product(narrow_product(gates_grad_BL4, weights.context_4E), context_BLC)
    return recurrent_grad, summed_product(gates_grad_BL4, entry_BLE), entry_grad


def _value_gradient(weight_BLT: Tensor, context_grad_BLC: Tensor, ahead: int) -> Tensor:
    """Of the book's rows, or of the inputs each step found one step ahead."""
    if ahead == 0:
        return torch.bmm(weight_BLT.transpose(1, 2), context_grad_BLC)
    return torch.nn.functional.pad((weight_BLT * context_grad_BLC)[:, :-1], (0, 0, 1, 0))


def _bias_gradient(slope_BLT: Tensor | None, bias: Tensor | None) -> Tensor | None:
    if slope_BLT is None or bias is None:
        return None
    return slope_BLT.sum(0).sum(0, keepdim=True) if len(bias) == 1 else slope_BLT.sum(0)


def attending_decoder(
    gates_BL4: Tensor,
    start: Start,
    pages: Pages,
    weights: DecoderWeights,
    inside_BL: Tensor | None = None,
    look_last: bool = True,
    again: Again | None = None,
) -> Decoded:
    """As the reference, in float32 on the CPU; what is kept for the gradient grows with L (D + A + T), not with L T D; with
    ``again`` and many gates with L (D + T)."""
    looks = gates_BL4.shape[1] if look_last else gates_BL4.shape[1] - 1
    return Decoded(
        *_Steps.apply(  # type: ignore[no-untyped-call]
            gates_BL4, *start, *pages, *weights, inside_BL, looks, 0, again
        )
    )


def attending_encoder(
    gates_BT4: Tensor, series: Series, weights: EncoderWeights, inside_BT: Tensor, again: Again | None = None
) -> Weighed:
    """As the reference, in float32 on the CPU: the first look-up is its own, every step then looks up the next one's inputs."""
    mask_BTF = series.mask_BTF & inside_BT[..., None]
    zero_BD = gates_BT4.new_zeros(len(gates_BT4), weights.recurrent_4D.shape[1])
    first = additive_attention(
        weights.query_A.expand(len(gates_BT4), 1, -1),
        series.key_BFA,
        None,
        weights.score_A,
        mask_BTF[:, 0],
        series.bias_F[None],
    ).weight_BHT
    start = Start(zero_BD, zero_BD, first[:, 0] * series.value_BTF[:, 0])
    pages = Pages(series.key_BFA, series.value_BTF, mask_BTF, series.bias_F[None])
    products = DecoderWeights(
        weights.recurrent_4D, weights.input_4F, None, weights.query_AS, weights.query_A, weights.score_A
    )
    hidden_BTD, _, later_BTF = _Steps.apply(  # type: ignore[no-untyped-call]
        gates_BT4, *start, *pages, *products, inside_BT, gates_BT4.shape[1] - 1, 1, again
    )
    return Weighed(hidden_BTD, torch.cat([first, later_BTF[:, :-1]], dim=1))
