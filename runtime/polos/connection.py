"""Opening a backend: which one a client uses, calls to it, and, for the embedded one, the worker in this process."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from polos.clock import SystemClock
from polos.engine.engine import Engine
from polos.errors import UsageError

T = TypeVar("T")
DEFAULT_PATH = ".polos/local.db"
DEFAULT_CONCURRENCY = 32
_AT_EXIT = 1.0  # seconds that the turns under way have to hand over when the process ends without closing
_TABLE = "POLOS_TABLE"  # set in every function of a stack


class Connection:
    """One backend, opened at the first use. Safe to use from several threads.

    An `engine` that is given is used as it is, and not closed.
    """

    def __init__(
        self,
        stack: str | None,
        region: str | None,
        local: str | Path | None,
        *,
        deployment_id: str | None,
        concurrency: int | None,
        engine: Engine | None,
    ) -> None:
        if stack is not None and local is not None:
            raise UsageError("stack= and local= exclude each other: give one of them.")
        self._stack = stack or (None if local is not None else os.environ.get("POLOS_STACK"))
        chosen_local = local is not None or "POLOS_LOCAL_DB" in os.environ
        self._in_stack = self._stack is None and not chosen_local and _TABLE in os.environ
        self._region = region
        self._deployment_id = deployment_id or os.environ.get("POLOS_DEPLOYMENT_ID") or "default"
        self._local_path = str(local or os.environ.get("POLOS_LOCAL_DB") or DEFAULT_PATH)
        self._concurrency = _checked(DEFAULT_CONCURRENCY if concurrency is None else concurrency)
        self._lock = threading.RLock()
        self._engine = engine
        self._worker: Any = None
        self._local: Any = None

    def limit_turns(self, most: int) -> None:
        """How many turns the local worker runs at once. Raises `UsageError` once it has been started."""
        with self._lock:
            if self._worker is not None:
                raise UsageError("max_concurrent_workflows has to be given before the client is first used.")
            self._concurrency = _checked(most)

    def open(self, everything: bool = False) -> Engine:
        """The engine. With `everything` the local worker also takes up what other processes left."""
        with self._lock:
            if self._engine is None and (self._stack is not None or self._in_stack):
                self._engine = self._open_aws()
            elif self._engine is None:
                self._engine = self._open_local(own_only=not everything)
            elif everything and self._worker is not None:
                self._worker.take_all()
            return self._engine

    def now(self) -> datetime:
        """The time, by the clock of the backend; that is the machine's where none is open yet."""
        clock = SystemClock() if self._engine is None else self._engine.clock
        return clock.now()

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run blocking code in a thread, also while the event loop shuts down."""
        context = contextvars.copy_context()  # an active span is the caller's there, too
        call = functools.partial(context.run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(None, call)

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run blocking code in a thread, with the engine before its arguments."""

        def call() -> T:
            return function(self.open(), *args, **kwargs)

        return await self.call(call)

    def _open_aws(self) -> Engine:
        from polos.aws.backend import aws_backend
        from polos.aws.settings import Settings

        stack = self._stack
        settings = Settings.from_environment() if stack is None else Settings.from_stack(stack, self._region)
        return Engine(aws_backend(settings), deployment_id=self._deployment_id)

    def _open_local(self, *, own_only: bool) -> Engine:
        from polos.local.backend import local_backend
        from polos.local.worker import LocalWorker

        self._local = local_backend(self._local_path)
        engine = Engine(self._local.backend, deployment_id=self._deployment_id)
        self._worker = LocalWorker(self._local, engine, own_only=own_only, concurrency=self._concurrency)
        self._worker.start()
        atexit.register(self._close_at_exit)
        return engine

    def _close_at_exit(self) -> None:
        self.close(_AT_EXIT)

    def close(self, timeout: float | None = None) -> None:
        """Stop the worker, which waits at most `timeout` seconds for its turns to hand over, and close the database."""
        with self._lock:
            worker, local, engine = self._worker, self._local, self._engine
            self._worker = self._local = None
            if local is not None:
                self._engine = None
        atexit.unregister(self._close_at_exit)
        if worker is not None:
            worker.stop(timeout)
        if local is not None:
            if engine is not None:
                engine.callables.close()
            local.close()


def _checked(concurrency: object) -> int:
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise UsageError(f"max_concurrent_workflows must be a whole number from 1, not {concurrency!r}.")
    return concurrency
