from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from openbook.errors import DataError
from openbook.report.source import clean_text, explained_pairs, read_backtest, read_weights


def test_ids_stay_text(small_folder: Path) -> None:
    (small_folder / "scores_by_series.csv").write_text(
        "unique_id,model,mase\nNA,ridge,0.5\n007,ridge,inf\n", encoding="utf-8"
    )
    table = read_backtest(small_folder).by_series
    assert list(table["unique_id"]) == ["NA", "007"]
    assert table["mase"].isna().tolist() == [False, True]


def test_models_are_ranked_and_failures_come_last(small_folder: Path) -> None:
    backtest = read_backtest(small_folder)
    assert backtest.ranked[0] == "openbook"
    assert backtest.scores["model"].iloc[-1] == "auto_ets"
    assert "auto_ets" not in backtest.ranked
    assert backtest.floors == {"ridge", "seasonal_naive", "auto_ets"}


def test_ranked_by_mae_where_no_series_has_a_mase(small_folder: Path) -> None:
    (small_folder / "scores.csv").write_text("model,mae,mase\nridge,3,\nopenbook,2,\n", encoding="utf-8")
    backtest = read_backtest(small_folder)
    assert (backtest.metric, backtest.ranked) == ("mae", ["openbook", "ridge"])


def test_floors_are_guessed_without_run_facts(small_folder: Path) -> None:
    (small_folder / "run.json").unlink()
    assert read_backtest(small_folder).floors == {"ridge", "seasonal_naive", "auto_ets"}


@pytest.mark.parametrize("name", ["scores.csv", "forecasts.parquet"])
def test_a_folder_without_its_core_is_refused(small_folder: Path, name: str) -> None:
    (small_folder / name).unlink()
    with pytest.raises(DataError, match=name):
        read_backtest(small_folder)


def test_forecasts_without_cutoff_are_refused(small_folder: Path) -> None:
    path = small_folder / "forecasts.parquet"
    pd.read_parquet(path).drop(columns="cutoff").to_parquet(path)
    with pytest.raises(DataError, match="no cutoff"):
        read_backtest(small_folder)


def test_pairs_and_their_weights(small_folder: Path) -> None:
    backtest = read_backtest(small_folder)
    pairs = explained_pairs(backtest)
    assert len(pairs) == 6
    frame = read_weights(backtest, pairs["unique_id"].iloc[0], pairs["cutoff"].iloc[0])
    assert set(frame["model"]) == {"openbook", "bahdanau"}
    assert frame["cutoff"].nunique() == 1
    assert len(frame) == 4 * 6 * 2 + 4 * 6


def test_lone_surrogates_become_encodable() -> None:
    assert clean_text({"a\ud800": ["\ud800", 1]}) == {"a?": ["?", 1]}
