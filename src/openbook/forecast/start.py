"""Where ``openbook`` starts from: window, scaling and penalty, by what closed-form maps reach on validation windows.

Only the panel that is learned from enters here: its held-out tail judges, nothing behind it exists.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from openbook.data.panel import Panel
from openbook.forecast.bands import lagged, mean_before
from openbook.forecast.budget import Budget
from openbook.forecast.closed_form import (
    Averaged,
    By,
    Counting,
    Error,
    Own,
    Solved,
    Table,
    Towards,
    absolute,
    average,
    own_maps,
    solve,
    squared,
    tabulate,
    with_own,
)
from openbook.forecast.decisions import MOST_STEPS, Decision
from openbook.forecast.origins import Origins
from openbook.forecast.setup import Setup, leaning, season_changes, series_unit
from openbook.models.base import ModelShape
from openbook.models.openbook import OpenBookConfig, sizes_of
from openbook.nn.skip import skip_shape
from openbook.training.loop import TrainConfig
from openbook.training.losses import SCALED, Loss
from openbook.windows.sampler import Resident, Split, WindowShape, input_scaler, make_resident, split_windows
from openbook.windows.scaling import COMMON, OWN, ColumnScaler, Scaling, difference_std

_FEW, MANY = 3_000, 24_000  # windows to compare maps on, and to solve the chosen one on
_SEASONS = (2, 3, 4, 7, 14)
_USUAL_SEASONS = 7
_NEARLY = 1.005  # a shorter window is taken where it is this near to the best
_FAR = 1.15  # a window whose map does this much worse by itself is not averaged
_LEAST_SEGMENTS, _MOST_SEGMENTS = 8, 32
_ALL = "all that the histories allow"
_CLEARLY = 0.95  # a unit that all windows share has to do this much better than one of each window's own
_BETTER = 0.98  # windows that count by something else than their series have to do this much better
_ALIKE = 3.0  # how much larger the changes, or errors, of one series may be than those of another to share a unit
_DAYS, _MOST_DAYS_AHEAD = 28, 7
_MOST_ROWS = 1_500  # of a long book: every window reads them all
# Shares of the time budget after which no further window is tried, and nothing that can be left out is solved: on a usual
# machine all of it takes less, on a busy one a fit of a minute took four.
_TRYING, SOLVING = 0.4, 0.65
_AS_LONG = 4  # the map of many windows takes this many times as long as one that is tried
NO_TIME = "the time budget left no time to try"


class Start(NamedTuple):
    """A decided window: config with windows and segment, how windows are cut, the map to start from, how inputs are scaled,
    what windows count by (and why), and the maps that series have of their own; ``beside``: another scaling that members may
    have, which ``alike`` series share."""

    config: OpenBookConfig
    windows: WindowShape
    averaged: Averaged
    columns: ColumnScaler
    counting: Counting
    own: tuple[Own, ...] = ()
    beside: Scaling | None = None
    alike: bool = True
    counted: str = ""

    @property
    def solved(self) -> Solved:
        """The map to start from."""
        return self.averaged.solved

    @property
    def reading(self) -> WindowShape:
        """The windows the map reads, scaled as the recurrence's are."""
        return reading(self.windows, max(self.averaged.windows))


def error_of(loss: Loss) -> Error:
    """The error maps are compared by: squared where the loss is, else absolute."""
    return squared if loss == "mse" else absolute


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

    Four weeks of hours or half hours; of quarters 15 days, of ten minutes 10: it is read row by row.

    >>> from types import SimpleNamespace
    >>> hours, quarters = (SimpleNamespace(lengths=np.array([season * 60])) for season in (24, 96))
    >>> book_of(hours, 72, 24, 24), book_of(quarters, 192, 96, 96)
    (28, 15)
    """
    if season < 2 or h > _MOST_DAYS_AHEAD * season:
        return 0
    room = (int(np.quantile(panel.lengths, 0.75)) // 2) // season - 1
    days = min(_DAYS, room, _MOST_ROWS // season)
    return days if days > -(-h // season) + 1 else 0


def choose_start(
    panel: Panel, made: Setup, config: OpenBookConfig, train: TrainConfig, scaling: Scaling | None, budget: Budget
) -> tuple[Start, dict[str, Decision]]:
    """Window and scaling whose closed-form map does best on validation windows; the shorter window where nearly equal.

    Tried from the usual one outwards, two fifths of the time budget at most; where two thirds are gone, one map has to do.
    """
    error, shape, season = error_of(train.loss), made.shape, made.season
    sizes, most, only = window_candidates(panel, shape.h, season), config.skip_window if config.skip else None, _ALL
    if most and max(sizes) > most:  # the recurrence reads no farther back than the linear path is asked to
        sizes, only = [size for size in sizes if size <= most] or [most], "no farther back than skip_window"
    sizes = [config.window] if config.window else sizes
    # One unit for all windows says nothing where series differ in size; static inputs have no differences.
    moved = np.abs(panel.target - lagged(panel, 1))
    changes = mean_before(panel, moved, Origins(np.arange(len(panel)), panel.offsets[1:]))
    changes = np.where(changes > 0, changes, np.nan)  # a series that stands still is of no size
    alike = len(panel) == 1
    if np.isfinite(changes).any():
        alike = bool(np.nanmax(changes) <= _ALIKE * np.nanmin(changes))
    # A target that stands alone has no inputs that could be read in levels: both are the same there.
    steps: tuple[Scaling, ...] = COMMON if shape.n_variables > 1 else ("difference",)
    common = steps if alike and not shape.n_static else ()
    scalings: tuple[Scaling, ...] = (scaling,) if scaling else ("standard", "last", *common)
    tried: dict[tuple[Scaling, int], float] = {}
    longest = WindowShape(max(sizes), shape.h)
    widest = split_windows(panel, longest, validation_size=train.validation_size, season=season)
    unit = series_unit(panel, widest, season, train.loss)
    shapes = {size: leaning(replace(longest, input_size=size), panel, season) for size in sizes}
    residents = {scalings[0]: scaled_by(panel, made, scalings[0])}
    residents |= {kind: scaled_by(panel, made, kind, residents[scalings[0]]) for kind in scalings[1:]}
    parted: dict[int, Split] = {}  # windows are cut alike whatever they are scaled by
    ways = [(kind, size) for size in sorted(sizes, key=lambda size: _from_usual(size, season)) for kind in scalings]
    for kind, size in ways:
        if tried and budget.gone(_TRYING):
            break
        scaled, resident = residents[kind]
        windows = replace(shapes[size], scaling=kind, unit=scaled.windows.unit)
        tables = tables_of(panel, resident, shape, windows, train, unit, _FEW, parted)
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
        cut = f"; the time budget allowed {len(tried)} of {len(ways)}" if len(tried) < len(ways) else ""
        why = f"validation error of the closed-form map, in units of each series: {told}{cut}"
    else:
        kind, size, why = scalings[-1], sizes[-1], "nothing held out to compare windows on"
    scaled, resident = residents[kind]
    parted = {size: parted[size]} if size in parted else {}  # the others would be kept in vain
    windows = replace(shapes[size], scaling=kind, unit=shapes[size].usual if kind in COMMON else 1.0)
    late = budget.gone(SOLVING, more=_AS_LONG / max(1, len(tried)))
    lags = lags_of(panel, config, shape.h, season, size, alone=late)
    if len(sizes) > 1 and finite:  # what is far behind by itself would hardly count
        far, asked = _FAR * tried[kind, size], config.skip_window
        lags = tuple(lag for lag in lags if lag == asked or tried.get((kind, lag), 0.0) <= far)
    few = None if late else tables_of(panel, resident, shape, windows, train, unit, _FEW, parted)
    counting, counted_why = choose_counting(few, train.loss, kind, unit / season_changes(panel, widest, season))
    whole, most = reading(windows, max(lags)), _FEW if late else MANY
    learnt, judged = tables_of(panel, resident, shape, whole, train, unit, most, parted)
    counted = counting.tables(learnt)
    averaged = average(counted, judged, error, lags, season)
    hurried = budget.gone(SOLVING)
    own = own_maps(counted[-1], judged, averaged.solved, error) if config.skip and not hurried else ()
    averaged = averaged._replace(solved=with_own(averaged.solved, own, judged, error))
    segment = config.segment or segment_of(size, season)
    decisions = {
        "input_size": Decision(size, why if len(sizes) > 1 else "as given" if config.window else only),
        "scaling": Decision(kind, why if len(scalings) > 1 else "as given" if scaling else _ALL),
        "segment": Decision(segment, "as given" if config.segment else f"{-(-size // segment)} segments of the window"),
    }
    decided = replace(config, window=size, skip_window=max(lags), segment=segment)
    of_a_size = not shape.n_static and float(unit.max()) <= _ALIKE * float(unit.min())
    possible = config.differences or (config.differences is None and scaling is None and of_a_size)
    of_size = {key[0]: value for key, value in tried.items() if key[1] == size}
    beside = _scaling_beside(kind, of_size) if possible else None
    start = Start(decided, windows, averaged, scaled.columns, counting, own, beside, alike, counted_why)
    return start, decisions | decisions_of_map(start, panel, given=bool(config.skip_window), hurried=hurried)


def decisions_of_map(
    start: Start, panel: Panel, *, given: bool = False, hurried: bool = False, judged: Scaling | None = None
) -> dict[str, Decision]:
    """What was decided of the map a training starts from; ``given``: its longest window was, ``hurried``: without own maps,
    ``judged``: in which other scaling the shares of own maps were found."""
    averaged = start.averaged
    own = _own_words(panel, start.own) + (f"; judged in {judged}" if start.own and judged else "")
    return {
        "skip_window": Decision(max(averaged.windows), ("as given, " if given else "") + _mean_words(averaged)),
        "counting": Decision(start.counting.by, start.counted),
        "own": Decision(len(start.own), NO_TIME if hurried else own),
        "penalty": Decision(
            averaged.solved.penalty,
            f"validation error {averaged.solved.error:.4g} of the skip path, in units of its mean diagonal",
        ),
    }


def _scaling_beside(kind: Scaling, tried: Mapping[Scaling, float]) -> Scaling:
    """What windows are scaled by a second time: differences, or where these stand already what did best of the others."""
    if kind != "difference":
        return "difference"
    return min(OWN, key=lambda own: tried.get(own, math.inf))


def start_beside(panel: Panel, made: Setup, first: Start, kind: Scaling, train: TrainConfig, unit: np.ndarray) -> Start:
    """The same windows in another scaling: with the map that is solved in it, of as many windows."""
    error, (scaled, resident) = error_of(train.loss), scaled_by(panel, made, kind)
    windows = replace(first.windows, scaling=kind, unit=first.windows.usual if kind in COMMON else 1.0)
    parted: dict[int, Split] = {}
    few = tables_of(panel, resident, made.shape, windows, train, unit, _FEW, parted)
    counting, why = choose_counting(few, train.loss, kind, first.counting.ratio_N.numpy())
    reads, lags = reading(windows, max(first.averaged.windows)), tuple(sorted(set(first.averaged.windows)))
    learnt, judged = tables_of(panel, resident, made.shape, reads, train, unit, MANY, parted)
    counted = counting.tables(learnt)
    averaged = average(counted, judged, error, lags, made.season)
    own = own_maps(counted[-1], None, averaged.solved, error, like=first.own)
    averaged = averaged._replace(solved=with_own(averaged.solved, own, judged, error))
    return Start(first.config, windows, averaged, scaled.columns, counting, own, first.windows.scaling, counted=why)


def _from_usual(size: int, season: int) -> float:
    """How far a window is from the one that did best on most data, seven seasons, as the logarithm of a ratio."""
    return abs(math.log(size / (_USUAL_SEASONS * max(season, 1))))


def _mean_words(averaged: Averaged) -> str:
    """Which windows' maps the skip path is the mean of, by what they are shrunk towards."""
    if len(averaged.windows) == 1:
        return "one map"
    shares: dict[Towards, dict[int, float]] = {}
    for lag, towards, share in zip(averaged.windows, averaged.towards, averaged.share, strict=True):
        of_kind = shares.setdefault(towards, {})
        of_kind[lag] = of_kind.get(lag, 0.0) + share
    named = {"zero": "shrunk towards zero", "season": "towards the same step of past seasons"}
    told = (
        f"{named[towards]} " + ", ".join(f"{lag} {share:.0%}" for lag, share in of_kind.items())
        for towards, of_kind in shares.items()
    )
    return f"mean of maps by how well each validated: {'; '.join(told)}"


def _own_words(panel: Panel, own: tuple[Own, ...]) -> str:
    """Which series have a map of their own, and its share."""
    told = ", ".join(f"{panel.ids[each.series]} {each.share:.0%}" for each in own)
    return f"share of a map of the series alone, where it validated better: {told}" if own else "one map for all series"


def choose_counting(
    tables: tuple[Table, Table | None] | None, loss: Loss, scaling: Scaling, ratio_N: np.ndarray
) -> tuple[Counting, str]:
    """What windows count by: their series, unless validation errors say clearly that a map learns better from others.

    ``ratio_N``: how a series' unit compares to its changes from season to season. Only windows that are scaled one by one
    differ in spread, and a scaled loss says itself what it counts in. Without ``tables`` there was no time to choose.
    """
    known_N = torch.from_numpy(np.where(np.isfinite(ratio_N), ratio_N, 1.0))
    if tables is None:
        return Counting("series", known_N), NO_TIME
    learnt, judged = tables
    ways: list[By] = ["series"]
    if loss == "mse" and len(ratio_N) > 1:
        ways.append("changes")
    if scaling in OWN:
        ways += ["halfway", "window"]
    if len(ways) == 1 or loss in SCALED or judged is None or not len(judged.x_WD):
        return Counting("series", known_N), "errors in units of each series: nothing to choose"
    found = {by: solve(Counting(by, known_N).of(learnt), judged, error_of(loss)).error for by in ways}
    least = min(ways, key=lambda by: found[by])
    best = least if found[least] < _BETTER * found["series"] else "series"
    told = ", ".join(f"{by} {value:.4g}" for by, value in found.items())
    mixed = "" if best == "series" else f"; the mean of maps by series and by {best}"
    return Counting(best, known_N), f"validation error of a map of windows that count by: {told}{mixed}"


def lags_of(
    panel: Panel, config: OpenBookConfig, h: int, season: int, size: int, *, alone: bool = False
) -> tuple[int, ...]:
    """Windows whose maps are averaged, up to what was given: those worth trying (unless ``alone``), the recurrence's, and the
    given one."""
    if not config.skip:
        return (size,)
    most = config.skip_window or config.window
    tried = {size, config.skip_window or size, *(() if alone else window_candidates(panel, h, season))}
    return tuple(sorted(lag for lag in tried if most is None or lag <= max(most, size)))


def reading(windows: WindowShape, longest: int) -> WindowShape:
    """Windows of ``longest`` steps that are scaled, and worth learning from, by those of the recurrence."""
    own = windows.input_size
    return replace(windows, input_size=max(longest, own), scale_steps=own)


def scaled_by(
    panel: Panel, made: Setup, kind: Scaling, like: tuple[Setup, Resident] | None = None
) -> tuple[Setup, Resident]:
    """The setup with another scaling, and the panel laid out with it; ``like``: the same with another one.

    But for differences all scalings see inputs alike: they share what is laid out.
    """
    unit = float(difference_std(panel.target[:, None], panel.offsets)[0]) if kind in COMMON else 1.0
    windows = WindowShape(made.windows.input_size, made.shape.h, kind, unit)
    if like is not None and "difference" not in (kind, like[0].windows.scaling):
        return made._replace(windows=windows, columns=like[0].columns), like[1]
    columns = input_scaler(panel, kind)
    resident = make_resident(panel, made.layout, columns, like=None if like is None else like[1])
    return made._replace(windows=windows, columns=columns), resident


def tables_of(
    panel: Panel,
    resident: Resident,
    shape: ModelShape,
    windows: WindowShape,
    train: TrainConfig,
    unit: np.ndarray,
    most: int,
    parted: dict[int, Split] | None = None,
) -> tuple[Table, Table | None]:
    """Windows to learn a map from, at most ``most``, and those that judge it, where any are held out.

    ``parted``: the panel's windows by their context, added to where they are not there yet.
    """
    size, parted = windows.scale_steps or windows.input_size, {} if parted is None else parted
    if size not in parted:  # as what is trained holds out
        cut = replace(windows, input_size=size)
        parted[size] = split_windows(panel, cut, validation_size=train.validation_size, season=shape.season)
    split = parted[size]
    n_variables, n_known, n_static, n_calendar = sizes_of(shape)
    skip = skip_shape(
        windows.input_size,
        shape.h,
        n_variables=n_variables,
        n_known=n_known,
        n_fixed=n_static + n_calendar,
        season=shape.recall or shape.season,
    )
    learnt = tabulate(resident, split.train, windows, skip, unit, most)
    judged = tabulate(resident, split.validation, windows, skip, unit, _FEW) if split.validation else None
    return learnt, judged
