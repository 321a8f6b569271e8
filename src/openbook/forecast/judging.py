"""What follows training, on windows that were held out of it: how much of a forecast is the model's, and its bands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from openbook.data.panel import Panel
from openbook.forecast.choice import Choice, choose, least_of_repeats, member_forecasts, members, told_of
from openbook.forecast.conformal import Calibration
from openbook.forecast.decisions import Decision
from openbook.forecast.fitted import Fitted
from openbook.forecast.origins import Origins
from openbook.forecast.own_bands import ENOUGH, owners_of
from openbook.forecast.running import forecasts, laid_out, outputs
from openbook.forecast.start import error_of
from openbook.forecast.widening import widenings
from openbook.models.base import ModelConfig
from openbook.models.openbook import OpenBookConfig
from openbook.training.loop import TrainConfig
from openbook.windows.sampler import Resident, Split, WindowIndex, split_windows, spread

_JUDGES = 1024  # windows that choose a mixture, and that calibrate bands at least
_EACH = 16  # of one series at most, where many calibrate so that each may have bands of its own;
_MOST = 8192  # of all of them, which take seconds to forecast,
_VALUES = 400_000  # and megabytes to keep: so many steps


def judge(
    fitted: Fitted, panel: Panel, split: Split, unit: np.ndarray | None, train: TrainConfig
) -> tuple[Fitted, Decision | None]:
    """The fitted model with its mixture and its bands, and what was decided of the mixture.

    ``unit`` [N]: what errors of each series are counted in, where a mixture is chosen. An ``openbook`` of which nothing could
    be held out has proven nothing: a season is repeated in its place, of which the training part tells the errors.
    """
    judged, decision = split.validation or split.train, None
    resident = laid_out(fitted, panel)
    if split.validation and unit is not None:
        choice, decision = _chosen(fitted, panel, split.validation, unit, train, resident)
        fitted = replace(fitted, choice=choice)
    elif unproven(fitted.config, split, train):
        short = replace(fitted.windows, least_context=1)
        judged = split_windows(panel, short, validation_size=0).train
        choice, decision = least_of_repeats(panel, Origins(*judged), fitted.shape.h, fitted.season)
        fitted = replace(fitted, choice=choice)
    fitted = replace(fitted, calibration=_calibrated(fitted, panel, judged, resident))
    return replace(fitted, widening=widenings(fitted, panel, judged)), decision


def unproven(config: ModelConfig, split: Split, train: TrainConfig) -> bool:
    """Whether nothing could be held out to prove an ``openbook`` by: not where that was asked for."""
    return not split.validation and isinstance(config, OpenBookConfig) and train.validation_size is None


def _chosen(
    fitted: Fitted, panel: Panel, windows: WindowIndex, unit: np.ndarray, train: TrainConfig, resident: Resident
) -> tuple[Choice, Decision]:
    """How much of the forecasts is the model's and how much a floor's."""
    each, truths = [], []
    few = spread(windows, _JUDGES)
    names = members(panel, fitted.season, getattr(fitted.config, "skip", False))
    for piece, batch, output in outputs(fitted, panel, few, resident):
        told = told_of(batch, output, fitted.windows)
        each.append(member_forecasts(panel, Origins(*piece), told, fitted.shape.median, names))
        truths.append(told.truth_BH * told.scale_B1 + told.location_B1)
    size = unit[few.series_W][:, None]
    told_KWH, truth_WH = np.concatenate(each, axis=1) / size, np.concatenate(truths) / size
    return choose(panel, Origins(*few), told_KWH, truth_WH, names, error_of(train.loss))


def _calibrated(fitted: Fitted, panel: Panel, windows: WindowIndex, resident: Resident) -> Calibration:
    h = fitted.shape.h
    whose = owners_of(panel, Origins(*windows), h)
    some = spread(windows, calibrating(whose.stretches_N, h))
    told = list(forecasts(fitted, panel, some, resident))
    found = (np.concatenate([part.quantile_BHQ for part in told]), np.concatenate([part.truth_BH for part in told]))
    independent, owners = len(np.unique(whose.stretch_W)), owners_of(panel, Origins(*some), h)
    return Calibration(fitted.shape.quantiles, *found, independent=independent, owners=owners)


def calibrating(stretches_N: np.ndarray, h: int) -> int:
    """How many windows calibrate bands: 1,024; more of a table of many series, where that leaves each of them as many stretches
    of a horizon as bands of its own need.

    >>> calibrating(np.full(50, 12), h=7), calibrating(np.full(500, 12), h=7), calibrating(np.full(5000, 12), h=7)
    (1024, 8000, 1024)
    """
    wanted, most = int(np.minimum(2 * stretches_N, _EACH).sum()), min(_MOST, _VALUES // h)
    enough = stretches_N.max(initial=0) >= ENOUGH and most >= ENOUGH * len(stretches_N)
    return max(_JUDGES, min(wanted, most)) if enough else _JUDGES
