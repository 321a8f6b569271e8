"""The weekly CO2 record of Mauna Loa: a small real series with gaps, a trend and a yearly season."""

from __future__ import annotations

import pandas as pd

from openbook.data.panel import ID, TARGET, TIME
from openbook.errors import MissingDependencyError


def load_co2() -> pd.DataFrame:
    """Weekly mean CO2 at Mauna Loa, parts per million by volume, 29 March 1958 to 29 December 2001 (Saturdays).

    Columns ``unique_id`` ("Mauna Loa"), ``ds``, ``y``; 2284 rows, missing weeks NaN. Nothing is downloaded: the record
    ships with statsmodels. Raises ``MissingDependencyError`` without it.
    Source: C. D. Keeling and T. P. Whorf, Scripps Institution of Oceanography, 2004 (``statsmodels.datasets.co2``).

    >>> frame = load_co2()
    >>> len(frame), int(frame["y"].isna().sum()), float(frame["y"].iloc[0])
    (2284, 59, 316.1)
    """
    try:
        from statsmodels.datasets import co2
    except ImportError as error:
        raise MissingDependencyError(
            "missing_statsmodels",
            expected="the package statsmodels, which ships the record",
            got="an import error",
            where="load_co2",
            fix="pip install 'openbook[stats]'",
        ) from error
    record = co2.load_pandas().data["co2"]
    weeks = pd.DatetimeIndex(record.index).astype("datetime64[ns]")
    frame = pd.DataFrame({ID: "Mauna Loa", TIME: weeks, TARGET: record.to_numpy("float64")})
    frame.attrs["notes"] = (
        "Measured: weekly mean CO2 at Mauna Loa, ppmv (Keeling and Whorf 2004, shipped by statsmodels)."
    )
    return frame
