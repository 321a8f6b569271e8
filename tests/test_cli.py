"""The command line as a user meets it: every command on a real file, JSON, exit codes, wrong input."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import openbook as ob
from command import run_here
from openbook import cli
from openbook.console import ModelOptions
from openbook.errors import UsageError
from openbook.outputs import WRITTEN, check_folder
from openbook.training.loop import History

QUICK = ["--max-steps", "10", "--input-size", "24", "--h", "6", "--futr-exog", "promo"]


HAS_BROWSER = any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))) or "BROWSER_PATH" in os.environ
needs_pictures = pytest.mark.skipif(
    not (HAS_BROWSER and importlib.util.find_spec("kaleido")), reason="needs kaleido, and a chromium or google-chrome"
)


def openbook(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; its exit code must be ``code``."""
    command = [sys.executable, "-m", "openbook", *map(str, arguments)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert ran.returncode == code, f"{ran.stdout}\n{ran.stderr}"
    return ran


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, hourly: pd.DataFrame) -> Path:
    """A folder with calls.csv, next.csv (known ahead) and a model trained on calls.csv."""
    folder = tmp_path_factory.mktemp("files")
    hourly.to_csv(folder / "calls.csv", index=False)
    ends = hourly.groupby("unique_id")["ds"].max()
    ahead = [
        pd.DataFrame({"unique_id": n, "ds": pd.date_range(e, periods=7, freq="h")[1:], "promo": 0})
        for n, e in ends.items()
    ]
    pd.concat(ahead).to_csv(folder / "next.csv", index=False)
    openbook("fit", folder / "calls.csv", "--out", folder / "calls.ob", *QUICK)
    return folder


def test_fit_says_what_was_decided_and_predict_writes_forecasts(files: Path, tmp_path: Path) -> None:
    told = json.loads(openbook("fit", files / "calls.csv", "--out", tmp_path / "m", *QUICK, "--json").stdout)
    assert told["decisions"]["input_size"] == {"value": 24, "why": "as given"}
    assert (tmp_path / "m" / "weights.safetensors").is_file()
    openbook(
        "predict", files / "calls.ob", "--futr", files / "next.csv", "--out", tmp_path / "f.csv", "--level", "80,95"
    )
    found = pd.read_csv(tmp_path / "f.csv")
    assert len(found) == 18
    assert "OpenBook-hi-95" in found.columns
    plain = openbook("predict", files / "calls.ob", files / "calls.csv", "--futr", files / "next.csv").stdout
    assert plain.splitlines()[0] == "unique_id,ds,OpenBook,OpenBook-lo-80,OpenBook-hi-80"
    document = json.loads(openbook("predict", files / "calls.ob", "--futr", files / "next.csv", "--json").stdout)
    assert len(document["forecast"]) == 18


def test_backtest_and_report(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--n-windows", "2", "--models", "luong,bahdanau,naive", "--out", out, *QUICK]
    ran = openbook("backtest", files / "calls.csv", *arguments, "--json")
    document = json.loads(ran.stdout)
    assert {row["model"] for row in document["scores"]} == {"luong", "bahdanau", "naive", "seasonal_naive", "ridge"}
    scores = pd.read_csv(out / "scores.csv")
    assert scores["model"].tolist() == [row["model"] for row in document["scores"]]
    page = (out / "report.html").read_text()
    assert "series 1" in page
    (out / "report.html").unlink()
    openbook("report", out)
    assert (out / "report.html").read_text() == page
    assert {file.name for file in out.iterdir()} == set(WRITTEN) - {"stages.parquet"}
    openbook("backtest", files / "calls.csv", *arguments, "--json")  # its own folder may be written again


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".html"])
def test_explain(files: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"explain{suffix}"
    ran = openbook("explain", files / "calls.ob", "--futr", files / "next.csv", "--out", out, "--json")
    told = json.loads(ran.stdout)
    assert {*told["features"], *told["not_looked_up"]} == {"y", "promo", "wind"}
    assert all(share > 0 for share in told["features"].values())
    parts = ob.load(files / "calls.ob").explain(futr_df=files / "next.csv").parts_frame()
    attended = parts["attended"].abs().sum() / parts["forecast"].abs().sum()
    assert told["attended_size"] == pytest.approx(attended, rel=1e-4)
    if suffix == ".parquet":
        frame = pd.read_parquet(out)
        assert frame.groupby(["unique_id", "step"])["weight"].sum().between(0.999, 1.001).all()
    elif suffix == ".html":
        assert "plotly" in out.read_text()


@needs_pictures
@pytest.mark.browser
@pytest.mark.slow
def test_explain_draws_pictures(files: Path, tmp_path: Path) -> None:
    command = ["explain", files / "calls.ob", "--futr", files / "next.csv", "--out"]
    openbook(*command, tmp_path / "one.png")
    openbook(*command, tmp_path / "all.svg", "--average")
    assert (tmp_path / "one.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "median and middle half of 3 forecasts of 3 series" in (tmp_path / "all.svg").read_text()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["all.svg", "one.png"]


def test_explain_writes_averages_as_a_page(files: Path, tmp_path: Path) -> None:
    command = ["explain", files / "calls.ob", "--futr", files / "next.csv", "--out", tmp_path / "all.html"]
    said = openbook(*command, "--average").stdout
    assert "learned beside the linear path" in said
    assert ": 0.0%" not in said
    assert "median and middle half of 3 forecasts of 3 series" in (tmp_path / "all.html").read_text()
    refused = openbook(*command, "--view", "inputs", code=2)
    assert "the two stages of the model darnn" in refused.stderr


def test_inspect_reports_findings_and_refuses_in_its_exit_code(files: Path, tmp_path: Path) -> None:
    document = json.loads(openbook("inspect", files / "calls.csv", "--json").stdout)
    assert document["freq"] == "h"
    assert any("F01" in finding["code"] for finding in document["findings"])
    broken = tmp_path / "broken.csv"
    broken.write_text("ds,y\n2024-01-01,1\n2024-01-01,2\n2024-01-02,3\n")
    assert "F05-conflicting-stamps" in openbook("inspect", broken, code=3).stdout
    quiet = openbook("inspect", broken, "--quiet", code=3).stdout.splitlines()
    assert [line.split()[1] for line in quiet] == ["F05-conflicting-stamps:", "F10-short-series:"]


WRONG = {
    "no such file": (3, ["fit", "absent.csv", "--out", "m.ob"], "absent.csv"),
    "unknown model": (2, ["fit", "{files}/calls.csv", "--out", "m.ob", "--model", "lstm"], "luong"),
    "missing column": (3, ["fit", "{files}/calls.csv", "--out", "m.ob", "--futr-exog", "rain"], "rain"),
    "no future": (3, ["predict", "{files}/calls.ob"], "futr"),
    "not a model": (4, ["predict", "{files}/calls.csv"], "calls.csv"),
    "bad level": (2, ["predict", "{files}/calls.ob", "--level", "eighty"], "eighty"),
    "a share as level": (2, ["predict", "{files}/calls.ob", "--level", "0.8"], "Fix: write 80"),
    "bad suffix": (2, ["predict", "{files}/calls.ob", "--futr", "{files}/next.csv", "--out", "f.xlsx"], "xlsx"),
    "unknown option": (2, ["fit", "--horizon", "3"], "horizon"),
    "no out": (2, ["fit", "{files}/calls.csv"], "--out"),
    "view of a table": (2, ["explain", "{files}/calls.ob", "--out", "e.parquet", "--view", "times"], ".png"),
    "average of a table": (2, ["explain", "{files}/calls.ob", "--out", "e.csv", "--average"], ".html"),
    "not a backtest": (3, ["report", "{files}"], "scores.csv"),
    "unknown demo": (2, ["demo", "--data", "air"], "calls or co2"),
    "unknown series": (2, ["backtest", "{files}/calls.csv", "--only", "Busan"], "series 0"),
    "unknown country": (2, ["fit", "{files}/calls.csv", "--out", "m.ob", "--country", "au"], "AU"),
    "target twice": (2, ["fit", "{files}/calls.csv", "--out", "m.ob", "--target-col", "y,wind,y"], "'y' twice"),
    "device": (2, ["fit", "{files}/calls.csv", "--out", "m.ob", "--device", "tpu"], "tpu"),
    "no steps": (2, ["demo", "--out", "d", "--max-steps", "0"], "max_steps as a whole number of at least 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_ends_with_words_and_the_right_code(name: str, files: Path, tmp_path: Path) -> None:
    code, arguments, words = WRONG[name]
    ran = openbook(*[part.replace("{files}", str(files)) for part in arguments], code=code)
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    told = json.loads(openbook(*[p.replace("{files}", str(files)) for p in arguments], "--json", code=code).stdout)
    assert words in told["error"]["message"]


def test_a_backtest_speaks_of_columns_as_the_table_does(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"unique_id": "store", "ds": "day", "y": "sold"}
    table = pd.read_csv(files / "calls.csv").rename(columns=names)
    table.to_csv(tmp_path / "own.csv", index=False)
    columns = ["--id-col", "store", "--time-col", "day", "--target-col", "sold"]
    asked = ["backtest", tmp_path / "own.csv", "--futr-exog", "nope", *columns, "--out", tmp_path / "out"]
    assert run_here(monkeypatch, *asked) == 3
    said = capsys.readouterr().err
    assert "expected columns 'store', 'day', 'sold'" in said
    assert "got no 'nope' among 'store', 'day', 'sold'" in said


def test_help_and_version() -> None:
    text = openbook("--help").stdout
    for command in ("demo", "inspect", "fit", "predict", "backtest", "explain", "report"):
        assert command in text
    assert openbook("--version").stdout.strip() == __import__("openbook").__version__


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
    ids=["nothing set", "spins set", "policy set"],
)
def test_waiting_threads_are_told_to_sleep_before_torch_is_there(given: dict[str, str], expected: str) -> None:
    code = (
        "import os, sys; from openbook import cli\n"
        "cli.app = lambda **_: print('torch' in sys.modules); sys.argv = ['openbook']\n"
        "try: cli.main()\nexcept SystemExit: print(os.environ.get('GOMP_SPINCOUNT'))"
    )
    clean = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    ran = subprocess.run([sys.executable, "-c", code], env=clean | given, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", expected]


_FREED = """
import sys
import numpy as np
from openbook import cli
import os
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
def app(**_):
    before = resident()
    blocks = [np.ones(2**17) for _ in range(200)]  # of a megabyte each
    blocks.clear()
    print(resident() - before > 100)
cli.app, sys.argv = app, ["openbook"]
cli.main()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize(
    ("given", "kept"), [({}, "True"), ({"MALLOC_MMAP_THRESHOLD_": "131072"}, "False")], ids=["nothing set", "set"]
)
def test_memory_that_is_freed_is_kept_for_the_next_step(given: dict[str, str], kept: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    ran = subprocess.run([sys.executable, "-c", _FREED], env=clean | given, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == kept


REFUSED_EARLY = {
    "predict suffix": (["predict", "{files}/calls.ob", "--out", "{tmp}/f.xlsx"], "bad_suffix"),
    "predict below a file": (["predict", "{files}/calls.ob", "--out", "{files}/calls.csv/f.csv"], "cannot_write"),
    "predict a folder": (["predict", "{files}/calls.ob", "--out", "{tmp}/dd.csv"], "cannot_write"),
    "predict proc": (["predict", "{files}/calls.ob", "--out", "/proc/f.csv"], "cannot_write"),
    "explain suffix": (["explain", "{files}/calls.ob", "--out", "{tmp}/e.txt"], "bad_suffix"),
    "explain picture below a file": (
        ["explain", "{files}/calls.ob", "--out", "{files}/calls.csv/e.png"],
        "cannot_write",
    ),
    "explain below a file": (["explain", "{files}/calls.ob", "--out", "{files}/calls.csv/e.html"], "cannot_write"),
    "fit proc": (["fit", "{files}/calls.csv", "--out", "/proc/m.ob"], "cannot_write"),
    "fit over a folder": (["fit", "{files}/calls.csv", "--out", "{tmp}"], "would_overwrite"),
    "fit over a file": (["fit", "{files}/calls.csv", "--out", "{files}/calls.csv"], "would_overwrite"),
    "backtest": (["backtest", "{files}/calls.csv", "--out", "{files}/calls.csv"], "cannot_write"),
    "demo": (["demo", "--out", "{files}/calls.csv"], "cannot_write"),
    "predict over its table": (
        ["predict", "{files}/calls.ob", "{files}/calls.csv", "--out", "{files}/calls.csv"],
        "would_overwrite",
    ),
    "predict over its future": (
        ["predict", "{files}/calls.ob", "--futr", "{files}/calls.csv", "--out", "{files}/../{folder}/calls.csv"],
        "would_overwrite",
    ),
    "explain over its table": (
        ["explain", "{files}/calls.ob", "{files}/calls.csv", "--out", "{files}/calls.csv"],
        "would_overwrite",
    ),
    "anomalies over its table": (["anomalies", "{files}/calls.csv", "--out", "{files}/calls.csv"], "would_overwrite"),
    "floor over its table": (["floor", "naive", "{files}/calls.csv", "--out", "{files}/calls.csv"], "would_overwrite"),
    "backtest beside a history": (["backtest", "{files}/calls.csv", "--out", "{tmp}/own"], "would_overwrite"),
    "demo beside a forecast": (["demo", "--out", "{tmp}/own"], "would_overwrite"),
    "demo over a table of its name": (["demo", "--out", "{files}"], "would_overwrite"),
}


@pytest.mark.parametrize("name", REFUSED_EARLY)
def test_a_wrong_place_for_the_result_is_refused_before_the_work(
    name: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for work in ("fit", "fit_panel", "predict", "explain"):
        monkeypatch.setattr(ob.Forecaster, work, lambda *args, **kwargs: pytest.fail("worked first"))
    (tmp_path / "dd.csv").mkdir()
    (tmp_path / "own").mkdir()
    for kept in ("history.parquet", "forecast.csv"):
        (tmp_path / "own" / kept).write_text("the user's own")
    arguments, error = REFUSED_EARLY[name]
    places = {"{files}": str(files), "{tmp}": str(tmp_path), "{folder}": files.name}
    filled = [re.sub("|".join(places), lambda found: places[found[0]], part) for part in arguments]
    before = (files / "calls.csv").read_bytes()
    assert run_here(monkeypatch, *filled, "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == error
    assert sorted(item.name for item in tmp_path.rglob("*")) == ["dd.csv", "forecast.csv", "history.parquet", "own"]
    assert {item.read_text() for item in (tmp_path / "own").iterdir()} == {"the user's own"}
    assert (files / "calls.csv").read_bytes() == before


def test_the_demo_replaces_its_own_files_alone(tmp_path: Path) -> None:
    own = ("calls.csv", "tomorrow.csv", "model.ob", "forecast.csv")
    check_folder(tmp_path, more=own)
    ours = {"schema": 1, "openbook": "0.1.0"}
    (tmp_path / "run.json").write_text(json.dumps(ours | {"command": "openbook demo --data calls --seed 1"}))
    (tmp_path / "tomorrow.csv").write_text("the demo's")
    check_folder(tmp_path, more=own)
    for command in ({"command": "openbook backtest calls.csv"}, {"command": ["openbook demo"]}, {}):
        (tmp_path / "run.json").write_text(json.dumps(ours | command))
        check_folder(tmp_path)
        with pytest.raises(UsageError, match=r"earlier demo.*got tomorrow\.csv, run\.json"):
            check_folder(tmp_path, more=own)


@pytest.mark.parametrize("text", ["{}", "[]", "not json", '{"command": "run them all"}'])
def test_a_run_of_another_tool_is_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UsageError, match=r"got run\.json in it, but no run\.json of a backtest"):
        check_folder(tmp_path)


def test_a_saved_model_keeps_its_folder_and_is_read_beside_a_backtest(files: Path, tmp_path: Path) -> None:
    ob.load(files / "calls.ob").save(tmp_path / "m")
    with pytest.raises(UsageError, match=r"got a saved model.*choose another folder"):
        check_folder(tmp_path / "m")
    (tmp_path / "m" / "run.json").write_text("{}")
    assert ob.load(tmp_path / "m").h == ob.load(files / "calls.ob").h


def test_the_demo_says_one_document_and_says_it_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_and_write", lambda *_, **__: {"scores": []})
    for ended in (True, False):
        monkeypatch.setattr(ob.Forecaster, "fit", stopped if ended else lambda self, *_: self)
        monkeypatch.setattr(ob.Forecaster, "interrupted", lambda self: False)
        monkeypatch.setattr(ob.Forecaster, "save", lambda *_: None)
        monkeypatch.setattr(ob.Forecaster, "predict", lambda *_, **__: pd.DataFrame({"y": [1.0]}))
        assert run_here(monkeypatch, "demo", "--out", str(tmp_path / str(ended)), "--json") == (130 if ended else 0)
        told = json.loads(capsys.readouterr().out)
        assert set(told) == ({"error"} if ended else {"scores"})


def test_an_interrupted_fit_saves_says_so_and_ends_with_130(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(self: ob.Forecaster, *args: object, **kwargs: object) -> ob.Forecaster:
        trained = ob.Forecaster.load(files / "calls.ob")
        vars(self).update(vars(trained))
        self.training_ = History(stopped_by="interrupt")
        return self

    monkeypatch.setattr(ob.Forecaster, "fit", stopped)
    out = tmp_path / "m.ob"
    assert run_here(monkeypatch, "fit", files / "calls.csv", "--out", out, "--json") == 130
    said = capsys.readouterr()
    assert json.loads(said.out)["interrupted"] is True
    assert "interrupted" in said.err
    assert ob.load(out).h == 6


def test_json_of_a_fit_is_strict(files: Path, tmp_path: Path) -> None:
    said = openbook("fit", files / "calls.csv", "--out", tmp_path / "m", *QUICK, "--json").stdout
    json.loads(said, parse_constant=pytest.fail)
    json.loads((tmp_path / "m" / "config.json").read_text(), parse_constant=pytest.fail)


def test_json_forecasts_keep_their_digits(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {
        "unique_id": 1.5,
        "ds": pd.Timestamp("2024-01-01 05:00"),
        "OpenBook": 1.2345678901234e-11,
        "lo": float("nan"),
    }
    monkeypatch.setattr(ob.Forecaster, "predict", lambda *args, **kwargs: pd.DataFrame([row]))
    assert run_here(monkeypatch, "predict", files / "calls.ob", "--json") == 0
    found = json.loads(capsys.readouterr().out)["forecast"]
    assert found == [{"unique_id": 1.5, "ds": "2024-01-01T05:00:00", "OpenBook": 1.2345678901234e-11, "lo": None}]


def test_an_interrupt_elsewhere_is_130_without_a_trace(
    files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ob.Forecaster, "predict", stop)
    assert run_here(monkeypatch, "predict", files / "calls.ob") == 130
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "openbook: interrupted\n")
    assert run_here(monkeypatch, "predict", files / "calls.ob", "--json") == 130
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "interrupted"


def test_a_floor_goes_to_work_without_a_model_file(files: Path, tmp_path: Path) -> None:
    arguments = ["--h", "6", "--futr-exog", "promo", "--futr", files / "next.csv", "--level", "80,95"]
    said = openbook("floor", "ridge", files / "calls.csv", *arguments, "--out", tmp_path / "f.csv").stderr
    assert said.endswith(f"wrote {tmp_path / 'f.csv'}: 18 rows\n")
    own = ob.Floor("ridge", 6, futr_exog_list=["promo"]).fit(files / "calls.csv")
    want = own.predict(futr_df=files / "next.csv", level=[80, 95]).assign(ds=lambda frame: frame["ds"].astype(str))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "f.csv"), want, rtol=1e-9)
    told = json.loads(openbook("floor", "naive", files / "calls.csv", "--h", "2", "--json").stdout)
    assert len(told["forecast"]) == 6
    assert "seasonal_naive" in openbook("floor", "prophet", files / "calls.csv", code=2).stderr
    assert (
        "openbook floor"
        in openbook("fit", files / "calls.csv", "--model", "ridge", "--out", tmp_path / "m", code=2).stderr
    )


def test_one_series_of_several_is_explained(files: Path, tmp_path: Path) -> None:
    arguments = ["explain", files / "calls.ob", "--futr", files / "next.csv", "--only", "series 2"]
    openbook(*arguments, "--out", tmp_path / "e.csv")
    assert pd.read_csv(tmp_path / "e.csv")["unique_id"].unique().tolist() == ["series 2"]
    openbook(*arguments, "--out", tmp_path / "e.html")
    assert "series 2" in (tmp_path / "e.html").read_text()
    assert "--only" in openbook(*arguments[:-1], "series 7", "--out", tmp_path / "n.csv", code=2).stderr


def test_anomalies_marks_a_spike(files: Path, tmp_path: Path) -> None:
    table = pd.read_csv(files / "calls.csv")
    spike = table.index[table["unique_id"] == table["unique_id"].iloc[0]][100]
    table.loc[spike, "y"] = table["y"].abs().max() * 20
    table.to_csv(tmp_path / "odd.csv", index=False)
    out = tmp_path / "anomalies.csv"
    arguments = ["--gaps", "1,2", "--max-steps", "60", "--futr-exog", "promo", "--json"]
    told = json.loads(openbook("anomalies", tmp_path / "odd.csv", "--out", out, *arguments).stdout)
    assert len(pd.read_csv(out)) >= len(table)  # missing stamps have rows, too
    assert told["anomalies"][0]["ds"].replace("T", " ").startswith(str(table.loc[spike, "ds"]))
    assert told["by_quantile"] >= 1


def test_a_models_fields_are_set_by_name(files: Path, tmp_path: Path) -> None:
    common = ["fit", files / "calls.csv", *QUICK, "--model", "darnn"]
    config = ["--model-config", "protocol=nowcast,form=recurrent,hidden_size=8"]
    openbook(*common, "--out", tmp_path / "now.ob", *config)
    saved = ob.load(tmp_path / "now.ob").config
    assert (saved.protocol, saved.form, saved.hidden_size) == ("nowcast", "recurrent", 8)
    for wrong, message in (
        ("shape=3", "field of darnn"),
        ("hidden_size=big", "a value like 64"),
        ("form=x", "two_pass"),
    ):
        ran = openbook(*common, "--out", tmp_path / "no.ob", "--model-config", wrong, code=2)
        assert message in ran.stderr
        assert not (tmp_path / "no.ob").exists()


def test_a_backtest_sets_the_fields_of_each_model_and_tells_how_to_repeat_it(files: Path, tmp_path: Path) -> None:
    common = ["backtest", files / "calls.csv", *QUICK, "--n-windows", 1, "--models", "luong,bahdanau,naive"]
    fields = "luong.hidden_size=8, bahdanau.hidden_size=4"
    openbook(*common, "--out", tmp_path / "set", "--model-config", fields, "--json")
    run = json.loads((tmp_path / "set" / "run.json").read_text())
    assert run["failed"] == {}
    assert run["arguments"]["model_config"] == fields
    assert f"--model-config '{fields}'" in (tmp_path / "set" / "report.html").read_text().replace("&#39;", "'")
    for wrong, told in (("hidden_size=8", "before the field"), ("luong.shape=3", "field of luong")):
        ran = openbook(*common, "--out", tmp_path / "no", "--model-config", wrong, code=2)
        assert told in ran.stderr
        assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("data", ["calls", "co2"])
def test_the_demo_keeps_to_its_minutes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: str) -> None:
    told: list[float | None] = []

    def run(table: pd.DataFrame, plan: object, options: ModelOptions, *rest: object, **more: object) -> None:
        told.append(options.make("openbook").train.budget_s)
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run_and_write", run)
    with pytest.raises(KeyboardInterrupt):
        cli.demo(out=tmp_path, data=data, quiet=True)
    assert told == [55.0]


def test_a_season_that_is_told_is_everywhere(files: Path, tmp_path: Path) -> None:
    told = json.loads(
        openbook("fit", files / "calls.csv", "--out", tmp_path / "m.ob", *QUICK, "--season-length", 8, "--json").stdout
    )
    assert told["decisions"]["season_length"] == {"value": 8, "why": "as given"}
    assert ob.load(tmp_path / "m.ob").season_length == 8
    openbook("fit", files / "calls.csv", "--out", tmp_path / "no.ob", *QUICK, "--season-length", 0, code=2)
    out = tmp_path / "out"
    openbook(
        *("backtest", files / "calls.csv", "--n-windows", 1, "--models", "luong", "--out", out, *QUICK),
        *("--season-length", 8),
    )
    run = json.loads((out / "run.json").read_text())
    assert (run["season"], run["arguments"]["season_length"]) == (8, 8)
    assert run["decisions"]["seasonal_naive"]["season_length"]["value"] == 8
    assert "--season-length 8" in (out / "report.html").read_text()
    names = ("--h", 6, "--futr-exog", "promo", "--futr", files / "next.csv")
    plain, given = (
        openbook("floor", "seasonal_naive", files / "calls.csv", *names, *more).stdout
        for more in ((), ("--season-length", 8))
    )
    assert plain != given


def test_a_country_reaches_the_model(files: Path, tmp_path: Path) -> None:
    openbook("fit", files / "calls.csv", *QUICK, "--country", "KR", "--out", tmp_path / "m.ob")
    saved = ob.load(tmp_path / "m.ob")
    assert saved.country == "KR"
    assert "holiday_KR" in saved.decisions["calendar"].value  # the table begins on New Year's Day


def test_static_text_reaches_models_and_floors(files: Path, tmp_path: Path) -> None:
    table = pd.read_csv(files / "calls.csv")
    kinds = {"series 0": "kiosk", "series 1": "store", "series 2": "store"}
    table.assign(kind=table["unique_id"].map(kinds)).to_csv(tmp_path / "kinds.csv", index=False)
    common = [tmp_path / "kinds.csv", *QUICK, "--stat-exog", "kind"]
    openbook("fit", *common, "--out", tmp_path / "m.ob")
    assert ob.load(tmp_path / "m.ob").fitted().layout.stat == ("kind=store", "kind=kiosk")
    openbook("backtest", *common, "--n-windows", "2", "--models", "luong", "--out", tmp_path / "test")
    run = json.loads((tmp_path / "test" / "run.json").read_text())
    assert run["failed"] == {}
    assert run["arguments"]["stat_exog"] == "kind"
    assert run["inputs"]["futr"] == ["promo"]  # what never changes is told apart


def test_several_targets_are_trained_tested_and_forecast(files: Path, tmp_path: Path) -> None:
    common = [files / "calls.csv", *QUICK, "--target-col", "y,wind"]
    openbook("fit", *common, "--out", tmp_path / "m.ob")
    openbook("predict", tmp_path / "m.ob", "--futr", files / "next.csv", "--out", tmp_path / "f.csv")
    found = pd.read_csv(tmp_path / "f.csv")["unique_id"].unique().tolist()
    assert found == [f"series {number}/{target}" for number in range(3) for target in ("wind", "y")]
    openbook("backtest", *common, "--n-windows", "2", "--models", "luong", "--out", tmp_path / "test")
    run = json.loads((tmp_path / "test" / "run.json").read_text())
    assert (run["failed"], run["data"]["series"]) == ({}, 6)
    assert pd.read_csv(tmp_path / "test" / "scores_by_series.csv")["unique_id"].nunique() == 6
