"""Event triggers, event waits, and publishing from inside and outside."""

# ruff: noqa: T201

import asyncio

from pydantic import BaseModel

from polos import BatchEventPayload, EventPayload, Polos, SchedulePayload, WorkflowContext, schedules, workflow
from polos.features import events


class Signup(BaseModel):
    user: str


seen: list[str] = []


@workflow(id="on-signup", trigger_on_event="user/signup")
async def on_signup(ctx: WorkflowContext, payload: EventPayload) -> str:
    seen.append(f"{payload.topic} {payload.event_type} {payload.data['user']}")
    await ctx.step.publish_event(
        "welcome", topic="user/welcome", data={"user": payload.data["user"]}, event_type="sent"
    )
    return payload.data["user"]


@workflow(id="on-signup-batch", trigger_on_event="user/signup", batch_size=1)
async def on_signup_batch(ctx: WorkflowContext, payload: BatchEventPayload) -> int:
    seen.append(f"batch of {len(payload.events)}")
    return len(payload.events)


@workflow(id="waits-for-welcome")
async def waits(ctx: WorkflowContext, payload: Signup) -> str:
    event = await ctx.step.wait_for_event("welcome", topic="user/welcome", timeout=60)
    return f"{payload.user}: {event.event_type} {event.data['user']}"


@workflow(id="daily", schedule={"cron": "0 8 * * 1-5", "timezone": "America/New_York"})
async def daily(ctx: WorkflowContext, payload: SchedulePayload) -> None: ...


@workflow(id="per-user", schedule=True)
async def per_user(ctx: WorkflowContext, payload: SchedulePayload) -> str:
    return payload.key


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        handle = await waits.invoke(polos, Signup(user="ada"))
        sequence = await events.publish(
            client=polos, topic="user/signup", event_data=events.EventData(event_type="created", data={"user": "bob"})
        )
        print(isinstance(sequence, int))
        print(await handle.result(timeout=10))
        for _ in range(100):
            if len(seen) == 2:
                break
            await asyncio.sleep(0.05)
        print(sorted(seen))
        ids = await events.batch_publish(polos, "user/other", [events.EventData(data={"n": n}) for n in range(3)])
        print(ids == sorted(ids))
        schedule_id = await schedules.create(
            client=polos, workflow=per_user, cron="0 8 * * *", timezone="America/New_York", key="ada"
        )
        print(schedule_id, [one.key for one in await schedules.list(polos)])


if __name__ == "__main__":
    asyncio.run(main())
