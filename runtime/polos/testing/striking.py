"""Faults carried out: which one strikes at a request, a message or a step, and what happens then.

What strikes is told by names and by how often each has turned up, never by what threads do: a run repeats itself.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from polos.core.conditions import Item
from polos.core.items import Key
from polos.testing.faults import (
    MESSAGE_FAULTS,
    REQUEST_FAULTS,
    STEP_FAULTS,
    Delay,
    Early,
    Fault,
    Faults,
    Kill,
    LoseReply,
    Meanwhile,
    ServerError,
    Slow,
    Stall,
    Throttle,
)
from polos.testing.harness import Crash, Network, Upcoming
from polos.testing.network import PlainNetwork
from polos.testing.serial import Process, Serial
from polos.testing.trace import Line, Trace
from polos.testing.wire import Request

if TYPE_CHECKING:
    from polos.client import Polos

T = TypeVar("T")
_AT_MESSAGE = tuple(kind for kind in MESSAGE_FAULTS if kind is not Delay)
OVERLAP_AT = 3
_FOR_EVER = 1e9


@dataclass(frozen=True)
class Struck:
    """A fault that struck: where, as one that strikes there again."""

    fault: Fault
    line: str


@dataclass
class _Armed:
    """A fault that was given, and how often what it waits for has turned up."""

    fault: Fault
    pattern: re.Pattern[str]
    seen: int = 0


class Striker:
    """The faults of one run, and what they have done. The Wire of an environment with faults."""

    def __init__(self, faults: Faults, serial: Serial) -> None:
        self._faults, self._serial = faults, serial
        self.network: Network = PlainNetwork()
        self._armed = [_Armed(fault, re.compile(fault.point)) for fault in faults.given]
        self._turned_up: Counter[tuple[type[Fault], str, bool]] = Counter()
        self.trace = Trace(serial.clock.now())
        self.struck: list[Struck] = []
        self.quiet = False
        self.traced = True
        self.count = 0
        self.look: Callable[[Key], Item | None] | None = None
        self.client: Polos | None = None
        self.failed: Exception | None = None
        self._leads: dict[Upcoming, float] = {}
        self.fires_early = faults.seed is not None or any(isinstance(fault, Early) for fault in faults.given)

    @property
    def left(self) -> Sequence[Fault]:
        """The given faults that nothing has met."""
        return tuple(armed.fault for armed in self._armed)

    def _line(self, who: str, what: str) -> Line:
        now = self._serial.clock.now()
        return self.trace.add(now, who, what) if self.traced else Line(0, timedelta(0), who, what)

    # ---- which

    def _strikes(self, kinds: tuple[type[Fault], ...], line: str, *, late: bool = False) -> list[Fault]:
        """What strikes at this line, this time."""
        if self.quiet:
            return []
        found: list[Fault] = []
        for armed in [one for one in self._armed if isinstance(one.fault, kinds) and one.fault.late == late]:
            if armed.pattern.search(line):
                armed.seen += 1
                if armed.seen == armed.fault.nth:
                    self._armed.remove(armed)
                    found.append(armed.fault)
        if self._faults.seed is not None:
            self._turned_up[kinds[0], line, late] += 1
            drawn = self._faults.drawn(kinds, line, self._turned_up[kinds[0], line, late], late=late)
            if drawn is not None and len(self.struck) < self._faults.most:
                found.append(drawn)
        self.struck += [Struck(fault, line) for fault in found]
        return found

    def at_message(self, line: str) -> list[Fault]:
        """What strikes at a message that is about to be delivered."""
        entry = self._line("", f"message {line}")
        found = self._strikes((Delay,), line) or self._strikes(_AT_MESSAGE, line)
        entry.faults += [repr(fault) for fault in found]
        return found

    def at_tick(self, tick: Upcoming) -> float:
        """By how many seconds a tick of a recurring schedule comes too early."""
        if tick not in self._leads:
            found = self._strikes((Early,), tick.line)
            for fault in found:
                self._line("", f"upcoming {tick.line} at {tick.due:%d %b %H:%M:%S}").faults.append(repr(fault))
            self._leads[tick] = max((fault.seconds for fault in found if isinstance(fault, Early)), default=0.0)
        return self._leads[tick]

    def at_step(self, process: Process, key: str) -> float:
        """For how many virtual seconds a step's callable goes on."""
        found = self._strikes(STEP_FAULTS, key)
        for fault in found:
            entry = self._line(str(process), f"step {key}")
            entry.faults.append(repr(fault))
        return max((fault.seconds if isinstance(fault, Slow) else _FOR_EVER for fault in found), default=0.0)

    # ---- at a request

    def __call__(self, request: Request, act: Callable[[], T], /) -> T:
        process = self._serial.process
        if process is None:
            return act()
        if process.dead:
            raise Crash
        process.requests += 1
        if process.requests == OVERLAP_AT and process.overlapped:
            self._serial.wait(0)
        self.count += 1
        entry = self._line(str(process), request.line)
        watched = request.key if self.traced and self.look is not None else None
        try:
            for fault in self._strikes((*REQUEST_FAULTS, Meanwhile), request.line):
                entry.faults.append(repr(fault))
                if isinstance(fault, Meanwhile):
                    self._meanwhile(fault)
                    continue
                process.struck = True
                act = self._disturbed(process, fault, request, act)
            if watched is not None and self.look is not None:
                entry.before = self.look(watched)
            try:
                return act()
            finally:
                if watched is not None and self.look is not None:
                    entry.after = self.look(watched)
        finally:
            if not process.dead:
                for fault in self._strikes((Kill, Stall, Meanwhile), request.line, late=True):
                    entry.faults.append(repr(fault))
                    if isinstance(fault, Meanwhile):
                        self._meanwhile(fault)
                        continue
                    process.struck = True
                    self._after(process, fault)

    def _disturbed(self, process: Process, fault: Fault, request: Request, act: Callable[[], T]) -> Callable[[], T]:
        match fault:
            case Kill():
                process.dead = True
                raise Crash(str(fault))
            case Stall():
                self._serial.freeze(fault.seconds)
            case LoseReply():
                return lambda: self.network.lose_reply(act)
            case Throttle():
                return lambda: self.network.refuse(act, "ThrottlingException", fault.times)
            case ServerError():
                return lambda: self.network.refuse(act, "InternalServerError", fault.times)
            case Early():
                early = fault.seconds
                request.messages = [replace(one, delay=max(0.0, one.delay - early)) for one in request.messages]
                request.due = None if request.due is None else request.due - timedelta(seconds=early)
            case _:
                raise AssertionError(f"{fault!r} strikes at no request")
        return act

    def _after(self, process: Process, fault: Fault) -> None:
        if isinstance(fault, Kill):
            process.dead = True
            raise Crash(str(fault))
        assert isinstance(fault, Stall)
        self._serial.freeze(fault.seconds)

    def _meanwhile(self, fault: Meanwhile) -> None:
        """On a thread that belongs to no invocation: its requests are a client's."""
        client, do = self.client, fault.do
        assert client is not None
        assert do is not None

        async def act() -> None:
            try:
                await do(client)
            except Exception as error:  # noqa: BLE001 - raised again where the test drives the environment
                self.failed = error

        thread = threading.Thread(target=lambda: asyncio.run(act()), name="polos-meanwhile")
        thread.start()
        thread.join()
