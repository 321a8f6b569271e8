"""``ob.backtest``: forecasters side by side in Python, with their own inputs, in the caller's names and kind of frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.errors import DataError, UsageError

H = 6
QUICK = ob.TrainConfig(max_steps=6, val_every=3, batch_size=16)
SMALL = ob.LuongConfig(hidden_size=8)


def luong(**arguments: Any) -> ob.Forecaster:
    return ob.Forecaster(H, **{"model": SMALL, "input_size": 24, "train": QUICK} | arguments)


@pytest.fixture(scope="module")
def tested(hourly: pd.DataFrame) -> ob.Backtest:
    own = hourly.rename(columns={"unique_id": "site", "ds": "hour", "y": "load"})
    with_promo, without = luong(futr_exog_list=["promo"]), luong(hist_exog_list=(), alias="without inputs")
    names = {"id_col": "site", "time_col": "hour", "target_col": "load"}
    return ob.backtest(own, [with_promo, without, "naive"], n_windows=2, level=[80], **names)


def test_forecasters_and_floors_stand_side_by_side_in_the_callers_names(tested: ob.Backtest) -> None:
    assert set(tested.scores["model"]) == {"luong", "without inputs", "naive", "seasonal_naive", "ridge"}
    assert tested.scores["mase"].is_monotonic_increasing
    assert {"site", "hour", "cutoff", "load", "luong", "luong-lo-80", "without inputs", "ridge"} <= set(
        tested.forecasts
    )
    assert "site" in tested.scores_by_series
    assert tested.scores_by_step["step"].max() == H
    assert len(tested.forecasts) == 3 * 2 * H


def test_every_forecaster_reads_its_own_inputs(tested: ob.Backtest) -> None:
    looked = tested.looked_up
    read = {name: set(part["feature"]) for name, part in looked.groupby("model")}
    assert read == {"luong": {"load", "promo", "wind"}, "without inputs": {"(all inputs)"}}
    assert {"site", "hour"} <= set(looked)
    told = tested._result.run["inputs_by_model"]
    assert [told[name]["futr"] for name in ("luong", "ridge", "without inputs")] == [["promo"], ["promo"], []]


@pytest.mark.filterwarnings("error")
def test_one_forecaster_alone_has_its_target_by_name_too(hourly: pd.DataFrame) -> None:
    """Its inputs are categories, to which no name is added: a warning of pandas 2, an error of pandas 3."""
    own = hourly.rename(columns={"y": "load"})
    alone = ob.backtest(own, luong(futr_exog_list=["promo"]), n_windows=1, target_col="load")
    assert set(alone.looked_up["feature"]) == {"load", "promo", "wind"}


def test_a_forecaster_forecasts_as_it_does_alone(tested: ob.Backtest, hourly: pd.DataFrame) -> None:
    alone = luong(futr_exog_list=["promo"]).cross_validation(hourly, n_windows=2)
    np.testing.assert_array_equal(tested.forecasts["luong"], alone["Luong"])


def test_what_was_fitted_stays_as_it_was(hourly: pd.DataFrame) -> None:
    fitted = luong(hist_exog_list=()).fit(hourly)
    before = fitted.predict()
    ob.backtest(hourly, fitted, n_windows=1)
    pd.testing.assert_frame_equal(fitted.predict(), before)


def test_the_folder_is_that_of_the_command_line(tested: ob.Backtest, tmp_path: Path) -> None:
    page = tested.write(tmp_path / "out")
    assert page == tmp_path / "out" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert "without inputs" in text
    assert "openbook backtest --" not in text  # there is no command that repeats it
    assert pd.read_csv(tmp_path / "out" / "scores.csv")["model"].tolist() == tested.scores["model"].tolist()
    tested.write(tmp_path / "out")  # its own files may be replaced
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scores.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"no run\.json"):
        tested.write(tmp_path / "mine")
    assert (tmp_path / "mine" / "scores.csv").read_text() == "mine"


def test_polars_in_polars_out(hourly: pd.DataFrame) -> None:
    told = ob.backtest(pl.from_pandas(hourly), luong(hist_exog_list=()), n_windows=1)
    assert all(isinstance(frame, pl.DataFrame) for frame in (told.scores, told.forecasts, told.looked_up))


def test_a_season_that_was_told_is_the_floors_too(hourly: pd.DataFrame) -> None:
    told = ob.backtest(hourly, luong(hist_exog_list=(), season_length=5), n_windows=1)
    assert told.decisions["luong"]["season_length"] == {"value": 5, "why": "as given"}
    last = hourly[hourly["unique_id"] == "series 0"].set_index("ds")["y"].asfreq("h")
    found = told.forecasts[told.forecasts["unique_id"] == "series 0"]["seasonal_naive"].to_numpy()
    expected = last.iloc[-H - 5 : -H].to_numpy()
    np.testing.assert_array_equal(found[:5], expected)


def test_words_of_it_are_its_scores(tested: ob.Backtest) -> None:
    assert all(name in repr(tested) for name in ("mase", "luong", "ridge"))
    assert set(tested.failed) == set()


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (["naive"], "at least one Forecaster"),
        (["luong"], "pass Forecaster"),
        ([luong(), luong()], "alias="),
        ([luong(alias="ridge")], "alias="),
        ([luong(), luong(alias="b", freq="h")], "one freq"),
        ([luong(), ob.Forecaster(H + 1, model=SMALL, alias="b")], "one h"),
    ],
    ids=["floors alone", "a name", "twice", "a floor's name", "frequencies", "horizons"],
)
def test_what_can_not_be_compared_is_refused(models: list[Any], told: str, hourly: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match=told):
        ob.backtest(hourly, models)


def test_errors_name_the_callers_columns(hourly: pd.DataFrame) -> None:
    own = hourly.rename(columns={"y": "load"}).assign(load="many")
    with pytest.raises(DataError, match="'load'"):
        ob.backtest(own, luong(), target_col="load")


@pytest.mark.parametrize(("level", "told"), [(90, [80, 90]), (None, [80])])
def test_a_single_level_and_none_are_levels(hourly: pd.DataFrame, level: float | None, told: list[int]) -> None:
    tested = ob.backtest(hourly, luong(), n_windows=1, level=level)
    assert [name for name in tested.scores if name.startswith("coverage_")] == [f"coverage_{one}" for one in told]


def test_a_floor_has_the_seasons_that_it_has_by_itself(hourly: pd.DataFrame) -> None:
    pytest.importorskip("statsforecast")
    tested = ob.backtest(hourly, [luong(), "mstl"], n_windows=1)
    alone = ob.Floor("mstl", H).fit(hourly)
    assert tested.decisions["mstl"]["season_length"]["value"] == alone.decisions["season_length"] == [24, 168]


def test_static_text_is_among_the_inputs_that_are_recorded() -> None:
    parts = [
        pd.DataFrame({"unique_id": name, "ds": range(60), "y": np.arange(60) % 5.0, "kind": kind, "size": float(size)})
        for size, (name, kind) in enumerate((("a", "kiosk"), ("b", "store")))
    ]
    quick = ob.TrainConfig(max_steps=2)
    models = [
        ob.Forecaster(4, model="luong", input_size=8, alias=alias, stat_exog_list=stat, hist_exog_list=[], train=quick)
        for alias, stat in (("both", ["kind", "size"]), ("size", ["size"]))
    ]
    run = ob.backtest(pd.concat(parts), models, n_windows=2)._result.run
    assert sorted(run["inputs_by_model"]["both"]["stat"]) == ["kind", "size"]
    assert run["inputs_by_model"]["size"]["stat"] == ["size"]


def test_floors_too_have_the_cycle_that_stamps_do_not_tell() -> None:
    """Of steps of 10 ms they had repeated the value a minute ago, which was not there."""
    rows = np.arange(400)
    wave = 3 * np.sin(2 * np.pi * rows / 25) + np.random.default_rng(0).normal(0, 0.3, 400)
    table = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2025-05-13", periods=400, freq="10ms"), "y": wave})
    assert ob.Floor("seasonal_naive", H).fit(table).decisions["season_length"] == 25
    decided = ob.backtest(table, luong(), n_windows=1).decisions["seasonal_naive"]["season_length"]
    assert decided == {"value": 25, "why": "the season of the data"}
