"""SPEC 7: a limit that is never exceeded, keys, order of arrival, resumptions first, slots of sleepers and the dead."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from polos import Polos, Queue, WorkflowContext, current_step, queue, workflow
from polos.testing.harness import Delivery
from tests.laws.worlds import World, law


class Meter:
    """Who is inside, and how many were at most. `hold` keeps them inside until `release`."""

    def __init__(self) -> None:
        self._lock, self._opened = threading.Lock(), threading.Event()
        self._opened.set()
        self.inside = self.most = 0
        self.order: list[str] = []

    @contextlib.contextmanager
    def enter(self) -> Generator[None]:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.order.append(current_step().execution_id)
        try:
            assert self._opened.wait(20)
            yield
        finally:
            with self._lock:
                self.inside -= 1

    def hold(self) -> None:
        self._opened.clear()

    def release(self) -> None:
        self._opened.set()

    def visit(self) -> None:
        with self.enter():
            threading.Event().wait(0.01)


meter = Meter()
limited = queue("queues-limited", concurrency_limit=3)


@workflow(id="queues-many", queue=limited)
async def many(ctx: WorkflowContext, n: int) -> int:
    await ctx.step.run("visit", meter.visit)
    if n % 2:
        await ctx.step.wait_for("nap", seconds=0.05)
        await ctx.step.run("visit again", meter.visit)
    return n


async def _in_waves(world: World, size: int) -> None:
    """Deliver everything that is due, `size` messages at once, from timer to timer."""
    harness = world.env.harness
    for _ in range(2000):
        wave: list[Delivery] = []
        while len(wave) < size and (one := harness.take_due()) is not None:
            wave.append(one)
        if not wave:
            due = harness.next_due()
            if due is None:
                return
            harness.clock.jump(due)
            continue
        invocations = [world.begin(one) for one in wave]
        for invocation in invocations:
            await invocation.end()
    raise AssertionError("it does not end")


@law
async def test_queue_limit_is_never_exceeded_however_many_come_at_once(world: World) -> None:
    meter.__init__()
    count = 80 if world.backend == "memory" else 6
    async with world.deploy(many) as env:
        handles = [await env.start(many, n) for n in range(count)]
        await _in_waves(world, 12)
        assert [(await handle.get(env.client))["result"] for handle in handles] == list(range(count))
    assert meter.most in ((3,) if world.backend == "memory" else (1, 2, 3))  # moto takes one request at a time
    assert len(meter.order) == count + count // 2


def test_queue_limit_holds_for_two_hundred_executions_of_a_real_worker(local: Path) -> None:
    meter.__init__()

    async def main() -> None:
        async with Polos(local=local, max_concurrent_workflows=8) as client:
            handles = [await many.invoke(client, 2 * n) for n in range(200)]
            assert [await handle.result(timeout=40) for handle in handles] == [2 * n for n in range(200)]

    asyncio.run(main())
    assert 1 < meter.most <= 3
    assert len(meter.order) == len(set(meter.order)) == 200


@pytest.mark.moto_sample(at=("update slots", "suspend"))
@pytest.mark.parametrize("at", ["update slots", "claim", "suspend", "finish"])
@law
async def test_queue_limit_holds_when_requests_are_held_back_at_the_worst_moment(world: World, at: str) -> None:
    """Each of the first requests of a kind is held on the wire while everybody else goes on."""
    gauge = Meter()

    @workflow(id="queues-forced", queue={"name": "queues-forced", "concurrency_limit": 1})
    async def forced(ctx: WorkflowContext) -> None:
        await ctx.step.run("one", gauge.visit)
        await ctx.step.wait_for("nap", minutes=1)
        await ctx.step.run("two", gauge.visit)

    async with world.deploy(forced) as env:
        for nth in (1, 2) if world.backend == "memory" else (2,):
            for after in (False, True):
                handles = [await env.start(forced) for _ in range(3)]
                gate = world.wire.block(at, nth=nth, after=after)
                held = await world.run_until(gate)
                assert held is not None, "the request was reached"
                others = [world.begin(one) for one in world.take_all()]
                for other in others:
                    await other.end()
                gate.release()
                await held.end()
                world.wire.quiet()
                for handle in handles:
                    await env.finish(handle)
    assert gauge.most == 1
    assert len(gauge.order) == (24 if world.backend == "memory" else 12)


@law
async def test_queue_slots_are_counted_for_each_concurrency_key(world: World) -> None:
    gauge = Meter()

    @workflow(id="queues-keys", queue=Queue("queues-keys", 1))
    async def keyed(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    async with world.deploy(keyed) as env:
        gauge.hold()
        handles = [await env.start(keyed, concurrency_key=key) for key in ("a", "a", "b", "b")]
        handles.append(await env.start(keyed))
        running = [world.begin(one) for one in world.take_all()]
        await world.until(lambda: gauge.inside == 3 and sum(one.over for one in running) == 2)
        statuses = [(await env.describe(handle)).status for handle in handles]
        assert sorted(statuses) == ["queued", "queued", "running", "running", "running"]
        gauge.release()
        for one in running:
            await one.end()
        for handle in handles:
            await env.finish(handle)
    assert gauge.most == 3


@law
async def test_queue_waits_in_order_of_arrival(world: World) -> None:
    gauge = Meter()

    @workflow(id="queues-fifo", queue={"concurrency_limit": 1})
    async def fifo(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    async with world.deploy(fifo) as env:
        gauge.hold()
        names = ["first", "second", "a-third", "fourth", "0-fifth"]
        running = []
        for name in names:
            await env.start(fifo, id=name)
            running += [world.begin(one) for one in world.take_all()]
            await world.until(lambda: gauge.inside == 1)
            for one in running[1:]:
                await one.end()
            env.harness.clock.advance(1)
        assert (await env.describe(names[1])).status == "queued"
        gauge.release()
        await running[0].end()
        await env.settle()
    assert gauge.order == names


@law
async def test_queue_lets_resumptions_go_before_starts(world: World) -> None:
    gauge = Meter()

    @workflow(id="queues-resumed", queue=Queue("queues-resumed", 1))
    async def resumed(ctx: WorkflowContext, naps: bool) -> None:
        if naps:
            await ctx.step.wait_for("nap", seconds=5)
        await ctx.step.run("visit", gauge.visit)

    async with world.deploy(resumed) as env:
        await env.start(resumed, True, id="sleeper")
        await env.settle()
        gauge.hold()
        await env.start(resumed, False, id="holder")
        holder = world.begin()
        await world.until(lambda: gauge.inside == 1)
        await env.start(resumed, False, id="newcomer")
        await world.begin().end()
        env.harness.clock.advance(6)  # less than a lease: the holder stays the owner
        for one in world.take_all():
            await world.begin(one).end()
        assert [(await env.describe(name)).status for name in ("sleeper", "newcomer")] == ["queued", "queued"]
        gauge.release()
        await holder.end()
        await env.advance(minutes=2)
    assert gauge.order == ["holder", "sleeper", "newcomer"]


@law
async def test_queue_slot_is_free_while_its_holder_is_suspended(world: World) -> None:
    @workflow(id="queues-suspended", queue=Queue("queues-suspended", 1))
    async def suspended(ctx: WorkflowContext) -> str:
        return (await ctx.step.suspend("ask"))["data"]

    async with world.deploy(suspended) as env:
        handles = [await env.start(suspended) for _ in range(3)]
        await env.settle()
        assert {(await env.describe(handle)).status for handle in handles} == {"waiting"}
        for handle in reversed(handles):
            await env.resume(handle, "ask", handle.id)
            assert await env.finish(handle) == handle.id


@pytest.mark.moto_sample(at=("^suspend", "^finish"))
@pytest.mark.parametrize("at", ["put r#work", "^suspend", "^finish", "^answer"])
@law
async def test_queue_slot_is_passed_on_after_a_crash(world: World, at: str) -> None:
    @workflow(id="queues-crash", queue=Queue("queues-crash", 1))
    async def crashing(ctx: WorkflowContext) -> str:
        await ctx.step.run("work", world.effect)
        await ctx.step.wait_for("nap", minutes=1)
        return ctx.execution_id

    async with world.deploy(crashing) as env:
        for after in (False, True):
            handles = [await env.start(crashing) for _ in range(3)]
            fault = world.wire.crash(at, after=after)
            for handle in reversed(handles):
                assert await env.finish(handle) == handle.id
            assert fault.reached
            world.wire.quiet()


@law
async def test_queue_line_is_left_by_an_execution_that_is_cancelled_in_it(world: World) -> None:
    gauge = Meter()

    @workflow(id="queues-cancelled", queue=Queue("queues-cancelled", 1))
    async def cancelled(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    async with world.deploy(cancelled) as env:
        gauge.hold()
        await env.start(cancelled, id="a")
        holder = world.begin()
        await world.until(lambda: gauge.inside == 1)
        for name in ("b", "c"):
            await env.start(cancelled, id=name)
            await world.begin().end()
            env.harness.clock.advance(1)
        await env.cancel("b")
        await world.begin().end()
        assert (await env.describe("b")).status == "cancelled"
        gauge.release()
        await holder.end()
        await env.settle()
        assert (await env.describe("c")).status == "completed"
    assert gauge.order == ["a", "c"]


@pytest.mark.parametrize(("given", "holds"), [(5, 2), (1, 1), (None, 2)])
@law
async def test_queue_limit_given_at_the_call_counts_as_the_smaller_one(
    world: World, given: int | None, holds: int
) -> None:
    gauge = Meter()

    @workflow(id="queues-given", queue=Queue("queues-given", 2))
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    async with world.deploy(body) as env:
        gauge.hold()
        for _ in range(4):
            await env.client.invoke("queues-given", None, queue_name="queues-given", queue_concurrency_limit=given)
        running = [world.begin(one) for one in world.take_all()]
        await world.until(lambda: sum(one.over for one in running) == 4 - holds and gauge.inside == holds)
        gauge.release()
        for one in running:
            await one.end()
        await env.settle()
    assert (gauge.most, len(gauge.order)) == (holds, 4)


@law
async def test_queue_named_at_the_call_is_shared_by_workflows(world: World) -> None:
    gauge = Meter()

    @workflow(id="queues-shared-a")
    async def one(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    @workflow(id="queues-shared-b")
    async def two(ctx: WorkflowContext) -> None:
        await ctx.step.invoke_and_wait("c", one, queue=Queue("queues-shared", 1))

    async with world.deploy(one, two) as env:
        handles = [await env.start(one, queue=Queue("queues-shared", 1)) for _ in range(3)]
        handles += [await env.start(two) for _ in range(3)]
        await _in_waves(world, 6)
        assert {(await env.describe(handle)).status for handle in handles} == {"completed"}
    assert (gauge.most, len(gauge.order)) == (1, 6)


@law
async def test_queue_and_key_with_a_divider_in_them_are_no_other_queue_and_key(world: World) -> None:
    gauge = Meter()

    @workflow(id="queues-divided")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    async with world.deploy(body) as env:
        gauge.hold()
        handles = [
            await env.start(body, queue=Queue("a", 1), concurrency_key="b#c"),
            await env.start(body, queue=Queue("a#b", 1), concurrency_key="c"),
        ]
        running = [world.begin(one) for one in world.take_all()]
        await world.until(lambda: gauge.inside == 2)
        gauge.release()
        for one in running:
            await one.end()
        for handle in handles:
            await env.finish(handle)


@law
async def test_queue_that_is_only_named_has_the_limit_that_is_declared_for_it(world: World) -> None:
    """However an execution comes into the queue: by another workflow's declaration, at the call, or as a child."""
    gauge = Meter()

    @workflow(id="queues-limited", queue=Queue("queues-named", 1))
    async def limited(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    @workflow(id="queues-naming", queue="queues-named")
    async def naming(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    @workflow(id="queues-plain")
    async def plain(ctx: WorkflowContext) -> None:
        await ctx.step.run("visit", gauge.visit)

    @workflow(id="queues-parent")
    async def parent(ctx: WorkflowContext) -> None:
        await ctx.step.invoke_and_wait("c", plain, queue="queues-named")

    async with world.deploy(limited, naming, plain, parent) as env:
        handles = [await env.start(limited), await env.start(naming), await env.start(plain, queue="queues-named")]
        handles.append(await env.start(parent))
        await _in_waves(world, 4)
        assert {(await env.describe(handle)).status for handle in handles} == {"completed"}
    assert (gauge.most, len(gauge.order)) == (1, 4)
