"""Files that are written whole or not at all: temporary sibling, fsync, rename; JSON that every reader accepts."""

from __future__ import annotations

import ctypes
import difflib
import errno
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openbook.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

_ON_WINDOWS = os.name == "nt"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
# A write to an open file fails without a name; these say that the disk is the reason.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def is_there(path: str | Path) -> bool:
    """Whether something stands at a path. Unlike those of ``pathlib`` these three say no where it may not be looked at."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: str | Path) -> bool:
    """Whether a folder stands at a path, as far as may be seen."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: str | Path) -> bool:
    """Whether a file stands at a path, as far as may be seen."""
    return os.path.isfile(path)  # noqa: PTH113


def absent(path: Path) -> tuple[str, str]:
    """What is missing of a path that does not exist, and what may have been meant."""
    folder = path.parent
    names: list[str] = []
    with suppress(OSError):  # a folder that may not be looked into
        names = [entry.name for entry in folder.iterdir()]
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    hint = f"did you mean {str(folder / close[0])!r}?" if close else "check the path"
    return "no such file" if is_folder(folder) else f"no such folder {str(folder)!r}", hint


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place in one step.

    A crash at any moment leaves the old file, or the new one, never a part. Raises ``UsageError`` where the system
    refuses; other errors of ``write`` pass.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a.txt", lambda path: path.write_text("whole")).read_text()
    'whole'
    """
    path = Path(path)
    with _beside(path) as temporary:
        draft = temporary / path.name
        _filled(path, temporary, draft, write)
        with _refusing(path):
            _sync(draft)
            draft.replace(path)
            _sync(path.parent)
    return path


def write_text_whole(path: str | Path, text: str) -> Path:
    """``write_whole`` for UTF-8 text."""
    return write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_csv_whole(path: str | Path, frame: pd.DataFrame, **how: Any) -> Path:
    """``write_whole`` for a frame without its index, also ``.csv.gz``; ``how``: more arguments of ``to_csv``.

    With text beyond ASCII the file begins with the mark (UTF-8 with BOM) without which spreadsheets garble it.
    """
    return write_whole(path, lambda draft: write_csv(draft, frame, **how))


def write_csv(path: Path, frame: pd.DataFrame, **how: Any) -> None:
    """The file of ``write_csv_whole``, written where it stands: for drafts."""
    texts = [*map(str, frame.columns)]
    for name, dtype in frame.dtypes.items():
        texts.extend(map(str, frame[name].unique()) if dtype.kind == "O" else ())
    encoding = "utf-8" if all(map(str.isascii, texts)) else "utf-8-sig"
    frame.to_csv(path, index=False, encoding=encoding, **how)


def write_parquet_whole(path: str | Path, frame: pd.DataFrame, **how: Any) -> Path:
    """``write_whole`` for a frame; ``how``: more arguments of ``to_parquet``."""
    whole = arrow_ready(frame)
    return write_whole(path, lambda draft: whole.to_parquet(draft, **how))


def arrow_ready(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame whose Python numbers Arrow can hold: those of 2⁶³ and more, such as hashes, as unsigned ones; else as text."""
    changed = {}
    for name, dtype in frame.dtypes.items():
        if dtype.kind != "O":
            continue
        found = [value for value in frame[name].unique() if isinstance(value, int)]
        if found and max(found) >= 2**63:
            unsigned = len(found) == frame[name].nunique(dropna=False) and min(found) >= 0 and max(found) < 2**64
            changed[name] = frame[name].astype("uint64" if unsigned else str)
    return frame.assign(**changed) if changed else frame


def write_folder_whole(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a new folder, then exchange it with what stands at ``path`` in one step.

    What stood there is gone afterwards: the caller says what may be replaced. Where the system can not exchange two
    names, the old folder is moved aside first. Raises ``UsageError`` where the system refuses.
    """
    path = Path(path)
    with _beside(path) as temporary:
        draft = temporary / "new"
        with _refusing(path):
            draft.mkdir()
        _filled(path, temporary, draft, write)
        with _refusing(path):
            for file in draft.iterdir():
                _sync(file)
            _sync(draft)
            if not path.exists():
                draft.rename(path)
            elif not _exchange(draft, path):
                path.rename(temporary / "old")
                try:
                    draft.rename(path)
                except OSError:
                    (temporary / "old").rename(path)
                    raise
            _sync(path.parent)
    return path


def write_files_whole(
    folder: str | Path, write: Callable[[Path], object], *, last: str, gone: Sequence[str] = ()
) -> Path:
    """Let ``write`` fill a new folder, then put its files into ``folder`` beside what else stands there.

    Old files of these names and of ``gone`` stay as they are until all are written, and come back where one can not be put in
    place. They are moved aside ``last`` first, the new ones are put in place ``last`` at the end: a folder that holds it is of
    a single write, also where the machine stops in between. Raises ``UsageError`` where the system refuses.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> files = {"a.txt": "values", "b.json": "their record"}
    >>> def write(draft):
    ...     for name, text in files.items():
    ...         (draft / name).write_text(text)
    >>> sorted(path.name for path in write_files_whole(folder, write, last="b.json").iterdir())
    ['a.txt', 'b.json']
    """
    folder = Path(folder)
    with _beside(folder / last) as temporary:
        new, old = temporary / "new", temporary / "old"
        with _refusing(folder):
            new.mkdir()
            old.mkdir()
        _filled(folder, temporary, new, write)
        with _refusing(folder):
            names = sorted((draft.name for draft in new.iterdir()), key=lambda name: name == last)
            for name in names:
                _sync(new / name)
            try:
                for name in (last, *names[:-1], *gone):
                    if is_there(folder / name):
                        (folder / name).replace(old / name)
                _sync(folder)
                for name in names:
                    (new / name).replace(folder / name)
            except OSError:
                for name in names:
                    if not is_there(new / name):
                        (folder / name).unlink()
                for kept in sorted(old.iterdir(), key=lambda kept: kept.name == last):
                    kept.replace(folder / kept.name)
                raise
            _sync(folder)
    return folder


def check_writable(path: str | Path, *, folder: bool = False) -> None:
    """Refuse early what ``write_whole`` (or ``write_folder_whole``) would refuse late.

    A folder is no place for a file. The rest is tried out in the nearest folder that exists, leaving nothing there.
    Raises ``UsageError``.

    >>> import tempfile
    >>> check_writable(Path(tempfile.mkdtemp()) / "new" / "a.csv")
    """
    path = Path(path)
    with _refusing(path):
        if path.is_dir() and not folder:
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        nearest = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
        _new_folder(nearest, "openbook").rmdir()
        if _ON_WINDOWS and path.is_file():  # which a program that has it open may keep from being replaced
            path.open("r+b").close()


def check_apart(path: str | Path, *read: str | Path | None) -> None:
    """Refuse to write where one of the files lies that are read; raises ``UsageError``.

    >>> check_apart("forecast.csv", "calls.csv", None)
    """
    path = Path(path)
    for source in read if is_there(path) else ():
        if source is not None and is_there(source) and path.samefile(source):
            raise UsageError(
                "would_overwrite",
                expected="another file than those that are read",
                got=str(source),
                where=f"the result, {path}",
                fix="choose another name for the result",
            )


def json_text(document: Any, *, indent: int | None = None) -> str:
    """A document as strict JSON: numbers that are not finite become null, stamps ISO text, other objects their words.

    >>> json_text({"a": float("inf"), "b": np.float64(1e-11), "c": np.datetime64("2024-01-01")})
    '{"a": null, "b": 1e-11, "c": "2024-01-01"}'
    """
    return json.dumps(_plain(document), ensure_ascii=False, allow_nan=False, indent=indent)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic) and not isinstance(value, np.datetime64 | np.timedelta64):
        value = value.item()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if str(value) in ("NaT", "<NA>"):
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A temporary folder on the disk of ``path``."""
    with _refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_folder(path.parent, path.name)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _new_folder(parent: Path, name: str) -> Path:
    """A hidden folder of our own; tried once: ``tempfile`` takes a refusal on Windows for a taken name and tries for hours."""
    folder = parent / f".{name}.{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    return folder


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """What the system refuses is not a bug: the path and the reason in words."""
    try:
        yield
    except OSError as error:
        raise _cannot_write(path, error) from error


def _filled(path: Path, temporary: Path, draft: Path, write: Callable[[Path], object]) -> None:
    try:
        write(draft)
    except OSError as error:
        # Only what concerns the draft: a writer that misses some other file has a problem of its own.
        named = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        if not any(name.startswith(str(temporary)) for name in named) and (named or error.errno not in _DISK):
            raise
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> UsageError:
    # Making a folder where a file stands "exists already", which tells the reader nothing.
    blocked = isinstance(error, FileExistsError | NotADirectoryError)
    return UsageError(
        "cannot_write",
        expected="a place where this file or folder can be written",
        got="a file where a folder is needed" if blocked else error.strerror or str(error),
        where=str(path),
        fix="choose another path, or correct rights or space there",
    )


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names atomically (Linux); false where that is not possible."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # Windows has no library without a name: a TypeError
        return False
    done = rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return int(done) == 0


def _sync(path: Path) -> None:
    """Wait until it is on the disk. Windows opens no folders, and syncs only what may be written to; many shared drives sync
    files, but no folders, and by then the file is in its place."""
    if path.is_dir():
        if not _ON_WINDOWS:
            with suppress(OSError):
                _flush(path)
        return
    _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDWR if _ON_WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
