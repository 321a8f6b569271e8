"""Times of the week at which a series never has a value: Sundays of a closed shop, nights without calls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq, step_seconds

_WEEK = 7 * 86_400
_MONDAY = np.datetime64("1970-01-05", "ns")
_MOST_CELLS = 5_000_000  # series times steps of the week that are looked at
_FEWEST_WEEKS, _SELDOM = 8, 0.01  # of history, before never means anything; share of weeks that still is never


class Closed(NamedTuple):
    """What is never seen of the series with most of it: its place, ``when`` in words, in how many weeks; of how many series."""

    series: int
    when: str
    weeks: int
    n_series: int


def never_seen(owner_R: np.ndarray, times_R: np.ndarray, seen_R: np.ndarray, freq: Freq | None) -> Closed | None:
    """Which steps of the week have no value in weeks of a series; None where there are none, or steps are no part of a week.

    ``owner_R``: the series of each row, in order; ``times_R``: naive stamps; ``seen_R``: where a value was observed.

    >>> days = np.arange("2024-01-01", "2024-04-01", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> open_days = days[(np.arange(91) % 7) < 6]
    >>> never_seen(np.zeros(78, int), open_days, np.ones(78, bool), "D")
    Closed(series=0, when='Sundays', weeks=12, n_series=1)
    """
    seconds = step_seconds(freq) if freq is not None else None
    if seconds is None or not np.issubdtype(times_R.dtype, np.datetime64) or seconds > 86_400 or _WEEK % seconds:
        return None
    steps = int(_WEEK // seconds)
    told_R = seen_R & (owner_R < max(1, _MOST_CELLS // steps))
    owner_R, times_R = owner_R[told_R], times_R[told_R]
    if not len(times_R):
        return None
    names_N, first_N = np.unique(owner_R, return_index=True)
    last_N = np.append(first_N[1:], len(owner_R)) - 1
    weeks_N = (times_R[last_N] - times_R[first_N]) / np.timedelta64(_WEEK, "s")
    passed_R = (times_R - _MONDAY) // np.timedelta64(int(seconds), "s")
    place_R = np.searchsorted(names_N, owner_R) * steps + (passed_R % steps).astype(np.int64)
    count_NP = np.bincount(place_R, minlength=len(names_N) * steps).reshape(-1, steps)
    never_NP = (count_NP < _SELDOM * weeks_N[:, None]) & (weeks_N >= _FEWEST_WEEKS)[:, None]
    often_N = never_NP.sum(1)
    if not often_N.any():
        return None
    series = int(often_N.argmax())
    phases = np.flatnonzero(never_NP[series])
    at = pd.DatetimeIndex(_MONDAY + phases * np.timedelta64(int(seconds), "s"))
    if steps == 7:
        when = ", ".join(f"{name}s" for name in at.day_name())
    else:
        when = f"{len(phases)} of {steps} steps of the week, the first {at[0]:%A %H:%M}"
    return Closed(int(names_N[series]), when, int(weeks_N[series]), int((often_N > 0).sum()))
