"""L4 edits: steps are found by key; inserting, removing and reordering leaves every other step's record valid."""

from __future__ import annotations

import pytest

from polos import WorkflowContext, workflow
from tests.laws.worlds import World, law

PLANS = {
    "the same": ["a", "b", "|", "c"],
    "inserted before the suspension": ["new", "a", "b", "|", "c"],
    "inserted between": ["a", "new", "b", "|", "c"],
    "inserted after the suspension": ["a", "b", "|", "new", "c"],
    "removed before the suspension": ["b", "|", "c"],
    "removed after the suspension": ["a", "b", "|"],
    "all removed": ["|"],
    "reordered": ["b", "a", "|", "c"],
    "moved behind the suspension": ["|", "c", "b", "a"],
    "a new suspension before": ["a", "|new", "b", "|", "c"],
    "the suspension removed": ["a", "b", "c"],
    "a loop grown": ["a", "b", "n1", "n2", "n3", "|", "c"],
}


@pytest.mark.parametrize("plan", [*PLANS])
@law
async def test_L4_an_edit_leaves_every_other_record_valid(world: World, plan: str) -> None:
    async def play(ctx: WorkflowContext, keys: list[str]) -> list[str]:
        got = []
        for key in keys:
            if key.startswith("|"):
                await ctx.step.wait_for(f"pause{key}", hours=1)
            else:
                got.append(await ctx.step.run(key, world.effect))
        return got

    @workflow(id="l4")
    async def body(ctx: WorkflowContext) -> list[str]:
        return await play(ctx, PLANS["the same"])

    old = body

    @workflow(id="l4")
    async def body(ctx: WorkflowContext) -> list[str]:
        return await play(ctx, PLANS[plan])

    async with world.deploy(old) as env:
        handle = await env.start(old)
        await env.advance(minutes=30)
        assert [key for key, _ in world.effects] == ["a", "b"]
        env.deploy(body)
        assert await env.finish(handle) == [key for key in PLANS[plan] if not key.startswith("|")]
    assert world.ran("a") == world.ran("b") == 1
    assert all(world.ran(key) == 1 for key in PLANS[plan] if not key.startswith("|"))


@law
async def test_L4_an_edit_of_another_branch_leaves_a_recorded_race_valid(world: World) -> None:
    import asyncio

    @workflow(id="l4-race")
    async def body(ctx: WorkflowContext) -> list[str]:
        got = await asyncio.gather(ctx.step.run("a", world.effect), ctx.step.run("b", world.effect))
        got.append(await ctx.step.run("c", world.effect))
        await ctx.step.wait_for("pause", hours=1)
        return got

    old = body

    @workflow(id="l4-race")
    async def body(ctx: WorkflowContext) -> list[str]:
        got = await asyncio.gather(ctx.step.run("b", world.effect), ctx.step.run("a", world.effect))
        await ctx.step.wait_for("pause", hours=1)
        got.append(await ctx.step.run("d", world.effect))
        return got

    async with world.deploy(old) as env:
        handle = await env.start(old)
        await env.settle()
        env.deploy(body)
        assert await env.finish(handle) == ["b", "a", "d"]
    assert [world.ran(key) for key in "abcd"] == [1, 1, 1, 1]
