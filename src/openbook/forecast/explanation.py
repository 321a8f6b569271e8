"""Where every forecast step looked: attention weights with their dates and column names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from openbook.data.panel import Panel
from openbook.errors import UsageError
from openbook.forecast.origins import Origins
from openbook.plots.cube import ALL_INPUTS


@dataclass(frozen=True)
class Explanation:
    """Attention of W forecasts: ``weight_WHTF`` sums to one over (T, F) for every window and step.

    ``memory_WH`` is the share of a step that looked nowhere: there the answer came from memory, not from the book.
    ``ids`` [W], ``cutoff`` [W], ``ds`` [W, H] and ``source_ds`` [W, T] as in the table; ``inside_WT`` is false on
    padding before a series' start; ``features`` names the F columns (``(all inputs)`` for models that weigh time only).
    """

    model: str
    axis: str
    ids: np.ndarray
    cutoff: np.ndarray
    ds: np.ndarray
    source_ds: np.ndarray
    inside_WT: np.ndarray
    weight_WHTF: np.ndarray
    memory_WH: np.ndarray
    features: tuple[str, ...]
    columns: tuple[str, str] = ("unique_id", "ds")

    def __len__(self) -> int:
        return len(self.ids)

    def frame(self) -> pd.DataFrame:
        """One row per forecast step, past step and feature: unique_id, cutoff, step, ds, source_ds, feature, weight, memory.

        Padding has no rows; the weights of one (series, cutoff, step) sum to one. ``memory`` is the step's share that
        looked nowhere.
        """
        W, H, T, F = self.weight_WHTF.shape
        keep = np.broadcast_to(self.inside_WT[:, None, :, None], (W, H, T, F)).ravel()
        window, step, past, feature = (index.ravel()[keep] for index in np.indices((W, H, T, F), dtype=np.int32))
        return pd.DataFrame(
            {
                self.columns[0]: self.ids[window],
                "cutoff": self.cutoff[window],
                "step": step + 1,
                self.columns[1]: self.ds[window, step],
                "source_ds": self.source_ds[window, past],
                "feature": pd.Categorical.from_codes(feature, list(self.features)),
                "weight": self.weight_WHTF.ravel()[keep],
                "memory": self.memory_WH[window, step],
            }
        )

    def looked_up(self) -> np.ndarray:
        """Weights [W, H, T, F] of which a step's memory was taken off: they sum to ``1 − memory``."""
        return self.weight_WHTF * (1 - self.memory_WH)[..., None, None]

    def by_lag(self) -> pd.DataFrame:
        """Mean weight of every (lag, feature): lag 1 is the last past step seen from the first forecast step.

        The mean runs over windows and over the forecast steps that can reach the lag, memory taken off; ``lag`` 1 … T + H − 1.
        """
        _, H, T, F = self.weight_WHTF.shape
        mean_HTF = self.looked_up().mean(axis=0)
        lag_HT = T - np.arange(T) + np.arange(H)[:, None]
        total, count = np.zeros((T + H, F)), np.zeros(T + H)
        np.add.at(total, lag_HT.ravel(), mean_HTF.reshape(-1, F))
        np.add.at(count, lag_HT.ravel(), 1)
        mean = total[1:] / count[1:, None]
        grid = pd.MultiIndex.from_product([range(1, T + H), self.features], names=["lag", "feature"])
        return pd.DataFrame({"weight": mean.ravel()}, index=grid).reset_index()

    def by_feature(self) -> pd.Series:
        """Share of the look-ups that went to each feature, largest first; sums to one (memory taken off)."""
        share = self.looked_up().sum((0, 1, 2), dtype=np.float64)
        total = share.sum()
        return pd.Series(share / total if total > 0 else share, index=list(self.features)).sort_values(ascending=False)

    def select(self, keep_W: np.ndarray) -> Explanation:
        """The windows where ``keep_W`` is true."""
        parts = ("ids", "cutoff", "ds", "source_ds", "inside_WT", "weight_WHTF", "memory_WH")
        return replace(self, **{name: getattr(self, name)[keep_W] for name in parts})

    def plot(self, unique_id: object | None = None, cutoff: object | None = None) -> Any:
        """A plotly figure of one forecast (default: the first): decoder step × past step, feature bars, time bars."""
        from openbook.plots import plot_weights

        chosen = self.ids == (self.ids[0] if unique_id is None else unique_id)
        if cutoff is not None:
            chosen &= pd.Series(self.cutoff).eq(cutoff).to_numpy()
        if not chosen.any():
            raise UsageError(
                "unknown_forecast",
                expected=f"a series among {', '.join(map(str, np.unique(self.ids.astype(str))[:10]))} and one of its cutoffs",
                got=f"{unique_id!r}, {cutoff!r}",
                where="plot",
                fix="choose one that was explained",
            )
        one = np.arange(len(self)) == np.flatnonzero(chosen)[-1 if cutoff is None else 0]
        return plot_weights(replace(self.select(one), columns=("unique_id", "ds")).frame())


def make_explanation(
    panel: Panel,
    origins: Origins,
    weight_WHTF: np.ndarray,
    memory_WH: np.ndarray,
    *,
    model: str,
    axis: str,
    features: tuple[str, ...],
    columns: tuple[str, str] = ("unique_id", "ds"),
) -> Explanation:
    """Attach dates and names to the weights of the origins' windows."""
    _, H, T, F = weight_WHTF.shape
    past = origins.end[:, None] + np.arange(-T, 0)
    inside = past >= panel.offsets[origins.series][:, None]
    stamps = panel.local_times(panel.times).to_numpy()
    return Explanation(
        model=model,
        axis=axis,
        ids=panel.ids[origins.series],
        cutoff=stamps[origins.end - 1],
        ds=stamps[origins.end[:, None] + np.arange(H)],
        source_ds=stamps[past.clip(0)],
        inside_WT=inside,
        weight_WHTF=weight_WHTF,
        memory_WH=memory_WH,
        features=features if F > 1 else (ALL_INPUTS,),
        columns=columns,
    )
