"""On a GPU cuDNN's layer is the fused one, and torch calls it."""

from openbook.ops.lstm.reference import lstm

__all__ = ["lstm"]
