"""Files and folders the commands write: what may stand there, and what may not be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openbook.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".csv.gz", ".parquet")
_MODEL = ("manifest.json", "weights.safetensors")  # by save into a folder
WRITTEN = (  # by a backtest into its folder, run.json last
    *("scores.csv", "scores_by_series.csv", "scores_by_step.csv", "forecasts.parquet", "explanation.parquet"),
    *("history.parquet", "stages.parquet", "report.html", "run.json"),
)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame as its suffix says: .csv, .csv.gz or .parquet, whole or not at all."""
    from openbook.files import write_csv_whole, write_parquet_whole

    check_out(path, TABLES)
    if path.suffix == ".parquet":
        write_parquet_whole(path, frame, index=False)
    else:
        write_csv_whole(path, frame)


def check_out(path: Path, suffixes: tuple[str, ...], *read: Path | None) -> None:
    """Refuse a file to write by its suffix or its place, or as one of those that are read, before any work is done for it."""
    from openbook.files import check_apart, check_writable

    if not path.name.endswith(suffixes):
        raise UsageError(
            "bad_suffix",
            expected=f"{', '.join(suffixes[:-1])} or {suffixes[-1]}",
            got=repr(path.name),
            where="--out",
            fix="choose one of them",
        )
    check_writable(path)
    check_apart(path, *read)


def check_folder(folder: Path, *read: Path, more: Sequence[str] = ()) -> None:
    """Refuse a folder for a backtest's files in which they would replace what no backtest has written; ``more``: the files of
    the demo beside those, which only the demo's own may stand for."""
    from openbook.files import check_apart, check_writable, is_there

    check_writable(folder / "run.json")
    for name in WRITTEN:
        check_apart(folder / name, *read)
        if is_there(folder / name):
            check_writable(folder / name)
    there, beside = ([name for name in names if is_there(folder / name)] for names in (WRITTEN, more))
    whose, model = "demo" if beside else "backtest", all(is_there(folder / name) for name in _MODEL)
    if model or ((there or beside) and not _is_ours(folder, whose)):
        raise UsageError(
            "would_overwrite",
            expected=f"a folder that is new, that of an earlier {whose}, or one without files of these names",
            got="a saved model" if model else f"{', '.join([*beside, *there])} in it, but no run.json of a {whose}",
            where=f"--out {folder}",
            fix="choose another folder" if model else "choose another folder, or move away what is there",
        )


def _is_ours(folder: Path, whose: str) -> bool:
    """Whether a folder's last backtest was ours: that of the ``demo``, or any (``backtest``)."""
    import json

    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(run, dict) or not {"schema", "openbook"} <= set(run):
        return False
    return whose != "demo" or str(run.get("command", "")).startswith("openbook demo")


def check_explain_out(path: Path, *read: Path | None, view: str, average: bool) -> None:
    """``check_out`` for tables and pictures: pictures need a package, and tables have no view and no average."""
    from openbook.plots.images import FIGURES, PICTURES, check_pictures

    check_out(path, (*TABLES, *FIGURES), *read)
    if path.suffix in PICTURES:
        check_pictures()
    if (average or view != "weights") and path.suffix not in FIGURES:
        raise UsageError(
            "not_a_picture",
            expected=f"a picture ({', '.join(FIGURES)}) for --view and --average",
            got=repr(path.name),
            where="--out",
            fix="choose one of these suffixes; a table holds every forecast anyway",
        )
