"""What follows from the end of an execution; every message that meets a finished one repeats it. Laws: L10, L12."""

from __future__ import annotations

from typing import Any, cast

from polos.core import items
from polos.core.conditions import Item
from polos.engine import children, notices, successors, waiters
from polos.engine.engine import Engine
from polos.engine.slots import Slots
from polos.ports import Message, Outgoing


def perform(engine: Engine, execution: Item, place: str = "") -> None:
    """Start the successor, tell the parent, end its waits, pass the queue's slot on, then tell other programs.

    Repeatable. `place` is that in the queue's line, of the wake that came too late.
    """
    engine.tell_end(items.text(execution, items.PK))
    successors.start(engine, execution)
    successors.close(engine, execution)
    children.tell_parent(engine, execution)
    waiters.remove(engine, execution)
    slots = Slots.of(engine, execution)
    if slots is not None:
        slots.end(execution, place)
    notices.tell(engine, execution, items.text(execution, items.STATUS))  # last: nobody here waits for it


def repeat(engine: Engine, message: Message, execution: Item) -> None:
    """A message for an execution that has ended: what it asked for goes to the successor, if there is one.

    An event's wake removes the waiter that it came for, a queue's wake the place in line.
    """
    body = message.body
    if items.NEXT in execution and body.get("t") == "cancel":
        asked = body.get("g")
        if asked is None or items.number(execution, items.GENERATION) <= asked:
            first = {} if asked is None else {"g": 0}  # a successor that was retried since is another's to cancel
            engine.backend.inbox.send([Outgoing({**body, "x": items.text(execution, items.NEXT), **first})])
    if items.NEXT in execution and body.get("t") == "resume":
        successors.pass_on_late(engine, execution, body)
    waiter = body.get("wt")
    if isinstance(waiter, list):
        partition, sk = (*cast("list[Any]", waiter), "", "")[:2]
        if str(partition).startswith("t#") and str(sk).startswith("w#"):
            engine.ledger.forget(str(partition), str(sk), items.number(execution, items.EPOCH))
    perform(engine, execution, str(body.get("wsk") or ""))
