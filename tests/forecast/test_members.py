"""The members of ``openbook``: how many are trained, in which scalings, and how they go on with the held-out tail."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.forecast.test_search import FAST, make_frame, watched

from openbook.data.panel import make_panel
from openbook.errors import UsageError
from openbook.forecast import members, search, start
from openbook.forecast.budget import Budget
from openbook.forecast.forecaster import Forecaster
from openbook.models.differences import FromNewest
from openbook.models.openbook import OpenBookConfig
from openbook.training.loop import History, TrainConfig
from openbook.windows.sampler import gather, make_resident
from openbook.windows.scaling import Scaling

BOTH = OpenBookConfig(window=48, hidden_size=8, mixing=False, cycle=False, differences=True)


@pytest.mark.parametrize(
    ("left", "rounds", "count"),
    [(-3.0, 2, 1), (0.0, 1, 1), (4.9, 1, 1), (5.0, 1, 2), (13.9, 2, 1), (14.0, 2, 2), (99.0, 1, 3)],
)
def test_members_are_as_many_as_the_time_allows(
    monkeypatch: pytest.MonkeyPatch, left: float, rounds: int, count: int
) -> None:
    """Ten steps took ten seconds, the fourth was best: others take five, and all are learned again where that is asked."""
    made: list[Any] = []

    def begun(bench: Any, config: OpenBookConfig, seed: int, pace: float) -> Any:
        other = SimpleNamespace(history=History(best_loss=1.0), run=lambda progress: None, seed=seed)
        made.append(other)
        return search.Trial(other, config, bench)  # type: ignore[arg-type]

    monkeypatch.setattr(members, "begun", begun)
    history = History(best_loss=1.0, best_step=4, steps=10, seconds=10.0)
    first = SimpleNamespace(history=history, config=TrainConfig(max_steps=10, hold=4, budget_s=9))
    bench: Any = SimpleNamespace(split=SimpleNamespace(validation=True), progress=None)
    leader = search.Trial(first, OpenBookConfig(), bench)  # type: ignore[arg-type]
    trials, decision = members.all_members([leader], 1, left, rounds)
    assert (decision.value, len(trials), len(made)) == (count, count, count - 1)
    for number, other in enumerate(made):
        assert (other.config.max_steps, other.config.hold, other.seed) == (5, 4, 2 + number)
        assert other.config.budget_s > 5, "time that is never short must not touch the result"


@pytest.mark.parametrize(("asked", "count"), [(None, 2), (3, 3)])
def test_a_member_that_validated_far_worse_is_left_out(
    monkeypatch: pytest.MonkeyPatch, asked: int | None, count: int
) -> None:
    losses, made = iter([1.04, 1.06]), []

    def begun(bench: Any, config: OpenBookConfig, seed: int, pace: float) -> Any:
        other = SimpleNamespace(history=History(best_loss=next(losses)), run=lambda progress: None)
        made.append(other)
        return search.Trial(other, config, bench)  # type: ignore[arg-type]

    monkeypatch.setattr(members, "begun", begun)
    history = History(best_loss=1.0, best_step=4, steps=10, seconds=10.0)
    first = SimpleNamespace(history=history, config=TrainConfig(max_steps=10))
    bench: Any = SimpleNamespace(split=SimpleNamespace(validation=True), progress=None)
    leader = search.Trial(first, OpenBookConfig(n_models=asked), bench)  # type: ignore[arg-type]
    trials, decision = members.all_members([leader], 1, 99.0, 1)
    assert (len(trials), decision.value) == (count, count)
    assert decision.why.endswith("validation losses 1, 1.04, 1.06")
    # 99 seconds are left for the two others; where their number is open, it was chosen to fit, and gets some to spare.
    assert [other.config.budget_s for other in made] == pytest.approx([49.5, 49.5] if asked else [59.4, 59.4])


def test_members_of_two_scalings_share_the_seconds_as_their_steps_take_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps of one take ten seconds, of the other five: of forty seconds, with a fifth to spare, 32 and 16."""
    made: list[Any] = []

    def begun(bench: Any, config: OpenBookConfig, seed: int, pace: float) -> Any:
        made.append(SimpleNamespace(history=History(best_loss=1.0), run=lambda progress: None))
        return search.Trial(made[-1], config, bench)

    monkeypatch.setattr(members, "begun", begun)
    bench: Any = SimpleNamespace(split=SimpleNamespace(validation=True), progress=None)
    leaders = [
        search.Trial(
            SimpleNamespace(
                history=History(best_loss=1.0, best_step=8, steps=10, seconds=seconds), config=TrainConfig(max_steps=10)
            ),  # type: ignore[arg-type]
            OpenBookConfig(),
            bench,
        )
        for seconds in (10.0, 5.0)
    ]
    members.all_members(leaders, 1, 40.0, 1)
    assert [one.config.budget_s for one in made] == pytest.approx([32.0, 16.0])


@pytest.mark.parametrize(("tail", "most"), [(search._TAIL, 240.0), (9.0, 200.0)], ids=["a large tail", "a small one"])
def test_going_on_is_left_out_where_it_would_not_fit(monkeypatch: pytest.MonkeyPatch, tail: float, most: float) -> None:
    """Of sixty seconds and a fifth; with a tail that is a small part of the data, for which no time was kept, of sixty. It
    takes three tenths of what the members took to their best steps."""
    again: list[object] = []
    monkeypatch.setattr(search, "_TAIL", tail)
    monkeypatch.setattr(members, "learned_on", lambda trial, *told: again.append(told[2]) or trial.model)
    for needed in (most - 1, most + 1):
        monkeypatch.setattr(members, "seconds_to_best", lambda trials, needed=needed: needed)
        monkeypatch.setattr(Budget, "left", lambda budget, over=1.0: over * budget.seconds)
        model = Forecaster(24, model=OpenBookConfig(window=48, n_models=1), train=replace(FAST, budget_s=60.0))
        model.fit(make_frame().drop(columns="warm"))
        assert model.decisions["refit"].value is (needed < most)
        assert " windows held out beside " in model.decisions["refit"].why
    assert again == [pytest.approx(search.AGAIN, abs=0.01)] * len(model.fitted().model.members)  # type: ignore[arg-type]


@pytest.mark.parametrize(("took", "share"), [(150.0, 0.4), (100.0, 0.6), (30.0, 1.0), (0.0, 1.0)])
def test_going_on_takes_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch, took: float, share: float) -> None:
    """Of sixty seconds, for which the members took so many to their best steps: for all of these again at most."""
    again: list[tuple[float, float]] = []
    monkeypatch.setattr(members, "learned_on", lambda trial, *told: again.append(told[2:]) or trial.model)
    monkeypatch.setattr(members, "seconds_to_best", lambda trials: took * len(trials) / 2)
    monkeypatch.setattr(Budget, "left", lambda budget, over=1.0: over * budget.seconds)
    config = OpenBookConfig(window=48, n_models=2, differences=False)
    model = Forecaster(24, model=config, train=replace(FAST, budget_s=60.0))
    model.fit(make_frame().drop(columns="warm"))
    # Of what a fit may take in all the first one gets its half, and the second what is left then: here as much as ever.
    seconds = (36.0, 72.0) if took else (1.0, 1.0)
    assert again == [(pytest.approx(share), pytest.approx(left)) for left in seconds]
    assert model.decisions["refit"].why.endswith(f"from the best weights, for {share:.0%} of the steps these took")


@pytest.mark.parametrize(
    ("refit", "held", "learnt", "rounds", "further"),
    [(True, 5, 100, 1.3, 1.3), (True, 4, 100, 1.0, 1.3), (False, 50, 100, 1.0, 1.0), (True, 0, 100, 1.0, 1.0)],
    ids=["a twentieth", "less", "not wanted", "nothing held out"],
)
def test_time_is_kept_to_go_on_where_the_tail_is_a_part_worth_it(
    refit: bool, held: int, learnt: int, rounds: float, further: float
) -> None:
    split = SimpleNamespace(validation=SimpleNamespace(end_W=range(held)), train=SimpleNamespace(end_W=range(learnt)))
    bench: Any = SimpleNamespace(split=split)
    assert search.rounds_of(bench, OpenBookConfig(refit=refit)) == rounds
    assert search.rounds_of(bench, OpenBookConfig(refit=refit), further=True) == further


def test_other_seeds_leave_time_to_go_on_with_the_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[float] = []
    all_members = members.all_members
    monkeypatch.setattr(search, "_TAIL", 1.0)  # a small part of the data
    monkeypatch.setattr(members, "all_members", lambda *args: kept.append(args[-1]) or all_members(*args))
    model = Forecaster(24, model=OpenBookConfig(window=48), train=FAST)
    model.fit(make_frame().drop(columns="warm"))
    assert kept == [1 + search.AGAIN]


def test_a_member_goes_on_from_its_best_weights_with_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """For as many steps as validated best, the time allowing, at the rate it was trained at, on a path solved with the tail."""
    begun: list[tuple[search.Trial, dict[str, torch.Tensor], dict[str, Any]]] = []
    plain = members.learned_on

    def watch(model: torch.nn.Module, resident: Any, split: Any, windows: Any, **told: Any) -> History:
        begun.append(
            (trials[-1], {name: part.clone() for name, part in model.state_dict().items()}, told | {"split": split})
        )
        return History()

    def note(trial: search.Trial, *told: Any) -> Any:
        trials.append(trial)
        return plain(trial, *told)

    trials: list[search.Trial] = []
    monkeypatch.setattr(members, "train_model", watch)
    monkeypatch.setattr(members, "learned_on", note)
    Forecaster(24, train=replace(FAST, max_steps=40, val_every=10)).fit(make_frame().drop(columns="warm"))
    assert begun
    for trial, state, told in begun:
        config, steps = told["config"], trial.history.best_step
        assert (config.max_steps, config.hold, config.stop_after) == (steps, 0, None)
        assert config.budget_s is not None, "a machine that became busy must not keep it"
        assert config.warmup == max(1, steps // 4)
        assert config.learning_rate == trial.training.config.learning_rate
        split = trial.bench.split
        # Windows that reach from what was learned into the tail are new as well.
        assert len(told["split"].train.end_W) >= len(split.train.end_W) + len(split.validation.end_W)
        assert not told["split"].validation
        learned = trial.model.state_dict()
        moved = {name for name, part in state.items() if not torch.equal(part, learned[name])}
        assert moved == {"skip.base_HD", "skip.base_H"}


def test_why_the_tail_was_not_learned_is_told() -> None:
    table, config = (
        make_frame(12).drop(columns="warm"),
        OpenBookConfig(window=48, book=0, n_models=1, differences=False),
    )
    off = Forecaster(24, model=replace(config, refit=False), train=FAST).fit(table)
    assert (off.decisions["refit"].value, off.decisions["refit"].why) == (False, "as given")
    none = Forecaster(24, model=config, train=replace(FAST, validation_size=0)).fit(table)
    assert (none.decisions["refit"].value, none.decisions["refit"].why) == (False, "nothing held out")


def test_an_interrupt_before_going_on_keeps_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(members, "learned_on", stop)
    model = Forecaster(24, model=OpenBookConfig(window=48, n_models=1), train=FAST)
    model.fit(make_frame().drop(columns="warm"))
    assert model.interrupted()
    assert (model.decisions["refit"].value, model.decisions["refit"].why) == (False, "ended")
    assert model.predict()["OpenBook"].notna().all()


def test_maps_learned_again_keep_their_shares_and_penalties(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    plain = members.average

    def watch(*args: Any) -> Any:
        told.append((plain(*args), *args[-2:]))
        return told[-1][0]

    monkeypatch.setattr(members, "average", watch)
    model = Forecaster(24, train=FAST).fit(make_frame().drop(columns="warm"))
    assert model.decisions["n_models"].value == 2
    assert len(told) == 1 + model.decisions["differences"].value  # once for all members of one scaling
    again, season, like = told[0]
    assert season == 24
    assert len(set(like.windows)) > 1
    assert set(like.towards) == {"zero", "season"}
    assert again[:5] == like[:5]  # tables, windows, what they are shrunk towards, shares and penalties
    assert max(like.windows) == model.decisions["skip_window"].value
    assert len({round(share, 6) for share in like.share}) > 1


@pytest.mark.parametrize(
    ("losses", "mean", "asked", "alike", "kept", "value"),
    [
        ((1.0, 1.1), 0.99, None, True, ["last", "difference"], True),
        ((1.0, 1.1), 1.07, None, True, ["last", "difference"], True),
        ((1.0, 1.1), 1.01, None, False, ["last"], False),
        ((1.0, 1.1), 0.99, None, False, ["last", "difference"], True),
        ((1.0, 1.1), 1.09, None, True, ["last"], False),
        ((1.0, 0.9), 0.98, None, True, ["difference"], False),
        ((1.0, 0.9), 0.98, True, True, ["last", "difference"], True),
    ],
    ids=[
        "better together",
        "nearly as good",
        "unlike series",
        "unlike, but better",
        "clearly worse",
        "the other alone",
        "asked for",
    ],
)
def test_two_scalings_are_averaged_unless_their_mean_validates_clearly_worse(
    monkeypatch: pytest.MonkeyPatch,
    losses: tuple[float, float],
    mean: float,
    asked: bool | None,
    alike: bool,
    kept: list[str],
    value: bool,
) -> None:
    """The leader took ten seconds to its end and four to its best step; of forty seconds that are left four are for learning
    that once more, and half of the others for the second one's training."""
    leader, second = two_scalings(monkeypatch, losses, mean, asked, alike)
    beside = members.begun(second.bench, leader.config, 1)
    found, decision = members.both_scalings(leader, beside, 1, 40.0, 2)
    assert [trial.bench.start.windows.scaling for trial in found] == kept
    assert decision.value is value
    assert f"last 1, difference {losses[1]:g}, mean of both {mean:g}" in decision.why
    assert beside.training.config.budget_s == pytest.approx(18.0)


@pytest.mark.parametrize(
    ("losses", "mean", "asked", "alike", "kept"),
    [
        ((1.0, 1.3), 1.07, None, True, True),
        ((1.0, 1.3), 1.09, None, True, False),
        ((1.0, 1.3), 1.01, None, False, False),
        ((1.0, 0.9), 1.2, None, True, True),
        ((1.0, 1.3), 1.09, True, True, True),
    ],
    ids=["nearly as good", "clearly worse", "unlike series", "the other leads", "asked for"],
)
def test_another_scaling_whose_trial_is_clearly_worse_costs_the_leader_no_more(
    monkeypatch: pytest.MonkeyPatch,
    losses: tuple[float, float],
    mean: float,
    asked: bool | None,
    alike: bool,
    kept: bool,
) -> None:
    leader, second = two_scalings(monkeypatch, losses, mean, asked, alike)
    trial, decision = members.trial_beside(leader, second.bench, 1, 40.0)
    assert (trial is not None) is kept
    if asked:
        assert trial is not None
        assert not trial.history.steps, "it is trained for as long as it may be, without a trial"
    told = f"in trials: validation loss last 1, difference {losses[1]:g}, mean of both {mean:g}"
    assert kept or (decision.value, decision.why) == (False, told)


@pytest.mark.parametrize("left", [40.0, 39.0])
def test_a_trial_of_another_scaling_is_left_out_where_it_would_take_too_long(
    monkeypatch: pytest.MonkeyPatch, left: float
) -> None:
    """The leader's took ten seconds: a quarter of forty. What was not tried is judged when it is trained."""
    leader, second = two_scalings(monkeypatch, (1.0, 1.3), 9.0, None, True)
    trial, _ = members.trial_beside(leader, second.bench, 1, left)
    assert (trial is None) is (left >= 40)
    assert second.training.history.steps == (10 if left >= 40 else 0)
    assert left < 40 or second.training.config.budget_s == 10


@pytest.mark.parametrize(
    ("pace", "most", "stop", "length"),
    [(1.0, 99, None, 13), (1.0, 12, None, 12), (1.0, 99, 12, 12), (0.2, 99, None, 10)],
    ids=["taken up again", "to the last step at most", "to the one it is to stop at", "anew at another pace"],
)
def test_a_trial_of_another_scaling_is_taken_up_again_at_its_pace(
    monkeypatch: pytest.MonkeyPatch, pace: float, most: int, stop: int | None, length: int
) -> None:
    """Best at its seventh step of fourteen, which took seven seconds: at an even rate till then, and as long after it as the
    leader, for which half of forty seconds is left beside that of the leader, and its own three and a half."""
    leader, second = two_scalings(monkeypatch, (1.0, 1.0), 1.0, None, True)
    leader.training.config = TrainConfig(max_steps=10, hold=4)
    beside = members.begun(second.bench, leader.config, 1)
    beside.history.steps, beside.history.best_step, beside.history.seconds = 14, 7, 7.0
    beside.bench.train = TrainConfig(max_steps=most, stop_after=stop)
    (_, trained), _ = members.both_scalings(leader._replace(pace=pace), beside, 1, 40.0, 2)
    told = trained.training.config
    assert trained.pace == pace
    assert (trained.history.steps, told.hold, told.max_steps) == ((14, 7, length) if pace == 1 else (0, 4, length))
    assert told.budget_s == pytest.approx((40 - 4 + 3.5) / 2 - 3.5 if pace == 1 else (40 - 4) / 2)


@pytest.mark.parametrize("tried", [True, False])
def test_where_no_time_is_left_a_trial_is_judged_as_it_stands(monkeypatch: pytest.MonkeyPatch, tried: bool) -> None:
    leader, second = two_scalings(monkeypatch, (1.0, 0.9), 0.95, None, True)
    beside = members.begun(second.bench, leader.config, 1)
    beside.history.steps = 14 if tried else 0
    found, decision = members.both_scalings(leader, beside, 1, 7.9, 2)  # of which four are for learning once more
    assert len(found) == (2 if tried else 1)
    assert decision.value is tried
    assert decision.why.startswith("validation loss" if tried else "no time was left")
    assert beside.training.config == TrainConfig(), "not a step more"


@pytest.mark.parametrize(("worst", "steps"), [(1.39, 10), (1.41, 4)])
def test_a_trial_far_behind_the_leader_is_given_up(monkeypatch: pytest.MonkeyPatch, worst: float, steps: int) -> None:
    """Validated every other step, asked from the second validation on; what the leader's losses were then is what counts."""
    leader, second = two_scalings(monkeypatch, (0.5, 9.0), 9.0, None, True)
    leader.history.val_loss = [(2, 1.2), (4, 1.0), (6, 1.0), (8, 1.0), (11, 0.5)]
    second.training.history.best_loss = worst
    trial, _ = members.trial_beside(leader, second.bench, 1, 40.0)
    assert trial is None
    assert second.training.history.steps == steps


def test_a_second_scaling_that_is_ended_leaves_the_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before its first step, and while the mean is judged."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("run", "judged"):
        leader, second = two_scalings(monkeypatch, (1.0, 1.0), 1.0, None, True)
        monkeypatch.setattr(second.training if name == "run" else leader.training, name, end)
        trial, decision = members.trial_beside(leader, second.bench, 1, 40.0)
        assert (trial, decision.why, leader.history.stopped_by) == (None, "ended", "interrupt")
        leader, second = two_scalings(monkeypatch, (1.0, 1.0), 1.0, None, True)
        monkeypatch.setattr(*((second.training, "go_on") if name == "run" else (leader.training, name)), end)
        found, decision = members.both_scalings(leader, members.begun(second.bench, leader.config, 1), 1, 40.0, 2)
        assert (found, decision.why, leader.history.stopped_by) == ([leader], "ended", "interrupt")


def two_scalings(
    monkeypatch: pytest.MonkeyPatch, losses: tuple[float, float], mean: float, asked: bool | None, alike: bool
) -> tuple[search.Trial, search.Trial]:
    """A leader that took ten seconds for ten steps, best after four, and what ``begun`` gives for the other scaling; both only
    say what they were told."""
    benches: list[Any] = [
        SimpleNamespace(
            split=SimpleNamespace(validation=True),
            train=TrainConfig(),
            progress=None,
            start=SimpleNamespace(windows=SimpleNamespace(scaling=scaling), alike=alike),
        )
        for scaling in ("last", "difference")
    ]
    own = History(best_loss=losses[1])

    def run(progress: Any, hopeless: Any = None) -> None:
        while hopeless is not None and own.steps < second.config.max_steps:
            own.steps += second.config.val_every
            if hopeless(own):
                return

    second = SimpleNamespace(history=own, run=run, config=TrainConfig())
    second.go_on = lambda config, progress: setattr(second, "config", config)

    def begun(bench: Any, config: OpenBookConfig, seed: int, pace: float = 1.0) -> search.Trial:
        own.steps = 0
        return search.Trial(second, config, bench, pace)  # type: ignore[arg-type]

    monkeypatch.setattr(members, "begun", begun)
    monkeypatch.setattr(members, "together", lambda config, trials: None)
    history = History(best_loss=losses[0], best_step=4, steps=10, seconds=10.0, val_loss=[(4, losses[0])])
    first: Any = SimpleNamespace(
        history=history, config=TrainConfig(max_steps=10, val_every=2), judged=lambda model: mean
    )
    leader = search.Trial(first, OpenBookConfig(differences=asked), benches[0])
    return leader, search.Trial(second, leader.config, benches[1])  # type: ignore[arg-type]


def test_seeds_of_two_scalings_are_trained_and_kept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two leaders took a second a step, best at the fourth and the eighth: two more trainings take fifteen seconds."""
    benches: list[Any] = [SimpleNamespace(split=SimpleNamespace(validation=True), progress=None) for _ in range(2)]
    for left, loss, kept in ((14.9, 1.0, 2), (15.0, 1.0, 4), (99.0, 1.0, 4), (99.0, 1.06, 2)):
        made: list[Any] = []

        def begun(
            bench: Any, config: OpenBookConfig, seed: int, pace: float, made: Any = made, loss: Any = loss
        ) -> Any:
            training = SimpleNamespace(history=History(best_loss=loss), run=lambda progress: None, seed=seed)
            made.append((bench, training))
            return search.Trial(training, config, bench)  # type: ignore[arg-type]

        monkeypatch.setattr(members, "begun", begun)
        leaders = []
        for bench, best in zip(benches, (4, 8), strict=True):
            history = History(best_loss=1.0, best_step=best, steps=10, seconds=10.0)
            training: Any = SimpleNamespace(history=history, config=TrainConfig(max_steps=10))
            leaders.append(search.Trial(training, OpenBookConfig(), bench))
        trials, decision = members.all_members(leaders, 1, left, 1)
        assert (len(trials), decision.value) == (kept, kept // 2)
        assert [bench for bench, _ in made] == (benches if left >= 15 else [])
        assert [training.config.max_steps for _, training in made] == ([5, 10] if left >= 15 else [])
        order = [benches.index(trial.bench) for trial in trials]
        assert order == sorted(order), "members of one scaling stand together"


@pytest.fixture(scope="module")
def both() -> Forecaster:
    return Forecaster(24, model=replace(BOTH, n_models=2), futr_exog_list=["warm"], train=FAST).fit(make_frame())


def test_a_model_of_two_scalings_is_saved_explained_and_made_again(both: Forecaster, tmp_path: Any) -> None:
    model = both.fitted().model
    assert [isinstance(member, FromNewest) for member in model.members] == [False, False, True, True]  # type: ignore[union-attr]
    assert both.decisions["differences"].value is True
    assert both.decisions["scaling"].value == both.fitted().windows.scaling != "difference"
    frame = make_frame(41)
    history, ahead = frame[:-24], frame[-24:][["unique_id", "ds", "warm"]]
    forecast = both.predict(history, futr_df=ahead, level=[80])
    parts = both.explain(history, futr_df=ahead).parts_frame()
    assert parts is not None
    np.testing.assert_allclose(parts["forecast"], forecast["OpenBook"])
    again = Forecaster.load(both.save(tmp_path / "model.ob"))
    pd.testing.assert_frame_equal(again.predict(history, futr_df=ahead, level=[80]), forecast)
    made = Forecaster.from_decisions(both.decisions, 24, futr_exog_list=["warm"], train=FAST)
    assert (made.config.differences, made.config.n_models) == (True, 2)
    made.fit(make_frame())
    assert made.decisions["scaling"].value == both.decisions["scaling"].value
    assert len(made.fitted().model.members) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize("leads", ["last", "difference"])
def test_what_differences_tell_is_worth_the_same_among_windows_of_another_scaling(
    monkeypatch: pytest.MonkeyPatch, leads: Scaling
) -> None:
    """A member's validation loss in the model of both is that of its own training, whichever was first: units of target and
    inputs fit, and what is read anew is scaled as the model's windows are."""
    told: list[tuple[list[search.Trial], Any]] = []
    plain = members.together

    def watch(config: OpenBookConfig, trials: list[search.Trial], *again: Any) -> Any:
        told.append((trials, plain(config, trials, *again)))
        return told[-1][1]

    monkeypatch.setattr(members, "together", watch)
    table = make_frame().assign(heard=lambda rows: 1e3 + 20 * rows["warm"].rolling(5, min_periods=1).sum())
    fitted = Forecaster(24, model=BOTH, scaling=leads, futr_exog_list=["warm"], train=FAST).fit(table)
    (own, other), model = told[0]
    alone, moved = model.members
    assert moved.step_F.shape == (2,)
    assert (moved.step_F < 0.5).all(), "levels wander farther than steps"
    assert own.training.judged(alone) == pytest.approx(own.loss)
    assert own.training.judged(moved) == pytest.approx(other.loss, rel=1e-4)
    base = "standard" if leads == "difference" else "last"
    assert fitted.decisions["scaling"].value == fitted.fitted().windows.scaling == base
    assert fitted.decisions["scaling"].why == (
        "as given" if base == leads else "see differences; at first difference: as given"
    )
    np.testing.assert_allclose(fitted.fitted().columns.std_C, table[["heard", "warm"]].std(ddof=0))
    solved = own.bench.start.solved  # what is told of the map is told of the model's, whichever was decided first
    assert fitted.decisions["penalty"].value == solved.penalty
    assert f"{solved.error:.4g}" in fitted.decisions["penalty"].why
    assert fitted.decisions["counting"].value == own.bench.start.counting.by


def test_floors_of_both_scalings_are_the_same_forecast_in_original_units(both: Forecaster) -> None:
    """Two maps of the same windows, each in its own units: both as near to a day of noise 1 as they are to each other."""
    fitted, panel = both.fitted(), make_panel(make_frame(41), futr=["warm"], freq="h")
    resident = make_resident(panel, fitted.layout, fitted.columns)
    end_B = torch.arange(800, 960, 7)
    batch = gather(resident, torch.zeros_like(end_B), end_B, fitted.windows)
    own, other = (fitted.model.members[place](batch).skip_BHM for place in (0, 2))  # type: ignore[index,operator]
    scale_B1M = batch.scale_BM[:, None]
    apart, missed, all_missed = (
        float(((one - two) * scale_B1M).abs().mean())
        for one, two in ((own, other), (other, batch.target_BHM), (batch.last_BM[:, None], batch.target_BHM))
    )
    assert 0 < apart < 1
    assert missed < 2 < all_missed


@pytest.mark.parametrize(("asked", "at"), [*((True, at) for at in range(2, 7)), *((None, at) for at in range(2, 7))])
def test_an_interrupt_keeps_a_model_that_forecasts(
    monkeypatch: pytest.MonkeyPatch, asked: bool | None, at: int
) -> None:
    """Two trials (the book), one of the other scaling where it was not asked for, the leader's end, the other scaling's, and
    both of another seed: ended at each of them."""

    def interrupt(training: Any, count: int) -> None:
        if count == at:
            training.history.stopped_by = "interrupt"

    done = watched(monkeypatch, interrupt)
    monkeypatch.setattr(members, "_BOTH", 9.0)
    config = replace(BOTH, n_models=2, differences=asked)
    model = Forecaster(24, model=config, train=FAST).fit(make_frame().drop(columns="warm"))
    assert len(done) == at
    both = at > (4 if asked else 5)
    assert both or (model.decisions["differences"].value, model.decisions["differences"].why) == (False, "ended")
    assert model.interrupted()
    assert len(model.fitted().model.members) == (4 if both else 2)  # type: ignore[arg-type]
    assert model.predict()["OpenBook"].notna().all()


def test_who_asks_for_one_scaling_gets_one() -> None:
    table, why = make_frame(12).drop(columns="warm"), "differences"
    config = replace(BOTH, differences=None, book=0)
    given = Forecaster(24, model=config, scaling="last", train=FAST).fit(table)
    assert (given.decisions[why].value, given.decisions[why].why) == (False, "the scaling was given")
    off = Forecaster(24, model=replace(config, differences=False), train=FAST).fit(table)
    assert (off.decisions[why].value, off.decisions[why].why) == (False, "as given")
    left = Forecaster(24, model=config, train=FAST).fit(table)
    assert "mean of both" in left.decisions[why].why
    large = pd.concat([table, table.assign(unique_id="b", y=100 * table["y"])])
    apart = Forecaster(24, model=config, train=FAST).fit(large)
    assert apart.decisions[why].why == "series differ in size, or have static inputs"


def test_levels_are_not_tried_beside_differences_of_a_target_alone() -> None:
    """Without inputs one unit for all windows says the same as differences do."""
    table, config = make_frame(12), replace(BOTH, differences=None, book=0, n_models=1)
    alone = Forecaster(24, model=config, train=FAST).fit(table.drop(columns="warm"))
    assert "fixed" not in alone.decisions["scaling"].why
    assert "difference" in alone.decisions["scaling"].why
    with_input = Forecaster(24, model=config, futr_exog_list=["warm"], train=FAST).fit(table)
    assert "fixed" in with_input.decisions["scaling"].why


def test_another_scaling_that_was_asked_for_is_trained_in_a_hurry_too(monkeypatch: pytest.MonkeyPatch) -> None:
    table, config = make_frame(12).drop(columns="warm"), replace(BOTH, differences=None, book=0)
    monkeypatch.setattr(Budget, "gone", lambda budget, share, more=0.0: more == 0.5)  # only after all of it was solved
    left = Forecaster(24, model=config, train=FAST).fit(table)
    assert (left.decisions["differences"].value, left.decisions["differences"].why) == (False, start.NO_TIME)
    asked = Forecaster(24, model=replace(config, differences=True), train=FAST).fit(table)
    assert asked.decisions["differences"].value is True
    assert asked.decisions["differences"].why.startswith("as given; validation loss")


def test_two_scalings_without_anything_held_out() -> None:
    train = TrainConfig(max_steps=3, validation_size=0)
    model = Forecaster(24, model=BOTH, train=train).fit(make_frame(12).drop(columns="warm"))
    assert (model.decisions["differences"].value, model.decisions["differences"].why) == (True, "as given")
    assert model.predict()["OpenBook"].notna().all()


def test_differences_of_static_inputs_are_refused() -> None:
    table = make_frame(12).assign(place="here")
    with pytest.raises(UsageError, match="static") as told:
        Forecaster(24, model=BOTH, stat_exog_list=["place"], train=FAST).fit(table)
    assert "differences" in str(told.value)
