"""How far series differ in what their bands hold: how much each band goes by its own errors, and how much by those of all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.forecast.origins import Origins, stretches

ASKED = 80.0  # the level by whose bands series are compared
_LEAST = 1.0  # stretches that all series count for beside a series' own, however much they differ
ENOUGH = 4  # stretches before a series' own count at all: of two or three 80 % are the larger one
_CLEARLY = 4.0  # standard deviations that differences between series have to lie above what chance makes of none


class Owners(NamedTuple):
    """Whose W windows are: names of series, each window's place among them [W], and its stretch of a horizon [W]: a number that
    windows of one series share where they overlap, and those of two never."""

    names: tuple[str, ...]
    series_W: np.ndarray
    stretch_W: np.ndarray

    @property
    def stretches_N(self) -> np.ndarray:
        """How many stretches there are of each series, [N]."""
        return _first(self)[1]


def owners_of(panel: Panel, windows: Origins, h: int) -> Owners:
    """Whose windows of a panel these are."""
    asked, series_W = np.unique(windows.series, return_inverse=True)
    apart_W = windows.series * (int(panel.offsets[-1]) + 1) + stretches(panel, windows, h)
    return Owners(tuple(map(id_text, panel.ids[asked])), series_W, apart_W)


def held_by(inside_WH: np.ndarray, known_WH: np.ndarray) -> np.ndarray:
    """The share of each window's known truths that lie inside a band, [W]; NaN where none is known."""
    count_W = known_WH.sum(1)
    return np.where(count_W > 0, (inside_WH & known_WH).sum(1) / np.maximum(count_W, 1), np.nan)


def _first(owners: Owners) -> tuple[np.ndarray, np.ndarray]:
    """The series [K] of every stretch and how many each series has [N]."""
    _, first_K = np.unique(owners.stretch_W, return_index=True)
    series_K = owners.series_W[first_K]
    return series_K, np.bincount(series_K, minlength=len(owners.names))


def own_shares(held_W: np.ndarray, owners: Owners) -> np.ndarray:
    """How much the bands of each series go by its own errors, [N] from 0 to 1; all 0 where series do not clearly differ.

    ``held_W``: the share of each window's truths that the bands of all series hold (NaN: nothing known). Stretches of a horizon
    are the observations. What they vary within series and between them says how much a series' own are worth: n of them count
    n / (n + K), with K the ratio of the two variances (Bühlmann 1967, Experience rating and credibility); fewer than four count
    nothing. That series vary more than chance lets them is asked of the F ratio first.

    >>> owners = Owners(("calm", "wild"), np.repeat([0, 1], 6), np.arange(12))
    >>> own_shares(np.tile([0.7, 0.9], 6), owners), own_shares(np.repeat([1.0, 0.5], 6), owners)
    (array([0., 0.]), array([0.85714286, 0.85714286]))
    """
    nothing = np.zeros(len(owners.names))
    seen_W = np.isfinite(held_W)
    owners = owners._replace(series_W=owners.series_W[seen_W], stretch_W=owners.stretch_W[seen_W])
    if not seen_W.any():
        return nothing
    _, place_W = np.unique(owners.stretch_W, return_inverse=True)
    held_K = np.bincount(place_W, held_W[seen_W]) / np.bincount(place_W)
    series_K, count_N = _first(owners)
    groups, total = int((count_N > 0).sum()), len(held_K)
    if groups < 2 or total <= groups:
        return nothing
    mean_N = np.bincount(series_K, held_K, minlength=len(count_N)) / np.maximum(count_N, 1)
    within = float(((held_K - mean_N[series_K]) ** 2).sum()) / (total - groups)
    between = float((count_N * (mean_N - held_K.mean()) ** 2).sum()) / (groups - 1)
    chance = 1 + _CLEARLY * np.sqrt(2 / (groups - 1) + 2 / (total - groups))
    if between <= chance * within:
        return nothing
    usual = (total - float((count_N**2).sum()) / total) / (groups - 1)
    strength = max(_LEAST, within * usual / (between - within))
    return np.where(count_N >= ENOUGH, count_N / (count_N + strength), 0.0)
