"""The weights of one forecast as a cube: decoder steps × past stamps × inputs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

ALL_INPUTS = "(all inputs)"


class Cube(NamedTuple):
    """Weights of one forecast: ``weight`` [H, T, F] over targets [H], sources [T] and features [F], rows summing to one."""

    weight: np.ndarray
    targets: pd.Series
    sources: pd.Series
    features: list[str]


def weight_cube(frame: pd.DataFrame) -> Cube:
    """The rows of one forecast's explanation as a cube; cells that are not listed weigh zero."""
    step_ds = frame[["step", "ds"]].drop_duplicates("step").sort_values("step")
    sources = frame["source_ds"].drop_duplicates().sort_values().reset_index(drop=True)
    features = list(dict.fromkeys(frame["feature"].astype(str)))
    weight = np.zeros((len(step_ds), len(sources), len(features)))
    place = (
        pd.Index(step_ds["step"]).get_indexer(frame["step"]),
        pd.Index(sources).get_indexer(frame["source_ds"]),
        pd.Index(features).get_indexer(frame["feature"].astype(str)),
    )
    np.add.at(weight, place, np.nan_to_num(frame["weight"].to_numpy(np.float64)))
    order = np.argsort(-weight.sum((0, 1)), kind="stable")
    return Cube(weight[:, :, order], step_ds["ds"].reset_index(drop=True), sources, [features[i] for i in order])


def evened(cube: Cube, back_T: np.ndarray, segment: int, window: int) -> Cube:
    """The cube of a model that reads in segments, where values are missing: each of a segment's rows gets its even part.

    A segment's weight lies on its observed rows alone, so that few of them look as if they had been looked at most. Here a
    row has the segment's weight over all its steps, and what the days of a long book add to it; what is left over goes to
    all alike, so that sums stay. ``back_T``: steps from each source to the newest one known; segments are counted from there,
    in the newest ``window`` steps. A cube whose rows are not alike within segments is given back as it is.
    """
    weight = cube.weight.copy()
    alike = 0
    groups = [
        np.flatnonzero((back_T // segment == place) & (back_T < window)) for place in range(-(-window // segment))
    ]
    groups = [rows for rows in groups if len(rows) > 1]
    for rows in groups:
        part = cube.weight[:, rows]
        seen = (part > 0).any(0)  # [rows, F]: a row that is not observed weighs nothing in any step
        base = np.where(seen, part, np.inf).min(1, keepdims=True)
        base = np.where(np.isfinite(base), base, 0.0)
        share = seen.sum(0) / segment
        weight[:, rows] = np.where(seen, part - base + base * share, 0.0)
        same = (np.abs(part - base) <= 1e-4 * base) | ~seen
        alike += bool(same.mean() >= 0.5)
    if segment < 2 or not groups or alike < 0.9 * len(groups):
        return cube
    before, after = (values.sum((1, 2), keepdims=True) for values in (cube.weight, weight))
    return cube._replace(weight=weight * np.divide(before, after, out=np.ones_like(before), where=after > 0))
