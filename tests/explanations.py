"""Makes explanations with known weights, one for every kind of model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from openbook.forecast.explanation import Explanation
from openbook.plots.cube import ALL_INPUTS

FEATURES = ("calls", "<b>holiday</b>", "temperature outside the old town hall")


def make_explanation(
    axis: str, *, series: int = 4, per: int = 3, h: int = 6, T: int = 48, shift: int = 0
) -> Explanation:
    """Hourly forecasts: every step looks most one day back; the first window misses its oldest ten hours."""
    rng = np.random.default_rng(4)
    W, F = series * per, len(FEATURES)
    stamps = pd.date_range("2025-01-06", periods=T + h * (per + 1), freq="h").to_numpy()
    end = np.tile(T + h * np.arange(per), series)
    lag_HT = T - np.arange(T) + np.arange(h)[:, None] - shift
    inside_WT = np.ones((W, T), bool)
    inside_WT[0, :10] = False
    score = 4.0 * (lag_HT == 24) + 0.3 * rng.normal(size=(W, h, T))
    alpha = beta = None
    features, memory = FEATURES, np.zeros((W, h))
    if axis == "two_stage":
        alpha = _shares(np.linspace(1, -1, F) + 0.3 * rng.normal(size=(W, T, F)), inside_WT[..., None])
        past = 0.3 * rng.normal(size=(W, T - 1, T))
        beta = _shares(np.concatenate([past, score], axis=1), inside_WT[:, None])
        weight = beta[:, -h:, :, None] * alpha[:, None]
    elif axis == "gaps":
        weight, features = np.zeros((W, h, T, 1)), (ALL_INPUTS,)
        for step in range(h):
            weight[:, step, [T - 48 + step, T - 24 + step], 0] = (0.25, 0.75)
    else:
        weight = _shares(score, inside_WT[:, None])[..., None] * np.array([0.5, 0.3, 0.2])
        memory = np.full((W, h), 0.2)
    ids = np.repeat([f"centre {number}" for number in range(series)], per).astype(object)
    source_ds = stamps[end[:, None] + np.arange(-T, 0) + shift]
    ds = stamps[end[:, None] + np.arange(h)]
    found = (ids, stamps[end - 1], ds, source_ds, inside_WT, weight, memory, features, ("unique_id", "ds"))
    name = {"two_stage": "darnn", "gaps": "day_to_day"}.get(axis, "luong")
    return Explanation(name, axis, *found, alpha, beta, shift)


def _shares(score: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weight = np.exp(score) * mask
    return weight / np.maximum(weight.sum(-1, keepdims=True), 1e-30)
