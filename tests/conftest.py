"""What all tests share: where benchmark data and parity numbers lie, small tables, quick training."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from report_folders import NASTY_FEATURES, NASTY_IDS, write_folder

ROOT = Path(__file__).parents[1]
# Small models gain nothing from threads, and threads that wait for each other are slow on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Scores and saved bits are those of a CPU; tests of a GPU ask for it: OPENBOOK_TEST_GPU=1 python -m pytest -m gpu.
if not os.environ.get("OPENBOOK_TEST_GPU"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _folder(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} (set {variable})")
    return folder


@pytest.fixture(autouse=True)
def _same_weights_alone_and_among_others() -> None:
    """Networks that a test makes without a seed are the same whatever ran before it, and however long that took."""
    torch = importlib.import_module("torch")  # later than the threads are set
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """The numbers of the reference implementation."""
    return _folder("OPENBOOK_PARITY_DIR", ROOT / "../shared/parity")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real benchmark series."""
    return _folder("OPENBOOK_DATA_DIR", ROOT / "../shared/data")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Files of the benchmarks, which live beside the package, by name."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="session")
def hourly() -> pd.DataFrame:
    """Three hourly series of unequal length with a daily shape, a known-future and a past-only input, and gaps."""
    rng = np.random.default_rng(7)
    parts = []
    for number, length in enumerate((320, 300, 210)):
        hour = np.arange(length)
        promo = (rng.random(length) < 0.1).astype(float)
        shape = 10 + 4 * np.sin(2 * np.pi * hour / 24) + 3 * promo
        part = pd.DataFrame(
            {
                "unique_id": f"series {number}",
                "ds": pd.date_range("2024-01-01", periods=length, freq="h"),
                "y": (1 + number) * shape + rng.normal(0, 0.3, length),
                "promo": promo,
                "wind": rng.normal(0, 1, length),
            }
        )
        part.loc[rng.choice(length, 9, replace=False), "y"] = np.nan
        parts.append(part.drop(index=part.index[[50, 51]]))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def nasty_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three series and four inputs with the worst names we know, two networks, two floors and one failure."""
    return write_folder(tmp_path_factory.mktemp("nasty"), ids=NASTY_IDS, features=NASTY_FEATURES)


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """One series, made anew for tests that change files."""
    return write_folder(tmp_path, ids=["a"], features=["calls", "holiday"], h=4, past=6)
