"""Another library's forecasts of a suite's windows: ``python -m benchmarks.peers.forecast NAME --job FILE --out FOLDER``.

Runs with the Python of the peers' environment, which does not hold openbook; ``benchmarks.accuracy`` calls it. Every window
is handed to the library as a series of its own that ends where the forecast begins, so that all are forecast at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.peers.handed import Handed, held_back, read_handed
from benchmarks.peers.measure import QUIET, make_clock

BACK = 10  # newest rows of every past-only input that trees are given
_CELLS = 4_000_000  # rows of windows told to a library at once


class Given(NamedTuple):
    """The seed of a network, and the seconds after which its training is stopped."""

    seed: int
    budget_s: float


class Told(NamedTuple):
    """Forecasts [W, h], seconds of learning (choices included) and of forecasting, and how it was set up."""

    point: np.ndarray
    seconds_fit: float
    seconds_predict: float
    settings: dict[str, Any]


def carried(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Missing values [R] as the last one before them, never across series; zero where there is none.

    >>> carried(np.array([np.nan, 1.0, np.nan, np.nan]), np.array([0, 3, 4]))
    array([0., 1., 1., 0.])
    """
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    return pd.Series(values).groupby(owner).ffill().fillna(0.0).to_numpy()


def shifted(values: np.ndarray, offsets: np.ndarray, steps: int) -> np.ndarray:
    """Inputs [R, P] as they were ``steps`` rows ago, NaN before a series begins.

    >>> shifted(np.array([[1.0], [2.0], [3.0]]), np.array([0, 2, 3]), 1).ravel()
    array([nan,  1., nan])
    """
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    found = np.full_like(values, np.nan)
    found[steps:] = values[:-steps]
    found[steps:][owner[steps:] != owner[:-steps]] = np.nan
    return found


def inputs_of(job: Handed, back: int) -> np.ndarray:
    """All that is known of every row at any time of its horizon: known inputs, calendar, and past ones a horizon ago."""
    steps = range(job.h, job.h + back) if job.past.shape[1] else ()
    return np.concatenate([job.known, job.calendar, *(shifted(job.past, job.offsets, step) for step in steps)], axis=1)


def table(target: np.ndarray, inputs: np.ndarray, begin: np.ndarray, end: np.ndarray, zero: np.ndarray) -> pd.DataFrame:
    """Rows ``begin`` to ``end`` [M] as one series each, told apart by number; stamps count from the rows ``zero`` [M].

    >>> table(np.array([5.0, 6.0, 7.0]), np.zeros((3, 0)), np.array([0, 1]), np.array([2, 3]), np.array([2, 3])).to_numpy()
    array([[ 0., -2.,  5.],
           [ 0., -1.,  6.],
           [ 1., -2.,  6.],
           [ 1., -1.,  7.]])
    """
    lengths = end - begin
    owner = np.repeat(np.arange(len(begin)), lengths)
    rows = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + begin[owner]
    frame = pd.DataFrame({"unique_id": owner, "ds": rows - zero[owner], "y": target[rows]})
    return frame.join(pd.DataFrame(inputs[rows], columns=names_of(inputs)))


def names_of(inputs: np.ndarray) -> list[str]:
    """Names for the columns of inputs [R, X]."""
    return [f"x{column}" for column in range(inputs.shape[1])]


def pieces(job: Handed, length: int) -> Iterator[slice]:
    """Windows in pieces of a bounded number of rows."""
    size = max(1, _CELLS // (length + job.h))
    for first in range(0, len(job.end), size):
        yield slice(first, min(first + size, len(job.end)))


def whole(job: Handed) -> bool:
    """Whether every series is forecast once: all of it may be told then, and each may have a scale of its own."""
    return len(job.end) == len(np.unique(job.series)) > 1


class Trees:
    """LightGBM by mlforecast: lags of the target, inputs and calendar; one step's forecasts are read by the next."""

    def __init__(self, job: Handed, change: str, trees: int) -> None:
        from lightgbm import LGBMRegressor
        from mlforecast import MLForecast
        from mlforecast.target_transforms import Differences, LocalStandardScaler

        period = changes_of(job)[change]
        transforms: list[Any] = [Differences([period])] if period else []
        if whole(job):
            transforms.append(LocalStandardScaler())
        lags = lags_of(job, period)
        self.length = max(lags) + period
        self.settings = {"target less": change, "trees": trees, "lags": lags, "window": self.length}
        made = LGBMRegressor(
            objective="l2" if job.squared else "l1",
            n_estimators=trees,
            learning_rate=0.1 if trees <= 100 else 0.05,
            n_jobs=int(os.environ["OMP_NUM_THREADS"]),
            random_state=1,
            verbosity=-1,
        )
        self.library = MLForecast(models={"lgb": made}, freq=1, lags=lags, target_transforms=transforms)

    def fit(self, job: Handed, inputs: np.ndarray) -> None:
        """Learn from the rows that may be learned from; rows without an observed target teach nothing."""
        first, last = job.offsets[:-1], job.offsets[:-1] + job.learn
        frame = table(carried(job.target, job.offsets), inputs, first, last, first)
        made = self.library.preprocess(frame, static_features=[], dropna=False)
        row = first[made["unique_id"].to_numpy()] + made["ds"].to_numpy()
        taught = (
            (made["ds"] >= self.length).to_numpy() & np.isfinite(job.target[row]) & np.isfinite(made["y"].to_numpy())
        )
        self.library.fit_models(made.loc[taught, self.library.ts.features_order_], made.loc[taught, "y"].to_numpy())

    def predict(self, job: Handed, inputs: np.ndarray) -> np.ndarray:
        """All windows, [W, h]."""
        target, found = carried(job.target, job.offsets), []
        for piece in pieces(job, self.length):
            end, owner = job.end[piece], job.series[piece]
            begin = job.offsets[owner] if whole(job) else np.maximum(end - self.length, job.offsets[owner])
            known = table(target, inputs, begin, end, end)
            ahead = table(target, inputs, end, end + job.h, end).drop(columns="y")
            told = self.library.predict(job.h, new_df=known, X_df=ahead if inputs.shape[1] else None)
            found.append(told.sort_values(["unique_id", "ds"])["lgb"].to_numpy().reshape(-1, job.h))
        return np.concatenate(found)


def changes_of(job: Handed) -> dict[str, int]:
    """What can be taken off a value before trees learn it, and how many rows back that is, where the window leaves lags."""
    found = {"level": 0, "last value": 1} | ({"season": job.season} if job.season > 1 else {})
    return {change: period for change, period in found.items() if lags_of(job, period)}


def lags_of(job: Handed, period: int) -> list[int]:
    """Every step of a season (or the ten newest), and the same hour of the six seasons before.

    With the ``period`` rows that differences reach back they stay within the protocol's window.
    """
    near = range(1, (job.season if 1 < job.season <= 48 else BACK) + 1)
    far = [job.season * back for back in range(2, 8)] if job.season > 1 else []
    most = job.window - period if job.window else max(near[-1], *far, 1)
    return [lag for lag in dict.fromkeys([*near, job.season, *far]) if lag <= min(most, int(job.learn.min()) // 3)]


def lightgbm(job: Handed, given: Given) -> Told:
    """Trees with what validation prefers: levels, or differences to the last value or season; then 100 trees or 500."""
    del given  # nothing is drawn, and all trees are grown
    begin, inputs, earlier = time.perf_counter(), inputs_of(job, BACK), held_back(job)

    def error(change: str, trees: int) -> float:
        model = Trees(earlier, change, trees)
        model.fit(earlier, inputs)
        off = model.predict(earlier, inputs) - job.target[earlier.end[:, None] + np.arange(job.h)]
        return float(np.nanmean(off**2 if job.squared else np.abs(off)))

    errors = {(change, 100): error(change, 100) for change in changes_of(job)}
    change = min(errors, key=lambda tried: errors[tried])[0]
    errors[change, 500] = error(change, 500)
    model = Trees(job, *min(errors, key=lambda tried: errors[tried]))
    model.fit(job, inputs)
    fitted = time.perf_counter()
    point = model.predict(job, inputs)
    tried = {f"{change}, {trees} trees": round(value, 5) for (change, trees), value in errors.items()}
    return Told(point, fitted - begin, time.perf_counter() - fitted, model.settings | {"validation": tried})


def network(name: str) -> Callable[[Handed, Given], Told]:
    """A network of neuralforecast as it is, but for windows scaled one by one, the suite's kind of error and a time limit.

    It is given the inputs that its kind can read: PatchTST reads the target alone.
    """

    def forecast(job: Handed, given: Given) -> Told:
        import torch
        from neuralforecast import NeuralForecast, models
        from neuralforecast.losses.pytorch import MAE, MSE
        from pytorch_lightning import Callback

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        begin, kind, stamps = time.perf_counter(), getattr(models, name), list[float]()
        length = job.window or min(max(7 * job.season, 2 * job.h), int(job.learn.min()) // 2)
        ahead = [job.known, job.calendar] if kind.EXOGENOUS_FUTR else []
        inputs = np.concatenate([*ahead, *([job.past] if kind.EXOGENOUS_HIST else []), job.past[:, :0]], axis=1)
        inputs = np.stack([carried(column, job.offsets) for column in inputs.T], axis=1) if inputs.size else inputs
        names, first_past = names_of(inputs), sum(part.shape[1] for part in ahead)
        told_of = {"futr_exog_list": names[:first_past], "hist_exog_list": names[first_past:]}
        made = kind(
            h=job.h,
            input_size=length,
            loss=MSE() if job.squared else MAE(),
            scaler_type="standard",
            random_seed=given.seed,
            callbacks=[make_clock(Callback, given.budget_s, stamps)],
            **{role: columns for role, columns in told_of.items() if columns},
            **QUIET,
        )
        library, target = NeuralForecast([made], freq=1), carried(job.target, job.offsets)
        first, last = job.offsets[:-1], job.offsets[:-1] + job.learn
        seen = np.isfinite(table(job.target, inputs[:, :0], first, last, first)["y"])
        library.fit(table(target, inputs, first, last, first).assign(available_mask=seen.astype(float)), val_size=0)
        fitted, found = time.perf_counter(), []
        for piece in pieces(job, length):
            end, owner = job.end[piece], job.series[piece]
            known = table(target, inputs, np.maximum(end - length, job.offsets[owner]), end, end)
            after = table(target, inputs, end, end + job.h, end)[["unique_id", "ds", *names[:first_past]]]
            told = library.predict(df=known, futr_df=after if first_past else None)
            found.append(told.sort_values(["unique_id", "ds"])[name].to_numpy().reshape(-1, job.h))
        settings = {
            "window": length,
            "steps": len(stamps),
            "steps by default": made.hparams["max_steps"],
            "learning rate": made.hparams["learning_rate"],
        }
        return Told(np.concatenate(found), fitted - begin, time.perf_counter() - fitted, settings)

    return forecast


_NETWORKS = ("neuralforecast", "torch", "pytorch-lightning")
PEERS: dict[str, tuple[tuple[str, ...], Callable[[Handed, Given], Told]]] = {
    "lightgbm": (("mlforecast", "lightgbm"), lightgbm),
    "nhits": (_NETWORKS, network("NHITS")),
    "patchtst": (_NETWORKS, network("PatchTST")),
    "lstm": (_NETWORKS, network("LSTM")),
}


def main() -> None:
    """Forecast one job: ``point.npy`` [W, h] and ``told.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of what was found")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--budget-s", type=float, required=True)
    asked = parser.parse_args()
    libraries, forecast = PEERS[asked.name]
    found = forecast(read_handed(asked.job), Given(asked.seed, asked.budget_s))
    versions = {library: metadata.version(library) for library in (*libraries, "numpy", "pandas")}
    told = {
        "seconds_fit": round(found.seconds_fit, 2),
        "seconds_predict": round(found.seconds_predict, 2),
        "settings": found.settings,
        "versions": {"python": platform.python_version()} | versions,
    }
    np.save(asked.out / "point.npy", found.point)
    (asked.out / "told.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
