"""An event that waits for its batch keeps its payload, however long the batch takes to fill (SPEC 5, 8.9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from polos import BatchEventPayload, WorkflowContext, workflow
from polos.core import items
from polos.engine import retention
from polos.engine.retention import Swept
from polos.testing import Environment
from polos.workflow import _registry
from tests.aws.expiring import Stack
from tests.laws.worlds import law, noise

_before = dict(_registry)
LARGE = 220_000


@workflow(id="kept-batch", trigger_on_event="kept/topic", batch_size=2)
async def batched(ctx: WorkflowContext, batch: BatchEventPayload) -> list[int]:
    return [len(event.data) for event in batch.events]


_registry.clear()
_registry.update(_before)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    env = Environment(backend="moto", workflows=[batched])
    yield Stack(env, monkeypatch)
    env.close()


async def results(env: Environment) -> list[Any]:
    return [(await env.client.describe(one.id)).result for one in await env.client.list_executions()]


@law
async def test_a_large_event_whose_batch_fills_after_a_year_is_whole(stack: Stack) -> None:
    await stack.env.publish("kept/topic", noise(LARGE))
    await stack.live(364)
    await stack.env.publish("kept/topic", "the second")
    await stack.env.settle()

    assert await results(stack.env) == [[LARGE, 10]]


@law
async def test_the_embedded_backend_keeps_it_as_well() -> None:
    async with Environment(backend="memory", workflows=[batched]) as env:
        harness: Any = env._open
        await env.publish("kept/topic", noise(LARGE))
        for _ in range(52):
            await env.advance(days=7)
            harness.local.table.expire(int(env.now.timestamp()))
        await env.publish("kept/topic", "the second")
        await env.settle()

        assert await results(env) == [[LARGE, 10]]


@law
async def test_what_was_taken_is_not_renewed_and_goes(stack: Stack) -> None:
    for _ in range(2):
        await stack.env.publish("kept/topic", noise(LARGE))
    await stack.live(84)

    assert stack.objects == []


@law
async def test_an_event_is_renewed_when_it_needs_it_and_not_before(stack: Stack) -> None:
    await stack.env.publish("kept/topic", noise(LARGE))
    await stack.env.settle()
    found: list[int] = []
    for _ in range(6):
        await stack.env.advance(days=10)
        found.append(retention.sweep_gathered(stack.engine, lambda: 900).renewed)

    assert found == [0, 0, 0, 1, 0, 0]


@law
async def test_a_small_event_costs_nothing_more(stack: Stack) -> None:
    await stack.env.publish("kept/topic", "small")
    await stack.env.settle()

    assert stack.engine.table.get(items.gathering("kept-batch")) is None


@law
async def test_one_that_is_taken_while_it_is_renewed_stays_taken(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """S reads the event, which waits | a batch takes it, and with it the pointer | S's update is refused."""
    await stack.env.publish("kept/topic", noise(LARGE), event_id="first")
    await stack.env.settle()
    await stack.env.advance(days=40)
    key = items.gathered("kept-batch", "first")
    before = stack.engine.table.get(key)
    assert before is not None
    await stack.env.publish("kept/topic", "the second")
    await stack.env.settle()
    taken = stack.engine.table.get(key)
    assert taken is not None
    assert items.BATCH in taken

    monkeypatch.setattr(stack.engine.table, "get_many", lambda _: [before])
    waiting = [{items.SK: items.event_sk(1, "first"), items.AT: 1}]
    query = stack.engine.table.query
    monkeypatch.setattr(
        stack.engine.table, "query", lambda pk, **rest: waiting if pk == "g#kept-batch" else query(pk, **rest)
    )

    assert retention.sweep_gathered(stack.engine, lambda: 900) == Swept(1, complete=True)
    assert stack.engine.table.get(key) == taken


@law
async def test_a_sweep_ends_before_its_time_and_says_so(stack: Stack) -> None:
    await stack.env.publish("kept/topic", noise(LARGE))
    await stack.live(42, sweeping=False)

    assert retention.sweep_gathered(stack.engine, lambda: 29) == Swept(0, complete=False)
