"""The laws every registered model obeys, on batches: one battery over the registry and its variants."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from openbook.errors import UsageError
from openbook.models.base import ModelShape, Output, Teaching
from openbook.models.darnn import DarnnConfig
from openbook.models.day_to_day import DayToDayConfig
from openbook.models.openbook import OpenBookConfig
from openbook.models.registry import MODELS, build_model, config_from_dict, config_to_dict
from openbook.models.seq2seq import BahdanauConfig, LuongConfig
from openbook.windows.batch import Batch

B, T, H = 5, 9, 4
SHAPE = ModelShape(
    n_variables=3, n_encoder=6, n_decoder=4, input_size=T, h=H, quantiles=(0.1, 0.5, 0.9), n_known=1, season=4, n_own=2
)
FEEDBACK = ("teacher_forcing", "scheduled", "free_running")
CONFIGS = {
    "luong joint": LuongConfig(hidden_size=8),
    "luong two heads": LuongConfig(hidden_size=8, heads=2),
    "luong dot": LuongConfig(hidden_size=8, axis="time", score="dot", lag_bias=False),
    "luong scaled": LuongConfig(hidden_size=8, axis="time"),
    "luong general": LuongConfig(hidden_size=8, axis="time", score="general"),
    "luong fed back": LuongConfig(hidden_size=8, mode="teacher_forcing"),
    "bahdanau time": BahdanauConfig(hidden_size=8),
    "bahdanau feature": BahdanauConfig(hidden_size=8, axis="feature"),
    "bahdanau layer norm": BahdanauConfig(hidden_size=8, norm="layer"),
    "bahdanau batch norm": BahdanauConfig(hidden_size=8, norm="batch"),
    "bahdanau fed back": BahdanauConfig(hidden_size=8, mode="teacher_forcing"),
    "darnn two pass": DarnnConfig(hidden_size=8),
    "darnn recurrent": DarnnConfig(hidden_size=8, form="recurrent"),
    "darnn inputs": DarnnConfig(hidden_size=8, drivers="inputs", series_encoder="conv"),
    "darnn segments": DarnnConfig(hidden_size=8, segment=2, series_encoder="conv"),
    "darnn nowcast": DarnnConfig(hidden_size=8, protocol="nowcast"),
    "day_to_day": DayToDayConfig(hidden_size=8, gaps=(1, 2)),
    "day_to_day rebuilt": DayToDayConfig(hidden_size=8, gaps=(1,), mode="reconstruct"),
    "darnn fed back": DarnnConfig(hidden_size=8, mode="teacher_forcing"),
    "openbook": OpenBookConfig(hidden_size=8, window=T, segment=1, mixing=True, cycle=True, book=1),
    "openbook segments": OpenBookConfig(hidden_size=8, window=8, segment=2, mixing=False),
    "openbook two": OpenBookConfig(hidden_size=8, window=6, segment=1, mixing=True, n_models=2),
    "openbook differences": OpenBookConfig(hidden_size=8, window=8, segment=2, mixing=True, book=1, differences=True),
    "openbook no skip": OpenBookConfig(hidden_size=8, window=4, segment=3, book=1, skip=False),
}


def make_batch(size: float = 1.0, *, seed: int = 0) -> Batch:
    """Random windows; the second is padded by three steps, the third misses some values."""
    g = torch.Generator().manual_seed(seed)
    x = size * torch.randn(B, T, SHAPE.n_encoder, generator=g)
    inside = torch.ones(B, T, dtype=torch.bool)
    inside[1, :3] = False
    observed = inside[..., None].repeat(1, 1, SHAPE.n_variables)
    observed[2, 4:6, 0] = False
    x[..., : SHAPE.n_variables] = x[..., : SHAPE.n_variables].masked_fill(~observed, 0.0)
    return Batch(
        encoder_BTX=x.masked_fill(~inside[..., None], 0.0),
        inside_BT=inside,
        observed_BTF=observed,
        decoder_BHK=torch.randn(B, H, SHAPE.n_decoder, generator=g),
        decoder_observed_BHK=torch.ones(B, H, SHAPE.n_decoder, dtype=torch.bool),
        target_BHM=torch.randn(B, H, 1, generator=g),
        target_observed_BHM=torch.ones(B, H, 1, dtype=torch.bool),
        last_BM=torch.randn(B, 1, generator=g),
        location_BM=torch.zeros(B, 1, dtype=torch.float64),
        scale_BM=torch.ones(B, 1, dtype=torch.float64),
        own_B=torch.tensor([0, -1, 1, 0, -1]),
    )


def take(batch: Batch, rows: list[int]) -> Batch:
    return Batch(*(part[rows] for part in batch))


# Windows this small take the plain twins; the models that have kernels are held to the laws with them too.
UNDER_LAW = [
    *((name, "reference") for name in CONFIGS),
    *((name, "numba") for name in CONFIGS if name.startswith(("bahdanau", "darnn", "luong"))),
]


@pytest.fixture(params=UNDER_LAW, ids=lambda case: f"{case[0].replace(' ', '-')}-{case[1]}")
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    name, kernels = request.param
    monkeypatch.setenv("OPENBOOK_KERNELS", kernels)
    made = build_model(CONFIGS[name], SHAPE, seed=3).eval()
    with torch.no_grad():  # lag tables and joint keys start at zero, which would hide mistakes
        for name, parameter in made.named_parameters():
            if any(
                part in name
                for part in (
                    "table",
                    ".key",
                    "liking",
                    "attention.series",
                    "nowhere",
                    "cycle",
                    "trust",
                    "change",
                    "head.output.weight",
                )
            ):
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(9))
        for name, buffer in made.named_buffers():
            if "own_" in name:
                buffer.normal_(0, 0.1, generator=torch.Generator().manual_seed(9))
    return made


def same(found: Output, wanted: Output, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found.quantile_BHMQ, wanted.quantile_BHMQ, rtol=0, atol=atol)
    torch.testing.assert_close(found.attention.weight_BHTF, wanted.attention.weight_BHTF, rtol=0, atol=atol)


def test_every_registered_model_is_under_the_laws() -> None:
    assert {config.name for config in CONFIGS.values()} == set(MODELS)


def test_a_window_alone_equals_itself_in_any_batch_and_order(model: nn.Module) -> None:
    batch = make_batch()
    whole = model(batch)
    for row in range(B):
        alone = model(take(batch, [row]))
        torch.testing.assert_close(alone.quantile_BHMQ[0], whole.quantile_BHMQ[row], rtol=0, atol=1e-6)
        weight = alone.attention.weight_BHTF[0]
        torch.testing.assert_close(weight, whole.attention.weight_BHTF[row], rtol=0, atol=1e-6)
    order = [3, 1, 4, 0, 2]
    shuffled = model(take(batch, order))
    torch.testing.assert_close(shuffled.quantile_BHMQ, whole.quantile_BHMQ[order], rtol=0, atol=1e-6)


def test_padding_changes_nothing(model: nn.Module) -> None:
    batch = make_batch()
    longer = batch._replace(
        encoder_BTX=nn.functional.pad(batch.encoder_BTX, (0, 0, 5, 0)),
        inside_BT=nn.functional.pad(batch.inside_BT, (5, 0)),
        observed_BTF=nn.functional.pad(batch.observed_BTF, (0, 0, 5, 0)),
    )
    plain, padded = model(batch), model(longer)
    torch.testing.assert_close(padded.quantile_BHMQ, plain.quantile_BHMQ, rtol=0, atol=1e-6)
    new = padded.attention.weight_BHTF.shape[2] - plain.attention.weight_BHTF.shape[2]
    assert (padded.attention.weight_BHTF[:, :, :new] == 0).all()
    weight = padded.attention.weight_BHTF[:, :, new:]
    torch.testing.assert_close(weight, plain.attention.weight_BHTF, rtol=0, atol=1e-6)


def test_the_horizons_truth_is_out_of_reach(model: nn.Module) -> None:
    batch = make_batch()
    tampered = batch._replace(target_BHM=batch.target_BHM + 100, target_observed_BHM=~batch.target_observed_BHM)
    same(model(tampered), model(batch), atol=0)


def test_weights_sum_to_one_and_are_zero_where_masked(model: nn.Module) -> None:
    batch = make_batch()
    found = model(batch).attention
    total = found.normalised().sum((-1, -2))
    torch.testing.assert_close(total, torch.ones(B, H), rtol=0, atol=1e-5)
    shift = found.shift  # a nowcast's book begins later
    if found.axis == "gaps":  # days, not rows: a day that does not lie in the series whole weighs nothing
        assert (found.on_rows(T)[1, :, :3] == 0).all()
        return
    assert (found.weight_BHTF[1, :, : max(0, 3 - shift)] == 0).all()
    if found.axis != "time":
        assert (found.weight_BHTF[2, :, 4 - shift : 6 - shift, 0] == 0).all()


def test_an_empty_book_forecasts_without_nan(model: nn.Module) -> None:
    batch = make_batch()
    empty = batch._replace(
        inside_BT=torch.zeros_like(batch.inside_BT), observed_BTF=torch.zeros_like(batch.observed_BTF)
    )
    found = model(empty)
    assert found.quantile_BHMQ.isfinite().all()
    assert (found.attention.weight_BHTF[:, :, : T - found.attention.shift] == 0).all()


@pytest.mark.parametrize("name", [name for name, kernels in UNDER_LAW if kernels == "numba"])
def test_kernels_forecast_and_learn_as_their_plain_twins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for kernels in ("reference", "numba"):
        monkeypatch.setenv("OPENBOOK_KERNELS", kernels)
        made = build_model(CONFIGS[name], SHAPE, seed=3).eval()
        output = made(make_batch(), Teaching(1.0))
        (output.quantile_BHMQ.square().sum() + output.attention.weight_BHTF.square().sum()).backward()
        found.append((output, [parameter.grad for parameter in made.parameters()]))
    same(found[1][0], found[0][0])
    for mine, plain in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-5)


def test_quantiles_are_ordered(model: nn.Module) -> None:
    assert (model(make_batch(50.0)).quantile_BHMQ.diff(dim=-1) >= 0).all()


def test_gradients_are_finite_at_huge_inputs(model: nn.Module) -> None:
    model.train()
    model(make_batch(1e4)).quantile_BHMQ.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_every_parameter_is_used(model: nn.Module) -> None:
    model.train()
    found = model(make_batch(), Teaching(1.0))
    found.quantile_BHMQ.square().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not (p.grad != 0).any()]
    assert [name for name in unused if not name.endswith(("bias_hh_l0", "key.bias"))] == []


@pytest.mark.parametrize("name", CONFIGS)
def test_everything_is_made_where_the_batch_lies(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU nothing may stay behind on the CPU: tensors made without a device are on another one here, and do not mix."""
    monkeypatch.setenv("OPENBOOK_KERNELS", "reference")  # compiled ones are the CPU's own
    model, batch = build_model(CONFIGS[name], SHAPE, seed=3), make_batch()
    for training in (False, True):
        model.train(training)
        with torch.device("meta"):
            output = model(batch)
            output.quantile_BHMQ.sum().backward()
        assert output.quantile_BHMQ.device.type == "cpu"


def test_the_same_seed_gives_the_same_bits() -> None:
    for config in CONFIGS.values():
        before = torch.random.get_rng_state()
        one, other = (build_model(config, SHAPE, seed=5).state_dict() for _ in range(2))
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert torch.equal(before, torch.random.get_rng_state())


def test_configs_survive_json() -> None:
    for config in CONFIGS.values():
        assert config_from_dict(config_to_dict(config)) == config


@pytest.mark.parametrize("mode", FEEDBACK)
@pytest.mark.parametrize("make", [LuongConfig, BahdanauConfig, DarnnConfig])
def test_teacher_forced_on_its_own_outputs_equals_free_running(make: Callable[..., object], mode: str) -> None:
    model = build_model(make(hidden_size=8, mode=mode), SHAPE, seed=3).eval()
    batch = make_batch()
    free = model(batch)
    own = batch._replace(target_BHM=free.quantile_BHMQ[..., SHAPE.median])
    same(model(own, Teaching(1.0)), free)
    told_truth = model(batch, Teaching(1.0))
    assert not torch.allclose(told_truth.quantile_BHMQ[:, 1:], free.quantile_BHMQ[:, 1:], atol=1e-3)


def test_teaching_skips_unknown_truths() -> None:
    model = build_model(LuongConfig(hidden_size=8, mode="scheduled"), SHAPE, seed=3).eval()
    batch = make_batch()
    unknown = batch._replace(target_observed_BHM=torch.zeros_like(batch.target_observed_BHM))
    same(model(unknown, Teaching(1.0)), model(batch))


def test_scheduled_draws_come_from_the_given_generator() -> None:
    model = build_model(LuongConfig(hidden_size=8, mode="scheduled"), SHAPE, seed=3).eval()
    batch = make_batch()
    found = [model(batch, Teaching(0.5, torch.Generator().manual_seed(s))).quantile_BHMQ for s in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_the_decoder_carries_its_state() -> None:
    """The reference restarted the decoder at every step: then a changed first input could not reach later steps."""
    for config in (LuongConfig(hidden_size=8), BahdanauConfig(hidden_size=8), DarnnConfig(hidden_size=8)):
        model = build_model(config, SHAPE, seed=3).eval()
        batch = make_batch()
        changed = batch.decoder_BHK.clone()
        changed[:, 0] += 3.0
        moved = model(batch._replace(decoder_BHK=changed)).quantile_BHMQ - model(batch).quantile_BHMQ
        assert (moved[:, 1:].abs() > 1e-5).any()


def test_several_targets_have_heads_of_their_own() -> None:
    shape = ModelShape(
        n_variables=3, n_encoder=6, n_decoder=4, input_size=T, h=H, quantiles=(0.1, 0.5, 0.9), n_targets=2
    )
    batch = make_batch()
    batch = batch._replace(last_BM=batch.last_BM.repeat(1, 2), target_BHM=batch.target_BHM.repeat(1, 1, 2))
    for config in (LuongConfig(hidden_size=8, mode="free_running"), BahdanauConfig(hidden_size=8)):
        found = build_model(config, shape, seed=3).eval()(batch).quantile_BHMQ
        assert found.shape == (B, H, 2, 3)
        assert not torch.allclose(found[..., 0, :], found[..., 1, :])


@pytest.mark.parametrize("kind", [LuongConfig, BahdanauConfig, DarnnConfig, DayToDayConfig])
@pytest.mark.parametrize("wrong", [{"hidden_size": 0}, {"hidden_size": 1.5}, {"dropout": 3.0}, {"dropout": -0.1}])
def test_sizes_and_shares_that_can_not_be_are_refused(kind: Callable[..., object], wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        kind(**wrong)
