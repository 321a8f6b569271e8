"""The softmax of every look-up."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_softmax(score: Tensor, mask: Tensor | None, dim: int | tuple[int, ...] = -1) -> Tensor:
    """Softmax over one or several axes in which masked cells get exactly 0, and all-masked rows are 0 throughout.

    >>> masked_softmax(torch.zeros(1, 3), torch.tensor([[True, False, True]]))
    tensor([[0.5000, 0.0000, 0.5000]])
    """
    dims = (dim,) if isinstance(dim, int) else dim
    if mask is None:
        return _softmax(score, dims)
    alive = mask.any(dim=dims, keepdim=True)
    weight = _softmax(score.masked_fill(~mask & alive, -torch.inf), dims)
    return weight if bool(alive.all()) else weight.masked_fill(~alive, 0.0)


def _softmax(score: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Softmax over one axis, or over the last two together."""
    if len(dims) == 1:
        return score.softmax(dims[0])
    return score.flatten(-2).softmax(-1).view_as(score)
