"""What tests of pauses look at."""

from __future__ import annotations

from polos.core import items
from tests.laws.worlds import World


def lines(world: World, number: str) -> list[str]:
    """The executions in the line of the pause of this number."""
    return [str(one[items.SK]).rpartition("#")[2] for one in world.table.query(items.hold(number))]
