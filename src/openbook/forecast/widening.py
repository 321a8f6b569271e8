"""Bands of windows that saw little: wider by as much as those of validation windows cut short were too narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from openbook.data.panel import Panel
from openbook.forecast.fitted import Fitted
from openbook.forecast.origins import Origins
from openbook.forecast.running import forecasts
from openbook.windows.sampler import WindowIndex, blind, peaks, spread

_WINDOWS = 200
_LEVELS = (50.0, 80.0, 95.0, 99.0)


def widenings(fitted: Fitted, panel: Panel, windows: WindowIndex) -> tuple[tuple[float, ...], ...]:
    """By how many values a window saw, how far the edges of its 50, 80, 95 and 99 % bands are moved out, in scaled units.

    Measured on windows whose history is taken away but for the newest steps, as if their series began there: the ``level``
    quantile of how far their truths lie outside the calibrated band. Windows that saw as much as those that calibrated it
    need nothing. Where steps are not observed, values are fewer than steps: each entry tells how many its windows held.
    """
    size, half = _reads(fitted), max(1, fitted.windows.settled)
    farther = (8, 16, 32, 64, 128, 256) if fitted.windows.least_context else ()
    counts = sorted({n for n in (1, half // 2, half, *(times * half for times in (2, 4, *farther))) if 1 <= n < size})
    some = spread(windows, _WINDOWS)
    found: list[tuple[float, ...]] = []
    usual = float(np.mean(_seen(panel, some, size))) if some else float(size)
    for count in counts:
        whole = some.take(some.end_W - panel.offsets[some.series_W] >= count)
        whole = whole.take(~blind(panel, whole, count))  # what saw nothing has no level to be scaled by
        seen = float(np.mean(_seen(panel, whole, count))) if whole else usual
        if seen < usual and (not found or seen > found[-1][0]):
            cut = _cut(panel, whole, count, fitted.shape.h)
            found.append((seen, *_outside(fitted, cut, cut.offsets[:-1] + count)))
    return (*found, (usual, *[0.0] * len(_LEVELS))) if found else ()


def saved_widening(entries: Sequence[Sequence[float]], size: int) -> tuple[tuple[float, ...], ...]:
    """What a model file tells; older files have the margins of 80 and 95 % alone, and zeros at a whole window are meant.

    >>> saved_widening([[1, 4.0, 3.0]], size=8)
    ((1, 4.0, 4.0, 3.0, 3.0), (8.0, 0.0, 0.0, 0.0, 0.0))
    """
    if not entries or len(entries[0]) == len(_LEVELS) + 1:
        return tuple(map(tuple, entries))
    wider = [(seen, at_80, at_80, at_95, at_95) for seen, at_80, at_95 in entries]
    return (*wider, (float(size), *[0.0] * len(_LEVELS)))


def widening_of(fitted: Fitted, panel: Panel, origins: Origins, level: float) -> np.ndarray:
    """How far the edges of a level's band are moved out at every origin, [W, 1], in scaled units."""
    if not fitted.widening:
        return np.zeros((len(origins.end), 1))
    size = _reads(fitted)
    count_W = _seen(panel, WindowIndex(origins.series, origins.end), size)
    known, *margins = np.array(fitted.widening).T
    margin = [np.interp(level, _LEVELS, at) for at in np.transpose(margins)]
    return np.interp(np.log(np.maximum(count_W, 1)), np.log(known), margin)[:, None]


def _reads(fitted: Fitted) -> int:
    """The steps whose values count as seen: those a window is scaled by; all of a model that can not do without far ones."""
    windows = fitted.windows
    return windows.input_size if windows.least_context else windows.scale_steps or windows.input_size


def _seen(panel: Panel, windows: WindowIndex, size: int) -> np.ndarray:
    """How many values of the target each window's newest ``size`` steps hold, [W]."""
    seen = np.concatenate([[0], np.cumsum(np.isfinite(panel.target))])
    return seen[windows.end_W] - seen[np.maximum(windows.end_W - size, panel.offsets[windows.series_W])]


def _cut(panel: Panel, windows: WindowIndex, count: int, h: int) -> Panel:
    """A panel whose series are the newest ``count`` steps of each window and its horizon.

    How large they were before is kept: zeros alone do not say how large a series is, and what a window next to nothing misses
    would widen the bands of all.
    """
    rows_WL = windows.end_W[:, None] + np.arange(-count, h)
    rows, peak_R = rows_WL.ravel(), peaks(panel)
    first_W = windows.end_W - count
    before_W = np.where(first_W > panel.offsets[windows.series_W], first_W - 1, first_W)
    return replace(
        panel,
        ids=panel.ids[windows.series_W],
        offsets=np.arange(0, len(rows) + 1, count + h),
        times=panel.times[rows],
        target=panel.target[rows],
        hist=panel.hist[rows],
        futr=panel.futr[rows],
        stat=None if panel.stat is None else panel.stat[windows.series_W],
        earlier=None if peak_R is None else peak_R.numpy()[before_W],
        lowest=None,
        labels=None,
        label_columns=(),
    )


def _outside(fitted: Fitted, panel: Panel, end_W: np.ndarray) -> list[float]:
    """What the bands of all series of a panel, forecast from these rows, lack at every level; 0 where they are wide enough."""
    told = list(forecasts(fitted, panel, WindowIndex(np.arange(len(panel)), end_W)))
    quantile_WHQ, truth_WH = (np.concatenate(parts) for parts in zip(*[part[:2] for part in told], strict=True))
    found = []
    for level in _LEVELS:
        low, high = fitted.calibration.interval(quantile_WHQ, level)
        outside = np.maximum(low - truth_WH, truth_WH - high)
        outside = outside[np.isfinite(outside)]
        found.append(max(0.0, float(np.quantile(outside, level / 100))) if len(outside) else 0.0)
    return found
