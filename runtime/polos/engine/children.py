"""Starting children, and telling a parent that one has ended. Laws: L10 (one child), L12.

    parent   SEND start(child), then put mark {child} IF absent                   (record implies sent)
    child    finish, then put the parent's record IF undecided, then SEND wake(parent), then delete the message

A child's id is made from parent, step key and generation: a start that is sent twice starts it once. Every message
that meets a finished child repeats its duties.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from polos.core import items
from polos.core.conditions import Change, Item, Value
from polos.core.failures import Failure
from polos.core.identity import child_id
from polos.core.items import Key
from polos.core.operations import StartBatch, StartChild
from polos.core.replay import Operation
from polos.engine import commands
from polos.engine.commands import Start
from polos.engine.engine import Engine
from polos.engine.lease import Lease
from polos.engine.stored import Stored
from polos.errors import ChildWorkflowError
from polos.ports import Outgoing
from polos.types.types import BatchStepResult

if TYPE_CHECKING:
    from polos.engine.turn import Turn


_SHARD: Final = 100
_SENT_AT_ONCE: Final = 100


def begin(turn: Turn, operation: Operation, request: StartChild) -> None:
    """Start the child of a step, unless that is on record."""
    if operation.key in turn.history.marks or turn.history.decided(operation.key) is not None:
        return
    engine, now = turn.engine, turn.engine.now()
    start = _child_start(turn, operation, request, now)
    turn.lease.check()
    ended = turn.history.records.get(operation.key, {})
    if ended.get(items.CHILD) != start.execution_id:  # otherwise it was started, by an owner that died
        engine.backend.inbox.send([start.message()])
        turn.lease.check()
    about: dict[str, Value] = {
        **operation.about(turn.lease.holder.epoch),
        items.CHILD: start.execution_id,
        items.WORKFLOW: start.workflow_id,
        items.AT: now,
    }
    if request.wait:
        turn.history.add(engine.ledger.note(items.mark(turn.execution_id, operation.key), about))
        return
    handle = items.as_document(_handle_fields(turn, operation, start))
    record = engine.ledger.decide(items.record(turn.execution_id, operation.key), {**about, items.VALUE: handle})
    turn.adopt(operation, record)


def begin_batch(turn: Turn, operation: Operation, request: StartBatch) -> None:
    """Start the children of a batch, 10 a request, unless that is on record. N/10 sends and 1 put."""
    history = turn.history
    if operation.key in history.marks or history.decided(operation.key) is not None:
        return
    engine, now = turn.engine, turn.engine.now()
    count = len(request.children)
    starts = [_child_start(turn, operation, child, now, (index, count)) for index, child in enumerate(request.children)]
    for first in range(0, count, _SENT_AT_ONCE):
        turn.lease.check()
        engine.backend.inbox.send([start.message() for start in starts[first : first + _SENT_AT_ONCE]])
    turn.lease.check()
    about: dict[str, Value] = {
        **operation.about(turn.lease.holder.epoch),
        items.COUNT: count,
        items.GENERATION: history.generation,
        items.AT: now,
    }
    if request.wait:
        history.add(engine.ledger.note(items.mark(turn.execution_id, operation.key), about))
        return
    text = json.dumps([_handle_fields(turn, operation, start) for start in starts])
    value = engine.attributes(text, turn.execution_id, f"The handles of step {operation.key!r}")
    record = engine.ledger.decide(items.record(turn.execution_id, operation.key), {**about, **value})
    turn.adopt(operation, record)


def batch_ready(turn: Turn, operation: Operation, request: StartBatch) -> int | None:
    """When the last child of a batch ended (ms); None: some are still open, or the batch is not on record.

    Whoever started it may have died before it was put on record; `begin_batch` mends that.
    """
    ended = turn.history.batch(operation.key)
    if not request.wait or len(ended) < len(request.children) or operation.key not in turn.history.marks:
        return None
    return max(items.number(item, items.AT) for item in ended.values())


def batch_results(turn: Turn, operation: Operation, request: StartBatch) -> list[BatchStepResult]:
    """The outcomes in the order of the inputs. A failure is a result here, and does not raise."""
    ended = turn.history.batch(operation.key)
    results: list[BatchStepResult] = []
    for index, child in enumerate(request.children):
        item, failure = ended[index], items.document(ended[index], items.FAILURE)
        if failure:
            error = Failure.from_json(failure).error(operation.key)
            text = str(error)
            if isinstance(error, ChildWorkflowError):
                text = error.error or error.status.replace("_", " ")
            results.append(BatchStepResult(workflow_id=child.workflow_id, success=False, error=text))
        else:
            value = child.revive(turn.engine.vault.fetch_item(item))
            results.append(BatchStepResult(workflow_id=child.workflow_id, success=True, result=value))
    return results


def _child_start(
    turn: Turn, operation: Operation, request: StartChild, now: int, place: tuple[int, int] | None = None
) -> Start:
    generation = items.number(turn.history.execution, items.GENERATION)
    index = None if place is None else place[0]
    child = child_id(turn.execution_id, operation.key, generation, index)
    own = turn.options
    options: dict[str, Any] = {
        **request.options,
        "root": own.get("root") or {"x": turn.execution_id, "wf": turn.workflow.id},
        "parent": {"x": turn.execution_id, "k": operation.key, "wf": turn.workflow.id, "g": generation,
                   "wait": request.wait, **({"i": place[0], "n": place[1]} if place is not None else {})},
    }  # fmt: skip
    options |= {name: own[name] for name in ("session", "user") if name in own}
    if "state" in options:
        options["state"] = turn.engine.vault.seal(options["state"], f"The initial state of step {operation.key!r}")
    payload = turn.engine.stash(request.payload, child, f"The payload of step {operation.key!r}")
    return Start.of(child, request.workflow_id, payload, now, options)


def _handle_fields(turn: Turn, operation: Operation, start: Start) -> dict[str, Any]:
    root = start.options["root"]
    return {
        "id": start.execution_id,
        "workflow_id": start.workflow_id,
        "created_at": commands.moment(start.created_at).isoformat(),
        "parent_execution_id": turn.execution_id,
        "root_workflow_id": root["wf"],
        "root_execution_id": root["x"],
        "session_id": start.options.get("session") or root["x"],
        "user_id": start.options.get("user"),
        "step_key": operation.key,
    }


def send_cancels(turn: Turn) -> None:
    """Pass a cancel on to the children of the body up to here; those that its cleanup starts later are spared."""
    generation = turn.history.generation
    targets: list[tuple[str, str]] = []
    for key in turn.replay.used:
        mark, record = turn.history.marks.get(key, {}), turn.history.records.get(key, {})
        waited = key in turn.replay.open and turn.history.decided(key) is None
        if waited and not mark and turn.epoch - 1 > turn.progress:
            # an owner that died may have started it without leaving the mark
            request = turn.replay.open[key].request
            if isinstance(request, StartChild):
                targets.append((child_id(turn.execution_id, key, generation), request.workflow_id))
            elif isinstance(request, StartBatch):
                targets += [
                    (child_id(turn.execution_id, key, generation, index), child.workflow_id)
                    for index, child in enumerate(request.children)
                ]
        if items.CHILD in mark and waited:
            targets.append((items.text(mark, items.CHILD), items.text(mark, items.WORKFLOW)))
        elif items.CHILD in record and items.text(record, items.KIND) == "invoke":
            targets.append((items.text(record, items.CHILD), items.text(record, items.WORKFLOW)))
        count = items.number(mark if waited else record, items.COUNT)
        ended = turn.history.batch(key)
        begun = items.number(mark or record, items.GENERATION, generation)
        targets += [
            (child_id(turn.execution_id, key, begun, index), "") for index in range(count) if index not in ended
        ]
    _send_cancels(turn.engine, targets, "cancel", turn.lease)


def _send_cancels(engine: Engine, targets: list[tuple[str, str]], mode: str, lease: Lease | None = None) -> None:
    if targets:
        if lease is not None:
            lease.check()
        engine.backend.inbox.send([Outgoing(commands.cancel(child, wf, mode)) for child, wf in targets])


def tell_parent(engine: Engine, execution: Item) -> None:
    """The duty of a finished child: its outcome into the parent's partition, then a wake. Repeatable.

    1 put and 1 send; nothing if nobody waits for it.
    """
    parent = commands.parent_of(execution)
    if not parent.get("wait") or items.NEXT in execution:
        return
    generation = parent.get("g", 0)
    about: dict[str, Value] = {
        items.EPOCH: 0,
        items.GENERATION: generation,
        items.AT: engine.now(),
        **_outcome(engine, execution),
    }
    if "n" not in parent:
        key = items.record(parent["x"], parent["k"])
        named = {items.KIND: "child", items.CHILD: _own_id(execution), **about}
        engine.ledger.decide_child(key, generation, named)
        engine.wake(parent["x"], parent["wf"])
        return
    index, count = parent["i"], parent["n"]
    engine.ledger.decide_child(items.batch_outcome(parent["x"], parent["k"], index), generation, about)
    if _all_in(engine, parent["x"], parent["k"], generation, index, count):
        engine.wake(parent["x"], parent["wf"])


def _own_id(execution: Item) -> str:
    """The id under which the parent knows a child: the first of a chain of successors."""
    chain = items.document(execution, items.START).get("chain")
    return chain[0] if chain else items.text(execution, items.PK)


def _all_in(engine: Engine, parent_id: str, key: str, generation: int, index: int, count: int) -> bool:
    """Enter a child into the fan-in; whether all have. At most 2 updates.

    The test is the size AFTER the update, also when it changed nothing: whoever filled the set may have died before
    it woke the parent, and its redelivery must.
    """
    shard = index // _SHARD
    size = min(_SHARD, count - shard * _SHARD)
    if not _enter(engine, items.fan_in(parent_id, key, generation, str(shard)), index, size):
        return False
    shards = (count + _SHARD - 1) // _SHARD
    return shards == 1 or _enter(engine, items.fan_in(parent_id, key, generation, "top"), shard, shards)


def _enter(engine: Engine, place: Key, member: int, size: int) -> bool:
    item = engine.table.update(place, Change(union={items.MEMBERS: frozenset({member})}))
    members = item[items.MEMBERS]
    return isinstance(members, frozenset) and len(members) == size


def _outcome(engine: Engine, execution: Item) -> dict[str, Value]:
    status = items.text(execution, items.STATUS)
    execution_id = items.text(execution, items.PK)
    if status == "completed":
        stored = Stored.of_item(execution, items.RESULT)
        if stored.data is None and stored.pointer is None:
            kept = engine.table.get(items.Key(execution_id, items.result_sk(execution)))
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
    """Send a terminate to every child of an execution. 2 queries, 1 send per 10 children."""
    found = [*engine.table.query(execution_id, prefix="s#"), *engine.table.query(execution_id, prefix="r#")]
    targets: list[tuple[str, str]] = []
    for one in found:
        key, generation = items.text(one, items.SK)[2:], items.number(one, items.GENERATION)
        if items.CHILD in one:
            targets.append((items.text(one, items.CHILD), items.text(one, items.WORKFLOW)))
        targets += [
            (child_id(execution_id, key, generation, index), "") for index in range(items.number(one, items.COUNT))
        ]
    _send_cancels(engine, targets, "terminate")
