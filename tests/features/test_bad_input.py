"""SPEC 12: whatever can be got wrong is a typed error that says what to do, changes nothing and loses nothing.

What is AWS's own (stacks, credentials, throttling, an application that fails to import) is in tests/aws and tests/cli.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BackendError,
    ExecutionStateError,
    InvalidPayloadError,
    Polos,
    SerializationError,
    StepExecutionError,
    WorkflowContext,
    WorkflowDefinitionError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    events,
    workflow,
)
from polos.core import items
from polos.local.database import Database
from polos.ports import Outgoing
from tests.features.listing import listed
from tests.laws.worlds import World, law


class Line(BaseModel):
    sku: str
    count: int


class Basket(BaseModel):
    owner: str
    lines: list[Line]


@workflow(id="bad-basket")
async def basket(ctx: WorkflowContext, given: Basket) -> int:
    return await ctx.step.run("count", lambda: sum(line.count for line in given.lines))


@workflow(id="bad-nothing")
async def nothing(ctx: WorkflowContext) -> None: ...


@law
async def test_a_payload_that_does_not_validate_names_the_path_of_the_field(world: World) -> None:
    bad = {"owner": "ada", "lines": [{"sku": "hat", "count": 1}, {"sku": "shoe", "count": "many"}]}
    async with world.deploy(basket, nothing) as env:
        with pytest.raises(InvalidPayloadError, match=r"lines(\.|\[)1\]?\.count") as raised:
            await env.start(basket, bad, id="b")
        assert "bad-basket" in str(raised.value)
        assert len(raised.value.errors) == 1
        for given, said in ((None, "bad-basket"), ("text", "bad-basket"), ({"owner": 1}, "lines")):
            with pytest.raises(InvalidPayloadError, match=said):
                await env.start(basket, given)
        with pytest.raises(InvalidPayloadError, match="takes no input"):
            await env.start(nothing, {"a": 1})
        assert await listed(env) == []
        assert sum(env.requests[name] for name in ("PutItem", "SendMessage")) == 0, "nothing is stored or sent"
        good = await env.start(basket, {"owner": "ada", "lines": [{"sku": "hat", "count": 2}]}, id="b")
        assert await env.finish(good) == 2


@law
async def test_ids_topics_and_options_that_are_too_long_or_odd_are_refused_by_name(world: World) -> None:
    long, over = "x" * 256, "é" * 257  # 514 bytes
    async with world.deploy(nothing) as env:
        for options, said in (
            ({"id": long}, "execution id"),
            ({"id": ""}, "execution id"),
            ({"id": "a b"}, "execution id"),
            ({"id": "parent/child"}, "'/'"),
            ({"queue": over}, "queue name"),
            ({"queue": 5}, "queue must be"),
            ({"queue": "q", "queue_concurrency_limit": 0}, "concurrency limit"),
            ({"queue": "q", "concurrency_key": over}, "512"),
            ({"session_id": "s" * 257}, "session_id"),
            ({"user_id": 5}, "user_id"),
            ({"tags": {"a": "b" * 2000}}, "tags"),
            ({"tags": {"a": 1}}, "tags"),
            ({"run_timeout_seconds": 0}, "run_timeout_seconds"),
            ({"run_timeout_seconds": -5}, "run_timeout_seconds"),
            ({"run_timeout_seconds": True}, "run_timeout_seconds"),
        ):
            with pytest.raises(InvalidPayloadError, match=said):
                await env.start(nothing, **options)
        for topic, event, said in (
            (over, events.EventData(data=1), "topic"),
            ("", events.EventData(data=1), "topic"),
            (5, events.EventData(data=1), "topic"),
            ("t", events.EventData(data=1, event_type="x" * 300), "event_type"),
            ("t", events.EventData(data=1, event_id="x" * 300), "event_id"),
        ):
            with pytest.raises(InvalidPayloadError, match=said):
                await events.publish(env.client, topic, event)
        with pytest.raises(WorkflowNotFoundError, match="'bad-unknown'"):
            await env.client.invoke("bad-unknown")
        assert await listed(env) == []


@law
async def test_bad_keys_and_topics_in_a_body_are_errors_at_the_call_that_it_may_catch(world: World) -> None:
    @workflow(id="bad-keys")
    async def body(ctx: WorkflowContext) -> int:
        calls = (
            lambda: ctx.step.run("é" * 257, world.effect),
            lambda: ctx.step.run("", world.effect),
            lambda: ctx.step.run(5, world.effect),  # type: ignore[arg-type]
            lambda: ctx.step.run("polos:mine", world.effect),
            lambda: ctx.step.wait_for_event("e", "t" * 513),
            lambda: ctx.step.publish_event("p", "", {}),
            lambda: ctx.step.resume("r", "", "x", "w", {}),
            lambda: ctx.step.resume("r2", "k", "no good id", "w", {}),
        )
        refused = 0
        for call in calls:
            try:
                await call()
            except InvalidPayloadError:
                refused += 1
        for call in (
            lambda: ctx.step.wait_for("w", seconds=-1),
            lambda: ctx.step.wait_for_event("e2", "t", timeout=0),
            lambda: ctx.step.suspend("s", timeout=-1),
        ):
            try:
                await call()
            except ValueError:
                refused += 1
        try:
            await ctx.step.run("f", "not callable")  # type: ignore[arg-type]
        except TypeError:
            refused += 1
        return refused

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == 12
        assert (await env.describe(handle)).steps == []
    assert world.effects == []


MALFORMED: list[dict[str, Any]] = [
    {},
    {"t": "nonsense"},
    {"t": "start"},
    {"t": "start", "x": 5, "wf": "bad-nothing"},
    {"t": "wake"},
    {"t": "wake", "x": ["list"], "wf": "bad-nothing"},
    {"t": "resume", "x": "e"},
    {"t": "event", "topic": "only"},
    {"t": "tick", "wf": "bad-nothing", "key": "k", "at": "noon"},
    {"t": "tick", "wf": "bad-nothing", "key": "k", "at": 0, "cron": "61 * * * *", "tz": "UTC"},
]


@law
async def test_malformed_messages_are_kept_aside_and_slow_nobody(world: World) -> None:
    async with world.deploy(basket, nothing) as env:
        env.harness.engine.backend.inbox.send([Outgoing(body) for body in MALFORMED])
        handle = await env.start(nothing)
        await env.settle()
        assert (await env.describe(handle)).status == "completed"
        await env.advance(hours=2)
        assert len(await listed(env)) == 1
        harness: Any = env.harness
        if world.backend == "moto":
            kept = len(harness.dead_letters())
        else:
            kept = len(harness.local.database.read("SELECT 1 FROM dead"))
        assert kept == len(MALFORMED)
        assert harness.pending() == 0


@law
async def test_a_record_of_a_newer_version_fails_the_run_which_a_retry_brings_back(world: World) -> None:
    @workflow(id="bad-newer")
    async def body(ctx: WorkflowContext) -> Any:
        first = await ctx.step.run("first", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        return first

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        record = world.records(handle)["r#first"]
        world.table.put({**record, items.VALUE: '{"$": "hologram", "v": 1}'})
        with pytest.raises(WorkflowFailedError, match="newer version of polos"):
            await env.finish(handle)
        assert (await env.describe(handle)).status == "failed"
        world.table.put(record)
    assert world.ran("first") == 1


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()

    async def main() -> None:
        with pytest.raises(BackendError, match="newer version"):
            async with Polos(local=path):
                pass

    before = path.read_bytes()
    asyncio.run(main())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id": "bad id"}, "bad id"),
        ({"id": "x" * 129}, "x" * 129),
        ({"id": ""}, "id"),
        ({"queue": 5}, "queue"),
        ({"queue": {"limit": 3}}, "limit"),
        ({"queue": {"concurrency_limit": 0}}, "concurrency limit"),
        ({"queue": {"concurrency_limit": True}}, "concurrency limit"),
        ({"schedule": "0 0 * * *", "trigger_on_event": "t"}, "one trigger"),
        ({"trigger_on_event": "t", "batch_size": 0}, "batch_size"),
        ({"trigger_on_event": "t", "batch_timeout_seconds": -1}, "batch_timeout_seconds"),
        ({"trigger_on_event": "x" * 600}, "topic"),
        ({"max_retries": -1}, "max_retries"),
        ({"timeout": 0}, "timeout"),
    ],
)
def test_a_declaration_that_cannot_work_is_an_error_at_import(options: dict[str, Any], said: str) -> None:
    with pytest.raises((WorkflowDefinitionError, InvalidPayloadError), match=said):

        @workflow(**options)
        async def mistaken(ctx: WorkflowContext) -> None: ...


def test_two_workflows_of_one_id_and_odd_signatures_are_errors_at_import() -> None:
    with pytest.raises(WorkflowDefinitionError, match="Two workflows have the id 'bad-nothing'"):

        @workflow(id="bad-nothing")
        async def another(ctx: WorkflowContext) -> None: ...

    with pytest.raises(WorkflowDefinitionError, match="three_arguments"):

        @workflow
        async def three_arguments(ctx: WorkflowContext, one: int, two: int) -> None: ...

    with pytest.raises(WorkflowDefinitionError, match="none"):

        @workflow
        async def none() -> None: ...


@law
async def test_events_with_data_that_cannot_be_stored_are_refused_and_nothing_is_published(world: World) -> None:
    async with world.deploy() as env:
        with pytest.raises(SerializationError, match=r"\$\.a\[1\]"):
            await events.publish(env.client, "bad/event", events.EventData(data={"a": [1, object()]}))
        with pytest.raises(SerializationError):
            await events.batch_publish(env.client, "bad/event", [{"fine": 1}, {"odd": object()}])
        assert env.requests["PutEvents"] == 0


@law
async def test_resume_of_what_has_ended_and_listing_with_an_odd_cursor_are_typed_errors(world: World) -> None:
    async with world.deploy(nothing) as env:
        handle = await env.start(nothing)
        await env.finish(handle)
        with pytest.raises(ExecutionStateError, match="is completed; resume is not possible"):
            await env.resume(handle, "ask", 1)
        for bad in ({"cursor": "garbage"}, {"limit": 0}, {"limit": -1}, {"status": "sleeping"}):
            with pytest.raises(InvalidPayloadError, match=next(iter(bad))):
                await env.client.list_executions(**bad)  # type: ignore[arg-type]


def test_a_database_that_another_process_keeps_locked_is_a_sentence(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("polos.local.database._PATIENCE", 0.05)
    path = tmp_path / "local.db"
    database = Database(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendError, match=r"local\.db is locked: another process"), database.transaction():
        raise AssertionError("it is not ours to write")
    other.execute("ROLLBACK")
    other.close()
    with database.transaction():
        pass
    database.close()


@pytest.mark.parametrize(
    "options",
    [
        {"id": 5},
        {"queue": ""},
        {"queue": {"concurrency_limit": "3"}},
        {"queue": {"concurrency_limit": 2.5}},
        {"queue": {"name": None}},
        {"trigger_on_event": ""},
        {"trigger_on_event": 5},
        {"trigger_on_event": "t", "batch_size": "3"},
        {"trigger_on_event": "t", "batch_size": 2.5},
        {"trigger_on_event": "t", "batch_timeout_seconds": "soon"},
        {"schedule": {"cron": "0 9 * * *", "key": ""}},
        {"schedule": {"cron": "0 9 * * *", "key": 5}},
        {"schedule": "0 0 31 2 *"},
        {"state_schema": dict},
        {"state_schema": 5},
        {"max_retries": "2"},
        {"max_retries": 1.5},
        {"max_retries": True},
        {"timeout": "5"},
        {"timeout": float("inf")},
        {"timeout": float("nan")},
        {"on_start": "greet"},
    ],
)
def test_a_declaration_of_the_wrong_type_is_an_error_that_names_the_function(options: dict[str, Any]) -> None:
    with pytest.raises(WorkflowDefinitionError, match=r"of_the_wrong_type.*\.misdeclared|'misdeclared'"):

        @workflow(**options)
        async def misdeclared(ctx: WorkflowContext) -> None: ...


def test_what_is_no_function_that_returns_is_refused_as_a_workflow() -> None:
    with pytest.raises(WorkflowDefinitionError, match=r"'my-id'; write @workflow\(id=\.\.\.\)"):
        workflow("my-id")  # type: ignore[call-overload]
    with pytest.raises(WorkflowDefinitionError, match="decorates a function"):
        workflow(WorkflowContext)  # type: ignore[call-overload]
    with pytest.raises(WorkflowDefinitionError, match="telling .*is a generator"):

        @workflow
        async def telling(ctx: WorkflowContext) -> AsyncGenerator[int]:
            yield 1


@law
async def test_time_limits_and_retries_that_are_no_numbers_are_refused_by_name(world: World) -> None:
    said: list[str] = []

    @workflow(id="bad-options")
    async def body(ctx: WorkflowContext) -> int:
        wrong: list[dict[str, Any]] = [
            {"max_retries": -1},
            {"max_retries": "2"},
            {"base_delay": -1},
            {"max_delay": float("nan")},
            {"backoff": "2"},
            {"retry_on": "ValueError"},
            {"retry_on": (ValueError, int)},
            {"timeout": float("inf")},
            {"timeout": "5"},
        ]
        for options in wrong:
            with pytest.raises(ValueError, match=next(iter(options))) as raised:
                await ctx.step.run("never", lambda: 1, **options)
            said.append(str(raised.value))
        return await ctx.step.run("never", lambda: 1, retry_on=(ValueError, OSError), backoff=1, base_delay=0)

    async with world.deploy(body) as env:
        for limit in ("5", float("inf"), float("nan"), True, 0):
            with pytest.raises(InvalidPayloadError, match="run_timeout_seconds"):
                await env.start(body, run_timeout_seconds=limit)
        assert await env.client.list_executions() == []
        assert await env.finish(await env.start(body, run_timeout_seconds=timedelta(hours=1))) == 1
    assert len(said) == 9


@law
async def test_a_listing_with_arguments_of_the_wrong_type_is_a_typed_error(world: World) -> None:
    async with world.deploy() as env:
        wrong: dict[str, list[Any]] = {
            "limit": ["3", 2.5, 0, True],
            "cursor": ["x", 5],
            "since": ["2030", 5],
            "until": ["2030"],
            "tags": [5, ["a"]],
            "status": ["done", 5],
        }
        for name, values in wrong.items():
            for value in values:
                with pytest.raises(InvalidPayloadError, match=name):
                    await env.client.list_executions(**{name: value})


@law
async def test_a_batch_of_something_else_is_a_typed_error(world: World) -> None:
    @workflow(id="bad-batch")
    async def body(ctx: WorkflowContext) -> None:
        with pytest.raises(InvalidPayloadError, match="BatchWorkflowInput"):
            await ctx.step.batch_invoke_and_wait("batch", ["bad-batch"])  # type: ignore[list-item]

    async with world.deploy(body) as env:
        with pytest.raises(InvalidPayloadError, match="BatchWorkflowInput"):
            await env.client.batch_invoke([{"id": "bad-batch"}])  # type: ignore[list-item]
        await env.finish(await env.start(body))


@law
async def test_a_durable_call_inside_a_step_is_an_error_that_says_what_to_do(world: World) -> None:
    @workflow(id="bad-nesting")
    async def body(ctx: WorkflowContext) -> list[str]:
        said: list[str] = []

        async def nested() -> int:
            return await ctx.step.run("inner", lambda: 1)

        def nested_in_a_thread() -> int:
            return asyncio.run(ctx.step.now("moment"))

        for key, func in (("outer", nested), ("thread", nested_in_a_thread)):
            with pytest.raises(StepExecutionError) as raised:
                await ctx.step.run(key, func, max_retries=0)
            said.append(f"{raised.value.error_type}: {raised.value.message}")
        return said

    async with world.deploy(body) as env:
        found = await env.finish(await env.start(body))
    for line, inner, outer in zip(found, ("inner", "moment"), ("outer", "thread"), strict=True):
        assert line.startswith(f"UsageError: Step '{inner}' was called inside step '{outer}'")
        assert "ctx.step.invoke_and_wait" in line


@law
async def test_waits_and_events_with_arguments_of_the_wrong_type_are_errors_at_the_call(world: World) -> None:
    @workflow(id="bad-waits")
    async def body(ctx: WorkflowContext) -> str:
        for wrong in (float("inf"), float("nan"), "5"):
            with pytest.raises(ValueError, match="'pause' waits for what is no length of time"):
                await ctx.step.wait_for("pause", seconds=wrong)  # type: ignore[arg-type]
        for when in ("2030-01-01", 5, timedelta(1)):
            with pytest.raises(ValueError, match="'until' waits until .* no datetime"):
                await ctx.step.wait_until("until", when)  # type: ignore[arg-type]
        for kind in (5, "", "x" * 257):
            with pytest.raises(InvalidPayloadError, match="event_type"):
                await ctx.step.wait_for_event("event", "topic", event_type=kind)  # type: ignore[arg-type]
            with pytest.raises(InvalidPayloadError, match="event_type"):
                await ctx.step.publish_event("publish", "topic", {}, event_type=kind)  # type: ignore[arg-type]
        await ctx.step.wait_for("pause", seconds=None, minutes=1)
        return "waited"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "waited"
