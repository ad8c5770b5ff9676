"""SPEC 4 on every backend: starting by id, listing, looking, cancel, terminate, retry, fork, pause, continue as new."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BatchWorkflowInput,
    ChildWorkflowError,
    ExecutionNotFoundError,
    ExecutionStateError,
    InvalidPayloadError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowState,
    WorkflowTimeoutError,
    workflow,
)
from polos.types.types import StepDetail
from tests.features.listing import listed
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


class Order(BaseModel):
    item: str
    count: int = 1


class Tally(WorkflowState):
    count: int = 0


# ---- starting


@law
async def test_start_with_the_same_id_starts_once_and_gives_the_same_execution(world: World) -> None:
    @workflow(id="exec-once")
    async def body(ctx: WorkflowContext, order: Order) -> str:
        return await ctx.step.run("work", world.effect, order.item)

    async with world.deploy(body) as env:
        first = await env.start(body, Order(item="hat"), id="order-1")
        second = await env.start(body, {"item": "hat"}, id="order-1")
        assert (first.id, second.id) == ("order-1", "order-1")
        assert await env.finish(second) == "hat"
        third = await env.start(body, Order(item="hat"), id="order-1")
        assert await env.finish(third) == "hat"
        await env.settle()
        assert third.created_at == first.created_at
    assert world.ran("work") == 1


@law
async def test_start_with_the_same_id_and_another_payload_is_refused_and_the_first_stands(world: World) -> None:
    @workflow(id="exec-first")
    async def body(ctx: WorkflowContext, order: Order) -> str:
        return order.item

    @workflow(id="exec-other")
    async def other(ctx: WorkflowContext, order: Order) -> str:
        return "other"

    async with world.deploy(body, other) as env:
        handle = await env.start(body, Order(item="hat"), id="o")
        with pytest.raises(InvalidPayloadError, match="another payload; that one stands"):
            await env.start(body, Order(item="shoe"), id="o")
        with pytest.raises(InvalidPayloadError, match="belongs to workflow 'exec-first'"):
            await env.start(other, Order(item="hat"), id="o")
        assert await env.finish(handle) == "hat"
        with pytest.raises(InvalidPayloadError, match="another payload"):
            await env.start(body, Order(item="shoe"), id="o")
        assert len(await listed(env)) == 1


@law
async def test_start_carries_session_user_tags_and_state(world: World) -> None:
    @workflow(id="exec-child-of-session")
    async def child(ctx: WorkflowContext) -> tuple[str | None, str | None]:
        return ctx.session_id, ctx.user_id

    @workflow(id="exec-session", state_schema=Tally)
    async def body(ctx: WorkflowContext) -> list[Any]:
        return [ctx.session_id, ctx.user_id, ctx.state.count, await ctx.step.invoke_and_wait("c", child)]

    async with world.deploy(body, child) as env:
        handle = await env.start(body, session_id="s", user_id="u", tags={"team": "a"}, initial_state=Tally(count=3))
        assert (handle.session_id, handle.user_id) == ("s", "u")
        assert await env.finish(handle) == ["s", "u", 3, ("s", "u")]
        detail = await env.describe(handle)
        assert (detail.session_id, detail.user_id, detail.tags) == ("s", "u", {"team": "a"})


# ---- listing


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


# ---- looking


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


def _by_key(steps: list[StepDetail]) -> dict[str, StepDetail]:
    return {step.key: step for step in steps}


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
        steps = _by_key(detail.steps)
        assert [*steps][:3] == ["flaky", "child", "nap"]
        assert detail.status == "waiting"
        assert (steps["flaky"].kind, steps["flaky"].status, steps["flaky"].attempts) == ("step", "completed", 2)
        assert (steps["flaky"].result, steps["child"].result) == ("ok", "grown")
        assert (steps["child"].kind, steps["child"].detail["child"]) == ("child", detail.children[0])
        assert (steps["nap"].kind, steps["nap"].status) == ("timer", "completed")
        assert steps["flaky"].started_at <= steps["flaky"].ended_at <= steps["nap"].started_at
        waits = _by_key(detail.waiting_for)
        assert set(waits) == {"event", "ask", "timer"}
        assert (waits["event"].kind, waits["event"].detail["topic"]) == ("event", "news")
        assert (waits["ask"].kind, waits["ask"].detail["data"]) == ("suspend", {"q": 1})
        assert waits["timer"].detail["due"] > env.now
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


# ---- unknown


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


# ---- cancel, terminate


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


# ---- retry


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
        kept = _by_key((await env.describe(handle)).steps)["id"]
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


# ---- fork


@law
async def test_fork_keeps_what_ended_before_a_step_and_leaves_the_source_alone(world: World) -> None:
    @workflow(id="exec-fork-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.run("child work", world.effect)
        return n

    @workflow(id="exec-fork")
    async def body(ctx: WorkflowContext, order: Order) -> list[Any]:
        one = await ctx.step.run("one", world.effect, 1)
        await ctx.step.wait_for("nap", hours=1)
        kid = await ctx.step.invoke_and_wait("kid", child, 2)
        many = await ctx.step.batch_invoke_and_wait(
            "kids", [BatchWorkflowInput(id="exec-fork-child", payload=n) for n in (3, 4)]
        )
        await ctx.step.wait_for("breath", hours=1)
        last = await ctx.step.run("last", world.effect, order.item)
        return [one, kid, [each.result for each in many], last]

    async with world.deploy(body, child) as env:
        handle = await env.start(body, Order(item="hat"))
        assert await env.finish(handle) == [1, 2, [3, 4], "hat"]
        before = world.records(handle)
        world.effects.clear()
        fork = await env.client.fork(handle.id, from_step="last")
        assert fork.id != handle.id
        assert await env.finish(fork) == [1, 2, [3, 4], "hat"]
        assert [key for key, _ in world.effects] == ["last"]

        world.effects.clear()
        fork = await env.client.fork(handle.id, from_step="last", input=Order(item="shoe"), results={"one": 11})
        assert await env.finish(fork) == [11, 2, [3, 4], "shoe"]
        assert [key for key, _ in world.effects] == ["last"]

        world.effects.clear()
        fork = await env.client.fork(handle.id, input={"item": "all anew"})
        assert await env.finish(fork) == [1, 2, [3, 4], "all anew"]
        assert sorted(key for key, _ in world.effects) == ["child work"] * 3 + ["last", "one"]
        assert world.records(handle) == before


@law
async def test_fork_from_a_batch_runs_the_batch_again(world: World) -> None:
    @workflow(id="exec-fork-batch-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        return await ctx.step.run("work", world.effect, n)

    @workflow(id="exec-fork-batch")
    async def body(ctx: WorkflowContext) -> int:
        inputs = [BatchWorkflowInput(id="exec-fork-batch-child", payload=n) for n in (3, 4)]
        await ctx.step.run("first", world.effect)
        await ctx.step.wait_for("breath", hours=1)
        return sum(one.result for one in await ctx.step.batch_invoke_and_wait("all", inputs))

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == 7
        fork = await env.client.fork(handle.id, from_step="all")
        assert await env.finish(fork) == 7
        assert len((await env.describe(fork)).children) == 2
        events = [event async for event in env.client.stream_workflow(body.id, fork.id)]
        assert events[-1].event_type == "workflow_finish"
    assert (world.ran("first"), world.ran("work")) == (1, 4)


@law
async def test_fork_refuses_what_the_source_does_not_have(world: World) -> None:
    @workflow(id="exec-fork-bad")
    async def body(ctx: WorkflowContext, order: Order) -> str:
        await ctx.step.run("one", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        return order.item

    async with world.deploy(body) as env:
        handle = await env.start(body, Order(item="hat"))
        await env.finish(handle)
        with pytest.raises(InvalidPayloadError, match="no step 'nowhere'"):
            await env.client.fork(handle.id, from_step="nowhere")
        with pytest.raises(InvalidPayloadError, match="no step 'two'"):
            await env.client.fork(handle.id, from_step="nap", results={"two": 2})
        with pytest.raises(InvalidPayloadError, match="count"):
            await env.client.fork(handle.id, input={"item": "hat", "count": "many"})
        assert len(await listed(env)) == 1


# ---- pause


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


# ---- going on as new, and changes of code


@law
async def test_continue_as_new_goes_on_under_the_same_handle(world: World) -> None:
    @workflow(id="exec-loop", state_schema=Tally)
    async def body(ctx: WorkflowContext, n: int) -> str:
        await ctx.step.run("work", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        if n < 3:
            await ctx.continue_as_new(n + 1)
        return f"{n} after {ctx.execution_id.count('~')}"

    async with world.deploy(body) as env:
        handle = await env.start(body, 1, id="loop", tags={"a": "b"}, session_id="s")
        await env.advance(hours=1, minutes=30)
        detail = await env.describe(handle)
        assert (detail.id, detail.status, detail.payload) == ("loop~1", "waiting", 2)
        assert len(detail.steps) == 2, "the history is empty again"
        assert (detail.tags, detail.session_id) == ({"a": "b"}, "s")
        assert await env.finish(handle) == "3 after 1"
        assert (await handle.get(env.client))["status"] == "completed"
        assert await handle.result() == "3 after 1"
    assert world.ran("work") == 3


@law
async def test_continue_as_new_is_followed_by_cancel_and_by_a_waiting_parent(world: World) -> None:
    @workflow(id="exec-loop-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.wait_for("nap", hours=1)
        if n < 3:
            await ctx.continue_as_new(n + 1)
        return n

    @workflow(id="exec-loop-endless")
    async def endless(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("nap", hours=1)
        await ctx.continue_as_new()

    @workflow(id="exec-loop-parent")
    async def parent(ctx: WorkflowContext) -> int:
        return await ctx.step.invoke_and_wait("c", child, 1)

    async with world.deploy(parent, child, endless) as env:
        handle, loop = await env.start(parent), await env.start(endless)
        assert await env.finish(handle) == 3
        await env.advance(hours=5)
        assert await env.cancel(loop) is True
        with pytest.raises(WorkflowCancelledError):
            await env.finish(loop)
        assert await env.cancel(loop) is False
        await env.advance(hours=5)
        lines = await listed(env, workflow_id="exec-loop-endless")
        assert [line.status for line in lines].count("cancelled") == 1
        assert all(line.status in ("cancelled", "completed") for line in lines)


@pytest.mark.parametrize("at", ["^put p#", "^finish", "^send start"])
@law
async def test_continue_as_new_does_not_lose_a_cancel_that_comes_meanwhile(world: World, at: str) -> None:
    @workflow(id="exec-loop-race")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("nap", hours=1)
        await ctx.continue_as_new()

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        env.harness.clock.advance(3601)
        gate = world.wire.block(at)
        owner = await world.run_until(gate)
        assert owner is not None
        assert await env.cancel(handle)
        for one in world.take_all():
            await world.begin(one).end()
        gate.release()
        await owner.end()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
        assert (await env.describe(handle)).invocations <= 2


@law
async def test_continue_as_new_refuses_a_payload_that_does_not_validate(world: World) -> None:
    @workflow(id="exec-loop-bad")
    async def body(ctx: WorkflowContext, order: Order) -> None:
        await ctx.continue_as_new({"item": "x", "count": "many"})

    async with world.deploy(body) as env:
        handle = await env.start(body, Order(item="hat"))
        with pytest.raises(WorkflowFailedError, match="count"):
            await env.finish(handle)


@law
async def test_patched_is_false_for_executions_that_were_past_it_and_true_for_others(world: World) -> None:
    @workflow(id="exec-patched")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        await ctx.step.run("second", world.effect)
        return "old"

    old = body

    @workflow(id="exec-patched")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", world.effect)
        new = await ctx.step.patched("skip-the-nap")
        if not new:
            await ctx.step.wait_for("nap", hours=1)
            await ctx.step.run("second", world.effect)
            return "old way"
        await ctx.step.wait_for("breath", minutes=1)
        return "new way"

    async with world.deploy(old) as env:
        past = await env.start(old)
        await env.settle()
        not_yet = await env.start(old)
        env.deploy(body)
        fresh = await env.start(body)
        assert await env.finish(past) == "old way"
        assert await env.finish(not_yet) == "new way"
        assert await env.finish(fresh) == "new way"


@law
async def test_inputs_of_classes_defined_in_a_function_reach_children_and_forks(world: World) -> None:
    class Inner(BaseModel):
        n: int

    @workflow(id="exec-local-child")
    async def child(ctx: WorkflowContext, inner: Inner) -> int:
        return inner.n

    @workflow(id="exec-local")
    async def body(ctx: WorkflowContext, inner: Inner) -> int:
        return await ctx.step.invoke_and_wait("c", child, Inner(n=inner.n + 1))

    async with world.deploy(body, child) as env:
        handle = await env.start(body, Inner(n=1))
        assert await env.finish(handle) == 2
        assert await env.finish(await env.client.fork(handle.id, input=Inner(n=5))) == 6
