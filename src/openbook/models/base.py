"""What every model takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from openbook.errors import UsageError
from openbook.windows.batch import Batch

Axis = Literal["time", "feature", "joint"]
Mode = Literal["direct", "teacher_forcing", "scheduled", "free_running"]


@dataclass(frozen=True)
class ModelShape:
    """Sizes a model takes from the data: F variables, X encoder and K decoder inputs, M targets, T, H and the quantiles."""

    n_variables: int
    n_encoder: int
    n_decoder: int
    input_size: int
    h: int
    quantiles: tuple[float, ...] = (0.5,)
    n_targets: int = 1

    def windows_at_once(self, *, most: int = 256, cells: int = 32_000_000) -> int:
        """Windows to forecast in one call, so that their weights [B, H, T, F] stay within ``cells``."""
        return max(1, min(most, cells // (self.h * self.input_size * self.n_variables)))

    @property
    def median(self) -> int:
        """Place of the median among the quantiles."""
        return self.quantiles.index(0.5)


class AttentionMap(NamedTuple):
    """Where every decoder step looked: ``weight_BHTF``, with F = 1 where time alone was weighed."""

    axis: Axis
    weight_BHTF: Tensor

    def normalised(self) -> Tensor:
        """Weights whose sum over the grid is one per window and step (0 where nothing could be looked at)."""
        total = self.weight_BHTF.sum((-1, -2), keepdim=True)
        return self.weight_BHTF / total.clamp(min=torch.finfo(total.dtype).tiny)

    def memory(self) -> Tensor:
        """Share of every step that looked nowhere, so that its answer came from memory, [B, H]; 0 for other axes."""
        if self.axis != "joint":
            return self.weight_BHTF.new_zeros(self.weight_BHTF.shape[:2])
        return (1 - self.weight_BHTF.sum((-1, -2))).clamp(min=0)


class Output(NamedTuple):
    """Quantiles of every step in scaled units, [B, H, M, Q], and where each step looked."""

    quantile_BHMQ: Tensor
    attention: AttentionMap


class Teaching(NamedTuple):
    """How often the truth, instead of the model's own output, is fed back: with this probability, drawn per window and step."""

    probability: float = 0.0
    generator: torch.Generator | None = None


FREE = Teaching()


class Model(Protocol):
    """A forecaster of windows; ``teaching`` matters to models with output feedback only."""

    def __call__(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """Forecast B windows."""
        ...


class ModelConfig(Protocol):
    """A frozen dataclass with the model's name; its fields are plain values."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


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
