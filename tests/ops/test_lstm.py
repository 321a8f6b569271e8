"""The layer of LSTM: a step by hand, torch's layer against its equations, the kernel against torch's layer in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.twins import hold_to
from torch import Tensor

from openbook.ops.lstm import lstm, reference
from openbook.ops.lstm import numba as kernels
from openbook.ops.recurrence.reference import lstm_cell
from openbook.ops.types import LSTMWeights, Read

DRAWS = 8  # of small tensors, whose errors are counted together
NAMES = ("hidden", "last hidden", "last cell", "cell", "input", "entry", "recurrent", "bias", "second bias", "h0", "c0")
PLAIN = NAMES[:-2]  # from zero


def draw(B: int, T: int, X: int, D: int, *, wide: float = 1.0, start: bool = True, seed: int = 0) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)

    def one(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    weights = [one(4 * D, X) / X**0.5, one(4 * D, D) / D**0.5, one(4 * D), one(4 * D)]
    return [wide * one(B, T, X), *weights, *((one(B, D), one(B, D)) if start else ())]


def call(module: Any, parts: Sequence[Tensor | None], inside: Tensor | None = None) -> Read:
    weights = LSTMWeights(*parts[1:5])  # type: ignore[arg-type]
    if inside is not None:
        size = weights.recurrent_4D.shape[1]
        closed = torch.zeros_like(weights.entry_bias_4)
        closed[:size] = -1e4
        weights = weights._replace(entry_4X=torch.cat([weights.entry_4X, closed[:, None]], dim=1))
    return module.lstm(parts[0], weights, inside, tuple(parts[5:]) or None, True)  # type: ignore[no-any-return]


def check(*draws: Sequence[Tensor], inside: Tensor | None = None, roughly: bool = False) -> None:
    plain, kernel = (lambda parts, module=module: call(module, parts, inside) for module in (reference, kernels))
    hold_to(plain, kernel, draws[0], NAMES[: 4 + len(draws[0])], *draws[1:], roughly=roughly)


def padded(B: int, T: int) -> Tensor:
    """Every second window begins later."""
    inside = torch.ones(B, T, dtype=torch.bool)
    for row in range(1, B, 2):
        inside[row, : min(row, T - 1)] = False
    return inside


def test_a_step_by_hand() -> None:
    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    weights = LSTMWeights(
        torch.tensor([[1.0], [0.0], [2.0], [0.5]]),
        torch.tensor([[0.0], [1.0], [0.0], [-1.0]]),
        torch.tensor([0.0, 1.0, 0.0, 0.0]),
        torch.tensor([0.1, 0.0, 0.0, 0.2]),
    )
    start = torch.tensor([[0.4]]), torch.tensor([[0.25]])
    cell = sigmoid(1.4) * 0.25 + sigmoid(0.3 + 0.1) * math.tanh(0.6)
    hidden = sigmoid(0.15 - 0.4 + 0.2) * math.tanh(cell)
    for module in (reference, kernels):
        read = module.lstm(torch.tensor([[[0.3]]]), weights, None, start, True)
        assert read.cell_BD.item() == pytest.approx(cell, rel=1e-6)
        assert read.cell_BTD.item() == pytest.approx(cell, rel=1e-6)
        assert read.hidden_BTD.item() == read.hidden_BD.item() == pytest.approx(hidden, rel=1e-6)


def test_the_fused_layer_keeps_its_equations_and_tells_its_cells() -> None:
    input_BTX, *weights, hidden_BD, cell_BD = (part.double() for part in draw(3, 6, 2, 4))
    read = reference.lstm(input_BTX, LSTMWeights(*weights), None, (hidden_BD, cell_BD), True)
    assert read.cell_BTD is not None
    for step in range(6):
        gates_B4 = input_BTX[:, step] @ weights[0].T + hidden_BD @ weights[1].T + weights[2] + weights[3]
        hidden_BD, cell_BD = lstm_cell(gates_B4, cell_BD)
        torch.testing.assert_close(read.hidden_BTD[:, step], hidden_BD, rtol=0, atol=1e-12)
        torch.testing.assert_close(read.cell_BTD[:, step], cell_BD, rtol=0, atol=1e-12)
    assert torch.equal(read.hidden_BD, read.hidden_BTD[:, -1])
    torch.testing.assert_close(read.cell_BD, cell_BD, rtol=0, atol=1e-12)


def test_reduced_precision_around_it_does_not_reach_the_recurrence() -> None:
    input_BTX, *weights, hidden_BD, cell_BD = draw(3, 6, 2, 4)
    given = (input_BTX, LSTMWeights(*weights), None, (hidden_BD, cell_BD), True)
    wanted = reference.lstm(*given)
    with torch.autocast("cpu", torch.bfloat16):
        half = (input_BTX.bfloat16(), *given[1:3], (hidden_BD.bfloat16(), cell_BD.bfloat16()), True)
        for found, exact in ((reference.lstm(*given), True), (reference.lstm(*half), False)):
            assert all(part.dtype == torch.float32 for part in found)
            for one, other in zip(found, wanted, strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0 if exact else 0.02)
        assert torch.is_autocast_enabled("cpu")


def test_the_gradients_of_the_plain_twin() -> None:
    inputs = [part.double().requires_grad_() for part in draw(2, 3, 2, 2)]
    assert torch.autograd.gradcheck(lambda *parts: tuple(call(reference, parts)), inputs, fast_mode=True)


def test_every_parameter_has_a_gradient_of_its_own_which_clipping_scales_once() -> None:
    clipped = []
    for module in (reference, kernels):
        inputs = [part.requires_grad_() for part in draw(3, 6, 2, 4)]
        call(module, inputs).hidden_BTD.sum().backward()
        memory = [part.grad.untyped_storage().data_ptr() for part in inputs[3:5] if part.grad is not None]
        assert len(set(memory)) == 2
        torch.nn.utils.clip_grad_norm_(inputs, 0.1)
        clipped.append([part.grad for part in inputs])
    torch.testing.assert_close(*clipped, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 63, 500])
@pytest.mark.parametrize("axis", ["B", "T", "X", "D"])
def test_odd_sizes(axis: str, size: int) -> None:
    sizes = {"B": 3, "T": 5, "X": 6, "D": 4} | {axis: size}
    check(*(draw(**sizes, seed=seed) for seed in range(DRAWS)))
    check(*(draw(**sizes, start=False, seed=seed) for seed in range(DRAWS)))


@pytest.mark.parametrize("B", [1, 4, 6, 11])
def test_windows_padded_on_the_left(B: int) -> None:
    inside = padded(B, 9)
    inside[-1] = B == 1  # a window that has not begun
    check(*(draw(B, 9, 3, 13, start=False, seed=seed) for seed in range(DRAWS)), inside=inside)


@pytest.mark.parametrize("wide", [25.0, 60.0])
def test_closed_gates(wide: float) -> None:
    check(*(draw(5, 7, 3, 13, wide=wide, seed=seed) for seed in range(DRAWS)))


def test_padding_may_hold_anything_and_leaves_no_bit() -> None:
    inputs, inside = draw(5, 9, 3, 13, start=False), padded(5, 9)
    inputs[0][~inside] = torch.nan
    for part in inputs[1:]:
        part.requires_grad_()
    read = call(kernels, inputs, inside)
    assert (read.hidden_BTD[~inside] == 0).all()
    torch.autograd.backward(read.hidden_BTD.sum())
    assert all(part.grad is not None and part.grad.isfinite().all() for part in inputs[1:])
    begun = call(kernels, [inputs[0][3:4, 3:], *inputs[1:]])
    assert torch.equal(read.hidden_BTD[3:4, 3:], begun.hidden_BTD)


@pytest.mark.parametrize("name", ["hidden_BTD", "hidden_BD", "cell_BD", "cell_BTD"])
def test_what_nobody_read_has_no_gradient(name: str) -> None:
    inputs = [part.double().requires_grad_() for part in draw(5, 7, 3, 13)]
    wanted = torch.autograd.grad(getattr(call(reference, inputs), name).sin().sum(), inputs, allow_unused=True)
    narrow = [part.detach().float().requires_grad_() for part in inputs]
    found = torch.autograd.grad(getattr(call(kernels, narrow), name).sin().sum(), narrow)
    for exact, mine in zip(wanted, found, strict=True):
        assert exact is not None
        torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-5)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (9, 9, 6, 40))),
    form=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_any_windows(sizes: tuple[int, int, int, int], form: int, seed: int) -> None:
    inside = padded(*sizes[:2]) if form == 2 else None
    check(draw(*sizes, start=form == 1, seed=seed), inside=inside, roughly=True)


def test_nothing_unwritten_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "room", lambda *shape: torch.full(shape, torch.nan))
    check(*(draw(6, 9, 3, 13, seed=seed) for seed in range(DRAWS)))
    check(*(draw(6, 9, 3, 13, start=False, seed=seed) for seed in range(DRAWS)), inside=padded(6, 9))


def test_memory_of_any_layout() -> None:
    check(
        [part.transpose(-1, -2).contiguous().transpose(-1, -2) if part.ndim > 1 else part for part in draw(5, 9, 3, 13)]
    )


def test_the_same_bits_for_any_number_of_threads() -> None:
    before, found = torch.get_num_threads(), []
    inputs = [part.requires_grad_() for part in draw(3 * kernels.TILE + 5, 9, 3, 13)]
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            read = call(kernels, inputs)
            (grad,) = torch.autograd.grad(read.hidden_BTD.sum(), [inputs[0]])
            found.append((*read, grad))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(part, other) for one in found[1:] for part, other in zip(found[0], one, strict=True))


@pytest.mark.parametrize(
    ("steps", "cells", "grad", "kernel"),
    [(28, False, True, False), (28, True, True, True), (100, False, True, True), (100, False, False, False)],
)
def test_small_windows_stay_with_torchs_layer(
    steps: int, cells: bool, grad: bool, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBOOK_KERNELS", raising=False)
    served = []
    monkeypatch.setattr(kernels, "lstm", lambda *given: served.append(True) or reference.lstm(*given))
    inputs = draw(64, steps, 2, 64)
    with torch.set_grad_enabled(grad):
        lstm(inputs[0], LSTMWeights(*inputs[1:5]), None, tuple(inputs[5:]), cells=cells)  # type: ignore[arg-type]
    assert bool(served) == kernel


def test_what_is_kept_for_the_gradient_grows_with_steps_alone() -> None:
    B, T, X, D = 4, 30, 3, 16
    inputs = [part.requires_grad_() for part in draw(B, T, X, D)]
    given, sizes = {id(part) for part in inputs}, list[int]()

    def count(part: Tensor) -> Tensor:
        sizes.append(0 if id(part) in given else part.numel())
        return part

    with torch.autograd.graph.saved_tensors_hooks(count, lambda part: part):
        call(kernels, inputs)
    assert sum(sizes) == B * T * 6 * D
