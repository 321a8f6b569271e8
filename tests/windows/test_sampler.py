"""Windows: the gather against slices, padding and masks, the split that keeps validation behind training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from openbook.data.panel import Panel, make_panel
from openbook.windows.sampler import (
    Layout,
    Resident,
    WindowIndex,
    WindowShape,
    batches,
    gather,
    make_resident,
    split_windows,
    spread,
)
from openbook.windows.scaling import Usual, fit_columns, window_scale
from panels import writable


def panel_of(*lengths: int, gap: int | None = None) -> Panel:
    parts = []
    for number, length in enumerate(lengths):
        step = np.arange(length)
        part = pd.DataFrame({"unique_id": f"s{number}", "ds": step, "y": 100.0 * number + step, "known": step % 5.0})
        parts.append(part.assign(past=step % 3.0))
    frame = pd.concat(parts)
    if gap is not None:
        frame.loc[frame["ds"] == gap, "y"] = np.nan
    return make_panel(frame, futr=["known"], hist=["past"])


def resident_of(panel: Panel) -> Resident:
    layout = Layout("y", panel.hist_columns, panel.futr_columns, ())
    return make_resident(panel, layout, fit_columns(np.concatenate([panel.hist, panel.futr], axis=1)))


def test_a_window_is_the_slice_it_names() -> None:
    panel = panel_of(30, 40)
    shape = WindowShape(6, 4, "none")
    batch = gather(resident_of(panel), torch.tensor([1]), torch.tensor([50]), shape)
    assert batch.encoder_BTX[0, :, 0].tolist() == panel.target[44:50].tolist()
    assert batch.target_BHM[0, :, 0].tolist() == panel.target[50:54].tolist()
    known = (panel.futr[:, 0] - panel.futr.mean()) / panel.futr.std()
    np.testing.assert_allclose(batch.encoder_BTX[0, :, 2].numpy(), known[44:50], atol=1e-6)
    np.testing.assert_allclose(batch.decoder_BHK[0, :, 0].numpy(), known[50:54], atol=1e-6)
    assert batch.decoder_BHK[0, :, -1].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert batch.last_BM.item() == panel.target[49]


def test_nothing_is_read_across_series_and_padding_is_masked() -> None:
    panel = panel_of(30, 40)
    batch = gather(resident_of(panel), torch.tensor([1]), torch.tensor([32]), WindowShape(6, 4, "none"))
    assert batch.inside_BT[0].tolist() == [False] * 4 + [True] * 2
    assert batch.encoder_BTX[0, :4].abs().sum() == 0
    assert not batch.observed_BTF[0, :4].any()
    end = gather(resident_of(panel), torch.tensor([0]), torch.tensor([28]), WindowShape(6, 4, "none"))
    assert end.target_observed_BHM[0, :, 0].tolist() == [True, True, False, False]


def test_padding_has_no_calendar() -> None:
    stamps = pd.date_range("2024-01-01 05:00", periods=30, freq="h")
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 1.0}))
    layout = Layout("y", calendar=("hour_sin_1", "hour_cos_1"))
    resident = make_resident(panel, layout, fit_columns(np.empty((30, 0))))
    other = make_resident(panel, layout, fit_columns(np.empty((30, 0))), like=resident)
    assert other.calendar_RK is resident.calendar_RK
    assert torch.equal(other.data_RC, resident.data_RC)
    batch = gather(resident, torch.tensor([0]), torch.tensor([2]), WindowShape(6, 4, "none"))
    hour_TK = batch.encoder_BTX[0, :, 2:]
    assert (hour_TK[:4] == 0).all()
    torch.testing.assert_close(hour_TK[4:], resident.calendar_RK[:2])
    torch.testing.assert_close(batch.decoder_BHK[0, :, :-1], resident.calendar_RK[2:6])


def test_missing_values_are_zero_masked_and_out_of_the_scale() -> None:
    panel = panel_of(30, gap=10)
    batch = gather(resident_of(panel), torch.tensor([0]), torch.tensor([13]), WindowShape(5, 2))
    assert batch.encoder_BTX[0, 2, 0] == 0
    assert batch.encoder_BTX[0, 2, 3] == 0  # the flag
    assert batch.observed_BTF[0, :, 0].tolist() == [True, True, False, True, True]
    seen = np.array([8.0, 9, 11, 12])
    np.testing.assert_allclose(batch.location_BM.item(), seen.mean())
    np.testing.assert_allclose(batch.scale_BM.item(), seen.std())


@pytest.mark.parametrize(("scaling", "location"), [("standard", 2.0), ("last", 4.0), ("none", 0.0)])
def test_scales_by_hand(scaling: str, location: float) -> None:
    value = torch.tensor([[[0.0], [2.0], [4.0], [99.0]]], dtype=torch.float64)
    seen = torch.tensor([[[True], [True], [True], [False]]])
    scale = window_scale(value, seen, scaling)
    assert scale.location_BM.item() == location
    assert scale.last_BM.item() == 4.0
    assert scale.scale_BM.item() == (1.0 if scaling == "none" else pytest.approx(np.std([0, 2, 4])))


def test_a_scale_is_never_zero_or_nan() -> None:
    value = torch.tensor([[[5.0], [5.0]], [[0.0], [0.0]], [[1.0], [2.0]]], dtype=torch.float64)
    seen = torch.tensor([[[True], [True]], [[True], [True]], [[False], [False]]])
    scale = window_scale(value, seen, "standard", usual=Usual(3.0, 0.2))
    assert scale.scale_BM.flatten().tolist() == [
        1.0,
        3.0,
        3.0,
    ]  # a share of the level, or the amount where there is none
    assert scale.location_BM.flatten().tolist() == [5.0, 0.0, 0.0]
    assert window_scale(value, seen, "standard", usual=Usual(3.0)).scale_BM.flatten().tolist() == [3.0, 3.0, 3.0]


def test_of_a_series_that_was_zero_up_to_there_no_truth_counts() -> None:
    """Where scales go with levels nothing says how large it is: a truth of 4 would be a million scales away."""
    rows = pd.DataFrame({"unique_id": "a", "ds": range(12), "y": [0.0] * 6 + [4.0, 6.0, 0.0, 0.0, 0.0, 0.0]})
    panel = make_panel(rows)
    resident = make_resident(panel, Layout("y"), fit_columns(np.empty((12, 0))))
    end_B = torch.tensor([5, 8, 11])
    shape = WindowShape(3, 1, usual=2.0, share=0.5)
    batch = gather(resident, torch.zeros(3, dtype=torch.int64), end_B, shape)
    assert batch.target_observed_BHM.flatten().tolist() == [False, True, True]  # its zeros come after 6, or move
    assert gather(
        resident, torch.zeros(3, dtype=torch.int64), end_B, replace(shape, share=0.0)
    ).target_observed_BHM.all()
    assert gather(
        resident, torch.zeros(3, dtype=torch.int64), end_B, replace(shape, scaling="difference")
    ).target_observed_BHM.all()


def test_validation_horizons_lie_behind_every_training_horizon() -> None:
    panel = panel_of(100, 9, 60)
    split = split_windows(panel, WindowShape(12, 4), validation_size=8)
    for series in range(3):
        start, stop = panel.offsets[series], panel.offsets[series + 1]
        train = split.train.end_W[split.train.series_W == series]
        held = split.validation.end_W[split.validation.series_W == series]
        assert train.min() > start
        assert train.max() + 4 <= stop
        if len(held):
            assert train.max() + 4 <= held.min()
            assert held.max() + 4 == stop
    assert not (split.validation.series_W == 1).any()  # too short to give its tail away
    assert (split.train.series_W == 1).any()
    assert split.held_out == 8


@pytest.mark.parametrize(
    ("length", "h", "season", "tail"),
    [(9000, 6, 24, 168), (9000, 6, 144, 1008), (900, 6, 144, 150), (9000, 48, 48, 1344), (30, 6, 144, 6)],
)
def test_the_tail_lasts_28_horizons_or_seven_seasons_where_a_sixth_of_the_series_does(
    length: int, h: int, season: int, tail: int
) -> None:
    assert split_windows(panel_of(length), WindowShape(12, h), season=season).held_out == tail


def test_windows_without_truth_or_past_are_not_used() -> None:
    panel = writable(panel_of(40))
    panel.target[20:30] = np.nan
    split = split_windows(panel, WindowShape(5, 4), validation_size=4)
    ends = set(split.train.end_W.tolist())
    assert not ends & set(range(20, 31))  # up to 26 nothing is ahead, from 25 to 30 nothing is in the context
    assert {19, 31} <= ends
    longer = split_windows(panel, WindowShape(12, 4), validation_size=4).train.end_W.tolist()
    assert not set(longer) & set(range(20, 27))
    assert {19, 27} <= set(longer)


def test_pieces_and_spreads_drop_nothing_and_keep_the_ends() -> None:
    windows = WindowIndex(np.zeros(23, np.int64), np.arange(23))
    assert np.concatenate([piece.end_W for piece in batches(windows, 5)]).tolist() == list(range(23))
    thin = spread(windows, 4).end_W
    assert thin[0] == 0
    assert thin[-1] == 22
    assert len(thin) == 4


def test_whole_series_are_held_out_where_all_are_too_short_to_give_their_end() -> None:
    panel = panel_of(*[9] * 15)
    split = split_windows(panel, WindowShape(6, 5))
    assert split.held_out == 0
    assert split.series_held_out == 3
    assert set(split.validation.series_W) == {4, 9, 14}
    assert not set(split.train.series_W) & {4, 9, 14}
    assert not split_windows(panel_of(*[9] * 5), WindowShape(6, 5)).validation
    few = split_windows(panel_of(*[5, 5, 5, 5, 9] * 3), WindowShape(6, 5))  # of the rest there are no windows
    assert len(set(few.train.series_W)) == 3
    assert not few.validation
