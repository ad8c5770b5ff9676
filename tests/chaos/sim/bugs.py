"""What the mutants of the protocol put in the place of the engine's own functions: each takes one rule away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from polos.core import items
from polos.core.conditions import Absent, AllOf, AnyOf, Change, Contains, Has, Item, Less, Not, Value
from polos.core.items import Key
from polos.core.replay import Operation
from polos.engine import children
from polos.engine.ledger import OPEN, Holder, Ledger
from polos.engine.resting import Resting
from polos.engine.slots import Slots
from polos.engine.steps import Attempts
from polos.engine.turn import Turn
from polos.engine.waits import Waits
from polos.engine.worker import Worker
from polos.ports import ConditionFailed
from tests.chaos.sim.strands import here


def put_whatever(self: Ledger, item: Item, condition: object) -> Item:
    self.table.put(item)
    return item


def take_refusal_for_success(self: Ledger, item: Item, condition: Any) -> Item:
    with contextlib.suppress(ConditionFailed):
        self.table.put(item, condition)
    return item


def suspend_whatever_came(
    self: Ledger, holder: Holder, wake: int, spent: list[str], attributes: Mapping[str, Value]
) -> Item:
    change = Change(
        set={items.PROGRESS: holder.epoch, items.SPENT: spent, items.RAN: 1, **attributes},
        remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL),
    )
    return self.table.update(holder.key, change, holder.fence)


def claim_with(early: int, spent: bool) -> Callable[..., Item]:
    def claim(
        self: Ledger,
        execution_id: str,
        *,
        token: str,
        tag: str,
        now: int,
        until: int,
        start: Mapping[str, Value] | None,
    ) -> Item:
        known: Any = AnyOf(Absent(), OPEN) if start is not None else AllOf(Has(items.WORKFLOW), OPEN)
        free = AnyOf(Not(Has(items.LEASE_TOKEN)), Less(items.LEASE_UNTIL, now + early))
        change = Change(
            set={
                items.LEASE_TOKEN: token,
                items.LEASE_MESSAGE: tag,
                items.LEASE_UNTIL: until,
                items.STATUS: "running",
            },
            default={**(start or {}), items.WAKE: 0, items.STARTED: now},
            add={items.EPOCH: 1},
        )
        terms = [known, free, *([Not(Contains(items.SPENT, tag))] if spent else [])]
        return self.table.update(items.execution(execution_id), change, AllOf(*terms))

    return claim


def mark_whoever_owns(self: Ledger, execution_id: str, *, epoch: int, tag: str) -> None:
    self.table.update(items.execution(execution_id), Change(add={items.WAKE: 1}, append={items.SPENT: [tag]}))


def finish_without_lease(
    self: Ledger, holder: Holder, tag: str, attributes: Mapping[str, Value], *, unpaused: bool = False
) -> Item:
    change = Change(
        set={**attributes, items.FINISHER: holder.token},
        append={items.SPENT: [tag]},
        remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL, items.WAITING_FOR),
    )
    return self.table.update(holder.key, change, OPEN)


def terminate_what_has_ended(
    self: Ledger, execution_id: str, attributes: Mapping[str, Value], generation: int | None = None
) -> Item:
    change = Change(
        set=attributes, remove=(items.LEASE_TOKEN, items.LEASE_MESSAGE, items.LEASE_UNTIL, items.WAITING_FOR)
    )
    return self.table.update(items.execution(execution_id), change, Has(items.WORKFLOW))


def look_then_register(self: Waits, operation: Operation, request: Any) -> None:
    self.began.setdefault(operation.key, self._engine.now())  # pyright: ignore[reportPrivateUsage]
    self.look(operation, request)
    turn = self._turn  # pyright: ignore[reportPrivateUsage]
    if turn.history.decided(operation.key) is not None:
        return
    look, self.look = self.look, lambda *_: None  # type: ignore[method-assign]
    try:
        _begin_event(self, operation, request)
    finally:
        self.look = look  # type: ignore[method-assign]


_begin_event = Waits.begin_event


def flush_nothing(self: Turn) -> None:
    self.replay.unwritten = []


def strike_unwritten(self: Turn) -> bool:
    if self.replay.branch or self.history.cancel_at is not None:
        return False
    limit = self.pace.limit()
    if not self.cancel and (limit is None or limit > self.engine.now()):
        return False
    self.cancel = self.cancel or "timeout"
    self.execution = self.history.execution = {**self.execution, items.CANCEL_AT: self.replay.tick}
    return True


def start_counting_anew(self: Attempts, operation: Operation) -> None:
    """The number of the attempt is what this turn remembers, and not what is on record."""
    records = self._turn.history.records  # pyright: ignore[reportPrivateUsage]
    record = records.get(operation.key)
    if record is None:
        _start(self, operation)
        return
    records[operation.key] = {name: value for name, value in record.items() if name != items.ATTEMPTS}
    try:
        _start(self, operation)
    finally:
        if records[operation.key].get(items.STATE) == items.RETRYING:
            records[operation.key] = record


_start = Attempts.start


def take_copy_for_wake(self: Worker, message: Any, execution_id: str, tag: str, item: Item | None) -> bool | None:
    if item is not None:
        item = {name: value for name, value in item.items() if name != items.LEASE_MESSAGE}
    return _not_claimed(self, message, execution_id, tag, item)


_not_claimed = Worker._not_claimed  # pyright: ignore[reportPrivateUsage]


def give_back_slot_first(self: Resting, attributes: dict[str, Value], *, again: bool = False) -> None:
    turn = self._turn  # pyright: ignore[reportPrivateUsage]
    slots = Slots.of(turn.engine, turn.execution)
    if slots is not None:
        slots.release(turn.epoch)
    _give_back(self, attributes, again=again)


_give_back = Resting.give_back


def give_back_no_limit(self: Resting, attributes: dict[str, Value], *, again: bool = False) -> None:
    turn = self._turn  # pyright: ignore[reportPrivateUsage]
    turn.execution = {**turn.execution, items.LIMIT_ARMED: 1}
    _give_back(self, attributes, again=again)


def release_twice(self: Slots, epoch: int) -> None:
    own = self._own  # pyright: ignore[reportPrivateUsage]
    key = self._key  # pyright: ignore[reportPrivateUsage]
    with contextlib.suppress(ConditionFailed):
        self.engine.table.update(key, Change(remove=(own,), add={items.LIMIT_COUNT: -1}), Has(items.LIMIT_COUNT))
    self._wake_next("")  # pyright: ignore[reportPrivateUsage]


def release_whoever_holds(self: Slots, epoch: int) -> None:
    own = self._own  # pyright: ignore[reportPrivateUsage]
    key = self._key  # pyright: ignore[reportPrivateUsage]
    with contextlib.suppress(ConditionFailed):
        self.engine.table.update(key, Change(remove=(own,), add={items.LIMIT_COUNT: -1}), Has(own))
    self._wake_next("")  # pyright: ignore[reportPrivateUsage]


def enter_if_new(engine: Any, place: Key, member: int, size: int) -> bool:
    before = engine.table.get(place) or {}
    return _enter(engine, place, member, size) and member not in before.get(items.MEMBERS, frozenset())


_enter = children._enter  # pyright: ignore[reportPrivateUsage]


def compose_again(self: Any, state: Item, tag: str, events: Any) -> Item:
    change = Change(
        set={
            items.BATCH: items.number(state, items.BATCH),
            items.KEYS: [held.sk for held in events],
            items.LEASE_MESSAGE: tag,
            items.LEASE_UNTIL: self._engine.now() + 30_000,
        }
    )
    return self._engine.table.update(self._key, change)


def id_of_now(*given: Any) -> str:
    return f"{given[0]}-{here().world.now_ms}"
