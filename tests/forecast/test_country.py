"""A country's holidays as inputs known ahead: decided, learned, saved, kept by refits, refused where they make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.calendar import calendar_columns
from openbook.errors import UsageError

QUICK = ob.TrainConfig(max_steps=3, batch_size=8)
SMALL = ob.LuongConfig(hidden_size=4)


def daily(days: int = 400, start: str = "2023-01-01", zone: str | None = None) -> pd.DataFrame:
    """Demand that falls to a half on Victoria's holidays."""
    ds = pd.date_range(start, periods=days, freq="D")
    closed = calendar_columns(ds.to_numpy(), ("holiday_AU-VIC",))[:, 0]
    y = 100 * (1 - 0.5 * closed) + np.random.default_rng(0).normal(0, 1, days)
    return pd.DataFrame({"unique_id": "a", "ds": ds if zone is None else ds.tz_localize(zone), "y": y})


def forecaster(**changes: object) -> ob.Forecaster:
    return ob.Forecaster(
        7, **{"model": SMALL, "input_size": 14, "country": "AU-VIC", "train": QUICK, "alias": "OpenBook"} | changes
    )


def test_the_calendar_holds_the_columns_and_says_whose_they_are() -> None:
    model = forecaster().fit(daily())
    value, why = model.decisions["calendar"]
    assert value[-2:] == ("holiday_AU-VIC", "eve_AU-VIC")
    assert "holidays of AU-VIC" in why
    assert model.fitted().layout.calendar == value
    assert not [name for name in forecaster(country=None).fit(daily()).decisions["calendar"].value if "AU" in name]


def test_a_holiday_ahead_changes_the_forecast_of_its_day() -> None:
    """Learned on two years; Melbourne Cup 2024 lies three days ahead, as in no week before or after it."""
    frame = daily(673, start="2023-01-01")  # ends 2024-11-03
    train = ob.TrainConfig(max_steps=500, batch_size=32, learning_rate=1e-2)
    options = {"train": train, "scaling": "standard", "model": ob.LuongConfig(hidden_size=16)}
    found = forecaster(**options).fit(frame).predict()
    assert found["ds"].iloc[1] == pd.Timestamp("2024-11-05")
    closed = found["OpenBook"].iloc[1]
    assert closed < found["OpenBook"].drop(1).min() - 15
    without = forecaster(**options, country=None).fit(frame).predict()["OpenBook"]
    assert abs(without.iloc[1] - without.mean()) < 15


def test_dates_are_those_of_the_wall_clock() -> None:
    """Hours from midnight in Melbourne are the day before in UTC."""
    ds = pd.date_range("2024-10-20", "2024-11-10 23:00", freq="h", tz="Australia/Melbourne")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(len(ds)) % 24.0})
    model = forecaster(input_size=24).fit(frame)
    panel = model.panel_like_history(ob.read_table(frame))
    marked = calendar_columns(panel.wall_clock(), ("holiday_AU-VIC",))[:, 0] == 1
    local = panel.local_times(panel.times)[marked].dt.strftime("%m-%d %H").tolist()
    assert local == [f"11-05 {hour:02d}" for hour in range(24)]


def test_what_the_history_never_showed_is_left_out_and_said() -> None:
    decision = forecaster().fit(daily(60, start="2024-07-01")).decisions["calendar"]  # no holiday before September
    assert not [name for name in decision.value if "AU" in name]
    assert "holiday_AU-VIC, eve_AU-VIC" in decision.why


def test_saved_loaded_and_kept_by_refits(tmp_path: Path) -> None:
    model = forecaster().fit(daily())
    again = ob.load(model.save(tmp_path / "m.ob"))
    assert again.country == again.fresh().country == "AU-VIC"
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)
    tested = model.cross_validation(daily(), n_windows=2, refit=True)
    assert len(tested) == 14
    assert model.fresh().country == "AU-VIC"


def test_models_of_the_schema_before_are_read_and_others_refused_by_number(tmp_path: Path) -> None:
    import hashlib

    folder = forecaster(country=None).fit(daily(100)).save(tmp_path / "m")
    before = ob.load(folder).predict()
    config, manifest = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "manifest"))
    for part, added in (
        (config, "country"),
        (config, "categories"),
        (config, "calibrated_on"),
        (config["layout"], "stat"),
        (config["shape"], "n_static"),
    ):
        del part[added]
    text = json.dumps(config).encode()
    (folder / "config.json").write_bytes(text)
    manifest["sha256"]["config.json"] = hashlib.sha256(text).hexdigest()
    for schema in (2, 9):
        (folder / "manifest.json").write_text(json.dumps(manifest | {"schema": schema}))
        if schema == 2:
            pd.testing.assert_frame_equal(ob.load(folder).predict(), before, check_exact=True)
    with pytest.raises(ob.OpenBookError, match="schema 2 or 3 or 4 or 5 or 6, got schema 9"):
        ob.load(folder)


@pytest.mark.parametrize(
    ("model", "added", "gone"),
    [
        (ob.DarnnConfig(hidden_size=4, centred_keys=False), "centred_keys", {}),
        (ob.DayToDayConfig(hidden_size=4, gaps=(1,)), None, {"gap_dropout": 0.1}),
    ],
    ids=["darnn", "day_to_day"],
)
def test_models_of_an_older_schema_forecast_as_they_did(
    model: object, added: str | None, gone: dict[str, float], tmp_path: Path
) -> None:
    import hashlib

    old = forecaster(country=None, model=model).fit(daily(100))
    folder = old.save(tmp_path / "m")
    config, manifest = (json.loads((folder / f"{name}.json").read_text()) for name in ("config", "manifest"))
    for part in (config["model"], config["fitted_model"]):
        part.pop(added, None)
        part.update(gone)
    text = json.dumps(config).encode()
    (folder / "config.json").write_bytes(text)
    manifest["sha256"]["config.json"] = hashlib.sha256(text).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest | {"schema": 3}))
    again = ob.load(folder)
    assert again.fitted().config == old.fitted().config
    pd.testing.assert_frame_equal(again.predict(), old.predict(), check_exact=True)


def test_refusals() -> None:
    with pytest.raises(UsageError, match="'AU-XX'"):
        forecaster(country="AU-XX")
    weekly = daily(100).assign(ds=pd.date_range("2020-01-05", periods=100, freq="W"))
    with pytest.raises(UsageError, match="frequency W"):
        forecaster().fit(weekly)
    with pytest.raises(UsageError, match="whole-number time"):
        forecaster().fit(daily(100).assign(ds=range(100)))
