"""SPEC 4 and 2.1: cancel with its cleanup, time limits that hold while suspended, whole-execution retries, resumes."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from polos import (
    ChildWorkflowError,
    StepTimeoutError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowTimeoutError,
    workflow,
)
from polos.engine import starting
from tests.laws.worlds import World, law


class _Exit(BaseException):
    """Not an `Exception`: nothing that another try could mend."""


# ---- cancel


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


# ---- time limits


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


# ---- whole-execution retries


@law
async def test_retry_of_the_whole_execution_keeps_recorded_steps(world: World) -> None:
    tries: list[tuple[int, float]] = []

    @workflow(id="retry-whole")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("once", world.effect)
        tries.append((ctx.retry_count, world.env.now.timestamp()))
        if len(tries) < 3:
            raise ConnectionError(f"try {len(tries)}")
        await ctx.step.wait_for("pause", minutes=1)
        return "third time lucky"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "third time lucky"
        assert (await env.describe(handle)).retry_count == 2
    assert [count for count, _ in tries] == [0, 1, 2, 2]
    assert [round(tries[n + 1][1] - tries[n][1]) for n in range(2)] == [1, 2]
    assert world.ran("once") == 1


@law
async def test_retry_gives_up_after_max_retries_with_the_last_error(world: World) -> None:
    tries: list[int] = []

    @workflow(id="retry-out", max_retries=1)
    async def body(ctx: WorkflowContext) -> None:
        tries.append(1)
        raise ConnectionError(f"try {len(tries)}")

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowFailedError, match="ConnectionError: try 2"):
            await env.finish(await env.start(body))


@pytest.mark.parametrize("error", ["step", "polos", "exit"])
@law
async def test_retry_is_not_for_errors_of_polos_or_for_exits(world: World, error: str) -> None:
    tries: list[int] = []

    def fails() -> None:
        raise ValueError("step")

    @workflow(id="retry-not")
    async def body(ctx: WorkflowContext) -> None:
        tries.append(1)
        if error == "step":
            await ctx.step.run("fails", fails, max_retries=0)
        if error == "polos":
            await ctx.step.uuid("same")
            await ctx.step.uuid("same")
        raise _Exit

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowFailedError):
            await env.finish(await env.start(body))
    assert tries == [1]


@law
async def test_retry_registers_its_waits_again(world: World) -> None:
    """The end of the first try gave up its wait for an event; the second try must be woken by one all the same."""
    tries: list[int] = []

    @workflow(id="retry-waits")
    async def body(ctx: WorkflowContext) -> Any:
        wait = asyncio.create_task(ctx.step.wait_for_event("wait", "retry/topic"))
        await ctx.step.wait_for("pause", minutes=1)
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("once")
        return (await wait).data

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=10)
        assert len(tries) == 2
        await env.publish("retry/topic", "heard")
        assert await env.finish(handle) == "heard"


# ---- suspend and resume


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
