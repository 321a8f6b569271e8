"""What others published on the accuracy suites, and what was promised for ours: each promise judged from the results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, NamedTuple

from benchmarks.accuracy_results import Results
from benchmarks.measures import doubt
from benchmarks.suites import SUITES
from benchmarks.targets import Case, Target, percent, spread
from openbook.forecast.floors import FLOORS

OURS = "openbook"
NEITHER = f"{OURS}, without attention"
AGAIN = f"{OURS}, learned again"


class Published(NamedTuple):
    """Figures of a paper: means over the cases of a suite, by metric."""

    model: str
    window: str
    source: str
    mean: Mapping[str, float]


# Figures that were quoted from elsewhere: neither their tables nor their windows were looked up.
_DUET, _QUOTED, _UNKNOWN = "Qiu et al. 2025, quoted", "quoted, table not looked up", "not looked up"
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "etth1": (
        Published("DUET", _UNKNOWN, _DUET, {"mse": 0.398}),
        Published("SegRNN", "720", "Lin et al. 2023", {"mse": 0.408}),
        Published("PatchTST", _UNKNOWN, _QUOTED, {"mse": 0.419}),
    ),
    "etth2": (
        Published("DUET", _UNKNOWN, _DUET, {"mse": 0.334}),
        Published("SegRNN", "720", "Lin et al. 2023", {"mse": 0.346}),
    ),
    "ettm1": (
        Published("DUET", _UNKNOWN, _DUET, {"mse": 0.338}),
        Published("SegRNN", "720", "Lin et al. 2023", {"mse": 0.347}),
        Published("PatchTST", _UNKNOWN, _QUOTED, {"mse": 0.349}),
    ),
    "weather": (
        Published("DUET", _UNKNOWN, _DUET, {"mse": 0.218}),
        Published("SegRNN", "720", "Lin et al. 2023", {"mse": 0.223}),
    ),
    "exchange": (
        Published("DUET", _UNKNOWN, _DUET, {"mse": 0.280}),
        Published("DLinear", _UNKNOWN, _QUOTED, {"mse": 0.292}),
    ),
    "illness": (
        Published("DUET", _UNKNOWN, _DUET, {"mse": 1.616}),
        Published("iTransformer", _UNKNOWN, _QUOTED, {"mse": 1.857}),
    ),
    **{
        f"epf_{market}_past": (Published("TimeXer, mean of five markets", "168", "Wang et al. 2024", {"mse": 0.307}),)
        for market in ("np", "pjm", "de")
    },
    "sml2010_nowcast": (Published("DA-RNN", "10", "Qin et al. 2017", {"rmse": 0.0197}),),
    "pm25": (Published("IMV-LSTM", "10", "Guo et al. 2019", {"rmse": 20.87, "mae": 11.29}),),
    "m4_hourly": (Published("ES-RNN (the winner)", "–", "Smyl 2020", {"mase": 0.893, "smape": 9.328}),),
}
# Suite, metric, limit of the mean over the cases, digits to show.
LIMITS = (
    ("etth1", "mse", 0.400, 3),
    ("etth2", "mse", 0.338, 3),
    ("ettm1", "mse", 0.342, 3),
    ("weather", "mse", 0.221, 3),
    ("exchange", "mse", 0.300, 3),
    ("illness", "mse", 1.75, 2),
    ("epf_np_known", "mse", 0.175, 3),
    ("epf_np_known", "mae", 0.217, 3),
    ("sml2010_forecast", "rmse", 0.0185, 4),
    ("sml2010_nowcast", "rmse", 0.0150, 4),
    ("pm25", "rmse", 20.7, 1),
    ("pm25", "mae", 11.2, 1),
    ("m4_hourly", "mase", 0.89, 2),
    ("vic_elec", "wape", 5.0, 1),
)
NAMES = {name: name.upper() for name in ("mse", "mae", "rmse", "mase", "mape", "wape")} | {"smape": "sMAPE"}


def accuracy_targets(results: Mapping[str, Results]) -> list[Target]:
    """Every promise; what can not be told from the results is not measured."""
    return [
        *(_limit(results[suite], metric, limit, digits) for suite, metric, limit, digits in LIMITS),
        _never_worse_than_repeating(results["exchange"]),
        *(_markets(results, role, limit) for role, limit in (("past", 0.300), ("known", 0.235))),
        _below_ridge(results["vic_elec"], "mape"),
        *_small_demand(results["small_demand"]),
        *(_covered(found) for found in results.values()),
        _not_worse_than_floors(results),
        _within_time(results),
    ]


def _limit(found: Results, metric: str, limit: float, digits: int) -> Target:
    over = "mean " if len(found.cases) > 1 else ""
    asked = f"{found.suite}: {over}{NAMES[metric]} at most {limit:.{digits}f}"
    values = found.mean(OURS, metric)
    if not values:
        return Target(found.case(OURS), asked)
    told = spread(values, max(3, digits)) + doubt(values, limit)
    return Target(found.case(OURS), asked, told, fmean(values) <= limit)


def _never_worse_than_repeating(found: Results) -> Target:
    asked = f"{found.suite}: at no horizon worse than repeating the last value, in MSE"
    if found.measured(OURS, "naive") != list(found.cases):
        return Target(found.case(OURS), asked)
    ratio = ratios(found, OURS, "naive", "mse")
    told = ", ".join(f"{case} {_change(value)}" for case, value in ratio.items())
    return Target(found.case(OURS), asked, told, max(ratio.values()) <= 1)


def _markets(results: Mapping[str, Results], role: str, limit: float) -> Target:
    asked = f"epf, inputs {'known ahead' if role == 'known' else 'past only'}: MSE at most {limit:.3f}, mean of five markets"
    markets = [results[f"epf_{name}_{role}"] for name in ("np", "pjm", "de")]
    means = [found.mean(OURS, "mse") for found in markets]
    if not all(means):
        return Target(markets[0].case(OURS), asked)
    told = f"{fmean(map(fmean, means)):.3f}, mean of NP, PJM and DE alone"
    return Target(markets[0].case(OURS), asked, told)


def _below_ridge(found: Results, metric: str) -> Target:
    asked = f"{found.suite}: {NAMES[metric]} at least 15 % below ridge"
    if found.measured(OURS, "ridge") != list(found.cases):
        return Target(found.case(OURS), asked)
    mean = fmean(ratios(found, OURS, "ridge", metric).values())
    return Target(found.case(OURS), asked, _change(mean), mean <= 0.85)


def _small_demand(found: Results) -> list[Target]:
    floors = [label for label in found.labels if label in FLOORS]
    gain, worst = "attention gains at least 8 % over its own ablation", "attention loses nowhere by more than 1 %"
    ridge, best = "at least 15 % below ridge", "nowhere worse than the best floor by more than 2 %"
    asked = [f"small_demand: {text}" for text in (f"{gain} on average", worst, f"{ridge} on average", best)]
    whole = list(found.cases)
    targets = []
    if found.measured(OURS, NEITHER) == whole:
        both = found.paired(OURS, NEITHER)
        ratio, case = list(ratios(both, OURS, NEITHER, "mae").values()), both.case(OURS)
        targets.append(Target(case, asked[0], _change(fmean(ratio)), fmean(ratio) <= 0.92))
        targets.append(Target(case, asked[1], f"{_change(max(ratio))} at worst", max(ratio) <= 1.01))
    else:
        targets += [Target(found.case(OURS), text) for text in asked[:2]]
    if floors and "ridge" in floors and found.measured(OURS, *floors) == whole:
        ratio, case = list(ratios(found, OURS, "ridge", "mae").values()), found.case(OURS)
        targets.append(Target(case, asked[2], _change(fmean(ratio)), fmean(ratio) <= 0.85))
        least = max(
            fmean(found.values(OURS, name, "mae")) / min(fmean(found.values(floor, name, "mae")) for floor in floors)
            for name in whole
        )
        targets.append(Target(case, asked[3], f"{_change(least)} at worst", least <= 1.02))
    else:
        targets += [Target(found.case(OURS), text) for text in asked[2:]]
    return targets


def _covered(found: Results) -> Target:
    asked = f"{found.suite}: bands of 80 % and 95 % within 3 points"
    shares = {level: found.mean(OURS, f"coverage_{level}") for level in (80, 95)}
    if not all(shares.values()):
        return Target(found.case(OURS), asked)
    met = all(abs(fmean(values) - level / 100) <= 0.03 + 1e-9 for level, values in shares.items())
    return Target(found.case(OURS), asked, ", ".join(percent(values) for values in shares.values()), met)


def _not_worse_than_floors(results: Mapping[str, Results]) -> Target:
    """Means of the cases' ratios; of one seed no spread is known, and any loss counts."""
    asked = "every suite: not worse than seasonal naive and ridge by more than one standard deviation"
    lost, runs, worst = [], [], (0.0, "")
    for found in results.values():
        metric = SUITES[found.suite].metrics[0]
        mine = found.mean(OURS, metric)
        allowed = 1 + (stdev(mine) / fmean(mine) if len(mine) > 1 else 0.0)
        for floor in ("seasonal_naive", "ridge"):
            if found.measured(OURS, floor) != list(found.cases):
                continue
            runs += found.of(OURS)
            ratio = fmean(ratios(found, OURS, floor, metric).values())
            worst = max(worst, (ratio, f"{found.suite}, {floor}"))
            if ratio > allowed:
                lost.append(f"{found.suite} {_change(ratio)} against {floor}")
    told = (
        f"worse by {_change(worst[0])} at most ({worst[1]}), within one deviation" if worst[0] > 1 else "nowhere worse"
    )
    return _judged(asked, runs, ", ".join(lost) or told, not lost)


def _within_time(results: Mapping[str, Results]) -> Target:
    asked = "every suite, case and seed: fitted and forecast within 15 minutes"
    runs = [run for found in results.values() for run in found.of(OURS)]
    slowest, minutes = max(((run, _minutes(run)) for run in runs), key=lambda pair: pair[1], default=({}, 0.0))
    budget = re.search(r"--budget-s (\S+)", str(slowest.get("command")))
    told = f"{minutes:.1f} min at most ({slowest.get('suite')} {slowest.get('case')}"
    told += f", given {budget[1]} s)" if budget else ")"
    return _judged(asked, runs, told, minutes <= 15)


def _minutes(run: Mapping[str, Any]) -> float:
    return (run["seconds_fit"] + run["seconds_predict"]) / 60


def _judged(asked: str, runs: Sequence[dict[str, Any]], told: str, met: bool) -> Target:
    """A promise over all suites; not measured while there is no run."""
    case = Case(OURS, tuple(sorted({int(run["seed"]) for run in runs})), tuple(runs))
    return Target(case, asked, told, met) if runs else Target(case, asked)


def ratios(found: Results, mine: str, other: str, metric: str) -> dict[str, float]:
    """One model's mean over the seeds by another's, case by case, where both were measured."""
    cases = found.measured(mine, other)
    return {case: fmean(found.values(mine, case, metric)) / fmean(found.values(other, case, metric)) for case in cases}


def _change(ratio: float) -> str:
    return percent([ratio - 1], signed=True)
