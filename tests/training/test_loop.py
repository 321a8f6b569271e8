"""The training loop: it learns, stops early, keeps the best weights, survives bad losses and interrupts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from openbook.data.panel import make_panel
from openbook.errors import UsageError
from openbook.models.base import ModelShape
from openbook.models.registry import build_model
from openbook.models.seq2seq import LuongConfig
from openbook.training import loop
from openbook.training.device import pick_device
from openbook.training.loop import History, TrainConfig, index_to, teaching_probability, train_model
from openbook.training.losses import attention_entropy
from openbook.windows.sampler import Layout, Split, WindowShape, gather, make_resident, split_windows
from openbook.windows.scaling import fit_columns

WINDOWS = WindowShape(12, 4)


def setting(config: LuongConfig | None = None) -> tuple[nn.Module, object, Split, ModelShape]:
    step = np.arange(200)
    frame = pd.DataFrame({"unique_id": "a", "ds": step, "y": np.sin(2 * np.pi * step / 8) * 3 + 10})
    panel = make_panel(frame)
    layout = Layout("y")
    shape = ModelShape(1, layout.n_encoder, layout.n_decoder, 12, 4, (0.1, 0.5, 0.9))
    model = build_model(config or LuongConfig(hidden_size=8), shape, 1)
    resident = make_resident(panel, layout, fit_columns(np.empty((200, 0))))
    return model, resident, split_windows(panel, WINDOWS, validation_size=20), shape


def run(
    config: TrainConfig, model_config: LuongConfig | None = None, progress: object = None
) -> tuple[nn.Module, History]:
    model, resident, split, shape = setting(model_config)
    return model, train_model(model, resident, split, WINDOWS, shape=shape, config=config, seed=1, progress=progress)


def test_it_learns_a_sine() -> None:
    _, history = run(TrainConfig(max_steps=200, val_every=50, batch_size=32, learning_rate=1e-2))
    assert history.best_loss < 0.1 < history.train_loss[0][1]
    assert history.steps == 200
    assert history.stopped_by == "max_steps"
    assert not history.skipped


def test_it_stops_early_and_keeps_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.5, 0.3, 0.4, 0.4, 0.4, 0.4])
    seen: list[dict[str, torch.Tensor]] = []
    kept = loop.Training._validate

    def staged(trainer: loop.Training, step: int) -> None:
        value = torch.tensor(next(losses))
        monkeypatch.setattr(trainer, "_forward", lambda *given: (None, value))
        kept(trainer, step)
        monkeypatch.delattr(trainer, "_forward")
        seen.append({name: value.clone() for name, value in trainer.average.module.state_dict().items()})

    monkeypatch.setattr(loop.Training, "_validate", staged)
    model, history = run(TrainConfig(max_steps=60, val_every=5, patience=3, batch_size=8))
    assert history.stopped_by == "early stopping"
    assert history.best_step == 10
    assert history.steps == 25
    assert history.best_loss == pytest.approx(0.3)
    best = seen[1]
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    assert not all(torch.equal(value, seen[-1][name]) for name, value in model.state_dict().items())


def test_the_rate_decays_after_the_held_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: (rates.append(self.param_groups[0]["lr"]), step(self, *a))[1]
    )
    run(TrainConfig(max_steps=12, hold=6, warmup=2, learning_rate=1.0, batch_size=4, val_every=12))
    assert rates[:6] == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    np.testing.assert_allclose(rates[6:], [0.02 + 0.49 * (1 + math.cos(math.pi * k / 6)) for k in range(1, 7)])


def test_while_the_rate_is_held_the_time_that_is_spent_does_not_lower_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step, clock = torch.optim.AdamW.step, itertools.count()
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: (rates.append(self.param_groups[0]["lr"]), step(self, *a))[1]
    )
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    _, history = run(TrainConfig(max_steps=12, hold=12, warmup=1, learning_rate=1.0, batch_size=4, budget_s=5))
    assert history.stopped_by == "budget_s"
    assert rates == [1.0] * 5


def test_steps_in_which_kernels_compile_set_no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, step = SimpleNamespace(now=0.0), loop.Training._step

    def timed(training: loop.Training, number: int, spent: float) -> float:
        clock.now += 9.0 if number < 3 else 0.5
        return step(training, number, spent)

    monkeypatch.setattr(loop.Training, "_step", timed)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    assert run(TrainConfig(max_steps=10, val_every=5, batch_size=4))[1].step_s == 0.5
    assert run(TrainConfig(max_steps=2, val_every=2, batch_size=4))[1].step_s == 9.0


def test_a_training_out_of_seconds_goes_on_with_those_it_is_given_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds end before the first validation; who is asked then gives so many that all steps fit."""
    model, resident, split, shape = setting()
    config = TrainConfig(max_steps=11, hold=11, val_every=8, batch_size=4, budget_s=10.0)
    ticks = itertools.count(0.0, 2.5)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    training = loop.Training(model, resident, split, WINDOWS, shape=shape, config=config, seed=1)
    asked: list[int] = []

    def hopeless(history: History) -> bool:
        asked.append(history.steps)
        training.config = replace(training.config, budget_s=1000.0)
        return False

    history = training.run(None, hopeless)
    assert asked[0] < 8, "seconds ended before a validation was due"
    assert (history.steps, history.stopped_by) == (11, "max_steps")


def test_it_goes_on_from_its_best_weights_as_their_step() -> None:
    model, resident, split, shape = setting()
    config = TrainConfig(max_steps=10, hold=10, val_every=2, batch_size=8)
    training = loop.Training(model, resident, split, WINDOWS, shape=shape, config=config, seed=1)
    training.run(None, lambda history: history.steps == 8)
    assert training.history.stopped_by == "hopeless"
    assert training.history.steps == 8
    training.history.best_step, training.history.best_loss = 4, 0.0  # as if nothing after it had been as good
    kept = training.best = {name: value + 1.0 for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    training.history.seconds = 1000.0
    for group in training.optimiser.param_groups:
        group["weight_decay"] = 0.0
    history = training.go_on(replace(config, max_steps=9, hold=4, learning_rate=1e-30))
    assert history.seconds == pytest.approx(500.0, abs=60.0), "four of eight steps were forgotten"
    for name, value in training.average.module.state_dict().items():
        torch.testing.assert_close(value, kept[name])
    assert [step for step, _ in history.train_loss] == list(range(1, 10))
    assert [step for step, _ in history.val_loss] == [2, 4, 6, 8, 9]
    assert history.stopped_by == "max_steps"
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_losses_that_are_not_finite_are_skipped_named_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = loop.loss_value, iter(range(1000))

    def sometimes_nan(*args: object, **options: object) -> torch.Tensor:
        value = real(*args, **options)
        return value * math.nan if next(calls) in (2, 3) else value

    monkeypatch.setattr(loop, "loss_value", sometimes_nan)
    model, history = run(TrainConfig(max_steps=8, val_every=8, batch_size=8))
    assert history.skipped == [3, 4]
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_an_interrupt_keeps_the_best_weights() -> None:
    def interrupt(step: int, steps: int, loss: float | None) -> None:
        if step == 7:
            raise KeyboardInterrupt

    model, history = run(TrainConfig(max_steps=50, val_every=5, batch_size=8), progress=interrupt)
    assert history.stopped_by == "interrupt"
    assert history.best_step == 5
    assert history.steps == 7
    assert not model.training


def test_an_interrupt_before_the_first_validation_keeps_what_was_learned() -> None:
    def interrupt(step: int, steps: int, loss: float | None) -> None:
        if step == 7:
            raise KeyboardInterrupt

    fresh = setting()[0].state_dict()
    model, history = run(TrainConfig(max_steps=50, val_every=25, batch_size=8), progress=interrupt)
    assert (history.stopped_by, history.best_step) == ("interrupt", 7)
    assert not all(torch.equal(value, fresh[name]) for name, value in model.state_dict().items())


def test_an_interrupt_before_the_first_step_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Training, "_step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(TrainConfig(max_steps=5))


def test_a_time_budget_ends_training() -> None:
    _, history = run(TrainConfig(max_steps=100_000, val_every=50, batch_size=8, budget_s=0.5))
    assert history.stopped_by == "budget_s"
    assert history.val_loss[-1][0] == history.steps


def test_focus_sharpens_the_look_ups() -> None:
    entropies = []
    for focus in (0.0, 0.5):
        model, resident, split, shape = setting()
        config = TrainConfig(max_steps=120, val_every=120, batch_size=16, learning_rate=1e-2, focus=focus)
        train_model(model, resident, split, WINDOWS, shape=shape, config=config, seed=1)
        batch = gather(resident, *index_to(split.validation, torch.device("cpu")), WINDOWS)
        entropies.append(float(attention_entropy(model(batch).attention.weight_BHTF.detach())))
    assert entropies[1] < 0.7 * entropies[0]


def test_a_penalty_of_the_model_is_trained_and_not_validated() -> None:
    class Costly(nn.Module):
        """A model with one more weight, which only its penalty pulls at."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.config = inner, inner.config
            self.spare = nn.Parameter(torch.ones(()))

        def forward(self, *given: Any) -> Any:
            return self.inner(*given)._replace(penalty=1e3 + self.spare)

    model, resident, split, shape = setting()
    config = TrainConfig(max_steps=10, val_every=10, batch_size=8, weight_decay=1e-12)
    costly = Costly(model)
    history = train_model(costly, resident, split, WINDOWS, shape=shape, config=config, seed=1)
    assert float(costly.spare.detach()) < 1.0
    assert history.train_loss[0][1] > 1e3
    assert history.best_loss < 1e3


def test_without_validation_windows_the_last_weights_stay() -> None:
    model, resident, split, shape = setting()
    empty = split._replace(validation=split.validation.take(np.empty(0, np.int64)))
    history = train_model(
        model, resident, empty, WINDOWS, shape=shape, config=TrainConfig(max_steps=6, batch_size=8), seed=1
    )
    assert history.steps == history.best_step == 6
    assert not history.val_loss


@pytest.mark.parametrize("mode", ["teacher_forcing", "scheduled", "free_running"])
def test_every_mode_of_feedback_trains(mode: str) -> None:
    _, history = run(
        TrainConfig(max_steps=60, val_every=30, batch_size=16, learning_rate=1e-2),
        LuongConfig(hidden_size=8, mode=mode),
    )
    assert history.best_loss < history.train_loss[0][1]


def test_the_average_soon_forgets_its_start() -> None:
    """Its memory grows: after one update 10/11 of the new weights, after ten half of them, at last ``1 − decay``."""
    old, new = [torch.zeros(2), torch.zeros(3, 2)], [torch.ones(2), torch.ones(3, 2)]
    for count, share in ((1, 10 / 11), (10, 0.5), (10_000, 0.1)):
        weights = [one.clone() for one in old]
        loop.moving_average(0.9)(weights, new, torch.tensor(count))
        assert all(torch.allclose(one, torch.full_like(one, share)) for one in weights)


def test_teaching_decays_only_where_scheduled() -> None:
    assert [teaching_probability("scheduled", share) for share in (0.0, 0.4, 0.8, 1.0)] == [1.0, 0.5, 0.0, 0.0]
    assert {teaching_probability("teacher_forcing", share) for share in (0.0, 1.0)} == {1.0}
    assert teaching_probability("free_running", 0.0) == teaching_probability("direct", 0.0) == 0.0


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto").type == "cpu"
    with pytest.raises(UsageError, match="GPU"):
        pick_device("cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here, or OPENBOOK_TEST_GPU is not set")
def test_training_on_a_gpu_comes_close_to_the_cpu() -> None:
    losses = []
    for device in ("cpu", "cuda"):
        model, resident, split, shape = setting()
        resident = resident._replace(**{k: v.to(device) for k, v in resident._asdict().items() if k != "layout"})
        config = TrainConfig(max_steps=100, val_every=50, batch_size=32, learning_rate=1e-2, mixed_precision=False)
        history = train_model(model.to(device), resident, split, WINDOWS, shape=shape, config=config, seed=1)
        losses.append(history.best_loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.3)


@pytest.mark.parametrize("gap", [0, -5, 2.5, True])
def test_gaps_that_are_no_steps_are_refused(gap: object) -> None:
    with pytest.raises(UsageError, match="whole number"):
        TrainConfig(gap=gap)  # type: ignore[arg-type]


def test_a_budget_that_is_never_short_does_not_touch_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(max_steps=40, batch_size=4, val_every=20)
    wanted, _ = run(config)
    ticks = itertools.chain([0.0, 8.0], itertools.count(16.0, 0.5))  # the first steps compile
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    model, history = run(replace(config, budget_s=60.0))
    assert history.stopped_by == "max_steps"
    for name, value in model.state_dict().items():
        assert torch.equal(value, wanted.state_dict()[name]), name


def rates_within(
    monkeypatch: pytest.MonkeyPatch, ticks: Iterator[float], budget_s: float
) -> tuple[list[float], History]:
    """The learning rate of every step of a training that its budget ends, by a clock that tells ``ticks``."""
    rates: list[float] = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: (rates.append(self.param_groups[0]["lr"]), step(self, *a))[1]
    )
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    config = TrainConfig(max_steps=10_000, warmup=1, learning_rate=1.0, batch_size=4, val_every=50, budget_s=budget_s)
    _, history = run(config)
    assert history.stopped_by == "budget_s"
    return rates, history


def test_a_training_that_is_stopped_after_some_steps_needs_time_for_these_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its rate fell with the clock, as if all steps of the schedule were to fit into the time."""
    config = TrainConfig(max_steps=10_000, stop_after=20, batch_size=4, val_every=10)
    plain, _ = run(config)
    ticks = itertools.count(0.0, 1.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    timed, history = run(replace(config, budget_s=60.0))
    assert (history.steps, history.stopped_by) == (20, "max_steps")
    for one, other in zip(plain.parameters(), timed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_budget_that_will_be_short_lowers_the_rate_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, history = rates_within(monkeypatch, itertools.count(0.0, 1.0), 40)
    assert history.steps == 40
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0.02)


def test_what_the_first_steps_took_is_no_share_of_a_short_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, _ = rates_within(monkeypatch, itertools.chain([0.0, 0.0], itertools.count(30.0, 1.0)), 60)
    # The sixth step begins after 34 seconds, the eleventh after 39: 5 of the 26 that were left.
    assert rates[10] == pytest.approx(0.02 + 0.49 * (1 + math.cos(math.pi * 5 / 26)))
    assert rates[-1] == pytest.approx(0.02)


def test_validation_drops_nothing_out() -> None:
    model, resident, split, shape = setting(LuongConfig(hidden_size=8, dropout=0.9))
    training = loop.Training(model, resident, split, WINDOWS, shape=shape, config=TrainConfig(), seed=1)
    training.average.train()
    training._validate(1)
    training.average.train()
    training._validate(2)
    (_, first), (_, second) = training.history.val_loss
    assert first == second


def test_a_validation_loss_is_the_mean_over_observed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever windows are scored together: one of them knows a single step of its horizon."""
    model, resident, split, shape = setting()
    last = int(split.validation.end_W[-1])
    resident.data_RC[last + 1 :, 0] = torch.nan  # type: ignore[attr-defined]
    resident.data_RC[last, 0] = 1000.0  # type: ignore[attr-defined]
    losses = []
    for at_once in (1, 1000):
        monkeypatch.setattr(ModelShape, "windows_at_once", lambda self, places, n=at_once: n)
        training = loop.Training(model, resident, split, WINDOWS, shape=shape, config=TrainConfig(), seed=1)
        training._validate(1)
        losses.append(training.history.val_loss[0][1])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_gpu_that_does_not_work_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """torch also sees cards that its build is too new for."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(
        "torch.ones", lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("no kernel image\nfor it"))
    )
    assert pick_device("auto").type == "cpu"
    assert "no kernel image" in caplog.text
    assert pick_device("cuda").type == "cuda"  # who asks for it has it
