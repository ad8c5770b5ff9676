"""Places in line and slots against deaths, ends and cancels. SPEC 7."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowCancelledError, WorkflowContext, workflow
from polos.core import items
from polos.core.items import Key
from polos.engine.commands import wake
from polos.handle import ExecutionHandle
from polos.ports import Message
from polos.testing import Environment
from tests.laws.wire import Gate
from tests.laws.worlds import Invocation, World, law

QUEUE = items.queue("qs", "")


def limited(world: World) -> Any:
    @workflow(id="qs-limited", queue={"name": "qs", "concurrency_limit": 1})
    async def body(ctx: WorkflowContext, name: str) -> str:
        try:
            await ctx.step.run(f"a {name}", world.effect)
            await ctx.step.run(f"b {name}", world.effect)
        finally:
            await ctx.step.run(f"cleanup {name}", world.effect)
        return name

    return body


async def hold(world: World, body: Any) -> tuple[ExecutionHandle, Gate, Invocation]:
    """An execution X that stands in a step, in the one slot."""
    handle = await world.env.start(body, "X")
    gate = world.wire.block("put r#a X")
    owner = world.begin()
    await gate.reach()
    return handle, gate, owner


def places(world: World) -> list[str]:
    return [str(one[items.EXECUTION_ID]) for one in world.table.query(QUEUE, prefix="w#")]


async def ends(env: Environment, *handles: ExecutionHandle) -> list[str]:
    return [(await env.describe(handle)).status for handle in handles]


@pytest.mark.parametrize("nth", [1, 2], ids=["put", "second try"])
@law
async def test_a_place_whose_owner_died_blocks_nobody(world: World, nth: int) -> None:
    """E dies when its place in line is written, before it says so on its own item; X ends; E runs from another
    message. Its place must go with it, or the queue would wake an ended execution for ever, and F never."""
    body = limited(world)
    async with world.deploy(body) as env:
        first, gate, owner = await hold(world, body)
        second = await env.start(body, "E")
        fault = world.wire.crash("put w#" if nth == 1 else "update slots", nth=nth, after=True)
        assert (await world.begin().end()).died
        assert fault.reached
        third = await env.start(body, "F")
        await env.settle()
        gate.release()
        await owner.end()
        await env.advance(minutes=2)
        assert await ends(env, first, second, third) == ["completed"] * 3
        assert places(world) == []
        assert env.harness.next_due() is None, "a message still goes round"


@law
async def test_one_who_stands_in_line_keeps_the_place_after_a_death(world: World) -> None:
    """E dies before it says that it stands in line. The owner after it can't know whether a body has run, and notes
    that one has, so that the next one would take it for a resumption, and put down a second place beside the first."""
    body = limited(world)
    async with world.deploy(body) as env:
        _, gate, owner = await hold(world, body)
        second = await env.start(body, "E")
        fault = world.wire.crash("suspend")
        assert (await world.begin().end()).died
        assert fault.reached
        env.harness.clock.advance(31)
        again = await world.again(world.messages[-1]).end()
        assert not again.died
        (place,) = [str(one[items.SK]) for one in world.table.query(QUEUE, prefix="w#")]
        fault = world.wire.crash("suspend")
        another = Message("another", wake(second.id, "qs-limited"), 1, lambda _: None)
        assert (await world.again(another).end()).died
        assert fault.reached
        assert [str(one[items.SK]) for one in world.table.query(QUEUE, prefix="w#")] == [place]
        gate.release()
        await owner.end()


@pytest.mark.parametrize("act", ["cancel", "terminate"])
@law
async def test_an_execution_that_ends_in_line_passes_its_wake_on(world: World, act: str) -> None:
    """X holds the slot, E and F stand in line; E ends there; the slot's wake must come to F."""
    body = limited(world)
    async with world.deploy(body) as env:
        first, gate, owner = await hold(world, body)
        second = await env.start(body, "E")
        await env.settle()
        await env.advance(seconds=1)
        third = await env.start(body, "F")
        await env.settle()
        assert places(world) == [second.id, third.id]
        await (env.cancel(second) if act == "cancel" else env.client.terminate(second.id))
        await env.settle()
        gate.release()
        await owner.end()
        await env.settle()
        assert await ends(env, first, second, third) == ["completed", "cancelled", "completed"]
        assert places(world) == []
    assert world.ran("cleanup E") == 0, "it never began, so there is nothing to clean up"


@law
async def test_a_cancel_in_line_runs_the_cleanup_of_what_began_before(world: World) -> None:
    """E began in a slot, died, came back, and lost its slot in the moment between its claim and its slot; it waits
    in line when it is cancelled. It has never suspended before, but its body has run."""
    body = limited(world)
    async with world.deploy(body) as env:
        second = await env.start(body, "E")
        fault = world.wire.crash("put r#b E")
        assert (await world.begin().end()).died
        assert fault.reached
        await env.advance(seconds=29)
        gate = world.wire.block("update slots", nth=1)
        env.harness.clock.advance(2)
        again = world.begin()
        await gate.reach()
        first, held, owner = await hold(world, body)  # takes the slot of an epoch that has passed
        gate.release()
        await again.end()
        assert places(world) == [second.id]
        await env.cancel(second)
        await env.settle()
        assert (await env.describe(second)).status == "queued"
        held.release()
        await owner.end()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(second)
        assert (await env.describe(first)).status == "completed"
    assert world.ran("cleanup E") == 1


@law
async def test_what_is_resumed_stands_before_what_starts(world: World) -> None:
    """Both wait for the slot; the one that has run before goes first, although it came later."""

    @workflow(id="qs-resumed", queue={"name": "qs", "concurrency_limit": 1})
    async def body(ctx: WorkflowContext, name: str) -> None:
        if name == "R":
            await ctx.step.suspend("ask")
        await ctx.step.run(f"a {name}", world.effect)

    async with world.deploy(body) as env:
        resumed = await env.start(body, "R")
        await env.settle()
        _, gate, owner = await hold(world, body)
        await env.start(body, "E")
        await env.settle()
        await env.resume(resumed, "ask")
        await env.settle()
        assert places(world)[0] == resumed.id
        gate.release()
        await owner.end()
        await env.settle()
    assert [key for key, _ in world.effects] == ["a X", "a R", "a E"]


@law
async def test_one_slot_is_never_held_twice_whatever_dies(world: World) -> None:
    """Owners die at each of the first requests of a run, while others wait; two never work at a time."""
    working: list[str] = []
    most: list[int] = []

    async def work(name: str) -> None:
        working.append(name)
        most.append(len(working))
        await asyncio.sleep(0)
        working.remove(name)

    @workflow(id="qs-never", queue={"name": "qs", "concurrency_limit": 1})
    async def body(ctx: WorkflowContext, name: str) -> None:
        await ctx.step.run("work", work, name)

    async with world.deploy(body) as env:
        for nth in range(1, 9, world.stride):
            handles = [await env.start(body, f"{nth}/{n}") for n in range(3)]
            fault = world.wire.crash("", nth=nth)
            await env.advance(minutes=16)  # on AWS a message of which no lease came is away for the time of a function
            assert fault.reached
            assert await ends(env, *handles) == ["completed"] * 3, fault.hit
            assert places(world) == []
    assert max(most) == 1


@law
async def test_a_slot_that_the_owner_before_gives_back_at_that_moment_is_taken_anew(world: World) -> None:
    """A has suspended, and stands before giving its slot back; B, of the same execution, finds it held by an older
    epoch; A gives it back; B would keep it. B has lost nothing by that."""

    @workflow(id="qs-given-back", queue={"name": "qs", "concurrency_limit": 1})
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", seconds=5)
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("update slots", nth=2)
        before = world.begin()
        await gate.reach()
        due = env.harness.next_due()
        assert due is not None
        env.harness.clock.jump(due)
        given_back = world.wire.meanwhile("update slots", lambda: [gate.release(), before.join()], nth=2)
        await world.begin().end()
        await before.end()
        assert given_back.reached
        detail = await env.describe(handle)
        assert (detail.status, detail.result, detail.invocations) == ("completed", "a", 2)


@law
async def test_slots_that_nobody_takes_any_more_expire_and_are_made_anew(world: World) -> None:
    """There is an item for each concurrency key, and there may be as many of those as there are customers."""
    body = limited(world)
    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, "A")) == "A"
        for name in "BC":
            slots = world.table.get(Key(QUEUE, items.SLOTS))
            assert slots[items.LIMIT_COUNT] == 0
            left = slots[items.TTL] - env.now.timestamp()
            assert 29 * 86_400 < left < 31 * 86_400
            if name == "C":
                world.table.delete(Key(QUEUE, items.SLOTS))
            await env.advance(days=1)
            assert await env.finish(await env.start(body, name)) == name
        assert items.TTL in world.table.get(Key(QUEUE, items.SLOTS))
