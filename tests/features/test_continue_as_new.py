"""SPEC 4: going on as new under the same handle, and `patched` for changes of code; on every backend."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowCancelledError, WorkflowContext, WorkflowFailedError, workflow
from polos.engine.commands import resume
from polos.engine.stored import Stored
from polos.ports import Message
from tests.features.listing import listed
from tests.features.orders import Order, Tally
from tests.laws.worlds import World, law, noise


@law
async def test_continue_as_new_goes_on_under_the_same_handle(world: World) -> None:
    @workflow(id="exec-loop", state_schema=Tally)
    async def body(ctx: WorkflowContext, n: int) -> str:
        await ctx.step.run("work", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        if n < 3:
            await ctx.continue_as_new(n + 1)
        return f"{n} after {ctx.execution_id.count('~')}"

    async with world.deploy(body) as env:
        handle = await env.start(body, 1, id="loop", tags={"a": "b"}, session_id="s")
        await env.advance(hours=1, minutes=30)
        detail = await env.describe(handle)
        assert (detail.id, detail.status, detail.payload) == ("loop~1", "waiting", 2)
        assert len(detail.steps) == 2, "the history is empty again"
        assert (detail.tags, detail.session_id) == ({"a": "b"}, "s")
        assert await env.finish(handle) == "3 after 1"
        assert (await handle.get(env.client))["status"] == "completed"
        assert await handle.result() == "3 after 1"
    assert world.ran("work") == 3


@law
async def test_continue_as_new_is_followed_by_cancel_and_by_a_waiting_parent(world: World) -> None:
    @workflow(id="exec-loop-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.wait_for("nap", hours=1)
        if n < 3:
            await ctx.continue_as_new(n + 1)
        return n

    @workflow(id="exec-loop-endless")
    async def endless(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("nap", hours=1)
        await ctx.continue_as_new()

    @workflow(id="exec-loop-parent")
    async def parent(ctx: WorkflowContext) -> int:
        return await ctx.step.invoke_and_wait("c", child, 1)

    async with world.deploy(parent, child, endless) as env:
        handle, loop = await env.start(parent), await env.start(endless)
        assert await env.finish(handle) == 3
        await env.advance(hours=5)
        assert await env.cancel(loop) is True
        with pytest.raises(WorkflowCancelledError):
            await env.finish(loop)
        assert await env.cancel(loop) is False
        await env.advance(hours=5)
        lines = await listed(env, workflow_id="exec-loop-endless")
        assert [line.status for line in lines].count("cancelled") == 1
        assert all(line.status in ("cancelled", "completed") for line in lines)


@law
async def test_continue_as_new_finds_the_newest_of_a_long_chain_in_few_reads(world: World) -> None:
    @workflow(id="exec-loop-long")
    async def body(ctx: WorkflowContext, n: int) -> int:
        if n < 40:
            await ctx.continue_as_new(n + 1)
        await ctx.step.wait_for("nap", hours=1)
        return n

    async with world.deploy(body) as env:
        handle = await env.start(body, 0, id="long")
        await env.settle()
        env.requests.clear()
        found = await handle.get(env.client)
        assert (found["id"], found["status"]) == ("long~40", "waiting")
        assert env.requests["GetItem"] <= 12
        for number in range(39):
            assert (await env.client.get_execution(f"long~{number + 1}"))["id"] == "long~40"
        assert await env.finish(handle) == 40


@pytest.mark.parametrize("at", ["^put p#", "^finish", "^send start"])
@law
async def test_continue_as_new_does_not_lose_a_cancel_that_comes_meanwhile(world: World, at: str) -> None:
    @workflow(id="exec-loop-race")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("nap", hours=1)
        await ctx.continue_as_new()

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        env.harness.clock.advance(3601)
        gate = world.wire.block(at)
        owner = await world.run_until(gate)
        assert owner is not None
        assert await env.cancel(handle)
        for one in world.take_all():
            await world.begin(one).end()
        gate.release()
        await owner.end()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
        assert (await env.describe(handle)).invocations <= 2


@law
async def test_continue_as_new_refuses_a_payload_that_does_not_validate(world: World) -> None:
    @workflow(id="exec-loop-bad")
    async def body(ctx: WorkflowContext, order: Order) -> None:
        await ctx.continue_as_new({"item": "x", "count": "many"})

    async with world.deploy(body) as env:
        handle = await env.start(body, Order(item="hat"))
        with pytest.raises(WorkflowFailedError, match="count"):
            await env.finish(handle)


@law
async def test_patched_is_false_for_executions_that_were_past_it_and_true_for_others(world: World) -> None:
    @workflow(id="exec-patched")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        await ctx.step.run("second", world.effect)
        return "old"

    old = body

    @workflow(id="exec-patched")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", world.effect)
        new = await ctx.step.patched("skip-the-nap")
        if not new:
            await ctx.step.wait_for("nap", hours=1)
            await ctx.step.run("second", world.effect)
            return "old way"
        await ctx.step.wait_for("breath", minutes=1)
        return "new way"

    async with world.deploy(old) as env:
        past = await env.start(old)
        await env.settle()
        not_yet = await env.start(old)
        env.deploy(body)
        fresh = await env.start(body)
        assert await env.finish(past) == "old way"
        assert await env.finish(not_yet) == "new way"
        assert await env.finish(fresh) == "new way"


@law
async def test_it_may_be_asked_for_in_a_task_group(world: World) -> None:
    """The group wraps what its task raised; the other tasks are cancelled."""

    @workflow(id="chain-in-group")
    async def body(ctx: WorkflowContext, left: int) -> str:
        async def inner() -> None:
            await ctx.step.run("work", lambda: left)
            await ctx.continue_as_new(left - 1)

        if left:
            async with asyncio.TaskGroup() as group:
                group.create_task(inner())
                group.create_task(ctx.step.wait_for_event("never", "chain-in-group/never"))
        return "end"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, 2)) == "end"


@law
async def test_continue_as_new_takes_a_resume_along_that_came_before_its_step_was_reached(world: World) -> None:
    """Also one that comes late to the link that has ended; but not the one of an older request of the same key."""

    @workflow(id="exec-early-resume")
    async def body(ctx: WorkflowContext, n: int) -> list[Any]:
        await ctx.step.wait_for("nap", hours=1)
        if n == 0:
            asking = asyncio.create_task(ctx.step.suspend("reached", {}))
            await asyncio.wait({asking}, timeout=0)
            await ctx.step.wait_for("while asking", hours=1)
            await ctx.continue_as_new(1)
        got = [(await ctx.step.suspend(key, {}))["data"] for key in ("early", "large", "late")]
        return [*got, (await ctx.step.suspend("reached", {}, timeout=60))["data"]]

    async with world.deploy(body) as env:
        handle = await env.start(body, 0, id="early")
        await env.settle()
        await env.resume(handle, "early", 1)
        await env.resume(handle, "large", noise(200_000))
        await env.advance(minutes=90)
        await env.resume(handle, "reached", "of the first link")
        await env.advance(hours=3)
        detail = await env.describe(handle)
        assert (detail.id, detail.status) == ("early~1", "waiting")
        late = Message("late", resume("early", "exec-early-resume", "late", Stored("3"), 0), 1, lambda _: None)
        await world.again(late).end()
        await env.settle()
        with pytest.raises(WorkflowFailedError, match="no resume came"):
            await env.finish(handle)
        steps = {step.key: step.result for step in (await env.describe(handle)).steps if step.status == "completed"}
        assert [steps[key]["data"] for key in ("early", "late")] == [1, 3]
        assert steps["large"]["data"] == noise(200_000)


@pytest.mark.parametrize("last", [False, True], ids=["while a step runs", "at the very end"])
@law
async def test_continue_as_new_waits_for_the_end_of_a_pause(world: World, last: bool) -> None:
    @workflow(id="exec-paused-link")
    async def body(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.run("work", world.effect)
        if n < 1:
            await ctx.continue_as_new(n + 1)
        return n

    async with world.deploy(body) as env:
        handle = await env.start(body, 0, id="paused")
        gate = world.wire.block("finish" if last else "put r#work")
        owner = world.begin()
        await gate.reach()
        await env.client.pause("paused")
        gate.release()
        await owner.end()
        await env.advance(hours=2)
        detail = await env.describe(handle)
        assert (detail.id, bool(detail.paused_at), world.ran("work")) == ("paused", True, 1)
        await env.client.unpause("paused")
        assert await env.finish(handle) == 1
    assert world.ran("work") == 2


@pytest.mark.parametrize("end", ["cancel", "time limit"])
@law
async def test_continue_as_new_that_is_paused_ends_by_a_cancel_and_by_its_time_limit(world: World, end: str) -> None:
    @workflow(id="exec-paused-ends", timeout=3600)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("work", world.effect)
        await ctx.continue_as_new()

    async with world.deploy(body) as env:
        handle = await env.start(body, id="paused-end")
        gate = world.wire.block("finish")
        owner = world.begin()
        await gate.reach()
        await env.client.pause("paused-end")
        gate.release()
        await owner.end()
        if end == "cancel":
            await env.cancel(handle)
        await env.advance(hours=2)
        assert (await env.describe(handle)).status == ("cancelled" if end == "cancel" else "timed_out")
    assert world.ran("work") == 1
