"""Recurrences with a look-up in every step, as one operation over all steps."""

from __future__ import annotations

from torch import Tensor

from openbook.ops.dispatch import implementation
from openbook.ops.recurrence import reference
from openbook.ops.types import Again, Decoded, DecoderWeights, EncoderWeights, Pages, Series, Start, Weighed


def attending_decoder(
    gates_BL4: Tensor,
    start: Start,
    pages: Pages,
    weights: DecoderWeights,
    inside_BL: Tensor | None = None,
    look_last: bool = True,
    again: Again | None = None,
) -> Decoded:
    """L steps of an LSTM that reads what it looked up last, and looks up anew with additive attention.

    ``gates_BL4``: what is known of every step, already multiplied (gates i, f, g, o). A step adds what the last context and
    the last hidden state say, moves the state on, and asks the book with it (Qin et al. 2017, equations 12 to 16; with the
    first context looked up before, Bahdanau et al. 2015). Steps outside (``inside_BL`` false) keep the state and find 0.
    Without ``look_last`` the last step asks nothing. ``again`` tells gates and keys once more: where it is given, what takes
    much memory may be forgotten until the pass backwards.

    >>> import torch
    >>> zero, book = torch.zeros(1, 2), torch.zeros(1, 5, 2)
    >>> weights = DecoderWeights(torch.zeros(8, 2), torch.zeros(8, 2), None, torch.zeros(2, 2), torch.zeros(2), torch.ones(2))
    >>> attending_decoder(torch.zeros(1, 3, 8), Start(zero, zero, zero), Pages(book, book), weights).weight_BLT[0, 2]
    tensor([0.2000, 0.2000, 0.2000, 0.2000, 0.2000])
    """
    size = gates_BL4.shape[0] * gates_BL4.shape[1] * (pages.key_BTA.shape[1:].numel() + gates_BL4.shape[2])
    with implementation("recurrence", gates_BL4, size, reference) as chosen:
        return chosen.attending_decoder(gates_BL4, start, pages, weights, inside_BL, look_last, again)


def attending_encoder(
    gates_BT4: Tensor, series: Series, weights: EncoderWeights, inside_BT: Tensor, again: Again | None = None
) -> Weighed:
    """T steps of an LSTM from zero that weighs its inputs anew before every step (Qin et al. 2017, equations 8 to 11).

    ``gates_BT4``: what inputs read without weights say. Steps outside (``inside_BT`` false) keep the state and weigh 0; so
    does every input where ``series.mask_BTF`` is false. ``again`` as for ``attending_decoder``.

    >>> import torch
    >>> inputs = Series(torch.ones(1, 4, 2), torch.zeros(1, 2, 3), torch.ones(1, 4, 2, dtype=torch.bool), torch.zeros(2))
    >>> weights = EncoderWeights(torch.zeros(8, 2), torch.zeros(8, 2), torch.zeros(3, 2), torch.zeros(3), torch.ones(3))
    >>> attending_encoder(torch.zeros(1, 4, 8), inputs, weights, torch.ones(1, 4, dtype=torch.bool)).alpha_BTF[0, 3]
    tensor([0.5000, 0.5000])
    """
    size = gates_BT4.shape[0] * gates_BT4.shape[1] * (series.key_BFA.shape[1:].numel() + gates_BT4.shape[2])
    with implementation("recurrence", gates_BT4, size, reference) as chosen:
        return chosen.attending_encoder(gates_BT4, series, weights, inside_BT, again)
