"""Values that are missing before a forecast, as what came before tells them."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from openbook.nn.seasonal_lags import periods_of

Rows = TypeVar("Rows", Tensor, np.ndarray)
_TRIES = 8  # rows that are walked back to what is known


class Gaps(NamedTuple):
    """K rows [K] of values that are missing in rows laid end to end, and where the series of each begins [K]."""

    row_K: Tensor
    start_K: Tensor


def recalled(own_BT: Tensor, seen_BT: Tensor, season: int, *, begun: bool = False) -> Tensor:
    """Values with their gaps filled from what came before; 0 before the first one, or as its first season was (``begun``).

    A step is as its place was in the last season and seven seasons ago (the mean of both); where no season is known, and of
    what has none (1), as the last value was. A map that was learned from whole windows takes a 0 for a value: after a day
    without any its forecast would be of a day spent at the window's location. Where a series has ``begun`` within the window, a
    step before is as its place is in the season that begins there; 0 where that is not known, and of what has no season.

    >>> y = torch.tensor([[1.0, 5.0, 0.0, 0.0, 2.0]])
    >>> recalled(y, torch.tensor([[True, True, False, False, True]]), 2).tolist()
    [[1.0, 5.0, 1.0, 5.0, 2.0]]
    >>> recalled(y.flip(1), torch.tensor([[False, False, False, True, True]]), 2, begun=True).tolist()
    [[1.0, 5.0, 1.0, 5.0, 1.0]]
    """
    T, every = own_BT.shape[1], own_BT.device.type != "cpu"
    if not every and bool(seen_BT.all()):
        return own_BT
    filled_BT = _after_the_first(own_BT, seen_BT, season, every=every)
    if not begun or season == 1 or (not every and bool(seen_BT[:, 0].all())):
        return filled_BT
    step_T, first_B1 = torch.arange(T, device=own_BT.device), seen_BT.int().argmax(1, keepdim=True)
    place_BT = begun_at(step_T, first_B1, season)
    early_BT = filled_BT.gather(1, place_BT.clamp(max=T - 1)).masked_fill(place_BT >= T, 0.0)
    return torch.where(step_T < first_B1, early_BT, filled_BT)


def begun_at(row: Rows, first: Rows, season: int) -> Rows:
    """The rows at the same place of the season that begins with the first value.

    >>> begun_at(torch.arange(4), torch.tensor(5), 3)
    tensor([6, 7, 5, 6])
    """
    return first + (row - first) % season


def _after_the_first(own_BT: Tensor, seen_BT: Tensor, season: int, *, every: bool) -> Tensor:
    """Gaps filled from what came before; 0 before the first value."""
    T = own_BT.shape[1]
    own_R, seen_R = own_BT.flatten(), seen_BT.flatten()
    # Elsewhere than on the CPU every step is told: asking how many gaps there are would wait for the device.
    row_K = torch.arange(len(own_R), device=own_R.device) if every else torch.nonzero(~seen_R)[:, 0]
    found_K = recalled_rows(own_R, seen_R, Gaps(row_K, row_K - row_K % T), season).nan_to_num(nan=0.0)
    if every:
        return torch.where(seen_BT, own_BT, found_K.view_as(own_BT))
    return own_R.index_put((row_K,), found_K).view_as(own_BT)


def recalled_rows(own_R: Tensor, seen_R: Tensor, gaps: Gaps, season: int) -> Tensor:
    """The same of the gaps alone, [K], in series laid end to end; NaN before the first value of a series."""
    last_K = _newest(seen_R, gaps, 1)
    told_K, anchor_K = last_K >= 0, last_K.clamp(min=0)
    value_K, known_K = _seasonal(own_R, seen_R, gaps, season)
    return torch.where(told_K, torch.where(known_K, value_K, own_R[anchor_K]), torch.nan)


def _seasonal(own_R: Tensor, seen_R: Tensor, rows: Gaps, season: int) -> tuple[Tensor, Tensor]:
    """The mean of the newest values known at the same place of each period before these rows, and whether there is one."""
    total_K, count_K = own_R.new_zeros(len(rows.row_K)), torch.zeros_like(rows.row_K)
    for period in periods_of(season, len(own_R)) if season > 1 else ():
        newest_K = _newest(seen_R, Gaps(rows.row_K - period, rows.start_K), period)
        known_K = newest_K >= 0
        total_K = total_K + torch.where(known_K, own_R[newest_K.clamp(min=0)], 0.0)
        count_K = count_K + known_K
    return total_K / count_K.clamp(min=1), count_K > 0


def _newest(seen_R: Tensor, rows: Gaps, period: int) -> Tensor:
    """The newest row known at the same place of a period up to each of these, [K]; -1 where its series has none.

    On the CPU the usual short gaps are walked back; the rest, and all of them elsewhere, are told by one pass over all rows.
    """
    row_K = rows.row_K
    for _ in range(_TRIES if seen_R.device.type == "cpu" else 0):
        open_K = (row_K >= rows.start_K) & ~seen_R[row_K.clamp(min=0)]
        if not bool(open_K.any()):
            return torch.where(row_K >= rows.start_K, row_K, -1)
        row_K = torch.where(open_K, row_K - period, row_K)
    row_R = torch.where(seen_R, torch.arange(len(seen_R), device=seen_R.device), -1)
    padded_NP = nn.functional.pad(row_R, (0, -len(row_R) % period), value=-1).view(-1, period)
    found_K = padded_NP.cummax(0).values.flatten()[row_K.clamp(min=0)]
    return torch.where((row_K >= rows.start_K) & (found_K >= rows.start_K), found_K, -1)
