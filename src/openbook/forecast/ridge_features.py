"""Inputs and targets of the ridge floor: windows of the past and known-future values as rows of one matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from openbook.data.panel import Panel
from openbook.forecast.bands import ROUNDING, carried_forward, lagged, mean_before
from openbook.forecast.origins import Origins
from openbook.nn.recall import Gaps, begun_at, recalled_rows
from openbook.windows.scaling import weighted_moments

# More input columns than this cost minutes and teach a linear map little.
_MAX_EXOG_COLUMNS = 480
_CHUNK = 4096


@dataclass(frozen=True)
class Layout:
    """Which columns a row of inputs has: ``window`` own lags, past inputs, known-future inputs of the horizon, static ones.

    ``past`` rows of hist and futr before the origin are read; the h horizon steps of futr are averaged in blocks of
    ``block`` steps. ``center`` and ``spread`` [P + K] standardise the input columns. Places among these P + K: ``moving``
    with their past, ``ahead`` (those of ``moving`` that are known ahead) with their horizon, ``static`` once each, as what
    each series has in its static columns: ``stat`` are places among these S, ``stat_center`` and ``stat_spread`` theirs.
    Gaps in the own lags are recalled from earlier days of ``season`` steps.
    """

    h: int
    window: int
    past: int
    block: int
    center: np.ndarray
    spread: np.ndarray
    moving: np.ndarray
    ahead: np.ndarray
    static: np.ndarray
    stat: np.ndarray
    stat_center: np.ndarray
    stat_spread: np.ndarray
    season: int = 1

    @property
    def blocks(self) -> int:
        return -(-self.h // self.block)

    @property
    def groups(self) -> dict[str, int]:
        """Number of columns of each group, in their order; groups of inputs without a column are left out."""
        sizes = {
            "past": self.past * len(self.moving),
            "ahead": self.blocks * len(self.ahead),
            "static": len(self.static) + len(self.stat),
        }
        return {"own": self.window} | {name: size for name, size in sizes.items() if size}


class Rows(NamedTuple):
    """Inputs ``x`` [W, D] and targets ``y`` [W, h] in units of ``scale`` [W] above the ``last`` [W] value, or its stand-in."""

    x: np.ndarray
    y: np.ndarray
    last: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Prepared:
    """A panel ready to be cut into windows.

    ``own`` [R] has its gaps recalled from each series' ``first`` value on (its row, [N]), the inputs ``moving``, ``ahead`` and
    ``static`` [R, columns of that kind] have theirs carried forward, ``stat`` [N, columns] is what each series has, and
    ``goal`` [R] are the values to learn. Windows for ``learning`` have 0 before the first value, others its first season.
    """

    panel: Panel
    own: np.ndarray
    first: np.ndarray
    moving: np.ndarray
    ahead: np.ndarray
    static: np.ndarray
    stat: np.ndarray
    goal: np.ndarray
    lags: tuple[int, ...]
    learning: bool


def make_layout(panel: Panel, h: int, window: int, season: int = 1) -> Layout:
    """The layout of a training panel: widths kept within a budget, input columns standardised by their own moments."""
    exog = np.concatenate([panel.hist, panel.futr], axis=1)
    seen = np.isfinite(exog)
    count = np.maximum(seen.sum(axis=0), 1)
    center = np.where(seen, exog, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(seen, exog - center, 0.0) ** 2).sum(axis=0) / count)
    # A constant column has rounding noise for a spread: it must be left out, not be blown up.
    varies = spread > 1e-9 * np.abs(center)
    still = _still(panel, exog)
    moving, static = np.flatnonzero(varies & ~still), np.flatnonzero(varies & still)
    ahead = moving[moving >= panel.hist.shape[1]]
    block = max(1, -(-len(ahead) * h // _MAX_EXOG_COLUMNS))
    past = min(window, 2 * h, max(1, _MAX_EXOG_COLUMNS // max(1, len(moving))))
    stat_center, stat_spread = weighted_moments(_stat(panel), panel.lengths)
    return Layout(
        h=h,
        window=window,
        past=past if len(moving) else 0,
        block=block,
        center=center,
        spread=np.where(varies, spread, np.inf),
        moving=moving,
        ahead=ahead,
        static=static,
        stat=np.flatnonzero(stat_spread > 1e-9 * np.abs(stat_center)),
        stat_center=stat_center,
        stat_spread=stat_spread,
        season=season,
    )


def _stat(panel: Panel) -> np.ndarray:
    """What each series has in its static columns, [N, S]."""
    return np.empty((len(panel), 0)) if panel.stat is None else panel.stat


def _still(panel: Panel, exog: np.ndarray) -> np.ndarray:
    """Which columns [P + K] have one value in each of several series: of these one step tells as much as all of them."""
    if len(panel) < 2:
        return np.zeros(exog.shape[1], bool)
    low, high = (edge.reduceat(exog, panel.offsets[:-1], axis=0) for edge in (np.fmin, np.fmax))
    return np.logical_not((high > low).any(axis=0))


def prepare(panel: Panel, layout: Layout, *, learning: bool = False) -> Prepared:
    """Fill gaps from what came before and standardise the inputs; what was never seen becomes the column's mean."""
    exog = (np.concatenate([panel.hist, panel.futr], axis=1) - layout.center) / layout.spread
    exog = np.nan_to_num(carried_forward(panel, exog), nan=0.0) if exog.shape[1] else exog
    return Prepared(
        panel=panel,
        own=_recalled(panel, layout.season),
        first=panel.observed_span()[0],
        moving=exog[:, layout.moving],
        ahead=exog[:, layout.ahead],
        static=exog[:, layout.static],
        stat=np.nan_to_num(
            (_stat(panel)[:, layout.stat] - layout.stat_center[layout.stat]) / layout.stat_spread[layout.stat], nan=0.0
        ),
        goal=panel.target,
        lags=tuple(dict.fromkeys((1, max(1, layout.h // 2), layout.h))),
        learning=learning,
    )


def _recalled(panel: Panel, season: int) -> np.ndarray:
    """The target [R] with its gaps recalled; NaN before the first value of a series."""
    seen = np.isfinite(panel.target)
    gap_K = np.flatnonzero(~seen)
    if not len(gap_K):
        return panel.target
    start_K = panel.offsets[np.searchsorted(panel.offsets, gap_K, side="right") - 1]
    gaps = Gaps(torch.from_numpy(gap_K), torch.from_numpy(start_K))
    filled = panel.target.copy()
    filled[gap_K] = recalled_rows(torch.from_numpy(panel.target), torch.from_numpy(seen), gaps, season).numpy()
    return filled


def change_scale(prepared: Prepared, origins: Origins, usual: float = 0.0) -> np.ndarray:
    """Root mean squared change over 1, h/2 and h steps before each origin, [W]: the size of what is to be forecast.

    Of a series that never changed, but for rounding, or has one value, ``usual`` times its mean absolute value.
    """
    panel = prepared.panel
    level = np.nan_to_num(mean_before(panel, np.abs(panel.target), origins))
    squared = [mean_before(panel, (panel.target - lagged(panel, lag)) ** 2, origins) for lag in prepared.lags]
    known = np.isfinite(squared)
    total = np.where(known, squared, 0.0).sum(axis=0)
    changed = np.sqrt(total / np.maximum(known.sum(axis=0), 1))
    return np.where(changed > ROUNDING * level, changed, usual * level)


def usual_change(prepared: Prepared, scale: np.ndarray) -> float:
    """How large the changes ``scale`` [N] of the typical series are beside its mean absolute value; 0 where none moves."""
    panel = prepared.panel
    level = mean_before(panel, np.abs(panel.target), Origins(np.arange(len(panel)), panel.offsets[1:]))
    moves = (scale > 0) & (level > 0)
    return float(np.median(scale[moves] / level[moves])) if moves.any() else 0.0


def cut(prepared: Prepared, origins: Origins, layout: Layout, scale: np.ndarray) -> Rows:
    """Inputs and targets of all origins at once; see ``chunks`` for many."""
    panel, own = prepared.panel, prepared.own
    start, end = panel.offsets[origins.series], origins.end
    last = np.where(end > start, own[end - 1], np.nan)
    step = np.arange(layout.h)

    def before(width: int) -> tuple[np.ndarray, np.ndarray]:
        rows = end[:, None] + np.arange(-width, 0)
        return np.maximum(rows, 0), rows >= start[:, None]

    rows, inside = before(layout.window)
    if layout.season > 1 and not prepared.learning:
        first = prepared.first[origins.series][:, None]
        begun = begun_at(end[:, None] + np.arange(-layout.window, 0), first, layout.season)
        early = ~inside | (rows < first)
        rows = np.where(early, np.minimum(begun, len(own) - 1), rows)
        inside = np.where(early, begun < end[:, None], inside)
    lags = np.where(inside, (own[rows] - last[:, None]) / scale[:, None], 0.0)
    parts = [np.nan_to_num(lags, nan=0.0)]
    sizes = layout.groups
    if "past" in sizes:
        rows, inside = before(layout.past)
        parts.append((prepared.moving[rows] * inside[:, :, None]).reshape(len(end), sizes["past"]))
    if "ahead" in sizes:
        known = prepared.ahead[end[:, None] + step]
        edges = np.arange(0, layout.h, layout.block)
        width = np.diff(edges, append=layout.h)[:, None]
        parts.append((np.add.reduceat(known, edges, axis=1) / width).reshape(len(end), sizes["ahead"]))
    if "static" in sizes:
        rows, inside = before(1)
        parts += [prepared.static[rows[:, 0]] * inside, prepared.stat[origins.series]]
    y = (prepared.goal[end[:, None] + step] - last[:, None]) / scale[:, None]
    return Rows(np.concatenate(parts, axis=1), y, last, scale)


def chunks(prepared: Prepared, origins: Origins, layout: Layout, scale: np.ndarray) -> Iterator[Rows]:
    """``cut`` in pieces that fit in memory; ``scale`` [W] belongs to the origins."""
    for first in range(0, len(origins.end), _CHUNK):
        part = slice(first, first + _CHUNK)
        yield cut(prepared, Origins(origins.series[part], origins.end[part]), layout, scale[part])


def columns(layout: Layout, window: int, groups: tuple[str, ...]) -> np.ndarray:
    """Indices of the columns of the last ``window`` own lags and the named groups of inputs."""
    sizes = layout.groups
    first = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    own = np.arange(layout.window - window, layout.window)
    return np.concatenate([own, *[np.arange(first[name], first[name] + sizes[name]) for name in groups]])


def filled_between(panel: Panel) -> np.ndarray:
    """The target [R] with its gaps filled on the straight line between their neighbours; ends stay missing.

    Looks ahead of a gap, hence for targets of the training part only.
    """
    before = carried_forward(panel, panel.target)
    position = np.where(np.isfinite(panel.target), np.arange(len(panel.target), dtype=float), np.nan)
    left = carried_forward(panel, position)
    mirrored = Panel(
        panel.ids,
        (len(panel.target) - panel.offsets)[::-1],
        panel.times,
        panel.target,
        panel.hist,
        panel.futr,
        panel.freq,
    )
    after = carried_forward(mirrored, panel.target[::-1])[::-1]
    right = carried_forward(mirrored, position[::-1])[::-1]
    share = (np.arange(len(left)) - left) / np.maximum(right - left, 1.0)
    return before + share * (after - before)
