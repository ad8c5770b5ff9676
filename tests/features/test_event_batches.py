"""SPEC 5: batches take each event exactly once, in order, when full or `batch_timeout_seconds` after the first."""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from pydantic import BaseModel

from polos import BatchEventPayload, WorkflowContext, WorkflowDefinitionError, workflow
from polos.core import items
from polos.core.codec import encode
from polos.core.identity import batch_id, triggered_id
from polos.engine import batching
from polos.engine.commands import batch, event
from polos.errors import InvalidPayloadError
from polos.ports import Event, Message
from tests.laws.worlds import World, law, shuffled

TOPIC = "batches"


class Typed(BatchEventPayload):
    @property
    def numbers(self) -> list[Any]:
        return [event.data for event in self.events]


class Own(BaseModel):
    class Part(BaseModel):
        data: int
        topic: str

    events: list[Part]


class Batches:
    """A workflow that notes the data of each batch that it was started for."""

    def __init__(self, size: int = 1, timeout: float | None = None, *, name: str = "batched", topic: str = TOPIC):
        self.seen: dict[str, list[Any]] = {}

        @workflow(id=name, trigger_on_event=topic, batch_size=size, batch_timeout_seconds=timeout)
        async def body(ctx: WorkflowContext, given: BatchEventPayload) -> int:
            order = [(event.sequence_id, event.id) for event in given.events]
            assert order == sorted(order)
            self.seen.setdefault(ctx.execution_id, [event.data for event in given.events])
            return len(given.events)

        self.workflow, self.size, self.name = body, size, name

    @property
    def batches(self) -> list[list[Any]]:
        """In the order of their numbers."""
        numbers = {batch_id(self.name, number): number for number in range(2000)}
        return [self.seen[one] for one in sorted(self.seen, key=lambda one: numbers[one])]

    @property
    def events(self) -> list[Any]:
        return [data for one in self.batches for data in one]

    def check(self, expected: Iterable[Any], about: object = None) -> None:
        """Each event once, no batch too large, and nothing left in the collector."""
        assert sorted(self.events) == sorted(expected), (about, self.batches)
        assert all(1 <= len(one) <= self.size for one in self.batches), (about, self.batches)


def left(world: World, name: str = "batched") -> list[str]:
    """What a collector still has to do."""
    found = world.table.query(f"g#{name}")
    return [str(one[items.SK]) for one in found if one[items.SK] != "collector" or items.KEYS in one]


def make(world: World, data: Any, event_id: str | None = None, *, later: int = 0) -> Event:
    now = world.env.harness.engine.now()
    return Event(event_id or f"id-{data}", TOPIC, (now << 20) + later, None, encode(data))


def publish(world: World, *events: Event) -> None:
    world.env.harness.engine.backend.topics.publish(list(events))


# ---- when, and what


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
async def test_S5_the_payload_is_what_the_function_is_annotated_with(world: World) -> None:
    seen: dict[str, Any] = {}
    options: Any = {"trigger_on_event": TOPIC, "batch_size": 2}

    @workflow(id="untyped", **options)
    async def untyped(ctx: WorkflowContext, given) -> None:  # type: ignore[no-untyped-def]
        seen["untyped"] = given

    @workflow(id="typed", **options)
    async def typed(ctx: WorkflowContext, given: Typed | None) -> None:
        seen["typed"] = given

    @workflow(id="plain", **options)
    async def plain(ctx: WorkflowContext, given: dict[str, Any]) -> None:
        seen["plain"] = given

    @workflow(id="own", **options)
    async def own(ctx: WorkflowContext, given: Own) -> None:
        seen["own"] = given

    @workflow(id="nothing", **options)
    async def nothing(ctx: WorkflowContext) -> None:
        seen["nothing"] = None

    async with world.deploy(untyped, typed, plain, own, nothing) as env:
        await env.publish(TOPIC, 1, event_type="kind", event_id="x")
        await env.publish(TOPIC, 2)
        await env.settle()
    assert isinstance(seen["untyped"], BatchEventPayload)
    assert isinstance(seen["typed"], Typed)
    assert seen["typed"].numbers == [1, 2]
    assert seen["typed"].events[0].event_type == "kind"
    assert [list(seen["plain"]), seen["plain"]["events"][0]["id"]] == [["events"], "x"]
    assert isinstance(seen["plain"]["events"][0]["created_at"], str)
    assert seen["own"] == Own(events=[Own.Part(data=1, topic=TOPIC), Own.Part(data=2, topic=TOPIC)])
    assert "nothing" in seen


@law
async def test_S12_a_batch_that_the_function_does_not_take_fails_where_it_can_be_seen(world: World) -> None:
    @workflow(id="refusing-own", trigger_on_event=TOPIC, batch_size=2)
    async def own(ctx: WorkflowContext, given: Own) -> None:
        raise AssertionError("it does not run")

    async with world.deploy(own) as env:
        await env.publish(TOPIC, "no number")
        await env.publish(TOPIC, b"\xff")
        await env.settle()
        detail = await env.describe(batch_id("refusing-own", 0))
        assert (detail.status, detail.error and detail.error.type) == ("failed", "InvalidPayloadError")
        assert left(world, "refusing-own") == []


@law
async def test_S12_an_event_that_cannot_be_read_fails_alone(world: World) -> None:
    app = Batches(3)
    async with world.deploy(app.workflow) as env:
        broken = dataclasses.replace(make(world, "bad", later=1), data='{"$":"unheard of"}')
        publish(world, make(world, 0), broken, make(world, 1, later=2))
        await env.settle()
        await env.advance(seconds=1)
        await env.publish(TOPIC, 2)
        await env.publish(TOPIC, 3)
        await env.settle()
        await env.publish(TOPIC, 4)
        await env.settle()
        assert app.batches == [[0], [1, 2, 3]]
        detail = await env.describe(batch_id("batched", 1))
        assert (detail.status, detail.error and detail.error.type) == ("failed", "SerializationError")


@law
async def test_S12_a_batch_ends_before_its_payload_is_too_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "_MOST_TEXT", 1000)
    app = Batches(4, 60)
    async with world.deploy(app.workflow) as env:
        texts = [letter * 450 for letter in "abcdef"] + ["g" * 5000]
        for text in texts:
            await env.publish(TOPIC, text)
        await env.advance(seconds=61)
        assert [len(one) for one in app.batches] == [2, 2, 2, 1]
        assert app.events == texts


@law
async def test_S5_events_that_are_stored_beside_the_table(world: World) -> None:
    app = Batches(2)
    async with world.deploy(app.workflow) as env:
        texts = ["".join(map(chr, random.Random(n).choices(range(33, 120), k=1_400_000))) for n in range(2)]
        for text in texts:
            publish(world, await env.client.encode_event(TOPIC, text, None, None))
        await env.settle()
        assert app.batches == [texts]


@pytest.mark.parametrize("body", [{"t": "batch"}, {"t": "batch", "wf": ""}, {"t": "batch", "wf": "a", "due": "x"}])
@law
async def test_S12_a_malformed_message_is_refused(world: World, body: dict[str, Any]) -> None:
    async with world.deploy(Batches(2).workflow):
        with pytest.raises(InvalidPayloadError):
            await world.again(Message("bad", body, 1, lambda _: None)).end()


def test_S2_a_batch_has_at_most_a_thousand_events() -> None:
    with pytest.raises(WorkflowDefinitionError, match="1,000"):
        Batches(1001)


# ---- exactly once


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
            expected = {"put event", "put e", "query e", "send batch ", "get collector", "get_many 3"}
            expected |= {"update collector", "send start batched-", "update event", "delete e", "answer batch "}
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
        assert world.wire.lines.count("send batch ") == 2, "the deliverer's, and that of whoever looked first"
        await env.advance(minutes=10)
        assert app.batches == [[0, 1, 2, 3]]
        assert world.wire.lines.count("send batch ") == 2


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


# ---- limits of an invocation, deployments, cost


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
        assert lines["send batch "] == (1 if timeout is None else 2)
        assert (lines["get collector"], lines["get_many "], lines["update collector"]) == (1, 1, 2)
        assert (lines["update event"], lines["delete e"], lines["send start"]) == (size, size, 1)
        await env.advance(minutes=5)
