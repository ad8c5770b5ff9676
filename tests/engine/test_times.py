"""Time limits, pauses and hand-overs, where a wake may be lost. L5, L15, SPEC 4."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from polos import WorkflowContext, WorkflowTimeoutError, workflow
from polos.core import items
from polos.core.conditions import Change
from polos.ports import Outgoing
from tests.engine.clocks import next_delivery, other_clock
from tests.laws.worlds import World, law

# ---- the time limit


@pytest.mark.parametrize("rest", ["paused", "deaths"])
@law
async def test_a_time_limit_holds_whatever_the_first_suspension_was_for(world: World, rest: str) -> None:
    """Its first suspension is no wait of the body but a pause, or the delay after two deaths."""

    @workflow(id="td-limit", timeout=600)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", world.effect)
        await ctx.step.wait_for_event("never", "td/never")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        if rest == "paused":
            await env.client.pause(handle.id)
            await env.settle()
            await env.advance(seconds=30)
            await env.client.unpause(handle.id)
        else:
            faults = [world.wire.crash("put r#a", nth=nth) for nth in (1, 2)]
            await env.advance(minutes=3)
            assert all(fault.reached for fault in faults)
        await env.advance(minutes=5)
        assert (await env.describe(handle)).status == "waiting"
        await env.advance(minutes=6)
        assert (await env.describe(handle)).status == "timed_out"
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(handle)


# ---- pauses


@pytest.mark.parametrize("later", [0, 5], ids=["in the same millisecond", "seconds later"])
@law
async def test_an_old_unpause_does_not_lift_a_later_pause(world: World, later: float) -> None:
    @workflow(id="td-pause")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", minutes=1)
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.client.pause(handle.id)
        await env.settle()
        await env.client.unpause(handle.id)
        await env.settle()
        (old,) = [one for one in world.messages if one.body["t"] == "unpause"]
        await env.advance(seconds=later)
        await env.client.pause(handle.id)
        await world.again(old, new_id=True).end()
        await env.advance(minutes=5)
        assert world.ran("a") == 0
        await env.client.unpause(handle.id)
        assert await env.finish(handle) == "a"


# ---- wakes


@law
async def test_the_wake_of_a_hand_over_comes_after_its_suspension(world: World) -> None:
    """The owner stands at its last write, its wake is sent: delivered now it would only leave a mark, and the owner
    would replay and send the next."""

    @workflow(id="td-hand-over")
    async def body(ctx: WorkflowContext) -> list[str]:
        await ctx.step.run("long", lambda: env.harness.clock.advance(12))
        return [await ctx.step.run("next", world.effect)]

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        gate = world.wire.block("suspend")
        owner = world.begin()
        await gate.reach()
        assert any(line.startswith("send wake") for line in world.wire.lines)
        assert env.harness.take_due() is None
        gate.release()
        await owner.end()
        assert await env.finish(handle) == ["next"]
        assert (await env.describe(handle)).invocations == 2
        assert len([line for line in world.wire.lines if line.startswith("send wake")]) == 1


@law
async def test_a_rest_whose_wake_was_used_up_arms_another(world: World) -> None:
    """A whole-execution retry sleeps until T. A resume wakes it at T-0.2 by this host's clock and it is about to rest
    again, when the wake for T, delivered by a host whose clock is ahead, meets its lease and is gone."""
    tries: list[int] = []

    @workflow(id="td-rest")
    async def body(ctx: WorkflowContext) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError(str(len(tries)))
        return (await ctx.step.suspend("ask"))["data"]

    async with world.deploy(body) as env:
        world.limits(near=5.0)
        handle = await env.start(body)
        await world.begin().end()  # fails: sleeps for a second
        await world.begin(await next_delivery(world)).end()  # fails again: sleeps for two
        due = env.harness.next_due()
        assert due is not None
        assert len(tries) == 2
        env.harness.clock.jump(due - timedelta(seconds=0.2))
        await env.resume(handle, "ask", "answer")
        gate = world.wire.block("suspend")
        resting = world.begin()
        await gate.reach()
        with other_clock(world, 1.5):
            await world.settle_in(lambda wakes: wakes)
        gate.release()
        await resting.end()
        assert (await env.describe(handle)).status == "waiting"
        assert await env.finish(handle) == "answer"
    assert len(tries) == 3


@law
async def test_a_pause_that_an_older_version_noted_is_lifted_by_its_unpause(world: World) -> None:
    """It has no token, nor has the message that was on its way when the version changed."""

    @workflow(id="td-old-pause")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        await env.client.pause((handle := await env.start(body)).id)
        await env.settle()
        item = world.execution(handle)
        key = items.execution(handle.id)
        world.table.update(key, Change(remove=(items.PAUSE,)))
        body_of_old = {"t": "unpause", "x": handle.id, "wf": body.id, "n": item[items.PAUSED]}
        env.harness.engine.backend.inbox.send([Outgoing(body_of_old)])
        assert await env.finish(handle) == "a"
