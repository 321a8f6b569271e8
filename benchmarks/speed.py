"""How long the look-ups take: ``python -m benchmarks.speed [--case NAME]``. Everything of a case is timed in turn, in one run.

Ratios of medians are the result; the machine's speed drifts, and what is compared drifts with it. Compilation comes before,
and is reported apart.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.plain import BareLSTM, OwnBareLSTM, PlainBahdanau, PlainDarnn
from benchmarks.record import RESULTS, THREADS, write_result
from openbook.console import share_the_machine
from openbook.models.base import ModelShape
from openbook.models.darnn import DarnnConfig
from openbook.models.openbook import OpenBookConfig
from openbook.models.registry import build_model
from openbook.models.seq2seq import BahdanauConfig, LuongConfig
from openbook.nn import attention as layers
from openbook.ops.additive_attention import additive_attention, hoist, reference
from openbook.ops.joint_attention import reference as plain_joint
from openbook.windows.batch import Batch

Step = Callable[[], object]


def in_turn(steps: Mapping[str, Step], rounds: int, few: Mapping[str, int] | None = None) -> dict[str, float]:
    """Median seconds of each, one after the other, round by round; slow ones may take part in the first ``few`` rounds only
    (then their median is of these, that of the others of all).

    In its turn each is called twice and timed the second time, as steps of a training follow each other: else one pays for
    the memory and the caches of who came before it.
    """
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # compilation
    for number in range(rounds):
        for name, step in steps.items():
            if number < (few or {}).get(name, rounds):
                step()
                begin = time.perf_counter()
                step()
                taken[name].append(time.perf_counter() - begin)
    return {name: median(values) for name, values in taken.items()}


def table(seconds: Mapping[str, float], against: str) -> dict[str, Any]:
    """Milliseconds, and how many times the first's time each takes."""
    return {
        "ms": {name: round(1e3 * value, 3) for name, value in seconds.items()},
        f"times {against}": {name: round(value / seconds[against], 3) for name, value in seconds.items()},
    }


def make_batch(B: int, T: int, H: int, F: int, seed: int, K: int = 5) -> tuple[Batch, ModelShape]:
    """Random windows without gaps, and the shape of a model for them."""
    g = torch.Generator().manual_seed(seed)
    shape = ModelShape(F, F + K, K, T, H, (0.1, 0.5, 0.9))
    past, known = torch.randn(B, T, F + K, generator=g), torch.randn(B, H, K, generator=g)
    seen, ahead = torch.ones(B, T, F, dtype=torch.bool), torch.ones(B, H, K, dtype=torch.bool)
    target, one = torch.randn(B, H, 1, generator=g), torch.ones(B, 1)
    parts = past, seen[..., 0], seen, known, ahead, target, ahead[..., :1], one, one.double(), one.double()
    return Batch(*parts, -one[:, 0].long()), shape


def training_step(model: nn.Module, forward: Callable[[], Tensor]) -> Step:
    """Forward, backward and update."""
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        torch.autograd.backward(forward().abs().mean())
        optimiser.step()
        optimiser.zero_grad()

    return step


def ours(config: Any, batch: Batch, shape: ModelShape, seed: int) -> Step:
    """A training step of one of the package's models, where the windows are."""
    model = build_model(config, shape, seed).to(batch.encoder_BTX.device)
    return training_step(model, lambda: model(batch).quantile_BHMQ - batch.target_BHM[..., None])


def beside(kind: type[nn.Module], batch: Batch, size: int, readout: nn.Module | None = None) -> Step:
    """A training step of a model of ``plain`` on the same windows; from states to quantiles by a linear layer unless told."""
    past_BTX, readout = batch.encoder_BTX, readout or nn.Linear(size, 3)
    model = kind(past_BTX.shape[2], batch.decoder_BHK.shape[2], size, readout).to(past_BTX.device)
    return training_step(model, lambda: model(batch.encoder_BTX, batch.decoder_BHK).flatten(2) - batch.target_BHM)


def asked(call: Step, times: int = 10) -> Step:
    """The same call several times, as a decoder asks one book step after step."""

    def step() -> None:
        for _ in range(times):
            call()

    return step


def attention(seed: int) -> dict[str, Any]:
    """Ten look-ups in a row of one query per window, B 64, T 200, D 128, keys' exponentials hoisted; and of 24 at once."""
    g = torch.Generator().manual_seed(seed)
    key, value, score = torch.randn(64, 200, 128, generator=g), torch.randn(64, 200, 128, generator=g), torch.randn(128)
    powers, found = hoist(key), {}

    def dot(query: Tensor) -> Tensor:
        return torch.bmm(torch.bmm(query, key.transpose(1, 2)).softmax(-1), value)

    with torch.no_grad():
        for H in (1, 24):
            query = torch.randn(64, H, 128, generator=g)
            steps: dict[str, Step] = {
                "fused": lambda query=query: additive_attention(query, key, value, score, powers=powers),
                "fused, nothing hoisted": lambda query=query: additive_attention(query, key, value, score),
                "plain tanh": lambda query=query: reference.additive_attention(query, key, value, score),
                "dot": lambda query=query: dot(query),
            }
            timed = {name: asked(step) for name, step in steps.items()}
            found[f"{H} queries"] = table(in_turn(timed, 20, {"plain tanh": 20 if H == 1 else 3}), "fused")
    return found


def bahdanau(seed: int) -> dict[str, Any]:
    """A training step of Bahdanau, B 64, T 200, 200 decoder steps, D 128; all three with the same dense layers at the end."""
    batch, shape = make_batch(64, 200, 200, 1, seed)
    config = BahdanauConfig(hidden_size=128, attention_size=128)
    readout = build_model(config, shape, seed).readout
    steps = {
        "bahdanau": ours(config, batch, shape, seed),
        "bare LSTM": beside(BareLSTM, batch, 128, copy.deepcopy(readout)),
        "bare LSTM, linear readout": beside(BareLSTM, batch, 128),
        "plain loop": beside(PlainBahdanau, batch, 128, copy.deepcopy(readout)),
    }
    return table(in_turn(steps, 11, {"plain loop": 5}), "bahdanau")


def activations(forward: Step) -> int:
    """Bytes kept for the backward pass; what several operations keep counts once."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, nn.Parameter):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()  # alive while counting: an address is not used twice
    del output
    return sum(kept.values())


def darnn(seed: int) -> dict[str, Any]:
    """A training step of DA-RNN (recurrent), B 64, T 200, 13 features, D 128, one step ahead, and what it keeps in memory."""
    batch, shape = make_batch(64, 200, 1, 13, seed)
    config = DarnnConfig(form="recurrent", hidden_size=128, attention_size=128)
    model, plain = build_model(config, shape, seed), PlainDarnn(13, 200, 128)
    past_BTF = batch.encoder_BTX[..., :13]

    def forward() -> Tensor:
        return model(batch).quantile_BHMQ - batch.target_BHM[..., None]

    def plain_forward() -> Tensor:
        return plain(past_BTF, past_BTF[..., :1]) - batch.target_BHM[:, 0]

    steps = {
        "darnn": training_step(model, forward),
        "two_pass": ours(DarnnConfig(hidden_size=128, attention_size=128), batch, shape, seed),
        "plain loop": training_step(plain, plain_forward),
    }
    kept = {"darnn": activations(forward), "plain loop": activations(plain_forward)}
    return table(in_turn(steps, 7, {"plain loop": 3}), "darnn") | {
        "activations, MB": {name: round(size / 1e6, 1) for name, size in kept.items()},
        "activations, times darnn": {name: round(size / kept["darnn"], 1) for name, size in kept.items()},
    }


def luong(seed: int) -> dict[str, Any]:
    """A training step of Luong, H 24, B 64, D 128, one variable (the target): over time, and jointly as by default; beside
    torch's layer of LSTM without a look-up, and ours."""
    found = {}
    for T in (200, 1000):
        batch, shape = make_batch(64, T, 24, 1, seed)
        steps = {
            "bare LSTM": beside(BareLSTM, batch, 128),
            "bare LSTM, our layer": beside(OwnBareLSTM, batch, 128),
            "luong, time": ours(LuongConfig(hidden_size=128, axis="time"), batch, shape, seed),
            "luong, joint": ours(LuongConfig(hidden_size=128), batch, shape, seed),
        }
        found[f"T {T}"] = table(in_turn(steps, 15 if T == 200 else 7), "bare LSTM")
    return found


def joint(seed: int) -> dict[str, Any]:
    """A training step of Luong with a dozen inputs, T 168, H 24, B 64, D 64: jointly over time and 13 variables, by the kernel
    and by torch's products, and over time alone."""
    batch, shape = make_batch(64, 168, 24, 13, seed)
    step, plain = (ours(LuongConfig(), batch, shape, seed) for _ in range(2))

    def plainly() -> None:
        with patch.object(layers, "joint_attention", plain_joint.joint_attention):
            plain()

    steps: dict[str, Step] = {
        "joint": step,
        "joint, plain look-up": plainly,
        "time alone": ours(LuongConfig(axis="time"), batch, shape, seed),
        "bare LSTM": beside(BareLSTM, batch, 64),
    }
    return table(in_turn(steps, 15), "joint")


def length(seed: int) -> dict[str, Any]:
    """How a step's time grows with the book, H 24, B 16, D 64: the exponent of T from 200 to 5000."""
    configs: dict[str, Any] = {"luong": LuongConfig(), "bahdanau": BahdanauConfig(), **SEGMENTED}
    lengths, found = (200, 1000, 5000), {}
    for name, config in configs.items():
        steps = {}
        for T in lengths:
            batch, shape = make_batch(16, T, 24, 5, seed)
            steps[str(T)] = ours(config, batch, shape, seed)
        seconds = in_turn(steps, 7)
        exponent = math.log(seconds["5000"] / seconds["200"]) / math.log(25)
        found[name] = {"ms": {T: round(1e3 * value, 1) for T, value in seconds.items()}, "exponent": round(exponent, 3)}
    return found


def latency(seed: int) -> dict[str, Any]:
    """Milliseconds of one forecast of one window with its weights, T 200, H 24, 5 variables, on one core.

    ``openbook`` as it often is on hourly data: three members, a week as window, and 28 days of long book, in one scaling.
    """
    torch.set_num_threads(1)
    found = {}
    whole = OpenBookConfig(window=168, segment=6, book=28, mixing=True, cycle=False, n_models=3)
    for config, T in ((LuongConfig(), 200), (BahdanauConfig(), 200), (DarnnConfig(), 200), (whole, 29 * 24)):
        batch, shape = make_batch(1, T, 24, 5, seed)
        shape = replace(shape, season=24)
        model = build_model(config, shape, seed).eval()
        with torch.inference_mode():
            seconds = in_turn({"one": lambda model=model, batch=batch: model(batch).attention.normalised()}, 50)
        found[config.name] = round(1e3 * seconds["one"], 2)
    torch.set_num_threads(THREADS)
    return {"ms": found}


def compilation(seed: int) -> dict[str, Any]:
    """Seconds of the first training step of Luong, Bahdanau and DA-RNN in a fresh process, without a cache and with one."""
    script = (
        "import time\nfrom benchmarks import speed as s\nimport torch\ntorch.set_num_threads(1)\n"
        "batch, shape = s.make_batch(8, 200, 24, 3, 1)\nbegin = time.perf_counter()\n"
        "for config in (s.LuongConfig(), s.BahdanauConfig(), s.DarnnConfig(), s.DarnnConfig(form='recurrent')):\n"
        "    s.ours(config, batch, shape, 1)()\nprint(time.perf_counter() - begin)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        variables = os.environ | {"NUMBA_CACHE_DIR": folder, "OPENBOOK_KERNELS": "numba"}
        runs = [
            subprocess.run([sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=True)
            for _ in range(2)
        ]
    first, again = (float(run.stdout) for run in runs)
    return {
        "seconds": {
            "first ever": round(first, 2),
            "later processes": round(again, 2),
            "compiling": round(first - again, 2),
        }
    }


def panel(seed: int) -> dict[str, Any]:
    """100,000 series of 100 daily points forecast 14 days ahead by a model fitted on 1,000 of them: seconds, peak memory."""
    import resource

    import numpy as np
    import pandas as pd

    import openbook as ob

    count, length = 100_000, 100
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(10, 100, count), length)
    day = np.tile(np.arange(length), count)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(count), length),
            "ds": np.tile(pd.date_range("2024-01-01", periods=length), count),
            "y": level * (1 + 0.3 * np.sin(2 * np.pi * day / 7)) + rng.normal(size=count * length),
        }
    )
    model = ob.Forecaster(14, model="luong", input_size=28, train=ob.TrainConfig(max_steps=100), seed=seed)
    model.fit(frame[: 1000 * length])
    begin = time.perf_counter()
    told = model.predict(frame)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds_predict": round(seconds, 1), "rows": len(told), "peak_gb": round(peak, 2)}


def gpu(seed: int, device: str = "cuda", B: int = 64, T: int = 200, size: int = 128) -> dict[str, Any]:
    """Training steps on an NVIDIA GPU, float32: Luong and Bahdanau (H 24, one variable) beside a bare cuDNN LSTM, and DA-RNN
    (recurrent, 13 features, one step ahead) beside the plain loop; the device waits for every step to end."""

    def waited(step: Step) -> Step:
        def whole() -> None:
            step()
            if device == "cuda":
                torch.cuda.synchronize()

        return whole

    batch, shape = make_batch(B, T, 24, 1, seed)
    batch = Batch(*(part.to(device) for part in batch))
    steps = {
        "bare LSTM": beside(BareLSTM, batch, size),
        "luong": ours(LuongConfig(hidden_size=size), batch, shape, seed),
        "bahdanau": ours(BahdanauConfig(hidden_size=size, attention_size=size), batch, shape, seed),
    }
    found = table(in_turn({name: waited(step) for name, step in steps.items()}, 30), "bare LSTM")
    batch, shape = make_batch(B, T, 1, 13, seed)
    batch = Batch(*(part.to(device) for part in batch))
    plain, past_BTF = PlainDarnn(13, T, size).to(device), batch.encoder_BTX[..., :13]
    steps = {
        "darnn": ours(DarnnConfig(form="recurrent", hidden_size=size, attention_size=size), batch, shape, seed),
        "plain loop": training_step(plain, lambda: plain(past_BTF, past_BTF[..., :1]) - batch.target_BHM[:, 0]),
    }
    stages = table(in_turn({name: waited(step) for name, step in steps.items()}, 7), "darnn")
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return {**found, "times darnn": stages["times darnn"], "ms": found["ms"] | stages["ms"], "device": name}


SEGMENTED: dict[str, Any] = {"darnn over segments": DarnnConfig(segment=24, series_encoder="conv")}
CASES: dict[str, Callable[[int], dict[str, Any]]] = {
    "speed_attention": attention,
    "speed_bahdanau": bahdanau,
    "speed_darnn": darnn,
    "speed_luong": luong,
    "speed_joint": joint,
    "speed_length": length,
    "speed_latency": latency,
    "speed_compilation": compilation,
    "speed_panel": panel,
    "speed_gpu": gpu,
}


def as_the_command_line(module: str = "benchmarks.speed") -> None:
    """Run anew with waiting threads that sleep soon, as the command line runs: OpenMP reads how when torch is loaded.

    Else torch's second thread spins on the core where the kernels' second thread would work; torch alone is as fast.
    """
    before = dict(os.environ)
    share_the_machine()
    if os.environ != before:
        os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def main() -> None:
    """Measure the asked cases; results that exist are kept unless forced."""
    as_the_command_line()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=CASES, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="measure again what has a result")
    told = parser.parse_args()
    # Gradients that vanish over 200 steps of a bare LSTM leave float32's normal range, where some processors take ten times
    # as long: nobody shall win by that.
    torch.set_flush_denormal(True)
    torch.set_num_threads(THREADS)
    for name in told.case or CASES:
        key = f"{name}-{told.seed}"
        if (RESULTS / f"{key}.json").exists() and not told.force:
            print(f"{key}: kept")
            continue
        if name == "speed_gpu" and not torch.cuda.is_available():
            print(f"{key}: skipped, no NVIDIA GPU here")
            continue
        found = CASES[name](told.seed)
        write_result(key, {"command": f"python -m benchmarks.speed --case {name}", "seed": told.seed, "speed": found})
        print(f"{key}: {found}", flush=True)


if __name__ == "__main__":
    main()
