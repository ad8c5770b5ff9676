"""SPEC 6: schedules in code and at run time, exactly one execution a nominal tick; on every backend."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polos import (
    InvalidPayloadError,
    Polos,
    SchedulePayload,
    WorkflowContext,
    WorkflowDefinitionError,
    WorkflowNotFoundError,
    schedules,
    workflow,
)
from polos.core import items
from tests.features.listing import listed
from tests.laws.worlds import World, law


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def _expire(world: World) -> None:
    """What every backend does with the executions whose time is over."""
    for line in await listed(world.env):
        if world.execution(line.id).get(items.TTL, 1 << 60) < world.env.now.timestamp():
            world.table.delete(items.execution(line.id))


class Ticks:
    """What scheduled workflows were given."""

    def __init__(self) -> None:
        self.payloads: list[SchedulePayload] = []

    @property
    def times(self) -> list[str]:
        return [one.timestamp.strftime("%m-%d %H:%M") for one in self.payloads]

    def declare(self, workflow_id: str, schedule: Any) -> Any:
        @workflow(id=workflow_id, schedule=schedule)
        async def scheduled(ctx: WorkflowContext, tick: SchedulePayload) -> None:
            await ctx.step.run("note", self.payloads.append, tick)

        return scheduled


@law
async def test_schedule_in_code_ticks_every_time_with_its_nominal_time(world: World) -> None:
    ticks = Ticks()
    hourly = ticks.declare("sched-hourly", "0 * * * *")
    async with world.deploy(hourly, start_time=at("2030-05-01 09:30")) as env:
        await env.advance(hours=4)
    assert ticks.times == ["05-01 10:00", "05-01 11:00", "05-01 12:00", "05-01 13:00"]
    first, second = ticks.payloads[:2]
    assert (first.last_timestamp, second.last_timestamp) == (None, first.timestamp)
    assert first.upcoming == second.timestamp
    assert (first.schedule_id, first.key, first.timezone) == ("sched-hourly:global", "global", "UTC")


@law
async def test_schedule_with_a_time_zone_means_local_time(world: World) -> None:
    ticks = Ticks()
    report = ticks.declare("sched-zone", {"cron": "0 8 * * 1-5", "timezone": "America/New_York", "key": "ny"})
    async with world.deploy(report, start_time=at("2030-06-07 00:00")) as env:  # a Friday
        await env.advance(days=4)
    assert ticks.times == ["06-07 12:00", "06-10 12:00"], "Monday to Friday"
    assert {(one.timezone, one.key) for one in ticks.payloads} == {("America/New_York", "ny")}


@law
async def test_schedule_over_both_clock_changes(world: World) -> None:
    ticks = Ticks()
    nightly = ticks.declare("sched-dst", {"cron": "30 2 * * *", "timezone": "Europe/Berlin"})
    async with world.deploy(nightly, start_time=at("2030-03-30 00:00")) as env:
        await env.advance(days=3)
        assert ticks.times == ["03-30 01:30", "04-01 00:30"], "the skipped local time is skipped"
    ticks.payloads.clear()
    async with world.deploy(nightly, start_time=at("2030-10-26 00:00")) as env:
        await env.advance(days=3)
        assert ticks.times == ["10-26 00:30", "10-27 00:30", "10-28 01:30"], "the repeated one runs once"


@law
async def test_schedule_with_both_day_fields_restricted_means_or(world: World) -> None:
    ticks = Ticks()
    both = ticks.declare("sched-both", "0 0 13 * 5")
    async with world.deploy(both, start_time=at("2030-09-05 12:00")) as env:
        await env.advance(days=16)
        assert ticks.times == ["09-06 00:00", "09-13 00:00", "09-20 00:00"], "Friday the 13th counts once"
        assert len(await schedules.list(env.client)) == 1
        assert len(await listed(env)) == 3


@law
async def test_schedule_tick_that_is_delivered_twice_starts_one(world: World) -> None:
    ticks = Ticks()
    hourly = ticks.declare("sched-twice", "0 * * * *")
    async with world.deploy(hourly, start_time=at("2030-05-01 09:30")) as env:
        twice = world.after_each(lambda message: world.again(message, new_id=True).join())
        await env.advance(hours=2)
        assert twice.count >= 4
        for message in reversed(list(world.messages)):
            await world.again(message, new_id=True).end()
        await env.advance(minutes=5)
        assert len(await listed(env)) == 2
    assert ticks.times == ["05-01 10:00", "05-01 11:00"]


@pytest.mark.parametrize("overlap", ["skip", "allow"])
@law
async def test_schedule_overlap(world: World, overlap: str) -> None:
    @workflow(id="sched-overlap", schedule={"cron": "0 * * * *", "overlap": overlap})
    async def slow(ctx: WorkflowContext, tick: SchedulePayload) -> str:
        await ctx.step.wait_for("work", minutes=90)
        return tick.timestamp.strftime("%H:%M") + (f" after {tick.last_timestamp:%H:%M}" if tick.last_timestamp else "")

    async with world.deploy(slow, start_time=at("2030-05-01 09:30")) as env:
        await env.advance(hours=3, minutes=50)
        lines = sorted(await listed(env), key=lambda line: line.created_at)
        statuses = [line.status for line in lines]
        details = [await env.describe(line.id) for line in lines]
        if overlap == "skip":
            assert statuses == ["completed", "cancelled", "waiting", "cancelled"]
            assert "still open" in (details[1].error.message if details[1].error else "")
            assert details[0].result == "10:00"
            assert details[2].payload.last_timestamp == at("2030-05-01 10:00"), "the last that started"
        else:
            assert statuses == ["completed", "completed", "waiting", "waiting"]
            assert details[1].result == "11:00 after 10:00"


@law
async def test_schedule_whose_ticks_are_further_apart_than_executions_are_kept_skips_none(world: World) -> None:
    ticks = Ticks()
    monthly = ticks.declare("sched-monthly", "0 9 1 * *")
    async with world.deploy(monthly, start_time=at("2030-05-01 08:30")) as env:
        for _ in range(3):
            await env.advance(days=16)
            await _expire(world)
            await env.advance(days=15)
            await _expire(world)
    assert ticks.times == ["05-01 09:00", "06-01 09:00", "07-01 09:00", "08-01 09:00"]


@law
async def test_schedules_for_each_key_are_made_listed_paused_resumed_and_deleted(world: World) -> None:
    got: list[tuple[str, str]] = []

    @workflow(id="sched-keys", schedule=True)
    async def digest(ctx: WorkflowContext, tick: SchedulePayload) -> None:
        await ctx.step.run("note", lambda: got.append((tick.key, f"{tick.timestamp:%H:%M}")))

    async with world.deploy(digest, start_time=at("2030-05-01 09:30")) as env:
        client = env.client
        await env.advance(hours=1)
        assert got == [], "nothing before it is created"
        made = await schedules.create(client=client, workflow=digest, cron="0 * * * *", timezone="UTC", key="ada")
        assert made == "sched-keys:ada"
        await schedules.create(client, "sched-keys", "30 * * * *", key="bob")
        assert [(one.key, one.cron, one.paused) for one in await schedules.list(client, digest)] == [
            ("ada", "0 * * * *", False),
            ("bob", "30 * * * *", False),
        ]
        await env.advance(hours=1, minutes=5)
        assert got == [("ada", "11:00"), ("bob", "11:30")]
        got.clear()
        await schedules.pause(client, digest, "ada")
        assert [one.paused for one in await schedules.list(client, "sched-keys")] == [True, False]
        (ada, _) = await schedules.list(client, digest)
        await schedules.create(client, digest, ada.cron, ada.timezone, "ada")
        assert (await schedules.list(client, digest))[0].paused, "a change does not go on with it"
        await env.advance(hours=2)
        assert got == [("bob", "12:30"), ("bob", "13:30")]
        got.clear()
        await schedules.resume(client, made)
        await schedules.delete(client, digest, "bob")
        await env.advance(hours=1)
        assert got == [("ada", "14:00")], "what was missed while it was paused is not made up for"
        got.clear()
        assert await schedules.create(client, digest, "15 * * * *", key="ada") == made
        await env.advance(hours=1)
        assert got == [("ada", "15:15")]
        assert len(await schedules.list(client)) == 1


@law
async def test_schedules_refuse_what_cannot_work_and_change_nothing(world: World) -> None:
    @workflow(id="sched-true", schedule=True)
    async def schedulable(ctx: WorkflowContext, tick: dict) -> None: ...

    @workflow(id="sched-false", schedule=False)
    async def not_schedulable(ctx: WorkflowContext) -> None: ...

    async with world.deploy(schedulable, not_schedulable) as env:
        client = env.client
        for bad, said in (
            ({"workflow": not_schedulable, "cron": "0 * * * *"}, "schedule=True"),
            ({"workflow": schedulable, "cron": "61 * * * *"}, "61"),
            ({"workflow": schedulable, "cron": "* * * *"}, "five|5"),
            ({"workflow": schedulable, "cron": "0 * * * *", "timezone": "Mars/Base"}, "Mars/Base"),
            ({"workflow": schedulable, "cron": "0 * * * *", "key": ""}, "1 to 512"),
        ):
            with pytest.raises(InvalidPayloadError, match=said):
                await schedules.create(client, **bad)  # type: ignore[arg-type]
        with pytest.raises(WorkflowNotFoundError):
            await schedules.create(client, "sched-nowhere", "0 * * * *")
        for change in (schedules.pause, schedules.resume, schedules.delete):
            with pytest.raises(InvalidPayloadError, match="no schedule with the key 'ada'"):
                await change(client, schedulable, "ada")
            with pytest.raises(InvalidPayloadError, match=f"no schedule '{schedulable.id}:ada'"):
                await change(client, f"{schedulable.id}:ada")
        assert await schedules.list(client) == []


@pytest.mark.parametrize(
    "schedule",
    ["61 * * * *", "* * * *", "@daily", {"cron": "0 0 * * *", "timezone": "Mars/Base"}, {"timezone": "UTC"}, 5,
     {"cron": "0 0 * * *", "overlap": "maybe"}, {"cron": "0 0 * * *", "every": 1}],
)  # fmt: skip
def test_schedule_that_cannot_work_is_an_error_at_import_that_names_the_function(schedule: Any) -> None:
    with pytest.raises(WorkflowDefinitionError, match="daily_report"):

        @workflow(id="sched-bad", schedule=schedule)
        async def daily_report(ctx: WorkflowContext) -> None: ...


@law
async def test_schedule_gives_a_plain_workflow_what_it_asks_for(world: World) -> None:
    got: list[Any] = []

    @workflow(id="sched-dict", schedule="0 * * * *")
    async def as_dict(ctx: WorkflowContext, tick: dict) -> None:
        got.append(tick["key"])

    @workflow(id="sched-nothing", schedule="0 * * * *")
    async def nothing(ctx: WorkflowContext) -> None:
        got.append("nothing")

    async with world.deploy(as_dict, nothing, start_time=at("2030-05-01 09:30")) as env:
        await env.advance(minutes=31)
    assert sorted(got) == ["global", "nothing"]


def test_schedule_ticks_missed_while_no_process_ran_fire_once(tmp_path: Any) -> None:
    """The embedded backend: a laptop that slept for half a day makes up for the latest missed tick."""
    from polos.local.backend import local_backend
    from polos.ports import Recurring
    from polos.testing.harness import VirtualClock

    class Real:
        def monotonic(self) -> float:
            return 0.0

    clock = VirtualClock(at("2030-05-01 09:30"), Real())
    local = local_backend(str(tmp_path / "x.db"), clock=clock)
    try:
        local.recurrences.apply(Recurring("sched-missed", "global", "0 * * * *", "UTC"))
        clock.advance(12 * 3600)
        local.recurrences.fire_due(["sched-missed"])
        local.recurrences.fire_due(["sched-missed"])
        received = local.inbox.receive(["sched-missed"])
        assert received is not None
        assert received.message.body["at"] == int(at("2030-05-01 21:00").timestamp() * 1000)
        assert local.inbox.receive(["sched-missed"]) is None
        assert clock.now() - at("2030-05-01 21:00") < timedelta(hours=1)
    finally:
        local.close()


def test_schedule_taken_out_of_the_code_is_gone_when_the_process_starts_again(tmp_path: Any) -> None:
    """The embedded backend: the next start is its deployment. What was made at run time stays."""
    path = str(tmp_path / "x.db")
    ticks = Ticks()

    async def start(schedule: Any) -> list[str]:
        kept = ticks.declare("sched-edited", schedule)
        async with Polos(local=path) as polos:
            if schedule == "0 8 * * *":
                await schedules.create(polos, kept, "0 9 * * *", key="ada")
            return sorted(one.key for one in await schedules.list(polos, kept))

    assert asyncio.run(start("0 8 * * *")) == ["ada", "global"]
    assert asyncio.run(start(True)) == ["ada"]
