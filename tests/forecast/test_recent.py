"""Bands that follow: weighted ranks by hand, nothing used before it was seen, coverage after the noise has grown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.forecast import recent as module
from openbook.forecast.conformal import Calibration
from openbook.forecast.origins import Origins
from openbook.forecast.recent import (
    Clock,
    Recent,
    clock_of,
    half_life,
    learned_from,
    recent_of,
    weighted_quantile,
    windows_since,
)
from openbook.models.base import ModelShape
from openbook.training.loop import TrainConfig

LEARNED, H = 400, 4


def make_frame(rows: int = 900, *, louder: float = 4.0, seed: int = 0) -> pd.DataFrame:
    """A daily wave of four steps whose noise grows after ``LEARNED`` rows."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 0.3, rows) * np.where(np.arange(rows) < LEARNED, 1.0, louder)
    value = np.tile([0.0, 1.0, 0.0, -1.0], rows // 4 + 1)[:rows] + noise
    return pd.DataFrame({"unique_id": "a", "ds": np.arange(rows), "y": value})


@pytest.fixture(scope="module")
def fitted() -> ob.Forecaster:
    train = TrainConfig(max_steps=150, batch_size=16)
    model = ob.Forecaster(
        H, model=ob.LuongConfig(hidden_size=4), input_size=8, scaling="none", train=train, alias="OpenBook"
    )
    return model.fit(make_frame()[:LEARNED])


def panel_of(fitted: ob.Forecaster, frame: pd.DataFrame) -> Panel:
    return fitted.table_panel(frame)[0]


def origins_at(*ends: int) -> Origins:
    return Origins(np.zeros(len(ends), np.int64), np.array(ends))


def calibration(truth: np.ndarray) -> Calibration:
    return Calibration((0.1, 0.5, 0.9), np.zeros((*truth.shape, 3)), truth)


def test_even_weights_give_the_rank() -> None:
    score = np.arange(100.0)[None]
    for level in (0.1, 50.0, 80.0, 95.0, 99.9, 100.0):
        assert weighted_quantile(score, np.full((1, 100), 0.3), level)[0] == np.ceil(level) - 1


def test_weights_move_the_rank() -> None:
    score, weight = np.array([[0.5, 1.0, 2.0, 3.0, np.nan]]), np.array([[0.0, 1.0, 1.0, 2.0, 0.0]])
    told = [weighted_quantile(score, weight, level)[0] for level in (1.0, 25.0, 26.0, 50.0, 51.0, 100.0)]
    assert told == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert np.isnan(weighted_quantile(score, 0 * weight, 80)[0])


def test_a_half_life_is_two_horizons_or_fourteen_seasons_shared() -> None:
    assert half_life(24, 24, 1) == half_life(24, 1, 1) == 14 * 24
    assert half_life(24, 24, 7) == half_life(24, 24, 50) == 48
    assert half_life(1, 96, 2) == 7 * 96


@pytest.mark.parametrize(("score", "expected"), [(0.1, 5.0), (9.0, 9.0)])
def test_a_handful_of_scores_widens_a_band_and_does_not_narrow_it(score: float, expected: float) -> None:
    """Two old windows, three new: their ranks say next to nothing, but that the band was too narrow they do say."""
    few = replace(
        recent(np.full((3, 2), score), np.arange(3) * 2 + 1, life=8), calibration=calibration(np.full((2, 2), 5.0))
    )
    for level in (20.0, 80.0):
        assert few.margins(np.array([12]), level)[0].tolist() == [5.0 if level < 50 else expected] * 2


def recent(new: np.ndarray, rows: np.ndarray, life: int = 8, stride: int = 2) -> Recent:
    clock = Clock(np.arange(1, 200), np.array([0]), life, stride, np.zeros(1, np.int64))
    return Recent(calibration(np.ones((50, 2))), clock, np.zeros((*new.shape, 3)), new, rows[:, None] + np.arange(2))


def test_what_was_seen_after_an_update_counts_from_the_next() -> None:
    truth = np.array([[5.0, 9.0]])  # a window at row 3 of the clock: its first truth is seen there, its second at row 4
    told = recent(truth, np.array([3])).margins(np.arange(1, 8), 99.9)
    assert told[:, 0].tolist() == [1, 1, 1, 1, 5, 5, 5]  # updates at rows 1, 3, 5, 7
    assert told[:, 1].tolist() == [1, 1, 1, 1, 9, 9, 9]
    told = recent(truth, np.array([3]), stride=1).margins(np.arange(3, 7), 99.9)
    assert told.tolist() == [[1, 1], [5, 1], [5, 9], [5, 9]]


def test_shares_of_old_and_new_scores() -> None:
    life, now = 8, 33
    rows = np.arange(1, now, 2)
    told = recent(np.full((len(rows), 2), 5.0), rows, life)
    age = now - rows
    fresh = (2 * 0.5 ** (age / life)).sum()
    before = life / np.log(2) * 0.5 ** ((now - 1) / life)
    edge = 100 * before / (before + fresh)  # below this level the old scores of one suffice
    assert told.margins(np.array([now]), edge * 0.8)[0, 0] == 1.0
    assert told.margins(np.array([now]), edge * 1.2)[0, 0] == 5.0
    assert edge == pytest.approx(100 * 0.5 ** (32 / 8), rel=0.2)  # as if the old ones were an endless stream


def test_long_tests_read_the_windows_near_each_update_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as if every update read all windows."""
    rng, rows = np.random.default_rng(0), np.arange(1, 601, 2)
    new = rng.normal(size=(300, 2))
    new[rng.random((300, 2)) < 0.1] = np.nan
    new[100:160] = np.nan  # nothing was seen for longer than any window counts
    told, at = recent(new, rows), np.arange(1, 640)
    sizes: list[int] = []
    usual = Recent._margins_at

    def counted(self: Recent, updates: np.ndarray, level: float) -> np.ndarray:
        sizes.append(len(self.truth_EH))
        return usual(self, updates, level)

    monkeypatch.setattr(Recent, "_margins_at", counted)
    found = {}
    for together in (1, 64, 10_000):
        monkeypatch.setattr(module, "_TOGETHER", together)
        found[together] = told.margins(at, 80)
    np.testing.assert_array_equal(found[1], found[10_000])
    np.testing.assert_array_equal(found[64], found[10_000])
    assert min(sizes) < 20 < max(sizes) == 300


def test_what_is_older_than_four_half_lives_is_forgotten() -> None:
    told = recent(np.array([[100.0, 100.0]]), np.array([1]), life=8)
    assert told.margins(np.array([33]), 99.999)[0, 0] == 100.0
    assert told.margins(np.array([37]), 99.999)[0, 0] == 1.0


def test_few_windows_long_after_training_do_not_stand_for_all_that_was() -> None:
    rows = np.arange(1, 179, 2)
    whole, few = np.full((len(rows), 2), 0.1), np.full((1, 2), 0.1)
    assert recent(whole, rows).margins(np.array([180]), 80)[0, 0] == 0.1
    late = recent(few, np.array([177])).margins(np.array([180]), 80)
    assert late.tolist() == [[1.0, 1.0]]  # as validated
    holes = np.where(rows[:, None] < 165, np.nan, 0.1 * np.ones(2))  # a long outage is like rows that were not given
    assert recent(holes, rows).margins(np.array([180]), 95)[0, 0] == 1.0


def test_validation_is_forgotten_where_nothing_is_missing(fitted: ob.Forecaster) -> None:
    clock = Clock(np.arange(1, 5000), np.array([0]), 336, 21, np.zeros(1, np.int64))
    rows, now = np.arange(1, 4000, 21), 21 * 190 + 1
    new = np.zeros((len(rows), 2))
    told = Recent(calibration(np.ones((50, 2))), clock, np.zeros((*new.shape, 3)), new, rows[:, None] + np.arange(2))
    weight_HN, _ = told._weights(np.ones((2, 50 + len(rows)), bool), now)
    assert weight_HN[:, :50].sum(1) == pytest.approx(336 / np.log(2) * 0.5 ** ((now - 1) / 336))


def test_the_clock_begins_after_training_and_windows_lie_on_its_grid(fitted: ob.Forecaster) -> None:
    panel = panel_of(fitted, make_frame())
    clock = clock_of(panel, fitted.fitted().learned_until, H, 4)
    assert clock is not None
    assert clock.step_R[LEARNED] == 1
    assert (clock.half_life, clock.stride) == (14 * H, 14 * H // 16)
    some = windows_since(panel, clock, origins_at(LEARNED + 10), H, 8).end_W
    assert some.tolist() == [LEARNED, LEARNED + 3, LEARNED + 6, LEARNED + 9]
    late = windows_since(panel, clock, origins_at(LEARNED + 400), H, 8).end_W
    oldest = LEARNED + 400 - 4 * clock.half_life - H
    assert oldest - clock.stride <= late.min() < oldest + clock.stride
    assert windows_since(panel, clock, origins_at(LEARNED + 10), H, LEARNED + 5).end_W.tolist() == [
        LEARNED + 6,
        LEARNED + 9,
    ]
    assert clock_of(panel, int(panel.times[-1]), H, 4) is None
    assert clock_of(panel, None, H, 4) is None


def test_right_after_training_bands_are_the_calibrated_ones(fitted: ob.Forecaster) -> None:
    panel = panel_of(fitted, make_frame())
    static = replace(fitted.fitted(), learned_until=None)
    assert recent_of(fitted.fitted(), panel, origins_at(LEARNED)) is None
    assert recent_of(static, panel, origins_at(LEARNED + 90)) is None
    told = fitted.predict_origins(panel, origins_at(LEARNED), [80]).interval[80]
    fitted.fitted_, kept = static, fitted.fitted_
    wanted = fitted.predict_origins(panel, origins_at(LEARNED), [80]).interval[80]
    fitted.fitted_ = kept
    np.testing.assert_array_equal(told, wanted)


def test_bands_find_back_to_what_they_promise(fitted: ob.Forecaster) -> None:
    panel = panel_of(fitted, make_frame())
    origins = origins_at(*range(LEARNED + 100, 896))
    truth = panel.target[origins.end[:, None] + np.arange(H)]

    def covered() -> float:
        low, high = fitted.predict_origins(panel, origins, [80]).interval[80]
        return float(((low <= truth) & (truth <= high)).mean())

    followed = covered()
    fitted.fitted_, kept = replace(fitted.fitted(), learned_until=None), fitted.fitted_
    static = covered()
    fitted.fitted_ = kept
    assert static < 0.7
    assert followed == pytest.approx(0.82, abs=0.04)  # 80 % raised for the few stretches


def test_bands_of_an_origin_know_neither_its_neighbours_nor_the_future(
    fitted: ob.Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = make_frame()
    monkeypatch.setattr(ModelShape, "windows_at_once", lambda *_: 2)  # several pieces
    panel, at = panel_of(fitted, frame), LEARNED + 403  # more than four half-lives after training
    alone = fitted.predict_origins(panel, origins_at(at), [80, 95])
    among = fitted.predict_origins(panel, origins_at(LEARNED + 10, 890, at), [80, 95])
    later = frame.copy()
    later.loc[at:, "y"] = 1e6
    changed = fitted.predict_origins(panel_of(fitted, later), origins_at(at), [80, 95])
    cut = fitted.predict_origins(panel_of(fitted, frame[: at + H]), origins_at(at), [80, 95])
    for level in (80, 95):
        for side in (0, 1):
            wanted = alone.interval[level][side][0]
            np.testing.assert_allclose(among.interval[level][side][2], wanted, rtol=1e-6)
            np.testing.assert_array_equal(changed.interval[level][side][0], wanted)
            np.testing.assert_array_equal(cut.interval[level][side][0], wanted)


def test_a_table_with_new_rows_moves_the_bands_of_predict_saved_or_not(
    fitted: ob.Forecaster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = make_frame()
    with caplog.at_level("INFO", "openbook"):
        told = fitted.predict(frame, level=[80])
    assert "bands follow 77 windows of 1 series" in caplog.text  # every third step of four half-lives
    calm = fitted.predict(make_frame(louder=1.0), level=[80])
    width, usual = (float((x["OpenBook-hi-80"] - x["OpenBook-lo-80"]).mean()) for x in (told, calm))
    assert width > 2 * usual
    again = ob.Forecaster.load(fitted.save(tmp_path / "model.ob"))
    pd.testing.assert_frame_equal(again.predict(frame, level=[80]), told)


@pytest.mark.parametrize("freq", ["B", "MS", "half a step apart"])
def test_no_truth_is_used_before_its_time_on_any_calendar(freq: str) -> None:
    stamps = pd.date_range("2024-01-01", periods=120, freq="h" if freq == "half a step apart" else freq)
    parts = [pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 1.0})]
    if freq == "half a step apart":
        parts.append(parts[0].assign(unique_id="b", ds=stamps + pd.Timedelta("30min")))
    panel = make_panel(pd.concat(parts))
    clock = clock_of(panel, int(panel.times[59].astype(np.int64)), 3, 1)
    assert clock is not None
    assert clock.step_R[60:120].tolist() == [*range(1, 61)]
    assert clock.step_R[:60].max() == 0
    assert clock.step_R[panel.times.astype(np.int64) > int(panel.times[59].astype(np.int64))].min() == 1
    order = np.argsort(panel.times, kind="stable")
    assert (np.diff(clock.step_R[order]) >= 0).all()  # what has an earlier step is earlier
    origins = Origins(np.zeros(1, np.int64), np.array([90]))
    told = windows_since(panel, clock, origins, 3, 8)
    known = told.end_W[:, None] + np.arange(3)
    used = known[clock.step_R[known] < clock.update(clock.step_R[origins.end])]
    assert len(used)
    assert (panel.times[used] < panel.times[90]).all()


@pytest.mark.parametrize("empty", ["a", "z"])
def test_of_a_series_without_a_value_nothing_was_learned(empty: str) -> None:
    rows = {"unique_id": [empty] * 5 + ["b"] * 9, "ds": [*range(5), *range(9)], "y": [np.nan] * 5 + [1.0] * 9}
    assert learned_from(make_panel(pd.DataFrame(rows), freq=1)) == (8, {})


def test_series_of_other_times_are_compared_by_the_clock() -> None:
    ends = {"a": 50, "b": 80}
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(10, stop), "y": 1.0}) for name, stop in ends.items()
    )
    panel = make_panel(frame)
    clock = clock_of(panel, 59, 2, 1)
    assert clock is not None
    assert clock.series.tolist() == [1]  # the first one ends before what was learned
    assert clock.step_R[panel.rows(1)][50] == 1


def test_the_bands_of_many_series_follow_some_of_them() -> None:
    step = np.arange(6)
    panel = make_panel(pd.concat([pd.DataFrame({"unique_id": k, "ds": step, "y": 1.0 * step}) for k in range(100)]))
    clock = clock_of(panel, 3, 1, 1)
    assert clock is not None
    assert len(clock.series) == 32
    assert (clock.series[0], clock.series[-1]) == (0, 99)


def test_each_series_counts_from_what_was_learned_of_it(fitted: ob.Forecaster) -> None:
    """One series was learned longer than another, one has rows without a value at its end: none of that is a forecast."""
    whole = make_frame()
    parts = [whole[:600], whole[:900].assign(unique_id="b"), whole[:500].assign(unique_id="c")]
    panel = make_panel(pd.concat(parts))
    learned = panel.until(np.array([LEARNED, 700, 500]))
    learned.target[LEARNED - 50 : LEARNED] = np.nan
    first, beyond = learned_from(learned)
    assert (first, beyond) == (LEARNED - 51, {"b": 699, "c": 499})
    clock = clock_of(panel, first, H, 4, beyond)
    assert clock is not None
    assert clock.series.tolist() == [0, 1]  # of the third nothing is new
    assert clock.learned_N.tolist() == [0, 699 - first, 499 - first]
    windows = windows_since(panel, clock, Origins(np.array([0, 1]), np.array([LEARNED + 10, 600 + 899])), H, 8)
    begin = windows.end_W - panel.offsets[windows.series_W]
    assert begin[windows.series_W == 0].min() == LEARNED - 50
    assert begin[windows.series_W == 1].min() in range(700, 700 + clock.stride)
    assert clock_of(panel.until(np.array([LEARNED - 50, 700, 500])), first, H, 4, beyond) is None


def test_bands_of_a_series_follow_whatever_another_one_was_learned_to() -> None:
    train = TrainConfig(max_steps=40, batch_size=16)
    model = ob.Forecaster(H, model=ob.LuongConfig(hidden_size=4), input_size=8, scaling="none", train=train)
    calm = make_frame(louder=1.0).assign(unique_id="b")
    model.fit(pd.concat([make_frame()[:LEARNED], calm[:800]]))
    told = model.predict(make_frame(), level=[80])
    width = (told["Luong-hi-80"] - told["Luong-lo-80"]).mean()
    before = model.predict(make_frame()[:LEARNED], level=[80])
    assert width > 1.3 * (before["Luong-hi-80"] - before["Luong-lo-80"]).mean()


@pytest.mark.parametrize("freq", ["B", "MS", "D"])
def test_a_table_cut_short_has_the_steps_of_the_whole_one(freq: str) -> None:
    stamps = pd.date_range("2020-01-01", periods=400, freq=freq)
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(400.0) % 7}), freq=freq)
    learned = int(panel.times[99].astype(np.int64))
    whole, tail = clock_of(panel, learned, H, 4), clock_of(panel.keep_rows(np.arange(400) >= 300), learned, H, 4)
    assert whole is not None
    assert tail is not None
    assert whole.step_R[100:].tolist() == list(range(1, 301))
    assert whole.step_R[:100].max() <= 0
    assert tail.step_R.tolist() == whole.step_R[300:].tolist()


@pytest.mark.parametrize("rows", [131, 132, 137])
def test_windows_that_overlap_are_one_stretch_wherever_their_rows_stand(rows: int) -> None:
    stamps = pd.date_range("2010-01-01", periods=rows, freq="MS")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(rows) % 12.0})
    train = TrainConfig(max_steps=2, validation_size=22)
    model = ob.Forecaster(12, model=ob.LuongConfig(hidden_size=4), input_size=24, train=train).fit(frame)
    assert len(model.fitted().calibration.truth_WH) == 11
    assert model.fitted().calibration.independent == 1
