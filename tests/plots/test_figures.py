from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from openbook.errors import UsageError
from openbook.plots import plot_forecast, plot_scores, plot_weights
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
    assert list(inputs.x) == sorted(inputs.x)
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
    assert [trace.name for trace in figure.data] == [None, "80 % band", "actual", "openbook", "ridge"]
    assert len(figure.data[3].y) == 24
    assert figure.data[4].line.dash == "dash"
    assert "<script>" not in json.dumps(figure.to_plotly_json()["layout"]["title"]["text"])
    every = plot_forecast(frame)
    assert {"bahdanau", "seasonal_naive"} <= {trace.name for trace in every.data}
    assert not any("-lo-" in (trace.name or "") for trace in every.data)


def test_polars_frames_are_welcome(nasty_folder: Path) -> None:
    polars = pytest.importorskip("polars")
    figure = plot_forecast(polars.read_parquet(nasty_folder / "forecasts.parquet"), models=["ridge"])
    assert figure.data[-1].name == "ridge"


def test_scores_leave_failures_out(nasty_folder: Path) -> None:
    figure = plot_scores(pd.read_csv(nasty_folder / "scores.csv"))
    assert list(figure.data[0].y) == ["openbook", "ridge", "bahdanau", "seasonal_naive"]
    assert len(figure.layout.shapes) == 1
