"""Delivering an event: keep it, wake those that wait for it, start those that it triggers. Laws: L9, L10.

Those that take events in batches are left to `batching`.

    put event IF absent, then read the waiters, then SEND to each     (the waiter: put waiter, then read the events)

One of the two sees the other. The deliverer writes no outcome: it can't know what a waiter has taken.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from polos.core import codec, items
from polos.core.conditions import Item, Value
from polos.core.identity import triggered_id
from polos.core.items import Key
from polos.engine.commands import Start, wake
from polos.engine.engine import Engine
from polos.engine.stored import Stored
from polos.errors import InvalidPayloadError, SerializationError
from polos.ports import Event, Outgoing
from polos.types.types import EventPayload
from polos.workflow import Workflow


def deliver(engine: Engine, event: Event) -> bool:
    """1 put, 1 query, 1 send per 10 waits and triggers. Repeatable."""
    partition = items.topic(event.topic)
    engine.ledger.note(Key(partition, items.event_sk(event.sequence, event.id)), event_attributes(engine, event))
    waiters = engine.table.query(partition, prefix="w#")
    wakes = [
        Outgoing(
            {
                **wake(items.text(waiter, items.EXECUTION_ID), items.text(waiter, items.WORKFLOW)),
                "wt": [partition, waiter[items.SK]],
            }
        )
        for waiter in waiters
        if waiter.get(items.EVENT_TYPE, event.event_type) == event.event_type
    ]
    if wakes:
        engine.backend.inbox.send(wakes)
    triggered = [one for one in engine.workflows().values() if one.trigger == event.topic and not one.batches]
    if triggered:
        engine.backend.inbox.send([_triggered(engine, workflow, event).message() for workflow in triggered])
    return True


def event_attributes(engine: Engine, event: Event) -> dict[str, Value]:
    """The attributes of an event's item."""
    kept = event.sequence >> 20
    attributes: dict[str, Value] = {
        items.EVENT_ID: event.id,
        items.SEQUENCE: event.sequence,
        items.TTL: max(kept, engine.now()) // 1000 + int(engine.limits.event_retention),
        **Stored(event.data, event.pointer).attributes(),
    }
    if event.event_type is not None:
        attributes[items.EVENT_TYPE] = event.event_type
    return attributes


def payload_of(engine: Engine, topic: str, item: Item) -> EventPayload:
    """An event's item as the envelope that user code sees."""
    return envelope(topic, item, engine.vault.fetch_item(item))


def envelope(topic: str, item: Item, data: str) -> EventPayload:
    """As `payload_of`, with the data's text at hand. Raises `SerializationError`."""
    kind = item.get(items.EVENT_TYPE)
    return make_envelope(
        items.text(item, items.EVENT_ID),
        topic,
        kind if isinstance(kind, str) else None,
        items.number(item, items.SEQUENCE),
        codec.decode(data, foreign=True),
    )


def make_envelope(event_id: str, topic: str, event_type: str | None, sequence: int, data: Any) -> EventPayload:
    """The envelope of an event, its time as its sequence says."""
    return EventPayload(
        id=event_id,
        sequence_id=sequence,
        topic=topic,
        event_type=event_type,
        data=data,
        created_at=datetime.fromtimestamp((sequence >> 20) / 1000, UTC),
    )


def _triggered(engine: Engine, workflow: Workflow[Any, Any], event: Event) -> Start:
    execution_id = triggered_id(workflow.id, event.id)
    item = event_attributes(engine, event)
    try:
        envelope = payload_of(engine, event.topic, item)
        text = codec.encode(workflow.accept_event(envelope), annotation=workflow.input_annotation)
    except (InvalidPayloadError, SerializationError):
        text = engine.vault.fetch_item(item)  # the body refuses it with the field's path, where people can see it
    stored = engine.stash(text, execution_id, f"The event on topic {event.topic!r}")
    options = {"trigger": {"topic": event.topic, "event": event.id}}
    return Start.of(execution_id, workflow.id, stored, engine.now(), options)
