"""Additive attention on an NVIDIA GPU: scores from tiles of keys and queries in registers, rebuilt for the gradient."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from openbook.ops.triton_math import LAUNCH, TILE, device_of, parts, plain, power_of_two, reach, room, wide_windows
from openbook.ops.types import Attended, Powers

__all__ = ["additive_attention", "reach"]
_ROW = 1024  # weights of one row read at once
_QUERIES, _UNITS = 4, 32  # a tile's queries and attention units; the rest of it are times


@triton.jit
def scores_kernel(
    query: tl.tensor,
    key: tl.tensor,
    score: tl.tensor,
    wide: tl.tensor,
    out: tl.tensor,
    H: tl.tensor,
    T: tl.tensor,
    A: tl.tensor,
    BH: tl.constexpr,
    BT: tl.constexpr,
    BA: tl.constexpr,
) -> None:
    """out[h, t] = Σ_a v_a (1 - 2r) for a block of one window's queries and times."""
    times, queries = tl.cdiv(T, BT), tl.cdiv(H, BH)
    place = tl.program_id(0)
    b = (place // (times * queries)).to(tl.int64)
    h = (place // times) % queries * BH + tl.arange(0, BH)
    t = place % times * BT + tl.arange(0, BT)
    query += b * H * A
    key += b * T * A
    is_wide = tl.load(wide + b) != 0
    total = tl.zeros([BH, BT], tl.float32)
    for first in range(0, A, BA):
        a = first + tl.arange(0, BA)
        v = tl.load(score + a, mask=a < A, other=0.0)
        q = tl.load(query + h[:, None] * A + a[None, :], mask=(h < H)[:, None] & (a < A)[None, :], other=0.0)
        k = tl.load(key + t[:, None] * A + a[None, :], mask=(t < T)[:, None] & (a < A)[None, :], other=0.0)
        r, rest = parts(k[None, :, :], q[:, None, :], is_wide)
        total += tl.sum(v[None, None, :] * (rest - r), axis=2)
    at = out + b * H * T + h[:, None].to(tl.int64) * T + t[None, :]
    tl.store(at, total, mask=(h < H)[:, None] & (t < T)[None, :])


@triton.jit
def softmax_kernel(
    line: tl.tensor,
    mask: tl.tensor,
    bias: tl.tensor,
    mask_b: tl.tensor,
    mask_h: tl.tensor,
    H: tl.tensor,
    T: tl.tensor,
    BT: tl.constexpr,
) -> None:
    """Softmax of one row of scores in place; closed cells get exactly 0, and so do all where none is open."""
    row = tl.program_id(0).to(tl.int64)
    b, h = row // H, row % H
    line += row * T
    most = tl.full([], float("-inf"), tl.float32)
    total = tl.full([], 0.0, tl.float32)
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        here = t < T
        x = tl.load(line + t, mask=here, other=float("-inf"))
        if bias is not None:
            x += tl.load(bias + h * T + t, mask=here, other=0.0)
        if mask is not None:
            x = tl.where(tl.load(mask + b * mask_b + h * mask_h + t, mask=here, other=0) != 0, x, float("-inf"))
        top = tl.maximum(most, tl.max(x, axis=0))
        base = tl.where(top == float("-inf"), 0.0, top)
        total = total * tl.exp(most - base) + tl.sum(tl.exp(x - base), axis=0)
        most = top
    base = tl.where(most == float("-inf"), 0.0, most)
    scale = 1.0 / tl.where(total == 0.0, 1.0, total)
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        here = t < T
        x = tl.load(line + t, mask=here, other=float("-inf"))
        if bias is not None:
            x += tl.load(bias + h * T + t, mask=here, other=0.0)
        if mask is not None:
            x = tl.where(tl.load(mask + b * mask_b + h * mask_h + t, mask=here, other=0) != 0, x, float("-inf"))
        tl.store(line + t, tl.exp(x - base) * scale, mask=here)


@triton.jit
def slopes_kernel(weight: tl.tensor, grad: tl.tensor, out: tl.tensor, T: tl.tensor, BT: tl.constexpr) -> None:
    """out = weight (grad - Σ weight grad) of one row, the gradient of its scores."""
    row = tl.program_id(0).to(tl.int64) * T
    total = tl.full([], 0.0, tl.float32)
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        w = tl.load(weight + row + t, mask=t < T, other=0.0)
        total += tl.sum(w * tl.load(grad + row + t, mask=t < T, other=0.0), axis=0)
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        w = tl.load(weight + row + t, mask=t < T, other=0.0)
        tl.store(out + row + t, w * (tl.load(grad + row + t, mask=t < T, other=0.0) - total), mask=t < T)


@triton.jit
def query_grad_kernel(
    query: tl.tensor,
    key: tl.tensor,
    score: tl.tensor,
    slope: tl.tensor,
    wide: tl.tensor,
    out: tl.tensor,
    H: tl.tensor,
    T: tl.tensor,
    A: tl.tensor,
    BH: tl.constexpr,
    BT: tl.constexpr,
    BA: tl.constexpr,
) -> None:
    """out[h, a] = 4 v_a Σ_t slope r (1 - r) for a block of one window's queries and units."""
    units, queries = tl.cdiv(A, BA), tl.cdiv(H, BH)
    place = tl.program_id(0)
    b = (place // (units * queries)).to(tl.int64)
    h = (place // units) % queries * BH + tl.arange(0, BH)
    a = place % units * BA + tl.arange(0, BA)
    query += b * H * A
    key += b * T * A
    slope += b * H * T
    is_wide = tl.load(wide + b) != 0
    asking = (h < H)[:, None] & (a < A)[None, :]
    q = tl.load(query + h[:, None] * A + a[None, :], mask=asking, other=0.0)
    total = tl.zeros([BH, BA], tl.float32)
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        k = tl.load(key + t[:, None] * A + a[None, :], mask=(t < T)[:, None] & (a < A)[None, :], other=0.0)
        at = slope + h[:, None].to(tl.int64) * T + t[None, :]
        s = tl.load(at, mask=(h < H)[:, None] & (t < T)[None, :], other=0.0)
        r, rest = parts(k[None, :, :], q[:, None, :], is_wide)
        total += tl.sum(s[:, :, None] * r * rest, axis=1)
    v = tl.load(score + a, mask=a < A, other=0.0)
    tl.store(out + b * H * A + h[:, None] * A + a[None, :], 4.0 * v[None, :] * total, mask=asking)


@triton.jit
def key_grad_kernel(
    query: tl.tensor,
    key: tl.tensor,
    score: tl.tensor,
    slope: tl.tensor,
    wide: tl.tensor,
    out: tl.tensor,
    score_grad: tl.tensor,
    H: tl.tensor,
    T: tl.tensor,
    A: tl.tensor,
    BH: tl.constexpr,
    BT: tl.constexpr,
    BA: tl.constexpr,
) -> None:
    """out[t, a] = 4 v_a Σ_h slope r (1 - r) for a block of one window's keys, and its part Σ slope (1 - 2r) of that of v.

    Slopes sum to zero over time, but only to rounding: -2 Σ slope r alone would pass what is left of them on to v.
    """
    units, times = tl.cdiv(A, BA), tl.cdiv(T, BT)
    place = tl.program_id(0)
    block = (place // units).to(tl.int64)
    b = block // times
    t = block % times * BT + tl.arange(0, BT)
    a = place % units * BA + tl.arange(0, BA)
    query += b * H * A
    key += b * T * A
    slope += b * H * T
    is_wide = tl.load(wide + b) != 0
    kept = (t < T)[:, None] & (a < A)[None, :]
    k = tl.load(key + t[:, None] * A + a[None, :], mask=kept, other=0.0)
    total = tl.zeros([BT, BA], tl.float32)
    read = tl.zeros([BT, BA], tl.float32)
    for first in range(0, H, BH):
        h = first + tl.arange(0, BH)
        q = tl.load(query + h[:, None] * A + a[None, :], mask=(h < H)[:, None] & (a < A)[None, :], other=0.0)
        at = slope + h[:, None].to(tl.int64) * T + t[None, :]
        s = tl.load(at, mask=(h < H)[:, None] & (t < T)[None, :], other=0.0)
        r, rest = parts(k[None, :, :], q[:, None, :], is_wide)
        weighed = s[:, :, None] * r
        read += tl.sum(s[:, :, None] * (rest - r), axis=0)
        total += tl.sum(weighed * rest, axis=0)
    v = tl.load(score + a, mask=a < A, other=0.0)
    tl.store(out + b * T * A + t[:, None] * A + a[None, :], 4.0 * v[None, :] * total, mask=kept)
    tl.store(score_grad + block * A + a, tl.sum(read, axis=0), mask=a < A)


def _blocks(H: int, T: int, A: int) -> dict[str, int]:
    """Sides of a tile [BH, BT, BA]."""
    BH, BA = power_of_two(H, _QUERIES), power_of_two(A, _UNITS)
    return {"BH": BH, "BT": power_of_two(T, TILE // (BH * BA)), "BA": BA}


def key_and_score_grads(
    query_BHA: Tensor, key_BTA: Tensor, score_A: Tensor, slope_BHT: Tensor, wide_B: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of keys [B, T, A] and of v [A] from the scores' gradients; all contiguous, no two programs write one cell."""
    (B, H, A), T = query_BHA.shape, key_BTA.shape[1]
    blocks = _blocks(H, T, A)
    times = triton.cdiv(T, blocks["BT"])
    key_grad, score_grad = room(key_BTA, B, T, A), room(key_BTA, B * times, A)
    grid = (B * times * triton.cdiv(A, blocks["BA"]),)
    with device_of(key_BTA):
        key_grad_kernel[grid](
            query_BHA, key_BTA, score_A, slope_BHT, wide_B, key_grad, score_grad, H, T, A, **blocks, **LAUNCH
        )
    return key_grad, score_grad.sum(0)


class _AdditiveAttention(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(
        ctx: Any,
        query_BHA: Tensor,
        key_BTA: Tensor,
        value_BTD: Tensor | None,
        score_A: Tensor,
        mask: Tensor | None,
        bias_HT: Tensor | None,
    ) -> tuple[Tensor | None, Tensor]:
        query_BHA, key_BTA, score_A = plain(query_BHA), plain(key_BTA), plain(score_A)
        (B, H, A), T = query_BHA.shape, key_BTA.shape[1]
        mask = None if mask is None else plain(mask.expand(B, T) if mask.ndim == 2 else mask.expand(B, H, T))
        bias_HT = None if bias_HT is None else plain(bias_HT)
        weight_BHT, wide_B, blocks = room(key_BTA, B, H, T), wide_windows(query_BHA, key_BTA), _blocks(H, T, A)
        strides = (0, 0) if mask is None else (mask.stride(0), mask.stride(1) if mask.ndim == 3 else 0)
        grid = (B * triton.cdiv(H, blocks["BH"]) * triton.cdiv(T, blocks["BT"]),)
        with device_of(key_BTA):
            scores_kernel[grid](query_BHA, key_BTA, score_A, wide_B, weight_BHT, H, T, A, **blocks, **LAUNCH)
            softmax_kernel[(B * H,)](weight_BHT, mask, bias_HT, *strides, H, T, BT=power_of_two(T, _ROW), **LAUNCH)
        ctx.save_for_backward(query_BHA, key_BTA, value_BTD, score_A, weight_BHT, wide_B)
        ctx.has_bias = bias_HT is not None
        ctx.set_materialize_grads(False)
        return None if value_BTD is None else torch.bmm(weight_BHT, value_BTD), weight_BHT

    @staticmethod
    @once_differentiable
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx: Any, context_grad: Tensor | None, weight_grad: Tensor | None) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        query_BHA, key_BTA, value_BTD, score_A, weight_BHT, wide_B = ctx.saved_tensors
        (B, H, A), T = query_BHA.shape, key_BTA.shape[1]
        grad_BHT, value_grad = weight_grad, None
        if context_grad is not None:
            looked_BHT = torch.bmm(context_grad, value_BTD.transpose(1, 2))
            grad_BHT = looked_BHT if weight_grad is None else looked_BHT.add_(weight_grad)
            value_grad = torch.bmm(weight_BHT.transpose(1, 2), context_grad) if ctx.needs_input_grad[2] else None
        if grad_BHT is None:
            return (None,) * 6
        slope_BHT, query_grad, blocks = room(key_BTA, B, H, T), room(key_BTA, B, H, A), _blocks(H, T, A)
        grid = (B * triton.cdiv(H, blocks["BH"]) * triton.cdiv(A, blocks["BA"]),)
        with device_of(key_BTA):
            slopes_kernel[(B * H,)](weight_BHT, plain(grad_BHT), slope_BHT, T, BT=power_of_two(T, _ROW), **LAUNCH)
            query_grad_kernel[grid](
                query_BHA, key_BTA, score_A, slope_BHT, wide_B, query_grad, H, T, A, **blocks, **LAUNCH
            )
        key_grad, score_grad = key_and_score_grads(query_BHA, key_BTA, score_A, slope_BHT, wide_B)
        return query_grad, key_grad, value_grad, score_grad, None, slope_BHT.sum(0) if ctx.has_bias else None


def additive_attention(
    query_BHA: Tensor,
    key_BTA: Tensor,
    value_BTD: Tensor | None,
    score_A: Tensor,
    mask: Tensor | None = None,
    bias_HT: Tensor | None = None,
    powers: Powers | None = None,
) -> Attended:
    """As the reference, in float32 on an NVIDIA GPU; nothing larger than the weights is kept for the gradient.

    ``v·tanh(k + q)`` is taken as ``v·(1 - 2 / (1 + e^2k e^2q))`` (Bahdanau et al. 2015, appendix A.1.2, factorised).
    The exponentials are taken where they are needed: ``powers`` are not used.
    """
    bias = None if bias_HT is None else bias_HT.expand(query_BHA.shape[1], key_BTA.shape[1])
    return Attended(*_AdditiveAttention.apply(query_BHA, key_BTA, value_BTD, score_A, mask, bias))  # type: ignore[no-untyped-call]
