"""The attending decoder on an NVIDIA GPU: all steps in one launch, all weights' gradients in one product each."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from openbook.ops.additive_attention.triton import key_and_score_grads
from openbook.ops.recurrence.triton_decoder_kernels import decoder_backward_kernel, decoder_kernel
from openbook.ops.triton_math import (
    LAUNCH,
    device_of,
    plain,
    power_of_two,
    powers,
    room,
    summed_outer,
    tile_rows,
    transposed,
    wide_windows,
)
from openbook.ops.types import Again, Decoded, DecoderWeights, Pages, Start


class _Given(NamedTuple):
    """What both kernels read, contiguous; absent parts are None."""

    hidden_BD: Tensor
    cell_BD: Tensor
    context_BD: Tensor
    key_BTA: Tensor
    value_BTD: Tensor
    mask_BT: Tensor | None
    bias_LT: Tensor | None
    inside_BL: Tensor | None
    recurrent_4D: Tensor
    context_4E: Tensor
    entry_ED: Tensor | None
    query_AS: Tensor
    query_A: Tensor
    score_A: Tensor


def _blocks(T: int, A: int, D: int, E: int) -> dict[str, int]:
    """Sides of the tiles a program holds of its keys and values."""
    BD, BE, BA = power_of_two(D), power_of_two(E), power_of_two(A)
    return {"BD": BD, "BE": BE, "BA": BA, "BT": tile_rows(max(BD, BA), T)}


class _AttendingDecoder(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, look_last: bool, gates_BL4: Tensor, *parts: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        given = _Given(*(None if part is None else plain(part) for part in parts))  # type: ignore[arg-type]
        gates_BL4 = plain(gates_BL4)
        (B, L, _), (_, T, A), D = gates_BL4.shape, given.key_BTA.shape, given.hidden_BD.shape[1]
        E, S = given.context_4E.shape[1], given.query_AS.shape[1]
        hidden_BLD, cell_BLD, context_BLD = (room(gates_BL4, B, L, D) for _ in range(3))
        opened_BL4, query_BLA, weight_BLT = (room(gates_BL4, B, L, size) for size in (4 * D, A, T))
        wide_B, power_BTA = wide_windows(given.key_BTA), powers(given.key_BTA)
        blocks, BG = _blocks(T, A, D, E), power_of_two(4 * D)
        inner = {"KG": tile_rows(BG, max(D, E)), "KE": tile_rows(blocks["BE"], D), "KA": tile_rows(blocks["BA"], D)}
        with device_of(gates_BL4):
            decoder_kernel[(B,)](
                gates_BL4, *given[:3], given.key_BTA, power_BTA, given.value_BTD, wide_B, *given[5:8],
                transposed(given.recurrent_4D), transposed(given.context_4E), transposed(given.entry_ED),
                transposed(given.query_AS), given.query_A, given.score_A, room(gates_BL4, B, E),
                room(gates_BL4, B, 4 * D), opened_BL4, hidden_BLD, cell_BLD, query_BLA, context_BLD, weight_BLT,
                L, T, A, D, E, BOTH=S > D, LOOK_LAST=look_last, BG=BG, **blocks, **inner, **LAUNCH,
            )  # fmt: skip
        ctx.save_for_backward(*given, opened_BL4, cell_BLD, query_BLA, hidden_BLD, context_BLD, weight_BLT)
        ctx.look_last = look_last
        return hidden_BLD, context_BLD, weight_BLT

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        given = _Given(*ctx.saved_tensors[:14])
        opened_BL4, cell_BLD, query_BLA, hidden_BLD, context_BLD, weight_BLT = ctx.saved_tensors[14:]
        (B, L, D), (_, T, A), key_BTA = hidden_BLD.shape, given.key_BTA.shape, given.key_BTA
        E, S = given.context_4E.shape[1], given.query_AS.shape[1]
        gate_grad, query_grad, found_grad, slope_BLT = (room(key_BTA, B, L, size) for size in (4 * D, A, D, T))
        start_grads = [room(key_BTA, B, D) for _ in range(3)]
        blocks = _blocks(T, A, D, E)
        inner = {"KD": tile_rows(blocks["BD"], 4 * D), "KE": tile_rows(blocks["BE"], 4 * D)}
        with device_of(key_BTA):
            decoder_backward_kernel[(B,)](
                *(plain(grad) for grad in grads), given.cell_BD, key_BTA, powers(key_BTA), given.value_BTD,
                wide_windows(key_BTA), given.inside_BL, given.recurrent_4D, given.context_4E, given.entry_ED,
                given.query_AS, given.score_A, opened_BL4, cell_BLD, query_BLA, context_BLD, weight_BLT,
                room(key_BTA, B, E), gate_grad, query_grad, found_grad, slope_BLT, *start_grads,
                L, T, A, D, E, S, BOTH=S > D, LOOK_LAST=ctx.look_last, **blocks, **inner, **LAUNCH,
            )  # fmt: skip
        wide_B = wide_windows(query_BLA, key_BTA)
        key_grad, score_grad = key_and_score_grads(query_BLA, key_BTA, given.score_A, slope_BLT, wide_B)
        value_grad = torch.bmm(weight_BLT.transpose(1, 2), found_grad)
        bias_grad = None if given.bias_LT is None else slope_BLT.sum(0)
        pages_grads = (key_grad, value_grad, None, bias_grad, None)
        asked_BLS = torch.cat([hidden_BLD, cell_BLD], -1) if S > D else hidden_BLD
        hidden_before = torch.cat([given.hidden_BD[:, None], hidden_BLD[:, :-1]], 1)
        context_before = torch.cat([given.context_BD[:, None], context_BLD[:, :-1]], 1)
        weights_grads = (
            summed_outer(gate_grad, hidden_before),
            *_context_grads(gate_grad, context_before, given.context_4E, given.entry_ED),
            summed_outer(query_grad, asked_BLS),
            query_grad.sum((0, 1)),
            score_grad,
        )
        return None, gate_grad, *start_grads, *pages_grads, *weights_grads


def _context_grads(
    gate_grad: Tensor, context_before: Tensor, context_4E: Tensor, entry_ED: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the products that lead from a step's context to its gates."""
    if entry_ED is None:
        return summed_outer(gate_grad, context_before), None
    return summed_outer(gate_grad, context_before @ entry_ED.t()), summed_outer(gate_grad @ context_4E, context_before)


def attending_decoder(
    gates_BL4: Tensor,
    start: Start,
    pages: Pages,
    weights: DecoderWeights,
    inside_BL: Tensor | None = None,
    look_last: bool = True,
    again: Again | None = None,
) -> Decoded:
    """As the reference, in float32 on an NVIDIA GPU, one launch for all steps of all windows.

    Kept for the gradient are states, gates, queries and weights [B, L, ·]; the scores are rebuilt.
    """
    parts = (*start, *pages, inside_BL, *weights)
    return Decoded(*_AttendingDecoder.apply(look_last, gates_BL4, *parts))  # type: ignore[no-untyped-call]
