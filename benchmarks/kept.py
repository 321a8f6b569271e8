"""The steps of ``speed`` once more where the C library keeps the memory that a step frees: ``python -m benchmarks.kept``.

So the command line has it. A script's process gives memory back and asks for it anew, which costs torch's LSTM most.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch

from benchmarks import speed
from benchmarks.record import RESULTS, THREADS, write_result
from openbook.console import keep_memory


def kept(seed: int) -> dict[str, Any]:
    """What the cases of ``bahdanau``, ``darnn`` and ``luong`` tell, by model."""
    return {"bahdanau": speed.bahdanau(seed), "darnn": speed.darnn(seed), "luong": speed.luong(seed)}


def main() -> None:
    """Measure; a result that exists is kept unless forced."""
    speed.as_the_command_line("benchmarks.kept")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="measure again what has a result")
    told = parser.parse_args()
    key = f"speed_kept-{told.seed}"
    if (RESULTS / f"{key}.json").exists() and not told.force:
        print(f"{key}: kept")
        return
    keep_memory()
    torch.set_flush_denormal(True)
    torch.set_num_threads(THREADS)
    found = kept(told.seed)
    write_result(key, {"command": "python -m benchmarks.kept", "seed": told.seed, "speed": found})
    print(f"{key}: {found}", flush=True)


if __name__ == "__main__":
    main()
