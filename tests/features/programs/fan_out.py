"""Children, batches, queues; a module whose annotations are strings."""

# ruff: noqa: T201

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from polos import (
    BatchStepResult,
    Polos,
    Queue,
    StepExecutionError,
    WorkflowContext,
    WorkflowTimeoutError,
    queue,
    workflow,
)
from polos import batch_invoke as start_many
from polos.types.types import BatchWorkflowInput

shared = queue("shared-queue", concurrency_limit=2)
other = Queue("other-queue", concurrency_limit=1)


class Part(BaseModel):
    n: int


@workflow(id="square", queue=shared)
async def square(ctx: WorkflowContext, part: Part) -> Part:
    if part.n < 0:
        raise StepExecutionError("negative")
    return Part(n=await ctx.step.run("square", lambda: part.n * part.n))


@workflow(id="fan-out", queue=other)
async def fan_out(ctx: WorkflowContext, payload: dict | None = None) -> list[int]:
    parts = [BatchWorkflowInput(id="square", payload={"n": n}) for n in (1, 2, -3, 4)]
    results: list[BatchStepResult] = await ctx.step.batch_invoke_and_wait("squares", parts)
    single = await ctx.step.invoke_and_wait("single", "square", Part(n=5), queue="shared-queue", concurrency_key="k")
    handles = await ctx.step.batch_invoke("more", [BatchWorkflowInput(id="square", payload=Part(n=6))])
    handle = await ctx.step.invoke("one", square, Part(n=7))
    assert handle.parent_execution_id == ctx.execution_id == handles[0].parent_execution_id
    try:
        await ctx.step.invoke_and_wait("bad", square, Part(n=-1))
    except StepExecutionError as error:
        print("caught", "negative" in str(error))
    return [r.result.n if r.success else 0 for r in results] + [single.n]


@workflow(id="slow")
async def slow(ctx: WorkflowContext) -> None:
    await ctx.step.wait_for("long", hours=1)


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        print(await fan_out.run(polos, {"a": 1}, timeout=30))
        handle = await polos.invoke(
            "square",
            {"n": 9},
            queue_name="shared-queue",
            queue_concurrency_limit=1,
            concurrency_key="user-1",
            session_id="s1",
        )
        for _ in range(100):
            if (await handle.get(polos))["status"] == "completed":
                break
            await asyncio.sleep(0.05)
        print((await polos.get_execution(handle.id))["result"].get("n"))
        handles = await start_many(polos, [BatchWorkflowInput(id="square", payload={"n": n}) for n in (2, 3)])
        print([(await one.result()).n for one in handles])
        try:
            await slow.run(polos, timeout=0.3)
        except WorkflowTimeoutError as error:
            print("timed out", (await polos.get_execution(error.execution_id))["status"])
        try:
            await square.run(polos, Part(n=-1))
        except RuntimeError as error:
            print("failed", "negative" in str(error))
        waiting = await slow.invoke(polos)
        await asyncio.sleep(0.2)
        print(await polos.cancel_execution(waiting.id), await asyncio.wait_for(_ended(polos, waiting.id), 5))


async def _ended(polos, execution_id):
    while (found := await polos.get_execution(execution_id))["completed_at"] is None:
        await asyncio.sleep(0.02)
    return found["status"]


if __name__ == "__main__":
    asyncio.run(main())
