# ruff: noqa
from __future__ import annotations

import asyncio

from polos import WorkflowContext


async def tell(ctx: WorkflowContext, who: str) -> None:
    await ctx.step.run("tell", print, who)


async def tell_twice(context, who: str) -> None:
    await context.step.run("letter", print, who)
    await context.step.run("letter", print, who)  # expect: key
    async with asyncio.timeout(5):  # expect: timeout
        await tell(context, who)


def template() -> str:
    with open("template.txt") as file:  # expect: io
        return file.read()  # expect: io
