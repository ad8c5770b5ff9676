"""A workflow whose code changes while executions of it wait, and a schedule that goes."""

from __future__ import annotations

from polos import SchedulePayload, WorkflowContext, workflow


def say(text: str) -> str:
    return text


@workflow
async def changing(ctx: WorkflowContext, name: str) -> list[str]:
    said = [await ctx.step.run("first", say, "first of the old code")]
    said.append(await ctx.step.run("to be renamed", say, "the old name"))
    await ctx.step.wait_for_event("current", topic=f"changing/{name}")
    said.append(await ctx.step.run("last", say, "last of the old code"))
    return said


@workflow(schedule="0 3 * * *")
async def nightly(ctx: WorkflowContext, tick: SchedulePayload) -> None:
    """Not declared any more by the second deployment."""
