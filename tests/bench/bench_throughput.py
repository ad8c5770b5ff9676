"""How fast the runtime itself is, on the embedded backend: a row a case. Compare rows of one run with each other.

The steps do nothing, so what is measured is claim, replay, checkpoint and delivery.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from polos import BatchWorkflowInput, Polos, WorkflowContext, workflow
from polos.testing import Environment


async def nothing() -> None:
    return None


@workflow(id="bench_ten_steps")
async def ten_steps(ctx: WorkflowContext, steps: int) -> None:
    for number in range(steps):
        await ctx.step.run(f"s{number}", nothing)


@workflow(id="bench_gather")
async def gather(ctx: WorkflowContext, steps: int) -> None:
    await asyncio.gather(*(ctx.step.run(f"s{number}", nothing) for number in range(steps)))


@workflow(id="bench_naps")
async def naps(ctx: WorkflowContext, count: int) -> None:
    for number in range(count):
        await ctx.step.wait_for(f"n{number}", seconds=60)


@workflow(id="bench_leaf")
async def leaf(ctx: WorkflowContext, number: int) -> int:
    return number


@workflow(id="bench_fan_out")
async def fan_out(ctx: WorkflowContext, count: int) -> None:
    inputs = [BatchWorkflowInput(id="bench_leaf", payload=number) for number in range(count)]
    await ctx.step.batch_invoke_and_wait("all", inputs)


async def in_memory(case: Callable[[Environment], Awaitable[None]]) -> float:
    async with Environment() as env:
        began = time.perf_counter()
        await case(env)
        return time.perf_counter() - began


async def many(env: Environment) -> None:
    handles = [await env.start(ten_steps, 10) for _ in range(100)]
    for handle in handles:
        await env.finish(handle)


async def long(env: Environment) -> None:
    await env.finish(await env.start(ten_steps, 1000))


async def wide(env: Environment) -> None:
    await env.finish(await env.start(gather, 1000))


async def sleepy(env: Environment) -> None:
    await env.finish(await env.start(naps, 200))


async def fanned(env: Environment) -> None:
    await env.finish(await env.start(fan_out, 1000))


async def on_file() -> float:
    with tempfile.TemporaryDirectory() as folder:
        async with Polos(local=Path(folder) / "bench.db") as polos:
            began = time.perf_counter()
            handles = [await ten_steps.start(10, client=polos) for _ in range(30)]
            for handle in handles:
                await handle.result()
            return time.perf_counter() - began


def main() -> None:
    print(f"{'case':44}{'seconds':>9}{'per unit':>14}")
    rows: list[tuple[str, float, int, str]] = [
        ("100 executions of 10 steps, in memory", asyncio.run(in_memory(many)), 1000, "step"),
        ("1 execution of 1,000 steps in a row", asyncio.run(in_memory(long)), 1000, "step"),
        ("1 execution of 1,000 steps at once", asyncio.run(in_memory(wide)), 1000, "step"),
        ("1 execution of 200 waits (O(n^2) replay)", asyncio.run(in_memory(sleepy)), 200, "wait"),
        ("1 parent of 1,000 children", asyncio.run(in_memory(fanned)), 1000, "child"),
        ("30 executions of 10 steps, file, full sync", asyncio.run(on_file()), 300, "step"),
    ]
    for name, seconds, units, unit in rows:
        print(f"{name:44}{seconds:9.2f}{seconds / units * 1e6:10.0f} µs/{unit}")


if __name__ == "__main__":
    main()
