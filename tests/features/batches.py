"""A workflow that takes batches of events, what it was given, and what is left in the table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polos import BatchEventPayload, WorkflowContext, workflow
from polos.core import items
from polos.core.codec import encode
from polos.core.identity import batch_id
from polos.ports import Event
from tests.laws.worlds import World

TOPIC = "batches"


class Batches:
    """A workflow that notes the data of each batch that it was started for."""

    def __init__(self, size: int = 1, timeout: float | None = None, *, name: str = "batched", topic: str = TOPIC):
        self.seen: dict[str, list[Any]] = {}

        @workflow(id=name, trigger_on_event=topic, batch_size=size, batch_timeout_seconds=timeout)
        async def body(ctx: WorkflowContext, given: BatchEventPayload) -> int:
            order = [(event.sequence_id, event.id) for event in given.events]
            assert order == sorted(order)
            self.seen.setdefault(ctx.execution_id, [event.data for event in given.events])
            return len(given.events)

        self.workflow, self.size, self.name = body, size, name

    @property
    def batches(self) -> list[list[Any]]:
        """In the order of their numbers."""
        numbers = {batch_id(self.name, number): number for number in range(2000)}
        return [self.seen[one] for one in sorted(self.seen, key=lambda one: numbers[one])]

    @property
    def events(self) -> list[Any]:
        return [data for one in self.batches for data in one]

    def check(self, expected: Iterable[Any], about: object = None) -> None:
        """Each event once, no batch too large, and nothing left in the collector."""
        assert sorted(self.events) == sorted(expected), (about, self.batches)
        assert all(1 <= len(one) <= self.size for one in self.batches), (about, self.batches)


def left(world: World, name: str = "batched") -> list[str]:
    """What a collector still has to do."""
    found = world.table.query(f"g#{name}")
    return [str(one[items.SK]) for one in found if one[items.SK] != "collector" or items.KEYS in one]


def make(world: World, data: Any, event_id: str | None = None, *, later: int = 0) -> Event:
    now = world.env.harness.engine.now()
    return Event(event_id or f"id-{data}", TOPIC, (now << 20) + later, None, encode(data))


def publish(world: World, *events: Event) -> None:
    world.env.harness.engine.backend.topics.publish(list(events))
