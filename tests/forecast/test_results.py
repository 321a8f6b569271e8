"""What users hand in and get back beside the plain case: names of columns, nested bands, tables of what is known ahead."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.errors import DataError, UsageError

QUICK: dict[str, Any] = {
    "model": ob.LuongConfig(hidden_size=4),
    "input_size": 12,
    "train": ob.TrainConfig(max_steps=3),
}


def test_bands_of_few_validation_windows_lie_within_each_other(hourly: pd.DataFrame) -> None:
    few = hourly.groupby("unique_id").tail(60).drop(columns="promo")
    model = ob.Forecaster(12, **QUICK)
    told = model.fit(few).predict(level=[80, 95, 90])
    alone = model.predict(level=[95])
    for side, sign in (("lo", 1), ("hi", -1)):
        edges = sign * told[[f"Luong-{side}-{level}" for level in (95, 90, 80)]].to_numpy()
        assert (np.diff(edges, axis=1) >= 0).all()
        assert (sign * (alone[f"Luong-{side}-95"] - told[f"Luong-{side}-80"]) <= 0).all()


def test_forecast_columns_have_the_name_that_was_given(hourly: pd.DataFrame, tmp_path: Path) -> None:
    model = ob.Forecaster(6, **QUICK, alias="luong").fit(hourly)
    assert list(model.predict(level=[80]).columns)[2:] == ["luong", "luong-lo-80", "luong-hi-80"]
    assert "luong" in model.cross_validation(hourly).columns
    assert "luong" in ob.load(model.save(tmp_path / "m.ob")).predict(level=None).columns
    for wrong in ("", " ", 7, "cutoff", "y"):
        with pytest.raises(UsageError, match="alias"):
            ob.Forecaster(6, alias=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(("model", "name"), [("luong", "Luong"), ("openbook", "OpenBook"), ("darnn", "Darnn")])
def test_forecast_columns_are_named_by_the_model(model: str, name: str) -> None:
    assert ob.Forecaster(6, model=model).name == name
    assert ob.Forecaster(6, model=model, alias="mine").fresh().name == "mine"


def test_what_is_given_ahead_and_read_by_none_is_refused(hourly: pd.DataFrame, tmp_path: Path) -> None:
    stamps = pd.date_range(hourly["ds"].max() + pd.Timedelta(hours=1), periods=6, freq="h")
    plan = pd.DataFrame({"unique_id": "series 0", "ds": stamps, "promo": 1.0, "wind": 2.0})
    model = ob.Forecaster(6, **QUICK).fit(hourly)
    for work in (model.predict, model.explain, ob.Floor("ridge", 6).fit(hourly).predict):
        with pytest.raises(UsageError, match=r"columns 'promo', 'wind'.*futr_exog_list") as refused:
            work(futr_df=plan)
        assert refused.value.code == "unread_future"
        with pytest.raises(DataError, match="no_such"):
            work(futr_df=tmp_path / "no_such.csv")
    same = model.predict()
    pd.testing.assert_frame_equal(model.predict(futr_df=plan[["unique_id", "ds"]].assign(y=0.0)), same)
    ob.Floor("seasonal_naive", 6).fit(hourly).predict(
        futr_df=plan
    )  # reads no inputs at all, and says so in its docstring


def test_series_that_ended_long_before_the_newest_are_told(
    hourly: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    for rows, said in ((6, True), (5, False)):
        caplog.clear()
        ob.Floor("naive", 6).fit(_ending_together(hourly, "series 1", rows)).predict()
        assert ("1 of 3 series end 6 steps or more before the newest, series series 1 first" in caplog.text) == said


def _ending_together(table: pd.DataFrame, early: str, rows: int) -> pd.DataFrame:
    """The table with all series ending at one hour, but for one that ends ``rows`` before."""
    end = table.groupby("unique_id")["ds"].max().min()
    cut = end - pd.Timedelta(hours=rows)
    return table[table["ds"] <= np.where(table["unique_id"] == early, cut, end)]


def test_a_plan_of_polars_gives_polars_where_the_table_was_a_file(hourly: pd.DataFrame, tmp_path: Path) -> None:
    table = hourly[hourly["unique_id"] == "series 0"]
    table.to_parquet(tmp_path / "t.parquet")
    model = ob.Forecaster(6, **QUICK, futr_exog_list=["promo"]).fit(tmp_path / "t.parquet")
    stamps = pd.date_range(table["ds"].max() + pd.Timedelta(hours=1), periods=6, freq="h")
    plan = pd.DataFrame({"unique_id": "series 0", "ds": stamps, "promo": 1.0})
    assert isinstance(model.predict(futr_df=plan), pd.DataFrame)
    told = ob.load(model.save(tmp_path / "m.ob")).predict(futr_df=pl.from_pandas(plan))
    assert isinstance(told, pl.DataFrame)
    assert told["Luong"].to_list() == model.predict(futr_df=plan)["Luong"].tolist()


def test_what_was_fitted_goes_to_another_process_and_back(hourly: pd.DataFrame) -> None:
    for made in (ob.Forecaster(6, **QUICK), ob.Floor("ridge", 6)):
        fitted = made.fit(hourly)
        again = pickle.loads(pickle.dumps(fitted))
        pd.testing.assert_frame_equal(again.predict(level=[80]), fitted.predict(level=[80]))
    told = ob.Floor("ridge", 6).fit(pl.from_pandas(hourly))
    assert isinstance(pickle.loads(pickle.dumps(told)).predict(), pl.DataFrame)


def test_rows_without_a_target_at_the_end_are_told(hourly: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    left = hourly.groupby("unique_id").cumcount(ascending=False)
    for rows, said in ((6, True), (5, False)):
        caplog.clear()
        open_end = hourly.assign(y=hourly["y"].where(left >= rows))
        ob.Forecaster(6, **QUICK).fit(open_end)
        assert ("have no target" in caplog.text) == ("the last 6 rows of series series 0" in caplog.text) == said


@pytest.fixture(scope="module")
def numbered(hourly: pd.DataFrame) -> tuple[ob.Forecaster, pd.DataFrame]:
    """A forecaster of series 0 and 1, and what is known ahead of them."""
    table = hourly[hourly["unique_id"] != "series 2"].drop(columns="wind")
    table = table.assign(unique_id=table["unique_id"].str[-1].astype(int))
    model = ob.Forecaster(6, **QUICK, futr_exog_list=["promo"]).fit(table)
    last = table.groupby("unique_id")["ds"].max()
    stamps = [last[number] + pd.Timedelta(hours=1 + step) for number in (0, 1) for step in range(6)]
    return model, pd.DataFrame({"unique_id": np.repeat([0, 1], 6), "ds": stamps, "promo": 1.0})


@pytest.mark.parametrize(
    "form",
    [
        lambda ahead: ahead.set_index("ds"),
        lambda ahead: ahead.set_index("unique_id"),
        lambda ahead: ahead.set_index(["unique_id", "ds"]),
        lambda ahead: ahead.assign(unique_id=ahead["unique_id"].astype(float)),
        lambda ahead: ahead.assign(unique_id=ahead["unique_id"].astype(str)),
    ],
    ids=["stamps in the index", "ids in the index", "both in the index", "ids as floats", "ids as text"],
)
def test_what_is_known_ahead_comes_in_any_form_a_table_may_have(
    form: Callable[[pd.DataFrame], pd.DataFrame], numbered: tuple[ob.Forecaster, pd.DataFrame]
) -> None:
    model, ahead = numbered
    pd.testing.assert_frame_equal(model.predict(futr_df=form(ahead)), model.predict(futr_df=ahead))


def test_ids_of_other_series_are_named(numbered: tuple[ob.Forecaster, pd.DataFrame]) -> None:
    model, ahead = numbered
    with pytest.raises(DataError, match="rows of the series '0', '1', got none of them, but of 'store 0', 'store 1'"):
        model.predict(futr_df=ahead.assign(unique_id="store " + ahead["unique_id"].astype(str)))
    with pytest.raises(DataError, match=r"6 missing.*whose last row is 2024-01-13 11:00:00"):
        model.predict(futr_df=ahead[ahead["unique_id"] == 0])
