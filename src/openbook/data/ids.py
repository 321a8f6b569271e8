"""Columns that name the series: one of them, or several that do so together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from openbook.errors import DataError

SEPARATOR = "/"  # between the parts of a name that several columns give together
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s*[AaPp][Mm])?"
# Numbers up to 48 or 96 may as well be shops: the name has to say that they are parts of a day.
_SLOT = re.compile(
    r"(?i)period|settle|slot|interval|quarter|half|time|block|hour|(?<![a-z])(?:qh|hh|pte|i?sp)(?![a-z])"
)
_REPEATED = 0.2  # share of stamps that repeat, from which a table without ids holds several series


def id_parts(id_col: str) -> tuple[str, ...]:
    """The columns that name a series: ``id_col`` itself, or those it lists with commas.

    >>> id_parts("store, sku")
    ('store', 'sku')
    """
    return tuple(part.strip() for part in id_col.split(",")) if "," in id_col else (id_col,)


def join_ids(frame: pd.DataFrame, id_col: str, where: str) -> pd.DataFrame:
    """A frame in which the columns listed in ``id_col`` are one column of this name; others come back as they are.

    Raises ``DataError`` where two names would become one, as "a/b" with "c" and "a" with "b/c".

    >>> sold = pd.DataFrame({"store": ["A", "B"], "sku": [7, 7], "y": [1.0, 2.0]})
    >>> join_ids(sold, "store,sku", "table").to_dict("list")
    {'store,sku': ['A/7', 'B/7'], 'y': [1.0, 2.0]}
    """
    parts = list(id_parts(id_col))
    if len(parts) == 1 or id_col in frame.columns or not set(parts) <= set(frame.columns):
        return frame
    texts = pd.DataFrame({part: name_texts(frame[part]) for part in parts})
    names = texts[parts[0]].str.cat([texts[part] for part in parts[1:]], sep=SEPARATOR)
    if names.nunique() < len(texts.dropna().drop_duplicates()):
        raise DataError(
            "same_name",
            expected=f"names that stay apart when the parts are joined with {SEPARATOR!r}",
            got=f"different values of {', '.join(map(repr, parts))} that become one name",
            where=where,
            fix=f"write the names into one column, with another separator than {SEPARATOR!r}",
        )
    at = min(frame.columns.get_loc(part) for part in parts)
    left = frame.drop(columns=parts)
    left.insert(min(at, left.shape[1]), id_col, names)
    return left


def name_texts(column: pd.Series) -> pd.Series:
    """Names as text: whole numbers alike whether a table holds them as 7 or 7.0; what is empty stays empty.

    >>> name_texts(pd.Series([7.0, 8.0])).tolist()
    ['7', '8']
    """
    if pd.api.types.is_float_dtype(column.dtype) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return column.astype(object).map(str, na_action="ignore").astype(object)


def names_as_numbers(ids: pd.Series) -> bool:
    """Whether the names of series are numbers, also whole ones in a column of Python objects: they come back as such."""
    return pd.api.types.is_numeric_dtype(ids.dtype) or pd.api.types.infer_dtype(ids, skipna=False) == "integer"


def plain_ids(ids: pd.Series) -> pd.Series:
    """The names of series as a panel has them: numbers, or text, in a column of Python objects."""
    if names_as_numbers(ids):
        return ids.astype(object)
    told = ids.astype(str)
    if pd.api.types.infer_dtype(ids, skipna=True).startswith("mixed") and told.nunique() < ids.nunique():
        first = pd.DataFrame({"id": ids, "text": told}).drop_duplicates("id")
        same = first.loc[first["text"].duplicated(keep=False)].iloc[0]
        raise DataError(
            "ids_alike",
            expected="names of series that differ as text",
            got=f"{same['text']} as text and as a number",
            where=f"column {ids.name!r}",
            fix="make all of them text, or all numbers",
        )
    return told.astype(object)


def id_text(name: object) -> str:
    """The name of a series as text, whole numbers alike whether a table holds them as 7 or 7.0.

    >>> id_text(7.0), id_text(7), id_text("7.0")
    ('7', '7', '7.0')
    """
    return str(int(name)) if isinstance(name, float) and name.is_integer() else str(name)


def telling_column(rows: pd.DataFrame, keys: Sequence[str], values: Sequence[str]) -> str | None:
    """A column beside ``keys`` that tells all rows apart together with them, as one that names series would.

    >>> sold = pd.DataFrame({"day": [1, 1, 2, 2, 3, 3], "sku": ["a", "b"] * 3, "sold": [4, 5, 6, 6, 7, 7]})
    >>> telling_column(sold, ["day"], ["sold"])
    'sku'
    """
    for name in rows.columns:
        names = not pd.api.types.is_float_dtype(rows[name].dtype) and name not in (*keys, *values)
        if names and rows[name].nunique() < len(rows) / 2 and not rows.duplicated([name, *keys]).any():
            return str(name)
    return None


class PartOfDay(NamedTuple):
    """What a column beside a day holds, and how both become one stamp."""

    told: str
    fix: str


def part_of_day(column: pd.Series, time: str) -> PartOfDay | None:
    """Whether a column is the time of day: clocks (13:00), hours, or numbers of half and quarter hours by their name.

    >>> part_of_day(pd.Series(["00:00", "00:30"], name="clock"), "day").told
    "each of the 2 times of day of column 'clock'"
    """
    name, values = str(column.name), column.dropna().drop_duplicates()
    day, part = f"df[{time!r}]", f"df[{name!r}]"
    if pd.api.types.is_integer_dtype(values.dtype):
        first, count = values.min(), len(values)
        for minutes, unit, named in ((60, "hours", True), (30, "half hours", False), (15, "quarter hours", False)):
            usual = 1440 // minutes
            near = abs(count - usual) <= 60 // minutes and first in (0, 1) and values.max() < usual + 60 // minutes + 1
            if near and (named or _SLOT.search(name)):
                since = part if first == 0 or minutes == 60 else f"({part} - 1)"
                size = ', unit="h"' if minutes == 60 else f' * {minutes}, unit="min"'
                return PartOfDay(
                    f"each of the {count} {unit} of column {name!r}",
                    f'join both: df["ds"] = pd.to_datetime({day}) + pd.to_timedelta({since}{size})',
                )
        return None
    if not values.astype(str).str.strip().str.fullmatch(_CLOCK).all() or not len(values):
        return None
    return PartOfDay(
        f"each of the {len(values)} times of day of column {name!r}",
        f'join both: df["ds"] = pd.to_datetime({day}.astype(str) + " " + {part}.astype(str))',
    )


def check_one_series(frame: pd.DataFrame, time: str, targets: Sequence[str], where: str) -> None:
    """Refuse a table without ids most of whose stamps repeat, where a column beside them tells its rows apart."""
    rows = frame.drop_duplicates()
    if not len(rows) or rows.duplicated(time).mean() < _REPEATED:
        return
    name = telling_column(rows, [time], targets)
    if name is None:
        return
    n_values = rows[name].nunique()
    part = part_of_day(rows[name], time)
    if part is not None:
        raise DataError(
            "no_id_column",
            expected="one row per stamp",
            got=f"days that repeat, with one row for {part.told}",
            where=where,
            fix=part.fix,
        )
    raise DataError(
        "no_id_column",
        expected="one row per stamp, or a column that names the series",
        got=f"stamps that repeat, with one row for each of the {n_values} values of column {name!r}",
        where=where,
        fix=f"pass id_col={name!r} (at the command line: --id-col {name})",
    )


def tell_apart(frame: pd.DataFrame, id_col: str, keys: Sequence[str], values: Sequence[str]) -> str | None:
    """What to do about stamps that repeat within series, where another column tells their rows apart.

    >>> sold = pd.DataFrame({"store": "A", "day": [1, 1, 2, 2, 3, 3], "sku": [7, 8] * 3, "sold": [4, 5, 6, 6, 7, 7]})
    >>> tell_apart(sold, "store", ["store", "day"], ["sold"])
    "column 'sku' tells these rows apart: let 'store' and 'sku' name the series (both as id_col, with a comma between)"
    """
    rows = frame.drop_duplicates()
    if rows.duplicated(list(keys)).mean() < _REPEATED:
        return None  # a few only, as of the hour that autumn repeats, which any input may tell apart
    name = telling_column(rows, keys, values)
    if name is None:
        return None
    part = part_of_day(rows[name], keys[-1])
    if part is not None:
        return f"{part.told}; {part.fix}"
    told = f"column {name!r} tells these rows apart: let {id_col!r} and {name!r} name the series"
    return f"{told} (both as id_col, with a comma between)"
