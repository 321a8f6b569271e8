"""``Floor``: a floor under the same three methods as ``Forecaster``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq, season_length
from openbook.data.panel import Panel
from openbook.errors import whole_number
from openbook.forecast.arguments import names_of
from openbook.forecast.decisions import decide_hist, decide_season
from openbook.forecast.floors import make_floor
from openbook.forecast.frames import FrameForecaster, Inputs
from openbook.forecast.origins import Origins, PanelForecast

log = logging.getLogger("openbook")


class Floor(FrameForecaster):
    """A simple or classical forecaster by name: ``naive``, ``seasonal_naive``, ``ridge``, ``auto_ets``, ``auto_theta``,
    ``auto_arima``, ``mstl`` (the last four need ``openbook[stats]``).

    ``season_length=None`` takes the frequency's (``seasonal_naive`` and ``mstl`` its day and week), of whole-number time
    and steps below a second the data's. Inputs are read by ``ridge`` alone, and named as for ``Forecaster``:
    ``hist_exog_list=None`` takes every other numeric column that varies. What is given ahead to the others has no effect.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"unique_id": "a", "ds": range(9), "y": [1.0, 2.0, 3.0] * 3})
    >>> Floor("seasonal_naive", h=3, season_length=3).fit(frame).predict()["seasonal_naive"].tolist()
    [1.0, 2.0, 3.0]
    """

    def __init__(
        self,
        floor: str,
        h: int,
        *,
        season_length: int | None = None,
        freq: Freq | None = None,
        futr_exog_list: Sequence[str] = (),
        hist_exog_list: Sequence[str] | None = None,
        stat_exog_list: Sequence[str] = (),
    ) -> None:
        given = Inputs(names_of(futr_exog_list), names_of(hist_exog_list), names_of(stat_exog_list))
        super().__init__(h, freq=freq, inputs=given)
        if season_length is not None:
            season_length = whole_number("season_length", season_length, least=1)
        self.name, self.season_length = floor, season_length
        self.hist_exog_list = None if hist_exog_list is None else given.hist
        self.reads_inputs = floor == "ridge"
        self.inner: Any = make_floor(floor, self.h, season_length=season_length)

    def fresh(self) -> Self:
        """An unfitted floor with the same arguments."""
        return type(self)(
            self.name,
            self.h,
            season_length=self.season_length,
            freq=self.freq,
            futr_exog_list=self.inputs.futr,
            hist_exog_list=self.hist_exog_list,
            stat_exog_list=self.inputs.stat,
        )

    def resolve_inputs(self, table: pd.DataFrame) -> Inputs:
        """Past-only columns where they were not named, for the one that reads them."""
        if self.hist_exog_list is not None or not self.reads_inputs:
            return self.inputs
        return self.inputs._replace(hist=decide_hist(table, (*self.inputs.futr, *self.inputs.stat)).value)

    @property
    def decisions(self) -> dict[str, Any]:
        """What the floor chose on its training part."""
        return dict(getattr(self.inner, "decisions", {}))

    def fit_panel(self, panel: Panel) -> None:
        """Learn from the training part. Where stamps tell no cycle of a calendar, its own repetition does."""
        if self.season_length is None and self.name != "naive" and season_length(panel.freq) == 1:
            self.inner = make_floor(self.name, self.h, season_length=decide_season(panel).value)
        self.inner.fit_panel(panel)

    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Forecast h steps from every origin."""
        found = self.inner.predict_origins(panel, origins, level)
        absent = np.isnan(found.point).all(axis=1)
        if absent.any():
            names = ", ".join(np.unique(panel.ids[origins.series[absent]].astype(str))[:10])
            log.warning("%d forecast(s) of %s are NaN, it has nothing to go by: %s", absent.sum(), self.name, names)
        return found
