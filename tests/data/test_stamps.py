"""Stamps as people write them."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from openbook.data.stamps import looks_like_dates, parse_stamps
from openbook.errors import DataError


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["2024-05-31", "2024-06-01 13:00"], ["2024-05-31", "2024-06-01 13:00"]),
        (["2024/05/31", "2024/06/01"], ["2024-05-31", "2024-06-01"]),
        (["2024년 5월 31일", "2024년 6월 1일"], ["2024-05-31", "2024-06-01"]),
        (["2024년 5월 31일 오후 1시 5분", "2024년 6월 1일 (토) 오전 12:30"], ["2024-05-31 13:05", "2024-06-01 00:30"]),
        (["2024년5월31일13시", "2024년5월31일14시"], ["2024-05-31 13:00", "2024-05-31 14:00"]),
        (["2024.5.31 13:00", "2024.6.1 1:05:07"], ["2024-05-31 13:00", "2024-06-01 01:05:07"]),
        (["2024. 5. 31.", "2024. 6. 1."], ["2024-05-31", "2024-06-01"]),
        (["2024년 5월", "2024년 6월"], ["2024-05-01", "2024-06-01"]),
        (["2024.05", "2024.10"], ["2024-05-01", "2024-10-01"]),
        (["31/05/2024", "01/06/2024"], ["2024-05-31", "2024-06-01"]),
        (["05/31/2024 1:00 PM", "06/01/2024 12:30 am"], ["2024-05-31 13:00", "2024-06-01 00:30"]),
        (
            ["31.05.2024 1305", "31.05.2024 0930", "31.05.2024 2400"],
            ["2024-05-31 13:05", "2024-05-31 09:30", "2024-06-01"],
        ),
        (["31.05.2024 13.05", "31.05.2024 13.05.07"], ["2024-05-31 13:05", "2024-05-31 13:05:07"]),
        (["31/05/2024 0930 pm", "31/05/2024 9 pm"], ["2024-05-31 21:30", "2024-05-31 21:00"]),
        (["1.2.2024", "2.3.2024"], ["2024-02-01", "2024-03-02"]),
        (["31 May 2024", "June 1, 2024"], ["2024-05-31", "2024-06-01"]),
        (["2024-05-31 24:00", "2024-06-01 01:00"], ["2024-06-01 00:00", "2024-06-01 01:00"]),
        (["20240531", "20240601"], ["2024-05-31", "2024-06-01"]),
        (["202405", "202406"], ["2024-05-01", "2024-06-01"]),
        ([202412, 202501], ["2024-12-01", "2025-01-01"]),
    ],
)
def test_texts_read_as_dates(texts: list[str], expected: list[str]) -> None:
    parsed, _ = parse_stamps(pd.Series(texts))
    assert parsed.tolist() == [pd.Timestamp(text) for text in expected]


@pytest.mark.parametrize(
    ("stamps", "part"),
    [
        (["31/05/2024", "01/06/2024"], "day-month-year"),
        (["05/31/2024", "06/01/2024"], "month-day-year"),
        (["2024-05-31 24:00", "2024-06-01 01:00"], "next day"),
        (["2024-03-31T01:00+01:00", "2024-03-31T03:00+02:00"], "UTC"),
        ([20240531, 20240601], "read as dates"),
    ],
)
def test_every_reading_that_is_not_plain_is_noted(stamps: list[object], part: str) -> None:
    _, notes = parse_stamps(pd.Series(stamps), "column 'day'")
    assert len(notes) == 1
    assert part in notes[0]
    assert "'day'" in notes[0]


def test_plain_dates_leave_no_note() -> None:
    assert parse_stamps(pd.Series(["2024-05-31"]))[1] == ()


def test_dates_that_can_be_swapped_in_every_row_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        parse_stamps(pd.Series(["01/02/2024", "02/03/2024"]), "column 'day'")
    assert caught.value.code == "ambiguous_dates"
    assert caught.value.exit_code == 3
    assert "'01/02/2024'" in str(caught.value)
    assert "column 'day'" in str(caught.value)


@pytest.mark.parametrize(
    ("stamps", "got", "row"),
    [
        (["2024-05-31", "x"], "'x'", 1),
        (["2024-05-31", "2024-05-31", "13:00"], "'13:00'", 2),
        (["1.2.24"], "'1.2.24'", 0),
        (["31.05.2024 13:05", "31.05.2024 13 05"], "'31.05.2024 13 05'", 1),
        (["31.05.2024 13:05", "31.05.2024 305"], "'31.05.2024 305'", 1),
        (["Jan-24"], "'Jan-24'", 0),
        (["2024-03-01", "2024-02-30"], "'2024-02-30'", 1),
        (["31/05/2024", "13/13/2024"], "'13/13/2024'", 1),
        ([1.0, 2.5], "2.5", 1),
        ([True, False], "True", 0),
        (["2024-03-31T01:00+09:00", "2024-03-31T03:00"], "'2024-03-31T03:00'", 1),
    ],
)
def test_what_is_no_date_is_refused_with_its_row(stamps: list[object], got: str, row: int) -> None:
    with pytest.raises(DataError) as caught:
        parse_stamps(pd.Series(stamps))
    assert caught.value.code == "bad_stamps"
    assert caught.value.got == got
    assert caught.value.where.endswith(f"row {row}")


def test_dates_beyond_nanoseconds_are_refused() -> None:
    far = pd.Series(np.array(["2024-01-01", "9999-01-01"], dtype="datetime64[s]"))
    with pytest.raises(DataError, match="9999-01-01"):
        parse_stamps(far)


@pytest.mark.parametrize("numbers", [[2019, 2020], [1717113600, 1717117200], [202401, 202453], [0, 1]])
def test_other_whole_numbers_stay(numbers: list[int]) -> None:
    for stamps in (pd.Series(numbers), pd.Series(numbers).astype(float), pd.Series(numbers).astype(str)):
        parsed, _ = parse_stamps(stamps)
        assert parsed.dtype == np.int64
        assert parsed.tolist() == numbers


def test_a_bad_value_among_compact_dates_is_refused_with_its_row() -> None:
    days = pd.Series(pd.date_range("2023-02-01", periods=40).strftime("%Y%m%d"))
    hours = pd.Series(pd.date_range("2023-02-01", periods=40, freq="h").strftime("%Y%m%d%H"))
    for texts, bad in ((days, "20230229"), (days, "2023022"), (hours, "2023020125")):
        texts = texts.copy()
        texts[30] = bad
        for stamps in (texts, texts.astype("int64"), texts.astype("float64")):
            with pytest.raises(DataError) as caught:
                parse_stamps(stamps)
            assert caught.value.code == "bad_stamps"
            assert bad in caught.value.got
            assert caught.value.where.endswith("row 30")


def test_hour_24_of_compact_dates_is_the_next_day() -> None:
    hours = [2023020100 + hour for hour in range(1, 25)]
    for stamps in (pd.Series(hours), pd.Series(hours) * 100):
        parsed, notes = parse_stamps(stamps)
        assert parsed.tolist() == pd.date_range("2023-02-01 01:00", periods=24, freq="h").tolist()
        assert "next day" in notes[1]


def test_compact_dates_with_the_year_last_are_refused() -> None:
    days = pd.date_range("2023-02-01", periods=40)
    for form in ("%d%m%Y", "%m%d%Y"):
        for stamps in (pd.Series(days.strftime(form)), pd.Series(days.strftime(form)).astype("int64")):
            with pytest.raises(DataError, match="year first") as caught:
                parse_stamps(stamps)
            assert caught.value.code == "bad_stamps"
    counter = pd.Series(range(1012000, 1012090))
    assert parse_stamps(counter)[0].tolist() == counter.tolist()


def test_empty_cells_stay_empty_and_the_index_stays() -> None:
    stamps = pd.Series(["2024-05-31", None, "", "2024-05-31"], index=[7, 5, 3, 1], name="day")
    parsed, _ = parse_stamps(stamps)
    assert parsed.index.tolist() == [7, 5, 3, 1]
    assert parsed.name == "day"
    assert parsed.isna().tolist() == [False, True, True, False]
    whole, _ = parse_stamps(pd.Series(["1", None]))
    assert whole.isna().tolist() == [False, True]


def test_kinds_of_columns_agree() -> None:
    days = pd.date_range("2024-01-01", periods=3)
    for stamps in (
        pd.Series(days),
        pd.Series(days.strftime("%Y-%m-%d")),
        pd.Series(pd.Categorical(days.strftime("%Y-%m-%d"))),
        pd.Series(days.strftime("%Y-%m-%d")).astype("string"),
        pd.Series(pd.period_range("2024-01-01", periods=3, freq="D")),
        pd.Series([datetime.date(2024, 1, day) for day in (1, 2, 3)], dtype=object),
        pd.Series(days).astype("datetime64[s]"),
    ):
        assert parse_stamps(stamps)[0].astype("datetime64[ns]").tolist() == days.tolist()


def test_time_zones_are_kept() -> None:
    parsed, notes = parse_stamps(pd.Series(["2024-05-31T13:00+09:00", "2024-05-31T14:00+09:00"]))
    assert parsed.dt.tz is not None
    assert parsed.iloc[0] == pd.Timestamp("2024-05-31 04:00", tz="UTC")
    assert notes == ()


@pytest.mark.parametrize(
    ("values", "dates"),
    [
        (["2024-01-01"], True),
        (["01/02/2024"], True),
        (["a"], False),
        ([1, 2], False),
        ([20240101, 20240102], True),
        ([1.5], False),
        ([True], False),
        ([None], False),
    ],
)
def test_looks_like_dates(values: list[object], dates: bool) -> None:
    assert looks_like_dates(pd.Series(values)) is dates


def test_numbers_that_are_no_months_stay_numbers() -> None:
    for numbers in ([202412, 202413], [202400, 202401], [189912, 190001], [20241, 20242]):
        parsed, notes = parse_stamps(pd.Series(numbers))
        assert (parsed.tolist(), notes) == (numbers, ())


def test_offsets_of_two_digits_are_time_zones() -> None:
    winter, summer = "2024-03-31 01:00:00+01", "2024-03-31 03:00:00.5+02"
    parsed, notes = parse_stamps(pd.Series([winter, summer]))
    assert parsed.tolist() == [pd.Timestamp(winter).tz_convert("UTC"), pd.Timestamp(summer).tz_convert("UTC")]
    assert "UTC" in notes[0]
    assert parse_stamps(pd.Series(["2024-03-31T01+01", "2024-03-31T03+02"]))[0].dt.hour.tolist() == [0, 1]
    with pytest.raises(DataError, match="some stamps name their offset"):
        parse_stamps(pd.Series([winter, "2024-03-31 03:00:00"]))


def test_capital_names_of_months_are_no_offsets() -> None:
    told, _ = parse_stamps(pd.Series(["30-SEP-2024", "01-OCT-2024", "05-AUG-2024"]))
    assert told.dt.month.tolist() == [9, 10, 8]


WEEKS = [year * 100 + week for year in (2023, 2024) for week in range(1, 53)]
PERIODS = [year * 100 + period for year in (2023, 2024) for period in range(1, 14)]
QUARTERS = [year * 10 + quarter for year in range(2020, 2024) for quarter in range(1, 5)]
DAYS = [int(day.strftime("%y%m%d")) for day in pd.date_range("2024-01-20", periods=40)]
YEAR_DAYS = [int(day.strftime("%Y%j")) for day in pd.date_range("2023-12-01", periods=60)]


@pytest.mark.parametrize(
    ("numbers", "leap", "said"),
    [
        (WEEKS, "202352 followed by 202401", "year and week"),
        (PERIODS, "202313 followed by 202401", "year and period of four weeks"),
        (QUARTERS, "20204 followed by 20211", "year and quarter"),
        (DAYS, "240131 followed by 240201", "year, month and day"),
        (YEAR_DAYS, "2023365 followed by 2024001", "year and day of the year"),
    ],
)
def test_numbers_that_leap_with_the_calendar_are_refused(numbers: list[int], leap: str, said: str) -> None:
    """They would be counted on past the end of the year: week 53, 54, 55 …"""
    for stamps in (pd.Series(numbers), pd.Series(numbers[::-1]).astype(str)):
        with pytest.raises(DataError, match="one number") as caught:
            parse_stamps(stamps)
        assert (caught.value.code, caught.value.got) == ("bad_stamps", f"{leap}: {said} as one number")


def test_what_is_said_to_make_dates_of_calendar_numbers_does() -> None:
    for numbers, first, step in ((WEEKS, "2023-01-02", 7), (QUARTERS, "2020-01-01", 91), (YEAR_DAYS, "2023-12-01", 1)):
        with pytest.raises(DataError) as caught:
            parse_stamps(pd.Series(numbers))
        made = eval(caught.value.fix.split(" as ")[1].split(" makes")[0], {"pd": pd, "ds": pd.Series(numbers)})
        assert made.iloc[0] == pd.Timestamp(first)
        assert (made.iloc[1] - made.iloc[0]).days == step


@pytest.mark.parametrize(
    "numbers",
    [
        range(202340, 202440),  # counts on through the end of a year
        [202301, 202340, 202401, 202405],
        [*range(202301, 202330), *range(202331, 202340)],  # a gap, no leap
        range(240101, 240132),
        range(2023001, 2023300),
    ],
)
def test_whole_numbers_that_count_stay_numbers(numbers: list[int]) -> None:
    assert parse_stamps(pd.Series(list(numbers)))[0].tolist() == list(numbers)


@pytest.mark.parametrize("odd", [202413, 202400])
def test_one_odd_month_among_many_is_refused(odd: int) -> None:
    months = [year * 100 + month for year in range(2020, 2030) for month in range(1, 13)]
    with pytest.raises(DataError, match=str(odd)):
        parse_stamps(pd.Series([*months, odd]))


def test_days_and_months_that_change_places_are_named_so() -> None:
    texts = pd.Series(["25/01/2024", "31/01/2024", "02/13/2024"])
    with pytest.raises(
        DataError, match=r"days first in all dates, as in '25/01/2024', or months first in all, got '02/13/2024'"
    ):
        parse_stamps(texts, "column 'ds'")
