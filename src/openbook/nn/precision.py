"""Parts that stay in float32 where the rest of a model is computed in half precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def in_full(tensor: Tensor) -> Iterator[Tensor]:
    """A tensor to go on with in float32: autocast is off, and half precision is left.

    A forecast is compared with its linear floor by a hundredth of their errors: rounded to eight bits both would differ by
    more than that wherever errors are small beside a window's spread.

    >>> with torch.autocast("cpu", torch.bfloat16), in_full(torch.ones(1, 1, dtype=torch.bfloat16)) as whole:
    ...     (whole @ whole).dtype
    torch.float32
    """
    kind = tensor.device.type
    if not torch.is_autocast_enabled(kind):
        yield tensor
        return
    with torch.autocast(kind, enabled=False):
        yield tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
