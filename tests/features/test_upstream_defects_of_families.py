"""The numbered defects of the upstream SDK between executions and in their waits, as tests of what happens here.

Test `defect_NN` is for number NN; 4 and 5 have one test.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import BatchWorkflowInput, ChildWorkflowError, WorkflowCancelledError, WorkflowContext, events, workflow
from tests.features.listing import listed
from tests.laws.worlds import World, law


@pytest.mark.parametrize("end", ["cancelled", "timed_out"])
@law
async def test_defect_04_and_05_a_parent_is_told_of_a_child_that_was_ended_and_lives_on(world: World, end: str) -> None:
    @workflow(id="defect-4-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("long", days=9)

    @workflow(id="defect-4-grandparent")
    async def grandparent(ctx: WorkflowContext) -> str:
        return await ctx.step.invoke_and_wait("p", parent)

    @workflow(id="defect-4")
    async def parent(ctx: WorkflowContext) -> str:
        limit = 60 if end == "timed_out" else None
        try:
            await ctx.step.invoke_and_wait("c", child, run_timeout_seconds=limit)
        except ChildWorkflowError as error:
            await ctx.step.run("after", world.effect)
            return error.status
        return "no error"

    async with world.deploy(grandparent, parent, child) as env:
        handle = await env.start(grandparent)
        await env.settle()
        if end == "cancelled":
            await env.cancel(f"{handle.id}/p/c")
        assert await env.finish(handle) == end
        assert len(await listed(env, workflow_id="defect-4-child")) == 1
    assert world.ran("after") == 1


@law
async def test_defect_06_a_gather_of_two_children_starts_each_once(world: World) -> None:
    @workflow(id="defect-6-child")
    async def child(ctx: WorkflowContext, minutes: int) -> int:
        await ctx.step.wait_for("nap", minutes=minutes)
        return minutes

    @workflow(id="defect-6")
    async def body(ctx: WorkflowContext) -> list[int]:
        return await asyncio.gather(*(ctx.step.invoke_and_wait(f"c{n}", child, n) for n in (1, 2)))

    async with world.deploy(body, child) as env:
        assert await env.finish(await env.start(body)) == [1, 2]
        await env.settle()
        assert len(await listed(env, workflow_id="defect-6-child")) == 2


@pytest.mark.moto_sample(at=("^send start", "^publish"), after=(False,))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", ["^send start", "^publish", "^put r#tell", "^put r#free", "^put s#kid", "^put s#kids"])
@law
async def test_defect_12_no_crash_between_an_effect_and_its_record_doubles_it(
    world: World, at: str, after: bool
) -> None:
    @workflow(id="defect-12-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.run("child", world.effect)

    @workflow(id="defect-12-listener", trigger_on_event="defect/12")
    async def listener(ctx: WorkflowContext) -> None:
        await ctx.step.run("heard", world.effect)

    @workflow(id="defect-12")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.publish_event("tell", "defect/12", {})
        await ctx.step.invoke("free", child)
        await ctx.step.invoke_and_wait("kid", child)
        await ctx.step.batch_invoke_and_wait("kids", [BatchWorkflowInput(id="defect-12-child")] * 2)

    async with world.deploy(body, child, listener) as env:
        fault = world.wire.crash(at, after=after)
        await env.finish(await env.start(body))
        await env.advance(minutes=5)
        assert fault.reached
        assert len(await listed(env, workflow_id="defect-12-child")) == 4
        assert len(await listed(env, workflow_id="defect-12-listener")) == 1
    assert (world.ran("child"), world.ran("heard")) == (4, 1)


@law
async def test_defect_13_each_wait_gets_the_oldest_event_it_has_not_had_also_of_a_batch(world: World) -> None:
    @workflow(id="defect-13")
    async def body(ctx: WorkflowContext) -> list[int]:
        return [(await ctx.step.wait_for_event(f"e{n}", "defect/13")).data["n"] for n in range(3)]

    async with world.deploy(body) as env:
        one, two = await env.start(body), await env.start(body)
        await env.settle()
        await events.batch_publish(env.client, "defect/13", [events.EventData(data={"n": n}) for n in range(4)])
        assert (await env.finish(one), await env.finish(two)) == ([0, 1, 2], [0, 1, 2])


@law
async def test_defect_14_a_suspend_belongs_to_its_own_execution(world: World) -> None:
    @workflow(id="defect-14-child")
    async def child(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask"))["data"]

    @workflow(id="defect-14")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return await asyncio.gather(*(ctx.step.invoke_and_wait(name, child) for name in ("a", "b")))

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        await env.resume(f"{handle.id}/a", "ask", "for a")
        await env.settle()
        assert (await env.describe(f"{handle.id}/b")).status == "waiting"
        await env.resume(f"{handle.id}/b", "ask", "for b")
        assert await env.finish(handle) == ["for a", "for b"]


@law
async def test_defect_15_a_wait_on_the_topic_of_the_own_run_is_not_woken_by_the_runtime(world: World) -> None:
    @workflow(id="defect-15-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.run("noise", lambda: 1)
        await ctx.step.wait_for("nap", hours=1)
        await ctx.step.publish_workflow_event("mine", {"mine": True}, event_type="mine")

    @workflow(id="defect-15")
    async def body(ctx: WorkflowContext) -> Any:
        await ctx.step.run("noise", lambda: 1)
        await ctx.step.invoke("child", child)
        topic = f"workflow/{ctx.root_workflow_id}/{ctx.root_execution_id}"
        event = await ctx.step.wait_for_event("own", topic)
        return event.event_type, event.data

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.advance(minutes=30)
        detail = await env.describe(handle)
        assert (detail.status, detail.invocations) == ("waiting", 1)
        assert await env.finish(handle) == ("mine", {"mine": True})


@law
async def test_defect_16_a_cancel_is_not_overwritten_by_what_the_run_does_next(world: World) -> None:
    @workflow(id="defect-16")
    async def body(ctx: WorkflowContext, then: str) -> str:
        await ctx.step.run("work", world.effect)
        if then == "waits":
            await ctx.step.wait_for("nap", hours=1)
        if then == "fails":
            raise ValueError("broken")
        return "completed"

    async with world.deploy(body) as env:
        for then in ("waits", "fails", "completes"):
            handle = await env.start(body, then)
            gate = world.wire.block("put r#work")
            owner = world.begin()
            await gate.reach()
            assert await env.cancel(handle)
            await world.begin().end()
            if then != "fails":  # that body may end before it sees the cancel: it is not run again
                await world.until(lambda handle=handle: any(line == f"strike {handle.id}" for line in world.wire.lines))
            gate.release()
            await owner.end()
            with pytest.raises(WorkflowCancelledError):
                await env.finish(handle)
            world.wire.quiet()


@law
async def test_defect_18_an_early_replay_never_sees_part_of_a_batch(world: World) -> None:
    seen: list[list[int]] = []
    turns: list[bool] = []

    @workflow(id="defect-18-child")
    async def child(ctx: WorkflowContext, hours: int) -> int:
        await ctx.step.wait_for("nap", hours=hours)
        return hours

    @workflow(id="defect-18")
    async def body(ctx: WorkflowContext) -> int:
        turns.append(True)
        inputs = [BatchWorkflowInput(id="defect-18-child", payload=hours) for hours in (1, 2, 3)]
        results, _ = await asyncio.gather(
            ctx.step.batch_invoke_and_wait("all", inputs), ctx.step.wait_for("a wake between", hours=2, minutes=30)
        )
        seen.append([one.result for one in results])
        await ctx.step.wait_for("and once more", hours=1)
        return sum(seen[-1])

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.advance(hours=2, minutes=45)
        assert len(turns) >= 2
        assert seen == []
        assert await env.finish(handle) == 6
    assert {tuple(one) for one in seen} == {(1, 2, 3)}
