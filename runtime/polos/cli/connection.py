"""Which backend a command talks to, and the client for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

from polos import ambient, payloads
from polos.client import Polos
from polos.connection import DEFAULT_PATH
from polos.engine.engine import Engine
from polos.engine.worker import Worker
from polos.errors import BackendError, UsageError
from polos.local.backend import LocalBackend, local_backend
from polos.local.worker import handle

_PATIENCE, _LOOK_EVERY = 1.5, 0.1


@dataclass(frozen=True, slots=True)
class Connection:
    """Either a deployed stack or a file of the embedded backend."""

    stack: str | None
    local: str

    @classmethod
    def chosen(cls, stack: str | None, local: str | None) -> Connection:
        """What the options say, or else the environment, or else the default file. Raises `UsageError`."""
        if stack and local:
            raise UsageError("--stack and --local exclude each other: give one of them.")
        if not stack and not local:
            stack = os.environ.get("POLOS_STACK") or None
        if os.environ.get(payloads.VARIABLE) and (here := str(Path.cwd())) not in sys.path:
            sys.path.insert(0, here)  # the codec is where the application is
        return cls(stack, local or os.environ.get("POLOS_LOCAL_DB") or DEFAULT_PATH)

    def needs_file(self) -> None:
        """Raise `BackendError` where nothing has ever run, instead of making an empty database."""
        if self.stack is None and not Path(self.local).expanduser().exists():
            raise BackendError(f"There is no database {self.local}: nothing has run here yet.")

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncGenerator[Polos]:
        """A client that runs nothing: what it sends is for workers."""
        if self.stack is not None:
            async with self.worker() as polos:
                yield polos
            return
        local = await asyncio.to_thread(local_backend, self.local)
        engine = Engine(local.backend)
        polos = Polos(local=self.local, engine=engine)
        try:
            yield polos
        finally:
            polos.close()
            await asyncio.to_thread(_deliver_own_events, local, engine)
            local.close()

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncGenerator[Polos]:
        """A client whose worker, on the embedded backend, runs what this process starts. It is the ambient one."""
        polos = Polos(stack=self.stack) if self.stack is not None else Polos(local=self.local)
        outer = ambient.current()
        ambient.use(polos)
        try:
            yield polos
        finally:
            ambient.use(outer)
            await asyncio.to_thread(polos.close, 1.0)


def _deliver_own_events(local: LocalBackend, engine: Engine) -> None:
    """Leave the events that this process has published to a running worker; if none takes them, deliver them here."""
    waited = 0.0
    while (due := local.inbox.next_due((), own=True)) is not None and due <= engine.now():
        if waited < _PATIENCE:
            local.inbox.changed.clear()
            local.inbox.changed.wait(_LOOK_EVERY)
            waited += _LOOK_EVERY
            continue
        received = local.inbox.receive((), own=True)
        if received is None:
            return
        handle(local, Worker(engine), received)
