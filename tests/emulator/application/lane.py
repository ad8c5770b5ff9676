"""The application that the lane deploys. Importing it declares the seed page's workflows too."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import edits
import page
import storm

from polos import (
    BatchWorkflowInput,
    ChildWorkflowError,
    EventPayload,
    SchedulePayload,
    WorkflowContext,
    current_step,
    queue,
    workflow,
)

__all__ = ["edits", "page", "storm"]


@workflow
async def square(ctx: WorkflowContext, number: int) -> int:
    return await ctx.step.run("square", lambda: number * number)


@workflow
async def fan_out(ctx: WorkflowContext, count: int) -> int:
    results = await ctx.step.batch_invoke_and_wait(
        "squares", [BatchWorkflowInput(id="square", payload=number) for number in range(count)]
    )
    return sum(one.result for one in results)


@workflow
async def sleeper(ctx: WorkflowContext, seconds: float) -> int:
    before = await ctx.step.now("before")
    await ctx.step.wait_for("nap", seconds=seconds)
    return await ctx.step.now("after") - before


@workflow
async def patient(ctx: WorkflowContext) -> str:
    """A wait of more than a quarter of an hour, which is a schedule of EventBridge Scheduler."""
    await ctx.step.wait_for("long", minutes=17)
    return "awake"


@workflow(trigger_on_event="lane/order")
async def on_order(ctx: WorkflowContext, event: EventPayload) -> Any:
    return event.data


@workflow(id="slow-minute", schedule=True)
async def each_minute(ctx: WorkflowContext, tick: SchedulePayload) -> str:
    return tick.timestamp.isoformat()


@workflow
async def approval(ctx: WorkflowContext, document: str) -> str:
    answer = await ctx.step.suspend("ask", {"document": document})
    return str(answer["data"]["verdict"])


def make_large(size: int) -> str:
    return os.urandom(size // 2).hex()  # nothing that compresses into one item


@workflow
async def large(ctx: WorkflowContext, given: str) -> str:
    made = await ctx.step.run("make", make_large, len(given))
    await ctx.step.wait_for("nap", seconds=1)  # so that a second invocation reads it back
    return made + given


@workflow
async def guarded(ctx: WorkflowContext) -> None:
    try:
        await ctx.step.wait_for_event("never", topic="lane/never")
    finally:
        await ctx.step.run("undo", lambda: "undone")


@workflow(queue=queue("one-at-a-time", concurrency_limit=1))
async def in_line(ctx: WorkflowContext, seconds: float) -> list[float]:
    async def work() -> list[float]:
        began = time.time()
        await asyncio.sleep(seconds)
        return [began, time.time()]

    return await ctx.step.run("work", work)


@workflow
async def flaky(ctx: WorkflowContext, marker: str) -> str:
    """Fails until a file is there: the lane makes it before it retries."""

    def look() -> str:
        if not Path(marker).exists():
            raise FileNotFoundError(marker)
        return "found"

    return await ctx.step.run("look", look, max_retries=0)


def die_at_first(marker: str) -> int:
    count = _count(marker)
    if count == 1:
        os._exit(1)
    return count


def hang_at_first(marker: str) -> int:
    count = _count(marker)
    if count == 1:
        time.sleep(600)  # a thread, which nothing can cancel: it is left behind
    return count


def always_die(marker: str) -> None:
    _count(marker)
    os._exit(1)


def _count(marker: str) -> int:
    """How often this was called, told by a file, as the process is no more."""
    path = Path(marker)
    with path.open("a") as file:
        file.write("x")
    return len(path.read_text())


@workflow
async def killed(ctx: WorkflowContext, folder: str) -> list[int]:
    first = await ctx.step.run("before", _count, f"{folder}/before")
    second = await ctx.step.run("deadly", die_at_first, f"{folder}/deadly")
    return [first, second]


@workflow
async def overlong(ctx: WorkflowContext, folder: str) -> list[int]:
    first = await ctx.step.run("before", _count, f"{folder}/before")
    second = await ctx.step.run("endless", hang_at_first, f"{folder}/endless")
    return [first, second]


@workflow
async def stuck(ctx: WorkflowContext, folder: str) -> list[int]:
    first = await ctx.step.run("before", _count, f"{folder}/before")
    if _count(f"{folder}/body") == 1:
        time.sleep(600)  # code between steps holds everything up: the function runs into its timeout
    second = await ctx.step.run("after", _count, f"{folder}/after")
    return [first, second]


@workflow
async def doomed(ctx: WorkflowContext, folder: str) -> None:
    await ctx.step.run("deadly", always_die, f"{folder}/deadly")


@workflow
async def parent_of_failure(ctx: WorkflowContext, marker: str) -> str:
    try:
        return await ctx.step.invoke_and_wait("child", flaky, marker)
    except ChildWorkflowError as error:
        return f"child {error.status}"


@workflow
async def who_am_i(ctx: WorkflowContext) -> str:
    """What the code's environment is; the lane checks that its own did not leak into it."""
    return await ctx.step.run("look", lambda: f"{current_step().execution_id} {os.environ['POLOS_STACK_NAME']}")
