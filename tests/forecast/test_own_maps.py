"""Maps of single series beside the common one: where they pay, whose they are, and that nobody else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import openbook as ob
from openbook.forecast import closed_form
from openbook.forecast.budget import Budget
from openbook.forecast.closed_form import Own, Solved, Table, mean_error, own_maps, solve, squared, with_own
from openbook.forecast.start import NO_TIME, SOLVING
from openbook.nn.skip import LinearSkip, skip_shape
from openbook.training.loop import TrainConfig

D, SLOPES = 6, {0: 1.0, 1: 1.0, 2: -1.0}  # the third series goes the other way


def drawn(rows: int, *, seed: int, noise: float = 0.3) -> Table:
    g = torch.Generator().manual_seed(seed)
    x, series = torch.randn(rows, D, generator=g), torch.arange(rows) % 3
    slope = torch.tensor([SLOPES[k] for k in range(3)])[series][:, None]
    y = slope * x[:, :1] + noise * torch.randn(rows, 2, generator=g)
    return Table(x, y, torch.ones(rows), series)


@pytest.fixture
def learnt() -> tuple[Table, Table, Solved]:
    train, judged = drawn(900, seed=0), drawn(300, seed=1)
    return train, judged, solve(train, judged, squared)


def test_a_series_that_goes_its_own_way_gets_a_map_of_its_own(learnt: tuple[Table, Table, Solved]) -> None:
    train, judged, common = learnt
    found = {own.series: own for own in own_maps(train, judged, common, squared)}
    assert found[2].share == 1.0
    weight = common.weight_DH + found[2].weight_DH
    assert weight[0].tolist() == pytest.approx([-1.0, -1.0], abs=0.1)
    told = with_own(common, tuple(found.values()), judged, squared)
    assert told.error < 0.5 * common.error
    assert told.error == pytest.approx(0.09, rel=0.2)  # the noise's variance


def test_where_all_series_are_alike_one_map_serves_them(learnt: tuple[Table, Table, Solved]) -> None:
    alike = [table._replace(y_WH=table.y_WH[:, :1] * 0 + table.x_WD[:, :1]) for table in learnt[:2]]
    g = torch.Generator().manual_seed(5)
    noisy = [table._replace(y_WH=table.y_WH + torch.randn(len(table.y_WH), 1, generator=g)) for table in alike]
    common = solve(*noisy, squared)
    assert own_maps(*noisy, common, squared) == ()
    assert with_own(common, (), noisy[1], squared) is common


def test_halfway_is_a_choice(learnt: tuple[Table, Table, Solved]) -> None:
    """Half of the truth is what all series share, half what each learned by itself."""
    train, judged, _ = learnt
    common = Solved(torch.eye(D)[:, 1:2].expand(-1, 2), torch.zeros(2), 1.0, 1.0)
    assert judged.series_W is not None
    slope_W1 = torch.tensor([SLOPES[k] for k in range(3)])[judged.series_W][:, None]
    truth_WH = (0.5 * judged.x_WD[:, 1:2] + 0.5 * slope_W1 * judged.x_WD[:, :1]).expand(-1, 2)
    assert {own.share for own in own_maps(train, judged._replace(y_WH=truth_WH), common, squared)} == {0.5}


def test_not_without_windows_to_judge_or_learn_by_nor_for_very_many_series(learnt: tuple[Table, Table, Solved]) -> None:
    train, judged, common = learnt
    assert own_maps(train, None, common, squared) == ()
    few = Table(*(part[:300] for part in train[:4]))  # type: ignore[index]
    assert own_maps(few, judged, common, squared) == ()
    many = train._replace(series_W=torch.arange(900) % 33)
    assert own_maps(many, judged._replace(series_W=torch.arange(300) % 33), common, squared) == ()
    one = [table._replace(series_W=torch.zeros(len(table.x_WD), dtype=torch.long)) for table in (train, judged)]
    assert own_maps(*one, Solved(torch.zeros(D, 2), torch.zeros(2), 1.0, 1.0), squared) == ()


@pytest.mark.parametrize(("cells", "expected"), [(3 * D * D, True), (3 * D * D - 1, False)])
def test_not_where_the_maps_would_be_large(
    cells: int, expected: bool, learnt: tuple[Table, Table, Solved], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_form, "_OWN_CELLS", cells)
    train, judged, common = learnt
    assert bool(own_maps(train, judged, common, squared)) == expected


def test_learned_again_with_the_same_shares_and_penalties(learnt: tuple[Table, Table, Solved]) -> None:
    train, judged, common = learnt
    before = own_maps(train, judged, common, squared)
    again = own_maps(train, None, common, squared, like=before)
    assert [own[:3] for own in again] == [own[:3] for own in before]
    torch.testing.assert_close(again[0].weight_DH, before[0].weight_DH)


def test_with_own_tells_the_error_of_all_maps_together(learnt: tuple[Table, Table, Solved]) -> None:
    _, judged, common = learnt
    own = Own(1, 0.5, 1.0, torch.ones(D, 2), torch.tensor([2.0, 3.0]))
    told = judged.x_WD @ common.weight_DH + common.bias_H
    told[judged.series_W == 1] += judged.x_WD[judged.series_W == 1].sum(1, keepdim=True) + torch.tensor([2.0, 3.0])
    assert with_own(common, (own,), judged, squared).error == pytest.approx(mean_error(told, judged, squared))


def test_the_layer_adds_a_series_map_to_its_windows_alone() -> None:
    layer = LinearSkip(skip_shape(4, 2, n_variables=1, n_known=0, n_fixed=0), n_own=2)
    layer.set_base(torch.ones(4, 2), torch.zeros(2))
    layer.set_own(1, torch.full((4, 2), 10.0), torch.tensor([0.5, 0.0]))
    x, own = torch.ones(3, 4), torch.tensor([-1, 1, 0])
    for told in (layer.floor(x, own), layer(x, own)):
        torch.testing.assert_close(told, torch.tensor([[4.0, 4.0], [44.5, 44.0], [4.0, 4.0]]))
    torch.testing.assert_close(layer.floor(x), torch.full((3, 2), 4.0))


H, NAMES = 6, ("calm", 7, "other way")


def table(length: int = 24 * 40) -> pd.DataFrame:
    """Two series repeat their day, one answers it with the opposite: no map of a window serves all three."""
    step, rng = np.arange(length), np.random.default_rng(3)
    frames = []
    for name in NAMES:
        kick = rng.normal(size=length)
        y = np.zeros(length)
        for t in range(1, length):
            y[t] = (-0.9 if name == "other way" else 0.9) * y[t - 1] + kick[t]
        frames.append(pd.DataFrame({"unique_id": str(name), "ds": step, "y": 50 + y}))
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def fitted() -> ob.Forecaster:
    config = ob.OpenBookConfig(window=24, n_models=2, hidden_size=8)
    train = TrainConfig(max_steps=6, val_every=3, batch_size=8)
    return ob.Forecaster(H, model=config, freq=1, train=train).fit(table())


def test_it_is_decided_with_its_evidence(fitted: ob.Forecaster) -> None:
    assert fitted.decisions["own"].value == len(fitted.fitted().layout.own) >= 1
    assert "other way" in fitted.decisions["own"].why
    assert "other way" in fitted.fitted().layout.own


def test_the_error_told_of_the_skip_path_is_that_with_them(
    fitted: ob.Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbook.forecast.start.own_maps", lambda *_: ())
    without = fitted.fresh().fit(table())
    errors = [float(model.decisions["penalty"].why.split()[2]) for model in (fitted, without)]
    assert errors[0] < 0.99 * errors[1]  # of one series in three


def test_maps_follow_the_names_not_the_order_or_the_company(fitted: ob.Forecaster) -> None:
    frame = table()
    together = fitted.predict(frame).set_index(["unique_id", "ds"])["OpenBook"]
    alone = fitted.predict(frame[frame["unique_id"] == "other way"]).set_index(["unique_id", "ds"])["OpenBook"]
    np.testing.assert_allclose(together.loc["other way"], alone.loc["other way"], rtol=1e-5)
    strange = frame[frame["unique_id"] == "other way"].assign(unique_id="never seen")
    common = fitted.predict(strange)["OpenBook"].to_numpy()
    assert np.abs(common - alone.to_numpy()).max() > 1e-3


def test_a_saved_model_has_them(fitted: ob.Forecaster, tmp_path: Path) -> None:
    again = ob.load(fitted.save(tmp_path / "model.ob"))
    pd.testing.assert_frame_equal(again.predict(level=(80,)), fitted.predict(level=(80,)))
    assert again.fitted().layout.own == fitted.fitted().layout.own


def test_without_a_skip_path_there_are_none() -> None:
    config = ob.OpenBookConfig(window=24, n_models=1, hidden_size=8, skip=False)
    train = TrainConfig(max_steps=2, val_every=1, batch_size=8)
    model = ob.Forecaster(H, model=config, freq=1, train=train).fit(table(24 * 20))
    assert model.decisions["own"].value == 0
    assert model.fitted().layout.own == ()


@pytest.mark.parametrize("hurried", [False, True])
def test_told_of_the_scaling_that_the_model_is_built_on(monkeypatch: pytest.MonkeyPatch, hurried: bool) -> None:
    """Where differences lead, the model's windows are of the other scaling: whose maps have the shares that were judged in
    differences. In a hurry there are none, and that stays the reason."""
    if hurried:  # when own maps would be next, and not when it comes to the other scaling
        monkeypatch.setattr(Budget, "gone", lambda budget, share, more=0.0: share == SOLVING and not more)
    config = ob.OpenBookConfig(window=24, n_models=1, hidden_size=8, differences=True)
    train = TrainConfig(max_steps=2, val_every=1, batch_size=8)
    model = ob.Forecaster(H, model=config, freq=1, scaling="difference", train=train).fit(table(24 * 20))
    assert model.decisions["scaling"].value == "standard"
    own = model.decisions["own"]
    if hurried:
        assert (own.value, own.why) == (0, NO_TIME)
    else:
        assert own.value >= 1
        assert own.why.endswith("; judged in difference")
