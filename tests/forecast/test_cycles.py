"""Cycles found in the data alone, at lags that are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.data.panel import make_panel
from openbook.forecast.cycles import find_cycle


def found(*series: np.ndarray) -> int:
    """The lag of series of whole-number time, 1 where none is clear."""
    tables = [pd.DataFrame({"unique_id": i, "ds": range(len(y)), "y": y}) for i, y in enumerate(series)]
    lag, strength = find_cycle(make_panel(pd.concat(tables)))
    return lag if strength > 0.3 else 1


def wave(lag: int, seed: int, *, length: int = 1500, noise: float = 1.0) -> np.ndarray:
    around = np.random.default_rng(seed).normal(0, noise, length)
    return 3 * np.sin(2 * np.pi * (np.arange(length) + 0.3) / lag) + around


@pytest.mark.parametrize("lag", [2, 3, 5, 7, 11, 24, 25, 30, 96])
@pytest.mark.parametrize("noise", [0.2, 0.5, 1.0])
def test_a_cycle_is_found_under_noise_and_not_its_double(lag: int, noise: float) -> None:
    assert [found(wave(lag, seed, noise=noise)) for seed in range(5)] == [lag] * 5


@pytest.mark.parametrize("day", [24, 96])
def test_two_tides_of_one_day_differ(day: int) -> None:
    place = 2 * np.pi * np.arange(1500) / day
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(0, 0.3, 1500)
        assert found(np.sin(place) + 1.3 * np.sin(2 * place) + noise) == day
        assert found(1.3 * np.sin(2 * place) + noise) == day // 2
    assert found(np.sin(place) + 1.3 * np.sin(2 * place)) == day


def test_rounding_is_no_cycle() -> None:
    assert found(0.1 * np.arange(600)) == found(1e6 + 0.1 * np.arange(600)) == 1


def test_cycles_are_found_beside_a_trend_gaps_and_other_series() -> None:
    grown = wave(24, 1) + 0.01 * np.arange(1500)
    grown[100:130] = np.nan
    assert found(grown) == 24
    assert found(wave(24, 1, length=400), np.zeros(400), wave(24, 2, length=400)) == 24


@pytest.mark.parametrize("length", [2, 3, 5, 8, 300, 1500])
def test_what_wanders_or_is_noise_has_no_cycle(length: int) -> None:
    for seed in range(10):
        steps = np.random.default_rng(seed).normal(size=length)
        if length > 8:  # of a few rows chance makes cycles
            assert found(steps) == found(steps.cumsum()) == found(steps + 0.01 * np.arange(length)) == 1
        assert 1 <= find_cycle(make_panel(pd.DataFrame({"unique_id": 0, "ds": range(length), "y": steps})))[0] <= length
    assert found(np.zeros(length)) == found(np.full(length, np.nan)) == 1
