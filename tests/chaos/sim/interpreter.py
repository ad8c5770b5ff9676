"""Running a program on `ctx`, and noting in which order the body was handed what."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib
import zlib
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from polos import BatchEventPayload, EventPattern, EventPayload, Queue, SchedulePayload, WorkflowContext
from polos.core.replay import Replay
from polos.errors import PolosError
from polos.types.types import BatchWorkflowInput
from polos.workflow import Workflow
from tests.chaos.sim.programs import Op, Program
from tests.chaos.sim.strands import here

if TYPE_CHECKING:
    from tests.chaos.sim.observer import Observer

QUEUES = {"q1": Queue("q1", concurrency_limit=1), "q2": Queue("q2", concurrency_limit=2)}
TRIGGER_TOPIC, BATCH_TOPIC = "t3", "t4"
NATIVE = EventPattern({"source": ["shop"]})
NATIVES = ("sim-native", "sim-natives")
_STRUCK = "cancelled"
CANCELLED = repr(_STRUCK)
"""How a trail says that a cancel struck the body at an operation, instead of what the operation came to."""


class Failing(Exception):
    """What a step, or a body, of a program raises."""


class Run:
    """One run of a body. `trail` is what it was handed, in order."""

    def __init__(self, observer: Observer, replay: Replay, execution_id: str) -> None:
        self.observer, self.replay, self.execution_id = observer, replay, execution_id
        self.trail: list[tuple[str, str]] = []

    def saw(self, op: Op, value: object) -> None:
        if self.replay.closing:
            return
        entry = (op.key, f"{value!r}")
        self.trail.append(entry)
        self.observer.saw(self, op, entry)


def digest(trail: Sequence[tuple[str, str]]) -> int:
    """A number that two different orders of outcomes hardly share."""
    return zlib.crc32(repr(list(trail)).encode())


class _InOrder(dict[Any, None]):
    """A set that keeps the order in which its members came."""

    def add(self, member: object) -> None:
        self[member] = None

    def discard(self, member: object) -> None:
        self.pop(member, None)


def sim_step(op: Op):  # type: ignore[no-untyped-def]
    """The callable of every step: its value says which call it was. An annotation would be resolved at each call."""
    count = here().world.observer.count_call(op)
    if count <= op.fails:
        raise Failing(f"{op.key} fails for the {count}. time")
    return [op.key, count, _noise(f"{op.key} {count}")] if op.big else [op.key, count]


@functools.cache
def _noise(seed: str) -> str:
    """Text that is stored beside the table, for it cannot be compressed below the limit."""
    return "".join(hashlib.sha256(f"{seed} {n}".encode()).hexdigest() for n in range(80))


async def _run(ctx: WorkflowContext, run: Run, program: Program) -> None:
    for op in program:
        await _perform(ctx, run, op)


async def _perform(ctx: WorkflowContext, run: Run, op: Op) -> None:
    match op.kind:
        case "gather":
            await asyncio.gather(*(_run(ctx, run, part) for part in op.parts))
        case "group":
            async with asyncio.TaskGroup() as group:
                group._tasks = _InOrder()  # type: ignore[attr-defined]  # a set goes by addresses
                for part in op.parts:
                    group.create_task(_run(ctx, run, part))
        case "first":
            tasks = [asyncio.ensure_future(_run(ctx, run, part)) for part in op.parts]
            done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task in left:
                    task.cancel()
            for task in tasks:
                if task in done:
                    task.result()
        case "try":
            await _guarded(ctx, run, op)
        case "boom":
            if ctx.retry_count < op.fails:
                raise Failing(f"the body fails at retry {ctx.retry_count}")
        case "again":
            number = run.observer.round_of(run.execution_id)
            if number < op.fails:
                await ctx.continue_as_new({"p": run.observer.program_id_of(run.execution_id), "n": number + 1})
        case _:
            await _durable(ctx, run, op)


async def _guarded(ctx: WorkflowContext, run: Run, op: Op) -> None:
    try:
        await _run(ctx, run, op.parts[0])
    except PolosError:
        if not op.catch:
            raise
    finally:
        if len(op.parts) > 1:
            await _run(ctx, run, op.parts[1])


async def _durable(ctx: WorkflowContext, run: Run, op: Op) -> None:
    try:
        value = await _call(ctx, op)
    except PolosError as error:
        run.saw(op, f"{type(error).__name__}: {error}")
        if not op.catch:
            raise
    except asyncio.CancelledError:
        if run.replay.branch:
            run.saw(op, _STRUCK)
        raise
    else:
        run.saw(op, value)


async def _call(ctx: WorkflowContext, op: Op) -> object:
    step = ctx.step
    match op.kind:
        case "step":
            return await step.run(
                op.key, sim_step, op, max_retries=op.retries, base_delay=op.delay, max_delay=60.0,
                timeout=op.timeout, at_most_once=op.once,
            )  # fmt: skip
        case "wait":
            return await step.wait_for(op.key, op.seconds)
        case "event":
            event = await step.wait_for_event(op.key, op.topic, timeout=op.timeout, event_type=op.event_type)
            return ("event", event.id, event.event_type)
        case "publish":
            return await step.publish_event(op.key, op.topic, {"from": op.key}, op.event_type)
        case "suspend":
            return (await step.suspend(op.key, {"show": op.key}, timeout=op.timeout))["data"]
        case "child":
            options = dict(op.options)
            queue = QUEUES.get(options.pop("queue", ""))
            return await step.invoke_and_wait(op.key, sim_main, {"p": f"{op.key}.0"}, queue=queue, **options)
        case "spawn":
            return (await step.invoke(op.key, sim_main, {"p": f"{op.key}.0"})).id
        case "batch":
            children = [
                BatchWorkflowInput(id=sim_main.id, payload={"p": f"{op.key}.{number}"})
                for number in range(len(op.parts))
            ]
            results = await step.batch_invoke_and_wait(op.key, children)
            return [(one.success, one.result, one.error) for one in results]
        case "uuid" | "now" | "random" | "patched":
            return await getattr(step, op.kind)(op.key)
        case other:
            raise AssertionError(f"there is no operation {other!r}")


async def _body(ctx: WorkflowContext, program_id: str, number: int = 0) -> list[object]:
    observer = here().world.observer
    run = Run(observer, ctx._replay, ctx.execution_id)  # pyright: ignore[reportPrivateUsage]
    observer.body_begins(run, program_id, number, again=here().run is not None)
    here().run = run
    await _run(ctx, run, observer.library.program(program_id))
    return [program_id, digest(run.trail)]


async def _main(ctx: WorkflowContext, payload: dict[str, Any]) -> list[object]:
    return await _body(ctx, payload["p"], payload.get("n", 0))


async def _triggered(ctx: WorkflowContext, event: EventPayload) -> list[object]:
    here().world.observer.triggered(ctx.execution_id, [event.id])
    return await _body(ctx, "triggered")


async def _batched(ctx: WorkflowContext, batch: BatchEventPayload) -> list[object]:
    here().world.observer.triggered(ctx.execution_id, [event.id for event in batch.events])
    return await _body(ctx, "batched")


async def _native(ctx: WorkflowContext, event: EventPayload) -> list[object]:
    here().world.observer.triggered(ctx.execution_id, [f"{ctx.workflow_id} {event.id}"])
    return await _body(ctx, "native")


async def _natives(ctx: WorkflowContext, batch: BatchEventPayload) -> list[object]:
    here().world.observer.triggered(ctx.execution_id, [f"{ctx.workflow_id} {event.id}" for event in batch.events])
    return await _body(ctx, "natives")


async def _ticked(ctx: WorkflowContext, tick: SchedulePayload) -> list[object]:
    return [*await _body(ctx, "ticked"), tick.timestamp.isoformat()]


def _make(function: Callable[..., Any], name: str, **options: Any) -> Workflow[Any, Any]:
    return Workflow(function, id=name, **options)


sim_main = _make(_main, "sim-main")
WORKFLOWS: dict[str, Workflow[Any, Any]] = {
    one.id: one
    for one in (
        sim_main,
        _make(_triggered, "sim-triggered", trigger_on_event=TRIGGER_TOPIC),
        _make(_batched, "sim-batched", trigger_on_event=BATCH_TOPIC, batch_size=2, batch_timeout_seconds=10.0),
        _make(_native, "sim-native", trigger_on_event=NATIVE),
        _make(_natives, "sim-natives", trigger_on_event=NATIVE, batch_size=2, batch_timeout_seconds=10.0),
        _make(_ticked, "sim-ticked", schedule={"cron": "* * * * *", "overlap": "allow"}),
        _make(_ticked, "sim-skipping", schedule="* * * * *"),
    )
}


@contextlib.contextmanager
def registered() -> Generator[None]:
    """The workflows of the simulator in the process's registry, as `fork` looks there."""
    known: dict[str, Any] = importlib.import_module("polos.workflow")._registry
    known.update(WORKFLOWS)
    try:
        yield
    finally:
        for name in WORKFLOWS:
            known.pop(name, None)
