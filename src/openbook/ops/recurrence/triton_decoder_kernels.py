"""The attending decoder's GPU kernels: one program takes a window through all steps, forward and backward."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

from openbook.ops.triton_math import HALF_CLIP, cell_step, cell_step_backward, exponential, key_parts, product


@triton.jit
def _look_up(
    key: tl.tensor,
    power: tl.tensor,
    value: tl.tensor,
    wide: tl.tensor,
    mask: tl.tensor,
    bias: tl.tensor,
    score: tl.tensor,
    asked: tl.tensor,
    context: tl.tensor,
    weight: tl.tensor,
    T: tl.tensor,
    A: tl.tensor,
    D: tl.tensor,
    BA: tl.constexpr,
    BT: tl.constexpr,
    BD: tl.constexpr,
) -> None:
    """One query's weights [T] and context [D]: scores, their softmax and the weighted values in one sweep over time."""
    a, d = tl.arange(0, BA), tl.arange(0, BD)
    v = tl.load(score + a, mask=a < A, other=0.0)
    factor = exponential(asked)
    is_wide = wide | (tl.max(tl.abs(asked), axis=0) > HALF_CLIP)
    most = tl.full([], float("-inf"), tl.float32)
    total = tl.full([], 0.0, tl.float32)
    found = tl.zeros([BD], tl.float32)
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        here = t < T
        here_ta = here[:, None] & (a < A)[None, :]
        r, rest = key_parts(key, power, t[:, None] * A + a[None, :], here_ta, asked, factor, is_wide)
        x = tl.sum(v[None, :] * (rest - r), axis=1)
        if bias is not None:
            x += tl.load(bias + t, mask=here, other=0.0)
        open_ = here
        if mask is not None:
            open_ = tl.load(mask + t, mask=here, other=0) != 0
        x = tl.where(open_, x, float("-inf"))
        tl.store(weight + t, x, mask=here)
        top = tl.maximum(most, tl.max(x, axis=0))
        base = tl.where(top == float("-inf"), 0.0, top)
        e, shrink = tl.exp(x - base), tl.exp(most - base)
        rows = tl.load(value + t[:, None] * D + d[None, :], mask=here[:, None] & (d < D)[None, :], other=0.0)
        total = total * shrink + tl.sum(e, axis=0)
        found = found * shrink + tl.sum(e[:, None] * rows, axis=0)
        most = top
    base = tl.where(most == float("-inf"), 0.0, most)
    scale = 1.0 / tl.where(total == 0.0, 1.0, total)
    tl.store(context + d, found * scale, mask=d < D)
    tl.debug_barrier()
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        x = tl.load(weight + t, mask=t < T, other=0.0)
        tl.store(weight + t, tl.exp(x - base) * scale, mask=t < T)


@triton.jit
def decoder_kernel(
    gates: tl.tensor,
    hidden_0: tl.tensor,
    cell_0: tl.tensor,
    context_0: tl.tensor,
    key: tl.tensor,
    power: tl.tensor,
    value: tl.tensor,
    wide: tl.tensor,
    mask: tl.tensor,
    bias: tl.tensor,
    inside: tl.tensor,
    recurrent_D4: tl.tensor,
    context_E4: tl.tensor,
    entry_DE: tl.tensor,
    query_SA: tl.tensor,
    query_A: tl.tensor,
    score: tl.tensor,
    entry: tl.tensor,
    summed: tl.tensor,
    opened: tl.tensor,
    hidden: tl.tensor,
    cell: tl.tensor,
    query: tl.tensor,
    context: tl.tensor,
    weight: tl.tensor,
    L: tl.tensor,
    T: tl.tensor,
    A: tl.tensor,
    D: tl.tensor,
    E: tl.tensor,
    BOTH: tl.constexpr,
    LOOK_LAST: tl.constexpr,
    BG: tl.constexpr,
    BD: tl.constexpr,
    BE: tl.constexpr,
    BA: tl.constexpr,
    BT: tl.constexpr,
    KG: tl.constexpr,
    KE: tl.constexpr,
    KA: tl.constexpr,
) -> None:
    """All steps of one window. Vectors that change their place among threads go through memory, a barrier between."""
    b = tl.program_id(0).to(tl.int64)
    j, d, e, a = tl.arange(0, BG), tl.arange(0, BD), tl.arange(0, BE), tl.arange(0, BA)
    wide_key = tl.load(wide + b) != 0
    key += b * T * A
    power += b * T * A
    value += b * T * D
    summed += b * 4 * D
    entry += b * E
    if mask is not None:
        mask += b * T
    hidden_before, context_before = hidden_0 + b * D, context_0 + b * D
    h = tl.load(hidden_before + d, mask=d < D, other=0.0)
    c = tl.load(cell_0 + b * D + d, mask=d < D, other=0.0)
    for step in range(0, L):
        row = b * L + step
        is_inside = True
        if inside is not None:
            is_inside = tl.load(inside + row) != 0
        x = tl.load(gates + row * 4 * D + j, mask=j < 4 * D, other=0.0)
        if entry_DE is not None:
            tl.store(entry + e, product(context_before, entry_DE, e, D, E, E, KE), mask=e < E)
            tl.debug_barrier()
            x += product(entry, context_E4, j, E, 4 * D, 4 * D, KG)
        else:
            x += product(context_before, context_E4, j, D, 4 * D, 4 * D, KG)
        x += product(hidden_before, recurrent_D4, j, D, 4 * D, 4 * D, KG)
        tl.store(summed + j, x, mask=j < 4 * D)
        tl.debug_barrier()
        new_h, new_c = cell_step(summed, opened + row * 4 * D, c, d, D)
        h, c = tl.where(is_inside, new_h, h), tl.where(is_inside, new_c, c)
        hidden_before, context_before = hidden + row * D, context + row * D
        tl.store(hidden_before + d, h, mask=d < D)
        tl.store(cell + row * D + d, c, mask=d < D)
        tl.debug_barrier()
        looks = is_inside
        if not LOOK_LAST:
            looks = is_inside & (step + 1 < L)
        if looks:
            asked = product(hidden_before, query_SA, a, D, A, A, KA)
            if BOTH:
                asked += product(cell + row * D, query_SA + D * A, a, D, A, A, KA)
            asked += tl.load(query_A + a, mask=a < A, other=0.0)
            tl.store(query + row * A + a, asked, mask=a < A)
            liking = bias
            if bias is not None:
                liking = bias + (row - b * L) * T
            _look_up(
                key, power, value, wide_key, mask, liking, score, asked, context_before, weight + row * T,
                T, A, D, BA, BT, BD,
            )  # fmt: skip
        else:
            tl.store(query + row * A + a, tl.zeros([BA], tl.float32), mask=a < A)
            tl.store(context_before + d, tl.zeros([BD], tl.float32), mask=d < D)
            for first in range(0, T, BT):
                t = first + tl.arange(0, BT)
                tl.store(weight + row * T + t, tl.zeros([BT], tl.float32), mask=t < T)
        tl.debug_barrier()


@triton.jit
def _look_up_backward(
    key: tl.tensor,
    power: tl.tensor,
    value: tl.tensor,
    wide: tl.tensor,
    score: tl.tensor,
    asked: tl.tensor,
    weight: tl.tensor,
    weight_grad: tl.tensor,
    found: tl.tensor,
    context: tl.tensor,
    slope: tl.tensor,
    T: tl.tensor,
    A: tl.tensor,
    D: tl.tensor,
    BA: tl.constexpr,
    BT: tl.constexpr,
    BD: tl.constexpr,
) -> Any:
    """Writes the slopes of one query's scores and gives its gradient [A]; ``found`` is the gradient of its context [D]."""
    a, d = tl.arange(0, BA), tl.arange(0, BD)
    factor = exponential(asked)
    is_wide = wide | (tl.max(tl.abs(asked), axis=0) > HALF_CLIP)
    # Σ weight (value · found), without a sweep of its own
    mean = tl.sum(tl.load(context + d, mask=d < D, other=0.0) * found, axis=0)
    if weight_grad is not None:
        for first in range(0, T, BT):
            t = first + tl.arange(0, BT)
            given = tl.load(weight_grad + t, mask=t < T, other=0.0)
            mean += tl.sum(tl.load(weight + t, mask=t < T, other=0.0) * given, axis=0)
    total = tl.zeros([BA], tl.float32)
    for first in range(0, T, BT):
        t = first + tl.arange(0, BT)
        here = t < T
        rows = tl.load(value + t[:, None] * D + d[None, :], mask=here[:, None] & (d < D)[None, :], other=0.0)
        grad = tl.sum(rows * found[None, :], axis=1)
        if weight_grad is not None:
            grad += tl.load(weight_grad + t, mask=here, other=0.0)
        steep = tl.load(weight + t, mask=here, other=0.0) * (grad - mean)
        tl.store(slope + t, steep, mask=here)
        here_ta = here[:, None] & (a < A)[None, :]
        r, rest = key_parts(key, power, t[:, None] * A + a[None, :], here_ta, asked, factor, is_wide)
        total += tl.sum(steep[:, None] * r * rest, axis=0)
    return 4.0 * tl.load(score + a, mask=a < A, other=0.0) * total


@triton.jit
def decoder_backward_kernel(
    hidden_grad: tl.tensor,
    context_grad: tl.tensor,
    weight_grad: tl.tensor,
    cell_0: tl.tensor,
    key: tl.tensor,
    power: tl.tensor,
    value: tl.tensor,
    wide: tl.tensor,
    inside: tl.tensor,
    recurrent_4D: tl.tensor,
    context_4E: tl.tensor,
    entry_ED: tl.tensor,
    query_AS: tl.tensor,
    score: tl.tensor,
    opened: tl.tensor,
    cell: tl.tensor,
    query: tl.tensor,
    context: tl.tensor,
    weight: tl.tensor,
    entry: tl.tensor,
    gate_grad: tl.tensor,
    query_grad: tl.tensor,
    found_grad: tl.tensor,
    slope: tl.tensor,
    hidden_0_grad: tl.tensor,
    cell_0_grad: tl.tensor,
    context_0_grad: tl.tensor,
    L: tl.tensor,
    T: tl.tensor,
    A: tl.tensor,
    D: tl.tensor,
    E: tl.tensor,
    S: tl.tensor,
    BOTH: tl.constexpr,
    LOOK_LAST: tl.constexpr,
    BD: tl.constexpr,
    BE: tl.constexpr,
    BA: tl.constexpr,
    BT: tl.constexpr,
    KD: tl.constexpr,
    KE: tl.constexpr,
) -> None:
    """All steps of one window from the last to the first; what belongs to weights is summed afterwards, over all windows."""
    b = tl.program_id(0).to(tl.int64)
    d, e, a = tl.arange(0, BD), tl.arange(0, BE), tl.arange(0, BA)
    wide_key = tl.load(wide + b) != 0
    key += b * T * A
    power += b * T * A
    value += b * T * D
    entry += b * E
    dh, dc, found = tl.zeros([BD], tl.float32), tl.zeros([BD], tl.float32), tl.zeros([BD], tl.float32)
    for back in range(0, L):
        step = L - 1 - back
        row = b * L + step
        is_inside = True
        if inside is not None:
            is_inside = tl.load(inside + row) != 0
        dh += tl.load(hidden_grad + row * D + d, mask=d < D, other=0.0)
        found += tl.load(context_grad + row * D + d, mask=d < D, other=0.0)
        looks = is_inside
        if not LOOK_LAST:
            looks = is_inside & (back > 0)
        if looks:
            asked = tl.load(query + row * A + a, mask=a < A, other=0.0)
            given = weight_grad
            if weight_grad is not None:
                given = weight_grad + row * T
            dq = _look_up_backward(
                key, power, value, wide_key, score, asked, weight + row * T, given, found, context + row * D,
                slope + row * T, T, A, D, BA, BT, BD,
            )  # fmt: skip
            tl.store(query_grad + row * A + a, dq, mask=a < A)
            tl.store(found_grad + row * D + d, found, mask=d < D)
            tl.debug_barrier()
            dh += product(query_grad + row * A, query_AS, d, A, D, S, KD)
            if BOTH:
                dc += product(query_grad + row * A, query_AS + D, d, A, D, S, KD)
        else:
            tl.store(query_grad + row * A + a, tl.zeros([BA], tl.float32), mask=a < A)
            tl.store(found_grad + row * D + d, tl.zeros([BD], tl.float32), mask=d < D)
            for first in range(0, T, BT):
                t = first + tl.arange(0, BT)
                tl.store(slope + row * T + t, tl.zeros([BT], tl.float32), mask=t < T)
        before = cell_0 + b * D
        if step > 0:
            before = cell + (row - 1) * D
        c = tl.load(cell + row * D + d, mask=d < D, other=0.0)
        c_before = tl.load(before + d, mask=d < D, other=0.0)
        steps_grad = gate_grad + row * 4 * D
        dc = cell_step_backward(opened + row * 4 * D, steps_grad, c, c_before, dh, dc, is_inside, d, D)
        tl.debug_barrier()
        dh = tl.where(is_inside, product(steps_grad, recurrent_4D, d, 4 * D, D, D, KD), dh)
        if entry_ED is not None:
            tl.store(entry + e, product(steps_grad, context_4E, e, 4 * D, E, E, KE), mask=e < E)
            tl.debug_barrier()
            found = product(entry, entry_ED, d, E, D, D, KD)
        else:
            found = product(steps_grad, context_4E, d, 4 * D, D, D, KD)
        tl.debug_barrier()
    tl.store(hidden_0_grad + b * D + d, dh, mask=d < D)
    tl.store(cell_0_grad + b * D + d, dc, mask=d < D)
    tl.store(context_0_grad + b * D + d, found, mask=d < D)
