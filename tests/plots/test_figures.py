from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from openbook.errors import UsageError
from openbook.plots import plot_forecast, plot_scores, plot_weights
from openbook.plots.figures import _freshest
from report_folders import NASTY_IDS


@pytest.fixture
def explanation(nasty_folder: Path) -> pd.DataFrame:
    return pd.read_parquet(nasty_folder / "explanation.parquet")


def test_weights_and_their_margins_agree(explanation: pd.DataFrame) -> None:
    own = explanation[explanation["model"] == "openbook"].drop(columns="model")
    figure = plot_weights(own, unique_id=NASTY_IDS[2], step=5)
    time, heat, inputs = figure.data
    assert (time.type, heat.type, inputs.type) == ("bar", "heatmap", "bar")
    z = np.asarray(heat.z)
    assert z.shape == (24, 72)
    np.testing.assert_allclose(z.sum(1), 1.0)
    np.testing.assert_allclose(time.y, z[4])
    np.testing.assert_allclose(sum(inputs.x), 1.0)
    assert list(inputs.x) == sorted(inputs.x, reverse=True)
    mean = plot_weights(own, unique_id=NASTY_IDS[2])
    np.testing.assert_allclose(mean.data[0].y, z.mean(0))
    assert "3 days before" in str(heat.text[0][0])


def test_weights_default_to_the_latest_forecast(explanation: pd.DataFrame) -> None:
    figure = plot_weights(explanation)
    assert figure.data[1].customdata[0][0] == "Wed 14 May 00:00"
    time_only = plot_weights(explanation, model="bahdanau")
    assert [trace.type for trace in time_only.data] == ["bar", "heatmap"]


def test_unknown_choices_are_refused(explanation: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="a step from 1 to 24"):
        plot_weights(explanation, step=25)
    with pytest.raises(UsageError, match="unique_id"):
        plot_weights(explanation, unique_id="nobody")
    with pytest.raises(UsageError, match="metric"):
        plot_scores(pd.DataFrame({"model": ["a"], "mae": [1.0]}))


def test_forecast_lines_and_band(nasty_folder: Path) -> None:
    frame = pd.read_parquet(nasty_folder / "forecasts.parquet")
    figure = plot_forecast(frame, unique_id=NASTY_IDS[0], cutoff=frame["cutoff"].max(), models=["openbook", "ridge"])
    assert [trace.name for trace in figure.data] == ["80 % band", "actual", "openbook", "ridge"]
    assert len(figure.data[2].y) == 24
    assert len(figure.data[0].y) == 2 * 24 + 1
    assert figure.data[3].line.dash == "dash"
    assert "<script>" not in json.dumps(figure.to_plotly_json()["layout"]["title"]["text"])
    every = plot_forecast(frame)
    assert {"bahdanau", "seasonal_naive"} <= {trace.name for trace in every.data}
    assert not any("-lo-" in (trace.name or "") for trace in every.data)


def windows(step: int) -> pd.DataFrame:
    """Two windows of three steps, cutoffs ``step`` apart; forecasts tell their window."""
    ds = [1, 2, 3, 1 + step, 2 + step, 3 + step]
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": [0] * 3 + [step] * 3, "y": np.array(ds) * 10.0})
    point = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    return frame.assign(**{"ridge": point, "ridge-lo-80": point - 0.5, "ridge-hi-80": point + 0.5})


def test_overlapping_windows_show_the_latest_forecast_of_every_stamp() -> None:
    band, actual, ridge = plot_forecast(windows(1)).data
    assert list(ridge.x) == [1, 2, 3, 4]
    assert list(ridge.y) == [1.0, 2.0, 2.0, 2.0]
    assert list(actual.y) == [10.0, 20.0, 30.0, 40.0]
    assert list(band.y) == [0.5, 1.5, 1.5, 1.5, 2.5, 2.5, 2.5, 1.5, None]
    assert list(plot_forecast(windows(1), cutoff=0).data[-1].y) == [1.0, 1.0, 1.0]


def test_a_band_is_that_of_the_forecast_which_is_drawn() -> None:
    table = windows(1)
    bands = ["ridge-lo-80", "ridge-hi-80"]
    table.loc[table["cutoff"] == 1, bands] = np.nan
    fresh = _freshest(table).set_index("ds")
    assert fresh["ridge"].tolist() == [1.0, 2.0, 2.0, 2.0]
    assert fresh["ridge-hi-80"].isna().tolist() == [False, True, True, True]


def test_rows_of_a_map_are_named_by_their_steps(explanation: pd.DataFrame) -> None:
    own = explanation[(explanation["model"] == "openbook") & (explanation["step"] > 6)]
    assert list(plot_weights(own).data[1].y) == list(range(7, 25))


def test_no_line_crosses_time_that_was_not_tested() -> None:
    band, actual, ridge = plot_forecast(windows(5)).data
    np.testing.assert_array_equal(ridge.y, [1, 1, 1, np.nan, 2, 2, 2])
    assert np.isnan(actual.y[3])
    assert list(band.x) == [1, 2, 3, 3, 2, 1, None, 6, 7, 8, 8, 7, 6, None]
    assert ridge.mode == "lines"
    assert plot_forecast(windows(5).iloc[[0, 3]]).data[-1].mode == "lines+markers"  # windows of one step
    adjacent = plot_forecast(windows(3)).data[-1]
    assert list(adjacent.y) == [1, 1, 1, 2, 2, 2]


def test_polars_frames_are_welcome(nasty_folder: Path) -> None:
    polars = pytest.importorskip("polars")
    figure = plot_forecast(polars.read_parquet(nasty_folder / "forecasts.parquet"), models=["ridge"])
    assert figure.data[-1].name == "ridge"


def test_scores_leave_failures_out(nasty_folder: Path) -> None:
    figure = plot_scores(pd.read_csv(nasty_folder / "scores.csv"))
    assert list(figure.data[0].y) == ["openbook", "ridge", "bahdanau", "seasonal_naive"]
    assert len(figure.layout.shapes) == 1
