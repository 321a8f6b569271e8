"""Where a stamp stands in the day, the week and the year, and whether it is a holiday: known arbitrarily far ahead."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from openbook.data.frequency import Freq, step_seconds
from openbook.data.holidays import HOLIDAY_COLUMNS, holiday_column
from openbook.errors import UsageError

_DAY_MS = 86_400_000
_YEAR_SECONDS = 365.25 * 86_400
_MONTH_SECONDS = 31 * 86_400
# Cycle, its length in seconds, and the highest harmonic worth a pair of columns.
_CYCLES = (("hour", 86_400.0, 3), ("week", 7 * 86_400.0, 3), ("year", _YEAR_SECONDS, 2))
_KNOWN = tuple(
    f"{cycle}_{wave}_{k}" for cycle, _, most in _CYCLES for k in range(1, most + 1) for wave in ("sin", "cos")
)
# Fifty-two weeks count as a year, and a cycle cut by its last step still counts as seen.
_NEARLY = 0.98


def calendar_names(freq: Freq, history_seconds: float) -> tuple[str, ...]:
    """The calendar columns that fit a frequency and a history of ``history_seconds`` seconds.

    ``hour_*`` (time of day, sub-daily data), ``week_*`` (day of week, daily and finer), ``year_*`` (day of year,
    monthly and finer). A cycle is used only where the history shows it about once, a harmonic only where the step
    resolves it (at least two steps a wave). Whole-number time has no calendar and gets ``()``. A fitted model keeps
    these names.

    >>> calendar_names("D", 90 * 86_400)
    ('week_sin_1', 'week_cos_1', 'week_sin_2', 'week_cos_2', 'week_sin_3', 'week_cos_3')
    >>> calendar_names("MS", 10 * 365 * 86_400)
    ('year_sin_1', 'year_cos_1', 'year_sin_2', 'year_cos_2')
    >>> calendar_names(1, 1e9)
    ()
    """
    step = step_seconds(freq)
    if step is None or step > _MONTH_SECONDS:
        return ()
    return tuple(
        f"{cycle}_{wave}_{k}"
        for cycle, period, most in _CYCLES
        if history_seconds >= _NEARLY * period
        for k in range(1, most + 1)
        if 2 * k * step <= period
        for wave in ("sin", "cos")
    )


def calendar_columns(times: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The named calendar columns at given stamps, float32 in [-1, 1].

    ``times``: datetime64 of any shape, usually [R]; result: that shape with the columns last, [R, C]. Phases are zero
    at midnight, on Monday 00:00 and on 1 January 00:00; a year is measured by its own length, so leap years close as
    well. ``holiday_AU-VIC`` is 1 on that place's holidays, ``eve_AU-VIC`` on the days before them, else 0. Stamps are
    read as they stand: give wall-clock time where people set the rhythm.
    Raises ``UsageError`` for an unknown name or place, and for whole-number stamps unless ``names`` is empty;
    ``MissingDependencyError`` for holidays without the package that knows them.

    >>> noon = np.array(["2024-01-01T00:00", "2024-01-01T06:00", "2024-01-01T12:00"], "datetime64[m]")
    >>> calendar_columns(noon, ("hour_sin_1", "hour_cos_1")).round(3) + 0.0
    array([[ 0.,  1.],
           [ 1.,  0.],
           [ 0., -1.]], dtype=float32)
    """
    times = np.asarray(times)
    _check(times, names)
    columns = np.empty((*times.shape, len(names)), np.float32)
    if not names:
        return columns
    stamps = times.astype("datetime64[ms]")
    waves = {name.split("_")[0] for name in names if name in _KNOWN}
    angles = {cycle: 2 * np.pi * _phase(stamps, cycle) for cycle in waves}
    for place, name in enumerate(names):
        if name not in _KNOWN:
            columns[..., place] = holiday_column(stamps, name)
            continue
        cycle, wave, k = name.split("_")
        columns[..., place] = (np.sin if wave == "sin" else np.cos)(int(k) * angles[cycle])
    return columns


def calendar_features(times: np.ndarray, freq: Freq, *, history_seconds: float) -> tuple[np.ndarray, tuple[str, ...]]:
    """The calendar columns [R, C] chosen for ``freq`` and the history, and their C names.

    Errors as in ``calendar_columns``.

    >>> week = np.arange("2024-01-01", "2024-01-08", dtype="datetime64[h]")
    >>> values, names = calendar_features(week, "h", history_seconds=30 * 86_400)
    >>> values.shape, names[0], names[-1]
    ((168, 12), 'hour_sin_1', 'week_cos_3')
    >>> calendar_features(np.arange(5), 1, history_seconds=5.0)[0].shape
    (5, 0)
    """
    names = calendar_names(freq, history_seconds)
    return calendar_columns(times, names), names


def _phase(stamps: np.ndarray, cycle: str) -> np.ndarray:
    """Position of datetime64[ms] stamps in their cycle, in [0, 1)."""
    if cycle == "year":
        years = stamps.astype("datetime64[Y]")
        start = years.astype("datetime64[ms]").astype(np.int64)
        end = (years + np.timedelta64(1, "Y")).astype("datetime64[ms]").astype(np.int64)
        return (stamps.astype(np.int64) - start) / (end - start)
    period = _DAY_MS if cycle == "hour" else 7 * _DAY_MS
    # The epoch, 1 January 1970, was a Thursday: three days after a Monday.
    return (stamps.astype(np.int64) + 3 * _DAY_MS) % period / period


def _check(times: np.ndarray, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in _KNOWN and not name.startswith(HOLIDAY_COLUMNS)]
    if unknown:
        raise UsageError(
            "unknown_calendar_column",
            expected=f"names among {', '.join(_KNOWN)}, or {' or '.join(f'{kind}<country>' for kind in HOLIDAY_COLUMNS)}",
            got=", ".join(map(repr, unknown)),
            where="names",
            fix="take the names from calendar_names",
        )
    if names and times.dtype.kind != "M":
        raise UsageError(
            "no_calendar",
            expected="datetime64 stamps",
            got=f"stamps of type {times.dtype}",
            where="times",
            fix="pass datetime64 stamps without time zone, or no names for whole-number time",
        )
