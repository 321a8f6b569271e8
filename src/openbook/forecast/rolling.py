"""A rolling-origin evaluation: fit, forecast all windows of the fit at once, go on to the next fit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from openbook.data.panel import ID, TIME, Panel
from openbook.errors import DataError
from openbook.forecast.origins import Origins, refits, rolling_origins, training_part

if TYPE_CHECKING:
    from openbook.forecast.frames import FrameForecaster

log = logging.getLogger("openbook")


class Rolled(NamedTuple):
    """A rolling-origin evaluation of one forecaster: its forecasts, and the seconds spent fitting and predicting."""

    frame: pd.DataFrame
    seconds_fit: float
    seconds_predict: float


def roll(
    forecaster: FrameForecaster,
    panel: Panel,
    *,
    n_windows: int,
    step_size: int,
    refit: bool | int = False,
    level: Sequence[float] = (),
    each: Callable[[Origins], None] | None = None,
) -> Rolled:
    """Fit before the first cutoff (or every ``refit`` windows) and forecast all windows of a fit in one call.

    ``each`` is told the origins of every fit while the forecaster is the one that forecast them.
    """
    windows = rolling_origins(panel, forecaster.h, n_windows, step_size)
    every = refits(refit) or n_windows
    left_out = np.setdiff1d(np.arange(len(panel)), windows[-1].series)
    if len(left_out):
        log.warning("%d series too short to evaluate, the first: %s", len(left_out), panel.ids[left_out[0]])
    frames, fit_seconds, predict_seconds = [], 0.0, 0.0
    for first in range(0, n_windows, every):
        begin = time.perf_counter()
        part = training_part(panel, forecaster.h, n_windows - first, step_size)
        forecaster.fit_panel(forecaster.learn_categories(part))
        if forecaster.interrupted():
            raise KeyboardInterrupt  # half a training would be scored as a whole one
        fitted = time.perf_counter()
        origins = Origins(*(np.concatenate(parts) for parts in zip(*windows[first : first + every], strict=True)))
        if not len(origins.end):
            raise DataError(
                "too_short",
                expected=f"series longer than {n_windows} windows of {step_size} steps and a horizon of {forecaster.h}",
                got=f"at most {int(panel.lengths.max())} rows",
                where="cross_validation",
                fix="use fewer windows or a shorter horizon",
            )
        forecast = forecaster.predict_origins(forecaster.encoded(panel), origins, level)
        frames.append(forecaster.forecast_frame(panel, origins, forecast))
        fit_seconds, predict_seconds = fit_seconds + fitted - begin, predict_seconds + time.perf_counter() - fitted
        if each is not None:
            each(origins)
    frame = pd.concat(frames, ignore_index=True).sort_values([ID, "cutoff", TIME], ignore_index=True)
    return Rolled(frame, fit_seconds, predict_seconds)
