from __future__ import annotations

import numpy as np
import pandas as pd

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.forecast.choice import Choice
from openbook.forecast.origins import Origins
from openbook.forecast.seasons import recall_season, repeat_season, season_candidates
from openbook.nn.skip import LinearSkip


def panel_of(y: list[float], other: list[float] | None = None) -> Panel:
    parts = [pd.DataFrame({"unique_id": "a", "ds": range(len(y)), "y": y})]
    if other is not None:
        parts.append(pd.DataFrame({"unique_id": "b", "ds": range(len(other)), "y": other}))
    return make_panel(pd.concat(parts), freq=1)


def test_season_is_repeated_as_often_as_the_horizon_needs() -> None:
    panel = panel_of([9.0, 9.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    assert repeat_season(panel, Origins(np.array([0]), np.array([5])), 4, 3).tolist() == [[1, 2, 3, 1]]


def test_gap_takes_the_same_phase_of_an_earlier_season_of_its_own_series() -> None:
    nan = np.nan
    panel = panel_of([50.0, 60.0, 70.0, 80.0], [1.0, nan, 3.0, nan, nan, 6.0, 0.0, 0.0])
    forecast = repeat_season(panel, Origins(np.array([1]), np.array([10])), 2, 2)
    # phase 0 of b: 1, 3, missing -> 3; phase 1: missing, missing, 6 -> 6
    assert forecast.tolist() == [[3, 6]]


def test_phase_never_seen_falls_back_to_the_last_value() -> None:
    panel = panel_of([50.0, 60.0, 70.0, 80.0], [1.0, np.nan, 3.0, np.nan, 0.0, 0.0])
    assert repeat_season(panel, Origins(np.array([1]), np.array([8])), 2, 2).tolist() == [[3, 3]]


def test_history_shorter_than_a_season_is_naive_and_no_history_is_nan() -> None:
    panel = panel_of([5.0, 6.0, 7.0], [1.0, 2.0, 3.0, 4.0])
    forecast = repeat_season(panel, Origins(np.array([1, 1]), np.array([5, 3])), 2, 4)
    np.testing.assert_array_equal(forecast, [[2, 2], [np.nan, np.nan]])


def test_candidates_are_day_and_week_below_a_day() -> None:
    assert season_candidates("30min") == [48, 336]
    assert season_candidates("D") == [7]


def test_a_value_is_carried_over_gaps_as_far_as_was_asked() -> None:
    y = [1.0, 2.0, np.nan, 4.0, np.nan, 6.0, np.nan, 8.0]
    panel, at = panel_of(y), Origins(np.array([0]), np.array([8]))
    assert repeat_season(panel, at, 2, 2).tolist() == [[1.0, 8.0]]
    assert repeat_season(panel, at, 2, 2, most=4).tolist() == [[1.0, 8.0]]
    assert repeat_season(panel, at, 2, 2, most=3).tolist() == [[8.0, 8.0]]
    assert Choice(("model", "repeat 1", "repeat 2"), (0.5, 0.0, 0.5)).reach == 8  # as much history as is read


def test_gaps_of_wandering_levels_are_recalled_by_the_last_value_and_of_days_by_the_days_before() -> None:
    rng, t = np.random.default_rng(0), np.arange(400)
    kinds = {"walk": 100 + rng.normal(size=400).cumsum(), "week": 100 + 10 * (t % 7 < 5) + rng.normal(size=400)}
    for kind, recall in (("walk", 1), ("week", 7)):
        y = kinds[kind]
        y[390:396] = np.nan
        table = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2022-01-01", periods=400), "y": y})
        assert recall_season(make_panel(table), 7) == recall
        model = ob.Forecaster(
            4, model=ob.OpenBookConfig(window=28, n_models=1, book=0), train=ob.TrainConfig(max_steps=2, val_every=2)
        ).fit(table)
        fitted = model.fitted()
        assert (fitted.shape.season, fitted.shape.recall) == (7, recall)
        assert {part.shape.season for part in fitted.model.modules() if isinstance(part, LinearSkip)} == {recall}
        floor = ob.Floor("ridge", 4).fit(table)
        assert floor.inner._layout.season == recall
    assert recall_season(make_panel(table), 1) == 1
