"""Bands that follow: scores of the forecasts that could have been made since training count, the newest most."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from openbook.data.frequency import future_times
from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.forecast.conformal import FEW, Calibration
from openbook.forecast.fitted import Fitted
from openbook.forecast.origins import Origins
from openbook.forecast.running import forecasts
from openbook.windows.sampler import Resident, WindowIndex, blind

log = logging.getLogger("openbook")

_MOST_WINDOWS = 2_048  # forecast at once for this alone, over all series
_STEPS_OF_A_HALF_LIFE = 16  # windows whose scores count lie this many to a half-life apart
_HALF_LIVES = 4  # how far back they go; what is older counts less than a sixteenth
_FILLED = 0.95  # of their weight, where nothing is missing: windows stand on a grid
_HORIZONS, _STRETCHES = 2, 14
_TOGETHER = 64  # updates of the bands that share one look at the windows that may count in any of them


def half_life(h: int, season: int, n_series: int) -> int:
    """Rows after which a score counts half: two horizons, and fourteen seasons or horizons shared by the series.

    Fourteen days of one hourly series; fewer would leave the 95 % band to a few days.

    >>> half_life(24, 24, 1), half_life(96, 24, 7), half_life(1, 24, 1)
    (336, 192, 336)
    """
    return max(_HORIZONS * h, -(-_STRETCHES * max(h, season) // max(1, n_series)))


@dataclass(frozen=True)
class Clock:
    """Steps since training: of every row of a panel [R], 1 for the first one after it, and how bands follow.

    Later rows never have an earlier step, whatever series they are of. ``learned_N``: the step up to which each series was
    learned from. ``series`` [S]: those whose scores count. ``stride``: steps between their windows, and between updates of the
    bands.
    """

    step_R: np.ndarray
    series: np.ndarray
    half_life: int
    stride: int
    learned_N: np.ndarray

    def update(self, step_W: np.ndarray) -> np.ndarray:
        """The last update of the bands at these steps, 1 where nothing new was seen."""
        return np.maximum((step_W - 1) // self.stride * self.stride + 1, 1)

    def oldest(self, now: int, h: int) -> int:
        """The first window an update may read."""
        return now - _HALF_LIVES * self.half_life - h


def learned_from(panel: Panel) -> tuple[int, dict[str, int]]:
    """Where the clock of a training part begins: the earliest of its series' last observed stamps, as a whole number; and the
    last stamps of the series that were learned from beyond it, by name.

    Of series without a value nothing was learned.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> table = pd.DataFrame({"unique_id": ["a", "a", "b"], "ds": [1, 2, 1], "y": [5.0, 6.0, 7.0]})
    >>> learned_from(make_panel(table, freq=1))
    (1, {'a': 2})
    """
    times, last_N = panel.times.astype(np.int64), panel.observed_span()[1]
    until = {id_text(panel.ids[n]): int(times[row]) for n, row in enumerate(last_N) if row >= panel.offsets[n]}
    if not until:
        return int(times.max()), {}
    first = min(until.values())
    return first, {name: stamp for name, stamp in until.items() if stamp > first}


def _steps_after(panel: Panel, learned_until: int, times: np.ndarray) -> np.ndarray:
    """How many steps of the panel's frequency stamps lie after another one; 0 and below for those up to it."""
    rows = panel.times.astype(np.int64)
    inner = np.ones(len(rows), bool)
    inner[panel.offsets[:-1]] = False
    lengths = np.unique(np.diff(rows, prepend=rows[0])[inner])
    if len(lengths) == 1:
        return -((learned_until - times) // int(lengths[0]))  # series half a step apart share steps
    # Months, working days: the steps of the calendar, not the stamps that are there, which a table cut short has fewer of.
    begin = np.array([learned_until], panel.times.dtype)
    shortest = int(lengths[lengths > 0].min(initial=max(1, int(times.max()) - learned_until)))
    grid = future_times(begin, panel.freq, 2 + (int(times.max()) - learned_until) // shortest)[0].astype(np.int64)
    return np.where(times > learned_until, np.searchsorted(grid, times) + 1, 0)


def clock_of(
    panel: Panel, learned_until: int | None, h: int, season: int, beyond: Mapping[str, int] = MappingProxyType({})
) -> Clock | None:
    """The clock of a panel that holds rows after ``learned_until`` (a stamp as a whole number); None where none is new.

    ``beyond``: the last stamps of series that were learned from beyond it, by name.
    """
    times = panel.times.astype(np.int64)
    if learned_until is None or not len(times) or times.max() <= learned_until:
        return None
    own_N = np.array([beyond.get(id_text(name), learned_until) for name in panel.ids], np.int64)
    newer = np.flatnonzero(times[panel.offsets[1:] - 1] > own_N)
    if not len(newer):
        return None
    step_R, learned_N = (_steps_after(panel, learned_until, stamps) for stamps in (times, own_N))
    at_most = _MOST_WINDOWS // (_STEPS_OF_A_HALF_LIFE * _HALF_LIVES)
    some = newer[np.unique(np.linspace(0, len(newer) - 1, min(len(newer), at_most)).round().astype(int))]
    following = half_life(h, season, len(some))
    return Clock(step_R, some, following, max(1, following // _STEPS_OF_A_HALF_LIFE), learned_N)


def rows_followed(h: int, season: int) -> int:
    """Rows before an origin that its bands may follow."""
    life = half_life(h, season, 1)
    return _HALF_LIVES * life + max(1, life // _STEPS_OF_A_HALF_LIFE) + h


def windows_since(panel: Panel, clock: Clock, origins: Origins, h: int, least: int) -> WindowIndex:
    """Windows since training of which something is known at one of the origins, on a grid counted from training on.

    Each has ``least`` rows of context, as a forecast would have, and a whole horizon in the panel.
    """
    at_W = clock.step_R[origins.end]
    first, last = clock.oldest(int(clock.update(at_W.min())), h), int(at_W.max())
    series: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    for name in clock.series:
        rows = panel.rows(int(name))
        at, place = clock.step_R[rows], np.arange(rows.stop - rows.start)
        wanted = (at > clock.learned_N[name]) & (at >= max(1, first)) & (at < last) & ((at - 1) % clock.stride == 0)
        wanted &= (place >= least) & (place + h <= len(place))
        ends.append(rows.start + np.flatnonzero(wanted))
        series.append(np.full(len(ends[-1]), name))
    return WindowIndex(np.concatenate(series).astype(np.int64), np.concatenate(ends).astype(np.int64))


def recent_of(fitted: Fitted, panel: Panel, origins: Origins, resident: Resident | None = None) -> Recent | None:
    """What was seen since training and before the last of these origins; None where that is nothing."""
    clock = clock_of(panel, fitted.learned_until, fitted.shape.h, fitted.season, fitted.learned_beyond)
    if clock is None or not len(origins.end):
        return None
    windows = windows_since(panel, clock, origins, fitted.shape.h, fitted.windows.whole)
    windows = windows.take(~blind(panel, windows, fitted.windows.input_size))
    if not windows:
        return None
    log.info("bands follow %d windows of %d series since training", len(windows.end_W), len(clock.series))
    told = list(forecasts(fitted, panel, windows, resident))
    quantile_EHQ, truth_EH = (np.concatenate(parts) for parts in zip(*[part[:2] for part in told], strict=True))
    rows_EH = windows.end_W[:, None] + np.arange(fitted.shape.h)
    return Recent(fitted.calibration, clock, quantile_EHQ, truth_EH, clock.step_R[rows_EH])


def margins_of(fitted: Fitted, panel: Panel, origins: Origins, level: float, recent: Recent | None) -> np.ndarray:
    """How far the band of ``level`` is moved out at every origin, [W, H]: by what all series showed, lately most where there is
    something since training, and at least by what validation showed of a series that is wilder than others."""
    shape = (len(origins.end), fitted.shape.h)
    all_WH = (
        np.broadcast_to(fitted.calibration.margins(level), shape)
        if recent is None
        else recent.margins(recent.clock.step_R[origins.end], level)
    )
    moves = fitted.calibration.own_moves(level)
    if not moves:
        return all_WH
    asked, place_W = np.unique(origins.series, return_inverse=True)
    own_N = np.array([moves.get(id_text(panel.ids[number]), -np.inf) for number in asked])
    return np.maximum(all_WH, fitted.calibration.margins(level) + own_N[place_W, None])


@dataclass(frozen=True)
class Recent:
    """Forecasts of windows since training beside those of validation.

    ``quantile_EHQ``, ``truth_EH`` (NaN unknown): in scaled units. ``step_EH``: when each truth was seen, by the clock.
    """

    calibration: Calibration
    clock: Clock
    quantile_EHQ: np.ndarray
    truth_EH: np.ndarray
    step_EH: np.ndarray

    def margins(self, step_W: np.ndarray, level: float) -> np.ndarray:
        """How far the band of ``level`` is moved out at origins at these steps of the clock, [W, H].

        A quantile of all scores, each by its age: half after every half-life. Those of validation stand for all that was
        before training, and for what is not known since then: a table that begins long after training leaves them the
        weight that its own windows do not fill. A score counts from the update of the bands after its truth was seen.
        Source: Barber, Candès, Ramdas & Tibshirani 2023, Conformal prediction beyond exchangeability, equation 10.
        """
        updates, place_W = np.unique(self.clock.update(step_W), return_inverse=True)
        parts = [updates[begin : begin + _TOGETHER] for begin in range(0, len(updates), _TOGETHER)]
        found = np.concatenate([self._near(part)._margins_at(part, level) for part in parts])
        return np.where(np.isfinite(found), found, self.calibration.margins(level))[place_W]

    def _near(self, updates: np.ndarray) -> Recent:
        """Those windows alone of which any of these updates, in order, may read: a test of years would read all at each."""
        begin_E, h = self.step_EH[:, 0], self.step_EH.shape[1]
        near = (begin_E >= self.clock.oldest(int(updates[0]), h)) & (begin_E < updates[-1])
        return replace(
            self, quantile_EHQ=self.quantile_EHQ[near], truth_EH=self.truth_EH[near], step_EH=self.step_EH[near]
        )

    def _margins_at(self, updates: np.ndarray, level: float) -> np.ndarray:
        """The margins at some updates [U, H]; NaN where nothing new is known."""
        old_CH, calibrated_H = self.calibration.scores(level), self.calibration.margins(level)
        new_EH = self.calibration.outside(self.quantile_EHQ, self.truth_EH, level)
        score_HN = np.ascontiguousarray(np.concatenate([old_CH, new_EH]).T)
        seen_HN, order_HN = np.isfinite(score_HN), np.argsort(score_HN, axis=1)
        sorted_HN = np.take_along_axis(score_HN, order_HN, axis=1)
        found = np.full((len(updates), len(score_HN)), np.nan)
        for place, now in enumerate(updates):
            weight_HN, fresh_H = self._weights(seen_HN, int(now))
            stretches = float(fresh_H.max(initial=0.0)) * len(self.clock.series) / len(score_HN)
            weight_HN = np.take_along_axis(weight_HN, order_HN, axis=1)
            told_H = weighted_quantile(sorted_HN, weight_HN, self.calibration.raised(level, stretches))
            few_H = (weight_HN > 0).sum(1) < FEW  # which may widen a band, and say too little to narrow it
            told_H = np.where(few_H, np.maximum(told_H, calibrated_H), told_H)
            found[place] = np.where(fresh_H > 0, told_H, np.nan)
        return found

    def _weights(self, seen_HN: np.ndarray, now: int) -> tuple[np.ndarray, np.ndarray]:
        """What scores count at an update, validation's first [H, N], and the sum over the new ones [H], 0: nothing is known."""
        life, C, H = self.clock.half_life, len(seen_HN[0]) - len(self.step_EH), len(seen_HN)
        begin_E, age_HE = self.step_EH[:, 0], now - self.step_EH.T
        counts_HE = (begin_E >= self.clock.oldest(now, H)) & (age_HE > 0) & seen_HN[:, C:]
        fresh_HE = np.where(counts_HE, 0.5 ** (age_HE / life), 0.0) * self.clock.stride / len(self.clock.series)
        fresh_H, whole = fresh_HE.sum(1), life / np.log(2)  # whole: the sum over all ages, one score a step
        before_H = np.maximum(whole * 0.5 ** ((now - 1) / life), _FILLED * whole * (1 - 0.5**_HALF_LIVES) - fresh_H)
        before_H = before_H / np.maximum(seen_HN[:, :C].sum(1), 1)
        return np.concatenate([seen_HN[:, :C] * before_H[:, None], fresh_HE], axis=1), fresh_H


def weighted_quantile(score_HN: np.ndarray, weight_HN: np.ndarray, level: float) -> np.ndarray:
    """The smallest score of each row, sorted, up to which ``level`` percent of the row's weight lies; NaN without weight.

    >>> weighted_quantile(np.arange(20.0)[None], np.ones((1, 20)), 80)
    array([15.])
    """
    counted_HN = np.cumsum(weight_HN, axis=1)
    total_H = counted_HN[:, -1]
    # Rounding in sums must not move an exact rank to the next score.
    wanted_H = level / 100 * total_H * (1 - 1e-12)
    last_H = weight_HN.shape[1] - 1 - np.argmax(weight_HN[:, ::-1] > 0, axis=1)
    place_H = np.minimum((counted_HN < wanted_H[:, None]).sum(1), last_H)
    return np.where(total_H > 0, np.take_along_axis(score_HN, place_H[:, None], axis=1)[:, 0], np.nan)
