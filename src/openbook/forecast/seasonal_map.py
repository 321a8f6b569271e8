"""A linear map that knows the same step of past seasons only: what a ridge map is shrunk towards, beside nothing."""

from __future__ import annotations

import torch
from torch import Tensor

_BESIDE = 12  # steps on either side that are averaged: a season by this many, one at least
_FIRM = 1e-4  # added to the diagonal, as a multiple of its mean: past seasons are much alike


def seasonal_map(gram_DD: Tensor, cross_DH: Tensor, window: int, season: int) -> Tensor:
    """Weights [D, h] of a map of the same step of past seasons, and of the mean of the steps around it.

    Of a season ahead and one behind all steps share their weight: from a month of hours to a day takes 60 numbers, not 17,280,
    and a few weeks of data tell them. ``gram_DD`` [D, D] and ``cross_DH`` [D, h] are normal equations whose first ``window``
    columns are own lags, the oldest first; no other column is read. The window holds a ``season`` at least.
    Source: Lin et al. 2024, SparseTSF, section 3.2 (cross-period forecasting; theirs is trained, and filters the window
    before, where ours has the mean beside the step).

    >>> x = torch.randn(100, 4, generator=torch.Generator().manual_seed(0)).double()
    >>> y = x[:, 2:] / 2  # a season of two steps: each is half of the last one at its place
    >>> seasonal_map(x.T @ x, x.T @ y, 4, 2).abs().round(decimals=2).T.tolist()
    [[0.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.5]]
    """
    h = cross_DH.shape[1]
    reads_FKD = _same_steps(window, season, len(gram_DD)).to(gram_DD)
    ahead_FKD = reads_FKD @ gram_DD
    gram_FKK = ahead_FKD @ reads_FKD.transpose(1, 2)
    weight_DH = torch.zeros_like(cross_DH)
    for first in range(0, h, season):
        steps = min(season, h - first)
        here_FKD = reads_FKD[:steps]
        gram_KK = gram_FKK[:steps].sum(0)
        cross_K = torch.einsum("fkd,df->k", here_FKD, cross_DH[:, first : first + steps])
        gram_KK.diagonal().add_(_FIRM * gram_KK.diagonal().mean() + torch.finfo(gram_KK.dtype).tiny)
        weight_DH[:, first : first + steps] = torch.einsum("fkd,k->df", here_FKD, torch.linalg.solve(gram_KK, cross_K))
    return weight_DH


def _same_steps(window: int, season: int, width: int) -> Tensor:
    """What is read of a window for each step of a season [F, 2 × seasons, D]: the same step of every season, the newest
    first, then the means around them, cut at the window's ends."""
    seasons, beside = window // season, max(1, season // _BESIDE)
    reads_FKD = torch.zeros(season, 2 * seasons, width)
    for step in range(season):
        for back in range(seasons):
            place = window - (back + 1) * season + step
            reads_FKD[step, back, place] = 1.0
            low, high = max(0, place - beside), min(window, place + beside + 1)
            reads_FKD[step, seasons + back, low:high] = 1.0 / (high - low)
    return reads_FKD
