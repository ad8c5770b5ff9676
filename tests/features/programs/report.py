"""Scheduled reports: cron in the decorator, one schedule a user, and a run by hand with the payload of a tick."""

# ruff: noqa: T201

import asyncio
from datetime import UTC, datetime, timedelta

from polos import Polos, SchedulePayload, WorkflowContext, schedules, workflow


def collect_numbers(since: datetime, until: datetime) -> dict:
    return {"hours": (until - since) // timedelta(hours=1)}


@workflow(id="daily-report", schedule="0 9 * * *")
async def daily_report(ctx: WorkflowContext, payload: SchedulePayload) -> dict:
    since = payload.last_timestamp or payload.timestamp - timedelta(days=1)
    numbers = await ctx.step.run("collect", collect_numbers, since, payload.timestamp)
    return {"key": payload.key, "next": payload.upcoming.isoformat(), **numbers}


@workflow(id="weekday-reminder", schedule={"cron": "30 8 * * MON-FRI", "timezone": "Europe/Berlin", "key": "team"})
async def weekday_reminder(ctx: WorkflowContext, payload: SchedulePayload) -> str:
    return payload.timezone


@workflow(id="user-digest", schedule=True)
async def user_digest(ctx: WorkflowContext, payload: SchedulePayload) -> str:
    return payload.key


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        first = await schedules.create(polos, user_digest, "0 8 * * *", timezone="America/New_York", key="ada")
        same = await schedules.create(polos, user_digest, "0 7 * * *", timezone="America/New_York", key="ada")
        await schedules.create(client=polos, workflow="user-digest", cron="*/30 * * * *", key="bob")
        print(first == same)
        for one in sorted(await schedules.list(polos), key=lambda line: line.id):
            print(one.workflow_id, one.key, one.cron, one.timezone)
        now = datetime(2030, 5, 1, 9, tzinfo=UTC)
        tick = SchedulePayload(
            timestamp=now, timezone="UTC", schedule_id="by-hand", key="global", upcoming=now + timedelta(days=1)
        )
        print(await daily_report.run(polos, tick))
        await schedules.delete(polos, user_digest, key="bob")
        print([one.key for one in await schedules.list(polos) if one.workflow_id == "user-digest"])


if __name__ == "__main__":
    asyncio.run(main())
