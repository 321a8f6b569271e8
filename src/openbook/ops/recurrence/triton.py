"""The sequential attention models on an NVIDIA GPU: one program a window goes through all steps in one launch."""

from __future__ import annotations

from openbook.ops.recurrence.triton_decoder import attending_decoder
from openbook.ops.recurrence.triton_encoder import attending_encoder
from openbook.ops.triton_math import reach

__all__ = ["attending_decoder", "attending_encoder", "reach"]
