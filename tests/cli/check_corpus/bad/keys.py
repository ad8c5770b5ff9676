# ruff: noqa
import asyncio

from polos import WorkflowContext, workflow


@workflow
async def repeated(ctx: WorkflowContext, big: bool):
    await ctx.step.run("same", print)
    await ctx.step.wait_for("same", seconds=5)  # expect: key
    if big:
        await ctx.step.run("then", print)
    await ctx.step.uuid("then")  # expect: key
    try:
        await ctx.step.run("try", print)
    except ValueError:
        await ctx.step.run("try", print)  # expect: key


@workflow
async def loops(ctx: WorkflowContext, items: list[str]):
    for item in items:
        await ctx.step.run("charge", print, item)  # expect: key
    while True:
        if await ctx.step.run("look", len, items):  # expect: key
            break
        await ctx.step.wait_for("nap", seconds=1)  # expect: key
    await asyncio.gather(*(ctx.step.run("fan", print, item) for item in items))  # expect: key
    return [await ctx.step.run(f"all-{len('x')}", print) for _ in items]


@workflow
async def unchanging(ctx: WorkflowContext, order: str, items: list[str]):
    for item in items:
        await ctx.step.run(f"charge-{order}", print, item)  # expect: key
        for _ in range(2):
            await ctx.step.run(f"pack-{item}", print)  # expect: key
    for number in range(3):
        try:
            return await ctx.step.run(key_of(), print)
        except ValueError:
            await ctx.step.wait_for(f"{ctx.execution_id}-wait", seconds=number)  # expect: key


def key_of() -> str:
    return "x"


async def greet(ctx: WorkflowContext, name: str):
    await ctx.step.run("greet", print, name)
    await ctx.step.run("greet", print, name)  # expect: key


@workflow
async def by_helper(ctx: WorkflowContext, names: list[str]):
    for name in names:
        await greet(ctx, name)  # expect: key

    async def one(name: str):
        await ctx.step.run("one", print, name)

    await asyncio.gather(*[one(name) for name in names])  # expect: key
