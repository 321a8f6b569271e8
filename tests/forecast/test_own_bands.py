"""Bands where series differ: calm ones beside wild ones, dead ones beside live ones; none where chance makes the difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import openbook as ob
from openbook.forecast.bands import own_step_bands, step_bands
from openbook.forecast.conformal import Calibration
from openbook.forecast.judging import calibrating
from openbook.forecast.own_bands import Owners, own_shares

QUICK: dict[str, Any] = {
    "model": ob.LuongConfig(hidden_size=4),
    "input_size": 14,
    "train": ob.TrainConfig(max_steps=20, batch_size=16, validation_size=84),
}


def owners(*counts: int, windows: int = 1) -> Owners:
    """So many stretches of each series, each of so many windows."""
    series = np.repeat(np.arange(len(counts)), np.array(counts) * windows)
    return Owners(tuple(f"s{k}" for k in range(len(counts))), series, np.repeat(np.arange(sum(counts)), windows))


def test_credibility_is_the_ratio_of_what_varies_within_series_and_between_them() -> None:
    held = np.array([0.4, 0.6, 0.7, 0.8, 0.9, 0.7, 0.9, 1.0])
    told = owners(5, 3)
    within = (held[:5].var() * 5 + held[5:].var() * 3) / 6
    between = 5 * (held[:5].mean() - held.mean()) ** 2 + 3 * (held[5:].mean() - held.mean()) ** 2
    assert between / within < 1 + 4 * np.sqrt(2 + 2 / 6)  # as it may be by chance with two series
    assert not own_shares(held, told).any()
    held, told = np.array([0.4, 0.45, 0.5, 0.55, 0.45, 1.0, 0.9, 1.0, 0.95]), owners(5, 4)
    within = (held[:5].var() * 5 + held[5:].var() * 4) / 7
    between = 5 * (held[:5].mean() - held.mean()) ** 2 + 4 * (held[5:].mean() - held.mean()) ** 2
    strength = max(1.0, within * (9 - (25 + 16) / 9) / (between - within))
    np.testing.assert_allclose(own_shares(held, told), np.array([5, 4]) / (np.array([5, 4]) + strength))
    calm = own_shares(np.append(held, [0.1, 0.1, 0.1]), owners(5, 4, 3))
    assert calm[0] > 0
    assert calm[2] == 0  # three stretches


def test_windows_of_one_stretch_are_one_observation() -> None:
    held = np.repeat([0.7, 0.9, 0.8, 1.0, 0.9, 1.0], 50)
    assert not own_shares(held, owners(3, 3, windows=50)).any()
    assert own_shares(held, owners(150, 150)).all()


def test_series_that_do_not_differ_or_show_one_stretch_have_the_bands_of_all() -> None:
    assert not own_shares(np.array([1.0, 0.0, 0.5]), owners(1, 1, 1)).any()
    assert not own_shares(np.array([0.8, 0.8, 0.8]), owners(3)).any()
    assert not own_shares(np.full(6, np.nan), owners(3, 3)).any()
    some = own_shares(np.array([np.nan, *[0.2, 0.25] * 4, *[1.0] * 8, np.nan]), owners(9, 8, 1))
    assert some[2] == 0
    assert 0.85 < some[0] < 0.9


def test_chance_alone_hardly_ever_makes_series_differ() -> None:
    rng = np.random.default_rng(0)
    told = [own_shares(rng.binomial(7, 0.8, 56) / 7, owners(*[7] * 8)).any() for _ in range(400)]
    assert np.mean(told) < 0.02


def calibrated(calm: float, wild: float) -> Calibration:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, np.repeat([calm, wild], 300)[:, None], (600, 2))
    band = np.broadcast_to([-1.0, 0.0, 1.0], (600, 2, 3)).copy()
    return Calibration((0.1, 0.5, 0.9), band, truth, independent=600, owners=owners(300, 300))


def test_a_wild_series_is_covered_as_its_band_says() -> None:
    told, rng = calibrated(0.1, 3.0), np.random.default_rng(1)
    for level in (80.0, 95.0):
        pooled, moves = told.margins(level), told.own_moves(level)
        assert list(moves) == ["s1"]
        fresh = rng.normal(0, 3.0, (4000, 2))
        band = np.broadcast_to([-1.0, 0.0, 1.0], (4000, 2, 3))
        low, high = told.interval(band, level, np.broadcast_to(pooled + moves["s1"], (4000, 2)))
        assert ((low <= fresh) & (fresh <= high)).mean() == pytest.approx(level / 100, abs=0.04), level


def test_alike_series_are_not_moved() -> None:
    assert calibrated(1.0, 1.0).own_moves(80) == {}


def test_no_band_is_moved_in_and_few_stretches_say_nothing() -> None:
    """With two or three stretches of a series its own 95 % quantile is a maximum of two: it had narrowed what all say."""
    rng, series, h = np.random.default_rng(0), 60, 7
    for n, moved in ((2, False), (3, False), (4, True), (8, True)):
        spread = np.repeat(np.where(np.arange(series) < 30, 0.01, 1.0), n)
        truth = rng.normal(0, spread[:, None], (n * series, h))
        band = np.broadcast_to([-1.0, 0.0, 1.0], (n * series, h, 3)).copy()
        told = Calibration((0.1, 0.5, 0.9), band, truth, independent=n * series, owners=owners(*[n] * series))
        for level in (80.0, 95.0, 99.0):
            moves = told.own_moves(level)
            assert all(move > 0 for move in moves.values())
            assert not {f"s{k}" for k in range(30)} & set(moves)
        assert bool(told.own_moves(80.0)) == moved


def test_what_is_seen_of_calm_series_alone_is_theirs() -> None:
    """Bands that follow new rows and moves by validation counted the same calm twice: 80 % bands held 1 %."""
    model = ob.Forecaster(7, **QUICK).fit(differing(400))
    later = differing(520)
    for kind, least in (("calm", 0.7), ("wild", 0.65)):
        some = later[later["unique_id"].str.startswith(kind)]
        held = []
        for end in range(440, 512, 12):
            known = some.groupby("unique_id").head(end)
            told = model.predict(known, level=[80]).merge(some, on=["unique_id", "ds"])
            held.append(((told["y"] >= told["Luong-lo-80"]) & (told["y"] <= told["Luong-hi-80"])).mean())
        assert np.mean(held) > least, kind


def test_residuals_of_a_series_count_by_its_share() -> None:
    rng = np.random.default_rng(0)
    residual = np.abs(rng.normal(0, np.repeat([0.1, 3.0], 300)[:, None], (600, 1)))
    bands = own_step_bands(residual, owners(300, 300))
    share, own = bands.own["s1"]
    wanted = bands.half_width(80) + share * (step_bands(residual[300:]).half_width(80) - bands.half_width(80))
    np.testing.assert_array_equal(bands.half_widths(80, ["new", "s0"]), [bands.half_width(80)] * 2)  # never narrower
    np.testing.assert_array_equal(bands.half_widths(80, ["s1"]), [wanted])
    assert own.half_width(80)[0] == pytest.approx(3 * 1.28, rel=0.15)


def differing(n: int) -> pd.DataFrame:
    rng, t = np.random.default_rng(3), np.arange(n)
    noise = rng.normal(size=(8, 600))[:, :n] * np.repeat([0.5, 15.0], 4)[:, None]
    names = [f"{kind}{k}" for kind in ("calm", "wild") for k in range(4)]
    days = pd.date_range("2021-01-01", periods=n)
    rows = [50 + 10 * np.sin(2 * np.pi * t / 7) + part for part in noise]
    parts = [pd.DataFrame({"unique_id": name, "ds": days, "y": y}) for name, y in zip(names, rows, strict=True)]
    return pd.concat(parts, ignore_index=True)


def mixed_table(n: int = 400, alive: int = 4, died: int = 12) -> pd.DataFrame:
    rng, t = np.random.default_rng(5), np.arange(n)
    noise = rng.normal(size=(alive + died, n))
    live = [50 + 10 * np.sin(2 * np.pi * t / 7) + 5 * noise[k] for k in range(alive)]
    dead = [np.where(t < n - 200, 50 + 5 * noise[alive + k], 0.0) for k in range(died)]
    names = [f"live{k}" for k in range(alive)] + [f"dead{k}" for k in range(died)]
    days = pd.date_range("2021-01-01", periods=n)
    parts = [pd.DataFrame({"unique_id": name, "ds": days, "y": y}) for name, y in zip(names, live + dead, strict=True)]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("make", [lambda: ob.Forecaster(7, **QUICK), lambda: ob.Floor("ridge", 7)])
def test_dead_series_do_not_narrow_the_bands_of_live_ones(make: Any) -> None:
    model = make()
    told = model.cross_validation(mixed_table(), n_windows=8, level=[80])
    low, high = (told[f"{model.name}-{edge}-80"] for edge in ("lo", "hi"))
    held = ((told["y"] >= low) & (told["y"] <= high)).groupby(told["unique_id"].str[:4]).mean()
    assert held["live"] > 0.7  # below 0.4 by the scores of all
    assert held["dead"] == 1.0


@pytest.mark.parametrize(
    ("stretches", "number", "h", "count"),
    [
        (12, 50, 7, 1024),
        (12, 500, 7, 8000),
        (5, 500, 7, 5000),
        (3, 500, 7, 1024),
        (12, 2048, 7, 8192),
        (12, 2049, 7, 1024),
        (12, 200, 200, 2000),
        (12, 600, 200, 1024),
    ],
    ids=[
        "few series",
        "many",
        "few stretches of each",
        "too few",
        "the most",
        "too many",
        "long",
        "too long for so many",
    ],
)
def test_many_series_are_calibrated_by_more_windows(stretches: int, number: int, h: int, count: int) -> None:
    assert calibrating(np.full(number, stretches), h) == count
    assert calibrating(np.zeros(0, int), h) == 1024


def test_live_series_among_hundreds_have_bands_of_their_own() -> None:
    """1,024 windows would leave each series three."""
    table = mixed_table(400, 60, 240)
    model = ob.Forecaster(7, **QUICK)
    cut = table["ds"].max() - pd.Timedelta(days=7)
    told = model.fit(table[table["ds"] <= cut]).predict(level=[80]).merge(table, on=["unique_id", "ds"])
    held = (
        ((told["y"] >= told["Luong-lo-80"]) & (told["y"] <= told["Luong-hi-80"]))
        .groupby(told["unique_id"].str[:4])
        .mean()
    )
    assert held["live"] > 0.7


def test_bands_of_series_survive_a_save(tmp_path: Path) -> None:
    model = ob.Forecaster(7, **QUICK).fit(mixed_table())
    before = model.predict(level=[80, 95])
    assert model.fitted().calibration.own_moves(80)
    loaded = ob.load(model.save(tmp_path / "m.ob"))
    pd.testing.assert_frame_equal(loaded.predict(level=[80, 95]), before, check_exact=True)
