"""L13 one owner: one invocation at a time advances an execution, by a lease that expires and is renewed."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.core import items
from polos.engine.ledger import Holder
from polos.limits import Limits
from polos.ports import ConditionFailed
from tests.laws.mixed import Mixed
from tests.laws.worlds import World, law


@pytest.mark.parametrize("after", [False, True], ids=["request late", "reply late"])
@law
async def test_L13_two_invocations_interleaved_at_each_request(world: World, after: bool) -> None:
    """Hold the first owner at each of its requests, let its lease run out and a second run to its end, then go on."""
    mixed = Mixed(world)
    async with world.deploy(*mixed.workflows) as env:
        calm = await mixed.start("calm")
        expected = await mixed.finish(calm)
        trace = mixed.trace(calm)
        nth, reached, held = 0, True, set[str]()
        while reached:
            nth += world.stride
            world.effects.clear()
            handle = await mixed.start(f"run{nth}")
            gate = world.wire.block("", nth=nth, after=after)
            zombie = await world.run_until(gate)
            reached = zombie is not None
            for _ in range(4):
                await env.advance(minutes=20)
            before = (await env.describe(handle)).status, world.records(handle)
            if zombie is not None:
                gate.release()
                await zombie.end()
                held.add((gate.fault.hit or "").split(" ")[0])
            where = (nth, gate.fault.hit)
            if before[0] == "completed":
                after_it = world.records(handle)  # what was on the wire may land, and contradicts nothing
                assert {sk: item for sk, item in after_it.items() if sk in before[1]} == before[1], where
                assert {sk for sk in set(after_it) - set(before[1]) if sk[:2] not in ("o#", "p#", "s#")} <= {
                    "r#other"
                }, where
            world.wire.quiet()
            assert await mixed.finish(handle) == expected, where
            assert mixed.trace(handle) == trace, where
            assert {key for key, _ in world.effects} == {"a", "b", "flaky", "hopeless", "winner", "y",
                                                         "child step", "free step"}, where  # fmt: skip
            assert world.repeated == [], where
        assert nth > 40
        assert world.stride > 1 or {"claim", "put", "suspend", "finish", "send"} <= held


@law
async def test_L13_a_live_lease_is_never_taken(world: World) -> None:
    """Wakes, copies, resumes and events meet the owner over its whole lease: each leaves a mark and goes away."""

    @workflow(id="l13-live")
    async def body(ctx: WorkflowContext) -> Any:
        await ctx.step.run("a", world.effect)
        return (await ctx.step.suspend("ask"))["data"]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#a")
        owner = world.begin()
        await gate.reach()
        for second in range(5):
            await env.resume(handle, "ask", second)
            await world.again(world.messages[0]).end()
            await env.publish("l13/unrelated")
            await env.settle()
            env.harness.clock.advance(4)
        assert world.ran("a") == 1
        assert world.execution(handle)["ep"] == 1
        gate.release()
        await owner.end()
        assert await env.finish(handle) == 0
        assert world.ran("a") == 1
        assert (await env.describe(handle)).invocations == 1, "the marks kept the owner from suspending"


@law
async def test_L13_an_owner_that_hears_of_very_much_does_not_grow_the_item(world: World) -> None:
    """Each mark leaves its message's tag. Beyond some the message is kept instead, and comes after the lease."""

    @workflow(id="l13-much")
    async def body(ctx: WorkflowContext) -> Any:
        await ctx.step.run("a", world.effect)
        return (await ctx.step.suspend("ask"))["data"]

    async with world.deploy(body) as env:
        world.limits(spent_while_owned=3)
        handle = await env.start(body)
        gate = world.wire.block("put r#a")
        owner = world.begin()
        await gate.reach()
        for number in range(8):
            await env.resume(handle, "ask", number)
            await env.settle()
        assert len(items.strings(world.execution(handle), items.SPENT)) == 3
        gate.release()
        await owner.end()
        assert await env.finish(handle) == 0
        await world.outlive()
        assert env.harness.take_due() is None
        assert world.ran("a") == 1


@law
async def test_L13_a_lease_is_renewed_for_as_long_as_a_step_takes(world: World) -> None:
    go = threading.Event()

    def slow() -> str:
        assert go.wait(20)
        return world.effect("slow")

    @workflow(id="l13-renewed")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("slow", slow)

    async with world.deploy(body) as env:
        world.limits(renew=0.002)
        handle = await env.start(body)
        owner = world.begin()
        for _ in range(12):
            seen = world.renewals
            await world.until(lambda seen=seen: world.renewals > seen + 1)
            env.harness.clock.advance(10)
            await env.settle()  # the message, were it visible again, would be delivered here
        assert world.execution(handle)["ep"] == 1
        go.set()
        await owner.end()
        assert await env.finish(handle) == "slow"
        assert (await env.describe(handle)).invocations == 1
    assert world.ran("slow") == 1


@law
async def test_L13_a_renewal_that_comes_late_does_not_shorten_the_one_after_it(world: World) -> None:
    @workflow(id="l13-late-renewal")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("a", world.effect, "a")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#a")
        owner = world.begin()
        await gate.reach()
        item = world.execution(handle)
        holder, until = Holder(handle.id, 1, str(item["lt"])), int(str(item["lu"]))
        ledger = env.harness.engine.ledger
        ledger.renew(holder, until + 30_000)
        with pytest.raises(ConditionFailed):
            ledger.renew(holder, until + 15_000)
        assert world.execution(handle)["lu"] == until + 30_000
        gate.release()
        await owner.end()
        assert await env.finish(handle) == "a"


@law
async def test_L13_an_owner_sends_nothing_near_the_end_of_its_lease(world: World) -> None:
    """By its own monotonic clock: 5 s before the end it stops, whatever the table still says."""

    def late() -> str:
        world.env.harness.clock.advance(26)
        return world.effect("late")

    @workflow(id="l13-margin")
    async def body(ctx: WorkflowContext) -> list[str]:
        return [await ctx.step.run("a", world.effect), await ctx.step.run("late", late)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await world.begin().end()
        assert not world.is_recorded(handle.id, "late")
        assert world.wire.lines[-1].startswith("answer"), "nothing was asked after the step"
        assert [line for line in world.wire.lines if "late" in line] == []
        assert world.ran("late") == 1
        assert (await env.describe(handle)).status == "running"


@pytest.mark.parametrize("what", ["nap", "flaky", "ask"])
@law
async def test_L13_a_record_whose_wake_was_slow_is_not_sent_after_the_lease(world: World, what: str) -> None:
    """The wake for a timer, a next attempt or a time limit is on the wire until the lease is over; its record, which
    comes second, is not sent any more."""

    def flaky() -> str:
        if world.env.now.timestamp() < limit:
            raise ValueError("not yet")
        return world.effect("flaky")

    @workflow(id="l13-slow-wake")
    async def body(ctx: WorkflowContext) -> str:
        match what:
            case "nap":
                await ctx.step.wait_for("nap", seconds=60)
            case "flaky":
                await ctx.step.run("flaky", flaky, base_delay=60, max_delay=60)
            case _:
                await ctx.step.suspend("ask", timeout=60)
        return what

    async with world.deploy(body) as env:
        limit = world.env.now.timestamp() + 20
        handle = await env.start(body)
        gate = world.wire.block("send wake", after=True)
        owner = world.begin()
        await gate.reach()
        env.harness.clock.advance(26)
        gate.release()
        await owner.end()
        assert f"r#{what}" not in world.records(handle)
        await env.advance(minutes=5)
        if what == "ask":
            assert (await env.describe(handle)).status == "failed"
        else:
            assert await env.finish(handle) == what


@law
async def test_L13_an_at_most_once_step_whose_mark_was_slow_is_not_called_after_the_lease(world: World) -> None:
    @workflow(id="l13-slow-mark")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("once", world.effect, "done", at_most_once=True, max_retries=1, base_delay=60)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put s#once", after=True)
        owner = world.begin()
        await gate.reach()
        env.harness.clock.advance(26)
        gate.release()
        await owner.end()
        assert world.ran("once") == 0
        assert await env.finish(handle) == "done"
        assert world.ran("once") == 1, "it counted as interrupted, and took its next attempt"


@law
async def test_L13_a_suspend_whose_data_were_slow_to_store_is_not_marked_after_the_lease(world: World) -> None:
    shown = random.Random(13).randbytes(200_000).hex()  # too long for an item

    @workflow(id="l13-slow-data")
    async def body(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask", {"shown": shown}))["data"]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("store", after=True)
        owner = world.begin()
        await gate.reach()
        env.harness.clock.advance(26)
        gate.release()
        await owner.end()
        assert [line for line in world.wire.lines if "s#ask" in line] == []
        await env.settle()
        await env.resume(handle, "ask", "yes")
        assert await env.finish(handle) == "yes"


@law
async def test_L13_a_mark_keeps_the_owner_from_suspending(world: World) -> None:
    @workflow(id="l13-mark")
    async def body(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask"))["data"]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("suspend")
        owner = world.begin()
        await gate.reach()
        await env.resume(handle, "ask", "meanwhile")
        await env.settle()
        gate.release()
        await owner.end()
        detail = await env.describe(handle)
        assert (detail.status, detail.result, detail.invocations) == ("completed", "meanwhile", 1)


@law
async def test_L13_a_mark_that_comes_after_the_suspend_claims_instead(world: World) -> None:
    """Race "mark lost between turns": the claim fails on a live owner, who suspends before the mark is written."""

    @workflow(id="l13-between")
    async def body(ctx: WorkflowContext) -> Any:
        return (await ctx.step.suspend("ask"))["data"]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("suspend")
        owner = world.begin()
        await gate.reach()
        await env.resume(handle, "ask", "in between")
        late_mark = world.wire.block("mark")
        waker = world.begin()
        await late_mark.reach()
        gate.release()
        await owner.end()
        assert (await env.describe(handle)).status == "waiting"
        late_mark.release()
        await waker.end()
        detail = await env.describe(handle)
        assert (detail.status, detail.result, detail.invocations) == ("completed", "in between", 2)


@law
async def test_L13_a_zombie_deletes_no_waiter_of_its_heir(world: World) -> None:
    @workflow(id="l13-waiter")
    async def body(ctx: WorkflowContext) -> list[Any]:
        first = asyncio.create_task(ctx.step.wait_for_event("first", "l13/a"))
        second = asyncio.create_task(ctx.step.wait_for_event("second", "l13/b"))
        done, left = await asyncio.wait({first, second}, return_when=asyncio.FIRST_COMPLETED)
        (done_one,) = done
        got = [await ctx.step.run("won", world.effect, done_one.result().data)]
        for task in left:
            got.append((await task).data)
        return got

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l13/a", "a")
        event = world.take()
        await world.begin(event).end()
        gate = world.wire.block("put r#won")
        zombie = world.begin()
        await gate.reach()
        await env.advance(seconds=31)
        assert (await env.describe(handle)).status == "waiting"
        gate.release()
        await zombie.end()
        assert len(world.waiters("l13/b")) == 1
        await env.publish("l13/b", "b")
        assert await env.finish(handle) == ["a", "b"]


@law
async def test_L13_a_zombie_that_ends_leaves_the_notice_of_its_heir_in_place(world: World) -> None:
    """A mark reaches an owner in the same process at once; the end of an earlier owner must not cut that off."""
    go = threading.Event()

    begun: list[int] = []

    def slow() -> str:
        begun.append(1)
        if world.ran("slow"):
            assert go.wait(20)
        return world.effect("slow")

    @workflow(id="l13-notice")
    async def body(ctx: WorkflowContext) -> Any:
        step = asyncio.create_task(ctx.step.run("slow", slow))
        given = await ctx.step.suspend("ask")
        go.set()
        return [given["data"], await step]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#slow")
        zombie = world.begin()
        await gate.reach()
        env.harness.clock.advance(31)
        heir = world.begin()
        await world.until(lambda: len(begun) == 2)
        gate.release()
        await zombie.end()
        await env.resume(handle, "ask", "hello")
        await world.begin().end()
        assert await asyncio.to_thread(go.wait, 5), "the heir was told at once"
        await heir.end()
        assert await env.finish(handle) == ["hello", "slow"]


def test_L13_the_numbers_of_the_lease() -> None:
    limits = Limits()
    assert (limits.lease, limits.renew, limits.margin) == (30.0, 15.0, 5.0)
