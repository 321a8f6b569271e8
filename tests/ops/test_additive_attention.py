"""Additive attention: values worked out by hand, kernels against the plain twin in float64."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numba
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ops.twins import hold_to
from torch import Tensor

from openbook.ops import arrays
from openbook.ops.additive_attention import additive_attention, hoist, reference
from openbook.ops.additive_attention import numba as kernels
from openbook.ops.numba_math import forget_older
from openbook.ops.types import Attended

NAMES = ("context", "weight", "query", "key", "value", "score", "bias")


def draw(
    B: int, H: int, T: int, A: int, D: int, *, wide: float = 1.0, bias_rows: int = 0, seed: int = 0
) -> list[Tensor | None]:
    g = torch.Generator().manual_seed(seed)
    query, key = (wide * torch.randn(B, n, A, generator=g) for n in (H, T))
    bias = torch.randn(bias_rows, T, generator=g) if bias_rows else None
    return [query, key, torch.randn(B, T, D, generator=g), torch.randn(A, generator=g), bias]


def check(
    inputs: list[Tensor | None], mask: Tensor | None = None, *, hoisted: bool = False, roughly: bool = False
) -> None:
    def plain(parts: Sequence[Tensor | None]) -> Attended:
        return reference.additive_attention(*parts[:4], mask, parts[4])  # type: ignore[arg-type]

    def kernel(parts: Sequence[Tensor | None]) -> Attended:
        powers = kernels.hoist(parts[1]) if hoisted else None  # type: ignore[arg-type]
        return kernels.additive_attention(*parts[:4], mask, parts[4], powers)  # type: ignore[arg-type]

    names = [name for name in NAMES if name != "context" or inputs[2] is not None]
    hold_to(plain, kernel, inputs, names, roughly=roughly)


def test_two_steps_by_hand() -> None:
    query, key = torch.tensor([[[0.5]]]), torch.tensor([[[0.5], [-0.5]]])
    found = additive_attention(query, key, torch.tensor([[[1.0], [3.0]]]), torch.tensor([2.0]))
    scores = 2 * math.tanh(1.0), 0.0
    share = math.exp(scores[0]) / (math.exp(scores[0]) + 1)
    torch.testing.assert_close(found.weight_BHT, torch.tensor([[[share, 1 - share]]]))
    assert found.context_BHD is not None
    assert found.context_BHD.item() == pytest.approx(share + 3 * (1 - share))


@pytest.mark.parametrize("size", [1, 7, 63, 500])
@pytest.mark.parametrize("hoisted", [False, True])
def test_the_kernel_at_odd_sizes(size: int, hoisted: bool) -> None:
    check(draw(2, 3, size, 13, 5), hoisted=hoisted)
    check(draw(3, 2, 11, size, 4, seed=1), hoisted=hoisted)
    check(draw(2, 1, 9, 6, size, bias_rows=1, seed=2), hoisted=hoisted)
    check(draw(1, size, 9, 6, 3, bias_rows=size, seed=3), hoisted=hoisted)


@pytest.mark.parametrize("per_query", [False, True])
def test_the_kernel_under_masks(per_query: bool) -> None:
    inputs = draw(4, 3, 21, 8, 5, bias_rows=3)
    mask = torch.rand(4, 3, 21, generator=torch.Generator().manual_seed(1)) > 0.4
    mask[2] = False
    mask = mask if per_query else mask[:, 0]
    check(inputs, mask)
    found = kernels.additive_attention(*inputs[:4], mask, inputs[4])  # type: ignore[arg-type]
    assert (found.weight_BHT[~(mask if per_query else mask[:, None].expand(-1, 3, -1))] == 0).all()
    assert found.context_BHD is not None
    assert (found.context_BHD[2] == 0).all()


@pytest.mark.parametrize("wide", [12.0, 30.0, 60.0])
def test_the_kernel_where_factors_do_not_fit(wide: float) -> None:
    """Beyond ±21.5 a factor would be clipped: keys and queries that cancel must still meet as they are."""
    check(draw(3, 4, 30, 7, 5, wide=wide))
    apart = torch.full((1, 1, 4), -60.0), torch.full((1, 2, 4), 60.0)
    score = torch.tensor([1.0, 2.0, 3.0, 4.0])
    apart[1][0, 1] -= 0.5
    weight = kernels.additive_attention(*apart, None, score).weight_BHT
    share = 1 / (1 + math.exp(10 * math.tanh(-0.5)))
    torch.testing.assert_close(weight, torch.tensor([[[share, 1 - share]]]))


def test_a_wide_window_leaves_its_neighbours_alone() -> None:
    inputs = draw(3, 4, 30, 7, 5)
    alone = kernels.additive_attention(*inputs[:4])  # type: ignore[arg-type]
    assert inputs[1] is not None
    inputs[1][1] *= 50
    beside = kernels.additive_attention(*inputs[:4])  # type: ignore[arg-type]
    assert torch.equal(alone.weight_BHT[[0, 2]], beside.weight_BHT[[0, 2]])


def test_the_kernel_without_values() -> None:
    inputs = draw(3, 4, 10, 7, 5, bias_rows=1)
    inputs[2] = None
    check(inputs)


def test_the_kernel_on_memory_of_any_layout() -> None:
    inputs = draw(3, 4, 10, 8, 6)
    turned = [
        part if part is None or part.ndim < 3 else part.transpose(1, 2).contiguous().transpose(1, 2) for part in inputs
    ]
    turned[0] = inputs[0][:1].expand(3, -1, -1)  # type: ignore[index]
    check(turned)


def test_nothing_unwritten_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "room", lambda *shape: torch.full(shape, torch.nan))
    monkeypatch.setattr(kernels, "room", lambda *shape: torch.full(shape, torch.nan))
    mask = torch.ones(3, 10, dtype=torch.bool)
    mask[1], mask[2, :4] = False, False
    check(draw(3, 4, 10, 8, 6, bias_rows=4), mask)


def test_nan_is_not_hidden() -> None:
    inputs = draw(2, 2, 9, 8, 4)
    assert inputs[1] is not None
    inputs[1][0, 3, 2] = torch.nan
    found = kernels.additive_attention(*inputs[:4])  # type: ignore[arg-type]
    assert found.weight_BHT[0].isnan().any()
    assert found.weight_BHT[1].isfinite().all()


def test_the_gradient_of_the_plain_twin() -> None:
    inputs = [part.double().requires_grad_() for part in draw(2, 3, 4, 5, 2, bias_rows=3) if part is not None]
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[1, :2] = False
    assert torch.autograd.gradcheck(
        lambda q, k, v, s, b: tuple(reference.additive_attention(q, k, v, s, mask, b)), inputs, fast_mode=True
    )


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (5, 6, 40, 20, 9))),
    wide=st.sampled_from([0.1, 1.0, 5.0, 25.0]),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape(sizes: tuple[int, int, int, int, int], wide: float, masked: bool, seed: int) -> None:
    mask = torch.rand(sizes[0], sizes[2], generator=torch.Generator().manual_seed(seed)) > 0.3 if masked else None
    check(draw(*sizes, wide=wide, bias_rows=sizes[1] if seed % 2 else 0, seed=seed), mask, roughly=True)


def test_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        kernels, "_shares", lambda H, key: {"least": 1, "grain": 2}
    )  # work this small is not shared out otherwise
    inputs, found = draw(7, 4, 33, 16, 8), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(kernels.additive_attention(*inputs[:4]).weight_BHT)  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_keys_are_hoisted_where_a_kernel_will_use_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBOOK_KERNELS", "numba")
    powers = hoist(torch.full((2, 3, 4), 0.5))
    assert powers is not None
    torch.testing.assert_close(powers.power_BAP[..., :3], torch.full((2, 4, 3), math.e))
    assert (powers.power_BAP[..., 3:] == 0).all()
    monkeypatch.setenv("OPENBOOK_KERNELS", "reference")
    assert hoist(torch.zeros(2, 3, 4)) is None


def test_elementary_functions() -> None:
    from openbook.ops.numba_math import exp32

    @numba.njit
    def each(x):  # type: ignore[no-untyped-def]
        return exp32(x)

    import numpy as np

    for x in np.linspace(-20, 20, 401, dtype=np.float32):
        assert each(x) == pytest.approx(math.exp(x), rel=4e-7)
    assert math.isnan(each(np.float32(np.nan)))


def test_kernels_compiled_of_older_sources_are_forgotten(tmp_path: Path) -> None:
    class Kernel:
        __name__ = "_forward"

        class stats:
            cache_path = str(tmp_path / "cache")

    forget_older(Kernel(), made_of="one")  # nothing is there yet
    index, code, other = (
        tmp_path / "cache" / "numba._forward-34.py311.nbi",
        tmp_path / "cache" / "numba._forward-34.py311.1.nbc",
        tmp_path / "cache" / "numba._backward-69.py311.nbi",
    )
    for file in (index, code, other):
        file.touch()
    forget_older(Kernel(), made_of="one")
    assert index.exists()
    os.utime(index, (2e9, 2e9))  # times tell nothing: installers keep old ones, and caches outlive an upgrade
    forget_older(Kernel(), made_of="other")
    assert not index.exists()
    assert not code.exists()  # or an index written anew names it before its own code is there
    assert other.exists()
    index.touch()
    forget_older(Kernel(), made_of="other")
    assert index.exists()
    Kernel.stats.cache_path = str(tmp_path / "cache" / other.name)  # no folder: nothing can be written there
    forget_older(Kernel(), made_of="third")
    assert sorted(file.suffix for file in (tmp_path / "cache").iterdir() if file.suffix == ".nbi") == [".nbi", ".nbi"]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of file sizes there")
def test_what_can_not_be_kept_on_disk_is_compiled_all_the_same() -> None:
    """A full disk, or a quota that is used up: the folder is there, and its files can not be written."""
    script = """
import resource, warnings
import torch
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from openbook.ops.additive_attention import additive_attention
query, key, value = (torch.randn(2, 3, 4) for _ in range(3))
print(additive_attention(query, key, value, torch.ones(4))[1].sum().item())
"""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"NUMBA_CACHE_DIR": folder, "OPENBOOK_KERNELS": "numba", "PYTHONDONTWRITEBYTECODE": "1"}
        ran = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) == pytest.approx(6.0)
