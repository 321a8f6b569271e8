"""The trials of ``openbook``: which parts pay on validation windows, at which pace, and the training with all rows.

Only the panel that is learned from enters here: its held-out tail judges, nothing behind it exists.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from openbook.data.panel import Panel
from openbook.forecast.closed_form import solve
from openbook.forecast.decisions import Decision
from openbook.forecast.start import MANY, Start, book_of, error_of, tables_of
from openbook.models.base import ModelShape
from openbook.models.openbook import OpenBookConfig, OpenBookNet, sizes_of
from openbook.training.loop import History, Progress, TrainConfig, train_model
from openbook.windows.sampler import Resident, Split, WindowShape, split_windows

BUDGET_S = 300.0
_WORTH = 0.99  # a part that is added has to lower the validation loss below this share
_SLOW = 0.2  # the other learning rate that is tried: small data are soon spoilt at the usual one
TRIALS_SHARE = 0.5  # of the time budget goes into trials


class Trial(NamedTuple):
    """A trained model, its config and how it validated."""

    model: nn.Module
    config: OpenBookConfig
    loss: float
    history: History
    pace: float
    max_steps: int


class Bench(NamedTuple):
    """What every training of a search shares."""

    resident: Resident
    shape: ModelShape
    start: Start
    split: Split
    train: TrainConfig
    device: torch.device
    unit: np.ndarray
    progress: Progress | None = None


def member(bench: Bench, config: OpenBookConfig, seed: int) -> OpenBookNet:
    """A fresh member whose skip path is the closed-form floor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = OpenBookNet(config, bench.shape)
    if made.skip is not None:
        made.skip.set_base(bench.start.solved.weight_DH, bench.start.solved.bias_H)
    return made.to(bench.device)


def windows_of(bench: Bench, config: OpenBookConfig) -> WindowShape:
    """The windows a config needs: back to the oldest day of its long book, scaled by the recurrent part alone."""
    assert config.window is not None
    reach = max(config.window, ((config.book or 0) + 1) * bench.shape.season if config.book else 0)
    return replace(bench.start.windows, input_size=reach, scale_steps=config.window, least_context=config.window)


def run_trial(bench: Bench, config: OpenBookConfig, seed: int, budget_s: float, pace: float = 1.0) -> Trial:
    """Train one member within seconds, at a multiple of the learning rate."""
    model = member(bench, config, seed)
    train = replace(bench.train, budget_s=budget_s, learning_rate=pace * bench.train.learning_rate)
    windows = windows_of(bench, config)
    shape = replace(bench.shape, input_size=windows.input_size)
    history = train_model(
        model, bench.resident, bench.split, windows, shape=shape, config=train, seed=seed, progress=bench.progress
    )
    return Trial(model, config, history.best_loss, history, pace, train.max_steps)


def stopped(trial: Trial) -> bool:
    """Whether the user ended a training: nothing is begun after it."""
    return trial.history.stopped_by == "interrupt"


def better_of(best: Trial, other: Trial, *, worth: float = 1.0) -> Trial:
    """The other where its loss is below ``worth`` times the best; the mark that the user ended either stays."""
    chosen = other if other.loss < worth * best.loss else best
    if stopped(best) or stopped(other):
        return chosen._replace(history=replace(chosen.history, stopped_by="interrupt"))
    return chosen


def run_again(bench: Bench, trial: Trial, panel: Panel, seed: int) -> nn.Module | None:
    """The same training with the held-out tail among what is learned, for as many steps as validated best.

    None where the user ended it: half a training is worse than the whole one before.
    """
    train, windows = bench.train, windows_of(bench, trial.config)
    all_of_it = split_windows(panel, bench.start.windows, validation_size=0, season=bench.shape.season)
    tables = tables_of(
        panel, bench.resident, bench.shape, bench.start.windows, replace(train, validation_size=0), bench.unit, MANY
    )
    solved = solve(*tables, error_of(train.loss), penalty=bench.start.solved.penalty)
    model = member(bench._replace(start=bench.start._replace(solved=solved)), trial.config, seed)
    if not trial.history.best_step:
        return model
    length = trial.max_steps if trial.history.stopped_by != "budget_s" else trial.history.steps
    rate = trial.pace * train.learning_rate
    again = replace(train, max_steps=length, stop_after=trial.history.best_step, budget_s=None, learning_rate=rate)
    shape = replace(bench.shape, input_size=windows.input_size)
    history = train_model(
        model, bench.resident, all_of_it, windows, shape=shape, config=again, seed=seed, progress=bench.progress
    )
    return None if history.stopped_by == "interrupt" else model


def choose_parts(
    bench: Bench, panel: Panel, config: OpenBookConfig, seed: int, budget_s: float
) -> tuple[Trial, dict[str, Decision]]:
    """Long book, mixing and cycle, each switched by itself and kept where the validation loss says so.

    Begins with the long book where the data allow one, the target's own segments and no cycle; gives the best trial back.
    """
    others = bench.shape.n_variables - bench.shape.n_static > 1
    days = book_of(panel, config.window or 1, bench.shape.h, bench.shape.season)
    first = replace(
        config,
        book=days if config.book is None else config.book,
        mixing=False if config.mixing is None else config.mixing,
        cycle=False if config.cycle is None else config.cycle,
    )
    switches: list[tuple[str, Any]] = []
    if config.book is None and days:
        switches.append(("book", 0))
    if config.mixing is None and others:
        switches.append(("mixing", True))
    if config.cycle is None and sizes_of(bench.shape).n_calendar:
        switches.append(("cycle", True))
    untried = dict(switches)
    absent = {"book": "no season, or too short a history", "mixing": "the target stands alone", "cycle": "no calendar"}
    told = {}
    for name, why in absent.items():
        given = "as given" if getattr(config, name) is not None else why
        told[name] = Decision(
            getattr(first, name), "not tried: nothing held out, or ended" if name in untried else given
        )
    if not bench.split.validation:
        return run_trial(bench, first, seed, budget_s), told
    each = budget_s / (len(switches) + 1)
    best = run_trial(bench, first, seed, each)
    for name, value in switches:
        if stopped(best):
            break
        other = run_trial(bench, replace(best.config, **{name: value}), seed, each)
        why = f"validation loss with {getattr(best.config, name)}: {best.loss:.4g}, with {value}: {other.loss:.4g}"
        best = better_of(best, other, worth=_WORTH if value else 1.0)
        told[name] = Decision(getattr(best.config, name), why)
    return best, told


def train_fully(bench: Bench, best: Trial, seed: int, budget_s: float) -> tuple[Trial, Decision]:
    """The chosen parts at the usual pace and at a slower one, each with half of the time; the better of them and the trial.

    A slow pace can not be judged by a short trial, where it always looks careful.
    """
    rate, told = bench.train.learning_rate, [f"in its trial: {best.loss:.4g}"]
    if not bench.split.validation:
        return best, Decision(rate, "nothing held out to judge another by")
    for pace in (1.0, _SLOW):
        if stopped(best):
            break
        other = run_trial(bench, best.config, seed, budget_s / 2, pace)
        told.append(f"at {pace * rate:g}: {other.loss:.4g}")
        best = better_of(best, other)
    return best, Decision(best.pace * rate, f"validation loss {', '.join(told)}")


def time_left(train: TrainConfig, begin: float) -> float:
    """Seconds of the budget that are left."""
    budget = BUDGET_S if train.budget_s is None else train.budget_s
    return max(1.0, budget - (time.perf_counter() - begin))
