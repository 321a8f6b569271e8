"""The exceptions of openbook: one tree, every message says expected, got, where and fix; and the check all share."""

from __future__ import annotations

import operator
from typing import Any


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
