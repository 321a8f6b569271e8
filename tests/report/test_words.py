from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from openbook.plots.times import Clock
from openbook.report.source import Backtest, read_backtest
from openbook.report.words import coin_chance, command_line, duel, headline, number, percent, verdict

HOUR = Clock("hour")


def backtest(
    folder: Path, scores: dict[str, tuple[float, float]], floors: list[str], errors: dict[str, float] | None = None
) -> Backtest:
    """A backtest with the given (MASE, MAE) per model and constant forecast errors over ten windows of one step."""
    table = pd.DataFrame([{"model": m, "mase": mase, "mae": mae} for m, (mase, mae) in scores.items()])
    table.to_csv(folder / "scores.csv", index=False)
    frame = pd.DataFrame({"unique_id": "a", "ds": range(1, 11), "cutoff": range(10), "y": 100.0})
    for model, (_, mae) in scores.items():
        frame[model] = 100.0 + (errors or {}).get(model, mae)
    frame.to_parquet(folder / "forecasts.parquet")
    read = read_backtest(folder)
    read.run.update(floors=floors, target="calls")
    return read


def test_a_network_that_wins(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    assert headline(test, HOUR) == (
        "Openbook came closest: off by 12.0 calls per hour on average, 20% less than the best simple method, ridge"
    )
    words = " ".join(verdict(test))
    assert "Ridge was off by 15.0, a difference of 3.0." in words
    assert "10 of 10 windows; a tossed coin would split that unevenly only once in 512 times" in words


def test_a_floor_that_wins_is_named_first(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (1.2, 18.0), "seasonal_naive": (1.0, 15.0)}, ["seasonal_naive"])
    assert headline(test, HOUR).startswith("A simple method won: seasonal naive was off by 15.0 calls per hour")
    assert "17% less than the best network, openbook" in headline(test, HOUR)
    assert any("the network has not shown to be better" in line for line in verdict(test))


def test_hardly_any_error_is_not_none(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"ridge": (0.0001, 0.002), "openbook": (1.0, 12.0)}, ["ridge"])
    assert "more than 99% less than the best network, openbook" in headline(test, HOUR)
    assert "100%" not in headline(test, HOUR)


def test_ranking_by_mase_against_mae_is_said(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 16.5), "ridge": (1.0, 15.0)}, ["ridge"])
    assert "10% more than the best simple method, ridge, yet ahead once every series counts" in headline(test, HOUR)


def test_level_and_single_kinds(tmp_path: Path) -> None:
    level = backtest(tmp_path, {"openbook": (0.999, 14.99), "ridge": (1.0, 15.0)}, ["ridge"])
    assert "level with the best simple method" in headline(level, HOUR)
    floors = backtest(tmp_path, {"ridge": (1.0, 15.0)}, ["ridge"])
    assert headline(floors, HOUR).startswith("Only simple methods ran: ridge came closest")
    alone = backtest(tmp_path, {"openbook": (1.0, 15.0)}, [])
    assert headline(alone, HOUR).startswith("No simple method ran beside it")
    assert "can not say whether the network" in verdict(alone)[0]


def test_nothing_scored(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (float("nan"), float("nan"))}, [])
    assert headline(test, HOUR) == "No model could be scored on this data"
    assert duel(test) is None


def test_luck_is_called_luck(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    test.forecasts.loc[:3, "openbook"] = 120.0
    result = duel(test)
    assert result is not None
    assert (result.closer, result.windows) == (6, 10)
    assert "A tossed coin splits that unevenly 75% of the time, so this may be luck" in " ".join(verdict(test))
    test.forecasts.loc[4, "openbook"] = 120.0
    assert "in 5 of 10 windows. That is how a tossed coin splits them, so" in " ".join(verdict(test))


def test_windows_that_speak_for_the_other_one_are_told_as_its(tmp_path: Path) -> None:
    """A coin that hardly ever splits so read as support for the winner, who was closer once in ten windows."""
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    test.forecasts.loc[:8, "openbook"] = 120.0
    test.forecasts.loc[9, "ridge"] = test.forecasts.loc[9, "openbook"]
    told = " ".join(verdict(test))
    assert (
        "Ridge was the closer of the two in 9 of 9 windows (once more they were level): openbook leads by a few" in told
    )
    assert "coin" not in told
    level = replace(test, scores=test.scores.assign(mase=0.8, mae=12.0))
    assert "leads" not in " ".join(verdict(level))


def test_windows_count_only_stamps_all_models_share(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    test.forecasts.loc[:2, "y"] = float("nan")
    result = duel(test)
    assert result is not None
    assert result.windows == 7


def test_series_of_one_cutoff_are_one_toss(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    large = test.forecasts.assign(unique_id="b", y=1e6, openbook=1e6 + 150.0, ridge=1e6 + 140.0)
    both = replace(test, forecasts=pd.concat([test.forecasts, large], ignore_index=True))
    result = duel(both)
    assert result is not None
    assert (result.closer, result.windows) == (10, 10)  # each series counts by its own size


@pytest.mark.parametrize(("windows", "said"), [(5, False), (10, True)])
def test_few_windows_say_nothing_of_a_band(tmp_path: Path, windows: int, said: bool) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    scores = test.scores.assign(coverage_80=0.5)
    test = replace(test, scores=scores, forecasts=test.forecasts[:windows])
    assert ("too narrow" in " ".join(verdict(test))) is said


@pytest.mark.parametrize(("heads", "tosses", "chance"), [(5, 10, 1.0), (10, 10, 2 / 1024), (0, 3, 0.25), (0, 0, 1.0)])
def test_coin_chance(heads: int, tosses: int, chance: float) -> None:
    assert coin_chance(heads, tosses) == pytest.approx(chance)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (99999.0, "99,999"), (-1.5, "−1.50"), (float("inf"), "–"), (1e-9, "1.00 × 10⁻⁹")]
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


def test_percent_of_nothing() -> None:
    assert percent(float("nan")) == "–"


def test_command_line_quotes_for_the_shell() -> None:
    arguments = {"data": "my calls.csv", "h": 24, "models": ["a", "b"], "refit": True, "quiet": False, "freq": None}
    expected = "openbook backtest 'my calls.csv' --h 24 --models a,b --refit"
    assert command_line({"arguments": arguments}) == expected
    assert command_line({}) == command_line({"arguments": "lost"}) == ""


def test_a_told_command_is_taken_as_it_is_and_no_past_inputs_stay_said() -> None:
    assert command_line({"command": "openbook demo --seed 2", "arguments": {"h": 3}}) == "openbook demo --seed 2"
    assert command_line({"arguments": {"data": "a.csv", "hist_exog": ""}}) == "openbook backtest a.csv --hist-exog ''"


def test_windows_that_share_steps_are_one_toss(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    longer = pd.concat([test.forecasts, test.forecasts.assign(ds=test.forecasts["ds"] + 1)], ignore_index=True)
    result = duel(replace(test, forecasts=longer))
    assert result is not None
    assert (result.closer, result.windows, result.overlapping) == (5, 5, 5)
    assert "in 5 of 5 windows that share no step. A tossed coin" in " ".join(verdict(replace(test, forecasts=longer)))


def test_series_that_end_at_other_stamps_add_no_tosses(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    frame = test.forecasts.assign(ds=test.forecasts["ds"] * 2, cutoff=test.forecasts["cutoff"] * 2)
    shifted = frame.assign(unique_id="b", ds=frame["ds"] + 1, cutoff=frame["cutoff"] + 1)
    result = duel(replace(test, forecasts=pd.concat([frame, shifted], ignore_index=True)))
    assert result is not None
    assert result.windows == 10


def test_many_series_say_no_more_of_a_band_than_their_windows_do(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    many = pd.concat([test.forecasts[:3].assign(unique_id=str(name)) for name in range(50)], ignore_index=True)
    test = replace(test, scores=test.scores.assign(coverage_80=0.65), forecasts=many)
    assert "too narrow" not in " ".join(verdict(test))


def test_errors_that_differ_by_rounding_are_a_tie(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (1.0, 15.0), "ridge": (1.000001, 15.0)}, ["ridge"])
    test.forecasts["openbook"] -= 1e-7
    result = duel(test)
    assert result is not None
    assert (result.closer, result.windows) == (0, 0)
    assert headline(test, HOUR) == (
        "No winner: openbook and the best simple method, ridge, were both off by 15.0 calls per hour on average"
    )
    assert verdict(test) == ["On this evidence use ridge: it is simpler, and the network has not shown to be better."]


def test_a_winner_that_left_rows_out_says_so(tmp_path: Path) -> None:
    test = backtest(tmp_path, {"openbook": (0.8, 12.0), "ridge": (1.0, 15.0)}, ["ridge"])
    test = replace(test, scores=test.scores.assign(missing=[0.12, 0.0]))
    assert "Openbook gave no forecast for 12% of the rows: its scores are of the others." in verdict(test)
    assert "no forecast" not in " ".join(verdict(replace(test, scores=test.scores.assign(missing=0.0))))
