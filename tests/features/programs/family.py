"""Children and their errors: a fallback, a grandchild that fails, a child that is too slow, one that is cancelled."""

# ruff: noqa: T201

import asyncio

from polos import Polos, StepExecutionError, WorkflowContext, workflow


@workflow(id="supplier")
async def supplier(ctx: WorkflowContext, payload: dict) -> dict:
    def ask() -> dict:
        if payload["name"] == "closed":
            raise ConnectionError("nobody answers")
        return {"supplier": payload["name"], "price": len(payload["name"])}

    return await ctx.step.run("ask", ask, max_retries=1, base_delay=0.01)


@workflow(id="region")
async def region(ctx: WorkflowContext, payload: dict) -> dict:
    return await ctx.step.invoke_and_wait("supplier", "supplier", {"name": payload["name"]})


@workflow(id="slow-supplier")
async def slow_supplier(ctx: WorkflowContext, payload: dict) -> dict:
    await ctx.step.wait_for("thinking", hours=1)
    return {"supplier": "slow", "price": 0}


@workflow(id="purchase")
async def purchase(ctx: WorkflowContext, payload: dict) -> dict:
    errors = []
    for name in payload["names"]:
        try:
            offer = await ctx.step.invoke_and_wait(f"offer_{name}", region, {"name": name})
            return {"offer": offer, "errors": errors}
        except StepExecutionError as error:
            errors.append(str(error))
    try:
        await ctx.step.invoke_and_wait("slow", slow_supplier, {}, run_timeout_seconds=1)
    except StepExecutionError as error:
        errors.append(str(error))
    handle = await ctx.step.invoke("background", slow_supplier, {})
    return {"offer": None, "errors": errors, "background": handle.id}


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        found = await purchase.run(polos, {"names": ["closed", "acme"]}, timeout=30)
        print(found["offer"], len(found["errors"]), "nobody answers" in found["errors"][0])
        found = await purchase.run(polos, {"names": ["closed"]}, timeout=30)
        print(found["offer"], [text.rpartition(" ")[2] for text in found["errors"]])
        background = await polos.get_execution(found["background"])
        print(background["status"] in ("queued", "running", "waiting"), background["parent_execution_id"] is not None)
        print(await polos.cancel_execution(found["background"]))
        while (await polos.get_execution(found["background"]))["status"] != "cancelled":
            await asyncio.sleep(0.02)
        print("cancelled", await polos.cancel_execution(found["background"]))


if __name__ == "__main__":
    asyncio.run(main())
