"""Dual-stage attention: what the public ports get wrong must go red here."""

from __future__ import annotations

import pytest
import torch
from tests.models.test_laws import SHAPE, B, H, T, make_batch, take
from torch import Tensor, nn

from openbook.errors import UsageError
from openbook.models.base import ModelShape, Teaching
from openbook.models.darnn import Darnn, DarnnConfig
from openbook.models.registry import build_model
from openbook.nn.dual_stage import InputAttention, InputEncoder, Weighed
from openbook.windows.batch import Batch

FORMS = ("two_pass", "recurrent")


def made(**changes: object) -> Darnn:
    model = build_model(DarnnConfig(hidden_size=8, **changes), SHAPE, seed=3).eval()  # type: ignore[arg-type]
    assert isinstance(model, Darnn)
    for name, weight in model.named_parameters():  # keys start at zero, where all series weigh the same
        if "attention.series" in name:
            weight.data.normal_(0, 0.3, generator=torch.Generator().manual_seed(5))
    return model


@pytest.mark.parametrize("form", FORMS)
def test_every_step_of_both_stages_is_returned_and_sums_to_one(form: str) -> None:
    batch = make_batch()
    stages = made(form=form)(batch).attention.stages
    assert stages is not None
    assert stages.alpha_BTF.shape == (B, T, 3)
    assert stages.beta_BLT.shape == (B, T + H - 1, T)
    inside = batch.inside_BT.float()
    torch.testing.assert_close(stages.alpha_BTF.sum(-1), inside, rtol=0, atol=1e-6)
    torch.testing.assert_close(stages.beta_BLT[:, :T].sum(-1), inside, rtol=0, atol=1e-6)
    torch.testing.assert_close(stages.beta_BLT[:, T:].sum(-1), torch.ones(B, H - 1), rtol=0, atol=1e-6)


def test_weights_are_the_product_of_the_stages() -> None:
    found = made()(make_batch()).attention
    assert found.stages is not None
    product = found.stages.beta_BLT[:, -H:, :, None] * found.stages.alpha_BTF[:, None]
    torch.testing.assert_close(found.weight_BHTF, product, rtol=0, atol=0)


def alpha_moves(model: nn.Module) -> bool:
    """Whether alpha changes from step to step of a window whose inputs can all be weighed, as the state does."""
    model.encoder.attention.state.weight.data.mul_(4.0)
    alpha = model(make_batch()).attention.stages.alpha_BTF[0]
    return bool((alpha[1:] - alpha[:-1]).abs().amax() > 1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_alpha_changes_over_time(form: str) -> None:
    assert alpha_moves(made(form=form))


@pytest.mark.parametrize("form", FORMS)
def test_without_tanh_alpha_would_stand_still(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mistake of popular ports: the score is linear, so the softmax over the series cancels the state."""

    monkeypatch.setenv("OPENBOOK_KERNELS", "reference")
    monkeypatch.setattr(Tensor, "tanh_", lambda self: self)  # the plain twins take the tanh of scores in place
    assert not alpha_moves(made(form=form))


def windows_stand_alone(model: nn.Module) -> bool:
    """Whether a window gives the same numbers alone and among others."""
    batch = make_batch()
    whole = model(batch).quantile_BHMQ
    return all(torch.allclose(model(take(batch, [row])).quantile_BHMQ[0], whole[row], atol=1e-6) for row in range(B))


def test_a_time_major_reshape_would_mix_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's mistake: a time-major stack read as batch-major mixes windows and times."""
    assert windows_stand_alone(made())
    right = InputEncoder.forward

    def mixed(self: InputEncoder, *rows: Tensor) -> Weighed:
        book = right(self, *rows)
        return book._replace(output_BTD=book.output_BTD.transpose(0, 1).reshape(book.output_BTD.shape))

    monkeypatch.setattr(InputEncoder, "forward", mixed)
    assert not windows_stand_alone(made())


def test_forecast_and_nowcast_read_different_things() -> None:
    batch = make_batch()
    moved = batch.decoder_BHK.clone()
    moved[:, -1, 0] += 1.0  # the last known input ahead
    told = batch._replace(decoder_BHK=moved)
    now, ahead = made(protocol="nowcast"), made()
    alphas = [now(which).attention.stages.alpha_BTF for which in (batch, told)]  # type: ignore[union-attr]
    assert not torch.allclose(*alphas)
    alphas = [ahead(which).attention.stages.alpha_BTF for which in (batch, told)]  # type: ignore[union-attr]
    assert torch.equal(*alphas)
    assert now(batch).attention.shift == H


def test_a_nowcast_weighs_nothing_that_is_not_known() -> None:
    batch = make_batch()
    seen = batch.decoder_observed_BHK.clone()
    seen[0, -1, 0] = False
    stages = made(protocol="nowcast")(batch._replace(decoder_observed_BHK=seen)).attention.stages
    assert stages is not None
    assert (stages.alpha_BTF[:, -H:, :2] == 0).all()  # target and past-only input of the steps ahead
    assert (stages.alpha_BTF[1:, -H:, 2] == 1).all()
    assert (stages.alpha_BTF[0, -1] == 0).all()


def test_a_nowcast_without_known_inputs_is_refused() -> None:
    shape = ModelShape(n_variables=2, n_encoder=3, n_decoder=1, input_size=T, h=1)
    with pytest.raises(UsageError, match="known at the steps"):
        build_model(DarnnConfig(protocol="nowcast"), shape, 1)


def test_inputs_alone_drive_the_paper_s_form() -> None:
    stages = made(drivers="inputs")(make_batch()).attention.stages
    assert stages is not None
    assert (stages.alpha_BTF[..., 0] == 0).all()


@pytest.mark.parametrize("form", FORMS)
def test_the_target_does_not_decide_which_inputs_are_read_where_they_alone_drive(form: str) -> None:
    model, batch = made(drivers="inputs", form=form), make_batch()
    torch.nn.init.normal_(model.encoder.attention.series.weight)  # keys start at zero, and would hide it
    other_BTX = batch.encoder_BTX.clone()
    other_BTX[..., 0] += 3 * batch.observed_BTF[..., 0]
    one, other = (model(part).attention.stages for part in (batch, batch._replace(encoder_BTX=other_BTX)))
    assert torch.equal(one.alpha_BTF, other.alpha_BTF)


def test_the_paper_s_series_weights_belong_to_one_length_conv_to_any() -> None:
    def size(length: int, **changes: object) -> int:
        shape = ModelShape(n_variables=3, n_encoder=6, n_decoder=4, input_size=length, h=H, n_known=1)
        config = DarnnConfig(hidden_size=8, **changes)  # type: ignore[arg-type]
        return sum(p.numel() for p in build_model(config, shape, 1).parameters())

    assert size(20) > size(10)
    assert size(20, series_encoder="conv") == size(10, series_encoder="conv")


def grow(batch: Batch) -> Batch:
    return batch._replace(last_BM=batch.last_BM.repeat(1, 2), target_BHM=batch.target_BHM.repeat(1, 1, 2))


@pytest.mark.parametrize("form", FORMS)
def test_several_targets(form: str) -> None:
    shape = ModelShape(
        n_variables=3, n_encoder=6, n_decoder=4, input_size=T, h=H, quantiles=(0.1, 0.5, 0.9), n_targets=2, n_known=1
    )
    for mode in ("direct", "free_running"):
        config = DarnnConfig(hidden_size=8, form=form, mode=mode)  # type: ignore[arg-type]
        found = build_model(config, shape, seed=3).eval()(grow(make_batch())).quantile_BHMQ
        assert found.shape == (B, H, 2, 3)
        assert not torch.allclose(found[..., 0, :], found[..., 1, :])


@pytest.mark.parametrize("series_encoder", ["linear", "conv"])
def test_centred_keys_see_shapes_not_levels(series_encoder: str) -> None:
    """Nor what stands where nothing was observed, or on padding."""
    batch = make_batch()
    series, mask = batch.encoder_BTX[..., :3], batch.observed_BTF
    level = torch.where(mask, series + 7.0, -3.0)
    for centred in (True, False):
        torch.manual_seed(0)
        attention = InputAttention(
            state_size=4,
            input_size=T,
            size=5,
            series_encoder=series_encoder,
            centred=centred,  # type: ignore[arg-type]
        )
        for weight in attention.series.parameters():
            nn.init.normal_(weight, 0, 0.3)
        keys = [attention.project(one, batch.inside_BT, mask) for one in (series, level)]
        assert torch.allclose(keys[0], keys[1], atol=1e-5) == centred


def test_the_default_has_centred_keys_and_the_paper_s_are_to_be_had() -> None:
    assert made().encoder.attention.centred
    assert not made(centred_keys=False).encoder.attention.centred


@pytest.mark.parametrize("form", FORMS)
def test_inputs_are_left_out_of_windows_in_training_only_and_never_all(form: str) -> None:
    model, batch = made(form=form, input_dropout=0.6, dropout=0.0), make_batch()
    still = model(batch)
    torch.manual_seed(1)
    alphas = []
    for _ in range(20):
        stages = model.train()(batch).attention.stages
        assert stages is not None
        alphas.append(stages.alpha_BTF)
    alpha_NBF = torch.stack(alphas).sum(2)
    assert (alpha_NBF > 0).any(2).all()  # something is always left
    assert ((alpha_NBF[:, 0] > 0) != (alpha_NBF[:, 3] > 0)).any()  # each window loses its own
    left_out = (alpha_NBF == 0).float().mean()
    assert 0.3 < left_out < 0.65  # six tenths, less the windows that would have lost all
    again = model.eval()(batch)
    assert torch.equal(again.quantile_BHMQ, still.quantile_BHMQ)
    model.encoder.dropout = 0.0
    torch.testing.assert_close(model.train()(batch).quantile_BHMQ, still.quantile_BHMQ)


@torch.no_grad()
@pytest.mark.parametrize("form", FORMS)
def test_reading_costs_what_was_read(form: str) -> None:
    model, batch = made(form=form, reading_cost=0.25), make_batch()
    penalty = model(batch).penalty
    assert penalty is not None
    assert 0 < float(penalty) < 0.25
    model.encoder.attention.liking_F.data[-1] = 20.0  # type: ignore[union-attr]  # nowhere takes all
    assert float(model(batch).penalty) == pytest.approx(0.0, abs=1e-6)
    model.encoder.attention.liking_F.data[-1] = -20.0  # type: ignore[union-attr]
    inside = float(batch.inside_BT.float().mean())  # on padding nothing is read
    assert float(model(batch).penalty) == pytest.approx(0.25 * inside, rel=1e-5)
    assert made(form=form, nowhere=False)(batch).penalty is None


@pytest.mark.parametrize("name", ["input_dropout", "reading_cost"])
@pytest.mark.parametrize("wrong", [-0.1, 1.0, True, "much"])
def test_shares_that_can_not_be_are_refused(name: str, wrong: object) -> None:
    with pytest.raises(UsageError, match=name):
        DarnnConfig(**{name: wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
def test_gradients_agree_with_float64(form: str) -> None:
    """Float32 gradients stay within what float32 rounding of this depth explains."""
    batch = make_batch()
    gradients: list[dict[str, Tensor]] = []
    for dtype in (torch.float32, torch.float64):
        model = made(form=form).to(dtype)
        parts = [part.to(dtype) if part.is_floating_point() else part for part in batch]
        model(Batch(*parts), Teaching()).quantile_BHMQ.square().mean().backward()
        gradients.append({name: p.grad.double() for name, p in model.named_parameters() if p.grad is not None})
    for name, exact in gradients[1].items():
        torch.testing.assert_close(gradients[0][name], exact, rtol=1e-3, atol=2e-6, msg=name)


@pytest.mark.parametrize(("protocol", "begin"), [("forecast", 0), ("nowcast", H)])
def test_a_step_told_of_one_row_reads_what_is_known_of_the_next(
    protocol: str, begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = made(protocol=protocol), make_batch()
    monkeypatch.setattr(model.decoder.cell, "hoist", lambda known: known)
    told, known, _ = model._decoder_inputs(batch, H if protocol == "nowcast" else 0)
    rows = torch.cat([batch.encoder_BTX[..., [2, 4, 5]], batch.decoder_BHK[..., :3]], dim=1)  # known input and calendar
    assert torch.equal(known[..., :3], rows[:, begin + 1 :])
    assert torch.equal(told[..., 0], batch.encoder_BTX[:, begin:, 0])
    flags = torch.cat([batch.encoder_BTX[:, begin:, 3], torch.zeros(B, H - 1)], dim=1)  # direct: told nothing ahead
    assert torch.equal(known[..., -1], flags)


@pytest.mark.parametrize("wrong", [{"form": "recurrent"}, {"protocol": "nowcast"}, {"mode": "scheduled"}])
def test_segments_that_can_not_be_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="segment=4"):
        DarnnConfig(segment=4, **wrong)  # type: ignore[arg-type]


def test_a_segment_shares_what_it_got_among_the_rows_it_was_read_from() -> None:
    """Nine rows in segments of four: the oldest holds one row; the second window begins at row three."""
    found = made(segment=4)(make_batch()).attention
    assert found.stages is not None
    beta = found.stages.beta_BLT
    assert beta.shape == (B, 3 + H - 1, T)
    assert found.stages.alpha_BTF.shape == (B, T, 3)
    for rows in (slice(1, 5), slice(5, 9)):
        assert torch.equal(beta[0, :, rows], beta[0, :, rows][:, :1].expand(-1, 4))
    assert (beta[1, :, :3] == 0).all()
    assert torch.equal(beta[1, :, 3], beta[1, :, 4])
    whole = beta[1, -H:].sum(-1)
    torch.testing.assert_close(whole, torch.ones(H), rtol=0, atol=1e-6)
    missing = found.weight_BHTF[2, :, :, 0]  # rows 4 and 5 of the target are unknown: row 5's segment has three others
    assert (missing[:, 4:6] == 0).all()
    assert torch.equal(missing[:, 6], missing[:, 8])


def test_what_a_segment_holds_reaches_the_forecast_row_by_row() -> None:
    model, batch = made(segment=4), make_batch()
    changed = batch.encoder_BTX.clone()
    changed[0, 6, 0], changed[0, 7, 0] = (
        batch.encoder_BTX[0, 7, 0],
        batch.encoder_BTX[0, 6, 0],
    )  # two rows change places
    moved = model(batch._replace(encoder_BTX=changed)).quantile_BHMQ - model(batch).quantile_BHMQ
    assert (moved[0].abs() > 1e-6).any()
    assert (moved[1:] == 0).all()


def test_windows_of_thousands_are_decided_for_segments() -> None:
    assert DarnnConfig().longest == 96
    assert DarnnConfig(segment=24).longest == 2304
