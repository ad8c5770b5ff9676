"""SPEC 8.2: a child whose start the parent has on record is there for who asks, also while that is on its way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import (
    BatchWorkflowInput,
    ExecutionHandle,
    ExecutionNotFoundError,
    WorkflowCancelledError,
    WorkflowContext,
    workflow,
)
from polos.core import items
from polos.core.items import Key
from polos.testing.harness import Delivery
from tests.laws.worlds import World, law


@workflow(id="way-child")
async def child(ctx: WorkflowContext, n: int) -> int:
    await ctx.step.run("work", lambda: n)
    return n


async def _begun(world: World, handle: ExecutionHandle) -> list[Delivery]:
    """The parent has run its first turn; the starts of its children, not handled yet, which come again in a minute."""
    await world.begin().end()
    starts = [one for one in world.take_all() if one.line.startswith("start")]
    for one in starts:
        one.hide(60)
    return starts


def _parent(handles: list[ExecutionHandle], key: str, how: str) -> Any:
    @workflow(id=f"way-parent-{how}")
    async def parent(ctx: WorkflowContext) -> None:
        if how == "invoke":
            handles.append(await ctx.step.invoke(key, child, 7))
        else:
            inputs = [BatchWorkflowInput(id=child.id, payload=n) for n in (6, 7)]
            handles.extend(await ctx.step.batch_invoke(key, inputs))
        await ctx.step.suspend("ask")

    return parent


@pytest.mark.parametrize("key", ["plain", "not a plain key"])
@pytest.mark.parametrize("how", ["invoke", "batch"])
@law
async def test_a_child_of_which_a_parent_has_the_handle_is_queued_until_its_start_arrives(
    world: World, how: str, key: str
) -> None:
    handles: list[ExecutionHandle] = []
    parent = _parent(handles, key, how)
    async with world.deploy(parent, child) as env:
        root = await env.start(parent, session_id="s", user_id="u")
        assert await _begun(world, root)
        handle = handles[-1]
        found = await handle.get(env.client)
        assert (found["id"], found["workflow_id"], found["status"]) == (handle.id, child.id, "queued")
        assert found["created_at"] == handle.created_at
        assert (found["parent_execution_id"], found["step_key"]) == (root.id, key)
        assert (found["root_execution_id"], found["session_id"], found["user_id"]) == (root.id, "s", "u")
        assert (await env.describe(handle.id)).status == "queued"
        waiting = asyncio.create_task(handle.result(client=env.client))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await env.advance(seconds=61)
        assert await asyncio.wait_for(waiting, 10) == 7
        assert (await handle.get(env.client))["payload"] == 7


@pytest.mark.parametrize("how", ["invoke", "batch"])
@law
async def test_a_cancel_reaches_a_child_whose_start_is_on_its_way(world: World, how: str) -> None:
    handles: list[ExecutionHandle] = []
    parent = _parent(handles, "kid", how)
    async with world.deploy(parent, child) as env:
        root = await env.start(parent)
        assert await _begun(world, root)
        assert await env.client.cancel_execution(handles[-1].id) is True
        await env.settle()
        assert (await handles[-1].get(env.client))["status"] == "queued"
        await env.advance(seconds=61)
        with pytest.raises(WorkflowCancelledError):
            await handles[-1].result(client=env.client)
        assert not world.is_recorded(handles[-1].id, "work")


@law
async def test_a_child_that_is_waited_for_can_be_found_and_resumed_before_its_start_arrives(world: World) -> None:
    @workflow(id="way-asks")
    async def asks(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask"))["data"]

    @workflow(id="way-waits")
    async def waits(ctx: WorkflowContext) -> Any:
        return await ctx.step.invoke_and_wait("kid", asks)

    async with world.deploy(waits, asks) as env:
        root = await env.start(waits)
        await _begun(world, root)
        (kid,) = (await env.describe(root)).children
        assert (await env.client.get_execution(kid))["workflow_id"] == asks.id
        await env.client.resume(asks.id, kid, "ask", "early")
        await env.advance(seconds=61)
        assert await env.finish(root) == "early"


@law
async def test_a_child_that_has_expired_or_was_never_started_is_not_found(world: World) -> None:
    handles: list[ExecutionHandle] = []
    parent = _parent(handles, "kid", "batch")
    async with world.deploy(parent, child) as env:
        root = await env.start(parent)
        await env.settle()
        for unknown in (f"{root.id}/kid:2", f"{root.id}/kid@1:1", f"{root.id}/kid", f"{root.id}/~odd", "nobody/kid:0"):
            with pytest.raises(ExecutionNotFoundError):
                await env.client.get_execution(unknown)
            with pytest.raises(ExecutionNotFoundError):
                await env.client.cancel_execution(unknown)
        await env.advance(days=14, hours=1)
        for sk in world.records(handles[0]):
            world.table.delete(Key(handles[0].id, sk))
        assert items.EXECUTION in world.records(root), "the parent is still open"
        with pytest.raises(ExecutionNotFoundError):
            await handles[0].get(env.client)
