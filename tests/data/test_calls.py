from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from openbook.data.calls import SimulatedCalls, simulate_calls
from openbook.data.panel import make_panel
from openbook.errors import UsageError

LAGS = np.arange(1, 337)


@pytest.fixture(scope="module")
def calls() -> SimulatedCalls:
    return simulate_calls()


def centres(calls: SimulatedCalls) -> list[pd.DataFrame]:
    return [rows.reset_index(drop=True) for _, rows in calls.frame.groupby("unique_id", sort=False)]


def unusual(rows: pd.DataFrame) -> np.ndarray:
    """Calls against the usual ones of that hour of the week, in shares of the mean; missing hours count as usual."""
    hour_of_week = rows["ds"].dt.day_of_week * 24 + rows["ds"].dt.hour
    rest = rows["y"] - rows["y"].groupby(hour_of_week).transform("mean")
    return (rest / rows["y"].mean()).fillna(0).to_numpy()


def lagged_correlation(rest: np.ndarray, cause: np.ndarray) -> np.ndarray:
    return np.array([np.corrcoef(rest[lag:], cause[:-lag])[0, 1] for lag in LAGS])


def test_equal_arguments_give_equal_bits_and_seeds_differ(calls: SimulatedCalls) -> None:
    again = simulate_calls()
    pd.testing.assert_frame_equal(calls.frame, again.frame, check_exact=True)
    pd.testing.assert_frame_equal(calls.truth.components, again.truth.components, check_exact=True)
    other = simulate_calls(seed=2, days=30).frame
    short = simulate_calls(days=30).frame
    for column in ("y", "temperature", "mailing", "noise_1", "noise_2"):
        assert not np.array_equal(other[column], short[column], equal_nan=True)


def test_a_centre_depends_neither_on_other_centres_nor_on_noise_columns() -> None:
    many = simulate_calls(days=60, n_centres=10, noise_columns=3).frame
    few = simulate_calls(days=60, n_centres=2, noise_columns=0).frame
    assert many["unique_id"].nunique() == 10
    assert many.columns[-1] == "noise_3"
    assert few.columns[-1] == "mailing"
    pd.testing.assert_frame_equal(many.iloc[: len(few)][few.columns], few)


def test_frame_is_a_regular_hourly_table_that_says_it_is_simulated(calls: SimulatedCalls) -> None:
    frame = calls.frame
    assert list(frame.columns) == [
        *("unique_id", "ds", "y", "holiday", "temperature", "mailing", "noise_1", "noise_2"),
    ]
    assert "SIMULATED" in frame.attrs["notes"]
    assert "SIMULATED" in str(simulate_calls.__doc__)
    panel = make_panel(frame, futr=["holiday", "temperature"], hist=["mailing", "noise_1", "noise_2"])
    assert panel.freq == "h"
    assert panel.ids.tolist() == ["Busan", "Daegu", "Seoul"]
    assert panel.lengths.tolist() == [730 * 24] * 3
    assert frame.drop(columns="y").notna().all().all()
    assert frame["ds"].iloc[0] == pd.Timestamp("2023-01-02")


def test_calls_are_counts_with_few_missing_hours_single_and_in_runs(calls: SimulatedCalls) -> None:
    for rows in centres(calls):
        y = rows["y"].dropna()
        assert (y >= 0).all()
        assert (y == y.round()).all()
        missing = rows["y"].isna()
        assert 0.003 < missing.mean() < 0.03
        runs = missing.groupby((~missing).cumsum()).sum()
        assert (runs == 1).sum() >= 10
        assert (runs >= 3).sum() >= 3
    means = calls.frame.groupby("unique_id", sort=False)["y"].mean()
    assert means.is_monotonic_increasing
    assert means.iloc[2] > 4 * means.iloc[0]


@pytest.mark.parametrize("lag", [52, 31])
def test_the_planted_lag_is_found_in_the_data(lag: int) -> None:
    for rows in centres(simulate_calls(campaign_lag=lag)):
        found = lagged_correlation(unusual(rows), rows["mailing"].to_numpy())
        assert LAGS[found.argmax()] == lag
        assert found.max() > 0.15
        elsewhere = np.abs(found[np.abs(lag - LAGS) > 1])
        assert elsewhere.max() < found.max() / 3


def test_the_kernel_is_what_mailings_add(calls: SimulatedCalls) -> None:
    truth = calls.truth
    assert truth.kernel == {51: 0.25, 52: 0.5, 53: 0.25}
    components = truth.components
    for name, rows in calls.frame.groupby("unique_id", sort=False):
        campaign = components.loc[components["unique_id"] == name, "campaign"].to_numpy()
        mailing = rows["mailing"].to_numpy()
        shape = sum(share * np.roll(mailing, at) for at, share in truth.kernel.items())
        level = (
            campaign[60:][shape[60:] > 0] / shape[60:][shape[60:] > 0] / truth.effects["campaign_share_per_thousand"]
        )
        usual = rows["y"].mean()
        assert campaign[:51].max() == 0
        assert np.all(campaign[60:][shape[60:] == 0] == 0)
        np.testing.assert_allclose(level / usual, 1, atol=0.25)  # the trend moves it by up to 15 % a year
        sent = np.flatnonzero(mailing[:-60])
        alone = sent[[np.sum((sent > at - 3) & (sent < at + 3)) == 1 for at in sent]]
        peak = campaign[alone + 52] / usual
        assert 0.3 < peak.min()
        assert peak.max() < 1.3


def test_mailings_are_rare_irregular_and_arrive_at_all_hours(calls: SimulatedCalls) -> None:
    for rows in centres(calls):
        sent = rows[rows["mailing"] > 0]
        weekly = rows.groupby(np.arange(len(rows)) // 168)["mailing"].agg(lambda week: (week > 0).sum())
        assert set(weekly.iloc[:-1]) == {1, 2, 3}
        assert sent["mailing"].between(8, 20).all()
        assert sent["ds"].dt.hour.nunique() >= 22
        assert sent["ds"].dt.day_of_week.nunique() == 7


def test_arrivals_stand_out_at_night(calls: SimulatedCalls) -> None:
    components = calls.truth.components
    night = components["ds"].dt.hour.isin([0, 1, 2, 3, 4]) & (components["campaign"] > 0)
    assert night.sum() > 100
    assert (components.loc[night, "campaign"] > 0.5 * components.loc[night, "base"]).mean() > 0.9


def test_noise_columns_tell_nothing(calls: SimulatedCalls) -> None:
    for rows in centres(calls):
        for column in calls.truth.inputs_that_are_noise:
            # Four standard errors of a correlation of 17 520 white hours are 0.03; the memory of both sides doubles it.
            assert np.abs(lagged_correlation(unusual(rows), rows[column].to_numpy())).max() < 0.1
        expected = calls.truth.components.query("unique_id == @rows.unique_id[0]")[["base", "campaign"]].sum(axis=1)
        # Three standard errors at the same hour, given memories of 0.9 and 0.7 on the two sides.
        assert rows[["noise_1", "noise_2"]].corrwith(rows["y"] / expected.to_numpy()).abs().max() < 0.05
        assert rows["noise_1"].autocorr(1) == pytest.approx(0.9, abs=0.02)
        assert rows["noise_2"].autocorr(1) == pytest.approx(0.0, abs=0.04)
        assert rows[["noise_1", "noise_2"]].std().tolist() == pytest.approx([1, 1], abs=0.1)


def test_planted_rhythm_holidays_and_temperature(calls: SimulatedCalls) -> None:
    rows = calls.frame.merge(calls.truth.components, on=["unique_id", "ds"])
    rows["share"] = rows["base"] / rows.groupby("unique_id")["base"].transform("mean")
    day = rows["ds"].dt.day_of_week
    noon = rows["ds"].dt.hour.between(9, 17)
    plain = rows["holiday"] == 0
    by_day = rows[plain].groupby(day)["share"].mean()
    assert by_day.idxmax() == 0
    assert by_day.idxmin() == 6
    assert rows.loc[noon, "share"].mean() > 5 * rows.loc[rows["ds"].dt.hour < 6, "share"].mean()
    weekday_holiday = rows[~plain & (day < 5)]["share"].mean()
    assert weekday_holiday == pytest.approx(by_day[6], rel=0.1)
    assert 20 <= rows[~plain]["ds"].dt.normalize().nunique() <= 28
    # New Year's Day 2024 is followed by a Tuesday with more calls than the Tuesday after.
    daily = rows.groupby(rows["ds"].dt.date)["share"].mean()
    ratio = daily[pd.Timestamp("2024-01-02").date()] / daily[pd.Timestamp("2024-01-09").date()]
    assert ratio == pytest.approx(1.25, rel=0.12)
    usual = rows["share"] / rows.groupby([day, rows["ds"].dt.hour, "holiday"])["share"].transform("median")
    mild = usual[rows["temperature"].between(4, 22)].mean()
    assert usual[rows["temperature"] > 30].mean() > 1.05 * mild
    assert usual[rows["temperature"] < -5].mean() > 1.05 * mild


def test_truth_is_frozen_and_lists_the_cells_to_look_at(calls: SimulatedCalls) -> None:
    truth = calls.truth
    cells = set(zip(truth.cells["feature"], truth.cells["lag"], strict=True))
    assert {("y", 24), ("y", 168), ("mailing", 52), ("holiday", 0), ("temperature", 0)} <= cells
    assert (truth.daily_lag, truth.weekly_lag, truth.campaign_lag) == (24, 168, 52)
    assert {*truth.inputs_that_matter, *truth.inputs_that_are_noise} == set(calls.frame.columns[3:])
    assert dataclasses.asdict(truth)["kernel"] == truth.kernel
    with pytest.raises(dataclasses.FrozenInstanceError):
        truth.campaign_lag = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ({"seed": -1}, "out_of_range"),
        ({"n_centres": 0}, "out_of_range"),
        ({"days": 0}, "out_of_range"),
        ({"campaign_lag": 1}, "out_of_range"),
        ({"noise_columns": -1}, "out_of_range"),
        ({"start": "tomorrow"}, "bad_start"),
        ({"start": ""}, "bad_start"),
    ],
)
def test_refusals(argument: dict[str, object], code: str) -> None:
    with pytest.raises(UsageError) as caught:
        simulate_calls(**argument)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert next(iter(argument)) in str(caught.value)


def test_a_lag_longer_than_the_record_adds_nothing() -> None:
    assert simulate_calls(days=1, campaign_lag=52).truth.components["campaign"].max() == 0
