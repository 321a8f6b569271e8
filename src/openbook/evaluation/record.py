"""What a backtest leaves beside its figures: the facts that explain and repeat it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np

from openbook.data.panel import Panel
from openbook.forecast.floors import FLOORS
from openbook.version import __version__


def facts_of(
    asked: dict[str, Any],
    panel: Panel,
    given: Mapping[str, Panel],
    ran: Mapping[str, tuple[dict[str, Any], str | None]],
    facts: dict[str, Any],
    left_out: int,
) -> dict[str, Any]:
    """What is needed to understand and repeat a run; ``ran``: decisions of every model and floor, or why it failed.

    ``given``: the panel of each, whose inputs are told one by one where they differ from those of ``panel``.
    """
    stamps = panel.local_times(panel.times)
    data = {
        "rows": len(panel.times),
        "series": len(panel) - left_out,
        "left_out": left_out,
        "start": str(stamps.min()),
        "end": str(stamps.max()),
        "missing": int(np.isnan(panel.target).sum()),
    }
    inputs, by_model = _inputs_of(panel), {name: _inputs_of(own) for name, own in given.items()}
    targets = [str(name) for name in facts.get("targets", ())]
    return {
        "schema": 1,
        "openbook": __version__,
        "arguments": {
            **asked,
            **facts.get("arguments", {}),
        },
        **({"command": facts["command"]} if "command" in facts else {}),
        "freq": panel.freq,
        "target": "y" if len(targets) > 1 else facts.get("target", "y"),
        "targets": targets,
        "data": data | facts.get("data", {}),
        "inputs": inputs,
        **({"inputs_by_model": by_model} if any(own != inputs for own in by_model.values()) else {}),
        "decisions": {name: decisions for name, (decisions, _) in ran.items()},
        "failed": {name: failure for name, (_, failure) in ran.items() if failure is not None},
        "floors": [name for name in ran if name in FLOORS],
        "machine": machine(),
        "versions": versions(),
    }


def _inputs_of(panel: Panel) -> dict[str, list[str]]:
    """Names of a panel's inputs by role."""
    return {
        "futr": list(panel.futr_columns),
        "hist": list(panel.hist_columns),
        "stat": [*panel.static, *panel.label_columns],
    }


def machine() -> dict[str, Any]:
    """The machine a figure was measured on, without anything that names it."""
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}


def versions() -> dict[str, str]:
    """Versions of what computes."""
    packages = ("torch", "numpy", "numba", "llvmlite", "pandas", "utilsforecast", "statsforecast")
    found = {"openbook": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
