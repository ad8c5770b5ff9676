"""The laws of a pause of a queue or a workflow: what it holds begins nothing, and its end lets all of it go.

A process may go by what it read up to 15 s ago, and what it has asked for meanwhile takes its time. So the law is
looked at only where nothing has gone wrong for so long.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from polos.core import items
from polos.core.conditions import Item
from polos.engine.controls import Hold
from polos.limits import Limits

if TYPE_CHECKING:
    from tests.chaos.sim.strands import Invocation
    from tests.chaos.sim.table import SimTable
    from tests.chaos.sim.world import World

ALLOWED: Final = Limits().controls
_MOST_ON_THE_WIRE: Final = 5.0


class Holds:
    """What is paused, and since when, as the table has it."""

    def __init__(self, world: World, table: SimTable) -> None:
        self._world, self._table = world, table
        self._since: dict[str, float] = {}  # number of a pause -> when it was written

    def wrote(self, before: Item | None, after: Item | None) -> None:
        """The item that names what is paused has changed."""
        for name, number in (after or {}).items():
            if ":" in name and (before or {}).get(name) != number:
                self._since[str(number)] = self._world.t

    def of(self, x: Item) -> Hold | None:
        """What holds an execution just now."""
        queue = items.document(x, items.START).get("queue", x[items.WORKFLOW])
        for hold in self.all():
            if hold.name == (queue if hold.kind == "queue" else x[items.WORKFLOW]):
                return hold
        return None

    def all(self) -> Iterator[Hold]:
        for attribute, number in (self._table.peek(*items.CONTROLS) or {}).items():
            kind, colon, name = attribute.partition(":")
            if colon:
                yield Hold(kind, name, str(number))

    def begins(self, invocation: Invocation, x: Item, what: str) -> None:
        """Something of an execution begins: a body, or an attempt of a step."""
        if items.WORKFLOW not in x or items.CANCEL in x or items.CANCEL_AT in x or self.timed_out(x):
            return
        world, hold = self._world, self.of(x)
        if hold is None:
            return
        since = self._since[hold.number]
        wire = min(_MOST_ON_THE_WIRE, 20 * world.faults.latency)  # a few requests that no fault has struck
        if world.t - since > ALLOWED + wire and max(world.struck_at, invocation.struck_at) < since - ALLOWED:
            world.flag(f"{what} begins {world.t - since:.1f} s after {hold.attribute} was paused")

    def timed_out(self, x: Item) -> bool:
        seconds = items.document(x, items.START).get("timeout")
        since = items.number(x, items.LIMIT_FROM, items.number(x, items.CREATED))
        return seconds is not None and since + 1000 * seconds < self._world.now_ms + 5000

    def at_rest(self, x: Item) -> None:
        """An execution is held and nothing brings it on: it has given its lease back, and a cancel is let through."""
        hold = self.of(x)
        if hold is None:
            return
        if items.CANCEL in x and items.CANCEL_AT not in x:
            self._world.flag(f"{x[items.PK]} was cancelled and is held by {hold.attribute}")
        if items.LEASE_TOKEN in x:
            self._world.flag(f"{x[items.PK]} is held by {hold.attribute} at rest under a lease")

    def let_go(self) -> None:
        """Nothing is paused any more, and everybody has been woken that was in line. A late put may leave a place."""
        for hold in self.all():
            self._world.flag(f"{hold.attribute} is paused after its unpause")
        if self._world.faults.struck:
            return
        for pk, partition in self._table.partitions.items():
            if pk.startswith("h#") and pk != items.CONTROLS.pk and partition:
                self._world.flag(f"places are left in the line of the pause {pk[2:]}: {', '.join(partition)}")
