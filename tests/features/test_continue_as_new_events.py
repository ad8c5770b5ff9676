"""Events for a chain of executions that go on as new: none is lost between two of them, none is taken twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import BatchEventPayload, EventPayload, WorkflowContext, workflow
from polos.engine import batching
from polos.testing import Environment


@workflow(id="chain_counter")
async def counter(ctx: WorkflowContext, seen: list[Any]) -> list[Any]:
    for number in range(3):
        event = await ctx.step.wait_for_event(f"add {number}", topic="chain/add")
        if event.data == "stop":
            return seen
        seen.append(event.data)
    return await ctx.continue_as_new(seen)


@workflow(id="chain_slow")
async def slow(ctx: WorkflowContext, seen: list[Any]) -> list[Any]:
    event = await ctx.step.wait_for_event("next", topic="chain/slow")
    if event.data == "stop":
        return seen
    await ctx.step.wait_for("work", minutes=10)
    return await ctx.continue_as_new([*seen, event.data])


@workflow(id="chain_triggered", trigger_on_event="chain/trigger")
async def triggered(ctx: WorkflowContext, event: EventPayload) -> list[Any]:
    following = await ctx.step.wait_for_event("next", topic="chain/trigger")
    return [event.data, following.data]


@pytest.mark.parametrize("backend", ["memory", "moto"])
@pytest.mark.parametrize("burst", [True, False], ids=["at once", "a minute apart"])
def test_a_chain_takes_every_event_once(backend: Any, burst: bool) -> None:
    async def scenario() -> None:
        async with Environment(backend=backend, workflows=[counter]) as env:
            handle = await env.start(counter, [])
            for number in range(7):
                await env.publish("chain/add", number)
                if not burst:
                    await env.advance(minutes=1)
            await env.publish("chain/add", "stop")
            assert await env.finish(handle) == list(range(7))

    asyncio.run(scenario())


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_events_that_come_while_no_wait_is_open_are_for_the_successor(backend: Any) -> None:
    async def scenario() -> None:
        async with Environment(backend=backend, workflows=[slow]) as env:
            handle = await env.start(slow, [])
            for number in range(3):
                await env.publish("chain/slow", number)
                await env.advance(minutes=2)
            await env.advance(minutes=40)
            await env.publish("chain/slow", "stop")
            assert await env.finish(handle) == [0, 1, 2]

    asyncio.run(scenario())


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_the_event_that_triggered_an_execution_is_not_taken_by_its_waits(backend: Any) -> None:
    async def scenario() -> None:
        async with Environment(backend=backend, workflows=[triggered]) as env:
            await env.publish("chain/trigger", 1)
            await env.settle()
            first = (await env.client.list_executions(workflow_id="chain_triggered"))[0]
            assert first.status == "waiting"
            await env.publish("chain/trigger", 2)
            assert await env.finish(first.id) == [1, 2]

    asyncio.run(scenario())


@workflow(id="chain_eater")
async def eater(ctx: WorkflowContext, seen: list[int]) -> list[int]:
    for number in range(120):
        seen.append((await ctx.step.wait_for_event(f"one {number}", topic="chain/many")).data)
    if len(seen) == 360:
        return seen
    return await ctx.continue_as_new(seen)


def test_a_chain_that_takes_many_events_in_a_short_time_takes_each_once() -> None:
    """What the link before the last took is known, too, however much it was: each link takes more than a hundred."""

    async def scenario() -> None:
        async with Environment(workflows=[eater]) as env:
            handle = await env.start(eater, [])
            for number in range(360):
                await env.publish("chain/many", number)
            assert await env.finish(handle) == list(range(360))

    asyncio.run(scenario())


@workflow(id="chain_of_trigger", trigger_on_event="chain/first")
async def chained(ctx: WorkflowContext, event: EventPayload) -> list[Any]:
    if "~" not in ctx.execution_id:
        return await ctx.continue_as_new(event)
    following = await ctx.step.wait_for_event("next", topic="chain/first")
    return [event.data, following.data]


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_the_event_that_began_a_chain_is_not_taken_by_a_later_link(backend: Any) -> None:
    async def scenario() -> None:
        async with Environment(backend=backend, workflows=[chained]) as env:
            await env.publish("chain/first", "one")
            await env.settle()
            (only,) = await env.client.list_executions(status="waiting")
            await env.publish("chain/first", "two")
            await env.settle()
            assert (await env.describe(only)).result == ["one", "two"]

    asyncio.run(scenario())


@workflow(id="chain_typed")
async def typed(ctx: WorkflowContext, seen: list[Any]) -> list[Any]:
    if not seen:
        event = await ctx.step.wait_for_event("new", topic="chain/typed", event_type="new")
    else:
        event = await ctx.step.wait_for_event("old", topic="chain/typed", event_type="old")
    seen.append(event.data)
    return seen if len(seen) == 3 else await ctx.continue_as_new(seen)


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_a_wait_for_one_type_leaves_older_events_of_another_to_the_successor(backend: Any) -> None:
    async def scenario() -> None:
        async with Environment(backend=backend, workflows=[typed]) as env:
            handle = await env.start(typed, [])
            await env.publish("chain/typed", "a", event_type="old")
            await env.publish("chain/typed", "b", event_type="old")
            await env.advance(hours=1)
            await env.publish("chain/typed", "c", event_type="new")
            assert await env.finish(handle) == ["c", "a", "b"]

    asyncio.run(scenario())


@workflow(id="chain_edge")
async def edge(ctx: WorkflowContext, seen: list[int]) -> list[int]:
    for number in range(1 if seen else 2):
        seen.append((await ctx.step.wait_for_event(f"one {number}", topic="chain/edge")).data)
    return seen if len(seen) == 3 else await ctx.continue_as_new(seen)


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_an_event_that_was_taken_a_quarter_of_an_hour_before_the_newest_is_not_taken_again(backend: Any) -> None:
    async def scenario() -> None:
        async with Environment(backend=backend, workflows=[edge]) as env:
            handle = await env.start(edge, [])
            await env.publish("chain/edge", 1)
            await env.advance(seconds=15 * 60 + 0.5)
            await env.publish("chain/edge", 2)
            await env.settle()
            await env.publish("chain/edge", 3)
            assert await env.finish(handle) == [1, 2, 3]

    asyncio.run(scenario())


@workflow(id="chain_batch", trigger_on_event="chain/batch", batch_size=5)
async def batched(ctx: WorkflowContext, batch: BatchEventPayload) -> list[Any]:
    if "~" not in ctx.execution_id:
        return await ctx.continue_as_new(batch)
    following = await ctx.step.wait_for_event("next", topic="chain/batch")
    return [len(batch.events), following.data]


@workflow(id="batch_waits", trigger_on_event="chain/batch", batch_size=5)
async def waiting(ctx: WorkflowContext, batch: BatchEventPayload) -> list[Any]:
    following = await ctx.step.wait_for_event("next", topic="chain/batch")
    return [len(batch.events), following.data]


@pytest.mark.parametrize("backend", ["memory", "moto"])
@pytest.mark.parametrize("named", [100, 2], ids=["by their ids", "some by their sequence"])
def test_the_events_of_a_batch_are_not_taken_by_its_own_waits(
    backend: Any, named: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "_NAMED", named)

    async def scenario() -> None:
        async with Environment(backend=backend, workflows=[batched, waiting]) as env:
            for number in range(5):
                await env.publish("chain/batch", number)
            await env.settle()
            found = await env.client.list_executions(status="waiting")
            await env.publish("chain/batch", "following")
            await env.settle()
            assert [(await env.describe(one)).result for one in found] == [[5, "following"]] * 2

    asyncio.run(scenario())
