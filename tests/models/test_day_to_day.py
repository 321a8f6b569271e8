"""Days rebuilt from days: which rows are read, what is hidden, and where the weights point."""

from __future__ import annotations

import pytest
import torch
from tests.models.test_laws import make_batch

from openbook.errors import UsageError
from openbook.models.base import ModelShape, Teaching
from openbook.models.day_to_day import DayToDay, DayToDayConfig
from openbook.models.registry import build_model
from openbook.windows.batch import Batch

H, T, P = 4, 12, 6  # a horizon shorter than its period
SHAPE = ModelShape(n_variables=3, n_encoder=6, n_decoder=4, input_size=T, h=H, quantiles=(0.5,), n_known=1, season=3)


def made(mode: str = "forecast", gaps: tuple[int, ...] = (1, 2), **changes: object) -> DayToDay:
    config = DayToDayConfig(hidden_size=8, gaps=gaps, mode=mode, **changes)  # type: ignore[arg-type]
    model = build_model(config, SHAPE, seed=3).eval()
    assert isinstance(model, DayToDay)
    return model


def long_batch() -> Batch:
    """Windows of two periods without padding."""
    short = make_batch()
    g = torch.Generator().manual_seed(1)
    size = len(short.encoder_BTX)
    return short._replace(
        encoder_BTX=torch.randn(size, T, 6, generator=g),
        inside_BT=torch.ones(size, T, dtype=torch.bool),
        observed_BTF=torch.ones(size, T, 3, dtype=torch.bool),
    )


def test_a_period_is_the_fewest_seasons_that_hold_the_horizon() -> None:
    assert SHAPE.period == P


@pytest.mark.parametrize(("gap", "rows"), [(1, range(6, 10)), (2, range(4))])
def test_only_the_rows_of_its_days_are_read(gap: int, rows: range) -> None:
    model, batch = made(gaps=(gap,)), long_batch()
    before = model(batch).quantile_BHMQ
    for row in range(T):
        moved = batch.encoder_BTX.clone()
        moved[:, row] += 1.0
        changed = not torch.equal(model(batch._replace(encoder_BTX=moved)).quantile_BHMQ, before)
        assert changed == (row in rows)


def test_weights_point_at_the_same_hour_of_their_days() -> None:
    found = made()(long_batch()).attention
    spread = found.on_rows(T)
    assert found.weight_BHTF.shape[2] == 2
    for step in range(H):
        places = {int(row) for row in spread[0, step, :, 0].nonzero()}
        assert places == {T - P + step, T - 2 * P + step}
    torch.testing.assert_close(spread.sum((-1, -2)), torch.ones(len(spread), H))
    torch.testing.assert_close(spread[:, 1, T - P + 1, 0], found.weight_BHTF[:, 1, 0, 0])


def test_a_day_without_any_observation_weighs_nothing() -> None:
    batch = long_batch()
    observed = batch.observed_BTF.clone()
    observed[0, 6:10, 0] = False
    weight = made()(batch._replace(observed_BTF=observed)).attention.weight_BHTF
    assert (weight[0, :, 0] == 0).all()
    assert (weight[0, :, 1] == 1).all()
    assert (weight[1, :, 0] > 0).all()


def test_one_gap_is_the_reference_s_model() -> None:
    """Encoder → bottleneck → repeated → decoder → dense: with one day there is nothing to weigh."""
    model, batch = made(gaps=(1,), same_hour=False), long_batch()
    day = batch.encoder_BTX[:, 6:10]
    state = model.encoder(day, torch.ones(len(day), H, dtype=torch.bool)).state.hidden_BD
    code = torch.tanh(model.bottleneck(state)) + model.gap_name_GC[0]
    repeated = code[:, None].expand(-1, H, -1)
    rebuilt, _ = model.decoder(torch.cat([repeated, batch.decoder_BHK], dim=-1))
    wanted = model.head(torch.nn.functional.leaky_relu(model.hidden(rebuilt), 0.3))
    found = model(batch)
    torch.testing.assert_close(found.quantile_BHMQ, wanted, rtol=0, atol=1e-6)
    assert (found.attention.weight_BHTF == 1).all()


def test_heads_start_on_days_of_their_own_and_tell_them_apart() -> None:
    """Two heads over two days: each finds mostly its own day, so the decoder sees both and not a blur of them."""
    model, batch = made(), long_batch()
    layer = model.attention
    pages = torch.randn(len(batch.encoder_BTX), H, 2, layer.key.in_features, generator=torch.Generator().manual_seed(2))
    seen = torch.ones(pages.shape[:3], dtype=torch.bool)
    context, weight = layer(torch.zeros(*pages.shape[:2], layer.query.in_features), pages, seen)
    assert weight.shape == seen.shape
    torch.testing.assert_close(weight.sum(-1), torch.ones(seen.shape[:2]), rtol=0, atol=1e-6)
    distance = (context.unflatten(-1, (2, 1, -1)) - pages[:, :, None]).norm(dim=-1)  # head by day
    assert (distance.argmin(-1) == torch.tensor([0, 1])).all()


def test_heads_are_told_apart_by_the_decoder_and_reported_as_their_mean() -> None:
    model, batch = made(), long_batch()
    with torch.no_grad():
        model.attention.liking_NG.copy_(torch.tensor([[9.0, -9.0], [-9.0, 9.0]]))  # one day each
        apart = model(batch)
        model.attention.liking_NG.zero_()
        model.attention.key.weight.zero_()  # both days by half, for both heads
        blurred = model(batch)
    torch.testing.assert_close(apart.attention.weight_BHTF, torch.full_like(apart.attention.weight_BHTF, 0.5))
    torch.testing.assert_close(blurred.attention.weight_BHTF, apart.attention.weight_BHTF)
    assert not torch.allclose(blurred.quantile_BHMQ, apart.quantile_BHMQ, atol=1e-3)


def test_there_are_never_more_heads_than_days() -> None:
    assert len(made(gaps=(1,)).attention.liking_NG) == 1
    assert len(made(gaps=(1, 2)).attention.liking_NG) == 2


def test_heads_that_are_no_number_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        DayToDayConfig(heads=0)


def test_a_reconstruction_sees_what_is_shown_and_nothing_else() -> None:
    model, batch = made("reconstruct", gaps=(1,)), long_batch()
    shown = torch.zeros(len(batch.target_BHM), H, dtype=torch.bool)
    shown[:, :2] = True
    told = Teaching(shown_BH=shown)
    before = model(batch, told).quantile_BHMQ
    for step in range(H):
        moved = batch.target_BHM.clone()
        moved[:, step] += 1.0
        changed = not torch.equal(model(batch._replace(target_BHM=moved), told).quantile_BHMQ, before)
        assert changed == (step < 2)
    assert (model(batch).attention.weight_BHTF[:, :, 0] == 0).all()  # told nothing, it rebuilds from past days alone
    assert (model(batch, told).attention.weight_BHTF[:, :, 0] > 0).all()


def test_shown_parts_are_drawn_from_the_generator_with_a_stretch_left_out() -> None:
    model, batch = made("reconstruct"), long_batch()
    found = [model(batch, Teaching(0.75, torch.Generator().manual_seed(seed))).quantile_BHMQ for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("gaps", [(), (0,), (1, 1), (1.5,), (True,)])
def test_gaps_that_are_no_days_are_refused(gaps: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="whole numbers of periods"):
        DayToDayConfig(gaps=gaps)


def test_the_same_hour_of_a_day_is_read_beside_its_code() -> None:
    """With the code held fixed, a value of the past day reaches its own hour (and later ones, through the decoder) only."""
    model, batch = made(gaps=(1,)), long_batch()
    model.bottleneck.weight.data.zero_()
    before = model(batch).quantile_BHMQ
    moved = batch.encoder_BTX.clone()
    moved[:, T - P + 2] += 1.0
    change = (model(batch._replace(encoder_BTX=moved)).quantile_BHMQ - before).abs().amax((0, 2, 3))
    assert (change[:2] == 0).all()
    assert change[2] > 0
