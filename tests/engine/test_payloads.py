"""Values that are too long, gone, unreadable or written by somebody who was too late. SPEC 2.4, L2, L12, SPEC 12."""

from __future__ import annotations

import asyncio
import threading
import zlib
from typing import Any

import pytest
from pydantic import BaseModel

from polos import InvalidPayloadError, StepExecutionError, WorkflowContext, workflow
from polos.clock import next_sequence
from polos.core import codec
from polos.core.codec import encode
from polos.engine.commands import Start
from polos.errors import PolosError
from polos.ports import Event
from tests.laws.worlds import World, law, noise, worlds


@law
async def test_a_refused_start_sends_nothing(world: World) -> None:
    @workflow(id="pl-same")
    async def body(ctx: WorkflowContext, n: int) -> int:
        return await ctx.step.run("seen", world.effect, n)

    async with world.deploy(body) as env:
        handle = await env.start(body, 1, id="same")
        sent = env.requests["SendMessage"]
        with pytest.raises(InvalidPayloadError, match="another payload"):
            await env.start(body, 2, id="same")
        assert env.requests["SendMessage"] == sent
        assert await env.finish(handle) == 1


@pytest.mark.parametrize("size", [600, 20_000, 1_400_000], ids=["inline", "beside", "stored"])
@law
async def test_a_start_of_the_same_payload_by_a_process_with_another_zlib_finds_the_first(
    world: World, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Builds of zlib differ in the bytes that they make of the same text."""

    @workflow(id="pl-zlib")
    async def body(ctx: WorkflowContext, given: str) -> int:
        return len(given)

    compress, payload = zlib.compress, noise(size // 2) + "x" * size

    def compress_otherwise(data: bytes) -> bytes:
        return compress(data, 1)

    async with world.deploy(body) as env:
        first = await env.start(body, payload, id="zlib")
        monkeypatch.setattr(codec.zlib, "compress", compress_otherwise)
        assert (await env.start(body, payload, id="zlib")).id == first.id
        with pytest.raises(InvalidPayloadError, match="another payload"):
            await env.start(body, payload + "y", id="zlib")
        assert await env.finish(first) == len(payload)
        assert (await env.start(body, payload, id="zlib")).id == first.id


@pytest.mark.parametrize("other", [2, "x" * 2000, noise(1_400_000)], ids=["inline", "beside", "stored"])
@law
async def test_a_start_message_with_another_payload_leaves_no_trace(world: World, other: Any) -> None:
    """Two clients saw nothing under the id; the one that lost the write has sent its message, and it claims first.
    Its payload must be neither what the body is given, live or on replay, nor what is shown."""

    @workflow(id="pl-twins")
    async def body(ctx: WorkflowContext, given: Any) -> Any:
        live = await ctx.step.run("live", world.effect, given)
        await ctx.step.wait_for("pause", hours=1)
        return [live, given]

    mine = noise(3000) if other == 2 else 1
    async with world.deploy(body) as env:
        kept = env.harness.engine.vault.stash(encode(other), owner="twins", what="it")
        lost = Start.of("twins", body.id, kept, 1_893_456_000_000, {})
        env.harness.engine.backend.inbox.send([lost.message()])
        first = world.take()
        handle = await env.start(body, mine, id="twins")
        await world.begin(first).end()
        assert await env.finish(handle) == [mine, mine]
        assert (await env.describe(handle)).payload == mine


class Held(BaseModel):
    text: str = ""


@law
async def test_a_final_state_of_an_owner_that_lost_does_not_replace_the_stored_one(world: World) -> None:
    """The zombie's write of its state is on the wire when its heir finishes with another one."""
    texts = iter([noise(2000, "zombie"), noise(2000, "heir")])

    @workflow(id="pl-state", state_schema=Held)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.run("a", world.effect)
        ctx.state.text = next(texts)

    async with world.deploy(body) as env:
        handle = await env.start(body)
        gate = world.wire.block("put p#state")
        zombie = world.begin()
        await gate.reach()
        await env.advance(seconds=31)
        gate.release()
        await zombie.end()
        await env.advance(minutes=5)
        shown = await env.client.get_execution(handle.id)
        assert shown["final_state"] == {"text": noise(2000, "heir")}


def test_nothing_of_an_open_child_is_removed_and_its_parent_goes_when_it_goes() -> None:
    """The parent has ended and its retention has passed. Its id leads to the child's, which a new run would take."""

    async def run() -> None:
        with worlds("memory") as world:

            @workflow(id="pl-child")
            async def child(ctx: WorkflowContext, text: str) -> int:
                kept = await ctx.step.run("kept", lambda: text)
                await ctx.step.wait_for("years", days=900)
                return len(kept) + len(text)

            @workflow(id="pl-leaves")
            async def body(ctx: WorkflowContext) -> None:
                await ctx.step.run("own", noise, 150_000, "own")
                await ctx.step.invoke("child", child, noise(200_000))

            async with world.deploy(body, child) as env:
                handle = await env.start(body)
                await env.advance(days=30)
                local: Any = env.harness
                assert local.local.table.expire(int(env.now.timestamp())) == 0
                keys = [row[0] for row in local.local.database.read("SELECT key FROM payloads")]
                stored = [key.split("#")[0] for key in keys]
                assert stored.count(f"{handle.id}/child") == 1, "one value, stored once"
                assert await env.finish(f"{handle.id}/child") == 400_000
                await env.advance(days=30)
                assert local.local.table.expire(int(env.now.timestamp())) >= 2
                assert world.records(handle) == {}
                assert local.local.database.read("SELECT key FROM payloads") == []
                assert local.local.database.read("SELECT root FROM homes") == []

    asyncio.run(run())


# ---- what one operation can't do is its own outcome


@law
async def test_a_wait_beyond_the_calendar_fails_at_the_await(world: World) -> None:
    @workflow(id="pl-year")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.wait_for("ages", weeks=520 * 1000)
        except (ValueError, OverflowError, PolosError):
            await ctx.step.wait_for("pause", hours=1)
            return await ctx.step.run("caught", world.effect)
        return "never"

    async with world.deploy(body) as env:
        handle = await env.start(body)
        assert await env.finish(handle) == "caught"
        assert (await env.describe(handle)).invocations == 2


@pytest.mark.parametrize("running", [False, True], ids=["suspended", "running"])
@law
async def test_an_event_of_a_newer_version_fails_the_wait_that_takes_it(world: World, running: bool) -> None:
    """The event reaches the owner while it waits for a step beside, or finds the execution asleep. The next wait takes
    the next event."""
    go = threading.Event()

    @workflow(id="pl-newer")
    async def body(ctx: WorkflowContext) -> list[Any]:
        async def wait(n: int) -> Any:
            try:
                return (await ctx.step.wait_for_event(f"wait {n}", "pl/newer")).data
            except StepExecutionError as error:
                return str(error)

        first, _ = await asyncio.gather(wait(1), ctx.step.run("beside", lambda: go.wait(20) and None))
        return [first, await wait(2)]

    async with world.deploy(body) as env:
        handle = await env.start(body)
        engine = env.harness.engine
        event = Event("newer", "pl/newer", next_sequence(engine.now()), None, '{"$":"unheard of"}')
        registered = world.wire.meanwhile("query e#", lambda: None, after=True)
        if not running:
            go.set()
        owner = world.begin()
        await world.until(lambda: registered.reached)
        if not running:
            await owner.end()
        engine.backend.topics.publish([event])
        await env.settle()
        if running:
            await world.until(lambda: world.is_recorded(handle.id, "wait 1"))
            go.set()
            await owner.end()
        await env.publish("pl/newer", "whole")
        first, second = await env.finish(handle)
        assert "newer version" in first
        assert second == "whole"
        assert world.waiters("pl/newer") == []


def with_state(schema: type[BaseModel]) -> Any:
    @workflow(id="pl-strict", state_schema=schema)
    async def body(ctx: WorkflowContext) -> None:
        await ctx.step.wait_for("pause", hours=1)

    return body


@law
async def test_a_state_that_the_code_no_longer_reads_fails_the_execution(world: World) -> None:
    class Strict(BaseModel):
        count: int

    class Stricter(BaseModel):
        count: int
        name: str

    body = with_state(Strict)
    async with world.deploy(body) as env:
        handle = await env.start(body, initial_state={"count": 1})
        await env.settle()
        env.deploy(with_state(Stricter))
        await env.advance(hours=2)
        detail = await env.describe(handle)
        assert (detail.status, detail.invocations) == ("failed", 2)
        assert detail.error is not None
        assert "name" in detail.error.message


@law
async def test_a_broken_event_wakes_the_waits_beside_the_trigger(world: World) -> None:
    """The event's data can't be decoded: the workflow that it triggers fails visibly, and so does the wait."""

    @workflow(id="pl-triggered", trigger_on_event="pl/broken")
    async def triggered(ctx: WorkflowContext, event: Any) -> None:
        pass

    @workflow(id="pl-waits")
    async def body(ctx: WorkflowContext) -> str:
        try:
            await ctx.step.wait_for_event("wait", "pl/broken")
        except PolosError as error:
            return type(error).__name__
        return "never"

    async with world.deploy(body, triggered) as env:
        handle = await env.start(body)
        await env.settle()
        engine = env.harness.engine
        engine.backend.topics.publish(
            [Event("broken", "pl/broken", next_sequence(engine.now()), None, '{"$":"unheard of"}')]
        )
        await env.settle()
        assert (await env.describe(handle)).result == "SerializationError"
        found = {one.workflow_id: one.status for one in await env.client.list_executions()}
        assert found == {"pl-waits": "completed", "pl-triggered": "failed"}
        assert env.harness.next_due() is None


@law
async def test_a_bad_payload_for_the_successor_fails_the_execution(world: World) -> None:
    """The message that brought the execution here is a good one: it is not put aside."""

    @workflow(id="pl-successor")
    async def body(ctx: WorkflowContext, n: int) -> None:
        await ctx.step.run("once", world.effect)
        await ctx.continue_as_new("no number")

    async with world.deploy(body) as env:
        handle = await env.start(body, 0)
        await env.advance(hours=1)
        detail = await env.describe(handle)
        assert (detail.status, detail.invocations) == ("failed", 1)
        assert detail.error is not None
        assert detail.error.type == "InvalidPayloadError"
        harness: Any = env.harness
        dead = harness.dead_letters() if world.backend == "moto" else harness.local.database.read("SELECT * FROM dead")
        assert dead == []
