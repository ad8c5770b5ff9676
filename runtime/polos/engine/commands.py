"""The messages of the inbox: how each is made and read. A message is a hint or a command; truth is in the table.

    start   {"t", "x", "wf", "in"?, "inp"?, "so", "cr"}   create the execution if it is missing, and advance it
    wake    {"t", "x", "wf", "due"?, "wsk"?, "wt"?}       this execution may be able to move (not before `due`); a
                                                          queue names the place `wsk`, an event the waiter `wt`
    resume  {"t", "x", "wf", "k", "v"|"vp", "at"}         record a resume of step `k`, and advance
    cancel  {"t", "x", "wf", "mode", "g"?}                mode "cancel" (with cleanup) or "terminate"; not of a
                                                          generation later than `g`
    retry   {"t", "x", "wf", "n"}                         open an execution again that failed in generation `n`
    unpause {"t", "x", "wf", "n", "p"?}                   lift the pause that began at `n` under the token `p`
    release {"t", "c", "n"}                               end pause `n` of a queue or workflow, wake its line
    event   {"t", "id", "tp", "sq", "ty"?, "v"|"vp"}      store an event, wake those that wait, start those triggered
    batch   {"t", "wf", "due"?}                           this workflow may have a batch of events to start
    tick    {"t", "wf", "key", "at", "cron", "tz", "ov"}  a schedule's tick; `at` is the nominal time
    native  {"t", "wf"?, "event"}                         an event of EventBridge's default bus, which triggers `wf`

`wf` is a hint that lets a worker leave alone what it has no code for. Times are milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from polos.core import items
from polos.core.conditions import Item, Value
from polos.core.identity import check_execution_id, check_step_key, check_topic, digest
from polos.engine import fields, options
from polos.engine.stored import Stored
from polos.errors import InvalidPayloadError
from polos.ports import Event, Outgoing, Recurring


def millis(moment: datetime) -> int:
    """Milliseconds since 1970 of an aware datetime."""
    return int(moment.timestamp() * 1000)


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def aware(when: datetime) -> datetime:
    """A time that names no zone is UTC."""
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that a start says. `options` are the parts that never change, kept as one JSON attribute:

    parent {x, k, i, n, wf, g}, root {x, wf}, session, user, queue, ckey, limit, timeout (s), state, tags, trigger;
    pd, the digest of the payload, and pb, set if the payload is kept beside the execution item; sq, the sequence of the
    start among events; chain and ev, after continue_as_new: the first of the chain, what it left of events; tp, the
    caller's traceparent.
    """

    execution_id: str
    workflow_id: str
    payload: Stored
    created_at: int
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def message(self) -> Outgoing:
        body = {
            "t": "start",
            "x": self.execution_id,
            "wf": self.workflow_id,
            "so": dict(self.options),
            "cr": self.created_at,
            **self.payload.fields("in"),
        }
        return Outgoing(body, lane="start")

    @classmethod
    def of_message(cls, body: Mapping[str, Any]) -> Start:
        execution_id = check_execution_id(body.get("x"))
        workflow_id, created = fields.workflow_id(body), fields.required_moment_ms(body, "cr")
        given, payload = body.get("so"), Stored.of_message(body, "in")
        if not isinstance(given, dict):
            raise InvalidPayloadError("A start message lacks its options.")
        chosen = cast("dict[str, Any]", given)
        options.check(chosen, created)
        if payload.pointer is not None and not payload_is_beside(chosen):
            raise InvalidPayloadError("A start message points to a payload that it does not say is stored.")
        return cls(execution_id, workflow_id, payload, created, chosen)

    def attributes(self) -> dict[str, Value]:
        """What the execution item says from the start on; a payload over 500 bytes is not among it."""
        shard = sum(self.execution_id.encode()) % items.SHARDS
        stamp = f"{self.created_at:015d}"
        given: dict[str, Value] = {
            items.WORKFLOW: self.workflow_id,
            items.CREATED: self.created_at,
            items.BUCKET: bucket(self.created_at, shard),
            items.BUCKET_SORT: f"{stamp}#{self.execution_id}",
            items.START: items.as_document(self.options),
        }
        if not payload_is_beside(self.options):
            given.update(self.payload.attributes(items.INPUT))
        return given

    def payload_item(self) -> Item | None:
        """The item that holds the payload where it is too long for the execution item."""
        if not payload_is_beside(self.options):
            return None
        return items.keyed(payload_key(self.execution_id, self.options), self.payload.attributes())

    @classmethod
    def of(
        cls, execution_id: str, workflow_id: str, payload: Stored, created_at: int, options: Mapping[str, Any]
    ) -> Start:
        """A new start. Its options say which payload it is, and whether that is kept beside the execution item."""
        print_ = digest(repr((payload.data, payload.pointer)), length=16)
        beside = {"pb": 1} if payload.pointer is not None or payload.size > ON_EXECUTION_ITEM else {}
        return cls(execution_id, workflow_id, payload, created_at, {**options, "pd": print_, **beside})


def payload_is_beside(options: Mapping[str, Any]) -> bool:
    """Whether a start's payload has an item of its own."""
    return bool(options.get("pb"))


def payload_key(execution_id: str, options: Mapping[str, Any]) -> items.Key:
    """The item of a payload, named after its content: two starts of one id can't get at each other's."""
    return items.Key(execution_id, f"{items.INPUT_PREFIX}{options.get('pd', '')}")


def parent_of(item: Mapping[str, Value]) -> dict[str, Any]:
    """Who started an execution as a child: x, k, wf, g, wait; {} for a root."""
    return items.document(item, items.START).get("parent") or {}


def root_of(item: Mapping[str, Value]) -> dict[str, str]:
    """The root of an execution's family: x, wf."""
    own = {"x": items.text(item, items.PK), "wf": items.text(item, items.WORKFLOW)}
    return items.document(item, items.START).get("root") or own


def session_of(item: Mapping[str, Value]) -> str:
    """The session of an execution: the one given at the start of its family, or else one of the family's own."""
    return items.document(item, items.START).get("session") or root_of(item)["x"]


ON_EXECUTION_ITEM = 500


def bucket(created_ms: int, shard: int) -> str:
    """The index partition of an execution: its month and one of 8 shards, so that no index key becomes hot."""
    return f"{moment(created_ms):%Y-%m}#{shard}"


def wake(execution_id: str, workflow_id: str, *, due: int | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"t": "wake", "x": execution_id, "wf": workflow_id}
    if due is not None:
        body["due"] = due
    return body


def cancel(execution_id: str, workflow_id: str, mode: str, generation: int | None = None) -> dict[str, Any]:
    body: dict[str, Any] = {"t": "cancel", "x": execution_id, "wf": workflow_id, "mode": mode}
    if generation is not None:
        body["g"] = generation
    return body


def resume(execution_id: str, workflow_id: str, step_key: str, value: Stored, at: int) -> dict[str, Any]:
    return {"t": "resume", "x": execution_id, "wf": workflow_id, "k": step_key, "at": at, **value.fields("v")}


def event(given: Event) -> dict[str, Any]:
    body: dict[str, Any] = {"t": "event", "id": given.id, "tp": given.topic, "sq": given.sequence}
    if given.event_type is not None:
        body["ty"] = given.event_type
    return body | Stored(given.data, given.pointer).fields("v")


def read_event(body: Mapping[str, Any]) -> Event:
    """Raises `InvalidPayloadError` for anything that is not an event as `event()` makes it."""
    event_id, sequence, kind = body.get("id"), body.get("sq"), body.get("ty")
    if not isinstance(event_id, str) or not 1 <= len(event_id.encode(errors="replace")) <= 256:
        raise InvalidPayloadError("An event message has no id of 1 to 256 bytes.")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or not 0 <= sequence < 1 << 63:
        raise InvalidPayloadError(f"The event {event_id!r} has no valid sequence number.")
    stored = Stored.of_message(body, "v")
    topic = check_topic(body.get("tp"))
    return Event(event_id, topic, sequence, kind if isinstance(kind, str) else None, stored.data, stored.pointer)


def batch(workflow_id: str, due: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {"t": "batch", "wf": workflow_id}
    if due is not None:
        body["due"] = due
    return body


def read_batch(body: Mapping[str, Any]) -> tuple[str, int | None]:
    """The workflow and the due time of a batch message. Raises `InvalidPayloadError`."""
    return fields.workflow_id(body), fields.moment_ms(body, "due")


def tick(schedule: Recurring, nominal_ms: int) -> dict[str, Any]:
    own = {"wf": schedule.workflow_id, "key": schedule.key, "cron": schedule.cron, "tz": schedule.timezone}
    return {"t": "tick", "at": nominal_ms, "ov": schedule.overlap, **own}


@dataclass(frozen=True, slots=True)
class Target:
    """The execution that a wake, resume or cancel is for."""

    execution_id: str
    workflow_id: str
    due: int | None
    step_key: str | None
    mode: str
    number: int
    pause: str = ""
    generation: int | None = None

    @classmethod
    def of_message(cls, body: Mapping[str, Any]) -> Target:
        key, mode, pause = body.get("k"), body.get("mode", "cancel"), body.get("p", "")
        if not isinstance(pause, str):
            raise InvalidPayloadError("An unpause message does not name a pause.")
        if body.get("t") == "resume":
            check_step_key(key)
        if mode not in ("cancel", "terminate"):
            raise InvalidPayloadError(f"A cancel message has the unknown mode {mode!r}.")
        return cls(
            check_execution_id(body.get("x")),
            fields.workflow_id(body, required=False),
            fields.moment_ms(body, "due"),
            key if isinstance(key, str) else None,
            mode,
            fields.count(body, "n"),
            pause,
            fields.count(body, "g") if "g" in body else None,
        )
