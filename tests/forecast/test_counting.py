"""What windows count by in the closed-form map: chosen on validation windows, and only where it clearly matters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import openbook as ob
from openbook.data.panel import make_panel
from openbook.forecast.closed_form import By, Counting, Table, average, own_maps
from openbook.forecast.setup import season_changes
from openbook.forecast.start import choose_counting
from openbook.training.loop import TrainConfig
from openbook.windows.sampler import WindowShape, split_windows


def table(rows: int, *, restless: float, seed: int, shift: float = 0.0) -> Table:
    """Calm windows, and every tenth one 30 times as large: its noise in scaled units is ``restless`` times a calm one's."""
    g = torch.Generator().manual_seed(seed)
    x, place = torch.randn(rows, 20, generator=g), torch.arange(rows)
    large = place % 10 == 9
    noise = torch.where(large, restless, 1.0)[:, None] * torch.randn(rows, 1, generator=g)
    y = x @ torch.linspace(-1, 1, 20)[:, None] + noise
    return Table(x, y, torch.where(large, 30.0, 1.0), (place % 2).long())


EVEN = np.ones(2)


def test_windows_count_alike_where_large_ones_are_as_easy_in_their_own_spread() -> None:
    """All are as noisy in scaled units: whom least squares lets rule by size, it learns from alone."""
    chosen, why = choose_counting((table(400, restless=1, seed=0), table(400, restless=1, seed=1)), "mse", "last", EVEN)
    assert chosen.by == "window"
    assert all(by in why for by in ("series", "changes", "halfway", "window"))
    assert why.endswith("the mean of maps by series and by window")


def test_windows_count_by_their_series_where_large_ones_are_as_uncertain_as_calm_ones() -> None:
    """Noise of one size for all: a large window tells more, as its own is small beside what it shows."""
    learnt, judged = (table(400, restless=1 / 30, seed=seed) for seed in (0, 1))
    assert choose_counting((learnt, judged), "mse", "last", EVEN)[0].by in ("series", "changes")


def test_a_smooth_series_counts_more_where_that_helps() -> None:
    """Two series of one size and one map; the second is told a hundred times more exactly."""

    def both(seed: int) -> Table:
        drawn = table(60, restless=1, seed=seed)
        noise = torch.where(drawn.series_W == 0, 1.0, 0.01)[:, None]  # type: ignore[call-overload]
        g = torch.Generator().manual_seed(seed + 10)
        y = drawn.x_WD @ torch.linspace(-1, 1, 20)[:, None] + noise * torch.randn(60, 1, generator=g)
        return drawn._replace(y_WH=y, size_W=torch.ones(60))

    chosen, _ = choose_counting((both(0), both(1)), "mse", "last", np.array([1.0, 100.0]))
    assert chosen.by == "changes"


@pytest.mark.parametrize(
    ("loss", "scaling", "judged", "expected"),
    [
        ("mase", "last", True, "series"),
        ("mse", "last", False, "series"),
        ("mae", "fixed", True, "series"),
        ("mae", "last", True, "window"),
    ],
    ids=["a scaled loss", "nothing held out", "one unit for all windows", "of absolute errors too"],
)
def test_there_is_not_always_a_choice(loss: Any, scaling: Any, judged: bool, expected: str) -> None:
    learnt, held = table(400, restless=1, seed=0), table(400, restless=1, seed=1) if judged else None
    chosen, why = choose_counting((learnt, held), loss, scaling, EVEN)
    assert chosen.by == expected
    assert "changes" not in why
    assert ("nothing to choose" in why) == (expected == "series")


def test_a_little_better_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = iter([1.0, 0.99, 0.985, 0.981])
    monkeypatch.setattr("openbook.forecast.start.solve", lambda *_: SimpleNamespace(error=next(errors)))
    drawn = table(10, restless=1, seed=0)
    assert choose_counting((drawn, drawn), "mse", "last", EVEN)[0].by == "series"


def test_changes_are_from_season_to_season_before_the_held_out_tail() -> None:
    step = np.arange(20.0)
    values = {"a": np.where(step % 4 == 0, 3.0, 0.0) + 2 * (step // 4), "b": np.full(20, 7.0)}
    values["a"][-4:] = 1e6  # held out
    rows = [pd.DataFrame({"unique_id": name, "ds": np.arange(20), "y": y}) for name, y in values.items()]
    panel = make_panel(pd.concat(rows), freq=1)
    split = split_windows(panel, WindowShape(4, 4), validation_size=4)
    found = season_changes(panel, split, 4)
    assert found[0] == pytest.approx(2.0)
    assert np.isnan(found[1])  # never changed: no unit


@pytest.mark.parametrize("by", ["series", "changes", "halfway", "window"])
def test_whatever_windows_count_by_it_is_fitted_told_and_learned_again(by: By, monkeypatch: pytest.MonkeyPatch) -> None:
    ratios: list[np.ndarray] = []

    def choose(*given: Any) -> tuple[Counting, str]:
        ratios.append(given[-1])
        return Counting(by, torch.ones(2)), "told by the test"

    monkeypatch.setattr("openbook.forecast.start.choose_counting", choose)
    day, rng = np.arange(24 * 20), np.random.default_rng(0)
    rows = [
        pd.DataFrame(
            {"unique_id": name, "ds": day, "y": 5 + np.sin(day / 24 * 2 * np.pi) + 0.1 * rng.normal(size=len(day))}
        )
        for name in "ab"
    ]
    train = TrainConfig(max_steps=4, val_every=2, batch_size=8, loss="mse")
    model = ob.Forecaster(6, model=ob.OpenBookConfig(window=24, n_models=1), freq=1, train=train).fit(pd.concat(rows))
    assert model.decisions["counting"].value == by
    assert (
        "relative to the skip path" in model.decisions["loss"].why
    )  # errors of the training count by series all the same
    assert np.isfinite(model.predict(level=(80,))["OpenBook"]).all()
    # A sine's deviation and its noise beside what changes from day to day: the noise, twice.
    assert ratios[0] == pytest.approx([0.5**0.5 / (0.1 * 2**0.5)] * 2, rel=0.1)


@pytest.mark.parametrize("place", ["start", "members"], ids=["first", "learned again"])
def test_the_map_is_solved_by_what_was_chosen(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step, rng = np.arange(24 * 28), np.random.default_rng(1)
    wild = np.where(step // 168 % 2 == 1, 20.0, 1.0)
    frame = pd.DataFrame({"unique_id": "a", "ds": step, "y": 100 + wild * rng.normal(size=len(step))})
    solved: list[tuple[Table, ...]] = []
    alone: list[Table] = []

    def spy(trains: tuple[Table, ...], *others: Any) -> Any:
        solved.append(trains)
        return average(trains, *others)

    def spy_alone(train: Table, *others: Any, **named: Any) -> Any:
        alone.append(train)
        return own_maps(train, *others, **named)

    monkeypatch.setattr(f"openbook.forecast.{place}.average", spy)
    monkeypatch.setattr(f"openbook.forecast.{place}.own_maps", spy_alone)
    chosen = (Counting("window", torch.ones(1)), "told by the test")
    monkeypatch.setattr("openbook.forecast.start.choose_counting", lambda *_: chosen)
    config = ob.OpenBookConfig(window=24, n_models=1, hidden_size=4, book=0)
    train = TrainConfig(max_steps=4, val_every=2, batch_size=8)
    ob.Forecaster(6, model=config, freq=1, scaling="last", train=train).fit(frame)
    ((series, window),) = solved  # those that count by series have half of the path all the same
    torch.testing.assert_close(series.weight_W, series.size_W.square())
    assert window.size_W.max() > 5 * window.size_W.min()
    assert (window.weight_W == 1).all()
    assert [id(table.weight_W) for table in alone] == [id(window.weight_W)]  # a series' own map counts as was chosen
