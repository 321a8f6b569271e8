"""Files into frames: CSV as people and spreadsheets write it, and Parquet. What could be read in two ways is told."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from openbook.data.conventions import number_columns
from openbook.errors import DataError, UsageError
from openbook.files import absent, is_folder

if TYPE_CHECKING:
    import pyarrow as pa

_SEPARATORS = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma"}
_TEXT_SUFFIXES, _TABLE_SUFFIXES = (".csv", ".tsv", ".txt"), (".parquet", ".pq")
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
# No quotes, dashes and bullets: in bytes of other scripts they are as frequent as letters.
_WESTERN = set("ŒœŠšŽžŸ°µ²³€£¥§±·ºª½¼¾×÷®©")
# But for those that stand between plain letters or spaces.
_MARKS = re.compile(r"(?<=[\x00-\x7f])[–—‘’“”„…](?=[\x00-\x7f])")
_SAID = re.compile(r'"?sep=([\t;|,])"?[ ]*\n')
_SAMPLE_ROWS, _SAMPLE_LETTERS = 200, 500_000
ROW_NUMBERS = "the unnamed column of row numbers is left out"
_ENCODED = "read it with openbook.read_table(path, encoding=...)"


class Decoded(NamedTuple):
    """The text of a file, and a note where its encoding had to be recognised."""

    text: str
    note: str | None


def read_file(
    path: str | Path,
    *,
    encoding: str | None = None,
    names: Sequence[str] = (),
    like: Mapping[str, str] = MappingProxyType({}),
) -> pd.DataFrame:
    """The table of a ``.csv``, ``.tsv``, ``.txt`` (each also ``.gz``) or ``.parquet`` file; stamps of text files stay text.

    Separator, encoding (UTF-8, UTF-16, Korean CP949, Western) and number convention are recognised per file; a column
    becomes numbers only where every value reads under one convention, one of ``names`` (of series) only where all its
    values are plain whole numbers. ``like``: decimal marks that columns had in an earlier table. ``attrs["notes"]`` of the
    frame says what was recognised. Raises ``DataError`` for
    missing, empty, damaged and ragged files, ``UsageError`` for an unknown encoding.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "calls.csv"
    >>> _ = path.write_text("ds;y\\n2024-01-01;1,5\\n2024-01-02;2,5\\n")
    >>> read_file(path)["y"].tolist()
    [1.5, 2.5]
    """
    path = Path(path)
    suffix = _suffix(path)
    data = _bytes(path)
    if suffix in _TABLE_SUFFIXES:
        return _parquet(path, data)
    decoded = _decode(_unpacked(path, data), path, encoding)
    text = decoded.text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    if not text.strip(" \t\n\x00"):
        raise _empty(path, "a file without text")
    told = _SAID.match(text)  # for Excel, which would take the system's
    if told:
        text = text[told.end() :].lstrip("\n")
        if not text:
            raise _empty(path, "a file without text")
    separator = told[1] if told else _separator(text)
    table, unnamed, notes = _named(_split(text, separator, path, skipped=1 if told else 0), path)
    frame, number_notes = number_columns(table, names, like, semicolons=separator == ";")
    frame.attrs["unnamed"] = unnamed
    frame.attrs["notes"] = [note for note in (decoded.note, *notes, *number_notes) if note]
    return frame


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    last = (suffixes[:-1] if packed else suffixes)[-1:] or [""]
    if last[0] in _TEXT_SUFFIXES or (last[0] in _TABLE_SUFFIXES and not packed):
        return last[0]
    piped = path.is_fifo() or path.is_char_device()
    raise DataError(
        "unknown_format",
        expected="a .csv, .csv.gz, .tsv, .txt or .parquet file",
        got="a pipe" if piped else f"the suffix {path.suffix!r}" if path.suffix else "no suffix",
        where=str(path),
        fix="write what comes through the pipe to a file, whose suffix says how to read it"
        if piped
        else "save the table as CSV or Parquet, or correct the file's name",
    )


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        got, hint = absent(path)
        raise DataError("missing_file", expected="a readable file", got=got, where=str(path), fix=hint) from error
    except OSError as error:
        got = "a folder" if is_folder(path) else (error.strerror or "an unreadable file")
        raise DataError(
            "unreadable_file", expected="a readable file", got=got, where=str(path), fix="name one file you may read"
        ) from error
    if not data:
        raise _empty(path, "0 bytes")
    return data


def _empty(path: Path, got: str) -> DataError:
    return DataError(
        "empty_file", expected="a header and at least one row", got=got, where=str(path), fix="export the table again"
    )


def _damaged(path: Path, kind: str, error: Exception) -> DataError:
    reason = str(error).split("\n")[0][:120] or type(error).__name__
    return DataError(
        "damaged_file",
        expected=f"a whole {kind} file",
        got=reason,
        where=str(path),
        fix="copy or download the file again",
    )


def _parquet(path: Path, data: bytes) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        frame = pq.read_table(io.BytesIO(data)).to_pandas()
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(path, "Parquet", error) from error
    unnamed = []
    again = [place for place, name in enumerate(frame.index.names) if name is not None and name in frame.columns]
    frame = frame.reset_index(level=again, drop=True) if again else frame
    if not isinstance(frame.index, pd.RangeIndex):
        levels = frame.index.names
        frame = frame.reset_index()
        unnamed = [str(name) for name, told in zip(frame.columns, levels, strict=False) if told is None]
    if frame.empty:
        raise _empty(path, f"{len(frame)} rows and {frame.shape[1]} columns")
    frame.attrs = {"notes": [], "unnamed": unnamed}
    return frame


def _unpacked(path: Path, data: bytes) -> bytes:
    if path.suffix.lower() != ".gz" and data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, "gzip", error) from error


def _decode(data: bytes, path: Path, encoding: str | None) -> Decoded:
    if encoding is not None:
        try:
            return Decoded(data.decode(encoding).removeprefix("\ufeff"), None)
        except LookupError as error:
            raise UsageError(
                "unknown_encoding", expected="an encoding's name such as utf-8 or cp949", got=repr(encoding),
                where="encoding", fix="correct the name, or leave it out",
            ) from error  # fmt: skip
        except UnicodeError as error:
            raise _undecodable(path, encoding, data, error) from error
    for mark, name in _BOMS:
        if data.startswith(mark):
            try:
                return Decoded(data.decode(name), None)
            except UnicodeError as error:
                raise _undecodable(path, name, data, error) from error
    wide = _wide(data)
    if wide:
        return Decoded(data.decode(wide), f"text read as {wide.upper()}")
    try:
        return Decoded(data.decode("utf-8"), None)
    except UnicodeError as error:
        return _recognised(data, path, error)


def _wide(data: bytes) -> str | None:
    """UTF-16 without a mark: in tables nearly every other byte is zero, or line ends are two bytes with one zero."""
    head = data[: 2 * (min(len(data), 4000) // 2)]
    for name, zeros, newline in (("utf-16-le", head[1::2], b"\n\x00"), ("utf-16-be", head[0::2], b"\x00\n")):
        if zeros.count(0) > 0.2 * len(zeros) and newline in head:
            try:
                data.decode(name)
            except UnicodeError:
                continue
            return name
    return None


def _recognised(data: bytes, path: Path, error: Exception) -> Decoded:
    """Korean text holds common Hangul, Western text accented letters; everything else is refused."""
    for name, plausible in (("cp949", _is_korean), ("cp1252", _is_western)):
        try:
            text = data.decode(name)
        except UnicodeError:
            continue
        letters = set(_MARKS.sub("", text[:_SAMPLE_LETTERS]) if name == "cp1252" else text[:_SAMPLE_LETTERS])
        if plausible({letter for letter in letters if ord(letter) > 127}):
            return Decoded(text, f"text read as {name.upper()}; if letters look wrong: {_ENCODED}")
    raise _undecodable(path, "utf-8", data, error)


def _is_korean(letters: set[str]) -> bool:
    """Nearly all letters are among the 2350 syllables of daily use; Japanese and Chinese bytes hit rare ones and Hanja."""
    words = [letter for letter in letters if letter.isalpha() and letter >= "\u3040"]
    common = [letter for letter in words if "가" <= letter <= "힣" and len(letter.encode("euc_kr", "ignore")) == 2]
    return len(common) >= 0.9 * len(words) and (bool(words) or all("℀" <= letter <= "㏿" for letter in letters))


def _is_western(letters: set[str]) -> bool:
    return all("À" <= letter <= "ÿ" or letter in _WESTERN for letter in letters)


def _undecodable(path: Path, name: str, data: bytes, error: Exception) -> DataError:
    place = getattr(error, "start", 0)
    return DataError(
        "wrong_encoding",
        expected=f"text in {name}",
        got=f"byte 0x{data[place]:02x} at position {place}" if place < len(data) else "a cut-off character",
        where=f"{path}, line {data[:place].count(10) + 1}",
        fix=f"save the file as UTF-8, or {_ENCODED}",
    )


def _separator(text: str) -> str:
    """The separator that splits header and first rows into the same number of fields, most fields first."""
    head = text[: 64 * 1024]
    if len(head) < len(text):
        head = head[: head.rfind("\n") + 1] or head
    best, best_rank = ",", (0.0, 0)
    for separator in _SEPARATORS:
        rows = [row for row in csv.reader(io.StringIO(head), delimiter=separator) if row][:_SAMPLE_ROWS]
        width = len(rows[0])
        if width > 1:
            rank = (round(sum(len(row) == width for row in rows) / len(rows), 1), width)
            # On a tie the rarer mark wins: commas also stand inside numbers.
            best, best_rank = (separator, rank) if rank > best_rank else (best, best_rank)
    return best


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, one after the other: a whole copy of a large file for its first would cost gigabytes."""
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin) + 1 or len(text)
        yield text[begin:end]
        begin = end


def _split(text: str, separator: str, path: Path, skipped: int = 0) -> pa.Table:
    """The rows as columns of texts; a fast reader first, a slow one to name the line where it fails.

    ``skipped``: lines of the file above the text.
    """
    import pyarrow as pa
    import pyarrow.csv as pc

    try:
        rows = (row for row in csv.reader(_lines(text), delimiter=separator) if row)
        header = next(rows)
    except csv.Error as error:
        raise _damaged(path, "CSV (is a quotation mark open in line 1?)", error) from error
    try:
        second = next(rows, [])
    except csv.Error:  # a field too long for this reader
        second = []
    ends = len(second) == len(header) + 1 and not second[-1].strip() and not any("\n" in name for name in header)
    width, whole = len(header), text
    if ends:  # rows end with a mark that the header lacks
        text, header = text.replace("\n", f"{separator}\n", 1), [*header, ""]
    names = [str(place) for place in range(len(header))]
    try:
        table = pc.read_csv(
            pa.BufferReader(text.encode("utf-8", "surrogatepass")),
            read_options=pc.ReadOptions(column_names=[f"f{name}" for name in names], block_size=1 << 24),
            parse_options=pc.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pc.ConvertOptions(
                column_types={f"f{name}": pa.string() for name in names}, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise _ragged(whole, separator, width, path, error, skipped) from error
    if ends and _any_text(table.columns[-1]):
        raise _ragged(whole, separator, width, path, ValueError("rows of several lengths"), skipped)
    if table.num_rows < 2:
        raise _empty(path, f"a header of {len(header)} column(s) and no rows")
    return table


def _any_text(column: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.not_equal(pc.utf8_trim_whitespace(column), "")).as_py())


def _ragged(text: str, separator: str, width: int, path: Path, error: Exception, skipped: int) -> DataError:
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    before = 0
    try:
        for row in reader:
            if row and len(row) != width:
                return DataError(
                    "ragged_row",
                    expected=f"{width} fields ({_SEPARATORS[separator]}-separated, as in the header)",
                    got=f"{len(row)} field(s)",
                    where=f"{path}, line {before + 1 + skipped}",
                    fix="remove the lines above the header: line 1 is none"
                    if width == 1
                    else "quote fields that hold the separator, or complete the row",
                )
            before = reader.line_num
    except csv.Error as problem:
        return _damaged(path, "CSV", problem)
    return _damaged(path, "CSV", error)


def _named(table: pa.Table, path: Path) -> tuple[pa.Table, list[str], list[str]]:
    """The first row becomes the header; unnamed columns that hold nothing, or only count rows, are left out.

    Also what the other unnamed columns are called now, and notes.
    """
    import pyarrow.compute as pc

    names = [column[0].as_py().strip() for column in table.columns]
    body = table.slice(1)
    keep, notes, unnamed = [], [], []
    for place, name in enumerate(names):
        if not name:
            values = body[place]
            if pc.all(pc.equal(pc.utf8_trim_whitespace(values), "")).as_py():
                continue
            if _counts_rows(values):
                notes.append(ROW_NUMBERS)
                continue
            names[place] = f"column_{place + 1}"
            unnamed.append(names[place])
        keep.append(place)
    twice = [name for name, count in Counter(names[place] for place in keep).items() if count > 1]
    if twice:
        raise DataError(
            "duplicate_columns",
            expected="every column name once",
            got=f"{twice[0]!r} {names.count(twice[0])} times",
            where=f"{path}, line 1",
            fix="rename or drop one of them",
        )
    return body.select(keep).rename_columns([names[place] for place in keep]), unnamed, notes


def _counts_rows(values: pa.ChunkedArray) -> bool:
    count = len(values)
    if values[0].as_py() not in ("0", "1"):
        return False
    first = int(values[0].as_py())
    return bool(values.to_pylist() == [str(number) for number in range(first, first + count)])
