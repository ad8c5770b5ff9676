# ruff: noqa
from __future__ import annotations

import random
import time

from polos import WorkflowContext
from polos import workflow as durable


def stamp() -> float:
    return time.time()  # expect: clock


async def fetch(ctx: WorkflowContext, name: str):
    def pick():
        return random.choice(["a", "b"])  # expect: random

    ctx.step.run("lost", print)  # expect: await
    return await ctx.step.run(f"fetch-{name}", print, pick())


async def deep(context):
    return await fetch(context, "x")


@durable(id="with-helpers", timeout=60)
async def with_helpers(ctx: WorkflowContext):
    await deep(ctx)
    return stamp()


def factory():
    import uuid

    @durable
    async def nested(ctx: WorkflowContext):
        return uuid.uuid4()  # expect: random

    return nested


async def plain(ctx):
    return time.time()  # expect: clock


registered = durable(id="registered")(plain)
