"""A workflow that takes a basket, and one that takes nothing, for input that is bad."""

from __future__ import annotations

from pydantic import BaseModel

from polos import WorkflowContext, workflow


class Line(BaseModel):
    sku: str
    count: int


class Basket(BaseModel):
    owner: str
    lines: list[Line]


@workflow(id="bad-basket")
async def basket(ctx: WorkflowContext, given: Basket) -> int:
    return await ctx.step.run("count", lambda: sum(line.count for line in given.lines))


@workflow(id="bad-nothing")
async def nothing(ctx: WorkflowContext) -> None: ...
