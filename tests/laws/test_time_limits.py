"""SPEC 2.1: a time limit holds whatever the execution waits for, and lets the cleanup run."""

from __future__ import annotations

from typing import Any

import pytest

from polos import ChildWorkflowError, WorkflowContext, WorkflowTimeoutError, workflow
from tests.laws.worlds import World, law


@pytest.mark.parametrize("where", ["suspended", "in a backoff", "retried", "handed over", "never started"])
@law
async def test_timeout_holds_while_the_execution_waits(world: World, where: str) -> None:
    tries: list[int] = []

    def hand_over() -> None:
        world.env.harness.clock.advance(12)

    def fails() -> None:
        raise OSError("down")

    @workflow(id="timeout-waits", timeout=600)
    async def body(ctx: WorkflowContext) -> None:
        tries.append(1)
        if where == "retried" and len(tries) == 1:
            raise ValueError("the first try")
        if where == "in a backoff":
            await ctx.step.run("down", fails, max_retries=9, base_delay=3600, max_delay=3600)
        if where == "handed over":
            await ctx.step.run("long", hand_over)
            await ctx.step.run("next", world.effect)
        await ctx.step.wait_for_event("never", "timeout/never")

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        if where == "never started":
            world.take()
            env.harness.clock.advance(599)
        await env.advance(minutes=9)
        if where == "never started":
            await env.advance(minutes=2)
        assert (await env.describe(handle)).status == ("timed_out" if where == "never started" else "waiting")
        await env.advance(minutes=1, seconds=1)
        assert (await env.describe(handle)).status == "timed_out"
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(handle)


@law
async def test_timeout_lets_the_cleanup_run(world: World) -> None:
    @workflow(id="timeout-cleanup")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.suspend("ask")
        finally:
            await ctx.step.run("cleanup", world.effect)
            await ctx.step.wait_for("grace", hours=1)
            await ctx.step.run("more cleanup", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body, run_timeout_seconds=90)
        began = env.now
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(handle)
        assert (env.now - began).total_seconds() == 90 + 3600
    assert [key for key, _ in world.effects] == ["cleanup", "more cleanup"]


@law
async def test_timeout_of_a_child_reaches_its_parent_as_an_error(world: World) -> None:
    @workflow(id="timeout-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("pause", days=1)

    @workflow(id="timeout-parent")
    async def body(ctx: WorkflowContext) -> list[Any]:
        try:
            await ctx.step.invoke_and_wait("child", child, run_timeout_seconds=60)
        except ChildWorkflowError as error:
            return [error.status, error.workflow_id, error.execution_id == f"{ctx.execution_id}/child"]
        return []

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == ["timed_out", "timeout-child", True]
