"""Waiters of executions with many open waits: registered once, and gone with every end (L5, SPEC 9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.core import items
from polos.engine import dead_letters, duties, recovery, waiters
from polos.engine.commands import wake
from polos.engine.dead_letters import Letter
from polos.testing import Environment
from polos.workflow import Workflow
from tests.laws.worlds import World, law

MANY = 30
"""More than the execution item shows, and than fit into one list beside it."""


@pytest.fixture(autouse=True)
def short_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "AN_ITEM", 15)


def waiting(name: str, *, retries: int = 0, leave: bool = False) -> Workflow[Any, Any]:
    """Opens many waits at once, then goes on from one nap to the next; fails, or ends with them open."""

    @workflow(id=name, max_retries=retries)
    async def body(ctx: WorkflowContext) -> list[Any]:
        waits = [asyncio.create_task(ctx.step.wait_for_event(f"w{n}", f"{name}/{n}")) for n in range(MANY)]
        for nap in range(3):
            await ctx.step.wait_for(f"nap {nap}", minutes=1)
        if leave:
            return []
        return [(await wait).data for wait in waits]

    return body


def registered(world: World, name: str) -> int:
    return sum(len(world.waiters(f"{name}/{n}")) for n in range(MANY))


def puts(world: World) -> int:
    return len([line for line in world.wire.lines if line.startswith("put w#")])


@law
async def test_each_of_many_open_waits_is_registered_once(world: World) -> None:
    body = waiting("wa-many")
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=4)
        assert (await env.describe(handle)).invocations == 4
        assert (puts(world), registered(world, "wa-many")) == (MANY, MANY)
        lists = [line for line in world.wire.lines if line.startswith("put e#")]
        assert len([line for line in lists if "t#" not in line]) == 2
        for n in range(MANY):
            await env.publish(f"wa-many/{n}", n)
        assert await env.finish(handle) == list(range(MANY))
        assert (puts(world), registered(world, "wa-many")) == (MANY, 0)
        assert items.WAITING_MORE not in world.execution(handle)


@law
async def test_an_end_that_leaves_no_waiter_costs_no_more_for_the_many_that_it_had(world: World) -> None:
    @workflow(id="wa-decided")
    async def body(ctx: WorkflowContext) -> int:
        waits = [asyncio.create_task(ctx.step.wait_for_event(f"w{n}", f"wa-decided/{n}")) for n in range(MANY)]
        for wait in waits:
            await wait
        return MANY

    async with world.deploy(body) as env:
        handle = await env.start(body)
        for n in range(MANY):
            if n % 10 == 9:
                await env.settle()
            await env.publish(f"wa-decided/{n}", n)
        assert await env.finish(handle) == MANY
        assert registered(world, "wa-decided") == 0
        assert len([line for line in world.wire.lines if line.startswith("delete w#")]) == MANY


@law
async def test_waits_that_are_opened_later_are_remembered_too(world: World) -> None:
    @workflow(id="wa-later")
    async def body(ctx: WorkflowContext) -> list[Any]:
        waits: list[asyncio.Task[Any]] = []
        for turn in range(3):
            waits += [
                asyncio.create_task(ctx.step.wait_for_event(f"w{turn}-{n}", f"wa-later/{turn * 10 + n}"))
                for n in range(10)
            ]
            await ctx.step.wait_for(f"nap {turn}", minutes=1)
        await ctx.step.wait_for("last", minutes=1)
        return [(await wait).data for wait in waits]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=5)
        assert (puts(world), registered(world, "wa-later")) == (MANY, MANY)
        await env.client.terminate(handle.id)
        await env.settle()
        assert registered(world, "wa-later") == 0


@law
async def test_all_waiters_go_with_a_terminate(world: World) -> None:
    body = waiting("wa-ended")
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(seconds=70)
        await env.client.terminate(handle.id)
        await env.settle()
        assert registered(world, "wa-ended") == 0
        assert items.WAITING_MORE not in world.execution(handle)


@law
async def test_all_waiters_go_with_a_message_that_is_given_up(world: World) -> None:
    body = waiting("wa-given-up")
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(seconds=70)
        letter = Letter(wake(handle.id, body.id), True, dead_letters.ROUNDS, 2)
        dead_letters.judge(env.harness.engine, letter)
        assert world.execution(handle)[items.STATUS] == "failed"
        await env.settle()
        assert registered(world, "wa-given-up") == 0


@law
async def test_all_waiters_go_with_an_execution_whose_invocations_die(world: World) -> None:
    body = waiting("wa-deaths")
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(seconds=10)
        world.limits(max_deaths=0)
        await env.advance(minutes=1)
        assert (await env.describe(handle)).status == "failed"
        assert registered(world, "wa-deaths") == 0


@law
async def test_all_waiters_go_with_an_execution_whose_body_leaves_them_open(world: World) -> None:
    body = waiting("wa-left", leave=True)
    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == []
        await env.settle()
        assert registered(world, "wa-left") == 0


@law
async def test_waits_of_a_body_that_is_run_again_are_registered_again(world: World) -> None:
    failed = False

    @workflow(id="wa-again", max_retries=1)
    async def body(ctx: WorkflowContext) -> list[Any]:
        nonlocal failed
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(ctx.step.wait_for_event(f"w{n}", f"wa-again/{n}")) for n in range(MANY)]
            await ctx.step.wait_for("nap", minutes=1)
            if not failed:
                failed = True
                raise ValueError("once")
        return [wait.result().data for wait in waits]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=3)
        assert registered(world, "wa-again") == MANY
        for n in range(MANY):
            await env.publish(f"wa-again/{n}", n)
        assert await env.finish(handle) == list(range(MANY))


@law
@pytest.mark.parametrize("count", [1, MANY])
async def test_an_end_that_is_told_late_leaves_the_waiters_of_a_retry(world: World, count: int) -> None:
    """Its message comes again after the execution was retried, and has registered its waits once more."""

    @workflow(id="wa-retried", max_retries=0)
    async def body(ctx: WorkflowContext) -> list[Any]:
        waits = [asyncio.create_task(ctx.step.wait_for_event(f"w{n}", f"wa-retried/{n}")) for n in range(count)]
        await ctx.step.wait_for("nap", minutes=1)
        await ctx.step.run("fails", fails, max_retries=0)
        return [(await wait).data for wait in waits]

    def fails() -> None:
        if mended:
            return
        raise ValueError("not yet")

    mended = False
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=2)
        ended = world.execution(handle)
        assert ended[items.STATUS] == "failed"
        mended = True
        recovery.retry(env.harness.engine, handle.id)
        await env.settle()
        await _late(
            env, {**ended, items.WAITING_MORE: ended.get(items.WAITING_MORE, 0), items.WAITING_FOR: _all(count)}
        )
        for n in range(count):
            await env.publish(f"wa-retried/{n}", n)
        assert await env.finish(handle) == list(range(count))


def _all(count: int) -> str:
    return str([["event", f"w{n}", f"wa-retried/{n}", 0] for n in range(count)]).replace("'", '"')


async def _late(env: Environment, ended: Any) -> None:
    await asyncio.to_thread(duties.perform, env.harness.engine, ended)
