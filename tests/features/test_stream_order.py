"""SPEC 5: the sequence ids of a run's stream are unique and rising, and following goes on from each of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from polos import BatchWorkflowInput, WorkflowContext, events, workflow
from polos.core import items
from polos.engine.streams import Follower
from polos.types.types import StreamEvent
from tests.laws.wire import PATIENCE
from tests.laws.worlds import World, law


async def _collect(stream: Any) -> list[StreamEvent]:
    return [event async for event in stream]


def _names(found: list[StreamEvent]) -> list[str]:
    steps = ("step_start", "step_finish")
    return [
        f"{one.event_type} {one.data['step_key']}" if one.event_type in steps else f"{one.event_type}" for one in found
    ]


def _follower(world: World, execution_id: str, after: int | None = None) -> Follower:
    return Follower(world.env.harness.engine, execution_id, after, None)


@workflow(id="order-child")
async def child(ctx: WorkflowContext, n: int) -> int:
    await ctx.step.publish_workflow_event("say", {"n": n}, event_type="said")
    return await ctx.step.run("work", lambda: n)


@workflow(id="order-family")
async def family(ctx: WorkflowContext) -> None:
    await ctx.step.run("first", lambda: 1)
    await ctx.step.publish_workflow_event("say", {"n": -1}, event_type="said")
    await ctx.step.invoke_and_wait("one", child, 0)
    await ctx.step.batch_invoke_and_wait("all", [BatchWorkflowInput(id=child.id, payload=n) for n in (1, 2, 3)])
    await ctx.step.suspend("ask")


@law
async def test_every_event_of_a_family_has_an_id_of_its_own_to_go_on_from_though_all_is_of_one_moment(
    world: World,
) -> None:
    async with world.deploy(family, child) as env:
        handle = await env.start(family)
        await env.settle()
        await env.resume(handle, "ask", "fine")
        await env.finish(handle)

        def following(after: int | None) -> Any:
            stream = events.stream_workflow(env.client, family.id, handle.id, last_sequence_id=after)
            return asyncio.wait_for(_collect(stream), 20)

        found = await following(None)
        ids = [event.sequence_id for event in found]
        assert ids == sorted(set(ids))
        assert all(one < 1 << 63 for one in ids)
        names = _names(found)
        assert names[:3] == ["workflow_start", "step_start first", "step_finish first"]
        assert names[-1] == "workflow_finish"
        assert names.index("step_finish first") < names.index("said")
        assert names.count("workflow_start") == names.count("said") == 5
        for at in range(0, len(found), 1 if world.backend == "memory" else 7):
            assert await following(ids[at]) == found[at + 1 :], names[at]


@law
async def test_who_goes_on_after_a_break_gets_the_step_that_began_before_it_and_ended_after_it(world: World) -> None:
    go_on = threading.Event()

    @workflow(id="order-long-step")
    async def body(ctx: WorkflowContext) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(ctx.step.run("long", go_on.wait, PATIENCE))
            both.create_task(ctx.step.run("short", lambda: 1))

    async with world.deploy(body) as env:
        handle = await env.start(body)
        owner = world.begin()
        await world.until(lambda: world.is_recorded(handle.id, "short"))
        before, _ = _follower(world, handle.id).look()
        assert _names(before) == ["workflow_start", "step_start short", "step_finish short"]
        env.harness.clock.advance(1)
        go_on.set()
        await owner.end()
        stream = events.stream_workflow(env.client, body.id, handle.id, last_sequence_id=before[-1].sequence_id)
        rest = await asyncio.wait_for(_collect(stream), 10)
    assert _names(rest) == ["step_start long", "step_finish long", "workflow_finish"]


@law
async def test_a_child_has_its_place_where_it_begins_however_long_its_start_was_on_its_way(world: World) -> None:
    @workflow(id="order-late-child")
    async def body(ctx: WorkflowContext) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(ctx.step.invoke_and_wait("child", child, 0))
            both.create_task(ctx.step.wait_for("nap", seconds=5))
        await ctx.step.run("after", lambda: 1)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await world.begin().end()
        (start,) = [one for one in world.take_all() if one.line.startswith("start")]
        env.harness.clock.advance(6)
        before, _ = _follower(world, handle.id).look()
        assert _names(before) == ["workflow_start", "step_start nap", "step_finish nap"]
        await world.begin(start).end()
        rest, _ = _follower(world, handle.id, before[-1].sequence_id).look()
    assert _names(rest)[0] == "workflow_start"


def _record(world: World, execution_id: str, key: str, at: int) -> None:
    """As if an owner whose write took long, or whose clock is behind, had recorded a step."""
    about = {items.STATE: items.DECIDED, items.KIND: "step", items.EPOCH: 1, items.AT: at, items.VALUE: "1"}
    world.table.put(items.keyed(items.record(execution_id, key), about))


@workflow(id="order-suspended")
async def suspended(ctx: WorkflowContext) -> None:
    await ctx.step.suspend("ask")


@law
async def test_what_comes_late_by_no_more_than_a_look_is_shown_in_its_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.deploy(suspended) as env:
        handle = await env.start(suspended)
        await env.settle()
        clock = env.harness.clock
        monkeypatch.setattr(clock, "real_delay", float)
        clock.advance(60)
        follower, now = _follower(world, handle.id), env.harness.engine.now()
        assert _names(follower.look()[0]) == ["workflow_start", "suspend_ask"], "what is old is shown at once"
        _record(world, handle.id, "b", now + 10)
        assert follower.look()[0] == [], "something that came before may still be on its way"
        clock.advance(0.2)
        _record(world, handle.id, "a", now)
        assert follower.look()[0] == []
        clock.advance(0.31)
        found = follower.look()[0]
        assert _names(found) == ["step_start a", "step_finish a", "step_start b", "step_finish b"]
        rest, _ = _follower(world, handle.id, found[1].sequence_id).look()
        assert rest == found[2:]


@law
async def test_what_comes_later_still_is_shown_late_and_ids_go_on_rising(world: World) -> None:
    async with world.deploy(suspended) as env:
        handle = await env.start(suspended)
        await env.settle()
        began = env.harness.engine.now()
        follower = _follower(world, handle.id)
        _record(world, handle.id, "b", began + 2000)
        shown = follower.look()[0]
        _record(world, handle.id, "a", began + 1000)
        shown += follower.look()[0]
        _record(world, handle.id, "c", began + 2000)
        shown += follower.look()[0]
    assert _names(shown)[-6:] == [f"{what} {key}" for key in "bac" for what in ("step_start", "step_finish")]
    ids = [event.sequence_id for event in shown]
    assert ids == sorted(set(ids))


@law
async def test_an_event_that_is_still_to_be_delivered_keeps_its_place_before_what_follows(world: World) -> None:
    @workflow(id="order-on-its-way")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.publish_workflow_event("say", 1, event_type="said")
        await ctx.step.run("after", lambda: 1)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await world.begin().end()
        follower = _follower(world, handle.id)
        found, ended = follower.look()
        assert (_names(found), ended) == (["workflow_start"], False)
        await env.settle()
        rest, ended = follower.look()
        assert _names(rest)[:1] == ["said"]
        assert (_names(rest)[-1], ended) == ("workflow_finish", True)


@law
async def test_what_was_sent_long_before_the_execution_could_take_it_stands_where_it_took_it(world: World) -> None:
    @workflow(id="order-paused-child")
    async def napping(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("nap", seconds=30)

    @workflow(id="order-paused")
    async def body(ctx: WorkflowContext) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(ctx.step.invoke_and_wait("child", napping))
            both.create_task(ctx.step.wait_for_event("event", "order/paused"))
            both.create_task(ctx.step.suspend("ask"))

    async with world.deploy(body, napping) as env:
        handle = await env.start(body)
        await env.settle()
        await env.client.pause(handle.id)
        await env.publish("order/paused", 1)
        await env.resume(handle, "ask", 2)
        await env.advance(minutes=1)
        before, _ = _follower(world, handle.id).look()
        assert _names(before)[-1] == "step_finish child"
        await env.client.unpause(handle.id)
        await env.settle()
        stream = events.stream_workflow(env.client, body.id, handle.id, last_sequence_id=before[-1].sequence_id)
        rest = _names(await asyncio.wait_for(_collect(stream), 10))
    assert {"step_start event", "step_finish event", "resume_ask"} <= set(rest)
    assert rest[-1] == "workflow_finish"
