"""Static columns: text becomes columns of 0 and 1 by what was learned from, and only by that; what changes is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

import openbook as ob
from openbook.data.panel import Panel, make_panel
from openbook.errors import DataError
from openbook.evaluation.backtest import Plan, run_backtest
from openbook.forecast.static import encoded, learn_categories, text_columns, with_labels, with_static
from openbook.windows.sampler import Layout, WindowShape, gather, input_scaler, make_resident

QUICK = ob.TrainConfig(max_steps=3, batch_size=8)
KINDS = {"a": "kiosk", "b": "store", "c": "store"}


def table(kinds: dict[str, object], rows: int | dict[str, int] = 60) -> pd.DataFrame:
    """One series per name, with its kind and its size."""
    parts = []
    for number, (name, kind) in enumerate(kinds.items()):
        length = rows if isinstance(rows, int) else rows[name]
        step = np.arange(60 - length, 60)
        part = pd.DataFrame({"unique_id": name, "ds": step, "y": (step + number) % 5.0})
        parts.append(part.assign(size=float(number), kind=kind))
    return pd.concat(parts, ignore_index=True)


def labelled(kinds: dict[str, object]) -> Panel:
    frame = table(kinds, 3)
    return with_labels(make_panel(frame), frame, ["kind"])


def forecaster(**changes: object) -> ob.Forecaster:
    options = {"stat_exog_list": ["kind", "size"], "model": ob.LuongConfig(hidden_size=4), "input_size": 8}
    return ob.Forecaster(4, **{**options, "train": QUICK, "alias": "OpenBook"} | changes)


def marks(panel: Panel) -> dict[str, list[float]]:
    """The encoded row of every series."""
    assert panel.stat is not None
    return dict(zip(map(str, panel.ids), panel.stat.tolist(), strict=True))


def test_text_and_categoricals_are_categories_and_numbers_are_not() -> None:
    frame = pd.DataFrame({"kind": ["kiosk", "store"], "digits": ["1", "2"], "size": [1, 2], "open": [True, False]})
    frame = frame.assign(zone=pd.Categorical([3, 4]), mixed=["1", "x"], day=pd.to_datetime(["2024-01-01"] * 2))
    assert text_columns(frame, list(frame.columns)) == ("kind", "zone", "mixed")


def test_the_most_frequent_categories_come_first_and_at_most_64() -> None:
    panel = labelled({"a": "kiosk", "b": "store", "c": "store", "d": None})
    assert learn_categories(panel) == {"kind": ("store", "kiosk")}
    many = {
        f"s{number:03d}": f"k{min(number, 150 - number):03d}" for number in range(151)
    }  # k000 … k074 twice, k075 once
    learned = learn_categories(labelled(many))["kind"]
    assert learned == tuple(f"k{number:03d}" for number in range(64))


def test_one_category_throughout_tells_nothing_and_has_no_column(caplog: pytest.LogCaptureFixture) -> None:
    assert learn_categories(labelled(dict.fromkeys("abc", "store"))) == {"kind": ()}
    assert learn_categories(labelled({"a": "store", "b": None})) == {"kind": ("store",)}
    none = encoded(labelled(KINDS), {"kind": ()})
    assert (none.static, none.stat, none.futr.shape) == ((), None, (9, 0))
    assert caplog.text == ""


def test_labels_are_the_same_from_files_and_from_frames() -> None:
    panel = labelled({"a": 7, "b": "7", "c": 7.0, "d": " x ", "e": "", "f": np.nan, "g": 7.5})
    assert panel.labels is not None
    assert panel.labels[:, 0].tolist() == ["7", "7", "7", "x", None, None, "7.5"]


def test_a_label_may_be_missing_in_some_rows() -> None:
    frame = table(KINDS, 3)
    frame.loc[[0, 2, 4], "kind"] = None
    panel = with_labels(make_panel(frame), frame, ["kind"])
    assert panel.labels is not None
    assert panel.labels[:, 0].tolist() == ["kiosk", "store", "store"]


def test_others_are_zeros_in_all_columns_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    panel = encoded(labelled({"a": "kiosk", "b": "stall", "c": None, "d": "store"}), {"kind": ("store", "kiosk")})
    assert panel.known_columns == panel.static == ("kind=store", "kind=kiosk")
    assert marks(panel) == {"a": [0, 1], "b": [0, 0], "c": [0, 0], "d": [1, 0]}
    assert panel.labels is None
    assert len(caplog.records) == 1
    assert "kind: 'stall', missing (2 series)" in caplog.text


def test_what_the_columns_are_named_after_reaches_model_and_shape() -> None:
    fitted = forecaster(futr_exog_list=[], hist_exog_list=[]).fit(table(KINDS)).fitted()
    assert fitted.layout.futr == fitted.layout.stat == ("size", "kind=store", "kind=kiosk")
    assert (fitted.shape.n_known, fitted.shape.n_static) == (3, 3)
    plain = ob.Forecaster(4, model=ob.LuongConfig(hidden_size=4), input_size=8, train=QUICK).fit(table(KINDS)).fitted()
    assert (plain.layout.stat, plain.shape.n_static) == ((), 0)


def test_static_columns_stand_behind_those_known_ahead() -> None:
    frame = table(KINDS).assign(promo=lambda f: f["ds"] % 3.0)
    model = forecaster(futr_exog_list=["promo"]).fit(frame)
    assert model.fitted().layout.futr == ("promo", "size", "kind=store", "kind=kiosk")
    assert model.fitted().shape.n_static == 3
    ahead = pd.DataFrame({"unique_id": np.repeat(list("abc"), 4), "ds": [60, 61, 62, 63] * 3, "promo": 1.0})
    assert model.predict(futr_df=ahead)["OpenBook"].notna().all()
    history = model.history_
    assert history is not None
    assert model._future_rows(history, ahead).tolist() == [[[1.0]] * 4] * 3
    assert marks(history) == {"a": [0, 0, 1], "b": [1, 1, 0], "c": [2, 1, 0]}


def test_a_category_makes_the_difference_that_it_made_in_training() -> None:
    """One kind rises and one falls; of a new series two equal values are known, so that only its kind can tell."""
    rng = np.random.default_rng(0)
    parts = []
    for number in range(30):
        sign = 1 if number % 2 else -1
        y = 50 + sign * 2.0 * np.arange(30) + rng.normal(0, 0.1, 30)
        parts.append(
            pd.DataFrame({"unique_id": f"s{number}", "ds": range(30), "y": y, "kind": "up" if number % 2 else "down"})
        )
    train = ob.TrainConfig(max_steps=300, batch_size=64, learning_rate=1e-2)
    model = ob.Forecaster(
        4, model=ob.LuongConfig(hidden_size=16), input_size=4, scaling="fixed", stat_exog_list="kind", train=train
    )
    model.fit(pd.concat(parts))
    flat = pd.DataFrame({"unique_id": np.repeat(["x", "z"], 2), "ds": [1, 2] * 2, "y": 50.0})
    found = model.predict(flat.assign(kind=np.repeat(["up", "down"], 2))).groupby("unique_id")["Luong"].last()
    assert found["x"] > 51
    assert found["z"] < 49


def test_new_tables_are_encoded_as_the_learned_one(caplog: pytest.LogCaptureFixture) -> None:
    model = forecaster().fit(table(KINDS))
    new = table({"n": "store", "o": "kiosk", "p": "stall"})
    panel = model.panel_like_history(new)
    assert {name: row[1:] for name, row in marks(panel).items()} == {"n": [1, 0], "o": [0, 1], "p": [0, 0]}
    assert [record.getMessage() for record in caplog.records if "stall" in record.getMessage()]
    caplog.clear()
    assert len(model.predict(new)) == 12
    assert len([record for record in caplog.records if "stall" in record.getMessage()]) == 1
    numbers = model.predict(new.assign(kind=5))  # a file whose few kinds all look like numbers
    assert len(numbers) == 12
    with pytest.raises(DataError, match="'kind'"):
        model.predict(new.drop(columns="kind"))


def test_the_order_of_rows_and_the_kind_of_frame_do_not_matter() -> None:
    frame = table(KINDS)
    one = forecaster().fit(frame).predict()
    shuffled = forecaster().fit(frame.sample(frac=1, random_state=1)).predict()
    pd.testing.assert_frame_equal(one, shuffled, check_exact=True)
    categorical = forecaster().fit(frame.astype({"kind": "category"})).predict()
    pd.testing.assert_frame_equal(one, categorical, check_exact=True)
    found = forecaster().fit(pl.from_pandas(frame).with_columns(pl.col("kind").cast(pl.Categorical))).predict()
    np.testing.assert_array_equal(found["OpenBook"].to_numpy(), one["OpenBook"])


def test_ids_that_are_numbers_find_their_labels() -> None:
    frame = table(KINDS).assign(unique_id=lambda f: f["unique_id"].map({"a": 30, "b": 4, "c": 100}))
    panel = forecaster().fit(frame).history_
    assert {name: row[1:] for name, row in marks(panel).items()} == {"30": [0, 1], "4": [1, 0], "100": [1, 0]}


def test_saving_keeps_what_was_learned(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = forecaster().fit(table(KINDS))
    again = ob.load(model.save(tmp_path / "m.ob"))
    assert again.categories_ == {"kind": ("store", "kiosk")}
    new = table({"n": "kiosk", "o": "stall"})
    for arguments in ((), (new,)):
        pd.testing.assert_frame_equal(again.predict(*arguments), model.predict(*arguments), check_exact=True)
    assert again.history_.static == ("size", "kind=store", "kind=kiosk")
    assert again.explain().features == model.explain().features
    refit = again.fit(table({"a": "stall", "b": "store"}))  # learns anew
    assert refit.categories_ == {"kind": ("stall", "store")}


LATE = {"a": 60, "b": 60, "c": 60, "late": 7}
LATE_KINDS = {"a": "kiosk", "b": "store", "c": "store", "late": "stall"}


def test_categories_are_learned_before_the_first_cutoff_only() -> None:
    """The late series begins after the first cutoff: its kind is not known there, and is once training is repeated."""
    frame, seen = table(LATE_KINDS, LATE), []

    class Watched(ob.Forecaster):
        def fit_panel(self, panel: Panel) -> None:
            seen.append((panel.static[1:], len(panel)))
            super().fit_panel(panel)

    model = Watched(4, stat_exog_list=["kind", "size"], model=ob.LuongConfig(hidden_size=4), input_size=8, train=QUICK)
    found = model.cross_validation(frame, n_windows=2, refit=True)
    assert seen == [(("kind=store", "kind=kiosk"), 3), (("kind=store", "kind=kiosk", "kind=stall"), 4)]
    assert found["Luong"].notna().all()


def test_another_category_after_the_cutoff_changes_nothing_before_it() -> None:
    tables = [table(LATE_KINDS | {"late": kind}, LATE) for kind in ("stall", "tent")]
    one, two = (forecaster().cross_validation(frame, n_windows=2) for frame in tables)
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def test_backtests_learn_them_too_and_the_ridge_reads_them() -> None:
    frame = ob.read_table(table(LATE_KINDS, LATE))
    plan = Plan(h=4, n_windows=2, models=("luong", "ridge"))
    result = run_backtest(frame, plan, lambda name: forecaster(model=ob.LuongConfig(hidden_size=4)))
    assert result.run["failed"] == {}
    assert {"kind=store", "kind=kiosk"} <= set(result.explanation["feature"])
    assert "kind=stall" not in set(result.explanation["feature"])
    assert result.forecasts[["luong", "ridge"]].notna().all(axis=None)


def test_what_changes_within_a_series_is_refused() -> None:
    frame = table(KINDS)
    frame.loc[70, "kind"] = "kiosk"
    with pytest.raises(DataError, match="one value per series") as caught:
        forecaster().fit(frame)
    assert caught.value.code == "not_static"
    assert all(word in str(caught.value) for word in ("'store'", "'kiosk'", "column 'kind'", "series 'b'"))
    model = forecaster().fit(table(KINDS))
    with pytest.raises(DataError, match="column 'kind', series 'b'"):
        model.predict(frame)
    moving = table(KINDS).assign(size=lambda f: f["ds"])
    with pytest.raises(DataError, match="column 'size', series 'a'"):
        forecaster().fit(moving)


def test_a_model_saved_when_static_values_stood_in_every_row_forecasts_as_it_did(tmp_path: Path) -> None:
    model = forecaster(futr_exog_list=["promo"]).fit(table(KINDS).assign(promo=lambda f: f["ds"] % 3.0))
    ahead = pd.DataFrame({"unique_id": np.repeat(list("abc"), 4), "ds": [60, 61, 62, 63] * 3, "promo": 1.0})
    folder = model.save(tmp_path / "m")
    kept = load_file(folder / "weights.safetensors")
    repeats = torch.from_numpy(np.diff(kept["history.offsets"].numpy()))
    rows = kept.pop("history.stat").repeat_interleave(repeats, dim=0)
    kept["history.futr"] = torch.cat([kept["history.futr"], rows], dim=1)
    save_file(kept, folder / "weights.safetensors")
    manifest = json.loads((folder / "manifest.json").read_text()) | {"schema": 4}
    manifest["sha256"]["weights.safetensors"] = hashlib.sha256(
        (folder / "weights.safetensors").read_bytes()
    ).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    again = ob.load(folder)
    pd.testing.assert_frame_equal(again.predict(futr_df=ahead), model.predict(futr_df=ahead), check_exact=True)
    assert again.history_ is not None
    assert marks(again.history_) == marks(model.history_)


def test_what_a_series_has_is_read_as_if_it_stood_in_every_row() -> None:
    """In windows and their scaling: by series, and as a column known ahead (the ridge map has its own test)."""
    parts = [
        pd.DataFrame({"unique_id": name, "ds": range(rows), "y": np.arange(rows) % 5.0 + place, "size": 3.0 * place**2})
        for place, (name, rows) in enumerate((("a", 90), ("b", 60), ("c", 75), ("d", 40)))
    ]
    frame = pd.concat(parts).assign(promo=lambda f: f["ds"] % 3.0)
    frame.loc[frame["unique_id"] == "d", "size"] = np.nan
    each = make_panel(frame, futr=["promo", "size"])
    once = with_static(each, ["size"])
    assert once.futr_columns == ("promo",)
    series, end = torch.tensor([0, 1, 2, 3, 1]), torch.tensor([3, 150, 180, 240, 96])
    for scaling in ("standard", "difference"):
        seen = []
        for panel in (each, once):
            columns = input_scaler(panel, scaling)
            np.testing.assert_allclose(columns.mean_C, input_scaler(each, scaling).mean_C, rtol=1e-14)
            np.testing.assert_allclose(columns.std_C, input_scaler(each, scaling).std_C, rtol=1e-14)
            layout = Layout("y", (), ("promo", "size"), (), ("size",))
            resident = make_resident(panel, layout, columns)
            seen.append(gather(resident, series, end, WindowShape(12, 4, scaling)))
        for one, other in zip(*seen, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


def test_a_column_of_that_name_is_refused() -> None:
    with pytest.raises(DataError, match="kind=store"):
        forecaster(hist_exog_list=["kind=store"]).fit(table(KINDS).assign(**{"kind=store": 1.0}))


def test_a_number_stands_for_all_rows_of_its_series_where_cells_or_rows_are_missing() -> None:
    whole = table(KINDS)
    model = forecaster().fit(whole)
    wanted = model.predict(whole)
    emptied = whole.copy()
    emptied.loc[emptied["ds"] >= 55, "size"] = np.nan
    emptied.loc[emptied["ds"] < 3, "size"] = np.nan
    pd.testing.assert_frame_equal(model.predict(emptied), wanted)
    holes = emptied[~emptied["ds"].isin([53, 54])]  # rows that the grid puts back
    assert [row[0] for row in marks(model.panel_like_history(holes)).values()] == [0.0, 1.0, 2.0]
