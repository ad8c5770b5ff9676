"""The laws of what the table holds, checked at every write that takes effect.

Owns what a run remembers for that: who claimed what, when what was written, who holds a slot.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from polos.core import items
from polos.core.conditions import Item
from polos.core.items import Key
from tests.chaos.sim.holds import Holds
from tests.chaos.sim.interpreter import QUEUES

if TYPE_CHECKING:
    from tests.chaos.sim.library import Library
    from tests.chaos.sim.messages import Sent
    from tests.chaos.sim.ports import SimPayloads
    from tests.chaos.sim.strands import Invocation
    from tests.chaos.sim.table import SimTable
    from tests.chaos.sim.world import World

_POINTERS = (items.POINTER, f"{items.RESULT}p", f"{items.INPUT}p", f"{items.FINAL_STATE}p")
_DECIDED_FIELDS = (items.VALUE, items.POINTER, items.FAILURE, items.EVENT_ID, items.STATE)
_OF_A_CHAIN = frozenset({items.NEXT, items.LINK, items.LINK_GENERATION, items.TTL})


class Written:
    """Sees every write of a run.

    `tokens` are the invocations by the tokens of their claims; `decided_at` says how many writes the table had seen
    when a record was written; `values` is what bodies were handed of it, until a retry drops it.
    """

    def __init__(self, world: World, table: SimTable, payloads: SimPayloads, library: Library) -> None:
        self._world, self._table, self._payloads, self._library = world, table, payloads, library
        self.holds = Holds(world, table)
        self.tokens: dict[str, Invocation] = {}
        self.decided_at: dict[tuple[str, str], int] = {}
        self.values: dict[tuple[str, str], str] = {}
        self.losses: Counter[str] = Counter()
        self._event_at: dict[tuple[str, str], int] = {}
        self._owners: dict[tuple[str, int], Invocation] = {}
        self._in_slots: dict[str, dict[str, int]] = {}  # queue -> execution -> epoch with which it took its slot
        self._arrived: set[str] = set()
        self.letters: dict[str, Sent] = {}  # execution -> the dead letter that is to end it
        self._moved_at: dict[str, float] = {}  # when an execution got on, as dead letters see it

    def arrived(self, event_id: str) -> bool:
        """Whether an event was stored, so that it must have had its consequences."""
        return event_id in self._arrived

    def wrote(self, key: Key, before: Item | None, after: Item | None) -> None:
        """A write took effect."""
        if after is not None:
            for name in _POINTERS:
                if name in after and not self._payloads.has(str(after[name])):
                    self._flag(f"the payload of {key.pk} {key.sk} is not stored when its record is")
        match key.pk[:2]:
            case "t#":
                if after is not None and key.sk.startswith("e#") and before is None:
                    self._event_at[key.pk, key.sk] = self._table.writes
                    self._arrived.add(items.text(after, items.EVENT_ID))
            case "q#":
                if key.sk == "slots" and after is not None:
                    self._slots(key, before, after)
            case "d#":
                taken = None if before is None else before.get(items.BATCH)
                if taken is not None and after is not None and after.get(items.BATCH) != taken:
                    self._flag(f"L10: the event {key.pk} is taken by two batches")
            case "h#":
                if key == items.CONTROLS:
                    self.holds.wrote(before, after)
            case "c#" | "g#":
                pass
            case _:
                self._in_execution(key, before, after)

    def _slots(self, key: Key, before: Item | None, after: Item) -> None:
        """SPEC 7: no more executions of a queue run than it has slots."""
        held = {name[2:]: int(str(epoch)) for name, epoch in after.items() if name.startswith("h:")}
        count, limit = items.number(after, items.LIMIT_COUNT), QUEUES[key.pk.split("#")[1]].concurrency_limit or 0
        if len(held) != count or count > limit:
            self._flag(f"queue {key.pk}: {count} slots counted, {len(held)} held, {limit} allowed")
        running = self._in_slots.setdefault(key.pk, {})
        running.update({name: epoch for name, epoch in held.items() if (before or {}).get(f"h:{name}") != epoch})
        for name, epoch in list(running.items()):
            x = self._x(name)
            if items.LEASE_TOKEN not in x or items.number(x, items.EPOCH) != epoch:
                del running[name]
        if len(running) > limit:
            self._flag(f"queue {key.pk}: {', '.join(sorted(running))} run, and the limit is {limit}")

    def _in_execution(self, key: Key, before: Item | None, after: Item | None) -> None:
        match key.sk[:2]:
            case "x":
                self._execution(key, before, after)
            case "r#":
                self._record(key, before, after)
            case "b#":
                self._outcome_of_child(key, before, after)
            case "u#":
                if before is not None and after is not None:
                    self._flag(f"the resume {key.sk} of {key.pk} is written twice")
            case "o#":
                if before is not None and after not in (None, before) and items.ENDED not in self._x(key.pk):
                    self._flag(f"L8: the order {key.sk} of {key.pk} is written twice")
            case _:
                pass
        if after is None and key.sk[:2] in ("r#", "b#", "s#"):
            self.values.pop((key.pk, key.sk[2:].split("#", 1)[0]), None)

    def _x(self, execution_id: str) -> Item:
        return self._table.peek(execution_id, items.EXECUTION) or {}

    def _record(self, key: Key, before: Item | None, after: Item | None) -> None:
        if after is None:
            if items.ENDED not in self._x(key.pk):
                self._flag(f"L1: the record {key.sk} of {key.pk} is gone")
            return
        self.decided_at[key] = self._table.writes
        if before is not None:
            if before.get(items.STATE) == items.DECIDED:
                if items.number(before, items.GENERATION) >= items.number(after, items.GENERATION):
                    self._flag(f"L1: the outcome {key.sk} of {key.pk} is written over: {_said(before)}, {_said(after)}")
            elif before.get(items.STATE) == items.ARMED and after.get(items.STATE) == items.ARMED:
                self._flag(f"the due time {key.sk} of {key.pk} is written over")
        if items.EVENT_ID in after and after.get(items.KIND) == "event":
            self._takes_the_oldest(key, after)

    def _outcome_of_child(self, key: Key, before: Item | None, after: Item | None) -> None:
        if before is None or after is None:
            return
        if items.number(before, items.GENERATION) >= items.number(after, items.GENERATION):
            self._flag(f"L1: the child's outcome {key.sk} of {key.pk} is written over")

    def _takes_the_oldest(self, key: Key, record: Item) -> None:
        """L9: no older event that the owner must have seen is left out."""
        op = self._library.ops.get(key.sk[2:])
        owner = self._owners.get((key.pk, items.number(record, items.EPOCH)))
        options = items.document(self._x(key.pk), items.START)
        since = options.get("sq")
        if op is None or owner is None or not isinstance(since, int) or "ev" in options:
            return
        topic = items.topic(items.text(record, items.TOPIC))
        looked = owner.reads.get(topic, -1)
        partition = self._table.partitions[key.pk]
        taken = {one[items.EVENT_ID] for sk, one in partition.items() if sk[:2] == "r#" and items.EVENT_ID in one}
        for event in self._table.first_after(topic, items.event_sk(max(0, since - (1000 << 20)), "")):
            sk = items.text(event, items.SK)
            if not sk.startswith("e#") or event[items.EVENT_ID] == record[items.EVENT_ID]:
                return
            fits = op.event_type is None or event.get(items.EVENT_TYPE) == op.event_type
            if fits and event[items.EVENT_ID] not in taken and self._event_at[topic, sk] <= looked:
                self._flag(
                    f"L9: the wait {key.sk} of {key.pk} takes {record[items.EVENT_ID]} and not the older "
                    f"{event[items.EVENT_ID]}"
                )
                return

    def _execution(self, key: Key, before: Item | None, after: Item | None) -> None:
        if after is None:
            self._flag(f"the execution {key.pk} is gone")
            return
        if before is None:
            before = {}
        self._end_is_final(key.pk, before, after)
        self._given_up(key.pk, before, after)
        old, new = before.get(items.LEASE_TOKEN), after.get(items.LEASE_TOKEN)
        epoch = items.number(after, items.EPOCH)
        if before and epoch != items.number(before, items.EPOCH) + (new is not None and new != old):
            self._flag(f"L13: the epoch of {key.pk} goes from {before.get(items.EPOCH)} to {epoch}")
        until = items.number(before, items.LEASE_UNTIL)
        if old is not None and new is not None and old != new:
            self.losses[key.pk] += 1  # its owner has not given it back
            if until > self._world.now_ms + 1000 * self._world.faults.skew + 1:
                self._flag(f"L13: the lease of {key.pk} is taken {until - self._world.now_ms} ms before it ends")
        elif old is not None and old == new and items.number(after, items.LEASE_UNTIL) < until:
            self._flag(f"L13: the lease of {key.pk} is shortened")
        if items.FINISHER in after and after[items.FINISHER] not in (before.get(items.FINISHER), old):
            self._flag(f"L13: {key.pk} is finished by somebody who does not hold its lease")
        if old is not None and new is None:
            if after.get(items.STATUS) == "running" and items.number(after, items.PROGRESS) < epoch:
                self.losses[key.pk] += 1  # a hand-over that had to cut a step off
            if old in self.tokens:
                self.tokens[str(old)].claims.pop(key.pk, None)
        if new is not None and new != old and new in self.tokens:
            owner = self.tokens[str(new)]
            owner.claims[key.pk] = epoch
            self._owners[key.pk, epoch] = owner
        for name in (items.CANCEL, items.CANCEL_AT):
            if name in before and name in after and before[name] != after[name] and items.ENDED not in after:
                self._flag(f"{name} of {key.pk} goes from {before[name]} to {after[name]}")

    def _given_up(self, execution_id: str, before: Item, after: Item) -> None:
        """A dead letter ends nothing that is owned, or has moved since the message was last sent anew."""
        if _progress(before) != _progress(after):
            self._moved_at[execution_id] = self._world.t
        failed = items.document(after, items.FAILURE).get("type") if items.ENDED not in before else ""
        if failed == "HistoryExpiredError":
            self._flag(f"SPEC 8.9: what the open execution {execution_id} has stored was not renewed in time")
        if failed != "UndeliverableError":
            return
        letter, until = self.letters.get(execution_id), items.number(before, items.LEASE_UNTIL)
        if items.LEASE_TOKEN in before and until > self._world.now_ms + 1000 * self._world.faults.skew + 1:
            self._flag(f"L13: a dead letter ends {execution_id}, whose owner's lease has not run out")
        if letter is not None and self._moved_at.get(execution_id, -1.0) > letter.at:
            self._flag(f"a dead letter ends {execution_id}, which has got on since it was sent anew")

    def _end_is_final(self, execution_id: str, before: Item, after: Item) -> None:
        """L12."""
        if items.ENDED in before:
            retried = items.number(after, items.GENERATION) == items.number(before, items.GENERATION) + 1
            if before[items.STATUS] != "failed" or not retried or items.ENDED in after:
                changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
                if items.NEXT in before and changed <= _OF_A_CHAIN:  # how it ended stands
                    if items.number(after, items.LINK) < items.number(before, items.LINK):
                        self._flag(f"L12: {execution_id} leads back to {after[items.NEXT]}")
                    return
                if changed == {items.WAITING_MORE} and items.WAITING_MORE in before:
                    return  # its waiters are gone
                self._flag(f"L12: {execution_id} has ended ({before[items.STATUS]}), and {sorted(changed)} are written")
        elif self.losses[execution_id] < 5 and items.document(after, items.FAILURE).get("type") == "CrashLoopError":
            self._flag(f"L14: {execution_id} fails as a crash loop after {self.losses[execution_id]} deaths")

    def _flag(self, what: str) -> None:
        self._world.flag(what)


def _progress(item: Item) -> int:
    return items.number(item, items.PROGRESS) - items.number(item, items.HANDED_BACK)


def _said(item: Item) -> dict[str, object]:
    return {name: item[name] for name in _DECIDED_FIELDS if name in item}
