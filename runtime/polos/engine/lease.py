"""The lease that an invocation holds on an execution, and the heartbeat that keeps it (L13).

An owner measures its lease by its own monotonic clock, from the moment at which the claim or renewal was SENT, and
sends nothing in the last 5 seconds of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from polos.core import items
from polos.core.conditions import Item
from polos.engine.commands import millis
from polos.engine.ledger import Holder, Ledger
from polos.engine.threads import Threads
from polos.ports import Backend, ConditionFailed, Message


class Lost(Exception):
    """The lease is not ours, or we can't know: stop, and do not acknowledge the message."""


class Reload(Exception):
    """Others have written something: read the records again and replay from the start."""


class Lease:
    """`check()` before every request and every call of user code. `poke` is called when the turn should look again."""

    def __init__(
        self, backend: Backend, ledger: Ledger, threads: Threads, holder: Holder, message: Message, sent: float
    ) -> None:
        self.holder = holder
        self._backend, self._ledger, self._threads, self._message = backend, ledger, threads, message
        self._end = sent + backend.limits.lease
        self._lost = False
        self._stopped = threads.signal()
        self._join: Callable[[], None] | None = None
        self.poke: Callable[[], None] = lambda: None
        self.on_renewed: Callable[[Item], None] = lambda _: None

    def check(self) -> None:
        """Raises `Lost` if the lease is gone or about to end."""
        if self.lost:
            raise Lost(self.holder.execution_id)

    @property
    def lost(self) -> bool:
        return self._lost or self._backend.clock.monotonic() > self._end - self._backend.limits.margin

    def lose(self) -> None:
        self._lost = True

    def keep(self) -> None:
        """Start the heartbeat; `release` ends it."""
        self._join = self._threads.start(f"polos-heartbeat-{self.holder.token}", self._beat)

    def release(self) -> None:
        """Stop the heartbeat and wait until it has ended: nothing of this invocation may act after it."""
        self._lost = True
        self._stopped.set()
        if self._join is not None:
            self._join()

    def _beat(self) -> None:
        while not self._stopped.wait(self._backend.limits.renew):
            if not self.renew():
                return

    def renew(self) -> bool:
        """One renewal. False: the lease is lost."""
        clock, limits = self._backend.clock, self._backend.limits
        if self.lost:
            self._give_up()
            return False
        sent = clock.monotonic()
        try:
            item = self._ledger.renew(self.holder, millis(clock.now()) + int(limits.lease * 1000))
        except ConditionFailed as failed:
            if failed.item is not None and failed.item.get(items.LEASE_TOKEN) == self.holder.token:
                return True  # one's own, and longer than this: the clock went back, or the reply was lost
            self._give_up()
            return False
        except Exception:  # noqa: BLE001 - a throttled renewal is tried again at the next beat; `check` guards the end
            return True
        self._end = sent + limits.lease
        if not self._stopped.is_set():
            with contextlib.suppress(Exception):  # only the moment of a redelivery depends on it
                self._message.extend(limits.lease)
        self.on_renewed(item)
        return True

    def _give_up(self) -> None:
        self._lost = True
        self.poke()


def wake_count(item: Item) -> int:
    return items.number(item, items.WAKE)
