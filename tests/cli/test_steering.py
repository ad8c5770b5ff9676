"""SPEC 11: why, watch, terminate, retry, fork, pause, schedules and acting on all that a filter finds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from polos import Polos as Client
from polos.cli.application import load
from polos.cli.commands import application
from polos.features import schedules
from polos.workflow import find_workflow

Polos = Callable[..., Result]
APP = """
from polos import WorkflowContext, workflow


@workflow
async def asks(ctx: WorkflowContext):
    event = await ctx.step.wait_for_event("order", topic="orders", timeout=3600)
    return event.data


@workflow
async def confirms(ctx: WorkflowContext):
    return (await ctx.step.suspend("confirm", {"ok": True}))["data"]


@workflow
async def sleeps(ctx: WorkflowContext):
    await ctx.step.wait_for("nap", hours=2)


@workflow
async def parent(ctx: WorkflowContext):
    return await ctx.step.invoke_and_wait("child", asks)


@workflow
async def flaky(ctx: WorkflowContext, number: int | None = 0):
    def work():
        import pathlib
        if not pathlib.Path("mended").exists():
            raise RuntimeError("not mended")
        return "done"

    first = await ctx.step.run("first", str, number)
    return [first, await ctx.step.run("work", work, max_retries=0)]


@workflow(schedule=True)
async def nightly(ctx: WorkflowContext):
    return None
"""


@pytest.fixture(autouse=True)
def desk(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "desk.py").write_text(APP, encoding="utf-8")
    monkeypatch.setenv("POLOS_APP", "desk")


def brought_to(status: str, workflow: str, *ids: str) -> None:
    """Start executions and run them, in this process, until they are in this status."""

    async def go() -> None:
        async with Client(local=".polos/local.db") as client:
            for one in ids:
                await find_workflow(workflow).start(None, client=client, id=one)
            for one in ids:
                while (await client.describe(one)).status != status:
                    await asyncio.sleep(0.01)

    load("desk")
    asyncio.run(asyncio.wait_for(go(), 20))


def status(polos: Polos, execution_id: str) -> str:
    return json.loads(polos("show", execution_id, "--json").stdout)["status"]


def run_on(execution_id: str) -> None:
    """Let a worker bring an execution to its end."""

    async def go() -> None:
        async with Client(local=".polos/local.db") as client:
            while (await client.describe(execution_id)).completed_at is None:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(go(), 20))


# ---- why


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ("asks", ["order: waits for an event on orders since", "at the latest", "polos publish orders JSON"]),
        ("confirms", ["confirm: waits for somebody to resume confirm since", "polos resume one confirm JSON"]),
        ("sleeps", ["nap: waits for a timer since", "(in 1 h 59 m)", "by itself at that time"]),
        ("parent", ["child: waits for the child asks", "polos why one/", "Its child asks", "polos publish orders"]),
    ],
)
def test_why_says_what_it_waits_for_and_what_would_wake_it(polos: Polos, workflow: str, words: list[str]) -> None:
    brought_to("waiting", workflow, "one")
    shown = polos("why", "one")
    assert shown.exit_code == 0
    assert shown.stdout.startswith(f"{workflow}  one  waiting\nIt waits for one thing")
    assert [word for word in words if word not in shown.stdout] == []


def test_why_says_why_it_failed_and_what_to_do(polos: Polos) -> None:
    brought_to("failed", "flaky", "one")
    shown = polos("why", "one").stdout
    assert "RuntimeError: not mended" in shown
    assert "polos retry one" in shown
    assert "polos fork one --from-step work" in shown


def test_why_for_machines_has_the_same_facts(polos: Polos) -> None:
    brought_to("waiting", "asks", "one")
    shown = json.loads(polos("why", "one", "--json").stdout)
    wait = shown["waits"][0]
    assert (shown["status"], wait["step"], wait["kind"], shown["error"]) == ("waiting", "order", "event", None)
    assert wait["since"] < wait["until"]


def test_why_of_one_that_has_not_begun_says_who_would_take_it(polos: Polos) -> None:
    assert polos("run", "sleeps", "--no-wait", "--id", "one").exit_code == 0
    shown = polos("why", "one").stdout
    assert "It has not begun" in shown
    assert "polos dev" in shown


# ---- watch


def test_watch_shows_the_steps_and_ends_with_the_result(polos: Polos, place: Path) -> None:
    (place / "mended").touch()
    assert polos("run", "flaky", "--input", "1", "--id", "one").exit_code == 0
    watched = polos("watch", "one")
    assert (watched.exit_code, json.loads(watched.stdout)) == (0, ["1", "done"])
    assert ["first" in watched.stderr, "work" in watched.stderr] == [True, True]


def test_watch_with_json_is_a_line_a_step_and_exits_1_for_a_failure(polos: Polos) -> None:
    brought_to("failed", "flaky", "one")
    watched = polos("watch", "one", "--json")
    lines = [json.loads(line) for line in watched.stdout.splitlines()]
    assert watched.exit_code == 1
    assert [line["step"]["key"] for line in lines[:-1]] == ["first", "work"]
    assert (lines[-1]["status"], lines[-1]["execution_id"]) == ("failed", "one")


# ---- one execution


def test_terminate_ends_it(polos: Polos) -> None:
    brought_to("waiting", "asks", "one")
    assert polos("terminate", "one").stdout == "asked one to end at once\n"
    run_on("one")
    assert status(polos, "one") == "cancelled"
    again = polos("terminate", "one")
    assert (again.exit_code, again.stdout) == (2, "")
    assert "cancelled" in again.stderr


def test_retry_goes_on_from_the_last_good_step(polos: Polos, place: Path) -> None:
    brought_to("failed", "flaky", "one")
    (place / "mended").touch()
    assert polos("retry", "one").stdout == "retrying one from the last good step\n"
    run_on("one")
    assert status(polos, "one") == "completed"
    assert "completed" in polos("retry", "one").stderr


def test_fork_keeps_what_was_before_the_step_with_another_result(polos: Polos, place: Path) -> None:
    brought_to("failed", "flaky", "one")
    (place / "mended").touch()
    forked = polos("fork", "one", "--from-step", "work", "--result", 'first="other"', "--json")
    assert forked.exit_code == 0, forked.stderr
    copy = json.loads(forked.stdout)["execution_id"]
    run_on(copy)
    assert json.loads(polos("show", copy, "--json").stdout)["result"] == ["other", "done"]
    assert status(polos, "one") == "failed"


def test_pause_holds_an_execution_until_unpause(polos: Polos) -> None:
    brought_to("waiting", "asks", "one")
    assert polos("pause", "one").stdout == "paused one\n"
    assert polos("publish", "orders", "7").exit_code == 0
    assert status(polos, "one") != "completed"
    assert polos("unpause", "one", "--json").stdout == '{\n  "execution_id": "one"\n}\n'
    run_on("one")
    assert status(polos, "one") == "completed"


# ---- all that a filter finds


def ask(answer: str, *arguments: str) -> Result:
    return CliRunner().invoke(application, list(arguments), input=answer)


def test_a_filter_says_how_many_and_asks(polos: Polos) -> None:
    brought_to("waiting", "asks", "one", "two")
    brought_to("waiting", "sleeps", "three")
    refused = ask("n\n", "cancel", "--workflow", "asks")
    assert "2 executions of workflow asks" in refused.stderr
    assert (refused.exit_code, refused.stdout) == (130, "")
    agreed = ask("y\n", "terminate", "--workflow", "asks", "--status", "waiting")
    assert (agreed.exit_code, agreed.stdout) == (0, "asked 2 executions to end at once\n")
    run_on("one")
    run_on("two")
    assert [status(polos, one) for one in ("one", "two", "three")] == ["cancelled", "cancelled", "waiting"]


def test_with_nobody_to_ask_nothing_is_changed_without_yes(polos: Polos) -> None:
    brought_to("failed", "flaky", "one")
    unasked = polos("retry", "--workflow", "flaky")
    assert (unasked.exit_code, unasked.stdout) == (2, "")
    assert "--yes" in unasked.stderr
    assert status(polos, "one") == "failed"
    shown = json.loads(polos("retry", "--workflow", "flaky", "--yes", "--json").stdout)
    assert shown == {"executions": [{"execution_id": "one", "done": True}]}


def test_a_filter_leaves_children_to_their_parents(polos: Polos) -> None:
    brought_to("waiting", "parent", "one")
    shown = json.loads(polos("cancel", "--status", "waiting", "--yes", "--json").stdout)
    assert [one["execution_id"] for one in shown["executions"]] == ["one"]


def test_a_filter_that_finds_nothing_changes_nothing(polos: Polos) -> None:
    brought_to("waiting", "asks", "one")
    found = polos("pause", "--workflow", "sleeps", "--yes")
    assert (found.exit_code, found.stdout) == (0, "")
    assert "No execution matches" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("cancel",), "--workflow"),
        (("retry", "one", "--workflow", "x"), "not both"),
        (("retry", "--status", "waiting"), "failed"),
        (("pause", "--status", "completed"), "queued"),
        (("fork", "one", "--result", "x"), "KEY=JSON"),
        (("fork", "one", "--result", "x={"), "result of x"),
        (("why", "one", "--local", "a.db", "--stack", "s"), "--stack"),
    ],
)
def test_bad_usage_is_told(polos: Polos, arguments: tuple[str, ...], word: str) -> None:
    told = polos(*arguments)
    assert (told.exit_code, told.stdout) == (2, "")
    assert word in told.stderr


@pytest.mark.parametrize("name", ["why", "watch", "terminate", "retry", "fork", "pause", "unpause"])
def test_an_unknown_execution_exits_3(polos: Polos, name: str) -> None:
    brought_to("waiting", "asks", "one")
    told = polos(name, "nope")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "nope" in told.stderr


# ---- schedules


def test_schedules_are_listed_paused_resumed_and_deleted(polos: Polos) -> None:
    async def create() -> None:
        async with Client(local=".polos/local.db") as client:
            await schedules.create(client, "nightly", "0 3 * * *", "Europe/Berlin", "eu")

    load("desk")
    asyncio.run(create())
    mine = ("nightly", "--key", "eu")
    assert "nightly" in polos("schedules", "list").stdout
    assert polos("schedules", "pause", *mine).stdout == "paused the schedule eu of nightly\n"
    listed = json.loads(polos("schedules", "list", "--workflow", "nightly", "--json").stdout)["schedules"]
    assert [(one["key"], one["paused"], one["next_at"]) for one in listed] == [("eu", True, None)]
    assert polos("schedules", "resume", *mine).exit_code == 0
    assert json.loads(polos("schedules", "list", "--json").stdout)["schedules"][0]["next_at"] is not None
    assert polos("schedules", "delete", *mine).exit_code == 0
    told = polos("schedules", "delete", *mine)
    assert (told.exit_code, told.stdout) == (2, "")
    assert "eu" in told.stderr


def test_schedules_create_makes_one_and_changes_it(polos: Polos) -> None:
    mine = ("nightly", "--app", "desk", "--key", "eu")
    told = polos("schedules", "create", *mine, "0 3 * * *", "--timezone", "Europe/Berlin", "--overlap", "allow")
    assert told.stdout.startswith("created the schedule eu of nightly; next at 2")
    assert json.loads(polos("schedules", "create", *mine, "0 4 * * *", "--json").stdout)["id"] == "nightly:eu"
    listed = json.loads(polos("schedules", "list", "--json").stdout)["schedules"]
    assert [(one["cron"], one["timezone"], one["overlap"]) for one in listed] == [("0 4 * * *", "UTC", "skip")]
    for bad in (("61 * * * *",), ("0 3 * * *", "--overlap", "maybe"), ("0 3 * * *", "--timezone", "Mars")):
        told = polos("schedules", "create", *mine, *bad)
        assert (told.exit_code, told.stdout) == (2, "")
    assert polos("schedules", "create", "flaky", "0 3 * * *", "--app", "desk").exit_code == 2


# ---- queues and workflows


@pytest.mark.parametrize("kind", ["queue", "workflow"])
def test_a_whole_queue_or_workflow_is_paused_listed_explained_and_unpaused(polos: Polos, kind: str) -> None:
    act = f"{kind}s"
    assert polos("run", "sleeps", "--app", "desk", "--no-wait", "--id", "one").exit_code == 0
    assert polos(act, "list").stderr == f"No {kind} is paused.\n"
    assert polos(act, "pause", "sleeps", "--app", "desk").stdout == f"paused the {kind} sleeps\n"
    assert polos(act, "pause", "sleeps").stdout == f"the {kind} sleeps is already paused\n"
    assert "sleeps" in polos(act, "list").stdout
    assert [one["name"] for one in json.loads(polos(act, "list", "--json").stdout)[act]] == ["sleeps"]
    told = polos("why", "one").stdout
    assert f"Its {kind} sleeps has been paused since" in told
    assert f"polos {act} unpause sleeps" in told
    other = json.loads(polos(act, "unpause", "sleeps", "--json").stdout)
    assert other == {kind: "sleeps", "paused": False, "was_paused": True}
    assert polos(act, "unpause", "sleeps").stdout == f"the {kind} sleeps is not paused\n"
    assert "paused" not in polos("why", "one").stdout
    told = polos("workflows", "pause", "typo", "--app", "desk")
    assert "no workflow typo" in told.stderr
