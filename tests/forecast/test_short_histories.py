"""Series with hardly any history, or a window that saw hardly any of it: forecasts and bands of a sensible size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.errors import UsageError
from openbook.forecast import widening as module
from openbook.forecast.conformal import Calibration
from openbook.forecast.origins import Origins
from openbook.forecast.widening import saved_widening, widening_of
from openbook.windows.sampler import WindowIndex, WindowShape

STAMPS = pd.date_range("2024-01-01", periods=600, freq="h")
QUICK = ob.TrainConfig(max_steps=60, val_every=30, budget_s=300)


def waves(level: float, rows: int, seed: int = 0, name: str = "s") -> pd.DataFrame:
    """A daily wave of 3 with noise of 1."""
    noise = np.random.default_rng(seed).normal(size=600)
    y = level + 3 * np.sin(2 * np.pi * np.arange(600) / 24) + noise
    return pd.DataFrame({"unique_id": name, "ds": STAMPS[:rows], "y": y[:rows]})


@pytest.fixture(scope="module", params=["luong", "openbook"])
def told(request: pytest.FixtureRequest) -> dict[float, pd.DataFrame]:
    """Forecasts less the level, by level, of series that show little."""
    found = {}
    for level in (0.0, 1e5):
        table = pd.concat([waves(level, 600, 1, "s1"), waves(level, 600, 2, "s2")])
        model = ob.Forecaster(6, model=request.param, train=QUICK, alias="OpenBook").fit(table)
        gap = waves(level, 600, 5, "gap")
        gap.loc[:590, "y"] = np.nan
        new = [waves(level, 600, 3, "fine"), gap]
        new += [
            pd.DataFrame({"unique_id": n, "ds": STAMPS[:k], "y": level + 1.0}) for n, k in (("one", 1), ("stuck", 600))
        ]
        new += [waves(level, 2, 4, "two"), waves(level, 3, 4, "three")]
        forecast = model.predict(pd.concat(new), level=[80]).set_index("unique_id")
        found[level] = forecast.drop(columns="ds") - level
    return found


def launched(series: int, launches: int) -> pd.DataFrame:
    """Daily sales of several sizes, some of which begin within the last two months."""
    rng, n, parts = np.random.default_rng(0), 400, []
    for k in range(series):
        y = rng.poisson(rng.uniform(2, 20) * (1 + 0.3 * np.sin(np.arange(n) * 2 * np.pi / 7))).astype(float)
        y[: n - rng.integers(20, 60) if k < launches else 0] = 0.0
        parts.append(pd.DataFrame({"unique_id": f"s{k:02d}", "ds": pd.date_range("2023", periods=n), "y": y}))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("model", ["luong", ob.OpenBookConfig(hidden_size=8, n_models=1, differences=False, book=0)])
def test_first_sales_in_the_held_out_tail_leave_bands_of_a_usual_width(model: object) -> None:
    """They had been of ten million, those of all other series too, and the validation loss twenty times as large."""
    widths, losses = [], []
    for launches in (0, 2):
        made = ob.Forecaster(7, model=model, train=ob.TrainConfig(max_steps=20, val_every=10, budget_s=20), seed=1)
        told = made.fit(launched(12, launches)).predict(level=[99])
        widths.append((told[f"{made.name}-hi-99"] - told[f"{made.name}-lo-99"]).groupby(told["unique_id"]).max())
        losses.append(made.training_.best_loss)
    assert widths[1].max() < 5 * widths[0].max()
    assert losses[1] < 2 * losses[0]


@pytest.mark.parametrize("name", ["fine", "one", "two", "three", "gap", "stuck"])
def test_forecasts_are_of_the_size_of_the_data_whatever_its_level(told: dict[float, pd.DataFrame], name: str) -> None:
    for forecast in told.values():
        assert np.abs(forecast.loc[name]).to_numpy().max() < 20
    np.testing.assert_allclose(told[0.0].loc[name], told[1e5].loc[name], atol=1.5)


@pytest.mark.parametrize("name", ["one", "two", "three", "gap"])
def test_bands_are_not_narrow_for_want_of_rows(told: dict[float, pd.DataFrame], name: str) -> None:
    for forecast in told.values():
        width = (forecast["OpenBook-hi-80"] - forecast["OpenBook-lo-80"]).groupby("unique_id").mean()
        assert 1.5 * width["fine"] < width[name] < 15 * width["fine"]


@pytest.mark.parametrize("model", ["luong", "openbook"])
def test_bands_hold_their_share_after_few_rows_too(model: str, tmp_path: Path) -> None:
    table = pd.concat([waves(0.0, 600, seed, f"s{seed}") for seed in range(4)])
    fitted = ob.Forecaster(6, model=model, train=QUICK, alias="OpenBook").fit(table)
    fitted.save(tmp_path / "m.ob")
    again = ob.load(tmp_path / "m.ob")
    for rows in (1, 3, 12):
        parts, truths = [], []
        for seed in range(10, 14):
            whole = waves(0.0, 600, seed)
            for first in range(0, 120, 7):
                part = whole.iloc[first : first + rows + 6].assign(unique_id=f"{seed}-{first}")
                parts.append(part.iloc[:rows])
                truths.append(part.iloc[rows:])
        told = fitted.predict(pd.concat(parts), level=[80, 95]).merge(pd.concat(truths), on=["unique_id", "ds"])
        pd.testing.assert_frame_equal(told.drop(columns="y"), again.predict(pd.concat(parts), level=[80, 95]))
        inside = {n: told["y"].between(told[f"OpenBook-lo-{n}"], told[f"OpenBook-hi-{n}"]).mean() for n in (80, 95)}
        assert 0.6 < inside[80] < 0.99
        assert inside[95] > 0.8


def test_what_could_not_be_proven_is_not_forecast() -> None:
    """28 months, a year ahead: two windows to learn from, none to judge by. What was learned would be noise by heart."""
    months, rng = np.arange(40), np.random.default_rng(1)
    y = 100 + 20 * np.sin(2 * np.pi * months / 12) + 8 * rng.normal(size=40)
    table = pd.DataFrame({"ds": pd.date_range("2021-01-01", periods=40, freq="MS"), "y": y})
    train = ob.TrainConfig(max_steps=40)
    model = ob.Forecaster(12, train=train).fit(table[:28])
    told = model.predict(level=[80])
    assert model.decisions["forecast"].value == {"repeat 12": 1.0}
    assert "nothing could be held out" in model.decisions["forecast"].why
    np.testing.assert_allclose(told["OpenBook"], y[16:28])
    inside = (y[28:] >= told["OpenBook-lo-80"]) & (y[28:] <= told["OpenBook-hi-80"])
    assert inside.mean() >= 0.5
    assert model.decisions["input_size"].why == "all that the histories allow"  # nobody gave it
    with pytest.raises(UsageError, match="one length of the window"):
        ob.Forecaster(12, model=ob.OpenBookConfig(window=12), input_size=14).fit(table[:28])
    parts = model.explain().parts
    np.testing.assert_allclose(parts.repeated[0], y[16:28])
    asked = ob.Forecaster(12, train=replace(train, validation_size=0)).fit(table[:28])
    assert "forecast" not in asked.decisions  # who holds nothing out has the model
    assert not np.allclose(asked.predict()["OpenBook"], y[16:28])


def test_bands_stay_as_wide_as_they_were_calibrated_where_the_held_out_rows_are_learned_too(tmp_path: Path) -> None:
    """After few steps quantiles are still wide, and margins narrow them; after twice as many they would meet the middle."""
    rng, week = np.random.default_rng(0), np.array([1, 1.1, 1.0, 0.9, 1.2, 0.5, 0.4])
    stamps = pd.date_range("2023-01-01", periods=420)
    frames = [
        pd.DataFrame(
            {"unique_id": n, "ds": stamps, "y": 1000 * week[stamps.day_of_week] * (1 + 0.05 * rng.normal(size=420))}
        )
        for n in range(3)
    ]
    table = pd.concat(frames)
    config = ob.OpenBookConfig(window=28, n_models=1, differences=False, book=0, mixing=False)
    model = ob.Forecaster(7, model=config, train=ob.TrainConfig(max_steps=30))
    tested = model.cross_validation(table, n_windows=12, level=[80, 95])
    for level, least, most in ((80, 0.7, 0.92), (95, 0.9, 1.0)):
        low, high = tested[f"OpenBook-lo-{level}"], tested[f"OpenBook-hi-{level}"]
        assert (low < high).all()
        assert least <= tested["y"].between(low, high).mean() <= most
    model.fit(table)
    assert np.shape(model.fitted().spread) == (7, 7)
    again = ob.load(model.save(tmp_path / "m.ob"))
    pd.testing.assert_frame_equal(again.predict(level=[80]), model.predict(level=[80]))


def test_a_band_is_wider_by_what_its_window_saw() -> None:
    widening = saved_widening([[1, 4.0, 3.0], [4, 2.0, 1.0]], 8)  # of a file from before there were four levels
    fitted = SimpleNamespace(widening=widening, windows=WindowShape(16, 2, scale_steps=8))
    y = [1.0, np.nan, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(12), "y": y}))
    origins = Origins(np.zeros(5, np.int64), np.array([1, 2, 5, 9, 10]))
    seven = np.log(8 / 7) / np.log(2)  # of the way from eight steps to four
    np.testing.assert_allclose(widening_of(fitted, panel, origins, 80)[:, 0], [4, 4, 2, 2 * seven, 0])
    np.testing.assert_allclose(widening_of(fitted, panel, origins, 95)[:, 0], [3, 3, 1, seven, 0])
    np.testing.assert_allclose(widening_of(fitted, panel, origins, 90)[0], 4 - 10 / 15)
    fitted.widening = ((1.0, 1.0, 2.0, 3.0, 5.0), (8.0, 0.0, 0.0, 0.0, 0.0))
    assert [widening_of(fitted, panel, origins, level)[0, 0] for level in (50, 65, 80, 97, 99)] == [1, 1.5, 2, 4, 5]
    fitted.widening = ()
    assert widening_of(fitted, panel, origins, 80).tolist() == [[0.0]] * 5


def test_what_a_band_lacks_is_how_far_truths_lie_outside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that forecasts 0 ± 1 whatever it saw, of truths from 0 to 10 that its calibration never met."""
    truth = np.linspace(0.0, 10.0, 101)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(201), "y": np.append(np.zeros(100), truth)}))
    quantile = np.tile([-1.0, 0.0, 1.0], (101, 1, 1))
    known = np.array([[0.0]] * 20)  # truths that calibrated
    fitted = SimpleNamespace(
        windows=WindowShape(3, 1, settled=1),
        shape=SimpleNamespace(h=1),
        calibration=Calibration((0.1, 0.5, 0.9), np.tile([-1.0, 0.0, 1.0], (20, 1, 1)), known + 1.0),
    )
    asked: list[np.ndarray] = []

    def told(fitted: object, panel: Panel, windows: WindowIndex) -> list[tuple[np.ndarray, ...]]:
        asked.append(np.diff(panel.offsets))
        return [(quantile, panel.target[windows.end_W][:, None])]

    monkeypatch.setattr(module, "forecasts", told)
    found = module.widenings(fitted, panel, WindowIndex(np.zeros(101, np.int64), np.arange(100, 201)))
    assert [set(lengths) for lengths in asked] == [{2}, {3}]  # one and two steps, and the horizon
    lacks = (*map(pytest.approx, (4.0, 7.0, 8.5, 8.9)),)
    assert found == ((1.0, *lacks), (2.0, *lacks), (3.0, 0.0, 0.0, 0.0, 0.0))


def test_windows_in_which_nothing_was_observed_widen_no_band(monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries count the values that windows hold, not their steps, and the last tells what those that calibrated held."""
    y = np.where(np.arange(300) % 3 == 0, 1.0, np.nan)  # every third step
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(300), "y": y}))
    fitted = SimpleNamespace(windows=WindowShape(30, 1, settled=4), shape=SimpleNamespace(h=1))
    held: list[np.ndarray] = []

    def outside(fitted: object, cut: Panel, end_W: np.ndarray) -> list[float]:
        held.append(np.add.reduceat(np.isfinite(cut.target), cut.offsets[:-1]) - np.isfinite(cut.target[end_W]))
        return [1.0, 2.0, 3.0, 4.0]

    monkeypatch.setattr(module, "_outside", outside)
    found = module.widenings(fitted, panel, WindowIndex(np.zeros(120, np.int64), np.arange(100, 220)))
    assert min(seen.min() for seen in held) == 1
    assert [entry[0] for entry in found] == pytest.approx(
        [1, 4 / 3, 8 / 3, 16 / 3, 10]
    )  # one step, then 4, 8, 16 and 30
    assert found[-1][1:] == (0.0, 0.0, 0.0, 0.0)


def test_windows_cut_short_keep_the_names_of_their_series() -> None:
    """What a series has of its own, a linear map or a mixture, is found by its name."""
    rows = np.arange(12)
    table = pd.concat([pd.DataFrame({"unique_id": name, "ds": rows, "y": rows + ord(name)}) for name in "ab"])
    panel = make_panel(table)
    cut = module._cut(panel, WindowIndex(np.array([1, 0, 1]), np.array([18, 6, 20])), 3, 2)
    assert cut.ids.tolist() == ["b", "a", "b"]
    assert cut.target.reshape(3, 5)[:, 0].tolist() == [98 + 3, 97 + 3, 98 + 5]


def test_a_day_that_is_missing_before_the_forecast_hardly_moves_it() -> None:
    rng = np.random.default_rng(0)
    hours = np.arange(24 * 60)
    wave = 100 + 40 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 1, len(hours))
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=len(hours), freq="h"), "y": wave})
    config = ob.OpenBookConfig(
        hidden_size=8, window=168, segment=24, mixing=False, book=0, n_models=1, differences=False
    )
    train = ob.TrainConfig(max_steps=10, budget_s=60)
    model = ob.Forecaster(24, model=config, scaling="standard", train=train).fit(frame)
    gone = frame.assign(y=frame["y"].mask((hours >= len(hours) - 25) & (hours < len(hours) - 1)))
    whole, found = (model.predict(table)["OpenBook"].to_numpy() for table in (frame, gone))
    assert np.abs(found - whole).mean() < 4


@pytest.mark.parametrize("days", [1, 3])
@pytest.mark.parametrize("name", ["openbook", "ridge"])
def test_a_new_series_is_forecast_as_its_first_days_were(name: str, days: int) -> None:
    """Rows before it were the window's location: a map of whole windows forecast something between that and the day."""
    rng = np.random.default_rng(0)
    hours = np.arange(24 * 60)
    day = np.array([0, 0, 0, 0, 0, 1, 4, 8, 9, 7, 6, 6, 7, 7, 6, 5, 6, 8, 9, 7, 4, 2, 1, 0])
    wave = 100 + 10.0 * np.tile(day, 60) + rng.normal(0, 2, len(hours))
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=len(hours), freq="h"), "y": wave})
    config = ob.OpenBookConfig(
        hidden_size=8, window=168, segment=24, mixing=False, book=0, n_models=1, differences=False
    )
    train = ob.TrainConfig(max_steps=10, budget_s=60)
    model: ob.Forecaster | ob.Floor = (
        ob.Floor("ridge", 24, season_length=24)
        if name == "ridge"
        else ob.Forecaster(24, model=config, scaling="standard", train=train)
    )
    new = frame.tail(24 * (days + 1)).assign(unique_id="new")
    told = model.fit(frame).predict(new.iloc[:-24]).iloc[:, 2].to_numpy()
    assert np.abs(told - new["y"].to_numpy()[-24:]).mean() < 5.0


def test_a_new_series_without_the_days_a_model_looks_at_has_wider_bands() -> None:
    """It was as sure of a series of 30 rows as of one with the days of one and of two weeks ago."""
    config = ob.DayToDayConfig(hidden_size=8, gaps=(7, 14))
    model = ob.Forecaster(24, model=config, train=ob.TrainConfig(max_steps=150, val_every=50))
    hour = np.arange(24 * 70)
    week = 3 * np.sin(2 * np.pi * hour / 24) * (1 + (hour // 24 % 7))
    noise = np.random.default_rng(0).normal(0, 0.3, len(hour))
    stamps = pd.date_range("2024-01-01", periods=len(hour), freq="h")
    table = pd.DataFrame({"unique_id": "s", "ds": stamps, "y": week + noise})
    fitted = model.fit(table).fitted()
    rows = len(hour)
    short, days, whole = (make_panel(table[-n:]) for n in (30, 200, rows))
    gap = make_panel(table.assign(y=table["y"].where(hour < rows - 12)))
    wider = {
        name: float(widening_of(fitted, panel, Origins(np.array([0]), np.array([len(panel.target)])), 80)[0, 0])
        for name, panel in {"short": short, "days": days, "whole": whole, "gap": gap}.items()
    }
    assert wider["whole"] == 0
    assert wider["gap"] < 0.05 * wider["short"]
    assert wider["short"] > 0.1
    assert wider["days"] < 0.05 * wider["short"]  # that of a week ago is there
