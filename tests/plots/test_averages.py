from __future__ import annotations

import numpy as np
import pytest

from openbook.plots.averages import Cells, Pool, average_of, inputs_average, on_grid, spread, times_average

POOL = Pool(3, 1)


def cells(weight_WHT: np.ndarray, first_back: int) -> Cells:
    """All cells of windows whose newest place lies ``first_back`` steps before the cutoff."""
    window, row, place = np.nonzero(np.isfinite(weight_WHT))
    back = first_back + weight_WHT.shape[2] - 1 - place
    return Cells(window, row + 1, back, back + row + 1, weight_WHT[window, row, place])


def test_quartiles_are_those_of_numpy_whatever_is_missing() -> None:
    value_WP = np.random.default_rng(0).normal(size=(9, 40))
    value_WP[np.random.default_rng(1).random((9, 40)) < 0.3] = np.nan
    found = spread(value_WP)
    for part, share in zip(found, (0.25, 0.5, 0.75), strict=True):
        np.testing.assert_allclose(part, np.nanquantile(value_WP, share, axis=0))
    value_WP[:, 3] = np.nan
    assert np.isnan(spread(value_WP).median[3])
    assert np.isfinite(spread(value_WP).median[4:]).all()


def test_the_map_is_a_median_over_windows_not_a_mean() -> None:
    weight_WHT = np.array([0.1, 0.2, 0.9])[:, None, None] * np.ones((3, 2, 4))
    found = average_of(cells(weight_WHT, 0), np.ones((3, 1)), ("y",), POOL)
    assert found.axis == "back"
    assert (found.step_H.tolist(), found.place_P.tolist()) == ([1, 2], [3, 2, 1, 0])
    np.testing.assert_allclose(found.median_HP, 0.2)
    np.testing.assert_allclose(found.by_lag.median, 0.2)
    np.testing.assert_allclose((found.by_lag.low[0], found.by_lag.high[0]), (0.15, 0.55))
    assert found.lag_L.tolist() == [5, 4, 3, 2, 1]


def test_a_fixed_lag_is_one_point_of_the_line() -> None:
    weight_WHT = np.zeros((3, 3, 8))
    for step in range(3):
        weight_WHT[:, step, 8 - 6 + step] = 1.0  # always six back
    found = average_of(cells(weight_WHT, 0), np.ones((3, 1)), ("y",), POOL)
    assert dict(zip(found.lag_L.tolist(), found.by_lag.median.tolist(), strict=True))[6] == 1.0
    assert found.by_lag.median.sum() == 1.0


def test_how_many_steps_can_look_each_distance_back() -> None:
    found = average_of(cells(np.ones((2, 3, 4)), 0), np.ones((2, 1)), ("y",), POOL)
    assert dict(zip(found.lag_L.tolist(), found.steps_L.tolist(), strict=True)) == {6: 1, 5: 2, 4: 3, 3: 3, 2: 2, 1: 1}


def test_places_of_few_lags_are_drawn_by_lag() -> None:
    weight_WHT = np.full((3, 3, 24), np.nan)
    for step in range(3):
        weight_WHT[:, step, [0 + step, 21 + step]] = (0.25, 0.75)
    found = average_of(cells(weight_WHT, 0), np.ones((3, 1)), ("y",), POOL)
    assert (found.axis, found.place_P.tolist()) == ("lag", [24, 3])
    np.testing.assert_allclose(found.median_HP, [[0.25, 0.75]] * 3)
    assert found.reach == 2


def test_padding_counts_for_no_window() -> None:
    weight_WHT = np.stack([np.full((1, 4), 0.25), np.full((1, 4), 0.25), np.full((1, 4), 1.0)])
    weight_WHT[2, :, :3] = np.nan
    found = average_of(cells(weight_WHT, 0), np.ones((3, 1)), ("y",), POOL)
    np.testing.assert_allclose(found.median_HP, 0.25)
    np.testing.assert_allclose(found.by_lag.high, [0.25, 0.25, 0.25, 0.625])


def test_memory_is_what_the_look_up_leaves() -> None:
    found = average_of(cells(np.full((3, 2, 4), 0.15), 0), np.ones((3, 1)), ("y",), POOL)
    assert found.memory == pytest.approx(0.4)


def test_features_stand_largest_first_and_forecasts_without_any_look_up_are_left_out() -> None:
    share_WF = np.array([[0.2, 0.8], [0.4, 0.6], [np.nan, np.nan]])
    found = average_of(cells(np.full((3, 1, 2), 0.5), 0), share_WF, ("wind", "calls"), POOL)
    assert found.features == ("calls", "wind")
    np.testing.assert_allclose(found.by_feature.median, [0.7, 0.3])


def test_stage_one_by_place_and_together() -> None:
    window, back = np.repeat([0, 1, 2], 2), np.tile([1, 0], 3)
    share_NF = np.array([[0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1], [0.9, 0.1]])
    found = inputs_average(window, back, share_NF, ("wind", "calls"), POOL)
    assert found.features == ("calls", "wind")
    assert found.back_P.tolist() == [1, 0]
    np.testing.assert_allclose(found.by_place.median, [[0.8, 0.2], [0.6, 0.4]])
    np.testing.assert_allclose(found.by_feature.median, [0.7, 0.3])


def test_stage_two_draws_all_steps_but_adds_up_the_forecasts_only() -> None:
    weight_WST = np.zeros((3, 3, 2))
    weight_WST[:, 0] = (1.0, 0.0)  # reads the past
    weight_WST[:, 1:] = (0.25, 0.75)
    window, row, place = np.nonzero(np.ones((3, 3, 2)))
    found = times_average(Cells(window, row, 1 - place, 1 - place, weight_WST[window, row, place]), POOL)
    assert found.step_S.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.median_SP, weight_WST[0])
    np.testing.assert_allclose(found.by_place.median, [0.25, 0.75])


def test_grid_adds_what_falls_on_one_place() -> None:
    grid, labels = on_grid(np.array([1.0, 2.0, 4.0]), np.array([0, 0, 1]), np.array([5, 5, 6]))
    np.testing.assert_array_equal(grid, [[3.0, np.nan], [np.nan, 4.0]])
    assert [label.tolist() for label in labels] == [[0, 1], [5, 6]]
