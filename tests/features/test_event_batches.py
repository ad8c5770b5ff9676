"""SPEC 5: batches take each event once, in order, when full or `batch_timeout_seconds` after the first."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.core import items
from polos.core.identity import triggered_id
from tests.features.batches import TOPIC, Batches, left, make, publish
from tests.laws.worlds import World, law


@law
async def test_S5_a_batch_starts_when_it_is_full(world: World) -> None:
    app = Batches(3)
    async with world.deploy(app.workflow) as env:
        for number in range(7):
            await env.publish(TOPIC, number)
            await env.settle()
            assert len(app.batches) == (number + 1) // 3
        await env.advance(days=40)
        assert app.batches == [[0, 1, 2], [3, 4, 5]], "without a time limit the last one waits"
        kept = [world.table.query(f"d#batched#{items.event_id_in(sk)}")[0] for sk in left(world)]
        assert [items.TTL in one for one in kept] == [False], "and does not expire"
        await env.publish(TOPIC, 7)
        await env.publish(TOPIC, 8)
        await env.settle()
        assert app.batches[2:] == [[6, 7, 8]]
        assert left(world) == []


@pytest.mark.parametrize("seconds", [2, 60, 900, 960, 3600, 30 * 86_400])
@law
async def test_S5_a_batch_starts_when_its_time_is_up_after_the_first_event(world: World, seconds: float) -> None:
    app = Batches(10, seconds)
    async with world.deploy(app.workflow) as env:
        await env.publish(TOPIC, 0)
        await env.settle()
        await env.advance(seconds=seconds / 2)
        await env.publish(TOPIC, 1)
        await env.advance(seconds=seconds / 2 - 1)
        assert app.batches == []
        await env.advance(seconds=1)
        assert app.batches == [[0, 1]]
        await env.publish(TOPIC, 2)
        await env.advance(seconds=seconds - 1)
        assert app.batches == [[0, 1]]
        await env.advance(seconds=2)
        assert app.batches == [[0, 1], [2]]
        assert left(world) == []
        await env.advance(seconds=3 * seconds)
        assert env.harness.next_due() is None, "while no event waits nothing is scheduled"


@law
async def test_S5_what_a_full_batch_leaves_waits_for_its_own_time_limit(world: World) -> None:
    app = Batches(3, 60)
    async with world.deploy(app.workflow) as env:
        for number in range(7):
            await env.publish(TOPIC, number)
        await env.settle()
        assert app.batches == [[0, 1, 2], [3, 4, 5]]
        await env.advance(seconds=59)
        assert len(app.batches) == 2
        await env.advance(seconds=2)
        assert app.batches == [[0, 1, 2], [3, 4, 5], [6]]


@law
async def test_S5_events_of_a_batch_are_in_the_order_of_publication(world: World) -> None:
    app = Batches(6)
    async with world.deploy(app.workflow) as env:
        for number in range(6):
            await env.publish(TOPIC, number)
            if number == 2:
                await env.advance(seconds=0)
        await world.settle_in(lambda some: some[::-1])
        assert app.events == [0, 1, 2, 3, 4, 5]


@law
async def test_S5_an_event_that_comes_late_is_in_the_next_batch(world: World) -> None:
    app = Batches(2, 60)
    async with world.deploy(app.workflow) as env:
        publish(world, make(world, "late"))
        held = world.take()
        env.harness.clock.advance(1)
        publish(world, make(world, "a"), make(world, "b", later=1))
        await env.settle()
        await world.begin(held).end()
        await env.advance(seconds=61)
        assert app.batches == [["a", "b"], ["late"]]


@law
async def test_S5_the_time_limit_counts_from_the_first_arrival(world: World) -> None:
    app = Batches(5, 60)
    async with world.deploy(app.workflow) as env:
        publish(world, make(world, "published first"))
        held = world.take()
        env.harness.clock.advance(1)
        await env.publish(TOPIC, "came first")
        await env.settle()
        await env.advance(seconds=20)
        await world.begin(held).end()
        await env.advance(seconds=39)
        assert app.batches == []
        await env.advance(seconds=1)
        assert app.batches == [["published first", "came first"]]


@law
async def test_S5_each_workflow_on_a_topic_has_batches_of_its_own(world: World) -> None:
    pairs, triples = Batches(2, 60, name="pairs"), Batches(3, 90, name="triples")
    single: list[Any] = []

    @workflow(id="single", trigger_on_event=TOPIC)
    async def one(ctx: WorkflowContext, given: dict[str, Any]) -> None:
        single.append(given["data"])

    async with world.deploy(pairs.workflow, triples.workflow, one) as env:
        for number in range(5):
            await env.publish(TOPIC, number, event_id=f"event {number}")
        await env.publish("another topic", 99)
        await env.settle()
        await env.advance(seconds=91)
        assert pairs.batches == [[0, 1], [2, 3], [4]]
        assert triples.batches == [[0, 1, 2], [3, 4]]
        assert sorted(single) == [0, 1, 2, 3, 4]
        assert world.records(triggered_id("single", "event 3"))


@law
async def test_S5_an_event_that_is_published_again_is_the_same_event(world: World) -> None:
    app = Batches(2, 60)
    async with world.deploy(app.workflow) as env:
        for _ in range(3):
            await env.publish(TOPIC, "a", event_id="one")
            await env.advance(seconds=1)
        assert (app.batches, len(left(world))) == ([], 1)
        await env.publish(TOPIC, "b", event_id="two")
        await env.settle()
        assert app.batches == [["a", "b"]]
        await env.publish(TOPIC, "c", event_id="three")
        for name in ("one", "two", "three"):
            await env.publish(TOPIC, "again", event_id=name)
        await env.settle()
        assert len(left(world)) == 1
        await env.advance(seconds=100)
        assert app.batches == [["a", "b"], ["c"]]
        taken = world.table.get(items.gathered("batched", "one"))
        assert taken[items.TTL] > env.now.timestamp() + 13 * 86_400, "it is known for longer than any message lives"
        assert items.VALUE not in taken


@law
async def test_S5_an_event_that_is_published_again_keeps_its_place(world: World) -> None:
    app = Batches(3)
    async with world.deploy(app.workflow) as env:
        for name in ("one", "two", "one", "three"):
            await env.publish(TOPIC, name, event_id=name)
            await env.settle()
        assert app.batches == [["one", "two", "three"]]


@law
async def test_S5_a_batch_of_one_is_a_batch(world: World) -> None:
    app = Batches(1, 60)
    async with world.deploy(app.workflow) as env:
        await env.publish(TOPIC, 0)
        await env.publish(TOPIC, 1)
        await env.settle()
        assert app.batches == [[0], [1]]


@law
async def test_S2_a_deployment_with_other_numbers_takes_what_waits(world: World) -> None:
    app = Batches(5)
    async with world.deploy(app.workflow) as env:
        for number in range(3):
            await env.publish(TOPIC, number)
        await env.advance(days=2)
        assert app.batches == []
        timed = Batches(5, 60)
        timed.seen = app.seen
        env.deploy(timed.workflow)
        await env.publish(TOPIC, 3)
        await env.settle()
        assert timed.batches == [[0, 1, 2, 3]], "the first has waited for long enough"
        for number in (4, 5):
            await env.publish(TOPIC, number)
        await env.settle()
        longer = Batches(5, 600)
        env.deploy(longer.workflow)
        await env.advance(seconds=61)
        assert longer.batches == timed.batches[1:] == []
        await env.advance(seconds=540)
        assert longer.batches == [[4, 5]]
        for number in (6, 7):
            await env.publish(TOPIC, number)
        await env.settle()
        pairs = Batches(2)
        env.deploy(pairs.workflow)
        await env.publish(TOPIC, 8)
        await env.settle()
        assert pairs.batches == [[6, 7]]
        single: list[Any] = []

        @workflow(id="batched-no-more", trigger_on_event=TOPIC)
        async def one(ctx: WorkflowContext, given: dict[str, Any]) -> None:
            single.append(given["data"])

        one.id = "batched"  # declared under this id at once, it would be a second one beside the others
        env.deploy(one)
        await env.publish(TOPIC, 9)
        await env.advance(seconds=601)
        assert sorted(single) == [8, 9], "what was left over goes by itself"


@pytest.mark.parametrize("timeout", [None, 60], ids=["", "with a time limit"])
@law
async def test_S9_what_batches_cost(world: World, timeout: float | None) -> None:
    """Beyond what any event costs, and any execution: per event 4 writes and a query, per batch little."""
    app, size = Batches(10, timeout), 10
    async with world.deploy(app.workflow) as env:
        for number in range(size):
            await env.publish(TOPIC, number)
        await env.settle()
        assert app.batches == [list(range(size))]
        lines = Counter(re.sub(r"[#\d].*| (of|batched).*", "", line) for line in world.wire.lines)
        assert lines["put event"] == size
        assert lines["put e"] == 2 * size, "one of them is the topic's own"
        assert lines["query e"] == size + 2
        assert lines["send batch"] == (1 if timeout is None else 2)
        assert (lines["get collector"], lines["get_many "], lines["update collector"]) == (1, 1, 2)
        assert (lines["update event"], lines["delete e"], lines["send start"]) == (size, size, 1)
        await env.advance(minutes=5)
