"""L3 keys: a key names one step of an execution, and one kind of step for ever."""

from __future__ import annotations

from typing import Any

import pytest

from polos import DuplicateStepKeyError, WorkflowContext, WorkflowFailedError, workflow
from tests.laws.worlds import World, law


@law
async def test_L3_a_key_used_twice_is_an_error_even_with_the_same_function(world: World) -> None:
    @workflow(id="l3-twice")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("same", world.effect)
        await ctx.step.run("same", world.effect)

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowFailedError, match="'same' was used twice") as caught:
            await env.finish(await env.start(body))
    assert caught.value.error_type == "DuplicateStepKeyError"
    assert world.ran("same") == 1


@law
async def test_L3_a_duplicate_key_is_found_whatever_kinds_share_it_and_live_as_on_replay(world: World) -> None:
    found: list[str] = []

    @workflow(id="l3-kinds")
    async def body(ctx: WorkflowContext) -> int:
        await ctx.step.run("key", world.effect)
        for again in (
            ctx.step.wait_for("key", seconds=1),
            ctx.step.uuid("key"),
            ctx.step.suspend("key"),
            ctx.step.wait_for_event("key", "l3/topic"),
            ctx.step.publish_event("key", "l3/topic", 1),
            ctx.step.invoke("key", "l3-kinds"),
        ):
            try:
                await again
            except DuplicateStepKeyError as error:
                found.append(error.step_key)
        await ctx.step.wait_for("pause", hours=1)
        return len(found)

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == 12
    assert found == ["key"] * 12


KINDS: dict[str, Any] = {
    "step": lambda ctx: ctx.step.run("key", str),
    "timer": lambda ctx: ctx.step.wait_for("key", seconds=1),
    "timer still open": lambda ctx: ctx.step.wait_for("key", days=9),
    "uuid": lambda ctx: ctx.step.uuid("key"),
    "publish": lambda ctx: ctx.step.publish_event("key", "l3/changed", 1),
    "suspend": lambda ctx: ctx.step.suspend("key"),
    "child": lambda ctx: ctx.step.invoke_and_wait("key", "l3-leaf"),
    "invoke": lambda ctx: ctx.step.invoke("key", "l3-leaf"),
}


@pytest.mark.parametrize("before", [*KINDS])
@law
async def test_L3_a_changed_kind_under_a_key_fails_the_execution(world: World, before: str) -> None:
    after = "uuid" if before == "step" else "step"

    @workflow(id="l3-leaf")
    async def leaf(ctx: WorkflowContext) -> None:
        return None

    @workflow(id="l3-changed")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("first", seconds=1)
        if before in ("suspend", "timer still open"):
            import asyncio

            task = asyncio.ensure_future(KINDS[before](ctx))
            await ctx.step.wait_for("pause", hours=1)
            task.cancel()
            return
        await KINDS[before](ctx)
        await ctx.step.wait_for("pause", hours=1)

    old = body

    @workflow(id="l3-changed")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("first", seconds=1)
        await KINDS[after](ctx)
        world.effects.append(("went on", ""))

    async with world.deploy(old, leaf) as env:
        handle = await env.start(old)
        await env.advance(minutes=30)
        env.deploy(body)
        with pytest.raises(WorkflowFailedError, match="recorded as") as caught:
            await env.finish(handle)
    assert caught.value.error_type == "NonDeterminismError"
    assert "'key'" in str(caught.value)
    assert not world.effects


@law
async def test_L3_a_race_that_the_code_no_longer_holds_fails_the_execution(world: World) -> None:
    @workflow(id="l3-race")
    async def body(ctx: WorkflowContext) -> None:
        import asyncio

        await asyncio.gather(ctx.step.run("a", world.effect), ctx.step.run("b", world.effect))
        await ctx.step.run("c", world.effect)
        await ctx.step.wait_for("pause", hours=1)

    old = body

    @workflow(id="l3-race")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("new", days=1)
        await ctx.step.run("c", world.effect)

    async with world.deploy(old) as env:
        handle = await env.start(old)
        await env.settle()
        assert any(sk.startswith("o#") for sk in world.records(handle))
        env.deploy(body)
        with pytest.raises(WorkflowFailedError) as caught:
            await env.finish(handle)
    assert caught.value.error_type == "NonDeterminismError"
