from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.data.panel import Panel, make_panel
from openbook.errors import UsageError
from openbook.forecast.origins import extend_panel, last_origins, rolling_origins


def two_series() -> Panel:
    frame = pd.DataFrame(
        {
            "unique_id": ["a"] * 5 + ["b"] * 2,
            "ds": [*pd.date_range("2024-01-01", periods=5), *pd.date_range("2024-03-01", periods=2)],
            "y": np.arange(7.0),
            "temperature": np.arange(7.0) + 10,
        }
    )
    return make_panel(frame, futr=["temperature"])


def test_extension_appends_rows_to_every_series() -> None:
    futr = np.array([[[50.0], [51.0]], [[60.0], [61.0]]])
    longer = extend_panel(two_series(), 2, futr)
    assert longer.offsets.tolist() == [0, 7, 11]
    np.testing.assert_array_equal(longer.target, [0, 1, 2, 3, 4, np.nan, np.nan, 5, 6, np.nan, np.nan])
    assert longer.futr[:, 0].tolist() == [10, 11, 12, 13, 14, 50, 51, 15, 16, 60, 61]
    assert longer.times[[5, 6, 9, 10]].tolist() == [
        pd.Timestamp(day).value for day in ("2024-01-06", "2024-01-07", "2024-03-03", "2024-03-04")
    ]


def test_extension_without_futr_is_nan_and_leaves_the_input_alone() -> None:
    panel = two_series()
    longer = extend_panel(panel, 1)
    assert np.isnan(longer.futr[[5, 8], 0]).all()
    assert len(panel.target) == 7


def test_extension_refuses_another_shape() -> None:
    with pytest.raises(UsageError, match=r"\(2, 2, 1\)"):
        extend_panel(two_series(), 2, np.zeros((2, 1, 1)))


def test_windows_count_back_from_each_series_own_end() -> None:
    windows = rolling_origins(two_series(), 1, 4, 1)
    assert [window.series.tolist() for window in windows] == [[0], [0], [0], [0, 1]]
    assert [window.end.tolist() for window in windows] == [[1], [2], [3], [4, 6]]


def test_last_origins_leave_out_series_without_history() -> None:
    assert last_origins(two_series(), 2).end.tolist() == [3]
    assert last_origins(two_series(), 2).series.tolist() == [0]


@pytest.mark.parametrize(("h", "n_windows", "step_size"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_counts_below_one_are_refused(h: int, n_windows: int, step_size: int) -> None:
    with pytest.raises(UsageError):
        rolling_origins(two_series(), h, n_windows, step_size)
