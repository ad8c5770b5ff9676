"""Worlds in which the laws are tested: an environment whose every request, and every message, a test can get hold of.

How requests are named, and the faults that strike at them: `wire`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest

import polos
from polos.core import items
from polos.core.conditions import Item
from polos.core.items import Key
from polos.engine.commands import wake
from polos.engine.engine import Engine
from polos.engine.worker import Worker
from polos.handle import ExecutionHandle
from polos.ports import Backend, Message
from polos.testing import Environment
from polos.testing.harness import Crash, Delivery
from polos.testing.wire import Request, message_line, watched
from polos.workflow import Workflow
from tests.laws.wire import PATIENCE, Gate, Wire

BACKENDS = ["memory"]
if importlib.util.find_spec("polos.testing.moto_harness") is not None:
    BACKENDS.append("moto")


def law(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An async test as a plain one; with a parameter `world` it runs once on each backend."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    if "world" in inspect.signature(test).parameters:
        return pytest.mark.parametrize("world", BACKENDS, indirect=True)(run)
    return run


# ---- invocations that a test drives by hand


class Invocation:
    """One delivery that runs on a thread of its own. `died` after a crash; `error` is anything else it raised."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.died, self.error = False, None
        self.answer: object = None
        self._run = run
        self._thread = threading.Thread(target=self._main, name="law-invocation", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        try:
            self.answer = self._run()
        except Crash:
            self.died = True
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for it
            self.error = error

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    async def end(self) -> Invocation:
        """Wait until it is over; raises what it raised."""
        await asyncio.to_thread(self.join)
        return self

    def join(self) -> None:
        """As `end`, from a thread that may block."""
        self._thread.join(PATIENCE)
        assert self.over, "the invocation does not end"
        if self.error is not None:
            raise self.error


# ---- the world


@dataclasses.dataclass
class Counted:
    count: int = 0


class World:
    """One backend under test."""

    def __init__(self, backend: str, patch: pytest.MonkeyPatch) -> None:
        self.backend, self._patch = backend, patch
        self.wire = Wire()
        self.messages: list[Message] = []
        self.effects: list[tuple[str, str]] = []
        self.repeated: list[str] = []
        self.on_answer: Callable[[Message], None] = lambda _: None
        self._tables: list[Any] = []
        self._engines: list[Engine] = []
        self.stride = 1 if backend == "memory" else 6  # every request in memory, a sample where each costs more
        self.env: Environment = None  # type: ignore[assignment]
        self._install()

    def _install(self) -> None:
        world, engine_init, handle = self, Engine.__init__, Worker.handle

        def make_engine(engine: Engine, backend: Backend, **options: Any) -> None:
            world._tables.append(backend.table)
            engine_init(engine, watched(backend, world.wire), **options)
            world._engines.append(engine)

        def watched_handle(worker: Worker, message: Message, *rest: Any) -> bool:
            world.messages.append(message)
            answer = handle(worker, message, *rest)
            world.wire(Request(f"answer {message_line(message.body)}"), lambda: None)
            world.on_answer(message)
            return answer

        self._patch.setattr(Engine, "__init__", make_engine)
        self._patch.setattr(Worker, "handle", watched_handle)
        self._handle = handle

    @contextlib.asynccontextmanager
    async def deploy(self, *workflows: Workflow[Any, Any], **options: Any) -> AsyncGenerator[Environment]:
        """The environment with these workflows."""
        async with Environment(self.backend, workflows=workflows, **options) as env:  # type: ignore[arg-type]
            self.env = env
            try:
                yield env
            finally:
                self.wire.quiet()

    # ---- looking beneath

    @property
    def table(self) -> Any:
        """The table itself: reads that no fault strikes."""
        self.env.harness  # noqa: B018 - opened on first use
        return self._tables[0]

    def records(self, execution: ExecutionHandle | str) -> dict[str, Item]:
        """The items of an execution's partition by sort key."""
        pk = execution if isinstance(execution, str) else execution.id
        return {str(item[items.SK]): item for item in self.table.query(pk)}

    def is_recorded(self, execution_id: str, step_key: str) -> bool:
        item = self.table.get(items.record(execution_id, step_key))
        return item is not None and item.get(items.STATE) == items.DECIDED

    def waiters(self, topic: str) -> list[Item]:
        return self.table.query(items.topic(topic), prefix="w#")

    def execution(self, execution: ExecutionHandle | str) -> Item:
        return self.records(execution)[items.EXECUTION]

    def limits(self, **changes: float) -> None:
        """Other numbers for the protocol, from now on."""
        for engine in self._engines:
            engine.limits = dataclasses.replace(engine.limits, **changes)  # type: ignore[arg-type]
            object.__setattr__(engine.backend, "limits", engine.limits)

    def pass_time(self, seconds: float) -> None:
        """From within a step: virtual time passes, and the turn that waits in real time looks at the clock again."""
        self.env.harness.clock.advance(seconds)
        for engine in self._engines:
            engine.poke(polos.current_step().execution_id)

    @property
    def renewals(self) -> int:
        return sum(1 for line in self.wire.lines if line.startswith("renew"))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what another thread does."""
        for _ in range(int(PATIENCE * 1000)):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("it does not happen")

    # ---- side effects

    def effect(self, value: Any = None) -> Any:
        """What the steps of these tests do: leave a trace outside, and notice if their record was there before."""
        me = polos.current_step()
        if self.is_recorded(me.execution_id, me.key):
            self.repeated.append(me.key)
        self.effects.append((me.key, me.idempotency_key))
        return me.key if value is None else value

    def ran(self, key: str) -> int:
        """How often a step's callable ran."""
        return sum(1 for name, _ in self.effects if name == key)

    # ---- messages by hand

    def take(self) -> Delivery:
        """One message that is due."""
        delivery = self.env.harness.take_due()
        assert delivery is not None, "no message is due"
        return delivery

    def take_all(self) -> list[Delivery]:
        return list(iter(self.env.harness.take_due, None))

    def begin(self, delivery: Delivery | None = None) -> Invocation:
        """Deliver the next message on a thread of its own."""
        chosen = delivery or self.take()
        return Invocation(chosen.run)

    def wake_is_spent(self, execution_id: str, workflow_id: str) -> None:
        """A wake that another process, whose clock is ahead, finds due: it meets the owner and is used up."""
        message = Message(f"early-{execution_id}", wake(execution_id, workflow_id), 1, lambda _: None)
        self.again(message).join()

    async def run_until(self, gate: Gate) -> Invocation | None:
        """Deliver one after the other, from timer to timer, until an invocation stands at the gate: that one."""
        harness = self.env.harness
        for _ in range(1000):
            delivery = harness.take_due()
            if delivery is None:
                due = harness.next_due()
                if due is None:
                    return None
                harness.clock.jump(due)
                continue
            invocation = self.begin(delivery)
            await self.until(lambda one=invocation: one.over or gate.reached)
            if gate.reached:
                return invocation
            await invocation.end()
        raise AssertionError("it neither ends nor reaches the gate")

    def again(self, message: Message, *, new_id: bool = False) -> Invocation:
        """Another copy of a message is handled: the same id, or one that the sender sent twice."""
        copied = dataclasses.replace(message, id=f"{message.id}-copy" if new_id else message.id, extend=lambda _: None)
        worker = Worker(self.env.harness.engine)
        return Invocation(lambda: self._handle(worker, copied))

    def after_each(self, do: Callable[[Message], None]) -> Counted:
        """Have something done after each message that was handled, before it is deleted."""
        counted = Counted()

        def done(message: Message) -> None:
            counted.count += 1
            do(message)

        self.on_answer = done
        return counted

    def forget(self, execution_id: str) -> None:
        """As if nobody had written anything of an execution yet."""
        for sk in self.records(execution_id):
            self.table.delete(Key(execution_id, sk))

    def deliver_due(self) -> None:
        """Deliver everything that is due now, from within an invocation that stands still meanwhile."""
        for _ in range(100):
            delivery = self.env.harness.take_due()
            if delivery is None:
                return
            invocation = Invocation(delivery.run)
            invocation.join()
        raise AssertionError("it does not settle")

    async def settle_in(self, order: Callable[[list[Delivery]], list[Delivery]]) -> None:
        """Deliver everything that is due, each batch in another order than it was sent in."""
        for _ in range(1000):
            batch = self.take_all()
            if not batch:
                return
            for delivery in order(batch):
                await self.begin(delivery).end()
        raise AssertionError("it does not settle")

    async def outlive(self, seconds: float = 31) -> None:
        """Let leases and visibilities run out, and deliver what comes again."""
        await self.env.advance(seconds=seconds)


@contextlib.contextmanager
def worlds(backend: str) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        yield World(backend, patch)


async def outcome(finishing: Awaitable[Any]) -> Any:
    """The result, or the type and text of the error: what a caller sees."""
    try:
        return await finishing
    except polos.PolosError as error:
        return type(error).__name__, str(error)


def noise(size: int, seed: str = "") -> str:
    """Text that does not compress."""
    rows = (hashlib.sha256(f"{seed}{n}".encode()).hexdigest() for n in range(size // 64 + 1))
    return "".join(rows)[:size]


def shuffled(seed: int) -> Callable[[list[Delivery]], list[Delivery]]:
    """An order that differs with the seed, and from the order of sending."""

    def order(batch: list[Delivery]) -> list[Delivery]:
        left, mixed, state = list(batch), [], seed * 7919 + 17
        while left:
            state = (state * 1103515245 + 12345) % (1 << 31)
            mixed.append(left.pop(state % len(left)))
        return mixed

    return order
