"""The durable calls take upstream's names of their first parameters (SPEC, "run unmodified"), and those of here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from polos import BatchWorkflowInput, WorkflowContext, WorkflowFailedError, workflow
from tests.laws.worlds import World, law


async def shown(*args: Any, **named: Any) -> list[Any]:
    return [list(args), named]


@workflow(id="keywords-child")
async def child(ctx: WorkflowContext, number: int) -> int:
    return number + 1


@workflow(id="keywords-all")
async def all_calls(ctx: WorkflowContext) -> list[Any]:
    step: Any = ctx.step
    soon = ctx.created_at + timedelta(seconds=5)
    await step.wait_for(step_key="pause", seconds=1)
    await step.wait_until(step_key="until", timestamp=soon)
    await step.wait_until("also until", timestamp=soon)
    await step.publish_event(step_key="tell", topic="keywords/told", data={"a": 1})
    await step.publish_workflow_event(step_key="tell the run", data={})
    told = await step.wait_for_event(step_key="hear", topic="keywords/told")
    handle = await step.invoke(step_key="start", workflow=child, payload=1)
    results = await step.batch_invoke_and_wait(step_key="more", workflows=[BatchWorkflowInput(id=child.id, payload=2)])
    return [
        await step.run(step_key="all named", func=shown, x=1),
        await step.run("func named", func=shown, x=2),
        await step.run(key="as here", func=shown),
        told.data,
        handle.workflow_id,
        await step.invoke_and_wait(step_key="wait", workflow=child, payload=1),
        results[0].result,
        [isinstance(await getattr(step, name)(step_key=name), kind) for name, kind in RECORDED],
    ]


@workflow(id="keywords-of-the-function")
async def handed_on(ctx: WorkflowContext) -> Any:
    return await ctx.step.run("mine", shown, key=1, step_key=2, func=3)


@workflow(id="keywords-missing", max_retries=0)
async def missing(ctx: WorkflowContext) -> Any:
    step: Any = ctx.step
    return await step.run(func=shown)


RECORDED = (("uuid", str), ("now", int), ("random", float))


@law
async def test_every_call_takes_the_names_of_upstream(world: World) -> None:
    async with world.deploy(all_calls, child) as env:
        assert await env.finish(await env.start(all_calls)) == [
            [[], {"x": 1}],
            [[], {"x": 2}],
            [[], {}],
            {"a": 1},
            child.id,
            2,
            3,
            [True, True, True],
        ]


@law
async def test_a_keyword_of_the_same_name_reaches_the_function(world: World) -> None:
    async with world.deploy(handed_on) as env:
        assert await env.finish(await env.start(handed_on)) == [[], {"key": 1, "step_key": 2, "func": 3}]


@law
async def test_a_call_without_its_key_is_refused(world: World) -> None:
    async with world.deploy(missing) as env:
        with pytest.raises(WorkflowFailedError, match="missing"):
            await env.finish(await env.start(missing))
