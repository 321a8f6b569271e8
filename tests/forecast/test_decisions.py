"""What is decided from data, on data where the answer is known."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.errors import UsageError
from openbook.forecast.decisions import (
    decide_calendar,
    decide_hist,
    decide_input_size,
    decide_scaling,
    decide_season,
)


def panel(values: np.ndarray, freq: str | int = "h") -> Panel:
    stamps = range(len(values)) if freq == 1 else pd.date_range("2023-01-01", periods=len(values), freq=freq)
    return make_panel(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": values}), freq=freq)


def wave(length: int, season: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.3, length)
    return np.sin(2 * np.pi * np.arange(length) / season) * 3 + noise


@pytest.mark.parametrize(("freq", "season", "size"), [("h", 24, 168), ("30min", 48, 336), ("D", 7, 56), ("MS", 12, 36)])
def test_seasons_and_windows_of_calendars(freq: str, season: int, size: int) -> None:
    data = panel(wave(1500, season), freq)
    assert decide_season(data).value == season
    assert decide_input_size(data, season, 12).value == size


def test_the_season_of_whole_number_time_is_found_in_the_data() -> None:
    assert decide_season(panel(wave(600, 24), 1)).value == 24
    assert decide_season(panel(np.random.default_rng(1).normal(size=600), 1)).value == 1


def test_the_season_of_steps_below_a_second_is_found_in_the_data() -> None:
    found = decide_season(panel(wave(600, 25), "10ms"))
    assert (found.value, "below a second" in found.why) == (25, True)


def test_windows_fit_what_the_series_leave() -> None:
    short = decide_input_size(panel(wave(60, 24)), 24, 12)
    assert short.value == 47
    assert "leave" in short.why
    assert decide_input_size(panel(wave(5000, 144), "10min"), 144, 36).value <= 720


def test_anchors() -> None:
    walk = np.random.default_rng(0).normal(size=800).cumsum()
    assert decide_scaling(panel(walk, 1), 50, 5).value == "last"
    assert decide_scaling(panel(wave(800, 24)), 48, 24).value == "standard"


def test_inputs_calendar_and_bounds() -> None:
    table = pd.DataFrame(
        {"unique_id": "s", "ds": [1, 2], "y": [1, 2], "a": [1, 2], "b": 1, "c": [2, 3], "d": ["x", "y"]}
    )
    assert decide_hist(table, ["c"]).value == ("a",)
    objects = table.assign(
        a=[Decimal("1.5"), Decimal(2)], c=[True, None], e=pd.Series([True, None, False], dtype=object)
    )
    objects = pd.concat([objects, table.assign(a=None, e=False)])
    assert decide_hist(objects, ["c"]).value == ("a", "e")
    names = decide_calendar(panel(wave(24 * 30, 24))).value
    assert any("hour" in name for name in names)
    assert not any("year" in name for name in names)
    assert decide_calendar(panel(wave(100, 24), 1)).value == ()


def test_day_to_day_keeps_the_gaps_that_window_and_history_reach() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=24 * 14, freq="h")})
    frame["y"] = np.sin(np.arange(len(frame)))
    quick = ob.TrainConfig(max_steps=2)
    config = ob.DayToDayConfig(gaps=(1, 7, 28))
    model = ob.Forecaster(24, model=config, train=quick).fit(frame)
    assert model.decisions["gaps"].value == (1, 7)
    assert model.decisions["input_size"].value == 168
    assert model.config.gaps == (1, 7, 28)  # what was asked for stays, for longer tables
    assert ob.Forecaster(24, model=config, input_size=48, train=quick).fit(frame).decisions["gaps"].value == (1,)
    with pytest.raises(UsageError, match="at least 24"):
        ob.Forecaster(24, model=config, input_size=12, train=quick).fit(frame)


def test_darnn_decides_for_shorter_windows() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=24 * 20, freq="h"), "y": 1.0})
    frame["y"] += np.arange(len(frame)) % 24
    model = ob.Forecaster(6, model="darnn", train=ob.TrainConfig(max_steps=1)).fit(frame)
    assert model.decisions["input_size"].value == 96


def test_what_is_held_out_and_counted_is_told_as_it_is() -> None:
    rng = np.random.default_rng(0)
    rows = {"long": 400, "late": 400, "short": 30}
    parts = [
        pd.DataFrame({"unique_id": name, "ds": range(400 - count, 400), "y": rng.normal(10, 1, count)})
        for name, count in rows.items()
    ]
    train = ob.TrainConfig(max_steps=4, val_every=2, batch_size=8, loss="lag_mase", gap=7)
    for config in (ob.OpenBookConfig(window=24, n_models=1, book=0), ob.LuongConfig(hidden_size=4)):
        model = ob.Forecaster(14, model=config, freq=1, season_length=7, train=train).fit(pd.concat(parts))
        assert model.decisions["loss"].why == "in each window's difference from the steps a gap before"
        assert model.decisions["validation_size"].why.startswith("last steps of 2 of 3 series, ")
