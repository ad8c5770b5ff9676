"""Deaths in a row: what counts as one, and what must not. L14."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from polos import WorkflowContext, WorkflowFailedError, workflow
from polos.errors import BackendError
from tests.engine.clocks import next_delivery
from tests.laws.wire import in_heartbeat
from tests.laws.worlds import World, law


def raises(error: Exception) -> Any:
    def act() -> None:
        raise error

    return act


async def deliver_and_let_fail(world: World) -> None:
    """One delivery that may raise, as an invocation that ends with an error; its message comes again."""
    delivery = world.env.harness.take_due()
    while delivery is None:
        due = world.env.harness.next_due()
        assert due is not None, "no message is left"
        world.env.harness.clock.jump(due)
        delivery = world.env.harness.take_due()
    with contextlib.suppress(TypeError, BackendError):
        await world.begin(delivery).end()


async def deliver_until(world: World, fault: Any) -> None:
    """Deliveries until the fault has struck; a lease that a dead invocation left has to run out before."""
    for _ in range(10):
        await deliver_and_let_fail(world)
        if fault.reached:
            return
    raise AssertionError("the fault has not struck")


@law
async def test_a_step_that_never_fits_into_an_invocation_fails_in_the_end(world: World) -> None:
    """It is cut off before the time limit, again and again: that is a death each time, and not a planned hand-over."""
    cut: list[float] = []

    async def endless() -> None:
        cut.append(world.env.now.timestamp())
        world.pass_time(18.5)
        await asyncio.sleep(30)

    @workflow(id="td-endless")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("endless", endless)

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError, match="CrashLoopError"):
            await env.finish(handle)
    assert len(cut) == 5


@law
async def test_an_outage_of_the_backend_is_no_death(world: World) -> None:
    """The table answers no query for eight invocations; each of them gives its lease back."""

    @workflow(id="td-outage")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", minutes=1)
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        faults = [
            world.wire.meanwhile(f"query  of {handle.id}", raises(BackendError("down")), nth=nth) for nth in range(1, 9)
        ]
        for _ in faults:
            await deliver_and_let_fail(world)
        assert all(fault.reached for fault in faults)
        assert await env.finish(handle) == "a"


@law
async def test_an_outage_after_deaths_that_each_left_a_record_is_no_death(world: World) -> None:
    """Whoever can't read the records does not know how far the execution has got, and gives the lease back all the
    same."""

    @workflow(id="td-outage-records")
    async def body(ctx: WorkflowContext) -> list[str]:
        return [await ctx.step.run(f"a{n}", world.effect) for n in range(7)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        for number in range(6):
            await deliver_until(world, world.wire.crash(f"put r#a{number}", after=True))
        for _ in range(7):
            down = raises(BackendError("down"))
            await deliver_until(world, world.wire.meanwhile(f"query  of {handle.id}", down))
        assert len(await env.finish(handle)) == 7


@law
async def test_deaths_between_outages_are_counted(world: World) -> None:
    """Five deaths, each followed by a load that fails: an outage neither counts as a death nor hides one."""

    @workflow(id="td-outage-deaths")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", world.effect)
        return await ctx.step.run("b", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await deliver_until(world, world.wire.crash("put r#a", after=True))
        for _ in range(5):
            down = raises(BackendError("down"))
            await deliver_until(world, world.wire.meanwhile(f"query  of {handle.id}", down))
            await deliver_until(world, world.wire.crash("put r#b"))
        with pytest.raises(WorkflowFailedError, match="CrashLoopError"):
            await env.finish(handle)


@law
async def test_an_outage_while_the_pauses_are_read_is_no_death(world: World) -> None:
    """The first read of an invocation that has just claimed."""

    @workflow(id="td-outage-pauses")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        world.limits(controls=-1.0)
        handle = await env.start(body)
        faults = [
            world.wire.meanwhile("get paused of h#", raises(BackendError("down")), nth=nth) for nth in range(1, 9)
        ]
        for _ in faults:
            await deliver_and_let_fail(world)
        assert all(fault.reached for fault in faults)
        assert await env.finish(handle) == "a"


@law
async def test_a_heartbeat_that_cannot_read_the_pauses_goes_on(world: World) -> None:
    """Otherwise the lease runs out under a long step, which then runs once more."""
    go = threading.Event()

    def long() -> str:
        assert go.wait(20)
        return world.effect("long")

    @workflow(id="td-beat")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("long", long)

    async with world.deploy(body) as env:
        fault = world.wire.meanwhile("get paused of h#", raises(BackendError("down")), only=in_heartbeat)
        world.limits(renew=0.002, controls=-1.0)
        handle = await env.start(body)
        owner = world.begin()
        await world.until(lambda: fault.reached)
        seen = world.renewals
        await world.until(lambda: world.renewals > seen + 2)
        go.set()
        await owner.end()
        assert await env.finish(handle) == "long"
    assert world.ran("long") == 1


@law
async def test_an_error_of_the_runtime_itself_counts_as_a_death(world: World) -> None:
    """Anything but an outage: it would come again for ever."""

    @workflow(id="td-bug")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", minutes=1)
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        faults = [world.wire.meanwhile("put r#a", raises(TypeError("a bug")), nth=nth) for nth in range(1, 30)]
        for _ in range(30):
            await deliver_and_let_fail(world)
            detail = await env.describe(handle)
            if detail.completed_at is not None:
                break
        assert detail.error is not None
        assert (detail.status, detail.error.type) == ("failed", "CrashLoopError")
        assert sum(fault.reached for fault in faults) == 5


@law
async def test_a_body_whose_raw_wait_never_fits_into_an_invocation_fails_in_the_end(world: World) -> None:
    """Nothing is recorded of a raw sleep: it begins anew in each invocation, is never done, and must not go on so."""
    entered: list[int] = []

    @workflow(id="td-raw")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", world.effect)
        entered.append(1)
        await asyncio.sleep(30)

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        delivery = world.take()
        for _ in range(12):
            before = len(entered)
            owner = world.begin(delivery)
            await world.until(lambda before=before, owner=owner: len(entered) > before or owner.over)
            if not owner.over:
                env.harness.clock.advance(12)
                env.harness.engine.poke(handle.id)
            await owner.end()
            detail = await env.describe(handle)
            if detail.completed_at is not None:
                break
            delivery = await next_delivery(world)
        assert detail.error is not None
        assert (detail.status, detail.error.type) == ("failed", "CrashLoopError")
    assert len(entered) == 6, "the first of them has recorded something"


@law
async def test_a_replay_that_never_fits_into_an_invocation_fails_in_the_end(world: World) -> None:
    """Each invocation has enough to do with reading what is recorded, and hands over before anything new begins."""

    @workflow(id="td-replay")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", minutes=1)
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body, invocation_seconds=20) as env:
        handle = await env.start(body)
        await env.settle()
        slow = [
            world.wire.meanwhile(f"query  of {handle.id}", lambda: env.harness.clock.advance(12), nth=nth)
            for nth in range(1, 20)
        ]
        with pytest.raises(WorkflowFailedError, match="CrashLoopError"):
            await env.finish(handle)
    assert (sum(one.reached for one in slow), world.ran("a")) == (9, 0), "five, three that make a pause, and the last"


@law
async def test_a_slow_replay_now_and_then_is_no_death(world: World) -> None:
    """Four times nothing fits into an invocation, then something does; and again. Only such in a row are counted."""

    @workflow(id="td-replay-now-and-then")
    async def body(ctx: WorkflowContext) -> list[str]:
        await ctx.step.wait_for("nap", minutes=1)
        first = await ctx.step.run("a", slow_from_now, "a")
        await ctx.step.wait_for("another", minutes=1)
        return [first, await ctx.step.run("b", world.effect)]

    async with world.deploy(body, invocation_seconds=20) as env:

        def slow_from_now(value: str = "") -> str:
            world.wire.quiet()
            for nth in range(1, 8):  # the loads of four deaths, and of the three pauses after them
                world.wire.meanwhile(f"query  of {handle.id}", lambda: env.harness.clock.advance(12), nth=nth)
            return value

        handle = await env.start(body)
        await env.settle()
        slow_from_now()
        assert await env.finish(handle) == ["a", "b"]


@law
async def test_messages_of_an_execution_whose_code_is_not_there_are_no_deaths(world: World) -> None:
    """A deployment without the workflow, and a client that repeats its start: whoever claims for it has no code."""

    @workflow(id="td-no-code")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", hours=1)
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        (start,) = world.messages
        engine, workflows = env.harness.engine, env.harness.engine.workflows
        engine.workflows = dict
        for _ in range(7):
            await world.again(start, new_id=True).end()
            await env.advance(minutes=1)
        engine.workflows = workflows
        assert (await env.describe(handle)).deaths == 0
        assert await env.finish(handle) == "a"


@law
async def test_a_cancel_after_an_outage_still_runs_the_cleanup(world: World) -> None:
    """The body had run before its lease was given back: the execution is not one that never began."""
    done: list[str] = []

    @workflow(id="outage-saga")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("charge", done.append, "charge")
        try:
            await ctx.step.wait_for("wait", hours=1)
        finally:
            await ctx.step.run("refund", done.append, "refund")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        fault = world.wire.meanwhile("put r#wait", raises(BackendError("throttled")))
        await deliver_until(world, fault)
        await env.cancel(handle)
        await env.settle()
        assert (await env.describe(handle)).status == "cancelled"
    assert done == ["charge", "refund"]
