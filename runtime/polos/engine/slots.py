"""Slots of queues with a limit: who may run now, who waits, who is next. Laws: SPEC 7, L10, L13.

One item holds the slots of a queue and concurrency key: a count, and for each holder the epoch with which it took one.
A waiting item holds a place, with the epoch of who put it there; resumptions come before starts, then by time.

    take     update slots IF not in it and count < limit;  full: put the waiting item, then take again (write, recheck)
    full     look at the holders: one that has ended, sleeps, or holds an older epoch is removed, IF it is still that
    release  AFTER the suspend or finish: remove IF epoch <= mine, then wake the first who waits
    pass on  a wake that is not used goes to the next who waits, if there is room
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from polos.core import items
from polos.core.conditions import AllOf, AnyOf, AtMost, Change, Equals, Has, Item, Less, Not, Value
from polos.core.items import Key
from polos.engine import commands
from polos.engine.engine import Engine
from polos.engine.lease import Lease, Lost
from polos.ports import ConditionFailed, Outgoing
from polos.types.types import PlaceInLine

if TYPE_CHECKING:
    from polos.engine.turn import Turn

_HOLDER = "h:"
_FIRST = "w#"
_COUNTED = 200
_KEPT: Final = 30 * 86_400
"""Seconds after which slots that nobody has taken expire: no slot is held for as long, but where no invocation has a
limit, and there what counts a holder is not removed (`local/table.py`)."""


@dataclass(frozen=True)
class Slots:
    """The slots of the queue that one execution belongs to."""

    engine: Engine
    execution_id: str
    partition: str
    limit: int

    @classmethod
    def of(cls, engine: Engine, execution: Item) -> Slots | None:
        """None if nothing limits the execution."""
        options = items.document(execution, items.START)
        if "limit" not in options:
            return None
        partition = items.queue(options["queue"], options.get("ckey", ""))
        return cls(engine, items.text(execution, items.PK), partition, options["limit"])

    @property
    def _key(self) -> Key:
        return Key(self.partition, items.SLOTS)

    @property
    def _own(self) -> str:
        return _HOLDER + self.execution_id

    def take(self, turn: Turn, called: str) -> bool:
        """Take a slot. False: the execution waits in line, suspended. Free: 1 update.

        `called` is the place for which a queue's wake was sent. A place that an owner left behind when it died is
        given up as soon as a slot is held: it is where this execution's place always is.
        """
        lease, execution = turn.lease, turn.execution
        epoch = lease.holder.epoch
        own = self._place(execution)
        waited = bool(items.text(execution, items.WAITING_SK) or called or epoch - 1 > turn.progress)
        lease.check()
        held = self._try(epoch)
        if held is not None:
            waited = True
            held = self._queue_up(lease, own, execution)
        while held is not None:
            if self._evict(lease, held):
                held = self._try(epoch)
            elif turn.resting.wait_for_slot(own):
                return False
            elif turn.cancel and turn.resting.untouched:
                break  # the turn ends it without a slot
            else:
                lease.check()
                held = self._try(epoch)
        if waited:
            self._leave(own, epoch)
            if called != own:
                self._leave(called, epoch)
            self.pass_on()
        return True

    def line(self, execution: Item) -> PlaceInLine | None:
        """Where the execution stands in line; None if it does not. 1 read and 1 query."""
        place = items.text(execution, items.WAITING_SK)
        if not place or items.LEASE_TOKEN in execution or items.ENDED in execution:
            return None
        held = self.engine.table.get(self._key) or {}
        waiting = self.engine.table.query(self.partition, prefix=_FIRST, limit=_COUNTED)
        options = items.document(execution, items.START)
        return PlaceInLine(
            queue=options["queue"],
            concurrency_key=options.get("ckey"),
            limit=self.limit,
            running=sorted(name.removeprefix(_HOLDER) for name in held if name.startswith(_HOLDER)),
            ahead=sum(1 for one in waiting if items.text(one, items.SK) < place),
            resumes=bool(items.number(execution, items.RAN)),
        )

    def _queue_up(self, lease: Lease, place: str, execution: Item) -> Item | None:
        lease.check()
        workflow_id = items.text(execution, items.WORKFLOW)
        about = {items.EPOCH: lease.holder.epoch, items.EXECUTION_ID: self.execution_id, items.WORKFLOW: workflow_id}
        self.engine.table.put(items.keyed(Key(self.partition, place), about))
        lease.check()
        return self._try(lease.holder.epoch)

    def _try(self, epoch: int) -> Item | None:
        """One try; the slots item if all are held. Raises `Lost` if a later owner of the execution holds one."""
        room = AnyOf(Not(Has(items.LIMIT_COUNT)), Less(items.LIMIT_COUNT, self.limit))
        taken: dict[str, Value] = {self._own: epoch, items.TTL: self.engine.now() // 1000 + _KEPT}
        change = Change(set=taken, add={items.LIMIT_COUNT: 1})
        while True:
            try:
                self.engine.table.update(self._key, change, AllOf(Not(Has(self._own)), room))
            except ConditionFailed as failed:
                item = failed.item or {}
                if self._own not in item:
                    return item
                if items.number(item, self._own) > epoch:
                    raise Lost(self.execution_id) from None
                try:
                    self.engine.table.update(self._key, Change(set=taken), AtMost(self._own, epoch))
                except ConditionFailed:
                    continue  # the owner before has given it back meanwhile, or there is a later one: look again
            return None

    def _evict(self, lease: Lease, held: Item) -> bool:
        """Remove holders that don't run: ended, asleep, or holding an epoch that has passed. Whether one was."""
        holders = {name.removeprefix(_HOLDER): epoch for name, epoch in held.items() if name.startswith(_HOLDER)}
        lease.check()
        found = self.engine.table.get_many([items.execution(holder) for holder in holders])
        current = {items.text(item, items.PK): item for item in found}
        freed = False
        for holder, epoch in holders.items():
            item = current.get(holder)
            runs = item is not None and items.ENDED not in item and items.LEASE_TOKEN in item
            if runs and item is not None and items.number(item, items.EPOCH) <= int(str(epoch)):
                continue
            lease.check()
            name = _HOLDER + holder
            change = Change(remove=(name,), add={items.LIMIT_COUNT: -1})
            try:
                self.engine.table.update(self._key, change, Equals(name, epoch))
                freed = True
            except ConditionFailed:
                freed = True  # somebody else has changed it: try again
        return freed

    def _place(self, execution: Item) -> str:
        """Where the execution stands in line: resumptions first, then in the order of the starts.

        One that stands there already keeps its place, although an owner that died may have let its body run since:
        nobody would remove the old place.
        """
        if standing := items.text(execution, items.WAITING_SK):
            return standing
        priority = 0 if items.number(execution, items.RAN) else 1
        return f"{_FIRST}{priority}#{items.number(execution, items.CREATED):015d}#{self.execution_id}"

    def _leave(self, place: str, epoch: int) -> None:
        """Give up a place in line, of this epoch or older. 1 delete."""
        if place.startswith(_FIRST) and place.endswith(f"#{self.execution_id}"):
            self.engine.ledger.forget(self.partition, place, epoch)

    def end(self, execution: Item, called: str) -> None:
        """What an ended execution owes its queue. Repeatable. 1 update and 1 query; 1 delete for a place in line."""
        epoch = items.number(execution, items.EPOCH)
        places = {items.text(execution, items.WAITING_SK), called}
        if items.CANCEL in execution:
            places.add(self._place(execution))  # it may have ended while it stood in line
        for place in places:
            self._leave(place, epoch)
        self.release(epoch)

    def release(self, epoch: int) -> None:
        """Give a slot back, then wake the first who waits. 1 update, 1 query, 1 send if somebody waits."""
        change = Change(remove=(self._own,), add={items.LIMIT_COUNT: -1})
        with contextlib.suppress(ConditionFailed):
            self.engine.table.update(self._key, change, AtMost(self._own, epoch))
        self._wake_next("")

    def pass_on(self, after: str = "") -> None:
        """Hand an unused wake to the next in line (later than `after`), if there is room. 1 read, 1 query, 1 send."""
        item = self.engine.table.get(self._key) or {}
        if items.number(item, items.LIMIT_COUNT) < self.limit:
            self._wake_next(after)

    def _wake_next(self, after: str) -> None:
        waiting = self.engine.table.query(self.partition, prefix=_FIRST, after=after, limit=2)
        for item in [one for one in waiting if items.text(one, items.EXECUTION_ID) != self.execution_id][:1]:
            body = commands.wake(items.text(item, items.EXECUTION_ID), items.text(item, items.WORKFLOW))
            self.engine.backend.inbox.send([Outgoing({**body, "wsk": item[items.SK]})])
