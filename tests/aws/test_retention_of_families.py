"""An id is free again when nothing that was started under it is open: its child would be taken for the new run's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from polos import InvalidPayloadError, WorkflowContext, workflow
from polos.core import items
from polos.testing import Environment
from polos.workflow import _registry
from tests.aws.expiring import Stack
from tests.laws.worlds import law

_before = dict(_registry)


@workflow(id="kept-outlives")
async def outlives(ctx: WorkflowContext, text: str) -> str:
    await ctx.step.wait_for("sleep", days=200)
    return text


@workflow(id="kept-between")
async def between(ctx: WorkflowContext, text: str) -> str:
    return (await ctx.step.invoke("child", outlives, text)).id


@workflow(id="kept-forgets")
async def forgets(ctx: WorkflowContext, text: str) -> str:
    return (await ctx.step.invoke("child", outlives, text)).id


@workflow(id="kept-grandparent")
async def grandparent(ctx: WorkflowContext, text: str) -> str:
    return await ctx.step.invoke_and_wait("child", between, text)


@workflow(id="kept-goes-on")
async def goes_on(ctx: WorkflowContext, text: str) -> str:
    if not text.endswith("!"):
        await ctx.continue_as_new(f"{text}!")
    return (await ctx.step.invoke("child", outlives, text.removesuffix("!"))).id


_registry.clear()
_registry.update(_before)
WORKFLOWS = [outlives, between, forgets, grandparent, goes_on]
every_way = pytest.mark.parametrize("started", [forgets, grandparent, goes_on], ids=lambda one: str(one.id))


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    env = Environment(backend="moto", workflows=WORKFLOWS)
    yield Stack(env, monkeypatch)
    env.close()


@every_way
@law
async def test_an_id_is_refused_while_a_child_of_its_first_run_is_open(stack: Stack, started: Any) -> None:
    await stack.env.start(started, "first", id="order-1")
    await stack.live(161)
    assert items.EXECUTION not in stack.stored("order-1")

    with pytest.raises(InvalidPayloadError, match="'order-1' was used before"):
        await stack.env.start(started, "second", id="order-1")

    await stack.live(161)
    assert stack.stored("order-1") == []
    handle = await stack.env.start(started, "second", id="order-1")
    await stack.env.settle()
    child = await stack.env.client.describe(await handle.result())
    assert (child.status, child.payload) == ("waiting", "second")


@every_way
@law
async def test_the_embedded_backend_keeps_a_parent_as_long_as_its_family_is_open(started: Any) -> None:
    async with Environment(backend="memory", workflows=WORKFLOWS) as env:
        harness: Any = env._open

        async def live(days: int) -> None:
            for _ in range(days // 7):
                await env.advance(days=7)
                harness.local.table.expire(int(env.now.timestamp()))

        await env.start(started, "first", id="order-1")
        await live(161)
        with pytest.raises(InvalidPayloadError, match="'order-1' was started before with another payload"):
            await env.start(started, "second", id="order-1")

        await live(161)
        handle = await env.start(started, "second", id="order-1")
        await env.settle()
        child = await env.client.describe(await handle.result())
        assert (child.status, child.payload) == ("waiting", "second")
