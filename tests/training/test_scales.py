"""Units of losses against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from openbook.data.panel import Panel
from openbook.models.base import ModelShape
from openbook.models.registry import build_model
from openbook.models.seq2seq import LuongConfig
from openbook.training.loop import TrainConfig, Training
from openbook.training.losses import loss_value
from openbook.training.scales import loss_unit
from openbook.windows.sampler import Layout, Resident, Split, WindowIndex, WindowShape, gather, make_resident
from openbook.windows.scaling import fit_columns

NAN = float("nan")


def resident(*series: list[float], units: list[float]) -> Resident:
    """Series one after the other, with the units of their errors."""
    lengths = [len(values) for values in series]
    empty = np.empty((sum(lengths), 0))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.concatenate([np.arange(length) for length in lengths])
    panel = Panel(np.arange(len(series)), offsets, times, np.concatenate(series), empty, empty, 1)
    return make_resident(panel, Layout("y"), fit_columns(empty), error_N=np.array(units))


def unit(where: Resident, series: int, end: int, *, h: int = 2, loss: str = "lag_mase", gap: int = 2) -> float:
    found = loss_unit(where, torch.tensor([series]), torch.tensor([end]), h=h, loss=loss, gap=gap)  # type: ignore[arg-type]
    assert found is not None
    assert found.shape == (1, 1)
    return float(found)


def test_mase_takes_the_series_own_unit() -> None:
    where = resident([1.0, 2.0, 3.0], [5.0, 5.0, 5.0], units=[2.0, 7.0])
    assert unit(where, 0, 1, loss="mase") == 2.0
    assert unit(where, 1, 4, loss="mase") == 7.0


def test_lag_mase_compares_with_the_window_a_gap_before() -> None:
    where = resident([1.0, 4.0, 3.0, 10.0, 0.0], units=[9.0])
    assert unit(where, 0, 2) == pytest.approx((abs(3 - 1) + abs(10 - 4)) / 2)
    assert unit(where, 0, 3) == pytest.approx((abs(10 - 4) + abs(0 - 3)) / 2)
    assert unit(where, 0, 3, gap=1) == pytest.approx((abs(10 - 3) + abs(0 - 10)) / 2)


def test_missing_values_are_left_out_of_the_mean() -> None:
    where = resident([1.0, NAN, 3.0, 10.0], units=[9.0])
    assert unit(where, 0, 2) == pytest.approx(2.0)
    assert unit(resident([NAN, NAN, 3.0, 10.0], units=[9.0]), 0, 2) == 9.0


def test_a_gap_longer_than_the_past_falls_back_to_the_series() -> None:
    where = resident([7.0, 7.0, 7.0], [1.0, 2.0, 9.0, 4.0], units=[3.0, 5.0])
    assert unit(where, 1, 5, gap=6) == 5.0  # six rows back lies the other series: it must not be read
    assert unit(where, 1, 5, gap=1, h=1) == pytest.approx(7.0)


def test_zero_falls_back_and_nothing_known_is_nan() -> None:
    assert unit(resident([5.0, 6.0, 5.0, 6.0], units=[0.5]), 0, 2) == 0.5
    assert np.isnan(unit(resident([0.0, 0.0, 0.0, 0.0], units=[NAN]), 0, 2))


def test_without_units_laid_out_there_is_none_and_with_them_every_loss_takes_the_series_own() -> None:
    where = resident([1.0, 2.0], units=[4.0])
    asked = (torch.tensor([0]), torch.tensor([1]))
    assert loss_unit(where._replace(error_N=None), *asked, h=1, loss="mae", gap=1) is None
    found = loss_unit(where, *asked, h=1, loss="mae", gap=1)
    assert found is not None
    assert found.item() == 4.0


@pytest.mark.parametrize(("halfway", "counted"), [(False, 8.0), (True, (8.0 * 0.5) ** 0.5)])
def test_halfway_the_series_unit_and_the_window_s_own_scale_meet_at_their_geometric_mean(
    halfway: bool, counted: float
) -> None:
    """A window whose context has a deviation of 0.5 in a series of unit 8: in scaled units, and back in the target's."""
    where = resident([0.0, 1.0, 0.0, 1.0, 3.0], units=[8.0])._replace(halfway=halfway)
    windows, shape = WindowShape(4, 1), ModelShape(1, 2, 1, 4, 1, (0.5,))
    split = Split(WindowIndex(np.array([0]), np.array([4])), WindowIndex(*np.zeros((2, 0), np.int64)), held_out=0)
    model = build_model(LuongConfig(hidden_size=2), shape, 1)
    training = Training(model, where, split, windows, shape=shape, config=TrainConfig(loss="mae"), seed=1)
    place = (torch.tensor([0]), torch.tensor([4]))
    batch = gather(where, *place, windows)
    found = training._unit(*place, batch)
    assert found is not None
    assert float(found * batch.scale_BM) == pytest.approx(counted)


def test_squared_errors_are_counted_in_squared_units() -> None:
    point, target = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1), 6.0)
    seen, units = torch.ones(1, 1, 1, dtype=torch.bool), torch.tensor([[3.0]])
    assert loss_value(point, target, seen, quantiles=(0.5,), loss="mse", unit_BM=units).item() == 4.0


def test_the_loss_counts_errors_in_units_and_leaves_windows_without_out() -> None:
    point = torch.zeros(3, 2, 1, 1, requires_grad=True)
    target = torch.tensor([[2.0, 4.0], [6.0, 100.0], [1.0, 1.0]])[..., None]
    observed = torch.tensor([[True, True], [True, False], [True, True]])[..., None]
    units = torch.tensor([[2.0], [3.0], [NAN]])
    loss = loss_value(point, target, observed, quantiles=(0.5,), loss="mase", unit_BM=units)
    assert float(loss.detach()) == pytest.approx((2 / 2 + 4 / 2 + 6 / 3) / 3)
    loss.backward()
    assert point.grad is not None
    wanted = torch.tensor([[-1 / 6, -1 / 6], [-1 / 9, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(point.grad[..., 0, 0], wanted)


def test_nothing_to_measure_by_is_zero_not_nan() -> None:
    point = torch.ones(1, 1, 1, 1, requires_grad=True)
    seen = torch.ones(1, 1, 1, dtype=torch.bool)
    loss = loss_value(point, seen.float(), seen, quantiles=(0.5,), loss="lag_mase", unit_BM=torch.tensor([[NAN]]))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert point.grad is not None
    assert float(point.grad.sum()) == 0.0
