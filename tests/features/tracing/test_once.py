"""SPEC 2.2, 2.3: nothing is told twice, whatever dies, races, is retried or copied, on every backend."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest
from opentelemetry.trace import StatusCode

from polos import WorkflowContext, WorkflowFailedError, workflow
from polos.tracing import trace_id
from tests.features.tracing.spans import Written, child, context_of
from tests.laws.worlds import World, law


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
    assert [link.context.span_id for link in second.links] == [context_of(first).span_id]


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
    assert context_of(written["step.b"]).trace_id == int(trace_id(forked.id), 16)
