from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from openbook.plots.averages import Cells, Pool, average_of
from openbook.plots.times import Clock
from openbook.report.average import _evenly_told, _lags_told, average_part
from openbook.report.payload import page_clock, script_json
from openbook.report.source import read_backtest, summed_weights
from report_folders import NASTY_FEATURES, RUN, write_folder, write_stages


def unpack(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['kind']}").reshape(packed["shape"])


def entries_of(folder: Path) -> list[dict[str, Any]]:
    backtest = read_backtest(folder)
    return average_part(backtest, page_clock(backtest))


def test_every_model_that_explains_has_its_medians(nasty_folder: Path) -> None:
    entries = entries_of(nasty_folder)
    assert [entry["model"] for entry in entries] == ["openbook", "bahdanau"]
    frame = pd.read_parquet(nasty_folder / "explanation.parquet")
    own = frame[frame["model"] == "openbook"].assign(weight=lambda rows: rows["weight"] * (1 - rows["memory"]))
    back = (own["cutoff"] - own["source_ds"]) // pd.Timedelta(hours=1)
    grid = (
        own.groupby(["unique_id", "cutoff", "step", back.rename("back")])["weight"].sum().unstack([0, 1]).median(axis=1)
    )
    cells = entries[0]["map"]["cells"]
    drawn = unpack(cells) * cells["largest"] / 65_535
    np.testing.assert_allclose(drawn, grid.unstack()[entries[0]["map"]["places"]], atol=cells["largest"] / 65_535)
    share = own.groupby(["unique_id", "cutoff", "feature"])["weight"].sum() / 24 / 0.75
    quartiles = share.groupby("feature").quantile([0.25, 0.5, 0.75]).unstack()
    for name, *values in entries[0]["features"]:
        np.testing.assert_allclose(values, quartiles.loc[name], atol=1e-4)
    assert [row[0] for row in entries[0]["features"]] == NASTY_FEATURES
    assert entries[1]["features"] == []
    lags = dict(zip(entries[0]["lags"]["places"], unpack(entries[0]["lags"]["median"]).tolist(), strict=True))
    assert max(lags, key=lambda lag: lags[lag]) == 24


def test_sentences_count_and_name(nasty_folder: Path) -> None:
    words = entries_of(nasty_folder)[0]["words"]
    assert "median of 9 forecasts of 3 series" in words["map"]
    assert "25% looked nowhere and is not drawn" in words["map"]
    assert "Counted back from each hour it forecast, openbook usually looked most 1 day before (" in words["lags"]
    assert words["features"].startswith("Of all it looked up, openbook usually drew ")


def test_stages_are_averaged_where_the_file_has_them(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ids=["a", "b"], features=["calls", "holiday"], h=4, past=12)
    assert all("inputs" not in entry for entry in entries_of(folder))
    write_stages(folder, "bahdanau")
    plain, two = entries_of(folder)
    assert "inputs" not in plain
    assert [panel["name"] for panel in two["inputs"]["panels"]] == ["calls", "holiday"]
    stages = pd.read_parquet(folder / "stages.parquet")
    alpha = stages[stages["feature"] == "calls"].groupby(["unique_id", "cutoff"])["weight"].mean()
    assert two["inputs"]["features"][0] == ["calls", *np.round(alpha.quantile([0.25, 0.5, 0.75]), 4)]
    assert two["times"]["map"]["steps"] == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert two["times"]["line"]["places"] == list(range(11, -1, -1))
    assert two["times"]["pool"] == "6 forecasts of 2 series"
    median = unpack(two["times"]["line"]["median"])
    assert median.argmax() == 11
    assert "usually most at the last moment known (" in two["times"]["words"]
    json.loads(script_json([plain, two]), parse_constant=pytest.fail)


def test_folders_without_weights_have_no_averages(small_folder: Path) -> None:
    (small_folder / "explanation.parquet").unlink()
    assert entries_of(small_folder) == []


def test_weights_are_added_up_across_batches(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_folder / "explanation.parquet"
    whole = summed_weights(path, ["model", "step"]).sort_values(["model", "step"], ignore_index=True)
    frame = pd.read_parquet(path)
    frame.to_parquet(path, row_group_size=7)
    parted = summed_weights(path, ["model", "step"]).sort_values(["model", "step"], ignore_index=True)
    pd.testing.assert_frame_equal(whole, parted)
    openbook = whole[whole["model"] == "openbook"]["weight"]
    np.testing.assert_allclose(openbook, 0.75 * 3)
    frame.drop(columns="weight").to_parquet(path)
    assert summed_weights(path, ["model"]).empty


def test_distances_that_few_steps_reach_are_not_named() -> None:
    """The farthest distance is one step's alone, and has most weight there."""
    row, place = np.indices((8, 40)).reshape(2, -1)
    back = 39 - place
    weight = np.where((row == 7) & (back == 39), 0.9, np.where(back + row + 1 == 24, 0.4, 0.01))
    cells = Cells(np.zeros(len(row), int), row + 1, back, back + row + 1, weight)
    found = average_of(cells, np.ones((1, 1)), ("y",), Pool(1, 1))
    assert _lags_told(found, Clock("day")).startswith("24 days before (40.0%)")


@pytest.mark.parametrize(("steps", "told"), [(24, ""), (8, "7 days before (50.0%), 14 days before (40.0%)")])
def test_no_distance_is_named_that_hardly_any_step_reaches(steps: int, told: str) -> None:
    """Ten rows behind 24 steps: no distance is in reach of half of them. Fourteen behind 8 steps: two tops are."""
    past = 10 if steps == 24 else 20
    row, place = np.indices((steps, past)).reshape(2, -1)
    back = past - 1 - place
    lag = back + row + 1
    cells = Cells(np.zeros(len(row), int), row + 1, back, lag, np.where(lag == 7, 0.5, np.where(lag == 14, 0.4, 0.0)))
    found = average_of(cells, np.ones((1, 1)), ("y",), Pool(1, 1))
    assert _lags_told(found, Clock("day")).startswith(told)
    assert "-" not in _lags_told(found, Clock("day"))


def test_an_even_look_up_is_called_even(small_folder: Path) -> None:
    path = small_folder / "explanation.parquet"
    assert not any("nearly evenly" in entry["words"]["lags"] for entry in entries_of(small_folder))
    frame = pd.read_parquet(path)
    size = frame.groupby(["model", "unique_id", "cutoff", "step"])["weight"].transform("size")
    frame.assign(weight=1 / size).to_parquet(path)
    assert all(
        "spread nearly evenly: no place stands out" in entry["words"]["lags"] for entry in entries_of(small_folder)
    )


def test_the_target_is_called_by_its_own_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ids=["a"], features=["y", "holiday"], h=4, past=12, run={**RUN, "target": "sold"})
    write_stages(folder, "bahdanau")
    plain, two = entries_of(folder)
    assert [row[0] for row in plain["features"]] == ["sold", "holiday"]
    assert "from sold" in plain["words"]["features"]
    assert [panel["name"] for panel in two["inputs"]["panels"]] == ["sold", "holiday"]


@pytest.mark.parametrize(
    ("largest", "places", "even"),
    [(0.5, 2, False), (0.5, 4, False), (0.3, 4, True), (0.01, 100, True), (1.0, 1, False)],
)
def test_few_places_are_never_called_even(largest: float, places: int, even: bool) -> None:
    assert ("nearly evenly" in _evenly_told(np.array([largest, 0.0]), 1.0, places)) is even


def test_models_of_few_places_are_not_called_even(small_folder: Path) -> None:
    frame = pd.read_parquet(small_folder / "explanation.parquet")
    own = frame[(frame["model"] == "openbook") & (frame["feature"] == "calls")]
    near = (own["cutoff"] - own["source_ds"]) // pd.Timedelta(hours=1) == 4 - own[
        "step"
    ]  # four stamps before each step
    far = (own["cutoff"] - own["source_ds"]) // pd.Timedelta(hours=1) == 5 - own["step"]
    weights = own[near | far].assign(weight=np.where(near[near | far], 0.55, 0.45), memory=0.0)
    weights.to_parquet(small_folder / "explanation.parquet")
    words = entries_of(small_folder)[0]["words"]["lags"]
    assert "4 hours before (55.0%)" in words
    assert "nearly evenly" not in words
