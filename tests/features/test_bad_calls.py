"""SPEC 12: a durable call that is got wrong is an error at the call, which the body may catch; on every backend."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from polos import (
    BatchWorkflowInput,
    InvalidPayloadError,
    StepExecutionError,
    UsageError,
    WorkflowContext,
    WorkflowNotFoundError,
    workflow,
)
from tests.laws.worlds import World, law


@law
async def test_bad_keys_and_topics_in_a_body_are_errors_at_the_call_that_it_may_catch(world: World) -> None:
    @workflow(id="bad-keys")
    async def body(ctx: WorkflowContext) -> int:
        calls = (
            lambda: ctx.step.run("é" * 257, world.effect),
            lambda: ctx.step.run("", world.effect),
            lambda: ctx.step.run(5, world.effect),  # type: ignore[arg-type]
            lambda: ctx.step.run("polos:mine", world.effect),
            lambda: ctx.step.wait_for_event("e", "t" * 513),
            lambda: ctx.step.publish_event("p", "", {}),
            lambda: ctx.step.resume("r", "", "x", "w", {}),
            lambda: ctx.step.resume("r2", "k", "no good id", "w", {}),
        )
        refused = 0
        for call in calls:
            try:
                await call()
            except InvalidPayloadError:
                refused += 1
        for call in (
            lambda: ctx.step.wait_for("w", seconds=-1),
            lambda: ctx.step.wait_for_event("e2", "t", timeout=0),
            lambda: ctx.step.suspend("s", timeout=-1),
        ):
            try:
                await call()
            except ValueError:
                refused += 1
        try:
            await ctx.step.run("f", "not callable")  # type: ignore[arg-type]
        except TypeError:
            refused += 1
        return refused

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == 12
        assert (await env.describe(handle)).steps == []
    assert world.effects == []


async def _never(error: BaseException) -> bool:
    return False


@law
async def test_time_limits_and_retries_that_are_no_numbers_are_refused_by_name(world: World) -> None:
    said: list[str] = []

    @workflow(id="bad-options")
    async def body(ctx: WorkflowContext) -> int:
        wrong: list[dict[str, Any]] = [
            {"max_retries": -1},
            {"max_retries": "2"},
            {"base_delay": -1},
            {"max_delay": float("nan")},
            {"backoff": "2"},
            {"retry_on": "ValueError"},
            {"retry_on": (ValueError, int)},
            {"retry_on": _never},
            {"timeout": float("inf")},
            {"timeout": "5"},
        ]
        for options in wrong:
            with pytest.raises(ValueError, match=next(iter(options))) as raised:
                await ctx.step.run("never", lambda: 1, **options)
            said.append(str(raised.value))
        return await ctx.step.run("never", lambda: 1, retry_on=(ValueError, OSError), backoff=1, base_delay=0)

    async with world.deploy(body) as env:
        for limit in ("5", float("inf"), float("nan"), True, 0):
            with pytest.raises(InvalidPayloadError, match="run_timeout_seconds"):
                await env.start(body, run_timeout_seconds=limit)
        assert await env.client.list_executions() == []
        assert await env.finish(await env.start(body, run_timeout_seconds=timedelta(hours=1))) == 1
    assert len(said) == 10


@law
async def test_a_batch_of_something_else_is_a_typed_error(world: World) -> None:
    @workflow(id="bad-batch")
    async def body(ctx: WorkflowContext) -> None:
        with pytest.raises(InvalidPayloadError, match="BatchWorkflowInput"):
            await ctx.step.batch_invoke_and_wait("batch", ["bad-batch"])  # type: ignore[list-item]

    async with world.deploy(body) as env:
        with pytest.raises(InvalidPayloadError, match="BatchWorkflowInput"):
            await env.client.batch_invoke([{"id": "bad-batch"}])  # type: ignore[list-item]
        await env.finish(await env.start(body))


@law
async def test_what_is_no_list_of_items_is_refused_as_a_batch(world: World) -> None:
    @workflow(id="bad-list")
    async def body(ctx: WorkflowContext) -> None:
        for wrong in (None, BatchWorkflowInput(id="bad-list"), {"id": "bad-list"}, "bad-list"):
            with pytest.raises(InvalidPayloadError, match=r"A batch takes a list of BatchWorkflowInput"):
                await ctx.step.batch_invoke("batch", wrong)  # type: ignore[arg-type]

    async with world.deploy(body) as env:
        with pytest.raises(InvalidPayloadError, match=r"A batch takes a list of BatchWorkflowInput"):
            await env.client.batch_invoke(None)  # type: ignore[arg-type]
        await env.finish(await env.start(body))


@law
async def test_a_batch_may_come_from_a_generator(world: World) -> None:
    @workflow(id="batch-one")
    async def one(ctx: WorkflowContext, n: int) -> int:
        return n

    @workflow(id="batch-generated")
    async def body(ctx: WorkflowContext) -> list[int]:
        made = (BatchWorkflowInput(id="batch-one", payload=n) for n in range(3))
        return [found.result for found in await ctx.step.batch_invoke_and_wait("batch", made)]  # type: ignore[arg-type]

    async with world.deploy(body, one) as env:
        assert await env.finish(await env.start(body)) == [0, 1, 2]
        made = (BatchWorkflowInput(id="batch-one", payload=n) for n in range(3))
        assert [await env.finish(handle) for handle in await env.client.batch_invoke(made)] == [0, 1, 2]  # type: ignore[arg-type]


@law
async def test_an_unknown_workflow_is_an_error_that_names_those_that_there_are(world: World) -> None:
    @workflow(id="known-caller")
    async def body(ctx: WorkflowContext) -> None:
        with pytest.raises(WorkflowNotFoundError, match="There is no workflow 'known-caler' here") as raised:
            await ctx.step.invoke("child", "known-caler")
        assert "known-caller" in str(raised.value).partition("here")[2]

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowNotFoundError, match=r"'known-caler' here\. Did you mean 'known-caller'\?"):
            await env.client.invoke("known-caler")
        await env.finish(await env.start(body))


@law
async def test_a_function_that_is_no_workflow_is_refused_by_name(world: World) -> None:
    async def plain(ctx: WorkflowContext) -> None: ...

    @workflow(id="bad-child")
    async def body(ctx: WorkflowContext) -> None:
        for wrong, name in ((plain, "plain"), (5, "5"), (None, "None")):
            with pytest.raises(UsageError, match=rf"{name}.* is no workflow.*@workflow"):
                await ctx.step.invoke_and_wait("child", wrong)  # type: ignore[arg-type]

    async with world.deploy(body) as env:
        with pytest.raises(UsageError, match=r"plain.* is no workflow.*@workflow"):
            await env.client.invoke(plain)  # type: ignore[arg-type]
        await env.finish(await env.start(body))


@law
async def test_a_durable_call_inside_a_step_is_an_error_that_says_what_to_do(world: World) -> None:
    @workflow(id="bad-nesting")
    async def body(ctx: WorkflowContext) -> list[str]:
        said: list[str] = []

        async def nested() -> int:
            return await ctx.step.run("inner", lambda: 1)

        def nested_in_a_thread() -> int:
            return asyncio.run(ctx.step.now("moment"))

        for key, func in (("outer", nested), ("thread", nested_in_a_thread)):
            with pytest.raises(StepExecutionError) as raised:
                await ctx.step.run(key, func, max_retries=0)
            said.append(f"{raised.value.error_type}: {raised.value.message}")
        return said

    async with world.deploy(body) as env:
        found = await env.finish(await env.start(body))
    for line, inner, outer in zip(found, ("inner", "moment"), ("outer", "thread"), strict=True):
        assert line.startswith(f"UsageError: Step '{inner}' was called inside step '{outer}'")
        assert "ctx.step.invoke_and_wait" in line


@law
async def test_waits_and_events_with_arguments_of_the_wrong_type_are_errors_at_the_call(world: World) -> None:
    @workflow(id="bad-waits")
    async def body(ctx: WorkflowContext) -> str:
        for wrong in (float("inf"), float("nan"), "5"):
            with pytest.raises(ValueError, match="'pause' waits for what is no length of time"):
                await ctx.step.wait_for("pause", seconds=wrong)  # type: ignore[arg-type]
        for when in ("2030-01-01", 5, timedelta(1)):
            with pytest.raises(ValueError, match="'until' waits until .* no datetime"):
                await ctx.step.wait_until("until", when)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="'pause' waits for more than a century"):
            await ctx.step.wait_for("pause", weeks=1e6)
        for when in [datetime.max.replace(tzinfo=zone) for zone in (None, timezone(timedelta(hours=-12)))]:
            with pytest.raises(ValueError, match="'until' waits until 9999.* 9998"):
                await ctx.step.wait_until("until", when)
        for when in [datetime.min.replace(tzinfo=zone) for zone in (None, timezone(timedelta(hours=12)))]:
            await ctx.step.wait_until(f"past {when}", when)
        for kind in (5, "", "x" * 257):
            with pytest.raises(InvalidPayloadError, match="event_type"):
                await ctx.step.wait_for_event("event", "topic", event_type=kind)  # type: ignore[arg-type]
            with pytest.raises(InvalidPayloadError, match="event_type"):
                await ctx.step.publish_event("publish", "topic", {}, event_type=kind)  # type: ignore[arg-type]
        await ctx.step.wait_for("pause", seconds=None, minutes=1)
        return "waited"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "waited"
