"""Tables of any shape into the canonical long frame ``unique_id, ds, y, inputs…``, and results back into the caller's kind."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd

from openbook.data.conventions import READINGS, STAYS_TEXT, Settled
from openbook.data.ids import check_one_series, id_parts, join_ids, name_texts
from openbook.data.kinds import as_input
from openbook.data.panel import ID, TARGET, TIME, as_numbers, how_to_convert, without_categories
from openbook.data.reading import ROW_NUMBERS, read_file
from openbook.data.stamps import looks_like_dates, parse_stamps
from openbook.errors import DataError, UsageError

_NAMELESS = re.compile(r"Unnamed: \d+")  # what pandas calls a column whose header is empty


class _Roles(NamedTuple):
    """Which columns of a table are what; several targets make a wide table."""

    id: str | None
    time: str
    targets: tuple[str, ...]


def read_table(
    source: Any,
    *,
    id_col: str = ID,
    time_col: str = TIME,
    target_col: str | Sequence[str] = TARGET,
    encoding: str | None = None,
    like: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """The canonical long frame of a path, a pandas or a polars frame: ``unique_id``, ``ds``, ``y``, then all other columns.

    ``id_col`` may list columns that name the series together (``"store,sku"``): the name is then "store/sku".
    ``target_col`` may name several columns of a wide table (a sequence, or ``"a,b"``): each becomes a series. Without an
    id column the table is one series, named after its target; without id and ``y`` every numeric column is a series.
    Without ``ds`` the only column of dates is the time. ``attrs["notes"]`` lists what was decided, ``attrs["targets"]`` the
    targets in the order of their equally long parts, ``attrs["readings"]`` decimal marks by column (as ``like`` of a later
    table: "1.500" alone does not say what it means), ``attrs["own"]`` what id, time and targets were called,
    ``attrs["rows"]`` how many rows the source has. Rows keep their order.
    Raises ``DataError`` for missing columns, stamps that cannot be read and whatever ``read_file`` refuses.

    >>> wide = pd.DataFrame({"day": ["2024-05-31", "2024-06-01"], "north": [1, 2], "south": [3, 4]})
    >>> read_table(wide)["unique_id"].tolist()
    ['north', 'north', 'south', 'south']
    """
    for argument, name in (("id_col", id_col), ("time_col", time_col)):
        if not isinstance(name, str):
            raise UsageError(
                "bad_column",
                expected="the name of one column",
                got=repr(name),
                where=argument,
                fix='of several, give the names with a comma between, such as id_col="store,product"',
            )
    if not isinstance(target_col, str):
        target_col = _listed(target_col)
    frame, where = _frame(source, encoding, id_col, like)
    readings = frame.attrs.get(READINGS, {})
    notes = [*frame.attrs.get("notes", ())] if where != "table" else []
    asked = (id_col, time_col, *([target_col] if isinstance(target_col, str) else target_col))
    parts = {name.strip() for column in asked for name in column.split(",")}
    nameless = (
        *frame.attrs.get("unnamed", ()),
        *(str(name) for name in frame.columns if _NAMELESS.fullmatch(str(name))),
    )
    unnamed = [name for name in dict.fromkeys(nameless) if name not in parts]
    frame = _with_plain_cells(plain_header(frame, asked, where, notes))
    frame = _without_row_numbers(frame, unnamed, time_col, notes)
    roles = _find_roles(frame, id_col, time_col, target_col, where, notes)
    stamps, time_notes = parse_stamps(frame[roles.time], f"{where}, column {roles.time!r}")
    notes.extend(time_notes)
    frame = frame.assign(**{roles.time: stamps})
    frame = _clear_names(frame, roles, notes)
    long = _melt(frame, roles, where) if len(roles.targets) > 1 else _single(frame, roles)
    told = frame.attrs.get(STAYS_TEXT, {})
    long.attrs = {STAYS_TEXT: {TARGET if name in roles.targets else name: why for name, why in told.items()}}
    numbers, wrong = as_numbers(long[TARGET])
    if not wrong.any():
        long[TARGET] = numbers
    if isinstance(long[ID].dtype, pd.CategoricalDtype):
        long[ID] = without_categories(long[ID])
    own = [name for name in (roles.id, roles.time, *roles.targets) if name is not None]
    long.attrs |= {"notes": notes, "targets": list(roles.targets), "own": own, "rows": len(frame)}
    long.attrs[READINGS] = Settled({**like, **readings})
    return long


def _listed(target_col: Any) -> list[str]:
    """Several targets as a list of names: sequences, arrays and an index are; refuses what is none."""
    try:
        return [str(name) for name in target_col]
    except TypeError as error:
        raise UsageError(
            "bad_column",
            expected="the name of one column, or several",
            got=repr(target_col),
            where="target_col",
            fix='name the target, such as target_col="sold"',
        ) from error


def _with_plain_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns whose cells are lists, arrays or dicts as text: they can be neither compared nor read as numbers."""
    nested = [name for name in frame.columns if _holds_nested(frame[name])]
    texts = {name: frame[name].astype(object).map(str, na_action="ignore") for name in nested}
    return frame.assign(**texts) if nested else frame


def _holds_nested(column: pd.Series) -> bool:
    if column.dtype != object:
        return str(column.dtype).startswith(("list<", "struct<", "large_list<", "map<"))
    return pd.api.types.infer_dtype(column).startswith("mixed") and not all(map(_hashable, column))


def _hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _frame(source: Any, encoding: str | None, id_col: str, like: Mapping[str, str]) -> tuple[pd.DataFrame, str]:
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return read_file(path, encoding=encoding, names=id_parts(id_col), like=like), str(path)
    frame, _ = as_input(source)
    if not len(frame):
        raise DataError(
            "empty_table",
            expected="at least one row",
            got="no rows",
            where="table",
            fix="check the filter that made it",
        )
    return frame, "table"


def plain_header(frame: pd.DataFrame, asked: Sequence[str], where: str, notes: list[str]) -> pd.DataFrame:
    """Column names as text, each once; an index that holds stamps or a column that was asked for becomes columns.

    The first of the names that were asked for is that of the series; where it lists several columns they become one.
    """
    id_col, *others = asked
    asked = (*id_parts(id_col), *others)
    index = frame.index
    named = [name for name in index.names if name is not None]
    if isinstance(index, pd.DatetimeIndex | pd.PeriodIndex) and not named:
        frame = frame.rename_axis(TIME)
        named = [TIME]
    absent = [name for name in named if name not in frame.columns]
    if absent and (isinstance(index, pd.DatetimeIndex | pd.PeriodIndex) or set(absent) & set(asked)):
        frame = frame.reset_index(absent)
        notes.append(f"the index gives column(s) {', '.join(map(repr, absent))}")
    names = [str(name) for name in frame.columns]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            "duplicate_columns",
            expected="every column name once",
            got=f"{twice!r} {names.count(twice)} times",
            where=where,
            fix="rename or drop one of them",
        )
    return join_ids(frame.set_axis(names, axis=1).reset_index(drop=True), id_col, where)


def _without_row_numbers(frame: pd.DataFrame, unnamed: Sequence[str], time_col: str, notes: list[str]) -> pd.DataFrame:
    """Leave out unnamed columns that number the rows, as exports of tables have, where another column is the time."""
    counting = [name for name in unnamed if name in frame.columns and _counts(frame[name], name == frame.columns[0])]
    others = frame.drop(columns=counting)
    if not counting or not (time_col in others or any(looks_like_dates(others[name]) for name in others)):
        return frame
    notes.extend(ROW_NUMBERS for _ in counting)
    return others


def _counts(column: pd.Series, first: bool) -> bool:
    """Whether whole numbers count rows: one by one, anew in every part, in whatever order; the first column also with gaps."""
    if not pd.api.types.is_integer_dtype(column.dtype):
        return False
    turn = column.groupby(column).cumcount()
    steps = column.groupby(turn).diff().abs().dropna()
    return bool(first and column.is_unique) or (len(steps) > 0 and (steps <= (3 if first else 1)).mean() > 0.9)


def _find_roles(
    frame: pd.DataFrame, id_col: str, time_col: str, target_col: str | Sequence[str], where: str, notes: list[str]
) -> _Roles:
    if id_col not in frame.columns and id_col != ID:
        raise _absent(frame, next(part for part in id_parts(id_col) if part not in frame.columns), "id_col", where)
    id_name = id_col if id_col in frame.columns else None
    time = _find_time(frame, time_col, id_name, where, notes)
    targets = _named_targets(frame, target_col, where)
    if not targets:
        targets = _guess_targets(frame, id_name, time, where, notes)
    if id_name is None:
        check_one_series(frame, time, () if target_col == TARGET else targets, where)
    chosen = [name for name in (id_name, time, *targets) if name is not None]
    twice = next((name for name in chosen if chosen.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            "same_column",
            expected="different columns for id, time and target",
            got=f"{twice!r} twice",
            where="id_col, time_col, target_col",
            fix="name each column once",
        )
    return _Roles(id_name, time, targets)


def _absent(frame: pd.DataFrame, name: str, argument: str, where: str) -> DataError:
    close = difflib.get_close_matches(name.lower(), [column.lower() for column in frame.columns], n=1, cutoff=0.6)
    guess = next((column for column in frame.columns if close and column.lower() == close[0]), None)
    return DataError(
        "missing_columns",
        expected=f"the column {name!r} given as {argument}",
        got=f"columns {_list(frame.columns)}",
        where=where,
        fix=f"did you mean {guess!r}?" if guess else f"pass one of them as {argument}",
    )


def _list(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _find_time(frame: pd.DataFrame, time_col: str, id_name: str | None, where: str, notes: list[str]) -> str:
    if time_col in frame.columns:
        return time_col
    if time_col != TIME:
        raise _absent(frame, time_col, "time_col", where)
    candidates = date_columns(frame, id_name)
    if len(candidates) == 1:
        notes.append(f"time is column {candidates[0]!r}, the only one of dates")
        return candidates[0]
    raise DataError(
        "no_time_column",
        expected=f"a column {TIME!r}, or exactly one column of dates",
        got=f"{len(candidates)} columns of dates ({_list(candidates)})"
        if candidates
        else f"columns {_list(frame.columns)}",
        where=where,
        fix="name the time column with time_col",
    )


def date_columns(frame: pd.DataFrame, id_name: str | None) -> list[str]:
    """The columns beside the id that can only be meant as time.

    >>> date_columns(pd.DataFrame({"day": ["2024-05-31"], "sold": [3]}), None)
    ['day']
    """
    return [name for name in frame.columns if name != id_name and looks_like_dates(frame[name])]


def _named_targets(frame: pd.DataFrame, target_col: str | Sequence[str], where: str) -> tuple[str, ...]:
    """The targets the caller named; none where the default ``y`` is absent."""
    if isinstance(target_col, str):
        if target_col in frame.columns:
            return (target_col,)
        if target_col == TARGET:
            return ()
        target_col = [name.strip() for name in target_col.split(",") if name.strip()]
    targets = tuple(map(str, target_col))
    if not targets:
        raise UsageError(
            "no_target",
            expected="at least one target column",
            got="none",
            where="target_col",
            fix="name one or leave it out",
        )
    for name in targets:
        if name not in frame.columns:
            raise _absent(frame, name, "target_col", where)
    return targets


def _guess_targets(
    frame: pd.DataFrame, id_name: str | None, time: str, where: str, notes: list[str]
) -> tuple[str, ...]:
    others = [name for name in frame.columns if name not in (id_name, time)]
    numeric = [name for name in others if holds_numbers(frame[name])]
    if len(numeric) == 1 or (numeric and id_name is None):
        left = [name for name in others if name not in numeric]
        one = f"the target is {numeric[0]!r}, the only column of numbers"
        notes.append(one if len(numeric) == 1 else f"wide table: each of {len(numeric)} columns of numbers is a series")
        if left and len(numeric) > 1:
            notes.append(f"column(s) {_list(left)} hold no numbers and are inputs of every series")
        return tuple(numeric)
    raise DataError(
        "no_target_column",
        expected=f"a target column {TARGET!r}",
        got=f"columns {_list(frame.columns)}" + ("" if numeric else ", none of them numbers"),
        where=where,
        fix=f"name the target with target_col (numbers: {_list(numeric)})" if numeric else "add a column of numbers",
    )


def holds_numbers(column: pd.Series) -> bool:
    """Numbers by their type, also decimals as databases give them; text is none."""
    if column.dtype != object:
        plain = pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype)
        return plain and not isinstance(column.dtype, pd.CategoricalDtype)
    return pd.api.types.infer_dtype(column) in ("decimal", "integer", "floating", "mixed-integer-float", "boolean")


def _clear_names(frame: pd.DataFrame, roles: _Roles, notes: list[str]) -> pd.DataFrame:
    """Columns that bear a canonical name without having that role get another name, or are left out as copies of it."""
    chosen = (roles.id, roles.time, *roles.targets)
    taken = ((ID, (roles.id,), "id"), (TIME, (roles.time,), "time"), (TARGET, roles.targets, "target"))
    for name, owners, role in taken:
        # In a wide table the target "y" is melted away together with its name.
        if name not in frame.columns or name in chosen:
            continue
        told = f"the {role} is {_list([str(owner) for owner in owners], 3)}"
        if len(owners) == 1 and owners[0] is not None and frame[name].equals(frame[owners[0]]):
            frame = frame.drop(columns=name)
            notes.append(f"column {name!r} is left out: it equals the {role} {owners[0]!r}")
            continue
        free = free_name(name, frame.columns)
        frame = renamed(frame, {name: free})
        notes.append(f"column {name!r} is renamed: {told}; as an input it is {free!r} in the exogenous lists")
    return frame


def renamed(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """A frame with other names of columns, also where it tells which of them stay text."""
    frame = frame.rename(columns=names)
    told = frame.attrs.get(STAYS_TEXT, {})
    frame.attrs = {**frame.attrs, STAYS_TEXT: {names.get(name, name): why for name, why in told.items()}}
    return frame


def free_name(name: str, taken: Iterable[Any]) -> str:
    """What an input that bears a canonical name is called instead.

    >>> free_name("y", ["y", "y_"])
    'y__'
    """
    free = f"{name}_"
    while free in taken:
        free += "_"
    return free


def _single(frame: pd.DataFrame, roles: _Roles) -> pd.DataFrame:
    target = roles.targets[0]
    ids = frame[roles.id] if roles.id is not None else pd.Series(target, index=frame.index, dtype=object)
    others = frame.drop(columns=[name for name in (roles.id, roles.time, target) if name is not None])
    return pd.concat([ids.rename(ID), frame[roles.time].rename(TIME), frame[target].rename(TARGET), others], axis=1)


def _melt(frame: pd.DataFrame, roles: _Roles, where: str) -> pd.DataFrame:
    told = frame.attrs.get(STAYS_TEXT, {})
    for target in set(roles.targets) & set(told):
        raise DataError(
            "non_numeric",
            expected=f"numbers in each of the targets {_list(roles.targets)}",
            got="text",
            where=f"{where}, column {target!r}",
            fix=how_to_convert(frame[target]),
        )
    others = [name for name in frame.columns if name not in (roles.id, roles.time, *roles.targets)]
    parts = []
    for target in roles.targets:
        ids = target if roles.id is None else name_texts(frame[roles.id]) + f"/{target}"
        part = pd.DataFrame({ID: ids, TIME: frame[roles.time], TARGET: frame[target]}, index=frame.index)
        parts.append(pd.concat([part, frame[others]], axis=1))
    return pd.concat(parts, ignore_index=True)
