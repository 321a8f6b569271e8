"""The weights the page shows: which forecasts are opened, and their weights as small integer cubes with exact summaries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from openbook.plots.cube import ALL_INPUTS, Cube, evened, weight_cube
from openbook.plots.times import Clock, steps_between
from openbook.report.payload import counted_numbers, pack, stamp_numbers
from openbook.report.source import Backtest, explained_pairs, read_weights, target_name
from openbook.report.words import plural, shown, window_errors

MAX_FORECASTS = 24
MAX_COLUMNS = 400
# Weights a page may hold; at two bytes and a third more for text this is about 4.3 MB.
MAX_CELLS = 1_600_000
# A forecast with more weights than this is shown by its two margins, steps × past and steps × inputs.
MAX_CUBE = 300_000


def book_part(backtest: Backtest, clock: Clock) -> tuple[list[dict[str, Any]], list[str]]:
    """The forecasts whose weights the page shows, each as one dictionary, and what was left out, in words."""
    pairs = explained_pairs(backtest)
    if pairs.empty:
        return [], []
    models = [model for model in backtest.scores["model"] if model in set(pairs["model"])]
    models += sorted(set(pairs["model"]) - set(models))
    spots = pairs[["unique_id", "cutoff"]].drop_duplicates().reset_index(drop=True)
    keys = ["unique_id", "cutoff"]
    # A model of many weights keeps fewer forecasts than others: those that tell most are chosen among its own.
    explained = pd.MultiIndex.from_frame(spots[keys]).isin(
        pd.MultiIndex.from_frame(pairs.loc[pairs["model"] == models[0], keys])
    )
    order = _telling_spots(backtest, models[0], spots, explained)
    book: list[dict[str, Any]] = []
    used, merged, margins = 0, 1, False
    opened: list[str] = []
    for row, tag in order[:MAX_FORECASTS]:
        if used and used / len(opened) * (len(opened) + 1) > MAX_CELLS:
            break
        opened.append(tag)
        unique_id, cutoff = spots.iloc[row]
        by_model = dict(tuple(read_weights(backtest, unique_id, cutoff).groupby("model")))
        for model in filter(by_model.__contains__, models):
            entry, cells, bins = _entry(model, unique_id, cutoff, by_model[model], clock, backtest.decided(model))
            first = model == models[0]  # whose errors they are
            entry["tag"] = ", ".join(part for part in tag.split(", ") if first or "error" not in part)
            entry["features"] = _named(entry["features"], backtest, model)
            entry["timeOnly"] = entry["features"] == [ALL_INPUTS]
            entry["beside"] = _beside(entry["features"], backtest.inputs(model))
            book.append(entry)
            used, merged, margins = used + cells, max(merged, bins), margins or "cube" not in entry
    return book, _notes(models, len(spots), opened, merged, margins)


def _notes(models: list[str], spots: int, opened: list[str], merged: int, margins: bool) -> list[str]:
    """What was left out; ``opened``: the tags of the forecasts that are open."""
    notes = []
    if len(opened) < spots:
        names = ", ".join(map(shown, models))
        kinds = {"largest error": "the worst", "smallest error": "the best", "latest": "the latest"}
        which = [said for tag, said in kinds.items() if any(tag in tags for tags in opened)]
        which += ["others evenly spaced"] if "" in opened else []
        listed = f"{', '.join(which[:-1])} and {which[-1]}" if len(which) > 1 else "".join(which)
        notes.append(
            f"The book is open for {plural(len(opened), 'forecast')} of {spots:,} whose look-ups were kept ({names}): "
            f"{listed}. explanation.parquet holds all {spots:,}."
        )
    if merged > 1:
        notes.append(
            f"Long pasts are drawn with up to {merged} neighbouring stamps added up in one column; the sentences and the "
            "file use single stamps."
        )
    if margins:
        notes.append(
            "Where a forecast has too many weights for a page, time and inputs are shown apart; the file has every cell."
        )
    return notes


def _telling_spots(backtest: Backtest, model: str, spots: pd.DataFrame, explained: np.ndarray) -> list[tuple[int, str]]:
    """Rows of ``spots`` in the order they deserve room: worst, best, latest of those that ``model`` explained, then evenly
    spaced."""
    latest = int(spots["cutoff"].where(explained).argmax())
    chosen = {latest: ["latest"]}
    if model in backtest.forecasts:
        errors = window_errors(backtest, [model])[model]
        size = backtest.forecasts["y"].abs().groupby(backtest.forecasts["unique_id"]).mean()
        relative = errors / size.where(size > 0).reindex(errors.index.get_level_values(0)).to_numpy()
        keys = pd.MultiIndex.from_arrays([spots["unique_id"].astype(str), spots["cutoff"]])
        values = np.where(explained, relative.reindex(keys).to_numpy(), np.nan)
        if np.isfinite(values).any() and len(spots) > 1:
            chosen.setdefault(int(np.nanargmax(values)), []).append("largest error")
            chosen.setdefault(int(np.nanargmin(values)), []).append("smallest error")
    spaced = np.linspace(0, len(spots) - 1, min(len(spots), MAX_FORECASTS)).round().astype(int)
    rest = [int(row) for row in spaced if int(row) not in chosen]
    middle_out = sorted(rest, key=lambda row: _bit_reversed(rest.index(row)))
    return [*((row, ", ".join(tags)) for row, tags in chosen.items()), *((row, "") for row in middle_out)]


def _bit_reversed(index: int) -> int:
    """A spreading order: any first part of the sorted sequence covers the whole range."""
    return int(f"{index:08b}"[::-1], 2)


def _named(features: list[str], backtest: Backtest, model: str) -> list[str]:
    """Inputs as the page names them: the target by its own name, which is also that of the only input there is."""
    inputs, target = backtest.inputs(model), target_name(backtest.run)
    if features == [ALL_INPUTS] and inputs and not inputs.get("futr") and not inputs.get("hist"):
        return [target]
    return [target if name == "y" else name for name in features]


def _beside(features: list[str], inputs: dict[str, Any]) -> list[str]:
    """Inputs without a place in a look-up of one series' past alone."""
    if len(features) > 1 or features == [ALL_INPUTS]:
        return []
    return [str(name) for role in ("futr", "hist") for name in inputs.get(role) or () if name not in features]


def _entry(
    model: str, unique_id: Any, cutoff: Any, frame: pd.DataFrame, clock: Clock, decided: dict[str, Any] | None = None
) -> tuple[dict[str, Any], int, int]:
    """One forecast of one model for the page, the weights it takes and how many stamps share a column."""
    cube, zoned = _cube(frame, clock, decided or {}), isinstance(frame["ds"].dtype, pd.DatetimeTZDtype)
    bins = -(-len(cube.sources) // MAX_COLUMNS)
    drawn = _binned(cube.weight, bins)
    entry: dict[str, Any] = {
        "model": str(model),
        "id": str(unique_id),
        "cutoff": float(stamp_numbers(pd.Series([cutoff]))[0]),
        "targets": stamp_numbers(cube.targets).tolist(),
        "sources": pack(stamp_numbers(cube.sources)[::bins], "f8"),
        "stamps": len(cube.sources),
        "bin": bins,
        "features": cube.features,
        "top": _top_places(cube),
        "counted": _counted(cube, bins, clock) if zoned else None,
        "lags": _top_lags(cube, clock),
        "reach": [len(cube.sources), *_reach(frame)],
        "memory": _memory(frame),
        "parts": _parts(frame),
    }
    if drawn.size <= MAX_CUBE:
        entry["cube"] = whole_numbers(drawn)
        return entry, drawn.size, bins
    entry["time"], entry["input"] = whole_numbers(drawn.sum(2)), whole_numbers(drawn.sum(1))
    return entry, drawn.sum(2).size + drawn.sum(1).size, bins


def _cube(frame: pd.DataFrame, clock: Clock, decided: dict[str, Any]) -> Cube:
    """The weights as drawn: those of segments with missing rows, where the model says that it reads in segments, evened."""
    cube, (segment, window) = weight_cube(frame), (decided.get("segment"), decided.get("input_size"))
    if not (isinstance(segment, int) and isinstance(window, int)) or cube.targets.empty:
        return cube
    first = cube.targets.iloc[[0] * len(cube.sources)]
    return evened(cube, steps_between(cube.sources, first, clock) - 1, segment, window)


def _reach(frame: pd.DataFrame) -> list[int]:
    """At how many stamps each forecast step could look, in the order of the steps: those it has weights for."""
    told = frame[frame["weight"].notna()]
    steps = np.sort(frame["step"].unique())
    return [int(count) for count in told.groupby("step")["source_ds"].nunique().reindex(steps, fill_value=0)]


def _memory(frame: pd.DataFrame) -> list[float]:
    """Share of each forecast step that looked nowhere, in the order of the steps; empty where the model always looks."""
    if "memory" not in frame.columns:
        return []
    share = frame.groupby("step", sort=True)["memory"].first().fillna(0.0)
    return [round(float(value), 4) for value in share] if (share > 0).any() else []


def _parts(frame: pd.DataFrame) -> list[list[float]]:
    """Per step what the forecast is made of: linear path, what the look-up added, repeated seasons, what a lower bound added;
    empty where not told."""
    names = ["skip", "attended", "repeated", "bounded"]
    if not set(names) <= set(frame.columns) or frame[names].isna().any().any():
        return []
    each = frame.groupby("step", sort=True)[names].first().to_numpy(np.float64)
    return [[float(f"{value:.6g}") for value in row] for row in each]


def _binned(weight: np.ndarray, bins: int) -> np.ndarray:
    if bins == 1:
        return weight
    return np.add.reduceat(weight, np.arange(0, weight.shape[1], bins), axis=1)


def whole_numbers(weight: np.ndarray) -> dict[str, Any]:
    """Weights as 16-bit whole numbers of their largest: an error below a hundred-thousandth of it."""
    largest = float(weight.max()) or 1.0
    return {"largest": largest, **pack(np.round(weight / largest * 65_535), "u2")}


def _top_lags(cube: Cube, clock: Clock) -> list[list[float]]:
    """The three distances back from the target with most weight on average: [an example's source, its target, weight].

    A distance counts where at least half of the steps can look that far; its mean is taken over those steps.
    """
    sources, targets = counted_numbers(cube.sources, clock), counted_numbers(cube.targets, clock)
    by_time = cube.weight.sum(2)
    step, past = np.indices(by_time.shape).reshape(2, -1)
    lag = steps_between(cube.sources.iloc[past], cube.targets.iloc[step], clock)
    _, group = np.unique(lag, return_inverse=True)
    group = group.ravel()
    count = np.bincount(group)
    mean = np.bincount(group, by_time.ravel()) / count
    mean[count < len(targets) / 2] = -1.0
    best = [place for place in np.argsort(-mean, kind="stable")[:3] if mean[place] >= 0]
    examples = [np.unravel_index(int(np.flatnonzero(group == place)[-1]), by_time.shape) for place in best]
    pairs = zip(best, examples, strict=True)
    return [[float(sources[t]), float(targets[h]), float(f"{mean[place]:.4g}")] for place, (h, t) in pairs]


def _with_mean(cube: Cube) -> np.ndarray:
    return np.concatenate([cube.weight.mean(0, keepdims=True), cube.weight])


def _best_places(cube: Cube) -> np.ndarray:
    """The three stamps with most weight in the mean of all steps and in each, [H + 1, 3]."""
    return np.argsort(-_with_mean(cube).sum(2), axis=1, kind="stable")[:, :3]


def _counted(cube: Cube, bins: int, clock: Clock) -> dict[str, Any]:
    """The entry's stamps as distances are counted, where time zones make that another number than what a label shows."""
    sources = counted_numbers(cube.sources, clock)
    top = pack(sources[_best_places(cube)], "f8")
    return {
        "targets": counted_numbers(cube.targets, clock).tolist(),
        "sources": pack(sources[::bins], "f8"),
        "top": top,
    }


def _top_places(cube: Cube) -> dict[str, Any]:
    """The three stamps with most weight, for each step and for the mean of all ([H + 1, 3]), with their leading input."""
    weight = _with_mean(cube)
    by_time, best = weight.sum(2), _best_places(cube)
    rows = np.arange(len(weight))[:, None]
    cells = weight[rows, best]
    return {
        "source": pack(stamp_numbers(cube.sources)[best], "f8"),
        "weight": pack(by_time[rows, best], "f4"),
        "feature": pack(cells.argmax(2), "u2"),
        "share": pack(cells.max(2) / np.maximum(cells.sum(2), 1e-12), "f4"),
    }
