"""Batches of events: each event in exactly one, in the order of publication, at `batch_size` or when time is up.

Two items an event (the event, which says when it was taken; a marker, which says that it waits) and one a workflow (the
collector: the number of the next batch, and which events that has once it is composed). Laws: L10, L11.

    deliverer   put event IF absent -> put marker IF absent (unless the event is taken) -> query markers
                -> SEND batch: at once if enough are there, at its time limit if no marker came before this one
    collector   get collector (n) -> query markers -> read their events -> compose: put them down IF n and none are
                -> SEND start (its id is made from n) -> each event: taken by n -> each marker: delete
                -> advance: n + 1 IF n, none put down -> on from the query
                -> markers are left whose time is not up: SEND batch for the first of them, note that

    two compose        A, B read n | A composes | B's condition fails: it comes again, and goes on where A stopped
    slow composer      A reads n and events | B composes n, advances | A's condition fails: n has moved on
    slow helper        A stops in the middle of n | B advances, composes n+1 | A repeats what is done: harmless; fails
    event taken twice  n is read before the events, and advanced after all of its own say "taken": what is in a batch
                       before n says so by then
    late marker        D finds the event untaken | batch takes it, deletes the marker | D puts it: the event is taken,
                       so whoever would compose it deletes the marker
    died around SEND   no event of n is taken: SEND it again, the id is the same. One is: the start was sent before
    nobody's marker    D2 sees D1's marker before its own, sends nothing | that one is deleted -> who deletes a marker
                       queries afterwards, and sees D2's; only then may its message go
    D2's own is gone   somebody composes it or cleans up, and may die -> D2 sends a message of its own
    message deleted by a copy of it, while its handler goes on and dies: what made a batch ready has a message too, and
                       that one is not deleted while a batch of another is put down
    wakes multiply     one handler's wake finds the markers of others and sends for them, for ever -> what was sent for
                       is noted, after the SEND; a marker has two at most, but for faults

That a handler leaves a batch alone for the length of a lease saves requests; nothing rests on it. Nothing that waits
expires: an event's item gets its time to live when it is taken, and outlives every message and its own repetition. A
payload beside the table, which does expire, is renewed by `retention`, which finds the workflow under `g#`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from polos.core import codec, items
from polos.core.conditions import AllOf, Change, Equals, Has, Item, Not
from polos.core.identity import batch_id, message_tag
from polos.core.items import Key
from polos.engine import commands, delivery
from polos.engine.commands import Start, moment
from polos.engine.engine import EARLY, QUEUE_DELAY, Engine
from polos.engine.stored import Stored
from polos.errors import InvalidPayloadError, PayloadTooLargeError, SerializationError
from polos.ports import ConditionFailed, Event, Message, Outgoing
from polos.types.types import BatchEventPayload, EventPayload
from polos.workflow import Workflow

_MOST_TEXT = 25_000_000  # characters of data in one batch: the payload, with its envelopes, stays under 50 MB
_READ_AT_ONCE = 100
_NAMED = 100


def gather(engine: Engine, event: Event) -> bool:
    """Keep an event for the batches of each workflow that it triggers. Repeatable.

    For each: 2 puts and 1 query; 1 send if it is the first to wait or makes a batch full; 1 put for a large payload.
    """
    for workflow in engine.workflows().values():
        if workflow.trigger == event.topic and workflow.batches:
            gather_for(engine, workflow, event)
    return True


def gather_for(engine: Engine, workflow: Workflow[Any, Any], event: Event) -> None:
    """Keep an event for the batches of one workflow, which takes them. Repeatable."""
    _Collector(engine, workflow).add(event)


def collect(
    engine: Engine,
    workflow: Workflow[Any, Any],
    message: Message,
    due: int | None,
    remaining: Callable[[], float | None],
) -> bool:
    """Start an execution for each batch that is ready. Repeatable. True: the message is no longer needed.

    1 get and 1 query, and if events are left to a time limit 1 send and 1 update; for each batch of N events 1 send,
    2 updates, 1 query, 1 read per 100 events, N updates and N deletes; the visibility of the message once a batch.
    """
    return _Collector(engine, workflow).collect(message, due, remaining)


@dataclass(frozen=True, slots=True)
class _Held:
    """An event of a batch: its marker's sort key, its item, and what it is; None: it cannot be read."""

    sk: str
    item: Item
    event: EventPayload | None
    size: int


class _Collector:
    """The batches of one workflow. Keeps nothing between calls."""

    def __init__(self, engine: Engine, workflow: Workflow[Any, Any]) -> None:
        self._engine, self._workflow, self._key = engine, workflow, items.collector(workflow.id)
        span = workflow.batch_timeout_seconds
        self._span = None if span is None else int(span * 1000)

    # ---- the deliverer's side

    def add(self, event: Event) -> None:
        engine = self._engine
        attributes = delivery.event_attributes(engine, event) | {items.TOPIC: event.topic, items.AT: engine.now()}
        del attributes[items.TTL]
        if event.pointer is not None:  # before the event: what is kept is found
            engine.ledger.note(items.gathering(self._workflow.id), {items.AT: engine.now()})
        kept = engine.ledger.note(items.gathered(self._workflow.id, event.id), attributes)
        if items.BATCH in kept:
            return
        own = items.event_sk(items.number(kept, items.SEQUENCE), event.id)
        engine.ledger.note(Key(self._key.pk, own), {items.AT: items.number(kept, items.AT)})
        due = self._wake_due(own)
        if due is not None:
            self._send(due)

    def _wake_due(self, own: str) -> int | None:
        """When the marker that was just put needs somebody to look; None: another's message will do."""
        now, waiting = self._engine.now(), self._waiting()
        if self._is_full(waiting) or all(marker[items.SK] != own for marker in waiting):
            return now
        if self._span is None:
            return None
        first = min(waiting, key=_arrival)
        due = items.number(first, items.AT) + self._span
        return due if first[items.SK] == own or due <= now else None

    def _waiting(self) -> list[Item]:
        """The oldest markers, as many as a batch has."""
        return self._engine.table.query(self._key.pk, prefix="e#", limit=self._workflow.batch_size)

    def _is_full(self, waiting: Sequence[Item]) -> bool:
        return len(waiting) >= self._workflow.batch_size

    def _send(self, due: int) -> None:
        """Have the collector look at `due`; beyond what a message can be delayed it arms a timer when it comes."""
        delay = (due - self._engine.now()) / 1000
        body = commands.batch(self._workflow.id, due if delay > 0 else None)
        self._engine.backend.inbox.send([Outgoing(body, min(max(0.0, delay), QUEUE_DELAY))])

    # ---- the collector's side

    def collect(self, message: Message, due: int | None, remaining: Callable[[], float | None]) -> bool:
        engine, tag = self._engine, message_tag(message.id)
        if due is not None and due > engine.now():
            return self._is_early(message, due)
        state, carried = engine.table.get(self._key) or {}, False
        while True:
            message.extend(engine.limits.lease)
            if items.KEYS in state:
                left = items.number(state, items.LEASE_UNTIL) - engine.now()
                if left > 0 and items.text(state, items.LEASE_MESSAGE) != tag:
                    message.extend(left / 1000 + 0.5)  # somebody is at it
                    return False
                state = self._carry_out(state, None)
                carried = True
                continue
            seconds = remaining()
            if carried and seconds is not None and seconds < engine.limits.stop_before:
                self._send(engine.now())
                return True
            events = self._next(state)
            if not events:
                return True
            try:
                state = self._compose(state, tag, events)
            except ConditionFailed as lost:
                state = lost.item or {}
            else:
                state = self._carry_out(state, events)
                carried = True

    def _is_early(self, message: Message, due: int) -> bool:
        """Back into the queue, or on to a timer: no table access."""
        left = (due - self._engine.now()) / 1000
        if left <= QUEUE_DELAY:
            message.extend(left)
            return False
        body = commands.batch(self._workflow.id, due)
        self._engine.backend.timers.schedule(f"{self._key.pk}#{due}", moment(due) - EARLY, body)
        return True

    def _next(self, state: Item) -> list[_Held]:
        """The events of the next batch; none if it is not ready, and then a wake for its time limit is on its way."""
        while waiting := self._waiting():
            if not self._is_full(waiting):
                if self._span is None:
                    return []
                first = min(waiting, key=_arrival)
                due = items.number(first, items.AT) + self._span
                if due > self._engine.now():
                    self._arm(state, due, items.text(first, items.SK))
                    return []
            chosen, taken = self._choose([items.text(marker, items.SK) for marker in waiting])
            if not taken:
                return chosen
            for sk in taken:
                self._engine.ledger.forget(self._key.pk, sk)
        return []

    def _arm(self, state: Item, due: int, sk: str) -> None:
        """SEND, then note it. Whichever note stays, it is true: a wake that is noted comes at `due`, and looks."""
        sent = f"{due}#{sk}"
        if items.text(state, items.WAKE_SENT) != sent:
            self._send(due)
            self._engine.table.update(self._key, Change(set={items.WAKE_SENT: sent}))

    def _choose(self, sks: Sequence[str]) -> tuple[list[_Held], list[str]]:
        """The events behind these markers, and the markers whose events are taken.

        It ends before an event that would make the payload too large. One that cannot be read goes alone: its
        execution fails where people can see it, and takes no other event with it.
        """
        chosen: list[_Held] = []
        total = 0
        for start in range(0, len(sks), _READ_AT_ONCE):
            part = sks[start : start + _READ_AT_ONCE]
            found = self._read(part)
            taken = [sk for sk in part if sk not in found or items.BATCH in found[sk]]
            if taken:
                return [], taken
            for sk in part:
                held = self._held(sk, found[sk])
                total += held.size
                if chosen and (held.event is None or total > _MOST_TEXT):
                    return chosen, []
                chosen.append(held)
                if held.event is None:
                    return chosen, []
        return chosen, []

    def _read(self, sks: Sequence[str]) -> dict[str, Item]:
        """The events' items by the sort keys of their markers."""
        names = {items.gathered(self._workflow.id, items.event_id_in(sk)).pk: sk for sk in sks}
        found = self._engine.table.get_many([items.gathered(self._workflow.id, items.event_id_in(sk)) for sk in sks])
        return {names[items.text(item, items.PK)]: item for item in found}

    def _held(self, sk: str, item: Item) -> _Held:
        try:
            text = self._engine.vault.fetch_item(item)
            return _Held(sk, item, delivery.envelope(items.text(item, items.TOPIC), item, text), len(text))
        except (SerializationError, PayloadTooLargeError):
            return _Held(sk, item, None, 0)

    def _compose(self, state: Item, tag: str, events: Sequence[_Held]) -> Item:
        """Decide what batch n has: it is the next one, and not composed yet (races "two compose", "slow composer")."""
        now, number = self._engine.now(), items.number(state, items.BATCH)
        same = Equals(items.BATCH, number) if items.BATCH in state else Not(Has(items.BATCH))
        change = Change(
            set={
                items.BATCH: number,
                items.KEYS: [held.sk for held in events],
                items.LEASE_MESSAGE: tag,
                items.LEASE_UNTIL: now + int(self._engine.limits.lease * 1000),
            }
        )
        return self._engine.table.update(self._key, change, AllOf(same, Not(Has(items.KEYS))))

    def _carry_out(self, state: Item, events: Sequence[_Held] | None) -> Item:
        """Start the composed batch and advance. The collector after that, or as another one made it meanwhile."""
        engine, limits = self._engine, self._engine.limits
        number, sks = items.number(state, items.BATCH), items.strings(state, items.KEYS)
        if events is None:
            found = self._read(sks)
            left = [sk for sk in sks if sk in found and items.BATCH not in found[sk]]
            unsent = len(left) == len(sks)
            events = [self._held(sk, found[sk]) if unsent else _Held(sk, found[sk], None, 0) for sk in left]
        if len(events) == len(sks):
            engine.backend.inbox.send([self._start(number, events).message()])
        keep = int(max(limits.retention, 2 * limits.event_retention))
        taken = Change(
            set={items.BATCH: number, items.TTL: engine.now() // 1000 + keep}, remove=(items.VALUE, items.POINTER)
        )
        for held in events:
            engine.table.update(items.gathered(self._workflow.id, items.event_id_in(held.sk)), taken)
        for sk in sks:
            engine.ledger.forget(self._key.pk, sk)
        change = Change(set={items.BATCH: number + 1}, remove=(items.KEYS, items.LEASE_MESSAGE, items.LEASE_UNTIL))
        try:
            return engine.table.update(self._key, change, AllOf(Equals(items.BATCH, number), Has(items.KEYS)))
        except ConditionFailed as lost:
            return lost.item or {}

    def _start(self, number: int, held: Sequence[_Held]) -> Start:
        execution_id = batch_id(self._workflow.id, number)
        stored = self._payload(execution_id, held)
        now, topic = self._engine.now(), items.text(held[0].item, items.TOPIC)
        options = {"trigger": {"topic": topic, "batch": number, **self._not_for_its_waits(held, now)}}
        return Start.of(execution_id, self._workflow.id, stored, now, options)

    def _not_for_its_waits(self, held: Sequence[_Held], now: int) -> dict[str, Any]:
        """The events of a batch that its own waits would take for later than its start, as clocks differ.

        By their ids; where they are many, the older ones by the last sequence of those.
        """
        since = now - int(self._engine.limits.event_skew * 1000) << 20
        late = [(items.number(one.item, items.SEQUENCE), items.event_id_in(one.sk)) for one in held]
        late = sorted((sequence, event_id) for sequence, event_id in late if sequence >= since)
        older = {"last": late[-_NAMED - 1][0]} if len(late) > _NAMED else {}
        return {**older, "events": [event_id for _, event_id in late[-_NAMED:]]} if late else {}

    def _payload(self, execution_id: str, held: Sequence[_Held]) -> Stored:
        """What the function takes; where it takes none of this, what its body refuses, where people can see it."""
        workflow, what = self._workflow, f"A batch of events for workflow {self._workflow.id!r}"
        events = [one.event for one in held if one.event is not None]
        if not events:
            return Stored.of_item(held[0].item)
        try:
            # events that were left over when the workflow stopped batching go one by one
            given = workflow.accept_batch(events) if workflow.batches else workflow.accept_event(events[0])
            text = codec.encode(given, annotation=workflow.input_annotation)
            return self._engine.stash(text, execution_id, what)
        except (InvalidPayloadError, SerializationError, PayloadTooLargeError, ValueError):
            text = codec.encode(BatchEventPayload(events=events))
        try:
            return self._engine.stash(text, execution_id, what)
        except PayloadTooLargeError:
            return Stored.of_item(held[0].item)  # a single event of nearly 50 MB


def _arrival(marker: Item) -> tuple[int, str]:
    """When an event first came here, which is not the order in which they were published."""
    return items.number(marker, items.AT), items.text(marker, items.SK)
