"""Additive attention as its equation stands, for any device and precision: the twin every kernel is tested against."""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.ops.softmax import masked_softmax
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
    """``softmax_t(v·tanh(k_t + q))`` and the weighted values; builds the tensor [B, H, T, A]; ``powers`` are not needed."""
    score_BHT = (key_BTA[:, None] + query_BHA[:, :, None]).tanh_() @ score_A
    if bias_HT is not None:
        score_BHT = score_BHT + bias_HT
    if mask is not None and mask.ndim == 2:
        mask = mask[:, None]
    weight_BHT = masked_softmax(score_BHT, mask)
    context_BHD = None if value_BTD is None else torch.bmm(weight_BHT, value_BTD)
    return Attended(context_BHD, weight_BHT)
