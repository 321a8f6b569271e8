"""What every model takes and gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from openbook.errors import UsageError
from openbook.nn.jitter import YearPlaces
from openbook.windows.batch import Batch

Axis = Literal["time", "feature", "joint", "two_stage", "gaps"]
Mode = Literal["direct", "teacher_forcing", "scheduled", "free_running"]
MODES: tuple[Mode, ...] = ("direct", "teacher_forcing", "scheduled", "free_running")


_STEPS = 32_768  # forecast steps of all windows in one call


def whole_seasons(season: int, h: int) -> int:
    """Steps of the fewest whole seasons that hold a horizon.

    >>> whole_seasons(24, 30)
    48
    """
    return season * -(-h // season)


@dataclass(frozen=True)
class ModelShape:
    """Sizes a model takes from the data: F variables, X encoder and K decoder inputs, M targets, T, H and the quantiles.

    ``n_known``: how many of the variables, the last ones, are known ahead; ``n_static``: how many of these, the last ones,
    never change within a series. ``season``: steps of one season. ``n_own``: series with a linear map of their own. ``n_year``:
    how many calendar columns, from ``year_at`` on, tell the day of the year. ``recall``: the season by which missing values are
    recalled, 1 for the last value; 0 for ``season``.
    """

    n_variables: int
    n_encoder: int
    n_decoder: int
    input_size: int
    h: int
    quantiles: tuple[float, ...] = (0.5,)
    n_targets: int = 1
    n_known: int = 0
    season: int = 1
    n_static: int = 0
    n_own: int = 0
    year_at: int = 0
    n_year: int = 0
    recall: int = 0

    @property
    def year(self) -> YearPlaces:
        """Where the day of the year stands in the inputs: calendars follow the variables and the flag, and what is known ahead.

        >>> shape = ModelShape(n_variables=2, n_encoder=9, n_decoder=8, input_size=9, h=4, n_known=1, year_at=2, n_year=4)
        >>> shape.year
        YearPlaces(encoder=5, decoder=3, columns=4)
        """
        after = self.n_encoder - self.n_variables - 1 - self.year_at  # calendar columns from the first of the year's on
        return YearPlaces(self.n_encoder - after, self.n_decoder - 1 - after, self.n_year)

    @property
    def period(self) -> int:
        """Steps of the fewest whole seasons that hold the horizon."""
        return whole_seasons(self.season, self.h)

    def windows_at_once(self, places: int | None = None, *, most: int = 256, cells: int = 32_000_000) -> int:
        """Windows to forecast in one call, so that their weights [B, H, T, F] stay within ``cells``, and what is made for each
        of their steps within what a processor keeps near: 256 windows of 720 steps took half as long again each.

        ``places``: of a model whose weights are left compact, how many each step has in place of T; see ``unread``.
        """
        return max(1, min(most, _STEPS // self.h, cells // (self.h * (places or self.input_size) * self.n_variables)))

    @property
    def median(self) -> int:
        """Place of the median among the quantiles."""
        return self.quantiles.index(0.5)


class Stages(NamedTuple):
    """The two stages of dual-stage attention, each row summing to one (0 where nothing could be looked at).

    ``alpha_BTF``: which input at every encoder step. ``beta_BLT``: which encoder step at every decoder step; the last H
    of the L decoder steps make the forecast, those before read the target's own past.
    """

    alpha_BTF: Tensor
    beta_BLT: Tensor


class AttentionMap(NamedTuple):
    """Where every decoder step looked: ``weight_BHTF``, with F = 1 where time alone was weighed.

    ``shift``: by how many rows the book reaches beyond the cutoff (the target steps' own inputs in a nowcast). ``row_HT``:
    where the looked-up places differ by step, their rows relative to the first step ahead (negative: past).
    """

    axis: Axis
    weight_BHTF: Tensor
    stages: Stages | None = None
    shift: int = 0
    row_HT: Tensor | None = None

    def normalised(self) -> Tensor:
        """Weights whose sum over the grid is one per window and step (0 where nothing could be looked at)."""
        total = self.weight_BHTF.sum((-1, -2), keepdim=True)
        return self.weight_BHTF / total.clamp(min=torch.finfo(total.dtype).tiny)

    def on_rows(self, n_rows: int) -> Tensor:
        """Normalised weights over the last ``n_rows`` rows of the past, [B, H, n_rows, F], whatever places were weighed."""
        weight_BHTF = self.normalised()
        if self.row_HT is None:
            return weight_BHTF
        B, H, _, F = weight_BHTF.shape
        place_HT = self.row_HT + n_rows
        seen_HT = (place_HT >= 0) & (place_HT < n_rows)
        index_BHTF = place_HT.clamp(0, n_rows - 1)[None, :, :, None].expand_as(weight_BHTF)
        spread_BHRF = weight_BHTF.new_zeros(B, H, n_rows, F)
        return spread_BHRF.scatter_add(2, index_BHTF, weight_BHTF * seen_HT[None, :, :, None])

    def memory(self) -> Tensor:
        """Share of every step that looked nowhere, so that its answer came from memory, [B, H]; 0 for other axes."""
        if self.axis != "joint":
            return self.weight_BHTF.new_zeros(self.weight_BHTF.shape[:2])
        return (1 - self.weight_BHTF.sum((-1, -2))).clamp(min=0)


class Output(NamedTuple):
    """Quantiles of every step in scaled units, [B, H, M, Q], and where each step looked.

    ``skip_BHM``: of models with a linear skip path, what its closed-form map alone forecasts; None in training.
    ``penalty``: what a model adds to its training loss, one number; validation and tests count errors alone.
    """

    quantile_BHMQ: Tensor
    attention: AttentionMap
    skip_BHM: Tensor | None = None
    penalty: Tensor | None = None


class Teaching(NamedTuple):
    """How often the truth, instead of the model's own output, is fed back: with this probability, drawn per window and step.

    A model that rebuilds its own input is shown that share of the windows in part; ``shown_BH`` says exactly which steps.
    """

    probability: float = 0.0
    generator: torch.Generator | None = None
    shown_BH: Tensor | None = None


FREE = Teaching()


_read: ContextVar[bool] = ContextVar("read", default=True)


@contextmanager
def unread() -> Iterator[None]:
    """Forecasts whose look-ups nobody reads: a model that would lay them out over the rows of the past leaves them compact.

    Forecasts stay what they are. Holds for the calls of this thread: another may explain with the same model meanwhile.
    """
    before = _read.set(False)
    try:
        yield
    finally:
        _read.reset(before)


def is_read() -> bool:
    """Whether somebody reads where a forecast looked; see ``unread``."""
    return _read.get()


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Draws of torch's global generators on the CPU, and on ``device`` if it is a GPU, follow from ``seed``; afterwards they
    go on as if nothing had been drawn. Threads of one process share these generators: of two fits at once in threads neither
    repeats. No other device is touched (``torch.manual_seed`` would seed all GPUs)."""
    cuda = device is not None and device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def places_of(model: nn.Module) -> int | None:
    """How many places each step of a model's compact weights has, by variable; None where they are never left compact."""
    found = [getattr(part, "places", None) for part in model.modules()]
    return max((places for places in found if isinstance(places, int)), default=None)


class Model(Protocol):
    """A forecaster of windows; ``teaching`` matters to models with output feedback only."""

    def __call__(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """Forecast B windows."""
        ...


class ModelConfig(Protocol):
    """A frozen dataclass with the model's name; its fields are plain values."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


def feedback_size(mode: Mode, shape: ModelShape) -> int:
    """How many values a decoder is told of its last step."""
    return 0 if mode == "direct" else shape.n_targets


def next_feedback(own_BM: Tensor, batch: Batch, step: int, teaching: Teaching) -> Tensor:
    """What the next step is told of this one: the truth with the taught probability where it is known, else its own output."""
    if teaching.probability <= 0:
        return own_BM
    known_BM = batch.target_observed_BHM[:, step]
    if teaching.probability < 1:
        draw = torch.rand(len(own_BM), 1, generator=teaching.generator).to(own_BM.device)
        known_BM = known_BM & (draw < teaching.probability)
    return torch.where(known_BM, batch.target_BHM[:, step], own_BM)


def check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    """Refuse a config value that is not among the allowed ones."""
    if value not in allowed:
        raise UsageError(
            "bad_choice",
            expected=" or ".join(map(repr, allowed)),
            got=repr(value),
            where=name,
            fix="choose one of them",
        )


def check_amount(name: str, value: object) -> None:
    """Refuse a config value that is no number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise UsageError(
            "bad_amount", expected="a number of at least 0", got=repr(value), where=name, fix="pass one, 0 for none"
        )


def check_share(name: str, value: object) -> None:
    """Refuse a config value that is no share from 0 to below 1."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
        raise UsageError(
            "bad_share", expected="a number from 0 to below 1", got=repr(value), where=name, fix="e.g. 0.1"
        )
