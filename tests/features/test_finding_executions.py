"""SPEC 4: executions as they are listed and described, and those that nobody knows; on every backend."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from polos import BatchWorkflowInput, ExecutionNotFoundError, WorkflowContext, WorkflowFailedError, workflow
from tests.features.listing import listed
from tests.features.orders import Order, Tally, by_key
from tests.laws.worlds import World, law

UPSTREAM_KEYS = [
    "id",
    "workflow_id",
    "status",
    "payload",
    "result",
    "error",
    "created_at",
    "started_at",
    "completed_at",
    "deployment_id",
    "assigned_to_worker",
    "parent_execution_id",
    "root_execution_id",
    "retry_count",
    "step_key",
    "queue_name",
    "concurrency_key",
    "batch_id",
    "session_id",
    "user_id",
    "output_schema_name",
    "cancelled_at",
    "cancelled_by",
    "run_timeout_seconds",
]


@law
async def test_list_executions_filters_by_workflow_status_time_and_tags(world: World) -> None:
    @workflow(id="exec-listed")
    async def listed(ctx: WorkflowContext, n: int) -> int:
        if n == 2:
            await ctx.step.wait_for("long", days=2)
        return n

    @workflow(id="exec-listed-too")
    async def too(ctx: WorkflowContext) -> None:
        pass

    async with world.deploy(listed, too) as env:
        began = env.now
        for n in range(3):
            await env.start(listed, n, id=f"l{n}", tags={"parity": "odd" if n % 2 else "even", "n": str(n)})
            await env.advance(minutes=1)
        await env.start(too, id="t")
        await env.settle()
        look = env.client.list_executions

        async def ids(**filters: Any) -> list[str]:
            return [line.id for line in await look(**({"since": began - timedelta(days=1)} | filters))]

        assert await ids() == ["t", "l2", "l1", "l0"]
        assert await ids(workflow_id="exec-listed") == ["l2", "l1", "l0"]
        assert await ids(status="waiting") == ["l2"]
        assert await ids(status="completed", workflow_id="exec-listed") == ["l1", "l0"]
        assert await ids(tags={"parity": "even"}) == ["l2", "l0"]
        assert await ids(tags={"parity": "even", "n": "0"}) == ["l0"]
        assert await ids(since=began + timedelta(seconds=30)) == ["t", "l2", "l1"]
        assert await ids(until=began + timedelta(seconds=90)) == ["l1", "l0"]
        assert await ids(until=(began + timedelta(seconds=90)).replace(tzinfo=None)) == ["l1", "l0"], "naive is UTC"
        assert await ids(workflow_id="exec-nothing") == []
        assert await ids(workflow_id=listed) == ["l2", "l1", "l0"]
        assert (await look(limit=1))[0].tags == {}


@law
async def test_list_executions_goes_on_with_a_cursor_and_misses_none(world: World) -> None:
    @workflow(id="exec-paged")
    async def paged(ctx: WorkflowContext) -> None:
        pass

    async with world.deploy(paged) as env:
        for n in range(7):
            await env.start(paged, id=f"p{n}", tags={"even": str(n % 2 == 0)})
            if n % 3:
                await env.advance(minutes=1)  # some have the same creation time
        for filters in ({}, {"tags": {"even": "True"}}):
            found, cursor, pages = [], None, 0
            while True:
                page = await listed(env, limit=2, cursor=cursor, **filters)
                assert len(page) <= 2
                found += [line.id for line in page]
                cursor, pages = page.cursor, pages + 1
                if cursor is None:
                    break
            wanted = [f"p{n}" for n in range(0, 7, 2 if filters else 1)]
            assert sorted(found) == wanted
            assert pages <= len(wanted) // 2 + 1


@law
async def test_get_execution_has_every_key_of_upstream(world: World) -> None:
    @workflow(id="exec-dict", state_schema=Tally, queue="q")
    async def body(ctx: WorkflowContext, order: Order) -> Order:
        ctx.state.count += 1
        return order

    async with world.deploy(body) as env:
        handle = await env.start(
            body, Order(item="hat"), session_id="s", user_id="u", concurrency_key="k", run_timeout_seconds=60
        )
        before = await env.client.get_execution(handle.id)
        assert (before["status"], before["result"], before["completed_at"]) == ("queued", None, None)
        await env.finish(handle)
        found = await env.client.get_execution(handle.id)
        assert set(UPSTREAM_KEYS) | {"final_state", "root_workflow_id"} <= found.keys()
        assert (found["id"], found["workflow_id"], found["status"]) == (handle.id, "exec-dict", "completed")
        assert found["payload"] == found["result"] == {"item": "hat", "count": 1}
        assert (found["session_id"], found["user_id"], found["queue_name"]) == ("s", "u", "q")
        assert (found["concurrency_key"], found["run_timeout_seconds"]) == ("k", 60)
        assert (found["root_execution_id"], found["retry_count"], found["error"]) == (handle.id, 0, None)
        assert found["final_state"] == {"count": 1}
        assert found["created_at"] <= found["started_at"] <= found["completed_at"]
        assert json.loads(json.dumps(found)) == found
        got = await handle.get(env.client)
        assert got["result"] == Order(item="hat")
        upstream = "status result error created_at completed_at parent_execution_id root_workflow_id"
        assert {*upstream.split(), "root_execution_id", "output_schema_name", "step_key"} <= got.keys()


@law
async def test_get_execution_says_who_cancelled(world: World) -> None:
    @workflow(id="exec-ends")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("long", days=1)

    async with world.deploy(body) as env:
        cancelled, timed_out = await env.start(body), await env.start(body, run_timeout_seconds=60)
        await env.settle()
        await env.cancel(cancelled)
        await env.advance(minutes=2)
        one, two = await env.client.get_execution(cancelled.id), await env.client.get_execution(timed_out.id)
        assert (one["status"], one["cancelled_by"]) == ("cancelled", "manual")
        assert (two["status"], two["cancelled_by"]) == ("timed_out", "timeout")
        assert one["cancelled_at"] == one["completed_at"] is not None


@law
async def test_describe_tells_steps_waits_and_children(world: World) -> None:
    tried: list[int] = []

    def flaky() -> str:
        tried.append(1)
        if len(tried) == 1:
            raise OSError("not yet")
        return "ok"

    @workflow(id="exec-detail-child")
    async def child(ctx: WorkflowContext) -> str:
        return "grown"

    @workflow(id="exec-detail")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("flaky", flaky, base_delay=30)
        await ctx.step.invoke_and_wait("child", child)
        await ctx.step.wait_for("nap", minutes=5)
        await asyncio.gather(
            ctx.step.wait_for_event("event", "news"),
            ctx.step.suspend("ask", {"q": 1}),
            ctx.step.wait_for("timer", days=1),
        )

    async with world.deploy(body, child) as env:
        handle = await env.start(body, run_timeout_seconds=7 * 86400)
        queued = await env.describe(handle)
        assert (queued.status, queued.invocations, queued.steps) == ("queued", 0, [])
        await env.settle()
        (retrying,) = (await env.describe(handle)).steps
        assert (retrying.status, retrying.attempts, retrying.error.message) == ("retrying", 1, "not yet")
        await env.advance(minutes=10)
        detail = await env.describe(handle)
        steps = by_key(detail.steps)
        assert [*steps][:3] == ["flaky", "child", "nap"]
        assert detail.status == "waiting"
        assert (steps["flaky"].kind, steps["flaky"].status, steps["flaky"].attempts) == ("step", "completed", 2)
        assert (steps["flaky"].result, steps["child"].result) == ("ok", "grown")
        assert (steps["child"].kind, steps["child"].detail["child"]) == ("child", detail.children[0])
        assert (steps["nap"].kind, steps["nap"].status) == ("timer", "completed")
        assert steps["flaky"].started_at <= steps["flaky"].ended_at <= steps["nap"].started_at
        waits = by_key(detail.waiting_for)
        assert set(waits) == {"event", "ask", "timer"}
        assert (waits["event"].kind, waits["event"].detail["topic"]) == ("event", "news")
        assert (waits["ask"].kind, waits["ask"].detail["data"]) == ("suspend", {"q": 1})
        assert waits["timer"].detail["due"] > env.now
        assert detail.timeout == timedelta(days=7)
        assert detail.timeout_at == detail.created_at + timedelta(days=7)
        assert (detail.root_execution_id, detail.root_workflow_id) == (handle.id, "exec-detail")


@law
async def test_describe_tells_a_failure_with_its_traceback(world: World) -> None:
    @workflow(id="exec-fails", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        raise LookupError("no such hat")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError, match="no such hat"):
            await env.finish(handle)
        detail = await env.describe(handle)
        assert (detail.status, detail.error.type, detail.error.message) == ("failed", "LookupError", "no such hat")
        assert "raise LookupError" in detail.error.traceback
        assert (await handle.get(env.client))["error"] == "LookupError: no such hat"


@law
async def test_describe_shows_a_batch_with_its_children(world: World) -> None:
    @workflow(id="exec-batch-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        if n == 1:
            await ctx.step.wait_for("slow", hours=1)
        return n

    @workflow(id="exec-batch")
    async def body(ctx: WorkflowContext) -> int:
        inputs = [BatchWorkflowInput(id="exec-batch-child", payload=n) for n in (0, 1)]
        return len(await ctx.step.batch_invoke_and_wait("all", inputs))

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        detail = await env.describe(handle)
        assert [(step.key, step.status) for step in detail.waiting_for] == [("all", "waiting")]
        assert len(detail.children) == 2
        assert {(await env.describe(one)).status for one in detail.children} == {"completed", "waiting"}
        await env.finish(handle)
        (step,) = (await env.describe(handle)).steps
        assert (step.key, step.status) == ("all", "completed")
        assert [one["result"] for one in step.result] == [0, 1]
        assert step.ended_at == env.now


@law
async def test_an_unknown_execution_is_a_typed_error_everywhere(world: World) -> None:
    @workflow(id="exec-known")
    async def body(ctx: WorkflowContext) -> None:
        pass

    async with world.deploy(body) as env:
        client = env.client
        for bad in ("nothing", "", "x" * 300, "no good id", "é"):
            for call in (
                client.describe(bad),
                client.get_execution(bad),
                client.cancel_execution(bad),
                client.terminate(bad),
                client.retry(bad),
                client.fork(bad),
                client.pause(bad),
                client.unpause(bad),
                client.resume("exec-known", bad, "k", 1),
                client.wait_for_result(bad, 0),
            ):
                with pytest.raises(ExecutionNotFoundError):
                    await call
        assert await client.list_executions() == []
