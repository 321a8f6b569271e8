"""What was promised of speed, judged from results: on every processor that it was measured on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.measures import late_exponent
from benchmarks.targets import Case, Target, spread

_SPEED = tuple(
    f"speed_{name}"
    for name in ("attention", "bahdanau", "darnn", "luong", "kept", "length", "latency", "compilation", "gpu")
)


def speed_targets(cases: Mapping[str, Case]) -> list[Target]:
    """Long books: what a look-up costs beside the loops people write and beside no look-up at all."""
    case = {name: cases.get(name, Case(name)) for name in _SPEED}
    one, long = ("1 queries", "times fused"), case["speed_length"]
    found = [
        _ratio(
            case["speed_attention"], "one look-up at least 18 times as fast as plain tanh", (*one, "plain tanh"), 18
        ),
        _ratio(case["speed_attention"], "one look-up not slower than dot attention", (*one, "dot"), 1),
        *_step_targets(case["speed_bahdanau"], case["speed_darnn"], case["speed_luong"]),
        *_step_targets(*[case["speed_kept"]] * 3, of=("bahdanau", "darnn", "luong")),
        _ratio(case["speed_darnn"], "at least 50 times less activation memory", (_M, "plain loop"), 50),
    ]
    for model in ("luong", "bahdanau", "darnn over segments"):
        asked = f"time of {model} grows with T to the power of at most 1.1"
        found.append(
            _ratio(long, asked, (model, "exponent"), 1.1, most=True, unit="", more=late_exponent(long.runs, model))
        )
    for model in ("luong", "bahdanau", "openbook"):
        asked = f"{model} forecasts one window with its weights within 10 ms"
        found.append(_ratio(case["speed_latency"], asked, ("ms", model), 10, most=True, unit="ms"))
    gpu = (("luong", 1.5), ("bahdanau", 1.5))
    for model, limit in gpu:
        asked = f"a step of {model} on an NVIDIA GPU at most {limit:g} times a bare cuDNN LSTM's"
        found.append(_ratio(case["speed_gpu"], asked, ("times bare LSTM", model), limit, most=True))
    asked = "a step of DA-RNN on an NVIDIA GPU at least 30 times as fast as the plain loop"
    found.append(_ratio(case["speed_gpu"], asked, (_D, "plain loop"), 30))
    asked = "kernels compile within 15 s, once"
    found.append(_ratio(case["speed_compilation"], asked, ("seconds", "compiling"), 15, most=True, unit="s"))
    return found


_B, _D, _M = "times bahdanau", "times darnn", "activations, times darnn"


def _step_targets(bahdanau: Case, darnn: Case, luong: Case, of: tuple[str, ...] = ()) -> list[Target]:
    """What a training step takes beside a plain loop's and a bare LSTM's; ``of``: the models of a case that holds all three."""
    said, inside = (f"{of[0]}: ", f"{of[1]}: ") if of else ("", ""), [(name,) for name in of] or [()] * 3
    loop, bare = (
        "a step at least {} times as fast as the plain loop",
        "a step at most 2.5 times a bare LSTM's with its readout",
    )
    found = [
        _ratio(bahdanau, said[0] + loop.format(18), (*inside[0], _B, "plain loop"), 18),
        _ratio(bahdanau, said[0] + bare, (*inside[0], _B, "bare LSTM"), 1 / 2.5, inverse=True),
        _ratio(darnn, said[1] + loop.format(12), (*inside[1], _D, "plain loop"), 12),
    ]
    for T in (200, 1000):
        for kind in ("time", "joint"):
            asked = f"luong over {kind} at T {T} at most 1.15 times a bare LSTM"
            path = (*inside[2], f"T {T}", "times bare LSTM", f"luong, {kind}")
            found.append(_ratio(luong, asked, path, 1.15, most=True))
    return found


def _ratio(
    case: Case,
    asked: str,
    path: tuple[str, ...],
    limit: float,
    *,
    most: bool = False,
    inverse: bool = False,
    unit: str = "×",
    more: str = "",
) -> Target:
    """A figure of a speed case that shall be at least, or at most, so much, on every processor it was measured on; ``inverse``
    shows one over it. ``more``: what else the last run tells."""
    asked = f"{case.name}: {asked}"
    if not case:
        return Target(case, asked)
    values = [_found(run["speed"], path) for run in case.runs]
    if None in values:
        return Target(case, asked)
    told = [[value for value in values if value is not None]]
    texts = [f"{unit} {more}".strip()]
    for where, facts in case.runs[0].get("elsewhere", {}).items():
        if (other := _found(facts["speed"], path)) is not None:
            told.append([other])
            texts.append(f"{unit} on {short(where)} at {facts['commit']}".strip())
    shown = [[1 / value for value in part] if inverse else part for part in told]
    met = all(fmean(part) <= limit if most else fmean(part) >= limit for part in told)
    measured = "; ".join(f"{spread(part, 2)} {text}".rstrip() for part, text in zip(shown, texts, strict=True))
    return Target(case, asked, measured, met)


def _found(value: Any, path: Sequence[str]) -> float | None:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return None if value is None else float(value)


def short(processor: str) -> str:
    """A processor without its architecture.

    >>> short("x86_64 (AMD EPYC, family 26, model 2)"), short("arm64")
    ('AMD EPYC, family 26, model 2', 'arm64')
    """
    inside = re.search(r"\((.*)\)", processor)
    return inside[1] if inside else processor
