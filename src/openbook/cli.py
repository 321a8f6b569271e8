"""The ``openbook`` command: options named like the Python arguments, exit codes 0 to 4 and 130, heavy imports where used."""

from __future__ import annotations

import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from openbook.commands import anomalies, floor
from openbook.console import (
    ModelOptions,
    explained,
    fail,
    freq_of,
    hand_over,
    keep_memory,
    levels_of,
    load_model,
    named,
    names_of,
    only_series,
    progress,
    run_and_write,
    say,
    share_the_machine,
    speak_utf8,
)
from openbook.console import show as show_result
from openbook.errors import OpenBookError
from openbook.fields import configs_of
from openbook.options import (
    BudgetS,
    Country,
    Data,
    DeviceOption,
    FreqOption,
    FutrExog,
    HistExog,
    Horizon,
    IdCol,
    InputSize,
    Json,
    Level,
    MaxSteps,
    Model,
    ModelConfigText,
    Quiet,
    SeasonLength,
    Seed,
    StatExog,
    TargetCol,
    TimeCol,
)
from openbook.outputs import TABLES, check_explain_out, check_folder, check_out, write_table
from openbook.version import __version__

INTERRUPTED = 130
# Newer releases of typer carry a click of their own, older ones use the package: both are above BadParameter.
_ClickError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")

app = typer.Typer(
    name="openbook",
    help="Forecast time series with attention-LSTMs and see what every forecast looked at.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def inspect(
    data: Data,
    id_col: IdCol = "unique_id",
    time_col: TimeCol = "ds",
    target_col: TargetCol = "y",
    futr_exog: FutrExog = "",
    hist_exog: HistExog = None,
    stat_exog: StatExog = "",
    freq: FreqOption = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Audit a table: frequency, gaps, duplicates, sentinels, season, column roles, leaks; with codes and fixes."""
    from openbook.data.audit import inspect_table

    audit = inspect_table(
        data,
        id_col=id_col,
        time_col=time_col,
        target_col=target_col,
        freq=freq_of(freq),
        futr=names_of(futr_exog),
        hist=names_of(hist_exog),
        stat=names_of(stat_exog),
    )
    show_result(audit.to_dict(), audit.lines(quiet=quiet), as_json)
    if any(finding.severity == "error" for finding in audit.findings):
        raise typer.Exit(3)


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option(help="Model file (.ob) or folder to write.")],
    h: Horizon = 24,
    model: Model = "openbook",
    model_config: ModelConfigText = "",
    id_col: IdCol = "unique_id",
    time_col: TimeCol = "ds",
    target_col: TargetCol = "y",
    futr_exog: FutrExog = "",
    hist_exog: HistExog = None,
    country: Country = None,
    stat_exog: StatExog = "",
    freq: FreqOption = None,
    season_length: SeasonLength = None,
    input_size: InputSize = None,
    max_steps: MaxSteps = None,
    budget_s: BudgetS = None,
    seed: Seed = 1,
    device: DeviceOption = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a model and save it."""
    from openbook.forecast.saving import check_target

    options = ModelOptions(
        *(h, futr_exog, hist_exog, freq, input_size, max_steps, seed, device, country, stat_exog, budget_s),
        season_length=season_length,
        configs=configs_of([model], model_config),
    )
    forecaster = options.make(model)
    check_target(out)
    with progress(quiet or as_json) as bars:
        forecaster.progress = bars(model)
        forecaster.fit(data, id_col=id_col, time_col=time_col, target_col=target_col)
    forecaster.save(out)
    told = {name: decision._asdict() for name, decision in forecaster.decisions.items()}
    lines = [] if quiet else [f"saved {out}", *(f"  {name}: {d['value']}  ({d['why']})" for name, d in told.items())]
    stopped = forecaster.interrupted()
    show_result({"model": str(out), "decisions": told, "interrupted": stopped}, lines, as_json)
    if stopped:
        say("openbook: training was interrupted; the best weights so far were saved", False)
        sys.exit(INTERRUPTED)  # not typer's exit, of which main would say the same again


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Model written by fit.")],
    data: Annotated[Path | None, typer.Argument(help="Table to forecast from; default: the training data.")] = None,
    futr: Annotated[Path | None, typer.Option(help="Table with the known-future columns of the next h steps.")] = None,
    out: Annotated[Path | None, typer.Option(help=".csv or .parquet to write; default: CSV on stdout.")] = None,
    level: Level = "80",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Forecast from the end of a table, or of the training data."""
    if out is not None:
        check_out(out, TABLES, model, data, futr)
    forecast = load_model(model).predict(data, futr_df=futr, level=levels_of(level))
    hand_over(forecast, out, quiet=quiet, as_json=as_json)


app.command()(floor)


@app.command()
def backtest(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("backtest"),
    h: Horizon = 24,
    n_windows: Annotated[int, typer.Option(help="Windows to evaluate.")] = 7,
    step_size: Annotated[int | None, typer.Option(help="Steps between windows; default: h.")] = None,
    models: Annotated[
        str,
        typer.Option(
            help="Separated by commas: openbook, luong, bahdanau, darnn, day_to_day, and floors: naive, auto_ets, auto_theta, "
            "auto_arima, mstl; seasonal_naive and ridge always take part."
        ),
    ] = "openbook,luong,seasonal_naive,ridge",
    model_config: ModelConfigText = "",
    refit: Annotated[int, typer.Option(help="Fit anew every so many windows; 0: once.")] = 0,
    limit_s: Annotated[float, typer.Option(help="Most seconds a statistical floor may take.")] = 120.0,
    only: Annotated[str, typer.Option(help="Series to use, separated by commas; default: all.")] = "",
    id_col: IdCol = "unique_id",
    time_col: TimeCol = "ds",
    target_col: TargetCol = "y",
    futr_exog: FutrExog = "",
    hist_exog: HistExog = None,
    country: Country = None,
    stat_exog: StatExog = "",
    freq: FreqOption = None,
    season_length: SeasonLength = None,
    input_size: InputSize = None,
    max_steps: MaxSteps = None,
    budget_s: BudgetS = None,
    seed: Seed = 1,
    level: Level = "80,95",
    device: DeviceOption = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Evaluate models and floors on rolling origins; write scores, forecasts, look-ups and the report."""
    from openbook.data.table import read_table

    check_folder(out, data)
    options = ModelOptions(
        *(h, futr_exog, hist_exog, freq, input_size, max_steps, seed, device, country, stat_exog, budget_s),
        season_length=season_length,
        configs=configs_of(names_of(models), model_config),
    )
    table = only_series(read_table(data, id_col=id_col, time_col=time_col, target_col=target_col), names_of(only))
    told: dict[str, Any] = {"data": data.name, "target_col": target_col, "futr_exog": futr_exog, "hist_exog": hist_exog}
    told |= {"id_col": id_col, "time_col": time_col, "freq": freq, "stat_exog": stat_exog, "country": country}
    told |= {"only": only or None, "input_size": input_size, "max_steps": max_steps, "budget_s": budget_s}
    told |= {
        "model_config": model_config,
        "season_length": season_length,
        "limit_s": limit_s,
        "device": device,
        "seed": seed,
    }
    facts: dict[str, Any] = {
        "target": target_col,
        "arguments": told,
        "data": {"name": data.name, "notes": list(table.attrs.get("notes", ()))},
    }
    plan: dict[str, Any] = {"h": h, "n_windows": n_windows, "step_size": step_size, "refit": refit, "limit_s": limit_s}
    plan |= {"models": names_of(models), "level": levels_of(level)}
    document = run_and_write(table, plan, options, facts, out, quiet=quiet, as_json=as_json)
    if as_json:
        show_result(document, [], True)


@app.command()
def explain(
    model: Annotated[Path, typer.Argument(help="Model written by fit.")],
    data: Annotated[Path | None, typer.Argument(help="Table to forecast from; default: the training data.")] = None,
    futr: Annotated[Path | None, typer.Option(help="Table with the known-future columns of the next h steps.")] = None,
    out: Annotated[Path, typer.Option(help=".parquet, .csv, .html, .png or .svg.")] = Path("explain.parquet"),
    view: Annotated[str, typer.Option(help="Picture: weights; of darnn also inputs or times.")] = "weights",
    average: Annotated[bool, typer.Option("--average", help="Picture: median and middle half of all series.")] = False,
    only: Annotated[
        str, typer.Option(help="Series to explain, separated by commas; the picture shows the first.")
    ] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write where every forecast looked: one row per step, past step and input, or a picture of one forecast or of all."""
    from openbook.plots.images import FIGURES, write_figure

    check_explain_out(out, model, data, futr, view=view, average=average)
    explanation = load_model(model).explain(data, futr_df=futr)
    explanation = explanation.select(named(explanation.ids, names_of(only)))
    if out.suffix in FIGURES:
        write_figure(explanation.plot(view=view, average=average), out)
    else:
        write_table(explanation.frame(), out)
    told, lines = explained(explanation)
    show_result({"out": str(out), **told}, [] if quiet else [f"wrote {out}", *lines], as_json)


app.command()(anomalies)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder written by backtest.")],
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Rebuild the page of a backtest from its files."""
    from openbook.report.page import write_report

    page = write_report(folder)
    show_result({"report": str(page)}, [] if quiet else [f"wrote {page}"], as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("openbook-demo"),
    data: Annotated[str, typer.Option(help="calls (simulated call centres) or co2 (real weekly record).")] = "calls",
    seed: Seed = 1,
    max_steps: MaxSteps = None,
    device: DeviceOption = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The whole main job on built-in data: inspect, backtest against the floors, fit, forecast, explain, report."""
    from openbook.demo import demo_case
    from openbook.forecast.saving import check_target

    case = demo_case(data, seed=seed)
    most = case.max_steps if max_steps is None else max_steps
    options = replace(
        ModelOptions(case.h, ",".join(case.futr), None, None, None, most, seed, device), budget_s=case.budget_s
    )
    tables = {f"{data}.csv": case.table} | ({} if case.ahead is None else {"tomorrow.csv": case.ahead})
    check_target(out / "model.ob")
    check_folder(out, more=(*tables, "model.ob", "forecast.csv"))
    if not quiet and not as_json:
        from openbook.data.audit import inspect_table

        show_result(
            {},
            inspect_table(case.table, id_col="unique_id", time_col="ds", target_col="y", futr=case.futr).lines(),
            False,
        )
    plan = {"h": case.h, "n_windows": case.n_windows, "models": case.models, "level": (80.0, 95.0)}
    steps = ("" if max_steps is None else f" --max-steps {max_steps}") + (
        f" --device {device}" if device != "auto" else ""
    )
    facts: dict[str, Any] = {"target": "y", "arguments": {"data": data, "seed": seed}, "data": case.facts}
    facts["command"] = f"openbook demo --data {data} --seed {seed}{steps}"
    document = run_and_write(case.table, plan, options, facts, out, quiet=quiet, as_json=as_json)
    for name, table in tables.items():
        write_table(table, out / name)
    forecaster = options.make("openbook")
    with progress(quiet or as_json) as bars:
        forecaster.progress = bars("openbook on everything")
        forecaster.fit(case.past)
    if forecaster.interrupted():
        raise KeyboardInterrupt
    forecaster.save(out / "model.ob")
    write_table(forecaster.predict(futr_df=case.ahead, level=(80, 95)), out / "forecast.csv")
    if as_json:  # one document, of a run that came to its end
        show_result(document, [], True)
    say(f"Forecast of the next {case.h} steps: {out / 'forecast.csv'}\nOpen {out / 'report.html'}", quiet or as_json)


def main() -> None:
    """Entry point: runs the command and turns errors into messages and exit codes."""
    as_json = "--json" in sys.argv
    share_the_machine()
    keep_memory()
    speak_utf8()
    try:
        # Returns the code of typer.Exit (--help, --version, inspect); of an interrupt too, which typer takes for one.
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        sys.exit(code)
    except _ClickError as error:
        if as_json:
            fail(True, {"code": "usage", "message": error.format_message()}, "", error.exit_code)
        error.show()
        sys.exit(error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        fail(as_json, {"code": "interrupted", "message": "interrupted"}, "openbook: interrupted", INTERRUPTED)
    except OpenBookError as error:
        told = {"code": error.code, "message": str(error), "expected": error.expected, "got": error.got}
        fail(as_json, told | {"where": error.where, "fix": error.fix}, f"openbook: {error}", error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        message = f"openbook: a bug of ours, please report it with these lines\n{traceback.format_exc()}"
        fail(as_json, {"code": "bug", "message": f"{type(error).__name__}: {error}"}, message, 1)
