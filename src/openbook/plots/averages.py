"""What many forecasts looked at: medians and middle halves over windows, from flat lists of weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Spread(NamedTuple):
    """Quartiles over windows, three arrays of one shape; NaN where no window had the place."""

    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


class Cells(NamedTuple):
    """Weights of many windows, one entry a cell, all [N]: places a window could not look at have no entry.

    ``step`` of the forecast from 1 (0 and below: steps that read the past), ``back`` how many steps before the cutoff the
    place lies (negative: after it), ``lag`` how many steps before the forecast's own step.
    """

    window: np.ndarray
    step: np.ndarray
    back: np.ndarray
    lag: np.ndarray
    weight: np.ndarray

    def where(self, keep_N: np.ndarray) -> Cells:
        """The cells where ``keep_N`` is true."""
        return Cells(*(part[keep_N] for part in self))


class Pool(NamedTuple):
    """The windows an average is taken over: how many, of how many series."""

    windows: int
    series: int

    def words(self) -> str:
        """'56 forecasts of 8 series'.

        >>> Pool(1, 1).words(), Pool(56, 8).words()
        ('1 forecast', '56 forecasts of 8 series')
        """
        forecasts = f"{self.windows:,} forecast{'' if self.windows == 1 else 's'}"
        return forecasts if self.series < 2 else f"{forecasts} of {self.series:,} series"


class Average(NamedTuple):
    """Where many forecasts looked: ``median_HP`` by step and place, ``by_lag`` [L] and ``by_feature`` [F] with their spread.

    ``axis`` says what ``place_P`` counts, farthest first as in ``lag_L``: steps ``back`` from the cutoff, or the ``lag``
    from each step of the forecast, where that takes fewer columns. Features stand in order of their median, largest first;
    ``memory`` is the median share of a forecast that looked nowhere, ``reach`` the median number of places a step could
    look at, ``steps_L`` how many steps of the forecast can look each distance back.
    """

    axis: str
    step_H: np.ndarray
    place_P: np.ndarray
    median_HP: np.ndarray
    lag_L: np.ndarray
    by_lag: Spread
    features: tuple[str, ...]
    by_feature: Spread
    memory: float
    pool: Pool
    reach: float
    steps_L: np.ndarray


class InputsAverage(NamedTuple):
    """Stage one of many forecasts: each input's share, mean of a window's places [F], and place by place [P, F]."""

    back_P: np.ndarray
    features: tuple[str, ...]
    by_feature: Spread
    by_place: Spread
    pool: Pool


class TimesAverage(NamedTuple):
    """Stage two of many forecasts: ``median_SP`` by decoder step and place, ``by_place`` [P] the forecast's steps together."""

    step_S: np.ndarray
    back_P: np.ndarray
    median_SP: np.ndarray
    by_place: Spread
    pool: Pool


def spread(value_W: np.ndarray) -> Spread:
    """Quartiles over the first axis of [W, …], NaN left out; between two windows they are interpolated.

    >>> [float(part) for part in spread(np.array([1.0, 2.0, 4.0, np.nan]))]
    [1.5, 2.0, 3.0]
    """
    ordered = np.sort(value_W, axis=0)
    last = np.isfinite(value_W).sum(axis=0) - 1
    found = []
    for share in (0.25, 0.5, 0.75):
        place = share * np.maximum(last, 0)
        below = np.floor(place).astype(np.int64)
        low = np.take_along_axis(ordered, below[None], axis=0)[0]
        high = np.take_along_axis(ordered, np.minimum(below + 1, np.maximum(last, 0))[None], axis=0)[0]
        found.append(low + (place - below) * (high - low))
    return Spread(*found)


def on_grid(weight: np.ndarray, *labels: np.ndarray, mean: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
    """Entries [N] added up (or averaged) on the grid of their labels, NaN where there is none; and each axis' labels.

    >>> on_grid(np.array([1.0, 2.0, 3.0]), np.array([7, 7, 8]), np.array([1, 1, 0]))[0]
    array([[nan,  3.],
           [ 3., nan]])
    """
    pairs = [np.unique(label, return_inverse=True) for label in labels]
    shape = tuple(len(values) for values, _ in pairs)
    flat = np.ravel_multi_index([place.ravel() for _, place in pairs], shape)
    size = int(np.prod(shape))
    total, count = np.bincount(flat, weight, size), np.bincount(flat, minlength=size)
    grid = np.full(size, np.nan)
    np.divide(total, count if mean else 1, out=grid, where=count > 0)
    return grid.reshape(shape), [values for values, _ in pairs]


def average_of(cells: Cells, share_WF: np.ndarray, features: tuple[str, ...], pool: Pool) -> Average:
    """Medians and quartiles of weights over windows, and of each input's share of a window's look-ups ``share_WF``."""
    axis = "lag" if len(np.unique(cells.lag)) < len(np.unique(cells.back)) else "back"
    # Seen from left to right, time runs from old to new.
    grid_WHP, (_, step_H, place_P) = on_grid(cells.weight, cells.window, cells.step, -getattr(cells, axis))
    lag_WL, (_, lag_L) = on_grid(cells.weight, cells.window, -cells.lag, mean=True)
    by_feature = spread(share_WF)
    order = np.argsort(-by_feature.median, kind="stable")
    found_W = np.nansum(grid_WHP, axis=(1, 2)) / len(step_H)
    return Average(
        axis,
        step_H,
        -place_P,
        spread(grid_WHP).median,
        -lag_L,
        spread(lag_WL),
        tuple(features[i] for i in order),
        Spread(*(part[order] for part in by_feature)),
        max(0.0, 1 - float(np.median(found_W))),
        pool,
        float(np.nanmedian(on_grid(np.ones(len(cells.weight)), cells.window, cells.step)[0])),
        np.isfinite(on_grid(cells.weight, cells.step, -cells.lag)[0]).sum(axis=0),
    )


def inputs_average(
    window: np.ndarray, back: np.ndarray, share_NF: np.ndarray, features: tuple[str, ...], pool: Pool
) -> InputsAverage:
    """Stage one from the shares of N (window, place) pairs; those where no input was seen have no shares, and are left out."""
    read = share_NF.sum(axis=1) > 0
    if read.any():
        window, back, share_NF = window[read], back[read], share_NF[read]
    grids = [on_grid(share, window, -back) for share in share_NF.T]
    grid_WPF, place_P = np.stack([grid for grid, _ in grids], axis=-1), grids[0][1][1]
    by_feature, by_place = spread(_known_mean(grid_WPF)), spread(grid_WPF)
    order = np.argsort(-by_feature.median, kind="stable")
    names = tuple(features[i] for i in order)
    by_feature, by_place = (Spread(*(part[..., order] for part in found)) for found in (by_feature, by_place))
    return InputsAverage(-place_P, names, by_feature, by_place, pool)


def times_average(cells: Cells, pool: Pool) -> TimesAverage:
    """Stage two from the weights of all decoder steps, those that read the past included."""
    grid_WSP, (_, step_S, place_P) = on_grid(cells.weight, cells.window, cells.step, -cells.back)
    by_place = spread(_known_mean(grid_WSP[:, step_S > 0]))
    return TimesAverage(step_S, -place_P, spread(grid_WSP).median, by_place, pool)


def _known_mean(grid: np.ndarray) -> np.ndarray:
    """Mean over the second axis, NaN left out."""
    known = np.isfinite(grid)
    mean = np.full((grid.shape[0], *grid.shape[2:]), np.nan)
    return np.divide(np.where(known, grid, 0.0).sum(axis=1), known.sum(axis=1), out=mean, where=known.any(axis=1))
