"""SPEC 4: cancel, terminate, pause and unpause of an execution; on every backend."""

from __future__ import annotations

from typing import Any

import pytest

from polos import (
    BatchWorkflowInput,
    ExecutionStateError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowTimeoutError,
    workflow,
)
from tests.features.listing import listed
from tests.laws.worlds import World, law


@law
async def test_cancel_execution_is_true_once_and_false_after_the_end(world: World) -> None:
    @workflow(id="exec-cancel")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("long", days=1)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        assert await env.client.cancel_execution(handle.id) is True
        assert await handle.cancel(env.client) is True, "asked again before it has ended"
        await env.settle()
        assert await env.client.cancel_execution(handle.id) is False
        assert await handle.cancel(env.client) is False
        with pytest.raises(WorkflowCancelledError):
            await handle.result()


@law
async def test_a_timer_that_a_cancel_struck_is_shown_as_abandoned_and_one_of_the_cleanup_as_completed(
    world: World,
) -> None:
    @workflow(id="exec-struck")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("before", minutes=1)
        try:
            await ctx.step.wait_for("struck", hours=1)
        finally:
            await ctx.step.wait_for("cleanup", hours=3)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=10)
        await env.cancel(handle)
        await env.advance(hours=5)
        detail = await env.describe(handle)
    assert detail.status == "cancelled"
    shown = {step.key: (step.status, step.ended_at is not None) for step in detail.steps}
    assert shown == {"before": ("completed", True), "struck": ("abandoned", False), "cleanup": ("completed", True)}


@law
async def test_terminate_ends_at_once_without_cleanup_and_descendants_too(world: World) -> None:
    @workflow(id="exec-grandchild")
    async def grandchild(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("long", days=1)
        finally:
            await ctx.step.run("clean up", world.effect)

    @workflow(id="exec-middle")
    async def middle(ctx: WorkflowContext) -> None:
        await ctx.step.batch_invoke_and_wait("b", [BatchWorkflowInput(id="exec-grandchild")] * 2)

    @workflow(id="exec-top")
    async def top(ctx: WorkflowContext) -> None:
        try:
            handle = await ctx.step.invoke("free", grandchild)
            await ctx.step.run("note", world.effect, handle.id)
            await ctx.step.invoke_and_wait("m", middle)
        finally:
            await ctx.step.run("clean up", world.effect)

    async with world.deploy(top, middle, grandchild) as env:
        handle = await env.start(top)
        await env.settle()
        await env.client.terminate(handle.id)
        await env.settle()
        lines = await listed(env)
        assert len(lines) == 5
        assert {line.status for line in lines} == {"cancelled"}
        await env.advance(days=2)
        with pytest.raises(ExecutionStateError, match="is cancelled; terminate is not possible"):
            await env.client.terminate(handle.id)
    assert world.ran("clean up") == 0


@law
async def test_pause_starts_nothing_until_unpause_and_loses_nothing(world: World) -> None:
    @workflow(id="exec-paused")
    async def body(ctx: WorkflowContext) -> Any:
        await ctx.step.wait_for("nap", hours=1)
        got = await ctx.step.wait_for_event("news", "pause/news")
        return await ctx.step.run("after", world.effect, got.data)

    async with world.deploy(body) as env:
        handle, unstarted = await env.start(body), await env.start(body)
        await env.client.pause(unstarted.id)
        await env.settle()
        await env.client.pause(handle.id)
        await env.publish("pause/news", "hot")
        await env.advance(hours=3)
        assert world.effects == []
        assert (await env.describe(handle)).status == "waiting"
        assert (await env.describe(unstarted)).status == "queued"
        await env.client.unpause(handle.id)
        assert await env.finish(handle) == "hot"
        await env.client.unpause(unstarted.id)
        assert await env.finish(unstarted) == "hot"
        for call in (env.client.pause, env.client.unpause):
            with pytest.raises(ExecutionStateError):
                await call(handle.id)
    assert world.ran("after") == 2


@law
async def test_a_paused_execution_can_be_cancelled_and_runs_out_of_time(world: World) -> None:
    @workflow(id="exec-paused-end")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("nap", days=9)
        finally:
            await ctx.step.run("clean", world.effect)

    async with world.deploy(body) as env:
        one, two = await env.start(body), await env.start(body, run_timeout_seconds=3600)
        await env.settle()
        for handle in (one, two):
            await env.client.pause(handle.id)
        await env.settle()
        await env.cancel(one)
        with pytest.raises(WorkflowCancelledError):
            await env.finish(one)
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(two)
    assert world.ran("clean") == 2
