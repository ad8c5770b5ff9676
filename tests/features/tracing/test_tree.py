"""SPEC 2.2, 2.3: one trace a family, and which span hangs under which, on every backend."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from polos import BatchWorkflowInput, HookResult, WorkflowContext, hook, workflow
from polos.tracing import trace_id
from tests.features.tracing.spans import Written, attributes_of, child, context_of, exceptions_of
from tests.laws.worlds import World, law


@law
async def test_a_family_of_executions_is_one_trace_in_which_nothing_is_told_twice(
    world: World, written: Written
) -> None:
    @workflow(id="traced-root")
    async def root(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", world.effect)
        await ctx.step.wait_for("nap", hours=1)
        said = await ctx.step.invoke_and_wait("ask", child, "hello")
        event = await ctx.step.wait_for_event("heard", "traced/topic")
        answer = await ctx.step.suspend("approval", {"q": 1})
        await ctx.step.publish_event("tell", "traced/out", said)
        await ctx.step.now("when")
        return f"{said} {event.data} {answer['data']}"

    async with world.deploy(root, child) as env:
        handle = await env.start(root)
        await env.advance(hours=2)
        await env.publish("traced/topic", 1)
        await env.settle()
        await env.resume(handle, "approval", 2)
        assert await env.finish(handle) == "HELLO 1 2"
        assert (await env.describe(handle)).invocations > 3, "it was replayed"

    assert written.names == [
        "child.ask",
        "publish.tell",
        "step.child step",
        "step.first",
        "wait.approval",
        "wait.child nap",
        "wait.heard",
        "wait.nap",
        "workflow.traced-child",
        "workflow.traced-root",
    ]
    assert {context_of(span).trace_id for span in written.all} == {int(trace_id(handle.id), 16)}
    assert written.parent("workflow.traced-root") is None
    assert written.parent("workflow.traced-child") == "child.ask"
    assert written.parent("step.child step") == written.parent("wait.child nap") == "workflow.traced-child"
    for name in ("child.ask", "publish.tell", "step.first", "wait.approval", "wait.heard", "wait.nap"):
        assert written.parent(name) == "workflow.traced-root", name
    assert written.seconds("wait.nap") == 3600
    assert written.seconds("wait.child nap") == 60
    assert written.seconds("workflow.traced-root") >= 2 * 3600
    about = attributes_of(written["workflow.traced-root"])
    assert about["polos.execution.id"] == handle.id
    assert about["polos.execution.status"] == "completed"
    assert attributes_of(written["step.first"])["polos.step.key"] == "first"
    assert {span.status.status_code for span in written.all} == {StatusCode.UNSET}


@law
async def test_a_step_s_span_is_active_inside_its_callable(world: World, written: Written) -> None:
    tracer = written.provider.get_tracer("an instrumented client")

    def in_a_thread() -> None:
        with tracer.start_as_current_span("GET sync"):
            pass

    async def on_the_loop() -> None:
        await asyncio.sleep(0)
        with tracer.start_as_current_span("GET async"):
            await asyncio.sleep(0)

    @hook
    def look(ctx: WorkflowContext, about: Any) -> HookResult:
        with tracer.start_as_current_span("in the hook"):
            return HookResult.continue_with()

    @workflow(id="traced-active", on_start=look)
    async def body(ctx: WorkflowContext) -> bool:
        inside = trace.get_current_span().get_span_context()
        await asyncio.gather(ctx.step.run("sync", in_a_thread), ctx.step.run("async", on_the_loop))
        return inside.trace_id == int(trace_id(ctx.execution_id), 16)

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) is True
    assert written.parent("GET sync") == "step.sync"
    assert written.parent("GET async") == "step.async"
    assert written.parent("in the hook") == "hook.on_start.look.0"


@law
async def test_a_block_is_one_span_over_all_the_invocations_that_ran_it(world: World, written: Written) -> None:
    @workflow(id="traced-block")
    async def body(ctx: WorkflowContext) -> str:
        with ctx.step.trace("outer", {"a": 1}) as span:
            await ctx.step.run("a", world.effect)
            await ctx.step.wait_for("nap", hours=1)
            with ctx.step.trace("inner"):
                await ctx.step.run("b", world.effect)
            span.set_attribute("b", 2)
        for _ in range(2):
            with ctx.step.trace("again"):
                pass
        try:
            with ctx.step.trace("broken"):
                await ctx.step.run("c", world.effect)
                raise LookupError("no c")
        except LookupError:
            await ctx.step.wait_for("rest", hours=1)
        return "done"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "done"
    assert attributes_of(written["outer"]) == {"a": 1, "b": 2}
    assert written.seconds("outer") == pytest.approx(3600, abs=1)
    assert written.parent("step.a") == written.parent("wait.nap") == written.parent("inner") == "outer"
    assert written.parent("step.b") == "inner"
    assert written.parent("step.c") == "broken"
    assert written.parent("outer") == "workflow.traced-block"
    assert written.names.count("again") == 2
    assert written["broken"].status.status_code is StatusCode.ERROR
    assert exceptions_of(written["broken"])[0]["exception.message"] == "no c"
    assert max(written.ids.values()) == 1


@law
async def test_children_of_batches_and_those_nobody_waits_for_hang_under_their_step(
    world: World, written: Written
) -> None:
    @workflow(id="traced-fan")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.invoke("free", child, "c")
        batch = [BatchWorkflowInput(id=child.id, payload=one) for one in ("a", "b")]
        await ctx.step.batch_invoke_and_wait("batch", batch)
        await ctx.step.batch_invoke("loose", batch[:1])

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.finish(handle)
        await env.advance(hours=1)
    operations = {context_of(span).span_id: span.name for span in written.all}
    parents = Counter(
        operations[span.parent.span_id] for span in written.all if span.name == "workflow.traced-child" and span.parent
    )
    assert parents == {"batch.batch": 2, "child.free": 1, "batch.loose": 1}
    assert {context_of(span).trace_id for span in written.all} == {int(trace_id(handle.id), 16)}
    assert max(written.ids.values()) == 1


@law
async def test_who_starts_an_execution_inside_a_span_is_linked(world: World, written: Written) -> None:
    async with world.deploy(child) as env:
        with written.provider.get_tracer("a web server").start_as_current_span("POST /orders") as request:
            handle = await env.start(child, "x")
        await env.finish(handle)
    span = written["workflow.traced-child"]
    caller = request.get_span_context()
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [(caller.trace_id, caller.span_id)]
    assert written.parent("workflow.traced-child") is None
    assert context_of(span).trace_id != request.get_span_context().trace_id


@law
async def test_a_step_is_linked_to_the_invocation_that_ran_it(world: World, written: Written) -> None:
    @workflow(id="traced-invoked")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        await env.start(body)
        delivery = world.take()
        with written.provider.get_tracer("lambda").start_as_current_span("invocation") as invocation:
            await asyncio.to_thread(delivery.run)
    assert [link.context for link in written["step.a"].links] == [invocation.get_span_context()]
    assert written.parent("step.a") == "workflow.traced-invoked"


@law
async def test_continue_as_new_stays_in_the_trace(world: World, written: Written) -> None:
    @workflow(id="traced-chain")
    async def body(ctx: WorkflowContext, left: int) -> int:
        await ctx.step.run("a", world.effect)
        if left:
            await ctx.continue_as_new(left - 1)
        return left

    async with world.deploy(body) as env:
        handle = await env.start(body, 2)
        assert await env.finish(handle) == 0
    assert Counter(written.names) == {"step.a": 3, "workflow.traced-chain": 3}
    assert {context_of(span).trace_id for span in written.all} == {int(trace_id(handle.id), 16)}
    heads = [span for span in written.all if span.name == "workflow.traced-chain" and span.parent is None]
    assert [attributes_of(span)["polos.execution.id"] for span in heads] == [handle.id]
    assert max(written.ids.values()) == 1
