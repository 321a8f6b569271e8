"""Every example of a docstring says what comes out."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"openbook": ROOT / "src", "benchmarks": ROOT}
NAMES = [
    ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
    for package, folder in FOLDERS.items()
    for path in sorted((folder / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", NAMES)
def test_examples_give_what_they_say(name: str, module: Callable[[str], Any]) -> None:
    package, _, place = name.partition(".")
    try:
        found = module(place) if package == "benchmarks" else importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != "triton":
            raise
        pytest.skip("Triton is not installed")
    told = doctest.testmod(found)
    assert told.attempted > 0
    assert told.failed == 0
