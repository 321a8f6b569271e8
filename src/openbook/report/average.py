"""What every network usually looks at: medians and middle halves over all explained forecasts, in numbers and in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from openbook.plots.averages import (
    Average,
    Cells,
    InputsAverage,
    Pool,
    Spread,
    TimesAverage,
    average_of,
    inputs_average,
    times_average,
)
from openbook.plots.cube import ALL_INPUTS
from openbook.plots.names import MOST_BARS
from openbook.plots.stages import FEW, MOST_PANELS
from openbook.plots.times import Clock, span_ticks, span_words, steps_between
from openbook.report.book import whole_numbers
from openbook.report.payload import pack
from openbook.report.source import Backtest, summed_weights, target_name
from openbook.report.words import percent, shown

_WINDOW = ["model", "unique_id", "cutoff"]
_NAMES_TOLD = 3


def average_part(backtest: Backtest, clock: Clock) -> list[dict[str, Any]]:
    """One entry for every model that explains, best score first; with ``inputs`` and ``times`` where it has two stages."""
    if backtest.explanation is None:
        return []
    cells = summed_weights(backtest.explanation, [*_WINDOW, "step", "ds", "source_ds"])
    shares = summed_weights(backtest.explanation, [*_WINDOW, "feature"])
    if cells.empty:
        return []
    own_name = {"y": target_name(backtest.run)}
    shares["feature"] = shares["feature"].replace(own_name)
    keys = [*_WINDOW, "stage", "step", "source_ds", "feature"]
    stages = pd.DataFrame(columns=keys) if backtest.stages is None else summed_weights(backtest.stages, keys)
    stages["feature"] = stages["feature"].replace(own_name)
    rank = {model: place for place, model in enumerate(backtest.scores["model"])}
    entries = []
    for model in sorted(set(cells["model"]), key=lambda name: (rank.get(name, len(rank)), name)):
        average = _weights(cells[cells["model"] == model], shares[shares["model"] == model], clock)
        entry = _weights_entry(average, shown(model), clock) | {"model": model}
        own = stages[stages["model"] == model]
        if {"inputs", "times"} <= set(own["stage"]):
            inputs = _inputs(own[own["stage"] == "inputs"], clock)
            times = _times(own[own["stage"] == "times"], clock)
            entry["inputs"] = _inputs_entry(inputs, shown(model), clock)
            entry["times"] = _times_entry(times, shown(model), clock)
        entries.append(entry)
    return entries


def _windows(frame: pd.DataFrame) -> tuple[np.ndarray, Pool]:
    """The number of the window every row belongs to, and how many there are."""
    window = frame.groupby(["unique_id", "cutoff"], sort=False).ngroup().to_numpy()
    return window, Pool(int(window.max()) + 1, frame["unique_id"].nunique())


def _weights(frame: pd.DataFrame, shares: pd.DataFrame, clock: Clock) -> Average:
    window, pool = _windows(frame)
    back = steps_between(frame["source_ds"], frame["cutoff"], clock)
    lag = steps_between(frame["source_ds"], frame["ds"], clock)
    cells = Cells(window, frame["step"].to_numpy(np.int64), back, lag, frame["weight"].to_numpy(np.float64))
    wide = shares.pivot_table(
        index=["unique_id", "cutoff"], columns="feature", values="weight", sort=False, fill_value=0.0
    )
    total = wide.sum(axis=1)
    share_WF = wide.div(total.where(total > 0), axis=0).to_numpy()
    return average_of(cells, share_WF, tuple(map(str, wide.columns)), pool)


def _inputs(frame: pd.DataFrame, clock: Clock) -> InputsAverage:
    keys = ["unique_id", "cutoff", "source_ds"]
    wide = frame.pivot_table(index=keys, columns="feature", values="weight", sort=False, fill_value=0.0)
    rows = wide.index.to_frame(index=False)
    window, pool = _windows(rows)
    back = steps_between(rows["source_ds"], rows["cutoff"], clock)
    return inputs_average(window, back, wide.to_numpy(), tuple(map(str, wide.columns)), pool)


def _times(frame: pd.DataFrame, clock: Clock) -> TimesAverage:
    window, pool = _windows(frame)
    back = steps_between(frame["source_ds"], frame["cutoff"], clock)
    cells = Cells(window, frame["step"].to_numpy(np.int64), back, back, frame["weight"].to_numpy(np.float64))
    return times_average(cells, pool)


def _weights_entry(average: Average, name: str, clock: Clock) -> dict[str, Any]:
    by_step = "a moment it could look at, counted back from "
    by_step += "that step" if average.axis == "lag" else "the moment the forecast was made"
    nowhere = f" {percent(average.memory, 0)} looked nowhere and is not drawn." if average.memory >= 0.005 else ""
    alone = average.features == (ALL_INPUTS,) or len(average.features) < 2
    lags = _lags_told(average, clock)
    words = {
        "map": f"What {name} usually looks at: each row is a step of the forecast, each column {by_step}; the darker, the more "
        f"of the look-up (median of {average.pool.words()}).{nowhere}",
        "lags": f"Counted back from each {clock.noun} it forecast"
        + (f", {name} usually looked most {lags}; " if lags else ", no distance is in reach of half of the steps: ")
        + f"{'the whiskers hold' if len(average.lag_L) <= FEW else 'the band holds'} the middle half of all forecasts."
        + _evenly_told(average.by_lag.median, 1 - average.memory, average.reach),
        "features": "" if alone else f"Of all it looked up, {name} usually drew {_features_told(average, 'from')}.",
    }
    return {
        "shown": name,
        "words": words,
        "axis": average.axis,
        "map": _map(average.step_H, average.place_P, average.median_HP, clock),
        "lags": _line(average.lag_L, average.by_lag, clock),
        "features": [] if alone else _bars(average),
        "more": max(0, len(average.features) - MOST_BARS),
    }


def _inputs_entry(average: InputsAverage, name: str, clock: Clock) -> dict[str, Any]:
    kept = slice(0, MOST_PANELS)
    told = _features_told(average, "to")
    words = f"Stage one: at every past moment {name} first shares its attention out among the inputs; usually it gives {told}."
    rest = len(average.features) - MOST_PANELS
    left = f" {rest} smaller input{'' if rest == 1 else 's'} not drawn over time." if rest > 0 else ""
    panels = [
        _line(average.back_P, Spread(*(part[:, i] for part in average.by_place)), clock) | {"name": feature}
        for i, feature in enumerate(average.features[kept])
    ]
    pool = average.pool.words()
    return {
        "words": words + left,
        "pool": pool,
        "panels": panels,
        "features": _bars(average),
        "more": max(0, rest - 10),
    }


def _times_entry(average: TimesAverage, name: str, clock: Clock) -> dict[str, Any]:
    median = np.nan_to_num(average.by_place.median)
    most = np.argsort(-median, kind="stable")[:_NAMES_TOLD]
    told = _listed(f"{_place_told(int(average.back_P[i]), clock)} ({percent(float(median[i]))})" for i in most)
    reads = (
        " Rows above the line are steps in which it reads the past before it forecasts."
        if average.step_S.min() < 1
        else ""
    )
    words = f"Stage two: for each step {name} then looks back, in its forecasts usually most at {told}."
    reads = _evenly_told(median, 1.0, int(np.isfinite(average.by_place.median).sum())) + reads
    return {
        "words": words + reads,
        "pool": average.pool.words(),
        "map": _map(average.step_S, average.back_P, average.median_SP, clock),
        "line": _line(average.back_P, average.by_place, clock),
    }


def _map(steps: np.ndarray, places: np.ndarray, median: np.ndarray, clock: Clock) -> dict[str, Any]:
    """A grid of medians; ``places`` as steps, farthest first, with ticks at round distances."""
    cells = whole_numbers(np.nan_to_num(median))
    return {"steps": steps.tolist(), **_axis(places, clock), "cells": cells}


def _line(places: np.ndarray, found: Spread, clock: Clock) -> dict[str, Any]:
    return {**_axis(places, clock), **{name: pack(part, "f4") for name, part in found._asdict().items()}}


def _axis(places: np.ndarray, clock: Clock) -> dict[str, Any]:
    at = {place: position for position, place in enumerate(places.tolist())}
    few = len(at) <= FEW
    ticks = list(at) if few else span_ticks(int(places.min()), int(places.max()), clock, 7)
    text = [
        (at[tick], f"{'+' if tick < 0 else ''}{span_words(tick, clock) if tick else '0'}")
        for tick in ticks
        if tick in at
    ]
    return {"places": places.tolist(), "ticks": text}


def _bars(average: Average | InputsAverage) -> list[list[Any]]:
    """Name, lower quartile, median and upper quartile of the largest inputs."""
    rows = zip(average.features, *average.by_feature, strict=True)
    return [[name, *(round(float(value), 4) for value in values)] for name, *values in list(rows)[:MOST_BARS]]


def _lags_told(average: Average, clock: Clock) -> str:
    """The distances with most weight: the tops of the line, not their slopes, where half of the steps can look that far."""
    median = np.where(2 * average.steps_L >= len(average.step_H), np.nan_to_num(average.by_lag.median), -1.0)
    sides = np.pad(median, 1, constant_values=-1.0)
    tops = (
        np.flatnonzero((median >= sides[:-2]) & (median >= sides[2:])) if len(median) > FEW else np.arange(len(median))
    )
    tops = tops[median[tops] >= 0]
    best = tops[np.argsort(-median[tops], kind="stable")[:_NAMES_TOLD]]
    return _listed(f"{_lag_told(int(average.lag_L[i]), clock)} ({percent(float(median[i]))})" for i in best)


def _lag_told(lag: int, clock: Clock) -> str:
    return f"{span_words(lag, clock)} {'before' if lag > 0 else 'after'}" if lag else "at the same stamp"


def _place_told(back: int, clock: Clock) -> str:
    if back == 0:
        return "the last moment known"
    return f"{span_words(back, clock)} {'earlier' if back > 0 else 'later'}"


def _evenly_told(median: np.ndarray, total: float, places: float) -> str:
    """The warning that the largest share is hardly more than an even one; of a few places all are told already."""
    even = places > _NAMES_TOLD and float(np.nanmax(median)) < 1.6 * total / places
    return " The look-up is spread nearly evenly: no place stands out." if even else ""


def _features_told(average: Average | InputsAverage, link: str) -> str:
    parts = zip(average.features, *average.by_feature, strict=True)
    told = [
        f"{percent(median, 0)} {link} {name} (middle half {percent(low, 0)} to {percent(high, 0)})"
        for name, low, median, high in list(parts)[:_NAMES_TOLD]
    ]
    return _listed(told)


def _listed(parts: Any) -> str:
    texts = list(parts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else "".join(texts)
