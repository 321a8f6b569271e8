"""Products of gradients where the library that torch asks is slow: narrow ones, and all large ones on AMD's Zen 5.

There torch's matrix products (MKL) use half the width of the processor's vectors, its convolutions (oneDNN) all of it; the
gradients of a convolution with a kernel of one are the same products. Which way is taken depends on the processor and on
sizes alone, so that the same fit gives the same bits.
"""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

_LEAST = 2**24  # multiplications from which on a convolution pays
_WINDOWS = 16  # with fewer, torch does not hand a convolution on one thread to oneDNN


def added_linear(onto: Tensor, input_BLK: Tensor, weight_YK: Tensor) -> Tensor:
    """``onto + input weightᵀ``, [B, L, Y], for a bias ``onto`` [Y] or [B, L, Y] to add to.

    With K of 5 to 8 and rows by the ten thousand, ``gradᵀ input`` takes a CPU library four to ten times as long as
    ``(inputᵀ grad)ᵀ``: the latter is taken here.

    >>> added_linear(torch.ones(2), torch.ones(1, 3, 4), torch.ones(2, 4))[0, 0]
    tensor([5., 5.])
    """
    if input_BLK.device.type != "cpu":
        return onto + input_BLK @ weight_YK.T
    return _AddedLinear.apply(onto, input_BLK, weight_YK)  # type: ignore[no-untyped-call, no-any-return]


def summed_product(left_BLX: Tensor, right_BLY: Tensor) -> Tensor:
    """Σ over windows and steps of the outer products: a weight's gradient, [X, Y]; the narrow side is put first."""
    X, Y = left_BLX.shape[2], right_BLY.shape[2]
    if _convolves(left_BLX, Y):
        return conv2d_weight(_image(right_BLY), (X, Y, 1, 1), _image(left_BLX))[:, :, 0, 0]  # type: ignore[no-untyped-call, no-any-return]
    left_NX, right_NY = left_BLX.flatten(0, 1), right_BLY.flatten(0, 1)
    return (right_NY.T @ left_NX).T if Y < X else left_NX.T @ right_NY


def narrow_product(left_BLY: Tensor, weight_YK: Tensor) -> Tensor:
    """``left weight``, [B, L, K], for K of a few: twice as fast with the weight laid out the other way."""
    weight_KY = weight_YK.T.contiguous()
    if _convolves(left_BLY, len(weight_KY)):
        return F.conv2d(_image(left_BLY), weight_KY[:, :, None, None]).permute(0, 2, 3, 1).flatten(1, 2)
    return F.linear(left_BLY, weight_KY)


def _convolves(left_BLX: Tensor, columns: int) -> bool:
    enough = len(left_BLX) >= _WINDOWS and left_BLX.numel() * columns >= _LEAST
    return enough and left_BLX.device.type == "cpu" and left_BLX.dtype == torch.float32 and _half_as_fast()


@cache
def _half_as_fast() -> bool:
    """Whether torch's matrix products use half of this processor's vectors."""
    facts = Path("/proc/cpuinfo")
    return _zen5(facts.read_text(encoding="utf-8")[:2000] if facts.is_file() else platform.processor())


def _zen5(told: str) -> bool:
    """Of AMD's family 26 or later, as Linux or Windows tell it."""
    family = re.search(r"family[\s:]*(\d+)", told, re.IGNORECASE)
    return "AuthenticAMD" in told and family is not None and int(family[1]) >= 26


def _image(rows_BLK: Tensor) -> Tensor:
    """Rows as an image with K channels [B, K, L, 1], the same memory."""
    B, L, K = rows_BLK.shape
    return rows_BLK.contiguous().view(B, L, 1, K).permute(0, 3, 1, 2)


class _AddedLinear(torch.autograd.Function):
    """The map as one node of the graph, its gradients by hand."""

    @staticmethod
    def forward(ctx: Any, onto: Tensor, input_BLK: Tensor, weight_YK: Tensor) -> Tensor:
        ctx.bias, ctx.column = onto.ndim == 1, onto.ndim == 1 and 4 * weight_YK.shape[1] < weight_YK.shape[0]
        if ctx.column:  # a bias to add to is first laid out in full; as one more input it costs next to nothing
            input_BLK = F.pad(input_BLK, (0, 1), value=1.0)
            told_NY = input_BLK.flatten(0, 1) @ torch.cat([weight_YK, onto[:, None]], dim=1).T
        else:
            told_NY = torch.addmm(onto if ctx.bias else onto.flatten(0, 1), input_BLK.flatten(0, 1), weight_YK.T)
        ctx.save_for_backward(input_BLK, weight_YK)
        return told_NY.view(*input_BLK.shape[:2], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_BLY: Tensor) -> tuple[Tensor | None, ...]:
        input_BLK, weight_YK = ctx.saved_tensors
        needs_onto, needs_input, needs_weight = ctx.needs_input_grad
        told = narrow_product(grad_BLY, weight_YK) if needs_input else None
        if ctx.column:
            both_YK = summed_product(grad_BLY, input_BLK)
            return both_YK[:, -1], told, both_YK[:, :-1]
        onto = (grad_BLY.sum((0, 1)) if ctx.bias else grad_BLY) if needs_onto else None
        return onto, told, summed_product(grad_BLY, input_BLK) if needs_weight else None
