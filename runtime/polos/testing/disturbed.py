"""The deliveries of an environment with faults: one invocation at a time, in an order that repeats itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from polos.engine.engine import Engine
from polos.engine.worker import Worker
from polos.errors import BackendError, UsageError
from polos.limits import Limits
from polos.ports import Backend
from polos.testing.deliveries import DELIVERIES
from polos.testing.faults import Delay, Duplicate, Fault, Faults, Reorder, Skew
from polos.testing.harness import Delivery, Harness, Making, Upcoming, VirtualClock
from polos.testing.serial import Frozen, Process, SeenClock, Serial, SerialThreads, Strand
from polos.testing.serial_callables import SerialCallables
from polos.testing.striking import Striker
from polos.testing.wire import WatchedWorker, watched
from polos.workflow import Workflow


class Disturbance(Making):
    """Makes the parts of a harness so that faults can strike, and every run with the same faults is the same."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults

    def clock(self, start: datetime) -> VirtualClock:
        clock = VirtualClock(start, Frozen())
        self.serial = Serial(clock)
        self.striker = Striker(self.faults, self.serial)
        self.callables = SerialCallables(self.serial, self.striker.at_step)
        return clock

    def limits(self, limits: Limits) -> Limits:
        return replace(limits, controls=math.inf) if self.faults.skews else super().limits(limits)

    def engine(self, backend: Backend, workflows: Callable[[], Mapping[str, Workflow[Any, Any]]]) -> Engine:
        seen = SeenClock(self.serial.clock, self.serial.skew)
        threads = SerialThreads(self.serial, self.callables.work)
        return Engine(
            watched(backend, self.striker, seen), callables=self.callables, threads=threads, workflows=workflows
        )

    def worker(self, engine: Engine) -> Worker:
        return WatchedWorker(engine, self.striker)


class DisturbedDeliveries:
    """Delivers what is due as the faults say."""

    def __init__(self, harness: Harness, disturbance: Disturbance) -> None:
        self._harness = harness
        self._serial, self._striker = disturbance.serial, disturbance.striker
        self._callables = disturbance.callables
        self._striker.network, self._striker.look = harness.network, harness.peek
        self._copies: list[tuple[datetime, Delivery]] = []
        self._held: list[tuple[Delivery, list[Fault]]] = []
        self._begun = 0
        self.crashes = 0

    def settle(self) -> None:
        for _ in range(DELIVERIES):
            moved = self._move()
            if self._striker.failed is not None:
                error, self._striker.failed = self._striker.failed, None
                raise error
            if not moved:
                return
        raise UsageError("The environment does not settle: messages go round without end.")

    def next_due(self) -> datetime | None:
        dues = [self._harness.next_due(), self._serial.next_due(), *(at for at, _ in self._copies), self._early_tick()]
        return min((due for due in dues if due is not None), default=None)

    def _early_tick(self) -> datetime | None:
        """When the next tick comes that comes too early."""
        return min((at for at, _ in self._early_ticks()), default=None)

    def _early_ticks(self) -> list[tuple[datetime, Upcoming]]:
        if not self._striker.fires_early:
            return []
        now = self._harness.clock.now()
        leads = [(tick, self._striker.at_tick(tick)) for tick in self._harness.upcoming()]
        return [(max(now, tick.due - timedelta(seconds=lead)), tick) for tick, lead in leads if lead]

    def close(self) -> None:
        self._striker.quiet = True
        self._serial.close()
        self._callables.close()

    def _move(self) -> bool:
        """One step of what can be done now. False: there is nothing."""
        now = self._harness.clock.now()
        for entry in self._copies:
            if entry[0] <= now:
                self._copies.remove(entry)
                self._begin(entry[1], [])
                return True
        strand = self._serial.due()
        if strand is not None:
            self._watch(strand.process, lambda: self._resume(strand))
            return True
        for at, tick in self._early_ticks():
            if at <= now:
                tick.fire()
        delivery = self._harness.take_due()
        if delivery is not None:
            self._meet(delivery)
            return True
        if self._held:
            self._begin(*self._held.pop(0))
            return True
        return False

    def _meet(self, delivery: Delivery) -> None:
        """A message has been received: what happens to it."""
        found = self._striker.at_message(delivery.line)
        later = next((fault for fault in found if isinstance(fault, Delay)), None)
        if later is not None:
            delivery.hide(later.seconds)
        elif any(isinstance(fault, Reorder) for fault in found):
            self._held.append((delivery, found))
        else:
            self._begin(delivery, found)

    def _begin(self, delivery: Delivery, found: list[Fault]) -> None:
        self._begun += 1
        process = Process(self._begun, delivery.line)
        process.skew = sum(fault.seconds for fault in found if isinstance(fault, Skew))
        for fault in found:
            if isinstance(fault, Duplicate):
                process.overlapped |= fault.overlapping
                at = self._harness.clock.now() + timedelta(seconds=fault.seconds)
                self._copies.append((at, delivery.copy(fault.resent)))
        self._watch(process, lambda: self._serial.begin(process, delivery.run))

    def _resume(self, strand: Strand) -> Strand:
        self._serial.resume(strand)
        return strand

    def _watch(self, process: Process, move: Callable[[], Strand]) -> None:
        """Let an invocation move. An error that a fault has brought about is the backend's: its message comes again."""
        was_dead = process.dead
        try:
            over = move().over
        except BackendError:
            if not process.struck:
                raise
            over = True
        finally:
            if process.dead and not was_dead:
                self.crashes += 1
        if over or process.dead:
            self._callables.forget(process)
