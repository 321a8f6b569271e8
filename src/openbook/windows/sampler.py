"""One resident array of all series, and batches as a single gather of its rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.data.calendar import calendar_columns
from openbook.data.ids import id_text
from openbook.data.panel import Panel
from openbook.errors import UsageError
from openbook.windows.batch import Batch
from openbook.windows.scaling import (
    ColumnScaler,
    Scaling,
    Usual,
    fit_inputs,
    fit_static,
    newest,
    recent,
    window_scale,
)

_SERIES_TO_SPARE = 10


@dataclass(frozen=True)
class Layout:
    """Which columns a model reads, in the order of the resident array: target, past-only, known-future, calendar.

    ``stat``: which of the known-future columns, the last ones, have one value per series. ``own``: names of the series that
    have a linear map of their own, as text.
    """

    target: str
    hist: tuple[str, ...] = ()
    futr: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    stat: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the F variables an attention can point at."""
        return (self.target, *self.hist, *self.futr)

    @property
    def n_encoder(self) -> int:
        """X: variables, the flag *target observed*, calendar."""
        return len(self.variables) + 1 + len(self.calendar)

    @property
    def n_decoder(self) -> int:
        """K: known-future columns, calendar, position in the horizon."""
        return len(self.futr) + len(self.calendar) + 1


class Resident(NamedTuple):
    """All series on the device: ``data_RC`` float64 (target raw, inputs standardised, NaN where unknown), bounds [N].

    ``stat_NS`` float64: the standardised static inputs, which are no columns of ``data_RC``; None without any.
    ``calendar_RK`` float32, always known. ``own_N``: the place of each series in ``layout.own``, or -1. ``error_N``: what a
    loss counts errors of each series in, NaN where nothing is known; None for each window's own scale. ``halfway``: between
    the two, their geometric mean. ``peak_R``: the largest size that a row's series had up to it; None without zeros.
    """

    data_RC: Tensor
    calendar_RK: Tensor
    start_N: Tensor
    stop_N: Tensor
    own_N: Tensor
    layout: Layout
    error_N: Tensor | None = None
    halfway: bool = False
    peak_R: Tensor | None = None
    stat_NS: Tensor | None = None


def input_scaler(panel: Panel, scaling: Scaling) -> ColumnScaler:
    """The scaler of a panel's past-only, known-future and static columns that goes with a scaling of windows."""
    moving = fit_inputs(np.concatenate([panel.hist, panel.futr], axis=1), panel.offsets, scaling)
    if panel.stat is None:
        return moving
    static = fit_static(panel.stat, panel.lengths, scaling)
    return ColumnScaler(*(np.concatenate(parts) for parts in zip(moving, static, strict=True)))


def make_resident(
    panel: Panel,
    layout: Layout,
    columns: ColumnScaler,
    device: torch.device | str = "cpu",
    error_N: np.ndarray | None = None,
    *,
    halfway: bool = False,
    like: Resident | None = None,
) -> Resident:
    """Lay a panel out for gathering; ``columns`` scales the past-only, known-future and static columns together.

    ``like``: the same panel on the same device with other scalers, whose calendar is shared: it is most of what is kept.
    """
    calendar, peak_R = (_calendar(panel, layout), peaks(panel)) if like is None else (like.calendar_RK, like.peak_R)
    data_RC = np.concatenate([panel.target[:, None], panel.hist, panel.futr], axis=1)
    moving = data_RC.shape[1] - 1
    data_RC[:, 1:] -= columns.mean_C[:moving]
    data_RC[:, 1:] /= columns.std_C[:moving]
    stat_NS = None if panel.stat is None else (panel.stat - columns.mean_C[moving:]) / columns.std_C[moving:]
    place = {name: number for number, name in enumerate(layout.own)}
    own_N = np.array(
        [place.get(id_text(name), -1) for name in panel.ids] if place else [-1] * len(panel), dtype=np.int64
    )
    return Resident(
        torch.from_numpy(np.ascontiguousarray(data_RC)).to(device),
        calendar.to(device),
        torch.from_numpy(panel.offsets[:-1].copy()).to(device),
        torch.from_numpy(panel.offsets[1:].copy()).to(device),
        torch.from_numpy(own_N).to(device),
        layout,
        None if error_N is None else torch.from_numpy(error_N).to(device),
        halfway,
        None if peak_R is None else peak_R.to(device),
        None if stat_NS is None else torch.from_numpy(stat_NS).to(device),
    )


def _calendar(panel: Panel, layout: Layout) -> Tensor:
    return torch.from_numpy(calendar_columns(panel.wall_clock(), layout.calendar).astype(np.float32))


def peaks(panel: Panel) -> Tensor | None:
    """The largest absolute value that the series of a row had up to it, [R]; 0 before its first value. None where no value is
    zero: nobody asks then."""
    if not (panel.target == 0).any():
        return None
    size_R = np.nan_to_num(np.abs(panel.target))
    if panel.earlier is not None:
        size_R[panel.offsets[:-1]] = np.maximum(size_R[panel.offsets[:-1]], panel.earlier)
    for begin, end in itertools.pairwise(panel.offsets.tolist()):
        np.maximum.accumulate(size_R[begin:end], out=size_R[begin:end])
    return torch.from_numpy(size_R)


@dataclass(frozen=True)
class WindowShape:
    """Context steps, horizon steps and how a window is scaled.

    ``unit``: the scale that all windows share where they do. ``scale_steps``: how many of the newest context steps location
    and scale are taken from (0: all; all too where none of these was observed). ``least_context``: how many steps of
    history a window needs to be learned from, where the series is long enough (0: no such limit). ``usual``, ``share``,
    ``settled``: what windows that saw too little lean on, see ``Usual``.
    """

    input_size: int
    h: int
    scaling: Scaling = "standard"
    unit: float = 1.0
    scale_steps: int = 0
    least_context: int = 0
    usual: float = 1.0
    share: float = 0.0
    settled: int = 0

    @property
    def whole(self) -> int:
        """The steps of history that make a window's context whole: those it can not do without, or is scaled by."""
        return self.least_context or self.scale_steps or self.input_size

    @property
    def leaning(self) -> Usual:
        """The usual spread of the training part's windows."""
        return Usual(self.usual, self.share, self.settled)


def gather(resident: Resident, series_B: Tensor, end_B: Tensor, shape: WindowShape) -> Batch:
    """The windows whose first horizon step is row ``end_B`` of series ``series_B``; rows outside the series are padding."""
    T, layout = shape.input_size, resident.layout
    step = torch.arange(-T, shape.h, device=end_B.device)
    row_BL = end_B[:, None] + step
    inside_BL = (row_BL >= resident.start_N[series_B][:, None]) & (row_BL < resident.stop_N[series_B][:, None])
    clamped_BL = row_BL.clamp(0, len(resident.data_RC) - 1)
    window_BLF = F.embedding(clamped_BL, resident.data_RC)  # whole rows: several times as fast as indices in brackets
    if resident.stat_NS is not None:
        stat_BLS = resident.stat_NS[series_B][:, None].expand(-1, len(step), -1)
        window_BLF = torch.cat([window_BLF, stat_BLS], dim=-1)
    seen_BLF = window_BLF.isfinite() & inside_BL[..., None]
    scaled_by_BT1 = recent(seen_BLF[:, :T, :1], shape.scale_steps or T)
    peak_B1 = None if resident.peak_R is None else resident.peak_R[clamped_BL[:, T - 1 : T]]
    scale = window_scale(window_BLF[:, :T, :1], scaled_by_BT1, shape.scaling, shape.unit, shape.leaning, peak_B1)
    target_BL1 = (window_BLF[..., :1] - scale.location_BM[:, None]) / scale.scale_BM[:, None]
    input_BLF = window_BLF[..., 1:]
    if shape.scaling == "difference":
        input_BLF = input_BLF - newest(window_BLF[:, :T, 1:], seen_BLF[:, :T, 1:])[:, None]
        seen_BLF[:, T:, 1:] &= seen_BLF[:, :T, 1:].any(1, keepdim=True)  # a distance from nothing is not known
    scaled_BLF = torch.cat([target_BL1, input_BLF], dim=-1).masked_fill(~seen_BLF, 0.0).float()
    calendar_BLK = F.embedding(clamped_BL, resident.calendar_RK) * inside_BL[..., None]
    known = 1 + len(layout.hist)
    position_BH1 = ((step[T:] + 1) / shape.h).float()[None, :, None].expand(len(end_B), -1, -1)
    flag_BT1 = seen_BLF[:, :T, :1].float()
    always_BHK = inside_BL[:, T:, None].expand(-1, -1, calendar_BLK.shape[2])
    return Batch(
        encoder_BTX=torch.cat([scaled_BLF[:, :T], flag_BT1, calendar_BLK[:, :T]], dim=-1),
        inside_BT=inside_BL[:, :T],
        observed_BTF=seen_BLF[:, :T],
        decoder_BHK=torch.cat([scaled_BLF[:, T:, known:], calendar_BLK[:, T:], position_BH1], dim=-1),
        decoder_observed_BHK=torch.cat(
            [seen_BLF[:, T:, known:], always_BHK, torch.ones_like(position_BH1, dtype=torch.bool)], dim=-1
        ),
        target_BHM=scaled_BLF[:, T:, :1],
        target_observed_BHM=seen_BLF[:, T:, :1] & scale.sized_BM[:, None],
        last_BM=((scale.last_BM - scale.location_BM) / scale.scale_BM).float(),
        location_BM=scale.location_BM,
        scale_BM=scale.scale_BM,
        own_B=resident.own_N[series_B],
    )


class WindowIndex(NamedTuple):
    """W windows by series and row of their first horizon step, int64."""

    series_W: np.ndarray
    end_W: np.ndarray

    def __bool__(self) -> bool:
        return len(self.end_W) > 0

    def take(self, chosen: np.ndarray) -> WindowIndex:
        """The windows at these places."""
        return WindowIndex(self.series_W[chosen], self.end_W[chosen])


class Split(NamedTuple):
    """Training windows, and validation windows whose horizons lie after every training horizon of their series.

    ``held_out``: steps held out at the end of series; ``series_held_out``: whole series held out because all are short.
    """

    train: WindowIndex
    validation: WindowIndex
    held_out: int
    series_held_out: int = 0


def split_windows(panel: Panel, shape: WindowShape, *, validation_size: int | None = None, season: int = 1) -> Split:
    """Cut every series into training windows and, at its end, validation windows.

    The held-out tail is ``validation_size`` steps, by default a sixth of the typical series, at least one horizon and at
    most 28 horizons or 7 seasons, whichever are longer: a single day can not say when to stop. A series too short to give
    its tail away only trains. If none is long enough, every fifth of those with windows is held out whole, of ten series
    or more; with fewer, nothing is held out. Windows in whose context nothing was observed are left out: they have no
    level to be scaled by.
    """
    h, lengths = shape.h, panel.lengths
    typical = int(np.median(lengths))
    decided = max(h, min(typical // 6, max(28 * h, 7 * season)))
    tail = decided if validation_size is None else validation_size
    least = h + min(shape.input_size, max(1, h // 2))  # the shortest history a window is worth learning from
    held = np.where(lengths - tail >= least, tail, 0) if tail >= h else np.zeros_like(lengths)
    if validation_size and not held.any():
        raise UsageError(
            "validation_size",
            expected=f"at least a horizon of {h} steps, and series of {least} steps and more before them",
            got=f"{validation_size} with series of at most {lengths.max(initial=0)} steps",
            where="TrainConfig.validation_size",
            fix="leave it open, or 0 to hold nothing out",
        )
    stop = lengths - held
    train = _spans(panel, _first_origins(stop - h, shape), stop - h)
    validation = _spans(panel, np.where(held > 0, stop, lengths + 1), lengths - h)
    train, validation = (part.take(_tells(panel, part, shape)) for part in (train, validation))
    if validation or len(panel) < _SERIES_TO_SPARE or validation_size == 0:
        return Split(train, validation, int(held.max(initial=0)))
    spared = np.unique(train.series_W, return_inverse=True)[1] % 5 == 4  # of the series that have windows
    held_out = train.take(np.flatnonzero(spared))
    return Split(train.take(np.flatnonzero(~spared)), held_out, 0, len(np.unique(held_out.series_W)))


def _first_origins(last_N: np.ndarray, shape: WindowShape) -> np.ndarray:
    """Where the context of each series' first training window ends, [N], of where that of its last one does.

    A whole context where the history is three times as long; half a horizon where it is no longer than one context; between
    the two ever more of it, so that a longer history never leaves fewer windows. What a model can not do without it has
    wherever one window can have it.
    """
    whole = shape.whole
    short = min(whole, max(1, shape.h // 2))
    first = np.clip(short + (whole - short) * (last_N - whole) // (2 * whole), short, whole)
    if shape.least_context:
        first = np.where(last_N >= whole, whole, first)
    return np.where(last_N > 0, np.maximum(np.minimum(first, last_N), 1), last_N + 1)


def _spans(panel: Panel, first_N: np.ndarray, last_N: np.ndarray) -> WindowIndex:
    """All windows with their first horizon step at ``first..last`` (inclusive, within the series)."""
    count_N = np.maximum(last_N - first_N + 1, 0)
    series_W = np.repeat(np.arange(len(panel)), count_N)
    begin_W = np.repeat(np.cumsum(count_N) - count_N, count_N)
    end_W = np.arange(count_N.sum()) - begin_W + np.repeat(panel.offsets[:-1] + first_N, count_N)
    return WindowIndex(series_W.astype(np.int64), end_W.astype(np.int64))


def _tells(panel: Panel, windows: WindowIndex, shape: WindowShape) -> np.ndarray:
    """Which windows have at least one observed step in their context and one ahead."""
    seen = np.concatenate([[0], np.cumsum(np.isfinite(panel.target))])
    ahead = seen[np.minimum(windows.end_W + shape.h, len(panel.target))] - seen[windows.end_W]
    return (ahead > 0) & ~blind(panel, windows, shape.input_size)


def blind(panel: Panel, windows: WindowIndex, input_size: int) -> np.ndarray:
    """Which windows [W] hold no observed value of the target in their ``input_size`` steps: they have no level at all."""
    seen = np.concatenate([[0], np.cumsum(np.isfinite(panel.target))])
    begin = np.maximum(windows.end_W - input_size, panel.offsets[windows.series_W])
    return seen[windows.end_W] == seen[begin]


def spread(windows: WindowIndex, most: int) -> WindowIndex:
    """At most ``most`` windows, evenly spread: the cheap, deterministic stand-in for all of them."""
    if len(windows.end_W) <= most:
        return windows
    return windows.take(np.linspace(0, len(windows.end_W) - 1, most).round().astype(np.int64))


def batches(windows: WindowIndex, batch_size: int) -> Iterator[WindowIndex]:
    """The windows in order, in pieces of at most ``batch_size``; nothing is dropped."""
    for begin in range(0, len(windows.end_W), batch_size):
        yield windows.take(np.arange(begin, min(begin + batch_size, len(windows.end_W))))
