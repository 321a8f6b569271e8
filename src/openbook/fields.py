"""Fields of models' configs as text, such as ``hidden_size=32`` or, of several models, ``luong.hidden_size=32``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from openbook.errors import UsageError

if TYPE_CHECKING:
    from openbook.models.base import ModelConfig

_WHERE = "--model-config"


def configs_of(models: Sequence[str], text: str) -> dict[str, ModelConfig]:
    """The configs of those models of which ``text`` sets fields, others left at their defaults; lists are ``gaps=1+7+28``.

    Where one model stands beside floors alone, its name before the field can be left out. Raises ``UsageError`` for models
    that are not among ``models``, and for fields and values that their configs do not take.

    >>> configs_of(["darnn"], "protocol=nowcast, hidden_size=32")["darnn"].hidden_size
    32
    >>> configs_of(["openbook", "luong", "ridge"], "luong.hidden_size=32,openbook.mixing=false")["openbook"].mixing
    False
    """
    if not text.strip():
        return {}
    from openbook.forecast.floors import FLOORS
    from openbook.models.registry import make_config

    own = list(dict.fromkeys(model for model in models if model not in FLOORS))
    values: dict[str, dict[str, Any]] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, found, value = (piece.strip() for piece in part.partition("="))
        model, dot, field = name.rpartition(".")
        model = model if dot or len(own) != 1 else own[0]
        if model not in own:
            raise UsageError(
                "unknown_field",
                expected=f"model.field=value with a model that takes part: {', '.join(own) or 'there are floors alone'}",
                got=repr(part),
                where=_WHERE,
                fix="name the model among the models, and before the field: luong.hidden_size=32; floors have no config",
            )
        plain = make_config(model)
        known = {one.name: getattr(plain, one.name) for one in fields(plain)}
        if not found or field not in known:
            raise UsageError(
                "unknown_field",
                expected=f"field=value with a field of {model}: {', '.join(known)}",
                got=repr(part),
                where=_WHERE,
                fix="check the spelling; fields are separated by commas",
            )
        values.setdefault(model, {})[field] = _typed(field, value, known[field])
    return {model: type(make_config(model))(**set_) for model, set_ in values.items()}


def _typed(name: str, text: str, like: Any) -> Any:
    """A field's value in the type of its default."""
    try:
        if isinstance(like, bool):
            return {"true": True, "false": False}[text.lower()]
        if isinstance(like, tuple):
            return tuple(int(part) for part in text.split("+"))
        if like is None:  # a field that is decided where it is left open: a number, or a switch
            words = {"none": None, "true": True, "false": False}
            return words[text.lower()] if text.isalpha() else int(text) if text.lstrip("-").isdigit() else float(text)
        return type(like)(text)
    except (ValueError, KeyError) as error:
        raise UsageError(
            "bad_value",
            expected="a number, true, false or none" if like is None else f"a value like {like!r}",
            got=repr(text),
            where=f"{_WHERE}, {name}",
            fix="write numbers plainly, true or false, and lists as 1+7+28",
        ) from error
