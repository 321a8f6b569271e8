"""``backtest``: forecasters and floors side by side on the past of a table, in Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from openbook.data.panel import ID, TARGET, TIME
from openbook.errors import DataError, UsageError
from openbook.evaluation.backtest import ALWAYS, SCORED, BacktestResult, Plan, run_backtest, write_backtest
from openbook.forecast.arguments import ColumnNames, Restore, check_alias, check_free, check_names, is_path
from openbook.forecast.choice import Parts
from openbook.forecast.conformal import check_levels, level_name
from openbook.forecast.floors import FLOORS
from openbook.forecast.forecaster import Forecaster
from openbook.forecast.remarks import warn_of_guessed_targets
from openbook.forecast.targets import read_series
from openbook.outputs import check_folder
from openbook.report.page import write_report

# Columns of scores and look-ups, beside those of parts: as names of id, time or target they would stand there twice.
_SCORES = ("mae", "rmse", "mase", "lag_mase", "wape", "smape", "pinball", "missing", "seconds_fit", "seconds_predict")


class Backtest:
    """What a backtest found. Frames are of the kind that came in, with its names of id, time and target.

    ``scores`` (a row a model and floor, best MASE first), ``scores_by_series``, ``scores_by_step``, ``forecasts`` (id, time,
    cutoff, truth, a column a model and its bands), ``looked_up`` (the look-ups of the last seven cutoffs of at most twelve
    series), ``warnings`` in words, ``failed`` (name: reason) and ``decisions`` (name: what was decided, and why).
    """

    def __init__(self, result: BacktestResult, names: ColumnNames, restore: Restore) -> None:
        own = {ID: names.id, TIME: names.time, TARGET: names.value}

        def told(frame: pd.DataFrame) -> Any:
            return restore(frame.rename(columns=own))

        feature = result.explanation["feature"]
        if isinstance(feature.dtype, pd.CategoricalDtype):
            feature = feature.cat.rename_categories({TARGET: names.value})
        looked_up = result.explanation.assign(feature=feature.replace(TARGET, names.value))
        self.scores, self.forecasts, self.looked_up = told(result.scores), told(result.forecasts), told(looked_up)
        self.scores_by_series, self.scores_by_step = told(result.by_series), told(result.by_step)
        self.warnings: list[str] = list(result.run["warnings"])
        self.failed: dict[str, str] = dict(result.run["failed"])
        self.decisions: dict[str, Any] = dict(result.run["decisions"])
        self._result = result

    def write(self, folder: str | Path) -> Path:
        """Write the files that ``openbook backtest`` writes, and the report; the path of ``report.html``.

        Raises ``UsageError`` where files of these names stand there that no backtest has written.
        """
        folder = Path(folder)
        check_folder(folder)
        write_backtest(self._result, folder)
        return write_report(folder)

    def __repr__(self) -> str:
        shown = self._result.scores.round(4).to_string(index=False)
        return "\n".join([shown, *(f"! {warning}" for warning in self.warnings)])


def backtest(  # noqa: PLR0913 (what cross_validation takes, for several models)
    df: Any,
    models: Forecaster | Sequence[Forecaster | str],
    *,
    n_windows: int = 7,
    step_size: int | None = None,
    refit: bool | int = False,
    level: Sequence[float] | float | None = (80, 95),
    limit_s: float = 120.0,
    id_col: str = ID,
    time_col: str = TIME,
    target_col: str | Sequence[str] = TARGET,
) -> Backtest:
    """Let forecasters and floors forecast the same windows of a table (pandas or polars frame, or a path), and compare.

    Parameters
    ----------
    models : forecasters (each is fitted afresh; what was fitted stays as it was) and names of floors. ``seasonal_naive`` and
        ``ridge`` always take part; floors read the inputs of the first forecaster. A forecaster's name is its ``alias``, or
        that of its model; two of one model need aliases.
    n_windows, step_size, refit, level, id_col, time_col, target_col : as for ``Forecaster.cross_validation``.
    limit_s : seconds a statistical floor may take, in a process of its own.

    A model that fails stops no other. Raises ``UsageError`` for forecasters that can not be compared (horizons, frequencies or
    names), ``DataError`` where no model can forecast the table.

    >>> frame = pd.DataFrame({"unique_id": "a", "ds": range(90), "y": [float(i % 4) for i in range(90)]})
    >>> from openbook.training.loop import TrainConfig
    >>> luong = Forecaster(4, model="luong", input_size=8, train=TrainConfig(max_steps=5))
    >>> tested = backtest(frame, [luong, "naive"], n_windows=2)
    >>> sorted(tested.scores["model"])
    ['luong', 'naive', 'ridge', 'seasonal_naive']
    """
    given = [models] if isinstance(models, Forecaster) else list(models)
    own, order = _named(given)
    first = next(iter(own.values()))
    plan = Plan(first.h, n_windows, step_size, order, check_levels(level), refit, limit_s, tuple(own))
    asked = (id_col, time_col, *([target_col] if isinstance(target_col, str) else ()))
    shares = [f"coverage_{level_name(told)}" for told in (*plan.level, SCORED)]
    check_free(asked, ("model", *Parts._fields, *_SCORES, *shares, *ALWAYS, *order))
    for name in own:
        check_names(asked, name)
    table, names, restore = read_series(df, id_col, time_col, target_col)
    warn_of_guessed_targets(table, target_col)
    told = {"notes": list(table.attrs.get("notes", ()))} | ({"name": Path(df).name} if is_path(df) else {})
    facts = {"target": names.value, "arguments": {"seed": first.seed}, "data": told, "command": ""}
    try:
        result = run_backtest(table, plan, lambda name: own[name].fresh(), facts=facts)
    except DataError as error:
        raise error.renamed(names.own()) from error
    return Backtest(result, names, restore)


def _named(given: Sequence[Any]) -> tuple[dict[str, Forecaster], tuple[str, ...]]:
    """The forecasters by name, and all names in order; refuses what can not stand side by side."""
    own: dict[str, Forecaster] = {}
    order: list[str] = []
    for one in given:
        if isinstance(one, str) and one in FLOORS:
            order.append(one)
            continue
        if not isinstance(one, Forecaster):
            raise _not_comparable(
                f"forecasters, and floors among {', '.join(FLOORS)}",
                repr(one),
                "pass Forecaster(h, model=…) for a model, and floors by name, such as 'ridge'",
            )
        plain = one.name == type(one.config).__name__.removesuffix("Config")
        name = one.config.name if plain else check_alias(one.name)
        if name in own or name in FLOORS:
            raise _not_comparable("a name for each forecaster", f"{name!r} twice", "tell them apart: alias='…'")
        own[name] = one
        order.append(name)
    if not own:
        raise _not_comparable(
            "at least one Forecaster", "none", "floors alone are tested by Floor(name, h).cross_validation(df)"
        )
    for what in ("h", "freq"):
        values = list(dict.fromkeys(getattr(one, what) for one in own.values()))
        if len(values) > 1:
            raise _not_comparable(f"one {what} for all forecasters", ", ".join(map(str, values)), "test them apart")
    return own, tuple(order)


def _not_comparable(expected: str, got: str, fix: str) -> UsageError:
    return UsageError("not_comparable", expected=expected, got=got, where="backtest, models", fix=fix)
