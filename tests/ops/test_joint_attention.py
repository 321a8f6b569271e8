"""Joint attention: a grid by hand, the kernel against its equations in float64, outputs and every gradient."""

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

from openbook.ops.joint_attention import joint_attention, reference
from openbook.ops.joint_attention import numba as kernels
from openbook.ops.types import Found

DRAWS = 8  # of small tensors, whose errors are counted together
NAMES = ("found", "weight", "asked", "state", "bias", "gain")


def draw(
    B: int, H: int, T: int, F: int, D: int, *, bias: bool = True, gain: bool = True, seed: int = 0
) -> list[Tensor | None]:
    """Queries, states, bias and gain of F variables; of none (F 0) as dot attention takes them."""
    g = torch.Generator().manual_seed(seed)

    def one(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    asked = one(B, H, D + 2 * F + 1 if F else D) / D**0.5
    return [asked, one(B, T, D), one(H, max(F, 1), T) if bias else None, 0.5 * one(H, F, T) if gain and F else None]


def cells(B: int, T: int, F: int) -> Tensor | None:
    return torch.randn(B, F, T, generator=torch.Generator().manual_seed(99)) if F else None


def some(B: int, T: int, F: int) -> Tensor:
    """Which cells are open: about two of three, in the last window none."""
    open_ = torch.rand(B, max(F, 1), T, generator=torch.Generator().manual_seed(5)) < 2 / 3
    open_[-1] = False
    return open_


def call(module: Any, parts: Sequence[Tensor | None], mask: Tensor | None, F: int) -> Found:
    asked, state, bias, gain = parts
    assert state is not None
    cell = cells(len(state), state.shape[1], F)
    return module.joint_attention(asked, state, None if cell is None else cell.to(state.dtype), mask, bias, gain)  # type: ignore[no-any-return]


def check(*draws: Sequence[Tensor | None], F: int, mask: Tensor | None = None, roughly: bool = False) -> None:
    plain, kernel = (lambda parts, module=module: call(module, parts, mask, F) for module in (reference, kernels))
    hold_to(plain, kernel, draws[0], NAMES, *draws[1:], roughly=roughly)


@pytest.mark.parametrize("module", [reference, kernels])
def test_a_grid_by_hand(module: Any) -> None:
    # Two steps, one variable; a = 1, slope 2, name 0.5, nowhere 0.3.
    asked, state = torch.tensor([[[1.0, 2.0, 0.5, 0.3]]]), torch.tensor([[[0.1], [-0.2]]])
    cell, bias, gain = torch.tensor([[[1.0, -1.0]]]), torch.tensor([[[0.0, 4.0]]]), torch.tensor([[[0.5, 0.0]]])
    scores = [0.1 + 2 + 0.5, -0.2 - 2 + 0.5 + 4, 0.3 + math.log(2)]
    total = sum(map(math.exp, scores))
    first, second, _ = (math.exp(score) / total for score in scores)
    found = module.joint_attention(asked, state, cell, None, bias, gain)
    assert found.weight_BHFT.flatten().tolist() == pytest.approx([first, second], rel=1e-5)
    wanted = [0.1 * first - 0.2 * second, 1.5 * first - second, first + second]
    assert found.found_BHR.flatten().tolist() == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("module", [reference, kernels])
def test_nowhere_counts_as_much_as_what_is_open(module: Any) -> None:
    mask = torch.tensor([[[True, False, True], [False, True, False]], [[False] * 3, [False] * 3]])
    weight = module.joint_attention(torch.zeros(2, 1, 9), torch.ones(2, 3, 4), torch.ones(2, 2, 3), mask).weight_BHFT
    torch.testing.assert_close(weight[0, 0], mask[0] / 6)
    assert not weight[1].any()


@pytest.mark.parametrize("module", [reference, kernels])
def test_dot_attention_of_closed_windows_is_nothing(module: Any) -> None:
    mask = torch.tensor([[[True, False]], [[False, False]]])
    found = module.joint_attention(torch.ones(2, 3, 4), torch.ones(2, 2, 4), None, mask)
    assert found.weight_BHFT[0].flatten(0, 1).tolist() == [[1.0, 0.0]] * 3
    assert not found.weight_BHFT[1].any()
    assert not found.found_BHR[1].any()


def test_the_gradients_of_the_plain_twin() -> None:
    parts = [part.double().requires_grad_() for part in draw(2, 3, 4, 2, 3) if part is not None]
    assert torch.autograd.gradcheck(lambda *given: tuple(call(reference, given, None, 2)), parts, fast_mode=True)


@pytest.mark.parametrize("size", [1, 7, 63, 500])
@pytest.mark.parametrize("axis", ["B", "H", "T", "F", "D"])
def test_odd_sizes(axis: str, size: int) -> None:
    sizes = {"B": 3, "H": 5, "T": 6, "F": 2, "D": 4} | {axis: size}
    check(*(draw(**sizes, seed=seed) for seed in range(DRAWS)), F=sizes["F"])


@pytest.mark.parametrize("size", [1, 7, 63, 500])
@pytest.mark.parametrize("axis", ["B", "H", "T", "D"])
def test_odd_sizes_over_time_alone(axis: str, size: int) -> None:
    sizes = {"B": 3, "H": 5, "T": 6, "D": 4} | {axis: size}
    check(*(draw(**sizes, F=0, seed=seed) for seed in range(DRAWS)), F=0)


@pytest.mark.parametrize("F", [0, 1, 3])
@pytest.mark.parametrize(("bias", "gain"), [(True, True), (False, True), (True, False), (False, False)])
def test_masks_and_what_may_be_absent(F: int, bias: bool, gain: bool) -> None:
    draws = [draw(11, 5, 9, F, 13, bias=bias, gain=gain, seed=seed) for seed in range(DRAWS)]
    check(*draws, F=F, mask=some(11, 9, F))
    check(*draws, F=F)


@pytest.mark.parametrize("wide", [25.0, 60.0])
@pytest.mark.parametrize("F", [0, 3])
def test_large_scores(F: int, wide: float) -> None:
    draws = [draw(5, 4, 7, F, 13, seed=seed) for seed in range(DRAWS)]
    check(*([wide * asked, *rest] for asked, *rest in draws if asked is not None), F=F)


@pytest.mark.parametrize("module", [reference, kernels])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_closed_cells_may_hold_anything(module: Any, value: float) -> None:
    mask, cell, told = some(4, 9, 3), cells(4, 9, 3), []
    assert cell is not None
    for filled in (cell.masked_fill(~mask, 0.0), cell.masked_fill(~mask, value)):
        parts = [part.requires_grad_() for part in draw(4, 5, 9, 3, 13) if part is not None]
        found = module.joint_attention(*parts[:2], filled, mask, *parts[2:])
        grads = torch.autograd.grad(found.found_BHR.sin().sum() + found.weight_BHFT.cos().sum(), parts)
        told.append((*found, *grads))
    assert (told[1][1].transpose(0, 1)[:, ~mask] == 0).all()
    assert all(torch.equal(plain, mine) for plain, mine in zip(*told, strict=True))


@pytest.mark.parametrize("module", [reference, kernels])
@pytest.mark.parametrize("F", [0, 3])
def test_what_is_no_number_stays_none(module: Any, F: int) -> None:
    asked, *rest = draw(2, 5, 9, F, 13)
    assert asked is not None
    asked[0, 1] = math.nan
    weight = call(module, [asked, *rest], some(2, 9, F) | True, F).weight_BHFT
    assert weight[0, 1].isnan().all()
    assert weight.isnan().sum() == weight[0, 1].numel()


@pytest.mark.parametrize("F", [0, 3])
def test_no_windows_are_no_error(F: int) -> None:
    parts = [part.requires_grad_() for part in draw(2, 5, 9, F, 13) if part is not None]
    cell = None if F == 0 else torch.zeros(0, F, 9)
    found = kernels.joint_attention(parts[0][:0], parts[1][:0], cell, None, *parts[2:])
    torch.autograd.backward(found.found_BHR.sum())
    assert found.weight_BHFT.shape == (0, 5, max(F, 1), 9)
    assert parts[2].grad is not None
    assert not parts[2].grad.any()


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    asked, state, bias, gain = draw(2, 5, 9, 3, 13)
    cell = cells(2, 9, 3)
    assert asked is not None
    assert state is not None
    assert cell is not None
    assert bias is not None
    wrong: tuple[tuple[Tensor | None, ...], ...] = (
        (asked[..., 1:], state, cell),
        (asked, state[:1], cell),
        (asked, state, cell[..., 1:]),
        (asked, state, cell, some(2, 9, 1)),
        (asked, state, cell, None, bias[:, :1]),
        (asked, state, cell, None, bias, bias[:1]),
        (asked[..., :13], state, None, None, None, gain),
    )
    for parts in wrong:
        with pytest.raises(RuntimeError, match="do not belong together"):
            joint_attention(*parts)  # type: ignore[arg-type]
    with torch.inference_mode():
        assert joint_attention(asked, state, cell, None, bias, gain).weight_BHFT.isfinite().all()


def test_values_of_variables_have_a_gradient_too() -> None:
    asked, state, bias, gain = draw(2, 5, 9, 3, 13)
    cell = cells(2, 9, 3)
    assert cell is not None
    found = kernels.joint_attention(asked, state, cell.requires_grad_(), None, bias, gain)  # type: ignore[arg-type]
    (grad,) = torch.autograd.grad(found.found_BHR.sum(), [cell])
    assert grad.any()


@pytest.mark.parametrize("name", ["found_BHR", "weight_BHFT"])
@pytest.mark.parametrize("F", [0, 3])
def test_what_nobody_read_has_no_gradient(name: str, F: int) -> None:
    inputs = [None if part is None else part.double().requires_grad_() for part in draw(5, 6, 7, F, 13)]
    asked = [part for part in inputs if part is not None]
    wanted = torch.autograd.grad(getattr(call(reference, inputs, None, F), name).sin().sum(), asked, allow_unused=True)
    narrow = [None if part is None else part.detach().float().requires_grad_() for part in inputs]
    asked = [part for part in narrow if part is not None]
    found = torch.autograd.grad(getattr(call(kernels, narrow, None, F), name).sin().sum(), asked)
    for exact, mine in zip(wanted, found, strict=True):
        exact = torch.zeros_like(mine).double() if exact is None else exact
        torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-5)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*(st.integers(least, most) for least, most in ((1, 19), (1, 9), (1, 20), (0, 4), (1, 40)))),
    masked=st.booleans(),
    parts=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 1000),
)
def test_any_windows(sizes: tuple[int, ...], masked: bool, parts: tuple[bool, bool], seed: int) -> None:
    B, H, T, F, D = sizes
    mask = some(B, T, F) if masked else None
    check(draw(B, H, T, F, D, bias=parts[0], gain=parts[1], seed=seed), F=F, mask=mask, roughly=True)


def test_nothing_unwritten_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "room", lambda *shape: torch.full(shape, torch.nan))
    for F in (0, 3):
        check(*(draw(9, 5, 7, F, 13, seed=seed) for seed in range(DRAWS)), F=F, mask=some(9, 7, F))


def test_memory_of_any_layout() -> None:
    turned = [None if part is None else part.mT.contiguous().mT for part in draw(5, 6, 9, 3, 13)]
    check(turned, F=3)


def test_the_same_bits_for_any_number_of_threads() -> None:
    before, found = torch.get_num_threads(), []
    inputs = [part.requires_grad_() for part in draw(3 * kernels.GROUP + 5, 24, 100, 3, 64) if part is not None]
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            told = call(kernels, inputs, None, 3)
            found.append((*told, *torch.autograd.grad(told.found_BHR.sin().sum(), inputs)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(part, other) for one in found[1:] for part, other in zip(found[0], one, strict=True))


@pytest.mark.parametrize(
    ("B", "H", "grad", "kernel"),
    [(900, 3, True, False), (9, 24, True, False), (40, 24, True, True), (40, 24, False, False), (900, 4, False, True)],
)
def test_few_queries_and_small_windows_stay_with_torchs_products(
    B: int, H: int, grad: bool, kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENBOOK_KERNELS", raising=False)
    served = []
    monkeypatch.setattr(
        kernels, "joint_attention", lambda *given: served.append(True) or reference.joint_attention(*given)
    )
    asked, state, bias, gain = draw(B, H, 200, 3, 64)
    assert asked is not None
    assert state is not None
    with torch.set_grad_enabled(grad):
        joint_attention(asked, state, cells(B, 200, 3), None, bias, gain)
    assert bool(served) == kernel


def test_what_is_kept_for_the_gradient_is_inputs_and_weights() -> None:
    B, H, T, F, D = 8, 6, 50, 4, 16
    inputs, sizes = [part.requires_grad_() for part in draw(B, H, T, F, D) if part is not None], list[int]()
    given = {part.data_ptr() for part in inputs}

    def count(part: Tensor) -> Tensor:
        sizes.append(0 if part.data_ptr() in given else part.numel())
        return part

    with torch.autograd.graph.saved_tensors_hooks(count, lambda part: part):
        call(kernels, inputs, None, F)
    assert sum(sizes) == B * H * F * T + B * H + B * F * T  # weights, nowhere's, and the values handed over
