"""The exceptions of openbook: one tree, every message says expected, got, where and fix; and what all share."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any, Self


class OpenBookError(Exception):
    """Base of every error openbook raises on purpose.

    ``expected``, ``got``, ``where`` and ``fix`` stay available as attributes; ``code`` names the kind of problem in
    words that do not change between releases; ``exit_code`` is what the command line returns.

    >>> error = DataError("duplicate_stamps", expected="one row per stamp", got="2 rows", where="series A", fix="drop one")
    >>> print(error)
    expected one row per stamp, got 2 rows (series A). Fix: drop one.
    """

    exit_code = 1

    def __init__(self, code: str, *, expected: str, got: str, where: str, fix: str) -> None:
        self.code, self.expected, self.got, self.where, self.fix = code, expected, got, where, fix
        super().__init__(f"expected {expected}, got {got} ({where}). Fix: {fix.rstrip('.')}.")

    def renamed(self, names: Mapping[str, str]) -> Self:
        """The same error with other names of columns, wherever they stand quoted, but for values that were got.

        >>> error = DataError("non_numeric", expected="numbers", got="'many' in 1 row(s)", where="column 'y'", fix="convert it")
        >>> error.renamed({"y": "sold"}).where
        "column 'sold'"
        """
        quoted = {repr(old): repr(new) for old, new in names.items() if old != new}
        if not quoted:
            return self
        found = re.compile("|".join(map(re.escape, quoted)))
        told = [found.sub(lambda part: quoted[part[0]], text) for text in (self.expected, self.where, self.fix)]
        got = found.sub(lambda part: quoted[part[0]], self.got) if self.code == "missing_columns" else self.got
        return type(self)(self.code, expected=told[0], got=got, where=told[1], fix=told[2])

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.code, self.expected, self.got, self.where, self.fix))


class UsageError(OpenBookError, ValueError):
    """An argument is out of its range or contradicts another one."""

    exit_code = 2


class DataError(OpenBookError, ValueError):
    """The table can not be used as it is; the message names file, series, row or date."""

    exit_code = 3


class ModelFileError(OpenBookError):
    """A saved model is damaged, incomplete or from another release."""

    exit_code = 4


class MissingDependencyError(OpenBookError, ImportError):
    """An optional package is needed for this call and not installed."""

    exit_code = 2


def _rebuild(kind: type[OpenBookError], code: str, expected: str, got: str, where: str, fix: str) -> OpenBookError:
    return kind(code, expected=expected, got=got, where=where, fix=fix)


def whole_number(name: str, value: Any, *, least: int) -> int:
    """A plain int of at least ``least``; numpy integers are welcome, booleans and fractions are not.

    >>> whole_number("h", 24, least=1)
    24
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or number < least:
        raise UsageError(
            "bad_number",
            expected=f"{name} as a whole number of at least {least}",
            got=repr(value),
            where=name,
            fix="pass one",
        )
    return number


def reserved_column(column: str) -> UsageError:
    """The error of an input that is the id, the time or the target."""
    return UsageError(
        "reserved_column",
        expected="input columns other than id, time and target",
        got=repr(column),
        where="exogenous lists",
        fix="leave it out: past values of the target are always used (an input that only has such a name needs another)",
    )
