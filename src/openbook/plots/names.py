"""Names in figures: as plain text, cut where they are long, and axes of bars that carry them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from openbook.plots.cube import ALL_INPUTS

MOST_BARS = 16
_LONGEST = 24


def plain(text: object) -> str:
    """Text as figures take it: they read some HTML, but know no name of a quotation mark.

    >>> plain('19" <monitor>')
    '19" &lt;monitor&gt;'
    """
    return escape(str(text), quote=False)


def share_format(largest: float) -> str:
    """How the ticks of an axis of shares up to ``largest`` are written: no two of them alike.

    >>> share_format(0.3), share_format(0.013), share_format(0.002)
    ('.1~%', '.2~%', '.3~%')
    """
    return f".{1 if largest > 0.02 or not largest > 0 else min(6, math.ceil(-math.log10(largest)))}~%"


def step_ticks(count: int) -> dict[str, Any]:
    """Ticks on whole steps alone, where a figure would set some between them."""
    return {"dtick": 1, "tick0": 1} if count <= 8 else {}


def bar_names(features: Sequence[str]) -> list[str]:
    """Names beside bars, long ones cut.

    >>> bar_names(["temperature_of_the_northern_station", "(all inputs)"])
    ['temperature_of_the_nort…', 'all inputs']
    """
    short = (name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in features)
    return ["all inputs" if name == ALL_INPUTS else plain(name) for name in short]


def bar_columns(names: Sequence[str]) -> dict[str, Any]:
    """Widths of a map and of bars whose names stand between the two."""
    return {"column_widths": [0.74, 0.26], "horizontal_spacing": min(0.25, 0.045 + 0.0075 * max(map(len, names)))}


def name_axis(names: Sequence[str]) -> dict[str, Any]:
    """An axis of names by position, first on top: long names may look alike once they are cut."""
    return {"tickvals": np.arange(len(names)), "ticktext": list(names), "autorange": "reversed"}
