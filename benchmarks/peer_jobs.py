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
from openbook.forecast.budget import BUDGET_S


class Peer(NamedTuple):
    """A model of another library: its name in the tables, and whether it is a network, which has a seed and a time limit."""

    label: str
    network: bool


PEERS = {
    "lightgbm": Peer("mlforecast LightGBM", False),
    **{name.lower(): Peer(f"neuralforecast {name}", True) for name in ("NHITS", "PatchTST", "LSTM")},
}


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
    columns = np.stack([clock.hour + clock.minute / 60, clock.day_of_week, clock.month], axis=1).astype(float)
    return columns[:, np.ptp(columns, axis=0) > 0]


def ask_peer(name: str, job: Job, seed: int | None, threads: int, budget_s: float | None = None) -> PeerForecast:
    """Forecasts of another library, its training given as many seconds as ours; ``PeerFailed`` where it fails."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        handed(job).write(folder / "job.npz")
        words = [name, "--job", folder / "job.npz", "--out", folder, "--seed", seed or 1]
        words += ["--budget-s", budget_s or BUDGET_S]
        call_peer("benchmarks.peers.forecast", words, folder, threads)
        told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
        point = np.load(folder / "point.npy")
    if point.shape != (len(job.origins.end), job.h):
        raise ValueError(f"{name}: forecasts of shape {point.shape}, expected {(len(job.origins.end), job.h)}")
    return PeerForecast(point, told.pop("seconds_fit"), told.pop("seconds_predict"), told)
