"""Steps, retries, waits, state, hooks-free: the first thing that a user of upstream writes."""

# ruff: noqa: T201

import asyncio

from pydantic import BaseModel

from polos import Polos, StepExecutionError, WorkflowContext, WorkflowState, workflow


class OrderPayload(BaseModel):
    order_id: str
    items: list[str]


class OrderState(WorkflowState):
    processed: int = 0


class OrderResult(BaseModel):
    order_id: str
    total: float
    status: str


async def price(item: str) -> float:
    return len(item) * 1.5


def flaky(counter: dict) -> str:
    attempts.append(1)
    if len(attempts) < 2:
        raise ConnectionError("try again")
    return "reserved"


def refuse() -> None:
    raise ValueError("card refused")


attempts: list[int] = []


@workflow(id="order-processing", state_schema=OrderState)
async def process_order(ctx: WorkflowContext, payload: OrderPayload) -> OrderResult:
    total = 0.0
    for index, item in enumerate(payload.items):
        total += await ctx.step.run(f"price_{index}", price, item)
        ctx.state.processed += 1
    await ctx.step.run("reserve", flaky, {}, max_retries=3, base_delay=0.05)
    await ctx.step.wait_for("cool-down", seconds=0.1)
    try:
        await ctx.step.run("charge", refuse, max_retries=0)
    except StepExecutionError as error:
        status = f"unpaid: {error}"
    assert await ctx.step.uuid("id") != ""
    assert await ctx.step.now("now") > 0
    return OrderResult(order_id=payload.order_id, total=total, status=status)


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        result = await process_order.run(polos, OrderPayload(order_id="o1", items=["hat", "shoe"]))
        print(type(result).__name__, result.order_id, result.total, "card refused" in result.status)
        handle = await process_order.invoke(polos, OrderPayload(order_id="o2", items=["hat"]))
        print(handle.workflow_id, handle.id == handle.root_execution_id)
        for _ in range(100):
            found = await handle.get(polos)
            if found["status"] in ("completed", "failed"):
                break
            await asyncio.sleep(0.05)
        print(found["status"], found["result"].order_id)
        execution = await polos.get_execution(handle.id)
        print(execution["status"], execution["workflow_id"], execution["final_state"]["processed"])


if __name__ == "__main__":
    asyncio.run(main())
