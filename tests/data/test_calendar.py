from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.data.calendar import calendar_columns, calendar_features, calendar_names
from openbook.errors import UsageError

DAY = 86_400
YEAR = 365.25 * DAY
ALL = calendar_names("h", 3 * YEAR)


def at(stamp: str, *names: str) -> list[float]:
    return calendar_columns(np.array([stamp], "datetime64[ns]"), names)[0].tolist()


@pytest.mark.parametrize(
    ("freq", "days", "cycles"),
    [
        ("h", 800, {"hour": 3, "week": 3, "year": 2}),
        ("30min", 30, {"hour": 3, "week": 3}),
        ("h", 3, {"hour": 3}),
        ("h", 0.5, {}),
        ("6h", 800, {"hour": 2, "week": 3, "year": 2}),
        ("12h", 30, {"hour": 1, "week": 3}),
        ("D", 364, {"week": 3, "year": 2}),
        ("D", 300, {"week": 3}),
        ("B", 100, {"week": 2}),
        ("W", 800, {"year": 2}),
        ("MS", 800, {"year": 2}),
        ("ME", 200, {}),
        ("QS", 8000, {}),
        ("YS", 8000, {}),
        (1, 8000, {}),
    ],
)
def test_names_follow_frequency_and_history(freq: str | int, days: float, cycles: dict[str, int]) -> None:
    expected = tuple(f"{c}_{w}_{k}" for c, most in cycles.items() for k in range(1, most + 1) for w in ("sin", "cos"))
    assert calendar_names(freq, days * DAY) == expected


def test_values_at_known_stamps() -> None:
    # 1 January 2024 was a Monday: every phase is zero.
    assert at("2024-01-01T00:00", *ALL) == [float("cos" in name) for name in ALL]
    names = ("hour_sin_1", "hour_cos_1", "hour_sin_2", "hour_cos_2")
    assert at("2024-05-15T12:00", *names) == pytest.approx([0, -1, 0, 1], abs=1e-7)
    assert at("2024-05-15T01:30", *names) == pytest.approx([*unit(1.5 / 24), *unit(3 / 24)], abs=1e-7)
    week = ("week_sin_1", "week_cos_1", "week_sin_3", "week_cos_3")
    assert at("2024-05-16T12:00", *week) == pytest.approx([0, -1, 0, -1], abs=1e-6)  # Thursday noon: half the week
    assert at("1969-12-29T00:00", *week) == pytest.approx([0, 1, 0, 1], abs=1e-7)  # a Monday before the epoch
    year = ("year_sin_1", "year_cos_1", "year_sin_2", "year_cos_2")
    assert at("2023-07-02T12:00", *year) == pytest.approx([0, -1, 0, 1], abs=1e-6)  # half of 365 days
    assert at("2024-07-02T00:00", *year) == pytest.approx([0, -1, 0, 1], abs=1e-6)  # half of 366 days


def unit(turn: float) -> tuple[float, float]:
    return float(np.sin(2 * np.pi * turn)), float(np.cos(2 * np.pi * turn))


@pytest.mark.parametrize("midnight", ["2024-03-05", "2024-03-04", "2024-01-01", "2023-01-01", "2000-02-29"])
def test_continuous_across_midnight_week_and_year(midnight: str) -> None:
    stamps = np.datetime64(midnight, "ms") + np.array([-1000, 0], "timedelta64[ms]")
    before, after = calendar_columns(stamps, ALL)
    # One second is at most 3 turns a day: a step of 3 * 2 pi / 86 400.
    np.testing.assert_allclose(before, after, atol=3 * 2 * np.pi / DAY + 1e-6)


def test_columns_are_periodic_bounded_and_on_the_unit_circle() -> None:
    times = np.arange("2019-01-01", "2025-01-01", 37, dtype="datetime64[m]")
    values = calendar_columns(times, ALL)
    assert values.dtype == np.float32
    assert values.shape == (len(times), len(ALL))
    assert np.abs(values).max() <= 1
    np.testing.assert_allclose(values[:, ::2] ** 2 + values[:, 1::2] ** 2, 1, atol=1e-6)
    week = [place for place, name in enumerate(ALL) if not name.startswith("year")]
    shifted = calendar_columns(times + np.timedelta64(7, "D"), ALL)
    np.testing.assert_array_equal(values[:, week], shifted[:, week])


def test_features_join_names_and_columns_and_leave_times_alone() -> None:
    times = pd.date_range("2024-01-01", periods=50, freq="h").to_numpy()
    times.flags.writeable = False
    values, names = calendar_features(times, "h", history_seconds=30 * DAY)
    assert names == calendar_names("h", 30 * DAY)
    np.testing.assert_array_equal(values, calendar_columns(times, names))
    picked = calendar_columns(times, ("week_cos_2", "hour_sin_1"))
    np.testing.assert_array_equal(picked, values[:, [names.index("week_cos_2"), names.index("hour_sin_1")]])
    np.testing.assert_array_equal(calendar_columns(times.reshape(5, 10), names), values.reshape(5, 10, -1))


def test_whole_number_time_has_no_columns() -> None:
    values, names = calendar_features(np.arange(4), 1, history_seconds=1e9)
    assert (values.shape, values.dtype, names) == ((4, 0), np.float32, ())


@pytest.mark.parametrize(
    ("times", "name", "code"),
    [
        (np.arange(3), "hour_sin_1", "no_calendar"),
        (np.zeros(3, "datetime64[ns]"), "hour_sin_4", "unknown_calendar_column"),
        (np.zeros(3, "datetime64[ns]"), "moon", "unknown_calendar_column"),
    ],
)
def test_refusals(times: np.ndarray, name: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        calendar_columns(times, (name,))
    assert caught.value.code == code
