"""The section "Accuracy" of ``docs/benchmarks.md``: suites that are lost come first, a part of the results is enough."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.accuracy_results import Results
from benchmarks.alike import alike
from benchmarks.markdown import table
from benchmarks.measures import tied
from benchmarks.peer_jobs import PEERS
from benchmarks.published import AGAIN, NAMES, NEITHER, OURS, PUBLISHED, accuracy_targets, ratios
from benchmarks.suites import SUITES
from benchmarks.targets import Case, Target, percent, spread
from openbook.forecast.budget import BUDGET_S
from openbook.forecast.floors import FLOORS

INTRODUCTION = """Every model of a suite learns from the rows before the test part and forecasts every window of it; what
is left open is decided on validation rows by the library, alike for every suite and horizon; what seconds a training was given
stands in the tables (300 unless told otherwise). The window is that of the recurrence; the linear path of `openbook`
may read farther back, and its long book does: how far stands beside the window (a protocol's window binds the path,
not the book). Published networks and the ridge read their window alone. Published figures stand in the tables for
orientation, with their window where it was looked up. Results stand with the commit they were made on: budgets are in
seconds, so what else ran on the machine moves them. Where a protocol has validation rows, networks that are published
do not learn them, and neither does `openbook`; floors do, as they need none. What a user gets, and the fair opponent
of such a floor, is the row `learned again`: the same with the validation rows. Mean ± standard deviation over the
seeds; limits of scores are judged by the mean alone, and marked where one seed or less than two deviations to the limit leave
it open. A mean over the cases is told only where all of them were measured. A difference below two standard
deviations is no difference. The price data hold three of the five markets that the papers average over. Other
libraries (peers) forecast the same windows in an environment of their own (`make bench-peers`): LightGBM with the
lags of seven seasons, calendar and inputs (past-only ones a horizon old at every step), levels or differences and 100 or
500 trees by validation; NHITS, PatchTST and LSTM of neuralforecast with their defaults but for windows of seven seasons
(two horizons if longer), windows scaled one by one, the suite's kind of error, ended after the
seconds that the tables tell (300; ours had fewer on some suites) if they are not done by then: the steps stand beside
their names, and a GPU would make more. Validation rows are learned by all of them, as by floors. They make no bands
here, and where a peer has no row it was not measured. Bands of ours follow what was seen between training and each
forecast, those of floors stay as they were when these were fitted. The reference models (`luong`, `bahdanau`, `darnn`,
`day_to_day`) learn with one seed within seconds that the tables tell too, at the first case of a suite as a rule."""
PEER_LABELS = tuple(peer.label for peer in PEERS.values())
NETWORKS = tuple(peer.label for peer in PEERS.values() if peer.network)
_WORDS = {False: "**missed**", None: "not measured", True: "met"}
_DIGITS = {"mse": 4, "rmse": 4, "mae": 4}


# The papers' protocols, for which `darnn` has the one of a few settings that validates best, by suite of the same windows.
_PAPERS = {"sml2010_forecast": "sml2010_forecast", "sml2010_nowcast": "sml2010_nowcast", "pm25": "beijing_pm25"}
Cases = Mapping[str, Case]


def accuracy_section(results: Mapping[str, Results], cases: Cases | None = None) -> str:
    """The whole section; empty while nothing was measured. ``cases``: results of the papers' protocols."""
    if not any(results.values()):
        return ""
    targets = accuracy_targets(results)
    lines = [line for found in results.values() for line in lost(found, cases)]
    order = sorted((found for found in results.values() if found), key=lambda found: _rank(found, targets))
    parts = ["## Accuracy", INTRODUCTION, "\n".join(f"- {line}" for line in lines), target_table(targets)]
    parts += [suite_section(found) for found in order]
    parts += [ablations(results)]
    return "\n\n".join(part for part in parts if part)


def summary(
    results: Mapping[str, Results], cases: Cases | None = None
) -> tuple[dict[str, int], list[str], list[str]] | None:
    """How many targets are missed, met and open, the suites on which a floor or peer is ahead, and those with a target missed;
    None while none ran."""
    if not any(results.values()):
        return None
    targets = accuracy_targets(results)
    counts = {
        name: sum(t.met is met for t in targets) for name, met in (("missed", False), ("met", True), ("open", None))
    }
    missed = dict.fromkeys(target.asked.partition(":")[0] for target in targets if target.met is False)
    told = " ".join(t.measured for t in targets if t.met is False and t.asked.startswith("every suite"))
    missed |= dict.fromkeys(
        name for name in SUITES if re.search(rf"\b{name}\b", told)
    )  # who misses what every suite shall
    suites = [name for name in missed if name in SUITES or name == "epf"] or list(missed)
    return counts, [found.suite for found in results.values() if lost(found, cases)], suites


def target_table(targets: Sequence[Target]) -> str:
    """Missed first, then what was not measured, then what was met."""
    order = (False, None, True)
    ordered = sorted(targets, key=lambda target: order.index(target.met))
    rows = [
        [t.asked, t.measured, _WORDS[t.met], ", ".join(map(str, t.case.seeds)) or "–", t.case.facts("commit")]
        for t in ordered
    ]
    return table(("target", "measured", "result", "seeds", "commit"), rows)


def lost(found: Results, cases: Cases | None = None) -> list[str]:
    """Where a floor, a peer or `darnn` in its papers' protocol is better than ours, case by case, in words; ties within two
    deviations count as such."""
    metric, lines = SUITES[found.suite].metrics[0], []
    beaten: dict[str, list[str]] = {}
    for case in found.cases:
        mine = found.values(OURS, case, metric)
        others = {label: found.values(label, case, metric) for label in _peers(found)}
        others = {label: values for label, values in others.items() if values}
        if not mine or not others:
            continue
        best = min(others, key=lambda label: fmean(others[label]))
        if fmean(others[best]) < fmean(mine):  # a forecast that is the floor is no loss
            tie = ", a tie" if tied(mine, others[best]) else ""
            beaten.setdefault(best, []).append(f"{case} ({spread(others[best], 3)} against {spread(mine, 3)}{tie})")
    for label, told in beaten.items():
        lines.append(f"**Lost:** {found.suite}: {label} beats {OURS} in {NAMES[metric]} at {', '.join(told)}.")
    paper = (cases or {}).get(_PAPERS.get(found.suite, ""))
    mine, theirs = found.mean(OURS, metric), paper.scores().get("darnn", {}).get(metric, []) if paper else []
    if mine and theirs and fmean(theirs) < fmean(mine):
        tie = ", a tie" if tied(mine, theirs) else ""
        told = f"{spread(theirs, 4)} against {spread(mine, 4)}{tie}"
        who = "darnn, in the setting that validates best (below, under its paper's protocol),"
        lines.append(f"**Lost:** {found.suite}: {who} beats {OURS} in {NAMES[metric]} ({told}).")
    return lines


def suite_section(found: Results) -> str:
    """What a suite is, how it was measured, a row a model, published rows last."""
    suite, case = SUITES[found.suite], found.case(*(label for label in found.labels if label not in PEER_LABELS))
    facts = (
        f"Commit {case.facts('commit')}; {case.facts('machine', 'threads')} threads on {case.facts('machine', 'system')} "
        f"{case.facts('machine', 'processor')} with {case.facts('machine', 'cores')} cores; torch "
        f"{case.facts('versions', 'torch')}."
    )
    peers = [label for label in found.labels if label in PEER_LABELS]
    if peers:
        other = found.case(*peers)
        facts += (
            f" Peers: commit {other.facts('commit')}; {other.facts('machine', 'threads')} threads on "
            f"{other.facts('machine', 'processor')}."
        )
    return "\n\n".join([f"### Suite {suite.name}", suite.about, _shell(found), facts, score_table(found)])


def _shell(found: Results) -> str:
    """The commands that measure ours again as it was measured, a line for each number of seconds and threads."""
    groups: dict[str, list[str]] = {}
    for case in found.cases:
        for run in found.of(OURS, case):
            options = " ".join(re.findall(r"--(?:budget-s|threads) \S+", str(run.get("command"))))
            if case not in groups.setdefault(options, []):
                groups[options].append(case)
    lines = []
    for options, cases in groups.items():
        some = len(groups) > 1 and len(cases) < len(found.cases)
        given = " ".join([*(f"--case {case}" for case in cases if some), options]).strip()
        lines.append(f"make bench-accuracy SUITE={found.suite} FORCE=--force" + (f' ARGS="{given}"' if given else ""))
    return "```sh\n" + "\n".join(lines or [f"make bench-accuracy SUITE={found.suite}"]) + "\n```"


def score_table(found: Results) -> str:
    """Per group of cases the first metric, then every metric as a mean over all cases, then bands and seconds."""
    metrics, groups = SUITES[found.suite].metrics, _groups(found)
    several = len(found.cases) > 1
    head = ["model", "window", "seeds", *([f"{NAMES[metrics[0]]} {name}" for name in groups] if several else [])]
    means = [*metrics, *(["mse_without_sentinels"] if found.suite == "weather" else [])]
    units = ("mae", "pinball") if found.suite == "small_demand" else ()  # megawatts and bicycles have no common mean
    means = [metric for metric in means if metric not in units]
    head += [f"mean {_title(metric)}" if several else _title(metric) for metric in means]
    wins = _wins(found) if found.suite == "small_demand" else {}
    head += ["MAE against ridge", "wins"] if wins else []
    extra = [name for name in ("mase", "pinball") if name not in (*metrics, *units)]
    head += [*map(_title, extra), "in 80 % band", "in 95 % band", "budget, s", "fit, s", "predict, s"]
    rows = []
    labels = [label for label in found.labels if label == AGAIN or label not in _variants(found)]
    for label in sorted(labels, key=lambda label: _order(found, label, metrics[0])):
        case = found.case(label)
        row = [_name(found, label), _windows(found, label), ", ".join(map(str, case.seeds)) or "–"]
        if several:
            row += [_shown(found.mean(label, metrics[0], cases), metrics[0]) for cases in groups.values()]
        row += [_shown(found.mean(label, metric), metric) for metric in means]
        row += [_to_ridge(found, label), f"{wins.get(label, 0)} of {len(found.measured(label))}"] if wins else []
        row += [_shown(found.mean(label, metric), metric) for metric in extra]
        row += [percent(found.mean(label, f"coverage_{level}")) for level in (80, 95)]
        row += [
            _budget(found, label),
            *(spread(found.mean(label, f"seconds_{what}"), 1) for what in ("fit", "predict")),
        ]
        rows.append(row)
    for told in PUBLISHED.get(found.suite, ()):
        row = [f"{told.model} (published, {told.source})", told.window, "–", *(["–"] * len(groups) if several else [])]
        row += [f"{told.mean[metric]:g}" if metric in told.mean else "–" for metric in means]
        rows.append(row + ["–"] * (len(head) - len(row)))
    return table(head, rows)


def ablations(results: Mapping[str, Results]) -> str:
    """Variants by suite: the first metric over cases and seeds that both have, and the change against the default."""
    suites = [
        found
        for found in results.values()
        if found and SUITES[found.suite].ablations and set(_variants(found)) - {AGAIN}
    ]
    if not suites:
        return ""
    names = list(dict.fromkeys(label for found in suites for label in _variants(found) if label != AGAIN))
    head = ["variant", *(f"{found.suite}, {NAMES[SUITES[found.suite].metrics[0]]}" for found in suites)]
    rows = [[OURS, *map(_as_it_is, suites)]]
    rows += [[name.removeprefix(f"{OURS}, "), *(_against(found, name) for found in suites)] for name in names]
    told = (
        "In brackets: the change against the model as it is, on the cases and seeds that both have, of some cases with what "
        "the model as it is has there; in `small_demand`, with two units, the mean of the cases' changes alone. With a star: "
        "measured on another processor than the model as it is, where the same seconds make more or fewer steps and seeds, or "
        "on another commit that is not known to forecast the same points (`python -m benchmarks.alike`, short fits without the "
        "search, the long book and a second scaling): that is in it as well, and may be most of it."
    )
    return "\n\n".join(part for part in ("### Ablations", _worth_of_attention(suites), told, table(head, rows)) if part)


def _worth_of_attention(suites: Sequence[Results]) -> str:
    """What looking up gained or cost, suite by suite, the largest gain first."""
    worth = {}
    for found in (whole.paired(OURS, NEITHER) for whole in suites):
        ratio = ratios(found, OURS, NEITHER, SUITES[found.suite].metrics[0])
        if ratio and not _of_other_commits(found, NEITHER):
            part = f" ({len(ratio)} of {len(found.cases)} cases)" if len(ratio) < len(found.cases) else ""
            worth[f"{found.suite}{part}"] = fmean(ratio.values()) - 1
    if not worth:
        return ""
    told = ", ".join(
        f"{percent([worth[name]], signed=True)} on {name}" for name in sorted(worth, key=lambda n: worth[n])
    )
    return (
        f"What looking up is worth, in segments of the window and in the long book together, against the same procedure "
        f"without either: {told} (negative: a smaller error)."
    )


def _windows(found: Results, label: str) -> str:
    """The windows of a model, and how far back the linear path and the long book of ours read beyond them, in steps."""
    place = ("decisions", "window") if label in FLOORS else ("decisions", "input_size", "value")
    told = found.case(label).facts(*(("settings", "window") if label in PEER_LABELS else place))
    books = [_book(run) for run in found.of(label)]
    paths = [_path(run) for run in found.of(label)]
    farther = {"path": paths, "book": books}
    read = [f"{name} {_range([steps for steps in reach if steps])}" for name, reach in farther.items() if any(reach)]
    return "–" if told == "?" else told + (f" ({', '.join(read)})" if read else "")


def _range(steps: Sequence[int]) -> str:
    least, most = min(steps), max(steps)
    return f"{most:,}" if least == most else f"{least:,}–{most:,}"


def _path(run: Mapping[str, Any]) -> int:
    """Steps back that the linear path of a result reads where that is farther than the recurrence does, else 0."""
    told = run.get("decisions", {})
    path, window = (told.get(name, {}) for name in ("skip_window", "input_size"))
    if not isinstance(path, Mapping) or not isinstance(window, Mapping) or "value" not in path or "value" not in window:
        return 0
    return int(path["value"]) if int(path["value"]) > int(window["value"]) else 0


def _book(run: Mapping[str, Any]) -> int:
    """Steps back that the long book of a result reads, 0 without one."""
    book = run.get("decisions", {}).get("book", {})
    season = run.get("decisions", {}).get("season_length", {})
    if not isinstance(book, Mapping) or not isinstance(season, Mapping) or not book.get("value"):
        return 0
    return (int(book["value"]) + 1) * int(season["value"])


def _as_it_is(found: Results) -> str:
    metric = SUITES[found.suite].metrics[0]
    return "as it is" if found.suite == "small_demand" else _shown(found.mean(OURS, metric), metric)


def _against(whole: Results, label: str) -> str:
    found = whole.paired(OURS, label)
    metric, cases = SUITES[found.suite].metrics[0], found.measured(label, OURS)
    mine, base = found.mean(label, metric, cases), found.mean(OURS, metric, cases)
    if not mine or not base:
        return "–"
    change = (
        fmean(ratios(found, label, OURS, metric).values())
        if found.suite == "small_demand"
        else fmean(mine) / fmean(base)
    )
    part = f", {len(cases)} of {len(found.cases)} cases" if len(cases) < len(found.cases) else ""
    star = " \\*" if _of_other_commits(found, label) else ""
    if found.suite == "small_demand":
        return f"{percent([change - 1], signed=True)}{part}{star}"
    part += f" from {_shown(base, metric)}" if part else ""
    return f"{_shown(mine, metric)} ({percent([change - 1], signed=True)}{part}){star}"


def _of_other_commits(found: Results, label: str) -> bool:
    """Whether a variant was measured on code that forecasts otherwise than the model as it is, or on another processor, which
    makes more or fewer steps of the same seconds, in a case that both have."""
    mine, other = (
        {
            (case, run["commit"], str(run["machine"].get("processor")))
            for case in found.measured(label, OURS)
            for run in found.of(name, case)
        }
        for name in (OURS, label)
    )
    return not all(
        any(case == own and alike(commit, at) and processor == where for own, at, where in mine)
        for case, commit, processor in other
    )


def _rank(found: Results, targets: Sequence[Target]) -> int:
    """Lost and missed suites first, then those without a result of ours, then the others."""
    mine = [target for target in targets if target.case.name == found.suite]
    if lost(found) or any(target.met is False for target in mine):
        return 0
    return 2 if OURS in found.labels else 1


def _groups(found: Results) -> dict[str, list[str]]:
    """Columns of a table and their cases: a horizon each, or all origins of a history."""
    groups: dict[str, list[str]] = {}
    for case in found.cases:
        groups.setdefault(case.rpartition("_")[0] or case, []).append(case)
    return groups


def _wins(found: Results) -> dict[str, int]:
    """In how many cases each model is the best of all that were measured in it."""
    wins: dict[str, int] = {}
    labels = [label for label in found.labels if label not in _variants(found)]
    for case in found.cases:
        means = {label: fmean(found.values(label, case, "mae")) for label in labels if found.of(label, case)}
        if len(means) > 1:
            best = min(means, key=means.__getitem__)
            wins[best] = wins.get(best, 0) + 1
    return wins


def _budget(found: Results, label: str) -> str:
    """Seconds a training was given, as its command tells; a dash for what has no limit of its own."""
    told = (re.search(r"--budget-s (\S+)", str(run.get("command"))) for run in found.of(label))
    default = f"{BUDGET_S:g}" if label.startswith((OURS, *NETWORKS)) else "–"
    return ", ".join(dict.fromkeys(default if one is None else one[1] for one in told))


def _to_ridge(found: Results, label: str) -> str:
    """The mean over the cases of a model's error by ridge's, where both have all cases."""
    if found.measured(label, "ridge") != list(found.cases):
        return "–"
    return percent([fmean(ratios(found, label, "ridge", "mae").values()) - 1], signed=True)


def _variants(found: Results) -> list[str]:
    return [label for label in found.labels if label.startswith(f"{OURS}, ")]


def _peers(found: Results) -> list[str]:
    return [label for label in found.labels if label != OURS and label not in _variants(found)]


def _order(found: Results, label: str, metric: str) -> float:
    """Best mean first; what has no whole mean last."""
    return fmean(found.mean(label, metric) or [float("inf")])


def _name(found: Results, label: str) -> str:
    """A model and what it is; of another library's network the fewest steps that its seconds were enough for."""
    if label in FLOORS:
        return f"{label} (floor)"
    if label not in PEER_LABELS:
        return f"**{label}**"
    told = [run.get("settings", {}) for run in found.of(label)] if label in NETWORKS else []
    steps = min(((s["steps"], s["steps by default"]) for s in told if "steps by default" in s), default=None)
    return f"{label} (peer)" if steps is None else f"{label} (peer, {steps[0]:,} of {steps[1]:,} steps)"


def _title(metric: str) -> str:
    if metric.endswith("_without_sentinels"):
        return f"{NAMES[metric.partition('_')[0]]} without sentinels"
    return NAMES.get(metric, metric)


def _shown(values: Sequence[float], metric: str) -> str:
    large = values and fmean(values) >= 10
    return spread(values, 2 if large else 3 if metric not in _DIGITS else _DIGITS[metric])
