"""Figures of forecasts, scores and weights, made from plain frames."""

from openbook.plots.figures import plot_forecast, plot_scores, plot_weights

__all__ = ["plot_forecast", "plot_scores", "plot_weights"]
