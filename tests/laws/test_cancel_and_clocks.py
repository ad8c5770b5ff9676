"""L8: a cancel strikes at the same await for owners whose clocks differ by less than the allowed skew."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from polos import WorkflowCancelledError, WorkflowContext, workflow
from tests.engine.clocks import other_clock
from tests.laws.worlds import World, law


@law
async def test_L8_a_cancel_does_not_strike_before_a_timer_that_an_owner_with_a_faster_clock_saw_end(
    world: World,
) -> None:
    struck: list[str] = []

    @workflow(id="cancel-clocks")
    async def body(ctx: WorkflowContext) -> None:
        for key in ("timer", "event"):
            try:
                if key == "timer":
                    await ctx.step.wait_for("timer", seconds=3)
                else:
                    await ctx.step.wait_for_event("event", "cancel/clocks")
            except asyncio.CancelledError:
                struck.append(key)
                raise

    async with world.deploy(body) as env:
        world.limits(near=5.0)
        handle = await env.start(body)
        await env.settle()
        due = env.harness.next_due()
        assert due is not None
        env.harness.clock.jump(due - timedelta(seconds=0.2))
        with other_clock(world, 1.5):
            await world.settle_in(lambda batch: batch)
        assert world.waiters("cancel/clocks"), "the owner with the faster clock has gone on from the timer"
        await env.cancel(handle)
        owner = world.begin()
        await world.until(lambda: any(line.startswith("query  of") for line in world.wire.lines))
        await asyncio.sleep(0.05)
        env.harness.clock.advance(1)
        await owner.end()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
    assert struck == ["event"]
