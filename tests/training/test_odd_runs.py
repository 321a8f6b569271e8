"""Trainings in which something is not as it should be: nothing to measure, a bad batch, a device that is not there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.training.test_loop import WINDOWS, run, setting

import openbook as ob
from openbook.errors import UsageError
from openbook.models.seq2seq import LuongConfig
from openbook.nn.heads import QuantileHead
from openbook.nn.skip import LinearSkip, skip_shape
from openbook.training import loop
from openbook.training.device import pick_device


def test_where_no_held_out_window_can_be_measured_training_goes_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    """A series of zeros alone is long enough to hold windows out, and has nothing that a MASE could be counted in."""
    still = pd.DataFrame({"unique_id": "still", "ds": range(120), "y": 0.0})
    short = [pd.DataFrame({"unique_id": f"s{k}", "ds": range(9), "y": np.arange(9.0) % 3 + k}) for k in range(5)]
    train = ob.TrainConfig(max_steps=12, val_every=2, patience=1, loss="mase")
    model = ob.Forecaster(6, model="luong", input_size=4, train=train).fit(pd.concat([still, *short]))
    assert model.training_ is not None
    assert (model.training_.steps, model.training_.best_step) == (12, 12)
    assert model.training_.val_loss == []
    assert "no held-out window can be measured" in caplog.text


def test_a_bad_batch_leaves_the_running_means_of_a_norm_alone() -> None:
    model, resident, split, shape = setting(ob.BahdanauConfig(hidden_size=8, norm="batch"))  # type: ignore[arg-type]
    config = ob.TrainConfig(max_steps=6, val_every=3, batch_size=8)
    training = loop.Training(model, resident, split, WINDOWS, shape=shape, config=config, seed=1)  # type: ignore[arg-type]
    real = training._forward

    def spoiled(batch: Any, *others: Any) -> Any:
        if training.history.steps == 1 and training.model.training:
            batch = batch._replace(encoder_BTX=batch.encoder_BTX * math.nan)
        return real(batch, *others)

    training._forward = spoiled  # type: ignore[method-assign]
    history = training.run()
    assert history.skipped == [2]
    assert math.isfinite(history.best_loss)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_training_without_any_finite_loss_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop.Training, "judged", lambda self, model: math.nan)
    _, history = run(ob.TrainConfig(max_steps=4, val_every=2, batch_size=4))
    assert not math.isfinite(history.best_loss)
    assert "its weights are the initial ones" in caplog.text


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:7"])
def test_a_gpu_that_is_not_there_is_refused(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: device == "cuda:7")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match="NVIDIA GPU"):
        pick_device(device)


def test_a_device_of_torch_is_a_device() -> None:
    assert pick_device(torch.device("cpu")) == torch.device("cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        *({"averaging": -1.0}, {"averaging": 2.0}, {"weight_decay": -1.0}, {"focus": math.nan}, {"budget_s": True}),
        *({"learning_rate": math.inf}, {"clip": math.inf}),
    ],
)
def test_numbers_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ob.TrainConfig(**given)


def test_floor_and_quantiles_stay_in_float32_under_autocast() -> None:
    """At step zero the model is its linear floor, also where the rest is computed in half precision."""
    torch.manual_seed(1)
    layer, x = LinearSkip(skip_shape(48, 6, n_variables=1, n_known=0, n_fixed=0), n_own=2), torch.randn(9, 48)
    layer.set_base(torch.randn(48, 6), torch.randn(6))
    layer.set_own(1, torch.randn(48, 6), torch.randn(6))
    own = torch.tensor([-1, 0, 1] * 3)
    head, feature = QuantileHead(size=16, n_targets=1, quantiles=(0.1, 0.5, 0.9)), torch.randn(4, 16)
    exact = layer.floor(x, own), layer(x, own), head(feature)
    with torch.autocast("cpu", torch.bfloat16):
        told = layer.floor(x, own), layer(x, own), head(feature)
    for one, other in zip(exact, told, strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one, other)


def test_luong_under_autocast_gives_float32_quantiles() -> None:
    model, resident, split, shape = setting(LuongConfig(hidden_size=8))
    training = loop.Training(
        model,
        resident,
        split,
        WINDOWS,
        shape=shape,
        config=ob.TrainConfig(max_steps=2),
        seed=1,  # type: ignore[arg-type]
    )
    training.autocast = True
    assert math.isfinite(training._step(1, 0.0))
