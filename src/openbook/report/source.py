"""Reading a backtest folder: the files as frames, the models in order of their score, nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from openbook.errors import DataError
from openbook.files import is_file
from openbook.plots.colors import KNOWN_FLOORS

METRICS = (
    "mae",
    "rmse",
    "mase",
    "wape",
    "smape",
    "pinball",
    "coverage_80",
    "seconds_fit",
    "seconds_predict",
)
_KEYS = ["model", "unique_id", "cutoff"]
T = TypeVar("T")


@dataclass(frozen=True)
class Backtest:
    """The files of one backtest: scores (best first), forecasts with text ids, run facts, the paths of the weights.

    ``ranked`` names the models with a score, best first; ``metric`` is the one they are ranked by (``mase``, or ``mae``
    where no series has a MASE); ``floors`` are those of them that are simple methods.
    """

    scores: pd.DataFrame
    by_series: pd.DataFrame
    by_step: pd.DataFrame
    forecasts: pd.DataFrame
    history: pd.DataFrame
    run: dict[str, Any]
    explanation: Path | None
    metric: str
    stages: Path | None = None

    @property
    def ranked(self) -> list[str]:
        known = self.scores[self.scores[self.metric].notna()]
        return list(known["model"])

    @property
    def drawn(self) -> list[str]:
        """Ranked models that have a column of forecasts."""
        return [model for model in self.ranked if model in self.forecasts.columns]

    @property
    def unit_metric(self) -> str:
        """What errors are told in: ``mae``, or ``mase`` where series of several targets have no unit in common."""
        targets = self.run.get("targets")
        return "mase" if isinstance(targets, list) and len(targets) > 1 and self.metric == "mase" else "mae"

    @property
    def floors(self) -> set[str]:
        named = self.run.get("floors")
        return set(map(str, named)) if isinstance(named, list) else set(KNOWN_FLOORS) & set(self.scores["model"])

    def inputs(self, model: str) -> dict[str, Any]:
        """Names of the inputs a model was given, by role; empty where they are not told."""
        return mapping(mapping(self.run.get("inputs_by_model")).get(model, self.run.get("inputs")))

    def decided(self, model: str) -> dict[str, Any]:
        """What a model decided, by name; empty where it is not told."""
        told = mapping(mapping(self.run.get("decisions")).get(model))
        return {name: mapping(decision).get("value") for name, decision in told.items()}

    def score(self, model: str, metric: str) -> float:
        """One number of the score table, NaN where it is missing."""
        values = self.scores.loc[self.scores["model"] == model, metric]
        return float(values.iloc[0]) if len(values) else float("nan")


def read_backtest(folder: Path) -> Backtest:
    """Read the files of a backtest folder.

    ``scores.csv`` and ``forecasts.parquet`` must be there; everything else may be missing or empty.
    Raises ``DataError`` where the folder is not one of a backtest.
    """
    folder = Path(folder)
    scores = _scores(_required(folder, "scores.csv"))
    metric = "mase" if scores["mase"].notna().any() else "mae"
    scores = scores.sort_values(metric, kind="stable", na_position="last").reset_index(drop=True)
    explanation, stages = folder / "explanation.parquet", folder / "stages.parquet"
    return Backtest(
        scores=scores,
        by_series=_optional_table(folder / "scores_by_series.csv", "unique_id"),
        by_step=_optional_table(folder / "scores_by_step.csv", "step"),
        forecasts=_forecasts(_required(folder, "forecasts.parquet")),
        history=_history(folder / "history.parquet"),
        run=_run(folder / "run.json"),
        explanation=explanation if is_file(explanation) else None,
        metric=metric,
        stages=stages if is_file(stages) else None,
    )


def oldest_source(backtest: Backtest) -> Any | None:
    """The oldest stamp that any explained forecast could look at, from the file's statistics; None where it is not told."""
    if backtest.explanation is None:
        return None
    import pyarrow.parquet as pq

    path = backtest.explanation
    facts = _whole(path, lambda: pq.ParquetFile(path).metadata)
    groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    told = [column.statistics for column in columns if column.path_in_schema == "source_ds"]
    return min((each.min for each in told if each is not None and each.has_min_max), default=None)


def explained_pairs(backtest: Backtest) -> pd.DataFrame:
    """The distinct (model, unique_id, cutoff) of the explanation, read batch by batch so that no large file fills memory."""
    if backtest.explanation is None:
        return pd.DataFrame(columns=_KEYS)
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = backtest.explanation
    file = _whole(path, lambda: pq.ParquetFile(path))
    if not set(_KEYS) <= set(file.schema_arrow.names):
        return pd.DataFrame(columns=_KEYS)
    parts = [
        pa.Table.from_batches([batch]).group_by(_KEYS).aggregate([]).to_pandas()
        for batch in file.iter_batches(columns=_KEYS, batch_size=1 << 18)
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame(columns=_KEYS)
    return pd.concat(parts).drop_duplicates().sort_values(_KEYS, key=_sortable).reset_index(drop=True)


def read_weights(backtest: Backtest, unique_id: Any, cutoff: Any) -> pd.DataFrame:
    """The explanation of one series and origin, all models."""
    import pyarrow.parquet as pq

    filters = [("unique_id", "==", unique_id), ("cutoff", "==", cutoff)]
    return pq.read_table(backtest.explanation, filters=filters).to_pandas()


def summed_weights(path: Path, keys: Sequence[str]) -> pd.DataFrame:
    """Weights of a file added up by ``keys``, memory taken off, read batch by batch; empty where a column is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = _whole(path, lambda: pq.ParquetFile(path))
    known = file.schema_arrow.names
    empty = pd.DataFrame(columns=[*keys, "weight"])
    if not {*keys, "weight"} <= set(known):
        return empty
    columns = [*keys, "weight", *({"memory"} & set(known))]
    parts = []
    for batch in file.iter_batches(columns=columns, batch_size=1 << 18):
        table = pa.Table.from_batches([batch])
        weight = pc.cast(table["weight"], pa.float64())
        if "memory" in columns:
            weight = pc.multiply(weight, pc.subtract(1.0, pc.fill_null(pc.cast(table["memory"], pa.float64()), 0.0)))
        table = table.select(list(keys)).append_column("weight", weight)
        part = table.group_by(list(keys)).aggregate([("weight", "sum")]).to_pandas()
        parts.append(part.rename(columns={"weight_sum": "weight"}))
    if not any(map(len, parts)):
        return empty
    texts = [key for key in keys if key in ("model", "unique_id", "feature", "stage")]
    whole = pd.concat([part.astype(dict.fromkeys(texts, str)) for part in parts], ignore_index=True)
    return whole.groupby(list(keys), sort=False, as_index=False)["weight"].sum()


def target_name(run: dict[str, Any]) -> str:
    """What the table calls its target; explanations call it y."""
    return str(run.get("target") or "y")


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is a mapping, else an empty one: run facts may lack any key."""
    return value if isinstance(value, dict) else {}


def clean_text(value: Any) -> Any:
    """The value with every text in it encodable: lone surrogates become question marks."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_text(item) for item in value]
    return value


def _sortable(column: pd.Series) -> pd.Series:
    return column.astype(str) if column.dtype == object else column


def _required(folder: Path, name: str) -> Path:
    path = folder / name
    if not is_file(path):
        raise DataError(
            "not_a_backtest",
            expected="a folder written by a backtest",
            got=f"no {name}",
            where=str(folder),
            fix="name the folder that `openbook backtest --out` wrote",
        )
    return path


def _whole(path: Path, read: Callable[[], T]) -> T:
    """What ``read`` finds in a file; a file that was cut short or changed is refused."""
    import pyarrow as pa

    try:
        return read()
    except (FileNotFoundError, pd.errors.EmptyDataError):
        raise
    except (pa.ArrowException, OSError, ValueError) as error:  # Arrow tells damage by several kinds
        raise DataError(
            "damaged_file",
            expected="a whole file of a backtest",
            got=str(error).split("\n")[0][:120] or type(error).__name__,
            where=str(path),
            fix="run the backtest again",
        ) from error


def _table(path: Path, texts: Sequence[str]) -> pd.DataFrame:
    """A CSV whose ids stay text ('NA' and '007' too) and whose other columns are numbers."""
    try:
        frame = _whole(path, lambda: pd.read_csv(path, dtype=str, keep_default_na=False))
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    for column in texts:
        frame[column] = frame.get(column, pd.Series(dtype=str))
    for column in frame.columns.difference(list(texts)):
        numbers = pd.to_numeric(frame[column], errors="coerce").astype(float)
        frame[column] = numbers.where(np.isfinite(numbers))
    for metric in METRICS:
        if metric not in frame:
            frame[metric] = np.nan
    return frame


def _scores(path: Path) -> pd.DataFrame:
    return _table(path, ["model"])


def _optional_table(path: Path, key: str) -> pd.DataFrame:
    texts = ["model", "unique_id"] if key == "unique_id" else ["model"]
    frame = _table(path, texts) if is_file(path) else pd.DataFrame(columns=[key, "model", *METRICS])
    return frame if key in frame else frame.assign(**{key: np.nan})


def _forecasts(path: Path) -> pd.DataFrame:
    frame = _whole(path, lambda: pd.read_parquet(path))
    absent = [column for column in ("unique_id", "ds", "cutoff", "y") if column not in frame]
    if absent:
        raise DataError(
            "missing_columns",
            expected="columns unique_id, ds, cutoff, y and one per model",
            got=f"no {', '.join(absent)}",
            where=str(path),
            fix="run the backtest again",
        )
    return frame.assign(unique_id=frame["unique_id"].astype(str)).sort_values(
        ["unique_id", "cutoff", "ds"], ignore_index=True
    )


def _history(path: Path) -> pd.DataFrame:
    """Optional actuals from before the test stretch, columns unique_id, ds, y."""
    if not is_file(path):
        return pd.DataFrame({"unique_id": [], "ds": [], "y": []})
    frame = _whole(path, lambda: pd.read_parquet(path, columns=["unique_id", "ds", "y"]))
    return frame.assign(unique_id=frame["unique_id"].astype(str))


def _run(path: Path) -> dict[str, Any]:
    if not is_file(path):
        return {}
    facts = _whole(path, lambda: json.loads(path.read_text(encoding="utf-8")))
    return clean_text(facts) if isinstance(facts, dict) else {}
