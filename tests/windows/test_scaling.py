"""Scalings by one unit for all windows, in differences to the last value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from openbook.data.panel import Panel, make_panel
from openbook.windows.sampler import Layout, WindowShape, gather, make_resident, split_windows
from openbook.windows.scaling import (
    ColumnScaler,
    Scaling,
    Usual,
    difference_std,
    fit_columns,
    fit_inputs,
    newest,
    usual_spread,
    window_scale,
)

NAN = float("nan")


def test_the_step_s_deviation_stays_within_series_and_skips_what_is_missing() -> None:
    values = np.array([[1.0, 5.0], [3.0, 5.0], [1.0, 5.0], [100.0, 5.0], [NAN, 5.0], [104.0, 5.0]])
    found = difference_std(values, np.array([0, 3, 6]))
    assert found.tolist() == [2.0, 1.0]  # steps +2 and −2; the second column never moves
    for scaling in ("standard", "difference"):
        columns = fit_inputs(values, np.array([0, 3, 6]), scaling)
        assert np.isinf(columns.std_C[1])
        panel = make_panel(
            pd.DataFrame({"unique_id": "a", "ds": [0, 1], "y": 1.0, "one": [0.0, 1.0], "two": [1e9, NAN]}),
            hist=["one", "two"],
        )
        laid = make_resident(panel, Layout("y", ("one", "two")), columns).data_RC[:, 2]
        assert laid.tolist() == [0.0, pytest.approx(NAN, nan_ok=True)]


def test_a_window_of_zeros_is_scaled_by_what_its_series_was_before() -> None:
    """Series of 20 and of 200,000: the usual amount is that of the large one, which no small one may be scaled by."""
    rng, sizes = np.random.default_rng(0), {"large": 2e5, "small": 20.0, "ended": 20.0, "never": 0.0}
    series = {name: size * (1 + 0.3 * rng.normal(size=90)) for name, size in sizes.items()}
    series["ended"][40:] = 0
    frames = [pd.DataFrame({"unique_id": name, "ds": range(90), "y": y}) for name, y in series.items()]
    panel = make_panel(pd.concat(frames))
    usual = usual_spread(panel.target, panel.offsets, 10, 4)
    assert usual.share > 0
    shape = WindowShape(10, 3, "standard", usual=usual.amount, share=usual.share, settled=4)
    layout = Layout("y")

    def scale_of(panel: Panel, name: str, end: int) -> float:
        resident = make_resident(panel, layout, ColumnScaler(np.empty(0), np.empty(0)))
        number = list(panel.ids).index(name)
        at = torch.tensor([int(panel.offsets[number]) + end])
        return float(gather(resident, torch.tensor([number]), at, shape).scale_BM[0, 0])

    largest = float(np.abs(series["ended"][:40]).max())
    assert scale_of(panel, "ended", 80) == pytest.approx(usual.share * largest)
    assert 1 < scale_of(panel, "ended", 80) < 20
    assert scale_of(panel, "never", 80) < 1
    later = panel.target.copy()
    later[int(panel.offsets[list(panel.ids).index("ended")]) + 80 :][:10] = 1e9  # what comes then is not known yet
    assert scale_of(replace(panel, target=later), "ended", 80) == scale_of(panel, "ended", 80)


def test_newest_is_the_last_observed_value() -> None:
    value = torch.tensor([[[1.0, 9.0], [2.0, 8.0], [3.0, 7.0]]])
    seen = torch.tensor([[[True, False], [True, False], [False, False]]])
    assert newest(value, seen).tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("scaling", ["fixed", "difference"])
def test_common_scalings_take_the_last_value_and_one_unit(scaling: Scaling) -> None:
    value = torch.tensor([[[4.0], [6.0]], [[100.0], [NAN]]])
    found = window_scale(value, value.isfinite(), scaling, unit=2.5)
    assert found.location_BM.tolist() == [[6.0], [100.0]]
    assert found.scale_BM.tolist() == [[2.5], [2.5]]


def test_differences_are_taken_of_inputs_too_ahead_as_well() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [1.0, 2.0, 4.0, 7.0, 11.0, 16.0]})
    frame["past"], frame["known"] = [10.0, 12.0, 11.0, NAN, 15.0, 16.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    panel = make_panel(frame, hist=("past",), futr=("known",))
    plain = ColumnScaler(np.zeros(2), np.ones(2))
    resident = make_resident(panel, Layout("y", ("past",), ("known",)), plain)
    batch = gather(resident, torch.tensor([0]), torch.tensor([4]), WindowShape(3, 2, "difference", unit=2.0))
    assert batch.encoder_BTX[0, :, 0].tolist() == [-2.5, -1.5, 0.0]
    assert batch.encoder_BTX[0, :, 1].tolist() == [1.0, 0.0, 0.0]  # of its last observed value, 11
    assert batch.observed_BTF[0, :, 1].tolist() == [True, True, False]
    assert batch.decoder_BHK[0, :, 0].tolist() == [1.0, 2.0]
    assert batch.target_BHM[0, :, 0].tolist() == [2.0, 4.5]
    assert batch.decoder_observed_BHK.all()


def test_a_window_may_be_scaled_by_its_newest_steps() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [100.0, 300.0, 4.0, 8.0, 10.0, 2.0]})
    resident = make_resident(make_panel(frame), Layout("y"), fit_columns(np.empty((0, 0))))
    place = (torch.tensor([0]), torch.tensor([4]))
    near = gather(resident, *place, WindowShape(4, 2, scale_steps=2))
    assert (near.location_BM.item(), near.scale_BM.item()) == (6.0, 2.0)
    assert near.target_BHM[0, :, 0].tolist() == [2.0, -2.0]
    assert near.encoder_BTX[0, :, 0].tolist() == [47.0, 147.0, -1.0, 1.0]
    assert gather(resident, *place, WindowShape(4, 2)).location_BM.item() == 103.0


def test_windows_may_begin_before_their_context_is_whole() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(70), "y": 1.0}))
    first = [
        int(split_windows(panel, WindowShape(20, 2, least_context=least), validation_size=4).train.end_W[0])
        for least in (0, 5)
    ]
    assert first == [20, 5]


def test_a_longer_history_never_leaves_fewer_windows() -> None:
    """Once its only windows of 60 months were that with a whole context of 36: one, where 59 months had thirty."""
    shape, counts = WindowShape(36, 12), []
    for length in range(20, 200):
        panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(length), "y": 1.0}))
        counts.append(len(split_windows(panel, shape, validation_size=0).train.end_W))
    assert (np.diff(counts) >= 0).all()
    assert counts[59 - 20] == 59 - 12 - 6 - (59 - 12 - 36) * 30 // 72 + 1
    assert counts[-1] == 199 - 12 - 36 + 1  # whole contexts where there are plenty


def test_what_a_model_can_not_do_without_it_has_where_one_window_can_have_it() -> None:
    """``day_to_day`` reads days: a window that ends before its nearest gap would have none."""
    shape = WindowShape(672, 24, scale_steps=24, least_context=168)
    for length, first in ((1000, 168), (420, 168), (192, 168), (191, 12)):
        panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(length), "y": 1.0}))
        assert split_windows(panel, shape, validation_size=0).train.end_W[0] == first


def test_a_window_leans_on_the_usual_spread_the_less_the_more_it_saw() -> None:
    value = torch.tensor([[10.0, 10.2, NAN, NAN], [10.0, 10.2, 10.0, NAN], [10.0, 10.2, 10.0, 10.2]]).double()[
        ..., None
    ]
    found = window_scale(value, value.isfinite(), "standard", usual=Usual(4.0, settled=4)).scale_BM[:, 0]
    own = np.array([0.1, np.std([10, 10.2, 10]), 0.1])
    expected = [np.sqrt(0.5 * 0.01 + 0.5 * 16), np.sqrt(0.75 * own[1] ** 2 + 0.25 * 16), 0.1]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(window_scale(value, value.isfinite(), "last").scale_BM[:, 0], own, rtol=1e-5)


def test_the_usual_spread_is_an_amount_or_a_share_of_the_level_whichever_varies_less() -> None:
    rng = np.random.default_rng(0)
    wave, offsets = np.sin(np.arange(400)) + 0.1 * rng.normal(size=400), np.array([0, 200, 400])
    level = np.repeat([500.0, 1000.0], 200)
    alike = usual_spread(level + 3 * wave, offsets, 50, settled=8)
    assert alike.share == 0.0
    assert alike.amount == pytest.approx(3 * wave[:200].std(), rel=0.05)
    sized = usual_spread(level * (1 + 0.1 * wave), offsets, 50, settled=8)
    assert sized.share == pytest.approx(0.1 * wave.std(), rel=0.05)
    # a scale for windows of series that are all shorter than a window, or never move
    assert usual_spread(np.array([1.0, 3.0, 11.0, 13.0]), np.array([0, 2, 4]), 5, settled=3).amount == 1.0
    assert usual_spread(np.full(9, 7.0), np.array([0, 9]), 3, settled=3) == Usual(7.0, settled=3)
    assert usual_spread(np.zeros(9), np.array([0, 9]), 3, settled=3) == Usual(settled=3)
    assert usual_spread(np.full(9, NAN), np.array([0, 9]), 3, settled=3) == Usual(settled=3)


@pytest.mark.parametrize(
    ("new", "by_share"),
    [(10.0, True), (1e7, True), (5e3, False), (0.0, False)],
    ids=["small", "large", "alike", "zero"],
)
def test_a_short_series_of_another_size_takes_a_share_of_its_level(new: float, by_share: bool) -> None:
    """Two long series of one size, whose spreads do not go with their levels, say nothing of it."""
    rng = np.random.default_rng(1)
    long = [1e4 + 1e3 * np.sin(np.arange(400) / 60) + 300 * rng.normal(size=400) for _ in range(2)]
    offsets = np.array([0, 400, 800, 805])
    short = new * (1 + 0.03 * rng.normal(size=5))
    assert usual_spread(np.concatenate(long), offsets[:3], 56, 8).share == 0
    found = usual_spread(np.concatenate([*long, short]), offsets, 56, 8)
    assert (found.share > 0) is by_share
    if by_share:
        assert found.share == pytest.approx(0.03, rel=0.3)
    around_zero = [300 * rng.normal(size=400) for _ in range(2)]  # where levels are chance, no share will do
    assert usual_spread(np.concatenate([*around_zero, short]), offsets, 56, 8).share == 0
    swaying = [1e4 + 9e3 * np.sin(np.arange(400) / 60) + 300 * rng.normal(size=400) for _ in range(2)]  # by one amount
    assert usual_spread(np.concatenate([*swaying, short]), offsets, 20, 8).share == 0


@pytest.mark.parametrize("level", [1e8, 1e9, 3.2e9])
def test_a_series_that_moves_by_next_to_nothing_of_its_level_is_scaled_by_its_moves(level: float) -> None:
    rng = np.random.default_rng(0)
    y = level + rng.normal(0, 0.1, 400)
    seen = torch.ones(1, 400, 1, dtype=torch.bool)
    found = window_scale(
        torch.from_numpy(y)[None, :, None], seen, "standard", usual=usual_spread(y, np.array([0, 400]), 50, 1)
    )
    assert found.scale_BM.item() == pytest.approx(0.1, rel=0.1)
    assert usual_spread(y, np.array([0, 400]), 50, 1).amount == pytest.approx(0.1, rel=0.1)
    still = torch.full((1, 400, 1), level + 0.1, dtype=torch.float64)
    assert window_scale(still, seen, "standard").scale_BM.item() == 1.0  # rounding alone
