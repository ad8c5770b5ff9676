"""L10, L12: a cancel or a terminate is for the generation that its client saw, however late its message comes."""

from __future__ import annotations

import pytest

from polos import WorkflowContext, workflow
from polos.engine import commands
from polos.ports import Message
from tests.laws.worlds import World, law


@pytest.mark.parametrize("act", ["cancel", "terminate"])
@law
async def test_L10_a_late_cancel_leaves_alone_what_was_retried_since(world: World, act: str) -> None:
    """It fails before the cancel takes effect and is retried by hand; then the message comes, and comes again."""
    broken = [True]

    @workflow(id="late-cancel")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for_event("go", topic="late/go")
        await ctx.step.run("charge", lambda: 1 / 0 if broken[0] else 1, max_retries=0)
        await ctx.step.wait_for_event("on", topic="late/on")
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await (env.cancel(handle) if act == "cancel" else env.client.terminate(handle.id))
        late = world.take()
        copies = [late.copy(resent) for resent in (False, True)]
        await env.publish("late/go")
        await env.settle()
        assert (await env.describe(handle)).status == "failed"
        broken[0] = False
        await env.client.retry(handle.id)
        await world.begin(copies[0]).end()
        await env.settle()
        assert (await env.describe(handle)).status == "waiting", "nobody has cancelled this run"
        await world.begin(copies[1]).end()
        await world.begin(late).end()
        await env.settle()
        assert (await env.describe(handle)).status == "waiting", "nobody has cancelled this run"
        await env.publish("late/on")
        assert await env.finish(handle) == "done"


@pytest.mark.parametrize("act", ["cancel", "terminate"])
@law
async def test_what_was_retried_can_be_cancelled_and_by_a_message_without_generation_too(
    world: World, act: str
) -> None:
    broken = [True]

    @workflow(id="cancelled-again")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("charge", lambda: 1 / 0 if broken[0] else 1, max_retries=0)
        await ctx.step.wait_for_event("on", topic="again/on")

    async with world.deploy(body) as env:
        for old in (False, True):
            broken[0] = True
            handle = await env.start(body)
            await env.settle()
            broken[0] = False
            await env.client.retry(handle.id)
            await env.settle()
            if old:
                message = Message(f"old-{act}", commands.cancel(handle.id, body.id, act), 1, lambda _: None)
                await world.again(message).end()
            else:
                await (env.cancel(handle) if act == "cancel" else env.client.terminate(handle.id))
            await env.settle()
            assert (await env.describe(handle)).status == "cancelled"


@pytest.mark.parametrize("act", ["cancel", "terminate"])
@law
async def test_L10_a_late_cancel_does_not_reach_the_successor_of_what_was_retried(world: World, act: str) -> None:
    broken = [True]

    @workflow(id="late-cancel-chain")
    async def body(ctx: WorkflowContext, link: int) -> None:
        await ctx.step.wait_for_event("go", topic=f"chain/{link}")
        await ctx.step.run("charge", lambda: 1 / 0 if broken[0] else 1, max_retries=0)
        await ctx.continue_as_new(link + 1)

    async with world.deploy(body) as env:
        handle = await env.start(body, 0, id="late-chain")
        await env.settle()
        await (env.cancel(handle) if act == "cancel" else env.client.terminate(handle.id))
        late = world.take()
        await env.publish("chain/0")
        await env.settle()
        broken[0] = False
        await env.client.retry("late-chain")
        await env.settle()
        detail = await env.describe(handle)
        assert (detail.id, detail.status) == ("late-chain~1", "waiting")
        await world.begin(late).end()
        await env.settle()
        assert (await env.describe("late-chain~1")).status == "waiting", "nobody has cancelled this run"
