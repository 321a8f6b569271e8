from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pandas as pd
import pytest

from openbook.data.co2 import load_co2
from openbook.data.frequency import season_length
from openbook.data.panel import make_panel
from openbook.errors import MissingDependencyError


def test_the_record_is_weekly_with_its_gaps() -> None:
    pytest.importorskip("statsmodels")
    frame = load_co2()
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert frame["unique_id"].unique().tolist() == ["Mauna Loa"]
    assert (frame["ds"].iloc[0], frame["ds"].iloc[-1]) == (pd.Timestamp("1958-03-29"), pd.Timestamp("2001-12-29"))
    assert (frame["ds"].diff().dropna() == pd.Timedelta(days=7)).all()
    assert (frame["y"].dtype, int(frame["y"].isna().sum()), len(frame)) == (np.float64, 59, 2284)
    assert (frame["y"].iloc[0], frame["y"].iloc[-1]) == (316.1, 371.5)
    panel = make_panel(frame)
    assert (season_length(panel.freq), len(panel.times)) == (52, 2284)


def test_without_statsmodels_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("statsmodels"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingDependencyError, match=r"openbook\[stats\]"):
        load_co2()
