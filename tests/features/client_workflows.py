"""The workflows of the tests of a client, and a wait for a status."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import BaseModel

from polos import Polos, WorkflowContext, current_step, workflow


class Number(BaseModel):
    n: int


ran: list[str] = []


async def double(n: int) -> Number:
    ran.append(current_step().execution_id)
    return Number(n=2 * n)


@workflow(id="client-double")
async def doubled(ctx: WorkflowContext, number: Number) -> Number:
    return await ctx.step.run("double", double, number.n)


@workflow(id="client-asks")
async def asks(ctx: WorkflowContext) -> Any:
    return (await ctx.step.suspend("ask", {"q": 1}))["data"]


async def until(polos: Polos, execution_id: str, status: str) -> dict[str, Any]:
    for _ in range(400):
        found = await polos.get_execution(execution_id)
        if found["status"] == status:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"{found['status']}, not {status}")
