"""``day_to_day``: the coming day rebuilt from past days, with attention over which of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.errors import UsageError, whole_number
from openbook.models.base import (
    FREE,
    AttentionMap,
    ModelShape,
    Output,
    Teaching,
    check_choice,
    check_share,
)
from openbook.nn.attention import Attention
from openbook.nn.heads import LEAK, QuantileHead
from openbook.nn.recurrent import FusedLSTM, PaddedLSTM
from openbook.ops.softmax import masked_softmax
from openbook.windows.batch import Batch

_START = 3.0  # how much a head's own gap is liked before anything was learned: most of its weight
_GAIN = 10.0  # a single number per gap then learns as fast as the layers around it


@dataclass(frozen=True)
class DayToDayConfig:
    """An LSTM auto-encoder that rebuilds a day from days before it, as in the founding study's production.

    ``gaps``: how many periods back each past day lies (a period is the fewest whole seasons that hold the horizon). One
    encoder, shared by all gaps, squeezes each day through a bottleneck; hour by hour ``heads`` weigh the days, each in its
    own way (never more heads than gaps), and a decoder rebuilds the day from what they find: codes, and with ``same_hour``
    also what each day saw at that hour. Without it and with one gap it is the study's model: encoder → bottleneck →
    repeated → decoder → dense. ``mode``: ``forecast`` the coming day, or ``reconstruct`` a day from its own shown part
    (gap 0) and the days before it, for anomaly scores. ``hidden_size``, ``bottleneck`` and ``attention_size`` are the
    widths of the LSTMs, of a day's code and of the scores that weigh days.

    >>> DayToDayConfig(gaps=(7,)).reach
    7
    """

    name: ClassVar[str] = "day_to_day"
    hidden_size: int = 96
    bottleneck: int = 32
    attention_size: int = 32
    gaps: tuple[int, ...] = (1, 7, 28, 63, 112)
    mode: Literal["forecast", "reconstruct"] = "forecast"
    same_hour: bool = True
    heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("forecast", "reconstruct"))
        for name in ("hidden_size", "bottleneck", "attention_size", "heads"):
            whole_number(name, getattr(self, name), least=1)
        check_share("dropout", self.dropout)
        listed = self.gaps if isinstance(self.gaps, tuple | list) else ()
        plain = all(isinstance(gap, int) and not isinstance(gap, bool) and gap > 0 for gap in listed)
        if not plain or not listed or len(set(listed)) < len(listed):
            raise UsageError(
                "bad_gaps",
                expected="different whole numbers of periods, each at least 1",
                got=repr(self.gaps),
                where="gaps",
                fix="e.g. gaps=(1, 7, 28)",
            )

    @property
    def reach(self) -> int:
        """Periods of context that the farthest gap needs."""
        return max(self.gaps)


class GapAttention(nn.Module):
    """Several additive look-ups side by side, so that days can be told apart instead of blurred into one mixture.

    Every head has a liking for every gap and starts on one of its own. Contexts are joined, weights are the heads' mean.

    >>> layer = GapAttention(heads=2, n_gaps=3, query_size=4, page_size=5, size=6)
    >>> found = layer(torch.ones(1, 7, 4), torch.ones(1, 7, 3, 5), torch.ones(1, 7, 3, dtype=torch.bool))
    >>> found.context_BHD.shape, found.weight.shape
    (torch.Size([1, 7, 10]), torch.Size([1, 7, 3]))
    """

    def __init__(self, *, heads: int, n_gaps: int, query_size: int, page_size: int, size: int) -> None:
        super().__init__()
        self.key = nn.Linear(page_size, heads * size)
        self.query = nn.Linear(query_size, heads * size, bias=False)
        self.score_NA = nn.Parameter((2 * torch.rand(heads, size) - 1) / size**0.5)
        own_NG = torch.arange(n_gaps) == torch.arange(heads)[:, None] % n_gaps
        self.liking_NG = nn.Parameter(_START * own_NG / _GAIN)

    def forward(self, query_BHD: Tensor, page_BHGC: Tensor, seen_BHG: Tensor) -> Attention:
        """Queries [B, H, D], each with pages [B, H, G, C] of its own, of which only the ``seen`` are weighed."""
        width = self.score_NA.shape
        key_BHGNA = self.key(page_BHGC).unflatten(-1, width)
        heard_BHGNA = (key_BHGNA + self.query(query_BHD).unflatten(-1, width)[:, :, None]).tanh_()
        score_BHGN = torch.einsum("bhgna,na->bhgn", heard_BHGNA, self.score_NA)
        score_BHNG = score_BHGN.transpose(2, 3) + _GAIN * self.liking_NG
        weight_BHNG = masked_softmax(score_BHNG, seen_BHG[:, :, None].expand_as(score_BHNG))
        context_BHNC = weight_BHNG @ page_BHGC
        return Attention(context_BHNC.flatten(2), weight_BHNG.mean(2))


class DayToDay(nn.Module):
    """Days encoded and squeezed one by one, weighed hour by hour, and decoded as one; see ``DayToDayConfig``."""

    def __init__(self, config: DayToDayConfig, shape: ModelShape) -> None:
        super().__init__()
        size, self.config, self.shape = config.hidden_size, config, shape
        self.gaps = ((0,) if config.mode == "reconstruct" else ()) + config.gaps
        self.encoder = PaddedLSTM(input_size=shape.n_encoder, size=size)
        self.bottleneck = nn.Linear(size, config.bottleneck)
        self.gap_name_GC = nn.Parameter(torch.zeros(len(self.gaps), config.bottleneck))
        page_size = config.bottleneck + (shape.n_encoder if config.same_hour else 0)
        heads = min(config.heads, len(self.gaps))  # one day needs no second look
        self.attention = GapAttention(
            heads=heads,
            n_gaps=len(self.gaps),
            query_size=page_size + shape.n_decoder,
            page_size=page_size,
            size=config.attention_size,
        )
        self.decoder = FusedLSTM(input_size=heads * page_size + shape.n_decoder, size=size)
        dict(self.decoder.named_parameters())["bias_ih_l0"].data[size : 2 * size] = 1.0
        self.hidden = nn.Linear(size, size)
        self.dropout = nn.Dropout(config.dropout)
        self.head = QuantileHead(size=size, n_targets=shape.n_targets, quantiles=shape.quantiles)

    def forward(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """All gaps' days in one batch through the encoder, one look-up per step, then the decoder over the steps."""
        H = batch.decoder_BHK.shape[1]
        day_BGHX, seen_BG = self._days(batch, teaching)
        page_BHGC, seen_BHG = self._pages(day_BGHX), seen_BG[:, None].expand(-1, H, -1)
        count_BH1 = seen_BHG.sum(2, keepdim=True).clamp(min=1)
        usual_BHC = (page_BHGC * seen_BHG[..., None]).sum(2) / count_BH1
        query_BHX = torch.cat([usual_BHC, batch.decoder_BHK], dim=-1)
        context_BHC, weight_BHG = self.attention(query_BHX, page_BHGC, seen_BHG)
        state_BHD = self.decoder(torch.cat([context_BHC, batch.decoder_BHK], dim=-1)).output_BTD
        feature_BHD = F.leaky_relu(self.hidden(state_BHD), LEAK)
        where = AttentionMap("gaps", weight_BHG[..., None], row_HT=self._rows(H, state_BHD.device))
        return Output(self.head(self.dropout(feature_BHD)), where)

    def _pages(self, day_BGHX: Tensor) -> Tensor:
        """What can be found at every hour of every day, [B, H, G, C]: its code, and what it saw at that hour."""
        B, G, H, _ = day_BGHX.shape
        everywhere = torch.ones(B * G, H, dtype=torch.bool, device=day_BGHX.device)
        last_BGD = self.encoder(day_BGHX.flatten(0, 1), everywhere).state.hidden_BD.view(B, G, -1)
        code_BGC = torch.tanh(self.bottleneck(last_BGD)) + self.gap_name_GC
        repeated_BHGC = code_BGC[:, None].expand(-1, H, -1, -1)
        if not self.config.same_hour:
            return repeated_BHGC
        return torch.cat([repeated_BHGC, day_BGHX.transpose(1, 2)], dim=-1)

    def _rows(self, H: int, device: torch.device) -> Tensor:
        """Row of each gap's hour relative to the first step ahead, [H, G]."""
        back_G = torch.tensor(self.gaps, device=device) * self.shape.period
        return torch.arange(H, device=device)[:, None] - back_G

    def _days(self, batch: Batch, teaching: Teaching) -> tuple[Tensor, Tensor]:
        """The days at all gaps [B, G, H, X], and which of them [B, G] lie wholly in the series with some target observed."""
        T, H, M = batch.encoder_BTX.shape[1], batch.decoder_BHK.shape[1], self.shape.n_targets
        far = max(0, self.config.reach * self.shape.period - T)
        past_BTX = F.pad(batch.encoder_BTX, (0, 0, far, 0))
        seen_BT = F.pad(batch.observed_BTF[..., :M].any(-1), (far, 0))
        inside_BT = F.pad(batch.inside_BT, (far, 0))
        days, seen = [], []
        for gap in self.gaps:
            if gap == 0:
                day_BHX, shown_BH = self._own_day(batch, teaching)
                days.append(day_BHX)
                seen.append(shown_BH.any(1))
            else:
                begin = far + T - gap * self.shape.period
                days.append(past_BTX[:, begin : begin + H])
                seen.append(inside_BT[:, begin] & seen_BT[:, begin : begin + H].any(1))
        return torch.stack(days, 1), torch.stack(seen, 1)

    def _own_day(self, batch: Batch, teaching: Teaching) -> tuple[Tensor, Tensor]:
        """The day itself as an encoder reads days, hidden where it is not shown; and where it is shown [B, H]."""
        n_variables, n_known, M = self.shape.n_variables, self.shape.n_known, self.shape.n_targets
        known_BHF, calendar_BHC = batch.decoder_BHK[..., :n_known], batch.decoder_BHK[..., n_known:-1]
        shown_BH = _shown(batch, teaching) & batch.target_observed_BHM.any(-1)
        target_BHM = batch.target_BHM.masked_fill(~(shown_BH[..., None] & batch.target_observed_BHM), 0.0)
        unknown_BHF = known_BHF.new_zeros(*known_BHF.shape[:2], n_variables - n_known - M)
        flag_BH1 = shown_BH[..., None].to(known_BHF.dtype)
        return torch.cat([target_BHM, unknown_BHF, known_BHF, flag_BH1, calendar_BHC], dim=-1), shown_BH


def _shown(batch: Batch, teaching: Teaching) -> Tensor:
    """Which steps of its own day a model that rebuilds it may read, [B, H]: as told, or drawn with a stretch left out."""
    B, H, _ = batch.target_BHM.shape
    if teaching.shown_BH is not None:
        return teaching.shown_BH
    if teaching.probability <= 0:
        return torch.zeros(B, H, dtype=torch.bool, device=batch.target_BHM.device)
    draw_B3 = torch.rand(B, 3, generator=teaching.generator)
    length_B1 = 1 + (draw_B3[:, :1] * max(1, H // 2)).floor()
    begin_B1 = (draw_B3[:, 1:2] * (H + length_B1 - 1)).floor() - length_B1 + 1
    step_H = torch.arange(H)
    hidden_BH = (step_H >= begin_B1) & (step_H < begin_B1 + length_B1)
    wholly_B1 = draw_B3[:, 2:] >= teaching.probability
    return (~(hidden_BH | wholly_B1)).to(batch.target_BHM.device)
