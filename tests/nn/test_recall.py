from __future__ import annotations

import numpy as np
import pytest
import torch

from openbook.nn import recall
from openbook.nn.recall import Gaps, recalled, recalled_rows


@pytest.mark.parametrize("tries", [0, 1, 3])
@pytest.mark.parametrize("season", [1, 5, 24, 60])
def test_rows_walked_back_and_rows_of_one_pass_are_the_same(
    season: int, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(season)
    seen = torch.rand(6, 100) > torch.tensor([0.0, 0.05, 0.3, 0.9, 2.0, 0.5])[:, None]
    seen[5, :60] = False
    own = torch.randn(6, 100).masked_fill(~seen, 0.0)
    usual = recalled(own, seen, season)
    monkeypatch.setattr(recall, "_TRIES", tries)
    assert torch.equal(recalled(own, seen, season), usual)
    row = torch.arange(600)  # as elsewhere than on the CPU: every step is told
    told = recalled_rows(own.flatten(), seen.flatten(), Gaps(row, row - row % 100), season).nan_to_num(nan=0.0)
    assert torch.equal(torch.where(seen, own, told.view(6, 100)), usual)


def test_a_gap_is_as_its_place_was_moved_by_how_far_the_last_value_was_from_its_own() -> None:
    """Days of eight steps: the mean of a day and of seven days before, and half of the distance after each two steps."""
    y = torch.arange(100.0).square()[None]
    seen = torch.ones(1, 100, dtype=torch.bool)
    assert recalled(y, seen, 8) is y
    seen[0, [80, 82, 83, 91]] = False
    found = recalled(y.masked_fill(~seen, 0.0), seen, 8)[0]
    half = 0.5**0.5
    before = {t: ((t - 8) ** 2 + (t - 56) ** 2) / 2 for t in (79, 80, 81, 82, 83)}
    assert found[80].item() == pytest.approx(before[80] + (79**2 - before[79]) * half)
    assert found[82].item() == pytest.approx(before[82] + (81**2 - before[81]) * half)
    assert found[83].item() == pytest.approx(before[83] + (81**2 - before[81]) / 2)
    # At the places of 90 and 91 the day before has nothing either: two days before.
    assert found[91].item() == pytest.approx((75**2 + 35**2) / 2 + (90**2 - (74**2 + 34**2) / 2) * half)
    assert torch.equal(found[seen[0]], y[seen])


def test_of_what_has_no_season_the_last_value_is_carried_on() -> None:
    y, seen = torch.tensor([[3.0, 7.0, 0.0, 0.0]]), torch.tensor([[True, True, False, False]])
    assert recalled(y, seen, 1).tolist() == [[3.0, 7.0, 7.0, 7.0]]
    assert recalled(y, seen, 9).tolist() == [[3.0, 7.0, 7.0, 7.0]]
    one = torch.tensor([[False, True, False, False]])
    # Of the even steps nothing is known; at the odd one the value is the last one and its season's at once.
    assert recalled(y.masked_fill(~one, 0.0), one, 2).tolist() == [[0.0, 7.0, 7.0, 7.0]]
    assert recalled(torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.bool), 2).tolist() == [[0.0] * 4]


def test_series_laid_end_to_end_do_not_tell_each_other() -> None:
    y = torch.tensor([1.0, 2.0, 0.0, 0.0, 0.0, 5.0, 0.0], dtype=torch.float64)
    seen = torch.tensor([True, True, False, False, False, True, False])
    gaps = Gaps(torch.tensor([2, 3, 4, 6]), torch.tensor([0, 3, 3, 3]))
    for season in (1, 2, 3):
        found = recalled_rows(y, seen, gaps, season)
        np.testing.assert_array_equal(found, [1.0 if season == 2 else 2.0, np.nan, np.nan, 5.0])


def test_shift_and_scale_pass_through() -> None:
    torch.manual_seed(0)
    y, seen = torch.randn(3, 60, dtype=torch.float64), torch.rand(3, 60) > 0.2
    seen[:, 0] = True
    moved = recalled((5 + 3 * y).masked_fill(~seen, 0.0), seen, 12)
    torch.testing.assert_close(moved, 5 + 3 * recalled(y.masked_fill(~seen, 0.0), seen, 12))
