"""SPEC 2.2 logger, and 2.3 trace without OpenTelemetry; on every backend."""

from __future__ import annotations

import logging

from polos import StepExecutionError, WorkflowContext, workflow
from tests.laws.worlds import World, law


@law
async def test_logger_is_quiet_in_replay_and_names_the_execution(world: World) -> None:
    lines: list[tuple[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.getMessage(), record.execution_id))  # type: ignore[attr-defined]

    @workflow(id="logger-quiet")
    async def body(ctx: WorkflowContext) -> list[bool]:
        replaying = [ctx.is_replaying]
        ctx.logger.info("begins")
        await ctx.step.run("a", world.effect)
        ctx.logger.info("a is done")
        await ctx.step.wait_for("nap", hours=1)
        replaying.append(ctx.is_replaying)
        ctx.logger.warning("awake %d", 1)
        await ctx.step.wait_for_event("event", "logger/event")
        ctx.logger.info("heard")
        await ctx.step.suspend("ask")
        ctx.logger.info("answered")
        return replaying

    logger, handler = logging.getLogger("polos.workflow"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with world.deploy(body) as env:
            handle = await env.start(body)
            await env.advance(hours=2)
            await env.publish("logger/event", 1)
            await env.settle()
            await env.resume(handle, "ask", 1)
            assert await env.finish(handle) == [True, True]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    said = ("begins", "a is done", "awake 1", "heard", "answered")
    assert [text for text, _ in lines] == [f"[{handle.id}] {one}" for one in said]
    assert {execution for _, execution in lines} == {handle.id}


@law
async def test_trace_wraps_steps_and_does_nothing_by_itself(world: World) -> None:
    @workflow(id="trace-plain")
    async def body(ctx: WorkflowContext) -> str:
        with ctx.step.trace("outer", {"a": 1}):
            await ctx.step.wait_for("nap", hours=1)
            try:
                with ctx.step.trace("inner"):
                    raise StepExecutionError("passes through")
            except StepExecutionError as error:
                return str(error)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "passes through"
        assert [step.key for step in (await env.describe(handle)).steps] == ["nap"]
