"""Products of gradients: values and gradients of plain ones, whichever way they take."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from openbook.ops import products
from openbook.ops.products import added_linear, narrow_product, summed_product


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


@pytest.mark.parametrize(("windows", "steps", "left", "right"), [(16, 1, 1, 1), (17, 5, 12, 3), (64, 7, 3, 40)])
def test_by_convolution(monkeypatch: pytest.MonkeyPatch, windows: int, steps: int, left: int, right: int) -> None:
    asked: list[tuple[int, ...]] = []
    plain = products._image
    monkeypatch.setattr(products, "_image", lambda rows: asked.append(rows.shape) or plain(rows))
    monkeypatch.setattr(products, "_half_as_fast", lambda: True)
    monkeypatch.setattr(products, "_LEAST", 0)
    draw = torch.Generator().manual_seed(left)
    x = torch.randn(windows, left, steps, generator=draw).transpose(1, 2)  # rows do not lie one after the other
    y, weight = torch.randn(windows, steps, right, generator=draw), torch.randn(left, right, generator=draw)
    wanted = torch.einsum("blx,bly->xy", x.double(), y.double())
    torch.testing.assert_close(summed_product(x, y).double(), wanted, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(narrow_product(x, weight).double(), x.double() @ weight.double(), rtol=1e-5, atol=1e-4)
    assert len(asked) == 3


def test_a_convolution_is_for_many_windows_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_half_as_fast", lambda: True)
    many = torch.zeros(64, 200, 128)
    assert products._convolves(many, 512)
    assert not products._convolves(many, 2)
    assert not products._convolves(many.double(), 512)
    assert not products._convolves(many.view(8, 1600, 128), 512)
    monkeypatch.setattr(products, "_half_as_fast", lambda: False)
    assert not products._convolves(many, 512)


@pytest.mark.parametrize(
    ("told", "zen5"),
    [
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 26\nmodel\t\t: 2\n", True),
        ("vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n", False),
        ("vendor_id\t: GenuineIntel\ncpu family\t: 26\nmodel\t\t: 143\n", False),
        ("AMD64 Family 26 Model 36 Stepping 0, AuthenticAMD", True),
        ("Intel64 Family 6 Model 85 Stepping 7, GenuineIntel", False),
        ("arm", False),
    ],
)
def test_processors_are_told_apart(told: str, zen5: bool) -> None:
    assert products._zen5(told) is zen5
