"""SPEC 4: what a fork keeps of its source before a step, and what it refuses; on every backend."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from polos import BatchWorkflowInput, InvalidPayloadError, WorkflowContext, workflow
from polos.ports import ConditionFailed
from tests.features.listing import listed
from tests.features.orders import Order
from tests.laws.worlds import World, law


@law
async def test_fork_keeps_what_ended_before_a_step_and_leaves_the_source_alone(world: World) -> None:
    @workflow(id="exec-fork-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.run("child work", world.effect)
        return n

    @workflow(id="exec-fork")
    async def body(ctx: WorkflowContext, order: Order) -> list[Any]:
        one = await ctx.step.run("one", world.effect, 1)
        await ctx.step.wait_for("nap", hours=1)
        kid = await ctx.step.invoke_and_wait("kid", child, 2)
        many = await ctx.step.batch_invoke_and_wait(
            "kids", [BatchWorkflowInput(id="exec-fork-child", payload=n) for n in (3, 4)]
        )
        await ctx.step.wait_for("breath", hours=1)
        last = await ctx.step.run("last", world.effect, order.item)
        return [one, kid, [each.result for each in many], last]

    async with world.deploy(body, child) as env:
        handle = await env.start(body, Order(item="hat"))
        assert await env.finish(handle) == [1, 2, [3, 4], "hat"]
        before = world.records(handle)
        world.effects.clear()
        fork = await env.client.fork(handle.id, from_step="last")
        assert fork.id != handle.id
        assert await env.finish(fork) == [1, 2, [3, 4], "hat"]
        assert [key for key, _ in world.effects] == ["last"]

        world.effects.clear()
        fork = await env.client.fork(handle.id, from_step="last", input=Order(item="shoe"), results={"one": 11})
        assert await env.finish(fork) == [11, 2, [3, 4], "shoe"]
        assert [key for key, _ in world.effects] == ["last"]

        world.effects.clear()
        fork = await env.client.fork(handle.id, input={"item": "all anew"})
        assert await env.finish(fork) == [1, 2, [3, 4], "all anew"]
        assert sorted(key for key, _ in world.effects) == ["child work"] * 3 + ["last", "one"]
        assert world.records(handle) == before


@law
async def test_fork_from_a_batch_runs_the_batch_again(world: World) -> None:
    @workflow(id="exec-fork-batch-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        return await ctx.step.run("work", world.effect, n)

    @workflow(id="exec-fork-batch")
    async def body(ctx: WorkflowContext) -> int:
        inputs = [BatchWorkflowInput(id="exec-fork-batch-child", payload=n) for n in (3, 4)]
        await ctx.step.run("first", world.effect)
        await ctx.step.wait_for("breath", hours=1)
        return sum(one.result for one in await ctx.step.batch_invoke_and_wait("all", inputs))

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == 7
        fork = await env.client.fork(handle.id, from_step="all")
        assert await env.finish(fork) == 7
        assert len((await env.describe(fork)).children) == 2
        events = [event async for event in env.client.stream_workflow(body.id, fork.id)]
        assert events[-1].event_type == "workflow_finish"
    assert (world.ran("first"), world.ran("work")) == (1, 4)


@law
async def test_fork_refuses_what_the_source_does_not_have(world: World) -> None:
    @workflow(id="exec-fork-bad")
    async def body(ctx: WorkflowContext, order: Order) -> str:
        await ctx.step.run("one", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        return order.item

    async with world.deploy(body) as env:
        handle = await env.start(body, Order(item="hat"))
        await env.finish(handle)
        with pytest.raises(InvalidPayloadError, match="no step 'nowhere'"):
            await env.client.fork(handle.id, from_step="nowhere")
        with pytest.raises(InvalidPayloadError, match="no step 'two'"):
            await env.client.fork(handle.id, from_step="nap", results={"two": 2})
        with pytest.raises(InvalidPayloadError, match="count"):
            await env.client.fork(handle.id, input={"item": "hat", "count": "many"})
        assert len(await listed(env)) == 1


@law
async def test_no_put_of_a_fork_that_comes_once_more_undoes_what_the_fork_did(world: World) -> None:
    """The client library repeats a put whose reply was lost, and the first one may land long after the second."""

    @workflow(id="exec-fork-puts")
    async def body(ctx: WorkflowContext) -> list[int]:
        one = await ctx.step.run("one", world.effect, 1)
        await ctx.step.wait_for("nap", hours=1)
        return [one, await ctx.step.run("last", world.effect, 2)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.finish(handle)
        puts: list[tuple[Any, ...]] = []
        put = type(world.table).put

        def noted(table: Any, *put_what: Any) -> None:
            puts.append(put_what)
            put(table, *put_what)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(world.table), "put", noted)
            fork = await env.client.fork(handle.id, from_step="last")
        assert len(puts) >= 2
        assert await env.finish(fork) == [1, 2]
        before = world.records(fork)
        for one in puts:
            with contextlib.suppress(ConditionFailed):
                put(world.table, *one)
        assert world.records(fork) == before
