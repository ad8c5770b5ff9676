# ruff: noqa
import asyncio
import random
import time

from polos import WorkflowContext, workflow

clock = time.time
dice = random
wall = clock


def stamp() -> float:
    return time.time()  # expect: clock


moment = stamp


@workflow
async def aliases(ctx: WorkflowContext):
    started = clock()  # expect: clock
    if wall() > 1:  # expect: clock
        await ctx.step.run("late", print, started)
    tick = time.monotonic
    loop = asyncio.get_running_loop()
    return tick(), dice.random(), moment()  # expect: clock  # expect: random


@workflow
async def loops(ctx: WorkflowContext):
    loop = asyncio.get_running_loop()
    return loop.time(), asyncio.get_event_loop().time()  # expect: clock


@workflow
async def bound(ctx: WorkflowContext, items: list[str]):
    run = ctx.step.run
    step = ctx.step
    pause = step.wait_for
    run("lost", print)  # expect: await
    for item in items:
        await run("same", print, item)  # expect: key

    async def inner():
        await pause("twice", seconds=1)
        await pause("twice", seconds=1)  # expect: key

    await inner()
    async with asyncio.timeout(5):  # expect: timeout
        await pause("long", hours=1)
