"""The members of ``openbook``: as many as the time allows, trained as the one that did best, and on with all rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from openbook.data.panel import Panel
from openbook.forecast.closed_form import average, own_maps
from openbook.forecast.decisions import Decision
from openbook.forecast.search import Bench, Trial, begun, most_steps, set_maps, stopped, windows_of
from openbook.forecast.start import MANY, Start, error_of, tables_of
from openbook.models.base import seeded
from openbook.models.differences import FromNewest
from openbook.models.openbook import OpenBook, OpenBookConfig, OpenBookNet
from openbook.training.averaging import gathered
from openbook.training.loop import History, TrainConfig, train_model
from openbook.windows.sampler import split_windows

OVER = 1.2  # times the budget a fit may take in all
_BEYOND = 1.25  # further members are trained for this many times the steps after which the first one was best
_NEAR = 1.05  # a member whose loss is above this multiple of the first one's is not averaged
MEMBERS = 3  # at most, where their number is left open
PAIRS = 2  # likewise, where each seed stands for two scalings
_LEAST = 0.5  # of the seconds that the leader took to its best step: with less, another scaling is not trained
MOST_AGAIN = 1.0  # of the steps that validated best: in time that is left a member goes on for so many with the tail
_TRIED = 0.25  # of the seconds that are left at most for another scaling's trial: a longer one is left out
# Two scalings are averaged where their mean validates below this multiple of the better one; of series that change by
# different steps, where it validates better.
_BOTH = 1.08
_APART = 1.4  # a trial of another scaling is given up where its loss is above this multiple of the leader's after as many steps


def trial_beside(leader: Trial, other: Bench, seed: int, left_s: float) -> tuple[Trial | None, Decision]:
    """A member that reads the same windows in another scaling, tried for as many steps and seconds as the leader was; None
    where the mean of both does not validate well enough already then, which spares the leader half of its time.

    Untried where it was asked for, nothing is held out, or its trial would take too much of the seconds that are left.
    """
    trial, took = begun(other, leader.config, seed), leader.history.seconds
    if leader.config.differences or not other.split.validation or stopped(leader) or took > _TRIED * left_s:
        return trial, Decision(False, "ended")
    steps, often = leader.history.steps, leader.training.config.val_every
    config = replace(leader.training.config, max_steps=steps, patience=steps, budget_s=max(1.0, took))
    trial.training.config = config
    try:
        trial.training.run(other.progress, lambda own: own.steps >= 2 * often and _lost(leader.history, own))
        mean, why = _mean_of(leader, trial)
    except KeyboardInterrupt:
        trial.history.stopped_by = "interrupt"
    if stopped(trial):
        leader.history.stopped_by = "interrupt"
        return None, Decision(False, "ended")
    if trial.loss < leader.loss or mean < _limit(leader) * leader.loss:
        return trial, Decision(False, "ended")
    return None, Decision(False, f"in trials: {why}")


def _lost(leader: History, own: History) -> bool:
    """Whether a training of another scaling is so far from the leader, as that was after as many steps, that no mean helps."""
    then = [loss for step, loss in leader.val_loss if step <= own.steps]
    return bool(then) and own.best_loss > _APART * min(then)


def _mean_of(leader: Trial, other: Trial) -> tuple[float, str]:
    """The validation loss of the mean of two members, and it beside theirs in words."""
    both = sorted((leader, other), key=_reads_differences)
    mean = both[0].training.judged(together(replace(leader.config, n_models=1, differences=True), both))
    told = ", ".join(f"{each.bench.start.windows.scaling} {each.loss:.4g}" for each in both)
    return mean, f"validation loss {told}, mean of both {mean:.4g}"


def _limit(leader: Trial) -> float:
    return _BOTH if leader.bench.start.alike else 1.0


def both_scalings(leader: Trial, trial: Trial, seed: int, left_s: float, rounds: float) -> tuple[list[Trial], Decision]:
    """The leader and, trained as it was, the one that reads the same windows in another scaling; the better one alone where
    the mean of both validates clearly worse, of series that change by different steps where it does not validate better.

    Which of the two validates better says little of what follows, so the mean need not be better there. The second gets the
    seconds that others of its kind and going on with the held-out tail will leave it.
    Source: Bates & Granger 1969, The combination of forecasts.
    """
    used, asked, again = seconds_to_best([leader]), bool(leader.config.differences), trial.pace == leader.pace
    done = seconds_to_best([trial]) if again else 0.0
    share = (left_s - (rounds - 1) * used + done) / (rounds * (leader.config.n_models or 1)) - done
    late = share + done < _LEAST * used and not asked
    if late and not trial.history.steps:
        return [leader], Decision(False, "no time was left to train by another scaling")
    try:
        if not late:
            trial = _trained_as(leader, trial, seed, max(1.0, share))
        mean, why = (0.0, "") if stopped(trial) or not trial.bench.split.validation else _mean_of(leader, trial)
    except KeyboardInterrupt:
        trial.history.stopped_by = "interrupt"
    if stopped(trial):
        leader.history.stopped_by = "interrupt"
        return [leader], Decision(False, "ended")
    both = sorted((leader, trial), key=_reads_differences)
    if not trial.bench.split.validation:
        return both, Decision(True, "as given")
    best = min((leader, trial), key=lambda each: each.loss)
    if asked or mean < _limit(leader) * best.loss:
        return both, Decision(True, f"as given; {why}" if asked else why)
    return [best], Decision(False, why)


def _trained_as(leader: Trial, trial: Trial, seed: int, budget_s: float) -> Trial:
    """A trial taken up again as the leader was, at an even rate up to its own best step; anew where the leader's pace is
    another."""
    schedule = replace(schedule_of(leader), budget_s=budget_s)
    if trial.pace == leader.pace:
        hold = max(schedule.hold, trial.history.best_step)
        length = min(schedule.max_steps + hold - schedule.hold, most_steps(trial.bench.train))
        longer = replace(schedule, hold=hold, max_steps=length)
        trial.training.go_on(longer, trial.bench.progress)
        return trial
    anew = begun(trial.bench, leader.config, seed, leader.pace)
    anew.training.config = schedule
    anew.training.run(trial.bench.progress)
    return anew


def _reads_differences(trial: Trial) -> bool:
    return trial.bench.start.windows.scaling == "difference"


def together(config: OpenBookConfig, trials: Sequence[Trial], models: Sequence[nn.Module] | None = None) -> OpenBook:
    """One model of all members, or of ``models`` learned again in their places; those that read differences stand behind."""
    first = trials[0].bench
    windows = windows_of(first, config)
    with seeded(0):  # its weights are replaced, and what others draw is not to hang on how many were made
        whole = OpenBook(config, replace(first.shape, input_size=windows.input_size)).to(first.device)
    models = [trial.model for trial in trials] if models is None else models
    for place, trial, model in zip(whole.members, trials, models, strict=True):
        if isinstance(place, FromNewest):
            own, base = trial.bench.start, first.start
            with np.errstate(invalid="ignore"):  # an input that is constant in both is left out
                step_C = own.columns.std_C / base.columns.std_C
            place.set_units(own.windows.unit, torch.from_numpy(step_C))
            place.model.load_state_dict(model.state_dict())
        else:
            place.load_state_dict(model.state_dict())
    return whole.eval()


def all_members(leaders: Sequence[Trial], seed: int, budget_s: float, rounds: float) -> tuple[list[Trial], Decision]:
    """The leaders, one of each scaling, and others trained as they were: as many seeds as asked for, else as the time allows.

    Each takes ``rounds`` trainings, going on with the held-out tail included; the leaders took one. A seed that validated
    far worse is left out, unless their number was asked for. Fewer than decided only where the user ended one of them.
    Members of one scaling stand together, in the order of their leaders.
    """
    bench, asked = leaders[0].bench, leaders[0].config.n_models
    if any(map(stopped, leaders)):
        return list(leaders), Decision(asked or 1, "ended")
    schedules = [_shortened(leader) for leader in leaders]
    step_s = [leader.history.seconds / max(1, leader.history.steps) for leader in leaders]
    each_s = [second * each.max_steps for second, each in zip(step_s, schedules, strict=True)]
    left = budget_s - (rounds - 1) * seconds_to_best(leaders)
    took = rounds * sum(each_s)
    most = MEMBERS if len(leaders) == 1 else PAIRS
    room = 1 + max(0, int(min(left / took, most))) if bench.split.validation and took else 1
    count = min(most, room) if asked is None else asked
    seeds, losses = [list(leaders)], [_losses(leaders)]
    for k in range(1, count):
        trials = []
        for leader, schedule, own_s in zip(leaders, schedules, each_s, strict=True):
            trial = begun(leader.bench, leader.config, seed + k, leader.pace)
            # A number that was asked for has to fit into the time: with what is left for each, the rate falls sooner. One
            # that the time allowed fits as long as steps take what the leaders' took.
            share = (1.0 if asked else OVER) * left / (count - 1) * (own_s / took if took else 1 / len(leaders))
            trial.training.config = replace(schedule, budget_s=max(1.0, share))
            try:
                trial.training.run(leader.bench.progress)
            except KeyboardInterrupt:  # before its first step
                trial.history.stopped_by = "interrupt"
            trials.append(trial)
            if stopped(trial):
                return [*leaders, trial], Decision(count, "ended")
        losses.append(_losses(trials))
        if asked or sum(trial.loss for trial in trials) <= _NEAR * sum(leader.loss for leader in leaders):
            seeds.append(trials)
    why = "as given" if asked else f"of {count} that the time allowed, {most} at most"
    if bench.split.validation:
        why += f"; validation losses {', '.join(losses)}"
    told = why if asked or bench.split.validation else "nothing held out to train others by"
    return [trial for trials in zip(*seeds, strict=True) for trial in trials], Decision(len(seeds), told)


def _losses(trials: Sequence[Trial]) -> str:
    return " and ".join(f"{trial.loss:.4g}" for trial in trials)


def _shortened(leader: Trial) -> TrainConfig:
    """What a leader learned after its best step was of no use: others are spared most of it."""
    schedule = schedule_of(leader)
    length = min(schedule.max_steps, math.ceil(_BEYOND * leader.history.best_step))
    return replace(schedule, max_steps=max(1, length), hold=min(schedule.hold, length))


def solved_anew(trials: Sequence[Trial], panel: Panel) -> list[Start]:
    """What each of the trials starts from, its maps solved with the held-out tail; once for those of one scaling."""
    found: dict[int, Start] = {}
    for bench in (trial.bench for trial in trials):
        if id(bench.start) not in found:
            found[id(bench.start)] = _solved_anew(bench, panel)
    return [found[id(trial.bench.start)] for trial in trials]


def _solved_anew(bench: Bench, panel: Panel) -> Start:
    start, none = bench.start, replace(bench.train, validation_size=0)
    learnt, judged = tables_of(panel, bench.resident, bench.shape, start.reading, none, bench.unit, MANY)
    error, like = error_of(bench.train.loss), start.averaged
    counted = start.counting.tables(learnt)
    averaged = average(counted, judged, error, like.windows, bench.shape.season, like)
    return start._replace(averaged=averaged, own=own_maps(counted[-1], None, averaged.solved, error, like=start.own))


def learned_on(trial: Trial, panel: Panel, start: Start, share: float, budget_s: float) -> nn.Module | None:
    """A member taken on from its best weights with the held-out tail among what is learned, on the maps of ``start``.

    For a ``share`` of the steps that validated best, at a rate that falls to its end, which comes sooner where the seconds do
    not suffice. None where the user ended it: the member as it was validated is better than one that was left in the middle.
    """
    bench = trial.bench
    train, windows, best = bench.train, windows_of(bench, trial.config), trial.history.best_step
    all_of_it = split_windows(panel, bench.start.windows, validation_size=0, season=bench.shape.season)
    model = copy.deepcopy(trial.model)
    gathered(model)
    assert isinstance(model, OpenBookNet)
    set_maps(model, start.solved, start.own)
    if not best:
        return model
    steps = math.ceil(share * best)
    schedule = replace(schedule_of(trial), max_steps=steps, hold=0, stop_after=None, val_every=train.val_every)
    config = replace(schedule, warmup=max(1, min(train.warmup, steps // 4)), budget_s=budget_s)
    shape = replace(bench.shape, input_size=windows.input_size)
    seed = trial.training.seed + 1  # other windows are drawn than at its beginning
    history = train_model(
        model, bench.resident, all_of_it, windows, shape=shape, config=config, seed=seed, progress=bench.progress
    )
    return None if history.stopped_by == "interrupt" else model


def seconds_to_best(trials: Sequence[Trial]) -> float:
    """What these took to their best steps, all together."""
    return sum(trial.history.seconds * trial.history.best_step / max(1, trial.history.steps) for trial in trials)


def schedule_of(trial: Trial) -> TrainConfig:
    """What a training did, in steps: where seconds ended it, their number then."""
    config, history = trial.training.config, trial.history
    length = history.steps if history.stopped_by == "budget_s" else config.max_steps
    return replace(config, max_steps=max(history.best_step, length), budget_s=None)
