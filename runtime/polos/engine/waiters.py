"""Which waits for events an execution has registered with their topics, as it remembers that itself.

    suspend    the item shows the open waits, as many as fit (`wt`); those for events that don't fit are listed beside
               it under the owner's epoch, which the item names (`wm`). The list is written anew where it lacks one
    next turn  what is in either is registered already
    end        the item keeps what is still registered, and whoever meets it removes those waiters, then `wm`

A waiter has the epoch of who put it, so that what an end owes removes none of a run that was retried since.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from polos.core import items
from polos.core.conditions import AllOf, Change, Equals, Has, Item, Value
from polos.core.history import History
from polos.core.operations import AwaitEvent
from polos.ports import ConditionFailed

if TYPE_CHECKING:
    from polos.engine.engine import Engine
    from polos.engine.turn import Turn

_SHOWN_CHARACTERS: Final = 400
AN_ITEM: Final = 100

Entry = Sequence[Any]
"""Kind and key of a wait; of one for an event also the topic, and since when it waits (ms)."""


def registered(history: History) -> dict[tuple[str, str], int]:
    """The key and topic of each wait for an event that the execution remembers to have registered, and since when."""
    return _registered(history.execution, history.listed.values())


def _registered(execution: Item, listed: Iterable[Item]) -> dict[tuple[str, str], int]:
    entries: list[Entry] = json.loads(items.text(execution, items.WAITING_FOR, "[]"))
    prefix = items.listed(items.text(execution, items.PK), items.number(execution, items.WAITING_MORE)).sk
    for item in listed:
        if items.text(item, items.SK).startswith(prefix):
            entries += json.loads(items.text(item, items.DATA))
    events = [(key, *rest) for kind, key, *rest in entries if kind == AwaitEvent.kind and len(rest) > 1]
    return {(key, topic): since for key, topic, since in events}


def remembered(turn: Turn, waits: Iterable[Entry]) -> dict[str, Value]:
    """What the execution item says of these waits. 1 put for each 100 events that it has no room for, if they are new.

    The puts are unfenced: they count only once the item names their epoch.
    """
    shown: list[Entry] = []
    beside: list[Entry] = []
    left = _SHOWN_CHARACTERS
    for entry in waits:
        left -= len(json.dumps(entry))
        if left >= 0 or not shown:
            shown.append(entry)
        elif entry[0] == AwaitEvent.kind:
            beside.append(entry)
    before = items.number(turn.execution, items.WAITING_MORE)
    about: dict[str, Value] = {items.WAITING_FOR: _text(shown)}
    if not beside:
        return {**about, items.WAITING_MORE: 0} if before else about
    known = _registered({**turn.execution, items.WAITING_FOR: "[]"}, turn.history.listed.values())
    if all((key, topic) in known for _, key, topic, *_ in beside):
        return about
    for first in range(0, len(beside), AN_ITEM):
        key = items.listed(turn.execution_id, turn.epoch, first // AN_ITEM)
        turn.lease.check()
        turn.engine.table.put(items.keyed(key, {items.DATA: _text(beside[first : first + AN_ITEM])}))
    return {**about, items.WAITING_MORE: turn.epoch}


def left_over(turn: Turn) -> dict[str, Value]:
    """What an execution that ends says of the waits that it has still registered; {} if there are none.

    A list beside the item also names waits that were decided since it was written; who decided them has removed their
    waiters, unless it died.
    """
    records, progress = turn.history.records, turn.progress
    waits = [
        (AwaitEvent.kind, key, topic, since)
        for (key, topic), since in turn.waits.registered.items()
        if turn.history.decided(key) is None or items.number(records[key], items.EPOCH) > progress
    ]
    if not waits:
        return {}
    return {items.WAITING_MORE: items.number(turn.execution, items.WAITING_MORE), **remembered(turn, waits)}


def left_unrun(execution: Item) -> dict[str, Value]:
    """As `left_over`, of an execution whose body nobody can run."""
    if not _registered(execution, ()) and not items.number(execution, items.WAITING_MORE):
        return {}
    names = {items.WAITING_FOR: "[]", items.WAITING_MORE: 0}
    return {name: execution.get(name, default) for name, default in names.items()}


def remove(engine: Engine, ended: Item) -> None:
    """The duty of an execution that ended while waits were registered. Repeatable. 1 delete for each, 1 update.

    Where some were listed beside the item, 1 query per MB of them. A waiter that an owner has put since the last
    suspension, and died or lost its lease, goes with the wake of the next event.
    """
    if items.WAITING_MORE not in ended:
        return
    execution_id, epoch = items.text(ended, items.PK), items.number(ended, items.EPOCH)
    more = items.number(ended, items.WAITING_MORE)
    listed = engine.table.query(execution_id, prefix=items.listed(execution_id, more).sk) if more else []
    for key, topic in _registered(ended, listed):
        engine.ledger.forget(items.topic(topic), items.waiter_sk(execution_id, key), epoch)
    with contextlib.suppress(ConditionFailed):  # retried meanwhile, or a copy of the message was faster
        change = Change(remove=(items.WAITING_MORE,))
        same = AllOf(Has(items.WAITING_MORE), Equals(items.ENDED, items.number(ended, items.ENDED)))
        engine.table.update(items.execution(execution_id), change, same)


def _text(entries: Sequence[Entry]) -> str:
    return json.dumps(entries, separators=(",", ":"), ensure_ascii=False)
