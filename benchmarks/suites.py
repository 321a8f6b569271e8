"""The accuracy suites: which data, split how, judged by what; every case of a suite is one ``Job``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.jobs import Job, every_window, one_step_job, parts, split_job, stretch_job, wide_job
from benchmarks.record import DATA
from benchmarks.reference import beijing_pm25, sml2010
from openbook.data.panel import make_panel
from openbook.training.losses import Loss

_STATISTICAL = ("auto_ets", "auto_theta")


@dataclass(frozen=True)
class Suite:
    """A protocol: data files, cases by name, metrics that decide (the first one first), and what it is in words.

    ``statistical``: what else than the floors is fitted quickly enough, at every case; ``reference``: models of the
    founding study and of the papers it builds on, at the first case.
    """

    name: str
    files: tuple[str, ...]
    cases: Mapping[str, Callable[[], Job]]
    metrics: tuple[str, ...]
    about: str
    ablations: bool = False
    statistical: tuple[str, ...] = _STATISTICAL
    reference: tuple[str, ...] = ("luong", "bahdanau", "darnn", "day_to_day")

    def skipped(self, folder: Path = DATA) -> str | None:
        """Why it can not be measured here; None where it can."""
        absent = [name for name in self.files if not (folder / f"{name}.parquet").is_file()]
        return f"no {', '.join(f'{name}.parquet' for name in absent)} in the data folder" if absent else None


@cache
def read(name: str) -> pd.DataFrame:
    """A table of the data folder, read once."""
    return pd.read_parquet(DATA / f"{name}.parquet")


HORIZONS, ILLNESS = (96, 192, 336, 720), (24, 36, 48, 60)
HOURS, QUARTERS = (8640, 2880, 2880), (34560, 11520, 11520)


def wide(
    name: str,
    file: str,
    freq: str | int,
    season: int,
    *,
    rows: tuple[int, int, int] | None = None,
    horizons: tuple[int, ...] = HORIZONS,
    input_size: int | None = None,
    ablations: bool = False,
) -> Suite:
    """A multivariate suite, a case a horizon."""

    def case(h: int) -> Callable[[], Job]:
        def job() -> Job:
            frame = read(file)
            split = rows or parts(len(frame))
            return wide_job(frame, split, h, season=season, freq=freq, input_size=input_size)

        return job

    about = f"Every column of {file} a series of one global model, in standard deviations of its training rows"
    cases = {str(h): case(h) for h in horizons}
    return Suite(name, (file,), cases, ("mse", "mae"), about + "; every test window.", ablations)


def prices(market: str, known: bool, ablations: bool = False) -> Suite:
    """Day-ahead electricity prices; the day-ahead forecasts of load and generation as past inputs, or known ahead."""

    def job() -> Job:
        frame = read("epf")
        frame = frame[frame["unique_id"] == market]
        columns = ("exog1", "exog2")
        panel = make_panel(frame, freq="h", **({"futr": columns} if known else {"hist": columns}))
        return split_job(panel, parts(len(frame)), 24, season=24, input_size=168)

    role = "known ahead" if known else "read as past inputs only"
    about = (
        f"Day-ahead prices of {market}, window 168, in standard deviations of the training rows; two forecasts {role}."
    )
    name = f"epf_{market.lower()}_{'known' if known else 'past'}"
    return Suite(name, ("epf",), {"24": job}, ("mse", "mae"), about, ablations)


ZONE = "Australia/Melbourne"
STRETCHES, TEST_DAYS = (60, 150), 60
VIC_STARTS = (
    "2012-03-01",
    "2012-08-01",
    "2012-11-01",
    "2013-02-01",
    "2013-05-01",
    "2013-08-01",
    "2013-11-01",
    "2014-01-01",
)
BIKE_STARTS = (
    "2011-01-01",
    "2011-04-01",
    "2011-07-01",
    "2011-09-01",
    "2011-11-01",
    "2012-01-01",
    "2012-03-01",
    "2012-06-01",
)
BIKE_KNOWN = ("temp", "hum", "windspeed", "weathersit", "holiday", "workingday")
VIC_KNOWN = ("Temperature", "Holiday")


def demand(*, hourly: bool) -> pd.DataFrame:
    """Demand of Victoria as a table with stamps of its own time zone: people live by the clock on the wall."""
    frame = read("vic_elec").rename(columns={"Demand": "y"})
    if hourly:
        how = {"y": "mean", "Temperature": "mean", "Holiday": "max"}
        frame = frame.groupby(frame["ds"].dt.floor("h"), as_index=False).agg({"ds": "first", **how})
    stamps = frame["ds"].dt.tz_localize("UTC").dt.tz_convert(ZONE)
    return frame.assign(ds=stamps, unique_id="Victoria")


def small(data: str, days: int, start: str) -> Job:
    """A short history from ``start`` on, then 60 days a day ahead; nothing before the history is seen."""
    if data == "vic_elec":
        panel = make_panel(demand(hourly=True), futr=VIC_KNOWN, freq="h")
    else:
        frame = read("bike_hour").rename(columns={"cnt": "y"}).assign(unique_id="bikes")
        panel = make_panel(frame, futr=BIKE_KNOWN, freq="h")
    stamps = panel.wall_clock()
    first = int(np.flatnonzero(stamps == np.datetime64(start))[0]) + 24 * days
    return stretch_job(panel, first, 24, history=24 * days, test=24 * TEST_DAYS, season=24)


def small_demand() -> Suite:
    """The founding case: little history."""
    cases = {
        f"{data}_{days}_{start}": lambda data=data, days=days, start=start: small(data, days, start)
        for data, starts in (("vic_elec", VIC_STARTS), ("bike_hour", BIKE_STARTS))
        for days in STRETCHES
        for start in starts
    }
    about = (
        "Hourly demand of Victoria and rented bicycles, 24 hours ahead, learned once from the 60 or 150 days that begin at a "
        "date, the next 60 days as test, in MW and bicycles; weather and holidays are known ahead as they came."
    )
    return Suite("small_demand", ("vic_elec", "bike_hour"), cases, ("mae", "mase"), about, ablations=True)


def vic_elec() -> Job:
    """Half-hourly demand, the last year a day ahead."""
    panel = make_panel(demand(hourly=False), futr=VIC_KNOWN, freq="30min")
    first = int(np.flatnonzero(panel.wall_clock() == np.datetime64("2014-01-01"))[0])
    learn = np.array([first])
    return Job(panel, learn, None, every_window(panel, learn, 48, 48), 48, season=48, loss="pinball")


def m4_hourly() -> Job:
    """All 414 hourly series of the M4 competition, their official last 48 steps as test."""
    frame = read("m4_hourly")
    panel = make_panel(frame[["unique_id", "ds", "y"]], freq=1)
    learn = panel.lengths - 48
    return Job(panel, learn, None, every_window(panel, learn, 48), 48, season=24, loss="pinball")


def one_step(name: str, file: str, season: int, loss: Loss, about: str) -> Suite:
    """The one-step protocols of the dual-stage papers."""
    make = sml2010 if file == "sml2010" else beijing_pm25

    def job() -> Job:
        return one_step_job(make(name.endswith("nowcast")), season=season, loss=loss)

    return Suite(name, (file,), {"1": job}, ("rmse", "mae"), about)


_ROOM = "Room temperature every 15 minutes, one step, 3200/400/537 rows, window 10, in °C; inputs "
_DUST = "Fine dust in Beijing, one hour ahead, 60/20/20, window 10."
_YEAR = (
    "Half-hourly demand of Victoria, the last year as test, a day ahead at midnight (23:00 in the half of the year with the "
    "other clock); holiday and the temperature, as it came, known ahead."
)
_M4 = "The official last 48 steps of 414 series, one global model; MASE with season 24, sMAPE as the competition defined it."
_SHORT = (*_STATISTICAL, "auto_arima")  # a seasonal ARIMA is for series this short
_ALL = (
    wide("etth1", "ETTh1", "h", 24, rows=HOURS, ablations=True),
    wide("etth2", "ETTh2", "h", 24, rows=HOURS),
    replace(wide("ettm1", "ETTm1", "15min", 96, rows=QUARTERS), statistical=()),
    replace(wide("weather", "weather", "10min", 144), statistical=()),
    wide("exchange", "exchange_rate", 1, 1),
    replace(wide("illness", "illness", "7D", 52, horizons=ILLNESS, input_size=104), statistical=_SHORT),
    *(prices(market, known, known and market == "NP") for market in ("NP", "PJM", "DE") for known in (False, True)),
    one_step("sml2010_forecast", "sml2010", 96, "mse", f"{_ROOM}up to now."),
    one_step("sml2010_nowcast", "sml2010", 96, "mse", f"{_ROOM}of the step itself known."),
    one_step("pm25", "beijing_pm25", 24, "mse", _DUST),
    Suite("m4_hourly", ("m4_hourly",), {"48": m4_hourly}, ("mase", "smape"), _M4, True, (*_SHORT, "mstl")),
    small_demand(),
    Suite("vic_elec", ("vic_elec",), {"48": vic_elec}, ("mape", "wape", "mae"), _YEAR, True, (*_STATISTICAL, "mstl")),
)
SUITES = {suite.name: suite for suite in _ALL}
