"""How an environment hands messages to their handlers: on threads, one after the other as long as none stands still."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime
from typing import Final, Protocol

from polos.errors import UsageError
from polos.testing.harness import Crash, Delivery, Harness
from polos.testing.watched_threads import WatchedThreads

_GRACE: Final = 0.05
_LONGEST: Final = 20
"""Graces that an invocation gets which does not wait for user code: long enough for a busy machine."""
DELIVERIES: Final = 200_000


class Deliveries(Protocol):
    """Delivers what is due. `crashes` counts the invocations that died."""

    crashes: int

    def settle(self) -> None:
        """Deliver everything that is due now, until nothing can move without time passing."""
        ...

    def next_due(self) -> datetime | None:
        """When something moves by itself next; None: nothing ever will."""
        ...

    def close(self) -> None: ...


class ThreadedDeliveries:
    """Each invocation on a thread. One that waits for user code, in real time, lets the next begin beside it.

    One that is only slow does not: a busy machine would change the order of a test's messages.
    """

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._threads = harness.engine.threads
        self._handlers = ThreadPoolExecutor(64, thread_name_prefix="polos-invocation")
        self._in_flight: set[Future[None]] = set()
        self._changed = threading.Event()
        self.crashes = 0

    def settle(self) -> None:
        for _ in range(DELIVERIES):
            self._changed.clear()
            delivery = self._harness.take_due()
            if delivery is not None:
                self._deliver(delivery)
            elif self._in_flight:
                self._changed.wait(1.0)
                self._collect()
            else:
                return
        raise UsageError("The environment does not settle: messages go round without end.")

    def next_due(self) -> datetime | None:
        return self._harness.next_due()

    def close(self) -> None:
        self._handlers.shutdown(wait=False, cancel_futures=True)

    def _deliver(self, delivery: Delivery) -> None:
        thread: list[int] = []
        future = self._handlers.submit(self._run, delivery, thread)
        future.add_done_callback(lambda _: self._changed.set())
        self._in_flight.add(future)
        for _ in range(_LONGEST):
            wait([future], timeout=_GRACE)
            if future.done() or self._stands(thread):
                break
        self._collect()

    def _stands(self, thread: list[int]) -> bool:
        threads = self._threads
        return isinstance(threads, WatchedThreads) and bool(thread) and threads.waits(thread[0], _GRACE)

    def _run(self, delivery: Delivery, thread: list[int]) -> None:
        thread.append(threading.get_ident())
        try:
            delivery.run()
        except Crash:
            self.crashes += 1

    def _collect(self) -> None:
        done = {future for future in self._in_flight if future.done()}
        self._in_flight -= done
        for future in done:
            future.result()
