"""Noise on the day of the year: by the calendar's own columns, whole windows alike, in training alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.test_laws import SHAPE, B, make_batch

from openbook.data.calendar import calendar_columns
from openbook.models.openbook import OpenBookConfig, OpenBookNet
from openbook.nn.jitter import turned, year_jitter

NAMES = ("week_sin_1", "year_sin_1", "year_cos_1", "year_sin_2", "year_cos_2", "hour_cos_1")
YEARLY = replace(SHAPE, year_at=0, n_year=2)  # both calendar columns of the batches


def angle(part: torch.Tensor, at: int) -> torch.Tensor:
    return torch.atan2(part[..., at], part[..., at + 1])


def test_turned_columns_are_those_of_another_date() -> None:
    stamps = np.arange("2023-02-01", "2023-02-11", dtype="datetime64[D]")
    now, later = (torch.from_numpy(calendar_columns(t, NAMES))[None] for t in (stamps, stamps + 73))
    angle_B1 = torch.tensor([[2 * torch.pi * 73 / 365]])
    found = turned(now, angle_B1, first=1, count=4)
    torch.testing.assert_close(found[..., 1:5], later[..., 1:5], rtol=0, atol=1e-5)
    assert torch.equal(found[..., [0, 5]], now[..., [0, 5]])


def test_each_window_is_moved_as_a_whole_and_nothing_else() -> None:
    batch = make_batch()
    torch.manual_seed(1)
    moved = year_jitter(batch, YEARLY.year, 60.0)
    assert torch.equal(moved.encoder_BTX[..., :4], batch.encoder_BTX[..., :4])
    assert torch.equal(moved.decoder_BHK[..., [0, 3]], batch.decoder_BHK[..., [0, 3]])
    was, now = (
        torch.cat([angle(each.encoder_BTX[:, 3:], 4), angle(each.decoder_BHK, 1)], dim=1)  # behind the padding
        for each in (batch, moved)
    )
    turns = now - was
    turns = torch.remainder(turns + torch.pi, 2 * torch.pi) - torch.pi
    torch.testing.assert_close(turns, turns[:, :1].expand_as(turns), rtol=0, atol=1e-4)
    assert len(turns[:, 0].unique()) == B
    assert year_jitter(batch, SHAPE.year, 60.0) is batch
    assert year_jitter(batch, YEARLY.year, 0.0) is batch


def test_padding_stays_zero_and_days_are_the_spread() -> None:
    batch = make_batch()
    batch.encoder_BTX[1, :3] = 0.0
    assert year_jitter(batch, YEARLY.year, 60.0).encoder_BTX[1, :3].abs().max() == 0
    many = batch._replace(encoder_BTX=torch.zeros(4000, 1, 6), decoder_BHK=torch.zeros(4000, 1, 4))
    many.encoder_BTX[..., 5] = 1.0  # the first of January
    torch.manual_seed(1)
    moved = year_jitter(many, YEARLY.year, 20.0).encoder_BTX
    days = angle(moved, 4) / (2 * torch.pi) * 365.25
    assert float(days.std()) == pytest.approx(20.0, rel=0.05)
    assert float(days.mean()) == pytest.approx(0.0, abs=1.5)


@pytest.mark.parametrize(("days", "same"), [(60.0, False), (0.0, True)])
def test_only_training_moves_the_date(days: float, same: bool) -> None:
    config = OpenBookConfig(hidden_size=8, window=8, segment=2, mixing=True, book=1, dropout=0.0, year_jitter=days)
    net, batch = OpenBookNet(config, YEARLY).train(), make_batch()
    first, second = net(batch).quantile_BHMQ, net(batch).quantile_BHMQ
    assert torch.equal(first, second) == same
    net.eval()
    assert torch.equal(net(batch).quantile_BHMQ, net(batch).quantile_BHMQ)
