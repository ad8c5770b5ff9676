"""Publishing events and following topics and runs, from outside of a workflow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from polos import ambient
from polos.ambient import Client
from polos.ports import Event
from polos.types.types import BatchEventPayload, EventPayload, StreamEvent

__all__ = [
    "BatchEventPayload",
    "EventData",
    "EventPayload",
    "StreamEvent",
    "batch_publish",
    "publish",
    "stream_topic",
    "stream_workflow",
]


class EventData(BaseModel):
    """One event to publish. `event_id` makes a repeated publish the same event."""

    data: Any = None
    event_type: str | None = None
    event_id: str | None = None


async def publish(*args: Any, **options: Any) -> int:
    """`await publish(client, topic, event_data)`; the client is optional. The event's sequence id.

    Upstream's `execution_id` and `root_execution_id` are taken and mean nothing: an event names no execution.
    `event_data` is an `EventData`, or the data itself. On AWS: 1 request. Raises `InvalidPayloadError`.
    """
    client, topic, data = _arguments("publish", args, options, "event_data")
    return (await batch_publish(client, topic, [data]))[0]


async def batch_publish(*args: Any, **options: Any) -> list[int]:
    """`await batch_publish(client, topic, events)`: several events at once, in this order. Their sequence ids.

    On AWS: 1 request per 10 events. Not atomic: where it raises, some may have been published.
    """
    client, topic, given = _arguments("batch_publish", args, options, "events")
    chosen = ambient.client(client)
    ready: list[Event] = []
    for one in given:
        data = one if isinstance(one, EventData) else EventData(data=one)
        ready.append(await chosen.encode_event(topic, data.data, data.event_type, data.event_id))
    await chosen.publish_events(ready)
    return [event.sequence for event in ready]


def stream_topic(
    *args: Any, last_sequence_id: int | None = None, last_timestamp: datetime | None = None, **named: Any
) -> AsyncIterator[StreamEvent]:
    """`async for event in stream_topic(client, topic)`: the events of a topic from the call on, or after
    `last_sequence_id`, or from `last_timestamp` on (without a zone: UTC); the id goes first where both are given.

    It does not end by itself. Following costs 1 query a look, at the reader's expense. Each event is shown once, in the
    order of arrival: one that arrives up to a minute after newer ones is shown after them, so ids may fall. One that
    arrived so while nobody followed is not shown to who goes on after a newer one; to miss none over a break, begin at
    a `last_timestamp` a minute earlier, and leave out the ids that you know. Raises `InvalidPayloadError` at the first
    look for a place that is none, and for a topic that nobody can publish to.
    """
    client, given = _named("stream_topic", args, named, ("topic",))
    return ambient.client(client).stream_topic(given["topic"], last_sequence_id, last_timestamp)


def stream_workflow(
    *args: Any, last_sequence_id: int | None = None, last_timestamp: datetime | None = None, **named: Any
) -> AsyncIterator[StreamEvent]:
    """`async for event in stream_workflow(client, workflow_id, execution_id)`: what happens in a run, from its start.

    Derived from the records: following it costs the reader, not the run. Ends when the execution has ended; one that is
    retried while it is followed is followed on, and what had failed is shown anew. Raises `ExecutionNotFoundError`
    and `InvalidPayloadError` at the first look.

    The `sequence_id`s rise, none comes twice in a run's stream, its children's events included, and following after
    `last_sequence_id` gives what was shown after it. For that an event is shown a look (0.3 s), on AWS another second,
    after it was recorded. What is recorded later than that after the time it states (the outcome of a wait whose
    execution could not be advanced when its event came, say) is shown as soon as it is there, with a rising id; who
    went on after a later event in the meantime does not see it. `describe` tells everything at any time.
    """
    if "workflow_run_id" in named:  # upstream's name
        named["execution_id"] = named.pop("workflow_run_id")
    client, given = _named("stream_workflow", args, named, ("workflow_id", "execution_id"))
    return ambient.client(client).stream_workflow(
        given["workflow_id"], given["execution_id"], last_sequence_id, last_timestamp
    )


def _client(args: Sequence[Any]) -> tuple[Client | None, list[Any]]:
    rest = list(args)
    if rest and (rest[0] is None or ambient.is_client(rest[0])):
        return rest.pop(0), rest
    return None, rest


def _arguments(call: str, args: Sequence[Any], options: dict[str, Any], last: str) -> tuple[Client | None, str, Any]:
    known = {name: value for name, value in options.items() if name not in ("execution_id", "root_execution_id")}
    client, given = _named(call, args, known, ("topic", last))
    return client, given["topic"], given[last]


def _named(
    call: str, args: Sequence[Any], options: dict[str, Any], names: tuple[str, ...]
) -> tuple[Client | None, dict[str, Any]]:
    client, rest = _client(args)
    given = dict(zip(names, rest, strict=False)) | options
    client = given.pop("client", client)
    if len(rest) > len(names) or set(given) != set(names):
        raise TypeError(f"{call} takes an optional client, and {' and '.join(names)}.")
    return client, given
