"""Saving destroys nothing but an older model, and brings series' names and decisions back as they were."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

import openbook as ob
from openbook.data import holidays
from openbook.errors import MissingDependencyError, ModelFileError, UsageError
from openbook.forecast.decisions import Decision
from openbook.forecast.saving import check_target


def fit(names: tuple[Any, ...] = ("a", "b")) -> ob.Forecaster:
    parts = [pd.DataFrame({"unique_id": n, "ds": range(60), "y": [float(i % 4) for i in range(60)]}) for n in names]
    train = ob.TrainConfig(max_steps=2)
    return ob.Forecaster(4, input_size=8, model=ob.LuongConfig(hidden_size=4), train=train).fit(pd.concat(parts))


@pytest.fixture(scope="module")
def fitted() -> ob.Forecaster:
    return fit()


def refused(path: Path, fitted: ob.Forecaster, words: str) -> None:
    for write in (check_target, fitted.save):
        with pytest.raises(UsageError, match=words) as caught:
            write(path)
        assert caught.value.code == "would_overwrite"


def test_a_folder_with_other_files_is_left_alone(fitted: ob.Forecaster, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "mine")
    (folder / "thesis.tex").write_text("years of work")
    refused(folder, fitted, "thesis.tex")
    assert len(list(folder.iterdir())) == 4
    odd = tmp_path / "odd"
    (odd / "config.json").mkdir(parents=True)
    refused(odd, fitted, "config.json")


def test_files_and_folders_do_not_replace_each_other(fitted: ob.Forecaster, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("keep me")
    refused(tmp_path / "notes", fitted, "a file that stands there")
    assert (tmp_path / "notes").read_text() == "keep me"
    (tmp_path / "m.ob").mkdir()
    refused(tmp_path / "m.ob", fitted, "a folder")
    assert (tmp_path / "m.ob").is_dir()


def test_new_empty_and_model_folders_are_taken(fitted: ob.Forecaster, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("new/deep", "empty", "empty"):
        ob.load(fitted.save(tmp_path / name))
    (tmp_path / "empty" / "manifest.json").unlink()
    ob.load(fitted.save(tmp_path / "empty"))
    for _ in range(2):
        ob.load(fitted.save(tmp_path / "m.ob"))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["empty", "m.ob", "new"]


@pytest.mark.parametrize("names", [(1.5, 2.5), (1, 2), ("1", "2"), (np.float32(0.1), np.float32(0.2))])
def test_names_of_series_keep_their_kind(names: tuple[Any, ...], tmp_path: Path) -> None:
    model = fit(names)
    again = ob.load(model.save(tmp_path / "m.ob")).predict()
    pd.testing.assert_frame_equal(
        again.astype({"unique_id": object}), model.predict().astype({"unique_id": object}), check_exact=True
    )
    kind = str if isinstance(names[0], str) else int if isinstance(names[0], int) else float
    assert all(isinstance(name, kind) for name in again["unique_id"].tolist())


def test_a_package_that_is_missing_is_no_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=90), "y": np.arange(90) % 7.0})
    model = ob.Forecaster(4, input_size=8, model=ob.LuongConfig(hidden_size=4), country="KR", season_length=5)
    model.train = ob.TrainConfig(max_steps=2)
    path = model.fit(days).save(tmp_path / "m.ob")
    assert ob.load(path).season_length == 5
    monkeypatch.setitem(sys.modules, "holidays", None)
    holidays._days.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"openbook\[holidays\]"):
        ob.load(path)


def test_a_budget_without_end_stays_one(tmp_path: Path) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": range(60), "y": [float(i % 4) for i in range(60)]})
    train = ob.TrainConfig(max_steps=2, budget_s=float("inf"))
    model = ob.Forecaster(4, input_size=8, model=ob.LuongConfig(hidden_size=4), train=train).fit(frame)
    assert ob.load(model.save(tmp_path / "m.ob")).train == train


def test_a_decision_that_is_not_finite_is_stored_as_null(tmp_path: Path) -> None:
    model = fit()
    model.decisions["lower_bound"] = Decision(-np.inf, "no bound")
    path = model.save(tmp_path / "m")
    config = json.loads((path / "config.json").read_text(), parse_constant=pytest.fail)
    assert config["decisions"]["lower_bound"] == {"value": None, "why": "no bound"}
    assert ob.load(path).decisions["lower_bound"] == Decision(None, "no bound")


def test_a_file_is_compressed_and_a_flipped_bit_is_found(fitted: ob.Forecaster, tmp_path: Path) -> None:
    path = fitted.save(tmp_path / "m.ob")
    with zipfile.ZipFile(path) as archive:
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_DEFLATED}
    data = path.read_bytes()
    for place in range(40, len(data), len(data) // 60):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            again = ob.load(path)
        except ModelFileError:
            continue
        pd.testing.assert_frame_equal(again.predict(), fitted.predict(), check_exact=True)  # a bit of a date, say


@pytest.mark.parametrize("left_out", [("weights.safetensors",), ("config.json", "weights.safetensors")])
def test_a_manifest_tells_the_content_of_all_files(
    left_out: tuple[str, ...], fitted: ob.Forecaster, tmp_path: Path
) -> None:
    folder = fitted.save(tmp_path / "m")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"] = {name: told for name, told in manifest["sha256"].items() if name not in left_out}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError, match="a manifest that tells the content of"):
        ob.load(folder)


@pytest.mark.parametrize(
    ("field", "value"), [("shape", {"input_size": -5}), ("windows", None), ("inputs", 3), ("layout", None)]
)
def test_what_no_save_has_written_is_a_broken_file(
    field: str, value: Any, fitted: ob.Forecaster, tmp_path: Path
) -> None:
    path = fitted.save(tmp_path / "m")
    config = json.loads((path / "config.json").read_text())
    config[field] = {**config[field], **value} if isinstance(value, dict) else value
    (path / "config.json").write_text(json.dumps(config))
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"]["config.json"] = hashlib.sha256((path / "config.json").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError):
        ob.load(path)


def test_windows_of_series_that_are_not_there_are_a_broken_file(fitted: ob.Forecaster, tmp_path: Path) -> None:
    path = fitted.save(tmp_path / "m")
    tensors = load_file(path / "weights.safetensors")
    tensors["calibration.series"] = tensors["calibration.series"] + 50
    save_file(tensors, path / "weights.safetensors")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"]["weights.safetensors"] = hashlib.sha256((path / "weights.safetensors").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFileError, match="series that are not there"):
        ob.load(path)


def test_a_model_that_is_not_there_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "demand.ob").write_bytes(b"")
    with pytest.raises(ModelFileError, match=r"no such file.*did you mean '.*demand.ob'"):
        ob.load(tmp_path / "demnad.ob")
    with pytest.raises(ModelFileError, match="no such folder"):
        ob.load(tmp_path / "nowhere" / "demand.ob")
