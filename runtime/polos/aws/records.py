"""What a function is handed: SQS records, and the kinds of bodies in them. Pure.

    a command or hint     {"t": "start" | "wake" | ..., ...}                     from the start and wake queues
    an event of the bus   {"source": "polos", "detail": {"t": "event", ...}, ...}  through the rule ("Events" reference)
    a tick of Scheduler   {"t": "tick", "at": "2030-01-01T08:00:00Z", ...}        from a recurring schedule
    a native event        {"t": "native", "wf": ..., "event": {...}}              from a rule on the default bus
                          {"source": "aws.s3", "detail": {...}, ...}              the same, from any other rule

An event may come from whoever may put events on the bus, so it can be nothing but an event: never a command that names
an execution (SPEC section 5). Anything else is an `InvalidPayloadError` with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from polos.aws.recurrences import nominal
from polos.aws.topics import SOURCE
from polos.errors import InvalidPayloadError

ROLES = frozenset({"work", "events", "dead_letters", "maintenance", "registrar"})
_OF_EVENTS = frozenset({"event", "native", "tick"})


@dataclass(frozen=True, slots=True)
class Record:
    """The parts of an SQS record that matter (Lambda Developer Guide, "Using Lambda with Amazon SQS", example event).

    `id` stays the same when the message is delivered again, `receipt` does not. `sent` and `first_received` are
    milliseconds since 1970. `dead_from` is the ARN of the queue that has given the message up.
    """

    id: str
    receipt: str
    body: str
    received: int
    queue_arn: str
    sent: int | None = None
    first_received: int | None = None
    dead_from: str = ""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Record:
        attributes: Mapping[str, Any] = record.get("attributes") or {}
        return cls(
            str(record["messageId"]),
            str(record["receiptHandle"]),
            str(record["body"]),
            int(attributes.get("ApproximateReceiveCount", 1)),
            str(record.get("eventSourceARN", "")),
            _millis(attributes.get("SentTimestamp")),
            _millis(attributes.get("ApproximateFirstReceiveTimestamp")),
            str(attributes.get("DeadLetterQueueSourceArn", "")),
        )


def _millis(text: object) -> int | None:
    return int(text) if isinstance(text, str) and text.isdigit() else None


def are_sqs_records(event: object) -> bool:
    """Whether a function's event is a batch of an SQS event source mapping."""
    if not isinstance(event, dict):
        return False
    records = cast("dict[str, Any]", event).get("Records")
    if not isinstance(records, list) or not records:
        return False
    return all(
        isinstance(record, dict) and cast("dict[str, Any]", record).get("eventSource") == "aws:sqs"
        for record in cast("list[object]", records)
    )


def message_of(text: str, role: str | None) -> dict[str, Any]:
    """The body of a record as the message that the engine knows. `role` None: of any kind.

    Raises `InvalidPayloadError` for what is no message, or none that this role handles. Which commands there are, the
    engine says.
    """
    body = read(text)
    if "detail" in body and body.get("source") != SOURCE:
        body = {"t": "native", "event": body}
    kind: Any = "event" if "detail" in body else body.get("t")
    if not isinstance(kind, str):
        raise InvalidPayloadError(f"A message has the type {kind!r}; it must be a string.")
    if kind == "event":
        body = _event(body)
    elif kind == "tick":
        body = nominal(body)
    handled_by = "events" if kind in _OF_EVENTS else "work"
    if role not in (None, handled_by):
        raise InvalidPayloadError(f"A message of the type {kind!r} was received, which is not handled here.")
    return body


def read(text: str) -> dict[str, Any]:
    """The JSON object in a body. Raises `InvalidPayloadError`."""
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidPayloadError(f"A message is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise InvalidPayloadError(f"A message is a JSON {type(body).__name__}; it must be an object.")
    return cast("dict[str, Any]", body)


def _event(envelope: dict[str, Any]) -> dict[str, Any]:
    detail = envelope.get("detail")
    if not isinstance(detail, dict) or cast("dict[str, Any]", detail).get("t") != "event":
        raise InvalidPayloadError("The detail of an event is not an event of a topic.")
    return cast("dict[str, Any]", detail)
