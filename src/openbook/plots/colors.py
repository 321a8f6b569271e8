"""Colours of figures and page: safe for colour-blind readers, weights on a perceptually even scale from light to dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

INK = "#1d1d1f"
ACTUAL = "#1d1d1f"
MODELS = ("#0a5c99", "#c2500a", "#0f7f5f", "#9b4a86", "#8a6d00", "#4b4fa8")
FLOORS = ("#6f6f6f", "#9a948a", "#7d8790", "#b0a99c", "#5a5f63")
DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
# Eight even samples of "mako" (seaborn), reversed: lightness falls in equal steps.
WEIGHT_SCALE = ("#def5e5", "#8ad9b1", "#40b7ad", "#348fa7", "#37659e", "#413d7b", "#2e1e3b", "#0b0405")
FONT = (
    'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR", "Noto Sans CJK KR", "Malgun Gothic", '
    "sans-serif"
)


# Which models are floors, where nobody says.
KNOWN_FLOORS = frozenset(
    (
        "naive",
        "seasonal_naive",
        "window_average",
        "seasonal_window_average",
        "historic_average",
        "ridge",
        "auto_ets",
        "auto_arima",
        "auto_theta",
        "auto_ces",
        "mstl",
    )
)


def weight_scale() -> list[list[object]]:
    """The scale of weights in plotly's form."""
    return [[index / (len(WEIGHT_SCALE) - 1), color] for index, color in enumerate(WEIGHT_SCALE)]


def line_styles(models: Sequence[str], floors: set[str]) -> dict[str, dict[str, str]]:
    """Colour and dash of each model: networks in colour and solid, floors in grey and dashed.

    >>> line_styles(["openbook", "ridge"], {"ridge"})["ridge"]
    {'color': '#6f6f6f', 'dash': 'dash'}
    """
    networks = [model for model in models if model not in floors]
    simple = [model for model in models if model in floors]
    lines = ("solid", *DASHES)
    styles = {
        model: {"color": MODELS[i % len(MODELS)], "dash": lines[i // len(MODELS) % len(lines)]}
        for i, model in enumerate(networks)
    }
    for i, model in enumerate(simple):
        # Every round of dashes begins one colour on: no two of them are alike.
        styles[model] = {"color": FLOORS[(i + i // len(DASHES)) % len(FLOORS)], "dash": DASHES[i % len(DASHES)]}
    return styles


def faint(color: str) -> str:
    """The colour of a band around a line of ``color``.

    >>> faint("#0a5c99")
    'rgba(10,92,153,0.16)'
    """
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def figure_layout(title: str) -> dict[str, Any]:
    """What all figures share: fonts, margins, a title on the left."""
    return {
        "title": {"text": title, "x": 0.01, "font": {"size": 16}},
        "font": {"family": FONT, "color": INK, "size": 13},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 60, "r": 20, "t": 50, "b": 50},
        "template": "simple_white",
    }
