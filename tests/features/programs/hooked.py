"""Hooks, session and user, a synchronous workflow, a bare decorator."""

# ruff: noqa: T201

import asyncio

from pydantic import BaseModel

from polos import (
    HookAction,
    HookContext,
    HookResult,
    Polos,
    Workflow,
    WorkflowContext,
    get_all_workflows,
    get_workflow,
    hook,
    workflow,
)


class Inp(BaseModel):
    name: str


@hook
def check(ctx: WorkflowContext, hook_context: HookContext) -> HookResult:
    if hook_context.current_payload.name == "mallory":
        return HookResult.fail("not welcome")
    return HookResult.continue_with(modified_payload={"name": hook_context.current_payload.name.title()})


@hook
async def polish(ctx: WorkflowContext, hook_context: HookContext) -> HookResult:
    if hook_context.error is not None:
        return HookResult(action=HookAction.CONTINUE)
    return HookResult.continue_with(modified_output=hook_context.current_output + "!")


@workflow(on_start=[check], on_end=[polish])
async def greet(ctx: WorkflowContext, payload: Inp) -> str:
    return f"Hello {payload.name} ({ctx.session_id}, {ctx.user_id}, {ctx.retry_count}, {ctx.workflow_type})"


@workflow
def plain(ctx: WorkflowContext, payload: dict) -> int:
    return payload["n"] + 1


async def main() -> None:
    async with Polos() as polos:
        print(await greet.run(polos, Inp(name="ada"), session_id="s", user_id="u"))
        try:
            await greet.run(polos, Inp(name="mallory"))
        except RuntimeError as error:
            print("refused", "not welcome" in str(error))
        print(await plain.run(polos, {"n": 1}), isinstance(plain, Workflow))
        print(sorted(get_all_workflows()), get_workflow("greet") is greet)


if __name__ == "__main__":
    asyncio.run(main())
