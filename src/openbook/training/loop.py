"""One training loop: AdamW, warm-up and cosine, clipping, early stopping on validation windows, best weights kept."""

from __future__ import annotations

import copy
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from openbook.errors import UsageError, whole_number
from openbook.models.base import (
    ModelShape,
    Output,
    Teaching,
    check_amount,
    check_choice,
    check_share,
    places_of,
    seeded,
    unread,
)
from openbook.training.averaging import gathered, moving_average
from openbook.training.device import Device
from openbook.training.losses import Loss, attention_entropy, loss_value
from openbook.training.scales import loss_unit
from openbook.windows.batch import Batch
from openbook.windows.sampler import Resident, Split, WindowIndex, WindowShape, batches, gather, spread

log = logging.getLogger(__name__)
_UNPACED = 5  # steps of a run that say nothing about how long the next will take
SHOWN = 0.75  # share of training windows a reconstruction is shown in part; of the others it sees nothing
Progress = Callable[[int, int, float | None], None]
Hopeless = Callable[["History"], bool]


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained; plain values only.

    ``max_steps`` optimiser steps of ``batch_size`` windows; every ``val_every`` steps up to ``val_windows`` held-out
    windows are scored, and after ``patience`` scores without a new best training ends (``openbook`` has its own rules and
    goes to its end). ``validation_size`` steps are held
    out at the end of every series (``None``: decided from the lengths). ``focus`` weighs the entropy of the attention in
    the training loss: look-ups that forecast equally well shall be the sharper ones. Weights are validated and kept as
    moving averages over steps with decay ``averaging`` (0: none). ``learning_rate`` of AdamW (with ``weight_decay``) is
    reached after ``warmup`` steps, if there are as many, and decays after step ``hold``; ``clip`` is the largest norm of all
    gradients together; ``loss`` is one of those of the models' page, ``device`` ``cpu``, ``cuda`` or ``auto``.
    ``budget_s`` ends training after that many seconds; left open, ``openbook`` has 300, its decisions included, and other
    models have no limit but ``max_steps``. ``stop_after`` ends it after that many steps of a schedule laid out
    for ``max_steps`` (``openbook``: for that many). ``gap`` is how many steps back ``lag_mase`` compares with (None: a
    season). ``mixed_precision`` applies to GPUs only.

    >>> TrainConfig(max_steps=10).batch_size
    64
    """

    max_steps: int = 1200
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warmup: int = 50
    hold: int = 0
    clip: float = 1.0
    val_every: int = 100
    val_windows: int = 256
    patience: int = 6
    validation_size: int | None = None
    loss: Loss = "pinball"
    gap: int | None = None
    focus: float = 0.001
    averaging: float = 0.98
    device: Device = "auto"
    mixed_precision: bool = True
    budget_s: float | None = None
    stop_after: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch_size", "warmup", "val_every", "val_windows", "patience", "gap", "stop_after"):
            if getattr(self, name) is not None:
                whole_number(f"TrainConfig.{name}", getattr(self, name), least=1)
        for name in ("hold", "validation_size"):
            if getattr(self, name) is not None:
                whole_number(f"TrainConfig.{name}", getattr(self, name), least=0)
        check_choice("TrainConfig.loss", self.loss, get_args(Loss))
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", str(self.device)):
            check_choice("TrainConfig.device", self.device, get_args(Device))
        check_share("TrainConfig.averaging", self.averaging)
        for name in ("focus", "weight_decay"):
            check_amount(f"TrainConfig.{name}", getattr(self, name))
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise UsageError(
                    "out_of_range",
                    expected="a positive number",
                    got=repr(getattr(self, name)),
                    where=f"TrainConfig.{name}",
                    fix="pass one above zero",
                )
        if self.budget_s is not None and (isinstance(self.budget_s, bool) or not self.budget_s > 0):
            raise UsageError(
                "out_of_range",
                expected="seconds above zero",
                got=repr(self.budget_s),
                where="TrainConfig.budget_s",
                fix="leave it out for the default",
            )


@dataclass
class History:
    """What happened in a training: losses by step, the best step, steps skipped for losses that were not finite.

    ``unscaled``: how often a drawn window was left out of a MASE loss, for want of anything to measure its errors by.
    ``step_s``: seconds of a step up to the last validation, without a run's first ones, in which kernels compile.
    """

    train_loss: list[tuple[int, float]] = field(default_factory=list)
    val_loss: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    best_loss: float = math.inf
    steps: int = 0
    skipped: list[int] = field(default_factory=list)
    unscaled: int = 0
    stopped_by: str = "max_steps"
    seconds: float = 0.0
    step_s: float = 0.0


def _pace(clock: Sequence[float]) -> float:
    """Seconds of a step, from when each began and the last ended; the first ones count where there are no others."""
    first = max(0, min(_UNPACED, len(clock) - 2))
    return (clock[-1] - clock[first]) / max(1, len(clock) - 1 - first)


def teaching_probability(mode: str, progress: float) -> float:
    """How often the truth is fed back at this share of the training (scheduled sampling, Bengio et al. 2015, linear)."""
    shares = {"teacher_forcing": 1.0, "scheduled": max(0.0, 1.0 - 1.25 * progress), "reconstruct": SHOWN}
    return shares.get(mode, 0.0)


def train_model(
    model: nn.Module,
    resident: Resident,
    split: Split,
    windows: WindowShape,
    *,
    shape: ModelShape,
    config: TrainConfig,
    seed: int,
    progress: Progress | None = None,
) -> History:
    """Train ``model`` in place on the split's training windows and leave it with the weights that validated best.

    Losses or gradients that are not finite skip their step and are listed in ``History.skipped``; KeyboardInterrupt ends
    the training with the best weights so far. Torch's global generators are left as they were.
    """
    return Training(model, resident, split, windows, shape=shape, config=config, seed=seed).run(progress)


def index_to(windows: WindowIndex, device: torch.device) -> tuple[Tensor, Tensor]:
    """Series and ends as tensors on the device."""
    return torch.from_numpy(windows.series_W).to(device), torch.from_numpy(windows.end_W).to(device)


class Training:
    """The life of one training: optimiser, schedule, best weights; what ``train_model`` runs once can here go on."""

    def __init__(
        self,
        model: nn.Module,
        resident: Resident,
        split: Split,
        windows: WindowShape,
        *,
        shape: ModelShape,
        config: TrainConfig,
        seed: int,
    ) -> None:
        self.model, self.resident, self.windows = model, resident, windows
        self.shape, self.config, self.seed = shape, config, seed
        self.device = resident.data_RC.device
        self.train = index_to(split.train, self.device)
        self.validation = spread(split.validation, config.val_windows)
        self.random = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.AdamW(_decayed(model, config.weight_decay), lr=config.learning_rate, fused=True)
        self.autocast = self.device.type == "cuda" and config.mixed_precision
        self.history = History()
        self.average = AveragedModel(model, multi_avg_fn=moving_average(config.averaging))
        gathered(self.average)
        self.best = copy.deepcopy(model.state_dict())
        norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        self.running = [buffer for norm in norms for buffer in norm.buffers()]  # what a step moves beside its gradients

    def run(self, progress: Progress | None = None, hopeless: Hopeless | None = None) -> History:
        """Train to the end of the schedule; ``hopeless`` is asked after every validation whether to give up before it."""
        begin = time.perf_counter()
        try:
            with seeded(self.seed + self.history.steps, self.device):
                self._steps(progress, hopeless, begin)
        except KeyboardInterrupt:
            if not self.history.train_loss:
                raise  # nothing was learned that could be kept
            self.history.stopped_by = "interrupt"
        if not self.history.val_loss:  # nothing held out, or interrupted before the first validation
            self.best, self.history.best_step = copy.deepcopy(self.average.module.state_dict()), self.history.steps
        if self.history.val_loss and not math.isfinite(self.history.best_loss):
            log.warning(
                "no validation loss of the training was finite: its weights are the initial ones (seed %d)", self.seed
            )
        self.model.load_state_dict(self.best)
        self.model.eval()
        self.history.seconds += time.perf_counter() - begin
        return self.history

    def go_on(self, config: TrainConfig, progress: Progress | None = None) -> History:
        """Take the training up again at its best weights, as the step they are of, with another schedule or budget."""
        self.config = config
        history, best = self.history, self.history.best_step
        history.seconds *= best / max(1, history.steps)  # what was learned after it is forgotten, its time too
        history.skipped = [step for step in history.skipped if step <= best]
        history.steps, history.stopped_by = best, "max_steps"
        history.train_loss = [told for told in history.train_loss if told[0] <= best]
        history.val_loss = [told for told in history.val_loss if told[0] <= best]
        self.average.module.load_state_dict(self.best)
        return self.run(progress)

    def _steps(self, progress: Progress | None, hopeless: Hopeless | None, begin: float) -> None:
        config, history, clock = self.config, self.history, list[float]()
        end = min(config.max_steps, config.stop_after or config.max_steps)
        for step in range(history.steps + 1, config.max_steps + 1):
            clock.append(time.perf_counter() - begin)
            done = (step - config.hold) / (config.max_steps - config.hold) if step > config.hold else 0.0
            spent = max(done, self._time_spent(clock, end - step))
            loss = self._step(step, spent)
            history.steps = step
            history.train_loss.append((step, loss))
            last = step in (config.max_steps, config.stop_after) or spent >= 1
            if step % config.val_every == 0 or last:
                self._validate(step)
                history.step_s = _pace([*clock, time.perf_counter() - begin])
                if (step - history.best_step) >= config.patience * config.val_every and self.validation:
                    history.stopped_by = "early stopping"
                    return
                if hopeless is not None and hopeless(history):
                    history.stopped_by = "hopeless"
                    return
                if spent >= 1 and step < config.max_steps:  # whoever asked may have been given more time
                    now = [*clock, time.perf_counter() - begin]
                    last = step == config.stop_after or self._time_spent(now, end - step - 1) >= 1
            if progress is not None:
                progress(step, config.max_steps, history.val_loss[-1][1] if history.val_loss else None)
            if last:
                history.stopped_by = "budget_s" if spent >= 1 and step < config.max_steps else "max_steps"
                return

    def _time_spent(self, clock: Sequence[float], left: int) -> float:
        """Share of the budget that is gone at the beginning of a step; 0 as long as the ``left`` ones will fit in.

        Time that is never short must not touch the result. The first steps, in which kernels compile, set no pace, and what
        they took is no share of the schedule: it is laid out over the rest.
        """
        budget, elapsed, paced = self.config.budget_s, clock[-1], len(clock) - 1 - _UNPACED
        if not budget:
            return 0.0
        if elapsed >= budget:
            return 1.0
        if paced < _UNPACED:
            return 0.0
        begun = clock[_UNPACED]
        fits = elapsed + _pace(clock) * (left + 1) <= budget
        return 0.0 if fits else (elapsed - begun) / (budget - begun)

    def _step(self, step: int, spent: float) -> float:
        self.model.train()
        chosen = torch.from_numpy(self.random.integers(0, len(self.train[1]), self.config.batch_size)).to(self.device)
        series_B, end_B = self.train[0][chosen], self.train[1][chosen]
        batch = gather(self.resident, series_B, end_B, self.windows)
        unit_BM = self._unit(series_B, end_B, batch)
        self.history.unscaled += 0 if unit_BM is None else int(unit_BM.isnan().sum())
        decay = _cosine(spent) if step > self.config.hold else 1.0
        rate = self.config.learning_rate * min(1.0, step / self.config.warmup) * decay
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        mode: str = getattr(self.model.config, "mode", "direct")
        teaching = Teaching(teaching_probability(mode, spent), self.generator)
        before = [buffer.clone() for buffer in self.running]
        output, loss = self._forward(batch, teaching, self.model, unit_BM)
        if self.config.focus > 0:
            loss = loss + self.config.focus * attention_entropy(output.attention.weight_BHTF.float())
        if output.penalty is not None:
            loss = loss + output.penalty
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if bool(torch.isfinite(norm) & torch.isfinite(loss)):
            self.optimiser.step()
            self.average.update_parameters(self.model)
        else:
            self.history.skipped.append(step)
            for buffer, kept in zip(self.running, before, strict=True):
                buffer.copy_(kept)
        return float(loss.detach())

    def _validation_teaching(self) -> Teaching:
        """Nothing is told to a forecaster; a reconstruction is shown what it will be shown, the same at every validation."""
        shown = SHOWN if getattr(self.model.config, "mode", "") == "reconstruct" else 0.0
        return Teaching(shown, torch.Generator().manual_seed(0))

    def _unit(self, series_B: Tensor, end_B: Tensor, batch: Batch) -> Tensor | None:
        """What the loss counts the windows' errors in, in scaled units."""
        gap = self.shape.season if self.config.gap is None else self.config.gap
        unit_BM = loss_unit(self.resident, series_B, end_B, h=self.shape.h, loss=self.config.loss, gap=gap)
        if unit_BM is None:
            return None
        share_BM = (unit_BM / batch.scale_BM).float()
        return share_BM.sqrt() if self.resident.halfway else share_BM

    def _forward(
        self, batch: Batch, teaching: Teaching, model: nn.Module, unit_BM: Tensor | None
    ) -> tuple[Output, Tensor]:
        """The model's output and its forecast loss."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            output = model(batch, teaching)
        loss = loss_value(
            output.quantile_BHMQ.float(),
            batch.target_BHM,
            batch.target_observed_BHM,
            quantiles=self.shape.quantiles,
            loss=self.config.loss,
            unit_BM=unit_BM,
        )
        return output, loss

    @torch.no_grad()
    def judged(self, model: nn.Module) -> float:
        """Mean loss of a model over the validation windows of this training; NaN where none of them can be measured."""
        model.eval()
        total, count = 0.0, 0
        for piece in batches(self.validation, self.shape.windows_at_once(places_of(model))):
            index = index_to(piece, self.device)
            batch = gather(self.resident, *index, self.windows)
            unit_BM = self._unit(*index, batch)
            seen_BHM = (
                batch.target_observed_BHM
                if unit_BM is None
                else batch.target_observed_BHM & unit_BM.isfinite()[:, None]
            )
            seen = int(seen_BHM.sum())
            with unread():
                loss = float(self._forward(batch, self._validation_teaching(), model, unit_BM)[1])
            total, count = total + loss * seen, count + seen
        return total / count if count else math.nan

    def _measured(self) -> bool:
        """Whether the loss counts anything of the validation windows."""
        for piece in batches(self.validation, 256):
            index = index_to(piece, self.device)
            batch = gather(self.resident, *index, self.windows)
            unit_BM = self._unit(*index, batch)
            if unit_BM is None or bool((batch.target_observed_BHM & unit_BM.isfinite()[:, None]).any()):
                return True
        return False

    def _validate(self, step: int) -> None:
        """Mean loss over the validation windows; keeps the weights of the best."""
        if self.validation and not self.history.val_loss and not self._measured():
            log.warning("no held-out window can be measured by the loss %s: training goes to its end", self.config.loss)
            self.validation = self.validation.take(np.zeros(0, np.int64))
        if not self.validation:
            self.history.best_step = step
            return
        mean = self.judged(self.average)
        self.history.val_loss.append((step, mean))
        if mean < self.history.best_loss:
            self.history.best_loss, self.history.best_step = mean, step
            self.best = copy.deepcopy(self.average.module.state_dict())


def _cosine(spent: float) -> float:
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(spent, 1.0)))


def _decayed(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay, biases and norms do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
