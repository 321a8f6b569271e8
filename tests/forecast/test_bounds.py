"""The lower bound is decided series by series: what rests at zero says nothing of a temperature beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.forecast.bounds import decide_lower_bounds

DAYS = np.arange(100.0)


def panel(**series: np.ndarray) -> Panel:
    parts = [pd.DataFrame({"unique_id": name, "ds": range(len(y)), "y": y}) for name, y in series.items()]
    return make_panel(pd.concat(parts), freq=1)


@pytest.mark.parametrize(
    ("values", "bound"),
    [
        (DAYS % 7, 0.0),  # rests at zero
        (1 + DAYS % 70, 0.0),  # counts
        (np.maximum(DAYS % 7 - 0.5, 0), 0.0),  # amounts with a fraction that rest at zero
        (np.abs(DAYS - 40) + 0.1 * (DAYS != 40), None),  # a temperature that touched zero once
        (1000 + DAYS, None),  # whole numbers far above zero
        (0.86 + DAYS / 10, None),  # a temperature in a warm season
        (DAYS - 3, None),
    ],
)
def test_only_counts_and_amounts_are_bounded_below(values: np.ndarray, bound: float | None) -> None:
    told = decide_lower_bounds(panel(a=values))
    assert (told.decision.value, told.own) == (bound, {})


def test_every_series_tells_by_its_own_values() -> None:
    falling = np.linspace(30.03, 0.61, 100)
    told = decide_lower_bounds(panel(sold=DAYS % 7, temp=falling))
    assert (told.decision.value, told.own) == (0.0, {"temp": None})
    assert "none for temp" in told.decision.why
    told = decide_lower_bounds(panel(temp=np.tile(falling, 9), rain=np.maximum(DAYS[:30] % 9 - 6.5, 0)))
    assert (told.decision.value, told.own) == (0.0, {"temp": None})
    one = np.where(DAYS == 50, -1.0, DAYS % 7)
    told = decide_lower_bounds(panel(returned=one, sold=DAYS % 7, large=2.0 + DAYS % 3))
    assert (told.decision.value, told.own) == (0.0, {})  # whole numbers are counts alike
    assert "1 series were negative" in told.decision.why
    assert decide_lower_bounds(panel(a=DAYS - 3, b=DAYS - 5)).decision.value is None
    told = decide_lower_bounds(panel(small=10 + DAYS % 3, large=9_000 + DAYS, other=5_000 + DAYS))
    assert (told.decision.value, told.own) == (None, {})  # small beside large is not near zero
    few = np.array([0.4, 2.7, 1.3])
    told = decide_lower_bounds(panel(few=few, amounts=np.maximum(DAYS % 7 - 0.5, 0)))
    assert (told.decision.value, told.own) == (0.0, {})  # what few values say, others say for them
    told = decide_lower_bounds(panel(counts=DAYS[:20] % 2, wide=np.tile(500.3 + DAYS, 30)))
    assert (told.decision.value, told.own) == (None, {"counts": 0.0})


def test_a_temperature_beside_counts_may_fall_below_zero_also_after_saving(tmp_path: Path) -> None:
    rows = 200
    falling = 30 - 0.147 * np.arange(rows) + 0.1 * np.sin(np.arange(rows))
    frame = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=rows), "temp": falling})
    frame["sold"] = np.maximum(np.arange(rows) % 7 - 3.0, 0) * 2
    model = ob.Forecaster(14, model="luong", scaling="fixed", train=ob.TrainConfig(max_steps=60))
    model.fit(frame, target_col=["temp", "sold"])
    found = model.predict(level=[95])
    lowest = found.groupby("unique_id")["Luong-lo-95"].min()
    assert lowest["temp"] < 0
    assert lowest["sold"] >= 0
    again = ob.load(model.save(tmp_path / "m.ob"))
    assert again.fitted().own_bounds == {"temp": None}
    pd.testing.assert_frame_equal(again.predict(level=[95]), found, check_exact=True)
    returned = frame.assign(sold=frame["sold"].where(frame.index != 120, -1.0))
    told = model.predict(returned, level=[95]).groupby("unique_id")["Luong-lo-95"].min()
    assert told["sold"] < 0  # its own history fell below
