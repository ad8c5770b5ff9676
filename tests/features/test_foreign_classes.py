"""SPEC 2.1, 2.4: events and payloads of classes that only the program that sent them knows."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel

from polos import BatchEventPayload, EventPayload, WorkflowContext, WorkflowFailedError, events, workflow
from tests.laws.worlds import World, law

TOPIC = "foreign/orders"
SOURCE = """
from decimal import Decimal
from pydantic import BaseModel

class Order(BaseModel):
    price: Decimal
"""


class Order(BaseModel):
    price: Decimal


class OrderEvent(EventPayload):
    data: Order


class OrderBatch(BatchEventPayload):
    events: list[OrderEvent]  # type: ignore[assignment]


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the program that sends; `del sys.modules["sender"]` makes this process another one."""
    module: Any = types.ModuleType("sender")
    monkeypatch.setitem(sys.modules, "sender", module)
    exec(SOURCE, module.__dict__)
    yield module
    sys.modules.setdefault("sender", module)


@law
async def test_S24_a_wait_reads_an_unknown_class_as_its_fields(world: World, sender: Any) -> None:
    @workflow(id="foreign-wait")
    async def waits(ctx: WorkflowContext) -> Any:
        event = await ctx.step.wait_for_event("order", topic=TOPIC)
        answer = await ctx.step.suspend("confirm", {})
        return [event.data, answer["data"]]

    async with world.deploy(waits) as env:
        handle = await env.start(waits)
        await env.settle()
        await env.publish(TOPIC, sender.Order(price=1))
        await env.resume(handle, "confirm", sender.Order(price=2))
        del sys.modules["sender"]
        assert await env.finish(handle) == [{"price": Decimal(1)}, {"price": Decimal(2)}]


@law
async def test_S24_a_result_of_a_class_that_vanished_stays_an_error(world: World, sender: Any) -> None:
    @workflow(id="foreign-result")
    async def body(ctx: WorkflowContext) -> Any:
        result = await ctx.step.run("make", lambda: sender.Order(price=1))
        await ctx.step.wait_for("nap", hours=1)
        return result

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        del sys.modules["sender"]
        with pytest.raises(WorkflowFailedError, match="not imported here"):
            await env.finish(handle)


@law
async def test_S24_a_model_of_another_program_becomes_the_workflows_own(world: World, sender: Any) -> None:
    @workflow(id="foreign-payload")
    async def takes(ctx: WorkflowContext, order: Order) -> Order:
        return order

    @workflow(id="foreign-parent")
    async def parent(ctx: WorkflowContext) -> Any:
        return await ctx.step.invoke_and_wait("child", "foreign-payload", sender.Order(price=3))

    async with world.deploy(takes, parent) as env:
        assert await env.finish(await env.start(takes, sender.Order(price=2))) == Order(price=Decimal(2))
        assert await env.finish(await env.start(parent)) == Order(price=Decimal(3))


@law
async def test_S21_an_envelope_of_ones_own_keeps_its_data(world: World, sender: Any) -> None:
    seen: list[Any] = []

    @workflow(id="own-envelope", trigger_on_event=TOPIC)
    async def one(ctx: WorkflowContext, event: OrderEvent) -> None:
        seen.append(event)

    @workflow(id="own-batch", trigger_on_event=TOPIC, batch_size=2)
    async def batch(ctx: WorkflowContext, events: OrderBatch) -> None:
        seen.append(events)

    async with world.deploy(one, batch) as env:
        await env.publish(TOPIC, Order(price=Decimal(1)))
        await env.publish(TOPIC, sender.Order(price=2))
        await env.settle()
    events = [given for given in seen if isinstance(given, OrderEvent)]
    assert sorted(event.data.price for event in events) == [1, 2]
    (taken,) = (given for given in seen if isinstance(given, OrderBatch))
    assert [event.data for event in taken.events] == [Order(price=Decimal(1)), Order(price=Decimal(2))]


class AnyEvent(EventPayload):
    pass


class AnyBatch(BatchEventPayload):
    pass


@law
async def test_S21_data_without_a_type_of_its_own_stays_what_was_published(world: World) -> None:
    seen: list[Any] = []

    @workflow(id="any-envelope", trigger_on_event=TOPIC)
    async def one(ctx: WorkflowContext, event: AnyEvent) -> None:
        seen.append(event.data)

    @workflow(id="any-batch", trigger_on_event=TOPIC, batch_size=2)
    async def batch(ctx: WorkflowContext, events: AnyBatch) -> None:
        seen.extend(event.data for event in events.events)

    @workflow(id="one-as-batch", trigger_on_event=TOPIC)
    async def single(ctx: WorkflowContext, events: AnyBatch) -> None:
        seen.extend(event.data for event in events.events)

    async with world.deploy(one, batch, single) as env:
        await env.publish(TOPIC, Order(price=Decimal(1)))
        await env.publish(TOPIC, Order(price=Decimal(1)))
        await env.settle()
    assert seen == [Order(price=Decimal(1))] * 6


@law
async def test_S12_data_that_does_not_fit_the_envelope_fails_where_it_can_be_seen(world: World) -> None:
    @workflow(id="unfit-envelope", trigger_on_event=TOPIC)
    async def one(ctx: WorkflowContext, event: OrderEvent) -> None:
        raise AssertionError("it does not run")

    async with world.deploy(one) as env:
        await env.publish(TOPIC, {"price": "no number"})
        await env.settle()
        (found,) = await env.client.list_executions()
        assert found.status == "failed"


@law
async def test_S24_what_a_start_is_given_is_read_without_its_classes(world: World, sender: Any) -> None:
    seen: dict[str, Any] = {}

    @workflow(id="unknown-payload")
    async def bare(ctx: WorkflowContext, given) -> Any:  # type: ignore[no-untyped-def]
        await ctx.step.wait_for("nap", seconds=1)
        seen["payload"] = given

    @workflow(id="unknown-envelope", trigger_on_event=TOPIC)
    async def envelope(ctx: WorkflowContext, event: EventPayload) -> None:
        seen["envelope"] = event.data

    @workflow(id="unknown-dict", trigger_on_event=TOPIC)
    async def as_dict(ctx: WorkflowContext, event: dict[str, Any]) -> None:
        seen["dict"] = event["data"]

    @workflow(id="unknown-own", trigger_on_event=TOPIC)
    async def own(ctx: WorkflowContext, order: Order) -> None:
        seen["own"] = order

    @workflow(id="unknown-batch", trigger_on_event=TOPIC, batch_size=2)
    async def batch(ctx: WorkflowContext, events: BatchEventPayload) -> None:
        seen["batch"] = [event.data for event in events.events]

    async with world.deploy(bare, envelope, as_dict, own, batch) as env:
        handle = await env.start(bare, sender.Order(price=0))
        await env.publish(TOPIC, sender.Order(price=1))
        await env.publish(TOPIC, sender.Order(price=1))
        del sys.modules["sender"]
        await env.settle()
        await env.finish(handle)
    fields = {"price": Decimal(1)}
    assert seen == {
        "payload": {"price": Decimal(0)},
        "envelope": fields,
        "dict": fields,
        "own": Order(price=Decimal(1)),
        "batch": [fields, fields],
    }


@law
async def test_S5_a_stream_shows_data_as_it_was_published_or_by_its_fields(world: World, sender: Any) -> None:
    async with world.deploy() as env:
        began = env.now
        await env.publish(TOPIC, Order(price=Decimal(1)))
        await env.publish(TOPIC, sender.Order(price=2))
        del sys.modules["sender"]
        await env.settle()
        stream = events.stream_topic(env.client, TOPIC, last_timestamp=began)
        found = [(await anext(stream)).data for _ in range(2)]
        await stream.aclose()
    assert found == [Order(price=Decimal(1)), {"price": Decimal(2)}]
