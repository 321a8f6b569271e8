"""Attention layers: who is looked up (weights) and what is found there (context). Both are always returned.

Every layer takes H queries at once. A masked cell weighs exactly 0; where everything is masked, weights and context are 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from openbook.ops.additive_attention import additive_attention, hoist
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
        score_BHT = torch.bmm(query_BHD * scale, value_BTD.transpose(1, 2))
        if bias_HT is not None:
            score_BHT = score_BHT + bias_HT
        weight_BHT = masked_softmax(score_BHT, None if mask_BT is None else mask_BT[:, None])
        return Attention(torch.bmm(weight_BHT, value_BTD), weight_BHT)


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
    (the *horizontal* look-up of the reference work).

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
        query_BHD = query_BHD / math.sqrt(query_BHD.shape[-1])
        mask_BTF = torch.ones_like(cell_BTF, dtype=torch.bool) if mask_BTF is None else mask_BTF
        # Axes [B, H, F, T] inside: the softmax and the sums then run over contiguous memory.
        cell_BFT = cell_BTF.transpose(1, 2).contiguous()
        score_BHFT = self._score(query_BHD, state_BTD, cell_BFT)
        if bias_HTF is not None:
            score_BHFT += bias_HTF.transpose(1, 2)
        score_BHFT = score_BHFT.masked_fill(~mask_BTF.transpose(1, 2)[:, None], -torch.inf)
        open_B = mask_BTF.sum((-1, -2)).clamp(min=1).to(query_BHD.dtype)
        nowhere_BH1 = (query_BHD @ self.key_nowhere_D + open_B.log()[:, None])[..., None]
        weight = torch.cat([score_BHFT.flatten(2), nowhere_BH1], dim=-1).softmax(-1)
        weight_BHFT = weight[..., :-1].view_as(score_BHFT)
        told_BHFT = weight_BHFT if gain_HTF is None else weight_BHFT * (1 + gain_HTF.transpose(1, 2))
        found_BHF = torch.einsum("bhft,bft->bhf", told_BHFT, cell_BFT)
        context_BHD = self.value_state(torch.bmm(weight_BHFT.sum(2), state_BTD))
        context_BHD = context_BHD + found_BHF @ self.value_slope_FD + weight_BHFT.sum(3) @ self.value_name_FD
        return Attention(context_BHD, weight_BHFT.transpose(2, 3))

    def _score(self, query_BHD: Tensor, state_BTD: Tensor, cell_BFT: Tensor) -> Tensor:
        slope_BHF, name_BHF = query_BHD @ self.key_slope_FD.T, query_BHD @ self.key_name_FD.T
        state_BHT = torch.bmm(query_BHD @ self.key_state.weight, state_BTD.transpose(1, 2))
        score_BHFT = torch.addcmul(state_BHT[:, :, None], slope_BHF[..., None], cell_BFT[:, None])
        score_BHFT += name_BHF[..., None]
        return score_BHFT


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
        device = self.table_LF.device
        query_H1 = torch.arange(first_query, first_query + n_query, device=device)[:, None]
        lag_HT = n_time - torch.arange(n_time, device=device) + query_H1
        return self.gain * self.table_LF[(lag_HT - 1).clamp(max=len(self.table_LF) - 1)]
