"""The sequential attention models step by step, for any device and precision: the twins their kernels are tested against."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.ops.additive_attention.reference import additive_attention
from openbook.ops.softmax import masked_softmax
from openbook.ops.types import Again, Decoded, DecoderWeights, EncoderWeights, Pages, Series, Start, Weighed


def lstm_cell(gates_B4: Tensor, cell_BD: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell state after one step from the sum of all gates' inputs, in the order i, f, g, o."""
    entry, forget, fresh, exit_ = gates_B4.chunk(4, dim=-1)
    new_BD = forget.sigmoid() * cell_BD + entry.sigmoid() * fresh.tanh()
    return exit_.sigmoid() * new_BD.tanh(), new_BD


def _query(weights: DecoderWeights | EncoderWeights, hidden_BD: Tensor, cell_BD: Tensor) -> Tensor:
    both = weights.query_AS.shape[1] > hidden_BD.shape[1]
    asked_BS = torch.cat([hidden_BD, cell_BD], dim=-1) if both else hidden_BD
    return F.linear(asked_BS, weights.query_AS, weights.query_A)


def attending_decoder(
    gates_BL4: Tensor,
    start: Start,
    pages: Pages,
    weights: DecoderWeights,
    inside_BL: Tensor | None = None,
    look_last: bool = True,
    again: Again | None = None,
) -> Decoded:
    """L steps: the state moves on by gates, last state and last context; the new state asks for the next context."""
    hidden_BD, cell_BD, context_BD = start
    hiddens, contexts, found = [], [], []
    for step, gates_B4 in enumerate(gates_BL4.unbind(1)):
        entry_BE = context_BD if weights.entry_ED is None else F.linear(context_BD, weights.entry_ED)
        gates_B4 = gates_B4 + F.linear(entry_BE, weights.context_4E) + F.linear(hidden_BD, weights.recurrent_4D)
        new = lstm_cell(gates_B4, cell_BD)
        here_B1 = None if inside_BL is None else inside_BL[:, step, None]
        if here_B1 is not None:
            new = torch.where(here_B1, new[0], hidden_BD), torch.where(here_B1, new[1], cell_BD)
        hidden_BD, cell_BD = new
        if look_last or step + 1 < gates_BL4.shape[1]:
            query_B1A = _query(weights, hidden_BD, cell_BD)[:, None]
            bias_1T = None if pages.bias_LT is None else pages.bias_LT[step, None]
            context_B1D, weight_B1T = additive_attention(
                query_B1A, pages.key_BTA, pages.value_BTD, weights.score_A, pages.mask_BT, bias_1T
            )
            assert context_B1D is not None
            context_BD, weight_BT = context_B1D[:, 0], weight_B1T[:, 0]
            if here_B1 is not None:
                context_BD, weight_BT = context_BD * here_B1, weight_BT * here_B1
        else:
            context_BD, weight_BT = torch.zeros_like(context_BD), torch.zeros_like(pages.key_BTA[..., 0])
        hiddens.append(hidden_BD)
        contexts.append(context_BD)
        found.append(weight_BT)
    return Decoded(torch.stack(hiddens, 1), torch.stack(contexts, 1), torch.stack(found, 1))


def attending_encoder(
    gates_BT4: Tensor, series: Series, weights: EncoderWeights, inside_BT: Tensor, again: Again | None = None
) -> Weighed:
    """T steps from a state of zeros: the last state weighs this step's inputs, which move it on; padding leaves it at zero."""
    zero_BD = gates_BT4.new_zeros(len(gates_BT4), weights.recurrent_4D.shape[1])
    hidden_BD, cell_BD, hiddens, alphas = zero_BD, zero_BD, [], []
    rows = (gates_BT4, series.value_BTF, series.mask_BTF, inside_BT[..., None])
    for gates_B4, value_BF, mask_BF, inside_B1 in zip(*(part.unbind(1) for part in rows), strict=True):
        asked_B1A = _query(weights, hidden_BD, cell_BD)[:, None]
        alpha_BF = masked_softmax(
            (series.key_BFA + asked_B1A).tanh_() @ weights.score_A + series.bias_F, mask_BF & inside_B1
        )
        gates_B4 = gates_B4 + F.linear(alpha_BF * value_BF, weights.input_4F)
        new = lstm_cell(gates_B4 + F.linear(hidden_BD, weights.recurrent_4D), cell_BD)
        hidden_BD = torch.where(inside_B1, new[0], hidden_BD)
        cell_BD = torch.where(inside_B1, new[1], cell_BD)
        hiddens.append(hidden_BD)
        alphas.append(alpha_BF)
    return Weighed(torch.stack(hiddens, 1), torch.stack(alphas, 1))
