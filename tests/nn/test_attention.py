"""Attention layers against values worked out by hand, gradients in float64, masks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from openbook.nn.attention import (
    AdditiveAttention,
    DotAttention,
    FeatureAttention,
    GeneralAttention,
    JointAttention,
    JointHead,
    LagBias,
)
from openbook.ops.softmax import masked_softmax

B, H, T, F, D = 3, 4, 7, 5, 6


def call(name: str, mask: torch.Tensor | None = None, dtype: torch.dtype = torch.float64):
    """A layer of that name on fixed random inputs; ``mask`` is [B, T] or [B, T, F]."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype, requires_grad=True)

    torch.manual_seed(1)
    query, book, cells = draw(B, H, D), draw(B, T, D), draw(B, T, F)
    layers: dict[str, nn.Module] = {
        "dot": DotAttention(scaled=False),
        "scaled_dot": DotAttention(),
        "general": GeneralAttention(D),
        "additive": AdditiveAttention(query_size=D, value_size=D, size=5),
        "feature": FeatureAttention(query_size=D, n_features=F, size=5),
        "joint": JointHead(size=D, n_features=F),
        "joint heads": JointAttention(size=D, n_features=F, heads=2),
    }
    layer = layers[name].to(dtype)
    if name.startswith("joint"):  # its keys start at zero, which would hide mistakes
        for parameter in layer.parameters():
            nn.init.normal_(parameter, 0, 0.5)
    if name == "additive":
        return layer, lambda q, b, c: layer(q, layer.project(b), b, mask), (query, book, cells)
    if name == "feature":
        return layer, lambda q, b, c: layer(q, layer.project(c), c, mask), (query, book, cells)
    if name.startswith("joint"):
        return layer, lambda q, b, c: layer(q, b, c, mask), (query, book, cells)
    return layer, lambda q, b, c: layer(q, b, mask), (query, book, cells)


NAMES = ("dot", "scaled_dot", "general", "additive", "feature", "joint", "joint heads")
GRIDS = ("feature", "joint", "joint heads")


@pytest.mark.parametrize("name", NAMES)
def test_gradients_match_differences(name: str) -> None:
    layer, run, inputs = call(name)
    parameters = tuple(layer.parameters())

    def context(*values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(part for part in run(*values[:3]))

    assert torch.autograd.gradcheck(context, (*inputs, *parameters))


@pytest.mark.parametrize("name", NAMES)
def test_masked_cells_weigh_exactly_zero_and_the_rest_sums_to_one(name: str) -> None:
    mask = torch.ones(B, T, F, dtype=torch.bool) if name in GRIDS else torch.ones(B, T, dtype=torch.bool)
    mask[0, :3] = False
    mask[1] = False
    _, run, inputs = call(name, mask, torch.float32)
    context, weight = run(*inputs)
    assert (weight[0, :, :3] == 0).all()
    assert (weight[1] == 0).all()
    assert (context[1] == 0).all()
    assert context.isfinite().all()
    dims = {"feature": (-1,), "joint": (-2, -1), "joint heads": (-2, -1)}.get(name, (-1,))
    total = weight[[0, 2]].sum(dims)
    if name.startswith("joint"):
        assert ((total > 0) & (total < 1)).all()  # the rest looks nowhere
        return
    expected = mask[[0, 2]].any(-1)[:, None].expand_as(total) if name == "feature" else torch.ones_like(total)
    torch.testing.assert_close(total, expected.float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_an_all_masked_row_has_finite_gradients(name: str) -> None:
    mask = torch.zeros((B, T, F) if name in GRIDS else (B, T), dtype=torch.bool)
    layer, run, inputs = call(name, mask, torch.float32)
    run(*inputs).context_BHD.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in (*layer.parameters(), *inputs))


def test_dot_attention_by_hand() -> None:
    query = torch.tensor([[[1.0, 0.0]]])
    book = torch.tensor([[[math.log(3.0), 5.0], [0.0, 1.0]]])
    context, weight = DotAttention(scaled=False)(query, book)
    torch.testing.assert_close(weight, torch.tensor([[[0.75, 0.25]]]))
    torch.testing.assert_close(context, torch.tensor([[[0.75 * math.log(3.0), 4.0]]]))
    scaled = DotAttention(scaled=True)(query, book).weight
    root = 3.0 ** (1 / math.sqrt(2))
    torch.testing.assert_close(scaled, torch.tensor([[[root / (root + 1), 1 / (root + 1)]]]))


def test_joint_attention_equals_the_softmax_over_all_cells_and_nowhere_written_out() -> None:
    layer, run, (query, book, cells) = call("joint")
    context, weight = run(query, book, cells)
    key = layer.key_state(book)[:, :, None] + cells[..., None] * layer.key_slope_FD + layer.key_name_FD
    value = layer.value_state(book)[:, :, None] + cells[..., None] * layer.value_slope_FD + layer.value_name_FD
    score = torch.einsum("bhd,btfd->bhtf", query, key) / math.sqrt(D)
    nowhere = (query @ layer.key_nowhere_D / math.sqrt(D) + math.log(T * F))[..., None]
    plain = torch.cat([score.flatten(2), nowhere], dim=-1).softmax(-1)[..., :-1].view_as(score)
    torch.testing.assert_close(weight, plain)
    torch.testing.assert_close(context, torch.einsum("bhtf,btfd->bhd", plain, value))


def test_a_gain_changes_what_a_value_counts_for_not_where_is_looked() -> None:
    layer, run, (query, book, cells) = call("joint")
    gain = torch.randn(H, T, F, dtype=torch.float64)
    plain, changed = run(query, book, cells), layer(query, book, cells, None, None, gain)
    torch.testing.assert_close(changed.weight, plain.weight)
    extra = torch.einsum("bhtf,htf,btf,fd->bhd", plain.weight, gain, cells, layer.value_slope_FD)
    torch.testing.assert_close(changed.context_BHD, plain.context_BHD + extra)


def test_joint_attention_prefers_nothing_at_the_start() -> None:
    weight = JointAttention(size=D, n_features=F)(
        torch.randn(B, H, D), torch.randn(B, T, D), 9 * torch.randn(B, T, F)
    ).weight
    torch.testing.assert_close(weight, torch.full_like(weight, 0.5 / (T * F)))


def test_heads_add_what_they_find_and_average_where_they_looked() -> None:
    layer, _, inputs = call("joint heads")
    bias = torch.randn(H, T, 2 * F, dtype=torch.float64)
    parts = [head(*inputs, None, block) for head, block in zip(layer.heads, bias.chunk(2, dim=-1), strict=True)]
    found = layer(*inputs, None, bias)
    with pytest.raises(RuntimeError):
        layer(*inputs, None, bias[..., :-1])
    torch.testing.assert_close(found.context_BHD, parts[0].context_BHD + parts[1].context_BHD)
    torch.testing.assert_close(found.weight, (parts[0].weight + parts[1].weight) / 2)
    assert not torch.allclose(parts[0].weight, parts[1].weight)


def test_softmax_survives_huge_scores() -> None:
    weight = masked_softmax(torch.tensor([[1e30, -1e30, 1e30]]), None)
    torch.testing.assert_close(weight, torch.tensor([[0.5, 0.0, 0.5]]))


def test_lag_bias_belongs_to_the_lag_for_any_window() -> None:
    layer = LagBias(max_lag=9, n_features=2)
    layer.table_LF.data = torch.arange(18.0).view(9, 2)
    bias = layer(3, 5)
    for step in range(3):
        for past in range(5):
            lag = 5 - past + step
            assert bias[step, past].tolist() == (layer.gain * layer.table_LF[lag - 1]).tolist()
    torch.testing.assert_close(layer(1, 5, 2), bias[2:3])
    assert layer(1, 20)[0, 0].tolist() == (layer.gain * layer.table_LF[8]).tolist()
    (grad,) = torch.autograd.grad(bias.sum(), [layer.table_LF])  # how often each lag occurs among 3 steps of 5
    assert grad[:, 0].tolist() == [layer.gain * count for count in (1, 2, 3, 3, 3, 2, 1, 0, 0)]
    (grad,) = torch.autograd.grad(layer(1, 20).sum(), [layer.table_LF])
    assert grad[:, 0].tolist() == [layer.gain * count for count in (*[1] * 8, 12)]


def test_general_scores_are_products_with_projected_keys() -> None:
    layer, draw = GeneralAttention(D).double(), torch.Generator().manual_seed(2)
    query, book = (torch.randn(B, length, D, generator=draw, dtype=torch.float64) for length in (H, T))
    wanted = torch.einsum("bhd,btd->bht", query, layer.key(book)).softmax(-1)
    torch.testing.assert_close(layer(query, book).weight, wanted, rtol=0, atol=1e-12)
