"""One turn against what others write meanwhile: orders, reloads, registered waits, late attempts. L1, L8, L9."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from polos import WorkflowContext, current_step, workflow
from polos.core import items
from tests.laws.worlds import World, law


@law
async def test_a_raw_sleep_beside_a_step_replays(world: World) -> None:
    """The step behind the raw sleep ended first. In the replay it is not asked for yet when its outcome is next."""
    go = threading.Event()

    @workflow(id="ti-raw")
    async def body(ctx: WorkflowContext) -> list[str]:
        async def behind() -> str:
            await asyncio.sleep(0.01)
            got = await ctx.step.run("behind", world.effect)
            go.set()
            return got

        def slow() -> str:
            assert go.wait(20)
            return world.effect()

        got = await asyncio.gather(ctx.step.run("slow", slow), behind())
        await ctx.step.wait_for("nap", hours=1)
        return got

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == ["slow", "behind"]
        assert world.records(handle)["o#0#000000"][items.KEYS][0] == "behind"  # type: ignore[index]
    assert world.repeated == []


@pytest.mark.parametrize("landed", [False, True], ids=["", "a late record of it has landed"])
@law
async def test_an_attempt_that_ends_unrecorded_after_a_reload_is_begun_again(world: World, landed: bool) -> None:
    """A step runs while others' records make the turn read and replay anew, so that the body asks for it once more;
    then the attempt fails, with less than a second to the next. Where a zombie's record of it has landed meanwhile, and
    waits for its place in the recorded order, it must not run again."""
    go, held, attempts, seen = threading.Event(), threading.Event(), list[int](), list[str]()

    def flaky() -> str:
        attempts.append(current_step().attempt)
        if len(attempts) == 1:
            assert go.wait(20)
            raise ConnectionError("once")
        return "mine"

    @workflow(id="ti-reload")
    async def body(ctx: WorkflowContext) -> list[str]:
        async def note(key: str) -> str:
            got = await ctx.step.run(key, world.effect)
            seen.append(key)
            return got

        async def late() -> str:
            await asyncio.to_thread(held.wait, 20)
            return await ctx.step.run("late", world.effect)

        return await asyncio.gather(note("a"), note("b"), ctx.step.run("flaky", flaky, base_delay=0.1), late())

    async with world.deploy(body) as env:
        handle = await env.start(body)
        owner = world.begin()
        await world.until(lambda: len(seen) == 2)
        order = [seen[1], seen[0], *(["late", "flaky"] if landed else [])]
        if landed:
            recorded = world.records(handle)["r#a"]
            for key in ("late", "flaky"):
                zombies = {**recorded, items.SK: f"r#{key}", items.VALUE: '"zombie"'}
                world.table.put(zombies)
        about: dict[str, Any] = {items.TICKS: list(range(len(order))), items.KEYS: order, items.EPOCH: 0}
        world.table.put(items.keyed(items.order(handle.id, 0, 0), about))
        world.wake_is_spent(handle.id, body.id)
        await world.until(lambda: len(seen) == 4)
        go.set()
        if landed:
            await asyncio.sleep(0.05)
        else:
            await world.until(lambda: len(attempts) == 2)
        held.set()
        await owner.end()
        assert await env.finish(handle) == ["a", "b", *(["zombie", "zombie"] if landed else ["mine", "late"])]
        assert (await env.describe(handle)).invocations == 1
    assert attempts == ([1] if landed else [1, 2])
    assert seen[:2] == seen[3:1:-1], "it was replayed in the other order"


@law
async def test_a_short_backoff_does_not_begin_a_step_near_the_deadline(world: World) -> None:
    """The attempt fails with 8 s of the invocation left; the next one, a tenth of a second later, is another's."""
    claims: list[int] = []

    def flaky() -> str:
        claims.append(sum(line.startswith("claim") for line in world.wire.lines))
        if len(claims) == 1:
            world.env.harness.clock.advance(12)
            raise ConnectionError("once")
        return "good"

    @workflow(id="ti-deadline")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("flaky", flaky, base_delay=0.1)

    async with world.deploy(body, invocation_seconds=20) as env:
        assert await env.finish(await env.start(body)) == "good"
    assert claims == [1, 2]


@law
async def test_an_edit_of_the_topic_of_an_open_wait_registers_it_anew(world: World) -> None:
    """The execution sleeps with a wait for the old topic; the new code waits, under the same key, for another."""

    def code(topic: str) -> Any:
        @workflow(id="ti-topic")
        async def body(ctx: WorkflowContext) -> Any:
            event, _ = await asyncio.gather(ctx.step.wait_for_event("wait", topic), ctx.step.wait_for("nap", minutes=1))
            return event.data

        return body

    old = code("ti/old")
    async with world.deploy(old) as env:
        handle = await env.start(old)
        await env.settle()
        env.deploy(code("ti/new"))
        await env.advance(minutes=2)
        await env.publish("ti/new", "heard")
        assert await env.finish(handle) == "heard"


@law
async def test_waits_whose_keys_begin_alike_are_all_registered(world: World) -> None:
    """What is shown of the open waits is cut to a length; a wait that is opened later has a key like a cut one."""
    keys = ["k" * 400, "k" * 300, "k" * 40, "k" * 39]

    @workflow(id="ti-alike")
    async def body(ctx: WorkflowContext) -> list[Any]:
        waits = [asyncio.create_task(ctx.step.wait_for_event(key, "ti/alike")) for key in keys[:2]]
        await ctx.step.wait_for("nap", minutes=1)
        waits += [asyncio.create_task(ctx.step.wait_for_event(key, f"ti/alike/{len(key)}")) for key in keys[2:]]
        return [(await wait).data for wait in waits]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=2)
        for topic in ("ti/alike", "ti/alike", "ti/alike/40", "ti/alike/39"):
            await env.publish(topic, topic)
            await env.settle()
        assert await env.finish(handle) == ["ti/alike", "ti/alike", "ti/alike/40", "ti/alike/39"]


@law
async def test_a_wait_that_is_known_is_not_registered_again_in_each_turn(world: World) -> None:
    @workflow(id="ti-known")
    async def body(ctx: WorkflowContext) -> list[Any]:
        waits = [asyncio.create_task(ctx.step.wait_for_event(f"w{n}", f"ti/{n}")) for n in range(9)]
        for turn in range(3):
            await ctx.step.wait_for(f"nap {turn}", minutes=1)
        return [(await wait).data for wait in waits]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=4)
        assert (await env.describe(handle)).invocations == 4
        assert len([line for line in world.wire.lines if line.startswith("put w#")]) == 9


@law
async def test_which_event_a_wait_takes_follows_from_a_written_order(world: World) -> None:
    """Two outcomes were handed out and their order is not written yet when an event comes and the owner looks."""
    go, seen = threading.Event(), list[str]()

    @workflow(id="ti-look")
    async def body(ctx: WorkflowContext) -> Any:
        async def note(key: str) -> None:
            await ctx.step.run(key, world.effect)
            seen.append(key)

        held = ctx.step.run("held", lambda: go.wait(20) and None)
        event, *_ = await asyncio.gather(ctx.step.wait_for_event("wait", "ti/look"), note("a"), note("b"), held)
        return event.data

    async with world.deploy(body) as env:
        handle = await env.start(body)
        owner = world.begin()
        await world.until(lambda: len(seen) == 2)
        before = len(world.wire.lines)
        await env.publish("ti/look", "seen")
        await env.settle()
        await world.until(lambda: world.is_recorded(handle.id, "wait"))
        go.set()
        await owner.end()
        mine = [line for line in world.wire.lines[before:] if line.startswith(("put o#", "query e#"))]
        assert mine[0].startswith("put o#"), mine
        assert await env.finish(handle) == "seen"


@law
async def test_an_attempt_that_ignores_its_cancellation_records_nothing_after_the_turn(world: World) -> None:
    """The execution has failed and its turn is over when the step comes back, as if nothing had happened."""
    go, began, over = asyncio.Event(), threading.Event(), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def stubborn() -> str:
        loops.append(asyncio.get_running_loop())
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue
        over.set()
        return "late"

    def fails() -> None:
        assert began.wait(20)
        raise ValueError("no")

    @workflow(id="ti-stubborn", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        await asyncio.gather(ctx.step.run("stubborn", stubborn), ctx.step.run("fails", fails, max_retries=0))

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await world.begin().end()
        assert (await env.describe(handle)).status == "failed"
        loops[0].call_soon_threadsafe(go.set)
        await world.until(over.is_set)
        await asyncio.sleep(0.05)
        assert not world.is_recorded(handle.id, "stubborn")
