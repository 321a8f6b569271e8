from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from openbook.plots.cube import ALL_INPUTS, Cube, evened, weight_cube
from openbook.plots.times import Clock, steps_between
from openbook.report import book
from openbook.report.book import _beside, _notes, book_part
from openbook.report.payload import page_clock, stamp_numbers
from openbook.report.source import read_backtest


def unpack(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), f"<{packed['kind']}").reshape(packed["shape"])


def real(packed: dict[str, Any]) -> np.ndarray:
    return unpack(packed) * packed["largest"] / 65_535


def opened(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    backtest = read_backtest(folder)
    return book_part(backtest, page_clock(backtest))


def test_distances_are_counted_across_a_change_of_clocks() -> None:
    stamps = pd.Series(pd.date_range("2024-10-26 22:00", periods=8, freq="30min", tz="UTC").tz_convert("Europe/Berlin"))
    frame = pd.DataFrame({"step": 1, "ds": stamps[7], "source_ds": stamps[:7], "feature": "y", "weight": 1 / 7})
    frame.loc[6, "weight"] = 1.0  # the step before: 02:30 summer time, before 02:30 winter time... one row earlier
    clock = Clock("minute", 30)
    entry, _, _ = book._entry("m", "a", stamps[6], frame, clock)
    counted = entry["counted"]
    assert counted["targets"][0] - unpack(counted["top"])[1, 0] == 30 * 60_000
    assert np.diff(unpack(counted["sources"])).tolist() == [30 * 60_000] * 6
    source, target, weight = entry["lags"][0]
    assert (target - source, weight) == (30 * 60_000, 1.0)
    assert np.diff(unpack(entry["sources"])).min() < 0  # labels go back by an hour
    plain = frame.assign(ds=frame["ds"].dt.tz_localize(None), source_ds=frame["source_ds"].dt.tz_localize(None))
    assert book._entry("m", "a", stamps[6], plain[:3], clock)[0]["counted"] is None


def test_cube_has_every_cell_in_its_place() -> None:
    frame = pd.DataFrame(
        {
            "step": [2, 1, 1, 2],
            "ds": [11, 10, 10, 11],
            "source_ds": [8, 9, 8, 9],
            "feature": ["b", "a", "b", "b"],
            "weight": [0.25, 0.4, 0.6, 0.75],
        }
    )
    cube = weight_cube(frame)
    assert cube.features == ["b", "a"]
    assert (list(cube.sources), list(cube.targets)) == ([8, 9], [10, 11])
    np.testing.assert_allclose(cube.weight[0], [[0.6, 0.0], [0.0, 0.4]])
    np.testing.assert_allclose(cube.weight[1], [[0.25, 0.0], [0.75, 0.0]])


def test_rows_of_a_segment_with_gaps_look_as_those_of_whole_ones() -> None:
    """Segments of four with 0.4, 0.4 and 0.2; of the middle one two rows were observed, a day adds 0.1 to one row."""
    back = np.array([11, 10, 9, 8, 7, 6, 3, 2, 1, 0])
    row = np.array([0.1, 0.1, 0.1, 0.1, 0.2, 0.2, 0.05, 0.05, 0.05, 0.05])
    days = np.where(back == 9, 0.1, 0.0)
    stamps = pd.Series(100 - back)
    cube = Cube(np.stack([row, row + days])[:, :, None], pd.Series([101, 102]), stamps, ["y"])
    found = evened(cube, back, 4, 12).weight[:, :, 0]
    np.testing.assert_allclose(found[0], np.where(back > 3, 0.1, 0.05) / 0.8, atol=1e-12)
    np.testing.assert_allclose(found.sum(1), [1.0, 1.1])
    np.testing.assert_allclose(
        found[1, 2] - found[1, 1], 0.1 * 1.1 / 0.9, atol=1e-12
    )  # what the day added, scaled alike
    assert evened(cube, back, 3, 12) is cube  # no such segments
    assert evened(cube, back, 1, 12) is cube


def test_page_weights_are_the_file_s_weights(nasty_folder: Path) -> None:
    backtest = read_backtest(nasty_folder)
    entries, notes = book_part(backtest, page_clock(backtest))
    assert len(entries) == 18
    assert notes == []
    frame = pd.read_parquet(nasty_folder / "explanation.parquet")
    for entry in entries[:4]:
        stamp = pd.Timestamp(entry["cutoff"], unit="ms")
        own = frame[
            (frame["model"] == entry["model"]) & (frame["unique_id"] == entry["id"]) & (frame["cutoff"] == stamp)
        ]
        cube = weight_cube(own)
        # Rounding to one of 65,535 steps moves a weight by at most half a step.
        np.testing.assert_allclose(real(entry["cube"]), cube.weight, atol=entry["cube"]["largest"] / 65_535 / 2 * 1.001)
        top = unpack(entry["top"]["source"])[1]
        best = np.argsort(-cube.weight[0].sum(1), kind="stable")[:3]
        expected = cube.sources.iloc[best].to_numpy("datetime64[ms]").astype(np.int64)
        np.testing.assert_array_equal(top, expected)


def test_inputs_without_a_place_in_the_look_up_are_named() -> None:
    inputs = {"futr": ["holiday"], "hist": ["wind"], "stat": ["area"]}
    assert _beside(["calls"], inputs) == ["holiday", "wind"]
    assert _beside(["calls", "holiday"], inputs) == []
    assert _beside([ALL_INPUTS], inputs) == []
    assert _beside(["calls"], {}) == []


def rerun(folder: Path, **facts: Any) -> None:
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps(run | facts), encoding="utf-8")


def test_the_target_is_called_by_its_own_name(small_folder: Path) -> None:
    frame = pd.read_parquet(small_folder / "explanation.parquet")
    frame["feature"] = frame["feature"].replace({"calls": "y"})
    frame.to_parquet(small_folder / "explanation.parquet")
    rerun(small_folder, target="sold")
    entries, _ = opened(small_folder)
    assert {name for entry in entries for name in entry["features"]} == {"sold", "holiday", ALL_INPUTS}


def test_the_only_input_there_is_has_a_name(small_folder: Path) -> None:
    rerun(small_folder, target="sold", inputs={"futr": [], "hist": [], "stat": ["area"]})
    alone = next(entry for entry in opened(small_folder)[0] if entry["model"] == "bahdanau")
    assert (alone["features"], alone["timeOnly"], alone["beside"]) == (["sold"], False, [])
    rerun(small_folder, inputs={"futr": ["holiday"], "hist": []})
    several = next(entry for entry in opened(small_folder)[0] if entry["model"] == "bahdanau")
    assert (several["features"], several["timeOnly"]) == ([ALL_INPUTS], True)


def test_lags_name_the_day_before(nasty_folder: Path) -> None:
    entries, _ = opened(nasty_folder)
    source, target, weight = entries[0]["lags"][0]
    assert target - source == 24 * 3_600_000
    assert 0 < weight < 1


@pytest.mark.parametrize(("freq", "clock"), [("MS", Clock("month")), ("QS", Clock("quarter")), ("YE", Clock("year"))])
def test_seven_steps_back_are_one_distance_however_many_days_they_have(freq: str, clock: Clock) -> None:
    stamps = pd.Series(pd.date_range("2020-01-01", periods=30, freq=freq))
    cells = [(step, source) for step in range(6) for source in range(24)]
    frame = pd.DataFrame(
        {
            "step": [step + 1 for step, _ in cells],
            "ds": [stamps[24 + step] for step, _ in cells],
            "source_ds": [stamps[source] for _, source in cells],
            "feature": "y",
            "weight": [0.77 if 24 + step - source == 7 else 0.01 for step, source in cells],
        }
    )
    (source, target, most), (_, _, second), _ = book._top_lags(weight_cube(frame), clock)
    assert (most, second) == (0.77, 0.01)
    begin, end = (pd.Series([pd.Timestamp(stamp, unit="ms")]) for stamp in (source, target))
    assert steps_between(begin, end, clock)[0] == 7


def test_worst_best_and_latest_come_first(nasty_folder: Path) -> None:
    entries, _ = opened(nasty_folder)
    tags = " ".join(dict.fromkeys(entry["tag"] for entry in entries))
    assert all(tag in tags for tag in ("latest", "largest error", "smallest error"))
    assert "latest" in entries[0]["tag"]
    first = entries[0]["model"]
    others = [entry["tag"] for entry in entries if entry["model"] != first]
    assert others
    assert not any("error" in tag for tag in others)  # the worst forecast of one model is not that of another


def test_limits_are_kept_and_said(nasty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backtest = read_backtest(nasty_folder)
    monkeypatch.setattr(book, "MAX_FORECASTS", 4)
    entries, notes = book_part(backtest, page_clock(backtest))
    assert len({(entry["id"], entry["cutoff"]) for entry in entries}) == 4
    assert "4 forecasts of 9" in notes[0]
    monkeypatch.setattr(book, "MAX_CELLS", 24 * 72 * 5 * 2)
    assert len(book_part(backtest, page_clock(backtest))[0]) == 4
    monkeypatch.setattr(book, "MAX_CUBE", 100)
    entry = book_part(backtest, page_clock(backtest))[0][0]
    assert "cube" not in entry
    np.testing.assert_allclose(real(entry["time"]).sum(1), 1.0, atol=1e-3)
    np.testing.assert_allclose(real(entry["input"]).sum(1), 1.0, atol=1e-3)


def test_long_pasts_share_columns(nasty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book, "MAX_COLUMNS", 20)
    entries, notes = opened(nasty_folder)
    assert (entries[0]["bin"], entries[0]["stamps"]) == (4, 72)
    assert entries[0]["cube"]["shape"][:2] == [24, 18]
    np.testing.assert_allclose(real(entries[0]["cube"]).sum((1, 2)), 1.0, atol=1e-3)
    assert any("up to 4 neighbouring stamps" in note for note in notes)


def test_no_explanation_no_book(small_folder: Path) -> None:
    pd.read_parquet(small_folder / "explanation.parquet").iloc[:0].to_parquet(small_folder / "explanation.parquet")
    assert opened(small_folder) == ([], [])
    (small_folder / "explanation.parquet").unlink()
    assert opened(small_folder) == ([], [])


def test_whole_number_ids_and_stamps(small_folder: Path) -> None:
    for name in ("forecasts", "explanation"):
        frame = pd.read_parquet(small_folder / f"{name}.parquet")
        for column in {"ds", "cutoff", "source_ds"} & set(frame):
            frame[column] = (frame[column] - pd.Timestamp("2025-05-12")) // pd.Timedelta(hours=1)
        frame.assign(unique_id=7).to_parquet(small_folder / f"{name}.parquet")
    entries, _ = opened(small_folder)
    assert {entry["id"] for entry in entries} == {"7"}
    assert entries[0]["targets"] == [8.0, 9.0, 10.0, 11.0]


def test_places_without_a_weight_are_out_of_reach() -> None:
    frame = pd.DataFrame(
        {"step": [2, 2, 1, 1, 1], "source_ds": [3, 4, 3, 3, 5], "weight": [0.5, 0.5, 0.5, 0.5, float("nan")]}
    )
    assert book._reach(frame) == [1, 2]


def test_the_share_that_looked_nowhere_is_kept_by_step() -> None:
    frame = pd.DataFrame({"step": [2, 2, 1, 1], "memory": [0.25, 0.25, 0.5, 0.5]})
    assert book._memory(frame) == [0.5, 0.25]
    assert book._memory(frame.assign(memory=0.0)) == []
    assert book._memory(frame[["step"]]) == []


def test_the_telling_forecasts_are_among_those_that_the_first_model_explained(
    nasty_folder: Path, tmp_path: Path
) -> None:
    """A model of many weights keeps fewer forecasts than the others: the page opens on one of its own all the same."""
    folder = shutil.copytree(nasty_folder, tmp_path / "copy")
    path = folder / "explanation.parquet"
    frame = pd.read_parquet(path)
    before, _ = opened(folder)
    first, telling = before[0]["model"], {(entry["id"], entry["cutoff"]) for entry in before if entry["tag"]}
    place = zip(frame["unique_id"].astype(str), stamp_numbers(frame["cutoff"]), strict=True)
    frame[
        [model != first or spot not in telling for model, spot in zip(frame["model"], place, strict=True)]
    ].to_parquet(path)
    entries, _ = opened(folder)
    tags = " ".join(entry["tag"] for entry in entries if entry["model"] == first)
    assert entries[0]["model"] == first
    assert telling
    assert all(tag in tags for tag in ("latest", "largest error", "smallest error"))


def test_the_note_names_the_forecasts_that_are_open() -> None:
    assert (
        "of 84 whose look-ups were kept (luong): the latest. explan" in _notes(["luong"], 84, ["latest"], 1, False)[0]
    )
    tags = ["latest, largest error", "smallest error", ""]
    assert "the worst, the best, the latest and others evenly spaced." in _notes(["luong"], 84, tags, 1, False)[0]
    assert not _notes(["luong"], 1, ["latest"], 1, False)
