"""What the commands share: model options, progress on a terminal, tables to files, one JSON document."""

from __future__ import annotations

import ctypes
import errno
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from openbook.errors import DataError, UsageError
from openbook.outputs import write_table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from openbook.forecast.explanation import Explanation
    from openbook.forecast.forecaster import Forecaster
    from openbook.models.base import ModelConfig

Show = Callable[[str], Callable[[int, int, float | None], None]]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of malloc.h
_SPINS = "1000"  # of a thread that waits for others, before it sleeps; about as long as it takes to be woken


def share_the_machine() -> None:
    """Before torch is loaded: beside other processes, threads that spin take the time of those they wait for.

    Nor does a container with a quota get as many threads as its host has cores. What the user set stays. Source: the libgomp
    manual, ``GOMP_SPINCOUNT``; the kernel's documentation of control groups, ``cpu.max``.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = _SPINS
    cores, there = allowed_cores(), os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        there = len(os.sched_getaffinity(0))
    if cores is not None and cores < there:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores))


def allowed_cores(groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Whole cores that the quota of a container allows, at least one; None without a quota."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError):
            quota, period = map(int, " ".join((groups / name).read_text(encoding="ascii") for name in names).split())
            if quota > 0 and period > 0:
                return max(1, quota // period)
    return None


def keep_memory() -> None:
    """Have the C library keep memory that is freed: a training step asks for what the last one gave back.

    What the user set stays (``MALLOC_…``, ``GLIBC_TUNABLES``), and so do C libraries other than glibc. Source: mallopt(3).
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def speak_utf8() -> None:
    """Windows writes to pipes and files in its old code page, in which many names of series have no place; where a system is
    set to such a page itself, what has no place is written as its number."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        if os.name == "nt":
            stream.reconfigure(encoding="utf-8")
        elif stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(errors="backslashreplace")


@dataclass(frozen=True)
class ModelOptions:
    """Options of every command that trains."""

    h: int
    futr_exog: str
    hist_exog: str | None
    freq: str | None
    input_size: int | None
    max_steps: int | None
    seed: int
    device: str
    country: str | None = None
    stat_exog: str = ""
    budget_s: float | None = None
    season_length: int | None = None
    configs: Mapping[str, ModelConfig] = field(default_factory=dict)

    def make(self, model: str | ModelConfig) -> Forecaster:
        """A fresh forecaster: of a model by name with the fields of its config that were set, or of a config."""
        from openbook.forecast.forecaster import Forecaster
        from openbook.models.base import check_choice
        from openbook.training.loop import TrainConfig

        check_choice("--device", self.device, ("auto", "cpu", "cuda"))
        changes: dict[str, Any] = {"device": self.device}
        if self.max_steps is not None:
            changes["max_steps"] = self.max_steps
        if self.budget_s is not None:
            changes["budget_s"] = self.budget_s
        return Forecaster(
            self.h,
            model=self.configs.get(model, model) if isinstance(model, str) else model,
            input_size=self.input_size,
            freq=freq_of(self.freq),
            season_length=self.season_length,
            futr_exog_list=names_of(self.futr_exog),
            hist_exog_list=None if self.hist_exog is None else names_of(self.hist_exog),
            stat_exog_list=names_of(self.stat_exog),
            country=self.country,
            train=TrainConfig(**changes),
            seed=self.seed,
        )


def names_of(text: str | None) -> tuple[str, ...]:
    """Names separated by commas.

    >>> names_of("a, b")
    ('a', 'b')
    """
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def freq_of(text: str | None) -> str | int | None:
    """A frequency option: a whole number, a pandas alias, or nothing."""
    return int(text) if text and text.lstrip("-").isdigit() else text or None


def levels_of(text: str) -> tuple[float, ...]:
    """Levels separated by commas.

    >>> levels_of("80,95")
    (80.0, 95.0)
    """
    from openbook.forecast.conformal import check_levels

    try:
        return check_levels([float(part) for part in names_of(text)])
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            "bad_level",
            expected="numbers such as 80,95",
            got=repr(text),
            where="--level",
            fix="separate percentages by commas",
        ) from error


def numbers_of(text: str, option: str) -> tuple[int, ...]:
    """Whole numbers separated by commas.

    >>> numbers_of("1, 7", "--gaps")
    (1, 7)
    """
    try:
        return tuple(int(part) for part in names_of(text))
    except ValueError as error:
        raise UsageError(
            "bad_number", expected="whole numbers such as 1,7,28", got=repr(text), where=option, fix="check the list"
        ) from error


def season_of(table: pd.DataFrame, freq: str | None) -> int:
    """Steps of one season of a canonical table; refuses tables without one."""
    from openbook.data.panel import make_panel
    from openbook.forecast.decisions import decide_season

    season = int(decide_season(make_panel(table, freq=freq_of(freq)).begun()).value)
    if season > 1:
        return season
    raise UsageError(
        "no_season", expected="data with a season", got="none found", where="--h", fix="say how many steps: --h 24"
    )


def named(ids: Any, names: Sequence[str]) -> np.ndarray:
    """Which of these ids are among ``names``, as text; all of them where none is named. Refuses names that no id has."""
    import numpy as np

    own = np.asarray(ids).astype(str)
    absent = sorted(set(names) - set(own))
    if absent:
        raise UsageError(
            "unknown_series",
            expected=f"series among {', '.join(np.unique(own)[:20])}",
            got=", ".join(absent),
            where="--only",
            fix="check the spelling",
        )
    return np.isin(own, list(names)) if names else np.ones(len(own), bool)


def only_series(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The rows of the named series of a canonical table; all of them where none is named."""
    return table[named(table["unique_id"], names)].reset_index(drop=True) if names else table


@contextmanager
def progress(quiet: bool) -> Iterator[Show]:
    """Progress bars on stderr, on a terminal only; ``show(title)`` starts one and gives its step callback."""
    if quiet or not sys.stderr.isatty():
        yield lambda title: lambda step, steps, loss: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[loss]}"), console=Console(stderr=True), transient=True) as bars:

        def show(title: str) -> Callable[[int, int, float | None], None]:
            task = bars.add_task(title, total=None, loss="")

            def advance(step: int, steps: int, loss: float | None) -> None:
                told = "" if loss is None else f"validation loss {loss:.4f}"
                bars.update(task, completed=step, total=steps, loss=told)

            return advance

        yield show


def say(message: str, silent: bool) -> None:
    """A line for people, on stderr."""
    if not silent:
        print(message, file=sys.stderr)  # noqa: T201 (the command line's voice)


def show(document: dict[str, Any], lines: Sequence[str], as_json: bool) -> None:
    """The result of a command on stdout: one JSON document, or lines."""
    if as_json:
        from openbook.files import json_text

        put(json_text(document) + "\n")
    elif lines:
        put("\n".join(lines) + "\n")


def put(text: str) -> None:
    """A result on stdout, if there is one; a reader that went away (``| head``) has read enough, a full disk is an error."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # what is left in the buffer would fail again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno in (errno.EPIPE, errno.EINVAL):  # the latter on Windows
            return
        raise UsageError(
            "cannot_write",
            expected="room for the result",
            got=error.strerror or "an error",
            where="standard output",
            fix="write it to another disk with --out",
        ) from error


def records_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame for ``show``, every digit kept."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def score_lines(scores: pd.DataFrame, warnings: Sequence[str]) -> list[str]:
    """The score table for a terminal, then the warnings."""
    shown = scores.copy()
    for column in shown.columns[1:]:
        shown[column] = [("" if value != value else f"{value:.4g}") for value in shown[column]]
    return [*shown.to_string(index=False).splitlines(), *(f"! {warning}" for warning in warnings)]


def run_and_write(
    table: pd.DataFrame,
    plan: dict[str, Any],
    options: ModelOptions,
    facts: dict[str, Any],
    out: Path,
    *,
    quiet: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Backtest a table, write its folder and page, and show the scores; gives back the document of them, for ``as_json``."""
    from openbook.evaluation.backtest import Plan, run_backtest, write_backtest
    from openbook.forecast.arguments import ColumnNames
    from openbook.forecast.remarks import warn_of_guessed_targets
    from openbook.report.page import write_report

    warn_of_guessed_targets(table, facts["target"])
    given = facts["arguments"]
    names = ColumnNames(**{role: given[f"{role}_col"] for role in ColumnNames._fields if f"{role}_col" in given})
    with progress(quiet or as_json) as bars:
        current: list[str] = []

        def make(name: str) -> Forecaster:
            forecaster = options.make(name)
            forecaster.progress = bars(name) if current else None
            return forecaster

        def told(name: str) -> None:
            current.append(name)
            say(f"{name} …", quiet or as_json)

        try:
            result = run_backtest(table, Plan(**plan), make, facts=facts, say=told)
        except DataError as error:
            raise error.renamed(names.own()) from error
    write_backtest(result, out)
    page = write_report(out)
    lines = [*score_lines(result.scores, result.run["warnings"]), *([] if quiet else [f"report: {page}"])]
    if not as_json:
        show({}, lines, False)
    places = {"out": str(out), "report": str(page)}
    return {"scores": records_of(result.scores), "warnings": result.run["warnings"], **places}


def hand_over(forecast: pd.DataFrame, out: Path | None, *, quiet: bool, as_json: bool) -> None:
    """A forecast to a file, to stdout as CSV, or as one JSON document."""
    if out is not None:
        write_table(forecast, out)
        say(f"wrote {out}: {len(forecast)} rows", quiet or as_json)
    if as_json:
        show({"out": str(out) if out else None, "forecast": records_of(forecast)}, [], True)
    elif out is None:
        put(forecast.to_csv(index=False, lineterminator="\n"))


def load_model(path: Path) -> Forecaster:
    """A saved forecaster."""
    from openbook.forecast.forecaster import Forecaster

    return Forecaster.load(path)


def explained(explanation: Explanation) -> tuple[dict[str, Any], list[str]]:
    """Shares of the inputs in all look-ups, and how much of the forecasts these are: as values, and in words."""
    shares, size = explanation.by_feature(), explanation.attended_size()
    told: dict[str, Any] = {"features": {str(name): float(share) for name, share in shares.items()}}
    lines = [f"  {name}: {share:.1%}" for name, share in shares.items()]
    if explanation.parts is None:
        return told, lines
    beside = [name for name in explanation.features if name not in shares.index]
    if beside:
        lines.append(f"  read elsewhere in the model, with no place in the look-up: {', '.join(beside)}")
    if math.isfinite(size):
        lines.append(
            f"  learned beside the linear path (look-ups, memory, corrections): {size:.0%} of the forecast's size, the rest is "
            "linear path or repeated values"
        )
    return told | {"not_looked_up": beside, "attended_size": size}, lines


def fail(as_json: bool, told: dict[str, Any], message: str, code: int) -> None:
    """Say what went wrong, as one JSON document or in words, and leave with ``code``."""
    if as_json:
        with suppress(UsageError):
            put(json.dumps({"error": told}, ensure_ascii=False) + "\n")
    else:
        typer.echo(message, err=True)
    sys.exit(code)
