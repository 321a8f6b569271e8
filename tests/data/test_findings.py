"""What the checks of an audit share."""

from __future__ import annotations

import numpy as np
import pytest

from openbook.data.findings import longest_run, several


@pytest.mark.parametrize(
    ("mask", "starts", "expected"),
    [
        ([1, 1, 1, 0], [0, 4], (3, 0)),
        ([1, 1, 1, 0], [0, 1, 4], (2, 1)),
        ([0, 1, 0, 1, 1], [0, 5], (2, 3)),
        ([1, 1, 1, 1], [0, 1, 2, 3, 4], (1, 0)),
        ([0, 0], [0, 2], (0, 0)),
    ],
)
def test_runs_end_where_series_end(mask: list[int], starts: list[int], expected: tuple[int, int]) -> None:
    assert longest_run(np.array(mask, bool), np.array(starts)) == expected


def test_several_counts_what_it_leaves_out() -> None:
    assert several(["a", "b"], 2, "series") == "series a, b"
    assert several(["a", "b", "c", "d"], 9, "series") == "series a, b, c and 6 more"
