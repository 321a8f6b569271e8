"""Never worse than the floor: how much of a forecast is the model's and how much a floor's, chosen on validation windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.forecast.bands import error_scale, known_or_one
from openbook.forecast.closed_form import Error
from openbook.forecast.decisions import Decision
from openbook.forecast.origins import Origins, stretches
from openbook.forecast.seasons import repeat_season, season_candidates
from openbook.models.base import Output
from openbook.windows.batch import Batch
from openbook.windows.sampler import WindowShape
from openbook.windows.scaling import COMMON

MODEL, SKIP, REPEAT = "model", "skip", "repeat"
_SHARES = (0.25, 0.5, 0.75, 1.0)
_WORTH = 0.99  # a mixture, or a floor by itself, has to lower the error below this share
# One-sided 5 % points of Student's t with 1 to 8 degrees of freedom: what a mean of 2 to 9 gains has to exceed.
_STUDENT = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860)
_CLEARLY = 0.9  # a forecast whose error is below this share of repeating the last value is taken, whatever a test says
_SEASONS_BACK = 4  # how far a repeated value may be carried over gaps: as far as the history that is kept
_ENOUGH = 10  # stretches of a horizon, before a series may choose for itself: windows that overlap are no evidence


class Choice(NamedTuple):
    """Shares of each member, summing to one: of all series, and of those that chose for themselves by id.

    ``names``: ``model``, ``skip`` (the linear path alone) and ``repeat N`` (the value N steps before, repeated).
    """

    names: tuple[str, ...] = (MODEL,)
    share: tuple[float, ...] = (1.0,)
    by_series: dict[str, tuple[float, ...]] = {}  # noqa: RUF012 (never changed)

    @property
    def model_alone(self) -> bool:
        """Whether every forecast is the model's own."""
        return self.share[0] == 1.0 and not self.by_series

    @property
    def reach(self) -> int:
        """Rows of history the floors of the mixture read."""
        lags = [int(name.split()[1]) for name in self.names if name.startswith(REPEAT)]
        return _SEASONS_BACK * max(lags, default=0)

    def shares_of(self, panel: Panel, series_W: np.ndarray) -> np.ndarray:
        """Shares of the windows, [W, K]."""
        if not self.by_series:
            return np.broadcast_to(np.array(self.share), (len(series_W), len(self.names)))
        asked, place_W = np.unique(series_W, return_inverse=True)
        return np.array([self.by_series.get(id_text(name), self.share) for name in panel.ids[asked]])[place_W]


ALONE = Choice()


class Told(NamedTuple):
    """Forecasts of B windows of the first target: quantiles [B, H, Q] and truths [B, H] (NaN unknown), both scaled, the skip
    path's share [B, H] where there is one, and what gives original units back: location and scale, [B, 1]. All float64."""

    quantile_BHQ: np.ndarray
    truth_BH: np.ndarray
    skip_BH: np.ndarray | None
    location_B1: np.ndarray
    scale_B1: np.ndarray


def told_of(batch: Batch, output: Output, windows: WindowShape) -> Told:
    """A model's output as plain arrays.

    Where all windows share one unit, bands would not know a calm window from a restless one: there each is expressed in units
    of its own spread.
    """
    quantile_BHQ = output.quantile_BHMQ[:, :, 0].double().cpu().numpy()
    truth_BH = (
        batch.target_BHM[..., 0].masked_fill(~batch.target_observed_BHM[..., 0], torch.nan).double().cpu().numpy()
    )
    skip_BH = None if output.skip_BHM is None else output.skip_BHM[..., 0].double().cpu().numpy()
    told = Told(quantile_BHQ, truth_BH, skip_BH, batch.location_BM.cpu().numpy(), batch.scale_BM.cpu().numpy())
    return in_own_spread(told, batch, windows) if windows.scaling in COMMON else told


def in_own_spread(told: Told, batch: Batch, windows: WindowShape) -> Told:
    """The same forecasts in units of the spread of each window's newest steps, the usual one where these tell too little."""
    steps = windows.scale_steps or windows.input_size
    value_BT = batch.encoder_BTX[:, -steps:, 0].double().cpu().numpy()
    seen_BT = batch.observed_BTF[:, -steps:, 0].cpu().numpy()
    count_B1 = np.maximum(seen_BT.sum(1, keepdims=True), 1)
    mean_B1 = np.where(seen_BT, value_BT, 0.0).sum(1, keepdims=True) / count_B1
    spread_B1 = np.sqrt(np.where(seen_BT, (value_BT - mean_B1) ** 2, 0.0).sum(1, keepdims=True) / count_B1)
    usual = windows.leaning._replace(amount=windows.usual / windows.unit, share=0.0)
    own_B1 = usual.blended(*map(torch.from_numpy, (spread_B1, count_B1, mean_B1))).numpy()
    spread_B1 = np.where(spread_B1 > 1e-6, own_B1, usual.amount)
    return Told(
        told.quantile_BHQ / spread_B1[..., None],
        told.truth_BH / spread_B1,
        None if told.skip_BH is None else told.skip_BH / spread_B1,
        told.location_B1,
        told.scale_B1 * spread_B1,
    )


def member_forecasts(panel: Panel, origins: Origins, told: Told, median: int, names: Sequence[str]) -> np.ndarray:
    """What every member says of B windows, [K, B, H] in original units."""
    own = [told.quantile_BHQ[..., median], *([told.skip_BH] if SKIP in names and told.skip_BH is not None else [])]
    plain_KBH = np.stack(own) * told.scale_B1 + told.location_B1
    return np.concatenate([plain_KBH, repeats(panel, origins, plain_KBH.shape[2], names)])


class Parts(NamedTuple):
    """What a forecast is made of, [B, H] each in original units: their sum is the forecast. ``bounded``: by how much that was
    raised to a lower bound that the series has never gone below."""

    skip: np.ndarray
    attended: np.ndarray
    repeated: np.ndarray
    bounded: np.ndarray

    @property
    def forecast(self) -> np.ndarray:
        """Their sum."""
        return self.skip + self.attended + self.repeated + self.bounded


def mixed(choice: Choice, panel: Panel, origins: Origins, told: Told, median: int) -> Told:
    """The model's quantiles, moved to where its mixture with the floors has its middle."""
    if choice.model_alone:
        return told
    each_KBH = member_forecasts(panel, origins, told, median, choice.names)
    share_BK = choice.shares_of(panel, origins.series)
    mixed_BH = np.einsum("bk,kbh->bh", share_BK, np.where(share_BK.T[..., None] > 0, each_KBH, 0.0))
    known_BH = np.isfinite(each_KBH[0])
    shift_BH = (mixed_BH - np.where(known_BH, each_KBH[0], 0.0)) / told.scale_B1
    moved_BHQ = told.quantile_BHQ + shift_BH[..., None]
    alone_BH1 = ((mixed_BH - told.location_B1) / told.scale_B1)[..., None]  # a floor that stands for what is no number
    return told._replace(quantile_BHQ=np.where(known_BH[..., None], moved_BHQ, alone_BH1))


def parts_of(
    choice: Choice, panel: Panel, origins: Origins, told: Told, median: int, least_B1: np.ndarray
) -> Parts | None:
    """How much came from the skip path, from what attention and recurrence added to it, from repeated seasons, and from
    the windows' lower bounds ``least_B1`` (−inf: none).

    None for models without a skip path.
    """
    if told.skip_BH is None:
        return None
    each_KBH = member_forecasts(panel, origins, told, median, choice.names)
    share_KB1 = choice.shares_of(panel, origins.series).T[..., None]
    skip_BH = told.skip_BH * told.scale_B1 + told.location_B1
    by_name = dict(zip(choice.names, share_KB1, strict=True))
    repeated_BH = np.zeros_like(skip_BH)
    for name, each_BH in zip(choice.names, each_KBH, strict=True):
        if name.startswith(REPEAT):
            repeated_BH += by_name[name] * np.where(by_name[name] > 0, each_BH, 0.0)
    through_B1 = by_name[MODEL] + by_name.get(SKIP, 0.0)
    through_BH = through_B1 * np.where(through_B1 > 0, skip_BH, 0.0)
    attended_BH = by_name[MODEL] * np.subtract(
        each_KBH[0], skip_BH, out=np.zeros_like(skip_BH), where=by_name[MODEL] > 0
    )
    bounded_BH = np.maximum(least_B1 - (through_BH + attended_BH + repeated_BH), 0.0)
    return Parts(through_BH, attended_BH, repeated_BH, bounded_BH)


def repeats(panel: Panel, origins: Origins, h: int, names: Sequence[str]) -> np.ndarray:
    """The forecasts of the ``repeat N`` members, [K, W, h]."""
    lags = [int(name.split()[1]) for name in names if name.startswith(REPEAT)]
    made = [repeat_season(panel, origins, h, lag, most=_SEASONS_BACK) for lag in lags]
    return np.stack(made) if made else np.empty((0, len(origins.end), h))


def members(panel: Panel, season: int, with_skip: bool) -> tuple[str, ...]:
    """Names of the model and the floors that stand beside it."""
    lags = dict.fromkeys((1, season, *season_candidates(panel.freq)))
    return (MODEL, *((SKIP,) if with_skip else ()), *(f"{REPEAT} {lag}" for lag in lags))


def choose(
    panel: Panel, origins: Origins, told_KWH: np.ndarray, truth_WH: np.ndarray, names: tuple[str, ...], error: Error
) -> tuple[Choice, Decision]:
    """Shares by validation windows; ``told`` and ``truth`` in units of the series' spread (NaN: unknown).

    Beside the model alone every mixture with one floor in quarters is tried. It is taken where the error falls by more than
    a hundredth. Where the model does not improve on its own skip path, that stands in its place. A series whose windows
    fill ten horizons chooses for itself where a member by itself does better there than what all series have: a mixture
    that only looks a little better may know nothing of the next holiday. Repeating the last value is the forecast where few
    windows judge and nothing is better by a tenth or significantly so: a t-test at 5 % of the gains by stretch (after
    Diebold & Mariano 1995, Comparing predictive accuracy, and Harvey et al. 1997).
    """
    grid = _grid(len(names))
    learned_K = np.array([not name.startswith(REPEAT) for name in names])[:, None, None]
    told_KWH = np.where(learned_K & ~np.isfinite(told_KWH), np.inf, told_KWH)  # no forecast errs without bounds
    errors_GW = np.stack([_errors(np.tensordot(row[row > 0], told_KWH[row > 0], 1) - truth_WH, error) for row in grid])
    mean_G = _mean(errors_GW)
    skip = _alone(grid, names, SKIP)
    stands = 0 if skip is None or mean_G[0] < mean_G[skip] else skip
    best = _best(mean_G, stands)
    last = _alone(grid, names, f"{REPEAT} 1")
    wandering = (
        last is not None
        and last != best
        and mean_G[best] > _CLEARLY * mean_G[last]
        and _no_better(errors_GW[best], errors_GW[last], panel, origins, truth_WH)
    )
    best = last if wandering and last is not None else best
    alone_G = (grid == 1).any(axis=1)
    by_series: dict[str, tuple[float, ...]] = {}
    stretch_W = stretches(panel, origins, truth_WH.shape[1])
    for series in np.unique(origins.series):
        own_W = origins.series == series
        if len(np.unique(stretch_W[own_W])) < _ENOUGH:
            continue
        own_GW = errors_GW[:, own_W]
        own_G = _mean(own_GW)
        if np.isfinite(own_G).all() and own_G[alone_G].min() < _WORTH * own_G[best]:
            by_series[id_text(panel.ids[series])] = tuple(map(float, grid[int(np.argmin(own_G))]))
    single = [mean_G[int(np.flatnonzero((grid == row).all(1))[0])] for row in np.eye(len(names))]
    told = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, single, strict=True))
    why = f"validation errors: {told}; as chosen {mean_G[best]:.4g}"
    if wandering:
        why += "; nothing is significantly better than repeating the last value"
    if by_series:
        why += f"; {len(by_series)} series choose for themselves"
    value = {name: float(part) for name, part in zip(names, grid[best], strict=True) if part > 0}
    return Choice(names, tuple(map(float, grid[best])), by_series), Decision(value, why)


def least_of_repeats(panel: Panel, origins: Origins, h: int, season: int) -> tuple[Choice, Decision]:
    """Repeating the value so many steps before, of the usual seasons or the last value whichever errs least at these origins,
    as the whole forecast: where nothing was held out, nothing that was learned has proven to be better.
    """
    names = members(panel, season, False)
    truth_WH = panel.target[origins.end[:, None] + np.arange(h)]
    whole = Origins(np.arange(len(panel)), panel.offsets[1:])
    size_W1 = known_or_one(error_scale(panel, 1, whole))[origins.series][:, None]
    off_KWH = np.abs(repeats(panel, origins, h, names) - truth_WH) / size_W1
    error_K = np.nanmean(off_KWH, axis=(1, 2))
    best = 1 + int(np.argmin(error_K))
    told = ", ".join(f"{name} {error:.4g}" for name, error in zip(names[1:], error_K, strict=True))
    why = f"nothing could be held out to prove the model by; errors in the training part, in naive errors: {told}"
    return Choice(names, tuple(np.eye(len(names))[best].tolist())), Decision({names[best]: 1.0}, why)


def _grid(count: int) -> np.ndarray:
    """The model alone first, then every mixture of it with one floor, [G, K]."""
    rows = [np.eye(count)[0]]
    for floor in range(1, count):
        for share in _SHARES:
            row = np.zeros(count)
            row[0], row[floor] = 1 - share, share
            rows.append(row)
    return np.array(rows)


def _alone(grid: np.ndarray, names: tuple[str, ...], name: str) -> int | None:
    """The row of a member by itself."""
    return int(np.flatnonzero(grid[:, names.index(name)] == 1)[0]) if name in names else None


def _no_better(error_W: np.ndarray, simple_W: np.ndarray, panel: Panel, origins: Origins, truth_WH: np.ndarray) -> bool:
    """Whether errors are not significantly lower than those of something simpler.

    Windows that overlap, and series at the same time, are one observation: stretches of a horizon are compared. A single
    stretch is evidence of nothing, unless ten series or more pass through it; of ten or more the mean is evidence enough.
    """
    gain_W = simple_W - error_W
    seen_W = np.isfinite(gain_W)
    stretch_W = stretches(panel, origins, truth_WH.shape[1])
    own = [gain_W[seen_W & (stretch_W == stretch)].mean() for stretch in np.unique(stretch_W[seen_W])]
    if len(own) >= _ENOUGH or len(np.unique(origins.series[seen_W])) >= _ENOUGH:
        return False
    if len(own) < 2:
        return True
    return bool(np.mean(own) <= _STUDENT[len(own) - 2] * np.std(own, ddof=1) / np.sqrt(len(own)))


def _best(mean_G: np.ndarray, stands: int) -> int:
    """The row of the least error, where it is better by more than a hundredth than the one that stands."""
    place = int(np.nanargmin(mean_G)) if np.isfinite(mean_G).any() else stands
    return place if mean_G[place] < _WORTH * mean_G[stands] else stands


def _errors(gap_WH: np.ndarray, error: Error) -> np.ndarray:
    """Mean error of each window, [W]; NaN where nothing is known."""
    return _mean(error(torch.from_numpy(gap_WH)).numpy())


def _mean(found: np.ndarray) -> np.ndarray:
    """The mean over the last axis of what is known; NaN where nothing is."""
    seen = ~np.isnan(found)
    count = seen.sum(-1)
    return np.where(count > 0, np.where(seen, found, 0.0).sum(-1) / np.maximum(count, 1), np.nan)
