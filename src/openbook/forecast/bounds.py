"""The lower bound of forecasts: which series rest at zero, and which windows their bound holds for."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd

from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.forecast.decisions import Decision
from openbook.forecast.fitted import Fitted
from openbook.forecast.origins import Origins
from openbook.windows.sampler import WindowIndex, blind

log = logging.getLogger("openbook")

_RESTS = 0.01  # share of exact zeros from which values rest there: less is a temperature on its way down
_TELLING = 30  # values from which a series of fractions tells by itself
_NAMED = 5


class Bounds(NamedTuple):
    """``decision``: the bound of series that were never seen; ``own``: of those learned from for which another one holds."""

    decision: Decision
    own: dict[str, float | None]


def decide_lower_bounds(panel: Panel) -> Bounds:
    """Zero for counts and amounts that rest at zero: never negative, and whole numbers that come near it, or exact zeros that
    come again; else none. A single zero among fractions may be a temperature on its way down.

    Series that were negative say nothing of others. Whole numbers are counts alike where half of the series are; fractions
    tell series by series, those of few values together. The bound is applied to a series only as long as its own history
    stayed at or above it.

    >>> from openbook.data.panel import make_panel
    >>> table = pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [0.0, 3.0, 0.0, 2.0, 0.0, 1.0]})
    >>> decide_lower_bounds(make_panel(table)).decision.value
    0.0
    """
    values = pd.Series(np.where(np.isfinite(panel.target), panel.target, np.nan))
    owner = np.repeat(np.arange(len(panel)), panel.lengths)
    each = values.groupby(owner)
    count_N, least_N = each.count().to_numpy(), each.min().to_numpy()
    whole_N = ((values % 1 == 0) | values.isna()).groupby(owner).all().to_numpy()
    fit_N, zeros_N = least_N >= 0, (values == 0).groupby(owner).sum().to_numpy()
    own_N = zeros_N >= np.maximum(2, _RESTS * count_N)
    own_N |= whole_N & (least_N <= 0.1 * each.median().to_numpy())

    def told(kind_N: np.ndarray) -> tuple[str, bool]:
        """What series, none of them ever negative, say together: whole numbers are counts where half of them come near zero."""
        if not kind_N.any():
            return "negative values were seen", False
        if zeros_N[kind_N].sum() >= max(2, _RESTS * count_N[kind_N].sum()):
            return "values rest at zero and were never below", True
        if whole_N[kind_N].all() and 2 * own_N[kind_N].sum() >= kind_N.sum():
            return f"whole numbers from {least_N[kind_N].min():g} up, never below zero", True
        return "neither counts nor values that rest at zero", False

    why, rests = told(fit_N)
    shared_N = np.where(whole_N, told(fit_N & whole_N)[1], told(fit_N & ~whole_N)[1] & (count_N < _TELLING))
    bound_N = fit_N & (own_N | shared_N)
    other_N = fit_N & (bound_N != rests)
    own = {id_text(panel.ids[n]): 0.0 if bound_N[n] else None for n in np.flatnonzero(other_N)}
    if own:
        names = ", ".join(list(own)[:_NAMED]) + (f" and {len(own) - _NAMED} more" if len(own) > _NAMED else "")
        why += f"; {'none' if rests else 'zero'} for {names}, by their own values"
    if (~fit_N & (count_N > 0)).any() and fit_N.any():
        why += f"; {int((~fit_N & (count_N > 0)).sum())} series were negative and have none"
    return Bounds(Decision(0.0 if rests else None, why), own)


def limits_of(fitted: Fitted, panel: Panel, origins: Origins) -> tuple[np.ndarray, np.ndarray]:
    """The lower bound of every window [W, 1], and which windows [W] hold no observed value at all: a warning names these."""
    sightless = blind(panel, WindowIndex(*origins), fitted.windows.input_size)
    if sightless.any():
        names = ", ".join(np.unique(panel.ids[origins.series[sightless]].astype(str))[:10])
        log.warning("%d forecast(s) are NaN, nothing was observed in their window: %s", sightless.sum(), names)
    common = -np.inf if fitted.lower_bound is None else fitted.lower_bound
    own = {name: -np.inf if bound is None else bound for name, bound in fitted.own_bounds.items()}
    if common == -np.inf and not own:
        return np.full((len(sightless), 1), -np.inf), sightless
    bound_N = np.array([own.get(id_text(name), common) for name in panel.ids], float)
    lowest = np.where(np.isfinite(panel.target), panel.target, np.inf)
    if panel.lowest is not None:
        lowest[panel.offsets[:-1]] = np.minimum(lowest[panel.offsets[:-1]], panel.lowest)
    for series in range(len(panel)):
        rows = panel.rows(series)
        lowest[rows] = np.minimum.accumulate(lowest[rows])
    bound_W = bound_N[origins.series]
    return np.where(lowest[origins.end - 1] >= bound_W, bound_W, -np.inf)[:, None], sightless
