"""The numbered defects of the upstream SDK and its orchestrator, each as a test of what happens here instead.

Test `defect_NN` is for number NN. Those of time and of families of executions have files of their own. 21 (projects
that see each other, an approval page open to all) has no counterpart: a stack is one trust domain.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    DuplicateStepKeyError,
    HookContext,
    HookResult,
    Polos,
    SerializationError,
    StepExecutionError,
    WorkflowContext,
    workflow,
)
from tests.laws.worlds import World, law


class Order(BaseModel):
    item: str


@law
async def test_defect_07_a_key_used_twice_is_an_error_and_no_key_of_the_runtime_collides(world: World) -> None:
    @workflow(id="defect-7", on_start=lambda ctx, about: HookResult.continue_with())
    async def body(ctx: WorkflowContext) -> list[Any]:
        names = ["publish_start", "publish_finish", "on_start.<lambda>.0", "x", "workflow_start"]
        got = [await ctx.step.run(name, lambda name=name: f"mine: {name}") for name in names]
        assert got == [f"mine: {name}" for name in names]
        with pytest.raises(DuplicateStepKeyError, match="'x'"):
            await ctx.step.run("x", lambda: "again")
        return got

    async with world.deploy(body) as env:
        assert len(await env.finish(await env.start(body))) == 5


@law
async def test_defect_08_hooks_take_models_text_and_nothing(world: World) -> None:
    seen: list[Any] = []

    def look(ctx: WorkflowContext, about: HookContext) -> HookResult:
        seen.append(about.current_payload if about.current_output is None else about.current_output)
        return HookResult.continue_with()

    @workflow(id="defect-8", on_start=look, on_end=look)
    async def body(ctx: WorkflowContext, order: Order | None) -> str | None:
        return order and order.item

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, Order(item="hat"))) == "hat"
        assert await env.finish(await env.start(body, None)) is None
    assert seen == [Order(item="hat"), "hat", None, None]


@law
async def test_defect_10_a_failure_reads_the_same_live_and_on_replay(world: World) -> None:
    said: list[tuple[str, str, str, int]] = []

    @workflow(id="defect-10")
    async def body(ctx: WorkflowContext) -> None:
        def bad() -> None:
            raise LookupError("no hat")

        try:
            await ctx.step.run("bad", bad, max_retries=1, base_delay=0.01)
        except StepExecutionError as error:
            said.append((str(error), error.error_type, error.message, error.attempts))
        await ctx.step.wait_for("nap", hours=1)

    async with world.deploy(body) as env:
        await env.finish(await env.start(body))
    assert said == [("Step 'bad' failed: LookupError: no hat", "LookupError", "no hat", 2)] * 2


@law
async def test_defect_11_a_result_that_cannot_be_stored_says_that_the_function_did_run_and_storage_errors_do_not_count(
    world: World,
) -> None:
    @workflow(id="defect-11")
    async def body(ctx: WorkflowContext) -> str:
        with pytest.raises(SerializationError, match="The function did run"):
            await ctx.step.run("odd", lambda: world.effect() and object())
        return await ctx.step.run("fine", world.effect)

    async with world.deploy(body) as env:
        fault = world.wire.crash("put r#fine")
        assert await env.finish(await env.start(body)) == "fine"
        assert fault.reached
    assert world.ran("odd") == 1


def test_defect_19_a_process_that_stops_leaves_its_runs_to_the_next_at_once(local: Path) -> None:
    began, go_on = threading.Event(), threading.Event()

    def work() -> str:
        began.set()
        assert go_on.wait(10)
        return "done"

    @workflow(id="defect-19")
    async def body(ctx: WorkflowContext) -> str:
        first = await ctx.step.run("work", work)
        await ctx.step.wait_for("nap", seconds=0.2)
        return first

    async def stops() -> str:
        async with Polos(local=local) as client:
            handle = await body.invoke(client)
            await asyncio.to_thread(began.wait, 10)
            go_on.set()
            return handle.id

    async def goes_on(execution_id: str) -> str:
        async with Polos(local=local) as client:
            result = await client.wait_for_result(execution_id, 5)
            found = [event.event_type async for event in client.stream_workflow("defect-19", execution_id)]
            assert "workflow_cancelled" not in found
            return result

    assert asyncio.run(goes_on(asyncio.run(stops()))) == "done"


@law
async def test_costs_a_replay_reads_its_history_once_however_long_it_is(world: World) -> None:
    @workflow(id="defect-cost")
    async def body(ctx: WorkflowContext, steps: int) -> None:
        for n in range(steps):
            await ctx.step.run(f"s{n}", lambda n=n: n)
        await ctx.step.wait_for("nap", minutes=1)

    async with world.deploy(body) as env:
        reads = []
        for steps in (2, 40):
            handle = await env.start(body, steps)
            await env.settle()
            before = env.requests["Query"] + env.requests["GetItem"]
            await env.finish(handle)
            reads.append(env.requests["Query"] + env.requests["GetItem"] - before)
        assert reads[0] == reads[1]
