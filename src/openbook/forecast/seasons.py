"""Seasons as plain repetition: which ones a frequency may have, and the last one laid into the future."""

from __future__ import annotations

import numpy as np

from openbook.data.frequency import Freq, season_length, step_seconds
from openbook.data.panel import Panel
from openbook.forecast.origins import Origins

_NEAR = 8  # rows in which a last value is sought before all rows are
_ASKED = 100_000  # rows that tell what is nearer


def season_candidates(freq: Freq) -> list[int]:
    """Seasons a frequency may have, in steps: a day and a week for sub-daily data, the frequency's own for others.

    >>> season_candidates("h"), season_candidates("MS"), season_candidates(1)
    ([24, 168], [12], [1])
    """
    season, seconds = season_length(freq), step_seconds(freq)
    if seconds is not None and round(season * seconds) == 86_400 and season > 1:
        return [season, 7 * season]
    return [season]


def recall_season(panel: Panel, season: int) -> int:
    """The season by which missing values of these series are recalled: 1, for the last value, where half a season later that is
    nearer more often than the mean of the last season and of seven seasons ago, as of wandering levels.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> day = pd.DataFrame({"unique_id": "a", "ds": range(40), "y": [1.0, 2.0, 9.0, 8.0] * 10})
    >>> recall_season(make_panel(day), 4), recall_season(make_panel(day.assign(y=day["ds"] / 1.0)), 4)
    (4, 1)
    """
    if season == 1:
        return 1
    row_K = np.unique(np.linspace(0, len(panel.target) - 1, _ASKED).astype(np.int64))
    start_K = panel.offsets[np.searchsorted(panel.offsets, row_K, side="right") - 1]

    def before(lag: int) -> np.ndarray:
        return np.where(row_K - lag >= start_K, panel.target[np.maximum(row_K - lag, 0)], np.nan)

    day_K, week_K = before(season), before(7 * season)
    season_K = np.where(np.isfinite(week_K), (day_K + week_K) / 2, day_K)
    off_K, last_K = (np.abs(panel.target[row_K] - told_K) for told_K in (season_K, before(max(1, season // 2))))
    return 1 if (last_K < off_K).sum() > (last_K > off_K).sum() else season


def repeat_season(panel: Panel, origins: Origins, h: int, season_length: int, *, most: int | None = None) -> np.ndarray:
    """The last observed value of each step's phase before each origin, [W, h]; the last value at all where there is none.

    ``most``: how many seasons to look back for one at most (None: to the beginning of the series).

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [1.0, 2.0, 3.0, np.nan, 0.0, 0.0]}))
    >>> repeat_season(panel, Origins(np.array([0]), np.array([4])), 2, 2)
    array([[3., 2.]])
    """
    start_W, step = panel.offsets[origins.series], np.arange(h)
    row_WH = origins.end[:, None] + step - season_length * (step // season_length + 1)
    value_WH = np.repeat(_last_observed(panel, origins)[:, None], h, axis=1)
    if season_length == 1:
        return value_WH
    open_K = np.flatnonzero(np.repeat(origins.end - start_W >= season_length, h))  # cells not found yet
    row_K, start_K = row_WH.ravel()[open_K], np.repeat(start_W, h)[open_K]
    back = 0
    while len(open_K) and (most is None or back < most):
        found_K = panel.target[row_K]
        seen_K = np.isfinite(found_K)
        value_WH.flat[open_K[seen_K]] = found_K[seen_K]
        left_K = ~seen_K & (row_K - season_length >= start_K)
        open_K, row_K, start_K = open_K[left_K], row_K[left_K] - season_length, start_K[left_K]
        back += 1
    return value_WH


def _last_observed(panel: Panel, origins: Origins) -> np.ndarray:
    """The last observed value before each origin in its series, [W]; NaN where there is none.

    Sought in the few rows before each origin first: there may be millions of rows and a handful of origins.
    """
    start_W = panel.offsets[origins.series]
    rows_WS = origins.end[:, None] - 1 - np.arange(_NEAR)
    near_WS = np.where(rows_WS >= start_W[:, None], panel.target[np.maximum(rows_WS, 0)], np.nan)
    seen_WS = np.isfinite(near_WS)
    value_W = near_WS[np.arange(len(near_WS)), seen_WS.argmax(1)]
    left_W = ~seen_WS.any(1) & (origins.end - start_W > _NEAR)
    if left_W.any():
        seen, end_W = np.flatnonzero(np.isfinite(panel.target)), origins.end[left_W]
        last_W = seen[np.searchsorted(seen, end_W) - 1] if len(seen) else np.zeros(len(end_W), np.int64)
        known_W = (last_W < end_W) & (last_W >= start_W[left_W])
        value_W[left_W] = np.where(known_W, panel.target[last_W], np.nan)
    return value_W
