"""The audit of a table: what it holds, what its columns are for, and what stands in the way of a good forecast."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from openbook.data.checks_columns import Column, check_columns, not_static
from openbook.data.checks_season import find_seasons
from openbook.data.checks_time import check_repeated_hour, check_time
from openbook.data.checks_values import check_values
from openbook.data.findings import SEVERITIES, Finding, View, several
from openbook.data.frequency import Freq, check_freq, grid_gaps, infer_freq, season_length
from openbook.data.ids import tell_apart
from openbook.data.panel import ID, TARGET, TIME, as_numbers, how_to_convert
from openbook.data.stamps import stamp_text
from openbook.data.table import read_table
from openbook.data.zones import on_wall_clock, wall_times, zone_name
from openbook.errors import DataError, OpenBookError, UsageError

# Without a file or with a wrong name there is nothing to audit: these errors are the caller's to see.
_NO_TABLE = {"missing_file", "unreadable_file", "unknown_format"}


@dataclass(frozen=True)
class Audit:
    """What ``inspect_table`` found: size, frequency, seasons (clearest first), span, columns with roles, findings by weight."""

    rows: int
    series: int
    freq: Freq | None
    seasons: tuple[int, ...]
    start: str | None
    end: str | None
    columns: tuple[Column, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether no finding is an error."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values that survive a JSON round trip."""
        plain = asdict(self)
        return {**plain, "usable": self.usable} | {
            name: [*map(_plain, plain[name])] for name in ("seasons", "columns", "findings", "notes")
        }

    def lines(self, *, quiet: bool = False) -> list[str]:
        """The audit as lines of plain text; of ``quiet`` ones warnings and errors alone."""
        span = f", {self.start} to {self.end}" if self.start is not None else ""
        seasons = ", ".join(map(str, self.seasons)) or "none found"
        head = f"{self.rows} rows, {self.series} series, freq {self.freq or 'unknown'}{span}; seasons {seasons}"
        roles = [f"column {column.name!r}: {column.role} ({column.why})" for column in self.columns]
        found = [
            f"{finding.severity.upper():7} {finding.code}: {finding.message} [{finding.where}]. Fix: {finding.fix}."
            for finding in self.findings
            if not (quiet and finding.severity == "info")
        ]
        if quiet:
            return found
        told = self.proposal()
        proposed = [f"roles are proposals; other commands follow them where they are told: {told}"] if told else []
        return [head, *roles, *proposed, *(f"note: {note}" for note in self.notes), *found]

    def proposal(self) -> str:
        """The options by which other commands follow the roles of the columns; empty where they do unless told otherwise.

        Unless told, every numeric column that varies is read as past-only.
        """
        given = {c.role for c in self.columns if c.why.startswith("as given")}
        guessed = {c.role for c in self.columns if not c.why.startswith("as given")}
        unused = {c.role for c in self.columns if c.kind not in ("constant", "text")} & {"drop", "calendar"}
        left = bool(unused) and "hist" not in given  # unless past-only columns are named, these are read as such
        if not left and not guessed & {"futr", "stat"}:
            return ""
        named = {
            f"--{role}-exog": [c.name for c in self.columns if c.role == role] for role in ("futr", "hist", "stat")
        }
        shown = {option: names for option, names in named.items() if (left if option == "--hist-exog" else names)}
        return " ".join(f"{option} {shlex.quote(','.join(names))}" for option, names in shown.items())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def inspect_table(
    source: Any,
    *,
    id_col: str = ID,
    time_col: str = TIME,
    target_col: str | Sequence[str] = TARGET,
    freq: Freq | None = None,
    futr: Sequence[str] = (),
    hist: Sequence[str] = (),
    stat: Sequence[str] = (),
) -> Audit:
    """Audit a path, a pandas or a polars frame; arguments as ``read_table``; ``futr``, ``hist``, ``stat`` name intended inputs.

    Bad data does not raise: it becomes findings of severity ``error``. Only a file that does not exist, or is of no known
    kind, raises ``DataError``.

    >>> frame = pd.DataFrame({"ds": pd.date_range("2024", periods=60), "y": range(60), "copy": range(60)})
    >>> [finding.code for finding in inspect_table(frame).findings if finding.severity != "info"]
    ['F25-leak-copy']
    """
    try:
        table = read_table(source, id_col=id_col, time_col=time_col, target_col=target_col)
    except DataError as error:
        if error.code in _NO_TABLE:
            raise
        return Audit(0, 0, None, (), None, None, (), (_refusal("F00-unreadable", error),))
    findings: list[Finding] = []
    notes = tuple(table.attrs["notes"])
    futr, hist, stat = ((told,) if isinstance(told, str) else tuple(map(str, told)) for told in (futr, hist, stat))
    rows, absent = len(table), [name for name in (*futr, *hist, *stat) if name not in table.columns]
    findings.extend(_absent_column(name, table) for name in absent)
    own = {ID: id_col, TIME: time_col, TARGET: target_col if isinstance(target_col, str) else ", ".join(target_col)}
    view = _view(table, own, freq, futr, findings)
    if view is None:
        return Audit(rows, int(table[ID].nunique()), None, (), None, None, (), _sorted(findings), notes)
    seasons, season_findings = find_seasons(view)
    columns, column_findings = check_columns(view, futr, hist, stat)
    if view.freq is not None:
        findings.extend(check_time(view))
    findings.extend([*season_findings, *check_values(view), *column_findings])
    start, end = (stamp_text(edge, view.utc_of) for edge in (view.times.min(), view.times.max()))
    texts = [name for name in table.columns[3:] if name not in view.inputs]
    known = [
        Column(own[ID], "id", "text", 0, "it names the series"),
        Column(own[TIME], "time", "dates" if view.dated else "whole", 0, "it orders the rows"),
        Column(own[TARGET], "target", "real", int(np.isnan(view.target).sum()), "it is to be forecast"),
    ]
    findings.extend(_text_input(name) for name in texts if name in (*futr, *hist))
    left = [_text_column(name, table, name in stat, findings) for name in texts]
    return Audit(
        rows=rows,
        series=len(view.names),
        freq=view.freq,
        seasons=seasons,
        start=start,
        end=end,
        columns=(*known, *columns, *left),
        findings=_sorted(findings),
        notes=notes,
    )


def _sorted(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.code)))


def _refusal(code: str, error: OpenBookError) -> Finding:
    return Finding(code, "error", error.where, f"expected {error.expected}, got {error.got}", error.fix)


def _text_column(name: str, table: pd.DataFrame, given: bool, findings: list[Finding]) -> Column:
    """Text may tell series apart; what changes within them has no role yet."""
    missing, texts = int(table[name].isna().sum()), table.groupby(ID, observed=True)[name].nunique()
    if given:
        if texts.max() > 1:
            findings.append(not_static(name, str(texts.idxmax())))
        return Column(name, "stat", "text", missing, "as given")
    if texts.max() == 1 and table[name].nunique() > 1:
        return Column(name, "stat", "text", missing, "one text per series")
    return Column(name, "drop", "text", missing, "it holds no numbers")


def _text_input(name: str) -> Finding:
    return Finding(
        "F21-non-numeric", "error", f"column {name!r}", "it holds text, and is named as an input",
        "map its texts to numbers (yes and no to 1 and 0), or leave it out",
    )  # fmt: skip


def _absent_column(name: str, table: pd.DataFrame) -> Finding:
    return Finding(
        "F34-missing-column", "error", "table header", f"the input column {name!r} is not in the table",
        f"use one of {', '.join(map(repr, table.columns[3:])) or 'none'}",
    )  # fmt: skip


def _view(
    table: pd.DataFrame, own: dict[str, str], freq: Freq | None, futr: tuple[str, ...], findings: list[Finding]
) -> View | None:
    """The sorted view of a table; what keeps rows out of it goes to ``findings``. None where nothing is left.

    ``own``: what the user calls id, time and target.
    """
    for column, code in ((ID, "F29-missing-ids"), (TIME, "F28-missing-stamps")):
        empty = table[column].isna()
        if empty.any():
            findings.append(Finding(
                code, "error", _row(table, empty), f"{int(empty.sum())} row(s) have no {own[column]}",
                "fill or drop these rows", int(empty.sum()),
            ))  # fmt: skip
            table = table[~empty]
    numbers, numeric = _numeric(table, findings)
    if not len(table) or not numbers[TARGET].notna().any():
        findings.append(
            Finding("F35-no-values", "error", "target", "no row holds id, stamp and value", "check the columns")
        )
        return None
    times, timezone, utc_of, freq = _clock(table, freq, findings)
    codes, names = pd.factorize(table[ID].astype(object), sort=False)
    order = np.lexsort((times, codes))
    codes, times, numbers = codes[order], times[order], numbers.iloc[order]
    keep, twice = _unique_rows(
        codes, times, numbers, lambda row: f"series {names[codes[row]]!r}, {stamp_text(times[row], utc_of)}",
        lambda: (tell_apart(table, own[ID], [ID, TIME], [TARGET]) or "").replace(f"df[{TIME!r}]", f"df[{own[TIME]!r}]"),
    )  # fmt: skip
    findings.extend(twice)
    if np.issubdtype(times.dtype, np.datetime64) and timezone is None:
        findings.extend(check_repeated_hour(pd.DatetimeIndex(times[~keep])))
    codes, times, numbers = codes[keep], times[keep], numbers[keep]
    starts = np.append(np.flatnonzero(np.diff(codes, prepend=-1)), len(codes))
    freq, before = _grid(codes, times, names, freq, utc_of, findings)
    return View(
        names=np.asarray(names, dtype=object),
        starts=starts,
        times=times,
        target=numbers[TARGET].to_numpy(),
        inputs={name: numbers[name].to_numpy() for name in numeric},
        freq=freq,
        season=season_length(freq) if freq is not None else 1,
        before=before,
        timezone=timezone,
        futr=futr,
        utc_of=utc_of,
    )


def _row(table: pd.DataFrame, which: pd.Series, column: str | None = None) -> str:
    """The place in the source of the first row marked: several targets repeat its rows, and some may have been left out."""
    turn, row = divmod(int(table.index[int(np.argmax(which))]), table.attrs["rows"])
    targets = table.attrs["targets"]
    target = f"target {targets[turn]!r}" if len(targets) > 1 else "target"
    return ("" if column is None else f"{target}, " if column == TARGET else f"column {column!r}, ") + f"row {row}"


def _numeric(table: pd.DataFrame, findings: list[Finding]) -> tuple[pd.DataFrame, list[str]]:
    """Target and numeric inputs as float64, infinities as missing; text columns and infinities become findings."""
    columns: dict[str, pd.Series] = {}
    texts: list[str] = []
    for name in [TARGET, *table.columns[3:]]:
        values, wrong = as_numbers(table[name])
        if wrong.any():
            first = str(table[name].iloc[int(np.argmax(wrong))])
            told = f"{int(wrong.sum())} value(s) are no numbers, the first is {first!r}"
            if name != TARGET and wrong[table[name].notna()].all():
                texts.append(name)
            else:
                findings.append(Finding(
                    "F21-non-numeric", "error" if name == TARGET else "warning", _row(table, wrong, name), told,
                    f"{how_to_convert(table[name])}, or leave these cells empty", int(wrong.sum()),
                ))  # fmt: skip
            if name != TARGET:
                continue
        endless = np.isinf(values)
        if endless.any():
            findings.append(Finding(
                "F22-infinite", "error", _row(table, endless, name),
                f"{int(endless.sum())} value(s) are infinite", "leave these cells empty", int(endless.sum()),
            ))  # fmt: skip
        columns[name] = values.mask(endless)
    if texts:
        where = several([repr(name) for name in texts], len(texts), "column(s)", most=8)
        findings.append(
            Finding(
                "F21-non-numeric",
                "info",
                where,
                "they hold text",
                "nothing: text is no input, unless it is static",
                len(texts),
            )
        )
    return pd.DataFrame(columns), [name for name in columns if name != TARGET]


def _clock(
    table: pd.DataFrame, freq: Freq | None, findings: list[Finding]
) -> tuple[np.ndarray, str | None, str | None, Freq | None]:
    """Naive stamps, the time zone as in ``Panel.timezone``, the same where the stamps are UTC, and the checked frequency."""
    stamps = table[TIME]
    dated = pd.api.types.is_datetime64_any_dtype(stamps.dtype)
    if freq is not None:
        try:
            freq = check_freq(freq, dated=dated)
        except UsageError as error:
            findings.append(_refusal("F01-frequency", error))
            freq = None
    if not dated:
        return stamps.to_numpy(np.int64), None, None, freq
    if not isinstance(stamps.dtype, pd.DatetimeTZDtype):
        return stamps.to_numpy("datetime64[ns]"), None, None, freq
    try:
        zone = zone_name(stamps)
    except DataError as error:
        findings.append(_refusal("F15-time-zone", error))
        zone = "UTC"
    stamps = stamps.dt.tz_convert(zone)
    wall = wall_times(table[ID], stamps)
    if _in_days(table[ID], wall, freq):
        return wall.to_numpy("datetime64[ns]"), zone, None, freq
    return stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[ns]"), zone, zone, freq


def _in_days(ids: pd.Series, wall: pd.Series, freq: Freq | None) -> bool:
    """Whether the steps of series are days or longer; where none prevails, those between all stamps together."""
    try:
        order = np.lexsort((wall.to_numpy(), ids.astype(str).to_numpy()))
        return on_wall_clock(infer_freq(ids.iloc[order], wall.iloc[order]) if freq is None else freq)
    except DataError:
        steps = pd.Series(np.diff(np.sort(wall.unique())))
        return len(steps) > 0 and steps.mode()[0] >= pd.Timedelta(days=1)


def _unique_rows(
    codes: np.ndarray,
    times: np.ndarray,
    numbers: pd.DataFrame,
    place: Callable[[int], str],
    apart: Callable[[], str | None],
) -> tuple[np.ndarray, list[Finding]]:
    """The first row of every series and stamp; the others are identical copies or contradict it; ``apart`` may say why.

    ``place`` names a row.
    """
    findings: list[Finding] = []
    again = np.concatenate([[False], (codes[1:] == codes[:-1]) & (times[1:] == times[:-1])])
    if not again.any():
        return ~again, findings
    values = numbers.to_numpy()
    same = np.concatenate(
        [[False], ((values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))).all(axis=1)]
    )
    for rows, code, severity, told, fix in (
        (
            again & ~same,
            "F05-conflicting-stamps",
            "error",
            "repeat a stamp with other values",
            (apart() if (again & ~same).any() else None) or "aggregate or drop them",
        ),
        (again & same, "F04-duplicate-rows", "info", "repeat a row", "nothing: identical rows count once"),
    ):
        if rows.any():
            where = place(int(np.argmax(rows)))
            findings.append(Finding(code, severity, where, f"{int(rows.sum())} row(s) {told}", fix, int(rows.sum())))  # type: ignore[arg-type]
    return ~again, findings


def _grid(
    codes: np.ndarray,
    times: np.ndarray,
    names: pd.Index,
    freq: Freq | None,
    utc_of: str | None,
    findings: list[Finding],
) -> tuple[Freq | None, np.ndarray | None]:
    if freq is None:
        try:
            freq = infer_freq(pd.Series(np.asarray(names, dtype=object)[codes]), pd.Series(times))
        except DataError as error:
            findings.append(_refusal("F01-frequency", error))
            return None, None
    before, on_grid = grid_gaps(codes, times, freq)
    if not on_grid.all():
        row = int(np.argmin(on_grid))
        stamp = stamp_text(times[row], utc_of)
        findings.append(Finding(
            "F02-off-grid", "error", f"series {names[codes[row]]!r}, {stamp}",
            f"{int((~on_grid).sum())} stamp(s) lie between the steps of {freq}",
            "round the stamps, resample the table, or pass the finer freq",
            int((~on_grid).sum()),
        ))  # fmt: skip
    return freq, before
