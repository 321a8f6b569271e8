"""Time zones: what a clock on the wall shows, which steps are counted by it, and zones by name."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq, step_seconds
from openbook.errors import DataError

_DAY = 86_400


def on_wall_clock(freq: Freq) -> bool:
    """Whether steps are counted by the clock on the wall: those of a day and longer."""
    seconds = step_seconds(freq)
    return seconds is not None and seconds >= _DAY


def are_same_days(stamps: pd.Series, others: pd.Series) -> bool:
    """Whether days (or longer steps) of two tables are the same by the local clock, whatever the offset each table names.

    The offset of a local clock changes with the season, its days do not. So it is of tables that name offsets or no zone.
    UTC may be such an offset, London's in winter, or what other clocks were turned into: the time of day tells.

    >>> day = pd.Series(pd.to_datetime(["2024-05-01"]))
    >>> one, other = day.dt.tz_localize("UTC+01:00"), day.dt.tz_localize("UTC")
    >>> are_same_days(one, other), are_same_days(one, one.dt.tz_convert("UTC"))
    (True, False)
    """
    zones = [getattr(each.dtype, "tz", None) for each in (stamps, others)]
    offsets = [None if zone is None else zone.utcoffset(None) for zone in zones]
    if any(zone is not None and offset is None for zone, offset in zip(zones, offsets, strict=True)):
        return False
    if zones[0] is None and zones[1] is None:
        return True
    return dt.timedelta(0) not in offsets or _usual_clock(stamps) == _usual_clock(others)


def _usual_clock(stamps: pd.Series) -> pd.Timedelta | None:
    wall = stamps.dropna().dt.tz_localize(None)
    return (wall - wall.dt.normalize()).mode().iloc[0] if len(wall) else None


def in_zone(stamps: pd.Series, like: pd.Series, freq: Freq) -> pd.Series:
    """Stamps of results in the time zone of the table they were made from, if any; days of mere offsets stay what they are.

    >>> day = pd.Series(pd.to_datetime(["2024-05-01"])).dt.tz_localize("UTC+01:00")
    >>> like = pd.Series(pd.to_datetime(["2024-04-30"])).dt.tz_localize("UTC+02:00")
    >>> in_zone(day, like, "D")[0].isoformat(), in_zone(day, like, "h")[0].isoformat()
    ('2024-05-01T00:00:00+02:00', '2024-05-01T01:00:00+02:00')
    """
    if stamps.dt.tz == like.dt.tz:
        return stamps
    if on_wall_clock(freq) and are_same_days(stamps, like):
        return stamps.dt.tz_localize(None).dt.tz_localize(like.dt.tz)
    return stamps.dt.tz_convert(like.dt.tz)


def wall_times(ids: pd.Series, stamps: pd.Series) -> pd.Series:
    """Stamps with a time zone as a clock on the wall shows them, without the zone.

    Some zones change at midnight, so that one day of the year begins at 01:00. Where most stamps stand at the usual time
    of their series, the stamp of such a day gets that time too: days are one grid, ``Panel.local_times`` leads back.

    >>> days = pd.Series(pd.to_datetime(["2018-11-03 03:00", "2018-11-04 03:00", "2018-11-05 02:00"], utc=True))
    >>> wall_times(pd.Series(["a"] * 3), days.dt.tz_convert("America/Sao_Paulo")).dt.hour.tolist()
    [0, 0, 0]
    """
    wall = stamps.dt.tz_localize(None)
    clock = wall - wall.dt.normalize()
    owner = pd.Series(pd.factorize(ids)[0], index=stamps.index)
    counted = pd.DataFrame({"owner": owner, "clock": clock}).value_counts(sort=False).reset_index(name="n")
    # Stable: among equally common times of a series the earliest one; a single stamp is measured against midnight.
    ordered = counted.sort_values(["owner", "clock"]).sort_values("n", ascending=False, kind="stable")
    usual = ordered.drop_duplicates("owner").set_index("owner")
    alone = counted.groupby("owner")["n"].sum() == 1
    usual_clock = usual["clock"].where(~alone.reindex(usual.index), pd.Timedelta(0))
    planned = meant(stamps, owner.map(usual_clock))
    at_usual = (planned - planned.dt.normalize()) == owner.map(usual["clock"])
    return planned if at_usual.mean() > 0.5 or alone.all() else wall


def meant(stamps: pd.Series, clock: pd.Series | pd.Timedelta) -> pd.Series:
    """Wall times, with ``clock`` put in place of what a zone shows on the days where ``clock`` does not exist."""
    wall = stamps.dt.tz_localize(None)
    planned = wall.dt.normalize() + clock
    first = np.ones(len(wall), bool)
    shown = planned.dt.tz_localize(stamps.dt.tz, ambiguous=first, nonexistent="shift_forward")
    return wall.where(shown != stamps, planned)


def zone_name(stamps: pd.Series) -> str:
    """The name under which pandas finds the time zone of stamps again: an IANA key, ``UTC`` or ``UTC+02:00``.

    Raises ``DataError`` (``unknown_time_zone``) for zones without such a name (a rule of one's own, the machine's clock).

    >>> zone_name(pd.Series(pd.date_range("2024", periods=2, tz=dt.timezone(dt.timedelta(hours=2)))))
    'UTC+02:00'
    """
    zone = stamps.dt.tz
    # dateutil knows the file of a zone only, below a folder named zoneinfo.
    names = [getattr(zone, "key", None), getattr(zone, "zone", None), getattr(zone, "_filename", None)]
    offset = zone.utcoffset(None)
    known = stamps.dropna().dt.tz_convert("UTC")
    probes = known.iloc[np.unique(np.linspace(0, len(known) - 1, 50).astype(int))] if len(known) else known
    for name in (*names, None if offset is None else str(dt.timezone(offset))):
        short = str(name or "").rpartition("zoneinfo/")[2]
        if short and _same_clock(short, zone, probes):
            return short
    raise DataError(
        "unknown_time_zone",
        expected="a time zone with an IANA name, or a fixed offset of whole minutes",
        got=repr(zone),
        where=f"column {stamps.name!r}",
        fix="convert the stamps to a named zone (ds.dt.tz_convert('Europe/Berlin'))",
    )


def _same_clock(name: str, zone: dt.tzinfo, probes: pd.Series) -> bool:
    """Whether pandas knows a zone of this name and it shows what ``zone`` shows at the probed UTC stamps."""
    try:
        found = probes.dt.tz_convert(name)
    except (KeyError, ValueError, OSError):  # all that zoneinfo and pytz raise for an unknown name
        return False
    shown = [probe.to_pydatetime(warn=False).astimezone(zone).utcoffset() for probe in probes]
    return [stamp.utcoffset() for stamp in found] == shown
