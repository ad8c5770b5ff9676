"""edits.py as it is after the second deployment: a step before the current one and one after it, and a new name."""

from __future__ import annotations

from polos import WorkflowContext, workflow


def say(text: str) -> str:
    return text


@workflow
async def changing(ctx: WorkflowContext, name: str) -> list[str]:
    said = [await ctx.step.run("first", say, "first of the new code")]
    said.append(await ctx.step.run("renamed", say, "the new name"))
    said.append(await ctx.step.run("inserted before", say, "inserted before"))
    await ctx.step.wait_for_event("current", topic=f"changing/{name}")
    said.append(await ctx.step.run("inserted after", say, "inserted after"))
    said.append(await ctx.step.run("last", say, "last of the new code"))
    return said
