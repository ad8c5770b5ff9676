"""What executions have stored expires by itself, as on AWS, and the sweep that keeps what is still needed.

As DynamoDB removes what has expired sooner or later, here it goes at once. Law: SPEC 8.9, nothing of an open execution
expires.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from polos.core import items
from polos.core.items import Key
from polos.engine import retention

if TYPE_CHECKING:
    from tests.chaos.sim.table import SimTable
    from tests.chaos.sim.world import World

DAY: Final = 86_400.0
_BETWEEN: Final = 10 * DAY
_AFTER_A_FAILURE: Final = DAY


class Expiry:
    """Until when what is kept. `horizon` is in seconds; None: for ever."""

    def __init__(self, world: World, horizon: float | None) -> None:
        self._world, self._horizon = world, horizon
        self._until: dict[Key, int] = {}
        self._sweeps = False

    def until(self) -> int:
        """When what is stored now expires (ms)."""
        return 1 << 60 if self._horizon is None else self._world.now_ms + int(self._horizon * 1000)

    def keep(self, table: SimTable, key: Key) -> None:
        """An item was written, or renewed."""
        if self._horizon is None or "#" in key.pk or key.sk == items.EXECUTION:
            return
        if table.peek(*key) is not None:
            self._until[key] = self.until()

    def remove(self, table: SimTable, pk: str) -> None:
        """Whoever looks at a partition does not find what has expired."""
        if self._horizon is None or "#" in pk:
            return
        for sk in list(table.partitions.get(pk, ())):
            key = Key(pk, sk)
            if self._until.get(key, 1 << 60) < self._world.now_ms:
                x = table.peek(pk, items.EXECUTION)
                if x is not None and items.ENDED not in x:
                    self._world.flag(f"SPEC 8.9: {sk} of the open execution {pk} has expired")
                table.forget(key)
                del self._until[key]

    def begin(self, table: SimTable) -> None:
        """Have the sweep run every ten days, the last time once nothing else is to happen: a run must end."""
        if self._horizon is not None and not self._sweeps:
            self._sweeps = True
            self._world.at(_BETWEEN, self._sweep, table)

    def _sweep(self, table: SimTable) -> None:
        world, done, last = self._world, list[bool](), self._world.at_rest
        executions = [one[items.EXECUTION] for one in table.partitions.values() if items.EXECUTION in one]
        self._sweeps = any(items.ENDED not in x for x in executions)
        if not self._sweeps:
            return

        def sweep() -> None:
            done.append(retention.sweep(invocation.engine, lambda: math.inf).complete)

        world.invocations += 1
        invocation = world.start_invocation(f"sweep i{world.invocations}", sweep, limit=False)
        world.at(_AFTER_A_FAILURE, self._once_more, table, done, last)

    def _once_more(self, table: SimTable, done: list[bool], last: bool) -> None:
        """A sweep that was not complete is soon followed by another: the product sweeps every six hours."""
        self._sweeps = done != [True] or not last
        if self._sweeps:
            self._world.at(_BETWEEN - _AFTER_A_FAILURE if done == [True] else 0.0, self._sweep, table)
