"""One-step protocols of the dual-stage papers: rows split in time order, every test row counted, floors beside the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from openbook.data.panel import Panel, make_panel
from openbook.models.base import ModelShape
from openbook.models.registry import build_model
from openbook.training.loop import TrainConfig, index_to, train_model
from openbook.windows.sampler import (
    Layout,
    Resident,
    Split,
    WindowIndex,
    WindowShape,
    batches,
    gather,
    make_resident,
)
from openbook.windows.scaling import ColumnScaler, Scaling, difference_std, fit_inputs

PENALTIES = tuple(10.0**power for power in range(-3, 7))


@dataclass(frozen=True)
class Task:
    """A table and its split by global row: training before ``split[0]``, validation before ``split[1]``, then test.

    ``nowcast``: the inputs of the step to tell are known. Windows never cross from one series into another.
    """

    frame: pd.DataFrame
    split: tuple[int, int]
    nowcast: bool
    input_size: int = 10
    freq: str | int | None = None

    @property
    def inputs(self) -> list[str]:
        """Input columns that vary in the training rows."""
        names = [name for name in self.frame if name not in ("unique_id", "ds", "y")]
        return [name for name in names if self.frame[name].iloc[: self.split[0]].nunique() > 1]

    def panel(self) -> Panel:
        """The table with its inputs as known ahead (nowcast) or past only; missing stamps become unobserved rows."""
        role = {"futr" if self.nowcast else "hist": tuple(self.inputs)}
        return make_panel(self.frame[["unique_id", "ds", "y", *self.inputs]], freq=self.freq, **role)

    def bounds(self, panel: Panel) -> tuple[int, int]:
        """The split as rows of the panel."""
        owner = panel.ids[np.repeat(np.arange(len(panel)), panel.lengths)]
        rows = pd.MultiIndex.from_arrays([owner.astype(str), panel.times])
        first = self.frame.iloc[list(self.split)]
        begin, end = rows.get_indexer(pd.MultiIndex.from_arrays([first["unique_id"].astype(str), first["ds"]]))
        return int(begin), int(end)


class Windows(NamedTuple):
    """Windows with a whole context and an observed target, by part."""

    train: WindowIndex
    validation: WindowIndex
    test: WindowIndex


def windows_of(panel: Panel, split: tuple[int, int], input_size: int) -> Windows:
    """Every row whose context lies whole in its series and whose target and last value were observed."""
    owner = np.repeat(np.arange(len(panel)), panel.lengths)
    row = np.arange(len(owner))
    seen = np.isfinite(panel.target)
    whole = (row - panel.offsets[owner] >= input_size) & seen & np.concatenate([[False], seen[:-1]])

    def part(begin: int, end: int) -> WindowIndex:
        chosen = np.flatnonzero(whole & (row >= begin) & (row < end))
        return WindowIndex(owner[chosen].astype(np.int64), chosen.astype(np.int64))

    return Windows(part(0, split[0]), part(*split), part(split[1], len(row)))


def scalers(panel: Panel, end: int, scaling: Scaling) -> tuple[ColumnScaler, float]:
    """Column scaler and the windows' common unit, from the training rows alone."""
    inputs, offsets = np.concatenate([panel.hist, panel.futr], axis=1)[:end], np.unique(np.minimum(panel.offsets, end))
    return fit_inputs(inputs, offsets, scaling), float(difference_std(panel.target[:end, None], offsets)[0])


class Told(NamedTuple):
    """Forecasts [W] of the test rows in units of the target, and the training's best validation loss."""

    test: np.ndarray
    best_loss: float


def run_model(
    task: Task,
    config: Any,
    *,
    seed: int,
    train: TrainConfig,
    scaling: Scaling = "difference",
) -> Told:
    """Train on the training windows, keep the weights that validate best, forecast the test rows."""
    panel = task.panel()
    bounds = task.bounds(panel)
    windows = windows_of(panel, bounds, task.input_size)
    columns, unit = scalers(panel, bounds[0], scaling)
    layout = Layout("y", panel.hist_columns, panel.futr_columns)
    cut = WindowShape(task.input_size, 1, scaling, unit)
    shape = ModelShape(
        n_variables=len(layout.variables),
        n_encoder=layout.n_encoder,
        n_decoder=layout.n_decoder,
        input_size=task.input_size,
        h=1,
        quantiles=(0.5,),
        n_known=len(layout.futr),
    )
    resident = make_resident(panel, layout, columns)
    model = build_model(config, shape, seed)
    split = Split(windows.train, windows.validation, 0)
    history = train_model(model, resident, split, cut, shape=shape, config=train, seed=seed)
    return Told(forecast(model, resident, windows.test, cut), history.best_loss)


@torch.no_grad()
def forecast(model: torch.nn.Module, resident: Resident, windows: WindowIndex, cut: WindowShape) -> np.ndarray:
    """Point forecasts [W] in units of the target."""
    model.eval()
    parts = []
    for piece in batches(windows, 256):
        batch = gather(resident, *index_to(piece, resident.data_RC.device), cut)
        point_B = model(batch).quantile_BHMQ[:, 0, :, 0].double()
        parts.append((point_B * batch.scale_BM + batch.location_BM)[:, 0].numpy())
    return np.concatenate(parts)


def ridge(task: Task, *, refit: bool = False) -> np.ndarray:
    """ARX ridge of the next difference on the differences of the window, penalty chosen on validation; test forecasts.

    ``refit``: with that penalty the validation rows are learned as well, as other floors learn them.
    """
    panel = task.panel()
    windows = windows_of(panel, task.bounds(panel), task.input_size)
    inputs = np.concatenate([panel.hist, panel.futr], axis=1)
    inputs = pd.DataFrame(inputs).ffill().fillna(0.0).to_numpy()
    target = pd.Series(panel.target).ffill().bfill().to_numpy()
    values = np.column_stack([target, inputs])
    steps = np.diff(values, axis=0, prepend=values[:1])

    def features(part: WindowIndex) -> np.ndarray:
        lags = part.end_W[:, None] - np.arange(1, task.input_size)
        found = [steps[lags].reshape(len(lags), -1), values[part.end_W - 1]]
        if task.nowcast:
            found.append(steps[part.end_W, 1:])
        return np.concatenate(found, axis=1)

    def change(part: WindowIndex) -> np.ndarray:
        return target[part.end_W] - target[part.end_W - 1]

    x = features(windows.train)
    mean, std = x.mean(0), np.where(x.std(0) > 0, x.std(0), 1.0)
    design = [np.column_stack([(features(part) - mean) / std, np.ones(len(part.end_W))]) for part in windows]
    best: tuple[float, float, np.ndarray] | None = None
    gram, moment = design[0].T @ design[0], design[0].T @ change(windows.train)
    for penalty in PENALTIES:
        weight = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)
        error = float(np.mean((design[1] @ weight - change(windows.validation)) ** 2))
        if best is None or error < best[0]:
            best = (error, penalty, weight)
    assert best is not None
    _, penalty, weight = best
    if refit:
        gram, moment = gram + design[1].T @ design[1], moment + design[1].T @ change(windows.validation)
        weight = np.linalg.solve(gram + penalty * np.eye(len(gram)), moment)
    return target[windows.test.end_W - 1] + design[2] @ weight


def truth(task: Task) -> dict[str, np.ndarray]:
    """Truth and persistence of the test rows."""
    panel = task.panel()
    windows = windows_of(panel, task.bounds(panel), task.input_size)
    return {"test": panel.target[windows.test.end_W], "naive": panel.target[windows.test.end_W - 1]}
