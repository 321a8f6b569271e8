"""Files that are written whole or not at all: temporary sibling, fsync, rename."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place in one step.

    A crash at any moment leaves the old file, or the new one, never a part.

    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a.txt", lambda path: path.write_text("whole")).read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        draft = temporary / path.name
        write(draft)
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def write_text_whole(path: str | Path, text: str) -> Path:
    """``write_whole`` for UTF-8 text."""
    return write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def write_folder_whole(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a new folder, then exchange it with what stands at ``path`` in one step.

    Where the system can not exchange two names, the old folder is moved aside first.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        draft = temporary / "new"
        draft.mkdir()
        write(draft)
        for file in draft.iterdir():
            _sync(file)
        _sync(draft)
        if not path.exists():
            draft.rename(path)
        elif not _exchange(draft, path):
            path.rename(temporary / "old")
            draft.rename(path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names atomically (Linux); false where that is not possible."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done = rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return int(done) == 0


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
