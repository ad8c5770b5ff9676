"""SPEC 5: the stream of a run that goes on as new, and one that is followed while it is ended from outside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowContext, events, workflow
from polos.engine.streams import Follower
from tests.laws.worlds import World, law


async def _collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


@law
async def test_stream_of_a_run_that_goes_on_as_new_ends_with_the_last_successor(world: World) -> None:
    @workflow(id="stream-chain")
    async def body(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.run(f"work-{n}", str)
        await ctx.step.wait_for("nap", minutes=1)
        if n < 3:
            await ctx.continue_as_new(n + 1)
        return n

    async with world.deploy(body) as env:
        handle = await env.start(body, 1)
        await env.settle()
        following = asyncio.create_task(_collect(events.stream_workflow(env.client, body.id, handle.id)))
        await asyncio.sleep(0.05)
        assert await env.finish(handle) == 3
        live = await asyncio.wait_for(following, 10)
        after = await asyncio.wait_for(_collect(events.stream_workflow(env.client, body.id, handle.id)), 10)
    for found in (live, after):
        assert found[-1].event_type == "workflow_finish"
        assert found[-1].data["result"] == 3


@law
async def test_a_run_whose_successor_is_still_to_begin_has_not_ended(world: World) -> None:
    @workflow(id="stream-between-links")
    async def body(ctx: WorkflowContext, n: int) -> int:
        if n < 2:
            await ctx.continue_as_new(n + 1)
        return n

    async with world.deploy(body) as env:
        handle = await env.start(body, 1)
        await world.begin().end()
        detail = await env.describe(handle)
        assert (detail.status, detail.completed_at, detail.final_state) == ("queued", None, None)
        assert (await handle.get())["status"] == "queued"
        follower = Follower(env.harness.engine, handle.id, None, None)
        assert follower.look()[1] is False
        await env.settle()
        found, ended = follower.look()
        assert (found[-1].data["result"], ended) == (2, True)


@law
async def test_a_stream_takes_a_child_whose_start_is_on_its_way_for_one_that_has_not_begun(world: World) -> None:
    @workflow(id="stream-late-child")
    async def child(ctx: WorkflowContext) -> str:
        return "done"

    @workflow(id="stream-parent")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.invoke_and_wait("child", child)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await world.begin().end()
        assert (await env.describe(handle)).children == [f"{handle.id}/child"], "and nobody has claimed it"
        following = asyncio.create_task(_collect(events.stream_workflow(env.client, body.id, handle.id)))
        await asyncio.sleep(0.05)
        await env.settle()
        assert await env.finish(handle) == "done"
        kinds = [
            (one.event_type, one.data["_metadata"]["workflow_id"]) for one in await asyncio.wait_for(following, 10)
        ]
    assert kinds.count(("workflow_start", child.id)) == 1
    assert kinds[-1] == ("workflow_finish", body.id)


@pytest.mark.parametrize("how", ["cancelled", "terminated", "timed_out", "failed"])
@law
async def test_stream_that_is_followed_ends_when_the_run_is_ended(world: World, how: str) -> None:
    @workflow(id="stream-followed", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.suspend("ask", {"question": 1, "_form": {"title": "Sure?"}})
        raise ValueError("broken")

    async with world.deploy(body) as env:
        handle = await env.start(body, run_timeout_seconds=3600)
        await env.settle()
        following = asyncio.create_task(_collect(events.stream_workflow(env.client, body.id, handle.id)))
        await asyncio.sleep(0.05)
        if how == "cancelled":
            await env.cancel(handle)
        elif how == "terminated":
            await env.client.terminate(handle.id)
        elif how == "failed":
            await env.resume(handle, "ask", None)
        await env.advance(hours=2 if how == "timed_out" else 0)
        found = await asyncio.wait_for(following, 10)
        (asked,) = [event for event in found if event.event_type == "suspend_ask"]
        assert asked.data["_form"] == {"title": "Sure?"}
        assert found[-1].event_type == ("workflow_failed" if how in ("failed", "timed_out") else "workflow_cancelled")
