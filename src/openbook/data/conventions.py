"""Number conventions of text columns: 1234.5, 1,234.5, 1.234,5, 1 234,5 — a column is converted under one or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import pyarrow as pa

# Words that mean *unknown* in a column of numbers; in a column of text only the empty cell does.
_MISSING = ("", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "#n/a", "#na", "<na>", "?", "#value!", "#div/0!")
_INFINITE = "[+-]?(?i:inf|infinity)"
_EXPONENT = "(?:[eE][+-]?[0-9]+)?"
_SPACES = "[ '\u00a0\u202f\u2009’]"


# RE2 patterns. A group of thousands never starts with zero: "0,123" is a decimal.
def _pattern(decimal: str, group: str) -> str:
    plain = rf"[+-]?(?:[0-9]+{decimal}?[0-9]*|{decimal}[0-9]+){_EXPONENT}"
    grouped = rf"[+-]?[1-9][0-9]{{0,2}}(?:(?:{group}[0-9]{{3}})+|(?:{_SPACES}[0-9]{{3}})+)(?:{decimal}[0-9]*)?"
    return f"^(?:{plain}|{grouped}|{_INFINITE})$"


_POINT, _COMMA = _pattern("[.]", ","), _pattern(",", "[.]")
_LEADING_ZERO = r"^[+-]?0[0-9]"
_YEAR_MONTH = r"^(?:19|20)[0-9]{2}[.](?:0[1-9]|1[0-2])$"  # 2024.10 is October, not 2024.1
_MAX_DIGITS = 18
_WHOLE = rf"(?:0|-?[1-9][0-9]{{0,{_MAX_DIGITS - 1}}})"
_PLAIN_NAMES = (f"^{_WHOLE}$", f"^{_WHOLE}[.]0$")  # all like 7, or all like 7.0, as tables with gaps are written
STAYS_TEXT = (
    "stays_text"  # of a frame's attrs: columns of a file that are no numbers although they look like some, and why
)
READINGS = "readings"  # of a frame's attrs: the decimal mark of columns in which marks stand, ``point`` or ``comma``
_MANY = 10  # values with a mark, from which on they tell what it means


class Settled(dict[str, str]):
    """A dictionary that is never changed: pandas copies a frame's ``attrs`` with every column it hands out."""

    def __deepcopy__(self, memo: object) -> Settled:
        return self


class Verdict(NamedTuple):
    """How a text column reads: decimal ``point`` or ``comma``, ``either``, ``ambiguous``, ``truth`` or ``text``.

    ``example`` is its first value with a mark. ``beside``: values without a mark stand beside them, all below a thousand, as
    where marks are thousands; ``grouped``: and those with one are many. ``every``: no value is without a mark.
    """

    reading: str
    example: str = ""
    beside: bool = False
    grouped: bool = False
    every: bool = False


def number_columns(
    table: pa.Table,
    names: Sequence[str] = (),
    like: Mapping[str, str] = MappingProxyType({}),
    *,
    semicolons: bool = False,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """A frame of a table of texts: numbers and truth values converted where a whole column agrees, and notes.

    A column of which each value could be read both ways ("1,234") follows the columns that are clear, then the look of
    its own values: many marks beside small values without one are thousands; else "1.234" is a decimal, unless some
    values have no mark, and "1,234" stays text. Values with leading zeros and numbers too long for 64 bits are names, not
    numbers, and stay text; so do the columns of ``names``, unless all their values are whole numbers written plainly.
    ``like``: how columns of these names were read in an earlier table, which settles what could be read both ways.
    ``semicolons``: they separate the columns, as where commas are decimal marks: a column all like "1.234" stays text there.
    ``attrs["stays_text"]`` says why, for columns that look like numbers, ``attrs["readings"]`` which decimal mark columns have.

    >>> import pyarrow as pa
    >>> number_columns(pa.table({"a": ["1,5", "2"], "b": ["1.234", "5.678"], "c": ["007", "042"]}))[0].values.tolist()
    [[1.5, 1234, '007'], [2.0, 5678, '042']]
    """
    verdicts = {name: (_name_verdict if name in names else _verdict)(table[name]) for name in table.column_names}
    clear = {verdict.reading for verdict in verdicts.values()} & {"point", "comma"}
    columns: dict[str, pd.Series] = {}
    notes: list[str] = []
    reasons: dict[str, str] = {}
    readings: dict[str, str] = {}
    for name, verdict in verdicts.items():
        reading = verdict.reading
        if reading == "ambiguous" and name in like and clear <= {like[name]}:
            reading = like[name]
            notes.append(f"column {name!r}: numbers such as {verdict.example!r} are read as in the first table")
        elif reading == "ambiguous":
            reading = _settle(verdict, clear, semicolons)
            if reading == "text":
                reasons[name] = f"{verdict.example!r} can mean decimals or thousands"
                notes.append(f"column {name!r} stays text: {reasons[name]}")
            else:
                told = "as thousands" if verdict.grouped and not clear else f"with a decimal {reading}"
                notes.append(f"column {name!r}: numbers such as {verdict.example!r} are read {told}")
        elif reading == "comma":
            notes.append(f"column {name!r}: numbers such as {verdict.example!r} are read with a decimal comma")
        if reading in ("point", "comma"):
            readings[name] = reading
        columns[name] = _text(table[name]) if reading == "text" else _convert(table[name], reading)
        text = not pd.api.types.is_numeric_dtype(columns[name].dtype)
        if text and name not in reasons and _plain(_known(table[name])):
            reasons[name] = "zeros in front, or more digits than a number holds, are those of names and dates"
    frame = pd.DataFrame(columns)
    frame.attrs |= {STAYS_TEXT: reasons, READINGS: Settled(readings)}
    return frame, tuple(notes)


def _settle(verdict: Verdict, clear: set[str], semicolons: bool) -> str:
    if len(clear) == 1:
        return next(iter(clear))
    if clear:
        return "text"
    if verdict.grouped:
        return "point" if "," in verdict.example else "comma"
    german = semicolons and verdict.every
    return "text" if verdict.beside or german or "," in verdict.example else "point"


def _name_verdict(column: pa.ChunkedArray) -> Verdict:
    """Names may look like numbers and differ as text: "1.1" and "1.10", "1E5" and "100000"."""
    import pyarrow.compute as pc

    values = pc.utf8_trim_whitespace(column)
    plain = any(pc.all(pc.match_substring_regex(values, pattern)).as_py() for pattern in _PLAIN_NAMES)
    return Verdict("either" if plain else "text")


def _known(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Stripped values, those that mean *unknown* as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.replace_substring(pc.utf8_trim_whitespace(column), "−", "-")
    unknown = pc.is_in(pc.utf8_lower(plain), value_set=pa.array(_MISSING))
    return pc.if_else(unknown, pa.scalar(None, pa.string()), plain)


def _verdict(column: pa.ChunkedArray) -> Verdict:
    import pyarrow as pa
    import pyarrow.compute as pc

    def every(pattern: str) -> bool:
        # The first values settle most columns; patterns are slow.
        return all(
            pc.all(pc.match_substring_regex(part, pattern)).as_py()
            for part in (values[:1000], values[1000:])
            if len(part)
        )

    def some(pattern: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(values, pattern)).as_py())

    values = _known(column).drop_null()
    if not len(values):
        return Verdict("either")
    if not any(
        pc.any(pc.match_substring_regex(values[:1000], pattern)).as_py() for pattern in (_POINT, _COMMA, "^[tTfF]")
    ):
        return Verdict("text")
    if pc.all(pc.is_in(pc.utf8_lower(values), value_set=pa.array(["true", "false"]))).as_py():
        return Verdict("truth")
    if (
        some(_LEADING_ZERO)
        or some(rf"^[+-]?[0-9]{{{_MAX_DIGITS + 1},}}$")
        or every(f"^{_INFINITE}$")
        or every(_YEAR_MONTH)
    ):
        return Verdict("text")
    point, comma = _plain(values) or every(_POINT), every(_COMMA)
    marked = values.filter(pc.match_substring_regex(values, "[.,]"))
    if not (point or comma):
        return Verdict("text")
    if not len(marked):
        return Verdict("either")
    if point != comma:
        return Verdict("point" if point else "comma", marked[0].as_py())
    beside = len(marked) < len(values) and every("^[+-]?.{1,3}$|[.,]")
    return Verdict("ambiguous", marked[0].as_py(), beside, beside and len(marked) >= _MANY, len(marked) == len(values))


def _plain(values: pa.ChunkedArray) -> bool:
    """Numbers as programs write them, recognised without patterns."""
    import pyarrow as pa

    try:
        values.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _text(column: pa.ChunkedArray) -> pd.Series:
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.equal(plain, ""), pa.scalar(None, pa.string()), plain).to_pandas()


def _convert(column: pa.ChunkedArray, reading: str) -> pd.Series:
    """Whole columns as int64, columns with decimals or missing values as float64, complete true/false as bool."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _known(column)
    if reading == "truth":
        truth = pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), pc.equal(pc.utf8_lower(values), "true"))
        return truth.to_pandas() if not truth.null_count else truth.cast(pa.float64()).to_pandas()
    plain = values
    if reading == "comma" or not _plain(values):
        decimal, groups = (",", rf"[.]|{_SPACES}") if reading == "comma" else (".", rf",|{_SPACES}")
        plain = pc.replace_substring(pc.replace_substring_regex(values, groups, ""), decimal, ".")
    whole = not pc.any(pc.match_substring_regex(plain, "[^0-9+-]")).as_py()
    numbers = pc.utf8_ltrim(plain, "+").cast(pa.int64() if whole else pa.float64())
    if whole and numbers.null_count and (pc.max(pc.abs(numbers)).as_py() or 0) > 2**53:
        return _text(column)  # a missing value needs floats, which would round these
    return numbers.to_pandas().astype(np.float64 if numbers.null_count or not whole else np.int64)
