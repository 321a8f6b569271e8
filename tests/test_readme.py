"""What a stranger meets runs as written: the READMEs' and the guide's Python, their commands, links and names."""

from __future__ import annotations

import json
import re
import shlex
import sys
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook import cli
from openbook.data.calls import simulate_calls
from openbook.training.loop import TrainConfig

ROOT = Path(__file__).parents[1]
README, KOREAN, GUIDE = ROOT / "README.md", ROOT / "README.ko.md", ROOT / "docs" / "guide.md"
MODELS, INPUTS, COMMANDS = (ROOT / "docs" / name for name in ("models.md", "inputs.md", "commands.md"))
PAGES = (README, KOREAN, GUIDE, MODELS, INPUTS, COMMANDS, ROOT / "CHANGELOG.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
STEPS = 4


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return [code for kind, code in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> list[str]:
    """The ``openbook`` command lines of a page."""
    return [line for code in blocks(page, "sh") for line in code.splitlines() if line.startswith("openbook ")]


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train a few steps only, on little built-in data; all else is as a user has it."""
    check = TrainConfig.__post_init__

    def shortened(config: TrainConfig) -> None:
        check(config)
        object.__setattr__(config, "max_steps", min(config.max_steps, STEPS))

    monkeypatch.setattr(TrainConfig, "__post_init__", shortened)
    monkeypatch.setitem(ob.Forecaster.__init__.__kwdefaults__, "train", TrainConfig())
    monkeypatch.setattr("openbook.data.calls.simulate_calls", partial(simulate_calls, days=32, n_centres=1))


def put_tables(folder: Path) -> None:
    """The user's files: hourly calls with what is known about the next day, daily demand with the plan of two weeks."""
    calls = simulate_calls(days=33, n_centres=2).frame.drop(columns=["noise_1", "noise_2"])
    tomorrow = calls.groupby("unique_id").tail(24)
    calls.drop(tomorrow.index).to_csv(folder / "calls.csv", index=False)
    tomorrow.drop(columns=["y", "mailing"]).to_csv(folder / "tomorrow.csv", index=False)
    rng, days, parts = np.random.default_rng(1), pd.date_range("2024-01-01", periods=214), []
    for number, store in enumerate(("north", "south")):
        promo = (rng.random(214) < 0.1).astype(int)
        sold = (1 + number) * (50 + 20 * (days.day_of_week >= 5) + 15 * promo + rng.normal(0, 3, 214).round(1))
        parts.append(pd.DataFrame({"store": store, "day": days, "sold": sold, "price": 9.5 - promo, "promo": promo}))
    demand = pd.concat(parts)
    demand[demand["day"] < days[200]].to_csv(folder / "demand.csv", index=False)
    demand[demand["day"] >= days[200]].drop(columns="sold").to_csv(folder / "plan.csv", index=False)


def run_command(line: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command line in this process; its exit code."""
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def run_python(page: Path) -> dict[str, Any]:
    """Run all Python of a page, one block after the other; the names it leaves."""
    names: dict[str, Any] = {}
    for code in blocks(page, "python"):
        exec(compile(code, str(page), "exec"), names)
    return names


@pytest.mark.usefixtures("little")
def test_the_readmes_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_python(README)
    assert list(names["forecast"].columns)[:5] == ["unique_id", "ds", "OpenBook", "OpenBook-lo-80", "OpenBook-hi-80"]
    assert len(names["forecast"]) == 24
    assert names["model"].training_.steps == STEPS
    assert (tmp_path / "calls.ob").is_file()
    assert "plotly" in (tmp_path / "looked-up.html").read_text(encoding="utf-8")
    lines = [line for line in blocks(README, "python")[0].splitlines() if line]
    assert len(lines) <= 8


@pytest.mark.slow
@pytest.mark.usefixtures("little")
@pytest.mark.parametrize("page", [README, GUIDE], ids=["readme", "guide"])
def test_the_commands_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put_tables(tmp_path)
    found = commands(page)
    assert len(found) >= 5
    for line in found:
        code = run_command(line, monkeypatch)
        captured = capsys.readouterr()
        assert code == 0, f"{line}\n{captured.out}\n{captured.err}"
        written = re.search(r"--out (\S+)", line)
        assert written is None or (tmp_path / written[1]).exists(), line
    run = json.loads((tmp_path / "test" / "run.json").read_text(encoding="utf-8"))
    assert run["failed"] == {}
    assert (tmp_path / "test" / "report.html").stat().st_size > 100_000
    assert "OpenBook-hi-95" in pd.read_csv(tmp_path / "forecast.csv").columns or page is GUIDE


@pytest.mark.slow
def test_the_models_pages_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_python(MODELS)
    assert names["looked"].alpha_WTF.shape == (3, 24, 6)
    assert names["looked"].beta_WLT.shape == (3, 47, 24)
    assert names["told"]["Darnn"].notna().all()
    assert names["days"].decisions["gaps"].value == (1, 7, 14)
    assert names["found"].frame["score"].notna().any()
    assert names["weekly"].train.loss == "lag_mase"


@pytest.mark.slow
@pytest.mark.usefixtures("little")
def test_the_guides_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("polars")
    monkeypatch.chdir(tmp_path)
    put_tables(tmp_path)
    names = run_python(GUIDE)
    told = re.search(r"book\.frame\(\)  # (.+)", GUIDE.read_text(encoding="utf-8"))
    assert told is not None
    assert list(names["looked"].columns) == told[1].split(", ")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(names["model"].decisions), "the guide explains every decision"
    expected = {"store", "day", "cutoff", "sold", "OpenBook", "OpenBook-lo-80", "OpenBook-hi-80"}
    assert set(names["tested"].columns) == expected
    assert len(names["tested"]) == 2 * 4 * 14
    assert names["third"].config.mode == "scheduled"
    assert set(names["side"].scores["model"]) == {"openbook", "two heads", "naive", "seasonal_naive", "ridge"}
    assert (tmp_path / "rivals" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("little")
def test_the_inputs_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put_tables(tmp_path)
    names = run_python(INPUTS)
    assert names["local"].decisions["calendar"].value[-2:] == ("holiday_AU-VIC", "eve_AU-VIC")
    assert names["known"].fitted().layout.stat == ("area", "kind=high street", "kind=station")
    assert names["ahead"]["store"].unique().tolist() == [
        f"{s}/{t}" for s in ("north", "south") for t in ("price", "sold")
    ]
    assert names["opened"]["store"].unique().tolist() == ["west"]
    for line in commands(INPUTS):
        assert run_command(line, monkeypatch) == 0, line


def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("openbook.data.calls.simulate_calls", lambda days: simulate_calls(days=32, n_centres=1))
    names: dict[str, Any] = {"__name__": "calls_example"}
    path = ROOT / "examples" / "calls.py"
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    names["main"](STEPS)
    told = capsys.readouterr().out
    assert "planted: mailing, 52 hours later" in told
    assert "noise_1" in told


def test_both_readmes_hold_the_same_code() -> None:
    both = [BLOCK.findall(page.read_text(encoding="utf-8")) for page in (README, KOREAN)]
    assert both[0] == both[1]
    assert len(both[0]) >= 4


def test_the_readme_is_short() -> None:
    for page, most in ((README, 150), (KOREAN, 150), (GUIDE, 260)):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= most, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_exist(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


def test_pictures_are_small() -> None:
    pictures = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert len(pictures) == 2
    assert all(picture.stat().st_size < 350_000 for picture in pictures)


def test_make_knows_the_targets_the_readme_names() -> None:
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {line.split()[1] for code in blocks(README, "sh") for line in code.splitlines() if line.startswith("make ")}
    assert {"demo", "test"} <= named <= made


def test_codes_options_and_names_that_are_told_exist() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    guide, commands_page = GUIDE.read_text(encoding="utf-8"), COMMANDS.read_text(encoding="utf-8")
    table = commands_page[commands_page.index("| code | what to do |") :]
    named = re.findall(r"`([a-z_]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    named += re.findall(r"`(F\d\d-[a-z-]+)`", guide)
    assert len(named) >= 26
    assert [code for code in named if f'"{code}"' not in source] == []
    assert set(re.findall(r"F\d\d-[a-z-]+", commands_page)) == set(re.findall(r'"(F\d\d-[a-z-]+)"', source))
    options = set(re.findall(r"`?(--[a-z][a-z-]+)", guide + README.read_text(encoding="utf-8")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = known_options()
    assert options <= known, options - known
    for name in re.findall(r"\bob\.(\w+)", guide + commands_page):
        assert name in ob.__all__


def known_options() -> set[str]:
    """Every option of every command."""
    import typer.main

    group = typer.main.get_command(cli.app)
    every = [option for command in group.commands.values() for parameter in command.params for option in parameter.opts]
    return {*every, "--help", "--version"}
