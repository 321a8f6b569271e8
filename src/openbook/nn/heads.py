"""Heads: from a decoder's features to quantiles that can not cross, and the dense stack of the founding study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.nn.precision import in_full

Norm = Literal["none", "layer", "batch"]
LEAK = 0.3  # the slope of the founding study's leaky ReLU


class QuantileHead(nn.Module):
    """Quantiles of M targets as increments around the median: they are ordered by construction.

    ``quantiles`` ascend and contain 0.5. The median is free; each quantile above (below) it adds (subtracts) a softplus.

    >>> quantile = QuantileHead(size=3, n_targets=1, quantiles=(0.1, 0.5, 0.9))(torch.ones(2, 3))
    >>> quantile.shape, bool((quantile.diff(dim=-1) > 0).all())
    (torch.Size([2, 1, 3]), True)
    """

    def __init__(self, *, size: int, n_targets: int, quantiles: Sequence[float]) -> None:
        super().__init__()
        self.n_targets, self.n_quantiles = n_targets, len(quantiles)
        self.median = list(quantiles).index(0.5)
        self.output = nn.Linear(size, n_targets * self.n_quantiles)

    def forward(self, feature: Tensor) -> Tensor:
        """Features [..., D] to quantiles [..., M, Q]."""
        with in_full(feature) as whole:
            raw = self.output(whole).unflatten(-1, (self.n_targets, self.n_quantiles))
        middle = raw[..., self.median : self.median + 1]
        if self.n_quantiles == 1:
            return middle
        gap = F.softplus(raw)
        below = gap[..., : self.median].flip(-1).cumsum(-1).flip(-1)
        above = gap[..., self.median + 1 :].cumsum(-1)
        return torch.cat([middle - below, middle, middle + above], dim=-1)


class FeatureNorm(nn.Module):
    """Normalise the last axis: not at all, by layer, or by batch (the founding study's choice, eps 1e-3)."""

    def __init__(self, kind: Norm, size: int) -> None:
        super().__init__()
        norms: dict[Norm, nn.Module] = {"none": nn.Identity(), "layer": nn.LayerNorm(size)}
        self.norm = nn.BatchNorm1d(size, eps=1e-3) if kind == "batch" else norms[kind]

    def forward(self, feature: Tensor) -> Tensor:
        """Any leading axes; all their rows are one batch."""
        return self.norm(feature.flatten(0, -2)).view_as(feature)
