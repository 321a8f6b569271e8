"""The season check of an audit: does the target repeat itself, and after how many steps?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from openbook.data.findings import Finding, View
from openbook.data.frequency import step_seconds

_DAY = 86_400
_SAMPLED_SERIES, _SAMPLED_STEPS = 8, 20_000


def find_seasons(view: View) -> tuple[tuple[int, ...], tuple[Finding, ...]]:
    """Lags at which the longest series repeat themselves, clearest first, and what they say against the usual season."""
    if view.before is None:
        return (), ()
    usual = view.season
    echo = _echo(view, usual)
    if echo is None:
        return ((usual,) if usual > 1 else ()), ()
    strength = {lag: _near(echo, lag) for lag in _usual_lags(view) if 2 * lag < len(echo)}
    peak = _first_peak(echo, usual)
    if peak is not None and all(abs(peak - lag) > max(1, 0.03 * lag) for lag in strength):
        strength[peak] = float(echo[peak])
    clear = [lag for lag in strength if strength[lag] > 0.2 and not _mere_multiple(lag, strength, echo)]
    found = tuple(sorted(clear, key=lambda lag: -strength[lag]))
    return found, tuple(_season_findings(usual, peak, strength, found))


def _season_findings(
    usual: int, peak: int | None, strength: dict[int, float], found: tuple[int, ...]
) -> Iterator[Finding]:
    where = "target"
    shown = ", ".join(f"{lag} ({strength[lag]:.2f})" for lag in found[:3])
    odd = peak is not None and peak % usual > 0.03 * peak and usual % peak > 0
    if peak is not None and usual > 1 and odd and strength.get(peak, 0) > strength.get(usual, 0) + 0.15:
        yield Finding(
            "F17-season", "warning", where, f"values repeat after {shown} steps, not after the usual {usual}",
            "look at the series; a wrong freq or an unusual cycle needs its own season",
        )  # fmt: skip
    elif found:
        yield Finding(
            "F17-season", "info", where, f"values repeat after {shown} step(s) (autocorrelation of changes)",
            "nothing: input_size should cover the longest of them",
        )  # fmt: skip
    elif usual in strength:
        yield Finding(
            "F17-season", "info", where, f"no season is visible (autocorrelation {strength[usual]:.2f} at {usual} steps)",
            "nothing: a naive forecast is the floor to beat",
        )  # fmt: skip


def _mere_multiple(lag: int, strength: dict[int, float], echo: np.ndarray) -> bool:
    """A week of seven equal days: the lag repeats a shorter one no better than the multiples beside it."""
    base = min(
        (short for short in strength if strength[short] > 0.2 and short < lag and lag % short == 0), default=None
    )
    if base is None:
        return False
    beside = [_near(echo, other) for other in (lag - base, lag + base) if base <= other < len(echo) - 2]
    return strength[lag] < float(np.mean(beside)) + 0.03


def _usual_lags(view: View) -> list[int]:
    seconds = step_seconds(view.freq) if view.freq is not None else None
    if seconds is None:
        return [view.season] if view.season > 1 else []
    if view.freq == "B":
        return [5]
    cycles = (
        [_DAY, 7 * _DAY] if seconds < _DAY else [7 * _DAY, 365.25 * _DAY] if seconds < 6 * _DAY else [365.25 * _DAY]
    )
    return [lag for lag in (round(cycle / seconds) for cycle in cycles) if lag > 1]


def _echo(view: View, usual: int) -> np.ndarray | None:
    """Mean autocorrelation of the changes of the longest series, smoothed to a twelfth of a season."""
    width = max(1, usual // 12)
    echoes = []
    for series in np.argsort(-view.lengths, kind="stable")[:_SAMPLED_SERIES]:
        rows = slice(int(view.starts[series]), int(view.starts[series + 1]))
        if len(np.unique(view.target[rows][:_SAMPLED_STEPS])) < 10:
            continue
        values = _on_grid(view, rows)[-_SAMPLED_STEPS:]
        if width > 1 and len(values) > 2 * width:
            values = pd.Series(values).rolling(width, min_periods=max(1, width // 2)).mean().to_numpy()
        changes = values[width:] - values[:-width]
        known = np.isfinite(changes)
        if known.sum() < max(4 * usual, 40) or np.nanstd(changes) <= 1e-12 * np.nanmax(np.abs(values)):
            continue  # a straight line: its changes differ by rounding
        spread = 1.4826 * np.median(np.abs(changes[known] - np.median(changes[known]))) or np.std(changes[known])
        echoes.append(_autocorrelation(np.clip(changes, -6 * spread, 6 * spread)))
    if not echoes:
        return None
    length = min(map(len, echoes))
    return np.asarray(np.mean([echo[:length] for echo in echoes], axis=0))


def _on_grid(view: View, rows: slice) -> np.ndarray:
    assert view.before is not None
    places = np.arange(rows.stop - rows.start) + np.cumsum(view.before[rows])
    if places[-1] > 50 * len(places):
        return view.target[rows]
    values = np.full(places[-1] + 1, np.nan)
    values[places] = view.target[rows]
    return values


def _autocorrelation(values: np.ndarray) -> np.ndarray:
    """By Fourier transform, over the first third of the lags; missing values weigh nothing."""
    known = np.isfinite(values)
    centred = np.where(known, values - values[known].mean(), 0.0)
    size = 1 << (2 * len(values) - 1).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2)[: len(values)]
    pairs = np.fft.irfft(np.abs(np.fft.rfft(known.astype(float), size)) ** 2)[: len(values)]
    keep = max(2, int(len(values) * 0.55))
    spread = products[0] / max(pairs[0], 1)
    return np.asarray((products[:keep] / np.maximum(pairs[:keep], 1)) / spread)


def _near(echo: np.ndarray, lag: int) -> float:
    reach = max(1, lag // 100)
    return float(echo[max(lag - reach, 1) : lag + reach + 1].max())


def _first_peak(echo: np.ndarray, usual: int) -> int | None:
    """The first lag whose autocorrelation is a local maximum close to the highest one."""
    low = max(2, usual // 6)
    body = echo[: max(low + 3, int(len(echo) * 0.6))]
    rises = (body[1:-1] > body[:-2]) & (body[1:-1] >= body[2:])
    lags = np.flatnonzero(rises) + 1
    lags = lags[(lags >= low) & (body[lags] > max(0.2, 4 / np.sqrt(len(echo))))]
    if not len(lags):
        return None
    return int(lags[body[lags] >= 0.85 * body[lags].max()][0])
