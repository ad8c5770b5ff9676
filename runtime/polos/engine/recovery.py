"""Bringing an execution back by hand: retry, fork, pause. Laws: L12 (`retry` is the one way back from an end).

retry   SEND {retry, generation}, then apply it; the handler applies the same. It drops the failure that ended the
        run and all that was observed after it, IF those are of the generation that failed, then
        update x IF failed and generation same: generation+1, open again
fork    copy the records before a step under a new id, then start that
pause   update x; a turn that sees it starts no new step.  unpause: SEND {unpause}, then update x
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polos.clock import new_id
from polos.core import codec, items
from polos.core.conditions import AllOf, AnyOf, AtMost, Change, Equals, Has, Item, Not, Value
from polos.core.history import History
from polos.core.items import Key
from polos.engine import commands
from polos.engine.commands import Start, Stored
from polos.engine.engine import Engine
from polos.engine.ledger import OPEN
from polos.engine.starting import find
from polos.errors import ExecutionStateError, InvalidPayloadError
from polos.ports import ConditionFailed, Outgoing
from polos.workflow import find_workflow

_NOT_COPIED = (items.PK, items.SK, items.GENERATION)


# ---- retry


def retry(engine: Engine, execution_id: str) -> Item:
    """Let a failed execution go on from its last good step. Raises `ExecutionStateError` unless it has failed."""
    item = find(engine, execution_id)
    if items.text(item, items.STATUS) != "failed":
        raise ExecutionStateError(execution_id, items.text(item, items.STATUS), "retry")
    found, generation = items.text(item, items.PK), items.number(item, items.GENERATION)
    body = {"t": "retry", "x": found, "wf": items.text(item, items.WORKFLOW), "n": generation}
    engine.backend.inbox.send([Outgoing(body)])
    apply_retry(engine, found, generation)
    return find(engine, found)


def apply_retry(engine: Engine, execution_id: str, generation: int) -> None:
    """Open an execution that failed in this generation again. Repeatable; does nothing once it has been done."""
    item = engine.table.get(items.execution(execution_id))
    if item is None or not _failed_in(item, generation):
        return
    _drop(engine, execution_id, item, generation)
    epoch = items.number(item, items.EPOCH)
    place = items.document(item, items.DROPPED).get("from")
    traced = items.number(item, items.TRACED, -1)
    again: dict[str, Value] = {items.TRACED: min(traced, place[1])} if place is not None and traced >= 0 else {}
    change = Change(
        set={
            items.GENERATION: generation + 1,
            items.STATUS: "queued",
            items.PROGRESS: epoch,
            items.RETRIES: 0,
            items.RAN: 1,
            items.LIMIT_FROM: engine.now(),
            **again,
        },
        remove=(
            items.ENDED, items.FAILURE, items.TTL, items.DROPPED, items.NOT_BEFORE, items.DELAYED_DEATHS,
            items.FINAL_STATE, items.CANCEL, items.LIMIT_ARMED, items.WAITING_FOR,
        ),
    )  # fmt: skip
    first = AnyOf(Equals(items.GENERATION, generation), Not(Has(items.GENERATION))) if generation == 0 else (
        Equals(items.GENERATION, generation)
    )  # fmt: skip
    try:
        engine.table.update(
            items.execution(execution_id), change, AllOf(Equals(items.STATUS, "failed"), Has(items.ENDED), first)
        )
    except ConditionFailed:
        return


def _failed_in(item: Item, generation: int) -> bool:
    return items.text(item, items.STATUS) == "failed" and items.number(item, items.GENERATION) == generation


def _drop(engine: Engine, execution_id: str, item: Item, generation: int) -> None:
    """Remove the failure that ended the run and what was observed after it, where it is of this generation or older."""
    dropped = items.document(item, items.DROPPED)
    epoch = items.number(item, items.EPOCH)
    ended = items.number(item, items.ENDED)
    older = AllOf(
        AnyOf(Not(Has(items.AT)), AtMost(items.AT, ended)),
        AtMost(items.EPOCH, epoch),
        AnyOf(Not(Has(items.GENERATION)), AtMost(items.GENERATION, generation)),
    )
    for key in dropped.get("keys", []):
        found = [make(execution_id, key) for make in (items.record, items.mark, items.resumption)]
        found += [
            Key(execution_id, items.text(one, items.SK)) for one in engine.table.query(execution_id, prefix=f"b#{key}#")
        ]
        for one in found:
            try:
                engine.table.delete(one, older)
            except ConditionFailed:
                continue
    place = dropped.get("from")
    if place is not None:
        _cut_orders(engine, execution_id, (place[0], place[1]), epoch)


def _cut_orders(engine: Engine, execution_id: str, place: tuple[int, int], epoch: int) -> None:
    for item in engine.table.query(execution_id, prefix="o#"):
        branch = int(items.text(item, items.SK)[2])
        pairs = list(zip(items.numbers(item, items.TICKS), items.strings(item, items.KEYS), strict=True))
        kept = [(tick, key) for tick, key in pairs if (branch, tick) < place]
        if len(kept) == len(pairs):
            continue
        try:
            if kept:
                cut: Item = {**item, items.TICKS: [tick for tick, _ in kept], items.KEYS: [key for _, key in kept]}
                engine.table.put(cut, AtMost(items.EPOCH, epoch))
            else:
                engine.table.delete(Key(execution_id, items.text(item, items.SK)), AtMost(items.EPOCH, epoch))
        except ConditionFailed:
            continue


# ---- fork


def fork(
    engine: Engine,
    execution_id: str,
    from_step: str | None,
    payload: Any,
    results: Mapping[str, Any],
    replace_payload: bool,
) -> Item:
    """A new execution that keeps the records of those steps that ended before `from_step` began.

    `results` replaces the outcomes of kept steps. Raises `InvalidPayloadError` if a step is not on record.
    """
    item = find(engine, execution_id)
    source = items.text(item, items.PK)
    history = History.of(engine.table.query(source), item)
    kept = _kept(history, source, from_step)
    unknown = set(results) - kept.keys()
    if unknown:
        raise InvalidPayloadError(
            f"Execution {source} has no outcome of the step {sorted(unknown)[0]!r} before {from_step!r} to replace."
        )
    workflow = find_workflow(items.text(item, items.WORKFLOW))
    new = new_id()
    stored = _payload(engine, history) if not replace_payload else engine.stash(
        codec.encode(workflow.accept(payload), annotation=workflow.input_annotation), new, "The payload of a fork"
    )  # fmt: skip
    for key, record in kept.items():
        copy = {name: value for name, value in record.items() if name not in _NOT_COPIED} | {items.EPOCH: 0}
        if key in results:
            for name in (items.FAILURE, items.VALUE, items.POINTER):
                copy.pop(name, None)
            copy |= engine.attributes(codec.encode(results[key], step_key=key), new, f"The result of step {key!r}")
        elif items.POINTER in copy:
            text = engine.vault.fetch(Stored.of_item(copy))
            copy.pop(items.POINTER)
            copy |= engine.attributes(text, new, f"The result of step {key!r}")
        engine.table.put(items.keyed(items.record(new, key), copy))
    batches = _kept_batches(history, source, from_step)
    for key, outcomes in batches.items():
        _copy_batch(engine, new, key, history.marks[key], outcomes)
    for (branch, tick), key in history.orders.items():
        if key in kept or key in batches:
            about: dict[str, Any] = {items.TICKS: [tick], items.KEYS: [key], items.EPOCH: 0}
            engine.table.put(items.keyed(items.order(new, branch, tick), about))
    options = {
        name: value
        for name, value in items.document(item, items.START).items()
        if name not in ("parent", "root", "chain", "trigger", "pd", "pb", "sq", "ev", "tp")
    }
    command = Start.of(new, workflow.id, stored, engine.now(), {**options, "forked": source})
    engine.backend.inbox.send([command.message()])
    large = command.payload_item()
    if large is not None:
        engine.ledger.note(commands.payload_key(new, command.options), large)
    return engine.ledger.note(items.execution(new), {**command.attributes(), items.STATUS: "queued"})


def _kept(history: History, execution_id: str, from_step: str | None) -> dict[str, Item]:
    if from_step is None:
        return {}
    began = _first_write(history, execution_id, from_step)
    return {
        key: record
        for key, record in history.records.items()
        if key != from_step and items.number(record, items.AT, items.number(record, items.DUE)) <= began
        and _began(record) <= began and (items.AT in record or record.get(items.STATE) == items.ARMED)
    }  # fmt: skip


def _kept_batches(history: History, execution_id: str, from_step: str | None) -> dict[str, dict[int, Item]]:
    """The batches that were waited for and whose last child ended before `from_step` began."""
    if from_step is None:
        return {}
    began = _first_write(history, execution_id, from_step)
    kept: dict[str, dict[int, Item]] = {}
    for key, mark in history.marks.items():
        ended = history.batch(key)
        whole = items.COUNT in mark and len(ended) == items.number(mark, items.COUNT)
        if key != from_step and whole and max(items.number(one, items.AT) for one in ended.values()) <= began:
            kept[key] = ended
    return kept


def _copy_batch(engine: Engine, new: str, key: str, mark: Item, outcomes: Mapping[int, Item]) -> None:
    """A batch with its outcomes, as of children that are not the fork's own. 1 put, and 1 a child."""
    for index, outcome in outcomes.items():
        copy = {name: value for name, value in outcome.items() if name not in _NOT_COPIED} | {items.EPOCH: 0}
        if items.POINTER in copy:
            text = engine.vault.fetch(Stored.of_item(copy))
            copy.pop(items.POINTER)
            copy |= engine.attributes(text, new, f"The result {index} of step {key!r}")
        engine.table.put(items.keyed(items.batch_outcome(new, key, index), copy))
    about = {name: value for name, value in mark.items() if name not in (*_NOT_COPIED, items.COUNT)} | {items.EPOCH: 0}
    engine.table.put(items.keyed(items.mark(new, key), about))


def _first_write(history: History, execution_id: str, step_key: str) -> int:
    first = history.records.get(step_key) or history.marks.get(step_key)
    if first is None:
        raise InvalidPayloadError(f"Execution {execution_id} has no step {step_key!r}.")
    return _began(first)


def _began(item: Item) -> int:
    return items.number(item, items.BEGAN, items.number(item, items.AT))


def _payload(engine: Engine, history: History) -> Stored:
    options = items.document(history.execution, items.START)
    if commands.payload_is_beside(options):
        return Stored.of_item(history.attached.get(commands.payload_key("", options).sk) or {})
    return Stored.of_item(history.execution, items.INPUT)


# ---- pause


def pause(engine: Engine, execution_id: str) -> None:
    """Let an execution start nothing new until it is unpaused. What runs ends. 1 read and 1 update."""
    item = find(engine, execution_id)
    found = items.text(item, items.PK)
    change = Change(default={items.PAUSED: engine.now()}, add={items.WAKE: 1})
    try:
        engine.table.update(items.execution(found), change, OPEN)
    except ConditionFailed:
        raise ExecutionStateError(found, items.text(item, items.STATUS), "pause") from None
    engine.poke(found)


def unpause(engine: Engine, execution_id: str) -> None:
    """Let a paused execution go on. 1 read, 1 send and 1 update."""
    item = find(engine, execution_id)
    if items.ENDED in item:
        raise ExecutionStateError(execution_id, items.text(item, items.STATUS), "unpause")
    found, number = items.text(item, items.PK), items.number(item, items.PAUSED)
    body = {"t": "unpause", "x": found, "wf": items.text(item, items.WORKFLOW), "n": number}
    engine.backend.inbox.send([Outgoing(body)])
    apply_unpause(engine, found, number)


def apply_unpause(engine: Engine, execution_id: str, number: int) -> None:
    """Lift the pause of this number; a later one stands. Repeatable."""
    try:
        engine.table.update(
            items.execution(execution_id), Change(remove=(items.PAUSED,)), AllOf(Equals(items.PAUSED, number), OPEN)
        )
    except ConditionFailed:
        return
