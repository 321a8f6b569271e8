"""A layer of LSTM over all steps of windows, as one operation."""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.ops.dispatch import implementation
from openbook.ops.lstm import reference
from openbook.ops.types import LSTMWeights, Read

# Multiplications of a training step below which the kernel's few per mille are not worth its compilation: windows in segments,
# as ``openbook`` reads them, stay with torch's layer. Forecasts gain less; the cells of all steps cost that layer more.
_SMALL, _SMALL_WITH_CELLS = 100_000_000, 5_000_000


def lstm(
    input_BTX: Tensor,
    weights: LSTMWeights,
    inside_BT: Tensor | None = None,
    start: tuple[Tensor, Tensor] | None = None,
    *,
    cells: bool = False,
) -> Read:
    """T steps of an LSTM (Hochreiter & Schmidhuber 1997, with forget gates) from zero or from a ``start`` [B, D] each.

    Gates in torch's order i, f, g, o. Windows may be padded on the left: where ``inside_BT`` is false the state stays zero (a
    ``start`` is for windows without padding), and ``entry_4X`` has one more column than the input, which stands for padding
    and closes the input gate (−10⁴ there, 0 in the others). ``cells``: the cell states of all steps too, [B, T, D].

    >>> import torch
    >>> weights = LSTMWeights(torch.zeros(8, 3), torch.zeros(8, 2), torch.ones(8), torch.zeros(8))
    >>> read = lstm(torch.ones(1, 5, 3), weights)
    >>> read.hidden_BTD.shape, read.cell_BD.shape
    (torch.Size([1, 5, 2]), torch.Size([1, 2]))
    """
    B, T, X = input_BTX.shape
    size = B * T * weights.recurrent_4D.shape[0] * (X + weights.recurrent_4D.shape[1])
    small = _SMALL_WITH_CELLS if cells else _SMALL if torch.is_grad_enabled() else 10 * _SMALL
    with implementation("lstm", input_BTX, size, reference, small=small) as chosen:
        return chosen.lstm(input_BTX, weights, inside_BT, start, cells)
