"""Bringing an execution back by hand: retry and pause. Laws: L12 (`retry` is the one way back from an end).

retry   SEND {retry, generation}, then apply it; the handler applies the same. It drops the failure that ended the
        run and all that was observed after it, IF those are of the generation that failed, then
        update x IF failed and generation same: generation+1, open again
pause   update x; a turn that sees it starts no new step.  unpause: SEND {unpause}, then update x
"""

from __future__ import annotations

from polos.clock import new_token
from polos.core import items
from polos.core.conditions import AllOf, AnyOf, AtMost, Change, Equals, Has, Item, Not, Value
from polos.core.items import Key
from polos.engine import successors
from polos.engine.engine import Engine
from polos.engine.finding import find
from polos.engine.ledger import OPEN
from polos.errors import ExecutionStateError
from polos.ports import ConditionFailed, Outgoing

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
    successors.reopen(engine, item)
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
            items.WAITING_MORE,
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
        for one in engine.table.query(execution_id, prefix=f"b#{key}#"):
            sort_key = items.text(one, items.SK)
            if sort_key[2:].rpartition("#")[0] == key:  # and not of a batch whose key begins so
                found.append(Key(execution_id, sort_key))
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


# ---- pause


def pause(engine: Engine, execution_id: str) -> None:
    """Let an execution start nothing new until it is unpaused. What runs ends. 1 read and 1 update."""
    item = find(engine, execution_id)
    found = items.text(item, items.PK)
    change = Change(default={items.PAUSED: engine.now(), items.PAUSE: new_token()}, add={items.WAKE: 1})
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
    token = items.text(item, items.PAUSE)
    body = {"t": "unpause", "x": found, "wf": items.text(item, items.WORKFLOW), "n": number, "p": token}
    engine.backend.inbox.send([Outgoing(body)])
    apply_unpause(engine, found, number, token)


def apply_unpause(engine: Engine, execution_id: str, since: int, token: str) -> None:
    """Lift the pause that began then, under this token ("": one that has none); a later one stands. Repeatable.

    The time alone does not tell it from another of the same millisecond.
    """
    same = Equals(items.PAUSE, token) if token else Not(Has(items.PAUSE))
    change = Change(remove=(items.PAUSED, items.PAUSE))
    try:
        engine.table.update(items.execution(execution_id), change, AllOf(Equals(items.PAUSED, since), same, OPEN))
    except ConditionFailed:
        return
