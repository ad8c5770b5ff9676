"""L11 crash anywhere: the process may die at any instruction; the execution goes on by redelivery alone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from polos import StepExecutionError, StepTimeoutError, WorkflowContext, current_step, workflow
from tests.laws.mixed import Mixed
from tests.laws.worlds import World, law


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@law
async def test_L11_dying_at_every_request_changes_nothing(world: World, after: bool) -> None:
    mixed = Mixed(world)
    async with world.deploy(*mixed.workflows) as env:
        handle = await mixed.start("calm")
        expected = await mixed.finish(handle)
        trace, effects = mixed.trace(handle), mixed.keys(handle)
        calm = sorted(key for key, _ in world.effects)
        nth, reached, died_at = 0, True, set[str]()
        while reached:
            nth += world.stride
            world.effects.clear()
            handle = await mixed.start(f"run{nth}")
            fault = world.wire.crash("", nth=nth, after=after)
            crashes = env.crashes
            result = await mixed.finish(handle)
            reached = fault.reached
            world.wire.quiet()
            where = (nth, fault.hit)
            assert env.crashes == crashes + reached, where
            assert result == expected, where
            assert mixed.trace(handle) == trace, where
            assert mixed.keys(handle) == effects, where
            assert len({key for _, key in world.effects}) == len(effects), "one idempotency key a step"
            assert world.repeated == [], where
            again = sorted(key for key, _ in world.effects)
            for key in calm:
                again.remove(key)
            assert len(again) <= 2, "only what was in flight ran again"
            assert world.waiters(f"mixed/run{nth}") == [], where
            died_at.add((fault.hit or "").split(" ")[0])
        assert nth > 60
        if world.stride == 1:
            assert {"claim", "query", "put", "suspend", "send", "publish", "finish", "answer", "delete"} <= died_at


@law
async def test_L11_dying_again_and_again_loses_nothing(world: World) -> None:
    """Every seventh request is the last of its process, and no two deaths are without progress in between."""
    mixed = Mixed(world)
    async with world.deploy(*mixed.workflows) as env:
        handle = await mixed.start("calm")
        expected = await mixed.finish(handle)
        trace = mixed.trace(handle)
        world.effects.clear()
        handle = await mixed.start("storm")
        faults = [world.wire.crash("", nth=nth) for nth in range(7, 120, 11)]
        assert await mixed.finish(handle) == expected
        assert sum(fault.reached for fault in faults) >= 5
        assert env.crashes >= 5
        assert mixed.trace(handle) == trace
        assert world.repeated == []


@law
async def test_L11_a_step_in_flight_runs_again_with_the_same_idempotency_key(world: World) -> None:
    attempts: list[tuple[str, int]] = []

    def work() -> str:
        attempts.append((current_step().idempotency_key, current_step().attempt))
        return "done"

    @workflow(id="l11-in-flight")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("work", work)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        fault = world.wire.crash("put r#work")
        assert await env.finish(handle) == "done"
        assert fault.reached
    assert len(attempts) == 2
    assert attempts[0] == attempts[1]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@law
async def test_L11_at_most_once_does_not_run_an_interrupted_step_again(world: World, asynchronous: bool) -> None:
    async def later() -> str:
        return world.effect()

    @workflow(id="l11-at-most-once")
    async def body(ctx: WorkflowContext) -> list[Any]:
        try:
            return [await ctx.step.run("charge", later if asynchronous else world.effect, at_most_once=True)]
        except StepExecutionError as error:
            await ctx.step.wait_for("pause", hours=1)
            return [error.message, error.step_key]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        fault = world.wire.crash("put r#charge")
        assert await env.finish(handle) == ["interrupted", "charge"]
        assert fault.reached
    assert world.ran("charge") == 1


@law
async def test_L11_at_most_once_interrupted_takes_its_next_retry_where_retries_were_asked_for(world: World) -> None:
    attempts: list[int] = []

    def charge() -> str:
        attempts.append(current_step().attempt)
        return "done"

    @workflow(id="l11-retried")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("charge", charge, at_most_once=True, max_retries=1, base_delay=5)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        fault = world.wire.crash("put r#charge")
        assert await env.finish(handle) == "done"
        assert fault.reached
    assert attempts == [1, 2]


@law
async def test_L11_at_most_once_dying_at_every_request(world: World) -> None:
    @workflow(id="l11-sweep")
    async def body(ctx: WorkflowContext) -> str:
        try:
            return await ctx.step.run("charge", world.effect, at_most_once=True)
        except StepExecutionError as error:
            return error.message

    async with world.deploy(body) as env:
        for after in (False, True):
            nth, reached = 0, True
            while reached:
                nth += 1
                world.effects.clear()
                handle = await env.start(body)
                fault = world.wire.crash("", nth=nth, after=after)
                got = await env.finish(handle)
                reached = fault.reached
                world.wire.quiet()
                assert world.ran("charge") <= 1, fault.hit
                assert got == ("charge" if world.ran("charge") and not _unrecorded(fault.hit, after) else "interrupted")
            assert nth >= 5


def _unrecorded(line: str | None, after: bool) -> bool:
    return line is not None and not after and line.startswith("put r#charge")


@law
async def test_L11_a_client_that_dies_after_its_send_has_started_the_execution(world: World) -> None:
    @workflow(id="l11-client")
    async def body(ctx: WorkflowContext, text: str) -> int:
        await ctx.step.wait_for("pause", hours=1)
        return len(text)

    async with world.deploy(body) as env:
        for size in (5, 5000, 200_000):
            handle = await env.start(body, "x" * size)
            world.forget(handle.id)  # as if the client's own writes had never been made
            assert world.records(handle) == {}
            await env.settle()
            assert await env.finish(handle) == size


@law
async def test_L11_an_invocation_that_raises_is_delivered_again(world: World) -> None:
    """A backend that refuses a request is no death of the process, and no reason to lose the message."""

    class Throttled(Exception):
        pass

    def refuse() -> None:
        raise Throttled("slow down")

    @workflow(id="l11-throttled")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return list(await asyncio.gather(ctx.step.run("a", world.effect), ctx.step.run("b", world.effect)))

    async with world.deploy(body) as env:
        handle = await env.start(body)
        fault = world.wire.meanwhile("put r#a", refuse)
        with contextlib.suppress(Throttled):
            await world.begin().end()
        assert fault.reached
        await env.advance(seconds=31)
        assert await env.finish(handle) == ["a", "b"]
    assert world.repeated == []


@law
async def test_L11_at_most_once_does_not_run_a_step_again_that_took_too_long(world: World) -> None:
    """A thread that is given up may still carry out what it was asked for: the attempt's outcome is unknown."""
    begun: list[int] = []
    over = threading.Event()

    def charge() -> None:
        begun.append(1)
        over.wait(10)

    @workflow(id="once-slow")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.run("charge", charge, at_most_once=True, timeout=0.1)
        except StepTimeoutError as error:
            return f"unknown after {error.attempts}"
        return "charged"

    async with world.deploy(body) as env:
        try:
            assert await env.finish(await env.start(body)) == "unknown after 1"
        finally:
            over.set()
    assert len(begun) == 1
