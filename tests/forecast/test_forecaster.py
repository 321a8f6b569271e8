"""The forecaster on tables: shapes of frames, laws, refusals, saving."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

import openbook as ob
from openbook.errors import DataError, ModelFileError, OpenBookError, UsageError
from openbook.forecast.origins import Origins, extend_panel, last_origins
from panels import writable

QUICK = ob.TrainConfig(max_steps=12, val_every=6, batch_size=16)
H, T = 6, 24


SMALL: dict[object, object] = {
    "luong": ob.LuongConfig(hidden_size=8),
    "bahdanau": ob.BahdanauConfig(hidden_size=8),
    "darnn": ob.DarnnConfig(hidden_size=8),
    "recurrent": ob.DarnnConfig(hidden_size=8, form="recurrent"),
    "nowcast": ob.DarnnConfig(hidden_size=8, protocol="nowcast"),
    "day_to_day": ob.DayToDayConfig(hidden_size=8, gaps=(1,)),
    "reconstruct": ob.DayToDayConfig(hidden_size=8, gaps=(1,), mode="reconstruct"),
}


def forecaster(model: object = "luong", **changes: object) -> ob.Forecaster:
    options: dict[str, object] = {"input_size": T, "train": QUICK, "futr_exog_list": ["promo"]} | changes
    if model == "nowcast":
        options = {"hist_exog_list": ["wind"]} | options
    return ob.Forecaster(H, model=SMALL.get(model, model), **{"alias": "OpenBook"} | options)


def future(frame: pd.DataFrame, value: float = 0.0) -> pd.DataFrame:
    last = frame.groupby("unique_id")["ds"].max()
    parts = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range(end, periods=H + 1, freq="h")[1:], "promo": value})
        for name, end in last.items()
    ]
    return pd.concat(parts, ignore_index=True)


def daily(frame: pd.DataFrame) -> pd.DataFrame:
    """The same number of rows, a day apart."""
    number = frame.groupby("unique_id").cumcount()
    return frame.assign(ds=pd.Timestamp("2024-01-01") + pd.to_timedelta(number, unit="D"))


@pytest.fixture(scope="module", params=SMALL)
def fitted(request: pytest.FixtureRequest, hourly: pd.DataFrame) -> ob.Forecaster:
    return forecaster(request.param).fit(hourly)


def test_predict_gives_h_rows_a_series_after_its_last_stamp(fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    found = fitted.predict(futr_df=future(hourly), level=[80, 95])
    assert list(found.columns) == ["unique_id", "ds", "OpenBook"] + [
        f"OpenBook-{side}-{level}" for level in (80, 95) for side in ("lo", "hi")
    ]
    wanted = future(hourly)
    assert found["unique_id"].tolist() == wanted["unique_id"].tolist()
    assert found["ds"].tolist() == wanted["ds"].tolist()
    inner = (found["OpenBook-lo-80"] <= found["OpenBook"]) & (found["OpenBook"] <= found["OpenBook-hi-80"])
    outer = (found["OpenBook-lo-95"] <= found["OpenBook-lo-80"]) & (found["OpenBook-hi-80"] <= found["OpenBook-hi-95"])
    assert inner.all()
    assert outer.all()
    levels = found.groupby("unique_id")["OpenBook"].mean()
    assert 5 < levels["series 0"] < 15  # original units
    assert 15 < levels["series 2"] < 45


def test_known_future_inputs_matter_and_row_order_does_not(fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    plain = fitted.predict(futr_df=future(hourly))
    shuffled = fitted.predict(
        hourly.sample(frac=1, random_state=1), futr_df=future(hourly).sample(frac=1, random_state=2)
    )
    pd.testing.assert_frame_equal(plain, shuffled)
    assert not np.allclose(plain["OpenBook"], fitted.predict(futr_df=future(hourly, 1.0))["OpenBook"])


def test_the_future_is_out_of_reach(fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    """Targets, past-only inputs and their masks from the origin on are tampered with: same bits."""
    table = ob.read_table(hourly)
    panel = writable(fitted.panel_like_history(table))
    origins = Origins(np.array([0, 1, 2]), panel.offsets[1:] - 40)
    before = fitted.predict_origins(panel, origins, [80])
    rows = np.concatenate([np.arange(end, stop) for end, stop in zip(origins.end, panel.offsets[1:], strict=True)])
    for wild in (1e6, np.nan):
        panel.target[rows], panel.hist[rows] = wild, wild
        after = fitted.predict_origins(panel, origins, [80])
        assert np.array_equal(before.point, after.point)
        assert np.array_equal(before.interval[80.0][1], after.interval[80.0][1])
    late = np.concatenate([np.arange(end + H, stop) for end, stop in zip(origins.end, panel.offsets[1:], strict=True)])
    panel.futr[late] = 1e6
    assert np.array_equal(before.point, fitted.predict_origins(panel, origins, [80]).point)


def test_training_never_sees_what_comes_after_the_first_cutoff(hourly: pd.DataFrame) -> None:
    """Scalers, calendar, decisions and weights come from the training part alone."""
    wild = hourly.copy()
    late = wild.groupby("unique_id").cumcount(ascending=False) < H
    wild.loc[late, ["y", "wind"]] = 1e6
    frames = [forecaster().cross_validation(frame, n_windows=1) for frame in (hourly, wild)]
    np.testing.assert_array_equal(frames[0]["OpenBook"], frames[1]["OpenBook"])


def test_shift_and_scale_equivariance(fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    plain = fitted.predict(hourly, futr_df=future(hourly), level=[80]).iloc[:, 2:]
    moved = fitted.predict(hourly.assign(y=1000 * hourly["y"] + 5e5), futr_df=future(hourly), level=[80]).iloc[:, 2:]
    np.testing.assert_allclose(moved.to_numpy(), 1000 * plain.to_numpy() + 5e5, rtol=1e-5)


def test_series_do_not_influence_each_other_in_prediction(fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    whole = fitted.predict(hourly, futr_df=future(hourly))
    alone = hourly[hourly["unique_id"] == "series 1"]
    found = fitted.predict(alone, futr_df=future(alone))
    wanted = whole[whole["unique_id"] == "series 1"].reset_index(drop=True)
    np.testing.assert_allclose(found["OpenBook"], wanted["OpenBook"], rtol=1e-5)


def test_an_unseen_series_and_one_shorter_than_the_window_are_forecast(
    fitted: ob.Forecaster, hourly: pd.DataFrame
) -> None:
    new = hourly[hourly["unique_id"] == "series 0"].head(7).assign(unique_id="new centre")
    found = fitted.predict(new, futr_df=future(new), level=[80])
    assert len(found) == H
    assert np.isfinite(found.iloc[:, 2:].to_numpy()).all()


def test_explanations_name_dates_and_columns_and_sum_to_one(fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    explanation = fitted.explain(futr_df=future(hourly))
    frame = explanation.frame()
    assert list(frame.columns) == ["unique_id", "cutoff", "step", "ds", "source_ds", "feature", "weight", "memory"]
    total = frame.groupby(["unique_id", "cutoff", "step"], observed=True)["weight"].sum()
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    assert len(total) == 3 * H
    nowcast = getattr(fitted.config, "protocol", "") == "nowcast"
    assert (frame["source_ds"] <= (frame["ds"].max() if nowcast else frame["cutoff"])).all()
    assert (frame["cutoff"] < frame["ds"]).all()
    if explanation.axis == "joint":
        assert set(frame["feature"]) == {"y", "wind", "promo"}
    np.testing.assert_allclose(explanation.by_feature().sum(), 1.0, atol=1e-5)
    lags = explanation.by_lag()
    assert lags["lag"].min() == (1 - H if nowcast else 1)
    assert lags["lag"].max() == (T - 1 if nowcast else T + H - 1)


def test_an_explanation_without_the_future_explains_the_last_known_steps(
    fitted: ob.Forecaster, hourly: pd.DataFrame
) -> None:
    explanation = fitted.explain()
    ends = hourly.groupby("unique_id")["ds"].max()
    assert pd.DatetimeIndex(explanation.ds[:, -1]).tolist() == ends[explanation.ids].tolist()


def test_lags_of_an_explanation_are_means_over_the_steps_that_reach_them(fitted: ob.Forecaster) -> None:
    explanation = fitted.explain()
    lags = explanation.by_lag().set_index(["lag", "feature"])["weight"]
    weight, feature = explanation.looked_up(), explanation.features[-1]
    shift = H if getattr(fitted.config, "protocol", "") == "nowcast" else 0  # a nowcast reads on to its last step
    assert lags[(1 - shift, feature)] == pytest.approx(weight[:, 0, -1, -1].mean())
    reached = [weight[:, step, T - 2 + step, -1].mean() for step in range(2)]
    assert lags[(2 - shift, feature)] == pytest.approx(np.mean(reached))


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_saving_and_loading_keeps_every_bit(
    fitted: ob.Forecaster, hourly: pd.DataFrame, tmp_path: Path, kind: str
) -> None:
    path = fitted.save(tmp_path / ("model.ob" if kind == "zip" else "model"))
    fitted.save(path)  # over the old one
    loaded = ob.load(path)
    one = fitted.predict(futr_df=future(hourly), level=[80, 97.5])
    pd.testing.assert_frame_equal(one, loaded.predict(futr_df=future(hourly), level=[80, 97.5]), check_exact=True)
    assert loaded.decisions == fitted.decisions
    assert loaded.config == fitted.config
    new = hourly.assign(y=hourly["y"] * 2)
    pd.testing.assert_frame_equal(
        fitted.predict(new, futr_df=future(new)), loaded.predict(new, futr_df=future(new)), check_exact=True
    )
    assert sorted(item.name for item in tmp_path.iterdir()) == [path.name]


def test_damaged_models_are_refused(fitted: ob.Forecaster, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "model")
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(weights[:-4] + b"\0\1\2\3")
    with pytest.raises(ModelFileError, match="sha256"):
        ob.load(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ModelFileError, match="safetensors"):
        ob.load(folder)
    (tmp_path / "junk.ob").write_text("no zip")
    with pytest.raises(ModelFileError, match=r"junk\.ob"):
        ob.load(tmp_path / "junk.ob")


def test_weights_of_other_shapes_are_refused_even_with_a_right_hash(fitted: ob.Forecaster, tmp_path: Path) -> None:
    """A sister repository of the reference silently kept fresh weights when shapes differed."""
    import hashlib

    path = fitted.save(tmp_path / "model")
    config = json.loads((path / "config.json").read_text())
    config["fitted_model"]["hidden_size"] = 4
    text = json.dumps(config).encode()
    (path / "config.json").write_bytes(text)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"]["config.json"] = hashlib.sha256(text).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError, match="tensors"):
        ob.load(path)


def test_a_saved_model_holds_no_pickle(fitted: ob.Forecaster, tmp_path: Path) -> None:
    with zipfile.ZipFile(fitted.save(tmp_path / "m.ob")) as archive:
        assert sorted(archive.namelist()) == ["config.json", "manifest.json", "weights.safetensors"]


def test_two_fits_with_one_seed_are_equal_bit_by_bit_and_leave_the_global_generator_alone(hourly: pd.DataFrame) -> None:
    before = torch.random.get_rng_state()
    np.random.seed(5)  # noqa: NPY002 (the legacy state is what must not move)
    legacy = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (forecaster(seed=seed).fit(hourly).predict(futr_df=future(hourly)) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not np.allclose(one["OpenBook"], other["OpenBook"])
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(legacy, np.random.get_state()[1])  # noqa: NPY002


def test_polars_in_polars_out(hourly: pd.DataFrame) -> None:
    frame = pl.from_pandas(hourly)
    model = forecaster().fit(frame)
    found = model.predict(frame, futr_df=pl.from_pandas(future(hourly)))
    assert isinstance(found, pl.DataFrame)
    wanted = forecaster().fit(hourly).predict(hourly, futr_df=future(hourly))
    np.testing.assert_allclose(found["OpenBook"].to_numpy(), wanted["OpenBook"], rtol=1e-6)
    assert isinstance(model.cross_validation(frame, n_windows=1), pl.DataFrame)


def test_cross_validation_rows_and_cutoffs(hourly: pd.DataFrame) -> None:
    found = forecaster().cross_validation(hourly, n_windows=3, step_size=4, level=[80])
    assert list(found.columns) == ["unique_id", "ds", "cutoff", "y", "OpenBook", "OpenBook-lo-80", "OpenBook-hi-80"]
    assert len(found) == 3 * 3 * H
    one = found[found["unique_id"] == "series 0"]
    end = hourly.loc[hourly["unique_id"] == "series 0", "ds"].max()
    hours = [(end - cutoff) / pd.Timedelta("1h") for cutoff in one["cutoff"].unique()]
    assert hours == [H + 8, H + 4, H]
    assert ((one["ds"] - one["cutoff"]) / pd.Timedelta("1h")).tolist() == list(range(1, H + 1)) * 3
    truth = hourly.set_index(["unique_id", "ds"])["y"].reindex(pd.MultiIndex.from_frame(found[["unique_id", "ds"]]))
    np.testing.assert_array_equal(truth, found["y"])


def test_refit_learns_again_and_without_it_one_fit_serves_all(hourly: pd.DataFrame) -> None:
    once = forecaster().cross_validation(hourly, n_windows=2, refit=False)
    twice = forecaster().cross_validation(hourly, n_windows=2, refit=True)
    first = once["cutoff"].isin(once.groupby("unique_id")["cutoff"].min())
    np.testing.assert_allclose(once.loc[first, "OpenBook"], twice.loc[first, "OpenBook"], rtol=1e-5)
    assert not np.allclose(once.loc[~first, "OpenBook"], twice.loc[~first, "OpenBook"])


def test_renamed_columns_come_back_renamed(hourly: pd.DataFrame) -> None:
    names = {"id_col": "centre", "time_col": "hour", "target_col": "calls"}
    frame = hourly.rename(columns={"unique_id": "centre", "ds": "hour", "y": "calls"})
    model = forecaster().fit(frame, **names)
    ahead = future(hourly).rename(columns={"unique_id": "centre", "ds": "hour"})
    assert list(model.predict(futr_df=ahead).columns) == ["centre", "hour", "OpenBook"]
    assert list(model.explain(futr_df=ahead).frame().columns)[:4] == ["centre", "cutoff", "step", "hour"]
    assert "calls" in model.cross_validation(frame, n_windows=1, **names).columns


def test_static_columns_are_read_and_must_be_static(hourly: pd.DataFrame) -> None:
    frame = hourly.assign(size=hourly["unique_id"].map({"series 0": 1.0, "series 1": 2.0, "series 2": 3.0}))
    model = forecaster(stat_exog_list=["size"]).fit(frame)
    assert len(model.predict(futr_df=future(hourly))) == 3 * H
    with pytest.raises(DataError, match="static"):
        forecaster(stat_exog_list=["wind"]).fit(frame)


def test_integer_time_and_no_inputs() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(1, 121), "y": np.tile([1.0, 5.0, 2.0, 8.0, 3.0, 1.0], 20)})
    model = ob.Forecaster(3, model=ob.LuongConfig(hidden_size=8), train=QUICK, alias="OpenBook").fit(frame)
    assert model.decisions["season_length"].value == 6
    assert model.predict()["ds"].tolist() == [121, 122, 123]


@pytest.mark.parametrize("trouble", ["constant", "missing", "short", "zeros", "huge"])
@pytest.mark.parametrize("model", ["luong", "darnn", "nowcast", "day_to_day", "reconstruct"])
def test_troubled_series_train_and_forecast(model: str, trouble: str, hourly: pd.DataFrame) -> None:
    rng = np.random.default_rng(0)
    frame = hourly.copy()
    if trouble == "constant":
        frame["y"] = 42.0
    elif trouble == "zeros":
        frame["y"] = 0.0
    elif trouble == "huge":
        frame["y"] = 1e12 + frame["y"]
    elif trouble == "missing":
        frame.loc[rng.random(len(frame)) < 0.3, ["y", "wind", "promo"]] = np.nan
    else:
        frame = frame.groupby("unique_id").head(20)
    lasting = replace(QUICK, max_steps=60, warmup=5, learning_rate=1e-2)  # enough to learn that nothing ever changes
    train = lasting if trouble == "constant" else QUICK
    learner = forecaster(model, input_size=30 if trouble == "short" else T, train=train)
    found = learner.fit(frame).predict(futr_df=future(frame), level=[80])
    assert np.isfinite(found.iloc[:, 2:].to_numpy(float)).all()
    if trouble == "constant":
        np.testing.assert_allclose(found["OpenBook"], 42.0, rtol=0.5)


def test_a_timezone_comes_back(hourly: pd.DataFrame) -> None:
    frame = hourly.assign(ds=hourly["ds"].dt.tz_localize("Asia/Seoul"))
    ahead = future(hourly)
    ahead["ds"] = ahead["ds"].dt.tz_localize("Asia/Seoul")
    found = forecaster().fit(frame).predict(futr_df=ahead)
    assert str(found["ds"].dt.tz) == "Asia/Seoul"
    assert found["ds"].tolist() == ahead["ds"].tolist()


REFUSALS = {
    "missing future": (DataError, "futr_df", lambda m, f: m.predict()),
    "future stamps": (DataError, "first missing", lambda m, f: m.predict(futr_df=future(f).iloc[1:])),
    "future column": (DataError, "promo", lambda m, f: m.predict(futr_df=future(f)[["unique_id", "ds"]])),
    "level": (UsageError, "between 1 and 100", lambda m, f: m.predict(futr_df=future(f), level=[80, 100])),
    "a share as level": (UsageError, "write 80", lambda m, f: m.predict(futr_df=future(f), level=[0.8])),
    "horizon": (UsageError, "whole number", lambda m, f: ob.Forecaster(0)),
    "half an horizon": (UsageError, "whole number", lambda m, f: ob.Forecaster(1.5)),
    "seed": (UsageError, "seed", lambda m, f: ob.Forecaster(3, seed=-1)),
    "warm-up": (UsageError, "warmup", lambda m, f: ob.TrainConfig(warmup=0)),
    "refit": (UsageError, "refit", lambda m, f: forecaster().cross_validation(f, refit=-1)),
    "step size": (UsageError, "step_size", lambda m, f: forecaster().cross_validation(f, step_size=0)),
    "reserved name": (
        UsageError,
        "cutoff",
        lambda m, f: forecaster().fit(f.rename(columns={"ds": "cutoff"}), time_col="cutoff"),
    ),
    "text ahead": (DataError, "yes", lambda m, f: m.predict(futr_df=future(f).assign(promo="yes"))),
    "two futures": (DataError, "one row", lambda m, f: m.predict(futr_df=pd.concat([future(f), future(f, 1.0)]))),
    "other frequency": (DataError, "apart", lambda m, f: m.predict(daily(f), futr_df=future(f))),
    "short to explain": (DataError, "series 0", lambda m, f: m.explain(f.groupby("unique_id").head(5))),
    "unknown plot": (UsageError, "series 0", lambda m, f: m.explain().plot("Mars")),
    "model": (UsageError, "luong", lambda m, f: ob.Forecaster(3, model="lstm")),
    "not fitted": (UsageError, "fit", lambda m, f: ob.Forecaster(3).predict()),
    "too short": (DataError, "rows", lambda m, f: ob.Forecaster(500, train=QUICK).fit(f)),
    "windows": (DataError, "rows", lambda m, f: forecaster().cross_validation(f, n_windows=99)),
    "input size": (UsageError, "input_size", lambda m, f: ob.Forecaster(3, input_size=0)),
    "steps": (UsageError, "at least 1", lambda m, f: ob.TrainConfig(max_steps=0)),
    "steps with a fraction": (UsageError, "max_steps as a whole", lambda m, f: ob.TrainConfig(max_steps=1e3)),
    "windows with a fraction": (UsageError, "batch_size as a whole", lambda m, f: ob.TrainConfig(batch_size=64.0)),
    "loss": (UsageError, "pinball", lambda m, f: ob.TrainConfig(loss="rmse")),
    "device": (UsageError, "'cuda'", lambda m, f: ob.TrainConfig(device="gpu")),
    "rate": (UsageError, "positive", lambda m, f: ob.TrainConfig(learning_rate=float("nan"))),
    "rows held out": (UsageError, "at least 0", lambda m, f: ob.TrainConfig(validation_size=-1)),
    "too few held out": (
        UsageError,
        "at least a horizon of 6",
        lambda m, f: ob.Forecaster(6, train=ob.TrainConfig(validation_size=5)).fit(f),
    ),
    "too many held out": (
        UsageError,
        "series of at most 320",
        lambda m, f: ob.Forecaster(6, model="luong", train=ob.TrainConfig(validation_size=5000)).fit(f),
    ),
    "score": (UsageError, "dot", lambda m, f: ob.LuongConfig(score="cosine")),
    "score of a joint look-up": (UsageError, "axis='time'", lambda m, f: ob.LuongConfig(score="general")),
    "heads over time": (UsageError, "axis='joint'", lambda m, f: ob.LuongConfig(axis="time", heads=2)),
    "unknown input": (DataError, "rain", lambda m, f: ob.Forecaster(3, futr_exog_list=["rain"]).fit(f)),
}


CODES = {  # what a program reads, by what was wrong
    "missing future": "missing_future",
    "future stamps": "missing_future",
    "future column": "missing_columns",
    "level": "bad_level",
    "horizon": "bad_number",
    "step size": "bad_windows",
    "reserved name": "reserved_name",
    "text ahead": "non_numeric",
    "two futures": "duplicate_stamps",
    "other frequency": "other_frequency",
    "short to explain": "too_short",
    "unknown plot": "unknown_forecast",
    "model": "unknown_model",
    "not fitted": "not_fitted",
    "windows": "too_short",
    "loss": "bad_choice",
    "rate": "out_of_range",
    "too few held out": "validation_size",
    "heads over time": "idle_option",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_say_what_where_and_how_to_mend(name: str, fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    kind, words, act = REFUSALS[name]
    with pytest.raises(kind, match=words) as caught:
        act(fitted, hourly)
    error = caught.value
    assert isinstance(error, OpenBookError)
    assert all((error.code, error.expected, error.got, error.where, error.fix))
    assert error.code == CODES.get(name, error.code)


def test_extended_panels_forecast_like_predict(fitted: ob.Forecaster, hourly: pd.DataFrame) -> None:
    panel = fitted.panel_like_history(ob.read_table(hourly))
    futr = np.zeros((3, H, 1))
    extended = extend_panel(panel, H, futr)
    direct = fitted.predict_origins(extended, last_origins(extended, H), []).point
    np.testing.assert_allclose(fitted.predict(futr_df=future(hourly))["OpenBook"], direct.ravel(), rtol=1e-6)


def test_cross_validation_leaves_what_was_fitted_alone(hourly: pd.DataFrame) -> None:
    model = forecaster().fit(hourly)
    before = model.predict(futr_df=future(hourly), level=[80])
    other = hourly[hourly["unique_id"] == "series 0"].rename(columns={"y": "load"})
    model.cross_validation(other, n_windows=2, target_col="load")
    pd.testing.assert_frame_equal(model.predict(futr_df=future(hourly), level=[80]), before, check_exact=True)
    assert model.columns.target == "y"


def test_a_fit_that_fails_leaves_what_was_fitted_alone(hourly: pd.DataFrame) -> None:
    model = forecaster(hist_exog_list=None).fit(hourly)
    before = model.predict(hourly, futr_df=future(hourly))
    broken = hourly.assign(load=np.nan)[["unique_id", "ds", "load", "promo"]]
    with pytest.raises(DataError):
        model.fit(broken, target_col="load")
    pd.testing.assert_frame_equal(model.predict(hourly, futr_df=future(hourly)), before, check_exact=True)


def test_a_window_without_observations_is_nan_and_named(hourly: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    model = forecaster().fit(hourly)
    blind = hourly.copy()
    blind.loc[
        (blind["unique_id"] == "series 1") & (hourly.groupby("unique_id").cumcount(ascending=False) < 40), "y"
    ] = np.nan
    with caplog.at_level("WARNING", logger="openbook"):
        found = model.predict(blind, futr_df=future(blind), level=[80]).set_index("unique_id")
    assert found.loc["series 1"].drop(columns="ds").isna().all(axis=None)
    assert found.drop(index="series 1").notna().all(axis=None)
    assert "series 1" in caplog.text


def test_the_lower_bound_holds_as_long_as_a_series_kept_it(hourly: pd.DataFrame) -> None:
    counts = hourly.assign(y=(hourly["y"] * (hourly["ds"].dt.hour % 6 == 0)).round())
    model = forecaster().fit(counts)
    assert model.decisions["lower_bound"].value == 0.0
    assert (model.predict(futr_df=future(counts), level=[95]).drop(columns=["unique_id", "ds"]) >= 0).all(axis=None)
    below = counts.assign(y=counts["y"] - 500)
    assert (model.predict(below, futr_df=future(below))["OpenBook"] < 0).all()


def test_nothing_held_out_is_said(hourly: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="openbook"):
        model = forecaster().fit(hourly.groupby("unique_id").head(14))
    assert "nothing could be held out" in model.decisions["validation_size"].why
    assert "too narrow" in caplog.text


def test_numpy_numbers_offsets_and_single_names_are_welcome(hourly: pd.DataFrame, tmp_path: Path) -> None:
    small = ob.LuongConfig(hidden_size=8)
    options = {"input_size": np.int64(T), "seed": np.int64(3), "freq": pd.offsets.Hour(), "futr_exog_list": "promo"}
    model = ob.Forecaster(np.int64(H), model=small, train=QUICK, alias="OpenBook", **options).fit(hourly)
    one = model.predict(futr_df=future(hourly))
    pd.testing.assert_frame_equal(
        ob.load(model.save(tmp_path / "m.ob")).predict(futr_df=future(hourly)), one, check_exact=True
    )


def test_frames_of_the_kind_that_was_fitted_come_back(hourly: pd.DataFrame) -> None:
    model = forecaster(futr_exog_list=()).fit(pl.from_pandas(hourly))
    assert isinstance(model.predict(), pl.DataFrame)


def test_an_interrupted_training_is_kept_by_fit_and_ends_cross_validation(hourly: pd.DataFrame) -> None:
    def interrupt(step: int, steps: int, loss: float | None) -> None:
        if step == 4:
            raise KeyboardInterrupt

    model = forecaster()
    model.progress = interrupt
    assert model.fit(hourly).interrupted()
    assert model.predict(futr_df=future(hourly))["OpenBook"].notna().all()
    with pytest.raises(KeyboardInterrupt):
        model.cross_validation(hourly, n_windows=2, refit=True)


def test_a_long_nowcast_has_a_past(hourly: pd.DataFrame, caplog: pytest.LogCaptureFixture) -> None:
    """Its window holds the rows of the horizon too: of 96, as many as were told, none was before them."""
    told = ob.Forecaster(96, model=SMALL["nowcast"], train=ob.TrainConfig(max_steps=1))
    assert told.fit(hourly).decisions["input_size"].value == 96 + 96
    assert "no past" not in caplog.text
    ob.Forecaster(12, model=SMALL["nowcast"], input_size=12, train=ob.TrainConfig(max_steps=1)).fit(hourly)
    assert "a window of 12 rows holds no past beside the 12 that are told" in caplog.text


def test_a_nowcast_takes_what_was_named_or_else_everything(hourly: pd.DataFrame) -> None:
    config = SMALL["nowcast"]
    named = ob.Forecaster(H, model=config, input_size=T, train=QUICK, futr_exog_list=["promo"]).fit(hourly)
    assert named.inputs.futr == ("promo",)
    assert named.inputs.hist == ("wind",)
    whole = ob.Forecaster(H, model=config, input_size=T, train=QUICK).fit(hourly)
    assert whole.inputs.futr == ("promo", "wind")
    again = whole.fit(hourly.drop(columns="wind"))  # decided anew, not taken for asked
    assert again.inputs.futr == ("promo",)


def test_a_loaded_model_learns_anew_as_it_was_asked(hourly: pd.DataFrame, tmp_path: Path) -> None:
    config = ob.DayToDayConfig(hidden_size=8, gaps=(1, 90))
    fitted = ob.Forecaster(H, model=config, train=QUICK).fit(hourly)
    assert fitted.fitted().config.gaps == (1,)
    loaded = ob.load(fitted.save(tmp_path / "m.ob"))
    assert loaded.fitted().config.gaps == (1,)
    assert loaded.config.gaps == (1, 90)


def test_static_columns_have_no_differences(hourly: pd.DataFrame) -> None:
    frame = hourly.assign(size=hourly["unique_id"].str[-1].astype(float))
    learner = forecaster(stat_exog_list=["size"], hist_exog_list=["wind"], scaling="difference")
    with pytest.raises(UsageError, match="static columns"):
        learner.fit(frame)


def test_lags_of_a_nowcast_longer_than_its_window(hourly: pd.DataFrame) -> None:
    model = forecaster("nowcast", input_size=4).fit(hourly)
    lags = model.explain().by_lag()["lag"]
    assert (lags.min(), lags.max()) == (1 - H, 3)


@pytest.mark.parametrize("method", ["cross_validation", "fit"])
def test_rows_to_test_on_do_not_say_which_columns_are_inputs(hourly: pd.DataFrame, method: str) -> None:
    """A fault that is first reported behind the first cutoff."""
    table = hourly.drop(columns="wind").assign(fault=0.0)
    late = table.groupby("unique_id").cumcount(ascending=False) == H + 1
    table.loc[late, "fault"] = 1000.0
    model = forecaster(hist_exog_list=None)
    if method == "fit":
        assert model.fit(table).decisions["hist_exog_list"].value == ("fault",)
        return
    told, quiet = (
        forecaster(hist_exog_list=None).cross_validation(part, n_windows=2) for part in (table, table.assign(fault=0.0))
    )
    pd.testing.assert_frame_equal(told, quiet)


@pytest.mark.parametrize("make", [forecaster, lambda **told: ob.Floor("seasonal_naive", H, **told)])
def test_a_frequency_that_was_told_holds_for_later_tables(make: Any, tmp_path: Path) -> None:
    """Weekdays, as days with gaps: rows alone look like business days."""
    stamps = pd.bdate_range("2024-01-01", periods=120)
    table = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(120) % 5 + 0.0})
    model = make(freq="D", futr_exog_list=()) if make is forecaster else make(freq="D")
    model.fit(table)
    pd.testing.assert_frame_equal(model.predict(table), model.predict())
    assert model.predict(table)["ds"].iloc[0] == stamps[-1] + pd.Timedelta(days=1)
    sparse = table.assign(ds=pd.date_range("2024-01-01", periods=120, freq="6D"))
    with pytest.raises(DataError, match="apart") as caught:
        model.predict(sparse)
    assert caught.value.code == "other_frequency"
