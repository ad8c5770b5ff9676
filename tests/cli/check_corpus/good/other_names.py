# ruff: noqa
import asyncio
import os
import time

from polos import WorkflowContext, workflow

MODE = os.environ.get("MODE", "live")
clock = time.time
shadowed = time.time
again = again_too = time.time
either = time.time
either = len


def read() -> float:
    return clock()


@workflow
async def aliases(ctx: WorkflowContext, shadowed, clock=None):
    run = ctx.step.run
    await run("read", read)
    await run("env", os.getpid)
    now = time.time
    await run("now", now)
    loop = asyncio.get_running_loop()
    task = loop.create_task(ctx.step.wait_for("nap", seconds=1))
    await task
    return shadowed(), clock(), either("x"), MODE, hash(1), hash(ctx)


@workflow
async def circle(ctx: WorkflowContext):
    one = two
    two = one
    return one(), two.three()
