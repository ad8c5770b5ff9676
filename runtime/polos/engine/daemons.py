"""A pool of threads that do not keep the process from ending.

`ThreadPoolExecutor` joins its threads before the interpreter runs any exit handler: a step that hangs, or just takes
long, would hold up Ctrl-C. These are daemons; whoever needs their work to be done waits for that.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

_log = logging.getLogger("polos.engine")


@dataclass(eq=False, slots=True)
class _Job:
    call: Callable[[], object]
    runs: bool = False
    abandoned: bool = False


class DaemonThreads:
    """Threads, made when needed, of which up to `limit` work at once. Those that were abandoned do not count."""

    def __init__(self, limit: int, name: str) -> None:
        self._limit, self._name = limit, name
        self._work: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._made = self._idle = 0  # idle: those that wait, less the calls that wait for one
        self._number = 0

    def submit(self, call: Callable[[], object]) -> Callable[[], None]:
        """Have `call` made as soon as a thread is free.

        What is returned gives the call up: the thread that makes it leaves its place to another, and ends when the call
        does. A call that is still to come is made all the same.
        """
        job = _Job(call)
        with self._lock:
            if self._idle <= 0 and self._made < self._limit:
                self._make()
            self._idle -= 1
            self._work.put(job)
        return lambda: self._abandon(job)

    def close(self) -> None:
        """Let each thread end after what was submitted. Nothing may be submitted any more."""
        with self._lock:
            made = self._made
        for _ in range(made):
            self._work.put(None)

    def _make(self) -> None:
        """With the lock held: one thread more."""
        self._number += 1
        threading.Thread(target=self._run, name=f"{self._name}-{self._number}", daemon=True).start()
        self._made += 1
        self._idle += 1

    def _abandon(self, job: _Job) -> None:
        with self._lock:
            if not job.runs or job.abandoned:
                return
            job.abandoned = True
            self._made -= 1
            if self._idle < 0:
                self._make()

    def _run(self) -> None:
        while (job := self._work.get()) is not None:
            with self._lock:
                job.runs = True
            try:
                job.call()
            except BaseException:  # noqa: BLE001 - whoever submitted it is not here; the next call is another's
                _log.exception("a call on the thread %s failed", threading.current_thread().name)
            with self._lock:
                if job.abandoned:
                    return
                job.runs = False
                self._idle += 1
