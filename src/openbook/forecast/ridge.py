"""The closed-form floor: one linear map from a window of the past to all steps of the horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from openbook.data.frequency import season_length
from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.errors import DataError, UsageError
from openbook.forecast.bands import StepBands, known_or_one, own_step_bands, with_bands
from openbook.forecast.origins import Origins, PanelForecast
from openbook.forecast.own_bands import owners_of
from openbook.forecast.ridge_features import (
    Layout,
    Prepared,
    change_scale,
    chunks,
    columns,
    filled_between,
    make_layout,
    prepare,
    usual_change,
)
from openbook.forecast.seasons import recall_season

_MAX_WINDOW = 720
_MAX_WINDOWS_TRAINED = 60_000
_MAX_WINDOWS_VALIDATED = 4_000
_SEASONS_OF_A_WINDOW = (1, 2, 3, 4, 7, 14, 28)
_BLOCKS = 4
_PENALTIES = np.logspace(-6, 4, 21)
# Below this share of windows without a gap in their horizon, gaps in the targets are bridged instead of dropped.
_ENOUGH_COMPLETE = 0.2


class Moments(NamedTuple):
    """Sums over n windows: ``x`` [D], ``y`` [h], ``xx`` [D, D], ``xy`` [D, h], all float64."""

    n: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray


class LinearMap(NamedTuple):
    """``(x - x_mean) @ weight + y_mean`` on the columns ``picked`` of the inputs."""

    picked: np.ndarray
    x_mean: np.ndarray
    y_mean: np.ndarray
    weight: np.ndarray


class Choice(NamedTuple):
    """A configuration and how it did on validation: absolute ``penalty``, mean absolute error, residuals [W, h] and
    whose they are."""

    window: int
    inputs: tuple[str, ...]
    penalty: float
    error: float
    residual: np.ndarray
    windows: Origins


class Split(NamedTuple):
    """Windows whose horizon lies outside the validation part, touches it, lies inside it."""

    fit: Origins
    rest: Origins
    validation: Origins


class Ridge:
    """Direct multi-output ridge regression on the last-value-subtracted window, with past and known-future inputs.

    Windows are divided by the size of the series' changes, so that one map serves all series and forecasts follow any
    shift or scale of the target. Window, penalty and the use of inputs are chosen on a fifth of the training part
    held out, then all of it is used; ``decisions`` holds what was chosen. Bands are split-conformal from the validation
    residuals. Own values that are missing are recalled from the days before (where levels wander, the last one), inputs carried
    forward; windows with missing targets are left out (where hardly any is complete, their gaps are bridged by straight lines).
    Raises ``DataError`` where no series has h + 1 rows.
    """

    name: str
    h: int

    def __init__(
        self, h: int, *, season_length: int | None = None, window: int | None = None, name: str = "ridge"
    ) -> None:
        if window is not None and window < 1:
            raise UsageError(
                "bad_window", expected="a window of at least 1 row", got=str(window), where="window", fix="pass None"
            )
        self.name, self.h, self.season_length, self.window = name, h, season_length, window
        self.decisions: dict[str, object] = {}
        self._layout: Layout | None = None
        self._map: LinearMap | None = None
        self._usual = 0.0
        self._bands = StepBands(np.empty((0, h)))

    def fit_panel(self, panel: Panel) -> None:
        """Choose on the end of the training part, then solve on all of it."""
        season = self.season_length or season_length(panel.freq)
        windows = [self.window] if self.window else candidate_windows(panel, self.h, season)
        layout = make_layout(panel, self.h, max(windows), recall_season(panel, season))
        prepared = prepare(panel, layout, learning=True)
        split = split_origins(panel, self.h, layout.window, season)
        whole = Origins(np.arange(len(panel)), panel.offsets[1:])
        self._usual = usual_change(prepared, change_scale(prepared, whole))
        scale = known_or_one(change_scale(prepared, whole, self._usual))
        prepared, bridged = _bridged(prepared, split, self.h)
        fit = _moments(prepared, split.fit, layout, scale)
        chosen = _choose(prepared, split.validation, layout, scale, fit, windows)
        total = _added(fit, _moments(prepared, split.rest, layout, scale))
        if not total.n:
            raise _too_short(panel, self.h)
        index = columns(layout, chosen.window, chosen.inputs)
        self._map = _solved(total, index, chosen.penalty or _penalty_unit(total, index))
        self._layout = layout
        residual, judged = chosen.residual, chosen.windows
        if not len(residual):
            judged = _thinned(split.rest, _MAX_WINDOWS_VALIDATED)
            residual = self._errors(replace(prepared, learning=False), judged, scale)
        self._bands = own_step_bands(residual, owners_of(panel, judged, self.h))
        self.decisions = {
            "season_length": season,
            "window": chosen.window,
            "inputs": list(chosen.inputs),
            "penalty": chosen.penalty or _penalty_unit(total, index),
            "chosen_on_windows": len(chosen.residual),
            "trained_on_windows": total.n,
            "validation_error": chosen.error,
            "targets_bridged": bridged,
        }

    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Forecasts [W, h] of every origin; NaN where a series has no observation before it."""
        if self._layout is None or self._map is None:
            raise UsageError(
                "not_fitted", expected="a fitted ridge", got="none", where="predict_origins", fix="call fit_panel first"
            )
        prepared = prepare(panel, self._layout)
        scale = change_scale(prepared, origins, self._usual)
        point = np.empty((len(origins.end), self.h))
        first = 0
        for rows in chunks(prepared, origins, self._layout, known_or_one(scale)):
            part = slice(first, first + len(rows.x))
            point[part] = rows.last[:, None] + scale[part, None] * _applied(self._map, rows.x)
            first = part.stop
        asked, place = np.unique(origins.series, return_inverse=True)
        names = [id_text(name) for name in panel.ids[asked]]
        return with_bands(point, scale, self._bands, level, [names[number] for number in place])

    def _errors(self, prepared: Prepared, origins: Origins, scale: np.ndarray) -> np.ndarray:
        """Scaled absolute errors of the solved map on the given training windows."""
        assert self._layout is not None
        assert self._map is not None
        parts = [
            np.abs(_applied(self._map, rows.x) - rows.y)
            for rows in chunks(prepared, origins, self._layout, scale[origins.series])
        ]
        return np.concatenate(parts) if parts else np.empty((0, self.h))


def candidate_windows(panel: Panel, h: int, season: int) -> list[int]:
    """Windows worth trying: twice the horizon and 1 to 28 seasons, within 720 rows and half of the longest history.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(100), "y": 0.0}))
    >>> candidate_windows(panel, 6, 7)
    [7, 12, 14, 21, 28, 47]
    """
    most = max(1, min(_MAX_WINDOW, (int(panel.lengths.max(initial=0)) - h) // 2))
    wanted = [2 * h, *[season * number for number in _SEASONS_OF_A_WINDOW]]
    return sorted({min(window, most) for window in wanted})


def split_origins(panel: Panel, h: int, window: int, season: int) -> Split:
    """Every window of the panel, thinned evenly to 60,000, divided by where its horizon lies.

    The validation part is a fifth of each series: four blocks, each ending a quarter of the series, where a block holds
    four horizons and seven seasons (one block at the end of three years would judge summer by winter); otherwise the end
    of the series, at least its last 2 h - 1 rows where these are at most a third.
    A window has at least a third of the possible history behind it.
    """
    length = panel.lengths
    first = np.minimum(window, np.maximum(1, (length - h) // 3))
    number = np.maximum(0, length - h + 1 - first)
    total = int(number.sum())
    flat = np.arange(total)
    if total > _MAX_WINDOWS_TRAINED:
        flat = np.unique(np.linspace(0, total - 1, _MAX_WINDOWS_TRAINED).astype(np.int64))
    bounds = np.concatenate([[0], np.cumsum(number)])
    series = np.searchsorted(bounds, flat, side="right") - 1
    place = flat - bounds[series] + first[series]
    end = panel.offsets[series] + place
    touching, inside = _held_out(length[series], place, h, season)
    return Split(*[Origins(series[keep], end[keep]) for keep in (~touching, touching, inside)])


def _held_out(length: np.ndarray, place: np.ndarray, h: int, season: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether the horizon of each window touches the validation part, and whether it lies inside it."""
    block = length // (5 * _BLOCKS)
    many = block >= max(4 * h, 7 * season)
    single = np.maximum(np.maximum(length // 5, np.minimum(2 * h - 1, length // 3)), h)
    rows = np.where(many, block, single)
    touching, inside = np.zeros(len(place), bool), np.zeros(len(place), bool)
    for number in range(_BLOCKS):
        stop = length - number * (length // _BLOCKS)
        counts = many | (number == 0)
        touching |= counts & (place + h > stop - rows) & (place < stop)
        inside |= counts & (place >= stop - rows) & (place + h <= stop)
    return touching, inside


def _bridged(prepared: Prepared, split: Split, h: int) -> tuple[Prepared, bool]:
    """Targets with their gaps bridged where too few windows are complete to learn from, and whether that was done."""
    end = np.concatenate([split.fit.end, split.rest.end])
    missing = np.concatenate([[0], np.cumsum(np.isnan(prepared.panel.target))])
    complete = missing[end + h] == missing[end]
    if not len(end) or complete.mean() >= _ENOUGH_COMPLETE:
        return prepared, False
    return replace(prepared, goal=filled_between(prepared.panel)), True


def _moments(prepared: Prepared, origins: Origins, layout: Layout, scale: np.ndarray) -> Moments:
    """Sums over the windows whose targets are all known."""
    width = sum(layout.groups.values())
    total = Moments(0, np.zeros(width), np.zeros(layout.h), np.zeros((width, width)), np.zeros((width, layout.h)))
    for rows in chunks(prepared, origins, layout, scale[origins.series]):
        keep = np.isfinite(rows.y).all(axis=1)
        x, y = rows.x[keep], rows.y[keep]
        total = _added(total, Moments(len(x), x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y))
    return total


def _added(one: Moments, other: Moments) -> Moments:
    return Moments(one.n + other.n, one.x + other.x, one.y + other.y, one.xx + other.xx, one.xy + other.xy)


def _centered(total: Moments, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Means of the chosen columns and of the targets, and the centered normal equations of a ridge with intercept."""
    x_mean, y_mean = total.x[index] / total.n, total.y / total.n
    gram = total.xx[np.ix_(index, index)] - total.n * np.outer(x_mean, x_mean)
    return x_mean, y_mean, gram, total.xy[index] - total.n * np.outer(x_mean, y_mean)


def _penalty_unit(total: Moments, index: np.ndarray) -> float:
    """Mean of the diagonal of the normal equations: penalties are multiples of it. One where all inputs are constant."""
    unit = float(np.trace(_centered(total, index)[2])) / len(index)
    return unit if unit > 0 else 1.0


def _solved(total: Moments, index: np.ndarray, penalty: float) -> LinearMap:
    x_mean, y_mean, gram, cross = _centered(total, index)
    weight = np.linalg.solve(gram + penalty * np.eye(len(index)), cross)
    return LinearMap(index, x_mean, y_mean, weight)


def _applied(linear: LinearMap, x: np.ndarray) -> np.ndarray:
    return (x[:, linear.picked] - linear.x_mean) @ linear.weight + linear.y_mean


def _choose(
    prepared: Prepared, origins: Origins, layout: Layout, scale: np.ndarray, fit: Moments, windows: Sequence[int]
) -> Choice:
    """The window with all inputs that did best on validation, then which inputs to keep with it."""
    groups = tuple(name for name in layout.groups if name != "own")
    few = _thinned(origins, _MAX_WINDOWS_VALIDATED)
    fewest = Choice(min(windows), (), 0.0, float("nan"), np.empty((0, layout.h)), few)
    asked = replace(prepared, learning=False)  # as forecasts are made
    parts = [(rows.x, rows.y) for rows in chunks(asked, few, layout, scale[few.series])]
    if not parts or not fit.n:
        return fewest
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    y = np.where(np.isfinite(prepared.panel.target[few.end[:, None] + np.arange(layout.h)]), y, np.nan)
    if not np.isfinite(y).any():
        return fewest
    tried = partial(_tried, layout, fit, validation=(x, y), few=few)
    best = min((tried(window, groups) for window in windows), key=lambda choice: choice.error)
    fewer = [tuple(name for name in groups if name not in left) for left in (("past",), ("past", "ahead"), groups)]
    for kept in dict.fromkeys(fewer):
        if kept != groups:
            best = min(best, tried(best.window, kept), key=lambda choice: choice.error)
    return best


def _tried(
    layout: Layout,
    fit: Moments,
    window: int,
    groups: tuple[str, ...],
    validation: tuple[np.ndarray, np.ndarray],
    few: Origins,
) -> Choice:
    """The best penalty of one configuration: one eigendecomposition serves all of them."""
    index = columns(layout, window, groups)
    x_mean, y_mean, gram, cross = _centered(fit, index)
    value, vector = np.linalg.eigh(gram)
    x, y = validation
    rotated, target = (x[:, index] - x_mean) @ vector, vector.T @ cross
    unit = _penalty_unit(fit, index)
    best: Choice | None = None
    for penalty in _PENALTIES * unit:
        residual = np.abs(rotated @ (target / (np.maximum(value, 0.0) + penalty)[:, None]) + y_mean - y)
        error = float(np.nanmean(residual))
        if best is None or error < best.error:
            best = Choice(window, groups, float(penalty), error, residual, few)
    assert best is not None
    return best


def _thinned(origins: Origins, most: int) -> Origins:
    """At most ``most`` of the origins, evenly spread."""
    if len(origins.end) <= most:
        return origins
    keep = np.unique(np.linspace(0, len(origins.end) - 1, most).astype(np.int64))
    return Origins(origins.series[keep], origins.end[keep])


def _too_short(panel: Panel, h: int) -> DataError:
    longest = int(np.argmax(panel.lengths)) if len(panel) else 0
    return DataError(
        "too_short",
        expected=f"a series with at least {h + 1} rows (one of history and the {h} of the horizon) and known targets",
        got=f"at most {int(panel.lengths.max(initial=0))} rows",
        where=f"series {panel.ids[longest]!r}" if len(panel) else "no series",
        fix="shorten the horizon or give more history",
    )
