"""The laws that are checked at every request as it is sent, and at everything that a body sees.

Owns what a run remembers for that: which program an execution runs, which steps were called, which orders bind. Each
broken law is flagged with its name. The laws of what is written are in `written`, those of the end in `ending`.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from polos import current
from polos.core import items
from polos.core.conditions import Change, Item
from polos.core.items import Key
from polos.ports import Event, Outgoing
from tests.chaos.sim.interpreter import CANCELLED, Run
from tests.chaos.sim.library import Library
from tests.chaos.sim.programs import Op, Plan
from tests.chaos.sim.strands import here
from tests.chaos.sim.written import Written

if TYPE_CHECKING:
    from tests.chaos.sim.ports import SimPayloads
    from tests.chaos.sim.strands import Invocation
    from tests.chaos.sim.table import SimTable
    from tests.chaos.sim.world import World

_OWNERS_WRITES = frozenset({"put record", "put armed", "put retrying", "put mark", "put order", "put beside"})
_FOLLOWS = frozenset({"put armed", "put mark", "put waiter"})
_OWNERS_UPDATES = frozenset({"suspend", "finish", "strike", "renew"})


class Observer:
    """Sees every request of a run."""

    def __init__(self, world: World, plan: Plan, table: SimTable, payloads: SimPayloads) -> None:
        self._world, self._table, self.library = world, table, Library(plan)
        self.written = Written(world, table, payloads, self.library)
        self._places: dict[str, tuple[str, int]] = {}  # execution -> program, round
        self._calls: Counter[tuple[str, str]] = Counter()
        self._once: Counter[tuple[str, str, int, int]] = Counter()
        self.committed: dict[tuple[str, int, int], list[tuple[str, str]]] = {}
        self.by_trigger: dict[str, set[str]] = {}
        self.published: dict[str, Event] = {}
        self.native: set[str] = set()  # workflow and event
        self.cancelled: set[tuple[str, int]] = set()  # execution, generation
        self._resumes = 0
        self._answered: dict[tuple[str, str, str], str] = {}  # chain, step and resume -> execution

    # ---- programs

    def round_of(self, execution_id: str) -> int:
        return self._places[execution_id][1]

    def program_id_of(self, execution_id: str) -> str:
        return self._places[execution_id][0]

    def place_of(self, execution_id: str) -> tuple[str, int, int]:
        """In which history of an execution the order binds. A cleanup that only a failed run of the body comes to is
        none of that of the next run."""
        x = self._x(execution_id)
        apart = self.library.goes_another_way(self._places[execution_id][0])
        return execution_id, items.number(x, items.GENERATION), items.number(x, items.RETRIES) if apart else 0

    # ---- bodies and steps

    def body_begins(self, run: Run, program_id: str, number: int, *, again: bool) -> None:
        """A body is about to run, `again` in the same invocation."""
        self._places[run.execution_id] = program_id, number
        if not again:
            self.written.holds.begins(here(), self._x(run.execution_id), f"the body of {run.execution_id}")

    def count_call(self, op: Op) -> int:
        step = current.step.get()
        assert step is not None
        self._calls[step.execution_id, op.key] += 1
        return self._calls[step.execution_id, op.key]

    @contextlib.contextmanager
    def cancelling(self, execution_id: str) -> Generator[None]:
        """A client asks for a cancel, or a terminate, of the generation that it finds."""
        first = items.number(self._x(execution_id), items.GENERATION)
        try:
            yield
        finally:
            last = items.number(self._x(execution_id), items.GENERATION)
            self.cancelled.update((execution_id, generation) for generation in range(first, last + 1))

    def next_resume(self) -> int:
        """A number that tells each resume from the others."""
        self._resumes += 1
        return self._resumes

    def begins(self, invocation: Invocation, op: Op) -> None:
        """A step's callable is about to be called."""
        step = current.step.get()
        assert step is not None
        execution_id, key, attempt = step.execution_id, step.key, step.attempt
        x = self._table.peek(execution_id, items.EXECUTION) or {}
        where = f"step {key} of {execution_id}, attempt {attempt}"
        self._owns(invocation, execution_id, x, f"calls {where}")
        self.written.holds.begins(invocation, x, where)
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
        before = self.written.values.setdefault(place, entry[1])
        if before != entry[1] and (CANCELLED not in (before, entry[1]) or self._binds(run, (op.key, before))):
            self._flag(f"L2: step {op.key} of {run.execution_id} was {before} and is {entry[1]}")
        elif before == CANCELLED:
            self.written.values[place] = entry[1]
        if op.kind == "event" and entry[1].startswith("('event'"):
            if any(value == entry[1] and key != op.key for key, value in run.trail[:-1]):
                self._flag(f"L10: {run.execution_id} takes the event {entry[1]} twice")
        elif op.kind == "suspend" and "resumed" in entry[1]:
            answer = run.execution_id.split("~")[0], *entry
            first = self._answered.setdefault(answer, run.execution_id)
            if first != run.execution_id:
                self._flag(f"L9: {entry[1]} answered {op.key} of {first}, and now that of {run.execution_id}")
        elif op.kind == "wait" and op.seconds > 0 and entry[1] == "None":
            record = self._table.peek(run.execution_id, f"r#{op.key}") or {}
            tolerance = 1000 * self._world.faults.skew + 1
            if items.number(record, items.DUE) > self._world.now_ms + tolerance:
                self._flag(f"the timer {op.key} of {run.execution_id} ends before it is due")

    def _binds(self, run: Run, entry: tuple[str, str]) -> bool:
        """Whether something has followed from what a body was handed. If not, it may be cancelled at that operation in
        its next run, or not be cancelled there any more."""
        return entry in self.committed.get(self.place_of(run.execution_id), ())

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
            self._commit(invocation, f"{name} {key.sk}", binds=items.number(item, items.ATTEMPTS) <= 1)

    def sends_update(self, invocation: Invocation, name: str, key: Key, change: Change) -> None:
        if name == "claim":
            self.written.tokens[str(change.set[items.LEASE_TOKEN])] = invocation
        elif name == "terminate" and invocation.letter is not None:
            self.written.letters[key.pk] = invocation.letter
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
        return self.written.decided_at.get((execution_id, str(record[items.SK])), 0) <= invocation.reads.get(
            execution_id, -1
        )

    def _commit(self, invocation: Invocation, what: str, *, binds: bool = True) -> None:
        """L8: an effect binds the order of all that the body was handed before it.

        A further attempt of a step binds nothing new: the body asked for the step before the first, and may have been
        handed more since, of which nothing follows. But it must not contradict what is bound.
        """
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
        if binds and len(trail) > len(bound):
            self.committed[place] = list(trail)

    # ---- invocations

    def died(self, invocation: Invocation) -> None:
        self.ended(invocation)

    def ended(self, invocation: Invocation) -> None:
        """It owns nothing any more, whatever the table says."""
        invocation.claims.clear()

    def _x(self, execution_id: str) -> Item:
        return self._table.peek(execution_id, items.EXECUTION) or {}

    def _flag(self, what: str) -> None:
        self._world.flag(what)
