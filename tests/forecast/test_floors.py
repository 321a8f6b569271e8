from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.data.panel import Panel, make_panel
from openbook.errors import UsageError
from openbook.forecast.floor import Floor
from openbook.forecast.floors import FLOORS, Naive, SeasonalNaive, choose_season, make_floor, residual_origins
from openbook.forecast.origins import Origins, extend_panel, last_origins, rolling_origins
from panels import writable


def hourly(days: int, week: float, drift: float = 0.0, seed: int = 0) -> Panel:
    """A daily shape, a weekly one of the given weight, a drift per hour (which favours yesterday), and noise."""
    rng = np.random.default_rng(seed)
    hour = np.arange(24 * days)
    y = 10 * np.sin(2 * np.pi * hour / 24) + week * ((hour // 24) % 7 >= 5) + drift * hour + rng.normal(size=len(hour))
    stamps = pd.date_range("2024-01-01", periods=len(hour), freq="h")
    return make_panel(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": y}))


def test_naive_repeats_the_last_observed_value() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [1.0, 2.0, 4.0, np.nan, 8.0, 9.0]}))
    naive = Naive(2)
    naive.fit_panel(panel.until(np.array([4])))
    assert naive.predict_origins(panel, last_origins(panel, 2), []).point.tolist() == [[4, 4]]


def test_season_is_chosen_by_its_error() -> None:
    assert choose_season(hourly(60, week=30.0), 24, [24, 168]) == 168
    assert choose_season(hourly(60, week=0.0, drift=0.1), 24, [24, 168]) == 24
    floor = SeasonalNaive(24)
    floor.fit_panel(hourly(60, week=30.0))
    assert floor.decisions == {"season_length": 168}


def test_a_given_season_is_kept() -> None:
    floor = SeasonalNaive(24, season_length=24)
    floor.fit_panel(hourly(60, week=30.0))
    assert floor.decisions == {"season_length": 24}


def test_bands_of_white_noise_cover_what_they_promise() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(40), 300), "ds": np.tile(np.arange(300), 40)})
    panel = make_panel(frame.assign(y=rng.normal(size=len(frame)) * (1 + frame["unique_id"] * 50)))
    floor = Naive(5)
    floor.fit_panel(panel.until(np.full(40, 250)))
    windows = rolling_origins(panel, 5, 10, 5)
    origins = Origins(*[np.concatenate(part) for part in zip(*windows, strict=True)])
    low, high = floor.predict_origins(panel, origins, [80]).interval[80.0]
    actual = panel.target[origins.end[:, None] + np.arange(5)]
    # 400 windows; the five steps of one share its origin, so about 400 free draws: four standard errors are 0.08.
    assert ((low <= actual) & (actual <= high)).mean() == pytest.approx(0.8, abs=0.08)


def test_constant_series_has_bands_without_width() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(30), "y": 3.0}))
    floor = make_floor("naive", 4)
    floor.fit_panel(panel)
    forecast = floor.predict_origins(extend_panel(panel, 4), Origins(np.array([0]), np.array([30])), [95])
    assert forecast.interval[95.0][0].tolist() == forecast.interval[95.0][1].tolist() == [[3, 3, 3, 3]]


@pytest.mark.parametrize("name", ["naive", "seasonal_naive"])
def test_future_rows_change_nothing(name: str) -> None:
    panel = writable(hourly(30, week=5.0))
    origins = Origins(np.array([0, 0]), np.array([500, 600]))
    floor = make_floor(name, 24)
    floor.fit_panel(panel.until(np.array([480])))
    before = floor.predict_origins(panel, origins, [80])
    panel.target[600:] = 1e12
    after = floor.predict_origins(panel, origins, [80])
    np.testing.assert_array_equal(before.point, after.point)
    np.testing.assert_array_equal(before.interval[80.0], after.interval[80.0])
    panel.target[500:] = np.nan
    np.testing.assert_array_equal(before.point[0], floor.predict_origins(panel, origins, [80]).point[0])


@pytest.mark.parametrize("name", ["naive", "seasonal_naive"])
def test_forecasts_follow_shift_and_scale(name: str) -> None:
    panel = hourly(30, week=5.0)
    moved = make_panel(pd.DataFrame({"unique_id": "a", "ds": panel.times, "y": 1000 * panel.target - 300}))
    one, other = make_floor(name, 12), make_floor(name, 12)
    one.fit_panel(panel)
    other.fit_panel(moved)
    origins = last_origins(panel, 12)
    expected, got = one.predict_origins(panel, origins, [80]), other.predict_origins(moved, origins, [80])
    np.testing.assert_allclose(got.point, 1000 * expected.point - 300, rtol=1e-12)
    np.testing.assert_allclose(got.interval[80.0], 1000 * np.array(expected.interval[80.0]) - 300, rtol=1e-10)


def test_residual_origins_stay_in_the_second_half_and_within_the_caps() -> None:
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(30), 2000), "ds": np.tile(np.arange(2000), 30), "y": 0.0})
    panel = extend_panel(make_panel(frame), 3)
    origins = residual_origins(panel, 3)
    place = origins.end - panel.offsets[origins.series]
    assert place.min() == 1000
    assert place.max() == 1999
    assert np.bincount(origins.series).tolist() == [400] * 30


def test_one_row_can_be_fitted_and_forecast_without_bands() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": [1], "y": [2.0]}), freq=1)
    floor = make_floor("seasonal_naive", 2)
    floor.fit_panel(panel)
    forecast = floor.predict_origins(extend_panel(panel, 2), Origins(np.array([0]), np.array([1])), [80])
    assert forecast.point.tolist() == [[2, 2]]
    assert np.isnan(forecast.interval[80.0]).all()


def test_whole_number_time_shows_its_season_by_repeating() -> None:
    table = pd.DataFrame({"unique_id": "a", "ds": range(70), "y": [float(i % 7) for i in range(70)]})
    assert Floor("seasonal_naive", 7).fit(table).predict()["seasonal_naive"].tolist() == list(range(7))
    assert Floor("naive", 7).fit(table).predict()["naive"].tolist() == [6.0] * 7
    floor = Floor("seasonal_naive", 7, season_length=1).fit(table)
    assert floor.predict()["seasonal_naive"].tolist() == [6.0] * 7


def test_ridge_reads_the_inputs_a_forecaster_would() -> None:
    rng, parts = np.random.default_rng(5), []
    for number in range(4):
        wind, promo = rng.normal(size=200), rng.normal(size=200)
        y = np.roll(wind, 1) * 3 + promo + 10 * number
        stamps = pd.date_range("2024-01-01", periods=200)
        parts.append(
            pd.DataFrame(
                {"unique_id": f"s{number}", "ds": stamps, "y": y, "wind": wind, "promo": promo, "area": number}
            )
        )
    table = pd.concat(parts)
    plan = table[table["ds"] >= "2024-07-17"][["unique_id", "ds", "promo"]]
    table = table[table["ds"] < "2024-07-17"]
    floor = Floor("ridge", 2, futr_exog_list=["promo"], stat_exog_list=["area"]).fit(table)
    assert floor.inputs == (("promo",), ("wind",), ("area",))
    assert floor.fresh().fit(table).inputs == floor.inputs
    told = floor.predict(futr_df=plan.groupby("unique_id").head(2))
    first = told.groupby("unique_id").first()["ridge"]
    known = table.groupby("unique_id").last()["wind"] * 3 + plan.groupby("unique_id").first()["promo"]
    np.testing.assert_allclose(first - known, [0, 10, 20, 30], atol=0.5)
    for blind in ("naive", "seasonal_naive"):  # what they do not read need not be given
        repeated = Floor(blind, 2, futr_exog_list=["promo"], stat_exog_list=["area"]).fit(table)
        pd.testing.assert_frame_equal(repeated.predict(), repeated.predict(futr_df=plan.groupby("unique_id").head(2)))
    without = Floor("ridge", 2, futr_exog_list=["promo"], hist_exog_list=[]).fit(table)
    assert without.inputs.hist == ()
    assert Floor("naive", 2).fit(table).inputs == ((), (), ())


def test_registry_builds_every_floor_and_refuses_others() -> None:
    assert list(FLOORS) == ["naive", "seasonal_naive", "ridge", "auto_ets", "auto_theta", "auto_arima", "mstl"]
    assert [make_floor(name, 3).name for name in FLOORS] == list(FLOORS)
    assert {make_floor(name, 3).h for name in FLOORS} == {3}
    with pytest.raises(UsageError, match="seasonal_naive"):
        make_floor("prophet", 3)
    with pytest.raises(UsageError, match="horizon"):
        make_floor("naive", 0)
    with pytest.raises(UsageError, match="season"):
        SeasonalNaive(3, season_length=0)


def test_a_floor_names_series_it_has_nothing_to_go_by(caplog: pytest.LogCaptureFixture) -> None:
    steps = np.arange(30)
    whole, none = (
        pd.DataFrame({"unique_id": name, "ds": steps, "y": y}) for name, y in (("a", steps % 5.0), ("b", np.nan))
    )
    found = Floor("naive", 2).fit(pd.concat([whole, none])).predict()
    assert found.loc[found["unique_id"] == "b", "naive"].isna().all()
    assert "1 forecast(s) of naive are NaN, it has nothing to go by: b" in caplog.text
