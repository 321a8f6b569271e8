"""Several columns that name the series together, and hints where one was forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.data.ids import join_ids
from openbook.data.panel import make_panel
from openbook.data.table import read_table
from openbook.errors import DataError, UsageError

H = 3
NAMES: dict[str, Any] = {"id_col": "store,sku", "time_col": "day", "target_col": "sold"}


def sales(rows: int = 60) -> pd.DataFrame:
    """Two goods in two shops; the numbers of the goods say nothing of an amount."""
    parts = []
    for number, (store, sku) in enumerate([("A", 7), ("A", 8), ("B", 7), ("B", 8)]):
        step = np.arange(rows)
        part = pd.DataFrame({"store": store, "sku": sku, "day": pd.date_range("2024-01-01", periods=rows)})
        parts.append(part.assign(sold=10.0 * (1 + number) + step % 7, price=1.0 + step % 3))
    return pd.concat(parts, ignore_index=True)


def plan() -> pd.DataFrame:
    days = pd.date_range("2024-03-01", periods=H)
    pairs = pd.MultiIndex.from_product([["A", "B"], [7, 8], days], names=["store", "sku", "day"])
    return pairs.to_frame(index=False).assign(price=2.0)


def test_columns_that_name_a_series_together_become_its_name_and_no_input() -> None:
    table = read_table(sales(), **NAMES)
    assert table["unique_id"].unique().tolist() == ["A/7", "A/8", "B/7", "B/8"]
    assert list(table.columns) == ["unique_id", "ds", "y", "price"]
    floor = ob.Floor("ridge", H, futr_exog_list=["price"]).fit(sales(), **NAMES)
    found = floor.predict(futr_df=plan())
    assert list(found.columns) == ["store,sku", "day", "ridge"]
    assert found["store,sku"].tolist() == [name for name in ("A/7", "A/8", "B/7", "B/8") for _ in range(H)]
    turned = plan().assign(sku=lambda frame: frame["sku"].astype(float)).iloc[::-1]
    pd.testing.assert_frame_equal(floor.predict(futr_df=turned), found)
    assert isinstance(floor.predict(pl.from_pandas(sales()), futr_df=plan()), pl.DataFrame)


def test_they_are_joined_in_files_as_in_frames(tmp_path: Path) -> None:
    sales().to_csv(tmp_path / "sales.csv", index=False)
    plan().to_csv(tmp_path / "plan.csv", index=False)
    floor = ob.Floor("ridge", H, futr_exog_list=["price"]).fit(tmp_path / "sales.csv", **NAMES)
    told = floor.predict(futr_df=tmp_path / "plan.csv")
    assert told["store,sku"].unique().tolist() == ["A/7", "A/8", "B/7", "B/8"]
    versions = sales().assign(sku=lambda frame: frame["sku"].map({7: "1.1", 8: "1.10"}))
    versions.to_csv(tmp_path / "versions.csv", index=False)
    assert read_table(tmp_path / "versions.csv", **NAMES)["unique_id"].unique()[:2].tolist() == ["A/1.1", "A/1.10"]


def test_a_column_whose_own_name_has_a_comma_stays_itself() -> None:
    frame = sales().assign(**{"store,sku": "one"}).head(60)
    assert read_table(frame, **NAMES)["unique_id"].unique().tolist() == ["one"]


def test_names_that_would_fall_together_and_parts_that_are_absent_are_refused() -> None:
    same = pd.DataFrame({"a": ["x/y", "x"], "b": ["z", "y/z"], "y": [1.0, 2.0]})
    with pytest.raises(DataError, match="become one name"):
        join_ids(same, "a,b", "table")
    with pytest.raises(DataError, match="did you mean 'sku'"):
        read_table(sales(), id_col="store,skus", time_col="day", target_col="sold")
    with pytest.raises(UsageError, match='id_col="store,product"'):
        read_table(sales(), id_col=["store", "sku"], time_col="day", target_col="sold")  # type: ignore[arg-type]


def test_parts_that_are_empty_give_no_name() -> None:
    frame = sales()
    frame.loc[0, "store"] = None
    joined = join_ids(frame, "store,sku", "table")
    assert joined["store,sku"].isna().tolist() == [True, *[False] * 239]


def test_stamps_that_repeat_name_the_column_that_tells_them_apart() -> None:
    told = "column 'sku' tells these rows apart: let 'store' and 'sku' name the series"
    with pytest.raises(DataError, match=told):
        ob.Floor("naive", H).fit(sales(), id_col="store", time_col="day", target_col="sold")
    with pytest.raises(DataError, match=told):
        ob.Forecaster(H).fit(sales(), id_col="store", time_col="day", target_col="sold")
    found = ob.inspect_table(sales(), id_col="store", time_col="day", target_col="sold").findings
    assert [told in one.fix for one in found if one.code == "F05-conflicting-stamps"] == [True]
    doubled = pd.concat([sales().head(60), sales().head(60).assign(sold=1.0)])
    with pytest.raises(DataError, match="aggregate or drop"):
        ob.Floor("naive", H).fit(doubled, id_col="store", time_col="day", target_col="sold")


@pytest.mark.parametrize(
    ("name", "part", "stamp"),
    [
        ("clock", lambda hour: f"{hour.hour:02d}:{hour.minute:02d}:00", "day"),
        ("settlement_period", lambda hour: 1 + 2 * hour.hour + hour.minute // 30, "* 30"),
        ("QH", lambda hour: 4 * hour.hour + hour.minute // 15, "* 15"),
    ],
)
def test_a_time_of_day_beside_the_day_is_to_be_joined_with_it(name: str, part: Any, stamp: str) -> None:
    stamps = pd.date_range("2024-01-01", periods=960, freq="15min" if name == "QH" else "30min")
    frame = pd.DataFrame({"day": stamps.strftime("%Y-%m-%d"), name: stamps.map(part), "load": np.arange(960) % 50.0})
    for source in (frame, frame.assign(unique_id="a")):
        with pytest.raises(DataError, match="join both") as caught:
            ob.Floor("naive", H).fit(source, time_col="day", target_col="load")
        assert "id_col" not in caught.value.fix
        assert stamp in caught.value.fix
    df = frame.rename(columns={"day": "ds"})
    with pytest.raises(DataError, match="join both") as caught:
        read_table(df, target_col="load")
    told = caught.value.fix.removeprefix("join both: ").partition(" = ")[2]
    assert eval(told).tolist() == stamps.tolist()


def test_numbered_shops_are_no_time_of_day() -> None:
    days = np.repeat(pd.date_range("2024-01-01", periods=20), 48)
    frame = pd.DataFrame({"ds": days, "shop": np.tile(np.arange(1, 49), 20), "y": np.arange(960.0)})
    with pytest.raises(DataError, match="id_col='shop'"):
        read_table(frame)


def test_the_hour_that_autumn_repeats_names_no_input_as_a_part_of_the_name() -> None:
    stamps = pd.date_range("2024-10-20", periods=400, freq="h", tz="Europe/Berlin").tz_localize(None)
    frame = pd.DataFrame(
        {"unique_id": "a", "ds": stamps, "y": np.arange(400) ** 2 % 97.0, "celsius": np.arange(400) % 30}
    )
    with pytest.raises(DataError, match="local clock times in autumn"):
        ob.Floor("naive", H).fit(frame)
    found = {one.code: one for one in ob.inspect_table(frame).findings}
    assert "celsius" not in found["F05-conflicting-stamps"].fix
    assert "F16-daylight-saving" in found


def test_names_that_differ_by_kind_alone_are_no_duplicates() -> None:
    frame = pd.DataFrame({"unique_id": [1, "1", 2, "b"], "ds": [1, 1, 1, 1], "y": [1.0, 2.0, 3.0, 4.0]})
    with pytest.raises(DataError, match="names of series that differ as text, got 1 as text and as a number"):
        make_panel(frame, freq=1)
    assert make_panel(frame[1:], freq=1).ids.tolist() == ["1", "2", "b"]
