"""SPEC 2.5, 12: whatever a body or a step raises is recorded as a failure, also what can hardly be put into words."""

from __future__ import annotations

import pytest

from polos import StepExecutionError, WorkflowContext, WorkflowFailedError, workflow
from tests.laws.worlds import World, law


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words for it")


ODD = {
    "UnspeakableError": (UnspeakableError(), "(its message cannot be shown)"),
    "ValueError": (ValueError("half a character: \ud83d"), "half a character: \\ud83d"),
    "SystemExit": (SystemExit(3), "3"),
    "KeyboardInterrupt": (KeyboardInterrupt(), ""),
}


@pytest.mark.parametrize("name", ODD)
@law
async def test_a_body_fails_with_any_exception_and_its_hooks_hear_of_it(world: World, name: str) -> None:
    error, text = ODD[name]

    @workflow(id="odd-body", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        raise error

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError):
            await env.finish(handle)
        detail = await env.describe(handle)
    assert detail.error is not None
    assert (detail.error.type, detail.error.message, detail.invocations) == (name, text, 1)


@pytest.mark.parametrize("name", ODD)
@law
async def test_a_step_fails_with_any_exception(world: World, name: str) -> None:
    error, text = ODD[name]

    def fail() -> None:
        raise error

    @workflow(id="odd-step")
    async def body(ctx: WorkflowContext) -> tuple[str, str]:
        with pytest.raises(StepExecutionError) as caught:
            await ctx.step.run("fail", fail, max_retries=0)
        return caught.value.error_type, caught.value.message

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == (name, text)


@law
async def test_a_message_that_no_record_can_hold_is_cut_alike_live_on_replay_and_for_the_parent(world: World) -> None:
    told: set[str] = set()

    def fail() -> None:
        raise ValueError("a page of an answer: " + "\u20ac" * 500_000)

    @workflow(id="odd-long", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.run("fail", fail, max_retries=0)
        except StepExecutionError as error:
            told.add(error.message)
        await ctx.step.wait_for("pause", hours=1)
        fail()

    @workflow(id="odd-long-parent")
    async def parent(ctx: WorkflowContext) -> str:
        with pytest.raises(StepExecutionError, match="a page of an answer") as caught:
            await ctx.step.invoke_and_wait("child", body)
        return str(caught.value)

    async with world.deploy(body, parent) as env:
        handle = await env.start(parent)
        assert "[...]" in await env.finish(handle)
        detail = await env.describe(f"{handle.id}/child")
    assert [text[:21] + text[-5:] for text in told] == ["a page of an answer: [...]"]
    assert detail.error is not None
    assert detail.error.message.startswith("a page of an answer: ")
    assert detail.error.message.endswith("[...]")
    assert detail.invocations == 2
