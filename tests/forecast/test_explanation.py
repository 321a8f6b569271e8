from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from explanations import FEATURES, make_explanation
from openbook.errors import UsageError
from openbook.forecast import pictures
from openbook.forecast.choice import Parts
from openbook.forecast.forecaster import Forecaster
from openbook.plots.times import clock_of
from openbook.training.loop import TrainConfig


def test_weights_average_is_the_median_of_the_windows() -> None:
    found = make_explanation("joint")
    heat, *_, bars = found.plot(average=True).data
    looked = found.looked_up().sum(-1)
    np.testing.assert_allclose(heat.z[:, -20:], np.median(looked, axis=0)[:, -20:])
    # The first window lacks its oldest hours: there the others alone count.
    np.testing.assert_allclose(heat.z[:, :10], np.median(looked[1:], axis=0)[:, :10])
    np.testing.assert_allclose(bars.x, [0.5, 0.3, 0.2])
    assert list(bars.customdata)[1] == "&lt;b&gt;holiday&lt;/b&gt;"


@pytest.mark.parametrize("model", ["luong", "bahdanau", "darnn", "openbook", "day_to_day"])
def test_a_window_without_a_forecast_has_no_look_ups(model: str) -> None:
    wave = 10 + 3 * np.sin(np.arange(200) * 2 * np.pi / 7)
    table = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2021-01-01", periods=200), "y": wave})
    blind = table.assign(unique_id="z", y=table["y"].where(table.index < 20))
    made = Forecaster(7, model=model, train=TrainConfig(max_steps=4, budget_s=5)).fit(table)
    alone, beside = made.explain(table), made.explain(pd.concat([table, blind]))
    assert not np.isfinite(made.predict(pd.concat([table, blind])).iloc[-7:, 2]).any()
    pd.testing.assert_frame_equal(beside.by_lag(), alone.by_lag(), rtol=1e-5)
    pd.testing.assert_series_equal(beside.by_feature(), alone.by_feature(), rtol=1e-5)
    assert set(beside.frame()["unique_id"]) == {"a"}
    with pytest.raises(UsageError, match="looked something up"):
        beside.plot(unique_id="z")
    titles = [found.plot(average=True).layout.title.text for found in (alone, beside)]
    assert titles[0] == titles[1]


def test_windows_are_picked_with_all_that_is_told_of_them() -> None:
    found, keep = make_explanation("two_stage"), [0, 1, 2, 6, 7, 8]
    one = found.select(np.isin(np.arange(12), keep))
    assert one.ids.tolist() == ["centre 0"] * 3 + ["centre 2"] * 3
    np.testing.assert_array_equal(one.weight_WHTF, found.weight_WHTF[keep])
    np.testing.assert_array_equal(one.beta_WLT, found.beta_WLT[keep])
    assert len(one.frame()) == found.frame()["unique_id"].isin(["centre 0", "centre 2"]).sum()


def test_the_line_by_lag_agrees_with_by_lag_where_all_windows_are_alike() -> None:
    found = make_explanation("joint", series=1, per=2).select(np.array([False, True]))
    line = found.plot(average=True).data[3]
    table = found.by_lag().groupby("lag")["weight"].sum()
    np.testing.assert_allclose(line.y[::-1], table.to_numpy())
    assert table.idxmax() == 24


def test_titles_count_what_is_pooled() -> None:
    found = make_explanation("joint")
    text = found.plot(average=True).layout.title.text
    assert text == "luong: where it looked, median and middle half of 12 forecasts of 4 series; 20% looked nowhere"
    assert "luong, centre 1: " in found.plot("centre 1", average=True).layout.title.text
    assert "of 3 forecasts;" in found.plot("centre 1", average=True).layout.title.text
    assert "of 4 forecasts of 4 series" in found.plot(cutoff=found.cutoff[1], average=True).layout.title.text


def test_days_at_fixed_gaps_are_drawn_by_lag() -> None:
    heat, bars = make_explanation("gaps").plot(average=True).data
    np.testing.assert_allclose(heat.z, [[0.25, 0.75]] * 6)
    assert heat.customdata[0].tolist() == ["2 days before", "1 day before"]
    np.testing.assert_allclose(bars.y, [0.25, 0.75])


def test_a_view_of_inputs_shows_alpha_of_one_forecast() -> None:
    found = make_explanation("two_stage")
    heat, bars = found.plot("centre 0", found.cutoff[0], view="inputs").data
    np.testing.assert_allclose(heat.z, found.alpha_WTF[0, 10:].T)
    np.testing.assert_allclose(bars.x, found.alpha_WTF[0, 10:].mean(0))
    assert heat.customdata[0][-1] == "the last moment known"
    assert heat.customdata[0][-25] == "1 day earlier"


def test_a_view_of_times_shows_beta_of_one_forecast_with_the_steps_that_read_the_past() -> None:
    found = make_explanation("two_stage")
    *_, line, heat = found.plot("centre 2", view="times").data
    np.testing.assert_allclose(heat.z, found.beta_WLT[8])
    assert (heat.y[0], heat.y[-1]) == (2 - 48, 6)
    np.testing.assert_allclose(line.y, found.beta_WLT[8, -6:].mean(0))


def test_stage_averages_are_medians_of_windows() -> None:
    found = make_explanation("two_stage")
    traces = found.plot(view="inputs", average=True).data
    lines = [trace for trace in traces if trace.type == "scatter" and trace.line.width]
    np.testing.assert_allclose(np.array([line.y for line in lines])[:, 10:], np.median(found.alpha_WTF, 0)[10:].T)
    bars = [trace.x[0] for trace in traces if trace.type == "bar"]
    means_WF = np.stack([alpha[inside].mean(0) for alpha, inside in zip(found.alpha_WTF, found.inside_WT, strict=True)])
    np.testing.assert_allclose(bars, np.median(means_WF, 0))
    times = found.plot(view="times", average=True)
    np.testing.assert_allclose(times.data[-1].z[:, 10:], np.median(found.beta_WLT, 0)[:, 10:])
    assert "median and middle half of 12 forecasts of 4 series" in times.layout.title.text


@pytest.mark.parametrize("view", ["inputs", "times"])
@pytest.mark.parametrize("axis", ["joint", "gaps"])
def test_views_of_other_models_are_refused(axis: str, view: str) -> None:
    with pytest.raises(UsageError, match="two stages of the model darnn"):
        make_explanation(axis).plot(view=view)
    with pytest.raises(UsageError, match="'weights' or 'inputs' or 'times'"):
        make_explanation(axis).plot(view="alpha")
    with pytest.raises(UsageError, match="centre 0"):
        make_explanation(axis).plot("Mars", average=True)


def test_a_nowcast_looks_at_the_steps_it_tells() -> None:
    found = make_explanation("two_stage", shift=3)
    lags = found.by_lag().groupby("lag")["weight"].sum()
    assert (lags.index.min(), lags.index.max(), lags.idxmax()) == (-2, 50, 24)
    heat, bars = found.plot(view="inputs").data
    assert heat.customdata[0][-1] == "3 hours later"
    assert found.plot(average=True).data[0].customdata[0][-4] == "the last moment known"
    assert len(bars.x) == len(FEATURES)


def test_both_stages_in_long_form() -> None:
    found = make_explanation("two_stage")
    frame = found.stages_frame()
    inputs, times = (frame[frame["stage"] == stage] for stage in ("inputs", "times"))
    sums = inputs.groupby(["unique_id", "cutoff", "source_ds"])["weight"].sum()
    np.testing.assert_allclose(sums, 1.0)
    assert len(sums) == found.inside_WT.sum()
    np.testing.assert_allclose(times.groupby(["unique_id", "cutoff", "step"])["weight"].sum(), 1.0)
    assert (times["step"].min(), times["step"].max()) == (2 - 48, 6)
    one = times[(times["unique_id"] == "centre 1") & (times["cutoff"] == found.cutoff[4]) & (times["step"] == 6)]
    np.testing.assert_allclose(one["weight"], found.beta_WLT[4, -1])
    assert (one["source_ds"].to_numpy() == found.source_ds[4]).all()
    assert make_explanation("joint").stages_frame() is None


@pytest.mark.parametrize("freq", ["D", "MS", "30min", "B"])
def test_other_calendars(freq: str) -> None:
    found = make_explanation("two_stage")
    hours = pd.date_range("2025-01-06", periods=100, freq="h")
    stamps = pd.date_range("2025-01-06", periods=100, freq=freq).to_numpy()

    def moved(old: np.ndarray) -> np.ndarray:
        return stamps[hours.get_indexer(old.ravel())].reshape(old.shape)

    vars(found).update({name: moved(getattr(found, name)) for name in ("cutoff", "ds", "source_ds")})
    for view in ("weights", "inputs", "times"):
        for average in (False, True):
            figure = found.plot(view=view, average=average)
            assert "nan" not in str(figure.layout).lower()
    said = found.plot(average=True).data[0].customdata[0][-2]
    assert said == {"D": "1 day", "MS": "1 month", "30min": "30 minutes", "B": "1 day"}[freq] + " earlier"


def test_whole_numbers_and_one_step() -> None:
    found = make_explanation("joint", h=1)
    hours = pd.date_range("2025-01-06", periods=100, freq="h")
    for name in ("cutoff", "ds", "source_ds"):
        old = getattr(found, name)
        vars(found)[name] = hours.get_indexer(old.ravel()).reshape(old.shape)
    heat = found.plot(average=True).data[0]
    assert heat.z.shape == (1, 48)
    assert heat.customdata[0][0] == "47 steps earlier"


def test_equal_weights_have_the_darkest_colour() -> None:
    heat = make_explanation("gaps").plot(average=True).data[0]
    assert (heat.zmin, heat.zmax) == (0, 0.75)


def test_the_unit_of_time_is_that_of_all_stamps_not_of_two_targets() -> None:
    found = make_explanation("joint", h=2)
    ds = found.ds.copy()
    ds[:, 1] += np.timedelta64(71, "h")  # as from a Friday to a Monday
    text = replace(found, ds=ds).plot(average=True).data[0].customdata[0][0]
    assert "hour" in text


def test_inputs_whose_long_names_begin_alike_keep_rows_of_their_own() -> None:
    names = tuple(f"temperature of the outside air in {city}" for city in ("Berlin", "Bonn", "Bremen"))
    found = replace(make_explanation("two_stage"), features=names)
    heat, bars = (figure := found.plot(view="inputs")).data
    assert list(heat.y) == list(bars.y) == [0, 1, 2]
    assert figure.layout.yaxis.ticktext[0].startswith("temperature of the outs")
    average = found.plot(average=True)
    assert list(average.data[-1].y) == [0, 1, 2]
    assert len(average.layout.yaxis2.ticktext) == 3


def test_a_lag_is_a_mean_over_the_windows_that_have_such_a_past() -> None:
    found = make_explanation("joint", series=1, per=3)  # the first window lacks its oldest ten hours
    lags, looked = found.by_lag().groupby("lag")["weight"].sum(), found.looked_up().sum(-1)
    assert lags[1] == pytest.approx(looked[:, 0, -1].mean())
    assert lags[48 + 5] == pytest.approx(looked[1:, 5, 0].mean())  # the last step's oldest hour


def parts_of(skip: float, attended: float, bounded: float = 0.0) -> Parts:
    one = np.ones((12, 6))
    return Parts(skip * one, attended * one, 0.0 * one, bounded * one)


def test_what_was_learned_has_a_share_where_there_is_a_forecast() -> None:
    found = make_explanation("joint")
    parts = parts_of(8.0, -2.0)
    assert replace(found, parts=parts).attended_size() == pytest.approx(2 / 6)
    for part in parts:
        part[:3] = np.nan  # windows in which nothing was observed
    told = replace(found, parts=parts)
    assert told.attended_size() == pytest.approx(2 / 6)
    assert told.parts_frame()["forecast"].isna().sum() == 3 * 6
    assert np.isnan(replace(found, parts=parts_of(-2.1, -1.0, 3.1)).attended_size())  # zero: there is nothing to share
    assert np.isnan(found.attended_size())


def test_pictures_show_no_input_that_has_no_place_and_say_when_nothing_entered() -> None:
    found = make_explanation("joint")
    weight = found.weight_WHTF.copy()
    weight[..., 0] += weight[..., 1]
    weight[..., 1] = 0.0
    told = replace(found, weight_WHTF=weight, parts=parts_of(5.0, 0.0))
    *_, bars = told.plot(average=True).data
    assert list(bars.customdata) == ["calls", "temperature outside the…"]
    assert "none of which entered the forecasts" in told.plot(average=True).layout.title.text
    assert "none of which" not in replace(told, parts=parts_of(5.0, 1.0)).plot(average=True).layout.title.text
    missing = replace(told, parts=parts_of(np.nan, np.nan))
    assert "there is no forecast" in missing.plot("centre 1").layout.title.text
    assert "none of which" not in missing.plot("centre 1", average=True).layout.title.text
    one = replace(told, parts=parts_of(-2.0, -1.0, 3.0)).plot("centre 1")
    assert "the forecast is zero" in one.layout.title.text


def test_moments_at_which_no_input_was_seen_have_no_part_in_means() -> None:
    found = make_explanation("two_stage")
    alpha = found.alpha_WTF.copy()
    alpha[:, 20] = 0.0
    one = replace(found, alpha_WTF=alpha)
    *_, bars = one.plot("centre 1", found.cutoff[0], view="inputs").data
    assert sum(bars.x) == pytest.approx(1.0)
    none = replace(one, alpha_WTF=np.zeros_like(alpha))  # a sensor that has long been silent
    assert none.plot(view="inputs", average=True).data
    assert none.plot("centre 1", found.cutoff[0], view="inputs").data
    shares = pictures.inputs_average(one, alpha, clock_of(pd.Series(found.ds[0]))).by_feature.median
    assert shares.sum() == pytest.approx(1.0, abs=0.02)
