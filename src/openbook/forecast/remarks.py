"""Warnings about tables that can be used, and may not say what they were meant to say."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from openbook.data.closed import never_seen
from openbook.data.ids import id_text
from openbook.data.panel import TARGET, Panel
from openbook.windows.scaling import fit_columns

log = logging.getLogger("openbook")

_FAR, _TELLING = 4.0, 30  # standard deviations from what was learned from; rows that tell what is usual


def warn_of_open_ends(panel: Panel, h: int) -> None:
    """Say that rows without a target at the end of a series are history, too: a horizon of them looks like what to forecast.

    So do fewer of them, where every series has some and what is known ahead is told there.
    """
    last = panel.observed_span()[1]
    open_N = np.where(last >= panel.offsets[:-1], panel.offsets[1:] - 1 - last, 0)
    planned = len(open_N) and open_N.min() > 0 and np.isfinite(panel.futr[panel.offsets[1:] - 1]).any()
    if not len(open_N) or (open_N.max() < h and not planned):
        return
    series = int(open_N.argmax())
    first = panel.local_times(panel.times).iloc[panel.offsets[series + 1] - open_N[series]]
    log.warning(
        "the last %d rows of series %s, from %s on, have no target: forecasts begin behind them (%d series like this). "
        "To forecast these steps leave the rows out, and pass them as futr_df where inputs are known ahead",
        open_N[series], panel.ids[series], first, int((open_N >= min(h, open_N.max())).sum()),
    )  # fmt: skip


def warn_of_ended(panel: Panel, h: int) -> None:
    """Say which series ended a horizon or more before the newest: their forecasts begin there. Whole numbers may differ."""
    last = panel.times[panel.offsets[1:] - 1]
    if isinstance(panel.freq, int) or len(panel) < 2:
        return
    steps = panel.future(h)[:, -1]
    ended = np.flatnonzero(steps <= last.max())
    if len(ended):
        series = int(ended[np.argmin(last[ended])])
        log.warning(
            "%d of %d series end %d steps or more before the newest, series %s first, on %s: their forecasts begin behind "
            "their own last rows; to leave them out, forecast from a table without them",
            len(ended), len(panel), h, panel.ids[series], panel.local_times(panel.times).iloc[panel.offsets[series + 1] - 1],
        )  # fmt: skip


def warn_of_short_context(panel: Panel, learned: Panel, steps: int) -> None:
    """Say which series come with fewer rows than the model reads, where it learned from more of them."""
    had = {id_text(name): int(count) for name, count in zip(learned.ids, learned.lengths, strict=True)}
    short = [
        number
        for number, (name, count) in enumerate(zip(panel.ids, panel.lengths, strict=True))
        if count < min(steps, had.get(id_text(name), 0))
    ]
    if short:
        log.warning(
            "%d of %d series come with fewer rows than the %d that the model reads, series %s first, with %d: their forecasts "
            "know less, and may be far off; pass at least these rows of history",
            len(short), len(panel), steps, panel.ids[short[0]], panel.lengths[short[0]],
        )  # fmt: skip


def within_history(input_size: int, panel: Panel) -> int:
    """The window that was asked for, the longest history where that is shorter, said so: more of it would always be empty."""
    longest = int(panel.lengths.max(initial=1))
    if input_size <= longest:
        return input_size
    log.warning("input_size=%d is more than the %d rows there are: the model reads these", input_size, longest)
    return longest


def warn_of_guessed_targets(table: pd.DataFrame, target_col: str | Sequence[str]) -> None:
    """Say which columns were taken for series where none was named: an input among them would be forecast, and scored."""
    targets = table.attrs.get("targets", ())
    if isinstance(target_col, str) and target_col == TARGET and len(targets) > 1:
        shown = ", ".join(map(repr, targets[:5])) + (f" and {len(targets) - 5} more" if len(targets) > 5 else "")
        log.warning(
            "each of %d columns of numbers is forecast as a series: %s; where some are inputs, name the target (target_col, "
            "at the command line --target-col)", len(targets), shown,
        )  # fmt: skip


def warn_of_closed_times(panel: Panel) -> None:
    """Say at which times of the week a series never had a value: a forecast there has nothing to go by."""
    owner = np.repeat(np.arange(len(panel)), panel.lengths)
    closed = never_seen(owner, panel.wall_clock(), np.isfinite(panel.target), panel.freq)
    if closed is not None:
        log.warning(
            "series %s has no value in %d weeks on %s (%d series like this): do not use what is forecast there, "
            "or write the zeros into the table where closed means zero",
            panel.ids[closed.series], closed.weeks, closed.when, closed.n_series,
        )  # fmt: skip


def warn_of_no_past(input_size: int | None, ahead: int) -> None:
    """Say where a given window holds nothing but rows of the horizon, ``ahead`` of them in a nowcast."""
    if ahead and input_size is not None and input_size <= ahead:
        log.warning(
            "a window of %d rows holds no past beside the %d that are told: choose a longer one", input_size, ahead
        )


def warn_of_constants(names: Sequence[str], std_C: np.ndarray, static: Sequence[str]) -> None:
    """Say which named inputs can not be learned from: where they change later, no weight knows what that means."""
    still = [repr(name) for name, std in zip(names, std_C, strict=True) if np.isinf(std) and name not in static]
    if still:
        log.warning("input(s) %s never change in what is learned from: the model does not read them", ", ".join(still))


def warn_of_odd_future(ahead_NHK: np.ndarray, panel: Panel, learned: Panel, *, known: tuple[str, ...]) -> None:
    """Say where known-future inputs [N, h, K] are empty, or all unlike those learned from, as in another unit."""
    usual = fit_columns(learned.futr)
    for place, name in enumerate(known):
        ahead_NH, mean, std = ahead_NHK[..., place], usual.mean_C[place], usual.std_C[place]
        empty_NH = np.isnan(ahead_NH)
        if empty_NH.any():
            series, step = np.argwhere(empty_NH)[0]
            log.warning(
                "futr_df, column %r: %d of %d cells are empty, the first of series %s at step %d: these steps are forecast "
                "without it",
                name, int(empty_NH.sum()), empty_NH.size, panel.ids[series], step + 1,
            )  # fmt: skip
        told, past = ahead_NH[~empty_NH], learned.futr[:, place]
        past = past[np.isfinite(past)]
        if not len(told) or len(past) < _TELLING or not np.isfinite(std):
            continue
        if (np.abs(told - mean) > _FAR * std).all() and not ((told >= past.min()) & (told <= past.max())).any():
            log.warning(
                "futr_df, column %r: values from %g to %g, where the newest that were learned from go from %g to %g: "
                "is it the same unit, and the same decimal mark?",
                name, told.min(), told.max(), past.min(), past.max(),
            )  # fmt: skip
