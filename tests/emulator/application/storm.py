"""What the lane runs while it kills processes: steps that say each time that they run, a timer, a child, an event."""

from __future__ import annotations

import time
from pathlib import Path

from polos import WorkflowContext, workflow


def run(folder: str, key: str, value: int) -> int:
    """Say in a file when this ran; whoever killed the process can still read it. Long enough to be killed in."""
    with (Path(folder) / key).open("a") as file:
        file.write(f"{time.time()}\n")
    time.sleep(0.3)
    return value


@workflow
async def gust(ctx: WorkflowContext, given: tuple[str, int]) -> int:
    folder, number = given
    return await ctx.step.run("square", run, folder, f"{number}-square", number * number)


@workflow
async def storm(ctx: WorkflowContext, given: tuple[str, int]) -> list[object]:
    folder, number = given
    first = await ctx.step.run("first", run, folder, f"{number}-first", number)
    await ctx.step.wait_for("nap", seconds=2)
    square = await ctx.step.invoke_and_wait("child", gust, given)
    heard = await ctx.step.wait_for_event("heard", topic=f"storm/{number}")
    last = await ctx.step.run("last", run, folder, f"{number}-last", first + 1)
    return [first, square, heard.data, last]
