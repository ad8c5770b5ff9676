"""State that is carried from run to run, and hooks that look at payload and output."""

# ruff: noqa: T201

import asyncio

from pydantic import BaseModel, Field

from polos import HookContext, HookResult, Polos, WorkflowContext, WorkflowState, hook, workflow


class CartState(WorkflowState):
    items: list[str] = Field(default_factory=list)
    visits: int = 0


class Visit(BaseModel):
    user: str
    wants: list[str] = []


@hook
def only_known_users(ctx: WorkflowContext, hook_context: HookContext) -> HookResult:
    if not hook_context.current_payload.user:
        return HookResult.fail("who are you?")
    return HookResult.continue_with(modified_payload={"wants": [*hook_context.current_payload.wants, "bag"]})


@hook
def count(ctx: WorkflowContext, hook_context: HookContext) -> HookResult:
    return HookResult.continue_with(modified_output={"count": len(hook_context.current_output["items"])})


@workflow(id="cart", state_schema=CartState, on_start=only_known_users, on_end=[count])
async def cart(ctx: WorkflowContext, payload: Visit) -> dict:
    ctx.state.visits += 1
    for index, item in enumerate(payload.wants):
        ctx.state.items.append(await ctx.step.run(f"reserve_{index}", str.upper, item))
        await ctx.step.wait_for(f"pause_{index}", seconds=0.01)
    try:
        ctx.state.visits = "many"
    except ValueError:
        print("the state is validated")
    return {"items": ctx.state.items, "visits": ctx.state.visits}


async def main() -> None:
    async with Polos(log_file="polos.log") as polos:
        handle = await cart.invoke(polos, Visit(user="ada", wants=["hat"]), initial_state=CartState(items=["SHOE"]))
        print(await handle.result())
        state = (await polos.get_execution(handle.id))["final_state"]
        print(state)
        print(await cart.run(polos, {"user": "ada"}, initial_state=state))
        try:
            await cart.run(polos, Visit(user=""))
        except RuntimeError as error:
            print("refused:", str(error).rpartition(": ")[2])


if __name__ == "__main__":
    asyncio.run(main())
