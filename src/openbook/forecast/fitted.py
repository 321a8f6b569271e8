"""What a fit leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

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
    number; bands follow what came after it. ``widening``: how much wider bands are where few values were seen, by their number.
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
    choice: Choice = ALONE
    learned_until: int | None = None
    widening: tuple[tuple[float, ...], ...] = ()
    spread: tuple[tuple[float, ...], ...] = ()
