"""Holidays by country and part of it: dates, days before them, refusals."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from openbook.data.calendar import calendar_columns
from openbook.data.holidays import check_country, holiday_names
from openbook.errors import MissingDependencyError, OpenBookError, UsageError


def marked(start: str, end: str, name: str, step: str = "D") -> list[str]:
    """Stamps from ``start`` to ``end`` at which a column is 1."""
    times = pd.date_range(start, end, freq=step).to_numpy()
    values = calendar_columns(times, (name,))[:, 0]
    assert values.dtype == np.float32
    assert set(np.unique(values)) <= {0.0, 1.0}
    return [str(stamp)[: 10 if step == "D" else 13] for stamp in times[values == 1]]


def test_holidays_are_those_of_the_place() -> None:
    """Melbourne Cup day is a holiday in Victoria only; Boxing Day 2021 fell on a Sunday and was made up for."""
    assert marked("2024-11-01", "2024-11-30", "holiday_AU-VIC") == ["2024-11-05"]
    assert marked("2024-11-01", "2024-11-30", "holiday_AU") == []
    assert marked("2021-12-20", "2021-12-31", "holiday_AU-VIC") == [f"2021-12-{day}" for day in (25, 26, 27, 28)]
    assert marked("2024-02-01", "2024-02-29", "holiday_KR") == [f"2024-02-{day:02d}" for day in (9, 10, 11, 12)]


def test_an_eve_is_the_day_before_also_over_the_new_year() -> None:
    assert marked("2023-12-20", "2024-01-02", "eve_AU-VIC") == ["2023-12-24", "2023-12-25", "2023-12-31"]


def test_every_hour_of_a_day_is_marked_and_shapes_are_kept() -> None:
    hours = marked("2024-11-04", "2024-11-06", "holiday_AU-VIC", "h")
    assert hours == [f"2024-11-05T{hour:02d}" for hour in range(24)]
    times = pd.date_range("2024-11-01", periods=60, freq="h").to_numpy().reshape(2, 30)
    both = calendar_columns(times, ("hour_sin_1", "eve_AU-VIC", "holiday_AU-VIC"))
    assert both.shape == (2, 30, 3)
    np.testing.assert_array_equal(both[..., :1], calendar_columns(times, ("hour_sin_1",)))
    assert calendar_columns(times[:0], ("holiday_AU",)).shape == (0, 30, 1)


@pytest.mark.parametrize("freq", ["D", "B", "h", "30min"])
def test_days_and_finer_steps_have_holidays(freq: str) -> None:
    assert holiday_names("AU-VIC", freq) == ("holiday_AU-VIC", "eve_AU-VIC")


@pytest.mark.parametrize("freq", ["W", "MS", "2D", "QS", 1])
def test_longer_steps_and_whole_numbers_have_none(freq: str | int) -> None:
    with pytest.raises(UsageError, match="day or finer") as caught:
        holiday_names("AU", freq)
    assert caught.value.code == "no_holidays"


@pytest.mark.parametrize(
    ("country", "words"), [("XX", "AU"), ("au", "'AU'"), ("AU-ZZ", "VIC"), ("", "country='AU'"), (61, "country='AU'")]
)
def test_unknown_places_are_refused_with_what_is_known(country: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_country(country)  # type: ignore[arg-type]
    assert caught.value.code == "unknown_country"
    assert words in caught.value.fix
    assert repr(country) in caught.value.got


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(MissingDependencyError, match=r"openbook\[holidays\]") as caught:
        check_country("NZ-CAN")  # a place no other test looked up
    assert isinstance(caught.value, OpenBookError)
    assert (caught.value.code, caught.value.exit_code) == ("missing_holidays", 2)
