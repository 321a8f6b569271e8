"""The guide to attention keeps its word in both languages: its code prints what stands below it, its sums are right."""

from __future__ import annotations

import math
import re
from contextlib import redirect_stdout
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
ENGLISH, KOREAN = DOCS / "understanding-attention.md", DOCS / "understanding-attention.ko.md"
PAGES = pytest.mark.parametrize("page", [ENGLISH, KOREAN], ids=["english", "korean"])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LESSON = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
PRODUCT = re.compile(r"(?<![\d,.+])(\d[\d,]*(?:·\d[\d,]*){2,}) = (\d{1,3}(?:,\d{3})+)")
SHARE = re.compile(r"(\d+/\d+)·(\d+/\d+) = (\d+/\d+)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text(page: Path) -> str:
    """A page as it stands."""
    return page.read_text(encoding="utf-8")


def outline(page: Path) -> list[str]:
    """What both languages share beside the code: level of headings, columns of table rows, numbered exercises."""
    prose = BLOCK.sub("", text(page))
    marks = [re.match(r"(#+) |(\d+)\. |(?=\|)|(?=- )|(?=    )", line) for line in prose.splitlines()]
    return [mark[0] or mark.string[0] + str(mark.string.count("|")) for mark in marks if mark is not None]


@PAGES
def test_every_block_prints_what_stands_below_it(page: Path) -> None:
    names: dict[str, Any] = {}
    lessons = LESSON.findall(text(page))
    assert len(lessons) >= 15
    for number, (code, told) in enumerate(lessons, 1):
        printed = StringIO()
        with redirect_stdout(printed):
            exec(compile(code, f"{page.name}, block {number}", "exec"), names)
        assert printed.getvalue() == told, f"block {number} of {page.name}"
    assert names["model"].training_.steps <= 40
    assert len(names["spread"]) == 6


@PAGES
def test_no_output_stands_without_its_code(page: Path) -> None:
    kinds = [kind for kind, _ in BLOCK.findall(text(page))]
    assert set(kinds) == {"python", "text"}
    assert kinds == ["python", "text"] * (len(kinds) // 2)


def test_both_languages_hold_the_same_code_and_outputs() -> None:
    assert BLOCK.findall(text(ENGLISH)) == BLOCK.findall(text(KOREAN))
    assert outline(ENGLISH) == outline(KOREAN)


@PAGES
def test_products_in_the_text_are_right(page: Path) -> None:
    products = [[part.replace(",", "") for part in found] for found in PRODUCT.findall(text(page))]
    assert len(products) >= 8
    for factors, product in products:
        assert math.prod(map(int, factors.split("·"))) == int(product), factors
    shares = [list(map(Fraction, found)) for found in SHARE.findall(text(page))]
    assert len(shares) == 2
    assert all(beta * alpha == joint for beta, alpha, joint in shares)


def test_decimals_in_the_text_are_the_same_in_both_languages() -> None:
    both = [re.findall(r"\d+\.\d+", BLOCK.sub("", text(page))) for page in (ENGLISH, KOREAN)]
    assert len(both[0]) >= 50
    assert sorted(both[0]) == sorted(both[1])


@PAGES
def test_lines_fit_and_links_exist(page: Path) -> None:
    assert [line for line in text(page).splitlines() if len(line) > 128] == []
    links = [link for link in LINK.findall(BLOCK.sub("", text(page))) if "://" not in link]
    assert len(links) >= 3
    assert [link for link in links if not (page.parent / link).exists()] == []
