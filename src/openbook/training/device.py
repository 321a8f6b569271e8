"""Where a model is trained: a GPU that works, or the CPU."""

from __future__ import annotations

import logging
from typing import Literal, cast

import torch

from openbook.errors import UsageError

log = logging.getLogger(__name__)
Device = Literal["auto", "cpu", "cuda"]


def _computes() -> bool:
    """Whether the GPU does what it is asked: torch also sees those that its build is too new for, or that others hold."""
    try:
        return (torch.ones(1, device="cuda") + 1).item() == 2
    except (RuntimeError, AssertionError) as error:
        log.warning("there is a GPU that torch can not use, so the CPU works: %s", str(error).split("\n")[0])
        return False


def pick_device(device: Device) -> torch.device:
    """The device of a name (or of torch's); ``auto`` takes a GPU where there is one that works."""
    device = cast("Device", str(device))
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() and _computes() else "cpu")
    there = max(1, torch.cuda.device_count()) if torch.cuda.is_available() else 0
    if device.startswith("cuda") and (torch.device(device).index or 0) >= there:
        raise UsageError(
            "no_gpu",
            expected="an NVIDIA GPU torch can use",
            got=f"{there or 'none'}",
            where=f"device={device!r}",
            fix="use device='auto' or 'cpu'",
        )
    return torch.device(device)
