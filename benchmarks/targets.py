"""What was promised, judged from results: every target with what was measured, and whether it was met."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from benchmarks.measures import doubt
from openbook.forecast.floors import FLOORS

Run = Mapping[str, Any]
Scores = dict[str, dict[str, list[float]]]
OPEN = "not measured"


@dataclass(frozen=True)
class Case:
    """All runs of one case, one a seed."""

    name: str
    seeds: tuple[int, ...] = ()
    runs: tuple[Run, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.runs)

    def facts(self, *path: str) -> str:
        """The different texts the runs carry at a place, in their order."""
        found = []
        for run in self.runs:
            value: Any = run
            for name in path:
                value = value.get(name) if isinstance(value, Mapping) else None
            found.append("?" if value is None else str(value))
        return ", ".join(dict.fromkeys(found)) or "–"

    @property
    def command(self) -> str:
        """The command that measures the runs again, also where there is a result; N stands for the seed of several."""
        if not self.runs:
            return "–"
        text = str(self.runs[0].get("command", "–"))
        threads = self.runs[0].get("machine", {}).get("threads", 2)
        if text.startswith("python -m benchmarks."):
            text += "" if "--force" in text else " --force"
            text = text if threads == 2 or "--threads" in text else f"OPENBOOK_BENCH_THREADS={threads} {text}"
        return re.sub(r"--seed \d+", "--seed N", text) if len(self.runs) > 1 else text

    def scores(self) -> Scores:
        """Values of every metric by model over the runs; only what was scored, best mean MASE first."""
        found: Scores = {}
        for run in self.runs:
            for row in run.get("scores", ()):
                mine = found.setdefault(str(row["model"]), {})
                for metric, value in row.items():
                    if metric != "model" and value is not None:
                        mine.setdefault(metric, []).append(float(value))
        return dict(sorted(found.items(), key=lambda item: fmean(item[1].get("mase", [float("inf")]))))

    def coverage(self, model: str, level: int) -> list[float]:
        """Shares of the truth inside a model's band."""
        found = [run.get("coverage", {}).get(model, {}).get(str(level)) for run in self.runs]
        return [float(value) for value in found if value is not None]


class Target(NamedTuple):
    """One promise: ``met`` is None where nothing was measured."""

    case: Case
    asked: str
    measured: str = OPEN
    met: bool | None = None


def read_cases(folder: Path) -> dict[str, Case]:
    """The results of a folder by case; files are named ``<case>-<seed>.json``."""
    found: dict[str, list[tuple[int, Run]]] = {}
    for path in sorted(folder.glob("*-*.json")):
        name, _, seed = path.stem.rpartition("-")
        found.setdefault(name, []).append((int(seed), json.loads(path.read_text(encoding="utf-8"))))
    ordered = {name: sorted(runs, key=lambda run: run[0]) for name, runs in found.items()}
    return {
        name: Case(name, tuple(seed for seed, _ in runs), tuple(run for _, run in runs))
        for name, runs in ordered.items()
    }


def spread(values: Sequence[float], digits: int = 3, *, signed: bool = False) -> str:
    """Mean ± standard deviation; the mean alone of a single value, a dash of none.

    >>> spread([1.0, 3.0], 1), spread([0.25]), spread([])
    ('2.0 ± 1.4', '0.250', '–')
    """
    if not values:
        return "–"
    mean = f"{fmean(values):{'+' if signed else ''},.{digits}f}".replace("-", "−")
    return f"{mean} ± {stdev(values):,.{digits}f}" if len(values) > 1 else mean


def percent(values: Sequence[float], digits: int = 1, *, signed: bool = False) -> str:
    """Shares as ``spread`` in per cent.

    >>> percent([0.1234]), percent([-0.25], signed=True)
    ('12.3 %', '−25.0 %')
    """
    return f"{spread([100 * value for value in values], digits, signed=signed)} %" if values else "–"


def ours(scores: Scores) -> list[str]:
    """The models of ours that were asked for, best first."""
    return [model for model in scores if model not in FLOORS]


def main_targets(cases: Mapping[str, Case]) -> list[Target]:
    """Targets of the main job and of the reference work's models; what can not be told from the results is not measured."""
    case = {name: cases.get(name, Case(name)) for name in _CASES}
    lift = ((case["vic_elec"], 0.25), (case["bike_hour"], 0.20), (case["epf_np"], 0.20))
    quick = "vic_elec: the whole command within 15 minutes"
    step = "gathering windows takes at most 5 % of a training step of `luong`"
    memory, duration = "`luong`: 10,000 series within 24 GB", "`luong`: 10,000 series fitted and forecast within 600 s"
    return [
        *(_below_seasonal_naive(which, share) for which, share in lift),
        _not_worse_than_ridge(case["vic_elec"]),
        _at_most(case["vic_elec"], quick, lambda run: run["seconds"], 900, "s"),
        *(_covered(case["vic_elec"], level) for level in (80, 95)),
        _campaign_first(case["planted_lag"]),
        _noise_least(case["planted_lag"]),
        _at_most(case["start_up"], "`import openbook` adds at most 0.5 s", lambda run: run["import_adds_s"], 0.5, "s"),
        _at_most(case["start_up"], "`openbook --help` within 0.7 s", lambda run: run["help_s"], 0.7, "s"),
        _at_most(case["gathering"], step, lambda run: 100 * max(run["share_of_step"].values()), 5, "%"),
        _at_most(case["many_series"], memory, lambda run: run["peak_gb"], 24, "GB"),
        _at_most(case["many_series"], duration, lambda run: run["seconds_fit"] + run["seconds_predict"], 600, "s"),
        _at_most(case["demo"], "`openbook demo` within 300 s", lambda run: run["seconds"], 300, "s"),
        _default_beats_floors(case["demo"]),
        *_reference_targets(case),
    ]


_REFERENCE = (
    "sml2010_nowcast",
    "sml2010_forecast",
    "nasdaq100_nowcast",
    "nasdaq100_forecast",
    "beijing_pm25",
    "appliances",
    "vic_days",
    "darnn_step",
)
_MAIN = ("vic_elec", "bike_hour", "epf_np", "planted_lag", "start_up", "gathering", "many_series", "demo")
_CASES = (*_MAIN, *_REFERENCE)


def _reference_targets(case: Mapping[str, Case]) -> list[Target]:
    """The reference work's models on the protocols of their papers."""
    return [
        _score_at_most(case["sml2010_nowcast"], "`darnn` nowcast RMSE at most 0.0170 °C", "rmse", 0.0170, 4),
        _score_at_most(case["sml2010_forecast"], "`darnn` forecast RMSE at most 0.0195 °C", "rmse", 0.0195, 4),
        _of_persistence(case["nasdaq100_nowcast"]),
        _score_at_most(case["beijing_pm25"], "`darnn` RMSE at most 20.9", "rmse", 20.9, 2),
        _score_at_most(case["beijing_pm25"], "`darnn` MAE at most 11.4", "mae", 11.4, 2),
        _noise_low(case["appliances"]),
        _gaps_together(case["vic_days"]),
        _steps_at_most(case["darnn_step"], "two_pass", 2),
        _steps_at_most(case["darnn_step"], "recurrent", 6),
    ]


def _metric(case: Case, model: str, metric: str) -> list[float]:
    return [row[metric] for run in case.runs for row in run["scores"] if row["model"] == model]


def _score_at_most(case: Case, asked: str, metric: str, limit: float, digits: int) -> Target:
    asked = f"{case.name}: {asked}"
    if not case:
        return Target(case, asked)
    mine, ridge = (_metric(case, model, metric) for model in ("darnn", "ridge"))
    told = f"{spread(mine, digits)} (ridge {spread(ridge, digits)}){doubt(mine, limit)}"
    return Target(case, asked, told, fmean(mine) <= limit)


def _of_persistence(case: Case) -> Target:
    asked = "nasdaq100_nowcast: `darnn` RMSE at most 0.30 of persistence"
    if not case:
        return Target(case, asked)
    naive = _metric(case, "naive", "rmse")
    mine, ridge = (
        [error / base for error, base in zip(_metric(case, model, "rmse"), naive, strict=True)]
        for model in ("darnn", "ridge")
    )
    return Target(case, asked, f"{spread(mine)} (ridge {spread(ridge)})", fmean(mine) <= 0.30)


def _noise_low(case: Case) -> Target:
    asked = "appliances: the noise columns rank in the lowest third of the inputs' weights, in every seed"
    if not case:
        return Target(case, asked)
    ranks = [run["rank_from_below"] for run in case.runs]
    met = all(place <= run["inputs"] / 3 for run in case.runs for place in run["rank_from_below"].values())
    told = "; ".join(", ".join(f"{name} {place}" for name, place in rank.items()) for rank in ranks)
    return Target(case, asked, f"ranks from below, of {case.runs[0]['inputs']}: {told}", met)


def _gaps_together(case: Case) -> Target:
    asked = "vic_days: `day_to_day` with four gaps at least 5 % below its best single gap in MAE"
    if not case:
        return Target(case, asked)
    means = {name: fmean(_metric(case, name, "mae")) for name in case.scores() if name.startswith("day_to_day")}
    together = next(name for name in means if "," in name)
    best = min((name for name in means if "," not in name), key=means.__getitem__)
    gains = [a / b - 1 for a, b in zip(_metric(case, together, "mae"), _metric(case, best, "mae"), strict=True)]
    return Target(case, asked, f"{percent(gains, signed=True)} against {best}", fmean(gains) <= -0.05)


def _steps_at_most(case: Case, form: str, limit: int) -> Target:
    asked = f"darnn_step: a step of `darnn` {form} takes at most {limit} times a step of `luong`, 24 steps ahead"
    if not case:
        return Target(case, asked)
    values = [run["step"]["times luong, H 24"][form] for run in case.runs]
    return Target(case, asked, f"{spread(values, 2)} ×", fmean(values) <= limit)


def _best(case: Case) -> str | None:
    """Our model with the best mean MASE; None where none was scored."""
    scores = case.scores()
    return next((model for model in ours(scores) if "mase" in scores[model]), None)


def _mase(run: Run, model: str) -> float | None:
    return next((row.get("mase") for row in run["scores"] if row["model"] == model), None)


def _below_seasonal_naive(case: Case, share: float) -> Target:
    asked = f"{case.name}: MASE of the better of our models at least {share:.0%} below seasonal naive".replace(
        "%", " %"
    )
    scores, best = case.scores(), _best(case)
    if not case or "mase" not in scores.get("seasonal_naive", {}):
        return Target(case, asked)
    if best is None:
        return Target(case, asked, "– (no forecast)", False)
    pairs = [(_mase(run, best), _mase(run, "seasonal_naive")) for run in case.runs]
    gains = [1 - mine / floor for mine, floor in pairs if mine is not None and floor]
    return Target(case, asked, f"{best} {percent([-gain for gain in gains], signed=True)}", fmean(gains) >= share)


def _not_worse_than_ridge(case: Case) -> Target:
    asked = f"{case.name}: the better of our models not worse than ridge in MASE"
    scores, best = case.scores(), _best(case)
    if not case or "mase" not in scores.get("ridge", {}):
        return Target(case, asked)
    if best is None:
        return Target(case, asked, "– (no forecast)", False)
    mine, ridge = scores[best]["mase"], scores["ridge"]["mase"]
    return Target(case, asked, f"{best} {spread(mine)}, ridge {spread(ridge)}", fmean(mine) <= fmean(ridge))


def _default_beats_floors(case: Case) -> Target:
    asked = f"{case.name}: `openbook` beats every floor in MASE"
    mase = {model: found["mase"] for model, found in case.scores().items() if "mase" in found}
    floors = [model for model in mase if model in FLOORS]
    if "openbook" not in mase or not floors:
        return Target(case, asked)
    best = min(floors, key=lambda model: fmean(mase[model]))
    told = f"openbook {spread(mase['openbook'])}, {best} {spread(mase[best])}"
    return Target(case, asked, told, fmean(mase["openbook"]) < fmean(mase[best]))


def _covered(case: Case, level: int) -> Target:
    asked = f"{case.name}: the {level} % bands of our models cover {level - 4} to {level + 4} %"
    shares = {model: case.coverage(model, level) for model in ours(case.scores())}
    known = {model: values for model, values in shares.items() if values}
    if not known:
        return Target(case, asked)
    met = all(abs(fmean(values) - level / 100) <= 0.04 + 1e-9 for values in known.values())
    return Target(case, asked, ", ".join(f"{model} {percent(values)}" for model, values in known.items()), met)


def _campaign_first(case: Case) -> Target:
    asked = "planted_lag: the planted cell comes first outside daily and weekly lags, in every seed"
    if not case:
        return Target(case, asked)
    told, met = [], True
    for seed, run in zip(case.seeds, case.runs, strict=True):
        feature, lag = run["planted"]["feature"], int(run["planted"]["lag"])
        cells = [(str(cell["feature"]), int(cell["lag"])) for cell in run["first_outside_rhythm"]]
        kernel = [(feature, lag - 1), (feature, lag + 1)]  # calls of the same letters, an hour early or late
        rivals = [cell for cell in cells if cell not in kernel]
        met = met and rivals[:1] == [(feature, lag)]
        named = " > ".join(f"{name} {at}{' (kernel)' if (name, at) in kernel else ''}" for name, at in cells[:3])
        told.append(f"[{seed}] {named}" if len(case.runs) > 1 else named)
    return Target(case, asked, "; ".join(told), met)


def _noise_least(case: Case) -> Target:
    asked = "planted_lag: the noise columns get the smallest shares of the look-ups, in every seed"
    if not case:
        return Target(case, asked)
    told, met = [], True
    for seed, run in zip(case.seeds, case.runs, strict=True):
        shares = {str(name): float(value) for name, value in run["shares"].items()}
        noise = max((name for name in shares if name.startswith("noise")), key=shares.__getitem__)
        least = min((name for name in shares if not name.startswith("noise")), key=shares.__getitem__)
        met = met and shares[noise] < shares[least]
        words = f"{noise} {percent([shares[noise]])}, {least} {percent([shares[least]])}"
        told.append(f"[{seed}] {words}" if len(case.runs) > 1 else words)
    return Target(case, asked, "; ".join(told), met)


def _at_most(case: Case, asked: str, figure: Callable[[Run], float], limit: float, unit: str) -> Target:
    if not case:
        return Target(case, asked)
    values = [float(figure(run)) for run in case.runs]
    return Target(case, asked, f"{spread(values, 3 if limit < 1 else 1)} {unit}", fmean(values) <= limit)
