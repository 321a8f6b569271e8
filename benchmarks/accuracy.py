"""Accuracy against floors and published numbers: ``python -m benchmarks.accuracy --suite NAME [--model NAME ...]``.

One result per suite, case, model or variant, and seed; results that exist are kept, so an interrupted run goes on where it
stopped. ``--inner`` judges choices without the test part: the same protocol one part earlier.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.jobs import Job, inner
from benchmarks.measures import LEVELS, Sums, added, cells, finished, summed
from benchmarks.peer_jobs import PEERS, ask_peer
from benchmarks.peers.launch import ABSENT, PEERS_PYTHON
from benchmarks.record import RESULTS, THREADS, write_result
from benchmarks.suites import SUITES, Suite
from openbook.data.panel import Panel
from openbook.forecast.bands import error_scale
from openbook.forecast.budget import BUDGET_S
from openbook.forecast.floor import Floor
from openbook.forecast.floors import FLOORS
from openbook.forecast.forecaster import Forecaster
from openbook.forecast.frames import FrameForecaster
from openbook.forecast.origins import Origins, PanelForecast
from openbook.forecast.ridge import Ridge
from openbook.models.registry import MODELS, config_to_dict, make_config
from openbook.training.loop import TrainConfig

FOLDER = RESULTS / "accuracy"
SEEDS = (1, 2, 3)
ALWAYS = ("naive", "seasonal_naive", "ridge")
OURS = "openbook"
# What is taken away from, or put in the place of, the parts of the model: every gain is told against its own ablation.
VARIANTS: dict[str, dict[str, Any]] = {
    "without skip": {"skip": False},
    "without attention": {"attention": False, "book": 0},
    "encoder attention only": {"attention": True, "book": 0},
    "long book only, 1 week": {"attention": False, "book": 7},
    "long book only, 4 weeks": {"attention": False, "book": 28},
    "long book only, 13 weeks": {"attention": False, "book": 91},
    "long book only, 52 weeks": {"attention": False, "book": 364},
    "both": {"attention": True, "book": 28},
    "own series only": {"mixing": False},
    "points": {"segment": 1},
    "with cycle": {"cycle": True},
    "one scaling": {"differences": False},
    "learned again": {"refit": True},  # with the validation rows, where the protocol leaves that out
}
# Percentages of a standardised series mean nothing: told only where the suite asks for them.
_PERCENTAGES = ("mape", "wape", "smape")
_CELLS = 24_000_000  # windows forecast at once also share what their bands follow


class Run(NamedTuple):
    """One measurement: a model on a case of a suite. ``seed`` is None for what has none."""

    suite: str
    case: str
    model: str
    variant: str | None
    seed: int | None

    @property
    def label(self) -> str:
        """The model, and how it was changed."""
        if self.model in PEERS:
            return PEERS[self.model].label
        return self.model if self.variant is None else f"{self.model}, {self.variant}"

    @property
    def key(self) -> str:
        """The name of its result."""
        words = [self.suite, self.case, self.label, *([] if self.seed is None else [f"seed{self.seed}"])]
        return "-".join(re.sub(r"[^A-Za-z0-9_]+", "_", word) for word in words)


def runs(suite: Suite, asked: argparse.Namespace) -> Iterator[Run]:
    """All runs of a suite that were asked for: floors first. Reference models run at the first case, with one seed."""
    models = asked.model or [*ALWAYS, *suite.statistical, OURS]
    variants = list(VARIANTS) if asked.variant == ["all"] else asked.variant
    for case in suite.cases:
        if (asked.case and case not in asked.case) or (asked.horizon and case not in map(str, asked.horizon)):
            continue
        for model in [] if variants else models:
            for seed in asked.seed or SEEDS if seeded(model) else [None]:
                yield Run(suite.name, case, model, None, seed)
        if not (asked.model or variants) and case == next(iter(suite.cases)):
            yield from (Run(suite.name, case, model, None, (asked.seed or SEEDS)[0]) for model in suite.reference)
        for variant in variants or ():
            for seed in asked.seed or SEEDS:
                yield Run(suite.name, case, OURS, variant, seed)


def seeded(model: str) -> bool:
    """Whether a model has a seed: floors have none."""
    return PEERS[model].network if model in PEERS else model not in FLOORS


def make_model(run: Run, job: Job, train: TrainConfig) -> FrameForecaster:
    """A floor, or a forecaster of ours with what the protocol fixes; all else is decided by the library."""
    panel = job.panel
    futr, hist = panel.futr_columns, panel.hist_columns
    if run.model in FLOORS:
        season = job.season if isinstance(panel.freq, int) else None
        floor = Floor(run.model, job.h, season_length=season, futr_exog_list=futr, hist_exog_list=hist)
        if run.model == "ridge" and job.input_size:  # a protocol's window binds all that read windows
            floor.inner = Ridge(job.h, season_length=season, window=job.input_size)
        return floor
    changed = VARIANTS[run.variant] if run.variant else {}
    config = replace(make_config(run.model), **changed)
    if job.validation is not None and hasattr(config, "refit") and "refit" not in changed:
        config = replace(config, refit=False)  # published networks do not learn the validation rows
    if job.nowcast and hasattr(config, "protocol"):
        config = replace(config, protocol="nowcast")
    held = train.validation_size if train.validation_size is not None else job.validation
    train = replace(train, loss=job.loss, validation_size=held)
    return Forecaster(
        job.h,
        model=config,
        input_size=job.input_size,
        futr_exog_list=futr,
        hist_exog_list=hist,
        train=train,
        seed=1 if run.seed is None else run.seed,
    )


def in_time(panel: Panel, origins: Origins) -> np.ndarray:
    """The order of the windows by time: those forecast together share what their bands follow."""
    return np.argsort(panel.times[origins.end], kind="stable")


def chunks(origins: Origins, h: int) -> Iterator[slice]:
    """Pieces of the windows of a bounded number of cells."""
    size = max(1, _CELLS // h)
    for first in range(0, len(origins.end), size):
        yield slice(first, min(first + size, len(origins.end)))


class Measured(NamedTuple):
    """Scores of a run, what was decided in it, and the seconds it took."""

    scores: dict[str, float]
    decisions: dict[str, Any]
    seconds_fit: float
    seconds_predict: float
    told: Mapping[str, Any]


def measure(run: Run, job: Job, train: TrainConfig) -> Measured:
    """Learn from what lies before the test part, forecast every window of it."""
    panel, begin, learning = job.panel, time.perf_counter(), job.learning
    order = in_time(panel, job.origins)
    origins = Origins(job.origins.series[order], job.origins.end[order])
    peer = ask_peer(run.model, job, run.seed, torch.get_num_threads(), train.budget_s) if run.model in PEERS else None
    own = job.points.get(run.model)
    model = None if peer or own else make_model(run, job, train)
    points = peer.point if peer else own() if own else None
    if model is not None:
        model.fit_panel(learning)
    fitted, sums, clean = time.perf_counter(), Sums(), Sums()
    scale = error_scale(learning, job.season, Origins(np.arange(len(learning)), learning.offsets[1:]))
    taken = 0.0
    for piece in chunks(origins, job.h):
        some = Origins(origins.series[piece], origins.end[piece])
        started = time.perf_counter()
        told = (
            model.predict_origins(panel, some, LEVELS)
            if model is not None
            else PanelForecast(points[order[piece]].reshape(-1, job.h), {})
        )
        taken += time.perf_counter() - started
        rows = some.end[:, None] + np.arange(job.h)
        truth = panel.target[rows]
        sums = added(sums, summed(cells(truth, told), some.series, len(panel)))
        if job.flawed is not None:
            kept = np.where(job.flawed[rows], np.nan, truth)
            clean = added(clean, summed(cells(kept, told), some.series, len(panel)))
    scores = finished(sums, scale)
    scores |= {f"{name}_without_sentinels": finished(clean, scale)[name] for name in ("mse", "mae") if clean}
    if peer:
        return Measured(scores, {}, peer.seconds_fit, peer.seconds_predict, peer.told)
    return Measured(scores, decided(model), fitted - begin, taken, told_of(model))


def decided(model: FrameForecaster | None) -> dict[str, Any]:
    """Every decision with its reason where there is one, as plain values."""
    found = getattr(model, "decisions", {})
    return {name: decision._asdict() if hasattr(decision, "_asdict") else decision for name, decision in found.items()}


def told_of(model: FrameForecaster | None) -> dict[str, Any]:
    """What repeats a model of ours: its config and training, and what it ran on; nothing for a floor."""
    if not isinstance(model, Forecaster):
        return {}
    found: dict[str, Any] = {"config": config_to_dict(model.config), "train": asdict(model.train)}
    if model.fitted_ is not None:
        device = next(model.fitted_.model.parameters()).device
        found["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        found["config_decided"] = config_to_dict(model.fitted_.config)
        found["parameters"] = sum(weight.numel() for weight in model.fitted_.model.parameters())
    if model.training_ is not None:
        history = model.training_
        found["training"] = {
            "steps": history.steps,
            "best_step": history.best_step,
            "best_loss": history.best_loss,
            "stopped_by": history.stopped_by,
        }
    return found


def record(suite: Suite, run: Run, job: Job, train: TrainConfig, *, threads: int, folder: Path) -> Path:
    """Measure one run and write its result."""
    found = measure(run, job, train)
    scores = {name: value for name, value in found.scores.items() if name not in _PERCENTAGES or name in suite.metrics}
    values = {
        "command": command(run, train, threads),
        "suite": run.suite,
        "case": run.case,
        "model": run.model,
        "variant": run.variant,
        "label": run.label,
        "seed": run.seed,
        "protocol": job.facts(),
        "scores": {name: round(value, 6) for name, value in sorted(scores.items())},
        "seconds_fit": round(found.seconds_fit, 2),
        "seconds_predict": round(found.seconds_predict, 2),
        "decisions": plain(found.decisions),
        **found.told,
    }
    return write_result(run.key, values, folder, threads=threads)


def plain(value: Any) -> Any:
    """Values that JSON knows."""
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def command(run: Run, train: TrainConfig, threads: int) -> str:
    """What measures this run again."""
    words = ["python", "-m", "benchmarks.accuracy", "--suite", run.suite, "--case", run.case]
    words += ["--variant", run.variant] if run.variant else ["--model", run.model]
    words += ["--seed", str(run.seed)] if run.seed is not None else []
    if run.model in MODELS or (run.model in PEERS and PEERS[run.model].network):
        words += ["--budget-s", f"{train.budget_s:g}"] if train.budget_s is not None else []
    if run.model in MODELS:
        words += ["--max-steps", str(train.max_steps)] if train.max_steps != TrainConfig().max_steps else []
    return shlex.join([*words, "--threads", str(threads), "--force"])


def given(run: Run, train: TrainConfig) -> TrainConfig:
    """How a run is trained: reference models, which have no limit of their own, get as many seconds as ours.

    >>> run = Run("etth1", "96", "luong", None, 1)
    >>> given(run, TrainConfig()).budget_s, given(run, TrainConfig(budget_s=5)).budget_s
    (300.0, 5)
    """
    free = run.model in MODELS and run.model != OURS and train.budget_s is None
    return replace(train, budget_s=BUDGET_S) if free else train


def run_suite(suite: Suite, asked: argparse.Namespace, folder: Path = FOLDER) -> list[str]:
    """Measure what has no result yet; the runs that failed."""
    train = TrainConfig(max_steps=asked.max_steps or TrainConfig().max_steps, budget_s=asked.budget_s)
    failed, job, case = [], None, ""
    for run in runs(suite, asked):
        if (folder / f"{run.key}.json").exists() and not (asked.force or asked.inner):
            measured = json.loads((folder / f"{run.key}.json").read_text(encoding="utf-8")).get("command")
            again = command(run, given(run, train), asked.threads)
            print(f"{run.key}: kept" + ("" if measured == again else f", measured by {measured}"))
            continue
        if run.model in PEERS and not PEERS_PYTHON.exists():
            print(f"{run.key}: skipped, {ABSENT}")
            continue
        if run.case != case or job is None:
            job, case = suite.cases[run.case](), run.case
            job = inner(job) if asked.inner else job
        try:
            if asked.inner:
                found = measure(run, job, given(run, train))
                told = ", ".join(f"{name} {found.scores[name]:.5g}" for name in suite.metrics)
                print(f"{run.key}: {told} on the validation rows, learned before them", flush=True)
                continue
            path = record(suite, run, job, given(run, train), threads=asked.threads, folder=folder)
        except Exception as error:  # one model's failure stops no other
            failed.append(run.key)
            print(f"{run.key}: failed, {type(error).__name__}: {error}", flush=True)
            continue
        print(f"{path.stem}: done", flush=True)
    return failed


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", choices=SUITES, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--horizon", type=int, action="append")
    parser.add_argument("--case", action="append", help="a horizon, or for small_demand data_days_origin")
    parser.add_argument("--model", choices=[*FLOORS, *MODELS, *PEERS], action="append")
    parser.add_argument("--variant", choices=["all", *VARIANTS], action="append", help=f"an ablation of {OURS}")
    parser.add_argument("--budget-s", type=float, help="seconds after which a training ends")
    parser.add_argument("--max-steps", type=int, help="steps after which a training ends")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--force", action="store_true", help="measure again what has a result")
    parser.add_argument(
        "--inner", action="store_true", help="for choices: judged on the validation rows, told and not written"
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Measure the asked suites; exit status 1 where a run failed."""
    asked = parse()
    if asked.max_steps and not asked.inner:
        raise SystemExit("--max-steps is for trials, whose results no table shows: give --inner, too")
    torch.set_num_threads(asked.threads)
    failed = []
    for name in asked.suite or SUITES:
        if why := SUITES[name].skipped():
            print(f"{name}: skipped, {why}")
            continue
        failed += run_suite(SUITES[name], asked)
    if failed:
        sys.exit(f"{len(failed)} failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
