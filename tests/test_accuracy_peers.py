"""Other libraries on the accuracy suites: what they are handed, that nothing of the horizon is in it, and their rows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

from openbook.data.panel import make_panel

ROOT = Path(__file__).parents[1]
ROWS = (120, 40, 40)


def job_of(module: Callable[[str], Any], **settings: Any) -> Any:
    """Two series with an input known ahead and one of the past, four hours ahead."""
    step, rng = np.arange(200), np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=200, freq="h"),
                "y": rng.normal(size=200) + step,
                "price": rng.normal(size=200),
                "wind": rng.normal(size=200),
            }
        )
        for name in "ab"
    ]
    panel = make_panel(pd.concat(frames), futr=("price",), hist=("wind",), freq="h")
    return module("jobs").split_job(panel, ROWS, 4, season=8, **settings)


def test_what_was_handed_over_comes_back(module: Callable[[str], Any], tmp_path: Path) -> None:
    given = module("peer_jobs").handed(job_of(module, input_size=50))
    given.write(tmp_path / "job.npz")
    back = module("peers.handed").read_handed(tmp_path / "job.npz")
    for name, value in vars(given).items():
        assert type(getattr(back, name)) is type(value), name
        np.testing.assert_array_equal(getattr(back, name), value)
    assert (back.h, back.season, back.validation, back.window, back.squared) == (4, 8, 40, 50, True)


def test_the_calendar_is_the_clock_on_the_wall_and_holds_what_varies(module: Callable[[str], Any]) -> None:
    calendar = module("peer_jobs").calendar
    stamps = pd.date_range("2024-03-30", periods=72, freq="h", tz="Europe/Vienna")  # summer begins on the 31st
    found = calendar(make_panel(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 1.0}), freq="h"))
    np.testing.assert_array_equal(found, np.stack([stamps.hour, stamps.day_of_week, stamps.month], axis=1))
    day = calendar(
        make_panel(pd.DataFrame({"unique_id": "a", "ds": stamps[:20].tz_localize(None), "y": 1.0}), freq="h")
    )
    np.testing.assert_array_equal(day.ravel(), stamps[:20].hour)
    assert calendar(make_panel(pd.DataFrame({"unique_id": "a", "ds": range(9), "y": 1.0}))).shape == (9, 0)


def test_choices_are_made_one_validation_part_earlier(module: Callable[[str], Any]) -> None:
    handed = module("peers.handed")
    job = module("peer_jobs").handed(job_of(module))
    earlier = handed.held_back(job)
    np.testing.assert_array_equal(earlier.learn, [120, 120])
    rows = (earlier.end[:, None] + np.arange(4)).ravel()
    np.testing.assert_array_equal(rows, [*range(120, 160), *range(320, 360)])
    np.testing.assert_array_equal(earlier.series, np.repeat([0, 1], 10))
    free = handed.held_back(replace(job, validation=0))
    assert set(free.learn) == {160 - 160 // 6}


def test_windows_are_rows_before_their_end(module: Callable[[str], Any]) -> None:
    table = module("peers.forecast").table
    target, inputs = np.arange(10.0), np.arange(20.0).reshape(10, 2)
    begin, end = np.array([1, 6]), np.array([4, 8])
    found = table(target, inputs, begin, end, end)
    assert list(found) == ["unique_id", "ds", "y", "x0", "x1"]
    np.testing.assert_array_equal(found["unique_id"], [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found["ds"], [-3, -2, -1, -2, -1])
    np.testing.assert_array_equal(found["y"], [1, 2, 3, 6, 7])
    np.testing.assert_array_equal(found["x1"], [3, 5, 7, 13, 15])


def test_trees_are_told_nothing_of_past_inputs_within_the_horizon(module: Callable[[str], Any]) -> None:
    forecast = module("peers.forecast")
    job = module("peer_jobs").handed(job_of(module))
    end = int(job.end[3])
    later = job.past.copy()
    later[end:] += 100
    usual, moved = (
        forecast.inputs_of(given, forecast.BACK)[end : end + job.h] for given in (job, replace(job, past=later))
    )
    np.testing.assert_array_equal(usual, moved)
    newest = job.known.shape[1] + job.calendar.shape[1]
    np.testing.assert_array_equal(usual[-1, newest], job.past[end - 1, 0])  # of the last step the newest row
    first = forecast.inputs_of(job, forecast.BACK)[200:204, newest:]
    assert np.isnan(first).all()  # nothing of the first series stands before the second


def test_lags_stay_within_the_protocols_window(module: Callable[[str], Any]) -> None:
    lags_of = module("peers.forecast").lags_of
    job = module("peer_jobs").handed(job_of(module))
    long = np.array([5000])
    assert lags_of(replace(job, learn=long), 8) == [*range(1, 9), 16, 24, 32, 40, 48, 56]
    assert lags_of(replace(job, learn=long, window=20), 0) == [*range(1, 9), 16]
    assert lags_of(replace(job, learn=long, window=20), 8) == list(range(1, 9))  # what differences read counts
    assert lags_of(replace(job, learn=long, window=10, season=96), 1) == list(range(1, 10))
    changes = module("peers.forecast").changes_of(replace(job, learn=long, window=10, season=96))
    assert changes == {"level": 0, "last value": 1}  # a season ago lies outside
    assert lags_of(replace(job, learn=np.array([60])), 0) == [*range(1, 9), 16]
    assert lags_of(replace(job, learn=long, season=1), 1) == list(range(1, 11))
    assert lags_of(replace(job, learn=long, season=96), 0) == [*range(1, 11), *range(96, 673, 96)]


class Stub:
    """What stands for a network of neuralforecast and for the library around it: it repeats each window's last value."""

    EXOGENOUS_FUTR = EXOGENOUS_HIST = True
    seen: ClassVar[list[Any]] = []

    def __init__(self, models: list[Any] | None = None, freq: int | None = None, **settings: Any) -> None:
        self.models, self.settings = models, settings
        self.hparams = {"max_steps": 1000, "learning_rate": 0.1}

    def fit(self, frame: pd.DataFrame, val_size: int) -> None:
        made = self.models[0]
        clock, trainer = made.settings["callbacks"][0], SimpleNamespace(should_stop=False)
        clock.on_train_start(trainer)
        for _ in range(3):
            clock.on_train_batch_end(trainer)
        self.seen.append((made.settings, frame, trainer.should_stop))

    def predict(self, df: pd.DataFrame, futr_df: pd.DataFrame | None) -> pd.DataFrame:
        self.seen.append((df, futr_df))
        last = df.groupby("unique_id")["y"].last()
        rows = [
            {"unique_id": owner, "ds": step, "NHITS": y, "Bare": y} for owner, y in last.items() for step in range(4)
        ]
        return pd.DataFrame(rows).sample(frac=1, random_state=0)


class Bare(Stub):
    """A network that reads the target alone."""

    EXOGENOUS_FUTR = EXOGENOUS_HIST = False


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A stub in the place of neuralforecast, and what it was told."""
    parts = {
        "neuralforecast": {"NeuralForecast": Stub, "models": SimpleNamespace(NHITS=Stub, Bare=Bare)},
        "neuralforecast.losses": {},
        "neuralforecast.losses.pytorch": {"MAE": lambda: "MAE", "MSE": lambda: "MSE"},
        "pytorch_lightning": {"Callback": object},
    }
    for name, told in parts.items():
        made = ModuleType(name)
        vars(made).update(told)
        monkeypatch.setitem(sys.modules, name, made)
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    monkeypatch.setattr(Stub, "seen", [])
    return Stub.seen


def test_networks_learn_the_rows_to_learn_from_and_read_what_lies_before_their_windows(
    module: Callable[[str], Any], library: list[Any]
) -> None:
    forecast = module("peers.forecast")
    job = module("peer_jobs").handed(job_of(module, input_size=20))
    found = forecast.network("NHITS")(job, forecast.Given(3, 0.0))
    np.testing.assert_array_equal(found.point, np.repeat(job.target[job.end - 1][:, None], 4, axis=1))
    (settings, taught, stopped), (known, ahead) = library
    assert (settings["random_seed"], settings["loss"], settings["input_size"]) == (3, "MSE", 20)
    assert settings["futr_exog_list"] == ["x0", "x1", "x2"]  # price, hour, weekday
    assert settings["hist_exog_list"] == ["x3"]
    assert list(taught.groupby("unique_id").size()) == list(job.learn)
    assert len(known) == 20 * len(job.end)
    assert list(ahead) == ["unique_id", "ds", "x0", "x1", "x2"]
    assert stopped  # no seconds were given
    assert found.settings == {"window": 20, "steps": 3, "steps by default": 1000, "learning rate": 0.1}


def test_a_network_that_reads_the_target_alone_is_told_no_inputs(
    module: Callable[[str], Any], library: list[Any]
) -> None:
    forecast = module("peers.forecast")
    job = module("peer_jobs").handed(job_of(module, input_size=20))
    forecast.network("Bare")(job, forecast.Given(1, 60.0))
    (settings, taught, stopped), (known, ahead) = library
    assert not {"futr_exog_list", "hist_exog_list"} & set(settings)
    assert list(known) == ["unique_id", "ds", "y"]
    assert list(taught) == ["unique_id", "ds", "y", "available_mask"]
    assert ahead is None
    assert not stopped


def perfect(module: Callable[[str], Any], asked: list[Any]) -> Callable[..., None]:
    """A peer that knows the truth of every window it is asked for."""

    def call(name: str, words: list[Any], folder: Path, threads: int) -> None:
        asked.append((name, words[0], words[words.index("--budget-s") + 1], threads))
        job = module("peers.handed").read_handed(folder / "job.npz")
        np.save(folder / "point.npy", job.target[job.end[:, None] + np.arange(job.h)])
        told = {"seconds_fit": 3.0, "seconds_predict": 0.5, "settings": {"window": 57}, "versions": {"lightgbm": "4"}}
        (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")

    return call


def test_forecasts_are_scored_window_by_window(
    module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracy, suites, asked = module("accuracy"), module("suites"), []
    suite = suites.Suite("tiny", (), {"4": lambda: job_of(module)}, ("mse", "mae"), "made up")
    words = accuracy.parse(["--model", "lightgbm", "--model", "nhits", "--seed", "2", "--threads", "1"])
    monkeypatch.setattr(accuracy, "PEERS_PYTHON", tmp_path / "absent")
    assert accuracy.run_suite(suite, words, tmp_path) == []
    assert not list(tmp_path.glob("*.json"))
    monkeypatch.setattr(accuracy, "PEERS_PYTHON", ROOT)
    monkeypatch.setattr(module("peer_jobs"), "call_peer", perfect(module, asked))
    assert accuracy.run_suite(suite, words, tmp_path) == []
    found = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(found) == {"tiny-4-mlforecast_LightGBM", "tiny-4-neuralforecast_NHITS-seed2"}
    told = found["tiny-4-mlforecast_LightGBM"]
    assert told["scores"]["mse"] == told["scores"]["missing"] == 0.0  # in the order they were asked for
    assert (told["label"], told["seed"], told["seconds_fit"]) == ("mlforecast LightGBM", None, 3.0)
    assert told["versions"] == {"lightgbm": "4"}
    assert told["command"].endswith("--case 4 --model lightgbm --threads 1 --force")
    assert "--seed 2" in found["tiny-4-neuralforecast_NHITS-seed2"]["command"]
    assert [told[1:3] for told in asked] == [
        ("lightgbm", 300.0),
        ("nhits", 300.0),
    ]  # as many seconds as ours by default
    again = accuracy.parse(["--model", "lightgbm", "--model", "lstm", "--seed", "2", "--budget-s", "7", "--force"])
    assert accuracy.run_suite(suite, again, tmp_path) == []
    assert [told[1:3] for told in asked[2:]] == [("lightgbm", 7.0), ("lstm", 7.0)]
    told = json.loads((tmp_path / "tiny-4-neuralforecast_LSTM-seed2.json").read_text())
    assert "--budget-s 7 " in told["command"]


def test_forecasts_of_a_wrong_shape_are_a_failure(
    module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = module("peer_jobs")
    usual = perfect(module, [])

    def short(name: str, words: list[Any], folder: Path, threads: int) -> None:
        usual(name, words, folder, threads)
        np.save(folder / "point.npy", np.load(folder / "point.npy")[1:])

    monkeypatch.setattr(jobs, "call_peer", short)
    with pytest.raises(ValueError, match="expected"):
        jobs.ask_peer("lightgbm", job_of(module), None, 1)


def test_a_process_that_fails_says_its_last_line(
    module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = module("peers.launch")
    monkeypatch.setattr(launch, "PEERS_PYTHON", Path(sys.executable))
    with pytest.raises(launch.PeerFailed, match="the following arguments are required"):
        launch.call_peer("benchmarks.peers.forecast", ["lightgbm"], tmp_path, 1)
