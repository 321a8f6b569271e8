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
    since = seen.cummax(1).values  # what is before the first value is told otherwise
    assert torch.equal(torch.where(seen, own, told.view(6, 100))[since], usual[since])


def test_a_gap_is_as_its_place_was_in_the_last_season_and_seven_seasons_ago() -> None:
    """Days of two steps: a gap is filled with the mean of the day before and of seven days before, where both are known."""
    y = torch.arange(1.0, 21.0)[None].repeat(2, 1)
    seen = torch.ones(2, 20, dtype=torch.bool)
    seen[0, [15, 17]], seen[1, :17] = False, False
    assert recalled(y, torch.ones_like(seen), 2) is y
    found = recalled(y.masked_fill(~seen, 0.0), seen, 2)
    assert found[0, 15].item() == (14 + 2) / 2
    assert found[0, 17].item() == (14 + 4) / 2  # the day before is a gap as well: two days before
    assert torch.equal(found[0][seen[0]], y[0][seen[0]])


def test_before_its_first_value_a_series_is_as_in_the_season_that_begins_there() -> None:
    y = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 5.0, 7.0, 2.0, 0.0]])
    seen = torch.tensor([[False] * 5 + [True] * 4 + [False]])
    assert recalled(y, seen, 3, begun=True).tolist() == [[5.0, 7.0, 1.0, 5.0, 7.0, 1.0, 5.0, 7.0, 2.0, 5.0]]
    assert recalled(y, seen, 7, begun=True).tolist() == [
        [7.0, 2.0, 2.0, 0.0, 0.0, 1.0, 5.0, 7.0, 2.0, 2.0]
    ]  # two places are not known
    assert recalled(y, seen, 1, begun=True).tolist() == [
        [0.0] * 5 + [1.0, 5.0, 7.0, 2.0, 2.0]
    ]  # what has no season says nothing of before
    assert recalled(torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.bool), 2, begun=True).tolist() == [[0.0] * 4]
    assert recalled(y, seen, 3).tolist() == [[0.0] * 5 + [1.0, 5.0, 7.0, 2.0, 5.0]]


def test_of_what_has_no_season_the_last_value_is_carried_on() -> None:
    y, seen = torch.tensor([[3.0, 7.0, 0.0, 0.0]]), torch.tensor([[True, True, False, False]])
    assert recalled(y, seen, 1).tolist() == [[3.0, 7.0, 7.0, 7.0]]
    assert recalled(y, seen, 9).tolist() == [[3.0, 7.0, 7.0, 7.0]]
    one = torch.tensor([[False, True, False, False]])
    # Of the even steps nothing is known; at the odd one the value is the last one and its season's at once.
    assert recalled(y.masked_fill(~one, 0.0), one, 2).tolist() == [[0.0, 7.0, 7.0, 7.0]]
    assert recalled(y.masked_fill(~one, 0.0), one, 2, begun=True).tolist() == [[7.0, 7.0, 7.0, 7.0]]
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
