"""Fields of configs as text."""

import pytest

import openbook as ob
from openbook.errors import UsageError
from openbook.fields import configs_of


def test_fields_that_may_be_left_open_are_set_by_name() -> None:
    fields = "n_models=2, mixing=true, cycle=FALSE, book=none, dropout=0.2"
    assert configs_of(["openbook"], fields) == {
        "openbook": ob.OpenBookConfig(n_models=2, mixing=True, cycle=False, dropout=0.2)
    }
    assert configs_of(["openbook"], "year_jitter=7.5") == {"openbook": ob.OpenBookConfig(year_jitter=7.5)}
    for wrong, told in (
        ("n_models=two", "a number, true, false or none"),
        ("book=1.5", "whole"),
        ("window=", "a number"),
        ("dropout", "field=value"),
        ("=3", "field=value"),
    ):
        with pytest.raises(UsageError, match=told):
            configs_of(["openbook"], wrong)


def test_fields_of_several_models_name_their_model() -> None:
    names = ["openbook", "luong", "day_to_day", "ridge"]
    told = configs_of(names, "luong.hidden_size=32, day_to_day.gaps=1+7,luong.dropout=0.25")
    assert told == {"luong": ob.LuongConfig(hidden_size=32, dropout=0.25), "day_to_day": ob.DayToDayConfig(gaps=(1, 7))}
    for wrong in ("hidden_size=32", "darnn.hidden_size=32", "ridge.penalty=1"):
        with pytest.raises(UsageError, match="and before the field"):
            configs_of(names, wrong)


def test_one_model_beside_floors_needs_no_name() -> None:
    beside = configs_of(["naive", "luong", "ridge"], "hidden_size=8")
    assert beside == configs_of(["luong"], "luong.hidden_size=8") == {"luong": ob.LuongConfig(hidden_size=8)}
    with pytest.raises(UsageError, match="there are floors alone"):
        configs_of(["naive", "ridge"], "hidden_size=8")
    with pytest.raises(UsageError, match="one of openbook, luong"):
        configs_of(["lstm"], "hidden_size=8")


def test_nothing_set_is_nothing_told() -> None:
    assert configs_of(["luong", "no_model"], " ") == {}
