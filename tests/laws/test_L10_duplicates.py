"""L10 no duplicates: repeated, reordered and delayed messages never give a second result, child, event or tick."""

from __future__ import annotations

from typing import Any

import pytest

from polos import SchedulePayload, WorkflowCancelledError, WorkflowContext, workflow
from polos.engine import commands
from polos.ports import Message
from tests.laws.mixed import Mixed
from tests.laws.worlds import World, law, shuffled


@pytest.mark.parametrize("new_id", [False, True], ids=["the same id", "sent twice"])
@law
async def test_L10_every_message_comes_again_at_once(world: World, new_id: bool) -> None:
    """Each message is handled a second time before anything else happens, delivered twice or sent twice."""
    mixed = Mixed(world)
    async with world.deploy(*mixed.workflows):
        calm = await mixed.start("calm")
        expected = await mixed.finish(calm)
        trace = mixed.trace(calm)
        world.effects.clear()
        twice = world.after_each(lambda message: world.again(message, new_id=new_id).join())
        handle = await mixed.start("twice")
        assert await mixed.finish(handle) == expected
        assert twice.count > 12
        assert mixed.trace(handle) == trace
        assert {"start", "wake", "resume", "event"} <= {str(message.body["t"]) for message in world.messages}
        assert all(world.ran(key) == 1 for key, _ in world.effects if key != "flaky")
        assert world.ran("flaky") == 2
        assert world.repeated == []


@law
async def test_L10_every_message_comes_again_after_the_end_in_reverse(world: World) -> None:
    mixed = Mixed(world)
    async with world.deploy(*mixed.workflows) as env:
        handle = await mixed.start("late")
        expected = await mixed.finish(handle)
        partition, effects = world.records(handle), list(world.effects)
        detail = await env.describe(handle)
        for message in reversed(list(world.messages)):
            for new_id in (False, True):
                await world.again(message, new_id=new_id).end()
                await env.settle()
        await env.advance(days=1)
        assert world.effects == effects
        assert world.records(handle) == partition
        assert await env.describe(handle) == detail
        assert await env.finish(handle) == expected


@pytest.mark.parametrize("seed", range(6))
@law
async def test_L10_messages_in_any_order(world: World, seed: int) -> None:
    mixed = Mixed(world)
    async with world.deploy(*mixed.workflows) as env:
        calm = await mixed.start("calm")
        expected = await mixed.finish(calm)
        trace = mixed.trace(calm)
        world.effects.clear()
        handle = await mixed.start("shuffled")
        for _ in range(60):
            await world.settle_in(shuffled(seed))
            due = env.harness.next_due()
            if due is None:
                break
            env.harness.clock.jump(due)
        assert await env.finish(handle) == expected
        assert mixed.trace(handle) == trace
        assert world.repeated == []
        assert all(world.ran(key) == 1 for key, _ in world.effects if key != "flaky")


@pytest.mark.parametrize("new_id", [False, True], ids=["the same id", "sent twice"])
@law
async def test_L10_a_copy_that_arrives_while_the_first_is_being_handled(world: World, new_id: bool) -> None:
    """The copy is neither a second owner nor a reason to forget the first: it dies, and the execution goes on."""

    @workflow(id="l10-copy")
    async def body(ctx: WorkflowContext) -> list[str]:
        return [await ctx.step.run("a", world.effect), await ctx.step.run("b", world.effect)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put r#a")
        first = world.begin()
        await gate.reach()
        copy = await world.again(world.messages[0], new_id=new_id).end()
        assert copy.answer is new_id, "a copy of the owner's own message is not deleted: it is the owner's redelivery"
        assert world.ran("a") == 1
        fault = world.wire.crash("put r#b")
        gate.release()
        await first.end()
        assert fault.reached
        assert first.died
        await env.advance(seconds=31)
        assert await env.finish(handle) == ["a", "b"]
    assert world.ran("a") == 1
    assert world.ran("b") == 2


@law
async def test_L10_a_copy_of_a_message_whose_work_is_done_takes_no_lease(world: World) -> None:
    @workflow(id="l10-spent")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("pause", hours=1)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        epoch = (await env.describe(handle)).invocations
        for _ in range(3):
            assert (await world.again(world.messages[0]).end()).answer is True
        assert (await env.describe(handle)).invocations == epoch


@law
async def test_L10_a_start_that_is_repeated_starts_one_execution(world: World) -> None:
    @workflow(id="l10-start")
    async def body(ctx: WorkflowContext, n: int) -> int:
        await ctx.step.run("once", world.effect)
        return n

    async with world.deploy(body) as env:
        handles = [await env.start(body, 7, id="order-7") for _ in range(3)]
        assert {handle.id for handle in handles} == {"order-7"}
        assert await env.finish(handles[0]) == 7
        again = await env.start(body, 7, id="order-7")
        assert await env.finish(again) == 7
    assert world.ran("once") == 1


@law
async def test_L10_two_starts_of_one_id_at_once_the_stored_payload_stands(world: World) -> None:
    """Both clients look before either has written; the message of the one that lost is delivered first."""

    @workflow(id="l10-twins")
    async def body(ctx: WorkflowContext, text: str) -> str:
        await ctx.step.run("first turn", world.effect, text[:5])
        await ctx.step.wait_for("pause", hours=1)
        return text[:5]

    async with world.deploy(body) as env:
        for run, (one, two) in enumerate([("one", "two"), ("one" * 999, "two" * 999), ("one", "two" * 999)]):
            name = f"twins-{run}"
            await env.start(body, two, id=name)
            sent = world.take()
            world.forget(name)
            handle = await env.start(body, one, id=name)
            await world.begin(sent).end()
            assert await env.finish(handle) == one[:5]
            assert world.records(name)["r#first turn"]["v"] == f'"{one[:5]}"'


@pytest.mark.parametrize("second", ["another resume", "a copy"])
@law
async def test_L10_the_first_resume_counts(world: World, second: str) -> None:
    @workflow(id="l10-resume")
    async def body(ctx: WorkflowContext) -> list[Any]:
        first = await ctx.step.suspend("ask")
        await ctx.step.wait_for("pause", hours=1)
        return [first["data"], (await ctx.step.suspend("ask again", timeout=60))["data"]]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.resume(handle, "ask", 1)
        await env.settle()
        if second == "a copy":
            resumed = next(message for message in world.messages if message.body["t"] == "resume")
            await world.again(resumed, new_id=True).end()
        else:
            await env.resume(handle, "ask", 2)
        await env.advance(hours=1)
        await env.resume(handle, "ask again", 3)
        assert await env.finish(handle) == [1, 3]


@law
async def test_L10_a_cancel_that_is_repeated_cancels_once(world: World) -> None:
    @workflow(id="l10-cancel")
    async def body(ctx: WorkflowContext) -> None:
        try:
            await ctx.step.wait_for("pause", days=1)
        finally:
            await ctx.step.run("undo", world.effect)
            await ctx.step.wait_for("pause in the cleanup", hours=1)
            await ctx.step.run("undo more", world.effect)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        await env.cancel(handle)
        await env.settle()
        for message in [one for one in world.messages if one.body["t"] == "cancel"]:
            await world.again(message).end()
            await world.again(message, new_id=True).end()
        await env.cancel(handle)
        await env.settle()
        with pytest.raises(WorkflowCancelledError):
            await env.finish(handle)
    assert [key for key, _ in world.effects] == ["undo", "undo more"]


@law
async def test_L10_a_tick_that_is_repeated_or_late_starts_one_execution(world: World) -> None:
    ticks: list[Any] = []

    @workflow(id="l10-tick", schedule="0 8 * * *")
    async def daily(ctx: WorkflowContext, payload: SchedulePayload) -> None:
        ticks.append(await ctx.step.run("note", lambda: payload.timestamp))

    async with world.deploy(daily) as env:
        await env.advance(days=3)
        assert len(ticks) == 3
        for message in [one for one in world.messages if one.body["t"] == "tick"]:
            await world.again(message).end()
            await world.again(message, new_id=True).end()
        await env.settle()
        assert len(ticks) == len(set(ticks)) == 3
        assert len(await env.client.list_executions("l10-tick")) == 3


@law
async def test_L10_an_event_that_is_delivered_twice_triggers_one_execution(world: World) -> None:
    seen: list[Any] = []

    @workflow(id="l10-triggered", trigger_on_event="l10/topic")
    async def triggered(ctx: WorkflowContext, event: dict[str, Any]) -> None:
        seen.append(await ctx.step.run("note", lambda: event["data"]))

    async with world.deploy(triggered) as env:
        await env.publish("l10/topic", 1)
        await env.settle()
        for message in [one for one in world.messages if one.body["t"] == "event"]:
            await world.again(message, new_id=True).end()
        await env.publish("l10/topic", 2)
        await env.settle()
    assert seen == [1, 2]


@law
async def test_L10_a_wake_that_comes_too_early_costs_no_request(world: World) -> None:
    @workflow(id="l10-early")
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("pause", minutes=10)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        await env.settle()
        due = int((env.now.timestamp() + 600) * 1000)
        held: list[float] = []
        early = Message("early", commands.wake(handle.id, body.id, due=due), 1, held.append)
        before = len(world.wire.lines)
        assert (await world.again(early).end()).answer is False
        assert len(world.wire.lines) == before
