from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.data.panel import Panel, make_panel
from openbook.forecast.bands import carried_forward, error_scale, lagged, mean_before, step_bands, with_bands
from openbook.forecast.origins import Origins


def panel_of(**series: list[float]) -> Panel:
    parts = [pd.DataFrame({"unique_id": name, "ds": range(len(y)), "y": y}) for name, y in series.items()]
    return make_panel(pd.concat(parts), freq=1)


def at(*places: tuple[int, int]) -> Origins:
    return Origins(np.array([series for series, _ in places]), np.array([end for _, end in places]))


def test_nothing_is_carried_into_the_next_series() -> None:
    panel = panel_of(a=[1.0, np.nan], b=[np.nan, 4.0])
    np.testing.assert_array_equal(carried_forward(panel, panel.target), [1, 1, np.nan, 4])
    np.testing.assert_array_equal(lagged(panel, 1), [np.nan, 1, np.nan, np.nan])


def test_columns_are_carried_forward_one_by_one() -> None:
    panel = panel_of(a=[1.0, 2.0])
    values = np.array([[1.0, np.nan], [np.nan, 5.0]])
    np.testing.assert_array_equal(carried_forward(panel, values), [[1, np.nan], [1, 5]])


def test_mean_before_keeps_the_order_of_origins_and_skips_gaps() -> None:
    panel = panel_of(a=[1.0, np.nan, 5.0], b=[7.0, 9.0])
    mean = mean_before(panel, panel.target, at((1, 5), (0, 3), (0, 2), (1, 3), (0, 1)))
    np.testing.assert_array_equal(mean, [8, 3, 1, np.nan, 1])


def test_mean_before_of_a_small_series_survives_a_huge_neighbour() -> None:
    panel = panel_of(a=[1e18, 2e18], b=[1e-3, 3e-3])
    assert mean_before(panel, panel.target, at((1, 4)))[0] == pytest.approx(2e-3, rel=1e-12)


def test_rounding_is_no_error_scale() -> None:
    """A price that repeats day for day had a MASE of 10¹⁴."""
    y = 0.3 + 0.1 * np.cos(np.arange(96) * 2 * np.pi / 24)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(96), "y": y}))
    assert 0 < np.abs(y[24:] - y[:-24]).max() < 1e-12
    found = error_scale(panel, 24, Origins(np.array([0]), np.array([96])))
    np.testing.assert_allclose(found, np.abs(np.diff(y)).mean())


def test_error_scale_falls_back_step_by_step() -> None:
    panel = panel_of(
        seasonal=[1.0, 5.0, 3.0, 6.0],  # |3 - 1|, |6 - 5| -> 1.5
        periodic=[1.0, 5.0, 1.0, 5.0],  # seasonal error 0, naive error 4
        constant=[-7.0, -7.0, -7.0, -7.0],  # both 0, mean absolute value 7
        zero=[0.0, 0.0, 0.0, 0.0],
        empty=[np.nan, np.nan, np.nan, np.nan],
    )
    order = {name: place for place, name in enumerate(panel.ids)}
    ends = at(*[(order[name], 4 * order[name] + 4) for name in ("seasonal", "periodic", "constant", "zero", "empty")])
    np.testing.assert_array_equal(error_scale(panel, 2, ends), [1.5, 4, 7, np.nan, np.nan])


def test_half_width_is_the_conformal_rank() -> None:
    residual = np.stack([np.arange(1.0, 41.0), np.arange(40.0, 0.0, -1) * 10], axis=1)
    bands = step_bands(residual)
    assert bands.half_width(80).tolist() == [33, 330]  # ceil(41 * 0.8) = 33
    assert bands.half_width(99.9).tolist() == [40, 400]


def test_few_residuals_are_shared_between_neighbouring_steps_only() -> None:
    residual = np.full((20, 4), np.nan)
    residual[:, 0], residual[:, 1], residual[:, 3] = 1.0, 2.0, 9.0
    # Step 2 has none of its own; the others have what they need.
    assert step_bands(residual).half_width(97).tolist() == [1, 2, 9, 9]


def test_no_residual_gives_no_band() -> None:
    assert np.isnan(step_bands(np.empty((0, 3))).half_width(80)).all()
    assert np.isnan(step_bands(np.full((2, 3), np.nan)).half_width(80)).all()


def test_bands_lie_around_the_point_in_units_of_the_scale() -> None:
    bands = step_bands(np.ones((30, 2)))
    forecast = with_bands(np.array([[10.0, 20.0]]), np.array([3.0]), bands, [80])
    low, high = forecast.interval[80.0]
    assert (low.tolist(), high.tolist()) == ([[7, 17]], [[13, 23]])
