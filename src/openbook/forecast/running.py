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
from openbook.windows.sampler import WindowIndex, batches, gather, make_resident


def outputs(
    fitted: Fitted, panel: Panel, windows: WindowIndex, *, read: bool = False
) -> Iterator[tuple[WindowIndex, Batch, Output]]:
    """Piece by piece the windows, what the model sees of them and what it says; look-ups laid out where they are ``read``."""
    device = next(fitted.model.parameters()).device
    resident = make_resident(panel, fitted.layout, fitted.columns, device)
    fitted.model.eval()
    places = None if read else places_of(fitted.model)
    for piece in batches(windows, fitted.shape.windows_at_once(places)):
        with torch.no_grad(), nullcontext() if read else unread():
            series, end = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in piece)
            batch = gather(resident, series, end, fitted.windows)
            output = fitted.model(batch)
        yield piece, batch, output


def forecasts(fitted: Fitted, panel: Panel, windows: WindowIndex) -> Iterator[Told]:
    """What is forecast, the model's quantiles moved to where its mixture with the floors has its middle."""
    for piece, batch, output in outputs(fitted, panel, windows):
        told = told_of(batch, output, fitted.windows)
        yield mixed(fitted.choice, panel, Origins(*piece), told, fitted.shape.median)
