# ruff: noqa
import asyncio

from polos import WorkflowContext, workflow


async def charge(ctx: WorkflowContext, order: str) -> str:
    return await ctx.step.run("charge", str.upper, order)


@workflow
async def raw_timeouts(ctx: WorkflowContext, order: str):
    async with asyncio.timeout(5):  # expect: timeout
        await ctx.step.run("a", print)
    await asyncio.wait_for(ctx.step.wait_for_event("b", topic="t"), timeout=10)  # expect: timeout
    await asyncio.wait_for(charge(ctx, order), 10)  # expect: timeout
    task = asyncio.create_task(ctx.step.run("c", print))
    await asyncio.wait({task}, timeout=3)  # expect: timeout
    later = ctx.step.run("d", print)
    try:
        await asyncio.wait_for(later, 3)  # expect: timeout
    except TimeoutError:
        await ctx.step.run("e", print)

    async def inner():
        await ctx.step.run("f", print)

    async with asyncio.timeout(1):  # expect: timeout
        await inner()
