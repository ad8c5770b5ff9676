"""The wire between invocations and their backend: every request as a line of text, and faults that wait for it.

A request is named by one line of text, `VERB what`, the same on every backend:

    put SK of PK          get SK of PK        delete SK of PK         query PREFIX of PK
    claim | mark | cancel | spend | renew | suspend | finish | strike X       (the updates, by what they mean)
    send TYPE X[, ...]    schedule NAME       publish TOPIC           store KEY          load KEY
    answer TYPE X         what an invocation does last: saying that its message may be deleted

Only requests that invocations make are seen, never those of the test's own client. Faults strike at a request: the
process dies before or after it (`crash`), it stays on the wire until released (`block`), or something else happens
first (`meanwhile`). Every fault says whether it was reached: assert it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polos.core import items
from polos.core.conditions import Change, Condition, Item
from polos.core.items import Key
from polos.ports import Backend, Event, Outgoing
from polos.testing.harness import Crash

_INVOCATION = ("polos-invocation", "polos-record", "polos-heartbeat", "law")
PATIENCE = 20.0


@dataclasses.dataclass(eq=False)
class Fault:
    """Something that happens at the `nth` request whose line matches. `hit` is that line, once it has happened."""

    pattern: re.Pattern[str]
    nth: int
    after: bool
    act: Callable[[], None]
    seen: int = 0
    hit: str | None = None
    only: Callable[[], bool] = lambda: True

    def takes(self, line: str, after: bool) -> bool:
        if self.hit is not None or after != self.after or not self.pattern.search(line) or not self.only():
            return False
        self.seen += 1
        if self.seen != self.nth:
            return False
        self.hit = line
        return True

    @property
    def reached(self) -> bool:
        return self.hit is not None


@dataclasses.dataclass(eq=False)
class Gate:
    """A request that stays where it is until `release`."""

    fault: Fault
    arrived: threading.Event
    opened: threading.Event

    @property
    def reached(self) -> bool:
        return self.arrived.is_set()

    async def reach(self, *, within: float = PATIENCE) -> None:
        """Wait until the request is there."""
        assert await asyncio.to_thread(self.arrived.wait, within), f"no request matched {self.fault.pattern.pattern!r}"

    def release(self) -> None:
        self.opened.set()


class Wire:
    """All requests of all invocations, in order, and the faults that wait for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.lines: list[str] = []

    def crash(self, at: str = "", *, nth: int = 1, after: bool = False) -> Fault:
        """The process dies before (or after) the nth matching request."""

        def die() -> None:
            raise Crash(f"at request {nth} of {at!r}")

        return self._add(Fault(re.compile(at), nth, after, die))

    def block(self, at: str = "", *, nth: int = 1, after: bool = False) -> Gate:
        """The nth matching request is held back on the wire (with `after`: its reply is)."""
        arrived, opened = threading.Event(), threading.Event()

        def wait() -> None:
            arrived.set()
            assert opened.wait(PATIENCE), f"nobody released the request {at!r}"

        return Gate(self._add(Fault(re.compile(at), nth, after, wait)), arrived, opened)

    def meanwhile(self, at: str, do: Callable[[], object], *, nth: int = 1, after: bool = False) -> Fault:
        """`do` happens before (or after) the nth matching request, while its invocation stands still."""
        return self._add(Fault(re.compile(at), nth, after, lambda: do() and None))

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def quiet(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()

    def __call__(self, line: str, act: Callable[[], Any]) -> Any:
        if not threading.current_thread().name.startswith(_INVOCATION):
            return act()
        with self._lock:
            self.lines.append(line)
            before = [fault for fault in self._faults if fault.takes(line, False)]
        for fault in before:
            fault.act()
        try:
            return act()
        finally:
            with self._lock:
                after = [fault for fault in self._faults if fault.takes(line, True)]
            for fault in after:
                fault.act()


def _update_line(key: Key, change: Change) -> str:
    where = key.pk
    if key.sk != items.EXECUTION:
        return f"update {key.sk} of {where}"
    if items.LEASE_TOKEN in change.set:
        return f"claim {where}"
    if items.ENDED in change.set:
        return f"finish {where}"
    if items.LEASE_TOKEN in change.remove:
        return f"suspend {where}"
    if items.CANCEL_AT in change.default:
        return f"strike {where}"
    if items.CANCEL in change.set or items.CANCEL in change.default:
        return f"cancel {where}"
    if items.WAKE in change.add:
        return f"mark {where}"
    return f"{'spend' if change.append else 'renew'} {where}"


class WatchedTable:
    def __init__(self, inner: Any, wire: Wire) -> None:
        self._inner, self._wire = inner, wire

    def get(self, key: Key) -> Item | None:
        return self._wire(f"get {key.sk} of {key.pk}", lambda: self._inner.get(key))

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        return self._wire(f"get_many {len(keys)}", lambda: self._inner.get_many(keys))

    def put(self, item: Item, condition: Condition | None = None) -> None:
        line = f"put {item[items.SK]} of {item[items.PK]}"
        self._wire(line, lambda: self._inner.put(item, condition))

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        return self._wire(_update_line(key, change), lambda: self._inner.update(key, change, condition))

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        self._wire(f"delete {key.sk} of {key.pk}", lambda: self._inner.delete(key, condition))

    def query(self, pk: str, **options: Any) -> list[Item]:
        return self._wire(f"query {options.get('prefix', '')} of {pk}", lambda: self._inner.query(pk, **options))

    def by_start(self, bucket: str, **options: Any) -> list[Item]:
        return self._wire(f"by_start {bucket}", lambda: self._inner.by_start(bucket, **options))


class WatchedWays:
    """Inbox, timers, topics and payloads."""

    def __init__(self, inner: Backend, wire: Wire) -> None:
        self._inner, self._wire = inner, wire

    def send(self, messages: Sequence[Outgoing]) -> None:
        line = ", ".join(f"{m.body.get('t')} {m.body.get('x', '')}" for m in messages)
        self._wire(f"send {line}", lambda: self._inner.inbox.send(messages))

    def schedule(self, name: str, due: Any, body: Mapping[str, Any]) -> None:
        self._wire(f"schedule {name}", lambda: self._inner.timers.schedule(name, due, body))

    def publish(self, events: Sequence[Event]) -> None:
        line = ", ".join(event.topic for event in events)
        self._wire(f"publish {line}", lambda: self._inner.topics.publish(events))

    def put(self, key: str, data: bytes) -> None:
        self._wire(f"store {key}", lambda: self._inner.payloads.put(key, data))

    def get(self, key: str) -> bytes:
        return self._wire(f"load {key}", lambda: self._inner.payloads.get(key))
