"""Figures of forecasts, scores and weights, made from plain frames and arrays."""

from openbook.plots.figures import plot_forecast, plot_scores, plot_weights
from openbook.plots.images import write_figure
from openbook.plots.stages import (
    plot_average,
    plot_inputs,
    plot_inputs_average,
    plot_times,
    plot_times_average,
)

__all__ = [
    "plot_average",
    "plot_forecast",
    "plot_inputs",
    "plot_inputs_average",
    "plot_scores",
    "plot_times",
    "plot_times_average",
    "plot_weights",
    "write_figure",
]
