from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.data.panel import Panel, make_panel
from openbook.errors import DataError, UsageError
from openbook.forecast import ridge as module
from openbook.forecast.floors import SeasonalNaive
from openbook.forecast.origins import Origins, extend_panel, last_origins, rolling_origins
from openbook.forecast.ridge import Ridge, candidate_windows, split_origins
from openbook.forecast.static import with_static
from panels import writable


def demand(hours: int = 900, seed: int = 0, series: int = 1) -> Panel:
    """Hourly demand of a daily shape, a lasting level and a known-ahead temperature that moves it at once."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(series):
        temperature = np.cumsum(rng.normal(size=hours)) * 0.5
        y = 100 + 10 * np.sin(2 * np.pi * np.arange(hours) / 24) + 2 * temperature + rng.normal(size=hours)
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{number}",
                    "ds": pd.date_range("2024-01-01", periods=hours, freq="h"),
                    "y": y * 10.0**number,
                    "temperature": temperature,
                    "wind": rng.normal(size=hours),
                }
            )
        )
    return make_panel(pd.concat(parts), futr=["temperature"], hist=["wind"])


def moved(panel: Panel, factor: float, shift: float) -> Panel:
    return Panel(
        panel.ids,
        panel.offsets,
        panel.times,
        panel.target * factor + shift,
        panel.hist,
        panel.futr,
        panel.freq,
        panel.hist_columns,
        panel.futr_columns,
    )


def all_windows(panel: Panel, h: int, n_windows: int) -> tuple[Origins, np.ndarray]:
    windows = rolling_origins(panel, h, n_windows, h)
    origins = Origins(*[np.concatenate(part) for part in zip(*windows, strict=True)])
    return origins, panel.target[origins.end[:, None] + np.arange(h)]


def test_known_temperature_is_used_and_seasonal_naive_beaten() -> None:
    panel = demand()
    train = panel.until(panel.lengths - 240)
    origins, actual = all_windows(panel, 24, 10)
    ridge, floor = Ridge(24), SeasonalNaive(24)
    ridge.fit_panel(train)
    floor.fit_panel(train)
    error = np.abs(ridge.predict_origins(panel, origins, []).point - actual).mean()
    assert "ahead" in ridge.decisions["inputs"]  # type: ignore[operator]
    # White noise of standard deviation 1 is left in the target and in the last value: 2 / sqrt(pi) at best.
    assert error < 1.6
    assert error < 0.5 * np.abs(floor.predict_origins(panel, origins, []).point - actual).mean()


def test_a_linear_recurrence_is_found_exactly() -> None:
    hour = np.arange(300)
    y = 5 + np.sin(2 * np.pi * hour / 13) + 0.3 * np.cos(2 * np.pi * hour / 5)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": hour, "y": y}))
    ridge = Ridge(6, season_length=13)
    ridge.fit_panel(panel.until(np.array([290])))
    forecast = ridge.predict_origins(panel, Origins(np.array([0]), np.array([290])), []).point[0]
    np.testing.assert_allclose(forecast, y[290:296], atol=1e-3)


def test_weights_are_those_of_the_plain_ridge_equations() -> None:
    rng = np.random.default_rng(3)
    y = np.cumsum(rng.normal(size=120))
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(120), "y": y}))
    ridge = Ridge(2, window=4)
    ridge.fit_panel(panel)
    scale = np.sqrt(np.mean([np.mean((y[lag:] - y[:-lag]) ** 2) for lag in (1, 2)]))
    ends = np.arange(4, 119)
    x = np.stack([(y[end - 4 : end] - y[end - 1]) / scale for end in ends])
    goal = np.stack([(y[end : end + 2] - y[end - 1]) / scale for end in ends])
    penalty = ridge.decisions["penalty"]
    # The intercept as a column that is not penalised; the last lag is always zero.
    design = np.column_stack([np.ones(len(x)), x])
    weight = np.linalg.solve(design.T @ design + penalty * np.diag([0, 1, 1, 1, 1]), design.T @ goal)
    expected = y[-1] + scale * (np.concatenate([[1], (y[-4:] - y[-1]) / scale]) @ weight)
    forecast = ridge.predict_origins(extend_panel(panel, 2), Origins(np.array([0]), np.array([120])), [])
    np.testing.assert_allclose(forecast.point[0], expected, rtol=1e-9)


def test_future_rows_change_nothing_but_known_inputs_do() -> None:
    panel = writable(demand(series=2))
    ridge = Ridge(24)
    ridge.fit_panel(panel.until(np.array([700, 700])))
    origins = Origins(np.array([0, 1, 0]), np.array([720, 900 + 750, 740]))
    before = ridge.predict_origins(panel, origins, [80])
    panel.target[740:900], panel.hist[740:900] = 1e12, 1e9
    panel.target[1650:], panel.hist[1650:], panel.futr[1650 + 24 :] = np.nan, np.nan, 1e9
    after = ridge.predict_origins(panel, origins, [80])
    np.testing.assert_array_equal(before.point, after.point)
    np.testing.assert_array_equal(before.interval[80.0], after.interval[80.0])
    panel.futr[740 + 3] += 5
    assert not np.allclose(ridge.predict_origins(panel, origins, []).point[2], before.point[2], rtol=1e-3)


@pytest.mark.parametrize(("factor", "shift"), [(1e6, 0.0), (1e-3, 0.0), (1.0, 5e3), (-2.0, 40.0)])
def test_forecasts_follow_shift_and_scale(factor: float, shift: float) -> None:
    panel = demand(600)
    other = moved(panel, factor, shift)
    one, two = Ridge(12), Ridge(12)
    one.fit_panel(panel)
    two.fit_panel(other)
    origins = last_origins(panel, 12)
    expected, got = one.predict_origins(panel, origins, [80]), two.predict_origins(other, origins, [80])
    np.testing.assert_allclose(got.point, factor * expected.point + shift, rtol=1e-6)
    width, wider = expected.interval[80.0][1] - expected.point, got.interval[80.0][1] - got.point
    np.testing.assert_allclose(wider, abs(factor) * width, rtol=1e-5)


def test_gaps_in_target_and_inputs_are_survived() -> None:
    panel = writable(demand())
    rng = np.random.default_rng(5)
    panel.target[rng.choice(700, 20, replace=False)] = np.nan
    panel.hist[rng.choice(900, 90, replace=False)] = np.nan
    panel.futr[rng.choice(900, 90, replace=False)] = np.nan
    ridge = Ridge(6)
    ridge.fit_panel(panel.until(panel.lengths - 120))
    origins, actual = all_windows(panel, 6, 20)
    assert ridge.decisions["targets_bridged"] is False
    assert np.abs(ridge.predict_origins(panel, origins, []).point - actual).mean() < 3.0


def test_targets_are_bridged_where_hardly_a_window_is_complete() -> None:
    panel = writable(demand())
    panel.target[::7] = np.nan
    ridge = Ridge(12)
    ridge.fit_panel(panel)
    assert ridge.decisions["targets_bridged"] is True
    assert ridge.decisions["trained_on_windows"] > 500  # type: ignore[operator]
    assert np.isfinite(ridge.predict_origins(panel, last_origins(panel, 12), [80]).point).all()


def test_constant_series_are_continued() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(60), "y": 7.0}))
    ridge = Ridge(4)
    ridge.fit_panel(panel)
    forecast = ridge.predict_origins(panel, last_origins(panel, 4), [80])
    assert forecast.point.tolist() == [[7, 7, 7, 7]]
    assert np.ptp(forecast.interval[80.0]) == 0


def test_series_of_unequal_length_share_one_map() -> None:
    long = demand(700)
    frame = pd.DataFrame({"unique_id": "a", "ds": long.times, "y": long.target})
    short = frame.tail(15).assign(unique_id="b", y=lambda part: part["y"] * 100)
    single = frame.tail(1).assign(unique_id="c")
    panel = make_panel(pd.concat([frame, short, single]))
    ridge = Ridge(12)
    ridge.fit_panel(panel)
    longer = extend_panel(panel, 12)
    forecast = ridge.predict_origins(longer, last_origins(longer, 12), [80])
    assert np.isfinite(forecast.point).all()
    # The series are scaled copies of one end, so that the same map has to give them forecasts of the same size.
    np.testing.assert_allclose(forecast.point[1] / 100, forecast.point[0], rtol=0.1)


def test_short_series_get_a_smaller_window_and_hopeless_ones_an_error() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(12), "y": np.arange(12.0) ** 2}))
    ridge = Ridge(4)
    ridge.fit_panel(panel)
    assert ridge.decisions["window"] <= 4  # type: ignore[operator]
    assert np.isfinite(ridge.predict_origins(panel, last_origins(panel, 4), [80]).interval[80.0]).all()
    barely = Ridge(11)
    barely.fit_panel(panel)
    assert np.isfinite(barely.predict_origins(panel, last_origins(panel, 11), [80]).point).all()
    with pytest.raises(DataError, match="13 rows"):
        Ridge(12).fit_panel(panel)
    empty = moved(panel, np.nan, 0.0)
    with pytest.raises(DataError):
        Ridge(4).fit_panel(empty)


def test_bands_cover_what_they_promise() -> None:
    panel = demand(3000, seed=2)
    ridge = Ridge(6)
    ridge.fit_panel(panel.until(panel.lengths - 1200))
    origins, actual = all_windows(panel, 6, 200)
    low, high = ridge.predict_origins(panel, origins, [80]).interval[80.0]
    # Four standard errors of 200 windows whose six steps go together.
    assert ((low <= actual) & (actual <= high)).mean() == pytest.approx(0.8, abs=0.11)


def test_validation_is_held_out_of_fitting_and_lies_inside_the_blocks() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(1000), "y": 0.0}))
    split = split_origins(panel, 5, 20, 7)
    held = np.zeros(1000, bool)
    for stop in (250, 500, 750, 1000):
        held[stop - 50 : stop] = True
    assert not any(held[end : end + 5].any() for end in split.fit.end)
    assert all(held[end : end + 5].all() for end in split.validation.end)
    assert len(split.validation.end) == 4 * 46
    assert len(split.fit.end) + len(split.rest.end) == 1000 - 5 + 1 - 20
    single = split_origins(panel, 24, 20, 24)
    assert single.validation.end.min() == 800


def test_it_is_chosen_and_calibrated_as_it_forecasts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a series' first value 0 is for learning alone."""
    told: list[bool] = []
    plain = module.chunks

    def chunks(prepared: module.Prepared, *rest: object) -> object:
        told.append(prepared.learning)
        return plain(prepared, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "chunks", chunks)
    Ridge(24).fit_panel(demand(400))
    assert told == [True, False, True]  # what is learned, what chooses and gives the bands, and the rest of it


def test_windows_are_capped_by_the_history() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(5000), "y": 0.0}))
    assert candidate_windows(panel, 24, 24) == [24, 48, 72, 96, 168, 336, 672]
    assert candidate_windows(panel, 500, 48)[-1] == 720


def test_wrong_use_is_refused() -> None:
    with pytest.raises(UsageError, match="window"):
        Ridge(3, window=0)
    panel = demand(100)
    with pytest.raises(UsageError, match="fit_panel"):
        Ridge(3).predict_origins(panel, last_origins(panel, 3), [])


def test_a_static_input_explains_levels_that_two_kinds_of_series_return_to() -> None:
    """Series fall back to the level of their kind at once; without the kind only their past could tell it."""
    rng = np.random.default_rng(3)
    parts = []
    for number in range(12):
        kind = float(number % 2)
        trend = (1 if kind else -1) * 0.5 * np.arange(60)  # from a shared beginning up or down
        y = 100 + trend + rng.normal(0, 0.3, 60)
        parts.append(pd.DataFrame({"unique_id": f"s{number:02d}", "ds": range(60), "y": y, "kind": kind}))
    frame = pd.concat(parts)
    with_kind, without = make_panel(frame, futr=["kind"]), make_panel(frame)
    once = with_static(with_kind, ["kind"])
    errors = []
    for panel in (with_kind, without, once):
        ridge = Ridge(10, window=2)
        ridge.fit_panel(panel.until(panel.lengths - 10))
        origins, actual = all_windows(panel, 10, 1)
        errors.append(np.abs(ridge.predict_origins(panel, origins, []).point - actual).mean())
        assert ridge.decisions["inputs"] == ([] if panel is without else ["static"])
    assert errors[0] < 0.5 * errors[1]
    assert errors[2] == pytest.approx(errors[0], rel=1e-9)  # kept once per series
