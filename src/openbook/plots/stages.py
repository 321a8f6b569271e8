"""Figures of averaged weights and of the two stages of dual-stage attention: which inputs, then which times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from openbook.plots.averages import Average, InputsAverage, Spread, TimesAverage
from openbook.plots.colors import INK, MODELS, WEIGHT_SCALE, faint, figure_layout, weight_scale
from openbook.plots.names import MOST_BARS, bar_columns, bar_names, name_axis, plain, share_format, step_ticks
from openbook.plots.times import Clock, span_ticks, span_words

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_PANELS = 6
# Up to so many places a line has too few points: bars with whiskers instead.
FEW = 12
_BLUE = WEIGHT_SCALE[4]
_SOFT = {"color": "#5f6166", "size": 13}


def plot_average(average: Average, clock: Clock, title: str) -> go.Figure:
    """Where many forecasts looked: the median by step and place, then by lag and by input with the middle half of all.

    Lags are counted from each step of the forecast; inputs beyond the sixteenth are left out.
    """
    from plotly.subplots import make_subplots

    alone = len(average.features) < 2
    names = bar_names(average.features[:MOST_BARS])
    figure = make_subplots(
        rows=2, cols=1 if alone else 2, row_heights=[0.6, 0.4], vertical_spacing=0.17,
        specs=[[{}], [{}]] if alone else [[{}, {"rowspan": 2}], [{}, None]],
        subplot_titles=_titles(average, alone), **({} if alone else bar_columns(names)),
    )  # fmt: skip
    back = average.axis == "back"
    places = _place_words(average.place_P, clock, back=back)
    figure.add_heatmap(
        z=average.median_HP, x=np.arange(len(places)), y=average.step_H, **_scale(average.median_HP),
        customdata=np.broadcast_to(places, average.median_HP.shape), showscale=False,
        hovertemplate="step %{y}, %{customdata}<br>%{z:.1%} (median)<extra></extra>", row=1, col=1,
    )  # fmt: skip
    figure.update_xaxes(**_place_axis(average.place_P, clock, back=back), row=1, col=1)
    figure.update_yaxes(
        autorange="reversed", title_text="step of the forecast", **step_ticks(len(average.step_H)), row=1, col=1
    )
    lags = _place_words(average.lag_L, clock, back=False)
    for trace in _band(np.arange(len(lags)), average.by_lag, lags, _BLUE):
        figure.add_trace(trace, row=2, col=1)
    figure.update_xaxes(**_place_axis(average.lag_L, clock, back=False), row=2, col=1)
    figure.update_yaxes(tickformat=share_format(_top(average.by_lag)), rangemode="tozero", row=2, col=1)
    if not alone:
        top = Spread(*(part[:MOST_BARS] for part in average.by_feature))
        figure.add_trace(_bars(names, top), row=1, col=2)
        figure.update_yaxes(**name_axis(names), row=1, col=2)
        figure.update_xaxes(tickformat=share_format(_top(top)), rangemode="tozero", nticks=5, row=1, col=2)
    nowhere = f"; {average.memory:.0%} looked nowhere" if average.memory >= 0.005 else ""
    told = f"{plain(title)}: where it looked, {_told(average)}{nowhere}"
    return _finished(figure, told, 680, 0.3)


def plot_inputs(
    alpha_TF: np.ndarray, back_T: np.ndarray, features: Sequence[str], clock: Clock, title: str
) -> go.Figure:
    """Stage one of one forecast: each input's share at every past moment, with its mean over all of them.

    ``back_T``: how many steps before the cutoff each moment lies, oldest first.
    """
    from plotly.subplots import make_subplots

    read = alpha_TF.sum(axis=1) > 0  # where no input was seen there are no shares
    mean = alpha_TF[read].mean(axis=0) if read.any() else alpha_TF.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    names = bar_names([features[i] for i in order])
    figure = make_subplots(
        rows=1, cols=2, column_widths=[0.78, 0.22], horizontal_spacing=0.03, shared_yaxes=True,
        subplot_titles=(f"share of each input at every past moment{_darkest(alpha_TF)}", "mean"),
    )  # fmt: skip
    past = _place_words(back_T, clock, back=True)
    figure.add_heatmap(
        z=alpha_TF.T[order], x=np.arange(len(past)), y=np.arange(len(names)), **_scale(alpha_TF), showscale=False,
        customdata=np.broadcast_to(past, (len(names), len(past))), text=[[name] * len(past) for name in names],
        hovertemplate="%{text}, %{customdata}<br>%{z:.1%}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    bar = {"x": mean[order], "y": np.arange(len(names)), "orientation": "h", "marker": {"color": _BLUE}}
    figure.add_bar(**bar, customdata=names, hovertemplate="%{customdata} %{x:.1%}<extra></extra>", row=1, col=2)
    figure.update_xaxes(**_place_axis(back_T, clock, back=True), row=1, col=1)
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", nticks=4, row=1, col=2)
    figure.update_yaxes(**name_axis(names), automargin=True)
    told = f"{plain(title)}: stage one, which inputs it weighed"
    return _finished(figure, told, 190 + 28 * max(4, len(names)), 0.25)


def plot_inputs_average(average: InputsAverage, clock: Clock, title: str) -> go.Figure:
    """Stage one of many forecasts: a row for each of the largest inputs, its share over time and its mean over all times."""
    from plotly.subplots import make_subplots

    names = bar_names(average.features[:MOST_PANELS])
    figure = make_subplots(
        rows=len(names), cols=2, column_widths=[0.74, 0.26], horizontal_spacing=0.05, shared_xaxes="columns",
        vertical_spacing=0.3 / max(3, len(names)), subplot_titles=[text for name in names for text in (name, "")],
    )  # fmt: skip
    past = _place_words(average.back_P, clock, back=True)
    top = float(np.nanmax(average.by_place.high[:, : len(names)]))
    end = float(np.nanmax(average.by_feature.high))
    for row, _ in enumerate(names, 1):
        own = Spread(*(part[:, row - 1] for part in average.by_place))
        for trace in _band(np.arange(len(past)), own, past, MODELS[(row - 1) % len(MODELS)], bars=False):
            figure.add_trace(trace, row=row, col=1)
        bar = _bars([""], Spread(*(part[row - 1 : row] for part in average.by_feature)))
        figure.add_trace(bar.update(marker={"color": MODELS[(row - 1) % len(MODELS)]}), row=row, col=2)
        figure.update_yaxes(tickformat=share_format(top), range=[0, 1.06 * top], nticks=4, row=row, col=1)
        figure.update_yaxes(showticklabels=False, ticks="", row=row, col=2)
        figure.update_xaxes(showticklabels=row == len(names), range=[0, 1.06 * end], row=row, col=2)
    mean = {"text": "mean of all moments", "standoff": 6, "font": _SOFT}
    figure.update_xaxes(tickformat=share_format(end), nticks=5, title=mean, row=len(names), col=2)
    axis = _place_axis(average.back_P, clock, back=True)
    figure.update_xaxes(**{**axis, "title": None}, col=1)
    figure.update_xaxes(title=axis["title"], row=len(names), col=1)
    rest = len(average.features) - len(names)
    more = f"; {rest} smaller input{'' if rest == 1 else 's'} left out" if rest else ""
    told = f"{plain(title)}: stage one, which inputs it weighed, {_told(average)}{more}"
    return _finished(figure, told, 150 + 105 * len(names), 0.4)


def plot_times(
    beta_LT: np.ndarray, back_T: np.ndarray, h: int, clock: Clock, title: str, past: Spread | None = None
) -> go.Figure:
    """Stage two: each past moment's share at every decoder step, above it the mean of the forecast's ``h`` steps.

    The last ``h`` of the L rows make the forecast; those before, above the line, read the target's own past. ``past``
    [T] draws the middle half of many forecasts instead of the mean of one.
    """
    from plotly.subplots import make_subplots

    step = np.arange(1 - (len(beta_LT) - h), h + 1)
    words = _place_words(back_T, clock, back=True)
    position = np.arange(len(words))
    of = "median" if past is not None else "share"
    figure = make_subplots(
        rows=2, cols=1, row_heights=[0.3, 0.7], vertical_spacing=0.11, shared_xaxes=True,
        subplot_titles=(
            "share of each past moment, mean of the forecast’s steps",
            f"{of} by decoder step, the forecast’s from 1, those before read the past{_darkest(beta_LT)}",
        ),
    )  # fmt: skip
    mean = beta_LT[-h:].mean(axis=0)
    for trace in _band(position, Spread(mean, mean, mean) if past is None else past, words, _BLUE):
        figure.add_trace(trace, row=1, col=1)
    figure.add_heatmap(
        z=beta_LT, x=position, y=step, **_scale(beta_LT), showscale=False,
        customdata=np.broadcast_to(words, beta_LT.shape),
        hovertemplate="step %{y}, %{customdata}<br>%{z:.1%}<extra></extra>", row=2, col=1,
    )  # fmt: skip
    if len(beta_LT) > h:
        figure.add_hline(y=0.5, opacity=1, line={"color": MODELS[1], "width": 2}, row=2, col=1)
    axis = _place_axis(back_T, clock, back=True)
    figure.update_xaxes(**{**axis, "title": None}, row=1, col=1)
    figure.update_xaxes(**axis, row=2, col=1)
    figure.update_yaxes(tickformat=".1~%", rangemode="tozero", nticks=4, row=1, col=1)
    figure.update_yaxes(autorange="reversed", title_text="decoder step", **step_ticks(len(beta_LT)), row=2, col=1)
    return _finished(figure, f"{plain(title)}: stage two, which moments it looked at", 640, 0.3)


def plot_times_average(average: TimesAverage, clock: Clock, title: str) -> go.Figure:
    """Stage two of many forecasts: medians by decoder step and past moment, above them the forecast's steps together."""
    h = int((average.step_S > 0).sum())
    figure = plot_times(average.median_SP, average.back_P, h, clock, title, average.by_place)
    return figure.update_layout(title_text=f"{figure.layout.title.text}, {_told(average)}")


def _told(average: Average | InputsAverage | TimesAverage) -> str:
    return f"median and middle half of {average.pool.words()}"


def _titles(average: Average, alone: bool) -> list[str]:
    first = "median by step and lag" if average.axis == "lag" else "median by step and past moment"
    parts = [
        f"{first}{_darkest(average.median_HP)}",
        "by input"
        + (f", the largest {MOST_BARS} of {len(average.features)}" if len(average.features) > MOST_BARS else ""),
        "by distance back from each step, mean of the steps that reach it",
    ]
    return [parts[0], parts[2]] if alone else parts


def _scale(weight: np.ndarray) -> dict[str, Any]:
    """From nothing, the lightest, to the largest weight, also where all are the same."""
    return {"colorscale": weight_scale(), "zmin": 0, "zmax": float(np.nanmax(weight)) or 1.0}


def _top(found: Spread) -> float:
    """The upper end of a line's middle half."""
    return float(np.nanmax(found.high, initial=0.0))


def _darkest(weight: np.ndarray) -> str:
    return f" (darkest: {np.nanmax(weight):.1%})"


def _place_words(places: np.ndarray, clock: Clock, *, back: bool) -> list[str]:
    """Places in words: distances before the cutoff, or before a step of the forecast."""
    here, before, after = (
        ("the last moment known", "earlier", "later") if back else ("the step itself", "before", "after")
    )
    return [f"{span_words(n, clock)} {before if n > 0 else after}" if n else here for n in places.tolist()]


def _place_axis(places: np.ndarray, clock: Clock, *, back: bool) -> dict[str, Any]:
    """Ticks at round distances; the axis counts places by their position, whatever lies between them."""
    few = len(places) <= FEW
    ticks = places.tolist() if few else span_ticks(int(places.min()), int(places.max()), clock)
    at = {place: position for position, place in enumerate(places.tolist())}
    known = [tick for tick in ticks if tick in at]
    widest = max((len(span_words(tick, clock)) for tick in known), default=0)
    every = -(-len(known) * (7 * widest + 10) // 640)  # letters of seven pixels; the newest is kept
    known = known[:: -max(1, every)][::-1]
    title = "back from the moment the forecast was made" if back else "back from each step of the forecast"
    text = [
        span_words(tick, clock) if tick > 0 else "0" if tick == 0 else f"+{span_words(tick, clock)}" for tick in known
    ]
    return {
        "tickvals": [at[tick] for tick in known],
        "ticktext": text,
        "tickangle": 0,
        "range": [-0.5, len(places) - 0.5],
        "title": {"text": title, "standoff": 6, "font": _SOFT},
    }


def _band(x: np.ndarray, found: Spread, words: Sequence[str], color: str, *, bars: bool = True) -> list[Any]:
    """A median line in its middle half; bars with whiskers where there are few places."""
    import plotly.graph_objects as go

    said = [f"{word}<br>{_range_words(*parts)}" for word, *parts in zip(words, *found, strict=True)]
    hover: dict[str, Any] = {"text": said, "hovertemplate": "%{text}<extra></extra>", "showlegend": False}
    if bars and len(x) <= FEW:
        whisker = {"array": found.high - found.median, "arrayminus": found.median - found.low, "color": INK}
        return [go.Bar(x=x, y=found.median, error_y=whisker, marker={"color": color}, textposition="none", **hover)]
    quiet: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
    known = np.isfinite(found.median)
    return [
        go.Scatter(x=x[known], y=found.low[known], **quiet),
        go.Scatter(x=x[known], y=found.high[known], **quiet, fill="tonexty", fillcolor=faint(color)),
        go.Scatter(x=x, y=found.median, mode="lines", line={"color": color, "width": 1.8}, **hover),
    ]


def _bars(names: Sequence[str], found: Spread) -> Any:
    import plotly.graph_objects as go

    return go.Bar(
        x=found.median, y=np.arange(len(names)), customdata=list(names), orientation="h",
        marker={"color": _BLUE}, showlegend=False,
        error_x={"array": found.high - found.median, "arrayminus": found.median - found.low, "color": INK},
        text=[_range_words(*parts) for parts in zip(*found, strict=True)], textposition="none",
        hovertemplate="%{customdata} %{text}<extra></extra>",
    )  # fmt: skip


def _range_words(low: float, median: float, high: float) -> str:
    return f"{median:.1%}" if low == high else f"{median:.1%} (middle half {low:.1%} to {high:.1%})"


def _finished(figure: go.Figure, title: str, height: int, bargap: float) -> go.Figure:
    """The shared layout, with the titles of the parts small and above their left corner."""
    for note in figure.layout.annotations:
        axis = next((axis for axis in figure.select_xaxes() if _holds(axis, note)), None)
        note.update(x=axis.domain[0] if axis else 0, xanchor="left", font=_SOFT)
    shared = figure_layout(title)
    title_place = {**shared.pop("title"), "y": 0.97, "yanchor": "top"}
    margin = {"l": 70, "r": 25, "t": 85, "b": 60}
    return figure.update_layout(**{**shared, "margin": margin}, title=title_place, height=height, bargap=bargap)


def _holds(axis: Any, note: Any) -> bool:
    return axis.domain is not None and axis.domain[0] <= note.x <= axis.domain[1]
