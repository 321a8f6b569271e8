"""The closed-form solution of the skip path: ridge regression on scaled windows, its penalty chosen on validation windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from openbook.forecast.seasonal_map import seasonal_map
from openbook.nn.skip import SkipShape, skip_input
from openbook.windows.batch import Batch
from openbook.windows.sampler import Resident, WindowIndex, WindowShape, batches, gather, spread

_PENALTIES = np.logspace(-5, 3, 17)  # multiples of the mean of the normal equations' diagonal
_ENOUGH_COMPLETE = 0.2  # below it gaps in horizons are filled from the step before, instead of leaving windows out
_CELLS = 200_000  # of a piece of windows
_NOTHING = 1e-30  # an error no map comes below
_MOST_OWN = 32  # series among which some may have a map of their own: each takes an eigendecomposition
_OWN_CELLS = (
    2**24
)  # of all such maps, and of what is decomposed for them: seconds of a fit, and megabytes of a saved model
_LEAST_OWN, _LEAST_JUDGED = 200, 20  # windows such a map is learned from, and judged by
_OWN_SHARES = (0.5, 1.0)
_OWN_BETTER = 0.98  # a map of a series' own, and a larger share of it, has to do this much better there
_APART = 0.05  # how much worse, as a share of the best error, a map validates that counts 1/e of the best


class Table(NamedTuple):
    """Windows as rows: inputs ``x`` [W, D], targets ``y`` [W, h] (NaN unknown), scaled; ``size`` [W] turns scaled errors into
    units of the series' own spread. ``series`` [W]: whose they are. ``weight`` [W]: what each counts when a map is solved,
    the square of its size where it is None."""

    x_WD: Tensor
    y_WH: Tensor
    size_W: Tensor
    series_W: Tensor | None = None
    weight_W: Tensor | None = None


By = Literal["series", "changes", "halfway", "window"]


class Counting(NamedTuple):
    """What windows count by when a map is solved: errors in units of each series (its spread, or its ``changes`` from season
    to season; ``ratio`` [N] of the one to the other), in each ``window``'s own spread, or ``halfway`` (geometric mean).

    Least squares are best in units that errors grow with. Source: Aitken 1936, On least squares and linear combination of
    observations.
    """

    by: By
    ratio_N: Tensor

    def of(self, table: Table) -> Table:
        """The table with what its windows count.

        >>> table = Table(torch.ones(2, 1), torch.ones(2, 1), torch.tensor([1.0, 3.0]), torch.tensor([0, 1]))
        >>> [Counting(by, torch.tensor([1.0, 2.0])).of(table).weight_W.tolist() for by in ("series", "changes", "halfway")]
        [[1.0, 9.0], [1.0, 36.0], [1.0, 3.0]]
        """
        assert table.series_W is not None
        powers = {"series": 2, "changes": 2, "halfway": 1, "window": 0}
        size_W = table.size_W * self.ratio_N[table.series_W] if self.by == "changes" else table.size_W
        return table._replace(weight_W=size_W ** powers[self.by])

    def tables(self, table: Table) -> tuple[Table, ...]:
        """The table as it counts by series, and as it counts by this, where that is another."""
        plain = self._replace(by="series").of(table)
        return (plain,) if self.by == "series" else (plain, self.of(table))


class Solved(NamedTuple):
    """A map ``x @ weight + bias`` [D, h], its penalty (a multiple of the mean diagonal) and its validation error."""

    weight_DH: Tensor
    bias_H: Tensor
    penalty: float
    error: float


Error = Callable[[Tensor], Tensor]


def tabulate(
    resident: Resident, windows: WindowIndex, shape: WindowShape, skip: SkipShape, unit_N: np.ndarray, most: int
) -> Table:
    """At most ``most`` of the windows, evenly spread, as rows."""
    rows: list[tuple[Tensor, ...]] = []
    unit, device = torch.from_numpy(unit_N), resident.data_RC.device
    # A map reads the calendar of the first step ahead alone: gathering it for all rows took a third of the time.
    timeless = resident._replace(calendar_RK=resident.calendar_RK[:, :0])
    for piece in batches(spread(windows, most), max(1, _CELLS // (shape.input_size + shape.h + skip.width))):
        series, end = torch.from_numpy(piece.series_W), torch.from_numpy(piece.end_W)
        batch = Batch(*(part.cpu() for part in gather(timeless, series.to(device), end.to(device), shape)))
        first_BHC = resident.calendar_RK[end.to(device)].cpu()[:, None].expand(-1, shape.h, -1)
        known_BHK, position_BH1 = batch.decoder_BHK[..., :-1], batch.decoder_BHK[..., -1:]
        batch = batch._replace(decoder_BHK=torch.cat([known_BHK, first_BHC, position_BH1], dim=2))
        y_BH = batch.target_BHM[..., 0].masked_fill(~batch.target_observed_BHM[..., 0], torch.nan)
        rows.append((skip_input(batch, skip, learning=True), y_BH, batch.scale_BM[:, 0] / unit[series], series))
    if not rows:
        none_W = torch.zeros(0, dtype=torch.float64)
        return Table(torch.zeros(0, skip.width), torch.zeros(0, skip.h), none_W, none_W.long())
    return Table(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def absolute(gap: Tensor) -> Tensor:
    """Absolute errors."""
    return gap.abs()


def squared(gap: Tensor) -> Tensor:
    """Squared errors."""
    return gap.square()


def mean_error(told_WH: Tensor, table: Table, error: Error) -> float:
    """Mean error over observed steps in units of each series' own spread."""
    found = error((told_WH - table.y_WH) * table.size_W[:, None].to(told_WH.dtype))
    return float(found.nanmean())


Towards = Literal["zero", "season"]


class Averaged(NamedTuple):
    """Several maps as one: which table each is learned from [K], the newest steps each reads [K], what each is shrunk towards
    [K] (no weights at all, or those of the seasonal map), their shares and penalties [K], and their mean."""

    table: tuple[int, ...]
    windows: tuple[int, ...]
    towards: tuple[Towards, ...]
    share: tuple[float, ...]
    penalty: tuple[float, ...]
    solved: Solved


class _Normal(NamedTuple):
    """Normal equations, centred and weighted: means [D] and [h], ``gram`` [D, D], ``cross`` [D, h], float64."""

    x_D: Tensor
    y_H: Tensor
    gram_DD: Tensor
    cross_DH: Tensor


class _Axes(NamedTuple):
    """Normal equations and the eigenvalues [D] and eigenvectors [D, D] of their gram matrix, which serve all penalties."""

    normal: _Normal
    value_D: Tensor
    vector_DD: Tensor


def solve(train: Table, validation: Table | None, error: Error, penalty: float = 1.0) -> Solved:
    """The ridge map whose penalty does best on validation windows; without any, that of the given ``penalty``.

    Windows count by their weights. Those with a missing target are left out, or filled from the step before where hardly any
    is complete.
    """
    if not len(train.x_WD):
        return _location(train, penalty)
    return _ridge(_axes(_normal(train)), validation, error, penalty)


def average(
    trains: tuple[Table, ...],
    validation: Table | None,
    error: Error,
    windows: tuple[int, ...],
    season: int = 1,
    like: Averaged | None = None,
) -> Averaged:
    """The mean of the ridge maps of several windows, each with its own penalty, by how well they validate.

    Each reads the newest own lags of its length (the first columns of the longest, the oldest first) and all other columns.
    A window of a ``season`` or more has two maps, one shrunk towards zero, one towards its seasonal map, and several where
    ``trains`` are the same windows that count differently; all kinds have equal shares. Of its kind a map whose validation
    error is 5 % higher has a share of 1/e. Without validation windows shares and penalties are those of ``like``, whose maps
    are made again, else equal.
    Source: Bates & Granger 1969, The combination of forecasts; shares as in Buckland et al. 1997; ridge towards what was known
    before: Swindel 1976, Good ridge estimators based on prior information.
    """
    parts = [(place, lag, to) for place in range(len(trains)) for lag in windows for to in _towards(lag, season)]
    parts = list(zip(like.table, like.windows, like.towards, strict=True)) if like else parts
    tables, lags, towards = (tuple(column) for column in zip(*parts, strict=True))
    kinds = list(zip(tables, towards, strict=True))
    shares = like.share if like else _shares(np.ones(len(parts)), kinds)
    penalties = like.penalty if like else (1.0,) * len(parts)
    if not len(trains[0].x_WD):
        return Averaged(tables, lags, towards, shares, penalties, _location(trains[0], penalties[0]))
    judged = validation if validation is not None and len(validation.x_WD) else None
    wholes, maps = [_normal(train) for train in trains], []
    axes: dict[tuple[int, int], _Axes] = {}  # of the newest window alone: both its maps need them, and they are large
    for (place, window, toward), penalty in zip(parts, penalties, strict=True):
        older, whole = max(lags) - window, wholes[place]
        part = _Normal(whole.x_D[older:], whole.y_H, whole.gram_DD[older:, older:], whole.cross_DH[older:])
        axes = axes if (place, window) in axes else {(place, window): _axes(part)}
        seen = None if judged is None else judged._replace(x_WD=judged.x_WD[:, older:])
        known = seasonal_map(part.gram_DD, part.cross_DH, window, season) if toward == "season" else None
        maps.append(_ridge(axes[place, window], seen, error, penalty, known))
    found = np.array([each.error for each in maps])
    if np.isfinite(found).all():
        shares = _shares(found, kinds)
    weight_DH = torch.zeros(trains[0].x_WD.shape[1], trains[0].y_WH.shape[1])
    bias_H = torch.zeros(trains[0].y_WH.shape[1])
    for window, share, each in zip(lags, shares, maps, strict=True):
        weight_DH[max(lags) - window :] += share * each.weight_DH
        bias_H += share * each.bias_H
    lowest = float("nan") if judged is None else mean_error(judged.x_WD @ weight_DH + bias_H, judged, error)
    main = maps[int(np.argmax(shares))].penalty
    solved = Solved(weight_DH, bias_H, main, lowest)
    return Averaged(tables, lags, towards, shares, tuple(each.penalty for each in maps), solved)


def _shares(found_K: np.ndarray, kinds: list[tuple[int, Towards]]) -> tuple[float, ...]:
    """Shares by validation error within each kind, all kinds alike: which one validates better says little of what follows."""
    share_K, every = np.zeros(len(kinds)), set(kinds)
    for kind in every:
        own = np.array([each == kind for each in kinds])
        worth_J = np.exp((1.0 - found_K[own] / max(found_K[own].min(), _NOTHING)) / _APART)
        share_K[own] = worth_J / worth_J.sum() / len(every)
    return tuple(map(float, share_K))


def _towards(window: int, season: int) -> tuple[Towards, ...]:
    return ("zero", "season") if 1 < season <= window else ("zero",)


class Own(NamedTuple):
    """What the map of one series adds to the common one, its ``share`` taken: weights [D, h] and bias [h]; its penalty."""

    series: int
    share: float
    penalty: float
    weight_DH: Tensor
    bias_H: Tensor


def own_maps(
    train: Table, validation: Table | None, common: Solved, error: Error, like: tuple[Own, ...] | None = None
) -> tuple[Own, ...]:
    """Maps learned from one series alone, halfway to the common one or wholly, where they validate clearly better there.

    With ``like``: those again, from more windows, with their shares and penalties.
    """
    if train.series_W is None:
        return ()
    if like is not None:
        found = [(own, _ridge(_axes(_normal(_rows(train, own.series))), None, error, own.penalty)) for own in like]
        return tuple(_beside(own.series, own.share, solved, common) for own, solved in found)
    names, (width, h) = torch.unique(train.series_W).tolist(), common.weight_DH.shape
    most = min(_MOST_OWN, _OWN_CELLS // (width * max(width, h)))
    if validation is None or validation.series_W is None or not 1 < len(names) <= most:
        return ()
    chosen = []
    for series in names:
        learnt, judged = _rows(train, series), _rows(validation, series)
        if len(learnt.x_WD) < _LEAST_OWN or len(judged.x_WD) < _LEAST_JUDGED:
            continue
        solved = _ridge(_axes(_normal(learnt)), judged, error, common.penalty)
        told_WH = judged.x_WD @ common.weight_DH + common.bias_H
        apart_WH = judged.x_WD @ solved.weight_DH + solved.bias_H - told_WH
        errors = {share: mean_error(told_WH + share * apart_WH, judged, error) for share in (0.0, *_OWN_SHARES)}
        best = 0.0
        for share in _OWN_SHARES:  # a larger share than is needed is rather luck
            best = share if errors[share] < _OWN_BETTER * errors[best] else best
        if best:
            chosen.append(_beside(series, best, solved, common))
    return tuple(chosen)


def _beside(series: int, share: float, solved: Solved, common: Solved) -> Own:
    weight_DH, bias_H = solved.weight_DH - common.weight_DH, solved.bias_H - common.bias_H
    return Own(series, share, solved.penalty, share * weight_DH, share * bias_H)


def _rows(table: Table, series: int) -> Table:
    """The windows of one series."""
    assert table.series_W is not None
    kept = table.series_W == series
    return Table(*(None if part is None else part[kept] for part in table))  # type: ignore[arg-type]


def with_own(common: Solved, own: tuple[Own, ...], validation: Table | None, error: Error) -> Solved:
    """The common map with the error that all maps together have on validation windows."""
    if not own or validation is None or validation.series_W is None:
        return common
    told_WH = validation.x_WD @ common.weight_DH + common.bias_H
    for each in own:
        rows = validation.series_W == each.series
        told_WH[rows] += validation.x_WD[rows] @ each.weight_DH + each.bias_H
    return common._replace(error=mean_error(told_WH, validation, error))


def _location(train: Table, penalty: float) -> Solved:
    """Where there is nothing to learn from the window's location is forecast."""
    width, h = train.x_WD.shape[1], train.y_WH.shape[1]
    return Solved(torch.zeros(width, h), torch.zeros(h), penalty, float("nan"))


def _normal(train: Table) -> _Normal:
    x, y, weight = _complete(train)
    share_W1 = weight[:, None] / weight.sum()
    x_mean, y_mean = (share_W1 * x).sum(0), (share_W1 * y).sum(0)
    root_W1 = share_W1.sqrt()
    x = root_W1 * (x - x_mean)
    return _Normal(x_mean, y_mean, x.T @ x, x.T @ (root_W1 * (y - y_mean)))


def _axes(normal: _Normal) -> _Axes:
    value, vector = torch.linalg.eigh(normal.gram_DD)
    return _Axes(normal, value.clamp(min=0.0), vector)


def _ridge(
    axes: _Axes, validation: Table | None, error: Error, penalty: float, known_DH: Tensor | None = None
) -> Solved:
    """The map of least squares plus the penalty on what sets it apart from ``known_DH`` (nothing where there is none)."""
    (x_mean, y_mean, gram, cross), value, vector = axes
    unit, aim = float(gram.diagonal().mean()) or 1.0, vector.T @ cross
    start = torch.zeros_like(aim) if known_DH is None else vector.T @ known_DH

    def weights(penalty: float) -> Tensor:
        return (aim + penalty * unit * start) / (value + penalty * unit)[:, None]

    best, lowest = penalty, float("nan")
    if validation is not None and len(validation.x_WD):
        rotated, shift = ((validation.x_WD.double() - x_mean) @ vector).float(), y_mean.float()
        errors = [mean_error(rotated @ weights(each).float() + shift, validation, error) for each in _PENALTIES]
        place = int(np.nanargmin(errors)) if np.isfinite(errors).any() else 0
        best, lowest = float(_PENALTIES[place]), errors[place]
    weight = vector @ weights(best)
    return Solved(weight.float(), (y_mean - x_mean @ weight).float(), best, lowest)


def _complete(table: Table) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, whole targets and weights of the windows to learn from, float64."""
    weight_W = (table.size_W.square() if table.weight_W is None else table.weight_W).double()
    some = table.y_WH.isfinite().any(1)
    if bool(some.any()) and not bool(some.all()):  # windows without a truth are none to learn from
        table, weight_W = table._replace(x_WD=table.x_WD[some], y_WH=table.y_WH[some]), weight_W[some]
    whole = table.y_WH.isfinite().all(1)
    if float(whole.float().mean()) >= _ENOUGH_COMPLETE:
        return table.x_WD[whole].double(), table.y_WH[whole].double(), weight_W[whole]
    filled, last = [], torch.zeros(len(table.y_WH))
    for y_W in table.y_WH.unbind(1):
        last = torch.where(y_W.isfinite(), y_W, last)
        filled.append(last)
    return table.x_WD.double(), torch.stack(filled, 1).double(), weight_W
