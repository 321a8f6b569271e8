from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from openbook.plots.times import Clock
from openbook.report import payload
from openbook.report.payload import _kind, forecast_part, page_clock, script_json, stamp_numbers
from openbook.report.source import read_backtest


def unpack(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['kind']}").reshape(packed["shape"])


def test_script_json_has_no_way_out() -> None:
    value = {"<!--</script>&\u2028\u2029서울": [float("nan"), np.float64(2.5), "🙂"]}
    text = script_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"<!--</script>&\u2028\u2029서울": [None, 2.5, "🙂"]}


def test_forecasts_come_back_cell_by_cell(nasty_folder: Path) -> None:
    backtest = read_backtest(nasty_folder)
    series, notes = forecast_part(backtest)
    assert notes == []
    first = series[0]
    own = backtest.forecasts[backtest.forecasts["unique_id"] == first["id"]]
    np.testing.assert_array_equal(unpack(first["point"]["openbook"]).ravel(), own["openbook"].astype(np.float32))
    np.testing.assert_array_equal(unpack(first["low"]["ridge"]).ravel(), own["ridge-lo-80"].astype(np.float32))
    np.testing.assert_array_equal(unpack(first["place"]), np.arange(72).reshape(3, 24))
    np.testing.assert_array_equal(unpack(first["actual"]), own["y"].astype(np.float32))


@pytest.mark.parametrize(("level", "kind"), [(0.0, "f4"), (5.1e7, "f8")])
def test_large_numbers_that_change_little_keep_their_digits(level: float, kind: str) -> None:
    assert _kind(level + np.array([1.0, 4.0, np.nan, 2.0])) == kind
    assert _kind(np.full(3, level)) == ("f4" if level == 0 else "f8")
    assert _kind(np.array([np.nan])) == "f4"


def test_overlapping_windows_share_their_stamps(small_folder: Path) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": [1, 2, 3, 2, 3, 4], "cutoff": [0, 0, 0, 1, 1, 1]})
    frame = frame.assign(y=[1.0, np.nan, 3.0, 2.0, 3.0, 4.0], openbook=np.arange(6.0))
    frame.to_parquet(small_folder / "forecasts.parquet")
    series = forecast_part(read_backtest(small_folder))[0][0]
    np.testing.assert_array_equal(unpack(series["place"]), [[0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(unpack(series["actual"]), [1.0, 2.0, 3.0, 4.0])


def test_time_between_windows_that_do_not_touch_is_a_gap(small_folder: Path) -> None:
    frame = pd.read_parquet(small_folder / "forecasts.parquet")
    assert forecast_part(read_backtest(small_folder))[0][0]["gaps"] == []
    later = frame["cutoff"] > frame["cutoff"].min()
    for column in ("ds", "cutoff"):
        frame[column] += later.astype(int) * pd.Timedelta(hours=3)
    frame.to_parquet(small_folder / "forecasts.parquet")
    assert forecast_part(read_backtest(small_folder))[0][0]["gaps"] == [4]


def test_history_lengthens_the_line_of_actuals(small_folder: Path) -> None:
    first = pd.read_parquet(small_folder / "forecasts.parquet")["ds"].min()
    ds = pd.date_range(end=first, periods=4, freq="h")[:-1]
    pd.DataFrame({"unique_id": "a", "ds": ds, "y": [1.0, 2.0, 3.0]}).to_parquet(small_folder / "history.parquet")
    series = forecast_part(read_backtest(small_folder))[0][0]
    assert unpack(series["actual"])[:3].tolist() == [1.0, 2.0, 3.0]
    assert unpack(series["place"])[0, 0] == 3


def test_series_are_limited_by_a_stated_rule(nasty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backtest = read_backtest(nasty_folder)
    monkeypatch.setattr(payload, "MAX_SERIES", 2)
    series, notes = forecast_part(backtest)
    hardest = payload.series_difficulty(backtest)
    assert [one["id"] for one in series] == [hardest.index[0], hardest.index[-1]]
    assert "2 of 3 series" in notes[0]
    monkeypatch.setattr(payload, "MAX_FORECAST_VALUES", 24 * 12 * 2 * 2)
    series, notes = forecast_part(backtest)
    assert "the latest 2 are drawn" in notes[-1]
    assert len(series[0]["cutoffs"]) == 2


def test_stamps_show_the_wall_clock() -> None:
    stamps = pd.Series(pd.to_datetime(["2025-05-12 00:00"]).tz_localize("UTC").tz_convert("Asia/Seoul"))
    assert stamp_numbers(stamps)[0] == pd.Timestamp("2025-05-12 09:00").value / 1e6


def test_clock_of_a_folder(nasty_folder: Path) -> None:
    assert page_clock(read_backtest(nasty_folder)).unit == "hour"


def test_labels_need_the_year_where_the_book_reaches_back_for_years(small_folder: Path) -> None:
    read = read_backtest(small_folder)
    assert not page_clock(read).with_year
    path = small_folder / "explanation.parquet"
    frame = pd.read_parquet(path)
    frame["source_ds"] -= pd.Timedelta(days=400)
    frame.to_parquet(path)
    assert page_clock(read_backtest(small_folder)).with_year


def test_sparsely_tested_stamps_do_not_change_the_clock(nasty_folder: Path) -> None:
    read = read_backtest(nasty_folder)
    ds = pd.date_range("2024-01-01", periods=60, freq="7D")
    weekly = replace(read, forecasts=pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": ds - pd.Timedelta(days=1)}))
    weekly.run["freq"] = "D"
    assert page_clock(weekly) == Clock("day", 1, with_year=True)
    weekly.run["freq"] = "MS"
    assert page_clock(replace(weekly, forecasts=weekly.forecasts[:1])).unit == "month"
    del weekly.run["freq"]
    assert page_clock(weekly).unit == "week"


def test_stamps_keep_parts_of_a_millisecond() -> None:
    stamps = pd.Series(pd.date_range("2025-05-13", periods=3, freq="250us"))
    assert np.diff(stamp_numbers(stamps)).tolist() == [0.25, 0.25]
