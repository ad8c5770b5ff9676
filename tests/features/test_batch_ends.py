"""SPEC 2.3: a batch whose children end in every way there is gives a result for each, in the order of the inputs."""

from __future__ import annotations

from typing import Any

from polos import BatchStepResult, BatchWorkflowInput, WorkflowContext, workflow
from tests.laws.worlds import World, law


@workflow(id="batch-ends-child", max_retries=0)
async def child(ctx: WorkflowContext, how: str) -> str:
    if how == "fails":
        raise ValueError("no")
    if how != "completes":
        await ctx.step.wait_for("long", days=1)
    return how


@workflow(id="batch-ends-parent")
async def parent(ctx: WorkflowContext) -> list[BatchStepResult]:
    ends = ("is cancelled", "completes", "times out", "fails", "is terminated", "completes")
    results = await ctx.step.batch_invoke_and_wait(
        "all",
        [
            BatchWorkflowInput(
                id="batch-ends-child", payload=how, run_timeout_seconds=600 if how == "times out" else None
            )
            for how in ends
        ],
    )
    await ctx.step.wait_for("replayed", hours=1)
    return results


@law
async def test_batch_with_children_that_end_in_every_way_gives_a_result_for_each_in_order(world: World) -> None:
    async with world.deploy(parent, child) as env:
        handle = await env.start(parent)
        await env.settle()
        children = (await env.describe(handle)).children
        payloads: dict[Any, str] = {(await env.describe(one)).payload: one for one in children}
        await env.cancel(payloads["is cancelled"])
        await env.client.terminate(payloads["is terminated"])
        results = await env.finish(handle)
        assert (await env.describe(handle)).invocations <= 4  # three of the fan-in, one of the wait after it
    assert [one.success for one in results] == [False, True, False, False, False, True]
    assert [one.result for one in results] == [None, "completes", None, None, None, "completes"]
    said = [(one.error or "").replace("_", " ").lower() for one in results]
    for text, word in zip(said, ["cancelled", "", "timed out", "valueerror: no", "cancelled", ""], strict=True):
        assert word in text
    assert {one.workflow_id for one in results} == {"batch-ends-child"}
