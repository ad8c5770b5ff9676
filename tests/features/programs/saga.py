"""Failures handled in the workflow: a fallback, items that fail among others, compensation in reverse order."""

# ruff: noqa: T201

import asyncio

from polos import Polos, StepExecutionError, WorkflowContext, workflow


def reserve(order: dict) -> dict:
    return {"reserved": order["id"]}


def pay(order: dict) -> dict:
    return {"paid": order["id"]}


def ship(order: dict) -> dict:
    if order.get("lost"):
        raise RuntimeError("the parcel is lost")
    return {"shipped": order["id"]}


UNDO = {"reserve": lambda order: "released", "pay": lambda order: "refunded"}


@workflow(id="saga")
async def saga(ctx: WorkflowContext, payload: dict) -> dict:
    done = []
    try:
        for name, step in (("reserve", reserve), ("pay", pay), ("ship", ship)):
            await ctx.step.run(name, step, payload, max_retries=1, base_delay=0.01, max_delay=0.02)
            done.append(name)
        return {"status": "success", "done": done}
    except StepExecutionError as e:
        undone = [await ctx.step.run(f"undo_{name}", UNDO[name], payload) for name in reversed(done)]
        return {"status": "rolled_back", "error": str(e), "undone": undone}


def process(item: str) -> dict:
    if "bad" in item:
        raise ValueError(f"cannot process {item}")
    return {"item": item}


@workflow(id="several")
async def several(ctx: WorkflowContext, payload: dict) -> dict:
    results, errors = [], []
    for item in payload.get("items", []):
        try:
            results.append(await ctx.step.run(f"process_{item}", process, item, max_retries=0))
        except StepExecutionError as e:
            errors.append({"item": item, "error": str(e)})
    return {"processed": len(results), "errors": errors}


@workflow(id="gives-up")
async def gives_up(ctx: WorkflowContext, payload: dict) -> None:
    await ctx.step.run("ship", ship, payload, max_retries=0)


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        print(await saga.run(polos, {"id": 1}))
        result = await saga.run(polos, {"id": 2, "lost": True})
        print(result["status"], "the parcel is lost" in result["error"], result["undone"])
        result = await several.run(polos, {"items": ["a", "bad-b", "c"]})
        print(result["processed"], result["errors"][0]["item"], "cannot process" in result["errors"][0]["error"])
        handle = await gives_up.invoke(polos, {"id": 3, "lost": True})
        while True:
            execution = await polos.get_execution(handle.id)
            if execution.get("status") in ["completed", "failed"]:
                break
            await asyncio.sleep(0.05)
        print(execution.get("status"), "the parcel is lost" in execution["error"], execution.get("result"))


if __name__ == "__main__":
    asyncio.run(main())
