"""Anomalies: planted spikes are found, nothing helps to rebuild itself, thresholds against known distributions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.data.panel import make_panel
from openbook.errors import DataError, UsageError
from openbook.forecast.anomalies import Anomalies, _scores, peaks_over_threshold
from openbook.forecast.forecaster import Forecaster

SPIKES = (150, 301, 402)
HOLE = 200


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Two series of a daily rhythm with noise; the first has three spikes and a hole."""
    rng = np.random.default_rng(5)
    hour = np.arange(24 * 25)
    parts = []
    for name, level in (("a", 50.0), ("b", 5.0)):
        y = level * (2 + np.sin(2 * np.pi * hour / 24)) + level * 0.05 * rng.normal(size=len(hour))
        parts.append(
            pd.DataFrame({"unique_id": name, "ds": pd.Timestamp("2024-03-01") + pd.to_timedelta(hour, "h"), "y": y})
        )
    frame = pd.concat(parts, ignore_index=True)
    frame.loc[list(SPIKES), "y"] += 100.0
    frame.loc[HOLE, "y"] = np.nan
    return frame


@pytest.fixture(scope="module")
def model(table: pd.DataFrame) -> Forecaster:
    config = ob.DayToDayConfig(hidden_size=16, gaps=(1, 7), mode="reconstruct")
    return Forecaster(24, model=config, train=ob.TrainConfig(max_steps=150, val_every=50)).fit(table)


@pytest.fixture(scope="module")
def found(model: Forecaster, table: pd.DataFrame) -> Anomalies:
    return model.anomalies(table)


def test_planted_spikes_come_first(found: Anomalies, table: pd.DataFrame) -> None:
    first = found.found().head(3)
    assert set(first["ds"]) == set(table.loc[list(SPIKES), "ds"])
    assert set(first["unique_id"]) == {"a"}
    assert first["by_quantile"].all()


def test_every_stamp_has_a_row_and_scores_where_something_is_known(found: Anomalies, table: pd.DataFrame) -> None:
    frame = found.frame
    assert list(frame.columns) == [
        "unique_id", "ds", "y", "expected", "score", "rebuilt_from", "by_quantile", "by_peaks",
    ]  # fmt: skip
    assert len(frame) == len(table)
    hour = frame.groupby("unique_id").cumcount()
    hole = (frame["unique_id"] == "a") & (hour == HOLE)
    assert frame.loc[hole, "expected"].notna().all()
    assert (frame["score"].isna() == ((hour < 24) | hole)).all()
    assert frame.loc[hour < 24, "rebuilt_from"].isna().all()


def test_rebuilt_from_is_the_same_hour_of_a_configured_day(found: Anomalies) -> None:
    seen = found.frame.dropna(subset=["rebuilt_from"])
    distance = (seen["ds"] - seen["rebuilt_from"]) / pd.Timedelta(days=1)
    assert set(distance.unique()) <= {0.0, 1.0, 7.0}


def test_a_stamp_does_not_help_to_rebuild_itself(model: Forecaster, table: pd.DataFrame, found: Anomalies) -> None:
    moved = table.copy()
    last = 24 * 25 - 1  # nothing later is rebuilt from it
    moved.loc[last, "y"] += 1e3
    again = model.anomalies(moved).frame
    assert again.loc[last, "expected"] == found.frame.loc[last, "expected"]
    assert again.loc[last, "score"] > found.frame.loc[last, "score"]


def test_thresholds_are_what_they_say(found: Anomalies) -> None:
    score = found.frame["score"].dropna()
    assert found.quantile_threshold == pytest.approx(score.quantile(0.995))
    assert found.frame["by_quantile"].sum() == (score > found.quantile_threshold).sum()
    assert found.frame["by_peaks"].sum() == (score > found.peaks_threshold).sum()


@pytest.mark.parametrize(("shape", "exact"), [(0.0, -np.log(1e-4)), (0.25, (1e-4**-0.25 - 1) / 0.25)])
def test_peaks_extrapolate_known_tails(shape: float, exact: float) -> None:
    uniform = np.random.default_rng(1).uniform(size=200_000)
    draws = -np.log(uniform) if shape == 0 else (uniform**-shape - 1) / shape
    assert peaks_over_threshold(draws, 1e-4) == pytest.approx(exact, rel=0.08)


def test_few_or_equal_peaks_take_the_largest_score() -> None:
    assert peaks_over_threshold(np.arange(20.0), 1e-3) == 19.0
    draws = np.random.default_rng(0).exponential(size=50)
    assert peaks_over_threshold(draws[:49], 1e-3) == draws[:49].max()
    assert peaks_over_threshold(draws, 1e-3) > draws.max()
    assert peaks_over_threshold(np.repeat([1.0, 9.0], [2000, 30]), 1e-3) == 9.0


@pytest.mark.parametrize("n", [100, 200, 450])
def test_a_stamp_far_out_of_a_short_table_is_beyond_its_peaks(n: int) -> None:
    """With 450 scores nine lie above the 98 % quantile: the largest score was the threshold, which nothing exceeds."""
    scores = np.random.default_rng(0).exponential(size=n)
    assert scores.max() < peaks_over_threshold(scores, 1e-4) < 30
    scores[n // 2] = 190.0
    assert peaks_over_threshold(scores, 1e-3) < 190.0


def test_other_models_bad_shares_and_short_tables_are_refused(model: Forecaster, table: pd.DataFrame) -> None:
    plain = Forecaster(24, model=ob.DayToDayConfig(gaps=(1,)), train=ob.TrainConfig(max_steps=2)).fit(table)
    with pytest.raises(UsageError, match="reconstruct"):
        plain.anomalies(table)
    with pytest.raises(UsageError, match="between 0 and 1"):
        model.anomalies(table, quantile=99.5)
    with pytest.raises(DataError, match="at least 24 rows"):
        model.anomalies(table.groupby("unique_id").head(20))


def test_a_reconstruction_also_forecasts_from_past_days(model: Forecaster, table: pd.DataFrame) -> None:
    forecast = model.predict(level=[80])
    usual = table.groupby("unique_id")["y"].mean()
    error = (
        forecast["DayToDay"] - np.tile(table["y"].iloc[24:48], 2) * forecast["unique_id"].map(usual) / usual["a"]
    ).abs()
    assert (error < forecast["unique_id"].map(usual) * 0.3).mean() > 0.9


def test_it_survives_saving(model: Forecaster, table: pd.DataFrame, found: Anomalies, tmp_path: object) -> None:
    loaded = ob.load(model.save(f"{tmp_path}/days.ob"))
    pd.testing.assert_frame_equal(loaded.anomalies(table).frame, found.frame)


def test_polars_in_polars_out(model: Forecaster, table: pd.DataFrame, found: Anomalies) -> None:
    told = model.anomalies(pl.from_pandas(table))
    assert isinstance(told.frame, pl.DataFrame)
    assert isinstance(told.found(), pl.DataFrame)
    assert told.found()["score"].to_list() == found.found()["score"].tolist()


def test_a_period_after_a_long_outage_is_not_scored(model: Forecaster, table: pd.DataFrame) -> None:
    """With nothing observed in its whole window a day has no level: it must not drown what is odd."""
    dark = table.copy()
    dark.loc[24 * 14 : 24 * 22 - 1, "y"] = np.nan  # longer than the window of seven days
    found = model.anomalies(dark)
    back = found.frame.loc[24 * 22 : 24 * 23 - 1]
    assert back["score"].isna().all()
    assert found.quantile_threshold < 100


def test_a_risk_within_the_body_is_a_quantile() -> None:
    assert peaks_over_threshold(np.arange(101.0), 0.3) == pytest.approx(70.0)
    assert peaks_over_threshold(np.arange(40.0), 0.3) == 39.0  # which nothing exceeds


def test_before_any_past_day_nothing_is_scored_and_sources_of_whole_numbers_are_whole(table: pd.DataFrame) -> None:
    """Scored from the second day on, by a model that had always had the day of a week ago."""
    counted = table[table["unique_id"] == "b"].assign(ds=np.arange(24 * 25))
    config = ob.DayToDayConfig(hidden_size=8, gaps=(7,), mode="reconstruct")
    model = Forecaster(24, model=config, season_length=24, train=ob.TrainConfig(max_steps=10)).fit(counted)
    frame = model.anomalies(counted).frame
    assert (frame["score"].isna() == (frame["ds"] < 7 * 24)).all()
    assert frame["rebuilt_from"].dtype == "Int64"
    assert frame["rebuilt_from"].notna().sum() == 18 * 24


def test_a_band_much_narrower_than_usual_does_not_blow_a_rounding_up() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(5), "y": [1.0, -1.0, 2.0, 0.001, 0.0]}))
    half = np.array([1.0, 1.0, 1.0, 1e-6, 1.0])
    scores = _scores(panel, np.stack([-half, np.zeros(5), half], axis=1))
    np.testing.assert_allclose(scores, [1.0, 1.0, 2.0, 0.01, 0.0])


def test_what_never_moved_has_nothing_to_find() -> None:
    """Errors of rounding, in units of a band as narrow, had taken all marks."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(size=200), np.zeros(200)])
    panel = make_panel(pd.DataFrame({"unique_id": np.repeat(["a", "still"], 200), "ds": [*range(200)] * 2, "y": y}))
    off = np.concatenate([np.zeros(200), 1e-5 * rng.normal(size=200)])
    scores = _scores(panel, off[:, None] + np.repeat([1.0, 1e-6], 200)[:, None] * np.array([-1.0, 0.0, 1.0]))
    assert (scores[200:] == 0).all()
    moved = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(4), "y": [1.0, 2.0, 2.0, 2.0]}))
    band = np.array(
        [[np.nan] * 3, *[[1.0, 1.5, 2.0]] * 3]
    )  # nothing is told of its first stamp, at which it was another
    np.testing.assert_array_equal(_scores(moved, band), [np.nan, 1.0, 1.0, 1.0])
    np.testing.assert_allclose(scores[:200], np.abs(y[:200]))


@pytest.mark.parametrize("still", [0.0, 0.6, 0.95])
def test_without_bands_the_unit_is_that_of_the_stamps_at_which_a_series_moves(still: float) -> None:
    rng, n = np.random.default_rng(0), 400
    rests = np.arange(n) >= n * (1 - still)
    y = np.where(rests, 0.0, 10 + rng.normal(size=n))
    expected = np.where(rests, 1e-4 * rng.normal(size=n), 10.0)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(n), "y": y}))
    scores = _scores(panel, np.repeat(expected[:, None], 3, axis=1))
    if still < 0.9:
        assert np.median(scores[~rests]) == pytest.approx(1.0, abs=0.05)
    else:
        assert np.median(scores) == pytest.approx(1.0), "what hardly ever moves is measured by its rest"
