"""``Floor``: a floor under the same three methods as ``Forecaster``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from openbook.data.frequency import Freq
from openbook.data.panel import Panel
from openbook.forecast.arguments import names_of
from openbook.forecast.floors import make_floor
from openbook.forecast.frames import FrameForecaster, Inputs
from openbook.forecast.origins import Origins, PanelForecast


class Floor(FrameForecaster):
    """A simple or classical forecaster by name: ``naive``, ``seasonal_naive``, ``ridge``, ``auto_ets``, ``auto_theta``,
    ``auto_arima``, ``mstl`` (the last four need ``openbook[stats]``).

    ``season_length=None`` decides from the data. Known-future and past-only columns are read by ``ridge`` alone.

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
        hist_exog_list: Sequence[str] = (),
    ) -> None:
        super().__init__(h, freq=freq, inputs=Inputs(names_of(futr_exog_list), names_of(hist_exog_list)))
        self.name, self.season_length = floor, season_length
        self.inner: Any = make_floor(floor, self.h, season_length=season_length)

    def fresh(self) -> Self:
        """An unfitted floor with the same arguments."""
        return type(self)(
            self.name,
            self.h,
            season_length=self.season_length,
            freq=self.freq,
            futr_exog_list=self.inputs.futr,
            hist_exog_list=self.inputs.hist,
        )

    @property
    def decisions(self) -> dict[str, Any]:
        """What the floor chose on its training part."""
        return dict(getattr(self.inner, "decisions", {}))

    def fit_panel(self, panel: Panel) -> None:
        """Learn from the training part."""
        self.inner.fit_panel(panel)

    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Forecast h steps from every origin."""
        return self.inner.predict_origins(panel, origins, level)
