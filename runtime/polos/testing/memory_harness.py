"""The embedded backend in memory, in virtual time, with every request counted under its AWS name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from polos.core.conditions import Change, Condition, Item
from polos.core.cron import parse
from polos.core.items import Key
from polos.engine import native, schedules
from polos.engine.commands import millis, moment, tick
from polos.limits import Limits
from polos.local.backend import LocalBackend, local_backend
from polos.local.inbox import Received
from polos.local.worker import handle
from polos.ports import Backend, Event, Outgoing, Recurring, Table
from polos.testing.harness import Making, Upcoming
from polos.testing.network import PlainNetwork
from polos.testing.wire import message_line
from polos.workflow import Workflow

NO_ROW = -1
_NEXT = "SELECT next_at FROM schedules WHERE workflow = ? AND key = ?"


class CountingTable:
    """A table that counts its requests."""

    def __init__(self, table: Table, requests: Counter[str]) -> None:
        self._table, self._requests = table, requests

    def get(self, key: Key) -> Item | None:
        self._requests["GetItem"] += 1
        return self._table.get(key)

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        self._requests["BatchGetItem"] += (len(keys) + 99) // 100
        return self._table.get_many(keys)

    def put(self, item: Item, condition: Condition | None = None) -> None:
        self._requests["PutItem"] += 1
        self._table.put(item, condition)

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        self._requests["UpdateItem"] += 1
        return self._table.update(key, change, condition)

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        self._requests["DeleteItem"] += 1
        self._table.delete(key, condition)

    def query(
        self,
        pk: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        reverse: bool = False,
    ) -> list[Item]:
        self._requests["Query"] += 1
        return self._table.query(pk, prefix=prefix, after=after, limit=limit, reverse=reverse)

    def by_start(
        self, bucket: str, *, since: str = "", until: str = "~", limit: int = 100, reverse: bool = True
    ) -> list[Item]:
        self._requests["Query"] += 1
        return self._table.by_start(bucket, since=since, until=until, limit=limit, reverse=reverse)

    def renew(self, execution_id: str) -> list[Item]:
        return self._table.renew(execution_id)


class CountingInbox:
    """Inbox, timers and topics that count their requests."""

    def __init__(self, local: LocalBackend, requests: Counter[str]) -> None:
        self._inbox, self._requests = local.inbox, requests

    def send(self, messages: Sequence[Outgoing]) -> None:
        self._requests["SendMessage"] += (len(messages) + 9) // 10
        self._inbox.send(messages)

    def schedule(self, name: str, due: datetime, body: Mapping[str, Any]) -> None:
        self._requests["CreateSchedule"] += 1
        self._inbox.schedule(name, due, body)

    def publish(self, events: Sequence[Event]) -> None:
        self._requests["PutEvents"] += (len(events) + 9) // 10
        self._inbox.publish(events)


class MemoryDelivery:
    """One received message."""

    def __init__(self, harness: MemoryHarness, received: Received) -> None:
        self._harness, self._received = harness, received
        self.line = message_line(received.message.body)

    def copy(self, resent: bool) -> MemoryDelivery:
        received = self._received
        if not resent:
            return MemoryDelivery(self._harness, received)
        again = replace(received.message, id=f"{received.message.id}-again", extend=_leave)
        return MemoryDelivery(self._harness, Received(NO_ROW, again))

    def hide(self, seconds: float) -> None:
        self._harness.local.inbox.extend(self._received.row, seconds)

    def run(self) -> None:
        harness = self._harness
        began = harness.clock.monotonic()

        def remaining() -> float:
            return harness.invocation_seconds - (harness.clock.monotonic() - began)

        harness.requests["ReceiveMessage"] += 1
        handle(harness.local, harness.worker, self._received, remaining)


class MemoryHarness:
    """The Harness of `Environment(backend="memory")`."""

    def __init__(
        self,
        workflows: Callable[[], Mapping[str, Workflow[Any, Any]]],
        start: datetime,
        invocation_seconds: float,
        making: Making | None = None,
    ) -> None:
        making = making or Making()
        self.clock = making.clock(start)
        self.requests: Counter[str] = Counter()
        self.network = PlainNetwork()
        self.invocation_seconds = invocation_seconds
        limits = making.limits(Limits())
        self.local = local_backend(":memory:", clock=self.clock, limits=limits)
        inner = self.local.backend
        counting = CountingInbox(self.local, self.requests)
        backend = Backend(
            table=CountingTable(inner.table, self.requests),
            inbox=counting,
            timers=counting,
            topics=counting,
            payloads=inner.payloads,
            recurrences=inner.recurrences,
            default_bus=inner.default_bus,
            clock=self.clock,
            limits=limits,
            codec=inner.codec,
        )
        self.engine = making.engine(backend, workflows)
        self.engine.controls.refresh()
        self.requests.clear()
        self.worker = making.worker(self.engine)
        schedules.reconcile(inner.recurrences, schedules.declared(workflows().values()))
        native.reconcile(inner.default_bus, native.declared(workflows().values()))

    def take_due(self) -> MemoryDelivery | None:
        self.local.recurrences.fire_due(self.engine.workflows().keys())
        received = self.local.inbox.receive(self.engine.workflows().keys())
        return None if received is None else MemoryDelivery(self, received)

    def next_due(self) -> datetime | None:
        dues = [
            self.local.inbox.next_due(self.engine.workflows().keys()),
            self.local.recurrences.next_due(self.engine.workflows().keys()),
        ]
        now = millis(self.clock.now())
        later = [due for due in dues if due is not None]
        return moment(max(min(later), now)) if later else None

    def move(self, to: datetime) -> None:
        self.clock.jump(to)

    def upcoming(self) -> list[Upcoming]:
        found: list[Upcoming] = []
        for one in self.local.recurrences.list():
            if one.workflow_id in self.engine.workflows() and not one.paused:
                rows = self.local.database.read(_NEXT, one.workflow_id, one.key)
                due = moment(int(str(rows[0][0])))
                found.append(Upcoming(f"tick {one.workflow_id}", one.key, due, partial(self._fire, one, due)))
        return found

    def _fire(self, schedule: Recurring, due: datetime) -> None:
        self.local.inbox.send([Outgoing(tick(schedule, millis(due)))])
        following = parse(schedule.cron, schedule.timezone).next_after(due)
        with self.local.database.transaction() as cursor:
            cursor.execute(
                "UPDATE schedules SET next_at = ? WHERE workflow = ? AND key = ?",
                (millis(following), schedule.workflow_id, schedule.key),
            )

    def put_event(self, source: str, detail_type: str, detail: str, event_id: str | None) -> str:
        return self.local.backend.default_bus.put(source, detail_type, detail, event_id)

    def pending(self) -> int:
        """How many messages wait to be delivered, timers of the backend included."""
        return len(self.local.database.read("SELECT 1 FROM messages"))

    def peek(self, key: Key) -> Item | None:
        return self.local.table.get(key)

    def close(self) -> None:
        self.local.close()


def _leave(seconds: float) -> None:
    """A copy of a message moves nothing in the queue."""
