"""A kernel against its plain twin: outputs and every gradient, errors counted against float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# A few units in the last place, for sums of a single term, where plain float32 happens to be exact.
FLOOR = 8 * 2.0**-24
FAR = 50  # times what is allowed: more than any draw is off by luck

Call = Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]]


def results(call: Call, inputs: Sequence[Tensor | None], dtype: torch.dtype) -> list[Tensor | None]:
    """Outputs and gradients of all inputs, for fixed random gradients of the outputs."""
    generator = torch.Generator().manual_seed(7)
    leaves = [None if part is None else part.to(dtype).detach().requires_grad_() for part in inputs]
    outputs = [part for part in call(leaves) if part is not None]
    weighed = [(part * torch.randn(part.shape, generator=generator).to(dtype)).sum() for part in outputs]
    torch.autograd.backward(torch.stack(weighed).sum())
    return [*outputs, *(None if leaf is None else leaf.grad for leaf in leaves)]


def together(draws: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
    """Every tensor of all draws, one above the other."""
    return [None if parts[0] is None else torch.stack(parts) for parts in zip(*draws, strict=True)]  # type: ignore[arg-type]


def hold_to(
    plain: Call,
    kernel: Call,
    inputs: Sequence[Tensor | None],
    names: Sequence[str],
    *others: Sequence[Tensor | None],
    roughly: bool = False,
) -> None:
    """The kernel's error is at most twice plain float32's, in the root of the mean square, tensor by tensor.

    Beside that, a few units in the last place are allowed: of an output itself, of the largest gradient for all gradients,
    as some are sums of others' parts that all but cancel. Of ``inputs`` and ``others`` of the same shapes half have to keep
    to it, and none is ``FAR`` times off, each beside plain float32 on the same numbers: in tensors of a few numbers its
    error is a matter of luck, and how much a draw makes of rounding differs by tens. ``roughly`` allows many units of what
    is of order one.
    """
    draws = [inputs, *others]
    truth = together([results(plain, draw, torch.float64) for draw in draws])
    plains, mines = (together([results(call, draw, torch.float32) for draw in draws]) for call in (plain, kernel))
    assert len(names) == len(truth)
    n_outputs = len(truth) - len(inputs)
    largest_W = torch.stack([rms(part) for part in truth[n_outputs:] if part is not None]).amax(0)
    for place, (name, exact, theirs, mine) in enumerate(zip(names, truth, plains, mines, strict=True)):
        if exact is None:  # not asked for, or of no influence
            assert mine is None or not mine.any(), name
            continue
        assert theirs is not None, name
        assert mine is not None, name
        assert mine.isfinite().all(), name
        size_W = rms(exact) if place < n_outputs else largest_W
        error_W, allowed_W = rms(mine - exact), 2 * rms(theirs - exact) + FLOOR * size_W
        if roughly:
            allowed_W += 10 * FLOOR * size_W.clamp(min=1.0)
        kept = int((error_W <= allowed_W).sum())
        told = f"{name}: {kept} of {len(draws)} draws within twice plain float32"
        told = f"{told}; errors {error_W.tolist()}, allowed {allowed_W.tolist()}"
        assert 2 * kept >= len(draws), told
        assert (error_W <= FAR * allowed_W).all(), told  # luck is of rounding, not of what is computed


def rms(value: Tensor) -> Tensor:
    """Root of the mean square of each draw; 0 of nothing."""
    flat_WN = value.detach().double().flatten(1)
    return flat_WN.square().sum(1).div(max(1, flat_WN.shape[1])).sqrt()
