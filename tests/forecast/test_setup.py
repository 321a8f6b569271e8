"""From a panel to what a model is built with: what a loss measures by, and what a day is scaled by."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import openbook as ob
from openbook.data.panel import make_panel
from openbook.forecast.learn import laid_out
from openbook.forecast.setup import Asked, loss_scale, series_unit, set_up
from openbook.models.seq2seq import LuongConfig
from openbook.training.losses import Loss
from openbook.training.scales import loss_unit
from openbook.windows.sampler import Split, WindowIndex, WindowShape, gather, split_windows
from openbook.windows.scaling import SCALINGS, Scaling


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
    """Two series that never change, one that repeats itself but for a rounding, one that wanders."""
    step = np.arange(48)  # of so many equal numbers the mean is rounded, and with it their deviation is not 0
    values = {
        "flat": 0.0 * step,
        "repeats": step % 2 + 1e-9 * step,
        "stuck": 25.6 + 0.0 * step,
        "wanders": np.cumsum(step % 3 - 1.0),
    }
    panel = make_panel(pd.concat([pd.DataFrame({"unique_id": name, "ds": step, "y": y}) for name, y in values.items()]))
    split = Split(WindowIndex(*np.zeros((2, 0), np.int64)), WindowIndex(*np.zeros((2, 0), np.int64)), held_out=0)
    flat, repeats, stuck, wanders = loss_scale(panel, split, 2, "pinball")
    assert flat == stuck == np.median([repeats, wanders])
    assert repeats == pytest.approx(0.005)
    assert wanders == pytest.approx(float(np.abs(values["wanders"][2:] - values["wanders"][:-2]).mean()))
    of_mase = loss_scale(panel, split, 2, "mase")
    assert np.isnan(of_mase[0])
    assert of_mase[2] == pytest.approx(25.6)  # as that score is defined: its mean absolute value


@pytest.mark.parametrize(("loss", "halfway"), [("pinball", True), ("mse", True), ("mase", False), ("lag_mase", False)])
def test_all_losses_but_those_of_mase_count_halfway(loss: Loss, halfway: bool) -> None:
    """Up and down by one: a deviation of a half, a naive error of one."""
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(30), "y": np.arange(30) % 2.0}))
    made = set_up(panel, Asked(2, LuongConfig(), None, 4, None, loss, "y"), lambda _, decision: decision.value)
    split = Split(WindowIndex(*np.zeros((2, 0), np.int64)), WindowIndex(*np.zeros((2, 0), np.int64)), held_out=0)
    found = laid_out(panel, made, split, loss)
    assert found.error_N is not None
    assert (found.halfway, found.error_N.tolist()) == (halfway, [0.5 if loss == "mse" else 1.0])


@pytest.mark.parametrize(("days", "country"), [(500, None), (500, "AU-VIC"), (100, None)])
def test_the_shape_says_where_the_calendar_tells_the_day_of_the_year(days: int, country: str | None) -> None:
    ds = pd.date_range("2023-01-01", periods=days, freq="D")
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(days) % 7.0}))
    asked = Asked(2, LuongConfig(), None, 14, None, "pinball", "y", country)
    made = set_up(panel, asked, lambda _, decision: decision.value)
    year = made.shape.year
    assert year.columns == (4 if days > 366 else 0)
    variables, known, calendar = made.layout.variables, made.layout.futr, made.layout.calendar
    encoder, decoder = (*variables, "flag", *calendar), (*known, *calendar, "position")
    wanted = tuple(name for name in calendar if name.startswith("year_"))
    assert encoder[year.encoder :][: year.columns] == decoder[year.decoder :][: year.columns] == wanted


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
        ("lag_mase", "in each window's difference from the steps a gap before"),
    ],
)
def test_what_errors_are_counted_in_is_a_decision(loss: Loss, told: str) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(80), "y": np.arange(80) % 7.0})
    train = ob.TrainConfig(max_steps=1, loss=loss, batch_size=4)
    decision = ob.Forecaster(4, model="luong", input_size=8, train=train).fit(frame).decisions["loss"]
    assert (decision.value, decision.why) == (loss, told)


def units_of(frame: pd.DataFrame, scaling: Scaling, h: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per training window: its series, whether its context is zero, and its share of the loss of forecasting its location."""
    panel = make_panel(frame)
    asked = Asked(h, LuongConfig(), None, 28, scaling, "pinball", "y")
    made = set_up(panel, asked, lambda _, decision: decision.value)
    split = split_windows(panel, made.windows, season=made.season)
    resident = laid_out(panel, made, split, "pinball")
    series, end = map(torch.from_numpy, split.train)
    batch = gather(resident, series, end, made.windows)
    unit = loss_unit(resident, series, end, h=h, loss="pinball", gap=7)
    assert unit is not None
    scaled = (unit / batch.scale_BM).sqrt() if resident.halfway else unit / batch.scale_BM
    loss = (batch.target_BHM[..., 0].abs() / scaled).mean(1).numpy()
    return split.train.series_W, (batch.encoder_BTX[..., 0] == 0).all(1).numpy(), loss / loss.sum()


def test_what_windows_of_zeros_count_does_not_depend_on_the_unit_of_the_data() -> None:
    """A business closed for 70 of 300 days."""
    day, rng = np.arange(300), np.random.default_rng(0)
    y = np.where((day > 100) & (day <= 170), 0.0, 100 + 20 * np.sin(day / 7 * 2 * np.pi) + 5 * rng.normal(size=300))
    shares = []
    for size in (1e-3, 1.0, 1e6):
        stamps = pd.date_range("2024-01-01", periods=300)
        _, closed, share = units_of(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": y * size}), "standard")
        assert closed.sum() > 20
        shares.append(share[closed].sum())
    assert shares == pytest.approx([shares[0]] * 3)
    assert shares[0] < 0.2


@pytest.mark.parametrize("scaling", SCALINGS)
def test_series_count_alike_whatever_their_size_and_scaling(scaling: Scaling) -> None:
    day, rng = np.arange(300), np.random.default_rng(0)
    y = 100 + 20 * np.sin(day / 7 * 2 * np.pi) + 5 * rng.normal(size=300)
    frames = [pd.DataFrame({"unique_id": name, "ds": day, "y": size * y}) for name, size in (("a", 1.0), ("b", 1e4))]
    series, _, share = units_of(pd.concat(frames), scaling)
    assert share[series == 1].sum() == pytest.approx(0.5)


def test_series_held_out_whole_are_measured_by_all_of_their_rows() -> None:
    """Short series, one of which begins with zeros: no rows stand before a held-out tail."""
    rng, month = np.random.default_rng(0), np.arange(12)
    values = {f"s{k:02d}": 1e5 + 2e4 * rng.normal(size=12) for k in range(20)}
    values["s09"][:5] = 0.0
    panel = make_panel(pd.concat([pd.DataFrame({"unique_id": k, "ds": month, "y": y}) for k, y in values.items()]))
    split = split_windows(panel, WindowShape(6, 6))
    assert split.series_held_out == 4
    unit = series_unit(panel, split, 12, "mae")
    assert unit[9] == pytest.approx(np.abs(np.diff(values["s09"])).mean())
    assert unit.max() < 10 * unit.min()
