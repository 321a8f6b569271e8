"""``docs/benchmarks.md`` and the READMEs' tables from the results: ``python -m benchmarks.tables``. Losses come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.accuracy_results import Results, read_accuracy
from benchmarks.accuracy_tables import accuracy_section, summary
from benchmarks.markdown import table
from benchmarks.measures import ALONE, NEAR, tied
from benchmarks.reach import (
    HEAD,
    OURS,
    TOLD,
    is_reach,
    reach_losses,
    reach_rows,
    reach_settings,
    reach_targets,
)
from benchmarks.record import ROOT
from benchmarks.speed_targets import short, speed_targets
from benchmarks.targets import Case, Scores, Target, main_targets, ours, percent, read_cases, spread
from benchmarks.words import ABOUT, INTRODUCTION, KOREAN, SHORT, WORDS
from openbook.errors import DataError
from openbook.files import write_text_whole
from openbook.forecast.floors import FLOORS
from openbook.models.registry import MODELS

BEGIN, END = "<!-- scores:begin -->", "<!-- scores:end -->"
READMES = {"README.md": "en", "README.ko.md": "ko"}
METRICS = (
    ("mae", "MAE"),
    ("rmse", "RMSE"),
    ("mase", "MASE"),
    ("wape", "WAPE"),
    ("smape", "sMAPE"),
    ("pinball", "pinball"),
    ("seconds_fit", "fit, s"),
    ("seconds_predict", "predict, s"),
)


def asked(target: Target, language: str) -> str:
    """The promise in the language of a README."""
    return KOREAN[target.asked] if language == "ko" else target.asked


def all_targets(cases: Mapping[str, Case]) -> list[Target]:
    """Every target; what can not be told from the results is not measured."""
    return [*main_targets(cases), *speed_targets(cases), *reach_targets(cases)]


def losses(cases: Mapping[str, Case], language: str = "en") -> list[str]:
    """Our models that a floor beats or that failed, in words; the cases where every one of ours loses come first."""
    words = WORDS[language]
    worst: list[str] = []
    others: list[str] = []
    for case in cases.values():
        scores = case.scores()
        metric = headline(scores)
        known = {model: fmean(values[metric]) for model, values in scores.items() if values.get(metric)}
        known = dict(sorted(known.items(), key=lambda item: item[1]))
        failed = [model for model in scores if model not in known]
        others += [words["failed"].format(case=case.name, model=model) for model in failed]
        floor = next((model for model in known if model in FLOORS), None)
        mine = ours({model: scores[model] for model in known})
        beaten = [model for model in mine if floor is not None and known[model] >= known[floor]]
        for model in beaten:
            digits = 3 if metric == "mase" else 4
            values, best = (spread(scores[name][metric], digits) for name in (model, str(floor)))
            told = {"case": case.name, "floor": floor, "metric": metric.upper(), "best": best}
            line = words["lost"].format(**told, model=model, values=values)
            (worst if len(beaten) == len(mine) else others).append(line)
    return [*worst, *others, *reach_losses(cases, words)]


def headline(scores: Scores) -> str:
    """The metric a case is decided by: MASE, or RMSE where MASE was not asked for."""
    return "mase" if any(values.get("mase") for values in scores.values()) else "rmse"


def provenance(case: Case) -> tuple[str, str, str]:
    """Seeds, threads and commit of a case."""
    return ", ".join(map(str, case.seeds)) or "–", case.facts("machine", "threads"), case.facts("commit")


def target_rows(targets: Sequence[Target]) -> list[list[str]]:
    """Missed first, then what was not measured, then what was met."""
    order = (False, None, True)
    word = {False: "**missed**", None: "not measured", True: "met"}
    ordered = sorted(targets, key=lambda target: order.index(target.met))
    return [
        [t.asked, t.measured, word[t.met], f"`{t.case.command}`" if t.case else "–", *provenance(t.case)]
        for t in ordered
    ]


def score_table(case: Case, scores: Scores) -> str:
    """All metrics of all models of a case."""
    rows = []
    for model, values in scores.items():
        cells = [spread(values.get(metric, []), 3) for metric, _ in METRICS]
        covered = [case.coverage(model, level) or values.get(f"coverage_{level}", []) for level in (80, 95)]
        name = f"{model} (floor)" if model in FLOORS else f"**{model}**"
        rows.append([name, *cells[:6], *map(percent, covered), *cells[6:]])
    titles = [title for _, title in METRICS]
    return table(["model", *titles[:6], "in 80 % band", "in 95 % band", *titles[6:]], rows)


def section(case: Case) -> str:
    """What one case is, how it was run, and everything it measured."""
    seeds, threads, commits = provenance(case)
    versions = {name: case.facts("versions", name) for run in case.runs for name in run.get("versions", {})}
    parts = [f"## {case.name}", ABOUT.get(case.name, ""), f"```sh\n{case.command}\n```"]
    parts.append(
        f"Commit {commits}; seeds {seeds}; {threads} threads on {case.facts('machine', 'system')} "
        f"{case.facts('machine', 'processor')} with {case.facts('machine', 'cores')} cores; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + "."
    )
    if scores := case.scores():
        parts.append(score_table(case, scores))
    facts = [
        [f"{name} (seed {seed})" if len(case.runs) > 1 else name, plain(value)]
        for seed, run in zip(case.seeds, case.runs, strict=True)
        for name, value in run.items()
        if name not in _TOLD
    ]
    facts += [[name, plain(value)] for run in case.runs for name, value in run.get("speed", {}).items()]
    for run in case.runs:
        for where, told in run.get("elsewhere", {}).items():
            on = f"on {short(where)}, commit {told['commit']}"
            facts += [[f"{name} ({on})", plain(value)] for name, value in told["speed"].items()]
    if facts:
        parts.append(table(["measured", "value"], facts))
    warnings = dict.fromkeys(str(warning) for run in case.runs for warning in run.get("warnings", ()))
    parts += ["\n".join(f"- {warning}" for warning in warnings)] if warnings else []
    return "\n\n".join(part for part in parts if part)


def reach_section(cases: Mapping[str, Case]) -> str:
    """Whole trainings side by side, in one section."""
    rows, settings = reach_rows(cases), reach_settings(cases)
    if not rows:
        return ""
    parts = ["## etth1", ABOUT["etth1"], "```sh\nmake bench-peers\n```", table(HEAD, rows)]
    if ours := cases.get(OURS):
        parts.append(f"`luong`: seeds {provenance(ours)[0]}; peers: seed 1.")
    return "\n\n".join([*parts, *([table(["peer", "its defaults"], settings)] if settings else [])])


_TOLD = ("command", "seed", "speed", "scores", "coverage", "warnings", "commit", "machine", "versions", "elsewhere")


def plain(value: Any) -> str:
    """A figure of a result on one line.

    >>> plain([{"lag": 52, "weight": 0.0123456}]), plain({"a": 1.5})
    ('lag 52, weight 0.01235', 'a: 1.5')
    """
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {plain(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "<br>".join(
            ", ".join(f"{name} {plain(inner)}" for name, inner in item.items())
            if isinstance(item, Mapping)
            else plain(item)
            for item in value
        )
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def benchmarks_page(cases: Mapping[str, Case], accuracy: str = "") -> str:
    """The whole of ``docs/benchmarks.md``; ``accuracy`` is its section of suites."""
    targets = all_targets(cases)
    missed = WORDS["en"]["missed"]
    bad = ["- " + missed.format(asked=t.asked, measured=t.measured) for t in targets if t.met is False]
    bad += [f"- {line}" for line in losses(cases)]
    changed = [name for name, case in cases.items() if "+changes" in case.facts("commit")]
    if changed:
        bad.append(f"- Measured on source that was not committed as it was: {', '.join(changed)}.")
    if not cases:
        bad = ["Nothing has been measured yet."]
    head = ("target", "measured", "result", "command", "seeds", "threads", "commit")
    alone = [case for case in cases.values() if not is_reach(case.name)]
    ordered = sorted(alone, key=lambda case: list(ABOUT).index(case.name) if case.name in ABOUT else len(ABOUT))
    race = reach_section(cases)
    parts = [
        INTRODUCTION.rstrip(),
        "## Lost and missed",
        "\n".join(bad) or "No target that was measured was missed, and no floor won.",
        "## Targets",
        table(head, target_rows(targets)),
        *([accuracy] if accuracy else []),
        *map(section, ordered),
        *([race] if race else []),
    ]
    return "\n\n".join(parts) + "\n"


def in_words(measured: str, words: Mapping[str, Any]) -> str:
    """What was measured in the language of a README."""
    found = TOLD.fullmatch(measured)
    if found and "peer" in words:
        return str(words["peer"].format(**found.groupdict()))
    return measured.replace(NEAR, str(words["near"])).replace(ALONE, str(words["alone"]))


def readme_table(cases: Mapping[str, Case], language: str, accuracy: Mapping[str, Results] | None = None) -> str:
    """What stands between the markers of a README: the default's state, the misses, then MASE by data set and model."""
    words, targets, found = WORDS[language], all_targets(cases), summary(accuracy or {}, cases)
    missed, quick = [t for t in targets if t.met is False], [t for t in targets if t.asked.startswith("speed_")]
    counts = {"all": len(targets), "missed": len(missed), "open": sum(t.met is None for t in targets)}
    told = [in_words(t.measured, words) for t in missed if t not in quick]
    lines = [
        words["missed"].format(asked=asked(t, language), measured=text)
        for t, text in zip((t for t in missed if t not in quick), told, strict=True)
    ]
    slow = [t for t in missed if t in quick]
    if slow:
        models = ", ".join(f"`{name}`" for name in MODELS if any(name in t.asked for t in slow))
        lines.append(words["speed"].format(missed=len(slow), all=len(quick), models=models))
    lines += losses(cases, language)
    rows = []
    for name, title in SHORT[language].items():
        case = cases.get(name, Case(name))
        scores = {model: values["mase"] for model, values in case.scores().items() if values.get("mase")}
        first = next(iter(scores.values()), [])
        best = [model for model, values in scores.items() if tied(values, first)]
        cells = [
            f"**{spread(scores[model])}**" if model in best else spread(scores.get(model, []))
            for model in ("seasonal_naive", "ridge", "openbook", "luong", "bahdanau")
        ]
        if scores:
            winners = ", ".join(f"{model}{words['floor'] if model in FLOORS else ''}" for model in best)
            rows.append([title, *cells, winners, *provenance(case)])
    shown = [str(words["legend"]), table(list(words["head"]), rows)] if rows else [str(words["none"])]
    default = []
    if found is not None:
        lost, where = (", ".join(names) or words["nowhere"] for names in found[1:])
        default = [words["default"].format(**found[0], all=sum(found[0].values()), lost=lost, where=where)]
    others = [words["others"].format(**counts)] if any(t.met is not None for t in targets) else []
    bullets = ["\n".join(f"- {line}" for line in lines)] if lines else []
    return "\n\n".join([*default, *others, *bullets, *shown, words["more"]])


def between_markers(text: str, inside: str, where: str) -> str:
    """The text with what stands between the markers replaced; raises ``DataError`` where they are not there once each.

    >>> between_markers("a <!-- scores:begin -->old<!-- scores:end --> z", "new", "x").splitlines()
    ['a <!-- scores:begin -->', '', 'new', '', '<!-- scores:end --> z']
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise DataError(
            "no_markers",
            expected=f"{BEGIN} and {END}, once each and in this order",
            got=f"{text.count(BEGIN)} and {text.count(END)} of them",
            where=where,
            fix="put both markers where the table belongs",
        )
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{inside}\n\n{END}{rest.split(END)[1]}"


def generate(root: Path) -> list[Path]:
    """Write the page and the READMEs' tables below ``root`` from ``benchmarks/results`` there; returns what was written."""
    folder = root / "benchmarks" / "results"
    cases, accuracy = read_cases(folder), read_accuracy(folder / "accuracy")
    page = benchmarks_page(cases, accuracy_section(accuracy, cases))
    written = [write_text_whole(root / "docs" / "benchmarks.md", page)]
    for name, language in READMES.items():
        path = root / name
        text = between_markers(path.read_text(encoding="utf-8"), readme_table(cases, language, accuracy), name)
        written.append(write_text_whole(path, text))
    return written


def main() -> None:
    """Generate all tables of this repository."""
    for path in generate(ROOT):
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
