"""Invocations of which one runs at a time, in virtual time and in an order that does not depend on threads.

Each invocation has a thread of its own, a strand, and is handed the control. It gives it back when it has ended, when
it waits, or when it was frozen; everything else happens on that one thread: the body, the step callables (one after
the other), their records, and the heartbeats, as far as virtual time passes while the invocation is under way. So a
run depends only on what was put into it. What a callable does with real threads or real sleeps of its own takes real
time, as always.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from polos.engine.threads import Call, Mailbox, Signal, Threads
from polos.testing.harness import Crash, VirtualClock

_REAL_PATIENCE = 60.0


class Frozen:
    """The real clock of a run that does not depend on it."""

    def monotonic(self) -> float:
        return 0.0


class SeenClock:
    """The Clock port as seen from the machine of whoever asks: its wall clock may go wrong by `skew` seconds."""

    def __init__(self, clock: VirtualClock, skew: Callable[[], float]) -> None:
        self._clock, self._skew = clock, skew

    def now(self) -> datetime:
        off = self._skew()
        return self._clock.now() + timedelta(seconds=off) if off else self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def real_delay(self, seconds: float) -> float:
        return 0.0


class Process:
    """What dies, stalls and has a clock of its own together: one invocation."""

    def __init__(self, number: int, message: str) -> None:
        self.number, self.message = number, message
        self.skew = 0.0
        self.dead = self.overlapped = False
        self.requests = 0
        self.frozen_until: float | None = None
        self.struck = False

    def __str__(self) -> str:
        return f"#{self.number}"


class Strand:
    """One thread of a process. It runs only between `Serial.resume` and its next wait."""

    def __init__(self, process: Process, call: Call) -> None:
        self.process = process
        self.due: float | None = None
        self.order = 0
        self.over = False
        self.error: BaseException | None = None
        self.go = threading.Lock()
        self.go.acquire()
        self._call = call
        self.thread: threading.Thread | None = None

    def main(self, back: threading.Lock) -> None:
        self.go.acquire()
        try:
            if not self.process.dead:
                self._call()
        except Crash:
            self.process.dead = True
        except BaseException as error:  # noqa: BLE001 - raised again by whoever drives
            self.error = error
        self.over = True
        back.release()


class Serial:
    """Hands the control from strand to strand. Used from one driving thread; nothing runs while that thread does."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._back = threading.Lock()
        self._back.acquire()
        self._here = threading.local()
        self._waiting: list[Strand] = []
        self._count = 0

    # ---- asked on any thread

    @property
    def strand(self) -> Strand | None:
        """The strand that this thread is."""
        return getattr(self._here, "strand", None)

    @property
    def process(self) -> Process | None:
        """The invocation that this thread belongs to; None: it is a client's or the driver's."""
        strand = self.strand
        return None if strand is None else strand.process

    def skew(self) -> float:
        """By how many seconds the clock of the machine is off on which this thread runs."""
        process = self.process
        return 0.0 if process is None else process.skew

    # ---- on a strand

    def wait(self, seconds: float | None) -> None:
        """Give up the control until so much virtual time has passed, or `ready` is called."""
        strand = self.strand
        assert strand is not None
        if strand.process.dead:
            raise Crash
        strand.due = None if seconds is None else self.clock.monotonic() + seconds
        self._count += 1
        strand.order = self._count
        self._waiting.append(strand)
        self._back.release()
        strand.go.acquire()
        if strand.process.dead:
            raise Crash

    def freeze(self, seconds: float) -> None:
        """The whole process stands still: heartbeats too."""
        strand = self.strand
        assert strand is not None
        strand.process.frozen_until = self.clock.monotonic() + seconds
        self.wait(seconds)
        strand.process.frozen_until = None

    def ready(self, strand: Strand) -> None:
        """What a strand waited for is there."""
        if strand in self._waiting:
            strand.due = self.clock.monotonic()

    def spawn(self, call: Call) -> Strand:
        """One more thread of the process that runs now. It begins at the next moment at which others can run."""
        process = self.process
        assert process is not None
        strand = Strand(process, call)
        strand.due = self.clock.monotonic()
        self._count += 1
        strand.order = self._count
        self._waiting.append(strand)
        return strand

    def end(self, strand: Strand) -> None:
        """Wait until another strand of one's own process has ended."""
        if strand.thread is None:
            if strand in self._waiting:
                self._waiting.remove(strand)
            return
        while not strand.over and not strand.process.dead:
            self.wait(0)

    # ---- on the driving thread

    def begin(self, process: Process, call: Call) -> Strand:
        """Run an invocation until it ends or waits."""
        strand = Strand(process, call)
        self.resume(strand)
        return strand

    def resume(self, strand: Strand) -> None:
        """Let a strand go on until it ends or waits. Raises what it raised."""
        if strand in self._waiting:
            self._waiting.remove(strand)
        if strand.thread is None:
            strand.thread = threading.Thread(target=self._main, args=(strand,), name="polos-invocation", daemon=True)
            strand.thread.start()
        strand.go.release()
        self._back.acquire()
        if strand.over:
            strand.thread.join()
        if strand.process.dead:
            self._drop(strand.process)
        if strand.error is not None:
            raise strand.error

    def _main(self, strand: Strand) -> None:
        self._here.strand = strand
        strand.main(self._back)

    def _drop(self, process: Process) -> None:
        """Unwind what is left of a process that has died."""
        for strand in [one for one in self._waiting if one.process is process]:
            self._waiting.remove(strand)
            if strand.thread is not None:
                strand.go.release()
                self._back.acquire()
                strand.thread.join()

    def _moment(self, strand: Strand) -> float | None:
        frozen = strand.process.frozen_until
        if strand.due is None or frozen is None:
            return strand.due
        return max(strand.due, frozen)

    def due(self) -> Strand | None:
        """The strand that can go on now and has waited longest."""
        now = self.clock.monotonic()
        able = [one for one in self._waiting if (moment := self._moment(one)) is not None and moment <= now]
        return min(able, key=lambda one: (self._moment(one), one.order), default=None)

    def next_due(self) -> datetime | None:
        """When the next strand can go on by itself. What has not begun yet is the business of its process."""
        moments = [moment for one in self._waiting if (moment := self._moment(one)) is not None]
        if not moments:
            return None
        ahead = min(moments) - self.clock.monotonic()
        return self.clock.now() + timedelta(seconds=max(0.0, ahead))

    @property
    def idle(self) -> bool:
        """Whether no invocation is under way."""
        return not self._waiting

    def close(self) -> None:
        """Unwind everything that still waits."""
        for process in {one.process for one in self._waiting}:
            process.dead = True
            self._drop(process)


class SerialSignal:
    """A Signal in virtual time, for one that waits."""

    def __init__(self, serial: Serial) -> None:
        self._serial, self._set = serial, False
        self._waiting: Strand | None = None

    def set(self) -> None:
        self._set = True
        if self._waiting is not None:
            self._serial.ready(self._waiting)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._waiting = self._serial.strand
            self._serial.wait(timeout)
            self._waiting = None
        return self._set


class SerialMailbox:
    """A Mailbox in virtual time, for one reader. Before it waits, it has the callables of its process run."""

    def __init__(self, serial: Serial, work: Callable[[float | None], float | None]) -> None:
        self._serial, self._work = serial, work
        self._calls: deque[Call] = deque()
        self._arrived = threading.Event()
        self._waiting: Strand | None = None

    def put(self, item: Call, /) -> None:
        self._calls.append(item)
        self._arrived.set()
        if self._waiting is not None:
            self._serial.ready(self._waiting)

    def get(self, *, timeout: float | None = None) -> Call:
        if not self._calls:
            self._arrived.clear()
            pause = self._work(timeout)
            if not self._calls and pause is not None:
                self._wait(pause)
            elif not self._calls:  # the body has a thread or a descriptor of its own, in real time
                self._arrived.wait(min(timeout or _REAL_PATIENCE, _REAL_PATIENCE))
        return self.get_nowait()

    def _wait(self, seconds: float) -> None:
        self._waiting = self._serial.strand
        self._serial.wait(seconds)
        self._waiting = None

    def get_nowait(self) -> Call:
        if not self._calls:
            raise queue.Empty
        return self._calls.popleft()


class SerialThreads(Threads):
    """Threads as strands. `work(timeout)` runs what callables there are, and says for how long to wait after that."""

    def __init__(self, serial: Serial, work: Callable[[float | None], float | None]) -> None:
        self._serial, self._work = serial, work

    def mailbox(self) -> Mailbox:
        return SerialMailbox(self._serial, self._work)

    def signal(self) -> Signal:
        return SerialSignal(self._serial)

    def start(self, name: str, run: Call) -> Call:
        """The heartbeat: a strand that gets a thread only if virtual time passes while its invocation is under way."""
        strand = self._serial.spawn(run)
        return lambda: self._serial.end(strand)
