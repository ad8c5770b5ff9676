"""What tells, and the workflows that it tells of: one that fails once, one for good."""

from __future__ import annotations

from polos import WorkflowContext, workflow
from polos.aws.telemetry import Powertools

SECRET = "4929-secret-1111"


def made(*, by_workflow: bool = True) -> Powertools:
    return Powertools("mystack", by_workflow=by_workflow)


@workflow(id="tl-flaky")
async def flaky(ctx: WorkflowContext, payload: dict[str, str]) -> str:
    tries: list[int] = []

    def fails_once() -> str:
        import polos

        tries.append(polos.current_step().attempt)
        if tries == [1]:
            raise ValueError(payload["number"])
        return payload["number"]

    found = await ctx.step.run("once", fails_once, base_delay=0.01)
    ctx.logger.info("half way")
    await ctx.step.wait_for("nap", hours=1)
    return found


@workflow(id="tl-fails", max_retries=0)
async def fails(ctx: WorkflowContext) -> None:
    await ctx.step.run("no", lambda: [].pop(), max_retries=0)
