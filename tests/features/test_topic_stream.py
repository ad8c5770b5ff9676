"""SPEC 5: who follows a topic gets each event once, also one that arrives after newer ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from polos import events
from polos.engine.topic_streams import TopicFollower
from tests.engine.clocks import other_clock
from tests.laws.worlds import World, law

TOPIC = "streamed/topic"
LOOKS = 11


def _follower(world: World, after: int | None = None, since: datetime | None = None) -> TopicFollower:
    return TopicFollower(world.env.harness.engine, TOPIC, after, since)


def _looks(follower: TopicFollower, count: int = LOOKS) -> list[Any]:
    return [event.data for _ in range(count) for event in follower.look()]


async def _published(world: World, data: Any, **options: Any) -> int:
    """Published, and not delivered yet."""
    return await events.publish(world.env.client, TOPIC, events.EventData(data=data, **options))


@law
async def test_an_event_that_arrives_after_newer_ones_is_shown_when_it_comes(world: World) -> None:
    async with world.deploy() as env:
        first = await _published(world, "first")
        await env.settle()
        follower = _follower(world, first - 1)
        assert _looks(follower, 1) == ["first"]
        await _published(world, "late")
        (late,) = world.take_all()
        late.hide(52)
        env.harness.clock.advance(50)
        newer = await _published(world, "newer")
        await env.settle()
        assert _looks(follower) == ["newer"]
        again = _follower(world, newer)
        assert _looks(again) == []
        await env.advance(seconds=3)
        assert _looks(follower) == ["late"]
        assert _looks(again) == ["late"], "who went on from the newer one has not seen it either"


@law
async def test_an_event_whose_id_is_beyond_ascii_is_shown_once(world: World) -> None:
    async with world.deploy() as env:
        follower = _follower(world, 0)
        for name in ("ü", "~", "\U0010ffff"):
            sequence = await _published(world, name, event_id=name)
            await env.settle()
            assert _looks(follower) == [name]
            assert _looks(_follower(world, sequence)) == []
            env.harness.clock.advance(30)


@law
async def test_an_event_that_is_published_again_is_shown_once(world: World) -> None:
    async with world.deploy() as env:
        follower = _follower(world, 0)
        for n in range(5):
            await _published(world, "same", event_id="same")
            await _published(world, n)
            await env.settle()
            assert _looks(follower) == (["same", n] if n == 0 else [n])
            env.harness.clock.advance(40)


@law
async def test_a_publisher_whose_clock_is_ahead_hides_no_others_from_a_follower(world: World) -> None:
    async with world.deploy() as env:
        follower = _follower(world, 0)
        with other_clock(world, 3600):
            ahead = await _published(world, "ahead")
            await env.settle()
        assert _looks(follower) == ["ahead"]
        again = _follower(world, ahead)
        assert _looks(again) == []
        for n in range(3):
            env.harness.clock.advance(100)
            await _published(world, n)
            await env.settle()
            assert (_looks(follower), _looks(again)) == ([n], [n])


@law
async def test_who_begins_now_gets_nothing_of_before_though_it_arrives_later(world: World) -> None:
    async with world.deploy() as env:
        await _published(world, "before")
        env.harness.clock.advance(5)
        follower = _follower(world)
        assert _looks(follower, 1) == []
        env.harness.clock.advance(5)
        await _published(world, "after")
        await env.settle()
        assert _looks(follower) == ["after"]


@law
async def test_who_begins_at_a_moment_gets_the_first_event_of_that_very_moment(world: World) -> None:
    async with world.deploy() as env:
        env.harness.clock.advance(0.007)  # a millisecond in which no test before has published anything
        begins_now = _follower(world)
        await _published(world, "first")
        await _published(world, "second")
        await env.settle()
        assert _looks(begins_now, 1) == ["first", "second"]
        assert _looks(_follower(world, since=env.now), 1) == ["first", "second"]


@law
async def test_a_follower_remembers_no_more_than_the_last_minute_and_reads_it_again_at_every_tenth_look(
    world: World,
) -> None:
    async with world.deploy() as env:
        follower = _follower(world, 0)
        for n in range(20):
            env.harness.clock.advance(30)
            await _published(world, n)
            await env.settle()
            assert _looks(follower) == [n]
            assert len(follower.known) <= 3
        before = env.requests["Query"]
        assert _looks(follower, 10) == []
        assert env.requests["Query"] - before == 10
