"""The input-attending encoder on an NVIDIA GPU: all steps in one launch, all weights' gradients in one product each."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from openbook.ops.additive_attention.triton import key_and_score_grads
from openbook.ops.recurrence.triton_encoder_kernels import encoder_backward_kernel, encoder_kernel
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
from openbook.ops.types import Again, EncoderWeights, Series, Weighed


class _Given(NamedTuple):
    """What both kernels read, contiguous."""

    value_BTF: Tensor
    key_BFA: Tensor
    mask_BTF: Tensor
    bias_F: Tensor
    inside_BT: Tensor
    recurrent_4D: Tensor
    input_4F: Tensor
    query_AS: Tensor
    query_A: Tensor
    score_A: Tensor


def _blocks(n_features: int, A: int, D: int) -> dict[str, int]:
    """Sides of the tiles a program holds of its keys."""
    BA = power_of_two(A)
    return {"BD": power_of_two(D), "BA": BA, "BF": tile_rows(BA, n_features)}


class _AttendingEncoder(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, gates_BT4: Tensor, *parts: Tensor) -> tuple[Tensor, Tensor]:
        given, gates_BT4 = _Given(*(plain(part) for part in parts)), plain(gates_BT4)
        (B, T, n_features), A, (_, D) = given.value_BTF.shape, given.key_BFA.shape[2], given.recurrent_4D.shape
        sizes = (4 * D, D, D, A, n_features, n_features)
        opened_BT4, hidden_BTD, cell_BTD, query_BTA, alpha_BTF, weighed_BTF = (
            room(gates_BT4, B, T, size) for size in sizes
        )
        zero_D, S = gates_BT4.new_zeros(D), given.query_AS.shape[1]
        BG, blocks = power_of_two(4 * D), _blocks(n_features, A, D)
        inner = {"KG": tile_rows(BG, max(D, n_features)), "KA": tile_rows(blocks["BA"], D)}
        with device_of(gates_BT4):
            encoder_kernel[(B,)](
                gates_BT4, zero_D, given.value_BTF, given.key_BFA, powers(given.key_BFA), wide_windows(given.key_BFA),
                given.mask_BTF, given.bias_F, given.inside_BT, transposed(given.recurrent_4D), transposed(given.input_4F),
                transposed(given.query_AS), given.query_A, given.score_A, room(gates_BT4, B, 4 * D),
                opened_BT4, hidden_BTD, cell_BTD, query_BTA, alpha_BTF, weighed_BTF,
                T, n_features, A, D, BOTH=S > D, BG=BG, **blocks, **inner, **LAUNCH,
            )  # fmt: skip
        ctx.save_for_backward(*given, opened_BT4, cell_BTD, query_BTA, hidden_BTD, alpha_BTF, weighed_BTF)
        return hidden_BTD, alpha_BTF

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        given = _Given(*ctx.saved_tensors[:10])
        opened_BT4, cell_BTD, query_BTA, hidden_BTD, alpha_BTF, weighed_BTF = ctx.saved_tensors[10:]
        (B, T, n_features), A, (_, D) = given.value_BTF.shape, given.key_BFA.shape[2], given.recurrent_4D.shape
        gate_grad, query_grad, slope_BTF = (room(cell_BTD, B, T, size) for size in (4 * D, A, n_features))
        zero_D, S, blocks = cell_BTD.new_zeros(D), given.query_AS.shape[1], _blocks(n_features, A, D)
        inner = {"KD": tile_rows(blocks["BD"], 4 * D), "KF": tile_rows(blocks["BF"], 4 * D)}
        with device_of(cell_BTD):
            encoder_backward_kernel[(B,)](
                *(plain(grad) for grad in grads), zero_D, given.value_BTF, given.key_BFA, powers(given.key_BFA),
                wide_windows(given.key_BFA), given.inside_BT, given.recurrent_4D, given.input_4F, given.query_AS,
                given.score_A, opened_BT4, cell_BTD, query_BTA, alpha_BTF, gate_grad, query_grad, slope_BTF,
                T, n_features, A, D, S, BOTH=S > D, **blocks, **inner, **LAUNCH,
            )  # fmt: skip
        wide_B = wide_windows(query_BTA, given.key_BFA)
        key_grad, score_grad = key_and_score_grads(query_BTA, given.key_BFA, given.score_A, slope_BTF, wide_B)
        value_grad = alpha_BTF * (gate_grad @ given.input_4F) if ctx.needs_input_grad[1] else None
        asked_BTS = torch.cat([hidden_BTD, cell_BTD], -1) if S > D else hidden_BTD
        return (
            gate_grad,
            *(value_grad, key_grad, None, slope_BTF.sum((0, 1)), None),
            summed_outer(gate_grad[:, 1:], hidden_BTD[:, :-1]),
            summed_outer(gate_grad, weighed_BTF),
            summed_outer(query_grad[:, 1:], asked_BTS[:, :-1]),
            query_grad.sum((0, 1)),
            score_grad,
        )


def attending_encoder(
    gates_BT4: Tensor, series: Series, weights: EncoderWeights, inside_BT: Tensor, again: Again | None = None
) -> Weighed:
    """As the reference, in float32 on an NVIDIA GPU, one launch for all steps of all windows (Qin et al. 2017, eq. 8 to 11).

    Kept for the gradient are states, gates, queries, weights and weighed inputs [B, T, ·]; the scores are rebuilt.
    """
    series = series._replace(mask_BTF=series.mask_BTF & inside_BT[..., None])
    return Weighed(*_AttendingEncoder.apply(gates_BT4, *series, inside_BT, *weights))  # type: ignore[no-untyped-call]
