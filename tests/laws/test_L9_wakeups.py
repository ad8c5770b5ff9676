"""L9 no lost wake-up: an event published at any moment after the start reaches a matching wait, oldest first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from polos import StepTimeoutError, WorkflowContext, workflow
from polos.clock import next_sequence
from polos.core.codec import encode
from polos.ports import Event
from tests.laws.worlds import World, law, shuffled


def one_wait(topic: str = "l9/topic", **options: Any) -> Any:
    @workflow(id="l9-one")
    async def body(ctx: WorkflowContext) -> Any:
        try:
            return (await ctx.step.wait_for_event("wait", topic, **options)).data
        except StepTimeoutError:
            return "timeout"

    return body


def make_event(world: World, topic: str, data: Any, *, at_ms: int | None = None, event_id: str | None = None) -> Event:
    engine = world.env.harness.engine
    sequence = next_sequence(engine.now()) if at_ms is None else (at_ms << 20) + 1
    return Event(event_id or f"event-{data}", topic, sequence, None, encode(data))


@law
async def test_L9_an_event_published_before_the_wait_is_reached(world: World) -> None:
    @workflow(id="l9-before")
    async def body(ctx: WorkflowContext) -> Any:
        await ctx.step.wait_for("pause", hours=5)
        return (await ctx.step.wait_for_event("wait", "l9/before")).data

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l9/before", "early")
        await env.settle()
        assert await env.finish(handle) == "early"


@law
async def test_L9_an_event_published_between_start_and_the_first_invocation(world: World) -> None:
    body = one_wait()
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.publish("l9/topic", "at once")
        assert await env.finish(handle) == "at once"


@law
async def test_L9_an_event_from_before_the_start_is_not_delivered(world: World) -> None:
    body = one_wait(timeout=60)
    async with world.deploy(body) as env:
        await env.publish("l9/topic", "old")
        await env.advance(seconds=5)
        assert await env.finish(await env.start(body)) == "timeout"


@law
async def test_L9_an_event_published_after_the_registration(world: World) -> None:
    body = one_wait()
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(hours=3)
        await env.publish("l9/topic", "late")
        await env.settle()
        assert await env.finish(handle) == "late"
        assert world.waiters("l9/topic") == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", ["put w#", "query e#", "suspend"])
@pytest.mark.parametrize("timeout", [None, 3600], ids=["", "with a time limit"])
@law
async def test_L9_an_event_delivered_at_each_moment_of_the_registration(
    world: World, at: str, after: bool, timeout: float | None
) -> None:
    body = one_wait(timeout=timeout)
    async with world.deploy(body) as env:
        handle = await env.start(body)
        start = world.take()

        def event_comes() -> None:
            env.harness.engine.backend.topics.publish([make_event(world, "l9/topic", "during")])
            world.deliver_due()

        fault = world.wire.meanwhile(at, event_comes, after=after)
        await world.begin(start).end()
        assert fault.reached
        await env.settle()
        detail = await env.describe(handle)
        assert (detail.status, detail.result) == ("completed", "during")


@law
async def test_L9_a_wake_that_meets_the_owner_at_every_request_is_not_lost(world: World) -> None:
    """The deliverer's wake is handled while the owner stands at each of its requests in turn."""

    @workflow(id="l9-owner")
    async def body(ctx: WorkflowContext, run: str) -> list[Any]:
        first = await ctx.step.run("a", world.effect)
        event = await ctx.step.wait_for_event("wait", f"l9/{run}")
        return [first, event.data]

    async with world.deploy(body) as env:
        nth, reached = 0, True
        while reached:
            nth += 1
            run = f"run{nth}"
            handle = await env.start(body, run)
            start = world.take()

            def event_comes(run: str = run) -> None:
                env.harness.engine.backend.topics.publish([make_event(world, f"l9/{run}", run)])
                world.deliver_due()

            fault = world.wire.meanwhile("", event_comes, nth=nth)
            await world.begin(start).end()
            reached = fault.reached
            world.wire.quiet()
            if not reached:
                await env.publish(f"l9/{run}", run)
            await env.settle()
            detail = await env.describe(handle)
            assert (detail.status, detail.result) == ("completed", ["a", run]), (nth, fault.hit)
        assert nth > 5


@law
async def test_L9_the_oldest_event_comes_first_however_late_it_was_delivered(world: World) -> None:
    @workflow(id="l9-order")
    async def body(ctx: WorkflowContext) -> list[Any]:
        await ctx.step.wait_for("pause", hours=1)
        return [(await ctx.step.wait_for_event(f"wait {n}", "l9/order")).data for n in range(5)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        for n in range(5):
            await env.publish("l9/order", n)
            await env.advance(seconds=1) if n == 2 else None
        await world.settle_in(lambda batch: batch[::-1])
        assert await env.finish(handle) == [0, 1, 2, 3, 4]


@law
async def test_L9_an_older_event_that_arrives_after_a_newer_was_taken_goes_to_the_next_wait(world: World) -> None:
    @workflow(id="l9-late")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return [(await ctx.step.wait_for_event(f"wait {n}", "l9/late")).data for n in range(3)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l9/late", "older")
        held = world.take()
        await env.advance(seconds=1)
        await env.publish("l9/late", "newer")
        await env.settle()
        await world.begin(held).end()
        await env.settle()
        await env.publish("l9/late", "newest")
        assert await env.finish(handle) == ["newer", "older", "newest"]


@law
async def test_L9_two_waits_on_one_topic_take_two_different_events(world: World) -> None:
    @workflow(id="l9-two")
    async def body(ctx: WorkflowContext) -> list[Any]:
        got = await asyncio.gather(*(ctx.step.wait_for_event(f"wait {n}", "l9/two") for n in range(3)))
        await ctx.step.run("after", world.effect)
        await ctx.step.wait_for("pause", hours=1)
        return [event.data for event in got]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l9/two", 0)
        await env.settle()
        await env.publish("l9/two", 1)
        await env.publish("l9/two", 2)
        assert await env.finish(handle) == [0, 1, 2]


@law
async def test_L9_every_execution_that_waits_gets_the_event(world: World) -> None:
    body = one_wait("l9/broadcast")
    async with world.deploy(body) as env:
        handles = [await env.start(body) for _ in range(12)]
        await env.settle()
        await env.publish("l9/broadcast", "all")
        await env.settle()
        assert [await env.finish(handle) for handle in handles] == ["all"] * 12


@law
async def test_L9_an_event_published_twice_is_one_event(world: World) -> None:
    @workflow(id="l9-duplicates")
    async def body(ctx: WorkflowContext) -> list[Any]:
        return [(await ctx.step.wait_for_event(f"wait {n}", "l9/duplicates")).data for n in range(3)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l9/duplicates", "one", event_id="same")
        await env.settle()
        await env.advance(seconds=1)
        await env.publish("l9/duplicates", "one again", event_id="same")
        await env.settle()
        assert (await env.describe(handle)).status == "waiting"
        await env.publish("l9/duplicates", "two", event_id="other")
        await env.settle()
        await env.publish("l9/duplicates", "one, for the third time", event_id="same")
        await env.publish("l9/duplicates", "three")
        assert await env.finish(handle) == ["one", "two", "three"]


@law
async def test_L9_a_wait_for_a_type_leaves_other_events_to_other_waits(world: World) -> None:
    @workflow(id="l9-types")
    async def body(ctx: WorkflowContext) -> list[Any]:
        typed = await ctx.step.wait_for_event("typed", "l9/types", event_type="b")
        any_ = await ctx.step.wait_for_event("any", "l9/types")
        return [typed.data, any_.data]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.publish("l9/types", 1, event_type="a")
        await env.publish("l9/types", 2, event_type="b")
        assert await env.finish(handle) == [2, 1]


@law
async def test_L9_an_event_taken_by_a_wait_that_nobody_observed_goes_to_the_next(world: World) -> None:
    @workflow(id="l9-unobserved")
    async def body(ctx: WorkflowContext) -> list[Any]:
        wait = asyncio.create_task(ctx.step.wait_for_event("first", "l9/unobserved"))
        await ctx.step.wait_for("pause", minutes=1)
        if not wait.done():
            wait.cancel()
        await ctx.step.run("after", world.effect)
        return [wait.cancelled(), (await ctx.step.wait_for_event("second", "l9/unobserved")).data]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(minutes=2)
        await env.publish("l9/unobserved", "one")
        assert await env.finish(handle) == [True, "one"]


@pytest.mark.parametrize("first", ["event", "limit"])
@law
async def test_L9_an_event_and_the_time_limit_of_its_wait(world: World, first: str) -> None:
    body = one_wait(timeout=60)
    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        if first == "event":
            await env.advance(seconds=59)
            await env.publish("l9/topic", "in time")
            held = world.take()
            env.harness.clock.advance(10)  # published in time, delivered late
            await world.begin(held).end()
            assert await env.finish(handle) == "in time"
        else:
            await env.advance(seconds=61)
            await env.publish("l9/topic", "too late")
            assert await env.finish(handle) == "timeout"
            assert world.waiters("l9/topic") == []


@law
async def test_L9_an_event_that_is_published_by_a_step_reaches_waits_and_triggers_once(world: World) -> None:
    body = one_wait("l9/published")
    seen: list[Any] = []

    @workflow(id="l9-publisher")
    async def publisher(ctx: WorkflowContext) -> None:
        await ctx.step.publish_event("tell", "l9/published", {"n": 1}, event_type="kind")
        await ctx.step.wait_for("pause", minutes=1)

    @workflow(id="l9-triggered", trigger_on_event="l9/published")
    async def triggered(ctx: WorkflowContext, event: Any) -> None:
        seen.append(event)

    async with world.deploy(body, publisher, triggered) as env:
        waiting = await env.start(body)
        await env.settle()
        await env.finish(await env.start(publisher))
        assert await env.finish(waiting) == {"n": 1}
        await env.settle()
        assert [(one.data, one.event_type) for one in seen] == [({"n": 1}, "kind")]


@pytest.mark.parametrize("seed", range(4))
@law
async def test_L9_nothing_is_lost_in_any_order_of_messages(world: World, seed: int) -> None:
    order: Callable[..., Any] = shuffled(seed)

    @workflow(id="l9-any-order")
    async def body(ctx: WorkflowContext, run: int) -> list[Any]:
        waits = (ctx.step.wait_for_event(f"wait {n}", f"l9/{seed}/{n % 2}") for n in range(4))
        got = await asyncio.gather(*waits)
        return [event.data for event in got]

    async with world.deploy(body) as env:
        handles = [await env.start(body, run) for run in range(3)]
        for n in range(4):
            await env.publish(f"l9/{seed}/{n % 2}", n)
        await world.settle_in(order)
        for handle in handles:
            assert sorted(await env.finish(handle)) == [0, 1, 2, 3]


ENDS: dict[str, Any] = {
    "a task left behind": lambda ctx, wait: ctx.step.wait_for("pause", hours=1),
    "a failure beside it": lambda ctx, wait: asyncio.gather(wait, ctx.step.run("bad", _fails, max_retries=0)),
    "a group that fails": lambda ctx, wait: _group(ctx, wait),
    "cancelled": lambda ctx, wait: ctx.step.wait_for("pause", days=9),
    "timed out": lambda ctx, wait: ctx.step.wait_for("pause", days=99),
}


def _fails() -> None:
    raise ValueError("bad")


async def _group(ctx: WorkflowContext, wait: Any) -> None:
    async with asyncio.TaskGroup():
        await ctx.step.wait_for("pause", minutes=1)
        await ctx.step.run("bad", _fails, max_retries=0)


@pytest.mark.parametrize("end", [*ENDS])
@law
async def test_L9_an_execution_that_ends_leaves_no_waiter_behind(world: World, end: str) -> None:
    @workflow(id="l9-ends", max_retries=0)
    async def body(ctx: WorkflowContext) -> None:
        wait = asyncio.create_task(ctx.step.wait_for_event("wait", "l9/ends"))
        await ENDS[end](ctx, wait)

    async with world.deploy(body) as env:
        handle = await env.start(body, run_timeout_seconds=30 * 86_400)
        await env.settle()
        if end == "cancelled":
            assert len(world.waiters("l9/ends")) == 1
            await env.cancel(handle)
        await env.advance(days=31)
        assert (await env.describe(handle)).status in ("completed", "failed", "cancelled", "timed_out")
        assert world.waiters("l9/ends") == []
