from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openbook.data.panel import make_panel
from openbook.errors import DataError, UsageError
from openbook.evaluation.metrics import gap_scale, score_frame, seasonal_scale
from openbook.forecast.origins import Origins

NAN = float("nan")
SCALE = pd.Series({"a": 2.0, "b": 10.0})


def forecasts() -> pd.DataFrame:
    """Series a over two cutoffs of two steps, one y missing; series b over one; rows not in order."""
    frame = pd.DataFrame(
        {
            "unique_id": ["a", "a", "a", "a", "b", "b"],
            "ds": [1, 2, 3, 4, 3, 4],
            "cutoff": [0, 0, 2, 2, 2, 2],
            "y": [10.0, 20.0, 30.0, NAN, 100.0, 300.0],
            "m": [12.0, 20.0, 26.0, 50.0, 90.0, 330.0],
            "m-lo-80": [11.0, 10.0, 20.0, 40.0, 80.0, 290.0],
            "m-hi-80": [13.0, 30.0, 32.0, 60.0, 110.0, 340.0],
        }
    )
    return frame.iloc[[3, 0, 5, 1, 4, 2]]


def test_every_score_by_hand() -> None:
    score = score_frame(forecasts(), models=["m"], scale=SCALE).iloc[0]
    # a: errors 2, 0, 4 -> mae 2; b: errors 10, 30 -> mae 20
    assert score["mae"] == pytest.approx((2 + 20) / 2)
    assert score["rmse"] == pytest.approx((np.sqrt(20 / 3) + np.sqrt(500)) / 2)
    assert score["mase"] == pytest.approx((2 / 2 + 20 / 10) / 2)
    assert score["wape"] == pytest.approx((6 + 40) / (60 + 400))
    assert score["smape"] == pytest.approx(((2 / 22 + 0 + 4 / 56) / 3 + (10 / 190 + 30 / 630) / 2) / 2)
    assert score["coverage_80"] == pytest.approx((2 / 3 + 1) / 2)
    low_a = (0.9 * 1 + 0.1 * 10 + 0.1 * 10) / 3  # 10 lies below 11, 20 above 10, 30 above 20
    high_a = (0.1 * 3 + 0.1 * 10 + 0.1 * 2) / 3
    low_b, high_b = (0.1 * 20 + 0.1 * 10) / 2, (0.1 * 10 + 0.1 * 40) / 2
    pinball = [(low_a + 0.5 * 2 + high_a) / 3, (low_b + 0.5 * 20 + high_b) / 3]
    assert score["pinball"] == pytest.approx(np.mean(pinball))
    assert score["missing"] == 0


def test_columns_and_one_row_per_model_in_the_given_order() -> None:
    frame = forecasts().assign(naive=0.0)
    table = score_frame(frame, models=["naive", "m"], scale=SCALE)
    assert table["model"].tolist() == ["naive", "m"]
    assert list(table) == ["model", "mae", "rmse", "mase", "wape", "smape", "pinball", "coverage_80", "missing"]
    assert table.loc[0, "mae"] == pytest.approx((20 + 200) / 2)
    assert table.loc[0, ["pinball", "coverage_80"]].isna().all()


def test_by_series() -> None:
    table = score_frame(forecasts(), models=["m"], scale=SCALE, by=["unique_id"])
    assert table[["model", "unique_id"]].to_numpy().tolist() == [["m", "a"], ["m", "b"]]
    assert table["mae"].tolist() == [2, 20]


def test_by_step_counts_positions_even_where_y_is_missing() -> None:
    frame = forecasts()
    frame.loc[frame["ds"].eq(1), "y"] = NAN  # series a: first step of its first cutoff
    table = score_frame(frame, models=["m"], scale=SCALE, by=["step"])
    assert table["step"].tolist() == [1, 2]
    assert table["mae"].tolist() == [(4 + 10) / 2, (0 + 30) / 2]


def test_by_both() -> None:
    table = score_frame(forecasts(), models=["m"], scale=SCALE, by=["unique_id", "step"])
    assert table["mae"].tolist() == [3, 0, 10, 30]
    assert table["unique_id"].tolist() == ["a", "a", "b", "b"]


def test_missing_forecasts_are_left_out_and_told() -> None:
    frame = forecasts()
    frame.loc[frame["ds"].eq(2), "m"] = NAN
    score = score_frame(frame, models=["m"], scale=SCALE, by=["unique_id"]).iloc[0]
    assert score["mae"] == 3
    assert score["wape"] == pytest.approx(6 / 40)
    assert score["missing"] == pytest.approx(1 / 3)


def test_a_model_without_any_forecast_scores_nan() -> None:
    score = score_frame(forecasts().assign(dead=NAN), models=["dead"], scale=SCALE).iloc[0]
    assert score["missing"] == 1
    assert score.drop(["model", "missing"]).isna().all()


def test_rows_without_a_band_do_not_count_as_missed() -> None:
    frame = forecasts()
    frame.loc[frame["ds"].eq(1), ["m-lo-80", "m-hi-80"]] = NAN
    table = score_frame(frame, models=["m"], scale=SCALE, by=["unique_id"])
    assert table["coverage_80"].tolist() == [1, 1]


def test_other_levels_and_unknown_scales() -> None:
    frame = forecasts().assign(**{"m-lo-99.5": 0.0, "m-hi-99.5": 25.0})
    score = score_frame(frame, models=["m"], scale=pd.Series({"a": 2.0}), levels=[80.0, 99.5]).iloc[0]
    assert score["coverage_80"] == pytest.approx((2 / 3 + 1) / 2)
    assert score["coverage_99.5"] == pytest.approx((2 / 3 + 0) / 2)
    assert score["mase"] == 1


def test_wape_is_the_share_of_all_volume() -> None:
    frame = pd.DataFrame({"unique_id": ["a", "b"], "ds": 1, "cutoff": 0, "y": [1000.0, 1.0], "m": [1000.0, 2.0]})
    assert score_frame(frame, models=["m"], scale=SCALE).loc[0, "wape"] == pytest.approx(1 / 1001)
    by_series = score_frame(frame, models=["m"], scale=SCALE, by=["unique_id"])
    assert by_series["wape"].tolist() == [0, 1]


def test_series_of_zeros_have_no_wape_of_their_own() -> None:
    frame = pd.DataFrame({"unique_id": ["a", "b"], "ds": 1, "cutoff": 0, "y": [0.0, 4.0], "m": [1.0, 2.0]})
    score = score_frame(frame, models=["m"], scale=SCALE).iloc[0]
    assert score["wape"] == pytest.approx((1 + 2) / 4)
    assert score_frame(frame, models=["m"], scale=SCALE, by=["unique_id"])["wape"].isna().tolist() == [True, False]
    assert score["smape"] == pytest.approx((1 + 2 / 6) / 2)


def test_input_is_left_alone() -> None:
    frame = forecasts()
    before = frame.copy()
    score_frame(frame, models=["m"], scale=SCALE, by=["step"])
    pd.testing.assert_frame_equal(frame, before)


def test_wrong_use_is_refused() -> None:
    with pytest.raises(DataError, match="no other"):
        score_frame(forecasts(), models=["other"], scale=SCALE)
    with pytest.raises(DataError, match="no y"):
        score_frame(forecasts().assign(y=NAN), models=["m"], scale=SCALE)
    with pytest.raises(UsageError, match="cutoff"):
        score_frame(forecasts(), models=["m"], scale=SCALE, by=["cutoff"])


def test_scale_by_id() -> None:
    y = [1.0, 5.0, 3.0, 6.0, *[4.0] * 4, *[0.0] * 4]
    frame = pd.DataFrame({"unique_id": np.repeat(["a", "b", "c"], 4), "ds": [*range(4)] * 3, "y": y})
    scale = seasonal_scale(make_panel(frame), 2)
    assert scale["a"] == 1.5
    assert scale["b"] == 4
    assert np.isnan(scale["c"])


def test_lag_mase_divides_each_window_by_its_distance_from_the_one_before() -> None:
    """Two windows of two steps, gap 2: denominators (|3 − 1| + |9 − 5|) / 2 = 3 and (|3 − 3| + |9 − 9|) / 2 = 0 → 4."""
    frame = pd.DataFrame({"unique_id": "a", "ds": range(6), "y": [1.0, 5.0, 3.0, 9.0, 3.0, 9.0]})
    panel = make_panel(frame)
    origins = Origins(np.array([0, 0]), np.array([2, 4]))
    scale = gap_scale(panel, origins, 2, 2, pd.Series({"a": 4.0}))
    assert scale.tolist() == [3.0, 4.0]
    told = frame.iloc[2:].assign(cutoff=[1, 1, 3, 3], m=[6.0, 9.0, 3.0, 1.0])
    scored = score_frame(told, models=["m"], scale=pd.Series({"a": 1.0}), lag_scale=scale)
    assert scored["lag_mase"].item() == pytest.approx((3 / 3 + 0 + 0 + 8 / 4) / 4)
    perfect = score_frame(told.assign(m=told["y"]), models=["m"], scale=pd.Series({"a": 1.0}), lag_scale=scale)
    assert perfect["lag_mase"].item() == 0.0


def test_lag_mase_with_a_gap_beyond_the_history_falls_back() -> None:
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(3), "y": [1.0, np.nan, 3.0]}))
    origins = Origins(np.array([0]), np.array([2]))
    assert gap_scale(panel, origins, 1, 7, pd.Series({"a": 4.0})).tolist() == [4.0]
    assert gap_scale(panel, origins, 1, 1, pd.Series({"a": 4.0})).tolist() == [4.0]  # the value before is missing
