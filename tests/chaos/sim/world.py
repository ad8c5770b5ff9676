"""The world of one run: virtual time, requests with their faults, and who is alive.

Faults happen at requests: only there can anybody else tell a crash, a stall or a lost reply apart. Time jumps from one
event to the next; of several invocations the one whose next event is earliest goes on.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast

from greenlet import getcurrent

from polos.engine.engine import Engine
from polos.errors import BackendError
from polos.ports import ConditionFailed
from tests.chaos.sim import faults as fault
from tests.chaos.sim.faults import Faults
from tests.chaos.sim.strands import Invocation, Killed, Strand

if TYPE_CHECKING:
    from tests.chaos.sim.messages import Queue
    from tests.chaos.sim.observer import Observer
    from tests.chaos.sim.trace import Trace

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
START_MS: Final = int(START.timestamp() * 1000)
_TRIES: Final = 3
_MOST_EVENTS: Final = 12_000


class SimClock:
    """The Clock port: virtual time, as the invocation that asks sees it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return START + timedelta(seconds=self._world.t + cast("Strand", getcurrent()).invocation.skew)

    def monotonic(self) -> float:
        return self._world.t

    def real_delay(self, seconds: float) -> float:
        return seconds


class World:
    """One run. `make_engine` gives an invocation its engine, `make_client` an act from outside."""

    def __init__(self, seed: int, faults: Faults, trace: Trace | None) -> None:
        self.random = random.Random(seed)
        self.faults, self.trace = faults, trace
        self.t = 0.0
        self.hub = getcurrent()
        self.clock = SimClock(self)
        self.observer: Observer = cast("Observer", None)
        self.make_engine: Callable[[], Engine] = lambda: cast("Engine", None)
        self.make_client = self.make_engine
        self._heap: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0
        self.events = 0
        self.sleep_number = 0
        self._asleep: dict[int, Strand] = {}
        self.violations: list[str] = []
        self.invocations = 0
        self.requests = 0
        self.queue: Queue = cast("Queue", None)
        self.alive: set[Invocation] = set()
        self.struck_at = -math.inf

    # ---- time

    def at(self, delay: float, call: Callable[..., object], *args: Any) -> None:
        self._number += 1
        heapq.heappush(self._heap, (self.t + delay, self._number, call, args))

    def run(self, until: float | None = None) -> None:
        """Let everything happen that is due until then, or until nothing is left to happen."""
        heap = self._heap
        while heap and not self.violations:
            if until is not None and heap[0][0] > until:
                break
            self.t, _, call, args = heapq.heappop(heap)
            self.events += 1
            if self.events > _MOST_EVENTS:
                self.flag("the run does not come to rest")
                return
            call(*args)
        if until is not None and not self.violations:
            self.t = max(self.t, until)

    @property
    def at_rest(self) -> bool:
        """Whether nothing is left to happen."""
        return not self._heap

    @property
    def now_ms(self) -> int:
        """The true time in the form of records."""
        return START_MS + int(self.t * 1000)

    def flag(self, what: str) -> None:
        """Note that a law was broken."""
        if len(self.violations) < 5:
            self.violations.append(what)
            if self.trace is not None:
                self.trace.line(f"*** {what}")

    def draw_skew(self) -> float:
        skew = self.faults.skew
        return self.random.uniform(-skew, skew) if skew else 0.0

    # ---- strands

    def spawn(self, invocation: Invocation, run: Callable[[], object], delay: float = 0.0) -> None:
        if not invocation.dead:
            self.at(delay, self._begin, invocation, run)

    def _begin(self, invocation: Invocation, run: Callable[[], object]) -> None:
        if invocation.dead:
            return
        if invocation.frozen > self.t:
            self.at(invocation.frozen - self.t, self._begin, invocation, run)
            return
        Strand(invocation, run).switch()

    def sleep(self, strand: Strand, timeout: float | None) -> None:
        """Have the calling strand wait until it is woken, or for so many seconds."""
        self.sleep_number = number = self.sleep_number + 1
        self._asleep[number] = strand
        if timeout is not None:
            self.at(timeout, self._rouse, number)
        self.hub.switch()

    def wake(self, strand: Strand, number: int) -> None:
        if number in self._asleep:
            self.at(0.0, self._rouse, number)

    def _rouse(self, number: int) -> None:
        strand = self._asleep.get(number)
        if strand is None or strand.invocation.dead:
            return
        if strand.invocation.frozen > self.t:
            self.at(strand.invocation.frozen - self.t, self._rouse, number)
            return
        del self._asleep[number]
        strand.switch()

    def kill(self, invocation: Invocation) -> None:
        """The process is gone. What its strands do while they unwind has no effect."""
        if invocation.dead:
            return
        invocation.dead = True
        self.observer.died(invocation)
        self.alive.discard(invocation)
        for strand in list(invocation.strands):
            strand.throw(Killed)

    def raised(self, invocation: Invocation, error: Exception) -> None:
        if not isinstance(error, BackendError):
            self.flag(f"a handler raised {type(error).__name__}: {error}")
            if self.trace is not None:
                self.trace.error(error)

    # ---- requests

    def request(self, name: str, about: str, effect: Callable[[], Any]) -> Any:
        """One request of the calling invocation to a port. Raises what the effect raises, and `BackendError`."""
        strand = cast("Strand", getcurrent())
        invocation = strand.invocation
        if invocation.dead:
            raise Killed
        self.requests += 1
        struck = self.faults.draw(name)
        delay = -self.faults.latency * log(self.random.random())
        if struck is None:
            arrives = self.t + delay
            if not self._heap or self._heap[0][0] > arrives:
                self.t = arrives
                return effect() if self.trace is None else self.trace.request(self, invocation, name, about, effect)
            self.at(delay, self._land, strand, name, about, effect, None, 0)
        else:
            self._strike(strand, name, about, effect, struck, delay)
        value, error = self.hub.switch()
        if error is not None:
            raise error
        return value

    def _strike(
        self, strand: Strand, name: str, about: str, effect: Callable[[], Any], struck: str, delay: float
    ) -> None:
        invocation = strand.invocation
        self._late(invocation, name, struck, self.t)
        if self.trace is not None:
            self.trace.line(f"{invocation.name} {struck}: {name} {about}", fault=True)
        match struck:
            case fault.CRASH_BEFORE:
                self.at(0.0, self.kill, invocation)
                return
            case fault.STALL_BEFORE:
                delay = self.random.uniform(20, 120)
                invocation.frozen = self.t + delay
            case fault.LINGERS:
                delay = self.random.choice((0.3, 3.0, 24.0)) * (0.2 + self.random.random())
            case _:
                pass
        self.at(delay, self._land, strand, name, about, effect, struck, 0)

    def _land(
        self, strand: Strand, name: str, about: str, effect: Callable[[], Any], struck: str | None, tries: int
    ) -> None:
        invocation = strand.invocation
        if struck is not None:
            self._late(invocation, name, struck, self.t)
        if invocation.dead:
            return
        value: Any = None
        error: Exception | None = None
        if struck not in (fault.LOST_REQUEST, fault.THROTTLED):
            value, error = self._apply(invocation, name, about, effect)
        match struck:
            case fault.LATE_COPY:
                gap = self.random.choice((0.5, 10.0, 45.0)) * self.random.random()
                self.at(gap, self._apply, invocation, name, f"{about} (late copy)", effect)
            case fault.CRASH_AFTER:
                self.kill(invocation)
                return
            case fault.LOST_REPLY | fault.LOST_REQUEST | fault.THROTTLED:
                if tries + 1 >= _TRIES and (struck != fault.LOST_REPLY or self.random.random() < 0.3):
                    error = BackendError(f"the request {name} failed")
                elif tries + 1 < _TRIES:
                    again = None if struck == fault.LOST_REPLY else struck
                    if struck == fault.LOST_REQUEST and self.random.random() < 0.6:
                        again = None
                    self.at(self.random.uniform(0.2, 2), self._land, strand, name, about, effect, again, tries + 1)
                    return
            case fault.STALL_AFTER:
                invocation.frozen = self.t + self.random.uniform(20, 120)
            case _:
                pass
        self._reply(strand, value, error)

    def _late(self, invocation: Invocation, name: str, struck: str, until: float) -> None:
        """Note for how long a fault may have kept an invocation; and all, who go by what another one reads."""
        invocation.struck_at = until
        if struck in fault.STOPS or name == "read paused":
            self.struck_at = until

    def _apply(
        self, invocation: Invocation, name: str, about: str, effect: Callable[[], Any]
    ) -> tuple[Any, Exception | None]:
        try:
            if self.trace is not None:
                return self.trace.request(self, invocation, name, about, effect), None
            return effect(), None
        except (ConditionFailed, KeyError) as error:
            return None, error

    def _reply(self, strand: Strand, value: Any, error: Exception | None) -> None:
        if strand.invocation.dead:
            return
        if strand.invocation.frozen > self.t:
            self._late(strand.invocation, "", fault.STALL_AFTER, strand.invocation.frozen)
            self.at(strand.invocation.frozen - self.t, self._reply, strand, value, error)
            return
        strand.switch((value, error))

    # ---- invocations

    def start_invocation(self, name: str, run: Callable[[], object], *, limit: bool = True) -> Invocation:
        seconds = self.faults.limit if limit else None
        invocation = Invocation(self, name, self.make_engine() if limit else self.make_client(), seconds)
        self.alive.add(invocation)
        if seconds is not None and seconds < 100:
            self.at(seconds, self._out_of_time, invocation)
        self.at(0.0, self._begin, invocation, lambda: self._whole(invocation, run))
        return invocation

    def _whole(self, invocation: Invocation, run: Callable[[], object]) -> None:
        try:
            run()
        finally:
            if not invocation.dead:
                self.observer.ended(invocation)
                self.alive.discard(invocation)

    def _out_of_time(self, invocation: Invocation) -> None:
        if invocation in self.alive:
            if self.trace is not None:
                self.trace.line(f"{invocation.name} is killed at its time limit", fault=True)
            self.kill(invocation)


def log(x: float) -> float:
    """Of a number drawn from [0, 1)."""
    return math.log(x) if x > 0.0 else -20.0
