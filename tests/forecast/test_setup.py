"""From a panel to what a model is built with: what a loss measures by, and what a day is scaled by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.panel import make_panel
from openbook.forecast.learn import laid_out
from openbook.forecast.setup import Asked, loss_scale, set_up
from openbook.models.seq2seq import LuongConfig
from openbook.training.losses import Loss
from openbook.windows.sampler import Split, WindowIndex


def test_a_loss_measures_by_rows_before_the_held_out_ones() -> None:
    """Steps of 1 in the training part, of 50 in the held-out tail: the tail must not be seen."""
    values = np.concatenate([np.tile([0.0, 1.0], 10), np.tile([0.0, 50.0], 5)])
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(len(values)), "y": values}))
    windows = [WindowIndex(np.zeros(4, np.int64), np.arange(first, first + 4)) for first in (5, 20)]
    split = Split(*windows, held_out=10)
    assert loss_scale(panel, split, 1, "mase").tolist() == [1.0]
    assert loss_scale(panel, split, 1, "pinball").tolist() == [1.0]
    assert loss_scale(panel, split, 1, "mse").tolist() == [0.5]


def test_a_loss_counts_every_series_in_a_unit_that_is_neither_zero_nor_next_to_it() -> None:
    """One series that never changes, one that repeats itself but for a rounding, one that wanders."""
    step = np.arange(40)
    values = {"flat": 0.0 * step, "repeats": step % 2 + 1e-9 * step, "wanders": np.cumsum(step % 3 - 1.0)}
    panel = make_panel(pd.concat([pd.DataFrame({"unique_id": name, "ds": step, "y": y}) for name, y in values.items()]))
    split = Split(WindowIndex(*np.zeros((2, 0), np.int64)), WindowIndex(*np.zeros((2, 0), np.int64)), held_out=0)
    flat, repeats, wanders = loss_scale(panel, split, 2, "pinball")
    assert flat == 1.0
    assert repeats == pytest.approx(0.005)
    assert wanders == pytest.approx(float(np.abs(values["wanders"][2:] - values["wanders"][:-2]).mean()))
    assert np.isnan(loss_scale(panel, split, 2, "mase")[0])


@pytest.mark.parametrize(("loss", "halfway"), [("pinball", True), ("mse", True), ("mase", False), ("lag_mase", False)])
def test_all_losses_but_those_of_mase_count_halfway(loss: Loss, halfway: bool) -> None:
    """Up and down by one: a deviation of a half, a naive error of one."""
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(30), "y": np.arange(30) % 2.0}))
    made = set_up(panel, Asked(2, LuongConfig(), None, 4, None, loss, "y"), lambda _, decision: decision.value)
    split = Split(WindowIndex(*np.zeros((2, 0), np.int64)), WindowIndex(*np.zeros((2, 0), np.int64)), held_out=0)
    found = laid_out(panel, made, split, loss)
    assert found.error_N is not None
    assert (found.halfway, found.error_N.tolist()) == (halfway, [0.5 if loss == "mse" else 1.0])


def test_windows_without_a_unit_are_counted() -> None:
    hour = np.arange(80)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": hour, "y": values})
        for name, values in (("a", hour % 7.0), ("b", 0.0 * hour))
    ]
    train = ob.TrainConfig(max_steps=3, loss="mase", batch_size=32)
    model = ob.Forecaster(4, model="luong", input_size=8, train=train).fit(pd.concat(parts))
    assert model.training_ is not None
    assert 0 < model.training_.unscaled < 3 * 32
    assert f"{model.training_.unscaled} drawn window(s) left out" in model.decisions["training_steps"].why


@pytest.mark.parametrize(("model", "wanted"), [("day_to_day", "standard"), ("luong", "last")])
def test_a_day_s_scaling_is_judged_on_the_day_it_is_scaled_by(model: str, wanted: str) -> None:
    """A daily wave on a slow level: over the whole window the level wanders, within a day it stands still."""
    hour = np.arange(24 * 200)
    values = 100 + np.sin(2 * np.pi * hour / 24) + 20 * np.sin(2 * np.pi * hour / (24 * 150))
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=len(hour), freq="h"), "y": values}
    )
    size = 24 * 112 if model == "luong" else None
    learner = ob.Forecaster(
        24, model=model, input_size=size, train=ob.TrainConfig(max_steps=1, batch_size=2, val_windows=2)
    )
    assert learner.fit(frame).decisions["scaling"].value == wanted


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        ("pinball", "in seasonal naive errors of each series, halfway to each window's own spread"),
        ("mse", "in standard deviations of each series, halfway to each window's own spread"),
        ("mase", "in seasonal naive errors of each series"),
        ("lag_mase", "in differences from the steps a gap before, of each series"),
    ],
)
def test_what_errors_are_counted_in_is_a_decision(loss: Loss, told: str) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(80), "y": np.arange(80) % 7.0})
    train = ob.TrainConfig(max_steps=1, loss=loss, batch_size=4)
    decision = ob.Forecaster(4, model="luong", input_size=8, train=train).fit(frame).decisions["loss"]
    assert (decision.value, decision.why) == (loss, told)
