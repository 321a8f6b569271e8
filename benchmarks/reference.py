"""The models of the reference work on the protocols of their papers: ``python -m benchmarks.reference [--case NAME]``.

Every setting is chosen by its validation loss, seed by seed; the test part is read once, for the chosen one. Results that
exist are kept, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.one_step import Task, ridge, run_model, truth
from benchmarks.record import DATA, RESULTS, THREADS, write_result
from benchmarks.speed import as_the_command_line, in_turn, make_batch, ours
from openbook.models.darnn import DarnnConfig
from openbook.models.day_to_day import DayToDayConfig
from openbook.models.seq2seq import LuongConfig
from openbook.training.loop import TrainConfig

SEEDS = (1, 2, 3)
# The same four settings for every data set: how much the model is held back.
SETTINGS: dict[str, tuple[DarnnConfig, TrainConfig]] = {
    "free": (DarnnConfig(dropout=0.1, input_dropout=0), TrainConfig(learning_rate=1e-3)),
    "held": (DarnnConfig(dropout=0.3, input_dropout=0), TrainConfig(learning_rate=5e-4)),
    "decayed": (DarnnConfig(dropout=0.2, input_dropout=0), TrainConfig(learning_rate=1e-3, weight_decay=0.1)),
    "thinned": (DarnnConfig(dropout=0.1), TrainConfig(learning_rate=1e-3)),
}
GAPS = (1, 7, 28, 63)


def rmse(error: np.ndarray) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(error**2)))


def sml2010(nowcast: bool) -> Task:
    """Room temperature from a house's sensors; two recordings, 3200/400/537 rows in their order."""
    frame = pd.read_parquet(DATA / "sml2010.parquet").rename(columns={"Temperature_Comedor_Sensor": "y"})
    frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
    return Task(frame, (3200, 3600), nowcast)


def nasdaq100(nowcast: bool) -> Task:
    """The index from its shares, minute by minute, 80/10/10 in time order."""
    frame = pd.read_parquet(DATA / "nasdaq100_head.parquet").rename(columns={"NDX": "y"})
    frame.insert(0, "unique_id", "NDX")
    frame["ds"] = np.arange(len(frame))
    return Task(frame, (int(0.8 * len(frame)), int(0.9 * len(frame))), nowcast, freq=1)


def beijing_pm25(nowcast: bool) -> Task:
    """Fine dust an hour ahead from weather and its own past, 60/20/20."""
    frame = pd.read_parquet(DATA / "beijing_pm25.parquet").rename(columns={"pm2.5": "y"})
    frame.insert(0, "unique_id", "Beijing")
    return Task(frame, (int(0.6 * len(frame)), int(0.8 * len(frame))), nowcast)


def one_step(make: Callable[[bool], Task], nowcast: bool, train: dict[str, Any], seed: int) -> dict[str, Any]:
    """The chosen ``darnn`` beside ridge and persistence; absolute errors are trained, differences are told."""
    task, begin = make(nowcast), time.perf_counter()
    known, tried = truth(task), {}
    for name, (config, settings) in SETTINGS.items():
        asked = replace(config, protocol="nowcast" if nowcast else "forecast")
        how = replace(settings, loss="mae", focus=0.0, **train)
        tried[name] = run_model(task, asked, seed=seed, train=how)
    chosen = min(tried, key=lambda name: tried[name].best_loss)
    forecasts = {"darnn": tried[chosen].test, "ridge": ridge(task), "naive": known["naive"]}
    scores = [
        {"model": model, "rmse": rmse(told - known["test"]), "mae": float(np.abs(told - known["test"]).mean())}
        for model, told in forecasts.items()
    ]
    return {
        "scores": scores,
        "chosen": chosen,
        "validation_loss": {name: round(found.best_loss, 5) for name, found in tried.items()},
        "test_rows": len(known["test"]),
        "inputs": len(task.inputs),
        "seconds": round(time.perf_counter() - begin, 1),
    }


def appliances(seed: int) -> dict[str, Any]:
    """Which inputs of a house's energy count, two of which are pure noise; six steps ahead beside ridge."""
    import openbook as ob
    from openbook.evaluation.metrics import score_frame, seasonal_scale
    from openbook.forecast.origins import Origins, rolling_origins
    from openbook.forecast.rolling import roll

    begin = time.perf_counter()
    frame = pd.read_parquet(DATA / "appliances_energy.parquet").rename(columns={"Appliances": "y"})
    frame.insert(0, "unique_id", "house")
    n_windows = len(frame) // 5 // 6
    model = ob.Forecaster(6, model="darnn", input_size=24, seed=seed)
    model.name = "darnn"
    model.inputs = model.resolve_inputs(frame)
    panel = model.panel_like_history(frame)
    floors = {name: ob.Floor(name, 6) for name in ("ridge", "seasonal_naive")}
    rolled = {"darnn": roll(model, panel, n_windows=n_windows, step_size=6).frame}
    rolled |= {name: roll(floor, panel, n_windows=n_windows, step_size=6).frame for name, floor in floors.items()}
    joined = rolled["darnn"].assign(**{name: rolled[name][name].to_numpy() for name in floors})
    cut = len(panel.times) - 6 * n_windows
    scale = seasonal_scale(panel.until(np.array([cut])), 144)
    scores = score_frame(joined, models=list(rolled), scale=scale)
    windows = rolling_origins(panel, 6, n_windows, 6)[:: max(1, n_windows // 200)]
    book = model.explain_origins(panel, Origins(*(np.concatenate(part) for part in zip(*windows, strict=True))))
    assert book.alpha_WTF is not None
    alpha = pd.Series(np.median(book.alpha_WTF.mean(1), axis=0), index=book.features).sort_values()
    rank = {name: int(alpha.index.get_loc(name)) + 1 for name in ("rv1", "rv2")}
    return {
        "scores": json.loads(scores[["model", "mae", "rmse", "mase"]].to_json(orient="records")),
        "rank_from_below": rank,
        "inputs": len(alpha),
        "median_weight": {str(name): round(float(share), 4) for name, share in alpha.items()},
        "seconds": round(time.perf_counter() - begin, 1),
    }


def days(seed: int) -> dict[str, Any]:
    """Half-hourly demand a day ahead over the whole last year: all gaps together and each alone."""
    import openbook as ob

    begin = time.perf_counter()
    frame = pd.read_parquet(DATA / "vic_elec.parquet")
    known = ["Temperature", "Holiday"]
    scores = []
    for gaps in (GAPS, *((gap,) for gap in GAPS)):
        model = ob.Forecaster(48, model=DayToDayConfig(gaps=gaps), futr_exog_list=known, seed=seed)
        told = model.cross_validation(frame, n_windows=364, step_size=48, target_col="Demand")
        error = (told[model.name] - told["Demand"]).to_numpy()
        name = f"day_to_day gaps {', '.join(map(str, gaps))}"
        scores.append({"model": name, "rmse": rmse(error), "mae": float(np.abs(error).mean())})
    for floor in ("ridge", "seasonal_naive"):
        made = ob.Floor(floor, 48, **({"futr_exog_list": known} if floor == "ridge" else {}))
        told = made.cross_validation(frame, n_windows=364, step_size=48, target_col="Demand")
        error = (told[floor] - told["Demand"]).to_numpy()
        scores.append({"model": floor, "rmse": rmse(error), "mae": float(np.abs(error).mean())})
    return {"scores": scores, "seconds": round(time.perf_counter() - begin, 1)}


def step_time(seed: int) -> dict[str, Any]:
    """Training steps of ``darnn`` as multiples of ``luong``'s, timed as ``speed`` does; T 24, 13 features, D 128, B 128."""
    torch.set_num_threads(THREADS)
    configs = {
        "luong": LuongConfig(hidden_size=128),
        "luong, time only": LuongConfig(hidden_size=128, axis="time"),
        "two_pass": DarnnConfig(hidden_size=128),
        "recurrent": DarnnConfig(hidden_size=128, form="recurrent"),
    }
    found: dict[str, Any] = {}
    torch.set_flush_denormal(True)
    for H in (1, 24):
        batch, shape = make_batch(128, 24, H, 13, seed)
        middle = in_turn({name: ours(config, batch, shape, seed) for name, config in configs.items()}, 25)
        found[f"ms, H {H}"] = {name: round(1e3 * value, 1) for name, value in middle.items()}
        found[f"times luong, H {H}"] = {name: round(value / middle["luong"], 2) for name, value in middle.items()}
    torch.set_flush_denormal(False)
    return {"step": found}


_SHORT = {"max_steps": 1500, "patience": 6, "val_windows": 1000}
_LONG = {"max_steps": 2500, "patience": 4, "val_every": 200, "val_windows": 4000, "batch_size": 128}
CASES: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "darnn_step": ("", step_time),
    "sml2010_nowcast": ("sml2010", lambda seed: one_step(sml2010, True, _SHORT, seed)),
    "sml2010_forecast": ("sml2010", lambda seed: one_step(sml2010, False, _SHORT, seed)),
    "nasdaq100_nowcast": ("nasdaq100_head", lambda seed: one_step(nasdaq100, True, _SHORT, seed)),
    "nasdaq100_forecast": ("nasdaq100_head", lambda seed: one_step(nasdaq100, False, _SHORT, seed)),
    "beijing_pm25": ("beijing_pm25", lambda seed: one_step(beijing_pm25, False, _LONG, seed)),
    "appliances": ("appliances_energy", appliances),
    "vic_days": ("vic_elec", days),
}


def main() -> None:
    """Run the asked cases and seeds that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--force", action="store_true", help="measure again what has a result")
    asked = parser.parse_args()
    if asked.case == ["darnn_step"]:
        as_the_command_line("benchmarks.reference")
    torch.set_num_threads(THREADS)
    for name in asked.case or CASES:
        data, run = CASES[name]
        if data and not (DATA / f"{data}.parquet").is_file():
            print(f"{name}: skipped, no {data}.parquet in the data folder")
            continue
        for seed in asked.seed or (SEEDS if data else SEEDS[:1]):
            key = f"{name}-{seed}"
            if (RESULTS / f"{key}.json").exists() and not asked.force:
                print(f"{key}: kept")
                continue
            told = {"command": f"python -m benchmarks.reference --case {name} --seed {seed}", "seed": seed}
            write_result(key, told | run(seed))
            print(f"{key}: done", flush=True)


if __name__ == "__main__":
    main()
