"""Runs a command of the command line in this process."""

from __future__ import annotations

import pytest

from openbook.cli import main


def run_here(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of a command run in this process."""
    monkeypatch.setattr("sys.argv", ["openbook", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code
