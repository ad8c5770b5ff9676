"""What an environment drives: a backend in virtual time whose messages are handed to their handlers one by one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from polos.clock import SystemClock
from polos.core.conditions import Item
from polos.core.items import Key
from polos.engine.engine import Engine
from polos.engine.worker import Worker
from polos.limits import Limits
from polos.ports import Backend
from polos.testing.watched_threads import WatchedThreads
from polos.workflow import Workflow

T = TypeVar("T")


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


class Making:
    """How a harness makes what faults can get hold of. This one makes the real thing."""

    def clock(self, start: datetime) -> VirtualClock:
        return VirtualClock(start, SystemClock())

    def limits(self, limits: Limits) -> Limits:
        """The numbers of the protocol. A single clock has no skew: nothing needs to stay in process for it.

        A single process hears of every pause at once.
        """
        return replace(limits, near=0.0, event_skew=0.0, controls=math.inf)

    def engine(self, backend: Backend, workflows: Callable[[], Mapping[str, Workflow[Any, Any]]]) -> Engine:
        return Engine(backend, threads=WatchedThreads(), workflows=workflows)

    def worker(self, engine: Engine) -> Worker:
        return Worker(engine)


class Crash(BaseException):
    """Raised by a test inside an invocation: the process dies here. Its message comes again."""


@dataclass(frozen=True)
class Upcoming:
    """The next tick of a recurring schedule. `fire` sends it now; it does not come again when it is due."""

    line: str
    key: str
    due: datetime
    fire: Callable[[], None] = field(compare=False)


class Harness(Protocol):
    """One backend under test. All calls but `engine`'s come from one thread at a time."""

    clock: VirtualClock
    engine: Engine
    requests: Counter[str]

    @property
    def network(self) -> Network: ...

    def take_due(self) -> Delivery | None:
        """One message that is due now, received; None: nothing is due."""
        ...

    def next_due(self) -> datetime | None:
        """When the next message, timer or tick that is not due yet will be; None: there is none."""
        ...

    def move(self, to: datetime) -> None:
        """Move virtual time on to a moment until which nothing is due. What keeps records is done on the way."""
        ...

    def upcoming(self) -> Sequence[Upcoming]:
        """The next tick of each recurring schedule that is not paused."""
        ...

    def put_event(self, source: str, detail_type: str, detail: str, event_id: str | None) -> str:
        """Put a native event on the account's default bus; its id, which a test may choose."""
        ...

    def peek(self, key: Key) -> Item | None:
        """An item of the table, read as if nobody had: it counts as no request."""
        ...

    def close(self) -> None: ...


class Network(Protocol):
    """What lies below the ports: how a request that goes wrong reaches the caller."""

    def refuse(self, act: Callable[[], T], code: str, times: int) -> T:
        """The request is refused `times` times before it gets through."""
        ...

    def lose_reply(self, act: Callable[[], T]) -> T:
        """The request takes effect, its reply is lost, and it is sent again."""
        ...


class Delivery(Protocol):
    """One received message on its way through its handler. `line` is its name: type, and what it is about."""

    line: str

    def copy(self, resent: bool) -> Delivery:
        """The message once more: as the same one, or as one that its sender sent again."""
        ...

    def hide(self, seconds: float) -> None:
        """Put it back; it comes again after so many seconds."""
        ...

    def run(self) -> None:
        """Handle it, and delete it if the handler says so. Runs on any thread; may run while others do."""
        ...


EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
