"""Options of the command line that change what is done: each told in the results. And what is left to exit code 1."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import openbook as ob
from command import run_here
from openbook import cli, console, demo
from openbook.console import allowed_cores


@pytest.fixture
def table(tmp_path: Path, hourly: pd.DataFrame) -> Path:
    """A table of one series of hours, with two inputs."""
    hourly[hourly["unique_id"] == "series 0"].to_csv(tmp_path / "calls.csv", index=False)
    return tmp_path / "calls.csv"


@pytest.fixture(autouse=True)
def _this_process_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("share_the_machine", "keep_memory", "speak_utf8"):
        monkeypatch.setattr(cli, name, lambda: None)


def test_a_backtest_does_as_its_options_say(monkeypatch: pytest.MonkeyPatch, table: Path, tmp_path: Path) -> None:
    asked = [
        "--h",
        6,
        "--n-windows",
        3,
        "--step-size",
        3,
        "--refit",
        2,
        "--limit-s",
        5,
        "--hist-exog",
        "",
        "--freq",
        "h",
    ]
    own = ["--models", "luong", "--futr-exog", "promo", "--input-size", 24, "--max-steps", 5, "--quiet"]
    assert run_here(monkeypatch, "backtest", table, "--out", tmp_path / "out", *asked, *own) == 0
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    given = {name: told["arguments"][name] for name in ("h", "n_windows", "step_size", "refit", "limit_s", "hist_exog")}
    assert given == {"h": 6, "n_windows": 3, "step_size": 3, "refit": 2, "limit_s": 5.0, "hist_exog": ""}
    explained = pd.read_parquet(tmp_path / "out" / "explanation.parquet")
    assert set(explained["feature"]) == {"y", "promo"}  # "wind" would be read, were --hist-exog not empty
    cutoffs = pd.read_parquet(tmp_path / "out" / "forecasts.parquet")["cutoff"].drop_duplicates().sort_values()
    assert cutoffs.diff().dropna().eq(pd.Timedelta(hours=3)).all()
    assert len(cutoffs) == 3


def test_a_frequency_that_is_told_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every second hour is there: an hourly table with gaps where that is said."""
    stamps = pd.date_range("2024-01-01", periods=200, freq="2h")
    pd.DataFrame({"ds": stamps, "y": range(200)}).to_csv(tmp_path / "t.csv", index=False)
    quick = ["--h", 2, "--model", "luong", "--input-size", 8, "--max-steps", 3, "--json"]
    told = {}
    for freq in ((), ("--freq", "h")):
        assert run_here(monkeypatch, "fit", tmp_path / "t.csv", "--out", tmp_path / "m.ob", *quick, *freq) == 0
        told[freq] = json.loads(capsys.readouterr().out)["decisions"]["freq"]
    assert [decision["value"] for decision in told.values()] == ["2h", "h"]
    assert told["--freq", "h"]["why"] == "as given"


def test_shares_of_anomalies_set_the_thresholds(
    monkeypatch: pytest.MonkeyPatch, hourly: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "calls.csv"
    hourly.to_csv(table, index=False)
    counts, thresholds = [], []
    for quantile, risk in ((0.8, 1e-5), (0.99, 1e-2)):
        shares = ["--quantile", quantile, "--risk", risk]
        own = ["--gaps", "1", "--max-steps", 3, "--json"]
        assert run_here(monkeypatch, "anomalies", table, "--out", tmp_path / "a.csv", *shares, *own) == 0
        told = json.loads(capsys.readouterr().out)
        counts.append(told["by_quantile"])
        thresholds.append(told["peaks_threshold"])
    assert counts[0] > 3 * counts[1] > 0
    assert thresholds[0] > thresholds[1]  # the smaller the chance, the farther out


@pytest.mark.parametrize("as_json", [True, False])
def test_what_is_a_bug_of_ours_says_so_and_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    def broken(path: Path) -> object:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(cli, "load_model", broken)
    assert run_here(monkeypatch, "predict", tmp_path / "m.ob", *(["--json"] if as_json else [])) == 1
    told = capsys.readouterr()
    if as_json:
        assert json.loads(told.out) == {"error": {"code": "bug", "message": "RuntimeError: a wheel came off"}}
    else:
        assert "a bug of ours" in told.err
        assert "a wheel came off" in told.err


def test_a_reader_that_stops_reading_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``openbook predict … | head -1``."""

    def closed(path: Path) -> object:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "load_model", closed)
    assert run_here(monkeypatch, "predict", tmp_path / "m.ob") == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_the_demo_of_a_real_record_ends_with_a_forecast_and_a_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Carbon dioxide, weekly: nothing is known ahead, and the forecast begins where the record ends."""
    pytest.importorskip("statsmodels", reason="the record comes with statsmodels (openbook[stats])")
    whole = demo.demo_case

    def little(name: str, *, seed: int) -> demo.DemoCase:
        case = whole(name, seed=seed)
        assert (case.max_steps, case.n_windows) == (600, 10)
        return replace(case, n_windows=1, models=("luong", "naive"), max_steps=4, budget_s=4.0)

    monkeypatch.setattr(demo, "demo_case", little)
    assert run_here(monkeypatch, "demo", "--data", "co2", "--out", tmp_path / "co2", "--quiet") == 0
    forecast, record = (
        pd.read_csv(tmp_path / "co2" / f"{name}.csv", parse_dates=["ds"]) for name in ("forecast", "co2")
    )
    assert len(forecast) == 26
    assert forecast["ds"].iloc[0] == record["ds"].iloc[-1] + pd.Timedelta(weeks=1)
    assert (forecast["OpenBook"] - record["y"].iloc[-1]).abs().max() < 15
    assert len(ob.load(tmp_path / "co2" / "model.ob").predict()) == 26
    assert "report.html" in {file.name for file in (tmp_path / "co2").iterdir()}
    assert not (tmp_path / "co2" / "tomorrow.csv").exists()


def test_a_containers_quota_counts_whole_cores(tmp_path: Path) -> None:
    assert allowed_cores(tmp_path) is None
    new, old = tmp_path / "new", tmp_path / "old" / "cpu"
    new.mkdir()
    old.mkdir(parents=True)
    for told, cores in (("max 100000", None), ("250000 100000", 2), ("50000 100000", 1), ("", None)):
        (new / "cpu.max").write_text(told)
        assert allowed_cores(new) == cores
    for quota, cores in (("-1", None), ("400000", 4)):
        (old / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (old / "cpu.cfs_period_us").write_text("100000\n")
        assert allowed_cores(old.parent) == cores


def test_a_quota_sets_the_threads_unless_the_user_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "allowed_cores", lambda: 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    for given, threads in ((None, "3"), ("8", "8")):
        monkeypatch.setenv("OMP_NUM_THREADS", given) if given else monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        console.share_the_machine()
        assert os.environ["OMP_NUM_THREADS"] == threads
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1}, raising=False)  # fewer cores than are allowed
    monkeypatch.delenv("OMP_NUM_THREADS")
    console.share_the_machine()
    assert "OMP_NUM_THREADS" not in os.environ
