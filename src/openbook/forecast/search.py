"""The trials of ``openbook``: which parts pay on validation windows, at which pace, and the training with all rows.

Only the panel that is learned from enters here: its held-out tail judges, nothing behind it exists.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from openbook.data.panel import Panel
from openbook.forecast.closed_form import Own, Solved
from openbook.forecast.decisions import Decision
from openbook.forecast.start import Start, book_of
from openbook.models.base import ModelShape, seeded
from openbook.models.openbook import OpenBookConfig, OpenBookNet, reach_of
from openbook.training.loop import History, Progress, TrainConfig, Training
from openbook.windows.sampler import Resident, Split, WindowShape

_BLUR = 30  # days of noise on the time of year of training windows, where that is open
_WORTH = 0.99  # a part that is added has to lower the validation loss below this share
_BEHIND = 1.02  # a trial is given up where its loss is above this multiple of the best one's after as many steps
_SLOW = 0.2  # the other learning rate that is tried: small data are soon spoilt at the usual one
TRIALS_SHARE = 0.4  # of the time budget goes into trials
_TELLING = 200  # steps after which a trial tells: before, it is hardly past its start
_LONGEST = 0.3  # of the time budget at most for one trial, where steps are slow
_ALL_TRIALS = 0.6  # of the time budget at most for those of all parts: what would go beyond it is not tried
_OFTEN = 25  # steps from one validation to the next in trials, which are short
_SPOILT = 2 / 3  # a training that validated best before this share of its steps is learning by heart
_SHORT = 64  # windows up to this length cost little:
_MORE = 8  # they are judged by so many times more of them,
_MANY = 4  # and learned in batches of so many times more, where there are very many
_ENOUGH = 2 / 3  # a part with which the time that is left is not enough for this share of the steps is left out
_WHOLE = 2  # schedules are laid out for this many times the steps after which learning by heart began
_TAIL = 0.05  # held-out windows, as a share of those learned from, for which time is kept to go on with them
AGAIN = 0.3  # of the steps that validated best, for which a member goes on with the held-out tail at least


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


class Trial(NamedTuple):
    """A training that can be taken up again: its model's config, what it shares with others, its multiple of
    the learning rate."""

    training: Training
    config: OpenBookConfig
    bench: Bench
    pace: float = 1.0

    @property
    def model(self) -> nn.Module:
        """The model with the weights that validated best."""
        return self.training.model

    @property
    def history(self) -> History:
        """What happened so far."""
        return self.training.history

    @property
    def loss(self) -> float:
        """The best validation loss."""
        return self.history.best_loss


def member(bench: Bench, config: OpenBookConfig, seed: int) -> OpenBookNet:
    """A fresh member whose skip path is the closed-form floor."""
    with seeded(seed):
        made = OpenBookNet(config, bench.shape)
    set_maps(made, bench.start.solved, bench.start.own)
    return made.to(bench.device)


def set_maps(net: OpenBookNet, solved: Solved, own: Sequence[Own]) -> None:
    """Closed-form maps into a member's skip path, where it has one."""
    if net.skip is not None:
        net.skip.set_base(solved.weight_DH, solved.bias_H)
        for place, each in enumerate(own):
            net.skip.set_own(place, each.weight_DH, each.bias_H)


def windows_of(bench: Bench, config: OpenBookConfig) -> WindowShape:
    """The windows a config needs: as far back as skip path and long book read, scaled by the recurrent part alone."""
    assert config.window is not None
    reach = reach_of(config, bench.shape.season)
    return replace(bench.start.windows, input_size=reach, scale_steps=config.window)


def usual(train: TrainConfig, window: int, count: int) -> TrainConfig:
    """How members of a search are trained, all alike: as was asked, but short windows cost little, so more of them judge, and
    where ``count`` of them are there to learn from, very many, more make a step.

    >>> told = usual(TrainConfig(), 10, 24_000)
    >>> told.val_windows, told.batch_size
    (2048, 256)
    """
    if window > _SHORT:
        return train
    batch = _MANY * train.batch_size
    many = count >= batch * train.batch_size
    return replace(train, val_windows=_MORE * train.val_windows, batch_size=batch if many else train.batch_size)


def count_of(config: OpenBookConfig) -> int:
    """How many members were asked for, one where that is open.

    >>> count_of(OpenBookConfig(n_models=3)), count_of(OpenBookConfig(n_models=1, differences=True))
    (3, 2)
    """
    return (config.n_models or 1) * (2 if config.differences else 1)


def rounds_of(bench: Bench, config: OpenBookConfig, *, further: bool = False) -> float:
    """How often each member's training is to fit into the time: once, and the share of it in which the held-out tail is
    learned too.

    Not the first one's where the tail is a small part of the data: more steps are worth more, and in time that is left over
    training goes on with it all the same. ``further``: of members beside it, which are worth less than the tail.
    """
    held, learnt = len(bench.split.validation.end_W), len(bench.split.train.end_W)
    kept = config.refit and learnt > 0 and held > 0 and (further or held >= _TAIL * learnt)
    return 1 + AGAIN if kept else 1.0


def begun(bench: Bench, config: OpenBookConfig, seed: int, pace: float = 1.0) -> Trial:
    """A member and its training, not a step of it done."""
    windows = windows_of(bench, config)
    train = replace(bench.train, learning_rate=pace * bench.train.learning_rate)
    shape = replace(bench.shape, input_size=windows.input_size)
    training = Training(
        member(bench, config, seed), bench.resident, bench.split, windows, shape=shape, config=train, seed=seed
    )
    return Trial(training, config, bench, pace)


def run_trial(
    bench: Bench,
    config: OpenBookConfig,
    seed: int,
    budget_s: float,
    longest_s: float,
    best: Trial | None = None,
    *,
    most_s: float = math.inf,
) -> Trial:
    """Train one member at an even rate for some seconds; given up where it falls behind the best so far, or a step of it
    takes longer than ``most_s``.

    Where steps are slow it gets the seconds for as many as tell something, ``longest_s`` at most.
    """
    trial = begun(bench, config, seed)
    train, most = bench.train, max(1, most_steps(bench.train) // 2)
    often = min(train.val_every, _OFTEN)
    patience = max(1, train.patience * train.val_every // (2 * often))
    trial.training.config = replace(
        train, max_steps=most, hold=most, budget_s=budget_s, val_every=often, patience=patience
    )
    begin = time.perf_counter()

    def hopeless(own: History) -> bool:
        # Asked after every validation: only then is known how long steps take, and so how long the trial may.
        needed = _seconds_of_trial(time.perf_counter() - begin, own.steps, budget_s, longest_s)
        trial.training.config = replace(trial.training.config, budget_s=needed)
        return own.step_s > most_s or (best is not None and _behind(best.history, own))

    trial.training.run(bench.progress, hopeless)
    return trial


def _behind(best: History, own: History) -> bool:
    """Whether a training is far from the best one, as that was after as many steps."""
    then = [loss for step, loss in best.val_loss if step <= own.steps]
    return own.steps > best.steps // 3 and bool(then) and own.best_loss > _BEHIND * min(then)


def _seconds_of_trial(took_s: float, steps: int, budget_s: float, longest_s: float) -> float:
    """What a trial gets where some steps took so long: its share of the budget, more where that is too little to tell.

    >>> _seconds_of_trial(10.0, 100, 12.0, 30.0)
    20.0
    """
    return max(budget_s, min(took_s / max(1, steps) * _TELLING, longest_s))


def stopped(trial: Trial) -> bool:
    """Whether the user ended a training: nothing is begun after it."""
    return trial.history.stopped_by == "interrupt"


def better_of(best: Trial, other: Trial, *, worth: float = 1.0) -> Trial:
    """The other where its loss is below ``worth`` times the best; the mark that the user ended either stays."""
    chosen = other if other.loss < worth * best.loss else best
    if stopped(best) or stopped(other):
        chosen.history.stopped_by = "interrupt"
    return chosen


def choose_parts(
    bench: Bench, panel: Panel, config: OpenBookConfig, seed: int, budget_s: float
) -> tuple[Trial, dict[str, Decision]]:
    """Long book and mixing, each switched by itself and kept where the validation loss says so; no cycle unless asked for.

    What makes steps so slow that its training would be cut short by the time is not kept either. Begins with the long book
    where the data allow one, the target's own segments and the time of year blurred; only where that learns by heart all the
    same are exact dates tried. Gives the best trial back.
    """
    others = bench.shape.n_variables - bench.shape.n_static > 1
    days = book_of(panel, config.window or 1, bench.shape.h, bench.shape.season)
    yearly = bench.shape.n_year > 0
    first = replace(
        config,
        book=days if config.book is None else config.book,
        mixing=False if config.mixing is None else config.mixing,
        cycle=False if config.cycle is None else config.cycle,
        year_jitter=(_BLUR if yearly else 0) if config.year_jitter is None else config.year_jitter,
    )
    switches: list[tuple[str, Any]] = []
    if config.book is None and days:
        switches.append(("book", 0))
    if config.mixing is None and others:
        switches.append(("mixing", True))
    blurred = yearly and config.year_jitter is None
    untried = dict(switches) | ({"year_jitter": 0} if blurred else {})
    absent = {
        "year_jitter": "the calendar tells no day of the year",
        "book": "no season, or too short a history",
        "mixing": "the target stands alone",
        "cycle": "the default: it paid on hardly any data",
    }
    told = {}
    for name, why in absent.items():
        given = "as given" if getattr(config, name) is not None else why
        told[name] = Decision(
            getattr(first, name), "not tried: nothing held out, no time, or ended" if name in untried else given
        )
    if not bench.split.validation:
        only = begun(bench, first, seed)
        share, most = budget_s / count_of(config), most_steps(bench.train)
        only.training.config = replace(bench.train, max_steps=most, budget_s=share)
        only.training.run(bench.progress)
        return only, told
    # Trials share their part of the time; with many members to train, no more than each of these will have.
    rounds = count_of(config) * rounds_of(bench, config)
    begin = time.perf_counter()
    each = budget_s * min(TRIALS_SHARE / (len(switches) + 1), 1 / (len(switches) + 1 + rounds))
    longest = budget_s * _LONGEST / count_of(config)
    best = run_trial(bench, first, seed, each, longest)
    if blurred and learnt_by_heart(best):
        switches.insert(0, ("year_jitter", 0))
    elif blurred:
        told["year_jitter"] = Decision(_BLUR, "days of noise on training dates, which its trial did not learn by heart")
    for place, (name, value) in enumerate(switches):
        seconds = _seconds_of_trial(best.history.seconds, best.history.steps, each, longest)
        gone = time.perf_counter() - begin
        if stopped(best) or gone > budget_s or (place and gone + seconds > _ALL_TRIALS * budget_s):
            break
        needed, own_s = length_of(best), (budget_s - gone) / rounds
        most_s = own_s / (_ENOUGH * needed) if value else math.inf
        # What is learned by heart was at its best too early to compare others with on their way.
        rival = None if name == "year_jitter" else best
        try:
            other = run_trial(bench, replace(best.config, **{name: value}), seed, each, longest, rival, most_s=most_s)
        except KeyboardInterrupt:  # before its first step: the best so far stays
            best.history.stopped_by = "interrupt"
            break
        worth = _WORTH if value else 1.0
        why = f"validation loss with {getattr(best.config, name)}: {best.loss:.4g}, with {value}: {other.loss:.4g}"
        if (step_s := other.history.step_s) > most_s:
            worth, why = -math.inf, f"with {value} the time is enough for {own_s / step_s:.0f} of {needed} steps"
        best = better_of(best, other, worth=worth)
        told[name] = Decision(getattr(best.config, name), why)
    return best, told


def train_fully(best: Trial, seed: int, left_s: float, rounds: float, done_s: float = 0.0) -> tuple[Trial, Decision]:
    """The best trial to its end; where it was learning by heart, or its end brought nothing, a training at a slower pace
    beside it: the better one.

    A slow pace can not be judged by a short trial, where it always looks careful. Of the seconds that are left as many are
    kept as further members and going on with the held-out tail, ``rounds`` trainings in all, will take; ``done_s`` of them are
    done.
    """
    bench, train, rate = best.bench, best.bench.train, best.bench.train.learning_rate
    if not bench.split.validation:
        return best, Decision(rate, "nothing held out to judge another by")
    told, begin, shares = [f"in its trial: {best.loss:.4g}"], time.perf_counter(), rounds * (best.config.n_models or 1)
    if stopped(best):
        return best, Decision(rate, f"validation loss {told[0]}")
    held, spoilt, length = best.history.best_step, learnt_by_heart(best), length_of(best)
    used = best.history.seconds * held / max(1, best.history.steps)
    # Not ended early: what validates best often comes when the rate has nearly gone.
    full = replace(train, val_every=min(train.val_every, 2 * _OFTEN), patience=train.max_steps)
    if length > held:
        share = max(1.0, (left_s + used + done_s) / shares - used)
        best.training.go_on(replace(full, hold=held, max_steps=length, budget_s=share), bench.progress)
        told.append(f"at {rate:g}: {best.loss:.4g}")
    left = (left_s - (time.perf_counter() - begin) - (rounds - 1) * used) / shares
    if (spoilt or best.history.best_step == held) and not stopped(best) and left > 0:
        slow = begun(bench, best.config, seed, _SLOW)
        slow.training.config = replace(full, max_steps=most_steps(train), learning_rate=_SLOW * rate, budget_s=left)
        try:
            slow.training.run(bench.progress)
        except KeyboardInterrupt:  # as above
            slow.history.stopped_by = "interrupt"
        told.append(f"at {_SLOW * rate:g}: {slow.loss:.4g}")
        best = better_of(best, slow)
    return best, Decision(best.pace * rate, f"validation loss {', '.join(told)}")


def length_of(trial: Trial) -> int:
    """The steps that the whole training of a trial is laid out for: fewer where it was learning by heart."""
    train, held = trial.bench.train, trial.history.best_step
    most = most_steps(train)
    return min(most, max(held + 1, _WHOLE * held)) if learnt_by_heart(trial) else most


def most_steps(train: TrainConfig) -> int:
    """The steps a schedule is laid out for: up to where training is to be stopped."""
    return min(train.max_steps, train.stop_after or train.max_steps)


def learnt_by_heart(trial: Trial) -> bool:
    """Whether a training validated best long before it ended."""
    return trial.history.best_step < _SPOILT * trial.history.steps
