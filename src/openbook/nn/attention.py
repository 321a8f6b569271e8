"""Attention layers: who is looked up (weights) and what is found there (context). Both are always returned.

Every layer takes H queries at once. A masked cell weighs exactly 0; where everything is masked, weights and context are 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.ops.additive_attention import additive_attention, hoist
from openbook.ops.joint_attention import joint_attention
from openbook.ops.softmax import masked_softmax
from openbook.ops.types import Powers


class Attention(NamedTuple):
    """``context_BHD``: the weighted sum; ``weight``: [B, H, T], or [B, H, T, F] where features are weighed too.

    Weights sum to one, or to less where a layer may look nowhere: the rest is what it left to memory.
    """

    context_BHD: Tensor
    weight: Tensor


class DotAttention(nn.Module):
    """Dot-product attention over time: ``softmax_t(s·e_t)``, optionally divided by √D (Luong et al. 2015, *dot*).

    >>> layer = DotAttention(scaled=False)
    >>> layer(torch.ones(1, 1, 2), torch.tensor([[[0.0, 0.0], [0.0, 0.0]]])).weight
    tensor([[[0.5000, 0.5000]]])
    """

    def __init__(self, *, scaled: bool = True) -> None:
        super().__init__()
        self.scaled = scaled

    def forward(
        self, query_BHD: Tensor, value_BTD: Tensor, mask_BT: Tensor | None = None, bias_HT: Tensor | None = None
    ) -> Attention:
        """Queries [B, H, D], the book [B, T, D], mask [B, T], additive bias [H, T]."""
        scale = 1.0 / math.sqrt(query_BHD.shape[-1]) if self.scaled else 1.0
        mask_B1T = None if mask_BT is None else mask_BT[:, None]
        bias_H1T = None if bias_HT is None else bias_HT[:, None]
        found = joint_attention(query_BHD * scale, value_BTD, None, mask_B1T, bias_H1T)
        return Attention(found.found_BHR, found.weight_BHFT[:, :, 0])


class GeneralAttention(nn.Module):
    """General attention over time: ``softmax_t(s·W e_t)`` (Luong et al. 2015, *general*), taken as ``(Wᵀ s)·e_t``: there are
    fewer queries than times.

    >>> GeneralAttention(4)(torch.ones(2, 3, 4), torch.ones(2, 5, 4)).weight.shape
    torch.Size([2, 3, 5])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.key = nn.Linear(size, size)

    def forward(
        self, query_BHD: Tensor, value_BTD: Tensor, mask_BT: Tensor | None = None, bias_HT: Tensor | None = None
    ) -> Attention:
        """Queries [B, H, D], the book [B, T, D], mask [B, T], additive bias [H, T]."""
        score_BHT = torch.bmm(query_BHD @ self.key.weight, value_BTD.transpose(1, 2))
        score_BHT = score_BHT + (query_BHD @ self.key.bias)[..., None]
        if bias_HT is not None:
            score_BHT = score_BHT + bias_HT
        weight_BHT = masked_softmax(score_BHT, None if mask_BT is None else mask_BT[:, None])
        return Attention(torch.bmm(weight_BHT, value_BTD), weight_BHT)


class AdditiveAttention(nn.Module):
    """Additive attention over time: ``softmax_t(v·tanh(W e_t + U s))`` (Bahdanau et al. 2015, appendix A.1.2).

    ``project`` computes the keys ``W e_t`` once per window; ``forward`` takes them back at every decoder step. The score
    has no bias: the softmax would cancel it.

    >>> layer = AdditiveAttention(query_size=3, value_size=4, size=5)
    >>> book = torch.ones(2, 6, 4)
    >>> layer(torch.ones(2, 1, 3), layer.project(book), book).context_BHD.shape
    torch.Size([2, 1, 4])
    """

    def __init__(self, *, query_size: int, value_size: int, size: int) -> None:
        super().__init__()
        self.key = nn.Linear(value_size, size)
        self.query = nn.Linear(query_size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def project(self, value_BTD: Tensor) -> Tensor:
        """The keys of a book, [B, T, size]."""
        return self.key(value_BTD)

    @staticmethod
    def hoist(key_BTD: Tensor) -> Powers | None:
        """What look-ups step after step in one book can share; of use where ``forward`` is called many times."""
        return hoist(key_BTD)

    def forward(
        self,
        query_BHD: Tensor,
        key_BTD: Tensor,
        value_BTD: Tensor,
        mask: Tensor | None = None,
        bias_HT: Tensor | None = None,
        powers: Powers | None = None,
    ) -> Attention:
        """Queries [B, H, D], keys from ``project``, the book [B, T, D], mask [B, T] or [B, H, T], additive bias [H, T]."""
        score_A = self.score.weight[0]
        found = additive_attention(self.query(query_BHD), key_BTD, value_BTD, score_A, mask, bias_HT, powers)
        assert found.context_BHD is not None
        return Attention(found.context_BHD, found.weight_BHT)


class FeatureAttention(nn.Module):
    """Additive attention over features: one score per feature at every step, softmax over the F features of that step.

    ``forward`` returns ``context`` [B, H, T], the weighted input of every step, and ``weight`` [B, H, T, F]
    (the *horizontal* look-up of the founding study).

    >>> layer = FeatureAttention(query_size=3, n_features=4, size=5)
    >>> layer(torch.ones(2, 1, 3), layer.project(torch.ones(2, 6, 4)), torch.ones(2, 6, 4)).weight.sum(-1).shape
    torch.Size([2, 1, 6])
    """

    def __init__(self, *, query_size: int, n_features: int, size: int) -> None:
        super().__init__()
        self.key = nn.Linear(n_features, size)
        self.query = nn.Linear(query_size, size)
        self.score = nn.Linear(size, n_features)

    def project(self, value_BTF: Tensor) -> Tensor:
        """The keys of a window, [B, T, size]."""
        return self.key(value_BTF)

    def forward(
        self, query_BHD: Tensor, key_BTD: Tensor, value_BTF: Tensor, mask_BTF: Tensor | None = None
    ) -> Attention:
        """Queries [B, H, D], keys from ``project``, the inputs [B, T, F], mask [B, T, F]."""
        score_BHTF = self.score(torch.tanh(key_BTD[:, None] + self.query(query_BHD)[:, :, None]))
        weight_BHTF = masked_softmax(score_BHTF, None if mask_BTF is None else mask_BTF[:, None])
        return Attention((weight_BHTF * value_BTF[:, None]).sum(-1), weight_BHTF)


class JointHead(nn.Module):
    """One softmax over the whole time × feature grid and *nowhere*; marginals are sums of its weights.

    The key of cell (t, f) is ``W e_t + x_tf a_f + b_f``: the state of that time, the value of that variable, its name.
    The value of the cell is ``V e_t + x_tf c_f + d_f``. W is taken to the queries and V to what was found, which are fewer
    than the times: ``q·(W e) = (Wᵀ q)·e``. *Nowhere* has a key and no value: a step that needs no look-up
    has a place to say so, instead of an arbitrary cell; at the start it has half of the weight. Scores and sums are
    taken apart, so that no [B, T, F, D] tensor is ever built: memory is [B, H, T, F].

    >>> layer = JointHead(size=4, n_features=3)
    >>> layer(torch.ones(1, 2, 4), torch.ones(1, 5, 4), torch.ones(1, 5, 3)).weight.sum((-1, -2))
    tensor([[0.5000, 0.5000]], grad_fn=<SumBackward1>)
    """

    def __init__(self, *, size: int, n_features: int) -> None:
        super().__init__()
        self.key_state = nn.Linear(size, size, bias=False)
        self.value_state = nn.Linear(size, size, bias=False)
        # No variable is preferred before anything was learned: else the loud ones would keep a head start.
        nn.init.zeros_(self.key_state.weight)
        self.key_slope_FD = nn.Parameter(torch.zeros(n_features, size))
        self.key_name_FD = nn.Parameter(torch.zeros(n_features, size))
        self.key_nowhere_D = nn.Parameter(torch.zeros(size))
        # Values of order one: what is found is an average over many cells and would start too faint to be read.
        self.value_slope_FD = nn.Parameter(torch.randn(n_features, size))
        self.value_name_FD = nn.Parameter(torch.randn(n_features, size) / math.sqrt(size))

    def forward(
        self,
        query_BHD: Tensor,
        state_BTD: Tensor,
        cell_BTF: Tensor,
        mask_BTF: Tensor | None = None,
        bias_HTF: Tensor | None = None,
        gain_HTF: Tensor | None = None,
    ) -> Attention:
        """Queries [B, H, D], encoder states [B, T, D], variables [B, T, F], mask [B, T, F], score bias [H, T, F].

        ``gain_HTF`` changes what a cell's value counts for, by distance: ``(1 + gain) x_tf c_f``.
        """
        by_variable = (None if part is None else part.transpose(1, 2) for part in (mask_BTF, bias_HTF, gain_HTF))
        asked_BHQ = query_BHD @ self._questions() / math.sqrt(query_BHD.shape[-1])
        found = joint_attention(asked_BHQ, state_BTD, cell_BTF.transpose(1, 2), *by_variable)
        return Attention(found.found_BHR @ self._answers(), found.weight_BHFT.transpose(2, 3))

    def _questions(self) -> Tensor:
        """From a query to what it asks of states, values, names and nowhere, [D, D + 2F + 1]."""
        of_cells = self.key_slope_FD.T, self.key_name_FD.T, self.key_nowhere_D[:, None]
        return torch.cat([self.key_state.weight, *of_cells], dim=1)

    def _answers(self) -> Tensor:
        """From the sums of what was found to the context, [D + 2F, D]."""
        return torch.cat([self.value_state.weight.T, self.value_slope_FD, self.value_name_FD])


class JointAttention(nn.Module):
    """Several ``JointHead`` side by side: contexts are added, weights averaged.

    >>> layer = JointAttention(size=4, n_features=3, heads=2)
    >>> layer(torch.ones(1, 2, 4), torch.ones(1, 5, 4), torch.ones(1, 5, 3)).weight.shape
    torch.Size([1, 2, 5, 3])
    """

    def __init__(self, *, size: int, n_features: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = nn.ModuleList(JointHead(size=size, n_features=n_features) for _ in range(heads))

    def forward(
        self,
        query_BHD: Tensor,
        state_BTD: Tensor,
        cell_BTF: Tensor,
        mask_BTF: Tensor | None = None,
        bias_HTF: Tensor | None = None,
        gain_HTF: Tensor | None = None,
    ) -> Attention:
        """As ``JointHead``; bias and gain [H, T, heads · F] hold one block of features per head."""
        count = len(self.heads)
        biases = [None] * count if bias_HTF is None else bias_HTF.chunk(count, dim=-1)
        gains = [None] * count if gain_HTF is None else gain_HTF.chunk(count, dim=-1)
        found = [
            head(query_BHD, state_BTD, cell_BTF, mask_BTF, bias, gain)
            for head, bias, gain in zip(self.heads, biases, gains, strict=True)
        ]
        if count == 1:
            return found[0]
        context_BHD = torch.stack([part.context_BHD for part in found]).sum(0)
        return Attention(context_BHD, torch.stack([part.weight for part in found]).mean(0))


class LagBias(nn.Module):
    """A learned table of distances: (decoder step h, context step t) gets ``b[T − t + h]``, per feature.

    Added to scores it is a preference for a distance; as gain of values it says what is worth how much how long ago.
    It belongs to the lag, not to the place in the window, so it holds for any T (lags beyond ``max_lag`` share the last
    entry). Stored divided by ``gain`` so that a table of many entries learns as fast as the layers around it.

    >>> LagBias(max_lag=4)(n_query=2, n_time=3)[..., 0]
    tensor([[0., 0., 0.],
            [0., 0., 0.]], grad_fn=<SelectBackward0>)
    """

    gain = 10.0

    def __init__(self, *, max_lag: int, n_features: int = 1) -> None:
        super().__init__()
        self.table_LF = nn.Parameter(torch.zeros(max_lag, n_features))

    def forward(self, n_query: int, n_time: int, first_query: int = 0) -> Tensor:
        """Bias of ``n_query`` decoder steps from ``first_query`` on against ``n_time`` context steps, [H, T, F]."""
        newest, spare_LF = first_query + n_query + n_time - 1, self.table_LF[-1:]
        lag_LF = torch.cat([self.table_LF, spare_LF.expand(max(newest - len(self.table_LF), 0), -1)])[:newest]
        # Row by row the same table a step on: windows of it, whose gradient is a sum and not a scattering.
        oldest_first_FL = self.gain * lag_LF.flip(0).T
        return oldest_first_FL.unfold(1, n_time, 1)[:, :n_query].flip(1).permute(1, 2, 0)
