"""Tensors as the arrays a CPU kernel is compiled for: float32 or bool, contiguous, writeable."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Stands for an absent mask: one row without cells, [1, 1, 0].
NO_MASK = np.empty((1, 1, 0), bool)


def array(tensor: Tensor) -> np.ndarray:
    """The same memory where it is contiguous, else a copy."""
    return (tensor.detach() if tensor.requires_grad else tensor).contiguous().numpy()


def nothing(ndim: int, dtype: type = np.float32) -> np.ndarray:
    """An empty array that stands for an absent argument, so that one compiled kernel serves both."""
    return np.empty((0,) * ndim, dtype)


def room(*shape: int) -> Tensor:
    """Memory a kernel will write."""
    return torch.empty(shape, dtype=torch.float32)
