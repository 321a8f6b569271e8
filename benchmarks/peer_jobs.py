"""Jobs of the accuracy suites forecast by other libraries: handed over as arrays, done in the peers' environment."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.jobs import Job
from benchmarks.peers.handed import Handed
from benchmarks.peers.launch import call_peer
from openbook.data.panel import Panel


class Peer(NamedTuple):
    """A model of another library: its name in the tables, and whether it has a seed."""

    label: str
    seeded: bool


PEERS = {"lightgbm": Peer("mlforecast LightGBM", False), "nhits": Peer("neuralforecast NHITS", True)}


class PeerForecast(NamedTuple):
    """Forecasts [W, h] in the order of the job's windows, the seconds they took, and what repeats them."""

    point: np.ndarray
    seconds_fit: float
    seconds_predict: float
    told: dict[str, Any]


def handed(job: Job) -> Handed:
    """A job as plain arrays, its calendar as a clock on the wall shows it: hour, weekday and month, where they vary."""
    panel = job.panel
    return Handed(
        target=panel.target,
        known=panel.futr,
        past=panel.hist,
        calendar=calendar(panel),
        offsets=panel.offsets,
        learn=job.learn,
        series=job.origins.series,
        end=job.origins.end,
        h=job.h,
        season=job.season,
        validation=job.validation or 0,
        window=job.input_size or 0,
        squared=job.loss == "mse",
    )


def calendar(panel: Panel) -> np.ndarray:
    """Hour (with its minutes), weekday and month of every row, [R, C]; those that never change are left out."""
    if np.issubdtype(panel.times.dtype, np.integer):
        return np.empty((len(panel.times), 0))
    clock = pd.Series(panel.wall_clock()).dt
    columns = np.stack([clock.hour + clock.minute / 60, clock.dayofweek, clock.month], axis=1).astype(float)
    return columns[:, np.ptp(columns, axis=0) > 0]


def ask_peer(name: str, job: Job, seed: int | None, threads: int) -> PeerForecast:
    """Forecasts of another library; ``PeerFailed`` where it fails."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        handed(job).write(folder / "job.npz")
        words = [name, "--job", folder / "job.npz", "--out", folder, "--seed", seed or 1]
        call_peer("benchmarks.peers.forecast", words, folder, threads)
        told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
        point = np.load(folder / "point.npy")
    if point.shape != (len(job.origins.end), job.h):
        raise ValueError(f"{name}: forecasts of shape {point.shape}, expected {(len(job.origins.end), job.h)}")
    return PeerForecast(point, told.pop("seconds_fit"), told.pop("seconds_predict"), told)
