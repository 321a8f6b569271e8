"""LSTMs on the fast paths: a padded-left encoder that pads for free, and a cell whose input products are hoisted."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from openbook.ops.lstm import lstm
from openbook.ops.products import added_linear
from openbook.ops.types import LSTMWeights

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


class FusedLSTM(nn.LSTM):
    """One layer of LSTM over windows, by the fastest fused kernels of the device (``openbook.ops.lstm``).

    Parameters, and what is saved of them, are those of ``nn.LSTM``; gates in torch's order i, f, g, o.

    >>> lstm = FusedLSTM(input_size=3, size=4)
    >>> read = lstm(torch.ones(2, 5, 3), State(torch.zeros(2, 4), torch.zeros(2, 4)))
    >>> read.output_BTD.shape, read.state.cell_BD.shape
    (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """

    def __init__(self, *, input_size: int, size: int) -> None:
        super().__init__(input_size, size, batch_first=True)

    def forward(self, input_BTX: Tensor, start: State | None = None) -> Encoded:  # type: ignore[override]
        """Inputs [B, T, X], from zero or from ``start``."""
        read = lstm(input_BTX, LSTMWeights(*self.parameters()), None, start)
        return Encoded(read.hidden_BTD, State(read.hidden_BD, read.cell_BD))


class PaddedLSTM(nn.Module):
    """An LSTM over windows padded on the left, whose state stays exactly zero until the series begins.

    Padding has an input column with a fixed weight that closes the input gate, so that fused kernels stay in use (packed
    sequences would leave them). Gates in torch's order i, f, g, o; the forget bias starts at one.

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

    def forward(self, input_BTX: Tensor, inside_BT: Tensor) -> Encoded:
        """Inputs [B, T, X], true where the step exists [B, T]; from zero."""
        read = lstm(input_BTX, LSTMWeights(*self.lstm.parameters()), inside_BT)
        return Encoded(read.hidden_BTD, State(read.hidden_BD, read.cell_BD))

    def states(self, input_BTX: Tensor, inside_BT: Tensor) -> Tensor:
        """Hidden and cell states of all steps from zero, [B, T, 2D]."""
        read = lstm(input_BTX, LSTMWeights(*self.lstm.parameters()), inside_BT, cells=True)
        assert read.cell_BTD is not None
        return torch.cat([read.hidden_BTD, read.cell_BTD], dim=-1)


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

    def hoist(self, known_BHK: Tensor, context_BHC: Tensor | None = None) -> Tensor:
        """The known inputs' share of the gates for all steps, [B, H, 4D], and that of a part of the context known before."""
        if context_BHC is None:
            return added_linear(self.known.bias, known_BHK, self.known.weight)
        weight_4X = torch.cat([self.known.weight, self.context.weight], dim=1)
        return added_linear(self.known.bias, torch.cat([known_BHK, context_BHC], dim=-1), weight_4X)

    def forward(self, gates_B4: Tensor, context_BC: Tensor, state: State) -> State:
        """One step from the hoisted gates [B, 4D], the context [B, C] and the last state."""
        gates_B4 = torch.addmm(gates_B4, context_BC, self.context.weight.T)
        return lstm_cell(torch.addmm(gates_B4, state.hidden_BD, self.recurrent.weight.T), state)


def lstm_cell(gates_B4: Tensor, state: State) -> State:
    """The state after one step from the sum of all gates' inputs, [B, 4D] in the order i, f, g, o."""
    return State(*_Cell.apply(gates_B4, state.cell_BD))  # type: ignore[no-untyped-call]


def plain_lstm_cell(gates_B4: Tensor, state: State) -> State:
    """``lstm_cell`` as its equations stand: the twin its fast form is tested against."""
    entry, forget, fresh, exit_ = gates_B4.chunk(4, dim=-1)
    cell_BD = forget.sigmoid() * state.cell_BD + entry.sigmoid() * fresh.tanh()
    return State(exit_.sigmoid() * cell_BD.tanh(), cell_BD)


class _Cell(torch.autograd.Function):
    """The cell's equations as one node of the graph, with their gradient by hand: a loop of steps is mostly overhead."""

    @staticmethod
    def forward(ctx: Any, gates_B4: Tensor, cell_BD: Tensor) -> tuple[Tensor, Tensor]:
        D = cell_BD.shape[1]
        open_B4 = gates_B4.sigmoid()
        fresh_BD = gates_B4[:, 2 * D : 3 * D].tanh()
        new_BD = torch.addcmul(open_B4[:, D : 2 * D] * cell_BD, open_B4[:, :D], fresh_BD)
        told_BD = new_BD.tanh()
        ctx.save_for_backward(open_B4, fresh_BD, cell_BD, told_BD)
        return open_B4[:, 3 * D :] * told_BD, new_BD

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        open_B4, fresh_BD, cell_BD, told_BD = ctx.saved_tensors
        hidden_BD, cell_grad_BD = grads
        D = cell_BD.shape[1]
        entry, forget, _, exit_ = open_B4.split(D, dim=1)
        new_BD = torch.addcmul(cell_grad_BD, hidden_BD * exit_, 1 - told_BD * told_BD)
        slope_B4 = open_B4 * (1 - open_B4)
        gates_B4 = torch.cat([new_BD * fresh_BD, new_BD * cell_BD, new_BD * entry, hidden_BD * told_BD], dim=1)
        slope_B4[:, 2 * D : 3 * D] = 1 - fresh_BD * fresh_BD
        return gates_B4.mul_(slope_B4), new_BD * forget
