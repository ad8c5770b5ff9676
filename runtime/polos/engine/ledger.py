"""Every conditional write of the protocol, each with the race that its condition closes. Decides nothing else.

Laws: L1 (first writer wins, the loser adopts), L12 (one terminal write), L13 (epoch fences). docs/design.md draws the
interleavings; the names of the races below are those of its section "Ownership".
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from polos.core import items
from polos.core.conditions import (
    Absent,
    AllOf,
    AnyOf,
    AtMost,
    Change,
    Condition,
    Contains,
    Equals,
    Has,
    Item,
    Less,
    Not,
    Value,
)
from polos.core.items import Key
from polos.ports import ConditionFailed, Table

OPEN: Condition = Not(Has(items.ENDED))
UNDECIDED: Condition = Not(Equals(items.STATE, items.DECIDED))


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease: the epoch that the claim gave, and the invocation's own token."""

    execution_id: str
    epoch: int
    token: str

    @property
    def key(self) -> Key:
        return items.execution(self.execution_id)

    @property
    def fence(self) -> Condition:
        return AllOf(Equals(items.EPOCH, self.epoch), Has(items.LEASE_TOKEN))


def _open_in(generation: int | None) -> Condition:
    """Started and open, and not retried since this generation (race "cancel that comes after a retry")."""
    if generation is None:
        return AllOf(Has(items.WORKFLOW), OPEN)
    same = AnyOf(Not(Has(items.GENERATION)), AtMost(items.GENERATION, generation))
    return AllOf(Has(items.WORKFLOW), OPEN, same)


class Ledger:
    """The protocol's writes on one table. Every method is one request, and raises `ConditionFailed` unless it says."""

    def __init__(self, table: Table) -> None:
        self.table = table

    # ---- ownership

    def claim(
        self, execution_id: str, *, token: str, tag: str, now: int, until: int, start: Mapping[str, Value] | None
    ) -> Item:
        """Take the lease: nobody holds a live one, and this message has not done its work before.

        A start creates what is missing, or fills the tombstone that an overtaking cancel left, which expires no more.
        """
        known: Condition = AnyOf(Absent(), OPEN) if start is not None else AllOf(Has(items.WORKFLOW), OPEN)
        free = AnyOf(Not(Has(items.LEASE_TOKEN)), Less(items.LEASE_UNTIL, now))
        change = Change(
            set={
                items.LEASE_TOKEN: token,
                items.LEASE_MESSAGE: tag,
                items.LEASE_UNTIL: until,
                items.STATUS: "running",
            },
            default={**(start or {}), items.WAKE: 0, items.STARTED: now},
            add={items.EPOCH: 1},
            remove=(items.TTL,) if start is not None else (),
        )
        condition = AllOf(known, free, Not(Contains(items.SPENT, tag)))
        return self.table.update(items.execution(execution_id), change, condition)

    def mark(self, execution_id: str, *, epoch: int, tag: str | None) -> None:
        """Tell the owner that something came, and that this message's work is done by that; None: it is not.

        Only while the lease that was seen is still there: a mark on a sleeping execution would wake nobody
        (race "mark lost between turns").
        """
        change = Change(add={items.WAKE: 1}, append={} if tag is None else {items.SPENT: [tag]})
        self.table.update(
            items.execution(execution_id), change, AllOf(Equals(items.EPOCH, epoch), Has(items.LEASE_TOKEN))
        )

    def cancel_owned(self, execution_id: str, *, tag: str, mode: str, now: int, generation: int | None = None) -> None:
        """Note a cancel with the owner of a live lease; the message's work is done by that.

        One write for the cancel, the wake and the spent tag: of two, the second could be lost under a suspension that
        wrote the list of spent tags as it was before (race "guard deleted").
        """
        change = Change(default={items.CANCEL: mode}, add={items.WAKE: 1}, append={items.SPENT: [tag]})
        live = AllOf(Has(items.LEASE_TOKEN), Not(Less(items.LEASE_UNTIL, now)))
        other = Not(AnyOf(Equals(items.LEASE_MESSAGE, tag), Contains(items.SPENT, tag)))
        self.table.update(items.execution(execution_id), change, AllOf(_open_in(generation), live, other))

    def request_cancel(self, execution_id: str, *, mode: str, generation: int | None = None) -> Item:
        """Note a cancel on an open execution.

        A cancel or time limit that was noted before stands (race "cancel and time limit").
        """
        change = Change(default={items.CANCEL: mode}, add={items.WAKE: 1})
        return self.table.update(items.execution(execution_id), change, _open_in(generation))

    def leave_tombstone(self, execution_id: str, *, mode: str, expires: int) -> Item:
        """Note a cancel for a start that it overtook (race "cancel overtakes start").

        None may come any more: then it `expires` (seconds since 1970).
        """
        change = Change(set={items.TTL: expires}, default={items.CANCEL: mode}, add={items.WAKE: 1})
        return self.table.update(items.execution(execution_id), change, AllOf(Not(Has(items.WORKFLOW)), OPEN))

    def hand_back(self, holder: Holder, progress: int, unread: list[int], passed: int, *, ran: bool) -> None:
        """Give the lease back after an error of the backend: no death, no progress, and the message comes again.

        `passed` is by how much `progress` is raised for no other reason, `ran` whether a body has been begun.
        """
        begun: dict[str, Value] = {items.RAN: 1} if ran else {}
        change = Change(
            set={items.PROGRESS: progress, items.UNREAD: unread, **begun},
            add={items.HANDED_BACK: passed},
            remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL),
        )
        self.table.update(holder.key, change, AllOf(holder.fence, OPEN))

    def renew(self, holder: Holder, until: int) -> Item:
        """Never to an earlier end: a renewal that comes late would shorten the one after it (race "late renewal")."""
        later = AllOf(holder.fence, AtMost(items.LEASE_UNTIL, until))
        return self.table.update(holder.key, Change(set={items.LEASE_UNTIL: until}), later)

    def suspend(self, holder: Holder, wake: int, spent: list[str], attributes: Mapping[str, Value]) -> Item:
        """Give the lease back, unless something came since the wake count was read (race "lost wake-up")."""
        change = Change(
            set={items.PROGRESS: holder.epoch, items.SPENT: spent, items.RAN: 1, **attributes},
            remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL, items.UNREAD),
        )
        return self.table.update(holder.key, change, AllOf(holder.fence, Equals(items.WAKE, wake)))

    def cancel_at(self, holder: Holder, tick: int, mode: str, now: int, asked: int) -> Item:
        """Record where in the body's history a cancel strikes; the first position stands.

        When that was, and how much the body had asked for, is for those who look at it.
        """
        change = Change(default={items.CANCEL_AT: tick, items.CANCEL: mode, items.STRUCK: [now, asked]})
        return self.table.update(holder.key, change, holder.fence)

    def finish(self, holder: Holder, tag: str, attributes: Mapping[str, Value], *, unpaused: bool = False) -> Item:
        """The one terminal write (L12), which spends the message it came by, too.

        What it waited for goes, unless `attributes` say what of it has still to be removed.
        Race "claim that comes after a retry". `unpaused`: not while it is paused, unless it is cancelled (race "pause
        of a link that ends").
        """
        waits = () if items.WAITING_MORE in attributes else (items.WAITING_FOR, items.WAITING_MORE)
        change = Change(
            set={**attributes, items.FINISHER: holder.token},
            append={items.SPENT: [tag]},
            remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL, *waits),
        )
        going = AnyOf(Not(Has(items.PAUSED)), Has(items.CANCEL)) if unpaused else None
        condition = AllOf(holder.fence, OPEN) if going is None else AllOf(holder.fence, OPEN, going)
        return self.table.update(holder.key, change, condition)

    def terminate(self, execution_id: str, attributes: Mapping[str, Value], generation: int | None = None) -> Item:
        """End an open execution from outside its lease; a live owner loses at its next fenced write.

        What it waited for stays on the item, for whoever removes its waiters.
        """
        change = Change(
            set=attributes,
            default={items.WAITING_MORE: 0},
            remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL),
        )
        return self.table.update(items.execution(execution_id), change, _open_in(generation))

    # ---- dead letters, which are no owner's

    def note_redriven(self, execution_id: str, rounds: int) -> None:
        """Say on an open execution how often a message of it was sent anew. Never raises `ConditionFailed`."""
        with contextlib.suppress(ConditionFailed):
            change = Change(set={items.REDRIVEN: rounds})
            self.table.update(items.execution(execution_id), change, AllOf(Has(items.WORKFLOW), OPEN))

    def give_up(self, execution_id: str, progress: int, now: int, attributes: Mapping[str, Value]) -> Item:
        """End an execution whose messages are not handled: it has not moved, and nobody holds a live lease.

        Race "dead letter of an execution that moved": the progress that was compared with that at the time when the
        message was last sent anew is in the condition, so what is getting on now is left alone. What it waited for
        stays on the item, for whoever removes its waiters.
        """
        still = Equals(items.PROGRESS, progress)
        unmoved = still if progress else AnyOf(Not(Has(items.PROGRESS)), still)
        free = AnyOf(Not(Has(items.LEASE_TOKEN)), Less(items.LEASE_UNTIL, now))
        change = Change(
            set=attributes,
            default={items.WAITING_MORE: 0},
            remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL),
        )
        condition = AllOf(Has(items.WORKFLOW), OPEN, unmoved, free)
        return self.table.update(items.execution(execution_id), change, condition)

    def give_up_start(self, execution_id: str, attributes: Mapping[str, Value]) -> Item:
        """Record the execution of a start that was never carried out as ended; one that began stands."""
        unstarted = AnyOf(Absent(), AllOf(Not(Has(items.WORKFLOW)), OPEN))
        return self.table.update(items.execution(execution_id), Change(set=attributes), unstarted)

    # ---- records: unfenced, first writer wins

    def decide(self, key: Key, attributes: Mapping[str, Value]) -> Item:
        """Record an outcome. Never raises `ConditionFailed`: the loser gets what is stored, and adopts it (L1)."""
        item = items.keyed(key, {items.STATE: items.DECIDED, **attributes})
        return self._put_or_adopt(item, UNDECIDED)

    def decide_child(self, key: Key, generation: int, attributes: Mapping[str, Value]) -> Item:
        """Record how a child ended; the outcome of an older retry generation gives way. Never raises."""
        item = items.keyed(key, {items.STATE: items.DECIDED, **attributes})
        return self._put_or_adopt(item, AnyOf(UNDECIDED, Less(items.GENERATION, generation)))

    def note(self, key: Key, attributes: Mapping[str, Value]) -> Item:
        """Write an item that nobody has written yet, or adopt what is there. Never raises `ConditionFailed`."""
        return self._put_or_adopt(items.keyed(key, attributes), Absent())

    def note_attempt(self, key: Key, attempt: int, attributes: Mapping[str, Value]) -> Item:
        """Write a mark or record of attempt number `attempt`, unless a later or equal one, or an outcome, is there."""
        fresh = AnyOf(Absent(), AllOf(UNDECIDED, Less(items.ATTEMPTS, attempt)))
        item = items.keyed(key, {items.ATTEMPTS: attempt, **attributes})
        return self._put_or_adopt(item, fresh)

    def _put_or_adopt(self, item: Item, condition: Condition) -> Item:
        try:
            self.table.put(item, condition)
        except ConditionFailed as lost:
            return lost.item if lost.item is not None else item
        return item

    def forget(self, pk: str, sk: str, epoch: int | None = None) -> None:
        """Delete an item (of this epoch or older, or of none). Never raises `ConditionFailed`."""
        condition = None if epoch is None else AnyOf(Not(Has(items.EPOCH)), AtMost(items.EPOCH, epoch))
        try:
            self.table.delete(Key(pk, sk), condition)
        except ConditionFailed:
            return
