"""The members of ``openbook``: as many as the time allows, trained as the one that did best, and once more with all rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from openbook.data.panel import Panel
from openbook.forecast.closed_form import average, own_maps
from openbook.forecast.decisions import Decision
from openbook.forecast.search import Trial, begun, member, stopped, windows_of
from openbook.forecast.start import MANY, error_of, tables_of
from openbook.training.loop import TrainConfig, train_model
from openbook.windows.sampler import split_windows

OVER = 1.2  # times the budget a fit may take in all
_BEYOND = 1.25  # further members are trained for this many times the steps after which the first one was best
_NEAR = 1.05  # a member whose loss is above this multiple of the first one's is not averaged
MEMBERS = 3  # at most, where their number is left open


def all_members(leader: Trial, seed: int, budget_s: float, rounds: int) -> tuple[list[Trial], Decision]:
    """The leader and others trained as it was: as many as asked for, else as many as the time allows.

    Each is trained ``rounds`` times, the second time up to its best step; the leader was once. One that validated far worse
    is left out, unless their number was asked for. Fewer than decided only where the user ended one of them.
    """
    bench = leader.bench
    asked, schedule = leader.config.n_models, schedule_of(leader)
    if stopped(leader):
        return [leader], Decision(asked or 1, "ended")
    # What the leader learned after its best step was of no use: the others are spared most of it.
    length = min(schedule.max_steps, math.ceil(_BEYOND * leader.history.best_step))
    schedule = replace(schedule, max_steps=max(1, length), hold=min(schedule.hold, length))
    step_s = leader.history.seconds / max(1, leader.history.steps)
    left, took = budget_s - (rounds - 1) * step_s * leader.history.best_step, rounds * step_s * length
    room = 1 + max(0, int(left / took)) if bench.split.validation and took else 1
    count = min(MEMBERS, room) if asked is None else asked
    trials, losses = [leader], [f"{leader.loss:.4g}"]
    for k in range(1, count):
        trial = begun(bench, leader.config, seed + k, leader.pace)
        # A number that was asked for has to fit into the time: with what is left for each, the rate falls sooner.
        share = max(1.0, left / (rounds * (count - 1))) if asked else None
        trial.training.config = replace(schedule, budget_s=share)
        trial.training.run(bench.progress)
        losses.append(f"{trial.loss:.4g}")
        if asked or stopped(trial) or trial.loss <= _NEAR * leader.loss:
            trials.append(trial)
        if stopped(trial):
            return trials, Decision(count, "ended")
    why = "as given" if asked else f"of {count} that the time allowed, {MEMBERS} at most"
    if bench.split.validation:
        why += f"; validation losses {', '.join(losses)}"
    return trials, Decision(
        len(trials), why if asked or bench.split.validation else "nothing held out to train others by"
    )


def run_again(trial: Trial, panel: Panel) -> nn.Module | None:
    """The same training with the held-out tail among what is learned, for as many steps as validated best.

    None where the user ended it: half a training is worse than the whole one before.
    """
    bench = trial.bench
    train, windows, seed = bench.train, windows_of(bench, trial.config), trial.training.seed
    all_of_it = split_windows(panel, bench.start.windows, validation_size=0, season=bench.shape.season)
    start, none = bench.start, replace(train, validation_size=0)
    learnt, judged = tables_of(panel, bench.resident, bench.shape, start.reading, none, bench.unit, MANY)
    error, like = error_of(train.loss), start.averaged
    counted = start.counting.tables(learnt)
    averaged = average(counted, judged, error, like.windows, bench.shape.season, like)
    own = own_maps(counted[-1], None, averaged.solved, error, like=start.own)
    model = member(bench._replace(start=start._replace(averaged=averaged, own=own)), trial.config, seed)
    best = trial.history.best_step
    if not best:
        return model
    again = replace(schedule_of(trial), stop_after=best, val_every=train.val_every)
    shape = replace(bench.shape, input_size=windows.input_size)
    history = train_model(
        model, bench.resident, all_of_it, windows, shape=shape, config=again, seed=seed, progress=bench.progress
    )
    return None if history.stopped_by == "interrupt" else model


def seconds_again(trials: Sequence[Trial]) -> float:
    """What ``run_again`` of these will take, by the steps they took."""
    return sum(trial.history.seconds * trial.history.best_step / max(1, trial.history.steps) for trial in trials)


def schedule_of(trial: Trial) -> TrainConfig:
    """What a training did, in steps: where seconds ended it, their number then."""
    config, history = trial.training.config, trial.history
    length = history.steps if history.stopped_by == "budget_s" else config.max_steps
    return replace(config, max_steps=max(history.best_step, length), budget_s=None)
