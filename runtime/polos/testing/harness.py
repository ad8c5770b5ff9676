"""What an environment drives: a backend in virtual time whose messages are handed to their handlers one by one."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Protocol

from polos.engine.engine import Engine


class VirtualClock:
    """Wall time that moves only when told; monotonic time is that plus the real time that has passed."""

    def __init__(self, start: datetime, real: Clock) -> None:
        self._now, self._start, self._real = start, start, real
        self._real_start = real.monotonic()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds() + self._real.monotonic() - self._real_start

    def real_delay(self, seconds: float) -> float:
        return 0.0

    def jump(self, to: datetime) -> None:
        """Move on to a moment; going back is not possible."""
        self._now = max(self._now, to)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class Clock(Protocol):
    def monotonic(self) -> float: ...


class Crash(BaseException):
    """Raised by a test inside an invocation: the process dies here. Its message comes again."""


class Harness(Protocol):
    """One backend under test. All calls but `engine`'s come from one thread at a time."""

    clock: VirtualClock
    engine: Engine
    requests: Counter[str]

    def take_due(self) -> Delivery | None:
        """One message that is due now, received; None: nothing is due."""
        ...

    def next_due(self) -> datetime | None:
        """When the next message, timer or tick that is not due yet will be; None: there is none."""
        ...

    def put_event(self, source: str, detail_type: str, detail: str, event_id: str | None) -> str:
        """Put a native event on the account's default bus; its id, which a test may choose."""
        ...

    def close(self) -> None: ...


class Delivery(Protocol):
    """One received message on its way through its handler."""

    def run(self) -> None:
        """Handle it, and delete it if the handler says so. Runs on any thread; may run while others do."""
        ...


EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
