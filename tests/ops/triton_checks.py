"""The GPU kernels against their plain twins; ``test_triton.py`` runs this file where they can run: a process of its own.

With TRITON_INTERPRET=1 they run on the CPU, in Triton's interpreter.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from triton_cases import Attention, Decoder, Encoder, Found, attend, decode, encode

from openbook.ops.additive_attention import reference as plain_attention
from openbook.ops.additive_attention import triton as fast_attention
from openbook.ops.recurrence import reference as plain_recurrence
from openbook.ops.recurrence import triton as recurrence

DEVICE = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
SEEDS = range(2) if DEVICE == "cpu" else range(8)  # the interpreter is slow
# Beside twice the error of plain float32: rounding of numbers about one, which a sum in a lucky order may escape.
FLOOR = 4 * torch.finfo(torch.float32).eps

ATTENTION = [
    Attention(B=1, H=1, T=1, A=1, D=1),
    Attention(),
    Attention(H=33, T=7, A=33, mask=2, bias=True),
    Attention(B=3, H=1, T=200, A=65, mask=2),
    Attention(H=2, T=1100, A=3, D=2, mask=3, bias=True),
    Attention(mask=3, value=False, bias=True),
    Attention(H=3, mask=1),
    Attention(read="context", bias=True),
    Attention(read="weight"),
    Attention(wide=True, mask=2),
    Attention(strided=True, mask=3, bias=True),
]
DECODER = [
    Decoder(B=1, L=1, T=1, A=1, D=1),
    Decoder(),
    Decoder(E=3, both=True, mask=True, bias=True, padded=True),
    Decoder(both=True, mask=True, bias=True, padded=True, look_last=False),
    Decoder(L=1, T=7, E=1, look_last=False),
    Decoder(B=2, L=3, T=300, A=33, D=17, mask=True, padded=True),
    Decoder(B=1, L=33, T=7, A=3, D=5, E=1, both=True, bias=True),
    Decoder(both=True, mask=True, wide=True, padded=True),
    Decoder(E=2, both=True, mask=True, bias=True, padded=True, strided=True),
]
ENCODER = [
    Encoder(B=1, T=1, F=1, A=1, D=1),
    Encoder(),
    Encoder(F=33, A=7, both=True, mask=True, padded=True),
    Encoder(B=1, T=33, F=3, A=3, D=5, both=True),
    Encoder(B=2, T=3, F=300, A=33, D=17, mask=True),
    Encoder(both=True, mask=True, wide=True, padded=True),
    Encoder(both=True, mask=True, padded=True, strided=True),
]


@pytest.fixture(autouse=True)
def _unwritten_memory_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*args: Any, **options: Any) -> torch.Tensor:
            memory = make(*args, **options)
            return memory.fill_(torch.nan) if memory.is_floating_point() else memory

        return made

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, poisoned(getattr(torch, name)))
    assert torch.empty(2).isnan().all()


def size(numbers: torch.Tensor) -> float:
    return math.sqrt(numbers.double().square().mean().item())


def agree(run: Callable[..., Found], fast: Callable[..., Any], plain: Callable[..., Any], case: Any) -> None:
    """Root mean square errors against float64, of every output and gradient, over some draws of the inputs."""
    errors: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for seed in SEEDS:
        drawn = replace(case, seed=seed)
        found, twin = (run(op, drawn, torch.float32, DEVICE) for op in (fast, plain))
        exact = run(plain, drawn, torch.float64, DEVICE)
        assert found.keys() == exact.keys()
        for name, truth in exact.items():
            assert found[name].shape == truth.shape, name
            errors[name].append((size(found[name] - truth), size(twin[name] - truth), size(truth)))
    wrong = {}
    for name, draws in errors.items():
        error, allowed, about = (math.hypot(*sizes) / len(draws) ** 0.5 for sizes in zip(*draws, strict=True))
        if not error <= 2 * allowed + FLOOR * max(1.0, about):
            wrong[name] = f"{error:.2e}, plain float32 {allowed:.2e}, numbers of {about:.2e}"
    assert wrong == {}


@pytest.mark.parametrize("case", ATTENTION, ids=str)
def test_attention_agrees_with_its_twin(case: Attention) -> None:
    agree(attend, fast_attention.additive_attention, plain_attention.additive_attention, case)


@pytest.mark.parametrize("case", DECODER, ids=str)
def test_decoder_agrees_with_its_twin(case: Decoder) -> None:
    agree(decode, recurrence.attending_decoder, plain_recurrence.attending_decoder, case)


@pytest.mark.parametrize("case", ENCODER, ids=str)
def test_encoder_agrees_with_its_twin(case: Encoder) -> None:
    agree(encode, recurrence.attending_encoder, plain_recurrence.attending_encoder, case)


def test_a_window_masked_throughout_finds_nothing() -> None:
    for run, op, case in (
        (attend, fast_attention.additive_attention, Attention(mask=2)),
        (decode, recurrence.attending_decoder, Decoder(mask=True)),
        (encode, recurrence.attending_encoder, Encoder(mask=True)),
    ):
        found = run(op, case, torch.float32, DEVICE)
        for name in found.keys() & {"context", "weight", "context_BLD", "weight_BLT", "alpha_BTF"}:
            assert (found[name][0] == 0).all()
            assert (found[name][1] != 0).any()


def test_what_stands_on_padding_is_never_read() -> None:
    def soiled(op: Callable[..., Any], place: int) -> Callable[..., Any]:
        def run(gates: torch.Tensor, *parts: Any) -> Any:
            inside = parts[place]
            return op(gates.masked_fill(~inside[..., None], torch.nan), *parts)

        return run

    case = Decoder(padded=True, both=True)
    op = recurrence.attending_decoder
    clean, dirty = decode(op, case, torch.float32, DEVICE), decode(soiled(op, 3), case, torch.float32, DEVICE)
    assert all(torch.equal(clean[name], dirty[name]) for name in clean)
    other = Encoder(padded=True, both=True)
    op = recurrence.attending_encoder
    clean, dirty = encode(op, other, torch.float32, DEVICE), encode(soiled(op, 2), other, torch.float32, DEVICE)
    assert all(torch.equal(clean[name], dirty[name]) for name in clean)


def test_nan_is_not_hidden() -> None:
    def broken(query: torch.Tensor, key: torch.Tensor, *parts: Any) -> Any:
        return fast_attention.additive_attention(
            query.index_fill(0, torch.tensor([0], device=DEVICE), torch.nan), key, *parts
        )

    weight = attend(broken, Attention(), torch.float32, DEVICE)["weight"]
    assert weight[0].isnan().all()
    assert weight[1].isfinite().all()


def test_no_tensor_of_all_queries_times_and_units_is_kept() -> None:
    B, H, T, A = 2, 9, 33, 7
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    parts = [torch.randn(shape, device=DEVICE, requires_grad=True) for shape in ((B, H, A), (B, T, A), (B, T, 5), (A,))]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        fast_attention.additive_attention(*parts)
    assert max(kept) == B * H * T
