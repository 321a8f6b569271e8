"""Which implementation serves a call, and what happens where a compiler is missing."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from openbook.errors import UsageError
from openbook.ops import dispatch
from openbook.ops.additive_attention import reference

LARGE = dispatch.SMALL


def served(size: int = LARGE, dtype: torch.dtype = torch.float32) -> str:
    with dispatch.implementation("additive_attention", torch.zeros(1, dtype=dtype), size, reference) as module:
        return module.__name__.rsplit(".", 1)[1]


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(dispatch.VARIABLE, raising=False)


def test_by_size_and_precision() -> None:
    assert served() == "numba"
    assert served(size=LARGE - 1) == "reference"
    assert served(dtype=torch.float64) == "reference"


def test_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dispatch.VARIABLE, "numba")
    assert served(size=1) == "numba"
    assert served(dtype=torch.float64) == "reference"
    monkeypatch.setenv(dispatch.VARIABLE, "reference")
    assert served() == "reference"
    monkeypatch.setenv(dispatch.VARIABLE, "triton")  # for GPUs; a CPU tensor takes the plain path
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert served() == "reference"
    monkeypatch.setenv(dispatch.VARIABLE, "fast")
    with pytest.raises(UsageError, match="auto or reference or numba or triton"):
        served()


@pytest.mark.parametrize(("op", "waits"), [("recurrence", True), ("joint_attention", True), ("lstm", False)])
def test_who_waits_for_what_is_compiled_ahead(op: str, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[bool] = []
    monkeypatch.setattr(dispatch, "_used", set())
    monkeypatch.setattr(dispatch.ahead, "wait", lambda: waited.append(True))
    with dispatch.implementation(op, torch.zeros(1), LARGE, reference) as module:
        assert module.__name__ == f"openbook.ops.{op}.numba"
    assert bool(waited) == waits


def test_without_numba_one_warning_and_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_modules", {})
    monkeypatch.setitem(sys.modules, "openbook.ops.additive_attention.numba", None)
    monkeypatch.setitem(sys.modules, "openbook.ops.recurrence.numba", None)
    with pytest.warns(RuntimeWarning, match="numba can not be used"):
        assert served() == "reference"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert served() == "reference"
        with dispatch.implementation("recurrence", torch.zeros(1), LARGE, reference) as module:
            assert module is reference


def test_a_compiler_that_is_there_and_does_not_work_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler() -> None:
        raise RuntimeError("Failed to find C compiler")

    broken = types.ModuleType("triton")
    broken.reach = no_compiler  # type: ignore[attr-defined]
    monkeypatch.setattr(dispatch, "_modules", {})
    monkeypatch.setenv(dispatch.VARIABLE, "triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "openbook.ops.additive_attention.triton", broken)
    with pytest.warns(RuntimeWarning, match="triton can not be used .*Failed to find C compiler"):
        assert served() == "reference"


def test_every_module_of_triton_kernels_is_asked_whether_they_can_be_compiled() -> None:
    folder = Path(dispatch.__file__).parent
    compiled = [
        file for file in folder.glob("*/triton*.py") if re.search(r"^import triton$", file.read_text(), re.MULTILINE)
    ]
    asked = {file.with_name("triton.py") for file in compiled}
    assert len(asked) >= 2
    for file in asked:
        imports = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ImportFrom)]
        assert "reach" in {alias.name for node in imports for alias in node.names}, file


def test_a_whole_fit_without_numba() -> None:
    script = (
        "import sys; sys.modules['numba'] = None\n"
        "import openbook as ob, warnings\n"
        "frame = ob.simulate_calls().frame.iloc[:800, :3]\n"
        "train = ob.TrainConfig(max_steps=2, batch_size=8)\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    model = ob.Forecaster(24, model='bahdanau', input_size=168, train=train).fit(frame)\n"
        "    assert model.predict()['Bahdanau'].notna().all()\n"
        "assert sum('numba can not be used' in str(one.message) for one in told) == 1, told\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr


def test_a_slow_first_call_says_so_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for none in (None, object()):  # a program without a console, a logger in its place
        monkeypatch.setattr(sys, "stderr", none)
        with dispatch._said_if_slow(after=0.0):
            pass
    for screen, said in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", screen)
        with dispatch._said_if_slow(after=0.01):
            time.sleep(0.2)
        assert ("compiling" in screen.getvalue()) == said
        with dispatch._said_if_slow(after=10):
            pass
        assert screen.getvalue().count("compiling") == int(said)


def test_half_precision_takes_the_plain_path_but_where_autocast_hands_on_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernels for GPUs are float32: powers of keys overflow in float16."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    told = {
        dtype: SimpleNamespace(is_cuda=True, dtype=dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64)
    }
    assert not any(dispatch._serves("triton", tensor) for tensor in told.values())  # type: ignore[arg-type]
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: True)
    assert [dispatch._serves("triton", tensor) for tensor in told.values()] == [True, True, False]  # type: ignore[arg-type]
