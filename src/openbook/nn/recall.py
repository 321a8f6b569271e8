"""Values that are missing before a forecast, as what came before tells them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.nn.seasonal_lags import periods_of

_MANY = 0.8  # of all values: where fewer are known every step is told at once


class Gaps(NamedTuple):
    """K rows [K] of values that are missing in rows laid end to end, and where the series of each begins [K]."""

    row_K: Tensor
    start_K: Tensor


def recalled(own_BT: Tensor, seen_BT: Tensor, season: int) -> Tensor:
    """Values with their gaps filled from what came before; 0 before the first one.

    A step is as its place was in the last season and seven seasons ago (the mean of both), moved by how far the last value
    known was from the same of its own place: half of that is left after a quarter of a season. Where no season is known, and of
    what has none, as the last value was. A map that was learned from whole windows takes a 0 for a value: after a day without
    any its forecast would be of a day spent at the window's location.

    >>> y = torch.tensor([[1.0, 5.0, 2.0, 0.0, 0.0]])
    >>> recalled(y, torch.tensor([[True, True, True, False, False]]), 2)[0, 4].item()
    2.5
    """
    if own_BT.device.type == "cpu" and int(seen_BT.sum()) > _MANY * seen_BT.numel():
        return _recalled_alone(own_BT, seen_BT, season)
    return _recalled_all(own_BT, seen_BT, season)


def recalled_rows(own_R: Tensor, seen_R: Tensor, gaps: Gaps, season: int) -> Tensor:
    """The same of the gaps alone, [K], in series laid end to end; NaN before the first value of a series."""
    last_K = torch.where(seen_R, torch.arange(len(own_R), device=own_R.device), -1).cummax(0).values[gaps.row_K]
    told_K, anchor_K = last_K >= gaps.start_K, last_K.clamp(min=0)
    value_K, known_K = _seasonal(own_R, seen_R, gaps, season)
    then_K, both_K = _seasonal(own_R, seen_R, Gaps(anchor_K, gaps.start_K), season)
    apart_K = torch.where(both_K, own_R[anchor_K] - then_K, 0.0) * _left(gaps.row_K - anchor_K, season)
    found_K = torch.where(known_K, value_K + apart_K, own_R[anchor_K])
    return torch.where(told_K, found_K, torch.nan)


def _left(steps: Tensor, season: int) -> Tensor:
    """What is left after so many steps of how far a value was from its season's."""
    return torch.exp2(steps * (-4.0 / max(season, 8)))


def _seasonal(own_R: Tensor, seen_R: Tensor, rows: Gaps, season: int) -> tuple[Tensor, Tensor]:
    """The mean of the newest values known at the same place of each period before these rows, and whether there is one."""
    every_K = torch.arange(len(rows.row_K), device=own_R.device)
    total_K, count_K = own_R.new_zeros(len(every_K)), torch.zeros_like(every_K)
    for period in periods_of(season, len(own_R)) if season > 1 else ():
        open_J, row_J = every_K, rows.row_K - period
        while True:
            there_J = row_J >= rows.start_K[open_J]
            open_J, row_J = open_J[there_J], row_J[there_J]
            if not len(open_J):
                break
            hit_J = seen_R[row_J]
            total_K[open_J[hit_J]] += own_R[row_J[hit_J]]
            count_K[open_J[hit_J]] += 1
            open_J, row_J = open_J[~hit_J], row_J[~hit_J] - period
    return total_K / count_K.clamp(min=1), count_K > 0


def _recalled_alone(own_BT: Tensor, seen_BT: Tensor, season: int) -> Tensor:
    """The gaps alone, which are few as a rule, where asking how many there are costs nothing."""
    if bool(seen_BT.all()):
        return own_BT
    T, row_K = own_BT.shape[1], torch.nonzero(~seen_BT.flatten())[:, 0]
    found_K = recalled_rows(own_BT.flatten(), seen_BT.flatten(), Gaps(row_K, row_K - row_K % T), season)
    return own_BT.flatten().index_put((row_K,), found_K.nan_to_num(nan=0.0)).view_as(own_BT)


def _recalled_all(own_BT: Tensor, seen_BT: Tensor, season: int) -> Tensor:
    """Every step, without asking the device how many gaps there are."""
    T = own_BT.shape[1]
    total_BT, count_BT = torch.zeros_like(own_BT), torch.zeros_like(own_BT)
    for period in periods_of(season, T) if season > 1 else ():
        newest = _newest(own_BT, seen_BT, period)
        value_BT, known_BT = (nn.functional.pad(part[:, : T - period], (period, 0)) for part in newest)
        total_BT, count_BT = total_BT + value_BT, count_BT + known_BT
    seasonal_BT, known_BT = total_BT / count_BT.clamp(min=1), count_BT > 0
    step_T = torch.arange(T, device=own_BT.device)
    last_BT = torch.where(seen_BT, step_T, -1).cummax(1).values
    anchor_BT = last_BT.clamp(min=0)
    apart_BT = torch.where(known_BT, own_BT - seasonal_BT, 0.0).gather(1, anchor_BT) * _left(step_T - anchor_BT, season)
    found_BT = torch.where(known_BT, seasonal_BT + apart_BT, own_BT.gather(1, anchor_BT))
    return torch.where(seen_BT, own_BT, found_BT * (last_BT >= 0))


def _newest(own_BT: Tensor, seen_BT: Tensor, period: int) -> tuple[Tensor, Tensor]:
    """The newest value known at the same place of a period, up to each step, and whether there is one."""
    B, T = own_BT.shape
    short = -T % period
    own_BNP, seen_BNP = (nn.functional.pad(part, (short, 0)).view(B, -1, period) for part in (own_BT, seen_BT))
    place_N1 = torch.arange(1, own_BNP.shape[1] + 1, device=own_BT.device)[:, None]
    newest_BNP = (seen_BNP * place_N1).cummax(1).values
    value_BNP = own_BNP.gather(1, (newest_BNP - 1).clamp(min=0)) * (newest_BNP > 0)
    return value_BNP.reshape(B, -1)[:, short:], (newest_BNP > 0).reshape(B, -1)[:, short:]
