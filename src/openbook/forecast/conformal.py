"""Intervals from quantiles, widened or narrowed per horizon step by what validation windows showed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from openbook.errors import UsageError
from openbook.forecast.own_bands import ASKED, Owners, held_by, own_shares

FEW = 10  # scores: with fewer a step's own say next to nothing
_ENOUGH = 20  # scores that a step with few borrows of its neighbours


@dataclass(frozen=True)
class Calibration:
    """Forecast quantiles [W, H, Q] and truths [W, H] (NaN unknown) of validation windows, both in scaled units.

    ``independent``: how many of the windows do not overlap; ``None`` where all are independent. ``owners``: whose they are;
    ``None`` where nobody asks.
    """

    quantiles: tuple[float, ...]
    quantile_WHQ: np.ndarray
    truth_WH: np.ndarray
    independent: int | None = None
    owners: Owners | None = None

    def interval(
        self, quantile_WHQ: np.ndarray, level: float, margin_WH: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bound [W, H] that should cover ``level`` percent (0 < level < 100); by other margins where given.

        Conformalised quantile regression (Romano, Patterson & Candès 2019, equations 6–8), split by horizon step: the
        band between the model's own quantiles is moved out by the ``level`` quantile of how far validation truths lay
        outside it. A band never crosses its median.
        """
        low, high = self.raw_band(quantile_WHQ, level)
        margin_WH = self.margins(level) if margin_WH is None else margin_WH
        median = quantile_WHQ[..., self.quantiles.index(0.5)]
        return np.minimum(low - margin_WH, median), np.maximum(high + margin_WH, median)

    def margins(self, level: float) -> np.ndarray:
        """How far the band of ``level`` is moved out (in where negative) at every step, [H].

        The finite-sample factor (1 + 1/n) of the rank counts n in windows that do not overlap: a month of daily origins
        half an hour apart is thirty days of evidence, not a thousand. A step with fewer than ten scores borrows those of its
        neighbours, as few as needed for twenty, and its band is never moved in.
        """
        outside_WH, H = self.scores(level), self.truth_WH.shape[1]
        if outside_WH.size == 0 or not np.isfinite(outside_WH).any():
            return np.zeros(H)
        count_H = np.isfinite(outside_WH).sum(0)
        return np.array(
            [
                _conformal_quantile(outside_WH[:, step], level, self.independent)
                if count_H[step] >= FEW
                else max(0.0, self._borrowed(outside_WH, count_H, step, level))
                for step in range(H)
            ]
        )

    def own_moves(self, level: float) -> dict[str, float]:
        """How much further than all bands of ``level`` those of a series are moved out at every step, by name.

        Beside calm series the bands of all are too narrow for a wild one: it has wider ones, by as much as its own scores are
        worth (``own_shares``). None is moved in: a few scores, or a calm while, say too little for that.
        """
        if self.owners is None or not len(self.truth_WH):
            return {}
        inside_WH = self.scores(ASKED) <= self.margins(ASKED)
        share_N = own_shares(held_by(inside_WH, np.isfinite(self.truth_WH)), self.owners)
        if not share_N.any():
            return {}
        beyond_WH, found = self.scores(level) - self.margins(level), {}
        for place in np.flatnonzero(share_N):
            own_WH, share = beyond_WH[self.owners.series_W == place], float(share_N[place])
            known = 1 / (share**2 / self.owners.stretches_N[place] + (1 - share) ** 2 / self.owners.stretches_N.sum())
            further = share * _conformal_quantile(own_WH.ravel(), level, known)
            if further > 0:
                found[self.owners.names[place]] = further
        return found

    def _borrowed(self, outside_WH: np.ndarray, count_H: np.ndarray, step: int, level: float) -> float:
        """The margin of a step by its own scores and its neighbours', each step counting as evidence of its own."""
        low, high = step, step + 1
        while count_H[low:high].sum() < _ENOUGH and (low > 0 or high < len(count_H)):
            low, high = max(0, low - 1), min(len(count_H), high + 1)
        steps = int((count_H[low:high] > 0).sum())
        known = None if self.independent is None else self.independent * steps
        return _conformal_quantile(outside_WH[:, low:high].ravel(), level, known)

    def scores(self, level: float) -> np.ndarray:
        """How far validation truths lay outside the model's own band (inside where negative), [W, H]."""
        return self.outside(self.quantile_WHQ, self.truth_WH, level)

    def outside(self, quantile_WHQ: np.ndarray, truth_WH: np.ndarray, level: float) -> np.ndarray:
        """The same of other windows."""
        low, high = self.raw_band(quantile_WHQ, level)
        return np.maximum(low - truth_WH, truth_WH - high)

    def raised(self, level: float, more: float = 0.0) -> float:
        """The level with its finite-sample factor, for ``more`` independent windows beside these."""
        n = len(self.truth_WH) if self.independent is None else min(self.independent, len(self.truth_WH))
        return min(level * (1 + 1 / max(n + more, 1e-9)), 100.0)

    def raw_band(self, quantile_WHQ: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
        """The model's own quantiles at the edges of ``level``, interpolated between (clamped to) those it was trained on."""
        edges = (0.5 - level / 200, 0.5 + level / 200)
        place = np.interp(edges, self.quantiles, np.arange(len(self.quantiles)))
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, len(self.quantiles) - 1)
        share = place - below
        bands = quantile_WHQ[..., below] * (1 - share) + quantile_WHQ[..., above] * share
        return bands[..., 0], bands[..., 1]


def nested(quantiles: Sequence[float], level: Sequence[float]) -> tuple[float, ...]:
    """Levels whose bands are made so that those of ``level`` lie within each other: these, and the trained ones below.

    >>> nested((0.025, 0.1, 0.5, 0.9, 0.975), [90, 60])
    (60.0, 80.0, 90.0)
    """
    trained = {round(100 * (1 - 2 * quantile), 6) for quantile in quantiles if quantile < 0.5}
    return tuple(sorted({*map(float, level), *(one for one in trained if one < max(level, default=0.0))}))


def _conformal_quantile(scores: np.ndarray, level: float, independent: float | None = None) -> float:
    """The ⌈n·level·(1 + 1/k)⌉-th smallest of n scores, k of them independent (None: all); the largest where n is too small for
    the level."""
    scores = np.sort(scores[np.isfinite(scores)])
    n = len(scores)
    k = n if independent is None else min(max(1, independent), n)
    rank = int(np.ceil(n * level / 100 * (1 + 1 / k) - 1e-9))  # rounding must not move an exact rank to the next score
    return float(scores[min(rank, n) - 1])


def check_levels(level: float | Sequence[float] | None) -> tuple[float, ...]:
    """Levels as percentages between 1 and 100, neither itself, each once; a single number is a list of one, None one of none.

    Raises ``UsageError`` (``bad_level``) for anything else, text and shares such as 0.8 included.

    >>> check_levels([80, 95]), check_levels(80)
    ((80.0, 95.0), (80.0,))
    """
    if level is None:
        return ()
    if isinstance(level, str | bytes):
        raise _bad_level(level, "write [80] for the central 80 %")
    values: list[object] = list(level) if isinstance(level, Iterable) else [level]
    found: dict[float, None] = {}
    for value in values:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float | np.integer | np.floating)
            or not 1 < value < 100
            or not 1 < float(level_name(float(value))) < 100
        ):
            fix = (
                f"write {100 * value:g}"
                if isinstance(value, float) and 0 < value < 1
                else "write 80 for the central 80 %"
            )
            raise _bad_level(value, fix)
        found[float(level_name(float(value)))] = None  # with the digits that names of columns have
    return tuple(found)


def _bad_level(got: object, fix: str) -> UsageError:
    return UsageError(
        "bad_level",
        expected="levels in percent, between 1 and 100 (neither itself)",
        got=repr(got),
        where="level",
        fix=fix,
    )


def level_name(level: float) -> str:
    """How a level is written in column names: ``80``, ``97.5``."""
    return f"{level:g}"
