"""The time a fit may take, and how much of it is gone."""

from __future__ import annotations

import time
from typing import NamedTuple

from openbook.training.loop import TrainConfig

BUDGET_S = 300.0  # where none was asked for


class Budget(NamedTuple):
    """Seconds for deciding and training, counted from ``begin``.

    >>> budget = Budget.of(TrainConfig(budget_s=60))
    >>> budget.seconds, budget.gone(0.5), budget.left(over=0)
    (60, False, 1.0)
    """

    seconds: float
    begin: float

    @classmethod
    def of(cls, train: TrainConfig) -> Budget:
        """That of a training, beginning now."""
        return cls(BUDGET_S if train.budget_s is None else train.budget_s, time.perf_counter())

    def left(self, *, over: float = 1.0) -> float:
        """Seconds of ``over`` times the budget that are left, at least one."""
        return max(1.0, over * self.seconds - self._spent())

    def gone(self, share: float, *, more: float = 0.0) -> bool:
        """Whether a share of it is gone, or will be after ``more`` times the seconds spent so far."""
        return (1.0 + more) * self._spent() > share * self.seconds

    def _spent(self) -> float:
        return time.perf_counter() - self.begin
