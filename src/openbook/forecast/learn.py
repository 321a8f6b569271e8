"""From a panel to a trained model: what every model shares, and the way of ``openbook``, which decides on validation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.errors import DataError, UsageError
from openbook.forecast import members, search
from openbook.forecast.budget import Budget
from openbook.forecast.decisions import Decision
from openbook.forecast.setup import Asked, Decided, Setup, loss_scale, series_unit, set_up
from openbook.forecast.start import NO_TIME, SOLVING, choose_start, decisions_of_map, floor_error, start_beside
from openbook.models.openbook import OpenBookConfig
from openbook.models.registry import build_model
from openbook.training.loop import History, Progress, TrainConfig, train_model
from openbook.training.losses import SCALED, Loss
from openbook.windows.sampler import Resident, Split, WindowShape, make_resident, split_windows
from openbook.windows.scaling import OWN


class Learner(NamedTuple):
    """What a training is told besides its panel."""

    asked: Asked
    train: TrainConfig
    seed: int
    device: torch.device
    decided: Decided
    progress: Progress | None = None


class Judged(NamedTuple):
    """What is left to do with a model that held-out windows can judge.

    ``unit`` [N]: what errors of each series are measured by. ``learn_again``, where that is wanted: the model learned with
    the held-out tail too, or None where the user ended it.
    """

    unit: np.ndarray
    learn_again: Callable[[], nn.Module | None] | None


class Learnt(NamedTuple):
    """A trained model, what it was set up with, its windows and its history; ``judged`` of models that mix with floors."""

    model: nn.Module
    setup: Setup
    split: Split
    history: History
    judged: Judged | None = None


def learn(panel: Panel, learner: Learner) -> Learnt:
    """Decide what was left open, and train."""
    if isinstance(learner.asked.config, OpenBookConfig):
        return _learn_openbook(panel, learner, learner.asked.config)
    asked, train, seed = learner.asked, learner.train, learner.seed
    made = set_up(panel, asked, learner.decided)
    split = split_windows(panel, made.windows, validation_size=train.validation_size, season=made.season)
    check_windows(panel, split, made.windows)
    model = build_model(made.config, made.shape, seed).to(learner.device)
    between = ", halfway to each window's own spread" if _halfway(made, train.loss) else ""
    learner.decided("loss", Decision(train.loss, f"in {_units_of(train.loss)}{between}"))
    resident = laid_out(panel, made, split, train.loss, learner.device)
    history = train_model(
        model, resident, split, made.windows, shape=made.shape, config=train, seed=seed, progress=learner.progress
    )
    return Learnt(model, made, split, history)


def laid_out(panel: Panel, made: Setup, split: Split, loss: Loss, device: torch.device | str = "cpu") -> Resident:
    """The panel as all models but ``openbook`` learn from it: errors count halfway between the series' unit and the window's
    spread; in the series' unit where windows are not scaled by their spread; in a MASE loss as it is defined."""
    unit = loss_scale(panel, split, made.season, loss)
    return make_resident(panel, made.layout, made.columns, device, unit, halfway=_halfway(made, loss))


def _halfway(made: Setup, loss: Loss) -> bool:
    return loss not in SCALED and made.windows.scaling in OWN


def _units_of(loss: Loss) -> str:
    """What a loss counts the errors of a series in, in words."""
    names = {
        "mse": "standard deviations of each series",
        "lag_mase": "each window's difference from the steps a gap before",
    }
    return names.get(loss, "seasonal naive errors of each series")


def _window_of(config: OpenBookConfig, asked: Asked) -> int | None:
    """The window that was told, in the config or as ``input_size``; refuses two of them, and a linear path that reads less."""
    if config.window and asked.input_size and config.window != asked.input_size:
        raise UsageError(
            "two_windows",
            expected="one length of the window",
            got=f"input_size={asked.input_size} and OpenBookConfig(window={config.window})",
            where="Forecaster",
            fix="leave one of them open",
        )
    window = config.window or asked.input_size
    if config.skip and window and config.skip_window and config.skip_window < window:
        raise UsageError(
            "two_windows",
            expected=f"a skip_window of at least the window's {window} steps",
            got=f"skip_window={config.skip_window}",
            where="OpenBookConfig",
            fix="give a larger one or a smaller window, or leave one of them open",
        )
    return window


def _learn_openbook(panel: Panel, learner: Learner, config: OpenBookConfig) -> Learnt:
    """Closed-form decisions first, then short trials of the parts, then the members with the time that is left."""
    asked, train, decided = learner.asked, learner.train, learner.decided
    budget = Budget.of(train)
    made = set_up(panel, asked, decided)
    shortest = WindowShape(int(panel.lengths.max()), asked.h, least_context=1)
    check_windows(panel, split_windows(panel, shortest, validation_size=train.validation_size), shortest)
    config = replace(config, window=_window_of(config, asked))
    first, decisions = choose_start(panel, made, config, train, asked.scaling, budget)
    own = tuple(id_text(panel.ids[each.series]) for each in first.own)
    made = made._replace(
        columns=first.columns,
        layout=replace(made.layout, own=own),
        shape=replace(made.shape, n_own=len(own)),
    )
    for name, decision in decisions.items():
        decided(name, decision)
    split = split_windows(
        panel, replace(first.windows, least_context=0), validation_size=train.validation_size, season=made.season
    )
    check_windows(panel, split, first.windows)
    unit = series_unit(panel, split, made.season, train.loss)
    by_window = (
        train.loss == "lag_mase"
    )  # where every window has a unit of its own, that of its series stands in for none
    relative = "" if by_window else ", relative to the skip path's error"
    decided("loss", Decision(train.loss, f"in {_units_of(train.loss)}{relative}"))
    measure = unit if by_window else unit * floor_error(first.solved, train.loss)
    resident = make_resident(panel, made.layout, made.columns, learner.device, measure)
    alike = search.usual(train, first.windows.input_size, len(split.train.end_W))
    bench = search.Bench(resident, made.shape, first, split, alike, learner.device, unit, learner.progress)
    other, one = _other_scaling(bench, panel, made, learner, hurried=budget.gone(SOLVING, more=0.5))
    best, parts = search.choose_parts(bench, panel, first.config, learner.seed, budget.left())
    for name, decision in parts.items():
        decided(name, decision)
    chosen = best.config
    rounds = search.rounds_of(bench, chosen)
    beside, differences = None, Decision(False, one)
    if other is not None:
        beside, differences = members.trial_beside(best, other, learner.seed, budget.left())
    trained, done = rounds, 0.0
    if beside is not None:
        trained, done = 2 * rounds, members.seconds_to_best([beside])
    leader, pace = search.train_fully(best, learner.seed, budget.left(), trained, done)
    decided("learning_rate", pace)
    leaders = [leader]
    if beside is not None and not search.stopped(leader):
        leaders, differences = members.both_scalings(leader, beside, learner.seed, budget.left(), rounds)
    further = search.rounds_of(bench, chosen, further=True)
    trials, number = members.all_members(leaders, learner.seed, budget.left(), further)
    chosen = replace(chosen, n_models=decided("n_models", number), differences=decided("differences", differences))
    if search.stopped(trials[-1]):  # the first seed stands for those that were not trained to their end
        trials = [each for each in leaders for _ in range(number.value)]
        trials[0].history.stopped_by = "interrupt"
    base = trials[0].bench
    if base is not bench:
        first_one, why = decisions["scaling"]
        decided("scaling", Decision(base.start.windows.scaling, f"see differences; at first {first_one}: {why}"))
        given, late = bool(config.skip_window), decisions["own"].why == NO_TIME
        told = decisions_of_map(base.start, panel, given=given, hurried=late, judged=first.windows.scaling)
        for name, decision in told.items():
            decided(name, decision)
    windows = search.windows_of(base, chosen)
    shape = replace(made.shape, input_size=windows.input_size)

    held = f"{len(split.validation.end_W)} windows held out beside {len(split.train.end_W)}"

    def again() -> nn.Module | None:
        took, fits = members.seconds_to_best(trials), budget.left(over=members.OVER if rounds > 1 else 1.0)
        if search.AGAIN * took > fits:
            decided("refit", Decision(False, f"{held}: no time was left to go on with them"))
            return model
        starts = members.solved_anew(trials, panel)
        share = min(members.MOST_AGAIN, max(search.AGAIN, budget.left() / took if took else math.inf))
        whole: list[nn.Module] = []
        for place, (trial, start) in enumerate(zip(trials, starts, strict=True)):
            left_s = budget.left(over=members.OVER) * members.seconds_to_best([trial])
            most_s = max(1.0, left_s / max(members.seconds_to_best(trials[place:]), 1e-9))
            trained = members.learned_on(trial, panel, start, share, most_s)
            if trained is None:
                return None
            whole.append(trained)
        gone_on = f"went on with them from the best weights, for {share:.0%} of the steps these took"
        decided("refit", Decision(True, f"{held}; {gone_on}"))
        return members.together(chosen, trials, whole)

    decided(
        "refit", Decision(False, ("ended" if split.validation else "nothing held out") if chosen.refit else "as given")
    )
    model = members.together(chosen, trials)
    setup = made._replace(config=chosen, windows=windows, shape=shape, columns=base.start.columns)
    judged = Judged(unit, again if chosen.refit else None) if split.validation else None
    return Learnt(model, setup, split, trials[0].history, judged)


def _other_scaling(
    bench: search.Bench, panel: Panel, made: Setup, learner: Learner, *, hurried: bool
) -> tuple[search.Bench | None, str]:
    """What members learn by that read the same windows in another scaling, or None; and why all read one, if they do."""
    kind, wanted = bench.start.beside, bench.start.config.differences
    if wanted is False:
        return None, "as given"
    if kind is None:
        given = learner.asked.scaling is not None
        return None, "the scaling was given" if given else "series differ in size, or have static inputs"
    if not wanted and not bench.split.validation:
        return None, "nothing held out to judge another by"
    if not wanted and hurried:
        return None, NO_TIME
    start = start_beside(panel, made, bench.start, kind, bench.train, bench.unit)
    error_N = None if bench.resident.error_N is None else bench.resident.error_N.cpu().numpy()
    resident = make_resident(panel, made.layout, start.columns, learner.device, error_N, like=bench.resident)
    return bench._replace(resident=resident, start=start), "ended"


def check_windows(panel: Panel, split: Split, windows: WindowShape) -> None:
    """Refuse a panel that holds no window to learn from."""
    if split.train:
        return
    raise DataError(
        "too_short",
        expected=f"a series with at least {windows.h + 1} rows and observed values around one origin",
        got=f"at most {int(panel.lengths.max())} rows, {int(np.isfinite(panel.target).sum())} observed values",
        where=f"{len(panel)} series, h={windows.h}",
        fix="shorten h or add history",
    )
