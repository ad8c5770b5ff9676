"""The numbered defects of the upstream SDK in schedules, time limits and pauses, as tests of what happens here."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from polos import SchedulePayload, StepExecutionError, StepTimeoutError, WorkflowContext, WorkflowTimeoutError, workflow
from tests.laws.worlds import World, law


@pytest.mark.parametrize(("cron", "hours"), [("0 * * * *", 1), ("0 0 * * *", 24)])
@law
async def test_defect_01_a_schedule_fires_at_every_tick_not_at_every_other(world: World, cron: str, hours: int) -> None:
    got: list[datetime] = []

    @workflow(id="defect-1", schedule=cron)
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> None:
        got.append(tick.timestamp)

    async with world.deploy(body, start_time=datetime(2030, 1, 1, 0, 30, tzinfo=UTC)) as env:
        await env.advance(hours=6 * hours)
    assert len(got) == 6
    assert {(two - one).total_seconds() for one, two in zip(got, got[1:], strict=False)} == {3600 * hours}


@pytest.mark.parametrize(("cron", "days"), [("0 8 * * 1-5", [0, 1, 2, 3, 4]), ("0 8 * * 0", [6]), ("0 8 * * 7", [6])])
@law
async def test_defect_02_weekday_numbers_mean_what_cron_means(world: World, cron: str, days: list[int]) -> None:
    got: set[int] = set()

    @workflow(id="defect-2", schedule=cron)
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> None:
        got.add(tick.timestamp.weekday())

    async with world.deploy(body) as env:
        await env.advance(days=7)
    assert sorted(got) == days


@law
async def test_defect_03_a_suspend_with_a_timeout_expires(world: World) -> None:
    @workflow(id="defect-3")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.suspend("ask", {"q": 1}, timeout=3600)
        except StepTimeoutError as error:
            return error.step_key or ""
        return "answered"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=59)
        assert (await env.describe(handle)).status == "waiting"
        await env.advance(minutes=2)
        assert await env.finish(handle) == "ask"


@law
async def test_defect_09_there_is_no_pause_after_the_last_attempt(world: World) -> None:
    @workflow(id="defect-9")
    async def body(ctx: WorkflowContext) -> None:
        def bad() -> None:
            world.effect()
            raise OSError("down")

        with pytest.raises(StepExecutionError):
            await ctx.step.run("bad", bad, max_retries=2, base_delay=10, max_delay=1000)

    async with world.deploy(body) as env:
        began = env.now
        await env.finish(await env.start(body))
        assert 30 <= (env.now - began).total_seconds() < 31
    assert world.ran("bad") == 3


@law
async def test_defect_17_where_nothing_is_due_nothing_is_requested(world: World) -> None:
    @workflow(id="defect-17")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for_event("e", "defect/17")

    async with world.deploy(body) as env:
        await env.start(body)
        await env.settle()
        before = dict(env.requests)
        await env.advance(days=2)
        assert dict(env.requests) == before


@law
async def test_defect_20_a_time_limit_holds_for_a_run_that_waits_before_anything_else(world: World) -> None:
    @workflow(id="defect-20")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for_event("never", "defect/20")

    async with world.deploy(body) as env:
        began = env.now
        handle = await env.start(body, run_timeout_seconds=1800)
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(handle)
        assert 1800 <= (env.now - began).total_seconds() < 1805
