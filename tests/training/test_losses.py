"""Losses by hand, with masks, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch

from openbook.errors import UsageError
from openbook.training.losses import attention_entropy, loss_value

QUANTILES = (0.1, 0.5, 0.9)


def value(loss: str, forecast: list[float], truth: float, seen: bool = True) -> float:
    quantile = torch.tensor(forecast).view(1, 1, 1, 3)
    target, observed = torch.tensor([[[truth]]]), torch.tensor([[[seen]]])
    return float(loss_value(quantile, target, observed, quantiles=QUANTILES, loss=loss))


def test_pinball_by_hand() -> None:
    # truth above all: 2 * mean(0.1 * 3, 0.5 * 2, 0.9 * 1)
    assert value("pinball", [1.0, 2.0, 3.0], 4.0) == pytest.approx(2 * (0.3 + 1.0 + 0.9) / 3)
    # truth below all: 2 * mean(0.9 * 1, 0.5 * 2, 0.1 * 3)
    assert value("pinball", [1.0, 2.0, 3.0], 0.0) == pytest.approx(2 * (0.9 + 1.0 + 0.3) / 3)


@pytest.mark.parametrize(("loss", "wanted"), [("mae", 2.0), ("mse", 4.0), ("huber", 1.5)])
def test_point_losses_read_the_median(loss: str, wanted: float) -> None:
    assert value(loss, [1.0, 2.0, 3.0], 4.0) == pytest.approx(wanted)


def test_unobserved_steps_neither_count_nor_divide() -> None:
    quantile = torch.tensor([[[[0.0]], [[0.0]]]], requires_grad=True)
    target, observed = torch.tensor([[[3.0], [999.0]]]), torch.tensor([[[True], [False]]])
    loss = loss_value(quantile, target, observed, quantiles=(0.5,))
    assert loss.item() == 3.0
    loss.backward()
    assert quantile.grad[0, 1, 0, 0] == 0
    assert value("pinball", [1.0, 2.0, 3.0], 4.0, seen=False) == 0.0


@pytest.mark.parametrize("loss", ["pinball", "mae", "mse", "huber"])
def test_gradients_match_differences(loss: str) -> None:
    generator = torch.Generator().manual_seed(1)
    quantile = torch.randn(2, 3, 1, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randn(2, 3, 1, generator=generator, dtype=torch.float64)
    observed = torch.rand(2, 3, 1, generator=generator) < 0.7

    def run(q: torch.Tensor) -> torch.Tensor:
        return loss_value(q, target, observed, quantiles=QUANTILES, loss=loss)

    assert torch.autograd.gradcheck(run, (quantile,))


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(UsageError, match="pinball"):
        value("maee", [1.0, 2.0, 3.0], 1.0)


def test_of_several_look_ups_of_a_step_the_mean_entropy_counts() -> None:
    one = torch.full((1, 1, 1, 4), 0.25)
    for rows in (1, 3, 168):  # softmaxes over four inputs, one at every past step
        assert attention_entropy(one.expand(1, 1, rows, 4)).item() == pytest.approx(math.log(4), rel=1e-6)
    half = torch.full((1, 1, 2, 2), 0.125)  # half of one look-up went nowhere
    assert attention_entropy(half).item() == pytest.approx(0.5 * math.log(8) + 0.5 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.125, 0.25, 0.5])
def test_the_entropy_has_a_gradient_whatever_was_looked_up(weight: float) -> None:
    weights = torch.full((2, 3, 2, 2), weight, requires_grad=True)
    attention_entropy(weights).backward()
    assert weights.grad is not None
    assert weights.grad.isfinite().all()
