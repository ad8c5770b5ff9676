"""A pool of threads that do not keep the process from ending.

`ThreadPoolExecutor` joins its threads before the interpreter runs any exit handler: a step that hangs, or just takes
long, would hold up Ctrl-C. These are daemons; whoever needs their work to be done waits for that.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class DaemonThreads:
    """Up to `limit` threads, made when needed."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit, self._name = limit, name
        self._work: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._made = self._idle = 0  # idle: those that wait, less the calls that wait for one

    def submit(self, call: Callable[[], object]) -> None:
        """Have `call` made as soon as a thread is free."""
        with self._lock:
            make = self._idle <= 0 and self._made < self._limit
            number = self._made = self._made + make
            self._idle -= not make
        self._work.put(call)
        if make:
            threading.Thread(target=self._run, name=f"{self._name}-{number}", daemon=True).start()

    def close(self) -> None:
        """Let each thread end after what was submitted. Nothing may be submitted any more."""
        with self._lock:
            made = self._made
        for _ in range(made):
            self._work.put(None)

    def _run(self) -> None:
        while (call := self._work.get()) is not None:
            call()
            with self._lock:
                self._idle += 1
