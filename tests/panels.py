"""Panels that tests may write into."""

from __future__ import annotations

from dataclasses import replace

from openbook.data.panel import Panel


def writable(panel: Panel) -> Panel:
    """The same panel with memory of its own: frames of pandas 3 share theirs read-only."""
    return replace(panel, target=panel.target.copy(), hist=panel.hist.copy(), futr=panel.futr.copy())
