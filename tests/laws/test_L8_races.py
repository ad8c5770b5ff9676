"""L8 race: a race is decided once, recorded before the body goes on from it, and decided so by every later replay."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.core import items
from tests.laws.worlds import World, law


def event_or_timer(world: World, more: int = 3) -> Any:
    """First of an event and a timer, then a step of the winner's branch, then more resumptions."""

    @workflow(id="l8-event-or-timer")
    async def body(ctx: WorkflowContext, topic: str) -> list[str]:
        event = asyncio.create_task(ctx.step.wait_for_event("event", topic), name="event")
        timer = asyncio.create_task(ctx.step.wait_for("timer", minutes=10), name="timer")
        done, _ = await asyncio.wait({event, timer}, return_when=asyncio.FIRST_COMPLETED)
        winners = "+".join(sorted(task.get_name() for task in done))
        got = [await ctx.step.run(f"{winners} won", world.effect)]
        for n in range(more):
            await ctx.step.wait_for(f"pause {n}", hours=1)
            got.append(await ctx.step.run(f"{winners} {n}", world.effect))
        return got

    return body


@pytest.mark.parametrize("winner", ["event", "timer"])
@law
async def test_L8_race_event_or_timer_is_decided_once(world: World, winner: str) -> None:
    body = event_or_timer(world)
    async with world.deploy(body) as env:
        handle = await env.start(body, "l8/decided")
        await env.settle()
        if winner == "event":
            await env.publish("l8/decided")
        else:
            await env.advance(minutes=11)
            await env.publish("l8/decided")
        await env.settle()
        expected = [f"{winner} won", *(f"{winner} {n}" for n in range(3))]
        assert await env.finish(handle) == expected
        assert [key for key, _ in world.effects] == expected
        assert any(sk.startswith("o#") for sk in world.records(handle))


@pytest.mark.parametrize("winner", ["event", "timer"])
@law
async def test_L8_race_the_loser_arrives_over_three_more_resumptions(world: World, winner: str) -> None:
    body = event_or_timer(world)
    async with world.deploy(body) as env:
        handle = await env.start(body, "l8/later")
        await env.settle()
        if winner == "event":
            await env.publish("l8/later")
            await env.advance(minutes=5)  # the timer comes due while the body waits elsewhere
        else:
            await env.advance(minutes=11)
        assert world.ran(f"{winner} won") == 1
        for n in range(3):
            await env.publish("l8/later", n)
            await env.advance(hours=1)
            assert world.ran(f"{winner} {n}") == 1
        assert len(await env.finish(handle)) == 4
        assert all(key.startswith(winner) for key, _ in world.effects)
        assert [world.ran(f"{winner} {n}") for n in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("after", [False, True], ids=["before the order is written", "after the order is written"])
@law
async def test_L8_race_two_events_the_process_dies_and_an_older_loser_arrives(world: World, after: bool) -> None:
    """The loser's event is older than the winner's: only what was recorded can tell how the race went."""

    @workflow(id="l8-two-events")
    async def body(ctx: WorkflowContext) -> str:
        x = asyncio.create_task(ctx.step.wait_for_event("x", "l8/x"), name="x")
        y = asyncio.create_task(ctx.step.wait_for_event("y", "l8/y"), name="y")
        done, _ = await asyncio.wait({x, y}, return_when=asyncio.FIRST_COMPLETED)
        winner = min(task.get_name() for task in done)
        first = await ctx.step.run(f"{winner} won", world.effect)
        await ctx.step.wait_for("pause", hours=1)
        await ctx.step.run(f"{winner} later", world.effect)
        return first

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l8/y")
        held = world.take()  # the older event is on its way, and late
        await env.advance(seconds=5)
        await env.publish("l8/x")
        fault = world.wire.crash("put o#" if not after else "put r#x won", after=False)
        await env.settle()
        assert fault.reached
        assert env.crashes == 1
        assert world.is_recorded(handle.id, "x")
        assert any(sk.startswith("o#") for sk in world.records(handle)) is after
        await world.begin(held).end()  # the loser arrives while nobody runs
        await env.advance(seconds=31)
        result = await env.finish(handle)
        keys = [key for key, _ in world.effects]
        if after:  # recorded: x has won for good, also against an older event
            assert result == "x won"
            assert keys == ["x won", "x won", "x later"], "the step in flight ran again, in the same branch"
        else:  # nothing had followed from the race: one winner, whichever
            assert keys == [result, result.replace("won", "later")]
        assert world.repeated == []


@law
async def test_L8_race_the_order_is_recorded_before_the_first_effect_of_the_winner(world: World) -> None:
    body = event_or_timer(world, 0)
    async with world.deploy(body) as env:
        handle = await env.start(body, "l8/before")
        await env.settle()
        start = len(world.wire.lines)
        await env.publish("l8/before")
        assert await env.finish(handle) == ["event won"]
        lines = [line.split(" of ")[0] for line in world.wire.lines[start:]]
        assert lines.index("put o#0#000000") < lines.index("put r#event won")


@pytest.mark.parametrize("winner", ["a", "b"])
@law
async def test_L8_race_first_of_two_children(world: World, winner: str) -> None:
    @workflow(id="l8-child")
    async def child(ctx: WorkflowContext, name: str) -> str:
        await ctx.step.wait_for_event("go", f"l8/go/{name}")
        return name

    @workflow(id="l8-parent")
    async def body(ctx: WorkflowContext) -> list[str]:
        open_ = {asyncio.create_task(ctx.step.invoke_and_wait(f"child {name}", child, name)) for name in ("a", "b")}
        got: list[str] = []
        while open_:
            done, open_ = await asyncio.wait(open_, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                got.append(await ctx.step.run(f"{len(got)} {task.result()}", world.effect))
                await ctx.step.wait_for(f"pause {len(got)}", hours=1)
        return got

    loser = "b" if winner == "a" else "a"
    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish(f"l8/go/{winner}")
        await env.settle()
        assert [key for key, _ in world.effects] == [f"0 {winner}"]
        await env.publish(f"l8/go/{loser}")
        assert await env.finish(handle) == [f"0 {winner}", f"1 {loser}"]
        assert [key for key, _ in world.effects] == [f"0 {winner}", f"1 {loser}"]


@law
async def test_L8_race_dying_at_every_request_with_the_loser_arriving_then(world: World) -> None:
    """From the winner's arrival on, die at each request in turn; the loser, which is older, arrives at that moment."""

    @workflow(id="l8-everywhere")
    async def body(ctx: WorkflowContext, run: str) -> list[str]:
        tasks = [
            asyncio.create_task(ctx.step.wait_for_event(name, f"l8/{run}/{name}"), name=name) for name in ("x", "y")
        ]
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = min(task.get_name() for task in done)
        for task in left:
            task.cancel()
        got: list[Any] = [await ctx.step.run(f"{winner} won", world.effect)]
        got.append((await ctx.step.wait_for_event("more", f"l8/{run}/y")).data)
        got.append(await ctx.step.run(f"{winner} last", world.effect))
        return got

    async with world.deploy(body) as env:
        crashed = True
        nth = 0
        while crashed:
            nth += 1
            run = f"run{nth}"
            handle = await env.start(body, run)
            await env.settle()
            await env.publish(f"l8/{run}/y", "older")
            held = world.take()
            await env.advance(seconds=5)
            await env.publish(f"l8/{run}/x", "newer")
            fault = world.wire.crash("", nth=nth, after=nth % 2 == 0)
            await env.settle()
            crashed = fault.reached
            world.wire.quiet()
            world.effects.clear() if not crashed else None
            await world.begin(held).end()
            await env.advance(seconds=31)
            await env.publish(f"l8/{run}/y", "newest")
            got = await env.finish(handle)
            winner = got[0][0]
            assert got == [f"{winner} won", "older" if winner == "x" else "newest", f"{winner} last"], (nth, fault.hit)
            assert len({key for key, _ in world.effects if "won" in key}) <= 1, (nth, fault.hit)
            assert world.repeated == []
            world.effects.clear()
        assert nth > 6


@law
async def test_L8_a_wait_that_lost_is_given_up_only_after_the_order_is_recorded(world: World) -> None:
    """Giving up a wait removes its waiter: if the race then went the other way, its event would wake nobody."""

    @workflow(id="l8-give-up")
    async def body(ctx: WorkflowContext) -> str:
        third = asyncio.create_task(ctx.step.wait_for_event("third", "l8/third"))
        tasks = [asyncio.create_task(ctx.step.wait_for_event(n, f"l8/give-up/{n}"), name=n) for n in ("x", "y")]
        done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if min(task.get_name() for task in done) == "x":
            third.cancel()
            await asyncio.wait(left)
            return "x"
        return (await third).data

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l8/give-up/x")
        fault = world.wire.crash(f"delete w#{handle.id}#third", after=True)
        await env.settle()
        assert fault.reached
        assert any(sk.startswith("o#") for sk in world.records(handle)), "the order comes before what follows from it"


@law
async def test_L8_sequential_code_pays_nothing(world: World) -> None:
    @workflow(id="l8-leaf")
    async def leaf(ctx: WorkflowContext) -> None:
        await ctx.step.run("leaf", world.effect)

    @workflow(id="l8-sequential")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", world.effect)
        await ctx.step.wait_for("b", hours=1)
        await ctx.step.wait_for_event("c", "l8/sequential", timeout=60)
        await ctx.step.invoke_and_wait("d", leaf)
        await ctx.step.uuid("e")
        await ctx.step.suspend("f")
        await ctx.step.run("g", world.effect)

    async with world.deploy(body, leaf) as env:
        handle = await env.start(body)
        await env.publish("l8/sequential")
        await env.resume(handle, "f")
        await env.finish(handle)
        assert [line for line in world.wire.lines if line.startswith("put o#")] == []
        assert [sk for sk in world.records(handle) if sk.startswith("o#")] == []


@law
async def test_L8_gather_writes_one_order_item_for_an_effect_not_one_an_outcome(world: World) -> None:
    @workflow(id="l8-gather")
    async def body(ctx: WorkflowContext) -> None:
        await asyncio.gather(*(ctx.step.run(f"step {n}", world.effect) for n in range(20)))
        await ctx.step.run("after", world.effect)

    async with world.deploy(body) as env:
        await env.finish(await env.start(body))
    assert len([line for line in world.wire.lines if line.startswith("put o#")]) == 1


@law
async def test_L8_order_of_a_very_wide_gather_goes_into_several_items(world: World) -> None:
    """An item has at most 400 KB. The process dies between two of them; a later turn goes on from there."""
    wide, died = 800, world.wire.crash(r"put o#", nth=2)

    @workflow(id="l8-wide", max_retries=0)
    async def body(ctx: WorkflowContext) -> int:
        got = await asyncio.gather(*(ctx.step.run(f"{n:04d}" + "k" * 500, world.effect, n) for n in range(wide)))
        return await ctx.step.run("sum", sum, got)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == sum(range(wide))
        orders = [item for sk, item in world.records(handle).items() if sk.startswith("o#")]
        assert died.reached
        assert len(orders) == 2
        assert sum(len(items.strings(item, items.KEYS)) for item in orders) == wide - 1
        assert all(len(str(item)) < 400_000 for item in orders)
    assert world.repeated == []
    assert len(world.effects) == wide
