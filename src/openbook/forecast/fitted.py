"""What a fit leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from openbook.data.frequency import Freq
from openbook.forecast.choice import ALONE, Choice
from openbook.forecast.conformal import Calibration
from openbook.models.base import ModelConfig, ModelShape
from openbook.windows.sampler import Layout, WindowShape
from openbook.windows.scaling import ColumnScaler


@dataclass(frozen=True)
class Fitted:
    """Everything a trained forecaster needs to forecast: weights, sizes, scalers, calibration, what was decided.

    ``config`` is the model's, with what was decided of it. ``learned_until``: the last stamp it learned from, as a whole
    number, of the series that ended first, ``learned_beyond`` those of the others by name; bands follow what came after.
    ``widening``: how much wider bands are where few values were seen, by their number.
    ``lower_bound``: of series that were never seen, ``own_bounds`` of those by name for which another one holds.
    ``still``: where series stand that have never moved, by name.
    ``spread`` [h, Q]: what distances of the quantiles from their middle are multiplied by; empty for one.
    """

    model: nn.Module
    config: ModelConfig
    shape: ModelShape
    layout: Layout
    windows: WindowShape
    columns: ColumnScaler
    calibration: Calibration
    freq: Freq
    season: int
    lower_bound: float | None = None
    own_bounds: Mapping[str, float | None] = field(default_factory=dict)
    choice: Choice = ALONE
    learned_until: int | None = None
    learned_beyond: Mapping[str, int] = field(default_factory=dict)
    widening: tuple[tuple[float, ...], ...] = ()
    spread: tuple[tuple[float, ...], ...] = ()
    still: Mapping[str, float] = field(default_factory=dict)
