from __future__ import annotations

import numpy as np
import pandas as pd

from openbook.data.panel import Panel, make_panel
from openbook.forecast.origins import Origins
from openbook.forecast.ridge_features import (
    change_scale,
    columns,
    cut,
    filled_between,
    make_layout,
    prepare,
)


def panel() -> Panel:
    frame = pd.DataFrame(
        {
            "unique_id": ["a"] * 6 + ["b"] * 3,
            "ds": [*range(6), *range(3)],
            "y": [1.0, 3.0, np.nan, 6.0, 7.0, 9.0, 5.0, 5.0, 5.0],
            "load": [0.0, 0.0, 2.0, 2.0, 0.0, 2.0, 0.0, 2.0, 1.0],
            "holiday": [0.0, 1.0] * 3 + [0.0, 1.0, 0.5],
        }
    )
    return make_panel(frame, hist=["load"], futr=["holiday"])


def test_one_row_is_lags_then_past_inputs_then_future_ones() -> None:
    layout = make_layout(panel(), h=2, window=3)
    rows = cut(prepare(panel(), layout), Origins(np.array([0]), np.array([4])), layout, np.array([2.0]))
    # Values 3, (carried) 3, 6 minus the last one, 6, over the scale 2.
    assert rows.x[0, :3].tolist() == [-1.5, -1.5, 0]
    assert (rows.last.tolist(), rows.y.tolist()) == ([6], [[0.5, 1.5]])
    load = (np.array([0.0, 2.0, 2.0]) - 1) / np.sqrt(8 / 9)  # mean 1 and squared deviations 8 over nine rows
    np.testing.assert_allclose(rows.x[0, 3:9:2], load)
    holiday = (np.array([1.0, 0.0, 1.0, 0.0, 1.0]) - 0.5) / np.sqrt(2 / 9)
    np.testing.assert_allclose(rows.x[0, 4:9:2], holiday[:3])
    np.testing.assert_allclose(rows.x[0, 9:], holiday[3:])


def test_rows_before_the_series_are_zero_and_never_the_neighbour() -> None:
    layout = make_layout(panel(), h=1, window=4)
    rows = cut(prepare(panel(), layout), Origins(np.array([1]), np.array([7])), layout, np.array([1.0]))
    assert rows.x[0, :4].tolist() == [0, 0, 0, 0]
    assert layout.past == 2
    assert rows.x[0, 4:6].tolist() == [0, 0]  # the inputs of the row before the series
    assert rows.x[0, 6:8].all()


def test_long_horizons_average_future_inputs_in_blocks() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(2000), "y": 0.0, "x": np.arange(2000.0)})
    long = make_panel(frame, futr=["x"])
    layout = make_layout(long, h=700, window=4)
    assert (layout.block, layout.blocks) == (2, 350)
    rows = cut(prepare(long, layout), Origins(np.array([0]), np.array([100])), layout, np.array([1.0]))
    got = rows.x[0, -350:] * layout.spread[0] + layout.center[0]
    np.testing.assert_allclose(got, 100.5 + 2 * np.arange(350))


def test_constant_inputs_stay_zero() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(50), "y": 0.0, "x": 0.1})
    constant = make_panel(frame, futr=["x"])
    layout = make_layout(constant, h=2, window=4)
    assert not cut(prepare(constant, layout), Origins(np.array([0]), np.array([9])), layout, np.ones(1)).x.any()


def of_places(**columns: list[float]) -> Panel:
    """Three series of 40 rows with input columns given by their values per series, and one that moves."""
    frame = pd.DataFrame({"unique_id": np.repeat(["a", "b", "c"], 40), "ds": [*range(40)] * 3})
    frame["y"], frame["promo"] = np.arange(120) % 7.0, np.arange(120) % 5.0
    for name, values in columns.items():
        frame[name] = np.repeat(values, 40)
    return make_panel(frame, futr=["promo", *columns])


def test_static_inputs_enter_once_and_take_nothing_of_the_budget() -> None:
    marks = {f"kind={number}": [float(number % 3 == place) for place in range(3)] for number in range(64)}
    plain, many = of_places(), of_places(**marks)
    narrow, wide = (make_layout(one, h=24, window=14) for one in (plain, many))
    assert (wide.past, wide.block) == (narrow.past, narrow.block) == (14, 1)
    assert wide.groups == {"own": 14, "past": 14, "ahead": 24, "static": 64}
    assert narrow.groups == {"own": 14, "past": 14, "ahead": 24}
    origins = Origins(np.array([1]), np.array([56]))
    rows = [cut(prepare(one, own), origins, own, np.ones(1)).x for one, own in ((plain, narrow), (many, wide))]
    np.testing.assert_array_equal(rows[0], rows[1][:, : rows[0].shape[1]])
    value = rows[1][0, rows[0].shape[1] :] * wide.spread[1:] + wide.center[1:]
    np.testing.assert_allclose(value, [float(number % 3 == 1) for number in range(64)])


def test_inputs_that_never_change_are_left_out_and_one_series_has_no_static_ones() -> None:
    same = of_places(same=[3.0, 3.0, 3.0], size=[1.0, 2.0, np.nan])
    layout = make_layout(same, h=2, window=4)
    assert (layout.moving.tolist(), layout.ahead.tolist(), layout.static.tolist()) == ([0], [0], [2])
    alone = same.keep_rows(np.arange(120) < 40)
    assert make_layout(alone, h=2, window=4).groups == {"own": 4, "past": 4, "ahead": 2}
    still = make_layout(of_places(size=[1.0, 2.0, 3.0]), h=2, window=4)
    assert still.groups["static"] == 1


def test_columns_of_a_narrower_window_and_fewer_inputs() -> None:
    layout = make_layout(panel(), h=2, window=3)
    assert columns(layout, 2, ()).tolist() == [1, 2]
    assert columns(layout, 3, ("ahead",)).tolist() == [0, 1, 2, 9, 10]
    assert columns(layout, 1, ("past", "ahead")).tolist() == [2, *range(3, 11)]


def test_change_scale_is_the_root_mean_square_over_three_lags() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [0.0, 1.0, 2.0, 3.0, 4.0, 100.0]})
    line = make_panel(frame)
    prepared = prepare(line, make_layout(line, h=4, window=2))
    # Lags 1, 2 and 4 of a line of slope one: mean of 1, 4 and 16; one lag only, then none, near the start.
    scale = change_scale(prepared, Origins(np.zeros(3, int), np.array([5, 2, 1])))
    np.testing.assert_allclose(scale, [np.sqrt(7), 1, 0])
    flat = make_panel(frame.assign(y=0.1 + 0.2))
    scale = change_scale(
        prepare(flat, make_layout(flat, h=4, window=2)), Origins(np.zeros(2, int), np.array([5, 1])), 0.5
    )
    np.testing.assert_allclose(scale, [0.15, 0.15])  # half of its level, also where sums of it are rounded


def test_gaps_are_bridged_by_lines_within_a_series() -> None:
    nan = np.nan
    frame = pd.DataFrame(
        {
            "unique_id": ["a"] * 5 + ["b"] * 3,
            "ds": [*range(5), *range(3)],
            "y": [1.0, nan, nan, 7.0, nan, nan, 2.0, 3.0],
        }
    )
    np.testing.assert_array_equal(filled_between(make_panel(frame)), [1, 3, 5, 7, nan, nan, 2, 3])


def test_own_lags_that_are_missing_are_as_they_were_a_season_before() -> None:
    """A map repeats yesterday: after a day without values it repeats the day before that one, not its last hour."""
    day = np.array([1.0, 9.0, 4.0, 6.0, 2.0, 8.0, 3.0, 7.0])
    both = np.tile(day, 8)
    both[[*range(24, 32), 60, 61, 62, 63]] = np.nan
    frame = pd.DataFrame({"unique_id": ["a"] * 32 + ["b"] * 32, "ds": [*range(32), *range(32)], "y": both})
    gone = make_panel(frame)
    own = prepare(gone, make_layout(gone, h=2, window=4, season=8)).own
    np.testing.assert_allclose(own, np.tile(day, 8), rtol=1e-12)
    carried = prepare(gone, make_layout(gone, h=2, window=4)).own
    np.testing.assert_array_equal(carried[24:32], np.full(8, 7.0))


def test_before_its_first_value_a_series_is_as_in_the_season_that_begins_there() -> None:
    """Of the same series, and never of rows from the origin on."""
    day = [1.0, 9.0, 4.0]
    frame = pd.DataFrame(
        {
            "unique_id": ["a"] * 9 + ["b"] * 7,
            "ds": [*range(9), *range(7)],
            "y": [7.0] * 9 + [np.nan, np.nan, *day, 5.0, 6.0],
        }
    )
    made = make_panel(frame)
    layout = make_layout(made, h=1, window=6, season=3)
    rows = cut(prepare(made, layout), Origins(np.array([1, 1, 0]), np.array([14, 13, 1])), layout, np.ones(3))
    assert (rows.x[0] + 4.0).tolist() == [*day, *day]
    assert (rows.x[1] + 9.0).tolist() == [9.0, 1.0, 9.0, 9.0, 1.0, 9.0]  # the third place is not known: the last value
    assert rows.x[2].tolist() == [0.0] * 6
    rows = cut(prepare(made, layout, learning=True), Origins(np.array([1]), np.array([14])), layout, np.ones(1))
    assert (rows.x[0] + 4.0).tolist() == [4.0, 4.0, 4.0, *day]
    other = make_layout(made, h=1, window=6)  # of what has no season nothing is told
    rows = cut(prepare(made, other), Origins(np.array([1]), np.array([14])), other, np.ones(1))
    assert (rows.x[0] + 4.0).tolist() == [4.0, 4.0, 4.0, *day]
