"""Several targets: each a series of one model, inputs shared, names that lead back, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import openbook as ob
from openbook.errors import DataError, UsageError
from openbook.forecast.arguments import ColumnNames
from openbook.forecast.targets import for_every_target

H = 4
QUICK = ob.TrainConfig(max_steps=3, batch_size=8)
NAMES: dict[str, Any] = {"id_col": "store", "time_col": "day", "target_col": ["sold", "back"]}


def table(*stores: str, rows: int = 60) -> pd.DataFrame:
    """Goods sold and brought back, with an input of each role; without a name the table has no id column."""
    parts = []
    for number, store in enumerate(stores or ("",)):
        step = np.arange(rows)
        part = pd.DataFrame({"store": store, "day": pd.date_range("2024-01-01", periods=rows, freq="D")})
        part["sold"], part["back"] = 100.0 * (1 + number) + step % 7, 10.0 * (1 + number) + step % 7
        parts.append(part.assign(promo=step % 5.0, wind=(step * 3) % 11.0, area=1.0 + number, kind=f"kind {number}"))
    frame = pd.concat(parts, ignore_index=True)
    return frame if stores else frame.drop(columns="store")


def ahead(*stores: str, start: str = "2024-03-01") -> pd.DataFrame:
    days = pd.date_range(start, periods=H, freq="D")
    parts = [pd.DataFrame({"store": store, "day": days, "promo": 1.0}) for store in stores or ("",)]
    return pd.concat(parts, ignore_index=True) if stores else parts[0].drop(columns="store")


def forecaster(**changes: object) -> ob.Forecaster:
    options = {
        "model": ob.LuongConfig(hidden_size=4),
        "input_size": 14,
        "futr_exog_list": ["promo"],
        "train": QUICK,
        "alias": "OpenBook",
    }
    return ob.Forecaster(H, **options | changes)


@pytest.fixture(scope="module")
def fitted() -> ob.Forecaster:
    return forecaster(stat_exog_list=["area", "kind"]).fit(table("n", "s"), **NAMES)


SERIES = ["n/back", "n/sold", "s/back", "s/sold"]


def test_every_target_of_every_series_is_a_series_with_the_inputs_of_its_table(fitted: ob.Forecaster) -> None:
    history = fitted.history_
    assert history.ids.tolist() == SERIES
    assert history.hist_columns == ("wind",)
    assert history.known_columns == ("promo", "area", "kind=kind 0", "kind=kind 1")
    last = history.offsets[1:] - 1
    assert history.target[last].tolist() == [10 + 59 % 7, 100 + 59 % 7, 20 + 59 % 7, 200 + 59 % 7]
    assert history.futr[last].tolist() == [[4]] * 4
    assert history.stat.tolist() == [[1, 1, 0]] * 2 + [[2, 0, 1]] * 2
    assert history.hist[last].tolist() == [[177 % 11]] * 4
    assert fitted.fitted().layout.target == "y"


def test_forecasts_come_back_long_under_these_names(fitted: ob.Forecaster) -> None:
    found = fitted.predict(futr_df=ahead("n", "s"), level=[80])
    assert list(found.columns) == ["store", "day", "OpenBook", "OpenBook-lo-80", "OpenBook-hi-80"]
    assert found["store"].tolist() == [name for name in SERIES for _ in range(H)]
    assert found["day"].iloc[0] == pd.Timestamp("2024-03-01")
    level = found.groupby("store")["OpenBook"].mean()
    assert (abs(level - [13, 103, 23, 203]) < 6).all()
    assert list(fitted.explain(futr_df=ahead("n", "s")).frame().columns)[:4] == ["store", "cutoff", "step", "day"]


def test_what_is_known_ahead_is_given_by_series_of_the_table_or_by_target(fitted: ob.Forecaster) -> None:
    by_store = fitted.predict(futr_df=ahead("n", "s"))
    pd.testing.assert_frame_equal(fitted.predict(futr_df=ahead(*SERIES)), by_store, check_exact=True)
    pd.testing.assert_frame_equal(fitted.predict(futr_df=ahead("n/sold", "n/back", "s")), by_store, check_exact=True)
    other = fitted.predict(futr_df=pd.concat([ahead("n"), ahead("s").assign(promo=0.0)]))
    same = other["OpenBook"] == by_store["OpenBook"]
    assert same[other["store"].str.startswith("n")].all()
    assert not same[other["store"].str.startswith("s")].any()
    with pytest.raises(DataError, match="series 's/back'"):
        fitted.predict(futr_df=ahead("n"))
    with pytest.raises(DataError, match="an id column for 4 series"):
        fitted.predict(futr_df=ahead())


def test_a_table_of_one_series_needs_no_id_ahead(fitted: ob.Forecaster) -> None:
    new = table("west", rows=30)
    wanted = fitted.predict(new, futr_df=ahead("west", start="2024-01-31"))
    assert wanted["store"].unique().tolist() == ["west/back", "west/sold"]
    found = fitted.predict(new, futr_df=ahead(start="2024-01-31"))
    pd.testing.assert_frame_equal(found, wanted, check_exact=True)


def test_a_table_without_ids_names_series_by_target() -> None:
    names = {"time_col": "day", "target_col": "sold,back"}  # as at the command line
    model = forecaster().fit(table(), **names)
    assert model.columns.target == ("sold", "back")
    found = model.predict(futr_df=ahead())
    assert found["unique_id"].unique().tolist() == ["back", "sold"]
    by_target = pd.concat([ahead().assign(unique_id=name) for name in ("sold", "back")])
    pd.testing.assert_frame_equal(model.predict(futr_df=by_target), found, check_exact=True)
    pd.testing.assert_frame_equal(model.predict(table(), futr_df=ahead()), found, check_exact=True)


def test_one_name_in_a_list_is_one_target() -> None:
    one = forecaster().fit(table("n"), **NAMES | {"target_col": ["sold"]})
    assert (one.columns.target, one.fitted().layout.target) == ("sold", "sold")
    assert one.history_.ids.tolist() == ["n"]
    assert "back" in one.history_.hist_columns


def test_it_is_the_melted_table_that_is_learned() -> None:
    """By hand: the same series, inputs and forecasts."""
    wide = table("n", "s")
    parts = [
        wide.assign(store=wide["store"] + "/" + name, y=wide[name]).drop(columns=["sold", "back"])
        for name in ("sold", "back")
    ]
    by_hand = forecaster().fit(pd.concat(parts), **NAMES | {"target_col": "y"}).predict(futr_df=ahead(*SERIES))
    found = forecaster().fit(wide, **NAMES).predict(futr_df=ahead("n", "s"))
    pd.testing.assert_frame_equal(found, by_hand, check_exact=True)


def test_cross_validation_and_floors_take_them_too() -> None:
    tested = forecaster().cross_validation(table("n", "s"), n_windows=2, level=[80], **NAMES)
    assert list(tested.columns)[:5] == ["store", "day", "cutoff", "y", "OpenBook"]
    assert tested["store"].unique().tolist() == SERIES
    assert len(tested) == 4 * 2 * H
    last = tested.groupby("store")["y"].last()
    assert last.tolist() == [10 + 59 % 7, 100 + 59 % 7, 20 + 59 % 7, 200 + 59 % 7]
    floor = ob.Floor("seasonal_naive", H, season_length=7).fit(table("n"), **NAMES).predict()
    assert floor["seasonal_naive"].tolist() == [10 + step % 7 for step in range(60, 64)] + [
        100 + step % 7 for step in range(60, 64)
    ]


def test_saving_and_loading(fitted: ob.Forecaster, tmp_path: Path) -> None:
    again = ob.load(fitted.save(tmp_path / "m.ob"))
    assert again.columns == fitted.columns
    wanted = fitted.predict(futr_df=ahead("n", "s"))
    pd.testing.assert_frame_equal(again.predict(futr_df=ahead("n", "s")), wanted, check_exact=True)
    pd.testing.assert_frame_equal(again.predict(table("n", "s"), futr_df=ahead("n", "s")), wanted, check_exact=True)


@pytest.mark.parametrize("stores", [("n", "s"), (7, 8)])
def test_polars_ids_of_any_kind_come_back_as_text(stores: tuple[Any, ...]) -> None:
    frame = pl.from_pandas(table(*map(str, stores)))
    kind = pl.Int64 if isinstance(stores[0], int) else pl.Enum(["n", "s"])
    frame, plan = (
        part.with_columns(pl.col("store").cast(kind)) for part in (frame, pl.from_pandas(ahead(*map(str, stores))))
    )
    for given in (frame, frame.lazy()):
        found = forecaster().fit(given, **NAMES).predict(futr_df=plan)
        assert isinstance(found, pl.DataFrame)
        assert found["store"].unique(maintain_order=True).to_list() == [
            f"{store}/{name}" for store in stores for name in ("back", "sold")
        ]
        assert found["day"].dtype == frame["day"].dtype


def test_names_with_slashes_lead_back() -> None:
    """A series x/a with target b, and targets that end alike."""
    names = ColumnNames(target=("b", "a/b"))
    for base in ("x", "x/a", "x/a/b"):
        ids = np.array([f"{base}/b", f"{base}/a/b"], object)
        for known in (pd.DataFrame({"ds": [1]}), pd.DataFrame({"unique_id": [base], "ds": [1]})):
            assert set(ids) <= set(for_every_target(known, ids, names)["unique_id"])
    plain = pd.DataFrame({"unique_id": ["x"], "ds": [1]})
    assert for_every_target(plain, np.array(["x"], object), ColumnNames()) is plain


REFUSALS = {
    "missing": (DataError, ["sold", "bck"], "did you mean 'back'"),
    "twice": (UsageError, ["sold", "back", "sold"], "'sold' twice"),
    "twice in text": (UsageError, "sold,sold", "'sold' twice"),
    "text": (DataError, ["sold", "kind"], "'kind 0' .column 'kind', series 'n/kind'"),
    "time": (UsageError, ["sold", "day"], "'day' twice"),
    "none": (UsageError, [], "at least one target"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    kind, targets, words = REFUSALS[name]
    for act in ("fit", "cross_validation"):
        with pytest.raises(kind, match=words) as caught:
            getattr(forecaster(), act)(table("n", "s"), **NAMES | {"target_col": targets})
        assert all((caught.value.code, caught.value.expected, caught.value.got, caught.value.where, caught.value.fix))


def test_a_new_table_needs_every_target(fitted: ob.Forecaster) -> None:
    with pytest.raises(DataError, match="'back'"):
        fitted.predict(table("n", "s").drop(columns="back"), futr_df=ahead("n", "s"))


def test_results_need_the_name_y_for_themselves() -> None:
    with pytest.raises(UsageError, match="id_col='y'"):
        forecaster().fit(table("n", "s").rename(columns={"store": "y"}), **NAMES | {"id_col": "y"})
