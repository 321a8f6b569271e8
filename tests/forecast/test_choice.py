"""Never worse than the floor: what is mixed, why, and that the parts add up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from tests.models.test_laws import make_batch

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.forecast.choice import ALONE, Choice, Told, choose, in_own_spread, members, mixed, parts_of
from openbook.forecast.closed_form import absolute
from openbook.forecast.origins import Origins
from openbook.windows.sampler import WindowShape

NAMES = ("model", "skip", "repeat 2")


def make(n: int = 1) -> Panel:
    rows = [{"unique_id": f"s{k}", "ds": t, "y": float(t % 2 * 10 + k)} for k in range(n) for t in range(8)]
    return make_panel(pd.DataFrame(rows))


def errors(*means: float, windows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Members that miss a truth of zero by these means, always on the same side."""
    return np.stack([np.full((windows, 2), mean) for mean in means]), np.zeros((windows, 2))


@pytest.mark.parametrize("broken", [1, 59, 60])
def test_a_model_without_a_forecast_gives_way_to_a_floor(broken: int) -> None:
    told, truth = errors(0.1, 0.2, 0.5)
    told[:2, :broken] = np.nan  # and so is its own linear path
    found, decision = choose(make(), ends(60), told, truth, NAMES, absolute)
    assert found.share == (0.0, 0.0, 1.0)
    assert decision.why.startswith("validation errors: model inf, skip inf, repeat 2 0.5")
    told, truth = errors(0.1, 0.2, 0.5)
    told[2, :broken] = np.nan  # a floor has none where nothing was seen a season ago: the others are not judged by it
    assert choose(make(), ends(60), told, truth, NAMES, absolute)[0].share == (1.0, 0.0, 0.0)
    told[2, broken:] = 0.01
    assert choose(make(), ends(60), told, truth, NAMES, absolute)[0].share[2] == (1.0 if broken < 60 else 0.0)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_floor_stands_where_the_model_has_no_numbers(broken: float) -> None:
    panel, origins = make(), Origins(np.zeros(1, np.int64), np.array([6]))
    told = Told(
        np.full((1, 2, 3), broken),
        np.zeros((1, 2)),
        np.full((1, 2), broken),
        np.full((1, 1), 4.0),
        np.full((1, 1), 2.0),
    )
    floor = Choice(NAMES, (0.0, 0.0, 1.0))
    found = mixed(floor, panel, origins, told, 1).quantile_BHQ * 2 + 4
    np.testing.assert_array_equal(found, np.array([[[0.0] * 3, [10.0] * 3]]))
    parts = parts_of(floor, panel, origins, told, 1, np.full((1, 1), -np.inf))
    assert parts is not None
    assert (parts.forecast.tolist(), parts.skip.tolist(), parts.attended.tolist()) == (
        [[0.0, 10.0]],
        [[0.0, 0.0]],
        [[0.0, 0.0]],
    )


def ends(*counts: int) -> Origins:
    """Windows of two steps that begin one row after the other, so many of each series."""
    rows = np.concatenate([np.arange(count) for count in counts])
    return Origins(np.repeat(np.arange(len(counts)), counts), rows)


def latest(panel: Panel, *counts: int) -> Origins:
    """Windows of two steps that end each series, one row after the other, so many of each."""
    rows = [panel.offsets[k + 1] - 2 - np.arange(count)[::-1] for k, count in enumerate(counts)]
    return Origins(np.repeat(np.arange(len(counts)), counts), np.concatenate(rows))


def test_a_model_that_is_best_stands_alone() -> None:
    told, truth = errors(1.0, 1.2, 3.0)
    choice, decision = choose(make(), ends(60), told, truth, NAMES, absolute)
    assert choice.model_alone
    assert decision.value == {"model": 1.0}


def test_a_floor_that_is_better_is_the_forecast_and_said_so() -> None:
    told, truth = errors(1.0, 1.2, 0.5)
    choice, decision = choose(make(), ends(60), told, truth, NAMES, absolute)
    assert choice.share == (0.0, 0.0, 1.0)
    assert decision.value == {"repeat 2": 1.0}
    assert "repeat 2 0.5" in decision.why


def test_errors_of_opposite_sides_are_mixed() -> None:
    told, truth = errors(1.0, -1.0, 5.0)
    choice, _ = choose(make(), ends(60), told, truth, NAMES, absolute)
    assert choice.share == (0.5, 0.5, 0.0)


def test_a_gain_below_a_hundredth_changes_nothing() -> None:
    told, truth = errors(1.0, 0.995)
    assert choose(make(), ends(60), told, truth, ("model", "repeat 2"), absolute)[0].model_alone


@pytest.mark.parametrize(("model", "share"), [(0.9, 1.0), (0.995, 1.0), (1.0, 0.0), (1.002, 0.0), (1.2, 0.0)])
def test_a_model_that_does_not_improve_on_its_own_floor_is_the_floor(model: float, share: float) -> None:
    told, truth = errors(model, 1.0, 5.0)
    choice, decision = choose(make(), ends(60), told, truth, NAMES, absolute)
    assert choice.share == (share, 1 - share, 0.0)
    assert decision.value == ({"model": 1.0} if share else {"skip": 1.0})


def test_a_series_with_evidence_chooses_for_itself() -> None:
    told, truth = errors(1.0, 1.2, 3.0, windows=100)
    told[2, 50:] = 0.1
    choice, decision = choose(make(2), ends(50, 50), told, truth, NAMES, absolute)
    assert choice.by_series["s1"] == (0.0, 0.0, 1.0)
    assert "choose for themselves" in decision.why
    told[2, 81:] = 0.1  # nineteen windows that fill ten stretches of two steps, and eighteen that fill nine
    told[2, :81] = 3.0
    for panel in (make(2), make(2).until(np.array([8, 7]))):  # wherever the first row of a series stands
        assert "s1" in choose(panel, latest(panel, 81, 19), told, truth, NAMES, absolute)[0].by_series
        assert "s1" not in choose(panel, latest(panel, 82, 18), told, truth, NAMES, absolute)[0].by_series


def test_a_series_keeps_the_model_where_no_floor_alone_does_better() -> None:
    """A mixture would gain there too; but validation may have seen no holiday, and repeats know of none."""
    told, truth = errors(1.0, 1.2, 3.0, windows=100)
    told[2, 50:] = -1.02  # errors of the other sign: half of each would be nearly without any
    assert choose(make(2), ends(50, 50), told, truth, NAMES, absolute)[0].by_series == {}
    told[2, 50:] = -0.98
    assert "s1" in choose(make(2), ends(50, 50), told, truth, NAMES, absolute)[0].by_series


@pytest.mark.parametrize(
    ("by_stretch", "kept"),
    [
        ((0.1, -0.1, 0.2), True),
        ((0.02, 0.06, 0.2), True),
        ((0.06, 0.09, 0.12), False),
        ((0.05, 0.08), True),
        ((0.06, 0.07), False),
        ((0.0, 0.5), False),
        ((0.0, 0.1, 0.0, -0.05, 0.0) * 2, False),
        ((0.1,), True),
    ],
    ids=[
        "scattered",
        "three, t of 1.7",
        "three, t of 5.2",
        "two, t of 4.3",
        "two, t of 13",
        "a tenth better",
        "ten",
        "one",
    ],
)
def test_the_last_value_is_repeated_where_nothing_is_clearly_better(by_stretch: tuple[float, ...], kept: bool) -> None:
    """Student's t at 5 %, one-sided: 6.3 of two stretches, 2.9 of three."""
    gain = np.repeat(by_stretch, 2)[:, None]  # windows of two steps, two to a stretch
    told = np.stack([np.full((len(gain), 2), 1.0), np.full((len(gain), 2), 1.0) + gain])
    series, end = ends(len(gain))
    origins = Origins(series, end + 7 - len(gain))  # the last of them has the last two of eight rows ahead
    choice, decision = choose(make(), origins, told, np.zeros((len(gain), 2)), ("model", "repeat 1"), absolute)
    assert choice.share == ((0.0, 1.0) if kept else (1.0, 0.0))
    assert ("nothing is significantly better" in decision.why) is kept


@pytest.mark.parametrize(("count", "kept"), [(3, True), (9, True), (10, False)])
def test_a_single_stretch_tells_nothing_unless_many_series_pass_through_it(count: int, kept: bool) -> None:
    """Their errors of one stretch come from the same days: alike gains of a few series are not proof."""
    names, same_time = ("model", "repeat 1"), Origins(np.arange(count), 8 * np.arange(count) + 4)
    gain_W1 = np.resize([0.06, 0.09, 0.1], count)[:, None]
    told = np.stack([np.full((count, 2), 1.0), np.full((count, 2), 1.0) + gain_W1])
    found = choose(make(count), same_time, told, np.zeros((count, 2)), names, absolute)[0]
    assert found.share == ((0.0, 1.0) if kept else (1.0, 0.0))


def test_a_series_is_itself_whether_a_table_holds_its_number_as_7_or_as_7_0() -> None:
    """A merge makes whole numbers floats."""
    own = Choice(("model", "skip"), (1.0, 0.0), {"7": (0.0, 1.0)})
    for name in (7, 7.0, np.float64(7), np.int32(7), "7"):
        assert own.shares_of(cast("Panel", SimpleNamespace(ids=np.array([name], object))), np.array([0])).tolist() == [
            [0.0, 1.0]
        ]
    table = pd.DataFrame({"unique_id": pd.Series([7] * 9 + [8] * 9, dtype=object), "ds": [*range(9)] * 2, "y": 1.0})
    told = ob.Floor("naive", 2).fit(table).predict()
    assert told["unique_id"].tolist() == [7, 7, 8, 8]  # and names come back as they were


def test_members_of_a_frequency() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024", periods=60, freq="h"), "y": 1.0}))
    assert members(panel, 24, True) == ("model", "skip", "repeat 1", "repeat 24", "repeat 168")


@pytest.fixture
def told() -> Told:
    quantile = np.array([[[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]])
    return Told(quantile, np.full((1, 2), np.nan), np.array([[0.5, 0.5]]), np.array([[10.0]]), np.array([[2.0]]))


def test_the_mixture_moves_all_quantiles_and_the_parts_add_up(told: Told) -> None:
    panel, origins = make(), Origins(np.array([0]), np.array([6]))
    choice = Choice(NAMES, (0.5, 0.25, 0.25))
    found = mixed(choice, panel, origins, told, 1)
    # In original units: model 12, 14; skip 11, 11; the two values before, repeated: 0, 10.
    middle = 0.5 * np.array([12, 14]) + 0.25 * np.array([11, 11]) + 0.25 * np.array([0, 10])
    np.testing.assert_allclose(found.quantile_BHQ[0, :, 1] * 2 + 10, middle)
    np.testing.assert_allclose(np.diff(found.quantile_BHQ), 1.0)
    parts = parts_of(choice, panel, origins, told, 1, np.full((1, 1), -np.inf))
    assert parts is not None
    assert not parts.bounded.any()
    np.testing.assert_allclose(parts.forecast[0], middle)
    np.testing.assert_allclose(parts.skip[0], 0.75 * 11)
    np.testing.assert_allclose(parts.attended[0], 0.5 * np.array([1, 3]))
    held = parts_of(choice, panel, origins, told, 1, np.array([[9.0]]))
    assert held is not None
    np.testing.assert_allclose(held.forecast[0], np.maximum(middle, 9.0))
    np.testing.assert_allclose(held.bounded[0], [9.0 - middle[0], 0.0])


def test_in_units_of_its_own_spread_a_window_forecasts_the_same(told: Told) -> None:
    batch = make_batch()
    three = Told(*(None if part is None else np.repeat(part, len(batch.encoder_BTX), 0) for part in told))
    found = in_own_spread(three, batch, WindowShape(6, 2, "fixed"))
    middle = found.quantile_BHQ * found.scale_B1[..., None] + found.location_B1[..., None]
    np.testing.assert_allclose(middle, three.quantile_BHQ * 2 + 10)
    own = batch.encoder_BTX[0, -6:, 0].numpy()
    np.testing.assert_allclose(found.scale_B1[0], 2 * own.std(), rtol=1e-6)
    batch.observed_BTF[:, :-1, 0] = (
        False  # one step tells no spread, of four that would: the usual one for the most part
    )
    leaning = WindowShape(6, 2, "fixed", unit=2.0, usual=5.0, settled=4)
    np.testing.assert_allclose(in_own_spread(three, batch, leaning).scale_B1[0], 2 * 5.0 / 2)
    batch.observed_BTF[0, -2:, 0] = True
    two = batch.encoder_BTX[0, -2:, 0].numpy().std()
    np.testing.assert_allclose(
        in_own_spread(three, batch, leaning).scale_B1[0], 2 * np.sqrt((two**2 + 2.5**2) / 2), rtol=1e-6
    )


def test_the_model_alone_is_left_as_it_is(told: Told) -> None:
    least = np.full((1, 1), -np.inf)
    assert mixed(ALONE, make(), Origins(np.array([0]), np.array([6])), told, 1) is told
    assert parts_of(ALONE, make(), Origins(np.array([0]), np.array([6])), told._replace(skip_BH=None), 1, least) is None
