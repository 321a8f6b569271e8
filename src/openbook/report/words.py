"""The page's sentences: who won, by how much, how sure one can be; and numbers with sensible digits."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from openbook.plots.times import Clock
from openbook.report.source import Backtest

# Errors that differ relatively by less are equal: scores.csv keeps six digits.
TIE = 1e-5
# Below this relative difference two methods are called level.
_LEVEL = 0.005
# Decimals at most: smaller numbers are written with a power of ten.
_MOST_DIGITS = 6
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Duel(NamedTuple):
    """The best model of a kind against the best of the other kind, window by window over all series together.

    Errors are told in the backtest's ``unit_metric``.
    ``windows`` counts those that share no step and have a nearer one, ``level`` those without, ``overlapping`` those left out.
    """

    winner: str
    rival: str
    winner_error: float
    rival_error: float
    gain: float
    closer: int
    windows: int
    chance: float
    overlapping: int
    level: int = 0


def digits_for(values: Iterable[float]) -> int:
    """Decimals that show three digits of a typical value of a column.

    >>> digits_for([12.34, 9.9]), digits_for([1234.5]), digits_for([0.0123])
    (1, 0, 4)
    """
    sizes = np.array([abs(value) for value in values if math.isfinite(value) and value != 0])
    return int(np.clip(2 - math.floor(math.log10(float(np.median(sizes)))), 0, _MOST_DIGITS)) if sizes.size else 0


def number(value: float, digits: int | None = None) -> str:
    """A number with three digits worth reading, thousands set apart.

    >>> number(1234.5), number(12.345), number(0.01234), number(3.214e-7), number(float("nan"))
    ('1,234', '12.3', '0.0123', '3.21 × 10⁻⁷', '–')
    """
    if not math.isfinite(value):
        return "–"
    digits = digits_for([value]) if digits is None else digits
    if digits == _MOST_DIGITS and 0 < abs(value) < 10 ** (1 - _MOST_DIGITS):
        figures, power = f"{value:.2e}".split("e")
        return f"{figures} × 10{str(int(power)).translate(_RAISED)}".replace("-", "−")
    return f"{value:,.{digits}f}".replace("-", "−")


def percent(share: float, digits: int = 1, *, sign: bool = False) -> str:
    """A share as per cent; with ``sign``, changes read '+3.1%' and '−3.1%'.

    >>> percent(0.123), percent(-0.031, sign=True)
    ('12.3%', '−3.1%')
    """
    if not math.isfinite(share):
        return "–"
    return f"{100 * share:{'+' if sign else ''}.{digits}f}%".replace("-", "−")


def shown(model: str) -> str:
    """A model's name as the page writes it.

    >>> shown("seasonal_naive")
    'seasonal naive'
    """
    return model.replace("_", " ").strip() or model


def begin(sentence: str) -> str:
    """The sentence with a capital first letter."""
    return sentence[:1].upper() + sentence[1:]


def plural(count: int, word: str, many: str | None = None) -> str:
    """'1 window', '7 windows', '3 series' (``many`` where an s does not do it)."""
    return f"{count:,} {word if count == 1 else many or word + 's'}"


def best_of(backtest: Backtest, *, floor: bool) -> str | None:
    """The best ranked floor, or the best ranked model that is none."""
    return next((model for model in backtest.ranked if (model in backtest.floors) == floor), None)


def window_errors(backtest: Backtest, models: Iterable[str]) -> pd.DataFrame:
    """Mean absolute error of each (unique_id, cutoff), one column a model; stamps without an actual count for nobody."""
    models = list(models)
    forecasts = backtest.forecasts
    errors = forecasts[models].astype(float).sub(forecasts["y"].astype(float), axis=0).abs()
    keys = [forecasts["unique_id"], forecasts["cutoff"]]
    return errors[errors.notna().all(axis=1)].groupby(keys).mean()


def duel(backtest: Backtest) -> Duel | None:
    """The winner against the best of the other kind; None where only one kind was scored."""
    if not backtest.ranked:
        return None
    winner = backtest.ranked[0]
    rival = best_of(backtest, floor=winner not in backtest.floors)
    if rival is None:
        return None
    closer, windows, overlapping, level = 0, 0, 0, 0
    if {winner, rival} <= set(backtest.forecasts.columns):
        each = _all_series(window_errors(backtest, [winner, rival]))
        apart = each[each.index.isin(_apart(backtest, each.index))]
        overlapping, same = len(each) - len(apart), tied(apart[winner], apart[rival])
        level, apart = int(same.sum()), apart[~same]
        closer, windows = int((apart[winner] < apart[rival]).sum()), len(apart)
    errors = backtest.score(winner, backtest.unit_metric), backtest.score(rival, backtest.unit_metric)
    gain = 1 - errors[0] / errors[1] if errors[1] > 0 else math.nan
    return Duel(winner, rival, *errors, gain, closer, windows, coin_chance(closer, windows), overlapping, level)


def tied(one: Any, other: Any) -> Any:
    """Whether two errors, or two columns of them, differ by rounding alone.

    >>> [bool(tied(2.0, other)) for other in (2.000001, 2.001)]
    [True, False]
    """
    return abs(one - other) <= TIE * np.maximum(abs(one), abs(other))


def _apart(backtest: Backtest, cutoffs: pd.Index) -> list[Any]:
    """Those of the cutoffs whose windows share no step with each other, from the newest on, whichever series they are of."""
    last = backtest.forecasts.groupby("cutoff")["ds"].max()
    kept: list[Any] = []
    for cutoff in cutoffs.unique().sort_values(ascending=False):
        if not kept or last[cutoff] <= kept[-1]:
            kept.append(cutoff)
    return kept


def _all_series(errors: pd.DataFrame) -> pd.DataFrame:
    """Errors of windows (unique_id, cutoff) as means over the series of a cutoff, each series in its own size.

    Series of one week share its weather and holidays: they are one toss of the coin, not many.
    """
    size = errors.sum(axis=1).groupby(level=0).transform("mean")
    return errors.div(size.where(size > 0), axis=0).groupby(level=1).mean().dropna()


def coin_chance(heads: int, tosses: int) -> float:
    """How often a fair coin splits at least this unevenly (two-sided sign test).

    >>> round(coin_chance(6, 7), 3)
    0.125
    """
    if tosses == 0:
        return 1.0
    far = max(heads, tosses - heads)
    tail = sum(math.comb(tosses, k) for k in range(far, tosses + 1)) / 2**tosses
    return min(1.0, 2 * tail)


def amount(backtest: Backtest, value: float, clock: Clock) -> str:
    """An error with its unit: '12.3 calls per hour'; of series without a unit in common as a share."""
    if backtest.unit_metric == "mase":
        return f"{number(value)} times the error of repeating the past"
    target = str(backtest.run.get("target") or "")
    unit = "" if target in ("", "y") else f" {target}"
    return f"{number(value)}{unit} per {clock.per}"


def headline(backtest: Backtest, clock: Clock) -> str:
    """Who won, by how much, in one sentence; a floor that wins is named first."""
    if not backtest.ranked:
        return "No model could be scored on this data"
    winner = backtest.ranked[0]
    result = duel(backtest)
    off = amount(backtest, backtest.score(winner, backtest.unit_metric), clock)
    if result is None:
        kind = "Only simple methods ran" if winner in backtest.floors else "No simple method ran beside it"
        return f"{kind}: {shown(winner)} came closest, off by {off} on average"
    if _no_winner(backtest, result):
        network, floor = sorted((winner, result.rival), key=lambda name: name in backtest.floors)
        return (
            f"No winner: {shown(network)} and the best simple method, {shown(floor)}, were both off by {off} on average"
        )
    if winner in backtest.floors:
        return f"A simple method won: {shown(winner)} was off by {off} on average{_against(result, 'the best network')}"
    return f"{begin(shown(winner))} came closest: off by {off} on average{_against(result, 'the best simple method')}"


def _no_winner(backtest: Backtest, result: Duel) -> bool:
    best = [backtest.score(model, backtest.metric) for model in (result.winner, result.rival)]
    return bool(tied(*best) and tied(result.winner_error, result.rival_error))


def _against(result: Duel, rival: str) -> str:
    name = f"{rival}, {shown(result.rival)}"
    if not math.isfinite(result.gain):
        return f", ahead of {name}"
    if abs(result.gain) < _LEVEL:
        return f", level with {name}"
    size = percent(abs(result.gain), 0 if abs(result.gain) >= 0.1 else 1)
    if size == "100%" and 0 < result.gain < 1:
        size = "more than 99%"
    if result.gain < 0:
        return f", {size} more than {name}, yet ahead once every series counts the same"
    return f", {size} less than {name}"


def verdict(backtest: Backtest) -> list[str]:
    """What stands behind the headline: both errors, windows won, chance, coverage of the band, share of all volume."""
    result = duel(backtest)
    if not backtest.ranked:
        return ["Every model failed or had nothing to be compared with; the reasons are listed below."]
    winner = backtest.ranked[0]
    sentences = []
    if result is None:
        if winner not in backtest.floors:
            sentences.append(
                "Without a simple method beside it, this test can not say whether the network was worth its while."
            )
    else:
        level, floor = _no_winner(backtest, result), best_of(backtest, floor=True)
        if not level:
            digits = digits_for([result.rival_error])
            apart = abs(result.rival_error - result.winner_error)
            difference = number(apart, digits if round(apart, digits) else None)
            rival = begin(shown(result.rival))
            sentences.append(f"{rival} was off by {number(result.rival_error, digits)}, a difference of {difference}.")
        sentences += _luck(result)
        if floor is not None and (level or winner == floor):
            sentences.append(
                f"On this evidence use {shown(floor)}: it is simpler, and the network has not shown to be better."
            )
    return sentences + _quality(backtest, winner)


def _luck(result: Duel) -> list[str]:
    if result.windows == 0:
        return []
    apart = " that share no step" if result.overlapping else ""
    level = (
        f" ({'once' if result.level == 1 else f'{result.level} times'} more they were level)" if result.level else ""
    )
    windows = f"of {plural(result.windows, 'window')}{apart}{level}"
    leads = not tied(result.winner_error, result.rival_error)
    if leads and 2 * result.closer < result.windows:  # what a coin says of it would speak for the other one
        rival, winner = begin(shown(result.rival)), shown(result.winner)
        nearer = f"{rival} was the closer of the two in {result.windows - result.closer} {windows}"
        return [f"{nearer}: {winner} leads by a few windows with large errors, so test on more windows."]
    split = f"{begin(shown(result.winner))} was the closer of the two in {result.closer} {windows}"
    if result.chance > 0.05:
        coin = f"A tossed coin splits that unevenly {percent(result.chance, 0)} of the time"
        if result.chance == 1:  # half of them, or as near to it as an odd number allows
            coin = "That is how a tossed coin splits them"
        return [f"{split}. {coin}, so this may be luck: test on more windows."]
    return [f"{split}; a tossed coin would split that unevenly {_rarely(result.chance)}."]


def _rarely(chance: float) -> str:
    return "less than once in a thousand times" if chance < 0.001 else f"only once in {round(1 / chance):,} times"


def _quality(backtest: Backtest, model: str) -> list[str]:
    wape, coverage = backtest.score(model, "wape"), backtest.score(model, "coverage_80")
    sentences = []
    missing = backtest.score(model, "missing") if "missing" in backtest.scores else 0.0
    if missing > 0:
        share = percent(missing, 0) if missing >= 0.005 else "less than 1%"
        sentences.append(
            f"{begin(shown(model))} gave no forecast for {share} of the rows: its scores are of the others."
        )
    if math.isfinite(wape) and backtest.unit_metric == "mae":  # volumes of several units do not add up
        sentences.append(f"The errors of {shown(model)} add up to {percent(wape)} of the actual volume.")
    if math.isfinite(coverage):
        held = f"The 80% band of {shown(model)} held {percent(coverage, 0)} of what happened"
        cutoffs = window_errors(backtest, [model]).index.unique(1) if model in backtest.forecasts else pd.Index([])
        chance = 2 * math.sqrt(0.8 * 0.2 / max(len(_apart(backtest, cutoffs)), 1))  # what few windows may differ by
        if coverage < min(0.74, 0.8 - chance):
            held += ": the band is too narrow, plan with more slack than it shows"
        elif coverage > max(0.88, 0.8 + chance):
            held += ": the band is wider than it needs to be"
        sentences.append(held + ".")
    return sentences


def command_line(run: dict[str, Any]) -> str:
    """The command that repeats the run: as it was told, or from its arguments; empty where both are unknown."""
    if isinstance(run.get("command"), str):
        return run["command"]
    arguments = run.get("arguments")
    if not isinstance(arguments, dict) or not arguments:
        return ""
    words = ["openbook", "backtest"]
    if arguments.get("data") is not None:
        words.append(str(arguments["data"]))
    for name, value in arguments.items():
        if name == "data" or value is None or value is False or (value in ([], {}, "") and name != "hist_exog"):
            continue
        words.append("--" + re.sub(r"_", "-", str(name)))
        if value is not True:
            words.append(",".join(map(str, value)) if isinstance(value, list) else str(value))
    return " ".join(map(shlex.quote, words))
