"""Tables to forecast from and known ahead that differ from what was learned: empty cells, other units, zones, constants."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import openbook as ob
from openbook.errors import DataError
from openbook.nn.skip import skip_input, skip_shape
from openbook.windows.batch import Batch

H = 4
QUICK = ob.TrainConfig(max_steps=12, val_every=6, batch_size=16)


def table(n: int = 120, tz: str | None = None) -> pd.DataFrame:
    """A daily wave, hourly, whose level follows a price around 1,000."""
    rng = np.random.default_rng(0)
    hour = np.arange(n)
    price = 1000 + 100 * rng.standard_normal(n)
    ds = pd.date_range("2024-03-01", periods=n, freq="h", tz=tz)
    y = 20 + 10 * np.sin(2 * np.pi * hour / 24) + 0.01 * price
    return pd.DataFrame({"unique_id": "a", "ds": ds, "y": y, "price": price, "still": 5.0})


def ahead(frame: pd.DataFrame, price: Any = 1000.0, still: float = 5.0) -> pd.DataFrame:
    ds = pd.date_range(frame["ds"].iloc[-1], periods=H + 1, freq="h")[1:]
    return pd.DataFrame({"unique_id": "a", "ds": ds, "price": price, "still": still})


def learner(**changes: Any) -> ob.Forecaster:
    return ob.Forecaster(
        H, model=ob.LuongConfig(hidden_size=8), input_size=24, train=QUICK, alias="OpenBook", **changes
    )


@pytest.fixture(scope="module")
def ridge() -> ob.Floor:
    return ob.Floor("ridge", H, futr_exog_list=["price"]).fit(table())


def test_empty_cells_ahead_are_said(ridge: ob.Floor, caplog: pytest.LogCaptureFixture) -> None:
    ridge.predict(futr_df=ahead(table()))
    assert not caplog.records
    ridge.predict(futr_df=ahead(table(), [1000.0, 990.0, np.nan, np.nan]))
    assert "'price': 2 of 4 cells are empty, the first of series a at step 3" in caplog.text


@pytest.mark.parametrize(
    ("price", "said"), [(1.0, True), (1e6, True), (1250.0, False), ([1.0, 1.0, 1000.0, 1.0], False)]
)
def test_another_unit_ahead_is_asked_about(
    ridge: ob.Floor, caplog: pytest.LogCaptureFixture, price: Any, said: bool
) -> None:
    ridge.predict(futr_df=ahead(table(), price))
    assert ("same unit" in caplog.text) is said


def test_a_rare_event_is_no_other_unit(caplog: pytest.LogCaptureFixture) -> None:
    frame = table().assign(price=(np.arange(120) == 50).astype(float))
    ob.Floor("ridge", H, futr_exog_list=["price"]).fit(frame).predict(futr_df=ahead(frame, 1.0))
    assert not caplog.records


@pytest.mark.parametrize("scaling", [None, "difference"])
@pytest.mark.parametrize("model", [ob.LuongConfig(hidden_size=8), ob.OpenBookConfig(hidden_size=8, n_models=1)])
def test_an_input_that_never_changed_is_not_read(model: Any, scaling: Any, caplog: pytest.LogCaptureFixture) -> None:
    train = ob.TrainConfig(max_steps=30, val_every=10, batch_size=16, budget_s=20)
    made = ob.Forecaster(
        H, model=model, scaling=scaling, train=train, alias="OpenBook", futr_exog_list=["price", "still"]
    )
    made.fit(table())
    assert "input(s) 'still' never change in what is learned from" in caplog.text
    usual = made.predict(futr_df=ahead(table()), level=[80])
    pd.testing.assert_frame_equal(made.predict(futr_df=ahead(table(), still=500.0), level=[80]), usual)
    other = made.predict(futr_df=ahead(table(), price=1100.0), level=[80])
    assert (other["OpenBook"] != usual["OpenBook"]).any()


def test_a_table_of_another_zone_is_read_at_the_same_instants(tmp_path: Path) -> None:
    frame = table(tz="Asia/Seoul")
    made = learner().fit(frame)
    wanted = made.predict(frame)
    abroad = frame.assign(ds=frame["ds"].dt.tz_convert("UTC"))
    panel, _ = made.table_panel(abroad)
    assert panel.timezone == "Asia/Seoul"
    for model in (made, ob.Forecaster.load(made.save(tmp_path / "m.ob"))):
        told = model.predict(abroad)
        assert str(told["ds"].dt.tz) == "UTC"  # as it came
        np.testing.assert_array_equal(told["OpenBook"], wanted["OpenBook"])
        assert (told["ds"].dt.tz_convert("Asia/Seoul") == wanted["ds"]).all()
    with pytest.raises(DataError) as caught:
        made.predict(frame.assign(ds=frame["ds"].dt.tz_localize(None)))
    assert caught.value.code == "time_zone_mismatch"
    with pytest.raises(DataError, match="without time zone"):
        learner().fit(table()).predict(frame)


def test_known_inputs_are_averaged_where_the_batch_lies() -> None:
    """On another device than the CPU nothing of the way to the skip path may stay behind."""
    shape = skip_shape(6, 5, n_variables=3, n_known=200, n_fixed=0)
    assert shape.block > 1
    parts = {"encoder_BTX": torch.ones(2, 6, 203), "decoder_BHK": torch.ones(2, 5, 200)}
    parts["observed_BTF"] = torch.ones(2, 6, 203, dtype=torch.bool)
    here = Batch(**{name: parts.get(name) for name in Batch._fields})  # type: ignore[arg-type]
    assert (skip_input(here, shape) == 1).all()  # the last block is shorter than the others
    there = here._replace(**{name: part.to("meta") for name, part in parts.items()})
    assert skip_input(there, shape).device.type == "meta"


def test_inputs_with_canonical_names_are_called_as_in_the_table() -> None:
    """The target is ``sold``, the series ``store``: the columns ``y`` and ``ds`` beside them are inputs of other names."""
    days = pd.date_range("2024-01-01", periods=40)
    table = pd.DataFrame({"store": "a", "day": days, "sold": np.arange(40) % 7.0, "y": np.arange(40) % 5, "ds": 1.0})
    floor = ob.Floor("ridge", 3, futr_exog_list=["y_"]).fit(
        table[:30], id_col="store", time_col="day", target_col="sold"
    )
    ahead = table[30:33].drop(columns="sold")
    told = floor.predict(futr_df=ahead)
    pd.testing.assert_frame_equal(
        told, floor.predict(futr_df=ahead.rename(columns={"y": "y_"})[["store", "day", "y_"]])
    )


def test_an_empty_row_ahead_is_no_step() -> None:
    table = pd.DataFrame({"ds": range(40), "y": np.arange(40) % 7.0, "plan": np.arange(40) % 5})
    floor = ob.Floor("ridge", 2, futr_exog_list=["plan"]).fit(table)
    ahead = pd.DataFrame({"ds": pd.array([40, 41, None], dtype="Int64"), "plan": [0, 1, np.nan]})
    pd.testing.assert_frame_equal(floor.predict(futr_df=ahead), floor.predict(futr_df=ahead[:2].astype({"ds": int})))


def test_errors_speak_of_columns_as_the_table_does() -> None:
    frame = table().rename(columns={"unique_id": "store", "ds": "day", "y": "sold"})
    names = {"id_col": "store", "time_col": "day", "target_col": "sold"}
    floor = ob.Floor("ridge", H, futr_exog_list=["price"])
    with pytest.raises(DataError) as caught:
        floor.fit(frame.assign(sold="many"), **names)
    assert caught.value.where.startswith("column 'sold', series 'a'")
    with pytest.raises(DataError, match="got 'y' in 120 row"):  # a value, not a column
        floor.fit(frame.assign(sold="y"), **names)
    with pytest.raises(DataError, match="columns 'store', 'day', 'sold', 'price', got no 'price' among 'store', 'day'"):
        floor.fit(frame.drop(columns="price"), **names)
    with pytest.raises(DataError, match=r"whose last row is 2024-03-05 23:00:00, also"):
        floor.fit(frame, **names).predict(
            futr_df=ahead(table()).iloc[1:].rename(columns={"unique_id": "store", "ds": "day"})
        )


def test_a_file_ahead_with_thousands_or_decimals_is_refused(ridge: ob.Floor, tmp_path: Path) -> None:
    future = ahead(table(), ["1.034", "950", "987", "-90"])
    future.drop(columns="still").to_csv(tmp_path / "ahead.csv", index=False, sep=";")
    with pytest.raises(DataError, match="decimals or thousands") as caught:
        ridge.predict(futr_df=tmp_path / "ahead.csv")
    assert caught.value.code == "non_numeric"


def test_the_only_column_of_dates_is_the_time_ahead_as_in_the_table_learned_from() -> None:
    frame = table().rename(columns={"ds": "hour"})
    fitted = ob.Floor("ridge", H, futr_exog_list=["price"]).fit(frame, target_col="y")
    future = ahead(table())
    told = fitted.predict(futr_df=future.rename(columns={"ds": "hour"}))
    pd.testing.assert_frame_equal(told, fitted.predict(futr_df=future))
    with pytest.raises(DataError) as caught:
        fitted.predict(futr_df=future.assign(other=future["ds"]).rename(columns={"ds": "hour"}))
    assert caught.value.code == "missing_columns"


def test_missing_rows_ahead_are_told_on_the_clock_of_the_time_zone() -> None:
    frame = table(tz="Asia/Seoul")
    future = ahead(frame)
    fitted = ob.Floor("ridge", H, futr_exog_list=["price"]).fit(frame)
    with pytest.raises(DataError) as caught:
        fitted.predict(futr_df=future.drop(index=2))
    assert str(future["ds"][2]) in caught.value.where
    with pytest.raises(DataError) as caught:
        fitted.predict(futr_df=pd.concat([future, future.loc[[2]].assign(price=1.0)]))
    assert str(future["ds"][2]) in caught.value.where


def test_hours_that_are_never_seen_are_told_on_the_clock_of_the_time_zone(caplog: pytest.LogCaptureFixture) -> None:
    frame = table(24 * 70, tz="Asia/Seoul")
    frame["y"] = frame["y"].where(frame["ds"].dt.hour != 3)
    ob.Floor("naive", H).fit(frame)
    assert "the first Monday 03:00" in caplog.text


def test_rows_ahead_of_another_kind_are_told_apart(ridge: ob.Floor) -> None:
    rows = ahead(table())
    with pytest.raises(DataError, match=r"expected dates as stamps.*got whole numbers.*futr_df, column 'ds'"):
        ridge.predict(futr_df=rows.assign(ds=range(H)))
    named = ob.Floor("ridge", H, futr_exog_list=["price"]).fit(table().rename(columns={"ds": "day"}), time_col="day")
    with pytest.raises(DataError, match="got no 'day'"):
        named.predict(futr_df=rows.rename(columns={"ds": "when"}).drop(columns="when"))


def test_dates_as_ids_are_found_ahead() -> None:
    cohort = {"unique_id": "cohort"}
    parts = [table().assign(unique_id=pd.Timestamp(f"2024-0{n}-01")).rename(columns=cohort) for n in (1, 2)]
    floor = ob.Floor("ridge", H, futr_exog_list=["price"]).fit(pd.concat(parts), id_col="cohort")
    rows = pd.concat([ahead(part).assign(unique_id=part["cohort"].iloc[0]) for part in parts]).rename(columns=cohort)
    assert floor.predict(futr_df=rows)["ridge"].notna().sum() == 2 * H
