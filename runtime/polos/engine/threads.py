"""How an invocation does two things at once, and waits: on real threads, unless the engine was given something else.

The engine's callables (`engine/callables.py`) are the other place where threads are made. With both replaced, a whole
invocation runs on one thread, in an order that the caller decides: that is how the protocol is simulated.
"""

from __future__ import annotations

import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Protocol

Call = Callable[[], None]


class Mailbox(Protocol):
    """Calls for one thread from any others, in the order in which they came."""

    def put(self, item: Call, /) -> None: ...

    def get(self, *, timeout: float | None = None) -> Call:
        """Wait for the next one, at most `timeout` seconds (None: without end). Raises `queue.Empty`."""
        ...

    def get_nowait(self) -> Call:
        """Raises `queue.Empty`."""
        ...


class Signal(Protocol):
    """Something that happens once."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, at most `timeout` seconds. Whether it has happened."""
        ...


class Threads:
    """Real threads."""

    def mailbox(self) -> Mailbox:
        return queue.SimpleQueue[Call]()

    def signal(self) -> Signal:
        return threading.Event()

    def start(self, name: str, run: Call) -> Call:
        """Have `run` called on a thread of its own, which does not keep the process from ending.

        Returns a call that waits for its end. It must not be made on that thread.
        """
        context = contextvars.copy_context()  # what it logs is about the same execution
        thread = threading.Thread(target=context.run, args=(run,), name=name, daemon=True)
        thread.start()
        return thread.join
