"""A job of an accuracy suite as plain arrays: what another library's environment, which does not hold openbook, is given."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Handed:
    """N series stacked into R rows, and W windows to forecast; series n owns rows ``offsets[n]:offsets[n + 1]``.

    ``target`` [R], ``known`` [R, K] (known ahead), ``past`` [R, P] and ``calendar`` [R, C] are float64, NaN where nothing was
    observed. ``learn`` [N]: rows of each series that may be learned from. Windows: ``series`` [W], and ``end`` [W], the row
    of the first of ``h`` steps. ``validation``: how many rows to learn from are held out for choices (0: not told);
    ``window``: how many rows before its end a forecast may read (0: as many as it likes); ``squared``: squared errors count.
    """

    target: np.ndarray
    known: np.ndarray
    past: np.ndarray
    calendar: np.ndarray
    offsets: np.ndarray
    learn: np.ndarray
    series: np.ndarray
    end: np.ndarray
    h: int
    season: int
    validation: int
    window: int
    squared: bool

    def write(self, path: Path) -> None:
        """Write all of it as one file."""
        np.savez(path, **asdict(self))


def read_handed(path: Path) -> Handed:
    """What ``Handed.write`` wrote."""
    kinds: dict[str, Any] = {"int": int, "bool": bool}
    with np.load(path) as file:
        return Handed(**{f.name: kinds.get(str(f.type), np.asarray)(file[f.name]) for f in fields(Handed)})


def held_back(job: Handed) -> Handed:
    """The same job one validation part earlier: that part's windows, one every h rows, from the rows before it.

    >>> rows = np.arange(40.0)
    >>> job = Handed(rows, *(rows[:, None][:, :0],) * 3, np.array([0, 40]), np.array([30]), np.array([0]), np.array([30]),
    ...     h=4, season=1, validation=10, window=0, squared=True)
    >>> held_back(job).learn, held_back(job).end
    (array([20]), array([20, 24]))
    """
    held = job.validation or max(job.h, min(int(job.learn.min()) // 6, 14 * job.season))
    learn = job.learn - held
    ends = [
        np.arange(offset + n, offset + n + held - job.h + 1, job.h)
        for offset, n in zip(job.offsets, learn, strict=False)
    ]
    series = np.repeat(np.arange(len(learn)), [len(end) for end in ends])
    values = {f.name: getattr(job, f.name) for f in fields(Handed)}
    return Handed(**values | {"learn": learn, "series": series, "end": np.concatenate(ends)})
