"""Losses over observed steps only, in scaled units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from openbook.models.base import check_choice

Loss = Literal["pinball", "mae", "mse", "huber", "mase", "lag_mase"]
SCALED: tuple[Loss, ...] = ("mase", "lag_mase")


def loss_value(
    quantile_BHMQ: Tensor,
    target_BHM: Tensor,
    observed_BHM: Tensor,
    *,
    quantiles: Sequence[float],
    loss: Loss = "pinball",
    unit_BM: Tensor | None = None,
) -> Tensor:
    """Mean loss over observed steps, targets and quantiles; 0 with zero gradient where nothing is observed.

    ``pinball``: twice the quantile loss (Koenker & Bassett 1978), so that the median alone gives the MAE. ``mae``,
    ``mse``, ``huber`` (δ = 1), ``mase`` and ``lag_mase`` read the median only. With ``unit_BM`` (see
    ``openbook.training.scales``) errors are counted in it, and windows whose unit is NaN are left out.

    >>> truth, seen = torch.tensor([[[1.0]]]), torch.tensor([[[True]]])
    >>> loss_value(torch.tensor([[[[0.0, 0.0, 0.0]]]]), truth, seen, quantiles=(0.1, 0.5, 0.9))
    tensor(1.)
    """
    check_choice("loss", loss, get_args(Loss))
    if unit_BM is not None:
        known_BM = unit_BM.isfinite()
        safe_BM = torch.where(known_BM, unit_BM, 1.0)[:, None]
        quantile_BHMQ, target_BHM = quantile_BHMQ / safe_BM[..., None], target_BHM / safe_BM
        observed_BHM = observed_BHM & known_BM[:, None]
    if loss == "pinball":
        level_Q = quantile_BHMQ.new_tensor(list(quantiles))
        gap_BHMQ = target_BHM[..., None] - quantile_BHMQ
        each_BHM = 2 * torch.maximum(level_Q * gap_BHMQ, (level_Q - 1) * gap_BHMQ).mean(-1)
    else:
        point_BHM = quantile_BHMQ[..., list(quantiles).index(0.5)]
        if loss in ("mae", *SCALED):
            each_BHM = F.l1_loss(point_BHM, target_BHM, reduction="none")
        elif loss == "mse":
            each_BHM = F.mse_loss(point_BHM, target_BHM, reduction="none")
        else:
            each_BHM = F.huber_loss(point_BHM, target_BHM, reduction="none")
    return each_BHM.masked_fill(~observed_BHM, 0.0).sum() / observed_BHM.sum().clamp(min=1)


def attention_entropy(weight_BHTF: Tensor) -> Tensor:
    """Mean Shannon entropy, in nats, of the look-ups of every window and step; 0 where one place has all the weight.

    What weights lack to one is the weight of looking nowhere, one more place. Weights that add up to more are several look-ups,
    one at every past step: of these it is the mean.

    >>> attention_entropy(torch.tensor([[[[0.5], [0.5]]]]))
    tensor(0.6931)
    """
    smallest = torch.finfo(weight_BHTF.dtype).tiny
    total_BH = weight_BHTF.sum((-1, -2))
    nowhere_BH = (1 - total_BH).clamp(min=0)
    places = -(weight_BHTF * weight_BHTF.clamp(min=smallest).log()).sum((-1, -2))
    # One look-up adds up to one, but for rounding; nothing looked up to zero, whose gradient is one as well.
    places = torch.where(total_BH > 1.5, places / total_BH.clamp(min=1), places)
    return (places - nowhere_BH * nowhere_BH.clamp(min=smallest).log()).mean()
