"""One model of another library on ETTh1: ``python -m benchmarks.peers.measure NAME --data FOLDER --out FILE``.

Runs with the Python of the peers' environment, which does not hold openbook; ``benchmarks.end_to_end`` calls it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.etth1 import INPUT_SIZE, PARTS, TRAIN_END, H, contexts, origins, read_etth1, score, yardstick_ms

# Nothing shown, nothing written, whatever the machine has: the processor.
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
    "devices": 1,
}


class Asked(NamedTuple):
    """How a peer is trained: optimiser steps, seconds after which it is stopped, seed."""

    steps: int
    budget_s: float
    seed: int


class Peer(NamedTuple):
    """A model ready to be trained: ``fit`` sees training rows only, ``predict`` turns contexts [W, T] into [W, H].

    ``settings`` is called after the training and says what the library's defaults were. ``stamps`` fills with the time at
    the end of every step.
    """

    fit: Callable[[], Any]
    predict: Callable[[np.ndarray], np.ndarray]
    settings: Callable[[], dict[str, Any]]
    stamps: list[float]


def make_clock(callback: type, budget_s: float, stamps: list[float]) -> Any:
    """A Lightning callback that stamps every step and ends the training once the budget is spent."""
    begin: list[float] = []  # not on self: libraries copy their callbacks

    class Clock(callback):
        def on_train_start(self, *_: Any) -> None:
            begin.append(time.perf_counter())

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            stamps.append(time.perf_counter())
            if stamps[-1] - begin[0] > budget_s:
                trainer.should_stop = True

    return Clock()


def neuralforecast_model(name: str, train: np.ndarray, asked: Asked) -> Peer:
    """A model of neuralforecast with its defaults."""
    from neuralforecast import NeuralForecast, models
    from pytorch_lightning import Callback

    stamps: list[float] = []
    clock = make_clock(Callback, asked.budget_s, stamps)
    made = getattr(models, name)(
        h=H, input_size=INPUT_SIZE, max_steps=asked.steps, random_seed=asked.seed, callbacks=[clock], **QUIET
    )
    library = NeuralForecast([made], freq=1)

    def frame(series: np.ndarray) -> pd.DataFrame:
        owner, step = np.divmod(np.arange(series.size), series.shape[1])
        return pd.DataFrame({"unique_id": owner, "ds": step, "y": series.ravel()})

    def settings() -> dict[str, Any]:
        shown = ("learning_rate", "windows_batch_size", "scaler_type", "hidden_size", "encoder_hidden_size")
        found = {key: made.hparams[key] for key in shown if key in made.hparams}
        return found | {"loss": type(made.loss).__name__, "parameters": parameters(library.models[0])}

    def predict(known: np.ndarray) -> np.ndarray:
        told = library.predict(df=frame(known)).sort_values(["unique_id", "ds"])
        return told[name].to_numpy().reshape(len(known), H)

    return Peer(lambda: library.fit(frame(train[None]), val_size=0), predict, settings, stamps)


def darts_lstm(train: np.ndarray, asked: Asked) -> Peer:
    """Darts' ``BlockRNNModel`` as an LSTM with its defaults: the last state goes to the whole horizon."""
    from darts import TimeSeries
    from darts.models import BlockRNNModel
    from pytorch_lightning import Callback

    stamps: list[float] = []
    trainer = QUIET | {"max_steps": asked.steps, "callbacks": [make_clock(Callback, asked.budget_s, stamps)]}
    # As many epochs as the steps may need: its default of 100 must not end the training first.
    made = BlockRNNModel(
        input_chunk_length=INPUT_SIZE,
        output_chunk_length=H,
        model="LSTM",
        n_epochs=max(100, asked.steps),
        random_state=asked.seed,
        pl_trainer_kwargs=trainer,
    )

    def series(values: np.ndarray) -> Any:
        return TimeSeries.from_values(values.astype(np.float32))

    def predict(known: np.ndarray) -> np.ndarray:
        return np.stack([told.values()[:, 0] for told in made.predict(H, series=[series(row) for row in known])])

    def settings() -> dict[str, Any]:
        kept = made.model_params
        told = {"hidden_size": kept["hidden_dim"], "layers": kept["n_rnn_layers"], "batch_size": made.batch_size}
        return told | {"loss": type(made.model.criterion).__name__, "parameters": parameters(made.model)}

    return Peer(lambda: made.fit(series(train)), predict, settings, stamps)


def pytorch_forecasting_tft(train: np.ndarray, asked: Asked) -> Peer:
    """pytorch-forecasting's ``TemporalFusionTransformer`` with its defaults."""
    import lightning.pytorch as lightning
    from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet

    lightning.seed_everything(asked.seed, verbose=False)
    stamps: list[float] = []

    def frame(series: np.ndarray) -> pd.DataFrame:
        owner, step = np.divmod(np.arange(series.size), series.shape[1])
        return pd.DataFrame({"series": owner.astype(str), "step": step, "y": series.ravel()})

    data = TimeSeriesDataSet(
        frame(train[None]),
        time_idx="step",
        target="y",
        group_ids=["series"],
        max_encoder_length=INPUT_SIZE,
        max_prediction_length=H,
        time_varying_unknown_reals=["y"],
    )
    made = TemporalFusionTransformer.from_dataset(data)
    loader = data.to_dataloader(train=True)
    clock = make_clock(lightning.Callback, asked.budget_s, stamps)
    trainer = lightning.Trainer(**QUIET, max_steps=asked.steps, callbacks=[clock])

    def predict(known: np.ndarray) -> np.ndarray:
        table = frame(np.concatenate([known, np.zeros((len(known), H))], axis=1))  # the horizon's zeros are not read
        ahead = TimeSeriesDataSet.from_dataset(data, table, predict=True, stop_randomization=True)
        windows = ahead.to_dataloader(train=False, batch_size=256)
        told = made.predict(windows, trainer_kwargs=dict(QUIET), return_index=True)  # it writes into what it is given
        order = told.index["series"].astype(int).to_numpy()
        return told.output.cpu().numpy()[np.argsort(order)]

    def settings() -> dict[str, Any]:
        kept = {key: made.hparams[key] for key in ("learning_rate", "hidden_size")}
        found = {"batch_size": loader.batch_sampler.batch_size, "scaler_type": type(data.target_normalizer).__name__}
        return kept | found | {"loss": type(made.loss).__name__, "parameters": parameters(made)}

    return Peer(lambda: trainer.fit(made, loader), predict, settings, stamps)


def parameters(model: Any) -> int:
    """How many weights a model has."""
    return sum(weight.numel() for weight in model.parameters())


MODELS: dict[str, tuple[str, Callable[[np.ndarray, Asked], Peer]]] = {
    "nf_lstm": ("neuralforecast", lambda train, asked: neuralforecast_model("LSTM", train, asked)),
    "nf_nhits": ("neuralforecast", lambda train, asked: neuralforecast_model("NHITS", train, asked)),
    "nf_patchtst": ("neuralforecast", lambda train, asked: neuralforecast_model("PatchTST", train, asked)),
    "nf_nhits_100": ("neuralforecast", lambda train, asked: neuralforecast_model("NHITS", train, asked)),
    "nf_patchtst_100": ("neuralforecast", lambda train, asked: neuralforecast_model("PatchTST", train, asked)),
    "nf_tft": ("neuralforecast", lambda train, asked: neuralforecast_model("TFT", train, asked)),
    "darts_lstm": ("darts", darts_lstm),
    "pf_tft": ("pytorch-forecasting", pytorch_forecasting_tft),
}

SHORT = 100  # steps of the cases named so: on this series NHITS does better after them than after 300


def versions(library: str) -> dict[str, str]:
    """Versions of what computes in the peers' environment."""
    packages = (library, "torch", "pytorch-lightning", "lightning", "numpy", "pandas")
    return {"python": platform.python_version()} | {package: metadata.version(package) for package in packages}


def measure(name: str, folder: Path, asked: Asked) -> dict[str, Any]:
    """Train one peer on the training rows and score it on the windows of all libraries."""
    library, make = MODELS[name]
    asked = asked._replace(steps=min(asked.steps, SHORT)) if name.endswith(f"_{SHORT}") else asked
    series = read_etth1(folder)
    before = yardstick_ms()
    peer = make(series.standardised[:TRAIN_END], asked)
    begin = time.perf_counter()
    peer.fit()
    fitted = time.perf_counter()
    errors = {}
    for part in PARTS:
        told = peer.predict(contexts(series.standardised, origins(part)))
        errors[f"{part}_mae"] = round(score(told * series.std + series.mean, series.degrees, origins(part)), 4)
    predicted = time.perf_counter()
    taken = np.diff(peer.stamps) if len(peer.stamps) > 1 else [fitted - begin]
    return {
        **errors,
        "steps": len(peer.stamps),
        "asked_steps": asked.steps,
        "budget_s": asked.budget_s,
        "seconds_per_step": round(median(map(float, taken)), 4),
        "seconds_fit": round(fitted - begin, 2),
        "seconds_predict": round(predicted - fitted, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "yardstick_ms": [before, yardstick_ms()],
        "settings": peer.settings(),
        "versions": versions(library),
    }


def main() -> None:
    """Measure one peer and write what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--budget-s", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    told = parser.parse_args()
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    found = measure(told.name, told.data, Asked(told.steps, told.budget_s, told.seed))
    told.out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
