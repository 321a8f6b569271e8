"""Days of tables that name offsets: the days of one local clock, in what is read and in what is given back."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
import pytz

import openbook as ob
from openbook.data.panel import make_panel
from openbook.data.stamps import parse_stamps
from openbook.data.table import read_table
from openbook.errors import DataError

DAYS = pd.date_range("2024-03-01", periods=40)
NEWER = pd.date_range("2024-06-01", periods=30)


def daily(stamps: object) -> pd.DataFrame:
    table = pd.DataFrame({"unique_id": "a", "ds": stamps})
    return table.assign(y=np.arange(len(table), dtype=float))


def next_day(history: pd.DatetimeIndex, newer: pd.DatetimeIndex) -> pd.Timestamp:
    return ob.Floor("naive", 1).fit(daily(history)).predict(daily(newer))["ds"].iloc[0]


@pytest.mark.parametrize("trained", ["UTC", "+01:00", "Europe/Berlin"])
@pytest.mark.parametrize("given", ["UTC", "+09:00", "-05:00", "Europe/Berlin"])
def test_the_day_after_the_newest_is_the_next_midnight_of_the_table_that_was_given(trained: str, given: str) -> None:
    newer = NEWER.tz_localize(given)
    told = next_day(DAYS.tz_localize(trained), newer)
    assert told == newer[-1] + pd.Timedelta(days=1)
    assert told.utcoffset() == newer[-1].utcoffset()


def test_winter_of_london_is_followed_by_its_summer() -> None:
    """+00:00 is an offset as good as others."""
    winter, summer = DAYS[:20].tz_localize("UTC"), NEWER.tz_localize("+01:00")
    assert next_day(winter, summer) == pd.Timestamp("2024-07-01", tz="+01:00")
    panel = make_panel(daily(winter))
    asked = pd.Series(["2024-03-21 00:00:00+01:00"], name="ds")
    assert panel.own_times(asked).tolist() == panel.future(1)[0].tolist()
    both = daily([str(day) for day in pd.date_range("2024-03-20", periods=20, tz="Europe/London")])
    told = ob.Floor("naive", 1).fit(both).predict(daily([f"2024-11-{day:02} 00:00:00+00:00" for day in range(1, 9)]))
    assert pd.to_datetime(told["ds"]).dt.tz_localize(None).tolist() == [pd.Timestamp("2024-11-09")]


def test_local_midnights_in_utc_stay_moments() -> None:
    """15:00 in UTC is midnight in Seoul: another table of Seoul's offset holds the same days."""
    seoul = pd.date_range("2024-03-01", periods=20, tz="Asia/Seoul")
    panel = make_panel(daily(seoul.tz_convert("UTC")))
    asked = pd.Series(["2024-03-21 00:00:00+09:00"], name="ds")
    assert panel.own_times(asked).tolist() == panel.future(1)[0].tolist()


def test_offsets_of_other_libraries_are_offsets() -> None:
    for zone in (pytz.FixedOffset(120), dt.timezone(dt.timedelta(hours=2))):
        newer = NEWER.tz_localize(zone)
        assert next_day(DAYS.tz_localize("+01:00"), newer) == newer[-1] + pd.Timedelta(days=1)


def test_python_and_mail_stamps_of_two_offsets_are_local_days() -> None:
    days = pd.date_range("2024-03-28", periods=8, tz="Europe/Berlin")
    python = [dt.datetime(day.year, day.month, day.day, tzinfo=dt.timezone(day.utcoffset())) for day in days]
    mail = [f"{day:%a, %d %b %Y %H:%M:%S %z}" for day in days]
    for written in (python, mail):
        stamps, notes = parse_stamps(pd.Series(written, dtype=object))
        assert stamps.tolist() == days.tz_localize(None).tolist()
        assert "of the local clock" in notes[0]
    change = pd.date_range("2024-03-31", periods=5, freq="h", tz="Europe/Berlin")
    hours = [f"{hour:%a, %d %b %Y %H:%M:%S %z}" for hour in change]
    assert parse_stamps(pd.Series(hours))[0].diff().dropna().eq(pd.Timedelta(hours=1)).all()


def test_a_frequency_of_another_weekday_is_told_which_one_fits() -> None:
    mondays = daily(pd.date_range("2024-01-01", periods=40, freq="W-MON"))
    with pytest.raises(DataError, match="pass freq='W-MON'"):
        make_panel(mondays, freq="W")
    with pytest.raises(DataError, match="pass freq='MS'"):
        make_panel(daily(pd.date_range("2024-01-01", periods=40, freq="MS")), freq="M")


def test_local_days_in_utc_are_told_which_zone_they_may_be_of() -> None:
    berlin = pd.date_range("2024-01-01", periods=200, tz="Europe/Berlin")
    with pytest.raises(DataError, match="midnight of another zone"):
        make_panel(daily(berlin.tz_convert("UTC")))


@pytest.mark.parametrize(("learned", "other"), [("W-MON", "W-SUN"), ("QS-JAN", "QS-FEB"), ("YS-JAN", "YS-APR")])
def test_a_new_series_may_be_counted_from_another_day(learned: str, other: str) -> None:
    floor = ob.Floor("naive", 2).fit(daily(pd.date_range("2015-01-01", periods=40, freq=learned)))
    newer = pd.date_range("2020-01-01", periods=14, freq=other)
    told = floor.predict(daily(newer))["ds"].tolist()
    assert told == list(pd.date_range(newer[-1], periods=3, freq=other)[1:])


def test_cells_that_hold_lists_are_text() -> None:
    table = daily(DAYS).assign(tags=[["a", "b"]] * 40, more=[{"k": 1}] * 40)
    assert read_table(table)["tags"].iloc[0] == "['a', 'b']"
    assert ob.inspect_table(table).usable
    assert ob.Floor("ridge", 1).fit(table.drop(columns="unique_id")).inputs.hist == ()
    for column in ("y", "tags"):
        with pytest.raises(DataError, match="numbers"):
            ob.Floor("ridge", 1, hist_exog_list=["tags"] if column == "tags" else []).fit(
                table.assign(y=[[1.0]] * 40) if column == "y" else table
            )


def test_names_of_several_parts_in_one_cell_are_names() -> None:
    table = daily(DAYS).assign(unique_id=[("a", 1), ("b", 2)] * 20)
    assert sorted(ob.Floor("naive", 1).fit(table).predict()["unique_id"]) == ["('a', 1)", "('b', 2)"]
    kinds = daily(DAYS).assign(kind=[("a", 1)] * 40)
    assert len(ob.Floor("ridge", 1, stat_exog_list=["kind"]).fit(kinds).predict()) == 1


def test_truth_values_as_categories_are_no_target() -> None:
    table = daily(DAYS).rename(columns={"y": "sold"}).assign(flag=pd.Categorical([True, False] * 20))
    assert read_table(table).attrs["targets"] == ["sold"]


def test_row_numbers_of_a_frame_are_left_out_as_those_of_a_file_are() -> None:
    table = daily(DAYS).drop(columns="unique_id").reset_index(names="Unnamed: 0")
    assert "Unnamed: 0" not in read_table(table).columns


@pytest.mark.parametrize("target", [pd.Index(["y", "z"]), np.array(["y", "z"]), ("y", "z")])
def test_targets_are_named_by_any_list(target: object) -> None:
    table = daily(DAYS).drop(columns="unique_id").assign(z=1.0)
    assert read_table(table, target_col=target)["unique_id"].unique().tolist() == ["y", "z"]  # type: ignore[arg-type]
    for wrong in (None, 1):
        with pytest.raises(ob.UsageError, match="name of one column"):
            read_table(table, target_col=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["%H:%M %d-%b-%Y", "%d %b %Y %H:%M", "%I:%M %p %d-%b-%Y"])
@pytest.mark.parametrize("step", ["D", "h"])
def test_a_year_behind_the_month_is_no_offset(form: str, step: str) -> None:
    stamps = pd.date_range("2023-12-30", periods=60, freq=step)
    parsed, notes = parse_stamps(pd.Series(stamps.strftime(form)))
    assert parsed.tolist() == list(stamps)
    assert notes == ()


@pytest.mark.parametrize(("learned", "given"), [(None, "UTC+09:00"), (None, "UTC"), ("UTC+09:00", None), ("UTC", None)])
def test_results_are_in_the_zone_of_the_table_they_were_made_from(learned: str | None, given: str | None) -> None:
    newer = daily(NEWER.tz_localize(given))
    told = ob.Floor("naive", 2).fit(daily(DAYS.tz_localize(learned))).predict(newer)
    assert told["ds"].tolist() == list(pd.date_range("2024-07-01", periods=2, tz=given))
    assert told["ds"].dtype == newer["ds"].dtype


def test_a_short_table_of_another_step_is_told_to_be_resampled() -> None:
    floor = ob.Floor("naive", 2).fit(daily(DAYS))
    with pytest.raises(DataError, match="rows D apart, as in training") as caught:
        floor.predict(daily(pd.date_range("2024-06-01", periods=6, freq="h")))
    assert "resample" in caught.value.fix


@pytest.mark.parametrize("named", ["GMT", "UTC", ""])
def test_offsets_behind_a_name_are_offsets(named: str) -> None:
    """As JavaScript writes its dates."""
    hours = pd.date_range("2024-03-30 20:00", periods=12, freq="h", tz="Europe/Berlin")
    written = [f"{hour:%a %b %d %Y %H:%M:%S} {named}{hour:%z}" for hour in hours]
    for part in (written, written[:4]):
        parsed, _ = parse_stamps(pd.Series(part))
        assert parsed.tolist() == list(hours[: len(part)])
