"""Simulated hourly calls of a few call centres, every cause known: the built-in demonstration data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from openbook.data.panel import ID, TARGET, TIME
from openbook.errors import UsageError

NOTES = (
    "SIMULATED data, not records of any real call centre. Hourly inbound calls with planted effects of hour, weekday, "
    "holidays, temperature and letter campaigns; the noise columns have no effect. See openbook.data.calls."
)

_NAMES = ("Busan", "Daegu", "Seoul", "Incheon", "Daejeon", "Gwangju", "Suwon", "Ulsan")
_SCALES = (40.0, 120.0, 300.0)  # mean calls per hour of a small, a medium and a large centre, repeating
_WEEK = (1.35, 1.15, 1.08, 1.02, 1.05, 0.50, 0.28)  # Monday to Sunday
_NIGHT = 0.04  # lines outside opening hours, against 1 at the higher hump
_OPENS, _CLOSES = 8, 20
_FIXED_HOLIDAYS = (101, 301, 505, 606, 815, 1003, 1009, 1225)  # month and day
_MOVABLE_HOLIDAYS = ("01-22", "09-10")  # earliest first day of three; the simulation moves it by up to four weeks
_KERNEL = (0.25, 0.50, 0.25)  # one hour early, at the lag, one hour late
_EFFECTS = {
    "campaign_share_per_thousand": 0.10,  # of the centre's mean hourly calls, summed over the kernel
    "day_after_holiday": 1.25,
    "hot_from_celsius": 24.0,
    "hot_per_degree": 0.015,
    "cold_below_celsius": 2.0,
    "cold_per_degree": 0.012,
    "noise_sigma": 0.06,
    "noise_memory": 0.7,
}
# One random stream per purpose, so that a change to one (more noise columns, say) leaves the others as they were.
_HOLIDAY, _CENTRE, _WEATHER, _MAILING, _NOISE, _CALLS, _GAPS = range(7)


@dataclass(frozen=True)
class CallsTruth:
    """What was planted: lags in hours, the inputs that matter and those that do not, effect sizes.

    ``kernel`` maps lag to its share of a mailing's calls. ``cells`` (columns ``feature, lag, why``) lists where a good
    explanation looks; ``components`` (``unique_id, ds, base, campaign``) holds the expected calls of every hour without
    campaigns and the expected calls campaigns add, before noise.
    """

    campaign_lag: int
    daily_lag: int
    weekly_lag: int
    inputs_that_matter: tuple[str, ...]
    inputs_that_are_noise: tuple[str, ...]
    kernel: Mapping[int, float]
    effects: Mapping[str, float]
    cells: pd.DataFrame
    components: pd.DataFrame


class SimulatedCalls(NamedTuple):
    """The table to forecast and the truth behind it."""

    frame: pd.DataFrame
    truth: CallsTruth


def simulate_calls(
    *,
    seed: int = 1,
    n_centres: int = 3,
    days: int = 730,
    start: str = "2023-01-02",
    campaign_lag: int = 52,
    noise_columns: int = 2,
) -> SimulatedCalls:
    """SIMULATED hourly inbound calls of a few call centres: no real centre stands behind these numbers.

    The frame has ``24 * days`` rows per centre: ``unique_id``, ``ds`` (hours), ``y`` (calls in that hour; NaN where the
    record is missing: single hours and a few runs), ``holiday`` (0/1) and ``temperature`` (degrees Celsius, as
    forecast), both known ahead, ``mailing`` (thousand letters sent in that hour, known once sent) and ``noise_1 ...``
    (no effect: odd ones remember, even ones are white). Expected calls are

    ``scale * trend * (hour * weekday * after_holiday * (1 + temperature effect) + campaign)``

    with a holiday counting as a Sunday, and each mailing calling back ``campaign_lag`` hours later (half of it at that
    hour, a quarter an hour before and after; it adds 40 to 100 % of the centre's mean level at its peak, at night as by
    day). Calls are Poisson around that level times lognormal noise with memory. Equal arguments give equal bits, and a
    centre does not depend on how many others there are. Raises ``UsageError`` for arguments out of range.

    >>> frame, truth = simulate_calls(days=28)
    >>> list(frame.columns)
    ['unique_id', 'ds', 'y', 'holiday', 'temperature', 'mailing', 'noise_1', 'noise_2']
    >>> frame.shape, truth.campaign_lag, truth.inputs_that_are_noise
    ((2016, 8), 52, ('noise_1', 'noise_2'))
    """
    _check_at_least(seed=(seed, 0), n_centres=(n_centres, 1), days=(days, 1), noise_columns=(noise_columns, 0))
    _check_at_least(campaign_lag=(campaign_lag, 2))
    times = _first_hour(start) + np.arange(24 * days)
    holiday, after = _holidays(times, seed)
    centres = [
        _centre(times, holiday, after, (seed, number), campaign_lag=campaign_lag, noise_columns=noise_columns)
        for number in range(n_centres)
    ]
    both = pd.concat(centres, ignore_index=True)
    noise = tuple(f"noise_{k}" for k in range(1, noise_columns + 1))
    frame = both[[ID, TIME, TARGET, "holiday", "temperature", "mailing", *noise]].copy()
    frame.attrs["notes"] = NOTES
    return SimulatedCalls(frame, _truth(campaign_lag, noise, both[[ID, TIME, "base", "campaign"]].copy()))


def _centre(
    times: np.ndarray,
    holiday: np.ndarray,
    after: np.ndarray,
    key: tuple[int, int],
    *,
    campaign_lag: int,
    noise_columns: int,
) -> pd.DataFrame:
    """All columns of one centre, the hidden ``base`` and ``campaign`` among them."""
    number, hours = key[1], len(times)
    temperature = _temperature(times, _stream(key, _WEATHER))
    mailing = _mailing(hours, _stream(key, _MAILING))
    level = _level(times, number, _stream(key, _CENTRE))
    base = level * _rhythm(times, holiday) * _weather_effect(temperature)
    base = base * np.where(after, _EFFECTS["day_after_holiday"], 1.0)
    campaign = level * _EFFECTS["campaign_share_per_thousand"] * _arrivals(mailing, campaign_lag)
    calls = _stream(key, _CALLS)
    noise = np.exp(_EFFECTS["noise_sigma"] * _remembering(calls.standard_normal(hours), _EFFECTS["noise_memory"]))
    y = calls.poisson((base + campaign) * noise).astype(np.float64)
    y[_gaps(hours, _stream(key, _GAPS))] = np.nan
    name = _NAMES[number] if number < len(_NAMES) else f"Centre {number + 1}"
    columns = {
        ID: name,
        TIME: times.astype("datetime64[ns]"),
        TARGET: y,
        "holiday": holiday.astype(np.int64),
        "temperature": temperature,
        "mailing": mailing,
    }
    for k in range(1, noise_columns + 1):
        white = _stream(key, _NOISE, k).standard_normal(hours)
        columns[f"noise_{k}"] = np.round(_remembering(white, 0.9) if k % 2 else white, 3)
    return pd.DataFrame({**columns, "base": base, "campaign": campaign})


def _stream(key: tuple[int, int], *purpose: int) -> np.random.Generator:
    return np.random.default_rng([*key, *purpose])


def _remembering(white: np.ndarray, memory: float) -> np.ndarray:
    """AR(1) with unit variance from the first hour on, driven by white noise."""
    spread = np.sqrt((1 - memory) / (1 + memory))
    white = np.concatenate([white[:1] * spread, white[1:]])
    # An exponentially weighted mean is an AR(1) recursion: x[t] = memory * x[t - 1] + (1 - memory) * white[t].
    return pd.Series(white).ewm(alpha=1 - memory, adjust=False).mean().to_numpy() / spread


def _holidays(times: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hours of a holiday, and hours of an ordinary day after one, [H] each."""
    first, last = times[0].astype("datetime64[D]"), times[-1].astype("datetime64[D]")
    one = np.timedelta64(1, "D")
    days = np.arange(first - one, last + one, one)
    months = days.astype("datetime64[M]")
    month_day = (months.astype(np.int64) % 12 + 1) * 100 + (days - months).astype(np.int64) + 1
    free = np.isin(month_day, _FIXED_HOLIDAYS)
    for year in np.unique(days.astype("datetime64[Y]")):
        moves = np.random.default_rng([seed, _HOLIDAY, int(str(year))]).integers(0, 29, len(_MOVABLE_HOLIDAYS))
        for earliest, move in zip(_MOVABLE_HOLIDAYS, moves, strict=True):
            free |= np.isin(days, np.datetime64(f"{year}-{earliest}") + (move + np.arange(3)) * one)
    after = ~free[1:] & free[:-1]
    day = (times.astype("datetime64[D]") - first).astype(np.int64)
    return free[1:][day], after[day]


def _hour_weekday(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hours = times.astype("datetime64[h]").astype(np.int64)
    return hours % 24, (hours // 24 + 3) % 7  # the epoch was a Thursday


def _rhythm(times: np.ndarray, holiday: np.ndarray) -> np.ndarray:
    """Two humps within opening hours times the weekday's share, with mean one over an ordinary week."""
    clock = np.arange(24)
    humps = np.exp(-(((clock - 10.5) / 1.8) ** 2)) + 0.85 * np.exp(-(((clock - 15.5) / 2.2) ** 2))
    shape = _NIGHT + np.where((clock >= _OPENS) & (clock < _CLOSES), 0.15 + humps, 0.0)
    week = np.array(_WEEK)
    hour, weekday = _hour_weekday(times)
    return shape[hour] / shape.mean() * week[np.where(holiday, 6, weekday)] / week.mean()


def _level(times: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """Mean calls per hour with a slow trend of -5 to +15 % a year."""
    years = np.arange(len(times)) / (24 * 365.25)
    return _SCALES[number % len(_SCALES)] * rng.uniform(0.9, 1.1) * np.exp(rng.uniform(-0.05, 0.15) * years)


def _temperature(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Coldest in late January, warmest at three in the afternoon, weather with a memory of about two days."""
    hours = times.astype("datetime64[h]").astype(np.int64)
    year = -np.cos(2 * np.pi * (hours / 24 - 25) / 365.25)
    day = np.cos(2 * np.pi * (hours % 24 - 15) / 24)
    return np.round(
        rng.uniform(12, 14) + 12 * year + 4 * day + 3 * _remembering(rng.standard_normal(len(times)), 0.98), 1
    )


def _weather_effect(temperature: np.ndarray) -> np.ndarray:
    hot = np.maximum(temperature - _EFFECTS["hot_from_celsius"], 0)
    cold = np.maximum(_EFFECTS["cold_below_celsius"] - temperature, 0)
    return 1 + _EFFECTS["hot_per_degree"] * hot + _EFFECTS["cold_per_degree"] * cold


def _mailing(hours: int, rng: np.random.Generator) -> np.ndarray:
    """One to three mailings a week of 8 to 20 thousand letters, at any hour of any day: no rhythm gives them away."""
    mailing = np.zeros(-(-hours // 168) * 168)
    for week in range(0, len(mailing), 168):
        sent = week + rng.choice(168, rng.integers(1, 4), replace=False)
        mailing[sent] = np.round(rng.uniform(8, 20, len(sent)), 1)
    return mailing[:hours]


def _arrivals(mailing: np.ndarray, lag: int) -> np.ndarray:
    """Letters whose readers call in each hour: the mailing through the kernel around ``lag``."""
    padded = np.concatenate([np.zeros(lag + 1), mailing])
    return sum(
        (
            weight * padded[1 - shift : 1 - shift + len(mailing)]
            for shift, weight in zip((-1, 0, 1), _KERNEL, strict=True)
        ),
        np.zeros(len(mailing)),
    )


def _gaps(hours: int, rng: np.random.Generator) -> np.ndarray:
    """Missing hours: three in a thousand at random, and a run of 3 to 36 hours about every three months."""
    missing = rng.random(hours) < 0.003
    for _ in range(round(hours / (24 * 90))):
        first, length = rng.integers(0, hours), rng.integers(3, 37)
        missing[first : first + length] = True
    return missing


def _truth(lag: int, noise: tuple[str, ...], components: pd.DataFrame) -> CallsTruth:
    kernel = {lag + shift: weight for shift, weight in zip((-1, 0, 1), _KERNEL, strict=True)}
    cells = [
        (TARGET, 24, "the same hour of the day before"),
        (TARGET, 168, "the same hour of the week before"),
        ("holiday", 0, "a holiday counts as a Sunday"),
        ("holiday", 24, "the day after a holiday brings more calls"),
        ("temperature", 0, "heat and frost bring more calls"),
        *(("mailing", at, f"{share:.0%} of a mailing's calls come {at} hours later") for at, share in kernel.items()),
    ]
    return CallsTruth(
        campaign_lag=lag,
        daily_lag=24,
        weekly_lag=168,
        inputs_that_matter=("holiday", "temperature", "mailing"),
        inputs_that_are_noise=noise,
        kernel=kernel,
        effects=dict(_EFFECTS),
        cells=pd.DataFrame(cells, columns=["feature", "lag", "why"]),
        components=components,
    )


def _first_hour(start: str) -> np.datetime64:
    try:
        first: np.datetime64 = np.datetime64(start, "h")
    except (ValueError, TypeError):
        first = np.datetime64("NaT", "h")
    if np.isnat(first):
        raise UsageError(
            "bad_start",
            expected="a date such as '2023-01-02'",
            got=repr(start),
            where="start",
            fix="write the first day as an ISO date without time zone",
        )
    return first


def _check_at_least(**bounds: tuple[int, int]) -> None:
    for name, (value, least) in bounds.items():
        if value < least:
            raise UsageError(
                "out_of_range",
                expected=f"{least} or more",
                got=str(value),
                where=name,
                fix=f"pass {name} of at least {least}",
            )
