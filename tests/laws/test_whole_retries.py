"""SPEC 2.1: whole-execution retries keep recorded steps, and end with the last error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import WorkflowContext, WorkflowFailedError, workflow
from tests.laws.worlds import World, law


class _Exit(BaseException):
    """Not an `Exception`: nothing that another try could mend."""


@law
async def test_retry_of_the_whole_execution_keeps_recorded_steps(world: World) -> None:
    tries: list[tuple[int, float]] = []

    @workflow(id="retry-whole")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("once", world.effect)
        tries.append((ctx.retry_count, world.env.now.timestamp()))
        if len(tries) < 3:
            raise ConnectionError(f"try {len(tries)}")
        await ctx.step.wait_for("pause", minutes=1)
        return "third time lucky"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "third time lucky"
        assert (await env.describe(handle)).retry_count == 2
    assert [count for count, _ in tries] == [0, 1, 2, 2]
    assert [round(tries[n + 1][1] - tries[n][1]) for n in range(2)] == [1, 2]
    assert world.ran("once") == 1


@law
async def test_retry_gives_up_after_max_retries_with_the_last_error(world: World) -> None:
    tries: list[int] = []

    @workflow(id="retry-out", max_retries=1)
    async def body(ctx: WorkflowContext) -> None:
        tries.append(1)
        raise ConnectionError(f"try {len(tries)}")

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowFailedError, match="ConnectionError: try 2"):
            await env.finish(await env.start(body))


@pytest.mark.parametrize("error", ["step", "polos", "exit"])
@law
async def test_retry_is_not_for_errors_of_polos_or_for_exits(world: World, error: str) -> None:
    tries: list[int] = []

    def fails() -> None:
        raise ValueError("step")

    @workflow(id="retry-not")
    async def body(ctx: WorkflowContext) -> None:
        tries.append(1)
        if error == "step":
            await ctx.step.run("fails", fails, max_retries=0)
        if error == "polos":
            await ctx.step.uuid("same")
            await ctx.step.uuid("same")
        raise _Exit

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowFailedError):
            await env.finish(await env.start(body))
    assert tries == [1]


@law
async def test_retry_registers_its_waits_again(world: World) -> None:
    """The end of the first try gave up its wait for an event; the second try must be woken by one all the same."""
    tries: list[int] = []

    @workflow(id="retry-waits")
    async def body(ctx: WorkflowContext) -> Any:
        wait = asyncio.create_task(ctx.step.wait_for_event("wait", "retry/topic"))
        await ctx.step.wait_for("pause", minutes=1)
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("once")
        return (await wait).data

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=10)
        assert len(tries) == 2
        await env.publish("retry/topic", "heard")
        assert await env.finish(handle) == "heard"
