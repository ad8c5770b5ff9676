"""L12 final: completed, failed, cancelled and timed_out are terminal, decided by one write; a later writer loses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import (
    ChildWorkflowError,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowTimeoutError,
    workflow,
)
from polos.engine import starting
from tests.laws.worlds import World, law, noise, outcome


def one_step(world: World, *, fails: bool = False) -> Any:
    @workflow(id="l12-one", max_retries=0)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", world.effect)
        if fails:
            raise ValueError("no")
        return "done"

    return body


@pytest.mark.parametrize("after", [False, True], ids=["cancel first", "finish first"])
@pytest.mark.parametrize("fails", [False, True], ids=["completes", "fails"])
@pytest.mark.parametrize("mode", ["cancel", "terminate"])
@law
async def test_L12_race_of_an_end_and_a_cancel_forced_both_ways(
    world: World, mode: str, fails: bool, after: bool
) -> None:
    body = one_step(world, fails=fails)
    async with world.deploy(body) as env:
        handle = await env.start(body)
        start = world.take()

        def cancel() -> None:
            starting.cancel(env.harness.engine, handle.id, mode)
            world.deliver_due()

        if after:
            gate = world.wire.block("finish", after=True)
            first = world.begin(start)
            await gate.reach()
            assert await env.cancel(handle) is False, "it has ended"
            gate.release()
            await first.end()
            status = "failed" if fails else "completed"
        else:
            fault = world.wire.meanwhile("finish", cancel)
            await world.begin(start).end()
            assert fault.reached
            # a cooperative cancel that comes after the body's last await finds nothing to strike
            status = "cancelled" if mode == "terminate" else ("failed" if fails else "completed")
        await env.advance(minutes=5)
        detail = await env.describe(handle)
        assert detail.status == status
        partition = world.records(handle)
        for message in list(world.messages):
            await world.again(message, new_id=True).end()
        await env.settle()
        assert world.records(handle) == partition, "whoever comes later leaves no trace"
        assert "re" not in partition["x"] or status == "completed"


@law
async def test_L12_a_terminated_execution_goes_no_further_even_in_its_owner(world: World) -> None:
    @workflow(id="l12-terminated")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.run("a", world.effect)
            await ctx.step.run("b", world.effect)
        finally:
            await ctx.step.run("cleanup", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#a", after=True)
        owner = world.begin()
        await gate.reach()
        await env.client.terminate(handle.id)
        await world.begin().end()
        assert (await env.describe(handle)).status == "cancelled"
        gate.release()
        await owner.end()
        assert world.ran("cleanup") == 0
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)


@pytest.mark.parametrize("first", ["cancel", "timeout"])
@law
async def test_L12_cancel_against_the_time_limit_is_decided_once(world: World, first: str) -> None:
    """The first one to strike stands, also while its cleanup still runs and the other one comes."""

    @workflow(id="l12-limit")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("work", days=1)
        finally:
            await ctx.step.wait_for("cleanup", hours=2)
            await ctx.step.run("cleaned", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body, run_timeout_seconds=3600)
        await env.advance(minutes=30)
        if first == "cancel":
            await env.cancel(handle)
        await env.advance(minutes=45)
        if first == "timeout":
            await env.cancel(handle)
        await env.advance(minutes=5)
        with pytest.raises(WorkflowCancelledError if first == "cancel" else WorkflowTimeoutError):
            await env.finish(handle)
        assert (await env.describe(handle)).status == ("cancelled" if first == "cancel" else "timed_out")
    assert world.ran("cleaned") == 1


@law
async def test_L12_a_result_of_an_owner_that_lost_does_not_replace_the_stored_one(world: World) -> None:
    """A body that is not deterministic gives the zombie another result: it must not be seen."""
    heirs = noise(2000, "heir")
    results = iter([noise(2000, "zombie"), heirs])

    @workflow(id="l12-result")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", world.effect)
        return next(results)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put p#out")
        zombie = world.begin()
        await gate.reach()
        await env.advance(seconds=31)
        assert await env.finish(handle) == heirs
        gate.release()
        await zombie.end()
        await env.advance(minutes=5)
        assert await env.finish(handle) == heirs
        assert (await env.describe(handle)).result == heirs


@pytest.mark.parametrize("end", ["completes", "fails", "is cancelled", "times out"])
@law
async def test_L12_a_parent_is_told_once(world: World, end: str) -> None:
    @workflow(id="l12-child", max_retries=0)
    async def child(ctx: WorkflowContext) -> str:
        if end == "fails":
            raise ValueError("child")
        if end != "completes":
            await ctx.step.wait_for("pause", days=1)
        return "fine"

    @workflow(id="l12-parent")
    async def body(ctx: WorkflowContext) -> Any:
        try:
            got: Any = await ctx.step.invoke_and_wait("child", child, run_timeout_seconds=600)
        except ChildWorkflowError as error:
            got = error.status
        await ctx.step.wait_for("pause", hours=1)
        return got

    expected = {"completes": "fine", "fails": "failed", "is cancelled": "cancelled", "times out": "timed_out"}[end]
    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        if end == "is cancelled":
            await env.cancel(f"{handle.id}/child")
        await env.advance(minutes=15)
        told = world.records(handle)["r#child"]
        for message in [one for one in world.messages if str(one.body.get("x", "")).endswith("/child")]:
            await world.again(message, new_id=True).end()
            await env.settle()
        assert world.records(handle)["r#child"] == told
        assert await env.finish(handle) == expected


@law
async def test_L12_every_terminal_status_is_shown_as_what_it_is(world: World) -> None:
    @workflow(id="l12-statuses", max_retries=0)
    async def body(ctx: WorkflowContext, what: str) -> str:
        if what == "fail":
            raise ValueError("no")
        if what != "complete":
            await ctx.step.wait_for("pause", days=1)
        return "yes"

    async with world.deploy(body) as env:
        handles = {
            what: await env.start(body, what, run_timeout_seconds=60)
            for what in ("complete", "fail", "cancel", "time out")
        }
        await env.settle()
        await env.cancel(handles["cancel"])
        await env.advance(minutes=2)
        got = {what: (await env.describe(handle)).status for what, handle in handles.items()}
        assert list(got.values()) == ["completed", "failed", "cancelled", "timed_out"]
        kinds = [(await outcome(env.finish(handle)))[0] for what, handle in handles.items() if what != "complete"]
        assert kinds == ["WorkflowFailedError", "WorkflowCancelledError", "WorkflowTimeoutError"]
        for what, handle in handles.items():
            assert await env.cancel(handle) is False, what


@law
async def test_L12_two_owners_end_it_differently_the_first_write_stands(world: World) -> None:
    ends = iter([None, ValueError("the heir fails")])

    @workflow(id="l12-two", max_retries=0)
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("a", world.effect)
        if (error := next(ends)) is not None:
            raise error
        return "the zombie completes"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("finish")
        zombie = world.begin()
        await gate.reach()
        await env.advance(seconds=31)
        with pytest.raises(WorkflowFailedError, match="the heir fails"):
            await env.finish(handle)
        gate.release()
        await zombie.end()
        await asyncio.sleep(0)
        with pytest.raises(WorkflowFailedError, match="the heir fails"):
            await env.finish(handle)
        assert (await env.describe(handle)).result is None
