"""Cancel and terminate against starts, deaths, batches: each test forces the interleaving that it names."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import (
    BatchWorkflowInput,
    WorkflowCancelledError,
    WorkflowContext,
    WorkflowTimeoutError,
    current_step,
    workflow,
)
from polos.core import items
from polos.engine import commands, starting
from polos.handle import ExecutionHandle
from polos.ports import Outgoing
from tests.laws.worlds import World, law


def waiting_child(world: World) -> Any:
    @workflow(id="ct-child")
    async def child(ctx: WorkflowContext) -> str:
        await ctx.step.run("began", world.effect)
        await ctx.step.wait_for("pause", hours=5)
        return "finished"

    return child


ENDS = ("", "/child", "/undo", "/batch:0", "/batch:1", "/batch:2")


def statuses(world: World, handle: ExecutionHandle) -> dict[str, str]:
    """The status of every execution of a family, by the end of its id."""
    found = {end: world.table.get(items.execution(handle.id + end)) for end in ENDS}
    return {end: str(item[items.STATUS]) for end, item in found.items() if item is not None}


# ---- cancel


@law
async def test_a_compensating_child_survives_old_wakes(world: World) -> None:
    """The cleanup starts a child and suspends; a timer that was armed before the cancel wakes the parent again."""

    @workflow(id="ct-compensates")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("nap", hours=1)
        finally:
            await ctx.step.run("undone", world.effect, await ctx.step.invoke_and_wait("undo", child))

    child = waiting_child(world)
    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        await env.cancel(handle)
        await env.advance(hours=2)
        assert statuses(world, handle) == {"": "waiting", "/undo": "waiting"}
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
        assert (await env.describe(handle)).steps[-1].result == "finished"


@law
async def test_a_cancel_between_two_turns_of_a_retried_execution_runs_the_cleanup(world: World) -> None:
    """It failed in its first invocation, so it never suspended; the cancel comes before the retried turn begins."""

    def fails() -> None:
        raise ValueError("no")

    @workflow(id="ct-retried", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.run("charge", world.effect)
            await ctx.step.run("ship", fails, max_retries=0)
        finally:
            await ctx.step.run("refund", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.client.retry(handle.id)
        again = world.take()
        await env.cancel(handle)
        await world.begin().end()
        await world.begin(again).end()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
    assert [key for key, _ in world.effects] == ["charge", "refund", "refund"]


@law
async def test_a_copy_of_a_cancel_that_met_the_owner_takes_no_lease(world: World) -> None:
    """The handler of the cancel stands after its first write while the owner reads again and comes to its next
    suspension; then it ends, then the owner suspends. A copy of the message must find its work done: as the owner
    of a lease it could use up a wake, and die."""

    @workflow(id="ct-copy")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.suspend("ask")
        finally:
            await ctx.step.wait_for("grace", hours=1)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        first, second = world.wire.block("suspend", nth=1), world.wire.block("suspend", nth=2)
        owner = world.begin()
        await first.reach()
        await env.cancel(handle)
        noted = world.wire.block("cancel", after=True)
        canceller = world.begin()
        await noted.reach()
        first.release()
        await second.reach()
        noted.release()
        await canceller.end()
        second.release()
        await owner.end()
        epoch = world.execution(handle)[items.EPOCH]
        (message,) = [one for one in world.messages if one.body["t"] == "cancel"]
        copy = await world.again(message).end()
        assert copy.answer is True
        assert world.execution(handle)[items.EPOCH] == epoch
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)


@pytest.mark.parametrize("running", [False, True], ids=["suspended", "running"])
@law
async def test_a_cancel_during_the_cleanup_of_a_timeout_leaves_it_a_timeout(world: World, running: bool) -> None:
    """The time limit has struck and its cleanup waits, or runs, when the cancel is noted."""

    @workflow(id="ct-timeout")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("work", days=1)
        finally:
            await ctx.step.run("cleanup", world.effect)
            await ctx.step.wait_for("grace", hours=2)

    async with world.deploy(body) as env:
        handle = await env.start(body, run_timeout_seconds=600)
        await env.settle()
        gate = world.wire.block("put r#cleanup") if running else None
        if gate is None:
            await env.advance(minutes=20)
        else:
            owner = await world.run_until(gate)
            assert owner is not None
        await env.cancel(handle)
        await world.begin().end()
        if gate is not None:
            gate.release()
            await owner.end()
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(handle)


@pytest.mark.parametrize("waits", [False, True], ids=["batch_invoke", "batch_invoke_and_wait"])
@law
async def test_a_cancel_goes_to_the_children_of_a_batch_waited_for_or_not(world: World, waits: bool) -> None:
    child = waiting_child(world)

    @workflow(id="ct-batch")
    async def body(ctx: WorkflowContext) -> None:
        inputs = [BatchWorkflowInput(id="ct-child", payload=None) for _ in range(3)]
        if waits:
            await ctx.step.batch_invoke_and_wait("batch", inputs)
        await ctx.step.batch_invoke("batch", inputs)
        await ctx.step.wait_for("pause", days=1)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        await env.cancel(handle)
        await env.settle()
        found = statuses(world, handle)
        assert len(found) == 4
        assert set(found.values()) == {"cancelled"}


# ---- terminate


@law
async def test_a_terminate_that_overtakes_the_start_of_a_child_ends_it(world: World) -> None:
    """The child's start is held back in its queue; the terminate of the family arrives before it."""
    child = waiting_child(world)

    @workflow(id="ct-overtaken")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.invoke_and_wait("child", child)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await world.begin().end()
        held = world.take()
        await env.client.terminate(handle.id)
        await env.settle()
        await world.begin(held).end()
        await env.advance(hours=6)
        assert statuses(world, handle) == {"": "cancelled", "/child": "cancelled"}
    assert world.ran("began") == 0


@pytest.mark.parametrize("mode", ["cancel", "terminate"])
@law
async def test_a_cancel_of_what_is_never_started_is_not_kept_for_ever(world: World, mode: str) -> None:
    """It waits for the start that it may have overtaken; with that it is an execution like others."""

    @workflow(id="ct-never")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("began", world.effect)

    async with world.deploy(body) as env:
        for name in ("never", "late"):
            for _ in range(2):
                env.harness.engine.backend.inbox.send([Outgoing(commands.cancel(name, body.id, mode))])
        await env.settle()
        for name in ("never", "late"):
            tombstone = world.execution(name)
            assert tombstone[items.CANCEL] == mode
            assert 59 < (items.number(tombstone, items.TTL) - env.now.timestamp()) / 86_400 < 61
        handle = await env.start(body, id="late")
        gate = world.wire.block("finish")
        owner = world.begin()
        await gate.reach()
        assert items.TTL not in world.execution("late"), "an open execution does not expire"
        gate.release()
        await owner.end()
        assert (await env.describe(handle)).status == "cancelled"
        assert items.TTL in world.execution("late")
    assert world.ran("began") == 0


@pytest.mark.parametrize("after", [False, True], ids=["request late", "reply late"])
@law
async def test_a_child_that_is_started_after_the_terminate_looked_for_children_is_ended(
    world: World, after: bool
) -> None:
    """The parent's owner stands at the start of a child, of which there is no mark yet, while the terminate passes."""
    child = waiting_child(world)

    @workflow(id="ct-late-child")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.invoke_and_wait("child", child)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        gate = world.wire.block("send start", after=after)
        owner = world.begin()
        await gate.reach()
        held = world.take() if after else None
        await env.client.terminate(handle.id)
        await env.settle()
        gate.release()
        await owner.end()
        if held is not None:
            await world.begin(held).end()
        await env.settle()
        assert statuses(world, handle) == {"": "cancelled", "/child": "cancelled"}


@pytest.mark.parametrize("waits", [False, True], ids=["batch_invoke", "batch_invoke_and_wait"])
@law
async def test_a_terminate_reaches_the_children_of_a_batch(world: World, waits: bool) -> None:
    child = waiting_child(world)

    @workflow(id="ct-batch-end")
    async def body(ctx: WorkflowContext) -> None:
        inputs = [BatchWorkflowInput(id="ct-child", payload=None) for _ in range(3)]
        await (ctx.step.batch_invoke_and_wait if waits else ctx.step.batch_invoke)("batch", inputs)
        await ctx.step.wait_for("pause", days=1)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        await env.client.terminate(handle.id)
        await env.settle()
        found = statuses(world, handle)
        assert len(found) == 4
        assert set(found.values()) == {"cancelled"}


@pytest.mark.parametrize("after", [False, True], ids=["before its sends", "after its write"])
@law
async def test_a_terminate_whose_handler_dies_reaches_the_children_all_the_same(world: World, after: bool) -> None:
    """The execution is ended, then the handler dies before it has told the children; its message comes again."""
    child = waiting_child(world)

    @workflow(id="ct-dies")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.invoke_and_wait("child", child)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        at = f"finish {handle.id}$" if after else f"send cancel {handle.id}/child"
        fault = world.wire.crash(at, after=after)
        await env.client.terminate(handle.id)
        await env.settle()
        assert fault.reached
        assert statuses(world, handle) == {"": "cancelled", "/child": "waiting"}
        await env.advance(minutes=16)  # on AWS nothing has shortened the visibility of a message of which no lease came
        assert statuses(world, handle) == {"": "cancelled", "/child": "cancelled"}


@law
async def test_the_waiters_of_a_suspended_execution_go_with_its_terminate(world: World) -> None:
    @workflow(id="ct-waiters")
    async def body(ctx: WorkflowContext) -> None:
        waits = (ctx.step.wait_for_event(f"wait_{n}", f"ct/{n}", timeout=3600) for n in range(2))
        await asyncio.gather(*waits, ctx.step.wait_for("pause", hours=1))

    async with world.deploy(body) as env:
        handle, other = await env.start(body), await env.start(body)
        await env.settle()
        await env.client.terminate(handle.id)
        await env.settle()
        for topic in ("ct/0", "ct/1"):
            assert [one[items.EXECUTION_ID] for one in world.waiters(topic)] == [other.id]
        shown = {step.key: (step.status, step.detail["topic"]) for step in (await env.describe(handle)).steps[:2]}
        assert shown == {f"wait_{n}": ("abandoned", f"ct/{n}") for n in range(2)}


@law
async def test_a_waiter_that_the_owner_puts_while_it_is_terminated_goes_with_the_next_event(world: World) -> None:
    @workflow(id="ct-waiter")
    async def body(ctx: WorkflowContext) -> None:
        await asyncio.gather(ctx.step.wait_for_event("wait", "ct/topic"), ctx.step.run("end", end))

    def end() -> None:
        starting.cancel(env.harness.engine, current_step().execution_id, "terminate")
        world.deliver_due()

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        assert (await env.describe(handle)).status == "cancelled"
        assert len(world.waiters("ct/topic")) == 1
        await env.publish("ct/topic")
        await env.settle()
        assert world.waiters("ct/topic") == []
        handled = len(world.messages)
        await env.publish("ct/topic")
        await env.settle()
        assert len(world.messages) == handled + 1, "the second event wakes nobody"
