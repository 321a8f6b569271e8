"""An LSTM by torch's own layer, for any device and precision: the twin the kernel is tested against, and cuDNN's on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.ops.types import LSTMWeights, Read


def lstm(
    input_BTX: Tensor,
    weights: LSTMWeights,
    inside_BT: Tensor | None = None,
    start: tuple[Tensor, Tensor] | None = None,
    cells: bool = False,
) -> Read:
    """Padded steps are told by an input column that closes their input gates, so that the fused layer stays in use (packed
    sequences would leave it). Under autocast too all is computed in float32: cuDNN's layer would be given float16 whatever
    type was asked for, in which gradients through time vanish."""
    device = input_BTX.device.type
    if torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            start = None if start is None else (start[0].float(), start[1].float())
            return lstm(input_BTX.float(), weights, inside_BT, start, cells)
    if inside_BT is not None:
        padded_BT1 = (~inside_BT)[..., None]
        input_BTX = torch.cat([input_BTX.masked_fill(padded_BT1, 0.0), padded_BT1.to(input_BTX.dtype)], dim=-1)
    if start is None:
        start = (input_BTX.new_zeros(len(input_BTX), weights.recurrent_4D.shape[1]),) * 2
    begin = [part_BD[None].contiguous() for part_BD in start]
    hidden_BTD, hidden_1BD, cell_1BD = torch.lstm(
        input_BTX, begin, list(weights), True, 1, 0.0, torch.is_grad_enabled(), False, True
    )
    all_BTD = _cells(input_BTX, weights, hidden_BTD, start) if cells else None
    return Read(hidden_BTD, hidden_1BD[0], cell_1BD[0], all_BTD)


def _cells(input_BTX: Tensor, weights: LSTMWeights, hidden_BTD: Tensor, start: tuple[Tensor, Tensor]) -> Tensor:
    """Cell states of all steps, which the fused layer keeps to itself: from the outputs all gates are one product, and the
    cells follow by ``c = f * c + i * g`` alone."""
    needed = 3 * hidden_BTD.shape[2]  # the output gate told the hidden state, and cells do not need it
    before_BTD = torch.cat([start[0][:, None], hidden_BTD[:, :-1]], dim=1)
    bias_3 = (weights.entry_bias_4 + weights.recurrent_bias_4)[:needed]
    gates_BT3 = F.linear(input_BTX, weights.entry_4X[:needed], bias_3)
    recurrent_D3 = weights.recurrent_4D[:needed].T
    gates_BT3 = torch.addmm(gates_BT3.flatten(0, 1), before_BTD.flatten(0, 1), recurrent_D3).view_as(gates_BT3)
    entry_BTD, forget_BTD, fresh_BTD = gates_BT3.chunk(3, dim=-1)
    kept, added = forget_BTD.sigmoid().unbind(1), (entry_BTD.sigmoid() * fresh_BTD.tanh()).unbind(1)
    cells = [start[1]]
    for keep_BD, add_BD in zip(kept, added, strict=True):
        cells.append(torch.addcmul(add_BD, keep_BD, cells[-1]))
    return torch.stack(cells[1:], 1)
