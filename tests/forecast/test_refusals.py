"""Arguments that can not be meant: refused before any work, with the way out; and what must not be refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.errors import DataError, UsageError
from openbook.evaluation.backtest import Plan
from openbook.forecast.classical import _steps_between
from openbook.forecast.limits import run_limited

FAST = ob.TrainConfig(max_steps=4, val_every=2, batch_size=16)


def table(rows: int = 120, **names: str) -> pd.DataFrame:
    hours = pd.date_range("2024-01-01", periods=rows, freq="h")
    y = 10 + 5 * np.sin(np.arange(rows) * 2 * np.pi / 24) + np.random.default_rng(0).normal(0, 0.3, rows)
    return pd.DataFrame({"unique_id": "a", "ds": hours, "y": y}).rename(columns=names)


@pytest.mark.parametrize("season", [0, -7, 2.5, True])
@pytest.mark.parametrize("name", ["ridge", "seasonal_naive", "auto_ets"])
def test_a_floor_wants_a_season_of_one_step_or_more(name: str, season: Any) -> None:
    with pytest.raises(UsageError, match="season_length as a whole number of at least 1"):
        ob.Floor(name, 4, season_length=season)


@pytest.mark.parametrize("given", [{"n_windows": -1}, {"n_windows": 2.5}, {"n_windows": 3, "step_size": -24}])
def test_cross_validation_counts_windows_and_steps(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="of at least 1"):
        ob.Floor("ridge", 4).cross_validation(table().assign(promo=1.0), **given)


@pytest.mark.parametrize("limit", [0.0, -1.0, math.nan])
def test_a_time_limit_is_above_zero(limit: float) -> None:
    with pytest.raises(UsageError, match="limit_s"):
        Plan(4, limit_s=limit)


@pytest.mark.parametrize("limit", [math.inf, 1e9])
def test_a_time_limit_may_be_none_at_all(limit: float) -> None:
    assert run_limited(math.sqrt, (9.0,), limit).value == 3.0


def test_a_budget_may_be_none_at_all() -> None:
    train = ob.TrainConfig(max_steps=4, val_every=2, batch_size=16, budget_s=math.inf)
    fitted = ob.Forecaster(4, model=ob.OpenBookConfig(window=24, n_models=2, book=0), train=train).fit(table(200))
    assert fitted.predict()["OpenBook"].notna().all()


def test_decisions_are_taken_up_by_name_and_by_one_model_alone() -> None:
    parts = {"segment": 2, "book": 0, "mixing": False, "cycle": False, "n_models": 1}
    told = {name: {"value": value} for name, value in {"input_size": 48, "scaling": "last", **parts}.items()}
    named, plain = (ob.Forecaster.from_decisions(told, 4, **given) for given in ({"model": "openbook"}, {}))
    assert named.config == plain.config
    assert named.config.window == 48
    for other in ("luong", ob.LuongConfig()):
        with pytest.raises(UsageError, match="leave model out"):
            ob.Forecaster.from_decisions(told, 4, model=other)


@pytest.mark.parametrize("name", ["score", "expected", "by_peaks"])
def test_anomalies_have_columns_of_their_own(name: str) -> None:
    model = ob.Forecaster(24, model=ob.DayToDayConfig(gaps=(1,), mode="reconstruct"), train=FAST)
    model.fit(table(200, y=name), target_col=name)
    with pytest.raises(UsageError, match="results have a column of this name"):
        model.anomalies(table(200, y=name))


def test_an_explanation_has_columns_of_its_own() -> None:
    model = ob.Forecaster(4, model=ob.OpenBookConfig(window=24, n_models=1), train=FAST)
    model.fit(table(200, unique_id="attended"), id_col="attended")
    with pytest.raises(UsageError, match="results have a column of this name"):
        model.explain().frame()


def test_a_backtest_has_a_column_of_its_own() -> None:
    with pytest.raises(UsageError, match="results have a column of this name"):
        ob.backtest(table(unique_id="model"), ob.Forecaster(4, model="luong"), id_col="model")


def test_a_given_skip_window_is_kept_however_its_map_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """168 is a window that is tried too; here a map is too far behind to be averaged as soon as it is half as good."""
    monkeypatch.setattr("openbook.forecast.start._FAR", 0.5)
    config = ob.OpenBookConfig(skip_window=168, book=0, n_models=1)
    model = ob.Forecaster(24, model=config, train=FAST).fit(table(576))
    assert model.decisions["skip_window"].value == 168


@pytest.mark.parametrize(("freq", "steps"), [("B", 15), ("B", 145), ("MS", 250), ("W", 60), ("h", 1000), ("QS", 40)])
def test_steps_between_stamps_are_counted_by_the_calendar(freq: str, steps: int) -> None:
    stamps = pd.date_range("2001-01-01", periods=steps + 1, freq=freq).to_numpy()
    assert _steps_between(stamps[0], stamps[-1], freq) == steps
    assert _steps_between(stamps[-1], stamps[0], freq) == -steps


def test_an_interrupt_while_bands_are_fitted_keeps_what_was_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("openbook.forecast.forecaster.kept_spread", interrupted)
    model = ob.Forecaster(4, model=ob.OpenBookConfig(window=24, book=0, n_models=1), train=FAST).fit(table(300))
    assert model.interrupted()
    assert model.predict(level=[80])["OpenBook-lo-80"].notna().all()


@pytest.mark.parametrize("limit", [None, "120", True])
def test_a_time_limit_is_a_number(limit: Any) -> None:
    with pytest.raises(UsageError, match="limit_s"):
        Plan(4, limit_s=limit)


@pytest.mark.parametrize("refit", [None, "yes", 2.7, -1])
def test_refitting_is_counted_in_windows(refit: Any) -> None:
    with pytest.raises(UsageError, match="refit as a whole number"):
        Plan(4, refit=refit)
    with pytest.raises(UsageError, match="refit as a whole number"):
        ob.Floor("naive", 4).cross_validation(table(), refit=refit)


@pytest.mark.parametrize("name", ["skip", "attended", "mase", "seconds_fit", "ridge", "coverage_80", "model"])
def test_a_backtest_keeps_the_names_of_its_own_columns(name: str) -> None:
    with pytest.raises(UsageError, match="other names for id, time and target"):
        ob.backtest(table(y=name), [ob.Forecaster(4, model="luong", train=FAST)], target_col=name)


def test_inputs_are_named_by_any_list() -> None:
    frame = table().assign(promo=1.0, stock=np.arange(120.0))
    for names in (frame.columns[3:], frame.columns[3:].to_numpy(), ["promo", "stock"]):
        assert ob.Forecaster(4, hist_exog_list=names).hist_exog_list == ("promo", "stock")
        assert ob.Floor("ridge", 4, hist_exog_list=names).hist_exog_list == ("promo", "stock")
    told = ob.inspect_table(frame, futr="promo", hist="stock")  # type: ignore[arg-type]
    assert {column.name: column.role for column in told.columns}["stock"] == "hist"
    assert not any(finding.code == "F34-missing-column" for finding in told.findings)


def test_decisions_bring_the_season_they_are_counted_in_and_give_way_to_arguments() -> None:
    parts = {"segment": 2, "book": 4, "mixing": False, "cycle": False, "n_models": 1}
    told = {"input_size": 12, "scaling": "last", "season_length": 6, **parts}
    for kept in (told, {name: {"value": value} for name, value in told.items()}):
        made = ob.Forecaster.from_decisions(kept, 4)
        assert (made.season_length, made.scaling, made.config.window) == (6, "last", 12)  # type: ignore[attr-defined]
    other = ob.Forecaster.from_decisions(told, 4, scaling="standard", season_length=12)
    assert (other.season_length, other.scaling) == (12, "standard")


def test_what_a_config_says_itself_counts_before_what_was_decided() -> None:
    parts = {"segment": 2, "book": 4, "mixing": False, "cycle": False, "n_models": 1, "skip_window": 24}
    told = {"input_size": 12, "scaling": "last", **parts}
    own = ob.OpenBookConfig(book=7, mixing=True)
    made = ob.Forecaster.from_decisions(told, 4, model=own).config
    assert isinstance(made, ob.OpenBookConfig)
    assert (made.book, made.mixing, made.window, made.skip_window) == (7, True, 12, 24)
    other = ob.Forecaster.from_decisions(told, 4, input_size=36, train=FAST)
    assert isinstance(other.config, ob.OpenBookConfig)
    assert (other.config.window, other.config.skip_window, other.config.book) == (None, None, 4)
    assert other.fit(table(300)).decisions["input_size"].value == 36


def test_numbers_of_numpy_are_numbers() -> None:
    train = ob.TrainConfig(focus=np.float32(0.001), weight_decay=np.int64(0), averaging=np.float32(0.98))  # type: ignore[arg-type]
    assert train.weight_decay == 0
    assert Plan(4, limit_s=np.int64(60), refit=np.bool_(True)).step == 4  # type: ignore[arg-type]


def test_fewer_rows_than_the_model_reads_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Two days for a model of two weeks were forecast without a word, fifteen times as far off."""
    model = ob.Forecaster(4, model=ob.LuongConfig(hidden_size=4), input_size=48, train=FAST).fit(table())
    for rows, told in ((120, 0), (48, 0), (47, 1)):
        caplog.clear()
        model.predict(table().tail(rows))
        assert len(caplog.messages) == told
    assert "1 of 1 series come with fewer rows than the 48 that the model reads, series a first, with 47" in caplog.text
    caplog.clear()
    model.predict(table().assign(y=table()["y"].where(np.arange(120) >= 80)))  # eighty rows before the first value
    assert "with 40" in caplog.text
    caplog.clear()
    model.predict(table(30).assign(unique_id="new"))  # one that is as short as that
    assert "fewer rows" not in caplog.text


def test_a_window_beyond_the_history_is_as_long_as_that(caplog: pytest.LogCaptureFixture) -> None:
    model = ob.Forecaster(4, model=ob.LuongConfig(hidden_size=4), input_size=20_000, train=FAST).fit(table())
    assert model.fitted().windows.input_size == 120
    assert "input_size=20000 is more than the 120 rows there are" in caplog.text


def test_no_more_than_a_hundred_thousand_steps_are_forecast() -> None:
    for make in (lambda: ob.Floor("naive", 100_001), lambda: ob.Forecaster(100_001)):
        with pytest.raises(UsageError, match="at most 100000 steps, got 100001"):
            make()


@pytest.mark.parametrize(("level", "fine"), [(99.99999, False), (1.0000001, False), (99.99, True), (1.1, True)])
def test_levels_are_what_their_columns_are_called(level: float, fine: bool) -> None:
    floor = ob.Floor("naive", 2).fit(table())
    if fine:
        assert f"naive-lo-{level:g}" in floor.predict(level=[level])
        return
    with pytest.raises(UsageError, match=r"between 1 and 100 \(neither itself\)"):
        floor.predict(level=[level])


def test_a_later_table_is_to_have_the_columns_of_the_first() -> None:
    first = table().assign(price=1.0)
    model = ob.Forecaster(4, model="luong", input_size=8, train=FAST, hist_exog_list=["price"]).fit(first)
    for later in (first.drop(columns="price"), first.rename(columns={"y": "Y"})):
        with pytest.raises(DataError, match="of the table that was learned from: 'ds', 'y', 'price'"):
            model.predict(later)


def test_a_season_beyond_the_history_is_told(caplog: pytest.LogCaptureFixture) -> None:
    ob.Floor("seasonal_naive", 2, season_length=500).fit(table())
    assert "a season of 500 steps is longer than the 120 rows there are" in caplog.text


def test_the_folder_of_a_backtest_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ob.ModelFileError, match=r"got the results of a backtest \(run.json\)"):
        ob.load(tmp_path)
