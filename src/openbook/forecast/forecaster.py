"""``Forecaster``: a table in, forecasts with intervals and their look-ups out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from openbook.data.frequency import Freq
from openbook.data.holidays import check_country
from openbook.data.panel import Panel
from openbook.errors import UsageError, whole_number
from openbook.forecast.arguments import check_alias, names_of, not_fitted
from openbook.forecast.bounds import decide_lower_bounds, limits_of
from openbook.forecast.choice import (
    Parts,
    parts_of,
    told_of,
)
from openbook.forecast.conformal import Calibration, nested
from openbook.forecast.decisions import Decision, decide_hist, decided_config
from openbook.forecast.explanation import Explanation, looked, make_explanation
from openbook.forecast.fitted import Fitted
from openbook.forecast.frames import FrameForecaster, Inputs
from openbook.forecast.judging import judge, unproven
from openbook.forecast.learn import Learner, learn
from openbook.forecast.origins import Origins, PanelForecast, check_all_start, extend_panel, last_origins
from openbook.forecast.recent import learned_from, margins_of, recent_of, rows_followed
from openbook.forecast.remarks import within_history
from openbook.forecast.running import forecasts, kept_spread, laid_out, outputs
from openbook.forecast.setup import Asked
from openbook.forecast.still import still_at, still_series
from openbook.forecast.widening import widening_of
from openbook.models.base import ModelConfig, check_choice
from openbook.models.day_to_day import DayToDayConfig
from openbook.models.openbook import OpenBookConfig
from openbook.models.registry import make_config
from openbook.training.device import pick_device
from openbook.training.loop import History, Progress, TrainConfig
from openbook.windows.sampler import (
    Split,
    WindowIndex,
)
from openbook.windows.scaling import SCALINGS, Scaling

if TYPE_CHECKING:
    from openbook.forecast.anomalies import Anomalies

log = logging.getLogger("openbook")


class Forecaster(FrameForecaster):
    """Attention-LSTM forecaster: one global model over all series of a table.

    Parameters
    ----------
    h : steps to forecast.
    model : a registered name (``openbook``, ``luong``, ``bahdanau``, ``darnn``, ``day_to_day``) or a config object.
    input_size : context steps; ``None`` decides from frequency, season and lengths, ``openbook`` by trial on held-out rows.
    freq : pandas frequency or whole number; ``None`` infers it.
    season_length : steps of a season; ``None``: the frequency's; of whole numbers and below a second the data's.
    futr_exog_list : columns known ahead (they are expected in ``futr_df``).
    hist_exog_list : columns known up to now; ``None`` takes every other numeric column that varies.
    stat_exog_list : columns with one value per series, numbers or text (one column per category that was learned).
    scaling : how a window is scaled (``standard``, ``last``, ``fixed``, ``difference``, ``none``; see
        ``openbook.windows.scaling``); ``None`` decides.
    country : holidays to know ahead, such as ``AU`` or ``AU-VIC`` (needs ``openbook[holidays]``).
    train : ``TrainConfig``.
    seed : seed of initialisation and sampling; same seed and thread count, same bits on a CPU where no budget of seconds
        ends something (``openbook`` has one of 300 s; ``train.budget_s``) and no other thread of the process fits meanwhile.
    alias : name of the forecast columns; left open the model's: ``OpenBook``, ``Luong``, ``Bahdanau``, ``Darnn``, ``DayToDay``.

    After ``fit``: ``decisions`` (what was decided and why), ``training_`` (``History``).

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"unique_id": "a", "ds": range(60), "y": [float(i % 4) for i in range(60)]})
    >>> model = Forecaster(h=4, input_size=8, train=TrainConfig(max_steps=5)).fit(frame)
    >>> list(model.predict(level=[80]).columns)
    ['unique_id', 'ds', 'OpenBook', 'OpenBook-lo-80', 'OpenBook-hi-80']
    """

    def __init__(  # noqa: PLR0913 (the interface users know)
        self,
        h: int,
        *,
        model: str | ModelConfig = "openbook",
        input_size: int | None = None,
        freq: Freq | None = None,
        season_length: int | None = None,
        futr_exog_list: Sequence[str] = (),
        hist_exog_list: Sequence[str] | None = None,
        stat_exog_list: Sequence[str] = (),
        scaling: Scaling | None = None,
        country: str | None = None,
        train: TrainConfig = TrainConfig(),  # noqa: B008 (frozen)
        seed: int = 1,
        alias: str | None = None,
    ) -> None:
        given = Inputs(names_of(futr_exog_list), names_of(hist_exog_list), names_of(stat_exog_list))
        super().__init__(h, freq=freq, inputs=given)
        self.config, self.train = make_config(model), train
        self.input_size = None if input_size is None else whole_number("input_size", input_size, least=1)
        self.season_length = None if season_length is None else whole_number("season_length", season_length, least=1)
        if scaling is not None:
            check_choice("scaling", scaling, SCALINGS)
        self.scaling = scaling
        self.country = None if country is None else check_country(country)
        self.seed = whole_number("seed", seed, least=0)
        self.name = type(self.config).__name__.removesuffix("Config") if alias is None else check_alias(alias)
        self.futr_exog_list = given.futr
        self.hist_exog_list = None if hist_exog_list is None else given.hist
        self.decisions: dict[str, Decision] = {}
        self.training_: History | None = None
        self.fitted_: Fitted | None = None
        self.progress: Progress | None = None

    def fitted(self) -> Fitted:
        """What ``fit`` produced; refuses before it."""
        if self.fitted_ is None:
            raise not_fitted(self.name)
        return self.fitted_

    def fresh(self) -> Self:
        """An unfitted forecaster with the same arguments."""
        made = type(self)(
            self.h,
            model=self.config,
            input_size=self.input_size,
            freq=self.freq,
            season_length=self.season_length,
            futr_exog_list=self.futr_exog_list,
            hist_exog_list=self.hist_exog_list,
            stat_exog_list=self.inputs.stat,
            scaling=self.scaling,
            country=self.country,
            train=self.train,
            seed=self.seed,
        )
        made.name, made.progress = self.name, self.progress
        return made

    @classmethod
    def from_decisions(cls, decisions: Mapping[str, Any], h: int, **arguments: Any) -> Self:
        """An unfitted ``openbook`` forecaster whose window, scaling and parts are those of ``decisions``.

        ``decisions``: ``Forecaster.decisions``, as ``run.json`` of a backtest keeps them, or their plain values. The season
        in which parts are counted is taken too. Other arguments as for the class; what they say counts before what was
        decided. Raises ``UsageError`` where a decision is missing.
        """
        config = make_config(arguments.pop("model", "openbook"))
        if not isinstance(config, OpenBookConfig):
            raise UsageError(
                "other_model",
                expected="model='openbook', or its config",
                got=repr(config.name),
                where="from_decisions",
                fix="its decisions are of that model alone: leave model out",
            )
        config, decided = decided_config(decisions, config, window=arguments.get("input_size") is None)
        return cls(h, model=config, **{**decided, **arguments})

    def interrupted(self) -> bool:
        """Whether the last training was ended by the user."""
        return self.training_ is not None and self.training_.stopped_by == "interrupt"

    def history_steps(self) -> int | None:
        """A forecast reads the context; one horizon more lets ``explain`` look at the last known origin."""
        fitted = self.fitted()
        return max(fitted.windows.input_size, fitted.choice.reach) + self.h

    def context_steps(self) -> int:
        """The window, of ``openbook`` without its long book."""
        return getattr(self.fitted().config, "window", None) or self.fitted().windows.input_size

    def rows_followed(self) -> int:
        """Rows behind those a forecast reads, from which its bands learn what came since training."""
        return rows_followed(self.h, self.fitted().season)

    def resolve_inputs(self, table: pd.DataFrame) -> Inputs:
        """Past-only columns where they were not named."""
        if table.attrs.get("notes"):
            self._decided("table", Decision(tuple(table.attrs["notes"]), "how the table was understood"))
        if self.hist_exog_list is not None:
            return self.inputs
        decision = decide_hist(table, (*self.futr_exog_list, *self.inputs.stat))
        if getattr(self.config, "protocol", "forecast") == "nowcast" and not self.futr_exog_list:
            told = Decision(decision.value, "a nowcast knows the inputs of the step it tells; none were named")
            self.decisions["futr_exog_list"] = told
            return self.inputs._replace(futr=told.value)
        self.decisions["hist_exog_list"] = decision
        return self.inputs._replace(hist=decision.value)

    def fit_panel(self, panel: Panel) -> None:
        """Decide what was left open, train, calibrate."""
        device = pick_device(self.train.device)
        given = {"scaling='difference'": self.scaling == "difference"}
        given["differences=True"] = bool(getattr(self.config, "differences", None))
        if self.inputs.stat and any(given.values()):
            raise UsageError(
                "static_differences",
                expected="another scaling, or no static columns",
                got=" and ".join([*(name for name, asked in given.items() if asked), ", ".join(self.inputs.stat)]),
                where="Forecaster",
                fix="use scaling='fixed', leave differences open: what never changes has none",
            )
        size = self.input_size
        if size is not None and not isinstance(self.config, DayToDayConfig):  # which refuses what reaches no day
            size = within_history(size, panel)
        asked = (self.h, self.config, self.freq, size, self.scaling, self.train.loss, self.columns.value)
        told = Asked(*asked, country=self.country, season=self.season_length)
        learner = Learner(told, self.train, self.seed, device, self._decided, self.progress)
        model, made, split, self.training_, held_out = learn(panel, learner)
        config, season, layout, windows, columns, shape = made
        self._report_split(split)
        self._report_training(split)
        empty = Calibration(shape.quantiles, np.empty((0, self.h, len(shape.quantiles))), np.empty((0, self.h)))
        told_bound, own_bounds = decide_lower_bounds(panel)
        lowest = self._decided("lower_bound", told_bound)
        trained = (model, config, shape, layout, windows, columns, empty, panel.freq, season)
        until, beyond = learned_from(panel)
        still = still_series(panel, self.h)
        self.fitted_ = Fitted(*trained, lowest, own_bounds, learned_until=until, learned_beyond=beyond, still=still)
        unit = None if held_out is None else held_out.unit
        try:
            self._judge(panel, split, unit)
        except KeyboardInterrupt:  # weights are worth the seconds that their bands take
            self._stopped()
            self._judge(panel, split, unit)
        if held_out is not None and held_out.learn_again is not None and not self.interrupted():
            try:
                again = held_out.learn_again()
                after = self.fitted_ if again is None else replace(self.fitted_, model=again)
                spread = () if again is None else kept_spread(self.fitted_, after, panel, split.train)
            except KeyboardInterrupt:  # before its first step, or before bands fit it: what was validated stays
                again = None
            if again is None:
                self._stopped()
            else:
                self.fitted_ = replace(after, spread=spread)

    def _judge(self, panel: Panel, split: Split, unit: np.ndarray | None) -> None:
        self.fitted_, told = judge(self.fitted(), panel, split, unit, self.train)
        if told is not None:
            self._decided("forecast", told)

    def _stopped(self) -> None:
        if self.training_ is not None:
            self.training_.stopped_by = "interrupt"

    def predict_origins(self, panel: Panel, origins: Origins, level: Sequence[float]) -> PanelForecast:
        """Median and calibrated bands of every origin, [W, h], in original units; bands follow what came since training.

        A band holds those of smaller levels, and is wider where a window saw few steps; what never moved stays. Windows
        in which nothing was observed are forecast as NaN, and their series named in a warning.
        """
        fitted, points, place = self.fitted(), [], 0
        bands: dict[float, list[tuple[np.ndarray, np.ndarray]]] = {
            value: [] for value in nested(fitted.shape.quantiles, level)
        }
        resident = laid_out(fitted, panel)
        recent = recent_of(fitted, panel, origins, resident) if bands else None
        wider = {value: widening_of(fitted, panel, origins, value) for value in bands}
        margins = {value: margins_of(fitted, panel, origins, value, recent) for value in bands}
        for told in forecasts(fitted, panel, WindowIndex(*origins), resident):
            quantile_BHQ, location_B1, scale_B1 = told.quantile_BHQ, told.location_B1, told.scale_B1
            points.append(quantile_BHQ[..., fitted.shape.median] * scale_B1 + location_B1)
            piece = slice(place, place := place + len(quantile_BHQ))
            low = high = quantile_BHQ[..., fitted.shape.median]
            for value, parts in bands.items():
                own = fitted.calibration.interval(quantile_BHQ, value, margins[value][piece])
                more_B1 = wider[value][piece]
                low, high = np.minimum(low, own[0] - more_B1), np.maximum(high, own[1] + more_B1)
                parts.append((low * scale_B1 + location_B1, high * scale_B1 + location_B1))
        least_W1, blind_W = limits_of(self.fitted(), panel, origins)
        still_W1 = still_at(fitted.still, panel, origins)

        def joined(parts: list[np.ndarray]) -> np.ndarray:
            whole = np.where(np.isnan(still_W1), np.maximum(np.concatenate(parts), least_W1), still_W1)
            whole[blind_W] = np.nan
            return whole

        pairs = {value: (joined([p[0] for p in bands[value]]), joined([p[1] for p in bands[value]])) for value in level}
        return PanelForecast(joined(points), pairs)

    def explain_origins(self, panel: Panel, origins: Origins) -> Explanation:
        """Where the forecasts of these origins looked."""
        fitted, maps, parts = self.fitted(), [], []
        least_W1, blind_W = limits_of(self.fitted(), panel, origins)
        for piece, batch, output in outputs(fitted, panel, WindowIndex(*origins), read=True):
            told, least_B1 = told_of(batch, output, fitted.windows), least_W1[: len(piece.end_W)]
            least_W1 = least_W1[len(piece.end_W) :]
            maps.append(looked(output.attention, fitted.windows.input_size))
            parts.append(parts_of(fitted.choice, panel, Origins(*piece), told, fitted.shape.median, least_B1))
        found = make_explanation(
            panel,
            origins,
            maps,
            model=self.config.name,
            features=fitted.layout.variables,
            columns=(self.columns.id, self.columns.time),
        ).without(blind_W)
        known = [part for part in parts if part is not None]
        if not known:
            return found
        whole = Parts(*[np.concatenate(part) for part in zip(*known, strict=True)])
        still_W1 = still_at(fitted.still, panel, origins)
        for name, part in whole._asdict().items():
            stands = ~np.isnan(still_W1[:, 0])
            part[stands] = still_W1[stands] if name == "repeated" else 0.0
            part[blind_W] = np.nan  # as the forecast is
        return replace(found, parts=whole)

    def explain(self, df: Any = None, *, futr_df: Any = None) -> Explanation:
        """Where the forecasts looked: the same arguments as ``predict``.

        Where known-future columns are needed and ``futr_df`` is not given, the last h known steps are explained instead.
        """
        panel, _ = self._history(df)
        if futr_df is not None or not self.inputs.futr:  # what is given ahead and not read is refused
            panel = extend_panel(panel, self.h, self._future_rows(panel, futr_df))
        origins = last_origins(panel, self.h)
        check_all_start(panel, origins, self.h)
        return self.explain_origins(panel, origins)

    def anomalies(self, df: Any, *, quantile: float = 0.995, risk: float = 1e-3) -> Anomalies:
        """Scores of all stamps of a table that other hours and days do not explain; see ``find_anomalies``.

        For ``model=DayToDayConfig(mode="reconstruct")`` only.
        """
        from openbook.forecast.anomalies import find_anomalies

        return find_anomalies(self, df, quantile=quantile, risk=risk)

    def save(self, path: str | Path) -> Path:
        """Write a folder, or one zip file where the name ends in ``.ob``: whole or not at all."""
        from openbook.forecast.saving import save_forecaster

        return save_forecaster(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Forecaster:
        """Read what ``save`` wrote; raises ``ModelFileError`` on anything missing, extra, misshapen or altered."""
        from openbook.forecast.saving import load_forecaster

        return load_forecaster(cls, Path(path))

    def _decided(self, name: str, decision: Decision) -> Any:
        self.decisions[name] = decision
        log.info("%s: %s (%s)", name, decision.value, decision.why)
        return decision.value

    def _report_split(self, split: Split) -> None:
        counts = f"{len(split.validation.end_W)} windows; {len(split.train.end_W)} train"
        tested, learned = (len(np.unique(part.series_W)) for part in (split.validation, split.train))
        some = f"{tested} of {max(tested, learned)}" if tested < learned else "every"
        why = f"last steps of {some} series, {counts}"
        if split.series_held_out:
            why = f"{split.series_held_out} whole series, as all are too short to give their end away, {counts}"
        elif not split.validation:
            why = f"nothing could be held out; {counts}"
            repeated = unproven(self.config, split, self.train)
            told = (
                "past values are repeated, as nothing proves the model"
                if repeated
                else "intervals are likely too narrow"
            )
            log.warning("nothing could be held out for validation: %s", told)
        self._decided("validation_size", Decision(split.held_out, why))

    def _report_training(self, split: Split) -> None:
        history = self.training_
        if history is None:
            return
        validated = (
            f"best validation loss {history.best_loss:.4f}" if history.val_loss else "ended before it was validated"
        )
        best = validated if split.validation else "nothing held out"
        why = f"{best}; {history.steps} steps in {history.seconds:.0f} s, ended by {history.stopped_by}"
        if history.skipped:
            why += f"; {len(history.skipped)} step(s) skipped for losses that were not finite (first: {history.skipped[0]})"
            log.warning("%d step(s) skipped: loss or gradient not finite", len(history.skipped))
        if history.unscaled:
            why += f"; {history.unscaled} drawn window(s) left out of the loss, nothing to measure their errors by"
            log.warning(
                "%d drawn window(s) left out of the loss: their series never changes from zero", history.unscaled
            )
        self._decided("training_steps", Decision(history.best_step if split.validation else history.steps, why))


def load(path: str | Path) -> Forecaster:
    """A forecaster from what ``Forecaster.save`` wrote; raises ``ModelFileError`` where that can not be trusted."""
    return Forecaster.load(path)
