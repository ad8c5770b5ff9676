"""The shell blocks of the guides: those of the command line's page run, in order; all others name what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from polos.cli.commands import application

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGE = ROOT / "docs" / "command-line.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_ELSEWHERE = {"make", "pip", "sam", "cd", "aws", "export"}
"""Commands of others, whose words are theirs."""


@pytest.mark.process
@pytest.mark.timeout(600)  # some thirty processes, each of which imports everything
def test_the_page_of_the_command_line_runs_from_its_first_block_to_its_last(tmp_path: Path) -> None:
    blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    (tmp_path / "shop.py").write_text(next(text for language, text in blocks if language == "python"))
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    command = bin_folder / "polos"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from polos.cli.entry import main; main()" "$@"\n')
    command.chmod(0o755)
    script = "set -eo pipefail\n" + "\n".join(text for language, text in blocks if language == "sh")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("POLOS_", "PYTEST_"))}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**environment, "PATH": f"{bin_folder}:{environment['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    for words in ('"KETTLE"', "order-1", "the door", "KeyError: 'kite'", '"KITE"', "paused 2 executions"):
        assert words in told, words


def _lines() -> list[tuple[str, str]]:
    """Every call of `polos` in shell blocks and in backticks, with the page that it is on."""
    found: list[tuple[str, str]] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, block in _BLOCK.findall(text):
            if language == "sh":
                found += [(page.name, line) for line in block.replace("\\\n", " ").splitlines()]
        found += [(page.name, line) for line in re.findall(r"`(polos [a-z][^`]*)`", _BLOCK.sub("", text))]
    return found


LINES = [(page, line) for page, line in _lines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize(("page", "line"), LINES, ids=[f"{page}: {line[:50]}" for page, line in LINES])
def test_commands_in_the_guides_exist_with_the_options_that_they_are_given(page: str, line: str) -> None:
    words = shlex.split(line.partition(" #")[0], comments=False)
    if page == PAGE.name and not line.startswith("polos"):
        return  # it is run above
    if words[0] in _ELSEWHERE:
        return
    assert words[0] == "polos", f"{page}: {line}"
    command: Any = typer.main.get_command(application)
    words = words[1:]
    while hasattr(command, "commands"):
        assert words, f"{page}: {line}"
        assert words[0] in command.commands, f"{page}: there is no {line}"
        command, words = command.commands[words[0]], words[1:]
        if not words:
            return
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word in ("|", ">", "||", "&&", "&"):
            break
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{page}: {line}"
