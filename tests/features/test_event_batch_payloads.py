"""SPEC 5, 12: what a batch gives to the function, and events that cannot be read or do not fit."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
from pydantic import BaseModel

from polos import BatchEventPayload, WorkflowContext, WorkflowDefinitionError, workflow
from polos.core.identity import batch_id
from polos.engine import batching
from polos.errors import InvalidPayloadError
from polos.ports import Message
from tests.features.batches import TOPIC, Batches, left, make, publish
from tests.laws.worlds import World, law


class Typed(BatchEventPayload):
    @property
    def numbers(self) -> list[Any]:
        return [event.data for event in self.events]


class Own(BaseModel):
    class Part(BaseModel):
        data: int
        topic: str

    events: list[Part]


@law
async def test_S5_the_payload_is_what_the_function_is_annotated_with(world: World) -> None:
    seen: dict[str, Any] = {}
    options: Any = {"trigger_on_event": TOPIC, "batch_size": 2}

    @workflow(id="untyped", **options)
    async def untyped(ctx: WorkflowContext, given) -> None:  # type: ignore[no-untyped-def]
        seen["untyped"] = given

    @workflow(id="typed", **options)
    async def typed(ctx: WorkflowContext, given: Typed | None) -> None:
        seen["typed"] = given

    @workflow(id="plain", **options)
    async def plain(ctx: WorkflowContext, given: dict[str, Any]) -> None:
        seen["plain"] = given

    @workflow(id="own", **options)
    async def own(ctx: WorkflowContext, given: Own) -> None:
        seen["own"] = given

    @workflow(id="nothing", **options)
    async def nothing(ctx: WorkflowContext) -> None:
        seen["nothing"] = None

    async with world.deploy(untyped, typed, plain, own, nothing) as env:
        await env.publish(TOPIC, 1, event_type="kind", event_id="x")
        await env.publish(TOPIC, 2)
        await env.settle()
    assert isinstance(seen["untyped"], BatchEventPayload)
    assert isinstance(seen["typed"], Typed)
    assert seen["typed"].numbers == [1, 2]
    assert seen["typed"].events[0].event_type == "kind"
    assert [list(seen["plain"]), seen["plain"]["events"][0]["id"]] == [["events"], "x"]
    assert isinstance(seen["plain"]["events"][0]["created_at"], str)
    assert seen["own"] == Own(events=[Own.Part(data=1, topic=TOPIC), Own.Part(data=2, topic=TOPIC)])
    assert "nothing" in seen


@law
async def test_S12_a_batch_that_the_function_does_not_take_fails_where_it_can_be_seen(world: World) -> None:
    @workflow(id="refusing-own", trigger_on_event=TOPIC, batch_size=2)
    async def own(ctx: WorkflowContext, given: Own) -> None:
        raise AssertionError("it does not run")

    async with world.deploy(own) as env:
        await env.publish(TOPIC, "no number")
        await env.publish(TOPIC, b"\xff")
        await env.settle()
        detail = await env.describe(batch_id("refusing-own", 0))
        assert (detail.status, detail.error and detail.error.type) == ("failed", "InvalidPayloadError")
        assert left(world, "refusing-own") == []


@law
async def test_S12_an_event_that_cannot_be_read_fails_alone(world: World) -> None:
    app = Batches(3)
    async with world.deploy(app.workflow) as env:
        broken = dataclasses.replace(make(world, "bad", later=1), data='{"$":"unheard of"}')
        publish(world, make(world, 0), broken, make(world, 1, later=2))
        await env.settle()
        await env.advance(seconds=1)
        await env.publish(TOPIC, 2)
        await env.publish(TOPIC, 3)
        await env.settle()
        await env.publish(TOPIC, 4)
        await env.settle()
        assert app.batches == [[0], [1, 2, 3]]
        detail = await env.describe(batch_id("batched", 1))
        assert (detail.status, detail.error and detail.error.type) == ("failed", "SerializationError")


@law
async def test_S12_a_batch_ends_before_its_payload_is_too_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MOST_TEXT", 1000)
    app = Batches(4, 60)
    async with world.deploy(app.workflow) as env:
        texts = [letter * 450 for letter in "abcdef"] + ["g" * 5000]
        for text in texts:
            await env.publish(TOPIC, text)
        await env.advance(seconds=61)
        assert [len(one) for one in app.batches] == [2, 2, 2, 1]
        assert app.events == texts


@law
async def test_S5_events_that_are_stored_beside_the_table(world: World) -> None:
    app = Batches(2)
    async with world.deploy(app.workflow) as env:
        texts = ["".join(map(chr, random.Random(n).choices(range(33, 120), k=1_400_000))) for n in range(2)]
        for text in texts:
            publish(world, await env.client.encode_event(TOPIC, text, None, None))
        await env.settle()
        assert app.batches == [texts]


@pytest.mark.parametrize("body", [{"t": "batch"}, {"t": "batch", "wf": ""}, {"t": "batch", "wf": "a", "due": "x"}])
@law
async def test_S12_a_malformed_message_is_refused(world: World, body: dict[str, Any]) -> None:
    async with world.deploy(Batches(2).workflow):
        with pytest.raises(InvalidPayloadError):
            await world.again(Message("bad", body, 1, lambda _: None)).end()


def test_S2_a_batch_has_at_most_a_thousand_events() -> None:
    with pytest.raises(WorkflowDefinitionError, match="1,000"):
        Batches(1001)
