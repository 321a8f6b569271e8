"""Inputs and targets of the ridge floor: windows of the past and known-future values as rows of one matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from openbook.data.panel import Panel
from openbook.forecast.bands import carried_forward, known_or_one, lagged, mean_before
from openbook.forecast.origins import Origins

# More input columns than this cost minutes and teach a linear map little.
_MAX_EXOG_COLUMNS = 480
_CHUNK = 4096


@dataclass(frozen=True)
class Layout:
    """Which columns a row of inputs has: ``window`` own lags, then past inputs, then known-future inputs of the horizon.

    ``past`` rows of hist and futr before the origin are read; the h horizon steps of futr are averaged in blocks of
    ``block`` steps. ``center`` and ``spread`` [P + K] standardise the input columns.
    """

    h: int
    window: int
    past: int
    block: int
    center: np.ndarray
    spread: np.ndarray

    @property
    def blocks(self) -> int:
        return -(-self.h // self.block)

    def groups(self, panel: Panel) -> dict[str, int]:
        """Number of columns of each group, in their order."""
        hist, futr = panel.hist.shape[1], panel.futr.shape[1]
        return {"own": self.window, "past": self.past * (hist + futr), "ahead": self.blocks * futr}


class Rows(NamedTuple):
    """Inputs ``x`` [W, D] and targets ``y`` [W, h] in units of ``scale`` [W] above the ``last`` [W] observed value."""

    x: np.ndarray
    y: np.ndarray
    last: np.ndarray
    scale: np.ndarray


@dataclass(frozen=True)
class Prepared:
    """A panel ready to be cut into windows.

    ``own`` [R] and ``exog`` [R, P + K] have their gaps carried forward, ``goal`` [R] are the values to learn.
    """

    panel: Panel
    own: np.ndarray
    exog: np.ndarray
    goal: np.ndarray
    lags: tuple[int, ...]


def make_layout(panel: Panel, h: int, window: int) -> Layout:
    """The layout of a training panel: widths kept within a budget, input columns standardised by their own moments."""
    hist, futr = panel.hist.shape[1], panel.futr.shape[1]
    exog = np.concatenate([panel.hist, panel.futr], axis=1)
    seen = np.isfinite(exog)
    count = np.maximum(seen.sum(axis=0), 1)
    center = np.where(seen, exog, 0.0).sum(axis=0) / count
    spread = np.sqrt((np.where(seen, exog - center, 0.0) ** 2).sum(axis=0) / count)
    # A constant column has rounding noise for a spread: it must stay zero after centering, not be blown up.
    spread = np.where(spread > 1e-9 * np.maximum(1.0, np.abs(center)), spread, np.inf)
    block = max(1, -(-futr * h // _MAX_EXOG_COLUMNS))
    past = min(window, 2 * h, max(1, _MAX_EXOG_COLUMNS // max(1, hist + futr)))
    return Layout(h, window, past if hist + futr else 0, block, center, spread)


def prepare(panel: Panel, layout: Layout) -> Prepared:
    """Carry gaps forward and standardise the inputs; what was never seen becomes the column's mean."""
    exog = (np.concatenate([panel.hist, panel.futr], axis=1) - layout.center) / layout.spread
    return Prepared(
        panel=panel,
        own=carried_forward(panel, panel.target),
        exog=np.nan_to_num(carried_forward(panel, exog), nan=0.0) if exog.shape[1] else exog,
        goal=panel.target,
        lags=tuple(dict.fromkeys((1, max(1, layout.h // 2), layout.h))),
    )


def change_scale(prepared: Prepared, origins: Origins) -> np.ndarray:
    """Root mean squared change over 1, h/2 and h steps before each origin, [W]: the size of what is to be forecast."""
    panel = prepared.panel
    squared = [mean_before(panel, (panel.target - lagged(panel, lag)) ** 2, origins) for lag in prepared.lags]
    known = np.isfinite(squared)
    total = np.where(known, squared, 0.0).sum(axis=0)
    return known_or_one(np.sqrt(total / np.maximum(known.sum(axis=0), 1)))


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
    lags = np.where(inside, (own[rows] - last[:, None]) / scale[:, None], 0.0)
    parts = [np.nan_to_num(lags, nan=0.0)]
    if layout.past:
        rows, inside = before(layout.past)
        sizes = layout.groups(panel)
        parts.append((prepared.exog[rows] * inside[:, :, None]).reshape(len(end), sizes["past"]))
        known = prepared.exog[end[:, None] + step, panel.hist.shape[1] :]
        edges = np.arange(0, layout.h, layout.block)
        width = np.diff(edges, append=layout.h)[:, None]
        parts.append((np.add.reduceat(known, edges, axis=1) / width).reshape(len(end), sizes["ahead"]))
    y = (prepared.goal[end[:, None] + step] - last[:, None]) / scale[:, None]
    return Rows(np.concatenate(parts, axis=1), y, last, scale)


def chunks(prepared: Prepared, origins: Origins, layout: Layout, scale: np.ndarray) -> Iterator[Rows]:
    """``cut`` in pieces that fit in memory; ``scale`` [W] belongs to the origins."""
    for first in range(0, len(origins.end), _CHUNK):
        part = slice(first, first + _CHUNK)
        yield cut(prepared, Origins(origins.series[part], origins.end[part]), layout, scale[part])


def columns(layout: Layout, panel: Panel, window: int, groups: tuple[str, ...]) -> np.ndarray:
    """Indices of the columns of the last ``window`` own lags and the named groups of inputs."""
    sizes = layout.groups(panel)
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
