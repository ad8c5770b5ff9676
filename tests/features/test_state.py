"""SPEC 2.1: state is rebuilt by replay, kept at every end and validated; on every backend."""

from __future__ import annotations

import threading

import pytest

from polos import (
    HookContext,
    HookResult,
    InvalidPayloadError,
    StepExecutionError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowState,
    workflow,
)
from polos.core import codec
from tests.laws.worlds import World, law


class Needy(WorkflowState):
    owner: str


class Odd(WorkflowState):
    model_config = {"arbitrary_types_allowed": True}
    thing: object = None


class Tally(WorkflowState):
    count: int = 0
    names: list[str] = []


@law
async def test_state_is_rebuilt_by_replay_and_returned_at_the_end(world: World) -> None:
    @workflow(id="state-replay", state_schema=Tally)
    async def body(ctx: WorkflowContext) -> int:
        for n in range(3):
            ctx.state.count += 1
            ctx.state.names.append(await ctx.step.run(f"name{n}", lambda n=n: f"n{n}"))
            await ctx.step.wait_for(f"nap{n}", hours=1)
        return ctx.state.count

    async with world.deploy(body) as env:
        fresh, given = await env.start(body), await env.start(body, initial_state={"count": 10})
        assert (await env.finish(fresh), await env.finish(given)) == (3, 13)
        detail = await env.describe(given)
        assert detail.final_state == Tally(count=13, names=["n0", "n1", "n2"])
        assert (await given.get(env.client))["final_state"] == detail.final_state


@law
async def test_state_is_kept_on_failure_and_on_cancel(world: World) -> None:
    @workflow(id="state-ends", state_schema=Tally, max_retries=0)
    async def body(ctx: WorkflowContext, fail: bool) -> None:
        ctx.state.count = 7
        if fail:
            raise ValueError("broken")
        await ctx.step.wait_for("long", days=1)

    async with world.deploy(body) as env:
        failed, cancelled = await env.start(body, True), await env.start(body, False)
        await env.settle()
        await env.cancel(cancelled)
        await env.settle()
        for handle in (failed, cancelled):
            assert (await env.describe(handle)).final_state == Tally(count=7)


@law
async def test_state_is_validated_on_assignment_and_at_the_start(world: World) -> None:
    @workflow(id="state-checked", state_schema=Tally, max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        ctx.state.count = "many"

    @workflow(id="state-none")
    async def stateless(ctx: WorkflowContext) -> str:
        return repr(ctx.state)

    async with world.deploy(body, stateless) as env:
        with pytest.raises(WorkflowFailedError, match="ValidationError"):
            await env.finish(await env.start(body))
        with pytest.raises(InvalidPayloadError, match="count"):
            await env.start(body, initial_state={"count": "many"})
        with pytest.raises(InvalidPayloadError, match="no state_schema"):
            await env.start(stateless, initial_state={"count": 1})
        assert await env.finish(await env.start(stateless)) == "None"


@law
async def test_state_that_cannot_be_made_is_refused_at_the_start_and_fails_what_nobody_started(world: World) -> None:
    @workflow(id="state-needy", state_schema=Needy)
    async def needy(ctx: WorkflowContext) -> str:
        return ctx.state.owner

    @workflow(id="state-needy-triggered", state_schema=Needy, trigger_on_event="state/needy")
    async def triggered(ctx: WorkflowContext) -> str:
        return ctx.state.owner

    @workflow(id="state-parent")
    async def parent(ctx: WorkflowContext) -> str:
        with pytest.raises(InvalidPayloadError, match="owner"):
            await ctx.step.invoke_and_wait("without", needy)
        return await ctx.step.invoke_and_wait("with", needy, initial_state=Needy(owner="Ada"))

    async with world.deploy(needy, triggered, parent) as env:
        with pytest.raises(InvalidPayloadError, match=r"initial state of 'state-needy'.*owner"):
            await env.start(needy)
        assert await env.finish(await env.start(parent)) == "Ada"
        await env.publish("state/needy")
        await env.settle()
        (line,) = await env.client.list_executions("state-needy-triggered")
        detail = await env.describe(line.id)
        assert (detail.status, detail.invocations) == ("failed", 1)
        assert detail.error is not None
        assert detail.error.type == "InvalidPayloadError"
        assert "owner" in detail.error.message


@law
async def test_state_that_cannot_be_stored_fails_the_run_and_never_hides_why_it_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow(id="state-odd", state_schema=Odd, max_retries=0)
    async def body(ctx: WorkflowContext, how: str) -> str:
        ctx.state.thing = "x" * 1000 if how == "large" else object()
        if how == "failing":
            raise LookupError("the reason")
        return "done"

    async with world.deploy(body) as env:
        for how, why in (("odd", "SerializationError"), ("failing", "LookupError")):
            with pytest.raises(WorkflowFailedError, match=why) as raised:
                await env.finish(await env.start(body, how))
            assert raised.value.error_type == why
        monkeypatch.setattr(codec, "MAX_BYTES", 900)
        handle = await env.start(body, "large")
        with pytest.raises(WorkflowFailedError, match="state of workflow 'state-odd'"):
            await env.finish(handle)
        assert (await env.describe(handle)).invocations == 1


@law
async def test_initial_state_that_is_too_large_for_the_execution_item_is_refused(world: World) -> None:
    @workflow(id="state-large", state_schema=Tally)
    async def body(ctx: WorkflowContext) -> int:
        return len(ctx.state.names)

    @workflow(id="state-large-parent", max_retries=0)
    async def parent(ctx: WorkflowContext) -> None:
        await ctx.step.invoke_and_wait("child", body, initial_state={"names": ["x" * 100] * 400})

    async with world.deploy(body, parent) as env:
        with pytest.raises(
            InvalidPayloadError, match="initial state of 'state-large' has 41,2.. bytes; it may have 32,000"
        ):
            await env.start(body, initial_state={"names": ["x" * 100] * 400})
        assert await env.finish(await env.start(body, initial_state={"names": ["x" * 100] * 300})) == 300
        with pytest.raises(WorkflowFailedError, match="initial state of 'state-large' has"):
            await env.finish(await env.start(parent))


@law
async def test_state_changed_inside_a_step_or_a_hook_is_lost_at_once_as_it_is_by_replay(world: World) -> None:
    async def starting(ctx: WorkflowContext, about: HookContext) -> HookResult:
        ctx.state.count += 100
        return HookResult.continue_with()

    def given(tally: Tally) -> int:
        tally.names.append("lost")
        return len(tally.names)

    @workflow(id="state-in-steps", state_schema=Tally, on_start=starting)
    async def body(ctx: WorkflowContext) -> list[int]:
        async def counting() -> int:
            ctx.state.count += 1
            return ctx.state.count

        def replacing() -> int:
            ctx.state = Tally(count=50)
            return ctx.state.count

        seen = [ctx.state.count, await ctx.step.run("count", counting), ctx.state.count]
        seen += [await ctx.step.run("given", given, ctx.state), await ctx.step.run("named", given, tally=ctx.state)]
        seen += [await ctx.step.run("replace", replacing), ctx.state.count, len(ctx.state.names)]
        ctx.state.count = 7
        return seen

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == [0, 1, 0, 1, 1, 50, 0, 0]
        assert (await env.describe(handle)).final_state == Tally(count=7)


@law
async def test_state_that_cannot_be_copied_fails_the_step_that_would_see_it(world: World) -> None:
    @workflow(id="state-uncopied", state_schema=Odd, max_retries=0)
    async def body(ctx: WorkflowContext) -> str:
        ctx.state.thing = threading.Lock()
        try:
            return await ctx.step.run("look", lambda: "seen")
        except StepExecutionError as error:
            ctx.state.thing = None
            return error.error_type

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "TypeError"
