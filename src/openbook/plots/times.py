"""Stamps and distances in time in words: 'Tue 13 May 14:00', '3 days before'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 7 * 86_400}
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
    "second": (1, 5, 10, 30, 60, 300, 600, 1_800, 3_600, 6 * 3_600, 86_400),
    "minute": (1, 5, 15, 30, 60, 180, 360, 1_440, 2 * 1_440, 7 * 1_440),
    "hour": (1, 3, 6, 24, 48, 7 * 24),
    "day": (1, 7, 14, 28),
    "week": (1, 2, 4, 13, 26, 52),
    "month": (1, 3, 6, 12),
    "quarter": (1, 2, 4),
    "year": (1, 2, 5, 10),
    "step": (1, 2, 5, 10, 20, 50, 100),
}


@dataclass(frozen=True)
class Clock:
    """How a data set counts time: the unit of its step, how many units a step has, whether labels need the year."""

    unit: str
    multiple: int = 1
    with_year: bool = False

    @property
    def per(self) -> str:
        """'hour', '30 minutes': what one forecast value stands for."""
        return self.unit if self.multiple == 1 else f"{self.multiple} {self.unit}s"

    @property
    def noun(self) -> str:
        """'hour', 'time step': what one stamp is called."""
        return self.unit if self.multiple == 1 and self.unit != "step" else "time step"


def clock_of(stamps: pd.Series, freq: object = None) -> Clock:
    """The clock of a column of stamps: of their frequency where it is told, else of the most common distance of neighbours.

    >>> clock_of(pd.Series(pd.date_range("2024-01-01", periods=5, freq="30min")))
    Clock(unit='minute', multiple=30, with_year=False)
    >>> clock_of(pd.Series(pd.to_datetime(["2024-01-01", "2024-01-08"])), "D")
    Clock(unit='day', multiple=1, with_year=False)
    """
    if not pd.api.types.is_datetime64_any_dtype(stamps):
        return Clock("step")
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
    return _of_seconds(int(step / pd.Timedelta(seconds=1)), long)


def _of_seconds(seconds: int, long: bool) -> Clock:
    for unit in ("week", "day", "hour", "minute"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return Clock(unit, seconds // _SECONDS[unit], long)
    return Clock("second", max(1, seconds), long)


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
        return Clock("day", 1, long) if offset.n == 1 else None
    for unit, names in _NAMES.items():
        if name in names:
            return Clock(unit, offset.n, long or unit in _MONTHS)
    if name != "D" and not isinstance(offset, pd.tseries.offsets.Tick):
        return None
    return _of_seconds(offset.n * 86_400 if name == "D" else int(pd.Timedelta(offset).total_seconds()), long)


def stamp_label(stamp: object, clock: Clock) -> str:
    """One stamp in words.

    >>> stamp_label(pd.Timestamp("2025-05-13 14:00"), Clock("hour"))
    'Tue 13 May 14:00'
    """
    if clock.unit == "step" or not isinstance(stamp, pd.Timestamp | np.datetime64):
        return f"step {stamp}"
    time = pd.Timestamp(stamp)
    year = f" {time.year}" if clock.with_year else ""
    if clock.unit in _MONTHS:
        return {"month": f"{time:%b %Y}", "quarter": f"{time.year} Q{time.quarter}", "year": f"{time.year}"}[clock.unit]
    day = f"{time.day} {time:%b}{year}"
    if clock.unit == "week":
        return day
    if clock.unit == "day":
        return f"{time:%a} {day}"
    return f"{time:%a} {day} {time:%H:%M:%S}" if clock.unit == "second" else f"{time:%a} {day} {time:%H:%M}"


def distance_words(source: object, target: object, clock: Clock) -> str:
    """How far ``source`` lies before (or after) ``target``.

    >>> distance_words(pd.Timestamp("2025-05-10 14:00"), pd.Timestamp("2025-05-13 14:00"), Clock("hour"))
    '3 days before'
    >>> distance_words(7, 10, Clock("step"))
    '3 steps before'
    """
    if clock.unit == "step":
        distance = int(target) - int(source)  # type: ignore[call-overload]
        words = _count(abs(distance), "step")
    else:
        begin, end = counted(pd.Series([source, target]), clock)
        distance = int((end - begin) / pd.Timedelta(seconds=1))
        words = (
            _month_words(begin, end, clock.unit) if clock.unit in _MONTHS else _span_words(abs(distance), clock.unit)
        )
    if distance == 0:
        return "the same stamp"
    return f"{words} {'before' if distance > 0 else 'after'}"


def steps_between(source: pd.Series, target: pd.Series, clock: Clock) -> np.ndarray:
    """How many steps of the clock ``target`` lies after ``source``, row by row: [N], negative where it is earlier.

    >>> days = pd.Series(pd.to_datetime(["2025-05-01", "2025-05-11"]))
    >>> steps_between(days, pd.Series(pd.to_datetime(["2025-05-08"] * 2)), Clock("day"))
    array([ 7, -3])
    """
    source, target = (counted(stamps, clock).reset_index(drop=True) for stamps in (source, target))
    if clock.unit == "step":
        return target.to_numpy(np.int64) - source.to_numpy(np.int64)
    if clock.unit in _MONTHS:
        months = (target.dt.year - source.dt.year) * 12 + target.dt.month - source.dt.month
        return np.round(months.to_numpy() / _MONTHS[clock.unit] / clock.multiple).astype(np.int64)
    seconds = (target - source).to_numpy("timedelta64[s]").astype(np.int64)
    return np.round(seconds / (_SECONDS[clock.unit] * clock.multiple)).astype(np.int64)


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
    steps = abs(int(steps)) * clock.multiple
    if clock.unit == "step" or steps == 0:
        return _count(steps, clock.unit)
    if clock.unit in _MONTHS:
        months = steps * _MONTHS[clock.unit]
        return _count(months // 12, "year") if months % 12 == 0 else _count(steps, clock.unit)
    return _span_words(steps * _SECONDS[clock.unit], clock.unit)


def span_ticks(low: int, high: int, clock: Clock, most: int = 8) -> list[int]:
    """Round distances between ``low`` and ``high`` steps, about ``most`` of them: whole days, weeks, years where these fit.

    >>> span_ticks(0, 168, Clock("hour"))
    [0, 24, 48, 72, 96, 120, 144, 168]
    """
    rounds = [number // clock.multiple for number in _ROUND[clock.unit] if number % clock.multiple == 0] or [1]
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


def _span_words(seconds: int, unit: str) -> str:
    if unit == "week" and seconds % _SECONDS["week"] == 0:
        return _count(seconds // _SECONDS["week"], "week")
    days, rest = divmod(seconds, 86_400)
    if days < 2 and rest:
        days, rest = 0, seconds
    hours, rest = divmod(rest, 3_600)
    parts = [(days, "day"), (hours, "hour"), (rest // 60, "minute")]
    if unit == "second":
        parts.append((rest % 60, "second"))
    return " ".join(_count(number, name) for number, name in parts if number) or f"less than a {parts[-1][1]}"


def counted(stamps: pd.Series, clock: Clock) -> pd.Series:
    """Stamps as distances between them are counted, without time zone: steps below a day in UTC, so that an hour is an hour
    when clocks change; longer ones on the wall clock, where a day is a day.

    >>> stamps = pd.Series(pd.date_range("2024-10-26", periods=3, freq="D", tz="Europe/Berlin"))
    >>> [counted(stamps, Clock(unit)).diff().max() / pd.Timedelta(hours=1) for unit in ("hour", "day")]
    [25.0, 24.0]
    """
    if isinstance(stamps.dtype, pd.DatetimeTZDtype) and clock.unit in ("second", "minute", "hour"):
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
