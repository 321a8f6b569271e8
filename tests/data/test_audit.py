"""The audit finds what is wrong, stays quiet where nothing is, and never fails."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.data.audit import Audit, inspect_table
from openbook.data.findings import Finding
from openbook.errors import DataError

HOURS = 24 * 60


def _clean(**changes: Any) -> pd.DataFrame:
    """Sixty days of hourly values with a daily shape and noise: nothing to complain about."""
    rng = np.random.default_rng(5)
    hour = np.arange(HOURS)
    frame = pd.DataFrame(
        {
            "ds": pd.date_range("2024-05-01", periods=HOURS, freq="h"),
            "y": 100 + 30 * np.sin(2 * np.pi * hour / 24) + rng.normal(0, 5, HOURS),
            "wind": rng.normal(10, 2, HOURS),
        }
    )
    return frame.assign(**changes)


def _with(column: str, rows: Any, value: float, frame: pd.DataFrame | None = None) -> pd.DataFrame:
    frame = _clean() if frame is None else frame
    values = frame[column].to_numpy(np.float64).copy()
    values[rows] = value
    return frame.assign(**{column: values})


def _codes(audit: Audit, *severities: str) -> set[str]:
    return {finding.code[:3] for finding in audit.findings if not severities or finding.severity in severities}


def _only(audit: Audit, code: str) -> Finding:
    found = [finding for finding in audit.findings if finding.code.startswith(code)]
    assert len(found) == 1, audit.lines()
    return found[0]


def _role(audit: Audit, name: str) -> str:
    return next(column.role for column in audit.columns if column.name == name)


def test_a_clean_table_has_nothing_but_facts() -> None:
    audit = inspect_table(_clean())
    assert (audit.rows, audit.series, audit.freq) == (HOURS, 1, "h")
    assert (audit.start, audit.end) == ("2024-05-01 00:00:00", "2024-06-29 23:00:00")
    assert audit.seasons[0] == 24
    assert _codes(audit) == {"F01", "F17"}
    assert audit.usable
    assert _role(audit, "wind") == "hist"


# One change each to the clean table, and what must be reported: code, severity, count and words of the finding.
_NOISE = np.random.default_rng(0).normal(size=HOURS)
_HOUR = np.arange(HOURS)
_CASES: dict[str, tuple[pd.DataFrame, str, str, int, str]] = {
    "off grid": (
        _clean(ds=_clean()["ds"].mask(_HOUR == 9, pd.Timestamp("2024-05-01 09:20"))),
        "F02",
        "error",
        1,
        "09:20",
    ),
    "gap": (_clean().drop(index=range(100, 130)), "F03", "warning", 30, "2024-05-06 10:00"),
    "small gap": (_clean().drop(index=[100, 101]), "F03", "info", 2, "longest of 2"),
    "copied rows": (pd.concat([_clean(), _clean()[3:5]]), "F04", "info", 2, "03:00"),
    "conflict": (pd.concat([_clean(), _clean(y=0.0)[3:5]]), "F05", "error", 2, "03:00"),
    "missing": (_with("y", slice(50, 90), np.nan), "F06", "warning", 40, "longest run has 40"),
    "few missing": (_with("y", [50, 90], np.nan), "F06", "info", 2, "longest run has 1"),
    "missing input": (_with("wind", slice(0, 500), np.nan), "F07", "warning", 500, "34.72% of column 'wind'"),
    "constant": (_clean(y=5.0), "F08", "warning", 1, "never change"),
    "constant input": (_clean(wind=1), "F09", "warning", 1, "'wind'"),
    "short": (_clean()[:30], "F10", "warning", 1, "has 30"),
    "sentinel": (_with("y", [70, 71], -9999), "F11", "warning", 2, "-9999 stands 2 time(s), a usual mark"),
    "positive sentinel": (_with("wind", [70], 999), "F11", "warning", 1, "column 'wind', 2024-05-03 22:00"),
    "own sentinel": (_with("y", [7, 70, 700], 777), "F11", "warning", 3, "777 stands 3"),
    "zeros": (_clean(y=np.where(_HOUR % 2, 0, 7 + _HOUR % 5)), "F12", "info", 1, "50%"),
    "negative": (_with("y", 70, -3), "F13", "warning", 1, "1 value(s) (0.07%)"),
    "outlier": (_with("y", 70, 3000.5), "F14", "warning", 1, "farthest is 3000.5"),
    "zone": (_clean(ds=_clean()["ds"].dt.tz_localize("Asia/Seoul")), "F15", "info", 1, "Asia/Seoul"),
    "level": (_clean(y=_NOISE + 20.0 * (_HOUR > 600)), "F19", "info", 1, "another level"),
    "trend": (_clean(y=_NOISE + _HOUR / 50), "F20", "info", 1, "rise or fall"),
    "text": (_clean(wind="calm"), "F21", "info", 1, "'wind'"),
    "some text": (_clean(wind=_clean()["wind"].astype(str).mask(_HOUR == 8, "calm")), "F21", "warning", 1, "'calm'"),
    "text target": (_clean(y=_clean()["y"].astype(str).mask(_HOUR == 8, "many")), "F21", "error", 1, "'many'"),
    "infinite": (_with("y", 70, np.inf), "F22", "error", 1, "row 70"),
    "row numbers": (_clean(instant=_HOUR + 1), "F23", "warning", 1, "counts rows"),
    "calendar": (_clean(hr=_HOUR % 24), "F24", "info", 1, "'hr' follows from the hour"),
    "copy": (_clean(other=_clean()["y"] * 2 + 1), "F25", "warning", 1, "correlation 1.0000"),
    "sum": (_clean(a=_clean()["y"] - _NOISE, b=_NOISE), "F26", "warning", 1, "a + b equals"),
    "difference": (_clean(a=_clean()["y"] + _NOISE, b=_NOISE), "F26", "warning", 1, "a - b equals"),
    "three": (
        _clean(a=_clean()["y"] - _NOISE - 5 * _NOISE[::-1], b=_NOISE, c=5 * _NOISE[::-1]),
        "F26",
        "warning",
        1,
        "a + b + c",
    ),
    "future": (_clean(next_day=_clean()["y"].shift(-24)), "F27", "error", 1, "24 step(s) later"),
    "no stamp": (_clean(ds=_clean()["ds"].mask(_HOUR == 9)), "F28", "error", 1, "row 9"),
    "no id": (_clean(unique_id=np.where(_HOUR == 9, None, "a")), "F29", "error", 1, "row 9"),
    "future rows": (_with("y", slice(HOURS - 24, None), np.nan), "F30", "info", 24, "end of series"),
    "stuck": (_with("y", slice(50, 120), 80.5), "F31", "warning", 70, "70 steps in a row"),
    "lone zeros": (_with("y", [70, 90, 99], 0), "F32", "info", 3, "closed"),
    "twins": (_clean(storm=_clean()["wind"]), "F33", "info", 1, "'storm' equals 'wind'"),
    "no values": (_clean(y=np.nan), "F35", "error", 1, "no row"),
}


@pytest.mark.parametrize("case", _CASES)
def test_each_fault_is_found(case: str) -> None:
    frame, code, severity, count, words = _CASES[case]
    audit = inspect_table(frame)
    finding = _only(audit, code)
    assert (finding.severity, finding.count) == (severity, count)
    assert words in f"{finding.where} {finding.message}"
    assert finding.fix
    assert audit.usable is (severity != "error")
    assert code not in _codes(inspect_table(_clean()))


@pytest.mark.parametrize("case", [case for case in _CASES if case not in ("short", "no values", "constant", "zeros")])
def test_one_fault_raises_no_other_alarm(case: str) -> None:
    frame, code, *_ = _CASES[case]
    allowed = {code, *{"off grid": ["F03"], "lone zeros": ["F14"], "negative": ["F14"]}.get(case, [])}
    assert _codes(inspect_table(frame), "warning", "error") <= allowed


def test_leaks_fed_as_known_future_are_errors() -> None:
    frame = _clean(a=_clean()["y"] - _NOISE, b=_NOISE)
    assert _only(inspect_table(frame, futr=["a"]), "F26").severity == "error"
    assert _only(inspect_table(frame, hist=["a"]), "F26").severity == "warning"
    assert _role(inspect_table(frame), "a") == "drop"
    assert _role(inspect_table(frame, hist=["a"]), "a") == "hist"


def test_a_past_copy_of_the_target_is_no_leak() -> None:
    audit = inspect_table(_clean(yesterday=_clean()["y"].shift(24), smooth=_clean()["y"].rolling(24).mean()))
    assert not _codes(audit) & {"F25", "F26", "F27"}


def test_roles() -> None:
    two = pd.concat([_clean(unique_id="n", size=3), _clean(unique_id="s", size=5)])
    frame = two.assign(holiday=(two["ds"].dt.day % 9 == 3).astype(int), month=two["ds"].dt.month, code="x", always=1)
    audit = inspect_table(frame)
    assert {column.name: column.role for column in audit.columns} == {
        "unique_id": "id",
        "ds": "time",
        "y": "target",
        "wind": "hist",
        "size": "stat",
        "holiday": "futr",
        "month": "hist",
        "code": "drop",
        "always": "drop",
    }


def test_columns_are_named_as_the_table_names_them() -> None:
    frame = pd.concat([_clean(unique_id="n"), _clean(unique_id=None)]).rename(
        columns={"unique_id": "store", "ds": "day", "y": "sold"}
    )
    audit = inspect_table(frame, id_col="store", time_col="day", target_col="sold")
    assert [column.name for column in audit.columns][:3] == ["store", "day", "sold"]
    assert "no store" in _only(audit, "F29").message


def test_static_columns_as_given_and_those_that_are_not() -> None:
    """Numbers and text, one value per series or several; an empty cell is no other value."""
    two = pd.concat([_clean(unique_id="n", size=3.0, kind="x"), _clean(unique_id="s", size=5.0, kind="y")])
    row = np.arange(len(two))
    hole = two.assign(size=two["size"].mask(row % 7 == 3), kind=two["kind"].mask(row % 5 == 2))
    unknown = two.assign(size=two["size"].where(two["unique_id"] == "n"))  # of one series nothing is known
    for frame in (two, hole, unknown):
        audit = inspect_table(frame, stat=["size", "kind"])
        assert (_role(audit, "size"), _role(audit, "kind")) == ("stat", "stat")
        assert "F36" not in _codes(audit)
    moving = two.assign(size=two["size"] + (row == 1500), kind=np.where(row == 1500, "z", two["kind"]))
    found = [finding for finding in inspect_table(moving, stat=["size", "kind"]).findings if "F36" in finding.code]
    assert {finding.where for finding in found} == {f"column {name!r}, series 's'" for name in ("kind", "size")}
    assert {finding.severity for finding in found} == {"error"}
    assert "'area'" in _only(inspect_table(two, stat=["area"]), "F34").message


def test_what_goes_on_after_the_target_is_known_ahead() -> None:
    frame = _with("y", slice(HOURS - 24, None), np.nan)
    assert _role(inspect_table(frame), "wind") == "futr"


def test_inputs_that_are_absent_are_errors() -> None:
    finding = _only(inspect_table(_clean(), futr=["rain"]), "F34")
    assert finding.severity == "error"
    assert "'rain'" in finding.message
    assert "'wind'" in finding.fix


def test_frequencies() -> None:
    irregular = _clean(
        ds=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(1 + (1000 * np.abs(_NOISE)) // 1), unit="s")
    )
    finding = _only(inspect_table(irregular), "F01")
    assert finding.severity == "error"
    assert "regular step" in finding.message
    mixed = pd.concat([_clean(unique_id="a"), _clean(unique_id="b", ds=pd.date_range("2020", periods=HOURS))])
    assert "'a' and 'b'" in _only(inspect_table(mixed), "F01").where
    wrong = inspect_table(_clean(), freq="zz")
    assert "F01" in _codes(wrong, "error")
    assert wrong.freq == "h"


def test_series_that_end_apart() -> None:
    early = pd.concat([_clean(unique_id="a"), _clean(unique_id="b")[:-48]])
    assert "'b' ends first, at 2024-06-27 23:00" in _only(inspect_table(early), "F18").message
    parts = pd.concat([_clean(unique_id="one")[:600], _clean(unique_id="two")[720:]])
    finding = _only(inspect_table(parts), "F18")
    assert finding.severity == "warning"
    assert "'two' begins 5 days 01:00:00 after 'one' ends" in finding.message


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York"])
def test_local_clock_time_without_zone(zone: str) -> None:
    times = pd.date_range("2023-01-01", "2024-12-31", freq="h", tz=zone).tz_localize(None)
    frame = pd.DataFrame({"ds": times, "y": np.random.default_rng(1).normal(100, 5, len(times))})
    lost = [finding for finding in inspect_table(frame).findings if finding.code == "F16-daylight-saving"]
    assert {("absent" in finding.message, "twice" in finding.message) for finding in lost} == {
        (True, False),
        (False, True),
    }
    assert "2 of 2 year(s)" in next(finding.message for finding in lost if "absent" in finding.message)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Melbourne"])
def test_activity_on_local_time_under_utc_stamps(zone: str) -> None:
    local = pd.date_range("2022-01-01", "2023-12-31", freq="30min", tz=zone)
    clock = local.hour + local.minute / 60
    shape = 50 + 30 / (1 + np.exp(-2 * (clock - 7))) - 20 / (1 + np.exp(-1.5 * (clock - 21)))
    values = np.asarray(shape) + np.random.default_rng(2).normal(0, 1, len(local))
    frame = pd.DataFrame({"ds": local.tz_convert("UTC").tz_localize(None), "y": values})
    assert "one hour" in _only(inspect_table(frame), "F16").message
    sun = frame.assign(
        ds=pd.date_range("2022-01-01", periods=len(frame), freq="30min"),
        y=np.asarray(shape)[:48].tolist() * (len(frame) // 48) + [50.0] * (len(frame) % 48),
    )
    assert "F16" not in _codes(inspect_table(sun))


def test_seasons_of_whole_number_time_and_odd_ones() -> None:
    whole = inspect_table(_clean(ds=_HOUR))
    assert whole.seasons == (24,)
    odd = inspect_table(_clean(y=100 + 30 * np.sin(2 * np.pi * _HOUR / 31) + _NOISE))
    assert odd.seasons[0] == 31
    assert _only(odd, "F17").severity == "warning"
    noise = inspect_table(_clean(y=100 + np.cumsum(_NOISE)))
    assert noise.seasons == ()
    assert "no season" in _only(noise, "F17").message


def test_runs_do_not_cross_from_series_to_series() -> None:
    ends = _with("y", slice(HOURS - 30, None), 80.5, _clean(unique_id="a"))
    almost = _with("y", slice(0, 47), 80.5, _clean(unique_id="b"))
    enough = _with("y", slice(0, 48), 80.5, _clean(unique_id="b"))
    assert "F31" not in _codes(inspect_table(pd.concat([ends, almost])))
    assert _only(inspect_table(pd.concat([ends, enough])), "F31").count == 48


def test_unreadable_tables_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("ds,y\n2024-01-01,1\n2024-01-02,1,2\n")
    audit = inspect_table(path)
    finding = _only(audit, "F00")
    assert finding.severity == "error"
    assert "line 3" in finding.where
    assert not audit.usable
    assert "no column" not in finding.message
    assert _only(inspect_table(_clean(), target_col="nope"), "F00").message.startswith("expected the column 'nope'")
    with pytest.raises(DataError):
        inspect_table(tmp_path / "absent.csv")


def test_plain_values_and_lines() -> None:
    audit = inspect_table(_with("y", [70, 71], -9999, _clean(hr=_HOUR % 24)))
    told = json.loads(json.dumps(audit.to_dict(), allow_nan=False))
    assert told["rows"] == HOURS
    assert told["usable"] is True
    assert told["seasons"][0] == 24
    assert told["columns"][-1] == {
        "name": "hr",
        "role": "calendar",
        "kind": "whole",
        "missing": 0,
        "why": "it follows from the hour",
    }
    assert told["findings"][0]["code"] == "F11-sentinel"
    lines = audit.lines()
    assert lines[0].startswith(f"{HOURS} rows, 1 series, freq h, 2024-05-01")
    assert any(line.startswith("WARNING F11-sentinel: -9999") for line in lines)


def test_roles_come_with_the_options_that_follow_them() -> None:
    """Unless told, other commands read every number that varies as past-only."""
    frame = _clean(hr=_HOUR % 24, promo=(_HOUR % 7 == 3) * 1.0, wind=np.cos(_HOUR * 0.37) * _HOUR)
    audit = inspect_table(frame)
    roles = {column.name: column.role for column in audit.columns}
    assert (roles["hr"], roles["promo"], roles["wind"]) == ("calendar", "futr", "hist")
    assert audit.proposal() == "--futr-exog promo --hist-exog wind"
    assert any("--futr-exog promo --hist-exog wind" in line for line in audit.lines())
    assert inspect_table(frame, futr=["promo"], hist=["wind"]).proposal() == ""
    assert inspect_table(frame.drop(columns="hr"), futr=["promo"]).proposal() == ""
    assert inspect_table(frame.drop(columns=["wind", "promo"])).proposal() == "--hist-exog ''"
    assert inspect_table(_clean()).proposal() == ""


_WORST: list[Any] = [None, np.nan, np.inf, -np.inf, "", "x", 1, 2.5, -9999, True, pd.NaT, pd.Timestamp("2024-01-01")]


@settings(max_examples=80, deadline=None)
@given(data=st.data(), length=st.integers(1, 30), freq=st.sampled_from([None, "h", "MS", 1, "zz"]))
def test_nothing_makes_it_fail(data: st.DataObject, length: int, freq: Any) -> None:
    hours = pd.date_range("2024-03-30 20:00", periods=length, freq="h")
    times = data.draw(
        st.sampled_from(
            [
                *[hours, hours[::-1], hours.tz_localize("UTC").tz_convert("Europe/Berlin"), hours.astype(str)],
                *[hours[[0] * length], np.arange(length), np.arange(length) ** 2],
                pd.date_range("2024-01-31", periods=length, freq="ME"),
            ]
        )
    )
    cells = st.lists(st.sampled_from(_WORST), min_size=length, max_size=length)
    frame = pd.DataFrame(
        {"unique_id": data.draw(st.lists(st.sampled_from(["a", "b", None]), min_size=length, max_size=length))}
    )
    frame["ds"] = times
    for name in ("y", "x", "z"):
        frame[name] = (
            pd.Series(data.draw(cells), dtype=object) if data.draw(st.booleans()) else np.arange(length) % 3 * 1.0
        )
    audit = inspect_table(frame, freq=freq, futr=["x"], hist=["z"])
    json.dumps(audit.to_dict(), allow_nan=False)
    assert audit.lines()


# What each benchmark table is known to hold: (options, codes that must appear as warning or error, and no others).
_KNOWN: dict[str, tuple[dict[str, str], set[str]]] = {
    "weather": ({"target_col": "OT"}, {"F11"}),
    "bike_hour": ({"target_col": "cnt"}, {"F03", "F16", "F26"}),
    "vic_elec": ({"target_col": "Demand"}, {"F16"}),
    "sml2010": ({"target_col": "Temperature_Habitacion_Sensor"}, {"F09", "F18"}),
    "beijing_pm25": ({"target_col": "pm2.5"}, {"F06"}),
    "appliances_energy": ({"target_col": "Appliances"}, set()),
    "ETTh1": ({"target_col": "OT"}, set()),
    "exchange_rate": ({}, set()),
    "ercot_zones": ({}, set()),
    "electricity203_1000h": ({}, set()),
    "los_speed": ({}, set()),
    "m4_hourly": ({}, set()),
    "classics": ({}, {"F01", "F06"}),
}


@pytest.mark.parametrize("name", _KNOWN)
def test_benchmark_tables(data_dir: Path, name: str) -> None:
    arguments, codes = _KNOWN[name]
    audit = inspect_table(data_dir / f"{name}.parquet", **arguments)  # type: ignore[arg-type]
    assert _codes(audit, "warning", "error") == codes


def test_benchmark_traps_in_detail(data_dir: Path) -> None:
    weather = inspect_table(data_dir / "weather.parquet", target_col="OT")
    assert sorted(finding.count for finding in weather.findings if finding.code == "F11-sentinel") == [1, 30, 50]
    assert _only(weather, "F04").count == 1
    bikes = inspect_table(data_dir / "bike_hour.parquet", target_col="cnt")
    assert _only(bikes, "F03").count == 165
    assert _only(bikes, "F26").message.startswith("casual + registered")
    assert {column.name for column in bikes.columns if column.role == "calendar"} == {"yr", "mnth", "hr", "weekday"}
    air = inspect_table(data_dir / "beijing_pm25.parquet", target_col="pm2.5")
    assert _only(air, "F06").count == 2067
    assert (
        "6 days" in _only(inspect_table(data_dir / "sml2010.parquet", target_col="CO2_Comedor_Sensor"), "F18").message
    )
    assert _role(inspect_table(data_dir / "appliances_energy.parquet", target_col="Appliances"), "rv2") == "drop"
    assert inspect_table(data_dir / "m4_hourly.parquet").seasons == (24,)


def test_days_that_begin_at_one_are_no_gaps() -> None:
    plain = pd.DataFrame({"ds": pd.date_range("2018-10-01", periods=60), "y": np.arange(60.0)})
    zoned = plain["ds"].dt.tz_localize("America/Sao_Paulo", nonexistent="shift_forward")
    found = inspect_table(plain.assign(ds=zoned), freq="D")
    others = tuple(one for one in found.findings if one.code != "F15-time-zone")
    assert others == inspect_table(plain, freq="D").findings


def test_a_zone_without_a_name_is_a_finding() -> None:
    zone = dt.timezone(dt.timedelta(seconds=3723))
    days = pd.Series(pd.date_range("2024-01-01", periods=60, tz=zone))
    found = inspect_table(pd.DataFrame({"ds": days, "y": np.arange(60.0)}))
    assert next(one.severity for one in found.findings if one.code == "F15-time-zone") == "error"


def test_text_that_tells_series_apart_is_static() -> None:
    stamps = pd.date_range("2024-01-01", periods=60)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.arange(60.0), "kind": kind, "sky": ["sun", "rain"] * 30})
        for name, kind in (("a", "kiosk"), ("b", None), ("c", "store"))
    ]
    for tables, role in ((parts, "stat"), (parts[:1], "drop")):
        roles = {column.name: (column.role, column.missing) for column in inspect_table(pd.concat(tables)).columns}
        assert roles["kind"] == (role, 60 if role == "stat" else 0)
        assert roles["sky"][0] == "drop"


def test_text_named_as_an_input_is_an_error() -> None:
    table = _clean(promo=np.where(_HOUR % 5 == 0, "yes", "no"))
    assert inspect_table(table).usable
    for named in ({"futr": ["promo"]}, {"hist": ["promo"]}):
        audit = inspect_table(table, **named)  # type: ignore[arg-type]
        assert not audit.usable
        assert any("named as an input" in finding.message for finding in audit.findings)


@pytest.mark.parametrize("name", ["unplanned_outage", "unscheduled", "revenue_before_tax", "alcoholics", "prevented"])
def test_words_inside_other_words_do_not_say_that_a_column_is_known_ahead(name: str) -> None:
    frame = _clean(other=_NOISE).rename(columns={"other": name})
    assert _role(inspect_table(frame), name) == "hist"


@pytest.mark.parametrize(
    "name", ["isHoliday", "stateholiday", "is_promo", "PlannedOutage", "load forecast", "eventType"]
)
def test_names_say_that_a_column_is_known_ahead(name: str) -> None:
    frame = _clean(other=_NOISE).rename(columns={"other": name})
    assert _role(inspect_table(frame), name) == "futr"


def test_zeros_that_two_columns_share_are_no_leak() -> None:
    sold = np.zeros(HOURS)
    sold[100::130] = np.arange(1, len(sold[100::130]) + 1)  # nearly always zero
    back = np.zeros(HOURS)
    back[[333, 777]] = 1
    assert "F27" not in _codes(inspect_table(_clean(y=sold, returned=back)))
    leak = _clean(y=sold, next_day=pd.Series(sold).shift(-24))
    assert "24 step(s) later" in _only(inspect_table(leak), "F27").message


def test_rows_are_those_of_the_source() -> None:
    frame = _clean().astype({"y": object})
    frame["unique_id"], frame["ds"] = "a", frame["ds"].astype(object)
    frame.loc[3, "unique_id"], frame.loc[7, "ds"], frame.loc[9, "y"] = None, None, "much"
    where = {one.code: one.where for one in inspect_table(frame).findings}
    assert where["F29-missing-ids"] == "row 3"
    assert where["F28-missing-stamps"] == "row 7"
    assert where["F21-non-numeric"] == "target, row 9"
    wide = frame.drop(columns="unique_id").dropna(subset="ds").assign(other=1.0).rename(columns={"y": "sold"})
    found = inspect_table(wide.reset_index(drop=True), target_col="other,sold").findings
    assert [one.where for one in found if one.code == "F21-non-numeric"] == ["target 'sold', row 8"]


def test_stamps_with_a_time_zone_are_told_on_its_clock() -> None:
    local = pd.date_range("2024-05-01", periods=HOURS, freq="h", tz="Asia/Seoul")
    frame = _clean(ds=local)
    audit = inspect_table(frame.drop(index=range(100, 160)))
    assert audit.start == "2024-05-01 00:00:00+09:00"
    assert f"ends at {local[160]}" in _only(audit, "F03").message
    twice = pd.concat([frame, frame.loc[[30]].assign(y=0.0)])
    assert str(local[30]) in _only(inspect_table(twice), "F05").where
    half = frame.assign(ds=local.where(np.arange(HOURS) != 50, local + pd.Timedelta("7min")))
    assert str(half["ds"][50]) in _only(inspect_table(half), "F02").where
    night = frame.assign(y=frame["y"].where(local.hour != 3))
    assert "03:00" in _only(inspect_table(night), "F37").message
    days = pd.date_range("2024-05-01", periods=100, freq="D", tz="Asia/Seoul")
    assert inspect_table(_clean().head(100).assign(ds=days)).start == "2024-05-01 00:00:00"


def test_a_straight_line_has_no_season_and_no_warning() -> None:
    for step in (1.0, 0.1):
        table = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=200), "y": step * np.arange(200)})
        assert {finding.code for finding in inspect_table(table).findings} == {"F01-frequency", "F20-trend"}


def test_the_advice_to_join_a_clock_names_the_columns_of_the_table() -> None:
    days = pd.date_range("2024-01-01", periods=30).repeat(2)
    table = pd.DataFrame({"unique_id": "a", "day": days, "clock": ["00:00", "12:00"] * 30, "load": np.arange(60.0)})
    told = {finding.code: finding.fix for finding in inspect_table(table, time_col="day", target_col="load").findings}
    assert "df['day'].astype(str)" in told["F05-conflicting-stamps"]


def test_a_promotion_is_known_ahead_whatever_stands_before_it() -> None:
    table = _clean().assign(onpromotion=np.arange(len(_clean())) % 7 == 0)
    roles = {column.name: column.role for column in inspect_table(table).columns}
    assert roles["onpromotion"] == "futr"
