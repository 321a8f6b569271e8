"""Checks of an audit that concern time: frequency, gaps, daylight saving, lengths and ends of series."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from openbook.data.closed import never_seen
from openbook.data.findings import Finding, View, per_series
from openbook.data.frequency import season_length, step_seconds
from openbook.data.stamps import stamp_text

_SAMPLED_SERIES = 8
_FEWEST = 8
# Region, and the Sundays (month, which one) on which its clocks go forward and back.
_CLOCK_CHANGES = (
    ("Europe", (3, -1), (10, -1)),
    ("North America", (3, 2), (11, 1)),
    ("Australia", (10, 1), (4, 1)),
)
# Unit, origin, seconds, and what steps between stamps are a multiple of, where whole numbers are dates.
_EPOCHS = (("s", "1970-01-01", 1, 60), ("ms", "1970-01-01", 1e-3, 60_000), ("D", "1899-12-30", 86_400, 1))
_UNITS = {"s": "seconds", "ms": "milliseconds", "D": "days"}
_ERA = ("1990-01-01", "2100-01-01")


def check_time(view: View) -> Iterator[Finding]:
    """All findings about time of a table whose frequency is known."""
    yield from _frequency(view)
    yield from _epoch(view)
    yield from _gaps(view)
    yield from _closed(view)
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


def _epoch(view: View) -> Iterator[Finding]:
    """Whole numbers that are dates: seconds or milliseconds since 1970, or days as spreadsheets count them."""
    if view.dated or not len(view.times):
        return
    first, last, step = int(view.times.min()), int(view.times.max()), view.freq
    for unit, origin, size, usual in _EPOCHS:
        since, until = ((pd.Timestamp(edge) - pd.Timestamp(origin)).total_seconds() / size for edge in _ERA)
        if since <= first and last <= until and isinstance(step, int) and step % usual == 0:
            how = f"unit={unit!r}" + ("" if origin == "1970-01-01" else f", origin={origin!r}")
            yield Finding(
                "F38-counted-dates",
                "warning",
                "time column",
                f"whole numbers from {first} to {last} look like dates counted in {_UNITS[unit]} since {origin}",
                f"convert them, or calendar and season are not known: pd.to_datetime(ds, {how})",
            )
            return


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


def _closed(view: View) -> Iterator[Finding]:
    closed = never_seen(view.owner, view.wall_clock(), np.isfinite(view.target), view.freq)
    if closed is not None:
        yield Finding(
            "F37-closed-times",
            "warning",
            f"series {view.names[closed.series]!r}",
            f"no value in {closed.weeks} weeks on {closed.when} ({closed.n_series} series like this): "
            "nothing tells what would be forecast there",
            "write 0 where closed means zero, or do not use these steps of a forecast",
            closed.n_series,
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
            f"{int(early.sum())} of {len(early)} series end before {stamp_text(last.max(), view.utc_of)}; "
            f"{view.names[worst]!r} ends first, at {stamp_text(last[worst], view.utc_of)}",
            "each forecast starts where its series ends; leave ended series out if they are of no use",
            int(early.sum()),
        )


def _clock_changes(view: View) -> Iterator[Finding]:
    """A lost hour on spring Sunday nights: local clock time was written without its time zone."""
    seconds = step_seconds(view.freq) if view.freq is not None else None
    if view.before is None or seconds is None or seconds > 3600 or view.timezone is not None or not view.dated:
        return
    after = pd.DatetimeIndex(view.times)
    night = (after.day_of_week == 6) & (after.hour >= 1) & (after.hour <= 3) & (after.minute * 60 < seconds)
    lost = night & (view.before == round(3600 / seconds))
    for season, months in (("spring", (3, 4)), ("spring (south)", (9, 10))):
        found = lost & after.month.isin(months)
        years = set(after.year[found])
        covered = set(after.year[(after.day_of_week == 6) & after.month.isin(months) & (after.hour < 4)])
        if years and len(years) >= 0.5 * len(covered):
            yield Finding(
                "F16-daylight-saving",
                "warning",
                view.place(int(np.argmax(found))),
                f"an hour is absent on a {season} Sunday night in {len(years)} of {len(covered)} year(s): "
                "local clock time without time zone",
                "localize the stamps (ds.dt.tz_localize(zone, ambiguous='infer')), or convert them to UTC",
                int(found.sum()),
            )


def check_repeated_hour(twice: pd.DatetimeIndex) -> Iterator[Finding]:
    """Daylight saving seen in duplicate stamps: the hour that an autumn Sunday night has twice."""
    doubled = twice[(twice.day_of_week == 6) & (twice.hour <= 3) & twice.month.isin((3, 4, 10, 11))]
    if len(doubled) and len(doubled) >= 0.5 * len(twice):
        yield Finding(
            "F16-daylight-saving",
            "warning",
            str(doubled[0]),
            f"{len(doubled)} stamp(s) stand twice on autumn Sunday nights: local clock time without time zone",
            "localize the stamps (ds.dt.tz_localize(zone, ambiguous='infer')), or convert them to UTC",
            len(doubled),
        )


def _clock_hint(view: View) -> Iterator[Finding]:
    """People rise by the local clock: in UTC stamps the daily shape moves by an hour at the change of clocks."""
    seconds = step_seconds(view.freq) if view.freq is not None else None
    if not view.dated or seconds is None or seconds > 3600 or 3600 % seconds or view.timezone not in (None, "UTC"):
        return
    hour = round(3600 / seconds)
    for series in np.argsort(-view.lengths, kind="stable")[:_SAMPLED_SERIES]:
        rows = slice(int(view.starts[series]), int(view.starts[series + 1]))
        values = pd.Series(view.target[rows], index=pd.DatetimeIndex(view.times[rows]))
        for region, spring, autumn in _CLOCK_CHANGES:
            ahead, back = (
                [shift for day in _sundays(values.index, *change) if (shift := _shift(values, day, hour)) is not None]
                for change in (spring, autumn)
            )
            seen = len(ahead) + len(back)
            hits = sum(abs(shift + hour) <= hour / 2 for shift in ahead) + sum(
                abs(shift - hour) <= hour / 2 for shift in back
            )
            if ahead and back and seen >= 3 and hits >= 0.8 * seen:
                yield Finding(
                    "F16-daylight-saving",
                    "warning",
                    f"series {view.names[series]!r}",
                    f"the daily shape moves by one hour at {hits} of {seen} changes of the clock in {region}: "
                    "the stamps are UTC or standard time, the activity follows local time",
                    "convert the stamps to the local zone (ds.dt.tz_localize('UTC').dt.tz_convert(zone))",
                    hits,
                )
                return


def _sundays(times: pd.DatetimeIndex, month: int, which: int) -> list[pd.Timestamp]:
    """The first, second or last Sunday of a month in every year covered."""
    days = []
    for year in range(times[0].year, times[-1].year + 1):
        month_days = pd.date_range(pd.Timestamp(year, month, 1), periods=31, freq="D")
        sundays = [day for day in month_days if day.month == month and day.day_of_week == 6]
        days.append(sundays[which - 1 if which > 0 else which])
    return days


def _shift(values: pd.Series, sunday: pd.Timestamp, hour: int) -> int | None:
    """Steps by which the mean workday's morning moves between the week before and the week after a Sunday.

    Mornings follow the clock of people; evenings follow the sun, and switched loads often keep standard time.
    """
    day = pd.Timedelta(days=1)
    shapes = []
    for begin in (sunday - 6 * day, sunday + day):
        week = values.loc[begin : begin + 5 * day - pd.Timedelta(nanoseconds=1)].dropna()
        shape = week.groupby(week.index - week.index.normalize()).mean()
        if len(week) < 0.9 * 5 * 24 * hour or len(shape) != 24 * hour:
            return None
        shapes.append(shape.to_numpy())
    night = int(np.argmin(np.convolve(np.tile(shapes[0], 3), np.ones(4 * hour), "same")[24 * hour : 48 * hour]))
    morning = (night + np.arange(7 * hour)) % (24 * hour)
    before, after = (np.gradient(shape) for shape in shapes)
    lags = np.arange(-2 * hour, 2 * hour + 1)
    moved = [after[(morning + lag) % (24 * hour)] for lag in lags]
    if not np.std(before[morning]) or not all(map(np.std, moved)):
        return None
    return int(lags[np.argmax([np.corrcoef(before[morning], part)[0, 1] for part in moved])])
