"""``darnn``: dual-stage attention, first which inputs, then which times (Qin et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

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
    Stages,
    Teaching,
    check_choice,
    check_share,
    next_feedback,
)
from openbook.nn.attention import AdditiveAttention
from openbook.nn.dual_stage import InputAttention, InputEncoder, SeriesEncoder, cut
from openbook.nn.heads import QuantileHead
from openbook.nn.recurrent import State, StepLSTM
from openbook.ops.additive_attention import hoist
from openbook.ops.recurrence import attending_decoder
from openbook.ops.types import Again, Decoded, DecoderWeights, Pages, Powers, Start
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
    to one input size, or ``conv`` for windows of any length. ``nowhere``: stage one may read less than everything in a
    step; the paper's must read something. Reading all of a step then adds ``reading_cost`` to the training loss, so that an
    input which tells nothing is not read. ``centred_keys``: stage one tells inputs apart by their shapes about the window's
    mean; the paper's by levels too. ``input_dropout``: in training every input is left out of a window with this
    probability. The paper's model has none of these: ``nowhere=False, centred_keys=False, input_dropout=0``. ``segment``:
    so many rows are read as one step, for windows of thousands (two passes, as a forecast, directly). ``mode`` as in
    ``LuongConfig``. ``hidden_size``, ``attention_size`` and ``entry_size`` are widths: of the LSTMs, of what scores are made
    of, and of what the decoder reads a step; ``dropout`` is the share of the readout's inputs a training step leaves out.

    >>> DarnnConfig(form="recurrent", protocol="nowcast").drivers
    'all'
    """

    name: ClassVar[str] = "darnn"
    hidden_size: int = 64
    attention_size: int = 32
    entry_size: int = 8
    form: Form = "two_pass"
    protocol: Protocol = "forecast"
    drivers: Drivers = "all"
    series_encoder: SeriesEncoder = "linear"
    nowhere: bool = True
    reading_cost: float = 0.01
    centred_keys: bool = True
    input_dropout: float = 0.2
    segment: int = 1
    mode: Mode = "direct"
    dropout: float = 0.1

    @property
    def longest(self) -> int:
        """Rows of context to decide for at most: the decoder reads the past step by step."""
        return 96 * self.segment

    def __post_init__(self) -> None:
        check_choice("form", self.form, ("two_pass", "recurrent"))
        check_choice("protocol", self.protocol, ("forecast", "nowcast"))
        check_choice("drivers", self.drivers, ("all", "inputs"))
        check_choice("series_encoder", self.series_encoder, ("linear", "conv"))
        check_choice("mode", self.mode, MODES)
        for name in ("hidden_size", "attention_size", "entry_size", "segment"):
            whole_number(name, getattr(self, name), least=1)
        for name in ("dropout", "input_dropout", "reading_cost"):
            check_share(name, getattr(self, name))
        told = {"form": self.form, "protocol": self.protocol, "mode": self.mode}
        wanted = {"form": "two_pass", "protocol": "forecast", "mode": "direct"}
        if self.segment > 1 and told != wanted:
            raise UsageError(
                "segments_need_two_passes",
                expected="form='two_pass', protocol='forecast' and mode='direct' where steps are read in segments",
                got=", ".join(f"{name}={value!r}" for name, value in told.items() if value != wanted[name]),
                where=f"darnn, segment={self.segment}",
                fix="change it, or use segment=1",
            )


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
    """Stage two: a step reads ``[y; context]``, moves on, and asks all encoder steps ``v·tanh(W [d; c'] + U e_t)`` with the
    state it reached (equations 12 to 15; there the state before asks).

    >>> decoder = TemporalDecoder(n_targets=1, known_size=2, size=4, entry_size=1, attention_size=3)
    >>> book = torch.ones(1, 5, 4)
    >>> decoder(torch.zeros(1, 6, 2), torch.ones(1, 6, 1), decoder.open(book)).weight_BLT.shape
    torch.Size([1, 6, 5])
    """

    def __init__(self, *, n_targets: int, known_size: int, size: int, entry_size: int, attention_size: int) -> None:
        super().__init__()
        self.n_targets = n_targets
        self.entry = nn.Linear(n_targets + size, entry_size)
        self.cell = StepLSTM(context_size=entry_size, known_size=known_size, size=size)
        self.attention = AdditiveAttention(query_size=2 * size, value_size=size, size=attention_size)

    def open(self, book_BTD: Tensor, mask_BT: Tensor | None = None) -> Pages:
        """The book as the steps ask it, keys projected once."""
        return Pages(self.attention.project(book_BTD), book_BTD, mask_BT)

    def forward(
        self,
        known_BLK: Tensor,
        told_BLM: Tensor,
        pages: Pages,
        inside_BL: Tensor | None = None,
        start: Start | None = None,
    ) -> Decoded:
        """L steps from what is known of each and what it is told of the target, from zero or from ``start``."""
        ask, cell = self.attention, self.cell
        told_EM, found_ED = self.entry.weight[:, : self.n_targets], self.entry.weight[:, self.n_targets :]

        def gates() -> Tensor:
            told_BLE = F.linear(told_BLM, told_EM, self.entry.bias)
            return cell.hoist(known_BLK, told_BLE)

        weights = DecoderWeights(
            cell.recurrent.weight, cell.context.weight, found_ED, ask.query.weight, ask.query.bias, ask.score.weight[0]
        )
        zero_BD = torch.zeros_like(pages.value_BTD[:, 0])
        start = Start(zero_BD, zero_BD, zero_BD) if start is None else start
        book_BTD = pages.value_BTD  # not the pages: their keys are what may be forgotten
        again = Again(gates, lambda: ask.project(book_BTD))
        return attending_decoder(gates(), start, pages, weights, inside_BL, again=again)

    def step(
        self, gates_B4: Tensor, told_BM: Tensor, start: Start, pages: Pages, powers: Powers | None
    ) -> tuple[Start, Tensor]:
        """One step, for a caller who knows no more than the next: where it leads, and beta [B, T]."""
        entry_BE = self.entry(torch.cat([told_BM, start.context_BD], dim=-1))
        state = self.cell(gates_B4, entry_BE, State(start.hidden_BD, start.cell_BD))
        query_B1D = torch.cat(state, dim=-1)[:, None]
        found = self.attention(query_B1D, pages.key_BTA, pages.value_BTD, pages.mask_BT, None, powers)
        return Start(state.hidden_BD, state.cell_BD, found.context_BHD[:, 0]), found.weight[:, 0]


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
        weigh = InputAttention(
            state_size=2 * config.hidden_size,
            input_size=shape.input_size,
            size=config.attention_size,
            n_features=shape.n_variables,
            series_encoder=config.series_encoder,
            nowhere=config.nowhere,
            centred=config.centred_keys,
        )
        self.encoder = InputEncoder(
            weigh,
            n_features=shape.n_variables,
            n_side=shape.n_encoder - shape.n_variables,
            size=config.hidden_size,
            recurrent=config.form == "recurrent",
            segment=config.segment,
            dropout=config.input_dropout,
        )
        self.decoder = TemporalDecoder(
            n_targets=shape.n_targets * config.segment,
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
        past_BPM, known_BLK, inside_BL = self._decoder_inputs(batch, shift)
        padded = not bool(rows.inside_BT.all())  # without padding no step needs a mask
        inside_BS = cut(rows.inside_BT, self.config.segment).any(2)
        pages = self.decoder.open(book.output_BTD, inside_BS if padded else None)
        later_BHM = self._later(batch, teaching)
        if later_BHM is None:
            quantile_BHMQ, beta_BLT = self._stepwise(
                past_BPM, known_BLK, inside_BL if padded else None, pages, batch, teaching
            )
        else:
            told_BLM = torch.cat([past_BPM, F.pad(later_BHM, (past_BPM.shape[2] - later_BHM.shape[2], 0))], dim=1)
            found = self.decoder(known_BLK, told_BLM, pages, inside_BL if padded else None)
            last = slice(past_BPM.shape[1] - 1, None)
            quantile_BHMQ = self.readout(found.hidden_BLD[:, last], found.context_BLD[:, last], batch.decoder_BHK)
            beta_BLT = found.weight_BLT
        stages, weight_BHTF = self._attention(book.alpha_BTF, beta_BLT, past_BPM.shape[1] - 1, rows)
        penalty = self.config.reading_cost * book.read_BT.float().mean() if self.config.nowhere else None
        return Output(quantile_BHMQ, AttentionMap("two_stage", weight_BHTF, stages, shift), penalty=penalty)

    def _attention(self, alpha_BSF: Tensor, beta_BLS: Tensor, first: int, rows: _Rows) -> tuple[Stages, Tensor]:
        """Both stages and their product by row; what a segment got is shared out among the rows it was read from."""
        weight_BHSF = beta_BLS[:, first:, :, None] * alpha_BSF[:, None]
        size, T = self.config.segment, rows.inside_BT.shape[1]
        if size == 1:
            return Stages(alpha_BSF, beta_BLS), weight_BHSF

        def by_row(value: Tensor, dim: int) -> Tensor:
            return value.repeat_interleave(size, dim).narrow(dim, -T % size, T)

        inside_BT, seen_BTF = rows.inside_BT.float(), rows.mask_BTF.float()
        count_BT = by_row(cut(inside_BT, size).sum(2), 1).clamp(min=1)
        count_BTF = by_row(cut(seen_BTF, size).sum(2), 1).clamp(min=1)
        alpha_BTF = by_row(alpha_BSF, 1) * inside_BT[..., None]
        beta_BLT = by_row(beta_BLS, 2) * (inside_BT / count_BT)[:, None]
        return Stages(alpha_BTF, beta_BLT), by_row(weight_BHSF, 2) * (seen_BTF / count_BTF)[:, None]

    def _later(self, batch: Batch, teaching: Teaching) -> Tensor | None:
        """What the steps after the first ahead are told, [B, H - 1, M], where that is known before; nothing is zeros."""
        if self.config.mode == "direct":
            return torch.zeros_like(batch.target_BHM[:, 1:])
        told = teaching.probability >= 1 and bool(batch.target_observed_BHM.all())
        return batch.target_BHM[:, :-1] if told else None

    def _stepwise(
        self,
        past_BPM: Tensor,
        known_BLK: Tensor,
        inside_BL: Tensor | None,
        pages: Pages,
        batch: Batch,
        teaching: Teaching,
    ) -> tuple[Tensor, Tensor]:
        """Step by step, as every step ahead is told what the one before it forecast."""
        first, powers, told_BM = past_BPM.shape[1] - 1, hoist(pages.key_BTA), past_BPM[:, 0]
        zero_BD = torch.zeros_like(pages.value_BTD[:, 0])
        at, betas, quantiles = Start(zero_BD, zero_BD, zero_BD), [], []
        for step, gates_B4 in enumerate(self.decoder.cell.hoist(known_BLK).unbind(1)):
            told_BM = past_BPM[:, step] if step <= first else told_BM
            new, beta_BT = self.decoder.step(gates_B4, told_BM, at, pages, powers)
            if inside_BL is not None and step <= first:  # padding before the series leaves state and context at zero
                here_B1 = inside_BL[:, step, None]
                new, beta_BT = (
                    Start(*(torch.where(here_B1, *pair) for pair in zip(new, at, strict=True))),
                    beta_BT * here_B1,
                )
            at = new
            betas.append(beta_BT)
            if step >= first:
                known_B1K = batch.decoder_BHK[:, step - first, None]
                quantiles.append(self.readout(at.hidden_BD[:, None], at.context_BD[:, None], known_B1K))
                told_BM = next_feedback(quantiles[-1][:, 0, :, self.shape.median], batch, step - first, teaching)
        return torch.cat(quantiles, 1), torch.stack(betas, 1)

    def _rows(self, batch: Batch) -> tuple[_Rows, int]:
        """The rows stage one reads: the past, or in a nowcast ``input_size`` rows up to the last step to tell."""
        n_variables, n_known = self.shape.n_variables, self.shape.n_known
        series_BTF, side_BTS = batch.encoder_BTX[..., :n_variables], batch.encoder_BTX[..., n_variables:]
        series_BTF = series_BTF.masked_fill(~self.weighed_F, 0.0)  # nor do the states that ask read what is not weighed
        inside_BT, mask_BTF = batch.inside_BT, batch.observed_BTF & self.weighed_F
        if self.config.protocol == "forecast":
            return _Rows(series_BTF, side_BTS, inside_BT, mask_BTF), 0
        known_BHF, calendar_BHC = batch.decoder_BHK[..., :n_known], batch.decoder_BHK[..., n_known:-1]
        blank = (n_variables - n_known, 0)
        ahead_BHF = F.pad(known_BHF, blank)
        seen_BHF = F.pad(batch.decoder_observed_BHK[..., :n_known], blank)
        parts = (
            (series_BTF, ahead_BHF),
            (side_BTS, F.pad(calendar_BHC, (1, 0))),
            (inside_BT, torch.ones_like(seen_BHF[..., 0])),
            (mask_BTF, seen_BHF & self.weighed_F),
        )
        newest = slice(-self.shape.input_size, None)
        return _Rows(*(torch.cat(pair, dim=1)[:, newest] for pair in parts)), batch.decoder_BHK.shape[1]

    def _decoder_inputs(self, batch: Batch, shift: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder is told of the past [B, P, M], what is known of all L steps [B, L, K], and which exist [B, L].

        The step told of y at one row reads what is known of the next row, for which it answers.
        """
        n_variables, n_known, T = self.shape.n_variables, self.shape.n_known, batch.encoder_BTX.shape[1]
        H, begin = batch.decoder_BHK.shape[1], 0 if shift == 0 else T - max(self.shape.input_size - shift, 1)
        past_BTX = batch.encoder_BTX
        known_BTK = torch.cat(
            [past_BTX[..., n_variables - n_known : n_variables], past_BTX[..., n_variables + 1 :]], dim=-1
        )
        past_BPXK, size = cut(F.pad(known_BTK, (0, 1))[:, begin:], self.config.segment), self.config.segment
        known_BLK = torch.cat([past_BPXK.mean(2)[:, 1:], batch.decoder_BHK], dim=1)
        is_told = float(self.config.mode != "direct")
        flag_BP1 = cut(past_BTX[:, begin:, n_variables : n_variables + 1], size).mean(2)
        flag_BL1 = F.pad(flag_BP1, (0, 0, 0, H - 1), value=is_told)
        inside_BL = F.pad(cut(batch.inside_BT[:, begin:], size).any(2), (0, H - 1), value=True)
        return (
            cut(past_BTX[:, begin:, : self.shape.n_targets], size).flatten(2),
            torch.cat([known_BLK, flag_BL1], dim=-1),
            inside_BL,
        )
