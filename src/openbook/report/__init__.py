"""Figures of forecasts, scores and weights, and the page that shows a backtest."""

from openbook.report.page import build_page, write_report
from openbook.report.plots import plot_forecast, plot_scores, plot_weights

__all__ = ["build_page", "plot_forecast", "plot_scores", "plot_weights", "write_report"]
