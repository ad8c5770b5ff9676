"""Native events of EventBridge: the rules that the code declares, and what a matching event starts. Laws: L10.

One execution for each event and workflow, its id made from the two; a workflow that takes batches has the event kept
for its next one (`batching`). A native event is on no topic: no wait gets it, and it is not kept.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from polos.core import codec, patterns
from polos.core.identity import native_id
from polos.engine import batching, delivery
from polos.engine.commands import Start, millis
from polos.engine.engine import Engine
from polos.errors import InvalidPayloadError, SerializationError
from polos.ports import DefaultBus, Event, PatternRule
from polos.workflow import Workflow


class UnmatchedError(InvalidPayloadError):
    """A bare event that nothing asked for. Only whoever has loaded the application can tell."""


def declared(workflows: Iterable[Workflow[Any, Any]]) -> list[PatternRule]:
    """The rules that the code asks for."""
    return [PatternRule(one.id, rule_text(one.pattern)) for one in workflows if one.pattern is not None]


def rule_text(pattern: Mapping[str, Any]) -> str:
    """A pattern as a rule holds it."""
    return json.dumps(pattern, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def detail_text(source: object, detail_type: object, detail: object) -> str:
    """The detail of an event to put, as JSON. Raises `InvalidPayloadError` for what EventBridge would not take."""
    for name, value in (("source", source), ("detail_type", detail_type)):
        if not isinstance(value, str) or not value:
            raise InvalidPayloadError(
                f"The {name} of a native event must be a string that is not empty, not {value!r}."
            )
    if detail is not None and not isinstance(detail, Mapping):
        raise InvalidPayloadError(f"The detail of a native event must be a dict, not {type(detail).__name__}.")
    try:
        text = json.dumps(dict(cast("Mapping[str, Any]", detail or {})), ensure_ascii=False, allow_nan=False)
        f"{source}{detail_type}{text}".encode()
        return text
    except UnicodeEncodeError:
        raise InvalidPayloadError("A native event holds text that is not valid Unicode.") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayloadError(f"The detail of a native event is not JSON: {error}.") from None


def reconcile(bus: DefaultBus, wanted: Iterable[PatternRule], known: Collection[str] | None = None) -> None:
    """Make the rules what the code declares. Repeatable.

    With `known` (workflow ids) those of workflows that are not among them are left alone, which another application on
    the same backend may have.
    """
    before = {one.workflow_id: one.pattern for one in bus.list()}
    for one in wanted:
        if before.pop(one.workflow_id, None) != one.pattern:
            bus.apply(one)
    for workflow_id in before:
        if known is None or workflow_id in known:
            bus.remove(workflow_id)


@dataclass(frozen=True, slots=True)
class NativeEvent:
    """An event in EventBridge's envelope (User Guide, "Events"); `workflow_id` is the one whose rule it matched.

    Without it, where another rule sent the bare event, it is for every workflow whose pattern it matches.
    """

    id: str
    source: str
    detail_type: str
    at: int
    envelope: dict[str, Any]
    text: str
    workflow_id: str | None = None

    @classmethod
    def of_message(cls, body: Mapping[str, Any]) -> NativeEvent:
        """Raises `InvalidPayloadError`."""
        event, workflow_id = body.get("event"), body.get("wf")
        if not isinstance(event, dict) or not isinstance(workflow_id, str | None):
            raise InvalidPayloadError("A message with a native event lacks the event.")
        envelope = cast("dict[str, Any]", event)
        event_id, kind, at = envelope.get("id"), envelope.get("detail-type"), envelope.get("time")
        if not isinstance(event_id, str) or not 1 <= len(event_id.encode(errors="replace")) <= 256:
            raise InvalidPayloadError("A native event has no id of 1 to 256 bytes.")
        if not isinstance(kind, str) or not isinstance(envelope.get("detail"), dict):
            raise InvalidPayloadError(f"The native event {event_id!r} lacks its detail-type or its detail.")
        try:
            moment = datetime.fromisoformat(at) if isinstance(at, str) else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise InvalidPayloadError(f"The native event {event_id!r} has the time {at!r}; it must be as in RFC 3339.")
        source = envelope.get("source")
        if not isinstance(source, str) or not source:
            raise InvalidPayloadError(f"The native event {event_id!r} has no source.")
        try:
            text = codec.encode(envelope)
        except SerializationError as error:
            raise InvalidPayloadError(f"The native event {event_id!r} cannot be stored: {error}") from None
        return cls(event_id, source, kind, millis(moment), envelope, text, workflow_id)


def deliver(engine: Engine, native: NativeEvent) -> bool:
    """Start what an event triggers. Repeatable. 1 send for 10 workflows; for one that takes batches as `gather`.

    Raises `UnmatchedError` for a bare event that matches no workflow's pattern.
    """
    starts: list[Start] = []
    for workflow in _triggered(engine, native):
        if workflow.batches:
            stored = engine.stash(native.text, native_id(workflow.id, native.id), f"The event {native.id!r}")
            event = Event(native.id, native.source, native.at << 20, native.detail_type, stored.data, stored.pointer)
            batching.gather_for(engine, workflow, event)
        else:
            starts.append(_start(engine, workflow, native))
    if starts:
        engine.backend.inbox.send([start.message() for start in starts])
    return True


def _triggered(engine: Engine, native: NativeEvent) -> list[Workflow[Any, Any]]:
    workflows = engine.workflows()
    if native.workflow_id is not None:
        workflow = workflows.get(native.workflow_id)  # None: removed from the code since, and its rule goes, too
        return [workflow] if workflow is not None and workflow.pattern is not None else []
    found = [
        one for one in workflows.values() if one.pattern is not None and patterns.matches(one.pattern, native.envelope)
    ]
    if not found:
        raise UnmatchedError(
            f"The event {native.id!r} of {native.source!r} ({native.detail_type}) matches no workflow's EventPattern."
        )
    return found


def _start(engine: Engine, workflow: Workflow[Any, Any], native: NativeEvent) -> Start:
    execution_id = native_id(workflow.id, native.id)
    event = delivery.make_envelope(native.id, native.source, native.detail_type, native.at << 20, native.envelope)
    try:
        text = codec.encode(workflow.accept_event(event), annotation=workflow.input_annotation)
    except (InvalidPayloadError, SerializationError):
        text = codec.encode(native.envelope["detail"])  # the body refuses it with the field's path, for people to see
    stored = engine.stash(text, execution_id, f"The event {native.id!r}")
    options = {"trigger": {"source": native.source, "event": native.id}}
    return Start.of(execution_id, workflow.id, stored, engine.now(), options)
