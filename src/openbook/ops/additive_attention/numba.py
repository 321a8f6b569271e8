"""Additive attention on the CPU: scores, softmax and look-up of a window while its keys' exponentials are in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from openbook.ops.arrays import NO_MASK, array, nothing, room
from openbook.ops.lanes import clear, padded, put
from openbook.ops.numba_math import KERNEL, add, forget_older, softmax_backward, softmax_open
from openbook.ops.numba_scores import (
    add_dots,
    exponentials,
    key_powers,
    scores,
    scores_backward,
    weigh_rows,
    wide_scores,
    wide_scores_backward,
)
from openbook.ops.types import Attended, Powers
from openbook.ops.workers import claim, gather, share_out


@njit(**KERNEL)
def _forward(
    board: np.ndarray,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    score: np.ndarray,
    mask: np.ndarray,
    bias: np.ndarray,
    powers: np.ndarray,
    wides: np.ndarray,
    context: np.ndarray,
    weight: np.ndarray,
) -> None:
    if gather(board):
        return
    _, H, A = query.shape
    T, hoisted = key.shape[1], powers.shape[0] > 0
    room, factor = np.empty((A, 0 if hoisted else padded(T)), np.float32), np.empty(A, np.float32)
    line = np.empty(padded(T), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for b in range(first, last):
            power = powers[b] if hoisted else room
            wide_key = wides[b] if hoisted else key_powers(key[b], room)
            for h in range(H):
                if exponentials(query[b, h], factor) or wide_key:
                    wide_scores(key[b], query[b, h], score, line)
                else:
                    scores(power, factor, score, line)
                if bias.shape[0] > 0:
                    add(bias[min(h, bias.shape[0] - 1)], line[:T])
                open_ = mask[min(b, mask.shape[0] - 1), min(h, mask.shape[1] - 1)]
                softmax_open(line[:T], open_, weight[b, h])
                if value.shape[0] > 0:
                    weigh_rows(weight[b, h], value[b], context[b, h])
        first, last = claim(board, last - first)


@njit(**KERNEL)
def _backward(
    board: np.ndarray,
    query: np.ndarray,
    key: np.ndarray,
    value: np.ndarray,
    score: np.ndarray,
    powers: np.ndarray,
    wides: np.ndarray,
    weight: np.ndarray,
    context_grad: np.ndarray,
    weight_grad: np.ndarray,
    query_grad: np.ndarray,
    key_grad: np.ndarray,
    score_grad: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Recomputes what the scores were made of; the slopes are left for the bias."""
    if gather(board):
        return
    _, H, A = query.shape
    T, hoisted = key.shape[1], powers.shape[0] > 0
    room, factor = np.empty((A, 0 if hoisted else padded(T)), np.float32), np.empty(A, np.float32)
    power_grad = np.empty((A, padded(T)), np.float32)
    line, steep = np.empty(T, np.float32), np.zeros(padded(T), np.float32)
    first, last = claim(board, 0)
    while first < last:
        for b in range(first, last):
            power = powers[b] if hoisted else room
            wide_key = wides[b] if hoisted else key_powers(key[b], room)
            for a in range(A):
                clear(power_grad[a])
            clear(score_grad[b])
            for h in range(H):
                wide = exponentials(query[b, h], factor) or wide_key
                if weight_grad.shape[0] > 0:
                    put(weight_grad[b, h], line)
                else:
                    clear(line)
                if context_grad.shape[0] > 0:
                    add_dots(value[b], context_grad[b, h], line)
                softmax_backward(weight[b, h], line, steep[:T])
                if slope.shape[0] > 0:
                    put(steep, slope[b, h])
                clear(query_grad[b, h])
                if wide:
                    wide_scores_backward(key[b], query[b, h], steep, power_grad, query_grad[b, h], score_grad[b])
                else:
                    scores_backward(power, factor, steep, power_grad, query_grad[b, h], score_grad[b])
                for a in range(A):
                    query_grad[b, h, a] *= np.float32(4) * score[a]
            for t in range(T):
                for a in range(A):
                    key_grad[b, t, a] = np.float32(4) * score[a] * power_grad[a, t]
            for a in range(A):
                score_grad[b, a] *= np.float32(-2)
        first, last = claim(board, last - first)


@njit(**KERNEL)
def _powers(board: np.ndarray, key: np.ndarray, powers: np.ndarray, wides: np.ndarray) -> None:
    if gather(board):
        return
    first, last = claim(board, 0)
    while first < last:
        for b in range(first, last):
            wides[b] = key_powers(key[b], powers[b])
        first, last = claim(board, last - first)


KERNELS = (_forward, _backward, _powers)
forget_older(*KERNELS)


def hoist(key_BTA: Tensor) -> Powers:
    """The exponentials of all keys, for a caller who asks the same book step after step."""
    B, T, A = key_BTA.shape
    made = Powers(room(B, A, padded(T)), torch.empty(B, dtype=torch.bool))
    key, powers, wides = array(key_BTA), *map(array, made)
    share_out(lambda board: _powers(board, key, powers, wides), B)
    return made


def _shares(H: int, key_BTA: Tensor) -> dict[str, int]:
    """Windows a thread must be given for its start to pay, some half a million multiplications, a quarter of it at a time."""
    least = max(1, 500_000 // max(1, H * key_BTA.shape[1] * key_BTA.shape[2]))
    return {"least": least, "grain": max(1, least // 4)}


def _optional(part: Tensor | None) -> np.ndarray:
    return nothing(3) if part is None else array(part)


def _attend(*parts: Tensor | None) -> tuple[Tensor | None, Tensor]:
    """Context and weights of query, key, value, score, mask [B or 1, H or 1, T], bias [H or 1, T], powers, wide keys."""
    query_BHA, key_BTA, value_BTD, score_A, mask_BHT, bias_HT, power_BAP, wide_B = parts
    assert query_BHA is not None
    assert key_BTA is not None
    assert score_A is not None
    B, H, _ = query_BHA.shape
    weight_BHT = room(B, H, key_BTA.shape[1])
    context_BHD = None if value_BTD is None else room(B, H, value_BTD.shape[2])
    given = [array(query_BHA), array(key_BTA), _optional(value_BTD), array(score_A)]
    given += [NO_MASK if mask_BHT is None else array(mask_BHT), nothing(2) if bias_HT is None else array(bias_HT)]
    given += [_optional(power_BAP), nothing(1, bool) if wide_B is None else array(wide_B)]
    given += [_optional(context_BHD), array(weight_BHT)]
    share_out(lambda board: _forward(board, *given), B, **_shares(H, key_BTA))
    return context_BHD, weight_BHT


class _AdditiveAttention(torch.autograd.Function):
    """Inputs as of ``_attend``."""

    @staticmethod
    def forward(ctx: Any, *parts: Tensor | None) -> tuple[Tensor | None, Tensor]:
        query_BHA, key_BTA, value_BTD, score_A, _, bias_HT, power_BAP, wide_B = parts
        context_BHD, weight_BHT = _attend(*parts)
        ctx.save_for_backward(query_BHA, key_BTA, value_BTD, score_A, weight_BHT, power_BAP, wide_B)
        ctx.bias_rows = 0 if bias_HT is None else len(bias_HT)
        ctx.set_materialize_grads(False)
        return context_BHD, weight_BHT

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        query_BHA, key_BTA, value_BTD, score_A, weight_BHT, power_BAP, wide_B = ctx.saved_tensors
        context_grad, weight_grad = grads
        B, H, A = query_BHA.shape
        query_grad, key_grad, score_grad = room(B, H, A), room(*key_BTA.shape), room(B, A)
        slope_BHT = room(*weight_BHT.shape) if ctx.bias_rows else None
        given = [array(query_BHA), array(key_BTA), _optional(value_BTD), array(score_A)]
        given += [_optional(power_BAP), nothing(1, bool) if wide_B is None else array(wide_B)]
        given += [array(weight_BHT), _optional(context_grad), _optional(weight_grad)]
        given += [array(query_grad), array(key_grad), array(score_grad), _optional(slope_BHT)]
        share_out(lambda board: _backward(board, *given), B, **_shares(H, key_BTA))
        value_grad = None if context_grad is None else torch.bmm(weight_BHT.transpose(1, 2), context_grad)
        bias_grad = (
            None if slope_BHT is None else slope_BHT.sum((0, 1) if ctx.bias_rows == 1 else 0).view(ctx.bias_rows, -1)
        )
        return query_grad, key_grad, value_grad, score_grad.sum(0), None, bias_grad, None, None


def additive_attention(
    query_BHA: Tensor,
    key_BTA: Tensor,
    value_BTD: Tensor | None,
    score_A: Tensor,
    mask: Tensor | None = None,
    bias_HT: Tensor | None = None,
    powers: Powers | None = None,
) -> Attended:
    """As the reference, in float32 on the CPU; only the weights are kept for the gradient, all else is computed again."""
    mask_BHT = mask[:, None] if mask is not None and mask.ndim == 2 else mask
    hoisted = (None, None) if powers is None else powers
    attend = _AdditiveAttention.apply if torch.is_grad_enabled() else _attend
    return Attended(*attend(query_BHA, key_BTA, value_BTD, score_A, mask_BHT, bias_HT, *hoisted))
