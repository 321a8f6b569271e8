"""``openbook``: a linear floor that is never lost, few recurrent steps, and one joint look-up in window and long book, which
move the floor along what is known of each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.errors import whole_number
from openbook.models.base import (
    FREE,
    AttentionMap,
    ModelShape,
    Output,
    Teaching,
    check_amount,
    check_choice,
    check_share,
    is_read,
)
from openbook.models.differences import FromNewest
from openbook.nn.attention import LagBias
from openbook.nn.heads import QuantileHead
from openbook.nn.jitter import year_jitter
from openbook.nn.long_book import Days, LongBook
from openbook.nn.recurrent import FusedLSTM, State
from openbook.nn.seasonal_lags import periods_of, seasonal_lags
from openbook.nn.segments import SegmentEncoder
from openbook.nn.skip import LinearSkip, SkipShape, skip_input, skip_shape
from openbook.windows.batch import Batch

_FACTS = 16  # width of the map through which the long book compares days


@dataclass(frozen=True)
class OpenBookConfig:
    """The default model; what is ``None`` is decided on validation windows of the training part, but for ``cycle``: off.

    ``window``: steps the recurrence reads. ``skip_window``: steps the skip path reads, the mean of maps of several windows
    up to it, no fewer than ``window`` (open in a decided config: ``window``). ``segment``: steps read at once.
    ``attention``: look up the window's segments. ``mixing``: whether segments of all variables may be looked up, or the
    target's own alone. ``book``: seasons of the long book, 0 for none. ``cycle``: a learned cycle of the calendar is taken
    off and added back. ``skip``: the linear floor inside the model. ``refit``: after validation, choice and calibration
    training goes on from the best weights with the held-out tail. ``n_models``: as many models from different seeds,
    averaged; left open, as many as the time allows, three at most. ``differences``: each of them stands beside another that
    reads the same windows scaled as ``difference``. ``year_jitter``: where the calendar tells the day of the year, days of
    normal noise on it in training, 0 for exact dates. ``hidden_size``: width of LSTM and look-ups. ``dropout``: share of
    what is read and told on that a training step leaves out.

    >>> OpenBookConfig(book=28, n_models=1).n_models
    1
    """

    name: ClassVar[str] = "openbook"
    hidden_size: int = 64
    window: int | None = None
    skip_window: int | None = None
    segment: int | None = None
    skip: bool = True
    attention: bool = True
    mixing: bool | None = None
    book: int | None = None
    cycle: bool | None = None
    refit: bool = True
    n_models: int | None = None
    dropout: float = 0.1
    differences: bool | None = None
    year_jitter: float | None = None

    def __post_init__(self) -> None:
        sizes = (("hidden_size", 1), ("window", 1), ("skip_window", 1), ("segment", 1), ("book", 0), ("n_models", 1))
        for name, least in sizes:
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), least=least)
        for name in ("skip", "attention", "refit"):
            check_choice(name, getattr(self, name), (True, False))
        for name in ("mixing", "cycle", "differences"):
            check_choice(name, getattr(self, name), (True, False, None))
        check_share("dropout", self.dropout)
        if self.year_jitter is not None:
            check_amount("year_jitter", self.year_jitter)


class Sizes(NamedTuple):
    """The model's own reading of its shape: moving variables, known ones among them, static and calendar columns."""

    n_variables: int
    n_known: int
    n_static: int
    n_calendar: int


def sizes_of(shape: ModelShape) -> Sizes:
    """Static inputs are read once, not looked up; the calendar follows the variables and the flag.

    >>> sizes_of(ModelShape(n_variables=3, n_encoder=6, n_decoder=4, input_size=9, h=4, n_known=1)).n_calendar
    2
    """
    n_static = shape.n_static
    n_calendar = shape.n_encoder - shape.n_variables - 1
    return Sizes(shape.n_variables - n_static, shape.n_known - n_static, n_static, n_calendar)


def reach_of(config: OpenBookConfig, season: int) -> int:
    """How many rows of context a decided config reads.

    >>> reach_of(OpenBookConfig(window=96, book=28), season=24)
    696
    """
    assert config.window is not None
    return max(config.window, config.skip_window or 0, (config.book + 1) * season if config.book else 0)


class Look(NamedTuple):
    """What one softmax over segments, days and *nowhere* found.

    ``context_BHD`` of the segments; ``analogue_BH``: the forecast of the looked-up days, today's level included;
    ``cell_BHSF`` and ``day_BHJ``: the weights.
    """

    context_BHD: Tensor
    analogue_BH: Tensor
    cell_BHSF: Tensor
    day_BHJ: Tensor


class JointLook(nn.Module):
    """One softmax over every (segment, variable) cell, every day of the long book, and nowhere.

    A cell's key is ``K e + b_f`` and its score gets a learned liking by distance; days bring their own scores. Nowhere
    starts with half of the weight: a step that needs no look-up has a place to say so.
    """

    def __init__(self, *, size: int, n_variables: int, n_segments: int, with_days: bool) -> None:
        super().__init__()
        self.key = nn.Linear(size, size, bias=False)
        nn.init.zeros_(self.key.weight)  # nothing is preferred before anything was learned
        self.key_name_FD = nn.Parameter(torch.zeros(n_variables, size))
        self.key_days_D = nn.Parameter(torch.zeros(size)) if with_days else None
        self.key_nowhere_D = nn.Parameter(torch.zeros(size))
        self.value = nn.Linear(size, size)
        self.lag_bias = LagBias(max_lag=max(1, n_segments), n_features=n_variables)

    def forward(self, query_BHD: Tensor, book_BSFD: Tensor, open_BSF: Tensor, days: Days | None) -> Look:
        """Queries [B, H, D], the book [B, S, F, D] with its readable cells, and the days of the long book."""
        (B, H, D), (S, n_variables) = query_BHD.shape, open_BSF.shape[1:]
        query_BHD, cell_BCD = query_BHD / math.sqrt(D), book_BSFD.flatten(1, 2)
        few = H < S * n_variables  # maps of D to D are taken to the queries or to the cells, whichever are fewer
        if few:
            score_BHC = torch.bmm(query_BHD @ self.key.weight, cell_BCD.transpose(1, 2))
        else:
            score_BHC = torch.bmm(query_BHD, self.key(cell_BCD).transpose(1, 2))
        name_BH1F = (query_BHD @ self.key_name_FD.T)[:, :, None]
        score_BHSF = score_BHC.view(B, H, S, n_variables) + name_BH1F + self.lag_bias(1, S)
        score_BHC = score_BHSF.masked_fill(~open_BSF[:, None], -torch.inf).flatten(2)
        count_B1 = open_BSF.sum((-1, -2))[:, None].clamp(min=1)
        parts = [score_BHC, (query_BHD @ self.key_nowhere_D + count_B1.to(query_BHD.dtype).log())[..., None]]
        if days is not None and self.key_days_D is not None:
            # Days start with as much weight as all cells together, however many there are.
            open_BH1 = days.score_BHJ.isfinite().sum(-1, keepdim=True).clamp(min=1)
            evenly = count_B1[..., None].to(query_BHD.dtype).log() - open_BH1.to(query_BHD.dtype).log()
            parts.append(days.score_BHJ + evenly + (query_BHD @ self.key_days_D)[..., None])
        weight_BHC = torch.cat(parts, dim=-1).softmax(-1)
        cell_BHC, day_BHJ = weight_BHC[..., : S * n_variables], weight_BHC[..., S * n_variables + 1 :]
        if few:
            found_BHD = F.linear(torch.bmm(cell_BHC, cell_BCD), self.value.weight)
            context_BHD = found_BHD + cell_BHC.sum(-1, keepdim=True) * self.value.bias
        else:
            context_BHD = torch.bmm(cell_BHC, self.value(cell_BCD))
        return Look(context_BHD, _analogue(days, day_BHJ), cell_BHC.view(B, H, S, n_variables), day_BHJ)


def _analogue(days: Days | None, day_BHJ: Tensor) -> Tensor:
    """What the looked-up days say of each step, in scaled units: their weighted mean on today's level."""
    if days is None:
        return day_BHJ.new_zeros(day_BHJ.shape[:2])
    # Normalised among the days, from their scores: weights of days nearly left alone would lose their digits.
    any_BH1 = days.score_BHJ.isfinite().any(-1, keepdim=True)
    share_BHJ = days.score_BHJ.masked_fill(~any_BH1, 0.0).softmax(-1)
    found_BH = (share_BHJ * days.value_BHJ).sum(-1) + days.level_B[:, None]
    return found_BH.masked_fill(~any_BH1[..., 0], 0.0)


class OpenBookNet(nn.Module):
    """One member; see ``OpenBookConfig``. All its open fields must be decided."""

    def __init__(self, config: OpenBookConfig, shape: ModelShape) -> None:
        super().__init__()
        assert config.window is not None
        assert config.segment is not None
        size, self.config, self.shape, self.sizes = config.hidden_size, config, shape, sizes_of(shape)
        self.year = shape.year
        n_variables, n_known, n_static, n_calendar = self.sizes
        self.skip_shape: SkipShape = skip_shape(
            config.skip_window or config.window,
            shape.h,
            n_variables=n_variables,
            n_known=n_known,
            n_fixed=n_static + n_calendar,
            season=shape.recall or shape.season,
        )
        self.window = config.window
        self.skip = LinearSkip(self.skip_shape, shape.n_own) if config.skip else None
        self.n_read = n_variables if config.mixing else 1
        self.encoder = SegmentEncoder(
            segment=config.segment,
            n_variables=self.n_read,
            size=size,
            n_beside=n_variables - 1 + n_calendar,
            dropout=config.dropout,
        )
        n_segments = -(-config.window // config.segment)
        self.places = n_segments + 1 + (config.book + 1 if config.book else 0)
        self.look = JointLook(size=size, n_variables=self.n_read, n_segments=n_segments, with_days=bool(config.book))
        self.long_book = None
        if config.book:
            self.long_book = LongBook(
                days=config.book + 1,
                season=shape.season,
                n_known=n_known,
                n_calendar=n_calendar,
                size=_FACTS,
                recall=shape.recall or None,
            )
        self.cycle = None
        if config.cycle and n_calendar:
            last = nn.Linear(32, 1, bias=False)
            nn.init.zeros_(last.weight)  # before training there is none
            self.cycle = nn.Sequential(nn.Linear(n_calendar, 32), nn.Tanh(), last)
        self.ask = nn.Linear(shape.n_decoder, size)
        # What is known ahead of a step's neighbours matters too: they are read in order, without any output fed back.
        self.ahead = FusedLSTM(input_size=shape.n_decoder, size=size) if n_known else None
        self.step_HD = nn.Parameter(torch.randn(shape.h, size) / size**0.5)
        self.state = nn.Linear(size, size, bias=False)
        self.periods = periods_of(shape.season, reach_of(config, shape.season))
        ways = 1 + len(self.periods) + bool(config.book)
        self.combine = nn.Linear(2 * size + ways + len(self.periods) * n_known + bool(config.book), 2 * size)
        self.hidden = nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(config.dropout)
        self.head = QuantileHead(size=size, n_targets=1, quantiles=shape.quantiles)
        self.trust = nn.Linear(size, ways)
        with torch.no_grad():  # before training the median is the skip path's forecast
            self.head.output.weight[self.head.median].zero_()
            self.head.output.bias.fill_(-1.0)
            self.head.output.bias[self.head.median] = 0.0
            self.trust.weight.zero_()
            self.trust.bias.zero_()

    def forward(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """The skip path, the look-up, and what the look-up adds to the path."""
        if self.training:
            batch = year_jitter(batch, self.year, self.config.year_jitter or 0)
        ahead_BH, past_BT = self._cycles(batch)
        cut = self._without_cycle(batch, past_BT)
        line_BH = self._line(cut)
        window = cut.encoder_BTX[:, -self.window :, : self.n_read]
        observed = cut.observed_BTF[:, -self.window :, : self.n_read]
        book_BSFD = self.encoder(window, observed, self._beside(cut))
        query_BHD = self._query(batch.decoder_BHK, book_BSFD[:, -1, 0])
        days = None
        if self.long_book is not None:
            days = self.long_book(cut, self.sizes.n_variables, cut.encoder_BTX[..., 0])
        open_BSF = self.encoder.open(observed)
        found = self.look(query_BHD, book_BSFD, open_BSF if self.config.attention else open_BSF & False, days)
        way_BHW, beside_BHX = self._ways(cut, line_BH, found if days is not None else None)
        told_BHX = torch.cat([query_BHD, found.context_BHD, way_BHW, beside_BHX], dim=-1)
        quantile_BHMQ = self._read_out(told_BHX, line_BH, way_BHW)
        where = AttentionMap("joint", self._map(found, batch))
        floor_BHM = None if self.training else self.floor(batch)[..., None]
        return Output(quantile_BHMQ + ahead_BH[..., None, None], where, floor_BHM)

    def floor(self, batch: Batch) -> Tensor:
        """The closed-form map alone, [B, H] in scaled units: no cycle, nothing that was trained."""
        if self.skip is None:
            return batch.encoder_BTX.new_zeros(len(batch.encoder_BTX), self.shape.h)
        return self.skip.floor(skip_input(batch, self.skip_shape), batch.own_B)

    def _line(self, batch: Batch) -> Tensor:
        """The skip path as it was trained, [B, H]."""
        if self.skip is None:
            return batch.encoder_BTX.new_zeros(len(batch.encoder_BTX), self.shape.h)
        return self.skip(skip_input(batch, self.skip_shape, learning=self.training), batch.own_B)

    def _beside(self, batch: Batch) -> Tensor:
        """What the target's segments hear beside it, [B, T, E]: all other variables and the calendar."""
        window_BTX = batch.encoder_BTX[:, -self.window :]
        calendar = window_BTX[..., window_BTX.shape[-1] - self.sizes.n_calendar :]
        return torch.cat([window_BTX[..., 1 : self.sizes.n_variables], calendar], dim=-1)

    def _query(self, decoder_BHK: Tensor, last_BD: Tensor) -> Tensor:
        """One question per step from the last state and what is known ahead, [B, H, D]."""
        asked_BHD = self.ask(decoder_BHK) + self.step_HD + self.state(last_BD)[:, None]
        if self.ahead is not None:
            asked_BHD = asked_BHD + self.ahead(decoder_BHK, State(last_BD, torch.zeros_like(last_BD))).output_BTD
        return torch.tanh(asked_BHD)

    def _ways(self, batch: Batch, line_BH: Tensor, found: Look | None) -> tuple[Tensor, Tensor]:
        """Along what the skip path's forecast may be moved, [B, H, W]: its own distance from the window's location, and its
        distances to the seasonal lags and to the days looked up. And what tells how far [B, H, X]: how the known inputs
        of the lags differ from the step's, and the weight of all days together.
        """
        ways, beside = [line_BH[..., None]], []
        if self.periods:
            n_variables, n_known = self.sizes.n_variables, self.sizes.n_known
            lags = seasonal_lags(
                batch, batch.encoder_BTX[..., 0], self.periods, n_variables=n_variables, n_known=n_known
            )
            ways.append((lags.value_BHL - line_BH[..., None]) * lags.seen_BHL)
            beside.append(lags.apart_BHX)
        if found is not None:
            share_BH = found.day_BHJ.sum(-1)
            ways.append(((found.analogue_BH - line_BH) * (share_BH > 0))[..., None])
            beside.append(share_BH[..., None])
        return torch.cat(ways, dim=-1), torch.cat(beside, dim=-1) if beside else line_BH.new_zeros(*line_BH.shape, 0)

    def _read_out(self, told_BHX: Tensor, line_BH: Tensor, way_BHW: Tensor) -> Tensor:
        """Quantiles [B, H, 1, Q]: the skip path, moved along its ways as far as the step trusts each, and freely."""
        feature_BHD = self.dropout(F.gelu(self.hidden(F.gelu(self.combine(told_BHX)))))
        moved_BH = line_BH + (self.trust(feature_BHD) * way_BHW).sum(-1)
        return self.head(feature_BHD) + moved_BH[..., None, None]

    def _cycles(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The learned cycle at the steps ahead [B, H] and in the context [B, T]; zeros without one."""
        B, T, H = len(batch.encoder_BTX), batch.encoder_BTX.shape[1], self.shape.h
        if self.cycle is None:
            zero = batch.encoder_BTX.new_zeros(1)
            return zero.expand(B, H), zero.expand(B, T)
        end = batch.decoder_BHK.shape[-1] - 1
        ahead_BH = self.cycle(batch.decoder_BHK[..., end - self.sizes.n_calendar : end])[..., 0]
        past_BT = self.cycle(batch.encoder_BTX[..., -self.sizes.n_calendar :])[..., 0]
        return ahead_BH, past_BT

    def _without_cycle(self, batch: Batch, past_BT: Tensor) -> Batch:
        """The batch with the cycle taken off its observed targets."""
        if self.cycle is None:
            return batch
        own_BT1 = (batch.encoder_BTX[..., 0] - past_BT * batch.observed_BTF[..., 0])[..., None]
        return batch._replace(encoder_BTX=torch.cat([own_BT1, batch.encoder_BTX[..., 1:]], dim=-1))

    def _map(self, found: Look, batch: Batch) -> Tensor:
        """Weights by row and variable [B, H, T, F]: a segment's weight is shared by its readable rows; as found where nobody
        reads it."""
        B, H, S, n_read = found.cell_BHSF.shape
        if self.training or not is_read():
            return found.cell_BHSF
        segment, T = self.encoder.segment, batch.encoder_BTX.shape[1]
        map_BHTF = found.cell_BHSF.new_zeros(B, H, T, self.shape.n_variables)
        window = min(T, self.window)
        seen_BTF = batch.observed_BTF[:, T - window :, :n_read]
        rows_BRF = F.pad(seen_BTF, (0, 0, S * segment - window, 0)).to(found.cell_BHSF.dtype)
        rows_BSPF = rows_BRF.reshape(B, S, segment, n_read)
        even_BSPF = rows_BSPF / rows_BSPF.sum(2, keepdim=True).clamp(min=1)
        spread_BHRF = (found.cell_BHSF[:, :, :, None] * even_BSPF[:, None]).flatten(2, 3)
        map_BHTF[:, :, T - window :, :n_read] = spread_BHRF[:, :, S * segment - window :]
        if self.long_book is not None:
            self._add_days(map_BHTF, found.day_BHJ)
        return map_BHTF

    def _add_days(self, map_BHTF: Tensor, day_BHJ: Tensor) -> None:
        """A day's weight belongs to its row at the hour of the step."""
        assert self.long_book is not None
        season, T, (_, H, J) = self.long_book.season, map_BHTF.shape[2], day_BHJ.shape
        step_H1 = torch.arange(H, device=day_BHJ.device)[:, None] % season
        row_HJ = T - (J - torch.arange(J, device=day_BHJ.device)) * season + step_H1
        inside_HJ = row_HJ >= 0
        index_BHJ = row_HJ.clamp(min=0)[None].expand_as(day_BHJ)
        map_BHTF[..., 0].scatter_add_(2, index_BHJ, day_BHJ * inside_HJ)


class OpenBook(nn.Module):
    """``n_models`` members side by side, one where that is open; quantiles and weights are their means.

    With ``differences`` as many others follow them, which read the same windows scaled as ``difference``.
    """

    def __init__(self, config: OpenBookConfig, shape: ModelShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        number = config.n_models or 1
        self.members = nn.ModuleList(OpenBookNet(config, shape) for _ in range(number))
        for _ in range(number if config.differences else 0):
            other = OpenBookNet(config, shape)
            self.members.append(FromNewest(other, n_inputs=shape.n_variables - 1, n_known=shape.n_known))

    def forward(self, batch: Batch, teaching: Teaching = FREE) -> Output:
        """The members' mean forecast; the mean of ordered quantiles is ordered."""
        outputs = [member(batch, teaching) for member in self.members]
        if len(outputs) == 1:
            return outputs[0]
        quantile = torch.stack([output.quantile_BHMQ for output in outputs]).mean(0)
        weight = torch.stack([output.attention.weight_BHTF for output in outputs]).mean(0)
        floors = [output.skip_BHM for output in outputs if output.skip_BHM is not None]
        return Output(quantile, AttentionMap("joint", weight), torch.stack(floors).mean(0) if floors else None)
