"""fit, predict and cross_validation on tables: written once, for models and floors alike."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq
from openbook.data.panel import ID, TARGET, TIME, Panel, make_panel
from openbook.data.table import as_input, read_table
from openbook.errors import DataError, UsageError
from openbook.forecast.conformal import check_levels, level_name
from openbook.forecast.origins import Origins, PanelForecast, extend_panel, last_origins, rolling_origins


class ColumnNames(NamedTuple):
    """The user's names of the id, time and target columns."""

    id: str = ID
    time: str = TIME
    target: str = TARGET


class Inputs(NamedTuple):
    """Input columns by role: known ahead, past only, constant per series."""

    futr: tuple[str, ...] = ()
    hist: tuple[str, ...] = ()
    stat: tuple[str, ...] = ()


class FrameForecaster(ABC):
    """Tables in, tables out, around a forecaster of panels.

    A concrete class gives ``name`` (its output column), ``h``, and the two panel methods; this one reads frames (pandas,
    polars, paths), keeps the history to forecast from, and lays out results. Attributes ending in ``_`` exist after fit.
    """

    name: str
    h: int

    def __init__(self, h: int, *, freq: Freq | None, inputs: Inputs) -> None:
        if not isinstance(h, int) or isinstance(h, bool) or h < 1:
            raise UsageError(
                "bad_horizon", expected="a horizon of at least 1 step", got=repr(h), where="h", fix="pass h >= 1"
            )
        self.h, self.freq, self.inputs = h, freq, inputs
        self.columns = ColumnNames()
        self.history_: Panel | None = None

    @abstractmethod
    def fit_panel(self, panel: Panel) -> None:
        """Learn from the training part."""

    @abstractmethod
    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Forecast h steps from every origin, reading nothing of the target from there on."""

    def history_steps(self) -> int | None:
        """How many last rows of a series a forecast reads; ``None`` for all."""
        return None

    def fit(self, df: Any, *, id_col: str = ID, time_col: str = TIME, target_col: str = TARGET) -> Self:
        """Learn from a table (pandas or polars frame, or a path) of one or many series; returns the forecaster itself."""
        frame, _ = as_input(df) if not _is_path(df) else (df, None)
        table = read_table(frame, id_col=id_col, time_col=time_col, target_col=target_col)
        self.columns = ColumnNames(id_col, time_col, target_col)
        panel = self._panel(table, fitting=True)
        self.fit_panel(panel)
        self.history_ = _tail(panel, self.history_steps())
        return self

    def predict(self, df: Any = None, *, futr_df: Any = None, level: Sequence[float] = ()) -> Any:
        """The h steps after each series' last stamp: id, time, ``name`` and, per level, ``name-lo-80`` and ``name-hi-80``.

        ``df``: a table to forecast from, with series seen in training or not (default: the training data). ``futr_df``:
        id, time and the known-future columns of these h steps. The kind of frame that came in goes out.
        """
        levels = check_levels(level)
        panel, restore = self._history(df)
        _, restore_futr = as_input(futr_df) if futr_df is not None and not _is_path(futr_df) else (None, restore)
        extended = extend_panel(panel, self.h, self._future_rows(panel, futr_df))
        origins = last_origins(extended, self.h)
        forecast = self.predict_origins(extended, origins, levels)
        result = self.forecast_frame(extended, origins, forecast).drop(columns=["cutoff", TARGET])
        restore = restore if df is not None else restore_futr
        return restore(self._rename(result))

    def cross_validation(
        self,
        df: Any,
        *,
        n_windows: int = 1,
        step_size: int | None = None,
        refit: bool | int = False,
        level: Sequence[float] = (),
        id_col: str = ID,
        time_col: str = TIME,
        target_col: str = TARGET,
    ) -> Any:
        """Rolling-origin forecasts beside the truth: id, time, cutoff, target, ``name`` and its intervals.

        The last of ``n_windows`` windows ends each series, the others start ``step_size`` (default h) steps earlier. The
        forecaster learns from what lies before the first cutoff; with ``refit`` true before every cutoff, with a number
        before every so many. Known-future columns are read from ``df`` itself.
        """
        frame, restore = as_input(df) if not _is_path(df) else (df, lambda result: result)
        self.columns = ColumnNames(id_col, time_col, target_col)
        panel = self._panel(read_table(frame, id_col=id_col, time_col=time_col, target_col=target_col), fitting=True)
        rolled = roll(
            self, panel, n_windows=n_windows, step_size=step_size or self.h, refit=refit, level=check_levels(level)
        )
        self.history_ = _tail(panel, self.history_steps())
        return restore(self._rename(rolled.frame))

    def forecast_frame(self, panel: Panel, origins: Origins, forecast: PanelForecast) -> pd.DataFrame:
        """Canonical long frame of forecasts: unique_id, ds, cutoff, y, ``name`` and its bands."""
        rows = origins.end[:, None] + np.arange(self.h)
        stamps = panel.local_times(panel.times)
        frame = pd.DataFrame({ID: panel.ids[np.repeat(origins.series, self.h)]})
        frame[TIME] = (
            stamps.iloc[rows.ravel()].to_numpy() if panel.timezone is None else stamps.iloc[rows.ravel()].array
        )
        cutoff = stamps.iloc[np.repeat(origins.end - 1, self.h)]
        frame["cutoff"] = cutoff.to_numpy() if panel.timezone is None else cutoff.array
        frame[TARGET] = panel.target[rows].ravel()
        frame[self.name] = forecast.point.ravel()
        for level, (low, high) in forecast.interval.items():
            frame[f"{self.name}-lo-{level_name(level)}"] = low.ravel()
            frame[f"{self.name}-hi-{level_name(level)}"] = high.ravel()
        return frame

    def resolve_inputs(self, table: pd.DataFrame) -> Inputs:
        """The input columns to read from a table being fitted; a model may decide more here."""
        return self.inputs

    def _panel(self, table: pd.DataFrame, *, fitting: bool) -> Panel:
        if fitting:
            self.inputs = self.resolve_inputs(table)
        freq = self.freq if fitting else self.freq or (self.history_.freq if self.history_ is not None else None)
        panel = make_panel(table, futr=(*self.inputs.futr, *self.inputs.stat), hist=self.inputs.hist, freq=freq)
        _check_static(panel, self.inputs)
        return panel

    def _history(self, df: Any) -> tuple[Panel, Any]:
        if self.history_ is None:
            raise UsageError(
                "not_fitted",
                expected="a fitted forecaster",
                got="one before fit",
                where=self.name,
                fix="call fit first",
            )
        if df is None:
            return self.history_, lambda result: result
        frame, restore = as_input(df) if not _is_path(df) else (df, lambda result: result)
        names = self.columns
        table = read_table(frame, id_col=names.id, time_col=names.time, target_col=names.target)
        return _tail(self._panel(table, fitting=False), self.history_steps()), restore

    def _future_rows(self, panel: Panel, futr_df: Any) -> np.ndarray:
        """Known-future values of the h steps after each series, [N, h, K]; refuses what is missing."""
        known, stat = self.inputs.futr, self.inputs.stat
        rows = np.full((len(panel), self.h, len(known) + len(stat)), np.nan)
        rows[..., len(known) :] = panel.futr[panel.offsets[1:] - 1, len(known) :][:, None]
        if not known:
            return rows
        if futr_df is None:
            raise DataError(
                "missing_future",
                expected=f"futr_df with {', '.join(map(repr, known))} for the next {self.h} steps",
                got="none",
                where="predict",
                fix="pass futr_df (at the command line: --futr FILE)",
            )
        rows[..., : len(known)] = _known_ahead(panel, self.h, _future_table(futr_df, self.columns, known), known)
        return rows

    def _rename(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.rename(columns={ID: self.columns.id, TIME: self.columns.time, TARGET: self.columns.target})


class Rolled(NamedTuple):
    """A rolling-origin evaluation of one forecaster: its forecasts, and the seconds spent fitting and predicting."""

    frame: pd.DataFrame
    seconds_fit: float
    seconds_predict: float


def roll(
    forecaster: FrameForecaster,
    panel: Panel,
    *,
    n_windows: int,
    step_size: int,
    refit: bool | int = False,
    level: Sequence[float] = (),
) -> Rolled:
    """Fit before the first cutoff (or every ``refit`` windows) and forecast all windows of a fit in one call."""
    windows = rolling_origins(panel, forecaster.h, n_windows, step_size)
    every = int(refit) or n_windows
    frames, fit_seconds, predict_seconds = [], 0.0, 0.0
    for first in range(0, n_windows, every):
        begin = time.perf_counter()
        forecaster.fit_panel(training_part(panel, forecaster.h, n_windows - first, step_size))
        fitted = time.perf_counter()
        origins = Origins(*(np.concatenate(parts) for parts in zip(*windows[first : first + every], strict=True)))
        if not len(origins.end):
            raise DataError(
                "too_short",
                expected=f"series longer than {n_windows} windows of {step_size} steps and a horizon of {forecaster.h}",
                got=f"at most {int(panel.lengths.max())} rows",
                where="cross_validation",
                fix="use fewer windows or a shorter horizon",
            )
        forecast = forecaster.predict_origins(panel, origins, level)
        frames.append(forecaster.forecast_frame(panel, origins, forecast))
        fit_seconds, predict_seconds = fit_seconds + fitted - begin, predict_seconds + time.perf_counter() - fitted
    frame = pd.concat(frames, ignore_index=True).sort_values([ID, "cutoff", TIME], ignore_index=True)
    return Rolled(frame, fit_seconds, predict_seconds)


def training_part(panel: Panel, h: int, n_windows: int, step_size: int) -> Panel:
    """What lies before the first of ``n_windows`` cutoffs of every series; series that begin later are left out."""
    ends = panel.lengths - h - step_size * (n_windows - 1)
    if (ends < 1).all():
        raise DataError(
            "too_short",
            expected=f"more than {h + step_size * (n_windows - 1)} rows in some series",
            got=f"at most {int(panel.lengths.max())}",
            where=f"{n_windows} window(s), step {step_size}, horizon {h}",
            fix="use fewer windows, a smaller step_size or a shorter horizon",
        )
    return panel.until(np.maximum(ends, 0))


def _tail(panel: Panel, steps: int | None) -> Panel:
    """The last ``steps`` rows of every series."""
    if steps is None:
        return panel
    left = np.repeat(panel.offsets[1:], panel.lengths) - np.arange(len(panel.times))
    return panel.keep_rows(left <= steps)


def _is_path(df: Any) -> bool:
    return isinstance(df, str) or hasattr(df, "__fspath__")


def _check_static(panel: Panel, inputs: Inputs) -> None:
    first = panel.futr[np.repeat(panel.offsets[:-1], panel.lengths), len(inputs.futr) :]
    static = panel.futr[:, len(inputs.futr) :]
    moved = (static != first) & np.isfinite(static)
    if moved.any():
        row, column = (int(place[0]) for place in np.nonzero(moved))
        owner = int(np.searchsorted(panel.offsets, row, side="right") - 1)
        raise DataError(
            "not_static",
            expected="one value per series in a static column",
            got=f"{first[row, column]:g} and {static[row, column]:g}",
            where=f"column {inputs.stat[column]!r}, series {panel.ids[owner]!r}, {panel.times[row]}",
            fix="move the column to futr_exog_list or hist_exog_list",
        )


def _future_table(futr_df: Any, names: ColumnNames, known: tuple[str, ...]) -> pd.DataFrame:
    """futr_df with canonical id and time columns; a table without ids is meant for a single series."""
    from openbook.data.reading import read_file

    frame = read_file(futr_df) if _is_path(futr_df) else as_input(futr_df)[0]
    frame = frame.rename(columns={names.id: ID, names.time: TIME})
    absent = [column for column in (TIME, *known) if column not in frame.columns]
    if absent:
        raise DataError(
            "missing_columns",
            expected=f"columns {', '.join(map(repr, (names.time, *known)))}",
            got=f"no {', '.join(map(repr, absent))}",
            where="futr_df",
            fix="add the columns the forecaster was fitted with",
        )
    return frame


def _known_ahead(panel: Panel, h: int, frame: pd.DataFrame, known: tuple[str, ...]) -> np.ndarray:
    if ID not in frame.columns:
        if len(panel) > 1:
            raise DataError(
                "missing_columns",
                expected=f"an id column for {len(panel)} series",
                got="none",
                where="futr_df",
                fix="add the id column",
            )
        frame = frame.assign(**{ID: panel.ids[0]})
    stamps, wanted = panel.own_times(frame[TIME]), panel.future(h)
    index = pd.MultiIndex.from_arrays([frame[ID].astype(str), stamps])
    frame = frame[list(known)].set_axis(index)
    frame = frame[~frame.index.duplicated(keep="last")]
    asked = pd.MultiIndex.from_arrays([np.repeat(panel.ids.astype(str), h), wanted.ravel()])
    place = frame.index.get_indexer(asked)
    if (place < 0).any():
        first = asked[int(np.argmax(place < 0))]
        raise DataError(
            "missing_future",
            expected=f"every stamp of the next {h} steps of {len(panel)} series",
            got=f"{int((place < 0).sum())} missing",
            where=f"futr_df, series {first[0]!r}, first missing {first[1]}",
            fix="add these rows; stamps must continue each series' own grid",
        )
    values = frame.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)[place]
    if np.isinf(values).any():
        raise DataError(
            "infinite_values",
            expected="finite numbers",
            got="infinity",
            where="futr_df",
            fix="leave unknown cells empty",
        )
    return values.reshape(len(panel), h, len(known))
