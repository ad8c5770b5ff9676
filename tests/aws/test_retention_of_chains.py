"""A loop that goes on as new for ever keeps its handle, though its links expire one after the other (SPEC 2.2, 8.9)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from polos import WorkflowContext, workflow
from polos.core import items
from polos.engine import successors
from polos.testing import Environment
from polos.workflow import _registry
from tests.aws.expiring import Stack
from tests.laws.worlds import law

_before = dict(_registry)
Live = Callable[[int], Awaitable[None]]


@workflow(id="kept-loop", max_retries=0)
async def loop(ctx: WorkflowContext, n: int) -> int:
    if n == 6 and not mended:
        raise ValueError("broken")
    await ctx.step.wait_for("nap", days=20)
    if n < 9:
        await ctx.continue_as_new(n + 1)
    return n


_registry.clear()
_registry.update(_before)
mended: list[bool] = []


@asynccontextmanager
async def living(backend: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Environment, Live]]:
    """An environment, and how time passes in it, with what expires."""
    mended.clear()
    async with Environment(backend=backend, workflows=[loop]) as env:
        harness: Any = env._open

        async def live(days: int) -> None:
            for _ in range(days // 7):
                await env.advance(days=7)
                harness.local.table.expire(int(env.now.timestamp()))

        yield env, Stack(env, monkeypatch).live if backend == "moto" else live


both = pytest.mark.parametrize("backend", ["memory", "moto"])


def _is_stored(env: Environment, execution_id: str) -> bool:
    return env.harness.engine.table.get(items.execution(execution_id)) is not None


@both
@law
async def test_the_handle_of_a_long_loop_leads_to_its_newest_link(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(backend, monkeypatch) as (env, live):
        handle = await env.start(loop, 1, id="loop")
        await live(98)
        assert not _is_stored(env, "loop~1")

        detail = await env.describe(handle)
        assert (detail.id, detail.status) == ("loop~4", "waiting")
        assert (await env.start(loop, 1, id="loop")).id == "loop"
        await env.settle()
        assert (await env.describe(handle)).id == "loop~4"
        assert await env.cancel(handle)
        await env.settle()
        assert (await env.describe(handle)).status == "cancelled"


@both
@law
async def test_the_first_link_goes_when_the_loop_has_ended_and_not_before(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(backend, monkeypatch) as (env, live):
        handle = await env.start(loop, 1, id="loop")
        await live(98)
        await env.client.terminate(handle.id)
        await env.settle()
        await live(7)
        assert (await env.describe(handle)).status == "cancelled"
        await live(21)
        assert not _is_stored(env, "loop")


@both
@law
async def test_a_loop_that_is_retried_keeps_its_handle_again(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with living(backend, monkeypatch) as (env, live):
        handle = await env.start(loop, 1, id="loop")
        await live(105)
        assert (await env.describe(handle)).status == "failed"
        mended.append(True)
        await env.client.retry(handle.id)
        await live(14)
        assert (await env.describe(handle)).status == "waiting"
        await live(70)
        assert (await env.describe(handle)).result == 9


@law
async def test_the_duty_of_an_older_link_that_is_repeated_leads_nobody_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 has ended, and sends 2 | dies before its message is deleted | 2 ends, points to 3 | 1's message comes again."""
    async with living("memory", monkeypatch) as (env, live):
        await env.start(loop, 1, id="loop")
        await live(42)
        engine = env.harness.engine
        older = engine.table.get(items.execution("loop~1"))
        assert older is not None
        await live(21)
        first = engine.table.get(items.execution("loop"))
        assert first is not None
        assert first[items.NEXT] == "loop~3"

        successors.start(engine, older)

        assert engine.table.get(items.execution("loop")) == first


@law
async def test_an_older_link_that_leads_on_when_the_loop_has_ended_keeps_no_first_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """1 ends, and sends 2 | 2 runs and ends: the first may go when 2 goes | 1 has the first lead to 2."""
    change, late = successors._change_first, list[tuple[Any, ...]]()

    def slow(*what: Any) -> None:
        if items.TTL in what[2].remove:
            late.append(what)
        else:
            change(*what)

    monkeypatch.setattr(successors, "_change_first", slow)
    async with living("memory", monkeypatch) as (env, live):
        handle = await env.start(loop, 7, id="loop")
        assert await env.finish(handle) == 9
        assert len(late) == 1
        change(*late[0])

        assert (await env.describe(handle)).id == "loop~2"
        await live(21)
        assert not _is_stored(env, "loop")


@law
async def test_a_late_duty_of_the_failed_run_lets_no_first_go_that_a_retry_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last link fails, and is retried | a copy of its message repeats what follows its end."""
    async with living("memory", monkeypatch) as (env, live):
        handle = await env.start(loop, 1, id="loop")
        await live(105)
        engine, detail = env.harness.engine, await env.describe(handle)
        failed = engine.table.get(items.execution(detail.id))
        assert failed is not None
        assert detail.status == "failed"
        mended.append(True)
        await env.client.retry(handle.id)

        successors.close(engine, failed)

        first = engine.table.get(items.execution("loop"))
        assert first is not None
        assert items.TTL not in first
        await live(14)
        assert (await env.describe(handle)).status == "waiting"
