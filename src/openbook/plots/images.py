"""Figures as files: a page, or a picture drawn by a browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.errors import MissingDependencyError, UsageError
from openbook.files import write_text_whole, write_whole

if TYPE_CHECKING:
    import plotly.graph_objects as go

PICTURES = (".png", ".svg")
FIGURES = (".html", *PICTURES)
_WIDTH, _HEIGHT = 1100, 640
_OR_HTML = "or write an .html file, which needs neither"


def check_pictures() -> None:
    """Refuse early where pictures can not be drawn; raises ``MissingDependencyError``."""
    if importlib.util.find_spec("kaleido") is None:
        raise MissingDependencyError(
            "no_kaleido",
            expected="the package kaleido (1 or later) and a Chrome or Chromium to draw pictures with",
            got="no kaleido",
            where=" and ".join(PICTURES),
            fix=f'pip install "openbook[png]", {_OR_HTML}',
        )


def write_figure(figure: go.Figure, path: str | Path) -> Path:
    """Write a plotly figure as its suffix says, .html, .png or .svg, whole or not at all.

    A picture is 1,100 points wide (.png: twice as many pixels) and as high as the figure asks. Raises
    ``MissingDependencyError`` without kaleido and ``UsageError`` where no browser can be run.
    """
    path = Path(path)
    if path.suffix not in FIGURES:
        raise UsageError(
            "bad_suffix", expected=f"one of {', '.join(FIGURES)}", got=repr(path.name), where="path", fix="choose one"
        )
    if path.suffix == ".html":
        return write_text_whole(path, figure.to_html(include_plotlyjs=True))
    picture = _drawn(figure, path.suffix[1:])
    return write_whole(path, lambda draft: draft.write_bytes(picture))


def _drawn(figure: go.Figure, kind: str) -> bytes:
    check_pictures()
    import kaleido
    from choreographer import errors

    size = {"width": figure.layout.width or _WIDTH, "height": figure.layout.height or _HEIGHT}
    options: dict[str, Any] = {"format": kind, "scale": 2 if kind == "png" else 1, **size}
    # Formulas would be fetched from the network; there are none.
    page = kaleido.PageGenerator(mathjax=False)
    try:
        # The sandbox stays off, as kaleido has it: Chromium refuses to start with it as root.
        return kaleido.calc_fig_sync(figure, opts=options, kopts={"page_generator": page})
    except errors.ChromeNotFoundError as error:
        raise _no_browser("none was found") from error
    except (errors.BrowserFailedError, errors.BrowserClosedError, errors.BrowserDepsError) as error:
        raise _no_browser("it does not start: " + (str(error).strip() or type(error).__name__)) from error


def _no_browser(got: str) -> UsageError:
    return UsageError(
        "no_browser",
        expected="a Chrome or Chromium that runs, to draw pictures with",
        got=got,
        where=" and ".join(PICTURES),
        fix=f"install one (e.g. apt install chromium, or kaleido_get_chrome), name it in BROWSER_PATH, {_OR_HTML}",
    )
