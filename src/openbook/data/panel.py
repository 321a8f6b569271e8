"""All series of a table as a few flat arrays on a regular grid: the form every model and floor works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from openbook.data.conventions import STAYS_TEXT
from openbook.data.frequency import LOCAL_DAYS, SHIFTS, Freq, check_freq, future_times, infer_freq, regular_grid
from openbook.data.ids import plain_ids, tell_apart
from openbook.data.stamps import parse_stamps, stamp_text
from openbook.data.zones import are_same_days, meant, on_wall_clock, wall_times, zone_name
from openbook.errors import DataError, reserved_column

ID, TIME, TARGET = "unique_id", "ds", "y"
_MOST_ASKED = 10_000  # steps ahead that dates of two readings are compared with
_TELLING = 1_000  # rows that tell at which time of day days begin


@dataclass(frozen=True)
class Panel:
    """N series stacked into R rows; series n owns rows ``offsets[n]:offsets[n + 1]``, evenly spaced by ``freq``.

    Shapes: ``ids`` [N], ``offsets`` [N + 1], ``times`` [R] (datetime64 or int64), ``target`` [R], ``hist`` [R, P],
    ``futr`` [R, K]. Values are float64; NaN means *not observed* and is never scored.
    ``timezone`` is set when the table carried time zones: ``times`` are UTC then for steps below a day, and the wall
    clock of that zone for steps of a day and longer (a local day has 23 to 25 hours; its midnights stay midnights).
    ``stat`` [N, S]: the one value each series has in the columns ``static``; None without any. ``labels`` [N, L]: static text
    of each series (None: missing) in ``label_columns``, until it becomes static columns of 0 and 1. ``earlier`` [N]: the
    largest absolute target of rows that were cut off before the first one, for series that have been zero since, ``lowest``
    [N] the smallest target of these (infinity: none).
    """

    ids: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    target: np.ndarray
    hist: np.ndarray
    futr: np.ndarray
    freq: Freq
    hist_columns: tuple[str, ...] = ()
    futr_columns: tuple[str, ...] = ()
    timezone: str | None = None
    static: tuple[str, ...] = ()
    stat: np.ndarray | None = None
    label_columns: tuple[str, ...] = ()
    labels: np.ndarray | None = None
    earlier: np.ndarray | None = None
    lowest: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series, [N]."""
        return np.diff(self.offsets)

    @property
    def known_columns(self) -> tuple[str, ...]:
        """What is known ahead of every step: ``futr_columns``, then the static ones."""
        return (*self.futr_columns, *self.static)

    def rows(self, series: int) -> slice:
        """The rows of one series."""
        return slice(int(self.offsets[series]), int(self.offsets[series + 1]))

    def keep_rows(self, keep: np.ndarray) -> Panel:
        """The panel of the rows where ``keep`` [R] is true; series left without a row disappear.

        ``keep`` must leave each series one contiguous run (a head, a tail, a middle), or the grid would break.
        """
        owner = np.repeat(np.arange(len(self)), self.lengths)
        alive, counts = np.unique(owner[keep], return_counts=True)
        begun = np.cumsum(keep) - np.concatenate([[0], np.cumsum(keep)])[self.offsets[:-1]][owner] > 0
        earlier = np.zeros(len(self)) if self.earlier is None else self.earlier.copy()
        lowest = np.full(len(self), np.inf) if self.lowest is None else self.lowest.copy()
        cut = np.where(np.isfinite(self.target), self.target, np.nan)[~begun]
        np.maximum.at(earlier, owner[~begun], np.nan_to_num(np.abs(cut)))
        np.minimum.at(lowest, owner[~begun], np.nan_to_num(cut, nan=np.inf))
        return replace(
            self,
            ids=self.ids[alive],
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            times=self.times[keep],
            target=self.target[keep],
            hist=self.hist[keep],
            futr=self.futr[keep],
            stat=None if self.stat is None else self.stat[alive],
            labels=None if self.labels is None else self.labels[alive],
            earlier=earlier[alive],
            lowest=lowest[alive],
        )

    def until(self, ends: np.ndarray) -> Panel:
        """Each series cut to its first ``ends[n]`` rows (a training part of a rolling origin)."""
        position = np.arange(len(self.times)) - np.repeat(self.offsets[:-1], self.lengths)
        return self.keep_rows(position < np.repeat(ends, self.lengths))

    def begun(self) -> Panel:
        """Each series from its first value on: rows before it are no history, whatever inputs they hold.

        Series without any value stay as they are.
        """
        seen = np.concatenate([[0], np.cumsum(np.isfinite(self.target))])
        before, after = (np.repeat(seen[edge], self.lengths) for edge in (self.offsets[:-1], self.offsets[1:]))
        keep = (seen[1:] > before) | (after == before)
        return self if keep.all() else self.keep_rows(keep)

    def observed_span(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows of each series' first and last value, [N] each; where it has none that behind it and that before it."""
        seen = np.flatnonzero(np.isfinite(self.target))
        first, last = np.searchsorted(seen, self.offsets[:-1]), np.searchsorted(seen, self.offsets[1:]) - 1
        some, row = last >= first, np.append(seen, -1)
        return np.where(some, row[first], self.offsets[1:]), np.where(some, row[last], self.offsets[:-1] - 1)

    def future(self, h: int) -> np.ndarray:
        """The h stamps that follow each series, [N, h]."""
        return future_times(self.times[self.offsets[1:] - 1], self.freq, h)

    def wall_clock(self) -> np.ndarray:
        """The stamps [R] as a clock on the wall shows them, without time zone: what calendars are made of."""
        if self.timezone is None:
            return self.times
        return self.local_times(self.times).dt.tz_localize(None).to_numpy()

    def local_times(self, times: np.ndarray) -> pd.Series:
        """Stamps as the user wrote them: back in his time zone where he gave one."""
        series = pd.Series(times)
        if self.timezone is None:
            return series
        if on_wall_clock(self.freq):
            first = np.ones(len(series), bool)  # a wall time that happens twice means its first occurrence
            return series.dt.tz_localize(self.timezone, ambiguous=first, nonexistent="shift_forward")
        return series.dt.tz_localize("UTC").dt.tz_convert(self.timezone)

    def own_times(self, stamps: pd.Series) -> np.ndarray:
        """Stamps of another table (known-future inputs) on this panel's clock, comparable with ``times`` and ``future``.

        Raises ``DataError`` (``time_zone_mismatch``) where only one of the two tables names time zones.
        """
        parsed = self.in_own_zone(self._parsed(stamps))
        if np.issubdtype(self.times.dtype, np.integer):
            return parsed.fillna(np.iinfo(np.int64).min).to_numpy(np.int64)  # an empty stamp is none of the asked ones
        if self.timezone is not None:
            if on_wall_clock(self.freq):
                clock = pd.Series(self.times) - pd.Series(self.times).dt.normalize()
                parsed = meant(parsed, clock.mode().iloc[0])
            else:
                parsed = parsed.dt.tz_convert("UTC").dt.tz_localize(None)
        return parsed.to_numpy("datetime64[ns]")

    def _parsed(self, stamps: pd.Series) -> pd.Series:
        """Stamps of another table, read as days first or months first where only what is asked for can tell."""
        where = f"column {stamps.name!r}"
        try:
            return parse_stamps(stamps, where)[0]
        except DataError as error:
            if error.code != "ambiguous_dates" or isinstance(self.freq, int):
                raise
            last = np.unique(self.times[self.offsets[1:] - 1])
            asked = future_times(last, self.freq, min(stamps.nunique(), _MOST_ASKED))
            readings = [parse_stamps(stamps, where, day_first=first)[0] for first in (True, False)]
            hits = [int(np.isin(reading.to_numpy("datetime64[ns]"), asked).sum()) for reading in readings]
            if hits[0] == hits[1]:
                raise
            return readings[int(hits[1] > hits[0])]

    def in_own_zone(self, stamps: pd.Series) -> pd.Series:
        """Parsed stamps of another table in this panel's time zone: the same instants, so that calendars mean the same.

        Days and longer steps of tables that name mere offsets are those of the local clock, whatever its offset.
        Raises ``DataError`` (``time_zone_mismatch``) where only one of the two tables names time zones.
        """
        if (
            on_wall_clock(self.freq)
            and pd.api.types.is_datetime64_any_dtype(stamps.dtype)
            and are_same_days(stamps, self.local_times(self.times[-_TELLING:]))
        ):
            return stamps.dt.tz_localize(None).dt.tz_localize(self.timezone)
        if isinstance(stamps.dtype, pd.DatetimeTZDtype) != (self.timezone is not None):
            raise DataError(
                "time_zone_mismatch",
                expected=f"stamps {'without time zone' if self.timezone is None else f'in time zone {self.timezone}'}",
                got=f"{stamps.dtype}",
                where=f"column {stamps.name!r}",
                fix="give both tables the same time zone (ds.dt.tz_localize, ds.dt.tz_convert)",
            )
        return stamps if self.timezone is None else stamps.dt.tz_convert(self.timezone)


def make_panel(
    frame: pd.DataFrame,
    *,
    futr: Sequence[str] = (),
    hist: Sequence[str] = (),
    freq: Freq | None = None,
    require_target: bool = True,
) -> Panel:
    """Build the panel of a long frame with columns ``unique_id, ds, y`` and the named input columns.

    Unsorted rows, unequal lengths and gaps are handled (gaps become rows of NaN); identical duplicate rows are dropped.
    Raises ``DataError`` for: an empty frame, missing columns, missing stamps, duplicate stamps with different values,
    non-numeric or infinite values, stamps off the frequency's grid.

    >>> frame = pd.DataFrame({"unique_id": "a", "ds": [3, 1, 2], "y": [30.0, 10.0, 20.0]})
    >>> make_panel(frame).target
    array([10., 20., 30.])
    """
    _check_roles(hist, futr)
    values = list(dict.fromkeys([*([TARGET] if require_target else []), *hist, *futr]))
    _check_columns(frame, [ID, TIME, *values])
    whole = frame
    frame, timezone, freq = _plain_times(frame[[ID, TIME, *values]].reset_index(drop=True), freq)
    utc_of = None if timezone is None or freq is None or on_wall_clock(freq) else timezone
    for column in values:
        frame[column] = _numbers(frame, column, utc_of)
    frame = _without_duplicates(frame.sort_values([ID, TIME], kind="stable"), values, whole, utc_of)
    if freq is None:
        freq = infer_freq(frame[ID], frame[TIME])
    frame = regular_grid(frame, freq, ID, TIME, utc_of, hint=SHIFTS if utc_of else LOCAL_DAYS if timezone else "")
    names = frame[ID].to_numpy()
    first = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))
    return Panel(
        ids=names[first],
        offsets=np.append(first, len(frame)).astype(np.int64),
        times=frame[TIME].to_numpy(),
        target=frame[TARGET].to_numpy(np.float64) if require_target else np.full(len(frame), np.nan),
        hist=frame[list(hist)].to_numpy(np.float64).reshape(len(frame), len(hist)),
        futr=frame[list(futr)].to_numpy(np.float64).reshape(len(frame), len(futr)),
        freq=freq,
        hist_columns=tuple(hist),
        futr_columns=tuple(futr),
        timezone=timezone,
    )


def _check_roles(hist: Sequence[str], futr: Sequence[str]) -> None:
    for column in (*hist, *futr):
        if column in (ID, TIME, TARGET):
            raise reserved_column(column)


def _check_columns(frame: pd.DataFrame, needed: Sequence[str]) -> None:
    absent = [column for column in needed if column not in frame.columns]
    if absent:
        raise DataError(
            "missing_columns",
            expected=f"columns {', '.join(map(repr, needed))}",
            got=f"no {', '.join(map(repr, absent))} among {', '.join(map(repr, frame.columns))}",
            where="table header",
            fix="rename the columns or name them with id_col, time_col, target_col and the exogenous lists",
        )
    twice = [column for column in needed if (frame.columns == column).sum() > 1]
    if twice:
        raise DataError(
            "duplicate_columns",
            expected="every column name once",
            got=f"{twice[0]!r} {int((frame.columns == twice[0]).sum())} times",
            where="table header",
            fix="rename or drop one of them",
        )
    if frame.empty:
        raise DataError(
            "empty_table", expected="at least one row", got="no rows", where="table", fix="check the file or the filter"
        )


def _plain_times(frame: pd.DataFrame, freq: Freq | None) -> tuple[pd.DataFrame, str | None, Freq | None]:
    """Stamps without time zone (see ``Panel.timezone``), ids as plain sortable values, the checked frequency."""
    stamps, _ = parse_stamps(frame[TIME], f"column {TIME!r}")
    for column, empty, code, wanted in (
        (TIME, stamps.isna(), "missing_stamps", "a stamp"),
        (ID, frame[ID].isna(), "missing_ids", "an id"),
    ):
        if empty.any():
            row = int(np.flatnonzero(empty)[0])
            raise DataError(
                code,
                expected=f"{wanted} in every row",
                got=f"{int(empty.sum())} empty one(s)",
                where=f"column {column!r}, row {row}"
                + (f" of series {frame[ID].iloc[row]!r}" if column == TIME else ""),
                fix="fill or drop these rows",
            )
    frame = frame.assign(**{TIME: stamps, ID: plain_ids(frame[ID])})
    if freq is not None:
        freq = check_freq(freq, dated=not pd.api.types.is_integer_dtype(stamps.dtype))
    if not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        plain = stamps if pd.api.types.is_integer_dtype(stamps.dtype) else stamps.astype("datetime64[ns]")
        return frame.assign(**{TIME: plain}), None, freq
    zone = zone_name(stamps)
    wall = frame.assign(**{TIME: wall_times(frame[ID], stamps.dt.tz_convert(zone)).astype("datetime64[ns]")})
    if freq is None:
        ordered = wall.sort_values([ID, TIME], kind="stable")
        freq = infer_freq(ordered[ID], ordered[TIME])
    if on_wall_clock(freq):
        return wall, zone, freq
    utc = stamps.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[ns]")
    return frame.assign(**{TIME: utc}), zone, freq


def _numbers(frame: pd.DataFrame, column: str, utc_of: str | None) -> pd.Series:
    """One column as float64, NaN for missing; refuses text, dates and infinities with the place they stand."""
    numbers, wrong = as_numbers(frame[column])
    infinite = not wrong.any()
    if infinite:
        wrong = np.isinf(numbers)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        value = frame[column].iloc[row]
        raise DataError(
            "infinite_values" if infinite else "non_numeric",
            expected="finite numbers" if infinite else "numbers",
            got=f"{repr(value) if isinstance(value, str) else value} in {int(wrong.sum())} row(s)",
            where=f"column {column!r}, series {frame[ID].iloc[row]!r}, {stamp_text(frame[TIME].iloc[row], utc_of)}",
            fix="leave the cell empty where the value is unknown" if infinite else how_to_convert(frame[column]),
        )
    return numbers


def as_numbers(raw: pd.Series) -> tuple[pd.Series, pd.Series]:
    """One column as float64 (NaN for missing and for blank text), and where it holds what is no number.

    All of a column is none that a file's number convention left as text, see ``conventions.STAYS_TEXT``.

    >>> as_numbers(pd.Series(["1.5", "", "many"]))[1].tolist()
    [False, False, True]
    """
    plain = pd.api.types.is_numeric_dtype(raw.dtype) or pd.api.types.is_bool_dtype(
        raw.dtype
    )  # also truth values of Arrow
    if plain and not isinstance(raw.dtype, pd.CategoricalDtype) and not pd.api.types.is_complex_dtype(raw.dtype):
        return raw.astype("float64"), pd.Series(False, index=raw.index)
    if isinstance(raw.dtype, pd.CategoricalDtype):
        return as_numbers(without_categories(raw))
    if raw.dtype == object or pd.api.types.is_string_dtype(raw.dtype):
        text = raw.astype(object)
        text = text.where(~text.map(lambda value: isinstance(value, str) and not value.strip()), None)
        if raw.name in raw.attrs.get(STAYS_TEXT, ()):
            return pd.Series(np.nan, index=raw.index), text.notna()
        numbers = pd.to_numeric(text, errors="coerce").astype("float64")
        return numbers, numbers.isna() & text.notna()
    return pd.Series(np.nan, index=raw.index), raw.notna()


def without_categories(column: pd.Series) -> pd.Series:
    """A categorical column as what its categories are; as Python objects where cells are empty.

    >>> without_categories(pd.Series(pd.Categorical([1, None]))).tolist()
    [1, nan]
    """
    plain = column.cat.categories.dtype
    return column.astype(object if column.isna().any() or not len(column.cat.categories) else plain)


def how_to_convert(column: pd.Series) -> str:
    """What to do about a column that holds no numbers."""
    why = column.attrs.get(STAYS_TEXT, {}).get(column.name)
    return (f"in the file {why}: " if why else "") + "convert the column or leave it out"


def _without_duplicates(
    frame: pd.DataFrame, values: Sequence[str], whole: pd.DataFrame, utc_of: str | None
) -> pd.DataFrame:
    """Each row once; refuses stamps with different values. ``whole``: the table with its columns of no role, too."""
    if not frame.duplicated([ID, TIME]).any():  # as it is as a rule: the values need not be compared
        return frame
    frame = frame.drop_duplicates([ID, TIME, *values])
    twice = frame.duplicated([ID, TIME])
    if twice.any():
        first = frame[twice].iloc[0]
        raise DataError(
            "duplicate_stamps",
            expected="one row per series and stamp",
            got=f"{int(twice.sum())} stamp(s) with different values",
            where=f"series {first[ID]!r}, {stamp_text(first[TIME], utc_of)}",
            fix=tell_apart(whole, ID, [ID, TIME], [TARGET])
            or "aggregate or drop the duplicates; for local clock times in autumn give time zones or use UTC",
        )
    return frame
