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
