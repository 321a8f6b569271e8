"""Kernels compiled in a process of their own: all that the models need, once, and nothing lost where it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.ops import ahead, dispatch

WHAT_MODELS_NEED = """
from openbook.ops import ahead
assert ahead.compile_ahead() and ahead.running() and ahead.compile_ahead()
import torch
from openbook import BahdanauConfig, LuongConfig
from openbook.models.darnn import DarnnConfig
from openbook.models.base import ModelShape
from openbook.models.registry import build_model
from openbook.ops.additive_attention.numba import KERNELS as attention
from openbook.ops.joint_attention.numba import KERNELS as joint
from openbook.ops.recurrence.numba_steps import KERNELS as recurrence
from openbook.windows.batch import Batch

seen, one = torch.ones(2, 5, 3, dtype=torch.bool), torch.ones(2, 1)
ahead_BHK = torch.ones(2, 4, 2, dtype=torch.bool)
batch = Batch(torch.randn(2, 5, 5), seen[..., 0], seen, torch.randn(2, 4, 2), ahead_BHK, torch.randn(2, 4, 1),
              ahead_BHK[..., :1], one, one.double(), one.double(), -one[:, 0].long())
shape = ModelShape(3, 5, 2, 5, 4, (0.1, 0.5, 0.9))
for config in (LuongConfig(), BahdanauConfig(), DarnnConfig(), DarnnConfig(form="recurrent")):
    build_model(config, shape, 1)(batch).quantile_BHMQ.sum().backward()
needed = (*attention, *joint, *recurrence)
compiled_here = [kernel.__name__ for kernel in needed if sum(kernel.stats.cache_misses.values())]
assert all(sum(kernel.stats.cache_hits.values()) for kernel in joint)
read = [kernel.__name__ for kernel in needed if sum(kernel.stats.cache_hits.values())]
assert not compiled_here, compiled_here
assert {"steps_forward", "steps_backward", "_forward", "_backward"} <= set(read), read
assert not ahead.running() and not ahead.compile_ahead()
"""


@pytest.fixture(autouse=True)
def _nothing_running(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)
    monkeypatch.setattr(ahead, "_process", None)
    yield
    ahead.wait()


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbook.ops.numba_math.kept", lambda *_: False)


def test_what_the_models_need_is_compiled_once_and_read_here(tmp_path: Path) -> None:
    told = {"NUMBA_CACHE_DIR": str(tmp_path), dispatch.VARIABLE: "numba", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", WHAT_MODELS_NEED], env=os.environ | told, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.usefixtures("nothing_kept")
def test_not_where_kernels_will_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.VARIABLE, "reference")
    assert not ahead.compile_ahead()
    monkeypatch.delenv(dispatch.VARIABLE)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not ahead.compile_ahead()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "executable", None)  # Python inside another program
    assert not ahead.compile_ahead()


@pytest.mark.usefixtures("nothing_kept")
def test_a_process_that_can_not_be_started_or_fails_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    assert not ahead.compile_ahead()
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])  # imports skip what is no text
    assert ahead.compile_ahead()
    ahead.wait()
    assert not ahead.running()


def test_a_process_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(ahead, "_process", endless)
    monkeypatch.setattr(ahead, "_MOST_S", 0.05)
    ahead.wait()
    assert endless.returncode


@pytest.mark.usefixtures("nothing_kept")
def test_a_compiler_that_does_not_work_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy beyond what Numba knows, say: who calls a kernel is told so, and a backtest goes on."""

    def broken(*kernels: object) -> bool:
        raise ImportError("Numba needs NumPy 2.5 or less")

    monkeypatch.setattr("openbook.ops.numba_math.kept", broken)
    assert not ahead.compile_ahead()
