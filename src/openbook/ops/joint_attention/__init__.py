"""One softmax over a grid of time and variables, what it weighs summed up: one signature for every device.

Scores of cells are told from few numbers per query, so that no key or value of a cell is ever built; the kernel holds the
scores of a query in the cache from the first sum to the last.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openbook.ops.dispatch import implementation
from openbook.ops.joint_attention import reference
from openbook.ops.types import Found

# Multiplications of a training step below which a kernel's milliseconds are not worth its compilation; forecasts gain less.
_SMALL = 5_000_000
_FEW = 4  # queries of a window whose products share a pass: a decoder that asks step by step stays with torch's


def joint_attention(
    asked_BHQ: Tensor,
    state_BTD: Tensor,
    cell_BFT: Tensor | None = None,
    mask_BFT: Tensor | None = None,
    bias_HFT: Tensor | None = None,
    gain_HFT: Tensor | None = None,
) -> Found:
    """Softmax over the cells (f, t) of a window and *nowhere*, of ``a·e_t + s_f x_ft + n_f + bias``, and what it weighs.

    ``asked``: of every query a [D], s [F], n [F] and nowhere's score [1] one after the other, Q = D + 2F + 1; states
    [B, T, D], values of variables [B, F, T], which cells are open. Nowhere counts as much as all open cells together where
    scores are alike. ``found``: the weighed sums of states [D] and of ``(1 + gain) x`` [F], and the weights' sums by variable
    [F]. A closed cell weighs exactly 0, nowhere has no value.

    Without cells it is dot attention over time: Q = D, mask and bias of one variable, no nowhere; all closed is 0 throughout.

    >>> import torch
    >>> found = joint_attention(torch.zeros(1, 2, 9), torch.ones(1, 5, 2), torch.ones(1, 3, 5))
    >>> found.weight_BHFT.sum((-1, -2)), found.found_BHR.shape
    (tensor([[0.5000, 0.5000]]), torch.Size([1, 2, 8]))
    """
    (B, H, Q), T = asked_BHQ.shape, state_BTD.shape[1]
    _check(asked_BHQ, state_BTD, cell_BFT, mask_BFT, bias_HFT, gain_HFT)
    size, small = B * H * T * Q if H >= _FEW else 0, _SMALL if torch.is_grad_enabled() else 10 * _SMALL
    with implementation("joint_attention", asked_BHQ, size, reference, small=small) as chosen:
        return chosen.joint_attention(asked_BHQ, state_BTD, cell_BFT, mask_BFT, bias_HFT, gain_HFT)


def _check(asked_BHQ: Tensor, state_BTD: Tensor, *grids: Tensor | None) -> None:
    """Kernels do not look where an array ends."""
    (B, H, Q), (T, D) = asked_BHQ.shape, state_BTD.shape[1:]
    F = 0 if grids[0] is None else grids[0].shape[1]
    wanted = (B, F, T), (B, max(F, 1), T), (H, max(F, 1), T), (H, F, T) if F else ()
    fit = all(grid is None or tuple(grid.shape) == shape for grid, shape in zip(grids, wanted, strict=True))
    if not fit or len(state_BTD) != B or (D + 2 * F + 1 if F else D) != Q:
        given = (asked_BHQ, state_BTD, *grids)
        told = ", ".join("none" if part is None else str(list(part.shape)) for part in given)
        raise RuntimeError(
            f"joint attention: shapes of asked, state, cell, mask, bias, gain do not belong together: {told}"
        )
