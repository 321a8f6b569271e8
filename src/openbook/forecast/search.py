"""What the ``openbook`` model decides on validation windows of its training part: window, scaling, penalty, parts.

Only the panel that is learned from enters here: its held-out tail judges, nothing behind it exists.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from openbook.data.panel import Panel
from openbook.errors import UsageError
from openbook.forecast.bands import error_scale
from openbook.forecast.closed_form import Error, Solved, Table, absolute, solve, squared, tabulate
from openbook.forecast.decisions import MOST_STEPS, Decision
from openbook.forecast.origins import Origins
from openbook.forecast.setup import Setup
from openbook.models.base import ModelShape
from openbook.models.openbook import OpenBookConfig, OpenBookNet, sizes_of
from openbook.nn.skip import skip_shape
from openbook.training.loop import History, Progress, TrainConfig, train_model
from openbook.training.losses import Loss
from openbook.windows.sampler import Resident, Split, WindowShape, make_resident, split_windows
from openbook.windows.scaling import COMMON, ColumnScaler, Scaling, difference_std, fit_inputs

BUDGET_S = 300.0
_FEW, _MANY = 3_000, 24_000  # windows to compare maps on, and to solve the chosen one on
_SEASONS = (2, 3, 4, 7, 14)
_NEARLY = 1.005  # a shorter window is taken where it is this near to the best
_WORTH = 0.99  # a part that is added has to lower the validation loss below this share
_SLOW = 0.2  # the other learning rate that is tried: small data are soon spoilt at the usual one
_LEAST_SEGMENTS, _MOST_SEGMENTS = 8, 32
_CLEARLY = 0.95  # a unit that all windows share has to do this much better than one of each window's own
_ALIKE = 3.0  # how much larger the changes of one series may be than those of another to share a unit
_DAYS, _MOST_DAYS_AHEAD = 28, 7
TRIALS_SHARE = 0.5  # of the time budget goes into trials


class Start(NamedTuple):
    """A decided window: config with window and segment, how windows are cut, the map to start from, how inputs are scaled."""

    config: OpenBookConfig
    windows: WindowShape
    solved: Solved
    columns: ColumnScaler


Decided = Callable[[str, Decision], Any]


def error_of(loss: Loss) -> Error:
    """The error maps are compared by: squared where the loss is, else absolute."""
    return squared if loss == "mse" else absolute


def series_unit(panel: Panel, split: Split, season: int, loss: Loss) -> np.ndarray:
    """What errors of each series are measured by, [N], from its rows before the held-out tail; 1 where nothing moves.

    For squared errors the standard deviation, else the in-sample seasonal naive error, as in MASE: so every series counts
    by how well it could be forecast, not by its size.
    """
    stop = panel.offsets[1:].copy()
    np.minimum.at(stop, split.validation.series_W, split.validation.end_W)
    if loss != "mse":
        found = error_scale(panel, season, Origins(np.arange(len(panel)), stop))
        return np.where(np.isfinite(found) & (found > 0), found, 1.0)
    unit = np.ones(len(panel))
    for series, (begin, end) in enumerate(zip(panel.offsets[:-1], stop, strict=True)):
        seen = panel.target[begin:end]
        seen = seen[np.isfinite(seen)]
        if len(seen) > 1 and seen.std() > 0:
            unit[series] = seen.std()
    return unit


def floor_error(solved: Solved, loss: Loss) -> float:
    """The size of the skip path's validation error in units of the series: in it, a loss of one is as good as that floor."""
    found = math.sqrt(solved.error) if loss == "mse" else solved.error
    return found if np.isfinite(found) and found > 0 else 1.0


def window_candidates(panel: Panel, h: int, season: int) -> list[int]:
    """Windows worth trying: 2 to 14 seasons and two horizons, within 720 steps and a third of the typical series.

    >>> from types import SimpleNamespace
    >>> window_candidates(SimpleNamespace(lengths=np.array([4000])), 24, 24)
    [48, 72, 96, 168, 336]
    """
    room = int(np.quantile(panel.lengths, 0.75))
    most = max(1, min(MOST_STEPS, (room - h) // 3 if room > 6 * h else room - h - 1))
    wanted = [season * number for number in _SEASONS] if season > 1 else [8, 16, 32, 64]
    wanted += [2 * h, MOST_STEPS] if room > 10 * MOST_STEPS else [2 * h]
    return sorted({min(window, most) for window in wanted})


def segment_of(window: int, season: int) -> int:
    """Steps of a segment: a divisor of the season that leaves 8 to 32 segments, or plain steps in short windows.

    >>> segment_of(168, 24), segment_of(720, 24), segment_of(10, 1), segment_of(64, 1)
    (6, 24, 1, 2)
    """
    if window <= _MOST_SEGMENTS:
        return 1
    wanted = math.ceil(window / _MOST_SEGMENTS)
    divisors = [part for part in range(wanted, season + 1) if season % part == 0]
    return divisors[0] if divisors and window / divisors[0] >= _LEAST_SEGMENTS else wanted


def book_of(panel: Panel, window: int, h: int, season: int) -> int:
    """Seasons of the long book the series reach with a half of their history left to learn from; 0 for none.

    >>> from types import SimpleNamespace
    >>> book_of(SimpleNamespace(lengths=np.array([24 * 60])), 72, 24, 24)
    28
    """
    if season < 2 or h > _MOST_DAYS_AHEAD * season:
        return 0
    room = (int(np.quantile(panel.lengths, 0.75)) // 2) // season - 1
    days = min(_DAYS, room)
    return days if days > -(-h // season) + 1 else 0


def choose_start(
    panel: Panel, made: Setup, config: OpenBookConfig, train: TrainConfig, scaling: Scaling | None
) -> tuple[Start, dict[str, Decision]]:
    """Window and scaling whose closed-form map does best on validation windows; the shorter window where nearly equal."""
    error, shape, season = error_of(train.loss), made.shape, made.season
    sizes = [config.window] if config.window else window_candidates(panel, shape.h, season)
    # One unit for all windows says nothing where series differ in size; static inputs have no differences.
    changes = error_scale(panel, 1, Origins(np.arange(len(panel)), panel.offsets[1:]))
    alike = bool(np.nanmax(changes) <= _ALIKE * np.nanmin(changes)) if np.isfinite(changes).any() else False
    common = COMMON if alike and not shape.n_static else ()
    scalings: tuple[Scaling, ...] = (scaling,) if scaling else ("standard", "last", *common)
    tried: dict[tuple[Scaling, int], float] = {}
    longest = WindowShape(max(sizes), shape.h)
    widest = split_windows(panel, longest, validation_size=train.validation_size, season=season)
    unit = series_unit(panel, widest, season, train.loss)
    for kind in scalings:
        scaled, resident = scaled_by(panel, made, kind)
        for size in sizes:
            windows = replace(scaled.windows, input_size=size)
            tables = _tables(panel, resident, shape, windows, train, unit, _FEW)
            tried[kind, size] = solve(*tables, error).error
    # Windows of one unit forget how restless each is: the map hardly minds, what is learned on top of it does.
    handicap = {
        key: value / (_CLEARLY if key[0] in COMMON and len(scalings) > 1 else 1.0) for key, value in tried.items()
    }
    finite = {key: value for key, value in handicap.items() if np.isfinite(value)}
    if finite:
        best = min(finite.values())
        kind, size = next(key for key in sorted(finite, key=lambda key: key[1]) if finite[key] <= _NEARLY * best)
        told = "; ".join(f"{kind} {size}: {tried[kind, size]:.4g}" for kind, size in sorted(finite))
        why = f"validation error of the closed-form map, in units of each series: {told}"
    else:
        kind, size, why = scalings[-1], sizes[-1], "nothing held out to compare windows on"
    scaled, resident = scaled_by(panel, made, kind)
    windows = replace(scaled.windows, input_size=size, unit=common_unit(panel, size) if kind in COMMON else 1.0)
    tables = _tables(panel, resident, shape, windows, train, unit, _MANY)
    solved = solve(*tables, error)
    segment = config.segment or segment_of(size, season)
    decisions = {
        "input_size": Decision(size, why if len(sizes) > 1 else "as given"),
        "scaling": Decision(kind, why if len(scalings) > 1 else "as given"),
        "segment": Decision(segment, "as given" if config.segment else f"{-(-size // segment)} segments of the window"),
        "penalty": Decision(
            solved.penalty, f"validation error {solved.error:.4g} of the skip path, in units of its mean diagonal"
        ),
    }
    return Start(replace(config, window=size, segment=segment), windows, solved, scaled.columns), decisions


def common_unit(panel: Panel, size: int) -> float:
    """The typical spread within windows of ``size`` steps: one unit for all windows that keeps their values near one.

    >>> from types import SimpleNamespace
    >>> common_unit(SimpleNamespace(target=np.array([1.0, 3.0] * 50), offsets=np.array([0, 100])), 2)
    1.0
    """
    end = np.unique(np.linspace(size, panel.offsets[-1], _FEW).astype(int))
    rows = panel.target[np.maximum(end[:, None] - np.arange(1, size + 1), 0)]
    owner = np.searchsorted(panel.offsets, end - 1, side="right")
    whole = owner == np.searchsorted(panel.offsets, np.maximum(end - size, 0), side="right")
    seen = np.isfinite(rows) & whole[:, None]
    count = np.maximum(seen.sum(1), 1)
    mean = np.where(seen, rows, 0.0).sum(1) / count
    power = np.where(seen, (rows - mean[:, None]) ** 2, 0.0).sum(1) / count
    typical = float(np.sqrt(power[seen.any(1)].mean())) if seen.any() else 0.0
    return typical if typical > 0 else 1.0


def scaled_by(panel: Panel, made: Setup, kind: Scaling) -> tuple[Setup, Resident]:
    """The setup with another scaling, and the panel laid out with it."""
    unit = float(difference_std(panel.target[:, None], panel.offsets)[0]) if kind in COMMON else 1.0
    columns = fit_inputs(np.concatenate([panel.hist, panel.futr], axis=1), panel.offsets, kind)
    windows = WindowShape(made.windows.input_size, made.shape.h, kind, unit)
    return made._replace(windows=windows, columns=columns), make_resident(panel, made.layout, columns)


def _tables(
    panel: Panel,
    resident: Resident,
    shape: ModelShape,
    windows: WindowShape,
    train: TrainConfig,
    unit: np.ndarray,
    most: int,
) -> tuple[Table, Table | None]:
    split = split_windows(panel, windows, validation_size=train.validation_size, season=shape.season)
    n_variables, n_known, n_static, n_calendar = sizes_of(shape)
    skip = skip_shape(
        windows.input_size, shape.h, n_variables=n_variables, n_known=n_known, n_fixed=n_static + n_calendar
    )
    learnt = tabulate(resident, split.train, windows, skip, unit, most)
    judged = tabulate(resident, split.validation, windows, skip, unit, _FEW) if split.validation else None
    return learnt, judged


def decided_config(decisions: Mapping[str, Any], config: OpenBookConfig) -> tuple[OpenBookConfig, Scaling]:
    """A config without open fields, and the scaling, from decisions as they are kept; raises ``UsageError``.

    >>> told = {"input_size": 48, "scaling": "last", "segment": 2, "book": 0, "mixing": False, "cycle": False}
    >>> decided_config({name: Decision(value, "tried") for name, value in told.items()}, OpenBookConfig())[0].window
    48
    """
    needed = ("input_size", "scaling", "segment", "book", "mixing", "cycle")
    absent = [name for name in needed if name not in decisions]
    if absent:
        raise UsageError(
            "missing_decisions",
            expected=f"decisions of a fitted openbook forecaster: {', '.join(needed)}",
            got=f"no {', '.join(absent)}",
            where="from_decisions",
            fix="pass the decisions attribute of a forecaster fitted with model='openbook'",
        )
    found = {name: decisions[name] for name in needed}
    value = {name: told["value"] if isinstance(told, Mapping) else told.value for name, told in found.items()}
    scaling: Scaling = value.pop("scaling")
    return replace(config, window=value.pop("input_size"), **value), scaling


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


def run_again(bench: Bench, trial: Trial, panel: Panel, seed: int) -> nn.Module:
    """The same training with the held-out tail among what is learned, for as many steps as validated best."""
    train, windows = bench.train, windows_of(bench, trial.config)
    all_of_it = split_windows(panel, bench.start.windows, validation_size=0, season=bench.shape.season)
    tables = _tables(
        panel, bench.resident, bench.shape, bench.start.windows, replace(train, validation_size=0), bench.unit, _MANY
    )
    solved = solve(*tables, error_of(train.loss), penalty=bench.start.solved.penalty)
    model = member(bench._replace(start=bench.start._replace(solved=solved)), trial.config, seed)
    if not trial.history.best_step:
        return model
    length = trial.max_steps if trial.history.stopped_by != "budget_s" else trial.history.steps
    rate = trial.pace * train.learning_rate
    again = replace(train, max_steps=length, stop_after=trial.history.best_step, budget_s=None, learning_rate=rate)
    shape = replace(bench.shape, input_size=windows.input_size)
    train_model(
        model, bench.resident, all_of_it, windows, shape=shape, config=again, seed=seed, progress=bench.progress
    )
    return model


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
    told = {
        "book": Decision(first.book, "as given" if config.book is not None else "no season, or too short a history"),
        "mixing": Decision(first.mixing, "as given" if config.mixing is not None else "the target stands alone"),
        "cycle": Decision(first.cycle, "as given" if config.cycle is not None else "no calendar"),
    }
    if not bench.split.validation:
        return run_trial(bench, first, seed, budget_s), told
    each = budget_s / (len(switches) + 1)
    best = run_trial(bench, first, seed, each)
    for name, value in switches:
        other = run_trial(bench, replace(best.config, **{name: value}), seed, each)
        better = other.loss < best.loss * (_WORTH if value else 1.0)
        why = f"validation loss with {getattr(best.config, name)}: {best.loss:.4g}, with {value}: {other.loss:.4g}"
        best = other if better else best
        told[name] = Decision(getattr(best.config, name), why)
    return best, told


def train_fully(bench: Bench, best: Trial, seed: int, budget_s: float) -> tuple[Trial, Decision]:
    """The chosen parts at the usual pace and at a slower one, each with half of the time; the better of them and the trial.

    A slow pace can not be judged by a short trial, where it always looks careful.
    """
    pair = [run_trial(bench, best.config, seed, budget_s / 2, pace) for pace in (1.0, _SLOW)]
    rate = bench.train.learning_rate
    told = ", ".join(f"at {trial.pace * rate:g}: {trial.loss:.4g}" for trial in pair)
    chosen = min(best, *pair, key=lambda trial: trial.loss)
    return chosen, Decision(chosen.pace * rate, f"validation loss {told}; in its trial: {best.loss:.4g}")


def time_left(train: TrainConfig, begin: float) -> float:
    """Seconds of the budget that are left."""
    budget = BUDGET_S if train.budget_s is None else train.budget_s
    return max(1.0, budget - (time.perf_counter() - begin))
