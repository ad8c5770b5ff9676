"""Classes that a test, or any function, defines beside its workflow, with annotations as strings."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from polos import WorkflowContext, workflow
from polos.testing import Environment


def test_local_models_come_back_as_themselves() -> None:
    class Order(BaseModel):
        item: str

    class Receipt(BaseModel):
        item: str
        paid: bool

    async def pay(order: Order) -> Receipt:
        return Receipt(item=order.item, paid=True)

    @workflow(id="local-classes")
    async def fulfil(ctx: WorkflowContext, order: Order) -> Receipt:
        receipt = await ctx.step.run("pay", pay, order)
        await ctx.step.wait_for("pause", hours=1)
        assert isinstance(receipt, Receipt)
        return receipt

    async def scenario() -> None:
        async with Environment(workflows=[fulfil]) as env:
            handle = await env.start(fulfil, {"item": "kettle"})
            assert await env.finish(handle) == Receipt(item="kettle", paid=True)

    asyncio.run(scenario())
