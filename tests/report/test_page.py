from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from openbook.report import build_page, write_report
from report_folders import NASTY_FEATURES, NASTY_IDS, RUN, write_folder

_POLICY = r'http-equiv="Content-Security-Policy" content="([^"]*)"'


class Reader(HTMLParser):
    """Collects addresses, event handlers, script texts and the readable text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text: list[str] = []
        self.inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "action", "data", "srcset")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = None

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        elif self.inside != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def nasty(nasty_folder: Path) -> str:
    return build_page(nasty_folder)


def test_page_refers_to_nothing_outside(nasty: str) -> None:
    reader = Reader(nasty)
    assert reader.addresses == ["data:,"]
    assert reader.handlers == []
    assert "http" not in "".join(reader.text)
    style = re.search(r"<style>(.*?)</style>", nasty, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_json_gives_back_the_exact_names(nasty: str) -> None:
    blocks = [text for attributes, text in Reader(nasty).scripts if attributes.get("type") == "application/json"]
    assert len(blocks) == 1
    data = json.loads(blocks[0])
    assert {series["id"] for series in data["forecasts"]} == set(NASTY_IDS)
    assert {entry["id"] for entry in data["book"]} == set(NASTY_IDS)
    open_book = next(entry for entry in data["book"] if entry["model"] == "openbook")
    assert set(open_book["features"]) == set(NASTY_FEATURES)


def test_only_our_scripts_may_run(nasty: str) -> None:
    scripts = [text for attributes, text in Reader(nasty).scripts if "type" not in attributes]
    assert len(scripts) == 6
    policy = re.search(_POLICY, nasty)
    assert policy is not None
    rules = policy[1].replace("&#39;", "'")
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert set(re.findall(r"sha256-([^']+)", rules)) == digests
    assert "default-src 'none'" in rules
    assert "'unsafe-inline'" not in rules.split("style-src")[0]


def test_names_are_shown_as_they_are(nasty: str) -> None:
    text = "".join(Reader(nasty).text)
    assert all(name in text for name in NASTY_IDS)
    assert "49" not in re.sub(r"\d\.\d+|\d+,\d+", "", text.split("Series by series")[1].split("The open book")[0])


def test_story_is_told(nasty: str) -> None:
    text = "".join(Reader(nasty).text)
    assert "Openbook came closest" in text
    assert "Simulated data." in text
    assert "auto ets gave no forecast: the package statsforecast is not installed" in text.replace("\n", "")
    assert "Series 2 is short" in text
    assert "longer windows did not lower the validation error" in text
    assert "--n-windows 3" in text
    assert "It does not show why the forecast came out as it did" in text
    assert "torch 2.9.0" in text


@pytest.mark.parametrize("absent", ["run.json", "explanation.parquet", "scores_by_series.csv", "scores_by_step.csv"])
def test_optional_files_may_be_absent(small_folder: Path, absent: str) -> None:
    (small_folder / absent).unlink()
    text = "".join(Reader(build_page(small_folder)).text)
    assert "came closest" in text
    assert ("The open book" in text) == (absent != "explanation.parquet")
    assert ("Where along the way" in text) == (absent != "scores_by_step.csv")
    assert ("Simulated" in text) == (absent != "run.json")


@pytest.mark.parametrize("key", sorted(RUN))
def test_run_facts_may_lack_any_key(small_folder: Path, key: str) -> None:
    kept = {name: value for name, value in RUN.items() if name != key}
    (small_folder / "run.json").write_text(json.dumps(kept), encoding="utf-8")
    assert "<h1>" in build_page(small_folder)


def test_odd_run_facts_do_not_break_the_page(small_folder: Path) -> None:
    odd = '{"target": "\\ud800 <b>", "data": null, "floors": null, "decisions": [], "warnings": [NaN], "seconds": Infinity}'
    (small_folder / "run.json").write_text(odd, encoding="utf-8")
    page = build_page(small_folder)
    assert "? &lt;b&gt; per hour" in page
    page.encode("utf-8")


def test_time_zones_show_local_time(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ids=["a"], features=["calls"], h=4, past=6, timezone="Asia/Seoul")
    page = build_page(folder)
    assert "Mon 12 May 00:00" in page


@pytest.mark.parametrize("empty", [True, False])
def test_nothing_but_failures(small_folder: Path, empty: bool) -> None:
    (small_folder / "scores.csv").write_text("model,mae,mase\nopenbook,,\n", encoding="utf-8")
    if empty:
        frame = pd.read_parquet(small_folder / "forecasts.parquet")
        frame.iloc[:0].to_parquet(small_folder / "forecasts.parquet")
    text = "".join(Reader(build_page(small_folder)).text)
    assert "No model could be scored on this data" in text


def test_one_step_ahead(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ids=["a"], features=["calls"], h=1, past=6, n_windows=12)
    assert "Where along the way" not in build_page(folder)


def test_same_folder_same_page(small_folder: Path) -> None:
    assert build_page(small_folder) == build_page(small_folder)


def test_report_is_written_into_its_folder(small_folder: Path) -> None:
    path = write_report(small_folder)
    assert path == small_folder / "report.html"
    assert path.read_text(encoding="utf-8") == build_page(small_folder)
