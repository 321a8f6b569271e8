"""Scores of forecast frames: how far off each model was, and whether its bands held what they promised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd
from utilsforecast import losses

from openbook.data.panel import ID, TARGET, TIME, Panel
from openbook.errors import DataError, UsageError
from openbook.forecast.bands import ROUNDING, error_scale, lagged
from openbook.forecast.origins import Origins

CUTOFF, STEP = "cutoff", "step"
_GROUP, _LAG, _VOLUME = "_group", "_lag_scale", "_volume"
_QUANTILES = {0.1: "-lo-80", 0.5: "", 0.9: "-hi-80"}


def score_frame(
    forecasts: pd.DataFrame,
    *,
    models: Sequence[str],
    scale: pd.Series,
    levels: Sequence[float] = (80,),
    by: Sequence[str] = (),
    lag_scale: pd.Series | None = None,
) -> pd.DataFrame:
    """One row of scores per model, and per group where ``by`` names ``unique_id`` or ``step``.

    ``forecasts`` has ``unique_id, ds, cutoff, y``, a column per model and, where known, ``<model>-lo-80`` and
    ``<model>-hi-80``; ``scale`` gives each series' MASE denominator by id (see ``seasonal_scale``). Every score is
    computed within a series first, over all its rows of all cutoffs, then averaged over series with equal weight, but for
    wape, which adds up errors and volumes of all series; step is the position after the cutoff, from 1, and a series counts
    once per step. Rows without y are left out. Rows without a forecast are left out for that model: ``missing`` is their
    share, models compare fairly where it is 0.

    Units: mae, rmse and pinball those of the target; wape, smape, coverage and missing 0..1 (smape as |e| / (|y| + |f|),
    half of the M4 definition). pinball is the mean over the quantiles 0.1, 0.5 (the point forecast) and 0.9, NaN
    without an 80 % band; wape is NaN where all y are zero, mase where ``scale`` is NaN or absent. With
    ``lag_scale``, the windows' own denominators by id and cutoff (see ``gap_scale``), lag_mase is scored too.
    Raises ``DataError`` for missing columns or where no row has y, ``UsageError`` for another ``by``.

    >>> frame = pd.DataFrame({"unique_id": "a", "ds": [1, 2], "cutoff": 0, "y": [2.0, 4.0], "naive": [1.0, 1.0]})
    >>> score_frame(frame, models=["naive"], scale=pd.Series({"a": 4.0}))[["model", "mae", "mase"]]
       model  mae  mase
    0  naive  2.0   0.5
    """
    _check(forecasts, models, by)
    frame = forecasts.sort_values([ID, CUTOFF, TIME], kind="stable").reset_index(drop=True)
    frame[STEP] = frame.groupby([ID, CUTOFF], sort=False, observed=True).cumcount() + 1
    frame = frame[frame[TARGET].notna()]
    if lag_scale is not None:
        windows = pd.MultiIndex.from_frame(frame[[ID, CUTOFF]])
        frame = frame.assign(**{_LAG: lag_scale.reindex(windows).to_numpy()})
    keys = list(dict.fromkeys([*by, ID]))
    numbered = frame.assign(**{_GROUP: frame.groupby(keys, sort=False, observed=True).ngroup()})
    groups = numbered.drop_duplicates(_GROUP).set_index(_GROUP)[keys]
    tables = [_scores(numbered, groups, model, scale, levels).assign(model=model) for model in models]
    table = pd.concat(tables, ignore_index=True)
    order_by = [*by, "model"]
    table["model"] = pd.Categorical(table["model"], categories=list(models))
    scored = table.drop(columns=[name for name in keys if name not in by])
    result = scored.groupby(order_by, observed=True).mean().reset_index()
    result["wape"] = result["wape"] / result.pop(_VOLUME).replace(0.0, np.nan)  # of means as of sums
    names = {name: result[name].astype(object) for name in {"model", ID} & set(result)}  # numbers as ids are names, too
    return result.assign(**names)[["model", *[c for c in result if c != "model"]]]


def seasonal_scale(panel: Panel, season_length: int) -> pd.Series:
    """The MASE denominator of every series of a training panel by id: its in-sample seasonal naive mean absolute error.

    Where that is zero or unknown: the naive error, then the mean absolute value, then NaN (left out of MASE).
    Source: Hyndman & Koehler 2006, Another look at measures of forecast accuracy.

    >>> from openbook.data.panel import make_panel
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(4), "y": [1.0, 5.0, 3.0, 6.0]}))
    >>> seasonal_scale(panel, 2).to_dict()
    {'a': 1.5}
    """
    everything = Origins(np.arange(len(panel)), panel.offsets[1:])
    return pd.Series(error_scale(panel, season_length, everything), index=panel.ids, name="scale")


def gap_scale(panel: Panel, origins: Origins, h: int, gap: int, fallback: pd.Series) -> pd.Series:
    """The lag_mase denominator of every window, by ``unique_id`` and ``cutoff``: how far it lies from the one ``gap`` before.

    The mean absolute difference between the h values from each origin on and those ``gap`` rows earlier, over steps where
    both were observed; where that is zero or unknown, the series' ``fallback`` (see ``seasonal_scale``). It reads the truth
    of the window, as the founding study's loss did: it says how hard the day was to guess, and is no training scale.

    >>> from openbook.data.panel import make_panel
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(4), "y": [1.0, 5.0, 3.0, 6.0]}))
    >>> scale = gap_scale(panel, Origins(np.array([0]), np.array([2])), 2, 2, pd.Series({"a": 9.0}))
    >>> float(scale.loc[("a", 1)])
    1.5
    """
    rows = origins.end[:, None] + np.arange(h)
    difference = np.abs(panel.target - lagged(panel, gap))[rows]
    both = np.isfinite(difference)
    mean = np.where(both, difference, 0.0).sum(1) / np.maximum(both.sum(1), 1)
    ids = panel.ids[origins.series]
    stamps = panel.local_times(panel.times).iloc[origins.end - 1]
    usual = fallback.reindex(ids).to_numpy(np.float64)
    index = pd.MultiIndex.from_arrays([ids, stamps.array], names=[ID, CUTOFF])
    size = np.where(both, np.abs(panel.target[rows]), 0.0).sum(1) / np.maximum(both.sum(1), 1)
    return pd.Series(np.where(mean > ROUNDING * size, mean, usual), index=index, name="lag_scale")


def _scores(
    frame: pd.DataFrame, groups: pd.DataFrame, model: str, scale: pd.Series, levels: Sequence[float]
) -> pd.DataFrame:
    """The scores of one model in every group, columns in their final order after the groups' keys."""
    told = frame[frame[model].notna()]
    rows = frame.groupby(_GROUP).size()

    def mean_of(loss: Callable[..., pd.DataFrame], part: pd.DataFrame, models: object) -> pd.Series:
        # Without a cutoff column the library averages over all cutoffs of a group.
        if part.empty:
            return pd.Series(np.nan, index=groups.index)
        columns = [name for name in part.columns if name != CUTOFF]
        return loss(part[columns], models, id_col=_GROUP).set_index(_GROUP)[model].reindex(groups.index)

    table = groups.copy()
    table["mae"] = mean_of(losses.mae, told, [model])
    table["rmse"] = mean_of(losses.rmse, told, [model])
    table["mase"] = table["mae"] / groups[ID].map(scale).astype(float)
    table["wape"] = (told[model] - told[TARGET]).abs().groupby(told[_GROUP]).sum().reindex(groups.index)
    table[_VOLUME] = told[TARGET].abs().groupby(told[_GROUP]).sum().reindex(groups.index)
    table["smape"] = mean_of(losses.smape, told, [model])
    banded = _with_band(told, model, 80)
    parts = [
        mean_of(partial(losses.quantile_loss, q=quantile), banded, {model: f"{model}{ending}"})
        for quantile, ending in _QUANTILES.items()
    ]
    table["pinball"] = sum(parts[1:], parts[0]) / len(parts)
    for level in levels:
        covered = mean_of(partial(losses.coverage, level=_plain(level)), _with_band(told, model, level), [model])
        table[f"coverage_{_plain(level)}"] = covered.astype(float)
    if _LAG in told:
        error = (told[model] - told[TARGET]).abs() / told[_LAG]
        table["lag_mase"] = error.groupby(told[_GROUP]).mean().reindex(groups.index)
    table["missing"] = 1.0 - told.groupby(_GROUP).size().reindex(rows.index, fill_value=0) / rows
    return table


def _with_band(told: pd.DataFrame, model: str, level: float) -> pd.DataFrame:
    """The rows with a band of this level; none where the columns are absent."""
    ends = [f"{model}-{side}-{_plain(level)}" for side in ("lo", "hi")]
    if not set(ends) <= set(told.columns):
        return told.iloc[:0]
    return told[told[ends].notna().all(axis=1)]


def _plain(level: float) -> float | int:
    """80 for 80.0: column names carry levels as people write them."""
    return int(level) if float(level).is_integer() else level


def _check(forecasts: pd.DataFrame, models: Sequence[str], by: Sequence[str]) -> None:
    wrong = [name for name in by if name not in (ID, STEP)]
    if wrong or not models:
        raise UsageError(
            "bad_scores",
            expected=f"at least one model, and groups by {ID!r} or {STEP!r}",
            got=f"by={list(by)!r}, {len(models)} model(s)",
            where="score_frame",
            fix="check the arguments",
        )
    absent = [name for name in (ID, TIME, CUTOFF, TARGET, *models) if name not in forecasts.columns]
    if absent or not forecasts[TARGET].notna().any():
        raise DataError(
            "nothing_to_score",
            expected=f"columns {ID}, {TIME}, {CUTOFF}, {TARGET} and one per model, with some {TARGET} known",
            got=f"no {', '.join(absent)}" if absent else f"no {TARGET} in {len(forecasts)} row(s)",
            where="forecast frame",
            fix="pass the frame of a backtest, over windows in which the target was observed",
        )
