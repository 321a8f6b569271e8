"""Scores of forecasts over all windows of a test part, summed up chunk by chunk: nothing of a size with all windows is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import numpy as np

from openbook.forecast.origins import PanelForecast

Sums = dict[str, tuple[np.ndarray, np.ndarray]]
LEVELS = (80.0, 95.0)
_QUANTILES = ((80.0, 0, 0.1), (80.0, 1, 0.9))

# What a limit that is met or missed leaves open.
NEAR, ALONE = "; within two deviations of the limit", "; one seed"


def pinball(truth: np.ndarray, told: np.ndarray, quantile: float) -> np.ndarray:
    """The quantile loss of every cell.

    >>> pinball(np.array([2.0, 0.0]), np.array([1.0, 1.0]), 0.9)
    array([0.9, 0.1])
    """
    error = truth - told
    return np.maximum(quantile * error, (quantile - 1) * error)


def cells(truth: np.ndarray, told: PanelForecast) -> dict[str, np.ndarray]:
    """Every score of every cell [W, h]; NaN where the truth, the forecast or what the score divides by is missing."""
    error, size = np.abs(told.point - truth), np.abs(truth)
    both = size + np.abs(told.point)
    seen = np.isfinite(error)
    found = {
        "mse": error**2,
        "mae": error,
        "mape": np.divide(error, size, out=np.full_like(error, np.nan), where=seen & (size > 0)),
        "smape": np.divide(2 * error, both, out=np.where(seen, 0.0, np.nan), where=seen & (both > 0)),
        "size": np.where(seen, size, np.nan),
        "missing": np.where(np.isfinite(truth), np.isnan(told.point), np.nan),
    }
    for level, (low, high) in told.interval.items():
        inside = ((truth >= low) & (truth <= high)).astype(float)
        found[f"coverage_{level:g}"] = np.where(seen & np.isfinite(low), inside, np.nan)
    if 80.0 in told.interval:
        edges = [pinball(truth, told.interval[level][side], quantile) for level, side, quantile in _QUANTILES]
        found["pinball"] = (edges[0] + edges[1] + pinball(truth, told.point, 0.5)) / 3
    return found


def summed(scores: Mapping[str, np.ndarray], series: np.ndarray, n_series: int) -> Sums:
    """Sum and count of the known cells of every score, by series [N]."""

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(series, weights=values.sum(1), minlength=n_series)

    return {
        name: (total(np.where(np.isfinite(value), value, 0.0)), total(np.isfinite(value).astype(float)))
        for name, value in scores.items()
    }


def added(one: Sums, other: Sums) -> Sums:
    """The sums of two chunks together."""
    if not one or not other:
        return one or other
    return {name: (one[name][0] + other[name][0], one[name][1] + other[name][1]) for name in one}


def finished(sums: Sums, scale: np.ndarray) -> dict[str, float]:
    """Means over all cells; ``mase`` over series, each by its own ``scale`` [N]. Percentages are 0..100, shares 0..1.

    mape leaves out cells whose truth is zero, smape is 200 |e| / (|y| + |f|) as the M4 competition defined it, pinball the
    mean over the quantiles 0.1, 0.5 (the point forecast) and 0.9.
    """
    mean = {name: float(total.sum() / count.sum()) for name, (total, count) in sums.items() if count.sum() > 0}
    total, count = sums["mae"]
    size = float(sums["size"][0].sum())
    by_series = np.divide(total, count * scale, out=np.full(len(total), np.nan), where=(count > 0) & (scale > 0))
    found = {name: value for name, value in mean.items() if name not in ("size", "mape", "smape")}
    found |= {name: 100 * mean[name] for name in ("mape", "smape") if name in mean}
    found["rmse"] = float(np.sqrt(mean["mse"]))
    if size > 0:
        found["wape"] = 100 * float(total.sum()) / size
    if np.isfinite(by_series).any():
        found["mase"] = float(np.nanmean(by_series))
    return found


def tied(values: Sequence[float], best: Sequence[float]) -> bool:
    """Whether the mean is less than two standard deviations (the larger ones) behind the best one's, or not behind it.

    >>> tied([1.0, 1.2], [0.9, 1.0]), tied([1.4, 1.5], [0.9, 1.0]), tied([1.0], [0.9])
    (True, False, False)
    """
    behind = fmean(values) - fmean(best)
    return behind <= 0 or behind < 2 * max(stdev(each) if len(each) > 1 else 0.0 for each in (values, best))


def doubt(values: Sequence[float], limit: float) -> str:
    """What keeps the mean from telling on which side of a limit a model is; empty where nothing does.

    >>> doubt([1.0, 1.2], 1.2), doubt([1.0], 1.2), doubt([1.0, 1.01], 1.2)
    ('; within two deviations of the limit', '; one seed', '')
    """
    if len(values) < 2:
        return ALONE if values else ""
    return NEAR if abs(fmean(values) - limit) < 2 * stdev(values) else ""


def late_exponent(runs: Sequence[Mapping[str, Any]], model: str) -> str:
    """The power of T that a model's step grows with between the two longest books, where what every step costs counts least.

    >>> late_exponent([{"speed": {"luong": {"ms": {"200": 9.0, "1000": 10.0, "2000": 40.0}}}}], "luong")
    '(2.00 from T 1,000 on)'
    """
    told, middle = [], 0
    for run in runs:
        times = {int(length): ms for length, ms in run["speed"].get(model, {}).get("ms", {}).items()}
        if len(times) > 2:
            *_, middle, last = sorted(times)
            told.append(math.log(times[last] / times[middle]) / math.log(last / middle))
    return f"({fmean(told):.2f} from T {middle:,} on)" if told else ""
