"""Worlds in which the laws are tested: an environment whose every request, and every message, a test can get hold of.

A request is named by one line of text, `VERB what`, the same on every backend:

    put SK of PK          get SK of PK        delete SK of PK         query PREFIX of PK
    claim | mark | cancel | spend | renew | suspend | finish | strike X       (the updates, by what they mean)
    send TYPE X[, ...]    schedule NAME       publish TOPIC           store KEY          load KEY
    answer TYPE X         what an invocation does last: saying that its message may be deleted

Only requests that invocations make are seen, never those of the test's own client. Faults strike at a request: the
process dies before or after it (`crash`), it stays on the wire until released (`block`), or something else happens
first (`meanwhile`). Every fault says whether it was reached: assert it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import inspect
import re
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any

import pytest

import polos
from polos.core import items
from polos.core.conditions import Change, Condition, Item
from polos.core.items import Key
from polos.engine.commands import wake
from polos.engine.engine import Engine
from polos.engine.worker import Worker
from polos.handle import ExecutionHandle
from polos.ports import Backend, Event, Message, Outgoing
from polos.testing import Environment
from polos.testing.harness import Crash, Delivery
from polos.workflow import Workflow

BACKENDS = ["memory"]
if importlib.util.find_spec("polos.testing.moto_harness") is not None:
    BACKENDS.append("moto")

_INVOCATION = ("polos-invocation", "polos-record", "polos-heartbeat", "law")
_PATIENCE = 20.0


def law(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """An async test as a plain one; with a parameter `world` it runs once on each backend."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        asyncio.run(test(**fixtures))

    if "world" in inspect.signature(test).parameters:
        return pytest.mark.parametrize("world", BACKENDS, indirect=True)(run)
    return run


# ---- faults


@dataclasses.dataclass(eq=False)
class Fault:
    """Something that happens at the `nth` request whose line matches. `hit` is that line, once it has happened."""

    pattern: re.Pattern[str]
    nth: int
    after: bool
    act: Callable[[], None]
    seen: int = 0
    hit: str | None = None
    only: Callable[[], bool] = lambda: True

    def takes(self, line: str, after: bool) -> bool:
        if self.hit is not None or after != self.after or not self.pattern.search(line) or not self.only():
            return False
        self.seen += 1
        if self.seen != self.nth:
            return False
        self.hit = line
        return True

    @property
    def reached(self) -> bool:
        return self.hit is not None


@dataclasses.dataclass(eq=False)
class Gate:
    """A request that stays where it is until `release`."""

    fault: Fault
    arrived: threading.Event
    opened: threading.Event

    @property
    def reached(self) -> bool:
        return self.arrived.is_set()

    async def reach(self, *, within: float = _PATIENCE) -> None:
        """Wait until the request is there."""
        assert await asyncio.to_thread(self.arrived.wait, within), f"no request matched {self.fault.pattern.pattern!r}"

    def release(self) -> None:
        self.opened.set()


class Wire:
    """All requests of all invocations, in order, and the faults that wait for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self.lines: list[str] = []

    def crash(self, at: str = "", *, nth: int = 1, after: bool = False) -> Fault:
        """The process dies before (or after) the nth matching request."""

        def die() -> None:
            raise Crash(f"at request {nth} of {at!r}")

        return self._add(Fault(re.compile(at), nth, after, die))

    def block(self, at: str = "", *, nth: int = 1, after: bool = False) -> Gate:
        """The nth matching request is held back on the wire (with `after`: its reply is)."""
        arrived, opened = threading.Event(), threading.Event()

        def wait() -> None:
            arrived.set()
            assert opened.wait(_PATIENCE), f"nobody released the request {at!r}"

        return Gate(self._add(Fault(re.compile(at), nth, after, wait)), arrived, opened)

    def meanwhile(self, at: str, do: Callable[[], object], *, nth: int = 1, after: bool = False) -> Fault:
        """`do` happens before (or after) the nth matching request, while its invocation stands still."""
        return self._add(Fault(re.compile(at), nth, after, lambda: do() and None))

    def _add(self, fault: Fault) -> Fault:
        with self._lock:
            self._faults.append(fault)
        return fault

    def quiet(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()

    def __call__(self, line: str, act: Callable[[], Any]) -> Any:
        if not threading.current_thread().name.startswith(_INVOCATION):
            return act()
        with self._lock:
            self.lines.append(line)
            before = [fault for fault in self._faults if fault.takes(line, False)]
        for fault in before:
            fault.act()
        try:
            return act()
        finally:
            with self._lock:
                after = [fault for fault in self._faults if fault.takes(line, True)]
            for fault in after:
                fault.act()


def _update_line(key: Key, change: Change) -> str:
    where = key.pk
    if key.sk != items.EXECUTION:
        return f"update {key.sk} of {where}"
    if items.LEASE_TOKEN in change.set:
        return f"claim {where}"
    if items.ENDED in change.set:
        return f"finish {where}"
    if items.LEASE_TOKEN in change.remove:
        return f"suspend {where}"
    if items.CANCEL_AT in change.default:
        return f"strike {where}"
    if items.CANCEL in change.set or items.CANCEL in change.default:
        return f"cancel {where}"
    if items.WAKE in change.add:
        return f"mark {where}"
    return f"{'spend' if change.append else 'renew'} {where}"


class _Table:
    def __init__(self, inner: Any, wire: Wire) -> None:
        self._inner, self._wire = inner, wire

    def get(self, key: Key) -> Item | None:
        return self._wire(f"get {key.sk} of {key.pk}", lambda: self._inner.get(key))

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        return self._wire(f"get_many {len(keys)}", lambda: self._inner.get_many(keys))

    def put(self, item: Item, condition: Condition | None = None) -> None:
        line = f"put {item[items.SK]} of {item[items.PK]}"
        self._wire(line, lambda: self._inner.put(item, condition))

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        return self._wire(_update_line(key, change), lambda: self._inner.update(key, change, condition))

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        self._wire(f"delete {key.sk} of {key.pk}", lambda: self._inner.delete(key, condition))

    def query(self, pk: str, **options: Any) -> list[Item]:
        return self._wire(f"query {options.get('prefix', '')} of {pk}", lambda: self._inner.query(pk, **options))

    def by_start(self, bucket: str, **options: Any) -> list[Item]:
        return self._wire(f"by_start {bucket}", lambda: self._inner.by_start(bucket, **options))


class _Ways:
    """Inbox, timers, topics and payloads."""

    def __init__(self, inner: Backend, wire: Wire) -> None:
        self._inner, self._wire = inner, wire

    def send(self, messages: Sequence[Outgoing]) -> None:
        line = ", ".join(f"{m.body.get('t')} {m.body.get('x', '')}" for m in messages)
        self._wire(f"send {line}", lambda: self._inner.inbox.send(messages))

    def schedule(self, name: str, due: Any, body: Mapping[str, Any]) -> None:
        self._wire(f"schedule {name}", lambda: self._inner.timers.schedule(name, due, body))

    def publish(self, events: Sequence[Event]) -> None:
        line = ", ".join(event.topic for event in events)
        self._wire(f"publish {line}", lambda: self._inner.topics.publish(events))

    def put(self, key: str, data: bytes) -> None:
        self._wire(f"store {key}", lambda: self._inner.payloads.put(key, data))

    def get(self, key: str) -> bytes:
        return self._wire(f"load {key}", lambda: self._inner.payloads.get(key))


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
        self._thread.join(_PATIENCE)
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
            ways: Any = _Ways(backend, world.wire)
            world._tables.append(backend.table)
            table: Any = _Table(backend.table, world.wire)
            watched = dataclasses.replace(backend, table=table, inbox=ways, timers=ways, topics=ways, payloads=ways)
            engine_init(engine, watched, **options)
            world._engines.append(engine)

        def watched_handle(worker: Worker, message: Message, *rest: Any) -> bool:
            world.messages.append(message)
            answer = handle(worker, message, *rest)
            world.wire(f"answer {message.body.get('t')} {message.body.get('x', '')}", lambda: None)
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
        for _ in range(int(_PATIENCE * 1000)):
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
