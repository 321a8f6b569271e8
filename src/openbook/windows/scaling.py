"""Scaling that sees the context only: per window for targets, per column of the training part for inputs."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Scaling = Literal["standard", "last", "none", "fixed", "difference"]
SCALINGS: tuple[Scaling, ...] = ("standard", "last", "none", "fixed", "difference")
# Scalings by one unit for all windows, in differences to the last value.
COMMON: tuple[Scaling, ...] = ("fixed", "difference")


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


def difference_std(values_RC: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Standard deviation of each column's steps from row to row within its series, [C]; 1 where nothing moves.

    >>> difference_std(np.array([[0.0], [2.0], [0.0], [50.0]]), np.array([0, 3, 4]))
    array([2.])
    """
    step = np.diff(values_RC, axis=0)
    inner = np.ones(len(step), dtype=bool)
    inner[offsets[1:-1] - 1] = False
    step = step[inner]
    seen = np.isfinite(step)
    mean = np.where(seen, step, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    power = np.where(seen, (step - mean) ** 2, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(power > 0, np.sqrt(power), 1.0)


def fit_inputs(values_RC: np.ndarray, offsets: np.ndarray, scaling: Scaling) -> ColumnScaler:
    """The scaler of input columns that goes with a scaling of windows: by levels, or for ``difference`` by their steps.

    >>> fit_inputs(np.array([[0.0], [2.0], [0.0]]), np.array([0, 3]), "difference").std_C
    array([2.])
    """
    columns = fit_columns(values_RC)
    return columns._replace(std_C=difference_std(values_RC, offsets)) if scaling == "difference" else columns


class WindowScale(NamedTuple):
    """Location and scale of each window's target, [B, M] float64, and its last observed value (0 if none)."""

    location_BM: Tensor
    scale_BM: Tensor
    last_BM: Tensor


def newest(value_BTC: Tensor, seen_BTC: Tensor) -> Tensor:
    """The last observed value of each column of a window, [B, C]; 0 where nothing was observed."""
    step_T1 = torch.arange(1, value_BTC.shape[1] + 1, device=value_BTC.device)[:, None]
    place_BC = (seen_BTC * step_T1).amax(dim=1)
    last_BC = value_BTC.gather(1, (place_BC - 1).clamp(min=0)[:, None]).squeeze(1)
    return last_BC.masked_fill(place_BC == 0, 0.0)


def recent(seen_BTM: Tensor, steps: int) -> Tensor:
    """What was observed in the newest ``steps`` of each window; where nothing was, all of it.

    >>> recent(torch.tensor([[[True], [True], [False]], [[True], [False], [False]]]), 2)[..., 0]
    tensor([[False,  True, False],
            [ True, False, False]])
    """
    within_BTM = seen_BTM.clone()
    within_BTM[:, : max(0, seen_BTM.shape[1] - steps)] = False
    return torch.where(within_BTM.any(1, keepdim=True), within_BTM, seen_BTM)


def window_scale(value_BTM: Tensor, seen_BTM: Tensor, scaling: Scaling, unit: float = 1.0) -> WindowScale:
    """Location and scale of the observed context of every window.

    ``standard``: mean and standard deviation; ``last``: last observed value and standard deviation; ``fixed`` and
    ``difference``: last observed value and ``unit``; ``none``: 0 and 1. A context without spread takes its absolute mean
    as scale, one of zeros takes 1: never 0, never NaN.
    """
    count_BM = seen_BTM.sum(dim=1)
    some_BM = count_BM > 0
    safe_BM = count_BM.clamp(min=1)
    clean_BTM = value_BTM.masked_fill(~seen_BTM, 0.0)
    mean_BM = clean_BTM.sum(dim=1) / safe_BM
    last_BM = newest(clean_BTM, seen_BTM)
    if scaling == "none":
        return WindowScale(torch.zeros_like(mean_BM), torch.ones_like(mean_BM), last_BM)
    if scaling in COMMON:
        return WindowScale(last_BM, torch.full_like(mean_BM, unit), last_BM)
    spread_BM = ((clean_BTM - mean_BM[:, None]) * seen_BTM).square().sum(dim=1).div(safe_BM).sqrt()
    flat_BM = spread_BM <= 1e-9 * mean_BM.abs()
    level_BM = torch.where(mean_BM.abs() > 0, mean_BM.abs(), torch.ones_like(mean_BM))
    scale_BM = torch.where(flat_BM, level_BM, spread_BM)
    location_BM = torch.where(some_BM, last_BM if scaling == "last" else mean_BM, torch.zeros_like(mean_BM))
    return WindowScale(location_BM, torch.where(some_BM, scale_BM, torch.ones_like(scale_BM)), last_BM)
