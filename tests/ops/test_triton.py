"""The GPU kernels wherever they can run, each time in a process of its own: Triton chooses its way when it is imported."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton is not installed", allow_module_level=True)

HERE = Path(__file__).parent
KERNELS = {
    "scores_kernel",
    "softmax_kernel",
    "slopes_kernel",
    "query_grad_kernel",
    "key_grad_kernel",
    "decoder_kernel",
    "decoder_backward_kernel",
    "encoder_kernel",
    "encoder_backward_kernel",
}


def python(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment = {**kept, "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE)]), **variables}
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=HERE.parents[1], check=False
    )


@pytest.mark.slow
def test_kernels_agree_with_their_twins_in_tritons_interpreter() -> None:
    run = python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "triton_checks.py"), TRITON_INTERPRET="1")
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here, or OPENBOOK_TEST_GPU is not set")
def test_kernels_agree_with_their_twins_on_the_gpu() -> None:
    run = python("-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "triton_checks.py"))
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


@pytest.mark.slow
def test_kernels_compile_for_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    run = python(str(HERE / "triton_ahead.py"), "90", TRITON_CACHE_DIR=str(tmp_path))
    assert run.returncode == 0, run.stderr[-4000:]
    assert set(run.stdout.split()) == KERNELS
