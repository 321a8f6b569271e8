"""Tables as users have them: columns in two roles, indices of filtered frames, parts of what was learned from, long silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pyarrow import parquet

import openbook as ob
from openbook.data.panel import make_panel
from openbook.errors import DataError, UsageError
from openbook.forecast.bands import step_bands
from openbook.windows.sampler import Layout, WindowShape, gather, make_resident
from openbook.windows.scaling import fit_inputs

QUICK = ob.TrainConfig(max_steps=3, batch_size=8)
LUONG: dict[str, Any] = {"model": ob.LuongConfig(hidden_size=4), "input_size": 14, "train": QUICK}


def daily(rows: int = 90, start: str = "2024-01-01", name: object = "a", level: float = 10.0) -> pd.DataFrame:
    step = np.arange(rows)
    days = pd.date_range(start, periods=rows, freq="D")
    return pd.DataFrame({"unique_id": name, "ds": days, "y": level + step % 7, "price": step % 5.0})


@pytest.mark.parametrize(
    ("lists", "where"),
    [
        ({"futr_exog_list": ["price"], "hist_exog_list": ["stock", "price"]}, "futr_exog_list and hist_exog_list"),
        ({"futr_exog_list": ["price", "price"]}, "futr_exog_list"),
        ({"hist_exog_list": ["price"], "stat_exog_list": ["price"]}, "hist_exog_list and stat_exog_list"),
    ],
)
def test_a_column_has_one_role(lists: dict[str, Any], where: str) -> None:
    for make in (lambda **told: ob.Forecaster(4, **told), lambda **told: ob.Floor("ridge", 4, **told)):
        with pytest.raises(UsageError, match=rf"'price' twice \({where}\)") as refused:
            make(**lists)
        assert refused.value.code == "same_column"


@pytest.mark.parametrize("column", ["sold", "store", "day"])
def test_id_time_and_target_are_no_inputs_by_the_names_they_have(column: str) -> None:
    table = daily().rename(columns={"unique_id": "store", "ds": "day", "y": "sold"})
    names = {"id_col": "store", "time_col": "day", "target_col": "sold"}
    for make in (ob.Forecaster(4, **LUONG, hist_exog_list=[column]), ob.Floor("ridge", 4, futr_exog_list=[column])):
        for work in (make.fit, make.cross_validation):
            with pytest.raises(UsageError, match=f"got '{column}'.*leave it out") as refused:
                work(table, **names)
            assert refused.value.code == "reserved_column"


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
@pytest.mark.parametrize("work", ["filtered", "sorted", "joined", "joined and sorted", "short parts", "weekdays"])
def test_the_index_of_a_filtered_or_sorted_frame_is_no_input(tmp_path: Path, work: str, suffix: str) -> None:
    whole = daily(120)
    joined = pd.concat([whole, daily(120, name="b")])
    weekdays = joined[joined["ds"].dt.day_of_week < 5]
    table = {
        "filtered": whole[whole["ds"] >= "2024-02-01"],
        "sorted": whole.sort_values("ds", ascending=False),
        "joined": joined,
        "joined and sorted": joined.sort_values("ds", kind="stable"),
        "short parts": pd.concat([daily(8, name=str(part)) for part in range(30)] + [whole]),
        "weekdays": weekdays,
    }[work]
    path = tmp_path / f"part.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_csv(path)
    told = ob.read_table(path)
    assert list(told.columns) == ["unique_id", "ds", "y", "price"]
    told_so = any("row numbers" in note for note in told.attrs["notes"])  # pandas 3 writes none that count evenly
    assert told_so == (suffix == "csv" or "__index_level_0__" in parquet.read_schema(path).names)
    model = ob.Forecaster(4, **LUONG).fit(path)
    assert model.decisions["hist_exog_list"].value == ("price",)
    assert model.predict(table).equals(ob.Forecaster(4, **LUONG).fit(table).predict(table))


@pytest.mark.parametrize("text", ["day,\n{0},5\n{1},9\n{2},5\n", "ds,,y\n{0},3,5\n{1},8,9\n{2},1,5\n"])
def test_an_unnamed_column_behind_others_is_data(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text.format("2024-01-01", "2024-01-02", "2024-01-03"))
    told = ob.read_table(tmp_path / "t.csv")
    assert told["y"].tolist() == [5, 9, 5]
    assert not any("row numbers" in note for note in told.attrs["notes"])
    assert len(told.columns) == (3 if text.startswith("day") else 4)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_an_index_of_parts_within_named_ones_is_no_input(tmp_path: Path, suffix: str) -> None:
    parts = {name: daily(60, name=name).drop(columns="unique_id") for name in ("a", "b")}
    table = pd.concat(parts, names=["unique_id"])
    path = tmp_path / f"parts.{suffix}"
    table.to_parquet(path) if suffix == "parquet" else table.to_csv(path)
    assert sorted(ob.read_table(path).columns) == ["ds", "price", "unique_id", "y"]


def test_an_index_that_is_a_column_as_well_is_read_once(tmp_path: Path) -> None:
    daily().set_index("ds", drop=False).to_parquet(tmp_path / "t.parquet")
    assert sorted(ob.read_table(tmp_path / "t.parquet").columns) == ["ds", "price", "unique_id", "y"]


def test_stamps_ahead_may_come_with_row_numbers(tmp_path: Path) -> None:
    whole = daily(94)
    model = ob.Forecaster(4, **LUONG, hist_exog_list=[]).fit(whole[:90])
    ahead = whole.loc[whole["ds"] > whole["ds"][89], ["unique_id", "ds"]]
    for suffix in ("parquet", "csv"):
        path = tmp_path / f"ahead.{suffix}"
        ahead.to_parquet(path) if suffix == "parquet" else ahead.to_csv(path)
        pd.testing.assert_frame_equal(model.predict(futr_df=path), model.predict(), check_dtype=False)


def test_tables_without_columns_and_with_numbers_for_names(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        ob.read_table(pd.DataFrame(index=range(3)))
    (tmp_path / "none.csv").write_text('""\n0\n1\n2\n')
    with pytest.raises(DataError):
        ob.read_table(tmp_path / "none.csv")
    wide = pd.DataFrame({"ds": pd.date_range("2024", periods=3), 0: [1, 2, 3], 1: [4, 5, 6]})
    assert ob.read_table(wide, target_col=[0, 1])["y"].tolist() == [1, 2, 3, 4, 5, 6]  # type: ignore[list-item]


def test_an_unnamed_column_that_names_series_or_time_stays(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        ",store,ds,y\n1,n,2024-01-01,5\n2,n,2024-01-01,7\n1,n,2024-01-02,6\n2,n,2024-01-02,8\n"
    )
    told = ob.read_table(tmp_path / "t.csv", id_col="store,column_1")
    assert sorted(told["unique_id"].unique()) == ["n/1", "n/2"]
    years = pd.DataFrame({"y": np.arange(3.0), "due": pd.date_range("2024", periods=3)}, index=[1980, 1981, 1983])
    years.to_parquet(tmp_path / "years.parquet")
    assert ob.read_table(tmp_path / "years.parquet", time_col="index")["ds"].tolist() == [1980, 1981, 1983]


def test_an_unnamed_column_that_is_the_time_stays(tmp_path: Path) -> None:
    years = pd.DataFrame({"y": np.arange(40.0)}, index=range(1980, 2020))
    years.to_csv(tmp_path / "years.csv")
    told = ob.read_table(tmp_path / "years.csv", time_col="column_1")
    assert told["ds"].tolist() == list(range(1980, 2020))
    named = years.rename_axis("year")
    named.to_parquet(tmp_path / "years.parquet")
    assert ob.read_table(tmp_path / "years.parquet", time_col="year")["ds"].tolist() == told["ds"].tolist()


def test_text_and_categories_of_digits_are_no_inputs_unless_named() -> None:
    table = daily().assign(zip="00501", shop=pd.Categorical(np.arange(90) % 3))
    table.loc[::2, "zip"] = "10001"
    assert ob.Forecaster(4, **LUONG).fit(table).decisions["hist_exog_list"].value == ("price",)


@pytest.mark.parametrize("work", ["fit", "cross_validation"])
def test_rows_that_a_column_tells_apart_are_told_so_everywhere(work: str) -> None:
    table = pd.concat([daily().assign(sku="x"), daily().assign(sku="y", y=5.0)])
    with pytest.raises(DataError, match="column 'sku' tells"):
        getattr(ob.Floor("naive", 7), work)(table)


def test_an_input_that_was_guessed_to_be_a_target_is_told_how_to_be_none() -> None:
    table = daily().rename(columns={"y": "load", "price": "temp"}).drop(columns="unique_id")
    with pytest.raises(UsageError, match="name the targets with target_col"):
        ob.Forecaster(4, **LUONG, futr_exog_list=["temp"]).fit(table)


def test_whole_numbers_in_a_column_of_objects_name_series_that_keep_their_static_text() -> None:
    parts = [daily(name=number, level=level) for number, level in ((1, 10.0), (2, 50.0))]
    table = pd.concat(parts, ignore_index=True)
    table["kind"] = table["unique_id"].map({1: "kiosk", 2: "store"})
    mixed = table.assign(unique_id=table["unique_id"].astype(object))
    told = [ob.Forecaster(4, **LUONG, stat_exog_list=["kind"]).fit(frame) for frame in (table, mixed)]
    assert [model.fitted().layout.stat for model in told] == [("kind=kiosk", "kind=store")] * 2
    pd.testing.assert_frame_equal(told[0].predict(), told[1].predict())
    pd.testing.assert_frame_equal(told[0].predict(table), told[0].predict(mixed))


def test_a_known_ahead_input_may_be_called_as_pandas_calls_levels() -> None:
    table = daily().rename(columns={"price": "level_1"})
    ahead = daily(4, "2024-03-31").rename(columns={"price": "level_1"}).drop(columns="y")
    forecast = ob.Floor("ridge", 4, futr_exog_list=["level_1"]).fit(table).predict(futr_df=ahead)
    assert forecast["ridge"].notna().all()


@pytest.mark.parametrize("make", [lambda: ob.Forecaster(4, **LUONG), lambda: ob.Floor("seasonal_naive", 4)])
def test_part_of_the_series_may_look_as_if_they_had_another_frequency(make: Any) -> None:
    """Weeks that end on Sundays and on Mondays are seven days apart; shops that close at weekends are days with gaps."""
    sundays, mondays = (
        pd.DataFrame({"unique_id": name, "ds": pd.date_range(start, periods=60, freq="7D"), "y": np.arange(60) % 4.0})
        for name, start in (("a", "2023-01-01"), ("b", "2023-01-02"))
    )
    weeks = make().fit(pd.concat([sundays, mondays]))
    whole = weeks.predict().query("unique_id == 'a'").reset_index(drop=True)
    pd.testing.assert_frame_equal(weeks.predict(sundays), whole, check_dtype=False)
    shop = daily(120, name="b").loc[lambda rows: rows["ds"].dt.day_of_week < 5]
    days = make().fit(pd.concat([daily(120), shop]))
    assert days.predict(shop)["ds"].iloc[0] == shop["ds"].iloc[-1] + pd.Timedelta(days=1)
    with pytest.raises(DataError, match="apart") as refused:
        days.predict(shop.assign(ds=pd.date_range("2024-01-01", periods=len(shop), freq="2D")))
    assert refused.value.code == "other_frequency"


def test_absent_rows_are_steps_of_what_is_tested(caplog: pytest.LogCaptureFixture) -> None:
    """What decides on inputs are the rows before the first cutoff, not all but so many rows."""
    rng = np.random.default_rng(0)
    days = np.sort(rng.choice(500, 200, replace=False))
    table = daily(500).iloc[days].reset_index(drop=True)
    model = ob.Forecaster(28, **LUONG)
    panel = model.panel_to_learn(ob.read_table(table), 28 * 8)
    assert model.inputs.hist == ("price",)
    late = table.assign(fault=np.where(table["ds"] > panel.times[-28 * 8 - 1], table["price"], 0.0))
    model.panel_to_learn(ob.read_table(late), 28 * 8)
    assert model.inputs.hist == ("price",)  # what varies in the test alone is no input


@pytest.mark.parametrize("kept", ["table", "fitted", "saved"])
def test_a_series_that_fell_silent_is_known_by_what_it_was(kept: str, tmp_path: Path) -> None:
    """Two hundred days of sales and a hundred without: bands of no width would promise that none will come again."""
    steps, parts = np.arange(300), []
    for name, level in (("ice", 50.0), ("large", 1000.0), ("small", 10.0)):
        part = daily(300, name=name)
        parts.append(part.assign(y=level * (1 + part["y"] / 10) * ((steps < 200) | (name != "ice"))))
    table = pd.concat(parts, ignore_index=True)
    model = ob.Forecaster(14, **LUONG, scaling="standard", hist_exog_list=[]).fit(table)
    assert model.fitted().windows.share > 0
    whole = model.predict(table, level=[95])
    if kept == "saved":
        model = ob.load(model.save(tmp_path / "m.ob"))
    forecast = whole if kept == "table" else model.predict(level=[95])
    pd.testing.assert_frame_equal(forecast, whole, rtol=1e-5)
    told = forecast[forecast["unique_id"] == "ice"]
    assert (told["Luong-hi-95"] - told["Luong-lo-95"]).min() > 0.1


def test_a_short_table_is_forecast_from_with_what_its_series_were() -> None:
    """A hundred days of zeros do not say how large a series was, nor sixty rows that one was negative."""
    parts = []
    for name, level in (("ice", 50.0), ("large", 1000.0), ("small", 10.0)):
        part = daily(300, name=name)
        silent = (np.arange(300) >= 200) & (name == "ice")
        parts.append(part.assign(y=level * (1 + part["y"] / 10) * ~silent))
    table = pd.concat(parts, ignore_index=True)
    model = ob.Forecaster(14, **LUONG, scaling="standard", hist_exog_list=[]).fit(table)
    told = model.predict(table.groupby("unique_id").tail(100), level=[95]).query("unique_id == 'ice'")
    assert (told["Luong-hi-95"] - told["Luong-lo-95"]).min() > 0.1

    rng, rows = np.random.default_rng(0), 300
    counts = [rng.poisson(0.7, rows).astype(float) for _ in range(10)]
    counts[9][20] = -1.0  # a return
    sold = pd.concat([pd.DataFrame({"unique_id": f"s{n}", "ds": range(rows), "y": y}) for n, y in enumerate(counts)])
    model = ob.Forecaster(4, **LUONG, season_length=7).fit(sold)
    assert model.decisions["lower_bound"].value == 0
    short = model.predict(sold.groupby("unique_id").tail(60), level=[95])
    pd.testing.assert_frame_equal(short, model.predict(level=[95]), rtol=1e-4, atol=1e-5)
    assert short.loc[short["unique_id"] == "s9", "Luong-lo-95"].min() < 0
    assert short.loc[short["unique_id"] != "s9", "Luong-lo-95"].min() == 0


def lumpy(*sizes: float, rows: int = 200, share: float = 0.5) -> pd.DataFrame:
    rng, parts = np.random.default_rng(0), []
    for number, size in enumerate(sizes):
        y = size * rng.lognormal(0, 0.3, rows) * (rng.random(rows) < share)
        parts.append(pd.DataFrame({"unique_id": f"s{number}", "ds": range(rows), "y": y}))
    return pd.concat(parts, ignore_index=True)


def test_series_of_many_zeros_are_tested_and_new_ones_get_bands_of_their_size() -> None:
    table = lumpy(1.0, 30.0, 1000.0)
    model = ob.Forecaster(4, **LUONG, season_length=7, scaling="standard")
    assert model.cross_validation(table, n_windows=2)["Luong"].notna().all()
    model.fit(table)
    assert model.fitted().windows.share > 0
    assert max(margin for _, *margins in model.fitted().widening for margin in margins) < 50
    told = model.predict(pd.DataFrame({"unique_id": ["new"], "ds": [0], "y": [10.0]}), level=[95])
    assert told["Luong-hi-95"].max() < 1000


def test_the_default_model_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    ob.Forecaster(4, input_size=14, train=ob.TrainConfig(max_steps=5, budget_s=5)).fit(daily())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["luong", "ridge", "seasonal_naive"])
def test_rows_before_the_first_value_are_no_history(kind: str) -> None:
    """Such as an outer join with older prices leaves: they had moved what is held out, the calendar and the floors."""
    table = pd.concat([daily(400), daily(400, name="b", level=30.0)], ignore_index=True)
    table["y"] += np.random.default_rng(0).normal(size=len(table))
    begun = table["ds"] >= "2024-10-01"
    joined = table.assign(y=table["y"].where(begun))
    said = []
    for given in (table[begun], joined):
        model = ob.Forecaster(4, **LUONG, hist_exog_list=["price"]) if kind == "luong" else ob.Floor(kind, 4)
        tested = model.cross_validation(given, n_windows=3, level=[80])
        fitted = model.fit(given)
        said.append((tested, fitted.predict(level=[80]), fitted.predict(given, level=[80]), dict(fitted.decisions)))
    for one, other in zip(said[0][:3], said[1][:3], strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert said[0][3] == said[1][3]


def test_a_straight_line_of_fractions_is_no_step() -> None:
    """Its steps differ by rounding: in units of that they would be billions."""
    steps = np.arange(300.0)
    lines = np.stack([steps, steps / 365.25, 2000 + steps / 365.25], axis=1)
    assert np.isinf(fit_inputs(lines, np.array([0, 300]), "difference").std_C).all()
    tiny = 1e-13 * np.random.default_rng(0).normal(size=(300, 1))
    for scaling in ("difference", "standard"):
        assert np.isfinite(fit_inputs(tiny, np.array([0, 300]), scaling).std_C).all()


@pytest.mark.parametrize("unit", [1.0, 3e-10])
def test_the_ridge_reads_inputs_of_every_unit(unit: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=400)
    table = pd.DataFrame({"unique_id": "a", "ds": range(400), "y": x + 0.1 * rng.normal(size=400), "x": unit * x})
    assert ob.Floor("ridge", 4, futr_exog_list=["x"]).fit(table).decisions["inputs"]


def test_an_input_without_a_past_is_not_known_ahead_as_a_distance() -> None:
    steps = np.arange(400.0)
    x = np.where(steps < 100, np.nan, steps + np.random.default_rng(0).normal(0, 0.1, 400))
    panel = make_panel(pd.DataFrame({"unique_id": "a", "ds": range(400), "y": steps, "x": x}), futr=["x"])
    columns = fit_inputs(panel.futr, panel.offsets, "difference")
    resident = make_resident(panel, Layout("y", futr=("x",)), columns)
    window = WindowShape(24, 6, "difference")
    for end, known in ((100, False), (101, True), (200, True)):
        batch = gather(resident, torch.tensor([0]), torch.tensor([end]), window)
        assert batch.decoder_observed_BHK[..., 0].all() == known
        assert batch.decoder_BHK[..., 0].abs().max() < 100


def test_a_long_horizon_borrows_no_more_residuals_than_it_needs() -> None:
    residual = np.full((500, 365), np.nan)
    residual[:, :200] = np.arange(1.0, 501.0)[:, None]
    bands = step_bands(residual)
    assert bands.sorted_residual.shape == (500, 365)
    assert (bands.half_width(80) == 401).all()


@pytest.mark.parametrize(
    "config", [{"attention": False}, {"attention": False, "book": 0}, {"attention": False, "book": 4}]
)
def test_the_default_model_trains_without_its_look_ups(config: dict[str, Any]) -> None:
    model = ob.Forecaster(
        4, model=ob.OpenBookConfig(**config, n_models=1), train=ob.TrainConfig(max_steps=20, budget_s=8)
    )
    model.fit(daily(200))
    assert model.training_ is not None
    assert model.training_.skipped == []
