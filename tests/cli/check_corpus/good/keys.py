# ruff: noqa
import asyncio
from enum import Enum

from polos import BatchWorkflowInput, WorkflowContext, workflow


class Mode(Enum):
    FAST = 1
    SLOW = 2


@workflow
async def branches(ctx: WorkflowContext, mode: Mode):
    if mode is Mode.FAST:
        await ctx.step.run("work", print, "fast")
    else:
        await ctx.step.run("work", print, "slow")
    value = await (ctx.step.run("get", print) if mode else ctx.step.run("get", str))
    match mode:
        case Mode.FAST:
            await ctx.step.run("match", print)
        case _:
            await ctx.step.run("match", str)
    if value:
        await ctx.step.run("end", print)
        return
    try:
        await ctx.step.run("risky", print)
    except ValueError:
        await ctx.step.run("undo", print)
        raise
    except KeyError:
        await ctx.step.run("undo", str)
    await ctx.step.run("end", print)


@workflow
async def loops(ctx: WorkflowContext, items: list[str]):
    for number, item in enumerate(items):
        await ctx.step.run(f"a-{number}", print)
        await ctx.step.run("b-" + item, print)
        key = f"c-{item}"
        await ctx.step.run(key, print)
        await ctx.step.run(f"d-{items[number]}", print)
    for item in items:
        if item == "x":
            await ctx.step.run("found", print)
            break
    for item in items:
        if item == "y":
            return await ctx.step.run("found-y", print)
    while True:
        await ctx.step.run("once", print)
        break
    page, token = 0, ""
    while token is not None:
        token = await ctx.step.run(f"page-{page}", str)
        await ctx.step.run("token-%s" % token, print)
        page += 1
    counter = iter(range(9))
    for _ in items:
        await ctx.step.run(f"n-{next(counter)}", print)
    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(ctx.step.run(f"task-{item}", print))
    return await asyncio.gather(*(ctx.step.run(f"fan-{item}", print) for item in items))


class Cursor:
    value = 0

    def advance(self) -> None:
        self.value += 1


@workflow
async def state_in_keys(ctx: WorkflowContext, count: int):
    cursor = Cursor()
    left = count
    while left:
        await ctx.step.run(f"at-{cursor.value}", print)
        await ctx.step.run(f"state-{ctx.state.round}", print)
        ctx.state.round += 1
        cursor.advance()
        left -= 1
    await ctx.continue_as_new(count)


async def charge(ctx: WorkflowContext, order: str, *, refund: bool = False):
    if refund:
        return await ctx.step.run("refund", print, order)
    return await ctx.step.run("charge", print, order)


async def greet(ctx: WorkflowContext, name: str):
    await ctx.step.run(f"greet-{name}", print)


@workflow
async def by_helper(ctx: WorkflowContext, names: list[str]):
    await charge(ctx, "1")
    await charge(ctx, "1", refund=True)
    for name in names:
        await greet(ctx, name)
        await ctx.step.invoke(f"child-{name}", loops, [name])
    await ctx.step.batch_invoke_and_wait("batch", [BatchWorkflowInput(id="loops", payload=[one]) for one in names])
    with ctx.step.trace("span"):
        await ctx.step.run("one", print)
    with ctx.step.trace("span"):
        await ctx.step.run("two", print)


@workflow
async def same_key_as_another_workflow(ctx: WorkflowContext):
    await ctx.step.run("work", print)
    pending = ctx.step.run("pending", print)
    other = ctx.step.run("other", print)
    return await asyncio.gather(pending, other)
