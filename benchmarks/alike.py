"""Do two commits forecast alike? ``python -m benchmarks.alike``, run on each, keeps short fits on several suites as digests.

The fits end by steps, not by seconds: the same code on the same machine gives the same digests. Points and bands have one
each, so that a change of bands alone shows as such.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from benchmarks.jobs import Job
from benchmarks.measures import LEVELS
from benchmarks.record import RESULTS, commit, write_result
from benchmarks.suites import SUITES
from openbook.forecast.forecaster import Forecaster
from openbook.forecast.origins import Origins
from openbook.models.openbook import OpenBookConfig
from openbook.training.loop import TrainConfig

ASKED = (
    *(
        ("etth1", "96"),
        ("vic_elec", "48"),
        ("pm25", "1"),
        ("epf_np_known", "24"),
        ("illness", "24"),
        ("exchange", "96"),
    ),
    *(("m4_hourly", "48"), ("small_demand", "bike_hour_60_2011-07-01"), ("weather", "96")),
)
_WINDOWS = 150
FOLDER = RESULTS / "alike"


def alike(first: str, second: str) -> bool:
    """Whether two commits forecast the same points, as far as their results tell: errors of one stand for the other's.

    >>> alike("290d1b1", "5c346b4"), alike("290d1b1", "db3400d")
    (True, False)
    """
    told, other = (_points(name) for name in (first, second))
    return first == second or (bool(told) and told == other)


def _points(name: str) -> dict[str, str]:
    path = FOLDER / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8"))["digests"] if path.is_file() else {}
    return {label: digests["points"] for label, digests in found.items()}


def digest(parts: Iterable[np.ndarray]) -> str:
    """Ten characters that tell arrays apart, bit by bit."""
    found = hashlib.sha256()
    for part in parts:
        found.update(np.ascontiguousarray(part).tobytes())
    return found.hexdigest()[:10]


def fit(job: Job, *, refit: bool) -> tuple[str, str]:
    """Digests of the points and of the bands of a short fit."""
    config = OpenBookConfig(n_models=1, differences=False, book=0, mixing=False, year_jitter=0, refit=refit)
    config = replace(config, window=job.input_size or 96)
    train = TrainConfig(
        max_steps=16,
        val_every=8,
        batch_size=16,
        loss=job.loss,
        device="cpu",
        budget_s=3000,
        validation_size=job.validation,
    )
    futr, hist = job.panel.futr_columns, job.panel.hist_columns
    model = Forecaster(job.h, model=config, futr_exog_list=futr, hist_exog_list=hist, train=train, seed=1)
    model.fit_panel(job.learning)
    some = np.unique(np.linspace(0, len(job.origins.end) - 1, _WINDOWS).astype(int))
    told = model.predict_origins(job.panel, Origins(job.origins.series[some], job.origins.end[some]), LEVELS)
    return digest([told.point]), digest(edge for level in LEVELS for edge in told.interval[level])


def main() -> None:
    """Write the digests of this commit; where the protocol leaves the held-out rows to the library, with them learned too."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, str]] = {}
    for name, case in ASKED:
        if why := SUITES[name].skipped():
            print(f"{name}: skipped, {why}")
            continue
        job = SUITES[name].cases[case]()
        for refit in (False, True) if job.validation is None else (False,):
            points, bands = fit(job, refit=refit)
            label = f"{name} {case}{', learned again' if refit else ''}"
            found[label] = {"points": points, "bands": bands}
            print(f"{label}: points {points}, bands {bands}", flush=True)
    values = {"command": "python -m benchmarks.alike", "digests": found}
    write_result(commit(), values, FOLDER, threads=1)


if __name__ == "__main__":
    main()
