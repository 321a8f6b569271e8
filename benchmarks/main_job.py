"""The main job on real data and on the built-in calls: ``python -m benchmarks.main_job [--case NAME] [--seed N] [--force]``.

Results that exist are kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.record import DATA, RESULTS, THREADS, write_result

BACKTESTS = {
    "vic_elec": "vic_elec.parquet --target-col Demand --futr-exog Temperature,Holiday --h 48 --n-windows 56 --step-size 48"
    " --models openbook,luong,bahdanau,seasonal_naive,ridge",
    "bike_hour": "bike_hour.parquet --target-col cnt --futr-exog holiday,workingday"
    " --hist-exog temp,atemp,hum,windspeed,weathersit --h 24 --n-windows 90 --models openbook,luong,seasonal_naive,ridge",
    "epf_np": "epf.parquet --only NP --futr-exog exog1,exog2 --h 24 --n-windows 728"
    " --models openbook,luong,seasonal_naive,ridge",
}


def command(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``openbook`` in a process of its own with the benchmark's threads."""
    threads = {"OMP_NUM_THREADS": str(THREADS), "MKL_NUM_THREADS": str(THREADS)}
    whole = [sys.executable, "-m", "openbook", *arguments]
    return subprocess.run(whole, capture_output=True, text=True, check=True, env=os.environ | threads)


def backtest(name: str, seed: int) -> dict[str, Any]:
    """One backtest through the command line, with the wall time of the whole command."""
    arguments = shlex.split(BACKTESTS[name])
    if not (DATA / arguments[0]).is_file():
        return {"skipped": f"no {arguments[0]} in the data folder"}
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        told = ["backtest", str(DATA / arguments[0]), *arguments[1:], "--seed", str(seed), "--out", out, "--json"]
        document = json.loads(command(told).stdout)
        seconds = time.perf_counter() - begin
        forecasts = pd.read_parquet(Path(out) / "forecasts.parquet").dropna(subset=["y"])
        models = [row["model"] for row in document["scores"]]
    return {
        "command": f"openbook backtest ../shared/data/{BACKTESTS[name]} --seed {seed}",
        "seed": seed,
        "seconds": round(seconds, 1),
        "scores": document["scores"],
        "coverage": {model: {level: covered(forecasts, model, level) for level in (80, 95)} for model in models},
        "warnings": document["warnings"],
    }


def covered(forecasts: pd.DataFrame, model: str, level: int) -> float:
    """Share of the truth inside a model's band."""
    low, high = forecasts[f"{model}-lo-{level}"], forecasts[f"{model}-hi-{level}"]
    return round(float(forecasts["y"].between(low, high).mean()), 4)


def planted_lag(seed: int) -> dict[str, Any]:
    """Where ``luong`` looks in the built-in calls: is the campaign's planted cell first outside daily and weekly lags?"""
    import openbook as ob
    from openbook.forecast.origins import Origins, rolling_origins

    frame, truth = ob.simulate_calls(seed=seed)
    model = ob.Forecaster(24, model="luong", futr_exog_list=["holiday", "temperature"], seed=seed)
    model.fit(frame[frame.groupby("unique_id").cumcount(ascending=False) >= 14 * 24])
    panel = model.panel_like_history(frame)
    windows = rolling_origins(panel, 24, 56, 24)
    explanation = model.explain_origins(panel, Origins(*(np.concatenate(part) for part in zip(*windows, strict=True))))
    cells = explanation.by_lag().sort_values("weight", ascending=False)
    rhythm = cells["lag"] % truth.daily_lag == 0
    shares = explanation.by_feature()
    return {
        "command": f"python -m benchmarks.main_job --case planted_lag --seed {seed}",
        "seed": seed,
        "planted": {"feature": "mailing", "lag": truth.campaign_lag},
        "first_outside_rhythm": cells[~rhythm].head(6).to_dict("records"),
        "first_of_all": cells.head(10).to_dict("records"),
        "shares": {str(name): round(float(share), 4) for name, share in shares.items()},
    }


def start_up(seed: int) -> dict[str, Any]:
    """Seconds that ``import openbook`` adds to torch and pandas, and seconds of ``openbook --help``; medians of 7."""

    def timed(arguments: list[str]) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        return time.perf_counter() - begin

    base = ["-c", "import torch, pandas"]
    ours = ["-c", "import torch, pandas, openbook; openbook.Forecaster; openbook.read_table; openbook.Floor"]
    rounds = [(timed(base), timed(ours), timed(["-m", "openbook", "--help"])) for _ in range(8)][1:]
    return {
        "command": "python -m benchmarks.main_job --case start_up",
        "import_adds_s": round(median(b - a for a, b, _ in rounds), 3),
        "help_s": round(median(c for _, _, c in rounds), 3),
        "torch_and_pandas_s": round(median(a for a, _, _ in rounds), 3),
    }


def gathering(seed: int) -> dict[str, Any]:
    """Share of a training step spent on gathering its windows: one long series and 10,000 short ones."""
    import torch

    from openbook.data.panel import Panel
    from openbook.models.base import ModelShape
    from openbook.models.registry import build_model, make_config
    from openbook.training.losses import loss_value
    from openbook.windows.sampler import Layout, WindowShape, gather, input_scaler, make_resident

    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(seed)
    shares = {}
    for name, count, length in (("one series of 1,000,000", 1, 1_000_000), ("10,000 series of 1,000", 10_000, 1_000)):
        rows = count * length
        offsets = np.arange(count + 1, dtype=np.int64) * length
        values = rng.normal(size=rows)
        panel = Panel(
            np.arange(count), offsets, np.tile(np.arange(length), count), values, values[:, None], values[:, None], 1
        )
        layout, windows = Layout("y", ("a",), ("b",), ()), WindowShape(200, 24)
        shape = ModelShape(3, layout.n_encoder, layout.n_decoder, 200, 24, (0.1, 0.5, 0.9))
        resident = make_resident(panel, layout, input_scaler(panel, "standard"))
        model = build_model(make_config("luong"), shape, seed)
        optimiser = torch.optim.AdamW(model.parameters(), fused=True)
        taken: list[tuple[float, float]] = []
        for _ in range(14):
            series = torch.from_numpy(rng.integers(0, count, 256))
            end = series * length + torch.from_numpy(rng.integers(200, length - 24, 256))
            begin = time.perf_counter()
            batch = gather(resident, series, end, windows)
            gathered = time.perf_counter()
            output = model(batch)
            seen = (batch.target_BHM, batch.target_observed_BHM)
            torch.autograd.backward(loss_value(output.quantile_BHMQ, *seen, quantiles=shape.quantiles))
            optimiser.step()
            optimiser.zero_grad()
            taken.append((gathered - begin, time.perf_counter() - begin))
        shares[name] = round(median(a / b for a, b in taken[4:]), 4)
    return {"command": "python -m benchmarks.main_job --case gathering", "share_of_step": shares}


def many_series(seed: int) -> dict[str, Any]:
    """Fit and forecast 10,000 series of 100 points with the defaults; seconds and peak memory of this process."""
    import torch

    import openbook as ob

    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(seed)
    step = np.tile(np.arange(100), 10_000)
    level = np.repeat(rng.lognormal(3, 1, 10_000), 100)
    values = level * (1 + 0.3 * np.sin(2 * np.pi * step / 7) + 0.1 * rng.normal(size=len(step)))
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(10_000), 100), "ds": step, "y": values})
    frame["ds"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["ds"], unit="D")
    begin = time.perf_counter()
    model = ob.Forecaster(14, model="luong", seed=seed).fit(frame)
    fitted = time.perf_counter()
    rows = len(model.predict(level=[80]))
    return {
        "command": "python -m benchmarks.main_job --case many_series",
        "seconds_fit": round(fitted - begin, 1),
        "seconds_predict": round(time.perf_counter() - fitted, 1),
        "rows": rows,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def demo(seed: int) -> dict[str, Any]:
    """The whole of ``openbook demo``, wall time and scores."""
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        command(["demo", "--out", out, "--seed", str(seed), "--quiet"])
        seconds = time.perf_counter() - begin
        scores = pd.read_csv(Path(out) / "scores.csv")
    records = json.loads(scores.to_json(orient="records"))
    return {"command": f"openbook demo --seed {seed}", "seed": seed, "seconds": round(seconds, 1), "scores": records}


CASES: dict[str, Callable[[int], dict[str, Any]]] = {
    "start_up": start_up,
    "gathering": gathering,
    "demo": demo,
    "planted_lag": planted_lag,
    "many_series": many_series,
    **{name: lambda seed, name=name: backtest(name, seed) for name in BACKTESTS},
}


def main() -> None:
    """Run the asked cases that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="measure again what has a result")
    asked, failed = parser.parse_args(), False
    for name in asked.case or CASES:
        key = f"{name}-{asked.seed}"
        if (RESULTS / f"{key}.json").exists() and not asked.force:
            print(f"{key}: kept")
            continue
        if len(asked.case or CASES) > 1:  # a process each, so that memory and caches are its own
            again = ["--case", name, "--seed", str(asked.seed), *(["--force"] if asked.force else [])]
            failed |= subprocess.run([sys.executable, "-m", "benchmarks.main_job", *again], check=False).returncode != 0
            continue
        result = CASES[name](asked.seed)
        if "skipped" in result:
            print(f"{key}: skipped, {result['skipped']}")
            continue
        write_result(key, result)
        print(f"{key}: done")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
