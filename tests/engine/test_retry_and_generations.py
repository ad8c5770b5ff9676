"""`retry` against late messages, late cancels, time limits and stalled clients. L12, L10."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from polos import BatchWorkflowInput, WorkflowContext, WorkflowTimeoutError, workflow
from polos.core import items
from polos.core.identity import message_tag
from polos.engine.ledger import Ledger
from polos.ports import ConditionFailed, Outgoing
from tests.laws.worlds import World, law


class Once:
    """Fails the first time it is asked."""

    def __init__(self) -> None:
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        if self.tries == 1:
            raise ValueError("the first time")
        return "good"


@law
async def test_a_child_of_an_older_generation_tells_its_parent_nothing_new(world: World) -> None:
    """The child failed and its parent with it; the parent is retried; then a late message meets the old child, which
    repeats its duties: before the new child is started, and while it runs."""
    flaky = Once()

    @workflow(id="rg-child", max_retries=0)
    async def child(ctx: WorkflowContext) -> str:
        got = await ctx.step.run("flaky", flaky, max_retries=0)
        await ctx.step.wait_for("pause", hours=1)
        return got

    @workflow(id="rg-parent", max_retries=0)
    async def body(ctx: WorkflowContext) -> Any:
        return await ctx.step.invoke_and_wait("child", child)

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        assert (await env.describe(handle)).status == "failed"
        (late,) = [one for one in world.messages if one.body.get("wf") == "rg-child"]
        await env.client.retry(handle.id)
        await world.again(late, new_id=True).end()
        await env.settle()
        await world.again(late, new_id=True).end()
        await env.settle()
        assert (await env.describe(handle)).status == "waiting"
        assert await env.finish(handle) == "good"


@law
async def test_a_child_that_was_seen_to_end_is_not_started_again_by_a_retry(world: World) -> None:
    """Whoever started the child died before it was put on record; its outcome came all the same, and the body has gone
    on from it. A later retry keeps it, as any other step before the one that failed."""
    started: list[str] = []
    flaky = Once()

    @workflow(id="rg-seen-child")
    async def child(ctx: WorkflowContext) -> str:
        started.append(ctx.execution_id)
        return "first"

    @workflow(id="rg-seen", max_retries=0)
    async def body(ctx: WorkflowContext) -> list[str]:
        return [await ctx.step.invoke_and_wait("child", child), await ctx.step.run("charge", flaky, max_retries=0)]

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        fault = world.wire.crash("put s#child")
        await env.advance(minutes=5)
        assert fault.reached
        assert (await env.describe(handle)).status == "failed"
        await env.client.retry(handle.id)
        assert await env.finish(handle) == ["first", "good"]
    assert started == [f"{handle.id}/child"]


@law
async def test_a_batch_of_an_older_generation_tells_its_parent_nothing_new(world: World) -> None:
    """As above, of a batch that ended after the failure which the retry drops: its old children's outcomes must not
    be those of the new ones."""
    flaky = Once()
    results = iter(["old", "new"])

    @workflow(id="rg-old-member")
    async def child(ctx: WorkflowContext) -> str:
        got = await ctx.step.run("which", lambda: next(results))
        if got == "new":
            await ctx.step.wait_for("pause", hours=1)
        return got

    @workflow(id="rg-old-fan", max_retries=0)
    async def body(ctx: WorkflowContext) -> Any:
        one = [BatchWorkflowInput(id="rg-old-member", payload=None)]
        bad, batch = await asyncio.gather(
            ctx.step.run("flaky", flaky, max_retries=0),
            ctx.step.batch_invoke_and_wait("fan", one),
            return_exceptions=True,
        )
        if isinstance(bad, BaseException):
            raise bad
        assert not isinstance(batch, BaseException)
        return batch[0].result

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.settle()
        assert (await env.describe(handle)).status == "failed"
        late = next(one for one in world.messages if one.body.get("wf") == "rg-old-member")
        await env.client.retry(handle.id)
        await world.again(late, new_id=True).end()
        await env.settle()
        await world.again(late, new_id=True).end()
        await env.settle()
        assert (await env.describe(handle)).status == "waiting"
        assert await env.finish(handle) == "new"


@law
async def test_a_batch_that_is_begun_again_wakes_its_parent_once(world: World) -> None:
    """The batch ended after the failure that a retry drops: its children run again, and are counted anew."""
    flaky = Once()

    @workflow(id="rg-member")
    async def child(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.wait_for("pause", minutes=1 + n)
        return n

    @workflow(id="rg-fan", max_retries=0)
    async def body(ctx: WorkflowContext) -> Any:
        inputs = [BatchWorkflowInput(id="rg-member", payload=n) for n in range(3)]
        flakes, results = await asyncio.gather(
            ctx.step.run("flaky", flaky, max_retries=0),
            ctx.step.batch_invoke_and_wait("fan", inputs),
            return_exceptions=True,
        )
        if isinstance(flakes, BaseException):
            raise flakes
        assert not isinstance(results, BaseException)
        return [one.result for one in results]

    async with world.deploy(body, child) as env:
        handle = await env.start(body)
        await env.advance(minutes=10)
        before = (await env.describe(handle)).invocations
        assert (await env.describe(handle)).status == "failed"
        await env.client.retry(handle.id)
        assert await env.finish(handle) == [0, 1, 2]
        detail = await env.describe(handle)
        assert detail.invocations - before == 2, "one to begin the batch, one for its end"
        assert len(detail.children) == 3


@law
async def test_a_claim_that_comes_after_a_retry_takes_no_wake_with_it(world: World) -> None:
    """The claim of the run that failed was sent twice, and its second copy is slow: it lands while the retried run
    sleeps, for an invocation that is over. The timer's wake would leave a mark with it and be gone."""
    flaky = Once()

    @workflow(id="rg-late-claim", max_retries=0)
    async def body(ctx: WorkflowContext) -> str:
        got = await ctx.step.run("flaky", flaky, max_retries=0)
        await ctx.step.wait_for("pause", seconds=10)
        return got

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        (start,) = world.messages
        await env.client.retry(handle.id)
        await env.settle()
        assert (await env.describe(handle)).status == "waiting"
        now, tag = int(env.now.timestamp() * 1000), message_tag(start.id)
        with contextlib.suppress(ConditionFailed):
            Ledger(world.table).claim(handle.id, token="of before", tag=tag, now=now, until=now + 29_000, start=None)
        assert await env.finish(handle) == "good"


@law
async def test_a_retry_begins_the_time_limit_anew(world: World) -> None:
    flaky = Once()

    @workflow(id="rg-limit", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("flaky", flaky, max_retries=0)
        await ctx.step.wait_for("short", minutes=9)
        await ctx.step.wait_for_event("never", "rg/never")

    async with world.deploy(body) as env:
        handle = await env.start(body, run_timeout_seconds=600)
        await env.advance(hours=1)
        await env.client.retry(handle.id)
        await env.advance(minutes=9, seconds=59)
        assert (await env.describe(handle)).status == "waiting"
        await env.advance(seconds=2)
        assert (await env.describe(handle)).status == "timed_out"
        with pytest.raises(WorkflowTimeoutError):
            await env.finish(handle)


@law
async def test_a_retry_forgets_a_cancel_that_came_too_late(world: World) -> None:
    """The owner stands at the write that ends the execution as failed when the cancel is noted."""
    flaky = Once()

    @workflow(id="rg-late-cancel", max_retries=0)
    async def body(ctx: WorkflowContext) -> str:
        got = await ctx.step.run("flaky", flaky, max_retries=0)
        await ctx.step.wait_for("pause", hours=1)
        return got

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("finish")
        owner = world.begin()
        await gate.reach()
        await env.cancel(handle)
        await env.settle()
        gate.release()
        await owner.end()
        assert (await env.describe(handle)).status == "failed"
        await env.client.retry(handle.id)
        assert await env.finish(handle) == "good"


@law
async def test_a_stalled_retry_deletes_no_resume_that_came_since(world: World) -> None:
    """Two copies of a retry: one stands before it drops the old resume, the other opens the execution again, which
    asks anew and is answered; then the first goes on."""
    flaky = Once()

    @workflow(id="rg-stalled", max_retries=0)
    async def body(ctx: WorkflowContext) -> Any:
        flakes, answer = await asyncio.gather(
            ctx.step.run("flaky", flaky, max_retries=0), ctx.step.suspend("ask"), return_exceptions=True
        )
        if isinstance(flakes, BaseException):
            raise flakes
        assert not isinstance(answer, BaseException)
        return answer["data"]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.resume(handle, "ask", "old")
        await env.settle()
        assert (await env.describe(handle)).status == "failed"
        retry = Outgoing({"t": "retry", "x": handle.id, "wf": "rg-stalled", "n": 0})
        env.harness.engine.backend.inbox.send([retry, retry])
        gate = world.wire.block("delete r#ask")
        stalled = world.begin()
        await gate.reach()
        await env.advance(seconds=1)
        assert (await env.describe(handle)).status == "waiting"
        await env.resume(handle, "ask", "new")
        answer = world.take()
        fault = world.wire.crash(f"claim {handle.id}$")
        assert (await world.begin(answer).end()).died, "the answer is on record, and nobody has observed it yet"
        assert fault.reached
        gate.release()
        await stalled.end()
        assert world.is_recorded(handle.id, "ask")
        assert await env.finish(handle) == "new"
        assert world.execution(handle)[items.GENERATION] == 1


@law
async def test_a_fork_whose_start_arrives_before_the_clients_own_write_repeats_no_step(world: World) -> None:
    """The handler's claim creates the execution, at epoch 1, where a turn has nothing to read but for a fork."""

    @workflow(id="rg-fork")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return [await ctx.step.run("one", world.effect, 1), await ctx.step.run("two", world.effect, 2)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == [1, 2]
        world.effects.clear()
        fork = await env.client.fork(handle.id, from_step="two")
        world.table.delete(items.execution(fork.id))  # as if it had not been made yet
        assert await env.finish(fork) == [1, 2]
        assert [key for key, _ in world.effects] == ["two"]


@law
async def test_a_retry_of_a_step_leaves_a_batch_alone_whose_key_begins_alike(world: World) -> None:
    """The outcomes of the batch `page#2` are kept under names that begin as those of a batch `page` would."""
    flaky = Once()

    @workflow(id="rg-page")
    async def page(ctx: WorkflowContext, number: int) -> int:
        return number

    @workflow(id="rg-pages", max_retries=0)
    async def body(ctx: WorkflowContext) -> Any:
        many = [BatchWorkflowInput(id="rg-page", payload=number) for number in range(3)]
        got = await ctx.step.batch_invoke_and_wait("page#2", many)
        return [one.result for one in got], await ctx.step.run("page", flaky, max_retries=0)

    async with world.deploy(body, page) as env:
        handle = await env.start(body)
        await env.settle()
        assert (await env.describe(handle)).status == "failed"
        await env.client.retry(handle.id)
        assert await env.finish(handle) == ([0, 1, 2], "good")
