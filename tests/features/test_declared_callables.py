"""SPEC 2.1: what may be decorated, how its annotations are read, and which time limit a call has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Optional

import pytest
from pydantic import BaseModel, Field

from polos import HookContext, HookResult, WorkflowContext, WorkflowTimeoutError, workflow
from tests.laws.worlds import World, law


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


@law
async def test_an_async_function_under_a_plain_decorator_is_a_workflow(world: World) -> None:
    @workflow(id="declared-under")
    @plainly
    async def body(ctx: WorkflowContext, number: int) -> int:
        return await ctx.step.run("add", lambda: number + 1)

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, 1)) == 2


class Order(BaseModel):
    item: str


async def nested(ctx: WorkflowContext, order: Any) -> list[str]:
    return [type(one).__name__ for one in (order if isinstance(order, list) else [order])]


@pytest.mark.parametrize(
    ("annotation", "payload", "found"),
    [(Optional["Order"], {"item": "hat"}, ["Order"]), (list["Order"], [{"item": "hat"}], ["Order"])],
)
@law
async def test_a_name_within_an_annotation_is_resolved(
    world: World, annotation: Any, payload: Any, found: list[str]
) -> None:
    async def function(ctx: WorkflowContext, order: Any) -> list[str]:
        return await nested(ctx, order)

    function.__annotations__["order"] = annotation
    body = workflow(id="declared-nested")(function)

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, payload)) == found


@law
async def test_run_leaves_the_declared_time_limit_unless_it_is_given_one(world: World) -> None:
    @workflow(id="declared-limit", timeout=5)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("long", seconds=60)
        return "done"

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowTimeoutError):
            await body.run(env.client)
        assert await body.run(env.client, timeout=600) == "done"


class Named(BaseModel):
    count: int = 1
    name: str = Field("default", alias="called")


@pytest.mark.parametrize("changed", [{"count": 2}, {"count": 2, "name": "Ada"}, {"count": 2, "called": "Ada"}])
@law
async def test_a_hook_may_change_a_field_of_a_model_whose_fields_have_aliases(
    world: World, changed: dict[str, Any]
) -> None:
    def change(ctx: WorkflowContext, hook_context: HookContext) -> HookResult:
        return HookResult.continue_with(modified_payload=changed)

    @workflow(id="declared-alias", on_start=change)
    async def body(ctx: WorkflowContext, named: Named) -> list[Any]:
        return [named.count, named.name]

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, {"called": "Bob"})) == [2, "Bob" if len(changed) == 1 else "Ada"]
