"""SPEC 6: what a tick does that finds the execution before it open, whatever copies of it come when; every backend."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from polos import InvalidPayloadError, SchedulePayload, WorkflowContext, schedules, workflow
from polos.core.identity import tick_id
from polos.engine.commands import millis, tick
from polos.engine.worker import Worker
from polos.ports import Message, Recurring
from tests.features.listing import listed
from tests.laws.worlds import World, law


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2030-05-01 {text}").replace(tzinfo=UTC)


def slow(workflow_id: str, minutes: int = 90) -> Any:
    @workflow(id=workflow_id, schedule=True)
    async def scheduled(ctx: WorkflowContext, tick: SchedulePayload) -> str:
        await ctx.step.wait_for("work", minutes=minutes)
        return f"{tick.timestamp:%H:%M} after {tick.last_timestamp:%H:%M}" if tick.last_timestamp else "first"

    return scheduled


class Ticker:
    """Ticks of one hourly schedule, handed to the engine by hand, as often and as late as a test likes."""

    def __init__(self, world: World, workflow_id: str, overlap: str = "skip") -> None:
        self.world, self.schedule = world, Recurring(workflow_id, "global", "0 * * * *", "UTC", overlap=overlap)
        self.sent = 0

    def id(self, time: str) -> str:
        return tick_id(self.schedule.workflow_id, "global", at(time))

    def message(self, time: str) -> Message:
        self.sent += 1
        return Message(f"tick-{self.sent}", tick(self.schedule, millis(at(time))), 1, lambda _: None)

    async def fire(self, time: str) -> None:
        worker = Worker(self.world.env.harness.engine)
        assert await asyncio.to_thread(worker.handle, self.message(time))


@law
async def test_schedule_made_at_run_time_says_what_overlapping_ticks_do(world: World) -> None:
    both = slow("overlap-made")
    async with world.deploy(both, start_time=at("09:30")) as env:
        await schedules.create(env.client, both, "0 * * * *", key="skips")
        await schedules.create(env.client, both, "0 * * * *", key="allows", overlap="allow")
        assert {(one.key, one.overlap) for one in await schedules.list(env.client)} == {
            ("skips", "skip"),
            ("allows", "allow"),
        }
        await schedules.pause(env.client, both, "allows")
        await schedules.resume(env.client, both, "allows")
        await env.advance(hours=2)
        lines = await listed(env)
        assert sorted(line.status for line in lines) == ["cancelled", "completed", "completed", "waiting"]
        skipped = [line for line in lines if line.status == "cancelled"]
        assert skipped[0].id == tick_id("overlap-made", "skips", at("11:00"))
        assert await schedules.create(env.client, both, "0 * * * *", key="allows") == "overlap-made:allows"
        assert {one.overlap for one in await schedules.list(env.client)} == {"skip"}
        with pytest.raises(InvalidPayloadError, match="'skip' or 'allow'"):
            await schedules.create(env.client, both, "0 * * * *", overlap="queue")


@law
async def test_schedule_declared_with_overlap_lists_it(world: World) -> None:
    @workflow(id="overlap-declared", schedule={"cron": "0 * * * *", "overlap": "allow"})
    async def declared(ctx: WorkflowContext) -> None: ...

    async with world.deploy(declared) as env:
        assert [one.overlap for one in await schedules.list(env.client)] == ["allow"]


@law
async def test_skipped_tick_that_comes_again_starts_nothing_and_is_not_the_last_that_started(world: World) -> None:
    flow = slow("overlap-again")
    async with world.deploy(flow, start_time=at("10:00")) as env:
        ticker = Ticker(world, flow.id)
        await ticker.fire("10:00")
        await env.advance(hours=1)
        await ticker.fire("11:00")
        assert (await env.describe(ticker.id("11:00"))).status == "cancelled"
        await env.advance(hours=1)
        for _ in range(2):
            await ticker.fire("11:00")
        await ticker.fire("12:00")
        await env.advance(hours=2)
        assert (await env.describe(ticker.id("11:00"))).status == "cancelled"
        assert (await env.describe(ticker.id("12:00"))).result == "12:00 after 10:00"
        assert len(await listed(env)) == 3


@law
async def test_skipped_tick_of_long_ago_starts_nothing(world: World) -> None:
    """Also where so many were skipped since that the schedule no longer names it."""
    flow = slow("overlap-long", minutes=24 * 60)
    async with world.deploy(flow, start_time=at("00:00")) as env:
        ticker = Ticker(world, flow.id)
        for hour in range(20):
            await ticker.fire(f"{hour:02}:00")
            await env.advance(hours=1)
        await env.advance(hours=8)
        await ticker.fire("01:00")
        await ticker.fire("23:00")
        await env.advance(hours=25)
        statuses = sorted(line.status for line in await listed(env))
        assert statuses == ["cancelled"] * 19 + ["completed"] * 2
        assert (await env.describe(ticker.id("23:00"))).result == "23:00 after 00:00"


@law
async def test_two_ticks_at_once_do_not_both_find_that_nothing_is_open(world: World) -> None:
    """B finds nothing open | A finds the same, decides, starts | B's decision is refused, it reads again and skips."""
    flow = slow("overlap-two")
    async with world.deploy(flow, start_time=at("12:00")) as env:
        ticker = Ticker(world, flow.id)
        gate = world.wire.block("update schedule")
        worker = Worker(env.harness.engine)
        slower = world.again(ticker.message("12:00"))
        await world.until(lambda: gate.reached)
        assert await asyncio.to_thread(worker.handle, ticker.message("11:00"))
        gate.release()
        await slower.end()
        await env.advance(minutes=1)
        assert sorted(line.status for line in await listed(env)) == ["cancelled", "waiting"]
        assert (await env.describe(ticker.id("11:00"))).status == "waiting"


@law
async def test_two_copies_of_a_tick_before_and_after_the_end_of_the_one_before_decide_alike(world: World) -> None:
    """A: 10:00 is open → | 10:00 ends | B starts 11:00 | A's decision to skip is refused: it was started."""
    flow = slow("overlap-copies", minutes=5)
    async with world.deploy(flow, start_time=at("11:00")) as env:
        ticker = Ticker(world, flow.id)
        await ticker.fire("10:00")
        await env.settle()
        gate = world.wire.block("update schedule")
        skipping = world.again(ticker.message("11:00"))
        await world.until(lambda: gate.reached)
        await env.advance(minutes=6)
        await ticker.fire("11:00")
        gate.release()
        await skipping.end()
        await env.advance(minutes=10)
        assert (await env.describe(ticker.id("11:00"))).result == "11:00 after 10:00"
        assert len(await listed(env)) == 2


@law
async def test_late_tick_does_not_say_that_a_later_one_came_before_it(world: World) -> None:
    flow = slow("overlap-late", minutes=1)
    async with world.deploy(flow, start_time=at("13:00")) as env:
        ticker = Ticker(world, flow.id, overlap="allow")
        for time in ("10:00", "12:00", "11:00", "13:00"):
            await ticker.fire(time)
            await env.advance(minutes=2)
        results = [(await env.describe(ticker.id(f"{hour}:00"))).result for hour in (10, 11, 12, 13)]
        assert results == ["first", "11:00 after 10:00", "12:00 after 10:00", "13:00 after 12:00"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("request_line", ["update schedule", "send start", "put x"])
@law
async def test_tick_is_started_or_skipped_whatever_crashes(world: World, request_line: str, after: bool) -> None:
    flow = slow("overlap-crash")
    async with world.deploy(flow, start_time=at("10:00")) as env:
        ticker = Ticker(world, flow.id)
        first, second = ("10:00", "11:00") if request_line == "put x" else (None, "10:00")
        if first:
            await ticker.fire(first)
            await env.settle()
        fault = world.wire.crash(request_line, after=after)
        await world.again(ticker.message(second)).end()
        assert fault.hit
        world.wire.quiet()
        await ticker.fire(second)
        await env.settle()
        assert (await env.describe(ticker.id(second))).status == ("cancelled" if first else "waiting")
        assert len(await listed(env)) == (2 if first else 1)


@law
async def test_a_chain_that_went_on_as_new_is_still_open(world: World) -> None:
    """The execution that the tick before started has ended; what it went on as has not."""

    @workflow(id="overlap-chain", schedule=True)
    async def body(ctx: WorkflowContext, tick: SchedulePayload) -> str:
        await ctx.step.wait_for("work", minutes=50)
        if ctx.execution_id.endswith("~2"):
            return "done"
        return await ctx.continue_as_new(tick)

    async with world.deploy(body) as env:
        ticker = Ticker(world, body.id)
        await ticker.fire("10:00")
        await env.advance(hours=1)
        await ticker.fire("11:00")
        assert (await env.describe(ticker.id("11:00"))).status == "cancelled"
        await env.advance(hours=2)
        await ticker.fire("13:00")
        await env.advance(minutes=1)
        assert (await env.describe(ticker.id("13:00"))).status == "waiting"
