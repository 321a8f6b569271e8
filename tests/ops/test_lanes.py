"""Explicit vectors against float64: reciprocals, products of odd sizes, and that nothing is touched beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from numba import njit

from openbook.ops.lanes import WIDTH, across, fma, load, padded, panels, reciprocal, spread, store, total
from openbook.ops.numba_math import add_product

ULP = float(np.finfo(np.float32).eps)


@njit
def _reciprocals(value: Any, out: Any) -> None:
    for t in range(0, value.shape[0], WIDTH):
        store(reciprocal(load(value, t)), out, t)


@njit
def _sum_of_squares(value: Any) -> Any:
    found = spread(np.float32(0))
    for t in range(0, value.shape[0], WIDTH):
        found = fma(load(value, t), load(value, t), found)
    return total(found)


@njit
def _product(n: int, left: Any, right: Any, out: Any) -> None:
    add_product(n, left, right, out)


def test_reciprocals_are_exact_to_one_unit() -> None:
    value = np.exp(np.linspace(0, 86, 64 * WIDTH)).astype(np.float32)
    value[:WIDTH] = 1
    out = np.empty_like(value)
    _reciprocals(value, out)
    assert np.abs(out * value.astype(np.float64) - 1).max() <= ULP
    assert (out[:WIDTH] == 1).all()  # 1 + x of padding, and of keys far on one side


def test_reciprocals_pass_nan_on() -> None:
    value, out = np.full(WIDTH, np.nan, np.float32), np.zeros(WIDTH, np.float32)
    _reciprocals(value, out)
    assert np.isnan(out).all()


def test_sums_of_lanes() -> None:
    value = np.arange(3 * WIDTH, dtype=np.float32)
    assert _sum_of_squares(value) == (value * value).sum()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 11])
@pytest.mark.parametrize(("K", "J"), [(1, 1), (7, 2 * WIDTH), (63, 2 * WIDTH + 1), (13, 9 * WIDTH), (128, 512)])
def test_products_of_any_size(n: int, K: int, J: int) -> None:
    g = np.random.default_rng(0)
    left, right = g.normal(size=(n + 1, K)).astype(np.float32), g.normal(size=(K, J)).astype(np.float32)
    out = np.zeros((n + 1, across(J)), np.float32)
    out[:, :J] = before = g.normal(size=(n + 1, J)).astype(np.float32)
    laid = panels(right)
    assert laid.shape == (across(J) // (2 * WIDTH), K, 2 * WIDTH)
    _product(n, left, laid, out)
    exact = before + left.astype(np.float64) @ right
    assert (
        np.abs(out[:n, :J] - exact[:n]).max() <= (K + 1) * ULP * (np.abs(before) + np.abs(left) @ np.abs(right)).max()
    )
    assert (out[n] == np.append(before[n], np.zeros(across(J) - J))).all()  # the row after the last


def test_a_row_is_the_same_bits_alone_and_among_others() -> None:
    g = np.random.default_rng(1)
    left, laid = g.normal(size=(5, 130)).astype(np.float32), panels(g.normal(size=(130, 11 * WIDTH)).astype(np.float32))
    together, alone = np.zeros((5, across(11 * WIDTH)), np.float32), np.zeros((1, across(11 * WIDTH)), np.float32)
    _product(5, left, laid, together)
    _product(1, left[2:3], laid, alone)
    assert (together[2] == alone[0]).all()


def test_lengths_are_rounded_up_to_whole_vectors() -> None:
    assert (padded(0), padded(1), padded(WIDTH), padded(WIDTH + 1)) == (0, WIDTH, WIDTH, 2 * WIDTH)
    assert (across(0), across(1), across(2 * WIDTH + 1)) == (0, 2 * WIDTH, 4 * WIDTH)


def test_processors_without_estimates_divide() -> None:
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_lanes as cases
assert cases.WIDTH == 8
cases.test_reciprocals_are_exact_to_one_unit()
cases.test_reciprocals_pass_nan_on()
cases.test_sums_of_lanes()
cases.test_products_of_any_size(5, 63, 17)
print("well")
"""
    plain = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    ran = subprocess.run([sys.executable, "-c", script], env=plain, capture_output=True, text=True, timeout=300)
    assert ran.stdout == "well\n", ran.stderr
