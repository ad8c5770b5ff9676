"""Queues: a limit for each concurrency key, a limit given by the caller, a lane of its own for each tenant."""

# ruff: noqa: T201

import asyncio
import threading
from collections import Counter

from polos import Polos, Queue, WorkflowContext, queue, workflow

tenants = queue("tenants", concurrency_limit=1)
lock = threading.Lock()
running: Counter[str] = Counter()
most: Counter[str] = Counter()


def work(tenant: str, n: int) -> int:
    with lock:
        running[tenant] += 1
        most[tenant] = max(most[tenant], running[tenant])
    threading.Event().wait(0.03)
    with lock:
        running[tenant] -= 1
    return n


@workflow(id="import-file", queue=tenants)
async def import_file(ctx: WorkflowContext, payload: dict) -> int:
    return await ctx.step.run("import", work, payload["tenant"], payload["n"])


@workflow(id="mail", queue=Queue("mail", concurrency_limit=3))
async def mail(ctx: WorkflowContext, payload: dict) -> int:
    return await ctx.step.run("send", work, "mail", payload["n"])


@workflow(id="nightly")
async def nightly(ctx: WorkflowContext, payload: dict) -> list[int]:
    children = [
        ctx.step.invoke_and_wait(
            f"import_{tenant}_{n}", import_file, {"tenant": tenant, "n": n}, queue=tenants, concurrency_key=tenant
        )
        for tenant in payload["tenants"]
        for n in range(2)
    ]
    return await asyncio.gather(*children)


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        handles = [
            await import_file.invoke(polos, {"tenant": tenant, "n": n}, concurrency_key=tenant)
            for n in range(3)
            for tenant in ("acme", "globex")
        ]
        print(sum([await one.result(timeout=20) for one in handles]), dict(sorted(most.items())))
        handles = [
            await polos.invoke("mail", {"n": n}, queue_name="mail", queue_concurrency_limit=2, concurrency_key="vip")
            for n in range(6)
        ]
        print([await one.result(timeout=20) for one in handles], most["mail"] <= 2)
        print(await nightly.run(polos, {"tenants": ["acme", "hooli"]}, timeout=20), max(most.values()) <= 2)
        execution = await polos.get_execution(handles[0].id)
        print(execution["queue_name"], execution["concurrency_key"])


if __name__ == "__main__":
    asyncio.run(main())
