"""Frequencies: inferred with gaps, laid on grids, walked into the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.data.frequency import (
    check_freq,
    future_times,
    grid_gaps,
    infer_freq,
    regular_grid,
    same_freq,
    season_length,
    step_seconds,
)
from openbook.errors import DataError, UsageError

FREQS = ["s", "15min", "30min", "h", "2h", "6h", "D", "2D", "W-SUN", "W-WED", "14D", "B", "MS", "ME", "2MS", "6MS"]
FREQS += ["QS-JAN", "QS-FEB", "QE-DEC", "YS-JAN", "YS-APR", "YE-DEC", "BME", "28D"]
# The same calendar under another anchor.
SAME = {"QS-APR": "QS-JAN", "QE-MAR": "QE-DEC"}


def _stamps(freq: str, periods: int = 40, start: str = "2001-01-01") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=periods, freq=freq)


def _infer(times: pd.DatetimeIndex | list[int]) -> object:
    return infer_freq(pd.Series(["a"] * len(times)), pd.Series(times))


@pytest.mark.parametrize("freq", FREQS)
@pytest.mark.parametrize("clock", ["00:00", "13:00"])
def test_inferred_with_and_without_gaps(freq: str, clock: str) -> None:
    times = _stamps(freq) + pd.Timedelta(clock + ":00")
    for kept in (times, times.delete([3, 4, 17, 30])):
        found = _infer(kept)
        assert SAME.get(str(found), found) == freq


@settings(max_examples=60, deadline=None)
@given(freq=st.sampled_from(FREQS), data=st.data())
def test_grid_restores_what_was_dropped(freq: str, data: st.DataObject) -> None:
    times = _stamps(freq, 30)
    dropped = data.draw(st.sets(st.integers(1, 28), max_size=9))
    kept = times.delete(sorted(dropped))
    frame = pd.DataFrame({"unique_id": "a", "ds": kept, "y": np.arange(30.0)[~np.isin(np.arange(30), list(dropped))]})
    full = regular_grid(frame.sample(frac=1, random_state=1), freq, "unique_id", "ds")
    assert full["ds"].tolist() == times.tolist()
    assert np.flatnonzero(full["y"].isna()).tolist() == sorted(dropped)
    assert full["y"].dropna().tolist() == frame["y"].tolist()


@pytest.mark.parametrize("freq", FREQS)
def test_the_future_continues_the_grid(freq: str) -> None:
    times = _stamps(freq, 12)
    ahead = future_times(times[[4, 8, 4]].to_numpy(), freq, 3)
    assert ahead.shape == (3, 3)
    assert ahead[0].tolist() == times[5:8].to_numpy("datetime64[ns]").tolist()
    assert ahead[1].tolist() == times[9:12].to_numpy("datetime64[ns]").tolist()
    assert ahead[2].tolist() == ahead[0].tolist()


@pytest.mark.parametrize(("step", "freq"), [(1, 1), (2, 2), (3600, 3600)])
def test_whole_number_time(step: int, freq: int) -> None:
    assert _infer([step * place for place in (0, 1, 2, 5, 6, 7)]) == freq
    assert future_times(np.array([10]), freq, 2).tolist() == [[10 + freq, 10 + 2 * freq]]


def test_a_week_on_different_days_is_seven_days() -> None:
    ids = pd.Series(["a"] * 9 + ["b"] * 9)
    times = pd.Series([*_stamps("W-SUN", 9), *_stamps("W-MON", 9)])
    assert infer_freq(ids, times) == "7D"


def test_days_without_weekends_are_business_days_only_when_weekends_were_passed() -> None:
    assert _infer(_stamps("B", 20)) == "B"
    assert _infer(pd.date_range("2024-01-01", periods=5)) == "D"
    assert _infer(pd.date_range("2024-01-01", periods=20)) == "D"


def test_short_series_follow_the_others() -> None:
    ids = pd.Series(["a"] * 20 + ["b"] * 2)
    times = pd.Series([*_stamps("D", 20), pd.Timestamp("2001-01-01"), pd.Timestamp("2001-01-04")])
    assert infer_freq(ids, times) == "D"


def test_series_of_different_frequencies_are_refused() -> None:
    ids = pd.Series(["a"] * 30 + ["b"] * 20)
    times = pd.Series([*_stamps("D", 30), *_stamps("MS", 20)])
    with pytest.raises(DataError) as caught:
        infer_freq(ids, times)
    assert caught.value.code == "mixed_frequencies"
    assert "'a' and 'b'" in caught.value.where
    assert "a month" in caught.value.got


def test_irregular_stamps_have_no_frequency() -> None:
    rng = np.random.default_rng(3)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(rng.integers(1, 10**6, 200)), unit="s")
    with pytest.raises(DataError) as caught:
        _infer(times)
    assert caught.value.code == "no_frequency"


def test_months_on_the_fifteenth_are_refused_with_a_way_out() -> None:
    with pytest.raises(DataError, match="to_period") as caught:
        _infer(_stamps("MS") + pd.Timedelta(days=14))
    assert caught.value.code == "no_frequency"


def test_single_points_have_no_frequency() -> None:
    with pytest.raises(DataError) as caught:
        infer_freq(pd.Series(["a", "b"]), pd.Series([1, 2]))
    assert caught.value.code == "one_point_per_series"


def test_every_series_keeps_its_own_phase() -> None:
    quarter = pd.Timedelta(minutes=30)
    frame = pd.DataFrame(
        {"unique_id": ["a"] * 3 + ["b"] * 3, "ds": [*_stamps("h", 3), *(_stamps("h", 3) + quarter)], "y": range(6)}
    )
    assert len(regular_grid(frame, "h", "unique_id", "ds")) == 6
    even = pd.DataFrame(
        {
            "unique_id": ["a", "a", "b", "b"],
            "ds": pd.to_datetime(["2024-01-01", "2024-03-01", "2024-02-01", "2024-04-01"]),
        }
    )
    assert len(regular_grid(even, "2MS", "unique_id", "ds")) == 4


def test_stamps_between_grid_points_are_refused() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": [*_stamps("h", 5), pd.Timestamp("2001-01-01 02:30")], "y": 1.0})
    with pytest.raises(DataError, match="1 stamp") as caught:
        regular_grid(frame, "h", "unique_id", "ds")
    assert caught.value.code == "mixed_frequencies"
    assert "2001-01-01 02:30" in caught.value.where


def test_a_single_wrong_stamp_does_not_fill_memory() -> None:
    times = [pd.Timestamp("1970-01-01"), *_stamps("min", 50, "2024-01-01")]
    frame = pd.DataFrame({"unique_id": "a", "ds": times, "y": 1.0})
    with pytest.raises(DataError) as caught:
        regular_grid(frame, "min", "unique_id", "ds")
    assert caught.value.code == "mostly_gaps"


def test_gaps_are_counted_within_series() -> None:
    before, on_grid = grid_gaps(np.array(["a", "a", "a", "b", "b"]), np.array([1, 2, 5, 1, 7]), 2)
    assert on_grid.tolist() == [True, False, True, True, True]
    assert before.tolist() == [0, 0, 1, 0, 2]


@pytest.mark.parametrize(
    ("freq", "dated", "expected"),
    [
        ("H", True, "h"),
        ("15T", True, "15min"),
        ("M", True, "ME"),
        ("Q-MAR", True, "QE-MAR"),
        ("D", True, "D"),
        ("3", False, 3),
    ],
)
def test_spellings(freq: str, dated: bool, expected: object) -> None:
    assert check_freq(freq, dated=dated) == expected


@pytest.mark.parametrize(
    ("freq", "dated"), [("zz", True), ("", True), (1, True), ("-1h", True), ("h", False), (0, False)]
)
def test_frequencies_that_do_not_fit(freq: object, dated: bool) -> None:
    with pytest.raises(UsageError) as caught:
        check_freq(freq, dated=dated)  # type: ignore[arg-type]
    assert caught.value.code == "bad_frequency"
    assert repr(freq) in str(caught.value)


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        *[
            ("s", 60),
            ("min", 1440),
            ("10min", 144),
            ("h", 24),
            ("6h", 4),
            ("D", 7),
            ("B", 5),
            ("W-SUN", 52),
            ("2D", 7),
            ("3D", 7),
            ("5D", 7),
            ("5h", 24),
            ("7h", 24),
            ("45min", 32),
            ("11min", 131),
            ("50min", 29),
            ("17h", 1),
            ("MS", 12),
        ],
        *[("BME", 12), ("QE-DEC", 4), ("6MS", 2), ("YS-JAN", 1), (1, 1)],
    ],
)
def test_seasons(freq: str | int, season: int) -> None:
    assert season_length(freq) == season


def test_step_seconds() -> None:
    assert step_seconds("15min") == 900
    assert step_seconds("W-MON") == 7 * 86_400
    assert step_seconds("MS") == pytest.approx(365 / 12 * 86_400)
    assert step_seconds(5) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *[("h", "H", True), ("H", "60min", True), ("D", "24h", True), ("7D", "W", False), ("W", "W-SUN", True)],
        *[
            ("W-MON", "W-SUN", False),
            ("MS", "ME", False),
            ("M", "ME", True),
            ("Q", "QE-DEC", True),
            ("QS", "3MS", False),
        ],
        *[
            ("QS-JAN", "QS-APR", True),
            ("QS-JAN", "QS-FEB", False),
            ("QE-DEC", "QS-DEC", False),
            ("YS", "YS-FEB", False),
        ],
        *[("h", "D", False), ("B", "D", False), ("D", "MS", False), ("MS", "D", False)],
        *[(1, 1, True), (1, 2, False), ("1", 1, True), (1, "D", False), ("D", 1, False)],
    ],
)
def test_frequencies_are_compared_by_their_steps(one: str | int, other: str | int, same: bool) -> None:
    assert same_freq(one, other) is same
    assert same_freq(other, one) is same


def test_only_known_frequencies_are_compared() -> None:
    with pytest.raises(UsageError, match="zz"):
        same_freq("D", "zz")
