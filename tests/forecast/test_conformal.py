"""Calibrated bands: exact ranks by hand, coverage on data a model is wrong about."""

from __future__ import annotations

import numpy as np
import pytest

from openbook.errors import UsageError
from openbook.forecast.conformal import Calibration, check_levels, level_name, nested

QUANTILES = (0.1, 0.5, 0.9)


def calibration(truth: np.ndarray, half_width: float = 1.0) -> Calibration:
    band = np.array([-half_width, 0.0, half_width])
    return Calibration(QUANTILES, np.broadcast_to(band, (*truth.shape, 3)).copy(), truth)


def test_the_margin_is_the_conformal_rank() -> None:
    truth = np.arange(1.0, 20.0)[:, None]  # 19 scores of 0 … 18 outside a band of ±1
    assert calibration(truth).margins(80)[0] == 15.0  # the ceil(20 * 0.8) = 16th smallest
    low, high = calibration(truth).interval(np.array([[[-1.0, 0.0, 1.0]]]), 80)
    assert (low[0, 0], high[0, 0]) == (-16.0, 16.0)


def test_overlapping_windows_count_as_the_stretches_they_cover() -> None:
    truth = np.arange(1.0, 101.0)[:, None]  # scores 0 … 99
    plain = calibration(truth)
    few = Calibration(QUANTILES, plain.quantile_WHQ, truth, independent=10)
    assert plain.margins(80)[0] == 80.0  # the ceil(101 * 0.8) = 81st smallest
    assert few.margins(80)[0] == 87.0  # 80 % of 1 + 1/10: the ceil(100 * 0.88) = 88th
    assert few.margins(95)[0] == 99.0  # never beyond the largest


def test_bands_cover_what_they_say_where_the_models_own_are_far_too_narrow() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([1.0, 2.0, 3.0, 4.0])
    fitted = calibration(rng.normal(0, spread, (2000, 4)), half_width=0.1)
    fresh = rng.normal(0, spread, (4000, 4))
    for level in (80.0, 95.0, 90.0):
        low, high = fitted.interval(np.broadcast_to([-0.1, 0.0, 0.1], (4000, 4, 3)), level)
        covered = ((low <= fresh) & (fresh <= high)).mean(axis=0)
        np.testing.assert_allclose(covered, level / 100, atol=0.03)


@pytest.mark.parametrize(("n", "wanted"), [(10, 9 / 11), (16, 14 / 17), (24, 20 / 25), (40, 33 / 41)])
def test_few_windows_that_do_not_overlap_cover_what_exact_ranks_do(n: int, wanted: float) -> None:
    rng, repeats = np.random.default_rng(0), 4000
    spread = rng.normal(0, 1, (n, repeats))  # every column a calibration of its own
    band = np.zeros((n, repeats, 3))
    fitted = Calibration(QUANTILES, band, spread, independent=n)
    covered = (np.abs(rng.normal(0, 1, repeats)) <= fitted.margins(80)).mean()
    assert covered == pytest.approx(wanted, abs=0.02)


def test_independent_windows_are_never_more_than_there_are_scores() -> None:
    truth = np.arange(1.0, 20.0)[:, None]
    plain = calibration(truth)
    many = Calibration(QUANTILES, plain.quantile_WHQ, truth, independent=10_000)
    for level in (50, 78.9, 80, 95):  # 78.9 % of 20 are 16, of 19 they would be 15
        assert many.margins(level)[0] == plain.margins(level)[0]
    assert many.raised(80) == plain.raised(80) == pytest.approx(80 * 20 / 19)
    assert plain.raised(80, 19) == pytest.approx(80 * 39 / 38)


def test_bands_that_are_too_wide_shrink_but_never_past_the_median() -> None:
    fitted = calibration(np.zeros((50, 1)), half_width=5.0)
    low, high = fitted.interval(np.array([[[-5.0, 0.0, 5.0]]]), 80)
    assert (low[0, 0], high[0, 0]) == (0.0, 0.0)


def test_levels_between_the_trained_quantiles_are_interpolated() -> None:
    low, high = calibration(np.full((1, 1), np.nan)).raw_band(np.array([[[-4.0, 0.0, 8.0]]]), 40)
    assert (low[0, 0], high[0, 0]) == (pytest.approx(-2.0), pytest.approx(4.0))


def test_steps_without_a_truth_take_the_pooled_margin() -> None:
    truth = np.column_stack([np.full(40, 3.0), np.full(40, np.nan)])
    np.testing.assert_allclose(calibration(truth).margins(80), [2.0, 2.0])
    np.testing.assert_allclose(calibration(np.full((3, 2), np.nan)).margins(80), 0.0)


def test_levels_are_percentages() -> None:
    assert check_levels([80, 97.5]) == (80.0, 97.5)
    assert level_name(97.5) == "97.5"
    for wrong in (0, 100, -5, 1, 0.95):
        with pytest.raises(UsageError, match="percent"):
            check_levels([wrong])


def test_one_level_is_a_list_of_one_and_every_level_counts_once() -> None:
    assert check_levels(80) == check_levels(np.float32(80)) == (80.0,)
    assert check_levels(np.array([80, 95])) == (80.0, 95.0)
    assert check_levels([95, 80, 95.0]) == (95.0, 80.0)
    assert check_levels(()) == check_levels(None) == ()


@pytest.mark.parametrize("level", ["80", ["80"], True, [True], [np.True_], [None], float("nan"), [[80]]])
def test_levels_that_are_no_numbers_are_refused(level: object) -> None:
    with pytest.raises(UsageError) as caught:
        check_levels(level)  # type: ignore[arg-type]
    assert caught.value.code == "bad_level"
    if isinstance(level, str):
        assert "write [80]" in caught.value.fix


def test_levels_have_the_digits_of_their_names() -> None:
    assert check_levels([200 / 3, 66.6667, 97.5]) == (66.6667, 97.5)
    assert [level_name(level) for level in check_levels([200 / 3])] == ["66.6667"]


def test_levels_are_nested_in_those_that_were_trained() -> None:
    quantiles = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)
    assert nested(quantiles, [95, 80]) == nested(quantiles, [95]) == (50.0, 80.0, 95.0)
    assert nested(quantiles, [40]) == (40.0,)
    assert nested(quantiles, ()) == nested((0.5,), ()) == ()
    assert nested((0.5,), [90, 60]) == (60.0, 90.0)


def test_a_single_step_counts_its_own_scores_however_few() -> None:
    for n, expected in ((1, 0.0), (3, 1.0), (9, 4.0), (10, 5.0)):  # ranks of 50 % with the finite-sample factor
        truth = np.arange(float(n))[:, None]
        found = Calibration((0.1, 0.5, 0.9), np.zeros((n, 1, 3)), truth).margins(50.0)
        assert found.tolist() == [expected]


def test_a_step_with_few_scores_borrows_those_of_its_neighbours() -> None:
    """One window of 24 steps: twenty scores around each step, the 17th of which is that of 80 %."""
    found = Calibration((0.1, 0.5, 0.9), np.zeros((1, 24, 3)), np.arange(24.0)[None], independent=1).margins(80.0)
    assert found[[0, 12, 23]].tolist() == [16.0, 19.0, 20.0]
    assert np.abs(np.diff(found)).max() <= 2


def test_a_band_is_not_moved_in_by_a_handful_of_scores() -> None:
    band = np.tile([-10.0, 0.0, 10.0], (20, 1, 1))
    for n, expected in ((1, 0.0), (9, 0.0), (10, -10.0)):
        assert Calibration((0.1, 0.5, 0.9), band[:n], np.zeros((n, 1))).margins(80.0).tolist() == [expected]


@pytest.mark.parametrize("n", [1, 3, 9])
def test_bands_of_a_few_windows_hold_about_what_they_say(n: int) -> None:
    """Model quantiles as they should be: with one window a band of 80 or 95 % held half of the truth."""
    rng, edge = np.random.default_rng(n), 1.2816
    held = []
    for _ in range(200):
        truth, quantile = rng.normal(size=(n, 12)), np.tile([-edge, 0.0, edge], (n, 12, 1))
        margin = Calibration((0.1, 0.5, 0.9), quantile, truth, independent=1).margins(80.0)
        held.append((np.abs(rng.normal(size=12)) <= edge + margin).mean())
    assert 0.78 <= np.mean(held) <= 0.97
