"""Arguments as users write them, made plain: whole numbers, lists of names, frequencies; typed errors for the rest."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq
from openbook.data.panel import ID, TARGET, TIME
from openbook.errors import UsageError, reserved_column, whole_number

Restore = Callable[[pd.DataFrame], Any]
# Columns of results: as names of id, time or target they would stand there twice.
RESERVED = ("cutoff", "step", "source_ds", "feature", "weight", "memory")


class ColumnNames(NamedTuple):
    """The user's names of the id, time and target columns; several targets are a tuple, and each of them is a series."""

    id: str = ID
    time: str = TIME
    target: str | tuple[str, ...] = TARGET

    @property
    def value(self) -> str:
        """The column of results that holds the truth: the target, or ``y`` for several."""
        return self.target if isinstance(self.target, str) else TARGET

    def own(self) -> dict[str, str]:
        """What the user calls the columns of a canonical table."""
        return {ID: self.id, TIME: self.time, TARGET: self.value}


def is_path(df: Any) -> bool:
    """Whether a table is named by its path."""
    return isinstance(df, str) or hasattr(df, "__fspath__")


def names_of(columns: str | Sequence[str] | None) -> tuple[str, ...]:
    """Column names as text; a single name is a list of one, None is none.

    >>> names_of("holiday"), names_of(["a", 7]), names_of(None)
    (('holiday',), ('a', '7'), ())
    """
    return (columns,) if isinstance(columns, str) else () if columns is None else tuple(map(str, columns))


def check_inputs(**lists: Sequence[str]) -> None:
    """Refuse a column that is named twice: what it is must be plain, and an explanation has one place for it.

    >>> check_inputs(futr_exog_list=("price",), hist_exog_list=("stock",))
    """
    where: dict[str, str] = {}
    for argument, columns in lists.items():
        for column in columns:
            if column in where:
                both = argument if where[column] == argument else f"{where[column]} and {argument}"
                raise UsageError(
                    "same_column",
                    expected="every input column once, in one of the lists",
                    got=f"{column!r} twice",
                    where=both,
                    fix="name it once; of what is known ahead the past is read too",
                )
            where[column] = argument


def check_own(inputs: Sequence[Sequence[str]], table: pd.DataFrame) -> None:
    """Refuse inputs that are the id, the time or a target of a canonical table, by the names that these had."""
    own, targets = set(table.attrs.get("own", ())), table.attrs.get("targets", ())
    for column in (column for columns in inputs for column in columns if column in own):
        if len(targets) > 1 and column in targets:
            raise UsageError(
                "reserved_column",
                expected="targets, and inputs beside them",
                got=f"{column!r} as both, of the targets {', '.join(map(repr, targets[:5]))}",
                where="exogenous lists",
                fix="name the targets with target_col: all columns of numbers are, where none is named",
            )
        raise reserved_column(column)


def plain_freq(freq: Any) -> Freq | None:
    """A frequency as text or int, also where it was given as a pandas offset or as a length of time."""
    if freq is None or isinstance(freq, str):
        return freq
    if isinstance(freq, dt.timedelta | np.timedelta64) and pd.Timedelta(freq) > pd.Timedelta(0):
        return str(pd.tseries.frequencies.to_offset(pd.Timedelta(freq)).freqstr)
    if hasattr(freq, "freqstr"):
        return str(freq.freqstr)
    return whole_number("freq", freq, least=1)


def check_names(names: Sequence[str], output: str) -> None:
    """Refuse names of id, time and target that results need for columns of their own."""
    check_free(names, (*RESERVED, output), (f"{output}-lo-", f"{output}-hi-"))


def check_free(names: Sequence[str], taken: Sequence[str], begins: tuple[str, ...] = ()) -> None:
    """Refuse names of id, time and target that are those of other columns of a result, or begin like these."""
    for name in names:
        if name in taken or str(name).startswith(begins):
            raise UsageError(
                "reserved_name",
                expected="other names for id, time and target columns",
                got=repr(name),
                where="results have a column of this name",
                fix="rename the column",
            )


def check_alias(alias: Any) -> str:
    """The name of forecast columns as it was given; refuses what is no text, and names that results have already."""
    if isinstance(alias, str) and alias.strip() and alias not in (*RESERVED, ID, TIME, TARGET):
        return alias
    raise UsageError(
        "bad_alias",
        expected=f"a name for the forecast columns, none of {', '.join(map(repr, (*RESERVED, ID, TIME, TARGET)))}",
        got=repr(alias),
        where="alias",
        fix="e.g. alias='luong'",
    )


def not_fitted(name: str) -> UsageError:
    """The error of a call that needs a fitted forecaster."""
    return UsageError(
        "not_fitted", expected="a fitted forecaster", got="one before fit", where=name, fix="call fit first"
    )
