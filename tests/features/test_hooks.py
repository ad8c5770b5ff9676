"""SPEC 2.1: hooks at the start and at the end of an execution; on every backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from polos import HookContext, HookResult, WorkflowContext, WorkflowDefinitionError, WorkflowFailedError, hook, workflow
from tests.laws.worlds import World, law


class Order(BaseModel):
    item: str
    count: int = 1


@dataclass
class Parcel:
    item: str
    count: int = 1


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


@law
async def test_hooks_at_the_end_run_once_the_end_is_certain(world: World) -> None:
    """A failure that is retried is no end; nor does what a hook said about one reach a later success."""
    seen: list[str | None] = []
    runs: list[str] = []

    @hook
    def watch(ctx: WorkflowContext, about: HookContext) -> HookResult:
        seen.append(about.error)
        return HookResult.continue_with(modified_output="of a failure" if about.error else None)

    @workflow(id="hooks-retried", on_end=watch, max_retries=1)
    async def body(ctx: WorkflowContext, failures: int) -> str:
        runs.append(ctx.execution_id)
        if runs.count(ctx.execution_id) <= failures:
            raise KeyError(ctx.retry_count)
        return "good"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body, 1)) == "good"
        assert seen == [None]
        seen.clear()
        handle = await env.start(body, 3)
        with pytest.raises(WorkflowFailedError):
            await env.finish(handle)
        assert seen == ["KeyError: 1"]
        await env.client.retry(handle.id)
        assert await env.finish(handle) == "good"
        assert seen == ["KeyError: 1", None], "a retry by hand has an end of its own"


@law
async def test_hooks_at_the_end_do_not_run_for_what_was_cancelled(world: World) -> None:
    seen: list[str | None] = []

    @hook
    def watch(ctx: WorkflowContext, about: HookContext) -> HookResult:
        seen.append(about.error)
        return HookResult.continue_with()

    @workflow(id="hooks-cancelled", on_end=watch)
    async def body(ctx: WorkflowContext, cleanup_fails: bool) -> None:
        try:
            await ctx.step.wait_for("long", days=1)
        finally:
            if cleanup_fails:
                raise LookupError("in the cleanup")

    async with world.deploy(body) as env:
        for fails in (False, True):
            handle = await env.start(body, fails)
            await env.settle()
            await env.cancel(handle)
            await env.settle()
            assert (await env.describe(handle)).status == "cancelled"
    assert seen == []


@law
async def test_hooks_that_break_after_a_failure_do_not_hide_it(world: World) -> None:
    @hook
    def broken(ctx: WorkflowContext, about: HookContext) -> HookResult:
        raise RuntimeError("the hook broke")

    @hook
    def refuse(ctx: WorkflowContext, about: HookContext) -> HookResult:
        return HookResult.fail("refused")

    for number, one in enumerate((broken, refuse)):

        @workflow(id=f"hooks-hide-{number}", on_end=one, max_retries=0)
        async def body(ctx: WorkflowContext) -> None:
            raise LookupError("the reason")

        async with world.deploy(body) as env:
            with pytest.raises(WorkflowFailedError, match="LookupError: the reason") as raised:
                await env.finish(await env.start(body))
        assert ("the hook broke", "refused")[number] in (raised.value.traceback or "")


@law
async def test_hooks_that_said_no_are_asked_again_by_a_retry(world: World) -> None:
    answers = [HookResult.fail("not yet"), HookResult.continue_with()]

    @hook
    def ask(ctx: WorkflowContext, about: HookContext) -> HookResult:
        return answers.pop(0)

    @workflow(id="hooks-asked-again", on_start=ask)
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("done", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError, match="not yet"):
            await env.finish(handle)
        await env.client.retry(handle.id)
        assert await env.finish(handle) == "done"


@law
async def test_hooks_change_dataclasses_field_by_field_and_say_what_does_not_fit(world: World) -> None:
    @hook
    def change(ctx: WorkflowContext, about: HookContext) -> HookResult:
        return HookResult.continue_with(modified_payload={"count": 7 if about.current_payload.item == "hat" else "x"})

    @workflow(id="hooks-dataclass", on_start=change)
    async def parcel(ctx: WorkflowContext, parcel: Parcel) -> Parcel:
        return parcel

    @workflow(id="hooks-model", on_start=change)
    async def order(ctx: WorkflowContext, order: Order) -> Order:
        return order

    async with world.deploy(parcel, order) as env:
        assert await env.finish(await env.start(parcel, Parcel("hat"))) == Parcel("hat", 7)
        for body, payload in ((parcel, Parcel("cap")), (order, Order(item="cap"))):
            handle = await env.start(body, payload)
            with pytest.raises(WorkflowFailedError, match=r"hook change.*count") as raised:
                await env.finish(handle)
            assert raised.value.error_type == "InvalidPayloadError"
            assert (await env.describe(handle)).retry_count == 0


def test_hooks_that_are_none_are_errors_at_import() -> None:
    for bad in (3, [lambda ctx: None], "name"):
        with pytest.raises(WorkflowDefinitionError, match="hook"):

            @workflow(id="hooks-bad", on_start=bad)  # type: ignore[arg-type]
            async def body(ctx: WorkflowContext) -> None: ...
