"""SPEC 4: a resume counts at any moment, also before the suspend is reached."""

from __future__ import annotations

from typing import Any

import pytest

from polos import StepTimeoutError, WorkflowContext, workflow
from polos.engine import starting
from tests.laws.worlds import World, law


@pytest.mark.parametrize("when", ["before the start", "before the suspend", "during", "while suspended", "much later"])
@law
async def test_resume_at_any_moment(world: World, when: str) -> None:
    @workflow(id="resume-any")
    async def body(ctx: WorkflowContext) -> Any:
        await ctx.step.wait_for("pause", minutes=5)
        given = await ctx.step.suspend("ask", {"question": 1})
        await ctx.step.wait_for("pause again", minutes=5)
        return given["data"]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        if when == "before the start":
            await env.resume(handle, "ask", {"a": 1})
            await world.settle_in(lambda batch: batch[::-1])
        await env.advance(minutes=4)
        if when == "before the suspend":
            await env.resume(handle, "ask", {"a": 1})
            await env.settle()
        if when == "during":

            def resume() -> None:
                starting.resume(env.harness.engine, handle.id, "ask", {"a": 1})
                world.deliver_due()

            fault = world.wire.meanwhile("put s#ask", resume)
            await env.advance(minutes=2)
            assert fault.reached
        await env.advance(minutes=2)
        if when == "while suspended":
            detail = await env.describe(handle)
            assert [(step.key, step.kind, step.detail["data"]) for step in detail.waiting_for] == [
                ("ask", "suspend", {"question": 1})
            ]
            await env.resume(handle, "ask", {"a": 1})
        if when == "much later":
            await env.advance(days=40)
            await env.resume(handle, "ask", {"a": 1})
        assert await env.finish(handle) == {"a": 1}


@law
async def test_resume_against_the_expiry_of_the_suspend(world: World) -> None:
    @workflow(id="resume-expiry")
    async def body(ctx: WorkflowContext) -> Any:
        try:
            given = await ctx.step.suspend("ask", timeout=60)
        except StepTimeoutError as error:
            await ctx.step.wait_for("pause", hours=1)
            return error.step_key
        await ctx.step.wait_for("pause", hours=1)
        return given["data"]

    async with world.deploy(body) as env:
        late, early = await env.start(body), await env.start(body)
        await env.advance(seconds=59)
        await env.resume(early, "ask", "in time")
        await env.advance(seconds=2)
        await env.resume(late, "ask", "too late")
        await env.settle()
        assert await env.finish(late) == "ask"
        assert await env.finish(early) == "in time"


@law
async def test_resume_from_another_execution(world: World) -> None:
    @workflow(id="resume-target")
    async def target(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask"))["data"]

    @workflow(id="resume-source")
    async def source(ctx: WorkflowContext, execution_id: str) -> None:
        await ctx.step.resume("answer", "ask", execution_id, "resume-target", [1, 2])
        await ctx.step.wait_for("pause", hours=1)

    async with world.deploy(target, source) as env:
        waiting = await env.start(target)
        await env.settle()
        await env.finish(await env.start(source, waiting.id))
        assert await env.finish(waiting) == [1, 2]


@law
async def test_what_a_suspend_returns_is_an_event_of_the_run_s_stream(world: World) -> None:
    @workflow(id="resume-event")
    async def body(ctx: WorkflowContext) -> Any:
        return await ctx.step.suspend("ask")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.resume(handle, "ask", {"a": 1})
        given = await env.finish(handle)
    assert (given["topic"], given["event_type"]) == (f"workflow/resume-event/{handle.id}", "resume_ask")
    assert given["data"] == {"a": 1}
