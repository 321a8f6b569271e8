"""The statistical models people know, through statsforecast: fitted once per series, applied to every origin."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq, season_length, tick_ns
from openbook.data.panel import Panel
from openbook.errors import DataError, MissingDependencyError, UsageError
from openbook.forecast.origins import Origins, PanelForecast
from openbook.forecast.seasons import repeat_season, season_candidates

_FEWEST_VALUES = 5


class Limits(NamedTuple):
    """The longest ``season`` a model takes in sensible time and the longest history, in ``rows``, it is fitted on."""

    season: int
    rows: int


# statsforecast's AutoETS drops seasons above 24 itself; a seasonal ARIMA of 1,000 rows takes about a second per series.
CLASSICAL = {
    "auto_ets": Limits(24, 3000),
    "auto_theta": Limits(336, 3000),
    "auto_arima": Limits(24, 1000),
    "mstl": Limits(336, 2000),
}


class Classical:
    """AutoETS, AutoTheta, AutoARIMA or MSTL per series, on the last rows of the training part (``CLASSICAL`` has the caps).

    Orders and parameters stay as fitted; their states follow the data from the first row that was fitted up to each origin
    (statsforecast's ``forward``): what a table or the cap leaves out of it is remembered, and a season repeated in between.
    Seasons longer than the model takes (``decisions["seasons_too_long"]``), or than half of the series, are dropped; MSTL
    takes day and week of sub-daily data. Gaps are bridged by straight lines, a gap right before an origin by the season. A
    series that the training part lacks, that has fewer than five values or on which the model fails is forecast by
    repeating its season, without a band; ``decisions["failed"]`` counts these.
    Raises ``MissingDependencyError`` without statsforecast, ``DataError`` where the model fails on every series.
    """

    name: str
    h: int

    def __init__(self, name: str, h: int, *, season_length: int | None = None, max_rows: int | None = None) -> None:
        if name not in CLASSICAL:
            raise UsageError(
                "unknown_model", expected=f"one of {', '.join(CLASSICAL)}", got=repr(name), where="name", fix="pick one"
            )
        self.name, self.h, self.season_length = name, h, season_length
        self.decisions: dict[str, object] = {}
        self._rows = max_rows or CLASSICAL[name].rows
        self._seasons = [1]
        self._models: dict[object, Any] = {}
        self._past: dict[object, np.ndarray] = {}  # what a series was fitted on
        self._begin: dict[object, Any] = {}  # the stamp of the first value that a series was fitted on
        self._season_of: dict[object, int] = {}  # and the first of its seasons, 1 where none fitted into it

    def fit_panel(self, panel: Panel) -> None:
        """Choose and fit one model per series."""
        library = _library()
        self._seasons = self._sensible_seasons(panel)
        self._models, self._past, self._begin, self._season_of = {}, {}, {}, {}
        reason = f"fewer than {_FEWEST_VALUES} values in every series"
        for number, identity in enumerate(panel.ids):
            history, begin = self._history(panel, number, int(panel.offsets[number + 1]))
            if len(history) < _FEWEST_VALUES:
                continue
            self._past[identity] = history
            self._begin[identity], self._season_of[identity] = panel.times[begin], _fitting(self._seasons, len(history))
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    self._models[identity] = _new(library, self.name, self._seasons, len(history)).fit(history)
            except Exception as error:  # statsforecast raises bare Exception; one series must not stop the others
                reason = f"{type(error).__name__}: {error}"
        failed = len(panel) - len(self._models)
        if not self._models:
            raise DataError(
                "model_failed",
                expected="a series the model can be fitted to",
                got=f"{failed} failure(s), the last one: {reason}",
                where=self.name,
                fix="leave this model out or give more history",
            )
        self.decisions = {"season_length": self._seasons, "max_rows": self._rows, "failed": failed}
        if longer := [season for season in self._wanted(panel) if season > CLASSICAL[self.name].season]:
            self.decisions["seasons_too_long"] = longer

    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Forecasts [W, h] of every origin."""
        point = repeat_season(panel, origins, self.h, self._seasons[0])
        bands = {float(p): (np.full(point.shape, np.nan), np.full(point.shape, np.nan)) for p in level}
        for row, (series, end) in enumerate(zip(origins.series.tolist(), origins.end.tolist(), strict=True)):
            history, begin = self._history(panel, series, end)
            model = self._models.get(panel.ids[series])
            if model is not None and len(history):
                history = self._from_the_fit(panel.ids[series], history, panel.times[begin], panel.freq)
            answer = None if model is None else self._forward(model, history, sorted(bands))
            if answer is None:
                continue
            point[row] = answer["mean"]
            for percent, (low, high) in bands.items():
                low[row], high[row] = answer[f"lo-{percent}"], answer[f"hi-{percent}"]
        return PanelForecast(point, bands)

    def _from_the_fit(self, identity: object, history: np.ndarray, begin: Any, freq: Freq) -> np.ndarray:
        """A history from the row on at which the model was fitted: level, trend and seasons begin as they were there.

        Between what it was fitted on and the history its last season is repeated, over as many rows as are fitted at most:
        beyond them whole seasons are left out, or a forecast would take the longer the farther it lies behind the fit.
        """
        past, season = self._past[identity], self._season_of[identity]
        late = _steps_between(self._begin[identity], begin, freq)
        if late <= 0:  # of an origin before that row the phase at least
            return history[-late:] if -late < len(history) else history[-late % season :]
        gap = max(0, late - len(past))
        between = np.resize(past[-season:], gap - max(0, gap - self._rows) // season * season)
        return np.concatenate([past[:late], between, history])

    def _forward(self, model: Any, history: np.ndarray, level: list[float]) -> dict[str, Any] | None:
        """The model's answer from the end of ``history``; None where it fails, as on histories too short for it."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                answer: dict[str, Any] = model.forward(y=history, h=self.h, level=level or None)
        except Exception:  # as in fit_panel
            return None
        return answer if np.isfinite(answer["mean"]).all() else None

    def _sensible_seasons(self, panel: Panel) -> list[int]:
        return [season for season in self._wanted(panel) if season <= CLASSICAL[self.name].season] or [1]

    def _wanted(self, panel: Panel) -> list[int]:
        if self.name == "mstl" and self.season_length is None:
            return list(season_candidates(panel.freq))
        return [self.season_length or season_length(panel.freq)]

    def _history(self, panel: Panel, series: int, end: int) -> tuple[np.ndarray, int]:
        """The last values before ``end`` with gaps bridged, and the row of the first of them: where one was observed, a whole
        number of seasons into the series or later."""
        start = int(panel.offsets[series])
        skipped = max(0, end - self._rows - start)
        start += -(-skipped // self._seasons[0]) * self._seasons[0]
        values = panel.target[start:end]
        seen = np.flatnonzero(np.isfinite(values))
        if not len(seen):
            return values[:0], start
        known = np.interp(np.arange(seen[0], seen[-1] + 1), seen, values[seen])
        # A line has no end to go to after the last observation: its season is repeated, or the states would be bent.
        return np.append(known, np.resize(known[-self._seasons[0] :], len(values) - 1 - seen[-1])), start + int(seen[0])


def _steps_between(one: Any, other: Any, freq: Freq) -> int:
    """How many steps of a grid the second stamp lies behind the first, negative before it.

    >>> _steps_between(np.datetime64("2024-03-01"), np.datetime64("2024-01-01"), "MS")
    -2
    """
    if isinstance(freq, int):
        return int(other - one) // freq
    step = tick_ns(pd.tseries.frequencies.to_offset(freq))
    if step is not None:
        return round((other - one) / np.timedelta64(step, "ns"))
    first, last = sorted((one, other))
    return (len(pd.date_range(first, last, freq=freq)) - 1) * (1 if one <= other else -1)


def _library() -> ModuleType:
    try:
        import statsforecast.models as library
    except ImportError as error:
        raise MissingDependencyError(
            "missing_statsforecast",
            expected="statsforecast 2.1 or later for the statistical models",
            got=str(error),
            where="import statsforecast",
            fix="pip install 'openbook[stats]'",
        ) from error
    return library


def _fitting(seasons: Sequence[int], rows: int) -> int:
    """The first season that fits twice into so many rows, 1 where none does."""
    return next((season for season in seasons if 1 < season and 2 * season < rows), 1)


def _new(library: ModuleType, name: str, seasons: Sequence[int], rows: int) -> Any:
    """A fresh model with the seasons that fit twice into the series."""
    fitting = [season for season in seasons if 1 < season and 2 * season < rows]
    season = _fitting(seasons, rows)
    if name == "mstl" and fitting:
        return library.MSTL(season_length=fitting, trend_forecaster=library.AutoETS(model="ZZN"))
    if name in ("mstl", "auto_ets"):
        return library.AutoETS(season_length=season, model="ZZN" if name == "mstl" else "ZZZ")
    if name == "auto_theta":
        return library.AutoTheta(season_length=season)
    # As R's auto.arima: compare models by conditional sums of squares where the series is long or the season is.
    return library.AutoARIMA(season_length=season, approximation=rows > 150 or season > 12)
