"""The sequential attention models: a step worked out by hand, kernels against the plain twins in float64."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.twins import hold_to
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from openbook.nn.recurrent import State, lstm_cell
from openbook.ops.recurrence import attending_decoder, reference
from openbook.ops.recurrence import numba as kernels
from openbook.ops.recurrence.numba_steps import TILE
from openbook.ops.types import Again, Decoded, DecoderWeights, EncoderWeights, Pages, Series, Start, Weighed

DRAWS = 8  # of small tensors, whose errors are counted together
DECODED = ("hidden", "context", "weight")
DECODER = (
    "gates",
    "h0",
    "c0",
    "context0",
    "key",
    "value",
    "bias",
    "recurrent",
    "contexts",
    "entry",
    "query",
    "query bias",
    "score",
)
WEIGHED = ("hidden", "alpha")
ENCODER = ("gates", "value", "key", "bias", "recurrent", "input", "query", "query bias", "score")


class Sizes(NamedTuple):
    B: int = 5
    L: int = 9
    T: int = 31
    A: int = 7
    D: int = 13
    E: int = 0  # 0: the context enters the gates directly
    both: bool = True  # the query reads hidden and cell state
    bias: bool = True


def draw_decoder(sizes: Sizes, *, wide: float = 1.0, seed: int = 0) -> list[Tensor | None]:
    B, L, T, A, D, E, both, bias = sizes
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    S = 2 * D if both else D
    start = [draw(B, D) for _ in range(3)]
    weights = [draw(4 * D, D) / D**0.5, draw(4 * D, E or D) / (E or D) ** 0.5, draw(E, D) / D**0.5 if E else None]
    ask = [wide * draw(A, S) / S**0.5, draw(A), draw(A)]
    pages = [wide * draw(B, T, A), draw(B, T, D), draw(L, T) if bias else None]
    return [draw(B, L, 4 * D), *start, *pages, *weights, *ask]


def decoders(sizes: Sizes, *, wide: float = 1.0) -> list[list[Tensor | None]]:
    return [draw_decoder(sizes, wide=wide, seed=seed) for seed in range(DRAWS)]


def check_decoder(
    *draws: Sequence[Tensor | None],
    mask: Tensor | None = None,
    inside: Tensor | None = None,
    look_last: bool = True,
    roughly: bool = False,
) -> None:
    def call(module: object, parts: Sequence[Tensor | None]) -> Decoded:
        pages = Pages(parts[4], parts[5], mask, parts[6])  # type: ignore[arg-type]
        weights = DecoderWeights(*parts[7:])  # type: ignore[arg-type]
        return module.attending_decoder(parts[0], Start(*parts[1:4]), pages, weights, inside, look_last)  # type: ignore

    names = (*DECODED, *DECODER)
    plain, kernel = (lambda parts, module=module: call(module, parts) for module in (reference, kernels))
    hold_to(plain, kernel, draws[0], names, *draws[1:], roughly=roughly)


def draw_encoder(
    B: int, T: int, F: int, A: int, D: int, *, both: bool = True, wide: float = 1.0, seed: int = 0
) -> list[Tensor]:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    S = 2 * D if both else D
    weights = [draw(4 * D, D) / D**0.5, draw(4 * D, F), wide * draw(A, S) / S**0.5, draw(A), draw(A)]
    return [draw(B, T, 4 * D), draw(B, T, F), wide * draw(B, F, A), draw(F), *weights]


def check_encoder(
    *draws: Sequence[Tensor],
    mask: Tensor,
    inside: Tensor,
    roughly: bool = False,
) -> None:
    def call(module: object, parts: Sequence[Tensor | None]) -> Weighed:
        series = Series(parts[1], parts[2], mask, parts[3])  # type: ignore[arg-type]
        return module.attending_encoder(parts[0], series, EncoderWeights(*parts[4:]), inside)  # type: ignore

    names = (*WEIGHED, *ENCODER)
    plain, kernel = (lambda parts, module=module: call(module, parts) for module in (reference, kernels))
    hold_to(plain, kernel, draws[0], names, *draws[1:], roughly=roughly)


def padded(B: int, L: int) -> Tensor:
    """Every second window begins later."""
    inside = torch.ones(B, L, dtype=torch.bool)
    for row in range(1, B, 2):
        inside[row, : min(row, L - 1)] = False
    return inside


def test_a_decoder_step_by_hand() -> None:
    zero, one = torch.zeros(1, 1), torch.ones(1, 1)
    gates = torch.tensor([[[0.5, 0.0, 1.0, -0.5]]])
    pages = Pages(torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[2.0], [4.0]]]))
    weights = DecoderWeights(torch.zeros(4, 1), one.expand(4, 1), None, one, torch.zeros(1), torch.ones(1))
    start = Start(zero, torch.tensor([[0.25]]), torch.tensor([[0.1]]))

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    cell = sigmoid(0.1) * 0.25 + sigmoid(0.6) * math.tanh(1.1)
    hidden = sigmoid(-0.4) * math.tanh(cell)
    share = 1 / (1 + math.exp(math.tanh(1 + hidden) - math.tanh(hidden)))
    for module in (reference, kernels):
        found = module.attending_decoder(gates, start, pages, weights)
        assert found.hidden_BLD.item() == pytest.approx(hidden, rel=1e-6)
        assert found.weight_BLT[0, 0].tolist() == pytest.approx([share, 1 - share], rel=1e-6)
        assert found.context_BLD.item() == pytest.approx(2 * share + 4 * (1 - share), rel=1e-6)


@pytest.mark.parametrize("size", [1, 7, 63, 500])
@pytest.mark.parametrize("axis", ["L", "T", "A", "D", "E"])
def test_the_decoder_at_odd_sizes(axis: str, size: int) -> None:
    sizes = Sizes(B=3, L=5, T=6, A=5, D=4)._replace(**{axis: size})
    # In sums of 500 units plain float32's error is a matter of the processor's vectors: ten times smaller on some.
    check_decoder(*decoders(sizes), roughly=sizes.A == 500)


@pytest.mark.parametrize("B", [1, 4, 6, 11])
@pytest.mark.parametrize("form", [Sizes(), Sizes(E=3), Sizes(both=False, bias=False), Sizes(E=5, both=False)])
def test_the_decoder_in_all_forms(form: Sizes, B: int) -> None:
    sizes = form._replace(B=B)
    mask = torch.rand(B, sizes.T, generator=torch.Generator().manual_seed(1)) > 0.3
    mask[-1] = False
    draws = decoders(sizes)
    check_decoder(*draws)
    check_decoder(*draws, look_last=False)
    check_decoder(*draws, mask=mask, inside=padded(B, sizes.L))


@pytest.mark.parametrize("wide", [25.0, 60.0])
def test_the_decoder_where_factors_do_not_fit(wide: float) -> None:
    check_decoder(*decoders(Sizes(L=4), wide=wide))


def test_steps_outside_keep_the_state_and_find_nothing() -> None:
    inputs, inside = draw_decoder(Sizes(bias=False)), padded(5, 9)
    weights = DecoderWeights(*inputs[7:])  # type: ignore[arg-type]
    found = kernels.attending_decoder(inputs[0], Start(*inputs[1:4]), Pages(*inputs[4:6]), weights, inside)  # type: ignore
    assert inputs[1] is not None
    assert torch.equal(found.hidden_BLD[3, :3], inputs[1][3].expand(3, -1))
    assert (found.context_BLD[~inside] == 0).all()
    assert (found.weight_BLT[~inside] == 0).all()


@pytest.mark.parametrize("size", [1, 7, 63, 500])
@pytest.mark.parametrize("axis", ["T", "F", "A", "D"])
def test_the_encoder_at_odd_sizes(axis: str, size: int) -> None:
    sizes = {"T": 5, "F": 6, "A": 5, "D": 4} | {axis: size}
    inside = torch.ones(3, sizes["T"], dtype=torch.bool)
    mask = inside[..., None].expand(-1, -1, sizes["F"])
    draws = [draw_encoder(3, **sizes, seed=seed) for seed in range(DRAWS)]
    check_encoder(*draws, mask=mask, inside=inside, roughly=sizes["A"] == 500)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("wide", [1.0, 40.0])
def test_the_encoder_under_masks_and_padding(both: bool, wide: float) -> None:
    inside = padded(6, 9)
    mask = torch.rand(6, 9, 5, generator=torch.Generator().manual_seed(1)) > 0.3
    mask[2, 4] = False
    draws = [draw_encoder(6, 9, 5, 7, 6, both=both, wide=wide, seed=seed) for seed in range(DRAWS)]
    check_encoder(*draws, mask=mask, inside=inside)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(
        *(st.integers(1, most) for most in (9, 6, 20, 12, 12)), st.integers(0, 4), st.booleans(), st.booleans()
    ),
    look_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_decoder(sizes: tuple[int, int, int, int, int, int, bool, bool], look_last: bool, seed: int) -> None:
    shape = Sizes(*sizes)
    mask = torch.rand(shape.B, shape.T, generator=torch.Generator().manual_seed(seed)) > 0.3 if seed % 2 else None
    check_decoder(
        draw_decoder(shape, seed=seed),
        mask=mask,
        inside=padded(shape.B, shape.L) if seed % 3 else None,
        look_last=look_last,
        roughly=True,
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (9, 8, 9, 12, 12))),
    both=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_encoder(sizes: tuple[int, int, int, int, int], both: bool, seed: int) -> None:
    B, T, F, _, _ = sizes
    mask = torch.rand(B, T, F, generator=torch.Generator().manual_seed(seed)) > 0.2
    check_encoder(draw_encoder(*sizes, both=both, seed=seed), mask=mask, inside=padded(B, T), roughly=True)


def test_nothing_unwritten_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "room", lambda *shape: torch.full(shape, torch.nan))
    mask = torch.ones(5, 31, dtype=torch.bool)
    mask[1] = False
    check_decoder(*decoders(Sizes(E=3)), mask=mask, inside=padded(5, 9))
    check_decoder(*decoders(Sizes()), look_last=False)
    inside = padded(6, 9)
    draws = [draw_encoder(6, 9, 5, 7, 6, seed=seed) for seed in range(DRAWS)]
    check_encoder(*draws, mask=inside[..., None].expand(-1, -1, 5), inside=inside)


def test_memory_of_any_layout() -> None:
    inputs = draw_decoder(Sizes(bias=False))
    turned = [
        part if part is None or part.ndim < 2 else part.transpose(-1, -2).contiguous().transpose(-1, -2)
        for part in inputs
    ]
    check_decoder(turned)


def test_the_gradients_of_the_plain_twins() -> None:
    inputs = [part.double().requires_grad_() for part in draw_decoder(Sizes(2, 3, 4, 2, 2, E=1)) if part is not None]

    def decode(*parts: Tensor) -> tuple[Tensor, ...]:
        pages, weights = Pages(parts[4], parts[5], None, parts[6]), DecoderWeights(*parts[7:])
        return tuple(reference.attending_decoder(parts[0], Start(*parts[1:4]), pages, weights, padded(2, 3)))

    assert torch.autograd.gradcheck(decode, inputs, fast_mode=True)
    inside = padded(2, 3)
    others = [part.double().requires_grad_() for part in draw_encoder(2, 3, 3, 2, 2)]

    def encode(*parts: Tensor) -> tuple[Tensor, ...]:
        series = Series(parts[1], parts[2], inside[..., None].expand(-1, -1, 3), parts[3])
        return tuple(reference.attending_encoder(parts[0], series, EncoderWeights(*parts[4:]), inside))

    assert torch.autograd.gradcheck(encode, others, fast_mode=True)


def test_a_gradient_of_a_gradient_is_refused_not_left_in_part() -> None:
    parts = [part.requires_grad_() for part in draw_decoder(Sizes(bias=False)) if part is not None]
    weights = DecoderWeights(*parts[6:8], None, *parts[8:])
    told = kernels.attending_decoder(parts[0], Start(*parts[1:4]), Pages(*parts[4:6]), weights, None)
    gates_B4, cell_BD = torch.randn(3, 8, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    fast = lstm_cell(gates_B4, State(cell_BD, cell_BD))
    for output, source in ((told.hidden_BLD, parts[0]), (fast.hidden_BD, gates_B4)):
        (first,) = torch.autograd.grad(output.sin().sum(), source, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            first.sum().backward()


def test_no_windows_are_no_error() -> None:
    inputs = draw_decoder(Sizes(bias=False))
    none = [part[:0] for part in inputs[:6] if part is not None]
    weights = DecoderWeights(*inputs[7:])  # type: ignore[arg-type]
    told = attending_decoder(none[0], Start(*none[1:4]), Pages(*none[4:6]), weights)
    assert told.hidden_BLD.shape == (0, 9, 13)


class _Largest(TorchDispatchMode):
    """The size of the largest tensor any operation made."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        sizes = [part.numel() for part in tree_flatten(out)[0] if isinstance(part, Tensor)]
        self.numel = max(self.numel, *sizes, 0)
        return out


def test_no_tensor_grows_with_steps_times_book_times_units() -> None:
    """Neither forward nor backward: the plain twin's [B, L, T, A] is what made long books impossible."""
    sizes = Sizes(B=2, L=40, T=50, A=32, D=16)
    inputs = [None if part is None else part.requires_grad_() for part in draw_decoder(sizes)]
    pages, weights = Pages(inputs[4], inputs[5], None, inputs[6]), DecoderWeights(*inputs[7:])  # type: ignore[arg-type]
    with _Largest() as seen:
        found = kernels.attending_decoder(inputs[0], Start(*inputs[1:4]), pages, weights)  # type: ignore[arg-type]
        found.hidden_BLD.sum().backward()
    largest = sizes.B * max(sizes.L * 4 * sizes.D, sizes.L * sizes.T, sizes.T * sizes.A)
    assert seen.numel <= largest < sizes.B * sizes.T * sizes.A * 4


@pytest.mark.parametrize(
    ("sizes", "outside", "look_last"),
    [(Sizes(), False, True), (Sizes(E=3, both=False), True, False), (Sizes(E=3, bias=False), True, True)],
)
def test_a_decoder_may_forget_its_gates(
    monkeypatch: pytest.MonkeyPatch, sizes: Sizes, outside: bool, look_last: bool
) -> None:
    monkeypatch.setattr(kernels, "KEPT", 0)
    inputs, inside = draw_decoder(sizes), padded(sizes.B, sizes.L) if outside else None
    told: list[Tensor] = []

    def call(module: Any, parts: Sequence[Tensor | None]) -> Decoded:
        pages, weights = Pages(parts[4], parts[5], None, parts[6]), DecoderWeights(*parts[7:])  # type: ignore[arg-type]

        def again() -> Tensor:
            told.append(parts[0])  # type: ignore[arg-type]
            return told[-1].detach().clone()

        return module.attending_decoder(
            parts[0].clone(), Start(*parts[1:4]), pages, weights, inside, look_last, Again(again, parts[4].detach)
        )  # type: ignore

    hold_to(lambda parts: call(reference, parts), lambda parts: call(kernels, parts), inputs, (*DECODED, *DECODER))
    assert told  # the pass backwards asked for them


@pytest.mark.parametrize("both", [True, False])
def test_an_encoder_may_forget_its_gates(monkeypatch: pytest.MonkeyPatch, both: bool) -> None:
    monkeypatch.setattr(kernels, "KEPT", 0)
    inputs, inside = draw_encoder(5, 9, 4, 7, 6, both=both), padded(5, 9)
    mask = torch.rand(5, 9, 4, generator=torch.Generator().manual_seed(1)) > 0.2

    def call(module: Any, parts: Sequence[Tensor]) -> Weighed:
        series = Series(parts[1], parts[2], mask, parts[3])
        again = Again(parts[0].detach().clone, parts[2].detach)
        return module.attending_encoder(parts[0].clone(), series, EncoderWeights(*parts[4:]), inside, again)  # type: ignore

    hold_to(lambda parts: call(reference, parts), lambda parts: call(kernels, parts), inputs, (*WEIGHED, *ENCODER))


def test_what_is_forgotten_takes_no_memory_and_few_gates_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    B, L, T, A, D = 2, 40, 30, 16, 32
    inputs = [None if part is None else part.requires_grad_() for part in draw_decoder(Sizes(B, L, T, A, D))]
    pages, weights = Pages(inputs[4], inputs[5], None, inputs[6]), DecoderWeights(*inputs[7:])  # type: ignore[arg-type]
    given = {id(part) for part in inputs}

    def kept() -> int:
        sizes: list[int] = []

        def count(part: Tensor) -> Tensor:
            sizes.append(0 if id(part) in given else part.numel())
            return part

        with torch.autograd.graph.saved_tensors_hooks(count, lambda part: part):
            start = Start(*inputs[1:4])  # type: ignore[arg-type]
            gates = inputs[0].clone()  # type: ignore[union-attr]
            kernels.attending_decoder(gates, start, pages, weights, again=Again(gates.detach))  # type: ignore
        return sum(sizes)

    assert kept() == B * L * (4 * D + A + 3 * D + T)
    monkeypatch.setattr(kernels, "KEPT", B * L * 4 * D - 1)
    assert kept() == B * L * (D + T)


def test_the_same_bits_for_any_number_of_threads() -> None:
    before, found = torch.get_num_threads(), []
    inputs = [None if part is None else part.requires_grad_() for part in draw_decoder(Sizes(B=3 * TILE + 5))]
    pages, weights = Pages(inputs[4], inputs[5], None, inputs[6]), DecoderWeights(*inputs[7:])  # type: ignore[arg-type]
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made = kernels.attending_decoder(inputs[0], Start(*inputs[1:4]), pages, weights)  # type: ignore[arg-type]
            (key,) = torch.autograd.grad(made.hidden_BLD.sum(), [pages.key_BTA])
            found.append((made.hidden_BLD, key))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(part, other) for one in found[1:] for part, other in zip(found[0], one, strict=True))
