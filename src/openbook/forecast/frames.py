"""fit, predict and cross_validation on tables: written once, for models and floors alike."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from openbook.data.conventions import READINGS
from openbook.data.frequency import Freq, same_freq, unanchored
from openbook.data.ids import id_text, plain_ids
from openbook.data.kinds import as_input, as_it_is
from openbook.data.panel import ID, TARGET, TIME, Panel, make_panel
from openbook.data.zones import in_zone
from openbook.errors import DataError, UsageError, whole_number
from openbook.forecast.arguments import (
    ColumnNames,
    Restore,
    check_inputs,
    check_names,
    check_own,
    is_path,
    not_fitted,
    plain_freq,
)
from openbook.forecast.conformal import check_levels, level_name
from openbook.forecast.future import check_kind, known_ahead, refuse_unread_future
from openbook.forecast.origins import (
    Origins,
    PanelForecast,
    check_windows,
    extend_panel,
    last_origins,
    rows_tested,
)
from openbook.forecast.remarks import (
    warn_of_closed_times,
    warn_of_ended,
    warn_of_guessed_targets,
    warn_of_odd_future,
    warn_of_open_ends,
    warn_of_short_context,
)
from openbook.forecast.rolling import roll
from openbook.forecast.static import Categories, encoded, learn_categories, text_columns, with_labels, with_static
from openbook.forecast.targets import read_series

log = logging.getLogger("openbook")

_MOST_STEPS = 100_000  # ahead: eleven years of hours
_SPARSE, _SPARSE_IF_TOLD = 1.5, 2.0  # steps of the learned frequency to rows of a table whose own looks another


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
    reads_inputs = True

    def __init__(self, h: int, *, freq: Freq | None, inputs: Inputs) -> None:
        check_inputs(futr_exog_list=inputs.futr, hist_exog_list=inputs.hist, stat_exog_list=inputs.stat)
        self.h, self.freq, self.inputs = whole_number("h", h, least=1), plain_freq(freq), inputs
        if self.h > _MOST_STEPS:
            raise UsageError(
                "bad_horizon",
                expected=f"at most {_MOST_STEPS} steps",
                got=str(h),
                where="h",
                fix="forecast longer steps",
            )
        self.columns, self.readings_ = ColumnNames(), dict[str, str]()
        self.history_: Panel | None = None
        self.categories_: Categories | None = None
        self._restore: Restore = as_it_is

    @abstractmethod
    def fresh(self) -> Self:
        """An unfitted forecaster with the same arguments."""

    @abstractmethod
    def fit_panel(self, panel: Panel) -> None:
        """Learn from the training part."""

    @abstractmethod
    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Forecast h steps from every origin, reading nothing of the target from there on."""

    def history_steps(self) -> int | None:
        """How many last rows of a series a forecast reads; ``None`` for all."""
        return None

    def context_steps(self) -> int:
        """How many last rows of a series a forecast leans on; 0 where fewer do as well."""
        return 0

    def rows_followed(self) -> int:
        """How many rows before those its bands may follow, where they were seen since training."""
        return 0

    def interrupted(self) -> bool:
        """Whether the last training was ended by the user."""
        return False

    def fit(self, df: Any, *, id_col: str = ID, time_col: str = TIME, target_col: str | Sequence[str] = TARGET) -> Self:
        """Learn from a table (pandas or polars frame, or a path) of one or many series; returns the forecaster itself.

        Of several targets each is a series, named by it, or ``id/target`` where the table has an id column.
        """
        learner = self.fresh()
        table, learner._restore = learner._read(df, id_col, time_col, target_col)
        panel = learner.learn_categories(learner.panel_to_learn(table))
        learner.fit_panel(panel)
        learner.history_ = _tail(panel, learner.history_steps())
        self.__dict__.update(vars(learner))  # only now: a fit that fails leaves what was fitted before
        return self

    def predict(self, df: Any = None, *, futr_df: Any = None, level: Sequence[float] | None = ()) -> Any:
        """The h steps after each series' last stamp: id, time, ``name`` and, per level, ``name-lo-80`` and ``name-hi-80``.

        ``df``: a table to forecast from, with series seen in training or not (default: the training data). ``futr_df``:
        id, time and the known-future columns of these h steps. The kind of frame that came in goes out.
        """
        levels = check_levels(level)
        panel, restore = self._history(df)
        if restore is as_it_is and df is None and futr_df is not None and not is_path(futr_df):
            restore = as_input(futr_df)[1]  # learned from a file, say: what is given ahead is the frame that came in
        warn_of_ended(panel, self.h)
        extended = extend_panel(panel, self.h, self._future_rows(panel, futr_df))
        origins = last_origins(extended, self.h)
        forecast = self.predict_origins(extended, origins, levels)
        result = self.forecast_frame(extended, origins, forecast).drop(columns=["cutoff", TARGET])
        return restore(self._rename(result))

    def cross_validation(
        self,
        df: Any,
        *,
        n_windows: int = 1,
        step_size: int | None = None,
        refit: bool | int = False,
        level: Sequence[float] | None = (),
        id_col: str = ID,
        time_col: str = TIME,
        target_col: str | Sequence[str] = TARGET,
    ) -> Any:
        """Rolling-origin forecasts beside the truth: id, time, cutoff, target, ``name`` and its intervals.

        The last of ``n_windows`` windows ends each series, the others start ``step_size`` (default h) steps earlier. The
        forecaster learns from what lies before the first cutoff; with ``refit`` true before every cutoff, with a number
        before every so many. Known-future columns are read from ``df`` itself. What was fitted before stays as it was.
        """
        learner = self.fresh()
        table, restore = learner._read(df, id_col, time_col, target_col)
        step = learner.h if step_size is None else step_size
        check_windows(n_windows, step)
        panel, levels = learner.panel_to_learn(table, rows_tested(learner.h, n_windows, step)), check_levels(level)
        rolled = roll(learner, panel, n_windows=n_windows, step_size=step, refit=refit, level=levels)
        return restore(learner._rename(rolled.frame))

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

    def panel_to_learn(self, table: pd.DataFrame, tested: int = 0) -> Panel:
        """The panel of a canonical table being learned from; static text stays text until a part of it is learned.

        The newest ``tested`` rows of every series are there to test on: which columns count as inputs is not theirs to say.
        """
        check_own(self.inputs, table)
        others = table.shape[1] > len((ID, TIME, TARGET))
        self.inputs = self.resolve_inputs(self._before(table, tested) if tested and others else table)
        panel = self._lay_out(table, self.freq).begun()
        warn_of_open_ends(panel, self.h)
        warn_of_closed_times(panel)
        return panel

    def _before(self, table: pd.DataFrame, tested: int) -> pd.DataFrame:
        """The rows of a table before the newest ``tested`` steps of every series; absent rows are steps, too."""
        grid = self._panel(table, self.freq)
        first = grid.times[np.maximum(grid.offsets[1:] - tested, grid.offsets[:-1])]
        owner = pd.Index(grid.ids).get_indexer(plain_ids(table[ID]))
        return table[grid.own_times(table[TIME]) < first[owner]]

    def learn_categories(self, panel: Panel) -> Panel:
        """A training part as ``fit_panel`` takes it, with the categories of its static columns learned."""
        self.categories_ = learn_categories(panel)
        return self.encoded(panel)

    def encoded(self, panel: Panel) -> Panel:
        """A panel with its static text as columns, one per learned category."""
        return encoded(panel, self.categories_ or {})

    def panel_like_history(self, table: pd.DataFrame) -> Panel:
        """The panel of another canonical table, with the frequency that was learned; refuses data of another one."""
        return self.encoded(self._like_history(table))

    def _like_history(self, table: pd.DataFrame) -> Panel:
        learned = self.freq if self.history_ is None else self.history_.freq
        if self.history_ is not None:
            check_kind(table[TIME], self.history_, "the table to forecast from")
            table = table.assign(**{TIME: self.history_.in_own_zone(table[TIME])})
        try:
            panel = self._lay_out(table, None)
        except DataError:  # too few stamps to tell, or gaps that hide the step
            return self._lay_out(table, learned)
        if learned is None or same_freq(panel.freq, learned):
            return panel
        if same_freq(
            unanchored(panel.freq), unanchored(learned)
        ):  # weeks of another weekday, quarters of another month
            return self._lay_out(table, unanchored(panel.freq))
        if panel.lengths.max() < 10:
            with contextlib.suppress(DataError):
                return self._lay_out(table, learned)
        # Of some of the series the step may look another than of all: weekdays are days with gaps, Mondays every seventh day.
        most = _SPARSE if self.freq is None else _SPARSE_IF_TOLD
        with contextlib.suppress(DataError):
            told = self._lay_out(table, learned)
            if len(told.times) <= most * len(panel.times):
                return told
        raise DataError(
            "other_frequency",
            expected=f"rows {learned} apart, as in training",
            got=f"rows {panel.freq} apart",
            where="the table to forecast from",
            fix="resample it, or fit on data of its frequency",
        )

    def table_panel(self, df: Any) -> tuple[Panel, Restore]:
        """The whole panel of a table like the one learned from, and what gives results the caller's kind of frame."""
        try:
            told = read_series(df, *self.columns, self.readings_)
        except DataError as error:
            raise self._as_learned(error) from error
        stamps = told.table[TIME]

        def restore(result: pd.DataFrame) -> Any:
            if pd.api.types.is_datetime64_any_dtype(stamps.dtype):
                times = [name for name, kind in result.dtypes.items() if pd.api.types.is_datetime64_any_dtype(kind)]
                result = result.assign(**{name: in_zone(result[name], stamps, panel.freq) for name in times})
            return told.restore(result)

        try:
            panel = self.panel_like_history(told.table)
        except DataError as error:
            raise self._as_learned(error) from error
        return panel, restore

    def _as_learned(self, error: DataError) -> DataError:
        """What is wrong with a later table, with what to do about it: its columns can not be named anew."""
        if error.code not in ("missing_columns", "no_target_column"):
            return error
        targets = (self.columns.target,) if isinstance(self.columns.target, str) else self.columns.target
        own = () if self.columns.id == ID and len(self.history_ or ()) < 2 else (self.columns.id,)
        names = (*own, self.columns.time, *targets, *self.inputs.futr, *self.inputs.hist, *self.inputs.stat)
        fix = f"give it the columns of the table that was learned from: {', '.join(map(repr, names))}"
        return DataError(error.code, expected=error.expected, got=error.got, where=error.where, fix=fix)

    def _read(
        self, df: Any, id_col: str, time_col: str, target_col: str | Sequence[str]
    ) -> tuple[pd.DataFrame, Restore]:
        """The canonical table of a frame or path, and how results get the caller's kind of frame back."""
        check_names((id_col, time_col, *([target_col] if isinstance(target_col, str) else ())), self.name)
        table, self.columns, restore = read_series(df, id_col, time_col, target_col)
        self.readings_ = dict(table.attrs.get(READINGS, {}))
        warn_of_guessed_targets(table, target_col)
        return table, restore

    def _lay_out(self, table: pd.DataFrame, freq: Freq | None) -> Panel:
        """The panel of a table; which static columns are text is seen when learning, and kept from then on."""
        futr, hist, static = self.inputs.futr, self.inputs.hist, self.inputs.stat
        text = text_columns(table, static) if self.categories_ is None else tuple(self.categories_)
        numbers = tuple(name for name in static if name not in text)
        panel = with_static(self._panel(table, freq, futr=(*futr, *numbers), hist=hist), numbers)
        return with_labels(panel, table, text)

    def _panel(self, table: pd.DataFrame, freq: Freq | None, **inputs: Sequence[str]) -> Panel:
        try:
            return make_panel(table, freq=freq, **inputs)  # type: ignore[arg-type]
        except DataError as error:
            raise error.renamed(self.columns.own()) from error

    def _history(self, df: Any) -> tuple[Panel, Restore]:
        if self.history_ is None:
            raise not_fitted(self.name)
        if df is None:
            return self.history_, self._restore
        panel, restore = self.table_panel(df)
        panel = _remembering(panel.begun(), self.history_)
        warn_of_open_ends(panel, self.h)
        steps = self.history_steps()
        warn_of_short_context(panel, self.history_, self.context_steps())
        return _tail(panel, None if steps is None else steps + self.rows_followed()), restore

    def _future_rows(self, panel: Panel, futr_df: Any) -> np.ndarray:
        """Known-future values of the h steps after each series, [N, h, K]; refuses what is missing."""
        known = self.inputs.futr
        rows = np.full((len(panel), self.h, panel.futr.shape[1]), np.nan)
        if not known or not self.reads_inputs:
            if futr_df is not None and self.reads_inputs:
                refuse_unread_future(futr_df, names=self.columns, h=self.h)
            return rows
        if futr_df is None:
            raise DataError(
                "missing_future",
                expected=f"futr_df with {', '.join(map(repr, known))} for the next {self.h} steps",
                got="none",
                where="predict",
                fix="pass futr_df (at the command line: --futr FILE)",
            )
        rows = known_ahead(panel, self.h, futr_df, names=self.columns, known=known, like=self.readings_)
        warn_of_odd_future(rows, panel, self.history_ or panel, known=known)
        return rows

    def _rename(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.rename(columns={ID: self.columns.id, TIME: self.columns.time, TARGET: self.columns.value})


def _remembering(panel: Panel, learned: Panel) -> Panel:
    """A table to forecast from, with how large and how low its series were in training, which a short one does not show."""
    place_N = pd.Index([id_text(name) for name in learned.ids]).get_indexer([id_text(name) for name in panel.ids])
    known_N = place_N >= 0
    if not known_N.any():
        return panel
    seen = np.isfinite(learned.target)
    size_N, low_N = (
        edge.reduceat(np.where(seen, value, empty), learned.offsets[:-1])
        for edge, value, empty in ((np.maximum, np.abs(learned.target), 0.0), (np.minimum, learned.target, np.inf))
    )
    size_N = size_N if learned.earlier is None else np.maximum(size_N, learned.earlier)
    low_N = low_N if learned.lowest is None else np.minimum(low_N, learned.lowest)
    earlier_N = np.zeros(len(panel)) if panel.earlier is None else panel.earlier.copy()
    lowest_N = np.full(len(panel), np.inf) if panel.lowest is None else panel.lowest.copy()
    earlier_N[known_N] = np.maximum(earlier_N[known_N], size_N[place_N[known_N]])
    lowest_N[known_N] = np.minimum(lowest_N[known_N], low_N[place_N[known_N]])
    return replace(panel, earlier=earlier_N, lowest=lowest_N)


def _tail(panel: Panel, steps: int | None) -> Panel:
    """The last ``steps`` rows of every series."""
    if steps is None:
        return panel
    left = np.repeat(panel.offsets[1:], panel.lengths) - np.arange(len(panel.times))
    return panel.keep_rows(left <= steps)
