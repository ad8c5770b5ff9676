"""The ports of a run but the table: inbox, timers, topics, payloads. Every call is one request of the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from polos.engine import commands
from polos.limits import Limits
from polos.ports import Backend, Event, Outgoing
from tests.chaos.sim.expiry import Expiry
from tests.chaos.sim.strands import here
from tests.chaos.sim.table import SimTable

if TYPE_CHECKING:
    from tests.chaos.sim.world import World


_LONGEST_DELAY = 900.0


class SimInbox:
    """The Inbox, Timers and Topics ports."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._names: set[str] = set()

    def send(self, messages: Sequence[Outgoing]) -> None:
        kinds = [str(one.body["t"]) for one in messages]
        invocation = here()
        self._world.observer.sends_messages(invocation, messages)
        if any(one.delay > _LONGEST_DELAY for one in messages):
            self._world.flag(f"a message is sent with a delay of more than {_LONGEST_DELAY:.0f} s, which SQS refuses")

        def effect() -> None:
            for one in messages:
                self._world.queue.enqueue(one.body, one.delay)

        about = " ".join(f"{one.body.get('x', '')}{_due(one.body)}" for one in messages)
        self._world.request(f"send {kinds[0]}", about, effect)

    def schedule(self, name: str, due: datetime, body: Mapping[str, Any]) -> None:
        """A timer of EventBridge Scheduler: up to a minute late, sometimes early, sometimes twice, once a name."""
        world = self._world

        def effect() -> None:
            if name in self._names:
                return
            self._names.add(name)
            delay = (commands.millis(due) - world.now_ms) / 1000
            odd = world.faults.on and world.random.random() < 0.3
            world.queue.enqueue(body, max(0.0, delay + world.random.uniform(-30, 0) if odd else delay))
            if odd:
                world.queue.enqueue(body, max(0.0, delay + world.random.uniform(0, 60)))

        world.request("send timer", name, effect)

    def publish(self, events: Sequence[Event]) -> None:
        world = self._world
        for event in events:
            world.observer.publishes(here(), event)

        def effect() -> None:
            for event in events:
                body = commands.event(event)
                world.queue.enqueue(body)
                if world.faults.copy():
                    world.queue.enqueue(body, world.random.uniform(0, 5))

        world.request("publish", " ".join(f"{event.topic} {event.id}" for event in events), effect)


def _due(body: Mapping[str, Any]) -> str:
    return f" due {body['due']}" if "due" in body else ""


class SimPayloads:
    """The Payloads port."""

    def __init__(self, world: World, expiry: Expiry) -> None:
        self._world, self._expiry = world, expiry
        self._stored: dict[str, bytes] = {}
        self._until: dict[str, int] = {}

    def put(self, key: str, data: bytes) -> None:
        def effect() -> None:
            self._stored[key] = data
            self._until[key] = self._expiry.until()

        self._world.request("put payload", key, effect)

    def get(self, key: str) -> bytes:
        def effect() -> bytes:
            if self._until[key] < self._world.now_ms:
                self._world.flag(f"SPEC 8.9: the payload {key} is read when it has expired")
            return self._stored[key]

        return self._world.request("get payload", key, effect)

    def renew(self, key: str) -> None:
        def effect() -> None:
            self._until[key] = max(self._until[key], self._expiry.until())

        self._world.request("renew payload", key, effect)

    def has(self, key: str) -> bool:
        return key in self._stored


class NotAsked:
    """A port that no invocation of a run uses: ticks come from the plan of a run."""


_INLINE = 2_000  # small, so that payloads are stored beside the table without being large


def make_backend(world: World, horizon: float | None) -> tuple[Backend, SimTable, SimPayloads]:
    """The ports of a run. What executions store expires after `horizon` seconds."""
    expiry = Expiry(world, horizon)
    table, inbox, payloads = SimTable(world, expiry), SimInbox(world), SimPayloads(world, expiry)
    unused: Any = NotAsked()
    backend = Backend(
        table=table,
        inbox=inbox,
        timers=inbox,
        topics=inbox,
        payloads=payloads,
        recurrences=unused,
        default_bus=unused,
        clock=world.clock,
        limits=Limits(inline_bytes=_INLINE, horizon=horizon),
    )
    return backend, table, payloads
