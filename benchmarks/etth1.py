"""The protocol on ETTh1 that every library follows: same rows, same windows, same score.

Only numpy, pandas and torch are used: this file runs in our environment and in the peers'.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd

FILE = "ETTh1.parquet"
INPUT_SIZE, H = 336, 24
STRIDE = 24  # every 24th window of a part: each of its hours is forecast once
TRAIN_END, VALIDATION_END, TEST_END = 8640, 11520, 14400
PARTS = {"validation": (TRAIN_END, VALIDATION_END), "test": (VALIDATION_END, TEST_END)}


class Series(NamedTuple):
    """Oil temperature in °C by the hour, [R], and mean and standard deviation of its training rows."""

    stamps: np.ndarray
    degrees: np.ndarray
    mean: float
    std: float

    @property
    def standardised(self) -> np.ndarray:
        """The series in standard deviations of the training rows."""
        return (self.degrees - self.mean) / self.std


def make_series(stamps: np.ndarray, degrees: np.ndarray) -> Series:
    """The rows of the three parts; mean and deviation come from the training rows alone."""
    if len(degrees) < TEST_END:
        raise ValueError(f"expected at least {TEST_END} rows, got {len(degrees)}")
    degrees = degrees[:TEST_END].astype(np.float64)
    return Series(stamps[:TEST_END], degrees, float(degrees[:TRAIN_END].mean()), float(degrees[:TRAIN_END].std()))


def read_etth1(folder: Path) -> Series:
    """``OT`` alone."""
    frame = pd.read_parquet(folder / FILE, columns=["ds", "OT"])
    return make_series(frame["ds"].to_numpy(), frame["OT"].to_numpy())


def origins(part: str) -> np.ndarray:
    """First horizon rows [W] of a part's windows. Their contexts may reach back before the part, no horizon leaves it.

    >>> origins("validation")[[0, -1]].tolist(), len(origins("test"))
    ([8640, 11496], 120)
    """
    begin, end = PARTS[part]
    return np.arange(begin, end - H + 1, STRIDE)


def contexts(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """What is known before each of the windows, [W, T].

    >>> contexts(np.arange(400.0), np.array([336, 340]))[:, [0, -1]].tolist()
    [[0.0, 335.0], [4.0, 339.0]]
    """
    return values[first[:, None] + np.arange(-INPUT_SIZE, 0)]


def score(told: np.ndarray, degrees: np.ndarray, first: np.ndarray) -> float:
    """Mean absolute error in °C of forecasts [W, H] in °C; refuses forecasts of another size or that are not finite."""
    truth = degrees[first[:, None] + np.arange(H)]
    if told.shape != truth.shape or not np.isfinite(told).all():
        raise ValueError(f"expected {truth.shape} finite forecasts, got {told.shape}, {np.isfinite(told).sum()} finite")
    return float(np.abs(told - truth).mean())


def yardstick_ms() -> float:
    """How free the machine is: milliseconds for a product of two matrices, the middle of 21."""
    import torch

    matrix = torch.ones(1024, 1024)
    taken = []
    for _ in range(24):
        begin = time.perf_counter()
        matrix @ matrix
        taken.append(time.perf_counter() - begin)
    return round(1e3 * median(taken[3:]), 2)
