"""Files are whole or not written at all, also when the writer is killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openbook.files import write_folder_whole, write_text_whole, write_whole


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
    if count > 5:                # some files are new already, this one is half done
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
    import pandas as pd

    import openbook as ob

    frame = pd.DataFrame({"unique_id": "a", "ds": range(60), "y": [float(i % 5) for i in range(60)]})
    options = {"input_size": 8, "model": ob.LuongConfig(hidden_size=4), "train": ob.TrainConfig(max_steps=2)}
    old = ob.Forecaster(4, **options).fit(frame)
    target = old.save(tmp_path / name)
    killed_in_the_middle(SAVES, target, tmp_path / "sign")
    pd.testing.assert_frame_equal(ob.load(target).predict(), old.predict(), check_exact=True)


def test_kill_9_during_a_backtest_leaves_every_file_whole(tmp_path: Path) -> None:
    import json

    import pandas as pd

    from openbook.evaluation.backtest import BacktestResult, write_backtest

    frame = pd.DataFrame({"model": ["old"] * 1000, "mae": 2.0})
    target = write_backtest(BacktestResult(*([frame] * 6), {"old": True}), tmp_path / "out")
    killed_in_the_middle(BACKTESTS, target, tmp_path / "sign")
    for file in target.glob("*.csv"):
        assert len(pd.read_csv(file)) == 1000
    for file in target.glob("*.parquet"):
        assert len(pd.read_parquet(file)) == 1000
    assert json.loads((target / "run.json").read_text()) == {"old": True}
