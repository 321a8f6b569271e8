"""The report's figures for Python: forecasts with their band, weights with their margins, scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from openbook.errors import UsageError
from openbook.plots.colors import (
    ACTUAL,
    INK,
    KNOWN_FLOORS,
    WEIGHT_SCALE,
    faint,
    figure_layout,
    line_styles,
    weight_scale,
)
from openbook.plots.cube import Cube, weight_cube
from openbook.plots.names import MOST_BARS, bar_columns, bar_names, name_axis, plain, share_format, step_ticks
from openbook.plots.times import Clock, clock_of, distances_in_words, gaps_between, stamp_label, wall_clock

if TYPE_CHECKING:
    import plotly.graph_objects as go

_PLAIN_COLUMNS = {"unique_id", "ds", "cutoff", "y"}


def plot_forecast(
    frame: Any,
    *,
    unique_id: object = None,
    cutoff: object = None,
    models: Sequence[str] | None = None,
    floors: Sequence[str] | None = None,
    level: int = 80,
) -> go.Figure:
    """Forecasts of one series against what happened, the first model with its band, floors dashed.

    ``frame`` is what ``cross_validation`` or ``predict`` returns (pandas or polars): ``unique_id, ds`` and one column per
    model, with ``y`` and ``cutoff`` where known. ``unique_id`` defaults to the first series, ``cutoff`` to all origins: then
    every stamp shows the latest forecast made for it, and lines break where no window tested.

    >>> frame = pd.DataFrame({"unique_id": "a", "ds": [1, 2], "y": [3.0, 4.0], "ridge": [3.1, 3.9]})
    >>> [trace.name for trace in plot_forecast(frame).data]
    ['actual', 'ridge']
    """
    import plotly.graph_objects as go

    table = _one_series(_pandas(frame), unique_id)
    if cutoff is not None and "cutoff" in table:
        table = _matching(table, "cutoff", cutoff)
    table = _freshest(table) if "cutoff" in table and len(table) else table.sort_values("ds")
    columns = [name for name in table.columns if name not in _PLAIN_COLUMNS and not _is_bound(name, table.columns)]
    names = list(columns if models is None else models)
    styles = line_styles(names, set(KNOWN_FLOORS if floors is None else floors))
    figure, x = go.Figure(), wall_clock(table["ds"])
    if names and f"{names[0]}-lo-{level}" in table:
        color = styles[names[0]]["color"]
        ends = [table[f"{names[0]}-{side}-{level}"].to_numpy(float, na_value=np.nan) for side in ("lo", "hi")]
        quiet = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
        fill = {"fill": "toself", "fillcolor": faint(color), "name": f"{level} % band"}
        figure.add_scatter(**_outline(list(x), *ends), **quiet, **fill)
        upright = _uprights(list(x), *ends)
        if upright["x"]:
            line = {"color": faint(color), "width": 7}
            figure.add_scatter(**upright, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    if "y" in table:
        figure.add_scatter(x=x, y=table["y"], name="actual", mode=_mode(table["y"]), line={"color": ACTUAL, "width": 2})
    for name in names:
        line = {**styles[name], "width": 1.8}
        figure.add_scatter(x=x, y=table[name], name=plain(name), mode=_mode(table[name]), line=line)
    title = plain(table["unique_id"].iloc[0]) if len(table) else ""
    return figure.update_layout(**figure_layout(title), hovermode="x unified")


_BAND = re.compile(r"(.+)-(?:lo|hi)-[\d.]+")


def _freshest(table: pd.DataFrame) -> pd.DataFrame:
    """One row a stamp with the latest forecast of each model, and a row without values wherever time was not tested."""
    ordered = table.sort_values(["cutoff", "ds"])
    last = ordered.groupby("ds", as_index=False).last()
    for band in map(str, table.columns):  # that of the forecast which is drawn, and of no older one
        named = _BAND.fullmatch(band)
        if named and (model := named[1]) in table:
            newest = ordered.dropna(subset=[model]).drop_duplicates("ds", keep="last").set_index("ds")
            last[band] = newest[band].reindex(last["ds"]).to_numpy()
    gaps = gaps_between(last["ds"], table)
    whole = pd.concat([last, last.iloc[gaps][["ds", "unique_id"]]], ignore_index=True)
    return whole.iloc[np.argsort(np.concatenate([np.arange(len(last)), gaps - 0.5]))]


def _mode(values: pd.Series) -> str:
    """Lines, with dots where a value has no neighbour to draw a line to."""
    known = np.concatenate([[False], values.notna(), [False]])
    return "lines+markers" if (known[1:-1] & ~known[:-2] & ~known[2:]).any() else "lines"


def _outline(x: list[Any], low: np.ndarray, high: np.ndarray) -> dict[str, list[Any]]:
    """The outline of a band, one closed shape for every stretch without a gap."""
    known = np.isfinite(low) & np.isfinite(high)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(int)))
    shape: dict[str, list[Any]] = {"x": [], "y": []}
    for begin, end in edges.reshape(-1, 2):
        shape["x"] += [*x[begin:end], *x[begin:end][::-1], None]
        shape["y"] += [*low[begin:end], *high[begin:end][::-1], None]
    return shape


def _uprights(x: list[Any], low: np.ndarray, high: np.ndarray) -> dict[str, list[Any]]:
    """Upright bars where a band's stamp has no neighbour, so that its outline has no area."""
    known = np.concatenate([[False], np.isfinite(low) & np.isfinite(high), [False]])
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
    ends = ((x[i], x[i], None) for i in alone), ((low[i], high[i], None) for i in alone)
    return {axis: [value for part in parts for value in part] for axis, parts in zip("xy", ends, strict=True)}


def plot_weights(
    explanation_frame: Any,
    unique_id: object = None,
    cutoff: object = None,
    step: int | None = None,
    model: str | None = None,
    freq: object = None,
) -> go.Figure:
    """What one forecast looked at: decoder step × past stamp, with its sums by stamp and by input.

    ``explanation_frame`` has columns ``unique_id, cutoff, step, ds, source_ds, feature, weight`` (and ``model`` where there
    are several). Defaults: the first model and series, the latest origin; the bars show the mean over all steps, or the
    one ``step`` (from 1). The bars are sums of the very weights in the map: shares of what was looked up, without what looked
    nowhere (``memory``), which the title tells. ``freq``: the table's frequency, for labels; guessed where it is not given.
    """
    from plotly.subplots import make_subplots

    table = _pandas(explanation_frame)
    if "model" in table:
        table = _matching(table, "model", table["model"].iloc[0] if model is None else model)
    table = _one_series(table, unique_id)
    table = _matching(table, "cutoff", table["cutoff"].max() if cutoff is None else cutoff)
    cube = weight_cube(table)
    steps = sorted(table["step"].unique())
    chosen = cube.weight.mean(0) if step is None else cube.weight[_step_row(steps, step)]
    clock = clock_of(pd.concat([wall_clock(cube.sources), wall_clock(cube.targets)]), freq)
    past = [stamp_label(stamp, clock) for stamp in wall_clock(cube.sources)]
    alone = len(cube.features) < 2
    names = bar_names(cube.features[:MOST_BARS])
    two = {**bar_columns(names), "specs": [[{}, None], [{}, {}]]}
    figure = make_subplots(
        rows=2, row_heights=[0.2, 0.8], vertical_spacing=0.03, shared_xaxes="columns",
        cols=1 if alone else 2, **({} if alone else two),
    )  # fmt: skip
    position = np.arange(len(past))
    bar = {"marker": {"color": WEIGHT_SCALE[4]}, "showlegend": False}
    figure.add_bar(
        x=position, y=chosen.sum(1), customdata=past, hovertemplate="%{customdata}: %{y:.1%}<extra></extra>", **bar
    )
    figure.add_heatmap(**_heat(cube, steps, past, clock), row=2, col=1)
    if not alone:
        inputs = {"x": chosen.sum(0)[:MOST_BARS], "y": np.arange(len(names)), "customdata": names, "orientation": "h"}
        figure.add_bar(**inputs, hovertemplate="%{customdata}: %{x:.1%}<extra></extra>", **bar, row=2, col=2)
        figure.update_xaxes(tickformat=share_format(float(chosen.sum(0).max())), nticks=4, row=2, col=2)
        figure.update_yaxes(**name_axis(names), row=2, col=2)
    room = (850 if alone else 600) // (7 * max(map(len, past)) + 10)
    every = max(1, -(-len(past) // min(5, max(1, room))))
    figure.update_xaxes(tickvals=position[::every], ticktext=past[::every], tickangle=0, row=2, col=1)
    figure.update_yaxes(autorange="reversed", title_text="step of the forecast", **step_ticks(len(steps)), row=2, col=1)
    figure.update_yaxes(tickformat=share_format(float(chosen.sum(1).max())), nticks=4, row=1, col=1)
    most = f", the largest {MOST_BARS} of {len(cube.features)} inputs" if len(cube.features) > MOST_BARS else ""
    which = "mean of all steps" if step is None else f"step {step}"
    darkest = f"{cube.weight.sum(2).max():.1%}"
    title = f"{plain(table['unique_id'].iloc[0])}: where the model read (bars: {which}{most}; darkest: {darkest})"
    told = [_nowhere(table, step)]
    if {"skip", "attended", "repeated", "bounded"} <= set(table.columns):
        told.append(_made_of(table))
    title += f"<br><sup>{'; '.join(filter(None, told))}</sup>" if any(told) else ""
    return figure.update_layout(**figure_layout(title), bargap=0.15)


def _nowhere(table: pd.DataFrame, step: int | None) -> str:
    """How much of a look-up the map does not show, in words; empty where that is hardly anything."""
    if "memory" not in table:
        return ""
    own = table if step is None else table[table["step"] == step]
    left = float(own.drop_duplicates("step")["memory"].fillna(0.0).mean())
    return f"{left:.0%} looked nowhere, the map is of the rest" if left >= 0.005 else ""


def _made_of(table: pd.DataFrame) -> str:
    """How much of one forecast the look-up is, in words."""
    parts = table.drop_duplicates("step")[["skip", "attended", "repeated", "bounded"]]
    whole = parts.sum(axis=1).abs().sum()
    if parts.sum(axis=1, skipna=False).isna().all():
        return "there is no forecast: nothing was observed in its window"
    if not parts["attended"].any():
        return "none of it entered the forecast, which is the linear path or repeated values"
    if not whole > 1e-5 * parts.abs().sum().sum():  # of nothing there are no shares
        return "the forecast is zero: its parts cancel each other"
    share = parts["attended"].abs().sum() / whole
    return f"learned beside the linear path (look-ups, memory, corrections): {share:.0%} of the forecast's size"


def plot_scores(scores: Any, metric: str = "mase", floors: Sequence[str] | None = None) -> go.Figure:
    """One bar per model, best first, floors in grey; the dashed line is the best floor.

    ``scores`` has one row per model with columns ``model`` and ``metric`` (the frame of ``scores.csv``).

    >>> scores = pd.DataFrame({"model": ["ridge", "openbook"], "mase": [0.9, 0.8]})
    >>> list(plot_scores(scores).data[0].y)
    ['openbook', 'ridge']
    """
    import plotly.graph_objects as go

    table = _pandas(scores)
    if metric not in table:
        raise UsageError(
            "unknown_metric",
            expected=f"one of {', '.join(column for column in table.columns if column != 'model')}",
            got=repr(metric),
            where="metric",
            fix="name a column of the score table",
        )
    told = re.fullmatch(r"coverage_([\d.]+)", metric)  # of which neither less nor more is better
    table = table.dropna(subset=[metric])
    table = table.iloc[
        np.argsort(np.abs(table[metric] - float(told[1]) / 100) if told else table[metric], kind="stable")
    ]
    names, simple = list(table["model"].astype(str)), set(KNOWN_FLOORS if floors is None else floors)
    styles = line_styles(names, simple)
    figure = go.Figure(
        go.Bar(
            x=table[metric],
            y=list(map(plain, names)),
            orientation="h",
            marker={"color": [styles[name]["color"] for name in names]},
            hovertemplate="%{x:.3f}<extra></extra>",
        )
    )
    base = table.loc[table["model"].astype(str).isin(simple), metric]
    if len(base):
        figure.add_vline(x=float(base.iloc[0]), line={"color": INK, "dash": "dot", "width": 1})
    figure.update_yaxes(autorange="reversed")
    return figure.update_layout(**figure_layout(""), xaxis_title=metric.upper())


def _heat(cube: Cube, steps: list[int], past: list[str], clock: Clock) -> dict[str, Any]:
    sources, targets = list(cube.sources), list(cube.targets)
    words = [[f"{past[t]}, {far}" for t, far in enumerate(row)] for row in distances_in_words(sources, targets, clock)]
    return {
        "z": cube.weight.sum(2),
        "x": np.arange(len(sources)),
        "y": steps,  # those that looked nowhere have no row
        "text": words,
        "customdata": [[stamp_label(target, clock)] * len(sources) for target in wall_clock(cube.targets)],
        "hovertemplate": "for %{customdata}<br>read %{text}<br>%{z:.1%} of the look-up<extra></extra>",
        "colorscale": weight_scale(),
        "zmin": 0,
        "zmax": float(cube.weight.sum(2).max()) or 1.0,
        "showscale": False,
    }


def _step_row(steps: list[Any], step: int) -> int:
    if step not in steps:
        raise UsageError(
            "unknown_step",
            expected=f"a step from {steps[0]} to {steps[-1]}",
            got=str(step),
            where="step",
            fix="pick one of them",
        )
    return steps.index(step)


def _pandas(frame: Any) -> pd.DataFrame:
    return frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()


def _one_series(table: pd.DataFrame, unique_id: object) -> pd.DataFrame:
    if table.empty or "unique_id" not in table:
        return table.assign(unique_id="") if "unique_id" not in table else table
    return _matching(table, "unique_id", table["unique_id"].iloc[0] if unique_id is None else unique_id)


def _matching(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    kept = table[table[column] == value]
    if kept.empty:
        some = ", ".join(map(repr, table[column].drop_duplicates().head(5)))
        raise UsageError(
            f"unknown_{column}",
            expected=f"one of {some} …",
            got=repr(value),
            where=column,
            fix="pick one the frame holds",
        )
    return kept


def _is_bound(name: str, columns: pd.Index) -> bool:
    return any(f"-{side}-" in name and name.rsplit(f"-{side}-", 1)[0] in columns for side in ("lo", "hi"))
