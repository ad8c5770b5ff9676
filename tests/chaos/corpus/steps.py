"""Steps of each kind: plain, drawn, retried, timed, at most once, large; and the whole execution tried again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

import polos
from polos import HookContext, HookResult, StepExecutionError, WorkflowContext, WorkflowState, hook, workflow
from polos.testing import Environment
from tests.chaos.corpus.case import Outside, Program, calm, case, noise, outcome


class Order(BaseModel):
    item: str
    count: int = 1


@dataclass
class Place:
    name: str
    near: tuple[int, ...]


class Tally(WorkflowState):
    count: int = 0


def to_the_end(*workflows: Any, payload: Any = None, **options: Any) -> Program:
    """Start the first one as `run`, and let it end."""

    async def drive(env: Environment) -> Any:
        handle = await env.start(workflows[0], payload, id="run", **options)
        return await outcome(env.finish(handle))

    return Program(workflows, drive)


@case("steps")
def steps(outside: Outside) -> Program:
    async def later(order: Order) -> Place:
        outside.effect()
        await asyncio.sleep(0)
        return Place(order.item, (order.count, 2))

    @workflow(id="steps")
    async def body(ctx: WorkflowContext, order: Order) -> list[Any]:
        first = await ctx.step.run("first", outside.effect, {"$": order.count})
        place = await ctx.step.run("place", later, order)
        days = await ctx.step.run("days", lambda: (outside.effect(), timedelta(days=place.near[0]))[1])
        return [first, place, days, ctx.is_replaying]

    return to_the_end(body, payload=Order(item="hat", count=3))


@case("drawn values", loose={"r#uuid", "r#now", "r#random", "r#seen"})
def drawn(outside: Outside) -> Program:
    @workflow(id="drawn")
    async def body(ctx: WorkflowContext) -> bool:
        before = [await ctx.step.uuid("uuid"), await ctx.step.now("now"), await ctx.step.random("random")]
        seen = await ctx.step.run("seen", outside.effect, before)
        await ctx.step.wait_for("pause", hours=2)
        return seen == before and await ctx.step.run("after", outside.effect, True)

    return to_the_end(body)


@case("durable backoff")
def backoff(outside: Outside) -> Program:
    def flaky() -> str:
        outside.effect()
        if polos.current_step().attempt < 3:
            raise OSError("not yet")
        return "done"

    @workflow(id="backoff")
    async def body(ctx: WorkflowContext) -> list[Any]:
        got = [await ctx.step.run("flaky", flaky, base_delay=60, max_delay=600)]
        try:
            await ctx.step.run("hopeless", lambda: 1 / outside.effect(0), max_retries=1, base_delay=30)
        except StepExecutionError as error:
            got += [error.error_type, error.attempts]
        return got

    return to_the_end(body)


@case("short retries")
def short(outside: Outside) -> Program:
    def flaky() -> str:
        outside.effect()
        if polos.current_step().attempt < 3:
            raise OSError("not yet")
        return "done"

    @workflow(id="short-retries")
    async def body(ctx: WorkflowContext) -> list[Any]:
        both = await asyncio.gather(
            ctx.step.run("flaky", flaky, base_delay=0.01, max_delay=0.02), ctx.step.run("other", outside.effect)
        )
        return [*both, await ctx.step.run("last", outside.effect)]

    return to_the_end(body)


@case("at most once", also=(["interrupted", "end"], ["charge", "end"]), never_again=True, loose={"r#charge"})
def at_most_once(outside: Outside) -> Program:
    @workflow(id="at-most-once")
    async def body(ctx: WorkflowContext) -> list[str]:
        try:
            got = await ctx.step.run("charge", outside.effect, at_most_once=True)
        except StepExecutionError as error:
            got = error.message
        return [got, await ctx.step.run("end", lambda: "end")]

    return to_the_end(body)


@case("large payloads")
def large(outside: Outside) -> Program:
    given, made, found = (noise(130_000, seed) for seed in ("given", "made", "found"))

    @workflow(id="large-child")
    async def child(ctx: WorkflowContext) -> str:
        return await ctx.step.run("find", outside.effect, found)

    @workflow(id="large")
    async def body(ctx: WorkflowContext, text: str) -> list[int]:
        more = await ctx.step.run("make", outside.effect, made)
        other = await ctx.step.invoke_and_wait("child", child)
        return [len(text), len(more), len(other), text == given, more == made, other == found]

    return to_the_end(body, child, payload=given)


@case("body retried")
def retried_body(outside: Outside) -> Program:
    @workflow(id="retried-body", max_retries=2)
    async def body(ctx: WorkflowContext) -> list[Any]:
        got = [await ctx.step.run("a", outside.effect)]
        if ctx.retry_count < 2:
            raise ValueError("once more")
        return [*got, await ctx.step.run("b", outside.effect), ctx.retry_count]

    return to_the_end(body)


@case("failed")
def failed(outside: Outside) -> Program:
    def refuse() -> None:
        outside.effect()
        raise ValueError("no")

    @workflow(id="failing", max_retries=1)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", outside.effect)
        await ctx.step.run("refuse", refuse, max_retries=0)

    return to_the_end(body)


@case("compensation")
def compensation(outside: Outside) -> Program:
    def refuse() -> None:
        outside.effect()
        raise ValueError("sold out")

    @workflow(id="compensation")
    async def body(ctx: WorkflowContext) -> str:
        done: list[str] = []
        try:
            for key in ("flight", "hotel"):
                await ctx.step.run(key, outside.effect)
                done.append(key)
            await ctx.step.wait_for("pause", hours=3)
            await ctx.step.run("car", refuse, max_retries=0)
        finally:
            for key in reversed(done):
                await ctx.step.run(f"undo {key}", outside.effect)
                await ctx.step.wait_for(f"rest {key}", seconds=5)
        return "never"

    return to_the_end(body)


@case("hooks and state")
def hooks(outside: Outside) -> Program:
    @hook
    async def before(ctx: WorkflowContext, about: HookContext) -> HookResult:
        outside.effect()
        return HookResult.continue_with(modified_payload={"item": "cap", "count": 2})

    @hook
    async def after(ctx: WorkflowContext, about: HookContext) -> HookResult:
        return HookResult.continue_with(modified_output=[about.current_output, "noted"])

    @workflow(id="hooked", on_start=before, on_end=after, state_schema=Tally)
    async def body(ctx: WorkflowContext, order: Order) -> Any:
        ctx.state.count += await ctx.step.run("count", outside.effect, order.count)
        await ctx.step.wait_for("pause", hours=1)
        ctx.state.count += await ctx.step.run("again", outside.effect, 1)
        return [order.item, ctx.state.count]

    return to_the_end(body, payload=Order(item="hat"), initial_state={"count": 5})


@case("patched")
def patched(outside: Outside) -> Program:
    async def drive(env: Environment) -> Any:
        env.deploy(_versions(outside)[0])
        old = await env.start(_versions(outside)[0], id="old")
        await calm(env)
        env.deploy(_versions(outside)[1])
        new = await env.start(_versions(outside)[1], id="new")
        return [await env.finish(old), await env.finish(new)]

    return Program([_versions(outside)[0]], drive)


def _versions(outside: Outside) -> tuple[Any, Any]:
    def version(number: int) -> Any:
        @workflow(id="patched")
        async def body(ctx: WorkflowContext) -> list[Any]:
            got = [await ctx.step.run("a", outside.effect)]
            await ctx.step.wait_for("pause", hours=2)
            if number > 1 and await ctx.step.patched("new"):
                got.append(await ctx.step.run("extra", outside.effect))
            return [*got, await ctx.step.run("b", outside.effect)]

        return body

    return version(1), version(2)


@case("step time limit")
def limited(outside: Outside) -> Program:
    async def for_ever() -> None:
        outside.effect()
        await asyncio.Event().wait()

    @workflow(id="limited-step")
    async def body(ctx: WorkflowContext) -> list[Any]:
        try:
            await ctx.step.run("stuck", for_ever, timeout=0.001, max_retries=1, base_delay=20)
        except StepExecutionError as error:
            return [type(error).__name__, error.attempts, await ctx.step.run("after", outside.effect)]
        return []

    return to_the_end(body)
