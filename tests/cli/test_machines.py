"""SPEC 11: with `--json` every command prints JSON and nothing else on standard output, under the same names."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.cli.test_help import LEAVES

Polos = Callable[..., Result]
NIGHTS = """
from polos import WorkflowContext, workflow


@workflow(schedule=True)
async def nightly(ctx: WorkflowContext): ...
"""
ODD = """
from polos import WorkflowContext, workflow


@workflow
async def odd(ctx: WorkflowContext) -> dict[str, object]:
    return {"a": [float("nan"), float("-inf")], "b": 0.5}
"""
ERROR = {"type", "message", "traceback"}
DONE = {"execution_id", "workflow_id", "status", "result", "error"}
SUMMARY = {
    *("id", "workflow_id", "status", "created_at", "started_at", "completed_at"),
    *("parent_execution_id", "tags"),
}
DETAIL = SUMMARY | {
    *("payload", "result", "error", "steps", "waiting_for", "children", "invocations", "retry_count"),
    *("root_execution_id", "root_workflow_id", "session_id", "user_id", "timeout_at"),
}
STEP = {"key", "kind", "status", "attempts", "started_at", "ended_at", "result", "error"}
SESSION: list[tuple[str, int, set[str]]] = [
    ('run hello --app greetings --id good --input {"name":"Ada"}', 0, DONE),
    ("run broken --app greetings --id bad", 1, DONE),
    ("run asks --app greetings --id open --no-wait", 0, {"execution_id", "workflow_id"}),
    ("run asks --app greetings --id shut --no-wait", 0, {"execution_id", "workflow_id"}),
    ("list", 0, {"executions"}),
    ("list --status failed", 0, {"executions"}),
    ("show good", 0, DETAIL),
    ("show bad", 0, DETAIL),
    ("show open", 0, DETAIL),
    ("why open", 0, {"status"}),
    ("why bad", 0, {"status"}),
    ("watch good", 0, set()),
    ("watch bad", 1, set()),
    ('publish orders {"n":1}', 0, set()),
    ("resume open confirm true", 0, {"step"}),
    ("pause open", 0, set()),
    ("unpause open", 0, set()),
    ("cancel open", 0, set()),
    ("terminate shut", 0, set()),
    ("retry bad --app greetings", 0, set()),
    ("fork good --from-step greet_0 --app greetings", 0, set()),
    ("cancel --workflow asks --yes", 0, set()),
    ("schedules create nightly 5_4_*_*_* --app nights", 0, set()),
    ("schedules list", 0, set()),
    ("schedules pause nightly", 0, set()),
    ("schedules resume nightly", 0, set()),
    ("schedules delete nightly", 0, set()),
    ("queues pause asks", 0, set()),
    ("queues list", 0, set()),
    ("queues unpause asks", 0, set()),
    ("workflows pause asks", 0, set()),
    ("workflows list", 0, set()),
    ("workflows unpause asks", 0, set()),
    ("check greetings.py", 0, set()),
    ("doctor", 0, set()),
    ("init project", 0, set()),
]


def _objects(text: str) -> list[Any]:
    """One JSON value, or one on each line, as `watch` prints them."""
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def test_every_command_with_json_prints_json_and_nothing_else(polos: Polos, place: Path) -> None:
    (place / "nights.py").write_text(NIGHTS, encoding="utf-8")
    wrong: list[str] = []
    for line, code, names in SESSION:
        arguments = [word.replace("_", " ") if "*" in word else word for word in line.split()]
        result = polos(*arguments, "--json")
        try:
            found = _objects(result.stdout)
        except ValueError:
            found = []
        missing = names - set(found[0] if found and isinstance(found[0], dict) else {})
        if result.exit_code != code or not found or missing:
            wrong.append(f"polos {line}: exit {result.exit_code}, missing {missing}: {result.output[:300]!r}")
    assert wrong == []


def test_the_session_has_every_command() -> None:
    used = {tuple(line.split()[: len(path)]) for line, _, _ in SESSION for path in LEAVES}
    assert {path for path in LEAVES if path not in used} == {("dev",)}  # which runs until Ctrl-C: test_processes.py


@pytest.mark.parametrize("execution", ["good", "bad"])
def test_the_steps_of_show_have_the_names_of_describe(polos: Polos, execution: str) -> None:
    workflow, given = ("hello", '{"name":"Ada"}') if execution == "good" else ("broken", "null")
    polos("run", workflow, "--app", "greetings", "--id", execution, "--input", given)
    (shown,) = _objects(polos("show", execution, "--json").stdout)
    (step,) = shown["steps"]
    assert set(step) >= STEP
    if execution == "bad":
        assert set(shown["error"]) >= ERROR
        assert set(step["error"]) >= {"type", "message"}


@pytest.mark.parametrize(
    "line",
    ["show nope", "why nope", "watch nope", "resume nope step 1", "cancel nope", "terminate nope", "retry nope"]
    + ["fork nope --from-step x --app greetings", "pause nope", "unpause nope"],
)
def test_an_unknown_execution_with_json_leaves_standard_output_empty(polos: Polos, line: str) -> None:
    polos("run", "hello", "--app", "greetings", "--input", '{"name": "Ada"}')
    result = polos(*line.split(), "--json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "nope" in result.stderr


def test_numbers_that_json_has_no_form_for_are_strings(polos: Polos, place: Path) -> None:
    (place / "odd.py").write_text(ODD, encoding="utf-8")

    printed = polos("run", "odd", "--app", "odd.py", "--json").stdout

    assert json.loads(printed, parse_constant=pytest.fail)["result"] == {"a": ["NaN", "-Infinity"], "b": 0.5}
