"""Scaling that sees the context only: per window for targets, per column of the training part for inputs."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Scaling = Literal["standard", "last", "none"]


class ColumnScaler(NamedTuple):
    """Mean and standard deviation of each input column over the training part, [C] float64."""

    mean_C: np.ndarray
    std_C: np.ndarray

    def apply(self, values_RC: np.ndarray) -> np.ndarray:
        """Standardised columns; NaN stays NaN."""
        return (values_RC - self.mean_C) / self.std_C


def fit_columns(values_RC: np.ndarray) -> ColumnScaler:
    """Fit a ``ColumnScaler``; constant and unobserved columns keep a standard deviation of one.

    >>> fit_columns(np.array([[1.0, 5.0], [3.0, 5.0]])).std_C
    array([1., 1.])
    """
    seen = np.isfinite(values_RC)
    count = np.maximum(seen.sum(axis=0), 1)
    filled = np.where(seen, values_RC, 0.0)
    mean = filled.sum(axis=0) / count
    std = np.sqrt(np.where(seen, (values_RC - mean) ** 2, 0.0).sum(axis=0) / count)
    return ColumnScaler(mean, np.where(std > 1e-12 * np.maximum(1.0, np.abs(mean)), std, 1.0))


class WindowScale(NamedTuple):
    """Location and scale of each window's target, [B, M] float64, and its last observed value (0 if none)."""

    location_BM: Tensor
    scale_BM: Tensor
    last_BM: Tensor


def window_scale(value_BTM: Tensor, seen_BTM: Tensor, scaling: Scaling) -> WindowScale:
    """Location and scale of the observed context of every window.

    ``standard``: mean and standard deviation; ``last``: last observed value and standard deviation; ``none``: 0 and 1.
    A context without spread takes its absolute mean as scale, one of zeros takes 1: never 0, never NaN.
    """
    count_BM = seen_BTM.sum(dim=1)
    some_BM = count_BM > 0
    safe_BM = count_BM.clamp(min=1)
    clean_BTM = value_BTM.masked_fill(~seen_BTM, 0.0)
    mean_BM = clean_BTM.sum(dim=1) / safe_BM
    step_T1 = torch.arange(value_BTM.shape[1], device=value_BTM.device)[:, None]
    newest_BM = (seen_BTM * (step_T1 + 1)).amax(dim=1)
    last_BM = clean_BTM.gather(1, (newest_BM - 1).clamp(min=0)[:, None]).squeeze(1)
    if scaling == "none":
        return WindowScale(torch.zeros_like(mean_BM), torch.ones_like(mean_BM), last_BM)
    spread_BM = ((clean_BTM - mean_BM[:, None]) * seen_BTM).square().sum(dim=1).div(safe_BM).sqrt()
    flat_BM = spread_BM <= 1e-9 * mean_BM.abs()
    level_BM = torch.where(mean_BM.abs() > 0, mean_BM.abs(), torch.ones_like(mean_BM))
    scale_BM = torch.where(flat_BM, level_BM, spread_BM)
    location_BM = torch.where(some_BM, last_BM if scaling == "last" else mean_BM, torch.zeros_like(mean_BM))
    return WindowScale(location_BM, torch.where(some_BM, scale_BM, torch.ones_like(scale_BM)), last_BM)
