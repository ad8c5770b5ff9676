"""SPEC 2.1 hooks and state, 2.2 logger, 2.3 trace without OpenTelemetry: on every backend."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    HookContext,
    HookResult,
    InvalidPayloadError,
    StepExecutionError,
    WorkflowContext,
    WorkflowDefinitionError,
    WorkflowFailedError,
    WorkflowState,
    hook,
    workflow,
)
from tests.laws.worlds import World, law


class Order(BaseModel):
    item: str
    count: int = 1


class Tally(WorkflowState):
    count: int = 0
    names: list[str] = []


@law
async def test_hooks_modify_payload_and_output_in_turn_and_run_once(world: World) -> None:
    ran: list[str] = []

    @hook
    def more(ctx: WorkflowContext, about: HookContext) -> HookResult:
        ran.append("more")
        assert about.current_payload == Order(item="hat")
        assert (about.workflow_id, about.session_id, about.user_id) == ("hooks-modify", "s", "u")
        return HookResult.continue_with(modified_payload={"count": about.current_payload.count + 1})

    @hook
    async def even_more(ctx: WorkflowContext, about: HookContext) -> HookResult:
        ran.append("even more")
        return HookResult.continue_with(modified_payload={"count": about.current_payload.count * 10})

    @hook
    def note(ctx: WorkflowContext, about: HookContext) -> HookResult:
        ran.append("note")
        return HookResult.continue_with(modified_output={"note": f"{about.current_output['total']} noted"})

    @workflow(id="hooks-modify", on_start=[more, even_more], on_end=note)
    async def body(ctx: WorkflowContext, order: Order) -> dict[str, Any]:
        await ctx.step.wait_for("nap", hours=1)
        await ctx.step.run("work", world.effect)
        return {"total": order.count}

    async with world.deploy(body) as env:
        handle = await env.start(body, Order(item="hat"), session_id="s", user_id="u")
        assert await env.finish(handle) == {"total": 20, "note": "20 noted"}
        assert (await handle.get(env.client))["payload"] == Order(item="hat"), "what was sent stays on record"
    assert ran == ["more", "even more", "note"]


@law
async def test_hooks_that_fail_end_the_execution_with_their_message(world: World) -> None:
    @hook
    def refuse(ctx: WorkflowContext, about: HookContext) -> HookResult:
        return HookResult.fail("not on Sundays")

    @workflow(id="hooks-refuse", on_start=refuse)
    async def refused(ctx: WorkflowContext) -> None:
        await ctx.step.run("never", world.effect)

    @workflow(id="hooks-refuse-end", on_end=refuse)
    async def at_the_end(ctx: WorkflowContext) -> str:
        return await ctx.step.run("done", world.effect)

    @workflow(id="hooks-odd", on_start=lambda ctx, about: {"not": "a result"})
    async def odd(ctx: WorkflowContext) -> None:
        await ctx.step.run("never", world.effect)

    async with world.deploy(refused, at_the_end, odd) as env:
        for body, said in ((refused, "not on Sundays"), (at_the_end, "not on Sundays"), (odd, "HookResult")):
            with pytest.raises(WorkflowFailedError, match=said) as raised:
                await env.finish(await env.start(body))
            assert raised.value.error_type == "StepExecutionError"
    assert (world.ran("never"), world.ran("done")) == (0, 1)


@law
async def test_hooks_at_the_end_run_after_a_failure_too_and_see_the_error(world: World) -> None:
    seen: list[tuple[str | None, Any]] = []

    @hook
    def watch(ctx: WorkflowContext, about: HookContext) -> HookResult:
        seen.append((about.error, about.current_output))
        return HookResult.continue_with(modified_output="ignored")

    def break_down() -> None:
        raise LookupError("no hat")

    @workflow(id="hooks-failure", on_end=watch, max_retries=0)
    async def body(ctx: WorkflowContext, how: str) -> str:
        if how == "step":
            await ctx.step.run("bad", break_down, max_retries=0)
        if how == "body":
            raise KeyError("body")
        return "fine"

    async with world.deploy(body) as env:
        for how in ("step", "body"):
            with pytest.raises(WorkflowFailedError):
                await env.finish(await env.start(body, how))
        assert await env.finish(await env.start(body, "none")) == "ignored"
    assert [output for _, output in seen] == [None, None, "fine"]
    assert "LookupError: no hat" in (seen[0][0] or "")
    assert (seen[1][0], seen[2][0]) == ("KeyError: 'body'", None)


@pytest.mark.parametrize(
    "result", [Order(item="hat"), "text", None, [1, "two"], 3.5, {"a": 1}], ids=lambda value: type(value).__name__
)
@law
async def test_hooks_leave_results_of_every_type_as_they_are(world: World, result: Any) -> None:
    seen: list[Any] = []

    @hook
    def look(ctx: WorkflowContext, about: HookContext) -> HookResult:
        seen.append(about.current_output)
        return HookResult.continue_with()

    @workflow(id="hooks-types", on_start=lambda ctx, about: HookResult.continue_with(), on_end=look)
    async def body(ctx: WorkflowContext, payload: Any) -> Any:
        return payload

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, result)) == result
    assert seen == [result]


def test_hooks_that_are_none_are_errors_at_import() -> None:
    for bad in (3, [lambda ctx: None], "name"):
        with pytest.raises(WorkflowDefinitionError, match="hook"):

            @workflow(id="hooks-bad", on_start=bad)  # type: ignore[arg-type]
            async def body(ctx: WorkflowContext) -> None: ...


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
async def test_logger_is_quiet_in_replay_and_names_the_execution(world: World) -> None:
    lines: list[tuple[str, str]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((record.getMessage(), record.execution_id))  # type: ignore[attr-defined]

    @workflow(id="logger-quiet")
    async def body(ctx: WorkflowContext) -> list[bool]:
        replaying = [ctx.is_replaying]
        ctx.logger.info("begins")
        await ctx.step.run("a", world.effect)
        ctx.logger.info("a is done")
        await ctx.step.wait_for("nap", hours=1)
        replaying.append(ctx.is_replaying)
        ctx.logger.warning("awake %d", 1)
        await ctx.step.wait_for_event("event", "logger/event")
        ctx.logger.info("heard")
        await ctx.step.suspend("ask")
        ctx.logger.info("answered")
        return replaying

    logger, handler = logging.getLogger("polos.workflow"), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        async with world.deploy(body) as env:
            handle = await env.start(body)
            await env.advance(hours=2)
            await env.publish("logger/event", 1)
            await env.settle()
            await env.resume(handle, "ask", 1)
            assert await env.finish(handle) == [True, True]
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    said = ("begins", "a is done", "awake 1", "heard", "answered")
    assert [text for text, _ in lines] == [f"[{handle.id}] {one}" for one in said]
    assert {execution for _, execution in lines} == {handle.id}


@law
async def test_trace_wraps_steps_and_does_nothing_by_itself(world: World) -> None:
    @workflow(id="trace-plain")
    async def body(ctx: WorkflowContext) -> str:
        with ctx.step.trace("outer", {"a": 1}):
            await ctx.step.wait_for("nap", hours=1)
            try:
                with ctx.step.trace("inner"):
                    raise StepExecutionError("passes through")
            except StepExecutionError as error:
                return str(error)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "passes through"
        assert [step.key for step in (await env.describe(handle)).steps] == ["nap"]
