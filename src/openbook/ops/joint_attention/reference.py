"""Joint attention as its equations stand, for any device and precision: the twin the kernel is tested against."""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.ops.softmax import masked_softmax
from openbook.ops.types import Found


def joint_attention(
    asked_BHQ: Tensor,
    state_BTD: Tensor,
    cell_BFT: Tensor | None = None,
    mask_BFT: Tensor | None = None,
    bias_HFT: Tensor | None = None,
    gain_HFT: Tensor | None = None,
) -> Found:
    """Sums over time and over variables apart, so that memory is [B, H, F, T]."""
    D = state_BTD.shape[2]
    score_BHFT = torch.bmm(asked_BHQ[..., :D], state_BTD.transpose(1, 2))[:, :, None]
    if cell_BFT is None:
        score_BHFT = score_BHFT if bias_HFT is None else score_BHFT + bias_HFT
        weight_BHFT = masked_softmax(score_BHFT, None if mask_BFT is None else mask_BFT[:, None])
        return Found(torch.bmm(weight_BHFT[:, :, 0], state_BTD), weight_BHFT)
    F = cell_BFT.shape[1]
    if mask_BFT is not None:  # what stands in a closed cell may be no number
        cell_BFT = cell_BFT.masked_fill(~mask_BFT, 0.0)
    slope_BHF, name_BHF, nowhere_BH1 = asked_BHQ[..., D : D + F], asked_BHQ[..., D + F : -1], asked_BHQ[..., -1:]
    score_BHFT = torch.addcmul(score_BHFT, slope_BHF[..., None], cell_BFT[:, None]) + name_BHF[..., None]
    if bias_HFT is not None:
        score_BHFT = score_BHFT + bias_HFT
    open_B = cell_BFT.new_full((len(cell_BFT),), float(F * cell_BFT.shape[2]))
    if mask_BFT is not None:
        score_BHFT = score_BHFT.masked_fill(~mask_BFT[:, None], -torch.inf)
        open_B = mask_BFT.sum((-1, -2)).clamp(min=1).to(cell_BFT.dtype)
    nowhere_BH1 = nowhere_BH1 + open_B.log()[:, None, None]
    weight_BHFT = torch.cat([score_BHFT.flatten(2), nowhere_BH1], dim=-1).softmax(-1)[..., :-1].view_as(score_BHFT)
    told_BHFT = weight_BHFT if gain_HFT is None else weight_BHFT * (1 + gain_HFT)
    mixed_BHD = torch.bmm(weight_BHFT.sum(2), state_BTD)
    found_BHF = torch.einsum("bhft,bft->bhf", told_BHFT, cell_BFT)
    return Found(torch.cat([mixed_BHD, found_BHF, weight_BHFT.sum(3)], dim=-1), weight_BHFT)
