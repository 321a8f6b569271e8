"""Scaling that sees the context only: per window for targets, per column of the training part for inputs."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

Scaling = Literal["standard", "last", "none", "fixed", "difference"]
SCALINGS: tuple[Scaling, ...] = ("standard", "last", "none", "fixed", "difference")
# Scalings by one unit for all windows, in differences to the last value.
COMMON: tuple[Scaling, ...] = ("fixed", "difference")
# Scalings by each window's own spread.
OWN: tuple[Scaling, ...] = ("standard", "last")
_NEXT_TO_NOTHING = 1e-6
_STILL = 1e-12  # of a level: what moves less does so by rounding alone
_COLUMNS = 8  # of which moments are taken at a time, about
_WINDOWS, _CELLS = 3_000, 2_200_000  # what a usual spread is taken from, at most
_APART = 10.0  # times the usual level, or that part of it: a short series of another size
_NEARLY = 1.5  # times the deviation of amounts at most that shares may have there


class ColumnScaler(NamedTuple):
    """Mean and standard deviation of each input column over the training part, [C] float64."""

    mean_C: np.ndarray
    std_C: np.ndarray


def fit_columns(values_RC: np.ndarray) -> ColumnScaler:
    """Fit a ``ColumnScaler``; constant and unobserved columns have an infinite standard deviation.

    They are 0 whatever comes: no weight was learned for another value. A few columns are taken at a time, so that a wide
    table is not copied several times.

    >>> fit_columns(np.array([[1.0, 5.0], [3.0, 5.0]])).std_C
    array([ 1., inf])
    """
    # Never one column of several: its sum would be rounded otherwise than beside another one.
    parts = np.array_split(values_RC, max(1, values_RC.shape[1] // _COLUMNS), axis=1)
    mean, std = (np.concatenate(each) for each in zip(*map(_moments, parts), strict=True))
    return ColumnScaler(mean, np.where(std > _STILL * np.abs(mean), std, np.inf))


def _moments(values_RC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of columns, what is not observed left out."""
    seen = np.isfinite(values_RC)
    count = np.maximum(seen.sum(axis=0), 1)
    filled = np.where(seen, values_RC, 0.0)
    mean = filled.sum(axis=0) / count
    return mean, np.sqrt(np.where(seen, (values_RC - mean) ** 2, 0.0).sum(axis=0) / count)


def difference_std(values_RC: np.ndarray, offsets: np.ndarray, still: float = 1.0) -> np.ndarray:
    """Standard deviation of each column's steps from row to row within its series, [C]; ``still`` where nothing moves.

    Steps that differ by rounding alone, such as those of a straight line, do not move.

    >>> difference_std(np.array([[0.0], [2.0], [0.0], [50.0]]), np.array([0, 3, 4]))
    array([2.])
    """
    size = np.abs(np.where(np.isfinite(values_RC), values_RC, 0.0)).max(axis=0, initial=0.0)
    step = np.diff(values_RC, axis=0)
    inner = np.ones(len(step), dtype=bool)
    inner[offsets[1:-1] - 1] = False
    step = step[inner]
    seen = np.isfinite(step)
    mean = np.where(seen, step, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    power = np.where(seen, (step - mean) ** 2, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(np.sqrt(power) > _STILL * size, np.sqrt(power), still)


def fit_inputs(values_RC: np.ndarray, offsets: np.ndarray, scaling: Scaling) -> ColumnScaler:
    """The scaler of input columns that goes with a scaling of windows: by levels, or for ``difference`` by their steps.

    >>> fit_inputs(np.array([[0.0], [2.0], [0.0]]), np.array([0, 3]), "difference").std_C
    array([2.])
    """
    columns = fit_columns(values_RC)
    if scaling != "difference":
        return columns
    return columns._replace(std_C=difference_std(values_RC, offsets, still=np.inf))


def fit_static(values_NS: np.ndarray, lengths_N: np.ndarray, scaling: Scaling) -> ColumnScaler:
    """The same of columns with one value per series, which count as often as their series has rows and take no steps.

    >>> fit_static(np.array([[1.0], [4.0]]), np.array([2, 1]), "standard")
    ColumnScaler(mean_C=array([2.]), std_C=array([1.41421356]))
    """
    mean, std = weighted_moments(values_NS, lengths_N)
    return ColumnScaler(mean, np.where((std > _STILL * np.abs(mean)) & (scaling != "difference"), std, np.inf))


def weighted_moments(values_NS: np.ndarray, weight_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of columns whose rows count as often as ``weight_N`` tells; gaps are left out.

    >>> weighted_moments(np.array([[1.0], [4.0], [np.nan]]), np.array([2, 1, 5]))
    (array([2.]), array([1.41421356]))
    """
    weight_NS = np.isfinite(values_NS) * weight_N[:, None]
    filled, count = np.where(np.isfinite(values_NS), values_NS, 0.0), np.maximum(weight_NS.sum(axis=0), 1)
    mean = (weight_NS * filled).sum(axis=0) / count
    return mean, np.sqrt((weight_NS * (filled - mean) ** 2).sum(axis=0) / count)


class Usual(NamedTuple):
    """How far windows of the training part spread, for those that saw too little to tell: as an ``amount``, or as a
    ``share`` of a window's level where series differ in size (0: by amount). ``settled``: observed steps from which on a
    window's own spread counts alone.
    """

    amount: float = 1.0
    share: float = 0.0
    settled: int = 0

    def of(self, level_BM: Tensor) -> Tensor:
        """The usual spread at these levels, [B, M]; never 0."""
        share_BM = self.share * level_BM.abs()
        return torch.where(share_BM > 0, share_BM, torch.full_like(level_BM, self.amount))

    def still(self, level_BM: Tensor, peak_BM: Tensor | None) -> Tensor:
        """The spread of windows that never moved, [B, M]; never 0.

        One of zeros has no level to take a share of: its series' largest value so far, ``peak_BM``, stands for it. Where that
        is 0 as well, nothing says how large the series is, and hardly anything is the best guess: the amount would be that of
        the largest series.

        >>> zero = torch.zeros(1, dtype=torch.float64)
        >>> [Usual(2.0, share=0.5).still(zero, peak).item() for peak in (zero + 8, zero)]
        [4.0, 2e-06]
        """
        if not self.share or peak_BM is None:
            return self.of(level_BM)
        share_BM = self.share * torch.where(level_BM == 0, peak_BM, level_BM.abs())
        nothing_BM = self.sizeless(level_BM, peak_BM)
        return torch.where(nothing_BM, torch.full_like(level_BM, _NEXT_TO_NOTHING * self.amount), share_BM)

    def sizeless(self, level_BM: Tensor, peak_BM: Tensor | None) -> Tensor:
        """Whether nothing tells how large a window's series is where the window never moved, [B, M]."""
        if not self.share or peak_BM is None:
            return torch.zeros_like(level_BM, dtype=torch.bool)
        return (level_BM == 0) & (peak_BM <= 0)

    def blended(self, spread_BM: Tensor, count_BM: Tensor, level_BM: Tensor) -> Tensor:
        """Variances by how much was seen: ``count_BM`` steps in the window, the others as usual. Shrinkage keeps two
        neighbours that hardly differ from passing for a series that hardly moves.

        >>> Usual(3.0, settled=8).blended(torch.tensor([0.1, 0.1]), torch.tensor([2, 8]), torch.zeros(2))
        tensor([2.5986, 0.1000])
        """
        if self.settled <= 0:
            return spread_BM
        own_BM = (count_BM / self.settled).clamp(max=1.0)
        power_BM = own_BM * spread_BM.square() + (1 - own_BM) * self.of(level_BM).square()
        return torch.where(own_BM < 1, power_BM.sqrt(), spread_BM)


NOTHING_USUAL = Usual()


def usual_spread(target_R: np.ndarray, offsets: np.ndarray, size: int, settled: int) -> Usual:
    """The spread of windows of ``size`` steps, as an amount or a share of their level, whichever varies less.

    Long series of one size say nothing of that. Where a series without a whole window is of another size than they are, it is a
    share unless that clearly varies more.

    >>> small, large = np.array([1.0, 3.0] * 50), np.array([10.0, 30.0] * 50)
    >>> usual_spread(small, np.array([0, 100]), 2, settled=1)
    Usual(amount=1.0, share=0.0, settled=1)
    >>> round(usual_spread(np.append(small, large), np.array([0, 100, 200]), 2, settled=1).share, 3)
    0.5
    """
    most = max(100, min(_WINDOWS, _CELLS // size))
    end = np.unique(np.linspace(min(size, offsets[-1]), offsets[-1], most).astype(int))
    begin = offsets[np.searchsorted(offsets, end - 1, side="right") - 1]
    row = end[:, None] - np.arange(1, size + 1)
    inside = row >= begin[:, None]
    whole = np.logical_and.reduce(inside, axis=1)
    rows = target_R[np.maximum(row, 0)]
    seen = np.isfinite(rows) & inside & (whole if whole.any() else ~whole)[:, None]
    count = np.maximum(seen.sum(1), 1)
    mean = np.where(seen, rows, 0.0).sum(1) / count
    power = np.where(seen, (rows - mean[:, None]) ** 2, 0.0).sum(1) / count
    some = seen.any(1)
    if not some.any():
        return Usual(settled=settled)
    amount, level = float(np.sqrt(power[some].mean())), float(np.abs(mean[some]).mean())
    if amount <= _STILL * level:  # nothing ever moved
        return Usual(level or 1.0, settled=settled)
    moved = (power > (_STILL * mean) ** 2) & (mean != 0)
    told, size_of = np.log(power[moved]) / 2, np.log(np.abs(mean[moved]))
    by_share = False
    if moved.sum() > 1:
        nearly = _NEARLY if whole.any() and _other_size(target_R, offsets, size, float(np.median(size_of))) else 1.0
        by_share = bool(np.std(told - size_of) < nearly * np.std(told))
    return Usual(amount, float(np.exp(np.median(told - size_of))) if by_share else 0.0, settled)


def _other_size(target_R: np.ndarray, offsets: np.ndarray, size: int, usual: float) -> bool:
    """Whether a series shorter than a window is ten times as large or as small as usual (the logarithm of a level)."""
    seen = np.isfinite(target_R)
    total, count = (np.concatenate([[0.0], np.cumsum(each)]) for each in (np.where(seen, target_R, 0.0), seen))
    level = np.abs(np.diff(total[offsets])) / np.maximum(np.diff(count[offsets]), 1)
    level = level[(np.diff(offsets) < size) & (level > 0)]
    return bool((np.abs(np.log(level) - usual) > math.log(_APART)).any())


class WindowScale(NamedTuple):
    """Location and scale of each window's target, [B, M] float64, its last observed value (0 if none), and whether there is
    anything to scale by: of a series that was zero up to there nothing says how large a truth is."""

    location_BM: Tensor
    scale_BM: Tensor
    last_BM: Tensor
    sized_BM: Tensor


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


def window_scale(
    value_BTM: Tensor,
    seen_BTM: Tensor,
    scaling: Scaling,
    unit: float = 1.0,
    usual: Usual = NOTHING_USUAL,
    peak_BM: Tensor | None = None,
) -> WindowScale:
    """Location and scale of the observed context of every window.

    ``standard``: mean and standard deviation; ``last``: last observed value and standard deviation; ``fixed`` and
    ``difference``: last observed value and ``unit``; ``none``: 0 and 1. A context with too few observed steps leans on the
    ``usual`` spread of the training part, one without spread takes it: never 0, never NaN. ``peak_BM``: the largest size that
    each series had before its window's end, for windows of zeros.
    """
    count_BM = seen_BTM.sum(dim=1)
    some_BM = count_BM > 0
    safe_BM = count_BM.clamp(min=1)
    clean_BTM = value_BTM.masked_fill(~seen_BTM, 0.0)
    mean_BM = clean_BTM.sum(dim=1) / safe_BM
    last_BM, sized_BM = newest(clean_BTM, seen_BTM), torch.ones_like(some_BM)
    if scaling == "none":
        return WindowScale(torch.zeros_like(mean_BM), torch.ones_like(mean_BM), last_BM, sized_BM)
    if scaling in COMMON:
        return WindowScale(last_BM, torch.full_like(mean_BM, unit), last_BM, sized_BM)
    spread_BM = ((clean_BTM - mean_BM[:, None]) * seen_BTM).square().sum(dim=1).div(safe_BM).sqrt()
    flat_BM = spread_BM <= _STILL * mean_BM.abs()
    scale_BM = torch.where(flat_BM, usual.still(mean_BM, peak_BM), usual.blended(spread_BM, count_BM, mean_BM))
    location_BM = torch.where(some_BM, last_BM if scaling == "last" else mean_BM, torch.zeros_like(mean_BM))
    return WindowScale(location_BM, scale_BM, last_BM, ~(flat_BM & usual.sizeless(mean_BM, peak_BM)))
