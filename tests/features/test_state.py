"""SPEC 2.1: state is rebuilt by replay, kept at every end and validated; on every backend."""

from __future__ import annotations

import pytest

from polos import InvalidPayloadError, WorkflowContext, WorkflowFailedError, WorkflowState, workflow
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
