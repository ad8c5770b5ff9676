"""What comes from outside: native events, ticks that overlap, pauses of queues and workflows, large events, limits."""

from __future__ import annotations

import asyncio
from typing import Any

from polos import (
    BatchEventPayload,
    ChildWorkflowError,
    EventPattern,
    EventPayload,
    SchedulePayload,
    StepTimeoutError,
    WorkflowContext,
    schedules,
    workflow,
)
from polos.testing import Environment
from tests.chaos.corpus.case import Outside, Program, calm, case, noise, outcome
from tests.chaos.corpus.steps import to_the_end


@case("native events")
def native(outside: Outside) -> Program:
    few = EventPattern({"source": ["shop"], "detail": {"n": [{"numeric": ["<", 2]}]}})

    @workflow(id="native", trigger_on_event=few)
    async def body(ctx: WorkflowContext, event: EventPayload) -> Any:
        await ctx.step.wait_for("rest", minutes=1)
        return await ctx.step.run("a", outside.effect, event.data)

    async def drive(env: Environment) -> Any:
        for n in range(3):
            await env.put_event("shop", "Order placed", {"n": n}, event_id=f"e{n}")
        await calm(env)
        runs = await env.client.list_executions(workflow_id="native")
        return sorted([(await env.finish(run.id))["n"] for run in runs])

    return Program([body], drive)


@case("native batches", loose={"r#a"})  # how they are grouped depends on when they come
def native_batches(outside: Outside) -> Program:
    @workflow(
        id="native-batched",
        trigger_on_event=EventPattern({"source": ["counter"]}),
        batch_size=2,
        batch_timeout_seconds=60,
    )
    async def body(ctx: WorkflowContext, events: BatchEventPayload) -> Any:
        return await ctx.step.run("a", outside.effect, [event.data["n"] for event in events.events])

    async def drive(env: Environment) -> Any:
        for n in range(3):
            await env.put_event("counter", "Counted", {"n": n}, event_id=f"e{n}")
        await calm(env)
        runs = await env.client.list_executions(workflow_id="native-batched")
        taken = [await env.finish(run.id) for run in runs]
        assert all(0 < len(some) <= 2 for some in taken)
        return sorted(one for some in taken for one in some)

    return Program([body], drive)


@case("overlapping ticks")
def overlapping(outside: Outside) -> Program:
    @workflow(id="overlapping", schedule="0 6,8,20 1 1 *")
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> str:
        await ctx.step.run("a", outside.effect)
        await ctx.step.wait_for("rest", hours=5)
        return f"{tick.timestamp:%H:%M}"

    async def drive(env: Environment) -> Any:
        await env.advance(hours=30)
        runs = await env.client.list_executions(workflow_id="overlapping")
        return sorted([[run.status, await outcome(env.finish(run.id))] for run in runs], key=str)

    return Program([body], drive)


@case("schedule made at run time")
def made_schedule(outside: Outside) -> Program:
    @workflow(id="on-demand", schedule=True)
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> str:
        return await ctx.step.run("a", outside.effect, f"{tick.key} {tick.timestamp:%H:%M}")

    async def drive(env: Environment) -> Any:
        for key in ("ada", "bob"):
            await schedules.create(env.client, body, "0 7 1 1 *" if key == "ada" else "30 7 1 1 *", key=key)
        await env.advance(hours=10)
        runs = await env.client.list_executions(workflow_id="on-demand")
        return sorted([await env.finish(run.id) for run in runs])

    return Program([body], drive)


@case("paused queue")
def paused_queue(outside: Outside) -> Program:
    @workflow(id="in-paused-queue", queue={"name": "chaos-paused", "concurrency_limit": 1})
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", outside.effect)
        await ctx.step.wait_for("rest", minutes=50)
        return await ctx.step.run("b", outside.effect)

    async def drive(env: Environment) -> Any:
        handles = [await env.start(body, id="run0")]
        await calm(env)
        await env.client.pause_queue("chaos-paused")
        handles.append(await env.start(body, id="run1"))
        await env.advance(hours=3)
        held = [(await env.describe(handle)).status in ("queued", "waiting") for handle in handles]
        await env.client.unpause_queue("chaos-paused")
        return [held, [await env.finish(handle) for handle in handles]]

    return Program([body], drive)


@case("paused workflow")
def paused_workflow(outside: Outside) -> Program:
    @workflow(id="all-paused")
    async def body(ctx: WorkflowContext) -> Any:
        event = await ctx.step.wait_for_event("event", "chaos-paused")
        return [event.data, await ctx.step.run("a", outside.effect)]

    async def drive(env: Environment) -> Any:
        handles = [await env.start(body, id="run0")]
        await calm(env)
        await env.client.pause_workflow("all-paused")
        handles.append(await env.start(body, id="run1"))
        await env.publish("chaos-paused", 1, event_id="e1")
        await env.advance(hours=3)
        held = [(await env.describe(handle)).status in ("queued", "waiting") for handle in handles]
        await env.client.unpause_workflow("all-paused")
        return [held, [await env.finish(handle) for handle in handles]]

    return Program([body], drive)


@case("large events")
def large_events(outside: Outside) -> Program:
    said, answered = noise(130_000, "said"), noise(130_000, "answered")

    @workflow(id="large-events")
    async def body(ctx: WorkflowContext) -> list[Any]:
        event = await ctx.step.wait_for_event("event", "large")
        resumed = await ctx.step.suspend("gate", {"shown": said})
        await ctx.step.publish_event("say", "large-said", event.data)
        heard = await ctx.step.wait_for_event("hear", "large-said")
        return [heard.data == said, resumed["data"] == answered, await ctx.step.run("a", outside.effect, event.data)]

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        await env.publish("large", said, event_id="e1")
        await calm(env)
        await env.resume(handle, "gate", answered)
        result = await env.finish(handle)
        return [*result[:2], result[2] == said]

    return Program([body], drive)


@case("child time limit")
def child_limit(outside: Outside) -> Program:
    @workflow(id="limited-child")
    async def child(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("for ever", days=100)
        finally:
            await ctx.step.run("clean up", outside.effect)

    @workflow(id="limiting")
    async def body(ctx: WorkflowContext) -> list[Any]:
        try:
            await ctx.step.invoke_and_wait("child", child, run_timeout_seconds=3600)
        except ChildWorkflowError as error:
            return [error.status, await ctx.step.run("mend", outside.effect)]
        return []

    return to_the_end(body, child)


@case("cancelled anywhere")  # `sweep.cancels` cancels it at every request
def cancelled_anywhere(outside: Outside) -> Program:
    @workflow(id="undoing-child")
    async def child(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("child waits", minutes=2)
        return await ctx.step.run("child", outside.effect)

    @workflow(id="undoing")
    async def body(ctx: WorkflowContext) -> str:
        done: list[str] = []
        try:
            for key in ("reserve", "charge"):
                done.append(key)
                await ctx.step.run(key, outside.effect)
            both = asyncio.gather(ctx.step.invoke_and_wait("child", child), ctx.step.wait_for("wait", minutes=1))
            await both
            done.append("pack")
            await ctx.step.run("pack", outside.effect)
            await ctx.step.suspend("gate", {}, timeout=60)
        except StepTimeoutError:
            return "completed"
        except asyncio.CancelledError:
            for key in reversed(done):
                await ctx.step.run(f"undo {key}", outside.effect)
                await ctx.step.wait_for(f"rest {key}", seconds=5)
            raise
        return "resumed"

    return to_the_end(body, child)
