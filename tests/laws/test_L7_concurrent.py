"""L7 concurrent: several waits and steps can be open at once; a turn ends only when nothing can move."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from polos import StepExecutionError, WorkflowContext, workflow
from tests.laws.worlds import World, law


@law
async def test_L7_a_task_group_of_a_wait_a_child_and_a_slow_step(world: World) -> None:
    child_ran = threading.Event()

    def slow() -> str:
        assert child_ran.wait(10), "the child runs while the step does"
        return world.effect("slow")

    def told() -> str:
        child_ran.set()
        return world.effect("child")

    @workflow(id="l7-child")
    async def child(ctx: WorkflowContext) -> str:
        return await ctx.step.run("told", told)

    @workflow(id="l7-group")
    async def body(ctx: WorkflowContext) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            wait = group.create_task(ctx.step.wait_for("wait", minutes=5))
            nested = group.create_task(ctx.step.invoke_and_wait("child", child))
            step = group.create_task(ctx.step.run("slow", slow))
        return [wait.result(), nested.result(), step.result()]

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        began = env.now
        assert await env.finish(handle) == [None, "child", "slow"]
        assert (env.now - began).total_seconds() == 300
    assert world.ran("slow") == world.ran("told") == 1


@law
async def test_L7_gather_opens_everything_at_once_and_keeps_the_order_of_results(world: World) -> None:
    both = threading.Barrier(3, timeout=10)

    def meet(name: str) -> str:
        both.wait()
        return world.effect(name)

    @workflow(id="l7-gather")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return await asyncio.gather(
            ctx.step.run("a", meet, "A"),
            ctx.step.wait_for("t1", minutes=10),
            ctx.step.run("b", meet, "B"),
            ctx.step.wait_for("t2", minutes=10),
            ctx.step.run("c", meet, "C"),
            ctx.step.wait_for_event("e", "l7/topic"),
        )

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        assert [world.ran(key) for key in "abc"] == [1, 1, 1]
        began = env.now
        await env.publish("l7/topic", "news")
        got = await env.finish(handle)
        assert got[:5] == ["A", None, "B", None, "C"]
        assert got[5].data == "news"
        assert (env.now - began).total_seconds() == 600, "both timers ran beside each other"
    assert world.repeated == []


@law
async def test_L7_gather_passes_on_a_failure_and_return_exceptions_collects_them(world: World) -> None:
    def bad() -> None:
        raise ValueError("no")

    @workflow(id="l7-failures")
    async def body(ctx: WorkflowContext) -> list[str]:
        got: list[Any] = await asyncio.gather(
            ctx.step.run("bad", bad, max_retries=0),
            ctx.step.run("good", world.effect),
            ctx.step.wait_for_event("late", "l7/none", timeout=60),
            return_exceptions=True,
        )
        try:
            await asyncio.gather(ctx.step.run("bad2", bad, max_retries=0), ctx.step.wait_for("long", hours=1))
        except StepExecutionError as error:
            got.append(error)
        return [getattr(one, "error_type", one) for one in got]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        began = env.now
        assert await env.finish(handle) == ["ValueError", "good", "StepTimeoutError", "ValueError"]
        assert (env.now - began).total_seconds() == 60, "nobody waits for the wait that lost"


@law
async def test_L7_wait_first_completed_and_the_rest_after_it(world: World) -> None:
    @workflow(id="l7-first")
    async def body(ctx: WorkflowContext) -> list[list[str]]:
        async def timed(name: str, minutes: int) -> str:
            await ctx.step.wait_for(f"wait {name}", minutes=minutes)
            return await ctx.step.run(f"after {name}", world.effect)

        open_ = {asyncio.create_task(timed(name, m)) for name, m in (("c", 3), ("a", 1), ("b", 2), ("b2", 2))}
        rounds = []
        while open_:
            done, open_ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
            rounds.append(sorted(task.result() for task in done))
        return rounds

    async with world.deploy(body) as env:
        got = await env.finish(await env.start(body))
    assert got[0] == ["after a"]
    assert got[-1] == ["after c"]
    assert sorted(sum(got[1:-1], [])) == ["after b", "after b2"]
    assert world.repeated == []
    assert len(world.effects) == 4


@law
async def test_L7_as_completed_yields_in_the_order_of_outcomes(world: World) -> None:
    @workflow(id="l7-as-completed")
    async def body(ctx: WorkflowContext) -> list[Any]:
        waits = [ctx.step.wait_for_event(f"wait {n}", f"l7/{n}") for n in range(3)]
        got = []
        for finished in asyncio.as_completed(waits):
            got.append((await finished).data)
            await ctx.step.run(f"note {len(got)}", world.effect)
        return got

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        for n in (2, 0, 1):
            await env.publish(f"l7/{n}", n)
            await env.advance(seconds=1)
        assert await env.finish(handle) == [2, 0, 1]
    assert world.repeated == []


@law
async def test_L7_a_semaphore_limits_what_runs_at_once(world: World) -> None:
    lock, running, most = threading.Lock(), 0, 0

    def work(n: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1
        world.effect()
        return n

    @workflow(id="l7-semaphore")
    async def body(ctx: WorkflowContext) -> list[int]:
        limit = asyncio.Semaphore(2)

        async def one(n: int) -> int:
            async with limit:
                if n == 3:
                    await ctx.step.wait_for("long", minutes=1)
                return await ctx.step.run(f"step {n}", work, n)

        return await asyncio.gather(*(one(n) for n in range(8)))

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == list(range(8))
    assert most == 2
    assert world.repeated == []
    assert len(world.effects) == 8


@law
async def test_L7_a_task_left_behind_is_cancelled_at_the_end_of_the_body(world: World) -> None:
    @workflow(id="l7-left")
    async def body(ctx: WorkflowContext) -> str:
        async def watch() -> None:
            try:
                await ctx.step.wait_for_event("never", "l7/left")
            finally:
                await ctx.step.run("cleanup of the task", world.effect)

        task = asyncio.create_task(watch())
        await ctx.step.wait_for("pause", hours=1)
        assert not task.done()
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "done"
        assert world.ran("cleanup of the task") == 1
        assert world.waiters("l7/left") == [], "an event wakes nobody for it any more"


@law
async def test_L7_an_execution_that_waits_for_nothing_durable_fails_visibly(world: World) -> None:
    @workflow(id="l7-stuck")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", world.effect)
        await asyncio.Event().wait()

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        detail = await env.describe(handle)
    assert detail.status == "failed"
    assert detail.error is not None
    assert "nothing durable" in detail.error.message


@law
async def test_L7_a_raw_sleep_in_a_body_does_not_end_the_turn(world: World) -> None:
    @workflow(id="l7-sleep")
    async def body(ctx: WorkflowContext) -> str:
        await asyncio.sleep(0.003)
        await asyncio.to_thread(lambda: None)
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "a"
        assert (await env.describe(handle)).invocations == 1
