"""Calls of the peers' environment, which ``make bench-peers`` makes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import ROOT

PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
ABSENT = "no .venv-peers, which `make bench-peers` makes"


class PeerFailed(RuntimeError):
    """A peer's process ended with an error, of which this is the last line."""


def call_peer(module: str, words: Sequence[object], folder: Path, threads: int) -> None:
    """Run a module of ours with the peers' Python; ``folder``: where libraries may leave what they write."""
    line = [str(PEERS_PYTHON), "-m", module, *map(str, words)]
    env = os.environ | environment(threads) | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise PeerFailed((ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1])


def environment(threads: int) -> dict[str, str]:
    """The benchmark's threads as processes are told of them."""
    return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
