"""L11, L15: collectors that die, or are short of time, lose and double no event."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from polos.engine.commands import batch
from polos.ports import Message
from tests.features.batches import TOPIC, Batches, left, make, publish
from tests.laws.worlds import World, law, shuffled


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@law
async def test_L11_dying_at_every_request_loses_and_doubles_nothing(world: World, after: bool) -> None:
    app = Batches(3, 120)
    async with world.deploy(app.workflow) as env:
        nth, reached, died_at = 0, True, Counter[str]()
        while reached:
            nth += world.stride
            app.seen.clear()
            fault = world.wire.crash("", nth=nth, after=after)
            for number in range(5):
                await env.publish(TOPIC, number)
            await env.advance(minutes=20)
            reached = fault.reached
            world.wire.quiet()
            app.check(range(5), (nth, fault.hit))
            assert left(world) == [], (nth, fault.hit)
            died_at[re.sub(r"#.*| of .*", "", fault.hit or "")] += 1
        assert nth > 60
        if world.stride == 1:
            expected = {"put event", "put e", "query e", "send batch batched", "get collector", "get_many 3"}
            expected |= {"update collector", "send start batched-", "update event", "delete e", "answer batch batched"}
            assert expected <= {re.sub("batched-.*", "batched-", line) for line in died_at}, died_at


@pytest.mark.parametrize("seed", range(8))
@law
async def test_L11_dying_again_and_again_in_any_order(world: World, seed: int) -> None:
    await storm(world, seed)


async def storm(world: World, seed: int) -> None:
    """Crashes, copies, other orders and late redeliveries, as a seed says."""
    chance = random.Random(seed)
    app = Batches(chance.choice([1, 2, 3, 5]), chance.choice([30, 120, 2000]))
    async with world.deploy(app.workflow) as env:
        order = shuffled(seed)
        copies = world.after_each(
            lambda message: world.again(message, new_id=chance.random() < 0.5).join() if chance.random() < 0.2 else None
        )
        for at in range(1, 200):
            if chance.random() < 0.1:
                world.wire.crash("", nth=at, after=chance.random() < 0.5)
        count = 0
        for _ in range(4):
            for _ in range(chance.randrange(1, 7)):
                await env.publish(TOPIC, count)
                count += 1
            await world.settle_in(order)
            await env.advance(seconds=chance.choice([0, 1, 31, 61, 500]))
        world.wire.quiet()
        await env.advance(hours=3)
        app.check(range(count), seed)
        assert left(world) == []
        assert copies.count


@law
async def test_L11_a_collector_dies_whose_message_was_deleted_with_a_copy(world: World) -> None:
    """The message of what made the batch full finds it composed by another, and is not deleted before it is over."""
    app = Batches(2)
    async with world.deploy(app.workflow) as env:
        fault = world.wire.crash("send batch")
        publish(world, make(world, 0), make(world, 1, later=1))
        await env.settle()
        assert fault.reached
        fault = world.wire.crash("update collector", after=True)
        ghost = world.again(Message("ghost", batch("batched", None), 1, lambda _: None))
        assert (await ghost.end()).died
        await env.advance(seconds=61)
        assert app.batches in ([], [[0, 1]])
        await env.advance(seconds=61)
        assert app.batches == [[0, 1]]


@law
async def test_L11_what_a_dead_collector_composed_is_started_as_it_was(world: World) -> None:
    """An older event that comes after the death does not change the batch, and is in the next one."""
    app = Batches(2, 60)
    async with world.deploy(app.workflow) as env:
        older = make(world, "older")
        env.harness.clock.advance(1)
        fault = world.wire.crash("send start")
        publish(world, make(world, "a"), make(world, "b", later=1))
        await env.settle()
        assert fault.reached
        publish(world, older)
        await env.settle()
        assert app.batches == [], "the dead one's lease is still on"
        await env.advance(minutes=5)
        assert app.batches == [["a", "b"], ["older"]]


@law
async def test_L15_an_invocation_that_is_short_of_time_hands_over(world: World) -> None:
    app = Batches(1, 60)
    async with world.deploy(app.workflow, invocation_seconds=8) as env:
        for nth in (1, 2, 3):
            world.wire.crash("send batch", nth=nth)
        publish(world, *(make(world, number, later=number) for number in range(4)))
        await env.settle()
        assert env.crashes == 3
        assert app.batches == [[0], [1], [2], [3]], "they are behind one message"
        assert sum(line.startswith("get collector") for line in world.wire.lines) == 5, "an invocation each, and one"
