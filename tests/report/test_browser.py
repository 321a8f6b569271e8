"""The page in a real browser: it draws, it answers to every picker, and nothing in the data can run."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from openbook.report import build_page
from report_folders import BROWSER, CHROMIUM, NASTY_FEATURES, NASTY_IDS, RUN, write_folder, write_stages

pytestmark = BROWSER

# A page around the page: it waits for the figures, turns every picker and switch, clicks, prints, and writes down what it saw.
HARNESS = """<!DOCTYPE html><meta charset="utf-8"><iframe id="page" style="width:%(width)dpx;height:3000px;border:0"></iframe>
<pre id="seen"></pre><script>
const frame = document.getElementById("page");
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
window.alerts = [];
frame.addEventListener("load", async () => {
  const page = frame.contentWindow;
  const doc = frame.contentDocument;
  page.alert = (text) => window.alerts.push(text);
  const seen = { sentences: [], inputs: [] };
  for (let i = 0; i < 50 && doc.documentElement.dataset.ready !== "yes"; i += 1) await wait(100);
  seen.ready = doc.documentElement.dataset.ready;
  seen.overflow = doc.documentElement.scrollWidth - frame.clientWidth;
  const turn = async (select, index) => {
    select.value = index;
    select.dispatchEvent(new page.Event("change"));
    await wait(30);
  };
  const labels = (place) => [...doc.querySelectorAll(`#${place} label`)].map((label) => label.firstChild.textContent);
  for (const place of ["forecast-pickers", "book-pickers", "average-pickers"]) {
    for (const label of labels(place)) {
      const all = () => [...doc.querySelectorAll(`#${place} label`)];
      const select = () => all().find((one) => one.firstChild.textContent === label).lastChild;
      for (let index = Math.min(3, select().options.length) - 1; index >= 0; index -= 1) {
        await turn(select(), index);
        const shown = { "book-pickers": ["book-words"], "forecast-pickers": ["forecast-words"] }[place];
        const average = ["map", "lags", "inputs", "alpha", "beta"].map((part) => `average-${part}-words`);
        for (const id of shown || average) {
          const words = doc.getElementById(id);
          if (words && words.checkVisibility()) seen.sentences.push(words.textContent);
        }
      }
    }
  }
  const choices = () => [...doc.querySelectorAll("#book-pickers label")];
  const choice = (name) => choices().find((one) => one.firstChild.textContent === name)?.lastChild;
  if (choice("Input")) {
    const chosen = () => choice("Input").selectedOptions[0].textContent;
    await turn(choice("Input"), 1);
    seen.chosen = [chosen()];
    choice("Forecast made after").focus();
    for (const index of [1, 2]) {
      await turn(choice("Forecast made after"), index);
      seen.chosen.push(chosen());
    }
    seen.caption = doc.getElementById("book-caption").textContent;
    seen.focused = doc.activeElement === choice("Forecast made after");
    await turn(choice("Input"), 0);
    await turn(choice("Forecast made after"), 0);
  }
  const plot = doc.getElementById("book-plot");
  if (plot) {
    plot.emit("plotly_click", { points: [{ data: { type: "heatmap" }, y: 2 }] });
    await wait(50);
    seen.clicked = doc.getElementById("book-words").textContent;
  }
  seen.svg = [...doc.querySelectorAll(".main-svg text")].map((node) => node.textContent).join(" ");
  for (const button of doc.querySelectorAll(".legend button")) {
    for (const _ of "12") { button.click(); await wait(10); }
  }
  seen.inputs = [...doc.querySelectorAll("#book-inputs li span")].map((node) => node.textContent);
  const options = doc.querySelectorAll("#forecast-pickers label:first-child option");
  seen.series = [...options].map((option) => option.textContent);
  page.dispatchEvent(new page.Event("beforeprint"));
  await wait(100);
  seen.printWidth = Math.max(0, ...[...doc.querySelectorAll(".main-svg")].map((svg) => svg.getBoundingClientRect().width));
  seen.plots = doc.querySelectorAll(".plot .main-svg").length;
  seen.heat = doc.querySelectorAll("#book-plot .hm image, #book-plot .heatmaplayer image").length;
  const heats = (id) => doc.querySelectorAll(`#${id} .heatmaplayer image`).length;
  seen.averages = ["average-map", "average-beta"].map(heats);
  seen.errors = JSON.parse(doc.documentElement.dataset.errors);
  seen.alerts = window.alerts;
  seen.scripts = doc.scripts.length;
  seen.images = doc.querySelectorAll("img").length;
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
frame.src = "report.html";
</script>"""


def look(folder: Path, width: int = 1280) -> dict[str, Any]:
    """What the harness saw of the page of a folder."""
    (folder / "report.html").write_text(build_page(folder), encoding="utf-8")
    (folder / "harness.html").write_text(HARNESS % {"width": width}, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    flags += ["--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000"]
    target = (folder / "harness.html").as_uri()
    done = subprocess.run(
        [str(CHROMIUM), *flags, "--dump-dom", target],
        capture_output=True,
        timeout=240,
        check=False,
        text=True,
        encoding="utf-8",
    )
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    assert found[1], "the page never became ready"
    return json.loads(html.unescape(found[1]))


def test_nasty_names_draw_and_never_run(tmp_path: Path) -> None:
    run = {**RUN, "target": "<b>calls</b><img src=x onerror=alert(3)>"}
    seen = look(write_folder(tmp_path, ids=NASTY_IDS, features=NASTY_FEATURES, run=run))
    assert seen["ready"] == "yes"
    assert seen["errors"] == []
    assert seen["alerts"] == []
    assert (seen["scripts"], seen["images"]) == (7, 0)
    assert seen["plots"] >= 3
    assert seen["heat"] == 1
    assert seen["averages"] == [1, 0]
    assert sorted(seen["series"]) == sorted(NASTY_IDS)
    assert seen["inputs"] == NASTY_FEATURES
    assert seen["overflow"] <= 0
    assert 600 <= seen["printWidth"] <= 700
    words = " ".join(seen["sentences"])
    assert "the places it looked at most were" in words
    assert "1 day before" in words
    assert "Average error in this window: openbook" in words
    assert "Average error over all windows drawn: openbook" in words
    assert seen["clicked"].startswith("25% of the look-up went nowhere")  # all shares after it are of the rest
    assert " For Wed 14 May 01:00, openbook looked most with the rest at " in seen["clicked"]
    assert " of that rest; the other " in seen["clicked"]
    assert "Tue 13 May 01:00 (1 day before; " in seen["clicked"]
    assert "mean error, <b>calls</b><img src=x onerror=alert(3)>" in seen["svg"]
    assert not re.search("undefined|NaN|null|Invalid", words)


def test_averages_of_every_model_and_of_two_stages(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ids=["a", "b"], features=NASTY_FEATURES, past=48)
    write_stages(folder, "bahdanau")
    seen = look(folder)
    assert seen["errors"] == []
    assert seen["alerts"] == []
    assert seen["overflow"] <= 0
    assert seen["averages"] == [1, 1]
    words = " ".join(seen["sentences"])
    assert "What openbook usually looks at" in words
    assert "What bahdanau usually looks at" in words
    assert "openbook usually looked most 1 day before" in words
    assert "Stage one: at every past moment bahdanau" in words
    assert "Stage two: for each step bahdanau" in words
    assert "Stage one: at every past moment openbook" not in words
    assert all(name in seen["svg"] for name in ("calls", "holiday", "<img src=x onerror=alert(2)>"))


def test_phone_width_has_no_sideways_scroll(tmp_path: Path) -> None:
    seen = look(write_folder(tmp_path, ids=["서울 콜센터"], features=["calls", "holiday"], h=12, past=24), width=390)
    assert seen["errors"] == []
    assert seen["overflow"] <= 0


@pytest.mark.parametrize("kind", ["whole numbers", "months", "no book"])
def test_other_calendars_and_missing_files(tmp_path: Path, kind: str) -> None:
    run = {**RUN, "freq": {"whole numbers": 1, "months": "MS"}.get(kind, "h")}
    folder = write_folder(tmp_path, ids=["a"], features=["calls", "holiday"], h=6, past=12, run=run)
    start = pd.Timestamp("2025-05-12")
    for name in ("forecasts", "explanation"):
        frame = pd.read_parquet(folder / f"{name}.parquet")
        for column in {"ds", "cutoff", "source_ds"} & set(frame):
            hours = (frame[column] - start) // pd.Timedelta(hours=1)
            if kind == "whole numbers":
                frame[column] = hours
            elif kind == "months":
                frame[column] = pd.PeriodIndex.from_ordinals(hours + 600, freq="M").to_timestamp()
        frame.to_parquet(folder / f"{name}.parquet")
    if kind == "no book":
        for name in ("explanation.parquet", "scores_by_step.csv", "run.json"):
            (folder / name).unlink()
    seen = look(folder)
    assert seen["errors"] == []
    assert seen["ready"] == "yes"
    words = " ".join(seen["sentences"])
    assert {"whole numbers": "steps before", "months": "months before", "no book": "Average error"}[kind] in words
    assert not re.search("undefined|NaN|null|Invalid", words)


def test_one_window_is_drawn_with_what_came_before_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ids=["a", "b"], features=["calls"], h=6, past=12)
    forecasts = pd.read_parquet(folder / "forecasts.parquet")
    last = forecasts["cutoff"] == forecasts["cutoff"].max()
    kept = forecasts.loc[~last, ["unique_id", "ds", "y"]]
    forecasts[last].to_parquet(folder / "forecasts.parquet")
    kept.to_parquet(folder / "history.parquet")
    (folder / "explanation.parquet").unlink()
    seen = look(folder)
    assert (seen["errors"], seen["ready"]) == ([], "yes")
    assert any("Average error in this window" in words for words in seen["sentences"])
    assert "forecast made" in seen["svg"]


def test_the_chosen_input_and_the_keyboard_stay_when_the_forecast_changes(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, ids=["a"], features=["calls", "holiday", "wind"], h=6, past=12)
    frame = pd.read_parquet(folder / "explanation.parquet")
    middle = frame["cutoff"] == frame["cutoff"].sort_values().unique()[1]
    other = {"calls": "wind", "holiday": "calls", "wind": "holiday"}
    frame["feature"] = frame["feature"].where(~middle, frame["feature"].replace(other))
    frame.to_parquet(folder / "explanation.parquet")
    seen = look(folder)
    assert seen["errors"] == []
    assert len(set(seen["chosen"])) == 1
    assert f"Only the weight of “{seen['chosen'][0]}” is drawn" in seen["caption"]
    assert seen["focused"]
