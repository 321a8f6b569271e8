"""Files that come after the one learned from, and files that spreadsheets write: read as they were meant."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.console import put
from openbook.data.reading import read_file
from openbook.data.table import read_table
from openbook.errors import DataError

DAYS = pd.date_range("2024-01-01", periods=200)


def german(number: float) -> str:
    return f"{number:,.0f}".replace(",", ".")


def written(path: Path, **columns: object) -> Path:
    """Days first, separated by semicolons, thousands with a point."""
    pd.DataFrame(columns).to_csv(path, sep=";", index=False)
    return path


@pytest.fixture
def history(tmp_path: Path) -> Path:
    budget = [german(500 + 25 * (day % 60)) for day in range(200)]
    sold = [german(900 + 7 * (day % 70)) for day in range(200)]
    return written(tmp_path / "history.csv", ds=DAYS, y=sold, budget=budget)


def test_a_plan_is_read_as_the_history_was(history: Path, tmp_path: Path) -> None:
    """Every value of the plan has a point: by itself 1.500 is one and a half."""
    floor = ob.Floor("ridge", 14, futr_exog_list=["budget"]).fit(history)
    ahead = pd.date_range(DAYS[-1], periods=15)[1:]
    values = np.arange(14) * 20.0 + 1200
    plan = written(tmp_path / "plan.csv", ds=ahead, budget=[german(value) for value in values])
    same = floor.predict(futr_df=pd.DataFrame({"ds": ahead, "budget": values}))
    np.testing.assert_allclose(floor.predict(futr_df=plan)["ridge"], same["ridge"])
    few = written(tmp_path / "few.csv", ds=ahead, budget=["1.500", "900"] + ["950"] * 12)
    assert floor.predict(futr_df=few)["ridge"].gt(100).all()


def test_a_later_table_is_read_as_the_history_was(history: Path, tmp_path: Path) -> None:
    sold = [german(1000 + 9 * k) for k in range(40)]
    later = written(tmp_path / "later.csv", ds=pd.date_range("2024-08-01", periods=40), y=sold)
    floor = ob.Floor("naive", 1).fit(pd.read_csv(history, sep=";")[["ds"]].assign(y=1.0))
    # Learned from a frame, which tells nothing.
    with pytest.raises(DataError, match=r"'1\.000' can mean decimals or thousands"):
        floor.predict(later)
    floor = ob.Floor("naive", 1).fit(history, target_col="y")
    assert floor.predict(later)["naive"].iloc[0] == 1351
    train = ob.TrainConfig(max_steps=2, val_every=2)
    model = ob.Forecaster(2, model="luong", input_size=4, hist_exog_list=[], train=train).fit(history)
    model.save(tmp_path / "model.ob")
    assert ob.load(tmp_path / "model.ob").predict(later)["Luong"].between(500, 3000).all()


def test_files_as_spreadsheets_write_them(tmp_path: Path) -> None:
    rows = "2024-01-01;1,5\n2024-01-02;2,5\n"
    (tmp_path / "excel.csv").write_text("sep=;\nds;y\n" + rows)
    assert read_file(tmp_path / "excel.csv").to_dict("list") == {"ds": ["2024-01-01", "2024-01-02"], "y": [1.5, 2.5]}
    (tmp_path / "tail.csv").write_text("ds;y\n" + rows.replace("\n", ";\n"))
    assert read_file(tmp_path / "tail.csv").columns.tolist() == ["ds", "y"]
    (tmp_path / "title.csv").write_text("Sales report 2024\nds,y\n2024-01-01,1\n")
    with pytest.raises(DataError, match="remove the lines above the header"):
        read_file(tmp_path / "title.csv")
    (tmp_path / "open.csv").write_text('"ds,y\n' + "2024-01-01,1\n" * 12_000)
    with pytest.raises(DataError, match="is a quotation mark open"):
        read_file(tmp_path / "open.csv")


def test_a_file_that_says_otherwise_is_believed(tmp_path: Path) -> None:
    """What stands beside a doubtful column in the same file counts before how the first file was written."""
    values, warm = [f"1,{k:03}" for k in range(1, 41)], [f"{20 + k / 10:.1f}".replace(".", ",") for k in range(40)]
    german_file = written(tmp_path / "de.csv", ds=DAYS[:40], y=values, temp=warm)
    english = tmp_path / "en.csv"
    rows = zip(DAYS[40:80].strftime("%Y-%m-%d"), values, warm, strict=True)
    english.write_text(
        "ds,y,temp\n" + "".join(f"{d},{v.replace(',', '.')},{w.replace(',', '.')}\n" for d, v, w in rows)
    )
    floor = ob.Floor("naive", 1).fit(german_file)
    assert floor.predict(english)["naive"].iloc[0] == pytest.approx(1.040)


def test_a_surplus_field_that_holds_something_is_no_end_of_a_row(tmp_path: Path) -> None:
    """As R writes row names: the header is one short, and the last column of the first row may be empty."""
    (tmp_path / "rows.csv").write_text("ds,load,price\n1,2024-01-01,100,\n2,2024-01-02,110,5.0\n3,2024-01-03,120,6.0\n")
    with pytest.raises(DataError, match="line 2"):
        read_file(tmp_path / "rows.csv")
    (tmp_path / "said.csv").write_text("sep=;\n\nds;y\n2024-01-01;1\n2024-01-02;1;2\n")
    with pytest.raises(DataError, match="got 3 field"):
        read_file(tmp_path / "said.csv")
    (tmp_path / "none.csv").write_text("sep=;\n")
    with pytest.raises(DataError, match="a header and at least one row"):
        read_file(tmp_path / "none.csv")
    (tmp_path / "long.csv").write_text("ds,y,note\n2024-01-01,1," + "x" * 140_000 + "\n2024-01-02,2,z\n")
    assert read_file(tmp_path / "long.csv")["y"].tolist() == [1, 2]


def test_a_plan_without_rows_is_told_so(history: Path) -> None:
    floor = ob.Floor("ridge", 14, futr_exog_list=["budget"]).fit(history)
    with pytest.raises(DataError, match="check the filter"):
        floor.predict(futr_df=pd.DataFrame({"ds": [], "budget": []}))


def test_another_kind_of_time_is_told_so() -> None:
    counted, dated = (pd.DataFrame({"ds": ds, "y": np.arange(60.0)}) for ds in (range(60), DAYS[:60]))
    for learned, given in ((counted, dated), (dated, counted)):
        with pytest.raises(DataError, match="as in training"):
            ob.Floor("naive", 1).fit(learned).predict(given)


def leaks(table: pd.DataFrame, **given: object) -> set[str]:
    found = ob.inspect_table(table, **given).findings  # type: ignore[arg-type]
    return {finding.where for finding in found if finding.code.startswith(("F25", "F26"))}


def test_leaks_are_sought_within_series() -> None:
    rng, parts, zones = np.random.default_rng(0), [], []
    for sku in range(20):
        sold = rng.poisson(30, 200).astype(float)
        parts.append(pd.DataFrame({"unique_id": f"s{sku}", "ds": DAYS, "y": sold, "revenue": sold * (sku + 1.5)}))
    assert leaks(pd.concat(parts)) == {"column(s) revenue"}
    for zone, level in (("a", 8000.0), ("b", 5000.0), ("c", 1100.0)):
        load = level * (1 + 0.1 * np.sin(np.arange(200) / 7) + 0.02 * rng.normal(size=200))
        forecast = load * (1 + 0.015 * rng.normal(size=200))
        zones.append(pd.DataFrame({"unique_id": zone, "ds": DAYS, "y": load, "load_forecast": forecast}))
    table = pd.concat(zones)
    assert leaks(table, futr=["load_forecast"]) == set()
    assert leaks(table.assign(copied=table["y"] * 2 + 1)) == {"column(s) copied"}


def test_a_column_that_lags_a_slow_target_is_no_leak() -> None:
    slow = np.cumsum(np.cumsum(np.random.default_rng(1).normal(0, 0.1, 4000))) + 20
    table = pd.DataFrame({"ds": pd.date_range("2024", periods=3999, freq="10min"), "y": slow[1:], "before": slow[:-1]})
    assert leaks(table) == set()
    assert np.corrcoef(table["y"], table["before"])[0, 1] > 0.999
    assert leaks(table.assign(rounded=table["y"].round())) == {"column(s) rounded"}


def test_copies_are_found_in_a_panel_of_very_many_series() -> None:
    rng, series = np.random.default_rng(3), 30_000
    ids = np.repeat(np.arange(series), 6)
    table = pd.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(6), series), "y": rng.normal(50, 5, 6 * series)})
    assert leaks(table.assign(gross=table["y"] * 1.19, other=rng.normal(size=6 * series))) == {"column(s) gross"}


def test_an_event_that_moves_the_target_is_not_the_target() -> None:
    """Rows in which it rests are rows all the same."""
    rng, event = np.random.default_rng(4), np.zeros(4000)
    event[rng.permutation(4000)[:400]] = np.repeat([1.0, -1.0], 200)
    y = 3 * event + rng.normal(size=4000)
    assert leaks(pd.DataFrame({"ds": pd.date_range("2024", periods=4000, freq="h"), "y": y, "event": event})) == set()


def test_sums_are_found_beside_columns_with_holes() -> None:
    rng = np.random.default_rng(2)
    columns = {f"c{k}": rng.normal(size=1000) for k in range(12)}
    table = pd.DataFrame({"ds": pd.date_range("2024", periods=1000, freq="h"), **columns})
    for k in range(2, 12):
        table.loc[rng.random(1000) < 0.4, f"c{k}"] = np.nan
    assert leaks(table.assign(y=table["c0"] + table["c1"])) == {"column(s) c0, c1"}


def test_numbers_as_ids_stay_themselves_in_scores(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [pd.DataFrame({"unique_id": 1e6 + k, "ds": DAYS, "y": rng.normal(size=200)}) for k in (1, 2, 3)]
    model = ob.Forecaster(7, model="luong", input_size=14, train=ob.TrainConfig(max_steps=2, val_every=2))
    found = ob.backtest(pd.concat(parts), model, n_windows=2)
    found.write(tmp_path / "side")
    scores = pd.read_csv(tmp_path / "side" / "scores_by_series.csv", dtype=str)
    forecasts = pd.read_parquet(tmp_path / "side" / "forecasts.parquet")
    assert set(scores["unique_id"]) == set(forecasts["unique_id"].astype(str))


def test_a_test_of_rows_without_targets_is_refused_before_anything_is_trained(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    table = pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": np.arange(200.0) % 7})
    table.loc[186:, "y"] = np.nan
    model = ob.Forecaster(14, model="luong", input_size=14, train=ob.TrainConfig(max_steps=2, val_every=2))
    with pytest.raises(DataError, match="leave rows of the future out"):
        ob.backtest(table, model, n_windows=1)
    assert "1 of 2 windows hold no target" in ob.backtest(table, model, n_windows=2).warnings[0]


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's pipe")
@pytest.mark.parametrize(
    ("command", "code"), [("floor naive {} --h 60", 0), ("inspect {}", 0), ("inspect none.csv --json", 3)]
)
def test_a_reader_that_has_read_enough_is_no_error(command: str, code: int, history: Path) -> None:
    line = command.format(history)
    script = f"set -o pipefail; {sys.executable} -m openbook {line} | true"
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=history.parent)
    assert (ran.returncode, "Traceback" in ran.stderr) == (code, False)


def test_a_damaged_backtest_is_told_so(tmp_path: Path) -> None:
    from openbook.report.source import read_backtest

    table = pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": np.arange(200.0) % 7})
    model = ob.Forecaster(7, model="luong", input_size=14, train=ob.TrainConfig(max_steps=2, val_every=2))
    ob.backtest(table, model, n_windows=2).write(tmp_path / "side")
    for name in ("run.json", "forecasts.parquet", "history.parquet"):
        file = tmp_path / "side" / name
        whole = file.read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:100] + b"\0" * 8 + whole[108:]):
            file.write_bytes(damaged)
            with pytest.raises(DataError, match="run the backtest again"):
                read_backtest(tmp_path / "side")
        file.write_bytes(whole)
    assert len(read_backtest(tmp_path / "side").scores) == 3


def test_a_result_goes_nowhere_where_there_is_no_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    put("told to nobody")


def test_readings_are_told() -> None:
    assert read_table(pd.DataFrame({"ds": [1, 2], "y": [1.0, 2.0]})).attrs["readings"] == {}
