"""SPEC 4: cancel strikes at the current await, its cleanup runs steps, and descendants are cancelled too."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from polos import ChildWorkflowError, WorkflowCancelledError, WorkflowContext, workflow
from tests.laws.worlds import World, law


@law
async def test_cancel_strikes_at_the_current_await_and_the_cleanup_runs_steps(world: World) -> None:
    caught: list[str] = []

    @workflow(id="cancel-cleanup")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("charge", world.effect)
        try:
            await ctx.step.wait_for("ship", days=1)
        except Exception as error:  # noqa: BLE001
            caught.append(repr(error))
        except asyncio.CancelledError:
            await ctx.step.run("refund", world.effect)
            await ctx.step.wait_for("grace", hours=1)
            await ctx.step.run("tell", world.effect)
            raise

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        assert await env.cancel(handle)
        await env.settle()
        assert [key for key, _ in world.effects] == ["charge", "refund"], "a suspended execution is reached at once"
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
    assert [key for key, _ in world.effects] == ["charge", "refund", "tell"]
    assert caught == []


@law
async def test_cancel_ends_as_cancelled_also_when_the_body_swallows_it(world: World) -> None:
    @workflow(id="cancel-swallowed")
    async def body(ctx: WorkflowContext) -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await ctx.step.wait_for("pause", days=1)
        await ctx.step.run("goes on", world.effect)
        return "fine"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.cancel(handle)
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
        detail = await env.describe(handle)
        assert (detail.status, detail.result) == ("cancelled", None)
    assert world.ran("goes on") == 1


@law
async def test_a_message_that_takes_long_on_a_busy_machine_keeps_its_place_before_the_next(world: World) -> None:
    """An environment delivers side by side only what waits for user code."""

    @workflow(id="cancel-slow")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("never", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.cancel(handle)
        slow = world.wire.meanwhile("cancel", lambda: time.sleep(0.3))
        await env.settle()
        assert slow.reached
        assert (await env.describe(handle)).status == "cancelled"


@law
async def test_cancel_before_the_start_never_runs(world: World) -> None:
    @workflow(id="cancel-early")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("never", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.cancel(handle)
        await env.settle()
        assert (await env.describe(handle)).status == "cancelled"
        handle = await env.start(body)
        held = world.take()
        await env.cancel(handle)
        world.forget(handle.id)  # the client died before its own write: the cancel overtakes the start
        await env.settle()
        await world.begin(held).end()
        assert (await env.describe(handle)).status == "cancelled"
    assert world.ran("never") == 0


@law
async def test_cancel_after_the_first_invocation_died_still_compensates(world: World) -> None:
    @workflow(id="cancel-after-death")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.run("charge", world.effect)
            await ctx.step.run("ship", world.effect)
            await ctx.step.wait_for("pause", days=1)
        finally:
            await ctx.step.run("refund", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        fault = world.wire.crash("put r#ship")
        await env.settle()
        assert fault.reached
        env.harness.clock.advance(30.2)
        await env.cancel(handle)
        batch = world.take_all()
        for delivery in batch:
            await world.begin(delivery).end()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
    assert world.ran("refund") == 1


@law
async def test_cancel_reaches_a_running_execution(world: World) -> None:
    @workflow(id="cancel-running")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.run("a", world.effect)
            await ctx.step.run("b", world.effect)
            await ctx.step.wait_for("pause", days=1)
        finally:
            await ctx.step.run("cleanup", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#a")
        owner = world.begin()
        await gate.reach()
        await env.cancel(handle)
        await world.begin().end()
        gate.release()
        await owner.end()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
        assert (await env.describe(handle)).invocations == 1
    assert world.ran("cleanup") == 1
    assert world.repeated == []


@law
async def test_cancel_goes_to_descendants_and_never_to_ancestors(world: World) -> None:
    cleaned: list[str] = []

    @workflow(id="cancel-leaf")
    async def leaf(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for_event("wait", "cancel/never")
        finally:
            cleaned.append(await ctx.step.run("cleanup", lambda: ctx.execution_id))

    @workflow(id="cancel-middle")
    async def middle(ctx: WorkflowContext) -> None:
        await ctx.step.invoke("free", leaf)
        await ctx.step.invoke_and_wait("leaf", leaf)

    @workflow(id="cancel-root")
    async def root(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.invoke_and_wait("middle", middle)
        except ChildWorkflowError as error:
            return error.status
        return "?"

    async with world.deploy(leaf, middle, root) as env:
        handle = await env.start(root)
        await env.settle()
        await env.cancel(f"{handle.id}/middle")
        assert await env.finish(handle) == "cancelled", "the root goes on"
        await env.advance(hours=1)
        statuses = {key: (await env.describe(f"{handle.id}/middle/{key}")).status for key in ("leaf", "free")}
        assert statuses == {"leaf": "cancelled", "free": "cancelled"}
        assert sorted(cleaned) == [f"{handle.id}/middle/free", f"{handle.id}/middle/leaf"]


@law
async def test_cancel_spares_the_children_that_the_cleanup_starts(world: World) -> None:
    @workflow(id="cancel-undo")
    async def undo(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.wait_for("slowly", minutes=n)
        return await ctx.step.run("undone", world.effect, n)

    @workflow(id="cancel-compensation")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("pause", days=1)
        finally:
            got = await asyncio.gather(*(ctx.step.invoke_and_wait(f"undo {n}", undo, n) for n in (1, 2, 3)))
            await ctx.step.run(f"undone {got}", world.effect)

    async with world.deploy(body, undo) as env:
        handle = await env.start(body)
        await env.settle()
        await env.cancel(handle)
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
    assert world.ran("undone [1, 2, 3]") == 1


@law
async def test_cancel_dying_at_every_request_of_the_cleanup(world: World) -> None:
    @workflow(id="cancel-crashes")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("charge", world.effect)
        try:
            await asyncio.gather(ctx.step.wait_for("one", days=1), ctx.step.wait_for_event("two", "cancel/two"))
        finally:
            await ctx.step.run("refund", world.effect)
            await ctx.step.wait_for("grace", hours=1)
            await ctx.step.run("tell", world.effect)

    async with world.deploy(body) as env:
        for after in (False, True):
            nth, reached = 0, True
            while reached:
                nth += world.stride
                world.effects.clear()
                handle = await env.start(body)
                await env.settle()
                fault = world.wire.crash("", nth=nth, after=after)
                await env.cancel(handle)
                with pytest.raises(WorkflowCancelledError):
                    await env.finish(handle)
                reached = fault.reached
                world.wire.quiet()
                keys = [key for key, _ in world.effects]
                assert list(dict.fromkeys(keys)) == ["charge", "refund", "tell"], (nth, fault.hit)
                assert world.repeated == []
                assert world.waiters("cancel/two") == []
            assert nth > 8
