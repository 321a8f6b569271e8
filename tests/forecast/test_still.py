"""Series that never moved: where they stand is their forecast, until they move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.panel import make_panel
from openbook.forecast.origins import Origins
from openbook.forecast.still import still_at, still_series

QUICK = ob.TrainConfig(max_steps=10, batch_size=16)


def table(still: float = -7.0, rows: int = 120) -> pd.DataFrame:
    rng, t = np.random.default_rng(0), np.arange(rows)
    restless = [100 * (k + 1) * (1 + 0.3 * np.sin(2 * np.pi * t / 7) + 0.05 * rng.normal(size=rows)) for k in range(2)]
    days = pd.date_range("2022-01-01", periods=rows)
    values = {"a": restless[0], "b": restless[1], "c": np.full(rows, still)}
    return pd.concat([pd.DataFrame({"unique_id": k, "ds": days, "y": y}) for k, y in values.items()], ignore_index=True)


@pytest.mark.parametrize("model", [{}, {"model": ob.LuongConfig(hidden_size=4), "input_size": 14}])
def test_a_series_that_never_moved_stays_where_it_is(model: dict[str, Any], tmp_path: Path) -> None:
    """Beside two restless series one of -7 was forecast as -7.7, within -16.5 and 2.3."""
    train = ob.TrainConfig(budget_s=4) if not model else QUICK
    fitted = ob.Forecaster(7, train=train, **model).fit(table())
    told = fitted.predict(level=[80, 95])
    assert (told[told["unique_id"] == "c"].iloc[:, 2:].to_numpy() == -7.0).all()
    pd.testing.assert_frame_equal(
        ob.load(fitted.save(tmp_path / "m.ob")).predict(level=[80, 95]), told, check_exact=True
    )
    found = fitted.explain()
    if found.parts is not None:
        np.testing.assert_allclose(found.parts.forecast[2], -7.0)
        assert (found.parts.repeated[2] == -7.0).all()
    later = table().assign(y=lambda t: t["y"].where((t["unique_id"] != "c") | (t.index % 120 < 115), -3.0))
    moved = fitted.predict(later, level=[80])
    assert (moved[moved["unique_id"] == "c"].iloc[:, 3].to_numpy() < moved[moved["unique_id"] == "c"].iloc[:, 4]).all()


def test_what_has_not_moved_yet_is_not_still() -> None:
    frame = table(rows=20)
    assert still_series(make_panel(frame), 7) == {}  # three horizons are twenty-one rows
    assert still_series(make_panel(frame), 6) == {"c": -7.0}
    assert still_series(make_panel(table(still=0.0)), 7) == {}  # what has sold nothing may sell
    gaps = frame.assign(y=frame["y"].where(frame.index % 20 < 15))
    assert still_series(make_panel(gaps), 6) == {}


def test_it_stands_until_it_moves() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "c", "ds": range(8), "y": [7, np.nan, 7, 7, 8, 7, 7, 7.0]}))
    told = still_at({"c": 7.0}, panel, Origins(np.zeros(4, int), np.array([1, 4, 5, 8])))
    np.testing.assert_array_equal(told, [[7.0], [7.0], [np.nan], [np.nan]])
