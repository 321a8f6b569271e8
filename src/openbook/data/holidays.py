"""Public holidays of a country, or of a part of it, as columns that are known ahead; dates from the package ``holidays``."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from types import ModuleType

import numpy as np

from openbook.data.frequency import Freq, step_seconds
from openbook.errors import MissingDependencyError, UsageError

HOLIDAY_COLUMNS = ("holiday_", "eve_")
_TWO_DAYS = 2 * 86_400.0


def check_country(country: str) -> str:
    """A country such as ``AU``, or a part of one such as ``AU-VIC``, that the package ``holidays`` knows; else refuses it.

    Raises ``UsageError`` for unknown places, ``MissingDependencyError`` without the package.

    >>> check_country("AU-VIC")
    'AU-VIC'
    """
    if not isinstance(country, str) or not country:
        raise _unknown(f"{country!r}", "write the code of a country, such as country='AU' or country='AU-VIC'")
    _days(country, 2024)
    return country


def holiday_names(country: str, freq: Freq) -> tuple[str, ...]:
    """The columns of a country's holidays; refuses steps longer than a day, whose stamps are no dates to look up.

    >>> holiday_names("AU-VIC", "h")
    ('holiday_AU-VIC', 'eve_AU-VIC')
    """
    seconds = step_seconds(freq)
    if seconds is None or seconds >= _TWO_DAYS:  # between one day and two: business days
        raise UsageError(
            "no_holidays",
            expected="stamps of a day or finer for the holidays of a country",
            got="whole-number time" if seconds is None else f"frequency {freq}",
            where=f"country={country!r}",
            fix="leave country out, or give a column that counts the holidays of each step as a known-future input",
        )
    return tuple(f"{kind}{country}" for kind in HOLIDAY_COLUMNS)


def holiday_column(times: np.ndarray, name: str) -> np.ndarray:
    """1 at stamps on a holiday (``holiday_AU``) or on the day before one (``eve_AU``), else 0; any shape of datetime64.

    Errors as in ``check_country``.

    >>> days = np.array(["2024-12-24", "2024-12-25", "2024-12-27"], "datetime64[D]")
    >>> holiday_column(days, "holiday_AU"), holiday_column(days, "eve_AU")
    (array([0., 1., 0.], dtype=float32), array([1., 1., 0.], dtype=float32))
    """
    kind, _, country = name.partition("_")
    days = times.astype("datetime64[D]") + np.timedelta64(1 if kind == "eve" else 0, "D")
    if not days.size:
        return np.zeros(days.shape, np.float32)
    first, last = (int(day.astype("datetime64[Y]").astype(int)) + 1970 for day in (days.min(), days.max()))
    holidays = [day for year in range(first, last + 1) for day in _days(country, year)]
    return np.isin(days, np.array(holidays, "datetime64[D]")).astype(np.float32)


@lru_cache(maxsize=4096)
def _days(country: str, year: int) -> tuple[dt.date, ...]:
    package = _package()
    land, _, part = country.partition("-")
    try:
        return tuple(sorted(package.country_holidays(land, subdiv=part or None, years=year)))
    except NotImplementedError as error:
        known = package.list_supported_countries()
        if land not in known:
            raise _unknown(repr(country), f"write the country's two letters in capitals{_near(land, known)}") from error
        parts = ", ".join(known[land]) or "none"
        raise _unknown(repr(country), f"parts of {land} with holidays of their own: {parts}") from error


def _near(land: str, known: dict[str, list[str]]) -> str:
    return f", here {land.upper()!r}" if land.upper() in known else ", such as 'AU', 'GB' or 'KR'"


def _unknown(got: str, fix: str) -> UsageError:
    return UsageError(
        "unknown_country",
        expected="a country, or a country and a part of it, with known holidays (AU, AU-VIC)",
        got=got,
        where="country",
        fix=fix,
    )


def _package() -> ModuleType:
    try:
        import holidays
    except ImportError as error:
        raise MissingDependencyError(
            "missing_holidays",
            expected="the package holidays, for country",
            got=str(error),
            where="import holidays",
            fix="pip install 'openbook[holidays]', or leave country out",
        ) from error
    return holidays  # type: ignore[no-any-return]
