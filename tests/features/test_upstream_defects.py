"""The numbered defects of the upstream SDK and its orchestrator, each as a test of what happens here instead.

Test `defect_NN` is for number NN; 4 and 5 have one test. 21 (projects that see each other, an approval page open to
all) has no counterpart: a stack is one trust domain.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BatchWorkflowInput,
    ChildWorkflowError,
    DuplicateStepKeyError,
    HookContext,
    HookResult,
    Polos,
    SchedulePayload,
    SerializationError,
    StepExecutionError,
    StepTimeoutError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowTimeoutError,
    events,
    workflow,
)
from tests.features.listing import listed
from tests.laws.worlds import World, law


class Order(BaseModel):
    item: str


@pytest.mark.parametrize(("cron", "hours"), [("0 * * * *", 1), ("0 0 * * *", 24)])
@law
async def test_defect_01_a_schedule_fires_at_every_tick_not_at_every_other(world: World, cron: str, hours: int) -> None:
    got: list[datetime] = []

    @workflow(id="defect-1", schedule=cron)
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> None:
        got.append(tick.timestamp)

    async with world.deploy(body, start_time=datetime(2030, 1, 1, 0, 30, tzinfo=UTC)) as env:
        await env.advance(hours=6 * hours)
    assert len(got) == 6
    assert {(two - one).total_seconds() for one, two in zip(got, got[1:], strict=False)} == {3600 * hours}


@pytest.mark.parametrize(("cron", "days"), [("0 8 * * 1-5", [0, 1, 2, 3, 4]), ("0 8 * * 0", [6]), ("0 8 * * 7", [6])])
@law
async def test_defect_02_weekday_numbers_mean_what_cron_means(world: World, cron: str, days: list[int]) -> None:
    got: set[int] = set()

    @workflow(id="defect-2", schedule=cron)
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> None:
        got.add(tick.timestamp.weekday())

    async with world.deploy(body) as env:
        await env.advance(days=7)
    assert sorted(got) == days


@law
async def test_defect_03_a_suspend_with_a_timeout_expires(world: World) -> None:
    @workflow(id="defect-3")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.suspend("ask", {"q": 1}, timeout=3600)
        except StepTimeoutError as error:
            return error.step_key or ""
        return "answered"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=59)
        assert (await env.describe(handle)).status == "waiting"
        await env.advance(minutes=2)
        assert await env.finish(handle) == "ask"


@pytest.mark.parametrize("end", ["cancelled", "timed_out"])
@law
async def test_defect_04_and_05_a_parent_is_told_of_a_child_that_was_ended_and_lives_on(world: World, end: str) -> None:
    @workflow(id="defect-4-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("long", days=9)

    @workflow(id="defect-4-grandparent")
    async def grandparent(ctx: WorkflowContext) -> str:
        return await ctx.step.invoke_and_wait("p", parent)

    @workflow(id="defect-4")
    async def parent(ctx: WorkflowContext) -> str:
        limit = 60 if end == "timed_out" else None
        try:
            await ctx.step.invoke_and_wait("c", child, run_timeout_seconds=limit)
        except ChildWorkflowError as error:
            await ctx.step.run("after", world.effect)
            return error.status
        return "no error"

    async with world.deploy(grandparent, parent, child) as env:
        handle = await env.start(grandparent)
        await env.settle()
        if end == "cancelled":
            await env.cancel(f"{handle.id}/p/c")
        assert await env.finish(handle) == end
        assert len(await listed(env, workflow_id="defect-4-child")) == 1
    assert world.ran("after") == 1


@law
async def test_defect_06_a_gather_of_two_children_starts_each_once(world: World) -> None:
    @workflow(id="defect-6-child")
    async def child(ctx: WorkflowContext, minutes: int) -> int:
        await ctx.step.wait_for("nap", minutes=minutes)
        return minutes

    @workflow(id="defect-6")
    async def body(ctx: WorkflowContext) -> list[int]:
        return await asyncio.gather(*(ctx.step.invoke_and_wait(f"c{n}", child, n) for n in (1, 2)))

    async with world.deploy(body, child) as env:
        assert await env.finish(await env.start(body)) == [1, 2]
        await env.settle()
        assert len(await listed(env, workflow_id="defect-6-child")) == 2


@law
async def test_defect_07_a_key_used_twice_is_an_error_and_no_key_of_the_runtime_collides(world: World) -> None:
    @workflow(id="defect-7", on_start=lambda ctx, about: HookResult.continue_with())
    async def body(ctx: WorkflowContext) -> list[Any]:
        names = ["publish_start", "publish_finish", "on_start.<lambda>.0", "x", "workflow_start"]
        got = [await ctx.step.run(name, lambda name=name: f"mine: {name}") for name in names]
        assert got == [f"mine: {name}" for name in names]
        with pytest.raises(DuplicateStepKeyError, match="'x'"):
            await ctx.step.run("x", lambda: "again")
        return got

    async with world.deploy(body) as env:
        assert len(await env.finish(await env.start(body))) == 5


@law
async def test_defect_08_hooks_take_models_text_and_nothing(world: World) -> None:
    seen: list[Any] = []

    def look(ctx: WorkflowContext, about: HookContext) -> HookResult:
        seen.append(about.current_payload if about.current_output is None else about.current_output)
        return HookResult.continue_with()

    @workflow(id="defect-8", on_start=look, on_end=look)
    async def body(ctx: WorkflowContext, order: Order | None) -> str | None:
        return order and order.item

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, Order(item="hat"))) == "hat"
        assert await env.finish(await env.start(body, None)) is None
    assert seen == [Order(item="hat"), "hat", None, None]


@law
async def test_defect_09_there_is_no_pause_after_the_last_attempt(world: World) -> None:
    @workflow(id="defect-9")
    async def body(ctx: WorkflowContext) -> None:
        def bad() -> None:
            world.effect()
            raise OSError("down")

        with pytest.raises(StepExecutionError):
            await ctx.step.run("bad", bad, max_retries=2, base_delay=10, max_delay=1000)

    async with world.deploy(body) as env:
        began = env.now
        await env.finish(await env.start(body))
        assert 30 <= (env.now - began).total_seconds() < 31
    assert world.ran("bad") == 3


@law
async def test_defect_10_a_failure_reads_the_same_live_and_on_replay(world: World) -> None:
    said: list[tuple[str, str, str, int]] = []

    @workflow(id="defect-10")
    async def body(ctx: WorkflowContext) -> None:
        def bad() -> None:
            raise LookupError("no hat")

        try:
            await ctx.step.run("bad", bad, max_retries=1, base_delay=0.01)
        except StepExecutionError as error:
            said.append((str(error), error.error_type, error.message, error.attempts))
        await ctx.step.wait_for("nap", hours=1)

    async with world.deploy(body) as env:
        await env.finish(await env.start(body))
    assert said == [("Step 'bad' failed: LookupError: no hat", "LookupError", "no hat", 2)] * 2


@law
async def test_defect_11_a_result_that_cannot_be_stored_says_that_the_function_did_run_and_storage_errors_do_not_count(
    world: World,
) -> None:
    @workflow(id="defect-11")
    async def body(ctx: WorkflowContext) -> str:
        with pytest.raises(SerializationError, match="The function did run"):
            await ctx.step.run("odd", lambda: world.effect() and object())
        return await ctx.step.run("fine", world.effect)

    async with world.deploy(body) as env:
        fault = world.wire.crash("put r#fine")
        assert await env.finish(await env.start(body)) == "fine"
        assert fault.reached
    assert world.ran("odd") == 1


@pytest.mark.moto_sample(at=("^send start", "^publish"), after=(False,))
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", ["^send start", "^publish", "^put r#tell", "^put r#free", "^put s#kid", "^put s#kids"])
@law
async def test_defect_12_no_crash_between_an_effect_and_its_record_doubles_it(
    world: World, at: str, after: bool
) -> None:
    @workflow(id="defect-12-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.run("child", world.effect)

    @workflow(id="defect-12-listener", trigger_on_event="defect/12")
    async def listener(ctx: WorkflowContext) -> None:
        await ctx.step.run("heard", world.effect)

    @workflow(id="defect-12")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.publish_event("tell", "defect/12", {})
        await ctx.step.invoke("free", child)
        await ctx.step.invoke_and_wait("kid", child)
        await ctx.step.batch_invoke_and_wait("kids", [BatchWorkflowInput(id="defect-12-child")] * 2)

    async with world.deploy(body, child, listener) as env:
        fault = world.wire.crash(at, after=after)
        await env.finish(await env.start(body))
        await env.advance(minutes=5)
        assert fault.reached
        assert len(await listed(env, workflow_id="defect-12-child")) == 4
        assert len(await listed(env, workflow_id="defect-12-listener")) == 1
    assert (world.ran("child"), world.ran("heard")) == (4, 1)


@law
async def test_defect_13_each_wait_gets_the_oldest_event_it_has_not_had_also_of_a_batch(world: World) -> None:
    @workflow(id="defect-13")
    async def body(ctx: WorkflowContext) -> list[int]:
        return [(await ctx.step.wait_for_event(f"e{n}", "defect/13")).data["n"] for n in range(3)]

    async with world.deploy(body) as env:
        one, two = await env.start(body), await env.start(body)
        await env.settle()
        await events.batch_publish(env.client, "defect/13", [events.EventData(data={"n": n}) for n in range(4)])
        assert (await env.finish(one), await env.finish(two)) == ([0, 1, 2], [0, 1, 2])


@law
async def test_defect_14_a_suspend_belongs_to_its_own_execution(world: World) -> None:
    @workflow(id="defect-14-child")
    async def child(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask"))["data"]

    @workflow(id="defect-14")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return await asyncio.gather(*(ctx.step.invoke_and_wait(name, child) for name in ("a", "b")))

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        await env.resume(f"{handle.id}/a", "ask", "for a")
        await env.settle()
        assert (await env.describe(f"{handle.id}/b")).status == "waiting"
        await env.resume(f"{handle.id}/b", "ask", "for b")
        assert await env.finish(handle) == ["for a", "for b"]


@law
async def test_defect_15_a_wait_on_the_topic_of_the_own_run_is_not_woken_by_the_runtime(world: World) -> None:
    @workflow(id="defect-15-child")
    async def child(ctx: WorkflowContext) -> None:
        await ctx.step.run("noise", lambda: 1)
        await ctx.step.wait_for("nap", hours=1)
        await ctx.step.publish_workflow_event("mine", {"mine": True}, event_type="mine")

    @workflow(id="defect-15")
    async def body(ctx: WorkflowContext) -> Any:
        await ctx.step.run("noise", lambda: 1)
        await ctx.step.invoke("child", child)
        topic = f"workflow/{ctx.root_workflow_id}/{ctx.root_execution_id}"
        event = await ctx.step.wait_for_event("own", topic)
        return event.event_type, event.data

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.advance(minutes=30)
        detail = await env.describe(handle)
        assert (detail.status, detail.invocations) == ("waiting", 1)
        assert await env.finish(handle) == ("mine", {"mine": True})


@law
async def test_defect_16_a_cancel_is_not_overwritten_by_what_the_run_does_next(world: World) -> None:
    @workflow(id="defect-16")
    async def body(ctx: WorkflowContext, then: str) -> str:
        await ctx.step.run("work", world.effect)
        if then == "waits":
            await ctx.step.wait_for("nap", hours=1)
        if then == "fails":
            raise ValueError("broken")
        return "completed"

    async with world.deploy(body) as env:
        for then in ("waits", "fails", "completes"):
            handle = await env.start(body, then)
            gate = world.wire.block("put r#work")
            owner = world.begin()
            await gate.reach()
            assert await env.cancel(handle)
            await world.begin().end()
            if then != "fails":  # that body may end before it sees the cancel: it is not run again
                await world.until(lambda handle=handle: any(line == f"strike {handle.id}" for line in world.wire.lines))
            gate.release()
            await owner.end()
            with pytest.raises(WorkflowCancelledError):
                await env.finish(handle)
            world.wire.quiet()


@law
async def test_defect_17_where_nothing_is_due_nothing_is_requested(world: World) -> None:
    @workflow(id="defect-17")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for_event("e", "defect/17")

    async with world.deploy(body) as env:
        await env.start(body)
        await env.settle()
        before = dict(env.requests)
        await env.advance(days=2)
        assert dict(env.requests) == before


@law
async def test_defect_18_an_early_replay_never_sees_part_of_a_batch(world: World) -> None:
    seen: list[list[int]] = []
    turns: list[bool] = []

    @workflow(id="defect-18-child")
    async def child(ctx: WorkflowContext, hours: int) -> int:
        await ctx.step.wait_for("nap", hours=hours)
        return hours

    @workflow(id="defect-18")
    async def body(ctx: WorkflowContext) -> int:
        turns.append(True)
        inputs = [BatchWorkflowInput(id="defect-18-child", payload=hours) for hours in (1, 2, 3)]
        results, _ = await asyncio.gather(
            ctx.step.batch_invoke_and_wait("all", inputs), ctx.step.wait_for("a wake between", hours=2, minutes=30)
        )
        seen.append([one.result for one in results])
        await ctx.step.wait_for("and once more", hours=1)
        return sum(seen[-1])

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.advance(hours=2, minutes=45)
        assert len(turns) >= 2
        assert seen == []
        assert await env.finish(handle) == 6
    assert {tuple(one) for one in seen} == {(1, 2, 3)}


def test_defect_19_a_process_that_stops_leaves_its_runs_to_the_next_at_once(local: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def work() -> str:
        began.set()
        assert go_on.wait(10)
        return "done"

    @workflow(id="defect-19")
    async def body(ctx: WorkflowContext) -> str:
        first = await ctx.step.run("work", work)
        await ctx.step.wait_for("nap", seconds=0.2)
        return first

    async def stops() -> str:
        async with Polos(local=local) as client:
            handle = await body.invoke(client)
            await asyncio.to_thread(began.wait, 10)
            go_on.set()
            return handle.id

    async def goes_on(execution_id: str) -> str:
        async with Polos(local=local) as client:
            result = await client.wait_for_result(execution_id, 5)
            found = [event.event_type async for event in client.stream_workflow("defect-19", execution_id)]
            assert "workflow_cancelled" not in found
            return result

    assert asyncio.run(goes_on(asyncio.run(stops()))) == "done"


@law
async def test_defect_20_a_time_limit_holds_for_a_run_that_waits_before_anything_else(world: World) -> None:
    @workflow(id="defect-20")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for_event("never", "defect/20")

    async with world.deploy(body) as env:
        began = env.now
        handle = await env.start(body, run_timeout_seconds=1800)
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(handle)
        assert 1800 <= (env.now - began).total_seconds() < 1805


@law
async def test_costs_a_replay_reads_its_history_once_however_long_it_is(world: World) -> None:
    @workflow(id="defect-cost")
    async def body(ctx: WorkflowContext, steps: int) -> None:
        for n in range(steps):
            await ctx.step.run(f"s{n}", lambda n=n: n)
        await ctx.step.wait_for("nap", minutes=1)

    async with world.deploy(body) as env:
        reads = []
        for steps in (2, 40):
            handle = await env.start(body, steps)
            await env.settle()
            before = env.requests["Query"] + env.requests["GetItem"]
            await env.finish(handle)
            reads.append(env.requests["Query"] + env.requests["GetItem"] - before)
        assert reads[0] == reads[1]
