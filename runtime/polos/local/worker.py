"""The worker of the embedded backend: takes due messages and hands them to the engine, in threads of this process.

It sleeps until something is sent or due; with a file it looks at it once a second, for what other processes did.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable

from polos.engine import native, schedules
from polos.engine.commands import millis
from polos.engine.daemons import DaemonThreads
from polos.engine.engine import Engine
from polos.engine.worker import Worker, no_limit
from polos.errors import InvalidPayloadError
from polos.local.backend import LocalBackend
from polos.local.inbox import Received

_log = logging.getLogger("polos.local")
_LOOK_AT_FILE = 1.0
_EXPIRE_EVERY_MS = 3_600_000
_GRACE = 3.0


class LocalWorker:
    """Runs on threads of its own from `start` to `stop`.

    With `own_only` it takes only what this process has sent; otherwise also what others, dead ones included, left.
    """

    def __init__(self, local: LocalBackend, engine: Engine, *, own_only: bool, concurrency: int = 32) -> None:
        self._local, self._engine, self._own_only = local, engine, own_only
        self._worker = Worker(engine)
        self._slots, self._concurrency = threading.Semaphore(concurrency), concurrency
        self._pool = DaemonThreads(concurrency, "polos-turn")
        self._stopping = threading.Event()
        self._ends_at: float | None = None
        self._thread = threading.Thread(target=self._loop, name="polos-worker", daemon=True)
        self._expired_at = 0

    def start(self) -> None:
        if not self._own_only:
            self._declare()
        self._thread.start()

    def _declare(self) -> None:
        """Make schedules, triggers and rules what the code declares."""
        workflows = self._engine.workflows().values()
        known = self._engine.workflows().keys()
        schedules.reconcile(self._local.recurrences, schedules.declared(workflows), known)
        native.reconcile(self._engine.backend.default_bus, native.declared(workflows), known)
        self._local.inbox.declare_triggers({one.id: one.trigger for one in workflows if one.trigger is not None})

    def take_all(self) -> None:
        """From now on also take what other processes left, and fire schedules."""
        if self._own_only:
            self._own_only = False
            self._declare()
            self._local.inbox.changed.set()

    def stop(self, timeout: float | None = None) -> None:
        """Take no more messages and have the turns under way hand over; steps that take longer than 3 s are cut off.

        Waits until they have, or at most `timeout` seconds, of which steps get half. A turn that has not handed over
        when the process ends counts as dead.
        """
        now = self._engine.clock.monotonic
        grace = _GRACE if timeout is None else min(_GRACE, timeout / 2)
        give_up = None if timeout is None else now() + timeout
        self._ends_at = now() + self._engine.limits.cancel_before + grace
        self._stopping.set()
        self._engine.poke_all()
        self._local.inbox.changed.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._pool.close()
        for _ in range(self._concurrency):
            if not self._slots.acquire(timeout=None if give_up is None else max(0.0, give_up - now())):
                return

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look_around()
                if not self._take_one() and not self._stopping.is_set():  # `_take_one` may have cleared its signal
                    self._sleep()
            except Exception:  # noqa: BLE001 - the worker goes on; the message comes again
                _log.exception("the worker met an error and goes on")
                self._stopping.wait(1.0)

    def _look_around(self) -> None:
        local = self._local
        for holder in local.inbox.holders():
            if local.presence.is_dead(holder):
                count = local.inbox.take_over(holder)
                _log.info("took over %d messages of a process that has ended", count)
        if self._own_only:
            return
        local.recurrences.fire_due(self._engine.workflows().keys())
        now = self._engine.now()
        if now - self._expired_at > _EXPIRE_EVERY_MS:
            self._expired_at = now
            local.table.expire(now // 1000)

    def _take_one(self) -> bool:
        self._slots.acquire()
        received = None
        try:
            self._local.inbox.changed.clear()
            if not self._stopping.is_set():
                received = self._local.inbox.receive(self._engine.workflows().keys(), own=self._own_only)
        finally:
            if received is None:
                self._slots.release()
        if received is None:
            return False
        self._pool.submit(functools.partial(self._handle, received))
        return True

    def _remaining(self) -> float | None:
        """No limit, until the worker is to stop."""
        return None if self._ends_at is None else self._ends_at - self._engine.clock.monotonic()

    def _handle(self, received: Received) -> None:
        try:
            handle(self._local, self._worker, received, self._remaining)
        except Exception:  # noqa: BLE001 - the worker goes on; the message comes again
            _log.exception("a message could not be handled; it comes again")
        finally:
            self._slots.release()
            self._local.inbox.changed.set()

    def _sleep(self) -> None:
        dues = [self._local.inbox.next_due(self._engine.workflows().keys(), own=self._own_only)]
        if not self._own_only:
            dues.append(self._local.recurrences.next_due(self._engine.workflows().keys()))
        now = millis(self._engine.clock.now())
        waits = [max(0.0, (due - now) / 1000) for due in dues if due is not None]
        if not self._local.database.in_memory:
            waits.append(_LOOK_AT_FILE)
        self._local.inbox.changed.wait(min(waits) if waits else None)


def handle(
    local: LocalBackend, worker: Worker, received: Received, remaining: Callable[[], float | None] = no_limit
) -> None:
    """Hand one message to the engine; delete it, put it back, or bury it if it can never be handled."""
    try:
        done = worker.handle(received.message, remaining)
    except InvalidPayloadError as error:
        _log.error("a message can't be handled and was put aside: %s", error)
        local.inbox.bury(received.row, str(error))
        return
    if done:
        local.inbox.delete(received.row)
    else:
        local.inbox.put_back(received.row)
