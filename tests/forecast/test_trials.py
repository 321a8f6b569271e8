"""The trials of ``openbook``: their seconds, what ends them, and the training to the end of the one that did best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.forecast.test_search import FAST, SPLIT, make_frame, watched

from openbook.data.panel import make_panel
from openbook.forecast import judging, search
from openbook.forecast.budget import Budget
from openbook.forecast.forecaster import Forecaster
from openbook.models.openbook import OpenBookConfig
from openbook.training.loop import History, TrainConfig, Training

SHAPE = SimpleNamespace(n_variables=2, n_static=0, n_year=0, h=24, season=24)


@pytest.mark.parametrize(("at", "n_models"), [(1, None), (2, None), (3, None), (4, None), (4, 1), (5, 2), (6, 2)])
def test_after_an_interrupt_no_training_is_begun(
    monkeypatch: pytest.MonkeyPatch, at: int, n_models: int | None
) -> None:
    """Two trials (with the long book, without), the better one's end, further members, and all of them going on with all
    rows: ended at each of them."""

    def interrupt(training: Training, count: int) -> None:
        if count == at:
            training.history.stopped_by = "interrupt"

    done = watched(monkeypatch, interrupt)
    config = OpenBookConfig(window=48, n_models=n_models, differences=False)
    model = Forecaster(24, model=config, train=FAST).fit(make_frame().drop(columns="warm"))
    assert len(done) == at
    assert model.interrupted()
    kept = model.fitted().model.members[0].state_dict()
    assert any(
        all(torch.equal(value, kept[name]) for name, value in one.model.state_dict().items())
        for one in done[:3]
        if replace(one.model.config, n_models=None) == replace(model.fitted().config, n_models=None)
    )


@pytest.mark.parametrize("at", [2, 3, 4, 5])
def test_an_interrupt_before_a_later_trainings_first_step_keeps_what_was_learned(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    usual, count = Training.run, [0]

    def run(training: Training, *arguments: Any) -> History:
        count[0] += 1
        if count[0] == at and not training.history.train_loss:
            raise KeyboardInterrupt
        return usual(training, *arguments)

    monkeypatch.setattr(Training, "run", run)
    config = OpenBookConfig(window=48, n_models=2, differences=False)
    model = Forecaster(24, model=config, train=FAST).fit(make_frame().drop(columns="warm"))
    assert model.predict()["OpenBook"].notna().all()
    assert model.interrupted() or at == 3  # the third goes on with a training


def test_an_interrupt_after_the_training_lets_bands_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    usual, count = judging.widenings, [0]

    def widenings(*arguments: Any) -> Any:
        count[0] += 1
        if count[0] == 1:
            raise KeyboardInterrupt
        return usual(*arguments)

    monkeypatch.setattr(judging, "widenings", widenings)
    config = OpenBookConfig(window=48, n_models=1, differences=False, book=0, mixing=False)
    model = Forecaster(24, model=config, train=FAST).fit(make_frame().drop(columns="warm"))
    assert model.interrupted()
    assert model.predict(level=[80])["OpenBook-hi-80"].notna().all()


def test_nothing_held_out_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done = watched(monkeypatch, lambda training, count: None)
    table = make_frame(12).drop(columns="warm")
    model = Forecaster(24, train=TrainConfig(max_steps=3, validation_size=0)).fit(table)
    assert len(done) == 1
    assert done[0].history.steps == 3
    assert model.decisions["book"].why == "not tried: nothing held out, no time, or ended"
    assert "nothing held out" in model.decisions["learning_rate"].why


def test_the_best_trial_goes_on_from_its_best_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same training, its steps counted on, at a rate that now decays; and the trials all at an even one."""
    told: list[tuple[Training, int, TrainConfig]] = []
    watched(monkeypatch, lambda training, count: told.append((training, training.history.steps, training.config)))
    config = OpenBookConfig(window=48, differences=False)
    Forecaster(24, model=config, train=FAST).fit(make_frame().drop(columns="warm"))
    (base, steps, trial), (_, _, other), (again, end, full), *_ = told
    assert again in {base, told[1][0]}
    assert steps == 3
    assert trial.hold == trial.max_steps == other.hold == 3
    assert (full.hold, full.max_steps, end) == (3, 6, 6)


@pytest.mark.parametrize(("n_models", "seconds"), [(1, 10.0), (3, 50 / 5.9)])
def test_trials_leave_time_for_all_members(monkeypatch: pytest.MonkeyPatch, n_models: int, seconds: float) -> None:
    """Two trials in two fifths of the fifty seconds that the closed form left of sixty; with three members, each of which
    goes on for three tenths, none more than such a member will have. Steps that take no time make none of them longer."""
    told: list[float | None] = []
    monkeypatch.setattr(search, "_TELLING", 0)
    monkeypatch.setattr(Budget, "left", lambda budget, over=1.0: over * budget.seconds - 10)
    watched(monkeypatch, lambda training, count: told.append(training.config.budget_s))
    config, train = OpenBookConfig(window=48, n_models=n_models), replace(FAST, budget_s=60.0)
    Forecaster(24, model=config, train=train).fit(make_frame().drop(columns="warm"))
    assert told[:2] == [pytest.approx(seconds)] * 2


def test_members_share_the_time_where_nothing_is_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float | None] = []
    monkeypatch.setattr(Budget, "left", lambda budget, over=1.0: over * budget.seconds)
    watched(monkeypatch, lambda training, count: told.append(training.config.budget_s))
    train = TrainConfig(max_steps=3, validation_size=0, budget_s=60.0)
    Forecaster(24, model=OpenBookConfig(n_models=2), train=train).fit(make_frame(12).drop(columns="warm"))
    assert told[0] == pytest.approx(30.0)


def test_no_training_goes_beyond_the_step_it_was_told_to_stop_after(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    watched(monkeypatch, lambda training, count: told.append(training.history.steps))
    Forecaster(24, model=OpenBookConfig(window=48), train=replace(FAST, stop_after=3)).fit(
        make_frame().drop(columns="warm")
    )
    assert max(told) == 3


@pytest.mark.parametrize(("held_out", "stop_after"), [(None, 4), (None, 2), (0, 4)])
def test_a_schedule_ends_where_training_is_to_stop(
    monkeypatch: pytest.MonkeyPatch, held_out: int | None, stop_after: int
) -> None:
    """The rate has come down by then: of the training to the end, of a slower one beside it, and with nothing held out."""
    ends: list[tuple[int, float]] = []

    def note(training: Training, count: int) -> None:
        if training.config.hold < training.config.max_steps:
            ends.append((training.config.max_steps, training.config.learning_rate))

    watched(monkeypatch, note)
    monkeypatch.setattr(search, "learnt_by_heart", lambda trial: trial.history.steps == stop_after // 2)
    train = TrainConfig(max_steps=6, stop_after=stop_after, val_every=1, validation_size=held_out)
    config = OpenBookConfig(window=48, n_models=1, differences=False, refit=False)
    Forecaster(24, model=config, train=train).fit(make_frame(12 if held_out == 0 else 40).drop(columns="warm"))
    assert (stop_after, train.learning_rate) in ends, "at the usual rate, too, which falls to the end"
    assert {steps for steps, _ in ends} == {stop_after}


@pytest.mark.parametrize(
    ("best_step", "improves", "length", "slow"), [(2, True, 4, True), (9, True, 40, False), (9, False, 40, True)]
)
def test_a_slower_pace_is_tried_where_a_trial_overfitted_or_its_end_brought_nothing(
    monkeypatch: pytest.MonkeyPatch, best_step: int, improves: bool, length: int, slow: bool
) -> None:
    """Ten steps in a trial: best at the second (laid out for twice two), or at the ninth (for all forty)."""
    history, laid_out, paces = History(best_loss=1.0, best_step=best_step, steps=10, seconds=1.0), [], []

    def go_on(config: TrainConfig, progress: Any) -> None:
        laid_out.append((config.hold, config.max_steps))
        history.best_step += int(improves)

    def begun(bench: Any, config: OpenBookConfig, seed: int, pace: float) -> Any:
        paces.append(pace)
        return search.Trial(
            SimpleNamespace(history=History(), config=TrainConfig(), run=lambda progress: None), config, bench
        )  # type: ignore[arg-type]

    monkeypatch.setattr(search, "begun", begun)
    train = TrainConfig(max_steps=40)
    bench: Any = SimpleNamespace(train=train, split=SPLIT, progress=None)
    first: Any = SimpleNamespace(history=history, config=train, go_on=go_on)
    search.train_fully(search.Trial(first, OpenBookConfig(), bench), 1, 100.0, 2)
    assert laid_out == [(best_step, length)]
    assert paces == ([0.2] if slow else [])


def test_an_interrupt_of_the_slower_pace_keeps_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(best_loss=1.0, best_step=9, steps=10, seconds=1.0)

    def run(progress: Any) -> None:
        raise KeyboardInterrupt

    def begun(bench: Any, config: OpenBookConfig, seed: int, pace: float) -> Any:
        training: Any = SimpleNamespace(history=History(), config=TrainConfig(), run=run)
        return search.Trial(training, config, bench, pace)

    monkeypatch.setattr(search, "begun", begun)
    train = TrainConfig(max_steps=40)
    bench: Any = SimpleNamespace(train=train, split=SPLIT, progress=None)
    first: Any = SimpleNamespace(history=history, config=train, go_on=lambda config, progress: None)
    kept, _ = search.train_fully(search.Trial(first, OpenBookConfig(), bench), 1, 100.0, 2)
    assert kept.history is history
    assert search.stopped(kept)


@pytest.mark.parametrize(("step_s", "seconds"), [(0.04, 10.0), (0.1, 20.0), (0.2, 30.0)])
def test_a_trial_of_slow_steps_goes_on_until_it_tells(
    monkeypatch: pytest.MonkeyPatch, step_s: float, seconds: float
) -> None:
    """Ten seconds, or what two hundred steps take, thirty at most."""
    clock = SimpleNamespace(now=5.0)
    monkeypatch.setattr(search, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    history = History()

    def run(progress: Any, hopeless: Callable[[History], bool]) -> None:
        history.steps, clock.now = 25, clock.now + 25 * step_s
        assert not hopeless(history), "there is nothing it could be behind"

    training: Any = SimpleNamespace(history=history, config=TrainConfig(), run=run)
    monkeypatch.setattr(search, "begun", lambda bench, config, seed: search.Trial(training, config, bench))
    bench: Any = SimpleNamespace(train=TrainConfig(), progress=None)
    search.run_trial(bench, OpenBookConfig(), 1, 10.0, 30.0)
    assert training.config.budget_s == pytest.approx(seconds)


@pytest.mark.parametrize(("took", "tried"), [(40.0, ["book"]), (28.9, ["book"]), (13.3, ["book", "mixing"])])
def test_no_part_is_tried_for_which_there_is_no_time(
    monkeypatch: pytest.MonkeyPatch, took: float, tried: list[str]
) -> None:
    """A hundred seconds: three trials of 13 fit, and are told; where two hundred steps take 29, a third trial does not;
    the first is worth waiting for, however long it takes."""
    clock, told = SimpleNamespace(now=0.0), list[OpenBookConfig]()
    monkeypatch.setattr(search, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def run(bench: Any, config: OpenBookConfig, *_: Any, **__: Any) -> Any:
        clock.now += took
        told.append(config)
        training: Any = SimpleNamespace(history=History(steps=200, seconds=took, best_loss=1.0))
        return search.Trial(training, config, bench)

    monkeypatch.setattr(search, "run_trial", run)
    bench: Any = SimpleNamespace(split=SPLIT, shape=SHAPE, train=TrainConfig())
    config = OpenBookConfig(window=48, n_models=1)
    _, decisions = search.choose_parts(bench, make_panel(make_frame(), futr=["warm"], freq="h"), config, 1, 100.0)
    assert len(told) == 1 + len(tried)
    assert [name for name in ("book", "mixing") if "validation loss" in decisions[name].why] == tried


@pytest.mark.parametrize(("step_s", "learnt", "kept"), [(0.1, 200, True), (0.2, 200, False), (0.2, 100, True)])
def test_a_part_is_not_kept_for_whose_steps_there_is_no_time(
    monkeypatch: pytest.MonkeyPatch, step_s: float, learnt: int, kept: bool
) -> None:
    """After 20 of 150 seconds the other inputs' past validates better: of 1,200 steps the time is enough for 1,300 and 650;
    where the trial without it was learning by heart after its hundredth step, two hundred are all that is needed."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(search, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def run(bench: Any, config: OpenBookConfig, *_: Any, most_s: float = 0.0, **__: Any) -> Any:
        clock.now += 20.0
        history = History(steps=200, seconds=20.0, best_step=learnt, best_loss=1.0)
        if config.mixing:
            assert most_s == pytest.approx(130.0 / (800 if learnt == 200 else 400 / 3))
            history = History(steps=25, step_s=step_s, best_step=25, best_loss=0.5)
        return search.Trial(SimpleNamespace(history=history), config, bench)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "run_trial", run)
    bench: Any = SimpleNamespace(split=SPLIT, shape=SHAPE, train=TrainConfig())
    config = OpenBookConfig(window=48, book=0, n_models=1, refit=False)
    panel = make_panel(make_frame(), futr=["warm"], freq="h")
    best, decisions = search.choose_parts(bench, panel, config, 1, 150.0)
    assert best.config.mixing is decisions["mixing"].value is kept
    told = (
        "validation loss with False: 1, with True: 0.5"
        if kept
        else "with True the time is enough for 650 of 1200 steps"
    )
    assert decisions["mixing"].why == told


@pytest.mark.parametrize(
    ("best_step", "exact", "tried", "kept"),
    [(200, 0.5, False, 30), (134, 0.5, False, 30), (133, 0.999, True, 0), (133, 1.0, True, 30)],
)
def test_exact_dates_are_tried_where_noise_is_learned_by_heart_too(
    monkeypatch: pytest.MonkeyPatch, best_step: int, exact: float, tried: bool, kept: int
) -> None:
    """Of 200 steps one before two thirds validated best: exact dates get a trial, and stay where they are better at all."""
    told = list[OpenBookConfig]()

    def run(
        bench: Any, config: OpenBookConfig, seed: int, each: float, longest: float, best: Any = None, **_: Any
    ) -> Any:
        told.append(config)
        assert best is None, "no exact dates are given up for what was at its best early"
        loss = 1.0 if config.year_jitter else exact
        history = History(steps=200, best_step=best_step, best_loss=loss)
        return search.Trial(SimpleNamespace(history=history), config, bench)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "run_trial", run)
    bench: Any = SimpleNamespace(split=SPLIT, shape=SimpleNamespace(**vars(SHAPE) | {"n_year": 4}), train=TrainConfig())
    config, panel = OpenBookConfig(window=48, book=0, mixing=False), make_panel(make_frame(), futr=["warm"], freq="h")
    best, decisions = search.choose_parts(bench, panel, config, 1, 100.0)
    assert [one.year_jitter for one in told] == ([30, 0] if tried else [30])
    assert best.config.year_jitter == decisions["year_jitter"].value == kept
    assert decisions["year_jitter"].why == (
        f"validation loss with 30: 1, with 0: {exact}".replace("1.0", "1")
        if tried
        else "days of noise on training dates, which its trial did not learn by heart"
    )


@pytest.mark.parametrize(("asked", "n_year", "kept"), [(0, 4, 0), (12.5, 4, 12.5), (None, 0, 0)])
def test_noise_on_the_year_is_not_tried_where_asked_for_or_without_a_year(
    monkeypatch: pytest.MonkeyPatch, asked: float | None, n_year: int, kept: float
) -> None:
    told = list[OpenBookConfig]()

    def run(bench: Any, config: OpenBookConfig, *_: Any, **__: Any) -> Any:
        told.append(config)
        history = History(steps=200, best_step=1, best_loss=1.0)
        return search.Trial(SimpleNamespace(history=history), config, bench)  # type: ignore[arg-type]

    monkeypatch.setattr(search, "run_trial", run)
    shape = SimpleNamespace(**vars(SHAPE) | {"n_year": n_year})
    bench: Any = SimpleNamespace(split=SPLIT, shape=shape, train=TrainConfig())
    config = OpenBookConfig(window=48, book=0, mixing=False, year_jitter=asked)
    panel = make_panel(make_frame(), futr=["warm"], freq="h")
    _, decisions = search.choose_parts(bench, panel, config, 1, 100.0)
    assert [one.year_jitter for one in told] == [decisions["year_jitter"].value] == [kept]


@pytest.mark.parametrize("step_s", [0.09, 0.11])
def test_a_trial_of_too_slow_steps_is_given_up(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    history = History(steps=25, step_s=step_s)

    def run(progress: Any, hopeless: Callable[[History], bool]) -> None:
        assert hopeless(history) == (step_s > 0.1)

    training: Any = SimpleNamespace(history=history, config=TrainConfig(), run=run)
    monkeypatch.setattr(search, "begun", lambda bench, config, seed: search.Trial(training, config, bench))
    bench: Any = SimpleNamespace(train=TrainConfig(), progress=None)
    search.run_trial(bench, OpenBookConfig(), 1, 10.0, 30.0, most_s=0.1)


def test_a_trial_far_behind_is_given_up() -> None:
    best, own = History(val_loss=[(30, 1.0), (60, 0.5)], steps=60), History(best_loss=1.5, steps=30)
    assert search._behind(best, own)
    assert not search._behind(best, replace(own, best_loss=1.01))
    assert not search._behind(best, replace(own, steps=20))
    assert not search._behind(best, replace(own, steps=25)), "nothing to compare with yet"


def test_parts_are_not_tried_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(search, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def trained(*_: object) -> None:
        clock.now += 100.0

    done = watched(monkeypatch, trained)
    config, train = OpenBookConfig(window=48, n_models=1, refit=False, differences=False), replace(FAST, budget_s=60.0)
    model = Forecaster(24, model=config, train=train).fit(make_frame().drop(columns="warm"))
    assert {one.model for one in done} == {done[0].model}  # type: ignore[attr-defined]
    assert model.decisions["book"].why == "not tried: nothing held out, no time, or ended"
