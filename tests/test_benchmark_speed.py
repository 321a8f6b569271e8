"""What the speed benchmarks compare: under which conditions, and with a yardstick that computes the same."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from benchmarks import speed
from benchmarks.plain import BareLSTM, OwnBareLSTM
from torch import nn


class _Replaced(Exception):
    """In place of the process."""


def test_speed_is_measured_with_threads_that_sleep_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(_program: str, arguments: list[str]) -> None:
        raise _Replaced(arguments)

    monkeypatch.setattr(os, "execv", execute)
    monkeypatch.setattr(sys, "argv", ["speed.py", "--case", "speed_luong"])
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what is set in here is undone
        monkeypatch.delenv(name)
    with pytest.raises(_Replaced) as told:
        speed.as_the_command_line()
    assert told.value.args[0][1:] == ["-m", "benchmarks.speed", "--case", "speed_luong"]
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    speed.as_the_command_line()  # the process that took the place goes on


def test_both_yardsticks_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_KERNELS", "numba")
    theirs, ours = (kind(3, 2, 8, nn.Linear(8, 1)) for kind in (BareLSTM, OwnBareLSTM))
    ours.load_state_dict(theirs.state_dict())
    past, known = torch.randn(5, 9, 3), torch.randn(5, 4, 2)
    torch.testing.assert_close(ours(past, known), theirs(past, known), rtol=0, atol=1e-6)
