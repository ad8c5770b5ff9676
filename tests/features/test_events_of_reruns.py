"""L9, L10 with whole-execution retries: what a wait took in a run that failed, no other wait of a later run takes."""

from __future__ import annotations

import asyncio

from polos import WorkflowContext, workflow
from tests.laws.worlds import World, law

TOPIC = "reruns/topic"


@law
async def test_L10_an_event_that_the_cleanup_of_a_failed_run_took_goes_to_no_other_wait(world: World) -> None:
    @workflow(id="rerun-cleanup", max_retries=2)
    async def body(ctx: WorkflowContext) -> list[int]:
        found: list[int] = []
        try:
            if ctx.retry_count < 2:
                raise ValueError("not yet")
            found.append((await ctx.step.wait_for_event("work", topic=TOPIC)).data)
        finally:
            found.append((await ctx.step.wait_for_event("cleanup", topic=TOPIC)).data)
        return found

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish(TOPIC, 1)
        await env.advance(seconds=30)
        assert (await env.describe(handle)).retry_count == 2
        await env.publish(TOPIC, 2)
        assert await env.finish(handle) == [2, 1]


@law
async def test_L9_an_event_that_no_wait_of_a_failed_run_was_handed_is_left_for_the_next(world: World) -> None:
    """A race was lost in the very moment in which its event came: the body never saw it."""

    @workflow(id="rerun-race", max_retries=1)
    async def body(ctx: WorkflowContext) -> int:
        loser = asyncio.create_task(ctx.step.wait_for_event("loser", topic=TOPIC))
        await ctx.step.wait_for_event("winner", topic=f"{TOPIC}/won")
        loser.cancel()
        if ctx.retry_count == 0:
            raise ValueError("once")
        return (await ctx.step.wait_for_event("next", topic=TOPIC)).data

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish(f"{TOPIC}/won", 0)
        await env.publish(TOPIC, 1)
        first, second = world.take_all()
        await world.begin(first).end()
        await world.begin(second).end()
        await env.settle()
        assert world.is_recorded(handle.id, "loser")
        assert await env.finish(handle) == 1
