"""L6 invisible: at a suspension no durable call acts and no `except Exception` handler runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from polos import WorkflowContext, workflow
from tests.laws.worlds import World, law


@law
async def test_L6_no_exception_handler_runs_at_a_suspension(world: World) -> None:
    caught: list[str] = []

    @workflow(id="l6-handlers")
    async def body(ctx: WorkflowContext) -> str:
        try:
            try:
                await ctx.step.wait_for("inner", hours=1)
            except Exception as error:  # noqa: BLE001
                caught.append(repr(error))
            await ctx.step.wait_for("outer", hours=1)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            caught.append(repr(error))
        return "done"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "done"
    assert caught == []


@law
async def test_L6_a_step_in_finally_runs_once_when_really_reached(world: World) -> None:
    @workflow(id="l6-finally")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.run("work", world.effect)
            await ctx.step.wait_for("pause", hours=1)
            await ctx.step.wait_for("pause again", hours=1)
            await ctx.step.run("more work", world.effect)
        finally:
            await ctx.step.run("cleanup", world.effect)
            await ctx.step.wait_for("pause in cleanup", hours=1)
            await ctx.step.run("last", world.effect)
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=90)
        assert [key for key, _ in world.effects] == ["work"]
        assert await env.finish(handle) == "done"
    assert [key for key, _ in world.effects] == ["work", "more work", "cleanup", "last"]


@law
async def test_L6_async_with_cleanup_runs_once_when_really_reached(world: World) -> None:
    @contextlib.asynccontextmanager
    async def room(ctx: WorkflowContext, name: str) -> AsyncGenerator[str]:
        await ctx.step.run(f"open {name}", world.effect)
        try:
            yield name
        except Exception:
            await ctx.step.run(f"failed in {name}", world.effect)
            raise
        finally:
            await ctx.step.run(f"close {name}", world.effect)

    @workflow(id="l6-with")
    async def body(ctx: WorkflowContext) -> str:
        async with room(ctx, "a"), room(ctx, "b") as b:
            await ctx.step.wait_for("pause", hours=1)
            await ctx.step.wait_for_event("event", "l6/topic")
        return b

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(hours=2)
        assert [key for key, _ in world.effects] == ["open a", "open b"]
        await env.publish("l6/topic")
        assert await env.finish(handle) == "b"
    assert [key for key, _ in world.effects] == ["open a", "open b", "close b", "close a"]


@law
async def test_L6_a_body_that_catches_everything_can_do_nothing_at_a_suspension(world: World) -> None:
    unwound: list[str] = []

    @workflow(id="l6-catch-all")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.wait_for("pause", hours=1)
        except BaseException as error:
            unwound.append(type(error).__name__)
            await ctx.step.run("never", world.effect)
            await ctx.step.publish_event("nor this", "l6/never", 1)
            await asyncio.sleep(0)
            await ctx.step.invoke("nor that", "l6-catch-all")
            raise
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "done"
        assert world.ran("never") == 0
        assert sorted(step.key for step in (await env.describe(handle)).steps) == ["pause"]
    assert unwound == ["Suspension"]


@law
async def test_L6_task_groups_are_unwound_without_a_trace(world: World) -> None:
    caught: list[str] = []

    @workflow(id="l6-groups")
    async def body(ctx: WorkflowContext) -> list[str]:
        async def one(name: str) -> None:
            try:
                await ctx.step.run(f"work {name}", world.effect)
                await ctx.step.wait_for(f"pause {name}", hours=1)
                await ctx.step.wait_for(f"pause again {name}", hours=1)
            except Exception as error:  # noqa: BLE001
                caught.append(repr(error))
            finally:
                await ctx.step.run(f"cleanup {name}", world.effect)

        try:
            async with asyncio.TaskGroup() as group:
                for name in "abc":
                    group.create_task(one(name))
                await ctx.step.wait_for("pause of the group", minutes=30)
        except* Exception as errors:  # noqa: BLE001
            caught.append(repr(errors))
        finally:
            await ctx.step.run("after all", world.effect)
        return [key for key, _ in world.effects]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=70)
        assert {key for key, _ in world.effects} == {"work a", "work b", "work c"}
        await env.finish(handle)
    assert caught == []
    assert world.effects[-1][0] == "after all"
    assert sorted(key for key, _ in world.effects) == sorted(
        [f"{what} {name}" for what in ("work", "cleanup") for name in "abc"] + ["after all"]
    )


@law
async def test_L6_an_async_generator_is_unwound_without_a_trace(world: World) -> None:
    @workflow(id="l6-generator")
    async def body(ctx: WorkflowContext) -> list[int]:
        async def numbers() -> AsyncGenerator[int]:
            try:
                for n in range(3):
                    await ctx.step.wait_for(f"pause {n}", hours=1)
                    yield n
            finally:
                await ctx.step.run("generator closed", world.effect)

        got = []
        async with contextlib.aclosing(numbers()) as source:
            async for n in source:
                got.append(n)
                await ctx.step.wait_for(f"between {n}", hours=1)
        return got

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == [0, 1, 2]
    assert world.ran("generator closed") == 1


@law
async def test_L6_the_body_is_unwound_on_the_thread_of_its_turn_at_once(world: World) -> None:
    import threading

    places: list[tuple[str, bool]] = []
    over = threading.Event()

    @workflow(id="l6-thread")
    async def body(ctx: WorkflowContext) -> None:
        here = threading.current_thread().name
        try:
            await ctx.step.wait_for("pause", hours=1)
        finally:
            places.append((threading.current_thread().name, over.is_set()))
            assert threading.current_thread().name == here

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        over.set()
        assert [late for _, late in places] == [False]
        await env.finish(handle)
    assert len(places) == 2
