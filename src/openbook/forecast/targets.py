"""Several targets of one table: each becomes a series of the one model, and what is known ahead serves all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from openbook.data.ids import name_texts
from openbook.data.kinds import as_input, as_it_is
from openbook.data.panel import ID, TARGET, TIME, as_numbers
from openbook.data.table import read_table
from openbook.errors import DataError, UsageError
from openbook.forecast.arguments import ColumnNames, Restore, is_path


class Told(NamedTuple):
    """A canonical table, the names of its columns as they were found, and what gives results the caller's kind of frame."""

    table: pd.DataFrame
    names: ColumnNames
    restore: Restore


def read_series(
    df: Any, id_col: str, time_col: str, target_col: str | Sequence[str], like: Mapping[str, str] = MappingProxyType({})
) -> Told:
    """The canonical table of a frame or path; with several targets every (series, target) is a series of it.

    Raises ``DataError`` for a target of several that holds no numbers, and whatever ``read_table`` refuses.

    >>> table = pd.DataFrame({"ds": [1, 2], "gas": [1.0, 2.0], "heat": [3.0, 4.0], "frost": [0, 1]})
    >>> told = read_series(table, "unique_id", "ds", ["gas", "heat"])
    >>> told.table["unique_id"].tolist(), told.table["frost"].tolist()
    (['gas', 'gas', 'heat', 'heat'], [0, 1, 0, 1])
    >>> told.names.target, told.names.value
    (('gas', 'heat'), 'y')
    """
    frame, restore = (df, as_it_is) if is_path(df) else as_input(df)
    table = read_table(frame, id_col=id_col, time_col=time_col, target_col=target_col, like=like)
    targets = tuple(table.attrs["targets"])
    if isinstance(target_col, str) and target_col == TARGET:  # there, or guessed anew for every table
        return Told(table, ColumnNames(id_col, time_col), restore)
    if len(targets) == 1:
        return Told(table, ColumnNames(id_col, time_col, targets[0]), restore)
    _check_free(id_col, time_col)
    _check_numbers(table, targets)
    if not is_path(df) and not isinstance(df, pd.DataFrame):
        restore = as_input(df.head(0).drop(id_col, strict=False))[1]  # the new names do not fit the old column's type
    return Told(table, ColumnNames(id_col, time_col, targets), restore)


def _check_free(id_col: str, time_col: str) -> None:
    if TARGET in (id_col, time_col):
        raise UsageError(
            "reserved_name",
            expected=f"another name than {TARGET!r} for id and time, where there are several targets",
            got=f"id_col={id_col!r}, time_col={time_col!r}",
            where="results have a column of this name",
            fix="rename the column",
        )


def _check_numbers(table: pd.DataFrame, targets: tuple[str, ...]) -> None:
    _, wrong = as_numbers(table[TARGET])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        target = targets[row // (len(table) // len(targets))]
        raise DataError(
            "non_numeric",
            expected=f"numbers in each of the targets {', '.join(map(repr, targets))}",
            got=f"{table[TARGET].iloc[row]!r}",
            where=f"column {target!r}, series {table[ID].iloc[row]!r}, {table[TIME].iloc[row]}",
            fix="convert the column, or leave it out of target_col",
        )


def for_every_target(frame: pd.DataFrame, ids: np.ndarray, names: ColumnNames) -> pd.DataFrame:
    """Rows of known-future inputs for every series of ``ids`` [N], from rows per series of the table before its targets.

    Rows that name a series of ``ids`` stay as they are; rows without an id are meant for the only series of a table.

    >>> ahead, names = pd.DataFrame({"unique_id": ["a"], "ds": [3], "frost": [1]}), ColumnNames(target=("gas", "heat"))
    >>> for_every_target(ahead, np.array(["a/gas", "a/heat"], object), names)["unique_id"].tolist()
    ['a/gas', 'a/heat']
    """
    if isinstance(names.target, str):
        return frame
    known = ids.astype(str)
    if ID not in frame.columns:
        found = known if len(_before_targets(known, names.target)) == 1 else ()
        return pd.concat([frame.assign(**{ID: name}) for name in found], ignore_index=True) if len(found) else frame
    own = name_texts(frame[ID]).astype(str)
    named = own.isin(known)
    parts = [frame[~named].assign(**{ID: own[~named] + f"/{target}"}) for target in names.target]
    return pd.concat([frame[named], *parts], ignore_index=True)


def _before_targets(ids: np.ndarray, targets: tuple[str, ...]) -> set[str]:
    """Names that the series of ``ids`` may have had before they were named by target, as few as explain all of them."""
    if set(ids) <= set(targets):
        return {""}
    ends = [f"/{target}" for target in targets if ids[0].endswith(f"/{target}")]
    for end in ends:
        name = ids[0].removesuffix(end)
        if set(ids) <= {f"{name}/{target}" for target in targets}:
            return {name}
    return set(ids)
