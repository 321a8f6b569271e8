"""Backtests of tables: files and columns, floors always present, failures that stop nothing, words when a floor wins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.errors import DataError, UsageError
from openbook.evaluation import backtest as module
from openbook.evaluation.backtest import BacktestResult, Plan, run_backtest, write_backtest
from openbook.models.darnn import DarnnConfig

H = 6
SCORES = ["model", "mae", "rmse", "mase", "wape", "smape", "pinball", "coverage_80", "coverage_95"]
SCORES += ["seconds_fit", "seconds_predict"]


def make_model(name: str) -> ob.Forecaster:
    configs = {"luong": ob.LuongConfig(hidden_size=8), "bahdanau": ob.BahdanauConfig(hidden_size=8)}
    configs |= {"darnn": DarnnConfig(hidden_size=8, attention_size=4)}
    train = ob.TrainConfig(max_steps=12, val_every=6, batch_size=16)
    return ob.Forecaster(H, model=configs[name], input_size=24, futr_exog_list=["promo"], train=train)


@pytest.fixture(scope="module")
def result(hourly: pd.DataFrame) -> BacktestResult:
    plan = Plan(H, n_windows=3, models=("luong", "bahdanau", "naive"))
    return run_backtest(ob.read_table(hourly), plan, make_model, facts={"arguments": {"seed": 1}})


def test_every_model_and_floor_has_its_row_best_first(result: BacktestResult) -> None:
    assert set(result.scores["model"]) == {"luong", "bahdanau", "naive", "seasonal_naive", "ridge"}
    assert result.scores["mase"].is_monotonic_increasing
    assert [column for column in result.scores.columns if column not in ("lag_mase", "missing")] == SCORES
    assert set(result.run["floors"]) == {"naive", "seasonal_naive", "ridge"}


def test_scores_are_those_of_the_forecasts(result: BacktestResult) -> None:
    frame = result.forecasts.dropna(subset=["y"])
    for model in ("luong", "ridge"):
        error = (frame["y"] - frame[model]).abs().groupby(frame["unique_id"]).mean().mean()
        found = result.scores.set_index("model").loc[model, "mae"]
        assert found == pytest.approx(error, rel=0.05)
        for level in (80, 95):
            inside = frame["y"].between(frame[f"{model}-lo-{level}"], frame[f"{model}-hi-{level}"])
            share = inside.groupby(frame["unique_id"]).mean().mean()
            assert result.scores.set_index("model").loc[model, f"coverage_{level}"] == pytest.approx(share, abs=0.02)
    assert sorted(result.by_step["step"].unique()) == list(range(1, H + 1))
    assert len(result.forecasts) == 3 * 3 * H


@pytest.mark.parametrize("refit", [False, True, 2])
def test_a_forecast_is_explained_by_the_model_that_made_it(refit: bool | int, hourly: pd.DataFrame) -> None:
    config = ob.OpenBookConfig(hidden_size=8, window=24, book=0, mixing=False, cycle=False, n_models=1)
    train = ob.TrainConfig(max_steps=12, val_every=6, batch_size=16)
    plan = Plan(H, n_windows=3, models=("openbook",), refit=refit)
    told = run_backtest(ob.read_table(hourly), plan, lambda _: ob.Forecaster(H, model=config, train=train))
    key = ["unique_id", "cutoff", "ds"]
    made_of = told.explanation.groupby(key)[["skip", "attended", "repeated", "bounded"]].first().sum(axis=1)
    forecast = told.forecasts.set_index(key)["openbook"]
    assert len(made_of) == len(forecast) == 3 * 3 * H
    np.testing.assert_allclose(made_of, forecast.reindex(made_of.index), rtol=1e-5, atol=1e-4)


def test_forecasts_equal_those_of_cross_validation(result: BacktestResult, hourly: pd.DataFrame) -> None:
    alone = make_model("luong").cross_validation(hourly, n_windows=3)
    np.testing.assert_allclose(alone["Luong"], result.forecasts["luong"], rtol=1e-5)


def test_explanations_of_all_models_sum_to_one(result: BacktestResult) -> None:
    keys = ["model", "unique_id", "cutoff", "step"]
    total = result.explanation.groupby(keys, observed=True)["weight"].sum()
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    assert set(result.explanation["model"]) == {"luong", "bahdanau"}


def test_a_warning_in_words_when_a_floor_wins(result: BacktestResult) -> None:
    best = result.scores["model"].iloc[0]
    assert best in ("ridge", "seasonal_naive")  # twelve steps of training can not win
    assert result.run["warnings"][0].startswith(f"A floor wins: {best}")


def test_files_are_the_interface(result: BacktestResult, tmp_path: Path) -> None:
    folder = write_backtest(result, tmp_path / "out")
    names = {file.name for file in folder.iterdir()}
    assert {"scores.csv", "scores_by_series.csv", "scores_by_step.csv", "forecasts.parquet"} <= names
    assert {"explanation.parquet", "run.json"} <= names
    run = json.loads((folder / "run.json").read_text())
    assert run["arguments"]["seed"] == 1
    assert run["decisions"]["luong"]["input_size"] == {"value": 24, "why": "as given"}
    assert {"machine", "versions", "season", "freq", "data"} <= set(run)
    assert pd.read_csv(folder / "scores.csv")["model"].tolist() == result.scores["model"].tolist()
    explanation = pd.read_parquet(folder / "explanation.parquet")
    columns = ["model", "unique_id", "cutoff", "step", "ds", "source_ds", "feature", "weight", "memory"]
    assert list(explanation.columns) == columns


def fail(*args: object) -> None:
    raise RuntimeError("the library broke")


def test_a_failing_or_slow_floor_is_reported_and_stops_nothing(
    hourly: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("statsforecast")
    real = module._roll_floor
    monkeypatch.setattr(module, "_roll_floor", lambda name, *rest: fail() if name == "ridge" else real(name, *rest))
    plan = Plan(H, n_windows=1, models=("luong", "ridge"))
    found = run_backtest(ob.read_table(hourly), plan, make_model)
    assert found.run["failed"] == {"ridge": "RuntimeError: the library broke"}
    assert found.scores["model"].tolist()[-1] == "ridge"
    assert np.isnan(found.scores["mase"].iloc[-1])
    assert {"luong", "seasonal_naive"} <= set(found.forecasts.columns)
    assert any("ridge failed" in warning for warning in found.run["warnings"])
    monkeypatch.undo()
    slow = run_backtest(ob.read_table(hourly), Plan(H, n_windows=1, models=("auto_ets",), limit_s=0.01), make_model)
    assert "limit" in slow.run["failed"]["auto_ets"]


def test_a_model_of_ours_that_fails_is_a_row_too(hourly: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    def broken(name: str) -> ob.Forecaster:
        made = make_model(name)
        made.train = ob.TrainConfig(max_steps=1, device="cuda") if name == "bahdanau" else made.train
        return made

    plan = Plan(H, n_windows=1, models=("bahdanau", "luong"))
    found = run_backtest(ob.read_table(hourly), plan, broken)
    assert "GPU" in found.run["failed"]["bahdanau"]
    assert "luong" in found.forecasts
    assert "bahdanau" not in found.forecasts
    last = found.scores.iloc[-1]
    assert (last["model"], bool(np.isnan(last["mase"]))) == ("bahdanau", True)


def test_the_history_ends_where_the_test_begins(hourly: pd.DataFrame) -> None:
    table = hourly.assign(y=hourly["y"].ffill())
    found = run_backtest(ob.read_table(table), Plan(H, n_windows=2, step_size=3, models=("naive",)), make_model)
    first = found.forecasts.groupby("unique_id")["cutoff"].min()
    assert found.history.groupby("unique_id")["ds"].max().equals(first.rename("ds"))
    told = found.history.merge(
        table[["unique_id", "ds", "y"]], on=["unique_id", "ds"], suffixes=("", "_table")
    ).dropna()
    assert len(told) > 100
    assert (told["y"] == told["y_table"]).all()


def test_only_when_everything_fails_is_it_an_error(hourly: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_roll_floor", fail)
    with pytest.raises(DataError, match="library broke"):
        run_backtest(ob.read_table(hourly), Plan(H, n_windows=1, models=("naive",)), make_model)


def test_unknown_models_and_too_many_windows_are_refused(hourly: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="prophet"):
        run_backtest(ob.read_table(hourly), Plan(H, models=("prophet",)), make_model)
    with pytest.raises(DataError, match="rows"):
        run_backtest(ob.read_table(hourly), Plan(H, n_windows=500, models=("luong",)), make_model)


def test_stages_are_written_only_where_a_model_has_them(hourly: pd.DataFrame, tmp_path: Path) -> None:
    plan = Plan(H, n_windows=2, models=("luong", "darnn"))
    found = run_backtest(ob.read_table(hourly), plan, make_model)
    assert found.run["failed"] == {}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("of the run before")
    stages = pd.read_parquet(write_backtest(found, tmp_path / "out") / "stages.parquet")
    assert not (tmp_path / "out" / "report.html").exists()
    assert list(stages) == ["model", "unique_id", "cutoff", "stage", "step", "source_ds", "feature", "weight"]
    assert set(stages["model"]) == {"darnn"}
    inputs = (
        stages[stages["stage"] == "inputs"].groupby(["unique_id", "cutoff", "source_ds"], observed=True)["weight"].sum()
    )
    np.testing.assert_allclose(inputs, 1.0, atol=1e-5)
    times = stages[stages["stage"] == "times"]
    np.testing.assert_allclose(times.groupby(["unique_id", "cutoff", "step"])["weight"].sum(), 1.0, atol=1e-5)
    assert times["step"].max() == H
    alone = run_backtest(ob.read_table(hourly), Plan(H, n_windows=2, models=("luong",)), make_model)
    (tmp_path / "out" / "report.html").write_text("of the run before")
    write_backtest(alone, tmp_path / "out")
    assert not {"stages.parquet", "report.html"} & {file.name for file in (tmp_path / "out").iterdir()}


def test_run_json_is_strict(result: BacktestResult, tmp_path: Path) -> None:
    odd = BacktestResult(*([result.scores] * 6), {"value": -np.inf, "count": np.int64(2)})
    text = (write_backtest(odd, tmp_path / "odd") / "run.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"value": None, "count": 2}


def test_series_too_short_for_any_window_are_named(hourly: pd.DataFrame) -> None:
    short = hourly.groupby("unique_id").head(H).assign(unique_id="tiny " + hourly["unique_id"])
    found = run_backtest(ob.read_table(pd.concat([hourly, short])), Plan(H, n_windows=2, models=("naive",)), make_model)
    assert (found.run["data"]["series"], found.run["data"]["left_out"]) == (3, 3)
    told = [warning for warning in found.run["warnings"] if "left out" in warning]
    assert told == [
        "3 of 6 series left out, too short for 2 window(s) of 6 steps: tiny series 0, tiny series 1, tiny series 2."
    ]


def test_coverage_and_pinball_are_there_whatever_the_levels(hourly: pd.DataFrame, result: BacktestResult) -> None:
    assert (result.run["data"]["series"], result.run["data"]["left_out"]) == (3, 0)
    plan = Plan(H, n_windows=2, models=("luong",), level=(90,))
    found = run_backtest(ob.read_table(hourly), plan, make_model)
    for scores in (found.scores, found.by_series, found.by_step):
        assert scores[["pinball", "coverage_80", "coverage_90"]].notna().all().all()
    assert {"luong-lo-90", "ridge-hi-90"} <= set(found.forecasts.columns)


def test_an_interrupted_training_ends_the_backtest(hourly: pd.DataFrame) -> None:
    def interrupt(step: int, steps: int, loss: float | None) -> None:
        if step == 4:
            raise KeyboardInterrupt

    def interrupted(name: str) -> ob.Forecaster:
        made = make_model(name)
        made.progress = interrupt
        return made

    with pytest.raises(KeyboardInterrupt):
        run_backtest(ob.read_table(hourly), Plan(H, n_windows=1, models=("luong",)), interrupted)


def test_scores_tell_lag_mase_in_units_of_each_window(hourly: pd.DataFrame, result: BacktestResult) -> None:
    """By hand for one model: errors of every window by its distance from the window a season before, then by series."""
    known = hourly.set_index(["unique_id", "ds"])["y"]
    told = result.forecasts.dropna(subset=["y"])
    before = pd.MultiIndex.from_arrays([told["unique_id"], told["ds"] - pd.Timedelta(hours=result.run["season"])])
    moved = told["y"].to_numpy() - known.reindex(before).to_numpy()
    told = told.assign(moved=np.abs(moved), error=(told["y"] - told["ridge"]).abs())
    unit = told.groupby(["unique_id", "cutoff"])["moved"].transform("mean")
    by_hand = (told["error"] / unit).groupby(told["unique_id"]).mean().mean()
    scores = result.scores.set_index("model")
    assert scores.loc["ridge", "lag_mase"] == pytest.approx(by_hand)
    assert scores["lag_mase"].notna().all()


@pytest.mark.parametrize(
    "wrong", [{"n_windows": 0}, {"step_size": 0}, {"step_size": -1}, {"h": 0}, {"n_windows": True}]
)
def test_windows_that_can_not_be_are_refused_before_anything_runs(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Plan(**{"h": 6, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"refit": -1}, {"n_windows": 0}, {"step_size": 0}])
def test_a_plan_that_can_not_be_followed_is_refused_before_anything_runs(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Plan(H, **wrong)


def test_short_series_among_the_shown_ones_are_no_failure(
    hourly: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first series, which alone the report's book would show, is too short to be tested."""
    monkeypatch.setattr(module, "_EXPLAINED_SERIES", 1)
    short = [hourly[hourly["unique_id"] == "series 0"].head(H).assign(unique_id=name) for name in ("a", "zz")]
    table = ob.read_table(pd.concat([short[0], hourly[hourly["unique_id"] == "series 1"], short[1]]))
    found = run_backtest(table, Plan(H, n_windows=2, models=("luong",)), make_model)
    assert found.run["failed"] == {}
    assert set(found.explanation["unique_id"]) == {"series 1"}


def test_rows_to_test_on_do_not_say_which_columns_are_inputs(hourly: pd.DataFrame) -> None:
    """A fault that is first reported behind the first cutoff."""
    table = hourly.drop(columns="wind").assign(fault=0.0)
    late = table.groupby("unique_id").cumcount(ascending=False) == H + 1
    told = [
        run_backtest(ob.read_table(part), Plan(H, n_windows=2, models=("luong",)), make_model).forecasts
        for part in (table.assign(fault=np.where(late, 1000.0, 0.0)), table)
    ]
    pd.testing.assert_frame_equal(*told)


@pytest.mark.parametrize(
    ("models", "expected"),
    [(("naive", "bahdanau"), 1), (("bahdanau", "naive"), 0), (("naive",), 0)],
    ids=["after others", "first", "none"],
)
def test_kernels_are_compiled_beside_the_models_before_them(
    models: tuple[str, ...], expected: int, hourly: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    monkeypatch.setattr(module, "compile_ahead", lambda: started.append(1))
    run_backtest(ob.read_table(hourly), Plan(H, n_windows=1, models=models), make_model)
    assert len(started) == expected


def scored(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"model": ["luong", "ridge"], "coverage_80": 0.8, "mase": [0.5, 1.0], "missing": 0.0} | columns)


def test_a_model_that_left_rows_out_is_named() -> None:
    assert module._warnings(scored(), {}) == []
    assert module._warnings(scored(missing=[0.12, 0.001]), {}) == [
        "`luong` gave no forecast for 12 % of the rows: its scores are of the others.",
        "`ridge` gave no forecast for less than 1 % of the rows: its scores are of the others.",
    ]


def test_a_model_as_good_as_a_floor_does_not_win_by_rounding() -> None:
    assert module._warnings(scored(mase=[1.0, 1.0 + 1e-9]), {})[0].startswith("A floor does as well: ridge has")
    assert module._warnings(scored(mase=[1.1, 1.0]), {})[0].startswith("A floor wins: ridge has")


def test_look_ups_are_kept_as_far_as_there_is_room(hourly: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long horizons and windows of many inputs would fill memory and disk: fewer are explained, the last one always."""
    plan, kept = Plan(H, n_windows=2, models=("luong",)), {}
    for most in (20_000_000, 1):
        monkeypatch.setattr(module, "_MOST_WEIGHTS", most)
        found = run_backtest(ob.read_table(hourly), plan, make_model)
        kept[most] = found.explanation[["unique_id", "cutoff"]].drop_duplicates()
    assert len(kept[20_000_000]) == 6
    assert kept[1].values.tolist() == kept[20_000_000].values.tolist()[-1:]


def test_floors_say_where_their_decisions_come_from_and_mase_what_it_is_scaled_by(result: BacktestResult) -> None:
    told = {name: {key: value["why"] for key, value in kept.items()} for name, kept in result.run["decisions"].items()}
    assert told["seasonal_naive"]["season_length"] == "chosen on the end of the training part"
    assert told["ridge"]["penalty"] == "by held-out windows of the training part, where there are some"
    assert told["ridge"]["trained_on_windows"] == "found in fitting"
    assert result.run["mase_season"] == result.run["season"] == 24


def test_a_training_part_shorter_than_a_season_is_scaled_by_its_steps(hourly: pd.DataFrame) -> None:
    short = hourly.groupby("unique_id").head(30)
    found = run_backtest(short, Plan(h=3, n_windows=2, models=("naive",)), lambda name: ob.Forecaster(3, model=name))
    assert (found.run["season"], found.run["mase_season"]) == (24, 1)
