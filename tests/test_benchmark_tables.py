"""Tables from made-up results: what is met and missed follows from the numbers, losses come first, twice is as once."""

from __future__ import annotations

import importlib
import json
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from openbook.errors import DataError

ROOT = Path(__file__).parents[1]
Mase = dict[str, float | None]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The generator, which lives beside the package."""
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.tables")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with READMEs and no results."""
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    for name in ("README.md", "README.ko.md"):
        (tmp_path / name).write_text("# top\n<!-- scores:begin -->\nold\n<!-- scores:end -->\nrest\n", encoding="utf-8")
    return tmp_path


def put(root: Path, name: str, commit: str = "abc1234", **values: Any) -> None:
    """One result, as the measurements write it."""
    facts = {"commit": commit, "machine": {"system": "Linux", "processor": "x86_64", "cores": 2, "threads": 2}}
    told = {
        "command": f"openbook {name.rpartition('-')[0]} --seed {name.rpartition('-')[2]}",
        "versions": {"torch": "2"},
    }
    (root / "benchmarks" / "results" / f"{name}.json").write_text(json.dumps(told | facts | values), encoding="utf-8")


def scored(mase: Mase, covered: float = 0.8, seconds: float = 60.0) -> dict[str, Any]:
    """A backtest's result with these MASEs (None: the model failed)."""
    rows = [
        {"model": model, "mase": value, "mae": None if value is None else 10 * value} for model, value in mase.items()
    ]
    coverage = {model: {"80": covered, "95": 0.95} for model in mase}
    return {"scores": rows, "coverage": coverage, "seconds": seconds, "warnings": []}


def verdicts(tables: ModuleType, root: Path) -> dict[str, bool | None]:
    """Met, missed or open by target."""
    cases = tables.read_cases(root / "benchmarks" / "results")
    return {target.asked: target.met for target in tables.all_targets(cases)}


def test_without_results_nothing_is_measured(tables: ModuleType, root: Path) -> None:
    assert set(verdicts(tables, root).values()) == {None}
    written = tables.generate(root)
    assert [path.name for path in written] == ["benchmarks.md", "README.md", "README.ko.md"]
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "Nothing has been measured yet." in page
    assert page.count("| not measured | not measured |") == len(verdicts(tables, root))
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert "Not measured yet." in readme
    assert "old" not in readme
    assert readme.startswith("# top\n")
    assert readme.endswith("<!-- scores:end -->\nrest\n")
    assert "아직 측정하지 않았습니다." in (root / "README.ko.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("luong", "ridge", "met", "level"),
    [(0.75, 0.9, True, True), (0.76, 0.9, False, True), (0.74, 0.73, True, False), (1.2, 1.3, False, True)],
)
def test_targets_follow_from_the_scores(
    tables: ModuleType, root: Path, luong: float, ridge: float, met: bool, level: bool
) -> None:
    put(root, "vic_elec-1", **scored({"luong": luong, "bahdanau": 1.5, "seasonal_naive": 1.0, "ridge": ridge}))
    found = verdicts(tables, root)
    assert found["vic_elec: MASE of the better of our models at least 25 % below seasonal naive"] is met
    assert found["vic_elec: the better of our models not worse than ridge in MASE"] is level
    assert found["vic_elec: the whole command within 15 minutes"] is True
    assert found["bike_hour: MASE of the better of our models at least 20 % below seasonal naive"] is None


@pytest.mark.parametrize(("covered", "met"), [(0.84, True), (0.76, True), (0.845, False), (0.75, False)])
def test_coverage_of_every_model_of_ours_counts(tables: ModuleType, root: Path, covered: float, met: bool) -> None:
    result = scored({"luong": 0.5, "bahdanau": 0.6, "seasonal_naive": 1.0, "ridge": 0.9})
    result["coverage"] |= {"bahdanau": {"80": covered, "95": 0.95}, "ridge": {"80": 0.1, "95": 0.1}}
    put(root, "vic_elec-1", **result)
    found = verdicts(tables, root)
    assert found["vic_elec: the 80 % bands of our models cover 76 to 84 %"] is met
    assert found["vic_elec: the 95 % bands of our models cover 91 to 99 %"] is True


@pytest.mark.parametrize(
    ("first", "noise", "met", "least"),
    [
        (["mailing 52", "y 23"], 0.1, True, True),
        (["mailing 51", "mailing 52", "y 23"], 0.1, True, True),
        (["mailing 51", "y 23", "mailing 52"], 0.1, False, True),
        (["noise_1 52", "mailing 52"], 0.3, False, False),
    ],
)
def test_planted_lag(tables: ModuleType, root: Path, first: list[str], noise: float, met: bool, least: bool) -> None:
    cells = [{"feature": cell.split()[0], "lag": int(cell.split()[1]), "weight": 0.1} for cell in first]
    good = [{"feature": "mailing", "lag": 52, "weight": 0.1}]
    planted = {"feature": "mailing", "lag": 52}
    put(root, "planted_lag-1", planted=planted, first_outside_rhythm=good, shares={"y": 0.9, "noise_1": 0.1})
    shares = {"y": 0.5, "mailing": 0.2, "noise_1": noise}
    put(root, "planted_lag-2", planted=planted, first_outside_rhythm=cells, shares=shares)
    found = verdicts(tables, root)
    assert found["planted_lag: the planted cell comes first outside daily and weekly lags, in every seed"] is met
    assert found["planted_lag: the noise columns get the smallest shares of the look-ups, in every seed"] is least


@pytest.mark.parametrize("over", [False, True])
def test_limits(tables: ModuleType, root: Path, over: bool) -> None:
    extra = 0.01 if over else 0.0
    put(root, "start_up-1", import_adds_s=0.5 + extra, help_s=0.7 + extra)
    put(root, "gathering-1", share_of_step={"a": 0.01, "b": 0.05 + extra})
    put(root, "many_series-1", seconds_fit=500.0, seconds_predict=100 + extra, peak_gb=24 + extra)
    put(root, "demo-1", **scored({"luong": 0.5, "ridge": 0.6}, seconds=300 + extra))
    limits = [met for met in verdicts(tables, root).values() if met is not None]
    assert limits == [not over] * 6


@pytest.mark.parametrize(("mase", "met"), [(0.59, True), (0.6, False), (None, None)])
def test_the_default_has_to_beat_every_floor(
    tables: ModuleType, root: Path, mase: float | None, met: bool | None
) -> None:
    ours = {} if mase is None else {"openbook": mase}
    put(root, "demo-1", **scored({"luong": 0.5, **ours, "ridge": 0.6, "seasonal_naive": 0.9}, seconds=100.0))
    assert verdicts(tables, root)["demo: `openbook` beats every floor in MASE"] is met


@pytest.mark.parametrize("over", [False, True])
def test_limits_of_the_reference_models(tables: ModuleType, root: Path, over: bool) -> None:
    extra = 0.01 if over else 0.0

    def told(**errors: float) -> dict[str, object]:
        return {"scores": [{"model": name, "rmse": error, "mae": error / 2} for name, error in errors.items()]}

    put(root, "sml2010_nowcast-1", **told(darnn=0.017 + extra, ridge=0.016, naive=0.1))
    put(root, "sml2010_forecast-1", **told(darnn=0.0195 + extra, ridge=0.016, naive=0.1))
    put(root, "nasdaq100_nowcast-1", **told(darnn=0.3 + extra, ridge=0.4, naive=1.0))
    put(root, "beijing_pm25-1", **told(darnn=20.9 + extra, ridge=21.0, naive=22.0))
    put(root, "beijing_pm25-2", **told(darnn=20.9 + extra, ridge=21.0, naive=22.0))
    put(root, "appliances-1", **told(darnn=1.0), inputs=27, rank_from_below={"rv1": 9, "rv2": 9 + over})
    days = {"day_to_day gaps 1, 7": 0.95 + extra, "day_to_day gaps 1": 1.0, "day_to_day gaps 7": 2.0}
    put(root, "vic_days-1", **told(**days))
    put(root, "darnn_step-1", step={"times luong, H 24": {"two_pass": 2 + extra, "recurrent": 6 + extra}})
    limits = {asked: met for asked, met in verdicts(tables, root).items() if met is not None}
    assert len(limits) == 9
    assert [met for asked, met in limits.items() if "MAE at most" not in asked] == [not over] * 8


def test_a_missed_target_and_a_lost_case_stand_first(tables: ModuleType, root: Path) -> None:
    put(root, "demo-1", **scored({"luong": 0.5, "bahdanau": None, "seasonal_naive": 1.0, "ridge": 0.6}, seconds=120.0))
    put(root, "bike_hour-1", "abc1234+changes", **scored({"luong": 0.95, "seasonal_naive": 1.0, "ridge": 0.9}))
    tables.generate(root)
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if line.startswith("- ")]
    assert lines == [
        "- **Missed:** bike_hour: MASE of the better of our models at least 20 % below seasonal naive "
        "(measured: luong −5.0 %).",
        "- **Lost:** bike_hour: ridge (MASE 0.900) beats luong (0.950).",
        "- **Lost:** demo: bahdanau gave no forecast.",
        "- Measured on source that was not committed as it was: bike_hour.",
    ]
    rows = [line for line in page.splitlines() if " | **missed** | " in line or " | met | " in line]
    assert " | **missed** | `openbook bike_hour --seed 1` | 1 | 2 | abc1234+changes |" in rows[0]
    assert (
        page.index("## Lost and missed") < page.index("## Targets") < page.index("## demo") < page.index("## bike_hour")
    )
    for name, row in (
        (
            "README.md",
            "| bicycle rentals, hourly, 24 ahead | 1.000 | **0.900** | – | 0.950 | – | ridge (floor) | 1 | 2 |",
        ),
        (
            "README.ko.md",
            "| 자전거 대여 건수(시간별, 24시간 앞) | 1.000 | **0.900** | – | 0.950 | – | ridge (기준선) | 1 | 2 |",
        ),
    ):
        readme = (root / name).read_text(encoding="utf-8")
        assert row in readme
        assert 0 < readme.index("bike_hour") < readme.index("| 0.950 |")


def test_several_seeds_give_mean_and_deviation(tables: ModuleType, root: Path) -> None:
    for seed, mase in ((1, 0.5), (2, 0.7)):
        put(root, f"epf_np-{seed}", **scored({"luong": mase, "seasonal_naive": 1.0, "ridge": 0.9}))
    tables.generate(root)
    page = (root / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "luong −40.0 ± 14.1 % | met | `openbook epf_np --seed N` | 1, 2 | 2 | abc1234 |" in page
    assert "| **luong** | 6.000 ± 1.414 | – | 0.600 ± 0.141 |" in page
    assert "**0.600 ± 0.141**" in (root / "README.md").read_text(encoding="utf-8")


def test_who_is_less_than_two_deviations_behind_is_among_the_best(tables: ModuleType, root: Path) -> None:
    for seed, (ours, luong, ridge) in enumerate([(0.50, 0.83, 0.9), (0.70, 0.87, 0.9)], start=1):
        put(root, f"demo-{seed}", **scored({"openbook": ours, "luong": luong, "ridge": ridge, "seasonal_naive": 1.0}))
    tables.generate(root)
    row = "1.000 ± 0.000 | 0.900 ± 0.000 | **0.600 ± 0.141** | **0.850 ± 0.028** | – | openbook, luong | 1, 2 |"
    assert row in (root / "README.md").read_text(encoding="utf-8")


def test_generating_twice_changes_nothing(tables: ModuleType, root: Path) -> None:
    put(root, "demo-1", **scored({"luong": 0.5, "ridge": 0.6}))
    first = [path.read_bytes() for path in tables.generate(root)]
    assert [path.read_bytes() for path in tables.generate(root)] == first


def test_every_target_has_its_korean_words(tables: ModuleType, root: Path) -> None:
    assert set(verdicts(tables, root)) == set(tables.KOREAN)


def test_a_readme_without_markers_is_refused(tables: ModuleType, root: Path) -> None:
    (root / "README.ko.md").write_text("nothing here", encoding="utf-8")
    with pytest.raises(DataError, match=r"README\.ko\.md"):
        tables.generate(root)


def test_results_name_the_processor_where_linux_tells(tmp_path: Path, tables: ModuleType) -> None:
    del tables  # its folder can be imported from
    processor = importlib.import_module("benchmarks.record").processor
    told = tmp_path / "cpuinfo"
    told.write_text("cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: Some Processor\n\ncpu family\t: 26\nmodel\t\t: 2\n")
    assert processor(told) == f"{platform.machine()} (Some Processor, family 25, model 17)"
    told.write_text("Hardware\t: a board\n")
    assert processor(told) == processor(tmp_path / "absent") == platform.machine()


def test_the_pages_tell_what_the_results_hold(tables: ModuleType, tmp_path: Path) -> None:
    """Neither a result without its tables, nor a figure that was written by hand."""
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "benchmarks" / "results")
    (tmp_path / "docs").mkdir()
    for name in tables.READMES:
        shutil.copy(ROOT / name, tmp_path / name)
    for written in tables.generate(tmp_path):
        assert written.read_text(encoding="utf-8") == (ROOT / written.relative_to(tmp_path)).read_text(encoding="utf-8")


def test_a_result_names_the_commit_whose_code_was_loaded(
    module: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed while a suite runs is not what ran."""
    record = module("record")
    begun = record.commit()
    monkeypatch.setattr(record, "commit", lambda: "later")
    told = json.loads(record.write_result("x", {"command": "x"}, tmp_path).read_text(encoding="utf-8"))
    assert told["commit"].removesuffix("+changes") == begun.removesuffix("+changes")
    assert told["machine"]["threads"] == record.THREADS


def test_a_speed_stands_beside_those_of_other_processors_and_has_to_hold_on_all(
    module: Callable[[str], Any], tables: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, results = module("record"), tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    asked = "speed_attention: one look-up at least 18 times as fast as plain tanh"
    for processor, times in (("x86_64 (A, family 1)", 20.0), ("x86_64 (B)", 17.0), ("x86_64 (B)", 19.0)):
        monkeypatch.setattr(record, "processor", lambda name=processor: name)
        values = {"command": "x", "speed": {"1 queries": {"times fused": {"plain tanh": times}}}}
        record.write_result("speed_attention-1", values, results)
        target = next(target for target in tables.all_targets(tables.read_cases(results)) if target.asked == asked)
        assert target.met == (times > 18)
    assert target.measured.startswith("19.00 ×; 20.00 × on A, family 1 at ")
    case = tables.read_cases(results)["speed_attention"]
    assert "| 1 queries (on A, family 1, commit" in tables.section(case)
    monkeypatch.setattr(record, "processor", lambda: "x86_64 (A, family 1)")
    values["speed"]["1 queries"]["times fused"]["plain tanh"] = 21.0
    record.write_result("speed_attention-1", values, results)
    (told,) = json.loads((results / "speed_attention-1.json").read_text())["elsewhere"]
    assert told == "x86_64 (B)"
    for processor, times in (("x86_64 (B)", 17.0), ("x86_64 (A, family 1)", 21.0)):
        monkeypatch.setattr(record, "processor", lambda name=processor: name)
        values["speed"]["1 queries"]["times fused"]["plain tanh"] = times
        record.write_result("speed_attention-1", values, results)
    targets = tables.all_targets(tables.read_cases(results))
    assert next(target.met for target in targets if target.asked == asked) is False  # met here, and not on B
