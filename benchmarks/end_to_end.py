"""Whole trainings on ETTh1, other libraries' and ours: ``python -m benchmarks.end_to_end [--case NAME] [--seed N]``.

Peers run in the environment of ``make bench-peers`` with their defaults, for 300 steps; NHITS and PatchTST for 100 as well:
NHITS does better then on this series. Ours are ``openbook``, all its decisions taken
within ten seconds, and ``luong`` with its defaults, early stopping on the last rows of the training part included; how soon
``luong`` is as good as each peer is told by scoring the same validation windows while it trains, outside its time. Results
that exist are kept, so an interrupted run goes on where it stopped; on a machine that others use too, measure all anew in
one run (``--force``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.optim.swa_utils import AveragedModel

from benchmarks.etth1 import FILE, INPUT_SIZE, PARTS, TRAIN_END, H, Series, origins, read_etth1, score, yardstick_ms
from benchmarks.peers.launch import ABSENT, PEERS_PYTHON, PeerFailed, call_peer, environment
from benchmarks.reach import Scored
from benchmarks.record import DATA, RESULTS, THREADS, write_result
from openbook.data.panel import Panel, make_panel
from openbook.forecast.forecaster import Forecaster
from openbook.forecast.learn import laid_out
from openbook.forecast.origins import Origins
from openbook.forecast.setup import Asked, Setup, set_up
from openbook.models.registry import build_model, make_config
from openbook.training.loop import TrainConfig, index_to, moving_average, train_model
from openbook.windows.sampler import WindowIndex, batches, gather, make_resident, split_windows

PEERS = ("nf_lstm", "nf_nhits", "nf_patchtst", "nf_nhits_100", "nf_patchtst_100", "nf_tft", "darts_lstm", "pf_tft")
OURS = ("luong", "openbook")
OPENBOOK_S = 10.0
SEEDS = (1, 2, 3)
EVERY = 25
STEPS, BUDGET_S = 300, 2700.0
PREFIX = "etth1"


class Watch:
    """A training's clock, stopped while the moving average of the weights, which is what is kept, is scored."""

    def __init__(self, model: torch.nn.Module, decay: float, judge: Callable[[torch.nn.Module], float]) -> None:
        self.model, self.judge = model, judge
        self.average = AveragedModel(model, multi_avg_fn=moving_average(decay))
        self.curve: list[Scored] = []
        self.seconds, self.begin = 0.0, time.perf_counter()

    def __call__(self, step: int, max_steps: int, _: float | None) -> None:
        self.seconds += time.perf_counter() - self.begin
        self.average.update_parameters(self.model)
        if step % EVERY == 0 or step == max_steps:
            self.curve.append(Scored(round(self.seconds, 3), step, round(self.judge(self.average.module), 4)))
        self.begin = time.perf_counter()


def panel_of(series: Series, end: int) -> Panel:
    """The first ``end`` rows as a panel."""
    return make_panel(pd.DataFrame({"unique_id": "OT", "ds": series.stamps[:end], "y": series.degrees[:end]}))


@torch.no_grad()
def forecast(model: torch.nn.Module, panel: Panel, made: Setup, first: np.ndarray) -> np.ndarray:
    """Medians in °C, [W, H]."""
    model.eval()
    resident, parts = make_resident(panel, made.layout, made.columns), []
    for piece in batches(WindowIndex(np.zeros_like(first), first), made.shape.windows_at_once()):
        batch = gather(resident, *index_to(piece, torch.device("cpu")), made.windows)
        median_BH1 = model(batch).quantile_BHMQ[..., made.shape.median].double()
        parts.append((median_BH1 * batch.scale_BM[:, None] + batch.location_BM[:, None])[..., 0].numpy())
    return np.concatenate(parts)


def train_luong(series: Series, seed: int, train: TrainConfig) -> tuple[dict[str, Any], torch.nn.Module]:
    """What ``Forecaster(24, model="luong", input_size=336, seed=seed).fit`` does with the training rows, watched.

    Scores, and the model.

    The trained panel ends where validation begins. Seconds count everything from the table on, the library's own
    validation on the last training rows too, but not the scoring here.
    """
    whole = panel_of(series, len(series.degrees))

    def judge(model: torch.nn.Module, part: str = "validation") -> float:
        return score(forecast(model, whole, made, origins(part)), series.degrees, origins(part))

    before, begin = yardstick_ms(), time.perf_counter()
    panel = panel_of(series, TRAIN_END)
    asked = Asked(H, make_config("luong"), None, INPUT_SIZE, None, train.loss, "y")
    made = set_up(panel, asked, lambda _, decision: decision.value)
    split = split_windows(panel, made.windows, validation_size=train.validation_size)
    model = build_model(made.config, made.shape, seed)
    resident = laid_out(panel, made, split, train.loss)
    watch = Watch(model, train.averaging, judge)
    watch.begin = begin
    told = {"shape": made.shape, "config": train, "seed": seed, "progress": watch}
    history = train_model(model, resident, split, made.windows, **told)
    found = {
        **{f"{part}_mae": round(judge(model, part), 4) for part in PARTS},
        "steps": history.steps,
        "kept_step": history.best_step,
        "stopped_by": history.stopped_by,
        "skipped": len(history.skipped),
        "seconds_fit": round(watch.seconds, 2),
        "seconds_per_step": round(watch.seconds / history.steps, 4),
        "scaling": made.windows.scaling,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "yardstick_ms": [before, yardstick_ms()],
        "curve": watch.curve,
    }
    return found, model


def train_openbook(series: Series, seed: int, train: TrainConfig) -> dict[str, Any]:
    """What ``Forecaster(24, input_size=336, seed=seed).fit`` does with the training rows, decisions and choice included."""
    whole, before = panel_of(series, len(series.degrees)), yardstick_ms()
    model = Forecaster(H, input_size=INPUT_SIZE, seed=seed, train=train)
    begin = time.perf_counter()
    model.fit_panel(panel_of(series, TRAIN_END))
    seconds = time.perf_counter() - begin
    scores = {}
    for part in PARTS:
        first = origins(part)
        told = model.predict_origins(whole, Origins(np.zeros_like(first), first), ()).point
        scores[f"{part}_mae"] = round(score(told, series.degrees, first), 4)
    history = model.training_
    assert history is not None
    return {
        **scores,
        "steps": history.steps,
        "kept_step": history.best_step,
        "stopped_by": history.stopped_by,
        "seconds_fit": round(seconds, 2),
        "seconds_per_step": round(history.seconds / history.steps, 4),
        "scaling": model.decisions["scaling"].value,
        "forecast": model.decisions["forecast"].value,
        **{name: model.decisions[name].value for name in ("book", "skip_window") if name in model.decisions},
        "parameters": sum(weight.numel() for weight in model.fitted().model.parameters()),
        "yardstick_ms": [before, yardstick_ms()],
    }


def run_ours(name: str, seed: int) -> dict[str, Any]:
    """Ours in this process."""
    torch.set_num_threads(THREADS)
    series = read_etth1(DATA)
    if name == "openbook":
        return train_openbook(series, seed, TrainConfig(budget_s=OPENBOOK_S))
    return train_luong(series, seed, TrainConfig())[0]


def run_peer(name: str, seed: int, steps: int, budget_s: float) -> dict[str, Any]:
    """A peer in a process of its environment, whose working folder is a temporary one."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        told = {"--data": DATA.resolve(), "--out": out, "--steps": steps, "--budget-s": budget_s, "--seed": seed}
        try:
            call_peer(
                "benchmarks.peers.measure", [name, *(w for pair in told.items() for w in pair)], Path(folder), THREADS
            )
        except PeerFailed as failure:
            return {"failed": str(failure)}
        return json.loads(out.read_text(encoding="utf-8"))


def not_possible(name: str) -> str | None:
    """Why a case can not be measured here; None where it can."""
    if not (DATA / FILE).is_file():
        return f"no {FILE} in the data folder"
    if name in PEERS and not PEERS_PYTHON.exists():
        return ABSENT
    return None


def measure(name: str, seed: int, told: argparse.Namespace) -> None:
    """One case with one seed, in a process of its own as every other."""
    key = f"{PREFIX}_{name}-{seed}"
    if (told.out / f"{key}.json").exists() and not told.force:
        print(f"{key}: kept")
        return
    changed = [f"--{key} {value:g}" for key, value, usual in _limits(told) if value != usual and name in PEERS]
    command = " ".join([f"python -m benchmarks.end_to_end --case {name} --seed {seed}", *changed])
    found = run_peer(name, seed, told.steps, told.budget_s) if name in PEERS else run_ours(name, seed)
    if "failed" in found:
        print(f"{key}: failed, {found['failed']}", flush=True)
        return
    write_result(key, {"command": command, "seed": seed} | found, told.out)
    print(f"{key}: done", flush=True)


def _limits(told: argparse.Namespace) -> list[tuple[str, float, float]]:
    return [("steps", told.steps, STEPS), ("budget-s", told.budget_s, BUDGET_S)]


def main() -> None:
    """Measure the asked cases that have no result yet: peers first, then ours, all in one go."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=(*PEERS, *OURS), action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps of a peer")
    parser.add_argument("--budget-s", type=float, default=BUDGET_S, help="seconds after which a peer is stopped")
    parser.add_argument("--force", action="store_true", help="measure again what has a result")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    told, failed = parser.parse_args(), False
    pairs = [
        (name, seed)
        for name in told.case or (*PEERS, *OURS)
        for seed in told.seed or (SEEDS[:1] if name in PEERS else SEEDS)
    ]
    for name, seed in pairs:
        if reason := not_possible(name):
            print(f"{PREFIX}_{name}-{seed}: skipped, {reason}")
        elif len(pairs) > 1 and name not in PEERS:  # a process each, so that memory and caches are its own
            again = ["--case", name, "--seed", str(seed), "--out", str(told.out), *(["--force"] if told.force else [])]
            line = [sys.executable, "-m", "benchmarks.end_to_end", *again]
            failed |= subprocess.run(line, check=False, env=os.environ | environment(THREADS)).returncode != 0
        else:
            measure(name, seed, told)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
