from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.errors import DataError, MissingDependencyError, UsageError
from openbook.forecast.classical import CLASSICAL, Classical
from openbook.forecast.origins import Origins

pytest.importorskip("statsforecast")


def daily(days: int = 120, extra: pd.DataFrame | None = None) -> Panel:
    rng = np.random.default_rng(0)
    day = np.arange(days)
    y = 50 + 0.1 * day + 8 * np.sin(2 * np.pi * day / 7) + rng.normal(size=days)
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=days), "y": y})
    return make_panel(frame if extra is None else pd.concat([frame, extra]))


@pytest.mark.parametrize("name", list(CLASSICAL))
def test_a_season_with_noise_is_forecast_to_its_noise(name: str) -> None:
    panel = daily()
    model = Classical(name, 7)
    model.fit_panel(panel.until(np.array([99])))
    origins = Origins(np.array([0, 0]), np.array([99, 106]))
    forecast = model.predict_origins(panel, origins, [80, 95])
    actual = panel.target[origins.end[:, None] + np.arange(7)]
    # Noise of standard deviation 1 has a mean absolute value of 0.8; a model without the season is above 4.
    assert np.abs(forecast.point - actual).mean() < 1.6
    assert set(forecast.interval) == {80.0, 95.0}
    low, high = forecast.interval[80.0]
    lower, higher = forecast.interval[95.0]
    assert (lower < low).all()
    assert (low < forecast.point).all()
    assert (forecast.point < high).all()
    assert (high < higher).all()


@pytest.mark.parametrize("name", list(CLASSICAL))
def test_future_rows_change_nothing(name: str) -> None:
    panel = daily()
    model = Classical(name, 7)
    model.fit_panel(panel.until(np.array([90])))
    origins = Origins(np.array([0]), np.array([100]))
    before = model.predict_origins(panel, origins, [80])
    panel.target[100:] = 1e9
    after = model.predict_origins(panel, origins, [80])
    np.testing.assert_array_equal(before.point, after.point)
    np.testing.assert_array_equal(before.interval[80.0], after.interval[80.0])


def test_gaps_are_bridged() -> None:
    panel = daily()
    panel.target[[0, 40, 41, 98]] = np.nan
    model = Classical("auto_ets", 7)
    model.fit_panel(panel.until(np.array([99])))
    point = model.predict_origins(panel, Origins(np.array([0]), np.array([99])), []).point
    assert np.abs(point - panel.target[99:106]).mean() < 1.6


def test_hopeless_series_repeat_their_season_without_bands() -> None:
    short = pd.DataFrame({"unique_id": "b", "ds": pd.date_range("2024-01-01", periods=9), "y": np.arange(9.0)})
    panel = daily(extra=short)
    model = Classical("mstl", 7)
    model.fit_panel(panel.until(np.array([99, 2])))
    assert model.decisions == {"season_length": [7], "max_rows": 2000, "failed": 1}
    forecast = model.predict_origins(panel, Origins(np.array([1, 0]), np.array([122, 99])), [80])
    assert forecast.point[0].tolist() == [1] * 7
    assert np.isnan(forecast.interval[80.0][0][0]).all()
    assert np.isfinite(forecast.interval[80.0][0][1]).all()


def test_only_the_last_rows_are_fitted_from_a_season_start() -> None:
    panel = daily()
    model = Classical("auto_theta", 7, max_rows=30)
    model.fit_panel(panel)
    # 120 - 30 = 90 rows are too old; the next whole season starts at row 91.
    values, begin = model._history(panel, 0, 120)
    assert (len(values), begin, values[0]) == (29, 91, panel.target[91])


@pytest.mark.parametrize(("freq", "start"), [("h", "2024-01-01"), ("MS", "2000-01-01"), ("B", "2000-01-03"), (1, None)])
@pytest.mark.parametrize("name", ["auto_ets", "auto_theta", "auto_arima"])
def test_seasons_keep_their_phase_in_tables_that_begin_elsewhere(name: str, freq: str | int, start: str | None) -> None:
    season, rows = {"MS": (12, 150), "B": (5, 150)}.get(freq, (24, 200))
    stamps = np.arange(rows) if start is None else pd.date_range(start, periods=rows, freq=freq)
    noise = np.random.default_rng(0).normal(0, 0.1, rows)
    table = pd.DataFrame(
        {"unique_id": "a", "ds": stamps, "y": 10 + 5 * np.sin(np.arange(rows) * 2 * np.pi / season) + noise}
    )
    floor = ob.Floor(name, season, season_length=season).fit(table)
    whole = floor.predict(table)[name]
    for later in (7, 30):
        np.testing.assert_allclose(floor.predict(table.iloc[later:])[name], whole, atol=1.0)


@pytest.mark.parametrize("name", ["auto_ets", "auto_theta", "auto_arima", "mstl"])
def test_levels_and_trends_go_on_in_tables_that_begin_elsewhere(name: str) -> None:
    """The level of a later history had begun at that of the first row that was fitted."""
    rows, rng = 300, np.random.default_rng(0)
    y = 100 + 0.7 * np.arange(rows) + 3 * np.sin(np.arange(rows) * 2 * np.pi / 7) + rng.normal(0, 1, rows)
    table = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=rows), "y": y})
    floor = ob.Floor(name, 7, season_length=7).fit(table.iloc[:260])
    whole = floor.predict(table)[name]
    for later, off in ((30, 0.1), (272, 2.0), (290, 8.0)):  # within what was fitted, behind it, and far behind it
        np.testing.assert_allclose(floor.predict(table.iloc[later:])[name], whole, rtol=0, atol=off)
    capped = Classical(name, 7, season_length=7, max_rows=100)
    panel = make_panel(table)
    capped.fit_panel(panel.until(np.array([200])))
    told = capped.predict_origins(panel, Origins(np.zeros(2, np.int64), np.array([230, 293])), []).point
    for row, end in enumerate((230, 293)):
        np.testing.assert_allclose(told[row], y[end : end + 7], rtol=0, atol=4.0)


def test_a_history_far_behind_the_fit_is_not_the_longer_for_it() -> None:
    """Origins of years after the fit took ten times as long as those at its end."""
    hours = pd.date_range("2024-01-01", periods=5000, freq="h")
    y = 10 + 5 * np.sin(np.arange(5000) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.1, 5000)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": hours, "y": y}))
    model = Classical("auto_ets", 24, season_length=24, max_rows=240)
    model.fit_panel(panel.until(np.array([300])))
    read = []
    model._forward = lambda fitted, history, level: read.append(len(history))
    model.predict_origins(panel, Origins(np.zeros(3, np.int64), np.array([300, 600, 4987])), [])
    assert max(read) <= 3 * 240 + 24
    assert len({(length - end) % 24 for length, end in zip(read, (300, 600, 4987), strict=True)}) == 1  # in phase


def test_a_gap_at_the_oldest_row_that_is_read_does_not_shift_the_season() -> None:
    hours = pd.date_range("2024-01-01", periods=480, freq="h")
    y = 10 + 5 * np.sin(np.arange(480) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.1, 480)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": hours, "y": y}))
    panel.target[240:245] = np.nan
    model = Classical("auto_ets", 24, season_length=24, max_rows=240)
    model.fit_panel(panel)
    for end in (480, 470):
        told = model.predict_origins(panel, Origins(np.array([0]), np.array([end])), []).point[0]
        truth = 10 + 5 * np.sin((end + np.arange(24)) * 2 * np.pi / 24)
        np.testing.assert_allclose(told, truth, atol=1.0)


def test_seasons_a_model_can_not_take_are_dropped() -> None:
    stamps = pd.date_range("2024-01-01", periods=60, freq="30min")
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(60.0)}))
    ets, mstl = Classical("auto_ets", 2), Classical("mstl", 2)
    ets.fit_panel(panel)
    mstl.fit_panel(panel)
    assert ets.decisions["season_length"] == [1]
    assert ets.decisions["seasons_too_long"] == [48]
    assert "seasons_too_long" not in mstl.decisions
    assert mstl.decisions["season_length"] == [48, 336]
    np.testing.assert_allclose(
        mstl.predict_origins(panel, Origins(np.array([0]), np.array([58])), []).point, [[58, 59]], atol=0.1
    )


def test_failure_everywhere_is_an_error() -> None:
    with pytest.raises(DataError, match="fewer than 5"):
        Classical("auto_ets", 2).fit_panel(daily(3))
    with pytest.raises(UsageError, match="auto_ets"):
        Classical("prophet", 2)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "statsforecast.models", None)
    with pytest.raises(MissingDependencyError, match=r"openbook\[stats\]"):
        Classical("auto_ets", 2).fit_panel(daily())


def test_a_model_without_a_season_reads_all_of_a_short_table() -> None:
    months = pd.date_range("2022-01-01", periods=20, freq="MS")
    table = pd.DataFrame({"unique_id": "a", "ds": months, "y": np.arange(20.0)})
    told = ob.Floor("auto_ets", 3, season_length=12).fit(table).predict(table.iloc[1:10], level=[80])
    assert told["auto_ets-lo-80"].notna().all()
