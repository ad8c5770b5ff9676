"""SPEC 5: publishing, triggers, streams, retention; on every backend."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BatchEventPayload,
    EventPayload,
    InvalidPayloadError,
    StepTimeoutError,
    WorkflowContext,
    WorkflowFailedError,
    events,
    workflow,
)
from polos.types.types import StreamEvent
from tests.features.listing import listed
from tests.laws.worlds import World, law


class SignUp(BaseModel):
    user: str
    age: int = 0


class Mine(EventPayload):
    """A subclass of the envelope."""


async def _collect(stream: Any, count: int | None = None) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    async for event in stream:
        found.append(event)
        if len(found) == count:
            break
    return found


# ---- publishing


@law
async def test_publish_gives_ids_in_the_order_of_publishing(world: World) -> None:
    async with world.deploy() as env:
        client = env.client
        ids = [await events.publish(client, "order", events.EventData(data={"n": 0}))]
        ids += await events.batch_publish(client, "order", [events.EventData(data={"n": n}) for n in range(1, 25)])
        ids.append(await events.publish("order", {"n": 25}))
        ids.append(await events.publish(client=client, topic="order", event_data=events.EventData(data={"n": 26})))
        assert all(isinstance(one, int) for one in ids)
        assert ids == sorted(set(ids))
        await env.settle()
        found = await _collect(events.stream_topic(client, "order", last_sequence_id=0), 27)
        assert [event.data["n"] for event in found] == list(range(27))
        assert [event.sequence_id for event in found] == ids
        after = await _collect(events.stream_topic(client, "order", last_sequence_id=ids[-3]), 2)
        assert [event.data["n"] for event in after] == [25, 26]


@law
async def test_publish_with_the_same_id_is_one_event(world: World) -> None:
    @workflow(id="events-dedupe", trigger_on_event="events/dedupe")
    async def triggered(ctx: WorkflowContext, event: EventPayload) -> str:
        return await ctx.step.run("work", world.effect)

    @workflow(id="events-dedupe-wait")
    async def waits(ctx: WorkflowContext) -> list[Any]:
        return [(await ctx.step.wait_for_event(f"e{n}", "events/dedupe")).data for n in range(2)]

    async with world.deploy(triggered, waits) as env:
        handle = await env.start(waits)
        for _ in range(3):
            await env.publish("events/dedupe", "one", event_id="the-same")
            await env.advance(minutes=1)
        await events.publish(env.client, "events/dedupe", events.EventData(data="two", event_id="another"))
        assert await env.finish(handle) == ["one", "two"]
        await env.settle()
        assert len(await listed(env, workflow_id="events-dedupe")) == 2
    assert world.ran("work") == 2


@law
async def test_event_type_filters_what_a_wait_takes(world: World) -> None:
    @workflow(id="events-typed")
    async def body(ctx: WorkflowContext) -> list[Any]:
        paid = await ctx.step.wait_for_event("paid", "order/1", event_type="paid")
        first = await ctx.step.wait_for_event("any", "order/1")
        try:
            await ctx.step.wait_for_event("never", "order/1", timeout=60, event_type="lost")
        except StepTimeoutError:
            return [paid.data, paid.event_type, first.data, first.event_type]
        raise AssertionError

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("order/1", 1, event_type="packed")
        await env.settle()
        assert (await env.describe(handle)).status == "waiting"
        await env.publish("order/1", 2, event_type="paid")
        assert await env.finish(handle) == [2, "paid", 1, "packed"]


@law
async def test_the_topics_of_the_runtime_are_refused_for_users(world: World) -> None:
    @workflow(id="events-forge")
    async def body(ctx: WorkflowContext, other: str) -> Any:
        with pytest.raises(InvalidPayloadError, match="publish_workflow_event"):
            await ctx.step.publish_event("forge", f"workflow/events-asks/{other}", {"yes": True}, "resume_ask")
        await ctx.step.publish_workflow_event("own", {"yes": True}, "resume_ask")
        return "refused"

    @workflow(id="events-asks")
    async def asks(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask"))["data"]

    async with world.deploy(body, asks) as env:
        handle = await env.start(asks)
        await env.settle()
        topic = f"workflow/events-asks/{handle.id}"
        for call in (
            events.publish(env.client, topic, events.EventData(data={"yes": True}, event_type="resume_ask")),
            events.batch_publish(env.client, topic, [events.EventData(data={})]),
        ):
            with pytest.raises(InvalidPayloadError, match="the runtime's own"):
                await call
        assert await env.finish(await env.start(body, handle.id)) == "refused"
        assert (await env.describe(handle)).status == "waiting", "an event that looks like a resume is none"
        await env.resume(handle, "ask", "real")
        assert await env.finish(handle) == "real"


@law
async def test_events_are_kept_for_a_wait_still_to_come_and_not_for_ever(world: World) -> None:
    @workflow(id="events-late")
    async def late(ctx: WorkflowContext, hours: float) -> Any:
        await ctx.step.wait_for("sleep", hours=hours)
        return (await ctx.step.wait_for_event("news", "events/late", timeout=60)).data

    async with world.deploy(late) as env:
        short, long = await env.start(late, 23), await env.start(late, 26)
        await env.settle()
        await env.publish("events/late", "kept")
        assert await env.finish(short) == "kept"
        topic = events.stream_topic(topic="events/late", client=env.client, last_sequence_id=0)
        assert [event.data for event in await _collect(topic, 1)] == ["kept"]
        (item,) = world.table.query("t#events/late", prefix="e#")
        assert item["ttl"] - env.now.timestamp() < 3600 + 60, "24 hours after it was published"
        assert long.id != short.id


# ---- triggers


@law
async def test_trigger_gives_each_kind_of_input_what_it_asks_for(world: World) -> None:
    got: dict[str, Any] = {}

    @workflow(id="feature-trigger-model", trigger_on_event="events/signup")
    async def model(ctx: WorkflowContext, user: SignUp) -> None:
        got["model"] = user

    @workflow(id="feature-trigger-envelope", trigger_on_event="events/signup")
    async def envelope(ctx: WorkflowContext, event: EventPayload) -> None:
        got["envelope"] = event

    @workflow(id="feature-trigger-mine", trigger_on_event="events/signup")
    async def mine(ctx: WorkflowContext, event: Mine) -> None:
        got["mine"] = event

    @workflow(id="feature-trigger-dict", trigger_on_event="events/signup")
    async def as_dict(ctx: WorkflowContext, event: dict) -> None:
        got["dict"] = event

    @workflow(id="feature-trigger-optional", trigger_on_event="events/signup")
    async def optional(ctx: WorkflowContext, user: SignUp | None) -> None:
        got["optional"] = user

    @workflow(id="feature-trigger-nothing", trigger_on_event="events/signup")
    async def nothing(ctx: WorkflowContext) -> None:
        got["nothing"] = True

    async with world.deploy(model, envelope, mine, as_dict, optional, nothing) as env:
        sequence = await env.publish("events/signup", {"user": "ada", "age": 36}, event_type="created", event_id="e1")
        await env.settle()
        assert len(await listed(env, status="completed")) == 6
    event = got["envelope"]
    assert (event.id, event.sequence_id, event.topic) == ("e1", sequence, "events/signup")
    assert (event.event_type, event.data) == ("created", {"user": "ada", "age": 36})
    assert isinstance(event.created_at, datetime)
    assert type(got["mine"]) is Mine
    assert got["mine"].data == event.data
    assert got["model"] == got["optional"] == SignUp(user="ada", age=36)
    assert got["dict"]["data"] == {"user": "ada", "age": 36}
    assert got["dict"]["topic"] == "events/signup"


@law
async def test_trigger_with_batch_size_one_gives_a_batch_of_one(world: World) -> None:
    got: list[BatchEventPayload] = []

    @workflow(id="feature-trigger-batch", trigger_on_event="events/batch")
    async def body(ctx: WorkflowContext, batch: BatchEventPayload) -> None:
        got.append(batch)

    async with world.deploy(body) as env:
        await env.publish("events/batch", 1)
        await env.publish("events/batch", 2)
        await env.settle()
    assert sorted([event.data for event in batch.events] for batch in got) == [[1], [2]]  # in any order


@law
async def test_trigger_with_data_that_does_not_fit_fails_where_people_see_it(world: World) -> None:
    @workflow(id="feature-trigger-misfit", trigger_on_event="events/misfit")
    async def body(ctx: WorkflowContext, user: SignUp) -> None: ...

    async with world.deploy(body) as env:
        await env.publish("events/misfit", {"user": "ada", "age": "old"})
        await env.settle()
        (line,) = await listed(env, status="failed")
        with pytest.raises(WorkflowFailedError, match="age"):
            await env.finish(line.id)


@law
async def test_trigger_topics_are_exact_and_history_is_not_replayed(world: World) -> None:
    @workflow(id="feature-trigger-exact", trigger_on_event="events/exact")
    async def body(ctx: WorkflowContext, event: dict) -> Any:
        return event["data"]

    async with world.deploy() as env:
        await env.publish("events/exact", "before it was deployed")
        await env.settle()
    async with world.deploy(body) as env:
        for topic in ("events/exact/more", "events", "events/exac", "Events/exact"):
            await env.publish(topic, "other")
        await env.publish("events/exact", "mine")
        await env.settle()
        (line,) = await listed(env)
        assert (await env.client.get_execution(line.id))["result"] == "mine"


@law
async def test_trigger_from_a_workflow_starts_one_whatever_crashes(world: World) -> None:
    @workflow(id="feature-trigger-chain", trigger_on_event="events/chain")
    async def second(ctx: WorkflowContext, event: dict) -> Any:
        return await ctx.step.run("work", world.effect, event["data"])

    @workflow(id="feature-trigger-chain-first")
    async def first(ctx: WorkflowContext) -> None:
        await ctx.step.publish_event("tell", "events/chain", {"from": ctx.execution_id}, event_type="told")

    async with world.deploy(first, second) as env:
        fault = world.wire.crash("^publish", after=True)
        handle = await env.start(first)
        await env.finish(handle)
        await env.advance(minutes=5)
        assert fault.reached
        (line,) = await listed(env, workflow_id="feature-trigger-chain")
        assert (await env.client.get_execution(line.id))["result"] == {"from": handle.id}
    assert world.ran("work") == 1


# ---- streams


@law
async def test_stream_of_a_run_tells_everything_in_order_and_ends(world: World) -> None:
    @workflow(id="stream-child")
    async def child(ctx: WorkflowContext) -> str:
        return await ctx.step.run("in the child", lambda: "grown")

    @workflow(id="stream-run")
    async def body(ctx: WorkflowContext, name: str) -> str:
        await ctx.step.run("first", lambda: 1)
        await ctx.step.wait_for("a minute", minutes=1)
        await ctx.step.publish_workflow_event("say", {"progress": 50}, event_type="progress")
        await ctx.step.wait_for("another", minutes=1)
        await ctx.step.invoke_and_wait("child", child)
        answer = await ctx.step.suspend("ask", {"question": "ok?", "_form": {"fields": []}})
        return answer["data"]

    async with world.deploy(body, child) as env:
        handle = await env.start(body, "ada")
        await env.advance(minutes=5)
        await env.resume(handle, "ask", "fine")
        await env.finish(handle)
        stream = events.stream_workflow(env.client, handle.root_workflow_id, handle.id)
        found = await asyncio.wait_for(_collect(stream), 10)
        kinds = [event.event_type for event in found]
        steps = [event.data["step_key"] for event in found if event.event_type == "step_finish"]
        assert kinds[0] == "workflow_start"
        assert kinds[-1] == "workflow_finish"
        assert found[0].data["payload"] == "ada"
        assert found[-1].data["result"] == "fine"
        assert found[-1].data["_metadata"]["execution_id"] == handle.id
        assert steps.index("first") < steps.index("a minute") < steps.index("in the child")
        assert kinds.count("workflow_start") == kinds.count("workflow_finish") == 2, "children are in the stream"
        assert kinds.index("progress") < kinds.index("suspend_ask") < kinds.index("resume_ask")
        (asked,) = [event for event in found if event.event_type == "suspend_ask"]
        assert (asked.data["question"], asked.data["_form"]) == ("ok?", {"fields": []})
        assert "_approval_url" not in asked.data
        assert [event.sequence_id for event in found] == sorted(event.sequence_id for event in found)
        assert {event.topic for event in found} == {f"workflow/stream-run/{handle.id}"}
        (progress,) = [event for event in found if event.event_type == "progress"]
        stream = events.stream_workflow(
            client=env.client, workflow_id=body.id, workflow_run_id=handle.id, last_sequence_id=progress.sequence_id
        )
        rest = await asyncio.wait_for(_collect(stream), 10)
        assert [event.id for event in rest] == [event.id for event in found if event.sequence_id > progress.sequence_id]


@pytest.mark.parametrize("end", ["failed", "cancelled", "timed_out", "terminated"])
@law
async def test_stream_of_a_run_ends_however_the_run_ends(world: World, end: str) -> None:
    @workflow(id="stream-ends", max_retries=0)
    async def body(ctx: WorkflowContext, fail: bool) -> None:
        if fail:
            raise ValueError("broken")
        await ctx.step.wait_for("long", days=9)

    async with world.deploy(body) as env:
        handle = await env.start(body, end == "failed", run_timeout_seconds=60 if end == "timed_out" else None)
        await env.settle()
        if end == "cancelled":
            await env.cancel(handle)
        elif end == "terminated":
            await env.client.terminate(handle.id)
        await env.advance(minutes=2)
        stream = events.stream_workflow(env.client, body.id, handle.id)
        found = await asyncio.wait_for(_collect(stream), 10)
        kind = "workflow_failed" if end in ("failed", "timed_out") else "workflow_cancelled"
        assert [event.event_type for event in found][-1] == kind
        assert found[-1].data["status"] == ("cancelled" if end == "terminated" else end)
        if end == "failed":
            assert found[-1].data["error"]["message"] == "broken"


@law
async def test_stream_follows_a_run_that_is_under_way_at_no_cost_to_it(world: World) -> None:
    @workflow(id="stream-live")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.suspend("ask")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        following = asyncio.create_task(_collect(events.stream_workflow(env.client, body.id, handle.id)))
        await asyncio.sleep(0.1)
        await env.resume(handle, "ask", 1)
        await env.settle()
        found = await asyncio.wait_for(following, 10)
        assert [event.event_type for event in found] == [
            "workflow_start",
            "suspend_ask",
            "resume_ask",
            "workflow_finish",
        ]
        assert (await env.describe(handle)).invocations == 2


@law
async def test_stream_of_a_topic_begins_now_unless_told(world: World) -> None:
    async with world.deploy() as env:
        await env.publish("events/stream", "before")
        await env.advance(minutes=1)
        began = env.now
        following = asyncio.create_task(_collect(events.stream_topic(env.client, "events/stream"), 1))
        await asyncio.sleep(0.05)
        await env.advance(seconds=1)
        await env.publish("events/stream", "after")
        await env.settle()
        assert [event.data for event in await asyncio.wait_for(following, 10)] == ["after"]
        since = events.stream_topic(env.client, "events/stream", last_timestamp=began)
        assert [event.data for event in await _collect(since, 1)] == ["after"]
