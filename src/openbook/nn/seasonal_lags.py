"""Seasonal lags: what happened at the same place of the last season and of seven seasons ago, a day and a week of hours."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from openbook.windows.batch import Batch

_SEASONS = (1, 7)


class Lags(NamedTuple):
    """L lags of every step ahead: the target then [B, H, L], whether it was observed, and how far the known inputs of the
    step are from those of then, [B, H, L * K], 0 where either is unknown; in scaled units."""

    value_BHL: Tensor
    seen_BHL: Tensor
    apart_BHX: Tensor


def periods_of(season: int, reach: int) -> tuple[int, ...]:
    """How many steps back the lags of a step within the first period lie: those that ``reach`` rows of context hold.

    >>> periods_of(24, 720), periods_of(24, 48), periods_of(1, 96), periods_of(24, 10)
    ((24, 168), (24,), (1,), ())
    """
    most = _SEASONS[: 1 if season == 1 else None]
    return tuple(season * count for count in most if season * count <= reach)


def seasonal_lags(batch: Batch, target_BT: Tensor, periods: tuple[int, ...], *, n_variables: int, n_known: int) -> Lags:
    """Each step's newest rows at the same place of a period: steps beyond one period ask those of the first again.

    ``target_BT``: the scaled target of the context. The last ``n_known`` of ``n_variables`` inputs are known ahead.
    """
    B, T, H = *target_BT.shape, batch.decoder_BHK.shape[1]
    step_H = torch.arange(H, device=target_BT.device)
    row_LH = torch.stack([T - period + step_H % period for period in periods])
    there_LH = row_LH >= 0
    row_LH = row_LH.clamp(min=0)
    seen_BLH = batch.observed_BTF[:, row_LH, 0] & there_LH
    value_BLH = target_BT[:, row_LH].masked_fill(~seen_BLH, 0.0)
    known = slice(n_variables - n_known, n_variables)
    both_BLHK = batch.observed_BTF[..., known][:, row_LH] & batch.decoder_observed_BHK[:, None, :, :n_known]
    apart_BLHK = batch.decoder_BHK[:, None, :, :n_known] - batch.encoder_BTX[..., known][:, row_LH]
    apart_BLHK = apart_BLHK.masked_fill(~(both_BLHK & there_LH[..., None]), 0.0)
    apart_BHX = apart_BLHK.transpose(1, 2).reshape(B, H, -1)
    return Lags(value_BLH.transpose(1, 2), seen_BLH.transpose(1, 2), apart_BHX)
