"""Tables of any shape as one long frame."""

from __future__ import annotations

import datetime
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.data.kinds import as_input
from openbook.data.panel import make_panel
from openbook.data.table import read_table
from openbook.errors import DataError, UsageError

DAYS = pd.date_range("2024-01-01", periods=3)


def _bikes() -> pd.DataFrame:
    return pd.DataFrame(
        {"hour": DAYS.astype(str), "cnt": [1, 2, 3], "y": [4, 5, 6], "x": [7, 8, 9], "note": ["a", "b", "c"]}
    )


def test_a_long_table_keeps_its_columns_and_types() -> None:
    frame = pd.DataFrame(
        {"wind": [0.5, 0.6], "y": [1, 2], "ds": ["2024-01-01", "2024-01-02"], "unique_id": ["b", "a"]}, index=[5, 3]
    )
    table = read_table(frame)
    assert table.columns.tolist() == ["unique_id", "ds", "y", "wind"]
    assert table.index.tolist() == [0, 1]
    assert table["unique_id"].tolist() == ["b", "a"]
    assert table["ds"].dtype == "datetime64[ns]"
    assert table["y"].dtype == np.float64
    assert table.attrs["notes"] == []
    assert frame.columns.tolist() == ["wind", "y", "ds", "unique_id"]


def test_without_id_the_table_is_one_series_named_after_its_target() -> None:
    table = read_table(_bikes(), target_col="cnt")
    assert table["unique_id"].unique().tolist() == ["cnt"]
    assert table.columns.tolist() == ["unique_id", "ds", "y", "y_", "x", "note"]
    assert table["y"].tolist() == [1.0, 2.0, 3.0]
    assert table["y_"].tolist() == [4, 5, 6]
    assert table.attrs["notes"] == [
        "time is column 'hour', the only one of dates",
        "column 'y' is renamed: the target is 'cnt'; as an input it is 'y_' in the exogenous lists",
    ]


@pytest.mark.parametrize("target", ["cnt,x", " cnt , x ", ["cnt", "x"], ("cnt", "x")])
def test_several_targets_become_series_that_share_the_inputs(target: object) -> None:
    table = read_table(_bikes().drop(columns="y"), target_col=target)  # type: ignore[arg-type]
    assert table.columns.tolist() == ["unique_id", "ds", "y", "note"]
    assert table["unique_id"].tolist() == ["cnt"] * 3 + ["x"] * 3
    assert table["y"].tolist() == [1, 2, 3, 7, 8, 9]
    assert table["note"].tolist() == ["a", "b", "c"] * 2


def test_several_targets_of_several_ids() -> None:
    frame = pd.DataFrame({"unique_id": ["n", "s"], "ds": DAYS[:2], "load": [1, 2], "price": [3, 4]})
    table = read_table(frame, target_col="load,price")
    assert table["unique_id"].tolist() == ["n/load", "s/load", "n/price", "s/price"]


def test_a_column_with_a_comma_in_its_name_is_one_target() -> None:
    frame = pd.DataFrame({"ds": DAYS, "load, MW": [1.0, 2.0, 3.0]})
    assert read_table(frame, target_col="load, MW")["unique_id"].tolist() == ["load, MW"] * 3


def test_wide_tables_melt_every_column_of_numbers() -> None:
    table = read_table(_bikes().drop(columns="y"))
    assert table["unique_id"].unique().tolist() == ["cnt", "x"]
    assert "wide table" in table.attrs["notes"][1]
    assert "'note'" in table.attrs["notes"][2]


def test_the_only_column_of_numbers_is_the_target() -> None:
    table = read_table(_bikes()[["hour", "cnt"]].assign(unique_id="a"))
    assert table["y"].tolist() == [1, 2, 3]
    assert table["unique_id"].tolist() == ["a"] * 3


def test_stamps_and_ids_in_the_index() -> None:
    table = read_table(_bikes().drop(columns="hour").set_axis(DAYS), target_col="cnt")
    assert table["ds"].tolist() == DAYS.tolist()
    nixtla = pd.DataFrame({"ds": DAYS, "y": [1, 2, 3]}, index=pd.Index(["a"] * 3, name="unique_id"))
    assert read_table(nixtla)["unique_id"].tolist() == ["a"] * 3


def test_canonical_names_without_their_role_are_renamed() -> None:
    frame = _bikes().assign(ds=[3, 2, 1], unique_id="old")
    table = read_table(frame, time_col="hour", id_col="note", target_col="cnt")
    assert table.columns.tolist() == ["unique_id", "ds", "y", "y_", "x", "ds_", "unique_id_"]
    assert table["ds"].tolist() == DAYS.tolist()
    assert table["ds_"].tolist() == [3, 2, 1]
    assert table["unique_id_"].tolist() == ["old"] * 3
    assert [note.split(" is ")[0] for note in table.attrs["notes"]] == [
        "column 'unique_id'",
        "column 'ds'",
        "column 'y'",
    ]


def test_a_renamed_column_takes_the_next_free_name() -> None:
    table = read_table(_bikes().assign(y_=[0, 0, 0]), target_col="cnt")
    assert table["y_"].tolist() == [0, 0, 0]
    assert table["y__"].tolist() == [4, 5, 6]
    wide = read_table(_bikes(), target_col="cnt,x")
    assert wide["y_"].tolist() == [4, 5, 6] * 2


def test_a_copy_of_the_target_is_left_out() -> None:
    table = read_table(_bikes().assign(y=[1, 2, 3]), target_col="cnt")
    assert table.columns.tolist() == ["unique_id", "ds", "y", "x", "note"]
    assert table.attrs["notes"][1:] == ["column 'y' is left out: it equals the target 'cnt'"]


def test_canonical_names_may_swap_roles() -> None:
    frame = pd.DataFrame({"y": DAYS, "ds": [1.0, 2.0, 3.0], "unique_id": "a"})
    table = read_table(frame, time_col="y", target_col="ds")
    assert table["ds"].tolist() == DAYS.tolist()
    assert table["y"].tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        ({"time_col": "hourr"}, "missing_columns", ["'hourr'", "time_col", "did you mean 'hour'", "'cnt'"]),
        ({"target_col": "Cnt"}, "missing_columns", ["target_col", "did you mean 'cnt'"]),
        ({"id_col": "zzzz"}, "missing_columns", ["id_col", "pass one of them"]),
        ({"target_col": "cnt,nope"}, "missing_columns", ["'nope'"]),
    ],
)
def test_named_columns_that_are_absent(arguments: dict[str, str], code: str, parts: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        read_table(_bikes(), **arguments)
    assert caught.value.code == code
    assert caught.value.exit_code == 3
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_unclear_time_and_target_name_the_candidates() -> None:
    with pytest.raises(DataError, match="'hour', 'other'") as caught:
        read_table(_bikes().assign(other=DAYS))
    assert caught.value.code == "no_time_column"
    with pytest.raises(DataError, match="expected a column 'ds'"):
        read_table(_bikes().drop(columns="hour"))
    with pytest.raises(DataError, match="numbers: 'cnt', 'x'") as caught:
        read_table(_bikes().drop(columns="y").assign(unique_id="a"))
    assert caught.value.code == "no_target_column"
    with pytest.raises(DataError, match="none of them numbers"):
        read_table(_bikes()[["hour", "note"]])


def test_more_refusals() -> None:
    with pytest.raises(UsageError) as caught:
        read_table(_bikes(), target_col="hour")
    assert caught.value.code == "same_column"
    with pytest.raises(UsageError) as caught:
        read_table(_bikes(), target_col=[])
    assert caught.value.code == "no_target"
    with pytest.raises(UsageError) as caught:
        read_table(3)
    assert caught.value.code == "unknown_source"
    with pytest.raises(DataError) as refused:
        read_table(_bikes().iloc[:0])
    assert refused.value.code == "empty_table"
    with pytest.raises(DataError) as refused:
        read_table(pd.DataFrame([[1, 2, 3]], columns=["ds", "y", "y"]))
    assert refused.value.code == "duplicate_columns"
    with pytest.raises(DataError, match="column 'ds'") as refused:
        read_table(pd.DataFrame({"ds": ["x"], "y": [1]}))
    assert refused.value.code == "bad_stamps"


def test_text_targets_pass_on_for_the_panel_to_refuse() -> None:
    table = read_table(pd.DataFrame({"ds": [1, 2], "y": ["1", "many"]}))
    assert table["y"].tolist() == ["1", "many"]
    assert read_table(pd.DataFrame({"ds": [1, 2], "y": ["1", ""]}))["y"].isna().tolist() == [False, True]


def test_paths_read_like_frames(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("시각;통화수\n2024년 5월 31일 13시;1,5\n2024년 5월 31일 14시;2,5\n", encoding="cp949")
    for source in (path, str(path)):
        table = read_table(source)
        assert table["unique_id"].tolist() == ["통화수"] * 2
        assert table["ds"].dt.hour.tolist() == [13, 14]
        assert table["y"].tolist() == [1.5, 2.5]
    assert any("decimal comma" in note for note in table.attrs["notes"])
    with pytest.raises(DataError, match=r"calls\.csv"):
        read_table(path, target_col="nope")


def test_polars_equals_pandas() -> None:
    frame = pd.DataFrame({"unique_id": ["a", "a", "b"], "ds": DAYS, "y": [1.0, None, 3.0], "x": [1, 2, 3]})
    other = pl.from_pandas(frame)
    for source in (other, other.lazy(), other.with_columns(pl.col("unique_id").cast(pl.Categorical))):
        pd.testing.assert_frame_equal(read_table(source), read_table(frame))


def test_polars_results_keep_the_callers_types() -> None:
    frame = pl.DataFrame({"unique_id": ["a", "a"], "ds": [DAYS[0].date(), DAYS[1].date()], "y": [1.0, 2.0]})
    _, restore = as_input(frame)
    result = restore(pd.DataFrame({"unique_id": ["a"], "ds": DAYS[2:], "cutoff": DAYS[1:2], "OpenBook": [3.0]}))
    assert isinstance(result, pl.DataFrame)
    assert result.schema == {"unique_id": pl.String, "ds": pl.Date, "cutoff": pl.Date, "OpenBook": pl.Float64}
    clock = frame.with_columns(pl.col("ds").cast(pl.Datetime("us", "Asia/Seoul")))
    _, restore = as_input(clock)
    zoned = pd.DataFrame({"unique_id": ["a"], "ds": DAYS[2:].tz_localize("Asia/Seoul")})
    assert clock.join(restore(zoned), on=["unique_id", "ds"], how="left").height == 2


def test_pandas_passes_through() -> None:
    frame, restore = as_input(_bikes())
    assert restore(frame) is frame


def test_polars_and_torch_stay_unloaded() -> None:
    code = (
        "import sys, openbook.data.table, openbook.data.audit; print('polars' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("ids", [["north", "south"], [7, 8]])
def test_a_forgotten_id_column_is_named(ids: list[object]) -> None:
    stamps = pd.date_range("2024-01-01", periods=30)
    parts = [pd.DataFrame({"day": stamps, "sold": np.arange(30.0) + k, "price": 9.5, "store": ids[k]}) for k in (0, 1)]
    table = pd.concat(parts)
    for target in ({}, {"target_col": "sold"}):
        with pytest.raises(DataError, match=r"one row for each of the 2 values of column 'store'.*--id-col store"):
            read_table(table, time_col="day", **target)  # type: ignore[arg-type]
    assert read_table(table, id_col="store", time_col="day", target_col="sold")["unique_id"].nunique() == 2


def test_repeated_stamps_that_no_column_tells_apart_are_left_to_the_checks() -> None:
    stamps = pd.date_range("2024-01-01", periods=30)
    table = pd.DataFrame({"ds": [*stamps, *stamps], "y": np.arange(60.0), "kind": ["a", "b", "c"] * 20})
    assert len(read_table(table)) == 60
    few = pd.concat([table[:30].assign(kind="a"), table[:3].assign(y=-1.0, kind="b")])
    assert len(read_table(few)) == 33  # three stamps twice are an hour of autumn, not two series


def test_hours_in_a_column_of_their_own_are_no_series() -> None:
    days = pd.date_range("2024-01-01", periods=10).repeat(24)
    table = pd.DataFrame({"date": days, "hour": np.tile(np.arange(24), 10), "load": np.arange(240.0)})
    with pytest.raises(DataError) as caught:
        read_table(table, time_col="date", target_col="load")
    assert "pd.to_timedelta(df['hour'], unit=\"h\")" in caught.value.fix
    table["ds"] = pd.to_datetime(table["date"]) + pd.to_timedelta(table["hour"], unit="h")
    assert len(read_table(table, target_col="load")) == 240


def test_several_id_columns_are_refused_in_words() -> None:
    table = pd.DataFrame({"store": ["a"], "product": ["b"], "ds": ["2024-01-01"], "y": [1.0]})
    with pytest.raises(UsageError, match="the name of one column") as caught:
        read_table(table, id_col=["store", "product"])  # type: ignore[arg-type]
    assert caught.value.code == "bad_column"


def _unclear_file(folder: Path) -> Path:
    """A file whose columns 'sold' and 'y' can mean thousands or decimals; 'code' has zeros in front."""
    rows = [f"2024-01-{day + 1:02d};{day};{'1.034' if day == 3 else 900 + day};1.5;00{day}" for day in range(9)]
    rows = [row.replace(";1.5;", ";1.034;" if place == 3 else f";{900 + place};") for place, row in enumerate(rows)]
    path = folder / "unclear.csv"
    path.write_text("day;clear;sold;y;code\n" + "\n".join(rows) + "\n")
    return path


def test_a_column_that_a_file_leaves_as_text_is_no_target(tmp_path: Path) -> None:
    path = _unclear_file(tmp_path)
    for target, why in (("sold", "decimals or thousands"), ("code", "zeros in front")):
        table = read_table(path, target_col=target)
        assert not pd.api.types.is_numeric_dtype(table["y"])
        with pytest.raises(DataError, match=why) as caught:
            make_panel(table)
        assert caught.value.code == "non_numeric"
    with pytest.raises(DataError, match="decimals or thousands") as caught:
        read_table(path, target_col="clear,sold")
    assert caught.value.code == "non_numeric"
    assert "'sold'" in caught.value.where


def test_a_column_that_a_file_leaves_as_text_is_no_input(tmp_path: Path) -> None:
    table = read_table(_unclear_file(tmp_path), target_col="clear")
    for column in ("sold", "y_"):  # renamed, too
        with pytest.raises(DataError, match="decimals or thousands"):
            make_panel(table, hist=[column])


def test_text_numbers_of_a_frame_are_numbers() -> None:
    frame = pd.DataFrame({"ds": DAYS, "y": ["1.034", "950", "987"], "x": ["007", "1.5", ""]})
    assert make_panel(read_table(frame), hist=["x"]).target.tolist() == [1.034, 950, 987]


@pytest.mark.parametrize("absent", [None, np.nan])
def test_rows_without_an_id_are_no_series_of_several_targets(absent: object) -> None:
    frame = pd.DataFrame({"unique_id": ["n", absent, "n"], "ds": DAYS, "load": [1, 2, 3], "price": [3, 4, 5]})
    table = read_table(frame, target_col="load,price")
    assert table["unique_id"].isna().tolist() == [False, True, False] * 2
    with pytest.raises(DataError) as caught:
        make_panel(table)
    assert caught.value.code == "missing_ids"
    assert "row 1" in caught.value.where


def test_periods_in_an_unnamed_index_are_the_time() -> None:
    months = pd.period_range("2024-01", periods=3, freq="M")
    table = read_table(pd.DataFrame({"sold": [1, 2, 3]}, index=months))
    assert table["ds"].tolist() == months.to_timestamp().tolist()
    assert "index gives" in table.attrs["notes"][0]


def test_wide_tables_of_decimals_melt() -> None:
    values = [Decimal("1.5"), None, Decimal(3)]
    table = read_table(pd.DataFrame({"ds": DAYS, "north": values, "south": values, "note": ["1", "2", "3"]}))
    assert table["unique_id"].unique().tolist() == ["north", "south"]
    assert make_panel(table).target[[0, 2]].tolist() == [1.5, 3]


def test_polars_stamps_as_text_and_numbers_come_back_as_dates() -> None:
    days = [f"2024-01-0{day}" for day in range(1, 7)]
    whole = [int(day.replace("-", "")) for day in days]
    for ds, expected, kind in (
        (days, "2024-01-07", pl.String),
        ([f"{day} 12:00" for day in days], "2024-01-07 12:00:00", pl.String),
        ([f"{day} 12:00+01:00" for day in days], "2024-01-07 12:00:00+01:00", pl.String),
        (whole, datetime.datetime(2024, 1, 7), pl.Datetime),
        (pl.Series(whole, dtype=pl.Int32), datetime.datetime(2024, 1, 7), pl.Datetime),
        (pl.Series(range(6), dtype=pl.Int32), 6, pl.Int32),
    ):
        frame = pl.DataFrame({"ds": ds, "y": [1.0] * 6})
        floor = ob.Floor("naive", 1).fit(frame)
        told = floor.predict()
        assert told["ds"].to_list() == [expected]
        assert told.schema["ds"] == kind
        past = floor.cross_validation(frame)
        assert past.schema["cutoff"].is_temporal() == past.schema["ds"].is_temporal()
        assert (past.schema["cutoff"] == pl.String) == (kind == pl.String)


def test_ids_that_are_hashes_come_back_as_they_were() -> None:
    ids = pl.Series([2**63 + 11, 2**64 - 3], dtype=pl.UInt64)
    table = pl.concat(
        [
            pl.DataFrame({"unique_id": [name] * 30, "ds": range(30), "y": [float(i % 5) for i in range(30)]})
            for name in ids
        ],
        how="vertical_relaxed",
    ).with_columns(pl.col("unique_id").cast(pl.UInt64))
    found = ob.Floor("naive", 2).fit(table).predict()
    assert found.schema["unique_id"] == pl.UInt64
    assert found["unique_id"].unique().sort().to_list() == sorted(ids)
