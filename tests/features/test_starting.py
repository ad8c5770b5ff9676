"""SPEC 4: an execution is started once by its id, with what it was given; on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from polos import InvalidPayloadError, WorkflowContext, workflow
from tests.features.listing import listed
from tests.features.orders import Order, Tally
from tests.laws.worlds import World, law


@law
async def test_start_with_the_same_id_starts_once_and_gives_the_same_execution(world: World) -> None:
    @workflow(id="exec-once")
    async def body(ctx: WorkflowContext, order: Order) -> str:
        return await ctx.step.run("work", world.effect, order.item)

    async with world.deploy(body) as env:
        first = await env.start(body, Order(item="hat"), id="order-1")
        second = await env.start(body, {"item": "hat"}, id="order-1")
        assert (first.id, second.id) == ("order-1", "order-1")
        assert await env.finish(second) == "hat"
        third = await env.start(body, Order(item="hat"), id="order-1")
        assert await env.finish(third) == "hat"
        await env.settle()
        assert third.created_at == first.created_at
    assert world.ran("work") == 1


@law
async def test_start_with_the_same_id_and_another_payload_is_refused_and_the_first_stands(world: World) -> None:
    @workflow(id="exec-first")
    async def body(ctx: WorkflowContext, order: Order) -> str:
        return order.item

    @workflow(id="exec-other")
    async def other(ctx: WorkflowContext, order: Order) -> str:
        return "other"

    async with world.deploy(body, other) as env:
        handle = await env.start(body, Order(item="hat"), id="o")
        with pytest.raises(InvalidPayloadError, match="another payload; that one stands"):
            await env.start(body, Order(item="shoe"), id="o")
        with pytest.raises(InvalidPayloadError, match="belongs to workflow 'exec-first'"):
            await env.start(other, Order(item="hat"), id="o")
        assert await env.finish(handle) == "hat"
        with pytest.raises(InvalidPayloadError, match="another payload"):
            await env.start(body, Order(item="shoe"), id="o")
        assert len(await listed(env)) == 1


@law
async def test_start_carries_session_user_tags_and_state(world: World) -> None:
    @workflow(id="exec-child-of-session")
    async def child(ctx: WorkflowContext) -> tuple[str | None, str | None]:
        return ctx.session_id, ctx.user_id

    @workflow(id="exec-session", state_schema=Tally)
    async def body(ctx: WorkflowContext) -> list[Any]:
        return [ctx.session_id, ctx.user_id, ctx.state.count, await ctx.step.invoke_and_wait("c", child)]

    async with world.deploy(body, child) as env:
        handle = await env.start(body, session_id="s", user_id="u", tags={"team": "a"}, initial_state=Tally(count=3))
        assert (handle.session_id, handle.user_id) == ("s", "u")
        assert await env.finish(handle) == ["s", "u", 3, ("s", "u")]
        detail = await env.describe(handle)
        assert (detail.session_id, detail.user_id, detail.tags) == ("s", "u", {"team": "a"})


@law
async def test_a_family_without_a_session_has_one_of_its_own(world: World) -> None:
    @workflow(id="exec-child-without-session")
    async def child(ctx: WorkflowContext) -> str:
        return ctx.session_id

    @workflow(id="exec-without-session")
    async def body(ctx: WorkflowContext, again: bool) -> list[str | None]:
        if again:
            await ctx.continue_as_new(False)
        handle = await ctx.step.invoke("h", child)
        return [ctx.session_id, handle.session_id, await ctx.step.invoke_and_wait("c", child)]

    async with world.deploy(body, child) as env:
        for first, again in (("a", False), ("b", True)):
            handle = await env.start(body, again, id=first)
            assert await env.finish(handle) == [first] * 3
            assert handle.session_id == (await env.describe(handle)).session_id == first
            assert (await env.client.get_execution(first))["session_id"] == first


@law
async def test_inputs_of_classes_defined_in_a_function_reach_children_and_forks(world: World) -> None:
    class Inner(BaseModel):
        n: int

    @workflow(id="exec-local-child")
    async def child(ctx: WorkflowContext, inner: Inner) -> int:
        return inner.n

    @workflow(id="exec-local")
    async def body(ctx: WorkflowContext, inner: Inner) -> int:
        return await ctx.step.invoke_and_wait("c", child, Inner(n=inner.n + 1))

    async with world.deploy(body, child) as env:
        handle = await env.start(body, Inner(n=1))
        assert await env.finish(handle) == 2
        assert await env.finish(await env.client.fork(handle.id, input=Inner(n=5))) == 6
