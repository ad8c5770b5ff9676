"""SPEC 4: `retry` of a failed execution, and of a child; on every backend."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from polos import ChildWorkflowError, ExecutionStateError, WorkflowContext, WorkflowFailedError, workflow
from tests.features.orders import by_key
from tests.laws.worlds import World, law


@law
async def test_the_time_limit_counts_anew_from_a_retry(world: World) -> None:
    """It failed within its time, and somebody mends it a day later: it would be over before it began."""
    broken = [True]

    @workflow(id="exec-limited", timeout=600)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", minutes=9)
        await ctx.step.run("charge", lambda: 1 / 0 if broken[0] else 1, max_retries=0)
        await ctx.step.wait_for("after", minutes=9)
        await ctx.step.wait_for("too long", minutes=2)
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        began = env.now
        await env.advance(minutes=10)
        detail = await env.describe(handle)
        assert (detail.status, detail.timeout_at) == ("failed", began + timedelta(minutes=10))
        broken[0] = False
        await env.advance(days=1)
        await env.client.retry(handle.id)
        again = env.now
        await env.advance(minutes=9, seconds=30)
        detail = await env.describe(handle)
        assert (detail.status, detail.timeout_at) == ("waiting", again + timedelta(minutes=10))
        assert [step.key for step in detail.waiting_for] == ["too long"]
        await env.advance(minutes=1)
        detail = await env.describe(handle)
        assert (detail.status, detail.timeout) == ("timed_out", timedelta(minutes=10))


@law
async def test_retry_drops_only_the_failure_and_what_followed(world: World) -> None:
    broken = [True]

    def charge() -> str:
        world.effect()
        if broken[0]:
            raise ValueError("card refused")
        return "charged"

    @workflow(id="exec-retried")
    async def body(ctx: WorkflowContext) -> list[Any]:
        got = [await ctx.step.run("reserve", world.effect), await ctx.step.uuid("id")]
        try:
            await ctx.step.run("bonus", lambda: world.effect() and 1 / 0, max_retries=0)
        except Exception:  # noqa: BLE001 - a failure that was caught stays on record
            got.append("no bonus")
        got.append(await ctx.step.run("charge", charge, max_retries=0))
        return got

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError, match="card refused"):
            await env.finish(handle)
        kept = by_key((await env.describe(handle)).steps)["id"]
        broken[0] = False
        again = await env.client.retry(handle.id)
        assert again.id == handle.id
        assert await env.finish(handle) == ["reserve", kept.result, "no bonus", "charged"]
        detail = await env.describe(handle)
        assert (detail.status, detail.error) == ("completed", None)
        with pytest.raises(ExecutionStateError, match="is completed; retry is not possible"):
            await env.client.retry(handle.id)
    assert [world.ran(key) for key in ("reserve", "bonus", "charge")] == [1, 1, 2]


@law
async def test_retry_of_what_has_not_failed_is_refused(world: World) -> None:
    @workflow(id="exec-unfailed")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("long", days=1)

    async with world.deploy(body) as env:
        queued, waiting, cancelled = [await env.start(body, id=name) for name in ("q", "w", "c")]
        with pytest.raises(ExecutionStateError, match="queued"):
            await env.client.retry(queued.id)
        await env.settle()
        await env.cancel(cancelled)
        await env.settle()
        for handle, status in ((waiting, "waiting"), (cancelled, "cancelled")):
            with pytest.raises(ExecutionStateError, match=f"is {status}") as raised:
                await env.client.retry(handle.id)
            assert (raised.value.status, raised.value.execution_id) == (status, handle.id)
            assert (await env.describe(handle)).status == status


@law
async def test_retry_starts_children_of_its_own_generation(world: World) -> None:
    broken = [True]

    @workflow(id="exec-gen-child", max_retries=0)
    async def child(ctx: WorkflowContext, name: str) -> str:
        await ctx.step.run(f"work-{name}", world.effect)
        if broken[0] and name == "bad":
            raise ValueError("broken")
        return name

    @workflow(id="exec-gen")
    async def body(ctx: WorkflowContext) -> list[str]:
        return [await ctx.step.invoke_and_wait(name, child, name) for name in ("good", "bad")]

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError):
            await env.finish(handle)
        before = (await env.describe(handle)).children
        broken[0] = False
        await env.client.retry(handle.id)
        assert await env.finish(handle) == ["good", "bad"]
        after = (await env.describe(handle)).children
        assert set(before) == {f"{handle.id}/good", f"{handle.id}/bad"}
        assert set(after) == {f"{handle.id}/good", f"{handle.id}/bad@1"}
        assert (await env.describe(f"{handle.id}/bad")).status == "failed", "the first one stays as it ended"
    assert (world.ran("work-good"), world.ran("work-bad")) == (1, 2)


@law
async def test_retry_of_a_child_does_not_tell_its_parent_again(world: World) -> None:
    broken = [True]

    @workflow(id="exec-told-child", max_retries=0)
    async def child(ctx: WorkflowContext) -> str:
        if broken[0]:
            raise ValueError("broken")
        return "mended"

    @workflow(id="exec-told")
    async def body(ctx: WorkflowContext) -> str:
        try:
            return await ctx.step.invoke_and_wait("c", child)
        except ChildWorkflowError as error:
            await ctx.step.wait_for("think", hours=1)
            return f"{error.status}: {error.error}"

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        broken[0] = False
        again = await env.client.retry(f"{handle.id}/c")
        await env.settle()
        assert (await env.client.get_execution(again.id))["result"] == "mended"
        assert await env.finish(handle) == "failed: ValueError: broken"


@law
async def test_retry_runs_the_cleanup_of_the_run_that_failed_by_itself_again(world: World) -> None:
    """What a `finally` did after the body itself had raised was observed after the failure; the rest stays."""
    broken = [True]

    @workflow(id="exec-cleaned", max_retries=0)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("open", world.effect)
        try:
            try:
                {}["nothing"]
            except KeyError:
                await ctx.step.run("fallback", world.effect)
            if broken[0]:
                raise ValueError("a mistake in the body")
            return await ctx.step.run("work", world.effect)
        finally:
            await ctx.step.run("close", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError, match="a mistake in the body"):
            await env.finish(handle)
        broken[0] = False
        await env.client.retry(handle.id)
        assert await env.finish(handle) == "work"
    assert [key for key, _ in world.effects] == ["open", "fallback", "close", "work", "close"]


@pytest.mark.parametrize("how", ["group", "gather", "left behind"])
@law
async def test_retry_runs_the_cleanup_of_tasks_that_the_failure_of_another_cancelled_again(
    world: World, how: str
) -> None:
    broken = [True]

    @workflow(id="exec-cleaned-task", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        async def fails() -> None:
            await ctx.step.run("before", world.effect)
            await ctx.step.wait_for("nap", minutes=1)
            if broken[0]:
                raise ValueError("a mistake in a task")

        async def holds() -> None:
            try:
                await ctx.step.run("open", world.effect)
                await ctx.step.wait_for("longer", minutes=2)
            finally:
                await ctx.step.run("close", world.effect)

        if how == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(holds())
                group.create_task(fails())
        elif how == "gather":
            await asyncio.gather(holds(), fails())
        else:
            held = asyncio.create_task(holds())
            await fails()
            await held

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError):
            await env.finish(handle)
        assert Counter(key for key, _ in world.effects) == {"before": 1, "open": 1, "close": 1}
        broken[0] = False
        await env.client.retry(handle.id)
        await env.finish(handle)
    assert Counter(key for key, _ in world.effects) == {"before": 1, "open": 1, "close": 2}
