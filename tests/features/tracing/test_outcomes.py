"""SPEC 2.2, 2.3: attempts, failures and ends are told with their status, on every backend."""

from __future__ import annotations

from collections import Counter

import pytest
from opentelemetry.trace import StatusCode

from polos import ChildWorkflowError, WorkflowContext, WorkflowFailedError, current_step, workflow
from tests.features.tracing.spans import Written, attributes_of, exceptions_of
from tests.laws.worlds import World, law


@law
async def test_each_attempt_of_a_step_has_a_span_and_failures_are_told_as_such(world: World, written: Written) -> None:
    def fail() -> None:
        raise LookupError(f"attempt {current_step().attempt}")

    @workflow(id="traced-failing")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("slow", fail, max_retries=1, base_delay=60, max_delay=60)

    @workflow(id="traced-quick", max_retries=0)
    async def quick(ctx: WorkflowContext) -> None:
        await ctx.step.run("quick", fail, max_retries=1, base_delay=0.001)

    async with world.deploy(body, quick) as env:
        for one in (body, quick):
            with pytest.raises(WorkflowFailedError):
                await env.finish(await env.start(one))
    for name in ("step.slow", "step.quick"):
        attempts = [span for span in written.all if span.name == name]
        assert [attributes_of(span)["polos.step.attempt"] for span in attempts] == [1, 2]
        assert {span.status.status_code for span in attempts} == {StatusCode.ERROR}
        told = [exceptions_of(span) for span in attempts]
        assert [one["exception.message"] for (one,) in told] == ["attempt 1", "attempt 2"]
        assert told[0][0]["exception.type"] == "LookupError"
        assert "raise LookupError" in told[0][0]["exception.stacktrace"]
    whole = written["workflow.traced-failing"]
    assert whole.status.status_code is StatusCode.ERROR
    assert exceptions_of(whole)[0]["exception.type"] == "StepExecutionError"
    assert max(written.ids.values()) == 1


@law
async def test_ends_of_every_kind_are_told_with_their_status(world: World, written: Written) -> None:
    @workflow(id="traced-ends")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("long", days=1)

    async with world.deploy(body) as env:
        cancelled, ended = await env.start(body), await env.start(body)
        await env.start(body, run_timeout_seconds=60)
        await env.settle()
        await env.cancel(cancelled)
        await env.client.terminate(ended.id)
        await env.advance(hours=1)
    found = {attributes_of(span)["polos.execution.id"]: span for span in written.all}
    statuses = Counter(attributes_of(span)["polos.execution.status"] for span in written.all)
    assert statuses == {"cancelled": 2, "timed_out": 1}
    for span in written.all:
        failed = attributes_of(span)["polos.execution.status"] == "timed_out"
        assert span.status.status_code is (StatusCode.ERROR if failed else StatusCode.UNSET)
    assert {cancelled.id, ended.id} < found.keys()


@law
async def test_a_child_that_failed_is_told_on_the_call_too(world: World, written: Written) -> None:
    @workflow(id="traced-bad-child", max_retries=0)
    async def bad(ctx: WorkflowContext) -> None:
        raise LookupError("bad child")

    @workflow(id="traced-catching")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.invoke_and_wait("ask", bad)
        except ChildWorkflowError:
            return "caught"
        return "not raised"

    async with world.deploy(body, bad) as env:
        assert await env.finish(await env.start(body)) == "caught"
    assert written["child.ask"].status.status_code is StatusCode.ERROR
    assert written["workflow.traced-bad-child"].status.status_code is StatusCode.ERROR
    assert written["workflow.traced-catching"].status.status_code is StatusCode.UNSET
