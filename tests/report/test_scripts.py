"""Single functions of the page's scripts, run in a real browser without the page around them."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import openbook.report

CHROMIUM = os.environ.get("OPENBOOK_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the path; set OPENBOOK_CHROMIUM"),
]
SCRIPTS = ("units.js", "forecast.js", "book.js", "average.js")


def answer(folder: Path, expression: str) -> Any:
    """The value of an expression over ``OB`` and ``pack`` (numbers, kind, shape) as JSON carries it."""
    here = Path(openbook.report.__file__).parent
    scripts = [(here / name).read_text(encoding="utf-8") for name in SCRIPTS]
    scripts.append(
        "const pack = (values, kind, shape) => ({kind, shape: shape || [values.length], "
        "data: btoa(String.fromCharCode(...new Uint8Array(OB.kinds[kind].from(values).buffer)))});"
        f'document.getElementById("seen").textContent = JSON.stringify({expression});'
    )
    page = "".join(f"<script>{script}</script>" for script in scripts)
    (folder / "scripts.html").write_text(f'<meta charset="utf-8"><pre id="seen"></pre>{page}', encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    target = (folder / "scripts.html").as_uri()
    done = subprocess.run(
        [str(CHROMIUM), *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", target],
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
        encoding="utf-8",
    )
    found = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[:2000] + done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def test_seconds_are_counted_and_written(tmp_path: Path) -> None:
    clock = '{unit: "second", multiple: 10}'
    stamp = "Date.UTC(2025, 4, 13, 14, 0, 10)"
    said = answer(
        tmp_path,
        f"[OB.stamp({stamp}, {clock}), OB.distance({stamp}, {stamp} + 20000, {clock}), OB.steps(9, {clock})]",
    )
    assert said == ["Tue 13 May 14:00:10", "20 seconds before", "1 minute 30 seconds"]


def test_lines_break_where_no_window_tested(tmp_path: Path) -> None:
    point = 'pack([1, 2, 3, 4], "f4", [2, 2])'
    series = (
        '{cutoffs: [0, 4], stamps: pack([1, 2, 5, 6], "f8"), actual: pack([1, 2, 3, 4], "f4"), gaps: [2], '
        f'place: pack([0, 1, 2, 3], "i4", [2, 2]), point: {{a: {point}}}, low: {{a: {point}}}, high: {{a: {point}}}}}'
    )
    drawn = answer(tmp_path, f'OB.stretch({series}, [{{name: "a"}}], null)')
    assert drawn["stamps"] == [1, 2, 3.5, 5, 6]
    assert drawn["actual"] == drawn["lines"]["a"]["point"] == drawn["lines"]["a"]["low"] == [1, 2, None, 3, 4]
    assert not drawn["overlap"]
    assert answer(tmp_path, "[[1, 2, null, 3], [1, 2, null, 3, 4], [1]].map(OB.mode)") == [
        "lines+markers",
        "lines",
        "lines+markers",
    ]
    outline = answer(tmp_path, "OB.outline([1, 2, 3.5, 5], [1, 2, null, 3], [2, 3, null, 4])")
    assert outline == {"x": [1, 2, 2, 1, None, 5, 5, None], "y": [1, 2, 3, 2, None, 3, 4, None]}


def test_overlapping_windows_are_told_from_others(tmp_path: Path) -> None:
    series = (
        '{cutoffs: [0, 1], stamps: pack([1, 2, 3], "f8"), actual: pack([1, 2, 3], "f4"), gaps: [], '
        'place: pack([0, 1, 1, 2], "i4", [2, 2]), point: {}, low: {}, high: {}}'
    )
    assert answer(tmp_path, f"[null, 1].map((origin) => OB.stretch({series}, [], origin).overlap)") == [True, False]
