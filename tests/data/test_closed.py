"""Times of the week without any value: found where they are certain, quiet elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.audit import inspect_table
from openbook.data.closed import never_seen


def shop(days: int = 140, freq: str = "D") -> pd.DataFrame:
    ds = pd.date_range("2024-01-01", periods=days if freq == "D" else 24 * days, freq=freq)
    return pd.DataFrame({"unique_id": "shop", "ds": ds, "y": np.arange(len(ds)) % 7 + 1.0})


def told(frame: pd.DataFrame, freq: str = "D") -> object:
    owner, _ = pd.factorize(frame["unique_id"])
    return never_seen(owner, frame["ds"].to_numpy("datetime64[ns]"), frame["y"].notna().to_numpy(), freq)


def test_nothing_is_said_of_what_is_sometimes_open() -> None:
    frame = shop()
    assert told(frame) is None
    closed = frame[frame["ds"].dt.day_of_week < 6]
    assert told(pd.concat([closed, frame.iloc[[6]]]).sort_values("ds")) is None  # one Sunday was open
    assert told(closed[:36]) is None  # six weeks
    assert told(frame.assign(y=np.nan)) is None
    assert told(frame, "W") is None
    assert told(frame.iloc[::7], "B") is None


def test_days_and_hours_are_named() -> None:
    frame = shop()
    frame.loc[frame["ds"].dt.day_of_week >= 5, "y"] = np.nan
    both = pd.concat([shop().assign(unique_id="mall"), frame])
    assert told(both) == (1, "Saturdays, Sundays", 19, 1)
    hourly = shop(freq="h")
    hourly = hourly[hourly["ds"].dt.hour.between(8, 19)]
    assert told(hourly, "h") == (0, "84 of 168 steps of the week, the first Monday 00:00", 19, 1)


def test_it_is_said_before_and_when_learning(caplog: pytest.LogCaptureFixture) -> None:
    frame = shop()
    ob.Floor("seasonal_naive", 7).fit(frame)
    assert not caplog.records
    frame = frame[frame["ds"].dt.day_of_week < 6]
    ob.Floor("seasonal_naive", 7, freq="D").fit(frame)
    assert "series shop has no value in 19 weeks on Sundays" in caplog.text
    found = [finding for finding in inspect_table(frame, freq="D").findings if finding.code == "F37-closed-times"]
    assert [finding.severity for finding in found] == ["warning"]
    assert "on Sundays" in found[0].message


@pytest.mark.parametrize(
    ("unit", "origin", "words"),
    [("s", "1970-01-01", "seconds"), ("ms", "1970-01-01", "milliseconds"), ("D", "1899-12-30", "days")],
)
def test_dates_counted_as_numbers_are_recognised(unit: str, origin: str, words: str) -> None:
    frame = shop()
    counted = (frame["ds"] - pd.Timestamp(origin)) // pd.Timedelta(1, unit)
    audit = inspect_table(frame.assign(ds=counted))
    found = next(finding for finding in audit.findings if finding.code == "F38-counted-dates")
    assert f"counted in {words} since {origin}" in found.message
    how = {"unit": unit} if origin == "1970-01-01" else {"unit": unit, "origin": origin}
    assert (pd.to_datetime(counted, **how) == frame["ds"]).all()
    assert f"unit={unit!r}" in found.fix
    for plain in (np.arange(len(frame)), 1_704_067_200 + 7 * np.arange(len(frame))):
        assert not any(each.code == "F38-counted-dates" for each in inspect_table(frame.assign(ds=plain)).findings)
