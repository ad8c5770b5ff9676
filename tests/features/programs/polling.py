"""Branches and loops: until a job is done, with growing waits, a limit, and what time it is as the run remembers it."""

# ruff: noqa: T201

import asyncio
from datetime import UTC, datetime, timedelta

from polos import Polos, WorkflowContext, workflow

jobs: dict[str, int] = {}


def look(job: str) -> str:
    jobs[job] = jobs.get(job, 0) + 1
    if job == "broken":
        return "failed"
    return "done" if jobs[job] >= 3 and job != "endless" else "running"


@workflow(id="wait-for-job")
async def wait_for_job(ctx: WorkflowContext, payload: dict) -> dict:
    began = await ctx.step.now("began")
    pause = 0.01
    for attempt in range(payload.get("most", 10)):
        status = await ctx.step.run(f"look_{attempt}", look, payload["job"])
        if status == "done":
            result = {"status": status, "attempts": attempt + 1}
            break
        if status == "failed":
            result = {"status": await ctx.step.run("report", lambda: "reported"), "attempts": attempt + 1}
            break
        await ctx.step.wait_for(f"pause_{attempt}", seconds=pause)
        pause = min(pause * 2, 0.05)
    else:
        result = {"status": "gave up", "attempts": payload.get("most", 10)}
    assert await ctx.step.now("ended") >= began
    return result


@workflow(id="coin")
async def coin(ctx: WorkflowContext, payload: dict) -> list[str]:
    thrown = []
    while len(thrown) < payload["times"]:
        side = "heads" if await ctx.step.random(f"throw_{len(thrown)}") < 0.5 else "tails"
        now = datetime.fromtimestamp(await ctx.step.now(f"now_{len(thrown)}") / 1000, UTC)
        await ctx.step.wait_until(f"until_{len(thrown)}", now + timedelta(milliseconds=20))
        thrown.append(side)
    return thrown


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        for job, most in (("backup", 10), ("broken", 10), ("endless", 4)):
            print(job, await wait_for_job.run(polos, {"job": job, "most": most}), jobs[job])
        thrown = await coin.run(polos, {"times": 4})
        print(len(thrown), set(thrown) <= {"heads", "tails"})


if __name__ == "__main__":
    asyncio.run(main())
