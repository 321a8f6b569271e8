"""Static columns: one value per series, numbers as they are, text as one column of 0 and 1 per category that was learned."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from openbook.data.ids import plain_ids
from openbook.data.panel import ID, TIME, Panel, as_numbers
from openbook.errors import DataError

log = logging.getLogger("openbook")

MOST_CATEGORIES = 64
_NAMED = 10
# Column of text -> its categories that have a column of their own, the most frequent first.
Categories = Mapping[str, tuple[str, ...]]


def text_columns(table: pd.DataFrame, static: Sequence[str]) -> tuple[str, ...]:
    """Which static columns hold categories: pandas categoricals, and text that is not all numbers.

    >>> text_columns(pd.DataFrame({"size": [1.0, 2.0], "kind": ["kiosk", "store"]}), ["size", "kind"])
    ('kind',)
    """
    return tuple(name for name in static if name in table.columns and _is_text(table[name]))


def _is_text(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    plain = column.dtype == object or pd.api.types.is_string_dtype(column.dtype)
    return plain and bool(as_numbers(column)[1].any())


def with_labels(panel: Panel, table: pd.DataFrame, columns: Sequence[str]) -> Panel:
    """The panel of a canonical table with the text of its static columns, one label per series; refuses columns that change.

    Raises ``DataError``: ``missing_columns``, ``not_static``.
    """
    if not columns:
        return panel
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise DataError(
            "missing_columns",
            expected=f"the static columns {', '.join(map(repr, columns))}",
            got=f"no {', '.join(map(repr, absent))}",
            where="table header",
            fix="add the columns the forecaster was fitted with",
        )
    ids = plain_ids(table[ID])
    labels = [_label_of_each(panel, ids, table[TIME], table[name]) for name in columns]
    return replace(panel, label_columns=tuple(columns), labels=np.stack(labels, axis=1))


def _label_of_each(panel: Panel, ids: pd.Series, times: pd.Series, column: pd.Series) -> np.ndarray:
    """The label of every series [N], None where all its rows are empty."""
    codes, values = pd.factorize(column)
    names = np.array([*map(_label, values), None], dtype=object)[codes]
    rows = pd.DataFrame({"id": ids.to_numpy(), "label": names, "time": times.to_numpy()}).dropna(subset=["label"])
    seen = rows.drop_duplicates(["id", "label"])
    twice = seen["id"].duplicated()
    if twice.any():
        second = seen[twice].iloc[0]
        first = seen.loc[seen["id"] == second["id"], "label"].iloc[0]
        raise _not_static(f"{first!r} and {second['label']!r}", column.name, second["id"], second["time"])
    found = seen.set_index("id")["label"].reindex(pd.Index(panel.ids, dtype=object)).astype(object)
    return found.where(found.notna(), None).to_numpy(dtype=object)


def _label(value: Any) -> str | None:
    """A category as text, the same from a file and from a frame: 7, 7.0 and '7' are one; blank text is missing."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return (str(int(value)) if whole else str(value).strip()) or None


def learn_categories(panel: Panel) -> dict[str, tuple[str, ...]]:
    """The categories of each text column that series of a training part have: at most 64, most frequent (by series) first.

    A column with one category throughout has none to tell apart, and so no column.
    """
    if panel.labels is None:
        return {}
    return {name: _learned(labels) for name, labels in zip(panel.label_columns, panel.labels.T, strict=True)}


def _learned(labels: np.ndarray) -> tuple[str, ...]:
    counts = Counter(labels.tolist())
    if len(counts) < 2:
        return ()
    counts.pop(None, None)
    return tuple(sorted(counts, key=lambda label: (-counts[label], label))[:MOST_CATEGORIES])


def encoded(panel: Panel, categories: Categories) -> Panel:
    """The panel with a static column ``column=value`` of 0 and 1 per learned category in place of its labels.

    Series of other categories, and of none, are 0 in all of them: one warning names these.

    >>> from openbook.data.panel import make_panel
    >>> table = pd.DataFrame({"unique_id": ["a", "b"], "ds": [1, 1], "y": [1.0, 2.0], "kind": ["kiosk", "store"]})
    >>> panel = encoded(with_labels(make_panel(table, freq=1), table, ["kind"]), {"kind": ("store", "kiosk")})
    >>> panel.static, panel.stat.tolist()
    (('kind=store', 'kind=kiosk'), [[0.0, 1.0], [1.0, 0.0]])
    """
    if panel.labels is None:
        return panel
    labels = dict(zip(panel.label_columns, panel.labels.T, strict=True))
    _warn_of_others(labels, categories)
    marks = [labels[column] == value for column, values in categories.items() for value in values]
    names = tuple(f"{column}={value}" for column, values in categories.items() for value in values)
    _check_free(names, (*panel.hist_columns, *panel.known_columns))
    numbers = [] if panel.stat is None else [panel.stat]
    stat_NS = np.concatenate([*numbers, np.stack(marks, axis=1)], axis=1, dtype=np.float64) if marks else panel.stat
    return replace(panel, stat=stat_NS, static=(*panel.static, *names), label_columns=(), labels=None)


def _warn_of_others(labels: dict[str, np.ndarray], categories: Categories) -> None:
    told = []
    for column, values in categories.items():
        odd = labels[column][~np.isin(labels[column], np.array(values, object))] if values else ()
        names = [f"{value!r}" if value is not None else "missing" for value in dict.fromkeys(odd)]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            told.append(f"{column}: {', '.join(names[:_NAMED])}{more} ({len(odd)} series)")
    if told:
        log.warning("categories without a column of their own are read as none of the known ones: %s", "; ".join(told))


def _check_free(names: Sequence[str], taken: Sequence[str]) -> None:
    double = [name for name in names if name in taken]
    if double:
        raise DataError(
            "duplicate_columns",
            expected="every column name once",
            got=f"a column {double[0]!r}, and a category of that name",
            where="static columns",
            fix="rename the column",
        )


def with_static(panel: Panel, columns: Sequence[str]) -> Panel:
    """The panel with the last of its known-future columns, ``columns``, as static ones: the first value of each series.

    Raises ``DataError`` (``not_static``) where a column changes within a series; cells may be empty.
    """
    if not columns:
        return panel
    moving = len(panel.futr_columns) - len(columns)
    owner = np.repeat(np.arange(len(panel)), panel.lengths)
    stat_NS = np.full((len(panel), len(columns)), np.nan)
    for place, name in enumerate(columns):
        values = panel.futr[:, moving + place]
        seen = np.flatnonzero(np.isfinite(values))
        having, first = np.unique(owner[seen], return_index=True)
        stat_NS[having, place] = values[seen[first]]
        moved = seen[values[seen] != stat_NS[owner[seen], place]]
        if len(moved):
            row = int(moved[0])
            got = f"{stat_NS[owner[row], place]:g} and {values[row]:g}"
            raise _not_static(got, name, panel.ids[owner[row]], panel.times[row])
    return replace(
        panel,
        futr=np.ascontiguousarray(panel.futr[:, :moving]),
        futr_columns=panel.futr_columns[:moving],
        static=tuple(columns),
        stat=stat_NS,
    )


def _not_static(got: str, column: Any, series: Any, time: Any) -> DataError:
    return DataError(
        "not_static",
        expected="one value per series in a static column",
        got=got,
        where=f"column {column!r}, series {series!r}, {time}",
        fix="move the column to futr_exog_list or hist_exog_list",
    )
