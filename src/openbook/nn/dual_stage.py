"""The two stages of dual-stage attention: which inputs at every encoder step, then which steps at every decoder step."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.nn.recurrent import PaddedLSTM, StepLSTM
from openbook.ops.additive_attention import additive_attention
from openbook.ops.recurrence import attending_encoder
from openbook.ops.types import Again, EncoderWeights, Series

SeriesEncoder = Literal["linear", "conv"]
_WIDTH = 5  # steps a convolution of the series sees
_GAIN = 3.0  # a single number per series: large enough to be learned in time, small enough not to wander


def cut(value: Tensor, size: int) -> Tensor:
    """Segments of ``size`` steps, counted from the newest, [B, S, size, …]; the oldest is filled up with zeros.

    >>> cut(torch.tensor([[1, 2, 3]]), 2)
    tensor([[[0, 1],
             [2, 3]]])
    """
    spare = -value.shape[1] % size
    whole = F.pad(value, (0, 0) * (value.ndim - 2) + (spare, 0)) if spare else value
    return whole.reshape(len(whole), whole.shape[1] // size, size, *whole.shape[2:])


class Weighed(NamedTuple):
    """The book [B, T, D] an encoder wrote of weighed inputs, the weights ``alpha_BTF`` of every step, and how much was read.

    ``read_BT``: what of a step's weight went to inputs, between 0 and 1; the rest looked nowhere.
    """

    output_BTD: Tensor
    alpha_BTF: Tensor
    read_BT: Tensor


def about_mean(series_BTF: Tensor, seen_BTF: Tensor) -> Tensor:
    """Every series of a window about its mean there: its shape, whatever its level. Where it was not seen, 0.

    >>> series, seen = torch.tensor([[[5.0], [7.0], [99.0]]]), torch.tensor([[[True], [True], [False]]])
    >>> about_mean(series, seen).flatten().tolist()
    [-1.0, 1.0, 0.0]
    """
    known_BTF = series_BTF.masked_fill(~seen_BTF, 0.0)
    mean_B1F = known_BTF.sum(1, keepdim=True) / seen_BTF.sum(1, keepdim=True).clamp(min=1)
    return (known_BTF - mean_B1F).masked_fill(~seen_BTF, 0.0)


class ConvKey(nn.Module):
    """A key for each series from its shape, whatever its length: convolution over time, mean and maximum over its steps.

    >>> ConvKey(3)(torch.ones(2, 4, 50), torch.ones(2, 50, dtype=torch.bool)).shape
    torch.Size([2, 4, 3])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, size, _WIDTH)
        self.dense = nn.Linear(2 * size, size)

    def forward(self, series_BFT: Tensor, inside_BT: Tensor) -> Tensor:
        """Series [B, F, T], of which the steps ``inside`` count, to keys [B, F, A]."""
        B, n_features, T = series_BFT.shape
        padded = F.pad(series_BFT.reshape(B * n_features, 1, T), (_WIDTH - 1, 0))
        inside_B11T = inside_BT[:, None, None]
        shape_BFAT = torch.relu(self.conv(padded)).view(B, n_features, -1, T) * inside_B11T
        mean_BFA = shape_BFAT.sum(-1) / inside_B11T.sum(-1).clamp(min=1)
        return self.dense(torch.cat([mean_BFA, shape_BFAT.amax(-1)], dim=-1))


class InputAttention(nn.Module):
    """Additive attention over input series: score ``v·tanh(W [h; c] + U x^k)``, softmax over the F series of a step.

    ``n_features`` gives every series a liking of its own, added to its score: by its shape alone a series of noise can not
    be told from one that matters. Likings and keys start at zero, where all weigh the same: else what a series looks like at
    random weights would be a head start that noise keeps. With ``nowhere`` a key without a
    series takes part, which starts with half of the weight: a step that had better read less has a place to say so, instead
    of reading noise; the weights then sum to less than one. ``centred`` keys see every series about its mean in the window:
    a level that has left what was trained on (a spring after a winter) would else decide the weights by itself.

    ``series_encoder="linear"`` is the paper's U (Qin et al. 2017, equation 8): it acts on the whole series of a window, so
    its weights belong to ``input_size`` steps; of a longer window it reads the newest, a shorter one counts as begun by
    zeros. ``conv`` reads windows of any length.

    >>> layer = InputAttention(state_size=8, input_size=6, size=5)
    >>> key = layer.project(torch.ones(2, 6, 3), torch.ones(2, 6, dtype=torch.bool))
    >>> layer(torch.ones(2, 6, 8), key).shape
    torch.Size([2, 6, 3])
    """

    def __init__(
        self,
        *,
        state_size: int,
        input_size: int,
        size: int,
        n_features: int = 0,
        series_encoder: SeriesEncoder = "linear",
        nowhere: bool = False,
        centred: bool = False,
    ) -> None:
        super().__init__()
        self.input_size, self.centred = input_size, centred
        self.nowhere_A = nn.Parameter(torch.zeros(size)) if nowhere else None
        self.series: nn.Linear | ConvKey = nn.Linear(input_size, size) if series_encoder == "linear" else ConvKey(size)
        self.liking_F = nn.Parameter(torch.zeros(n_features + nowhere)) if n_features else None
        if self.liking_F is not None and nowhere:
            self.liking_F.data[-1] = math.log(n_features) / _GAIN
        last = self.series.dense if isinstance(self.series, ConvKey) else self.series
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.state = nn.Linear(state_size, size)
        self.score = nn.Linear(size, 1, bias=False)

    def project(self, series_BTF: Tensor, inside_BT: Tensor, mask_BTF: Tensor | None = None) -> Tensor:
        """Keys of the series of a window, [B, F, A], and last nowhere's where there is one.

        ``inside`` is false on padding, ``mask`` also where a series was not observed.
        """
        if self.centred:
            seen_BTF = inside_BT[..., None].expand_as(series_BTF)
            series_BTF = about_mean(series_BTF, seen_BTF if mask_BTF is None else seen_BTF & mask_BTF)
        series_BFT = series_BTF.transpose(1, 2)
        if isinstance(self.series, ConvKey):
            key_BFA = self.series(series_BFT, inside_BT)
        else:
            key_BFA = self.series(F.pad(series_BFT, (self.input_size - series_BFT.shape[2], 0)))
        if self.nowhere_A is None:
            return key_BFA
        return torch.cat([key_BFA, self.nowhere_A.expand(len(key_BFA), 1, -1)], dim=1)

    def forward(self, state_BTD: Tensor, key_BFA: Tensor, mask_BTF: Tensor | None = None) -> Tensor:
        """Weights [B, T, F] for states [B, T, D] of any number of steps, nowhere's left out; an all-masked row is 0."""
        if mask_BTF is not None and self.nowhere_A is not None:
            mask_BTF = F.pad(mask_BTF, (0, 1), value=True)
        # Without the tanh the softmax would cancel the state: the same weights at every step.
        bias_1F = None if self.liking_F is None else self.bias()[None]
        score_A = self.score.weight[0]
        alpha_BTF = additive_attention(self.state(state_BTD), key_BFA, None, score_A, mask_BTF, bias_1F).weight_BHT
        return alpha_BTF if self.nowhere_A is None else alpha_BTF[..., :-1]

    def bias(self) -> Tensor:
        """What every series' score begins with, [F]."""
        assert self.liking_F is not None
        return _GAIN * self.liking_F


class InputEncoder(nn.Module):
    """Stage one: an LSTM over inputs that attention weighs anew at every step.

    ``recurrent`` (Qin et al. 2017, equations 8 to 11): the states that ask are those of the very LSTM that reads the
    weighed inputs, so the steps follow one another. Otherwise two passes: an LSTM over the raw inputs supplies the states,
    so the attention of all steps is one batch, and a second LSTM reads the weighed inputs. ``side`` inputs (flags,
    calendar) are read unweighed. With ``segment`` above one (two passes) a step of both LSTMs reads a segment of so many
    rows of every input, weighed as one, and the book has a page per segment. In training every input is left out of a
    window with probability ``dropout``, never all of them, so that none is relied on alone.

    >>> encoder = InputEncoder(InputAttention(state_size=8, input_size=6, size=5, n_features=3), n_features=3, n_side=2, size=4)
    >>> inside, mask = torch.ones(2, 6, dtype=torch.bool), torch.ones(2, 6, 3, dtype=torch.bool)
    >>> encoder(torch.ones(2, 6, 3), torch.ones(2, 6, 2), inside, mask).alpha_BTF.shape
    torch.Size([2, 6, 3])
    """

    def __init__(
        self,
        attention: InputAttention,
        *,
        n_features: int,
        n_side: int,
        size: int,
        recurrent: bool = False,
        segment: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention, self.segment, self.dropout = attention, segment, dropout
        n_inputs = n_features * segment
        self.raw = None if recurrent else PaddedLSTM(input_size=n_inputs + n_side, size=size)
        self.weighed: StepLSTM | PaddedLSTM
        if recurrent:
            self.weighed = StepLSTM(context_size=n_features, known_size=n_side, size=size)
            entry = self.weighed.context.weight
        else:
            self.weighed = PaddedLSTM(input_size=n_inputs + n_side, size=size)
            entry = next(self.weighed.lstm.parameters())
        with torch.no_grad():  # shares of 1/F would whisper: start as loud as without attention
            entry[:, :n_inputs].mul_(n_features)

    def forward(self, series_BTF: Tensor, side_BTS: Tensor, inside_BT: Tensor, mask_BTF: Tensor) -> Weighed:
        """Inputs [B, T, F] and [B, T, S]; ``inside`` false on padding, ``mask`` false where an input can not be weighed."""
        key_BFA, mask_BTF = self.attention.project(series_BTF, inside_BT, mask_BTF), self._thinned(mask_BTF)
        if isinstance(self.weighed, StepLSTM):
            return self._recurrent(self.weighed, key_BFA, series_BTF, side_BTS, inside_BT, mask_BTF)
        series_BSXF, side_BSC = cut(series_BTF, self.segment), cut(side_BTS, self.segment).mean(2)
        inside_BS, mask_BSF = cut(inside_BT, self.segment).any(2), cut(mask_BTF, self.segment).any(2)
        raw_BSX = torch.cat([series_BSXF.flatten(2), side_BSC], dim=-1)
        alpha_BSF = self.attention(self.raw.states(raw_BSX, inside_BS), key_BFA, mask_BSF)  # type: ignore[union-attr]
        weighed_BSX = torch.cat([(alpha_BSF[:, :, None] * series_BSXF).flatten(2), side_BSC], dim=-1)
        return self._shared(self.weighed(weighed_BSX, inside_BS).output_BTD, alpha_BSF)

    def _thinned(self, mask_BTF: Tensor) -> Tensor:
        """In training some inputs are left out of a window, never all that it has."""
        if not self.training or self.dropout <= 0:
            return mask_BTF
        kept_B1F = torch.rand(len(mask_BTF), 1, mask_BTF.shape[2], device=mask_BTF.device) >= self.dropout
        left_BTF = mask_BTF & kept_B1F
        return torch.where(left_BTF.any(2).any(1)[:, None, None], left_BTF, mask_BTF)

    def _shared(self, output_BTD: Tensor, alpha_BTF: Tensor) -> Weighed:
        """Weights as shares of what was read: rows sum to one (0 where nothing could be read)."""
        read_BT1 = alpha_BTF.sum(-1, keepdim=True)
        if self.attention.nowhere_A is not None:
            alpha_BTF = alpha_BTF / read_BT1.clamp(min=torch.finfo(alpha_BTF.dtype).tiny)
        return Weighed(output_BTD, alpha_BTF, read_BT1[..., 0])

    def _recurrent(
        self,
        lstm: StepLSTM,
        key_BFA: Tensor,
        series_BTF: Tensor,
        side_BTS: Tensor,
        inside_BT: Tensor,
        mask_BTF: Tensor,
    ) -> Weighed:
        """Step after step: the state of the last step weighs the inputs of this one; padding leaves it at zero."""
        ask, spare = self.attention, (0, 0 if self.attention.nowhere_A is None else 1)
        weights = EncoderWeights(
            lstm.recurrent.weight,
            F.pad(lstm.context.weight, spare),
            ask.state.weight,
            ask.state.bias,
            ask.score.weight[0],
        )
        series = Series(F.pad(series_BTF, spare), key_BFA, F.pad(mask_BTF, spare, value=True), ask.bias())

        def gates() -> Tensor:
            return lstm.hoist(side_BTS)

        found = attending_encoder(gates(), series, weights, inside_BT, Again(gates))
        return self._shared(found.hidden_BTD, found.alpha_BTF[..., : series_BTF.shape[2]])
