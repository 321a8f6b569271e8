"""One job of an accuracy suite: the rows a forecaster may learn from, and every window it is tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.one_step import Task, ridge, windows_of
from openbook.data.panel import Panel, make_panel
from openbook.forecast.origins import Origins
from openbook.training.losses import Loss


@dataclass(frozen=True)
class Job:
    """A panel up to the end of its test part, and how it is used.

    ``learn`` [N]: the rows of each series before the test part, training and validation together; ``validation``: how many
    of them at the end are held out for choices (None: the protocol has none, the library decides). ``flawed`` [R]: rows whose
    truth is a sentinel, kept as published tables keep them and told apart besides. ``points``: floors of their own, by name.
    """

    panel: Panel
    learn: np.ndarray
    validation: int | None
    origins: Origins
    h: int
    season: int
    loss: Loss = "mse"
    input_size: int | None = None
    nowcast: bool = False
    flawed: np.ndarray | None = None
    points: Mapping[str, Callable[[], np.ndarray]] = field(default_factory=dict)

    @property
    def learning(self) -> Panel:
        """All that a forecaster may learn from."""
        return self.panel.until(self.learn)

    def facts(self) -> dict[str, Any]:
        """The job in figures."""
        panel = self.panel
        return {
            "h": self.h,
            "series": len(panel),
            "rows_learn": sorted({int(rows) for rows in self.learn}, reverse=True)[:5],
            "rows_validation": self.validation,
            "windows": len(self.origins.end),
            "freq": panel.freq,
            "season": self.season,
            "loss": self.loss,
            "input_size": self.input_size,
            "hist": list(panel.hist_columns),
            "futr": list(panel.futr_columns),
        }


def inner(job: Job) -> Job:
    """The same case one part earlier, for choices: judged on the rows that were held out for them, learned from what lies
    before, of which as many are held out again, or what the library decides. The test part is not there.

    Where the protocol holds nothing out, it is a sixth of the typical series, and at least two horizons; windows are a
    horizon apart there, else all are judged.
    """
    held = job.validation or max(2 * job.h, int(np.median(job.learn)) // 6)
    panel = job.learning
    learn = np.maximum(job.learn - held, 0)
    origins = every_window(panel, learn, job.h, 1 if job.validation else job.h)
    return replace(job, panel=panel, learn=learn, origins=origins, flawed=None, points={})


def parts(length: int) -> tuple[int, int, int]:
    """70/10/20 in time as the published loaders count: train and test are rounded down.

    >>> parts(7588)
    (5311, 760, 1517)
    """
    train, test = int(0.7 * length), int(0.2 * length)
    return train, length - train - test, test


def long_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Every column a series; names keep the order of the columns."""
    columns = [name for name in frame if name != "ds"]
    whole = [pd.DataFrame({"unique_id": name, "ds": frame["ds"], "y": frame[name].astype(float)}) for name in columns]
    return pd.concat(whole, ignore_index=True)


def standardised(panel: Panel, train: int) -> Panel:
    """Every series less its mean over the first ``train`` rows, by their standard deviation."""
    target = panel.target.copy()
    for series in range(len(panel)):
        rows = panel.rows(series)
        seen = target[rows][:train]
        spread = float(np.nanstd(seen))
        target[rows] = (target[rows] - np.nanmean(seen)) / (spread if spread > 0 else 1.0)
    return replace(panel, target=target)


def every_window(panel: Panel, first: np.ndarray, h: int, stride: int = 1) -> Origins:
    """All windows of the rows from ``first`` [N] on to each series' end, ``stride`` rows apart, none dropped."""
    ends = [
        np.arange(offset + begin, stop - h + 1, stride)
        for offset, begin, stop in zip(panel.offsets[:-1], first, panel.offsets[1:], strict=True)
    ]
    owner = np.repeat(np.arange(len(panel)), [len(end) for end in ends])
    return Origins(owner.astype(np.int64), np.concatenate(ends).astype(np.int64))


def split_job(panel: Panel, rows: tuple[int, int, int], h: int, *, season: int, **settings: Any) -> Job:
    """Train, validation and test rows one after another, alike in every series; standardised by the training rows."""
    train, validation, test = rows
    panel = panel.until(np.full(len(panel), train + validation + test))
    learn = np.full(len(panel), train + validation)
    return Job(
        standardised(panel, train), learn, validation, every_window(panel, learn, h), h, season=season, **settings
    )


def wide_job(
    frame: pd.DataFrame, rows: tuple[int, int, int], h: int, *, season: int, freq: str | int, **settings: Any
) -> Job:
    """A wide table, every column a series of one global model. Stamps count from the first one on: published loaders read
    rows, and a doubled or skipped stamp would break the grid.
    """
    frame = frame.iloc[: sum(rows)]
    begin = frame["ds"].iloc[0]
    stamps = np.arange(len(frame)) if isinstance(freq, int) else pd.date_range(begin, periods=len(frame), freq=freq)
    panel = make_panel(long_frame(frame.assign(ds=stamps)), freq=freq)
    flawed = panel.target <= -9999
    job = split_job(panel, rows, h, season=season, **settings)
    return replace(job, flawed=flawed) if flawed.any() else job


def stretch_job(panel: Panel, first: int, h: int, *, history: int, test: int, season: int) -> Job:
    """``history`` rows of one series before row ``first`` to learn from, ``test`` rows from there on, origins h apart."""
    row = np.arange(len(panel.times))
    cut = panel.keep_rows((row >= first - history) & (row < first + test))
    learn = np.array([history])
    return Job(cut, learn, None, every_window(cut, learn, h, h), h, season=season, loss="pinball")


def one_step_job(task: Task, *, season: int, loss: Loss) -> Job:
    """The one-step protocols: windows with a whole context, an observed target and an observed last value.

    Validation rows are held out at the end of every recording, as the library does it: of two recordings, both.
    """
    panel = task.panel()
    begin, end = task.bounds(panel)
    test = windows_of(panel, (begin, end), task.input_size).test
    learn = np.clip(end - panel.offsets[:-1], 0, panel.lengths)
    return Job(
        panel,
        learn,
        end - begin,
        Origins(test.series_W, test.end_W),
        1,
        season=season,
        loss=loss,
        input_size=task.input_size,
        nowcast=task.nowcast,
        points={"ridge": lambda: ridge(task, refit=True)},
    )
