"""Inputs for the three operations, and what an implementation makes of them: outputs and the gradient of every input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from openbook.ops.types import DecoderWeights, EncoderWeights, Pages, Series, Start

Found = dict[str, Tensor]


@dataclass(frozen=True)
class Attention:
    """Sizes and options of one look-up."""

    B: int = 2
    H: int = 7
    T: int = 33
    A: int = 7
    D: int = 5
    mask: int = 0  # 1: [B, 1, T], 2: [B, T], 3: [B, H, T]
    bias: bool = False
    value: bool = True
    wide: bool = False
    strided: bool = False
    seed: int = 0
    read: str = "both"  # which outputs lead to the loss


@dataclass(frozen=True)
class Decoder:
    """Sizes and options of one decoder; E = 0 reads the context directly."""

    B: int = 3
    L: int = 4
    T: int = 33
    A: int = 7
    D: int = 9
    E: int = 0
    both: bool = False
    mask: bool = False
    bias: bool = False
    padded: bool = False
    look_last: bool = True
    wide: bool = False
    strided: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Encoder:
    """Sizes and options of one encoder; F inputs."""

    B: int = 3
    T: int = 4
    F: int = 7
    A: int = 5
    D: int = 9
    both: bool = False
    mask: bool = False
    padded: bool = False
    wide: bool = False
    strided: bool = False
    seed: int = 0


class Numbers:
    """Inputs by name, the same whatever their precision and device."""

    def __init__(self, dtype: torch.dtype, device: str, strided: bool, seed: int) -> None:
        self.dtype, self.device, self.strided = dtype, device, strided
        self.generator = torch.Generator().manual_seed(seed)
        self.leaves: Found = {}

    def draw(self, *shape: int, by: float = 1.0) -> Tensor:
        return by * torch.randn(*shape, generator=self.generator)

    def give(self, name: str, drawn: Tensor) -> Tensor:
        """A leaf; ``strided`` gives views whose neighbours lie apart."""
        given = drawn.to(self.dtype).to(self.device)
        if self.strided:
            given = torch.stack([given, torch.full_like(given, torch.nan)], -1)[..., 0]
        self.leaves[name] = given.requires_grad_()
        return given

    def opposed(self, *shape: int) -> Tensor:
        """±60 by attention unit: what keys and queries have on opposite sides."""
        side_A = torch.where(torch.arange(shape[-1]) % 3 == 0, 60.0, -60.0)
        return side_A.expand(shape)

    def open_(self, *shape: int) -> Tensor:
        """A mask of which the first window is closed throughout."""
        mask = torch.rand(*shape, generator=self.generator) > 0.3
        mask[0] = False
        mask[1:, ..., 0] = True
        return mask.to(self.device)

    def inside(self, B: int, L: int) -> Tensor:
        """Window b begins with b padded steps."""
        return (torch.arange(L)[None] >= torch.arange(B)[:, None]).to(self.device)

    def gradients(self, outputs: Found) -> Found:
        """Outputs, and the leaves' gradients of a loss that weighs every output number at random."""
        loss = sum((out * self.draw(*out.shape).to(out)).sum() for out in outputs.values())
        assert isinstance(loss, Tensor)
        loss.backward()
        grads = {
            f"d {name}": torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            for name, leaf in self.leaves.items()
        }
        return {**{name: out.detach() for name, out in outputs.items()}, **grads}


def attend(op: Callable[..., Any], case: Attention, dtype: torch.dtype, device: str) -> Found:
    numbers = Numbers(dtype, device, case.strided, case.seed)
    B, H, T, A = case.B, case.H, case.T, case.A
    far_A = numbers.opposed(B, 1, A) if case.wide else torch.zeros(B, 1, A)
    query = numbers.give("query", numbers.draw(B, H, A) + far_A)
    key = numbers.give("key", numbers.draw(B, T, A) - far_A)
    value = numbers.give("value", numbers.draw(B, T, case.D)) if case.value else None
    score = numbers.give("score", numbers.draw(A))
    bias = numbers.give("bias", numbers.draw(H, T)) if case.bias else None
    mask = numbers.open_(*{1: (B, 1, T), 2: (B, T), 3: (B, H, T)}[case.mask]) if case.mask else None
    context, weight = op(query, key, value, score, mask, bias)
    outputs = {"context": context, "weight": weight}
    return numbers.gradients(
        {name: out for name, out in outputs.items() if out is not None and case.read in (name, "both")}
    )


def decode(op: Callable[..., Any], case: Decoder, dtype: torch.dtype, device: str) -> Found:
    numbers = Numbers(dtype, device, case.strided, case.seed)
    B, L, T, A, D, E = case.B, case.L, case.T, case.A, case.D, case.E or case.D
    far_A = numbers.opposed(A) if case.wide else torch.zeros(A)
    gates = numbers.give("gates", numbers.draw(B, L, 4 * D))
    start = Start(*(numbers.give(f"start {name}", numbers.draw(B, D)) for name in Start._fields))
    pages = Pages(
        numbers.give("key", numbers.draw(B, T, A) - far_A),
        numbers.give("value", numbers.draw(B, T, D)),
        numbers.open_(B, T) if case.mask else None,
        numbers.give("bias", numbers.draw(L, T)) if case.bias else None,
    )
    weights = DecoderWeights(
        numbers.give("recurrent", numbers.draw(4 * D, D, by=D**-0.5)),
        numbers.give("context weight", numbers.draw(4 * D, E, by=E**-0.5)),
        numbers.give("entry", numbers.draw(E, D, by=D**-0.5)) if case.E else None,
        numbers.give("query weight", numbers.draw(A, 2 * D if case.both else D, by=D**-0.5)),
        numbers.give("query bias", numbers.draw(A) + far_A),
        numbers.give("score", numbers.draw(A)),
    )
    inside = numbers.inside(B, L) if case.padded else None
    return numbers.gradients(op(gates, start, pages, weights, inside, case.look_last)._asdict())


def encode(op: Callable[..., Any], case: Encoder, dtype: torch.dtype, device: str) -> Found:
    numbers = Numbers(dtype, device, case.strided, case.seed)
    B, T, n_features, A, D = case.B, case.T, case.F, case.A, case.D
    far_A = numbers.opposed(A) if case.wide else torch.zeros(A)
    gates = numbers.give("gates", numbers.draw(B, T, 4 * D))
    mask = (
        numbers.open_(B, T, n_features) if case.mask else torch.ones(B, T, n_features, dtype=torch.bool, device=device)
    )
    series = Series(
        numbers.give("value", numbers.draw(B, T, n_features)),
        numbers.give("key", numbers.draw(B, n_features, A) - far_A),
        mask,
        numbers.give("bias", numbers.draw(n_features)),
    )
    weights = EncoderWeights(
        numbers.give("recurrent", numbers.draw(4 * D, D, by=D**-0.5)),
        numbers.give("input", numbers.draw(4 * D, n_features)),
        numbers.give("query weight", numbers.draw(A, 2 * D if case.both else D, by=D**-0.5)),
        numbers.give("query bias", numbers.draw(A) + far_A),
        numbers.give("score", numbers.draw(A)),
    )
    inside = numbers.inside(B, T) if case.padded else torch.ones(B, T, dtype=torch.bool, device=device)
    return numbers.gradients(op(gates, series, weights, inside)._asdict())
