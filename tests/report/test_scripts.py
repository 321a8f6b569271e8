"""Single functions of the page's scripts, run in a real browser without the page around them."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import openbook.report
from report_folders import BROWSER, CHROMIUM

pytestmark = BROWSER
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


def test_stamps_below_a_second_business_days_and_wide_steps_are_counted(tmp_path: Path) -> None:
    at = "Date.UTC(2025, 4, 13, 14, 0, 10)"
    fine = f"((clock) => [OB.stamp({at} + 20, clock), OB.stamp({at} + 20, clock, true), "
    fine += f"OB.distance({at}, {at} + 1010, clock), OB.steps(9, clock)])"
    days = "[Date.UTC(2025, 4, 2), Date.UTC(2025, 4, 5), Date.UTC(2025, 4, 9)]"  # two Fridays, a Monday between
    told = answer(
        tmp_path,
        f'[{fine}({{unit: "millisecond", multiple: 10}}), OB.stamp({at} + 0.25, {{unit: "microsecond", multiple: 250}}), '
        f"((days, clock) => [OB.distance(days[0], days[1], clock), OB.distance(days[2], days[0], clock), "
        f'OB.stamp(days[0], clock), OB.steps(3, clock)])({days}, {{unit: "business day", multiple: 1}}), '
        '((clock) => [OB.stamp(30, clock), OB.distance(20, 50, clock), OB.steps(3, clock)])({unit: "step", multiple: 10})]',
    )
    assert told == [
        ["Tue 13 May 14:00:10.020", "14:00:10.020", "1 second 10 milliseconds before", "90 milliseconds"],
        "Tue 13 May 14:00:10.000250",
        ["1 business day before", "5 business days after", "Fri 2 May", "3 business days"],
        ["stamp 30", "3 steps before", "3 steps"],
    ]


def test_twelve_months_are_a_year(tmp_path: Path) -> None:
    """As the sentences beside the figures say."""
    told = answer(
        tmp_path, '[["month", 12], ["month", 7], ["quarter", 8]].map(([unit, n]) => OB.steps(n, {unit, multiple: 1}))'
    )
    assert told == ["1 year", "7 months", "2 years"]


def test_an_hour_that_comes_twice_has_both_of_its_values_in_the_book(tmp_path: Path) -> None:
    series = '{id: "a", stamps: pack([1, 2, 2, 3], "f8"), actual: pack([5, 6, 7, 8], "f4")}'
    line = f'OB.actualsAt({{forecasts: [{series}]}}, {{id: "a", bin: 1}}, [0, 1, 2, 2, 3])'
    assert answer(tmp_path, line) == [None, 5, 6, 7, 8]


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


def test_a_band_of_very_many_stamps_has_an_outline(tmp_path: Path) -> None:
    """As arguments of one call they had been too many for a browser, and no figure was drawn."""
    many = "Array.from({length: 200000}, (_, i) => i)"
    ends = "({x: [x.length, x[0], x[199999], x[200000], x[399999], x[400000]], y: [y.length, y[0], y[399999]]})"
    told = answer(tmp_path, f"(({{x, y}}) => {ends})(OB.outline({many}, {many}, {many}.map((value) => value + 0.5)))")
    assert told == {"x": [400001, 0, 199999, 199999, 0, None], "y": [400001, 0, 0.5]}


def test_overlapping_windows_are_told_from_others(tmp_path: Path) -> None:
    series = (
        '{cutoffs: [0, 1], stamps: pack([1, 2, 3], "f8"), actual: pack([1, 2, 3], "f4"), gaps: [], '
        'place: pack([0, 1, 1, 2], "i4", [2, 2]), point: {}, low: {}, high: {}}'
    )
    assert answer(tmp_path, f"[null, 1].map((origin) => OB.stretch({series}, [], origin).overlap)") == [True, False]


def entry(weights: list[list[float]], reach: list[int], stamps: int) -> str:
    """An entry of the book with the three largest weights of the mean and of each step."""
    count, flat = len(weights), [weight for row in weights for weight in row]
    shape = f"[{count}, 3]"
    top = f'source: pack({list(range(3)) * count}, "f8", {shape}), weight: pack({flat}, "f4", {shape}), '
    top += f'feature: pack({[0] * len(flat)}, "u2", {shape}), share: pack({[1] * len(flat)}, "f4", {shape})'
    targets = [9 + step for step in range(count - 1)]
    return (
        f"{{model: 'm', targets: {targets}, features: ['calls'], stamps: {stamps}, bin: 1, top: {{{top}}}, lags: [], "
        f"memory: [], parts: [], reach: {reach}}}"
    )


def read(folder: Path, weights: list[list[float]], reach: list[int], stamps: int, step: str) -> str:
    data = '{models: [], clock: {unit: "step", noun: "step", multiple: 1}}'
    return str(answer(folder, f"OB.readingWords({data}, {entry(weights, reach, stamps)}, {step})"))


def test_places_a_step_could_not_look_at_are_not_counted(tmp_path: Path) -> None:
    weights = [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.4, 0.35, 0.2]]
    one = read(tmp_path, weights, [9, 1, 4], 9, "0")
    assert one.count("%") == 1  # one place, named once
    assert "the rest" not in one
    assert "evenly" not in one
    few = read(tmp_path, weights, [9, 1, 4], 9, "1")
    assert "the other 1 step shares the rest" in few
    both = read(tmp_path, weights, [9, 1, 4], 9, "null")
    assert "evenly" not in both  # each step has its own place, though together they share out the look-up


def test_one_place_with_most_of_the_weight_stands_out_and_even_ones_do_not(tmp_path: Path) -> None:
    weights = [[0.9, 0.05, 0.03], [0.9, 0.05, 0.03]]
    assert "evenly" not in read(tmp_path, weights, [4, 4], 4, "0")
    even = [[0.015, 0.014, 0.013]] * 2
    assert "spread nearly evenly" in read(tmp_path, even, [100, 100], 100, "0")
    all_steps = read(tmp_path, even, [100, 100], 100, "null")
    assert "the other 97 steps share the rest" in all_steps
    assert all_steps.startswith("For step 9, m looked most at ")  # of one step there are no others to speak of together


def test_a_model_without_weights_by_input_is_not_said_to_have_read_several(tmp_path: Path) -> None:
    said = answer(
        tmp_path, "OB.bookCaption({timeOnly: true, features: [''], stamps: 4, reach: [4], bin: 1}, null, null)"
    )
    assert said.startswith("The weights of this model tell moments, not inputs: it weighs time alone, or")


def test_an_even_share_is_told_of_places_that_could_be_looked_at(tmp_path: Path) -> None:
    gaps = entry([[0.5, 0.5, 0.0]] * 3, [9, 2, 2], 9)
    said = answer(tmp_path, f"[null, 0].map((step) => OB.bookCaption({gaps}, null, step))")
    assert said == ["", "Spread evenly, every column this step could look at would get 50% (red dotted line)."]


def test_an_input_is_found_by_its_name_wherever_it_stands(tmp_path: Path) -> None:
    entries = '[{cube: 1, features: ["a", "b"]}, {cube: 1, features: ["b", "a", "c"]}, {features: ["b", "a"]}]'
    said = answer(tmp_path, f'["b", "c", null].map((name) => {entries}.map((entry) => OB.inputPlace(entry, name)))')
    assert said == [[1, 0, None], [None, 2, None], [None, None, None]]


def test_replaced_choices_keep_the_keyboard(tmp_path: Path) -> None:
    said = answer(
        tmp_path,
        """(() => {
          const place = document.body.appendChild(document.createElement("div"));
          const offer = (names) => OB.keepFocus(place, () => {
            place.replaceChildren();
            for (const name of names) OB.picker(place, name, ["x", "y"], 0, () => {});
          });
          offer(["Series", "Input"]);
          const held = () => document.activeElement === document.body ? null : document.activeElement.parentElement.textContent;
          const seen = [held()];
          place.querySelectorAll("select")[1].focus();
          offer(["Model", "Series", "Input"]);
          seen.push(held());
          offer(["Model"]);
          return [...seen, held()];
        })()""",
    )
    assert said == [None, "Inputxy", None]


def test_numbers_keep_the_digits_that_tell_them_apart(tmp_path: Path) -> None:
    drawn = "{actual: [371.2, 372.9], lines: {a: {point: [371.5, 372.4]}, b: {point: [390, null]}}}"
    ahead, tiny = "{actual: [null], lines: {a: {point: [0.41]}}}", "{actual: [2e-7], lines: {}}"
    formats = [(drawn, '{name: "a"}'), (drawn, '{name: "b"}'), (ahead, '{name: "a"}'), (tiny, "")]
    calls = ", ".join(f"OB.hoverFormat({lines}, [{models}])" for lines, models in formats)
    said = answer(tmp_path, f"[OB.number(3.214e-7), OB.number(-2e-6), OB.number(12345.6), {calls}]")
    assert said == ["3.21 × 10⁻⁷", "−2.00 × 10⁻⁶", "12,346", ",.2f", ",.0f", ",.3f", ".2e"]


def test_a_band_without_neighbours_stands_upright(tmp_path: Path) -> None:
    said = answer(
        tmp_path, "[OB.uprights([1, 2, 3, 4], [0, null, 5, 6], [1, null, 7, 8]), OB.uprights([1, 2], [0, 0], [1, 1])]"
    )
    assert said == [{"x": [1, 1, None], "y": [0, 1, None]}, {"x": [], "y": []}]


def test_labels_tell_days_of_several_weeks_and_years_apart(tmp_path: Path) -> None:
    hour, day = 3_600_000, 86_400_000
    said = answer(
        tmp_path,
        f"[30, 800].map((days) => {{ const at = [Date.UTC(2024, 4, 14, 14), Date.UTC(2024, 4, 14, 14) + days * {day}]; "
        'const hours = {unit: "hour", multiple: 1, withYear: true}, weeks = {unit: "week", multiple: 1, withYear: true}; '
        "return [OB.rowLabels(at, OB.axisClock(at, hours))(at[1]), OB.stamp(at[1], OB.axisClock(at, weeks), true)]; })"
        f'.concat([[OB.rowLabels([0, {hour}], {{unit: "hour", multiple: 1}})({hour})]])',
    )
    assert said == [["13 Jun 14:00", "13 Jun"], ["23 Jul 14:00", "23 Jul 2026"], ["Thu 01:00"]]


def test_ticks_stand_apart_on_whole_steps_and_are_written_apart(tmp_path: Path) -> None:
    folder = tmp_path
    assert answer(folder, "[OB.number(-0), OB.shareFormat(0.3), OB.shareFormat(0.0014), OB.shareFormat(0)]") == [
        "0", ".1~%", ".3~%", ".1~%",
    ]  # fmt: skip
    assert answer(folder, "OB.apart([0, 1, 2, 9, 10, 20], (at) => at, 5)") == [0, 9, 20]
    assert answer(folder, "[OB.wholeTicks(3, 12), OB.wholeTicks(24, 12)]") == [{"dtick": 1, "tick0": 1}, {"nticks": 12}]


def test_parts_that_cancel_are_a_forecast_of_nothing(tmp_path: Path) -> None:
    folder = tmp_path
    entry = '{"parts": [[-2.37, 0.123456, 0.226545, 2.02]]}'
    assert "The forecast of 0 is" in answer(folder, f"OB.partsWords({{}}, {entry}, 0)")


def test_an_hour_that_happens_twice_has_two_forecasts_to_open(tmp_path: Path) -> None:
    """Both were made after a stamp of one label: the second choice stays chosen."""
    here = Path(openbook.report.__file__).parent
    book = (here / "page.js").read_text(encoding="utf-8").split("/** The colour scale")[0].removeprefix('"use strict";')
    picked = """(() => {
      DRAW_BOOK
      for (const id of ["book-plot", "book-pickers"]) document.body.append(Object.assign(OB.element("div"), {id}));
      const entry = {model: "m", id: "a", cutoff: 0, targets: [0, 3600000], features: ["y"], timeOnly: true};
      const data = {book: [entry, {...entry, tag: "second"}], models: [], clock: {unit: "hour", multiple: 1}};
      try { OB.drawBook(data); } catch { /* nothing of a picture is here */ }
      const choices = () => [...document.querySelectorAll("#book-pickers label")];
      const made = () => choices().find((one) => one.textContent.startsWith("Forecast made")).querySelector("select");
      const select = made();
      select.value = 1;
      select.dispatchEvent(new Event("change"));
      return made().value;
    })()"""
    assert answer(tmp_path, picked.replace("DRAW_BOOK", book)) == "1"
