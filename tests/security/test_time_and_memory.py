"""SPEC 12: nothing that somebody sends or asks for takes time or memory without bound."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polos import InvalidPayloadError, WorkflowContext, workflow
from polos.aws import records
from polos.core import patterns
from polos.engine.worker import Worker
from polos.ports import Message
from polos.testing import Environment
from tests.laws.worlds import World, law

LETTERS = st.text("ab*", max_size=8)


@workflow(id="bounded")
async def waiting(ctx: WorkflowContext) -> Any:
    return (await ctx.step.wait_for_event("event", topic="bounded")).data


def handle(env: Environment, body: dict[str, Any]) -> bool:
    return Worker(env.harness.engine).handle(Message("hostile", body, 1, lambda _: None))


@pytest.mark.timeout(20)
def test_12_a_wildcard_costs_no_more_than_its_text_is_long() -> None:
    pattern = {"detail": {"name": [{"wildcard": "*a*a*a*a*a*a*a*a*a*b"}]}}
    assert not patterns.matches(pattern, {"detail": {"name": "a" * 200_000}})
    assert patterns.matches(pattern, {"detail": {"name": "a" * 200_000 + "b"}})


@given(text=st.text("ab", max_size=8), wildcard=LETTERS.filter(lambda text: "**" not in text))
def test_a_wildcard_matches_what_stars_for_any_text_match(text: str, wildcard: str) -> None:
    def fits(stars: str, rest: str) -> bool:
        if not stars:
            return not rest
        if stars[0] == "*":
            return any(fits(stars[1:], rest[at:]) for at in range(len(rest) + 1))
        return rest[:1] == stars[0] and fits(stars[1:], rest[1:])

    pattern = {"detail": {"name": [{"wildcard": wildcard}]}}
    assert patterns.matches(pattern, {"detail": {"name": text}}) == fits(wildcard, text)


@pytest.mark.parametrize("kind", ["event", "resume"])
def test_12_a_bomb_of_lists_is_refused_before_it_fills_the_memory(kind: str) -> None:
    """48 KB that unpack into 50 MB, which as Python lists would take more than a gigabyte."""
    packed = base64.b64encode(zlib.compress(b"[" + b"[]," * 16_000_000 + b"1]", 9)).decode()
    body = {"t": kind, "id": "bomb", "tp": "bounded", "sq": 1, "x": "some", "wf": "bounded", "k": "event", "vz": packed}
    environment = Environment(workflows=[waiting])
    try:
        tracemalloc.start()
        with pytest.raises(InvalidPayloadError, match="4,194,304"):
            handle(environment, body)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
        environment.close()


@law
async def test_what_packs_well_and_is_large_travels_beside_its_message(world: World) -> None:
    async with world.deploy(waiting) as env:
        run = await env.start(waiting)
        await env.settle()
        await env.publish("bounded", "a" * 5_000_000)
        assert await env.finish(run) == "a" * 5_000_000


@law
@pytest.mark.parametrize("data", ["[" * 201 + "]" * 201, "NaN", "-Infinity", "9" * 5000])
async def test_12_data_that_no_body_could_read_reaches_no_wait(world: World, data: str) -> None:
    async with world.deploy(waiting) as env:
        run = await env.start(waiting)
        await env.settle()
        event = {"t": "event", "id": "bad", "tp": "bounded", "sq": 1_893_456_001_000 << 20, "v": data}
        with pytest.raises(InvalidPayloadError, match="'bad' cannot be read"):
            await asyncio.to_thread(handle, env, event)
        await env.publish("bounded", "good")
        assert await env.finish(run) == "good"


@pytest.mark.parametrize("depth", [150, 250, 400, 800, 950, 5_000, 100_000])
def test_12_nesting_of_any_depth_is_handled_or_refused(depth: int) -> None:
    deep = "[" * depth + "]" * depth
    envelope = '{"source":"s","id":"e","detail-type":"d","time":"2030-01-01T00:00:00Z","wf":"bounded","detail":{"k":'
    start = '{"t":"start","x":"deep","wf":"bounded","cr":1893456000000,"in":"null","so":{"later":'
    environment = Environment(workflows=[waiting])
    try:
        for text in (f"{envelope}{deep}}}}}", f"{start}{deep}}}}}", json.dumps({"t": "cancel", "x": deep})):
            try:
                Worker(environment.harness.engine).check(records.message_of(text, None))
            except InvalidPayloadError:
                continue
            assert depth < 1000
    finally:
        environment.close()


EVER, NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@law
async def test_12_a_listing_from_the_beginning_to_the_end_of_time_ends(world: World) -> None:
    async with world.deploy(waiting) as env:
        await env.start(waiting, id="one")
        await env.settle()
        for since, until, count in (
            (EVER, None, 1),
            (EVER, NEVER, 1),
            (None, NEVER, 1),
            (None, EVER, 0),
            (NEVER, None, 0),
        ):
            env.requests.clear()
            found = await env.client.list_executions(since=since, until=until)
            assert (len(found), env.requests["Query"] < 1_000) == (count, True), (since, until)
        (line,) = await env.client.list_executions(cursor="253402300799999#x")
        assert line.id == "one"
        assert env.requests["Query"] < 2_000


@law
@pytest.mark.parametrize(
    "asked",
    [
        {"cursor": "9" * 15},
        {"cursor": "٣" * 15 + "#x"},
        {"cursor": "1" * 15 + "#\ud800"},
        {"cursor": "1" * 15 + "#" + "x" * 10_000},
        {"limit": 1 << 63},
        {"limit": 10**5000},
    ],
    ids=lambda asked: next(iter(asked)),
)
async def test_12_a_listing_that_cannot_be_is_refused(world: World, asked: dict[str, Any]) -> None:
    async with world.deploy(waiting) as env:
        with pytest.raises(InvalidPayloadError):
            await env.client.list_executions(**asked)
