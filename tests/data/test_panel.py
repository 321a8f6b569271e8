"""make_panel: what it accepts comes out as a regular grid, what it refuses says where and why."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import polars as pl
import pytest
import pytz
from dateutil import tz
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.data.panel import Panel, as_numbers, make_panel
from openbook.data.table import read_table
from openbook.errors import DataError, UsageError


def _frame(**changes: object) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=4)
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": [1.0, 2.0, 3.0, 4.0], "x": [5, 6, 7, 8]})
    return frame.assign(**changes)


def _same(one: Panel, other: Panel) -> None:
    for name in ("ids", "offsets", "times", "target", "hist", "futr"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.freq, one.timezone) == (other.freq, other.timezone)


def test_values_stand_where_they_belong() -> None:
    frame = pd.DataFrame(
        {"unique_id": ["b", "a", "b", "a"], "ds": [4, 1, 2, 2], "y": [40.0, 1.0, 20.0, 2.0], "x": [4, 1, 2, 3]}
    )
    panel = make_panel(frame, futr=["x"], freq=1)
    assert panel.ids.tolist() == ["a", "b"]
    assert panel.offsets.tolist() == [0, 2, 5]
    assert panel.times.tolist() == [1, 2, 2, 3, 4]
    np.testing.assert_array_equal(panel.target, [1, 2, 20, np.nan, 40])
    np.testing.assert_array_equal(panel.futr[:, 0], [1, 3, 2, np.nan, 4])
    assert panel.hist.shape == (5, 0)
    assert panel.future(2).tolist() == [[3, 4], [5, 6]]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 12), min_size=1, max_size=4),
    freq=st.sampled_from(["h", "D", "MS", "W-SUN", "15min", "B", 1, 3]),
    seed=st.integers(0, 10**6),
)
def test_shuffled_rows_give_the_same_panel(lengths: list[int], freq: str | int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for number, length in enumerate(lengths):
        times = (
            np.arange(length) * freq
            if isinstance(freq, int)
            else pd.date_range("2024-01-07", periods=length, freq=freq)
        )
        part = pd.DataFrame(
            {"unique_id": f"s{number}", "ds": times, "y": rng.normal(size=length), "x": rng.normal(size=length)}
        )
        parts.append(part[(rng.random(length) > 0.3) | np.isin(np.arange(length), [0, length - 1])])
    frame = pd.concat(parts, ignore_index=True)
    shuffled = frame.iloc[rng.permutation(len(frame))]
    once = make_panel(frame, hist=["x"], freq=freq)
    _same(once, make_panel(shuffled, hist=["x"], freq=freq))
    assert once.lengths.tolist() == lengths
    assert np.isfinite(once.target).sum() == len(frame)
    doubled = pd.concat([frame, frame.iloc[: len(frame) // 2]])
    _same(once, make_panel(doubled, hist=["x"], freq=freq))


def test_inputs_are_not_changed_and_may_be_read_only() -> None:
    frame = _frame()
    frame["y"].to_numpy().flags.writeable = False
    before = frame.copy()
    make_panel(frame[::-1], hist=["x"])
    pd.testing.assert_frame_equal(frame, before)


def test_gaps_become_missing_rows() -> None:
    panel = make_panel(_frame().drop(index=[1, 2]), freq="D", hist=["x"])
    np.testing.assert_array_equal(panel.target, [1, np.nan, np.nan, 4])
    np.testing.assert_array_equal(panel.hist[:, 0], [5, np.nan, np.nan, 8])


def test_polars_equals_pandas() -> None:
    frame = _frame(y=[1.0, None, 3.0, 4.0])
    _same(make_panel(read_table(pl.from_pandas(frame)), futr=["x"]), make_panel(read_table(frame), futr=["x"]))


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame: frame.convert_dtypes(),
        lambda frame: frame.convert_dtypes(dtype_backend="pyarrow"),
        lambda frame: frame.astype({"unique_id": "category", "y": "float32"}),
        lambda frame: frame.astype({"y": str, "ds": str}),
        lambda frame: frame.assign(y=[decimal.Decimal(value) for value in (1, 2, 3, 4)]),
        lambda frame: frame.assign(ds=frame["ds"].dt.date),
        lambda frame: frame.assign(ds=frame["ds"].dt.to_period("D")),
        lambda frame: frame.assign(ds=frame["ds"].astype("datetime64[s]")),
    ],
)
def test_column_types_do_not_matter(convert: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    _same(make_panel(convert(_frame()), hist=["x"]), make_panel(_frame(), hist=["x"]))


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint32", "Int64", "float64", "str"])
def test_whole_number_time_of_every_type(dtype: str) -> None:
    panel = make_panel(_frame(ds=pd.Series([1, 2, 4, 5]).astype(dtype)))
    assert panel.freq == 1
    assert panel.times.dtype == np.int64
    assert panel.times.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Seoul", "UTC", "UTC+09:00"])
@pytest.mark.parametrize("freq", ["15min", "h", "D", "B", "W-SUN", "MS", "QS-JAN"])
@pytest.mark.parametrize("start", ["2024-03-20", "2024-10-20"])
def test_time_zones_over_clock_changes(zone: str, freq: str, start: str) -> None:
    times = pd.date_range(start, periods=1300 if freq == "15min" else 330 if freq == "h" else 40, freq=freq, tz=zone)
    frame = pd.DataFrame({"unique_id": "a", "ds": times[:-2], "y": np.arange(len(times) - 2.0)})
    panel = make_panel(frame)
    assert panel.freq == freq or freq == "QS-JAN"
    assert np.isfinite(panel.target).all()
    assert panel.timezone is not None
    assert panel.local_times(panel.times).tolist() == times[:-2].tolist()
    assert panel.local_times(panel.future(2)[0]).tolist() == times[-2:].tolist()
    np.testing.assert_array_equal(panel.own_times(pd.Series(times[-2:])), panel.future(2)[0])


_MIDNIGHT_ZONES = [("America/Sao_Paulo", "2018-11-04"), ("Asia/Beirut", "2024-03-31")]


def _local(start: str, periods: int, freq: str, zone: str) -> pd.Series:
    """Wall times with a zone, those that do not exist moved to the end of the gap, as users localise them."""
    times = pd.date_range(start, periods=periods, freq=freq)
    return pd.Series(times.tz_localize(zone, nonexistent="shift_forward"))


@pytest.mark.parametrize(("zone", "day"), _MIDNIGHT_ZONES)
@pytest.mark.parametrize("freq", ["D", "W-SUN"])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("rows_before", [0, 1, 5])
def test_days_that_begin_at_one_stay_on_the_grid(zone: str, day: str, freq: str, given: bool, rows_before: int) -> None:
    start = pd.Timestamp(day) - rows_before * pd.tseries.frequencies.to_offset(freq)
    times = _local(str(start), rows_before + 4, freq, zone)
    assert times.iloc[rows_before].hour == 1
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(float(len(times)))})
    panel = make_panel(frame, freq=freq if given else None)
    assert panel.freq == freq
    assert panel.target.tolist() == frame["y"].tolist()
    assert panel.times[rows_before] == np.datetime64(day)
    assert panel.local_times(panel.times).tolist() == times.tolist()
    cut = panel.until(np.array([rows_before])) if rows_before else panel
    if rows_before:
        assert panel.local_times(cut.future(2)[0]).tolist() == times[rows_before : rows_before + 2].tolist()
        np.testing.assert_array_equal(cut.own_times(times[rows_before : rows_before + 2]), cut.future(2)[0])


def test_each_series_keeps_its_own_time_of_day_over_the_change() -> None:
    zone = "America/Sao_Paulo"
    late = _local("2018-10-31 01:00", 8, "D", zone)
    parts = {"late": late, "early": _local("2018-10-31", 8, "D", zone), "one": _local("2018-11-04", 1, "D", zone)}
    frame = pd.concat([pd.DataFrame({"unique_id": name, "ds": times, "y": 1.0}) for name, times in parts.items()])
    panel = make_panel(frame.reset_index(drop=True))
    assert panel.lengths.tolist() == [8, 8, 1]
    hours = [set(pd.Series(panel.times[panel.rows(series)]).dt.hour) for series in range(3)]
    assert dict(zip(panel.ids.tolist(), hours, strict=True)) == {"early": {0}, "late": {1}, "one": {0}}


def test_hours_of_a_zone_that_changes_at_midnight_are_left_alone() -> None:
    times = pd.date_range("2018-11-03", periods=48, freq="h", tz="America/Sao_Paulo")
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": np.arange(48.0)})
    panel = make_panel(frame)
    assert panel.freq == "h"
    assert panel.local_times(panel.times).tolist() == times.tolist()


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (pytz.FixedOffset(120), "UTC+02:00"),
        (dt.timezone(dt.timedelta(hours=-3, minutes=-30)), "UTC-03:30"),
        (dt.timezone(dt.timedelta(hours=2), "CEST"), "UTC+02:00"),
        (tz.tzoffset(None, 7200), "UTC+02:00"),
        (dt.UTC, "UTC"),
        (tz.tzutc(), "UTC"),
        (pytz.timezone("Asia/Seoul"), "Asia/Seoul"),
        ("dateutil/Europe/Berlin", "Europe/Berlin"),
    ],
)
@pytest.mark.parametrize("freq", ["D", "h"])
def test_zones_of_every_library_get_a_name_that_pandas_finds_again(zone: object, name: str, freq: str) -> None:
    utc = pd.date_range("2024-03-29", periods=100, freq=freq, tz=name).tz_convert("UTC")
    stamps = pd.Series(utc).dt.tz_convert(zone)
    panel = make_panel(read_table(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(100.0)})))
    assert (panel.timezone, panel.freq) == (name, freq)
    assert json.loads(json.dumps(panel.timezone)) == name
    restored = panel.local_times(panel.times)
    assert restored.dt.tz_convert("UTC").tolist() == utc.tolist()
    np.testing.assert_array_equal(panel.own_times(stamps), panel.times)


@pytest.mark.parametrize("zone", [dt.timezone(dt.timedelta(seconds=3723)), tz.tzstr("EST5EDT")])
def test_zones_without_a_name_are_refused(zone: dt.tzinfo) -> None:
    stamps = pd.Series(pd.date_range("2024-07-01", periods=4, tz="UTC")).dt.tz_convert(zone)
    with pytest.raises(DataError, match=r"column 'ds'.*tz_convert") as caught:
        make_panel(_frame().drop(columns="ds").assign(ds=stamps))
    assert caught.value.code == "unknown_time_zone"


def test_the_hour_that_comes_twice_is_two_steps() -> None:
    times = pd.date_range("2024-10-27", periods=6, freq="h", tz="Europe/Berlin")
    assert times.tz_localize(None).duplicated().any()
    panel = make_panel(_frame().iloc[:0].reindex(range(6)).assign(unique_id="a", ds=times, y=np.arange(6.0)))
    assert panel.target.tolist() == [0, 1, 2, 3, 4, 5]


def test_tables_with_and_without_zones_do_not_mix() -> None:
    panel = make_panel(_frame(ds=pd.date_range("2024", periods=4, freq="h")))
    with pytest.raises(DataError) as caught:
        panel.own_times(pd.Series(pd.date_range("2024", periods=2, freq="h", tz="UTC")))
    assert caught.value.code == "time_zone_mismatch"
    zoned = make_panel(_frame(ds=pd.date_range("2024", periods=4, tz="Asia/Seoul")))
    with pytest.raises(DataError, match="Asia/Seoul"):
        zoned.own_times(pd.Series(pd.date_range("2024", periods=2)))


def test_parts_of_a_panel() -> None:
    panel = make_panel(pd.concat([_frame(), _frame(unique_id="b").iloc[:2]]), hist=["x"])
    cut = panel.until(np.array([3, 0]))
    assert cut.ids.tolist() == ["a"]
    assert cut.target.tolist() == [1, 2, 3]
    assert cut.hist[:, 0].tolist() == [5, 6, 7]
    assert panel.target[panel.rows(1)].tolist() == [1, 2]
    assert len(panel) == 2


def test_without_target() -> None:
    panel = make_panel(_frame().drop(columns="y"), futr=["x"], require_target=False)
    assert np.isnan(panel.target).all()
    assert panel.futr[:, 0].tolist() == [5, 6, 7, 8]


def test_a_column_in_both_lists_stands_in_both() -> None:
    panel = make_panel(_frame(), futr=["x"], hist=["x"])
    np.testing.assert_array_equal(panel.futr, panel.hist)


def test_many_ids_of_numbers_keep_their_order() -> None:
    frame = pd.DataFrame({"unique_id": np.repeat([10, 9, 2], 2), "ds": [1, 2] * 3, "y": range(6)})
    assert make_panel(frame).ids.tolist() == [2, 9, 10]


@pytest.mark.parametrize(
    ("frame", "code", "parts"),
    [
        (_frame().iloc[:0], "empty_table", ["no rows"]),
        (_frame().drop(columns="y"), "missing_columns", ["no 'y'", "target_col"]),
        (_frame(ds=[pd.Timestamp("2024-01-01"), None] * 2), "missing_stamps", ["row 1", "2 empty", "series 'a'"]),
        (_frame(unique_id=["a", "a", None, "a"]), "missing_ids", ["row 2"]),
        (_frame(y=[1.0, np.inf, 2.0, 3.0]), "infinite_values", ["'y'", "'a'", "2024-01-02"]),
        (_frame(y=["1", "2", "many", "4"]), "non_numeric", ["'many' in 1 row", "2024-01-03"]),
        (_frame(y=pd.date_range("2024", periods=4)), "non_numeric", ["4 row(s)"]),
        (_frame(ds=[1.5, 2, 3, 4]), "bad_stamps", ["1.5", "row 0"]),
        (_frame(ds=["2024-01-01", "x", "y", "z"]), "bad_stamps", ["'x'", "row 1"]),
        (_frame(ds=["01/02/2024", "01/03/2024", "01/04/2024", "01/05/2024"]), "ambiguous_dates", ["swapped"]),
        (_frame(ds=[1, 2, 2, 3]), "duplicate_stamps", ["1 stamp", "'a', 2", "time zones"]),
        (pd.concat([_frame(), _frame()[["x"]]], axis=1), "duplicate_columns", ["'x' 2 times"]),
    ],
)
def test_refusals(frame: pd.DataFrame, code: str, parts: list[str]) -> None:
    with pytest.raises(DataError) as caught:
        make_panel(frame, hist=["x"])
    assert caught.value.code == code
    assert caught.value.exit_code == 3
    assert all(part in str(caught.value) for part in parts), str(caught.value)


@pytest.mark.parametrize("column", ["unique_id", "ds", "y"])
def test_roles_are_not_inputs(column: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_panel(_frame(), futr=[column])
    assert caught.value.code == "reserved_column"


@pytest.mark.parametrize("freq", ["h", "D"])
def test_a_frequency_given_is_obeyed(freq: str) -> None:
    assert make_panel(_frame(), freq=freq).freq == freq


def test_a_frequency_that_is_too_coarse_is_refused() -> None:
    with pytest.raises(DataError, match="3 stamp"):
        make_panel(_frame(), freq="MS")


def test_as_numbers() -> None:
    values, wrong = as_numbers(pd.Series([True, None, "3", " ", "x"], dtype=object))
    np.testing.assert_array_equal(values, [1, np.nan, 3, np.nan, np.nan])
    assert wrong.tolist() == [False, False, False, False, True]


def test_as_numbers_reads_no_words_and_no_decimal_commas() -> None:
    values, wrong = as_numbers(pd.Series(["yes", "1,5", "1.5", True, False, None, "", np.nan], dtype=object))
    np.testing.assert_array_equal(values, [np.nan, np.nan, 1.5, 1, 0, np.nan, np.nan, np.nan])
    assert wrong.tolist() == [True, True, False, False, False, False, False, False]
    assert as_numbers(pd.Series([True, False]))[0].tolist() == [1.0, 0.0]
    values, wrong = as_numbers(pd.Series([True, None], dtype="boolean"))
    np.testing.assert_array_equal(values, [1, np.nan])
    assert not wrong.any()
    assert as_numbers(pd.Series(["yes", " "], dtype="category"))[1].tolist() == [True, False]


def test_errors_tell_stamps_on_the_clock_of_their_time_zone() -> None:
    local = pd.date_range("2024-05-01", periods=50, freq="h", tz="Asia/Seoul")
    frame = pd.DataFrame({"unique_id": "a", "ds": local, "y": 1.0})
    half = frame.assign(ds=local.where(np.arange(50) != 30, local + pd.Timedelta("7min")))
    for broken in (frame.assign(y=["x" if row == 30 else "1" for row in range(50)]), half):
        with pytest.raises(DataError) as caught:
            make_panel(broken)
        assert str(broken["ds"][30]) in caught.value.where
    with pytest.raises(DataError) as caught:
        make_panel(pd.concat([frame, frame.loc[[30]].assign(y=0.0)]))
    assert str(local[30]) in caught.value.where


def test_the_rows_between_which_each_series_has_values() -> None:
    gone = np.nan
    rows = {"b": [gone, 2.0, gone, 3.0, gone], "a": [gone, gone], "c": [gone], "d": [5.0]}
    frame = pd.concat([pd.DataFrame({"unique_id": name, "ds": range(len(y)), "y": y}) for name, y in rows.items()])
    first, last = make_panel(frame, freq=1).observed_span()  # a: rows 0 and 1, b: 2 to 6, c: 7, d: 8
    assert (first.tolist(), last.tolist()) == ([2, 3, 8, 8], [-1, 5, 6, 8])
    first, last = make_panel(frame[frame["unique_id"] == "a"], freq=1).observed_span()
    assert (first.tolist(), last.tolist()) == ([2], [-1])
