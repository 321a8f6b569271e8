"""Checks of an audit that concern time: frequency, gaps, daylight saving, seasons, lengths and ends of series."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from openbook.data.findings import Finding, View, per_series
from openbook.data.frequency import season_length, step_seconds

_DAY = 86_400
_SAMPLED_SERIES, _SAMPLED_STEPS = 8, 20_000
_FEWEST = 8


def check_time(view: View) -> Iterator[Finding]:
    """All findings about time of a table whose frequency is known."""
    yield from _frequency(view)
    yield from _gaps(view)
    yield from _short(view)
    yield from _ends(view)
    yield from _clock_changes(view)
    yield from _clock_hint(view)


def _frequency(view: View) -> Iterator[Finding]:
    season = season_length(view.freq) if view.freq is not None else 1
    step = f"every {view.freq}" if isinstance(view.freq, str) else f"every {view.freq} step(s) of whole-number time"
    first = f"its usual season is {season} steps" if season > 1 else "it has no usual season"
    yield Finding(
        "F01-frequency", "info", "time column", f"one row {step}; {first}", "pass freq if this is not what you meant"
    )
    if view.timezone is not None:
        yield Finding(
            "F15-time-zone",
            "info",
            "time column",
            f"stamps carry the time zone {view.timezone}",
            "nothing: hours are counted in UTC, days and longer on the local calendar",
        )


def _gaps(view: View) -> Iterator[Finding]:
    if view.before is None or not view.before.any():
        return
    total, worst = int(view.before.sum()), int(np.argmax(view.before))
    share = total / (total + len(view.times))
    long = int(view.before[worst])
    yield Finding(
        "F03-gaps",
        "warning" if share > 0.01 or long >= max(view.season, 2) else "info",
        view.place(worst),
        f"{total} step(s) ({share:.2%}) are absent in {int((view.before > 0).sum())} gap(s); "
        f"the longest of {long} step(s) ends at {view.stamp(worst)}",
        "nothing: gaps are made explicit and masked; fill them if the values exist",
        total,
    )


def _short(view: View) -> Iterator[Finding]:
    steps = view.lengths if view.before is None else view.lengths + per_series(np.add.reduceat, view.before, view)
    need = max(2 * view.season, _FEWEST)
    short = steps < need
    if short.any():
        yield Finding(
            "F10-short-series",
            "warning",
            view.series_named(short),
            f"{int(short.sum())} of {len(short)} series have fewer than {need} steps (two seasons, at least {_FEWEST}); "
            f"the shortest has {int(steps.min())}",
            "choose h and input_size well below the shortest series, or leave these series out",
            int(short.sum()),
        )


def _ends(view: View) -> Iterator[Finding]:
    if len(view.names) < 2 or not view.dated:
        return
    first, last = view.times[view.starts[:-1]], view.times[view.starts[1:] - 1]
    order = np.argsort(first, kind="stable")
    if (first[order][1:] > last[order][:-1]).all():
        wait = pd.Timestamp(first[order][1]) - pd.Timestamp(last[order][0])
        names = view.names[order]
        yield Finding(
            "F18-unequal-ends",
            "warning",
            f"series {names[0]!r} and {names[1]!r}",
            f"no two series share a stamp: {names[1]!r} begins {wait} after {names[0]!r} ends",
            "if these are parts of one series, give them one id: the gap between them is then masked",
            len(names),
        )
        return
    early = last < last.max()
    if early.any():
        worst = int(np.argmin(last))
        yield Finding(
            "F18-unequal-ends",
            "info",
            view.series_named(early),
            f"{int(early.sum())} of {len(early)} series end before {pd.Timestamp(last.max())}; "
            f"{view.names[worst]!r} ends first, at {pd.Timestamp(last[worst])}",
            "each forecast starts where its series ends; leave ended series out if they are of no use",
            int(early.sum()),
        )


def _clock_changes(view: View) -> Iterator[Finding]:
    """A lost hour on spring Sunday nights: local clock time was written without its time zone."""
    seconds = step_seconds(view.freq) if view.freq is not None else None
    if view.before is None or seconds is None or seconds > 3600 or view.timezone is not None or not view.dated:
        return
    after = pd.DatetimeIndex(view.times)
    night = (after.dayofweek == 6) & (after.hour >= 1) & (after.hour <= 3) & (after.minute * 60 < seconds)
    lost = night & (view.before == round(3600 / seconds))
    for season, months in (("spring", (3, 4)), ("spring (south)", (9, 10))):
        found = lost & after.month.isin(months)
        years = set(after.year[found])
        covered = set(after.year[(after.dayofweek == 6) & after.month.isin(months) & (after.hour < 4)])
        if years and len(years) >= 0.5 * len(covered):
            yield Finding(
                "F16-daylight-saving",
                "warning",
                view.place(int(np.argmax(found))),
                f"an hour is absent on a {season} Sunday night in {len(years)} of {len(covered)} year(s): "
                "local clock time without time zone",
                "localize the stamps (ds.dt.tz_localize('Europe/Berlin', ambiguous='infer')), or convert them to UTC",
                int(found.sum()),
            )


def check_repeated_hour(twice: pd.DatetimeIndex) -> Iterator[Finding]:
    """Daylight saving seen in duplicate stamps: the hour that an autumn Sunday night has twice."""
    doubled = twice[(twice.dayofweek == 6) & (twice.hour <= 3) & twice.month.isin((3, 4, 10, 11))]
    if len(doubled) and len(doubled) >= 0.5 * len(twice):
        yield Finding(
            "F16-daylight-saving",
            "warning",
            str(doubled[0]),
            f"{len(doubled)} stamp(s) stand twice on autumn Sunday nights: local clock time without time zone",
            "localize the stamps (ds.dt.tz_localize('Europe/Berlin', ambiguous='infer')), or convert them to UTC",
            len(doubled),
        )


def _clock_hint(view: View) -> Iterator[Finding]:
    """People rise by the local clock: in UTC stamps the daily shape moves by an hour at the change of clocks."""
    seconds = step_seconds(view.freq) if view.freq is not None else None
    if not view.dated or seconds is None or seconds > 3600 or 3600 % seconds or view.timezone not in (None, "UTC"):
        return
    longest = int(np.argmax(view.lengths))
    rows = slice(int(view.starts[longest]), int(view.starts[longest + 1]))
    values = pd.Series(view.target[rows], index=pd.DatetimeIndex(view.times[rows]))
    hour = round(3600 / seconds)
    for region, spring, autumn in (
        ("Europe", (3, -1), (10, -1)),
        ("North America", (3, 2), (11, 1)),
        ("Australia", (10, 1), (4, 1)),
    ):
        ahead = [_shift(values, day, hour) for day in _sundays(values.index, *spring)]
        back = [_shift(values, day, hour) for day in _sundays(values.index, *autumn)]
        moved = [shift for shift in ahead if shift is not None], [shift for shift in back if shift is not None]
        hits = sum(shift == -hour for shift in moved[0]) + sum(shift == hour for shift in moved[1])
        if min(map(len, moved)) >= 1 and sum(map(len, moved)) >= 3 and hits >= 0.8 * sum(map(len, moved)):
            yield Finding(
                "F16-daylight-saving",
                "warning",
                f"series {view.names[longest]!r}",
                f"the daily shape moves by one hour at {hits} of {sum(map(len, moved))} changes of the clock in {region}: "
                "the stamps are UTC or standard time, the activity follows local time",
                "convert the stamps to the local time zone (ds.dt.tz_localize('UTC').dt.tz_convert('Australia/Melbourne'))",
                hits,
            )
            return


def _sundays(times: pd.DatetimeIndex, month: int, which: int) -> list[pd.Timestamp]:
    """The first, second or last Sunday of a month in every year covered."""
    days = []
    for year in range(times[0].year, times[-1].year + 1):
        month_days = pd.date_range(pd.Timestamp(year, month, 1), periods=31, freq="D")
        sundays = [day for day in month_days if day.month == month and day.dayofweek == 6]
        days.append(sundays[which - 1 if which > 0 else which])
    return days


def _shift(values: pd.Series, sunday: pd.Timestamp, hour: int) -> int | None:
    """Steps by which the mean workday's shape moves between the week before and the week after a Sunday."""
    day = pd.Timedelta(days=1)
    shapes = []
    for begin in (sunday - 6 * day, sunday + day):
        week = values.loc[begin : begin + 5 * day - pd.Timedelta(nanoseconds=1)].dropna()
        shape = week.groupby(week.index - week.index.normalize()).mean()
        if len(week) < 0.9 * 5 * 24 * hour or len(shape) != 24 * hour:
            return None
        shapes.append(np.gradient(shape.to_numpy()))
    before, after = shapes
    if not np.std(before) or not np.std(after):
        return None
    lags = range(-2 * hour, 2 * hour + 1)
    fits = [np.corrcoef(before, np.roll(after, -lag))[0, 1] for lag in lags]
    return int(np.argmax(fits)) - 2 * hour


def find_seasons(view: View) -> tuple[tuple[int, ...], tuple[Finding, ...]]:
    """Lags at which the longest series repeat themselves, clearest first, and what they say against the usual season."""
    if view.before is None:
        return (), ()
    usual = view.season
    echo = _echo(view, usual)
    if echo is None:
        return ((usual,) if usual > 1 else ()), ()
    strength = {lag: _near(echo, lag) for lag in _usual_lags(view) if 2 * lag < len(echo)}
    peak = _first_peak(echo, usual)
    if peak is not None and all(abs(peak - lag) > max(1, 0.03 * lag) for lag in strength):
        strength[peak] = float(echo[peak])
    found = tuple(sorted((lag for lag in strength if strength[lag] > 0.2), key=lambda lag: -strength[lag]))
    return found, tuple(_season_findings(usual, peak, strength, found))


def _season_findings(
    usual: int, peak: int | None, strength: dict[int, float], found: tuple[int, ...]
) -> Iterator[Finding]:
    where = "target"
    shown = ", ".join(f"{lag} ({strength[lag]:.2f})" for lag in found[:3])
    odd = peak is not None and peak % usual > 0.03 * peak and usual % peak > 0
    if peak is not None and usual > 1 and odd and strength.get(peak, 0) > strength.get(usual, 0) + 0.15:
        yield Finding(
            "F17-season", "warning", where, f"values repeat after {shown} steps, not after the usual {usual}",
            "look at the series; a wrong freq or an unusual cycle needs its own season",
        )  # fmt: skip
    elif found:
        yield Finding(
            "F17-season", "info", where, f"values repeat after {shown} step(s) (autocorrelation of changes)",
            "nothing: input_size should cover the longest of them",
        )  # fmt: skip
    elif usual in strength:
        yield Finding(
            "F17-season", "info", where, f"no season is visible (autocorrelation {strength[usual]:.2f} at {usual} steps)",
            "nothing: a naive forecast is the floor to beat",
        )  # fmt: skip


def _usual_lags(view: View) -> list[int]:
    seconds = step_seconds(view.freq) if view.freq is not None else None
    if seconds is None:
        return [view.season] if view.season > 1 else []
    if view.freq == "B":
        return [5]
    cycles = (
        [_DAY, 7 * _DAY] if seconds < _DAY else [7 * _DAY, 365.25 * _DAY] if seconds < 6 * _DAY else [365.25 * _DAY]
    )
    return [lag for lag in (round(cycle / seconds) for cycle in cycles) if lag > 1]


def _echo(view: View, usual: int) -> np.ndarray | None:
    """Mean autocorrelation of the changes of the longest series, smoothed to a twelfth of a season."""
    width = max(1, usual // 12)
    echoes = []
    for series in np.argsort(-view.lengths, kind="stable")[:_SAMPLED_SERIES]:
        rows = slice(int(view.starts[series]), int(view.starts[series + 1]))
        values = _on_grid(view, rows)[-_SAMPLED_STEPS:]
        if width > 1 and len(values) > 2 * width:
            values = pd.Series(values).rolling(width, min_periods=max(1, width // 2)).mean().to_numpy()
        changes = values[width:] - values[:-width]
        known = np.isfinite(changes)
        if known.sum() < max(4 * usual, 40) or not np.nanstd(changes):
            continue
        spread = 1.4826 * np.median(np.abs(changes[known] - np.median(changes[known]))) or np.std(changes[known])
        echoes.append(_autocorrelation(np.clip(changes, -6 * spread, 6 * spread)))
    if not echoes:
        return None
    length = min(map(len, echoes))
    return np.asarray(np.mean([echo[:length] for echo in echoes], axis=0))


def _on_grid(view: View, rows: slice) -> np.ndarray:
    assert view.before is not None
    places = np.arange(rows.stop - rows.start) + np.cumsum(view.before[rows])
    if places[-1] > 50 * len(places):
        return view.target[rows]
    values = np.full(places[-1] + 1, np.nan)
    values[places] = view.target[rows]
    return values


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """By Fourier transform, over the first third of the lags; missing values weigh nothing."""
    known = np.isfinite(values)
    centred = np.where(known, values - values[known].mean(), 0.0)
    size = 1 << (2 * len(values) - 1).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2)[: len(values)]
    pairs = np.fft.irfft(np.abs(np.fft.rfft(known.astype(float), size)) ** 2)[: len(values)]
    keep = max(2, int(len(values) * 0.55))
    spread = products[0] / max(pairs[0], 1)
    return np.asarray((products[:keep] / np.maximum(pairs[:keep], 1)) / spread)


def _near(echo: np.ndarray, lag: int) -> float:
    reach = max(1, lag // 100)
    return float(echo[max(lag - reach, 1) : lag + reach + 1].max())


def _first_peak(echo: np.ndarray, usual: int) -> int | None:
    """The first lag whose autocorrelation is a local maximum close to the highest one."""
    low = max(2, usual // 6)
    body = echo[: max(low + 3, int(len(echo) * 0.6))]
    rises = (body[1:-1] > body[:-2]) & (body[1:-1] >= body[2:])
    lags = np.flatnonzero(rises) + 1
    lags = lags[(lags >= low) & (body[lags] > max(0.2, 4 / np.sqrt(len(echo))))]
    if not len(lags):
        return None
    return int(lags[body[lags] >= 0.85 * body[lags].max()][0])
