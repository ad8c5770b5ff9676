"""SPEC 11: every command has help that reads well, takes --json, and ends with the exit codes that the help tells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from polos.cli.commands import application
from polos.cli.outcome import EXIT_CODES

Polos = Callable[..., Result]
_WITHOUT_JSON = {"init"}


def _commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))


COMMANDS = dict(_commands(typer.main.get_command(application)))
LEAVES = {path: command for path, command in COMMANDS.items() if not hasattr(command, "commands")}


def _help(path: tuple[str, ...]) -> str:
    result = CliRunner().invoke(application, [*path, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("path", [(), *COMMANDS], ids=" ".join)
def test_help_is_whole_sentences_that_fit_a_terminal(path: tuple[str, ...]) -> None:
    text = _help(path)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "..." not in text.partition("Commands:")[2], "a summary is cut off"
    assert "{" not in text.splitlines()[0]
    assert "[[" not in text.splitlines()[0]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_and_argument_is_explained(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    assert command.help
    assert command.help.splitlines()[0].endswith(".")
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.name}"


@pytest.mark.parametrize("path", [path for path in LEAVES if path[-1] not in _WITHOUT_JSON], ids=" ".join)
def test_every_command_speaks_to_machines(path: tuple[str, ...]) -> None:
    assert "--json" in [name for parameter in LEAVES[path].params for name in parameter.opts]


def test_the_exit_codes_are_told_once_for_all_commands() -> None:
    assert " ".join(EXIT_CODES.split()) in " ".join(_help(()).split())


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(application, ["--version"])
    assert (result.exit_code, result.output) == (0, f"polos-aws {metadata.version('polos-aws')}\n")


@pytest.mark.process
def test_help_and_local_commands_import_neither_the_libraries_of_aws_nor_what_one_command_needs() -> None:
    code = "import sys, polos.cli.commands; print([one for one in sys.argv[1:] if one in sys.modules])"
    heavy = ("boto3", "botocore", "aws_lambda_powertools", "moto", "watchfiles", "opentelemetry")
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "[]\n"
