"""The accuracy suites: rows as the protocols count them, metrics by hand, results kept, the test part out of reach."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from openbook.forecast.floors import FLOORS
from openbook.forecast.origins import Origins, PanelForecast
from openbook.models.registry import MODELS
from openbook.training.loop import TrainConfig

ROOT = Path(__file__).parents[1]
ROWS = (120, 40, 40)


def wide(rows: int = 210, columns: int = 2) -> pd.DataFrame:
    """Hourly columns with a rhythm of eight hours."""
    step, rng = np.arange(rows), np.random.default_rng(1)
    values = {f"c{k}": np.sin(step * np.pi / 4 + k) + 0.1 * rng.normal(size=rows) + k for k in range(columns)}
    return pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=rows, freq="h"), **values})


def parsed(accuracy: ModuleType, *words: str) -> Any:
    return accuracy.parse([*words])


# Windows of the published loaders: rows of the test part less the horizon plus one, for every series.
COUNTS = {
    ("etth1", "96"): (7, 11520, 2880, 7 * (2880 - 95)),
    ("etth2", "720"): (7, 11520, 2880, 7 * (2880 - 719)),
    ("ettm1", "192"): (7, 46080, 11520, 7 * (11520 - 191)),
    ("weather", "336"): (21, 36887 + 5270, 5270, 21 * (10539 - 335)),
    ("exchange", "96"): (8, 5311 + 760, 760, 8 * (1517 - 95)),
    ("illness", "24"): (7, 676 + 97, 97, 7 * (193 - 23)),
    ("epf_np_known", "24"): (1, 36691 + 5242, 5242, 10483 - 23),
    ("epf_de_past", "24"): (1, 36691 + 5242, 5242, 10483 - 23),
    ("vic_elec", "48"): (1, 731 * 48, None, 365),
    ("small_demand", "vic_elec_60_2014-01-01"): (1, 1440, None, 60),
    ("small_demand", "bike_hour_150_2011-07-01"): (1, 3600, None, 60),
}


@pytest.mark.parametrize(("name", "case"), COUNTS)
def test_rows_and_windows_are_those_of_the_protocol(module: Callable[[str], Any], name: str, case: str) -> None:
    suite = module("suites").SUITES[name]
    if why := suite.skipped():
        pytest.skip(why)
    job = suite.cases[case]()
    series, learn, validation, windows = COUNTS[name, case]
    assert (len(job.panel), set(job.learn.tolist()), job.validation) == (series, {learn}, validation)
    assert len(job.origins.end) == windows
    first = job.panel.offsets[job.origins.series] + learn
    assert (job.origins.end >= first).all()
    assert (job.origins.end + job.h <= job.panel.offsets[job.origins.series + 1]).all()
    assert (job.learning.lengths == learn).all()


def test_the_official_test_part_of_m4(module: Callable[[str], Any]) -> None:
    suites = module("suites")
    if why := suites.SUITES["m4_hourly"].skipped():
        pytest.skip(why)
    job, frame = suites.m4_hourly(), suites.read("m4_hourly")
    assert len(job.panel) == len(job.origins.end) == 414
    truth = job.panel.target[job.origins.end[:, None] + np.arange(48)]
    official = frame[frame["split"] == "test"].assign(unique_id=lambda f: f["unique_id"].astype(str))
    official = official.sort_values(["unique_id", "ds"])["y"].to_numpy()
    np.testing.assert_array_equal(truth.ravel(), official)


def test_one_step_rows(module: Callable[[str], Any]) -> None:
    suites = module("suites")
    if why := suites.SUITES["sml2010_nowcast"].skipped():
        pytest.skip(why)
    job = suites.SUITES["sml2010_nowcast"].cases["1"]()
    assert int(np.isfinite(job.learning.target).sum()) == 3600
    assert job.validation == 400
    assert len(job.origins.end) == 535  # the other two of 537 follow a missing stamp or are one


def test_small_cases_hold_eight_origins_and_no_leaking_columns(module: Callable[[str], Any]) -> None:
    suites = module("suites")
    suite = suites.SUITES["small_demand"]
    for group in ("vic_elec_60", "vic_elec_150", "bike_hour_60", "bike_hour_150"):
        assert sum(case.startswith(f"{group}_") for case in suite.cases) >= 8
    assert not {"casual", "registered", "cnt"} & set(suites.BIKE_KNOWN)
    if why := suite.skipped():
        pytest.skip(why)
    job = suite.cases["vic_elec_60_2012-08-01"]()
    assert job.panel.wall_clock()[job.origins.end[0]] == np.datetime64("2012-09-30T00")


def test_the_scaler_sees_the_training_rows_alone(module: Callable[[str], Any]) -> None:
    jobs = module("jobs")
    frame, moved = wide(), wide()
    moved.loc[120:, ["c0", "c1"]] += 100.0
    one, other = (jobs.wide_job(table, ROWS, 8, season=8, freq="h") for table in (frame, moved))
    train = [one.panel.target[one.panel.rows(series)][:120] for series in range(2)]
    assert np.allclose([values.mean() for values in train], 0)
    assert np.allclose([values.std() for values in train], 1)
    np.testing.assert_array_equal(
        one.panel.until(np.array([120, 120])).target, other.panel.until(np.array([120, 120])).target
    )
    assert len(one.origins.end) == 2 * 33


def test_sentinels_are_kept_and_told_apart(module: Callable[[str], Any]) -> None:
    jobs, accuracy = module("jobs"), module("accuracy")
    frame = wide()
    assert jobs.wide_job(frame, ROWS, 8, season=8, freq="h").flawed is None
    frame.loc[5, "c0"] = frame.loc[190, "c0"] = -9999.0
    job = jobs.wide_job(frame, ROWS, 8, season=8, freq="h")
    found = accuracy.measure(accuracy.Run("x", "8", "naive", None, None), job, TrainConfig())
    assert found.scores["mse_without_sentinels"] < found.scores["mse"]


def test_metrics_against_hand_values(module: Callable[[str], Any]) -> None:
    measures = module("measures")
    truth = np.array([[2.0, 4.0], [np.nan, 0.0]])
    point = np.array([[1.0, 6.0], [5.0, 1.0]])
    bands = {80.0: (point - 1, point + 1), 95.0: (point - 3, point + 3)}
    sums = measures.summed(measures.cells(truth, PanelForecast(point, bands)), np.array([0, 1]), 2)
    found = measures.finished(sums, np.array([3.0, 2.0]))
    assert found["mse"] == pytest.approx((1 + 4 + 1) / 3)
    assert found["rmse"] == pytest.approx(np.sqrt(2))
    assert found["mae"] == pytest.approx(4 / 3)
    assert found["mape"] == pytest.approx(100 * (1 / 2 + 2 / 4) / 2)  # a truth of zero has no percentage
    assert found["smape"] == pytest.approx(200 * (1 / 3 + 2 / 10 + 1 / 1) / 3)
    assert found["wape"] == pytest.approx(100 * 4 / 6)
    assert found["mase"] == pytest.approx((1.5 / 3 + 1 / 2) / 2)
    assert found["coverage_80"] == pytest.approx(2 / 3)
    assert found["coverage_95"] == 1.0
    assert found["missing"] == 0.0
    # quantile losses by cell: 0.1 of (0, 5, 0), 0.9 of (2, 7, 2), 0.5 of (1, 6, 1)
    low = [0.1 * 2, 0.9 * 1, 0.0]
    high = [0.0, 0.1 * 3, 0.1 * 2]
    middle = [0.5, 1.0, 0.5]
    assert found["pinball"] == pytest.approx(sum(low + high + middle) / 9)


def test_a_forecast_that_is_missing_is_told(module: Callable[[str], Any]) -> None:
    measures = module("measures")
    told = PanelForecast(np.array([[np.nan, 1.0]]), {})
    found = measures.finished(
        measures.summed(measures.cells(np.ones((1, 2)), told), np.array([0]), 1), np.array([np.nan])
    )
    assert found["missing"] == 0.5
    assert "mase" not in found


def test_chunks_add_up(module: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, accuracy = module("jobs"), module("accuracy")
    job = jobs.wide_job(wide(), ROWS, 8, season=8, freq="h")
    run = accuracy.Run("x", "8", "seasonal_naive", None, None)
    whole = accuracy.measure(run, job, TrainConfig()).scores
    monkeypatch.setattr(accuracy, "_CELLS", 40)
    assert accuracy.measure(run, job, TrainConfig()).scores == pytest.approx(whole)


def tiny(module: Callable[[str], Any]) -> Any:
    """A suite of two horizons of made-up data."""
    jobs, suites = module("jobs"), module("suites")
    cases = {str(h): lambda h=h: jobs.wide_job(wide(), ROWS, h, season=8, freq="h") for h in (4, 8)}
    return suites.Suite("tiny", (), cases, ("mse", "mae"), "made up")


def test_statistical_models_run_everywhere_and_reference_models_once(module: Callable[[str], Any]) -> None:
    accuracy = module("accuracy")
    suite = replace(tiny(module), statistical=("auto_theta",), reference=("luong", "darnn"))
    keys = [run.key for run in accuracy.runs(suite, parsed(accuracy, "--seed", "1"))]
    floors = [f"tiny-{case}-{name}" for case in (4, 8) for name in ("naive", "seasonal_naive", "ridge", "auto_theta")]
    assert sorted(keys) == sorted(
        [*floors, "tiny-4-openbook-seed1", "tiny-8-openbook-seed1", "tiny-4-luong-seed1", "tiny-4-darnn-seed1"]
    )
    asked = parsed(accuracy, "--model", "ridge")
    assert [run.key for run in accuracy.runs(suite, asked)] == ["tiny-4-ridge", "tiny-8-ridge"]
    assert len(list(accuracy.runs(suite, parsed(accuracy)))) == len(floors) + 2 * 3 + 2
    known = {*FLOORS, *MODELS}
    assert all({*suite.statistical, *suite.reference} <= known for suite in module("suites").SUITES.values())


def test_results_are_kept_and_repeat(module: Callable[[str], Any], tmp_path: Path) -> None:
    accuracy, suite = module("accuracy"), tiny(module)
    words = ("--model", "naive", "--model", "luong", "--seed", "3", "--max-steps", "3", "--threads", "1")
    asked = parsed(accuracy, *words)
    assert accuracy.run_suite(suite, replace_case(asked, ["4"]), tmp_path) == []
    first = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    assert set(first) == {"tiny-4-naive.json", "tiny-4-luong-seed3.json"}
    assert accuracy.run_suite(suite, asked, tmp_path) == []
    after = {path.name: path.read_text() for path in tmp_path.glob("*.json")}
    assert len(after) == 4
    assert all(after[name] == text for name, text in first.items())
    told = json.loads(first["tiny-4-luong-seed3.json"])
    assert {"commit", "machine", "versions", "command", "decisions", "config", "train", "protocol"} <= set(told)
    assert told["train"]["validation_size"] == 40
    assert told["train"]["loss"] == "mse"
    assert "--seed 3 --budget-s 300 --max-steps 3 " in told["command"]  # as many seconds as ours
    assert "mape" not in told["scores"]
    (tmp_path / "tiny-4-naive.json").write_text("{}")
    accuracy.run_suite(suite, replace_case(parsed(accuracy, *words, "--model", "naive"), ["4"]), tmp_path)
    assert (tmp_path / "tiny-4-naive.json").read_text() == "{}"
    accuracy.run_suite(suite, replace_case(parsed(accuracy, "--model", "naive", "--force"), ["4"]), tmp_path)
    assert (
        json.loads((tmp_path / "tiny-4-naive.json").read_text())["scores"]
        == json.loads(first["tiny-4-naive.json"])["scores"]
    )


def replace_case(asked: Any, cases: list[str]) -> SimpleNamespace:
    return SimpleNamespace(**{**vars(asked), "case": cases})


def test_a_run_that_fails_stops_no_other(
    module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy, suite = module("accuracy"), tiny(module)
    usual = accuracy.measure

    def broken(run: Any, job: Any, train: TrainConfig) -> Any:
        if run.model == "naive":
            raise ValueError("no")
        return usual(run, job, train)

    monkeypatch.setattr(accuracy, "measure", broken)
    asked = parsed(accuracy, "--model", "naive", "--model", "seasonal_naive", "--horizon", "4")
    assert accuracy.run_suite(suite, asked, tmp_path) == ["tiny-4-naive"]
    assert [path.name for path in tmp_path.glob("*.json")] == ["tiny-4-seasonal_naive.json"]


def test_choices_are_judged_one_part_earlier(
    module: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows before 120 and 160 alone: learned before 120, of which the library holds forty out again."""
    jobs, accuracy = module("jobs"), module("accuracy")
    job = jobs.wide_job(wide(), ROWS, 8, season=8, freq="h")
    earlier = jobs.inner(job)
    assert (earlier.panel.lengths.tolist(), earlier.learn.tolist(), earlier.validation) == ([160, 160], [120, 120], 40)
    first = earlier.origins.end - earlier.panel.offsets[earlier.origins.series]
    assert (first.min(), first.max(), len(first)) == (120, 152, 2 * 33)
    free = jobs.inner(replace(job, validation=None))
    assert (free.learn.tolist(), free.validation) == ([160 - 26] * 2, None)
    assert np.diff(free.origins.end[free.origins.series == 0]).tolist() == [8, 8]
    asked = parsed(accuracy, "--model", "naive", "--horizon", "8", "--inner")
    assert accuracy.run_suite(tiny(module), asked, tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    found = accuracy.measure(accuracy.Run("tiny", "8", "naive", None, None), earlier, TrainConfig()).scores
    assert f"tiny-8-naive: mse {found['mse']:.5g}, mae {found['mae']:.5g} on the validation" in capsys.readouterr().out


def test_variants_are_those_of_the_model(module: Callable[[str], Any]) -> None:
    accuracy, suite = module("accuracy"), tiny(module)
    found = list(accuracy.runs(suite, parsed(accuracy, "--variant", "all", "--seed", "1", "--horizon", "4")))
    assert [run.variant for run in found] == list(accuracy.VARIANTS)
    assert {run.model for run in found} == {"openbook"}
    assert len({run.key for run in found}) == len(found)
    if "openbook" in MODELS:
        config = MODELS["openbook"][0]()
        for changes in accuracy.VARIANTS.values():
            replace(config, **changes)


def test_validation_rows_are_learned_where_that_was_asked_for_alone(module: Callable[[str], Any]) -> None:
    accuracy, job = module("accuracy"), module("jobs").wide_job(wide(), ROWS, 8, season=8, freq="h")
    for variant, learned in ((None, False), ("points", False), ("learned again", True)):
        run = accuracy.Run("x", "8", "openbook", variant, 1)
        for h in (8, 1):
            assert accuracy.make_model(run, replace(job, h=h), TrainConfig()).config.refit is learned
    free = replace(job, validation=None)
    assert accuracy.make_model(accuracy.Run("x", "8", "openbook", None, 1), free, TrainConfig()).config.refit


@pytest.mark.parametrize("model", ["ridge", "luong", *(name for name in ("openbook",) if name in MODELS)])
def test_the_test_part_is_out_of_reach(module: Callable[[str], Any], model: str) -> None:
    jobs, accuracy = module("jobs"), module("accuracy")
    frame, noisy = wide(), wide()
    noise = np.random.default_rng(2).normal(scale=9, size=(len(frame) - 160, 2))
    noisy.loc[160:, ["c0", "c1"]] += noise
    run, train = accuracy.Run("x", "8", model, None, 1), TrainConfig(max_steps=6, val_every=3, device="cpu")
    told = []
    for table in (frame, noisy):
        job = jobs.wide_job(table, ROWS, 8, season=8, freq="h")
        forecaster = accuracy.make_model(run, job, train)
        forecaster.fit_panel(job.learning)
        first = job.origins.end == job.panel.offsets[job.origins.series] + job.learn[job.origins.series]
        origins = Origins(job.origins.series[first], job.origins.end[first])
        assert len(origins.end) == 2
        forecast = forecaster.predict_origins(job.panel, origins, (80.0,))
        told.append((without_seconds(accuracy.decided(forecaster)), forecast))
    assert told[0][0] == told[1][0]
    np.testing.assert_array_equal(told[0][1].point, told[1][1].point)
    for side in range(2):
        np.testing.assert_array_equal(told[0][1].interval[80.0][side], told[1][1].interval[80.0][side])


def without_seconds(decisions: dict[str, Any]) -> dict[str, Any]:
    """Decisions without reasons that tell how long something took."""
    return {
        name: value["value"] if isinstance(value, dict) and "value" in value else value
        for name, value in decisions.items()
    }


def test_the_ridge_of_the_one_step_suites_may_learn_the_validation_rows(module: Callable[[str], Any]) -> None:
    """What an input is worth changes where the validation rows begin: who learns them knows half of it, the other nothing."""
    one_step, rng = module("one_step"), np.random.default_rng(0)
    x = np.cumsum(rng.normal(size=600))
    change = np.diff(x, prepend=0.0) * np.where(np.arange(600) < 300, 1.0, 3.0)
    frame = pd.DataFrame({"unique_id": "a", "ds": range(600), "y": np.cumsum(change), "x": x})
    task = one_step.Task(frame, (300, 500), True, freq=1)
    truth = one_step.truth(task)["test"]
    alone, both = (np.abs(one_step.ridge(task, refit=refit) - truth).mean() for refit in (False, True))
    assert both < 0.8 * alone
    job = module("jobs").one_step_job(task, season=24, loss="mse")
    np.testing.assert_array_equal(job.points["ridge"](), one_step.ridge(task, refit=True))
