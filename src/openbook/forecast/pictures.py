"""From an explanation to a figure: one forecast, or the median of many; all weights, or one of the two stages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from openbook.errors import UsageError
from openbook.models.base import check_choice
from openbook.plots.averages import Average, Cells, InputsAverage, Pool, TimesAverage
from openbook.plots.averages import average_of as average_cells
from openbook.plots.averages import inputs_average as average_inputs
from openbook.plots.averages import times_average as average_times
from openbook.plots.times import Clock, clock_of, steps_between, wall_clock

if TYPE_CHECKING:
    from openbook.forecast.explanation import Explanation

VIEWS = ("weights", "inputs", "times")


def draw(
    found: Explanation, unique_id: object | None, cutoff: object | None, *, view: str = "weights", average: bool = False
) -> Any:
    """The figure ``Explanation.plot`` describes."""
    from openbook import plots

    check_choice("view", view, VIEWS)
    own = found.select(_chosen(found, unique_id, cutoff, average))
    if not (own.weight_WHTF > 0).any():
        raise UsageError(
            "no_look_up",
            expected="a forecast that looked something up",
            got=f"none of {len(own)}, the first of series {own.ids[0]}",
            where="plot",
            fix="choose a series with observed values before its cutoff, and a model with attention",
        )
    own = own.select(np.any(own.inside_WT, axis=1).ravel())  # a window without a forecast is no part of a mean
    clock = clock_of(_stamps(np.concatenate([own.source_ds[0][own.inside_WT[0]], own.ds[0]])), own.freq)
    title = f"{found.model}, {own.ids[0]}" if len(set(own.ids)) == 1 else found.model
    if view == "weights":
        if average:
            added = np.zeros(0) if own.parts is None else own.parts.attended[np.isfinite(own.parts.attended)]
            unused = added.size > 0 and not added.any()
            title += ", none of which entered the forecasts" if unused else ""
            return plots.plot_average(weights_average(own, clock), clock, title)
        return plots.plot_weights(replace(own, columns=("unique_id", "ds")).frame(), freq=own.freq)
    if own.alpha_WTF is None or own.beta_WLT is None:
        raise UsageError(
            "no_stages",
            expected="view='weights'; 'inputs' and 'times' are the two stages of the model darnn",
            got=f"view={view!r} of {found.model}, which weighs in one stage",
            where="plot",
            fix="choose view='weights', or fit model='darnn'",
        )
    if average and view == "inputs":
        return plots.plot_inputs_average(inputs_average(own, own.alpha_WTF, clock), clock, title)
    if average:
        return plots.plot_times_average(times_average(own, own.beta_WLT, clock), clock, title)
    inside, back_T = own.inside_WT[0], _places(own, clock)[0][0]
    if view == "inputs":
        return plots.plot_inputs(own.alpha_WTF[0][inside], back_T[inside], own.features, clock, title)
    return plots.plot_times(own.beta_WLT[0][:, inside], back_T[inside], own.ds.shape[1], clock, title)


def weights_average(found: Explanation, clock: Clock) -> Average:
    """Medians of what all forecasts looked up, memory taken off, and of each input's share of it."""
    weight_WHTF = found.looked_up()
    weight_WHT = weight_WHTF.sum(-1)
    keep_WHT = np.broadcast_to(found.inside_WT[:, None], weight_WHT.shape)
    if found.sparse:
        keep_WHT = keep_WHT & (weight_WHT > 0)
    share_WF = weight_WHTF.sum((1, 2), dtype=np.float64)
    total_W1 = share_WF.sum(-1, keepdims=True)
    share_WF = np.divide(share_WF, total_W1, out=np.full_like(share_WF, np.nan), where=total_W1 > 0)
    told = set(found.by_feature().index)  # others have no place there
    there = [f for f, name in enumerate(found.features) if name in told]
    names = tuple(found.features[f] for f in there)
    return average_cells(_cells(found, weight_WHT, keep_WHT, clock), share_WF[:, there], names, _pool(found))


def inputs_average(found: Explanation, alpha_WTF: np.ndarray, clock: Clock) -> InputsAverage:
    """Medians of stage one, padding left out."""
    window, place = np.nonzero(found.inside_WT)
    back_WT, _ = _places(found, clock)
    return average_inputs(window, back_WT[window, place], alpha_WTF[window, place], found.features, _pool(found))


def times_average(found: Explanation, beta_WLT: np.ndarray, clock: Clock) -> TimesAverage:
    """Medians of stage two; padding is left out, and so are steps that read the past where there was none."""
    keep_WLT = found.inside_WT[:, None] & (beta_WLT.sum(-1, keepdims=True) > 0)
    return average_times(_cells(found, beta_WLT, keep_WLT, clock), _pool(found))


def _cells(found: Explanation, weight_WLT: np.ndarray, keep_WLT: np.ndarray, clock: Clock) -> Cells:
    """The kept weights as a list; the last steps are the forecast's, those before have no lag of their own."""
    window, row, place = np.nonzero(keep_WLT)
    back_WT, ahead_WH = _places(found, clock)
    step = row + 1 - (weight_WLT.shape[1] - ahead_WH.shape[1])
    back = back_WT[window, place]
    lag = back + ahead_WH[window, np.maximum(step, 1) - 1]
    return Cells(window, step, back, lag, weight_WLT[window, row, place].astype(np.float64))


def _places(found: Explanation, clock: Clock) -> tuple[np.ndarray, np.ndarray]:
    """Steps from every past place to the cutoff [W, T], and from the cutoff to every step of the forecast [W, H]."""

    def ahead(stamps: np.ndarray) -> np.ndarray:
        cutoff = np.broadcast_to(found.cutoff[:, None], stamps.shape).ravel()
        return steps_between(pd.Series(cutoff), pd.Series(stamps.ravel()), clock).reshape(stamps.shape)

    return -ahead(found.source_ds), ahead(found.ds)


def _stamps(stamps: np.ndarray) -> pd.Series:
    return wall_clock(pd.Series(stamps))


def _pool(found: Explanation) -> Pool:
    return Pool(len(found), len(set(found.ids)))


def _chosen(found: Explanation, unique_id: object | None, cutoff: object | None, average: bool) -> np.ndarray:
    """Which windows to draw [W]: one forecast, or all that match."""
    looked: np.ndarray = np.any(found.weight_WHTF > 0, axis=(1, 2, 3))
    chosen = np.ones(len(found), bool) if cutoff is None else pd.Series(found.cutoff).eq(cutoff).to_numpy()
    if unique_id is not None:
        chosen &= found.ids == unique_id
    elif not average and chosen.any():
        chosen &= found.ids == found.ids[_first_choice(chosen, looked)[0]]
    if not chosen.any():
        raise UsageError(
            "unknown_forecast",
            expected=f"a series among {', '.join(map(str, np.unique(found.ids.astype(str))[:10]))} and one of its cutoffs",
            got=f"{unique_id!r}, {cutoff!r}",
            where="plot",
            fix="choose one that was explained",
        )
    if average:
        return chosen
    return np.arange(len(found)) == _first_choice(chosen, looked)[-1 if cutoff is None else 0]


def _first_choice(chosen: np.ndarray, looked: np.ndarray) -> np.ndarray:
    """Places of the chosen windows that looked something up; of all of them where none did."""
    return np.flatnonzero(chosen & looked if (chosen & looked).any() else chosen)
