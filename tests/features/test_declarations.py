"""SPEC 2.1: what a declaration means for the input, and for the end of a run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from polos import InvalidPayloadError, WorkflowContext, WorkflowDefinitionError, WorkflowFailedError, workflow
from tests.laws.worlds import World, law

if TYPE_CHECKING:
    from fractions import Fraction as OnlyForCheckers


class Order(BaseModel):
    item: str = "hat"


@law
async def test_without_a_payload_the_default_of_the_parameter_is_the_input(world: World) -> None:
    @workflow(id="default-dict")
    async def a_dict(ctx: WorkflowContext, given: dict[str, Any] = {"n": 1}) -> Any:  # noqa: B006
        await ctx.step.wait_for("a while", seconds=60)
        return given

    @workflow(id="default-none")
    async def a_none(ctx: WorkflowContext, given: dict[str, Any] = None) -> Any:  # type: ignore[assignment]
        return given

    @workflow(id="default-model")
    async def a_model(ctx: WorkflowContext, given: Order = Order(item="shoe")) -> Any:  # noqa: B008
        return given

    @workflow(id="default-untyped")
    async def untyped(ctx, given=7):  # type: ignore[no-untyped-def]
        return given

    async with world.deploy(a_dict, a_none, a_model, untyped) as env:
        got = [await env.finish(await env.start(one)) for one in (a_dict, a_none, a_model, untyped)]
        assert got == [{"n": 1}, None, Order(item="shoe"), 7]
        assert await env.finish(await env.start(a_dict, {"n": 2})) == {"n": 2}
        assert await env.finish(await env.start(untyped, 8)) == 8
        with pytest.raises(InvalidPayloadError, match="item"):
            await env.start(a_model, {"item": 5})


@law
async def test_a_workflow_without_input_takes_an_empty_dict_for_no_payload(world: World) -> None:
    @workflow(id="no-input")
    async def body(ctx: WorkflowContext) -> str:
        return "ran"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, {})) == "ran"
        with pytest.raises(InvalidPayloadError, match="takes no input"):
            await env.start(body, {"a": 1})


@law
async def test_names_for_type_checkers_only_may_stand_in_the_result_and_not_in_the_input(world: World) -> None:
    @workflow(id="checkers-result")
    async def result(ctx: WorkflowContext, order: Order) -> OnlyForCheckers | Order:
        return order

    @workflow(id="checkers-input")
    async def given(ctx: WorkflowContext, number: OnlyForCheckers) -> None: ...

    async with world.deploy(result, given) as env:
        assert await env.finish(await env.start(result, {"item": "coat"})) == Order(item="coat")
        with pytest.raises(WorkflowDefinitionError, match="OnlyForCheckers.*TYPE_CHECKING"):
            await env.start(given, 1)
        assert len(await env.client.list_executions()) == 1


@law
async def test_a_task_group_of_recorded_failures_is_not_run_again_and_one_of_others_is(world: World) -> None:
    def refuse() -> None:
        raise ValueError("refused")

    @workflow(id="group")
    async def body(ctx: WorkflowContext, recorded: bool) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step.run("refuse", refuse, max_retries=0))
            if not recorded:
                group.create_task(_raises())

    async def _raises() -> None:
        raise KeyError("of the body")

    async with world.deploy(body) as env:
        for recorded, retries in ((True, 0), (False, 2)):
            handle = await env.start(body, recorded)
            with pytest.raises(WorkflowFailedError) as raised:
                await env.finish(handle)
            assert raised.value.error_type == "ExceptionGroup"
            assert (await env.describe(handle)).retry_count == retries
