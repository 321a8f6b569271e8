from __future__ import annotations

import pandas as pd
import pytest

from openbook.plots.times import Clock, clock_of, distance_words, stamp_label


@pytest.mark.parametrize(
    ("freq", "unit", "multiple"),
    [
        ("h", "hour", 1),
        ("30min", "minute", 30),
        ("6h", "hour", 6),
        ("D", "day", 1),
        ("W", "week", 1),
        ("MS", "month", 1),
        ("QS", "quarter", 1),
        ("YS", "year", 1),
    ],
)
def test_clock_reads_the_common_step(freq: str, unit: str, multiple: int) -> None:
    clock = clock_of(pd.Series(pd.date_range("2024-01-01", periods=9, freq=freq)))
    assert (clock.unit, clock.multiple) == (unit, multiple)


def test_whole_numbers_are_steps() -> None:
    assert clock_of(pd.Series([3, 4, 5])) == Clock("step")
    assert stamp_label(4, Clock("step")) == "step 4"


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("hour", "Tue 13 May 14:00"),
        ("day", "Tue 13 May"),
        ("week", "13 May"),
        ("month", "May 2025"),
        ("quarter", "2025 Q2"),
        ("year", "2025"),
    ],
)
def test_labels(unit: str, words: str) -> None:
    assert stamp_label(pd.Timestamp("2025-05-13 14:00"), Clock(unit)) == words


@pytest.mark.parametrize(
    ("source", "unit", "words"),
    [
        ("2025-05-13 13:00", "hour", "1 hour before"),
        ("2025-05-12 13:00", "hour", "25 hours before"),
        ("2025-05-12 14:00", "hour", "1 day before"),
        ("2025-05-10 13:30", "minute", "3 days 30 minutes before"),
        ("2025-05-13 14:00", "hour", "the same stamp"),
        ("2025-05-13 16:00", "hour", "2 hours after"),
        ("2025-04-29 14:00", "week", "2 weeks before"),
        ("2024-05-13 14:00", "month", "12 months before"),
        ("2024-05-13 14:00", "quarter", "4 quarters before"),
        ("2024-04-13 14:00", "quarter", "13 months before"),
        ("2024-05-13 14:00", "year", "1 year before"),
    ],
)
def test_distances(source: str, unit: str, words: str) -> None:
    assert distance_words(pd.Timestamp(source), pd.Timestamp("2025-05-13 14:00"), Clock(unit)) == words
