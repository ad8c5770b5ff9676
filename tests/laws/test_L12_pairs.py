"""L12 final: every pair of ends that may meet, each forced to come first; what was decided first stands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowContext, WorkflowFailedError, workflow
from polos.engine import starting
from tests.laws.worlds import World, law


@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
@law
async def test_L12_an_end_that_is_written_before_the_time_limit_stands(world: World, fails: bool) -> None:
    @workflow(id="l12-limit-late", max_retries=0, timeout=20)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", world.effect)
        if fails:
            raise ValueError("no")
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("finish", after=True)
        owner = world.begin()
        await gate.reach()
        env.harness.clock.advance(25)  # the timer of the limit meets an execution that has ended
        await asyncio.to_thread(world.deliver_due)
        gate.release()
        await owner.end()
        await env.advance(minutes=5)
        assert (await env.describe(handle)).status == ("failed" if fails else "completed")
        assert (await env.client.get_execution(handle.id))["cancelled_by"] is None


@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
@law
async def test_L12_an_end_that_comes_after_the_time_limit_leaves_no_trace(world: World, fails: bool) -> None:
    """The first owner stands still within its step; its heir strikes; then the first one would end it otherwise."""

    @workflow(id="l12-limit-first", max_retries=0, timeout=20)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", world.effect)
        if fails:
            raise ValueError("no")
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#a")
        zombie = world.begin()
        await gate.reach()
        await env.advance(seconds=40)
        assert (await env.describe(handle)).status == "timed_out"
        ended = world.execution(handle)
        gate.release()
        await zombie.end()
        await env.advance(minutes=5)
        assert world.execution(handle) == ended
        detail = await env.describe(handle)
        assert (detail.status, detail.result) == ("timed_out", None)


@pytest.mark.parametrize("struck", ["cancel", "time limit"])
@law
async def test_L12_terminate_ends_the_cleanup_of_what_was_struck_before(world: World, struck: str) -> None:
    @workflow(id="l12-cut-short")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("work", days=1)
        finally:
            await ctx.step.run("begun", world.effect)
            await ctx.step.wait_for("slow cleanup", hours=2)
            await ctx.step.run("cleaned", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body, run_timeout_seconds=60 if struck == "time limit" else None)
        await env.settle()
        if struck == "cancel":
            await env.cancel(handle)
        await env.advance(minutes=2)
        assert world.ran("begun") == 1
        await env.client.terminate(handle.id)
        await env.settle()
        assert (await env.describe(handle)).status == "cancelled"
        ended = world.execution(handle)
        await env.advance(days=2)
        assert world.execution(handle) == ended
    assert world.ran("cleaned") == 0


@pytest.mark.parametrize("first", ["cancel", "terminate"])
@law
async def test_L12_cancel_and_terminate_that_were_sent_at_once_end_it_in_either_order(world: World, first: str) -> None:
    @workflow(id="l12-both")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("work", days=1)
        finally:
            await ctx.step.run("cleanup", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        for mode in (first, "terminate" if first == "cancel" else "cancel"):
            starting.cancel(env.harness.engine, handle.id, mode)
            env.harness.clock.advance(0.01)
        for delivery in world.take_all():
            await world.begin(delivery).end()
        assert (await env.describe(handle)).status == "cancelled"
        ended = world.execution(handle)
        await env.advance(days=2)
        assert world.execution(handle) == ended
    assert world.ran("cleanup") == (1 if first == "cancel" else 0)


@law
async def test_L12_the_time_limit_of_what_was_terminated_changes_nothing(world: World) -> None:
    @workflow(id="l12-over", timeout=3600)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("work", days=1)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.client.terminate(handle.id)
        await env.settle()
        ended = world.execution(handle)
        await env.advance(days=2)
        assert world.execution(handle) == ended
        assert (await env.describe(handle)).status == "cancelled"


@pytest.mark.parametrize("when", ["before the retry", "before it is begun", "while it runs", "after its end"])
@law
async def test_L12_a_finish_of_the_try_before_a_retry_never_lands(world: World, when: str) -> None:
    """An owner that was overtaken ends it after its heir failed and somebody retried."""
    ends: Any = iter(["the zombie", ValueError("the heir"), "the retry"])

    @workflow(id="l12-retried", max_retries=0)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", world.effect)
        end = next(ends)
        if isinstance(end, ValueError):
            raise end
        return end

    async with world.deploy(body) as env:
        handle = await env.start(body)
        finish = world.wire.block("finish")
        zombie = world.begin()
        await finish.reach()
        await env.advance(seconds=31)
        with pytest.raises(WorkflowFailedError, match="the heir"):
            await env.finish(handle)

        async def late() -> None:
            finish.release()
            await zombie.end()

        if when == "before the retry":
            await late()
            assert (await env.describe(handle)).status == "failed"
        await env.client.retry(handle.id)
        if when == "before it is begun":
            await late()
            assert (await env.describe(handle)).status != "completed"
        if when == "while it runs":
            running = world.wire.block("finish")
            retried = await world.run_until(running)
            assert retried is not None
            await late()
            assert (await env.describe(handle)).status == "running"
            running.release()
            await retried.end()
        assert await env.finish(handle) == "the retry"
        if when == "after its end":
            await late()
        await env.advance(minutes=5)
        assert (await env.describe(handle)).result == "the retry"
    assert world.ran("a") == 1
