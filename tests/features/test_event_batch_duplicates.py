"""L10: each event is in one batch, whatever comes again, in any order, or from two collectors at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from polos.engine.commands import batch, event
from polos.ports import Message
from tests.features.batches import TOPIC, Batches, left, make, publish
from tests.laws.worlds import World, law, shuffled


@pytest.mark.parametrize("new_id", [False, True], ids=["the same id", "sent twice"])
@law
async def test_L10_every_message_comes_again_at_once_and_after_the_end(world: World, new_id: bool) -> None:
    app = Batches(2, 60)
    async with world.deploy(app.workflow) as env:
        world.after_each(lambda message: world.again(message, new_id=new_id).join())
        for number in range(5):
            await env.publish(TOPIC, number)
        await env.advance(minutes=5)
        assert app.batches == [[0, 1], [2, 3], [4]]
        for message in reversed(list(world.messages)):
            await world.again(message, new_id=new_id).end()
        await env.advance(minutes=5)
        assert app.batches == [[0, 1], [2, 3], [4]]
        assert left(world) == []


@pytest.mark.parametrize("seed", range(4))
@law
async def test_L10_messages_in_any_order(world: World, seed: int) -> None:
    app = Batches(4, 60)
    async with world.deploy(app.workflow) as env:
        for number in range(10):
            await env.publish(TOPIC, number)
        await world.settle_in(shuffled(seed))
        await env.advance(minutes=3)
        app.check(range(10))


def other_collector(world: World) -> Callable[[], None]:
    """Another invocation looks for batches, and finds the lease of the first one over."""

    def look() -> None:
        world.env.harness.clock.advance(31)
        world.again(Message("another", batch("batched", None), 1, lambda _: None)).join()
        world.deliver_due()

    return look


@pytest.mark.parametrize("dies", [False, True], ids=["goes on", "dies"])
@law
async def test_L10_another_collector_comes_by_at_every_request(world: World, dies: bool) -> None:
    """The first one stands still at each of its requests in turn, is overtaken, and then goes on or dies."""
    app = Batches(2, 120)
    async with world.deploy(app.workflow) as env:
        nth, reached = 1 - world.stride, True
        while reached:
            nth += world.stride
            app.seen.clear()
            for number in range(5):
                await env.publish(TOPIC, number)
            while not any(line.startswith("send batch") for line in world.wire.lines):
                await world.begin().end()
            fault = world.wire.meanwhile("", other_collector(world), nth=nth)
            if dies:
                world.wire.crash("", nth=nth)
            await env.advance(minutes=20)
            reached = fault.reached
            world.wire.quiet()
            app.check(range(5), (nth, fault.hit))
            assert left(world) == [], (nth, fault.hit)
            world.wire.lines.clear()
        assert nth > 30


@pytest.mark.parametrize(
    "at", ["put e#", "query e#", "get_many", "update collector", "send start", "update event", "delete e#"]
)
@pytest.mark.parametrize("nth", [1, 2, 3])
@law
async def test_L10_a_collector_that_is_overtaken_goes_on_at_the_very_end(world: World, at: str, nth: int) -> None:
    """Its request stays on the wire until everything else is over, and lands then."""
    app = Batches(2, 60)
    async with world.deploy(app.workflow) as env:
        gate = world.wire.block(at, nth=nth)
        for number in range(5):
            publish(world, make(world, number, later=number))
        slow = await world.run_until(gate)
        if slow is None:
            return  # as many such requests are not made
        await env.advance(minutes=20)
        gate.release()
        await slow.end()
        await env.advance(minutes=20)
        app.check(range(5))
        assert left(world) == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@law
async def test_L10_another_event_comes_at_every_request(world: World, after: bool) -> None:
    """Whoever stands at any request, deliverer or collector: what is delivered meanwhile is in a batch in the end."""
    app = Batches(2, 120)
    async with world.deploy(app.workflow) as env:
        nth, reached = 1 - world.stride, True
        while reached:
            nth += world.stride
            app.seen.clear()

            def comes(run: int = nth) -> None:
                publish(world, make(world, 3, f"{run} meanwhile", later=1 << 10))
                world.deliver_due()

            fault = world.wire.meanwhile("", comes, nth=nth, after=after)
            for number in range(3):
                await env.publish(TOPIC, number)
            await env.advance(seconds=241)
            reached = fault.reached
            world.wire.quiet()
            await env.advance(seconds=121)  # what came at the very end has a time limit of its own
            app.check(range(4 if reached else 3), (nth, fault.hit))
            assert left(world) == [], (nth, fault.hit)
        assert nth > 30


@law
async def test_L10_a_marker_that_is_put_after_its_event_was_taken_starts_nothing(world: World) -> None:
    app = Batches(2, 60)
    async with world.deploy(app.workflow) as env:
        publish(world, make(world, 0))
        gate = world.wire.block("put e#.* of g#")
        slow = world.begin()
        await gate.reach()
        publish(world, make(world, 0), make(world, 1, later=1))
        await env.settle()
        assert app.batches == [[0, 1]]
        gate.release()
        await slow.end()
        await env.publish(TOPIC, 2)
        await env.advance(minutes=5)
        assert app.batches == [[0, 1], [2]]
        assert left(world) == []


@law
async def test_L10_two_collectors_compose_one_batch(world: World) -> None:
    """The second has read the number and the events; then the first one does everything."""
    app = Batches(2)
    async with world.deploy(app.workflow) as env:
        gate = world.wire.block("update collector")
        publish(world, make(world, 0), make(world, 1, later=1))
        slow = await world.run_until(gate)
        assert slow is not None
        other_collector(world)()
        publish(world, make(world, 2), make(world, 3, later=1))
        await env.settle()
        assert app.batches == [[0, 1], [2, 3]]
        gate.release()
        assert (await slow.end()).answer is None
        await env.settle()
        assert app.batches == [[0, 1], [2, 3]]


@law
async def test_L10_a_batch_that_is_composed_is_not_composed_again(world: World) -> None:
    """Both have read the same number, and one of them an event more."""
    app = Batches(5, 60)
    async with world.deploy(app.workflow) as env:
        await env.publish(TOPIC, "before")
        await env.advance(minutes=5)
        publish(world, make(world, 0), make(world, 1, later=1))
        await env.settle()
        env.harness.clock.advance(100)
        stale, ahead = world.wire.block("update collector"), world.wire.block("update collector", after=True)
        first = world.again(Message("first", batch("batched", None), 1, lambda _: None))
        await stale.reach()
        await world.again(Message("third", event(make(world, 2)), 1, lambda _: None)).end()
        second = world.again(Message("second", batch("batched", None), 1, lambda _: None))
        await ahead.reach()
        stale.release()
        assert (await first.end()).answer is False, "it leaves what the other composed to the other"
        assert app.batches == [["before"]]
        ahead.release()
        await second.end()
        await env.advance(minutes=20)
        assert app.batches == [["before"], [0, 1, 2]]


@law
async def test_S5_wakes_do_not_multiply(world: World) -> None:
    app = Batches(5, 60)
    async with world.deploy(app.workflow) as env:
        for number in range(4):
            await env.publish(TOPIC, number)
        await env.settle()
        for number in range(10):
            assert (
                await world.again(Message(f"stray {number}", batch("batched", None), 1, lambda _: None)).end()
            ).answer
        assert world.wire.lines.count("send batch batched") == 2, "the deliverer's, and that of whoever looked first"
        await env.advance(minutes=10)
        assert app.batches == [[0, 1, 2, 3]]
        assert world.wire.lines.count("send batch batched") == 2
