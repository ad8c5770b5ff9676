"""SPEC 2.2, 2.3: OpenTelemetry spans, on every backend: one trace a family, nothing twice, whatever is replayed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import StatusCode

from polos import (
    BatchWorkflowInput,
    ChildWorkflowError,
    HookResult,
    WorkflowContext,
    WorkflowFailedError,
    current_step,
    hook,
    workflow,
)
from polos.handle import ExecutionHandle
from polos.tracing import trace_id
from tests.laws.worlds import World, law


class Written:
    """The spans that were exported, as a test asks for them."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.all)

    def __getitem__(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        found = [span for span in self.all if span.name == name]
        assert len(found) == 1, f"{name}: {self.names}"
        return found[0]

    def parent(self, name: str) -> str | None:
        """The name of the span above the only one of this name."""
        parent = self[name].parent
        if parent is None:
            return None
        return next(span.name for span in self.all if _context(span).span_id == parent.span_id)

    def seconds(self, name: str) -> float:
        span = self[name]
        assert span.start_time is not None
        assert span.end_time is not None
        return (span.end_time - span.start_time) / 1e9

    @property
    def ids(self) -> Counter[int]:
        return Counter(_context(span).span_id for span in self.all)


def _context(span: ReadableSpan) -> trace.SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _exceptions(span: ReadableSpan) -> list[dict[str, Any]]:
    return [dict(event.attributes or {}) for event in span.events if event.name == "exception"]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Generator[Written]:
    made = Written()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)
    yield made
    made.provider.shutdown()


@workflow(id="traced-child")
async def child(ctx: WorkflowContext, name: str) -> str:
    await ctx.step.wait_for("child nap", minutes=1)
    return await ctx.step.run("child step", lambda: name.upper())


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
    assert {_context(span).trace_id for span in written.all} == {int(trace_id(handle.id), 16)}
    assert written.parent("workflow.traced-root") is None
    assert written.parent("workflow.traced-child") == "child.ask"
    assert written.parent("step.child step") == written.parent("wait.child nap") == "workflow.traced-child"
    for name in ("child.ask", "publish.tell", "step.first", "wait.approval", "wait.heard", "wait.nap"):
        assert written.parent(name) == "workflow.traced-root", name
    assert written.seconds("wait.nap") == 3600
    assert written.seconds("wait.child nap") == 60
    assert written.seconds("workflow.traced-root") >= 2 * 3600
    about = _attributes(written["workflow.traced-root"])
    assert about["polos.execution.id"] == handle.id
    assert about["polos.execution.status"] == "completed"
    assert _attributes(written["step.first"])["polos.step.key"] == "first"
    assert {span.status.status_code for span in written.all} == {StatusCode.UNSET}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@law
async def test_dying_at_any_request_tells_no_span_twice(world: World, written: Written, after: bool) -> None:
    """What was in flight may run again; its span is written by the invocation that recorded it."""

    @workflow(id="traced-dying")
    async def body(ctx: WorkflowContext) -> str:
        with ctx.step.trace("block"):
            await ctx.step.run("a", world.effect)
            await ctx.step.wait_for("nap", hours=1)
            await ctx.step.invoke_and_wait("ask", child, "x")
        with ctx.step.trace("rest"):
            return await ctx.step.run("b", world.effect)

    async with world.deploy(body, child) as env:
        calm = await env.start(body)
        await env.finish(calm)
        names = written.names
        assert {"block", "rest", "child.ask", "wait.nap", "step.a", "step.b", "workflow.traced-dying"} <= set(names)
        nth, reached = 0, True
        while reached:
            nth += world.stride
            written.exporter.clear()
            handle = await env.start(body)
            fault = world.wire.crash("", nth=nth, after=after)
            assert await env.finish(handle) == "b"
            reached = fault.reached
            world.wire.quiet()
            assert max(written.ids.values()) == 1, (fault.hit, written.names)
            lost = Counter(names) - Counter(written.names)
            assert not Counter(written.names) - Counter(names), fault.hit
            assert sum(lost.values()) <= (4 if after else 0), (fault.hit, lost)  # it died before it could write them
        assert nth > 20


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
        assert [_attributes(span)["polos.step.attempt"] for span in attempts] == [1, 2]
        assert {span.status.status_code for span in attempts} == {StatusCode.ERROR}
        told = [_exceptions(span) for span in attempts]
        assert [one["exception.message"] for (one,) in told] == ["attempt 1", "attempt 2"]
        assert told[0][0]["exception.type"] == "LookupError"
        assert "raise LookupError" in told[0][0]["exception.stacktrace"]
    whole = written["workflow.traced-failing"]
    assert whole.status.status_code is StatusCode.ERROR
    assert _exceptions(whole)[0]["exception.type"] == "StepExecutionError"
    assert max(written.ids.values()) == 1


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
    assert _attributes(written["outer"]) == {"a": 1, "b": 2}
    assert written.seconds("outer") == pytest.approx(3600, abs=1)
    assert written.parent("step.a") == written.parent("wait.nap") == written.parent("inner") == "outer"
    assert written.parent("step.b") == "inner"
    assert written.parent("step.c") == "broken"
    assert written.parent("outer") == "workflow.traced-block"
    assert written.names.count("again") == 2
    assert written["broken"].status.status_code is StatusCode.ERROR
    assert _exceptions(written["broken"])[0]["exception.message"] == "no c"
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
    operations = {_context(span).span_id: span.name for span in written.all}
    parents = Counter(
        operations[span.parent.span_id] for span in written.all if span.name == "workflow.traced-child" and span.parent
    )
    assert parents == {"batch.batch": 2, "child.free": 1, "batch.loose": 1}
    assert {_context(span).trace_id for span in written.all} == {int(trace_id(handle.id), 16)}
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
    found = {_attributes(span)["polos.execution.id"]: span for span in written.all}
    statuses = Counter(_attributes(span)["polos.execution.status"] for span in written.all)
    assert statuses == {"cancelled": 2, "timed_out": 1}
    for span in written.all:
        failed = _attributes(span)["polos.execution.status"] == "timed_out"
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


@law
async def test_whole_retries_and_retries_by_hand_tell_only_what_ran_again(world: World, written: Written) -> None:
    runs: list[int] = []

    @workflow(id="traced-retried", max_retries=1)
    async def body(ctx: WorkflowContext) -> str:
        with ctx.step.trace("good"):
            await ctx.step.wait_for("nap", hours=1)
        await ctx.step.run("a", world.effect)
        with ctx.step.trace("bad"):
            runs.append(1)
            if len(runs) <= 2:
                raise LookupError("not yet")
        return "done"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError):
            await env.finish(handle)
        assert written.names.count("bad") == 2, "each run of the body failed in it"
        runs.append(1)
        await env.client.retry(handle.id)
        assert await env.finish(handle) == "done"
    assert Counter(written.names) == {
        "good": 1,
        "wait.nap": 1,
        "step.a": 1,
        "bad": 3,
        "workflow.traced-retried": 2,
    }
    assert max(written.ids.values()) == 1
    first, second = (span for span in written.all if span.name == "workflow.traced-retried")
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert [link.context.span_id for link in second.links] == [_context(first).span_id]


@law
async def test_a_retry_by_hand_tells_the_failed_step_and_what_comes_after_it_anew(
    world: World, written: Written
) -> None:
    mended = False

    def step() -> str:
        if not mended:
            raise LookupError("not yet")
        return "good"

    @workflow(id="traced-mended")
    async def body(ctx: WorkflowContext) -> str:
        with ctx.step.trace("kept"):
            await ctx.step.wait_for("nap", hours=1)
        with ctx.step.trace("around"):
            return await ctx.step.run("bad", step, max_retries=0)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        with pytest.raises(WorkflowFailedError):
            await env.finish(handle)
        mended = True
        await env.client.retry(handle.id)
        assert await env.finish(handle) == "good"
    assert Counter(written.names) == {
        "kept": 1,
        "wait.nap": 1,
        "around": 2,
        "step.bad": 2,
        "workflow.traced-mended": 2,
    }
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
    assert _context(span).trace_id != request.get_span_context().trace_id


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
async def test_one_owner_writes_the_span_of_a_step_that_two_have_run(world: World, written: Written) -> None:
    @workflow(id="traced-two-owners")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("a", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#a")
        zombie = await world.run_until(gate)
        assert zombie is not None
        await world.outlive(120)
        gate.release()
        await zombie.end()
        assert await env.finish(handle) == "a"
    assert world.ran("a") == 2
    assert written.names == ["step.a", "workflow.traced-two-owners"]


@law
async def test_the_loser_of_a_race_and_what_was_cut_off_have_no_span(world: World, written: Written) -> None:
    started = threading.Event()

    async def endless() -> None:
        started.set()
        await asyncio.sleep(3600)

    @workflow(id="traced-race")
    async def body(ctx: WorkflowContext) -> str:
        tasks = {
            asyncio.create_task(ctx.step.run("endless", endless)),
            asyncio.create_task(ctx.step.wait_for_event("never", "traced/never")),
            asyncio.create_task(ctx.step.run("quick", started.wait)),
        }
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for one in pending:
            one.cancel()
        return f"{len(done)}"

    async with world.deploy(body) as env:
        assert await env.finish(await env.start(body)) == "1"
    assert written.names == ["step.quick", "workflow.traced-race"]


@law
async def test_a_fork_tells_nothing_of_what_was_copied(world: World, written: Written) -> None:
    @workflow(id="traced-fork")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.wait_for("nap", hours=1)
        await ctx.step.run("a", world.effect)
        await ctx.step.wait_for("later", hours=1)
        return await ctx.step.run("b", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.finish(handle)
        written.exporter.clear()
        forked = await env.client.fork(handle.id, "b")
        assert await env.finish(forked) == "b"
    assert written.names == ["step.b", "workflow.traced-fork"]
    assert _context(written["step.b"]).trace_id == int(trace_id(forked.id), 16)


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
    assert {_context(span).trace_id for span in written.all} == {int(trace_id(handle.id), 16)}
    heads = [span for span in written.all if span.name == "workflow.traced-chain" and span.parent is None]
    assert [_attributes(span)["polos.execution.id"] for span in heads] == [handle.id]
    assert max(written.ids.values()) == 1


@law
async def test_a_trace_that_is_not_sampled_has_no_spans_at_all(world: World, written: Written) -> None:
    written.provider.sampler = ParentBased(ALWAYS_OFF)
    seen: list[bool] = []

    @workflow(id="traced-unsampled")
    async def body(ctx: WorkflowContext) -> str:
        with ctx.step.trace("block") as span:
            span.set_attribute("a", 1)
            await ctx.step.run("a", lambda: seen.append(trace.get_current_span().is_recording()))
        return await ctx.step.invoke_and_wait("ask", child, "x")

    async with world.deploy(body, child) as env:
        assert await env.finish(await env.start(body)) == "X"
    assert written.names == []
    assert seen == [False]


def test_spans_are_exported_before_a_lambda_container_is_frozen(
    monkeypatch: pytest.MonkeyPatch, written: Written
) -> None:
    exporter = InMemorySpanExporter()
    written.provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))

    async def main() -> ExecutionHandle:
        from polos.testing import Environment

        async with Environment("moto", workflows=[child]) as env:
            handle = await env.start(child, "x")
            await env.finish(handle)
            assert len(exporter.get_finished_spans()) == 3, "before the provider was shut down"
            return handle

    asyncio.run(main())


def test_without_an_sdk_blocks_take_everything_and_nothing_of_opentelemetry_is_imported() -> None:
    program = """
import sys, asyncio
from polos import workflow, WorkflowContext
from polos.testing import Environment

@workflow
async def traced(ctx: WorkflowContext):
    with ctx.step.trace("outer", {"a": 1}) as span:
        span.set_attribute("b", 2)
        span.add_event("c", {"d": 3})
        span.record_exception(ValueError("e"))
        span.set_status("f")
        return await ctx.step.run("a", span.is_recording)

async def main():
    async with Environment() as env:
        return await env.finish(await env.start(traced))

assert asyncio.run(main()) is False
assert not [name for name in sys.modules if name.startswith("opentelemetry")]

import opentelemetry.trace  # and with the API alone
assert asyncio.run(main()) is False
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
