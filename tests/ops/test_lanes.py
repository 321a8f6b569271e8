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
from numba.core.errors import TypingError

from openbook.ops.lanes import (
    WIDTH,
    across,
    clear,
    exponential,
    fma,
    load,
    load_some,
    padded,
    panels,
    put,
    reciprocal,
    spread,
    store,
    store_some,
    total,
)
from openbook.ops.numba_math import add, add_product, cell_backward, cell_forward, softmax_open, tanhs

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


@njit
def _exponentials(value: Any, out: Any) -> None:
    for t in range(0, value.shape[0], WIDTH):
        store(exponential(load(value, t)), out, t)


@njit
def _cell(gates: Any, cell: Any, hidden: Any) -> None:
    cell_forward(gates, cell, hidden)


def test_exponentials_are_exact_to_one_unit_and_held_within_the_normal_range() -> None:
    value = np.linspace(-87, 87, 64 * WIDTH).astype(np.float32)
    value[0], value[-1], value[1] = -1e4, 1e4, np.nan
    out = np.empty_like(value)
    _exponentials(value, out)
    exact = np.exp(np.clip(value.astype(np.float64), -87, 87))
    assert np.nanmax(np.abs(out / exact - 1)) <= 1.5 * ULP
    assert np.isnan(out).tolist() == np.isnan(value).tolist()


@pytest.mark.parametrize("D", [1, WIDTH - 1, WIDTH, 2 * WIDTH + 3])
def test_a_step_of_the_cell_in_lanes_and_beside_them(D: int) -> None:
    g = np.random.default_rng(2)
    gates, cell = (3 * g.normal(size=4 * D)).astype(np.float32), g.normal(size=D).astype(np.float32)
    gates[:1] = 0.1  # near zero, where tanh is a polynomial
    i, f, new, o = np.split(gates.astype(np.float64), 4)
    i, f, o = (1 / (1 + np.exp(-part)) for part in (i, f, o))
    opened = np.concatenate([i, f, np.tanh(new), o])
    state = f * cell + i * np.tanh(new)
    hidden = np.empty(D, np.float32)
    _cell(gates, cell, hidden)
    for mine, exact in ((gates, opened), (cell, state), (hidden, o * np.tanh(state))):
        assert np.abs(mine - exact).max() <= 4 * ULP * max(1.0, np.abs(exact).max())


@njit
def _cell_back(gates: Any, cell: Any, before: Any, hidden_grad: Any, cell_grad: Any, out: Any) -> None:
    cell_backward(gates, cell, before, hidden_grad, cell_grad, out)


@pytest.mark.parametrize("D", [1, WIDTH - 1, WIDTH, 2 * WIDTH + 3])
def test_gradients_of_a_step_of_the_cell_in_lanes_and_beside_them(D: int) -> None:
    g = np.random.default_rng(3)
    gates = g.uniform(0.1, 0.9, 4 * D).astype(np.float32)
    cell, before, asked, later = g.normal(size=(4, D)).astype(np.float32)
    i, f, new, o = np.split(gates.astype(np.float64), 4)
    told = np.tanh(cell.astype(np.float64))
    grad = asked * o * (1 - told**2) + later
    wanted = grad * new * i * (1 - i), grad * before * f * (1 - f), grad * i * (1 - new**2), asked * told * o * (1 - o)
    out = np.full(4 * D + 1, 7, np.float32)
    _cell_back(gates, cell, before, asked, later, out)
    assert np.abs(out[:-1] - np.concatenate(wanted)).max() <= 8 * ULP
    assert np.abs(later - grad * f).max() <= 8 * ULP
    assert out[-1] == 7


@njit
def _moved(value: Any, put_to: Any, cleared: Any, added_to: Any) -> None:
    put(value, put_to)
    clear(cleared)
    add(value, added_to)


@pytest.mark.parametrize("count", [0, 1, WIDTH - 1, WIDTH, 2 * WIDTH + 3])
@pytest.mark.parametrize("longer", ["value", "out", "none"])
def test_vectors_are_put_cleared_and_added_as_far_as_both_go(count: int, longer: str) -> None:
    """Rows of a table, so that what is written too far is seen in the next one."""
    value = np.arange(1, count + 4, dtype=np.float32)[: count + 3 * (longer == "value")]
    length = count + 2 * (longer == "out")
    tables = [np.full((2, length), 7, np.float32) for _ in range(3)]
    _moved(value, *(table[0] for table in tables))
    for table, wanted in zip(tables, (value[:count], np.zeros(length), 7 + value[:count]), strict=True):
        assert (table[0, : len(wanted)] == wanted).all()
        assert (table[0, len(wanted) :] == 7).all()
        assert (table[1] == 7).all()


@njit
def _some(value: Any, out: Any, at: int, count: int) -> None:
    store_some(load_some(value, at, count) + spread(np.float32(1)), out, at, count)


@pytest.mark.parametrize("count", [1, 3, WIDTH, WIDTH + 5])
def test_some_lanes_leave_the_others_alone(count: int) -> None:
    value, out = np.arange(3 * WIDTH, dtype=np.float32), np.full(3 * WIDTH, -1, np.float32)
    _some(value, out, 2, count)
    wanted = np.full(3 * WIDTH, -1.0)
    wanted[2 : 2 + min(count, WIDTH)] = value[2 : 2 + min(count, WIDTH)] + 1
    assert (out == wanted).all()


@njit
def _bent(value: Any, out: Any) -> None:
    for t in range(0, value.shape[0], WIDTH):
        store(tanhs(load(value, t)), out, t)


@njit
def _read_some(value: Any, out: Any, count: int) -> None:
    store(load_some(value, 0, count), out, 0)


@pytest.mark.parametrize("count", [0, 1, WIDTH - 1, WIDTH, 2**31 + 1])
def test_lanes_behind_some_are_zero_whatever_stands_there(count: int) -> None:
    value, out = np.full(WIDTH, np.nan, np.float32), np.empty(WIDTH, np.float32)
    value[:count] = 3
    _read_some(value, out, count)
    assert out.tolist() == [3.0] * min(count, WIDTH) + [0.0] * (WIDTH - min(count, WIDTH))


def test_tanh_is_exact_near_zero_and_far_from_it() -> None:
    value = np.concatenate([np.linspace(-20, 20, 400), np.logspace(-8, 0, 400), [1e30, -1e30, np.nan, 0]])
    value = np.resize(value, padded(len(value))).astype(np.float32)
    out = np.empty_like(value)
    _bent(value, out)
    exact = np.tanh(value.astype(np.float64))
    assert np.nanmax(np.abs(out - exact) / np.maximum(np.abs(exact), 1e-30)) <= 3.5 * ULP
    assert np.isnan(out).tolist() == np.isnan(value).tolist()


@njit
def _shares(score: Any, open_: Any, out: Any) -> None:
    softmax_open(score, open_, out)


@pytest.mark.parametrize("closed", ["nothing told", "some", "all but one", "all"])
def test_softmax_over_open_cells(closed: str) -> None:
    g = np.random.default_rng(4)
    score = g.normal(size=37).astype(np.float32)
    open_ = {"nothing told": np.ones(37), "some": g.random(37) < 0.6, "all but one": np.arange(37) == 5}
    mask = open_.get(closed, np.zeros(37)).astype(bool)
    score[~mask] = np.nan  # whatever stands there
    wanted = np.where(mask, np.exp(score.astype(np.float64), where=mask, out=np.zeros(37)), 0)
    out = np.full(37, np.nan, np.float32)
    _shares(score, mask if closed != "nothing told" else mask[:0], out)
    assert np.abs(out - wanted / max(wanted.sum(), 1e-300)).max() <= 4 * ULP
    assert (out[~mask] == 0).all()


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


@pytest.mark.parametrize(
    "value", [np.zeros(4 * WIDTH, np.float32)[::2], np.zeros(2 * WIDTH), np.zeros((2, WIDTH), np.float32)]
)
def test_other_than_contiguous_vectors_of_float32_are_refused(value: Any) -> None:
    with pytest.raises(TypingError, match="contiguous vector of float32"):
        _sum_of_squares(value)


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
cases.test_a_step_of_the_cell_in_lanes_and_beside_them(19)
cases.test_gradients_of_a_step_of_the_cell_in_lanes_and_beside_them(19)
cases.test_vectors_are_put_cleared_and_added_as_far_as_both_go(19, "out")
cases.test_some_lanes_leave_the_others_alone(3)
cases.test_lanes_behind_some_are_zero_whatever_stands_there(3)
cases.test_tanh_is_exact_near_zero_and_far_from_it()
cases.test_softmax_over_open_cells("some")
print("well")
"""
    plain = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    ran = subprocess.run([sys.executable, "-c", script], env=plain, capture_output=True, text=True, timeout=300)
    assert ran.stdout == "well\n", ran.stderr
