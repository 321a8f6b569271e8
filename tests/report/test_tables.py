from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from openbook.plots.times import Clock
from openbook.report import tables
from openbook.report.source import Backtest, read_backtest
from openbook.report.tables import (
    decision_rows,
    fact_rows,
    problem_lists,
    protocol_words,
    repeating_words,
    score_table,
    season_words,
    series_table,
)


def test_score_rows_show_losses_and_failures(nasty_folder: Path) -> None:
    table = score_table(read_backtest(nasty_folder))
    rows = {row["model"]: row for row in table["rows"]}
    assert rows["ridge"]["floor"]
    assert not rows["openbook"]["floor"]
    assert rows["openbook"]["first"]
    versus = {name: next(cell for cell in row["cells"] if cell["name"] == "versus") for name, row in rows.items()}
    assert versus["openbook"]["tone"] == "better"
    assert versus["seasonal naive"]["tone"] == "worse"
    assert versus["seasonal naive"]["text"].startswith("+")
    assert versus["ridge"]["text"] == "–"
    assert rows["auto ets"]["failed"]
    assert rows["auto ets"]["bar"] == "0"


def test_columns_without_a_number_are_left_out(small_folder: Path) -> None:
    (small_folder / "scores.csv").write_text("model,mae,mase\nopenbook,2,0.5\nridge,3,0.75\n", encoding="utf-8")
    table = score_table(read_backtest(small_folder))
    assert [heading["name"] for heading in table["headings"]] == ["mase", "versus", "mae"]
    assert table["rows"][0]["cells"][1]["text"] == "−33.3%"


def test_series_table_lists_losses_first(nasty_folder: Path) -> None:
    lines = ["unique_id,model,mase", "a,openbook,1.2", "a,ridge,1.0", "b,openbook,0.5", "b,ridge,1.0", "c,openbook,"]
    backtest = read_backtest(nasty_folder)
    path = nasty_folder.parent / "by_series.csv"
    path.write_text("\n".join([*lines, "c,ridge,1.0"]), encoding="utf-8")
    by_series = pd.read_csv(path)
    table, notes = series_table(type(backtest)(**{**vars(backtest), "by_series": by_series}))
    assert table is not None
    assert [row["id"] for row in table["rows"]] == ["a", "b"]
    assert (table["won"], table["count"]) == (1, 2)
    assert table["rows"][0]["closest"] == "ridge"
    assert "1 series could not be scored" in notes[0]


def test_long_series_tables_keep_both_ends(nasty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_SERIES_ROWS", 2)
    table, notes = series_table(read_backtest(nasty_folder))
    assert table is not None
    assert len(table["rows"]) == 2
    assert "lists 2 of 3" in notes[0]


def by_series(folder: Path, floors: list[str], errors: dict[str, dict[str, float]]) -> Backtest:
    """A backtest with the given MASE of every series and model."""
    read = read_backtest(folder)
    read.run["floors"] = floors
    models = list(next(iter(errors.values())))
    rows = [(name, model, error) for name, each in errors.items() for model, error in each.items()]
    frame = pd.DataFrame(rows, columns=["unique_id", "model", "mase"])
    return replace(read, by_series=frame, scores=read.scores[read.scores["model"].isin(models)].reset_index(drop=True))


def test_a_loss_against_a_floor_without_error_is_the_worst_of_all(small_folder: Path) -> None:
    errors = {
        "fine": {"openbook": 0.5, "ridge": 1.0},
        "lost": {"openbook": 0.1, "ridge": 0.0},
        "both": {"openbook": 0.0, "ridge": 0.0},
        "same": {"openbook": 1.0, "ridge": 1.000001},
    }
    table, _ = series_table(by_series(small_folder, ["ridge"], errors))
    assert table is not None
    assert [row["id"] for row in table["rows"]] == ["lost", "both", "same", "fine"]
    assert table["rows"][0]["versus"] == {"name": "versus", "text": "+∞", "tone": "worse"}
    assert (table["won"], table["count"]) == (1, 4)
    assert [row["closest"] for row in table["rows"]] == ["ridge", "openbook, ridge", "openbook, ridge", "openbook"]


def test_series_without_any_score_are_counted(small_folder: Path) -> None:
    nothing = {"openbook": float("nan"), "ridge": float("nan")}
    errors = {"fine": {"openbook": 0.5, "ridge": 1.0}, "empty": nothing}
    table, notes = series_table(by_series(small_folder, ["ridge"], errors))
    assert table is not None
    assert notes == ["1 series could not be scored; the table by series does not list them."]
    assert series_table(by_series(small_folder, ["ridge"], {"one": nothing, "two": nothing}))[0] is None


def test_floors_alone_are_listed_by_their_own_error(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = {name: {"ridge": error} for name, error in (("a", 0.5), ("b", 2.0), ("c", 1.0))}
    alone = by_series(small_folder, ["ridge"], errors)
    table, notes = series_table(alone)
    assert table is not None
    assert ([row["id"] for row in table["rows"]], table["won"], notes) == (["b", "c", "a"], None, [])
    monkeypatch.setattr(tables, "MAX_SERIES_ROWS", 2)
    assert "the 1 where ridge errs most and the 1 where it errs least" in series_table(alone)[1][0]


def test_one_series_needs_no_table(small_folder: Path) -> None:
    assert series_table(read_backtest(small_folder)) == (None, [])


def test_windows_without_an_actual_value_are_not_counted(nasty_folder: Path) -> None:
    backtest = read_backtest(nasty_folder)
    frame = backtest.forecasts
    many = int(frame.groupby("unique_id")["cutoff"].nunique().max())
    last = frame["cutoff"] == frame["cutoff"].max()
    frame.loc[last, "y"] = float("nan")
    assert f"Tested on {many - 1} window" in protocol_words(backtest, Clock("hour"))
    frame["y"] = float("nan")
    assert "Tested on 0 windows" in protocol_words(backtest, Clock("hour"))
    h = int(frame.groupby(["unique_id", "cutoff"]).size().max())
    assert f"of {h} steps each" in protocol_words(backtest, Clock("step", 10))
    assert f"of {h} steps of 30 minutes each" in protocol_words(backtest, Clock("minute", 30))


def test_what_was_given_of_the_tested_steps_is_named(small_folder: Path) -> None:
    backtest = read_backtest(small_folder)
    backtest.run.pop("inputs", None)
    assert "when it was made." in protocol_words(backtest, Clock("hour"))
    backtest.run["inputs"] = {"futr": ["promo"], "stat": ["size"]}
    assert "when it was made, and promo of the tested steps as the table has them" in protocol_words(
        backtest, Clock("hour")
    )


def test_protocol_words(nasty_folder: Path) -> None:
    words = protocol_words(read_backtest(nasty_folder), Clock("hour"))
    assert "3 windows of 24 hours each (3 series, Mon 12 May 00:00 to Wed 14 May 23:00)" in words
    assert "Left out of every score: 6 stamps of series without an actual value." in words


@pytest.mark.parametrize(
    ("season", "clock", "words"),
    [
        (24, Clock("hour"), "the same hour of the day before"),
        (48, Clock("minute", 30), "the value 48 time steps before"),
        (1, Clock("day"), "the value just before"),
        (None, Clock("day"), "the value one season before"),
    ],
)
def test_season_words(season: int | None, clock: Clock, words: str) -> None:
    assert season_words({"season": season}, clock) == words


def test_stamps_that_several_windows_tested_are_left_out_once(small_folder: Path) -> None:
    backtest = read_backtest(small_folder)
    forecasts = backtest.forecasts[backtest.forecasts["unique_id"] == backtest.forecasts["unique_id"].iloc[0]]
    empty = forecasts.assign(y=np.where(forecasts["ds"] == forecasts["ds"].max(), np.nan, 1.0))
    again = empty[empty["ds"] == empty["ds"].max()].assign(cutoff=empty["cutoff"].min() - pd.Timedelta(hours=1))
    words = protocol_words(replace(backtest, forecasts=pd.concat([empty, again])), Clock("hour"))
    assert "Left out of every score: 1 hour without an actual value." in words


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (None, "told by the row of seasonal naive"),
        (24, "told by the row of seasonal naive"),
        (168, "(the row of seasonal naive repeats the same hour of the week before)"),
    ],
)
def test_the_row_that_repeats_another_season_is_told_apart(small_folder: Path, chosen: int | None, words: str) -> None:
    backtest = read_backtest(small_folder)
    decided = {"seasonal_naive": {"season_length": {"value": chosen, "why": "x"}} if chosen else {}}
    scores = pd.concat([backtest.scores, backtest.scores[:1].assign(model="seasonal_naive")])
    told = replace(backtest, scores=scores, run=backtest.run | {"season": 24, "decisions": decided})
    assert words in repeating_words(told, Clock("hour"))
    assert "row of" not in repeating_words(replace(told, scores=backtest.scores[:0]), Clock("hour"))


def test_sums_over_targets_of_several_units_are_not_shown(small_folder: Path) -> None:
    backtest = read_backtest(small_folder)
    scores = backtest.scores.assign(mae=1.0, rmse=1.0, mase=1.0, wape=0.1)
    both = replace(backtest, scores=scores, run=backtest.run | {"targets": ["sold", "price"]}, metric="mase")
    names = [heading["name"] for heading in score_table(both)["headings"]]
    assert "mase" in names
    assert not {"mae", "rmse", "wape", "pinball"} & set(names)


def test_a_week_of_working_days_is_a_week() -> None:
    assert season_words({"season": 5, "freq": "B"}, Clock("day")) == "the same weekday of the week before"


def test_odd_run_facts_become_words() -> None:
    run = {
        "decisions": {"m_1": {"window": {"value": [1, 2.5], "why": None}, "mixing": True}, "n": "none"},
        "failed": {"x": None},
        "warnings": "not a list",
        "data": {"rows": float("nan"), "notes": [{"a": 1}]},
        "seconds": "long",
        "machine": {"cores": 2, "gpu": None},
    }
    rows = decision_rows(run)
    assert [(row["model"], row["name"], row["value"], row["why"]) for row in rows] == [
        ("m 1", "window", "1, 2.5", ""),
        ("", "mixing", "yes", ""),
    ]
    assert problem_lists(run) == {"failed": [{"model": "x", "why": ""}], "warnings": [], "notes": ["a 1"]}
    assert fact_rows(run) == [("machine", "cores 2, gpu ")]
    assert fact_rows({"data": [], "arguments": None}) == []


def test_mase_of_a_training_part_shorter_than_a_season_compares_with_the_value_before() -> None:
    assert season_words({"season": 24, "mase_season": 1}, Clock("hour")) == "the value just before"
    assert season_words({"season": 24, "mase_season": 24}, Clock("hour")) == "the same hour of the day before"
