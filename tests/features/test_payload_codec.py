"""The codec of payloads: what is stored and sent is encoded, what was stored before is read, what fails waits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
import threading
import types
from typing import Any

import pytest
from pydantic import BaseModel

from polos import (
    BatchWorkflowInput,
    InvalidPayloadError,
    PayloadCodecError,
    Polos,
    UsageError,
    WorkflowContext,
    workflow,
)
from polos.aws.backend import aws_backend
from polos.engine.engine import Engine
from polos.payloads import codec_named
from polos.testing import Environment
from tests.laws.worlds import World, law, noise

SECRET = "4929-secret-1111"


class Masking:
    """Hides bytes under a key of its own for each value, as encryption with a nonce does."""

    def __init__(self) -> None:
        self._numbers, self._lock = itertools.count(1), threading.Lock()
        self.broken = False

    def encode(self, data: bytes) -> bytes:
        if self.broken:
            raise ConnectionError("the key service is away")
        with self._lock:
            key = next(self._numbers) % 250 + 1
        return bytes([key]) + bytes(byte ^ key for byte in data)

    def decode(self, data: bytes) -> bytes:
        if self.broken:
            raise ConnectionError("the key service is away")
        return bytes(byte ^ data[0] for byte in data[1:])


@pytest.fixture
def codec(monkeypatch: pytest.MonkeyPatch) -> Masking:
    module, made = types.ModuleType("masking_for_tests"), Masking()
    module.codec = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("POLOS_PAYLOAD_CODEC", "masking_for_tests:codec")
    return made


def drop_codec(env: Environment) -> None:
    """As in a process that was not told of the codec."""
    env.harness.engine.vault._codec = None


def everything(world: World, execution_id: str, *topics: str) -> str:
    """All that is stored of an execution and its topics, and all messages so far, as text."""
    partitions = [execution_id, *(f"t#{topic}" for topic in topics)]
    found = [item for pk in partitions for item in world.table.query(pk)]
    pointers = [
        str(value) for item in found for name, value in item.items() if name.endswith("p") and "#" in str(value)
    ]
    assert pointers or execution_id != "all"
    payloads = world.env.harness.engine.backend.payloads
    bodies = [json.dumps(dict(message.body)) for message in world.messages]
    return "\n".join([*map(repr, found), *(repr(payloads.get(one)) for one in pointers), *bodies])


class Account(BaseModel):
    number: str = ""


@workflow(id="pc-child")
async def child(ctx: WorkflowContext, number: str) -> str:
    return await ctx.step.run("same", lambda: number)


@workflow(id="pc-all", state_schema=Account)
async def everywhere(ctx: WorkflowContext, payload: dict[str, str]) -> list[Any]:
    step = await ctx.step.run("step", lambda: payload["number"])
    large = await ctx.step.run("large", lambda: SECRET + noise(300_000) + SECRET)
    await ctx.step.publish_event("publish", "pc/out", {"number": step})
    event = await ctx.step.wait_for_event("event", "pc/in")
    resumed = await ctx.step.suspend("approve", {"number": step})
    one = await ctx.step.invoke_and_wait("child", child, step)
    batch = await ctx.step.batch_invoke_and_wait("batch", [BatchWorkflowInput(id="pc-child", payload=step)])
    return [step, len(large), event.data, resumed["data"], one, batch[0].result, ctx.state.number]


@law
async def test_nothing_that_is_stored_or_sent_shows_a_value(world: World, codec: Masking) -> None:
    async with world.deploy(everywhere, child) as env:
        handle = await env.start(everywhere, {"number": SECRET}, initial_state={"number": SECRET}, id="all")
        await env.settle()
        await env.publish("pc/in", {"number": SECRET})
        await env.settle()
        await env.resume(handle, "approve", {"number": SECRET})

        told = {"number": SECRET}
        length = 2 * len(SECRET) + 300_000
        assert await env.finish(handle) == [SECRET, length, told, told, SECRET, SECRET, SECRET]
        assert SECRET not in everything(world, "all", "pc/in", "pc/out")
        detail = await env.describe(handle)
        assert detail.payload == told
        assert detail.final_state == Account(number=SECRET)


@law
async def test_what_was_stored_before_there_was_a_codec_is_still_read(world: World, codec: Masking) -> None:
    @workflow(id="pc-before")
    async def body(ctx: WorkflowContext, number: str) -> list[str]:
        first = await ctx.step.run("first", lambda: noise(700) + number)
        await ctx.step.wait_for("pause", hours=1)
        return [first[-len(SECRET) :], await ctx.step.run("second", lambda: number)]

    async with world.deploy(body) as env:
        drop_codec(env)
        handle = await env.start(body, SECRET, id="before")
        await env.settle()
        assert SECRET in everything(world, "before")
        env.harness.engine.vault._codec = codec
        assert await env.finish(handle) == [SECRET, SECRET]


@law
async def test_without_the_codec_a_value_is_refused_by_name(world: World, codec: Masking) -> None:
    async with world.deploy(child) as env:
        handle = await env.start(child, SECRET)
        await env.finish(handle)
        drop_codec(env)
        with pytest.raises(PayloadCodecError, match="POLOS_PAYLOAD_CODEC"):
            await env.describe(handle)


@law
async def test_an_execution_waits_for_a_codec_that_fails(world: World, codec: Masking) -> None:
    """It is not the execution's failure, and no death: once the key is back, it goes on."""
    async with world.deploy(child) as env:
        handle = await env.start(child, SECRET)
        codec.broken = True
        with contextlib.suppress(PayloadCodecError):  # the embedded worker's harness shows it, a handler logs it
            await asyncio.to_thread(world.take().run)
        assert world.records(handle) == {} or "en" not in world.execution(handle)
        codec.broken = False
        assert await env.finish(handle) == SECRET


@law
async def test_a_start_with_an_id_is_the_same_though_its_bytes_differ(world: World, codec: Masking) -> None:
    async with world.deploy(child) as env:
        for payload in (SECRET, noise(2000)):
            first = await env.start(child, payload, id=f"same-{len(payload)}")
            again = await env.start(child, payload, id=f"same-{len(payload)}")
            assert first.id == again.id
            with pytest.raises(InvalidPayloadError, match="another payload"):
                await env.start(child, "another", id=f"same-{len(payload)}")


def test_a_broken_codec_refuses_a_start(codec: Masking) -> None:
    async def run() -> None:
        async with Environment(workflows=[child]) as env:
            codec.broken = True
            with pytest.raises(PayloadCodecError, match="payload of workflow 'pc-child'.*key service"):
                await env.start(child, SECRET)
            assert env.requests == {}

    asyncio.run(run())


def test_no_codec_is_named_by_nothing_or_none() -> None:
    assert codec_named({}) is None
    assert codec_named({"POLOS_PAYLOAD_CODEC": "none"}) is None


@pytest.mark.parametrize("name", ["json:dumps", "polos.payloads", "tests.features.test_payload_codec:Masking"])
def test_an_object_that_is_no_codec_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="encode\\(bytes\\)"):
        codec_named({"POLOS_PAYLOAD_CODEC": name})


def test_a_codec_that_cannot_be_imported_says_why() -> None:
    with pytest.raises(UsageError, match="'no_such:codec', which cannot be imported: ModuleNotFoundError"):
        codec_named({"POLOS_PAYLOAD_CODEC": "no_such:codec"})


def test_an_object_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="'json' has no 'nothing'|json has no 'nothing'"):
        codec_named({"POLOS_PAYLOAD_CODEC": "json:nothing"})


def test_a_client_that_was_not_told_of_a_stacks_codec_stores_nothing_plain(
    monkeypatch: pytest.MonkeyPatch, codec: Masking
) -> None:
    """It can do what needs no values, and says what to set for the rest."""

    async def run() -> None:
        async with Environment("moto", workflows=[child]) as env:
            settings = env.harness.account.settings  # type: ignore[attr-defined]
            assert settings.payload_codec == "masking_for_tests:codec"
            monkeypatch.delenv("POLOS_PAYLOAD_CODEC")
            backend = aws_backend(settings, env.harness.clock, clients=env.harness.account.runtime)  # type: ignore[attr-defined]
            client = Polos(engine=Engine(backend, workflows=lambda: {child.id: child}))
            assert await client.list_executions() is not None
            with pytest.raises(PayloadCodecError, match="'masking_for_tests:codec'; set POLOS_PAYLOAD_CODEC"):
                await child.start(SECRET, client=client)
            assert world_is_empty(env)

    asyncio.run(run())


def world_is_empty(env: Environment) -> bool:
    return env.harness.take_due() is None
