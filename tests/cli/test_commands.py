"""SPEC 11: what each command does, on the local backend, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

Polos = Callable[..., Result]


def started(polos: Polos, workflow: str, *arguments: str) -> str:
    result = polos("run", workflow, "--app", "greetings", "--no-wait", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["execution_id"]


def test_run_prints_the_result_and_says_on_stderr_what_happens(polos: Polos) -> None:
    result = polos("run", "hello", "--input", '{"name": "Ada"}', "--app", "greetings.py")
    assert (result.exit_code, result.stdout) == (0, '"hello Ada"\n')
    assert "greet_0" in result.stderr
    assert "completed" in result.stderr


def test_run_reads_its_payload_from_a_file(polos: Polos, place: Path) -> None:
    (place / "who.json").write_text('{"name": "Ada", "times": 3}', encoding="utf-8")
    assert polos("run", "hello", "--input", "@who.json", "--app", "greetings").stdout == '"hello Ada"\n'


def test_run_takes_the_application_from_the_environment(polos: Polos, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLOS_APP", "greetings:hello")
    assert polos("run", "hello", "--input", '{"name": "Ada"}').exit_code == 0


def test_run_with_json_prints_one_object_and_nothing_else(polos: Polos) -> None:
    result = polos("run", "hello", "--input", '{"name": "Ada"}', "--app", "greetings", "--json", "--id", "one")
    assert json.loads(result.stdout) == {
        "execution_id": "one",
        "workflow_id": "hello",
        "status": "completed",
        "result": "hello Ada",
        "error": None,
    }
    assert result.stderr == ""


def test_run_of_a_failing_workflow_exits_1_with_the_error_as_it_was(polos: Polos) -> None:
    result = polos("run", "broken", "--app", "greetings")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "StepExecutionError" in result.stderr or "RuntimeError: broken on purpose" in result.stderr
    assert "Traceback" not in result.stderr


def test_run_without_waiting_leaves_the_execution_to_a_worker(polos: Polos) -> None:
    execution_id = started(polos, "hello", "--input", '{"name": "Ada"}')
    listed = json.loads(polos("list", "--json").stdout)["executions"]
    assert [(one["id"], one["status"]) for one in listed] == [(execution_id, "queued")]


def test_list_filters_by_workflow_and_status(polos: Polos) -> None:
    polos("run", "hello", "--input", '{"name": "Ada"}', "--app", "greetings")
    polos("run", "broken", "--app", "greetings")
    by_status = json.loads(polos("list", "--status", "failed", "--json").stdout)["executions"]
    by_workflow = json.loads(polos("list", "--workflow", "hello", "--limit", "1", "--json").stdout)["executions"]
    assert [one["workflow_id"] for one in by_status] == ["broken"]
    assert [one["workflow_id"] for one in by_workflow] == ["hello"]


def test_list_for_people_has_a_line_for_each(polos: Polos) -> None:
    polos("run", "hello", "--input", '{"name": "Ada"}', "--app", "greetings", "--id", "one")
    heading, line = polos("list").stdout.splitlines()
    assert heading.split() == ["execution", "workflow", "status", "started", "took"]
    assert line.split()[:3] == ["one", "hello", "completed"]


def test_show_draws_a_bar_for_every_step(polos: Polos) -> None:
    polos("run", "hello", "--input", '{"name": "Ada", "times": 2}', "--app", "greetings", "--id", "one")
    lines = polos("show", "one").stdout.splitlines()
    assert lines[0].split() == ["hello", "one"]
    assert lines[1].startswith("completed after")
    assert ["█" in line for line in lines if line.startswith("greet_")] == [True, True]


def test_show_tells_an_error_with_its_traceback(polos: Polos) -> None:
    polos("run", "broken", "--app", "greetings", "--id", "one")
    shown = polos("show", "one").stdout
    assert "RuntimeError: broken on purpose" in shown
    assert "greetings.py" in shown


def test_show_with_json_gives_every_step(polos: Polos) -> None:
    polos("run", "hello", "--input", '{"name": "Ada"}', "--app", "greetings", "--id", "one")
    shown: dict[str, Any] = json.loads(polos("show", "one", "--json").stdout)
    assert (shown["status"], shown["result"]) == ("completed", "hello Ada")
    assert [(one["key"], one["kind"], one["status"]) for one in shown["steps"]] == [("greet_0", "step", "completed")]


def test_cancel_and_resume_of_an_open_execution_are_taken(polos: Polos) -> None:
    execution_id = started(polos, "asks")
    assert json.loads(polos("resume", execution_id, "confirm", '"yes"', "--json").stdout)["step"] == "confirm"
    assert polos("cancel", execution_id).stdout == f"asked {execution_id} to stop\n"


def test_help_says_what_the_exit_codes_mean(polos: Polos) -> None:
    shown = " ".join(polos("--help").stdout.split())
    assert "0 done; 1 the execution failed" in shown
    assert "4 the backend cannot be used" in shown


def test_a_codec_of_payloads_is_found_beside_the_application_and_needed_for_values_only(
    polos: Polos, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "masks.py").write_text(
        "class Backwards:\n"
        "    def encode(self, data): return data[::-1]\n"
        "    def decode(self, data): return data[::-1]\n"
        "codec = Backwards()\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("POLOS_PAYLOAD_CODEC", "masks:codec")
    assert polos("run", "hello", "--app", "greetings", "--input", '{"name": "Ada"}', "--id", "one").exit_code == 0
    assert polos("show", "one").exit_code == 0

    monkeypatch.delenv("POLOS_PAYLOAD_CODEC")
    assert polos("list").exit_code == 0
    refused = polos("show", "one")
    assert refused.exit_code == 4
    assert "set POLOS_PAYLOAD_CODEC" in refused.stderr
