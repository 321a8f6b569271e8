"""The long book: past days that resembled the target step, found by what is known of both (learned analogues)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openbook.nn.recall import recalled
from openbook.windows.batch import Batch

_GAIN = 10.0  # one number per day then learns as fast as the layers around it


class Days(NamedTuple):
    """What the long book tells every step: scores [B, H, J] (−inf where a day can not be read), what happened at that hour of
    each day relative to the level before it [B, H, J], and today's level [B], all in scaled units."""

    score_BHJ: Tensor
    value_BHJ: Tensor
    level_B: Tensor


class LongBook(nn.Module):
    """J past days (seasons), each asked at the hour of the step: a day scores high where its known facts were alike.

    ``score = −|W (x_now − x_then)|² + liking[days ago]``: facts x are the calendar and the known inputs of the step and
    their mean over its day, seen through one small map W (a learned kernel of analogue forecasting). The value is the
    target at that hour relative to the mean of the day that lay as far before it as today's last day lies before the step.
    Of a day that was not observed as a whole, the mean is over what is recalled too, from days ``recall`` steps before (1: the
    last value): half a day's own mean is that of its hours.

    >>> book = LongBook(days=3, season=2, n_known=0, n_calendar=0, size=4)
    >>> book.liking_J.shape
    torch.Size([2])
    """

    def __init__(
        self, *, days: int, season: int, n_known: int, n_calendar: int, size: int, recall: int | None = None
    ) -> None:
        super().__init__()
        self.days, self.season, self.n_known, self.n_calendar = days, season, n_known, n_calendar
        self.recall = season if recall is None else recall
        facts = 2 * n_known + n_calendar
        self.facts = nn.Linear(facts, size, bias=False) if facts else None
        # The oldest day has no day before it to measure its level by.
        self.liking_J = nn.Parameter(torch.zeros(days - 1))

    def forward(self, batch: Batch, n_variables: int, target_BT: Tensor) -> Days:
        """Reads the last J seasons of the context; ``target_BT``: the scaled target, its cycle taken off where there is one."""
        J, P, H = self.days, self.season, batch.decoder_BHK.shape[1]
        short = max(0, J * P - target_BT.shape[1])
        cut = slice(-J * P, None)
        seen_BT = batch.observed_BTF[..., 0]
        told_BT = seen_BT.cummax(1).values
        seen_BJP, told_BJP = (F.pad(each_BT, (short, 0))[:, cut].reshape(-1, J, P) for each_BT in (seen_BT, told_BT))
        filled_BT = recalled(target_BT.masked_fill(~seen_BT, 0.0), seen_BT, self.recall).masked_fill(~told_BT, 0.0)
        value_BJP = F.pad(filled_BT, (short, 0))[:, cut].reshape(-1, J, P)
        known_BJ = seen_BJP.any(-1)
        level_BJ = value_BJP.sum(-1) / told_BJP.sum(-1).clamp(min=1)
        blocks = -(-H // P)
        # Of the last day ahead there may be a part: its mean is compared with that of the same steps before.
        last = H - (blocks - 1) * P
        query_BMPA = self._map(*self._ahead(batch, blocks * P - H), steps=P)
        past = [F.pad(part, (0, 0, short, 0))[:, cut] for part in self._past(batch, n_variables)]
        key_BJPA = self._map(*past, steps=P)
        part_BJPA = key_BJPA if last == P else self._map(*past, steps=last)
        scores, values = [], []
        for ahead in range(blocks):
            # Day j and the last day before the origin, seen from ``ahead`` days later: ahead + 1 days before j.
            known = max(0, J - (ahead + 1))  # of a far step no day may have one so long before it
            level_BJ1 = F.pad(level_BJ[:, :known], (J - known, 0))[..., None]
            known_BJ1 = F.pad(known_BJ[:, :known], (J - known, 0))[..., None]
            values.append((value_BJP - level_BJ1)[:, 1:])
            open_BJP = (seen_BJP & known_BJ1)[:, 1:]
            score_BJP = (_GAIN * self.liking_J)[None, :, None].expand(open_BJP.shape)
            then_BJPA = key_BJPA if ahead < blocks - 1 else part_BJPA
            if query_BMPA is not None and then_BJPA is not None:
                score_BJP = score_BJP - (query_BMPA[:, ahead, None] - then_BJPA[:, 1:]).square().sum(-1)
            scores.append(score_BJP.masked_fill(~open_BJP, -torch.inf))
        score_BJH, value_BJH = (torch.cat(parts, dim=2)[..., :H] for parts in (scores, values))
        return Days(score_BJH.transpose(1, 2), value_BJH.transpose(1, 2), level_BJ[:, -1])

    def _past(self, batch: Batch, n_variables: int) -> tuple[Tensor, Tensor]:
        """Known inputs and calendar of the context, [B, T, K], and which known inputs were observed."""
        known = slice(n_variables - self.n_known, n_variables)
        calendar = batch.encoder_BTX[..., batch.encoder_BTX.shape[-1] - self.n_calendar :]
        return torch.cat([batch.encoder_BTX[..., known], calendar], dim=-1), batch.observed_BTF[..., known]

    def _ahead(self, batch: Batch, beyond: int) -> tuple[Tensor, Tensor]:
        """Likewise of the horizon, and of ``beyond`` steps after it, of which nothing is known."""
        facts = torch.cat([batch.decoder_BHK[..., : self.n_known], self._calendar(batch.decoder_BHK)], dim=-1)
        observed = batch.decoder_observed_BHK[..., : self.n_known]
        return F.pad(facts, (0, 0, 0, beyond)), F.pad(observed, (0, 0, 0, beyond))

    def _calendar(self, decoder_BHK: Tensor) -> Tensor:
        """The calendar stands before the position in the horizon, which is last."""
        end = decoder_BHK.shape[-1] - 1
        return decoder_BHK[..., end - self.n_calendar : end]

    def _map(self, facts_BTK: Tensor, observed_BTK: Tensor, *, steps: int) -> Tensor | None:
        """Facts by day [B, J, P, A]: of the step, and known inputs' mean over what was observed of the first ``steps`` of its
        day."""
        if self.facts is None:
            return None
        B, J, P = len(facts_BTK), facts_BTK.shape[1] // self.season, self.season
        day_BJPK = facts_BTK.reshape(B, J, P, facts_BTK.shape[2])
        total_BJ1K = day_BJPK[:, :, :steps, : self.n_known].sum(2, keepdim=True)
        count_BJ1K = observed_BTK.reshape(B, J, P, self.n_known)[:, :, :steps].sum(2, keepdim=True)
        map_AX, own = self.facts.weight / math.sqrt(2), day_BJPK.shape[3]
        # Apart, so that the mean of a day is mapped once, not at each of its steps.
        return F.linear(day_BJPK, map_AX[:, :own]) + F.linear(total_BJ1K / count_BJ1K.clamp(min=1), map_AX[:, own:])
