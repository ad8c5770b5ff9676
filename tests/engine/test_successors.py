"""Commands against `continue_as_new`: what the first id is told reaches the last successor, or prevents it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.core import items
from polos.errors import ChildWorkflowError
from tests.laws.worlds import World, law


def goes_on(world: World) -> Any:
    @workflow(id="ct-goes-on")
    async def body(ctx: WorkflowContext, n: int) -> Any:
        if n < 2:
            await ctx.step.wait_for("short", seconds=1)
            await ctx.continue_as_new(n + 1)
        try:
            return (await ctx.step.suspend("ask"))["data"]
        finally:
            await ctx.step.run("cleanup", world.effect)

    return body


@pytest.mark.parametrize("act", ["cancel", "terminate", "resume"])
@law
async def test_a_command_to_the_first_id_reaches_the_last_successor(world: World, act: str) -> None:
    body = goes_on(world)
    async with world.deploy(body) as env:
        handle = await env.start(body, 0)
        await env.advance(seconds=10)
        if act == "cancel":
            assert await env.cancel(handle)
        elif act == "terminate":
            await env.client.terminate(handle.id)
        else:
            await env.resume(handle, "ask", "answer")
        await env.settle()
        detail = await env.describe(handle)
        assert (detail.status, detail.result) == (("completed", "answer") if act == "resume" else ("cancelled", None))
        assert world.ran("cleanup") == (0 if act == "terminate" else 1)


@pytest.mark.parametrize("act", ["cancel", "terminate", "resume"])
@law
async def test_a_message_with_the_first_id_is_handed_on_to_the_last_successor(world: World, act: str) -> None:
    """A parent, or another execution, knows only the id with which the chain began."""
    child = goes_on(world)

    @workflow(id="ct-other")
    async def other(ctx: WorkflowContext, child_id: str) -> None:
        await ctx.step.resume("answer", "ask", child_id, "ct-goes-on", "from another")

    @workflow(id="ct-parent")
    async def body(ctx: WorkflowContext) -> Any:
        return await ctx.step.invoke_and_wait("child", child, 0)

    async with world.deploy(child, body, other) as env:
        handle = await env.start(body)
        await env.advance(seconds=10)
        if act == "cancel":
            await env.cancel(handle)
        elif act == "terminate":
            await env.client.terminate(handle.id)
        else:
            await env.start(other, f"{handle.id}/child")
        await env.settle()
        parent, last = await env.describe(handle), await env.describe(f"{handle.id}/child~2")
        wanted = "completed" if act == "resume" else "cancelled"
        assert (parent.status, last.status) == (wanted, wanted)
        assert parent.result == ("from another" if act == "resume" else None)


@law
async def test_a_cancel_that_struck_beats_continue_as_new(world: World) -> None:
    """The cancelled body goes on as new from its cleanup: the execution is cancelled, and nothing follows it."""

    @workflow(id="ct-no-more")
    async def body(ctx: WorkflowContext, n: int) -> None:
        try:
            await ctx.step.wait_for("pause", hours=1)
        except asyncio.CancelledError:
            await ctx.continue_as_new(n + 1)

    async with world.deploy(body) as env:
        handle = await env.start(body, 0)
        await env.settle()
        await env.cancel(handle)
        await env.advance(hours=2)
        assert world.execution(handle)[items.STATUS] == "cancelled"
        assert world.records(f"{handle.id}~1") == {}


@law
async def test_a_run_that_is_terminated_at_its_last_write_has_no_successor(world: World) -> None:
    """The owner stands at the write that ends the run and names its successor; the terminate is first."""

    @workflow(id="ct-last-write")
    async def body(ctx: WorkflowContext, n: int) -> None:
        await ctx.step.run("began", world.effect)
        await ctx.continue_as_new(n + 1)

    async with world.deploy(body) as env:
        handle = await env.start(body, 0)
        gate = world.wire.block("finish")
        owner = world.begin()
        await gate.reach()
        await env.client.terminate(handle.id)
        await env.settle()
        gate.release()
        await owner.end()
        await env.advance(minutes=5)
        assert world.execution(handle)[items.STATUS] == "cancelled"
        assert world.records(f"{handle.id}~1") == {}
    assert world.ran("began") == 1


@law
async def test_a_parent_hears_of_the_end_of_a_chain_that_was_cancelled(world: World) -> None:
    """The chain is cancelled by its first id; its parent waits for that id."""
    child = goes_on(world)

    @workflow(id="ct-hears")
    async def body(ctx: WorkflowContext) -> str:
        try:
            return await ctx.step.invoke_and_wait("child", child, 0)
        except ChildWorkflowError as error:
            return error.status

    async with world.deploy(child, body) as env:
        handle = await env.start(body)
        await env.advance(seconds=10)
        await env.cancel(f"{handle.id}/child")
        assert await env.finish(handle) == "cancelled"


@law
async def test_a_chain_whose_first_id_is_as_long_as_one_may_be_goes_on(world: World) -> None:
    @workflow(id="ct-long-id")
    async def body(ctx: WorkflowContext, n: int) -> int:
        if n < 12:
            await ctx.continue_as_new(n + 1)
        return n

    async with world.deploy(body) as env:
        handles = [await env.start(body, 0, id="x" * length) for length in (255, 252)]
        assert [await env.finish(handle) for handle in handles] == [12, 12]
        assert {(await env.describe(handle)).status for handle in handles} == {"completed"}
