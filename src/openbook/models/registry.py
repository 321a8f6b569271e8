"""The models by name: configs, fresh models, configs as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

from torch import nn

from openbook.errors import UsageError
from openbook.models.base import ModelConfig, ModelShape, seeded
from openbook.models.darnn import Darnn, DarnnConfig
from openbook.models.day_to_day import DayToDay, DayToDayConfig
from openbook.models.openbook import OpenBook, OpenBookConfig
from openbook.models.seq2seq import Bahdanau, BahdanauConfig, Luong, LuongConfig

MODELS: dict[str, tuple[type[Any], Callable[[Any, ModelShape], nn.Module]]] = {
    OpenBookConfig.name: (OpenBookConfig, OpenBook),
    LuongConfig.name: (LuongConfig, Luong),
    BahdanauConfig.name: (BahdanauConfig, Bahdanau),
    DarnnConfig.name: (DarnnConfig, Darnn),
    DayToDayConfig.name: (DayToDayConfig, DayToDay),
}
COMPILED = (LuongConfig.name, BahdanauConfig.name, DarnnConfig.name)  # their look-ups are kernels compiled at first use


def make_config(model: str | ModelConfig) -> Any:
    """The config of a model given by name (with its defaults) or as a config object.

    >>> make_config("luong").hidden_size
    64
    """
    if not isinstance(model, str):
        return model
    if model not in MODELS:
        raise UsageError(
            "unknown_model",
            expected=f"one of {', '.join(MODELS)}",
            got=repr(model),
            where="model",
            fix="choose a registered model, or pass a config object; floors such as ridge have ob.Floor (at the command line: "
            "openbook floor)",
        )
    return MODELS[model][0]()


def build_model(config: ModelConfig, shape: ModelShape, seed: int) -> nn.Module:
    """A freshly initialised model; the same seed gives the same bits and leaves torch's global generators untouched."""
    with seeded(seed):
        return MODELS[config.name][1](config, shape)


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """Plain values, ready for JSON."""
    return {"name": config.name, **asdict(config)}  # type: ignore[call-overload]


def config_from_dict(values: dict[str, Any]) -> Any:
    """The inverse of ``config_to_dict``; unknown models and fields are refused."""
    plain = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key != "name"}
    kind = type(make_config(values["name"]))
    unknown = set(plain) - {field.name for field in fields(kind)}
    if unknown:
        raise UsageError(
            "unknown_field",
            expected=f"fields of {kind.__name__}",
            got=", ".join(sorted(unknown)),
            where=f"config of {values['name']!r}",
            fix="use the release of openbook that wrote it",
        )
    return kind(**plain)
