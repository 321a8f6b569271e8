"""What is known ahead: a table of future inputs laid onto the steps that follow each series."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from openbook.data.ids import id_parts, id_text, plain_ids
from openbook.data.kinds import as_input
from openbook.data.panel import ID, TARGET, TIME, Panel, as_numbers, how_to_convert
from openbook.data.reading import read_file
from openbook.data.table import date_columns, free_name, plain_header, renamed
from openbook.errors import DataError, UsageError
from openbook.forecast.arguments import ColumnNames, is_path
from openbook.forecast.targets import for_every_target


def _future_table(
    futr_df: Any, names: ColumnNames, known: tuple[str, ...], like: Mapping[str, str] = MappingProxyType({})
) -> pd.DataFrame:
    """futr_df with canonical id and time columns; a table without ids is meant for a single series."""
    frame = read_file(futr_df, names=id_parts(names.id), like=like) if is_path(futr_df) else as_input(futr_df)[0]
    if not len(frame):
        raise DataError(
            "missing_future",
            expected="rows of the steps ahead",
            got="no rows",
            where="futr_df",
            fix="check the filter that made it",
        )
    read = {*id_parts(names.id), names.time, *known}
    frame = frame.drop(columns=[name for name in frame.attrs.get("unnamed", ()) if name not in read])
    frame = plain_header(frame, (names.id, names.time), "futr_df", [])
    frame = renamed(_clear_of(frame, names), {names.id: ID, names.time: TIME})
    if names.time == TIME and TIME not in frame.columns:  # found by itself when learning, and so here
        dates = date_columns(frame, ID)
        frame = renamed(frame, {dates[0]: TIME}) if len(dates) == 1 else frame
    absent = [column for column in (TIME, *known) if column not in frame.columns]
    if absent:
        raise DataError(
            "missing_columns",
            expected=f"columns {', '.join(map(repr, (names.time, *known)))}",
            got=f"no {', '.join(repr(names.time if column == TIME else column) for column in absent)}",
            where="futr_df",
            fix="add the columns the forecaster was fitted with",
        )
    return frame


def _clear_of(frame: pd.DataFrame, names: ColumnNames) -> pd.DataFrame:
    """Inputs that bear a canonical name have the name that they were learned by: ``y_`` where the target is another."""
    targets = (names.target,) if isinstance(names.target, str) else names.target
    for name in {ID, TIME, TARGET} & set(frame.columns) - {names.id, names.time, *targets}:
        frame = renamed(frame, {name: free_name(name, frame.columns)})
    return frame


def refuse_unread_future(futr_df: Any, *, names: ColumnNames, h: int) -> None:
    """Refuse values given ahead to a forecaster that reads none: they would change nothing, unsaid."""
    frame = _future_table(futr_df, names, ())
    targets = (names.target,) if isinstance(names.target, str) else names.target
    others = [column for column in frame.columns if column not in (ID, TIME, TARGET, *targets)]
    if others:
        shown = ", ".join(map(repr, others[:5]))
        raise UsageError(
            "unread_future",
            expected="no futr_df, since no column was named as known ahead when this was fitted",
            got=f"columns {shown}" + (f" and {len(others) - 5} more" if len(others) > 5 else ""),
            where="futr_df",
            fix=f"fit with those that are known for the next {h} steps as futr_exog_list (at the command line: "
            "--futr-exog), or forecast without futr_df",
        )


def check_kind(stamps: pd.Series, learned: Panel, where: str) -> None:
    """Refuse dates after whole numbers were learned from, and the other way round."""
    kinds = {True: "whole numbers", False: "dates"}
    counted, given = isinstance(learned.freq, int), pd.api.types.is_numeric_dtype(stamps.dtype)
    if counted != given:
        raise DataError(
            "other_frequency",
            expected=f"{kinds[counted]} as stamps, as in training",
            got=kinds[given],
            where=where,
            fix="write its stamps as those of the table that was learned from, or fit on data of its kind",
        )


def known_ahead(
    panel: Panel,
    h: int,
    futr_df: Any,
    *,
    names: ColumnNames,
    known: tuple[str, ...],
    like: Mapping[str, str] = MappingProxyType({}),
) -> np.ndarray:
    """Values of the known-future columns at the h steps after each series, [N, h, K].

    ``like``: the decimal marks of the table that was learned from, for a file.
    Raises ``DataError`` for missing columns or stamps, text, infinities and stamps with different values.
    """
    frame = for_every_target(_future_table(futr_df, names, known, like), panel.ids, names)
    if ID not in frame.columns:
        if len(panel) > 1:
            raise DataError(
                "missing_columns",
                expected=f"an id column for {len(panel)} series",
                got="none",
                where="futr_df",
                fix="add the id column",
            )
        frame = frame.assign(**{ID: panel.ids[0]})
    check_kind(frame[TIME], panel, f"futr_df, column {names.time!r}")
    stamps, wanted = panel.own_times(frame[TIME]), panel.future(h)
    index = pd.MultiIndex.from_arrays([_as_text(plain_ids(frame[ID])), stamps])
    frame = _numbers_ahead(frame, known).set_axis(index)
    if frame.index.has_duplicates:
        frame = frame[~frame.reset_index(names=[ID, TIME]).duplicated().to_numpy()]
    if frame.index.has_duplicates:
        twice = frame.index[frame.index.duplicated()][0]
        raise DataError(
            "duplicate_stamps",
            expected="one row per series and stamp",
            got="rows with different values",
            where=f"futr_df, series {twice[0]!r}, {_shown(panel, twice[1])}",
            fix="aggregate or drop the duplicates",
        )
    own = _as_text(panel.ids)
    asked = pd.MultiIndex.from_arrays([np.repeat(own, h), wanted.ravel()])
    place = frame.index.get_indexer(asked)
    if (place < 0).any():
        first = asked[int(np.argmax(place < 0))]
        given = np.unique(index.get_level_values(0))
        if not pd.Index(given).isin(own).any():
            raise DataError(
                "missing_future",
                expected=f"rows of the series {', '.join(map(repr, own[:5]))}",
                got=f"none of them, but of {', '.join(map(repr, given[:5]))}",
                where=f"futr_df, column {names.id!r}",
                fix="write ids as in the table that was learned from",
            )
        last = panel.offsets[1 + int(np.argmax(own == first[0]))] - 1
        raise DataError(
            "missing_future",
            expected=f"every stamp of the next {h} steps of {len(panel)} series",
            got=f"{int((place < 0).sum())} missing",
            where=f"futr_df, series {first[0]!r}, first missing {_shown(panel, first[1])}",
            fix="add these rows; stamps must continue each series' own grid, whose last row is "
            f"{_shown(panel, panel.times[last])}, also where its target is empty; of a series that ended long "
            "ago, forecast from a table without it",
        )
    return frame.to_numpy(np.float64)[place].reshape(len(panel), h, len(known))


def _shown(panel: Panel, stamp: Any) -> Any:
    return panel.local_times(np.array([stamp], panel.times.dtype)).iloc[0]


def _as_text(ids: Any) -> np.ndarray:
    return np.array([id_text(one) for one in ids], object)


def _numbers_ahead(frame: pd.DataFrame, known: tuple[str, ...]) -> pd.DataFrame:
    """The known-future columns as numbers, refused as strictly as those of a table to learn from."""
    columns = {}
    for column in known:
        columns[column], wrong = as_numbers(frame[column])
        wrong = wrong | np.isinf(columns[column])
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(
                "non_numeric",
                expected="finite numbers",
                got=f"{frame[column].iloc[row]!r} in {int(wrong.sum())} row(s)",
                where=f"futr_df, column {column!r}, {frame[TIME].iloc[row]}",
                fix=f"{how_to_convert(frame[column])}; leave unknown cells empty",
            )
    return pd.DataFrame(columns)
