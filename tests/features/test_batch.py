"""SPEC 2.3 batch_invoke, batch_invoke_and_wait: any length, in order, typed, one wake of the parent (SPEC 9)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BatchStepResult,
    BatchWorkflowInput,
    InvalidPayloadError,
    WorkflowContext,
    WorkflowNotFoundError,
    WorkflowState,
    workflow,
)
from polos.handle import ExecutionHandle
from tests.laws.worlds import World, law, worlds


class Doubled(BaseModel):
    of: int
    value: int


@workflow(id="batch-double", max_retries=0)
async def double(ctx: WorkflowContext, n: int) -> Doubled:
    if n < 0:
        raise ValueError(f"{n} is negative")
    return Doubled(of=n, value=2 * n)


@workflow(id="batch-parent")
async def parent(ctx: WorkflowContext, numbers: list[int]) -> list[BatchStepResult]:
    return await ctx.step.batch_invoke_and_wait(
        "all", [BatchWorkflowInput(id="batch-double", payload=n) for n in numbers]
    )


@workflow(id="batch-launcher")
async def launcher(ctx: WorkflowContext, numbers: list[int]) -> list[ExecutionHandle]:
    return await ctx.step.batch_invoke("all", [BatchWorkflowInput(id="batch-double", payload=n) for n in numbers])


async def _run(world: World, numbers: list[int]) -> tuple[list[BatchStepResult], int, int]:
    """The results, the invocations of the parent, the requests of it all."""
    async with world.deploy(parent, double) as env:
        handle = await env.start(parent, numbers)
        results = await env.finish(handle)
        await env.settle()
        return results, (await env.describe(handle)).invocations, sum(env.requests.values())


@law
async def test_batch_of_any_size_comes_in_order_typed_and_with_one_wake(world: World) -> None:
    """0, 1, 10 and 100 children; the requests grow linearly, the parent is invoked at most three times."""
    used: dict[int, int] = {}
    async with world.deploy(parent, double) as env:
        for size in (0, 1, 10, 100):
            before = sum(env.requests.values())
            handle = await env.start(parent, list(range(size)))
            results = await env.finish(handle)
            await env.settle()
            used[size] = sum(env.requests.values()) - before
            assert [one.result for one in results] == [Doubled(of=n, value=2 * n) for n in range(size)]
            assert all(one.success and one.error is None and one.workflow_id == "batch-double" for one in results)
            assert (await env.describe(handle)).invocations <= 3
    assert (used[100] - used[10]) / 90 <= 1.1 * (used[10] - used[0]) / 10


def test_batch_requests_grow_linearly_up_to_a_thousand() -> None:
    async def measure(size: int) -> int:
        with worlds("memory") as world:
            results, invocations, requests = await _run(world, list(range(size)))
        assert [one.result.of for one in results] == list(range(size))
        assert invocations <= 3
        return requests

    ten, hundred, thousand = (asyncio.run(measure(size)) for size in (10, 100, 1000))
    assert (hundred - ten) / 90 <= ten / 10
    assert (thousand - hundred) / 900 <= 1.1 * (hundred - ten) / 90


@law
async def test_batch_one_failure_is_a_result_and_does_not_raise(world: World) -> None:
    results, _, _ = await _run(world, [1, -2, 3])
    assert [one.success for one in results] == [True, False, True]
    assert results[1].result is None
    assert "-2 is negative" in (results[1].error or "")
    assert "ValueError" in (results[1].error or "")


@law
async def test_batch_handles_come_at_once_in_order_and_the_children_run(world: World) -> None:
    async with world.deploy(launcher, double) as env:
        handle = await env.start(launcher, [5, 6, 7])
        handles = await env.finish(handle)
        await env.settle()
        assert all(isinstance(one, ExecutionHandle) for one in handles)
        assert [(await env.finish(one)).of for one in handles] == [5, 6, 7]
        for one in handles:
            assert one.parent_execution_id == one.root_execution_id == handle.id
            assert (one.step_key, one.root_workflow_id) == ("all", "batch-launcher")
        assert len({one.id for one in handles}) == 3
        assert (await env.describe(handle)).children == [one.id for one in handles]


@law
async def test_batch_items_have_a_state_and_a_time_limit_of_their_own(world: World) -> None:
    class Counter(WorkflowState):
        count: int = 0

    @workflow(id="batch-stateful", state_schema=Counter)
    async def stateful(ctx: WorkflowContext) -> int:
        return ctx.state.count

    @workflow(id="batch-slow")
    async def slow(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("long", hours=1)

    @workflow(id="batch-mixed")
    async def mixed(ctx: WorkflowContext) -> list[BatchStepResult]:
        return await ctx.step.batch_invoke_and_wait(
            "all",
            [
                BatchWorkflowInput(id="batch-stateful", initial_state={"count": 4}),
                BatchWorkflowInput(id="batch-slow", run_timeout_seconds=60),
            ],
        )

    async with world.deploy(mixed, stateful, slow) as env:
        first, second = await env.finish(await env.start(mixed))
    assert (first.success, first.result, second.success) == (True, 4, False)
    assert "timed out" in (second.error or "").replace("_", " ")


@law
async def test_batch_refuses_an_unknown_workflow_or_a_bad_payload_before_any_child_starts(world: World) -> None:
    @workflow(id="batch-refusing")
    async def refusing(ctx: WorkflowContext) -> list[str]:
        said = []
        good = BatchWorkflowInput(id="batch-double", payload=1)
        for key, bad in (
            ("a", BatchWorkflowInput(id="nowhere")),
            ("b", BatchWorkflowInput(id="batch-double", payload="x")),
        ):
            try:
                await ctx.step.batch_invoke_and_wait(key, [good, bad])
            except (WorkflowNotFoundError, InvalidPayloadError) as error:
                said.append(type(error).__name__)
        return said

    async with world.deploy(refusing, double) as env:
        handle = await env.start(refusing)
        assert await env.finish(handle) == ["WorkflowNotFoundError", "InvalidPayloadError"]
        assert (await env.describe(handle)).children == []


CRASHES = {
    "before the starts are sent": (r"^send start ", False),
    "after the starts were sent": (r"^send start ", True),
    "before the batch is on record": (r"^put s#all", False),
    "before a child's outcome is written": (r"^put b#all", False),
    "after a child's outcome was written": (r"^put b#all", True),
    "before a child enters the fan-in": (r"^update f", False),
    "before the parent is woken": (r"^send wake", False),
    "before the parent finishes": (r"^finish crash$", False),
}
SLOW_CRASHES = ("after the starts were sent", "before the parent is woken")


@pytest.mark.moto_sample(where=SLOW_CRASHES)
@pytest.mark.parametrize("where", [*CRASHES])
@law
async def test_batch_a_crash_on_the_way_starts_no_child_twice(world: World, where: str) -> None:
    pattern, after = CRASHES[where]

    @workflow(id="batch-crash-child")
    async def child(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.run("work", world.effect)
        return n

    @workflow(id="batch-crash-parent")
    async def crashing(ctx: WorkflowContext) -> list[Any]:
        inputs = [BatchWorkflowInput(id="batch-crash-child", payload=n) for n in range(12)]
        return [one.result for one in await ctx.step.batch_invoke_and_wait("all", inputs)]

    async with world.deploy(crashing, child) as env:
        handle = await env.start(crashing, id="crash")
        fault = world.wire.crash(pattern, after=after)
        assert await env.finish(handle) == list(range(12))
        assert fault.reached
        assert env.crashes == 1
        await env.advance(minutes=5)
        assert len((await env.describe(handle)).children) == 12
    assert world.ran("work") == len({key for _, key in world.effects}) == 12
    assert world.repeated == []


@law
async def test_batch_is_recorded_whole_so_that_no_replay_sees_part_of_it(world: World) -> None:
    seen: list[int] = []

    @workflow(id="batch-partly")
    async def partly(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.wait_for("nap", hours=n)
        return n

    @workflow(id="batch-watcher")
    async def watcher(ctx: WorkflowContext) -> int:
        results = await ctx.step.batch_invoke_and_wait(
            "all", [BatchWorkflowInput(id="batch-partly", payload=n) for n in (1, 2, 3)]
        )
        seen.append(len(results))
        await ctx.step.wait_for("after", hours=1)
        return sum(one.result for one in results)

    async with world.deploy(watcher, partly) as env:
        handle = await env.start(watcher)
        await env.advance(hours=2, minutes=30)
        await env.resume(handle, "nothing", None)  # a wake in the middle
        await env.settle()
        assert seen == []
        assert await env.finish(handle) == 6
    assert set(seen) == {3}
