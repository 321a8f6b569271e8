"""What the GPU kernels share: elementary functions, the reciprocals of additive scores, products of a vector and a matrix.

Everything is float32. Comparisons clip, not ``minimum`` and ``maximum``, so that NaN passes through.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# exp(2a) and exp(2b) are kept within exp(±43), so that their product can not overflow; wider inputs take the plain path.
CLIP = tl.constexpr(43.0)
HALF_CLIP = tl.constexpr(21.5)
LARGEST = tl.constexpr(87.0)  # e to this is still finite in float32
TILE = 4096  # numbers of one tile: 32 registers of each of a program's 128 threads
# Fused multiply-adds are asked for because versions of Triton differ in their default. Nothing may be read ahead of the
# barriers, so loops are not pipelined.
LAUNCH: dict[str, Any] = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}


def reach() -> None:
    """Raises whatever keeps Triton from a GPU, before a kernel is launched: no driver, no C compiler, no Python headers."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        triton.runtime.driver.active.get_current_target()


def power_of_two(size: int, most: int = 1 << 30) -> int:
    """The least power of two that covers ``size``, at most ``most``, which is one itself.

    >>> power_of_two(33), power_of_two(33, 32)
    (64, 32)
    """
    return int(min(triton.next_power_of_2(size), most))


def plain(tensor: Tensor) -> Tensor:
    """Contiguous memory; of a mask its bytes, which every version of Triton can load."""
    tensor = tensor.detach().contiguous()
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor


def device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Kernels are launched on the current device, which need not be the tensors'."""
    return torch.cuda.device_of(tensor)  # type: ignore[no-untyped-call]


def room(like: Tensor, *shape: int) -> Tensor:
    """Memory a kernel will write."""
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def wide_windows(*parts_BXA: Tensor) -> Tensor:
    """1 for every window [B] in which a key or query is so wide that its exponential would be clipped, else 0."""
    largest = torch.stack([torch.linalg.vector_norm(part, torch.inf, dim=(1, 2)) for part in parts_BXA])
    return (largest > HALF_CLIP.value).any(0).to(torch.uint8)


def powers(key_BTA: Tensor) -> Tensor:
    """exp(2 key), clipped: made once, read at every step."""
    return (2 * key_BTA).clamp(-CLIP.value, CLIP.value).exp()


def summed_outer(left_BLX: Tensor, right_BLY: Tensor) -> Tensor:
    """Σ over windows and steps of the outer products [X, Y]: a weight's gradient in one product."""
    return left_BLX.flatten(0, 1).t() @ right_BLY.flatten(0, 1)


def tile_rows(columns: int, rows: int) -> int:
    """Rows of a matrix, a power of two, that fit a tile beside so many columns."""
    return power_of_two(rows, max(1, TILE // columns))


def transposed(matrix: Tensor | None) -> Tensor | None:
    """So that a step's product reads neighbours with neighbouring threads."""
    return None if matrix is None else matrix.t().contiguous()


@triton.jit
def sigmoid32(x: tl.tensor) -> Any:
    """1 / (1 + e^-x)."""
    minus = -x
    return 1.0 / (1.0 + tl.exp(tl.where(minus > LARGEST, LARGEST, minus)))


@triton.jit
def exact_exponential(total: tl.tensor) -> Any:
    """exp(2 total) of a sum that was not factorised."""
    double = 2.0 * total
    return tl.exp(tl.where(double > LARGEST, LARGEST, double))


@triton.jit
def tanh32(x: tl.tensor) -> Any:
    """tanh: a polynomial near zero, where ``1 - 2 / (1 + e^2x)`` would lose digits, that elsewhere."""
    square = x * x
    near = -5.70498872745e-3
    near = near * square + 2.06390887954e-2
    near = near * square - 5.37397155531e-2
    near = near * square + 1.33314422036e-1
    near = near * square - 3.33332819422e-1
    near = near * square * x + x
    far = 1.0 - 2.0 / (1.0 + exact_exponential(x))
    return tl.where(square < 0.390625, near, far)


@triton.jit
def exponential(x: tl.tensor) -> Any:
    """exp(2x), clipped."""
    double = 2.0 * x
    double = tl.where(double > CLIP, CLIP, double)
    return tl.exp(tl.where(double < -CLIP, -CLIP, double))


@triton.jit
def parts(key: tl.tensor, query: tl.tensor, wide: tl.tensor) -> Any:
    """r = 1 / (1 + x) and 1 - r = x r of two tiles that broadcast, where x = exp(2 (key + query)).

    tanh is 1 - 2r = x r - r and its derivative 4 r (1 - r); x r has all the digits that 1 - r loses where r is nearly 1.
    """
    if wide:
        x = exact_exponential(key + query)
    else:
        x = exponential(key) * exponential(query)
    r = 1.0 / (1.0 + x)
    return r, x * r


@triton.jit
def key_parts(
    key: tl.tensor,
    power: tl.tensor,
    offset: tl.tensor,
    here: tl.tensor,
    query: tl.tensor,
    factor: tl.tensor,
    wide: tl.tensor,
) -> Any:
    """``parts`` of a tile of keys [t, a] whose powers stand ready, for one query [a]."""
    if wide:
        x = exact_exponential(tl.load(key + offset, mask=here, other=0.0) + query[None, :])
    else:
        x = tl.load(power + offset, mask=here, other=0.0) * factor[None, :]
    r = 1.0 / (1.0 + x)
    return r, x * r


@triton.jit
def product(
    vector: tl.tensor,
    matrix: tl.tensor,
    column: tl.tensor,
    K: tl.tensor,
    N: tl.tensor,
    stride: tl.tensor,
    BK: tl.constexpr,
) -> Any:
    """Σ_k vector[k] matrix[k, column] of a row-major matrix, 0 where the column is not below N."""
    total = tl.zeros([BK, column.shape[0]], tl.float32)
    for first in range(0, K, BK):
        k = first + tl.arange(0, BK)
        x = tl.load(vector + k, mask=k < K, other=0.0)
        here = (k < K)[:, None] & (column < N)[None, :]
        total += x[:, None] * tl.load(matrix + k[:, None] * stride + column[None, :], mask=here, other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def cell_step(gates: tl.tensor, opened: tl.tensor, cell: tl.tensor, d: tl.tensor, D: tl.tensor) -> Any:
    """Hidden and cell state after one step from the gates' inputs [4D] (i, f, g, o), which are kept opened."""
    here = d < D
    i = sigmoid32(tl.load(gates + d, mask=here, other=0.0))
    f = sigmoid32(tl.load(gates + D + d, mask=here, other=0.0))
    g = tanh32(tl.load(gates + 2 * D + d, mask=here, other=0.0))
    o = sigmoid32(tl.load(gates + 3 * D + d, mask=here, other=0.0))
    tl.store(opened + d, i, mask=here)
    tl.store(opened + D + d, f, mask=here)
    tl.store(opened + 2 * D + d, g, mask=here)
    tl.store(opened + 3 * D + d, o, mask=here)
    new = f * cell + i * g
    return o * tanh32(new), new


@triton.jit
def cell_step_backward(
    opened: tl.tensor,
    gate_grad: tl.tensor,
    cell: tl.tensor,
    before: tl.tensor,
    hidden_grad: tl.tensor,
    cell_grad: tl.tensor,
    inside: tl.tensor,
    d: tl.tensor,
    D: tl.tensor,
) -> Any:
    """Writes the gradients of the gates' inputs [4D], 0 where the step was held; gives that of the cell before."""
    here = d < D
    i = tl.load(opened + d, mask=here, other=0.0)
    f = tl.load(opened + D + d, mask=here, other=0.0)
    g = tl.load(opened + 2 * D + d, mask=here, other=0.0)
    o = tl.load(opened + 3 * D + d, mask=here, other=0.0)
    told = tanh32(cell)
    grad = cell_grad + hidden_grad * o * (1.0 - told * told)
    tl.store(gate_grad + d, tl.where(inside, grad * g * i * (1.0 - i), 0.0), mask=here)
    tl.store(gate_grad + D + d, tl.where(inside, grad * before * f * (1.0 - f), 0.0), mask=here)
    tl.store(gate_grad + 2 * D + d, tl.where(inside, grad * i * (1.0 - g * g), 0.0), mask=here)
    tl.store(gate_grad + 3 * D + d, tl.where(inside, hidden_grad * told * o * (1.0 - o), 0.0), mask=here)
    return tl.where(inside, grad * f, cell_grad)
