"""A fitted model at work: its outputs over windows of a panel, as they are and as they are forecast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np
import torch

from openbook.data.panel import Panel
from openbook.forecast.choice import Told, mixed, told_of
from openbook.forecast.fitted import Fitted
from openbook.forecast.origins import Origins
from openbook.models.base import Output, places_of, unread
from openbook.windows.batch import Batch
from openbook.windows.sampler import Resident, WindowIndex, batches, gather, make_resident, spread

_ASKED = 512  # windows that tell how wide quantiles are
_MOST = 10.0  # times wider or narrower


def laid_out(fitted: Fitted, panel: Panel) -> Resident:
    """A panel as the model reads it: the whole of it, so who asks several times lays it out once."""
    return make_resident(panel, fitted.layout, fitted.columns, next(fitted.model.parameters()).device)


def outputs(
    fitted: Fitted, panel: Panel, windows: WindowIndex, resident: Resident | None = None, *, read: bool = False
) -> Iterator[tuple[WindowIndex, Batch, Output]]:
    """Piece by piece the windows, what the model sees of them and what it says; look-ups laid out where they are ``read``.

    ``resident``: the panel laid out, where it is already.
    """
    resident = laid_out(fitted, panel) if resident is None else resident
    device = resident.data_RC.device
    fitted.model.eval()
    places = None if read else places_of(fitted.model)
    for piece in batches(windows, fitted.shape.windows_at_once(places)):
        with torch.no_grad(), nullcontext() if read else unread():
            series, end = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in piece)
            batch = gather(resident, series, end, fitted.windows)
            output = fitted.model(batch)
        yield piece, batch, output


def forecasts(fitted: Fitted, panel: Panel, windows: WindowIndex, resident: Resident | None = None) -> Iterator[Told]:
    """What is forecast, the model's quantiles moved to where its mixture with the floors has its middle."""
    median = fitted.shape.median
    for piece, batch, output in outputs(fitted, panel, windows, resident):
        told = told_of(batch, output, fitted.windows)
        if fitted.spread:
            told = told._replace(quantile_BHQ=moved_apart(told.quantile_BHQ, np.array(fitted.spread), median))
        yield mixed(fitted.choice, panel, Origins(*piece), told, median)


def moved_apart(quantile_BHQ: np.ndarray, times_HQ: np.ndarray, median: int) -> np.ndarray:
    """Quantiles whose distances from their middle are multiplied, in order all the same.

    >>> moved_apart(np.array([[[-2.0, -1.0, 0.0, 1.0, 2.0]]]), np.array([[1.0, 3.0, 1.0, 3.0, 1.0]]), 2)
    array([[[-3., -3.,  0.,  3.,  3.]]])
    """
    middle_BH1 = quantile_BHQ[..., median, None]
    off_BHQ = (quantile_BHQ - middle_BH1) * times_HQ
    above_BHQ = np.maximum.accumulate(off_BHQ[..., median:], axis=-1)
    below_BHQ = np.minimum.accumulate(off_BHQ[..., :median][..., ::-1], axis=-1)[..., ::-1]
    return middle_BH1 + np.concatenate([below_BHQ, above_BHQ], axis=-1)


def kept_spread(before: Fitted, after: Fitted, panel: Panel, windows: WindowIndex) -> tuple[tuple[float, ...], ...]:
    """By how much the quantiles of a model that went on learning are moved apart, [h, Q], to lie as far out as they did.

    Bands were calibrated on what the model said before: margins that fit its quantiles do not fit narrower ones. Both are
    asked about windows that both have learned from, and compared by the mean distance of every step and quantile.
    """
    some = spread(windows, _ASKED)
    resident = laid_out(before, panel)
    told_HQ, now_HQ = (_distances(fitted, panel, some, resident) for fitted in (before, after))
    ratio_HQ = np.divide(told_HQ, now_HQ, out=np.ones_like(told_HQ), where=(told_HQ > 0) & (now_HQ > 0))
    return tuple(map(tuple, ratio_HQ.clip(1 / _MOST, _MOST).tolist()))


def _distances(fitted: Fitted, panel: Panel, windows: WindowIndex, resident: Resident) -> np.ndarray:
    median, each = fitted.shape.median, list(forecasts(fitted, panel, windows, resident))
    off = [np.abs(told.quantile_BHQ - told.quantile_BHQ[..., median, None]) for told in each]
    return np.nanmean(np.concatenate(off), axis=0)
