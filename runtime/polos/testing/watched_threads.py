"""Real threads that tell which invocation stands still because user code runs."""

from __future__ import annotations

import queue
import threading

from polos.clock import SystemClock
from polos.engine.threads import Call, Mailbox, Threads

_clock = SystemClock()


class WatchedThreads(Threads):
    """Knows since when each thread waits in its mailbox, as a turn does for its steps and its body's own waits."""

    def __init__(self) -> None:
        self._since: dict[int, float] = {}

    def mailbox(self) -> Mailbox:
        return _WatchedMailbox(self._since)

    def waits(self, thread: int | None, seconds: float) -> bool:
        """Whether a thread (by its `ident`) has waited for so long, in real time."""
        since = None if thread is None else self._since.get(thread)
        return since is not None and _clock.monotonic() - since >= seconds


class _WatchedMailbox:
    def __init__(self, since: dict[int, float]) -> None:
        self._calls, self._since = queue.SimpleQueue[Call](), since

    def put(self, item: Call, /) -> None:
        self._calls.put(item)

    def get(self, *, timeout: float | None = None) -> Call:
        thread = threading.get_ident()
        self._since[thread] = _clock.monotonic()
        try:
            return self._calls.get(timeout=timeout)
        finally:
            del self._since[thread]

    def get_nowait(self) -> Call:
        return self._calls.get_nowait()
