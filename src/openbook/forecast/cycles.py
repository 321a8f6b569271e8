"""The cycle of series whose stamps tell none, whole numbers and fractions of a second: by their autocorrelation."""

from __future__ import annotations

import numpy as np

from openbook.data.panel import Panel

_SERIES_LOOKED_AT = 200
_LONGEST = 400  # lags looked at, no more than a third of a series
_NEWEST = 100_000  # rows of a series that tell
_AS_GOOD = 0.85  # of a lag's strength: where a part of it is as good, that is the cycle
_STILL = 1e-9  # of their size: what moves by less is rounding


def find_cycle(panel: Panel) -> tuple[int, float]:
    """The lag (2 or more) after which series repeat themselves, and how strongly (0 to 1); (1, 0.0) where none can be told.

    Of the changes from step to step the local peak of autocorrelation that is highest in the mean of its multiples; or, where
    that is stronger, as of slow cycles under noise, of the values beside their line the lag at which autocorrelation is highest
    above that half a cycle before, in the mean of its multiples. Levels that wander have no such contrast: theirs only falls.

    >>> from openbook.data.panel import make_panel
    >>> import pandas as pd
    >>> day = pd.DataFrame({"unique_id": "a", "ds": range(60), "y": [1.0, 2.0, 9.0, 8.0, 3.0] * 12})
    >>> find_cycle(make_panel(day))[0]
    5
    """
    most = int(min(_LONGEST, max(2, np.median(panel.lengths) // 3)))
    chosen = np.linspace(0, len(panel) - 1, min(len(panel), _SERIES_LOOKED_AT)).astype(int)
    values = [_filled(panel.target[panel.rows(series)][-_NEWEST:]) for series in chosen]
    sizes = [float(np.abs(each).max(initial=0.0)) for each in values]
    changes = _mean_autocorrelation([np.diff(each) for each in values], sizes, most)
    if changes is None or most < 3:
        return 1, 0.0
    beside = _mean_autocorrelation([_beside_its_line(each) for each in values], sizes, most)
    slow = (1, 0.0) if beside is None else _of_values(beside)
    return max(_of_changes(changes), slow, key=lambda one: one[1])


def _filled(values: np.ndarray) -> np.ndarray:
    seen = np.isfinite(values)
    return np.where(seen, values, values[seen].mean() if seen.any() else 0.0)


def _beside_its_line(values: np.ndarray) -> np.ndarray:
    place = np.arange(len(values)) - (len(values) - 1) / 2
    slope = place @ values / max(1.0, place @ place)
    return values - values.mean() - slope * place


def _mean_autocorrelation(series: list[np.ndarray], sizes: list[float], most: int) -> np.ndarray | None:
    """Autocorrelation of lags 0 to ``most`` in the mean of those that are long enough and move, [most + 1]."""
    told = []
    for values, size in zip(series, sizes, strict=True):
        if len(values) <= most or np.ptp(values) <= _STILL * size:
            continue
        power = np.abs(np.fft.rfft(values - values.mean(), 2 * len(values))) ** 2
        correlation = np.fft.irfft(power)[: most + 1]
        told.append(correlation / correlation[0])
    return np.mean(told, axis=0) if told else None


def _of_changes(mean: np.ndarray) -> tuple[int, float]:
    most = len(mean) - 1
    inner = np.arange(2, most)
    peaks = inner[(mean[inner] >= mean[inner - 1]) & (mean[inner] >= mean[inner + 1])]
    if not len(peaks):
        return 1, 0.0
    best = _whole(mean, _shortest(peaks, np.array([mean[lag::lag].mean() for lag in peaks])))
    return best, float(mean[best])


def _of_values(mean: np.ndarray) -> tuple[int, float]:
    most = len(mean) - 1
    lags = np.arange(4, most // 2 + 1)
    if not len(lags):
        return 1, 0.0
    contrast = np.empty(len(lags))
    for place, lag in enumerate(lags):
        times = np.arange(1, most // lag + 1)
        half = np.round((times - 0.5) * lag).astype(int)
        contrast[place] = np.mean(mean[times * lag] - mean[half]) / 2
    part = _shortest(lags, contrast)
    return _whole(mean, part), float(contrast[part - 4])


def _shortest(lags: np.ndarray, strength: np.ndarray) -> int:
    """The strongest lag, or the strongest near a fraction of it (a half, a third, ...) that is about as strong."""
    best, top = int(lags[np.argmax(strength)]), float(strength.max())
    for parts in range(best // 2, 1, -1):
        near = np.abs(lags * parts - best) <= 0.1 * best
        if near.any() and strength[near].max() >= _AS_GOOD * top:
            return int(lags[near][np.argmax(strength[near])])
    return best


def _whole(mean: np.ndarray, part: int) -> int:
    """The cycle that a lag is a part of: its double or more, where autocorrelation is clearly higher than at what lies between.

    Of two tides a day, which differ, the day.
    """
    for times in range(2, 8):
        whole = times * part
        between = np.array([lag for lag in range(part, len(mean), part) if lag % whole])
        if whole < len(mean) and mean[between].mean() < _AS_GOOD * mean[whole::whole].mean():
            return whole
    return part
