"""What an audit reports, and the sorted view of a table that its checks read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq
from openbook.data.stamps import stamp_text

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One observation about a table: ``code`` is stable between releases, ``count`` is how often it was met.

    ``error``: the package refuses the table as it is; ``warning``: forecasts may suffer; ``info``: good to know.
    """

    code: str
    severity: Severity
    where: str
    message: str
    fix: str
    count: int = 1


class View(NamedTuple):
    """R rows of N series sorted by series and time, stamps unique; series n owns ``starts[n]:starts[n + 1]``.

    ``times`` [R] are naive (see ``Panel.timezone``), ``target`` [R] and ``inputs`` (each [R]) float64 with NaN for what is
    missing or infinite. ``before`` [R] counts absent grid points just before a row; None without a frequency. ``utc_of``: the
    time zone of the table where ``times`` are UTC.
    """

    names: np.ndarray
    starts: np.ndarray
    times: np.ndarray
    target: np.ndarray
    inputs: dict[str, np.ndarray]
    freq: Freq | None
    season: int
    before: np.ndarray | None
    timezone: str | None
    futr: tuple[str, ...] = ()
    utc_of: str | None = None

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series, [N]."""
        return np.diff(self.starts)

    @property
    def owner(self) -> np.ndarray:
        """The series of each row, [R]."""
        return np.repeat(np.arange(len(self.names)), self.lengths)

    @property
    def dated(self) -> bool:
        """Whether time is dates rather than whole numbers."""
        return bool(np.issubdtype(self.times.dtype, np.datetime64))

    def place(self, row: int) -> str:
        """A row in words."""
        series = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"series {self.names[series]!r}, {self.stamp(row)}" if len(self.names) > 1 else self.stamp(row)

    def stamp(self, row: int) -> str:
        """The stamp of a row in words."""
        return stamp_text(self.times[row], self.utc_of)

    def wall_clock(self) -> np.ndarray:
        """The stamps [R] as a clock on the wall shows them."""
        if self.utc_of is None:
            return self.times
        return pd.DatetimeIndex(self.times).tz_localize("UTC").tz_convert(self.utc_of).tz_localize(None).to_numpy()

    def series_named(self, which: np.ndarray) -> str:
        """The series marked in ``which`` [N] in words."""
        return several([repr(name) for name in self.names[which][:4]], int(which.sum()), "series")


def several(names: Sequence[str], count: int, what: str, most: int = 3) -> str:
    """``series 'a', 'b', 'c' and 4 more``.

    >>> several(["a", "b"], 5, "columns", most=1)
    'columns a and 4 more'
    """
    shown = list(names[: min(most, count)])
    rest = f" and {count - len(shown)} more" if count > len(shown) else ""
    return f"{what} {', '.join(shown)}{rest}"


def per_series(reduce: Callable[..., np.ndarray], values: np.ndarray, view: View) -> np.ndarray:
    """A ufunc's ``reduceat`` over the rows of each series, [N].

    >>> view = View(np.array(["a", "b"]), np.array([0, 2, 3]), *[np.arange(3)] * 2, {}, 1, 1, None, None)
    >>> per_series(np.add.reduceat, np.array([1, 2, 3]), view).tolist()
    [3, 3]
    """
    return reduce(values, view.starts[:-1])


def longest_run(mask: np.ndarray, starts: np.ndarray) -> tuple[int, int]:
    """Length and first row of the longest run of true values that does not cross a series' start.

    >>> longest_run(np.array([True, True, True, False]), np.array([0, 1, 4]))
    (2, 1)
    """
    if not mask.any():
        return 0, 0
    first = np.zeros(len(mask) + 1, bool)
    first[starts[:-1]] = True
    begin = mask & (first[:-1] | ~np.concatenate([[False], mask[:-1]]))
    heads = np.flatnonzero(begin)
    lengths = np.add.reduceat(mask.astype(np.int64), heads)
    best = int(np.argmax(lengths))
    return int(lengths[best]), int(heads[best])
