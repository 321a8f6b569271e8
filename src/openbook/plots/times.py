"""Stamps and distances in time in words: 'Tue 13 May 14:00', '3 days before'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

_SECOND = 10**9  # lengths are counted in nanoseconds
_LENGTHS = {
    "nanosecond": 1,
    "microsecond": _SECOND // 10**6,
    "millisecond": _SECOND // 10**3,
    "second": _SECOND,
    "minute": 60 * _SECOND,
    "hour": 3_600 * _SECOND,
    "day": 86_400 * _SECOND,
    "week": 7 * 86_400 * _SECOND,
}
_BUSINESS = "business day"  # has no length: weekends lie between some of them
_DIGITS = {"second": 0, "millisecond": 3, "microsecond": 6, "nanosecond": 6}  # of a second in labels
# What pandas calls steps of the calendar, without their anchor.
_NAMES = {
    "week": ("W",),
    "month": ("MS", "ME", "BMS", "BME"),
    "quarter": ("QS", "QE", "BQS", "BQE"),
    "year": ("YS", "YE", "BYS", "BYE"),
}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
# Distances worth a tick, in the unit itself; beyond the last they double.
_ROUND = {
    "nanosecond": (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
    "microsecond": (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
    "millisecond": (1, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 60_000),
    "second": (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 6 * 3_600, 86_400),
    "minute": (1, 5, 15, 30, 60, 180, 360, 1_440, 2 * 1_440, 7 * 1_440),
    "hour": (1, 3, 6, 24, 48, 7 * 24),
    "day": (1, 7, 14, 28),
    _BUSINESS: (1, 5, 10, 20),
    "week": (1, 2, 4, 13, 26, 52),
    "month": (1, 3, 6, 12),
    "quarter": (1, 2, 4),
    "year": (1, 2, 5, 10),
    "step": (1, 2, 5, 10, 20, 50, 100),
}


@dataclass(frozen=True)
class Clock:
    """How a data set counts time: the unit of its step, how many units a step has, whether labels need the year.

    Whole-number stamps have the unit 'step', and ``multiple`` tells by how much they grow from one row to the next.
    """

    unit: str
    multiple: int = 1
    with_year: bool = False

    @property
    def per(self) -> str:
        """'hour', '30 minutes': what one forecast value stands for."""
        return self.unit if self.units == 1 else f"{self.units} {self.unit}s"

    @property
    def units(self) -> int:
        """How many units a step is told as: one of whole-number stamps, whatever they grow by."""
        return 1 if self.unit == "step" else self.multiple

    @property
    def noun(self) -> str:
        """'hour', 'time step': what one stamp is called."""
        return self.unit if self.units == 1 and self.unit != "step" else "time step"


def clock_of(stamps: pd.Series, freq: object = None) -> Clock:
    """The clock of a column of stamps: of their frequency where it is told, else of the most common distance of neighbours.

    >>> clock_of(pd.Series(pd.date_range("2024-01-01", periods=5, freq="30min")))
    Clock(unit='minute', multiple=30, with_year=False)
    >>> clock_of(pd.Series(pd.to_datetime(["2024-01-01", "2024-01-08"])), "D")
    Clock(unit='day', multiple=1, with_year=False)
    """
    if not pd.api.types.is_datetime64_any_dtype(stamps):
        return Clock("step", max(1, int(str(freq))) if str(freq).isdigit() else 1)
    known = stamps.dropna()
    long = len(known) > 0 and known.max() - known.min() > pd.Timedelta(days=300)
    told = _of_freq(freq, long)
    if told is not None:
        return told
    times = pd.DatetimeIndex(np.sort(known.unique()))
    if len(times) < 2:
        return Clock("hour" if len(times) and times[0].hour else "day", 1, long)
    step = pd.Series(np.diff(times.to_numpy())).mode().iloc[0]
    days = step / pd.Timedelta(days=1)
    for low, high, unit in ((28, 31, "month"), (89, 92, "quarter"), (360, 370, "year")):
        if low <= days <= high:
            return Clock(unit, 1, True)
    return _of_length(pd.Timedelta(step).value, long)


def _of_length(length: int, long: bool) -> Clock:
    unit = next(unit for unit, of in reversed(_LENGTHS.items()) if length % of == 0)
    return Clock(unit, length // _LENGTHS[unit], long)


def _of_freq(freq: object, long: bool) -> Clock | None:
    """The clock of a pandas frequency; None where it is not told or counts in something else."""
    try:
        offset = to_offset(freq) if isinstance(freq, str) else None
    except ValueError:
        return None
    if offset is None:
        return None
    name = offset.rule_code.split("-")[0]  # 'QS-JAN' is a quarter
    if name == "B":
        return Clock(_BUSINESS, offset.n, long)
    for unit, names in _NAMES.items():
        if name in names:
            return Clock(unit, offset.n, long or unit in _MONTHS)
    if name != "D" and not isinstance(offset, pd.tseries.offsets.Tick):
        return None
    return _of_length(offset.n * _LENGTHS["day"] if name == "D" else pd.Timedelta(offset).value, long)


def stamp_label(stamp: object, clock: Clock) -> str:
    """One stamp in words.

    >>> stamp_label(pd.Timestamp("2025-05-13 14:00"), Clock("hour"))
    'Tue 13 May 14:00'
    """
    if clock.unit == "step" or not isinstance(stamp, pd.Timestamp | np.datetime64):
        return f"{'step' if clock.multiple == 1 else 'stamp'} {stamp}"
    time = pd.Timestamp(stamp)
    year = f" {time.year}" if clock.with_year else ""
    if clock.unit in _MONTHS:
        return {"month": f"{time:%b %Y}", "quarter": f"{time.year} Q{time.quarter}", "year": f"{time.year}"}[clock.unit]
    day = f"{time.day} {time:%b}{year}"
    if clock.unit == "week":
        return day
    if clock.unit in ("day", _BUSINESS):
        return f"{time:%a} {day}"
    if (digits := _DIGITS.get(clock.unit)) is None:
        return f"{time:%a} {day} {time:%H:%M}"
    return f"{time:%a} {day} {time:%H:%M:%S}{f'.{time:%f}'[: digits + 1] if digits else ''}"


def distance_words(source: object, target: object, clock: Clock) -> str:
    """How far ``source`` lies before (or after) ``target``.

    >>> distance_words(pd.Timestamp("2025-05-10 14:00"), pd.Timestamp("2025-05-13 14:00"), Clock("hour"))
    '3 days before'
    >>> distance_words(7, 10, Clock("step"))
    '3 steps before'
    """
    if clock.unit == "step":
        distance = round((int(target) - int(source)) / clock.multiple)  # type: ignore[call-overload]
        words = _count(abs(distance), clock.unit)
    elif clock.unit == _BUSINESS:
        distance = int(np.busday_count(*(pd.Timestamp(stamp).date() for stamp in (source, target))))
        words = _count(abs(distance), clock.unit)
    else:
        begin, end = counted(pd.Series([source, target]), clock)
        distance = pd.Timedelta(end - begin).value
        words = (
            _month_words(begin, end, clock.unit) if clock.unit in _MONTHS else _span_words(abs(distance), clock.unit)
        )
    if distance == 0:
        return "the same stamp"
    return f"{words} {'before' if distance > 0 else 'after'}"


def distances_in_words(sources: Sequence[object], targets: Sequence[object], clock: Clock) -> list[list[str]]:
    """``distance_words`` of every source, a row for every target; equal distances are told once where they have one length.

    >>> distances_in_words([1, 2], [3], Clock("step"))
    [['2 steps before', '1 step before']]
    """
    if clock.unit in (*_MONTHS, _BUSINESS):
        return [[distance_words(source, target, clock) for source in sources] for target in targets]
    known = dict[object, str]()
    rows: list[list[str]] = []
    for target in targets:
        rows.append([])
        for source in sources:
            far = target - source  # type: ignore[operator]
            if far not in known:
                known[far] = distance_words(source, target, clock)
            rows[-1].append(known[far])
    return rows


def steps_between(source: pd.Series, target: pd.Series, clock: Clock) -> np.ndarray:
    """How many steps of the clock ``target`` lies after ``source``, row by row: [N], negative where it is earlier.

    >>> days = pd.Series(pd.to_datetime(["2025-05-01", "2025-05-11"]))
    >>> steps_between(days, pd.Series(pd.to_datetime(["2025-05-08"] * 2)), Clock("day"))
    array([ 7, -3])
    """
    source, target = (counted(stamps, clock).reset_index(drop=True) for stamps in (source, target))
    if clock.unit == "step":
        return np.round((target.to_numpy(np.int64) - source.to_numpy(np.int64)) / clock.multiple).astype(np.int64)
    if clock.unit == _BUSINESS:
        days = np.busday_count(*(stamps.to_numpy("datetime64[D]") for stamps in (source, target)))
        return np.round(days / clock.multiple).astype(np.int64)
    if clock.unit in _MONTHS:
        months = (target.dt.year - source.dt.year) * 12 + target.dt.month - source.dt.month
        return np.round(months.to_numpy() / _MONTHS[clock.unit] / clock.multiple).astype(np.int64)
    lengths = (target - source).to_numpy("timedelta64[ns]").astype(np.int64)
    return np.round(lengths / (_LENGTHS[clock.unit] * clock.multiple)).astype(np.int64)


def gaps_between(stamps: pd.Series, windows: pd.DataFrame) -> np.ndarray:
    """Positions in the sorted ``stamps`` of one series before which time lies that no window tested.

    ``windows`` holds ``ds`` and ``cutoff`` of every forecast; a cutoff is the stamp just before its window.

    >>> windows = pd.DataFrame({"ds": [1, 2, 5, 6], "cutoff": [0, 0, 4, 4]})
    >>> gaps_between(windows["ds"], windows)
    array([2])
    """
    first = windows.groupby("cutoff")["ds"].min()
    place = pd.Index(stamps).get_indexer(first)
    inner = place > 0
    before = pd.Index(stamps)[place[inner] - 1]
    return np.sort(place[inner][before < first.index[inner]])


def span_words(steps: int, clock: Clock) -> str:
    """A number of steps as a length of time.

    >>> span_words(168, Clock("hour")), span_words(3, Clock("minute", 30)), span_words(12, Clock("month"))
    ('7 days', '1 hour 30 minutes', '1 year')
    """
    steps = abs(int(steps)) * clock.units
    if clock.unit in ("step", _BUSINESS) or steps == 0:
        return _count(steps, clock.unit)
    if clock.unit in _MONTHS:
        months = steps * _MONTHS[clock.unit]
        return _count(months // 12, "year") if months % 12 == 0 else _count(steps, clock.unit)
    return _span_words(steps * _LENGTHS[clock.unit], clock.unit)


def span_ticks(low: int, high: int, clock: Clock, most: int = 8) -> list[int]:
    """Round distances between ``low`` and ``high`` steps, about ``most`` of them: whole days, weeks, years where these fit,
    else round numbers of steps.

    >>> span_ticks(0, 168, Clock("hour"))
    [0, 24, 48, 72, 96, 120, 144, 168]
    """
    rounds = [number // clock.units for number in _ROUND[clock.unit] if number % clock.units == 0]
    if not rounds or 2 * rounds[0] > high - low:
        rounds = list(_ROUND["step"])
    while (high - low) / rounds[-1] > most:
        rounds.append(2 * rounds[-1])
    every = next(number for number in rounds if (high - low) / number <= most)
    return list(range(-(-low // every) * every, high + 1, every))


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _month_words(begin: pd.Timestamp, end: pd.Timestamp, unit: str) -> str:
    months = abs((end.year - begin.year) * 12 + end.month - begin.month)
    unit = unit if months % _MONTHS[unit] == 0 else "month"
    return _count(months // _MONTHS[unit], unit)


def _span_words(length: int, unit: str) -> str:
    if unit == "week" and length % _LENGTHS["week"] == 0:
        return _count(length // _LENGTHS["week"], "week")
    names = ["day", "hour", "minute", *_DIGITS]
    parts, rest = [], length
    for name in names[: names.index(unit) + 1] if unit in _DIGITS else names[:3]:
        number, rest = divmod(rest, _LENGTHS[name])
        if name == "day" and number < 2 and rest:
            number, rest = 0, length  # 25 hours
        parts.append((number, name))
    return " ".join(_count(number, name) for number, name in parts if number) or f"less than a {parts[-1][1]}"


def counted(stamps: pd.Series, clock: Clock) -> pd.Series:
    """Stamps as distances between them are counted, without time zone: steps below a day in UTC, so that an hour is an hour
    when clocks change; longer ones on the wall clock, where a day is a day.

    >>> stamps = pd.Series(pd.date_range("2024-10-26", periods=3, freq="D", tz="Europe/Berlin"))
    >>> [counted(stamps, Clock(unit)).diff().max() / pd.Timedelta(hours=1) for unit in ("hour", "day")]
    [25.0, 24.0]
    """
    if isinstance(stamps.dtype, pd.DatetimeTZDtype) and clock.unit in (*_DIGITS, "minute", "hour"):
        return stamps.dt.tz_convert("UTC").dt.tz_localize(None)
    return wall_clock(stamps)


def wall_clock(stamps: pd.Series) -> pd.Series:
    """Stamps as a clock on the wall shows them: without time zone, or as whole numbers.

    >>> wall_clock(pd.Series(pd.to_datetime(["2024-05-14 05:00"]).tz_localize("UTC").tz_convert("Asia/Seoul")))[0]
    Timestamp('2024-05-14 14:00:00')
    """
    if isinstance(stamps.dtype, pd.DatetimeTZDtype):
        return stamps.dt.tz_localize(None)
    return stamps
