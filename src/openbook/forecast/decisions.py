"""What a forecaster decides when it was not told: each decision with its value and its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from openbook.data.calendar import calendar_columns, calendar_names
from openbook.data.frequency import season_length, step_seconds
from openbook.data.holidays import holiday_names
from openbook.data.panel import ID, TARGET, TIME, Panel, as_numbers
from openbook.data.table import holds_numbers
from openbook.errors import UsageError
from openbook.forecast.cycles import find_cycle
from openbook.models.openbook import OpenBookConfig
from openbook.windows.scaling import Scaling

MOST_STEPS = 720
_SERIES_LOOKED_AT = 200


class Decision(NamedTuple):
    """A chosen value and why."""

    value: Any
    why: str


def decide_season(panel: Panel) -> Decision:
    """Season length in steps: the frequency's own where time is a calendar, else what autocorrelation tells."""
    seconds = step_seconds(panel.freq)
    if seconds is not None and seconds >= 1:
        return Decision(season_length(panel.freq), f"the first cycle of frequency {panel.freq}")
    why = "whole-number time has no calendar" if seconds is None else "steps below a second have no calendar"
    peak, strength = find_cycle(panel)
    if strength > 0.3:
        return Decision(peak, f"autocorrelation {strength:.2f} at lag {peak} ({why})")
    return Decision(1, f"no lag with an autocorrelation above 0.3 ({why})")


def decide_input_size(panel: Panel, season: int, h: int, most: int = MOST_STEPS) -> Decision:
    """Context steps: a week of sub-daily data, two to eight seasons of slower data, within 720 and what the series offer.

    ``most``: a smaller limit, for models whose cost grows with every step.
    """
    seconds = step_seconds(panel.freq)
    seasons = (
        7 if seconds is not None and seconds < 86_400 else 8 if seconds is not None and seconds < 6 * 86_400 else 3
    )
    wanted = seasons * season if season > 1 else max(4 * h, 24)
    while wanted > most and seasons > 1:
        seasons -= 1
        wanted = seasons * season
    reason = f"{seasons} seasons of {season} steps" if season > 1 else "no season: four horizons"
    wanted = max(wanted, min(2 * h, most))
    room = max(1, int(np.quantile(panel.lengths, 0.75)) - h - 1)
    if room < wanted:
        return Decision(room, f"{reason} would be {wanted}, the series leave {room}")
    return Decision(min(wanted, most), reason)


def decide_gaps(panel: Panel, gaps: tuple[int, ...], period: int, h: int) -> Decision:
    """Which of a day-to-day model's gaps the series reach with a third of their history left to learn; at least the nearest.

    >>> from types import SimpleNamespace
    >>> decide_gaps(SimpleNamespace(lengths=np.array([24 * 14])), (1, 7, 28), 24, 24).value
    (1, 7)
    """
    room = (int(panel.lengths.max()) - 2 * h) * 2 // 3
    kept = tuple(gap for gap in gaps if gap * period <= room) or (min(gaps),)
    unit = f"periods of {period} steps"
    if len(kept) == len(gaps):
        return Decision(kept, f"as configured, in {unit}")
    return Decision(kept, f"{unit}; the series are too short for {', '.join(str(g) for g in gaps if g not in kept)}")


def decide_scaling(panel: Panel, input_size: int, h: int) -> Decision:
    """Which anchor forecasts better on the training part: the mean of the window, or its last value."""
    errors = {"standard": 0.0, "last": 0.0}
    for series in np.linspace(0, len(panel) - 1, min(len(panel), _SERIES_LOOKED_AT)).astype(int):
        values = panel.target[panel.rows(series)]
        ends = np.unique(np.linspace(min(input_size, len(values) // 2), len(values) - 1, 64).astype(int))
        spread = np.nanstd(values) if np.isfinite(values).sum() > 1 else 0.0
        for end in ends[ends > 0] if spread > 0 else ():
            past, ahead = values[max(0, end - input_size) : end], values[end : end + h]
            past, ahead = past[np.isfinite(past)], ahead[np.isfinite(ahead)]
            if len(past) and len(ahead):
                errors["standard"] += float(np.abs(ahead - past.mean()).mean()) / spread
                errors["last"] += float(np.abs(ahead - past[-1]).mean()) / spread
    best: Scaling = "last" if errors["last"] < 0.9 * errors["standard"] else "standard"
    ratio = errors["last"] / errors["standard"] if errors["standard"] > 0 else 1.0
    return Decision(best, f"error of repeating the last value is {ratio:.2f} of that of repeating the window's mean")


def decide_hist(table: pd.DataFrame, taken: Sequence[str]) -> Decision:
    """Past-only inputs of a canonical table: every numeric column that varies and has no other role (``taken``)."""
    others = [column for column in table.columns if column not in (ID, TIME, TARGET, *taken)]
    chosen = [column for column in others if _numbers_that_vary(table[column])]
    left = [column for column in others if column not in chosen]
    why = "all numeric columns that vary and have no other role"
    return Decision(tuple(chosen), why + (f"; left out: {', '.join(left)}" if left else ""))


def _numbers_that_vary(column: pd.Series) -> bool:
    """Numbers by their type, decimals and truth values with gaps among them: text and categories may be names."""
    if not holds_numbers(column):
        return False
    numbers, wrong = as_numbers(column)
    return not wrong.any() and bool(numbers.min() < numbers.max())  # counting the values would hash all of them


def decide_calendar(panel: Panel, country: str | None = None) -> Decision:
    """Calendar inputs that fit the frequency and the length of the history, and the holidays of ``country`` it has seen."""
    days, told = _decide_holidays(panel, country) if country else ((), "")
    if step_seconds(panel.freq) is None:
        return Decision((), "whole-number time has no calendar")
    seconds = float((panel.times.max() - panel.times.min()) / np.timedelta64(1, "s"))
    why = "cycles the frequency resolves and the history has seen"
    return Decision((*calendar_names(panel.freq, seconds), *days), why + told)


def _decide_holidays(panel: Panel, country: str) -> tuple[tuple[str, ...], str]:
    """Holiday columns that are both 0 and 1 in the history: what never happened would be forecast with chance weights."""
    names = holiday_names(country, panel.freq)
    seen = calendar_columns(panel.wall_clock()[np.isfinite(panel.target)], names)
    kept = tuple(name for name, values in zip(names, seen.T, strict=True) if values.any() and not values.all())
    left = [name for name in names if name not in kept]
    told = f"; the history has too few holidays to learn {', '.join(left)}" if left else ""
    return kept, f"; holidays of {country}{told}"


def decided_config(
    decisions: Mapping[str, Any], config: OpenBookConfig, *, window: bool = True
) -> tuple[OpenBookConfig, dict[str, Any]]:
    """A config without open fields, and arguments of ``Forecaster``, from decisions as they are kept; raises ``UsageError``.

    What ``config`` says itself stays, and a window of its own, or none (``window`` false: it is given elsewhere), leaves the
    parts open that are counted in it.

    >>> told = {"input_size": 48, "scaling": "last", "segment": 2, "book": 0, "mixing": False, "cycle": False, "n_models": 1}
    >>> config, arguments = decided_config({name: Decision(value, "tried") for name, value in told.items()}, OpenBookConfig())
    >>> config.window, arguments
    (48, {'scaling': 'last'})
    """
    needed = ("input_size", "scaling", "segment", "book", "mixing", "cycle", "n_models")
    absent = [name for name in needed if name not in decisions]
    if absent:
        raise UsageError(
            "missing_decisions",
            expected=f"decisions of a fitted openbook forecaster: {', '.join(needed)}",
            got=f"no {', '.join(absent)}",
            where="from_decisions",
            fix="pass the decisions attribute of a forecaster fitted with model='openbook'",
        )
    found = {name: decisions[name] for name in needed}
    others = ("skip_window", "differences", "year_jitter", "season_length")
    found |= {name: decisions[name] for name in others if name in decisions}
    value: dict[str, Any] = {
        name: told.get("value") if isinstance(told, Mapping) else told.value if isinstance(told, Decision) else told
        for name, told in found.items()
    }
    arguments: dict[str, Any] = {name: value.pop(name) for name in ("scaling", "season_length") if name in value}
    value["window"] = value.pop("input_size")
    if config.window or not window:
        value = {name: told for name, told in value.items() if name not in ("window", "skip_window", "segment")}
    own = {name: told for name, told in value.items() if getattr(config, name) is None}
    return replace(config, **own), arguments
