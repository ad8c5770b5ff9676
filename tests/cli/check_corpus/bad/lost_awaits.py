# ruff: noqa
from polos import WorkflowContext, workflow


@workflow
async def lost(ctx: WorkflowContext, amount: int):
    ctx.step.run("charge", print, amount)  # expect: await
    unused = ctx.step.run("unused", print)  # expect: await
    if ctx.step.random("dice") > 0.5:  # expect: await
        await ctx.step.run("lucky", print)
    name = f"x-{ctx.step.uuid('id')}"  # expect: await
    steps = ctx.step
    steps.publish_event("tell", "topic", name)  # expect: await
    if amount > 10:
        ctx.continue_as_new(amount - 1)  # expect: await
    return ctx.step.run("last", print)  # expect: await
