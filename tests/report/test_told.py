"""What the page and the pictures say of unusual runs: several targets, inputs of one model alone, memory, single steps."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from openbook.plots import plot_forecast, plot_scores, plot_weights
from openbook.plots.times import Clock
from openbook.report.book import book_part
from openbook.report.payload import common_part
from openbook.report.source import Backtest, read_backtest
from openbook.report.tables import protocol_words
from openbook.report.words import duel, headline, verdict

HOUR = Clock("hour")


def small(folder: Path) -> Backtest:
    table = pd.DataFrame(
        {
            "model": ["openbook", "ridge"],
            "mase": [0.8, 1.0],
            "mae": [90.0, 80.0],
            "wape": [0.1, 0.2],
            "coverage_80": 0.8,
        }
    )
    table.to_csv(folder / "scores.csv", index=False)
    frame = pd.DataFrame({"unique_id": "a", "ds": range(1, 11), "cutoff": range(10), "y": 100.0})
    frame.assign(openbook=101.0, ridge=102.0).to_parquet(folder / "forecasts.parquet")
    steps = pd.DataFrame({"model": ["openbook", "ridge"], "step": 1, "mae": [90.0, 80.0], "mase": [0.8, 1.0]})
    steps.to_csv(folder / "scores_by_step.csv", index=False)
    return read_backtest(folder)


def test_errors_of_several_targets_have_no_unit_in_common(tmp_path: Path) -> None:
    one, two = small(tmp_path), small(tmp_path)
    one.run.update(floors=["ridge"], target="sold", targets=["sold"])
    two.run.update(floors=["ridge"], target="y", targets=["sold", "price"])
    assert "off by 90.0 sold per hour" in headline(one, HOUR)
    assert headline(two, HOUR) == (
        "Openbook came closest: off by 0.800 times the error of repeating the past on average, "
        "20% less than the best simple method, ridge"
    )
    result = duel(two)
    assert result is not None
    assert (result.winner_error, result.rival_error) == (0.8, 1.0)
    assert "Ridge was off by 1.00, a difference of 0.20." in " ".join(verdict(two))
    assert "volume" in " ".join(verdict(one))
    assert "volume" not in " ".join(verdict(two))
    steps = [common_part(each, HOUR)["steps"] for each in (one, two)]
    assert [(each["error"]["openbook"], each["unit"]) for each in steps] == [([90.0], "sold"), ([0.8], "MASE")]


def test_inputs_that_one_model_alone_was_given_are_told_as_its_own(nasty_folder: Path) -> None:
    test = read_backtest(nasty_folder)
    test.run["inputs"] = {"futr": [], "hist": [], "stat": []}
    assert "when it was made." in protocol_words(test, HOUR)
    test.run["inputs_by_model"] = {"openbook": {"futr": ["promo"], "hist": ["wind"], "stat": []}}
    assert "made, and promo (openbook alone) of the tested steps as the table has them" in protocol_words(test, HOUR)
    by_model = {entry["model"]: entry for entry in book_part(test, HOUR)[0]}
    assert by_model["bahdanau"]["timeOnly"] is False  # it has no input but the target
    test.run["inputs_by_model"]["bahdanau"] = test.run["inputs_by_model"]["openbook"]
    by_model = {entry["model"]: entry for entry in book_part(test, HOUR)[0]}
    assert by_model["bahdanau"]["timeOnly"] is True


def test_a_picture_says_how_much_looked_nowhere() -> None:
    steps = pd.DataFrame({"step": [1, 1, 2, 2], "memory": [0.9, 0.9, 0.5, 0.5], "weight": [0.25, 0.75, 0.5, 0.5]})
    days = pd.date_range("2024-05-01", periods=4)
    frame = steps.assign(unique_id='19" monitor', cutoff=days[1], ds=days[[2, 2, 3, 3]], source_ds=days[[0, 1, 0, 1]])
    frame["feature"] = ["temperature_of_the_northern_station", "y"] * 2
    title = plot_weights(frame).layout.title.text
    assert title.startswith('19" monitor: ')
    assert title.endswith("<br><sup>70% looked nowhere, the map is of the rest</sup>")
    figure = plot_weights(frame, step=1)
    assert "90% looked nowhere" in figure.layout.title.text
    assert "nowhere" not in plot_weights(frame.assign(memory=0.0)).layout.title.text
    assert sorted(figure.data[2].customdata) == ["temperature_of_the_nort…", "y"]
    assert plot_scores(pd.DataFrame({"model": ['a "b"'], "mase": [1.0]})).data[0].y == ('a "b"',)


def test_periods_of_four_weeks_are_no_months() -> None:
    days = pd.date_range("2024-05-01", periods=4, freq="28D")
    steps = pd.DataFrame({"step": [1, 1, 2, 2], "weight": 0.5})
    frame = steps.assign(
        unique_id="a", cutoff=days[1], ds=days[[2, 2, 3, 3]], source_ds=days[[0, 1, 0, 1]], feature="y"
    )
    assert "8 weeks before" in str(plot_weights(frame, freq="28D").data[1].text[0][0])
    assert "1 month before" in str(plot_weights(frame).data[1].text[0][0])  # as stamps alone tell it


def test_the_band_of_a_single_step_can_be_seen() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": [1], "m": [2.0], "m-lo-80": [1.0], "m-hi-80": [3.0]})
    drawn = [(list(trace.x), list(trace.y)) for trace in plot_forecast(frame).data if (trace.line.width or 0) > 5]
    assert drawn == [([1, 1, None], [1.0, 3.0, None])]
    longer = pd.concat([frame, frame.assign(ds=2)])
    assert [trace for trace in plot_forecast(longer).data if (trace.line.width or 0) > 5] == []
