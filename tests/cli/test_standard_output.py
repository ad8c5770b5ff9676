"""SPEC 11: what is printed where standard output is narrow, closed, of another encoding, or read by one who leaves."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from tests.cli.test_processes import stop

Polos = Callable[..., Result]
POLOS = shlex.join([sys.executable, "-c", "from polos.cli.entry import main; main()"])
LONG = "customer-" + "0123456789" * 20
CHATTY = """
import os
import subprocess
import sys

from polos import WorkflowContext, workflow

print("at import")


def noisy() -> str:
    print("in a step", flush=True)
    subprocess.run([sys.executable, "-c", "print('from a program')"], check=True)
    os.write(1, b"past Python\\n")
    return "gr\\u00fc\\u00dfe \\u6f22"


@workflow
async def chatty(ctx: WorkflowContext) -> str:
    print("in a body")
    return await ctx.step.run("noisy", noisy)
"""


@pytest.fixture
def chatty(place: Path) -> Path:
    (place / "chatty.py").write_text(CHATTY, encoding="utf-8")
    return place


def shell(place: Path, line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["/bin/sh", "-c", line.replace("polos ", f"{POLOS} ")],
        cwd=place,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_with_json_what_the_application_prints_goes_to_standard_error(chatty: Path) -> None:
    done = shell(chatty, "polos run chatty --app chatty.py --json")
    assert json.loads(done.stdout)["result"] == "grüße 漢"
    for said in (b"at import", b"in a body", b"in a step", b"from a program", b"past Python"):
        assert said in done.stderr


def test_with_json_prints_are_kept_apart_under_test_too(polos: Polos, chatty: Path) -> None:
    result = polos("list", "--app", "chatty.py", "--json")
    assert result.exit_code == 4  # there is no database yet
    result = polos("run", "chatty", "--app", "chatty.py", "--json", "--no-wait")
    assert set(json.loads(result.stdout)) == {"execution_id", "workflow_id"}


def test_without_json_the_applications_prints_stay_where_they_are(chatty: Path) -> None:
    done = shell(chatty, "polos run chatty --app chatty.py")
    assert b"at import" in done.stdout


@pytest.mark.parametrize("columns", ["0", "20", "120"])
def test_an_id_is_printed_whole_at_every_width(polos: Polos, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    started = polos("run", "hello", "--app", "greetings", "--input", '{"name":"Ada"}', "--id", LONG, "--no-wait")
    assert started.stdout == f"{LONG}\n"
    assert LONG in polos("list").stdout
    assert LONG in polos("show", LONG).stdout
    polos("queues", "pause", LONG[:120])
    assert LONG[:120] in polos("queues", "list").stdout


@pytest.mark.parametrize("command", ["run chatty --app chatty.py --json", "list", "show x --json"])
def test_a_reader_that_leaves_early_ends_a_command_quietly(chatty: Path, command: str) -> None:
    shell(chatty, "polos run chatty --app chatty.py --id x --no-wait")
    done = shell(chatty, f"{{ polos {command}; echo $? >&2; }} | true")
    assert done.stderr.endswith(b"141\n"), done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipeError" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["io", "locale"],
)
def test_output_that_is_not_utf8_shows_what_it_can(chatty: Path, environment: dict[str, str]) -> None:
    done = shell(chatty, "polos run chatty --app chatty.py --json --id x", **environment)
    assert json.loads(done.stdout.decode("ascii"))["result"] == "grüße 漢"
    for command in ("polos run chatty --app chatty.py", "polos show x", "polos list"):
        done = shell(chatty, command, **environment)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()
        assert done.stdout.isascii()


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_output_that_is_closed_is_thrown_away(chatty: Path, closed: str) -> None:
    done = shell(chatty, f"polos run chatty --app chatty.py --id x {closed}; echo $?; polos show x --json")
    code, _, shown = done.stdout.partition(b"\n")
    assert (code, b"Traceback" in done.stderr) == (b"0", False), done.stderr.decode()
    assert json.loads(shown)["result"] == "grüße 漢"
    done = shell(chatty, f"polos show x --json {closed}; echo $?; polos list {closed}; echo $?")
    assert (done.stdout, b"Traceback" in done.stderr) == (b"0\n0\n", False), done.stderr.decode()


@pytest.mark.parametrize("how", ["--reload", "--no-reload"])
def test_dev_ends_when_nobody_reads_what_it_says(chatty: Path, how: str) -> None:
    shell(chatty, 'polos run hello --app greetings --input \'{"name":"Ada"}\' --no-wait')
    done = shell(chatty, f"{{ polos dev greetings {how}; echo $? >&2; }} | true")
    assert done.stderr.endswith(b"141\n"), done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_dev_with_json_says_nothing_but_json(chatty: Path, processes: Callable[..., subprocess.Popen[str]]) -> None:
    shell(chatty, "polos run chatty --app chatty.py --no-wait")
    dev = processes("dev", "chatty.py", "--no-reload", "--json")
    assert dev.stdout is not None
    try:
        said = [json.loads(dev.stdout.readline())["event"] for _ in range(2)]
    finally:
        _, stderr = stop(dev)
    assert said == ["started", "completed"]
    assert "from a program" in stderr
