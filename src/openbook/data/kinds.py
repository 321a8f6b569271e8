"""Frames of the caller's kind: pandas or polars in, the same out, with the types his columns had."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd

from openbook.errors import UsageError
from openbook.files import arrow_ready


def as_it_is(result: pd.DataFrame) -> Any:
    """Results as pandas frames."""
    return result


def as_input(frame: Any) -> tuple[pd.DataFrame, Callable[[pd.DataFrame], Any]]:
    """A pandas view of a pandas or polars frame, and the function that turns results into the caller's kind.

    Restored polars frames keep the original type of every column the caller had, and of times derived from his.
    Raises ``UsageError`` for anything that is no frame.

    >>> frame, restore = as_input(pd.DataFrame({"y": [1.0]}))
    >>> restore(frame) is frame
    True
    """
    if isinstance(frame, pd.DataFrame):
        return frame, as_it_is
    polars = sys.modules.get("polars")  # a polars frame can only exist where polars is loaded
    if polars is not None and isinstance(frame, polars.DataFrame | polars.LazyFrame):
        eager = frame.lazy().collect()
        return eager.to_pandas(), partial(_to_polars, schema=dict(eager.schema))
    raise UsageError(
        "unknown_source",
        expected="a pandas or polars frame, or a path",
        got=type(frame).__name__,
        where="table",
        fix="convert it to a frame, or save it as CSV or Parquet and pass the path",
    )


def _to_polars(result: pd.DataFrame, schema: dict[str, Any]) -> Any:
    import polars as pl

    restored = pl.from_pandas(arrow_ready(result.reset_index(drop=True)))
    clocks = [kind for kind in schema.values() if kind.is_temporal()]
    times = [name for name, kind in restored.schema.items() if kind.is_temporal()]
    written = [name for name in times if schema.get(name) is not None and not schema[name].is_numeric()]
    texts = [name for name in written if not schema[name].is_temporal()]
    if texts:  # so were the caller's stamps, and what was derived from them is
        restored = _written(restored, [*texts, *(name for name in times if name not in schema)])
    wanted: dict[str, Any] = {}
    for name, kind in restored.schema.items():
        if kind.is_temporal() and name in schema and name not in written:
            continue  # dates that came as one number have no number of their own
        if name in schema and kind != schema[name] and (kind.is_temporal() or _holds(schema[name], restored[name])):
            wanted[name] = schema[name]
        elif name in schema and schema[name].is_integer() and kind.is_integer() and _fits(schema[name], restored[name]):
            wanted[name] = schema[name]
        elif name not in schema and kind.is_temporal() and len(clocks) == 1:
            wanted[name] = clocks[0]
    return restored.with_columns(pl.col(name).cast(kind) for name, kind in wanted.items())


def _holds(kind: Any, column: Any) -> bool:
    """Whether a column of names can be one of this kind: results have columns of their own, such as ``model``."""
    import polars as pl

    if column.dtype not in (pl.String, pl.Categorical):
        return False
    if isinstance(kind, pl.Enum):
        return set(column.drop_nulls()) <= set(kind.categories)
    return kind in (pl.String, pl.Categorical)


def _fits(kind: Any, column: Any) -> bool:
    """Whether an integer type holds a column's values: results have a ``step`` of their own."""
    return bool(column.cast(kind, strict=False).null_count() == column.null_count())


def _written(frame: Any, names: Sequence[str]) -> Any:
    """A polars frame with these stamps as ISO text, without a clock where all of them are midnights."""
    import polars as pl

    clock = any(frame[name].dtype != pl.Date and (frame[name].dt.time() != dt.time(0)).any() for name in names)
    zoned = any(getattr(frame[name].dtype, "time_zone", None) for name in names)
    form = "%Y-%m-%d" + (" %H:%M:%S%.f" if clock or zoned else "") + ("%:z" if zoned else "")
    return frame.with_columns(pl.col(name).dt.to_string(form) for name in names)
