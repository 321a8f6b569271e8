"""Weights of a model that is copied: their moving average, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Weights = tuple[Tensor, ...] | list[Tensor]


def gathered(model: nn.Module) -> None:
    """Lay the weights of recurrent layers side by side again, as cuDNN wants them: a copied module has each apart."""
    for part in model.modules():
        if isinstance(part, nn.RNNBase):
            part.flatten_parameters()


def moving_average(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    """Exponential moving average whose memory grows to ``decay``, so that the start is soon forgotten; of all at once."""

    def average(old: Weights, new: Weights, count: Tensor | int) -> None:
        torch._foreach_lerp_(old, new, 1 - min(decay, float(count) / (float(count) + 10)))

    return average
