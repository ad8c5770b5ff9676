"""SPEC 5 and 8.5: workflows triggered by native events of EventBridge; on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BatchEventPayload,
    EventPattern,
    EventPayload,
    InvalidPayloadError,
    WorkflowContext,
    WorkflowDefinitionError,
    workflow,
)
from polos.core.identity import native_id
from tests.features.listing import listed
from tests.laws.worlds import World, law

UPLOADS = EventPattern({"source": ["aws.s3"], "detail-type": ["Object Created"]})
DETAIL = {"bucket": {"name": "uploads"}, "object": {"key": "in/cat.png", "size": 5}}


class Bucket(BaseModel):
    name: str


class Object(BaseModel):
    key: str
    size: int


class Upload(BaseModel):
    bucket: Bucket
    object: Object


@law
async def test_native_event_starts_one_execution_of_each_workflow_whose_pattern_it_matches(world: World) -> None:
    got: list[Any] = []

    @workflow(id="native-envelope", trigger_on_event=UPLOADS)
    async def as_payload(ctx: WorkflowContext, event: EventPayload) -> None:
        got.append((event.topic, event.event_type, event.data, event.id, event.created_at == ctx.created_at))

    @workflow(id="native-dict", trigger_on_event=UPLOADS)
    async def as_dict(ctx: WorkflowContext, event: dict) -> None:
        got.append((event["source"], event["detail-type"], event["detail"], event["id"], "region" in event))

    @workflow(id="native-model", trigger_on_event=EventPattern({"detail": {"object": {"key": [{"suffix": ".png"}]}}}))
    async def as_model(ctx: WorkflowContext, upload: Upload) -> None:
        got.append(upload.object.key)

    @workflow(id="native-nothing", trigger_on_event=EventPattern({"source": ["aws.s3"]}))
    async def takes_nothing(ctx: WorkflowContext) -> None:
        got.append("nothing")

    @workflow(id="native-other", trigger_on_event=EventPattern({"source": ["aws.ec2"]}))
    async def other(ctx: WorkflowContext) -> None:
        got.append("other")

    async with world.deploy(as_payload, as_dict, as_model, takes_nothing, other) as env:
        event_id = await env.put_event("aws.s3", "Object Created", DETAIL)
        await env.settle()
        assert sorted(got, key=str) == sorted(
            [("aws.s3", "Object Created", DETAIL, event_id, True)] * 2 + ["in/cat.png", "nothing"], key=str
        )
        assert {line.id for line in await listed(env)} == {
            native_id(one, event_id) for one in ("native-envelope", "native-dict", "native-model", "native-nothing")
        }


@law
async def test_native_event_that_matches_nothing_starts_nothing(world: World) -> None:
    @workflow(id="native-none", trigger_on_event=UPLOADS)
    async def uploads(ctx: WorkflowContext, event: dict) -> None: ...

    async with world.deploy(uploads) as env:
        await env.put_event("aws.s3", "Object Deleted", DETAIL)
        await env.publish("aws.s3", DETAIL)
        await env.settle()
        assert await listed(env) == []


@law
async def test_native_event_that_is_put_and_delivered_twice_starts_one_execution(world: World) -> None:
    ran: list[str] = []

    @workflow(id="native-twice", trigger_on_event=UPLOADS)
    async def uploads(ctx: WorkflowContext, upload: Upload) -> None:
        await ctx.step.run("note", lambda: ran.append(upload.object.key))

    async with world.deploy(uploads) as env:
        twice = world.after_each(lambda message: world.again(message, new_id=True).join())
        for _ in range(2):
            assert await env.put_event("aws.s3", "Object Created", DETAIL, event_id="one-event") == "one-event"
            await env.settle()
        assert twice.count >= 3
        assert len(await listed(env)) == 1
    assert ran == ["in/cat.png"]


@law
async def test_native_event_that_its_model_refuses_fails_where_people_can_see_it(world: World) -> None:
    @workflow(id="native-refused", trigger_on_event=UPLOADS)
    async def uploads(ctx: WorkflowContext, upload: Upload) -> None: ...

    async with world.deploy(uploads) as env:
        event_id = await env.put_event("aws.s3", "Object Created", {"bucket": {"name": "b"}, "object": {"key": "k"}})
        await env.settle()
        detail = await env.describe(native_id("native-refused", event_id))
        assert detail.status == "failed"
        assert detail.error is not None
        assert detail.error.type == "InvalidPayloadError"
        assert "object.size" in detail.error.message


@law
async def test_native_events_come_in_batches(world: World) -> None:
    got: list[Any] = []

    @workflow(id="native-batch", trigger_on_event=UPLOADS, batch_size=2, batch_timeout_seconds=60)
    async def uploads(ctx: WorkflowContext, batch: BatchEventPayload) -> None:
        got.append([event.data["object"]["key"] for event in batch.events])

    @workflow(id="native-batch-dict", trigger_on_event=UPLOADS, batch_size=3)
    async def as_dict(ctx: WorkflowContext, batch: dict) -> None:
        got.append([event["detail"]["object"]["key"] for event in batch["events"]])

    async with world.deploy(uploads, as_dict) as env:
        for number in range(3):
            detail = {**DETAIL, "object": {"key": f"k{number}", "size": 1}}
            await env.put_event("aws.s3", "Object Created", detail, event_id=f"e{number}")
            await env.advance(seconds=1)
        await env.advance(minutes=2)
    assert sorted(got) == [["k0", "k1"], ["k0", "k1", "k2"], ["k2"]]


@law
async def test_native_event_put_by_a_client_reaches_the_workflow(world: World) -> None:
    @workflow(id="native-client", trigger_on_event=UPLOADS)
    async def uploads(ctx: WorkflowContext, upload: Upload) -> str:
        return upload.object.key

    async with world.deploy(uploads) as env:
        event_id = await env.client.put_event("aws.s3", "Object Created", DETAIL)
        await env.settle()
        assert (await env.describe(native_id("native-client", event_id))).result == "in/cat.png"
        for bad, said in ((("", "x"), "source"), (("s", ""), "detail_type"), (("s", "d", ["x"]), "must be a dict")):
            with pytest.raises(InvalidPayloadError, match=said):
                await env.client.put_event(*bad)  # type: ignore[arg-type]
        with pytest.raises(InvalidPayloadError, match="not JSON"):
            await env.client.put_event("s", "d", {"x": object()})


@law
async def test_native_event_is_started_whatever_crashes(world: World) -> None:
    ran: list[int] = []

    @workflow(id="native-crash", trigger_on_event=UPLOADS)
    async def uploads(ctx: WorkflowContext, event: dict) -> None:
        await ctx.step.run("note", lambda: ran.append(1))

    async with world.deploy(uploads) as env:
        before = world.wire.crash("send start ")
        await env.put_event("aws.s3", "Object Created", DETAIL)
        await env.settle()
        assert before.hit
        after = world.wire.crash("send start ", after=True)
        await env.advance(minutes=2)
        assert after.hit
        await env.advance(minutes=2)
        assert len(await listed(env)) == 1
    assert ran == [1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"trigger_on_event": EventPattern({"source": "aws.s3"})}, "on_upload.*'source' must be a list"),
        ({"trigger_on_event": EventPattern({})}, "on_upload.*at least one field"),
        ({"trigger_on_event": UPLOADS, "schedule": "0 0 * * *"}, "on_upload.*both schedule and trigger_on_event"),
        ({"trigger_on_event": {"source": ["aws.s3"]}}, "on_upload.*EventPattern"),
    ],
)
def test_native_trigger_that_cannot_work_is_an_error_at_import_that_names_the_function(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(WorkflowDefinitionError, match=said):

        @workflow(id="native-bad", **options)
        async def on_upload(ctx: WorkflowContext, event: dict) -> None: ...
