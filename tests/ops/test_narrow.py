"""Narrow linear maps: values and gradients of plain ones."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from openbook.ops.narrow import added_linear, summed_product


@pytest.mark.parametrize("bias", [True, False], ids=["a bias", "gates"])
@pytest.mark.parametrize("width", [1, 5, 9])
def test_values_and_gradients_are_those_of_the_plain_map(bias: bool, width: int) -> None:
    draw = torch.Generator().manual_seed(width)
    made = [
        torch.randn(*shape, generator=draw, dtype=torch.float64, requires_grad=True)
        for shape in ((7,) if bias else (2, 3, 7), (2, 3, width), (7, width))
    ]
    onto, told, weight = made
    torch.testing.assert_close(added_linear(*made), onto + F.linear(told, weight), rtol=0, atol=1e-12)
    assert gradcheck(added_linear, made)


def test_gradients_nobody_needs_are_left_out() -> None:
    onto, told, weight = torch.zeros(3), torch.ones(1, 2, 4), torch.ones(3, 4, requires_grad=True)
    added_linear(onto, told, weight).sum().backward()
    assert torch.equal(weight.grad, torch.full((3, 4), 2.0))
    assert onto.grad is None


@pytest.mark.parametrize(("left", "right"), [(5, 2), (2, 5), (3, 3)])
def test_summed_products(left: int, right: int) -> None:
    x, y = torch.arange(6.0 * left).view(2, 3, left), torch.arange(6.0 * right).view(2, 3, right) - 4
    wanted = torch.einsum("blx,bly->xy", x, y)
    torch.testing.assert_close(summed_product(x, y), wanted, rtol=0, atol=0)
