"""Steps that tell others something: an event, a resume. SEND, then record (record implies sent); both are repeatable.

An event's id is made from execution and key, so that waits and triggers take it once however often it is published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from polos.clock import next_sequence
from polos.core import items
from polos.core.conditions import Value
from polos.core.identity import event_id
from polos.core.operations import Publish, ResumeOther
from polos.core.replay import Operation
from polos.engine import commands
from polos.ports import Event, Outgoing

if TYPE_CHECKING:
    from polos.engine.turn import Turn


def begin_publish(turn: Turn, operation: Operation, request: Publish) -> None:
    """1 publish and 1 put."""
    engine = turn.engine
    if turn.history.decided(operation.key) is not None:
        return
    identity = event_id(turn.execution_id, operation.key, items.number(turn.history.execution, items.GENERATION))
    stored = engine.stash(request.data, turn.execution_id, f"The event of step {operation.key!r}")
    sequence = next_sequence(engine.now())
    event = Event(identity, request.topic, sequence, request.event_type, stored.data, stored.pointer)
    turn.lease.check()
    engine.backend.topics.publish([event])
    _record(turn, operation, {items.EVENT_ID: identity, items.SEQUENCE: sequence, items.TOPIC: request.topic})


def begin_resume(turn: Turn, operation: Operation, request: ResumeOther) -> None:
    """1 send and 1 put."""
    engine = turn.engine
    if turn.history.decided(operation.key) is not None:
        return
    stored = engine.stash(request.data, request.execution_id, f"The data of step {operation.key!r}")
    body = commands.resume(request.execution_id, request.workflow_id, request.step_key, stored, engine.now())
    turn.lease.check()
    engine.backend.inbox.send([Outgoing(body)])
    _record(turn, operation, {})


def _record(turn: Turn, operation: Operation, attributes: dict[str, Value]) -> None:
    turn.lease.check()
    record = turn.engine.ledger.decide(
        items.record(turn.execution_id, operation.key),
        {**operation.about(turn.lease.holder.epoch), items.AT: turn.engine.now(), **attributes},
    )
    turn.adopt(operation, record)
