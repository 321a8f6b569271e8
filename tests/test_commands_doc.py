"""docs/commands.md names every option of every command, with its default, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import typer.main

from openbook import cli

PAGE = (Path(__file__).parents[1] / "docs" / "commands.md").read_text(encoding="utf-8")
GROUP: Any = typer.main.get_command(cli.app)
OPTIONS = {
    (name, parameter.opts[0]): parameter
    for name, command in GROUP.commands.items()
    for parameter in command.params
    if parameter.param_type_name == "option"
}


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a title."""
    part = PAGE[PAGE.index(f"\n## {title}\n") :].split("\n## ")[1]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def told() -> dict[tuple[str, str], str]:
    """The default cell of every command and option of the page."""
    found: dict[tuple[str, str], str] = {}
    for option, commands, default, meaning in rows("Options"):
        for command in GROUP.commands if commands == "every command" else commands.split(", "):
            assert (command, option.strip("`")) not in found, "told twice"
            found[command, option.strip("`")] = default
        assert meaning.endswith("."), meaning
    return found


def test_every_option_of_every_command_is_told() -> None:
    assert sorted(told()) == sorted(OPTIONS)


def test_defaults_are_those_of_the_commands() -> None:
    wrong = {place: cell for place, cell in told().items() if not agrees(OPTIONS[place], cell)}
    assert wrong == {}


def agrees(option: Any, cell: str) -> bool:
    """Whether a cell tells an option's default: as it is, or in words where the command finds it itself."""
    if option.required:
        return cell == "required"
    if option.default is None or option.default is False or option.default == "":
        return re.fullmatch("`[^`]*`", cell) is None
    return cell == f"`{option.default:g}`" if isinstance(option.default, float) else cell == f"`{option.default}`"


def test_every_command_is_told_with_its_arguments() -> None:
    shown = [cells[0].strip("`").split() for cells in rows("Commands")]
    wanted = {
        name: [
            parameter.name.upper() if parameter.required else f"[{parameter.name.upper()}]"
            for parameter in command.params
            if parameter.param_type_name == "argument"
        ]
        for name, command in GROUP.commands.items()
    }
    assert {name: arguments for name, *arguments in shown} == wanted
