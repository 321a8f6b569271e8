"""LSTMs on the fast paths: a padded-left encoder that pads for free, and a cell whose input products are hoisted."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

# Closes the input gate of a padded step: sigmoid(-1e4) is exactly 0, so state and gradients stay exactly 0 there.
_CLOSED = -1e4


class State(NamedTuple):
    """Hidden and cell state of an LSTM, [B, D] each."""

    hidden_BD: Tensor
    cell_BD: Tensor


class Encoded(NamedTuple):
    """The book: all outputs [B, T, D], and the state after the last step."""

    output_BTD: Tensor
    state: State


class PaddedLSTM(nn.Module):
    """An LSTM over windows padded on the left, whose state stays exactly zero until the series begins.

    Padding costs one input column with a fixed weight that closes the input gate, so the fused kernels of ``nn.LSTM``
    stay in use (packed sequences would leave them). Gates in torch's order i, f, g, o; the forget bias starts at one.

    >>> lstm = PaddedLSTM(input_size=3, size=4)
    >>> inside = torch.tensor([[False, True, True]])
    >>> bool((lstm(torch.randn(1, 3, 3), inside).output_BTD[:, 0] == 0).all())
    True
    """

    def __init__(self, *, input_size: int, size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(input_size + 1, size, batch_first=True)
        entry, bias, second = (getattr(self.lstm, f"{name}_l0").data for name in ("weight_ih", "bias_ih", "bias_hh"))
        entry[:, -1] = 0.0
        entry[:size, -1] = _CLOSED
        bias[size : 2 * size] = 1.0
        second.zero_()

    def forward(self, input_BTX: Tensor, inside_BT: Tensor, start: State | None = None) -> Encoded:
        """Inputs [B, T, X], true where the step exists [B, T]; starts from zero or from ``start``."""
        padded_BT1 = (~inside_BT)[..., None]
        packed = torch.cat([input_BTX.masked_fill(padded_BT1, 0.0), padded_BT1.to(input_BTX.dtype)], dim=-1)
        begin = None if start is None else (start.hidden_BD[None], start.cell_BD[None])
        output_BTD, (hidden_1BD, cell_1BD) = self.lstm(packed, begin)
        return Encoded(output_BTD, State(hidden_1BD[0], cell_1BD[0]))


class StepLSTM(nn.Module):
    """An LSTM cell for decoders whose next input depends on the last step: the known part of the input is hoisted.

    The input is ``[context, known]``; ``hoist`` multiplies ``known`` for all steps in one product, ``forward`` adds the
    context's part and the recurrence for one step.

    >>> cell = StepLSTM(context_size=2, known_size=3, size=4)
    >>> gates = cell.hoist(torch.ones(1, 5, 3))
    >>> cell(gates[:, 0], torch.ones(1, 2), State(torch.zeros(1, 4), torch.zeros(1, 4))).hidden_BD.shape
    torch.Size([1, 4])
    """

    def __init__(self, *, context_size: int, known_size: int, size: int) -> None:
        super().__init__()
        self.context = nn.Linear(context_size, 4 * size, bias=False)
        self.known = nn.Linear(known_size, 4 * size)
        self.recurrent = nn.Linear(size, 4 * size, bias=False)
        with torch.no_grad():
            self.known.bias.zero_()
            self.known.bias[size : 2 * size] = 1.0

    def hoist(self, known_BHK: Tensor) -> Tensor:
        """The known inputs' share of the gates for all steps, [B, H, 4D]."""
        return self.known(known_BHK)

    def forward(self, gates_B4: Tensor, context_BC: Tensor, state: State) -> State:
        """One step from the hoisted gates [B, 4D], the context [B, C] and the last state."""
        gates = gates_B4 + self.context(context_BC) + self.recurrent(state.hidden_BD)
        entry, forget, fresh, exit_ = gates.chunk(4, dim=-1)
        cell_BD = forget.sigmoid() * state.cell_BD + entry.sigmoid() * fresh.tanh()
        return State(exit_.sigmoid() * cell_BD.tanh(), cell_BD)
