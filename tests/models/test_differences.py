"""A model of differences among windows of another scaling: it reads and answers as it does among its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from openbook.data.panel import Panel, make_panel
from openbook.models.base import ModelShape
from openbook.models.differences import FromNewest
from openbook.models.openbook import OpenBook, OpenBookConfig, OpenBookNet
from openbook.windows.batch import Batch
from openbook.windows.sampler import Layout, WindowShape, gather, make_resident
from openbook.windows.scaling import ColumnScaler, Scaling, fit_inputs

CONFIG = OpenBookConfig(hidden_size=8, window=12, segment=3, book=2, mixing=True, cycle=False, n_models=1)
LAYOUT = Layout("y", ("heard",), ("known",), ("hour_sin_1", "hour_cos_1"))
SHAPE = ModelShape(n_variables=3, n_encoder=6, n_decoder=4, input_size=36, h=6, n_known=1, season=12)
UNIT = 3.7


@pytest.fixture(scope="module")
def panel() -> Panel:
    """A level that wanders far from zero, inputs in large and small units, and gaps in all of them."""
    rng, n = np.random.default_rng(0), 200
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-01", periods=n, freq="h")})
    frame["y"] = 500 + 4 * rng.standard_normal(n).cumsum()
    frame["heard"] = 1e4 + 300 * rng.standard_normal(n).cumsum()
    frame["known"] = 0.01 * rng.standard_normal(n)
    for place, name in enumerate(("y", "heard", "known")):
        frame.loc[rng.random(n) < 0.1, name] = np.nan
        frame.loc[90 + place : 95, name] = np.nan
    return make_panel(frame, hist=["heard"], futr=["known"], freq="h")


def gathered(panel: Panel, scaling: Scaling, unit: float = UNIT) -> tuple[Batch, ColumnScaler]:
    """Windows from the first rows on (padded ones), some of whose newest rows are missing."""
    columns = fit_inputs(np.concatenate([panel.hist, panel.futr], axis=1), panel.offsets, scaling)
    windows = WindowShape(36, 6, scaling, unit, scale_steps=12)
    end_B = torch.tensor([8, 40, 95, 96, 150, 194])
    return gather(make_resident(panel, LAYOUT, columns), torch.zeros_like(end_B), end_B, windows), columns


def beside(net: OpenBookNet, base: ColumnScaler, own: ColumnScaler) -> FromNewest:
    made = FromNewest(net, n_inputs=2, n_known=1)
    made.set_units(UNIT, torch.from_numpy(own.std_C / base.std_C))
    return made.eval()


@pytest.fixture
def net() -> OpenBookNet:
    torch.manual_seed(0)
    made = OpenBookNet(CONFIG, SHAPE)
    with torch.no_grad():  # nothing at its start, where much is zero
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    assert made.skip is not None
    made.skip.set_base(0.1 * torch.randn(made.skip_shape.width, 6), torch.ones(6))
    return made.eval()


@pytest.mark.parametrize("scaling", ["standard", "last", "fixed", "none"])
def test_windows_of_any_scaling_are_read_as_differences(panel: Panel, scaling: Scaling, net: OpenBookNet) -> None:
    (batch, base), (wanted, own) = gathered(panel, scaling, 5.0), gathered(panel, "difference")
    assert (base.std_C > 2 * own.std_C).any(), "levels wander farther than steps"
    read = beside(net, base, own).read(batch)
    for name, part in read._asdict().items():
        torch.testing.assert_close(
            part, getattr(wanted, name), rtol=0, atol=2e-4, msg=lambda told, n=name: f"{n}: {told}"
        )


@pytest.mark.parametrize("scaling", ["standard", "last", "fixed"])
def test_answers_are_the_same_in_original_units(panel: Panel, scaling: Scaling, net: OpenBookNet) -> None:
    (batch, base), (native, own) = gathered(panel, scaling, 5.0), gathered(panel, "difference")
    wanted, found = net(native), beside(net, base, own)(batch)

    def plain(scaled: torch.Tensor, of: Batch) -> torch.Tensor:
        shape = (-1, *[1] * (scaled.ndim - 1))
        return scaled * of.scale_BM.reshape(shape) + of.location_BM.reshape(shape)

    torch.testing.assert_close(
        plain(found.quantile_BHMQ, batch), plain(wanted.quantile_BHMQ, native), rtol=0, atol=5e-3
    )
    assert found.skip_BHM is not None
    torch.testing.assert_close(plain(found.skip_BHM, batch), plain(wanted.skip_BHM, native), rtol=0, atol=5e-3)
    torch.testing.assert_close(found.attention.weight_BHTF, wanted.attention.weight_BHTF, rtol=0, atol=1e-4)


def test_half_of_a_forecast_is_read_from_differences(panel: Panel) -> None:
    (batch, base), (_, own) = gathered(panel, "standard"), gathered(panel, "difference")
    torch.manual_seed(0)
    model = OpenBook(replace(CONFIG, n_models=2, differences=True), SHAPE).eval()
    assert [isinstance(member, FromNewest) for member in model.members] == [False, False, True, True]
    for member in model.members[2:]:
        member.set_units(UNIT, torch.from_numpy(own.std_C / base.std_C))
    each = torch.stack([member(batch).quantile_BHMQ for member in model.members])
    torch.testing.assert_close(model(batch).quantile_BHMQ, each.mean(0))
    assert len(OpenBook(replace(CONFIG, differences=False), SHAPE).members) == 1
    again = OpenBook(replace(CONFIG, n_models=2, differences=True), SHAPE).eval()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(batch).quantile_BHMQ, model(batch).quantile_BHMQ)


def test_inputs_that_are_constant_in_a_scaling_are_left_out(net: OpenBookNet) -> None:
    made = FromNewest(net, n_inputs=4, n_known=1)
    made.set_units(
        UNIT, torch.tensor([float("nan"), 0.0, float("inf"), 2.0])
    )  # in both, in the batch's, in its own, in none
    assert made.step_F.tolist() == [float("inf")] * 3 + [2.0]
