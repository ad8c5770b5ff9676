"""What every part of the engine shares for one backend: adapters, ledger, vault, callables, and who is active here."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Mapping
from datetime import timedelta
from typing import Any, Final

from polos.core.conditions import Value
from polos.engine.callables import Callables
from polos.engine.commands import millis, moment, wake
from polos.engine.controls import Controls
from polos.engine.ledger import Ledger
from polos.engine.stored import Stored
from polos.engine.threads import Threads
from polos.engine.vault import Vault
from polos.ports import Backend, Outgoing
from polos.workflow import Workflow, get_all_workflows

QUEUE_DELAY: Final = 900.0  # seconds; Amazon SQS: a message timer is at most 15 minutes
EARLY: Final = timedelta(minutes=2)  # EventBridge Scheduler fires up to a minute late


class Engine:
    """The runtime on one backend. Thread-safe; lives as long as the process.

    `workflows` returns the workflows that this process has code for. An owner says with `enter` how it is told (`poke`)
    that a mark came, so that one of the same process reaches it at once instead of at its next heartbeat.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        callables: Callables | None = None,
        threads: Threads | None = None,
        workflows: Callable[[], Mapping[str, Workflow[Any, Any]]] = get_all_workflows,
        deployment_id: str = "default",
    ) -> None:
        self.backend = backend
        self.table = backend.table
        self.clock = backend.clock
        self.limits = backend.limits
        self.telemetry = backend.telemetry
        self.ledger = Ledger(backend.table)
        self.controls = Controls(self)
        self.vault = Vault(backend.payloads, backend.limits, backend.codec)
        self.callables = callables or Callables()
        self.threads = threads or Threads()
        self.workflows = workflows
        self.deployment_id = deployment_id
        self._active: dict[str, Callable[[], None]] = {}
        self._listeners: dict[str, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def now(self) -> int:
        """Milliseconds since 1970."""
        return millis(self.clock.now())

    def arm(self, execution_id: str, workflow_id: str, due: int, name: str) -> None:
        """Wake an execution at `due`. Repeatable; 1 request.

        Up to 15 minutes a delayed message; beyond, a timer armed two minutes early (EventBridge Scheduler's precision
        is a minute), whose message then waits out the rest in the queue.
        """
        body = wake(execution_id, workflow_id, due=due)
        delay = (due - self.now()) / 1000
        if delay <= QUEUE_DELAY:
            self.backend.inbox.send([Outgoing(body, max(0.0, delay))])
        else:
            self.backend.timers.schedule(f"{execution_id}#{name}#{due}", moment(due) - EARLY, body)

    def wake(self, execution_id: str, workflow_id: str, *, delay: float = 0.0) -> None:
        """Tell an execution that it may be able to move. 1 request."""
        self.backend.inbox.send([Outgoing(wake(execution_id, workflow_id), delay)])

    def stash(self, text: str, execution_id: str, what: str) -> Stored:
        return self.vault.stash(text, owner=execution_id, what=what)

    def attributes(self, text: str, execution_id: str, what: str) -> dict[str, Value]:
        """A value as attributes of a record."""
        return self.stash(text, execution_id, what).attributes()

    def enter(self, execution_id: str, poke: Callable[[], None]) -> None:
        with self._lock:
            self._active[execution_id] = poke

    def leave(self, execution_id: str, poke: Callable[[], None]) -> None:
        """Only one's own notice: the next owner may have entered already."""
        with self._lock:
            if self._active.get(execution_id) == poke:
                del self._active[execution_id]

    def poke(self, execution_id: str) -> None:
        """Tell the owner, if it is in this process, that something came."""
        with self._lock:
            poke = self._active.get(execution_id)
        if poke is not None:
            poke()

    def poke_all(self) -> None:
        """Have every turn of this process look again."""
        with self._lock:
            pokes = list(self._active.values())
        for poke in pokes:
            poke()

    @contextlib.contextmanager
    def told_of_end(self, execution_id: str, tell: Callable[[], None]) -> Generator[None]:
        """Have `tell` called, from any thread, when the execution ends in this process."""
        with self._lock:
            self._listeners.setdefault(execution_id, []).append(tell)
        try:
            yield
        finally:
            with self._lock:
                left = self._listeners[execution_id]
                left.remove(tell)
                if not left:
                    del self._listeners[execution_id]

    def tell_end(self, execution_id: str) -> None:
        with self._lock:
            listeners = list(self._listeners.get(execution_id, ()))
        for tell in listeners:
            tell()
