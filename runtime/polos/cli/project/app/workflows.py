"""The workflows of this project. Importing this module declares them; samconfig.toml names it as `App`."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from polos import StepTimeoutError, WorkflowContext, workflow


class Order(BaseModel):
    item: str
    amount: int


async def reserve(order: Order) -> str:
    """Here you would call the warehouse. A step runs once; what it returns is recorded."""
    return f"reservation of {order.item}"


async def release(reservation: str) -> None:
    """Here you would give the reservation back."""


async def ship(reservation: str) -> str:
    return f"shipped by {reservation}"


@workflow
async def order(ctx: WorkflowContext, order: Order) -> str:
    """Large orders wait for a person, for up to three days. While an order waits, nothing runs."""
    reservation = await ctx.step.run("reserve", reserve, order)
    if order.amount > 100:
        try:
            answer = await ctx.step.suspend("approve", {"order": order}, timeout=timedelta(days=3))
            approved = answer["data"]["approved"]
        except StepTimeoutError:
            approved = False
        if not approved:
            await ctx.step.run("release", release, reservation)
            return "not approved"
    return await ctx.step.run("ship", ship, reservation)
