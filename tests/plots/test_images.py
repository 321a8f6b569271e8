from __future__ import annotations

import importlib.util
import os
import shutil
import struct
from pathlib import Path

import plotly.graph_objects as go
import pytest

from openbook.errors import MissingDependencyError, UsageError
from openbook.plots import write_figure

HAS_BROWSER = any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))) or "BROWSER_PATH" in os.environ
needs_kaleido = pytest.mark.skipif(importlib.util.find_spec("kaleido") is None, reason="kaleido is not installed")
needs_browser = pytest.mark.skipif(not HAS_BROWSER, reason="no chromium or google-chrome on the path to draw with")


def figure() -> go.Figure:
    return go.Figure(go.Bar(x=[1, 2], y=[3, 4]), layout={"height": 300})


def hide_kaleido(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "kaleido" else find(name, *rest)
    )


@needs_kaleido
@needs_browser
@pytest.mark.browser
@pytest.mark.slow
def test_pictures_have_their_size(tmp_path: Path) -> None:
    png = write_figure(figure(), tmp_path / "a.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", png[16:24]) == (2200, 600)
    assert "<svg" in write_figure(figure(), tmp_path / "a.svg").read_text()[:200]
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_pages_need_no_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide_kaleido(monkeypatch)
    assert "Plotly" in write_figure(figure(), tmp_path / "a.html").read_text()


def test_without_kaleido_the_fix_is_said_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_kaleido(monkeypatch)
    (tmp_path / "a.png").write_text("old")
    with pytest.raises(MissingDependencyError, match=r'pip install "openbook\[png\]", or write an .html file'):
        write_figure(figure(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old"


@needs_kaleido
@pytest.mark.parametrize("browser", ["/nowhere/chromium", "/bin/false"])
def test_without_a_browser_the_fix_is_said(browser: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", browser)
    with pytest.raises(UsageError, match=r"Chrome or Chromium.*apt install chromium.*write an .html file"):
        write_figure(figure(), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.html, \.png, \.svg"):
        write_figure(figure(), tmp_path / "a.gif")
