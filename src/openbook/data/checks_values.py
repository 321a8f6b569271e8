"""Checks of an audit that concern values: missing, constant, sentinels, outliers, zeros, signs, shifts and trends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from openbook.data.findings import Finding, View, longest_run, per_series, several

# Numbers that programs write where they know nothing.
_SENTINELS = np.array(
    [
        sign * mark
        for mark in (99, 999, 9999, 99999, 999999, 8888, 2147483647, 1e20)
        for sign in (-1, 1)
        if mark * sign != 99
    ]
    + [-2147483648, -32768, 32767, 65535]
)
_BLOCKS, _SAMPLED_SERIES = 24, 40


class Marked(NamedTuple):
    """Values of one column that stand for *missing*: which rows [R], the value, and whether programs use that value."""

    rows: np.ndarray
    value: float
    usual: bool


def find_sentinels(values: np.ndarray, view: View) -> list[Marked]:
    """Known sentinels, and repeated extremes, that stand further from a series' other values than these are spread."""
    suspects = np.isin(values, _SENTINELS)
    found: dict[float, np.ndarray] = {}
    if suspects.any():
        apart = suspects & _apart(values, suspects, view, 1.0)
        found = {float(value): apart & (values == value) for value in np.unique(values[apart])}
    known = np.logical_or.reduce([*found.values(), np.zeros(len(values), bool)])
    marked = [Marked(rows, value, True) for value, rows in found.items()]
    rest = np.where(known, np.nan, values)
    for extreme in (np.fmin, np.fmax):
        ends = per_series(extreme.reduceat, rest, view)[view.owner]
        suspects = rest == ends
        repeated = per_series(np.add.reduceat, suspects.astype(np.int64), view)[view.owner] >= 3
        apart = suspects & repeated & _apart(rest, suspects, view, 3.0)
        marked += [Marked(apart & (rest == value), float(value), False) for value in np.unique(rest[apart])[:3]]
    return marked


def _apart(values: np.ndarray, suspects: np.ndarray, view: View, spreads: float) -> np.ndarray:
    """Suspects whose distance from the other values of their series exceeds so many ranges of these, [R]."""
    others = np.where(suspects, np.nan, values)
    low, high = (per_series(extreme.reduceat, others, view)[view.owner] for extreme in (np.fmin, np.fmax))
    with np.errstate(invalid="ignore"):
        distance = np.where(values > high, values - high, low - values)
        apart = suspects & (distance > spreads * (high - low)) & (high > low)
    if apart.any():
        held = np.unique(view.owner[apart])
        rich = [series for series in held if _distinct(others[view.starts[series] : view.starts[series + 1]]) >= 10]
        apart &= np.isin(view.owner, rich)
    return apart


def _distinct(values: np.ndarray) -> int:
    return len(np.unique(values[np.isfinite(values)][:5000]))


def check_values(view: View) -> Iterator[Finding]:
    """All findings about the values of target and inputs."""
    clean = view.target
    for name, values in {"y": view.target, **view.inputs}.items():
        where = "target" if name == "y" else f"column {name!r}"
        for mark in find_sentinels(values, view):
            clean = np.where(mark.rows, np.nan, clean) if name == "y" else clean
            yield _sentinel(mark, where, view)
    cleaned = view._replace(target=clean)
    yield from _missing(view)
    yield from _constant(cleaned)
    yield from _zeros(cleaned)
    yield from _signs(cleaned)
    yield from _outliers(cleaned)
    yield from _flat_runs(cleaned)
    yield from _levels(cleaned)


def _sentinel(mark: Marked, where: str, view: View) -> Finding:
    count, first = int(mark.rows.sum()), int(np.argmax(mark.rows))
    kind = "a usual mark for missing values, far from all others" if mark.usual else "an extreme far from all others"
    return Finding(
        "F11-sentinel",
        "warning",
        f"{where}, {view.place(first)}",
        f"{mark.value:g} stands {count} time(s), {kind}",
        "leave these cells empty (df.replace) if they mean missing",
        count,
    )


def _missing(view: View) -> Iterator[Finding]:
    empty = np.isnan(view.target)
    tail = _tail(empty, view)
    gaps = empty & ~tail
    if gaps.any():
        long, first = longest_run(gaps, view.starts)
        share = gaps.mean()
        yield Finding(
            "F06-missing-target",
            "warning" if share > 0.05 or long >= max(view.season, 3) else "info",
            f"target, {view.place(first)}",
            f"{int(gaps.sum())} value(s) ({share:.2%}) are missing; the longest run has {long} step(s)",
            "nothing: missing values are never scored",
            int(gaps.sum()),
        )
    if tail.any() and not tail.all():
        first = int(np.argmax(tail))
        yield Finding(
            "F30-future-rows",
            "info",
            view.place(first),
            f"{int(tail.sum())} row(s) at the end of series have no target",
            "give rows of the future as futr_df; here they count as missing",
            int(tail.sum()),
        )
    holes = {name: int(np.isnan(values).sum()) for name, values in view.inputs.items() if np.isnan(values).any()}
    if holes:
        names = sorted(holes, key=lambda name: -holes[name])
        worst = holes[names[0]] / max(len(view.times), 1)
        yield Finding(
            "F07-missing-input",
            "warning" if worst > 0.2 else "info",
            several([repr(name) for name in names], len(names), "column(s)"),
            f"{sum(holes.values())} input value(s) are missing, {worst:.2%} of column {names[0]!r}",
            "nothing: they are masked; a step whose known-future inputs are empty is forecast without them",
            sum(holes.values()),
        )


def _tail(empty: np.ndarray, view: View) -> np.ndarray:
    """Missing values after the last known one of their series, [R]."""
    position = np.arange(len(empty))
    last = per_series(np.maximum.reduceat, np.where(empty, -1, position), view)
    return position > last[view.owner]


def _constant(view: View) -> Iterator[Finding]:
    known = per_series(np.add.reduceat, np.isfinite(view.target).astype(np.int64), view)
    low, high = (per_series(extreme.reduceat, view.target, view) for extreme in (np.fmin, np.fmax))
    flat = (known >= 2) & (low == high)
    if flat.any():
        yield Finding(
            "F08-constant-series",
            "warning",
            view.series_named(flat),
            f"{int(flat.sum())} of {len(flat)} series never change",
            "leave them out, or forecast their last value",
            int(flat.sum()),
        )
    still = [name for name, values in view.inputs.items() if not _moves(values)]
    if still:
        yield Finding(
            "F09-constant-column",
            "warning",
            several([repr(name) for name in still], len(still), "column(s)", most=8),
            f"{len(still)} input column(s) are empty or never change",
            "leave them out",
            len(still),
        )


def _moves(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return bool(len(known)) and bool(known.min() < known.max())


def _zeros(view: View) -> Iterator[Finding]:
    known = np.maximum(per_series(np.add.reduceat, np.isfinite(view.target).astype(np.int64), view), 1)
    share = per_series(np.add.reduceat, (view.target == 0).astype(np.int64), view) / known
    high = per_series(np.fmax.reduceat, np.abs(view.target), view)
    many = (share >= 0.3) & (high > 0)
    if many.any():
        yield Finding(
            "F12-intermittent",
            "info",
            view.series_named(many),
            f"{int(many.sum())} of {len(many)} series are zero in 30 % of their steps or more (up to {share[many].max():.0%})",
            "judge by MAE or MASE; percentage errors have no meaning here",
            int(many.sum()),
        )
    lowest = per_series(np.fmin.reduceat, np.where(view.target == 0, np.nan, view.target), view)
    lone = (share > 0) & (share < 0.05) & (share * known >= 3) & (lowest > 0)
    lone &= lowest > 0.25 * _medians(view.target, view)
    lone &= _medians(view.target, view) >= 20
    if lone.any():
        count = int((share * known)[lone].sum())
        yield Finding(
            "F32-lone-zeros",
            "info",
            view.series_named(lone),
            f"{count} value(s) are zero though the others stay well above: closed, switched off, or missing",
            "leave the cells empty if zero means missing",
            count,
        )


def _medians(values: np.ndarray, view: View) -> np.ndarray:
    return pd.Series(values).groupby(view.owner).median().to_numpy()


def _signs(view: View) -> Iterator[Finding]:
    negative = view.target < 0
    share = negative.sum() / max(np.isfinite(view.target).sum(), 1)
    zeros = (view.target == 0).any()
    if 0 < share < 0.002:
        yield Finding(
            "F13-negative",
            "warning" if share < 0.001 and not zeros else "info",
            f"target, {view.place(int(np.argmax(negative)))}",
            f"{int(negative.sum())} value(s) ({share:.2%}) are negative, all others are not",
            "nothing if they are meant (prices, returns); else correct them",
            int(negative.sum()),
        )


def _outliers(view: View) -> Iterator[Finding]:
    """Values beyond twice the central 98 % range from its ends, series by series."""
    grouped = pd.Series(view.target).groupby(view.owner)
    low, high = (grouped.quantile(share).to_numpy()[view.owner] for share in (0.01, 0.99))
    enough = (view.lengths >= 50)[view.owner]
    with np.errstate(invalid="ignore"):
        reach = np.maximum(view.target - high, low - view.target) / np.where(high > low, high - low, np.nan)
        far = enough & (reach > 2)
    if far.any():
        worst = int(np.nanargmax(np.where(far, reach, np.nan)))
        yield Finding(
            "F14-outliers",
            "warning" if reach[worst] > 10 else "info",
            f"target, {view.place(worst)}",
            f"{int(far.sum())} value(s) lie far outside the usual range; "
            f"the farthest is {view.target[worst]:g}, usual are {low[worst]:g} to {high[worst]:g}",
            "check them; the default loss weighs errors, not their squares, and bears a few",
            int(far.sum()),
        )


def _flat_runs(view: View) -> Iterator[Finding]:
    """A value other than zero repeated for two seasons in a series that otherwise moves: a stuck meter or filled gaps."""
    same = np.concatenate([[False], (view.target[1:] == view.target[:-1]) & (view.target[1:] != 0)])
    same[view.starts[:-1]] = False
    long, first = longest_run(same, view.starts)
    owner = view.owner[first]
    rows = slice(int(view.starts[owner]), int(view.starts[owner + 1]))
    usual = same[rows].sum() - long
    moving = _distinct(view.target[rows]) >= 10
    if (
        moving
        and long + 1 >= max(2 * view.season, 12)
        and usual < 0.1 * view.lengths[owner]
        and long < 0.5 * view.lengths[owner]
    ):
        yield Finding(
            "F31-flat-run",
            "warning",
            f"target, {view.place(first - 1)}",
            f"{view.target[first]:g} stands {long + 1} steps in a row, in a series that otherwise moves",
            "leave the cells empty if a meter was stuck or a gap was filled",
            long + 1,
        )


def _levels(view: View) -> Iterator[Finding]:
    """Medians of 24 blocks of each sampled series: do they climb steadily, or jump once?"""
    long = np.flatnonzero(view.lengths >= max(4 * _BLOCKS, 2 * view.season))
    sample = long[np.unique(np.linspace(0, len(long) - 1, _SAMPLED_SERIES).astype(int))] if len(long) else long
    shifts, trends = np.zeros(len(view.names), bool), np.zeros(len(view.names), bool)
    at = 0
    for series in sample:
        rows = np.arange(view.starts[series], view.starts[series + 1])
        rows = rows[np.isfinite(view.target[rows])]
        if len(rows) < 4 * _BLOCKS:
            continue
        blocks = np.array_split(view.target[rows], _BLOCKS)
        middle = np.array([np.median(block) for block in blocks])
        within = np.median([np.subtract(*np.quantile(block, [0.75, 0.25])) for block in blocks])
        jump = _jump(middle, within)
        if jump is not None and not shifts.any():
            at = int(rows[sum(map(len, blocks[:jump]))])
        shifts[series] = jump is not None
        trends[series] = jump is None and _climbs(middle, within)
    for marked, code, told in (
        (shifts, "F19-level-shift", f"moved once to another level and stayed there (first near {view.stamp(at)})"),
        (trends, "F20-trend", "rise or fall steadily over their whole length"),
    ):
        if marked.any():
            count = int(marked.sum())
            yield Finding(
                code,
                "info",
                view.series_named(marked),
                f"{count} of {len(sample)} series looked at {told}",
                "nothing: windows are scaled by their own context; leave out history that no longer applies",
                count,
            )


def _jump(middle: np.ndarray, within: float) -> int | None:
    """The block where medians leave one band for another that lies wholly apart."""
    for split in range(4, len(middle) - 3):
        left, right = middle[:split], middle[split:]
        gap = max(right.min() - left.max(), left.min() - right.max())
        if gap > 0.6 * (np.ptp(left) + np.ptp(right)) and gap > within:
            return split
    return None


def _climbs(middle: np.ndarray, within: float) -> bool:
    ranks = np.argsort(np.argsort(middle))
    order = np.corrcoef(ranks, np.arange(len(middle)))[0, 1]
    return bool(abs(order) > 0.92 and abs(middle[-3:].mean() - middle[:3].mean()) > max(within, 1e-12))
