"""SPEC 12: whatever is wrong with a command gives one sentence, an exit code, and changes nothing."""

from __future__ import annotations

import gc
import json
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Polos = Callable[..., Result]
RUN = ("run", "hello", "--app", "greetings")


def refused(result: Result, code: int, *words: str) -> None:
    """One line on standard error that has all the words, nothing on standard output, and the exit code."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("polos: ")
    assert [word for word in words if word not in lines[0]] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("run", "nope", "--app", "greetings"), 3, ["nope"]),
        (("run", "hello", "--app", "no_such_module"), 2, ["no_such_module", "ModuleNotFoundError"]),
        (("run", "hello", "--app", "greetings:nope"), 2, ["greetings:nope", "nope"]),
        (("run", "hello", "--app", "no/such.py"), 2, ["no/such.py"]),
        (("run", "hello", "--app", "."), 2, ["."]),
        (("run", "hello"), 2, ["--app", "POLOS_APP"]),
        ((*RUN, "--input", "{"), 2, ["payload", "JSON", "line 1"]),
        ((*RUN, "--input", "Ada"), 2, ["JSON", "quotes"]),
        ((*RUN, "--input", "@missing.json"), 2, ["missing.json"]),
        ((*RUN, "--input", "@~nobody-lives-here/x"), 2, ["nobody-lives-here"]),
        ((*RUN, "--input", "9" * 5000), 2, ["payload", "5000 digits"]),
        ((*RUN, "--input", "[" * 100_000), 2, ["payload", "too deeply"]),
        ((*RUN, "--input", '{"name": "\\ud800"}'), 2, ["name", "Unicode"]),
        ((*RUN, "--input", '{"times": 2}'), 2, ["hello", "name"]),
        ((*RUN, "--input", '{"name": "Ada", "times": "x"}'), 2, ["times"]),
        ((*RUN, "--input", '{"name": "Ada"}', "--id", "x" * 300), 2, ["execution id"]),
        ((*RUN, "--input", '{"name": "Ada"}', "--id", "a b"), 2, ["a b"]),
        ((*RUN, "--input", '{"name": "Ada"}', "--id", ""), 2, ["execution id ''"]),
        ((*RUN, "--stack", "s", "--local", "f.db"), 2, ["--stack", "--local"]),
        (("dev",), 2, ["polos dev"]),
        (("dev", "greetings", "--stack", "s"), 2, ["local"]),
    ],
)
def test_nothing_is_stored_where_the_input_is_wrong(
    polos: Polos, place: Path, arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    refused(polos(*arguments), code, *words)
    assert not (place / "f.db").exists()
    if (place / ".polos" / "local.db").exists():
        assert json.loads(polos("list", "--json").stdout)["executions"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        *[("list",), ("show", "x"), ("publish", "t", "1"), ("resume", "x", "s"), ("cancel", "x"), ("why", "x")],
        *[("watch", "x"), ("terminate", "x"), ("retry", "x"), ("fork", "x"), ("pause", "x"), ("unpause", "x")],
        *[("cancel", "--workflow", "w"), ("schedules", "list"), ("schedules", "pause", "w")],
        *[("queues", "list"), ("queues", "pause", "q"), ("workflows", "list"), ("workflows", "unpause", "w")],
    ],
    ids=" ".join,
)
def test_a_database_that_is_not_there_is_not_made(polos: Polos, place: Path, arguments: tuple[str, ...]) -> None:
    refused(polos(*arguments, "--local", "nothing.db"), 4, "nothing.db")
    assert not (place / "nothing.db").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "nope"), 3, ["nope"]),
        (("resume", "nope", "step"), 3, ["nope"]),
        (("cancel", "nope"), 3, ["nope"]),
        (("show", "a b"), 3, ["a b"]),
        (("resume", "done", "step"), 2, ["done", "completed"]),
        (("cancel", "done"), 2, ["done", "completed"]),
        (("resume", "done", "step", "{"), 2, ["data", "JSON"]),
        (("list", "--status", "sleeping"), 2, ["sleeping", "waiting"]),
        (("publish", "t", "{"), 2, ["event", "JSON"]),
        (("publish", "t", "1", "--id", "\udcff"), 2, ["event_id", "Unicode"]),
        (("publish", "t", "1", "--type", "\udcff"), 2, ["event_type", "Unicode"]),
        (("publish", "{}", "--source", "\udcff", "--detail-type", "d"), 2, ["Unicode"]),
        (("show", "\udcff"), 3, ["udcff"]),
        (("publish", "t" * 600, "1"), 2, ["topic", "600"]),
        (("publish", "", "1"), 2, ["topic"]),
        (("publish", "t"), 2, ["TOPIC and JSON"]),
        (("publish", "t", "{}", "--source", "s", "--detail-type", "d"), 2, ["no TOPIC"]),
        (("publish", "{}", "--source", "s"), 2, ["--detail-type"]),
        (("publish", "[]", "--source", "s", "--detail-type", "d"), 2, ["must be a dict"]),
        (("publish", "workflow/hello/x", "1"), 2, ["workflow/hello/x"]),
    ],
)
def test_a_command_that_cannot_be_done_says_why(
    polos: Polos, arguments: tuple[str, ...], code: int, words: list[str]
) -> None:
    assert polos(*RUN, "--input", '{"name": "Ada"}', "--id", "done").exit_code == 0
    refused(polos(*arguments), code, *words)


@pytest.mark.parametrize(
    "arguments", [("list", "--limit", "0"), ("doctor", "--minutes", "inf"), ("list", "--nope"), ("show",), ("nope",)]
)
def test_bad_usage_exits_2(polos: Polos, arguments: tuple[str, ...]) -> None:
    result = polos(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr


def test_the_same_id_with_another_payload_is_refused(polos: Polos) -> None:
    assert polos(*RUN, "--input", '{"name": "Ada"}', "--id", "one").exit_code == 0
    refused(polos(*RUN, "--input", '{"name": "Bob"}', "--id", "one"), 2, "one", "another payload")


def test_an_application_that_fails_to_import_is_told_with_its_line(polos: Polos, place: Path) -> None:
    (place / "faulty.py").write_text("import os\n\n1 / 0\n", encoding="utf-8")
    refused(polos("run", "hello", "--app", "faulty"), 2, "ZeroDivisionError", "faulty.py", "line 3")
    (place / "typo.py").write_text("x = (\n", encoding="utf-8")
    refused(polos("run", "hello", "--app", "typo.py"), 2, "SyntaxError", "typo.py", "line 1")


def test_an_application_that_runs_its_program_when_it_is_imported_is_told_how_to_guard_it(
    polos: Polos, place: Path
) -> None:
    program = "import asyncio\n\nasync def main(): ...\n\nasyncio.run(main())\n"
    (place / "unguarded.py").write_text(program, encoding="utf-8")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        result = polos("run", "hello", "--app", "unguarded.py")
        gc.collect()
    refused(result, 2, "unguarded.py, line 5", 'if __name__ == "__main__":')
    assert [str(one.message) for one in warned] == []


def test_a_file_that_is_no_database_is_told_and_kept(polos: Polos, place: Path) -> None:
    (place / "letter.txt").write_text("Dear Ada, this is not a database.\n" * 50, encoding="utf-8")
    refused(polos("list", "--local", "letter.txt"), 4, "letter.txt")
    assert (place / "letter.txt").read_text(encoding="utf-8").startswith("Dear Ada")


def test_a_database_of_a_newer_version_is_told(polos: Polos, place: Path) -> None:
    connection = sqlite3.connect(place / "newer.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    refused(polos("list", "--local", "newer.db"), 4, "newer")


def test_without_the_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from polos.cli import entry

    monkeypatch.setattr(entry.importlib.util, "find_spec", lambda name: None if name == "typer" else object())
    with pytest.raises(SystemExit) as end:
        entry.main()
    assert end.value.code == 2
    assert capsys.readouterr().err == (
        "polos: the command line needs typer; install it with: pip install 'polos-aws[cli]'\n"
    )
