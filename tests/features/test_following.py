"""SPEC 5, 12: where a stream may begin, and whom it may follow."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from polos import InvalidPayloadError, WorkflowContext, events, workflow
from polos.engine.streams import Follower
from tests.laws.worlds import World, law

TOPIC = "following/topic"


async def _first(stream: Any) -> Any:
    try:
        return await asyncio.wait_for(anext(stream), 10)
    finally:
        await stream.aclose()


@workflow(id="following-short")
async def short(ctx: WorkflowContext) -> str:
    return "done"


_NO_PLACES = [
    *(("last_sequence_id", place) for place in ("3", 1.5, True, math.nan, 1 << 63, -(10**40))),
    *(("last_timestamp", when) for when in ("2024-01-01", 5, True)),
]


@pytest.mark.parametrize(("name", "place"), _NO_PLACES, ids=[f"{name}={place!r}" for name, place in _NO_PLACES])
@law
async def test_12_a_place_that_is_none_is_refused(world: World, name: str, place: Any) -> None:
    async with world.deploy(short) as env:
        handle = await env.start(short)
        for stream in (
            events.stream_topic(env.client, TOPIC, **{name: place}),
            events.stream_workflow(env.client, short.id, handle.id, **{name: place}),
        ):
            with pytest.raises(InvalidPayloadError, match=f"{name} must be "):
                await _first(stream)


@pytest.mark.parametrize("name", ["", None, 5, "x" * 5000, "\ud800"], ids=lambda name: repr(name)[:8])
@law
async def test_12_a_topic_that_nobody_can_publish_to_is_not_followed(world: World, name: Any) -> None:
    async with world.deploy() as env:
        with pytest.raises(InvalidPayloadError, match="topic"):
            await _first(events.stream_topic(env.client, name))


@law
async def test_a_topic_is_followed_from_the_call_on(world: World) -> None:
    async with world.deploy() as env:
        await env.publish(TOPIC, "before")
        await env.settle()
        await env.advance(seconds=1)
        stream = events.stream_topic(env.client, TOPIC)
        await env.advance(seconds=1)
        await env.publish(TOPIC, "after the call, before the first look")
        await env.settle()
        assert (await _first(stream)).data == "after the call, before the first look"


@pytest.fixture
def far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@law
async def test_a_last_timestamp_without_a_zone_is_utc(world: World, far_from_utc: None) -> None:
    async with world.deploy(short) as env:
        handle = await env.start(short)
        await env.publish(TOPIC, "before")
        await env.settle()
        await env.advance(hours=6)
        since = env.now.replace(tzinfo=None)
        await env.publish(TOPIC, "after")
        await env.settle()
        assert (await _first(events.stream_topic(env.client, TOPIC, last_timestamp=since))).data == "after"
        run = events.stream_workflow(env.client, short.id, handle.id, last_timestamp=datetime(1, 1, 1))  # noqa: DTZ001
        assert (await _first(run)).event_type == "workflow_start"


@law
async def test_a_child_whose_start_is_on_its_way_can_be_followed(world: World) -> None:
    @workflow(id="following-parent")
    async def parent(ctx: WorkflowContext) -> str:
        return (await ctx.step.invoke("child", short)).id

    async with world.deploy(parent, short) as env:
        handle = await env.start(parent)
        await world.begin().end()
        child = f"{handle.id}/child"
        assert (await env.describe(child)).status == "queued"
        follower = Follower(env.harness.engine, child, None, None)
        assert follower.look() == ([], False)
        await env.settle()
        found, ended = follower.look()
    assert ([one.event_type for one in found], ended) == (["workflow_start", "workflow_finish"], True)


@law
async def test_who_follows_a_run_that_fails_and_is_retried_sees_what_comes_after_and_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is retried before the follower has seen for long enough that the run has ended."""
    broken = [True]

    def work() -> None:
        if broken[0]:
            raise ValueError("broken")

    @workflow(id="following-retried", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("work", work, max_retries=0)
        await ctx.step.run("last", lambda: 1)
        raise ValueError("of another kind")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        monkeypatch.setattr(env.harness.clock, "real_delay", float)
        await env.settle()
        follower = Follower(env.harness.engine, handle.id, None, None)
        found, ended = follower.look()
        broken[0] = False
        await env.client.retry(handle.id)
        for _ in range(9):
            env.harness.clock.advance(1)
            shown, ended = follower.look()
            found += shown
            if ended:
                break
            await env.settle()
    names = [str(one.event_type) for one in found]
    assert ended
    assert names[-1] == "workflow_failed"
    assert found[-1].data["error"]["message"] == "of another kind"
    assert [one.data["step_key"] for one in found if one.event_type == "step_finish"][-2:] == ["work", "last"]
    places = [one.sequence_id for one in found]
    assert places == sorted(set(places))
