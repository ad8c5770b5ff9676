"""The wire between invocations and their backend: every request made on it has a name, the same on all backends.

    put SK of PK          get SK of PK        delete SK of PK         query PREFIX of PK
    claim | mark | cancel | spend | renew | suspend | finish | strike X       (the updates, by what they mean)
    send TYPE X[, ...]    schedule TYPE X     publish TOPIC           store KEY          load KEY
    keep X | KEY          that it expires later
    answer TYPE X         what an invocation does last: saying that its message may be deleted

Owns the names and the wrappers around the ports. What happens at a request is the business of the `Wire`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from polos.core import items
from polos.core.conditions import Change, Condition, Item
from polos.core.items import Key
from polos.engine.engine import Engine
from polos.engine.worker import Worker, no_limit
from polos.ports import Backend, Clock, Event, Message, Outgoing, Table

T = TypeVar("T")


@dataclass(eq=False)
class Request:
    """One request. `key` is the item that a write changes; a wire may send other `messages`, or at another `due`."""

    line: str
    key: Key | None = None
    messages: Sequence[Outgoing] = ()
    due: datetime | None = None


class Wire(Protocol):
    """What happens to each request: at least, `act` is called."""

    def __call__(self, request: Request, act: Callable[[], T], /) -> T: ...


def message_line(body: Mapping[str, Any]) -> str:
    """The name of a message: its type, and the execution, topic or workflow that it is about."""
    about = body.get("x") or body.get("tp") or body.get("wf") or ""
    return f"{body.get('t')} {about}".rstrip()


def update_line(key: Key, change: Change) -> str:
    """The name of an update, by what it means for the execution."""
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
    """The Table port on a wire."""

    def __init__(self, inner: Table, wire: Wire) -> None:
        self._inner, self._wire = inner, wire

    def get(self, key: Key) -> Item | None:
        return self._wire(Request(f"get {key.sk} of {key.pk}"), lambda: self._inner.get(key))

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        return self._wire(Request(f"get_many {len(keys)}"), lambda: self._inner.get_many(keys))

    def put(self, item: Item, condition: Condition | None = None) -> None:
        key = Key(str(item[items.PK]), str(item[items.SK]))
        self._wire(Request(f"put {key.sk} of {key.pk}", key), lambda: self._inner.put(item, condition))

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        request = Request(update_line(key, change), key)
        return self._wire(request, lambda: self._inner.update(key, change, condition))

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        self._wire(Request(f"delete {key.sk} of {key.pk}", key), lambda: self._inner.delete(key, condition))

    def query(
        self, pk: str, *, prefix: str = "", after: str = "", limit: int | None = None, reverse: bool = False
    ) -> list[Item]:
        request = Request(f"query {prefix} of {pk}")
        return self._wire(
            request, lambda: self._inner.query(pk, prefix=prefix, after=after, limit=limit, reverse=reverse)
        )

    def renew(self, execution_id: str) -> list[Item]:
        return self._wire(Request(f"keep {execution_id}"), lambda: self._inner.renew(execution_id))

    def by_start(
        self, bucket: str, *, since: str = "", until: str = "~", limit: int = 100, reverse: bool = True
    ) -> list[Item]:
        return self._wire(
            Request(f"by_start {bucket}"),
            lambda: self._inner.by_start(bucket, since=since, until=until, limit=limit, reverse=reverse),
        )


class WatchedWays:
    """The Inbox, Timers, Topics and Payloads ports on a wire."""

    def __init__(self, inner: Backend, wire: Wire) -> None:
        self._inner, self._wire = inner, wire

    def send(self, messages: Sequence[Outgoing]) -> None:
        request = Request(f"send {', '.join(message_line(one.body) for one in messages)}", messages=messages)
        self._wire(request, lambda: self._inner.inbox.send(request.messages))

    def schedule(self, name: str, due: datetime, body: Mapping[str, Any]) -> None:
        request = Request(f"schedule {message_line(body)}", due=due)
        self._wire(request, lambda: self._inner.timers.schedule(name, request.due or due, body))

    def publish(self, events: Sequence[Event]) -> None:
        line = ", ".join(event.topic for event in events)
        self._wire(Request(f"publish {line}"), lambda: self._inner.topics.publish(events))

    def put(self, key: str, data: bytes) -> None:
        self._wire(Request(f"store {key}"), lambda: self._inner.payloads.put(key, data))

    def get(self, key: str) -> bytes:
        return self._wire(Request(f"load {key}"), lambda: self._inner.payloads.get(key))

    def renew(self, key: str) -> None:
        self._wire(Request(f"keep {key}"), lambda: self._inner.payloads.renew(key))


def watched(backend: Backend, wire: Wire, clock: Clock | None = None) -> Backend:
    """A backend whose requests go over a wire, and whose engine sees this clock."""
    ways = WatchedWays(backend, wire)
    table = WatchedTable(backend.table, wire)
    return dataclasses.replace(
        backend, table=table, inbox=ways, timers=ways, topics=ways, payloads=ways, clock=clock or backend.clock
    )


class WatchedWorker(Worker):
    """A worker whose answers go over a wire."""

    def __init__(self, engine: Engine, wire: Wire) -> None:
        super().__init__(engine)
        self._wire = wire

    def handle(self, message: Message, remaining: Callable[[], float | None] = no_limit) -> bool:
        answer = super().handle(message, remaining)
        self._wire(Request(f"answer {message_line(message.body)}"), lambda: None)
        return answer
