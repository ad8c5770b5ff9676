"""The faults of the law tests, on the wire between invocations and their backend (`polos.testing.wire` has the names).

Only requests that invocations make are seen, never those of the test's own client. Faults strike at a request: the
process dies before or after it (`crash`), it stays on the wire until released (`block`), or something else happens
first (`meanwhile`). Every fault says whether it was reached: assert it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from collections.abc import Callable
from typing import TypeVar

from polos.testing.harness import Crash
from polos.testing.wire import Request

T = TypeVar("T")

_INVOCATION = ("polos-invocation", "polos-record", "polos-heartbeat", "law")
PATIENCE = 20.0


def in_heartbeat() -> bool:
    """Whether the calling thread is one that renews a lease, and not one that runs the turn."""
    return threading.current_thread().name.startswith("polos-heartbeat")


def _always() -> bool:
    return True


@dataclasses.dataclass(eq=False)
class Fault:
    """Something that happens at the `nth` request whose line matches. `hit` is that line, once it has happened.

    Requests are not counted where `only`, which is asked on the thread that makes them, says no.
    """

    pattern: re.Pattern[str]
    nth: int
    after: bool
    act: Callable[[], None]
    seen: int = 0
    hit: str | None = None
    only: Callable[[], bool] = _always

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

    def meanwhile(
        self,
        at: str,
        do: Callable[[], object],
        *,
        nth: int = 1,
        after: bool = False,
        only: Callable[[], bool] = _always,
    ) -> Fault:
        """`do` happens before (or after) the nth matching request, while its invocation stands still."""
        return self._add(Fault(re.compile(at), nth, after, lambda: do() and None, only=only))

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def quiet(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()

    def __call__(self, request: Request, act: Callable[[], T], /) -> T:
        line = request.line
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
