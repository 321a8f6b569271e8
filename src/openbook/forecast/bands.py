"""What the floors share: last observed values, the error scale of a series, and bands from residuals of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from openbook.data.panel import Panel
from openbook.forecast.origins import Origins, PanelForecast
from openbook.forecast.own_bands import ASKED, Owners, held_by, own_shares

# Below this many residuals a step borrows those of its neighbours: an 80 % band from fewer is mostly luck.
_ENOUGH = 20
ROUNDING = 1e-12  # errors this much smaller than the values themselves are rounding


@dataclass(frozen=True)
class StepBands:
    """Sorted absolute residuals of each horizon step, in units of the series' scale: ``sorted_residual`` [n, h], NaN last.

    ``own``: the bands of series by their own residuals, by name, and how much these count where they are wider.
    """

    sorted_residual: np.ndarray
    own: Mapping[str, tuple[float, StepBands]] = field(default_factory=dict)

    def half_width(self, level: float) -> np.ndarray:
        """Split-conformal half width of each step, [h]: the ceil((n + 1) level / 100)-th smallest of n residuals.

        The largest residual where n is too small for the level, NaN where there is no residual at all.
        Source: Lei et al. 2018, Distribution-free predictive inference for regression, algorithm 2.

        >>> step_bands(np.arange(1.0, 31.0)[:, None]).half_width(80)
        array([25.])
        """
        count = np.isfinite(self.sorted_residual).sum(axis=0)
        rank = np.minimum(np.ceil((count + 1) * level / 100), count).astype(int) - 1
        if not len(self.sorted_residual):
            return np.full(count.shape, np.nan)
        width = np.take_along_axis(self.sorted_residual, np.maximum(rank, 0)[None], axis=0)[0]
        return np.where(count > 0, width, np.nan)

    def half_widths(self, level: float, names: Sequence[str]) -> np.ndarray:
        """The same for windows of these series, [W, h]."""
        all_H = self.half_width(level)
        own = {
            name: all_H + share * np.fmax(one.half_width(level) - all_H, 0.0) for name, (share, one) in self.own.items()
        }
        return np.array([own.get(name, all_H) for name in names]).reshape(len(names), len(all_H))


def step_bands(residual: np.ndarray) -> StepBands:
    """Bands of absolute scaled residuals [n, h] (NaN where the target was missing).

    A step that has fewer than 20 residuals borrows those of its neighbours on both sides, as few as needed.
    """
    steps = residual.shape[1]
    counts = np.isfinite(residual).sum(axis=0)
    total = np.concatenate([[0], np.cumsum(counts)])
    pools = []
    for step in range(steps):
        low, high = step, step + 1
        while total[high] - total[low] < _ENOUGH and (low > 0 or high < steps):
            low, high = max(0, low - 1), min(steps, high + 1)
        near = np.flatnonzero(counts[low:high]) + low
        pool = residual[:, near]
        pools.append(np.sort(pool[np.isfinite(pool)]))
    held = np.full((max(map(len, pools), default=0), steps), np.nan)
    for step, pool in enumerate(pools):
        held[: len(pool), step] = pool
    return StepBands(held)


def own_step_bands(residual: np.ndarray, owners: Owners) -> StepBands:
    """``step_bands``, and where series clearly differ in what these hold, those of each by its own residuals beside them."""
    bands = step_bands(residual)
    held = held_by(residual <= bands.half_width(ASKED), np.isfinite(residual))
    own = {
        owners.names[place]: (float(share), step_bands(residual[owners.series_W == place]))
        for place, share in enumerate(own_shares(held, owners))
        if share > 0
    }
    return replace(bands, own=own)


def with_bands(
    point: np.ndarray, scale: np.ndarray, bands: StepBands, level: Sequence[float], names: Sequence[str] | None = None
) -> PanelForecast:
    """Point forecasts [W, h] of series with scales [W] (0: nothing ever moved), and their symmetric bands at each level.

    ``names`` [W]: of the series, where they may have bands of their own.
    """
    interval = {}
    for percent in level:
        width = bands.half_width(percent) if names is None else bands.half_widths(percent, names)
        half = np.where(scale[:, None] > 0, scale[:, None] * width, 0.0)
        interval[float(percent)] = (point - half, point + half)
    return PanelForecast(point, interval)


def carried_forward(panel: Panel, values: np.ndarray) -> np.ndarray:
    """Values [R] or [R, C] with every gap filled by the last observation before it in the same series, NaN before the first.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": [1, 2, 3], "y": [np.nan, 2.0, np.nan]}))
    >>> carried_forward(panel, panel.target)
    array([nan,  2.,  2.])
    """
    start = np.repeat(panel.offsets[:-1], panel.lengths).reshape(-1, *[1] * (values.ndim - 1))
    row = np.arange(len(values)).reshape(start.shape)
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, row), axis=0)
    filled = np.take_along_axis(values, np.maximum(last, 0), axis=0)
    return np.where(last >= start, filled, np.nan)


def lagged(panel: Panel, lag: int) -> np.ndarray:
    """The target ``lag`` rows earlier in the same series, [R], NaN where there is none."""
    start = np.repeat(panel.offsets[:-1], panel.lengths)
    source = np.arange(len(panel.target)) - lag
    return np.where(source >= start, panel.target[np.maximum(source, 0)], np.nan)


def mean_before(panel: Panel, values: np.ndarray, origins: Origins) -> np.ndarray:
    """Mean of the finite ``values`` [R] in each origin's series before its ``end``, [W]; NaN where there are none.

    Running sums start anew in every series, so that neither the future nor a series of another size touches the result.
    """
    seen = np.isfinite(values)
    plain = np.where(seen, values, 0.0)
    mean = np.full(len(origins.end), np.nan)
    if not len(mean):
        return mean
    order = np.argsort(origins.series, kind="stable")
    groups, first = np.unique(origins.series[order], return_index=True)
    for series, members in zip(groups, np.split(order, first[1:]), strict=True):
        rows = panel.rows(int(series))
        place = origins.end[members] - rows.start
        total = np.concatenate([[0.0], np.cumsum(plain[rows])])[place]
        count = np.concatenate([[0], np.cumsum(seen[rows])])[place]
        mean[members] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def error_scale(panel: Panel, season_length: int, origins: Origins) -> np.ndarray:
    """Mean absolute error of the in-sample seasonal naive forecast before each origin, [W], in units of the target.

    Where it is zero, but for rounding, or unknown: that of the naive forecast, then the mean absolute value, then NaN.
    Source: Hyndman & Koehler 2006, Another look at measures of forecast accuracy.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(4), "y": [1.0, 5.0, 3.0, 6.0]}))
    >>> error_scale(panel, 2, Origins(np.array([0, 0]), np.array([4, 3])))
    array([1.5, 2. ])
    """
    scale = np.full(len(origins.end), np.nan)
    rounding = ROUNDING * np.nan_to_num(mean_before(panel, np.abs(panel.target), origins))
    sources = [np.abs(panel.target - lagged(panel, lag)) for lag in dict.fromkeys((season_length, 1))]
    for values in (*sources, np.abs(panel.target)):
        open_ = ~(scale > rounding)
        if not open_.any():
            break
        scale[open_] = mean_before(panel, values, Origins(origins.series[open_], origins.end[open_]))
    return np.where(scale > 0, scale, np.nan)


def known_or_one(scale: np.ndarray) -> np.ndarray:
    """Scales with 1 where nothing is known of a series: its residuals are zero or missing then."""
    return np.where(scale > 0, scale, 1.0)
