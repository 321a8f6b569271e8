"""The closed-form skip path: the ridge solution itself, and how its penalty is judged."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from openbook.data.panel import make_panel
from openbook.forecast import closed_form
from openbook.forecast.closed_form import (
    Averaged,
    Counting,
    Solved,
    Table,
    _complete,
    absolute,
    average,
    mean_error,
    solve,
    squared,
    tabulate,
)
from openbook.forecast.seasonal_map import seasonal_map
from openbook.forecast.start import tables_of
from openbook.models.base import ModelShape
from openbook.models.openbook import OpenBookConfig, OpenBookNet
from openbook.nn.skip import skip_input, skip_shape
from openbook.training.loop import TrainConfig
from openbook.windows.sampler import Layout, WindowShape, gather, make_resident, split_windows, spread
from openbook.windows.scaling import fit_columns


def make_table(rows: int, *, noise: float, seed: int = 0) -> Table:
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 5, generator=g)
    truth = torch.arange(10.0).reshape(5, 2) / 5
    y = x @ truth + 3 + noise * torch.randn(rows, 2, generator=g)
    return Table(x, y, torch.ones(rows))


def test_without_noise_the_map_is_found_and_the_smallest_penalty_taken() -> None:
    found = solve(make_table(200, noise=0.0), make_table(50, noise=0.0, seed=1), absolute)
    torch.testing.assert_close(found.weight_DH, torch.arange(10.0).reshape(5, 2) / 5, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.bias_H, torch.full((2,), 3.0), atol=1e-3, rtol=0)
    assert found.penalty == pytest.approx(1e-5)


@pytest.mark.parametrize("cells", [1, 1_000_000])
def test_a_row_of_the_table_is_what_the_skip_path_reads_of_the_window(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole windows gathered with their calendar, against the table's short cut; two series, one begins late."""
    hour, rng = np.arange(24 * 9), np.random.default_rng(1)
    stamps = pd.date_range("2024-03-01", periods=len(hour), freq="h")
    both = [
        pd.DataFrame(
            {"unique_id": name, "ds": stamps, "y": rng.normal(5, 2, len(hour)), "heat": rng.normal(size=len(hour))}
        )
        for name in "ab"
    ]
    panel = make_panel(pd.concat([both[0], both[1][50:]]), futr=("heat",))
    layout = Layout("y", futr=("heat",), calendar=("hour_sin_1", "hour_cos_1", "week_sin_2"))
    resident = make_resident(panel, layout, fit_columns(panel.futr))
    windows, unit = WindowShape(48, 6), np.array([2.0, 4.0])
    index = split_windows(panel, windows, validation_size=24, season=24).train
    skip = skip_shape(48, 6, n_variables=2, n_known=1, n_fixed=3)
    monkeypatch.setattr(closed_form, "_CELLS", cells)
    table = tabulate(resident, index, windows, skip, unit, 40)
    chosen = spread(index, 40)
    batch = gather(resident, torch.from_numpy(chosen.series_W), torch.from_numpy(chosen.end_W), windows)
    torch.testing.assert_close(table.x_WD, skip_input(batch, skip, learning=True), rtol=0, atol=0)
    torch.testing.assert_close(table.y_WH, batch.target_BHM[..., 0], rtol=0, atol=0)
    torch.testing.assert_close(table.size_W, batch.scale_BM[:, 0] / torch.from_numpy(unit[chosen.series_W]))
    assert table.series_W is not None
    np.testing.assert_array_equal(table.series_W, chosen.series_W)


@pytest.mark.parametrize("recall", [0, 1])
def test_maps_are_learned_from_gaps_that_are_recalled_as_the_model_recalls_them(recall: int) -> None:
    rng, season = np.random.default_rng(2), 12
    y = np.where(rng.random(300) < 0.1, np.nan, rng.normal(5, 2, 300))
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(300), "y": y}))
    resident = make_resident(panel, Layout("y"), fit_columns(np.empty((300, 0))))
    windows, train = WindowShape(48, 6), TrainConfig(validation_size=24)
    shape = ModelShape(n_variables=1, n_encoder=2, n_decoder=1, input_size=48, h=6, season=season, recall=recall)
    learnt, _ = tables_of(panel, resident, shape, windows, train, np.ones(1), 1000)
    index = split_windows(panel, windows, validation_size=24, season=season).train
    batch = gather(resident, torch.from_numpy(index.series_W), torch.from_numpy(index.end_W), windows)
    config = OpenBookConfig(hidden_size=4, window=48, segment=6, book=0)
    wanted = skip_input(batch, OpenBookNet(config, shape).skip_shape, learning=True)
    torch.testing.assert_close(learnt.x_WD, wanted, rtol=0, atol=0)


def test_it_is_the_ridge_solution() -> None:
    table = make_table(40, noise=1.0)
    found = solve(table, None, absolute, penalty=0.5)
    x, y = table.x_WD.double().numpy(), table.y_WH.double().numpy()
    centred = x - x.mean(0)
    gram = centred.T @ centred
    wanted = np.linalg.solve(gram + 0.5 * np.diag(gram).mean() * np.eye(5), centred.T @ (y - y.mean(0)))
    np.testing.assert_allclose(found.weight_DH, wanted, atol=1e-5)


def test_windows_weigh_by_their_size() -> None:
    table = make_table(40, noise=1.0)
    size = torch.rand(40, generator=torch.Generator().manual_seed(3)) + 0.1
    found = solve(table._replace(size_W=size), None, absolute, penalty=1e-9)
    root = size.double().numpy()[:, None]
    x = np.concatenate([table.x_WD.double().numpy(), np.ones((40, 1))], axis=1) * root
    wanted = np.linalg.lstsq(x, table.y_WH.double().numpy() * root, rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([found.weight_DH, found.bias_H[None]]), wanted, atol=1e-5)


def test_windows_weigh_by_what_they_count_where_that_is_told() -> None:
    table = make_table(40, noise=1.0)
    weight = torch.rand(40, generator=torch.Generator().manual_seed(3)) + 0.1
    told = solve(table._replace(size_W=torch.full((40,), 7.0), weight_W=weight), None, absolute, penalty=1e-9)
    same = solve(table._replace(size_W=weight.sqrt()), None, absolute, penalty=1e-9)
    torch.testing.assert_close(told.weight_DH, same.weight_DH)
    torch.testing.assert_close(told.bias_H, same.bias_H)


def test_what_windows_count_by() -> None:
    table = make_table(3, noise=0.0)._replace(size_W=torch.tensor([1.0, 2.0, 3.0]), series_W=torch.tensor([0, 0, 1]))
    ratio = torch.tensor([1.0, 10.0])
    wanted = {"series": [1, 4, 9], "changes": [1, 4, 900], "halfway": [1, 2, 3], "window": [1, 1, 1]}
    for by, weights in wanted.items():
        counted = Counting(by, ratio).of(table).weight_W  # type: ignore[arg-type]
        assert counted is not None
        assert counted.tolist() == weights


def test_noise_that_teaches_nothing_is_punished() -> None:
    g = torch.Generator().manual_seed(0)

    def noise(rows: int) -> Table:
        return Table(torch.randn(rows, 30, generator=g), torch.randn(rows, 1, generator=g), torch.ones(rows))

    assert solve(noise(40), noise(500), squared).penalty >= 10


def test_missing_targets_are_left_out_or_filled_where_hardly_any_window_is_whole() -> None:
    table = make_table(200, noise=0.0)
    some, every = table.y_WH.clone(), table.y_WH.clone()
    some[::3, 1], every[:, 1] = torch.nan, torch.nan
    found = solve(table._replace(y_WH=some), None, absolute, penalty=1e-6)
    torch.testing.assert_close(found.weight_DH, torch.arange(10.0).reshape(5, 2) / 5, atol=1e-3, rtol=0)
    bridged = solve(table._replace(y_WH=every), None, absolute, penalty=1e-6)
    torch.testing.assert_close(bridged.weight_DH[:, 1], bridged.weight_DH[:, 0])


def test_nothing_to_learn_from_forecasts_the_location() -> None:
    empty = Table(torch.zeros(0, 3), torch.zeros(0, 2), torch.zeros(0))
    found = solve(empty, None, absolute)
    assert found.weight_DH.shape == (3, 2)
    assert not found.weight_DH.any()
    assert np.isnan(found.error)


def test_errors_are_in_units_of_the_series() -> None:
    table = Table(torch.zeros(2, 1), torch.tensor([[1.0], [torch.nan]]), torch.tensor([4.0, 9.0]))
    assert mean_error(torch.zeros(2, 1), table, absolute) == 4.0
    assert mean_error(torch.zeros(2, 1), table, squared) == 16.0


def without_oldest(table: Table, columns: int) -> Table:
    return table._replace(x_WD=table.x_WD[:, columns:])


def test_maps_of_several_windows_are_averaged_by_how_well_they_validate() -> None:
    train, judged = make_table(40, noise=1.0), make_table(60, noise=1.0, seed=1)
    found = average((train,), judged, squared, (3, 4))  # four own lags, the oldest first, and one other column
    short, long = (solve(without_oldest(train, older), without_oldest(judged, older), squared) for older in (1, 0))
    apart = (max(short.error, long.error) / min(short.error, long.error) - 1) / 0.05
    behind = np.exp(-apart) / (1 + np.exp(-apart))
    assert found.share == pytest.approx((behind, 1 - behind) if short.error > long.error else (1 - behind, behind))
    assert found.penalty == (short.penalty, long.penalty)
    weight = found.share[1] * long.weight_DH
    weight[1:] += found.share[0] * short.weight_DH
    torch.testing.assert_close(found.solved.weight_DH, weight)
    torch.testing.assert_close(found.solved.bias_H, found.share[0] * short.bias_H + found.share[1] * long.bias_H)
    told = judged.x_WD @ found.solved.weight_DH + found.solved.bias_H
    assert found.solved.error == pytest.approx(mean_error(told, judged, squared))


def seasonal_windows(rows: int, *, seed: int) -> Table:
    """Twelve own lags of a season of four and another column; six steps ahead are what the season before was, and noise."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=g).repeat(1, 3) + 0.3 * torch.randn(rows, 12, generator=g)
    y = x[:, [8, 9, 10, 11, 8, 9]] + torch.randn(rows, 6, generator=g)
    return Table(torch.cat([x, torch.randn(rows, 1, generator=g)], dim=1), y, torch.ones(rows))


def test_a_map_shrunk_towards_past_seasons_does_better_where_windows_are_few() -> None:
    train, judged = seasonal_windows(30, seed=0), seasonal_windows(400, seed=1)
    found = average((train,), judged, squared, (3, 12), 4)
    assert list(zip(found.windows, found.towards, strict=True)) == [(3, "zero"), (12, "zero"), (12, "season")]
    plain = average((train,), judged, squared, (3, 12))
    assert plain.towards == ("zero", "zero")
    assert found.share[:2] == pytest.approx([share / 2 for share in plain.share])
    assert found.share[2] == 0.5
    assert found.solved.error < 0.97 * plain.solved.error
    assert average((train,), None, squared, (3, 12), 4).share == (0.25, 0.25, 0.5)


def test_the_penalty_draws_towards_the_seasonal_map() -> None:
    """The minimum of squared errors and squared distances from it, by the gradient there."""
    train = seasonal_windows(50, seed=0)
    like = Averaged((0,), (12,), ("season",), (1.0,), (0.7,), Solved(torch.zeros(13, 6), torch.zeros(6), 0.7, 0.0))
    found = average((train,), None, squared, (12,), 4, like)
    x, y = ((part - part.mean(0)).double() for part in (train.x_WD, train.y_WH))
    gram, cross, weight = x.T @ x / 50, x.T @ y / 50, found.solved.weight_DH.double()
    known = seasonal_map(gram, cross, 12, 4)
    pull = 0.7 * gram.diagonal().mean() * (weight - known)
    torch.testing.assert_close(gram @ weight - cross + pull, torch.zeros(13, 6).double(), atol=1e-5, rtol=0)
    assert not known[12].any()  # the other column is not read by the seasonal map
    assert weight[12].abs().min() > 0
    assert found[:5] == like[:5]


def test_maps_of_windows_that_count_differently_have_equal_shares() -> None:
    """Whichever validates better: what is told of both is their mean, and learned again by the shares of each."""
    plain, judged = seasonal_windows(40, seed=0), seasonal_windows(200, seed=1)
    other = plain._replace(weight_W=torch.linspace(0.1, 9, 40))
    found = average((plain, other), judged, squared, (3, 12), 4)
    assert found.table == (0, 0, 0, 1, 1, 1)
    apart = [average((table,), judged, squared, (3, 12), 4) for table in (plain, other)]
    weights = [each.solved.weight_DH for each in apart]
    assert not torch.allclose(*weights, atol=1e-3)
    torch.testing.assert_close(found.solved.weight_DH, (weights[0] + weights[1]) / 2)
    assert found.share == pytest.approx([share / 2 for each in apart for share in each.share])
    again = average((plain, other), None, squared, (3, 12), 4, found)
    assert again[:5] == found[:5]
    torch.testing.assert_close(again.solved.weight_DH, found.solved.weight_DH)


def test_what_validated_before_is_learned_again_alike() -> None:
    train, judged = make_table(40, noise=1.0), make_table(60, noise=1.0, seed=1)
    before = average((train,), judged, squared, (3, 4))
    again = average((train,), None, squared, (3, 4), 1, before)
    assert (again.share, again.penalty) == (before.share, before.penalty)
    torch.testing.assert_close(again.solved.weight_DH, before.solved.weight_DH)
    assert np.isnan(again.solved.error)
    assert average((train,), None, squared, (3, 4)).share == (0.5, 0.5)


def test_one_window_is_its_own_average() -> None:
    train, judged = make_table(40, noise=1.0), make_table(60, noise=1.0, seed=1)
    found, single = average((train,), judged, squared, (4,)), solve(train, judged, squared)
    assert found.share == (1.0,)
    torch.testing.assert_close(found.solved.weight_DH, single.weight_DH)
    assert found.solved.error == pytest.approx(single.error)


def test_without_noise_maps_of_several_windows_are_found_all_the_same() -> None:
    flat = Table(torch.ones(30, 5), torch.zeros(30, 2), torch.ones(30))
    found = average((flat,), flat, absolute, (3, 4))  # nothing to be wrong about: errors of zero
    assert found.share == (0.5, 0.5)
    assert found.solved.error == 0.0


@pytest.mark.parametrize("gaps", [False, True])
def test_windows_without_a_truth_are_none_to_learn_from(gaps: bool) -> None:
    """Not even where they are many: then all others had counted as windows with gaps, and these as zeros."""
    y = torch.full((100, 2), torch.nan)
    y[:10] = torch.arange(20.0).view(10, 2)
    if gaps:
        y[:9, 0] = torch.nan
    table = Table(torch.arange(100.0)[:, None], y, torch.arange(100.0), torch.zeros(100, dtype=torch.int64))
    x, truth, weight = _complete(table)
    assert x[:, 0].tolist() == list(range(10))
    assert weight.tolist() == [float(k**2) for k in range(10)]
    assert truth[:, 1].tolist() == [float(k) for k in range(1, 20, 2)]
