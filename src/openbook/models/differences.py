"""A model of windows in one scaling, read and answered in another: how far everything is from its newest value."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openbook.models.base import FREE, Output, Teaching
from openbook.windows.batch import Batch
from openbook.windows.scaling import newest


class FromNewest(nn.Module):
    """A model that was learned from windows scaled as ``difference``, for batches of another scaling.

    The target is read as its distance from the last observed value, in the ``unit`` of all windows; inputs as their distance
    from their newest value, in units that are ``step_F`` times those of the batch (``set_units``). Answers are given back
    in the batch's own scaling.
    """

    unit: Tensor
    step_F: Tensor

    def __init__(self, model: nn.Module, *, n_inputs: int, n_known: int) -> None:
        super().__init__()
        self.model, self.n_inputs, self.n_known = model, n_inputs, n_known
        self.register_buffer("unit", torch.ones((), dtype=torch.float64))
        self.register_buffer("step_F", torch.ones(n_inputs))

    def set_units(self, unit: float, step_F: Tensor) -> None:
        """What distances are counted in: of the target in original units, of each input in those of the batch.

        An infinite one leaves an input out, and so does one that is no number: both scalings saw a constant.
        """
        step_F = torch.where(step_F > 0, step_F, torch.inf)
        self.unit.fill_(unit)
        self.step_F.copy_(step_F)

    def forward(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """The model's forecast in the scaling of ``batch``."""
        output = self.model(self.read(batch), teaching)
        size_BM, last_BM = (self.unit / batch.scale_BM).float(), batch.last_BM
        skip_BHM = None if output.skip_BHM is None else output.skip_BHM * size_BM[:, None] + last_BM[:, None]
        quantile_BHMQ = output.quantile_BHMQ * size_BM[:, None, :, None] + last_BM[:, None, :, None]
        return output._replace(quantile_BHMQ=quantile_BHMQ, skip_BHM=skip_BHM)

    def read(self, batch: Batch) -> Batch:
        """The batch as windows scaled as ``difference`` are."""
        size_BM, end = (batch.scale_BM / self.unit).float(), 1 + self.n_inputs
        target_BTM = (batch.encoder_BTX[..., :1] - batch.last_BM[:, None]) * size_BM[:, None]
        input_BTF, seen_BTF = batch.encoder_BTX[..., 1:end], batch.observed_BTF
        last_B1F = newest(input_BTF, seen_BTF[..., 1:])[:, None]
        moved_BTF = torch.cat([target_BTM, (input_BTF - last_B1F) / self.step_F], dim=-1)
        moved_BTF = moved_BTF.masked_fill(~seen_BTF, 0.0)
        known, first = self.n_known, self.n_inputs - self.n_known
        ahead_BHK = (batch.decoder_BHK[..., :known] - last_B1F[..., first:]) / self.step_F[first:]
        # A distance from nothing is not known: neither here nor in windows that are gathered so.
        told_BHK = batch.decoder_observed_BHK[..., :known] & seen_BTF[..., 1 + first :].any(1, keepdim=True)
        ahead_BHK = ahead_BHK.masked_fill(~told_BHK, 0.0)
        truth_BHM = (batch.target_BHM - batch.last_BM[:, None]) * size_BM[:, None]
        return batch._replace(
            encoder_BTX=torch.cat([moved_BTF, batch.encoder_BTX[..., end:]], dim=-1),
            decoder_BHK=torch.cat([ahead_BHK, batch.decoder_BHK[..., known:]], dim=-1),
            decoder_observed_BHK=torch.cat([told_BHK, batch.decoder_observed_BHK[..., known:]], dim=-1),
            target_BHM=truth_BHM.masked_fill(~batch.target_observed_BHM, 0.0),
            last_BM=torch.zeros_like(batch.last_BM),
            location_BM=batch.location_BM + batch.scale_BM * batch.last_BM,
            scale_BM=self.unit.expand_as(batch.scale_BM),
        )
