"""One softmax over a grid of time and variables, what it weighs summed up: one signature for every device.

Scores of cells are told from few numbers per query, so that no key or value of a cell is ever built; the kernel holds the
scores of a query in the cache from the first sum to the last.
"""

from __future__ import annotations

from torch import Tensor

from openbook.ops.dispatch import implementation
from openbook.ops.joint_attention import reference
from openbook.ops.types import Found

# Queries of a window from which on the kernel's products fill their vectors: a decoder that asks step by step stays below.
_FEW = 4


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
    B, H, Q = asked_BHQ.shape
    size = B * H * state_BTD.shape[1] * Q if H >= _FEW else 0
    with implementation("joint_attention", asked_BHQ, size, reference) as chosen:
        return chosen.joint_attention(asked_BHQ, state_BTD, cell_BFT, mask_BFT, bias_HFT, gain_HFT)
