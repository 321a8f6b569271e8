"""The report: one HTML page that needs nothing but a browser, built from the files of a backtest."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from openbook.files import write_text_whole
from openbook.report.average import average_part
from openbook.report.book import book_part
from openbook.report.payload import common_part, forecast_part, page_clock, script_json
from openbook.report.source import Backtest, clean_text, mapping, read_backtest
from openbook.report.tables import (
    decision_rows,
    fact_rows,
    problem_lists,
    protocol_words,
    repeating_words,
    score_table,
    season_words,
    series_table,
)
from openbook.report.words import command_line, headline, shown, verdict

_HERE = Path(__file__).parent


def write_report(folder: Path) -> Path:
    """Build the page of a backtest folder and write it there as ``report.html``, whole or not at all.

    Raises ``DataError`` where the folder lacks ``scores.csv`` or ``forecasts.parquet``.
    """
    path = Path(folder) / "report.html"
    return write_text_whole(path, build_page(folder))


def build_page(folder: Path) -> str:
    """The HTML text of the page; it refers to no other file and no address on the network.

    Texts from the data reach the page escaped (the template) or as JSON that is only ever shown as text (the script);
    its content policy forbids every connection and every script but the page's own.
    """
    from jinja2 import Environment, FileSystemLoader
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    backtest = read_backtest(folder)
    data, context = _page_data(backtest)
    scripts = [_read("units.js"), get_plotlyjs(), *map(_read, ("forecast.js", "book.js", "average.js", "page.js"))]
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("template.html").render(
        **clean_text(context),
        style=Markup(_read("style.css")),
        data=Markup(script_json(clean_text(data))),
        scripts=[Markup(script) for script in scripts],
        policy=_policy(scripts),
    )


def _page_data(backtest: Backtest) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the script draws from, and what the template writes."""
    clock = page_clock(backtest)
    run = backtest.run
    forecasts, left_forecasts = forecast_part(backtest)
    book, left_book = book_part(backtest, clock)
    averages = average_part(backtest, clock)
    series, left_series = series_table(backtest)
    data = {**common_part(backtest, clock), "forecasts": forecasts, "book": book, "averages": averages}
    facts = mapping(run.get("data"))
    context = {
        "headline": headline(backtest, clock),
        "verdict": verdict(backtest),
        "source": str(facts.get("name") or "a backtest"),
        "simulated": bool(facts.get("simulated")),
        "tested": protocol_words(backtest, clock),
        "scores": score_table(backtest),
        "season": season_words(run, clock),
        "repeating": repeating_words(backtest, clock),
        "series": series,
        "decisions": decision_rows(run),
        "problems": problem_lists(run),
        "left_out": [*left_forecasts, *left_series, *left_book],
        "has_steps": len(data["steps"]["steps"]) > 1,
        "has_forecasts": bool(forecasts),
        "has_book": bool(book),
        "has_averages": bool(averages),
        "has_stages": any("inputs" in entry for entry in averages),
        "explained": [shown(model) for model in dict.fromkeys(entry["model"] for entry in book)],
        "command": command_line(run),
        "facts": fact_rows(run),
    }
    return data, context


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _policy(scripts: list[str]) -> str:
    """A content policy that lets exactly these scripts run and nothing be fetched."""
    digests = (base64.b64encode(hashlib.sha256(_as_parsed(text)).digest()).decode("ascii") for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _as_parsed(text: str) -> bytes:
    """The bytes a browser hashes: HTML parsing turns every line end into one line feed."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8")
