"""SPEC 4: pausing a whole queue and a whole workflow during an incident; on every backend."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from polos import EventPattern, InvalidPayloadError, WorkflowCancelledError, WorkflowContext, workflow
from polos.engine import controls
from polos.engine.worker import Worker
from polos.ports import Message
from tests.features.held import lines
from tests.features.listing import listed
from tests.laws.worlds import World, law


async def statuses(world: World) -> list[str]:
    return sorted(line.status for line in await listed(world.env))


def release_of(world: World, number: str, name: str, message_id: str = "late") -> Message:
    body = {"t": "release", "c": ["workflow", name], "n": number}
    return Message(message_id, body, 1, lambda _: None)


@law
async def test_pause_of_a_workflow_keeps_starts_triggers_and_ticks_for_later(world: World) -> None:
    @workflow(id="held-start")
    async def started(ctx: WorkflowContext, n: int) -> int:
        return await ctx.step.run("work", world.effect, n)

    @workflow(id="held-topic", trigger_on_event="held/topic")
    async def on_topic(ctx: WorkflowContext, event: dict) -> None:
        await ctx.step.run("work", world.effect)

    @workflow(id="held-native", trigger_on_event=EventPattern({"source": ["shop"]}))
    async def on_native(ctx: WorkflowContext, event: dict) -> None:
        await ctx.step.run("work", world.effect)

    @workflow(id="held-tick", schedule="*/10 * * * *")
    async def on_tick(ctx: WorkflowContext) -> None:
        await ctx.step.run("work", world.effect)

    @workflow(id="held-not")
    async def parent(ctx: WorkflowContext) -> int:
        return await ctx.step.invoke_and_wait("child", started, 2)

    held = [started, on_topic, on_native, on_tick]
    async with world.deploy(parent, *held) as env:
        for one in held:
            await env.client.pause_workflow(one)
        await env.client.pause_workflow("held-start")
        assert [(one.kind, one.name) for one in await env.client.list_paused()] == [
            ("workflow", one) for one in ("held-native", "held-start", "held-tick", "held-topic")
        ]
        handle, other = await env.start(started, 1), await env.start(parent)
        await env.publish("held/topic", 1)
        await env.put_event("shop", "Sold", {})
        await env.advance(minutes=11)
        assert world.effects == []
        assert await statuses(world) == ["queued"] * 5 + ["waiting"]
        detail = await env.describe(handle)
        assert (detail.status, detail.paused_at) == ("queued", None)
        assert detail.held_by is not None
        assert (detail.held_by.kind, detail.held_by.name) == ("workflow", "held-start")
        for one in held:
            await env.client.unpause_workflow(one.id)
        assert await env.client.list_paused() == []
        assert await env.finish(handle) == 1
        assert await env.finish(other) == 2
        await env.settle()
        assert await statuses(world) == ["completed"] * 6
        assert (await env.describe(handle)).held_by is None


@law
async def test_pause_of_a_queue_holds_what_is_in_it_and_nothing_else(world: World) -> None:
    @workflow(id="held-a", queue={"name": "mail", "concurrency_limit": 2})
    async def limited(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.wait_for("nap", minutes=1)
        return await ctx.step.run("work", world.effect, n)

    @workflow(id="held-b")
    async def plain(ctx: WorkflowContext) -> str:
        return await ctx.step.run("free", world.effect)

    async with world.deploy(limited, plain) as env:
        before = [await env.start(limited, n) for n in range(3)]
        await env.settle()
        await env.client.pause_queue("mail")
        later = [await env.start(limited, n) for n in range(3, 6)]
        other, inside = await env.start(plain), await env.start(plain, queue="mail")
        await env.advance(minutes=10)
        assert [key for key, _ in world.effects] == ["free"]
        assert await env.finish(other) == "free"
        detail = await env.describe(before[0])
        assert (detail.status, detail.held_by.name if detail.held_by else None) == ("waiting", "mail")
        await env.client.unpause_queue("mail")
        assert [await env.finish(one) for one in [*before, *later]] == list(range(6))
        assert await env.finish(inside) == "free"


@law
async def test_pause_ends_the_steps_that_run_and_starts_no_other(world: World) -> None:
    @workflow(id="held-running")
    async def body(ctx: WorkflowContext) -> str:
        await ctx.step.run("first", first)
        await ctx.step.publish_event("tell", "held/told", 1)
        return await ctx.step.run("second", world.effect)

    async def first() -> None:
        await world.env.client.pause_workflow("held-running")

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.advance(hours=1)
        assert [step.key for step in (await env.describe(handle)).steps] == ["first"]
        assert (await env.describe(handle)).status == "waiting"
        await env.client.unpause_workflow(body)
        assert await env.finish(handle) == "second"


@law
async def test_pause_lets_cancel_and_terminate_through(world: World) -> None:
    @workflow(id="held-cancelled")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("nap", minutes=1)
            await ctx.step.run("work", world.effect)
        finally:
            await ctx.step.run("cleanup", world.effect)

    async with world.deploy(body) as env:
        slept = await env.start(body)
        await env.settle()
        await env.client.pause_workflow(body)
        fresh, ended = await env.start(body), await env.start(body)
        await env.advance(minutes=2)
        assert world.effects == []
        await env.cancel(slept)
        await env.cancel(fresh)
        await env.client.terminate(ended.id)
        for one in (slept, fresh, ended):
            with pytest.raises(WorkflowCancelledError):
                await env.finish(one)
        assert [key for key, _ in world.effects] == ["cleanup"], "of the one that had begun"
        await env.client.unpause_workflow(body)
        await env.settle()
        assert await statuses(world) == ["cancelled"] * 3


@law
async def test_pause_of_both_queue_and_workflow_holds_until_both_are_lifted(world: World) -> None:
    @workflow(id="held-both", queue="held-both-queue")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        await env.client.pause_queue("held-both-queue")
        handle = await env.start(body)
        await env.settle()
        await env.client.unpause_queue("held-both-queue")
        await env.settle()
        assert world.effects == []
        assert (await env.describe(handle)).held_by.kind == "workflow"  # type: ignore[union-attr]
        await env.client.unpause_queue("held-both-queue")
        await env.client.unpause_workflow(body)
        assert await env.finish(handle) == "work"


@law
async def test_unpause_between_the_place_and_the_look_lets_it_go_on(world: World) -> None:
    @workflow(id="held-look")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        (hold,) = env.harness.engine.controls.refresh()
        fault = world.wire.meanwhile(
            "get paused of h#", lambda: controls.unpause(env.harness.engine, "workflow", body.id)
        )
        handle = await env.start(body)
        assert await env.finish(handle) == "work"
        assert fault.hit
        assert lines(world, hold.number) == []
        assert (await env.describe(handle)).invocations == 1


@law
async def test_unpause_between_the_look_and_the_suspend_is_not_slept_through(world: World) -> None:
    """H: place, still paused → | unpause: removes, wakes H, which marks it | H's suspend is refused: it looks again."""

    @workflow(id="held-suspend")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        gate = world.wire.block("suspend ")
        handle = await env.start(body)
        holder = world.begin()
        await gate.reach()
        await env.client.unpause_workflow(body)
        await asyncio.to_thread(lambda: [delivery.run() for delivery in world.take_all()])
        wake = world.take()
        await asyncio.to_thread(wake.run)
        gate.release()
        await holder.end()
        assert await env.finish(handle) == "work"
        assert world.ran("work") == 1


@law
async def test_pause_that_follows_at_once_is_not_lifted_by_a_late_copy_of_the_unpause_before(world: World) -> None:
    @workflow(id="held-again")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        (first,) = env.harness.engine.controls.refresh()
        await env.client.unpause_workflow(body)
        await env.client.pause_workflow(body)
        (second,) = env.harness.engine.controls.refresh()
        assert first.number != second.number
        handle = await env.start(body)
        await env.settle()
        worker = Worker(env.harness.engine)
        for copy in range(2):
            assert await asyncio.to_thread(worker.handle, release_of(world, first.number, body.id, f"late-{copy}"))
        await env.settle()
        assert lines(world, second.number) == [handle.id]
        assert world.effects == []
        await env.client.unpause_workflow(body)
        assert await env.finish(handle) == "work"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("request_line", ["update paused of h#", "query w# of h#", "send wake", "delete w#"])
@law
async def test_unpause_loses_nobody_whatever_crashes(world: World, request_line: str, after: bool) -> None:
    @workflow(id="held-crash")
    async def body(ctx: WorkflowContext, n: int) -> int:
        return await ctx.step.run("work", world.effect, n)

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        (hold,) = env.harness.engine.controls.refresh()
        handles = [await env.start(body, n) for n in range(3)]
        await env.settle()
        assert len(lines(world, hold.number)) == 3
        fault = world.wire.crash(request_line, after=after)
        await env.client.unpause_workflow(body)
        assert [await env.finish(one) for one in handles] == [0, 1, 2]
        await env.advance(minutes=10)
        assert fault.hit
        assert lines(world, hold.number) == []
        assert env.harness.engine.controls.refresh() == []
    assert world.ran("work") == 3


@law
async def test_unpause_whose_sender_dies_after_the_message_happens(world: World) -> None:
    @workflow(id="held-sender")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        (hold,) = env.harness.engine.controls.refresh()
        handle = await env.start(body)
        await env.settle()
        worker = Worker(env.harness.engine)
        for copy in range(2):
            assert await asyncio.to_thread(worker.handle, release_of(world, hold.number, body.id, f"copy-{copy}"))
        assert await env.client.list_paused() == []
        assert await env.finish(handle) == "work"


@pytest.mark.parametrize("put_or_get", ["put w#", "get paused", "suspend "])
@pytest.mark.parametrize("after", [False, True])
@law
async def test_a_held_invocation_that_dies_is_held_again(world: World, put_or_get: str, after: bool) -> None:
    @workflow(id="held-dies")
    async def body(ctx: WorkflowContext) -> str:
        return await ctx.step.run("work", world.effect)

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        fault = world.wire.crash(put_or_get, after=after)
        handle = await env.start(body)
        await env.advance(minutes=30)
        assert fault.hit
        assert world.effects == []
        assert (await env.describe(handle)).status in ("queued", "waiting")
        await env.client.unpause_workflow(body)
        assert await env.finish(handle) == "work"


@law
async def test_unpause_hands_over_a_long_line_near_the_end_of_its_invocation(world: World) -> None:
    @workflow(id="held-long")
    async def body(ctx: WorkflowContext, n: int) -> int:
        return n

    async with world.deploy(body) as env:
        await env.client.pause_workflow(body)
        (hold,) = env.harness.engine.controls.refresh()
        handles = [await env.start(body, n) for n in range(120)]
        await env.settle()
        assert len(lines(world, hold.number)) == 120
        worker, message = Worker(env.harness.engine), release_of(world, hold.number, body.id)
        assert await asyncio.to_thread(worker.handle, message, lambda: 5.0)
        assert len(lines(world, hold.number)) == 20
        await env.settle()
        assert lines(world, hold.number) == []
        assert [await env.finish(one) for one in handles] == list(range(120))


@law
async def test_pause_of_what_cannot_be_is_refused(world: World) -> None:
    async with world.deploy() as env:
        with pytest.raises(InvalidPayloadError, match="1 to 512"):
            await env.client.pause_queue("")
        with pytest.raises(InvalidPayloadError, match="1 to 512"):
            await env.client.unpause_workflow("w" * 600)
        await env.client.unpause_queue("was-never-paused")
        worker = Worker(env.harness.engine)
        bad: list[dict[str, Any]] = [
            {},
            {"c": ["queue"], "n": "1-a"},
            {"c": ["shop", "x"], "n": "1-a"},
            {"c": ["queue", "x"], "n": 1},
        ]
        for body in bad:
            with pytest.raises(InvalidPayloadError, match="release message"):
                await asyncio.to_thread(worker.handle, Message("m", {"t": "release", **body}, 1, lambda _: None))
        assert await env.client.list_paused() == []
