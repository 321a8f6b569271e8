"""What ``openbook`` decides for itself: on validation windows of what it is given, and with its reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from openbook.data.panel import make_panel
from openbook.errors import UsageError
from openbook.forecast import search, start
from openbook.forecast.budget import Budget
from openbook.forecast.forecaster import Forecaster
from openbook.forecast.start import book_of, segment_of, tables_of, window_candidates
from openbook.models.openbook import OpenBookConfig
from openbook.training.loop import History, TrainConfig, Training

FAST = TrainConfig(max_steps=6, val_every=3, batch_size=16)
SPLIT = SimpleNamespace(validation=SimpleNamespace(end_W=range(9)), train=SimpleNamespace(end_W=range(99)))


def make_frame(days: int = 40, *, seed: int = 0) -> pd.DataFrame:
    stamps = pd.date_range("2024-01-01", periods=24 * days, freq="h")
    hour, rng = np.arange(len(stamps)) % 24, np.random.default_rng(seed)
    warm = 10 * rng.standard_normal(len(stamps)).cumsum() / 50
    y = 100 + 20 * np.sin(2 * np.pi * hour / 24) + 5 * warm + rng.standard_normal(len(stamps))
    return pd.DataFrame({"unique_id": "a", "ds": stamps, "y": y, "warm": warm})


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return Forecaster(24, model="openbook", futr_exog_list=["warm"], train=FAST).fit(make_frame())


def test_every_decision_has_its_evidence(fitted: Forecaster) -> None:
    told = fitted.decisions
    assert {"input_size", "scaling", "segment", "penalty", "book", "mixing", "cycle", "forecast"} <= set(told)
    assert "validation error of the closed-form map" in told["input_size"].why
    assert fitted.fitted().config.skip_window == told["skip_window"].value >= told["input_size"].value
    assert "validation loss with" in told["book"].why
    assert "model" in told["forecast"].why
    assert fitted.fitted().config.window == told["input_size"].value


def test_forecasts_explanation_and_parts(fitted: Forecaster) -> None:
    frame = make_frame(41)
    history, ahead = frame[:-24], frame[-24:][["unique_id", "ds", "warm"]]
    forecast = fitted.predict(history, futr_df=ahead, level=[80])
    found = fitted.explain(history, futr_df=ahead)
    parts = found.parts_frame()
    assert parts is not None
    np.testing.assert_allclose(parts["forecast"], forecast["OpenBook"])
    summands = ["skip", "attended", "repeated", "bounded"]
    np.testing.assert_allclose(parts[summands].sum(axis=1), parts["forecast"])
    weights = found.frame()
    total = weights.groupby("step", observed=True)["weight"].sum()
    assert np.allclose(total, 1, atol=1e-5) | np.allclose(total, 0)


def test_parts_stay_at_a_lower_bound_as_forecasts_do(fitted: Forecaster, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = make_frame(41)
    history, ahead = frame[:-24], frame[-24:][["unique_id", "ds", "warm"]]
    bound = float(fitted.predict(history, futr_df=ahead)["OpenBook"].median())
    monkeypatch.setattr(
        fitted, "_limits", lambda _, origins: (np.full((len(origins.end), 1), bound), np.zeros(len(origins.end), bool))
    )
    parts = fitted.explain(history, futr_df=ahead).parts_frame()
    assert parts is not None
    np.testing.assert_allclose(parts["forecast"], fitted.predict(history, futr_df=ahead)["OpenBook"])
    assert (parts["bounded"] > 0).sum() == 12


def test_a_saved_forecaster_forecasts_the_same(fitted: Forecaster, tmp_path) -> None:  # type: ignore[no-untyped-def]
    frame = make_frame(41)
    ahead = frame[-24:][["unique_id", "ds", "warm"]]
    again = Forecaster.load(fitted.save(tmp_path / "model.ob"))
    wanted = fitted.predict(frame[:-24], futr_df=ahead, level=[80])
    pd.testing.assert_frame_equal(again.predict(frame[:-24], futr_df=ahead, level=[80]), wanted)
    assert again.fitted().choice == fitted.fitted().choice


def test_what_was_decided_can_be_used_again(fitted: Forecaster) -> None:
    again = Forecaster.from_decisions(fitted.decisions, 24, futr_exog_list=["warm"], train=FAST).fit(make_frame(seed=1))
    for name in ("input_size", "scaling", "segment", "book", "mixing", "cycle", "n_models", "skip_window"):
        assert again.decisions[name].value == fitted.decisions[name].value, name
        assert again.decisions[name].why.startswith("as given"), name


def test_decisions_of_another_model_are_refused() -> None:
    with pytest.raises(UsageError, match="input_size"):
        Forecaster.from_decisions({}, 24)


def test_the_same_seed_gives_the_same_bits() -> None:
    config = OpenBookConfig(window=48, book=2, mixing=False, cycle=False)
    one, two = (Forecaster(24, model=config, train=FAST).fit(make_frame(12)).predict() for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_two_members_are_trained_apart() -> None:
    config = OpenBookConfig(window=48, book=0, mixing=False, cycle=False, n_models=2, differences=False)
    model = Forecaster(24, model=config, train=FAST).fit(make_frame(12)).fitted().model
    one, two = (dict(member.named_parameters())["ask.weight"] for member in model.members)
    assert not (one == two).all()


def watched(monkeypatch: pytest.MonkeyPatch, after: Callable[[Training, int], None]) -> list[Training]:
    """Every stretch of training that ends, in order; ``after`` is told of each and how many there were."""
    done: list[Training] = []
    run = Training.run

    def watch(training: Training, *args: Any, **kwargs: Any) -> History:
        history = run(training, *args, **kwargs)
        done.append(training)
        after(training, len(done))
        return history

    monkeypatch.setattr(Training, "run", watch)
    return done


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


@pytest.mark.parametrize(
    ("steps", "count", "told"), [(10, 16_384, (2048, 256)), (10, 16_383, (2048, 64)), (65, 99_999, (256, 64))]
)
def test_short_windows_are_judged_and_learned_by_more_of_them(steps: int, count: int, told: tuple[int, int]) -> None:
    found = search.usual(TrainConfig(), steps, count)
    assert (found.val_windows, found.batch_size) == told


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
    monkeypatch: pytest.MonkeyPatch, fitted: Forecaster, took: float, tried: list[str]
) -> None:
    """A hundred seconds: three trials of 13 fit, and are told; where two hundred steps take 29, a third trial does not;
    the first is worth waiting for, however long it takes."""
    clock, told = SimpleNamespace(now=0.0), list[OpenBookConfig]()
    monkeypatch.setattr(search, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def run(bench: Any, config: OpenBookConfig, seed: int, budget_s: float, longest_s: float, best: Any = None) -> Any:
        clock.now += took
        told.append(config)
        training: Any = SimpleNamespace(history=History(steps=200, seconds=took, best_loss=1.0))
        return search.Trial(training, config, bench)

    monkeypatch.setattr(search, "run_trial", run)
    bench: Any = SimpleNamespace(split=SPLIT, shape=fitted.fitted().shape)
    config = replace(fitted.fitted().config, book=None, mixing=None, n_models=1)
    _, decisions = search.choose_parts(bench, make_panel(make_frame(), futr=["warm"], freq="h"), config, 1, 100.0)
    assert len(told) == 1 + len(tried)
    assert [name for name in ("book", "mixing") if "validation loss" in decisions[name].why] == tried


def test_a_trial_far_behind_is_given_up() -> None:
    best, own = History(val_loss=[(30, 1.0), (60, 0.5)], steps=60), History(best_loss=1.5, steps=30)
    assert search._behind(best, own)
    assert not search._behind(best, replace(own, best_loss=1.01))
    assert not search._behind(best, replace(own, steps=20))
    assert not search._behind(best, replace(own, steps=25)), "nothing to compare with yet"


@pytest.mark.parametrize("frame", ["constant", "missing", "short", "whole numbers"])
def test_hard_tables_are_learned(frame: str) -> None:
    table = make_frame(12)
    if frame == "constant":
        table["y"] = 5.0
    if frame == "missing":
        table.loc[np.random.default_rng(0).random(len(table)) < 0.3, "y"] = np.nan
    if frame == "short":
        table = table.head(30)
    if frame == "whole numbers":
        table["ds"] = range(len(table))
    forecast = Forecaster(4, model="openbook", train=FAST).fit(table.drop(columns="warm")).predict(level=[80])
    assert forecast.drop(columns=["unique_id", "ds"]).notna().all().all()


def test_a_given_skip_window_is_taken_and_holds_out_what_training_does() -> None:
    frame = make_frame(5).drop(columns="warm")[:115]  # with the skip path's window nothing would be held out
    model = Forecaster(48, model=OpenBookConfig(window=14, skip_window=66), train=FAST).fit(frame)
    assert model.decisions["skip_window"].value == model.fitted().config.skip_window == 66
    assert model.decisions["validation_size"].value == 48
    assert np.isfinite(float(model.decisions["penalty"].why.split()[2]))


def test_nothing_of_what_follows_is_reached() -> None:
    """The panel ends where learning ends: another future changes neither decisions nor bits."""
    frame = make_frame(30)
    other = frame.copy()
    other.loc[other.index[-24:], "y"] += 1e3
    config = OpenBookConfig(book=2, mixing=False)
    results = [
        Forecaster(24, model=config, train=FAST).cross_validation(part.drop(columns="warm"), n_windows=1)
        for part in (frame, other)
    ]
    np.testing.assert_array_equal(results[0]["OpenBook"], results[1]["OpenBook"])


def test_rules() -> None:
    assert segment_of(336, 24) == 12
    assert segment_of(720, 96) == 24
    assert segment_of(104, 52) == 4
    year = SimpleNamespace(lengths=np.array([8760]))
    assert window_candidates(year, 24, 24) == [48, 72, 96, 168, 336, 720]
    assert window_candidates(SimpleNamespace(lengths=np.array([30])), 12, 12) == [17]
    assert book_of(year, 168, 24, 24) == 28
    assert book_of(year, 168, 720, 24) == 0
    assert book_of(year, 168, 24, 1) == 0


@pytest.mark.parametrize(
    ("seconds", "tried", "most"),
    [(0.1, 15, start.MANY), (2.5, 10, start.MANY), (8.0, 4, start._FEW)],
    ids=["a usual machine", "a busy one", "a very busy one"],
)
def test_decisions_keep_to_their_part_of_the_time(
    seconds: float, tried: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table takes so many seconds, that of many windows five times as many; of the minute two fifths are for windows
    and two thirds for all."""
    told: list[tuple[int, str, int]] = []
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("openbook.forecast.budget.time", SimpleNamespace(perf_counter=lambda: clock.now))

    def tables(*given: Any) -> Any:
        clock.now += seconds * (5 if given[6] == start.MANY else 1)
        told.append((given[3].input_size, given[3].scaling, given[6]))
        return tables_of(*given)

    alone: list[object] = []
    monkeypatch.setattr(start, "tables_of", tables)
    monkeypatch.setattr(start, "own_maps", lambda *given: alone.append(given) or ())
    config = OpenBookConfig(n_models=1, differences=False)
    model = Forecaster(24, model=config, train=replace(FAST, budget_s=60.0)).fit(make_frame().drop(columns="warm"))
    why = model.decisions["input_size"].why
    assert told[0][0] == 168  # the usual window first
    assert why.count(": ") - 1 == tried
    assert (f"the time budget allowed {tried} of 15" in why) == (tried < 15)
    assert told[-1][2] == most
    hurried = {name for name, told in model.decisions.items() if told.why == start.NO_TIME}
    assert hurried == {0.1: set(), 2.5: {"own"}, 8.0: {"own", "counting"}}[seconds]
    assert len(alone) == ("own" not in hurried)
    assert (len(model.decisions["skip_window"].why.split(",")) > 1) == (seconds < 8)
    assert model.predict()["OpenBook"].notna().all()


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
