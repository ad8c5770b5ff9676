"""Executions that start others: children, batches, queues, triggers, schedules, successors; retries and forks."""

from __future__ import annotations

import asyncio
from typing import Any

import polos
from polos import (
    BatchEventPayload,
    BatchWorkflowInput,
    ChildWorkflowError,
    EventPayload,
    SchedulePayload,
    WorkflowContext,
    workflow,
)
from polos.testing import Environment
from tests.chaos.corpus.case import Outside, Program, calm, case, outcome
from tests.chaos.corpus.steps import to_the_end


@case("nested children")
def nested(outside: Outside) -> Program:
    @workflow(id="grandchild")
    async def grandchild(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.wait_for("rest", minutes=n)
        return await ctx.step.run("leaf", outside.effect, n * 10)

    @workflow(id="nested-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        if n > 2:
            raise ValueError(f"{n} is too many")
        both = await asyncio.gather(
            ctx.step.invoke_and_wait("left", grandchild, n), ctx.step.invoke_and_wait("right", grandchild, n + 1)
        )
        return sum(both)

    @workflow(id="nested")
    async def body(ctx: WorkflowContext) -> list[Any]:
        got: list[Any] = [await ctx.step.invoke_and_wait("one", child, 1)]
        try:
            await ctx.step.invoke_and_wait("three", child, 3)
        except ChildWorkflowError as error:
            got += [error.status, await ctx.step.run("mend", outside.effect)]
        handle = await ctx.step.invoke("free", grandchild, 7)
        return [*got, handle.id]

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        result = await env.finish(handle)
        await calm(env)
        return [result, await env.finish("run/free")]

    return Program([body, child, grandchild], drive)


@case("batch")
def batch(outside: Outside) -> Program:
    @workflow(id="batch-child", max_retries=0)
    async def child(ctx: WorkflowContext, n: int) -> int:
        if n == 2:
            raise ValueError("no twos")
        return await ctx.step.run("one", outside.effect, n)

    @workflow(id="batch")
    async def body(ctx: WorkflowContext) -> list[Any]:
        inputs = [BatchWorkflowInput(id="batch-child", payload=n) for n in range(4)]
        got: list[Any] = [[one.success, one.result] for one in await ctx.step.batch_invoke_and_wait("all", inputs)]
        handles = await ctx.step.batch_invoke("free", inputs[:1])
        return [*got, [handle.id for handle in handles], await ctx.step.run("after", outside.effect)]

    return to_the_end(body, child)


@case("first of two children", loose={"r#slow", "s#slow"})
def first_child(outside: Outside) -> Program:
    @workflow(id="racing-child")
    async def child(ctx: WorkflowContext, hours: int) -> int:
        await ctx.step.wait_for("rest", hours=hours)
        return await ctx.step.run("done", outside.effect, hours)

    @workflow(id="racing")
    async def body(ctx: WorkflowContext) -> list[Any]:
        tasks = {
            asyncio.create_task(ctx.step.invoke_and_wait("quick", child, 1), name="quick"),
            asyncio.create_task(ctx.step.invoke_and_wait("slow", child, 4), name="slow"),
        }
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        won = next(iter(done))
        await ctx.step.run(f"won by {won.get_name()}", outside.effect)
        for task in left:
            task.cancel()
        await ctx.step.wait_for("rest", hours=6)
        return [won.get_name(), won.result(), await ctx.step.run("end", outside.effect)]

    return to_the_end(body, child)


@case("queue of one")
def queue_of_one(outside: Outside) -> Program:
    @workflow(id="one-at-a-time", queue={"name": "chaos-one", "concurrency_limit": 1})
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", outside.effect)
        await ctx.step.wait_for("rest", minutes=1)
        return await ctx.step.run("b", outside.effect)

    async def drive(env: Environment) -> Any:
        handles = [await env.start(body, id=f"run{n}") for n in range(3)]
        return [await env.finish(handle) for handle in handles]

    return Program([body], drive)


@case("queue of children")
def queue_of_children(outside: Outside) -> Program:
    @workflow(id="queued-child", queue={"name": "chaos-children", "concurrency_limit": 1})
    async def child(ctx: WorkflowContext, n: int) -> int:
        return await ctx.step.run("one", outside.effect, n)

    @workflow(id="queueing")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return list(
            await asyncio.gather(
                *(ctx.step.invoke_and_wait(f"c{n}", child, n, concurrency_key=f"k{n % 2}") for n in range(4))
            )
        )

    return to_the_end(body, child)


@case("cancelled in a queue", loose={"run1"})  # it may get through before a cancel whose handler died
def cancelled_in_queue(outside: Outside) -> Program:
    @workflow(id="queued-cancel", queue={"name": "chaos-cancel", "concurrency_limit": 1})
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", outside.effect)
        return "done"

    async def drive(env: Environment) -> Any:
        handles = [await env.start(body, id=f"run{n}") for n in range(3)]
        await env.cancel(handles[1])
        await env.advance(hours=2)
        return [await outcome(env.finish(handle)) for handle in (handles[0], handles[2])]

    return Program([body], drive)


@case("triggered")
def triggered(outside: Outside) -> Program:
    @workflow(id="triggered", trigger_on_event="ordered")
    async def body(ctx: WorkflowContext, event: EventPayload) -> Any:
        await ctx.step.wait_for("rest", minutes=1)
        return await ctx.step.run("a", outside.effect, event.data)

    async def drive(env: Environment) -> Any:
        for n in range(2):
            await env.publish("ordered", n, event_id=f"e{n}")
        await calm(env)
        runs = await env.client.list_executions(workflow_id="triggered")
        return sorted([await env.finish(run.id) for run in runs])

    return Program([body], drive)


@case("event batches", loose={"r#a"})  # how they are grouped depends on when they come
def event_batches(outside: Outside) -> Program:
    @workflow(id="batched", trigger_on_event="counted", batch_size=2, batch_timeout_seconds=60)
    async def body(ctx: WorkflowContext, events: BatchEventPayload) -> Any:
        return await ctx.step.run("a", outside.effect, [event.data for event in events.events])

    async def drive(env: Environment) -> Any:
        for n in range(3):
            await env.publish("counted", n, event_id=f"e{n}")
        await calm(env)
        runs = await env.client.list_executions(workflow_id="batched")
        taken = [await env.finish(run.id) for run in runs]
        assert all(0 < len(some) <= 2 for some in taken)
        return sorted(one for some in taken for one in some)

    return Program([body], drive)


@case("schedule")
def schedule(outside: Outside) -> Program:
    @workflow(id="scheduled", schedule="0 6,12 1 1 *")
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> str:
        await ctx.step.run("a", outside.effect)
        await ctx.step.wait_for("rest", minutes=10)
        return f"{tick.timestamp:%d %H:%M} after {tick.last_timestamp or 'nothing'}"

    async def drive(env: Environment) -> Any:
        await env.advance(hours=15)
        runs = await env.client.list_executions(workflow_id="scheduled")
        return sorted([await env.finish(run.id) for run in runs])

    return Program([body], drive)


@case("as new")
def as_new(outside: Outside) -> Program:
    @workflow(id="as-new")
    async def body(ctx: WorkflowContext, n: int) -> list[Any]:
        event = await ctx.step.wait_for_event("event", "ticks")
        await ctx.step.run("a", outside.effect)
        if n < 2:
            await ctx.continue_as_new(n + 1)
        return [n, event.data]

    @workflow(id="as-new-parent")
    async def parent(ctx: WorkflowContext) -> Any:
        return await ctx.step.invoke_and_wait("loop", body, 0)

    async def drive(env: Environment) -> Any:
        handle = await env.start(parent, id="run")
        await calm(env)
        for n in range(3):
            await env.publish("ticks", n, event_id=f"e{n}")
            await calm(env)  # a later event may be delivered before one whose handler died
        return await env.finish(handle)

    return Program([parent, body], drive)


@case("retried after failure")
def retried(outside: Outside) -> Program:
    broken = [True]

    def charge() -> str:
        outside.effect()
        if broken[0]:
            raise ValueError("card refused")
        return "charged"

    @workflow(id="retried-child", max_retries=0)
    async def child(ctx: WorkflowContext) -> str:
        if broken[0]:
            raise ValueError("not today")
        return await ctx.step.run("one", outside.effect)

    @workflow(id="retried", max_retries=0)
    async def body(ctx: WorkflowContext) -> list[Any]:
        got: list[Any] = [await ctx.step.run("reserve", outside.effect)]
        try:
            got.append(await ctx.step.invoke_and_wait("child", child))
        except ChildWorkflowError as error:
            got.append(error.status)
        return [*got, await ctx.step.run("charge", charge, max_retries=0)]

    async def drive(env: Environment) -> Any:
        broken[0] = True
        handle = await env.start(body, id="run")
        first = await outcome(env.finish(handle))
        await calm(env)
        broken[0] = False
        await env.client.retry(handle.id)
        return [first, await outcome(env.finish(handle))]

    return Program([body, child], drive)


@case("forked")
def forked(outside: Outside) -> Program:
    @workflow(id="forked-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        return await ctx.step.run("one", outside.effect, n)

    @workflow(id="forked")
    async def body(ctx: WorkflowContext) -> list[Any]:
        got = [await ctx.step.run("a", outside.effect), await ctx.step.invoke_and_wait("child", child, 3)]
        await ctx.step.wait_for("rest", hours=1)
        return [*got, await ctx.step.run("last", outside.effect, polos.current_step is not None)]

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        first = await env.finish(handle)
        fork = await env.client.fork(handle.id, from_step="last")
        return [first, await env.finish(fork)]

    return Program([body, child], drive)
