"""Files are whole or not written at all, also when the writer is killed in the middle."""

from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from openbook import files
from openbook.errors import DataError, ModelFileError, UsageError
from openbook.files import (
    arrow_ready,
    check_writable,
    json_text,
    write_csv_whole,
    write_files_whole,
    write_folder_whole,
    write_parquet_whole,
    write_text_whole,
    write_whole,
)
from openbook.forecast.saving import check_target
from openbook.report.source import read_backtest


def test_a_failing_writer_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text_whole(target, "old")

    def half(draft: Path) -> None:
        draft.write_text("ne")
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="fire"):
        write_whole(target, half)
    assert target.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_folder_whole(folder, lambda draft: (draft / "one").write_text("1"))
    write_folder_whole(folder, lambda draft: (draft / "two").write_text("2"))
    assert [item.name for item in folder.iterdir()] == ["two"]
    assert [item.name for item in tmp_path.iterdir()] == ["model"]


def test_a_folder_is_replaced_also_where_names_can_not_be_exchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openbook.files._exchange", lambda first, second: False)
    folder = tmp_path / "model"
    for name in ("one", "two"):
        write_folder_whole(folder, lambda draft, name=name: (draft / name).write_text(name))
    assert [item.name for item in folder.iterdir()] == ["two"]


def test_a_folder_that_can_not_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    monkeypatch.setattr("openbook.files._exchange", lambda *_: False)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name == "new":  # held open by a scanner, say
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(UsageError, match="Permission denied"):
        write_folder_whole(tmp_path / "a", lambda folder: (folder / "young").touch())
    assert [item.name for item in tmp_path.rglob("*")] == ["a", "old"]


def test_files_are_put_in_place_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until all are written the old ones stay, and they come back where one can not be put in place."""

    def text(**files: str) -> Callable[[Path], object]:
        return lambda draft: [(draft / f"{name}.txt").write_text(what) for name, what in files.items()]

    def there() -> dict[str, str]:
        return {item.name: item.read_text() for item in sorted(tmp_path.iterdir())}

    def broken(draft: Path) -> None:
        text(a="new", record="new")(draft)
        raise RuntimeError("disk on fire")

    write_files_whole(tmp_path, text(record="old", a="old", b="old"), last="record.txt")
    (tmp_path / "notes").write_text("mine")
    old = there()
    with pytest.raises(RuntimeError, match="fire"):
        write_files_whole(tmp_path, broken, last="record.txt", gone=["b.txt"])
    assert there() == old

    real = Path.replace

    def second_fails(self: Path, target: Path) -> Path:
        if self.name == "record.txt" and self.parent.name == "new":
            raise PermissionError(errno.EACCES, "open elsewhere", str(target))
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", second_fails)
        told = refused(
            lambda: write_files_whole(tmp_path, text(a="new", c="new", record="new"), last="record.txt"), "cannot_write"
        )
    assert "open elsewhere" in str(told)
    assert there() == old
    write_files_whole(tmp_path, text(a="newer", record="newer"), last="record.txt", gone=["b.txt", "c.txt"])
    assert there() == {"a.txt": "newer", "notes": "mine", "record.txt": "newer"}


def test_text_beyond_ascii_is_marked_for_spreadsheets(tmp_path: Path) -> None:
    plain, korean = pd.DataFrame({"id": ["north"], "y": [1.5]}), pd.DataFrame({"id": ["강남"], "y": [1.5]})
    for frame, marked in ((plain, False), (korean, True), (plain.rename(columns={"y": "Größe"}), True)):
        for name in ("f.csv", "f.csv.gz"):
            path = write_csv_whole(tmp_path / name, frame)
            data = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
            assert data.startswith(b"\xef\xbb\xbf") == marked
            assert not data.removeprefix(b"\xef\xbb\xbf").startswith(b"\xef\xbb\xbf")
            pd.testing.assert_frame_equal(pd.read_csv(path), frame)


def test_on_windows_only_what_can_be_synced_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []
    real = os.open
    monkeypatch.setattr(
        "openbook.files.os.open", lambda path, flags: opened.append((Path(path).name, flags)) or real(path, flags)
    )
    monkeypatch.setattr("openbook.files._ON_WINDOWS", True)
    write_text_whole(tmp_path / "a.txt", "whole")
    write_folder_whole(tmp_path / "model", lambda draft: (draft / "one").write_text("1"))
    assert opened == [("a.txt", os.O_RDWR), ("one", os.O_RDWR)]


def test_names_are_exchanged_in_steps_where_there_is_no_library_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: object, **how: object) -> object:
        raise TypeError(f"{name} is no path")  # what Windows says

    monkeypatch.setattr("openbook.files.ctypes.CDLL", none)
    write_folder_whole(tmp_path / "model", lambda draft: (draft / "one").write_text("1"))
    write_folder_whole(tmp_path / "model", lambda draft: (draft / "two").write_text("2"))
    assert [item.name for item in (tmp_path / "model").iterdir()] == ["two"]


SAVES = """
import sys
from pathlib import Path
import openbook.files as files
import openbook as ob, pandas as pd

frame = pd.DataFrame({"unique_id": "a", "ds": range(60), "y": [float(i % 4) for i in range(60)]})
model = ob.Forecaster(4, input_size=8, model=ob.LuongConfig(hidden_size=4), train=ob.TrainConfig(max_steps=2)).fit(frame)
real = files._sync
def slow(path):
    Path(sys.argv[2]).touch()   # a file is being written right now
    import time; time.sleep(30)
files._sync = slow
model.save(sys.argv[1])
"""

BACKTESTS = """
import sys, time
from pathlib import Path
import pandas as pd
from openbook.evaluation.backtest import BacktestResult, write_backtest
import openbook.files as files

count = 0
real = files._sync
def slow(path):
    global count
    count += 1
    if count == 5:                # two files are drafted already, their folder synced too; this one's draft is half done
        with open(path, "r+b") as file:
            file.truncate(10)
        Path(sys.argv[2]).touch()
        time.sleep(30)
    real(path)
files._sync = slow
frame = pd.DataFrame({"model": ["new"] * 1000, "mae": 1.0})
write_backtest(BacktestResult(frame, frame, frame, frame, frame, frame, {"new": True}), sys.argv[1])
"""


def killed_in_the_middle(script: str, target: Path, sign: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(target), str(sign)], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    for _ in range(600):
        if sign.exists() or child.poll() is not None:
            break
        time.sleep(0.1)
    assert sign.exists(), "the writer never came to its sign"
    child.send_signal(signal.SIGKILL)
    child.wait()


@pytest.mark.parametrize("name", ["model.ob", "model"])
def test_kill_9_during_save_leaves_the_old_model_whole(tmp_path: Path, name: str) -> None:
    import openbook as ob

    frame = pd.DataFrame({"unique_id": "a", "ds": range(60), "y": [float(i % 5) for i in range(60)]})
    options = {"input_size": 8, "model": ob.LuongConfig(hidden_size=4), "train": ob.TrainConfig(max_steps=2)}
    old = ob.Forecaster(4, **options).fit(frame)
    target = old.save(tmp_path / name)
    killed_in_the_middle(SAVES, target, tmp_path / "sign")
    pd.testing.assert_frame_equal(ob.load(target).predict(), old.predict(), check_exact=True)


def test_kill_9_during_a_backtest_leaves_the_old_one_whole(tmp_path: Path) -> None:
    from openbook.evaluation.backtest import BacktestResult, write_backtest

    frame = pd.DataFrame({"model": ["old"] * 1000, "mae": 2.0})
    target = write_backtest(BacktestResult(*([frame] * 6), {"old": True}), tmp_path / "out")
    killed_in_the_middle(BACKTESTS, target, tmp_path / "sign")
    told = {file.name: pd.read_csv(file) for file in target.glob("*.csv")}
    assert {name: set(frame["model"]) for name, frame in told.items()} == {
        f"scores{name}.csv": {"old"} for name in ("", "_by_series", "_by_step")
    }
    assert all(len(frame) == 1000 for frame in told.values())
    for file in target.glob("*.parquet"):
        assert len(pd.read_parquet(file)) == 1000
    assert json.loads((target / "run.json").read_text()) == {"old": True}


def refused(write: Callable[[], object], code: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        write()
    assert caught.value.code == code
    return caught.value


def test_a_place_that_can_not_be_written_is_said_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("I am a file")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder", tmp_path / ("n" * 400), Path("/proc/a.txt")):
        found = refused(lambda path=path: write_text_whole(path, "x"), "cannot_write")
        assert str(path) in str(found)
        refused(lambda path=path: check_writable(path), "cannot_write")
    assert (
        "a file where a folder" in refused(lambda: write_text_whole(tmp_path / "file" / "a", "x"), "cannot_write").got
    )
    below = tmp_path / "file" / "model"
    refused(lambda: write_folder_whole(below, lambda draft: None), "cannot_write")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "folder"]


def test_checking_a_place_leaves_nothing_there(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "newer" / "a.txt")
    check_writable(tmp_path, folder=True)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_no_bug_but_another_missing_file_is(tmp_path: Path) -> None:
    def full(draft: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert "space" in refused(lambda: write_whole(tmp_path / "a", full), "cannot_write").got
    refused(lambda: write_whole(tmp_path / "a", lambda draft: (draft / "b").write_text("")), "cannot_write")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "a", lambda draft: (tmp_path / "absent").read_text())
    assert list(tmp_path.iterdir()) == []


def test_json_is_strict_and_keeps_every_digit() -> None:
    document = {
        "numbers": (np.float64(1.2345678901234e-11), 1.5, np.int64(3), True, None),
        "odd": [float("nan"), -np.inf, np.float32("inf"), pd.NaT, pd.NA],
        "stamps": [pd.Timestamp("2024-03-01 05:00", tz="Europe/Berlin"), pd.Timestamp("2024-03-01")],
        3: Path("a"),
    }
    assert json.loads(json_text(document), parse_constant=pytest.fail) == {
        "numbers": [1.2345678901234e-11, 1.5, 3, True, None],
        "odd": [None] * 5,
        "stamps": ["2024-03-01T05:00:00+01:00", "2024-03-01T00:00:00"],
        "3": "a",
    }


def test_a_folder_that_can_not_be_synced_keeps_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared drives sync files, many of them no folders; the file is in its place by then."""
    flush = files._flush

    def of_files(path: Path) -> None:
        if path.is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(path)

    monkeypatch.setattr(files, "_flush", of_files)
    assert write_text_whole(tmp_path / "a.txt", "whole").read_text() == "whole"
    folder = write_folder_whole(tmp_path / "model", lambda draft: (draft / "one").write_text("1"))
    assert (folder / "one").read_text() == "1"


def test_a_refused_folder_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Path] = []

    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        tries.append(path)
        raise PermissionError(errno.EACCES, "Access is denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    refused(lambda: check_writable(tmp_path / "a.csv"), "cannot_write")
    assert len(tries) == 1


def test_what_may_not_be_looked_into_is_no_bug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pathlib of Python 3.11 to 3.13 raises for a path in a folder that may not be searched."""
    import openbook as ob

    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for name in ("exists", "is_dir", "is_file", "read_bytes", "iterdir"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(DataError, match="Permission denied"):
        ob.read_table(tmp_path / "a.csv")
    with pytest.raises(ModelFileError, match="no such file"):
        ob.load(tmp_path / "m.ob")
    with pytest.raises(DataError, match=r"no scores\.csv"):
        read_backtest(tmp_path)


def test_what_file_managers_leave_does_not_keep_a_model_from_being_saved_again(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / ".DS_Store").touch()
    check_target(folder)
    (folder / "thesis.docx").touch()
    with pytest.raises(UsageError, match=r"got thesis\.docx in it"):
        check_target(folder)


def test_numbers_that_arrow_can_not_hold_are_unsigned_or_text(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": pd.Series([2**63 + 5, 7], dtype=object), "y": [1.0, 2.0]})
    path = write_parquet_whole(tmp_path / "a.parquet", frame, index=False)
    assert pd.read_parquet(path)["id"].tolist() == [2**63 + 5, 7]
    mixed = arrow_ready(frame.assign(id=pd.Series([2**63, "a"], dtype=object)))
    assert mixed["id"].tolist() == [str(2**63), "a"]
    assert arrow_ready(frame.assign(id=["b", "c"])) is not None
    small = frame.assign(id=pd.Series([1, 2], dtype=object))
    assert arrow_ready(small) is small
