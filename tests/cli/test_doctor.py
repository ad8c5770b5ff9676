"""`polos doctor` on a local database; a stack is checked in tests/aws/test_checkup.py and tests/emulator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Call = Callable[..., Result]


def test_nothing_is_wrong_where_everything_has_ended(place: Path, polos: Call) -> None:
    assert polos("run", "hello", "--input", '{"name": "Ada"}', "--app", "greetings.py").exit_code == 0

    result = polos("doctor", "--minutes", 0)

    assert result.exit_code == 0
    assert (
        result.stdout
        == "ok     executions: 0 open executions; each is held, or waits for something that has not come.\n"
    )


def test_what_nobody_takes_is_named_and_driven_on(place: Path, polos: Call) -> None:
    start = ("run", "hello", "--input", '{"name": "Ada"}', "--app", "greetings.py", "--no-wait")
    execution_id = polos(*start).stdout.strip()

    assert polos("doctor").exit_code == 0  # it may still be taken
    found = polos("doctor", "--minutes", 0)
    assert found.exit_code == 1
    assert f"{execution_id} (hello): since" in found.stdout
    assert "no worker has taken it" in found.stdout

    fixed = polos("doctor", "--minutes", 0, "--fix", "--json")
    assert fixed.exit_code == 0
    said = json.loads(fixed.stdout)
    assert (said["healthy"], said["fixed"], said["examined"]) == (True, True, 1)
    assert [one["execution_id"] for one in said["stuck"]] == [execution_id]


def test_a_database_that_is_not_there_is_no_healthy_one(place: Path, polos: Call) -> None:
    result = polos("doctor")

    assert result.exit_code == 4
    assert "nothing has run here yet" in result.stderr
