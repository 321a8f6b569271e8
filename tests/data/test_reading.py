"""Files as people and spreadsheets write them."""

from __future__ import annotations

import csv
import gzip
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbook.data.reading import read_file
from openbook.data.table import read_table
from openbook.errors import DataError, UsageError


def _file(folder: Path, data: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def _refusal(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        read_file(path)
    assert caught.value.exit_code == 3
    assert str(path.name) in str(caught.value)
    return caught.value


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_separators_and_line_ends(tmp_path: Path, separator: str, newline: str) -> None:
    text = newline.join(["ds,x,y", "2024-01-01,a,1.5", "2024-01-02,b,2"]).replace(",", separator)
    frame = read_file(_file(tmp_path, text))
    assert frame.to_dict("list") == {"ds": ["2024-01-01", "2024-01-02"], "x": ["a", "b"], "y": [1.5, 2.0]}


def test_thousands_of_a_country_with_decimal_commas_are_not_taken_for_decimals(tmp_path: Path) -> None:
    """A queue that never falls below a thousand, as a German spreadsheet writes it: 6.760 calls were read as 6.76."""
    rows = ["01.01.2024 00:00;6.760", "01.01.2024 01:00;5.490"]
    (tmp_path / "de.csv").write_text("ds;y\n" + "\n".join(rows) + "\n")
    frame = read_file(tmp_path / "de.csv")
    assert frame["y"].tolist() == ["6.760", "5.490"]
    assert frame.attrs["notes"][0] == "column 'y' stays text: '6.760' can mean decimals or thousands"
    (tmp_path / "en.csv").write_text("ds,y\n2024-01-01,6.760\n2024-01-02,5.490\n")
    assert read_file(tmp_path / "en.csv")["y"].tolist() == [6.76, 5.49]


@pytest.mark.parametrize(
    ("rows", "values"),
    [
        (["1,5", "-2,25", "3"], [1.5, -2.25, 3.0]),
        (["1.234,5", "5"], [1234.5, 5.0]),
        (["1.234.567", "5"], [1234567, 5]),
        (["0,123", "0,5"], [0.123, 0.5]),
        (["0,123", "0,456"], [0.123, 0.456]),
        (["1 234", "5"], [1234, 5]),
        (["1\u00a0234,5", "5"], [1234.5, 5.0]),
        (["1'234.5", "5"], [1234.5, 5.0]),
        (["1,234.5", "5"], [1234.5, 5.0]),
        (["1,234,567", "5"], [1234567, 5]),
        (["1e5", ".5", "+3", "−2"], [1e5, 0.5, 3.0, -2.0]),
        (["1.234", "5.6789"], [1.234, 5.6789]),
        (["7", "", "9"], [7.0, None, 9.0]),
        (["7", "NA", "-", "n/a"], [7.0, None, None, None]),
        (["inf", "2"], [np.inf, 2.0]),
        (["true", "False"], [True, False]),
    ],
)
def test_numbers_under_one_convention(tmp_path: Path, rows: list[str], values: list[object]) -> None:
    frame = read_file(_file(tmp_path, "k;y\n" + "".join(f"a;{row}\n" for row in rows)))
    assert frame["y"].dtype != object
    assert [None if value != value else value for value in frame["y"].tolist()] == values


@pytest.mark.parametrize(
    "rows",
    [
        ["00123", "00124"],
        ["007", "12"],
        ["12345678901234567890", "1"],
        ["1.5", "2,5", "1.234,5"],
        ["1,234.5", "1.234,5"],
        ["12a", "13"],
        ["2024.01", "2024.10"],
        ["0x1F", "2"],
        ["1,234", "2,345"],
    ],
)
def test_what_no_convention_explains_stays_text(tmp_path: Path, rows: list[str]) -> None:
    frame = read_file(_file(tmp_path, "k;y\n" + "".join(f"a;{row}\n" for row in rows)))
    assert frame["y"].tolist() == rows


def test_whole_numbers_that_floats_would_round_stay_text(tmp_path: Path) -> None:
    frame = read_file(_file(tmp_path, "y;z\n9007199254740993;1\n;2\n"))
    assert frame["y"].iloc[0] == "9007199254740993"


def test_unclear_columns_follow_the_clear_ones(tmp_path: Path) -> None:
    german = read_file(_file(tmp_path, "a;b\n1.234;0,5\n5.678;1,5\n"))
    assert german["a"].tolist() == [1234, 5678]
    assert any("'a'" in note and "comma" in note for note in german.attrs["notes"])
    mixed = read_file(_file(tmp_path, "a;b;c\n1.234;0,5;0.5\n5.678;1,5;1.5\n"))
    assert mixed["a"].tolist() == ["1.234", "5.678"]
    assert any("'a' stays text" in note for note in mixed.attrs["notes"])


def test_many_grouped_values_beside_small_ones_are_thousands(tmp_path: Path) -> None:
    rows = [*(f'"{thousands},034"' for thousands in range(1, 13)), "950"]
    frame = read_file(_file(tmp_path, "k,y\n" + "".join(f"a,{row}\n" for row in rows)))
    assert frame["y"].tolist() == [*(1000 * thousands + 34 for thousands in range(1, 13)), 950]
    assert "'1,034'" in frame.attrs["notes"][0]


def test_points_are_thousands_where_small_values_have_none(tmp_path: Path) -> None:
    rows = [*(f"{thousands}.034" for thousands in range(1, 13)), "950"]
    frame = read_file(_file(tmp_path, "k;y\n" + "".join(f"a;{row}\n" for row in rows)))
    assert frame["y"].tolist() == [*(1000 * thousands + 34 for thousands in range(1, 13)), 950]
    assert "'1.034' are read as thousands" in frame.attrs["notes"][0]
    few = read_file(_file(tmp_path, "k;y\na;1.034\na;950\na;987\n"))
    assert few["y"].tolist() == ["1.034", "950", "987"]  # refused as a target rather than read as 1.034
    for sign in "-+":
        signed = read_file(_file(tmp_path, f"k;y\na;{sign}1.034\na;{sign}950\na;987\n"))
        assert signed["y"].tolist() == [f"{sign}1.034", f"{sign}950", "987"]
    plain = read_file(_file(tmp_path, "k;y\na;1.034\na;9500\na;987\n"))
    assert plain["y"].tolist() == [1.034, 9500, 987]


def test_names_of_series_are_kept_as_they_are_written(tmp_path: Path) -> None:
    path = _file(tmp_path, "k;ds;y\n1.1;2024-01-01;1\n1.10;2024-01-01;2\n1E5;2024-01-01;3\n100000;2024-01-01;4\n")
    assert read_file(path, names=("k",))["k"].tolist() == ["1.1", "1.10", "1E5", "100000"]
    assert read_table(path, id_col="k")["unique_id"].nunique() == 4
    whole = _file(tmp_path, "k;y\n7;1\n12;2\n")
    assert read_file(whole, names=("k",))["k"].tolist() == [7, 12]
    assert read_file(_file(tmp_path, "k;y\n7.0;1\n12.0;2\n"), names=("k",))["k"].tolist() == [7.0, 12.0]
    assert read_file(_file(tmp_path, "k;y\nNA;1\nEU;2\n"), names=("k",))["k"].tolist() == ["NA", "EU"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp949"])
def test_korean_text_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    text = "날짜,지점,값\n2024년 5월 31일,서울,5\n2024년 6월 1일,부산,7\n"
    frame = read_file(_file(tmp_path, text.encode(encoding)))
    assert frame.columns.tolist() == ["날짜", "지점", "값"]
    assert frame["지점"].tolist() == ["서울", "부산"]
    assert frame["값"].tolist() == [5, 7]


def test_western_text_and_a_note_about_it(tmp_path: Path) -> None:
    frame = read_file(_file(tmp_path, "Größe;Maß °C\nfür;1,5\n".encode("cp1252")))
    assert frame.columns.tolist() == ["Größe", "Maß °C"]
    assert "CP1252" in frame.attrs["notes"][0]


def test_unknown_bytes_are_refused_rather_than_guessed(tmp_path: Path) -> None:
    path = _file(tmp_path, "日付,値\n2024,2\n".encode("shift-jis"))
    error = _refusal(path)
    assert error.code == "wrong_encoding"
    assert "line 1" in error.where
    assert read_file(path, encoding="shift-jis")["値"].tolist() == [2]


def test_wrong_and_unknown_encodings(tmp_path: Path) -> None:
    path = _file(tmp_path, "가,b\n1,2\n".encode("cp949"))
    with pytest.raises(DataError, match="text in utf-8"):
        read_file(path, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_file(path, encoding="utf8000")
    assert caught.value.code == "unknown_encoding"
    assert caught.value.exit_code == 2


def test_quoted_fields_hold_anything(tmp_path: Path) -> None:
    frame = read_file(_file(tmp_path, 'ds,y,c\na,1,"x\ny, ""z"""\nb,2,w\n'))
    assert frame["c"].tolist() == ['x\ny, "z"', "w"]


@pytest.mark.parametrize(
    ("text", "line", "expected", "got"),
    [
        ("ds,y\na,1\nb,2,3\n", 3, 2, 3),
        ("ds,y,z\na,1,2\nb,2\n", 3, 3, 2),
        ('ds,y,c\na,1,"x\ny"\nb,2\n', 4, 3, 2),
        ("ds;y\na;1\n\nb;2;3\n", 4, 2, 3),
    ],
)
def test_ragged_rows_name_line_and_fields(tmp_path: Path, text: str, line: int, expected: int, got: int) -> None:
    error = _refusal(_file(tmp_path, text))
    assert error.code == "ragged_row"
    assert error.where.endswith(f"line {line}")
    assert error.expected.startswith(f"{expected} fields")
    assert error.got.startswith(f"{got} field")


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (b"", "a.csv", "empty_file"),
        (b" \n\n", "a.csv", "empty_file"),
        (b"\xef\xbb\xbf", "a.csv", "empty_file"),
        (b"ds,y\n", "a.csv", "empty_file"),
        (b"", "a.parquet", "empty_file"),
        (gzip.compress(b""), "a.csv.gz", "empty_file"),
        (b"ds,y\n1,2\n", "a.csv.gz", "damaged_file"),
        (gzip.compress(b"ds,y\n1,2\n" * 50)[:-12], "a.csv.gz", "damaged_file"),
        (b"PAR1 nonsense PAR1", "a.parquet", "damaged_file"),
        (b"ds,y\n1,2\n", "a.parquet", "damaged_file"),
        (b"ds,y\n1,2\n", "a.xlsx", "unknown_format"),
        (b"ds,y\n1,2\n", "a", "unknown_format"),
        (b"ds,y\n1,2\n", "a.parquet.gz", "unknown_format"),
        (b"a,a\n1,2\n", "a.csv", "duplicate_columns"),
    ],
)
def test_unusable_files(tmp_path: Path, data: bytes, name: str, code: str) -> None:
    assert _refusal(_file(tmp_path, data, name)).code == code


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_is_to_be_written_to_a_file_first(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    error = _refusal(tmp_path / "pipe")
    assert (error.code, error.got) == ("unknown_format", "a pipe")
    assert "write what comes through the pipe to a file" in error.fix


def test_missing_files_suggest_a_neighbour(tmp_path: Path) -> None:
    _file(tmp_path, "ds,y\n1,2\n", "calls.csv")
    error = _refusal(tmp_path / "cals.csv")
    assert error.code == "missing_file"
    assert "calls.csv" in error.fix
    assert _refusal(tmp_path / "nowhere" / "x.csv").got.startswith("no such folder")
    (tmp_path / "folder.csv").mkdir()
    assert _refusal(tmp_path / "folder.csv").code == "unreadable_file"


def test_gzip_is_recognised_with_and_without_its_suffix(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "a.csv"):
        assert read_file(_file(tmp_path, gzip.compress(b"ds,y\n1,2\n"), name))["y"].tolist() == [2]


def test_spreadsheet_leftovers_are_dropped(tmp_path: Path) -> None:
    frame = read_file(_file(tmp_path, ",ds,y,\n0,a,1,\n1,b,2,\n"))
    assert frame.columns.tolist() == ["ds", "y"]
    assert "row numbers" in frame.attrs["notes"][0]
    kept = read_file(_file(tmp_path, ",ds,y\nu,a,1\nv,b,2\n"))
    assert kept.columns.tolist() == ["column_1", "ds", "y"]


def test_parquet_round_trip_with_an_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"ds": pd.date_range("2024", periods=3, tz="Asia/Seoul"), "y": [1.0, None, 3.0]})
    frame.set_index("ds").to_parquet(tmp_path / "a.parquet")
    back = read_file(tmp_path / "a.parquet")
    assert back["ds"].tolist() == frame["ds"].tolist()
    assert back["y"].tolist()[0] == 1.0


_NUMBERS = st.floats(-1e7, 1e7, allow_nan=False).map(lambda number: round(number, 4))
_TEXTS = st.text("abc가나다 äöü;,|'\"\n", min_size=1, max_size=8).map(lambda text: f"x{text}x")
_ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(_TEXTS, _NUMBERS, st.integers(-(10**9), 10**9)), min_size=2, max_size=12),
    separator=st.sampled_from([",", ";", "\t", "|"]),
    encoding=_ENCODINGS,
    style=st.sampled_from(["{:.4f}", "{:,.4f}"]),
    comma=st.booleans(),
    packed=st.booleans(),
)
def test_csv_round_trip(
    tmp_path: Path,
    rows: list[tuple[str, float, int]],
    separator: str,
    encoding: str,
    style: str,
    comma: bool,
    packed: bool,
) -> None:
    def number(value: float) -> str:
        text = style.format(value)
        return text.translate(str.maketrans(",.", ".,")) if comma else text

    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    writer.writerow(["name", "real", "whole"])
    writer.writerows([name, number(real), str(whole)] for name, real, whole in rows)
    data = buffer.getvalue().encode(encoding)
    path = _file(tmp_path, gzip.compress(data) if packed else data, "a.csv.gz" if packed else "a.csv")
    frame = read_file(path)
    assert frame["name"].tolist() == [name for name, _, _ in rows]
    assert frame["real"].tolist() == pytest.approx([real for _, real, _ in rows], abs=1e-9)
    assert frame["whole"].tolist() == [whole for _, _, whole in rows]


def test_dashes_and_quotes_between_plain_letters_are_western(tmp_path: Path) -> None:
    text = "unique_id,ds,y\nK\u00f6ln \u2013 S\u00fcd,2024-01-01,1\nRue de l\u2019\u00c9cole,2024-01-01,2\n"
    (tmp_path / "western.csv").write_bytes("unique_id,ds,y\nK\u00f6ln \u2013 S\u00fcd,2024-01-01,1\n".encode("cp1252"))
    assert read_file(tmp_path / "western.csv")["unique_id"].tolist() == ["K\u00f6ln \u2013 S\u00fcd"]
    (tmp_path / "odd.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(DataError, match="encoding="):
        read_file(tmp_path / "odd.csv")
    (tmp_path / "japanese.csv").write_bytes("unique_id,ds,y\n\u65e5\u672c,2024-01-01,1\n".encode("shift_jis"))
    with pytest.raises(DataError, match="encoding="):
        read_file(tmp_path / "japanese.csv")
