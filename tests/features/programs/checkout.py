"""An order with an approval in the middle: retries, a wait, a suspend that the driver answers, a rejection."""

# ruff: noqa: T201

import asyncio

from pydantic import BaseModel

from polos import Polos, StepExecutionError, WorkflowContext, workflow
from polos.features import events


class Order(BaseModel):
    order_id: str
    customer: str
    amount: float


class Receipt(BaseModel):
    order_id: str
    status: str
    approved_by: str | None = None
    charged: float = 0.0


tries: dict[str, int] = {}


def validate(order: Order) -> bool:
    if order.amount <= 0:
        raise ValueError("the amount must be positive")
    return True


async def charge(order: Order) -> float:
    tries[order.order_id] = tries.get(order.order_id, 0) + 1
    if tries[order.order_id] == 1:
        raise ConnectionError("the bank is busy")
    return order.amount


@workflow(id="checkout")
async def checkout(ctx: WorkflowContext, payload: Order) -> Receipt:
    try:
        await ctx.step.run("validate", validate, payload, max_retries=0)
    except StepExecutionError:
        return Receipt(order_id=payload.order_id, status="invalid")
    approved_by = None
    if payload.amount > 1000:
        answer = await ctx.step.suspend(
            "approve", data={"order_id": payload.order_id, "amount": payload.amount}, timeout=3600
        )
        decision = answer["data"]
        if not decision["approved"]:
            await ctx.step.run("tell_customer", lambda: f"sorry, {payload.customer}")
            return Receipt(order_id=payload.order_id, status="rejected", approved_by=decision["by"])
        approved_by = decision["by"]
    charged = await ctx.step.run("charge", charge, payload, max_retries=3, base_delay=0.02, max_delay=0.1)
    await ctx.step.wait_for("settlement", seconds=0.05)
    await ctx.step.publish_event("announce", topic="orders/paid", data={"order_id": payload.order_id})
    return Receipt(order_id=payload.order_id, status="paid", approved_by=approved_by, charged=charged)


async def see(polos: Polos, order: Order, approved: bool) -> None:
    handle = await checkout.invoke(polos, order)
    async for event in events.stream_workflow(polos, handle.root_workflow_id, handle.id):
        if event.event_type == "suspend_approve":
            print("asked", event.data["order_id"], event.data["amount"])
            await polos.resume(
                suspend_workflow_id=handle.root_workflow_id,
                suspend_execution_id=handle.root_execution_id,
                suspend_step_key="approve",
                data={"approved": approved, "by": "grace"},
            )
    receipt = (await handle.get(polos))["result"]
    print(receipt.order_id, receipt.status, receipt.approved_by, receipt.charged)


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        await see(polos, Order(order_id="small", customer="ada", amount=20), True)
        await see(polos, Order(order_id="large", customer="ada", amount=2000), True)
        await see(polos, Order(order_id="huge", customer="bob", amount=20000), False)
        await see(polos, Order(order_id="free", customer="bob", amount=0), True)
        print(tries)


if __name__ == "__main__":
    asyncio.run(main())
