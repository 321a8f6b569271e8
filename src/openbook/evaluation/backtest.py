"""Rolling-origin evaluation of models and floors side by side, and the files it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from openbook.data.frequency import season_length
from openbook.data.panel import ID, TIME, Panel
from openbook.errors import DataError, OpenBookError, UsageError, whole_number
from openbook.evaluation.metrics import gap_scale, score_frame, seasonal_scale
from openbook.evaluation.record import facts_of
from openbook.files import arrow_ready, json_text, write_csv, write_files_whole
from openbook.forecast.conformal import check_levels
from openbook.forecast.decisions import decide_season
from openbook.forecast.explanation import Explanation
from openbook.forecast.floor import Floor
from openbook.forecast.floors import FLOORS
from openbook.forecast.forecaster import Forecaster
from openbook.forecast.limits import run_limited
from openbook.forecast.origins import Origins, check_truth, refits, rolling_origins, rows_tested, training_part
from openbook.forecast.rolling import Rolled, roll
from openbook.models.registry import COMPILED, MODELS
from openbook.ops.ahead import compile_ahead

ALWAYS = ("seasonal_naive", "ridge")  # no forecast of ours is shown without these two
SCORED = 80.0  # the level that coverage_80 and pinball need, whatever others are asked for
_TIE = 1e-6  # errors that differ relatively by less are equal
_IN_PROCESS = ("naive", *ALWAYS)
_EXPLAINED_SERIES, _EXPLAINED_CUTOFFS = 12, 7
_MOST_WEIGHTS = 20_000_000  # of a model that are kept: beyond that fewer forecasts are explained


@dataclass(frozen=True)
class Plan:
    """What to evaluate: horizon, windows, models by name, levels, refitting, and the seconds a slow floor may take.

    ``own``: names among ``models`` that are neither models nor floors of ours; ``make_model`` of ``run_backtest`` knows them.
    """

    h: int
    n_windows: int = 7
    step_size: int | None = None
    models: tuple[str, ...] = ("openbook", *ALWAYS)
    level: tuple[float, ...] = (80.0, 95.0)
    refit: bool | int = False
    limit_s: float = 120.0
    own: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("h", "n_windows", "step_size"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), least=1)
        refits(self.refit)
        if isinstance(self.limit_s, bool) or not isinstance(self.limit_s, Real) or not self.limit_s > 0:
            raise UsageError(
                "out_of_range",
                expected="seconds above zero",
                got=repr(self.limit_s),
                where="limit_s",
                fix="leave it out for 120",
            )

    @property
    def windows(self) -> tuple[int, int, int]:
        """Horizon, number of windows, and rows between cutoffs."""
        return self.h, self.n_windows, self.step

    @property
    def step(self) -> int:
        """Rows between cutoffs."""
        return self.h if self.step_size is None else self.step_size


@dataclass
class BacktestResult:
    """Everything a backtest found; ``write_backtest`` lays it out in files."""

    scores: pd.DataFrame
    by_series: pd.DataFrame
    by_step: pd.DataFrame
    forecasts: pd.DataFrame
    explanation: pd.DataFrame
    history: pd.DataFrame
    run: dict[str, Any] = field(default_factory=dict)
    stages: pd.DataFrame | None = None


class _Ran(NamedTuple):
    """One model's run: what it forecast and where it looked, or why it failed."""

    rolled: Rolled | None
    decisions: dict[str, Any]
    explanation: pd.DataFrame | None
    failure: str | None
    stages: pd.DataFrame | None = None


MakeModel = Callable[[str], Forecaster]


def run_backtest(
    table: pd.DataFrame,
    plan: Plan,
    make_model: MakeModel,
    *,
    facts: dict[str, Any] | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> BacktestResult:
    """Evaluate ``plan.models`` on a canonical table; ``seasonal_naive`` and ``ridge`` are always among them.

    ``make_model`` gives a fresh ``Forecaster`` for a model's name. Floors read what the first of them reads, and a model of
    other inputs its own. A model that fails is listed in ``run["failed"]`` with its reason and never stops the others; only if
    all fail is the first error raised. Inputs that the table does not hold as asked are refused before.
    """
    begin, models = time.perf_counter(), _with_floors(plan)
    levels = check_levels(plan.level)
    plan = replace(plan, level=levels if SCORED in levels else (*levels, SCORED))
    probes = {name: make_model(name) for name in models if name not in FLOORS} or {"luong": make_model("luong")}
    panels, rows = dict[Any, Panel](), rows_tested(*plan.windows)
    for probe in probes.values():
        if _reads(probe) not in panels:
            panels[_reads(probe)] = probe.panel_to_learn(table, rows)
    first = next(iter(probes.values()))
    panel = panels[_reads(first)]
    train = training_part(panel, plan.h, plan.n_windows, plan.step)
    untested = check_truth(panel, *plan.windows)
    season = first.season_length or decide_season(train).value
    compiled = [name for name in models if name in probes and probes[name].config.name in COMPILED]
    if compiled and models[0] not in compiled:
        compile_ahead()  # beside the models that come before
    ran: dict[str, _Ran] = {}
    for name in models:
        say(name)
        ran[name] = (
            _run_floor(name, panel, plan, (season, first.season_length is not None))
            if name in FLOORS
            else _run_model(name, make_model(name), panels[_reads(probes[name])], plan)
        )
    alive = [name for name in models if ran[name].rolled is not None]
    if not alive:
        raise DataError(
            "nothing_worked",
            expected="at least one model that can forecast this table",
            got=f"{len(models)} failures, the first: {ran[models[0]].failure}",
            where=", ".join(models),
            fix="see openbook inspect for what is wrong with the data",
        )
    forecasts = _joined({name: ran[name].rolled for name in alive})  # type: ignore[misc]
    usual = seasonal_scale(train, season)
    origins = Origins(*(np.concatenate(part) for part in zip(*rolling_origins(panel, *plan.windows), strict=True)))
    scales = {"scale": usual, "lag_scale": gap_scale(panel, origins, plan.h, season, usual)}
    scored = _scored(forecasts, ran, alive, models, scales, plan.level)
    explained = [ran[name].explanation for name in alive if ran[name].explanation is not None]
    evaluated = set(forecasts[ID])
    left_out = [name for name in panel.ids if name not in evaluated]
    told = {name: (run.decisions, run.failure) for name, run in ran.items()}
    given = {name: panels[_reads(probes[name])] if name in probes else panel for name in models}
    facts = {**(facts or {}), "targets": table.attrs.get("targets", ())}
    run = facts_of(_asked_of(plan, models), panel, given, told, facts, len(left_out)) | {
        "season": int(season),
        "mase_season": int(season) if train.lengths.max() > season else 1,
        "warnings": [*untested, *_warnings(scored[0], ran), *_left_out(left_out, panel, plan)],
        "seconds": round(time.perf_counter() - begin, 2),
    }
    history = _history(panel, plan, season)
    empty = pd.DataFrame(columns=["model", ID, "cutoff", "step", TIME, "source_ds", "feature", "weight", "memory"])
    explanation = pd.concat(explained, ignore_index=True) if explained else empty
    stages = [ran[name].stages for name in alive if ran[name].stages is not None]
    two_stage = pd.concat(stages, ignore_index=True) if stages else None
    return BacktestResult(*scored, forecasts, explanation, history, run, two_stage)


def write_backtest(result: BacktestResult, folder: str | Path) -> Path:
    """Write the files of a backtest, all or none, ``run.json`` last; the stages and the report of an earlier one go."""
    scores = {"scores": result.scores, "scores_by_series": result.by_series, "scores_by_step": result.by_step}
    tables = {"forecasts": result.forecasts, "explanation": result.explanation, "history": result.history}
    tables |= {} if result.stages is None else {"stages": result.stages}

    def write(draft: Path) -> None:
        for name, frame in scores.items():
            write_csv(draft / f"{name}.csv", frame, float_format="%.6g")
        for name, frame in tables.items():
            arrow_ready(frame).to_parquet(draft / f"{name}.parquet")
        (draft / "run.json").write_text(json_text(result.run, indent=1), encoding="utf-8")

    gone = ("report.html",) if "stages" in tables else ("report.html", "stages.parquet")
    return write_files_whole(folder, write, last="run.json", gone=gone)


def _reads(forecaster: Forecaster) -> tuple[Any, ...]:
    """What decides which columns a forecaster is given; forecasters that agree in it share a panel."""
    told = (forecaster.futr_exog_list, forecaster.hist_exog_list, forecaster.inputs.stat)
    return *told, forecaster.freq, getattr(forecaster.config, "protocol", None)


def _with_floors(plan: Plan) -> tuple[str, ...]:
    known = (*plan.own, *MODELS, *FLOORS)
    for name in plan.models:
        if name not in known:
            raise UsageError(
                "unknown_model",
                expected=f"models among {', '.join(known)}",
                got=repr(name),
                where="models",
                fix="check the spelling",
            )
    return tuple(dict.fromkeys((*plan.models, *ALWAYS)))


def _run_model(name: str, model: Forecaster, panel: Panel, plan: Plan) -> _Ran:
    model.name = name
    shown, found = _shown_origins(panel, plan), list[Explanation]()

    def explain(forecast: Origins) -> None:
        keep = np.isin(shown.end, forecast.end)  # rows of a panel: no two series share one
        if not keep.any():
            return
        rows, last = model.encoded(panel), np.flatnonzero(keep)[-1:]
        size = model.explain_origins(rows, Origins(shown.series[last], shown.end[last])).weight_WHTF.size
        some = np.linspace(len(keep) - 1, 0, min(len(keep), max(1, _MOST_WEIGHTS // size))).round().astype(int)
        keep &= np.isin(np.arange(len(keep)), some)
        if keep.any():
            found.append(model.explain_origins(rows, Origins(shown.series[keep], shown.end[keep])))

    try:
        rolled = roll(
            model,
            panel,
            n_windows=plan.n_windows,
            step_size=plan.step,
            refit=plan.refit,
            level=plan.level,
            each=explain,
        )
        explained = pd.concat([one.frame() for one in found], ignore_index=True) if found else None
        both = [stages for one in found if (stages := one.stages_frame()) is not None]
    except Exception as error:  # a model's failure is a row of the report, whatever it is
        return _Ran(None, {}, None, _reason(error))
    if explained is not None:
        explained.insert(0, "model", model.name)
    stages = pd.concat(both, ignore_index=True) if both else None
    if stages is not None:
        stages.insert(0, "model", model.name)
    decisions = {name: decision._asdict() for name, decision in model.decisions.items()}
    return _Ran(rolled, decisions, explained, None, stages)


def _run_floor(name: str, panel: Panel, plan: Plan, season: tuple[int, bool]) -> _Ran:
    """``season``: its steps, and whether they were told rather than decided."""
    if name in _IN_PROCESS:
        try:
            rolled, decisions = _roll_floor(name, panel, plan, season)
        except Exception as error:  # as above
            return _Ran(None, {}, None, _reason(error))
    else:
        result = run_limited(_roll_floor, (name, panel, plan, season), plan.limit_s)
        if result.failure is not None:
            return _Ran(None, {}, None, result.failure)
        rolled, decisions = result.value
    how = {"told": season[1], "free": _is_free(name, panel, told=season[1])}
    told = {key: {"value": value, "why": _why(name, key, **how)} for key, value in decisions.items()}
    return _Ran(rolled, told, None, None)


def _is_free(floor: str, panel: Panel, *, told: bool) -> bool:
    """Whether a floor chooses between day and week, or takes both: an honest floor is the strongest simple one."""
    return floor in ("naive", "seasonal_naive", "mstl") and season_length(panel.freq) > 1 and not told


def _why(floor: str, decision: str, *, told: bool, free: bool) -> str:
    """Where a floor's decision comes from."""
    if decision == "season_length":
        if floor == "naive":
            return "the last value is repeated"
        if floor == "seasonal_naive" and free:
            return "chosen on the end of the training part"
        return "as given" if told else "the season of the data"
    chosen = floor == "ridge" and decision in ("window", "inputs", "penalty")
    return "by held-out windows of the training part, where there are some" if chosen else "found in fitting"


def _roll_floor(name: str, panel: Panel, plan: Plan, season: tuple[int, bool]) -> tuple[Rolled, dict[str, Any]]:
    steps, told = season
    floor = Floor(name, plan.h, season_length=None if _is_free(name, panel, told=told) else steps)
    rolled = roll(floor, panel, n_windows=plan.n_windows, step_size=plan.step, refit=plan.refit, level=plan.level)
    return rolled, floor.decisions


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, OpenBookError) else f"{type(error).__name__}: {error}"


def _shown_origins(panel: Panel, plan: Plan) -> Origins:
    """The last cutoffs of evenly chosen series, among those that can be tested: what the report's book can show."""
    windows = rolling_origins(panel, plan.h, plan.n_windows, plan.step)[-_EXPLAINED_CUTOFFS:]
    joined = Origins(*(np.concatenate(parts) for parts in zip(*windows, strict=True)))
    tested = np.unique(joined.series)
    shown = tested[np.unique(np.linspace(0, len(tested) - 1, min(len(tested), _EXPLAINED_SERIES)).astype(int))]
    keep = np.isin(joined.series, shown)
    return Origins(joined.series[keep], joined.end[keep])


def _joined(rolled: dict[str, Rolled]) -> pd.DataFrame:
    """All models' columns beside one truth; every frame has the same rows in the same order."""
    frames = [run.frame for run in rolled.values()]
    first = frames[0]
    extra = [frame.drop(columns=[ID, TIME, "cutoff", "y"]) for frame in frames[1:]]
    return pd.concat([first, *extra], axis=1)


def _scored(
    forecasts: pd.DataFrame,
    ran: dict[str, _Ran],
    alive: list[str],
    models: Sequence[str],
    scales: dict[str, pd.Series],
    levels: Sequence[float],
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Scores by model (best MASE first, failures last), by series and by step."""
    score = partial(score_frame, forecasts, models=alive, levels=sorted(levels), **scales)
    scores = score()
    timed = pd.DataFrame(
        {
            "model": alive,
            "seconds_fit": [ran[name].rolled.seconds_fit for name in alive],  # type: ignore[union-attr]
            "seconds_predict": [ran[name].rolled.seconds_predict for name in alive],  # type: ignore[union-attr]
        }
    )
    failed = pd.DataFrame({"model": [name for name in models if name not in alive]})
    scores = pd.concat([scores.merge(timed, on="model").sort_values("mase", kind="stable"), failed], ignore_index=True)
    return scores, score(by=(ID,)), score(by=("step",))


def _warnings(scores: pd.DataFrame, ran: dict[str, _Ran]) -> list[str]:
    """In words: a floor that wins, models that failed or left rows out, bands that cover too little or too much."""
    words = [f"{name} failed: {run.failure}" for name, run in ran.items() if run.failure is not None]
    known = scores.dropna(subset=["mase"])
    ours = known[~known["model"].isin(FLOORS)]
    floors = known[known["model"].isin(FLOORS)]
    if len(ours) and len(floors) and floors["mase"].iloc[0] <= ours["mase"].iloc[0] * (1 + _TIE):
        best, floor = ours.iloc[0], floors.iloc[0]
        level = best["mase"] <= floor["mase"] * (1 + _TIE)
        words.insert(
            0,
            f"{'A floor does as well' if level else 'A floor wins'}: {floor['model']} has a MASE of {floor['mase']:.3f}, "
            f"the best model {best['model']} {best['mase']:.3f}. Use the floor, or give the model more history or "
            "known-future inputs.",
        )
    for _, row in scores[scores["missing"] > 0].iterrows():
        share = f"{row['missing']:.0%}".replace("%", " %") if row["missing"] >= 0.005 else "less than 1 %"
        words.append(f"`{row['model']}` gave no forecast for {share} of the rows: its scores are of the others.")
    for _, row in ours.iterrows():
        if np.isfinite(row["coverage_80"]) and abs(row["coverage_80"] - 0.8) > 0.1:
            words.append(f"The 80 % band of {row['model']} covered {row['coverage_80']:.0%} of the truth.")
    return words


def _asked_of(plan: Plan, models: Sequence[str]) -> dict[str, Any]:
    """A plan as ``run.json`` keeps it."""
    return {
        "h": plan.h,
        "n_windows": plan.n_windows,
        "step_size": plan.step,
        "models": list(models),
        "level": list(plan.level),
        "refit": plan.refit,
    }


def _left_out(names: Sequence[Any], panel: Panel, plan: Plan) -> list[str]:
    """In words: series that no window could evaluate."""
    if not names:
        return []
    more = ", …" if len(names) > 5 else ""
    return [
        f"{len(names)} of {len(panel)} series left out, too short for {plan.n_windows} window(s) of {plan.h} steps: "
        f"{', '.join(map(str, names[:5]))}{more}."
    ]


def _history(panel: Panel, plan: Plan, season: int) -> pd.DataFrame:
    """Values before the first cutoff, two seasons or horizons of them, for the report's charts."""
    tested = plan.h + plan.step * (plan.n_windows - 1)
    left = np.repeat(panel.offsets[1:], panel.lengths) - np.arange(len(panel.times))
    keep = (left > tested) & (left <= tested + 2 * max(season, plan.h))
    owner = np.repeat(np.arange(len(panel)), panel.lengths)[keep]
    stamps = panel.local_times(panel.times[keep])
    return pd.DataFrame({ID: panel.ids[owner], TIME: stamps.array, "y": panel.target[keep]})
