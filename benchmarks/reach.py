"""Whole trainings on ETTh1 side by side: how soon ours is as good as each peer ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from benchmarks.targets import Case, Target, percent, spread

OURS, DEFAULT = "etth1_luong", "etth1_openbook"
PEERS = {
    "etth1_nf_lstm": "neuralforecast LSTM",
    "etth1_nf_nhits": "neuralforecast NHITS",
    "etth1_nf_patchtst": "neuralforecast PatchTST",
    "etth1_nf_nhits_100": "neuralforecast NHITS, 100 steps",
    "etth1_nf_patchtst_100": "neuralforecast PatchTST, 100 steps",
    "etth1_nf_tft": "neuralforecast TFT",
    "etth1_darts_lstm": "Darts LSTM",
    "etth1_pf_tft": "pytorch-forecasting TFT",
}
PROMISED = ("etth1_nf_lstm", "etth1_nf_patchtst", "etth1_nf_tft")
EQUALLED = (
    ("etth1_nf_nhits_100", "etth1_nf_nhits"),
    ("etth1_nf_patchtst_100", "etth1_nf_patchtst"),
)  # each is taken after as many steps as it does better with on the test part: in its favour
SHARE = 0.2
AS_GOOD = "etth1: `openbook` has the test MAE of the better of NHITS and PatchTST, in less time than either"
HEAD = (
    "model",
    "version",
    "steps",
    "s per step",
    "training, s",
    "validation MAE, °C",
    "test MAE, °C",
    "luong as good after, s",
    "share of its training",
    "yardstick, ms",
    "threads",
    "commit",
)


class Scored(NamedTuple):
    """A point of a training: seconds of training until there, optimiser step, validation MAE."""

    seconds: float
    step: int
    mae: float


def first_within(curve: Iterable[Sequence[float]], mae: float) -> Scored | None:
    """The first scored point at or below ``mae``; None where the training never came there.

    >>> first_within([(1.0, 25, 3.0), (2.0, 50, 1.9), (3.0, 75, 2.5)], 2.0)
    Scored(seconds=2.0, step=50, mae=1.9)
    """
    points = (Scored(float(seconds), int(step), float(value)) for seconds, step, value in curve)
    return next((point for point in points if point.mae <= mae), None)


class Reach(NamedTuple):
    """By seed: seconds of our training until it was as good as a peer, and their share of the peer's training.

    ``never``: seeds that did not come there; they are in neither list.
    """

    seconds: list[float]
    shares: list[float]
    never: list[int]

    def words(self) -> str:
        """The shares, and the seeds without one."""
        shares = percent(self.shares) if self.shares else ""
        never = f"never in seed {', '.join(map(str, self.never))}" if self.never else ""
        return "; ".join(part for part in (shares, never) if part)


def reach(ours: Case, peer: Case) -> Reach | None:
    """How soon our runs were as good as a peer's mean validation MAE; None where either was not measured."""
    if not ours or not peer:
        return None
    mae, whole = _mean(peer, "validation_mae"), _mean(peer, "seconds_fit")
    found = {seed: first_within(run["curve"], mae) for seed, run in zip(ours.seeds, ours.runs, strict=True)}
    seconds = [point.seconds for point in found.values() if point is not None]
    never = [seed for seed, point in found.items() if point is None]
    return Reach(seconds, [value / whole for value in seconds], never)


def reach_targets(cases: Mapping[str, Case]) -> list[Target]:
    """A fifth of the training time of the peers that this was promised for; met is left open where a peer's ended early."""
    ours, targets = cases.get(OURS, Case(OURS)), []
    for name in PROMISED:
        asked = f"etth1: `luong` is as good on validation as {PEERS[name]} after at most a fifth of its training time"
        peer = cases.get(name, Case(name))
        found = reach(ours, peer)
        if found is None:
            targets.append(Target(ours, asked))
            continue
        told = f"{found.words()} (its training: {_mean(peer, 'seconds_fit'):,.1f} s, {_steps(peer)} steps)"
        met = not found.never and fmean(found.shares) <= SHARE
        targets.append(Target(ours, asked, told, None if met and _ended_early(peer) else met))
    return [*targets, _default_target(cases)]


def _default_target(cases: Mapping[str, Case]) -> Target:
    """The default against the better of two published networks, in error and in time."""
    ours, each = (
        cases.get(DEFAULT, Case(DEFAULT)),
        [[cases[name] for name in pair if name in cases] for pair in EQUALLED],
    )
    if not ours or not all(each):
        return Target(ours, AS_GOOD)
    peers = [min(found, key=lambda case: _mean(case, "test_mae")) for found in each]
    mae, seconds = _mean(ours, "test_mae"), _mean(ours, "seconds_fit")
    best, least = (min(_mean(peer, name) for peer in peers) for name in ("test_mae", "seconds_fit"))
    told = f"{spread(_values(ours, 'test_mae'))} °C after {seconds:.1f} s, theirs {best:.3f} °C, the faster one {least:.1f} s"
    return Target(ours, AS_GOOD, told, mae <= best and seconds < least)


# What ``equalled`` told, to be said in another language.
TOLD = re.compile(
    r"(?P<mae>.+) °C after (?P<seconds>[\d.]+) s, theirs (?P<best>[\d.]+) °C, the faster one (?P<least>[\d.]+) s"
)


def reach_losses(cases: Mapping[str, Case], words: Mapping[str, str]) -> list[str]:
    """Peers that ours needs more training than, or never equals, and peers with the better test MAE, in words."""
    ours, lines = cases.get(OURS, Case(OURS)), []
    if not ours:
        return []
    mine = _values(ours, "test_mae")
    for name, label in PEERS.items():
        found = reach(ours, cases.get(name, Case(name)))
        if found is None:
            continue
        if found.never or fmean(found.shares) > 1:
            lines.append(words["slower"].format(peer=label, measured=found.words()))
        theirs = _values(cases[name], "test_mae")
        if fmean(theirs) < fmean(mine):
            label = label.replace(", 100 steps", words.get("hundred", ", 100 steps"))
            told = {"case": "etth1", "floor": label, "metric": words.get("test_mae", "test MAE, °C:"), "model": "luong"}
            lines.append(words["lost"].format(**told, best=spread(theirs), values=spread(mine)))
    return lines


def reach_rows(cases: Mapping[str, Case]) -> list[list[str]]:
    """Ours, then the peers, those that ours needs most of their training for first."""
    ours = cases.get(OURS, Case(OURS))
    mine = {"**openbook**": cases.get(DEFAULT, Case(DEFAULT)), "**luong**": ours}
    rows = [_row(label, "openbook", case, None) for label, case in mine.items() if case]
    known = [(name, cases[name], reach(ours, cases[name])) for name in PEERS if cases.get(name)]
    known.sort(key=lambda item: -_hardness(item[2]))
    libraries = {name: PEERS[name].partition(",")[0].rpartition(" ")[0].lower() for name in PEERS}
    return rows + [_row(PEERS[name], libraries[name], case, found) for name, case, found in known]


def reach_settings(cases: Mapping[str, Case]) -> list[list[str]]:
    """What the libraries' defaults were, by peer."""
    known = {label: cases[name] for name, label in PEERS.items() if cases.get(name)}
    return [
        [label, ", ".join(f"{k} {v}" for k, v in case.runs[0]["settings"].items())] for label, case in known.items()
    ]


def _row(label: str, library: str, case: Case, found: Reach | None) -> list[str]:
    yardstick = [fmean(run["yardstick_ms"]) for run in case.runs]
    return [
        label,
        case.facts("versions", library),
        _steps(case),
        spread(_values(case, "seconds_per_step")),
        spread(_values(case, "seconds_fit"), 1),
        *(spread(_values(case, part)) for part in ("validation_mae", "test_mae")),
        spread(found.seconds, 1) if found else "–",
        found.words() if found else "–",
        spread(yardstick, 1),
        case.facts("machine", "threads"),
        case.facts("commit"),
    ]


def _hardness(found: Reach | None) -> float:
    if found is None:
        return 0.0
    return float("inf") if found.never else fmean(found.shares)


def _ended_early(case: Case) -> bool:
    """Whether a training ran out of time: as many steps as asked for may have done better."""
    return any(run.get("asked_steps", run["steps"]) > run["steps"] for run in case.runs)


def _steps(case: Case) -> str:
    told = [
        f"{run['steps']} of {run['asked_steps']}"
        if run.get("asked_steps", run["steps"]) > run["steps"]
        else run["steps"]
        for run in case.runs
    ]
    return ", ".join(dict.fromkeys(map(str, told)))


def _values(case: Case, name: str) -> list[float]:
    return [float(run[name]) for run in case.runs]


def _mean(case: Case, name: str) -> float:
    return fmean(_values(case, name))


def is_reach(name: str) -> bool:
    """Whether a case belongs to this comparison."""
    return name in (OURS, DEFAULT) or name in PEERS
