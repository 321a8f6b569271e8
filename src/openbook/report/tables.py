"""Tables of the page as rows of finished text: scores, series, decisions, problems, facts of the run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from openbook.plots.times import Clock, stamp_label, wall_clock
from openbook.report.source import Backtest, mapping
from openbook.report.words import best_of, digits_for, number, percent, plural, shown, tied

MAX_SERIES_ROWS = 60
# Column, heading, what it means, how a value is written (None: with the digits of its column).
_Column = tuple[str, str, str, Callable[[float], str] | None]
_COLUMNS: tuple[_Column, ...] = (
    ("mase", "MASE", "error in units of that of repeating the last season, as it was before the test", None),
    ("versus", "vs best floor", "{metric} against the best simple method; minus is better", None),
    ("mae", "MAE", "mean absolute error, in units of the target", None),
    ("rmse", "RMSE", "like MAE, but large misses weigh more", None),
    ("wape", "WAPE", "all errors added up, as a share of all volume", percent),
    ("smape", "sMAPE", "mean of error ÷ (|forecast| + |actual|)", percent),
    ("pinball", "Pinball", "error of the whole band of quantiles, in units of the target", None),
    ("seconds", "Seconds", "time to fit and to predict", None),
)


_IN_UNITS = ("mae", "rmse", "wape", "pinball")  # sums over series of several targets add up litres and prices


def score_table(backtest: Backtest) -> dict[str, Any]:
    """Headings and one row a model, best first; failed models last, with dashes."""
    scores = backtest.scores
    floor = best_of(backtest, floor=True)
    base = backtest.score(floor, backtest.metric) if floor else math.nan
    seconds = scores[["seconds_fit", "seconds_predict"]]
    values = scores.assign(
        versus=scores[backtest.metric] / base - 1 if base and base > 0 else math.nan,
        seconds=seconds.sum(axis=1, min_count=1),
    )
    columns = [column for column in (*_COLUMNS[:-1], *_bands(values), _COLUMNS[-1]) if values[column[0]].notna().any()]
    if backtest.unit_metric == "mase":
        columns = [column for column in columns if column[0] not in _IN_UNITS]
    digits = {name: digits_for(values[name].dropna()) for name, *_ in columns}
    longest = float(values[backtest.metric].max()) if backtest.ranked else 1.0
    rows = []
    for position in range(len(values)):
        row = values.iloc[position]
        model = str(row["model"])
        bar = float(row[backtest.metric]) / longest * 100 if longest > 0 else 0.0
        rows.append(
            {
                "model": shown(model),
                "floor": model in backtest.floors,
                "first": position == 0 and math.isfinite(bar),
                "failed": not math.isfinite(float(row[backtest.metric])),
                "bar": f"{bar:.1f}" if math.isfinite(bar) else "0",
                "cells": [
                    _cell(name, float(row[name]), digits[name], style, model == floor) for name, _, _, style in columns
                ],
            }
        )
    headings = [
        {"name": name, "title": title, "meaning": meaning.format(metric=backtest.metric.upper())}
        for name, title, meaning, _ in columns
    ]
    return {
        "headings": headings,
        "rows": rows,
        "mase": backtest.metric == "mase",
        "floor": shown(floor) if floor else "",
    }


def _bands(scores: pd.DataFrame) -> list[_Column]:
    """A column for the coverage of every level, the lowest first."""
    levels = sorted((name.removeprefix("coverage_") for name in scores if name.startswith("coverage_")), key=float)
    what = "share of actuals inside the {0}% band; {0}% is right"
    return [(f"coverage_{level}", f"In {level}% band", what.format(level), lambda x: percent(x, 0)) for level in levels]


def _cell(name: str, value: float, digits: int, style: Callable[[float], str] | None, is_base: bool) -> dict[str, str]:
    if name != "versus":
        return {"name": name, "text": style(value) if style else number(value, digits), "tone": ""}
    if is_base or not math.isfinite(value):
        return {"name": name, "text": "–", "tone": ""}
    tone = "worse" if value > 0.0005 else "better" if value < -0.0005 else ""
    return {"name": name, "text": percent(value, 1, sign=True), "tone": tone}


def season_words(run: dict[str, Any], clock: Clock, season: Any = None) -> str:
    """What 'repeating the last season' means for this data; ``season``: of that many steps, where it is told."""
    season = run.get("mase_season", run.get("season")) if season is None else season
    told = {("hour", 24): "the same hour of the day before", ("day", 7): "the same day of the week before"}
    told |= {("hour", 168): "the same hour of the week before"}
    told |= {("month", 12): "the same month of the year before", ("quarter", 4): "the same quarter of the year before"}
    if not isinstance(season, int):
        return "the value one season before"
    if run.get("freq") == "B" and season == 5:
        return "the same weekday of the week before"
    if season == 1:
        return "the value just before"
    return told.get((clock.unit, season * clock.multiple), f"the value {plural(season, clock.noun)} before")


def repeating_words(backtest: Backtest, clock: Clock) -> str:
    """What MASE compares with, and how that did in the test itself: where a row of the table tells it."""
    before = "than that repeating made before the test"
    if "seasonal_naive" not in set(backtest.scores["model"]):
        return before
    chosen = backtest.decided("seasonal_naive").get("season_length")
    if chosen in (None, backtest.run.get("mase_season", backtest.run.get("season"))):
        return f"{before}; how well it did in the test itself is told by the row of seasonal naive"
    return f"{before} (the row of seasonal naive repeats {season_words(backtest.run, clock, chosen)})"


def series_table(backtest: Backtest) -> tuple[dict[str, Any] | None, list[str]]:
    """Per series the best network beside the best floor, hardest losses first; None for a single series."""
    network, floor = best_of(backtest, floor=False), best_of(backtest, floor=True)
    pair = [model for model in (network, floor) if model is not None]
    table = backtest.by_series
    if table["unique_id"].nunique() < 2 or not pair:
        return None, []
    each = table.drop_duplicates(["unique_id", "model"])
    wide = each.pivot(index="unique_id", columns="model", values=backtest.metric).reindex(each["unique_id"].unique())
    wide = wide.reindex(columns=list(dict.fromkeys([*pair, *wide.columns])))
    kept = wide.dropna(subset=pair)
    notes = []
    if len(kept) < len(wide):
        left = plural(len(wide) - len(kept), "series", "series")
        notes.append(f"{left} could not be scored; the table by series does not list them.")
    if kept.empty:
        return None, notes
    compared = len(pair) > 1
    loss = (_loss(kept[pair[0]], kept[pair[1]]) if compared else kept[pair[0]]).sort_values(ascending=False)
    won = int(((kept[pair[0]] < kept[pair[1]]) & ~tied(kept[pair[0]], kept[pair[1]])).sum()) if compared else None
    half = MAX_SERIES_ROWS // 2
    picked = list(loss.index) if len(loss) <= MAX_SERIES_ROWS else [*loss.index[:half], *loss.index[-half:]]
    digits = digits_for(kept[pair].to_numpy().ravel())
    rows = [
        {
            "id": str(name),
            "closest": _closest(wide.loc[name]),
            "values": [number(float(kept.loc[name, model]), digits) for model in pair],
            "versus": _versus(float(loss[name])),
        }
        for name in picked
    ]
    if len(picked) < len(loss):
        ends = (
            f"where the network does worst against the floor and the {half} where it does best"
            if compared
            else f"where {shown(pair[0])} errs most and the {half} where it errs least"
        )
        notes.insert(
            0,
            f"The table by series lists {len(picked)} of {len(loss):,}: the {half} {ends}; scores_by_series.csv has all.",
        )
    table_facts = {"models": list(map(shown, pair)), "metric": backtest.metric.upper(), "rows": rows}
    return {**table_facts, "won": won, "count": len(kept)}, notes


def _closest(errors: pd.Series) -> str:
    """The model of least error; all of them where they differ by rounding alone."""
    return ", ".join(shown(str(name)) for name in errors.index[tied(errors, errors.min())])


def _loss(error: pd.Series, base: pd.Series) -> pd.Series:
    """By how much errors exceed those of a floor: without end where the floor makes none."""
    return (error / base.where(base > 0) - 1).mask(base == 0, np.where(error > 0, np.inf, 0.0))


def _versus(loss: float) -> dict[str, str]:
    cell = _cell("versus", loss, 1, None, False)
    return cell | {"text": "+∞", "tone": "worse"} if loss == math.inf else cell


def protocol_words(backtest: Backtest, clock: Clock) -> str:
    """What was tested on, in one sentence."""
    forecasts = backtest.forecasts
    if forecasts.empty:
        return "There are no forecasts in this folder."
    told = forecasts[forecasts["y"].notna()]  # windows without any actual value test nothing
    cutoffs = told.groupby("unique_id")["cutoff"].nunique().max() if len(told) else 0
    h = int(forecasts.groupby(["unique_id", "cutoff"]).size().max())
    ends = wall_clock(forecasts["ds"]).agg(["min", "max"])
    length = plural(h, clock.unit) if clock.units == 1 else f"{plural(h, 'step')} of {clock.per}"
    series = plural(forecasts["unique_id"].nunique(), "series", "series")
    where = f"{series}, {stamp_label(ends['min'], clock)} to {stamp_label(ends['max'], clock)}"
    empty = forecasts.loc[forecasts["y"].isna(), ["unique_id", "ds"]].drop_duplicates()
    each = ("stamp of a series", "stamps of series") if forecasts["unique_id"].nunique() > 1 else (clock.noun,)
    what = plural(len(empty), *each)
    gaps = f" Left out of every score: {what} without an actual value." if len(empty) else ""
    return (
        f"Tested on {plural(int(cutoffs), 'window')} of {length} each ({where}). Every forecast saw only what was known "
        f"when it was made{_given(backtest)}.{gaps}"
    )


def _given(backtest: Backtest) -> str:
    """What forecasts saw of the tested steps themselves: inputs that are named as known ahead, by any model."""
    readers = [model for model in backtest.scores["model"] if model == "ridge" or model not in backtest.floors]
    seen = {model: [str(name) for name in backtest.inputs(model).get("futr") or ()] for model in readers}
    told = []
    for name in dict.fromkeys(name for names in seen.values() for name in names):
        by = [shown(model) for model in readers if name in seen[model]]
        told.append(name if len(by) == len(readers) else f"{name} ({', '.join(by)} alone)")
    if not told:
        return ""
    return (
        f", and {', '.join(told)} of the tested steps as the table has them: where these are forecasts in "
        "practice, expect larger errors"
    )


def decision_rows(run: dict[str, Any]) -> list[dict[str, str]]:
    """Every decision as model, name, value and reason."""
    rows: list[dict[str, str]] = []
    for model, choices in mapping(run.get("decisions")).items():
        for name, choice in mapping(choices).items():
            pair = choice if isinstance(choice, dict) else {"value": choice}
            why = str(pair.get("why") or "")
            first = not rows or rows[-1]["of"] != str(model)
            rows.append(
                {
                    "of": str(model),
                    "model": shown(str(model)) if first else "",
                    "name": str(name).replace("_", " "),
                    "value": _plain(pair.get("value")),
                    "why": why,
                }
            )
    return rows


def problem_lists(run: dict[str, Any]) -> dict[str, list[Any]]:
    """Models that failed with their reasons, warnings, and remarks on the data."""
    warnings, notes = run.get("warnings"), mapping(run.get("data")).get("notes")
    return {
        "failed": [
            {"model": shown(str(model)), "why": _plain(why)} for model, why in mapping(run.get("failed")).items()
        ],
        "warnings": [_plain(line) for line in warnings] if isinstance(warnings, list) else [],
        "notes": [_plain(line) for line in notes] if isinstance(notes, list) else [],
    }


def fact_rows(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Seed, versions, machine, data and time, as pairs of words."""
    data, arguments = mapping(run.get("data")), mapping(run.get("arguments"))
    size = ", ".join(
        f"{int(data[key]):,} {word}"
        for key, word in (("rows", "rows"), ("series", "series"))
        if _is_number(data.get(key))
    )
    span = f"{data['start']} to {data['end']}" if data.get("start") is not None and data.get("end") is not None else ""
    pairs = [
        ("data", ", ".join(filter(None, (_plain(data.get("name")), size, span)))),
        ("frequency", _plain(run.get("freq"))),
        ("season", plural(int(run["season"]), "step") if _is_number(run.get("season")) else ""),
        ("seed", _plain(arguments.get("seed", run.get("seed")))),
        ("openbook", _plain(run.get("openbook"))),
        ("versions", _plain(run.get("versions"))),
        ("machine", _plain(run.get("machine"))),
        ("took", f"{number(float(run['seconds']))} seconds" if _is_number(run.get("seconds")) else ""),
    ]
    return [(name, text) for name, text in pairs if text]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and bool(np.isfinite(value))


def _plain(value: Any) -> str:
    """A JSON value in words: lists with commas, mappings as 'name value'."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return str(value)
