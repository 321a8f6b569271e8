"""Parts of a calendar written as one number: refused with what makes dates of them, where counting on would be wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from openbook.data.stamps import parse_stamps
from openbook.errors import DataError

WORKING = pd.bdate_range("2021-01-04", periods=300)
DAYS = pd.date_range("2021-01-01", periods=300)


def written(days: pd.DatetimeIndex, form: str) -> list[int]:
    return [int(text) for text in days.strftime(form)]


def parts(most: int, factor: int, first: int = 2010) -> list[int]:
    return [year * factor + part for year in range(first, 2024) for part in range(1, most + 1)]


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        (written(WORKING, "%y%m%d"), "%y%m%d"),
        (written(WORKING, "%Y%j"), "%Y%j"),
        (written(pd.date_range("2018-01-01", periods=72, freq="MS"), "%y%m"), "%y%m"),
        (written(pd.date_range("2021-01-01", periods=100, freq="h"), "%y%m%d%H"), "%y%m%d%H"),
        (written(pd.date_range("2017-01-02", periods=150, freq="W-MON"), "%Y%W"), "%Y%W%w"),
        (written(pd.date_range("2020-01-05", periods=150, freq="W-SUN"), "%Y%W"), "%Y%W%w"),
        (written(pd.date_range("2018-01-01", periods=150, freq="W-MON"), "%G%V"), "%G%V%u"),
        (written(DAYS, "%d%m%y"), "%d%m%y"),
        (written(pd.date_range("2019-12-30", periods=105, freq="W-MON"), "%G%V"), "%G%V%u"),  # a year of 53 weeks alone
        (written(pd.date_range("2020-06-01", periods=400), "%Y%j"), "%Y%j"),  # a leap year's end alone
        (written(pd.date_range("2019-12-30", periods=80, freq="W-MON"), "%g%V"), "%G%V%u"),
        (written(pd.date_range("2005-01-01", periods=300), "%y%m%d"), "%y%m%d"),
        (written(pd.date_range("2021-01-04", periods=150, freq="W-MON"), "%G%V"), "%G%V%u"),
        (
            [number % 10_000 for number in written(pd.date_range("2021-01-04", periods=150, freq="W-MON"), "%G%V")],
            '"20" +',
        ),
        ([number % 100_000 for number in written(WORKING, "%Y%j")], '"20" +'),
        ([year * 10 + part for year in range(18, 25) for part in (1, 2, 3, 4)], "2000 + ds // 10"),
        (written(DAYS, "%m%d%y"), "%m%d%y"),
        (parts(2, 10), "6 * (ds % 10)"),
        (parts(3, 10), "4 * (ds % 10)"),
        (parts(4, 10), "3 * (ds % 10)"),
        (parts(4, 100), "3 * (ds % 100)"),
        (parts(4, 100)[2:-1], "3 * (ds % 100)"),
        (parts(2, 100), "6 * (ds % 100)"),
    ],
)
def test_codes_are_refused_and_what_is_told_makes_dates_of_them(numbers: Sequence[int], told: str) -> None:
    for ds in (pd.Series(numbers), pd.Series(numbers).astype(str)):
        with pytest.raises(DataError) as caught:
            parse_stamps(ds)
        assert told in caught.value.fix
    call = caught.value.fix.removeprefix("write dates, such as ").removesuffix(" makes of them")
    dates = eval(call, {"pd": pd, "ds": pd.Series(numbers)})
    assert dates.is_unique
    assert dates.min() > pd.Timestamp("2000-01-01")


@pytest.mark.parametrize(
    "numbers",
    [
        range(2000),
        [*range(10101, 10200), *range(10210, 10300)],
        [*range(110101, 110131), *range(110140, 110150)],
        [*range(1000, 2000, 10), 2030],
        [2, 3, 5, 7, 11, 13, 17, 19, 23],
        [*range(1000, 1300), 1400],
        [*range(1901, 1950), 1960],
        [1801, 1802, 1803, 1805, 1806, 1808, 1809],
        np.sort(np.random.default_rng(0).integers(100_000, 999_999, 300)),
        np.sort(np.random.default_rng(0).choice(np.arange(1000, 9999), 300, replace=False)),
    ],
)
def test_numbers_that_count_with_gaps_stay_numbers(numbers: Sequence[int]) -> None:
    assert parse_stamps(pd.Series(numbers))[0].dtype == np.int64


def test_months_of_two_years_are_months() -> None:
    """Quarters would need more years to tell them from a season of months."""
    assert parse_stamps(pd.Series(parts(4, 100, first=2022)))[0].iloc[-1] == pd.Timestamp("2023-04-01")
    months = pd.date_range("2018-01-01", periods=72, freq="MS")
    assert parse_stamps(pd.Series(written(months, "%Y%m")))[0].tolist() == list(months)
