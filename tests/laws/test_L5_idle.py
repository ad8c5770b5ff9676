"""L5 idle: while suspended there is no invocation, thread, poll or heartbeat; only storage and a timer a timed wait."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from tests.laws.worlds import World, law

WAITS: dict[str, Callable[[WorkflowContext], Any]] = {
    "timer": lambda ctx: ctx.step.wait_for("wait", days=30),
    "event": lambda ctx: ctx.step.wait_for_event("wait", "l5/never"),
    "event with a time limit": lambda ctx: ctx.step.wait_for_event("wait", "l5/never", timeout=30 * 86_400),
    "suspend": lambda ctx: ctx.step.suspend("wait"),
    "child": lambda ctx: ctx.step.invoke_and_wait("wait", "l5-sleeper"),
    "backoff": lambda ctx: ctx.step.run("wait", _fails, base_delay=30 * 86_400, max_delay=30 * 86_400),
    "several": lambda ctx: asyncio.gather(
        ctx.step.wait_for("one", days=30),
        ctx.step.wait_for_event("two", "l5/never"),
        ctx.step.invoke_and_wait("three", "l5-sleeper"),
    ),
}


def _fails() -> None:
    raise OSError("down")


def _heartbeats() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("polos-heartbeat")]


@pytest.mark.parametrize("wait", [*WAITS])
@law
async def test_L5_nothing_runs_while_an_execution_is_suspended(world: World, wait: str) -> None:
    held: list[weakref.ref[Any]] = []

    class Memory:
        pass

    @workflow(id="l5-sleeper")
    async def sleeper(ctx: WorkflowContext) -> None:
        await ctx.step.suspend("for ever")

    @workflow(id="l5-body")
    async def body(ctx: WorkflowContext) -> None:
        memory = Memory()
        held.append(weakref.ref(memory))
        await ctx.step.run("first", world.effect)
        await WAITS[wait](ctx)
        del memory

    async with world.deploy(body, sleeper) as env:
        handle = await env.start(body)
        await env.settle()
        assert (await env.describe(handle)).status == "waiting"
        assert env.harness.take_due() is None
        assert _heartbeats() == []
        gc.collect()
        assert [one() for one in held] == [None], "the frames of the body are gone"
        requests, lines = dict(env.requests), len(world.wire.lines)
        await env.advance(days=29, hours=23)
        assert len(world.wire.lines) == lines, "nothing was asked of the backend"
        assert {**env.requests, "GetItem": 0, "Query": 0} == {**requests, "GetItem": 0, "Query": 0}
        assert env.harness.take_due() is None
        assert (await env.describe(handle)).status == "waiting"


@law
async def test_L5_thirty_days_of_waiting_pass_in_milliseconds(world: World) -> None:
    @workflow(id="l5-month")
    async def body(ctx: WorkflowContext) -> str:
        for day in range(30):
            await ctx.step.wait_for(f"day-{day}", days=1)
        return "a month later"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        began, real = env.now, time.monotonic()
        assert await env.finish(handle) == "a month later"
        assert (env.now - began).days == 30
        assert time.monotonic() - real < (2.0 if world.backend == "memory" else 10.0)
        assert (await env.describe(handle)).invocations == 31
