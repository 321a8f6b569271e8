"""Options that commands share, as typer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .txt (also .gz) or .parquet, long or wide.")]
IdCol = Annotated[
    str, typer.Option(help="Column with the series' names, or several that name them together: store,sku.")
]
TimeCol = Annotated[str, typer.Option(help="Column with the stamps.")]
TargetCol = Annotated[str, typer.Option(help="Column to forecast; of several, separated by commas, each is a series.")]
FutrExog = Annotated[str, typer.Option(help="Columns known ahead, separated by commas.")]
HistExog = Annotated[
    str | None, typer.Option(help="Columns known up to now; default: all other numeric columns that vary.")
]
StatExog = Annotated[str, typer.Option(help="Columns with one value per series, numbers or text, separated by commas.")]
FreqOption = Annotated[
    str | None, typer.Option(help="Frequency such as h, 30min, D, MS or a number; default: inferred.")
]
SeasonLength = Annotated[
    int | None,
    typer.Option(help="Steps of a season, floors' too; default: the frequency's, where it has none the data's."),
]
Country = Annotated[
    str | None, typer.Option(help="Holidays to know ahead: a country or a part of one, such as AU or AU-VIC.")
]
Horizon = Annotated[int, typer.Option("--h", help="Steps to forecast (-h: this help).")]
InputSize = Annotated[int | None, typer.Option(help="Context steps; default: decided from the data.")]
Model = Annotated[str, typer.Option(help="openbook, luong, bahdanau, darnn or day_to_day.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
MaxSteps = Annotated[int | None, typer.Option(help="Most training steps.")]
BudgetS = Annotated[
    float | None,
    typer.Option(
        help="Seconds a training may take; openbook: 300 unless given, all its decisions included; others: no limit."
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", help="Say nothing but the result (of inspect: warnings and errors); warnings stay.")
]
Json = Annotated[bool, typer.Option("--json", help="Exactly one JSON document on stdout.")]
Level = Annotated[str, typer.Option(help="Interval levels in percent, separated by commas.")]
ModelConfigText = Annotated[
    str,
    typer.Option(
        "--model-config",
        help="Fields of a model's config: hidden_size=32,dropout=0.2; of several: luong.hidden_size=32.",
    ),
]
