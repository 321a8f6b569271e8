"""Parts of a calendar written as one number (202352, 20241, 240131): no dates, and no numbers that count on evenly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from openbook.errors import DataError

_MOSTLY = 0.9  # share of steps that are usual ones, from which on numbers are a calendar's
# Parts of a calendar that are written as one number but are no dates: digits of the year and of the part, the last part of a
# year, what they are, and what makes dates of them.
_PART = "pd.to_datetime(dict(year={} // {}, month={} * (ds % {}) - {}, day=1))"
_CODES = (
    (4, 1, 2, "year and half", _PART.format("ds", 10, 6, 10, 5)),
    (4, 1, 3, "year and term", _PART.format("ds", 10, 4, 10, 3)),
    (4, 1, 4, "year and quarter", _PART.format("ds", 10, 3, 10, 2)),
    (4, 2, 2, "year and half", _PART.format("ds", 100, 6, 100, 5)),
    (4, 2, 4, "year and quarter", _PART.format("ds", 100, 3, 100, 2)),
    (4, 2, 13, "year and period of four weeks", "ds // 100 * 13 + ds % 100 (which counts on)"),
    (4, 2, 53, "year and week", 'pd.to_datetime(ds.astype(str) + "1", format="%G%V%u")'),
    (4, 3, 366, "year and day of the year", 'pd.to_datetime(ds.astype(str), format="%Y%j")'),
    (2, 1, 4, "year and quarter", _PART.format("2000 + ds", 10, 3, 10, 2)),
    (2, 2, 53, "year and week", 'pd.to_datetime("20" + ds.astype(str) + "1", format="%G%V%u")'),
    (2, 3, 366, "year and day of the year", 'pd.to_datetime("20" + ds.astype(str), format="%Y%j")'),
)
# Dates with two digits of the year, by the format that reads them, and the longest step that is one of theirs in days.
_SHORT = (
    ("%y%m", "year and month", 31),
    ("%y%m%d", "year, month and day", 31),
    ("%d%m%y", "day, month and year", 31),
    ("%m%d%y", "month, day and year", 31),
    ("%y%m%d%H", "year, month, day and hour", 1),
)
_WHOLE_YEARS = 3  # years of the first four months alone, from which on they are quarters


def are_quarters(numbers: pd.Series) -> bool:
    """Whether years with their months are years with their quarters or halves: no other months, in all of several years."""
    months = numbers % 100
    whole = (numbers // 100).value_counts().sort_index().iloc[1:-1]
    return int(months.max()) in (2, 4) and len(whole) + 2 > _WHOLE_YEARS and bool((whole == months.max()).all())


def check_counting(numbers: pd.Series, where: str) -> None:
    """Refuse numbers that leap at the end of every year or month: parts of a calendar written together, but no dates."""
    ordered = np.unique(numbers)
    leaps = np.flatnonzero(np.diff(ordered) > np.diff(ordered).min(initial=np.iinfo(np.int64).max))
    if len(ordered) <= 2 or not len(leaps):
        return
    for code, fix, places in _codes(ordered):
        order = np.argsort(places, kind="stable")
        steps, raw = np.diff(places[order]), np.diff(ordered[order])
        values, counts = np.unique(steps, return_counts=True)
        common = values[np.argsort(-counts, kind="stable")[:2]]  # of business days one and three
        leap = any(len(np.unique(raw[steps == each])) > 1 for each in common)
        if leap and np.isin(steps, common).mean() >= _MOSTLY:
            before, after = ordered[leaps[0] : leaps[0] + 2]
            raise DataError(
                "bad_stamps",
                expected="dates, or whole numbers that count on evenly",
                got=f"{before} followed by {after}: {code} as one number",
                where=where,
                fix=f"write dates, such as {fix} makes of them",
            )


def _weeks(ordered: np.ndarray, fix: str, *, short: bool) -> str:
    """How to make dates of years and weeks: those of ISO, or where they are none, weeks that begin on a year's Mondays."""
    texts = ("20" if short else "") + pd.Series(ordered).astype(str) + "1"
    weeks = pd.to_datetime(texts, format="%G%V%u", errors="coerce")
    return fix if weeks.notna().all() and weeks.is_unique else fix.replace("%G%V%u", "%Y%W%w")


def _places(year: np.ndarray, rest: np.ndarray, most: int, *, short: bool) -> np.ndarray:
    """Where parts of years stand among all of them: weeks and days of the year as the calendar has them, where it does."""
    form = {53: "%G%V%u", 366: "%Y%j"}.get(most)
    if form is not None:
        texts = pd.Series((year + 2000 if short else year) * (100 if most == 53 else 1000) + rest).astype(str)
        dates = pd.to_datetime(texts + ("1" if most == 53 else ""), format=form, errors="coerce")
        if dates.notna().all():
            return dates.to_numpy("datetime64[D]").astype(np.int64) // (7 if most == 53 else 1)
    return year * {53: 52, 366: 365}.get(most, most) + rest


def _codes(ordered: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """What sorted numbers may be, how to make dates of them, and which steps they would be."""
    narrow, width = len(str(ordered[0])), len(str(ordered[-1]))
    for of_year, of_part, most, code, fix in _CODES:
        year, rest = ordered // 10**of_part, ordered % 10**of_part
        least = 0 if most == 53 else 1  # weeks may be counted from the first Monday on
        known = rest.min() >= least and rest.max() <= most
        if of_year == 4:
            known = known and year.min() >= 1900 and year.max() <= 2100
        if narrow == width == of_year + of_part and known:
            told = _weeks(ordered, fix, short=of_year == 2) if most == 53 else fix
            yield code, told, _places(year, rest, most, short=of_year == 2)
    for form, code, longest in _SHORT:
        digits = 2 * form.count("%")
        if width not in (digits, digits - 1) or narrow < digits - 1 or (narrow < digits and form == "%y%m"):
            continue
        dates = pd.to_datetime(pd.Series(ordered).astype(str).str.zfill(digits), format=form, errors="coerce")
        if not dates.notna().all():
            continue
        unit = {"%y%m": "M", "%y%m%d%H": "h"}.get(form, "D")
        places = dates.to_numpy(f"datetime64[{unit}]").astype(np.int64)
        steps = np.diff(np.sort(places))
        if np.median(steps) <= longest * {"M": 1, "h": 24}.get(unit, 1):
            text = "ds.astype(str)" + (f".str.zfill({digits})" if narrow < digits else "")
            yield code, f'pd.to_datetime({text}, format="{form}")', places
