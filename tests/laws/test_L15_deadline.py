"""L15 deadline: near the end of the invocation no new step starts, and the execution hands itself to a fresh one."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from polos import StepExecutionError, WorkflowContext, current_step, workflow
from tests.laws.worlds import World, law


@pytest.mark.parametrize("shape", ["sequential", "concurrent", "nested"])
@law
async def test_L15_no_step_starts_in_the_last_ten_seconds(world: World, shape: str) -> None:
    begun: list[float] = []
    limits: list[float | None] = []

    def work(n: int) -> int:
        begun.append(world.env.harness.clock.monotonic())
        world.env.harness.clock.advance(6)
        world.effect()
        return n

    @workflow(id="l15-steps")
    async def body(ctx: WorkflowContext) -> list[int]:
        limits.append(ctx.remaining_time)

        async def one(n: int) -> int:
            return await ctx.step.run(f"step {n}", work, n)

        if shape == "sequential":
            return [await one(n) for n in range(8)]
        if shape == "concurrent":
            gate = asyncio.Semaphore(1)

            async def limited(n: int) -> int:
                async with gate:
                    return await one(n)

            return await asyncio.gather(*(limited(n) for n in range(8)))
        async with asyncio.TaskGroup() as group:
            wait = group.create_task(ctx.step.wait_for("wait", days=1))
            got = [await one(n) for n in range(8)]
        assert wait.done()
        return got

    async with world.deploy(body, invocation_seconds=20) as env:
        start = env.harness.clock.monotonic()
        handle = await env.start(body)
        assert await env.finish(handle) == list(range(8))
        detail = await env.describe(handle)
    assert [world.ran(f"step {n}") for n in range(8)] == [1] * 8
    assert world.repeated == []
    assert detail.invocations >= 4, "two steps an invocation"
    assert all(left is not None and left > 19 for left in limits)
    assert begun[0] - start < 1


@law
async def test_L15_a_planned_hand_over_is_no_death(world: World) -> None:
    """Twenty of them in a row, none of which records anything new but the last, delay nothing."""

    def work(n: int) -> int:
        world.env.harness.clock.advance(11)
        return n

    @workflow(id="l15-hand-over")
    async def body(ctx: WorkflowContext) -> int:
        return sum([await ctx.step.run(f"step {n}", work, n) for n in range(12)])

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        began = env.now
        assert await env.finish(handle) == sum(range(12))
        detail = await env.describe(handle)
        assert detail.invocations == 12
        took = (env.now - began).total_seconds()
        assert took <= 12 * 11 + 30, "only the steps took time"


@law
async def test_L15_an_async_step_that_still_runs_two_seconds_before_the_limit_is_cancelled_unrecorded(
    world: World,
) -> None:
    attempts: list[tuple[int, str]] = []
    cancelled = threading.Event()

    async def long() -> str:
        attempts.append((current_step().attempt, current_step().idempotency_key))
        if len(attempts) == 1:
            world.pass_time(17.9)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.set()
                raise
        return world.effect("done")

    @workflow(id="l15-async")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("long", long, max_retries=0)

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "done"
        assert cancelled.is_set()
        assert attempts[0] == attempts[1], "it is the same attempt: nothing was recorded of the first"
        assert len(attempts) == 2
        assert (await env.describe(handle)).invocations == 2


@law
async def test_L15_a_step_that_ends_in_the_last_ten_seconds_is_recorded(world: World) -> None:
    async def long() -> str:
        world.env.harness.clock.advance(15)
        await asyncio.sleep(0.002)
        return world.effect("in time")

    @workflow(id="l15-in-time")
    async def body(ctx: WorkflowContext) -> list[str]:
        return [await ctx.step.run("long", long), await ctx.step.run("next", world.effect)]

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == ["in time", "next"]
        assert (await env.describe(handle)).invocations == 2
    assert world.ran("long") == 1


@law
async def test_L15_a_wake_that_is_used_up_just_before_the_limit_is_handed_over(world: World) -> None:
    """Two clocks: the wake of a timer has come and is spent, this clock says that it is not due yet, time is up."""
    begun = threading.Event()
    go = threading.Event()

    def long() -> str:
        begun.set()
        assert go.wait(20)
        return world.effect("long")

    @workflow(id="l15-skew")
    async def body(ctx: WorkflowContext) -> Any:
        timer = asyncio.create_task(ctx.step.wait_for("timer", seconds=60))
        await ctx.step.wait_for_event("go", "l15/go")
        step = await ctx.step.run("long", long)
        await timer
        return step

    async with world.deploy(body, invocation_seconds=20) as env:
        world.limits(near=5.0)
        handle = await env.start(body)
        await env.advance(seconds=45)
        await env.publish("l15/go")
        await world.begin().end()
        owner = world.begin()  # begins at 45 s and may go on until 65 s
        assert await asyncio.to_thread(begun.wait, 10)
        env.harness.clock.advance(12)
        world.wake_is_spent(handle.id, body.id)
        go.set()
        await owner.end()
        detail = await env.describe(handle)
        assert detail.status == "running", "handed over: the wake of the timer is spent"
        world.limits(near=0.0)
        assert await env.finish(handle) == "long"
        assert world.ran("long") == 1


@law
async def test_L15_at_most_once_cut_off_by_the_limit_is_not_run_again(world: World) -> None:
    async def long() -> str:
        world.effect()
        world.pass_time(17.9)
        await asyncio.sleep(30)
        return "never"

    @workflow(id="l15-at-most-once")
    async def body(ctx: WorkflowContext) -> str:
        try:
            return await ctx.step.run("charge", long, at_most_once=True)
        except StepExecutionError as error:
            return error.message

    async with world.deploy(body, invocation_seconds=20) as env:
        assert await env.finish(await env.start(body)) == "interrupted"
    assert world.ran("charge") == 1
