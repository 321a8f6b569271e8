"""What ``openbook`` decides for itself: on validation windows of what it is given, and with its reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from openbook.errors import UsageError
from openbook.forecast import search, start
from openbook.forecast.forecaster import Forecaster
from openbook.forecast.start import book_of, segment_of, tables_of, window_candidates
from openbook.models.openbook import OpenBookConfig, OpenBookNet
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
        "openbook.forecast.forecaster.limits_of",
        lambda _, __, origins: (np.full((len(origins.end), 1), bound), np.zeros(len(origins.end), bool)),
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
    parts = ("book", "mixing", "cycle", "n_models", "year_jitter")
    for name in ("input_size", "scaling", "segment", "skip_window", *parts):
        assert again.decisions[name].value == fitted.decisions[name].value, name
        assert again.decisions[name].why.startswith("as given"), name


def test_noise_on_the_year_is_decided_where_the_calendar_tells_it(fitted: Forecaster) -> None:
    assert fitted.decisions["year_jitter"].value == fitted.fitted().config.year_jitter == 0
    frame = make_frame().assign(ds=pd.date_range("2020-01-01", periods=960, freq="D"))[["unique_id", "ds", "y"]]
    model = Forecaster(7, model=OpenBookConfig(n_models=1), train=FAST).fit(frame)
    decided = model.decisions["year_jitter"]
    assert decided == (30, "days of noise on training dates, which its trial did not learn by heart")
    nets = [part for part in model.fitted().model.modules() if isinstance(part, OpenBookNet)]
    assert {net.config.year_jitter for net in nets} == {model.fitted().config.year_jitter} == {decided.value}
    again = Forecaster.from_decisions(model.decisions, 7, train=FAST).fit(frame)
    assert again.fitted().config.year_jitter == decided.value


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


@pytest.mark.parametrize(
    ("steps", "count", "told"), [(10, 16_384, (2048, 256)), (10, 16_383, (2048, 64)), (65, 99_999, (256, 64))]
)
def test_short_windows_are_judged_and_learned_by_more_of_them(steps: int, count: int, told: tuple[int, int]) -> None:
    found = search.usual(TrainConfig(), steps, count)
    assert (found.val_windows, found.batch_size) == told


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
    bare = make_frame(5).drop(columns="warm")
    short = Forecaster(4, model=OpenBookConfig(skip_window=20), train=FAST).fit(bare)
    window = short.decisions["input_size"]  # neither reads farther back than was asked for
    assert window.value <= short.decisions["skip_window"].value == 20
    assert "histories allow" not in window.why
    for told in ({"input_size": 24}, {}):  # a config that is only saved or loaded may say so
        config = OpenBookConfig(window=None if told else 24, skip_window=20)
        with pytest.raises(UsageError, match="at least the window's 24 steps"):
            Forecaster(4, model=config, train=FAST, **told).fit(bare)


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
