"""What a loss counts errors in: a unit of each series, or of each window and the one a gap before it."""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.training.losses import Loss
from openbook.windows.sampler import Resident

# Below this share of the series' own scale a window's lag error is rounding, not change.
_ROUNDING = 1e-12


def loss_unit(resident: Resident, series_B: Tensor, end_B: Tensor, *, h: int, loss: Loss, gap: int) -> Tensor | None:
    """The unit of each window's errors, [B, 1] in units of the target; None where nothing is laid out to measure them by.

    ``lag_mase`` has a unit of every window's own: the mean absolute difference between the window and the one ``gap`` rows
    earlier, over steps where both were observed; where it is zero or unknown, the series' own unit. All other losses take
    that of the window's series, fixed before training (``resident.error_N``): for ``mase`` the in-sample seasonal naive error
    of its training part (Hyndman & Koehler 2006). NaN where that is unknown too: such a window is left out of the loss.
    """
    if resident.error_N is None:
        return None
    series_unit_B = resident.error_N[series_B]
    if loss != "lag_mase":
        return series_unit_B[:, None]
    row_BH = end_B[:, None] + torch.arange(h, device=end_B.device)
    now_BH, before_BH = (_target(resident, series_B, row_BH - lag) for lag in (0, gap))
    difference_BH = (now_BH - before_BH).abs()
    both_BH = difference_BH.isfinite()
    mean_B = difference_BH.masked_fill(~both_BH, 0.0).sum(1) / both_BH.sum(1)
    rounding_B = torch.nan_to_num(series_unit_B) * _ROUNDING
    return torch.where(mean_B > rounding_B, mean_B, series_unit_B)[:, None]


def _target(resident: Resident, series_B: Tensor, row_BH: Tensor) -> Tensor:
    """The target at rows of the series, NaN outside them."""
    inside_BH = (row_BH >= resident.start_N[series_B][:, None]) & (row_BH < resident.stop_N[series_B][:, None])
    value_BH = resident.data_RC[row_BH.clamp(0, len(resident.data_RC) - 1), 0]
    return value_BH.masked_fill(~inside_BH, torch.nan)
