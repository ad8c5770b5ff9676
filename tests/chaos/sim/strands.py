"""Invocations on one real thread: each of their threads is a greenlet, and every wait is a moment of virtual time.

A strand gives up control only where its invocation asks a port for something, waits for a report, or sleeps. Whoever
runs next, and when, the world decides.
"""

from __future__ import annotations

import contextvars
import math
import queue
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from greenlet import getcurrent, greenlet

from polos.engine.callables import AttemptCancelled, AttemptTimeout, Callables, Running
from polos.engine.engine import Engine
from polos.engine.threads import Call, Mailbox, Signal, Threads

if TYPE_CHECKING:
    from tests.chaos.sim.interpreter import Run
    from tests.chaos.sim.messages import Sent
    from tests.chaos.sim.world import World


class Killed(BaseException):
    """The process of an invocation is gone. Nothing that it still runs has an effect."""


class Invocation:
    """What dies, stalls and has a clock of its own together: one invocation, or one act of a client."""

    def __init__(self, world: World, name: str, engine: Engine, limit: float | None) -> None:
        self.world, self.name, self.engine = world, name, engine
        self.dead = False
        self.frozen = 0.0
        self.struck_at = -math.inf
        self.skew = world.draw_skew()
        self.ends = None if limit is None else world.t + limit
        self.strands: set[Strand] = set()
        self.claims: dict[str, int] = {}  # execution -> epoch, while it may own it
        self.reads: dict[str, int] = {}  # partition -> how many writes the table had seen when it was last read
        self.run: Run | None = None
        self.letter: Sent | None = None  # the dead letter that it judges

    def remaining(self) -> float | None:
        return None if self.ends is None else self.ends - self.world.t


class Strand(greenlet):
    """One thread of an invocation."""

    def __init__(self, invocation: Invocation, run: Callable[[], object]) -> None:
        super().__init__(self._main, invocation.world.hub)
        self.invocation, self._call = invocation, run
        invocation.strands.add(self)

    def _main(self) -> None:
        try:
            self._call()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is for the world to judge
            self.invocation.world.raised(self.invocation, error)
        finally:
            self.invocation.strands.discard(self)


def here() -> Invocation:
    """The invocation that runs just now."""
    return cast("Strand", getcurrent()).invocation


class SimSignal:
    """A Signal in virtual time."""

    def __init__(self, world: World) -> None:
        self._world, self._set = world, False
        self._waiting: list[tuple[Strand, int]] = []

    def set(self) -> None:
        if not self._set:
            self._set = True
            waiting, self._waiting = self._waiting, []
            for strand, number in waiting:
                self._world.wake(strand, number)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if self._set:
            return True
        strand = cast("Strand", getcurrent())
        if strand.invocation.dead:
            raise Killed
        self._waiting.append((strand, self._world.sleep_number + 1))
        self._world.sleep(strand, timeout)
        return self._set


class SimMailbox:
    """A Mailbox in virtual time, for one reader."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._calls: deque[Call] = deque()
        self._waiting: tuple[Strand, int] | None = None

    def put(self, item: Call, /) -> None:
        self._calls.append(item)
        if self._waiting is not None:
            (strand, number), self._waiting = self._waiting, None
            self._world.wake(strand, number)

    def get(self, *, timeout: float | None = None) -> Call:
        if not self._calls:
            strand = cast("Strand", getcurrent())
            if strand.invocation.dead:
                raise Killed
            self._waiting = (strand, self._world.sleep_number + 1)
            self._world.sleep(strand, timeout)
            self._waiting = None
        return self.get_nowait()

    def get_nowait(self) -> Call:
        if not self._calls:
            raise queue.Empty
        return self._calls.popleft()


class SimThreads(Threads):
    """Threads as strands of the invocation that starts them."""

    def __init__(self, world: World) -> None:
        self._world = world

    def mailbox(self) -> Mailbox:
        return SimMailbox(self._world)

    def signal(self) -> Signal:
        return SimSignal(self._world)

    def start(self, name: str, run: Call) -> Call:
        invocation, ended = here(), SimSignal(self._world)

        def whole() -> None:
            try:
                run()
            finally:
                ended.set()

        self._world.spawn(invocation, whole)
        return lambda: None if invocation.dead else cast("None", ended.wait())


class SimCallables(Callables):
    """Calls as two events: a begin and, so many virtual seconds later, an end. Async ones can be cancelled in between.

    A callable says with `seconds` how long it takes and with `threaded` whether it can't be cancelled.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def start(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        context: contextvars.Context,
        timeout: float | None,
        ended: Callable[[Any, BaseException | None], None],
    ) -> Running:
        world, invocation = self._world, here()
        op = args[0]
        context.run(world.observer.begins, invocation, op)
        done = False

        def end(error: BaseException | None) -> None:
            nonlocal done
            if done or invocation.dead:
                return
            done = True
            value = None
            if error is None:
                try:
                    value = context.run(func, *args, **kwargs)
                except Exception as raised:  # noqa: BLE001 - the outcome of the attempt
                    error = raised
            ended(value, error)

        seconds = op.seconds
        if timeout is not None and seconds > timeout:
            world.spawn(invocation, lambda: end(AttemptTimeout(timeout)), timeout)
        else:
            world.spawn(invocation, lambda: end(None), seconds)
        return Running(lambda: world.spawn(invocation, lambda: end(AttemptCancelled())))

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        self._world.spawn(here(), call, seconds)
