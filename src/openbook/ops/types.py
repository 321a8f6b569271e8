"""What the operations take and give. Letters as in ``openbook.windows.batch``; A attention units, S what a step asks with."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class Attended(NamedTuple):
    """What was found [B, H, D] (None where no values were given) and the weights [B, H, T]."""

    context_BHD: Tensor | None
    weight_BHT: Tensor


class Found(NamedTuple):
    """What joint attention found [B, H, D + 2F] and the weights [B, H, F, T]; without variables [B, H, D], [B, H, 1, T]."""

    found_BHR: Tensor
    weight_BHFT: Tensor


class Powers(NamedTuple):
    """What a kernel needs of a book's keys at every look-up, computed once: e^2k [B, A, T and padding]; which are too wide."""

    power_BAP: Tensor
    wide_B: Tensor


class Pages(NamedTuple):
    """The book as a decoder asks it: keys and values, which steps exist, and a bias of every step's scores."""

    key_BTA: Tensor
    value_BTD: Tensor
    mask_BT: Tensor | None = None
    bias_LT: Tensor | None = None


class Again(NamedTuple):
    """Tells once more, for the pass backwards, the gates handed to a recurrence, and the keys of its book.

    The gates handed over and those told anew are the recurrence's to overwrite: in memory of their own, read by nobody else.
    Weights must be what they were in the pass forward: unlike saved tensors, nothing notices where they are not.
    """

    gates: Callable[[], Tensor]
    key: Callable[[], Tensor] | None = None


class Start(NamedTuple):
    """What a decoder begins with: its state, and the context its first step reads."""

    hidden_BD: Tensor
    cell_BD: Tensor
    context_BD: Tensor


class DecoderWeights(NamedTuple):
    """The products of an attending decoder's step.

    Gates from the last hidden state (``recurrent_4D``) and from the context, either directly (``context_4E``, E = D) or
    through a narrow layer (``entry_ED``). The query is a linear map of the hidden state, or of hidden and cell state where
    ``query_AS`` has twice as many columns; ``score_A`` is v.
    """

    recurrent_4D: Tensor
    context_4E: Tensor
    entry_ED: Tensor | None
    query_AS: Tensor
    query_A: Tensor
    score_A: Tensor


class Decoded(NamedTuple):
    """States [B, L, D], what each step found after it [B, L, D], and where [B, L, T]."""

    hidden_BLD: Tensor
    context_BLD: Tensor
    weight_BLT: Tensor


class Series(NamedTuple):
    """What input attention reads: values [B, T, F], keys [B, F, A] of whole series, what can be weighed, their likings."""

    value_BTF: Tensor
    key_BFA: Tensor
    mask_BTF: Tensor
    bias_F: Tensor


class EncoderWeights(NamedTuple):
    """The products of an input-attending encoder's step: gates from the last state and the weighed inputs; the query."""

    recurrent_4D: Tensor
    input_4F: Tensor
    query_AS: Tensor
    query_A: Tensor
    score_A: Tensor


class Weighed(NamedTuple):
    """States [B, T, D] and the weights of the inputs at every step [B, T, F]."""

    hidden_BTD: Tensor
    alpha_BTF: Tensor


class LSTMWeights(NamedTuple):
    """Gates (i, f, g, o) from the input and from the last hidden state, with the two biases that torch's layer has."""

    entry_4X: Tensor
    recurrent_4D: Tensor
    entry_bias_4: Tensor
    recurrent_bias_4: Tensor


class Read(NamedTuple):
    """Hidden states [B, T, D], the state after the last step [B, D] each, and the cell states [B, T, D] where asked for."""

    hidden_BTD: Tensor
    hidden_BD: Tensor
    cell_BD: Tensor
    cell_BTD: Tensor | None
