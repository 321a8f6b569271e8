"""Where every forecast step looked: attention weights with their dates and column names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import Tensor

from openbook.data.panel import Panel
from openbook.forecast.arguments import RESERVED, check_free
from openbook.forecast.choice import Parts
from openbook.forecast.origins import Origins
from openbook.models.base import AttentionMap
from openbook.plots.cube import ALL_INPUTS


@dataclass(frozen=True)
class Explanation:
    """Attention of W forecasts: ``weight_WHTF`` sums to one over (T, F) for every window and step; 0 where nothing was there.

    ``memory_WH`` is the share of a step that looked nowhere: there the answer came from memory, not from the book.
    ``ids`` [W], ``cutoff`` [W], ``ds`` [W, H] and ``source_ds`` [W, T] as in the table; ``inside_WT`` is false on
    padding before a series' start; ``features`` names the F columns (``(all inputs)`` for models that weigh time only,
    and where the target is the only input).
    Models of two stages also have ``alpha_WTF``, the share of each input at every encoder step (stage one), and
    ``beta_WLT``, the share of each encoder step at every decoder step (stage two): the last H of its L steps are the
    forecast's, those before read the target's own past. ``weight_WHTF`` is then the product of both, made to sum to one
    where rows hold nothing to weigh. ``shift``: by how many rows the book of a nowcast reaches beyond the cutoff. ``parts``:
    what the forecasts are made of, for models that tell. ``freq``: the table's frequency.
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
    alpha_WTF: np.ndarray | None = None
    beta_WLT: np.ndarray | None = None
    shift: int = 0
    parts: Parts | None = None
    freq: object = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sparse(self) -> bool:
        """Whether steps can look at different places (``axis`` "gaps", and long books): what they could not has weight 0."""
        return self.axis == "gaps" or self.parts is not None

    def frame(self) -> pd.DataFrame:
        """One row per forecast step, past step and feature: unique_id, cutoff, step, ds, source_ds, feature, weight, memory.

        Padding has no rows, nor have places a step could not look at where these differ by step (``axis`` "gaps", and long
        books); the weights of one (series, cutoff, step) sum to one. ``memory`` is the step's share that looked nowhere.
        Models that tell what a forecast is made of have its summands per step too: ``skip``, ``attended``,
        ``repeated``, ``bounded``.
        """
        parts = {} if self.parts is None else self.parts._asdict()
        check_free(self.columns, (*RESERVED, *parts))
        W, H, T, F = self.weight_WHTF.shape
        keep = np.broadcast_to(self.inside_WT[:, None, :, None], (W, H, T, F)).ravel()
        if self.sparse:
            keep = keep & (self.weight_WHTF.ravel() > 0)
        window, step, past, feature = np.unravel_index(np.flatnonzero(keep), (W, H, T, F))
        names = pd.Categorical.from_codes(feature, list(self.features))
        return pd.DataFrame(
            {
                self.columns[0]: self.ids[window],
                "cutoff": self.cutoff[window],
                "step": (step + 1).astype(np.int32),
                self.columns[1]: self.ds[window, step],
                "source_ds": self.source_ds[window, past],
                "feature": names if self.parts is None else names.remove_unused_categories(),
                "weight": self.weight_WHTF.ravel()[keep],
                "memory": self.memory_WH[window, step],
                **{name: part[window, step].astype(np.float32) for name, part in parts.items()},
            }
        )

    def without(self, blind_W: np.ndarray) -> Explanation:
        """The same without the look-ups of windows that have no forecast, [W]: as if all of their past were padding."""
        if not blind_W.any():
            return self
        kept_W = ~blind_W
        alpha_WTF, beta_WLT = (
            None if part is None else part * kept_W[:, None, None] for part in (self.alpha_WTF, self.beta_WLT)
        )
        return replace(
            self,
            inside_WT=self.inside_WT & kept_W[:, None],
            weight_WHTF=self.weight_WHTF * kept_W[:, None, None, None],
            alpha_WTF=alpha_WTF,
            beta_WLT=beta_WLT,
        )

    def looked_up(self) -> np.ndarray:
        """Weights [W, H, T, F] of which a step's memory was taken off: they sum to ``1 − memory``."""
        return self.weight_WHTF * (1 - self.memory_WH)[..., None, None]

    def by_lag(self) -> pd.DataFrame:
        """Mean weight of every (lag, feature): lag 1 is the last past step seen from the first forecast step.

        The mean runs over the windows and forecast steps that can look there, memory taken off; ``lag`` 1 …
        T + H − 1, or from 0 and below where a nowcast reads the steps it tells. Lags where no step can look have weight 0.
        """
        _, H, T, F = self.weight_WHTF.shape
        sum_HTF = self.looked_up().sum(axis=0)
        row_HT = T - np.arange(T) + np.arange(H)[:, None]
        can_HT = self.inside_WT.sum(axis=0) * (sum_HTF.sum(-1) > 0 if self.sparse else np.ones((H, T), bool))
        total, count = np.zeros((T + H, F)), np.zeros(T + H)
        np.add.at(total, row_HT.ravel(), sum_HTF.reshape(-1, F))
        np.add.at(count, row_HT.ravel(), can_HT.ravel())
        mean = total[1:] / np.maximum(count[1:, None], 1)
        lags = range(1 - self.shift, T + H - self.shift)
        grid = pd.MultiIndex.from_product([lags, self.features], names=["lag", "feature"])
        return pd.DataFrame({"weight": mean.ravel()}, index=grid).reset_index()

    def by_feature(self) -> pd.Series:
        """Share of the look-ups that went to each feature, largest first; sums to one (memory taken off).

        Where ``parts`` tell what else a forecast is made of, inputs that no look-up can hold are left out: they are read
        elsewhere in the model, and a share of 0 would say that they do not count.
        """
        share = self.looked_up().sum((0, 1, 2), dtype=np.float64)
        total = share.sum()
        told = pd.Series(share / total if total > 0 else share, index=list(self.features)).sort_values(ascending=False)
        return told if self.parts is None else told[told > 0]

    def attended_size(self) -> float:
        """By what share of its size the forecasts were moved by what was learned beside the linear path, 0 and above.

        That is what was looked up and remembered, and how training changed the path itself: Σ |attended| / Σ |forecast| over
        all windows and steps that have a forecast. NaN for models that do not tell, and where forecasts are zero.
        """
        if self.parts is None:
            return float("nan")
        whole, size = (float(np.nansum(np.abs(part))) for part in (self.parts.forecast, self.parts.attended))
        return (
            size / whole if whole > 1e-5 * sum(float(np.nansum(np.abs(part))) for part in self.parts) else float("nan")
        )

    def select(self, keep_W: np.ndarray) -> Explanation:
        """The windows where ``keep_W`` is true."""
        parts = ("ids", "cutoff", "ds", "source_ds", "inside_WT", "weight_WHTF", "memory_WH", "alpha_WTF", "beta_WLT")
        there = [name for name in parts if getattr(self, name) is not None]
        chosen = replace(self, **{name: getattr(self, name)[keep_W] for name in there})
        return chosen if self.parts is None else replace(chosen, parts=Parts(*(part[keep_W] for part in self.parts)))

    def parts_frame(self) -> pd.DataFrame | None:
        """What every forecast step is made of, None for models that do not tell: unique_id, cutoff, step, ds, forecast, and
        its summands ``skip`` (the linear path as it was solved), ``attended`` (what was learned beside it: look-ups,
        recurrence, corrections of the path, moves along seasonal lags), ``repeated`` (floors) and ``bounded`` (what a lower
        bound added). NaN where the forecast is.
        """
        if self.parts is None:
            return None
        check_free(self.columns, ("cutoff", "step", "forecast", *self.parts._fields))
        W, H = self.ds.shape
        return pd.DataFrame(
            {
                self.columns[0]: np.repeat(self.ids, H),
                "cutoff": np.repeat(self.cutoff, H),
                "step": np.tile(np.arange(1, H + 1), W),
                self.columns[1]: self.ds.ravel(),
                "forecast": self.parts.forecast.ravel(),
                **{name: part.ravel() for name, part in self.parts._asdict().items()},
            }
        )

    def stages_frame(self) -> pd.DataFrame | None:
        """Both stages in long form, None for models of one: unique_id, cutoff, stage, step, source_ds, feature, weight.

        ``stage`` "inputs" has a row per past step and feature (``step`` 0), "times" one per decoder step and past step: 1 to
        H are the forecast's, 0 and below read the target's own past (``feature`` is empty). Padding has no rows.
        """
        if self.alpha_WTF is None or self.beta_WLT is None:
            return None
        check_free(self.columns, (*RESERVED, "stage"))
        window, past, feature = np.nonzero(np.broadcast_to(self.inside_WT[:, :, None], self.alpha_WTF.shape))
        inputs = {"window": window, "past": past, "step": 0, "feature": np.array(self.features, object)[feature]}
        inputs |= {"stage": "inputs", "weight": self.alpha_WTF[window, past, feature]}
        reads_WLT = self.inside_WT[:, None] & (self.beta_WLT.sum(-1, keepdims=True) > 0)
        window, row, past = np.nonzero(reads_WLT)
        times = {"window": window, "past": past, "step": row + 1 - (self.beta_WLT.shape[1] - self.ds.shape[1])}
        times |= {"feature": "", "stage": "times", "weight": self.beta_WLT[window, row, past]}
        both = pd.concat([pd.DataFrame(inputs), pd.DataFrame(times)], ignore_index=True)
        window, past = both["window"].to_numpy(), both["past"].to_numpy()
        return pd.DataFrame(
            {
                self.columns[0]: self.ids[window],
                "cutoff": self.cutoff[window],
                "stage": both["stage"].astype("category"),
                "step": both["step"].astype(np.int32),
                "source_ds": self.source_ds[window, past],
                "feature": both["feature"].astype("category"),
                "weight": both["weight"],
            }
        )

    def plot(
        self,
        unique_id: object | None = None,
        cutoff: object | None = None,
        *,
        view: str = "weights",
        average: bool = False,
    ) -> Any:
        """A plotly figure of one forecast (default: the first series, its latest), or with ``average`` of many.

        ``view``: ``weights`` (decoder step × past step, with bars by time and by input), or one stage of a two-stage model:
        ``inputs`` (share of each input at every past step) and ``times`` (share of each past step at every decoder step).
        With ``average``, medians and middle halves over all windows that match ``unique_id`` and ``cutoff``, of one series
        or of several; the title counts them. Raises ``UsageError`` for a view the model does not have.
        """
        from openbook.forecast.pictures import draw

        return draw(self, unique_id, cutoff, view=view, average=average)


class Looked(NamedTuple):
    """An attention map over the rows of the past as arrays on the CPU, so that no piece of many stays on a GPU."""

    axis: str
    shift: int
    weight_BHTF: np.ndarray
    memory_BH: np.ndarray
    alpha_BTF: np.ndarray | None
    beta_BLT: np.ndarray | None


def looked(found: AttentionMap, input_size: int) -> Looked:
    """What a model's attention map says of the last ``input_size`` rows."""
    stages = (None, None) if found.stages is None else map(_array, found.stages)
    return Looked(found.axis, found.shift, _array(found.on_rows(input_size)), _array(found.memory()), *stages)


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def make_explanation(
    panel: Panel,
    origins: Origins,
    maps: Sequence[Looked],
    *,
    model: str,
    features: tuple[str, ...],
    columns: tuple[str, str] = ("unique_id", "ds"),
) -> Explanation:
    """Attach dates and names to the weights of the origins' windows; ``maps`` hold them piece by piece, in order."""
    weight_WHTF = np.concatenate([found.weight_BHTF for found in maps])
    _, H, T, F = weight_WHTF.shape
    alpha, beta = (
        [part for part in parts if part is not None] for parts in zip(*(found[-2:] for found in maps), strict=True)
    )
    rows = origins.end[:, None] + np.arange(-T, 0) + maps[0].shift
    inside = rows >= panel.offsets[origins.series][:, None]
    told = {"cutoff": origins.end - 1, "ds": origins.end[:, None] + np.arange(H), "source_ds": rows.clip(0)}
    used = np.unique(np.concatenate([place.ravel() for place in told.values()]))  # stamps with a zone are objects
    stamps = panel.local_times(panel.times[used]).to_numpy()
    return Explanation(
        model=model,
        axis=maps[0].axis,
        ids=panel.ids[origins.series],
        **{name: stamps[np.searchsorted(used, place)] for name, place in told.items()},
        inside_WT=inside,
        weight_WHTF=weight_WHTF,
        memory_WH=np.concatenate([found.memory_BH for found in maps]),
        features=features if F > 1 else (ALL_INPUTS,),
        columns=columns,
        shift=maps[0].shift,
        freq=panel.freq,
        alpha_WTF=np.concatenate(alpha) if alpha else None,
        beta_WLT=np.concatenate(beta) if beta else None,
    )
