"""Stamps that other hours and other days do not explain: scores, two thresholds, and what each was rebuilt from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from openbook.data.kinds import as_input
from openbook.data.panel import Panel
from openbook.errors import DataError, UsageError
from openbook.forecast.arguments import check_free
from openbook.forecast.origins import Origins
from openbook.models.base import AttentionMap, Teaching
from openbook.models.day_to_day import DayToDayConfig
from openbook.windows.batch import Batch
from openbook.windows.sampler import WindowIndex, batches, blind, gather, make_resident

if TYPE_CHECKING:
    from openbook.forecast.forecaster import Forecaster

_PASSES = 4  # each hides a fourth of the period, so that no stamp helps to rebuild itself or its neighbours
# Columns of the result beside id, time and target.
TOLD = ("expected", "score", "rebuilt_from", "by_quantile", "by_peaks")
_SOME = 0.1  # of a series' stamps: where it moves at fewer it is measured by its rest
_LEAST = 0.1  # of the usual half band: narrower ones would blow rounding up
_TAIL = 0.98  # scores above this quantile are the peaks whose excesses are fitted
_FEWEST, _PEAKS = 50, 10  # scores that have a tail at all, and peaks it is fitted to where scores are few


@dataclass(frozen=True)
class Anomalies:
    """Scores of all stamps: ``frame`` with id, time, target, ``expected``, ``score``, two verdicts and ``rebuilt_from``, of
    the kind that came in.

    ``score`` is the error of rebuilding a stamp without having seen it, in units of the stamp's own 80 % band (1: at its
    edge), so that restless hours and series are measured by their own unrest. It is NaN where nothing was observed, and in
    periods without anything observed before them, such as a series' first. Models trained without quantiles take the
    series' median error as unit. ``by_quantile`` and ``by_peaks`` say whether it lies above ``quantile_threshold`` and
    ``peaks_threshold``. ``rebuilt_from`` is the stamp with the largest weight: of a past day, or the stamp itself where
    the rest of its own day told most.
    """

    frame: Any
    quantile_threshold: float
    peaks_threshold: float

    def found(self) -> Any:
        """The rows either threshold calls an anomaly, highest score first."""
        frame, restore = as_input(self.frame)
        marked = frame[frame["by_quantile"] | frame["by_peaks"]]
        return restore(marked.sort_values("score", ascending=False, ignore_index=True))


class _Rebuilt(NamedTuple):
    """Medians and 80 % bands [W, H, 3] of rebuilt windows (low, median, high), and the rows [W, H] they leant on most."""

    band_WH3: np.ndarray
    source_WH: np.ndarray


def find_anomalies(forecaster: Forecaster, df: Any, *, quantile: float = 0.995, risk: float = 1e-3) -> Anomalies:
    """Score every stamp of a table with a fitted ``day_to_day`` in ``mode="reconstruct"``.

    ``quantile``: the share of scores below the first threshold. ``risk``: the probability with which the second may be
    exceeded by chance, from a generalised Pareto distribution of the peaks (see ``peaks_over_threshold``).
    Raises ``UsageError`` for another model and shares outside 0 to 1, ``DataError`` where no series holds a period.
    """
    fitted = forecaster.fitted()
    if not isinstance(fitted.config, DayToDayConfig) or fitted.config.mode != "reconstruct":
        raise UsageError(
            "no_reconstruction",
            expected="model=DayToDayConfig(mode='reconstruct')",
            got=fitted.config.name,
            where="anomalies",
            fix="fit such a model",
        )
    check_shares(quantile=quantile, risk=risk)
    check_free((forecaster.columns.id, forecaster.columns.time, forecaster.columns.value), TOLD)
    panel, restore = forecaster.table_panel(df)
    windows = _every_period(panel, forecaster.h)
    rebuilt = _rebuild(forecaster, panel, windows)
    rows = windows.end[:, None] + np.arange(forecaster.h)
    band, source = np.full((len(panel.target), 3), np.nan), np.full(len(panel.target), -1)
    # With nothing seen before there is no level to be rebuilt at, and without any past day it was not learned how; where
    # windows overlap, one that has both counts.
    blind_W = blind(panel, WindowIndex(*windows), fitted.windows.input_size)
    least, length_W = fitted.windows.least_context, panel.lengths[windows.series]
    blind_W |= (length_W >= least + forecaster.h) & (windows.end - panel.offsets[windows.series] < least)
    rebuilt.band_WH3[blind_W] = np.nan
    for which in (blind_W, ~blind_W):
        band[rows[which]], source[rows[which]] = rebuilt.band_WH3[which], rebuilt.source_WH[which]
    expected, score = band[:, 1], _scores(panel, band)
    seen = score[np.isfinite(score)]
    limits = (float(np.quantile(seen, quantile)), peaks_over_threshold(seen, risk)) if len(seen) else (np.nan, np.nan)
    frame = _frame(panel, expected, score, source, forecaster.columns)
    frame["by_quantile"], frame["by_peaks"] = score > limits[0], score > limits[1]
    return Anomalies(restore(frame), *limits)


def check_shares(**shares: float) -> None:
    """Refuse shares outside 0 to 1, by name."""
    for name, share in shares.items():
        if not 0 < share < 1:
            raise UsageError(
                "bad_share", expected="a share between 0 and 1", got=repr(share), where=name, fix="e.g. 0.995"
            )


def peaks_over_threshold(scores: np.ndarray, risk: float, tail: float = _TAIL) -> float:
    """The score that is exceeded with probability ``risk``, extrapolated from the excesses over the ``tail`` quantile.

    Excesses follow a generalised Pareto distribution (Pickands 1975); its two parameters come from probability-weighted
    moments (Hosking & Wallis 1987, equations 8 and 9), which exist in closed form for shapes below one. Where scores are too
    few for ten excesses more of them count as peaks, up to a fifth; of fewer than fifty scores, or where all excesses are
    equal, the largest score.

    >>> draws = np.random.default_rng(0).exponential(size=100_000)
    >>> round(peaks_over_threshold(draws, 1e-4), 1)  # -log(1e-4) = 9.2, and the luck of ten draws beyond it
    9.5
    """
    if len(scores) < _FEWEST:
        return float(scores.max())
    if risk >= 1 - tail:
        return float(np.quantile(scores, 1 - risk))
    start = min(float(np.sort(scores)[-_PEAKS - 1]), float(np.quantile(scores, tail)))
    excess = np.sort(scores[scores > start]) - start
    if len(excess) < _PEAKS or excess[-1] == excess[0]:
        return float(scores.max())
    rank = (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    mean, weighted = float(excess.mean()), float(((1 - rank) * excess).mean())
    shape = 2 - mean / (mean - 2 * weighted)
    scale = 2 * mean * weighted / (mean - 2 * weighted)
    ratio = risk * len(scores) / len(excess)
    if abs(shape) < 1e-6:
        return start - scale * float(np.log(ratio))
    return start + scale / shape * (ratio**-shape - 1)


def _every_period(panel: Panel, h: int) -> Origins:
    """Windows that cover every series of at least ``h`` rows, the last one ending it."""
    series, ends = [], []
    for number in np.flatnonzero(panel.lengths >= h):
        rows = panel.rows(int(number))
        begin = np.unique(np.append(np.arange(rows.start, rows.stop - h + 1, h), rows.stop - h))
        series.append(np.full(len(begin), number))
        ends.append(begin)
    if not ends:
        raise DataError(
            "too_short",
            expected=f"a series of at least {h} rows",
            got=f"at most {int(panel.lengths.max())}",
            where="anomalies",
            fix="fit with a shorter h",
        )
    return Origins(np.concatenate(series).astype(np.int64), np.concatenate(ends).astype(np.int64))


def _rebuild(forecaster: Forecaster, panel: Panel, windows: Origins) -> _Rebuilt:
    """Every stamp rebuilt in the pass in which it was hidden."""
    h = forecaster.h
    part_H = np.arange(h) * _PASSES // h
    band_WH3, source_WH = np.zeros((len(windows.end), h, 3)), np.zeros((len(windows.end), h), dtype=np.int64)
    first = 0
    for batch, runs in _passes(forecaster, panel, windows, part_H):
        rows = slice(first, first + len(batch.last_BM))
        for number, (band_BH3, offset_BH) in enumerate(runs):
            hidden = part_H == number
            band_WH3[rows, hidden] = band_BH3[:, hidden]
            source_WH[rows, hidden] = (windows.end[rows, None] + offset_BH)[:, hidden]
        first = rows.stop
    return _Rebuilt(band_WH3, source_WH)


@torch.no_grad()
def _passes(
    forecaster: Forecaster, panel: Panel, windows: Origins, part_H: np.ndarray
) -> Iterator[tuple[Batch, list[tuple[np.ndarray, np.ndarray]]]]:
    """Batches of windows, each with its passes: rebuilt values and rows leant on, relative to the window's first."""
    fitted = forecaster.fitted()
    device = next(fitted.model.parameters()).device
    resident = make_resident(panel, fitted.layout, fitted.columns, device)
    fitted.model.eval()
    for piece in batches(WindowIndex(*windows), 256):
        series, end = (torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in piece)
        batch, runs = gather(resident, series, end, fitted.windows), []
        for number in range(int(part_H.max()) + 1):
            shown_H = torch.from_numpy(part_H != number).to(device)
            output = fitted.model(batch, Teaching(shown_BH=shown_H.expand(len(end), -1)))
            quantile_BHQ = output.quantile_BHMQ[:, :, 0].double().cpu().numpy()
            low_BH, high_BH = fitted.calibration.raw_band(quantile_BHQ, 80)
            band_BH3 = np.stack([low_BH, quantile_BHQ[..., fitted.shape.median], high_BH], axis=-1)
            scale_B11, location_B11 = (part.cpu().numpy()[..., None] for part in (batch.scale_BM, batch.location_BM))
            runs.append((band_BH3 * scale_B11 + location_B11, _leant_on(output.attention)))
        yield batch, runs


def _leant_on(attention: AttentionMap) -> np.ndarray:
    """The row with the largest weight for each step, [B, H], relative to the window's first."""
    assert attention.row_HT is not None
    best_BH = attention.weight_BHTF[..., 0].argmax(-1)
    return attention.row_HT.expand(len(best_BH), -1, -1).gather(2, best_BH[..., None])[..., 0].cpu().numpy()


def _scores(panel: Panel, band: np.ndarray) -> np.ndarray:
    """Errors in units of the band's half towards them, [R]; never less than a tenth of the series' usual half.

    What never moved in the table has nothing to find: its errors are those of rounding. Without bands the unit is the median
    error of the stamps at which the series moves, or of all where it hardly ever does.
    """
    error = panel.target - band[:, 1]
    half = np.where(error > 0, band[:, 2] - band[:, 1], band[:, 1] - band[:, 0])
    score = np.abs(error)
    for number in range(len(panel)):
        rows = panel.rows(number)
        seen = np.isfinite(score[rows])
        if not seen.any():
            continue
        usual, told = float(np.median(half[rows][seen])), panel.target[rows]
        if np.nanmin(told) == np.nanmax(told):
            score[rows] = np.where(seen, 0.0, np.nan)
        elif usual <= 0:  # no quantiles but the median
            off, moves = score[rows][seen], (np.diff(told, prepend=np.nan) != 0)[seen]
            usual = float(np.median(off[moves] if moves.mean() > _SOME else off))
            score[rows] /= usual or float(off.mean()) or 1.0
        else:
            score[rows] /= np.maximum(half[rows], _LEAST * usual)
    return score


def _frame(panel: Panel, expected: np.ndarray, score: np.ndarray, source: np.ndarray, names: Any) -> pd.DataFrame:
    stamps = panel.local_times(panel.times)
    owner = np.repeat(np.arange(len(panel)), panel.lengths)
    sources = stamps.iloc[np.maximum(source, 0)].reset_index(drop=True)
    if pd.api.types.is_integer_dtype(sources):
        sources = sources.astype("Int64")  # those without a source would make them fractions
    return pd.DataFrame(
        {
            names.id: panel.ids[owner],
            names.time: stamps.array,
            names.value: panel.target,
            "expected": expected,
            "score": score,
            "rebuilt_from": sources.where(np.isfinite(expected)).array,
        }
    )
