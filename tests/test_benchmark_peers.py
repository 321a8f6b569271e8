"""The comparison with other libraries: same windows for all, the time to reach a score, and what the tables make of it."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import openbook as ob
from openbook.training.loop import TrainConfig

ROOT = Path(__file__).parents[1]
LSTM = "etth1: `luong` is as good on validation as neuralforecast LSTM after at most a fifth of its training time"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """What lives beside the package."""
    monkeypatch.syspath_prepend(ROOT)
    names = ("etth1", "reach", "end_to_end", "tables", "peers.measure")
    return {name: importlib.import_module(f"benchmarks.{name}") for name in names}


def made_up(modules: dict[str, ModuleType]) -> Any:
    """A daily wave as long as the protocol asks for."""
    stamps = pd.date_range("2020-01-01", periods=15000, freq="h").to_numpy()
    wave = 20 + 5 * np.sin(2 * np.pi * np.arange(15000) / 24) + np.random.default_rng(0).normal(size=15000)
    return modules["etth1"].make_series(stamps, wave)


def put(root: Path, name: str, **values: Any) -> None:
    """One result, as the measurement writes it."""
    facts = {
        "command": "python -m benchmarks.end_to_end",
        "commit": "abc1234",
        "machine": {"system": "Linux", "processor": "x86_64", "cores": 2, "threads": 2},
        "versions": {"neuralforecast": "3", "openbook": "0"},
        "yardstick_ms": [20.0, 22.0],
    }
    (root / "benchmarks" / "results" / f"{name}.json").write_text(json.dumps(facts | values), encoding="utf-8")


def put_peer(root: Path, mae: float, seconds: float, name: str = "etth1_nf_lstm", **values: Any) -> None:
    told = {"steps": 300, "asked_steps": 300, "seconds_per_step": 0.1, "settings": {"loss": "MAE"}}
    scores = {"validation_mae": mae, "test_mae": mae, "seconds_fit": seconds}
    put(root, f"{name}-1", **(told | scores | values))


def put_ours(root: Path, seed: int, curve: list[tuple[float, int, float]]) -> None:
    last = {"validation_mae": curve[-1][2], "test_mae": curve[-1][2], "seconds_fit": curve[-1][0]}
    put(root, f"etth1_luong-{seed}", curve=curve, steps=curve[-1][1], seconds_per_step=0.1, **last)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with READMEs and no results."""
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for name in ("README.md", "README.ko.md"):
        (tmp_path / name).write_text("<!-- scores:begin -->\n<!-- scores:end -->\n", encoding="utf-8")
    return tmp_path


def targets(modules: dict[str, ModuleType], root: Path) -> dict[str, Any]:
    tables = modules["tables"]
    return {told.asked: told for told in tables.all_targets(tables.read_cases(root / "benchmarks" / "results"))}


@pytest.mark.parametrize(("mae", "step"), [(1.9, 50), (1.91, 50), (3.0, 25), (1.0, 100), (0.9, None)])
def test_the_first_point_at_or_below_counts(modules: dict[str, ModuleType], mae: float, step: int | None) -> None:
    curve = [[1.0, 25, 3.0], [2.0, 50, 1.9], [3.0, 75, 2.5], [4.0, 100, 1.0]]
    found = modules["reach"].first_within(curve, mae)
    assert (found and found.step) == step


def test_windows_cover_each_part_once_and_leave_none(modules: dict[str, ModuleType]) -> None:
    etth1 = modules["etth1"]
    for part, (begin, end) in etth1.PARTS.items():
        rows = (etth1.origins(part)[:, None] + np.arange(etth1.H)).ravel()
        np.testing.assert_array_equal(rows, np.arange(begin, end))
    assert etth1.PARTS["validation"][0] == etth1.TRAIN_END


def test_contexts_end_where_the_horizon_begins(modules: dict[str, ModuleType]) -> None:
    etth1, series = modules["etth1"], made_up(modules)
    known = etth1.contexts(series.degrees, etth1.origins("test"))
    assert known.shape == (120, etth1.INPUT_SIZE)
    np.testing.assert_array_equal(known[:, -1], series.degrees[etth1.origins("test") - 1])


def test_the_scale_comes_from_the_training_rows(modules: dict[str, ModuleType]) -> None:
    etth1, series = modules["etth1"], made_up(modules)
    spoilt = series.degrees.copy()
    spoilt[etth1.TRAIN_END :] = 1e6
    again = etth1.make_series(series.stamps, spoilt)
    assert (again.mean, again.std) == (series.mean, series.std)
    with pytest.raises(ValueError, match="at least 14400"):
        etth1.make_series(series.stamps[:100], spoilt[:100])


def test_a_peer_that_ran_out_of_time_leaves_its_target_open(modules: dict[str, ModuleType], root: Path) -> None:
    put_ours(root, 1, [(1.0, 25, 3.0), (2.0, 50, 1.5)])
    put_peer(root, 1.5, 100.0, "etth1_nf_patchtst")
    put_peer(root, 1.5, 100.0, "etth1_nf_tft", steps=85)
    found = targets(modules, root)
    patchtst, tft = (
        next(told for asked, told in found.items() if f"neuralforecast {name} after" in asked)
        for name in ("PatchTST", "TFT")
    )
    assert patchtst.met
    assert tft.met is None
    assert "2.0 %" in tft.measured
    assert "85 of 300 steps" in tft.measured


def test_score_is_in_degrees_and_refuses_what_is_not_whole(modules: dict[str, ModuleType]) -> None:
    etth1, series = modules["etth1"], made_up(modules)
    first = etth1.origins("validation")
    truth = series.degrees[first[:, None] + np.arange(etth1.H)]
    assert etth1.score(truth + 0.5, series.degrees, first) == pytest.approx(0.5)
    for wrong in (truth[1:], np.where(truth == truth[0, 0], np.nan, truth)):
        with pytest.raises(ValueError, match="finite forecasts"):
            etth1.score(wrong, series.degrees, first)


def test_watching_changes_nothing_and_validation_rows_are_out_of_reach(modules: dict[str, ModuleType]) -> None:
    etth1, series, train = modules["etth1"], made_up(modules), TrainConfig(max_steps=3, batch_size=4)
    found, model = modules["end_to_end"].train_luong(series, 1, train)
    rows = slice(0, etth1.TRAIN_END)
    frame = pd.DataFrame({"unique_id": "OT", "ds": series.stamps[rows], "y": series.degrees[rows]})
    fitted = ob.Forecaster(etth1.H, model="luong", input_size=etth1.INPUT_SIZE, seed=1, train=train).fit(frame).fitted()
    theirs = fitted.model.state_dict()
    assert all(torch.equal(weight, theirs[name]) for name, weight in model.state_dict().items())
    assert [(point.step, point.mae) for point in found["curve"]] == [(3, found["validation_mae"])]
    assert 0 < found["curve"][0].seconds <= found["seconds_fit"] + 0.01
    spoilt = series.degrees.copy()
    spoilt[etth1.TRAIN_END :] += 1000
    again, same = modules["end_to_end"].train_luong(series._replace(degrees=spoilt), 1, train)
    assert all(torch.equal(weight, theirs[name]) for name, weight in same.state_dict().items())
    assert again["kept_step"] == found["kept_step"]


def test_the_forecast_scored_is_the_forecasters(modules: dict[str, ModuleType]) -> None:
    etth1, ours, series = modules["etth1"], modules["end_to_end"], made_up(modules)
    rows = slice(0, etth1.TRAIN_END)
    frame = pd.DataFrame({"unique_id": "OT", "ds": series.stamps[rows], "y": series.degrees[rows]})
    train = TrainConfig(max_steps=2, batch_size=4)
    model = ob.Forecaster(etth1.H, model="luong", input_size=etth1.INPUT_SIZE, seed=1, train=train).fit(frame)
    told = ours.forecast(
        model.fitted().model, ours.panel_of(series, 14400), model.fitted(), np.array([etth1.TRAIN_END])
    )
    np.testing.assert_allclose(told[0], model.predict()["Luong"], rtol=1e-6)


@pytest.mark.parametrize(("peer_seconds", "met"), [(100.0, True), (99.0, False)])
def test_a_fifth_of_the_peers_training(
    modules: dict[str, ModuleType], root: Path, peer_seconds: float, met: bool
) -> None:
    put_peer(root, 2.0, peer_seconds)
    for seed, seconds in ((1, 10.0), (2, 30.0)):
        put_ours(root, seed, [(5.0, 25, 3.0), (seconds, 50, 2.0), (40.0, 75, 1.5)])
    told = targets(modules, root)[LSTM]
    assert told.met is met
    assert told.measured.endswith(f"(its training: {peer_seconds:.1f} s, 300 steps)")
    assert targets(modules, root)[LSTM.replace("LSTM", "TFT")].met is None


@pytest.mark.parametrize(
    ("mae", "seconds", "met"), [(1.1, 9.9, True), (1.21, 9.9, False), (1.1, 10.0, False), (None, None, None)]
)
def test_the_default_against_the_better_of_two(
    modules: dict[str, ModuleType], root: Path, mae: float | None, seconds: float, met: bool | None
) -> None:
    put_peer(root, 1.2, 100.0, name="etth1_nf_nhits_100")
    put_peer(root, 1.5, 1.0, name="etth1_nf_nhits")  # the worse of its two, and the faster one
    put_peer(root, 1.3, 10.0, name="etth1_nf_patchtst")
    if mae is not None:
        scores = {"validation_mae": mae, "test_mae": mae, "seconds_fit": seconds}
        put(root, "etth1_openbook-1", steps=30, seconds_per_step=0.1, **scores)
    asked = "etth1: `openbook` has the test MAE of the better of NHITS and PatchTST, in less time than either"
    assert targets(modules, root)[asked].met is met
    modules["tables"].generate(root)
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert ("| **openbook** |" in page) is (mae is not None)


def test_the_defaults_validation_rows_are_out_of_reach(modules: dict[str, ModuleType]) -> None:
    series, train = made_up(modules), TrainConfig(max_steps=4, batch_size=4, val_every=2, budget_s=600)
    found = modules["end_to_end"].train_openbook(series, 1, train)
    assert found["test_mae"] < 2
    assert found["steps"] == 4
    spoilt = series.degrees.copy()
    spoilt[modules["etth1"].TRAIN_END :] += 1000
    again = modules["end_to_end"].train_openbook(series._replace(degrees=spoilt), 1, train)
    assert again["forecast"] == found["forecast"]
    assert again["kept_step"] == found["kept_step"]


def test_a_seed_that_never_comes_there_misses(modules: dict[str, ModuleType], root: Path) -> None:
    put_peer(root, 2.0, 1000.0, steps=54)
    put_peer(root, 9.0, 1.0, name="etth1_nf_nhits")
    put_ours(root, 1, [(5.0, 25, 1.9)])
    put_ours(root, 2, [(5.0, 25, 2.1)])
    told = targets(modules, root)[LSTM]
    assert (told.met, told.measured) == (False, "0.5 %; never in seed 2 (its training: 1,000.0 s, 54 of 300 steps)")
    modules["tables"].generate(root)
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    lost = [line for line in page.splitlines() if line.startswith("- **Lost")]
    assert lost == [
        "- **Lost:** etth1: luong takes longer to be as good as neuralforecast LSTM (share of its training: 0.5 %; never "
        "in seed 2).",
        "- **Lost:** etth1: luong takes longer to be as good as neuralforecast NHITS (share of its training: 500.0 ± 0.0 %).",
    ]
    assert page.count("\n## etth1") == 1
    labels = re.findall(r"^\| (\*\*luong\*\*|neuralforecast \w+) \| (?:0|3) ", page, re.MULTILINE)
    assert labels == ["**luong**", "neuralforecast LSTM", "neuralforecast NHITS"]
    for name in ("README.md", "README.ko.md"):
        assert "never in seed 2" in (root / name).read_text(encoding="utf-8")


def test_a_better_test_score_of_a_peer_is_told(modules: dict[str, ModuleType], root: Path) -> None:
    put_peer(root, 2.0, 1000.0, name="etth1_darts_lstm", test_mae=1.0)
    put_ours(root, 1, [(5.0, 25, 1.9)])
    modules["tables"].generate(root)
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "- **Lost:** etth1: Darts LSTM (test MAE, °C: 1.000) beats luong (1.900)." in page


def test_what_can_not_be_measured_says_why(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = modules["end_to_end"]
    monkeypatch.setattr(ours, "DATA", tmp_path)
    assert ours.not_possible("luong") == "no ETTh1.parquet in the data folder"
    (tmp_path / "ETTh1.parquet").touch()
    monkeypatch.setattr(ours, "PEERS_PYTHON", tmp_path / "python")
    assert ours.not_possible("luong") is None
    assert str(ours.not_possible("nf_tft")).startswith("no .venv-peers")


def test_both_sides_name_the_same_peers(modules: dict[str, ModuleType]) -> None:
    names = modules["end_to_end"].PEERS
    assert tuple(modules["peers.measure"].MODELS) == names
    assert tuple(modules["reach"].PEERS) == tuple(f"etth1_{name}" for name in names)


def test_peers_compute_with_our_torch() -> None:
    def pins(path: Path) -> dict[str, str]:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", line) for line in lines)
        return dict(line.split("==") for line in lines)

    theirs = pins(ROOT / "benchmarks" / "peers" / "constraints.txt")
    assert theirs["torch"] == pins(ROOT / "constraints.txt")["torch"]
    assert {"neuralforecast", "darts", "pytorch-forecasting"} <= set(theirs)


def test_a_peer_that_fails_is_told_and_leaves_no_result(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = modules["end_to_end"]
    monkeypatch.setattr(ours, "run_peer", lambda *_: {"failed": "ImportError: no such library"})
    monkeypatch.setattr(ours, "not_possible", lambda _: None)
    monkeypatch.setattr("sys.argv", ["end_to_end", "--case", "nf_lstm", "--out", str(tmp_path)])
    ours.main()
    assert capsys.readouterr().out == "etth1_nf_lstm-1: failed, ImportError: no such library\n"
    assert list(tmp_path.iterdir()) == []
