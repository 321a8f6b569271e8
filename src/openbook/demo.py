"""The built-in cases of ``openbook demo``: simulated calls, and the real weekly CO₂ record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from openbook.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class DemoCase:
    """A table with its horizon, windows, models, known-future columns, and as many steps and seconds as minutes allow.

    ``past`` is the table to train on for the forecast; ``ahead`` the known-future columns of the h steps after it, which
    for simulated data are the last h steps of the simulation.
    """

    table: pd.DataFrame
    past: pd.DataFrame
    ahead: pd.DataFrame | None
    h: int
    n_windows: int
    models: tuple[str, ...]
    futr: tuple[str, ...]
    max_steps: int
    budget_s: float
    facts: dict[str, Any]


def demo_case(name: str, *, seed: int) -> DemoCase:
    """The case ``calls`` or ``co2``."""
    if name == "calls":
        return _calls(seed)
    if name == "co2":
        return _co2()
    raise UsageError("unknown_demo", expected="calls or co2", got=repr(name), where="--data", fix="choose one of them")


def _calls(seed: int) -> DemoCase:
    from openbook.data.calls import simulate_calls

    h, futr = 24, ("holiday", "temperature")
    whole = simulate_calls(seed=seed).frame
    left = whole.groupby("unique_id").cumcount(ascending=False)
    past = whole[left >= h].reset_index(drop=True)
    return DemoCase(
        table=past,
        past=past,
        ahead=whole.loc[left < h, ["unique_id", "ds", *futr]],
        h=h,
        n_windows=14,
        models=("openbook", "luong", "bahdanau", "seasonal_naive", "ridge", "mstl"),
        futr=futr,
        max_steps=800,
        budget_s=55.0,
        facts={"name": "calls", "simulated": True, "notes": _notes(whole)},
    )


def _co2() -> DemoCase:
    from openbook.data.co2 import load_co2

    table = load_co2()
    return DemoCase(
        table=table,
        past=table,
        ahead=None,
        h=26,
        n_windows=10,
        models=("openbook", "luong", "bahdanau", "seasonal_naive", "ridge", "auto_ets", "mstl"),
        futr=(),
        max_steps=600,
        budget_s=55.0,
        facts={"name": "co2", "simulated": False, "notes": _notes(table)},
    )


def _notes(table: pd.DataFrame) -> list[str]:
    notes = table.attrs.get("notes", ())
    return [notes] if isinstance(notes, str) else list(notes)
