from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.plots.times import (
    Clock,
    clock_of,
    distance_words,
    distances_in_words,
    span_ticks,
    span_words,
    stamp_label,
    steps_between,
    wall_clock,
)


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
    assert (
        clock_of(pd.Series([3, 4, 5])) == clock_of(pd.Series([0, 24])) == Clock("step")
    )  # of rows apart nothing tells
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


@pytest.mark.parametrize("freq", ["h", "30min", "6h", "D", "W", "MS", "QS", "YS"])
def test_neighbours_are_one_step_apart(freq: str) -> None:
    stamps = pd.Series(pd.date_range("2024-01-01", periods=30, freq=freq))
    clock = clock_of(stamps)
    last = pd.Series([stamps.iloc[-1]] * 30)
    assert steps_between(stamps, last, clock).tolist() == list(range(29, -1, -1))
    assert steps_between(last, stamps, clock).tolist() == list(range(-29, 1))


@pytest.mark.parametrize(
    ("steps", "clock", "words"),
    [
        (3, Clock("hour", 6), "18 hours"),
        (4, Clock("hour", 6), "1 day"),
        (5, Clock("week"), "5 weeks"),
        (5, Clock("month"), "5 months"),
        (4, Clock("quarter"), "1 year"),
        (3, Clock("quarter"), "3 quarters"),
        (24, Clock("month"), "2 years"),
        (1, Clock("step"), "1 step"),
    ],
)
def test_spans_in_words(steps: int, clock: Clock, words: str) -> None:
    assert span_words(steps, clock) == words
    assert span_words(-steps, clock) == words


@pytest.mark.parametrize(
    ("high", "clock", "every"),
    [
        (24, Clock("hour"), 3),
        (336, Clock("hour"), 48),
        (5_000, Clock("hour"), 672),
        (96, Clock("minute", 30), 12),
        (60, Clock("day"), 14),
        (36, Clock("month"), 6),
        (3, Clock("step"), 1),
        (900, Clock("step"), 200),
    ],
)
def test_ticks_are_round(high: int, clock: Clock, every: int) -> None:
    ticks = span_ticks(0, high, clock)
    assert ticks == list(range(0, high + 1, every))
    assert 2 <= len(ticks) <= 9


def test_below_a_day_time_is_counted_and_from_a_day_on_the_wall_clock_is() -> None:
    hours = pd.Series(pd.date_range("2024-10-27 00:00", periods=5, freq="h", tz="Europe/Berlin"))
    last = pd.Series([hours[4]] * 5)
    assert steps_between(hours, last, Clock("hour")).tolist() == [4, 3, 2, 1, 0]
    assert distance_words(hours[2], hours[3], Clock("hour")) == "1 hour before"  # both at 02:00
    days = pd.Series(pd.date_range("2024-10-26", periods=3, freq="D", tz="Europe/Berlin"))
    assert steps_between(days, pd.Series([days[2]] * 3), Clock("day")).tolist() == [2, 1, 0]
    assert distance_words(days[0], days[2], Clock("day")) == "2 days before"


@pytest.mark.parametrize(
    ("freq", "clock"),
    [
        ("D", Clock("day")),
        ("B", Clock("business day")),
        ("2B", Clock("business day", 2)),
        ("10ms", Clock("millisecond", 10)),
        ("250us", Clock("microsecond", 250)),
        ("7D", Clock("week")),
        ("s", Clock("second")),
        ("90s", Clock("second", 90)),
        ("15min", Clock("minute", 15)),
        ("W-SUN", Clock("week")),
        ("6MS", Clock("month", 6, True)),
        ("BME", Clock("month", 1, True)),
        ("QE-DEC", Clock("quarter", 1, True)),
        ("YS-JAN", Clock("year", 1, True)),
    ],
)
def test_a_told_frequency_is_believed_before_the_stamps(freq: str, clock: Clock) -> None:
    weekly = pd.Series(pd.date_range("2024-01-01", periods=5, freq="7D"))
    assert clock_of(weekly, freq) == clock
    assert clock_of(weekly[:1], freq) == clock


@pytest.mark.parametrize("freq", [None, 2, "SMS"])
def test_other_frequencies_leave_it_to_the_stamps(freq: object) -> None:
    assert clock_of(pd.Series(pd.date_range("2024-01-01", periods=5, freq="7D")), freq) == Clock("week")


def test_seconds_are_counted_and_written() -> None:
    stamps = pd.Series(pd.date_range("2025-05-13 14:00:10", periods=3, freq="10s"))
    clock = clock_of(stamps)
    assert clock == Clock("second", 10)
    assert stamp_label(stamps[0], clock) == "Tue 13 May 14:00:10"
    assert distance_words(stamps[0], stamps[2], clock) == "20 seconds before"
    assert span_words(9, clock) == "1 minute 30 seconds"
    assert steps_between(stamps, pd.Series([stamps[2]] * 3), clock).tolist() == [2, 1, 0]
    assert span_ticks(0, 12, clock) == [0, 3, 6, 9, 12]


def test_stamps_below_a_second_are_counted_and_written() -> None:
    stamps = pd.Series(pd.date_range("2025-05-13 14:00:10", periods=150, freq="10ms"))
    clock = clock_of(stamps)
    assert clock == Clock("millisecond", 10)
    assert stamp_label(stamps[2], clock) == "Tue 13 May 14:00:10.020"
    assert distance_words(stamps[0], stamps[101], clock) == "1 second 10 milliseconds before"
    assert span_words(9, clock) == "90 milliseconds"
    assert steps_between(stamps[:3], pd.Series([stamps[2]] * 3), clock).tolist() == [2, 1, 0]
    assert span_ticks(0, 40, clock) == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert stamp_label(pd.Timestamp("2025-05-13 14:00:10.00025"), Clock("microsecond", 250)).endswith("10.000250")


def test_whole_numbers_that_grow_by_ten_are_one_step_apart() -> None:
    stamps = pd.Series([0, 10, 20, 30, 50])
    clock = clock_of(stamps, 10)
    assert clock == clock_of(stamps, "10") == Clock("step", 10)
    assert (clock.noun, clock.per) == ("time step", "step")
    assert stamp_label(30, clock) == "stamp 30"
    assert distance_words(20, 50, clock) == "3 steps before"
    assert steps_between(stamps, pd.Series([50] * 5), clock).tolist() == [5, 4, 3, 2, 0]
    assert span_words(3, clock) == "3 steps"
    assert span_ticks(0, 8, clock) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("freq", ["22675ns", "100ns", "333333ns"])
def test_steps_of_parts_of_a_microsecond_are_counted(freq: str) -> None:
    stamps = pd.Series(pd.date_range("2025-05-13", periods=2000, freq=freq))
    last = pd.Series([stamps.iloc[-1]] * 2000)
    assert steps_between(stamps, last, clock_of(stamps, freq)).tolist() == list(range(1999, -1, -1))


@pytest.mark.parametrize(
    "clock", [Clock("millisecond", 40), Clock("second", 90), Clock("minute", 7), Clock("millisecond", 1500)]
)
def test_short_axes_of_odd_steps_have_ticks(clock: Clock) -> None:
    ticks = span_ticks(1, 17, clock)
    assert 3 <= len(ticks) <= 9
    assert len(set(np.diff(ticks))) == 1


def test_weekends_are_no_steps_of_business_days() -> None:
    stamps = pd.Series(pd.bdate_range("2025-05-01", periods=10))  # from a Thursday
    clock = clock_of(stamps, "B")
    assert steps_between(stamps, pd.Series([stamps[9]] * 10), clock).tolist() == list(range(9, -1, -1))
    assert steps_between(pd.Series([stamps[9]] * 10), stamps, clock).tolist() == list(range(-9, 1))
    assert distance_words(stamps[1], stamps[2], clock) == "1 business day before"  # Friday and Monday
    assert distance_words(stamps[5], stamps[0], clock) == "5 business days after"
    assert distance_words(stamps[0], stamps[4], Clock("business day", 2)) == "4 business days before"
    assert steps_between(stamps[:1], stamps[4:5], Clock("business day", 2)).tolist() == [2]
    assert (span_words(3, clock), stamp_label(stamps[1], clock)) == ("3 business days", "Fri 2 May")


@pytest.mark.parametrize("freq", ["h", "D", "B", "MS"])
def test_distances_told_together_are_those_told_one_by_one(freq: str) -> None:
    stamps = pd.Series(pd.date_range("2024-10-20", periods=20, freq=freq, tz="Europe/Berlin"))
    clock = clock_of(wall_clock(stamps), freq)
    told = distances_in_words(list(stamps[:15]), list(stamps[15:]), clock)
    assert told == [[distance_words(source, target, clock) for source in stamps[:15]] for target in stamps[15:]]
