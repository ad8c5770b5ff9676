"""Waits: timers, events, resumes, races between them, and what comes at the same time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from polos import StepTimeoutError, WorkflowContext, workflow
from polos.testing import Environment
from tests.chaos.corpus.case import Outside, Program, calm, case, outcome
from tests.chaos.corpus.steps import to_the_end


@case("timers")
def timers(outside: Outside) -> Program:
    @workflow(id="timers")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nothing", seconds=0)
        await ctx.step.wait_for("short", seconds=40)
        await ctx.step.run("a", outside.effect)
        await ctx.step.wait_until("day", datetime(2030, 1, 2, tzinfo=UTC))
        return await ctx.step.run("b", outside.effect)

    return to_the_end(body)


@case("events")
def events(outside: Outside) -> Program:
    @workflow(id="events")
    async def body(ctx: WorkflowContext) -> list[Any]:
        first = await ctx.step.wait_for_event("first", "news")
        second = await ctx.step.wait_for_event("second", "news", event_type="big")
        got = [first.data, second.data, await ctx.step.run("a", outside.effect)]
        try:
            await ctx.step.wait_for_event("never", "silence", timeout=7200)
        except StepTimeoutError:
            got.append("silence")
        return got

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        await env.publish("news", 1, event_type="big", event_id="e1")
        await calm(env)
        await env.publish("news", 2, event_id="e2")
        await env.publish("news", 3, event_type="big", event_id="e3")
        return await env.finish(handle)

    return Program([body], drive)


@case("event or timer")
def race(outside: Outside) -> Program:
    @workflow(id="event-or-timer")
    async def body(ctx: WorkflowContext, name: str) -> str:
        event = asyncio.create_task(ctx.step.wait_for_event("event", f"go/{name}"))
        timer = asyncio.create_task(ctx.step.wait_for("timer", hours=2))
        await asyncio.wait({event, timer}, return_when=asyncio.FIRST_COMPLETED)
        won = "event" if event.done() else "timer"
        (timer if event.done() else event).cancel()
        await ctx.step.run(f"won by {won}", outside.effect)
        await ctx.step.wait_for("rest", hours=3)
        return await ctx.step.run("end", outside.effect, won)

    async def drive(env: Environment) -> Any:
        early, late = await env.start(body, "early", id="early"), await env.start(body, "late", id="late")
        await calm(env)
        await env.publish("go/early", None, event_id="e1")
        await env.advance(hours=3)
        await env.publish("go/late", None, event_id="e2")
        return [await env.finish(early), await env.finish(late)]

    return Program([body], drive)


@case("resumed")
def resumed(outside: Outside) -> Program:
    @workflow(id="resumed")
    async def body(ctx: WorkflowContext) -> list[Any]:
        got = [(await ctx.step.suspend("early", {"ask": 1}))["data"], await ctx.step.run("a", outside.effect)]
        got.append((await ctx.step.suspend("late", {"ask": 2}, timeout=86_400))["data"])
        try:
            await ctx.step.suspend("never", {"ask": 3}, timeout=60)
        except StepTimeoutError:
            got.append("expired")
        return got

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        await env.resume(handle, "early", "before it was asked")
        await calm(env)
        await env.resume(handle, "late", ["yes", 1])
        return await env.finish(handle)

    return Program([body], drive)


@case("resumed by another")
def resumed_by_another(outside: Outside) -> Program:
    @workflow(id="asks")
    async def asks(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask", {"q": 1}))["data"]

    @workflow(id="answers")
    async def answers(ctx: WorkflowContext) -> str:
        await ctx.step.run("think", outside.effect)
        await ctx.step.resume("answer", "ask", "asking", "asks", [1, 2])
        return await ctx.step.run("after", outside.effect)

    async def drive(env: Environment) -> Any:
        asking, answering = await env.start(asks, id="asking"), await env.start(answers, id="answering")
        return [await env.finish(answering), await env.finish(asking)]

    return Program([asks, answers], drive)


@case("published")
def published(outside: Outside) -> Program:
    @workflow(id="speaks")
    async def speaks(ctx: WorkflowContext) -> str:
        await ctx.step.publish_event("say", "said", {"text": "hello"}, event_type="word")
        await ctx.step.publish_workflow_event("aside", {"text": "to whom it may concern"})
        return await ctx.step.run("after", outside.effect)

    @workflow(id="listens")
    async def listens(ctx: WorkflowContext) -> list[Any]:
        heard = await ctx.step.wait_for_event("hear", "said")
        again = asyncio.create_task(ctx.step.wait_for_event("again", "said"))
        rest = asyncio.create_task(ctx.step.wait_for("rest", hours=5))
        await asyncio.wait({again, rest}, return_when=asyncio.FIRST_COMPLETED)
        return [heard.data, heard.event_type, again.done()]

    async def drive(env: Environment) -> Any:
        listening, speaking = await env.start(listens, id="listening"), await env.start(speaks, id="speaking")
        return [await env.finish(speaking), await env.finish(listening)]

    return Program([speaks, listens], drive)


@case("at the same time")
def concurrent(outside: Outside) -> Program:
    @workflow(id="concurrent")
    async def body(ctx: WorkflowContext) -> list[Any]:
        async def part(name: str) -> str:
            await ctx.step.run(f"{name} first", outside.effect)
            await ctx.step.wait_for(f"{name} rest", minutes=len(name))
            return await ctx.step.run(f"{name} last", outside.effect)

        got = list(await asyncio.gather(part("a"), part("bb"), part("cc")))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ctx.step.run(f"grouped {n}", outside.effect, n)) for n in range(3)]
        got += [task.result() for task in tasks]
        for first in asyncio.as_completed(
            [ctx.step.wait_for("late", seconds=90), ctx.step.wait_for("soon", seconds=30)]
        ):
            await first
            got.append(await ctx.step.run(f"woken {len(got)}", outside.effect))
        return got

    return to_the_end(body)


@case("time limit")
def time_limit(outside: Outside) -> Program:
    @workflow(id="time-limited")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", outside.effect)
        try:
            await ctx.step.wait_for("for ever", days=300)
        finally:
            await ctx.step.run("clean up", outside.effect)
            await ctx.step.wait_for("pause", seconds=30)
            await ctx.step.run("goodbye", outside.effect)

    return to_the_end(body, run_timeout_seconds=7200)


async def _ended(env: Environment, *handles: Any) -> list[Any]:
    await env.advance(days=2)
    return [[(await env.describe(one)).status, await outcome(env.finish(one))] for one in handles]


def cancelled(outside: Outside, name: str, *, settled: bool, terminate: bool = False) -> Program:
    """A cancel that comes before anything ran, or while it waits."""

    @workflow(id=name)
    async def child(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("child waits", days=1)
        finally:
            await ctx.step.run("child cleans up", outside.effect)

    @workflow(id=f"{name}-parent")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.run("a", outside.effect)
            await asyncio.gather(
                ctx.step.invoke_and_wait("child", child),
                ctx.step.wait_for("wait", days=1),
                ctx.step.wait_for_event("event", f"{name}/never"),
                ctx.step.suspend("ask", {}),
            )
        finally:
            await ctx.step.run("undo a", outside.effect)
            await ctx.step.wait_for("rest", minutes=5)
            await ctx.step.run("undone", outside.effect)

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        if settled:
            await calm(env)
        if terminate:
            await env.client.terminate(handle.id)
            await calm(env)
            await env.publish(f"{name}/never", None, event_id="e1")  # removes the waiter
        else:
            await env.cancel(handle)
        return await _ended(env, handle, *(["run/child"] if settled else []))

    return Program([body, child], drive)


@case("cancelled while it waits")
def cancelled_waiting(outside: Outside) -> Program:
    return cancelled(outside, "cancelled-waiting", settled=True)


@case("cancelled before it began", loose={"run", "run/child"})  # it may begin before a cancel whose handler died
def cancelled_unstarted(outside: Outside) -> Program:
    return cancelled(outside, "cancelled-unstarted", settled=False)


@case("terminated")
def terminated(outside: Outside) -> Program:
    return cancelled(outside, "terminated", settled=True, terminate=True)


@case("cancelled in its cleanup")
def cancelled_in_cleanup(outside: Outside) -> Program:
    @workflow(id="cancelled-in-cleanup", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("wait", minutes=5)
            raise ValueError("on its own")
        finally:
            await ctx.step.wait_for("rest", hours=5)
            await ctx.step.run("clean up", outside.effect)

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        await calm(env)
        await env.cancel(handle)
        return await _ended(env, handle)

    return Program([body], drive)


@case("paused")
def paused(outside: Outside) -> Program:
    @workflow(id="paused")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", outside.effect)
        await ctx.step.wait_for("wait", hours=1)
        return await ctx.step.run("b", outside.effect)

    async def drive(env: Environment) -> Any:
        handle = await env.start(body, id="run")
        await calm(env)
        await env.client.pause(handle.id)
        await env.advance(hours=3)
        status = (await env.describe(handle)).status
        await env.client.unpause(handle.id)
        return [status, await env.finish(handle)]

    return Program([body], drive)
