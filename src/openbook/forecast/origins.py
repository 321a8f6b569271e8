"""Where forecasts start, and what a forecaster must offer to be backtested: the contract of models and floors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import numpy as np

from openbook.data.panel import Panel
from openbook.errors import DataError, UsageError, whole_number


class Origins(NamedTuple):
    """W places to forecast from: ``series`` [W] indexes ``panel.ids``, ``end`` [W] is the panel row of the first step.

    Both int64. The h rows ``end .. end + h - 1`` belong to the same series and exist in the panel: their target may be
    NaN, their futr values are known. A forecast may read the series' rows before ``end`` and futr at these h rows.
    """

    series: np.ndarray
    end: np.ndarray


class PanelForecast(NamedTuple):
    """Forecasts of W origins in original units: ``point`` [W, h], ``interval`` level in percent -> (lo, hi) [W, h]."""

    point: np.ndarray
    interval: dict[float, tuple[np.ndarray, np.ndarray]]


class PanelForecaster(Protocol):
    """What a backtest needs of a model or a floor.

    ``fit_panel`` gets the training part only. ``predict_origins`` gets a panel that holds everything including the
    horizon rows; rows from an origin's ``end`` on must not influence its forecast, except their futr values.
    """

    name: str
    h: int

    def fit_panel(self, panel: Panel) -> None: ...

    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast: ...


def extend_panel(panel: Panel, h: int, futr_rows: np.ndarray | None = None) -> Panel:
    """The panel with h further rows per series: target and hist NaN, futr from ``futr_rows`` [N, h, K] or NaN.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": [1, 2], "y": [5.0, 6.0]}))
    >>> extend_panel(panel, 2).times, extend_panel(panel, 2).target
    (array([1, 2, 3, 4]), array([ 5.,  6., nan, nan]))
    """
    _check_horizon(h)
    number, width = len(panel), panel.futr.shape[1]
    if futr_rows is not None and futr_rows.shape != (number, h, width):
        raise UsageError(
            "futr_shape",
            expected=f"known-future values shaped {(number, h, width)} (series, steps, columns)",
            got=f"{futr_rows.shape}",
            where="futr_rows",
            fix="give one row per series and step",
        )
    offsets = panel.offsets + h * np.arange(number + 1)
    old = np.arange(len(panel.times)) + h * np.repeat(np.arange(number), panel.lengths)
    new = offsets[1:, None] - h + np.arange(h)

    def grown(values: np.ndarray, tail: np.ndarray | float) -> np.ndarray:
        result = np.empty((int(offsets[-1]), *values.shape[1:]), values.dtype)
        result[old], result[new] = values, tail
        return result

    return replace(
        panel,
        offsets=offsets,
        times=grown(panel.times, panel.future(h)),
        target=grown(panel.target, np.nan),
        hist=grown(panel.hist, np.nan),
        futr=grown(panel.futr, np.nan if futr_rows is None else futr_rows),
    )


def last_origins(panel: Panel, h: int) -> Origins:
    """One origin per series whose horizon is the series' last h rows; series of h rows or fewer have none.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(10), "y": 0.0}))
    >>> last_origins(panel, 3).end
    array([7])
    """
    return rolling_origins(panel, h, 1, 1)[0]


def rolling_origins(panel: Panel, h: int, n_windows: int, step_size: int) -> list[Origins]:
    """Origins of ``n_windows`` windows, earliest first, ``step_size`` rows apart, the last one ending each series.

    Windows are counted back from each series' own end; a series without one row of history before a window is left out
    of that window. Raises ``UsageError`` where an argument is below one.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(10), "y": 0.0}))
    >>> [window.end.tolist() for window in rolling_origins(panel, 3, 4, 3)]
    [[], [1], [4], [7]]
    """
    _check_horizon(h)
    check_windows(n_windows, step_size)
    back = h + step_size * np.arange(n_windows)[::-1]
    ends = panel.offsets[1:] - back[:, None]
    alive = ends > panel.offsets[:-1]
    return [Origins(np.flatnonzero(keep), end[keep]) for end, keep in zip(ends, alive, strict=True)]


def stretches(panel: Panel, origins: Origins, h: int) -> np.ndarray:
    """Which stretch of a horizon each window lies in, counted back from the end of its series, [W]: the newest is 1.

    Windows that share most of a horizon are one observation of how well a forecast does.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(10), "y": 0.0}))
    >>> stretches(panel, Origins(np.zeros(4, int), np.array([4, 5, 6, 7])), 3)
    array([2, 1, 1, 1])
    """
    return (panel.offsets[origins.series + 1] - origins.end) // h


def _check_horizon(h: int) -> None:
    if h < 1:
        raise UsageError(
            "bad_horizon", expected="a horizon of at least 1 step", got=str(h), where="h", fix="pass h >= 1"
        )


def check_windows(n_windows: int, step_size: int) -> None:
    """Refuse numbers of windows, and of steps between them, that are no whole numbers above zero."""
    for name, value in (("n_windows", n_windows), ("step_size", step_size)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise UsageError(
                "bad_windows",
                expected=f"{name} of at least 1",
                got=str(value),
                where=name,
                fix="pass a whole number above zero",
            )


def refits(refit: bool | int) -> int:
    """Before every so many cutoffs a forecaster is trained anew; 0: before the first one alone. Raises ``UsageError``.

    >>> refits(True), refits(2), refits(False)
    (1, 2, 0)
    """
    return whole_number("refit", int(refit) if isinstance(refit, bool | np.bool_) else refit, least=0)


def rows_tested(h: int, n_windows: int, step_size: int) -> int:
    """Rows behind the first of ``n_windows`` cutoffs.

    >>> rows_tested(24, 7, 24)
    168
    """
    return h + step_size * (n_windows - 1)


def training_part(panel: Panel, h: int, n_windows: int, step_size: int) -> Panel:
    """What lies before the first of ``n_windows`` cutoffs of every series; series that begin later are left out."""
    tested = rows_tested(h, n_windows, step_size)
    ends = panel.lengths - tested
    if (ends < 1).all():
        raise DataError(
            "too_short",
            expected=f"more than {tested} rows in some series",
            got=f"at most {int(panel.lengths.max())}",
            where=f"{n_windows} window(s), step {step_size}, horizon {h}",
            fix="use fewer windows, a smaller step_size or a shorter horizon",
        )
    return panel.until(np.maximum(ends, 0))


def check_truth(panel: Panel, h: int, n_windows: int, step_size: int) -> list[str]:
    """Refuse a test of rows without any target, before anything is trained; a warning where whole windows have none."""
    known = [
        bool(np.isfinite(panel.target[window.end[:, None] + np.arange(h)]).any())
        for window in rolling_origins(panel, h, n_windows, step_size)
    ]
    if any(known):
        absent = len(known) - sum(known)
        return [f"{absent} of {len(known)} windows hold no target: they are not scored"] if absent else []
    raise DataError(
        "no_truth",
        expected="targets in the rows that are tested",
        got=f"none in the last {rows_tested(h, n_windows, step_size)} rows of any series",
        where="backtest",
        fix="leave rows of the future out of the table, or test on more windows",
    )


def check_all_start(panel: Panel, origins: Origins, h: int) -> None:
    """Refuse series of which no origin could be made."""
    absent = np.setdiff1d(np.arange(len(panel)), origins.series)
    if len(absent):
        raise DataError(
            "too_short",
            expected=f"more than {h} rows in every series, so that its last {h} can be explained",
            got=f"{int(panel.lengths[absent[0]])} rows from its first value on",
            where=f"series {panel.ids[absent[0]]!r}, {len(absent)} in all",
            fix="pass futr_df to explain the steps ahead, or leave these series out",
        )
