"""What the page's script draws from: forecasts and weights as compact JSON, within a stated budget."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from openbook.plots.colors import FONT, WEIGHT_SCALE, line_styles
from openbook.plots.times import Clock, clock_of, counted, gaps_between, wall_clock
from openbook.report.source import Backtest, oldest_source, target_name
from openbook.report.words import shown, window_errors

MAX_SERIES = 40
# Numbers of forecasts a page may hold; at four bytes and a third more for text this is about 3.2 MB.
MAX_FORECAST_VALUES = 600_000


def pack(values: np.ndarray, kind: str) -> dict[str, Any]:
    """An array as base64 text of little-endian numbers of ``kind`` ('f4', 'f8', 'u2', 'i4'), with its shape.

    >>> pack(np.array([1, 2]), "u2")
    {'kind': 'u2', 'shape': [2], 'data': 'AQACAA=='}
    """
    raw = np.ascontiguousarray(values, dtype=f"<{kind}")
    return {"kind": kind, "shape": list(raw.shape), "data": base64.b64encode(raw.tobytes()).decode("ascii")}


def script_json(value: object) -> str:
    r"""JSON that is safe inside a script element: nothing in it can end the element or start another.

    >>> script_json({"id": "</script>&"})
    '{"id":"\\u003c/script\\u003e\\u0026"}'
    """
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def stamp_numbers(stamps: pd.Series) -> np.ndarray:
    """Stamps as milliseconds of the wall clock, or as the whole numbers they are."""
    wall = wall_clock(stamps)
    if pd.api.types.is_datetime64_any_dtype(wall):
        return wall.to_numpy("datetime64[us]").astype(np.int64) / 1_000
    return wall.to_numpy(np.float64)


def counted_numbers(stamps: pd.Series, clock: Clock) -> np.ndarray:
    """Stamps as numbers between which distances are counted; see ``counted``."""
    return stamp_numbers(counted(stamps, clock))


def page_clock(backtest: Backtest) -> Clock:
    """The clock of the forecasts, from the frequency of the run; without one from one series, all share a frequency."""
    forecasts, freq = backtest.forecasts, backtest.run.get("freq")
    ids = forecasts["unique_id"]
    own = forecasts[ids == ids.iloc[0]] if len(ids) else forecasts
    clock = clock_of(wall_clock(own["ds"]), freq)
    stamps = forecasts["ds"]
    oldest = oldest_source(backtest)  # the book is labelled too, and may reach back for years
    if oldest is not None and pd.api.types.is_datetime64_any_dtype(stamps):
        stamps = pd.concat([stamps, pd.Series([oldest], dtype=stamps.dtype)], ignore_index=True)
    whole = clock_of(wall_clock(stamps), freq or "D")  # says whether labels need the year
    return Clock(clock.unit, clock.multiple, clock.with_year or whole.with_year)


def common_part(backtest: Backtest, clock: Clock) -> dict[str, Any]:
    """Names, colours and units every figure needs."""
    models = list(backtest.scores["model"])
    styles = line_styles(models, backtest.floors)
    target = target_name(backtest.run)
    return {
        "clock": {"unit": clock.unit, "multiple": clock.multiple, "noun": clock.noun, "withYear": clock.with_year},
        "target": target,
        "unit": "" if target == "y" else target,
        "models": [
            {"name": model, "shown": shown(model), "floor": model in backtest.floors, **styles[model]}
            for model in models
        ],
        "weightScale": list(WEIGHT_SCALE),
        "font": FONT,
        "steps": _step_errors(backtest),
    }


def forecast_part(backtest: Backtest) -> tuple[list[dict[str, Any]], list[str]]:
    """Forecasts and actuals of the series the page shows, and what was left out, in words."""
    forecasts, models = backtest.forecasts, backtest.drawn
    ids = list(dict.fromkeys(forecasts["unique_id"]))
    if not ids or not models:
        return [], []
    bands = [model for model in models if f"{model}-lo-80" in forecasts and f"{model}-hi-80" in forecasts]
    columns = len(models) + 2 * len(bands)
    per_series = max(1, math.ceil(len(forecasts) / len(ids)) * columns)
    room = int(np.clip(MAX_FORECAST_VALUES // per_series, min(8, len(ids)), min(MAX_SERIES, len(ids))))
    chosen = _telling_series(backtest, ids, room)
    origins_kept = max(1, int(MAX_FORECAST_VALUES / room / columns / _horizon(forecasts)))
    groups = dict(tuple(forecasts[forecasts["unique_id"].isin(chosen)].groupby("unique_id", sort=False)))
    history = dict(tuple(backtest.history[backtest.history["unique_id"].isin(chosen)].groupby("unique_id")))
    notes = []
    if len(chosen) < len(ids):
        notes.append(
            f"Forecasts are drawn for {len(chosen)} of {len(ids):,} series: the hardest and the easiest to forecast and "
            "others evenly spaced between them. The scores count all of them; forecasts.parquet holds every forecast."
        )
    most = max(group["cutoff"].nunique() for group in groups.values())
    if most > origins_kept:
        notes.append(f"Of {most:,} forecast origins of a series the latest {origins_kept:,} are drawn.")
    return [_series_part(name, groups[name], models, bands, origins_kept, history.get(name)) for name in chosen], notes


def series_difficulty(backtest: Backtest) -> pd.Series:
    """Error of the best model per series (index: unique_id), by MASE where the scores hold it, else relative MAE."""
    best = backtest.ranked[:1]
    scored = backtest.by_series[backtest.by_series["model"].isin(best)].set_index("unique_id")["mase"].dropna()
    if len(scored):
        return scored.sort_values(ascending=False)
    if not best or best[0] not in backtest.forecasts:
        return pd.Series(dtype=float)
    errors = window_errors(backtest, best)[best[0]].groupby(level=0).mean()
    size = backtest.forecasts["y"].abs().groupby(backtest.forecasts["unique_id"]).mean()
    return (errors / size.where(size > 0)).dropna().sort_values(ascending=False)


def _telling_series(backtest: Backtest, ids: list[str], room: int) -> list[str]:
    if room >= len(ids):
        return ids
    there = set(ids)
    ranked = [name for name in series_difficulty(backtest).index if name in there]
    scored = set(ranked)
    ranked += [name for name in ids if name not in scored]
    return [ranked[i] for i in np.unique(np.linspace(0, len(ranked) - 1, room).round().astype(int))]


def _horizon(forecasts: pd.DataFrame) -> int:
    return int(forecasts.groupby(["unique_id", "cutoff"]).size().max())


def _series_part(
    name: str, group: pd.DataFrame, models: Sequence[str], bands: Sequence[str], kept: int, history: pd.DataFrame | None
) -> dict[str, Any]:
    """One series: its stamps and actuals once, and per origin [O, h] the place of every step and the forecasts."""
    cutoffs = np.sort(group["cutoff"].unique())[-kept:]
    group = group[group["cutoff"].isin(cutoffs)]
    h = int(group.groupby("cutoff").size().max())
    past = [] if history is None else [history[["ds", "y"]].tail(4 * h)]
    known = (
        pd.concat([*past, group[["ds", "y"]]]).dropna(subset=["ds"]).sort_values("y", na_position="last", kind="stable")
    )
    known = known.drop_duplicates("ds").sort_values("ds")
    origin = pd.Index(cutoffs).get_indexer(group["cutoff"])
    step = group.groupby("cutoff").cumcount().to_numpy()
    place = np.full((len(cutoffs), h), -1)
    place[origin, step] = pd.Index(known["ds"]).get_indexer(group["ds"])

    actual = known["y"].to_numpy(np.float64, na_value=np.nan)
    kind = _kind(actual)

    def table(column: str) -> dict[str, Any]:
        values = np.full((len(cutoffs), h), np.nan)
        values[origin, step] = group[column].to_numpy(np.float64, na_value=np.nan)
        return pack(values, kind)

    return {
        "id": name,
        "cutoffs": stamp_numbers(pd.Series(cutoffs)).tolist(),
        "stamps": pack(stamp_numbers(known["ds"]), "f8"),
        "gaps": gaps_between(known["ds"], group).tolist(),
        "actual": pack(actual, kind),
        "place": pack(place, "i4"),
        "point": {model: table(model) for model in models},
        "low": {model: table(f"{model}-lo-80") for model in bands},
        "high": {model: table(f"{model}-hi-80") for model in bands},
    }


def _kind(actual: np.ndarray) -> str:
    """How a series is packed: in four bytes where their rounding is next to nothing beside its changes, else in eight."""
    change, size = np.abs(np.diff(actual[np.isfinite(actual)])), np.abs(actual[np.isfinite(actual)])
    if not len(size):
        return "f4"
    return "f4" if float(size.max()) * 2.0**-24 <= 1e-4 * float(change.mean() if len(change) else size.max()) else "f8"


def _step_errors(backtest: Backtest) -> dict[str, Any]:
    """Mean error by step of the horizon, per model, in the backtest's ``unit_metric``."""
    metric = backtest.unit_metric
    table = backtest.by_step.dropna(subset=[metric, "step"])
    steps = sorted(set(table["step"]))
    errors = {}
    for model, own in table.groupby("model", sort=False):
        values = own.drop_duplicates("step").set_index("step")[metric].reindex(steps)
        errors[str(model)] = [None if math.isnan(value) else float(f"{value:.5g}") for value in values]
    unit = "MASE" if metric == "mase" else "" if (target := target_name(backtest.run)) == "y" else target
    return {"steps": [int(step) for step in steps], "error": errors, "unit": unit}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
