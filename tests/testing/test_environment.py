"""SPEC 10: the life of a test environment, and what is refused at its making."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, Literal

import pytest

from polos import (
    InvalidPayloadError,
    UsageError,
    WorkflowContext,
    WorkflowNotFoundError,
    WorkflowTimeoutError,
    workflow,
)
from polos.testing import Environment
from polos.testing.harness import EPOCH

Backend = Literal["memory", "moto"]


@workflow(id="environment-nap")
async def nap(ctx: WorkflowContext) -> str:
    await ctx.step.wait_for("nap", days=1)
    return "slept"


@workflow(id="environment-sleep")
async def sleep(ctx: WorkflowContext, days: int) -> str:
    await ctx.step.run("lie down", lambda: None)
    await ctx.step.wait_for("sleep", days=days)
    return "slept"


def test_the_fixture_may_be_entered_and_is_closed_once_more_after_the_test(polos_env: Environment) -> None:
    async def main() -> str:
        async with polos_env as env:
            return await env.finish(await env.start(nap))

    assert asyncio.run(main()) == "slept"
    polos_env.close()


def test_the_fixture_need_not_be_entered(polos_env: Environment) -> None:
    async def main() -> str:
        return await polos_env.finish(await polos_env.start(nap))

    assert asyncio.run(main()) == "slept"


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_an_execution_may_wait_for_years(backend: Backend) -> None:
    async def main() -> tuple[str, Counter[str]]:
        async with Environment(backend=backend, workflows=[sleep]) as env:
            handle = await env.start(sleep, 800)
            await env.advance(days=1)
            before = Counter(env.requests)
            return await env.finish(handle), env.requests - before

    result, requests = asyncio.run(main())

    assert result == "slept"
    assert requests.total() < 20  # nothing but the end of the wait counts


@pytest.mark.parametrize("backend", ["sqlite", None, 5])
def test_a_backend_that_does_not_exist_is_refused_at_once(backend: object) -> None:
    with pytest.raises(UsageError, match=r"use 'memory' or 'moto'"):
        Environment(backend)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_who_waits_for_a_result_drives_it_there(backend: Backend) -> None:
    async def main() -> list[Any]:
        async with Environment(backend=backend, workflows=[nap, sleep]) as env:
            handle = await env.start(nap)
            return [await handle.result(), await sleep.run(env.client, 2, timeout=None), await nap.invoke()]

    assert asyncio.run(main()) == ["slept", "slept", "slept"]


def test_time_stays_where_the_test_moves_it_though_somebody_waits() -> None:
    async def main() -> None:
        async with Environment(workflows=[nap, sleep]) as env:
            task = asyncio.create_task(sleep.run(env.client, 2, timeout=None))
            for _ in range(3):
                await env.advance(hours=12)
            assert env.now == EPOCH + timedelta(hours=36)
            await env.advance(hours=12)
            assert await task == "slept"

    asyncio.run(main())


def test_a_result_is_waited_for_no_longer_than_its_limit() -> None:
    async def main() -> None:
        async with Environment(workflows=[nap]) as env:
            handle = await env.start(nap)
            with pytest.raises(WorkflowTimeoutError):
                await handle.result(timeout=0.7)
            assert (await env.describe(handle)).status == "waiting"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "said"),
    [({"workflows": nap}, "takes a list"), ({"workflows": ["environment-nap"]}, "takes a list"),
     ({"start_time": "2030-01-01"}, "takes a datetime")],
)  # fmt: skip
def test_what_it_cannot_be_made_of_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Environment(**given)


def test_a_closed_one_says_so() -> None:
    async def main() -> None:
        async with Environment(workflows=[nap]) as env:
            handle = await env.start(nap)
        for call in (env.start(nap), env.settle(), env.describe(handle)):
            with pytest.raises(UsageError, match="closed"):
                await call

    asyncio.run(main())


def test_a_workflow_may_be_started_by_its_id() -> None:
    async def main() -> str:
        async with Environment(workflows=[nap, sleep]) as env:
            return await env.finish(await env.start("environment-sleep", 1))

    assert asyncio.run(main()) == "slept"


def test_12_what_is_no_workflow_and_no_handle_is_refused_in_a_sentence() -> None:
    async def main() -> None:
        async with Environment(workflows=[nap]) as env:
            with pytest.raises(WorkflowNotFoundError, match="environment-knap"):
                await env.start("environment-knap")
            for wrong in (None, 5, lambda ctx: None):
                with pytest.raises(UsageError, match="is no workflow: give its id, or the function"):
                    await env.start(wrong)  # type: ignore[arg-type]
            handle = env.start(nap)
            for call in (env.finish, env.cancel, env.describe, lambda one: env.resume(one, "key")):
                with pytest.raises(UsageError, match="takes the handle that start returned, or an execution's id, not"):
                    await call(None)  # type: ignore[arg-type]
                with pytest.raises(UsageError, match=r"Was an await forgotten\?"):
                    await call(handle)  # type: ignore[arg-type]
            await env.finish(await handle)

    asyncio.run(main())


def test_the_wait_for_a_result_may_be_limited_by_a_timedelta() -> None:
    async def main() -> None:
        async with Environment(workflows=[nap]) as env:
            handle = await env.start(nap)
            with pytest.raises(WorkflowTimeoutError) as raised:
                await handle.result(timeout=timedelta(milliseconds=50))
            assert raised.value.timeout_seconds == 0.05
            with pytest.raises(InvalidPayloadError, match="timeout"):
                await handle.result(timeout=timedelta(seconds=-1))
            await env.finish(handle)
            assert await handle.result(timeout=timedelta(seconds=1)) == "slept"
            assert await nap.run(env.client, timeout=timedelta(days=2)) == "slept"

    asyncio.run(main())
