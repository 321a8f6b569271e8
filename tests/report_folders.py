"""Makes small backtest folders for the tests of the report, and says whether there is a browser to open pages in."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

CHROMIUM = os.environ.get("OPENBOOK_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
BROWSER = [  # marks of tests that open the page
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the path; set OPENBOOK_CHROMIUM"),
]
NASTY_IDS = ["</script><script>alert(1)</script>", "\"'<b>{{7*7}}", "서울 콜센터 🙂\u2028&amp;"]
NASTY_FEATURES = ["calls", "<img src=x onerror=alert(2)>", "온도 🌡", "holiday"]
FLOORS = ["ridge", "seasonal_naive"]
NETWORKS = ["openbook", "bahdanau"]
ERRORS = {"openbook": 7.0, "ridge": 8.5, "bahdanau": 10.0, "seasonal_naive": 13.0}


def write_folder(
    folder: Path,
    *,
    ids: list[str],
    features: list[str],
    n_windows: int = 3,
    h: int = 24,
    past: int = 72,
    timezone: str | None = None,
    run: dict[str, object] | None = None,
) -> Path:
    """A backtest folder with daily and weekly cycles, made-up forecasts and weights that sum to one."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    forecasts = _forecasts(rng, ids, n_windows, h, timezone)
    forecasts.to_parquet(folder / "forecasts.parquet")
    _explanation(rng, forecasts, features, past).to_parquet(folder / "explanation.parquet")
    _scores(forecasts, []).sort_values("mase").to_csv(folder / "scores.csv", index=False)
    _scores(forecasts, ["unique_id"]).to_csv(folder / "scores_by_series.csv", index=False)
    steps = forecasts.assign(step=forecasts.groupby(["unique_id", "cutoff"]).cumcount() + 1)
    _scores(steps, ["step"]).to_csv(folder / "scores_by_step.csv", index=False)
    (folder / "run.json").write_text(json.dumps(RUN if run is None else run), encoding="utf-8")
    return folder


def write_stages(folder: Path, model: str, past: int = 12, read: int = 4) -> None:
    """Two stages for every explained forecast of ``model``; the first input always takes the most, the newest place too."""
    rng = np.random.default_rng(3)
    explanation = pd.read_parquet(folder / "explanation.parquet")
    features = list(dict.fromkeys(explanation["feature"].astype(str)))
    features = [name for name in features if name != "(all inputs)"]
    parts = []
    for (name, cutoff), window in explanation[explanation["model"] == model].groupby(["unique_id", "cutoff"]):
        sources = np.sort(window["source_ds"].unique())[-past:]
        steps = np.arange(1 - read, window["step"].max() + 1)
        for stage, rows, columns in (("inputs", len(sources), len(features)), ("times", len(steps), len(sources))):
            lean = np.linspace(2, 0, columns) if stage == "inputs" else np.linspace(0, 2, columns)
            weight = np.exp(lean + rng.normal(0, 0.1, (rows, columns)))
            weight /= weight.sum(1, keepdims=True)
            row, column = np.indices(weight.shape).reshape(2, -1)
            inputs = stage == "inputs"
            part = {"model": model, "unique_id": name, "cutoff": cutoff, "stage": stage}
            part |= {"step": 0 if inputs else steps[row], "source_ds": sources[row if inputs else column]}
            part |= {"feature": np.array(features, object)[column] if inputs else "", "weight": weight.ravel()}
            parts.append(pd.DataFrame(part))
    pd.concat(parts, ignore_index=True).to_parquet(folder / "stages.parquet")


def _forecasts(rng: np.random.Generator, ids: list[str], n_windows: int, h: int, timezone: str | None) -> pd.DataFrame:
    parts = []
    for order, name in enumerate(ids):
        ds = pd.Series(pd.date_range("2025-05-12", periods=n_windows * h, freq="h", tz=timezone))
        hour = np.arange(n_windows * h) % 24
        shape = 60 * np.exp(-((hour - 11) ** 2) / 18) + 35 * np.exp(-((hour - 20) ** 2) / 10)
        y = 20 + (1 + 0.4 * order) * shape + rng.normal(0, 4, len(ds))
        part = pd.DataFrame({"unique_id": name, "ds": ds, "y": y})
        part["cutoff"] = ds.iloc[np.repeat(np.arange(0, len(ds), h), h)].array
        part["cutoff"] -= pd.Timedelta(hours=1)
        for model, size in ERRORS.items():
            part[model] = y + rng.normal(0, size, len(ds))
            part[f"{model}-lo-80"], part[f"{model}-hi-80"] = part[model] - 1.28 * size, part[model] + 1.28 * size
        part.loc[5:6, "y"] = np.nan
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _explanation(rng: np.random.Generator, forecasts: pd.DataFrame, features: list[str], past: int) -> pd.DataFrame:
    parts = []
    for (name, cutoff), window in forecasts.groupby(["unique_id", "cutoff"]):
        sources = pd.date_range(end=cutoff, periods=past, freq="h")
        for model in NETWORKS:
            names = features if model == "openbook" else ["(all inputs)"]
            weight = _weights(rng, len(window), past, len(names))
            cells = np.indices(weight.shape).reshape(3, -1)
            parts.append(
                pd.DataFrame(
                    {
                        "model": model,
                        "unique_id": name,
                        "cutoff": cutoff,
                        "step": cells[0] + 1,
                        "ds": window["ds"].array[cells[0]],
                        "source_ds": sources[cells[1]],
                        "feature": np.array(names, dtype=object)[cells[2]],
                        "weight": weight.ravel(),
                        "memory": 0.25 if model == "openbook" else 0.0,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _weights(rng: np.random.Generator, h: int, past: int, count: int) -> np.ndarray:
    """Softmax over the grid: high at whole days back, higher for newer stamps and for the first input."""
    back = past + np.arange(h)[:, None] - np.arange(past)[None, :]
    score = 2.6 * np.exp(-((back % 24 - 24 * (back % 24 > 12)) ** 2) / 4.0) - back / 60
    grid = score[:, :, None] + np.linspace(1.2, -0.8, count) + rng.normal(0, 0.25, (h, past, count))
    weight = np.exp(grid)
    return weight / weight.sum((1, 2), keepdims=True)


def _scores(forecasts: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    rows = []
    for group, part in forecasts.groupby(keys) if keys else [((), forecasts)]:
        for model in ERRORS:
            miss, y = (part[model] - part["y"]).dropna(), part["y"].dropna()
            inside = part["y"].between(part[f"{model}-lo-80"], part[f"{model}-hi-80"])[part["y"].notna()]
            rows.append(
                {
                    **dict(zip(keys, group, strict=True)),
                    "model": model,
                    "mae": miss.abs().mean(),
                    "rmse": (miss**2).mean() ** 0.5,
                    "mase": miss.abs().mean() / 11.3,
                    "wape": miss.abs().sum() / y.abs().sum(),
                    "smape": (miss.abs() / (part[model].abs() + part["y"].abs())).mean(),
                    "pinball": miss.abs().mean() * 0.38,
                    "coverage_80": inside.mean(),
                    "seconds_fit": 0.2 if model in FLOORS else 41.3,
                    "seconds_predict": 0.1,
                }
            )
    empty = [{"model": "auto_ets"}] if not keys else []
    return pd.DataFrame([*rows, *empty])


RUN: dict[str, object] = {
    "schema": 1,
    "openbook": "0.1.0",
    "arguments": {
        "data": "calls.csv",
        "h": 24,
        "n_windows": 3,
        "step_size": 24,
        "models": ["openbook", "bahdanau", "ridge", "seasonal_naive", "auto_ets"],
        "level": [80],
        "seed": 1,
    },
    "freq": "h",
    "season": 24,
    "target": "calls",
    "data": {
        "name": "calls.csv",
        "rows": 26280,
        "series": 3,
        "start": "2024-05-15 00:00",
        "end": "2025-05-14 23:00",
        "simulated": True,
        "notes": ["6 stamps were missing and are masked."],
    },
    "decisions": {
        "openbook": {
            "input_size": {"value": 336, "why": "two weeks; longer windows did not lower the validation error"},
            "scaling": {"value": "instance", "why": "validation MASE 0.71 against 0.78 without scaling"},
            "mixing": {"value": False, "why": "reading the other series' inputs did not help on validation windows"},
        },
        "bahdanau": {"input_size": {"value": 72, "why": "three seasons"}},
    },
    "failed": {"auto_ets": "the package statsforecast is not installed; pip install openbook[stats]"},
    "warnings": ["Series 2 is short: 40 days of training before the first origin."],
    "floors": ["ridge", "seasonal_naive", "auto_ets"],
    "machine": {"cpu": "x86_64, 2 cores", "device": "cpu", "memory": "8 GB"},
    "versions": {"python": "3.12.3", "torch": "2.9.0", "numpy": "2.4.1", "pandas": "2.3.3"},
    "seconds": 312.4,
}
