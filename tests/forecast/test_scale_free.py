"""What does not depend on the unit of a table, and what series that never moved, or are cut short, are told."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.data.kinds import as_input
from openbook.data.panel import make_panel
from openbook.errors import UsageError
from openbook.evaluation.metrics import gap_scale
from openbook.forecast import running
from openbook.forecast.origins import Origins, extend_panel, last_origins
from openbook.forecast.seasons import repeat_season
from openbook.windows.scaling import _moments, fit_columns

FAST = ob.TrainConfig(max_steps=4, val_every=2, batch_size=16)


def panel_of(unit: float) -> pd.DataFrame:
    """Three series that move, one that never did."""
    rng, days = np.random.default_rng(1), pd.date_range("2024-01-01", periods=120)
    moving = [
        2 + np.sin(np.arange(120) * 2 * np.pi / 7) + 0.02 * np.arange(120) + rng.normal(0, 0.1, 120) for _ in "abc"
    ]
    values = {**dict(zip("abc", moving, strict=True)), "still": np.full(120, 2.0)}
    return pd.concat([pd.DataFrame({"unique_id": k, "ds": days, "y": unit * v}) for k, v in values.items()])


@pytest.mark.parametrize("name", ["ridge", "seasonal_naive", "naive"])
def test_floors_follow_the_unit_also_of_series_that_never_moved(name: str) -> None:
    one, thousandth = (ob.Floor(name, 7).fit(panel_of(unit)).predict(level=[80]) for unit in (1.0, 1e-3))
    for column in (name, f"{name}-lo-80", f"{name}-hi-80"):
        np.testing.assert_allclose(thousandth[column], 1e-3 * one[column], rtol=1e-6)
    still = one[one["unique_id"] == "still"]
    assert still[name].between(1.0, 3.5).all()


@pytest.mark.parametrize("name", ["ridge", "seasonal_naive", "naive"])
def test_a_series_of_zeros_or_of_one_row_is_told_nothing_absurd(name: str) -> None:
    table = panel_of(1e-3)
    zeros = table[table["unique_id"] == "still"].assign(unique_id="zeros", y=0.0)
    one = zeros.tail(1).assign(unique_id="one", y=0.002)
    floor = ob.Floor(name, 7).fit(pd.concat([table, zeros]))
    told = floor.predict(pd.concat([table, zeros, one]), level=[80]).set_index("unique_id").drop(columns="ds")
    assert (told.loc["zeros"] == 0).all(axis=None)
    assert told.loc["one", name].between(0.0, 0.006).all()
    alone = ob.Floor(name, 7).fit(zeros).predict(level=[80])
    assert (alone.drop(columns=["unique_id", "ds"]) == 0).all(axis=None)


def test_a_window_that_repeats_but_for_rounding_has_no_lag_mase_of_its_own() -> None:
    hours = np.arange(96)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": hours, "y": 100 + 10 * np.sin(2 * np.pi * hours / 24)}))
    scale = gap_scale(panel, Origins(np.array([0]), np.array([72])), 24, 24, pd.Series({"a": 9.0}))
    assert scale.tolist() == [9.0]


def test_a_series_that_was_once_negative_has_no_lower_bound_in_a_longer_table() -> None:
    """What a forecast no longer reads still says that the series may fall below zero."""
    rng, hours = np.random.default_rng(0), pd.date_range("2024-01-01", periods=4000, freq="h")
    counts = pd.DataFrame({"unique_id": "a", "ds": hours, "y": rng.poisson(0.4, 4000).astype(float)})
    model = ob.Forecaster(4, model="luong", input_size=8, train=FAST).fit(counts.head(300))
    assert model.fitted().lower_bound == 0
    below = counts.assign(y=counts["y"].where(counts.index > 3, -2.0))
    whole = extend_panel(model.table_panel(below)[0], 4)
    at_once = model.predict_origins(whole, last_origins(whole, 4), (80,)).interval[80.0][0][0]
    np.testing.assert_allclose(model.predict(below, level=[80])["Luong-lo-80"], at_once)
    assert (model.predict(counts, level=[80])["Luong-lo-80"] >= 0).all()
    assert (at_once < 0).any()


@pytest.mark.parametrize("average", [False, True])
def test_a_forecast_that_looked_nothing_up_is_no_picture(average: bool) -> None:
    table = panel_of(1.0)
    empty = table[table["unique_id"] == "a"].assign(unique_id="0 empty", y=np.nan)
    config = ob.OpenBookConfig(window=14, n_models=1, book=0, differences=False)
    model = ob.Forecaster(7, model=config, train=FAST).fit(table)
    both = model.explain(pd.concat([empty, table]))
    assert "a: where the model read" in both.plot().layout.title.text  # the first series that has a look-up
    with pytest.raises(UsageError, match="looked something up"):
        model.explain(empty).plot(average=average)


def test_overlapping_days_are_scored_by_the_one_that_has_a_level() -> None:
    """Of twelve rows in periods of eight the last is rebuilt from row four on, the first has nothing before it."""
    rng, rows = np.random.default_rng(0), np.arange(200)
    y = 10 + np.sin(rows * 2 * np.pi / 8) + rng.normal(0, 0.1, 200)
    table = pd.DataFrame({"unique_id": "a", "ds": rows, "y": y})
    config = ob.DayToDayConfig(mode="reconstruct", gaps=(1,))
    model = ob.Forecaster(8, model=config, season_length=8, train=FAST).fit(table)
    told = model.anomalies(table.head(12)).frame
    assert told["score"].notna().tolist() == [False] * 4 + [True] * 8


def test_rows_of_a_plan_in_the_history_are_told_however_few(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "openbook")
    days = pd.date_range("2024-01-01", periods=60)
    table = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(60) % 7.0, "promo": np.arange(60) % 3.0})
    table.loc[55:, "y"] = np.nan
    floor = ob.Floor("ridge", 14, futr_exog_list=["promo"])
    floor.fit(table)
    assert "the last 5 rows of series a" in caplog.text
    caplog.clear()
    ob.Floor("ridge", 14).fit(table.assign(promo=table["promo"].where(table["y"].notna())))
    assert "have no target" not in caplog.text


def test_truth_values_of_arrow_are_inputs() -> None:
    days = pd.date_range("2024-01-01", periods=60)
    flag = pd.Series(np.arange(60) % 2 == 0).astype("bool[pyarrow]")
    table = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(60) % 7.0, "flag": flag})
    floor = ob.Floor("ridge", 2).fit(table)
    assert floor.inputs.hist == ("flag",)
    told = ob.Floor("ridge", 2, futr_exog_list=["flag"]).cross_validation(table.assign(y=flag))
    assert told["ridge"].notna().all()


def test_steps_of_a_result_fit_whatever_the_caller_calls_step() -> None:
    restore = as_input(pl.DataFrame({"step": pl.Series([1], dtype=pl.Int8), "id": pl.Series([7], dtype=pl.Int8)}))[1]
    told = restore(pd.DataFrame({"step": [1, 300], "id": [7, 7]}))
    assert told.schema == {"step": pl.Int64, "id": pl.Int8}


def test_the_last_value_is_found_however_far_back() -> None:
    y = np.full(60, np.nan)
    y[[2, 40]] = 5.0, 6.0
    both = pd.concat([pd.DataFrame({"unique_id": k, "ds": range(60), "y": y if k == "a" else np.nan}) for k in "ab"])
    panel = make_panel(both)
    ends = np.array([1, 3, 4, 12, 39, 40, 41, 59, 61, 119])
    told = repeat_season(panel, Origins((ends >= 60).astype(int), ends), 2, 1)
    expected = [np.nan, 5, 5, 5, 5, 5, 6, 6, np.nan, np.nan]
    np.testing.assert_array_equal(told, np.repeat(np.array(expected)[:, None], 2, axis=1))


def test_a_table_is_laid_out_once_a_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    table, laid = panel_of(1.0), list[int]()
    model = ob.Forecaster(7, model="luong", input_size=14, train=FAST).fit(table[table["ds"] < "2024-04-01"])
    real = running.make_resident
    monkeypatch.setattr(running, "make_resident", lambda *given, **more: (laid.append(1), real(*given, **more))[1])
    model.predict(table, level=[80])  # bands follow the newer rows: two questions to the model, one table
    assert len(laid) == 1


@pytest.mark.parametrize("width", [1, 2, 9, 17, 40])
def test_columns_have_the_same_moments_however_many_are_taken_at_a_time(width: int) -> None:
    values = np.random.default_rng(width).normal(1e3, 3.0, (5_000, width))
    values[::7] = np.nan
    told = fit_columns(values)
    for part, whole in zip(told, _moments(values), strict=True):
        np.testing.assert_array_equal(part, whole)
