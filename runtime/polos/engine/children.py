"""Starting children, and telling a parent that one has ended. Laws: L10 (one child), L12.

    parent   SEND start(child), then put mark {child} IF absent                   (record implies sent)
    child    finish, then put the parent's record IF undecided, then SEND wake(parent), then delete the message

A child's id is made from parent, step key and generation: a start that is sent twice starts it once. Every message
that meets a finished child repeats its duties.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polos.core import items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure
from polos.core.identity import child_id
from polos.core.operations import StartChild
from polos.core.replay import Operation
from polos.engine import commands
from polos.engine.commands import Start, Stored
from polos.engine.engine import Engine
from polos.errors import ChildWorkflowError
from polos.ports import Outgoing

if TYPE_CHECKING:
    from polos.engine.turn import Turn


def begin(turn: Turn, operation: Operation, request: StartChild) -> None:
    """Start the child of a step, unless that is on record."""
    if operation.key in turn.history.marks:
        return
    engine, now = turn.engine, turn.engine.now()
    start = _child_start(turn, operation, request, now)
    turn.lease.check()
    engine.backend.inbox.send([start.message()])
    turn.lease.check()
    about: dict[str, Value] = {
        items.KIND: request.kind,
        items.CHILD: start.execution_id,
        items.WORKFLOW: start.workflow_id,
        items.EPOCH: turn.lease.holder.epoch,
        items.AT: now,
    }
    if request.wait:
        turn.history.add(engine.ledger.note(items.mark(turn.execution_id, operation.key), about))
        return
    handle = items.as_document(_handle_fields(turn, operation, start))
    record = engine.ledger.decide(items.record(turn.execution_id, operation.key), {**about, items.VALUE: handle})
    turn.adopt(operation, record)


def _child_start(turn: Turn, operation: Operation, request: StartChild, now: int) -> Start:
    generation = items.number(turn.history.execution, items.GENERATION)
    child = child_id(turn.execution_id, operation.key, generation)
    own = turn.options
    options: dict[str, Any] = {
        **request.options,
        "root": own.get("root") or {"x": turn.execution_id, "wf": turn.workflow.id},
        "parent": {"x": turn.execution_id, "k": operation.key, "wf": turn.workflow.id, "g": generation,
                   "wait": request.wait},
    }  # fmt: skip
    options |= {name: own[name] for name in ("session", "user") if name in own}
    payload = turn.engine.stash(request.payload, child, f"The payload of step {operation.key!r}")
    return Start(child, request.workflow_id, payload, now, options)


def _handle_fields(turn: Turn, operation: Operation, start: Start) -> dict[str, Any]:
    root = start.options["root"]
    return {
        "id": start.execution_id,
        "workflow_id": start.workflow_id,
        "created_at": commands.moment(start.created_at).isoformat(),
        "parent_execution_id": turn.execution_id,
        "root_workflow_id": root["wf"],
        "root_execution_id": root["x"],
        "session_id": start.options.get("session"),
        "user_id": start.options.get("user"),
        "step_key": operation.key,
    }


def send_cancels(turn: Turn) -> None:
    """Pass a cancel on to the children that the body waits for."""
    bodies = [
        Outgoing(commands.cancel(items.text(mark, items.CHILD), items.text(mark, items.WORKFLOW), "cancel"))
        for key, mark in turn.history.marks.items()
        if items.CHILD in mark and turn.history.decided(key) is None
    ]
    if bodies:
        turn.lease.check()
        turn.engine.backend.inbox.send(bodies)


def tell_parent(engine: Engine, execution: Item) -> None:
    """The duty of a finished child: its outcome into the parent's partition, then a wake. Repeatable.

    1 put and 1 send; nothing if nobody waits for it.
    """
    parent = commands.parent_of(execution)
    if not parent.get("wait"):
        return
    outcome = _outcome(engine, execution)
    key = items.record(parent["x"], parent["k"])
    engine.ledger.decide(key, {items.KIND: "child", items.EPOCH: 0, items.AT: engine.now(), **outcome})
    engine.wake(parent["x"], parent["wf"])


def _outcome(engine: Engine, execution: Item) -> dict[str, Value]:
    status = items.text(execution, items.STATUS)
    execution_id = items.text(execution, items.PK)
    if status == "completed":
        stored = Stored.of_item(execution, items.RESULT)
        if stored.data is None and stored.pointer is None:
            kept = engine.table.get(items.Key(execution_id, items.RESULT_ITEM))
            stored = Stored.of_item(kept or {})
        if stored.pointer is not None:  # a copy of its own: the child's goes with the child
            parent = commands.parent_of(execution)
            stored = engine.stash(engine.vault.fetch(stored), parent["x"], f"The result of child {execution_id!r}")
        return stored.attributes()
    failure = items.document(execution, items.FAILURE)
    error = ChildWorkflowError(
        items.text(execution, items.WORKFLOW),
        execution_id,
        status,
        f"{failure['type']}: {failure['message']}" if failure else None,
        error_type=failure.get("type"),
        traceback=failure.get("traceback"),
    )
    return {items.FAILURE: items.as_document(Failure.from_exception(error, 1).to_json())}


def terminate_all(engine: Engine, execution_id: str) -> None:
    """Send a terminate to every child of an execution. 1 query, 1 send per 10 children."""
    found = [*engine.table.query(execution_id, prefix="s#"), *engine.table.query(execution_id, prefix="r#")]
    bodies = [
        Outgoing(commands.cancel(items.text(one, items.CHILD), items.text(one, items.WORKFLOW), "terminate"))
        for one in found
        if items.CHILD in one
    ]
    if bodies:
        engine.backend.inbox.send(bodies)
