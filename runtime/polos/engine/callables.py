"""Where step callables run: async ones on one loop that lives as long as the process, sync ones in threads.

A client or connection pool that a step opened works in the next invocation too. Knows nothing of records.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polos.engine.daemons import DaemonThreads

_log = logging.getLogger("polos.engine")

THREADS = 64


class AttemptTimeout(Exception):
    """One attempt of a step ran longer than its `timeout` (seconds)."""

    def __init__(self, timeout: float) -> None:
        super().__init__(f"the attempt took longer than {timeout:g} s")


class AttemptCancelled(BaseException):
    """The attempt was cancelled by the turn; it leaves no record."""


@dataclass(eq=False)
class Running:
    """One call under way. `cancel` cancels an async callable; a thread is abandoned. `ended` is called once."""

    cancel: Callable[[], None]


class Callables:
    """Starts calls and reports their end, from any thread, to a callback that must not block long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = DaemonThreads(THREADS, "polos-step")
        self._records = DaemonThreads(8, "polos-record")

    def close(self) -> None:
        """Let idle threads end; the loop stays, on which clients of the application may live. Nothing starts here now.

        The late result of a step that was abandoned is dropped.
        """
        self._threads.close()
        self._records.close()

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of async callables; started on first use, on a daemon thread."""
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=_run_for_ever, args=(loop,), name="polos-steps", daemon=True).start()
                self._loop = loop
            return self._loop

    def start(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        context: contextvars.Context,
        timeout: float | None,
        ended: Callable[[Any, BaseException | None], None],
    ) -> Running:
        """Call `func` in `context`; `ended(value, error)` follows exactly once, on a thread where it may block.

        `error` is `AttemptTimeout` after `timeout` seconds, `AttemptCancelled` after `cancel()`.
        """
        call = functools.partial(func, *args, **kwargs)
        once = _Once(lambda value, error: self._records.submit(lambda: ended(value, error)))
        if is_async(func):
            return self._start_async(call, context, timeout, once)
        leave = self._threads.submit(lambda: context.run(self._call_sync, call, once, context, timeout))

        def abandon(error: BaseException) -> None:
            once(None, error)
            leave()  # it may hang for as long as the process lives: others need its place

        if timeout is not None:
            limit = AttemptTimeout(timeout)
            self.later(timeout, lambda: abandon(limit))

        return Running(lambda: abandon(AttemptCancelled()))

    def _call_sync(
        self, call: Callable[[], Any], once: _Once, context: contextvars.Context, timeout: float | None
    ) -> None:
        if once.done:
            return  # cancelled, or timed out, before a thread was free
        try:
            value = call()
            follows = inspect.isawaitable(value)  # a plain callable that returns a coroutine: functools.partial, ...
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is the outcome of the attempt
            once(None, error)
            return
        if follows:
            self._start_async(lambda: value, context.copy(), timeout, once)
        else:
            once(value, None)

    def _start_async(
        self, call: Callable[[], Any], context: contextvars.Context, timeout: float | None, once: _Once
    ) -> Running:
        loop = self.loop()
        tasks: list[asyncio.Task[Any]] = []
        cancelled = threading.Event()

        async def main() -> None:
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    value = await call()
            except TimeoutError as error:
                once(None, AttemptTimeout(timeout or 0) if limit.expired() else error)
            except asyncio.CancelledError as error:
                once(None, AttemptCancelled() if cancelled.is_set() else error)
            except BaseException as error:  # noqa: BLE001 - whatever user code raises is the outcome of the attempt
                once(None, error)
            else:
                once(value, None)

        def begin() -> None:
            if cancelled.is_set():
                once(None, AttemptCancelled())
            else:
                tasks.append(loop.create_task(main(), context=context))

        def cancel() -> None:
            cancelled.set()
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])

        loop.call_soon_threadsafe(begin)
        return Running(cancel)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something that does not block, after a real delay."""
        loop = self.loop()
        loop.call_soon_threadsafe(lambda: loop.call_later(seconds, call))


class _Once:
    """Passes on the first report and drops the others (the late result of an abandoned thread)."""

    def __init__(self, report: Callable[[Any, BaseException | None], object]) -> None:
        self._report, self._lock, self._done = report, threading.Lock(), False

    @property
    def done(self) -> bool:
        return self._done

    def __call__(self, value: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
        self._report(value, error)


def _run_for_ever(loop: asyncio.AbstractEventLoop) -> None:
    """A task of user code that raises `SystemExit` or `KeyboardInterrupt` stops the loop, on which others still run."""
    while True:
        try:
            loop.run_forever()
        except BaseException:  # noqa: BLE001 - whoever awaits that task gets it; nobody may end this thread
            _log.exception("a task of a step left the loop of the steps, which goes on")


def is_async(func: Callable[..., Any]) -> bool:
    """Whether calling it makes a coroutine, as far as can be told before."""
    inner: Any = func
    while isinstance(inner, functools.partial):
        inner = inner.func
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(type(inner).__call__)
