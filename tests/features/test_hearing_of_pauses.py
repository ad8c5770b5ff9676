"""How a process hears of what is paused: by a read in 15 seconds, whoever paused it; on every backend."""

from __future__ import annotations

from polos import WorkflowContext, workflow
from polos.core import items
from tests.features.held import lines
from tests.laws.worlds import World, law


@law
async def test_a_process_reads_what_is_paused_once_in_15_seconds(world: World) -> None:
    @workflow(id="held-budget")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        world.limits(controls=15.0)

        async def reads(count: int) -> int:
            world.wire.lines.clear()
            for _ in range(count):
                await env.finish(await env.start(body))
            return sum(1 for line in world.wire.lines if line == "get paused of h#")

        await reads(1)
        assert await reads(5) == 0
        await env.advance(seconds=16)
        assert await reads(5) == 1
        env.requests.clear()
        await env.client.pause_workflow(body)
        assert {name: count for name, count in env.requests.items() if count} == {"UpdateItem": 1}


@law
async def test_a_process_hears_of_the_pause_of_another_within_15_seconds(world: World) -> None:
    @workflow(id="held-other")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        world.limits(controls=15.0)
        await env.finish(await env.start(body))
        world.table.put(items.keyed(items.CONTROLS, {"workflow:held-other": "1-somebody"}))
        await env.finish(await env.start(body))  # not yet
        await env.advance(seconds=16)
        held = await env.start(body)
        await env.settle()
        assert (await env.describe(held)).status == "queued"
        assert lines(world, "1-somebody") == [held.id]


@law
async def test_a_turn_under_way_hears_of_the_pause_of_another_within_15_seconds(world: World) -> None:
    """What it knew when it began was old already, and its heartbeat comes later."""

    @workflow(id="held-under-way")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("first", world.env.harness.clock.advance, 10.0)
        await ctx.step.run("second", world.effect)

    @workflow(id="held-not-at-all")
    async def other(ctx: WorkflowContext) -> None: ...

    async with world.deploy(body, other) as env:
        world.limits(controls=15.0)
        await env.finish(await env.start(other))
        world.table.put(items.keyed(items.CONTROLS, {"workflow:held-under-way": "1-somebody"}))
        await env.advance(seconds=10)
        held = await env.start(body)
        await env.settle()
        assert world.ran("second") == 0
        await env.advance(seconds=5)
        assert lines(world, "1-somebody") == [held.id]


@law
async def test_no_thread_goes_by_old_knowledge_while_another_reads(world: World) -> None:
    """The read that is made once in 15 seconds is slow; meanwhile another execution begins in the same process."""

    @workflow(id="held-beside")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        world.limits(controls=15.0)
        await env.finish(await env.start(body))
        await env.advance(seconds=16)
        await env.start(body)
        held = await env.start(body)
        world.wire.lines.clear()
        gate = world.wire.block("get paused of h#")
        slow = world.begin()
        await gate.reach()
        world.table.put(items.keyed(items.CONTROLS, {"workflow:held-beside": "1-somebody"}))
        await world.begin().end()
        assert world.ran("work") == 1
        assert lines(world, "1-somebody") == [held.id]
        gate.release()
        await slow.end()
