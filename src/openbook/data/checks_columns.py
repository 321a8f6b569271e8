"""Checks of an audit that concern input columns: what each one is, and whether it gives the target away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations

import numpy as np
import pandas as pd

from openbook.data.findings import Finding, View, several

_SAMPLE, _PROBE = 20_000, 64
_ROUNDED = 1e-12  # from one, for all that sums are rounded
_MOST_FOR_TRIPLES, _MOST_FOR_PAIRS = 40, 200
# Some at the beginning of a word only: what is unplanned is not known ahead.
_KNOWN_AHEAD = re.compile(
    r"(?:^|[^a-z])(?:holi|event|fore_|planned|schedul)"
    r"|promo|holiday|forecast|fcst|calendar|school|campaign|휴일|공휴일|명절|행사|예보|예정|계획"
)
_INNER_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Column:
    """A column and the role proposed for it.

    ``role``: id, time, target, futr (known ahead), hist (known only until now), stat (one value per series), calendar (the
    package derives it from the stamps itself) or drop; ``why`` gives the reason.
    """

    name: str
    role: str
    kind: str
    missing: int
    why: str


def not_static(column: str, series: str) -> Finding:
    """A column named static that changes within a series."""
    return Finding(
        "F36-not-static", "error", f"column {column!r}, series {series!r}", "named static, but it changes within a series",
        "name it known ahead or past only, or keep one value per series",
    )  # fmt: skip


def check_columns(
    view: View, futr: tuple[str, ...], hist: tuple[str, ...], stat: tuple[str, ...] = ()
) -> tuple[list[Column], list[Finding]]:
    """A role for every numeric input column, and the findings that led to it."""
    findings: list[Finding] = []
    leaks = _leaks(view, findings)
    twins = _twins(view, findings, leaks)
    columns = []
    for name, values in view.inputs.items():
        known = np.isfinite(values)
        kind = _kind(values[known])
        role, why = _role(name, values, kind, view)
        if name in leaks:
            role, why = "drop", leaks[name]
        elif name in twins:
            role, why = "drop", f"equal to column {twins[name]!r}"
        elif role == "drop" and kind != "constant":
            findings.append(_number_finding(name, why))
        if name in stat:
            role, why = "stat", "as given"
            changing = _changes(values, view)
            if changing.any():
                findings.append(not_static(name, str(view.names[int(np.argmax(changing))])))
        elif name in futr or name in hist:
            role, why = ("futr" if name in futr else "hist"), "as given" + (f"; but {why}" if role == "drop" else "")
        columns.append(Column(name, role, kind, int((~known).sum()), why))
    derived = [column for column in columns if column.role == "calendar"]
    if derived:
        told = ", ".join(f"{column.name!r} {column.why.removeprefix('it ')}" for column in derived)
        findings.append(
            Finding(
                "F24-calendar-column",
                "info",
                several([repr(column.name) for column in derived], len(derived), "column(s)", most=8),
                told,
                "leave them out: calendar inputs are derived from the stamps",
                len(derived),
            )
        )
    return columns, findings


def _kind(seen: np.ndarray) -> str:
    if not len(seen) or seen.min() == seen.max():
        return "constant"
    distinct = np.unique(seen[:_SAMPLE] if len(np.unique(seen[:_SAMPLE])) > 2 else seen)
    if len(distinct) == 2:
        return "binary"
    return "whole" if (seen == np.floor(seen)).all() else "real"


def _role(name: str, values: np.ndarray, kind: str, view: View) -> tuple[str, str]:
    if kind == "constant":
        return "drop", "constant"
    if len(view.names) > 1 and not _changes(values, view).any():
        return "stat", "one value per series"
    if kind == "whole" and _counts_up(values, view):
        return "drop", "it counts rows"
    if _KNOWN_AHEAD.search(_INNER_CAPITAL.sub("_", name).lower()):
        return "futr", "its name says that it is known ahead"
    field = _calendar_field(values, view) if kind in ("whole", "binary") else None
    if field is not None:
        return "calendar", f"it follows from the {field}"
    tail = np.isnan(view.target[view.starts[1:] - 1])
    if tail.any() and np.isfinite(values[view.starts[1:] - 1][tail]).all():
        return "futr", "it goes on where the target ends"
    return "hist", "known until now, as far as the table shows"


def _changes(values: np.ndarray, view: View) -> np.ndarray:
    """Whether a column has different values within a series, [N]; missing ones are none."""
    low, high = (extreme.reduceat(values, view.starts[:-1]) for extreme in (np.fmin, np.fmax))
    return low < high


def _counts_up(values: np.ndarray, view: View) -> bool:
    """Row numbers: every value one more than the last, within each series or over the whole table."""
    if len(values) < 10 or np.isnan(values).any():
        return False
    steps = np.diff(values)
    inside = np.ones(len(steps), bool)
    inside[view.starts[1:-1] - 1] = False
    return bool(inside.any() and (steps[inside] == 1).mean() > 0.99)


def _calendar_field(values: np.ndarray, view: View) -> str | None:
    """The part of the stamp of which a column is a function (0.1 % of the rows may differ)."""
    if not view.dated:
        return None
    rows = np.flatnonzero(np.isfinite(values))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, 4 * _SAMPLE).astype(int))]
    seen = values[rows].astype(np.int64)
    if len(np.unique(seen)) > 400:
        return None
    stamps, codes = pd.DatetimeIndex(view.times[rows]), np.unique(seen, return_inverse=True)[1]
    for field, part in _fields(stamps.as_unit("ns").asi8.tobytes()):
        table = np.zeros((part.max() + 1, codes.max() + 1), np.int64)
        np.add.at(table, (part, codes), 1)
        # A part seen only once says nothing; enough rows must confirm the rule.
        if len(table) > 1 and len(rows) >= 5 * len(table) and table.max(axis=1).sum() >= 0.999 * len(rows):
            if (table.argmax(axis=1) != table.argmax(axis=1)[0]).any() and _repeats(stamps, field):
                return field
    return None


@lru_cache(maxsize=1)  # a thousand columns of one table ask for the same rows
def _fields(nanoseconds: bytes) -> list[tuple[str, np.ndarray]]:
    """The parts of stamps, each by the number of its value."""
    stamps = pd.DatetimeIndex(np.frombuffer(nanoseconds, np.int64).view("datetime64[ns]"))
    fields = {
        "hour": stamps.hour,
        "weekday": stamps.day_of_week,
        "month": stamps.month,
        "quarter": stamps.quarter,
        "year": stamps.year,
        "day of the month": stamps.day,
        "time of day": stamps.hour * 60 + stamps.minute,
        "week": stamps.isocalendar().week.to_numpy(),
        "day of the year": stamps.day_of_year,
    }
    return [(field, np.unique(np.asarray(parts), return_inverse=True)[1]) for field, parts in fields.items()]


def _repeats(stamps: pd.DatetimeIndex, field: str) -> bool:
    """Whether the table is long enough to tell a rule of the calendar from chance."""
    days = (stamps.max() - stamps.min()).days
    return days >= {"month": 400, "quarter": 400, "week": 550, "day of the year": 550, "year": 400}.get(field, 20)


def _number_finding(name: str, why: str) -> Finding:
    return Finding("F23-id-like", "warning", f"column {name!r}", why, "leave the column out: it only tells time")


def _leaks(view: View, findings: list[Finding]) -> dict[str, str]:
    """Columns that are the target in disguise, with the reason; findings are errors where futr would feed them in."""
    reasons: dict[str, str] = {}
    known = np.flatnonzero(np.isfinite(view.target))
    if len(known) < 30 or len(np.unique(view.target[known][:_SAMPLE])) < 10:
        return reasons
    usable = {
        name: values
        for name, values in view.inputs.items()
        if np.isfinite(values[known]).mean() > 0.5 and np.ptp(values[known][np.isfinite(values[known])]) > 0
    }
    rows, before = _stretches(view, known), np.concatenate([[np.nan], view.target[:-1]])
    before[view.starts[:-1]] = np.nan
    for name, values in usable.items():
        match = abs(_within(values, view.target, rows, view))
        if not match > 0.999:
            continue
        # What lags behind a slow target is nearer to what that was a row before.
        lags = 1 - abs(_within(values, before, rows, view)) < 0.5 * (1 - match)
        if not lags or 1 - match < _ROUNDED:
            reasons[name] = f"it is the target itself (correlation {match:.4f})"
            findings.append(_leak("F25-leak-copy", name, view, reasons[name]))
    rest = {name: values for name, values in usable.items() if name not in reasons}
    for names, told in _sums(view, rest, known):
        for name in names:
            reasons[name] = f"{told} is the target"
        findings.append(_leak("F26-leak-sum", ", ".join(names), view, f"{told} equals the target in every row"))
    for name, ahead in _ahead(view, rest):
        if name not in reasons:
            reasons[name] = f"it is the target {ahead} step(s) later"
            findings.append(_leak("F27-leak-future", name, view, reasons[name]))
    return reasons


def _stretches(view: View, known: np.ndarray) -> np.ndarray:
    """Some of the rows with a target, at least thirty of each series that is among them: one of each would tell nothing."""
    if len(known) <= _SAMPLE:
        return known
    owner = np.searchsorted(view.starts, known, side="right") - 1
    there = np.unique(owner)
    some = there[np.unique(np.linspace(0, len(there) - 1, _SAMPLE // 30).astype(int))]
    rows = known[np.isin(owner, some)]
    return rows if len(rows) <= _SAMPLE else rows[np.unique(np.linspace(0, len(rows) - 1, _SAMPLE).astype(int))]


def _within(values: np.ndarray, target: np.ndarray, rows: np.ndarray, view: View) -> float:
    """The correlation of two columns at some rows, each series about its own means and by its own spreads.

    Pooled, series of different sizes correlate whatever happens within them, and a leak that each has at a price of its own
    is hidden. NaN where nothing can be told.
    """
    rows = rows[np.isfinite(values[rows]) & np.isfinite(target[rows])]
    owner = np.searchsorted(view.starts, rows, side="right") - 1
    count, parts, alive = np.maximum(np.bincount(owner), 1), [], np.ones(len(rows), bool)
    for column in (values, target):
        seen = column[rows]
        off = seen - (np.bincount(owner, seen) / count)[owner]
        size = np.sqrt(np.bincount(owner, off**2) / count)[owner]
        alive &= size > 1e-9 * np.sqrt(np.bincount(owner, seen**2) / count)[owner]
        parts.append(np.divide(off, size, out=np.zeros_like(off), where=size > 0))
    return float((parts[0] * parts[1])[alive].mean()) if alive.sum() > 2 else np.nan


def _leak(code: str, names: str, view: View, told: str) -> Finding:
    fed = any(name in view.futr for name in names.split(", "))
    return Finding(
        code,
        "error" if fed or code == "F27-leak-future" else "warning",
        f"column(s) {names}",
        told,
        "leave it out: at forecast time it is as unknown as the target"
        if code != "F27-leak-future"
        else "leave it out, or shift it back to when it was known",
    )


def _sums(view: View, columns: dict[str, np.ndarray], known: np.ndarray) -> Iterator[tuple[tuple[str, ...], str]]:
    """Two or three columns, or a difference of two, that equal the target: a probe of rows first, then all rows."""
    names = list(columns)
    if len(names) < 2 or len(names) > _MOST_FOR_PAIRS:
        return
    seen = np.array([np.isfinite(columns[name][known]) for name in names])
    while len(names) > 2 and seen.all(axis=0).sum() < 30:  # the emptiest would leave no row to compare the others in
        least = int(seen.sum(axis=1).argmin())
        names, seen = [*names[:least], *names[least + 1 :]], np.delete(seen, least, axis=0)
    complete = known[seen.all(axis=0)]
    if len(complete) < 30:
        return
    probe = complete[np.unique(np.linspace(0, len(complete) - 1, _PROBE).astype(int))]
    table = np.stack([columns[name][probe] for name in names])
    wanted = view.target[probe]
    close = 1e-6 * max(float(np.abs(wanted).max()), 1e-12)
    used: set[str] = set()
    sizes = (2, 3) if 3 <= len(names) <= _MOST_FOR_TRIPLES else (2,)
    for size in sizes:
        groups = np.array(list(combinations(range(len(names)), size)))
        signs = [(1,) * size] + ([(1, -1), (-1, 1)] if size == 2 else [])
        for sign in signs:
            total = sum(weight * table[groups[:, part]] for part, weight in enumerate(sign))
            for group in groups[(np.abs(total - wanted) <= close).all(axis=1)]:
                chosen = tuple(names[index] for index in group)
                if not used & set(chosen) and _equal(view, columns, chosen, sign, complete):
                    used |= set(chosen)
                    yield chosen, _formula(chosen, sign)


def _formula(names: tuple[str, ...], sign: tuple[int, ...]) -> str:
    if sign[0] < 0:
        names, sign = names[::-1], sign[::-1]
    return names[0] + "".join(
        f" {'+' if weight > 0 else '-'} {name}" for name, weight in zip(names[1:], sign[1:], strict=True)
    )


def _equal(
    view: View, columns: dict[str, np.ndarray], names: tuple[str, ...], sign: tuple[int, ...], rows: np.ndarray
) -> bool:
    total = sum(weight * columns[name][rows] for name, weight in zip(names, sign, strict=True))
    moving = all(len(np.unique(columns[name][rows][:_SAMPLE])) > 2 for name in names)
    return moving and bool(np.mean(np.isclose(total, view.target[rows], rtol=1e-6, atol=1e-9)) > 0.999)


def _ahead(view: View, columns: dict[str, np.ndarray]) -> Iterator[tuple[str, int]]:
    """Columns that hold the target of a later row of the same series."""
    longest = int(np.argmax(view.lengths))
    rows = slice(int(view.starts[longest]), int(min(view.starts[longest + 1], view.starts[longest] + 2000)))
    target = view.target[rows]
    most = min(max(2 * view.season, 12), 400, len(target) // 3)
    seen, counts = np.unique(target[np.isfinite(target)], return_counts=True)
    usual = seen[np.argmax(counts)] if len(seen) else 0.0
    for name, values in columns.items():
        value = values[rows]
        for ahead in range(1, most + 1):
            mine, later = value[:-ahead], target[ahead:]
            both = np.isfinite(mine) & np.isfinite(later)
            if both.sum() >= 30 and np.mean(np.isclose(mine[both][:50], later[both][:50], rtol=1e-6)) > 0.9:
                # Where both rest, at zero mostly, they agree by chance.
                both &= (mine != usual) | (later != usual)
                alike = np.isclose(mine[both], later[both], rtol=1e-6)
                if len(np.unique(later[both])) >= 9 and alike.mean() > 0.99:
                    yield name, ahead
                    break


def _twins(view: View, findings: list[Finding], leaks: dict[str, str]) -> dict[str, str]:
    """Columns equal to an earlier one, found by a fingerprint of their bytes: these would be a second table."""
    seen: dict[bytes, str] = {}
    twins: dict[str, str] = {}
    for name, values in view.inputs.items():
        if name in leaks or np.isnan(values).all() or np.nanmin(values) == np.nanmax(values):
            continue
        mark = blake2b(np.where(values == 0, 0.0, values).tobytes()).digest()  # -0.0 equals 0.0
        if mark in seen:
            twins[name] = seen[mark]
        else:
            seen[mark] = name
    if twins:
        findings.append(
            Finding(
                "F33-twin-columns",
                "info",
                several([repr(name) for name in twins], len(twins), "column(s)", most=8),
                "; ".join(f"{name!r} equals {other!r}" for name, other in twins.items()),
                "leave one of each pair out",
                len(twins),
            )
        )
    return twins
