"""Frequencies: inferring them from stamps, laying series on their grid, walking into the future, seasons."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import pandas as pd

from openbook.data.stamps import stamp_text
from openbook.errors import DataError, UsageError

Freq = str | int

_DAY = 86_400
_DAY_NS = _DAY * 10**9
# Length of one season in steps, by length of a step in seconds: the usual first cycle of a business or physical series.
_SEASONS = [(60, 60), (3_599, _DAY), (_DAY - 1, _DAY), (_DAY * 6, 7 * _DAY)]
_NEARLY, _EXACT = 0.02, 1e-6  # of a cycle that steps may leave out, and of several
_CYCLES = range(2, 15)  # after which steps may fall on the same places again
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
# Names that pandas gave up in 2.2 and users still type.
_RENAMED = {
    "H": "h",
    "T": "min",
    "S": "s",
    "L": "ms",
    "U": "us",
    "M": "ME",
    "Q": "QE",
    "Y": "YE",
    "A": "YE",
    "AS": "YS",
}
# What stamps that do not fit may have come from, beside what else to do about it.
SHIFTS = "; stamps that keep their local clock when clocks change fit without zone (ds.dt.tz_localize(None))"
LOCAL_DAYS = "; days that begin at midnight of another zone fit in that zone (ds.dt.tz_convert('Europe/Berlin'))"
# A grid this many times longer than its table, and longer than a million rows, comes from a wrong stamp or frequency.
_MAX_GROWTH, _MAX_FREE_ROWS = 20, 1_000_000


def check_freq(freq: Freq, *, dated: bool) -> Freq:
    """A frequency given by the user in the spelling pandas knows today; ``dated`` says whether stamps are dates.

    Raises ``UsageError`` (``bad_frequency``) for unknown names, steps below one, dates with a whole number and whole
    numbers with a name.

    >>> check_freq("H", dated=True), check_freq("2", dated=False)
    ('h', 2)
    """
    text = str(getattr(freq, "freqstr", freq))
    if not dated and re.fullmatch(r"\d+", text) and int(text) > 0:
        return int(text)
    got = f"{freq!r}" if dated else f"{freq!r} for whole-number stamps"
    if dated and not isinstance(freq, int) and not re.fullmatch(r"\d+", text):
        parts = re.fullmatch(r"(\d*)([A-Z]+)(-[A-Z]{3})?", text)
        if parts and parts[2] in _RENAMED:
            text = f"{parts[1]}{_RENAMED[parts[2]]}{parts[3] or ''}"
        try:
            if pd.tseries.frequencies.to_offset(text).n > 0:
                return text
        except (ValueError, AttributeError) as error:
            got = f"{freq!r} ({str(error).split(',')[0]})"
    raise UsageError(
        "bad_frequency",
        expected="a frequency such as 'h', '30min', 'D', 'MS'" if dated else "a whole number of steps above zero",
        got=got,
        where="freq",
        fix="pass a frequency that fits the stamps, or none to infer it",
    )


def same_freq(one: Freq, other: Freq) -> bool:
    """Whether two frequencies step alike: other names of one step are the same, a day is 24 hours.

    Raises ``UsageError`` (``bad_frequency``) for unknown names.

    >>> same_freq("H", "60min"), same_freq("D", "24h"), same_freq("W", "W-SUN"), same_freq("MS", "ME")
    (True, True, True, False)
    """
    if any(isinstance(freq, int) or str(freq).isdigit() for freq in (one, other)):
        return str(one) == str(other)
    first, second = (pd.tseries.frequencies.to_offset(check_freq(freq, dated=True)) for freq in (one, other))
    length = tick_ns(first)
    if length is not None:
        return length == tick_ns(second)
    if type(first) is type(second) and first.n == second.n == 1 and hasattr(first, "startingMonth"):
        # Quarters from January, April, July and October are the same ones.
        return bool((first.startingMonth - second.startingMonth) % 3 == 0)
    return bool(first == second)


def unanchored(freq: Freq) -> Freq:
    """A step without the weekday or the month it is counted from: series that differ in these alone step alike.

    >>> unanchored("W-MON"), unanchored("2QS-FEB"), unanchored("YE-JUN"), unanchored("h")
    ('7D', '6MS', '12ME', 'h')
    """
    parts = None if isinstance(freq, int) else re.fullmatch(r"(\d*)(W|QS|QE|YS|YE)(?:-[A-Z]{3})?", freq)
    if parts is None:
        return freq
    times = int(parts[1] or 1)
    return f"{7 * times}D" if parts[2] == "W" else f"{ {'Q': 3, 'Y': 12}[parts[2][0]] * times }M{parts[2][1]}"


def infer_freq(ids: pd.Series, times: pd.Series) -> Freq:
    """The frequency of stamps sorted within one or many series: their most common step, a calendar step where it is one.

    Series too short to show a frequency of their own follow the others; gaps do not matter.
    Raises ``DataError`` where no series has two stamps, where series step differently and where no step prevails.

    >>> infer_freq(pd.Series(["a"] * 3), pd.Series(pd.to_datetime(["2024-01-01", "2024-02-01", "2024-03-01"])))
    'MS'
    """
    owners, stamps = ids.to_numpy(), times.to_numpy()
    dated = np.issubdtype(stamps.dtype, np.datetime64)
    numbers = stamps.astype("datetime64[ns]").astype(np.int64) if dated else stamps.astype(np.int64)
    steps = np.diff(numbers)
    use = (owners[1:] == owners[:-1]) & (steps > 0)
    if not use.any():
        raise DataError(
            "one_point_per_series",
            expected="at least two stamps in some series",
            got=f"{len(ids)} row(s) in {ids.nunique()} series",
            where=f"first series {ids.iloc[0]!r}" if len(ids) else "table",
            fix="check id_col, or pass freq",
        )
    steps, owners = steps[use], owners[1:][use]
    step = _prevailing_step(owners, steps, dated)
    if not dated:
        return step
    return _alias(pd.DatetimeIndex(np.unique(stamps)), steps, step)


def _prevailing_step(owners: np.ndarray, steps: np.ndarray, dated: bool) -> int:
    """The most common step of all; refuses series that clearly keep another one, and stamps that keep none."""
    table = pd.DataFrame({"owner": owners, "step": steps})
    counted = table.groupby(["owner", "step"], sort=True).size().reset_index(name="n")
    overall = counted.groupby("step")["n"].sum()
    step = int(overall.idxmax())
    # Stable: among equally common steps the smallest one.
    modes = counted.sort_values("n", ascending=False, kind="stable").drop_duplicates("owner")
    total = counted.groupby("owner")["n"].sum()
    clear = modes[(modes["n"] >= 5) & (modes["n"] > 0.5 * modes["owner"].map(total))]
    other = clear[clear["step"].map(lambda found: _kind(found, dated) != _kind(step, dated))]
    if not other.empty:
        holder = owners[int(np.argmax(steps == step))]
        raise DataError(
            "mixed_frequencies",
            expected="one frequency for all series",
            got=f"steps of {_spell(step, dated)} and {_spell(int(other['step'].iloc[0]), dated)}",
            where=f"series {holder!r} and {other['owner'].iloc[0]!r}",
            fix="use one table per frequency, or pass freq",
        )
    fitting = (steps % step == 0) | (_is_calendar(steps) if dated and _is_calendar(np.array([step])).any() else False)
    if np.mean(fitting) < 0.5:
        raise DataError(
            "no_frequency",
            expected="stamps at a regular step",
            got=f"{overall.size} different steps, of which {_spell(step, dated)} fits {np.mean(fitting):.0%} of the rows",
            where=f"series {owners[0]!r} and others" if len(total) > 1 else f"series {owners[0]!r}",
            fix="resample the table to a regular step (df.resample), or pass freq",
        )
    return step


def _is_calendar(steps: np.ndarray) -> np.ndarray:
    """Steps of 28 days and more may be months, which have no fixed length."""
    return steps >= 28 * _DAY_NS


def _kind(step: int, dated: bool) -> object:
    days = step / _DAY_NS
    for low, high, name in ((28, 31, "a month"), (89, 92, "a quarter"), (365, 366, "a year")):
        if dated and low <= days <= high:
            return name
    return step


def _spell(step: int, dated: bool) -> str:
    kind = _kind(step, dated)
    return kind if isinstance(kind, str) else str(pd.Timedelta(step)) if dated else str(step)


def _alias(times: pd.DatetimeIndex, steps: np.ndarray, step: int) -> str:
    """The pandas name of a step: calendar names where the stamps stand on calendar days, lengths elsewhere."""
    days, rest = divmod(step, _DAY_NS)
    if rest:
        return str(pd.tseries.frequencies.to_offset(pd.Timedelta(step)).freqstr)
    if days >= 28 and ((times.day == 1).all() or times.is_month_end.all() or (steps % step != 0).any()):
        return _month_alias(times, round(days / 30.4))
    if days == 7 and (times.day_of_week == times.day_of_week[0]).all():
        return f"W-{_WEEKDAYS[times.day_of_week[0]]}"
    if days == 1 and len(times) > 9 and not (times.day_of_week >= 5).any() and (steps == 3 * _DAY_NS).any():
        return "B"
    return "D" if days == 1 else f"{days}D"


def _month_alias(times: pd.DatetimeIndex, months: int) -> str:
    for name, on_day in (("S", times.day == 1), ("E", times.is_month_end)):
        if on_day.all():
            anchor = _MONTHS[times[0].month - 1]
            if ((times.month - times[0].month) % months).any():  # quarters of several fiscal years
                return f"{months}M{name}"
            return {1: f"M{name}", 3: f"Q{name}-{anchor}", 12: f"Y{name}-{anchor}"}.get(months, f"{months}M{name}")
    for name, business in (("BMS", pd.offsets.BMonthBegin()), ("BME", pd.offsets.BMonthEnd())):
        if all(business.is_on_offset(stamp) for stamp in times):
            return name if months == 1 else f"{months}{name}"
    raise DataError(
        "no_frequency",
        expected="monthly stamps on the first or the last day of a month",
        got=f"steps of about {months} month(s) on other days, such as {times[0]}",
        where="time column",
        fix="move every stamp to the first of its month: ds.dt.to_period('M').dt.to_timestamp()",
    )


class _Grid(NamedTuple):
    """Where R rows stand on the grid of their series: ``place`` [R], -1 between grid points, and the way back to stamps."""

    place: np.ndarray
    sizes: np.ndarray
    first: np.ndarray
    owner: np.ndarray
    table: np.ndarray | None
    step: int


def regular_grid(
    frame: pd.DataFrame, freq: Freq, id_col: str, time_col: str, zone: str | None = None, *, hint: str = ""
) -> pd.DataFrame:
    """Every series on its full grid from its first to its last stamp, new rows NaN, sorted by series and time.

    Stamps of a series must be unique. Each series keeps its own phase (one may read at :00, another at :30). ``zone``: the
    time zone to name stamps in, where they are UTC; ``hint``: what else may help stamps that do not fit.
    Raises ``DataError`` for stamps between grid points and for grids that would be almost only gaps.

    >>> frame = pd.DataFrame({"unique_id": "a", "ds": [1, 5, 3, 9], "y": [1.0, 5.0, 3.0, 9.0]})
    >>> regular_grid(frame, 2, "unique_id", "ds")["y"].tolist()
    [1.0, 3.0, 5.0, nan, 9.0]
    """
    freq = check_freq(freq, dated=np.issubdtype(frame[time_col].dtype, np.datetime64))
    ids, times = frame[id_col].to_numpy(), frame[time_col].to_numpy()
    same = ids[1:] == ids[:-1]
    if (same & (times[1:] < times[:-1])).any() or int((~same).sum()) + 1 > frame[id_col].nunique():
        frame = frame.sort_values([id_col, time_col], kind="stable")
        ids, times = frame[id_col].to_numpy(), frame[time_col].to_numpy()
    grid = _lay(ids, times, freq)
    off = grid.place < 0
    if off.any():
        row, usual = int(np.flatnonzero(off)[0]), _fitting(frame[id_col], frame[time_col]) if off.mean() > 0.5 else None
        other = f"pass freq={usual!r}, or none to infer it"
        raise DataError(
            "mixed_frequencies",
            expected=f"stamps {freq} apart within a series",
            got=f"{int(off.sum())} stamp(s) between the grid points",
            where=f"series {ids[row]!r}, {stamp_text(times[row], zone)}",
            fix=other if usual else "round the stamps, resample the table, or pass the finer freq" + hint,
        )
    total = int(grid.sizes.sum())
    if total > _MAX_FREE_ROWS and total > _MAX_GROWTH * len(frame):
        worst = int(np.argmax(grid.sizes))
        raise DataError(
            "mostly_gaps",
            expected=f"stamps that fill a good part of a grid with step {freq}",
            got=f"{len(frame)} row(s) for {total} grid points",
            where=f"series {ids[grid.first[worst]]!r}, from {stamp_text(times[grid.first[worst]], zone)}",
            fix="look for a wrong first or last stamp, or pass a coarser freq",
        )
    offsets = np.concatenate([[0], np.cumsum(grid.sizes)]).astype(np.int64)
    source = np.full(total, -1, np.int64)
    source[offsets[grid.owner] + grid.place] = np.arange(len(frame))
    steps = np.arange(total) - np.repeat(offsets[:-1], grid.sizes)
    full = frame.reset_index(drop=True).reindex(source).reset_index(drop=True)
    stamps = _stamps(grid, times, steps)
    return full.assign(**{id_col: np.repeat(ids[grid.first], grid.sizes), time_col: stamps})[list(frame.columns)]


def _fitting(ids: pd.Series, times: pd.Series) -> Freq | None:
    """The frequency that sorted stamps have by themselves, None where they do not lie on it either."""
    try:
        own = infer_freq(ids, times)
    except DataError:
        return None
    return own if (_lay(ids.to_numpy(), times.to_numpy(), own).place >= 0).all() else None


def grid_gaps(ids: np.ndarray, times: np.ndarray, freq: Freq) -> tuple[np.ndarray, np.ndarray]:
    """Absent grid points just before each of R sorted rows [R], and whether the row stands on its grid [R].

    >>> grid_gaps(np.array(["a", "a", "a"]), np.array([1, 2, 5]), 1)[0]
    array([0, 0, 2])
    """
    grid = _lay(ids, times, freq)
    known = grid.place >= 0
    last = np.maximum.accumulate(np.where(known, grid.place, 0) + grid.owner * (grid.place.max(initial=0) + 2))
    before = np.diff(last, prepend=last[:1]) - 1
    inside = np.concatenate([[False], grid.owner[1:] == grid.owner[:-1]]) if len(ids) else known
    return np.where(inside & known, np.maximum(before, 0), 0), known


def _lay(ids: np.ndarray, times: np.ndarray, freq: Freq) -> _Grid:
    new = np.concatenate([[True], ids[1:] != ids[:-1]])
    first, owner = np.flatnonzero(new), np.cumsum(new) - 1
    table: np.ndarray | None = None
    if isinstance(freq, int):
        step, places = freq, times.astype(np.int64)
    else:
        offset = pd.tseries.frequencies.to_offset(freq)
        length = tick_ns(offset)
        if length is not None:
            step, places = length, times.astype("datetime64[ns]").astype(np.int64)
        else:
            # Months, weeks, business days: places are counted on a table of single steps that covers all series.
            step, single = int(offset.n), offset.base
            index = pd.date_range(single.rollback(pd.Timestamp(times.min())), pd.Timestamp(times.max()), freq=single)
            places, table = index.get_indexer(pd.DatetimeIndex(times)), index.to_numpy("datetime64[ns]")
    delta = places - places[first][owner]
    off = delta % step != 0
    if table is not None:
        off |= places < 0
    place = np.where(off, -1, delta // step)
    sizes = np.maximum.reduceat(place, first) + 1
    return _Grid(place, np.maximum(sizes, 1), first, owner, table, step)


def _stamps(grid: _Grid, times: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The stamps of all grid points, [sum of sizes]."""
    begin = np.repeat(times[grid.first], grid.sizes)
    if grid.table is not None:
        return grid.table[np.searchsorted(grid.table, begin) + steps * grid.step]
    if np.issubdtype(times.dtype, np.datetime64):
        return begin + (steps * grid.step).astype("timedelta64[ns]")
    return begin + steps * grid.step


def tick_ns(offset: pd.offsets.BaseOffset) -> int | None:
    """Length of an offset in nanoseconds, None where it depends on the calendar."""
    if type(offset).__name__ == "Day":
        return int(offset.n) * _DAY_NS
    return int(pd.Timedelta(offset).value) if isinstance(offset, pd.tseries.offsets.Tick) else None


def future_times(last: np.ndarray, freq: Freq, h: int) -> np.ndarray:
    """The h stamps after each of N last stamps, [N, h].

    >>> future_times(np.array([5, 7]), 1, 2)
    array([[6, 7],
           [8, 9]])
    """
    steps = np.arange(1, h + 1)
    if isinstance(freq, int):
        return np.asarray(last)[:, None] + steps * freq
    offset = pd.tseries.frequencies.to_offset(freq)
    length = tick_ns(offset)
    days = np.asarray(last, "datetime64[ns]")
    if length is not None:
        return days[:, None] + steps * np.timedelta64(length, "ns")
    unique, inverse = np.unique(days, return_inverse=True)
    ahead = (pd.date_range(day, periods=h + 1, freq=offset) for day in unique)
    table = [rows[rows > day][:h].to_numpy("datetime64[ns]") for day, rows in zip(unique, ahead, strict=True)]
    return np.stack(table)[inverse] if table else np.empty((0, h), "datetime64[ns]")


def step_seconds(freq: Freq) -> float | None:
    """Length of one step in seconds (months as 1/12 year); None for whole-number time."""
    if isinstance(freq, int):
        return None
    offset = pd.tseries.frequencies.to_offset(freq)
    start = offset.rollforward(pd.Timestamp("2001-01-01"))
    return (start + 12 * offset - start).total_seconds() / 12


def season_length(freq: Freq) -> int:
    """The first season of a frequency, in steps: a day for sub-daily data, a week for days, a year for weeks and longer.

    1 where the frequency tells none: of whole-number time and of steps below a second.
    Of steps that do not nearly divide a day or a week, as many days or weeks as they divide: of every second day a fortnight.

    >>> [season_length(freq) for freq in ("30min", "h", "D", "B", "2B", "W", "MS", "QS", 1, "10ms", "2D", "5h")]
    [48, 24, 7, 5, 5, 52, 12, 4, 1, 1, 7, 24]
    """
    seconds = step_seconds(freq)
    if seconds is None or seconds < 1:
        return 1
    if re.fullmatch(r"\d*B", str(freq)) and int(str(freq)[:-1] or 1) % 5:
        return 5
    for limit, season in _SEASONS:
        if seconds < limit:
            one, several = season / seconds, (times * season / seconds for times in _CYCLES)
            if abs(one - round(one)) <= _NEARLY * one:
                return max(1, round(one))
            return max(1, round(next((steps for steps in several if abs(steps - round(steps)) < _EXACT), one)))
    return max(1, round(365.25 * _DAY / seconds)) if seconds < 360 * _DAY else 1
