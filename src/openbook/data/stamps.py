"""Time stamps as people write them: ISO, Korean, day-first, month-first, names of months, compact numbers."""

from __future__ import annotations

import datetime as dt
import re
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from openbook.data.codes import are_quarters, check_counting
from openbook.errors import DataError

# Minutes stand behind a mark, or make four digits with the hour; a number behind the hour alone is never seconds.
_CLOCK = (
    r"(?:(?:[T\s]+|(?<=일))(?P<half>오전|오후|[AaPp]\.?[Mm]\.?)?\s*(?P<hour>\d{1,2})"
    r"(?:(?:\s*[:시]\s*|\.(?=\d\d)|(?<=\d\d)(?=\d\d(?!\d)))(?P<minute>\d{1,2})\s*분?"
    r"(?:(?:\s*:\s*|(?<=분)\s*|(?<=\.\d\d)\.)(?P<second>\d{1,2}(?:\.\d+)?)\s*초?)?)?"
    r"\s*시?\s*(?P<late_half>[AaPp]\.?[Mm]\.?)?)?"
)
_YEAR_FIRST = re.compile(
    r"^(?P<year>\d{4})\s*(?:년|[./-])\s*(?P<month>\d{1,2})\s*(?:월|[./-])?"
    r"(?:\s*(?P<day>\d{1,2})\s*일?\.?)?(?:\s*\([월화수목금토일]\))?" + _CLOCK + "$"
)
_YEAR_LAST = re.compile(r"^(?P<one>\d{1,2})(?P<mark>[./-])\s*(?P<two>\d{1,2})[./-]\s*(?P<year>\d{4}),?" + _CLOCK + "$")
_MONTH_NAME = re.compile(r"(?i)^(?=.*\b\d{4}\b)(?=.*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)).+$")
_COMPACT = (6, 8, 10, 12, 14)  # digits of a year with its month, and of day, hour, minute and second beside them
_MOSTLY = 0.9  # share of whole numbers that read as dates, from which on all are meant to be
_MIDNIGHT = "24:00 is read as 00:00 of the next day"
# An offset from UTC behind a clock: in ISO stamps, whose dates have hyphens too, and behind dates with the name of a month.
_ISO_ZONE = re.compile(
    r"^(?=.*(?::|\dT\d))(?P<rest>.*?)\s*(?P<offset>Z|[+-]\d{2}:?\d{2}|(?<=[T:.\d][.\d]\d)[+-]\d{2})\s*$"
)
_MAIL_ZONE = re.compile(
    r"^(?P<rest>.*\d[:.]\d{2}(?:[:.]\d+)*(?:\s*[AaPp]\.?[Mm]\.?)?)\s*(?:GMT|UTC)?(?P<offset>Z|[+-]\d{2}:?\d{2})\s*$"
)
_FIRST_YEAR, _LAST_YEAR = 1678, 2261  # whole ones that nanoseconds count


def parse_stamps(
    stamps: pd.Series, where: str = "time column", *, day_first: bool | None = None
) -> tuple[pd.Series, tuple[str, ...]]:
    """Stamps as datetime64 (time zones kept) or int64, and notes on every reading that was not plain ISO.

    Empty cells stay empty (NaT). ``where`` names the column in messages; ``day_first`` settles dates whose day and month
    could be swapped. Raises ``DataError``: ``bad_stamps`` for what
    is no date, ``ambiguous_dates`` where day and month could be swapped in every row.

    >>> parse_stamps(pd.Series(["31.5.2024 13:00", "1.6.2024 14:00"]), "column 'ds'")[0].dt.month.tolist()
    [5, 6]
    """
    parsed, notes = _parse(stamps.reset_index(drop=True), where, day_first)
    if pd.api.types.is_datetime64_any_dtype(parsed.dtype) and parsed.dt.unit != "ns":
        parsed = _nanoseconds(parsed, where)  # pandas 3 reads microseconds
    return parsed.set_axis(stamps.index).rename(stamps.name), notes


def _parse(stamps: pd.Series, where: str, day_first: bool | None) -> tuple[pd.Series, tuple[str, ...]]:
    if isinstance(stamps.dtype, pd.PeriodDtype):
        return stamps.dt.to_timestamp(), (f"{where}: periods are read as their first moment",)
    if isinstance(stamps.dtype, pd.DatetimeTZDtype):
        return stamps, ()
    if pd.api.types.is_datetime64_any_dtype(stamps.dtype):
        zone = getattr(getattr(stamps.dtype, "pyarrow_dtype", None), "tz", None)
        return (stamps.astype(f"datetime64[ns, {zone}]") if zone else _nanoseconds(stamps, where)), ()
    if pd.api.types.is_numeric_dtype(stamps.dtype) and not pd.api.types.is_bool_dtype(stamps.dtype):
        return _whole_numbers(stamps, where)
    if stamps.dtype == object or isinstance(stamps.dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(stamps):
        return _texts(stamps, where, day_first)
    raise _bad(stamps, np.zeros(len(stamps), bool), where)


def stamp_text(stamp: Any, zone: str | None) -> str:
    """A stamp of naive times in words; ``zone``: where the clock hangs that shows it, if the times are UTC.

    >>> stamp_text(np.datetime64("2024-06-01T10:00"), "Asia/Seoul"), stamp_text(7, None)
    ('2024-06-01 19:00:00+09:00', '7')
    """
    if not isinstance(stamp, np.datetime64 | pd.Timestamp):
        return str(stamp)
    return str(pd.Timestamp(stamp) if zone is None else pd.Timestamp(stamp, tz="UTC").tz_convert(zone))


def looks_like_dates(values: pd.Series) -> bool:
    """Whether a column can only be meant as time: dates, or text and compact numbers (20240531) that read as dates."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype) or isinstance(values.dtype, pd.PeriodDtype):
        return True
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_float_dtype(values.dtype):
        return False
    known = values.dropna()
    if known.empty:
        return False
    sample = known.iloc[np.unique(np.linspace(0, len(known) - 1, 200).astype(int))]
    try:
        parsed, _ = parse_stamps(sample, "sample")
    except DataError as error:
        return error.code == "ambiguous_dates"
    return bool(pd.api.types.is_datetime64_any_dtype(parsed.dtype))


def _nanoseconds(stamps: pd.Series, where: str) -> pd.Series:
    zoned = isinstance(stamps.dtype, pd.DatetimeTZDtype)
    try:
        return stamps.dt.as_unit("ns") if zoned else stamps.astype("datetime64[ns]")
    except (ValueError, OverflowError) as error:
        years = stamps.dt.year
        raise _bad(stamps, (years.isna() | years.between(1678, 2261)).to_numpy(bool), where) from error


def _whole_numbers(stamps: pd.Series, where: str) -> tuple[pd.Series, tuple[str, ...]]:
    """Whole-number time, or dates written as one number (202405, 20240531, 2024053113)."""
    numbers = stamps.astype("Float64" if pd.api.types.is_float_dtype(stamps.dtype) else "Int64")
    known = numbers.dropna()
    whole = (known % 1 == 0) & (known.abs() < 2**63)
    if known.empty or not whole.all():
        fine = numbers.isna().to_numpy(copy=True)
        fine[np.flatnonzero(numbers.notna())[whole.to_numpy(bool)]] = True
        raise _bad(stamps, fine, where)
    found = _compact_dates(pd.Series(pd.unique(known.astype("int64"))))
    if found is not None:
        dates, notes = found
        parsed = numbers.astype("object").map(dates).astype("datetime64[ns]")
        fine = (parsed.notna() | numbers.isna()).to_numpy(bool)
        if not fine.all():
            raise _bad(stamps, fine, where, "dates as one number, such as the other rows have, year first")
        return parsed, tuple(f"{where}: {note}" for note in notes)
    check_counting(known.astype("int64"), where)
    if numbers.isna().any():
        return numbers.astype("Int64"), ()
    return numbers.astype("int64"), ()


def _compact_dates(numbers: pd.Series) -> tuple[pd.Series, tuple[str, ...]] | None:
    """Dates of distinct whole numbers, by number, and notes; None where they are no dates, NaT where only a few are none."""
    texts = numbers.astype(str)
    width = int(texts.str.len().mode()[0])
    usual = texts.str.fullmatch(rf"(?:19\d\d|20\d\d|2100)\d{{{max(width - 4, 0)}}}")
    if width not in _COMPACT or usual.mean() < _MOSTLY:
        swapped = _day_first_numbers(texts)
        return (pd.Series(pd.NaT, index=numbers.to_numpy()), ()) if swapped else None
    told = texts.where(usual, "0" * width)
    late = told.str.fullmatch(r"\d{8}240*")
    told = told.where(~late, told.str[:8] + "0" * (width - 8))
    pieces = [told.str[:4]] + [told.str[start : start + 2] for start in range(4, width, 2)]
    dates = pd.to_datetime(_iso(pieces), format="ISO8601", errors="coerce") + pd.to_timedelta(
        late.astype(int), unit="D"
    )
    bad = dates.isna()
    thirteen = width == 6 and bad.mean() > 1 / 26 and texts[bad].str.endswith("13").all()
    if dates.notna().mean() < _MOSTLY or thirteen or (width == 6 and are_quarters(numbers[usual])):
        return None  # periods of four weeks are thirteen a year, quarters four, halves two
    notes = [f"numbers such as {texts.iloc[0]} are read as dates"] + ([_MIDNIGHT] if late.any() else [])
    return pd.Series(dates.to_numpy("datetime64[ns]"), index=numbers.to_numpy()), tuple(notes)


def _day_first_numbers(texts: pd.Series) -> bool:
    """Whether numbers are days, months and years written together, year last (31052024): days change, years hardly do."""
    texts = texts.where(texts.str.len() != 7, "0" + texts)
    years = texts.str.extract(r"^\d{4}((?:19|20)\d\d)$")[0]
    if years.notna().mean() < _MOSTLY or texts.str[:4].nunique() <= years.nunique():
        return False
    days = (pd.to_datetime(texts, format=form, errors="coerce") for form in ("%d%m%Y", "%m%d%Y"))
    return any(read.notna().mean() >= _MOSTLY for read in days)


def _iso(pieces: list[pd.Series]) -> pd.Series:
    text = pieces[0].str.cat(pieces[1:3], sep="-")
    if len(pieces) > 3:
        rest = [*pieces[3:], *[pd.Series("00", index=text.index)] * (6 - len(pieces))]
        text = text + "T" + rest[0].str.cat(rest[1:], sep=":")
    return text


def _texts(stamps: pd.Series, where: str, day_first: bool | None) -> tuple[pd.Series, tuple[str, ...]]:
    """Every distinct text is parsed once, under one reading for the whole column."""
    plain = stamps.astype(object).map(lambda value: (value.strip() or None) if isinstance(value, str) else value)
    codes, unique = pd.factorize(plain, use_na_sentinel=True)
    first = np.unique(codes, return_index=True)[1][-len(unique) :] if len(unique) else np.array([], int)
    parsed, notes = _read(pd.Series(unique, index=first, dtype=object), where, day_first)
    if (codes >= 0).all():
        return parsed.iloc[codes].reset_index(drop=True), notes
    if not pd.api.types.is_datetime64_any_dtype(parsed.dtype):
        parsed = parsed.astype("Int64")
    # Position -1, of an empty cell, is answered by the missing value appended at the end.
    padded = parsed.reset_index(drop=True).reindex(range(len(parsed) + 1))
    return padded.iloc[codes].reset_index(drop=True), notes


def _read(texts: pd.Series, where: str, day_first: bool | None) -> tuple[pd.Series, tuple[str, ...]]:
    """``texts`` are distinct values, indexed by the first row where each stands."""
    if texts.empty:
        return pd.Series([], dtype="datetime64[ns]"), ()
    if not all(isinstance(value, str) for value in texts):
        return _objects(texts, where)
    if texts.str.fullmatch(r"[+-]?\d{1,18}").all():
        return _whole_numbers(texts.astype("int64"), where)
    iso = _iso_texts(texts, where)
    if iso is not None:
        return iso
    found = texts.str.extract(_YEAR_FIRST)
    if found["year"].notna().all():
        return _assemble(found, texts, where), _clock_notes(found, where)
    last = texts.str.extract(_YEAR_LAST)
    if last["year"].notna().all():
        found, note = _day_or_month_first(last, texts, where, day_first)
        return _assemble(found, texts, where), (note, *_clock_notes(found, where))
    if texts.str.match(_MONTH_NAME).all():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            read = partial(pd.to_datetime, format="mixed", errors="coerce", dayfirst=True)
            named, notes = _in_zones(texts, where, read, _MAIL_ZONE)
        if named.notna().all():
            return named, notes
        raise _bad(texts, named.notna().to_numpy(), where)
    wide = texts.str.match(_MONTH_NAME) | last["year"].notna() | found["year"].notna()
    raise _bad(texts, wide.to_numpy(bool), where)


def _iso_texts(texts: pd.Series, where: str) -> tuple[pd.Series, tuple[str, ...]] | None:
    try:
        return _in_zones(texts, where, partial(pd.to_datetime, format="ISO8601"), _ISO_ZONE)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        return None


def _in_zones(
    texts: pd.Series, where: str, read: Callable[..., pd.Series], form: re.Pattern[str]
) -> tuple[pd.Series, tuple[str, ...]]:
    """Texts that ``read`` understands, all of which name their offset from UTC, or none: ``form`` finds it behind the rest."""
    offset = texts.str.extract(form)["offset"]
    zoned = offset.notna()
    if zoned.any() and not zoned.all():
        like_first = (zoned == zoned.iloc[0]).to_numpy(bool)
        raise _bad(texts, like_first, f"{where}: some stamps name their offset, others do not")
    if not zoned.any() or (offset.nunique() == 1 and form is _ISO_ZONE):
        return read(texts), ()
    local, ahead = read(texts.str.extract(form)["rest"]), pd.to_timedelta(offset.map(_minutes), unit="min")
    if offset.nunique() == 1:
        return local.dt.tz_localize(dt.timezone(ahead.iloc[0].to_pytimedelta())), ()
    return _of_offsets((local - ahead).dt.tz_localize("UTC"), local, offset.nunique(), where)


def _minutes(offset: str) -> int:
    """Minutes ahead of UTC, of ``+05:30``, ``-0330``, ``+09`` and ``Z``."""
    digits = offset.strip("+-Z").replace(":", "").ljust(4, "0")
    return (-1 if offset.startswith("-") else 1) * (60 * int(digits[:2]) + int(digits[2:]))


def _of_offsets(moments: pd.Series, local: pd.Series, offsets: int, where: str) -> tuple[pd.Series, tuple[str, ...]]:
    """Stamps of several offsets: days where all of them stand at one time of the local clock, moments in UTC otherwise."""
    if local.nunique() > 1 and (local - local.dt.normalize()).nunique() == 1:
        clock = f"{local.iloc[0]:%H:%M}"
        return local, (
            f"{where}: stamps of {offsets} offsets, all at {clock} of the local clock, are days of that clock",
        )
    return moments, (f"{where}: stamps with {offsets} different offsets are turned into UTC",)


def _objects(values: pd.Series, where: str) -> tuple[pd.Series, tuple[str, ...]]:
    """Python dates and datetimes; anything else that pandas would bend into a date is refused."""
    dates = values.map(lambda value: hasattr(value, "year") and hasattr(value, "day"))
    whole = values.map(lambda value: isinstance(value, int | np.integer) and not isinstance(value, bool))
    if whole.all():
        return _whole_numbers(values.astype("int64"), where)
    if not dates.all():
        raise _bad(values, dates.to_numpy(bool), where)
    zones = {str(getattr(value, "tzinfo", None)) for value in values}
    several = len(zones) > 1 and "None" not in zones
    try:
        parsed = pd.to_datetime(values, utc=several)
        local = pd.to_datetime(values.map(lambda value: value.replace(tzinfo=None))) if several else parsed
    except (ValueError, TypeError, OverflowError) as error:
        near = values.map(lambda value: _FIRST_YEAR <= value.year <= _LAST_YEAR).to_numpy(bool)
        years = f"dates of the years {_FIRST_YEAR} to {_LAST_YEAR}"
        raise (_bad(values, near, where) if near.all() else _bad(values, near, where, years)) from error
    return _of_offsets(parsed, local, len(zones), where) if several else (parsed, ())


def _day_or_month_first(
    found: pd.DataFrame, texts: pd.Series, where: str, settled: bool | None
) -> tuple[pd.DataFrame, str]:
    one, two = found["one"].astype(int), found["two"].astype(int)
    day_first, month_first = bool((two <= 12).all()), bool((one <= 12).all())
    if day_first and month_first and (found["mark"] == ".").all():
        month_first = False  # 1.6.2024 with points is written by day-first countries only
    if day_first and month_first and settled is not None:
        day_first, month_first = settled, not settled
    if day_first and month_first and not (one == two).all():
        raise DataError(
            "ambiguous_dates",
            expected="dates with one possible reading",
            got=f"{texts.iloc[0]!r}, where day and month can be swapped in every row",
            where=where,
            fix="write ISO dates (2024-05-31), or parse the column before (pd.to_datetime(..., dayfirst=...))",
        )
    if not day_first and not month_first:
        impossible = ((one > 12) & (two > 12)).to_numpy()
        if impossible.any():
            raise _bad(texts, ~impossible, where)
        day = texts[(one > 12).to_numpy()].iloc[0]
        raise _bad(
            texts, (two <= 12).to_numpy(), where, f"days first in all dates, as in {day!r}, or months first in all"
        )
    day, month = ("one", "two") if day_first else ("two", "one")
    note = f"{where}: dates such as {texts.iloc[0]!r} are read as {'day-month' if day_first else 'month-day'}-year"
    return found.rename(columns={day: "day", month: "month"}), note


def _assemble(found: pd.DataFrame, texts: pd.Series, where: str) -> pd.Series:
    """Stamps from the pieces of a text; 24:00 is midnight of the next day, as energy tables write it."""
    numbers = {
        name: pd.to_numeric(found[name]).astype("float64").fillna(1 if name == "day" else 0)
        for name in ("year", "month", "day", "hour", "minute", "second")
    }
    half = found["half"].where(found["half"].notna(), found["late_half"])
    half = half.where(half.notna(), "").str.lower()
    afternoon, morning = half.str.startswith("p") | (half == "오후"), half.str.startswith("a") | (half == "오전")
    hour = numbers["hour"] + 12 * (afternoon & (numbers["hour"] < 12)) - 12 * (morning & (numbers["hour"] == 12))
    day = pd.to_datetime(pd.DataFrame({name: numbers[name] for name in ("year", "month", "day")}), errors="coerce")
    seconds = hour * 3600 + numbers["minute"] * 60 + numbers["second"]
    fine = day.notna() & (seconds <= 86_400) & (numbers["minute"] < 60) & (numbers["second"] < 60)
    if not fine.all():
        raise _bad(texts, fine.to_numpy(bool), where)
    return day.astype("datetime64[ns]") + pd.to_timedelta((seconds * 1e9).round().astype("int64"), unit="ns")


def _clock_notes(found: pd.DataFrame, where: str) -> tuple[str, ...]:
    late = found["hour"] == "24"
    return (f"{where}: {_MIDNIGHT}",) if late.any() else ()


def _bad(
    values: pd.Series,
    fine: np.ndarray,
    where: str,
    expected: str = "dates with a four-digit year (1678 to 2261) in a form such as 2024-05-31 13:00, 31.05.2024 or "
    "5/31/2024 1:00 PM, or whole numbers, as stamps",
) -> DataError:
    """``values`` are indexed by row; the first one that is not fine is named."""
    place = int(np.flatnonzero(~fine)[0]) if not fine.all() else 0
    value = values.iloc[place] if len(values) else "nothing"
    return DataError(
        "bad_stamps",
        expected=expected,
        got=repr(value) if isinstance(value, str) else str(value),
        where=f"{where}, row {values.index[place]}" if len(values) else where,
        fix="write ISO dates (2024-05-31 13:00), name the time column with time_col, or parse the column before",
    )
