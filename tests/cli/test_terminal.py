"""SPEC 12: what callers, events and errors hold is shown by the command line, and is no command to the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from polos.cli.terminal import printable, printable_json

Polos = Callable[..., Result]
HOSTILE = "a\x1b]0;title\x07\x1b[2Jb\x9b1Ac\u202ed\x7f"
OBEYED = [character for character in HOSTILE if not character.isprintable() or character == "\u202e"]
APP = """
from polos import WorkflowContext, workflow

@workflow(id="shown", max_retries=0)
async def shown(ctx: WorkflowContext, text: str) -> str:
    async def fail() -> None:
        raise ValueError(text)

    await ctx.step.run(text, lambda: text)
    if text.startswith("a"):
        await ctx.step.run("fail", fail, max_retries=0)
    return text
"""


@pytest.fixture
def failed(polos: Polos, place: Path) -> Polos:
    (place / "shown.py").write_text(APP, encoding="utf-8")
    polos("run", "shown", "--app", "shown.py", "--input", json.dumps(HOSTILE), "--id", "one")
    return polos


@pytest.mark.parametrize("command", ["show", "why", "watch", "list"])
def test_12_an_escape_sequence_reaches_no_terminal(failed: Polos, command: str) -> None:
    result = failed(command, *(() if command == "list" else ("one",)))
    assert "]0;title" in result.output or command == "list"
    assert [character for character in OBEYED if character in result.output] == []


def test_12_json_holds_the_same_value_and_no_escape_sequence(failed: Polos) -> None:
    result = failed("show", "one", "--json")
    assert json.loads(result.stdout)["payload"] == HOSTILE
    assert [character for character in OBEYED if character in result.stdout] == []


def test_12_a_hostile_name_in_an_error_is_shown_harmlessly(failed: Polos) -> None:
    result = failed("schedules", "pause", HOSTILE)
    assert result.exit_code != 0
    assert [character for character in OBEYED if character in result.output] == []


def test_lines_and_tabs_stay() -> None:
    assert printable("a\n\tb ü 漢 🔑") == "a\n\tb ü 漢 🔑"
    assert printable("\x1b\x7f\x9b\u202e") == "␛␡��"
    assert json.loads(printable_json(json.dumps(HOSTILE, ensure_ascii=False))) == HOSTILE
