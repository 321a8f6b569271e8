"""The input-attending encoder's GPU kernels: one program takes a window through all steps, forward and backward."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from openbook.ops.triton_math import HALF_CLIP, cell_step, cell_step_backward, exponential, key_parts, product


@triton.jit
def _weigh(
    key: tl.tensor,
    power: tl.tensor,
    wide: tl.tensor,
    mask: tl.tensor,
    bias: tl.tensor,
    score: tl.tensor,
    asked: tl.tensor,
    value: tl.tensor,
    alpha: tl.tensor,
    weighed: tl.tensor,
    F: tl.tensor,
    A: tl.tensor,
    BA: tl.constexpr,
    BF: tl.constexpr,
) -> None:
    """One step's weights of its inputs [F], and the inputs so weighed."""
    a = tl.arange(0, BA)
    v = tl.load(score + a, mask=a < A, other=0.0)
    factor = exponential(asked)
    is_wide = wide | (tl.max(tl.abs(asked), axis=0) > HALF_CLIP)
    most = tl.full([], float("-inf"), tl.float32)
    total = tl.full([], 0.0, tl.float32)
    for first in range(0, F, BF):
        f = first + tl.arange(0, BF)
        here = (f < F)[:, None] & (a < A)[None, :]
        r, rest = key_parts(key, power, f[:, None] * A + a[None, :], here, asked, factor, is_wide)
        x = tl.sum(v[None, :] * (rest - r), axis=1) + tl.load(bias + f, mask=f < F, other=0.0)
        x = tl.where(tl.load(mask + f, mask=f < F, other=0) != 0, x, float("-inf"))
        tl.store(alpha + f, x, mask=f < F)
        top = tl.maximum(most, tl.max(x, axis=0))
        base = tl.where(top == float("-inf"), 0.0, top)
        total = total * tl.exp(most - base) + tl.sum(tl.exp(x - base), axis=0)
        most = top
    base = tl.where(most == float("-inf"), 0.0, most)
    scale = 1.0 / tl.where(total == 0.0, 1.0, total)
    tl.debug_barrier()
    for first in range(0, F, BF):
        f = first + tl.arange(0, BF)
        w = tl.exp(tl.load(alpha + f, mask=f < F, other=0.0) - base) * scale
        tl.store(alpha + f, w, mask=f < F)
        tl.store(weighed + f, w * tl.load(value + f, mask=f < F, other=0.0), mask=f < F)


@triton.jit
def encoder_kernel(
    gates: tl.tensor,
    zero: tl.tensor,
    value: tl.tensor,
    key: tl.tensor,
    power: tl.tensor,
    wide: tl.tensor,
    mask: tl.tensor,
    bias: tl.tensor,
    inside: tl.tensor,
    recurrent_D4: tl.tensor,
    input_F4: tl.tensor,
    query_SA: tl.tensor,
    query_A: tl.tensor,
    score: tl.tensor,
    summed: tl.tensor,
    opened: tl.tensor,
    hidden: tl.tensor,
    cell: tl.tensor,
    query: tl.tensor,
    alpha: tl.tensor,
    weighed: tl.tensor,
    T: tl.tensor,
    F: tl.tensor,
    A: tl.tensor,
    D: tl.tensor,
    BOTH: tl.constexpr,
    BG: tl.constexpr,
    BD: tl.constexpr,
    BA: tl.constexpr,
    BF: tl.constexpr,
    KG: tl.constexpr,
    KA: tl.constexpr,
) -> None:
    """All steps of one window. Vectors that change their place among threads go through memory, a barrier between."""
    b = tl.program_id(0).to(tl.int64)
    j, d, a = tl.arange(0, BG), tl.arange(0, BD), tl.arange(0, BA)
    wide_key = tl.load(wide + b) != 0
    key += b * F * A
    power += b * F * A
    summed += b * 4 * D
    hidden_before, cell_before = zero, zero
    h, c = tl.zeros([BD], tl.float32), tl.zeros([BD], tl.float32)
    for step in range(0, T):
        row = b * T + step
        is_inside = tl.load(inside + row) != 0
        asked = product(hidden_before, query_SA, a, D, A, A, KA)
        if BOTH:
            asked += product(cell_before, query_SA + D * A, a, D, A, A, KA)
        asked += tl.load(query_A + a, mask=a < A, other=0.0)
        tl.store(query + row * A + a, asked, mask=a < A)
        _weigh(
            key, power, wide_key, mask + row * F, bias, score, asked, value + row * F, alpha + row * F, weighed + row * F,
            F, A, BA, BF,
        )  # fmt: skip
        tl.debug_barrier()
        x = tl.load(gates + row * 4 * D + j, mask=j < 4 * D, other=0.0)
        x += product(weighed + row * F, input_F4, j, F, 4 * D, 4 * D, KG)
        x += product(hidden_before, recurrent_D4, j, D, 4 * D, 4 * D, KG)
        tl.store(summed + j, x, mask=j < 4 * D)
        tl.debug_barrier()
        new_h, new_c = cell_step(summed, opened + row * 4 * D, c, d, D)
        h, c = tl.where(is_inside, new_h, h), tl.where(is_inside, new_c, c)
        hidden_before, cell_before = hidden + row * D, cell + row * D
        tl.store(hidden_before + d, h, mask=d < D)
        tl.store(cell_before + d, c, mask=d < D)
        tl.debug_barrier()


@triton.jit
def _weigh_backward(
    key: tl.tensor,
    power: tl.tensor,
    wide: tl.tensor,
    score: tl.tensor,
    asked: tl.tensor,
    value: tl.tensor,
    alpha: tl.tensor,
    alpha_grad: tl.tensor,
    gate_grad: tl.tensor,
    input_4F: tl.tensor,
    slope: tl.tensor,
    F: tl.tensor,
    A: tl.tensor,
    D: tl.tensor,
    BA: tl.constexpr,
    BF: tl.constexpr,
    KF: tl.constexpr,
) -> Any:
    """Writes the slopes of one step's scores from the gradients of weights and gates; gives that of its query [A]."""
    a = tl.arange(0, BA)
    factor = exponential(asked)
    is_wide = wide | (tl.max(tl.abs(asked), axis=0) > HALF_CLIP)
    mean = tl.full([], 0.0, tl.float32)
    for first in range(0, F, BF):
        f = first + tl.arange(0, BF)
        read = tl.load(value + f, mask=f < F, other=0.0)
        grad = tl.load(alpha_grad + f, mask=f < F, other=0.0) + read * product(gate_grad, input_4F, f, 4 * D, F, F, KF)
        mean += tl.sum(tl.load(alpha + f, mask=f < F, other=0.0) * grad, axis=0)
        tl.store(slope + f, grad, mask=f < F)
    tl.debug_barrier()
    total = tl.zeros([BA], tl.float32)
    for first in range(0, F, BF):
        f = first + tl.arange(0, BF)
        grad = tl.load(slope + f, mask=f < F, other=0.0)
        steep = tl.load(alpha + f, mask=f < F, other=0.0) * (grad - mean)
        tl.debug_barrier()  # a warp may read these cells once more for the sum: none is written before all have read
        tl.store(slope + f, steep, mask=f < F)
        here = (f < F)[:, None] & (a < A)[None, :]
        r, rest = key_parts(key, power, f[:, None] * A + a[None, :], here, asked, factor, is_wide)
        total += tl.sum(steep[:, None] * r * rest, axis=0)
    return 4.0 * tl.load(score + a, mask=a < A, other=0.0) * total


@triton.jit
def encoder_backward_kernel(
    hidden_grad: tl.tensor,
    alpha_grad: tl.tensor,
    zero: tl.tensor,
    value: tl.tensor,
    key: tl.tensor,
    power: tl.tensor,
    wide: tl.tensor,
    inside: tl.tensor,
    recurrent_4D: tl.tensor,
    input_4F: tl.tensor,
    query_AS: tl.tensor,
    score: tl.tensor,
    opened: tl.tensor,
    cell: tl.tensor,
    query: tl.tensor,
    alpha: tl.tensor,
    gate_grad: tl.tensor,
    query_grad: tl.tensor,
    slope: tl.tensor,
    T: tl.tensor,
    F: tl.tensor,
    A: tl.tensor,
    D: tl.tensor,
    S: tl.tensor,
    BOTH: tl.constexpr,
    BD: tl.constexpr,
    BA: tl.constexpr,
    BF: tl.constexpr,
    KD: tl.constexpr,
    KF: tl.constexpr,
) -> None:
    """All steps of one window from the last to the first; what belongs to weights is summed afterwards, over all windows."""
    b = tl.program_id(0).to(tl.int64)
    d, a = tl.arange(0, BD), tl.arange(0, BA)
    wide_key = tl.load(wide + b) != 0
    key += b * F * A
    power += b * F * A
    dh, dc = tl.zeros([BD], tl.float32), tl.zeros([BD], tl.float32)
    for back in range(0, T):
        step = T - 1 - back
        row = b * T + step
        is_inside = tl.load(inside + row) != 0
        dh += tl.load(hidden_grad + row * D + d, mask=d < D, other=0.0)
        before = zero
        if step > 0:
            before = cell + (row - 1) * D
        c = tl.load(cell + row * D + d, mask=d < D, other=0.0)
        c_before = tl.load(before + d, mask=d < D, other=0.0)
        steps_grad = gate_grad + row * 4 * D
        dc = cell_step_backward(opened + row * 4 * D, steps_grad, c, c_before, dh, dc, is_inside, d, D)
        tl.debug_barrier()
        dh = tl.where(is_inside, product(steps_grad, recurrent_4D, d, 4 * D, D, D, KD), dh)
        asked = tl.load(query + row * A + a, mask=a < A, other=0.0)
        dq = _weigh_backward(
            key, power, wide_key, score, asked, value + row * F, alpha + row * F, alpha_grad + row * F, steps_grad,
            input_4F, slope + row * F, F, A, D, BA, BF, KF,
        )  # fmt: skip
        tl.store(query_grad + row * A + a, dq, mask=a < A)
        tl.debug_barrier()
        dh += product(query_grad + row * A, query_AS, d, A, D, S, KD)
        if BOTH:
            dc += product(query_grad + row * A, query_AS + D, d, A, D, S, KD)
