"""``luong`` and ``bahdanau``: the encoder-decoder of the founding study, state carried, keys projected once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.errors import UsageError, whole_number
from openbook.models.base import (
    FREE,
    MODES,
    AttentionMap,
    Mode,
    ModelShape,
    Output,
    Teaching,
    check_choice,
    check_share,
    feedback_size,
    next_feedback,
)
from openbook.nn.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    FeatureAttention,
    GeneralAttention,
    JointAttention,
    LagBias,
)
from openbook.nn.heads import LEAK, FeatureNorm, Norm, QuantileHead
from openbook.nn.recurrent import Encoded, FusedLSTM, PaddedLSTM, State, StepLSTM
from openbook.ops.additive_attention import hoist
from openbook.ops.products import added_linear
from openbook.ops.recurrence import attending_decoder
from openbook.ops.types import DecoderWeights, Pages, Powers, Start
from openbook.windows.batch import Batch


@dataclass(frozen=True)
class LuongConfig:
    """Attention after the recurrence (Luong et al. 2015): the whole horizon is one LSTM call and one attention call.

    ``axis``: ``joint``, one softmax over the time × feature grid in ``heads`` heads, or ``time``, the published form with
    ``score`` ``dot``, ``scaled_dot`` or ``general``. ``mode``: ``direct`` feeds no output back; the others feed the last
    output to the next step and differ in training: the truth always, with decaying probability, or never. ``lag_bias``
    lets a look-up learn "so many steps ago" besides "where it looked alike".

    >>> LuongConfig(axis="joint").score
    'scaled_dot'
    """

    name: ClassVar[str] = "luong"
    hidden_size: int = 64
    score: Literal["dot", "scaled_dot", "general"] = "scaled_dot"
    axis: Literal["time", "joint"] = "joint"
    heads: int = 1
    mode: Mode = "direct"
    lag_bias: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_choice("score", self.score, ("dot", "scaled_dot", "general"))
        check_choice("axis", self.axis, ("time", "joint"))
        check_choice("heads", self.heads, tuple(range(1, 17)))
        whole_number("hidden_size", self.hidden_size, least=1)
        check_share("dropout", self.dropout)
        check_choice("mode", self.mode, MODES)
        if self.axis == "joint" and self.score != "scaled_dot":
            raise _idle("score", self.score, "scaled_dot, what the joint look-up scores by", "axis='time'")
        if self.axis == "time" and self.heads != 1:
            raise _idle("heads", self.heads, "1, since a look-up over time has one head", "axis='joint'")


def _idle(name: str, value: object, expected: str, other: str) -> UsageError:
    """An option that would change nothing."""
    return UsageError(
        "idle_option", expected=expected, got=repr(value), where=name, fix=f"leave it out, or choose {other}"
    )


@dataclass(frozen=True)
class BahdanauConfig:
    """Additive attention before the recurrence (Bahdanau et al. 2015): the context enters the next decoder step.

    ``axis``: ``time`` looks up past steps; ``feature`` weighs the variables at every past step. ``norm`` stands before
    the two dense layers of the head (the founding study used ``batch``). ``mode`` and ``lag_bias`` as in ``LuongConfig``.

    >>> BahdanauConfig().axis
    'time'
    """

    name: ClassVar[str] = "bahdanau"
    hidden_size: int = 64
    attention_size: int = 32
    axis: Literal["time", "feature"] = "time"
    mode: Mode = "direct"
    norm: Norm = "none"
    lag_bias: bool = True
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_choice("axis", self.axis, ("time", "feature"))
        check_choice("mode", self.mode, MODES)
        check_choice("norm", self.norm, ("none", "layer", "batch"))
        whole_number("hidden_size", self.hidden_size, least=2)
        whole_number("attention_size", self.attention_size, least=1)
        check_share("dropout", self.dropout)


class LuongReadout(nn.Module):
    """From the context and the state to the forecast: ``[context; s]`` → tanh dense → leaky dense → head."""

    def __init__(self, *, context_size: int, size: int, head: QuantileHead, dropout: float) -> None:
        super().__init__()
        self.combine = nn.Linear(context_size + size, 2 * size)
        self.hidden = nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(dropout)
        self.head = head

    def forward(self, context_BHD: Tensor, state_BHD: Tensor) -> Tensor:
        """Quantiles [B, H, M, Q]."""
        combined = torch.tanh(self.combine(torch.cat([context_BHD, state_BHD], dim=-1)))
        return self.head(self.dropout(F.leaky_relu(self.hidden(combined), LEAK)))


class BahdanauReadout(nn.Module):
    """From the decoder's state to the forecast: norm → leaky dense → norm → leaky dense → head."""

    def __init__(self, *, size: int, widths: tuple[int, int], norm: Norm, head: QuantileHead, dropout: float) -> None:
        super().__init__()
        self.norm1, self.dense1 = FeatureNorm(norm, size), nn.Linear(size, widths[0])
        self.norm2, self.dense2 = FeatureNorm(norm, widths[0]), nn.Linear(widths[0], widths[1])
        self.dropout = nn.Dropout(dropout)
        self.head = head

    def forward(self, state_BHD: Tensor) -> Tensor:
        """Quantiles [B, H, M, Q]."""
        wide = F.leaky_relu(self.dense1(self.norm1(state_BHD)), LEAK)
        return self.head(self.dropout(F.leaky_relu(self.dense2(self.norm2(wide)), LEAK)))


class Luong(nn.Module):
    """LSTM encoder and decoder with attention after the recurrence; see ``LuongConfig``."""

    def __init__(self, config: LuongConfig, shape: ModelShape) -> None:
        super().__init__()
        size, self.config, self.shape = config.hidden_size, config, shape
        self.encoder = PaddedLSTM(input_size=shape.n_encoder, size=size)
        self.decoder = FusedLSTM(input_size=shape.n_decoder + feedback_size(config.mode, shape), size=size)
        self.attention: nn.Module
        if config.axis == "joint":
            self.attention = JointAttention(size=size, n_features=shape.n_variables, heads=config.heads)
        elif config.score == "general":
            self.attention = GeneralAttention(size)
        else:
            self.attention = DotAttention(scaled=config.score == "scaled_dot")
        joint, max_lag = config.axis == "joint", shape.input_size + shape.h
        n_features = config.heads * shape.n_variables if joint else 1
        self.lag_bias = LagBias(max_lag=max_lag, n_features=n_features) if config.lag_bias else None
        self.lag_gain = LagBias(max_lag=max_lag, n_features=n_features) if config.lag_bias and joint else None
        head = QuantileHead(size=size, n_targets=shape.n_targets, quantiles=shape.quantiles)
        self.readout = LuongReadout(context_size=size, size=size, head=head, dropout=config.dropout)

    def forward(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """All steps at once where no output is fed back or every truth is; step by step otherwise."""
        book = self.encoder(batch.encoder_BTX, batch.inside_BT)
        if self.config.mode == "direct":
            return self._fused(batch.decoder_BHK, book, batch)
        if teaching.probability >= 1 and bool(batch.target_observed_BHM.all()):
            told_BHM = torch.cat([batch.last_BM[:, None], batch.target_BHM[:, :-1]], dim=1)
            return self._fused(torch.cat([batch.decoder_BHK, told_BHM], dim=-1), book, batch)
        return self._stepwise(book, batch, teaching)

    def _fused(self, input_BHK: Tensor, book: Encoded, batch: Batch) -> Output:
        state_BHD = self.decoder(input_BHK, book.state).output_BTD
        context_BHD, weight_BHTF = self._look_up(state_BHD, book, batch, 0)
        return Output(self.readout(context_BHD, state_BHD), AttentionMap(self.config.axis, weight_BHTF))

    def _stepwise(self, book: Encoded, batch: Batch, teaching: Teaching) -> Output:
        state, told_BM, quantiles, weights = book.state, batch.last_BM, [], []
        for step in range(batch.decoder_BHK.shape[1]):
            input_B1K = torch.cat([batch.decoder_BHK[:, step], told_BM], dim=-1)[:, None]
            state_B1D, state = self.decoder(input_B1K, state)
            context_B1D, weight_B1TF = self._look_up(state_B1D, book, batch, step)
            quantile_B1MQ = self.readout(context_B1D, state_B1D)
            told_BM = next_feedback(quantile_B1MQ[:, 0, :, self.shape.median], batch, step, teaching)
            quantiles.append(quantile_B1MQ)
            weights.append(weight_B1TF)
        return Output(torch.cat(quantiles, 1), AttentionMap(self.config.axis, torch.cat(weights, 1)))

    def _look_up(self, query_BHD: Tensor, book: Encoded, batch: Batch, first: int) -> Attention:
        """Context [B, H, D] and weights [B, H, T, F] of the decoder steps from ``first`` on."""
        H, T = query_BHD.shape[1], book.output_BTD.shape[1]
        bias_HTF = None if self.lag_bias is None else self.lag_bias(H, T, first)
        if self.config.axis == "joint":
            cell_BTF = batch.encoder_BTX[..., : self.shape.n_variables]
            gain_HTF = None if self.lag_gain is None else self.lag_gain(H, T, first)
            return self.attention(query_BHD, book.output_BTD, cell_BTF, batch.observed_BTF, bias_HTF, gain_HTF)
        bias_HT = None if bias_HTF is None else bias_HTF[..., 0]
        context_BHD, weight_BHT = self.attention(query_BHD, book.output_BTD, batch.inside_BT, bias_HT)
        return Attention(context_BHD, weight_BHT[..., None])


class Bahdanau(nn.Module):
    """LSTM encoder and decoder with additive attention before the recurrence; see ``BahdanauConfig``."""

    def __init__(self, config: BahdanauConfig, shape: ModelShape) -> None:
        super().__init__()
        size, self.config, self.shape = config.hidden_size, config, shape
        self.encoder = PaddedLSTM(input_size=shape.n_encoder, size=size)
        self.attention: AdditiveAttention | FeatureAttention
        if config.axis == "time":
            self.attention = AdditiveAttention(query_size=size, value_size=size, size=config.attention_size)
        else:
            self.attention = FeatureAttention(query_size=size, n_features=shape.n_variables, size=config.attention_size)
        with_bias = config.lag_bias and config.axis == "time"
        self.lag_bias = LagBias(max_lag=shape.input_size + shape.h) if with_bias else None
        told = feedback_size(config.mode, shape)
        self.decoder = StepLSTM(context_size=size + told, known_size=shape.n_decoder, size=size)
        head = QuantileHead(size=size // 2, n_targets=shape.n_targets, quantiles=shape.quantiles)
        widths = (2 * size, size // 2)
        self.readout = BahdanauReadout(size=size, widths=widths, norm=config.norm, head=head, dropout=config.dropout)

    def forward(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """All steps as one operation where none is told what a step before it forecast; step by step otherwise."""
        book = self.encoder(batch.encoder_BTX, batch.inside_BT)
        cell_BTF = batch.encoder_BTX[..., : self.shape.n_variables]
        key = self.attention.project(book.output_BTD if self.config.axis == "time" else cell_BTF)
        told_BHM = self._told(batch, teaching)
        if told_BHM is None or self.config.axis != "time":
            return self._stepwise(key, book, batch, teaching)
        return self._fused(key, book, batch, told_BHM)

    def _told(self, batch: Batch, teaching: Teaching) -> Tensor | None:
        """What every step is told, [B, H, M], where that is known before the first; M = 0 without feedback."""
        if self.config.mode == "direct":
            return batch.target_BHM[..., :0]
        if teaching.probability >= 1 and bool(batch.target_observed_BHM.all()):
            return torch.cat([batch.last_BM[:, None], batch.target_BHM[:, :-1]], dim=1)
        return None

    def _fused(self, key_BTA: Tensor, book: Encoded, batch: Batch, told_BHM: Tensor) -> Output:
        """The first look-up by itself; then every step moves the state on and looks up for the step after it."""
        H, size = batch.decoder_BHK.shape[1], self.config.hidden_size
        first = self._look_up(book.state, key_BTA, book, batch, 0)
        bias_HT = None if self.lag_bias is None else self.lag_bias(H, key_BTA.shape[1], 1)[..., 0]
        context_4C, told_4M = self.decoder.context.weight[:, :size], self.decoder.context.weight[:, size:]
        gates_BH4 = self.decoder.hoist(batch.decoder_BHK)
        gates_BH4 = added_linear(gates_BH4, told_BHM, told_4M) if told_BHM.shape[2] else gates_BH4
        ask = self.attention
        recurrent_4D = self.decoder.recurrent.weight
        weights = DecoderWeights(recurrent_4D, context_4C, None, ask.query.weight, ask.query.bias, ask.score.weight[0])
        pages = Pages(key_BTA, book.output_BTD, batch.inside_BT, bias_HT)
        found = attending_decoder(
            gates_BH4,
            Start(book.state.hidden_BD, book.state.cell_BD, first.context_BHD),
            pages,
            weights,
            look_last=False,
        )
        weight_BHT = torch.cat([first.weight[:, None, :, 0], found.weight_BLT[:, :-1]], dim=1)
        return Output(self.readout(found.hidden_BLD), AttentionMap("time", weight_BHT[..., None]))

    def _stepwise(self, key: Tensor, book: Encoded, batch: Batch, teaching: Teaching) -> Output:
        """One decoder step after the other: the look-up of a step needs the state the last look-up led to."""
        known = self.decoder.hoist(batch.decoder_BHK).unbind(1)  # slices one by one would each fill a whole gradient
        powers = hoist(key) if self.config.axis == "time" else None
        state, told_BM, feeds_back = book.state, batch.last_BM, self.config.mode != "direct"
        hiddens, quantiles, weights = [], [], []
        for step, gates_B4 in enumerate(known):
            context_BD, weight_BTF = self._look_up(state, key, book, batch, step, powers)
            entry = torch.cat([context_BD, told_BM], dim=-1) if feeds_back else context_BD
            state = self.decoder(gates_B4, entry, state)
            hiddens.append(state.hidden_BD)
            weights.append(weight_BTF)
            if feeds_back:
                quantiles.append(self.readout(state.hidden_BD[:, None]))
                told_BM = next_feedback(quantiles[-1][:, 0, :, self.shape.median], batch, step, teaching)
        quantile_BHMQ = torch.cat(quantiles, 1) if feeds_back else self.readout(torch.stack(hiddens, 1))
        return Output(quantile_BHMQ, AttentionMap(self.config.axis, torch.stack(weights, 1)))

    def _look_up(
        self, state: State, key: Tensor, book: Encoded, batch: Batch, step: int, powers: Powers | None = None
    ) -> Attention:
        """Context [B, D] and weights [B, T, F] of one decoder step."""
        query_B1D = state.hidden_BD[:, None]
        if self.config.axis == "time":
            T = key.shape[1]
            bias_1T = None if self.lag_bias is None else self.lag_bias(1, T, step)[..., 0]
            found = self.attention(query_B1D, key, book.output_BTD, batch.inside_BT, bias_1T, powers)
            return Attention(found.context_BHD[:, 0], found.weight[:, 0, :, None])
        cell_BTF = batch.encoder_BTX[..., : self.shape.n_variables]
        weighed_B1T, weight_B1TF = self.attention(query_B1D, key, cell_BTF, batch.observed_BTF)
        # The weighed input of every step gathers that step's state, so that no weight is tied to the window's length.
        length_B1 = batch.inside_BT.sum(dim=1, keepdim=True).clamp(min=1)
        return Attention(torch.bmm(weighed_B1T, book.output_BTD)[:, 0] / length_B1, weight_B1TF[:, 0])
