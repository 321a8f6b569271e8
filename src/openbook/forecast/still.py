"""Series that have never moved: their forecast is where they stand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.forecast.origins import Origins

_LEAST, _HORIZONS = 10, 3  # values, and horizons of them, below which a series that has not moved yet may be about to


def still_series(panel: Panel, h: int) -> dict[str, float]:
    """The value of each series that had no other one in at least ten rows and three horizons, by name; zeros are none.

    What has sold nothing so far may sell; a set point or a price that never changed is what it is.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unique_id": ["a"] * 12 + ["b"] * 12, "ds": [*range(12)] * 2, "y": [7.0] * 12 + [*range(12)]})
    >>> still_series(make_panel(table), 4)
    {'a': 7.0}
    """
    known = np.isfinite(panel.target)
    low_N, high_N = (
        edge.reduceat(np.where(known, panel.target, empty), panel.offsets[:-1])
        for edge, empty in ((np.minimum, np.inf), (np.maximum, -np.inf))
    )
    count_N = np.add.reduceat(known.astype(np.int64), panel.offsets[:-1])
    still_N = (low_N == high_N) & (low_N != 0) & (count_N >= max(_LEAST, _HORIZONS * h))
    return {id_text(panel.ids[n]): float(low_N[n]) for n in np.flatnonzero(still_N)}


def still_at(still: Mapping[str, float], panel: Panel, origins: Origins) -> np.ndarray:
    """Where the series of each window still stands, [W, 1]: NaN of the others, and of those that have moved since."""
    found_W1 = np.full((len(origins.end), 1), np.nan)
    if not still:
        return found_W1
    order = np.argsort(origins.series, kind="stable")
    each, begin = np.unique(origins.series[order], return_index=True)
    for series, own in zip(each, np.split(order, begin[1:]), strict=True):
        value = still.get(id_text(panel.ids[series]))
        if value is None:
            continue
        rows = panel.rows(int(series))
        seen = panel.target[rows]
        moved = np.concatenate([[False], np.logical_or.accumulate(np.isfinite(seen) & (seen != value))])
        found_W1[own[~moved[origins.end[own] - rows.start]]] = value
    return found_W1
