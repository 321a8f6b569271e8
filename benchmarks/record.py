"""Where results lie and what every one of them carries."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from openbook.evaluation.record import machine, versions
from openbook.files import write_text_whole

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DATA = Path(os.environ.get("OPENBOOK_DATA_DIR", ROOT / "../shared/data"))
THREADS = int(os.environ.get("OPENBOOK_BENCH_THREADS", "2"))


def commit() -> str:
    """The commit measured, with a mark where the source, or what measures it, was changed since."""
    name = _git("rev-parse", "--short", "HEAD")
    changed = _git("status", "--porcelain", "--", "src", "benchmarks/*.py", "benchmarks/peers")
    return f"{name}+changes" if changed else name


def _git(*arguments: str) -> str:
    ran = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return ran.stdout.strip()


def processor(facts: Path = Path("/proc/cpuinfo")) -> str:
    """The architecture and, where Linux tells, whose processor it is: families of one name differ in vectors and caches."""
    told: dict[str, str] = {}
    for line in facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []:
        name, _, value = line.partition(":")
        told.setdefault(name.strip(), value.strip())
    parts = [told["model name"]] if told.get("model name") else []
    parts += [f"{name} {told[key]}" for name, key in (("family", "cpu family"), ("model", "model")) if told.get(key)]
    return f"{platform.machine()} ({', '.join(parts)})" if parts else platform.machine()


_BEGUN = commit()  # of the code that this process has imported: a commit made while it measures is not what ran


def write_result(name: str, values: dict[str, Any], folder: Path = RESULTS, threads: int = THREADS) -> Path:
    """Write one result with what is needed to repeat it; versions of another environment are kept where they are given."""
    facts = {"commit": _BEGUN, "machine": machine() | {"processor": processor(), "threads": threads}}
    kernels = {"kernels": os.environ["OPENBOOK_KERNELS"]} if os.environ.get("OPENBOOK_KERNELS") else {}
    whole = {"versions": versions()} | values | facts | kernels
    path = folder / f"{name}.json"
    if "speed" in values and (others := _elsewhere(path)):
        whole["elsewhere"] = others
    return write_text_whole(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def _elsewhere(path: Path) -> dict[str, Any]:
    """What a result told of speed on other processors than this one: vectors and caches differ, so none stands for another."""
    if not path.is_file():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    where = before["machine"]["processor"]
    told = before.get("elsewhere", {}) | {where: {"speed": before["speed"], "commit": before["commit"]}}
    return {name: facts for name, facts in told.items() if name != processor()}


def read_results(prefix: str = "") -> dict[str, dict[str, Any]]:
    """All results by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{prefix}*.json"))}
