"""From a panel to everything a model is built with: season, the model's open fields, windows, layout, scalers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from openbook.data.frequency import Freq
from openbook.data.panel import Panel
from openbook.errors import UsageError
from openbook.forecast.bands import error_scale, lagged
from openbook.forecast.decisions import (
    MOST_STEPS,
    Decision,
    decide_calendar,
    decide_gaps,
    decide_input_size,
    decide_scaling,
    decide_season,
)
from openbook.forecast.origins import Origins
from openbook.forecast.remarks import warn_of_constants, warn_of_no_past
from openbook.forecast.seasons import recall_season
from openbook.models.base import ModelConfig, ModelShape, whole_seasons
from openbook.models.day_to_day import DayToDayConfig
from openbook.models.openbook import OpenBookConfig
from openbook.training.losses import SCALED, Loss
from openbook.windows.sampler import Layout, Split, WindowShape, input_scaler
from openbook.windows.scaling import COMMON, ColumnScaler, Scaling, difference_std, usual_spread

_SETTLED = 8  # steps that tell a spread where half a season is shorter
_LEAST_UNIT = 1e-2  # of a series' deviation: one that repeats itself nearly exactly would outweigh all others
_STILL = 1e-12  # changes this much smaller than the level are rounding
QUANTILES = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
Decided = Callable[[str, Decision], Any]


class Asked(NamedTuple):
    """What the user fixed; ``None`` is decided from the data."""

    h: int
    config: ModelConfig
    freq: Freq | None
    input_size: int | None
    scaling: Scaling | None
    loss: Loss
    target: str
    country: str | None = None
    season: int | None = None


class Setup(NamedTuple):
    """What a model is built with; ``config`` is the model's own with its open fields decided."""

    config: ModelConfig
    season: int
    layout: Layout
    windows: WindowShape
    columns: ColumnScaler
    shape: ModelShape


def set_up(panel: Panel, asked: Asked, decided: Decided) -> Setup:
    """Decide what was left open; ``decided`` is told of each decision by name and gives its value back."""
    decided("freq", Decision(asked.freq, "as given") if asked.freq else Decision(panel.freq, "the most common step"))
    season = decided("season_length", Decision(asked.season, "as given") if asked.season else decide_season(panel))
    period = whole_seasons(season, asked.h)
    config = asked.config
    if isinstance(config, DayToDayConfig):
        config = replace(config, gaps=decided("gaps", _decide_gaps(panel, config.gaps, period, asked)))
        size = Decision(config.reach * period, f"back to the farthest day, {config.reach} periods of {period} steps")
    else:
        longest, ahead = getattr(config, "longest", MOST_STEPS), _told_ahead(asked)
        size = decide_input_size(panel, season, asked.h, longest + ahead)
        warn_of_no_past(asked.input_size, ahead)
    calendar = decided("calendar", decide_calendar(panel, asked.country))
    searched = isinstance(config, OpenBookConfig)  # decides window and scaling itself, on validation windows

    def told_of(name: str, decision: Decision) -> Any:
        return decision.value if searched else decided(name, decision)

    input_size = told_of("input_size", Decision(asked.input_size, "as given") if asked.input_size else size)
    # A day is scaled by the newest one: over months the level would blur.
    newest, least = (period, min(config.gaps) * period) if isinstance(config, DayToDayConfig) else (0, 0)
    told = Decision(asked.scaling, "as given")
    judged = told if asked.scaling else decide_scaling(panel, newest or input_size, asked.h)
    scaling: Scaling = told_of("scaling", judged)
    unit = float(difference_std(panel.target[:, None], panel.offsets)[0]) if scaling in COMMON else 1.0
    layout = Layout(asked.target, panel.hist_columns, panel.known_columns, calendar, panel.static)
    shape = ModelShape(
        n_variables=len(layout.variables),
        n_encoder=layout.n_encoder,
        n_decoder=layout.n_decoder,
        input_size=input_size,
        h=asked.h,
        quantiles=QUANTILES if asked.loss == "pinball" else (0.5,),
        n_known=len(layout.futr),
        n_static=len(layout.stat),
        season=season,
        recall=recall_season(panel, season),
        **_year(calendar),
    )
    windows = leaning(WindowShape(input_size, asked.h, scaling, unit, newest, least), panel, season)
    columns = input_scaler(panel, scaling)
    warn_of_constants((*panel.hist_columns, *panel.known_columns), columns.std_C, panel.static)
    return Setup(config, season, layout, windows, columns, shape)


def _told_ahead(asked: Asked) -> int:
    """The newest rows of a window that are those of the horizon itself: in a nowcast."""
    return asked.h if getattr(asked.config, "protocol", "forecast") == "nowcast" else 0


def _year(calendar: Sequence[str]) -> dict[str, int]:
    """Where among the calendar columns those of the day of the year stand; they stand side by side."""
    place = [at for at, name in enumerate(calendar) if name.startswith("year_")]
    return {"year_at": place[0], "n_year": len(place)} if place else {}


def leaning(windows: WindowShape, panel: Panel, season: int) -> WindowShape:
    """The windows with what those lean on that saw less than half a season: the usual spread of the panel's windows."""
    steps = windows.scale_steps or windows.input_size
    settled = min(-(-steps // 2), max(-(-season // 2), _SETTLED))
    usual = usual_spread(panel.target, panel.offsets, steps, settled)
    return replace(windows, usual=usual.amount, share=usual.share, settled=usual.settled)


def _decide_gaps(panel: Panel, gaps: tuple[int, ...], period: int, asked: Asked) -> Decision:
    """The gaps that a given window and the history reach; refuses a window that reaches none."""
    size = asked.input_size
    near = tuple(gap for gap in gaps if size is None or gap * period <= size)
    if not near:
        raise UsageError(
            "window_too_short",
            expected=f"input_size of at least {min(gaps) * period}, back to the nearest day",
            got=str(size),
            where="day_to_day",
            fix="leave input_size open, or choose nearer gaps",
        )
    decision = decide_gaps(panel, near, period, asked.h)
    if len(near) == len(gaps):
        return decision
    far = ", ".join(str(gap) for gap in gaps if gap not in near)
    return decision._replace(why=f"{decision.why}; a window of {size} steps does not reach {far}")


def series_unit(panel: Panel, split: Split, season: int, loss: Loss) -> np.ndarray:
    """What errors of each series are measured by, [N], from its rows before the held-out tail; that of the typical series
    where nothing moves: the level of a sensor that stands still says nothing about its errors.

    For squared errors the standard deviation, else the in-sample seasonal naive error, as in MASE, but at least a hundredth
    of the deviation: so every series counts by how well it could be forecast, not by its size, and all windows of a series
    alike, however restless they are.
    """
    stop, spread = _stops(panel, split), np.zeros(len(panel))
    for series, (begin, end) in enumerate(zip(panel.offsets[:-1], stop, strict=True)):
        seen = panel.target[begin:end]
        seen = seen[np.isfinite(seen)]
        moves = len(seen) > 1 and np.ptp(seen) > _STILL * np.abs(seen).max()  # the mean of equal numbers may be rounded
        spread[series] = seen.std() if moves else 0.0
    if loss != "mse":
        naive = np.fmax(error_scale(panel, season, Origins(np.arange(len(panel)), stop)), _LEAST_UNIT * spread)
        spread = np.where(spread > 0, naive, 0.0)
    known = spread[spread > 0]
    return np.where(spread > 0, spread, np.median(known) if len(known) else 1.0)


def season_changes(panel: Panel, split: Split, season: int) -> np.ndarray:
    """Root mean square of each series' changes from season to season before its held-out tail, [N]; NaN where it has none."""
    moved, found = np.square(panel.target - lagged(panel, season)), np.full(len(panel), np.nan)
    for series, (begin, end) in enumerate(zip(panel.offsets[:-1], _stops(panel, split), strict=True)):
        seen = moved[begin:end]
        if np.isfinite(seen).any():
            found[series] = np.sqrt(np.nanmean(seen))
    return np.where(found > 0, found, np.nan)


def loss_scale(panel: Panel, split: Split, season: int, loss: Loss) -> np.ndarray:
    """What a loss counts errors of each series in, [N]: ``series_unit``, or for MASE losses what they are defined by.

    NaN where nothing is known of a series: a MASE loss leaves it out.
    """
    if loss not in SCALED:
        return series_unit(panel, split, season, loss)
    return error_scale(panel, season, Origins(np.arange(len(panel)), _stops(panel, split)))


def _stops(panel: Panel, split: Split) -> np.ndarray:
    """Where the held-out tail of each series begins, [N]: its end where nothing or all of it is held out."""
    stop = panel.offsets[1:].copy()
    if split.series_held_out:
        return stop
    np.minimum.at(stop, split.validation.series_W, split.validation.end_W)
    return stop
