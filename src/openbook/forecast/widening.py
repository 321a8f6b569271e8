"""Bands of windows that saw little: stretched by as much as those of validation windows cut short were too narrow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openbook.data.panel import Panel
from openbook.forecast.fitted import Fitted
from openbook.forecast.origins import Origins
from openbook.forecast.running import forecasts
from openbook.windows.sampler import WindowIndex, spread

_WINDOWS = 200
_LEVELS = (80.0, 95.0)
_LEAST = 1e-9  # half a band, in units of a window's scale


def stretches(fitted: Fitted, panel: Panel, windows: WindowIndex) -> tuple[tuple[float, ...], ...]:
    """By how many steps a window saw, what the distance of its bands from their middle is multiplied by to hold their share:
    rows of a number of steps, the factor of the 80 % band and that of the 95 % band.

    Measured on windows whose history is taken away but for the newest steps, as if their series began there. Windows that
    saw more than the largest number need nothing; () where all do.
    """
    size, half = fitted.windows.scale_steps or fitted.windows.input_size, max(1, fitted.windows.settled)
    counts = sorted({n for n in (1, half // 2, half, 2 * half, 4 * half) if 1 <= n < size})
    some, found = spread(windows, _WINDOWS), []
    for count in counts:
        whole = some.take(some.end_W - panel.offsets[some.series_W] >= count)
        if not whole:
            continue
        cut = _cut(panel, whole, count, fitted.shape.h)
        ends = WindowIndex(np.arange(len(cut)), cut.offsets[:-1] + count)
        found.append((float(count), *_missing(fitted, cut, ends)))
    return tuple(found) if any(factor > 1 for _, *factors in found for factor in factors) else ()


def stretch_of(fitted: Fitted, panel: Panel, origins: Origins, level: float) -> np.ndarray:
    """What the band of a level is stretched by at every origin, [W]."""
    if not fitted.stretch:
        return np.ones(len(origins.end))
    size = fitted.windows.scale_steps or fitted.windows.input_size
    seen = np.concatenate([[0], np.cumsum(np.isfinite(panel.target))])
    count_W = seen[origins.end] - seen[np.maximum(origins.end - size, panel.offsets[origins.series])]
    known, *factors = np.array([*fitted.stretch, (size, *np.ones(len(_LEVELS)))]).T
    factor = [np.interp(level, _LEVELS, at) for at in np.transpose(factors)]
    return np.interp(np.log(np.maximum(count_W, 1)), np.log(known), factor)


def stretched(edge_WH: np.ndarray, middle_WH: np.ndarray, factor_W: np.ndarray) -> np.ndarray:
    """An edge of bands by a factor farther from their middle, untouched where that is 1.

    >>> stretched(np.array([[3.0], [3.0]]), np.array([[1.0], [1.0]]), np.array([1.0, 2.0]))
    array([[3.],
           [5.]])
    """
    factor_W1 = factor_W[:, None]
    return np.where(factor_W1 == 1, edge_WH, middle_WH + (edge_WH - middle_WH) * factor_W1)


def _cut(panel: Panel, windows: WindowIndex, count: int, h: int) -> Panel:
    """A panel whose series are the newest ``count`` steps of each window and its horizon."""
    rows_WL = windows.end_W[:, None] + np.arange(-count, h)
    rows = rows_WL.ravel()
    return replace(
        panel,
        ids=np.array([f"{number} of {count} steps" for number in range(len(rows_WL))], dtype=object),
        offsets=np.arange(0, len(rows) + 1, count + h),
        times=panel.times[rows],
        target=panel.target[rows],
        hist=panel.hist[rows],
        futr=panel.futr[rows],
        labels=None,
        label_columns=(),
    )


def _missing(fitted: Fitted, panel: Panel, windows: WindowIndex) -> list[float]:
    """The factors that the bands of these windows lack, by level; 1 where they are wide enough."""
    reach: dict[float, list[np.ndarray]] = {level: [] for level in _LEVELS}
    for told in forecasts(fitted, panel, windows):
        middle = told.quantile_BHQ[..., fitted.shape.median]
        for level, parts in reach.items():
            low, high = fitted.calibration.interval(told.quantile_BHQ, level)
            room = np.maximum(np.where(told.truth_BH > middle, high - middle, middle - low), _LEAST)
            parts.append(np.abs(told.truth_BH - middle) / room)
    found = []
    for level, parts in reach.items():
        joined = np.concatenate(parts)
        joined = joined[np.isfinite(joined)]
        found.append(round(max(1.0, float(np.quantile(joined, level / 100))), 4) if len(joined) else 1.0)
    return found
