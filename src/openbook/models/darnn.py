"""``darnn``: dual-stage attention, first which inputs, then which times (Qin et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from openbook.errors import UsageError, whole_number
from openbook.models.base import (
    FREE,
    MODES,
    AttentionMap,
    Mode,
    ModelShape,
    Output,
    Stages,
    Teaching,
    check_choice,
    check_share,
    next_feedback,
)
from openbook.nn.attention import AdditiveAttention
from openbook.nn.dual_stage import InputEncoder, SeriesEncoder
from openbook.nn.heads import QuantileHead
from openbook.nn.recurrent import State, StepLSTM, held
from openbook.windows.batch import Batch

Form = Literal["two_pass", "recurrent"]
Protocol = Literal["forecast", "nowcast"]
Drivers = Literal["all", "inputs"]


@dataclass(frozen=True)
class DarnnConfig:
    """Dual-stage attention: alpha weighs the inputs of every past step, beta the past steps for every decoder step.

    ``form``: ``recurrent``, where the encoder's own last state weighs the inputs (Qin et al. 2017, equations 8 to 11), or
    ``two_pass``, where an LSTM over the raw inputs supplies the states. ``protocol``: a ``forecast`` reads inputs up to
    now; a ``nowcast`` also reads the inputs of the steps it tells (they must be known ahead), as in the paper's tables:
    never compare one with the other. ``drivers``: stage one weighs ``all`` variables, or ``inputs`` without the target,
    which then enters the decoder only, as in the paper. ``series_encoder``: ``linear``, the paper's, whose weights belong
    to one input size, or ``conv`` for windows of any length. ``mode`` as in ``LuongConfig``.

    >>> DarnnConfig(form="recurrent", protocol="nowcast").drivers
    'all'
    """

    name: ClassVar[str] = "darnn"
    longest: ClassVar[int] = 96  # steps of context decided for: the decoder reads the past step by step
    hidden_size: int = 64
    attention_size: int = 32
    entry_size: int = 8
    form: Form = "two_pass"
    protocol: Protocol = "forecast"
    drivers: Drivers = "all"
    series_encoder: SeriesEncoder = "linear"
    mode: Mode = "direct"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_choice("form", self.form, ("two_pass", "recurrent"))
        check_choice("protocol", self.protocol, ("forecast", "nowcast"))
        check_choice("drivers", self.drivers, ("all", "inputs"))
        check_choice("series_encoder", self.series_encoder, ("linear", "conv"))
        check_choice("mode", self.mode, MODES)
        for name in ("hidden_size", "attention_size", "entry_size"):
            whole_number(name, getattr(self, name), least=1)
        check_share("dropout", self.dropout)


class DarnnReadout(nn.Module):
    """From the state and the context to the forecast: dense of ``[s; context]`` → head (Qin et al. 2017, equation 22).

    ``known_size`` inputs known of the very step, where there are any, go in beside them: in a nowcast the step's own
    inputs tell most of its change, and need no memory to do so.
    """

    def __init__(self, *, size: int, head: QuantileHead, dropout: float, known_size: int = 0) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * size, size)
        self.known = nn.Linear(known_size, size, bias=False) if known_size else None
        self.dropout = nn.Dropout(dropout)
        self.head = head

    def forward(self, state_BHD: Tensor, context_BHD: Tensor, known_BHK: Tensor | None = None) -> Tensor:
        """Quantiles [B, H, M, Q]."""
        feature_BHD = self.dense(torch.cat([state_BHD, context_BHD], dim=-1))
        if self.known is not None and known_BHK is not None:
            feature_BHD = feature_BHD + self.known(known_BHK)
        return self.head(self.dropout(feature_BHD))


class _Rows(NamedTuple):
    """What stage one reads, row by row: series, side inputs, whether the row exists and what of it can be weighed."""

    series_BTF: Tensor
    side_BTS: Tensor
    inside_BT: Tensor
    mask_BTF: Tensor


class TemporalDecoder(nn.Module):
    """Stage two: a step reads ``[y; context]`` and asks all encoder steps ``v·tanh(W [d; c'] + U e_t)`` (equations 12 to 15).

    >>> decoder = TemporalDecoder(n_targets=1, known_size=2, size=4, entry_size=1, attention_size=3)
    >>> book, zero = torch.ones(1, 5, 4), torch.zeros(1, 4)
    >>> pages = (decoder.attention.project(book), book)
    >>> state, context, beta = decoder(torch.zeros(1, 16), torch.ones(1, 1), zero, State(zero, zero), pages)
    >>> beta.shape
    torch.Size([1, 5])
    """

    def __init__(self, *, n_targets: int, known_size: int, size: int, entry_size: int, attention_size: int) -> None:
        super().__init__()
        self.entry = nn.Linear(n_targets + size, entry_size)
        self.cell = StepLSTM(context_size=entry_size, known_size=known_size, size=size)
        self.attention = AdditiveAttention(query_size=2 * size, value_size=size, size=attention_size)

    def forward(
        self,
        gates_B4: Tensor,
        told_BM: Tensor,
        context_BD: Tensor,
        state: State,
        pages: tuple[Tensor, Tensor],
        inside_BT: Tensor | None = None,
    ) -> tuple[State, Tensor, Tensor]:
        """State, context and beta [B, T] after one step from the hoisted gates.

        ``pages``: the keys [B, T, A] and the book [B, T, D]; ``told``: the target's last value, [B, M].
        """
        state = self.cell(gates_B4, self.entry(torch.cat([told_BM, context_BD], dim=-1)), state)
        found = self.attention(torch.cat(state, dim=-1)[:, None], *pages, inside_BT)
        return state, found.context_BHD[:, 0], found.weight[:, 0]


class Darnn(nn.Module):
    """Input attention in the encoder, temporal attention in the decoder; see ``DarnnConfig``."""

    weighed_F: Tensor

    def __init__(self, config: DarnnConfig, shape: ModelShape) -> None:
        super().__init__()
        if config.protocol == "nowcast" and shape.n_known == 0:
            raise UsageError(
                "nothing_to_nowcast",
                expected="inputs that are known at the steps to tell, in futr_exog_list",
                got="none",
                where="darnn, protocol 'nowcast'",
                fix="name them, or use protocol='forecast'",
            )
        self.config, self.shape = config, shape
        weighed = torch.ones(shape.n_variables, dtype=torch.bool)
        if config.drivers == "inputs" and shape.n_variables > shape.n_targets:
            weighed[: shape.n_targets] = False
        self.register_buffer("weighed_F", weighed, persistent=False)
        self.encoder = InputEncoder(
            n_features=shape.n_variables,
            n_side=shape.n_encoder - shape.n_variables,
            size=config.hidden_size,
            input_size=shape.input_size,
            attention_size=config.attention_size,
            recurrent=config.form == "recurrent",
            series_encoder=config.series_encoder,
        )
        self.decoder = TemporalDecoder(
            n_targets=shape.n_targets,
            known_size=shape.n_decoder + 1,
            size=config.hidden_size,
            entry_size=config.entry_size,
            attention_size=config.attention_size,
        )
        head = QuantileHead(size=config.hidden_size, n_targets=shape.n_targets, quantiles=shape.quantiles)
        self.readout = DarnnReadout(
            size=config.hidden_size, head=head, dropout=config.dropout, known_size=shape.n_decoder
        )

    def forward(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """Stage one writes the book; the decoder reads the target's past with it, then goes on for H steps."""
        rows, shift = self._rows(batch)
        book = self.encoder(*rows)
        told, gates_BL4, inside = self._decoder_inputs(batch, shift)
        pages = (self.decoder.attention.project(book.output_BTD), book.output_BTD)
        context_BD = torch.zeros_like(book.output_BTD[:, 0])
        state, padded = State(context_BD, context_BD), not bool(rows.inside_BT.all())
        open_BT = rows.inside_BT if padded else None  # without padding no step needs a mask
        states, contexts, betas, quantiles = [], [], [], []
        first, feeds_back, told_BM = len(told) - 1, self.config.mode != "direct", told[0]
        for step, gates_B4 in enumerate(gates_BL4.unbind(1)):
            told_BM = told[step] if step <= first else told_BM if feeds_back else torch.zeros_like(told_BM)
            new, found_BD, beta_BT = self.decoder(gates_B4, told_BM, context_BD, state, pages, open_BT)
            if padded and step <= first:  # padding before the series leaves state and context at zero
                here_B1 = inside[step]
                new, found_BD, beta_BT = held(new, state, here_B1), found_BD * here_B1, beta_BT * here_B1
            state, context_BD = new, found_BD
            betas.append(beta_BT)
            if step >= first:
                states.append(state.hidden_BD)
                contexts.append(context_BD)
            if step >= first and feeds_back:
                known_B1K = batch.decoder_BHK[:, step - first, None]
                quantiles.append(self.readout(state.hidden_BD[:, None], context_BD[:, None], known_B1K))
                own_BM = quantiles[-1][:, 0, :, self.shape.median]
                told_BM = next_feedback(own_BM, batch, step - first, teaching)
        if not feeds_back:
            quantiles = [self.readout(torch.stack(states, 1), torch.stack(contexts, 1), batch.decoder_BHK)]
        stages = Stages(book.alpha_BTF, torch.stack(betas, 1))
        weight_BHTF = stages.beta_BLT[:, first:, :, None] * book.alpha_BTF[:, None]
        return Output(torch.cat(quantiles, 1), AttentionMap("two_stage", weight_BHTF, stages, shift))

    def _rows(self, batch: Batch) -> tuple[_Rows, int]:
        """The rows stage one reads: the past, or in a nowcast ``input_size`` rows up to the last step to tell."""
        n_variables, n_known = self.shape.n_variables, self.shape.n_known
        series_BTF, side_BTS = batch.encoder_BTX[..., :n_variables], batch.encoder_BTX[..., n_variables:]
        inside_BT, mask_BTF = batch.inside_BT, batch.observed_BTF & self.weighed_F
        if self.config.protocol == "forecast":
            return _Rows(series_BTF, side_BTS, inside_BT, mask_BTF), 0
        known_BHF, calendar_BHC = batch.decoder_BHK[..., :n_known], batch.decoder_BHK[..., n_known:-1]
        blank = (n_variables - n_known, 0)
        ahead_BHF = nn.functional.pad(known_BHF, blank)
        seen_BHF = nn.functional.pad(batch.decoder_observed_BHK[..., :n_known], blank)
        parts = (
            (series_BTF, ahead_BHF),
            (side_BTS, nn.functional.pad(calendar_BHC, (1, 0))),
            (inside_BT, torch.ones_like(seen_BHF[..., 0])),
            (mask_BTF, seen_BHF & self.weighed_F),
        )
        newest = slice(-self.shape.input_size, None)
        return _Rows(*(torch.cat(pair, dim=1)[:, newest] for pair in parts)), batch.decoder_BHK.shape[1]

    def _decoder_inputs(self, batch: Batch, shift: int) -> tuple[tuple[Tensor, ...], Tensor, tuple[Tensor, ...]]:
        """What the decoder is told of the past, the known inputs' gates of all L steps [B, L, 4D], and where a past is.

        The step told of y at one row reads what is known of the next row, for which it answers.
        """
        n_variables, n_known, T = self.shape.n_variables, self.shape.n_known, batch.encoder_BTX.shape[1]
        H, begin = batch.decoder_BHK.shape[1], 0 if shift == 0 else T - max(self.shape.input_size - shift, 1)
        past_BTX = batch.encoder_BTX
        known_BTK = torch.cat(
            [past_BTX[..., n_variables - n_known : n_variables], past_BTX[..., n_variables + 1 :]], dim=-1
        )
        known_BLK = torch.cat([nn.functional.pad(known_BTK, (0, 1))[:, begin + 1 :], batch.decoder_BHK], dim=1)
        is_told = float(self.config.mode != "direct")
        flag_BT1 = past_BTX[:, begin:, n_variables : n_variables + 1]
        flag_BL1 = torch.cat([flag_BT1, flag_BT1.new_full((len(past_BTX), H - 1, 1), is_told)], dim=1)
        gates_BL4 = self.decoder.cell.hoist(torch.cat([known_BLK, flag_BL1], dim=-1))
        told = past_BTX[:, begin:, : self.shape.n_targets].unbind(1)
        return told, gates_BL4, batch.inside_BT[:, begin:, None].unbind(1)
