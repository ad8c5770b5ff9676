"""SPEC 2.3: when spans are exported, and that nothing is where tracing is off or not installed."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

from polos import WorkflowContext, workflow
from polos.handle import ExecutionHandle
from tests.features.tracing.spans import Written, child
from tests.laws.worlds import World, law


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
