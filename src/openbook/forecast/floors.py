"""The floors every forecast has to beat: repeating the last value, repeating the last season, and the door to the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from openbook.data.panel import Panel
from openbook.errors import UsageError
from openbook.forecast.bands import (
    StepBands,
    error_scale,
    step_bands,
    with_bands,
)
from openbook.forecast.classical import CLASSICAL, Classical
from openbook.forecast.origins import Origins, PanelForecast, PanelForecaster, extend_panel
from openbook.forecast.ridge import Ridge
from openbook.forecast.seasons import repeat_season, season_candidates

log = logging.getLogger("openbook")

_MAX_RESIDUAL_WINDOWS = 20_000
_MAX_WINDOWS_PER_SERIES = 400


class SeasonalNaive:
    """Repeats the last season; where that season has gaps, the last observation of the same phase stands in.

    Shorter histories than a season fall back to the last observed value, series without any observation to NaN.
    ``season_length=None`` chooses the better of the frequency's season and its week on the end of the training part.
    Bands are split-conformal, from absolute errors on windows of the second half of the training part, divided by the
    series' in-sample seasonal naive error and pooled over series.
    """

    name: str
    h: int

    def __init__(self, h: int, *, season_length: int | None = None, name: str = "seasonal_naive") -> None:
        if season_length is not None and season_length < 1:
            raise UsageError(
                "bad_season",
                expected="a season of at least 1 step",
                got=str(season_length),
                where="season_length",
                fix="pass 1 for none",
            )
        self.name, self.h, self.season_length = name, h, season_length
        self.decisions: dict[str, object] = {}
        self._season = season_length or 1
        self._bands = StepBands(np.empty((0, h)))

    def fit_panel(self, panel: Panel) -> None:
        """Choose the season where none was given, and measure the errors the bands are made of."""
        self._season = self.season_length or choose_season(panel, self.h, season_candidates(panel.freq))
        longest = int(panel.lengths.max(initial=0))
        if self.season_length is not None and self._season > max(1, longest):
            log.warning(
                "a season of %d steps is longer than the %d rows there are: %s repeats the last value",
                self._season,
                longest,
                self.name,
            )
        self.decisions = {"season_length": self._season}
        ahead = extend_panel(panel, self.h)
        origins = residual_origins(ahead, self.h)
        error = np.abs(repeat_season(ahead, origins, self.h, self._season) - targets(ahead, origins, self.h))
        self._bands = step_bands(error / error_scale(ahead, self._season, origins)[:, None])

    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Forecasts [W, h] of every origin."""
        point = repeat_season(panel, origins, self.h, self._season)
        return with_bands(point, np.nan_to_num(error_scale(panel, self._season, origins)), self._bands, level)


class Naive(SeasonalNaive):
    """Repeats the last observed value; bands as those of ``SeasonalNaive``."""

    def __init__(self, h: int, *, name: str = "naive") -> None:
        super().__init__(h, season_length=1, name=name)


def targets(panel: Panel, origins: Origins, h: int) -> np.ndarray:
    """The observed targets of each origin's horizon, [W, h]."""
    return panel.target[origins.end[:, None] + np.arange(h)]


def residual_origins(panel: Panel, h: int) -> Origins:
    """Origins in the second half of every series of an extended panel, evenly spread, at most 400 a series and 20,000 in all.

    The last h rows of each series are the extension: windows that reach into it have missing targets there.
    """
    length = panel.lengths - h
    series = np.arange(len(panel))
    if len(series) > _MAX_RESIDUAL_WINDOWS:
        series = np.unique(np.linspace(0, len(series) - 1, _MAX_RESIDUAL_WINDOWS).astype(np.int64))
    series = series[length[series] > 1]
    if not len(series):
        return Origins(np.empty(0, np.int64), np.empty(0, np.int64))
    most = max(1, min(_MAX_WINDOWS_PER_SERIES, _MAX_RESIDUAL_WINDOWS // len(series)))
    low = np.maximum(1, length[series] // 2)
    share = np.linspace(0.0, 1.0, most) if most > 1 else np.zeros(1)
    place = low[:, None] + np.floor(share * (length[series] - 1 - low)[:, None]).astype(np.int64)
    fresh = np.diff(place, axis=1, prepend=-1) > 0
    owner = np.broadcast_to(series[:, None], place.shape)[fresh]
    return Origins(owner.astype(np.int64), (panel.offsets[owner] + place[fresh]).astype(np.int64))


def choose_season(panel: Panel, h: int, candidates: Sequence[int]) -> int:
    """The season whose repetition had the lowest scaled absolute error at the end of the training part.

    Compared on the last windows of every series, on at least four of the longest season where the series have as many
    rows, leaving each series its first half. The first candidate wins ties and where nothing can be compared.
    """
    if len(candidates) == 1:
        return candidates[0]
    ahead = extend_panel(panel, h)
    every = residual_origins(ahead, h)
    recent = every.end >= ahead.offsets[every.series + 1] - h - max(4 * max(candidates), 10 * h)
    origins = Origins(every.series[recent], every.end[recent])
    if not len(origins.end):
        return candidates[0]
    scale = error_scale(ahead, candidates[0], origins)[:, None]
    actual = targets(ahead, origins, h)
    errors = []
    for season in candidates:
        error = np.abs(repeat_season(ahead, origins, h, season) - actual) / scale
        seen = np.isfinite(error)
        errors.append(error[seen].mean() if seen.any() else np.inf)
    return candidates[int(np.argmin(errors))]


def _naive(h: int, season_length: int | None) -> PanelForecaster:
    return Naive(h)


def _seasonal_naive(h: int, season_length: int | None) -> PanelForecaster:
    return SeasonalNaive(h, season_length=season_length)


def _ridge(h: int, season_length: int | None) -> PanelForecaster:
    return Ridge(h, season_length=season_length)


def _classical(name: str) -> Callable[[int, int | None], PanelForecaster]:
    def build(h: int, season_length: int | None) -> PanelForecaster:
        return Classical(name, h, season_length=season_length)

    return build


FLOORS: dict[str, Callable[[int, int | None], PanelForecaster]] = {
    "naive": _naive,
    "seasonal_naive": _seasonal_naive,
    "ridge": _ridge,
    **{name: _classical(name) for name in CLASSICAL},
}


def make_floor(name: str, h: int, *, season_length: int | None = None) -> PanelForecaster:
    """A fresh floor by name: naive, seasonal_naive, ridge, auto_ets, auto_theta, auto_arima or mstl.

    ``season_length=None`` lets the floor take it from the frequency (and, for seasonal_naive, from the training part).
    Raises ``UsageError`` for an unknown name or a horizon below one.

    >>> make_floor("naive", 24).name
    'naive'
    """
    if name not in FLOORS:
        raise UsageError(
            "unknown_floor",
            expected=f"one of {', '.join(FLOORS)}",
            got=repr(name),
            where="name",
            fix="check the spelling",
        )
    if h < 1:
        raise UsageError(
            "bad_horizon", expected="a horizon of at least 1 step", got=str(h), where="h", fix="pass h >= 1"
        )
    return FLOORS[name](h, season_length)
