"""The laws that are checked at every request, from what the table holds and what the bodies see.

Owns what a run remembers for that: who claimed what, which values were seen, which orders bind. Each broken law is
flagged with its name. What can only be told at the end is in `ending`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polos import current
from polos.core import items
from polos.core.conditions import Change, Item
from polos.core.items import Key
from polos.ports import Event, Outgoing
from tests.chaos.sim.holds import Holds
from tests.chaos.sim.interpreter import QUEUES, Run
from tests.chaos.sim.programs import Op, Plan, Program
from tests.chaos.sim.strands import here

if TYPE_CHECKING:
    from tests.chaos.sim.ports import SimPayloads, SimTable
    from tests.chaos.sim.strands import Invocation
    from tests.chaos.sim.world import World

_POINTERS = (items.POINTER, f"{items.RESULT}p", f"{items.INPUT}p", f"{items.FINAL_STATE}p")
_OWNERS_WRITES = frozenset({"put record", "put armed", "put retrying", "put mark", "put order", "put beside"})
_FOLLOWS = frozenset({"put armed", "put mark", "put waiter"})
_OWNERS_UPDATES = frozenset({"suspend", "finish", "strike", "renew"})
_DECIDED_FIELDS = (items.VALUE, items.POINTER, items.FAILURE, items.EVENT_ID, items.STATE)


class Observer:
    """Sees every request of a run."""

    def __init__(self, world: World, plan: Plan, table: SimTable, payloads: SimPayloads) -> None:
        self._world, self._table, self._payloads = world, table, payloads
        self.holds = Holds(world, table)
        self._programs, self.ops = _programs_of(plan)
        self._places: dict[str, tuple[str, int]] = {}  # execution -> program, round
        self._calls: Counter[tuple[str, str]] = Counter()
        self._once: Counter[tuple[str, str, int, int]] = Counter()
        self._values: dict[tuple[str, str], str] = {}
        self.committed: dict[tuple[str, int, int], list[tuple[str, str]]] = {}
        self._decided_at: dict[tuple[str, str], int] = {}
        self._event_at: dict[tuple[str, str], int] = {}
        self._tokens: dict[str, Invocation] = {}
        self._owners: dict[tuple[str, int], Invocation] = {}
        self.losses: Counter[str] = Counter()
        self._in_slots: dict[str, dict[str, int]] = {}  # queue -> execution -> epoch with which it took its slot
        self.by_trigger: dict[str, set[str]] = {}
        self.published: dict[str, Event] = {}
        self._arrived: set[str] = set()

    # ---- programs

    def program(self, program_id: str) -> Program:
        return self._programs.get(program_id, ())

    def round_of(self, execution_id: str) -> int:
        return self._places[execution_id][1]

    def program_id_of(self, execution_id: str) -> str:
        return self._places[execution_id][0]

    def place_of(self, execution_id: str) -> tuple[str, int, int]:
        """In which history of an execution the order binds. A cleanup that only a failed run of the body comes to is
        none of that of the next run."""
        x = self._x(execution_id)
        apart = any(_fails_into_cleanup(op) for op in self.program(self._places[execution_id][0]))
        return execution_id, items.number(x, items.GENERATION), items.number(x, items.RETRIES) if apart else 0

    def arrived(self, event_id: str) -> bool:
        """Whether an event was stored, so that it must have had its consequences."""
        return event_id in self._arrived

    # ---- bodies and steps

    def body_begins(self, run: Run, program_id: str, number: int, *, again: bool) -> None:
        """A body is about to run, `again` in the same invocation."""
        self._places[run.execution_id] = program_id, number
        if not again:
            self.holds.begins(here(), self._x(run.execution_id), f"the body of {run.execution_id}")

    def count_call(self, op: Op) -> int:
        step = current.step.get()
        assert step is not None
        self._calls[step.execution_id, op.key] += 1
        return self._calls[step.execution_id, op.key]

    def begins(self, invocation: Invocation, op: Op) -> None:
        """A step's callable is about to be called."""
        step = current.step.get()
        assert step is not None
        execution_id, key, attempt = step.execution_id, step.key, step.attempt
        x = self._table.peek(execution_id, items.EXECUTION) or {}
        where = f"step {key} of {execution_id}, attempt {attempt}"
        self._owns(invocation, execution_id, x, f"calls {where}")
        self.holds.begins(invocation, x, where)
        left = invocation.remaining()
        if left is not None and left < 10 - 1e-6 and not op.once:  # its mark may be slow, and must not be in vain
            self._flag(f"L15: {where} begins {left:.1f} s before the invocation's limit")
        record = self._table.peek(execution_id, f"r#{key}")
        if record is not None and record.get(items.STATE) == items.DECIDED and record.get(items.EPOCH) == 0:
            self._flag(f"L1: {where} is called although the fork has its outcome")
        if record is not None and self._knows(invocation, execution_id, record):
            if record.get(items.STATE) == items.DECIDED:
                self._flag(f"L1: {where} is called although its outcome was read")
            elif items.number(record, items.ATTEMPTS) >= attempt:
                self._flag(f"L1: {where} is called although attempt {record[items.ATTEMPTS]} is on record")
            elif items.number(record, items.DUE) > self._world.now_ms + 1000 * invocation.skew + 1:
                self._flag(f"{where} is called before its backoff has passed")
        if attempt > op.retries + 1:
            self._flag(f"{where} is one attempt too many")
        if op.once:
            place = execution_id, key, items.number(x, items.GENERATION), attempt
            self._once[place] += 1
            if self._once[place] > 1:
                self._flag(f"L11: at_most_once {where} is called twice")
        if attempt == 1:
            self._commit(invocation, where)

    def saw(self, run: Run, op: Op, entry: tuple[str, str]) -> None:
        """A body was handed an outcome."""
        place = run.execution_id, op.key
        before = self._values.setdefault(place, entry[1])
        if before != entry[1] and "cancelled" not in (before, entry[1]):
            self._flag(f"L2: step {op.key} of {run.execution_id} was {before} and is {entry[1]}")
        if op.kind == "event" and entry[1].startswith("('event'"):
            if any(value == entry[1] and key != op.key for key, value in run.trail[:-1]):
                self._flag(f"L10: {run.execution_id} takes the event {entry[1]} twice")
        elif op.kind == "wait" and op.seconds > 0 and entry[1] == "None":
            record = self._table.peek(run.execution_id, f"r#{op.key}") or {}
            tolerance = 1000 * self._world.faults.skew + 1
            if items.number(record, items.DUE) > self._world.now_ms + tolerance:
                self._flag(f"the timer {op.key} of {run.execution_id} ends before it is due")

    def triggered(self, execution_id: str, event_ids: Sequence[str]) -> None:
        for event_id in event_ids:
            others = self.by_trigger.setdefault(event_id, set())
            others.add(execution_id)
            if len(others) > 1:
                self._flag(f"L10: the event {event_id} started {', '.join(sorted(others))}")

    # ---- requests as they are sent

    def sends_write(self, invocation: Invocation, name: str, key: Key, item: Item) -> None:
        if name in _OWNERS_WRITES and items.number(item, items.EPOCH) > 0:
            x = self._table.peek(key.pk, items.EXECUTION) or {}
            self._owns(invocation, key.pk, x, f"sends {name} {key.sk}")
        if name in _FOLLOWS:
            self._commit(invocation, f"{name} {key.sk}")

    def sends_update(self, invocation: Invocation, name: str, key: Key, change: Change) -> None:
        if name == "claim":
            self._tokens[str(change.set[items.LEASE_TOKEN])] = invocation
        elif name in _OWNERS_UPDATES:
            x = self._table.peek(key.pk, items.EXECUTION) or {}
            self._owns(invocation, key.pk, x, f"sends {name}")
            if name == "finish":
                self._commit(invocation, name)

    def sends_messages(self, invocation: Invocation, messages: Sequence[Outgoing]) -> None:
        if messages[0].body["t"] == "start" and invocation.claims:
            self._commit(invocation, f"start of {messages[0].body['x']}")

    def publishes(self, invocation: Invocation, event: Event) -> None:
        self.published.setdefault(event.id, event)
        if invocation.claims:
            self._commit(invocation, f"publish {event.id}")

    def _owns(self, invocation: Invocation, execution_id: str, x: Item, what: str) -> None:
        """L13: at most one invocation acts, within its lease by its own clock."""
        epoch = invocation.claims.get(execution_id)
        if epoch is not None and items.number(x, items.EPOCH) != epoch:
            self._flag(
                f"L13: {invocation.name} {what} of {execution_id} with epoch {epoch}, which is at {x.get(items.EPOCH)}"
            )

    def _knows(self, invocation: Invocation, execution_id: str, record: Item) -> bool:
        """Whether the invocation has read the record, or wrote it itself."""
        if items.number(record, items.EPOCH) == invocation.claims.get(execution_id):
            return True
        return self._decided_at.get((execution_id, str(record[items.SK])), 0) <= invocation.reads.get(execution_id, -1)

    def _commit(self, invocation: Invocation, what: str) -> None:
        """L8: an effect binds the order of all that the body was handed before it."""
        run = invocation.run
        if run is None or run.replay.closing or not run.trail or run.execution_id not in invocation.claims:
            return
        place = self.place_of(run.execution_id)
        bound, trail = self.committed.get(place, []), run.trail
        for (before, first), (now, second) in zip(bound, trail, strict=False):
            if before != now or first != second:
                self._flag(
                    f"L8: {run.execution_id} was handed {before}={first} before an effect, and now {now}={second} "
                    f"before {what}"
                )
                return
        if len(trail) > len(bound):
            self.committed[place] = list(trail)

    # ---- what the table holds

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
            self._values.pop((key.pk, key.sk[2:].split("#", 1)[0]), None)

    def _x(self, execution_id: str) -> Item:
        return self._table.peek(execution_id, items.EXECUTION) or {}

    def _record(self, key: Key, before: Item | None, after: Item | None) -> None:
        if after is None:
            if items.ENDED not in self._x(key.pk):
                self._flag(f"L1: the record {key.sk} of {key.pk} is gone")
            return
        self._decided_at[key] = self._table.writes
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
        op = self.ops.get(key.sk[2:])
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
            if old in self._tokens:
                self._tokens[str(old)].claims.pop(key.pk, None)
        if new is not None and new != old and new in self._tokens:
            owner = self._tokens[str(new)]
            owner.claims[key.pk] = epoch
            self._owners[key.pk, epoch] = owner
        for name in (items.CANCEL, items.CANCEL_AT):
            if name in before and name in after and before[name] != after[name] and items.ENDED not in after:
                self._flag(f"{name} of {key.pk} goes from {before[name]} to {after[name]}")

    def _end_is_final(self, execution_id: str, before: Item, after: Item) -> None:
        """L12."""
        if items.ENDED in before:
            retried = items.number(after, items.GENERATION) == items.number(before, items.GENERATION) + 1
            if before[items.STATUS] != "failed" or not retried or items.ENDED in after:
                changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
                self._flag(f"L12: {execution_id} has ended ({before[items.STATUS]}), and {sorted(changed)} are written")
        elif self.losses[execution_id] < 5 and items.document(after, items.FAILURE).get("type") == "CrashLoopError":
            self._flag(f"L14: {execution_id} fails as a crash loop after {self.losses[execution_id]} deaths")

    # ---- invocations

    def died(self, invocation: Invocation) -> None:
        self.ended(invocation)

    def ended(self, invocation: Invocation) -> None:
        """It owns nothing any more, whatever the table says."""
        invocation.claims.clear()

    def _flag(self, what: str) -> None:
        self._world.flag(what)


def _said(item: Item) -> dict[str, object]:
    return {name: item[name] for name in _DECIDED_FIELDS if name in item}


def _fails_into_cleanup(op: Op) -> bool:
    """Whether a body may fail inside a try that has a cleanup, and not fail there in its next run."""
    inner = [one for part in op.parts for one in part]
    here = op.kind == "try" and len(op.parts) > 1 and any(_holds_boom(one) for one in op.parts[0])
    return op.kind not in ("child", "batch", "spawn") and (here or any(map(_fails_into_cleanup, inner)))


def _holds_boom(op: Op) -> bool:
    inner = [one for part in op.parts for one in part]
    return op.kind == "boom" or (op.kind not in ("child", "batch", "spawn") and any(map(_holds_boom, inner)))


def _programs_of(plan: Plan) -> tuple[dict[str, Program], dict[str, Op]]:
    programs: dict[str, Program] = dict.fromkeys(("triggered", "batched", "ticked"), ())
    ops: dict[str, Op] = {}

    def add(program: Program) -> None:
        for op in program:
            if op.key:
                ops[op.key] = op
            for number, part in enumerate(op.parts):
                programs[f"{op.key}.{number}"] = part
                add(part)

    for name, program in [*((root.id, root.program) for root in plan.roots), *plan.programs]:
        programs[name] = program
        add(program)
    return programs, ops
