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
