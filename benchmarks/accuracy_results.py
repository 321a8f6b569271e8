"""The results of the accuracy suites, by suite, model and case, and the figures tables and verdicts are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.targets import Case


@dataclass(frozen=True)
class Results:
    """All runs of one suite that exist, and the names of all its cases, measured or not."""

    suite: str
    cases: tuple[str, ...]
    runs: tuple[dict[str, Any], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.runs)

    @property
    def labels(self) -> list[str]:
        """Models and variants that have a result."""
        return list(dict.fromkeys(str(run["label"]) for run in self.runs))

    def of(self, label: str, case: str | None = None) -> list[dict[str, Any]]:
        """The runs of one model, of all cases or one, in the order of their seeds."""
        found = [run for run in self.runs if run["label"] == label and case in (None, run["case"])]
        return sorted(found, key=lambda run: run["seed"] or 0)

    def values(self, label: str, case: str, metric: str) -> list[float]:
        """A metric of one case over the seeds."""
        return [run["scores"][metric] for run in self.of(label, case) if run["scores"].get(metric) is not None]

    def mean(self, label: str, metric: str, cases: Sequence[str] | None = None) -> list[float]:
        """The mean over the cases, by seed; only seeds that have them all, so that no mean hides a case."""
        wanted = self.cases if cases is None else cases
        found = []
        for seed in dict.fromkeys(run["seed"] for run in self.of(label)):
            by_case = {
                run["case"]: run["scores"].get(metric, run.get(metric))
                for run in self.of(label)
                if run["seed"] == seed and run["case"] in wanted
            }
            if set(by_case) == set(wanted) and wanted and None not in by_case.values():
                found.append(fmean(by_case.values()))
        return found

    def measured(self, *labels: str) -> list[str]:
        """The cases that all these models have a result of."""
        return [case for case in self.cases if all(self.of(label, case) for label in labels)]

    def paired(self, *labels: str) -> Results:
        """These models alone, on the cases and seeds that all of them have: seeds differ by more than some parts are worth."""
        have = set.intersection(*({(run["case"], run["seed"]) for run in self.of(label)} for label in labels))
        return replace(
            self, runs=tuple(run for run in self.runs if run["label"] in labels and (run["case"], run["seed"]) in have)
        )

    def case(self, *labels: str) -> Case:
        """Runs of these models as targets carry them: seeds, commits, threads."""
        runs = [run for label in labels for run in self.of(label)]
        seeds = sorted({int(run["seed"]) for run in runs if run["seed"] is not None})
        return Case(self.suite, tuple(seeds), tuple(runs))


def read_accuracy(folder: Path) -> dict[str, Results]:
    """Results by suite in the order of the suites; suites without one are there too, empty."""
    from benchmarks.suites import SUITES

    found: dict[str, list[dict[str, Any]]] = {}
    for run in _documents(folder):
        found.setdefault(str(run["suite"]), []).append(run)
    return {name: Results(name, tuple(suite.cases), tuple(found.get(name, ()))) for name, suite in SUITES.items()}


def _documents(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.json")):
        yield json.loads(path.read_text(encoding="utf-8"))
