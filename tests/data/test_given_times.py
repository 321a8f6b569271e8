"""Stamps and names of other tables: read as the learned one was, and refused where they can not be."""

from __future__ import annotations

import datetime
import logging

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.data.audit import inspect_table
from openbook.data.frequency import infer_freq
from openbook.data.kinds import as_input
from openbook.data.panel import as_numbers, make_panel
from openbook.data.stamps import parse_stamps
from openbook.data.table import read_table
from openbook.errors import DataError, UsageError


def daily(stamps: list[str] | pd.DatetimeIndex) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(len(stamps), dtype=float)})


@pytest.mark.parametrize(("form", "month"), [("%m/%d/%Y", 7), ("%d/%m/%Y", 7)])
def test_the_plan_of_a_week_is_read_as_the_steps_that_were_asked_for(form: str, month: int) -> None:
    """Days up to the twelfth can be swapped with months in every row; the history says which they are."""
    days = pd.date_range("2024-04-01", "2024-06-30")
    panel = make_panel(daily(days))
    asked = pd.Series(pd.date_range("2024-07-01", periods=7).strftime(form), name="ds")
    with pytest.raises(DataError, match="can be swapped"):
        parse_stamps(asked)
    assert panel.own_times(asked).tolist() == panel.future(7)[0].tolist()
    with pytest.raises(DataError, match="can be swapped"):  # neither reading is asked for
        panel.own_times(pd.Series(["01/02/2031", "01/03/2031"], name="ds"))


def test_days_with_the_offsets_of_both_seasons_are_days() -> None:
    days = pd.date_range("2024-03-28", periods=8, tz="Europe/Berlin")
    written = daily([str(day) for day in days])
    stamps, notes = parse_stamps(written["ds"])
    assert stamps.tolist() == days.tz_localize(None).tolist()
    assert "2 offsets, all at 00:00 of the local clock" in notes[0]
    panel = make_panel(written)
    assert (panel.freq, len(panel.times)) == ("D", 8)
    asked = pd.Series(["2024-04-05 00:00:00+02:00"], name="ds")
    assert panel.own_times(asked).tolist() == panel.future(1)[0].tolist()


def test_a_history_of_winter_is_asked_for_days_of_summer() -> None:
    panel = make_panel(daily([f"2024-03-{day} 00:00:00+01:00" for day in range(20, 31)]))
    asked = pd.Series(["2024-03-31 00:00:00+01:00", "2024-04-01 00:00:00+02:00"], name="ds")
    assert panel.own_times(asked).tolist() == panel.future(2)[0].tolist()


def test_hours_of_several_offsets_stay_instants() -> None:
    stamps, notes = parse_stamps(pd.Series(["2024-03-31 01:00+01:00", "2024-03-31 03:00+02:00"]))
    assert (stamps.diff().iloc[1], "UTC" in notes[0]) == (pd.Timedelta(hours=1), True)


def test_shifts_that_keep_their_local_clock_are_told_to_leave_the_zone_out() -> None:
    shifts = pd.date_range("2024-03-25 06:00", periods=40, freq="8h").tz_localize("Europe/Berlin")
    with pytest.raises(DataError, match="tz_localize"):
        make_panel(daily(shifts))
    assert make_panel(daily(shifts.tz_localize(None))).freq == "8h"


def test_quarters_of_several_fiscal_years_share_a_frequency() -> None:
    parts = [
        pd.date_range(first, periods=8, freq=freq) for first, freq in (("2020-03-31", "QE"), ("2020-01-31", "QE-JAN"))
    ]
    table = pd.concat([daily(days).assign(unique_id=name) for days, name in zip(parts, "ab", strict=True)])
    panel = make_panel(table)
    assert (panel.freq, panel.lengths.tolist()) == ("3ME", [8, 8])
    assert panel.future(1)[:, 0].astype("datetime64[D]").astype(str).tolist() == ["2022-03-31", "2022-01-31"]
    one = table[table["unique_id"] == "a"]
    assert infer_freq(one["unique_id"], one["ds"]) == "QE-MAR"


def test_categories_with_an_empty_cell_are_numbers_and_names() -> None:
    column = pd.Series(pd.Categorical([0, 1, None, 1]))
    numbers, wrong = as_numbers(column)
    assert (numbers.dropna().tolist(), wrong.any()) == ([0.0, 1.0, 1.0], False)
    table = daily(pd.date_range("2024", periods=4)).assign(unique_id=column)
    with pytest.raises(DataError, match="an id in every row"):
        make_panel(read_table(table))


def test_whole_number_names_of_several_targets_are_alike_as_floats() -> None:
    table = daily(pd.date_range("2024", periods=3)).assign(unique_id=7, z=1.0)
    told = [
        read_table(table.assign(unique_id=table["unique_id"].astype(kind)), target_col=["y", "z"])["unique_id"].unique()
        for kind in (int, float)
    ]
    assert told[0].tolist() == told[1].tolist() == ["7/y", "7/z"]


def test_days_of_several_hours_are_days_to_the_audit_too() -> None:
    days = pd.date_range("2024-03-20", periods=30, tz="Europe/Berlin")
    early, late = daily(days), daily(days.tz_localize(None).tz_localize("Europe/Berlin") + pd.Timedelta(0))
    late["ds"] = (days.tz_localize(None) + pd.Timedelta(hours=6)).tz_localize("Europe/Berlin")
    both = pd.concat([early, late.assign(unique_id="b")], ignore_index=True)
    assert len(make_panel(both).times) == 60
    found = inspect_table(both, id_col="unique_id", time_col="ds", target_col="y")
    assert [finding.code for finding in found.findings if finding.severity == "error"] == []


def test_results_have_columns_of_their_own_beside_the_callers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    kinds = pl.Enum(["x", "y"])
    frame = pl.DataFrame({"model": [1, 2], "feature": pl.Series(["x", "y"], dtype=kinds), "kind": ["x", "y"]})
    restore = as_input(frame.with_columns(pl.col("kind").cast(kinds)))[1]
    result = restore(pd.DataFrame({"model": ["openbook"], "feature": ["temperature"], "kind": ["x"]}))
    assert result.schema == {"model": pl.String, "feature": pl.String, "kind": kinds}


def test_newer_days_with_another_offset_are_forecast_from() -> None:
    """A history through a change of clocks, then a short table of summer alone: both are days of one local clock."""
    days = pd.date_range("2024-03-01", periods=50, tz="Europe/Berlin")
    history, newer = daily([str(day) for day in days]), daily([str(day) for day in days[-8:]])
    floor = ob.Floor("naive", 2).fit(history)
    told = floor.predict(newer)["ds"]
    assert pd.to_datetime(told).dt.tz_localize(None).tolist() == [
        pd.Timestamp("2024-04-20"),
        pd.Timestamp("2024-04-21"),
    ]
    with pytest.raises(DataError, match="without time zone"):
        floor.predict(newer.assign(ds=days[-8:]))  # of a place, not of an offset


def test_years_that_nanoseconds_do_not_count_are_named_with_their_row() -> None:
    days = [datetime.date(2024, 1, 1 + i) for i in range(20)] + [datetime.date(9999, 12, 31)]
    with pytest.raises(DataError, match=r"years 1678 to 2261, got 9999-12-31 .*row 20"):
        parse_stamps(pd.Series(days, dtype=object), "column 'ds'")


@pytest.mark.parametrize("freq", [pd.Timedelta("1D"), np.timedelta64(1, "D"), datetime.timedelta(days=1)])
def test_a_frequency_may_be_a_length_of_time(freq: object) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=30), "y": np.arange(30) % 5.0})
    assert len(ob.Floor("naive", 2, freq=freq).fit(frame).predict()) == 2
    with pytest.raises(UsageError):
        ob.Floor("naive", 2, freq=-1 * freq)
