"""Pausing a whole queue or a whole workflow: what is held, the line of those that met the hold, and letting them go.

One item of the table names all that is paused, each with a number of its own pause. A process believes what it has read
for `Limits.controls` seconds, then reads it again; that something is paused it believes only after a read that comes
after its place in the line.

    held     put place in the line of that pause, then read the item: still that pause: suspend;  otherwise go on
    unpause  SEND release, then remove the pause IF it is of that number; the handler does the same, then until the
             line is empty: query it, SEND a wake to each, delete their places

A line belongs to one pause, so nothing in it concerns a later one. docs/design.md, "Holds", draws the races.
Laws: L5, L10, L11.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from polos.clock import new_token
from polos.core import items
from polos.core.conditions import Change, Equals, Item
from polos.core.identity import check_queue
from polos.core.items import Key
from polos.engine import commands
from polos.engine.commands import moment
from polos.errors import BackendError, InvalidPayloadError
from polos.ports import ConditionFailed, Message, Outgoing

if TYPE_CHECKING:
    from polos.engine.engine import Engine
    from polos.engine.turn import Turn

KINDS: Final = ("queue", "workflow")
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Hold:
    """One pause of a queue or a workflow. `number` tells it from every other pause, also of the same one."""

    kind: str
    name: str
    number: str

    @property
    def since(self) -> datetime:
        return moment(int(self.number.partition("-")[0]))

    @property
    def attribute(self) -> str:
        """Its name in the item; a queue may be called as a workflow is."""
        return f"{self.kind}:{self.name}"

    @property
    def line(self) -> str:
        """The partition of those that wait for its end."""
        return items.hold(self.number)


class Controls:
    """What is paused, as far as this process knows. Thread-safe.

    No thread waits for the read of another, nor goes on by what is too old meanwhile: it reads for itself.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._known: Item = {}
        self._read_at: float | None = None
        self._learned = 0

    def hold_of(self, execution: Item) -> Hold | None:
        """What holds an execution. 1 read if the last one of this process is too long ago."""
        now = self._engine.clock.monotonic()
        with self._lock:
            known, read_at = self._known, self._read_at
        old = read_at is None or now - read_at > self._engine.limits.controls
        return _find(self._read() if old else known, execution)

    def may_begin(self, execution: Item) -> bool:
        """Whether nothing holds an execution, as `hold_of`; where the read fails, as far as was known before it.

        A turn that is under way is not given up for it: what runs in it would run again.
        """
        try:
            return self.hold_of(execution) is None
        except BackendError:
            with self._lock:
                return _find(self._known, execution) is None

    def still_held(self, execution: Item) -> Hold | None:
        """What holds an execution by a read made now. 1 read."""
        return _find(self._read(), execution)

    def refresh(self) -> list[Hold]:
        """Everything that is paused, by a read made now. 1 read."""
        named = [(*name.partition(":"), number) for name, number in self._read().items()]
        return [Hold(kind, name, str(number)) for kind, colon, name, number in named if colon and kind in KINDS]

    def learn(self, item: Item) -> None:
        """Take what a write of one's own returned; a read that began before does not undo it."""
        with self._lock:
            self._known, self._read_at = item, self._engine.clock.monotonic()
            self._learned += 1

    def _read(self) -> Item:
        with self._lock:
            learned = self._learned
        sent = self._engine.clock.monotonic()
        item = self._engine.table.get(items.CONTROLS) or {}
        with self._lock:
            if learned == self._learned:
                self._known, self._read_at = item, sent
        return item


def _find(known: Item, execution: Item) -> Hold | None:
    if not known:
        return None
    workflow_id = items.text(execution, items.WORKFLOW)
    queue = items.document(execution, items.START).get("queue", workflow_id)
    for kind, name in (("queue", queue), ("workflow", workflow_id)):
        number = known.get(f"{kind}:{name}")
        if isinstance(number, str):
            return Hold(kind, name, number)
    return None


def stand_in_line(turn: Turn, hold: Hold) -> Hold | None:
    """Write the place, then read again: what still holds it, in whose line it stands. 1 put and 1 read for each.

    A place is left again where the hold has gone.
    """
    engine, item = turn.engine, turn.execution
    place = f"w#{items.number(item, items.CREATED):015d}#{turn.execution_id}"
    while True:
        about = {items.EXECUTION_ID: turn.execution_id, items.WORKFLOW: turn.workflow.id}
        turn.lease.check()
        engine.table.put(items.keyed(Key(hold.line, place), about))
        turn.lease.check()
        found = engine.controls.still_held(item)
        if found == hold:
            return hold
        turn.lease.check()
        engine.table.delete(Key(hold.line, place))
        if found is None:
            return None
        hold = found


# ---- acts


def pause(engine: Engine, kind: str, name: str) -> Hold:
    """Hold a queue or a workflow; one that is held stays so. 1 update."""
    check_queue(name)
    wanted = Hold(kind, name, f"{engine.now()}-{new_token()}")
    item = engine.table.update(items.CONTROLS, Change(default={wanted.attribute: wanted.number}))
    engine.controls.learn(item)
    engine.poke_all()
    return Hold(kind, name, items.text(item, wanted.attribute))


def unpause(engine: Engine, kind: str, name: str) -> None:
    """Let what is held go on. 1 read; if it is paused 1 send and 1 update."""
    check_queue(name)
    for hold in engine.controls.refresh():
        if (hold.kind, hold.name) == (kind, name):
            engine.backend.inbox.send([_message(hold)])
            _remove(engine, hold)


def _remove(engine: Engine, hold: Hold) -> None:
    """End this pause; a later one stands."""
    try:
        item = engine.table.update(
            items.CONTROLS, Change(remove=(hold.attribute,)), Equals(hold.attribute, hold.number)
        )
    except ConditionFailed:
        return
    engine.controls.learn(item)


def _message(hold: Hold) -> Outgoing:
    return Outgoing({"t": "release", "c": [hold.kind, hold.name], "n": hold.number})


def read_release(body: dict[str, Any]) -> Hold:
    """The pause that a release message is about. Raises `InvalidPayloadError`."""
    match body.get("c"), body.get("n"):
        case [str(kind), str(name)], str(number) if kind in KINDS and number.partition("-")[0].isdecimal():
            return Hold(kind, name, number)
        case _:
            raise InvalidPayloadError("A release message does not name a pause.")


def release(engine: Engine, hold: Hold, message: Message, remaining: Callable[[], float | None]) -> bool:
    """End a pause and wake those in its line, 100 at a time. Repeatable. True: the message is no longer needed.

    1 update; for each 100 in the line 1 query, 10 sends and 100 deletes.
    """
    _remove(engine, hold)
    while places := engine.table.query(hold.line, prefix="w#", limit=_AT_ONCE):
        message.extend(engine.limits.lease)
        wakes = [commands.wake(items.text(one, items.EXECUTION_ID), items.text(one, items.WORKFLOW)) for one in places]
        engine.backend.inbox.send([Outgoing(wake) for wake in wakes])
        for one in places:
            engine.table.delete(Key(hold.line, items.text(one, items.SK)))
        left = remaining()
        if left is not None and left < engine.limits.stop_before:
            engine.backend.inbox.send([_message(hold)])
            return True
    return True
