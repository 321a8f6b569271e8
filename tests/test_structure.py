"""The house rules: imports point down, sizes stay within budget, public names are what they are."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import openbook

SOURCE = Path(openbook.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
LEVELS = (
    ("version", "errors", "files"),
    ("data",),
    ("plots",),
    ("windows",),
    ("ops",),
    ("nn",),
    ("models",),
    ("training",),
    ("forecast",),
    ("evaluation",),
    ("report",),
    ("outputs",),
    ("backtesting",),
    ("console", "demo", "fields", "options"),
    ("commands",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LEVELS) for name in names}


def place(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """First folders of openbook that a file imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.relative_to(SOURCE)} imports relatively"
            whole = node.module == "openbook"  # "from openbook import plots"
            names = [f"openbook.{alias.name}" for alias in node.names] if whole else [str(node.module)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("openbook.")}
    return found


def test_what_is_no_code_is_installed_too() -> None:
    """Whoever installs openbook from a wheel has the report's template, style and script."""
    told = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "openbook"
    ]
    others = [
        file
        for file in SOURCE.rglob("*")
        if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts  # where kernels are kept, too
    ]
    assert len(others) > 3
    assert [str(file) for file in others if not any(file.relative_to(SOURCE).match(glob) for glob in told)] == []


def test_imports_only_point_down() -> None:
    wrong = [
        f"{file.relative_to(SOURCE)} imports {name}"
        for file in FILES
        if place(file) != "__init__"
        for name in imported(file)
        if RANK[name] > RANK[place(file)]
    ]
    assert wrong == []


def test_only_what_needs_torch_imports_it() -> None:
    wrong = []
    for file in FILES:
        if place(file) in (
            "data",
            "plots",
            "report",
            "console",
            "demo",
            "options",
            "outputs",
            "cli",
            "commands",
            "errors",
            "fields",
            "files",
        ):
            tree = ast.parse(file.read_text())
            top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            names = [getattr(node, "module", None) or node.names[0].name for node in top]
            wrong += [f"{file.relative_to(SOURCE)}: {name}" for name in names if name.split(".")[0] == "torch"]
    assert wrong == []


def test_the_command_lines_help_and_inspect_import_no_torch(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("ds,y\n" + "\n".join(f"2024-01-{day:02d},{day}" for day in range(1, 29)))
    script = (
        "import sys; from openbook.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    for arguments in (["--help"], ["inspect", str(table)]):
        ran = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert ran.stderr.strip().endswith("False"), ran.stderr


def functions() -> list[tuple[int, int, str]]:
    """Length, number of arguments and name of every function."""
    found = []
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                arguments = node.args
                count = sum(a.arg != "self" for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))
                found.append((node.end_lineno - node.lineno + 1, count, f"{file.relative_to(SOURCE)}:{node.name}"))
    return found


def test_sizes_stay_within_budget(capsys: pytest.CaptureFixture[str]) -> None:
    lines = sorted(
        ((len(file.read_text().splitlines()), str(file.relative_to(SOURCE))) for file in FILES), reverse=True
    )
    lengths = sorted(functions(), reverse=True)
    lengths = [found for found in lengths if not found[2].startswith("ops/")]  # kernels are compiled loops over arrays
    options = (
        "cli.py",
        "commands.py",
        "forecast/forecaster.py:__init__",
        "backtesting.py:backtest",
    )  # of commands; the interface users know
    many = sorted(((count, name) for _, count, name in lengths if not name.startswith(options)), reverse=True)
    with capsys.disabled():
        sys.stdout.write(f"\nlongest files {lines[:5]}\nlongest functions {[(n, f) for n, _, f in lengths[:5]]}\n")
        sys.stdout.write(f"most arguments {many[:5]}\n")
    assert lines[0][0] <= 400
    assert lengths[0][0] <= 100
    assert np.quantile([length for length, _, _ in lengths], 0.95) <= 45
    assert many[0][0] <= 8


def test_public_names() -> None:
    assert openbook.__all__ == [
        "Backtest",
        "BahdanauConfig",
        "DarnnConfig",
        "DataError",
        "DayToDayConfig",
        "Floor",
        "Forecaster",
        "LuongConfig",
        "MissingDependencyError",
        "ModelFileError",
        "OpenBookConfig",
        "OpenBookError",
        "TrainConfig",
        "UsageError",
        "__version__",
        "backtest",
        "inspect_table",
        "load",
        "read_table",
        "simulate_calls",
    ]
    assert all(getattr(openbook, name) is not None for name in openbook.__all__)
    with pytest.raises(AttributeError, match="forecast_all"):
        openbook.forecast_all  # noqa: B018
