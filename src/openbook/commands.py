"""Commands that are more than one call of a saved model: a floor put to work, and anomalies of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openbook.console import (
    ModelOptions,
    freq_of,
    hand_over,
    levels_of,
    names_of,
    numbers_of,
    progress,
    records_of,
    season_of,
    show,
)
from openbook.errors import DataError
from openbook.options import (
    Country,
    Data,
    DeviceOption,
    FreqOption,
    FutrExog,
    HistExog,
    Horizon,
    IdCol,
    Json,
    Level,
    MaxSteps,
    Quiet,
    SeasonLength,
    Seed,
    StatExog,
    TargetCol,
    TimeCol,
)
from openbook.outputs import TABLES, check_out, write_table


def floor(
    name: Annotated[
        str, typer.Argument(help="naive, seasonal_naive, ridge, auto_ets, auto_theta, auto_arima or mstl.")
    ],
    data: Data,
    futr: Annotated[Path | None, typer.Option(help="Table with the known-future columns of the next h steps.")] = None,
    out: Annotated[Path | None, typer.Option(help=".csv or .parquet to write; default: CSV on stdout.")] = None,
    h: Horizon = 24,
    level: Level = "80",
    id_col: IdCol = "unique_id",
    time_col: TimeCol = "ds",
    target_col: TargetCol = "y",
    futr_exog: FutrExog = "",
    hist_exog: HistExog = None,
    stat_exog: StatExog = "",
    freq: FreqOption = None,
    season_length: SeasonLength = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit a floor and forecast from the end of a table, without a model file. Only ridge reads inputs."""
    from openbook.forecast.floor import Floor

    if out is not None:
        check_out(out, TABLES, data, futr)
    made = Floor(
        name,
        h,
        season_length=season_length,
        freq=freq_of(freq),
        futr_exog_list=names_of(futr_exog),
        hist_exog_list=None if hist_exog is None else names_of(hist_exog),
        stat_exog_list=names_of(stat_exog),
    )
    levels = levels_of(level)
    made.fit(data, id_col=id_col, time_col=time_col, target_col=target_col)
    hand_over(made.predict(futr_df=futr, level=levels), out, quiet=quiet, as_json=as_json)


def anomalies(
    data: Data,
    out: Annotated[Path, typer.Option(help=".csv or .parquet to write: one row per stamp, with score and verdicts.")],
    h: Annotated[
        int | None, typer.Option("--h", help="Steps rebuilt at once; default: one season (-h: this help).")
    ] = None,
    gaps: Annotated[str, typer.Option(help="Past days to rebuild from, in periods, separated by commas.")] = "1,7,28",
    quantile: Annotated[float, typer.Option(help="Share of scores below the first threshold.")] = 0.995,
    risk: Annotated[float, typer.Option(help="Chance of exceeding the second threshold, per stamp.")] = 1e-3,
    id_col: IdCol = "unique_id",
    time_col: TimeCol = "ds",
    target_col: TargetCol = "y",
    futr_exog: Annotated[str, typer.Option(help="Inputs that may explain a stamp, separated by commas.")] = "",
    country: Country = None,
    freq: FreqOption = None,
    max_steps: MaxSteps = None,
    seed: Seed = 1,
    device: DeviceOption = "auto",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Rebuild every stamp from the rest of its day and from past days; mark those that can not be rebuilt."""
    from openbook.data.table import read_table
    from openbook.forecast.anomalies import TOLD, check_shares
    from openbook.forecast.arguments import check_free
    from openbook.models.day_to_day import DayToDayConfig

    check_out(out, TABLES, data)
    check_shares(quantile=quantile, risk=risk)
    check_free((id_col, time_col, target_col), TOLD)
    table = read_table(data, id_col=id_col, time_col=time_col, target_col=target_col)
    names = {"unique_id": id_col, "ds": time_col} | ({} if len(table.attrs["targets"]) > 1 else {"y": target_col})
    try:
        options = ModelOptions(
            season_of(table, freq) if h is None else h, futr_exog, "", freq, None, max_steps, seed, device, country
        )
        forecaster = options.make(DayToDayConfig(gaps=numbers_of(gaps, "--gaps"), mode="reconstruct"))
        with progress(quiet or as_json) as bars:
            forecaster.progress = bars("day_to_day")
            forecaster.fit(table)
        if forecaster.interrupted():
            raise KeyboardInterrupt
        result = forecaster.anomalies(table, quantile=quantile, risk=risk)
    except DataError as error:
        raise error.renamed(names) from error
    frame, marked = (part.rename(columns=names) for part in (result.frame, result.found()))
    write_table(frame, out)
    limits = {"quantile_threshold": result.quantile_threshold, "peaks_threshold": result.peaks_threshold}
    counts = {name: int(result.frame[name].sum()) for name in ("by_quantile", "by_peaks")}
    lines = [f"wrote {out}: {len(frame)} stamps", *(f"  {name}: {value:.3g}" for name, value in limits.items())]
    lines += [f"  {name}: {count} stamp{'' if count == 1 else 's'}" for name, count in counts.items()]
    lines += marked.head(10).to_string(index=False).splitlines() if len(marked) else []
    document = {"out": str(out), **limits, **counts, "anomalies": records_of(marked.head(100))}
    show(document, [] if quiet else lines, as_json)
