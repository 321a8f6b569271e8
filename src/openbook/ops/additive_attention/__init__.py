"""Additive attention from pre-projected keys: scores, softmax, context and weights, one signature for every device.

``tanh(k + q) = 1 - 2 / (1 + e^2k e^2q)``: with both exponentials computed once, a score costs one reciprocal and no
transcendental function, forward or backward, and the backward pass computes it again instead of storing it.
"""

from __future__ import annotations

from torch import Tensor

from openbook.ops.additive_attention import reference
from openbook.ops.dispatch import implementation
from openbook.ops.types import Attended, Powers


def additive_attention(
    query_BHA: Tensor,
    key_BTA: Tensor,
    value_BTD: Tensor | None,
    score_A: Tensor,
    mask: Tensor | None = None,
    bias_HT: Tensor | None = None,
    powers: Powers | None = None,
) -> Attended:
    """``softmax_t(v·tanh(k_t + q) + bias)`` and the values it weighs (Bahdanau et al. 2015, appendix A.1.2).

    Projected queries [B, H, A] and keys [B, T, A], values [B, T, D] or none, v [A], mask [B, T] or [B, H, T], bias
    [H, T] or [1, T]. A masked cell weighs exactly 0; where all are masked, weights and context are 0. ``powers`` from
    ``hoist`` spares a caller who comes back step after step the keys' exponentials.

    >>> import torch
    >>> book = torch.zeros(1, 4, 3)
    >>> additive_attention(torch.zeros(1, 2, 3), book, book, torch.ones(3)).weight_BHT[0, 0]
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    size = query_BHA.shape[0] * query_BHA.shape[1] * key_BTA.shape[1] * key_BTA.shape[2]
    with implementation("additive_attention", query_BHA, size, reference) as chosen:
        return chosen.additive_attention(query_BHA, key_BTA, value_BTD, score_A, mask, bias_HT, powers)


def hoist(key_BTA: Tensor) -> Powers | None:
    """What many look-ups in one book can share, or none where the chosen implementation has no use for it."""
    with implementation("additive_attention", key_BTA, key_BTA.numel(), reference) as chosen:
        return chosen.hoist(key_BTA) if hasattr(chosen, "hoist") else None
