"""The page that shows a backtest."""

from openbook.report.page import build_page, write_report

__all__ = ["build_page", "write_report"]
