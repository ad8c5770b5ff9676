"""Starting an execution from outside, and the other commands of a client.

Each act sends one message that carries the whole command; the client's own write comes second (SPEC 8.2). A client
that dies in between has still started the execution.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from polos import tracing
from polos.clock import new_id, next_sequence
from polos.core import codec, items
from polos.core.conditions import Item
from polos.core.identity import (
    check_chosen_id,
    check_event_id,
    check_event_type,
    check_step_key,
    check_topic,
)
from polos.core.trees import is_utf8
from polos.engine import commands
from polos.engine.commands import Start
from polos.engine.engine import Engine
from polos.engine.finding import find_started
from polos.engine.stored import Stored
from polos.errors import ExecutionStateError, InvalidPayloadError
from polos.ports import Event, Outgoing
from polos.queues import chosen_queue
from polos.start_options import start_options
from polos.workflow import Workflow

_TAGS: Final = 1000


def start(engine: Engine, workflow: Workflow[Any, Any], payload: Any, options: Mapping[str, Any]) -> Item:
    """Start an execution, or find the one of the same id. The execution item. 1 send and 1 put.

    Raises `InvalidPayloadError` before anything is stored, or if the same id was started with another payload. With an
    id of the caller's 1 query more.
    """
    given = workflow.accept(payload)
    text = codec.encode(given, annotation=workflow.input_annotation)
    chosen = _options(workflow, options)
    execution_id = options.get("id")
    if execution_id is not None:
        check_chosen_id(execution_id)
    identity = execution_id or new_id()
    stored = engine.stash(text, identity, f"The payload of workflow {workflow.id!r}")
    if "state" in chosen:
        chosen["state"] = engine.vault.seal(chosen["state"], f"The initial state of {workflow.id!r}")
    chosen["sq"] = next_sequence(engine.now())
    traceparent = tracing.caller()
    if traceparent is not None:
        chosen["tp"] = traceparent
    command = Start.of(identity, workflow.id, stored, engine.now(), chosen)
    if execution_id is not None:
        before = _before(engine, execution_id)
        if before is not None and items.WORKFLOW in before:
            _check_same(engine, before, command, text)
            if items.ENDED not in before:
                engine.backend.inbox.send([command.message()])  # harmless; mends a start that was cut off
            return before
    engine.backend.inbox.send([command.message()])
    large = command.payload_item()
    if large is not None:
        engine.ledger.note(commands.payload_key(command.execution_id, command.options), large)
    key = items.execution(command.execution_id)
    item = engine.ledger.note(key, {**command.attributes(), items.STATUS: "queued"})
    if items.WORKFLOW in item:
        _check_same(engine, item, command, text)
    return item


def _before(engine: Engine, execution_id: str) -> Item | None:
    """The execution of this id, if there is one. 1 query of 1 item: none of its partition comes after it.

    Raises `InvalidPayloadError` if the execution has expired, but what it stored has not, or a child of it is open: a
    new one would take that for its own, and run no step again.
    """
    for last in engine.table.query(execution_id, limit=1, reverse=True):
        sort_key = items.text(last, items.SK)
        if sort_key == items.EXECUTION:
            return last
        since = engine.now() - int(engine.limits.retention * 1000)
        if sort_key.startswith("u#") and items.number(last, items.AT) > since:  # a resume that came before the start
            return None
        if not sort_key.startswith(items.INPUT_PREFIX):  # the payload of a start that was cut off
            raise InvalidPayloadError(
                f"The execution id {execution_id!r} was used before. That execution is kept no longer, but not all "
                f"that it stored has expired yet, or something that it started is still open; use another id."
            )
    return None


def _check_same(engine: Engine, item: Item, command: Start, text: str) -> None:
    """Raise `InvalidPayloadError` if the id was started before by another call; that one stands.

    Another zlib, or a codec of payloads, may make other bytes of the same payload: where the digests differ, what is
    stored is read (at most 2 requests).
    """
    if items.text(item, items.WORKFLOW) != command.workflow_id:
        raise InvalidPayloadError(
            f"The execution id {command.execution_id!r} belongs to workflow {items.text(item, items.WORKFLOW)!r}."
        )
    before = items.document(item, items.START)
    if before.get("pd") != command.options.get("pd") and _stored_payload(engine, item, before) != text:
        raise InvalidPayloadError(
            f"The execution {command.execution_id!r} was started before with another payload; that one stands."
        )


def _stored_payload(engine: Engine, item: Item, options: Mapping[str, Any]) -> str:
    if not commands.payload_is_beside(options):
        return engine.vault.fetch(Stored.of_item(item, items.INPUT))
    kept = engine.table.get(commands.payload_key(items.text(item, items.PK), options))
    return engine.vault.fetch(Stored.of_item(kept or {}))


def _options(workflow: Workflow[Any, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    queue = options.get("queue") if options.get("queue") is not None else options.get("queue_name")
    limit = options.get("queue_concurrency_limit")
    if queue is None and limit is not None:
        queue = workflow.queue.name if workflow.queue is not None else workflow.id
    chosen = start_options(
        workflow,
        chosen_queue(queue, limit),
        options.get("concurrency_key"),
        options.get("run_timeout_seconds"),
        options.get("initial_state"),
    )
    for name, short in (("session_id", "session"), ("user_id", "user")):
        value = options.get(name)
        if value is not None:
            if not isinstance(value, str) or len(value) > 256 or not is_utf8(value):
                raise InvalidPayloadError(f"{name} must be a string of at most 256 characters, and valid Unicode.")
            chosen[short] = value
    tags = options.get("tags")
    if tags:
        chosen["tags"] = _tags(tags)
    return chosen


def _tags(given: Any) -> dict[str, str]:
    tags = codec.validate(given, dict[str, str], what="tags")
    assert isinstance(tags, dict)
    if not is_utf8(json.dumps(tags, ensure_ascii=False)):
        raise InvalidPayloadError("tags hold text that is not valid Unicode.")
    if len(json.dumps(tags)) > _TAGS:
        raise InvalidPayloadError(f"tags may have at most {_TAGS:,} characters in all.")
    return cast("dict[str, str]", tags)


def resume(engine: Engine, execution_id: str, step_key: str, data: Any) -> None:
    """Resume a suspended step, also before it is reached. 1 read and 1 send. The first resume of a step counts."""
    check_step_key(step_key)
    item = find_started(engine, execution_id)
    if items.ENDED in item:
        raise ExecutionStateError(execution_id, items.text(item, items.STATUS), "resume")
    stored = engine.stash(codec.encode(data), execution_id, f"The data for step {step_key!r}")
    found = items.text(item, items.PK)
    body = commands.resume(found, items.text(item, items.WORKFLOW), step_key, stored, engine.now())
    engine.backend.inbox.send([Outgoing(body)])


def cancel(engine: Engine, execution_id: str, mode: str = "cancel") -> None:
    """Ask an execution to stop ("cancel": with its cleanup; "terminate": at once). 1 read and 1 send."""
    item = find_started(engine, execution_id)
    if items.ENDED in item:
        raise ExecutionStateError(execution_id, items.text(item, items.STATUS), mode)
    body = commands.cancel(
        items.text(item, items.PK), items.text(item, items.WORKFLOW), mode, items.number(item, items.GENERATION)
    )
    engine.backend.inbox.send([Outgoing(body)])


def make_event(
    engine: Engine, topic: str, data: Any, event_type: str | None = None, event_id: str | None = None
) -> Event:
    """An event ready to be published, with its sequence. Raises `InvalidPayloadError`."""
    if check_topic(topic).startswith("workflow/"):
        raise InvalidPayloadError(f"The topic {topic!r} is the runtime's own; publish on another.")
    check_event_type(event_type)
    identity = check_event_id(event_id) if event_id is not None else new_id()
    stored = engine.vault.stash(codec.encode(data), owner="#events", what=f"The event on topic {topic!r}")
    return Event(identity, topic, next_sequence(engine.now()), event_type, stored.data, stored.pointer)
