"""openbook: forecast time series with attention-LSTMs and see what every forecast looked at.

Names are imported when they are first used, so that ``import openbook`` and the command line's help stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from openbook.version import __version__

if TYPE_CHECKING:
    from openbook.backtesting import Backtest, backtest
    from openbook.data.audit import inspect_table
    from openbook.data.calls import simulate_calls
    from openbook.data.table import read_table
    from openbook.errors import DataError, MissingDependencyError, ModelFileError, OpenBookError, UsageError
    from openbook.forecast.floor import Floor
    from openbook.forecast.forecaster import Forecaster, load
    from openbook.models.darnn import DarnnConfig
    from openbook.models.day_to_day import DayToDayConfig
    from openbook.models.openbook import OpenBookConfig
    from openbook.models.seq2seq import BahdanauConfig, LuongConfig
    from openbook.training.loop import TrainConfig

_HOME = {
    "Backtest": "openbook.backtesting",
    "BahdanauConfig": "openbook.models.seq2seq",
    "DarnnConfig": "openbook.models.darnn",
    "DataError": "openbook.errors",
    "DayToDayConfig": "openbook.models.day_to_day",
    "Floor": "openbook.forecast.floor",
    "Forecaster": "openbook.forecast.forecaster",
    "LuongConfig": "openbook.models.seq2seq",
    "MissingDependencyError": "openbook.errors",
    "ModelFileError": "openbook.errors",
    "OpenBookConfig": "openbook.models.openbook",
    "OpenBookError": "openbook.errors",
    "TrainConfig": "openbook.training.loop",
    "UsageError": "openbook.errors",
    "backtest": "openbook.backtesting",
    "inspect_table": "openbook.data.audit",
    "load": "openbook.forecast.forecaster",
    "read_table": "openbook.data.table",
    "simulate_calls": "openbook.data.calls",
}

__all__ = [
    "Backtest",
    "BahdanauConfig",
    "DarnnConfig",
    "DataError",
    "DayToDayConfig",
    "Floor",
    "Forecaster",
    "LuongConfig",
    "MissingDependencyError",
    "ModelFileError",
    "OpenBookConfig",
    "OpenBookError",
    "TrainConfig",
    "UsageError",
    "__version__",
    "backtest",
    "inspect_table",
    "load",
    "read_table",
    "simulate_calls",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'openbook' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
