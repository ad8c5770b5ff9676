"""What the mutants of pages, dead letters, late resumes and expiry put in the place of the engine's own functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polos.core import items
from polos.core.conditions import AllOf, AnyOf, Change, Condition, Equals, Has, Item, Not, Value
from polos.core.items import Key
from polos.engine import commands, controls, retention
from polos.engine.controls import Hold
from polos.engine.dead_letters import Done
from polos.engine.ledger import OPEN, Ledger
from polos.engine.turn import Turn
from polos.ports import Outgoing


def behind_the_next(page: list[Item]) -> str:
    """The key of what may well be the first item of the next page, which is then left out."""
    last = str(page[-1][items.SK])
    return last[:-1] + chr(ord(last[-1]) + 1)


def read_records_first(self: Turn) -> None:
    """The records, then the wake count: what came in between is on neither."""
    self.load_history()
    loaded, self.load_history = self.load_history, lambda: None  # type: ignore[method-assign]
    try:
        _read_again(self)
    finally:
        self.load_history = loaded  # type: ignore[method-assign]


_read_again = Turn.read_again


def wake_one_page(engine: Any, hold: Hold, message: Any, remaining: Any) -> bool:
    """Those in line, as many as one query returns."""
    controls._remove(engine, hold)  # pyright: ignore[reportPrivateUsage]
    places = engine.table.query(hold.line, prefix="w#", limit=controls._AT_ONCE)  # pyright: ignore[reportPrivateUsage]
    wakes = [commands.wake(items.text(one, items.EXECUTION_ID), items.text(one, items.WORKFLOW)) for one in places]
    if wakes:
        engine.backend.inbox.send([Outgoing(wake) for wake in wakes])
    for one in places:
        engine.table.delete(Key(hold.line, items.text(one, items.SK)))
    return True


def give_up_what_is_owned(
    self: Ledger, execution_id: str, progress: int, now: int, attributes: Mapping[str, Value]
) -> Item:
    still = Equals(items.PROGRESS, progress)
    unmoved = still if progress else AnyOf(Not(Has(items.PROGRESS)), still)
    change = Change(
        set=attributes, remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL, items.WAITING_FOR)
    )
    return self.table.update(items.execution(execution_id), change, AllOf(Has(items.WORKFLOW), OPEN, unmoved))


def tell_nobody(*_: Any) -> Done:
    return Done("its execution has failed")


def open_in_any(generation: int | None) -> Condition:
    return AllOf(Has(items.WORKFLOW), OPEN)


def is_never_retried(item: Item | None, generation: int | None) -> bool:
    return False


def pass_on_whatever(engine: Any, ended: Item, resume: Mapping[str, Any]) -> None:
    engine.backend.inbox.send([Outgoing({**resume, "x": items.text(ended, items.NEXT)})])


def note_as_renewed(engine: Any, item: Item) -> None:
    """Only the execution says that what it has stored is kept."""
    until = engine.now() + int(engine.limits.horizon * 1000)
    change = Change(set={items.KEPT_UNTIL: until})
    engine.table.update(items.execution(items.text(item, items.PK)), change, AllOf(Has(items.WORKFLOW), OPEN))


def note_then_renew(engine: Any, item: Item) -> None:
    """The execution says so before it is true."""
    note_as_renewed(engine, item)
    _renew(engine, item)


_renew = retention.renew
