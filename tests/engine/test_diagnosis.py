"""What is stuck, and what only waits. Time moves here without any message being delivered, as if all were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Literal, cast

import pytest

from polos import BatchWorkflowInput, WorkflowContext, queue, workflow
from polos.core import items
from polos.core.conditions import Change
from polos.engine import diagnosis, starting
from polos.engine.diagnosis import Stuck
from polos.testing import Environment
from polos.testing.harness import Harness

PATIENCE = 1_200.0


@workflow(id="diagnosed")
async def diagnosed(ctx: WorkflowContext, what: str) -> Any:
    match what:
        case "timer":
            await ctx.step.wait_for("nap", minutes=5)
        case "event":
            await ctx.step.wait_for_event("order", topic="orders")
        case "suspend":
            return (await ctx.step.suspend("ask", {}))["data"]
        case "retry":
            await ctx.step.run("fails", _fail, max_retries=1, base_delay=300, max_delay=300)
        case "child":
            await ctx.step.invoke_and_wait("child", diagnosed_child, None)
        case "batch":
            children = [BatchWorkflowInput(id="diagnosed-child", payload=None)] * 2
            await ctx.step.batch_invoke_and_wait("batch", children)
        case _:
            pass
    return "done"


@workflow(id="diagnosed-child")
async def diagnosed_child(ctx: WorkflowContext, payload: Any = None) -> str:
    return "child"


@workflow(id="in-line", queue=queue("in-line", concurrency_limit=1))
async def in_line(ctx: WorkflowContext) -> None:
    await ctx.step.wait_for("nap", minutes=5)


def _fail() -> None:
    raise ValueError("not now")


@pytest.fixture(params=["memory", "moto"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[Environment], Awaitable[None]]], None]:
    backend = cast('Literal["memory", "moto"]', request.param)

    async def scenario(body: Callable[[Environment], Awaitable[None]]) -> None:
        async with Environment(backend=backend, workflows=[diagnosed, diagnosed_child, in_line]) as env:
            await body(env)

    return lambda body: asyncio.run(scenario(body))


def harness(env: Environment) -> Harness:
    assert env._harness is not None
    return env._harness


def examined(env: Environment, execution_id: str) -> Stuck | None:
    return diagnosis.examine(harness(env).engine, execution_id, PATIENCE)


@pytest.mark.parametrize(
    ("what", "reason"), [("timer", "the time of step 'nap' has come"), ("retry", "attempt of step 'fails' is due")]
)
def test_a_due_time_that_passed_long_ago_is_stuck_and_a_wake_drives_it_on(run: Any, what: str, reason: str) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(diagnosed, what)
        await env.settle()
        assert examined(env, handle.id) is None
        harness(env).clock.advance(300 + PATIENCE - 5)
        assert examined(env, handle.id) is None  # late, but not yet too late
        harness(env).clock.advance(10)
        found = examined(env, handle.id)
        assert found is not None
        assert reason in found.reason
        diagnosis.drive_on(harness(env).engine, found)
        await env.settle()
        assert (await env.describe(handle)).status in ("completed", "failed")
        assert examined(env, handle.id) is None

    run(body)


@pytest.mark.parametrize("what", ["event", "suspend"])
def test_what_waits_for_somebody_is_not_stuck(run: Any, what: str) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(diagnosed, what)
        await env.settle()
        harness(env).clock.advance(30 * 86_400)
        assert examined(env, handle.id) is None

    run(body)


def test_what_the_pause_of_its_workflow_holds_is_not_stuck(run: Any) -> None:
    async def body(env: Environment) -> None:
        await env.client.pause_workflow(diagnosed)
        handle = await env.start(diagnosed, "")
        await env.settle()
        harness(env).clock.advance(30 * 86_400)
        assert examined(env, handle.id) is None

    run(body)


def test_a_start_that_nobody_takes_is_stuck(run: Any) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(diagnosed, "")
        assert examined(env, handle.id) is None
        harness(env).clock.advance(PATIENCE + 1)
        found = examined(env, handle.id)
        assert found is not None
        assert (found.status, found.reason) == ("queued", "it was started, and no worker has taken it")
        assert list(diagnosis.open_executions(harness(env).engine, env.now - timedelta(days=1))) == [handle.id]

    run(body)


def test_a_dead_invocation_whose_message_is_lost_is_stuck(run: Any) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(diagnosed, "timer")
        engine = harness(env).engine
        now = engine.now()
        engine.ledger.claim(handle.id, token="dead", tag="lost", now=now, until=now + 30_000, start=None)
        assert examined(env, handle.id) is None
        harness(env).clock.advance(PATIENCE + 31)
        found = examined(env, handle.id)
        assert found is not None
        assert "its invocation died" in found.reason

    run(body)


def test_a_resume_that_is_on_record_and_did_not_wake_is_stuck(run: Any) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(diagnosed, "suspend")
        await env.settle()
        starting.resume(harness(env).engine, handle.id, "ask", "yes")
        delivery = harness(env).take_due()
        assert delivery is not None
        note = harness(env).engine.ledger.note  # as the command is, cut off before its claim
        note(
            items.resumption(handle.id, "ask"), {items.EPOCH: 0, items.AT: harness(env).engine.now(), items.VALUE: "1"}
        )
        harness(env).clock.advance(PATIENCE + 1)
        found = examined(env, handle.id)
        assert found is not None
        assert found.reason == "step 'ask' was resumed"

    run(body)


@pytest.mark.parametrize(("what", "ends"), [("child", 1), ("batch", 2)])
def test_a_parent_that_was_not_told_is_stuck(run: Any, what: str, ends: int) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(diagnosed, what)
        for _ in range(1 + ends):  # the parent's first invocation and its children's: not the wake of the last
            delivery = harness(env).take_due()
            assert delivery is not None
            await asyncio.to_thread(delivery.run)
        assert examined(env, handle.id) is None
        harness(env).clock.advance(PATIENCE + 1)
        found = examined(env, handle.id)
        assert found is not None
        assert "ended" in found.reason
        diagnosis.drive_on(harness(env).engine, found)
        await env.settle()
        assert (await env.describe(handle)).status == "completed"

    run(body)


def test_a_place_in_line_is_stuck_only_if_nobody_holds_the_slot(run: Any) -> None:
    async def body(env: Environment) -> None:
        first = await env.start(in_line)
        await env.settle()  # it sleeps, and holds no slot
        engine = harness(env).engine
        held = items.Key(items.queue("in-line", ""), "slots")
        engine.table.update(held, Change(set={items.LIMIT_COUNT: 1}))
        engine.table.update(items.execution(first.id), Change(set={items.WAITING_SK: "w#0"}))
        harness(env).clock.advance(PATIENCE + 301)
        assert examined(env, first.id) is None
        engine.table.update(held, Change(set={items.LIMIT_COUNT: 0}))
        found = examined(env, first.id)
        assert found is not None
        assert "nobody holds one" in found.reason

    run(body)


def test_a_paused_execution_is_not_stuck(run: Any) -> None:
    async def body(env: Environment) -> None:
        handle = await env.start(diagnosed, "timer")
        await env.settle()
        assert env._client is not None
        await env._client.pause(handle.id)
        harness(env).clock.advance(86_400)
        assert examined(env, handle.id) is None

    run(body)
