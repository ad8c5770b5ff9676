"""SPEC 2.4, 2.5, 12: what is large, empty, wrong or unknown behaves as said; a failure reads the same everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    ChildWorkflowError,
    StepExecutionError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowNotFoundError,
    workflow,
)
from polos.errors import ExecutionNotFoundError, ExecutionStateError, InvalidPayloadError, SerializationError
from tests.laws.worlds import World, law, noise


class Line(BaseModel):
    sku: str
    count: int


class Basket(BaseModel):
    customer: str
    lines: list[Line]


@law
async def test_a_result_of_two_megabytes(world: World) -> None:
    big = noise(2_000_000)

    @workflow(id="values-child")
    async def child(ctx: WorkflowContext, text: str) -> str:
        return text[::-1]

    @workflow(id="values-big")
    async def body(ctx: WorkflowContext, text: str) -> str:
        got = await ctx.step.run("big", world.effect, big)
        assert got == big == text
        await ctx.step.wait_for("pause", hours=1)
        event = await ctx.step.wait_for_event("event", "values/big")
        assert event.data == big
        assert (await ctx.step.suspend("ask", big))["data"] == big
        return await ctx.step.invoke_and_wait("child", child, got)

    async with world.deploy(body, child) as env:
        handle = await env.start(body, big)
        await env.publish("values/big", big)
        await env.resume(handle, "ask", big)
        assert await env.finish(handle) == big[::-1]
        assert (await env.describe(handle)).result == big[::-1]
    assert world.ran("big") == 1


@law
async def test_a_result_of_none_is_a_result(world: World) -> None:
    @workflow(id="values-none")
    async def body(ctx: WorkflowContext) -> None:
        assert await ctx.step.run("none", lambda: world.effects.append(("none", "")) or None) is None
        await ctx.step.wait_for("pause", hours=1)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) is None
        detail = await env.describe(handle)
        assert (detail.status, detail.steps[0].status, detail.steps[0].result) == ("completed", "completed", None)
    assert world.ran("none") == 1


@law
async def test_callables_of_every_kind(world: World) -> None:
    import functools

    class Adder:
        def __call__(self, n: int) -> int:
            return n + 1

        async def later(self, n: int) -> int:
            return n + 2

    async def coroutine(n: int, *, more: int = 0) -> int:
        return n + more

    @workflow(id="values-callables")
    async def body(ctx: WorkflowContext) -> list[int]:
        return [
            await ctx.step.run("lambda", lambda: 1),
            await ctx.step.run("async lambda", lambda: coroutine(2)),
            await ctx.step.run("object", Adder(), 2),
            await ctx.step.run("method", Adder().later, 2),
            await ctx.step.run("partial", functools.partial(coroutine, 1), more=4),
            await ctx.step.run("builtin", max, 6, 5),
        ]

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == [1, 2, 3, 4, 5, 6]


@law
async def test_a_result_that_cannot_be_stored_fails_once_and_says_where(world: World) -> None:
    errors: list[SerializationError] = []

    def bad() -> Any:
        world.effect()
        return {"rows": [1, {"socket": object()}]}

    @workflow(id="values-bad")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.run("bad", bad, max_retries=5)
        except SerializationError as error:
            errors.append(error)
        await ctx.step.wait_for("pause", hours=1)
        return "caught"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "caught"
    assert world.ran("bad") == 1
    live, replayed = errors
    assert (live.step_key, live.path) == ("bad", "$.rows[1].socket")
    assert "did run" in str(live)
    assert "'bad'" in str(live)
    assert (str(live), live.path, live.traceback) == (str(replayed), replayed.path, replayed.traceback)


@law
async def test_a_result_of_the_workflow_that_cannot_be_stored_fails_it(world: World) -> None:
    @workflow(id="values-bad-result")
    async def body(ctx: WorkflowContext) -> Any:
        return {"x": object()}

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowFailedError, match=r"\$\.x"):
            await env.finish(await env.start(body))


@law
async def test_an_unknown_workflow_is_a_typed_error_and_stores_nothing(world: World) -> None:
    @workflow(id="values-caller")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.invoke_and_wait("child", "no-such-workflow")
        except WorkflowNotFoundError as error:
            return error.workflow_id
        return ""

    async with world.deploy(body) as env:
        with pytest.raises(WorkflowNotFoundError, match="no-such-workflow"):
            await env.client.invoke("no-such-workflow", 1)
        handle = await env.start(body)
        assert await env.finish(handle) == "no-such-workflow"
        assert [sk for sk in world.records(handle) if sk[:2] in ("r#", "s#")] == []
        with pytest.raises(ExecutionNotFoundError, match="nobody"):
            await env.describe("nobody")
        with pytest.raises(ExecutionNotFoundError):
            await env.cancel("nobody")
        with pytest.raises(ExecutionNotFoundError):
            await env.resume("nobody", "ask")
        with pytest.raises(ExecutionStateError, match="completed"):
            await env.resume(handle, "ask")


@law
async def test_an_invalid_payload_names_the_field_and_stores_nothing(world: World) -> None:
    @workflow(id="values-basket")
    async def basket(ctx: WorkflowContext, payload: Basket) -> int:
        return len(payload.lines)

    @workflow(id="values-parent")
    async def parent(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.invoke_and_wait("child", basket, {"customer": "c", "lines": [{"sku": "a"}]})
        except InvalidPayloadError as error:
            return str(error)
        return ""

    async with world.deploy(basket, parent) as env:
        env.requests.clear()
        with pytest.raises(InvalidPayloadError, match=r"lines.*0.*count") as caught:
            await env.start(basket, {"customer": "c", "lines": [{"sku": "a", "count": "many"}]})
        assert caught.value.errors
        assert sum(env.requests.values()) == 0
        assert "count" in await env.finish(await env.start(parent))
        assert await env.finish(await env.start(basket, {"customer": "c", "lines": [{"sku": "a", "count": 1}]})) == 1


@law
async def test_the_same_id_with_another_payload_is_refused(world: World) -> None:
    @workflow(id="values-same-id")
    async def body(ctx: WorkflowContext, text: str) -> str:
        return text

    async with world.deploy(body) as env:
        first = await env.start(body, "one", id="fixed")
        with pytest.raises(InvalidPayloadError, match="fixed"):
            await env.start(body, "two", id="fixed")
        assert await env.finish(first) == "one"


@law
async def test_a_child_error_is_caught_with_the_same_fields_live_and_on_replay(world: World) -> None:
    seen: list[tuple[Any, ...]] = []

    @workflow(id="errors-child", max_retries=0)
    async def child(ctx: WorkflowContext) -> None:
        raise LookupError("nothing there")

    @workflow(id="errors-parent")
    async def body(ctx: WorkflowContext) -> int:
        try:
            await ctx.step.invoke_and_wait("child", child)
        except ChildWorkflowError as error:
            seen.append((error.workflow_id, error.execution_id, error.status, error.error, error.step_key,
                         error.error_type, str(error), error.traceback))  # fmt: skip
        for n in range(2):
            await ctx.step.wait_for(f"pause {n}", hours=1)
        return len(seen)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == 3
    assert seen[0] == seen[1] == seen[2]
    assert seen[0][:6] == (
        "errors-child", f"{handle.id}/child", "failed", "LookupError: nothing there", "child", "LookupError"
    )  # fmt: skip
    assert "raise LookupError" in seen[0][7]


@law
async def test_a_failure_reads_the_same_live_on_replay_to_the_parent_and_to_the_caller(world: World) -> None:
    texts: list[str] = []

    def fails() -> None:
        raise ZeroDivisionError("grüße\nfrom the step")

    @workflow(id="errors-step")
    async def child(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.run("divide", fails, max_retries=1, base_delay=0)
        except StepExecutionError as error:
            texts.append(f"{type(error).__name__}: {error}")
            await ctx.step.wait_for("pause", hours=1)
            raise

    @workflow(id="errors-above")
    async def parent(ctx: WorkflowContext) -> str | None:
        try:
            await ctx.step.invoke_and_wait("child", child)
        except ChildWorkflowError as error:
            return error.error
        return None

    async with world.deploy(child, parent) as env:
        handle = await env.start(child)
        with pytest.raises(WorkflowFailedError) as caught:
            await env.finish(handle)
        told = await env.finish(await env.start(parent))
        detail = await env.describe(handle)
        shown = await env.client.get_execution(handle.id)
    assert len(set(texts)) == 1
    assert detail.error is not None
    assert f"{caught.value.error_type}: {caught.value.message}" == texts[0]
    assert f"{detail.error.type}: {detail.error.message}" == texts[0]
    assert shown["error"] == texts[0]
    assert told == texts[0]
    assert "in fails" in str(caught.value.traceback)
    step = next(step for step in detail.steps if step.key == "divide")
    assert step.error is not None
    assert (step.error.type, step.attempts) == ("ZeroDivisionError", 2)


@law
async def test_bad_arguments_of_durable_calls_are_errors_at_the_call(world: World) -> None:
    found: list[str] = []

    @workflow(id="errors-arguments")
    async def body(ctx: WorkflowContext) -> None:
        for call in (
            lambda: ctx.step.wait_for("t", seconds=-1),
            lambda: ctx.step.run("", len),
            lambda: ctx.step.run("k" * 513, len),
            lambda: ctx.step.run("k", "no callable"),  # type: ignore[arg-type]
            lambda: ctx.step.wait_for_event("e", "", timeout=1),
            lambda: ctx.step.wait_for_event("e", "topic", timeout=0),
            lambda: ctx.step.wait_for_event("e", "t" * 513),
            lambda: ctx.step.publish_event("p", "workflow/other/1", 1),
            lambda: ctx.step.publish_event("p", "topic", object()),
            lambda: ctx.step.suspend("s", object()),
            lambda: ctx.step.wait_until("u", "tomorrow"),  # type: ignore[arg-type]
        ):
            try:
                await call()
            except Exception as error:  # noqa: BLE001
                found.append(type(error).__name__)
        await ctx.step.wait_for("zero", seconds=0)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.finish(handle)
        assert [sk for sk in world.records(handle) if sk[:2] in ("r#", "s#")] == []
        assert (await env.describe(handle)).invocations == 1
    assert len(found) == 11
