"""Seasons as plain repetition: which ones a frequency may have, and the last one laid into the future."""

from __future__ import annotations

import numpy as np

from openbook.data.frequency import Freq, season_length, step_seconds
from openbook.data.panel import Panel
from openbook.forecast.bands import carried_forward
from openbook.forecast.origins import Origins


def season_candidates(freq: Freq) -> list[int]:
    """Seasons a frequency may have, in steps: a day and a week for sub-daily data, the frequency's own for others.

    >>> season_candidates("h"), season_candidates("MS"), season_candidates(1)
    ([24, 168], [12], [1])
    """
    season, seconds = season_length(freq), step_seconds(freq)
    if seconds is not None and round(season * seconds) == 86_400 and season > 1:
        return [season, 7 * season]
    return [season]


def repeat_season(panel: Panel, origins: Origins, h: int, season_length: int) -> np.ndarray:
    """The last observed value of each step's phase before each origin, [W, h]; the last value at all where there is none.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [1.0, 2.0, 3.0, np.nan, 0.0, 0.0]}))
    >>> repeat_season(panel, Origins(np.array([0]), np.array([4])), 2, 2)
    array([[3., 2.]])
    """
    start = panel.offsets[origins.series]
    last = np.where(origins.end > start, carried_forward(panel, panel.target)[origins.end - 1], np.nan)
    step = np.arange(h)
    source = origins.end[:, None] + step - season_length * (step // season_length + 1)
    whole = (origins.end - start >= season_length)[:, None]
    value = _carried_by_phase(panel, season_length)[np.maximum(source, 0)]
    return np.where(whole & np.isfinite(value), value, last[:, None])


def _carried_by_phase(panel: Panel, season_length: int) -> np.ndarray:
    """The target [R], each gap filled with the last observation of the same phase of the season in the same series."""
    start = np.repeat(panel.offsets[:-1], panel.lengths)
    row = np.arange(len(panel.target))
    position = row - start
    order = np.lexsort((position, position % season_length, start))
    group = (start + position % season_length)[order]
    last = np.maximum.accumulate(np.where(np.isnan(panel.target[order]), -1, row))
    source = np.maximum(last, 0)
    carried = np.empty(len(row))
    # Sorted rows of one phase are neighbours: a source of another group means nothing was observed in this one yet.
    carried[order] = np.where((last >= 0) & (group[source] == group), panel.target[order][source], np.nan)
    return carried
