"""Noise on the date of training windows: a network shall know the time of year, not each day of its history by heart."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from openbook.windows.batch import Batch

_DAYS = 365.25


class YearPlaces(NamedTuple):
    """Where the first column that tells the day of the year stands in encoder and decoder inputs, and how many there are:
    sine and cosine of its first, second, ... harmonic."""

    encoder: int
    decoder: int
    columns: int


def year_jitter(batch: Batch, places: YearPlaces, days: float) -> Batch:
    """The windows, each moved within the year by normal noise of ``days`` days, all of its steps alike; nothing else changes.

    Jittering is a common augmentation (Um et al. 2017, doi:10.1145/3136755.3136817); here it is the phase of the yearly
    cycle alone. Drawn from torch's global generator.
    """
    if not (places.columns and days):
        return batch
    like = batch.encoder_BTX
    angle_B1 = torch.randn(len(like), 1, device=like.device, dtype=like.dtype) * (2 * math.pi * days / _DAYS)
    return batch._replace(
        encoder_BTX=turned(like, angle_B1, places.encoder, places.columns),
        decoder_BHK=turned(batch.decoder_BHK, angle_B1, places.decoder, places.columns),
    )


def turned(input_BLX: Tensor, angle_B1: Tensor, first: int, count: int) -> Tensor:
    """The inputs [B, L, X] with each pair of sine and cosine among the ``count`` columns from ``first`` on turned by an angle
    [B, 1] in radians, harmonics by its multiples; padding, which is zero, stays so.

    >>> quarter = torch.tensor([[math.pi / 2]])
    >>> turned(torch.tensor([[[5.0, 0.0, 1.0]]]), quarter, first=1, count=2).round(decimals=3).tolist()
    [[[5.0, 1.0, -0.0]]]
    """
    wave_BLX = input_BLX[..., first : first + count]
    sine_BLK, cosine_BLK = wave_BLX[..., ::2], wave_BLX[..., 1::2]
    each_B1K = angle_B1[:, :, None] * torch.arange(1, count // 2 + 1, device=angle_B1.device)
    s_B1K, c_B1K = each_B1K.sin(), each_B1K.cos()
    told_BLX = torch.stack([sine_BLK * c_B1K + cosine_BLK * s_B1K, cosine_BLK * c_B1K - sine_BLK * s_B1K], dim=-1)
    return torch.cat([input_BLX[..., :first], told_BLX.flatten(-2), input_BLX[..., first + count :]], dim=-1)
