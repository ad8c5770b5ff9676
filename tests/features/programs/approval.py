"""Suspend and resume, followed through the stream of the run."""

# ruff: noqa: T201

import asyncio

from polos import Polos, WorkflowContext, events, workflow


@workflow(id="approval-workflow")
async def approval(ctx: WorkflowContext, payload: dict) -> dict:
    prepared = await ctx.step.run("prepare", lambda: {"amount": payload["amount"]})
    answer = await ctx.step.suspend(
        "approve_expense",
        data={
            "amount": prepared["amount"],
            "_form": {"title": "Approve?", "fields": [{"key": "ok", "type": "boolean"}]},
        },
        timeout=86400,
    )
    decision = answer.get("data", {}) if isinstance(answer, dict) else {}
    return {"approved": decision.get("approved"), "by": decision.get("by")}


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        handle = await approval.invoke(polos, {"amount": 12})
        async for event in events.stream_workflow(polos, handle.root_workflow_id, handle.id):
            if event.event_type and event.event_type.startswith("suspend_"):
                step_key = event.event_type[len("suspend_") :]
                print("suspended", step_key, event.data["amount"], event.data["_form"]["title"])
                await polos.resume(
                    suspend_workflow_id=handle.root_workflow_id,
                    suspend_execution_id=handle.id,
                    suspend_step_key=step_key,
                    data={"approved": True, "by": "ada"},
                )
            elif event.event_type == "workflow_finish":
                print("finished", event.data["result"])
        execution = await polos.get_execution(handle.id)
        print(execution["status"], execution["result"])


if __name__ == "__main__":
    asyncio.run(main())
