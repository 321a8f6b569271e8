"""The map of the same step of past seasons: against plain least squares, and what it may read."""

from __future__ import annotations

import torch

from openbook.forecast.seasonal_map import seasonal_map


def moments(
    rows: int, width: int, h: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(rows, columns, generator=g).double() for columns in (width, h))
    return x, y, x.T @ x, x.T @ y


def mean_around(x: torch.Tensor, place: int, window: int) -> torch.Tensor:
    return x[:, max(0, place - 1) : min(window, place + 2)].mean(1)


def test_it_is_least_squares_over_all_steps_of_a_season() -> None:
    """Seven steps ahead, a season of three: two whole seasons and one step of a third, read from a window of seven."""
    window, season, h = 7, 3, 7
    x, y, gram, cross = moments(200, window + 2, h)
    found = seasonal_map(gram, cross, window, season)
    for first in (0, 3, 6):
        steps = range(min(season, h - first))
        read, aim = [], []
        for step in steps:
            places = [window - season + step, window - 2 * season + step]
            same = [x[:, place] for place in places]
            read.append(torch.stack([*same, *(mean_around(x, place, window) for place in places)], dim=1))
            aim.append(y[:, first + step])
        weight = torch.linalg.lstsq(torch.cat(read), torch.cat(aim)).solution
        for step in steps:
            torch.testing.assert_close(x @ found[:, first + step], read[step] @ weight, atol=2e-3, rtol=1e-3)


def test_other_columns_and_what_lies_before_whole_seasons_are_not_read() -> None:
    found = seasonal_map(*moments(100, 21, 24)[2:], 18, 8)
    assert not found[18:].any()  # inputs and calendar
    assert not found[0].any()  # the oldest step is neither in a whole season nor beside one
    assert found[1:18].abs().sum(1).min() > 0


def test_a_series_that_never_moves_weighs_nothing() -> None:
    found = seasonal_map(torch.zeros(6, 6).double(), torch.zeros(6, 4).double(), 6, 3)
    assert not found.any()
