"""The padded encoder, the hoisted cell, heads."""

from __future__ import annotations

import torch
from torch import nn

from openbook.nn.heads import QuantileHead
from openbook.nn.recurrent import PaddedLSTM, State, StepLSTM, lstm_cell, plain_lstm_cell


def test_left_padding_changes_nothing_not_even_a_bit_of_the_gradient() -> None:
    torch.manual_seed(0)
    lstm = PaddedLSTM(input_size=3, size=5).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    garbage = torch.cat([torch.full((2, 4, 3), 77.0, dtype=torch.float64), x], dim=1)
    inside = torch.cat([torch.zeros(2, 4), torch.ones(2, 6)], dim=1).bool()
    plain = lstm(x, torch.ones(2, 6, dtype=torch.bool))
    padded = lstm(garbage, inside)
    assert (padded.output_BTD[:, :4] == 0).all()
    torch.testing.assert_close(padded.output_BTD[:, 4:], plain.output_BTD, rtol=0, atol=1e-15)
    gradients = []
    for found in (plain, padded):
        lstm.zero_grad()
        found.output_BTD.square().sum().backward()
        gradients.append([p.grad.clone() for p in lstm.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_padding_column_never_learns() -> None:
    lstm = PaddedLSTM(input_size=2, size=4)
    before = lstm.lstm.weight_ih_l0.detach()[:, -1].clone()
    inside = torch.tensor([[False, False, True, True]])
    lstm(torch.randn(1, 4, 2), inside).output_BTD.sum().backward()
    assert (lstm.lstm.weight_ih_l0.grad[:, -1] == 0).all()
    assert (before[:4] < -1000).all()


def test_the_hoisted_cell_is_an_lstm_cell() -> None:
    torch.manual_seed(0)
    cell = StepLSTM(context_size=2, known_size=3, size=4)
    plain = nn.LSTMCell(5, 4)
    plain.weight_ih.data = torch.cat([cell.context.weight, cell.known.weight], dim=1).detach()
    plain.weight_hh.data = cell.recurrent.weight.detach()
    plain.bias_ih.data, plain.bias_hh.data = cell.known.bias.detach(), torch.zeros(16)
    known, context = torch.randn(6, 7, 3), torch.randn(6, 2)
    state = State(torch.randn(6, 4), torch.randn(6, 4))
    found = cell(cell.hoist(known)[:, 5], context, state)
    wanted = plain(torch.cat([context, known[:, 5]], dim=-1), tuple(state))
    torch.testing.assert_close(found.hidden_BD, wanted[0])
    torch.testing.assert_close(found.cell_BD, wanted[1])


def test_quantiles_never_cross_and_the_median_is_free() -> None:
    torch.manual_seed(0)
    head = QuantileHead(size=3, n_targets=2, quantiles=(0.1, 0.25, 0.5, 0.9))
    quantile = head(100 * torch.randn(50, 3))
    assert quantile.shape == (50, 2, 4)
    assert (quantile.diff(dim=-1) >= 0).all()
    raw = head.output(torch.ones(1, 3)).view(1, 2, 4)
    assert head(torch.ones(1, 3))[0, 1, 2] == raw[0, 1, 2]


def test_all_states_of_the_fused_lstm_are_those_of_its_steps() -> None:
    lstm = PaddedLSTM(input_size=3, size=4)
    x, inside = torch.randn(2, 6, 3), torch.ones(2, 6, dtype=torch.bool)
    inside[1, :2] = False
    found = lstm.states(x, inside)
    for length in range(1, 7):
        state = lstm(x[:, :length], inside[:, :length]).state
        torch.testing.assert_close(found[:, length - 1], torch.cat(state, -1), rtol=0, atol=1e-6)
    assert (found[1, :2] == 0).all()


def test_the_cell_in_one_node_equals_its_equations_and_their_gradient() -> None:
    g = torch.Generator().manual_seed(2)
    gates = torch.randn(3, 20, generator=g, dtype=torch.float64, requires_grad=True)
    cell = torch.randn(3, 5, generator=g, dtype=torch.float64, requires_grad=True)
    state = State(torch.zeros(3, 5, dtype=torch.float64), cell)
    for fast, plain in zip(lstm_cell(gates, state), plain_lstm_cell(gates, state), strict=True):
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-15)
    assert torch.autograd.gradcheck(lambda x, c: tuple(lstm_cell(x, State(c, c))), (gates, cell))
